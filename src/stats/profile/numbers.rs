//! Numbers of a profile: cells, extremes, moments, quantiles.

use super::ProfileError;
use super::quantiles::Quantiles;
use crate::stats::grid::Grid;

#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub(super) cells: Option<Cells>,
    pub(super) moments: Moments,
    pub(super) quantiles: Quantiles,
}

/// Counts per cell of the grid with this fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    pub(super) fingerprint: u32,
    pub(super) counts: Vec<u64>,
}

/// Count, extremes, mean, and the sum of squared deviations from the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Moments {
    pub(super) const EMPTY: Self = Self {
        count: 0,
        minimum: f64::INFINITY,
        maximum: f64::NEG_INFINITY,
        mean: 0.0,
        squares: 0.0,
    };

    /// The moments of finite numbers, in two passes: the mean first, so that the squares lose nothing to it.
    fn of(numbers: &[f64]) -> Self {
        if numbers.is_empty() {
            return Self::EMPTY;
        }
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        Self {
            count: numbers.len() as u64,
            minimum: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            maximum: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean,
            squares: numbers.iter().map(|n| (n - mean) * (n - mean)).sum(),
        }
    }

    /// Chan, Golub and LeVeque's pairwise update.
    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let deviation = other.mean - self.mean;
        self.count += other.count;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.mean += deviation * (m / (n + m));
        self.squares += other.squares + deviation * deviation * (n * m / (n + m));
    }
}

impl Numbers {
    pub(super) fn new(grid: Option<&Grid>) -> Self {
        Self {
            cells: grid.map(|grid| Cells {
                fingerprint: grid.fingerprint(),
                counts: vec![0; grid.cells()],
            }),
            moments: Moments::EMPTY,
            quantiles: Quantiles::default(),
        }
    }

    /// Numbers on a grid of which no quantiles are kept.
    pub(super) fn without_quantiles(grid: &Grid) -> Self {
        Self {
            quantiles: Quantiles::Left,
            ..Self::new(Some(grid))
        }
    }

    /// Counts finite numbers.
    pub(super) fn observe(
        &mut self,
        numbers: &[f64],
        grid: Option<&Grid>,
    ) -> Result<(), ProfileError> {
        match (&mut self.cells, grid) {
            (Some(cells), Some(grid)) if cells.fingerprint == grid.fingerprint() => {
                for number in numbers {
                    cells.counts[grid.cell_of(*number)] += 1;
                }
            }
            (None, None) => {}
            _ => return Err(ProfileError::DifferentGrids),
        }
        self.moments.merge(&Moments::of(numbers));
        if self.quantiles.are_kept() {
            for number in numbers {
                // The negative zero is no other number.
                self.quantiles.observe(number + 0.0);
            }
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), ProfileError> {
        self.check_grid(other)?;
        self.quantiles
            .merge(&other.quantiles)
            .map_err(ProfileError::Sketch)?;
        self.add_cells(other);
        Ok(())
    }

    pub(super) fn leave_quantiles(&mut self) {
        self.quantiles = Quantiles::Left;
    }

    fn check_grid(&self, other: &Self) -> Result<(), ProfileError> {
        match (&self.cells, &other.cells) {
            (None, None) => Ok(()),
            (Some(mine), Some(theirs))
                if mine.fingerprint == theirs.fingerprint
                    && mine.counts.len() == theirs.counts.len() =>
            {
                Ok(())
            }
            _ => Err(ProfileError::DifferentGrids),
        }
    }

    fn add_cells(&mut self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (&mut self.cells, &other.cells) {
            for (mine, theirs) in mine.counts.iter_mut().zip(&theirs.counts) {
                *mine += theirs;
            }
        }
        self.moments.merge(&other.moments);
    }

    pub(super) fn count(&self) -> u64 {
        self.moments.count
    }

    pub(super) fn minimum(&self) -> Option<f64> {
        (self.moments.count > 0).then_some(self.moments.minimum)
    }

    pub(super) fn maximum(&self) -> Option<f64> {
        (self.moments.count > 0).then_some(self.moments.maximum)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.moments.count > 0 && self.moments.mean.is_finite()).then_some(self.moments.mean)
    }

    pub(super) fn standard_deviation(&self) -> Option<f64> {
        let freedom = self
            .moments
            .count
            .checked_sub(1)
            .filter(|freedom| *freedom > 0)?;
        let deviation = (self.moments.squares / freedom as f64).sqrt();
        deviation.is_finite().then_some(deviation)
    }

    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        self.quantiles.quantile(q)
    }

    pub(super) fn cells(&self) -> Option<&[u64]> {
        self.cells.as_ref().map(|cells| cells.counts.as_slice())
    }

    pub(super) fn grid_fingerprint(&self) -> Option<u32> {
        self.cells.as_ref().map(|cells| cells.fingerprint)
    }

    pub(super) fn is_counted_on(&self, grid: &Grid) -> bool {
        self.cells.as_ref().is_some_and(|cells| {
            cells.fingerprint == grid.fingerprint() && cells.counts.len() == grid.cells()
        })
    }
}
