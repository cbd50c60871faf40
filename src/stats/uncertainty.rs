//! How far a distance could be from that of the populations: 95 % intervals.
//!
//! A distance over bins is a smooth function of two multinomial samples, so its variance is, to first order,
//! that of its gradient over the rows (the delta method). Where nothing has changed the gradient vanishes, and
//! with it that variance, though the distance still varies, and around a value above 0: so the variance under no change is
//! added, and at the lower end what chance alone gives is taken off. The
//! result is an approximation for people to judge a value by, on the wide side for small distances, and not a
//! test: the tests give p-values.

use std::f64::consts::LN_2;

use super::distance::{SHARE_FLOOR, inverse_sizes, total_variation_noise_floor};
use super::tails::normal_quantile;

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
        self.of_square(value, 1.0, slope)
    }

    /// The interval of [`super::distance::jensen_shannon`] around its value, within 0 and 1.
    #[must_use]
    pub fn jensen_shannon(&self, value: f64) -> (f64, f64) {
        // d² = D / ln 2 and ∂D/∂p = ½ ln(p / m).
        let slope = |at: f64, other: f64| 0.5 * (2.0 * at / (at + other)).ln() / LN_2;
        let (low, high) = self.of_square(value * value, 8.0 * LN_2, slope);
        (low.sqrt(), high.sqrt().min(1.0))
    }

    /// The interval of [`super::distance::hellinger`] around its value, within 0 and 1.
    #[must_use]
    pub fn hellinger(&self, value: f64) -> (f64, f64) {
        // h² = 1 − Σ √(p q).
        let slope = |at: f64, other: f64| -0.5 * (other / at).sqrt();
        let (low, high) = self.of_square(value * value, 8.0, slope);
        (low.sqrt(), high.sqrt().min(1.0))
    }

    /// The interval of something that is `χ²_{bins−1} s / divisor` where nothing has changed.
    fn of_square(&self, value: f64, divisor: f64, slope: impl Fn(f64, f64) -> f64) -> (f64, f64) {
        let freedom = self.reference.len().saturating_sub(1) as f64;
        let scale = inverse_sizes(self.reference_rows, self.current_rows) / divisor;
        let by_chance = ByChance {
            mean: freedom * scale,
            variance: 2.0 * freedom * scale * scale,
        };
        by_chance.of_distance(value, self.variance(slope))
    }

    /// The interval of [`super::distance::total_variation`] around its value, within 0 and 1.
    #[must_use]
    pub fn total_variation(&self, value: f64) -> (f64, f64) {
        let slope = |at: f64, other: f64| (at - other).signum() / 2.0;
        let (low, high) = within(value, self.variance(slope), 1.0);
        let by_chance =
            total_variation_noise_floor(self.reference, self.reference_rows, self.current_rows);
        ((low - by_chance).max(0.0), high)
    }

    /// The interval of [`super::distance::l_infinity`]: that of the difference of the share that differs most, so wide that those of all
    /// shares hold at once, because it was chosen.
    #[must_use]
    pub fn l_infinity(&self, value: f64) -> (f64, f64) {
        let pairs = self.reference.iter().zip(self.current);
        let (p, q) = pairs
            .max_by(|a, b| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()))
            .map_or((0.0, 0.0), |(p, q)| (*p, *q));
        let variance =
            p * (1.0 - p) / self.reference_rows as f64 + q * (1.0 - q) / self.current_rows as f64;
        let half =
            normal_quantile(1.0 - 0.025 / self.reference.len().max(1) as f64) * variance.sqrt();
        ((value - half).max(0.0), (value + half).min(1.0))
    }

    /// The interval of the statistic of [`super::contingency::chi2`] that samples of these sizes have on average; the value's own, and
    /// not of how far the populations are apart whatever the number of rows.
    #[must_use]
    pub fn chi2(&self, value: f64) -> (f64, f64) {
        let scale = 1.0 / inverse_sizes(self.reference_rows, self.current_rows);
        // X = nm/(n+m) Σ (p − q)² / h, where h is the share among the rows of both sides.
        self.test(value, |at, other, weight, _| {
            let (gap, both) = (at - other, weight * at + (1.0 - weight) * other);
            scale * (2.0 * gap / both - weight * (gap / both).powi(2))
        })
    }

    /// The same of [`super::contingency::g_test`].
    #[must_use]
    pub fn g_test(&self, value: f64) -> (f64, f64) {
        // G = 2n Σ p ln(p/h) + 2m Σ q ln(q/h), in which the parts that come from h cancel.
        self.test(value, |at, other, weight, rows| {
            let both = weight * at + (1.0 - weight) * other;
            2.0 * rows * (at / both).ln()
        })
    }

    /// A statistic with the distribution of chi-square where nothing has changed. `slope` is the derivative by a share, its counterpart
    /// on the other side, the share of all rows that are of its side, and how many these are.
    fn test(&self, value: f64, slope: impl Fn(f64, f64, f64, f64) -> f64) -> (f64, f64) {
        let (n, m) = (self.reference_rows as f64, self.current_rows as f64);
        let filled = self.reference.iter().zip(self.current);
        let filled = filled.filter(|(p, q)| **p + **q > 0.0).count();
        let freedom = filled.saturating_sub(1) as f64;
        let side = |shares: &[f64], others: &[f64], rows: f64| {
            let slope = |at, other| match at > 0.0 {
                true => slope(at, other, rows / (n + m), rows),
                false => 0.0,
            };
            variance(shares, others, slope) / rows
        };
        let variance =
            side(self.reference, self.current, n) + side(self.current, self.reference, m);
        let by_chance = ByChance {
            mean: freedom,
            variance: 2.0 * freedom,
        };
        by_chance.of_statistic(value, variance)
    }

    /// The variance of a function whose derivative by the share `at`, with its counterpart, is `slope`; the distances are symmetric, so
    /// one function serves both sides.
    fn variance(&self, slope: impl Fn(f64, f64) -> f64) -> f64 {
        let slope = |at: f64, other: f64| if at > 0.0 { slope(at, other) } else { 0.0 };
        variance(self.reference, self.current, slope) / self.reference_rows as f64
            + variance(self.current, self.reference, slope) / self.current_rows as f64
    }
}

/// The variance that a row of shares gives a function with this slope.
fn variance(shares: &[f64], others: &[f64], slope: impl Fn(f64, f64) -> f64) -> f64 {
    let (mut mean, mut square) = (0.0, 0.0);
    for (at, other) in shares.iter().zip(others) {
        let slope = slope(*at, *other);
        mean += at * slope;
        square += at * slope * slope;
    }
    (square - mean * mean).max(0.0)
}

/// What chance alone gives something that is a square, or a sum of squares, where nothing has changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByChance {
    pub(super) mean: f64,
    pub(super) variance: f64,
}

impl ByChance {
    /// The 95 % interval of how far the mean of such a value lies beyond chance: of those that would not make the value that was
    /// measured an unlikely one. `of_change` is the variance that the change gives it, by the delta method; like that of the noncentral
    /// chi-square distribution, which this is near no change, it grows in proportion to the change.
    pub(super) fn beyond(self, value: f64, of_change: f64) -> (f64, f64) {
        let square = Z95 * Z95;
        let slope = if value > 0.0 { of_change / value } else { 0.0 };
        // (distance − x)² = z² (variance + slope x) at both ends.
        let distance = value - self.mean;
        let middle = distance + square * slope / 2.0;
        let half = middle * middle - distance * distance + square * self.variance;
        let half = half.max(0.0).sqrt();
        ((middle - half).max(0.0), (middle + half).max(0.0))
    }

    /// The interval of the square of a distance, in which the value that was measured is, too, though chance made it too large.
    pub(super) fn of_distance(self, value: f64, of_change: f64) -> (f64, f64) {
        let (low, high) = self.beyond(value, of_change);
        (low, high.max(value))
    }

    /// The interval of the mean of such a value itself, chance included.
    pub(super) fn of_statistic(self, value: f64, of_change: f64) -> (f64, f64) {
        let (low, high) = self.beyond(value, of_change);
        ((self.mean + low).min(value), (self.mean + high).max(value))
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

/// `value ± 1.96 √variance`.
pub(super) fn around(value: f64, variance: f64) -> (f64, f64) {
    let half = Z95 * variance.sqrt();
    (value - half, value + half)
}

/// `value ± 1.96 √variance` within 0 and `highest`.
pub(super) fn within(value: f64, variance: f64, highest: f64) -> (f64, f64) {
    let (low, high) = around(value, variance);
    (low.max(0.0), high.min(highest))
}

#[cfg(test)]
mod tests {
    use super::super::{contingency, distance};
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
        let p = [0.5, 0.3, 0.15, 0.05];
        let currents = [
            ("unchanged", p),
            ("little", [0.47, 0.31, 0.16, 0.06]),
            ("much", [0.35, 0.3, 0.2, 0.15]),
        ];
        for (change, q) in currents {
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
                let most = if change == "much" { 0.995 } else { 1.0 };
                assert!(
                    (0.92..=most).contains(&share),
                    "{name}, {change}: holds in {share}"
                );
            }
        }
    }

    #[test]
    fn intervals_of_tests_hold_the_statistic_such_samples_have_on_average() {
        type Interval = for<'a> fn(&Shares<'a>, f64) -> (f64, f64);
        type Test = fn(&[u64], &[u64]) -> Option<contingency::Chi2>;
        let tests: [(&str, Test, Interval); 2] = [
            ("chi2", contingency::chi2, |shares, value| {
                shares.chi2(value)
            }),
            ("g_test", contingency::g_test, |shares, value| {
                shares.g_test(value)
            }),
        ];
        let p = [0.4, 0.3, 0.15, 0.1, 0.05, 0.0];
        let currents = [
            ("unchanged", p),
            ("little", [0.36, 0.3, 0.17, 0.1, 0.07, 0.0]),
            ("much", [0.2, 0.2, 0.2, 0.2, 0.15, 0.05]),
        ];
        let (n, m, runs) = (1_500, 700, 1_000);
        let mut state = 5;
        for (change, q) in currents {
            let mut found: [Vec<(f64, (f64, f64))>; 2] = [Vec::new(), Vec::new()];
            for _ in 0..runs {
                let (reference, current) = (sample(&p, n, &mut state), sample(&q, m, &mut state));
                let counts = |shares: &[f64], rows: u64| -> Vec<u64> {
                    shares
                        .iter()
                        .map(|share| (share * rows as f64).round() as u64)
                        .collect()
                };
                let shares = Shares {
                    reference: &reference,
                    current: &current,
                    reference_rows: n,
                    current_rows: m,
                };
                for (found, (_, test, interval)) in found.iter_mut().zip(tests) {
                    let value = test(&counts(&reference, n), &counts(&current, m));
                    let value = value.expect("bins").statistic;
                    found.push((value, interval(&shares, value)));
                }
            }
            for (found, (name, ..)) in found.iter().zip(tests) {
                let mean = found.iter().map(|(value, _)| value).sum::<f64>() / f64::from(runs);
                let held = found
                    .iter()
                    .filter(|(_, (low, high))| (*low..=*high).contains(&mean));
                let share = held.count() as f64 / f64::from(runs);
                assert!(
                    (0.92..=0.985).contains(&share),
                    "{name}, {change}: holds in {share}"
                );
                assert!(
                    found
                        .iter()
                        .all(|(value, (low, high))| low <= value && value <= high)
                );
            }
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
