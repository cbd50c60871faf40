//! Numbers of a profile: cells, extremes, moments, quantiles.

use super::ProfileError;
use super::quantiles::Quantiles;
use crate::stats::exact::ExactSums;
use crate::stats::grid::Grid;
use crate::stats::repeats::Repeats;

#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub(super) cells: Option<Cells>,
    pub(super) moments: Moments,
    pub(super) quantiles: Quantiles,
    /// How often numbers repeat each other, where that is kept track of.
    pub(super) repeats: Option<Repeats>,
}

/// Counts per cell of the grid with this fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    pub(super) fingerprint: u32,
    pub(super) counts: Vec<u64>,
}

/// Count, extremes, and the exact sums that mean and deviation are read from.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub(super) count: u64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    pub(super) sums: ExactSums,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
            sums: ExactSums::default(),
        }
    }
}

impl Moments {
    /// Adds finite numbers.
    fn observe(&mut self, numbers: &[f64]) {
        let (minimum, maximum) = extremes(numbers);
        self.count += numbers.len() as u64;
        // Adding zero makes the negative zero the one zero that there is.
        self.minimum = self.minimum.min(minimum) + 0.0;
        self.maximum = self.maximum.max(maximum) + 0.0;
        self.sums.add(numbers, minimum.abs().max(maximum.abs()));
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.sums.merge(&other.sums);
    }
}

/// The smallest and the largest of numbers that are finite or NaN, which counts for nothing; infinite on the wrong side
/// without any.
pub(crate) fn extremes(numbers: &[f64]) -> (f64, f64) {
    // Several at a time, which do not wait for each other.
    let (mut minima, mut maxima) = ([f64::INFINITY; 4], [f64::NEG_INFINITY; 4]);
    let (fours, rest) = numbers.as_chunks::<4>();
    let mut widen = |four: &[f64; 4]| {
        for (lane, number) in four.iter().enumerate() {
            minima[lane] = if *number < minima[lane] {
                *number
            } else {
                minima[lane]
            };
            maxima[lane] = if *number > maxima[lane] {
                *number
            } else {
                maxima[lane]
            };
        }
    };
    fours.iter().for_each(&mut widen);
    rest.iter().for_each(|number| widen(&[*number; 4]));
    let minimum = minima.into_iter().fold(f64::INFINITY, f64::min);
    (
        minimum,
        maxima.into_iter().fold(f64::NEG_INFINITY, f64::max),
    )
}

impl Numbers {
    pub(super) fn new(grid: Option<&Grid>) -> Self {
        Self {
            cells: grid.map(|grid| Cells {
                fingerprint: grid.fingerprint(),
                counts: vec![0; grid.cells()],
            }),
            moments: Moments::default(),
            quantiles: Quantiles::default(),
            repeats: None,
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
        self.moments.observe(numbers);
        self.quantiles.observe(numbers);
        Ok(())
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), ProfileError> {
        self.check_grid(other)?;
        self.merge_repeats(other);
        if let (Some(mine), Some(theirs)) = (&mut self.cells, &other.cells) {
            for (mine, theirs) in mine.counts.iter_mut().zip(&theirs.counts) {
                *mine += theirs;
            }
        }
        self.moments.merge(&other.moments);
        self.quantiles.merge(&other.quantiles);
        Ok(())
    }

    /// Of numbers some of which were not kept track of, nothing is known.
    fn merge_repeats(&mut self, other: &Self) {
        let (before, added) = (self.count(), other.count());
        self.repeats = match (self.repeats.take(), &other.repeats) {
            (Some(mut mine), Some(theirs)) => {
                mine.merge(theirs);
                Some(mine)
            }
            (mine @ Some(_), None) if added == 0 => mine,
            (None, theirs) if before == 0 => theirs.clone(),
            _ => None,
        };
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
        let mean = self.moments.sums.mean(self.moments.count);
        mean.filter(|mean| mean.is_finite())
    }

    pub(super) fn standard_deviation(&self) -> Option<f64> {
        let deviation = self.moments.sums.standard_deviation(self.moments.count);
        deviation.filter(|deviation| deviation.is_finite())
    }

    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        self.quantiles
            .quantile(q, (self.moments.minimum, self.moments.maximum))
    }

    pub(super) fn sampled(&self, most: usize) -> Vec<f64> {
        self.quantiles.sampled(most)
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
