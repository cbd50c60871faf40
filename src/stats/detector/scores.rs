//! What is measured of one day: a few numbers that have mean 0 and variance 1 over the rows of the reference and do
//! not correlate, each sensitive to another way of changing.
//!
//! Numbers get orthonormal polynomials of their rank in the reference (centre, spread, skew, tails), after Neyman
//! (1937); shares get the standardised indicator. The third and fourth moments are exact sums over the bins, and
//! correct the test of a mean for the distribution it is of (Hall 1992).

/// How many polynomials are taken.
pub const SHAPES: usize = 4;
/// A polynomial whose length is less, before it is scaled to 1, is one of the earlier ones over so few bins.
const LEAST_LENGTH: f64 = 1e-7;

/// The rank of each bin's middle: what is below it and half of what is in it, from 0 to 1.
#[must_use]
pub fn middle_ranks(shares: &[f64]) -> Vec<f64> {
    let mut below = 0.0;
    let ranks = shares.iter().map(|share| {
        let middle = below + share / 2.0;
        below += share;
        middle
    });
    ranks.collect()
}

/// Up to [`SHAPES`] polynomials of the middle ranks that have mean 0 and variance 1 under the shares and do not
/// correlate, from the first degree on, one value per bin. Fewer bins than that with a share give fewer.
#[must_use]
pub fn polynomials(shares: &[f64]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| -> f64 {
        shares
            .iter()
            .zip(a)
            .zip(b)
            .map(|((share, a), b)| share * a * b)
            .sum()
    };
    let axis: Vec<f64> = middle_ranks(shares)
        .iter()
        .map(|rank| 2.0 * rank - 1.0)
        .collect();
    let mut basis = vec![vec![1.0; shares.len()]];
    let occupied = shares.iter().filter(|share| **share > 0.0).count();
    while basis.len() <= SHAPES && basis.len() < occupied {
        // The axis times the last polynomial spans the same as the next power, and loses fewer digits.
        let last = basis.last().expect("begins with the constant");
        let mut next: Vec<f64> = axis.iter().zip(last).map(|(x, p)| x * p).collect();
        for _ in 0..2 {
            for earlier in &basis {
                let along = dot(&next, earlier);
                for (value, step) in next.iter_mut().zip(earlier) {
                    *value -= along * step;
                }
            }
        }
        let length = dot(&next, &next).sqrt();
        if length.is_nan() || length < LEAST_LENGTH {
            break;
        }
        next.iter_mut().for_each(|value| *value /= length);
        basis.push(next);
    }
    basis.remove(0);
    basis
}

/// Skewness and excess kurtosis of a score with mean 0 and variance 1.
#[must_use]
pub fn moments(shares: &[f64], score: &[f64]) -> (f64, f64) {
    let power = |k: i32| -> f64 { shares.iter().zip(score).map(|(q, s)| q * s.powi(k)).sum() };
    (power(3), power(4) - 3.0)
}

/// Skewness and excess kurtosis of the standardised indicator of a share.
#[must_use]
pub fn indicator_moments(share: f64) -> (f64, f64) {
    let variance = share * (1.0 - share);
    (
        (1.0 - 2.0 * share) / variance.sqrt(),
        (1.0 - 6.0 * variance) / variance,
    )
}

/// The statistic of a mean of `rows` values, corrected for skewness and kurtosis so that the tails of Student's
/// distribution fit it (Cornish and Fisher; Hall 1992). Beyond 8 standard errors the correction stays what it is at
/// 8, and it never turns the sign. NaN stays NaN.
#[must_use]
pub fn corrected(t: f64, skewness: f64, kurtosis: f64, rows: f64) -> f64 {
    let skew = (skewness / rows.sqrt()).clamp(-0.3, 0.3);
    let tails = (kurtosis / rows).clamp(-0.3, 0.3);
    let at = t.clamp(-8.0, 8.0);
    let square = at * at;
    let moved = t - skew * (square - 1.0) / 6.0 + skew * skew * at * (4.0 * square - 7.0) / 36.0
        - tails * at * (square - 3.0) / 24.0;
    if moved * t <= 0.0 { 0.0 } else { moved }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_bins_have_one_shape_which_is_the_share() {
        let shapes = polynomials(&[0.2, 0.8]);
        assert_eq!(shapes.len(), 1);
        let indicator = |inside: f64| (inside - 0.8) / (0.8_f64 * 0.2).sqrt();
        assert!((shapes[0][0] - indicator(0.0)).abs() < 1e-14);
        assert!((shapes[0][1] - indicator(1.0)).abs() < 1e-14);
        let (skewness, kurtosis) = moments(&[0.2, 0.8], &shapes[0]);
        let (s, k) = indicator_moments(0.8);
        assert!((skewness - s).abs() < 1e-12 && (kurtosis - k).abs() < 1e-12);
    }

    #[test]
    fn one_bin_has_no_shape() {
        assert!(polynomials(&[1.0]).is_empty());
        assert!(polynomials(&[0.0, 1.0, 0.0]).is_empty());
        assert!(polynomials(&[]).is_empty());
    }

    #[test]
    fn a_shift_of_a_tenth_of_a_deviation_moves_the_centre_by_as_much() {
        // The first shape over twenty equal bins of a normal distribution has correlation 0.977 with the value.
        let shares = [0.05; 20];
        let centre = &polynomials(&shares)[0];
        let expected = 0.05 * 12_f64.sqrt() / (1.0 - 1.0 / 400.0_f64).sqrt();
        assert!((centre[10] - centre[9] - expected).abs() < 1e-12);
    }

    #[test]
    fn without_skewness_and_kurtosis_nothing_is_corrected() {
        assert_eq!(corrected(4.2, 0.0, 0.0, 100.0), 4.2);
        assert!(corrected(f64::NAN, 1.0, 1.0, 100.0).is_nan());
        // An upward deviation of a right-skewed score is less surprising.
        assert!(corrected(4.0, 2.0, 0.0, 100.0) < 4.0);
        assert!(corrected(-4.0, 2.0, 0.0, 100.0) < -4.0);
    }

    proptest! {
        #[test]
        fn shapes_are_orthonormal(counts in proptest::collection::vec(0u32..1000, 1..25)) {
            let total: f64 = counts.iter().map(|c| f64::from(*c)).sum();
            prop_assume!(total > 0.0);
            let shares: Vec<f64> = counts.iter().map(|c| f64::from(*c) / total).collect();
            let shapes = polynomials(&shares);
            for (i, a) in shapes.iter().enumerate() {
                let mean: f64 = shares.iter().zip(a).map(|(q, a)| q * a).sum();
                prop_assert!(mean.abs() < 1e-9, "mean {}", mean);
                for (j, b) in shapes.iter().enumerate() {
                    let product: f64 = (0..shares.len()).map(|k| shares[k] * a[k] * b[k]).sum();
                    let expected = f64::from(u8::from(i == j));
                    prop_assert!((product - expected).abs() < 1e-9, "{} {} {}", i, j, product);
                }
            }
        }

        #[test]
        fn the_correction_never_turns_the_sign(t in -20.0..20.0f64, s in -50.0..50.0f64, k in -2.0..2000.0f64) {
            prop_assert!(corrected(t, s, k, 60.0) * t >= 0.0);
        }
    }
}
