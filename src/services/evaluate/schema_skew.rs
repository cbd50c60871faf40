//! Schema skew: what came in against what is expected of the features.

use super::{Current, Subject, share};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::schema::FeatureExpectation;
use crate::services::profiling::{LATENCY, PREDICTION};
use crate::stats::profile::FeatureProfile;

/// Every finding measure of every feature in every segment.
pub(super) fn measure(subject: &Subject<'_>, current: &Current) -> Vec<Measurement> {
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
                Some(expected) => values.extend(of_expected(subject, segment, expected, profile)),
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
            let measures = measures_of(subject.yardstick.expectation(feature));
            values.extend((measures.iter()).map(|m| subject.unknown(segment, feature, *m)));
        }
    }
    values
}

/// What [`of_expected`] and [`of_unexpected`] find out.
fn measures_of(expected: Option<&FeatureExpectation>) -> Vec<Measure> {
    let Some(expected) = expected else {
        return vec![Measure::UnexpectedFeature];
    };
    let mut measures = vec![Measure::WrongType, Measure::NullShare];
    if expected.required {
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

fn of_expected(
    subject: &Subject<'_>,
    segment: &Segment,
    expected: &FeatureExpectation,
    profile: &FeatureProfile,
) -> Vec<Measurement> {
    let counts = profile.counts();
    let present = counts.rows - counts.absent;
    let telling = present - counts.nulls;
    let tolerance = subject.monitor.tolerance;
    let mut findings = Vec::with_capacity(6);
    if expected.required {
        findings.push((
            Measure::MissingFeature,
            counts.absent,
            counts.rows,
            tolerance,
        ));
    }
    findings.push((Measure::WrongType, counts.mismatched, telling, tolerance));
    findings.push((
        Measure::NullShare,
        counts.nulls,
        present,
        expected.max_null_share,
    ));
    if expected.minimum.is_some() || expected.maximum.is_some() {
        findings.push((
            Measure::OutOfRange,
            counts.out_of_range,
            profile.valid(),
            tolerance,
        ));
    }
    if expected.categories.is_some() {
        findings.push((
            Measure::UnseenCategory,
            counts.unseen,
            profile.valid(),
            tolerance,
        ));
    }
    findings
        .into_iter()
        .map(|(measure, part, whole, threshold)| {
            finding(
                subject,
                segment,
                &expected.feature,
                measure,
                (part, whole),
                threshold,
            )
        })
        .collect()
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
    let place = (carrying, rows.max(carrying));
    finding(
        subject,
        segment,
        feature,
        Measure::UnexpectedFeature,
        place,
        subject.monitor.tolerance,
    )
}

fn finding(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    measure: Measure,
    (part, whole): (u64, u64),
    threshold: f64,
) -> Measurement {
    let value = share(part, whole);
    let enough = whole >= subject.monitor.min_rows;
    let status = match value {
        Some(value) if enough && value > threshold => Status::Drift,
        Some(_) if enough => Status::Ok,
        _ => Status::Insufficient,
    };
    Measurement {
        value,
        status,
        current_rows: whole,
        recipe: Recipe {
            method: format!("{part} of {whole} rows"),
            threshold: Some(threshold),
            cause: (!enough).then(|| format!("fewer than {} rows", subject.monitor.min_rows)),
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, measure)
    }
}
