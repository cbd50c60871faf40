//! SageMaker Model Monitor: the distribution constraints it suggests for a baseline.
//!
//! The service compares distributions with Deequ, whose distances are published (awslabs/deequ,
//! `analyzers/Distance.scala`). A suggested `constraints.json` has the comparison method Robust, LInfinity for
//! categories, and the threshold 0.1, above which a value is a violation. Simple is the largest distance of the two
//! empirical distribution functions, or of two shares; Robust takes from it what samples of these sizes differ by,
//! `1.8 √((n + m) / nm)`, and is at least 0. ChiSquared is the p-value over the baseline's categories, small ones
//! merged; which side of its threshold is a violation is not published. The service works from sketches (KLL), we
//! from the values.

use super::{
    CategoryCounts, Mode, ParityResult, Threshold, emptiness, paired, shares, with_choice,
};
use crate::stats::distance;
use crate::stats::samples::{self, Sample};
use crate::stats::tails::{PValue, chi_square_tail};

const ROBUST: &str = "Robust";
const SIMPLE: &str = "Simple";
const L_INFINITY_ROBUST: &str = "LInfinity (Robust)";
const L_INFINITY_SIMPLE: &str = "LInfinity (Simple)";
const CHI_SQUARED: &str = "ChiSquared";
const DEFAULT: Option<Threshold> = Some(Threshold::Above(0.1));

/// Knuth's factor for a level of 0.003 (The Art of Computer Programming 2, 3.3.1), which Deequ takes by default.
const CRITICAL: f64 = 1.8;

pub(super) fn numeric(reference: &[f64], current: &[f64]) -> Vec<ParityResult> {
    let (reference, current) = (Sample::of(reference), Sample::of(current));
    if reference.is_empty() {
        return ParityResult::undefined(Mode::Sagemaker, super::NO_REFERENCE);
    }
    if current.is_empty() {
        return ParityResult::undefined(Mode::Sagemaker, super::NO_CURRENT);
    }
    let simple = samples::kolmogorov_smirnov(&reference, &current);
    let (n, m) = (reference.len() as f64, current.len() as f64);
    let result = |method, value| ParityResult::judged(Mode::Sagemaker, method, value, DEFAULT);
    let results = vec![
        result(ROBUST, simple.map(|simple| robust(simple, n, m))),
        result(SIMPLE, simple),
    ];
    with_choice(results, ROBUST)
}

pub(super) fn categorical(
    reference: &CategoryCounts,
    current: &CategoryCounts,
) -> Vec<ParityResult> {
    let (p, q) = paired(reference, current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Sagemaker, reason);
    }
    let simple = distance::l_infinity(&shares(&p), &shares(&q));
    let (n, m) = (p.iter().sum::<u64>() as f64, q.iter().sum::<u64>() as f64);
    let judged = |method, value, limit| ParityResult::judged(Mode::Sagemaker, method, value, limit);
    let mut chi_squared = judged(CHI_SQUARED, chi_squared(&p, &q), None);
    chi_squared.p_value = chi_squared.value;
    let results = vec![
        judged(
            L_INFINITY_ROBUST,
            simple.map(|simple| robust(simple, n, m)),
            DEFAULT,
        ),
        judged(L_INFINITY_SIMPLE, simple, DEFAULT),
        chi_squared,
    ];
    with_choice(results, L_INFINITY_ROBUST)
}

fn robust(simple: f64, n: f64, m: f64) -> f64 {
    (simple - CRITICAL * ((n + m) / (n * m)).sqrt()).max(0.0)
}

/// The p-value over the categories of the reference, whose shares are scaled to the window's rows in them; `None` where
/// less than two are left after merging. Of equally small categories the first in the alphabet is merged first, which
/// Deequ leaves to chance.
fn chi_squared(reference: &[u64], current: &[u64]) -> Option<f64> {
    let known = || (reference.iter().zip(current)).filter(|(expected, _)| **expected > 0);
    let rows: f64 = known().map(|(_, observed)| *observed as f64).sum();
    let total: f64 = known().map(|(expected, _)| *expected as f64).sum();
    let mut cells: Vec<(f64, f64)> = known()
        .map(|(expected, observed)| (*expected as f64 / total * rows, *observed as f64))
        .collect();
    while has_too_many_small(&cells) {
        let (expected, observed) = cells.remove(smallest(&cells)?);
        let next = smallest(&cells)?;
        cells[next].0 += expected;
        cells[next].1 += observed;
    }
    if cells.len() < 2 {
        return None;
    }
    let statistic = (cells.iter())
        .map(|(expected, observed)| (observed - expected).powi(2) / expected)
        .sum();
    chi_square_tail(statistic, (cells.len() - 1) as f64).map(PValue::value)
}

/// Whether a category must be merged: of two, when either is expected less than ten times; of more, when over a fifth
/// are expected less than five times.
fn has_too_many_small(cells: &[(f64, f64)]) -> bool {
    let (least, tolerated) = match cells.len() {
        0 | 1 => return false,
        2 => (10.0, 0),
        more => (5.0, more / 5),
    };
    let small = cells.iter().filter(|(expected, _)| *expected < least);
    small.count() > tolerated
}

fn smallest(cells: &[(f64, f64)]) -> Option<usize> {
    (0..cells.len()).min_by(|a, b| cells[*a].0.total_cmp(&cells[*b].0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> CategoryCounts {
        let named = pairs.iter();
        named
            .map(|(name, rows)| ((*name).to_owned(), *rows))
            .collect()
    }

    fn value(results: &[ParityResult], method: &str) -> Option<f64> {
        let found = results.iter().find(|result| result.method == method);
        found.expect("listed").value
    }

    #[test]
    fn the_values_are_those_of_deequs_own_tests() {
        let numbers = numeric(&[1.0, 2.0, 3.0, 4.0], &[2.0, 3.0, 4.0, 5.0]);
        assert_eq!(value(&numbers, SIMPLE), Some(0.25));
        assert_eq!(value(&numbers, ROBUST), Some(0.0));
        let first = counts(&[("a", 10), ("b", 20), ("c", 25), ("d", 10), ("e", 5)]);
        for (second, simple) in [
            (
                counts(&[("a", 11), ("b", 20), ("c", 25), ("d", 10), ("e", 10)]),
                0.060_150_375_939_849_62,
            ),
            (
                counts(&[("f", 11), ("a", 20), ("c", 25), ("d", 10), ("e", 10)]),
                0.285_714_285_714_285_7,
            ),
        ] {
            let results = categorical(&first, &second);
            let off = value(&results, L_INFINITY_SIMPLE).expect("a value") - simple;
            assert!(off.abs() < 1e-15, "{off}");
            assert_eq!(value(&results, L_INFINITY_ROBUST), Some(0.0));
        }
    }

    #[test]
    fn small_categories_are_merged_and_new_ones_left_out() {
        let chi = |reference: &[(&str, u64)], current: &[(&str, u64)]| {
            value(
                &categorical(&counts(reference), &counts(current)),
                CHI_SQUARED,
            )
        };
        let plain = chi(&[("a", 60), ("b", 40)], &[("a", 45), ("b", 55)]);
        // Rows of a category that the reference does not have count nowhere.
        let with_new = chi(
            &[("a", 60), ("b", 40)],
            &[("a", 45), ("b", 55), ("new", 900)],
        );
        assert_eq!(plain, with_new);
        let merged = chi(
            &[("a", 600), ("b", 397), ("c", 1), ("d", 2)],
            &[("a", 45), ("b", 52), ("c", 2), ("d", 1)],
        );
        let by_hand = chi(&[("a", 600), ("b", 400)], &[("a", 45), ("b", 55)]);
        assert!((merged.expect("two are left") - by_hand.expect("two")).abs() < 1e-15);
        assert_eq!(
            chi(&[("a", 60), ("b", 40)], &[("a", 5), ("b", 5)]),
            None,
            "expected less than ten times"
        );
    }
}
