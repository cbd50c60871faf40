//! NannyML 0.13: univariate drift.
//!
//! Its default for both types is the Jensen–Shannon distance to base 2. Bins are fixed by the reference alone,
//! by Doane's rule, and what falls outside goes into one further bin that is empty in the reference; columns of
//! an integer type with at most 50 values, that are at most a tenth of the rows, are compared value by value.
//! Categories unseen in the reference share one bin. Kolmogorov–Smirnov and Wasserstein are exact below 10,000
//! reference rows and use 10,000 equal bins of the reference's range from there on. Chi-square is that of the
//! two-sample table with Yates' correction for two categories, and alerts below a p-value of 0.05.
//!
//! Every other threshold is learned: the mean plus three standard deviations of the values that chunks of the
//! reference get, held against the whole. A value above it is an alert. Chunks are of rows: what is missing is left out of
//! each, and not before they are cut.

use super::{
    CategoryCounts, Mode, NumberKind, ParityResult, Threshold, binning, emptiness, paired,
    with_choice,
};
use crate::stats::samples::{self, Sample};
use crate::stats::tails::{PValue, chi_square_tail};
use crate::stats::{contingency, distance};

const JENSEN_SHANNON: &str = "jensen_shannon";
const HELLINGER: &str = "hellinger";
const KS: &str = "kolmogorov_smirnov";
const WASSERSTEIN: &str = "wasserstein";
const L_INFINITY: &str = "l_infinity";
const CHI2: &str = "chi2";

/// The number of chunks the reference is cut into when nothing else is said.
pub const DEFAULT_CHUNKS: usize = 10;

/// From so many reference rows on, Kolmogorov–Smirnov and Wasserstein use as many equal bins.
const BINNED_FROM: usize = 10_000;

/// How many rows a chunk of a reference has.
#[must_use]
pub fn chunk_length(rows: usize) -> usize {
    (rows / DEFAULT_CHUNKS).max(1)
}

/// Learns a threshold from the values of the reference's chunks: mean plus three population deviations, no more
/// than the largest value the method can have.
#[must_use]
pub fn learned_threshold(chunks: &[f64], highest: Option<f64>) -> Option<f64> {
    let known = Sample::of(chunks);
    let limit = known.mean()? + 3.0 * known.deviation()?;
    Some(highest.map_or(limit, |highest| limit.min(highest)))
}

/// The distances of one reference, of which chunks and windows are asked.
#[derive(Debug, Clone)]
pub struct NumericReference {
    sample: Sample,
    /// `None` when values are compared one by one.
    edges: Option<Vec<f64>>,
    counts: Vec<u64>,
    values: Vec<f64>,
    fine: Option<Fine>,
}

/// The 10,000 bins.
#[derive(Debug, Clone)]
struct Fine {
    edges: Vec<f64>,
    counts: Vec<u64>,
}

impl NumericReference {
    /// `None` without finite values, or when their range is no number.
    #[must_use]
    pub fn of(values: &[f64], kind: NumberKind) -> Option<Self> {
        let sample = Sample::of(values);
        let (first, last) = (*sample.sorted().first()?, *sample.sorted().last()?);
        if !(last - first).is_finite() {
            return None;
        }
        let distinct = sample.distinct();
        let few = distinct <= 50 && distinct as f64 / sample.len() as f64 <= 0.1;
        let one_by_one = kind == NumberKind::Integer && few;
        let mut values = sample.sorted().to_vec();
        values.dedup();
        let edges = if one_by_one {
            None
        } else {
            Some(binning::doane(&sample)?)
        };
        let counts = match &edges {
            Some(edges) => binning::counts(sample.sorted(), edges),
            None => binning::per_value(&sample, &sample).0,
        };
        let fine = (sample.len() >= BINNED_FROM).then(|| {
            let edges = binning::equal_edges(first, last, BINNED_FROM);
            Fine {
                counts: binning::counts(sample.sorted(), &edges),
                edges,
            }
        });
        Some(Self {
            sample,
            edges,
            counts,
            values,
            fine,
        })
    }

    /// Shares of both sides, with one more bin when the window has values outside.
    fn shares(&self, current: &Sample) -> (Vec<f64>, Vec<f64>) {
        let inside = match &self.edges {
            Some(edges) => binning::counts(current.sorted(), edges),
            None => self
                .values
                .iter()
                .map(|value| {
                    let from = current.sorted().partition_point(|v| v < value);
                    current.sorted()[from..].partition_point(|v| v <= value) as u64
                })
                .collect(),
        };
        let outside = current.len() as u64 - inside.iter().sum::<u64>();
        with_leftover(
            self.counts.clone(),
            inside,
            outside,
            self.sample.len() as f64,
            current.len() as f64,
        )
    }

    /// Jensen–Shannon distance to base 2; `None` without values.
    #[must_use]
    pub fn jensen_shannon(&self, current: &Sample) -> Option<f64> {
        let (p, q) = self.shares(current);
        distance::jensen_shannon(&p, &q)
    }

    /// Hellinger distance; `None` without values.
    #[must_use]
    pub fn hellinger(&self, current: &Sample) -> Option<f64> {
        let (p, q) = self.shares(current);
        distance::hellinger(&p, &q)
    }

    /// Kolmogorov–Smirnov statistic; `None` without values.
    #[must_use]
    pub fn kolmogorov_smirnov(&self, current: &Sample) -> Option<f64> {
        let Some(fine) = &self.fine else {
            return samples::kolmogorov_smirnov(&self.sample, current);
        };
        if current.is_empty() {
            return None;
        }
        let (n, m) = (self.sample.len() as f64, current.len() as f64);
        let below = current.sorted().partition_point(|v| *v < fine.edges[0]);
        let inside = binning::counts(current.sorted(), &fine.edges);
        let (mut reference, mut window, mut largest) = (0, below as u64, 0.0_f64);
        for (p, q) in fine.counts.iter().zip(inside) {
            reference += p;
            window += q;
            largest = largest.max((reference as f64 / n - window as f64 / m).abs());
        }
        Some(largest)
    }

    /// Wasserstein distance in the unit of the values, bins standing at their left edge; `None` without values.
    ///
    /// When the window has values below the reference's smallest, NannyML counts that smallest value as one more of
    /// the window's wherever the reference has bins. It does so here, too: up to half a percent of the exact distance.
    #[must_use]
    pub fn wasserstein(&self, current: &Sample) -> Option<f64> {
        let Some(fine) = &self.fine else {
            return samples::wasserstein(&self.sample, current);
        };
        if current.is_empty() {
            return None;
        }
        let (first, last) = (fine.edges[0], fine.edges[BINNED_FROM]);
        let outside = current
            .sorted()
            .iter()
            .filter(|value| **value < first || **value > last);
        let reaches_below = current.sorted().first().is_some_and(|least| *least < first);
        let inside = binning::counts(current.sorted(), &fine.edges);
        let mut masses: Vec<(f64, i128)> = Vec::with_capacity(BINNED_FROM + 16);
        let (n, m) = (self.sample.len() as i128, current.len() as i128);
        for ((edge, p), q) in fine.edges.iter().zip(&fine.counts).zip(inside) {
            masses.push((*edge, i128::from(*p) * m - i128::from(q) * n));
        }
        masses.extend(outside.map(|value| (*value, -n)));
        if reaches_below {
            masses.extend([(first, -n), (last, n)]);
        }
        masses.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut gap, mut area) = (0_i128, 0.0);
        for pair in masses.windows(2) {
            gap += pair[0].1;
            area += gap.unsigned_abs() as f64 * (pair[1].0 - pair[0].0);
        }
        let area = area / (n * m) as f64;
        area.is_finite().then_some(area)
    }
}

/// Adds the bin that only the window has.
fn with_leftover(
    reference: Vec<u64>,
    mut inside: Vec<u64>,
    outside: u64,
    n: f64,
    m: f64,
) -> (Vec<f64>, Vec<f64>) {
    let mut known = reference;
    if outside > 0 {
        known.push(0);
        inside.push(outside);
    }
    (
        known.iter().map(|count| *count as f64 / n).collect(),
        inside.iter().map(|count| *count as f64 / m).collect(),
    )
}

pub(super) fn numeric(reference: &[f64], current: &[f64], kind: NumberKind) -> Vec<ParityResult> {
    let finite: Vec<f64> = reference
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    let window = Sample::of(current);
    if finite.is_empty() {
        return ParityResult::undefined(Mode::Nannyml, super::NO_REFERENCE);
    }
    if window.is_empty() {
        return ParityResult::undefined(Mode::Nannyml, super::NO_CURRENT);
    }
    let Some(known) = NumericReference::of(&finite, kind) else {
        return ParityResult::undefined(Mode::Nannyml, "the range of the reference is no number");
    };
    let chunks: Vec<Sample> = reference
        .chunks(chunk_length(reference.len()))
        .map(Sample::of)
        .collect();
    type Method = fn(&NumericReference, &Sample) -> Option<f64>;
    let methods: [(&'static str, Method, Option<f64>); 4] = [
        (JENSEN_SHANNON, NumericReference::jensen_shannon, Some(1.0)),
        (HELLINGER, NumericReference::hellinger, Some(1.0)),
        (KS, NumericReference::kolmogorov_smirnov, Some(1.0)),
        (WASSERSTEIN, NumericReference::wasserstein, None),
    ];
    let results = methods.into_iter().map(|(name, method, highest)| {
        let learned: Vec<f64> = chunks
            .iter()
            .filter_map(|chunk| method(&known, chunk))
            .collect();
        let threshold = learned_threshold(&learned, highest).map(Threshold::Above);
        ParityResult::judged(Mode::Nannyml, name, method(&known, &window), threshold)
    });
    with_choice(results.collect(), JENSEN_SHANNON)
}

/// `chunks` are the parts of the reference that thresholds are learned from; without them only chi-square, whose
/// threshold is fixed, gets a verdict.
pub(super) fn categorical(
    reference: &CategoryCounts,
    chunks: &[CategoryCounts],
    current: &CategoryCounts,
) -> Vec<ParityResult> {
    let (p, q) = paired(reference, current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Nannyml, reason);
    }
    let chunks: Vec<(Vec<u64>, Vec<u64>)> = chunks
        .iter()
        .map(|chunk| paired(reference, chunk))
        .collect();
    let learned = |name, method: fn(&[u64], &[u64]) -> Option<f64>| {
        let values: Vec<f64> = chunks.iter().filter_map(|(p, q)| method(p, q)).collect();
        let threshold = learned_threshold(&values, Some(1.0)).map(Threshold::Above);
        ParityResult::judged(Mode::Nannyml, name, method(&p, &q), threshold)
    };
    let (statistic, p_value) = corrected_chi2(&p, &q).unzip();
    let mut chi2 = ParityResult::tested(Mode::Nannyml, CHI2, p_value, Threshold::Below(0.05));
    chi2.value = statistic;
    let results = vec![
        learned(JENSEN_SHANNON, |p, q| {
            let (p, q) = lumped(p, q);
            distance::jensen_shannon(&p, &q)
        }),
        learned(HELLINGER, |p, q| {
            let (p, q) = lumped(p, q);
            distance::hellinger(&p, &q)
        }),
        learned(L_INFINITY, |p, q| {
            distance::l_infinity(&super::shares(p), &super::shares(q))
        }),
        chi2,
    ];
    with_choice(results, JENSEN_SHANNON)
}

/// Shares with all categories unseen in the reference in one bin.
fn lumped(p: &[u64], q: &[u64]) -> (Vec<f64>, Vec<f64>) {
    let (n, m) = (p.iter().sum::<u64>() as f64, q.iter().sum::<u64>() as f64);
    let pairs = || p.iter().copied().zip(q.iter().copied());
    let (known, inside) = pairs().filter(|(p, _)| *p > 0).unzip();
    let outside = pairs().filter(|(p, _)| *p == 0).map(|(_, q)| q).sum();
    with_leftover(known, inside, outside, n, m)
}

/// Statistic and p-value of the two-sample table, with Yates' correction for two categories.
fn corrected_chi2(p: &[u64], q: &[u64]) -> Option<(f64, f64)> {
    if p.len() != 2 {
        return contingency::chi2(p, q).map(|test| (test.statistic, test.p_value.value()));
    }
    let (n, m) = (p.iter().sum::<u64>() as f64, q.iter().sum::<u64>() as f64);
    let mut statistic = 0.0;
    for (p, q) in p.iter().zip(q) {
        let column = (p + q) as f64;
        for (observed, row) in [(*p as f64, n), (*q as f64, m)] {
            let expected = row * column / (n + m);
            let gap = (observed - expected).abs();
            statistic += (gap - gap.min(0.5)).powi(2) / expected;
        }
    }
    chi_square_tail(statistic, 1.0)
        .map(PValue::value)
        .map(|p_value| (statistic, p_value))
}
