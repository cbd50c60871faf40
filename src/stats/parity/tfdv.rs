//! TensorFlow Data Validation 1.16: the two measures of its drift and skew comparators.
//!
//! Categories by L-infinity or by the Jensen–Shannon divergence (base 2, no square root), numbers by the
//! divergence. There is no threshold unless one is given, so there is no verdict either.
//!
//! Numbers are compared over two histograms of ten equal bins, one of each side's own range, cut at the edges of
//! both and spread evenly inside a bin. The tool makes its histograms from a quantile sketch, we from the values,
//! so its numbers differ from ours: by 0.6 % in the median on the flights, and wholly where a column has few
//! values. A column that is constant on one side gets divergence 1 from the tool, whatever the other side is, unless
//! that is the same constant; and it does here.

use super::{CategoryCounts, Mode, ParityResult, binning, emptiness, paired, shares, with_choice};
use crate::stats::distance;
use crate::stats::samples::Sample;

const L_INFINITY: &str = "L_INFTY";
const DIVERGENCE: &str = "JENSEN_SHANNON_DIVERGENCE";
const BUCKETS: usize = 10;

pub(super) fn numeric(reference: &[f64], current: &[f64]) -> Vec<ParityResult> {
    let (reference, current) = (Sample::of(reference), Sample::of(current));
    if reference.is_empty() {
        return ParityResult::undefined(Mode::Tfdv, super::NO_REFERENCE);
    }
    if current.is_empty() {
        return ParityResult::undefined(Mode::Tfdv, super::NO_CURRENT);
    }
    let value = match (constant(&reference), constant(&current)) {
        (None, None) => Histogram::of(&reference)
            .zip(Histogram::of(&current))
            .and_then(|(p, q)| divergence_of(&p, &q)),
        (before, now) if before == now => Some(0.0),
        _ => Some(1.0),
    };
    let result = ParityResult::judged(Mode::Tfdv, DIVERGENCE, value, None);
    with_choice(vec![result], DIVERGENCE)
}

pub(super) fn categorical(
    reference: &CategoryCounts,
    current: &CategoryCounts,
) -> Vec<ParityResult> {
    let (p, q) = paired(reference, current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Tfdv, reason);
    }
    let (p, q) = (shares(&p), shares(&q));
    let result = |method, value| ParityResult::judged(Mode::Tfdv, method, value, None);
    let results = vec![
        result(L_INFINITY, distance::l_infinity(&p, &q)),
        result(DIVERGENCE, divergence(&p, &q)),
    ];
    with_choice(results, L_INFINITY)
}

fn divergence(p: &[f64], q: &[f64]) -> Option<f64> {
    distance::jensen_shannon(p, q).map(|distance| distance * distance)
}

/// The value that all of a sample have, if so.
fn constant(sample: &Sample) -> Option<f64> {
    let (first, last) = (*sample.sorted().first()?, *sample.sorted().last()?);
    (first == last).then_some(first)
}

/// Ten equal bins of the range of a sample that varies.
struct Histogram {
    edges: Vec<f64>,
    shares: Vec<f64>,
}

impl Histogram {
    fn of(sample: &Sample) -> Option<Self> {
        let (first, last) = (*sample.sorted().first()?, *sample.sorted().last()?);
        if !(last - first).is_finite() {
            return None;
        }
        let edges = binning::equal_edges(first, last, BUCKETS);
        Some(Self {
            shares: shares(&binning::counts(sample.sorted(), &edges)),
            edges,
        })
    }

    /// The share between two numbers, the mass of a bin lying evenly in it. A single point belongs to the piece
    /// that ends in it, or begins with it at the very start.
    fn between(&self, from: f64, to: f64, is_first: bool) -> f64 {
        let bins = self.edges.windows(2).zip(&self.shares);
        bins.map(|(bin, share)| {
            let width = bin[1] - bin[0];
            if width == 0.0 {
                let inside = (from < bin[0] && bin[0] <= to) || (is_first && bin[0] == from);
                return if inside { *share } else { 0.0 };
            }
            share * (to.min(bin[1]) - from.max(bin[0])).max(0.0) / width
        })
        .sum()
    }
}

fn divergence_of(p: &Histogram, q: &Histogram) -> Option<f64> {
    let mut edges = [p.edges.as_slice(), q.edges.as_slice()].concat();
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup();
    let pieces = |histogram: &Histogram| -> Vec<f64> {
        let pairs = edges.windows(2).enumerate();
        pairs
            .map(|(index, piece)| histogram.between(piece[0], piece[1], index == 0))
            .collect()
    };
    divergence(&pieces(p), &pieces(q))
}
