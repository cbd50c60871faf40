//! Rows that equal another one in every column that is compared.
//!
//! Columns come one by one and in any order, so every row has a sum of hashes to which each column adds its own.
//! Rows with equal sums are taken for equal: among a million rows the chance that any two different ones are is
//! less than one in ten million.

use std::sync::{Mutex, PoisonError};

use crate::stats::thinning::mixed;

/// Files with more rows are not looked through; a row takes eight bytes.
const MOST_ROWS: usize = 1 << 22;

/// The sums of a file's rows; nothing once there are too many.
#[derive(Debug)]
pub(super) struct RowHashes {
    sums: Mutex<Option<Vec<u64>>>,
}

impl RowHashes {
    pub(super) fn new() -> Self {
        Self {
            sums: Mutex::new(Some(Vec::new())),
        }
    }

    /// Adds the values of a column, the first of which is of row `first`, as keys that equal values share.
    pub(super) fn add(&self, column: usize, first: usize, keys: &[u64]) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let end = first + keys.len();
        if end > MOST_ROWS {
            *sums = None;
        }
        let Some(sums) = sums.as_mut() else { return };
        if sums.len() < end {
            sums.resize(end, 0);
        }
        let salt = mixed(column as u64);
        for (sum, key) in sums[first..end].iter_mut().zip(keys) {
            *sum = sum.wrapping_add(mixed(key ^ salt));
        }
    }

    /// The hash of each row; `None` when there were too many.
    pub(super) fn hashes(self) -> Option<Vec<u64>> {
        self.sums
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many rows repeat an earlier one, and how many there are.
pub(super) fn repeated(mut hashes: Vec<u64>) -> (u64, u64) {
    hashes.sort_unstable();
    let rows = hashes.len() as u64;
    hashes.dedup();
    (rows - hashes.len() as u64, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_repeat_when_every_column_does() {
        let rows = RowHashes::new();
        // Columns in another order, in parts, and with values that stand in each other's places.
        rows.add(1, 0, &[7, 8, 7, 1, 5]);
        rows.add(0, 0, &[1, 1]);
        rows.add(0, 2, &[1, 7, 1]);
        let repeated_rows = |rows: RowHashes| rows.hashes().map(repeated);
        assert_eq!(
            repeated_rows(rows),
            Some((1, 5)),
            "the third repeats the first"
        );
        assert_eq!(repeated_rows(RowHashes::new()), Some((0, 0)));
    }

    #[test]
    fn files_with_too_many_rows_are_not_looked_through() {
        let rows = RowHashes::new();
        rows.add(0, 0, &[1, 1]);
        rows.add(0, MOST_ROWS - 1, &[1, 1]);
        rows.add(1, 0, &[1, 1]);
        assert_eq!(rows.hashes(), None);
    }
}
