//! Stored rows as the batches that they came in, and batches cut into parts.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use crate::domain::batch::{LabelBatch, LabelValue, Output, PredictionBatch};
use crate::domain::columns::{Column, Kind, TextColumn, Value};
use crate::domain::ids::ModelId;
use crate::storage::labels::{self, StoredLabel};
use crate::storage::predictions::{Chunk, ColumnKind, row_column};

/// The predictions of a chunk.
pub(in crate::services) fn of_chunk(mut chunk: Chunk, version: &str) -> PredictionBatch {
    let rows = chunk.rows();
    let value = |name: &str, row: usize| match chunk.column(ColumnKind::Row, name) {
        Some(column) => column.get(row),
        None => Value::Absent,
    };
    let number = |name: &str, row: usize| match value(name, row) {
        Value::Number(number) => Some(number),
        _ => None,
    };
    let text = |name: &str, row: usize| match value(name, row) {
        Value::Text(text) => Some(text.into_owned()),
        _ => None,
    };
    let texts = |name: &str| -> TextColumn {
        let mut texts = TextColumn::default();
        (0..rows).for_each(|row| texts.push(text(name, row).as_deref()));
        texts
    };
    let mut batch = PredictionBatch {
        errors: texts(row_column::ERROR),
        deployments: texts(row_column::DEPLOYMENT),
        ..PredictionBatch::default()
    };
    for row in 0..rows {
        let id = text(row_column::PREDICTION_ID, row);
        batch.prediction_ids.push(id.as_deref().unwrap_or_default());
        batch
            .predicted_at
            .push(match value(row_column::PREDICTED_AT, row) {
                Value::Timestamp(at) => at,
                _ => chrono::DateTime::UNIX_EPOCH,
            });
        batch.versions.push(Some(version));
        let probabilities = text(row_column::PROBABILITIES, row)
            .and_then(|json| serde_json::from_str::<serde_json::Map<_, _>>(&json).ok())
            .unwrap_or_default();
        batch.outputs.push(Output {
            value: number(row_column::VALUE, row),
            class: text(row_column::CLASS, row),
            score: number(row_column::SCORE, row),
            probabilities: (probabilities.into_iter())
                .filter_map(|(class, probability)| Some((class, probability.as_f64()?)))
                .collect(),
        });
        let segments = chunk.columns(ColumnKind::Segment);
        batch.segments.push(
            segments
                .filter_map(|segment| match segment.get(row) {
                    Value::Text(value) => Some((segment.name.clone(), value.into_owned())),
                    _ => None,
                })
                .collect(),
        );
        batch.latency_ms.push(number(row_column::LATENCY_MS, row));
    }
    batch.features = chunk.take_columns(ColumnKind::Feature);
    batch
}

/// Every label that came for predictions of a batch, those that were corrected included.
pub(super) async fn labels_of(
    conn: &mut PgConnection,
    model_id: ModelId,
    batch: &PredictionBatch,
) -> sqlx::Result<LabelBatch> {
    let ids: BTreeSet<&str> = batch.prediction_ids.iter().collect();
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let mut all: Vec<StoredLabel> = labels::revisions(conn, model_id, &ids).await?;
    all.extend(labels::find(conn, model_id, &ids).await?);
    let mut rows = LabelBatch::default();
    for label in all {
        let Some(value) =
            (label.value.map(LabelValue::Number)).or(label.class.map(LabelValue::Class))
        else {
            continue;
        };
        rows.prediction_ids.push(label.prediction_id);
        rows.labels.push(value);
        rows.observed_at.push(label.observed_at);
    }
    Ok(rows)
}

/// Rows in parts of at most so many.
pub(super) fn parts(batch: PredictionBatch, most: usize) -> Vec<PredictionBatch> {
    if batch.len() <= most {
        return vec![batch];
    }
    let starts = (0..batch.len()).step_by(most);
    starts
        .map(|start| select(&batch, |row| (start..start + most).contains(&row)))
        .collect()
}

/// As [`parts`].
pub(super) fn label_parts(batch: LabelBatch, most: usize) -> Vec<LabelBatch> {
    let mut parts = Vec::new();
    let mut rest = batch;
    while rest.len() > most {
        let behind = LabelBatch {
            prediction_ids: rest.prediction_ids.split_off(most),
            labels: rest.labels.split_off(most),
            observed_at: rest.observed_at.split_off(most),
        };
        parts.push(std::mem::replace(&mut rest, behind));
    }
    parts.push(rest);
    parts
}

/// The rows without those of these ids, and those.
pub(in crate::services) fn without(
    batch: PredictionBatch,
    ids: &BTreeSet<String>,
) -> (PredictionBatch, PredictionBatch) {
    let gone: Vec<bool> = batch
        .prediction_ids
        .iter()
        .map(|id| ids.contains(id))
        .collect();
    let taken = select(&batch, |row| gone[row]);
    (select(&batch, |row| !gone[row]), taken)
}

/// Some rows of a batch, with nothing of the others: texts that no row has are left behind, and so are features that
/// no row has.
fn select(batch: &PredictionBatch, wanted: impl Fn(usize) -> bool) -> PredictionBatch {
    let rows: Vec<usize> = (0..batch.len()).filter(|row| wanted(*row)).collect();
    let mut selected = batch.select(&rows);
    let is_there = |column: &Column| column.kinds().iter().any(|kind| *kind != Kind::Absent);
    selected.features.retain(is_there);
    selected
}
