//! The Anderson–Darling test of two samples, in the form for ties.
//!
//! Scholz and Stephens, "K-sample Anderson–Darling tests" (1987): statistic (7), which gives tied values their
//! mid-rank, standardised by its mean and standard deviation under the hypothesis. There is no closed form of
//! its distribution; the p-value is interpolated in their table, a quadratic in the statistic fitted to the
//! logarithms of seven significance levels, and is never below 0.001 nor above 0.25. That is what
//! `scipy.stats.anderson_ksamp` does, so a p-value of 0.001 means "at most 0.001".

use super::tails::PValue;

/// The bounds of the table the p-value is read from.
pub const P_VALUE_RANGE: (f64, f64) = (0.001, 0.25);

/// Critical values of the standardised statistic for two samples: `b0 + b1 + b2` of Scholz and Stephens'
/// table 2, whose rows are for these significance levels.
const LEVELS: [(f64, f64); 7] = [
    (0.675 - 0.245 - 0.105, 0.25),
    (1.281 + 0.25 - 0.305, 0.1),
    (1.645 + 0.678 - 0.362, 0.05),
    (1.96 + 1.149 - 0.391, 0.025),
    (2.326 + 1.822 - 0.396, 0.01),
    (2.573 + 2.364 - 0.345, 0.005),
    (3.085 + 3.615 - 0.154, 0.001),
];

/// The outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AndersonDarling {
    /// The standardised statistic: about 0 without drift, with standard deviation 1; more is worse.
    pub statistic: f64,
    /// Within [`P_VALUE_RANGE`], at whose ends it is a bound rather than a value.
    pub p_value: PValue,
}

/// The test from the counts of both sides at each distinct value, in increasing order.
///
/// `None` when a side is empty, all values are equal, or there are fewer than four.
#[must_use]
pub fn of_tie_groups(groups: impl Iterator<Item = (u64, u64)> + Clone) -> Option<AndersonDarling> {
    let (mut n, mut m, mut distinct) = (0_u64, 0_u64, 0_u64);
    for (p, q) in groups.clone() {
        n += p;
        m += q;
        distinct += u64::from(p + q > 0);
    }
    if n == 0 || m == 0 || distinct < 2 || n + m < 4 {
        return None;
    }
    let total = (n + m) as f64;
    let mut sums = [0.0; 2];
    let (mut before, mut before_each) = (0.0, [0.0; 2]);
    for (p, q) in groups.filter(|(p, q)| p + q > 0) {
        let tied = (p + q) as f64;
        let rank = before + tied / 2.0;
        let weight = tied / total / (rank * (total - rank) - total * tied / 4.0);
        for (side, (count, size)) in [(p, n), (q, m)].into_iter().enumerate() {
            let own = before_each[side] + count as f64 / 2.0;
            let gap = total * own - rank * size as f64;
            sums[side] += weight * gap * gap;
            before_each[side] += count as f64;
        }
        before += tied;
    }
    let raw = (sums[0] / n as f64 + sums[1] / m as f64) * (total - 1.0) / total;
    let statistic = (raw - 1.0) / variance(n as f64, m as f64).sqrt();
    Some(AndersonDarling {
        statistic,
        p_value: interpolated(statistic)?,
    })
}

/// The variance of the raw statistic under the hypothesis, for two samples.
pub(super) fn variance(n: f64, m: f64) -> f64 {
    let total = n + m;
    let inverse = 1.0 / n + 1.0 / m;
    let h = harmonic(total - 1.0);
    // Σ_{i<j<N} 1/((N−i) j), by the convolution Σ H_{N−j}/j = H_N² − H_N^(2).
    let all = h + 1.0 / total;
    let g = h * h - all * all + harmonic_of_squares(total);
    let a = (4.0 * g - 6.0) + (10.0 - 6.0 * g) * inverse;
    let b = (2.0 * g - 4.0) * 4.0 + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h
        + 4.0 * g
        - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * 4.0
        + (4.0 * h - 4.0 * g + 6.0) * 2.0
        + (2.0 * h - 6.0) * inverse
        + 4.0 * h;
    let d = (2.0 * h + 6.0) * 4.0 - 8.0 * h;
    (((a * total + b) * total + c) * total + d) / ((total - 1.0) * (total - 2.0) * (total - 3.0))
}

/// `1 + 1/2 + … + 1/n` for a whole `n`.
fn harmonic(n: f64) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    if n < 100.0 {
        return (1..=n as u32).rev().map(|i| 1.0 / f64::from(i)).sum();
    }
    let square = n * n;
    n.ln() + EULER + 0.5 / n - 1.0 / (12.0 * square) + 1.0 / (120.0 * square * square)
}

/// `1 + 1/4 + … + 1/n²` for a whole `n`.
fn harmonic_of_squares(n: f64) -> f64 {
    if n < 100.0 {
        return (1..=n as u32).rev().map(|i| f64::from(i).powi(-2)).sum();
    }
    let square = n * n;
    std::f64::consts::PI.powi(2) / 6.0 - 1.0 / n + 0.5 / square - 1.0 / (6.0 * square * n)
        + 1.0 / (30.0 * square * square * n)
}

/// The p-value read from the table; `None` for NaN.
fn interpolated(statistic: f64) -> Option<PValue> {
    if statistic < LEVELS[0].0 {
        return PValue::from_probability(P_VALUE_RANGE.1);
    }
    if statistic > LEVELS[6].0 {
        return PValue::from_probability(P_VALUE_RANGE.0);
    }
    PValue::from_ln(quadratic_fit(
        &LEVELS.map(|(x, level)| (x, level.ln())),
        statistic,
    ))
}

/// The least-squares parabola through the points, at `at`: three orthogonal polynomials, so that no matrix
/// has to be solved.
fn quadratic_fit(points: &[(f64, f64)], at: f64) -> f64 {
    let count = points.len() as f64;
    let mean = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let moment = |power: i32| {
        points
            .iter()
            .map(|(x, _)| (x - mean).powi(power))
            .sum::<f64>()
    };
    let (second, third) = (moment(2), moment(3));
    let linear = |x: f64| x - mean;
    let bent = |x: f64| (x - mean).powi(2) - third / second * (x - mean) - second / count;
    let project = |f: &dyn Fn(f64) -> f64| {
        let along: f64 = points.iter().map(|(x, y)| f(*x) * y).sum();
        let length: f64 = points.iter().map(|(x, _)| f(*x).powi(2)).sum();
        along / length * f(at)
    };
    project(&|_| 1.0) + project(&linear) + project(&bent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_test_is_none() {
        for groups in [
            &[][..],
            &[(0, 5), (0, 5)],
            &[(5, 5)],
            &[(5, 5), (0, 0)],
            &[(1, 1), (1, 0)],
        ] {
            assert_eq!(of_tie_groups(groups.iter().copied()), None, "{groups:?}");
        }
    }

    #[test]
    fn harmonic_sums_meet_their_expansions() {
        let direct: f64 = (1..=150).rev().map(|i| 1.0 / f64::from(i)).sum();
        assert!((harmonic(150.0) - direct).abs() < 1e-14);
        let direct: f64 = (1..=150).rev().map(|i| f64::from(i).powi(-2)).sum();
        assert!((harmonic_of_squares(150.0) - direct).abs() < 1e-13);
    }

    #[test]
    fn double_sum_of_the_variance_is_its_closed_form() {
        for total in [4_u32, 9, 60] {
            let mut direct = 0.0;
            for i in 1..total - 1 {
                for j in i + 1..total {
                    direct += 1.0 / (f64::from(total - i) * f64::from(j));
                }
            }
            let n = f64::from(total);
            let (h, all) = (harmonic(n - 1.0), harmonic(n));
            let closed = h * h - all * all + harmonic_of_squares(n);
            assert!(
                (direct - closed).abs() < 1e-12,
                "{total}: {direct} {closed}"
            );
        }
    }

    #[test]
    fn p_value_stays_in_the_table() {
        let far: Vec<(u64, u64)> = vec![(1_000, 0), (0, 1_000)];
        let test = of_tie_groups(far.into_iter()).expect("defined");
        assert!((test.p_value.value() - 0.001).abs() < 1e-12);
        let same: Vec<(u64, u64)> = (0..50).map(|_| (3, 3)).collect();
        let test = of_tie_groups(same.into_iter()).expect("defined");
        assert!((test.p_value.value() - 0.25).abs() < 1e-12);
    }
}
