//! Outcomes of a classifier with several classes.

use super::{log_loss_of, roc_auc, share, wilson_interval};

/// Predictions of one class of several with their labels.
///
/// The classes are those declared and those that occur, so a class the model forgot still counts in the
/// means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MulticlassOutcomes {
    classes: Vec<String>,
    /// Per class: how often it was right, predicted, and the label.
    tallies: Vec<Tally>,
    scored: Vec<Scored>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Tally {
    right: u64,
    predicted: u64,
    labelled: u64,
}

/// One outcome's probabilities by index of class, summing to 1; classes beyond the end have none.
#[derive(Debug, Clone, PartialEq)]
struct Scored {
    label: usize,
    probabilities: Vec<f64>,
}

/// The quality of a multiclass classifier over some outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MulticlassSummary {
    pub labels: u64,
    /// Share of right predictions: 0 to 1, less is worse.
    pub accuracy: f64,
    /// 95 % Wilson interval of `accuracy`.
    pub accuracy_interval: (f64, f64),
    /// Mean of the classes' precisions: 0 to 1, less is worse. A class never predicted counts 0.
    pub macro_precision: f64,
    /// Mean of the classes' recalls: 0 to 1, less is worse. A class without labels counts 0.
    pub macro_recall: f64,
    /// Mean of the classes' F1: 0 to 1, less is worse. A class neither predicted nor labelled counts 0.
    pub macro_f1: f64,
    /// Mean of the one-vs-rest areas under the ROC curve, over the outcomes with probabilities and the
    /// classes with both labels of theirs and of others: 0 to 1, less is worse. `None` without such a class.
    pub roc_auc: Option<f64>,
    /// Mean negative log-likelihood of the label over the outcomes with probabilities: 0 is perfect, more
    /// is worse. `None` without any.
    pub log_loss: Option<f64>,
}

impl MulticlassOutcomes {
    /// No outcomes yet of a model with these classes. The list may be empty or incomplete.
    #[must_use]
    pub fn new(classes: impl IntoIterator<Item = String>) -> Self {
        let mut outcomes = Self::default();
        for class in classes {
            outcomes.class(&class);
        }
        outcomes
    }

    /// Adds an outcome: the predicted class, the probabilities by class, the label.
    ///
    /// Probabilities are divided by their sum. Without any, or when some are negative or not finite or all
    /// are zero, the outcome counts for the predicted class only.
    pub fn push(&mut self, predicted: &str, probabilities: &[(String, f64)], label: &str) {
        let (predicted, label) = (self.class(predicted), self.class(label));
        self.tallies[predicted].predicted += 1;
        self.tallies[label].labelled += 1;
        self.tallies[label].right += u64::from(predicted == label);

        let sum: f64 = probabilities
            .iter()
            .map(|(_, probability)| probability)
            .sum();
        let usable = probabilities
            .iter()
            .all(|(_, probability)| *probability >= 0.0)
            && sum > 0.0;
        if usable && sum.is_finite() {
            let mut by_class = vec![0.0; self.classes.len()];
            for (class, probability) in probabilities {
                let class = self.class(class);
                by_class.resize(self.classes.len(), 0.0);
                by_class[class] += probability / sum;
            }
            self.scored.push(Scored {
                label,
                probabilities: by_class,
            });
        }
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        let mine: Vec<usize> = other
            .classes
            .iter()
            .map(|class| self.class(class))
            .collect();
        for (class, tally) in mine.iter().zip(&other.tallies) {
            self.tallies[*class].right += tally.right;
            self.tallies[*class].predicted += tally.predicted;
            self.tallies[*class].labelled += tally.labelled;
        }
        for scored in &other.scored {
            let mut probabilities = vec![0.0; self.classes.len()];
            for (class, probability) in mine.iter().zip(&scored.probabilities) {
                probabilities[*class] = *probability;
            }
            self.scored.push(Scored {
                label: mine[scored.label],
                probabilities,
            });
        }
    }

    /// The quality over all outcomes; `None` without any.
    #[must_use]
    pub fn summary(&self) -> Option<MulticlassSummary> {
        let labels = self.tallies.iter().map(|tally| tally.labelled).sum();
        let right = self.tallies.iter().map(|tally| tally.right).sum();
        let macro_mean = |value: fn(&Tally) -> Option<f64>| {
            let values = self.tallies.iter().map(|tally| value(tally).unwrap_or(0.0));
            values.sum::<f64>() / self.tallies.len() as f64
        };
        Some(MulticlassSummary {
            labels,
            accuracy: share(right, labels)?,
            accuracy_interval: wilson_interval(right, labels)?,
            macro_precision: macro_mean(|tally| share(tally.right, tally.predicted)),
            macro_recall: macro_mean(|tally| share(tally.right, tally.labelled)),
            macro_f1: macro_mean(|tally| share(2 * tally.right, tally.predicted + tally.labelled)),
            roc_auc: self.roc_auc(),
            log_loss: self.log_loss(),
        })
    }

    fn class(&mut self, name: &str) -> usize {
        if let Some(known) = self.classes.iter().position(|class| class == name) {
            return known;
        }
        self.classes.push(name.to_owned());
        self.tallies.push(Tally::default());
        self.classes.len() - 1
    }

    fn roc_auc(&self) -> Option<f64> {
        let areas: Vec<f64> = (0..self.classes.len())
            .filter_map(|class| self.one_vs_rest(class))
            .collect();
        (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
    }

    fn one_vs_rest(&self, class: usize) -> Option<f64> {
        let scored = self.scored.iter();
        let mut scored: Vec<(f64, bool)> = scored
            .map(|scored| (scored.probability_of(class), scored.label == class))
            .collect();
        roc_auc(&mut scored)
    }

    fn log_loss(&self) -> Option<f64> {
        let losses = self
            .scored
            .iter()
            .map(|scored| log_loss_of(scored.probability_of(scored.label)));
        (!self.scored.is_empty()).then(|| losses.sum::<f64>() / self.scored.len() as f64)
    }
}

impl Scored {
    fn probability_of(&self, class: usize) -> f64 {
        self.probabilities.get(class).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probabilities(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs
            .iter()
            .map(|(class, p)| ((*class).to_owned(), *p))
            .collect()
    }

    fn push(outcomes: &mut MulticlassOutcomes, predicted: &str, p: &[(&str, f64)], label: &str) {
        outcomes.push(predicted, &probabilities(p), label);
    }

    #[test]
    fn no_outcomes_have_no_quality() {
        assert_eq!(MulticlassOutcomes::default().summary(), None);
        assert_eq!(MulticlassOutcomes::new(["a".to_owned()]).summary(), None);
    }

    #[test]
    fn a_declared_class_that_never_occurs_counts_zero_in_the_means() {
        let mut outcomes = MulticlassOutcomes::new(["a".to_owned(), "b".to_owned()]);
        push(&mut outcomes, "a", &[], "a");
        let summary = outcomes.summary().expect("outcomes");
        assert_eq!(
            (summary.accuracy, summary.macro_recall, summary.macro_f1),
            (1.0, 0.5, 0.5)
        );
        assert_eq!((summary.roc_auc, summary.log_loss), (None, None));
    }

    #[test]
    fn a_label_the_model_does_not_know_is_a_class_with_probability_zero() {
        let mut outcomes = MulticlassOutcomes::new(["a".to_owned(), "b".to_owned()]);
        push(&mut outcomes, "a", &[("a", 0.9), ("b", 0.1)], "new");
        let summary = outcomes.summary().expect("outcomes");
        assert_eq!((summary.accuracy, summary.macro_precision), (0.0, 0.0));
        assert!(summary.log_loss.expect("probabilities") > 36.0);
    }

    #[test]
    fn probabilities_are_divided_by_their_sum() {
        let mut outcomes = MulticlassOutcomes::default();
        push(&mut outcomes, "a", &[("a", 6.0), ("b", 2.0)], "a");
        push(&mut outcomes, "b", &[("a", 0.5), ("b", 0.5)], "b");
        let summary = outcomes.summary().expect("outcomes");
        assert!(
            (summary.log_loss.expect("probabilities") + (0.75_f64.ln() + 0.5_f64.ln()) / 2.0).abs()
                < 1e-12
        );
        assert_eq!(summary.roc_auc, Some(1.0));
    }

    #[test]
    fn unusable_probabilities_leave_the_predicted_class() {
        let mut outcomes = MulticlassOutcomes::default();
        for p in [-0.1, f64::NAN, f64::INFINITY, 0.0] {
            push(&mut outcomes, "a", &[("a", p), ("b", 0.0)], "a");
        }
        let summary = outcomes.summary().expect("outcomes");
        assert_eq!(
            (summary.labels, summary.accuracy, summary.log_loss),
            (4, 1.0, None)
        );
    }

    #[test]
    fn parts_merge_to_the_whole_whatever_order_classes_came_in() {
        let row = |outcomes: &mut MulticlassOutcomes, i: usize| {
            let names = ["x", "y", "z"];
            let p = [
                ("z", 0.2 + (i % 5) as f64 / 10.0),
                ("x", 0.3),
                ("y", (i % 4) as f64 / 10.0),
            ];
            push(outcomes, names[i % 3], &p, names[i * i % 3]);
        };
        let (mut whole, mut left, mut right) =
            <(MulticlassOutcomes, MulticlassOutcomes, MulticlassOutcomes)>::default();
        for i in 0..40 {
            row(&mut whole, i);
            row(if i < 15 { &mut left } else { &mut right }, i);
        }
        right.merge(&left);
        let (merged, whole) = (
            right.summary().expect("outcomes"),
            whole.summary().expect("outcomes"),
        );
        assert_eq!(merged.labels, whole.labels);
        assert!((merged.macro_f1 - whole.macro_f1).abs() < 1e-12);
        assert!((merged.roc_auc.expect("both") - whole.roc_auc.expect("both")).abs() < 1e-12);
        assert!((merged.log_loss.expect("both") - whole.log_loss.expect("both")).abs() < 1e-12);
    }
}
