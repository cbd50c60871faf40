//! Outcomes: predictions joined with their labels, whichever came first.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use super::{Sorted, WindowAdditions, empty_addition};
use crate::domain::columns::{Column, TextColumn, Value};
use crate::domain::ids::VersionId;
use crate::services::Error;
use crate::services::profiling;
use crate::storage::keys::{self, IdHasher, KeyFilters};
use crate::storage::labels::{self, Joined, NewOutcome, StoredLabel};
use crate::storage::models::{self, Model};
use crate::storage::predictions::{self, Chunk, ChunkKey, ColumnKind, Read, row_column};

/// Joins new predictions with the labels that are there already. Predictions that report an error have no outcome.
pub(super) async fn of_new_predictions(
    conn: &mut PgConnection,
    model: &Model,
    sorted: &Sorted,
    rows: &[usize],
) -> Result<Vec<Joined>, Error> {
    if !labels::any(conn, model.model_id).await? {
        return Ok(Vec::new());
    }
    let batch = sorted.pack.rows();
    let ids: Vec<String> = rows
        .iter()
        .map(|row| batch.prediction_ids[*row].to_owned())
        .collect();
    let found = labels::find(conn, model.model_id, &ids).await?;
    let by_id: HashMap<&str, &StoredLabel> = found
        .iter()
        .map(|label| (label.prediction_id.as_str(), label))
        .collect();
    let outcomes: Vec<NewOutcome> = rows
        .iter()
        .filter(|row| batch.errors.get(**row).is_none())
        .filter_map(|&row| {
            let label = *by_id.get(&batch.prediction_ids[row])?;
            let output = &batch.outputs[row];
            let probabilities = output.probabilities.iter();
            let probabilities: serde_json::Map<String, serde_json::Value> = probabilities
                .map(|(class, probability)| (class.clone(), (*probability).into()))
                .collect();
            Some(NewOutcome {
                version_id: sorted.versions[row].0,
                predicted_at: batch.predicted_at[row],
                label: label.clone(),
                segments: profiling::segment_values(&sorted.segments, row),
                predicted_value: output.value,
                predicted_class: output.class.clone(),
                score: output.score,
                probabilities: (!probabilities.is_empty()).then(|| probabilities.into()),
            })
        })
        .collect();
    put(conn, model, &outcomes, by_id.into_keys().collect()).await
}

/// Joins labels that were put into force with the predictions that are there already, of any version.
pub(super) async fn of_labels(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model: &Model,
    changed: &[StoredLabel],
) -> Result<Vec<Joined>, Error> {
    let hasher = IdHasher::new(model.model_id);
    let by_id: HashMap<&str, &StoredLabel> = changed
        .iter()
        .map(|label| (label.prediction_id.as_str(), label))
        .collect();
    let hashes: Vec<i64> = by_id.keys().map(|id| hasher.hash(id)).collect();
    let mut places: BTreeMap<ChunkKey, Vec<usize>> = BTreeMap::new();
    for key in keys::find(conn, filters, model.model_id, hashes).await? {
        let position = usize::try_from(key.position).unwrap_or(usize::MAX);
        places.entry(key.chunk).or_default().push(position);
    }
    let versions: HashMap<i32, VersionId> = models::version_numbers(conn, model.model_id)
        .await?
        .into_iter()
        .map(|(_, version_id, number)| (number, version_id))
        .collect();
    let mut outcomes = Vec::new();
    let mut known = Vec::new();
    for (key, positions) in places {
        let Some(&version_id) = versions.get(&key.version_number) else {
            continue;
        };
        let day = predictions::day_of_chunk(key);
        let read = Read::Rows {
            features: &model.segments,
        };
        let chunk = predictions::chunk(conn, version_id, day, key.chunk, read).await?;
        let rows = Rows::of(&chunk, model);
        for position in positions {
            let id = rows.text(row_column::PREDICTION_ID, position);
            let Some(&label) = id.as_deref().and_then(|id| by_id.get(id)) else {
                continue;
            };
            known.push(label.prediction_id.as_str());
            outcomes.extend(rows.outcome(version_id, position, label));
        }
    }
    put(conn, model, &outcomes, known).await
}

async fn put(
    conn: &mut PgConnection,
    model: &Model,
    outcomes: &[NewOutcome],
    known: Vec<&str>,
) -> Result<Vec<Joined>, Error> {
    let joined = labels::put_outcomes(conn, model.project_id, model.model_id, outcomes).await?;
    if !known.is_empty() {
        labels::mark_joined(conn, model.model_id, &known).await?;
    }
    Ok(joined)
}

/// What outcomes need of a chunk.
struct Rows<'c> {
    columns: HashMap<&'c str, &'c Column>,
    segments: Vec<TextColumn>,
}

impl<'c> Rows<'c> {
    fn of(chunk: &'c Chunk, model: &Model) -> Self {
        let columns = chunk.columns(ColumnKind::Row);
        Self {
            columns: columns
                .map(|column| (column.name.as_str(), column))
                .collect(),
            segments: profiling::chunk_segments(chunk, model),
        }
    }

    fn value(&self, name: &str, position: usize) -> Value<'c> {
        let column = self.columns.get(name);
        column.map_or(Value::Absent, |column| column.get(position))
    }

    fn number(&self, name: &str, position: usize) -> Option<f64> {
        match self.value(name, position) {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn text(&self, name: &str, position: usize) -> Option<String> {
        match self.value(name, position) {
            Value::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    fn outcome(
        &self,
        version_id: VersionId,
        position: usize,
        label: &StoredLabel,
    ) -> Option<NewOutcome> {
        let Value::Timestamp(predicted_at) = self.value(row_column::PREDICTED_AT, position) else {
            return None;
        };
        if self.text(row_column::ERROR, position).is_some() {
            return None;
        }
        let probabilities = self.text(row_column::PROBABILITIES, position);
        Some(NewOutcome {
            version_id,
            predicted_at,
            label: label.clone(),
            segments: profiling::segment_values(&self.segments, position),
            predicted_value: self.number(row_column::VALUE, position),
            predicted_class: self.text(row_column::CLASS, position),
            score: self.number(row_column::SCORE, position),
            probabilities: probabilities.and_then(|json| serde_json::from_str(&json).ok()),
        })
    }
}

/// Counts a joined label for its window.
pub(super) fn note_label(additions: &mut WindowAdditions, model: &Model, joined: &Joined) {
    let start = model.base_window.window_at(joined.predicted_at).start;
    let addition = additions
        .entry((joined.version_id, start))
        .or_insert_with(|| empty_addition(joined.version_id, start));
    addition.labels += u64::from(joined.is_new);
}
