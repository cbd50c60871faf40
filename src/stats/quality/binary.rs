//! Outcomes of a classifier with two classes.

use super::confusion::Confusion;
use super::scores::Scores;

/// Predictions of yes or no with their labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BinaryOutcomes {
    confusion: Confusion,
    /// The scores that are numbers, with their labels.
    scored: Vec<(f64, bool)>,
}

impl BinaryOutcomes {
    /// Adds an outcome: the score of the positive class if there is one, the predicted class, the label. A
    /// score that is NaN counts as none.
    pub fn push(&mut self, score: Option<f64>, predicted: bool, label: bool) {
        self.confusion.push(predicted, label);
        if let Some(score) = score.filter(|score| !score.is_nan()) {
            self.scored.push((score, label));
        }
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        self.confusion.merge(&other.confusion);
        self.scored.extend_from_slice(&other.scored);
    }

    /// The counts of predictions against labels.
    #[must_use]
    pub fn confusion(&self) -> Confusion {
        self.confusion
    }

    /// The outcomes with a score, sorted.
    #[must_use]
    pub fn scores(&self) -> Scores {
        Scores::new(self.scored.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bins, Undefined};
    use super::*;

    fn outcomes(rows: &[(f64, bool, bool)]) -> BinaryOutcomes {
        let mut outcomes = BinaryOutcomes::default();
        for (score, predicted, label) in rows {
            outcomes.push(Some(*score), *predicted, *label);
        }
        outcomes
    }

    #[test]
    fn a_single_class_leaves_undefined_what_needs_two() {
        let negatives = outcomes(&[(0.1, false, false), (0.2, false, false)]);
        let counts = negatives.confusion();
        assert_eq!(counts.accuracy().expect("outcomes").value, 1.0);
        assert_eq!(counts.precision(), Err(Undefined::NoPredictedPositives));
        assert_eq!(counts.recall(), Err(Undefined::NoPositives));
        assert_eq!(counts.f1(), Err(Undefined::NeitherLabelledNorPredicted));
        assert_eq!(negatives.scores().roc_auc(), Err(Undefined::NoPositives));
        let missed = outcomes(&[(0.1, false, true)]).confusion();
        assert_eq!(missed.precision(), Err(Undefined::NoPredictedPositives));
        assert_eq!(missed.recall().expect("a positive").value, 0.0);
        assert_eq!(missed.f1().expect("a positive").value, 0.0);
    }

    #[test]
    fn known_outcomes_have_known_quality() {
        let rows = [
            (0.9, true, true),
            (0.8, true, false),
            (0.4, false, true),
            (0.1, false, false),
        ];
        let (counts, scores) = (outcomes(&rows).confusion(), outcomes(&rows).scores());
        for half in [counts.precision(), counts.recall(), counts.f1()] {
            assert_eq!(half.expect("both classes").value, 0.5);
        }
        assert_eq!(scores.roc_auc().expect("both classes").value, 0.75);
        let expected = -(0.9_f64.ln() + 0.2_f64.ln() + 0.4_f64.ln() + 0.9_f64.ln()) / 4.0;
        assert!((scores.log_loss().expect("scores").value - expected).abs() < 1e-12);
    }

    #[test]
    fn a_sure_mistake_has_a_finite_loss() {
        let loss = outcomes(&[(1.0, true, false)]).scores().log_loss();
        assert!((loss.expect("scores").value - 36.043_653_389_117_15).abs() < 1e-9);
    }

    #[test]
    fn scores_that_are_no_probabilities_rank_but_have_no_loss() {
        let scores = outcomes(&[(2.5, true, true), (-1.0, false, false)]).scores();
        assert_eq!(scores.roc_auc().expect("both classes").value, 1.0);
        assert_eq!(scores.log_loss(), Err(Undefined::NotProbabilities));
        let mut unscored = BinaryOutcomes::default();
        unscored.push(None, true, true);
        unscored.push(Some(f64::NAN), true, true);
        assert_eq!(unscored.confusion().labels(), 2);
        assert_eq!(unscored.scores().log_loss(), Err(Undefined::NoScores));
    }

    #[test]
    fn parts_merge_to_exactly_the_whole() {
        let rows: Vec<_> = (0..60)
            .map(|i| (f64::from(i % 11) / 10.0, i % 11 > 5, i % 3 == 0))
            .collect();
        let mut merged = outcomes(&rows[17..]);
        merged.merge(&outcomes(&rows[..17]));
        let whole = outcomes(&rows);
        assert_eq!(merged.confusion(), whole.confusion());
        assert_eq!(merged.scores(), whole.scores());
        assert_eq!(
            merged.scores().calibration_error(Bins::Width(10)),
            whole.scores().calibration_error(Bins::Width(10))
        );
    }
}
