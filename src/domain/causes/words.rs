//! The report: what was found as values and sentences.

use super::{
    CauseReport, Change, Compared, Found, FoundSegment, LEAST_CURRENT, LEAST_REFERENCE, LossKind,
    MOST_NAMED, Outcome, Part, PresentSegment, RankedFeature, SIGNIFICANT, Setting,
};
use crate::stats::causes::{FeatureCause, Presence, Segment, SegmentChange};

/// From this share on one of the two is called the main cause.
const MAINLY: f64 = 0.7;
/// From this share of rows unlike any of the reference on, they are told of.
const MANY_UNKNOWN: f64 = 0.02;

pub(super) fn report(setting: Setting, found: Option<Found>) -> CauseReport {
    let scale = Scale {
        loss: setting.loss,
        unit: setting.unit.clone(),
    };
    let mut report = CauseReport {
        model: setting.model,
        version: setting.version,
        loss: setting.loss,
        outcome: Outcome::TooFewLabels,
        summary: Vec::new(),
        reference: setting.reference,
        current: setting.current,
        change: None,
        features: Vec::new(),
        segments: Vec::new(),
        new_segments: Vec::new(),
        vanished_segments: Vec::new(),
        notes: setting.notes,
    };
    let Some(found) = found else {
        report.summary = too_few(&report.reference, &report.current);
        return report;
    };
    let change = Change::from(found.change);
    report.outcome = outcome(&change);
    report.features = (found.ranking.iter())
        .filter(|cause| cause.p_value.value() < SIGNIFICANT)
        .take(MOST_NAMED)
        .map(|cause| ranked(cause, &found, &scale))
        .collect();
    report.segments = (found.segments.iter())
        .map(|change| segment(change, &found, &scale))
        .collect();
    for presence in &found.presences {
        let list = if presence.is_new() {
            &mut report.new_segments
        } else {
            &mut report.vanished_segments
        };
        if list.len() < MOST_NAMED {
            list.push(present(presence, &found));
        }
    }
    report.change = Some(change);
    report.summary = summary(&report, &change, &scale);
    report.notes.push(
        "intervals take rows as independent of each other; where days differ by themselves they are too narrow"
            .to_owned(),
    );
    if found.bins.len() > found.along.len() {
        report.notes.push(format!(
            "segments were looked for along the {} of {} features that have most to do with the change",
            found.along.len(),
            found.bins.len()
        ));
    }
    report
}

fn too_few(reference: &Compared, current: &Compared) -> Vec<String> {
    let mut sentences =
        vec!["There are too few labels to say why, or whether, quality has changed.".to_owned()];
    let sides = [
        ("window", current, LEAST_CURRENT),
        ("reference", reference, LEAST_REFERENCE),
    ];
    for (name, side, least) in sides {
        if side.labelled < least as u64 {
            sentences.push(format!(
                "The {name} has {} labelled predictions of {}; at least {least} are needed.",
                side.labelled, side.predictions
            ));
        }
    }
    if current.labelled < LEAST_CURRENT as u64 {
        sentences.push(
            "Until labels come, only a change of the inputs can be seen; a change of what they mean cannot."
                .to_owned(),
        );
    }
    if sentences.len() == 1 {
        sentences.push("No loss could be computed for these rows.".to_owned());
    }
    sentences
}

fn outcome(change: &Change) -> Outcome {
    if change.total.low > 0.0 {
        Outcome::Lost
    } else if change.total.high < 0.0 {
        Outcome::Improved
    } else {
        Outcome::NoLoss
    }
}

/// How losses are written.
struct Scale {
    loss: LossKind,
    unit: String,
}

impl Scale {
    fn name(&self) -> &'static str {
        match self.loss {
            LossKind::AbsoluteError => "The mean absolute error",
            LossKind::SquaredError => "The mean squared error",
            LossKind::Brier => "The mean squared difference of score and label",
            LossKind::Wrong => "The share of wrong predictions",
        }
    }

    fn value(&self, value: f64) -> String {
        match self.loss {
            LossKind::Wrong => format!("{:.1} %", 100.0 * value),
            LossKind::AbsoluteError if !self.unit.is_empty() => {
                format!("{} {}", digits(value), self.unit)
            }
            LossKind::AbsoluteError | LossKind::SquaredError | LossKind::Brier => digits(value),
        }
    }

    /// A change, with its sign.
    fn change(&self, value: f64) -> String {
        let sign = if value < 0.0 { "−" } else { "+" };
        match self.loss {
            LossKind::Wrong => format!("{sign}{:.1} points", 100.0 * value.abs()),
            _ => format!("{sign}{}", self.value(value.abs())),
        }
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    let size = value.abs();
    match size {
        s if s >= 100.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 0.1 || s == 0.0 => format!("{value:.2}"),
        s if s >= 0.001 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

fn percent(share: f64) -> String {
    let value = 100.0 * share;
    match value.abs() {
        v if v == 0.0 || v >= 10.0 => format!("{value:.0} %"),
        v if v >= 0.1 => format!("{value:.1} %"),
        _ => format!("{value:.2} %"),
    }
}

fn summary(report: &CauseReport, change: &Change, scale: &Scale) -> Vec<String> {
    let means = match (report.reference.mean_loss, report.current.mean_loss) {
        (Some(before), Some(now)) => format!(
            "{} went from {} to {}",
            scale.name(),
            scale.value(before),
            scale.value(now)
        ),
        _ => format!(
            "{} changed by {}",
            scale.name(),
            scale.change(change.total.value)
        ),
    };
    let interval = format!(
        "95 %: {} to {}",
        scale.change(change.total.low),
        scale.change(change.total.high)
    );
    let mut sentences = match report.outcome {
        Outcome::Lost => lost(change, scale, &means),
        Outcome::Improved => vec![format!("{means}: it has improved ({interval}).")],
        Outcome::NoLoss | Outcome::TooFewLabels => {
            vec![format!(
                "{means}, which is not beyond chance ({interval}): labels show no loss of quality."
            )]
        }
    };
    if change.unknown_share >= MANY_UNKNOWN {
        sentences.push(format!(
            "{} of the window's rows are unlike any of the reference; what they lose ({}) can be put down to neither.",
            percent(change.unknown_share),
            scale.change(change.unknown_rows.value)
        ));
    }
    if let Some(segment) = report.segments.first().filter(|_| is_loss(report)) {
        sentences.push(format!(
            "It is worst where {}: {}.",
            segment.segment, segment.detail
        ));
    }
    sentences
}

fn is_loss(report: &CauseReport) -> bool {
    report.outcome == Outcome::Lost
}

/// The sentences that matter most: which of the two it is, and what follows from it.
fn lost(change: &Change, scale: &Scale, means: &str) -> Vec<String> {
    let Some(share) = change.input_share else {
        return vec![format!("{means}.")];
    };
    // Parts that go against each other give shares beyond 0 and 1, which nobody could read.
    let within = |value: f64| match value.clamp(0.0, 1.0) {
        little if little > 0.0 && little < 0.01 => "less than 1 %".to_owned(),
        share => format!("{:.0} %", 100.0 * share),
    };
    let range = format!(
        "input drift explains {} of the loss (95 %: {} to {})",
        within(share.value),
        within(share.low),
        within(share.high)
    );
    let (cause, advice) = if share.value >= MAINLY {
        (
            "mostly input drift",
            "The model gets more of the rows it was always worse at. Look at the features below: is this traffic meant to be \
             there? Retraining helps only with more examples of it.",
        )
    } else if share.value <= 1.0 - MAINLY {
        (
            "mostly concept change",
            "Rows like those of before now have other answers, or something that no recorded feature shows has changed. Rule out \
             broken labels and broken inputs; then retrain on recent data.",
        )
    } else {
        (
            "both input drift and concept change",
            "The model gets more difficult rows, and rows like those of before have other answers, too.",
        )
    };
    vec![
        format!("{means}: {cause}; {range}."),
        advice.to_owned(),
        format!(
            "Of {} in all, other rows make {} and other answers to the same rows {}.",
            scale.change(change.total.value),
            scale.change(change.input_drift.value),
            scale.change(change.concept_change.value)
        ),
    ]
}

fn ranked(cause: &FeatureCause, found: &Found, scale: &Scale) -> RankedFeature {
    let input = Part::from(cause.input);
    let mut parts = Vec::new();
    if cause.input.is_significant() {
        parts.push(format!(
            "its own change of distribution makes {}",
            scale.change(input.value)
        ));
    }
    if cause.unevenness > input.value.abs() || parts.is_empty() {
        parts.push(format!(
            "the loss has changed unevenly along it, by {} from value to value",
            scale.value(cause.unevenness)
        ));
    }
    RankedFeature {
        feature: found.bins[cause.feature].name.clone(),
        input_drift: input,
        unevenness: cause.unevenness,
        p_value: cause.p_value.value(),
        detail: parts.join("; "),
    }
}

fn named(segment: Segment, found: &Found) -> String {
    let of = |(place, bin): (usize, u16)| found.bins[found.along[place]].words(bin);
    match segment.second {
        None => of(segment.first),
        Some(second) => format!("{} and {}", of(segment.first), of(second)),
    }
}

fn segment(change: &SegmentChange, found: &Found, scale: &Scale) -> FoundSegment {
    FoundSegment {
        segment: named(change.segment, found),
        share: change.share,
        rows: change.rows,
        reference: change.reference,
        current: change.current,
        excess: change.excess.into(),
        p_value: change.p_value.value(),
        detail: format!(
            "{} of rows, from {} to {}; elsewhere it rose by {} less",
            percent(change.share),
            scale.value(change.reference),
            scale.value(change.current),
            scale.change(change.excess.value).trim_start_matches('+')
        ),
    }
}

fn present(presence: &Presence, found: &Found) -> PresentSegment {
    PresentSegment {
        segment: named(presence.segment, found),
        reference: presence.reference,
        current: presence.current,
        p_value: presence.p_value.value(),
    }
}
