//! Distances between two distributions over the same bins, and the values expected from noise alone.
//!
//! The distances take two slices of equal length, each with one non-negative share per bin, summing to 1.
//! All are `None` when there is nothing to compare: slices of different lengths, no bins, or one side without
//! any mass. The order of the arguments is always reference, then current.
//!
//! A distance is never zero on real samples even when nothing has changed. The `…_noise_floor` functions
//! give the value that sampling alone is expected to produce, so that a reader can tell one from the other.

use super::kolmogorov;
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
    let (total_p, total_q) = (sum(reference), sum(current));
    let nats: f64 = reference
        .iter()
        .zip(current)
        .map(|(p, q)| divergence_from_middle(p / total_p, q / total_q))
        .sum();
    Some(
        (nats / (2.0 * std::f64::consts::LN_2))
            .clamp(0.0, 1.0)
            .sqrt(),
    )
}

/// One bin of the Jensen–Shannon divergence, `p ln(p/m) + q ln(q/m)` with `m` in the middle of the two.
///
/// Written as `m ((1+d) ln(1+d) + (1−d) ln(1−d))` with `d = (p − q) / (p + q)`, and for nearly equal shares
/// as its series: the two logarithms then cancel, which would leave no right digits of a small distance.
fn divergence_from_middle(p: f64, q: f64) -> f64 {
    let both = p + q;
    if both == 0.0 {
        return 0.0;
    }
    let d = (p - q) / both;
    let squared = d * d;
    let bracket = if squared < 0.0025 {
        squared
            * (1.0
                + squared
                    * (1.0 / 6.0
                        + squared * (1.0 / 15.0 + squared * (1.0 / 28.0 + squared / 45.0))))
    } else {
        let part = |x: f64| if x > -1.0 { (1.0 + x) * x.ln_1p() } else { 0.0 };
        part(d) + part(-d)
    };
    bracket * both / 2.0
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
    let scale = inverse_sizes(reference, current) / (8.0 * std::f64::consts::LN_2);
    (mean_chi((bins - 1) as f64) * scale.sqrt()).min(1.0)
}

/// The expected [`hellinger`] when nothing has changed: the mean of `√(χ²_{bins−1} s / 8)` with
/// `s = 1/n + 1/m`, capped at 1, under the same conditions.
#[must_use]
pub fn hellinger_noise_floor(bins: usize, reference: u64, current: u64) -> f64 {
    if bins < 2 {
        return 0.0;
    }
    let scale = inverse_sizes(reference, current) / 8.0;
    (mean_chi((bins - 1) as f64) * scale.sqrt()).min(1.0)
}

/// The expected [`total_variation`] when nothing has changed: `√(s / 2π) Σ √(p (1 − p))` over the shares of the
/// reference, capped at 1.
///
/// 1 with an empty sample.
#[must_use]
pub fn total_variation_noise_floor(shares: &[f64], reference: u64, current: u64) -> f64 {
    let spread: f64 = shares.iter().map(|p| (p * (1.0 - p)).max(0.0).sqrt()).sum();
    let scale = inverse_sizes(reference, current) / std::f64::consts::TAU;
    if scale.is_infinite() {
        return 1.0;
    }
    (spread * scale.sqrt()).min(1.0)
}

/// The mean of the chi distribution, the root of chi-square, with so many degrees of freedom.
fn mean_chi(freedom: f64) -> f64 {
    (2.0_f64.ln() / 2.0 + ln_gamma(freedom.midpoint(1.0)) - ln_gamma(freedom / 2.0)).exp()
}

/// The expected Kolmogorov–Smirnov statistic when nothing has changed: the mean of Kolmogorov's
/// distribution, `√(π/2) ln 2`, times `√(1/n + 1/m)`, capped at 1.
///
/// 1 with an empty sample. Too large for discrete features, whose statistic is smaller.
#[must_use]
pub fn kolmogorov_smirnov_noise_floor(reference: u64, current: u64) -> f64 {
    (kolmogorov::mean() * inverse_sizes(reference, current).sqrt()).min(1.0)
}

pub(super) fn inverse_sizes(reference: u64, current: u64) -> f64 {
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
    }

    #[test]
    fn a_new_category_counts_against_the_floor() {
        let value = psi(&[1.0, 0.0], &[0.99, 0.01]).expect("comparable");
        let expected = -0.01 * 0.99_f64.ln() + (0.01 - SHARE_FLOOR) * (0.01 / SHARE_FLOOR).ln();
        assert!(close(value, expected, 1e-12));
    }

    #[test]
    fn small_jensen_shannon_distances_keep_their_digits() {
        // (1/2, 1/2) against (1/2 + e, 1/2 − e) is at e / √(2 ln 2), to first order in e.
        for e in [1e-3_f64, 1e-6, 1e-9] {
            let value = jensen_shannon(&[0.5, 0.5], &[0.5 + e, 0.5 - e]).expect("comparable");
            let expected = e / (2.0 * std::f64::consts::LN_2).sqrt();
            assert!(close(value, expected, 1e-6), "{e}: {value}");
        }
        let (below, above) = (
            divergence_from_middle(0.95, 1.05 + 1e-12),
            divergence_from_middle(0.95, 1.05 - 1e-12),
        );
        assert!(
            close(below, above, 1e-10),
            "the series meets the logarithms"
        );
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
            let (mut psi_sum, mut js_sum, mut hellinger_sum, mut tv_sum) = (0.0, 0.0, 0.0, 0.0);
            for _ in 0..runs {
                let (p, q) = (sample(bins, n, &mut state), sample(bins, m, &mut state));
                psi_sum += psi(&p, &q).expect("comparable");
                js_sum += jensen_shannon(&p, &q).expect("comparable");
                hellinger_sum += hellinger(&p, &q).expect("comparable");
                tv_sum += total_variation(&p, &q).expect("comparable");
            }
            let runs = f64::from(runs);
            assert!(
                close(psi_sum / runs, psi_noise_floor(bins, n, m), 0.15),
                "psi over {bins} bins"
            );
            let js_floor = jensen_shannon_noise_floor(bins, n, m);
            assert!(close(js_sum / runs, js_floor, 0.1), "js over {bins} bins");
            let hellinger_floor = hellinger_noise_floor(bins, n, m);
            assert!(
                close(hellinger_sum / runs, hellinger_floor, 0.1),
                "hellinger over {bins} bins"
            );
            let tv_floor = total_variation_noise_floor(&vec![1.0 / bins as f64; bins], n, m);
            assert!(close(tv_sum / runs, tv_floor, 0.1), "tv over {bins} bins");
        }
    }

    #[test]
    fn noise_floors_of_degenerate_inputs_are_defined() {
        assert_eq!(psi_noise_floor(1, 10, 10), 0.0);
        assert_eq!(jensen_shannon_noise_floor(0, 10, 10), 0.0);
        assert_eq!(psi_noise_floor(10, 10, 0), f64::INFINITY);
        assert_eq!(jensen_shannon_noise_floor(10, 0, 10), 1.0);
        assert_eq!(kolmogorov_smirnov_noise_floor(0, 0), 1.0);
        assert_eq!(hellinger_noise_floor(1, 10, 10), 0.0);
        assert_eq!(hellinger_noise_floor(3, 0, 10), 1.0);
        assert_eq!(total_variation_noise_floor(&[1.0], 10, 10), 0.0);
        assert_eq!(total_variation_noise_floor(&[1.0], 0, 10), 1.0);
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
