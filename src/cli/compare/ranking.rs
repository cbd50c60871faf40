//! Features in the order in which somebody should look at them, each with the group of rows where it is worst.

use std::collections::BTreeMap;

use super::window_name;
use crate::domain::joint;
use crate::domain::measurement::{Better, Measure, Projected, Segment, Status};
use crate::domain::window::Window;
use crate::services::comparison::{Comparison, FeatureSummary, Measurement, QualityMeasurement};

/// A feature's standing.
#[derive(Debug)]
pub(super) struct Ranked<'a> {
    pub(super) summary: &'a FeatureSummary,
    /// The worst status of any measure in any group. Groups with too few rows only count when there are no others.
    pub(super) status: Status,
    /// The measures in the group where it is worst.
    pub(super) worst: BTreeMap<Measure, &'a Measurement>,
    /// That group in words; empty for all rows.
    pub(super) place: String,
    /// In how many groups it drifted, how many have too little to say, and how many there are.
    pub(super) drifted: usize,
    pub(super) unclear: usize,
    pub(super) groups: usize,
    /// How it stands over all rows by window, and which share of them lies elsewhere (total variation).
    pub(super) by_window: BTreeMap<Window, (Status, Option<f64>)>,
}

impl Ranked<'_> {
    pub(super) fn value(&self, measure: Measure) -> Option<f64> {
        self.worst.get(&measure)?.value
    }

    /// Why there is nothing to say, if so.
    pub(super) fn cause(&self) -> Option<&str> {
        self.worst.values().find_map(|m| m.recipe.cause.as_deref())
    }
}

/// A feature's measures by group of rows.
type Groups<'a> = BTreeMap<(Option<Window>, &'a Segment), Vec<&'a Measurement>>;

/// What comes first: drift, then what could not be computed, then what is too little to say, then what is well.
pub(super) fn severity(status: Status) -> u8 {
    match status {
        Status::Drift => 3,
        Status::Error => 2,
        Status::Insufficient => 1,
        Status::Ok => 0,
    }
}

/// All features, worst first; those equally bad by their stability index, then by name.
pub(super) fn rank(comparison: &Comparison) -> Vec<Ranked<'_>> {
    let mut groups: BTreeMap<&str, Groups<'_>> = BTreeMap::new();
    for measurement in &comparison.measurements {
        let group = (measurement.window, &measurement.segment);
        let of_feature = groups.entry(&measurement.feature).or_default();
        of_feature.entry(group).or_default().push(measurement);
    }
    let mut ranked: Vec<Ranked<'_>> = comparison
        .features
        .iter()
        .map(|summary| {
            let of_feature = groups.remove(summary.feature.as_str()).unwrap_or_default();
            standing(summary, of_feature)
        })
        .collect();
    ranked.sort_by(|a, b| {
        let size = |r: &Ranked<'_>| r.value(Measure::TotalVariation).unwrap_or(0.0);
        severity(b.status)
            .cmp(&severity(a.status))
            .then(size(b).total_cmp(&size(a)))
            .then(a.summary.feature.cmp(&b.summary.feature))
    });
    ranked
}

fn standing<'a>(summary: &'a FeatureSummary, groups: Groups<'a>) -> Ranked<'a> {
    let moved = |measured: &[&Measurement]| {
        let mut each = measured.iter();
        let moved = each.find(|m| m.measure == Measure::TotalVariation)?;
        moved.value
    };
    let size = |measured: &[&Measurement]| moved(measured).unwrap_or(0.0);
    // Of equal ones the first counts: all rows come before segments.
    let worst = groups.iter().rev().max_by(|(_, a), (_, b)| {
        // A window of a few rows says nothing about those that have enough.
        let (a_status, b_status) = (weight(status_of(a)), weight(status_of(b)));
        a_status.cmp(&b_status).then(size(a).total_cmp(&size(b)))
    });
    let by_window = groups.iter().filter_map(|((window, segment), measured)| {
        let told = (status_of(measured), moved(measured));
        segment.is_overall().then_some(((*window)?, told))
    });
    Ranked {
        summary,
        status: worst.map_or(Status::Insufficient, |(_, measured)| status_of(measured)),
        place: worst.map_or_else(String::new, |((window, segment), _)| {
            place(*window, segment)
        }),
        by_window: by_window.collect(),
        drifted: count(&groups, |status| status == Status::Drift),
        unclear: count(&groups, |status| status == Status::Insufficient),
        groups: groups.len(),
        worst: worst
            .map(|(_, measured)| measured.iter().map(|m| (m.measure, *m)).collect())
            .unwrap_or_default(),
    }
}

/// What features together are called where a feature's name stands.
pub(super) const TOGETHER: &str = "all features together";

/// A feature's name for people.
pub(super) fn named(feature: &str) -> &str {
    if feature.is_empty() {
        TOGETHER
    } else {
        feature
    }
}

/// The status of features together; nothing where they have not been looked at.
pub(super) fn together(comparison: &Comparison) -> Option<Status> {
    let measured: Vec<&Measurement> = (comparison.measurements.iter())
        .filter(|m| m.feature.is_empty())
        .collect();
    (!measured.is_empty()).then(|| status_of(&measured))
}

/// Days in a row on which a measure of columns together says the same: a finding, or nothing on any day.
#[derive(Debug)]
pub(super) struct Stretch<'a> {
    pub(super) first: &'a Measurement,
    /// The day that speaks most clearly.
    pub(super) clearest: &'a Measurement,
    pub(super) days: usize,
}

impl Stretch<'_> {
    fn p(&self) -> f64 {
        self.clearest.p_value.unwrap_or(f64::INFINITY)
    }

    /// The first day and how many there are, in words; empty where no day is meant.
    pub(super) fn when(&self) -> String {
        let (Status::Drift, Some(window)) = (self.first.status, self.first.window) else {
            return String::new();
        };
        match self.days {
            1 => window_name(window),
            days => format!("{} and {} days more", window_name(window), days - 1),
        }
    }

    /// What has changed, clearest first, or why nothing is said.
    pub(super) fn said(&self) -> Vec<String> {
        if let (Some(cause), None) = (&self.clearest.recipe.cause, self.clearest.value) {
            return vec![cause.clone()];
        }
        if self.first.status != Status::Drift {
            return vec!["nothing beyond chance and size on any day".to_owned()];
        }
        let pairs = self.clearest.recipe.joint.iter().flat_map(|of| &of.pairs);
        let mut said: Vec<String> = pairs
            .map(|pair| {
                format!(
                    "correlation of {} and {} from {:.2} to {:.2}",
                    pair.features.0, pair.features.1, pair.reference, pair.current
                )
            })
            .collect();
        if said.is_empty() {
            // The first day is the one that was explained; how often it is chance is said above all of them.
            let detail = self.first.recipe.detail.as_deref().unwrap_or_default();
            let by_chance = joint::by_chance();
            let parts = detail.split("; ").filter(|part| *part != by_chance);
            said.extend(parts.map(str::to_owned));
        }
        said
    }
}

/// What is said of columns together over days: the findings of each measure in the order of their days, or that there is none.
pub(super) fn stretches(comparison: &Comparison) -> Vec<Stretch<'_>> {
    let mut all = Vec::new();
    for measure in Measure::OVER_DAYS_TOGETHER {
        let of_measure = (comparison.measurements.iter()).filter(|m| m.measure == measure);
        let days: Vec<&Measurement> = of_measure.collect();
        let findings = days.chunk_by(|a, b| a.status == b.status);
        let findings = findings.filter(|run| run[0].status == Status::Drift);
        let before = all.len();
        all.extend(findings.filter_map(stretch));
        if all.len() == before {
            let known: Vec<&Measurement> = (days.iter().copied())
                .filter(|m| m.value.is_some())
                .collect();
            all.extend(stretch(if known.is_empty() { &days } else { &known }));
        }
    }
    all
}

fn stretch<'a>(days: &[&'a Measurement]) -> Option<Stretch<'a>> {
    let mut all = days.iter().map(|day| Stretch {
        first: days[0],
        clearest: day,
        days: days.len(),
    });
    let first = all.next()?;
    Some(all.fold(
        first,
        |best, day| if day.p() < best.p() { day } else { best },
    ))
}

/// How many features, and how many findings of columns together, there are that are not on some days what they were.
pub(super) fn found_over_days(comparison: &Comparison) -> (usize, usize) {
    let features = comparison.over_days.iter().flat_map(|of| &of.verdicts);
    let features = features.filter(|m| m.status == Status::Drift);
    let stretches = stretches(comparison).into_iter();
    let together = stretches.filter(|of| of.first.status == Status::Drift);
    (features.count(), together.count())
}

/// What columns together over days were judged by, in words; nothing where no day was.
pub(super) fn stretches_heading(comparison: &Comparison) -> Option<String> {
    let measure = Measure::CopulaCorrelationChange;
    let of = || (comparison.measurements.iter()).filter(|m| m.measure == measure);
    let recipe = of().find_map(|m| m.recipe.joint.as_ref())?;
    let left_out = match recipe.left_out {
        0 => String::new(),
        more => format!(" ({more} more have no room)"),
    };
    Some(format!(
        "{} columns{left_out} on {} days, by {} days of the reference; {}",
        recipe.columns,
        of().filter(|m| m.window.is_some()).count(),
        recipe.reference_days,
        joint::by_chance()
    ))
}

/// Each measure of samples of rows where it is worst, in the order they were measured in.
pub(super) fn of_rows(comparison: &Comparison) -> Vec<&Measurement> {
    let of_rows = (comparison.measurements.iter()).filter(|m| m.measure.is_of_rows());
    worst(of_rows, |m| {
        let value = m.value.unwrap_or(0.0);
        let badness = match m.measure.better() {
            Better::Higher => -value,
            Better::Zero => value.abs(),
            Better::Lower | Better::Neither => value,
        };
        ((m.feature.as_str(), m.measure), m.status, badness)
    })
}

/// Each measure of quality where it is worst, in the order they were measured in.
pub(super) fn of_quality(comparison: &Comparison) -> Vec<&QualityMeasurement> {
    worst(comparison.quality.iter(), |m| {
        let value = m.value.unwrap_or(0.0);
        let badness = match m.measure.better() {
            Better::Higher => -value,
            Better::Zero => value.abs(),
            Better::Lower => value,
            Better::Neither => m.reference.map_or(0.0, |before| (value - before).abs()),
        };
        ((m.feature.as_str(), m.measure), m.status, badness)
    })
}

/// A value of all rows of a window whose labels are not all in.
#[derive(Debug)]
pub(super) struct Young<'a> {
    pub(super) value: &'a QualityMeasurement,
    pub(super) projected: &'a Projected,
    /// The share of the window's predictions that have their label, and that of the labels that will come.
    pub(super) coverage: Option<f64>,
    pub(super) completeness: Option<f64>,
}

/// The values of young windows, the newest window first.
pub(super) fn young(comparison: &Comparison) -> Vec<Young<'_>> {
    let overall = || (comparison.quality.iter()).filter(|m| m.segment.is_overall());
    let of = |measure: Measure, window: Option<Window>| {
        let found = overall().find(|m| m.measure == measure && m.window == window);
        found.and_then(|m| m.value)
    };
    let mut young: Vec<Young<'_>> = overall()
        .filter_map(|value| {
            Some(Young {
                projected: value.recipe.projected.as_ref()?,
                coverage: of(Measure::LabelCoverage, value.window),
                completeness: of(Measure::LabelCompleteness, value.window),
                value,
            })
        })
        .collect();
    young.sort_by_key(|of| std::cmp::Reverse(of.value.window));
    young
}

/// Of each subject the one with the worst status, and of these the one that is furthest off.
fn worst<'c, M>(
    all: impl Iterator<Item = &'c M>,
    judged: impl Fn(&'c M) -> ((&'c str, Measure), Status, f64),
) -> Vec<&'c M> {
    let mut worst: Vec<&'c M> = Vec::new();
    for m in all {
        let (subject, status, badness) = judged(m);
        let Some(known) = worst.iter_mut().find(|known| judged(known).0 == subject) else {
            worst.push(m);
            continue;
        };
        let (_, known_status, known_badness) = judged(known);
        let order = weight(status).cmp(&weight(known_status));
        if order.then(badness.total_cmp(&known_badness)).is_gt() {
            *known = m;
        }
    }
    worst
}

/// What a value comes from, in words; empty where it is of one feature.
pub(super) fn explanation(of: &Measurement) -> String {
    let parts = of.recipe.explained_by.iter();
    let parts: Vec<String> = parts
        .map(|part| format!("{} {:.0} %", part.feature, part.share * 100.0))
        .collect();
    parts.join(", ")
}

/// The worst status of a group's measures. One that is not defined for its values, such as chi-square with all of
/// them in one bin, says nothing where others do. Where no distance of a feature's values says anything, it is not well
/// because something beside them is, such as the lengths of its texts.
pub(super) fn status_of(measured: &[&Measurement]) -> Status {
    let statuses = measured.iter().map(|m| m.status);
    let worst = statuses.max_by_key(|status| weight(*status));
    let mut distances = measured
        .iter()
        .filter(|m| is_distance(m.measure))
        .peekable();
    let compared =
        distances.peek().is_none() || distances.any(|m| m.status != Status::Insufficient);
    match worst {
        Some(Status::Ok) if compared => Status::Ok,
        Some(Status::Ok) | None => Status::Insufficient,
        Some(worst) => worst,
    }
}

/// Whether a measure compares the values of a feature, as counted.
fn is_distance(measure: Measure) -> bool {
    measure.drift().is_some() && measure != Measure::MissingShareChange
}

/// How much a status counts among several: what is known before what is not.
fn weight(status: Status) -> u8 {
    match status {
        Status::Insufficient => 0,
        Status::Ok => 1,
        Status::Error => 2,
        Status::Drift => 3,
    }
}

fn count<K>(groups: &BTreeMap<K, Vec<&Measurement>>, wanted: impl Fn(Status) -> bool) -> usize {
    groups
        .values()
        .filter(|measured| wanted(status_of(measured)))
        .count()
}

/// A window and a segment in words.
pub(super) fn place(window: Option<Window>, segment: &Segment) -> String {
    let mut words: Vec<String> = window.map(window_name).into_iter().collect();
    if !segment.is_overall() {
        words.push(format!("{}={}", segment.name, segment.value));
    }
    words.join(" ")
}
