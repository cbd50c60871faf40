//! Correlations that change while every column stays as it was.
//!
//! Each value is mapped to the normal score of its frozen bin, so that the correlations are those of the copula and no far
//! value weighs more than a rank can. A day then is the sums of the scores and of their products, `d(d + 3)/2` numbers. What is
//! tested are means of the days' transformed correlations, `atanh r`, with a variance that is estimated from the reference's
//! days and never below the `1/(n − 3)` of chance. Days are not added up into windows: columns whose means move together from
//! day to day, as weather does, would look correlated over three days and not over one.

use serde::{Deserialize, Serialize};

use super::NotComparable;
use super::usual_day::UsualDay;
use crate::stats::beta::{student_critical, student_two_sided};
use crate::stats::moderated::{Prior, trusted};
use crate::stats::tails::{PValue, normal_quantile};

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
    /// 95 % interval of the change.
    pub interval: (f64, f64),
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
    /// `None` where a column did not vary on some day.
    pairs: Vec<Option<Usual>>,
}

/// What a pair's days are like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Usual {
    /// The mean of `atanh r`.
    mean: f64,
    /// How many times chance its days vary by.
    factor: f64,
    freedom: f64,
}

/// Days in the windows that are looked at.
pub(super) const WINDOWS: [usize; 4] = [1, 3, 7, 14];
const FEWEST_DAYS: usize = 7;
/// Of fewer rows nothing is said.
pub(super) const FEWEST_ROWS: u64 = 20;
/// The normal quantile of the chance to see the smallest change, 90 %.
const POWER_QUANTILE: f64 = 1.281_551_565_544_6;
/// A day further from the mean than this, in standard deviations, says that days have heavier tails than they should, and
/// widens them by as much.
const PEAK: f64 = 3.0;
/// Degrees of freedom that the days' part of a variance is trusted with, less where days differ many times more than chance.
const TRUST: f64 = 30.0;
const LEAST_TRUST: f64 = 10.0;
const KINDS_FROM: f64 = 6.0;

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
        let moments: Vec<Option<Moments>> = (0..values[0].len())
            .map(|pair| {
                let own: Option<Vec<f64>> = values.iter().map(|day| day[pair]).collect();
                let own = own?;
                let pairs = || own.iter().zip(&weights);
                let mean = pairs().map(|(a, w)| a * w).sum::<f64>() / weight;
                let squares = || pairs().map(|(a, w)| w * (a - mean).powi(2));
                Some(Moments {
                    mean,
                    variance: squares().sum::<f64>() / degrees,
                    furthest: squares().fold(0.0, f64::max),
                })
            })
            .collect();
        if moments.iter().all(Option::is_none) {
            return Err(NotComparable::NothingVaries);
        }
        let known = moments.iter().flatten();
        let known: Vec<(f64, f64)> = known.map(|of| (of.variance, degrees)).collect();
        let prior = Prior::of(&known);
        let usual = moments
            .iter()
            .map(|of| of.map(|of| of.moderated(&prior, degrees)));
        Ok(Self {
            columns,
            weight,
            days: days.len(),
            pairs: usual.collect(),
        })
    }

    /// Tests the windows of 1, 3, 7 and 14 days that end on the last of these days; pairs with their p-values, the least likely
    /// first. Days with fewer than twenty rows say nothing; an empty list means that all do.
    ///
    /// # Errors
    /// With other columns.
    pub fn changes(&self, days: &[CoMoments]) -> Result<Vec<PairChange>, NotComparable> {
        if days.iter().any(|day| day.sums.len() != self.columns) {
            return Err(NotComparable::DifferentColumns);
        }
        let values: Vec<(f64, Vec<Option<f64>>)> = (days.iter())
            .map(|day| match day.rows {
                0..FEWEST_ROWS => (0.0, vec![None; self.pairs.len()]),
                rows => (rows as f64 - 3.0, day.transformed()),
            })
            .collect();
        let lengths: Vec<usize> = (WINDOWS.into_iter())
            .filter(|length| *length <= days.len())
            .collect();
        let tests = (self.pairs.iter().flatten().count() * lengths.len()) as f64;
        let mut found = Vec::new();
        for (pair, usual) in self.pairs.iter().enumerate() {
            let Some(usual) = usual else { continue };
            let mut best: Option<PairChange> = None;
            for length in &lengths {
                let window = values[values.len() - length..].iter();
                let known = window.filter_map(|(weight, day)| Some((*weight, day[pair]?)));
                let known: Vec<(f64, f64)> = known.filter(|(weight, _)| *weight > 0.0).collect();
                if known.is_empty() {
                    continue;
                }
                let change = self.change(pair, usual, *length, &known, tests);
                best = match (best, change) {
                    (Some(best), Some(change)) if best.p_value <= change.p_value => Some(best),
                    (best, change) => change.or(best),
                };
            }
            found.extend(best);
        }
        found.sort_by(|a, b| a.p_value.ln().total_cmp(&b.p_value.ln()));
        Ok(found)
    }

    fn change(
        &self,
        pair: usize,
        usual: &Usual,
        days: usize,
        known: &[(f64, f64)],
        tests: f64,
    ) -> Option<PairChange> {
        let weights = || known.iter().map(|(weight, _)| *weight);
        let sum: f64 = known.iter().map(|(weight, value)| weight * value).sum();
        let value = sum / weights().sum::<f64>();
        let error = self.error(usual, weights());
        let p = student_two_sided((value - usual.mean) / error, usual.freedom)?;
        // Both tails of 5 %.
        let wide = student_critical(0.05_f64.ln(), usual.freedom)? * error;
        let end = |away: f64| (value + away).tanh() - usual.mean.tanh();
        Some(PairChange {
            columns: columns_of(pair),
            reference: usual.mean.tanh(),
            current: value.tanh(),
            days,
            interval: (end(-wide), end(wide)),
            p_value: PValue::from_ln((p.ln() + tests.ln()).min(0.0))?,
        })
    }

    /// The standard error of the difference of a window of days with these weights from the reference.
    fn error(&self, usual: &Usual, weights: impl Iterator<Item = f64>) -> f64 {
        let day = UsualDay::new(self.weight / self.days as f64, usual.factor, usual.freedom);
        (usual.factor * (1.0 / day.worth(weights) + 1.0 / self.weight)).sqrt()
    }

    /// Days it was learnt from.
    #[must_use]
    pub fn days(&self) -> usize {
        self.days
    }

    /// The smallest change of `atanh r`, near 0 that of `r`, that a window of so many days of `rows` rows would call unlikely at
    /// `alpha` with a chance of 90 %, of a pair whose days differ by the median amount. No window is longer than 14 days.
    /// `None` for days with fewer rows than anything is said of.
    #[must_use]
    pub fn smallest_change(&self, days: usize, rows: f64, alpha: PValue) -> Option<f64> {
        let mut usual: Vec<&Usual> = self.pairs.iter().flatten().collect();
        usual.sort_unstable_by(|a, b| a.factor.total_cmp(&b.factor));
        let median = *usual.get(usual.len() / 2)?;
        let length = *WINDOWS.iter().rev().find(|length| **length <= days)?;
        if rows.is_nan() || rows < FEWEST_ROWS as f64 {
            return None;
        }
        let tests = (usual.len() * WINDOWS.len()) as f64;
        let critical = student_critical(alpha.ln() - tests.ln(), median.freedom)?;
        let error = self.error(median, std::iter::repeat_n(rows - 3.0, length));
        Some((critical + POWER_QUANTILE) * error)
    }
}

/// A pair's days as they are.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    variance: f64,
    /// Of the day that is furthest from the mean, what it adds to the sum of squares.
    furthest: f64,
}

impl Moments {
    /// With a variance drawn towards that of the other pairs, which the furthest day fits to.
    fn moderated(self, prior: &Prior, degrees: f64) -> Usual {
        let moderated = prior.moderate(self.variance, degrees);
        let peak = self.furthest / moderated.factor / (PEAK * PEAK);
        let factor = moderated.factor * peak.max(1.0);
        let trust = (TRUST * KINDS_FROM / factor).clamp(LEAST_TRUST, TRUST);
        Usual {
            mean: self.mean,
            factor,
            freedom: moderated.freedom.min(trusted(factor, trust)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::uniform;

    /// Ten bins of which every `share`-th row has the same in the first and the last of three columns.
    fn day(seed: u64, share: f64) -> CoMoments {
        day_of(500, seed, share)
    }

    fn day_of(rows: usize, seed: u64, share: f64) -> CoMoments {
        let scores = NormalScores::fit(&[10; 10]).expect("bins");
        let mut random = uniform(seed);
        let mut moments = CoMoments::new(3).expect("columns");
        for _ in 0..rows {
            let mut bins = [random(), random(), random()].map(|u| (u * 10.0) as usize);
            if random() < share {
                bins[2] = bins[0];
            }
            moments
                .push(&bins.map(|bin| scores.of(Some(bin))))
                .expect("three");
        }
        moments
    }

    #[test]
    fn scores_are_standardised_and_unknown_bins_are_the_mean() {
        let scores = NormalScores::fit(&[0, 5, 90, 5, 0]).expect("bins");
        let counts = [0.0, 0.05, 0.9, 0.05, 0.0];
        let moment = |power: i32| -> f64 {
            (0..5)
                .map(|bin| counts[bin] * scores.of(Some(bin)).powi(power))
                .sum()
        };
        assert!(moment(1).abs() < 1e-12 && (moment(2) - 1.0).abs() < 1e-12);
        assert!(scores.of(Some(0)).is_finite() && scores.of(Some(0)) < scores.of(Some(1)));
        assert_eq!((scores.of(None), scores.of(Some(9))), (0.0, 0.0));
        assert!(NormalScores::fit(&[0, 7, 0]).is_err() && NormalScores::fit(&[]).is_err());
    }

    #[test]
    fn a_correlation_that_appears_is_named_and_chance_is_not() {
        let days: Vec<CoMoments> = (0..28).map(|seed| day(seed + 1, 0.0)).collect();
        let baseline = CoMomentBaseline::fit(&days).expect("days");
        assert_eq!(baseline.days(), 28);
        let quiet: Vec<CoMoments> = (0..14).map(|seed| day(seed + 100, 0.0)).collect();
        let changes = baseline.changes(&quiet).expect("columns");
        assert!(
            changes.len() == 3 && changes[0].p_value.value() > 1e-3,
            "{changes:?}"
        );
        let loud = baseline.changes(&[day(200, 0.4)]).expect("columns");
        assert_eq!((loud[0].columns, loud[0].days), ((0, 2), 1));
        assert!(
            loud[0].p_value.value() < 1e-6 && loud[0].current > 0.3,
            "{loud:?}"
        );
        assert!(loud[1].p_value.value() > 1e-3);
    }

    #[test]
    fn days_that_differ_among_themselves_are_not_drift() {
        let days: Vec<CoMoments> = (0..28)
            .map(|seed| day(seed + 1, 0.2 * (seed % 4) as f64))
            .collect();
        let baseline = CoMomentBaseline::fit(&days).expect("days");
        let changes = baseline.changes(&[day(200, 0.6)]).expect("columns");
        assert!(changes[0].p_value.value() > 1e-3, "{changes:?}");
    }

    #[test]
    fn larger_days_are_no_surer_of_what_days_differ_by() {
        let mut random = uniform(7);
        let mut share = || 0.1 + 0.2 * random();
        let days: Vec<CoMoments> = (0..28).map(|seed| day_of(100, seed + 1, share())).collect();
        let baseline = CoMomentBaseline::fit(&days).expect("days");
        let unlikely = (0..40).filter(|seed| {
            let large = day_of(10_000, seed + 500, share());
            let changes = baseline.changes(&[large]).expect("columns");
            changes[0].p_value.value() < 0.01
        });
        assert!(unlikely.count() <= 2);
    }

    #[test]
    fn degenerate_days_are_named() {
        assert!(CoMoments::new(1).is_err() && CoMoments::new(65).is_err());
        let mut two = CoMoments::new(2).expect("columns");
        assert!(two.push(&[1.0]).is_err() && two.push(&[1.0, f64::NAN]).is_err());
        assert!(two.merge(&CoMoments::new(3).expect("columns")).is_err());
        let few: Vec<CoMoments> = (0..6).map(|seed| day(seed, 0.0)).collect();
        assert_eq!(
            CoMomentBaseline::fit(&few),
            Err(NotComparable::TooFewReferenceRows)
        );
        let mut constant = CoMoments::new(2).expect("columns");
        (0..50).for_each(|_| constant.push(&[0.5, 0.5]).expect("two"));
        let days = vec![constant; 8];
        assert_eq!(
            CoMomentBaseline::fit(&days),
            Err(NotComparable::NothingVaries)
        );
        let known: Vec<CoMoments> = (0..8).map(|seed| day(seed + 1, 0.0)).collect();
        let baseline = CoMomentBaseline::fit(&known).expect("days");
        assert_eq!(baseline.changes(&[]), Ok(vec![]));
        assert_eq!(
            baseline.changes(&[CoMoments::new(3).expect("columns")]),
            Ok(vec![])
        );
        assert!(
            baseline
                .changes(&[CoMoments::new(2).expect("columns")])
                .is_err()
        );
    }

    #[test]
    fn places_are_columns() {
        let pairs: Vec<(usize, usize)> = (0..6).map(columns_of).collect();
        assert_eq!(pairs, [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]);
    }
}
