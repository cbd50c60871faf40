//! The distance of two joint distributions by random Fourier features (Rahimi and Recht 2007; Gretton and others 2012).
//!
//! 256 cosines of random directions approximate a Gaussian kernel, so that the maximum mean discrepancy becomes the distance
//! of two mean vectors, and a day is 256 sums that add up to any window. What is far is learnt from the reference: each of its
//! days is held against the rest, so that ordinary differences between days are not taken for drift.

use serde::{Deserialize, Serialize};

use super::usual_day::UsualDay;
use super::{NotComparable, Rows, median_distance};
use crate::stats::beta::student_upper;
use crate::stats::tails::{PValue, ln_upper_gamma, normal_quantile};
use crate::stats::uncertainty::ByChance;

/// Features, fixed: the error of the kernel is about one over their root.
pub const FEATURES: usize = 256;

/// Directions and phases, drawn once for a baseline. The same seed gives the same ones everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomFeatures {
    version: u32,
    columns: usize,
    /// One direction after the other, over the width of the kernel.
    directions: Vec<f64>,
    phases: Vec<f64>,
}

/// Sums of the features over the rows of a day. Merges by adding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSums {
    rows: u64,
    sums: Vec<f64>,
}

/// The outcome of [`FeatureBaseline::compare`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// The squared distance of the mean features: 0 to 4, more is worse. Its chance level is not 0.
    pub squared: f64,
    /// What it is on average for a day of the reference with as many rows, held against the others.
    pub usual: f64,
    /// Interval of the squared distance of what the window's rows and the baseline's come from, with at least 95 %, where days scatter
    /// as those of the baseline do.
    pub interval: (f64, f64),
    pub p_value: PValue,
    /// Whether it is also further than every day of the reference was from the others. Without it the tails of fitted
    /// distributions should not be leant on.
    pub is_beyond_all_days: bool,
}

const VERSION: u32 = 1;

impl RandomFeatures {
    /// Directions for rows like these; the kernel is as wide as their median distance.
    ///
    /// # Errors
    /// With fewer than two rows, or when all are equal.
    pub fn new(reference: &Rows, seed: u64) -> Result<Self, NotComparable> {
        if reference.len() < 2 {
            return Err(NotComparable::TooFewReferenceRows);
        }
        let width = median_distance(reference)?;
        let mut uniform = uniform(seed);
        let directions = (0..FEATURES * reference.columns)
            .map(|_| normal_quantile(uniform()) / width)
            .collect();
        let phases = (0..FEATURES)
            .map(|_| std::f64::consts::TAU * uniform())
            .collect();
        Ok(Self {
            version: VERSION,
            columns: reference.columns,
            directions,
            phases,
        })
    }

    /// Whether this version of the program drew what was read back.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.version == VERSION && self.directions.len() == FEATURES * self.columns
    }

    /// The sums of some rows.
    ///
    /// # Errors
    /// With other columns.
    pub fn sums(&self, rows: &Rows) -> Result<FeatureSums, NotComparable> {
        let mut sums = FeatureSums::empty();
        self.add(&mut sums, rows)?;
        Ok(sums)
    }

    /// Adds further rows to their sums.
    ///
    /// # Errors
    /// With other columns.
    pub(super) fn add(&self, sums: &mut FeatureSums, rows: &Rows) -> Result<(), NotComparable> {
        if rows.columns != self.columns {
            return Err(NotComparable::DifferentColumns);
        }
        let scale = (2.0 / FEATURES as f64).sqrt();
        for row in rows.iter() {
            let directions = self.directions.chunks_exact(self.columns);
            let features = sums.sums.iter_mut().zip(directions).zip(&self.phases);
            for ((sum, direction), phase) in features {
                *sum += scale * (super::dot(direction, row) + phase).cos();
            }
        }
        sums.rows += rows.len() as u64;
        Ok(())
    }
}

/// Uniform numbers between 0 and 1, never either (Steele, Lea and Flood 2014).
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

impl FeatureSums {
    /// Of no rows.
    pub(super) fn empty() -> Self {
        Self {
            rows: 0,
            sums: vec![0.0; FEATURES],
        }
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds another day.
    ///
    /// # Errors
    /// If it has another number of features.
    pub fn merge(&mut self, other: &Self) -> Result<(), NotComparable> {
        if self.sums.len() != other.sums.len() {
            return Err(NotComparable::DifferentColumns);
        }
        self.rows += other.rows;
        for (own, more) in self.sums.iter_mut().zip(&other.sums) {
            *own += more;
        }
        Ok(())
    }

    fn without(&self, other: &Self) -> Self {
        let pairs = self.sums.iter().zip(&other.sums);
        Self {
            rows: self.rows - other.rows,
            sums: pairs.map(|(all, own)| all - own).collect(),
        }
    }

    /// The squared distance of the means.
    fn distance(&self, other: &Self) -> f64 {
        let (n, m) = (self.rows as f64, other.rows as f64);
        let pairs = self.sums.iter().zip(&other.sums);
        pairs.map(|(a, b)| (a / n - b / m).powi(2)).sum()
    }

    /// By how much a single row scatters about the mean: the trace of the covariance. The squares of a row's features add up to 1,
    /// as near as 256 phases go.
    fn scatter(&self) -> f64 {
        let n = self.rows as f64;
        let of_mean: f64 = self.sums.iter().map(|sum| (sum / n).powi(2)).sum();
        (1.0 - of_mean).max(0.0)
    }
}

/// How far two means of so many rows are apart, beside those of single rows.
fn chance(n: f64, m: f64) -> f64 {
    1.0 / n + 1.0 / m
}

/// The reference, with what its days say is ordinary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureBaseline {
    all: FeatureSums,
    /// Of the gamma distribution of the scaled distances.
    shape: f64,
    scale: f64,
    largest: f64,
    /// Mean and deviation of their logarithms, and how many there are.
    log_mean: f64,
    log_deviation: f64,
    days: f64,
}

const FEWEST_DAYS: usize = 7;

impl FeatureBaseline {
    /// Learns from the days of the reference, each held against the others; empty ones are left out. The gamma distribution
    /// has the mean and the variance of the days' scaled distances. It is taken for known, which so few days do not make it; so
    /// the logarithms of the distances are held against Student's distribution as well, as a further day of these would be.
    ///
    /// # Errors
    /// With fewer than seven days, or days of other features.
    pub fn fit(days: &[FeatureSums]) -> Result<Self, NotComparable> {
        let days: Vec<&FeatureSums> = days.iter().filter(|day| day.rows > 0).collect();
        if days.len() < FEWEST_DAYS {
            return Err(NotComparable::TooFewReferenceRows);
        }
        let mut all = FeatureSums {
            rows: 0,
            sums: vec![0.0; days[0].sums.len()],
        };
        for day in &days {
            all.merge(day)?;
        }
        let scaled: Vec<f64> = days
            .iter()
            .map(|day| {
                let others = all.without(day);
                day.distance(&others) / chance(day.rows as f64, others.rows as f64)
            })
            .collect();
        let n = scaled.len() as f64;
        let mean = scaled.iter().sum::<f64>() / n;
        let variance = scaled
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / (n - 1.0);
        if mean.is_nan() || variance.is_nan() || mean <= 0.0 || variance <= 0.0 {
            return Err(NotComparable::NothingVaries);
        }
        let logs: Vec<f64> = scaled.iter().map(|value| value.ln()).collect();
        let log_mean = logs.iter().sum::<f64>() / n;
        let log_variance = logs.iter().map(|log| (log - log_mean).powi(2)).sum::<f64>() / (n - 1.0);
        Ok(Self {
            log_mean,
            log_deviation: log_variance.sqrt(),
            days: n,
            all,
            shape: mean * mean / variance,
            scale: variance / mean,
            largest: scaled.iter().copied().fold(0.0, f64::max),
        })
    }

    /// What its days are like: their distances beside those of rows that have nothing of a day in common.
    fn usual_day(&self) -> UsualDay {
        let mean = self.shape * self.scale;
        let freedom = 2.0 * self.shape * self.days;
        let rows = self.all.rows as f64 / self.days;
        UsualDay::new(rows, (mean / self.all.scatter()).max(1.0), freedom)
    }

    /// Holds a window of days against the reference.
    ///
    /// # Errors
    /// Without rows, or with other features.
    pub fn compare(&self, days: &[&FeatureSums]) -> Result<Distance, NotComparable> {
        let mut window = FeatureSums {
            rows: 0,
            sums: vec![0.0; self.all.sums.len()],
        };
        for day in days {
            window.merge(day)?;
        }
        if window.rows == 0 {
            return Err(NotComparable::TooFewCurrentRows);
        }
        let squared = window.distance(&self.all);
        let worth = (self.usual_day()).worth(days.iter().map(|day| day.rows as f64));
        let scaled = squared / chance(worth, self.all.rows as f64);
        let known = ln_upper_gamma(self.shape, scaled / self.scale);
        let t =
            (scaled.ln() - self.log_mean) / (self.log_deviation * (1.0 + 1.0 / self.days).sqrt());
        let p = match student_upper(t, self.days - 1.0) {
            Some(estimated) => PValue::from_ln(known.max(estimated.ln())),
            None => None,
        };
        let usual = if scaled > 0.0 {
            squared / scaled * self.shape * self.scale
        } else {
            0.0
        };
        // Of the scatter S of the means, the trace is the usual distance, and that of S² half of its variance; no direction scatters by
        // more than the root of the latter.
        let by_chance = ByChance {
            mean: usual,
            variance: usual * usual / self.shape,
        };
        let along = 4.0 * squared * (by_chance.variance / 2.0).sqrt();
        Ok(Distance {
            squared,
            usual,
            interval: by_chance.of_distance(squared, along),
            p_value: p.ok_or(NotComparable::BeyondRange)?,
            is_beyond_all_days: scaled > self.largest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns that lie on a ring of that width around 0: no mean and no correlation tells how wide.
    fn ring(seed: u64, radius: f64) -> Rows {
        ring_of(400, seed, radius)
    }

    fn ring_of(rows: usize, seed: u64, radius: f64) -> Rows {
        let mut random = uniform(seed);
        let values: Vec<f64> = (0..rows)
            .flat_map(|_| {
                let angle = std::f64::consts::TAU * random();
                let away = radius + 0.2 * normal_quantile(random());
                [away * angle.cos(), away * angle.sin()]
            })
            .collect();
        Rows::of(&values, 2)
    }

    #[test]
    fn a_change_of_shape_is_far_and_another_day_is_near() {
        let days: Vec<Rows> = (0..28).map(|seed| ring(seed, 1.0)).collect();
        let features = RandomFeatures::new(&days[0], 7).expect("rows");
        assert!(features.is_readable());
        assert_eq!(features, RandomFeatures::new(&days[0], 7).expect("rows"));
        let sums: Vec<FeatureSums> = days
            .iter()
            .map(|day| features.sums(day).expect("two columns"))
            .collect();
        let baseline = FeatureBaseline::fit(&sums).expect("days");
        let of = |seed, radius| {
            let sums = features.sums(&ring(seed, radius)).expect("two columns");
            baseline.compare(&[&sums]).expect("the same features")
        };
        assert!(of(100, 1.0).p_value.value() > 1e-3, "{:?}", of(100, 1.0));
        let far = of(101, 1.3);
        assert!(
            far.p_value.value() < 1e-3 && far.is_beyond_all_days,
            "{far:?}"
        );
    }

    #[test]
    fn larger_days_are_no_surer_of_what_days_differ_by() {
        let mut random = uniform(7);
        let mut radius = || 0.9 + 0.2 * random();
        let days: Vec<Rows> = (0..28).map(|seed| ring_of(100, seed, radius())).collect();
        let features = RandomFeatures::new(&days[0], 7).expect("rows");
        let of = |rows: &Rows| features.sums(rows).expect("two columns");
        let baseline = FeatureBaseline::fit(&days.iter().map(of).collect::<Vec<_>>());
        let baseline = baseline.expect("days");
        let unlikely = (0..40).filter(|seed| {
            let large = of(&ring_of(5_000, seed + 500, radius()));
            let found = baseline.compare(&[&large]).expect("the same features");
            found.p_value.value() < 0.01
        });
        assert!(unlikely.count() <= 2);
    }

    #[test]
    fn sums_merge_and_what_is_degenerate_is_named() {
        let features = RandomFeatures::new(&ring(1, 1.0), 7).expect("rows");
        let (mut one, two) = (
            features.sums(&ring(1, 1.0)).expect("two"),
            features.sums(&ring(2, 1.0)).expect("two"),
        );
        one.merge(&two).expect("the same features");
        assert_eq!(one.rows, 800);
        assert!(features.sums(&Rows::of(&[1.0; 9], 3)).is_err());
        assert!(RandomFeatures::new(&Rows::of(&[1.0; 8], 2), 7).is_err());
        assert!(RandomFeatures::new(&Rows::of(&[], 2), 7).is_err());
        assert!(FeatureBaseline::fit(&vec![two.clone(); 6]).is_err());
        assert_eq!(
            FeatureBaseline::fit(&vec![two.clone(); 8]),
            Err(NotComparable::NothingVaries)
        );
        let days: Vec<FeatureSums> = (0..8)
            .map(|seed| features.sums(&ring(seed, 1.0)).expect("two"))
            .collect();
        let baseline = FeatureBaseline::fit(&days).expect("days");
        let empty = features.sums(&Rows::of(&[], 2)).expect("two");
        assert_eq!(
            baseline.compare(&[&empty]),
            Err(NotComparable::TooFewCurrentRows)
        );
    }
}
