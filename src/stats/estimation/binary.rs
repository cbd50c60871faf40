//! Two classes: confidence-based estimation from counts of scores (Kivimäki and others 2024).

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::cells::{Cell, Cells};
use super::label_shift::LabelShift;
use super::{Estimation, Trust, trust};
use crate::stats::quality::{OutcomeValues, Undefined};

/// Scores of a window, counted in the bins of a calibration by what was predicted. Windows merge by adding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreWindow {
    /// By bin: rows predicted negative and predicted positive.
    counts: Vec<[u64; 2]>,
}

impl ScoreWindow {
    /// A window without rows.
    #[must_use]
    pub fn of(calibration: &Calibration) -> Self {
        Self {
            counts: vec![[0; 2]; calibration.bins().len()],
        }
    }

    /// Takes a prediction in. One whose score is NaN says nothing.
    pub fn push(&mut self, calibration: &Calibration, score: f64, predicted: bool) {
        if !score.is_nan() {
            self.counts[calibration.bins().of(score)][usize::from(predicted)] += 1;
        }
    }

    /// Adds another window.
    ///
    /// # Errors
    /// If it was counted in other bins.
    pub fn merge(&mut self, other: &Self) -> Result<(), Undefined> {
        if self.counts.len() != other.counts.len() {
            return Err(Undefined::BadParameter);
        }
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            own[0] += more[0];
            own[1] += more[1];
        }
        Ok(())
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Rows by bin.
    #[must_use]
    pub fn by_bin(&self) -> Vec<u64> {
        self.counts.iter().map(|[no, yes]| no + yes).collect()
    }

    /// Rows predicted negative and positive.
    #[must_use]
    pub fn by_prediction(&self) -> [u64; 2] {
        let side = |of: usize| self.counts.iter().map(|bin| bin[of]).sum();
        [side(0), side(1)]
    }
}

/// What the labels of a window are expected to say of its quality.
pub struct BinaryEstimates {
    cells: Cells,
    trust: Trust,
}

impl BinaryEstimates {
    /// From the scores of a window. `age` is that of the calibration and `oldest` what is allowed, in seconds.
    ///
    /// With a [`LabelShift`] the probabilities are corrected for the classes' new shares, `c w₁ / (c w₁ + (1 − c) w₀)`, which is
    /// right if only those have changed (Saerens and others 2002).
    ///
    /// # Errors
    /// If the window was counted in other bins.
    pub fn new(
        calibration: &Calibration,
        window: &ScoreWindow,
        shift: Option<&LabelShift>,
        (age, oldest): (f64, f64),
    ) -> Result<Self, Undefined> {
        if window.counts.len() != calibration.bins().len() {
            return Err(Undefined::BadParameter);
        }
        let corrected = |c: f64| match shift.map(LabelShift::ratios) {
            Some([negative, positive]) => {
                let (yes, no) = (c * positive, (1.0 - c) * negative);
                if yes + no > 0.0 { yes / (yes + no) } else { c }
            }
            _ => c,
        };
        let cells = window.counts.iter().enumerate().flat_map(|(bin, sides)| {
            let c = corrected(calibration.probabilities[bin]);
            let spread = corrected(calibration.spread[bin]);
            [false, true].map(|predicted| Cell {
                bin,
                predicted,
                rows: sides[usize::from(predicted)] as f64,
                positives: sides[usize::from(predicted)] as f64 * c,
                variance: spread * (1.0 - spread),
                reference: calibration.rows[bin] as f64,
            })
        });
        let rows = window.rows();
        let off: u64 = (window.by_bin().iter().enumerate())
            .filter(|(bin, _)| !calibration.is_supported(*bin))
            .map(|(_, rows)| rows)
            .sum();
        let off = off as f64 / rows.max(1) as f64;
        Ok(Self {
            cells: Cells::new(cells.collect()),
            trust: trust(off, age, oldest, calibration.miscalibration()),
        })
    }

    /// What speaks against these estimates.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// True and false positives, false and true negatives that are to be expected.
    #[must_use]
    pub fn confusion(&self) -> [f64; 4] {
        let of = self.cells.expected();
        [
            of.true_positives,
            of.false_positives,
            of.false_negatives,
            of.true_negatives,
        ]
    }

    /// The share of predictions that will turn out right: 0 to 1, less is worse.
    ///
    /// # Errors
    /// Without rows.
    pub fn accuracy(&self) -> Estimation {
        self.cells.accuracy()
    }

    /// The share of predicted positives that will turn out positive.
    ///
    /// # Errors
    /// Without predicted positives.
    pub fn precision(&self) -> Estimation {
        self.cells.precision()
    }

    /// The share of positives that are predicted.
    ///
    /// # Errors
    /// Without expected positives.
    pub fn recall(&self) -> Estimation {
        self.cells.recall()
    }

    /// The share of negatives that are predicted negative.
    ///
    /// # Errors
    /// Without expected negatives.
    pub fn specificity(&self) -> Estimation {
        self.cells.specificity()
    }

    /// The harmonic mean of precision and recall.
    ///
    /// # Errors
    /// If nothing is predicted or expected positive.
    pub fn f1(&self) -> Estimation {
        self.cells.f1()
    }

    /// The area under the ROC curve.
    ///
    /// # Errors
    /// Unless both classes are to be expected.
    pub fn roc_auc(&self) -> Estimation {
        self.cells.roc_auc()
    }

    /// What a prediction will have been worth, in the unit of `worth`; less is worse.
    ///
    /// # Errors
    /// Without rows.
    pub fn value_per_prediction(&self, worth: OutcomeValues) -> Estimation {
        self.cells.value_per_prediction(worth)
    }
}
