//! Drift: the window's distributions against the baseline's, in the baseline's own bins; what needs rows is
//! measured in [`rows`].

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Profiles, Subject, rows};
use crate::domain::drift::{Judged, is_of_the_profiles};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment};
use crate::services::Error;
use crate::services::profiling::LATENCY;
use crate::stats::profile::{FeatureProfile, ProfileKind};
use crate::stats::{DriftMeasure, NotDefined, Reading, Readings};
use crate::storage::baselines;

/// The distances of every feature of the baseline, and of the prediction, in every segment it knows.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let Some(baseline) = &subject.baseline else {
        return Ok(Vec::new());
    };
    let of_rows = rows::measure(conn, subject).await?;
    if chosen(subject).next().is_none() {
        return Ok(of_rows);
    }
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
                values.extend(measures_of(subject, reference).into_iter().map(unknown));
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
    values.extend(of_rows);
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
fn damaged_reference(subject: &Subject<'_>, segment: &Segment, feature: &str) -> Vec<Measurement> {
    let damaged = |measure| Measurement {
        recipe: Recipe {
            method: "compared with the baseline".to_owned(),
            cause: Some("the baseline's profile is damaged; fit the baseline again".to_owned()),
            ..Recipe::default()
        },
        ..subject.unknown(segment, feature, measure)
    };
    chosen(subject).map(damaged).collect()
}

/// What the monitor measures of profiles.
fn chosen<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = Measure> + 'a {
    let usual = subject.monitor.measures.is_empty();
    let measures: &'a [Measure] = if usual {
        &Measure::USUAL_DRIFT
    } else {
        &subject.monitor.measures
    };
    measures
        .iter()
        .copied()
        .filter(|measure| !measure.is_of_rows())
}

/// What the monitor measures of such a feature: categories have no order.
fn measures_of(subject: &Subject<'_>, reference: &FeatureProfile) -> Vec<Measure> {
    let numeric = reference.kind() == ProfileKind::Numeric;
    let fits =
        |measure: &Measure| numeric || !measure.drift().is_some_and(DriftMeasure::needs_order);
    chosen(subject).filter(fits).collect()
}

fn of_feature(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    reference: &FeatureProfile,
    current: &FeatureProfile,
) -> Vec<Measurement> {
    let readings = Readings::of(reference, current, subject.yardstick.grid(feature));
    let mut values = Vec::new();
    let mut without_values = None;
    for measure in measures_of(subject, reference) {
        let Some(drift) = measure.drift() else {
            continue;
        };
        match readings.read(drift) {
            Ok(reading) => values.push(compared(subject, segment, feature, measure, &reading)),
            Err(cause) if is_of_the_profiles(cause) => without_values = Some(cause),
            Err(cause) => values.push(undefined(subject, segment, feature, measure, cause)),
        }
    }
    // What is wrong with the profiles themselves is said once, not for every measure.
    values.extend(
        without_values.map(|cause| insufficient(subject, segment, feature, &cause.to_string())),
    );
    values
}

fn compared(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    measure: Measure,
    reading: &Reading,
) -> Measurement {
    let threshold = subject.monitor.thresholds.get(&measure).copied();
    let judged = Judged::of(measure, reading, threshold, subject.monitor.min_rows);
    Measurement {
        value: judged.value,
        interval: judged.interval,
        p_value: judged.p_value,
        current_rows: reading.current_values,
        reference_rows: reading.reference_values,
        baseline_id: subject.baseline_id(),
        status: judged.status,
        recipe: judged.recipe,
        ..subject.blank(segment, feature, measure)
    }
}

/// A measure that says nothing of values that others can be asked about.
fn undefined(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    measure: Measure,
    cause: NotDefined,
) -> Measurement {
    Measurement {
        measure,
        ..insufficient(subject, segment, feature, &cause.to_string())
    }
}

fn insufficient(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    cause: &str,
) -> Measurement {
    let first = chosen(subject).next().unwrap_or(Measure::Psi);
    Measurement {
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            method: "compared with the baseline".to_owned(),
            cause: Some(cause.to_owned()),
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, first)
    }
}
