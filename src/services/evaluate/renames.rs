//! Missing features that probably go by another name, by the rule that files are judged by.
//!
//! A feature nobody expects has no cells. Its numbers are counted in those of the missing one, from the profile's
//! quantiles: exact up to 200 rows in a base window, within the sketch's rank error beyond.

use super::scene::{Fitted, Gathered};
use super::subject::Subject;
use crate::domain::measurement::Segment;
use crate::domain::skew::Judgement;
use crate::domain::skew::renames::{Pair, choose, names_match};
use crate::services::profiling::{LATENCY, PREDICTION};
use crate::stats::drift::Comparison;
use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, ProfileKind};

/// Beyond so many features on either side, nothing is left of the schema and no pairs are looked for.
const MOST_FEATURES: usize = 20;
/// The share of rows from which on a feature that lacks, or one that is new, takes part.
const MOST: u64 = 2;

/// The features that were probably renamed, each with what says so.
pub(super) fn judge(
    subject: &Subject<'_>,
    current: &Gathered,
    reference: &Fitted,
) -> Vec<(String, Judgement)> {
    let overall = Segment::overall();
    let (Some(features), Some(before)) = (
        current.profiles.get(&overall),
        reference.profiles.get(&overall),
    ) else {
        return Vec::new();
    };
    let rows = features.get(PREDICTION).map_or(0, |p| p.counts().rows);
    let missing: Vec<(&String, &FeatureProfile)> = before
        .iter()
        .filter(|(feature, _)| {
            let expected = subject.yardstick.expectation(feature);
            let required = expected.is_some_and(|e| subject.expected_here(e).required);
            required && features.get(*feature).is_some_and(is_mostly_absent)
        })
        .collect();
    let unexpected: Vec<(&String, &FeatureProfile)> = features
        .iter()
        .filter(|(feature, profile)| {
            let own = *feature == PREDICTION || *feature == LATENCY;
            let carrying = profile.counts().rows - profile.counts().absent;
            !own && subject.yardstick.expectation(feature).is_none() && carrying * MOST > rows
        })
        .collect();
    if missing.len().max(unexpected.len()) > MOST_FEATURES {
        return Vec::new();
    }
    let mut candidates = Vec::new();
    for (at, (name, profile)) in missing.iter().enumerate() {
        for (other, (candidate, seen)) in unexpected.iter().enumerate() {
            let grid = subject.yardstick.grid(name);
            let numbers = current.traces.get(*candidate).map(|t| t.numbers.values());
            if let Some(distance) = distance(profile, seen, grid, numbers) {
                candidates.push(Pair {
                    missing: at,
                    unexpected: other,
                    same_name: names_match(name, candidate),
                    distance,
                });
            }
        }
    }
    choose(candidates)
        .into_iter()
        .map(|pair| {
            let (name, _) = unexpected[pair.unexpected];
            let min_rows = subject.monitor.min_rows;
            let judged = Judgement::renamed(rows, min_rows, name, &pair.reason());
            (missing[pair.missing].0.clone(), judged)
        })
        .collect()
}

fn is_mostly_absent(profile: &FeatureProfile) -> bool {
    let counts = profile.counts();
    counts.absent * MOST > counts.rows
}

/// The Jensen–Shannon distance between a missing feature and a new one; `None` when they are not of one type.
fn distance(
    missing: &FeatureProfile,
    unexpected: &FeatureProfile,
    grid: Option<&Grid>,
    numbers: Option<&[f64]>,
) -> Option<f64> {
    if missing.kind() != unexpected.kind() {
        return None;
    }
    let recounted;
    let seen = match missing.kind() {
        ProfileKind::Categorical => unexpected,
        ProfileKind::Numeric => {
            let mut profile = FeatureProfile::numeric_without_quantiles(grid?);
            profile.observe_numbers(numbers?, grid).ok()?;
            recounted = profile;
            &recounted
        }
    };
    let comparison = Comparison::of(missing, seen, grid).ok()?;
    Some(comparison.jensen_shannon().value)
}
