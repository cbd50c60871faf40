//! Numbers as version 1 of the format stored them: rounded moments, and a quantile sketch.
//!
//! Counts and cells are read as they are. Mean and deviation are those that were stored, to the rounding they had.
//! Quantiles are read where all values had been kept; the sketch of longer windows is left, because only people looked
//! at it and its rounding had an order.

use std::iter::repeat_n;

use serde::Deserialize;

use super::{CellsBody, StoredNumbers, check_extremes};
use crate::stats::exact::ExactSums;
use crate::stats::profile::ProfileError;
use crate::stats::profile::numbers::{Moments, Numbers};
use crate::stats::profile::quantiles::Quantiles;

pub(super) const VERSION: u8 = 1;

/// How many values were kept as they are.
const MAX_EXACT: u64 = 200;

#[derive(Deserialize)]
pub(super) struct NumbersBody<'a> {
    cells: Option<CellsBody>,
    moments: Option<MomentsBody>,
    #[serde(borrow)]
    quantiles: QuantilesBody<'a>,
}

#[derive(Deserialize)]
struct MomentsBody {
    count: u64,
    minimum: f64,
    maximum: f64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

#[derive(Deserialize)]
enum QuantilesBody<'a> {
    /// Distinct values and how often each occurs.
    Exact(Vec<(f64, u32)>),
    /// The bytes of a sketch, which are not read.
    #[serde(borrow)]
    #[expect(dead_code, reason = "they only have to be stepped over")]
    Sketch(&'a [u8]),
    Left,
}

impl StoredNumbers for NumbersBody<'_> {
    fn restore(self) -> Result<Numbers, ProfileError> {
        let moments = self
            .moments
            .map_or(Ok(Moments::default()), MomentsBody::restore)?;
        let cells = self.cells.map(|cells| cells.restore(moments.count));
        Ok(Numbers {
            cells: cells.transpose()?,
            quantiles: self.quantiles.restore(moments.count)?,
            moments,
            repeats: None,
        })
    }
}

impl MomentsBody {
    fn restore(self) -> Result<Moments, ProfileError> {
        check_extremes(self.count, self.minimum, self.maximum)?;
        let sums = ExactSums::of_moments(self.count, self.mean, self.squares);
        Ok(Moments {
            count: self.count,
            minimum: self.minimum,
            maximum: self.maximum,
            sums: sums.ok_or(ProfileError::Malformed("its moments are not finite"))?,
        })
    }
}

impl QuantilesBody<'_> {
    fn restore(self, expected: u64) -> Result<Quantiles, ProfileError> {
        let Self::Exact(runs) = self else {
            return Ok(Quantiles::Left);
        };
        let count: u64 = runs.iter().map(|(_, times)| u64::from(*times)).sum();
        if count != expected || count > MAX_EXACT || runs.iter().any(|(n, _)| !n.is_finite()) {
            return Err(ProfileError::Malformed(
                "its values are too many, too few or not finite",
            ));
        }
        let values = runs
            .iter()
            .flat_map(|(value, times)| repeat_n(*value, *times as usize));
        let mut quantiles = Quantiles::default();
        quantiles.observe(&values.collect::<Vec<_>>());
        Ok(quantiles)
    }
}
