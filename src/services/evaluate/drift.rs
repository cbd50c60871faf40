//! Drift: the window's distributions against the baseline's, in the baseline's own bins.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Profiles, Subject};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::services::Error;
use crate::services::profiling::LATENCY;
use crate::stats::drift::Comparison;
use crate::stats::profile::{FeatureProfile, ProfileKind};
use crate::storage::baselines;

const MEASURES: [Measure; 3] = [
    Measure::Psi,
    Measure::JensenShannon,
    Measure::KolmogorovSmirnov,
];

/// The distances of every feature of the baseline, and of the prediction, in every segment it knows.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let Some(baseline) = &subject.baseline else {
        return Ok(Vec::new());
    };
    let current = subject.profiles(conn).await?;
    let (reference, damaged) = decode(baselines::profiles(conn, baseline.baseline_id).await?);
    let mut values: Vec<Measurement> = (damaged.iter())
        .filter(|(segment, _)| current.knows(segment))
        .flat_map(|(segment, feature)| damaged_reference(subject, segment, feature))
        .collect();
    for (segment, features) in &reference {
        if !current.knows(segment) {
            continue;
        }
        let present = current.profiles.get(segment);
        for (feature, reference) in features.iter().filter(|(feature, _)| *feature != LATENCY) {
            if current.is_unknown(segment, feature) {
                let unknown = |measure| subject.unknown(segment, feature, measure);
                values.extend(measures_of(reference).map(unknown));
                continue;
            }
            match present.and_then(|present| present.get(feature)) {
                Some(current) => {
                    values.extend(of_feature(subject, segment, feature, reference, current));
                }
                None => values.push(insufficient(
                    subject,
                    segment,
                    feature,
                    "the window has no values of it",
                )),
            }
        }
    }
    Ok(values)
}

/// The baseline's profiles, and those of them that are damaged.
fn decode(stored: Vec<baselines::BaselineProfile>) -> (Profiles, Vec<(Segment, String)>) {
    let mut profiles: Profiles = BTreeMap::new();
    let mut damaged = Vec::new();
    for stored in stored {
        match FeatureProfile::decode(&stored.profile) {
            Ok(profile) => {
                profiles
                    .entry(stored.segment)
                    .or_default()
                    .insert(stored.feature, profile);
            }
            Err(error) => {
                tracing::error!(feature = stored.feature, %error, "a baseline's profile is damaged");
                if stored.feature != LATENCY {
                    damaged.push((stored.segment, stored.feature));
                }
            }
        }
    }
    (profiles, damaged)
}

/// A baseline is fitted again from its file or window by whoever operates the service; until then nothing can be
/// said. Whether the feature is numeric is not known either.
fn damaged_reference(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
) -> [Measurement; MEASURES.len()] {
    MEASURES.map(|measure| Measurement {
        recipe: Recipe {
            method: "compared with the baseline".to_owned(),
            cause: Some("the baseline's profile is damaged; fit the baseline again".to_owned()),
            ..Recipe::default()
        },
        ..subject.unknown(segment, feature, measure)
    })
}

fn measures_of(reference: &FeatureProfile) -> impl Iterator<Item = Measure> {
    let numeric = reference.kind() == ProfileKind::Numeric;
    MEASURES
        .into_iter()
        .filter(move |measure| numeric || *measure != Measure::KolmogorovSmirnov)
}

fn of_feature(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    reference: &FeatureProfile,
    current: &FeatureProfile,
) -> Vec<Measurement> {
    let comparison = match Comparison::of(reference, current, subject.yardstick.grid(feature)) {
        Ok(comparison) => comparison,
        Err(cause) => return vec![insufficient(subject, segment, feature, &cause.to_string())],
    };
    let numeric = reference.kind() == ProfileKind::Numeric;
    measures_of(reference)
        .map(|measure| compared(subject, segment, feature, measure, &comparison, numeric))
        .collect()
}

fn compared(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    measure: Measure,
    comparison: &Comparison<'_>,
    numeric: bool,
) -> Measurement {
    let bins = if numeric {
        "deciles of the baseline"
    } else {
        "union of categories"
    };
    let threshold = subject.monitor.thresholds.get(&measure).copied();
    let mut value = Measurement {
        current_rows: comparison.current_values(),
        reference_rows: comparison.reference_values(),
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            threshold,
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, measure)
    };
    match measure {
        Measure::Psi => {
            let psi = comparison.psi();
            value.value = Some(psi.value);
            value.recipe.method =
                format!("{bins}; natural logarithm; shares floored at 0.0001, not renormalised");
            value.recipe.bins = Some(psi.bins);
            value.recipe.noise_floor = Some(psi.noise_floor);
        }
        Measure::JensenShannon => {
            let distance = comparison.jensen_shannon();
            value.value = Some(distance.value);
            value.recipe.method = format!("{bins}; base 2; square root of the divergence");
            value.recipe.bins = Some(distance.bins);
            value.recipe.noise_floor = Some(distance.noise_floor);
        }
        _ => match comparison.kolmogorov_smirnov() {
            Ok(ks) => {
                value.value = Some(ks.statistic);
                value.p_value = Some(ks.p_value.value());
                value.recipe.method = "cells of the baseline's grid; asymptotic p-value".to_owned();
                value.recipe.error_bound = Some(ks.error_bound);
                value.recipe.noise_floor = Some(ks.noise_floor);
            }
            Err(cause) => value.recipe.cause = Some(cause.to_string()),
        },
    }
    value.status = status(subject, &value);
    if value.status == Status::Insufficient && value.recipe.cause.is_none() {
        value.recipe.cause = Some(format!("fewer than {} values", subject.monitor.min_rows));
    }
    value
}

/// A distance is drift only when it is beyond the threshold and beyond what chance alone would give.
fn status(subject: &Subject<'_>, value: &Measurement) -> Status {
    let enough = value.current_rows.min(value.reference_rows) >= subject.monitor.min_rows;
    match (value.value, value.recipe.threshold) {
        (None, _) => Status::Insufficient,
        _ if !enough => Status::Insufficient,
        (Some(distance), Some(threshold))
            if distance > threshold && distance > value.recipe.noise_floor.unwrap_or(0.0) =>
        {
            Status::Drift
        }
        _ => Status::Ok,
    }
}

fn insufficient(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    cause: &str,
) -> Measurement {
    Measurement {
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            method: "compared with the baseline".to_owned(),
            cause: Some(cause.to_owned()),
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, Measure::Psi)
    }
}
