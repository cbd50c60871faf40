//! Azure Machine Learning model monitoring: data drift by the defaults of its SDK.
//!
//! Numbers by the Wasserstein distance over the reference's deviation (at least 0.001), categories by the
//! Jensen–Shannon distance to base 2, both with threshold 0.1. Its other metrics use `⌈log₂ n + 1⌉` equal bins
//! over the range of both samples, `n` being the smaller one; PSI adds one to every count; Kolmogorov–Smirnov
//! refuses 10,000 rows and more on either side; chi-square scales the reference to the window's size. It is not
//! published whether a value equal to the threshold counts; here it does not.

use super::{
    CategoryCounts, Mode, ParityResult, Threshold, binning, emptiness, paired, shares, with_choice,
};
use crate::stats::samples::{self, Sample};
use crate::stats::tails::{PValue, chi_square_tail};
use crate::stats::{distance, kolmogorov};

const WASSERSTEIN: &str = "NormalizedWassersteinDistance";
const JENSEN_SHANNON: &str = "JensenShannonDistance";
const PSI: &str = "PopulationStabilityIndex";
const KS: &str = "TwoSampleKolmogorovSmirnovTest";
const CHI_SQUARE: &str = "PearsonsChiSquaredTest";

const DEFAULT: Option<Threshold> = Some(Threshold::Above(0.1));
/// From so many rows on its Kolmogorov–Smirnov test raises an error.
const KS_LIMIT: usize = 10_000;

pub(super) fn numeric(reference: &[f64], current: &[f64]) -> Vec<ParityResult> {
    let (reference, current) = (Sample::of(reference), Sample::of(current));
    if reference.is_empty() {
        return ParityResult::undefined(Mode::Azure, super::NO_REFERENCE);
    }
    if current.is_empty() {
        return ParityResult::undefined(Mode::Azure, super::NO_CURRENT);
    }
    let bins = binned(&reference, &current);
    let over =
        |measure: fn(&[u64], &[u64]) -> Option<f64>| bins.as_ref().and_then(|(p, q)| measure(p, q));
    let result =
        |method, value, threshold| ParityResult::judged(Mode::Azure, method, value, threshold);
    let small = reference.len().max(current.len()) < KS_LIMIT;
    let p_value = samples::kolmogorov_smirnov(&reference, &current)
        .filter(|_| small)
        .and_then(|d| kolmogorov::exact(d, reference.len() as u64, current.len() as u64))
        .map(PValue::value);
    let mut ks = result(KS, p_value, None);
    ks.p_value = ks.value;
    let results = vec![
        result(
            WASSERSTEIN,
            samples::wasserstein_normalised(&reference, &current),
            DEFAULT,
        ),
        result(JENSEN_SHANNON, over(jensen_shannon), DEFAULT),
        result(PSI, over(psi), None),
        ks,
    ];
    with_choice(results, WASSERSTEIN)
}

pub(super) fn categorical(
    reference: &CategoryCounts,
    current: &CategoryCounts,
) -> Vec<ParityResult> {
    let (p, q) = paired(reference, current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Azure, reason);
    }
    let mut chi_square =
        ParityResult::judged(Mode::Azure, CHI_SQUARE, scaled_chi_square(&p, &q), None);
    chi_square.p_value = chi_square.value;
    let results = vec![
        ParityResult::judged(Mode::Azure, JENSEN_SHANNON, jensen_shannon(&p, &q), DEFAULT),
        ParityResult::judged(Mode::Azure, PSI, psi(&p, &q), None),
        chi_square,
    ];
    with_choice(results, JENSEN_SHANNON)
}

fn binned(reference: &Sample, current: &Sample) -> Option<(Vec<u64>, Vec<u64>)> {
    let pooled = binning::pooled(reference, current);
    let (first, last) = (*pooled.first()?, *pooled.last()?);
    if !(last - first).is_finite() {
        return None;
    }
    let smaller = reference.len().min(current.len()) as f64;
    let edges = binning::equal_edges(first, last, (smaller.log2() + 1.0).ceil() as usize);
    Some((
        binning::counts(reference.sorted(), &edges),
        binning::counts(current.sorted(), &edges),
    ))
}

fn jensen_shannon(p: &[u64], q: &[u64]) -> Option<f64> {
    distance::jensen_shannon(&shares(p), &shares(q))
}

/// One is added to every bin of both sides before shares are taken.
fn psi(p: &[u64], q: &[u64]) -> Option<f64> {
    let smoothed = |counts: &[u64]| shares(&counts.iter().map(|c| c + 1).collect::<Vec<u64>>());
    let (p, q) = (smoothed(p), smoothed(q));
    Some(p.iter().zip(&q).map(|(p, q)| (q - p) * (q / p).ln()).sum())
}

fn scaled_chi_square(p: &[u64], q: &[u64]) -> Option<f64> {
    let scale = q.iter().sum::<u64>() as f64 / p.iter().sum::<u64>() as f64;
    let statistic: f64 = p
        .iter()
        .zip(q)
        .map(|(p, q)| (*q as f64 - *p as f64 * scale).powi(2) / (*p as f64 * scale))
        .sum();
    let freedom = p.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    chi_square_tail(statistic, freedom as f64).map(PValue::value)
}
