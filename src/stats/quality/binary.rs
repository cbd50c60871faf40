//! Outcomes of a classifier with two classes.

use super::{log_loss_of, roc_auc, share, wilson_interval};

/// Predictions of yes or no with their labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BinaryOutcomes {
    true_positives: u64,
    false_positives: u64,
    true_negatives: u64,
    false_negatives: u64,
    /// The scores that are numbers, with their labels.
    scored: Vec<(f64, bool)>,
}

/// The quality of a binary classifier over some outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinarySummary {
    pub labels: u64,
    pub true_positives: u64,
    pub false_positives: u64,
    pub true_negatives: u64,
    pub false_negatives: u64,
    /// Share of right predictions: 0 to 1, less is worse.
    pub accuracy: f64,
    /// 95 % Wilson interval of `accuracy`.
    pub accuracy_interval: (f64, f64),
    /// Share of predicted positives that are positive: 0 to 1, less is worse. `None` without predicted
    /// positives.
    pub precision: Option<f64>,
    /// Share of positives that are predicted: 0 to 1, less is worse. `None` without positives.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall: 0 to 1, less is worse. `None` when there is neither a
    /// positive nor a predicted one.
    pub f1: Option<f64>,
    /// Area under the ROC curve over the outcomes with a score ([`roc_auc`]): 0 to 1, less is worse. `None`
    /// unless both classes have one.
    pub roc_auc: Option<f64>,
    /// Mean negative log-likelihood of the label over the outcomes with a score from 0 to 1: 0 is perfect,
    /// more is worse, 36.04 the most. `None` without such scores, or if some score is outside 0 to 1 and
    /// so no probability.
    pub log_loss: Option<f64>,
}

impl BinaryOutcomes {
    /// Adds an outcome: the score of the positive class if there is one, the predicted class, the label. A
    /// score that is NaN counts as none.
    pub fn push(&mut self, score: Option<f64>, predicted: bool, label: bool) {
        let cell = match (predicted, label) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
            (false, true) => &mut self.false_negatives,
        };
        *cell += 1;
        if let Some(score) = score.filter(|score| !score.is_nan()) {
            self.scored.push((score, label));
        }
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.true_negatives += other.true_negatives;
        self.false_negatives += other.false_negatives;
        self.scored.extend_from_slice(&other.scored);
    }

    /// The quality over all outcomes; `None` without any.
    #[must_use]
    pub fn summary(&self) -> Option<BinarySummary> {
        let right = self.true_positives + self.true_negatives;
        let labels = right + self.false_positives + self.false_negatives;
        let wrong = labels - right;
        Some(BinarySummary {
            labels,
            true_positives: self.true_positives,
            false_positives: self.false_positives,
            true_negatives: self.true_negatives,
            false_negatives: self.false_negatives,
            accuracy: share(right, labels)?,
            accuracy_interval: wilson_interval(right, labels)?,
            precision: share(
                self.true_positives,
                self.true_positives + self.false_positives,
            ),
            recall: share(
                self.true_positives,
                self.true_positives + self.false_negatives,
            ),
            f1: share(2 * self.true_positives, 2 * self.true_positives + wrong),
            roc_auc: roc_auc(&mut self.scored.clone()),
            log_loss: self.log_loss(),
        })
    }

    fn log_loss(&self) -> Option<f64> {
        let all_probabilities = self
            .scored
            .iter()
            .all(|(score, _)| (0.0..=1.0).contains(score));
        if self.scored.is_empty() || !all_probabilities {
            return None;
        }
        let losses = self
            .scored
            .iter()
            .map(|(score, label)| log_loss_of(if *label { *score } else { 1.0 - score }));
        Some(losses.sum::<f64>() / self.scored.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(rows: &[(f64, bool, bool)]) -> BinaryOutcomes {
        let mut outcomes = BinaryOutcomes::default();
        for (score, predicted, label) in rows {
            outcomes.push(Some(*score), *predicted, *label);
        }
        outcomes
    }

    #[test]
    fn no_outcomes_have_no_quality() {
        assert_eq!(BinaryOutcomes::default().summary(), None);
    }

    #[test]
    fn a_single_class_leaves_undefined_what_needs_two() {
        let negatives = outcomes(&[(0.1, false, false), (0.2, false, false)])
            .summary()
            .expect("outcomes");
        assert_eq!(negatives.accuracy, 1.0);
        assert_eq!(
            (negatives.precision, negatives.recall, negatives.f1),
            (None, None, None)
        );
        assert_eq!(negatives.roc_auc, None);
        let missed = outcomes(&[(0.1, false, true)]).summary().expect("outcomes");
        assert_eq!(
            (missed.precision, missed.recall, missed.f1),
            (None, Some(0.0), Some(0.0))
        );
    }

    #[test]
    fn known_outcomes_have_known_quality() {
        let rows = [
            (0.9, true, true),
            (0.8, true, false),
            (0.4, false, true),
            (0.1, false, false),
        ];
        let summary = outcomes(&rows).summary().expect("outcomes");
        assert_eq!(
            (summary.precision, summary.recall, summary.f1),
            (Some(0.5), Some(0.5), Some(0.5))
        );
        assert_eq!(summary.roc_auc, Some(0.75));
        let expected = -(0.9_f64.ln() + 0.2_f64.ln() + 0.4_f64.ln() + 0.9_f64.ln()) / 4.0;
        assert!((summary.log_loss.expect("scores") - expected).abs() < 1e-12);
    }

    #[test]
    fn a_sure_mistake_has_a_finite_loss() {
        let loss = outcomes(&[(1.0, true, false)])
            .summary()
            .and_then(|summary| summary.log_loss);
        assert!((loss.expect("scores") - 36.043_653_389_117_15).abs() < 1e-9);
    }

    #[test]
    fn scores_that_are_no_probabilities_rank_but_have_no_loss() {
        let summary = outcomes(&[(2.5, true, true), (-1.0, false, false)])
            .summary()
            .expect("outcomes");
        assert_eq!((summary.roc_auc, summary.log_loss), (Some(1.0), None));
        let mut unscored = BinaryOutcomes::default();
        unscored.push(None, true, true);
        unscored.push(Some(f64::NAN), true, true);
        let summary = unscored.summary().expect("outcomes");
        assert_eq!(
            (summary.labels, summary.roc_auc, summary.log_loss),
            (2, None, None)
        );
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let rows: Vec<_> = (0..60)
            .map(|i| (f64::from(i % 11) / 10.0, i % 11 > 5, i % 3 == 0))
            .collect();
        let mut merged = outcomes(&rows[..17]);
        merged.merge(&outcomes(&rows[17..]));
        assert_eq!(merged, outcomes(&rows));
    }
}
