//! Small bodies of predictions read into one batch. What a batch needs once — its columns, their names, the
//! different texts in them — is made once for all of them, and of a body with one row that is most of the work.
//!
//! A body comes in whole or not at all: where a row would be refused, or the body cannot be read, nothing of it is kept
//! and it is to be decoded by itself, which says what is wrong. So a bad body costs the others nothing.
//! The limits are those of one body and hold for all of them together, so what is taken in here would be taken alone too.

use std::ops::Range;

use super::predictions::PredictionRows;
use super::{Expectations, Format, PredictionBatch, Rows, read};

/// A batch that bodies are read into.
pub struct Together<'e> {
    rows: PredictionRows<'e>,
    left_out: Vec<Range<usize>>,
}

impl Format {
    /// Whether bodies of this format may be read together: those that hold no more than can be seen of them. What
    /// unpacks is judged by itself.
    #[must_use]
    pub fn reads_together(self) -> bool {
        matches!(self, Self::Json | Self::Ndjson | Self::Csv)
    }
}

impl<'e> Together<'e> {
    /// Nothing yet; so many rows are expected, and the limits are those of `expect`.
    #[must_use]
    pub fn new(expect: &'e Expectations<'e>, rows: usize) -> Self {
        let mut together = PredictionRows::new(expect);
        together.expect(rows);
        Self {
            rows: together,
            left_out: Vec::new(),
        }
    }

    /// Adds the rows of a body if it has any and every one of them is kept, and says which they are.
    pub fn add(
        &mut self,
        format: Format,
        body: &[u8],
        expect: &'e Expectations<'e>,
    ) -> Option<Range<usize>> {
        let (kept, refused) = self.rows.so_far();
        let first = kept.len();
        self.rows.expecting(expect);
        let outcome = read(format, body, "predictions", &expect.limits, &mut self.rows);
        let (kept, refused_now) = self.rows.so_far();
        let added = first..kept.len();
        if outcome.is_ok() && refused_now == refused && !added.is_empty() {
            return Some(added);
        }
        self.leave_out(added);
        None
    }

    /// Leaves rows out after all.
    pub fn leave_out(&mut self, rows: Range<usize>) {
        if !rows.is_empty() {
            self.left_out.push(rows);
        }
    }

    /// All rows so far, those that are left out as well.
    #[must_use]
    pub fn rows(&self) -> &PredictionBatch {
        self.rows.so_far().0
    }

    /// The rows that were added, without those that were left out.
    #[must_use]
    pub fn finish(mut self) -> PredictionBatch {
        if !self.left_out.is_empty() {
            let mut keep = vec![true; self.rows().len()];
            for rows in self.left_out.drain(..) {
                keep[rows].fill(false);
            }
            let kept: Vec<usize> = (0..keep.len()).filter(|row| keep[*row]).collect();
            self.rows.select(&kept);
        }
        self.rows.finish().batch
    }
}
