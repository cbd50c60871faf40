//! P-values of the two-sample Kolmogorov–Smirnov statistic.
//!
//! Two methods, and the recipe of a value says which was used. The exact one counts lattice paths and costs
//! time in proportion to the product of the sample sizes. The asymptotic one takes the two samples as a single
//! one of the rounded effective size `n·m / (n + m)` and asks for the distribution of the one-sample statistic
//! at that size, which is exact for small sizes: Durbin's matrix, then Pelz and Good's series, and in the tail
//! twice Smirnov's one-sided sum. Both choices are those of `scipy.stats.ks_2samp`.

use std::f64::consts::{FRAC_PI_2, LN_2, PI, TAU};

use super::tails::{PValue, ln_binomial};

/// How a p-value was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// From the distribution over all orders of the two samples, which supposes no ties.
    Exact,
    /// From the one-sample distribution at the effective size.
    Asymptotic,
}

/// The product of sample sizes up to which [`p_value`] is exact: below, the exact method takes microseconds.
pub const EXACT_PRODUCT: u64 = 10_000;

/// The probability of a distance of at least `statistic` between two samples of one continuous
/// distribution, exact for small samples and for those that do not overlap. Its logarithm is finite.
///
/// `None` when a sample is empty or the statistic is not in 0 to 1. For discrete features the true
/// p-value is larger.
#[must_use]
pub fn p_value(statistic: f64, reference: u64, current: u64) -> Option<(PValue, Method)> {
    let small = reference
        .checked_mul(current)
        .is_some_and(|product| product <= EXACT_PRODUCT);
    if small && let Some(p) = exact(statistic, reference, current) {
        return Some((p, Method::Exact));
    }
    let tail = asymptotic(statistic, reference, current)?;
    let least = ln_apart(reference, current);
    if statistic >= 1.0 {
        return Some((PValue::from_ln(least)?, Method::Exact));
    }
    // No distance is rarer than that of two samples which do not overlap, and far out the effective size says less.
    Some((PValue::from_ln(tail.ln().max(least))?, Method::Asymptotic))
}

/// `ln` of the probability that two samples of one continuous distribution do not overlap, the largest distance there is:
/// two of the `C(n + m, n)` orders.
fn ln_apart(n: u64, m: u64) -> f64 {
    let (n, all) = (n.min(m) as f64, (n + m) as f64);
    let share = n / all;
    let orders = ln_binomial(n, all, share) - n * share.ln() - (all - n) * (-share).ln_1p();
    LN_2 - orders
}

/// The p-value by the effective size, as `scipy.stats.ks_2samp(method="asymp")`.
///
/// `None` when a sample is empty or the statistic is not in 0 to 1.
#[must_use]
pub fn asymptotic(statistic: f64, reference: u64, current: u64) -> Option<PValue> {
    if reference == 0 || current == 0 || !(0.0..=1.0).contains(&statistic) {
        return None;
    }
    let (n, m) = (reference as f64, current as f64);
    // The nearest whole number, halves to even as numpy rounds.
    let size = (n * m / (n + m)).round_ties_even().max(1.0);
    PValue::from_ln(ln_one_sample(size, statistic))
}

/// The exact p-value, as `scipy.stats.ks_2samp(method="exact")`: the share of lattice paths from `(0, 0)` to
/// `(n, m)` that touch the boundary at the given distance from the diagonal (Hodges 1958).
///
/// The shares are summed from the boundary inwards, so that nothing cancels, and scaled, so that values down
/// to 10⁻⁶⁰⁰ are found. `None` when a sample is empty, the statistic is not in 0 to 1, the least common
/// multiple of the sizes is beyond 2⁵³, or the p-value is below that and the statistic is not 1.
#[must_use]
pub fn exact(statistic: f64, reference: u64, current: u64) -> Option<PValue> {
    // 2¹⁰⁰⁰, by which dividing is exact.
    const SCALE: f64 = f64::from_bits((1023 + 1000) << 52);
    if reference == 0 || current == 0 || !(0.0..=1.0).contains(&statistic) {
        return None;
    }
    let (n, m) = (reference.max(current), reference.min(current));
    let divisor = greatest_common_divisor(n, m);
    let (n_step, m_step) = ((n / divisor) as i64, (m / divisor) as i64);
    let multiple = (n / divisor).checked_mul(m).filter(|l| *l < 1 << 53)?;
    let height = (statistic * multiple as f64).round() as i64;
    if height == 0 {
        return Some(PValue::ONE);
    }
    // After i of n and j of m values the distance is |i·m_step − j·n_step| / multiple. Column i holds the
    // shares of the j strictly inside the boundary.
    let range = |i: i64| {
        let lowest = (i * m_step - height).div_euclid(n_step) + 1;
        let highest = (i * m_step + height - 1).div_euclid(n_step);
        (lowest.max(0), highest.min(m as i64))
    };
    let mut shares = vec![SCALE; m as usize + 1];
    let mut before = (0_i64, -1_i64);
    for i in 0..=n as i64 {
        let (lowest, highest) = range(i);
        let mut left = SCALE;
        for j in lowest..=highest {
            let up = if (before.0..=before.1).contains(&j) {
                shares[j as usize]
            } else {
                SCALE
            };
            let share = match (i, j) {
                (0, 0) => 0.0,
                _ => {
                    let steps = (i + j) as f64;
                    up * (i as f64 / steps) + left * (j as f64 / steps)
                }
            };
            shares[j as usize] = share;
            left = share;
        }
        before = (lowest, highest);
    }
    let inside = (before.0..=before.1).contains(&(m as i64));
    let share = if inside { shares[m as usize] } else { SCALE };
    if (share / SCALE).is_normal() {
        PValue::from_probability(share / SCALE)
    } else if share > 0.0 {
        PValue::from_ln(share.ln() - 1000.0 * LN_2)
    } else if statistic >= 1.0 {
        PValue::from_ln(ln_apart(n, m))
    } else {
        None
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// `ln P(Dₙ ≥ x)` of the one-sample statistic at size `n`, a whole number of at least 1, for `x` in 0 to 1.
///
/// The thresholds between the methods are those of Simard and L'Ecuyer (2011).
fn ln_one_sample(n: f64, x: f64) -> f64 {
    let scaled = n * x;
    let square = scaled * x;
    if x >= 1.0 {
        // Every value on one side: impossible for a continuous distribution.
        return f64::NEG_INFINITY;
    }
    if scaled <= 0.5 {
        return 0.0;
    }
    if scaled <= 1.0 {
        // n!/nⁿ (2nx − 1)ⁿ
        let below: f64 = (1..=n as u64)
            .map(|i| (i as f64 / n * (2.0 * scaled - 1.0)).ln())
            .sum();
        return (-below.exp()).ln_1p();
    }
    if scaled >= n - 1.0 {
        return LN_2 + n * (-x).ln_1p();
    }
    let tail = if n <= 140.0 { 4.0 } else { 2.2 };
    if x >= 0.5 || square >= tail {
        return LN_2 + ln_smirnov(n, x);
    }
    let below = if n <= 140.0 {
        durbin(n as usize, x)
    } else {
        pelz_good(n, x)
    };
    (-below.clamp(0.0, 1.0)).ln_1p()
}

/// `ln` of Smirnov's probability that the one-sided distance at sample size `n` is at least `x`:
/// `x Σ_v C(n, v) (x + v/n)^(v−1) (1 − x − v/n)^(n−v)` over whole `v < n (1 − x)`.
///
/// Each term is a binomial probability over `x + v/n`. As a function of `v` they make one smooth hump, so for
/// large `n` every `stride`-th term stands for `stride` of them: the rule of midpoints is exact to more digits
/// than a double has, as long as a dozen points lie on the hump's width. Terms under e⁻⁵⁰ of the largest are
/// left out.
fn ln_smirnov(n: f64, x: f64) -> f64 {
    let last = (n * (1.0 - x)).ceil() - 1.0;
    let width = (0.25 / (n * x * x).sqrt()).min(0.2);
    let stride = (n * width / 16.0).floor().max(1.0);
    let term = |v: f64| {
        let p = x + v / n;
        if p >= 1.0 {
            f64::NEG_INFINITY
        } else if v == 0.0 {
            n * (-x).ln_1p() - x.ln()
        } else {
            ln_binomial(v, n, p) - p.ln()
        }
    };
    let middle = (last / 2.0).floor();
    let (mut largest, mut sum) = (f64::NEG_INFINITY, 0.0);
    let mut add = |ln: f64| {
        if ln > largest {
            sum = sum * (largest - ln).exp() + 1.0;
            largest = ln;
        } else {
            sum += (ln - largest).exp();
        }
        ln >= largest - 50.0
    };
    let mut v = middle;
    while v >= 0.0 && add(term(v)) {
        v -= stride;
    }
    let mut v = middle + stride;
    while v <= last && add(term(v)) {
        v += stride;
    }
    largest + (sum * stride).ln() + x.ln()
}

/// `P(Dₙ < x)` by Durbin's matrix in the form of Marsaglia, Tsang and Wang (2003). A row is multiplied `n`
/// times instead of powering the matrix, with `n!/nⁿ` taken in step by step.
fn durbin(n: usize, x: f64) -> f64 {
    let scaled = n as f64 * x;
    let k = scaled.floor() as usize + 1;
    let size = 2 * k - 1;
    let h = k as f64 - scaled;
    let mut inverse_factorials = vec![1.0; size + 1];
    for i in 1..=size {
        inverse_factorials[i] = inverse_factorials[i - 1] / i as f64;
    }
    let entry = |i: usize, j: usize| {
        if j > i + 1 {
            return 0.0;
        }
        let mut numerator = 1.0;
        if j == 0 {
            numerator -= h.powi(i as i32 + 1);
        }
        if i == size - 1 {
            numerator -= h.powi((size - j) as i32);
        }
        if j == 0 && i == size - 1 && 2.0 * h > 1.0 {
            numerator += (2.0 * h - 1.0).powi(size as i32);
        }
        numerator * inverse_factorials[i + 1 - j]
    };
    let matrix: Vec<f64> = (0..size * size)
        .map(|at| entry(at / size, at % size))
        .collect();
    let mut row = vec![0.0; size];
    row[k - 1] = 1.0;
    for step in 1..=n {
        let factor = step as f64 / n as f64;
        let mut next = vec![0.0; size];
        for (value, line) in row.iter().zip(matrix.chunks_exact(size)) {
            for (next, entry) in next.iter_mut().zip(line) {
                *next += value * entry;
            }
        }
        row = next.into_iter().map(|value| value * factor).collect();
    }
    row[k - 1]
}

/// `P(Dₙ ≤ x)` by the series of Li-Chien and Korolyuk in the form of Pelz and Good (1976), which converges
/// quickly for small `x √n`: `K₀ + K₁/√n + K₂/n + K₃/n^1.5`.
fn pelz_good(n: f64, x: f64) -> f64 {
    let z = n.sqrt() * x;
    let z2 = z * z;
    let (z4, z6, z8) = (z2 * z2, z2 * z2 * z2, z2 * z2 * z2 * z2);
    let p2 = PI * PI;
    if p2 / (8.0 * z2) > 700.0 {
        return 0.0;
    }
    let mut sums = [0.0; 4];
    let terms = (16.0 * z / PI).ceil() as u32;
    for k in 1..=terms {
        // Half-odd multiples of π: w = ((2k − 1) π / 2)².
        let odd = f64::from(2 * k - 1);
        let w = odd * odd * p2 / 4.0;
        let weight = (-w / (2.0 * z2)).exp();
        sums[0] += weight;
        sums[1] += weight * (w - z2);
        sums[2] +=
            weight * (6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * w + (1.0 - 2.0 * z2) * w * w);
        sums[3] += weight
            * (-30.0 * z6 - 90.0 * z8
                + (135.0 * z4 - 96.0 * z6) * w
                + (212.0 * z4 - 60.0 * z2) * w * w
                + (5.0 - 30.0 * z2) * w * w * w);
        // Whole multiples of π: u = (k π)².
        let u = f64::from(k * k) * p2;
        let weight = (-u / (2.0 * z2)).exp();
        sums[2] += weight * -2.0 * z4 * u;
        sums[3] += weight * 30.0 * z4 * u * (3.0 * z2 - u);
    }
    let root = n.sqrt();
    TAU.sqrt()
        * (sums[0] / z
            + sums[1] / (6.0 * z4 * root)
            + sums[2] / (72.0 * z4 * z2 * z * n)
            + sums[3] / (6480.0 * z8 * z2 * n * root))
}

/// The mean of Kolmogorov's distribution, `√(π/2) ln 2`: times `√(1/n + 1/m)` it is the statistic expected
/// without drift.
#[must_use]
pub(super) fn mean() -> f64 {
    FRAC_PI_2.sqrt() * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_test_is_none() {
        for (statistic, n, m) in [(0.1, 0, 5), (0.1, 5, 0), (f64::NAN, 5, 5), (1.1, 5, 5)] {
            assert_eq!(p_value(statistic, n, m), None);
            assert_eq!(asymptotic(statistic, n, m), None);
            assert_eq!(exact(statistic, n, m), None);
        }
    }

    #[test]
    fn exact_values_that_can_be_counted_by_hand() {
        // Two and two values without overlap: 2 of the 6 orders.
        let p = exact(1.0, 2, 2).expect("defined").value();
        assert!((p - 1.0 / 3.0).abs() < 1e-15, "{p}");
        assert_eq!(exact(0.0, 3, 4), Some(PValue::ONE));
        assert_eq!(exact(0.5, 2, 2), Some(PValue::ONE));
        let p = exact(1.0, 3, 1).expect("defined").value();
        assert!((p - 0.5).abs() < 1e-15, "{p}");
    }

    #[test]
    fn samples_that_do_not_overlap_have_the_share_of_two_orders() {
        // ln 2 − ln C(n + m, n), from the binomial coefficient as a whole number.
        for (n, m, ln) in [
            (1, 1, 0.0),
            (2, 2, -1.098_612_288_668_11),
            (3, 1, -LN_2),
            (50, 60, -72.523_688_970_932_74),
            (101, 100, -135.748_273_291_936_36),
            (1, 1_000_000, -13.122_364_377_403_828),
            (5_000, 7_000, -8_144.717_986_212_217_5),
            (50_000, 70_000, -81_496.439_440_214_79),
        ] {
            let (p, method) = p_value(1.0, n, m).expect("defined");
            assert!(
                (p.ln() - ln).abs() <= 1e-12 * ln.abs() + 1e-14,
                "{n} {m}: {p:?}"
            );
            assert_eq!(method, Method::Exact);
            assert_eq!(p_value(1.0, m, n), Some((p, method)));
            let nearly = p_value(1.0 - 1e-12, n, m).expect("defined").0;
            assert!(
                nearly.ln() >= p.ln() * (1.0 + 1e-12) - 1e-12,
                "{n} {m}: {nearly:?}"
            );
        }
    }

    #[test]
    fn far_tails_are_told_apart() {
        let p = asymptotic(0.5, 1_000_000, 1_000_000).expect("defined");
        assert_eq!(p.value(), f64::MIN_POSITIVE);
        assert!(p.ln() < -250_000.0 && p.ln().is_finite(), "{p:?}");
        let nearer = asymptotic(0.49, 1_000_000, 1_000_000).expect("defined");
        assert!(p < nearer);
    }

    #[test]
    fn p_values_do_not_jump_where_the_formula_changes() {
        for size in [40.0, 140.0, 141.0, 1_000.0, 100_000.0] {
            for square in [2.2_f64, 4.0] {
                let x = (square / size).sqrt();
                let (below, above) = (
                    ln_one_sample(size, x - 1e-12),
                    ln_one_sample(size, x + 1e-12),
                );
                // Twice the one-sided tail counts a distance on both sides twice.
                assert!(
                    (below - above).abs() < 3e-5,
                    "{size} {square}: {below} {above}"
                );
            }
        }
    }

    #[test]
    fn p_value_falls_as_the_statistic_grows() {
        for (n, m) in [(3, 4), (90, 100), (300, 400), (50_000, 70_000)] {
            let steps: Vec<PValue> = (0..=100)
                .map(|i| p_value(f64::from(i) / 100.0, n, m).expect("defined").0)
                .collect();
            assert!(steps.windows(2).all(|pair| pair[0] >= pair[1]), "{n} {m}");
            assert_eq!(steps[0], PValue::ONE);
        }
    }
}
