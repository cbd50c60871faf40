//! Realised quality, with label coverage beside it.

use std::collections::{BTreeMap, HashSet};

use sqlx::PgConnection;

use super::{Subject, quality_reference, share};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::services::Error;
use crate::services::profiling::PREDICTION;
use crate::services::quality::{self, QualityOutcome, QualityValue, Wanted};
use crate::storage::{baselines, labels, profiles};

/// A value carried by fewer outcomes than this says nothing, however many labels the window has: a recall of three
/// positives.
const LEAST_CARRYING: u64 = 20;

/// The monitor's measures of quality, overall and per segment.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let outcomes: Vec<(QualityOutcome, Vec<String>)> = labels::outcomes(
        conn,
        subject.version_id,
        subject.window.start,
        subject.window.end,
    )
    .await?
    .into_iter()
    .map(|outcome| {
        let segments = outcome.segments.clone();
        (QualityOutcome::of_stored(outcome), segments)
    })
    .collect();
    let references = match subject.baseline_id() {
        Some(baseline_id) => baselines::qualities(conn, baseline_id).await?,
        None => Vec::new(),
    };
    let choice = &subject.monitor.quality;
    let wanted = Wanted {
        measures: choice.measures(subject.model.task),
        choice,
    };
    let mut by_segment: BTreeMap<Segment, Vec<QualityValue>> =
        quality::by_segment(subject.model, wanted, &outcomes);
    // Values of segments beyond the cap have no profiles, and are not measured either.
    let counted: HashSet<Segment> = profiles::segments(
        conn,
        subject.version_id,
        subject.window.start,
        subject.window.end,
        PREDICTION,
    )
    .await?
    .into_iter()
    .collect();
    by_segment.retain(|segment, _| segment.is_overall() || counted.contains(segment));
    by_segment.entry(Segment::overall()).or_default();
    let mut values = vec![coverage(subject, outcomes.len() as u64)];
    for (segment, qualities) in by_segment {
        for quality in qualities {
            let reference = quality_reference(&references, &segment, quality.measure)
                .filter(|_| quality.feature.is_empty() && choice.is_usual(quality.measure));
            values.push(of_value(subject, &segment, quality, reference));
        }
    }
    Ok(values)
}

fn of_value(
    subject: &Subject<'_>,
    segment: &Segment,
    quality: QualityValue,
    reference: Option<(f64, u64)>,
) -> Measurement {
    let cause = why_insufficient(&quality, subject.monitor.min_rows);
    let over = format!(
        "over the {} predictions of the window whose label is known",
        quality.labels
    );
    Measurement {
        value: quality.value(),
        interval: quality.interval(),
        reference: reference.map(|(value, _)| value),
        status: if cause.is_none() {
            Status::Ok
        } else {
            Status::Insufficient
        },
        current_rows: quality.labels,
        reference_rows: reference.map_or(0, |(_, labels)| labels),
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            method: match &quality.note {
                Some(note) => format!("{over}; {note}"),
                None => over,
            },
            cause,
            ..Recipe::default()
        },
        ..subject.blank(segment, &quality.feature, quality.measure)
    }
}

fn why_insufficient(quality: &QualityValue, min_labels: u64) -> Option<String> {
    let needed = LEAST_CARRYING.min(min_labels);
    match quality.quality {
        Err(undefined) => Some(format!("not defined for these labels: {undefined}")),
        Ok(_) if quality.labels < min_labels => Some(format!("fewer than {min_labels} labels")),
        Ok(estimate) if estimate.size < needed => Some(format!(
            "only {} of the labels carry the value, fewer than {needed}",
            estimate.size
        )),
        Ok(_) => None,
    }
}

/// How many of the window's answers have their label. Predictions that failed never get one.
fn coverage(subject: &Subject<'_>, labels: u64) -> Measurement {
    let answered = u64::try_from(subject.totals.predictions - subject.totals.errors).unwrap_or(0);
    let value = share(labels, answered);
    Measurement {
        value,
        status: if value.is_some() {
            Status::Ok
        } else {
            Status::Insufficient
        },
        current_rows: answered,
        recipe: Recipe {
            method: format!("{labels} of {answered} predictions without an error"),
            ..Recipe::default()
        },
        ..subject.blank(&Segment::overall(), "", Measure::LabelCoverage)
    }
}
