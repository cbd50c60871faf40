//! Correlations that change while every column stays as it was.
//!
//! Each value is mapped to the normal score of its frozen bin, so that the correlations are those of the copula and no far
//! value weighs more than a rank can. A day then is the sums of the scores and of their products, `d(d + 3)/2` numbers, which add
//! up to any window. What is tested are the days' transformed correlations, `atanh r`, with a variance that is estimated from
//! the reference's days and never below the `1/(n − 3)` of chance.

use serde::{Deserialize, Serialize};

use super::NotComparable;
use crate::stats::moderated::Prior;
use crate::stats::tails::{PValue, normal_quantile, student_two_sided};

/// More columns than these are left to the caller to choose from.
pub const MOST_COLUMNS: usize = 64;

/// Standardised normal scores of a column's bins: `Φ⁻¹` of the mid-rank of each, mean 0 and variance 1 in the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormalScores(Vec<f64>);

impl NormalScores {
    /// From the rows of the reference by bin, in the order of the values. A bin without rows takes the score of its place between
    /// its neighbours.
    ///
    /// # Errors
    /// Unless at least two bins have rows.
    pub fn fit(counts: &[u64]) -> Result<Self, NotComparable> {
        let rows = counts.iter().sum::<u64>() as f64;
        if counts.iter().filter(|count| **count > 0).count() < 2 {
            return Err(NotComparable::NothingVaries);
        }
        let mut below = 0.0;
        let raw: Vec<f64> = (counts.iter())
            .map(|count| {
                let share = *count as f64 / rows;
                let rank = below + share / 2.0;
                below += share;
                // The outermost bins may be empty: half a row is the least that lies beyond any bin.
                normal_quantile(rank.clamp(0.5 / rows, 1.0 - 0.5 / rows))
            })
            .collect();
        let weighted = |of: &dyn Fn(f64) -> f64| -> f64 {
            let pairs = raw.iter().zip(counts);
            pairs
                .map(|(score, count)| of(*score) * *count as f64 / rows)
                .sum()
        };
        let mean = weighted(&|score| score);
        let deviation = weighted(&|score| (score - mean).powi(2)).sqrt();
        Ok(Self(
            raw.iter().map(|score| (score - mean) / deviation).collect(),
        ))
    }

    /// The score of a bin; 0, the mean, for one that is not known and for a missing value.
    #[must_use]
    pub fn of(&self, bin: Option<usize>) -> f64 {
        bin.and_then(|bin| self.0.get(bin)).copied().unwrap_or(0.0)
    }
}

/// Sums of scores and of their products over the rows of a day. Merges by adding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoMoments {
    version: u32,
    rows: u64,
    sums: Vec<f64>,
    /// The lower triangle with its diagonal, row by row.
    products: Vec<f64>,
}

const VERSION: u32 = 1;

impl CoMoments {
    /// No rows yet.
    ///
    /// # Errors
    /// For fewer than two or more than [`MOST_COLUMNS`] columns.
    pub fn new(columns: usize) -> Result<Self, NotComparable> {
        if !(2..=MOST_COLUMNS).contains(&columns) {
            return Err(NotComparable::DifferentColumns);
        }
        Ok(Self {
            version: VERSION,
            rows: 0,
            sums: vec![0.0; columns],
            products: vec![0.0; columns * (columns + 1) / 2],
        })
    }

    /// Takes the scores of a row in.
    ///
    /// # Errors
    /// With other columns. A score that is not finite cannot come from [`NormalScores`] and is refused too.
    pub fn push(&mut self, scores: &[f64]) -> Result<(), NotComparable> {
        if scores.len() != self.sums.len() || !scores.iter().all(|score| score.is_finite()) {
            return Err(NotComparable::DifferentColumns);
        }
        self.rows += 1;
        let mut at = 0;
        for (a, x) in scores.iter().enumerate() {
            self.sums[a] += x;
            for y in &scores[..=a] {
                self.products[at] += x * y;
                at += 1;
            }
        }
        Ok(())
    }

    /// Adds another day.
    ///
    /// # Errors
    /// With other columns or of another version.
    pub fn merge(&mut self, other: &Self) -> Result<(), NotComparable> {
        if self.sums.len() != other.sums.len() || self.version != other.version {
            return Err(NotComparable::DifferentColumns);
        }
        self.rows += other.rows;
        let pairs = self.sums.iter_mut().zip(&other.sums);
        for (own, more) in pairs.chain(self.products.iter_mut().zip(&other.products)) {
            *own += more;
        }
        Ok(())
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `atanh r` of every pair of columns `(b, a)`, `b < a`, in the order of `a`; `None` where a column does not vary.
    fn transformed(&self) -> Vec<Option<f64>> {
        let n = self.rows as f64;
        let columns = self.sums.len();
        let centred = |a: usize, b: usize| {
            self.products[a * (a + 1) / 2 + b] - self.sums[a] * self.sums[b] / n
        };
        let mut all = Vec::with_capacity(columns * (columns - 1) / 2);
        for a in 0..columns {
            for b in 0..a {
                let spread = (centred(a, a) * centred(b, b)).sqrt();
                let varies = spread > 1e-9 * n;
                // A correlation of exactly ±1 has no transformation; it is taken as near as a number can be.
                let r = (centred(a, b) / spread).clamp(-1.0 + 1e-15, 1.0 - 1e-15);
                all.push(varies.then(|| r.atanh()));
            }
        }
        all
    }
}

/// A pair whose correlation has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairChange {
    pub columns: (usize, usize),
    /// Correlations of the normal scores.
    pub reference: f64,
    pub current: f64,
    /// Days of the window in which it shows most.
    pub days: usize,
    /// Two-sided, times the number of pairs and of windows.
    pub p_value: PValue,
}

/// What the reference's days say of the pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoMomentBaseline {
    columns: usize,
    /// `Σ (n − 3)` of the days.
    weight: f64,
    days: usize,
    /// By pair: the mean of `atanh r`, and how many times chance its days vary by; `None` where a column did not vary.
    pairs: Vec<Option<(f64, f64)>>,
    freedom: f64,
}

const WINDOWS: [usize; 4] = [1, 3, 7, 14];
const FEWEST_DAYS: usize = 7;
const FEWEST_ROWS: u64 = 20;

impl CoMomentBaseline {
    /// Learns from the days of the reference; those with fewer than twenty rows are left out.
    ///
    /// The days' variances are moderated over the pairs (Smyth 2004) and never below that of chance.
    ///
    /// # Errors
    /// With fewer than seven days, or when no pair of columns varies.
    pub fn fit(days: &[CoMoments]) -> Result<Self, NotComparable> {
        let days: Vec<&CoMoments> = days.iter().filter(|day| day.rows >= FEWEST_ROWS).collect();
        if days.len() < FEWEST_DAYS {
            return Err(NotComparable::TooFewReferenceRows);
        }
        let columns = days[0].sums.len();
        if days.iter().any(|day| day.sums.len() != columns) {
            return Err(NotComparable::DifferentColumns);
        }
        let weights: Vec<f64> = days.iter().map(|day| day.rows as f64 - 3.0).collect();
        let weight: f64 = weights.iter().sum();
        let values: Vec<Vec<Option<f64>>> = days.iter().map(|day| day.transformed()).collect();
        let degrees = days.len() as f64 - 1.0;
        let moments: Vec<Option<(f64, f64)>> = (0..values[0].len())
            .map(|pair| {
                let own: Option<Vec<f64>> = values.iter().map(|day| day[pair]).collect();
                let own = own?;
                let pairs = || own.iter().zip(&weights);
                let mean = pairs().map(|(a, w)| a * w).sum::<f64>() / weight;
                let spread = pairs().map(|(a, w)| w * (a - mean).powi(2)).sum::<f64>();
                Some((mean, spread / degrees))
            })
            .collect();
        let variances: Vec<f64> = moments
            .iter()
            .flatten()
            .map(|(_, variance)| *variance)
            .collect();
        if variances.is_empty() {
            return Err(NotComparable::NothingVaries);
        }
        let prior = Prior::estimate(&variances, degrees);
        let moderated = |(mean, variance)| (mean, prior.moderate(variance, degrees).max(1.0));
        Ok(Self {
            columns,
            weight,
            days: days.len(),
            pairs: moments
                .into_iter()
                .map(|pair| pair.map(moderated))
                .collect(),
            freedom: degrees + prior.degrees,
        })
    }

    /// Tests the windows of 1, 3, 7 and 14 days that end on the last of these days; pairs with their p-values, the least likely
    /// first. An empty list means that no window has twenty rows.
    ///
    /// # Errors
    /// With other columns.
    pub fn changes(&self, days: &[CoMoments]) -> Result<Vec<PairChange>, NotComparable> {
        let mut windows = Vec::new();
        for length in WINDOWS.into_iter().filter(|length| *length <= days.len()) {
            let mut window = CoMoments::new(self.columns)?;
            for day in &days[days.len() - length..] {
                window.merge(day)?;
            }
            if window.rows >= FEWEST_ROWS {
                windows.push((length, window));
            }
        }
        let mut best: Vec<Option<PairChange>> = vec![None; self.pairs.len()];
        let tests = (self.pairs.iter().flatten().count() * windows.len()) as f64;
        for (length, window) in windows {
            let own = window.rows as f64 - 3.0;
            for (pair, value) in window.transformed().into_iter().enumerate() {
                let (Some((mean, factor)), Some(value)) = (self.pairs[pair], value) else {
                    continue;
                };
                let error = (factor * (1.0 / own + 1.0 / self.weight)).sqrt();
                let p = student_two_sided((value - mean) / error, self.freedom);
                let p = p.and_then(|p| PValue::from_ln(p.ln() + tests.ln()));
                let Some(p_value) = p else { continue };
                if best[pair].is_none_or(|best| p_value < best.p_value) {
                    best[pair] = Some(PairChange {
                        columns: columns_of(pair),
                        reference: mean.tanh(),
                        current: value.tanh(),
                        days: length,
                        p_value,
                    });
                }
            }
        }
        let mut found: Vec<PairChange> = best.into_iter().flatten().collect();
        found.sort_by(|a, b| a.p_value.ln().total_cmp(&b.p_value.ln()));
        Ok(found)
    }

    /// Days it was learnt from.
    #[must_use]
    pub fn days(&self) -> usize {
        self.days
    }
}

/// The columns of a place in the order of [`CoMoments::transformed`].
fn columns_of(pair: usize) -> (usize, usize) {
    let mut a = 1;
    while a * (a + 1) / 2 <= pair {
        a += 1;
    }
    (pair - a * (a - 1) / 2, a)
}
