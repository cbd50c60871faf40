//! Why quality was lost, ready to be shown: on the page of an alert in short, on a page of its own in full.

use crate::domain::causes::{CauseReport, Compared, LossKind, Outcome, Part, PresentSegment};
use crate::web::run_view::Fact;
use crate::web::tone::{Badge, Tone};
use crate::web::wording;

/// The width of the bars' drawing.
const WIDTH: f64 = 240.0;
/// How many lines of a list the short form shows.
const SHORT: usize = 3;

/// A report as it is shown.
#[derive(Debug, Clone)]
pub struct CauseView {
    pub state: Badge,
    pub headline: String,
    pub sentences: Vec<String>,
    pub bars: Vec<Bar>,
    pub features: Vec<Line>,
    pub segments: Vec<Line>,
    pub new_segments: Vec<Line>,
    pub vanished_segments: Vec<Line>,
    pub sides: Vec<Fact>,
    pub notes: Vec<String>,
    /// Where all of it is shown.
    pub href: String,
}

/// One part of the change: a bar from no change to its value, and a line for its interval.
#[derive(Debug, Clone)]
pub struct Bar {
    pub name: &'static str,
    pub meaning: &'static str,
    pub value: String,
    pub interval: String,
    pub class: &'static str,
    pub zero: String,
    pub x: String,
    pub width: String,
    pub low: String,
    pub high: String,
}

/// Something named with what speaks for it.
#[derive(Debug, Clone)]
pub struct Line {
    pub title: String,
    pub detail: String,
}

impl CauseView {
    /// All of it.
    #[must_use]
    pub fn of(report: &CauseReport, unit: &str, href: String) -> Self {
        let mut sentences = report.summary.clone();
        let headline = if sentences.is_empty() {
            String::new()
        } else {
            sentences.remove(0)
        };
        Self {
            state: state(report.outcome),
            headline,
            sentences,
            bars: bars(report, unit),
            features: (report.features.iter())
                .map(|ranked| Line {
                    title: wording::feature(&ranked.feature).to_owned(),
                    detail: ranked.detail.clone(),
                })
                .collect(),
            segments: (report.segments.iter())
                .map(|found| Line {
                    title: found.segment.clone(),
                    detail: found.detail.clone(),
                })
                .collect(),
            new_segments: present(&report.new_segments),
            vanished_segments: present(&report.vanished_segments),
            sides: vec![
                side("Looked at", &report.current),
                side("Compared with", &report.reference),
            ],
            notes: report.notes.clone(),
            href,
        }
    }

    /// What is shown until there is a report; the page is looked at again by itself.
    #[must_use]
    pub fn in_the_making(href: String) -> Self {
        Self {
            state: Badge::new("Being worked out", Tone::Waiting),
            headline: "Labelled rows are being compared; this takes a few seconds.".to_owned(),
            sentences: Vec::new(),
            bars: Vec::new(),
            features: Vec::new(),
            segments: Vec::new(),
            new_segments: Vec::new(),
            vanished_segments: Vec::new(),
            sides: Vec::new(),
            notes: Vec::new(),
            href,
        }
    }

    /// What fits beside other things.
    #[must_use]
    pub fn short(mut self) -> Self {
        self.features.truncate(SHORT);
        self.segments.truncate(SHORT);
        self.new_segments.truncate(SHORT);
        self.vanished_segments.truncate(SHORT);
        self.notes.clear();
        self
    }
}

fn state(outcome: Outcome) -> Badge {
    match outcome {
        Outcome::Lost => Badge::new("Quality was lost", Tone::Critical),
        Outcome::Improved => Badge::new("Quality has improved", Tone::Good),
        Outcome::NoLoss => Badge::new("No loss that labels show", Tone::Good),
        Outcome::TooFewLabels => Badge::new("Too few labels", Tone::Waiting),
    }
}

fn side(name: &str, compared: &Compared) -> Fact {
    Fact {
        name: name.to_owned(),
        value: format!(
            "{}: {} labelled of {} predictions",
            wording::window(compared.from, compared.to),
            wording::count(i64::try_from(compared.labelled).unwrap_or(i64::MAX)),
            wording::count(i64::try_from(compared.predictions).unwrap_or(i64::MAX)),
        ),
    }
}

fn present(segments: &[PresentSegment]) -> Vec<Line> {
    let line = |segment: &PresentSegment| Line {
        title: segment.segment.clone(),
        detail: format!(
            "from {} to {} of rows",
            wording::percent(segment.reference),
            wording::percent(segment.current)
        ),
    };
    segments.iter().map(line).collect()
}

fn bars(report: &CauseReport, unit: &str) -> Vec<Bar> {
    let Some(change) = &report.change else {
        return Vec::new();
    };
    let mut parts = vec![
        (
            "All of it",
            "how much more is lost than before",
            "total",
            change.total,
        ),
        (
            "Input drift",
            "other rows than before, losing what such rows always lost",
            "input",
            change.input_drift,
        ),
        (
            "Concept change",
            "the same kind of rows, losing more",
            "concept",
            change.concept_change,
        ),
    ];
    if change.unknown_share > 0.0 {
        parts.push((
            "Unknown rows",
            "unlike any of the reference: the two cannot be told apart",
            "unknown",
            change.unknown_rows,
        ));
    }
    let ends = parts.iter().map(|(.., part)| part);
    let least = ends.clone().map(|part| part.low).fold(0.0, f64::min);
    let most = ends.map(|part| part.high).fold(0.0, f64::max);
    let span = (most - least).max(f64::MIN_POSITIVE);
    let at = |value: f64| (value - least) / span * WIDTH;
    let drawn = |(name, meaning, class, part): (&'static str, &'static str, &'static str, Part)| {
        let (from, to) = (at(part.value.min(0.0)), at(part.value.max(0.0)));
        Bar {
            name,
            meaning,
            class,
            value: signed(part.value, report.loss, unit),
            interval: format!(
                "{} to {}",
                signed(part.low, report.loss, unit),
                signed(part.high, report.loss, unit)
            ),
            zero: format!("{:.1}", at(0.0)),
            x: format!("{from:.1}"),
            width: format!("{:.1}", (to - from).max(1.0)),
            low: format!("{:.1}", at(part.low)),
            high: format!("{:.1}", at(part.high)),
        }
    };
    parts.into_iter().map(drawn).collect()
}

fn signed(value: f64, loss: LossKind, unit: &str) -> String {
    let sign = if value < 0.0 { "−" } else { "+" };
    let size = value.abs();
    match loss {
        LossKind::Wrong => format!("{sign}{:.1} points", 100.0 * size),
        LossKind::AbsoluteError if !unit.is_empty() => {
            format!("{sign}{} {unit}", wording::number(size))
        }
        _ => format!("{sign}{}", wording::number(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::causes::{Change, FoundSegment};
    use chrono::DateTime;

    fn part(value: f64, low: f64, high: f64) -> Part {
        Part { value, low, high }
    }

    fn report() -> CauseReport {
        let compared = Compared {
            from: DateTime::UNIX_EPOCH,
            to: DateTime::UNIX_EPOCH + chrono::TimeDelta::days(7),
            predictions: 6_224,
            labelled: 6_143,
            compared: 6_143,
            mean_loss: Some(15.4),
        };
        let found = |name: &str| FoundSegment {
            segment: name.to_owned(),
            share: 0.1,
            rows: 600,
            reference: 8.0,
            current: 20.0,
            excess: part(9.0, 7.0, 11.0),
            p_value: 1e-9,
            detail: "10 % of rows".to_owned(),
        };
        CauseReport {
            model: "air-time".to_owned(),
            version: "v1".to_owned(),
            loss: LossKind::AbsoluteError,
            outcome: Outcome::Lost,
            summary: vec!["Errors went up.".to_owned(), "Retrain.".to_owned()],
            reference: compared.clone(),
            current: compared,
            change: Some(Change {
                total: part(6.0, 5.0, 7.0),
                input_drift: part(-1.0, -2.0, 0.0),
                concept_change: part(7.0, 6.0, 8.0),
                unknown_rows: part(0.0, 0.0, 0.0),
                unknown_share: 0.0,
                input_share: None,
            }),
            features: Vec::new(),
            segments: ["a", "b", "c", "d"].map(found).to_vec(),
            new_segments: Vec::new(),
            vanished_segments: Vec::new(),
            notes: vec!["a note".to_owned()],
        }
    }

    #[test]
    fn bars_start_at_no_change_and_go_either_way_on_one_scale() {
        let view = CauseView::of(&report(), "minutes", String::new());
        let drawn: Vec<_> = (view.bars.iter())
            .map(|bar| {
                (
                    bar.name,
                    bar.value.as_str(),
                    bar.zero.as_str(),
                    bar.x.as_str(),
                )
            })
            .collect();
        // From −2 to 8 on 240 pixels; without unknown rows there is no bar for them.
        assert_eq!(
            drawn,
            [
                ("All of it", "+6.00 minutes", "48.0", "48.0"),
                ("Input drift", "−1.00 minutes", "48.0", "24.0"),
                ("Concept change", "+7.00 minutes", "48.0", "48.0"),
            ]
        );
        assert_eq!(
            (view.bars[2].width.as_str(), view.bars[2].high.as_str()),
            ("168.0", "240.0")
        );
        assert_eq!(
            (view.headline.as_str(), view.sentences.len()),
            ("Errors went up.", 1)
        );
        assert!(
            view.sides[0]
                .value
                .contains("6,143 labelled of 6,224 predictions")
        );
    }

    #[test]
    fn the_short_form_says_what_comes_first() {
        let view = CauseView::of(&report(), "", "/more".to_owned()).short();
        assert_eq!((view.segments.len(), view.notes.len()), (3, 0));
        let waiting = CauseView::in_the_making("/more".to_owned());
        assert!(waiting.bars.is_empty() && waiting.href == "/more");
        let few = CauseReport {
            outcome: Outcome::TooFewLabels,
            change: None,
            summary: Vec::new(),
            ..report()
        };
        let view = CauseView::of(&few, "", String::new());
        assert!(view.bars.is_empty() && view.headline.is_empty());
    }
}
