//! Bins of scores: how far predicted probabilities are from the shares that come true.

use super::intervals::{quantile, wilson_interval};

/// How scores are grouped before they are compared with what came true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bins {
    /// So many bins of equal width over 0 to 1: `[i/n, (i+1)/n)`, the last one closed.
    Width(usize),
    /// So many bins of about as many outcomes each, `(a, b]` between the quantiles of the scores (numpy's
    /// default), the first one closed. Equal quantiles merge, so scores with few values give fewer bins.
    Quantile(usize),
}

/// One bin of a reliability table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    pub lower: f64,
    pub upper: f64,
    pub outcomes: u64,
    pub positives: u64,
    /// Mean of the scores in the bin: what the model says the share is.
    pub mean_score: f64,
    /// The share that came true.
    pub observed: f64,
    /// Wilson's 95 % interval of `observed`.
    pub interval: (f64, f64),
}

impl Bins {
    /// The number of bins asked for.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Width(count) | Self::Quantile(count) => count,
        }
    }

    /// The inner and outer edges for these sorted scores.
    fn edges(self, sorted: &[(f64, bool)]) -> Vec<f64> {
        let count = self.count();
        match self {
            Self::Width(_) => (0..=count).map(|i| i as f64 / count as f64).collect(),
            Self::Quantile(_) => {
                let scores: Vec<f64> = sorted.iter().map(|(score, _)| *score).collect();
                let mut edges: Vec<f64> = (0..=count)
                    .filter_map(|i| quantile(&scores, i as f64 / count as f64))
                    .collect();
                edges.dedup();
                edges
            }
        }
    }

    /// The non-empty bins of sorted scores, as ranges of rows with their edges.
    pub(super) fn split(self, sorted: &[(f64, bool)]) -> Vec<(std::ops::Range<usize>, f64, f64)> {
        let edges = self.edges(sorted);
        let mut bins = Vec::new();
        let mut start = 0;
        for (i, pair) in edges.windows(2).enumerate() {
            let (lower, upper) = (pair[0], pair[1]);
            let last = i + 2 == edges.len();
            let end = match self {
                _ if last => sorted.len(),
                Self::Width(_) => sorted.partition_point(|(score, _)| *score < upper),
                Self::Quantile(_) => sorted.partition_point(|(score, _)| *score <= upper),
            };
            if end > start {
                bins.push((start..end, lower, upper));
            }
            start = end.max(start);
        }
        if bins.is_empty() && !sorted.is_empty() {
            // All scores are the same, so their quantiles are a single edge.
            bins.push((0..sorted.len(), sorted[0].0, sorted[0].0));
        }
        bins
    }
}

impl ReliabilityBin {
    pub(super) fn of(rows: &[(f64, bool)], lower: f64, upper: f64) -> Option<Self> {
        let outcomes = rows.len() as u64;
        let positives = rows.iter().filter(|(_, positive)| *positive).count() as u64;
        let total = super::intervals::sum(rows.iter().map(|(score, _)| *score));
        Some(Self {
            lower,
            upper,
            outcomes,
            positives,
            mean_score: total / outcomes as f64,
            observed: positives as f64 / outcomes as f64,
            interval: wilson_interval(positives, outcomes)?,
        })
    }
}
