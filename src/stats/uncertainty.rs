//! How far a distance could be from that of the populations: 95 % intervals.
//!
//! A distance over bins is a smooth function of two multinomial samples, so its variance is, to first order,
//! that of its gradient over the rows (the delta method). Where nothing has changed the gradient vanishes, and
//! with it that variance, though the distance still varies; so the variance under no change is added. The
//! result is an approximation for people to judge a value by, on the wide side for small distances, and not a
//! test: the tests give p-values.

use std::f64::consts::LN_2;

use super::distance::{SHARE_FLOOR, inverse_sizes, mean_chi};

/// The normal quantile of a 95 % interval.
pub const Z95: f64 = 1.959_963_984_540_054;

/// Shares of both sides over the same bins, with the numbers of rows they come from.
#[derive(Debug, Clone, Copy)]
pub struct Shares<'a> {
    pub reference: &'a [f64],
    pub current: &'a [f64],
    pub reference_rows: u64,
    pub current_rows: u64,
}

impl Shares<'_> {
    /// The interval of [`super::distance::psi`] around its value; never below 0.
    #[must_use]
    pub fn psi(&self, value: f64) -> (f64, f64) {
        let floored = |share: f64| share < SHARE_FLOOR;
        let slope = |at: f64, other: f64| {
            if floored(at) {
                return 0.0;
            }
            let other = other.max(SHARE_FLOOR);
            (at / other).ln() + 1.0 - other / at
        };
        let null = inverse_sizes(self.reference_rows, self.current_rows)
            * (2.0 * (self.reference.len().saturating_sub(1)) as f64).sqrt();
        self.around(value, f64::INFINITY, null, slope)
    }

    /// The interval of [`super::distance::jensen_shannon`] around its value, within 0 and 1.
    #[must_use]
    pub fn jensen_shannon(&self, value: f64) -> (f64, f64) {
        // d² = D / ln 2 and ∂D/∂p = ½ ln(p / m).
        let slope = |at: f64, other: f64| {
            if at <= 0.0 || value <= 0.0 {
                return 0.0;
            }
            0.5 * (2.0 * at / (at + other)).ln() / (2.0 * value * LN_2)
        };
        self.around(value, 1.0, self.null_deviation(8.0 * LN_2), slope)
    }

    /// The interval of [`super::distance::hellinger`] around its value, within 0 and 1.
    #[must_use]
    pub fn hellinger(&self, value: f64) -> (f64, f64) {
        // h² = 1 − Σ √(p q).
        let slope = |at: f64, other: f64| {
            if at <= 0.0 || value <= 0.0 {
                return 0.0;
            }
            -0.5 * (other / at).sqrt() / (2.0 * value)
        };
        self.around(value, 1.0, self.null_deviation(8.0), slope)
    }

    /// The interval of [`super::distance::total_variation`] around its value, within 0 and 1.
    #[must_use]
    pub fn total_variation(&self, value: f64) -> (f64, f64) {
        let slope = |at: f64, other: f64| (at - other).signum() / 2.0;
        self.around(value, 1.0, 0.0, slope)
    }

    /// The interval of [`super::distance::l_infinity`]: that of the difference of the share that differs most.
    #[must_use]
    pub fn l_infinity(&self, value: f64) -> (f64, f64) {
        let pairs = self.reference.iter().zip(self.current);
        let (p, q) = pairs
            .max_by(|a, b| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()))
            .map_or((0.0, 0.0), |(p, q)| (*p, *q));
        let variance =
            p * (1.0 - p) / self.reference_rows as f64 + q * (1.0 - q) / self.current_rows as f64;
        within(value, variance, 1.0)
    }

    /// The standard deviation under no change of a distance that is then `√(χ²_{bins−1} s / divisor)`.
    fn null_deviation(&self, divisor: f64) -> f64 {
        let freedom = self.reference.len().saturating_sub(1) as f64;
        if freedom == 0.0 {
            return 0.0;
        }
        let variance = (freedom - mean_chi(freedom).powi(2)).max(0.0);
        (variance * inverse_sizes(self.reference_rows, self.current_rows) / divisor).sqrt()
    }

    /// `slope(at, other)` is the derivative by the share `at` whose counterpart is `other`; the distances are
    /// symmetric, so one function serves both sides.
    fn around(
        &self,
        value: f64,
        highest: f64,
        null: f64,
        slope: impl Fn(f64, f64) -> f64,
    ) -> (f64, f64) {
        let variance = |shares: &[f64], others: &[f64], rows: u64| {
            let (mut mean, mut square) = (0.0, 0.0);
            for (at, other) in shares.iter().zip(others) {
                let slope = slope(*at, *other);
                mean += at * slope;
                square += at * slope * slope;
            }
            (square - mean * mean).max(0.0) / rows as f64
        };
        let variance = variance(self.reference, self.current, self.reference_rows)
            + variance(self.current, self.reference, self.current_rows)
            + null * null;
        within(value, variance, highest)
    }
}

/// The band around a Kolmogorov–Smirnov statistic that holds that of the populations with a probability of at
/// least 95 %, whatever they are: each distribution function is within `√(ln(2 / 0.025) / 2n)` of its own with
/// 97.5 % (Massart 1990).
#[must_use]
pub fn kolmogorov_smirnov(statistic: f64, reference_rows: u64, current_rows: u64) -> (f64, f64) {
    let band = |rows: u64| ((2.0_f64 / 0.025).ln() / (2.0 * rows as f64)).sqrt();
    let width = band(reference_rows) + band(current_rows);
    ((statistic - width).max(0.0), (statistic + width).min(1.0))
}

/// `value ± 1.96 √variance` within 0 and `highest`.
pub(super) fn within(value: f64, variance: f64, highest: f64) -> (f64, f64) {
    let half = Z95 * variance.sqrt();
    ((value - half).max(0.0), (value + half).min(highest))
}

#[cfg(test)]
mod tests {
    use super::super::distance;
    use super::*;

    /// Draws rows over bins with these probabilities.
    fn sample(probabilities: &[f64], rows: u64, state: &mut u64) -> Vec<f64> {
        let mut shares = vec![0.0; probabilities.len()];
        for _ in 0..rows {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mut left = (*state >> 11) as f64 / (1_u64 << 53) as f64;
            let bin = probabilities.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            shares[bin.unwrap_or(0)] += 1.0 / rows as f64;
        }
        shares
    }

    #[test]
    fn intervals_hold_the_value_of_the_populations() {
        type Interval = for<'a> fn(&Shares<'a>, f64) -> (f64, f64);
        type Measure = fn(&[f64], &[f64]) -> Option<f64>;
        let measures: [(&str, Measure, Interval); 5] = [
            ("psi", distance::psi, |shares, value| shares.psi(value)),
            (
                "jensen_shannon",
                distance::jensen_shannon,
                |shares, value| shares.jensen_shannon(value),
            ),
            ("hellinger", distance::hellinger, |shares, value| {
                shares.hellinger(value)
            }),
            (
                "total_variation",
                distance::total_variation,
                |shares, value| shares.total_variation(value),
            ),
            ("l_infinity", distance::l_infinity, |shares, value| {
                shares.l_infinity(value)
            }),
        ];
        let (p, q) = ([0.5, 0.3, 0.15, 0.05], [0.35, 0.3, 0.2, 0.15]);
        let (n, m, runs) = (2_000, 1_000, 400);
        let mut state = 11;
        let mut held = [0; 5];
        for _ in 0..runs {
            let (reference, current) = (sample(&p, n, &mut state), sample(&q, m, &mut state));
            let shares = Shares {
                reference: &reference,
                current: &current,
                reference_rows: n,
                current_rows: m,
            };
            for (held, (_, measure, interval)) in held.iter_mut().zip(measures) {
                let value = measure(&reference, &current).expect("comparable");
                let (low, high) = interval(&shares, value);
                let truth = measure(&p, &q).expect("comparable");
                assert!(low <= value && value <= high);
                *held += i32::from(low <= truth && truth <= high);
            }
        }
        for (held, (name, ..)) in held.iter().zip(measures) {
            let share = f64::from(*held) / f64::from(runs);
            assert!((0.92..=0.99).contains(&share), "{name} holds in {share}");
        }
    }

    #[test]
    fn intervals_of_equal_and_of_disjoint_shares_are_numbers() {
        for (p, q) in [([1.0, 0.0], [1.0, 0.0]), ([1.0, 0.0], [0.0, 1.0])] {
            let shares = Shares {
                reference: &p,
                current: &q,
                reference_rows: 10,
                current_rows: 10,
            };
            for (low, high) in [
                shares.psi(distance::psi(&p, &q).expect("comparable")),
                shares.jensen_shannon(distance::jensen_shannon(&p, &q).expect("comparable")),
                shares.hellinger(distance::hellinger(&p, &q).expect("comparable")),
                shares.total_variation(distance::total_variation(&p, &q).expect("comparable")),
                shares.l_infinity(distance::l_infinity(&p, &q).expect("comparable")),
            ] {
                assert!(
                    low.is_finite() && high.is_finite() && low <= high,
                    "{low} {high}"
                );
            }
        }
    }

    #[test]
    fn band_of_the_statistic_stays_in_its_range() {
        assert_eq!(kolmogorov_smirnov(0.5, 4, 4), (0.0, 1.0));
        let (low, high) = kolmogorov_smirnov(0.5, 100_000, 100_000);
        assert!(low > 0.48 && high < 0.52);
    }
}
