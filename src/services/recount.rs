//! Counting profiles again from the rows that are stored, a chunk at a time: because the schema, the grid or the
//! segments have changed, or a stored profile is damaged.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use super::profiling::{self, PREDICTION, Yardstick};
use super::segment_values::SegmentValues;
use super::{Bounds, Error};
use crate::domain::batch::Output;
use crate::domain::columns::{Column, TextColumn, Value};
use crate::domain::ids::VersionId;
use crate::domain::retention::Kept;
use crate::domain::window::Window;
use crate::stats::profile::FeatureProfile;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::models::{self, Model};
use crate::storage::predictions::{self, Chunk, ColumnKind, Read, row_column};
use crate::storage::profiles::{self, ProfileKey};
use crate::storage::{labels, retention, windows};

/// Counts all of a model's windows again whose rows are there; what was counted of others stays as it is.
///
/// # Errors
/// When the database fails or a stored value cannot be counted.
pub async fn count_again(
    conn: &mut PgConnection,
    model: &Model,
    bounds: Bounds,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    models::lock(conn, model.model_id).await?;
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    let marks = retention::marks(conn, model.project_id).await?;
    for window in windows::all(conn, model.model_id).await? {
        let span = model.base_window.window_at(window.window_start);
        if marks.reaches_gone(Kept::Raw, span.start) {
            continue;
        }
        let mut values = SegmentValues::none(bounds.segment_values);
        values.load(conn, window.version_id, span.start).await?;
        values.close();
        let counted =
            count_window(conn, model, &yardstick, window.version_id, span, values).await?;
        profiles::clear(conn, window.version_id, span.start).await?;
        profiling::store(conn, model, yardstick.grid_id, counted).await?;
    }
    windows::touch_all(conn, model.model_id, now).await?;
    Ok(())
}

/// Replaces all profiles of one base window by a count of its stored rows, because one of them is damaged. The
/// caller holds the model's lock; `added` rows are being settled: stored already, and not yet known to the window.
/// Returns whether that was possible: profiles that say less than the window has seen would be believed, so where
/// rows are gone everything stays as it is. Either way it is recorded.
///
/// # Errors
/// When the database fails or a stored value cannot be counted.
pub async fn rebuild(
    conn: &mut PgConnection,
    model: &Model,
    (version_id, window_start): (VersionId, DateTime<Utc>),
    added: u64,
    bounds: Bounds,
    (actor, now): (&str, DateTime<Utc>),
) -> Result<bool, Error> {
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    let span = model.base_window.window_at(window_start);
    let mut values = SegmentValues::none(bounds.segment_values);
    values.load(conn, version_id, span.start).await?;
    let counted = count_window(conn, model, &yardstick, version_id, span, values).await?;
    let found: u64 = (counted.iter())
        .filter(|(key, _)| key.feature == PREDICTION && key.segment.is_overall())
        .map(|(_, profile)| profile.counts().rows)
        .sum();
    let totals = windows::totals(conn, version_id, span.start, span.end).await?;
    let known = u64::try_from(totals.predictions).unwrap_or(0) + added;
    let rebuilt = found >= known;
    if rebuilt {
        profiles::clear(conn, version_id, span.start).await?;
        profiling::store(conn, model, yardstick.grid_id, counted).await?;
    }
    tracing::error!(
        model = model.name, version = %version_id, window = %span.start, found, known, rebuilt,
        "a profile of this window is damaged; the window was counted again from its rows"
    );
    let event = AuditEvent {
        project_id: Some(model.project_id),
        at: now,
        actor,
        action: if rebuilt {
            "profiles.rebuild"
        } else {
            "profiles.rebuild_failed"
        },
        object_kind: "window",
        object_id: &format!("{}/{version_id}/{}", model.name, span.start.to_rfc3339()),
        detail: json!({ "rows": found, "known_rows": known }),
    };
    audit::record(conn, &event).await?;
    Ok(rebuilt)
}

/// Counts one base window again, whose rows are all there: some have been taken out. The caller holds the model's lock.
///
/// # Errors
/// When the database fails or a stored value cannot be counted.
pub(super) async fn count_window_again(
    conn: &mut PgConnection,
    model: &Model,
    (version_id, window_start): (VersionId, DateTime<Utc>),
    bounds: Bounds,
) -> Result<(), Error> {
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    let span = model.base_window.window_at(window_start);
    let mut values = SegmentValues::none(bounds.segment_values);
    values.load(conn, version_id, span.start).await?;
    values.close();
    let counted = count_window(conn, model, &yardstick, version_id, span, values).await?;
    profiles::clear(conn, version_id, span.start).await?;
    profiling::store(conn, model, yardstick.grid_id, counted).await
}

async fn count_window(
    conn: &mut PgConnection,
    model: &Model,
    yardstick: &Yardstick,
    version_id: VersionId,
    span: Window,
    mut values: SegmentValues,
) -> Result<BTreeMap<ProfileKey, FeatureProfile>, Error> {
    let mut counted = BTreeMap::new();
    let chunks = predictions::chunks_between(conn, version_id, span.start, span.end).await?;
    for (day, chunk) in chunks {
        let chunk = predictions::chunk(conn, version_id, day, chunk, Read::All).await?;
        let rows = StoredRows::of(chunk, model);
        let chosen = rows.between(span.start, span.end);
        let at = |row: usize| rows.predicted_at[row];
        let mut groups = profiling::group(model, &chosen, |_| version_id, at, &rows.segments);
        values.limit(&mut groups);
        let lacking = yardstick.lacking(&rows.columns, rows.len());
        let columns: Vec<&Column> = rows.columns.iter().chain(&lacking).collect();
        profiling::gather(
            yardstick,
            &mut counted,
            profiling::count(yardstick, &groups, &columns)?,
        )?;
    }
    Ok(counted)
}

/// Gives the outcomes of a model the values that their predictions have of the segments declared now.
///
/// # Errors
/// When the database fails.
pub async fn sort_outcomes_again(conn: &mut PgConnection, model: &Model) -> Result<(), Error> {
    models::lock(conn, model.model_id).await?;
    for window in windows::all(conn, model.model_id).await? {
        let span = model.base_window.window_at(window.window_start);
        let version_id = window.version_id;
        let chunks = predictions::chunks_between(conn, version_id, span.start, span.end).await?;
        for (day, number) in chunks {
            let read = Read::Rows {
                features: &model.segments,
            };
            let chunk = predictions::chunk(conn, version_id, day, number, read).await?;
            let segments = profiling::chunk_segments(&chunk, model);
            let Some(ids) = chunk.column(ColumnKind::Row, row_column::PREDICTION_ID) else {
                continue;
            };
            let rows: Vec<Value<'_>> = ids.iter().collect();
            let ids: Vec<&str> = rows
                .iter()
                .map(|id| match id {
                    Value::Text(id) => id.as_ref(),
                    _ => "",
                })
                .collect();
            let values: Vec<serde_json::Value> = (0..ids.len())
                .map(|row| json!(profiling::segment_values(&segments, row)))
                .collect();
            labels::put_segments(conn, version_id, span.start, span.end, &ids, &values).await?;
        }
    }
    Ok(())
}

/// Stored predictions, column by column; prediction and latency are columns like the features.
#[derive(Debug, Clone, Default)]
pub struct StoredRows {
    pub predicted_at: Vec<DateTime<Utc>>,
    /// Values of the declared segments, in the model's order.
    pub segments: Vec<TextColumn>,
    pub columns: Vec<Column>,
}

impl StoredRows {
    fn of(mut chunk: Chunk, model: &Model) -> Self {
        let segments = profiling::chunk_segments(&chunk, model);
        let rows = chunk.rows();
        let value = |name, row| match chunk.column(ColumnKind::Row, name) {
            Some(column) => column.get(row),
            None => Value::Absent,
        };
        let number = |name, row| match value(name, row) {
            Value::Number(number) => Some(number),
            _ => None,
        };
        let predicted_at = (0..rows).map(|row| match value(row_column::PREDICTED_AT, row) {
            Value::Timestamp(at) => at,
            _ => DateTime::<Utc>::default(),
        });
        let outputs = (0..rows).map(|row| Output {
            value: number(row_column::VALUE, row),
            class: match value(row_column::CLASS, row) {
                Value::Text(class) => Some(class.into_owned()),
                _ => None,
            },
            score: number(row_column::SCORE, row),
            probabilities: Vec::new(),
        });
        let mut prediction = Column::new(PREDICTION);
        for output in outputs {
            prediction.push(&profiling::output_value(model.task, &output));
        }
        let latencies = (0..rows).map(|row| number(row_column::LATENCY_MS, row));
        let latency = profiling::latency_column(latencies);
        let predicted_at = predicted_at.collect();
        let mut columns = chunk.take_columns(ColumnKind::Feature);
        columns.extend([prediction, latency]);
        Self {
            predicted_at,
            segments,
            columns,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.predicted_at.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.predicted_at.is_empty()
    }

    /// The rows with a time in `[from, to)`.
    fn between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<usize> {
        let rows = (0..self.len()).filter(|row| (from..to).contains(&self.predicted_at[*row]));
        rows.collect()
    }

    fn append(&mut self, other: &Self, rows: &[usize]) {
        let before = self.len();
        for (position, added) in other.columns.iter().enumerate() {
            let known = self.columns.iter().position(|c| c.name == added.name);
            let place = known.unwrap_or_else(|| {
                self.columns.push(Column::new(added.name.clone()));
                self.columns.len() - 1
            });
            self.columns[place].resize(before);
            self.columns[place].append(&other.columns[position].select(rows));
        }
        self.predicted_at
            .extend(rows.iter().map(|row| other.predicted_at[*row]));
        for (mine, theirs) in self.segments.iter_mut().zip(&other.segments) {
            for row in rows {
                mine.push(theirs.get(*row));
            }
        }
        let after = self.len();
        for column in &mut self.columns {
            column.resize(after);
        }
    }
}

/// Reads the rows of a version in `[from, to)` back from their chunks: all of them, or one in so many that they hold no more
/// than `most_values` values, and says how many.
///
/// # Errors
/// When the database fails.
pub async fn load_rows(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    most_values: u64,
) -> Result<(StoredRows, u64), Error> {
    let totals = windows::totals(conn, version_id, from, to).await?;
    let known = u64::try_from(totals.predictions).unwrap_or(0);
    let mut all = StoredRows {
        segments: vec![TextColumn::default(); model.segments.len()],
        ..StoredRows::default()
    };
    let (mut every, mut passed) = (1, 0);
    for (day, chunk) in predictions::chunks_between(conn, version_id, from, to).await? {
        let chunk = predictions::chunk(conn, version_id, day, chunk, Read::All).await?;
        let rows = StoredRows::of(chunk, model);
        let values = known.saturating_mul(rows.columns.len() as u64);
        // Later chunks may have more features; rows that were taken stay.
        every = values.div_ceil(most_values).max(every);
        let mut chosen = rows.between(from, to);
        chosen.retain(|_| {
            passed += 1;
            (passed - 1) % every == 0
        });
        all.append(&rows, &chosen);
    }
    Ok((all, every))
}
