//! The two-sample Cramér–von Mises test.
//!
//! The statistic is that of Anderson (1962), `T = n m / (n+m)² · Σ (F − G)²` over all values of both samples.
//! Its p-value is exact for at most [`EXACT_SIZE`] values a side (the distribution over all orders, Xiao,
//! Gordon and Yakovlev 2006), and otherwise that of the limit distribution, after the statistic has been
//! brought to the mean and variance it has at these sizes. These are the choices of
//! `scipy.stats.cramervonmises_2samp`, with two differences. SciPy computes the statistic from ranks, which is
//! the same without ties but grows without bound with them, so that two samples of one coin would be called
//! different; ours stays what the formula says, and the p-value of a discrete feature is at worst too large.
//! And the tail is a logarithm, with digits where one minus SciPy's distribution function has none.

use std::collections::BTreeMap;
use std::f64::consts::{FRAC_PI_2, LN_2, PI};

use super::tails::PValue;

/// The largest sample the exact p-value is used for.
pub const EXACT_SIZE: u64 = 20;

/// The outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CramerVonMises {
    /// From 0 (equal), growing with the samples; about 1/6 without drift; more is worse.
    pub statistic: f64,
    pub p_value: PValue,
    /// Whether the p-value is exact rather than asymptotic.
    pub exact: bool,
}

/// The mean of the statistic of so many values where nothing has changed (Anderson 1962).
pub(super) fn null_mean(total: f64) -> f64 {
    (1.0 + 1.0 / total) / 6.0
}

/// The variance of the statistic where nothing has changed (Anderson 1962).
pub(super) fn null_variance(n: f64, m: f64) -> f64 {
    let (product, total) = (n * m, n + m);
    (total + 1.0) * (4.0 * product * total - 3.0 * (n * n + m * m) - 2.0 * product)
        / (45.0 * total * total * 4.0 * product)
}

/// The test from the sum of `(F − G)²` over all values of both samples; `None` with an empty sample.
#[must_use]
pub fn of_squares(squares: f64, reference: u64, current: u64) -> Option<CramerVonMises> {
    if reference == 0 || current == 0 || !squares.is_finite() {
        return None;
    }
    let (n, m) = (reference as f64, current as f64);
    let (product, total) = (n * m, n + m);
    let statistic = product / (total * total) * squares;
    let exact = reference.max(current) <= EXACT_SIZE;
    let p_value = if exact {
        PValue::from_probability(exact_tail(squares, reference as usize, current as usize))?
    } else {
        let mean = null_mean(total);
        let standard = 1.0 / 6.0 + (statistic - mean) / (45.0 * null_variance(n, m)).sqrt();
        limit_tail(standard)?
    };
    Some(CramerVonMises {
        statistic,
        p_value,
        exact,
    })
}

/// `P(ω² > x)` of the limit distribution by Smirnov's formula (1936):
/// `2/π Σ (−1)^(k+1) ∫ √(−t / sin t) e^(−x t² / 2) / t dt` over `t` from `(2k−1)π` to `2kπ`.
///
/// The integrands are infinite at both ends like `1/√`, which is what the rule of Gauss and Chebyshev is for.
/// The factor `e^(−x π² / 2)` is taken out, so the logarithm exists at any distance. `None` for NaN.
pub(super) fn limit_tail(x: f64) -> Option<PValue> {
    if x.is_nan() {
        return None;
    }
    if x < 0.003 {
        return Some(PValue::ONE);
    }
    let nodes = (24.0 + 12.0 * x.sqrt()).ceil();
    let mut sum = 0.0;
    let mut sign = 1.0;
    for k in 1..200 {
        let middle = (2.0 * f64::from(k) - 0.5) * PI;
        let start = middle - FRAC_PI_2;
        let decay = |t: f64| (-x * (t * t - PI * PI) / 2.0).exp();
        if decay(start) < 1e-18 {
            break;
        }
        let mut part = 0.0;
        for i in 0..nodes as u32 {
            let cosine = (PI * (f64::from(i) + 0.5) / nodes).cos();
            let t = middle + FRAC_PI_2 * cosine;
            // On this interval −sin t = cos(t − middle), and √(1 − cosine²) is the weight's inverse.
            let smooth = ((1.0 - cosine * cosine) * t / (FRAC_PI_2 * cosine).cos()).sqrt();
            part += smooth * decay(t) / t;
        }
        sum += sign * part * FRAC_PI_2 * PI / nodes;
        sign = -sign;
    }
    PValue::from_ln(LN_2 - PI.ln() + sum.ln() - x * PI * PI / 2.0)
}

/// The share of the orders of `n` and `m` values whose sum of `(F − G)²` is at least this one.
///
/// After `i` and `j` values `F − G` is a whole multiple of one over the least common multiple of `n` and `m`.
/// The paths are counted by the sum of the squares of those whole numbers.
fn exact_tail(squares: f64, n: usize, m: usize) -> f64 {
    let divisor = (1..=n.min(m))
        .rev()
        .find(|d| n.is_multiple_of(*d) && m.is_multiple_of(*d))
        .unwrap_or(1);
    let multiple = n * m / divisor;
    let (a, b) = ((multiple / n) as i64, (multiple / m) as i64);
    let wanted = (multiple as f64).powi(2) * squares;
    let mut columns: Vec<BTreeMap<i64, f64>> = vec![BTreeMap::new(); m + 1];
    for i in 0..=n {
        for j in 0..=m {
            let mut counts: BTreeMap<i64, f64> = if (i, j) == (0, 0) {
                BTreeMap::from([(0, 1.0)])
            } else if i == 0 {
                BTreeMap::new()
            } else {
                std::mem::take(&mut columns[j])
            };
            if j > 0 {
                for (value, paths) in &columns[j - 1] {
                    *counts.entry(*value).or_default() += paths;
                }
            }
            let gap = i as i64 * a - j as i64 * b;
            columns[j] = counts
                .into_iter()
                .map(|(value, paths)| (value + gap * gap, paths))
                .collect();
        }
    }
    let all: f64 = columns[m].values().sum();
    let beyond: f64 = columns[m]
        .iter()
        .filter(|(value, _)| **value as f64 >= wanted - 1e-6 * wanted.abs().max(1.0))
        .map(|(_, paths)| paths)
        .sum();
    beyond / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_distribution_has_its_tabulated_quantiles() {
        // Anderson and Darling 1952, table 1.
        for (x, tail) in [
            (0.46136, 0.05),
            (0.74346, 0.01),
            (0.34730, 0.10),
            (0.11888, 0.50),
            (0.02480, 0.99),
        ] {
            let p = limit_tail(x).expect("defined").value();
            assert!((p - tail).abs() < 2e-5, "{x}: {p}");
        }
        assert_eq!(limit_tail(0.001), Some(PValue::ONE));
        assert_eq!(limit_tail(f64::NAN), None);
    }

    #[test]
    fn far_tail_falls_like_its_first_exponential() {
        let (near, far) = (
            limit_tail(140.0).expect("defined").ln(),
            limit_tail(150.0).expect("defined").ln(),
        );
        let slope = (far - near) / 10.0;
        assert!((slope + PI * PI / 2.0).abs() < 5e-3, "{slope}");
    }

    #[test]
    fn empty_samples_have_no_test() {
        assert_eq!(of_squares(1.0, 0, 4), None);
        assert_eq!(of_squares(f64::NAN, 3, 4), None);
    }
}
