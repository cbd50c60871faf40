//! Outcomes of a regression.

use super::errors::Errors;

/// Predictions of numbers with their labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RegressionOutcomes {
    pairs: Vec<(f64, f64)>,
    /// Pairs with NaN or an infinity.
    left_out: u64,
}

impl RegressionOutcomes {
    /// Adds an outcome; pairs with NaN or an infinity are counted and left out.
    pub fn push(&mut self, prediction: f64, label: f64) {
        if prediction.is_finite() && label.is_finite() {
            self.pairs.push((prediction, label));
        } else {
            self.left_out += 1;
        }
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        self.pairs.extend_from_slice(&other.pairs);
        self.left_out += other.left_out;
    }

    /// Outcomes with a finite prediction and label.
    #[must_use]
    pub fn labels(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// Outcomes left out because the prediction or the label is not finite.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The errors, sorted.
    #[must_use]
    pub fn errors(&self) -> Errors {
        Errors::new(self.pairs.clone(), self.left_out)
    }
}
