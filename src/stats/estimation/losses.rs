//! Numbers: what each row's loss will be, from what such rows lost before.
//!
//! [`LossTable`] is the plain form: the mean loss of the reference by bin, such as a bin of predictions within a segment.
//! [`LossModel`] learns from all features which rows are hard, by boosting, and then counts in bins of that. Both rest on the same
//! supposition as everything here: that rows like these lose what they lost.

use serde::{Deserialize, Serialize};

use super::boosting::{Boosting, BoostingOptions, Column};
use super::calibration::ScoreBins;
use super::{Estimated, SUPPORT, Trust, trust};
use crate::stats::causes::Moments;
use crate::stats::quality::Undefined;

/// Loss by bin of the reference. The losses of a row are the absolute and the squared error, or any two that are
/// looked at together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossTable {
    version: u32,
    bins: Vec<LossBin>,
    /// How many times the mean of a block of the reference varies more than rows alone would make it.
    overdispersion: [f64; 2],
    blocks: u64,
    rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct LossBin {
    rows: u64,
    /// Means and variances of the two losses, drawn a little to those of all rows.
    means: [f64; 2],
    variances: [f64; 2],
    /// The first loss as it was.
    first: Moments,
}

const VERSION: u32 = 1;
/// A bin is drawn to the mean of all as if it had so many rows of that.
const PRIOR_ROWS: f64 = 20.0;

impl LossTable {
    /// Learns from the bin and the losses of each row. `bins` is their number.
    ///
    /// # Errors
    /// Without rows, for a bin there is none of, and for losses that are negative or not finite.
    pub fn fit(rows: &[(usize, [f64; 2])], bins: usize) -> Result<Self, Undefined> {
        if rows.is_empty() {
            return Err(Undefined::NoOutcomes);
        }
        let sound = |(bin, losses): &(usize, [f64; 2])| {
            *bin < bins && losses.iter().all(|loss| loss.is_finite() && *loss >= 0.0)
        };
        if !rows.iter().all(sound) {
            return Err(Undefined::BadParameter);
        }
        let n = rows.len() as f64;
        let mean = |of: &dyn Fn(&[f64; 2]) -> f64| {
            rows.iter().map(|(_, losses)| of(losses)).sum::<f64>() / n
        };
        let means = [0, 1].map(|of| mean(&|losses| losses[of]));
        let spreads = [0, 1].map(|of| mean(&|losses| (losses[of] - means[of]).powi(2)));
        let mut sums = vec![(0_u64, [0.0; 2]); bins];
        let mut first = vec![Moments::default(); bins];
        for (bin, losses) in rows {
            first[*bin].push(losses[0]);
            sums[*bin].0 += 1;
            for (sum, loss) in sums[*bin].1.iter_mut().zip(losses) {
                *sum += loss;
            }
        }
        let mut table: Vec<LossBin> = (sums.iter().zip(first))
            .map(|((count, sums), first)| LossBin {
                rows: *count,
                first,
                means: [0, 1]
                    .map(|of| (sums[of] + PRIOR_ROWS * means[of]) / (*count as f64 + PRIOR_ROWS)),
                variances: [0, 1].map(|of| PRIOR_ROWS * spreads[of]),
            })
            .collect();
        for (bin, losses) in rows {
            let own = &mut table[*bin];
            for (of, loss) in losses.iter().enumerate() {
                own.variances[of] += (loss - own.means[of]).powi(2);
            }
        }
        for bin in &mut table {
            bin.variances = bin
                .variances
                .map(|sum| sum / (bin.rows as f64 + PRIOR_ROWS));
        }
        let mut fitted = Self {
            version: VERSION,
            bins: table,
            overdispersion: [1.0; 2],
            blocks: 0,
            rows: rows.len() as u64,
        };
        fitted.measure_blocks(rows);
        Ok(fitted)
    }

    /// Rows that follow each other share causes, such as the weather of a day. Twenty blocks of the reference say how much.
    fn measure_blocks(&mut self, rows: &[(usize, [f64; 2])]) {
        const BLOCKS: usize = 20;
        if rows.len() < 50 * BLOCKS {
            return;
        }
        let mut excess = [0.0; 2];
        for block in rows.chunks_exact(rows.len() / BLOCKS) {
            for (of, excess) in excess.iter_mut().enumerate() {
                let (mut miss, mut variance) = (0.0, 0.0);
                for (bin, losses) in block {
                    miss += losses[of] - self.bins[*bin].means[of];
                    variance += self.bins[*bin].variances[of];
                }
                *excess += if variance > 0.0 {
                    miss * miss / variance
                } else {
                    0.0
                };
            }
        }
        self.blocks = BLOCKS as u64;
        self.overdispersion = excess.map(|sum| (sum / BLOCKS as f64).max(1.0));
    }

    /// Whether this version of the program wrote what was read back.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.version == VERSION
    }

    /// The first loss of the reference by bin: what [`causes`](crate::stats::causes) compares a window with.
    #[must_use]
    pub fn reference(&self) -> Vec<Moments> {
        self.bins.iter().map(|bin| bin.first).collect()
    }

    /// A window without rows.
    #[must_use]
    pub fn window(&self) -> LossWindow {
        LossWindow {
            counts: vec![0; self.bins.len()],
        }
    }

    /// What the losses of a window will be. `age` is that of the table and `oldest` what is allowed, in seconds.
    ///
    /// # Errors
    /// Without rows, and if the window was counted in other bins.
    pub fn estimate(
        &self,
        window: &LossWindow,
        (age, oldest): (f64, f64),
    ) -> Result<LossEstimates, Undefined> {
        if window.counts.len() != self.bins.len() {
            return Err(Undefined::BadParameter);
        }
        let rows = window.counts.iter().sum::<u64>();
        if rows == 0 {
            return Err(Undefined::NoOutcomes);
        }
        let n = rows as f64;
        let (mut means, mut variances, mut off) = ([0.0; 2], [0.0; 2], 0);
        for (bin, count) in self.bins.iter().zip(&window.counts) {
            let share = *count as f64 / n;
            for of in 0..2 {
                means[of] += share * bin.means[of];
                let reference = share * share / (bin.rows as f64).max(1.0);
                variances[of] += bin.variances[of] * (share / n + reference);
            }
            off += if bin.rows < SUPPORT { *count } else { 0 };
        }
        // A window of many blocks averages over their causes; one shorter than a block has only one, but fewer rows that share it.
        let block = if self.blocks > 0 {
            self.rows as f64 / self.blocks as f64
        } else {
            n
        };
        let shared = self
            .overdispersion
            .map(|factor| 1.0 + (factor - 1.0) * (n / block).min(1.0));
        Ok(LossEstimates {
            mean: Estimated::of(means[0], variances[0] * shared[0], (0.0, f64::INFINITY)),
            second: Estimated::of(means[1], variances[1] * shared[1], (0.0, f64::INFINITY)),
            trust: trust(off as f64 / n, age, oldest, None),
        })
    }
}

/// Rows of a window by bin. Windows merge by adding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossWindow {
    counts: Vec<u64>,
}

impl LossWindow {
    /// Takes a row in.
    ///
    /// # Errors
    /// For a bin there is none of.
    pub fn push(&mut self, bin: usize) -> Result<(), Undefined> {
        *self.counts.get_mut(bin).ok_or(Undefined::BadParameter)? += 1;
        Ok(())
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another window.
    ///
    /// # Errors
    /// If it was counted in other bins.
    pub fn merge(&mut self, other: &Self) -> Result<(), Undefined> {
        if self.counts.len() != other.counts.len() {
            return Err(Undefined::BadParameter);
        }
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own += more;
        }
        Ok(())
    }
}

/// What the losses of a window will be.
#[derive(Debug, Clone, PartialEq)]
pub struct LossEstimates {
    /// Of the first loss: the mean absolute error.
    pub mean: Estimated,
    /// Of the second: the mean squared error.
    pub second: Estimated,
    pub trust: Trust,
}

impl LossEstimates {
    /// The square root of the second loss: in the unit of the label, more is worse.
    #[must_use]
    pub fn root_mean_square(&self) -> Estimated {
        let Estimated { value, interval } = self.second;
        Estimated {
            value: value.sqrt(),
            interval: (interval.0.sqrt(), interval.1.sqrt()),
        }
    }
}

/// A model of the absolute error, and the table in bins of what it predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossModel {
    model: Boosting,
    bins: ScoreBins,
    table: LossTable,
}

/// Each fifth of the reference, in order of time, is predicted from the others.
const FOLDS: usize = 5;
/// Bins of predicted loss.
const LOSS_BINS: usize = 50;

impl LossModel {
    /// Learns from the features (the prediction among them) and the errors of a reference, in the order of time.
    ///
    /// Each fifth of the reference is predicted from the other four. That chooses the number of trees, with time between
    /// what is learnt and what is judged, and gives the table losses that the model has not seen.
    ///
    /// # Errors
    /// With fewer than 500 rows, and for columns of other lengths or errors that are not finite.
    pub fn fit(
        columns: &[Column],
        errors: &[f64],
        options: &BoostingOptions,
    ) -> Result<Self, Undefined> {
        let rows = errors.len();
        if rows < 500 {
            return Err(Undefined::NoOutcomes);
        }
        let sizes = errors.iter().map(|error| error.abs()).collect::<Vec<f64>>();
        let unfit = Undefined::BadParameter;
        let mut folds = Vec::with_capacity(FOLDS);
        for fold in 0..FOLDS {
            let held = fold * rows / FOLDS..(fold + 1) * rows / FOLDS;
            let learnt = |row: usize| !held.contains(&row);
            let target: Vec<f64> = (0..rows)
                .filter(|row| learnt(*row))
                .map(|row| sizes[row])
                .collect();
            let model = Boosting::fit(&rows_of(columns, &learnt), &target, options).ok_or(unfit)?;
            folds.push((
                held.clone(),
                model,
                rows_of(columns, &|row| held.contains(&row)),
            ));
        }
        let stages = [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0];
        let stages = stages.map(|part: f64| (part * options.trees as f64).round() as usize);
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for trees in stages {
            let predicted: Vec<f64> = (folds.iter())
                .flat_map(|(_, model, held)| model.predict(held, trees))
                .collect();
            let misses = predicted
                .iter()
                .zip(&sizes)
                .map(|(p, size)| (p - size).powi(2));
            let error = misses.sum::<f64>();
            if best.as_ref().is_none_or(|(least, ..)| error < *least) {
                best = Some((error, trees, predicted));
            }
        }
        let (_, trees, predicted) = best.ok_or(unfit)?;
        let mut model = Boosting::fit(columns, &sizes, options).ok_or(unfit)?;
        model.truncate(trees);
        let mut sorted = predicted.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let most = LOSS_BINS.min(rows / 100).max(2);
        let bins = ScoreBins::between((1..most).map(|i| sorted[i * rows / most]).collect());
        let rows: Vec<(usize, [f64; 2])> = (predicted.iter().zip(&sizes))
            .map(|(predicted, size)| (bins.of(*predicted), [*size, size * size]))
            .collect();
        let table = LossTable::fit(&rows, bins.len())?;
        Ok(Self { model, bins, table })
    }

    /// Counts rows into a window.
    ///
    /// # Errors
    /// If the window was counted in other bins.
    pub fn count(&self, window: &mut LossWindow, columns: &[Column]) -> Result<(), Undefined> {
        for predicted in self.predict(columns) {
            window.push(self.bins.of(predicted))?;
        }
        Ok(())
    }

    /// The losses of labelled rows in the same bins as the reference's, for a decomposition.
    ///
    /// # Errors
    /// If there is not one loss for each row.
    pub fn moments(&self, columns: &[Column], losses: &[f64]) -> Result<Vec<Moments>, Undefined> {
        let predicted = self.predict(columns);
        if predicted.len() != losses.len() {
            return Err(Undefined::BadParameter);
        }
        let mut moments = vec![Moments::default(); self.bins.len()];
        for (predicted, loss) in predicted.iter().zip(losses) {
            moments[self.bins.of(*predicted)].push(*loss);
        }
        Ok(moments)
    }

    /// The absolute error that is to be expected of each row.
    #[must_use]
    pub fn predict(&self, columns: &[Column]) -> Vec<f64> {
        self.model.predict(columns, self.model.trees())
    }

    /// The table windows are counted in.
    #[must_use]
    pub fn table(&self) -> &LossTable {
        &self.table
    }

    /// Trees that the reference was found to bear.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.model.trees()
    }
}

fn rows_of(columns: &[Column], keep: &dyn Fn(usize) -> bool) -> Vec<Column> {
    let of = |column: &Column| match column {
        Column::Numbers(values) => Column::Numbers(kept(values, keep)),
        Column::Categories(codes) => Column::Categories(kept(codes, keep)),
    };
    columns.iter().map(of).collect()
}

fn kept<T: Copy>(values: &[T], keep: &dyn Fn(usize) -> bool) -> Vec<T> {
    let places = values.iter().enumerate();
    places
        .filter(|(row, _)| keep(*row))
        .map(|(_, value)| *value)
        .collect()
}
