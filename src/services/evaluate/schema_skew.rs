//! Schema skew: what came in against what is expected of the features, judged by the code that judges files.
//!
//! Some findings are shares that every feature has in every window. The others are rare, and thirty features times ten
//! of them would be most of what is stored: these are stored for single features where there is something to tell,
//! and once for all features where there is not, so that a rule knows that nothing was found.

use std::collections::{BTreeMap, BTreeSet};

use super::renames;
use super::scene::{Fitted, Gathered, Profiles};
use super::share;
use super::subject::Subject;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::schema::FeatureExpectation;
use crate::domain::skew::{
    self, FindingKind, Judgement, Past, STEP_RANKS, Sight, judge_profiles, judge_window,
};
use crate::services::profiling::{LATENCY, PREDICTION};
use crate::stats::profile::FeatureProfile;
use crate::stats::quality::wilson_interval;

/// Every finding measure of every feature in every segment.
pub(super) fn measure(
    subject: &Subject<'_>,
    current: &Gathered,
    reference: &Fitted,
) -> Vec<Measurement> {
    let mut values = Vec::new();
    if subject.yardstick.expectations().next().is_none() {
        return values;
    }
    for (segment, features) in &current.profiles {
        let rows = features.get(PREDICTION).map_or(0, |p| p.counts().rows);
        for (feature, profile) in features {
            if feature == PREDICTION || feature == LATENCY {
                continue;
            }
            match subject.yardstick.expectation(feature) {
                Some(expected) => {
                    let before = profile_of(&reference.profiles, segment, feature);
                    let past = Past {
                        windows: (reference.stillnesses)
                            .of_feature(&expected.feature, subject.window.grain),
                        longest_run: 0,
                    };
                    let seen = (before, profile);
                    let judged = judge(subject, segment, expected, seen, (current, past));
                    let told = judged
                        .iter()
                        .filter_map(|j| of_judgement(subject, segment, feature, j));
                    values.extend(told);
                }
                // A share of rows, and how many rows there are is not known.
                None if current.is_unknown(segment, PREDICTION) => {
                    values.push(subject.unknown(segment, feature, Measure::UnexpectedFeature));
                }
                None => values.push(of_unexpected(subject, segment, feature, profile, rows)),
            }
        }
    }
    for (segment, feature) in &current.unknown {
        if feature != PREDICTION && feature != LATENCY {
            let measures = measures_of(subject, subject.yardstick.expectation(feature));
            values.extend((measures.iter()).map(|m| subject.unknown(segment, feature, *m)));
        }
    }
    for (feature, judged) in renames::judge(subject, current, reference) {
        values.extend(of_judgement(
            subject,
            &Segment::overall(),
            &feature,
            &judged,
        ));
    }
    values.extend(of_no_feature(subject, current, &values));
    let count = |rows: i64| u64::try_from(rows).unwrap_or(0);
    let order = (
        count(subject.totals.out_of_order),
        count(subject.totals.followers),
    );
    // Rows that come one in a request have no order to be out of.
    if order.1 > 0 {
        let order = skew::judge_order(order, subject.tolerance());
        values.extend(of_judgement(subject, &Segment::overall(), "", &order));
    }
    values
}

fn profile_of<'a>(
    profiles: &'a Profiles,
    segment: &Segment,
    feature: &str,
) -> Option<&'a FeatureProfile> {
    profiles.get(segment)?.get(feature)
}

fn judge(
    subject: &Subject<'_>,
    segment: &Segment,
    expected: &FeatureExpectation,
    (before, now): (Option<&FeatureProfile>, &FeatureProfile),
    (current, past): (&Gathered, Past),
) -> Vec<Judgement> {
    let tolerance = subject.tolerance();
    let expected = &subject.expected_here(expected);
    let empty = now.category("");
    let empty = empty.map(|now| (before.and_then(|b| b.category("")).unwrap_or(0), now));
    let mut judged = judge_window(expected, before, now, empty, tolerance);
    // A segment has fewer different values than all rows have, for which the limits are.
    judged.retain(|j| segment.is_overall() || j.kind != FindingKind::DistinctValues);
    let trace = current
        .traces
        .get(&expected.feature)
        .filter(|_| segment.is_overall());
    let numbers = before.map(|before| before.sampled_numbers(STEP_RANKS));
    let steps = numbers
        .as_deref()
        .zip(trace.map(|trace| trace.numbers.values()));
    let stills = trace.map(|trace| &trace.stills);
    judged.extend(judge_profiles(
        expected,
        before,
        now,
        steps,
        (stills, past),
        tolerance,
    ));
    judged
}

/// A judgement as it is stored; nothing for what is told only where found, and is not.
pub(super) fn of_judgement(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    judged: &Judgement,
) -> Option<Measurement> {
    let measure = judged.kind.measure()?;
    let value = judged.value();
    let nothing_to_tell = value.is_none_or(|value| value == 0.0);
    // Wrong values that are not most of them are told as such.
    let not_most = measure == Measure::TypeChange && !judged.is_found();
    if measure.is_told_where_found() && (nothing_to_tell || not_most) {
        return None;
    }
    let min_rows = subject.monitor.min_rows;
    Some(Measurement {
        value,
        interval: judged.interval(),
        status: judged.status(),
        current_rows: judged.rows(),
        recipe: Recipe {
            method: match judged.sight {
                Sight::Share { part, whole, .. } => format!("{part} of {whole} rows"),
                Sight::Sign { rows, .. } => format!("judged by the profiles of {rows} rows"),
            },
            threshold: Some(judged.threshold()),
            cause: (!judged.enough).then(|| format!("fewer than {min_rows} rows")),
            reference: measure
                .is_told_where_found()
                .then(|| subject.fitted_reference())
                .flatten(),
            detail: Some(judged.detail.clone()).filter(|detail| !detail.is_empty()),
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, measure)
    })
}

/// That a measure that is told where found was found of no feature.
fn of_no_feature(
    subject: &Subject<'_>,
    current: &Gathered,
    told: &[Measurement],
) -> Vec<Measurement> {
    let overall = Segment::overall();
    let found: BTreeSet<Measure> = told
        .iter()
        .filter(|value| value.segment.is_overall())
        .map(|value| value.measure)
        .collect();
    let nothing = BTreeMap::new();
    let features = current.profiles.get(&overall).unwrap_or(&nothing);
    let rows = features.get(PREDICTION).map_or(0, |p| p.counts().rows);
    let damaged = current
        .unknown
        .iter()
        .any(|(segment, _)| segment.is_overall());
    let enough = rows >= subject.monitor.min_rows;
    Measure::OF_SCHEMA
        .into_iter()
        .filter(|measure| measure.is_told_where_found() && !found.contains(measure))
        .map(|measure| {
            if damaged {
                return subject.unknown(&overall, "", measure);
            }
            Measurement {
                value: Some(0.0),
                status: if enough {
                    Status::Ok
                } else {
                    Status::Insufficient
                },
                current_rows: rows,
                recipe: Recipe {
                    method: "found of no feature".to_owned(),
                    threshold: Some(0.0),
                    cause: (!enough)
                        .then(|| format!("fewer than {} rows", subject.monitor.min_rows)),
                    ..Recipe::default()
                },
                ..subject.blank(&overall, "", measure)
            }
        })
        .collect()
}

/// The shares that a feature has in each window.
fn measures_of(subject: &Subject<'_>, expected: Option<&FeatureExpectation>) -> Vec<Measure> {
    let Some(expected) = expected else {
        return vec![Measure::UnexpectedFeature];
    };
    let mut measures = vec![Measure::WrongType, Measure::NullShare];
    if subject.expected_here(expected).required {
        measures.push(Measure::MissingFeature);
    }
    if expected.minimum.is_some() || expected.maximum.is_some() {
        measures.push(Measure::OutOfRange);
    }
    if expected.categories.is_some() {
        measures.push(Measure::UnseenCategory);
    }
    measures
}

fn of_unexpected(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    profile: &FeatureProfile,
    rows: u64,
) -> Measurement {
    let counts = profile.counts();
    let carrying = counts.rows - counts.absent;
    let (part, whole) = (carrying, rows.max(carrying));
    let threshold = subject.monitor.tolerance;
    let value = share(part, whole);
    let enough = whole >= subject.monitor.min_rows;
    Measurement {
        value,
        interval: wilson_interval(part, whole),
        status: match value {
            Some(value) if enough && value > threshold => Status::Drift,
            Some(_) if enough => Status::Ok,
            _ => Status::Insufficient,
        },
        current_rows: whole,
        recipe: Recipe {
            method: format!("{part} of {whole} rows"),
            threshold: Some(threshold),
            cause: (!enough).then(|| format!("fewer than {} rows", subject.monitor.min_rows)),
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, Measure::UnexpectedFeature)
    }
}
