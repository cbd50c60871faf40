//! Distances between two distributions over the same bins, and the values expected from noise alone.
//!
//! Functions on shares take two slices of equal length, each with one non-negative share per bin, summing
//! to 1; functions on counts take whole numbers. All are `None` when there is nothing to compare: slices of
//! different lengths, no bins, or one side without any mass. The order of the arguments is always
//! reference, then current.
//!
//! A distance is never zero on real samples even when nothing has changed. The `…_noise_floor` functions
//! give the value that sampling alone is expected to produce, so that a reader can tell one from the other.

use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::gamma::ln_gamma;

/// The share that stands for a smaller one, zero above all, inside the logarithm of [`psi`].
pub const SHARE_FLOOR: f64 = 1e-4;

/// Population stability index: `Σ (q − p) ln(q / p)` over shares floored at [`SHARE_FLOOR`] and not
/// normalised again.
///
/// From 0 (equal) without an upper limit, though the floor keeps it below 9.3 per emptied bin; more is
/// worse. A bin empty on both sides adds nothing. The symmetric Kullback–Leibler divergence of Jeffreys
/// (1946), named PSI by the credit-scoring literature (Siddiqi, *Credit Risk Scorecards*, 2006).
#[must_use]
pub fn psi(reference: &[f64], current: &[f64]) -> Option<f64> {
    comparable(reference, current).then(|| {
        let pairs = reference.iter().zip(current);
        pairs
            .map(|(p, q)| (p.max(SHARE_FLOOR), q.max(SHARE_FLOOR)))
            .map(|(p, q)| (q - p) * (q / p).ln())
            .sum()
    })
}

/// Jensen–Shannon distance: the square root of the divergence, with logarithms to base 2.
///
/// From 0 (equal) to 1 (no bin in common); more is worse. Lin, "Divergence measures based on the Shannon
/// entropy" (1991); the same value as `scipy.spatial.distance.jensenshannon(p, q, base=2)`.
#[must_use]
pub fn jensen_shannon(reference: &[f64], current: &[f64]) -> Option<f64> {
    if !comparable(reference, current) {
        return None;
    }
    let against_middle = |p: f64, q: f64| {
        if p > 0.0 {
            p * (2.0 * p / (p + q)).log2()
        } else {
            0.0
        }
    };
    let (total_p, total_q) = (sum(reference), sum(current));
    let divergence: f64 = reference
        .iter()
        .zip(current)
        .map(|(p, q)| (p / total_p, q / total_q))
        .map(|(p, q)| against_middle(p, q) + against_middle(q, p))
        .sum();
    Some((divergence / 2.0).clamp(0.0, 1.0).sqrt())
}

/// Hellinger distance: `√(Σ (√p − √q)² / 2)`.
///
/// From 0 (equal) to 1 (no bin in common); more is worse. Hellinger (1909).
#[must_use]
pub fn hellinger(reference: &[f64], current: &[f64]) -> Option<f64> {
    comparable(reference, current).then(|| {
        let pairs = reference.iter().zip(current);
        let sum: f64 = pairs.map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum();
        (sum / 2.0).sqrt()
    })
}

/// Total variation distance: `Σ |p − q| / 2`, the share of rows that would have to change bin.
///
/// From 0 (equal) to 1 (no bin in common); more is worse.
#[must_use]
pub fn total_variation(reference: &[f64], current: &[f64]) -> Option<f64> {
    comparable(reference, current).then(|| {
        let pairs = reference.iter().zip(current);
        pairs.map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
    })
}

/// Largest change of a single share: `max |p − q|`.
///
/// From 0 (equal) to 1 (all mass moved from one bin to another); more is worse. The measure TensorFlow Data
/// Validation applies to categories.
#[must_use]
pub fn l_infinity(reference: &[f64], current: &[f64]) -> Option<f64> {
    comparable(reference, current).then(|| {
        let pairs = reference.iter().zip(current);
        pairs.map(|(p, q)| (p - q).abs()).fold(0.0, f64::max)
    })
}

fn comparable(reference: &[f64], current: &[f64]) -> bool {
    reference.len() == current.len() && sum(reference) > 0.0 && sum(current) > 0.0
}

fn sum(shares: &[f64]) -> f64 {
    shares.iter().sum()
}

/// The outcome of [`chi2`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chi2 {
    /// From 0 (equal) without an upper limit; more is worse, but it grows with the sample.
    pub statistic: f64,
    pub degrees_of_freedom: usize,
    /// From 0 to 1; less is worse.
    pub p_value: f64,
}

/// Pearson's chi-square test that two rows of counts come from one distribution, without Yates' correction.
///
/// Bins empty on both sides are left out; with fewer than two bins left there is nothing to test and the
/// answer is `None`. The same as `scipy.stats.chi2_contingency(table, correction=False)`.
#[must_use]
pub fn chi2(reference: &[u64], current: &[u64]) -> Option<Chi2> {
    if reference.len() != current.len() {
        return None;
    }
    let rows = [total(reference), total(current)];
    let whole = rows[0] + rows[1];
    let mut statistic = 0.0;
    let mut bins = 0_usize;
    for (&p, &q) in reference.iter().zip(current).filter(|(p, q)| **p + **q > 0) {
        let column = (p + q) as f64;
        for (observed, row) in [(p, rows[0]), (q, rows[1])] {
            let expected = row * column / whole;
            statistic += (observed as f64 - expected).powi(2) / expected;
        }
        bins += 1;
    }
    if bins < 2 || rows.contains(&0.0) {
        return None;
    }
    let degrees_of_freedom = bins - 1;
    let distribution = ChiSquared::new(degrees_of_freedom as f64).ok()?;
    Some(Chi2 {
        statistic,
        degrees_of_freedom,
        p_value: distribution.sf(statistic),
    })
}

fn total(counts: &[u64]) -> f64 {
    counts.iter().sum::<u64>() as f64
}

/// The largest sample the exact sum of [`kolmogorov_smirnov_p_value`] is used for: its cost is linear in
/// the sample, and at this size it is two milliseconds.
const EXACT_SUM_LIMIT: f64 = 30_000.0;

/// The probability of a Kolmogorov–Smirnov distance of at least `statistic` between two samples of one
/// continuous distribution.
///
/// From 0 to 1; less is worse. `None` when a sample is empty or the statistic is not in 0 to 1. As
/// `scipy.stats.ks_2samp(method="asymp")` it takes the two samples as one of the rounded effective size
/// `n·m / (n + m)`, and asks for the distribution of the one-sample statistic at that size: in the tail by
/// twice Smirnov's exact sum (relative agreement 10⁻⁶), elsewhere, and beyond 30,000, by Kolmogorov's
/// series with the correction of Vrbik (2018), good to 10⁻⁵ for effective sizes above a hundred. For
/// discrete features the true p-value is larger.
#[must_use]
pub fn kolmogorov_smirnov_p_value(statistic: f64, reference: u64, current: u64) -> Option<f64> {
    let (n, m) = (reference as f64, current as f64);
    if reference == 0 || current == 0 || !(0.0..=1.0).contains(&statistic) {
        return None;
    }
    let size = (n * m / (n + m)).round().max(1.0);
    let scaled = size * statistic * statistic;
    Some(if statistic >= 1.0 || scaled >= 370.0 {
        0.0
    } else if scaled >= 2.2 && size <= EXACT_SUM_LIMIT {
        (2.0 * smirnov_tail(size, statistic)).min(1.0)
    } else {
        let root = size.sqrt();
        let z = root * statistic;
        kolmogorov_tail(z + 1.0 / (6.0 * root) + (z - 1.0) / (4.0 * size))
    })
}

/// Smirnov's probability that a one-sided distance at sample size `n` is at least `x`: the finite sum
/// `x Σ_v C(n, v) (x + v/n)^(v−1) (1 − x − v/n)^(n−v)`, its terms taken through logarithms.
fn smirnov_tail(n: f64, x: f64) -> f64 {
    let last = (n * (1.0 - x)).floor() as u64;
    let mut ln_binomial = 0.0;
    let mut sum = 0.0;
    for term in 0..=last {
        let v = term as f64;
        let below = x + v / n;
        let above = 1.0 - below;
        if above > 0.0 {
            sum += (ln_binomial + (v - 1.0) * below.ln() + (n - v) * above.ln()).exp();
        }
        ln_binomial += ((n - v) / (v + 1.0)).ln();
    }
    x * sum
}

/// Kolmogorov's limit distribution: `2 Σ (−1)^(k−1) exp(−2 k² z²)`, and for small `z`, where that series
/// converges slowly, one minus its theta-function dual.
fn kolmogorov_tail(z: f64) -> f64 {
    if z <= 0.0 {
        return 1.0;
    }
    if z < 1.0 {
        let base = -std::f64::consts::PI.powi(2) / (8.0 * z * z);
        let terms = [1.0, 3.0, 5.0, 7.0].map(|odd: f64| (base * odd * odd).exp());
        let cumulated = std::f64::consts::TAU.sqrt() / z * terms.iter().sum::<f64>();
        return (1.0 - cumulated).clamp(0.0, 1.0);
    }
    let terms = (1..=6)
        .map(|k| f64::from(k))
        .map(|k| (-2.0 * k * k * z * z).exp());
    let signed = terms
        .enumerate()
        .map(|(i, term)| if i % 2 == 0 { term } else { -term });
    (2.0 * signed.sum::<f64>()).clamp(0.0, 1.0)
}

/// The expected [`psi`] when nothing has changed: `(bins − 1) (1/n + 1/m)`.
///
/// 0 with fewer than two bins, infinite with an empty sample. First order in the sample sizes: it holds
/// while every bin expects a handful of rows.
#[must_use]
pub fn psi_noise_floor(bins: usize, reference: u64, current: u64) -> f64 {
    match bins {
        0 | 1 => 0.0,
        _ => (bins - 1) as f64 * inverse_sizes(reference, current),
    }
}

/// The expected [`jensen_shannon`] when nothing has changed: the mean of `√(χ²_{bins−1} s / (8 ln 2))`
/// with `s = 1/n + 1/m`, capped at 1.
///
/// 0 with fewer than two bins, 1 with an empty sample. Holds under the same condition as
/// [`psi_noise_floor`].
#[must_use]
pub fn jensen_shannon_noise_floor(bins: usize, reference: u64, current: u64) -> f64 {
    if bins < 2 {
        return 0.0;
    }
    let freedom = (bins - 1) as f64;
    let mean_chi =
        (2.0_f64.ln() / 2.0 + ln_gamma(freedom.midpoint(1.0)) - ln_gamma(freedom / 2.0)).exp();
    let scale = inverse_sizes(reference, current) / (8.0 * std::f64::consts::LN_2);
    (mean_chi * scale.sqrt()).min(1.0)
}

/// The expected Kolmogorov–Smirnov statistic when nothing has changed: the mean of Kolmogorov's
/// distribution, `√(π/2) ln 2`, times `√(1/n + 1/m)`, capped at 1.
///
/// 1 with an empty sample. Too large for discrete features, whose statistic is smaller.
#[must_use]
pub fn kolmogorov_smirnov_noise_floor(reference: u64, current: u64) -> f64 {
    let mean = std::f64::consts::FRAC_PI_2.sqrt() * std::f64::consts::LN_2;
    (mean * inverse_sizes(reference, current).sqrt()).min(1.0)
}

fn inverse_sizes(reference: u64, current: u64) -> f64 {
    1.0 / reference as f64 + 1.0 / current as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Measure = fn(&[f64], &[f64]) -> Option<f64>;
    const MEASURES: [(&str, Measure); 5] = [
        ("psi", psi),
        ("jensen_shannon", jensen_shannon),
        ("hellinger", hellinger),
        ("total_variation", total_variation),
        ("l_infinity", l_infinity),
    ];

    fn close(left: f64, right: f64, relative: f64) -> bool {
        (left - right).abs() <= relative * right.abs()
    }

    #[test]
    fn equal_shares_are_at_distance_zero() {
        for (name, measure) in MEASURES {
            assert_eq!(measure(&[0.25, 0.75], &[0.25, 0.75]), Some(0.0), "{name}");
            assert_eq!(
                measure(&[1.0], &[1.0]),
                Some(0.0),
                "{name}, a single category"
            );
            assert_eq!(
                measure(&[1.0, 0.0], &[1.0, 0.0]),
                Some(0.0),
                "{name}, an empty bin"
            );
        }
    }

    #[test]
    fn disjoint_shares_are_at_the_largest_distance() {
        for (name, measure) in MEASURES {
            let expected = if name == "psi" {
                2.0 * 0.9999 * 10_000_f64.ln()
            } else {
                1.0
            };
            let value = measure(&[1.0, 0.0], &[0.0, 1.0]).expect("comparable");
            assert!(close(value, expected, 1e-12), "{name}: {value}");
        }
    }

    #[test]
    fn nothing_to_compare_is_none() {
        for (name, measure) in MEASURES {
            assert_eq!(measure(&[], &[]), None, "{name}, no bins");
            assert_eq!(measure(&[1.0], &[0.5, 0.5]), None, "{name}, other bins");
            assert_eq!(
                measure(&[0.0, 0.0], &[0.5, 0.5]),
                None,
                "{name}, empty reference"
            );
            assert_eq!(
                measure(&[f64::NAN, f64::NAN], &[0.5, 0.5]),
                None,
                "{name}, NaN"
            );
        }
        assert_eq!(chi2(&[], &[]), None);
        assert_eq!(chi2(&[5], &[7]), None, "a single category");
        assert_eq!(chi2(&[5, 5], &[0, 0]), None, "an empty window");
        assert_eq!(
            chi2(&[5, 0], &[7, 0]),
            None,
            "one category and one empty bin"
        );
        assert_eq!(kolmogorov_smirnov_p_value(0.1, 0, 10), None);
        assert_eq!(kolmogorov_smirnov_p_value(f64::NAN, 10, 10), None);
    }

    #[test]
    fn a_new_category_counts_against_the_floor() {
        let value = psi(&[1.0, 0.0], &[0.99, 0.01]).expect("comparable");
        let expected = -0.01 * 0.99_f64.ln() + (0.01 - SHARE_FLOOR) * (0.01 / SHARE_FLOOR).ln();
        assert!(close(value, expected, 1e-12));
    }

    #[test]
    fn chi2_is_that_of_the_contingency_table() {
        // scipy.stats.chi2_contingency([[10, 20, 30], [6, 9, 17]], correction=False)
        let test = chi2(&[10, 20, 30, 0], &[6, 9, 17, 0]).expect("defined");
        assert!(
            close(test.statistic, 0.271_574_651_504, 1e-9),
            "{}",
            test.statistic
        );
        assert!(close(test.p_value, (-test.statistic / 2.0).exp(), 1e-9));
        assert_eq!(test.degrees_of_freedom, 2);
    }

    #[test]
    fn kolmogorov_distribution_has_its_tabulated_quantiles() {
        for (z, tail) in [
            (1.223_847_8, 0.1),
            (1.358_098_6, 0.05),
            (1.627_623_6, 0.01),
            (0.827_573_5, 0.5),
        ] {
            assert!(
                close(kolmogorov_tail(z), tail, 1e-6),
                "{z}: {}",
                kolmogorov_tail(z)
            );
        }
        let (below, above) = (kolmogorov_tail(1.0 - 1e-12), kolmogorov_tail(1.0));
        assert!(
            close(below, above, 1e-9),
            "the two series meet: {below} {above}"
        );
        assert_eq!(kolmogorov_tail(0.0), 1.0);
    }

    #[test]
    fn p_values_do_not_jump_where_the_formula_changes() {
        for size in [200_u64, 2_000, 20_000] {
            let effective = (size / 2) as f64;
            let threshold = (2.2 / effective).sqrt();
            let series = kolmogorov_smirnov_p_value(threshold - 1e-9, size, size).expect("defined");
            let exact = kolmogorov_smirnov_p_value(threshold + 1e-9, size, size).expect("defined");
            assert!(close(series, exact, 1e-2), "{size}: {series} {exact}");
        }
    }

    #[test]
    fn p_value_falls_from_one_to_zero() {
        let p = |statistic| kolmogorov_smirnov_p_value(statistic, 300, 400).expect("defined");
        assert_eq!(p(0.0), 1.0);
        assert_eq!(p(1.0), 0.0);
        let steps: Vec<f64> = (0..=50).map(|i| p(f64::from(i) / 50.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    /// Draws from a small congruential generator: a test needs neither quality nor a dependency.
    fn sample(bins: usize, rows: u64, state: &mut u64) -> Vec<f64> {
        let mut counts = vec![0.0; bins];
        for _ in 0..rows {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            counts[((*state >> 33) as usize) % bins] += 1.0 / rows as f64;
        }
        counts
    }

    #[test]
    fn noise_floors_are_the_means_of_samples_without_drift() {
        let mut state = 7;
        for bins in [2, 5, 10, 40] {
            let (runs, n, m) = (600, 2_000, 500);
            let (mut psi_sum, mut js_sum) = (0.0, 0.0);
            for _ in 0..runs {
                let (p, q) = (sample(bins, n, &mut state), sample(bins, m, &mut state));
                psi_sum += psi(&p, &q).expect("comparable");
                js_sum += jensen_shannon(&p, &q).expect("comparable");
            }
            let runs = f64::from(runs);
            assert!(
                close(psi_sum / runs, psi_noise_floor(bins, n, m), 0.15),
                "psi over {bins} bins"
            );
            let js_floor = jensen_shannon_noise_floor(bins, n, m);
            assert!(close(js_sum / runs, js_floor, 0.1), "js over {bins} bins");
        }
    }

    #[test]
    fn noise_floors_of_degenerate_inputs_are_defined() {
        assert_eq!(psi_noise_floor(1, 10, 10), 0.0);
        assert_eq!(jensen_shannon_noise_floor(0, 10, 10), 0.0);
        assert_eq!(psi_noise_floor(10, 10, 0), f64::INFINITY);
        assert_eq!(jensen_shannon_noise_floor(10, 0, 10), 1.0);
        assert_eq!(kolmogorov_smirnov_noise_floor(0, 0), 1.0);
        assert!(close(
            kolmogorov_smirnov_noise_floor(200, 200),
            0.086_873,
            1e-4
        ));
    }

    fn shares() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0u32..100, 12).prop_filter_map("no mass", |counts| {
            let total: u32 = counts.iter().sum();
            (total > 0).then(|| {
                counts
                    .iter()
                    .map(|c| f64::from(*c) / f64::from(total))
                    .collect()
            })
        })
    }

    proptest! {
        #[test]
        fn every_measure_is_symmetric_and_in_its_range(p in shares(), q in shares()) {
            for (name, measure) in MEASURES {
                let (there, back) = (measure(&p, &q).expect("comparable"), measure(&q, &p).expect("comparable"));
                prop_assert!((there - back).abs() < 1e-12, "{name}");
                prop_assert!(there >= 0.0 && (name == "psi" || there <= 1.0 + 1e-12), "{name} {there}");
            }
        }
    }
}
