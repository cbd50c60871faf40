//! Settling landed batches, exactly once: one transaction makes ids known, stores rows, merges profiles,
//! joins labels and marks the batch settled. A crash at any line changes nothing or everything, because the
//! only thing that says a batch is settled is written in that same transaction.
//!
//! A model is settled by one worker at a time (its row is locked), so batches of a model cannot deadlock or
//! merge a profile twice; different models settle side by side.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::profiling::{self, Groups, PREDICTION, Yardstick};
use super::{Error, Services, ingest};
use crate::domain::batch::{Column, LabelBatch, PredictionBatch, Value};
use crate::domain::ids::{BatchId, ChunkId, VersionId};
use crate::domain::window::Grain;
use crate::storage::intake::{self, BatchKind, CountAddition, Settled, Waiting};
use crate::storage::labels::{self, Joined, StoredLabel};
use crate::storage::models::{self, Model};
use crate::storage::partitions;
use crate::storage::predictions::{self, FeatureChunk, PredictionKey, PredictionRows};
use crate::storage::windows::{self, WindowAddition};

/// How many batches one transaction settles at most.
const BATCHES: i64 = 32;
/// How many predictions share a chunk of feature columns.
const CHUNK_ROWS: usize = 1_000;
/// After how many failures a batch is set aside, kept, for people to look at.
const ATTEMPTS: i32 = 5;

/// Settles the due batches of one model. Returns whether there was anything to do.
///
/// # Errors
/// When the database is out of reach. A batch that cannot be settled for a reason of its own is tried again
/// later and then set aside; it holds up nothing else.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut tx = services.pool.begin().await?;
    let Some(model_id) = intake::claim_model(&mut tx, now).await? else {
        return Ok(false);
    };
    crate::faults::crash_point("settle.claimed");
    let model = models::get(&mut tx, model_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("model {model_id}")))?;
    let mut due = intake::due(&mut tx, model_id, now, BATCHES).await?;
    // A batch that failed before is settled alone, so that it can fail alone.
    if let Some(failed) = due.iter().position(|batch| batch.attempts > 0) {
        due = if failed == 0 {
            due.drain(..1).collect()
        } else {
            due.drain(..failed).collect()
        };
    }
    let decoded = decode(&due);
    crate::faults::crash_point("settle.decoded");
    drop(tx);

    match settle(services, &model, &decoded, now).await {
        Ok(()) => Ok(true),
        Err(error @ Error::Unavailable { .. }) => Err(error),
        Err(error) => {
            set_back(services, &due, &error, now).await?;
            Ok(true)
        }
    }
}

/// A landed batch read back, or why it could not be.
struct Unpacked {
    batch_id: BatchId,
    kind: BatchKind,
    received_at: DateTime<Utc>,
    rows: Result<Rows, ingest::BodyError>,
}

enum Rows {
    Predictions(PredictionBatch),
    Labels(LabelBatch),
}

fn decode(due: &[Waiting]) -> Vec<Unpacked> {
    due.iter()
        .map(|waiting| Unpacked {
            batch_id: waiting.batch_id,
            kind: waiting.kind,
            received_at: waiting.received_at,
            rows: match waiting.kind {
                BatchKind::Predictions => ingest::decode_body(&waiting.body).map(Rows::Predictions),
                BatchKind::Labels => ingest::decode_body(&waiting.body).map(Rows::Labels),
            },
        })
        .collect()
}

async fn set_back(
    services: &Services,
    due: &[Waiting],
    error: &Error,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ids: Vec<BatchId> = due.iter().map(|batch| batch.batch_id).collect();
    let attempts = due.iter().map(|batch| batch.attempts).max().unwrap_or(0);
    let give_up = due.len() == 1 && attempts + 1 >= ATTEMPTS;
    tracing::error!(batches = ?ids, error = error as &dyn std::error::Error, give_up, "could not settle");
    let not_before = (!give_up).then(|| now + TimeDelta::seconds(i64::from(attempts)));
    let mut conn = services.pool.acquire().await?;
    intake::mark_attempt(&mut conn, &ids, &error_chain(error), not_before).await?;
    Ok(())
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\0', "\u{2400}")
}

async fn settle(
    services: &Services,
    model: &Model,
    unpacked: &[Unpacked],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    make_partitions(services, unpacked).await?;
    crate::faults::crash_point("settle.partitions_made");
    let mut tx = services.pool.begin().await?;
    models::lock(&mut tx, model.model_id).await?;
    crate::faults::crash_point("settle.locked");
    // Its segments may have been declared anew before the lock was had.
    let model = &models::get(&mut tx, model.model_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("model {}", model.model_id)))?;
    let yardstick = Yardstick::load(&mut tx, model.model_id).await?;
    let mut counts = Vec::new();
    for batch in unpacked {
        if !still_landed(&mut tx, model, batch.batch_id).await? {
            continue;
        }
        let settled = match &batch.rows {
            Ok(Rows::Predictions(rows)) => {
                settle_predictions(&mut tx, model, &yardstick, rows, now).await?
            }
            Ok(Rows::Labels(rows)) => {
                settle_labels(&mut tx, model, batch.batch_id, rows, batch.received_at, now).await?
            }
            Err(error) => {
                tracing::error!(batch = %batch.batch_id, %error, "a landed batch is damaged; it is set aside");
                intake::mark_attempt(&mut tx, &[batch.batch_id], &error_chain(error), None).await?;
                continue;
            }
        };
        intake::mark_settled(&mut tx, batch.batch_id, settled, now).await?;
        counts.extend(additions(model, batch.kind, settled));
        crate::faults::crash_point("settle.between_batches");
    }
    intake::add_counts(&mut tx, &counts).await?;
    crate::faults::crash_point("settle.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("settle.after_commit");
    Ok(())
}

/// Whether no other worker settled the batch between the claim and the lock.
async fn still_landed(
    conn: &mut PgConnection,
    model: &Model,
    batch_id: BatchId,
) -> Result<bool, Error> {
    let status = intake::status(conn, model.project_id, batch_id).await?;
    Ok(status.is_some_and(|status| status.state == "landed"))
}

fn additions(model: &Model, kind: BatchKind, settled: Settled) -> [CountAddition; 3] {
    let addition = |outcome, rows| CountAddition {
        project_id: model.project_id,
        model_id: model.model_id,
        kind,
        outcome,
        reason: "",
        rows,
    };
    [
        addition("accepted", settled.accepted),
        addition("duplicate", settled.duplicate),
        addition("conflicting", settled.conflicting),
    ]
}

async fn make_partitions(services: &Services, unpacked: &[Unpacked]) -> Result<(), Error> {
    let mut days: Vec<DateTime<Utc>> = unpacked
        .iter()
        .filter_map(|batch| match &batch.rows {
            Ok(Rows::Predictions(rows)) => Some(&rows.predicted_at),
            _ => None,
        })
        .flatten()
        .map(|at| Grain::Day.window_at(*at).start)
        .collect();
    days.sort_unstable();
    days.dedup();
    if days.is_empty() {
        return Ok(());
    }
    let mut conn = services.pool.acquire().await?;
    partitions::ensure(&mut conn, Grain::Day, &days).await?;
    partitions::ensure(&mut conn, Grain::Month, &days).await?;
    Ok(())
}

async fn settle_predictions(
    conn: &mut PgConnection,
    model: &Model,
    yardstick: &Yardstick,
    batch: &PredictionBatch,
    now: DateTime<Utc>,
) -> Result<Settled, Error> {
    let versions: HashMap<String, VersionId> = models::versions(conn, model.model_id)
        .await?
        .into_iter()
        .map(|version| (version.name, version.version_id))
        .collect();
    let keys = keys_of(batch, &versions)?;
    let (rows, settled) = admit(conn, model, &keys).await?;
    crate::faults::crash_point("settle.ids_admitted");
    if rows.is_empty() {
        return Ok(settled);
    }
    let segments: Vec<Vec<String>> = (0..batch.len())
        .map(|row| segment_values(model, batch, row))
        .collect();
    store(conn, model, batch, &keys, &segments, &rows, now).await?;
    crate::faults::crash_point("settle.rows_stored");

    let mut groups = Groups::new();
    let mut additions: BTreeMap<(VersionId, DateTime<Utc>), WindowAddition> = BTreeMap::new();
    for &row in &rows {
        let start = model.base_window.window_at(batch.predicted_at[row]).start;
        let version_id = keys[row].version_id;
        for segment in profiling::segments_of(&model.segments, &segments[row]) {
            groups
                .entry((version_id, start, segment))
                .or_default()
                .push(row);
        }
        let addition = additions
            .entry((version_id, start))
            .or_insert_with(|| empty_addition(version_id, start));
        addition.predictions += 1;
        addition.errors += u64::from(batch.errors[row].is_some());
        addition.last_event_at = addition.last_event_at.max(batch.predicted_at[row]);
    }
    let counted = profiling::count(
        yardstick,
        &groups,
        &profiled_columns(model, yardstick, batch),
    )?;
    profiling::merge(conn, model, yardstick.grid_id, counted).await?;
    crate::faults::crash_point("settle.profiles_merged");

    let ids: Vec<String> = rows
        .iter()
        .map(|row| batch.prediction_ids[*row].clone())
        .collect();
    let times = rows.iter().map(|row| batch.predicted_at[*row]);
    for joined in join(conn, model, &ids, times).await? {
        note_label(&mut additions, model, &joined);
    }
    crate::faults::crash_point("settle.labels_joined");
    for addition in additions.values() {
        windows::add(conn, model.project_id, model.model_id, addition, now).await?;
    }
    Ok(settled)
}

fn keys_of(
    batch: &PredictionBatch,
    versions: &HashMap<String, VersionId>,
) -> Result<Vec<PredictionKey>, Error> {
    (0..batch.len())
        .map(|row| {
            let version_id = *versions.get(&batch.versions[row]).ok_or_else(|| {
                Error::internal(format!(
                    "version {:?} is not registered",
                    batch.versions[row]
                ))
            })?;
            Ok(PredictionKey {
                prediction_id: batch.prediction_ids[row].clone(),
                version_id,
                predicted_at: batch.predicted_at[row],
                content_hash: content_hash(batch, row),
            })
        })
        .collect()
}

/// A hash of everything in a row but its id and version, to tell a repeated delivery from a conflicting one.
/// Absent features count like features the batch does not have, and the order in which features, classes and
/// segments are named does not count: it depends on the rows that happened to come in the same body.
fn content_hash(batch: &PredictionBatch, row: usize) -> Vec<u8> {
    let features: BTreeMap<&str, &Value> = batch
        .features
        .iter()
        .filter(|column| column.values[row] != Value::Absent)
        .map(|column| (column.name.as_str(), &column.values[row]))
        .collect();
    let mut output = batch.outputs[row].clone();
    output.probabilities.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut segments: Vec<&(String, String)> = batch.segments[row].iter().collect();
    segments.sort_unstable();
    let content = (
        batch.predicted_at[row],
        output,
        segments,
        batch.latency_ms[row],
        &batch.errors[row],
        &batch.deployments[row],
        features,
    );
    // Serialising plain values to a growing buffer cannot fail.
    let bytes = postcard::to_allocvec(&content).unwrap_or_default();
    Sha256::digest(bytes)[..16].to_vec()
}

/// Makes the new ids known and returns their rows, with what became of the others.
async fn admit(
    conn: &mut PgConnection,
    model: &Model,
    keys: &[PredictionKey],
) -> Result<(Vec<usize>, Settled), Error> {
    let mut seen = HashMap::new();
    let mut settled = Settled::default();
    let mut firsts = Vec::with_capacity(keys.len());
    for (row, key) in keys.iter().enumerate() {
        match seen.entry((key.version_id, key.prediction_id.as_str())) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(&key.content_hash);
                firsts.push(row);
            }
            std::collections::hash_map::Entry::Occupied(entry)
                if **entry.get() == key.content_hash =>
            {
                settled.duplicate += 1;
            }
            std::collections::hash_map::Entry::Occupied(_) => settled.conflicting += 1,
        }
    }
    // In key order, so that workers which meet on the same ids wait for each other instead of deadlocking.
    firsts.sort_unstable_by(|a, b| {
        let order = |row: &usize| (&keys[*row].prediction_id, keys[*row].version_id);
        order(a).cmp(&order(b))
    });
    let candidates: Vec<PredictionKey> = firsts.iter().map(|row| keys[*row].clone()).collect();
    let mut is_new = predictions::insert_new_keys(conn, model.model_id, &candidates).await?;
    if crate::faults::defect("skip_deduplication") {
        is_new.fill(true);
    }
    let known: Vec<String> = candidates
        .iter()
        .zip(&is_new)
        .filter(|(_, new)| !**new)
        .map(|(key, _)| key.prediction_id.clone())
        .collect();
    if !known.is_empty() {
        let stored: HashSet<(String, VersionId, Vec<u8>)> =
            predictions::keys(conn, model.model_id, &known)
                .await?
                .into_iter()
                .map(|key| (key.prediction_id, key.version_id, key.content_hash))
                .collect();
        for (key, _) in candidates.iter().zip(&is_new).filter(|(_, new)| !**new) {
            if stored.contains(&(
                key.prediction_id.clone(),
                key.version_id,
                key.content_hash.clone(),
            )) {
                settled.duplicate += 1;
            } else {
                settled.conflicting += 1;
            }
        }
    }
    let mut rows: Vec<usize> = firsts
        .into_iter()
        .zip(is_new)
        .filter(|(_, new)| *new)
        .map(|(row, _)| row)
        .collect();
    rows.sort_unstable();
    settled.accepted = rows.len() as u64;
    Ok((rows, settled))
}

/// The row's value of each declared segment, in the model's order; empty where it has none.
fn segment_values(model: &Model, batch: &PredictionBatch, row: usize) -> Vec<String> {
    model
        .segments
        .iter()
        .map(|name| {
            let sent = batch.segments[row]
                .iter()
                .find(|(sent, _)| sent == name)
                .map(|(_, value)| value.clone());
            sent.or_else(|| {
                let column = batch.features.iter().find(|column| column.name == *name)?;
                match &column.values[row] {
                    Value::Text(text) => Some(text.clone()),
                    Value::Integer(n) => Some(n.to_string()),
                    Value::Number(n) => Some(n.to_string()),
                    Value::Boolean(b) => Some(b.to_string()),
                    Value::Timestamp(_) | Value::Null | Value::Absent => None,
                }
            })
            .unwrap_or_default()
        })
        .collect()
}

async fn store(
    conn: &mut PgConnection,
    model: &Model,
    batch: &PredictionBatch,
    keys: &[PredictionKey],
    segments: &[Vec<String>],
    rows: &[usize],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut by_day: BTreeMap<(VersionId, DateTime<Utc>), Vec<usize>> = BTreeMap::new();
    for &row in rows {
        let day = Grain::Day.window_at(batch.predicted_at[row]).start;
        by_day
            .entry((keys[row].version_id, day))
            .or_default()
            .push(row);
    }
    let mut stored = PredictionRows::default();
    for ((version_id, day), rows) in by_day {
        for rows in rows.chunks(CHUNK_ROWS) {
            let chunk_id = ChunkId::new(now);
            for (position, &row) in (0_i32..).zip(rows) {
                push_row(&mut stored, batch, row, version_id, &segments[row]);
                stored.chunk_ids.push(chunk_id.0);
                stored.chunk_positions.push(position);
            }
            for column in &batch.features {
                let values: Vec<&Value> = rows.iter().map(|row| &column.values[*row]).collect();
                if values.iter().all(|value| **value == Value::Absent) {
                    continue;
                }
                let chunk = profiling::chunk_of(&values);
                let chunk = FeatureChunk {
                    version_id,
                    day,
                    chunk_id,
                    feature: column.name.clone(),
                    value_type: chunk.value_type.to_owned(),
                    numbers: chunk.numbers,
                    texts: chunk.texts,
                    absent: chunk.absent,
                };
                predictions::insert_chunk(conn, model.project_id, model.model_id, &chunk).await?;
            }
        }
    }
    predictions::insert(conn, model.project_id, model.model_id, &stored).await?;
    Ok(())
}

fn push_row(
    stored: &mut PredictionRows,
    batch: &PredictionBatch,
    row: usize,
    version_id: VersionId,
    segments: &[String],
) {
    let output = &batch.outputs[row];
    stored.version_ids.push(version_id.0);
    stored.predicted_at.push(batch.predicted_at[row]);
    stored
        .prediction_ids
        .push(batch.prediction_ids[row].clone());
    stored.values.push(output.value);
    stored.classes.push(output.class.clone());
    stored.scores.push(output.score);
    stored
        .probabilities
        .push((!output.probabilities.is_empty()).then(|| {
            let classes: serde_json::Map<String, serde_json::Value> = output
                .probabilities
                .iter()
                .map(|(class, p)| (class.clone(), (*p).into()))
                .collect();
            classes.into()
        }));
    stored.segments.push(serde_json::json!(segments));
    stored.latency_ms.push(batch.latency_ms[row]);
    stored.errors.push(batch.errors[row].clone());
    stored.deployments.push(batch.deployments[row].clone());
}

/// The batch's features, those the schema requires and the batch lacks altogether, the prediction, the latency.
fn profiled_columns(model: &Model, yardstick: &Yardstick, batch: &PredictionBatch) -> Vec<Column> {
    let mut columns = yardstick.with_expected(batch.features.clone(), batch.len());
    columns.push(Column {
        name: PREDICTION.to_owned(),
        values: batch
            .outputs
            .iter()
            .map(|output| profiling::output_value(model.task, output))
            .collect(),
    });
    columns.push(profiling::latency_column(batch.latency_ms.iter().copied()));
    columns
}

fn empty_addition(version_id: VersionId, window_start: DateTime<Utc>) -> WindowAddition {
    WindowAddition {
        version_id,
        window_start,
        predictions: 0,
        errors: 0,
        labels: 0,
        last_event_at: window_start,
    }
}

async fn join(
    conn: &mut PgConnection,
    model: &Model,
    ids: &[String],
    times: impl Iterator<Item = DateTime<Utc>> + Clone,
) -> Result<Vec<Joined>, Error> {
    let Some((from, to)) = times.clone().min().zip(times.max()) else {
        return Ok(Vec::new());
    };
    Ok(labels::join(conn, model.model_id, ids, from, to).await?)
}

fn note_label(
    additions: &mut BTreeMap<(VersionId, DateTime<Utc>), WindowAddition>,
    model: &Model,
    joined: &Joined,
) {
    let start = model.base_window.window_at(joined.predicted_at).start;
    let addition = additions
        .entry((joined.version_id, start))
        .or_insert_with(|| empty_addition(joined.version_id, start));
    addition.labels += u64::from(joined.is_new);
}

async fn settle_labels(
    conn: &mut PgConnection,
    model: &Model,
    batch_id: BatchId,
    batch: &LabelBatch,
    received_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Settled, Error> {
    let ids: Vec<String> = batch
        .prediction_ids
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .cloned()
        .collect();
    let mut in_force: HashMap<String, StoredLabel> = labels::find(conn, model.model_id, &ids)
        .await?
        .into_iter()
        .map(|label| (label.prediction_id.clone(), label))
        .collect();
    // Every label that ever came, because a correction must survive that what it corrected is sent again.
    let mut known: HashMap<String, Vec<StoredLabel>> = HashMap::new();
    let revisions = labels::revisions(conn, model.model_id, &ids).await?;
    for label in in_force.values().cloned().chain(revisions) {
        known
            .entry(label.prediction_id.clone())
            .or_default()
            .push(label);
    }
    let mut settled = Settled::default();
    let mut changed: BTreeMap<String, StoredLabel> = BTreeMap::new();
    let mut outdated = Vec::new();
    for row in 0..batch.len() {
        let id = batch.prediction_ids[row].clone();
        let label = labels::stored(
            id.clone(),
            batch.labels[row].clone(),
            batch.observed_at[row],
            batch_id,
        );
        let known = known.entry(id.clone()).or_default();
        if known.iter().any(|known| same_label(known, &label)) {
            settled.duplicate += 1;
            continue;
        }
        known.push(label.clone());
        match in_force.get(&id) {
            Some(present) if present.observed_at > label.observed_at => {
                settled.accepted += 1;
                outdated.push(label);
            }
            _ => {
                settled.accepted += 1;
                if let Some(replaced) = changed.insert(id.clone(), label.clone()) {
                    outdated.push(replaced);
                }
                in_force.insert(id, label);
            }
        }
    }
    labels::keep_revisions(
        conn,
        model.project_id,
        model.model_id,
        &outdated,
        batch_id,
        received_at,
    )
    .await?;
    crate::faults::crash_point("labels.revisions_kept");
    if changed.is_empty() {
        return Ok(settled);
    }
    let ids: Vec<String> = changed.keys().cloned().collect();
    let changed: Vec<StoredLabel> = changed.into_values().collect();
    labels::put(
        conn,
        model.project_id,
        model.model_id,
        &changed,
        received_at,
    )
    .await?;
    crate::faults::crash_point("labels.put");

    let keys = predictions::keys(conn, model.model_id, &ids).await?;
    let mut additions = BTreeMap::new();
    for joined in join(conn, model, &ids, keys.iter().map(|key| key.predicted_at)).await? {
        note_label(&mut additions, model, &joined);
    }
    crate::faults::crash_point("labels.joined");
    for addition in additions.values() {
        windows::add(conn, model.project_id, model.model_id, addition, now).await?;
    }
    Ok(settled)
}

fn same_label(a: &StoredLabel, b: &StoredLabel) -> bool {
    (a.value, &a.class, a.observed_at) == (b.value, &b.class, b.observed_at)
}
