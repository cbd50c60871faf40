//! Features in the order in which somebody should look at them, each with the group of rows where it is worst.

use std::collections::BTreeMap;

use super::window_name;
use crate::domain::measurement::{Better, Measure, Segment, Status};
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
    /// Its stability index over all rows, by window.
    pub(super) by_window: BTreeMap<Window, &'a Measurement>,
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
        let size = |r: &Ranked<'_>| r.value(Measure::Psi).unwrap_or(0.0);
        severity(b.status)
            .cmp(&severity(a.status))
            .then(size(b).total_cmp(&size(a)))
            .then(a.summary.feature.cmp(&b.summary.feature))
    });
    ranked
}

fn standing<'a>(summary: &'a FeatureSummary, groups: Groups<'a>) -> Ranked<'a> {
    let psi = |measured: &[&Measurement]| {
        measured
            .iter()
            .find(|m| m.measure == Measure::Psi)
            .and_then(|m| m.value)
            .unwrap_or(0.0)
    };
    // Of equal ones the first counts: all rows come before segments.
    let worst = groups.iter().rev().max_by(|(_, a), (_, b)| {
        // A window of a few rows says nothing about those that have enough.
        let (a_status, b_status) = (weight(status_of(a)), weight(status_of(b)));
        a_status.cmp(&b_status).then(psi(a).total_cmp(&psi(b)))
    });
    let by_window = groups.iter().filter_map(|((window, segment), measured)| {
        let psi = measured.iter().find(|m| m.measure == Measure::Psi)?;
        segment.is_overall().then_some(((*window)?, *psi))
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
/// them in one bin, says nothing where others do.
pub(super) fn status_of(measured: &[&Measurement]) -> Status {
    let statuses = measured.iter().map(|m| m.status);
    statuses
        .max_by_key(|status| weight(*status))
        .unwrap_or(Status::Insufficient)
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
