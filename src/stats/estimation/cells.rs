//! Measures of expected counts, with what their intervals need.
//!
//! Every measure is a function of how many positives each cell will turn out to have; a cell is a bin of scores and
//! whether its rows are predicted positive. Its derivative by each of them gives both parts of the variance by the delta
//! method: the labels to come, `Σ n c (1 − c) g²`, and those of the reference, of which all cells of a bin share the
//! same, `Σ_b (Σ n g)² c (1 − c) / N_b`.

use super::{Estimated, Estimation};
use crate::stats::quality::{OutcomeValues, Undefined};

/// Rows of a window that share a bin and a prediction. Cells are in the order of the bins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) bin: usize,
    pub(super) predicted: bool,
    pub(super) rows: f64,
    /// How many of them are expected to be positive.
    pub(super) positives: f64,
    /// `c (1 − c)` of one row.
    pub(super) variance: f64,
    /// Rows of the reference in the bin.
    pub(super) reference: f64,
}

pub(super) struct Cells(Vec<Cell>);

/// Expected numbers of outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    pub(super) true_positives: f64,
    pub(super) false_positives: f64,
    pub(super) false_negatives: f64,
    pub(super) true_negatives: f64,
}

impl Expected {
    fn rows(&self) -> f64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }

    fn positives(&self) -> f64 {
        self.true_positives + self.false_negatives
    }

    fn negatives(&self) -> f64 {
        self.false_positives + self.true_negatives
    }

    fn predicted(&self) -> f64 {
        self.true_positives + self.false_positives
    }
}

impl Cells {
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into_iter().filter(|cell| cell.rows > 0.0).collect())
    }

    pub(super) fn expected(&self) -> Expected {
        let (mut found, mut rows) = ([0.0; 2], [0.0; 2]);
        for cell in &self.0 {
            found[usize::from(cell.predicted)] += cell.positives;
            rows[usize::from(cell.predicted)] += cell.rows;
        }
        Expected {
            true_positives: found[1],
            false_positives: rows[1] - found[1],
            false_negatives: found[0],
            true_negatives: rows[0] - found[0],
        }
    }

    /// The variance of a measure, from its derivative by the positives of each cell.
    pub(super) fn variance(&self, gradient: impl Fn(usize, &Cell) -> f64) -> f64 {
        let mut total = 0.0;
        let mut at = 0;
        for bin in self.0.chunk_by(|a, b| a.bin == b.bin) {
            let (mut together, mut spread) = (0.0, 0.0);
            for cell in bin {
                let g = gradient(at, cell);
                total += cell.rows * cell.variance * g * g;
                together += cell.rows * g;
                spread += cell.rows * cell.variance;
                at += 1;
            }
            let rows: f64 = bin.iter().map(|cell| cell.rows).sum();
            total += together * together * spread / rows / bin[0].reference.max(1.0);
        }
        total
    }

    fn by_prediction(&self, value: f64, predicted: f64, others: f64) -> Estimated {
        let of = |cell: &Cell| if cell.predicted { predicted } else { others };
        Estimated::of(value, self.variance(|_, cell| of(cell)), (0.0, 1.0))
    }

    pub(super) fn accuracy(&self) -> Estimation {
        let e = self.expected();
        let rows = positive(e.rows(), Undefined::NoOutcomes)?;
        let value = (e.true_positives + e.true_negatives) / rows;
        Ok(self.by_prediction(value, 1.0 / rows, -1.0 / rows))
    }

    pub(super) fn precision(&self) -> Estimation {
        let e = self.expected();
        let predicted = positive(e.predicted(), Undefined::NoPredictedPositives)?;
        Ok(self.by_prediction(e.true_positives / predicted, 1.0 / predicted, 0.0))
    }

    pub(super) fn recall(&self) -> Estimation {
        let e = self.expected();
        let positives = positive(e.positives(), Undefined::NoPositives)?;
        let value = e.true_positives / positives;
        Ok(self.by_prediction(value, (1.0 - value) / positives, -value / positives))
    }

    pub(super) fn specificity(&self) -> Estimation {
        let e = self.expected();
        let negatives = positive(e.negatives(), Undefined::NoNegatives)?;
        let value = e.true_negatives / negatives;
        Ok(self.by_prediction(value, value / negatives, -(1.0 - value) / negatives))
    }

    pub(super) fn f1(&self) -> Estimation {
        let e = self.expected();
        let either = e.predicted() + e.positives();
        let either = positive(either, Undefined::NeitherLabelledNorPredicted)?;
        let value = 2.0 * e.true_positives / either;
        Ok(self.by_prediction(value, (2.0 - value) / either, -value / either))
    }

    pub(super) fn value_per_prediction(&self, worth: OutcomeValues) -> Estimation {
        let e = self.expected();
        let rows = positive(e.rows(), Undefined::NoOutcomes)?;
        let value = (e.true_positives * worth.true_positive
            + e.false_positives * worth.false_positive
            + e.false_negatives * worth.false_negative
            + e.true_negatives * worth.true_negative)
            / rows;
        let predicted = (worth.true_positive - worth.false_positive) / rows;
        let others = (worth.false_negative - worth.true_negative) / rows;
        let of = |cell: &Cell| if cell.predicted { predicted } else { others };
        let variance = self.variance(|_, cell| of(cell));
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        Ok(Estimated::of(value, variance, all))
    }

    /// The area under the ROC curve of the bins' order, pairs within a bin counting half.
    pub(super) fn roc_auc(&self) -> Estimation {
        let e = self.expected();
        let positives = positive(e.positives(), Undefined::NoPositives)?;
        let negatives = positive(e.negatives(), Undefined::NoNegatives)?;
        // By cell: negatives below with half of those in the bin, and positives above with half of those in it.
        let mut around = Vec::with_capacity(self.0.len());
        let (mut won, mut below, mut above) = (0.0, 0.0, positives);
        for bin in self.0.chunk_by(|a, b| a.bin == b.bin) {
            let own: f64 = bin.iter().map(|cell| cell.positives).sum();
            let rows: f64 = bin.iter().map(|cell| cell.rows).sum();
            above -= own;
            let wins = below + (rows - own) / 2.0;
            won += own * wins;
            around.extend(bin.iter().map(|_| (wins, above + own / 2.0)));
            below += rows - own;
        }
        let value = won / (positives * negatives);
        let variance = self.variance(|at, _| {
            let (wins, losses) = around[at];
            (wins - losses) / (positives * negatives) - value / positives + value / negatives
        });
        Ok(Estimated::of(value, variance, (0.0, 1.0)))
    }
}

fn positive(value: f64, otherwise: Undefined) -> Result<f64, Undefined> {
    if value > 1e-9 {
        Ok(value)
    } else {
        Err(otherwise)
    }
}
