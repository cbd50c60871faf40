//! The distance of two joint distributions by random Fourier features (Rahimi and Recht 2007; Gretton and others 2012).
//!
//! 256 cosines of random directions approximate a Gaussian kernel, so that the maximum mean discrepancy becomes the distance
//! of two mean vectors, and a day is 256 sums that add up to any window. What is far is learnt from the reference: each of its
//! days is held against the rest, so that ordinary differences between days are not taken for drift.

use serde::{Deserialize, Serialize};

use super::{NotComparable, Rows, median_distance};
use crate::stats::tails::{PValue, ln_upper_gamma, normal_quantile};

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
    pub p_value: PValue,
    /// Whether it is also further than every day of the reference was from the others. Without it the tail of the fitted
    /// distribution should not be leant on.
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
        if rows.columns != self.columns {
            return Err(NotComparable::DifferentColumns);
        }
        let mut sums = vec![0.0; FEATURES];
        let scale = (2.0 / FEATURES as f64).sqrt();
        for row in rows.iter() {
            let directions = self.directions.chunks_exact(self.columns);
            for ((sum, direction), phase) in sums.iter_mut().zip(directions).zip(&self.phases) {
                *sum += scale * (super::dot(direction, row) + phase).cos();
            }
        }
        Ok(FeatureSums {
            rows: rows.len() as u64,
            sums,
        })
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

    /// The squared distance of the means, and that distance over `1/n + 1/m`.
    fn distance(&self, other: &Self) -> (f64, f64) {
        let (n, m) = (self.rows as f64, other.rows as f64);
        let pairs = self.sums.iter().zip(&other.sums);
        let squared: f64 = pairs.map(|(a, b)| (a / n - b / m).powi(2)).sum();
        (squared, squared / (1.0 / n + 1.0 / m))
    }
}

/// The reference, with what its days say is ordinary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureBaseline {
    all: FeatureSums,
    /// Of the gamma distribution of the scaled distances.
    shape: f64,
    scale: f64,
    largest: f64,
}

const FEWEST_DAYS: usize = 7;

impl FeatureBaseline {
    /// Learns from the days of the reference, each held against the others; empty ones are left out. The gamma distribution
    /// has the mean and the variance of the days' scaled distances.
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
            .map(|day| day.distance(&all.without(day)).1)
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
        Ok(Self {
            all,
            shape: mean * mean / variance,
            scale: variance / mean,
            largest: scaled.iter().copied().fold(0.0, f64::max),
        })
    }

    /// Holds a window against the reference.
    ///
    /// # Errors
    /// Without rows, or with other features.
    pub fn compare(&self, window: &FeatureSums) -> Result<Distance, NotComparable> {
        if window.rows == 0 {
            return Err(NotComparable::TooFewCurrentRows);
        }
        if window.sums.len() != self.all.sums.len() {
            return Err(NotComparable::DifferentColumns);
        }
        let (squared, scaled) = window.distance(&self.all);
        let p = PValue::from_ln(ln_upper_gamma(self.shape, scaled / self.scale));
        Ok(Distance {
            squared,
            p_value: p.ok_or(NotComparable::BeyondRange)?,
            is_beyond_all_days: scaled > self.largest,
        })
    }
}
