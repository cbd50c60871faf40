//! Variances that borrow strength from each other.
//!
//! Four weeks are few days to know a variance by, and a model has many features: their variances are drawn towards
//! a common one, as far as they are alike (Smyth 2004, "limma"). How far that is is estimated and not assumed: a
//! fixed weight gives ten times the false alarms as soon as days differ at all.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::digamma;

/// More degrees of freedom are as good as infinitely many.
pub const MOST_FREEDOM: f64 = 1e4;
/// A variance of less is taken as this, since its logarithm is needed.
const LEAST_VARIANCE: f64 = 1e-3;
/// So few variances say nothing about how variances vary.
const FEWEST: usize = 4;

/// What variances of a kind have in common: a scaled inverse chi-square distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// How many degrees of freedom the common variance is worth; 0 when nothing is known.
    pub freedom: f64,
    pub variance: f64,
    /// The degrees of freedom of all variances together, which no one of them can have more than.
    pub pooled_freedom: f64,
}

/// A variance as used in tests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moderated {
    /// In units of the sampling variance, and never below 1: days cannot vary less than chance has them.
    pub factor: f64,
    pub freedom: f64,
}

impl Prior {
    /// Estimates it from `(variance, degrees of freedom)` of each score of a kind.
    #[must_use]
    pub fn of(variances: &[(f64, f64)]) -> Self {
        let pooled_freedom = variances.iter().map(|(_, freedom)| freedom).sum();
        if variances.len() < FEWEST {
            return Self {
                freedom: 0.0,
                variance: 1.0,
                pooled_freedom,
            };
        }
        let count = variances.len() as f64;
        let logs: Vec<f64> = variances
            .iter()
            .map(|(variance, freedom)| {
                let half = freedom / 2.0;
                variance.max(LEAST_VARIANCE).ln() - digamma(half) + half.ln()
            })
            .collect();
        let mean = logs.iter().sum::<f64>() / count;
        let spread = logs.iter().map(|e| (e - mean) * (e - mean)).sum::<f64>() / (count - 1.0);
        let by_chance = variances
            .iter()
            .map(|(_, freedom)| trigamma(freedom / 2.0))
            .sum::<f64>()
            / count;
        let beyond_chance = spread - by_chance;
        if beyond_chance <= 1e-6 {
            return Self {
                freedom: MOST_FREEDOM,
                variance: mean.exp(),
                pooled_freedom,
            };
        }
        let half = inverse_trigamma(beyond_chance);
        Self {
            freedom: (2.0 * half).min(MOST_FREEDOM),
            variance: (mean + digamma(half) - half.ln()).exp(),
            pooled_freedom,
        }
    }

    /// Draws one variance towards the common one.
    #[must_use]
    pub fn moderate(&self, variance: f64, freedom: f64) -> Moderated {
        let variance = variance.max(LEAST_VARIANCE);
        let total = self.freedom + freedom;
        let posterior = (self.freedom * self.variance + freedom * variance) / total;
        Moderated {
            factor: posterior.max(1.0),
            freedom: total
                .min(self.pooled_freedom.max(freedom))
                .min(MOST_FREEDOM),
        }
    }
}

/// How many degrees of freedom a variance has whose part beyond chance has no more than `trust`: days are not as normal as
/// means of rows are (Satterthwaite 1946, with the sampling part known).
#[must_use]
pub fn trusted(factor: f64, trust: f64) -> f64 {
    if factor <= 1.0 {
        return MOST_FREEDOM;
    }
    let share = (factor - 1.0) / factor;
    (trust / (share * share)).min(MOST_FREEDOM)
}

/// The derivative of the digamma function, for positive arguments: its asymptotic series from 15 on, recurrence
/// below.
#[must_use]
pub fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 15.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series =
        1.0 / 6.0 - r * (1.0 / 30.0 - r * (1.0 / 42.0 - r * (1.0 / 30.0 - r * (5.0 / 66.0))));
    sum + 1.0 / x + r / 2.0 + r / x * series
}

/// The derivative of [`trigamma`].
fn tetragamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x, 0.0);
    while x < 15.0 {
        sum -= 2.0 / (x * x * x);
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = 0.5 - r * (1.0 / 6.0 - r * (1.0 / 6.0 - r * (0.3 - r * (5.0 / 6.0))));
    sum - r - r / x - r * r * series
}

/// The number whose [`trigamma`] is `y > 0`, by Newton's method on its reciprocal (Smyth 2004, appendix).
#[must_use]
pub fn inverse_trigamma(y: f64) -> f64 {
    if y > 1e7 {
        return 1.0 / y.sqrt();
    }
    if y < 1e-6 {
        return 1.0 / y;
    }
    let mut x = 0.5 + 1.0 / y;
    for _ in 0..60 {
        let at = trigamma(x);
        let step = at * (1.0 - at / y) / tetragamma(x);
        x += step;
        if step.abs() <= 1e-14 * x {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn trigamma_at_known_points() {
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-14, "{a} {b}");
        near(trigamma(1.0), PI * PI / 6.0);
        near(trigamma(0.5), PI * PI / 2.0);
        near(trigamma(20.5), 0.04998959242996098);
    }

    #[test]
    fn inverse_finds_what_trigamma_had() {
        for x in [1e-3, 0.2, 0.5, 1.0, 3.3, 14.0, 500.0, 9e5] {
            let back = inverse_trigamma(trigamma(x));
            assert!((back / x - 1.0).abs() < 1e-9, "{x} {back}");
        }
    }

    #[test]
    fn equal_variances_are_worth_endless_degrees_of_freedom() {
        let prior = Prior::of(&[(1.0, 27.0); 10]);
        assert_eq!(prior.freedom, MOST_FREEDOM);
        let moderated = prior.moderate(3.0, 27.0);
        assert!(moderated.factor < 1.1, "{moderated:?}");
        assert_eq!(moderated.freedom, 270.0);
    }

    #[test]
    fn unlike_variances_are_left_alone() {
        let unlike: Vec<(f64, f64)> = (0..10).map(|i| (10_f64.powi(i), 27.0)).collect();
        let prior = Prior::of(&unlike);
        assert!(prior.freedom < 1.0, "{prior:?}");
        let moderated = prior.moderate(50.0, 27.0);
        assert!((moderated.factor / 50.0 - 1.0).abs() < 0.1, "{moderated:?}");
    }

    #[test]
    fn few_variances_have_no_prior() {
        let moderated = Prior::of(&[(4.0, 27.0), (0.2, 27.0)]).moderate(0.2, 27.0);
        assert_eq!(
            moderated,
            Moderated {
                factor: 1.0,
                freedom: 27.0
            }
        );
    }
}
