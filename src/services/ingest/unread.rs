//! Small bodies of predictions that wait to be read with those of other requests for the same model. Each is judged by
//! what held when it came; one of which anything is to be said stays out, and its request decodes it by itself.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::standing::Target;
use super::{expectations, is_light};
use crate::domain::batch::PredictionBatch;
use crate::formats::{Expectations, Format, Limits, Together};

/// A body as it came, with what it is judged by.
#[derive(Debug)]
pub(super) struct Unread {
    pub target: Arc<Target>,
    pub format: Format,
    pub body: Bytes,
    /// The version of rows that do not name one.
    pub version: Option<String>,
    pub limits: Limits,
    pub received_at: DateTime<Utc>,
}

impl Unread {
    /// Whether such a body is read with others.
    pub(super) fn suits(format: Format, body: &Bytes) -> bool {
        is_light(format, body)
    }

    fn expects(&self) -> Expectations<'_> {
        let version = self.version.as_deref();
        let columns = (&self.target.columns, self.limits);
        expectations(self.target.task(), version, columns, self.received_at)
    }

    /// Whether a row that can be read is refused all the same: its version is unknown, or its day gone.
    fn refuses(&self, batch: &PredictionBatch, row: usize) -> bool {
        let (target, at) = (&self.target, batch.predicted_at[row]);
        target.closed_before.is_some_and(|closed| at < closed)
            || !target.has_version(batch.version(row))
    }
}

/// Reads bodies for one model into one batch. Says how many rows of each are in it, in their order; nothing of a body that is
/// to be decoded by itself.
pub(super) fn read(bodies: &[Unread]) -> (PredictionBatch, Vec<Option<usize>>) {
    let expects: Vec<Expectations<'_>> = bodies.iter().map(Unread::expects).collect();
    let Some(first) = expects.first() else {
        return (PredictionBatch::default(), Vec::new());
    };
    let mut together = Together::new(first, bodies.len());
    let mut places: Vec<Option<Range<usize>>> = (bodies.iter().zip(&expects))
        .map(|(body, expect)| together.add(body.format, &body.body, expect))
        .collect();
    for (body, place) in bodies.iter().zip(&mut places) {
        let batch = together.rows();
        let refuses = |rows: &mut Range<usize>| rows.clone().any(|row| body.refuses(batch, row));
        if let Some(rows) = place.take_if(refuses) {
            together.leave_out(rows);
        }
    }
    let counts = places.into_iter().map(|rows| Some(rows?.len()));
    (together.finish(), counts.collect())
}
