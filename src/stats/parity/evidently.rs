//! Evidently 0.7: column drift by default settings, and its other distances.
//!
//! The choice depends on the reference's rows and on the distinct values of both sides together. Up to 1,000
//! rows it tests: Kolmogorov–Smirnov for numbers of more than 5 values, chi-square for more than 2, a z-test of
//! shares for 2, drift below a p-value of 0.05. Beyond, it takes a distance, drift from 0.1: Wasserstein over the
//! reference's deviation for numbers of more than 5 values, otherwise Jensen–Shannon with natural logarithms.
//!
//! Its bins for PSI and Jensen–Shannon are Sturges' over both samples together, so they move with the window;
//! numbers of at most 20 reference values are compared value by value. PSI fills a share of zero with 0.0001, or
//! with a millionth of the smallest share when that is smaller. Its chi-square test takes the reference's
//! shares as exact, so a category new in the window makes the p-value 0.

use super::{
    CategoryCounts, Mode, ParityResult, Threshold, binning, emptiness, paired, shares, with_choice,
};
use crate::stats::samples::{self, Sample};
use crate::stats::tails::{PValue, chi_square_tail, normal_two_sided};
use crate::stats::{distance, kolmogorov};

const KS: &str = "K-S p_value";
const CHI_SQUARE: &str = "chi-square p_value";
const Z_TEST: &str = "Z-test p_value";
const WASSERSTEIN: &str = "Wasserstein distance (normed)";
const JENSEN_SHANNON: &str = "Jensen-Shannon distance";
const PSI: &str = "PSI";
const HELLINGER: &str = "Hellinger distance";

/// Up to so many reference rows it tests, beyond it measures distances.
const SMALL_REFERENCE: usize = 1_000;
/// Numbers of at most so many reference values are compared value by value.
const FEW_VALUES: usize = 20;
const DISTANCE: Threshold = Threshold::AtLeast(0.1);
const P_VALUE: f64 = 0.05;
/// The largest sample SciPy's automatic choice computes exact Kolmogorov–Smirnov p-values for.
const EXACT_LIMIT: u64 = 10_000;

pub(super) fn numeric(reference: &[f64], current: &[f64]) -> Vec<ParityResult> {
    let (reference, current) = (Sample::of(reference), Sample::of(current));
    let (p, q) = binning::per_value(&reference, &current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Evidently, reason);
    }
    let choice = match (reference.len() <= SMALL_REFERENCE, p.len()) {
        (true, 6..) => KS,
        (true, 3..=5) => CHI_SQUARE,
        (true, _) => Z_TEST,
        (false, 6..) => WASSERSTEIN,
        (false, _) => JENSEN_SHANNON,
    };
    let mut results = vec![
        ParityResult::tested(
            Mode::Evidently,
            KS,
            kolmogorov_smirnov(&reference, &current).map(PValue::value),
            Threshold::AtMost(P_VALUE),
        ),
        distance(
            WASSERSTEIN,
            samples::wasserstein_normalised(&reference, &current),
        ),
    ];
    results.extend(of_bins(
        numeric_shares(&reference, &current),
        hellinger_of_numbers(&reference, &current),
    ));
    results.extend(tests(&p, &q));
    with_choice(results, choice)
}

pub(super) fn categorical(
    reference: &CategoryCounts,
    current: &CategoryCounts,
) -> Vec<ParityResult> {
    let (p, q) = paired(reference, current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Evidently, reason);
    }
    let rows: u64 = p.iter().sum();
    let choice = match (rows <= SMALL_REFERENCE as u64, p.len()) {
        (true, 3..) => CHI_SQUARE,
        (true, _) => Z_TEST,
        (false, _) => JENSEN_SHANNON,
    };
    let pair = (shares(&p), shares(&q));
    let hellinger = bhattacharyya(&pair.0, &pair.1);
    let mut results = of_bins(Some(pair), Some(hellinger));
    results.extend(tests(&p, &q));
    with_choice(results, choice)
}

fn distance(method: &'static str, value: Option<f64>) -> ParityResult {
    ParityResult::judged(Mode::Evidently, method, value, Some(DISTANCE))
}

fn of_bins(pair: Option<(Vec<f64>, Vec<f64>)>, hellinger: Option<f64>) -> Vec<ParityResult> {
    let over =
        |measure: fn(&[f64], &[f64]) -> Option<f64>| pair.as_ref().and_then(|(p, q)| measure(p, q));
    vec![
        distance(JENSEN_SHANNON, over(jensen_shannon)),
        distance(PSI, over(psi)),
        distance(HELLINGER, hellinger),
    ]
}

fn tests(p: &[u64], q: &[u64]) -> [ParityResult; 2] {
    [
        ParityResult::tested(
            Mode::Evidently,
            CHI_SQUARE,
            goodness_of_fit(p, q),
            Threshold::Below(P_VALUE),
        ),
        ParityResult::tested(
            Mode::Evidently,
            Z_TEST,
            z_test(p, q),
            Threshold::Below(P_VALUE),
        ),
    ]
}

/// The p-value by SciPy's automatic choice: exact while both samples are at most 10,000.
fn kolmogorov_smirnov(reference: &Sample, current: &Sample) -> Option<PValue> {
    let (n, m) = (reference.len() as u64, current.len() as u64);
    let statistic = samples::kolmogorov_smirnov(reference, current)?;
    let exact = (n.max(m) <= EXACT_LIMIT)
        .then(|| kolmogorov::exact(statistic, n, m))
        .flatten();
    exact.or_else(|| kolmogorov::asymptotic(statistic, n, m))
}

/// Shares over Sturges' bins of both samples, or over the values when the reference has few.
fn numeric_shares(reference: &Sample, current: &Sample) -> Option<(Vec<f64>, Vec<f64>)> {
    if reference.distinct() <= FEW_VALUES {
        let (p, q) = binning::per_value(reference, current);
        return Some((shares(&p), shares(&q)));
    }
    let edges = binning::sturges(&binning::pooled(reference, current))?;
    Some((
        shares(&binning::counts(reference.sorted(), &edges)),
        shares(&binning::counts(current.sorted(), &edges)),
    ))
}

/// Distance with natural logarithms: at most `√ln 2`.
fn jensen_shannon(reference: &[f64], current: &[f64]) -> Option<f64> {
    let base_two = distance::jensen_shannon(reference, current)?;
    Some(base_two * std::f64::consts::LN_2.sqrt())
}

fn psi(reference: &[f64], current: &[f64]) -> Option<f64> {
    let (p, q) = (filled(reference), filled(current));
    let parts = p.iter().zip(&q).map(|(p, q)| (p - q) * (p / q).ln());
    Some(parts.sum())
}

/// Shares of zero replaced, each side by itself.
fn filled(shares: &[f64]) -> Vec<f64> {
    let smallest = shares.iter().copied().filter(|share| *share > 0.0);
    let smallest = smallest.fold(f64::INFINITY, f64::min);
    let stand_in = if smallest <= 1e-4 {
        smallest / 1e6
    } else {
        1e-4
    };
    let fill = |share: &f64| if *share == 0.0 { stand_in } else { *share };
    shares.iter().map(fill).collect()
}

/// Over Sturges' bins of the distinct values of both sides.
fn hellinger_of_numbers(reference: &Sample, current: &Sample) -> Option<f64> {
    let mut distinct = binning::pooled(reference, current);
    distinct.dedup();
    let edges = binning::sturges(&distinct)?;
    Some(bhattacharyya(
        &shares(&binning::counts(reference.sorted(), &edges)),
        &shares(&binning::counts(current.sorted(), &edges)),
    ))
}

/// `√(1 − Σ √(p q))`.
fn bhattacharyya(p: &[f64], q: &[f64]) -> f64 {
    let overlap: f64 = p.iter().zip(q).map(|(p, q)| (p * q).sqrt()).sum();
    (1.0 - overlap.min(1.0)).sqrt()
}

/// Chi-square with the reference's counts, scaled to the window's size, as exact expectations. A category that
/// the reference lacks is infinitely unexpected.
fn goodness_of_fit(reference: &[u64], current: &[u64]) -> Option<f64> {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let scale = total(current) / total(reference);
    let statistic: f64 = reference
        .iter()
        .zip(current)
        .map(|(p, q)| {
            let expected = *p as f64 * scale;
            (*q as f64 - expected).powi(2) / expected
        })
        .sum();
    let freedom = reference.len().checked_sub(1).filter(|f| *f > 0)?;
    chi_square_tail(statistic, freedom as f64).map(PValue::value)
}

/// The pooled two-sided test of the first category's share. Only for at most two categories.
fn z_test(reference: &[u64], current: &[u64]) -> Option<f64> {
    if reference.len() > 2 {
        return None;
    }
    if reference.len() == 1 {
        return Some(1.0);
    }
    let (n, m) = (
        reference.iter().sum::<u64>() as f64,
        current.iter().sum::<u64>() as f64,
    );
    let (a, b) = (reference[0] as f64, current[0] as f64);
    let pooled = (a + b) / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    normal_two_sided((a / n - b / m) / error).map(PValue::value)
}
