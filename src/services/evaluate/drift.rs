//! Drift: the window's distributions against the baseline's, in the baseline's own bins; what needs rows is
//! measured in [`rows`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::PgConnection;

use super::scene::{Fitted, Gathered, Scene};
use super::subject::Subject;
use super::{label_drift, rows};
use crate::domain::drift::{Gates, Judged, is_of_the_profiles};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment};
use crate::services::Error;
use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, ProfileKind};
use crate::stats::{DriftMeasure, NotDefined, PValue, Reading, Readings};

const COMPARED: &str = "compared with the reference";

/// The distances of every feature of the reference, and of the prediction, in every segment it knows.
pub(super) async fn measure(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let mut values = rows::measure(conn, subject).await?;
    if chosen(subject).next().is_none() {
        return Ok(values);
    }
    let current = scene
        .current(conn, subject.version_id, subject.window)
        .await?;
    values.extend(match &subject.history {
        Some(history) => {
            let reference = history.profiles(conn, scene).await?;
            of_history(subject, &current, &reference)
        }
        None if subject.baseline.is_none() => Vec::new(),
        None => {
            let reference = scene.baseline(conn, subject.baseline_id()).await?;
            let mut values = of_baseline(subject, &current, &reference);
            values.extend(label_drift::measure(conn, subject).await?);
            values
        }
    });
    Ok(values)
}

fn of_baseline(
    subject: &Subject<'_>,
    current: &Arc<Gathered>,
    reference: &Fitted,
) -> Vec<Measurement> {
    let mut values: Vec<Measurement> = (reference.damaged.iter())
        .filter(|(segment, _)| current.knows(segment))
        .flat_map(|(segment, feature)| damaged_reference(subject, segment, feature))
        .collect();
    for (segment, features) in &reference.profiles {
        if !current.knows(segment) {
            continue;
        }
        let counted = features
            .iter()
            .filter(|(feature, _)| subject.yardstick.shows_drift(feature));
        for (feature, reference) in counted {
            values.extend(of_feature(subject, current, segment, feature, reference));
        }
    }
    values
}

/// The features that either side has: what has no past yet is told, and not left out.
fn of_history(
    subject: &Subject<'_>,
    current: &Arc<Gathered>,
    reference: &Gathered,
) -> Vec<Measurement> {
    let Some(history) = &subject.history else {
        return Vec::new();
    };
    let nothing = BTreeMap::new();
    let mut values = Vec::new();
    for (segment, present) in &current.profiles {
        let past = reference.profiles.get(segment).unwrap_or(&nothing);
        let features: BTreeSet<&String> = past.keys().chain(present.keys()).collect();
        let counted = features
            .into_iter()
            .filter(|feature| subject.yardstick.shows_drift(feature));
        for feature in counted {
            if reference.is_unknown(segment, feature) {
                let unknown = |measure| subject.unknown(segment, feature, measure);
                values.extend(chosen(subject).map(unknown));
                continue;
            }
            let lack = history.lack(reference, segment, feature);
            let measured = match (past.get(feature), lack) {
                (Some(past), None) => of_feature(subject, current, segment, feature, past),
                (_, lack) => vec![insufficient(
                    subject,
                    segment,
                    feature,
                    &lack.unwrap_or_else(|| "the past has no rows of it".to_owned()),
                )],
            };
            let of = (segment.clone(), feature.clone());
            let parts = reference.parts.get(&of).map_or(0, BTreeSet::len);
            let used = history.past.used(subject.window, parts);
            values.extend(measured.into_iter().map(|mut value| {
                value.recipe.reference = Some(used.clone());
                value
            }));
        }
    }
    values
}

fn of_feature(
    subject: &Subject<'_>,
    current: &Gathered,
    segment: &Segment,
    feature: &str,
    reference: &FeatureProfile,
) -> Vec<Measurement> {
    if current.is_unknown(segment, feature) {
        let unknown = |measure| subject.unknown(segment, feature, measure);
        return measures_of(subject, reference)
            .into_iter()
            .map(unknown)
            .collect();
    }
    let present = current
        .profiles
        .get(segment)
        .and_then(|present| present.get(feature));
    match present {
        Some(current) => {
            let compared = Compared {
                segment,
                feature,
                reference,
                current,
                grid: subject.yardstick.grid(feature),
            };
            let measures: Vec<Measure> = chosen(subject).collect();
            readings(subject, &compared, &measures)
        }
        None => vec![insufficient(
            subject,
            segment,
            feature,
            "the window has no values of it",
        )],
    }
}

/// A baseline is fitted again from its file or window by whoever operates the service; until then nothing can be
/// said. Whether the feature is numeric is not known either.
fn damaged_reference(subject: &Subject<'_>, segment: &Segment, feature: &str) -> Vec<Measurement> {
    let damaged = |measure| Measurement {
        recipe: Recipe {
            method: COMPARED.to_owned(),
            cause: Some("the baseline's profile is damaged; fit the baseline again".to_owned()),
            ..Recipe::default()
        },
        ..subject.unknown(segment, feature, measure)
    };
    chosen(subject).map(damaged).collect()
}

/// What the monitor measures of profiles.
pub(super) fn chosen<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = Measure> + 'a {
    let measures = subject.monitor.drift_measures().iter();
    measures
        .copied()
        .filter(|measure| measure.drift().is_some())
}

/// What the monitor measures of such a feature: categories have no order.
fn measures_of(subject: &Subject<'_>, reference: &FeatureProfile) -> Vec<Measure> {
    let numeric = reference.kind() == ProfileKind::Numeric;
    let fits =
        |measure: &Measure| numeric || !measure.drift().is_some_and(DriftMeasure::needs_order);
    chosen(subject).filter(fits).collect()
}

/// A feature, or what is measured like one, in a segment.
pub(super) struct Compared<'a> {
    pub(super) segment: &'a Segment,
    pub(super) feature: &'a str,
    pub(super) reference: &'a FeatureProfile,
    pub(super) current: &'a FeatureProfile,
    /// What numbers are counted on.
    pub(super) grid: Option<&'a Grid>,
}

/// Those of the measures that there are of such a feature: categories have no order.
pub(super) fn readings(
    subject: &Subject<'_>,
    compared: &Compared<'_>,
    measures: &[Measure],
) -> Vec<Measurement> {
    let Compared {
        segment, feature, ..
    } = *compared;
    let readings = Readings::of(compared.reference, compared.current, compared.grid);
    let by_chance = readings.by_chance();
    let mut values = Vec::new();
    let mut without_values = None;
    let numeric = compared.reference.kind() == ProfileKind::Numeric;
    for measure in measures.iter().copied() {
        let Some(drift) = measure
            .drift()
            .filter(|drift| numeric || !drift.needs_order())
        else {
            continue;
        };
        match readings.read(drift) {
            Ok(reading) => {
                let of = (&reading, by_chance);
                values.push(judged(subject, segment, feature, measure, of));
            }
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

fn judged(
    subject: &Subject<'_>,
    segment: &Segment,
    feature: &str,
    measure: Measure,
    (reading, by_chance): (&Reading, Option<PValue>),
) -> Measurement {
    let expected = subject.yardstick.expectation(feature);
    let gates = Gates {
        thresholds: &subject.monitor.thresholds,
        feature_type: expected.map(|expected| expected.feature_type),
        min_rows: subject.monitor.min_rows,
        features: subject.yardstick.expectations().count(),
    };
    let judged = Judged::of_feature(measure, reading, by_chance, &gates);
    Measurement {
        value: judged.value,
        interval: judged.interval,
        p_value: judged.p_value,
        current_rows: reading.current_values,
        reference_rows: reading.reference_values,
        baseline_id: subject.baseline_id(),
        status: judged.status,
        recipe: Recipe {
            reference: subject.fitted_reference(),
            ..judged.recipe
        },
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
            method: COMPARED.to_owned(),
            cause: Some(cause.to_owned()),
            reference: subject.fitted_reference(),
            ..Recipe::default()
        },
        ..subject.blank(segment, feature, first)
    }
}
