//! Measures of rows: a sample of the window's predictions against the sample that the baseline keeps.
//!
//! They are of all rows of the window, not of its segments. What is read is bounded: the ids and times of so many chunks
//! at most, and of these the columns that are needed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Subject;
use crate::domain::attributions::Attributions;
use crate::domain::columns::{Column, Value};
use crate::domain::ids::VersionId;
use crate::domain::measurement::{Measure, Measurement, Segment, Status};
use crate::domain::row_measures::{About, Sides, not_measured};
use crate::domain::sample::{Draw, DrawnBy, RowSample, SAMPLE_ROWS, hash_of};
use crate::domain::schema::{self, FeatureType};
use crate::services::Error;
use crate::services::configuration;
use crate::services::profiling::PREDICTION;
use crate::stats::thinning::mixed;
use crate::storage::predictions::{self, ColumnKind, Read, row_column};
use crate::storage::samples;

/// How many chunks a window's sample is drawn from, at most: about 260,000 rows.
const MOST_CHUNKS: usize = 64;

/// What the monitor measures of rows; nothing when it chose nothing of the kind.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let chosen = |measure: &Measure| subject.monitor.measures.contains(measure);
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(Vec::new());
    };
    if !Measure::ALL
        .iter()
        .any(|measure| measure.is_of_rows() && chosen(measure))
    {
        return Ok(Vec::new());
    }
    let stored = samples::of_baseline(conn, baseline_id).await?;
    let reference = match stored.as_deref().map(RowSample::decode) {
        Some(Ok(sample)) => sample,
        Some(Err(error)) => {
            tracing::error!(%baseline_id, %error, "a baseline's sample is damaged");
            let cause = "the baseline's sample of rows is damaged; fit the baseline again";
            return Ok(without_sample(subject, Status::Error, cause));
        }
        None => {
            let cause =
                "the baseline has no sample of rows; fit it again, on rows and not on statistics";
            return Ok(without_sample(subject, Status::Insufficient, cause));
        }
    };
    let definition = configuration::model_definition(conn, subject.model).await?;
    let attributions = definition.map_or_else(Attributions::default, |model| model.attributions);
    let wanted = Wanted::of(subject, &reference, &attributions);
    let current = window_sample(conn, subject, &wanted.columns()).await?;
    let sides = Sides {
        reference: &reference,
        current: &current,
        features: &wanted.together,
        attributions: &attributions,
        thresholds: &subject.monitor.thresholds,
        min_rows: subject.monitor.min_rows,
    };
    let mut values = Vec::new();
    for (about, feature) in &wanted.measured {
        for measure in about.measures().iter().filter(|measure| chosen(measure)) {
            let judged = sides.judge(*about, feature, *measure);
            values.push(Measurement {
                value: judged.value,
                interval: judged.interval,
                p_value: judged.p_value,
                status: judged.status,
                recipe: judged.recipe,
                current_rows: current.rows() as u64,
                reference_rows: reference.rows() as u64,
                baseline_id: Some(baseline_id),
                ..subject.blank(&Segment::overall(), feature, *measure)
            });
        }
    }
    Ok(values)
}

/// What is said where there is no sample to compare with: which features there are is not known then.
fn without_sample(subject: &Subject<'_>, status: Status, cause: &str) -> Vec<Measurement> {
    let chosen = subject
        .monitor
        .measures
        .iter()
        .filter(|measure| measure.is_of_rows());
    chosen
        .map(|measure| {
            let judged = not_measured(*measure, status, cause.to_owned());
            Measurement {
                status: judged.status,
                recipe: judged.recipe,
                baseline_id: subject.baseline_id(),
                ..subject.blank(&Segment::overall(), "", *measure)
            }
        })
        .collect()
}

/// What is measured of which features of the baseline's sample.
struct Wanted {
    together: Vec<(String, FeatureType)>,
    measured: Vec<(About, String)>,
    attributions: Vec<String>,
}

impl Wanted {
    fn of(subject: &Subject<'_>, reference: &RowSample, attributions: &Attributions) -> Self {
        let mut wanted = Self {
            together: Vec::new(),
            measured: Vec::new(),
            attributions: Vec::new(),
        };
        for column in reference
            .columns
            .iter()
            .filter(|column| column.name != PREDICTION)
        {
            let name = &column.name;
            let expected = subject.yardstick.expectation(name).map(|e| e.feature_type);
            let inferred = || {
                schema::infer(std::slice::from_ref(column))
                    .pop()
                    .map(|e| e.feature_type)
            };
            let Some(feature_type) = expected.or_else(inferred) else {
                continue;
            };
            if attributions.feature_of(name).is_some() && feature_type.is_numeric() {
                wanted.attributions.push(name.clone());
                continue;
            }
            match About::feature_of(feature_type) {
                Some(about) => wanted.measured.push((about, name.clone())),
                None => wanted.together.push((name.clone(), feature_type)),
            }
        }
        wanted.measured.push((About::Together, String::new()));
        wanted.measured.push((About::Attributions, String::new()));
        let chosen = &subject.monitor.measures;
        let is_chosen = |about: About| about.measures().iter().any(|m| chosen.contains(m));
        wanted.measured.retain(|(about, _)| is_chosen(*about));
        if !is_chosen(About::Together) {
            wanted.together.clear();
        }
        if !is_chosen(About::Attributions) {
            wanted.attributions.clear();
        }
        wanted
    }

    /// The features that have to be read.
    fn columns(&self) -> Vec<String> {
        let single = self.measured.iter().map(|(_, name)| name);
        let single = single.filter(|name| !name.is_empty());
        let together = self.together.iter().map(|(name, _)| name);
        single
            .chain(together)
            .chain(&self.attributions)
            .cloned()
            .collect()
    }
}

/// Which chunk: its day and number.
type Place = (DateTime<Utc>, i32);

/// Draws a sample of the window's predictions by their ids, and reads these columns of it.
async fn window_sample(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    columns: &[String],
) -> Result<RowSample, Error> {
    let (version_id, window) = (subject.version_id, subject.window);
    let all = predictions::chunks_between(conn, version_id, window.start, window.end).await?;
    let (chunks, drawn_by) = some_chunks(all);
    let mut draw = Draw::new(SAMPLE_ROWS);
    for (at, (day, chunk)) in (0..).zip(&chunks) {
        let chunk = predictions::chunk(conn, version_id, *day, *chunk, Read::Times).await?;
        let ids = chunk.column(ColumnKind::Row, row_column::PREDICTION_ID);
        let times = chunk.column(ColumnKind::Row, row_column::PREDICTED_AT);
        let (Some(ids), Some(times)) = (ids, times) else {
            continue;
        };
        for (row, (id, time)) in (0_u64..).zip(ids.iter().zip(times.iter())) {
            let inside =
                matches!(time, Value::Timestamp(at) if (window.start..window.end).contains(&at));
            if let Value::Text(id) = id
                && inside
            {
                draw.offer(hash_of(&id), place(at, row));
            }
        }
    }
    let seen = draw.seen();
    let mut rows_of: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
    for (rank, place) in draw.rows().into_iter().enumerate() {
        let (chunk, row) = (place >> 32, place & u64::from(u32::MAX));
        rows_of.entry(chunk).or_default().push((rank, row));
    }
    let mut collected = Collected::new(columns);
    for (at, rows) in rows_of {
        let Some((day, chunk)) = usize::try_from(at).ok().and_then(|at| chunks.get(at)) else {
            continue;
        };
        collected
            .read(conn, version_id, (*day, *chunk), &rows)
            .await?;
    }
    Ok(collected.into_sample(seen, drawn_by))
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
                let found = chunk.column(ColumnKind::Feature, &column.name);
                let value = found.map_or(Value::Absent, |found| found.get(row));
                column.push(&value);
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
            vectors: Vec::new(),
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
