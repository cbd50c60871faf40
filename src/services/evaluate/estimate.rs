//! Quality before labels: the window's predictions, as the estimator of the baseline's labelled rows counts them, and,
//! once the labels are in, how far off it was.
//!
//! The estimator is learnt when it is first needed and kept with the baseline. A window's predictions are read chunk by
//! chunk, from at most as many chunks as samples are drawn from, so that no more than one chunk is in memory.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::scene::Scene;
use super::subject::Subject;
use crate::domain::batch::Output;
use crate::domain::columns::{Column, Value};
use crate::domain::estimate::{Circumstances, Counted, Estimator, compared, error_told, widened};
use crate::domain::ids::BaselineId;
use crate::domain::labelled::LabelledSample;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::quality::QualityChoice;
use crate::domain::shift::day_number;
use crate::services::Error;
use crate::services::maturity;
use crate::services::quality::{self, QualityOutcome, Wanted, positive_class};
use crate::services::row_sample::some_chunks;
use crate::stats::estimation::{Estimation, Reliability};
use crate::storage::estimates::{self, Check};
use crate::storage::predictions::{self, Chunk, ColumnKind, Read, row_column};
use crate::storage::{baselines, labels};

/// The checks that the reliability is taken from.
const CHECKS: i64 = 60;
/// A window is checked once its labels have come to this share of what the baseline's came to.
const ENOUGH: f64 = 0.9;

/// What is said of the window before its labels come, and of the estimates whose labels are in.
pub(super) async fn measure(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let measures = Measure::of_estimate(subject.model.task);
    let all = |status: Status, cause: &str| -> Vec<Measurement> {
        measures
            .iter()
            .map(|measure| subject.unsaid(*measure, status, cause))
            .collect()
    };
    let Some(baseline) = subject.baseline.clone() else {
        return Ok(all(Status::Insufficient, "the baseline is not fitted yet"));
    };
    if baseline
        .version_id
        .is_some_and(|id| id != subject.version_id)
    {
        return Ok(all(
            Status::Insufficient,
            "the baseline is of another version, whose scores mean something else",
        ));
    }
    if subject.is_of_reference() {
        return Ok(all(
            Status::Insufficient,
            "the window is part of the reference",
        ));
    }
    let sample = match scene.labelled(conn, baseline.baseline_id).await? {
        Ok(sample) => sample,
        Err(cause) => return Ok(all(Status::Insufficient, cause)),
    };
    let estimator = match estimator(conn, subject, baseline.baseline_id, &sample).await? {
        Ok(estimator) => estimator,
        Err(cause) => return Ok(all(Status::Insufficient, &cause)),
    };
    let counted = count(conn, subject, &estimator, estimator.window()).await?;
    let corrected = match estimator.corrected_window(&counted) {
        Some(empty) => Some(count(conn, subject, &estimator, empty).await?),
        None => None,
    };
    let learnt_at = baseline
        .window_to
        .or(baseline.fitted_at)
        .unwrap_or(baseline.created_at);
    let age = (subject.window.end - learnt_at).num_seconds().max(0) as f64;
    let of_window = match estimator.estimates(&counted, corrected.as_ref(), age) {
        Ok(estimates) => estimates,
        Err(undefined) => return Ok(all(Status::Insufficient, &undefined.to_string())),
    };
    let qualities = baselines::qualities(conn, baseline.baseline_id).await?;
    let course = (
        subject.version_id,
        subject.monitor.name.as_str(),
        baseline.baseline_id,
    );
    let value_of = |of: Measure| {
        let same = |quality: &&baselines::BaselineQuality| {
            quality.segment.is_overall() && quality.measure == of.as_str()
        };
        qualities.iter().find(same).map(|quality| quality.value)
    };
    let nothing = Reliability::default();
    let around = |measure: Measure| Circumstances {
        reference: measure.estimated().and_then(value_of),
        tolerance: subject.monitor.estimate_tolerance,
        reliability: &nothing,
        least_rows: subject.monitor.min_rows,
        days: (subject.window.end - subject.window.start).num_seconds() as f64 / 86_400.0,
        unit: unit(subject, measure),
    };
    let mut values = Vec::new();
    for (measure, estimation) in &of_window.values {
        let before = subject.window.start - chrono::TimeDelta::microseconds(1);
        let reliability = reliability(conn, course, *measure, before).await?;
        let around = Circumstances {
            reliability: &reliability,
            ..around(*measure)
        };
        let told = of_window.told(*measure, *estimation, &around);
        values.push(Measurement {
            value: told.value,
            interval: told.interval,
            reference: around.reference,
            status: told.status,
            current_rows: of_window.rows,
            reference_rows: sample.labels,
            baseline_id: Some(baseline.baseline_id),
            recipe: Recipe {
                reference: subject.fitted_reference(),
                ..told.recipe
            },
            ..subject.blank(&Segment::overall(), "", *measure)
        });
    }
    check(
        conn,
        subject,
        (&sample, baseline.baseline_id),
        &of_window.values,
        of_window.rows,
    )
    .await?;
    let main = measures[0];
    let reliability = reliability(conn, course, main, subject.window.start).await?;
    let around = Circumstances {
        reliability: &reliability,
        ..around(main)
    };
    let told = error_told(main, &around);
    values.push(Measurement {
        value: told.value,
        status: told.status,
        baseline_id: Some(baseline.baseline_id),
        current_rows: of_window.rows,
        recipe: told.recipe,
        ..subject.blank(&Segment::overall(), "", Measure::EstimateError)
    });
    Ok(values)
}

fn unit<'a>(subject: &Subject<'a>, measure: Measure) -> &'a str {
    if measure.has_unit() {
        &subject.model.unit
    } else {
        ""
    }
}

/// What was learnt from the baseline's labelled rows; learnt now if it was not, or is damaged.
async fn estimator(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    baseline_id: BaselineId,
    sample: &std::sync::Arc<LabelledSample>,
) -> Result<Result<Estimator, String>, Error> {
    if let Some(stored) = estimates::estimator(conn, baseline_id).await? {
        match Estimator::decode(&stored) {
            Ok(estimator) => return Ok(Ok(estimator)),
            Err(error) => {
                tracing::error!(%baseline_id, %error, "an estimator is damaged; it is learnt again");
            }
        }
    }
    let (task, rows) = (subject.model.task, sample.clone());
    let fitted = tokio::task::spawn_blocking(move || Estimator::fit(&rows, task));
    match fitted.await.map_err(Error::internal)? {
        Ok(estimator) => {
            let of = (subject.model.project_id, subject.model.model_id);
            estimates::put_estimator(conn, of, baseline_id, &estimator.encode(), subject.now)
                .await?;
            Ok(Ok(estimator))
        }
        Err(undefined) => Ok(Err(format!(
            "nothing can be learnt from the {} labelled rows of the baseline: {undefined}",
            sample.rows.len()
        ))),
    }
}

/// The window's predictions without an error, as the estimator counts them.
async fn count(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    estimator: &Estimator,
    mut counted: Counted,
) -> Result<Counted, Error> {
    let (version_id, window) = (subject.version_id, subject.window);
    let features = estimator.features();
    let all = predictions::chunks_between(conn, version_id, window.start, window.end).await?;
    for (day, chunk) in some_chunks(all).0 {
        let read = Read::Rows {
            features: &features,
        };
        let mut chunk = predictions::chunk(conn, version_id, day, chunk, read).await?;
        let rows: Vec<(usize, DateTime<Utc>)> = (0..chunk.rows())
            .filter_map(|row| Some((row, answered_at(&chunk, row)?)))
            .filter(|(_, at)| (window.start..window.end).contains(at))
            .collect();
        let outputs: Vec<(i64, Output)> = (rows.iter())
            .map(|(row, at)| (day_number(*at), output(&chunk, *row)))
            .collect();
        let places: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let columns: Vec<Column> = (chunk.take_columns(ColumnKind::Feature).iter())
            .map(|column| column.select(&places))
            .collect();
        estimator
            .count(
                &mut counted,
                &outputs,
                &columns,
                positive_class(subject.model),
            )
            .map_err(Error::internal)?;
    }
    Ok(counted)
}

fn value<'c>(chunk: &'c Chunk, name: &str, row: usize) -> Value<'c> {
    chunk
        .column(ColumnKind::Row, name)
        .map_or(Value::Absent, |column| column.get(row))
}

/// When a prediction without an error was made.
fn answered_at(chunk: &Chunk, row: usize) -> Option<DateTime<Utc>> {
    match (
        value(chunk, row_column::PREDICTED_AT, row),
        value(chunk, row_column::ERROR, row),
    ) {
        (Value::Timestamp(at), Value::Absent | Value::Null) => Some(at),
        _ => None,
    }
}

fn output(chunk: &Chunk, row: usize) -> Output {
    let number = |name| match value(chunk, name, row) {
        Value::Number(number) => Some(number),
        _ => None,
    };
    let text = |name| match value(chunk, name, row) {
        Value::Text(text) => Some(text.into_owned()),
        _ => None,
    };
    let probabilities: Option<serde_json::Map<String, serde_json::Value>> =
        text(row_column::PROBABILITIES).and_then(|json| serde_json::from_str(&json).ok());
    Output {
        value: number(row_column::VALUE),
        class: text(row_column::CLASS),
        score: number(row_column::SCORE),
        probabilities: (probabilities.into_iter().flatten())
            .filter_map(|(class, p)| Some((class, p.as_f64()?)))
            .collect(),
    }
}

/// Holds the window's estimates against its labels, if these have come to as many as the baseline's had.
async fn check(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    (sample, baseline_id): (&LabelledSample, BaselineId),
    estimated: &[(Measure, Estimation)],
    rows: u64,
) -> Result<(), Error> {
    let answered = maturity::answered(subject.totals);
    let labels = u64::try_from(subject.totals.labels).unwrap_or(0);
    let usual = sample.labels as f64 / sample.answered.max(1) as f64;
    if labels == 0 || (labels as f64) < ENOUGH * usual * answered as f64 {
        return Ok(());
    }
    let span = (subject.window.start, subject.window.end);
    let outcomes = labels::outcomes(conn, subject.version_id, span.0, span.1).await?;
    let outcomes: Vec<QualityOutcome> = (outcomes.rows)
        .into_iter()
        .map(QualityOutcome::of_stored)
        .collect();
    let measures: Vec<Measure> = estimated
        .iter()
        .filter_map(|(measure, _)| measure.estimated())
        .collect();
    let choice = QualityChoice::default();
    let wanted = Wanted {
        measures: &measures,
        choice: &choice,
    };
    let realised = quality::of(subject.model, wanted, outcomes.iter());
    for (measure, estimation) in estimated {
        let Ok(estimate) = estimation else { continue };
        let found = realised
            .iter()
            .find(|value| Some(value.measure) == measure.estimated());
        let Some((realised, labels)) = found.and_then(|found| Some((found.value()?, found.labels)))
        else {
            continue;
        };
        let (low, high) = widened((estimate.value, estimate.interval), rows, labels);
        let check = Check {
            measure: measure.as_str().to_owned(),
            window_start: subject.window.start,
            estimated: estimate.value,
            low,
            high,
            realised,
            labels,
        };
        let of = (subject.model.project_id, subject.model.model_id);
        let course = (
            subject.version_id,
            subject.monitor.name.as_str(),
            baseline_id,
        );
        estimates::put_check(conn, of, course, &check).await?;
    }
    Ok(())
}

/// How far off the estimates of windows up to one have been.
async fn reliability(
    conn: &mut PgConnection,
    course: estimates::Course<'_>,
    measure: Measure,
    until: DateTime<Utc>,
) -> Result<Reliability, Error> {
    let mut reliability = Reliability::default();
    for check in estimates::checks(conn, course, measure.as_str(), until, CHECKS).await? {
        reliability.push(compared(
            check.estimated,
            (check.low, check.high),
            check.realised,
        ));
    }
    Ok(reliability)
}
