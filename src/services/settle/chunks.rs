//! Rows into chunks: columns packed side by side, and a key for each prediction that says where it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::pack::sent_segments;
use super::{CELL_BYTES, Sorted, compute};
use crate::domain::batch::{Output, PredictionBatch};
use crate::domain::columns::{Column, Kind, TextColumn, Value};
use crate::domain::ids::VersionId;
use crate::domain::packing::{PackedColumn, pack_ids};
use crate::domain::window::Grain;
use crate::services::Error;
use crate::storage::keys::{self, PredictionKey};
use crate::storage::models::Model;
use crate::storage::predictions::{self, Chunk, ChunkKey, ColumnKind, NewChunk, Read, row_column};

/// How many predictions share a chunk at most.
const CHUNK_ROWS: usize = 4_096;
/// How many bytes of texts and vectors share one, about: whoever asks for one prediction reads its whole chunk.
const CHUNK_BYTES: usize = 8 << 20;
/// How many bytes are packed and on their way to the database at a time, unless a chunk has more.
const PIECE_BYTES: usize = 16 << 20;
/// The last chunk is filled up by new rows only if it has at most this many times as many, because every row of it
/// is written again; and not by so many that they fill most of a chunk of their own.
const REWRITE: usize = 4;
const OWN_CHUNK: usize = CHUNK_ROWS / 2;

/// Rows that become one chunk, or are added to one.
struct Place {
    version_id: VersionId,
    day: DateTime<Utc>,
    key: ChunkKey,
    rows: Vec<usize>,
    /// What is in the chunk already.
    present: Option<Chunk>,
}

/// Stores rows and their keys.
pub(super) async fn store(
    conn: &mut PgConnection,
    model: &Model,
    sorted: &Arc<Sorted>,
    rows: &[usize],
) -> Result<(), Error> {
    let places = Arc::new(places(conn, sorted, rows).await?);
    let packed = |piece: Range<usize>| {
        let (sorted, places) = (sorted.clone(), places.clone());
        let packed = move || {
            let places = places[piece].iter();
            Ok(places.map(|place| pack(&sorted, place)).collect())
        };
        tokio::spawn(compute::<Vec<NewChunk>>(packed))
    };
    let mut pieces = pieces(sorted, &places).into_iter();
    let mut packing = pieces.next().map(packed);
    keys::insert(conn, model.model_id, &keys_of(sorted, &places)).await?;
    crate::faults::crash_point("settle.keys_stored");
    for place in places.iter().filter(|place| place.present.is_some()) {
        predictions::remove_chunk(conn, place.version_id, place.day, place.key.chunk).await?;
        crate::faults::crash_point("settle.chunk_removed");
    }
    while let Some(packed_piece) = packing {
        let chunks = packed_piece.await.map_err(Error::internal)??;
        predictions::insert_chunks(conn, model.project_id, model.model_id, &chunks).await?;
        drop(chunks);
        packing = pieces.next().map(packed);
    }
    Ok(())
}

/// Places that are packed together, one after the other.
fn pieces(sorted: &Sorted, places: &[Place]) -> Vec<Range<usize>> {
    let batch = sorted.pack.rows();
    let each = sorted.pack.cells() * CELL_BYTES / batch.len().max(1) + bytes_beside(batch);
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (place, at) in places.iter().zip(0..) {
        let more = place.rows.len() * each;
        match pieces.last_mut() {
            Some(piece) if bytes + more <= PIECE_BYTES => {
                piece.end = at + 1;
                bytes += more;
            }
            _ => {
                pieces.push(at..at + 1);
                bytes = more;
            }
        }
    }
    pieces
}

/// What the texts and vectors of a row's features take in the mean, in bytes.
fn bytes_beside(batch: &PredictionBatch) -> usize {
    let columns = batch.features.iter().map(Column::bytes_beside);
    columns.sum::<usize>() / batch.len().max(1)
}

async fn places(
    conn: &mut PgConnection,
    sorted: &Sorted,
    rows: &[usize],
) -> Result<Vec<Place>, Error> {
    let mut by_day: BTreeMap<(VersionId, i32, DateTime<Utc>), Vec<usize>> = BTreeMap::new();
    for &row in rows {
        let (version_id, number) = sorted.versions[row];
        let day = Grain::Day
            .window_at(sorted.pack.rows().predicted_at[row])
            .start;
        by_day
            .entry((version_id, number, day))
            .or_default()
            .push(row);
    }
    let most = CHUNK_ROWS.min((CHUNK_BYTES / bytes_beside(sorted.pack.rows()).max(1)).max(1));
    let mut places = Vec::new();
    for ((version_id, version_number, day), mut rows) in by_day {
        let last = predictions::last_chunk(conn, version_id, day).await?;
        let (last, filled) = last.map_or((0, most), |(chunk, rows)| {
            (chunk, usize::try_from(rows).unwrap_or(most))
        });
        let place = |chunk, rows, present| Place {
            version_id,
            day,
            key: ChunkKey {
                version_number,
                day: predictions::day_number(day),
                chunk,
            },
            rows,
            present,
        };
        let room = most.saturating_sub(filled);
        let is_worth_it = rows.len() < OWN_CHUNK && filled <= rows.len().saturating_mul(REWRITE);
        if room > 0 && is_worth_it {
            let present = predictions::chunk(conn, version_id, day, last, Read::All).await?;
            let rest = rows.split_off(room.min(rows.len()));
            places.push(place(
                last,
                std::mem::replace(&mut rows, rest),
                Some(present),
            ));
        }
        // Chunks of one size, instead of full ones and a remainder.
        let size = rows.len().div_ceil(rows.len().div_ceil(most).max(1));
        for (chunk, rows) in (last + 1..).zip(rows.chunks(size.max(1))) {
            places.push(place(chunk, rows.to_vec(), None));
        }
    }
    Ok(places)
}

/// In the order of their hashes.
fn keys_of(sorted: &Sorted, places: &[Place]) -> Vec<PredictionKey> {
    let mut keys: Vec<PredictionKey> = places
        .iter()
        .flat_map(|place| {
            let first = place.present.as_ref().map_or(0, Chunk::rows);
            (first..)
                .zip(&place.rows)
                .map(|(position, row)| PredictionKey {
                    id_hash: sorted.pack.id_hashes()[*row],
                    content_hash: Some(sorted.pack.content_hashes()[*row]),
                    chunk: place.key,
                    position: i16::try_from(position).unwrap_or(i16::MAX),
                })
        })
        .collect();
    keys.sort_unstable_by_key(|key| key.id_hash);
    keys
}

fn pack(sorted: &Sorted, place: &Place) -> NewChunk {
    let batch = sorted.pack.rows();
    let rows = &place.rows;
    let times = rows.iter().map(|row| batch.predicted_at[*row]);
    let (mut first_at, mut last_at) = (place.day, place.day);
    if let Some((first, last)) = times.clone().min().zip(times.max()) {
        (first_at, last_at) = (first, last);
    }
    let mut chunk = NewChunk {
        version_id: place.version_id,
        day: place.day,
        chunk: place.key.chunk,
        rows: rows.len(),
        first_at,
        last_at,
        columns: Vec::new(),
    };
    let Some(present) = &place.present else {
        let ids = pack_ids(rows.iter().map(|row| &batch.prediction_ids[*row]));
        let name = row_column::PREDICTION_ID.to_owned();
        chunk.columns.push((ColumnKind::Row, name, ids));
        let own = row_columns(batch, rows);
        let all: Vec<usize> = (0..rows.len()).collect();
        push_all(&mut chunk, ColumnKind::Row, own.iter(), &all);
        push_all(
            &mut chunk,
            ColumnKind::Segment,
            sorted.sent_segments.iter(),
            rows,
        );
        push_all(&mut chunk, ColumnKind::Feature, batch.features.iter(), rows);
        return chunk;
    };
    let filled = present.rows();
    let select = |columns: &[Column]| columns.iter().map(|column| column.select(rows)).collect();
    let mut own = row_columns(batch, rows);
    own.push(Column::of(
        row_column::PREDICTION_ID,
        rows.iter()
            .map(|row| Value::Text((&batch.prediction_ids[*row]).into())),
    ));
    chunk.rows += filled;
    for (kind, added) in [
        (ColumnKind::Row, own),
        (ColumnKind::Segment, select(&sorted.sent_segments)),
        (ColumnKind::Feature, select(&batch.features)),
    ] {
        let whole = joined(present.columns(kind), added, filled, chunk.rows);
        let all: Vec<usize> = (0..chunk.rows).collect();
        push_all(&mut chunk, kind, whole.iter(), &all);
    }
    if let Some(times) = present.column(ColumnKind::Row, row_column::PREDICTED_AT) {
        for time in times.iter() {
            if let Value::Timestamp(at) = time {
                chunk.first_at = chunk.first_at.min(at);
                chunk.last_at = chunk.last_at.max(at);
            }
        }
    }
    chunk
}

/// A chunk of the rows of a batch, all of one version and day.
pub(in crate::services) fn of_batch(
    batch: &PredictionBatch,
    (version_id, day, chunk): (VersionId, DateTime<Utc>, i32),
) -> NewChunk {
    let rows: Vec<usize> = (0..batch.len()).collect();
    let mut chunk = NewChunk {
        version_id,
        day,
        chunk,
        rows: rows.len(),
        first_at: batch.predicted_at.iter().min().copied().unwrap_or(day),
        last_at: batch.predicted_at.iter().max().copied().unwrap_or(day),
        columns: Vec::new(),
    };
    let ids = pack_ids(batch.prediction_ids.iter());
    let name = row_column::PREDICTION_ID.to_owned();
    chunk.columns.push((ColumnKind::Row, name, ids));
    let own = row_columns(batch, &rows);
    push_all(&mut chunk, ColumnKind::Row, own.iter(), &rows);
    let segments = sent_segments(batch);
    push_all(&mut chunk, ColumnKind::Segment, segments.iter(), &rows);
    push_all(
        &mut chunk,
        ColumnKind::Feature,
        batch.features.iter(),
        &rows,
    );
    chunk
}

/// The columns of a chunk with those of its new rows behind them.
fn joined<'c>(
    present: impl Iterator<Item = &'c Column>,
    added: Vec<Column>,
    filled: usize,
    rows: usize,
) -> Vec<Column> {
    let mut whole: BTreeMap<String, Column> = present
        .map(|column| (column.name.clone(), column.clone()))
        .collect();
    for added in added {
        let column = whole
            .entry(added.name.clone())
            .or_insert_with(|| Column::new(added.name.clone()));
        column.resize(filled);
        column.append(&added);
    }
    for column in whole.values_mut() {
        column.resize(rows);
    }
    whole.into_values().collect()
}

/// Adds packed columns, but for those in which no row has a value.
fn push_all<'c>(
    chunk: &mut NewChunk,
    kind: ColumnKind,
    columns: impl Iterator<Item = &'c Column>,
    rows: &[usize],
) {
    for column in columns {
        let kinds = column.kinds();
        if rows.iter().any(|row| kinds[*row] != Kind::Absent) {
            let packed = PackedColumn::pack(column, rows);
            chunk.columns.push((kind, column.name.clone(), packed));
        }
    }
}

/// What the batch says of the predictions themselves but for their ids; absent where it says nothing.
fn row_columns(batch: &PredictionBatch, rows: &[usize]) -> Vec<Column> {
    let outputs = || rows.iter().map(|row| &batch.outputs[*row]);
    let number = |number: Option<f64>| number.map_or(Value::Absent, Value::Number);
    let texts = |name, column: &TextColumn| {
        let texts = rows.iter().map(|row| match column.get(*row) {
            Some(text) => Value::Text(text.into()),
            None => Value::Absent,
        });
        Column::of(name, texts)
    };
    let latencies = rows.iter().map(|row| number(batch.latency_ms[*row]));
    vec![
        Column::of(
            row_column::PREDICTED_AT,
            rows.iter()
                .map(|row| Value::Timestamp(batch.predicted_at[*row])),
        ),
        Column::of(
            row_column::VALUE,
            outputs().map(|output| number(output.value)),
        ),
        Column::of(
            row_column::CLASS,
            outputs().map(|output| match &output.class {
                Some(class) => Value::Text(class.into()),
                None => Value::Absent,
            }),
        ),
        Column::of(
            row_column::SCORE,
            outputs().map(|output| number(output.score)),
        ),
        Column::of(row_column::PROBABILITIES, outputs().map(probabilities)),
        Column::of(row_column::LATENCY_MS, latencies),
        texts(row_column::ERROR, &batch.errors),
        texts(row_column::DEPLOYMENT, &batch.deployments),
    ]
}

fn probabilities(output: &Output) -> Value<'static> {
    if output.probabilities.is_empty() {
        return Value::Absent;
    }
    let classes = output.probabilities.iter();
    let object: serde_json::Map<String, serde_json::Value> = classes
        .map(|(class, probability)| (class.clone(), (*probability).into()))
        .collect();
    Value::Text(serde_json::Value::from(object).to_string().into())
}
