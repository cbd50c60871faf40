//! Azure Machine Learning model monitoring: data drift by the defaults of its SDK, computed as its published
//! components do (Azure/azureml-assets, `assets/model_monitoring/components`).
//!
//! Numbers by the Wasserstein distance over the reference's deviation (divided by n − 1, at least 0.001),
//! categories by the Jensen–Shannon distance to base 2, both with threshold 0.1, above which a value must be. Its
//! other metrics use `⌈log₂ n + 1⌉` equal bins over the range of both samples, `n` being the smaller one, and one
//! bin where both are the same constant; PSI adds one to every count; Kolmogorov–Smirnov refuses 10,000 rows and
//! more on either side; chi-square scales the reference to the window's size.

use super::{
    CategoryCounts, Mode, ParityResult, Threshold, emptiness, paired, shares, with_choice,
};
use crate::stats::samples::{self, Sample};
use crate::stats::tails::{PValue, chi_square_tail};
use crate::stats::{distance, kolmogorov};

const WASSERSTEIN: &str = "NormalizedWassersteinDistance";
const JENSEN_SHANNON: &str = "JensenShannonDistance";
const PSI: &str = "PopulationStabilityIndex";
const KS: &str = "TwoSampleKolmogorovSmirnovTest";
const CHI_SQUARE: &str = "PearsonsChiSquaredTest";

/// The smallest deviation the Wasserstein distance is divided by.
const DEVIATION_FLOOR: f64 = 0.001;
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
    let counts = Bins::of(&reference, &current).map(|bins| {
        let side = |sample: &Sample| Counts {
            of_bins: bins.counts(sample),
            rows: sample.len() as u64,
        };
        (side(&reference), side(&current))
    });
    let over = |measure: fn(&Counts, &Counts) -> Option<f64>| {
        counts.as_ref().and_then(|(p, q)| measure(p, q))
    };
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
            wasserstein_normalised(&reference, &current),
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
    let (p, q) = (Counts::of_categories(p), Counts::of_categories(q));
    let results = vec![
        ParityResult::judged(Mode::Azure, JENSEN_SHANNON, jensen_shannon(&p, &q), DEFAULT),
        ParityResult::judged(Mode::Azure, PSI, psi(&p, &q), None),
        chi_square,
    ];
    with_choice(results, JENSEN_SHANNON)
}

/// Spark's deviation, which divides by n − 1; without one, of a single row, its component fails.
fn wasserstein_normalised(reference: &Sample, current: &Sample) -> Option<f64> {
    let n = reference.len() as f64;
    let deviation = (n > 1.0)
        .then(|| reference.deviation())
        .flatten()
        .map(|deviation| deviation * (n / (n - 1.0)).sqrt())?;
    Some(samples::wasserstein(reference, current)? / deviation.max(DEVIATION_FLOOR))
}

/// Steps that differ by less are equal to Spark.
const EVEN: f64 = 1e-10;

/// The bins of both samples as Spark counts in them: the lowest value and steps of one width, so that rounding may leave the
/// highest value outside of all.
struct Bins {
    edges: Vec<f64>,
}

impl Bins {
    /// `None` where the range is no number.
    fn of(reference: &Sample, current: &Sample) -> Option<Self> {
        let ends = |sample: &Sample| Some((*sample.sorted().first()?, *sample.sorted().last()?));
        let (one, other) = (ends(reference)?, ends(current)?);
        let (first, last) = (one.0.min(other.0), one.1.max(other.1));
        if first == last {
            return Some(Self {
                edges: vec![first, last],
            });
        }
        let smaller = reference.len().min(current.len()) as f64;
        let bins = (smaller.log2() + 1.0).ceil();
        let width = (last - first) / bins;
        let edges = (0..=bins as usize).map(|bin| first + bin as f64 * width);
        width.is_finite().then(|| Self {
            edges: edges.collect(),
        })
    }

    /// Even steps are counted by dividing, others by looking for the edge; the two differ where a value is at an edge.
    fn counts(&self, sample: &Sample) -> Vec<u64> {
        let bins = self.edges.len() - 1;
        let (first, last) = (self.edges[0], self.edges[bins]);
        let steps = || self.edges.windows(2).map(|edges| edges[1] - edges[0]);
        let (most, least) = (
            steps().fold(f64::MIN, f64::max),
            steps().fold(f64::MAX, f64::min),
        );
        let step = (last - first) / bins as f64;
        let mut counts = vec![0; bins];
        for value in sample.sorted().iter().filter(|value| **value <= last) {
            let bin = if step > 0.0 && most - least < EVEN {
                ((value - first) / step) as usize
            } else {
                self.edges.partition_point(|edge| edge <= value) - 1
            };
            counts[bin.min(bins - 1)] += 1;
        }
        counts
    }
}

/// The rows in each bin, and in all: one may be in none.
struct Counts {
    of_bins: Vec<u64>,
    rows: u64,
}

impl Counts {
    fn of_categories(of_bins: Vec<u64>) -> Self {
        let rows = of_bins.iter().sum();
        Self { of_bins, rows }
    }
}

fn jensen_shannon(p: &Counts, q: &Counts) -> Option<f64> {
    distance::jensen_shannon(&shares(&p.of_bins), &shares(&q.of_bins))
}

/// One is added to every bin of both sides before shares are taken.
fn psi(p: &Counts, q: &Counts) -> Option<f64> {
    let smoothed = |counts: &Counts| -> Vec<f64> {
        let total = (counts.rows + counts.of_bins.len() as u64) as f64;
        let of_bins = counts.of_bins.iter();
        of_bins.map(|count| (count + 1) as f64 / total).collect()
    };
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
