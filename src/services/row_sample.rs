//! Drawing rows of a span of production from their stored chunks, with bounds on what is read and kept: the ids and times of
//! so many chunks at most, and of the rows that were drawn the columns that are needed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use super::profiling::PREDICTION;
use crate::domain::columns::{Column, Value};
use crate::domain::ids::VersionId;
use crate::domain::sample::{DrawnBy, RowSample, rows_with_vectors};
use crate::stats::thinning::mixed;
use crate::storage::predictions::{self, ColumnKind, Read, row_column};

/// How many chunks a sample is drawn from, at most: about 260,000 rows.
const MOST_CHUNKS: usize = 64;

/// The predictions of a version in `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) version_id: VersionId,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Which chunk: its day and number.
type Place = (DateTime<Utc>, i32);

/// The chunks that a sample of a span is drawn from.
#[derive(Debug)]
pub(super) struct Chunks {
    span: Span,
    chosen: Vec<Place>,
    drawn_by: DrawnBy,
}

impl Chunks {
    pub(super) async fn of(conn: &mut PgConnection, span: Span) -> Result<Self, Error> {
        let all = predictions::chunks_between(conn, span.version_id, span.from, span.to).await?;
        let (chosen, drawn_by) = some_chunks(all);
        Ok(Self {
            span,
            chosen,
            drawn_by,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Whether these are not all chunks that the span has.
    pub(super) fn are_some(&self) -> bool {
        self.drawn_by == DrawnBy::IdInSomeChunks
    }

    /// The ids of the span's rows in one of the chunks, each with a number that stands for the row in a draw.
    pub(super) async fn ids(
        &self,
        conn: &mut PgConnection,
        at: usize,
    ) -> Result<Vec<(String, u64)>, Error> {
        let (version_id, (day, number)) = (self.span.version_id, self.chosen[at]);
        let chunk = predictions::chunk(conn, version_id, day, number, Read::Times).await?;
        let ids = chunk.column(ColumnKind::Row, row_column::PREDICTION_ID);
        let times = chunk.column(ColumnKind::Row, row_column::PREDICTED_AT);
        let (Some(ids), Some(times)) = (ids, times) else {
            return Ok(Vec::new());
        };
        let inside = |time: &Value<'_>| matches!(time, Value::Timestamp(at) if (self.span.from..self.span.to).contains(at));
        let rows = (0_u64..).zip(ids.iter().zip(times.iter()));
        Ok(rows
            .filter_map(|(row, (id, time))| match id {
                Value::Text(id) if inside(&time) => Some((id.into_owned(), place(at as u64, row))),
                _ => None,
            })
            .collect())
    }

    /// The names of the features that rows of the first chunk have; empty without rows.
    pub(super) async fn features(&self, conn: &mut PgConnection) -> Result<Vec<String>, Error> {
        let Some((day, number)) = self.chosen.first() else {
            return Ok(Vec::new());
        };
        let version_id = self.span.version_id;
        let chunk = predictions::chunk(conn, version_id, *day, *number, Read::All).await?;
        let columns = chunk.columns(ColumnKind::Feature);
        Ok(columns.map(|column| column.name.clone()).collect())
    }

    /// Reads these features of the rows that were drawn, and predicted numbers under [`PREDICTION`], in the order of the draw.
    /// `seen` is how many it was drawn from.
    pub(super) async fn sample(
        &self,
        conn: &mut PgConnection,
        drawn: Vec<u64>,
        seen: u64,
        columns: &[String],
    ) -> Result<RowSample, Error> {
        let mut rows_of: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
        for (rank, place) in drawn.into_iter().enumerate() {
            let (chunk, row) = (place >> 32, place & u64::from(u32::MAX));
            rows_of.entry(chunk).or_default().push((rank, row));
        }
        let mut collected = Collected::new(columns);
        for (at, rows) in rows_of {
            let Some(place) = usize::try_from(at).ok().and_then(|at| self.chosen.get(at)) else {
                continue;
            };
            let version_id = self.span.version_id;
            collected.read(conn, version_id, *place, &rows).await?;
        }
        Ok(collected.into_sample(seen, self.drawn_by))
    }
}

/// A row as the draw knows it: the place of its chunk, and its own in the chunk.
fn place(chunk: u64, row: u64) -> u64 {
    chunk << 32 | row
}

/// All chunks, or so many of them that a hash of their place decides which: neither the first nor the last ones.
pub(super) fn some_chunks(mut chunks: Vec<Place>) -> (Vec<Place>, DrawnBy) {
    if chunks.len() <= MOST_CHUNKS {
        return (chunks, DrawnBy::Id);
    }
    chunks.sort_by_key(|(day, chunk)| {
        mixed(day.timestamp().cast_unsigned() ^ mixed(u64::from(chunk.cast_unsigned())))
    });
    chunks.truncate(MOST_CHUNKS);
    (chunks, DrawnBy::IdInSomeChunks)
}

/// Drawn rows, chunk by chunk.
struct Collected<'a> {
    wanted: &'a [String],
    columns: Vec<Column>,
    times: Vec<Option<i64>>,
    /// The place of each row in the sample.
    ranks: Vec<usize>,
}

impl<'a> Collected<'a> {
    fn new(wanted: &'a [String]) -> Self {
        Self {
            wanted,
            columns: wanted
                .iter()
                .map(|name| Column::new(name.clone()))
                .collect(),
            times: Vec::new(),
            ranks: Vec::new(),
        }
    }

    async fn read(
        &mut self,
        conn: &mut PgConnection,
        version_id: VersionId,
        (day, chunk): Place,
        rows: &[(usize, u64)],
    ) -> Result<(), Error> {
        let read = Read::Rows {
            features: self.wanted,
        };
        let chunk = predictions::chunk(conn, version_id, day, chunk, read).await?;
        let times = chunk.column(ColumnKind::Row, row_column::PREDICTED_AT);
        for (rank, row) in rows {
            let row = usize::try_from(*row).unwrap_or(usize::MAX);
            self.ranks.push(*rank);
            self.times.push(match times.map(|times| times.get(row)) {
                Some(Value::Timestamp(at)) => Some(at.timestamp()),
                _ => None,
            });
            for column in &mut self.columns {
                let found = match column.name.as_str() {
                    PREDICTION => chunk.column(ColumnKind::Row, row_column::VALUE),
                    feature => chunk.column(ColumnKind::Feature, feature),
                };
                let value = found.map_or(Value::Absent, |found| found.get(row));
                column.push(match &value {
                    Value::Vector(vector) if *rank >= rows_with_vectors(vector.len()) => {
                        &Value::Absent
                    }
                    value => value,
                });
            }
        }
        Ok(())
    }

    fn into_sample(self, seen: u64, drawn_by: DrawnBy) -> RowSample {
        let mut order: Vec<usize> = (0..self.ranks.len()).collect();
        order.sort_unstable_by_key(|at| self.ranks[*at]);
        RowSample {
            seen,
            drawn_by,
            times: order.iter().map(|at| self.times[*at]).collect(),
            columns: self
                .columns
                .iter()
                .map(|column| column.select(&order))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_chunks_some_are_taken_whatever_their_order() {
        let day = DateTime::<Utc>::UNIX_EPOCH;
        let chunks: Vec<Place> = (0..200).map(|chunk| (day, chunk)).collect();
        let (few, by) = some_chunks(chunks[..64].to_vec());
        assert_eq!((few.len(), by), (64, DrawnBy::Id));
        let (some, by) = some_chunks(chunks.clone());
        assert_eq!((some.len(), by), (MOST_CHUNKS, DrawnBy::IdInSomeChunks));
        let backward = chunks.into_iter().rev().collect();
        assert_eq!(some_chunks(backward).0, some);
        assert!(
            some.iter().any(|(_, chunk)| *chunk > 150) && some.iter().any(|(_, chunk)| *chunk < 50)
        );
    }
}
