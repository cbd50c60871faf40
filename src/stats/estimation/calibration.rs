//! Frozen bins of scores, and what a score in each of them has meant.

use serde::{Deserialize, Serialize};

use super::{MISCALIBRATION, SUPPORT};
use crate::stats::grid::quantile_edges;
use crate::stats::quality::Undefined;

/// Bins whose edges are fixed when the baseline is; `(a, b]`, the outer ones open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreBins {
    edges: Vec<f64>,
}

/// Bins that a large reference gets.
const MOST_BINS: usize = 200;
/// Rows of the reference that a bin has on average at least.
const ROWS_PER_BIN: usize = 50;

impl ScoreBins {
    /// About as many rows in each of at most 200 bins, and one below and above all that was seen. Scores that repeat
    /// have bins of their own.
    ///
    /// A score from which on something else is predicted is an edge too, so that no bin holds both.
    #[must_use]
    pub fn fit(scores: &[f64], threshold: Option<f64>) -> Self {
        let bins = (scores.len() / ROWS_PER_BIN).clamp(10, MOST_BINS);
        let mut edges = quantile_edges(scores, bins);
        edges.extend(threshold.map(f64::next_down));
        Self::between(edges)
    }

    /// With these inner edges; they are sorted, and equal ones merge.
    #[must_use]
    pub fn between(mut edges: Vec<f64>) -> Self {
        edges.retain(|edge| edge.is_finite());
        edges.sort_unstable_by(f64::total_cmp);
        edges.dedup();
        Self { edges }
    }

    /// The number of bins.
    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.len() + 1
    }

    /// Whether there is only the one bin that holds everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The bin of a score; NaN falls into the last.
    #[must_use]
    pub fn of(&self, score: f64) -> usize {
        self.edges
            .partition_point(|edge| *edge < score || score.is_nan())
    }
}

/// Fits a function that never falls to values with weights: pool adjacent violators (Ayer and others 1955). A value
/// without weight takes that of the last one before it that has some, or of the first that has.
#[must_use]
pub fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    // Blocks of (mean, weight, values in it).
    let mut blocks: Vec<(f64, f64, usize)> = Vec::with_capacity(values.len());
    for (value, weight) in values.iter().zip(weights) {
        if *weight <= 0.0 {
            match blocks.last_mut() {
                Some(block) => block.2 += 1,
                None => blocks.push((f64::NEG_INFINITY, 0.0, 1)),
            }
            continue;
        }
        let mut block = (*value, *weight, 1);
        while let Some(last) = blocks
            .last()
            .filter(|last| last.0 >= block.0 || last.1 == 0.0)
        {
            let total = last.1 + block.1;
            let before = if last.1 > 0.0 { last.0 * last.1 } else { 0.0 };
            block = (
                (before + block.0 * block.1) / total,
                total,
                last.2 + block.2,
            );
            blocks.pop();
        }
        blocks.push(block);
    }
    let spread = |(mean, _, size): (f64, f64, usize)| std::iter::repeat_n(mean, size);
    blocks.into_iter().flat_map(spread).collect()
}

/// What the scores of a reference have meant.
///
/// 200 bins of a uniform score lose less than 10⁻⁵ of an accuracy to binning, and make every window a sum of counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    version: u32,
    bins: ScoreBins,
    /// By bin: rows of the reference, and the probability that one is positive.
    pub(super) rows: Vec<u64>,
    pub(super) probabilities: Vec<f64>,
    /// The same before the order was enforced, drawn in a little from 0 and 1, for variances.
    pub(super) spread: Vec<f64>,
    /// The share of positives.
    base_rate: f64,
    /// On held-out rows.
    miscalibration: f64,
    miscalibration_noise: f64,
}

const VERSION: u32 = 1;

impl Calibration {
    /// Learns from scores and whether they came true. NaN scores are left out. `threshold` is the score from which on the
    /// positive class is predicted, if there is one.
    ///
    /// # Errors
    /// Unless there are both positives and negatives.
    pub fn fit(scored: &[(f64, bool)], threshold: Option<f64>) -> Result<Self, Undefined> {
        let scores: Vec<f64> = scored.iter().map(|(score, _)| *score).collect();
        let bins = ScoreBins::fit(&scores, threshold);
        let all = Counts::of(&bins, scored.iter());
        let (positives, rows) = (
            all.positives.iter().sum::<u64>(),
            all.rows.iter().sum::<u64>(),
        );
        if rows == 0 {
            return Err(Undefined::NoScores);
        }
        if positives == 0 {
            return Err(Undefined::NoPositives);
        }
        if positives == rows {
            return Err(Undefined::NoNegatives);
        }
        let halves = [0, 1].map(|half| {
            let own = scored.iter().enumerate();
            Counts::of(
                &bins,
                own.filter(|(i, _)| i % 2 == half).map(|(_, row)| row),
            )
        });
        let (miscalibration, miscalibration_noise) = held_out_error(&halves);
        let probabilities = all.probabilities();
        // Towards the calibrated value rather than to one half: an empty bin knows nothing of its own.
        let spread = (probabilities.iter().zip(&all.rows))
            .map(|(c, n)| (c * *n as f64 + 0.5) / (*n as f64 + 1.0))
            .collect();
        Ok(Self {
            version: VERSION,
            bins,
            rows: all.rows,
            probabilities,
            spread,
            base_rate: positives as f64 / rows as f64,
            miscalibration,
            miscalibration_noise,
        })
    }

    /// The bins that windows have to be counted in.
    #[must_use]
    pub fn bins(&self) -> &ScoreBins {
        &self.bins
    }

    /// Whether this version of the program wrote what was read back, and it is whole.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let bins = self.bins.len();
        self.version == VERSION
            && [self.rows.len(), self.probabilities.len(), self.spread.len()] == [bins; 3]
    }

    /// The probability that a score comes true.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        self.probabilities[self.bins.of(score)]
    }

    /// The share of positives in the reference.
    #[must_use]
    pub fn base_rate(&self) -> f64 {
        self.base_rate
    }

    /// The expected calibration error on held-out rows, in ten groups of bins.
    #[must_use]
    pub fn held_out_error(&self) -> f64 {
        self.miscalibration
    }

    /// That error if it is above 0.02 and above what chance gives.
    pub(super) fn miscalibration(&self) -> Option<f64> {
        let wrong = self.miscalibration > MISCALIBRATION.max(1.5 * self.miscalibration_noise);
        wrong.then_some(self.miscalibration)
    }

    /// Whether a bin is one the reference says something of.
    pub(super) fn is_supported(&self, bin: usize) -> bool {
        self.rows[bin] >= SUPPORT
    }
}

struct Counts {
    rows: Vec<u64>,
    positives: Vec<u64>,
}

impl Counts {
    fn of<'s>(bins: &ScoreBins, scored: impl Iterator<Item = &'s (f64, bool)>) -> Self {
        let mut counts = Self {
            rows: vec![0; bins.len()],
            positives: vec![0; bins.len()],
        };
        for (score, positive) in scored.filter(|(score, _)| !score.is_nan()) {
            let bin = bins.of(*score);
            counts.rows[bin] += 1;
            counts.positives[bin] += u64::from(*positive);
        }
        counts
    }

    fn probabilities(&self) -> Vec<f64> {
        let pairs = self.rows.iter().zip(&self.positives);
        let shares: Vec<f64> = pairs.map(|(n, k)| *k as f64 / (*n).max(1) as f64).collect();
        let weights: Vec<f64> = self.rows.iter().map(|n| *n as f64).collect();
        isotonic(&shares, &weights)
    }
}

/// Each half calibrated by the other: the mean gap over ten groups of neighbouring bins with about as many rows, and what
/// it would be by chance alone.
fn held_out_error(halves: &[Counts; 2]) -> (f64, f64) {
    let (mut error, mut noise) = (0.0, 0.0);
    for (own, other) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
        let calibrated = other.probabilities();
        let all: u64 = own.rows.iter().sum();
        let (mut rows, mut expected, mut found, mut variance, mut group) = (0, 0.0, 0, 0.0, 1);
        let mut seen = 0;
        for (bin, c) in calibrated.iter().enumerate() {
            let n = own.rows[bin] as f64;
            rows += own.rows[bin];
            seen += own.rows[bin];
            found += own.positives[bin];
            expected += n * c;
            // The labels of this half, and those the other was calibrated with, which are about as many.
            variance += 2.0 * n * c * (1.0 - c);
            if rows > 0 && (seen * 10 >= all * group || bin + 1 == calibrated.len()) {
                error += (found as f64 - expected).abs() / all as f64 / 2.0;
                // The mean size of a normal deviation is √(2/π) of the standard deviation.
                noise += (variance * 2.0 / std::f64::consts::PI).sqrt() / all as f64 / 2.0;
                (rows, expected, found, variance) = (0, 0.0, 0, 0.0);
                group = seen * 10 / all.max(1) + 1;
            }
        }
    }
    (error, noise)
}
