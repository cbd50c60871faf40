//! Variances that lend each other strength: the moderated variance of Smyth (2004), known from limma.
//!
//! A variance from 27 degrees of freedom is off by a quarter. Where many alike were measured, what they have in common is a
//! prior for each: a scaled inverse chi-square distribution whose parameters come from the mean and the spread of
//! their logarithms.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::digamma;

/// What variances of one kind have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Degrees of freedom that the prior is worth: 0 tells nothing, [`MOST_DEGREES`] that all are the same.
    pub degrees: f64,
    pub variance: f64,
}

/// No prior is worth more.
pub const MOST_DEGREES: f64 = 1e4;
/// With fewer variances there is nothing to learn from each other.
const FEWEST: usize = 4;
/// A variance of zero has no logarithm.
const LEAST_VARIANCE: f64 = 1e-6;

impl Prior {
    /// From variances that each have so many degrees of freedom, above 0.
    #[must_use]
    pub fn estimate(variances: &[f64], degrees: f64) -> Self {
        if variances.len() < FEWEST {
            return Self {
                degrees: 0.0,
                variance: 1.0,
            };
        }
        let half = degrees / 2.0;
        let logs: Vec<f64> = (variances.iter())
            .map(|variance| variance.max(LEAST_VARIANCE).ln() - digamma(half) + half.ln())
            .collect();
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let spread = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let excess = spread - trigamma(half);
        if excess <= 1e-6 {
            return Self {
                degrees: MOST_DEGREES,
                variance: mean.exp(),
            };
        }
        let prior = (2.0 * inverse_trigamma(excess)).min(MOST_DEGREES);
        Self {
            degrees: prior,
            variance: (mean + digamma(prior / 2.0) - (prior / 2.0).ln()).exp(),
        }
    }

    /// The variance of one, drawn to what all have in common.
    #[must_use]
    pub fn moderate(&self, variance: f64, degrees: f64) -> f64 {
        (self.degrees * self.variance + degrees * variance) / (self.degrees + degrees)
    }
}

/// The second derivative of `ln Γ` above 0: recurrence to 6 and the asymptotic series (Abramowitz and Stegun 6.4.12).
#[must_use]
pub fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 12.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let (r, s) = (1.0 / x, 1.0 / (x * x));
    let series =
        1.0 / 6.0 - s * (1.0 / 30.0 - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * (5.0 / 66.0))));
    sum + r + s / 2.0 + r * s * series
}

/// Where [`trigamma`] is `y`, above 0. Bisection on the logarithm: it falls throughout.
fn inverse_trigamma(y: f64) -> f64 {
    let (mut low, mut high) = (-20.0_f64, 20.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if trigamma(middle.exp()) > y {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigamma_at_known_places() {
        let square = std::f64::consts::PI.powi(2);
        for (x, expected) in [
            (1.0, square / 6.0),
            (0.5, square / 2.0),
            (2.0, square / 6.0 - 1.0),
        ] {
            assert!((trigamma(x) - expected).abs() < 1e-12, "{x}");
        }
        for y in [1e-6, 0.01, 1.0, 400.0] {
            assert!(
                (trigamma(inverse_trigamma(y)) / y - 1.0).abs() < 1e-9,
                "{y}"
            );
        }
    }

    #[test]
    fn alike_variances_become_one_and_unlike_ones_stay() {
        let same = Prior::estimate(&[2.0; 20], 27.0);
        assert_eq!(same.degrees, MOST_DEGREES);
        assert!((same.moderate(50.0, 27.0) - 2.0).abs() < 0.25);
        let unlike = Prior::estimate(&[0.01, 0.1, 1.0, 10.0, 100.0], 27.0);
        assert!(unlike.degrees < 1.0 && (unlike.moderate(100.0, 27.0) - 100.0).abs() < 5.0);
        let few = Prior::estimate(&[1.0, 2.0, 3.0], 27.0);
        assert_eq!((few.degrees, few.moderate(3.0, 27.0)), (0.0, 3.0));
    }
}
