//! Tests that two rows of counts come from one distribution.
//!
//! All take whole numbers, reference first, and are `None` when there is nothing to test: slices of different
//! lengths, a side without rows, or fewer than two bins that anything fell into. A bin empty on both sides
//! takes no part; one empty on a single side, which is what an unseen category is, is counted like any other.

use super::tails::{PValue, chi_square_tail};
use statrs::function::gamma::ln_gamma;

/// The outcome of [`chi2`] and [`g_test`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chi2 {
    /// From 0 (equal) without an upper limit; more is worse, but it grows with the sample.
    pub statistic: f64,
    pub degrees_of_freedom: usize,
    pub p_value: PValue,
    /// The smallest number of rows expected in a bin; below about 5 the p-value is a rough one.
    pub smallest_expected: f64,
}

/// Pearson's chi-square test, without Yates' correction.
///
/// The same as `scipy.stats.chi2_contingency(table, correction=False)`.
#[must_use]
pub fn chi2(reference: &[u64], current: &[u64]) -> Option<Chi2> {
    test(reference, current, |observed, expected| {
        (observed - expected).powi(2) / expected
    })
}

/// The G-test, the likelihood ratio with the same limit distribution: `2 Σ O ln(O / E)`.
///
/// Woolf (1957); the same as `scipy.stats.chi2_contingency(…, lambda_="log-likelihood", correction=False)`.
#[must_use]
pub fn g_test(reference: &[u64], current: &[u64]) -> Option<Chi2> {
    // Σ (O − E) is zero over the table, so each cell may be written as the deviance, which cannot be negative
    // and keeps its digits when O is close to E.
    test(reference, current, |observed, expected| {
        2.0 * super::tails::deviance(observed, expected)
    })
}

/// The rows a bin is to expect on either side for the chi-square distribution to hold (Cochran 1954).
pub const ROWS_EXPECTED: f64 = 5.0;

/// [`chi2`] over bins that expect [`ROWS_EXPECTED`] rows or more on either side; the rarer ones are one bin, together with the
/// smallest of the others where they are too few even so. `None` when that leaves fewer than two bins.
#[must_use]
pub fn pooled_chi2(reference: &[u64], current: &[u64]) -> Option<Chi2> {
    if reference.len() != current.len() {
        return None;
    }
    let rows = [total(reference), total(current)];
    let smaller = rows[0].min(rows[1]) / (rows[0] + rows[1]);
    let expects = |(p, q): &(u64, u64)| smaller * (*p as f64 + *q as f64);
    let bins = reference.iter().copied().zip(current.iter().copied());
    let (mut kept, rare): (Vec<_>, Vec<_>) = bins.partition(|bin| expects(bin) >= ROWS_EXPECTED);
    let rest = (rare.iter()).fold((0, 0), |(p, q), rare| (p + rare.0, q + rare.1));
    let smallest = (0..kept.len()).min_by_key(|place| kept[*place].0 + kept[*place].1);
    match smallest {
        Some(smallest) if expects(&rest) < ROWS_EXPECTED => {
            kept[smallest].0 += rest.0;
            kept[smallest].1 += rest.1;
        }
        _ => kept.push(rest),
    }
    let (reference, current): (Vec<u64>, Vec<u64>) = kept.into_iter().unzip();
    chi2(&reference, &current)
}

fn test(reference: &[u64], current: &[u64], part: impl Fn(f64, f64) -> f64) -> Option<Chi2> {
    if reference.len() != current.len() {
        return None;
    }
    let rows = [total(reference), total(current)];
    let whole = rows[0] + rows[1];
    let (mut statistic, mut smallest_expected) = (0.0, f64::INFINITY);
    let mut bins = 0_usize;
    for (&p, &q) in reference.iter().zip(current) {
        let column = p as f64 + q as f64;
        if column == 0.0 {
            continue;
        }
        for (observed, row) in [(p, rows[0]), (q, rows[1])] {
            let expected = row * column / whole;
            smallest_expected = f64::min(smallest_expected, expected);
            statistic += part(observed as f64, expected);
        }
        bins += 1;
    }
    if bins < 2 || rows.contains(&0.0) {
        return None;
    }
    let degrees_of_freedom = bins - 1;
    Some(Chi2 {
        statistic,
        degrees_of_freedom,
        p_value: chi_square_tail(statistic, degrees_of_freedom as f64)?,
        smallest_expected,
    })
}

fn total(counts: &[u64]) -> f64 {
    counts.iter().map(|count| *count as f64).sum()
}

/// A share of rows on both sides, `hits` of `rows` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    pub reference_hits: u64,
    pub reference_rows: u64,
    pub current_hits: u64,
    pub current_rows: u64,
}

/// The outcome of [`compare_shares`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareTest {
    /// The current share minus the reference's: from −1 to 1, and far from 0 is worse.
    pub difference: f64,
    /// The 95 % interval of the difference (Newcombe 1998, method 10: from Wilson's intervals of the two).
    pub interval: (f64, f64),
    pub p_value: PValue,
    /// Whether the p-value is Fisher's exact one; otherwise it is the chi-square test's.
    pub exact: bool,
}

/// The smallest expected count below which [`compare_shares`] turns to Fisher's exact test.
const SMALL_EXPECTED: f64 = 5.0;

/// Tests that a share, of missing values for instance, is the same on both sides.
///
/// Pearson's chi-square test, which for two shares is the pooled two-sided z-test; Fisher's exact test when a
/// count below 5 is expected. A share of 0 or of 1 on both sides is no evidence of anything: p-value 1. `None`
/// without rows on a side, or with more hits than rows.
#[must_use]
pub fn compare_shares(shares: Shares) -> Option<ShareTest> {
    let Shares {
        reference_hits: a,
        reference_rows: n,
        current_hits: b,
        current_rows: m,
    } = shares;
    if n == 0 || m == 0 || a > n || b > m {
        return None;
    }
    let (p, q) = (a as f64 / n as f64, b as f64 / m as f64);
    let ((p_low, p_high), (q_low, q_high)) = (wilson(p, n as f64), wilson(q, m as f64));
    let difference = q - p;
    let interval = (
        difference - ((q - q_low).powi(2) + (p_high - p).powi(2)).sqrt(),
        difference + ((q_high - q).powi(2) + (p - p_low).powi(2)).sqrt(),
    );
    let (p_value, exact) = match chi2(&[a, n - a], &[b, m - b]) {
        None => (PValue::ONE, true),
        Some(test) if test.smallest_expected >= SMALL_EXPECTED => (test.p_value, false),
        Some(_) => (fisher(a, n - a, b, m - b), true),
    };
    Some(ShareTest {
        difference,
        interval,
        p_value,
        exact,
    })
}

/// Wilson's 95 % interval of a share (1927).
fn wilson(share: f64, rows: f64) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let square = Z * Z;
    let centre = (share + square / (2.0 * rows)) / (1.0 + square / rows);
    let half = Z / (1.0 + square / rows)
        * (share * (1.0 - share) / rows + square / (4.0 * rows * rows)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Fisher's exact two-sided p-value of a table of two by two: the probability of all tables with the same
/// margins that are no more likely than this one.
///
/// The same as `scipy.stats.fisher_exact`, whose tolerance of ties (10⁻⁷) is taken over. The time is in
/// proportion to the smallest margin.
#[must_use]
pub fn fisher(a: u64, b: u64, c: u64, d: u64) -> PValue {
    let (row, column, whole) = (a + b, a + c, a + b + c + d);
    let ln_choose = |n: u64, k: u64| {
        let (n, k) = (n as f64, k as f64);
        ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
    };
    // ln of the hypergeometric probabilities relative to this table's, by their ratios.
    let ratio = |x: u64| {
        (row - x) as f64 * (column - x) as f64
            / ((x + 1) as f64 * (whole + x + 1 - row - column) as f64)
    };
    let (lowest, highest) = ((row + column).saturating_sub(whole), row.min(column));
    let (mut beyond, mut all) = (1.0, 1.0);
    // The sums are kept relative to the largest probability met, so that nothing overflows.
    let mut scale = 0.0_f64;
    let mut take = |ln: f64| {
        if ln > scale {
            let factor = (scale - ln).exp();
            beyond *= factor;
            all *= factor;
            scale = ln;
        }
        let part = (ln - scale).exp();
        all += part;
        if ln <= 1e-7 {
            beyond += part;
        }
    };
    let mut ln = 0.0;
    for x in a..highest {
        ln += ratio(x).ln();
        take(ln);
    }
    ln = 0.0;
    for x in (lowest..a).rev() {
        ln -= ratio(x).ln();
        take(ln);
    }
    if beyond / all > 1e-280 {
        return PValue::from_probability(beyond / all).unwrap_or(PValue::ONE);
    }
    // So far out that the parts vanish beside the largest: this table alone is the leading term.
    let own = ln_choose(column, a) + ln_choose(whole - column, b) - ln_choose(whole, row);
    PValue::from_ln(own).unwrap_or(PValue::ONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_bins_are_tested_together() {
        // Expected on the smaller side: 50, 25, 2, 2, 1: the last three are one bin of 5.
        let pooled = pooled_chi2(&[100, 50, 4, 4, 2], &[50, 25, 2, 2, 1]).expect("a test");
        assert_eq!(pooled.degrees_of_freedom, 2);
        assert!(pooled.smallest_expected >= ROWS_EXPECTED);
        let together = chi2(&[100, 50, 10], &[20, 40, 20]).expect("a test");
        let apart = pooled_chi2(&[100, 50, 4, 4, 2], &[20, 40, 2, 0, 18]).expect("a test");
        // 20 rows of one category are many enough, the other six are not and go to the smallest.
        assert_eq!(apart, together);
        // Nothing is left to compare where every bin is rare.
        assert_eq!(pooled_chi2(&[1; 30], &[1; 30]), None);
        assert_eq!(pooled_chi2(&[1, 2], &[1]), None);
    }

    #[test]
    fn nothing_to_test_is_none() {
        for test in [chi2, g_test] {
            assert_eq!(test(&[], &[]), None);
            assert_eq!(test(&[5], &[7]), None, "a single category");
            assert_eq!(test(&[5, 5], &[0, 0]), None, "an empty window");
            assert_eq!(
                test(&[5, 0], &[7, 0]),
                None,
                "one category and an empty bin"
            );
            assert_eq!(test(&[5, 1], &[7]), None, "other bins");
        }
        let shares = |a, n, b, m| {
            compare_shares(Shares {
                reference_hits: a,
                reference_rows: n,
                current_hits: b,
                current_rows: m,
            })
        };
        assert_eq!(shares(0, 0, 1, 2), None);
        assert_eq!(shares(3, 2, 1, 2), None, "more hits than rows");
    }

    #[test]
    fn equal_counts_have_statistic_zero() {
        for test in [chi2, g_test] {
            let test = test(&[10, 20, 0], &[5, 10, 0]).expect("defined");
            assert_eq!((test.statistic, test.p_value), (0.0, PValue::ONE));
            assert_eq!(test.degrees_of_freedom, 1);
        }
    }

    #[test]
    fn huge_counts_do_not_overflow() {
        let test = chi2(&[u64::MAX, 5], &[u64::MAX, 7]).expect("defined");
        assert!(test.statistic.is_finite() && test.p_value.ln().is_finite());
    }

    #[test]
    fn shares_of_nothing_and_of_all_are_no_evidence() {
        for (hits, rows) in [(0, 1_000), (1_000, 1_000)] {
            let test = compare_shares(Shares {
                reference_hits: hits,
                reference_rows: rows,
                current_hits: hits / 10,
                current_rows: rows / 10,
            })
            .expect("defined");
            assert_eq!((test.difference, test.p_value), (0.0, PValue::ONE));
            assert!(test.interval.0 <= 0.0 && test.interval.1 >= 0.0);
        }
    }

    #[test]
    fn interval_of_a_difference_is_newcombes() {
        // Newcombe 1998, table II, example (a): 56/70 against 48/80 gives 0.0524 to 0.3339.
        let test = compare_shares(Shares {
            reference_hits: 48,
            reference_rows: 80,
            current_hits: 56,
            current_rows: 70,
        })
        .expect("defined");
        assert!((test.interval.0 - 0.0524).abs() < 5e-5, "{test:?}");
        assert!((test.interval.1 - 0.3339).abs() < 5e-5, "{test:?}");
    }
}
