//! The labelled rows that a baseline keeps: drawn when it is fitted, from its file or its window, and read by detectors
//! of labels and estimators.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use super::maturity;
use super::quality::QualityOutcome;
use crate::domain::columns::{Column, Value};
use crate::domain::ids::{BaselineId, VersionId};
use crate::domain::labelled::{
    EarlierTruth, LABELLED_ROWS, LabelledRow, LabelledSample, MOST_FEATURES, is_kept,
};
use crate::domain::model::Task;
use crate::formats::ReferenceRows;
use crate::storage::labelled::{self, StoredSample};
use crate::storage::labels::{EarlierLabel, Outcome, SampledOutcome};
use crate::storage::models::Model;
use crate::storage::predictions::{self, ColumnKind, Read, row_column};
use crate::storage::{labels, windows};

/// More rows than any window has.
const ALL_ROWS: i64 = 1 << 31;

/// Of the rows of a file. It does not say when its labels came.
#[must_use]
pub(super) fn of_file(model: &Model, rows: &ReferenceRows) -> LabelledSample {
    let truth = |row: usize| {
        let (output, label) = (rows.outputs[row].as_ref()?, rows.labels[row].as_ref()?);
        QualityOutcome::of_file(output, label).truth(model)
    };
    let mut labelled: Vec<(usize, LabelledRow)> = (0..rows.len())
        .filter_map(|row| {
            let found = LabelledRow {
                predicted_at: rows.times[row],
                lag: None,
                truth: truth(row)?,
                earlier: Vec::new(),
            };
            Some((row, found))
        })
        .collect();
    if labelled.iter().all(|(_, row)| row.predicted_at.is_some()) {
        labelled.sort_by_key(|(place, row)| (row.predicted_at, *place));
    }
    let labels = labelled.len();
    let mut place = 0;
    labelled.retain(|_| {
        place += 1;
        is_kept(place - 1, labels, LABELLED_ROWS)
    });
    let drawn: Vec<usize> = labelled.iter().map(|(row, _)| *row).collect();
    let features = (model.task == Task::Regression).then(|| {
        let mut features: Vec<Column> = rows
            .features
            .iter()
            .map(|column| column.select(&drawn))
            .collect();
        bounded(&mut features);
        features
    });
    LabelledSample {
        answered: rows.outputs.iter().flatten().count() as u64,
        labels: labels as u64,
        rows: labelled.into_iter().map(|(_, row)| row).collect(),
        features: features.unwrap_or_default(),
    }
}

/// Of a window of production.
///
/// # Errors
/// When the database fails.
pub(super) async fn of_window(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<LabelledSample, Error> {
    let most = i64::try_from(LABELLED_ROWS).unwrap_or(i64::MAX);
    let drawn = labels::sampled_outcomes(conn, version_id, (from, to), most).await?;
    let answered = maturity::answered(windows::totals(conn, version_id, from, to).await?);
    let seen = drawn
        .first()
        .map_or(0, |first| u64::try_from(first.seen).unwrap_or(0));
    let mut ids = HashMap::new();
    let mut rows = Vec::new();
    for (prediction_id, row) in with_earlier(conn, model, version_id, (from, to), drawn).await? {
        ids.insert(prediction_id, rows.len());
        rows.push(row);
    }
    let features = if model.task == Task::Regression && !rows.is_empty() {
        features_of(conn, version_id, (from, to), &ids).await?
    } else {
        Vec::new()
    };
    Ok(LabelledSample {
        answered: answered.max(seen),
        labels: seen,
        rows,
        features,
    })
}

/// All labelled rows of a window of production, in the order of time.
///
/// # Errors
/// When the database fails.
pub(super) async fn all_of_window(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<LabelledRow>, Error> {
    let all = labels::sampled_outcomes(conn, version_id, (from, to), ALL_ROWS).await?;
    let rows = with_earlier(conn, model, version_id, (from, to), all).await?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Labelled rows by the ids of their predictions, with what labels said that were corrected.
async fn with_earlier(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    outcomes: Vec<SampledOutcome>,
) -> Result<Vec<(String, LabelledRow)>, Error> {
    let mut corrected: HashMap<String, Vec<EarlierLabel>> = HashMap::new();
    for earlier in labels::earlier(conn, version_id, (from, to)).await? {
        let of_prediction = corrected.entry(earlier.prediction_id.clone()).or_default();
        of_prediction.push(earlier);
    }
    let truth = |outcome: Outcome| QualityOutcome::of_stored(outcome).truth(model);
    let rows = outcomes.into_iter().filter_map(|sampled| {
        let outcome = sampled.outcome;
        let before = corrected.remove(&sampled.prediction_id).unwrap_or_default();
        let earlier = before.into_iter().filter_map(|label| {
            let said = Outcome {
                label_value: label.value,
                label_class: label.class,
                ..outcome.clone()
            };
            Some(EarlierTruth {
                lag: label.lag_seconds.max(0.0),
                truth: truth(said)?,
            })
        });
        let row = LabelledRow {
            predicted_at: Some(outcome.predicted_at),
            lag: Some(outcome.lag_seconds.max(0.0)),
            earlier: earlier.collect(),
            truth: truth(outcome)?,
        };
        Some((sampled.prediction_id, row))
    });
    Ok(rows.collect())
}

/// The features of predictions, given the place of each in the sample. Chunks are read one after the other, so that no more
/// than one of them is in memory beside the sample.
async fn features_of(
    conn: &mut PgConnection,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    ids: &HashMap<String, usize>,
) -> Result<Vec<Column>, Error> {
    let mut found: Vec<Column> = Vec::new();
    // The place in the sample of each row found.
    let mut places: Vec<usize> = Vec::new();
    for (day, chunk) in predictions::chunks_between(conn, version_id, from, to).await? {
        let mut chunk = predictions::chunk(conn, version_id, day, chunk, Read::All).await?;
        let Some(known) = chunk.column(ColumnKind::Row, row_column::PREDICTION_ID) else {
            continue;
        };
        let matching: Vec<(usize, usize)> = (known.iter().enumerate())
            .filter_map(|(row, id)| match id {
                Value::Text(id) => ids.get(id.as_ref()).map(|place| (row, *place)),
                _ => None,
            })
            .collect();
        if matching.is_empty() {
            continue;
        }
        let rows: Vec<usize> = matching.iter().map(|(row, _)| *row).collect();
        let before = places.len();
        for column in chunk.take_columns(ColumnKind::Feature) {
            let at =
                (found.iter().position(|known| known.name == column.name)).unwrap_or_else(|| {
                    found.push(Column::new(column.name.clone()));
                    found.len() - 1
                });
            found[at].resize(before);
            found[at].append(&column.select(&rows));
        }
        places.extend(matching.iter().map(|(_, place)| *place));
    }
    // Into the order of the sample; what was not found is absent.
    let missing = places.len();
    let mut order = vec![missing; ids.len()];
    for (row, place) in places.iter().enumerate() {
        order[*place] = row;
    }
    for column in &mut found {
        column.resize(missing + 1);
        *column = column.select(&order);
    }
    bounded(&mut found);
    Ok(found)
}

fn bounded(features: &mut Vec<Column>) {
    features.sort_by(|a, b| a.name.cmp(&b.name));
    features.truncate(MOST_FEATURES);
}

/// Keeps the labelled rows of a baseline that has some.
///
/// # Errors
/// When the database fails.
pub(super) async fn put(
    conn: &mut PgConnection,
    model: &Model,
    baseline_id: BaselineId,
    sample: &LabelledSample,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let stored = StoredSample {
        labels: sample.labels,
        lag_seconds: sample.mature_after(),
        sample: sample.encode(),
    };
    let of = (model.project_id, model.model_id);
    labelled::put(conn, of, baseline_id, &stored, now).await?;
    Ok(())
}

/// The labelled rows that a baseline kept, or why there are none.
///
/// # Errors
/// When the database fails.
pub(super) async fn load(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> Result<Result<LabelledSample, &'static str>, Error> {
    Ok(match labelled::of_baseline(conn, baseline_id).await? {
        None => Err("the baseline was fitted without its labelled rows; fit it again"),
        Some(stored) => LabelledSample::decode(&stored.sample).map_err(|error| {
            tracing::error!(%baseline_id, %error, "a baseline's labelled rows are damaged");
            "the baseline's labelled rows are damaged; fit the baseline again"
        }),
    })
}
