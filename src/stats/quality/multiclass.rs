//! Outcomes of a classifier with several classes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::bins::Bins;
use super::intervals::{mean, share, sum, wald};
use super::matrix::ConfusionMatrix;
use super::scores::{Scores, log_loss_of};
use super::{Estimate, Quality, Undefined};

/// Predictions of one class of several with their labels.
///
/// The classes are those declared and those that occur, so a class the model forgot still counts in the
/// means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MulticlassOutcomes {
    classes: Vec<String>,
    places: HashMap<String, usize>,
    /// By the places of label and prediction.
    counts: BTreeMap<(usize, usize), u64>,
    scored: Vec<Scored>,
}

/// One outcome's probabilities by the place of the class, summing to 1.
#[derive(Debug, Clone, PartialEq)]
struct Scored {
    label: usize,
    predicted: usize,
    probabilities: Vec<(usize, f64)>,
}

/// The probabilities of the outcomes that have them, by class in the order of names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassProbabilities {
    classes: Vec<String>,
    rows: Vec<Scored>,
}

impl MulticlassOutcomes {
    /// No outcomes yet of a model with these classes. The list may be empty or incomplete.
    #[must_use]
    pub fn new(classes: impl IntoIterator<Item = String>) -> Self {
        let mut outcomes = Self::default();
        for class in classes {
            outcomes.place(&class);
        }
        outcomes
    }

    /// Adds an outcome: the predicted class, the probabilities by class, the label.
    ///
    /// Probabilities are divided by their sum. Without any, or when some are negative or not finite or all
    /// are zero, the outcome counts for the predicted class only.
    pub fn push(&mut self, predicted: &str, probabilities: &[(String, f64)], label: &str) {
        let cell = (self.place(label), self.place(predicted));
        *self.counts.entry(cell).or_default() += 1;

        let total = sum(probabilities.iter().map(|(_, probability)| *probability));
        let usable = probabilities
            .iter()
            .all(|(_, probability)| *probability >= 0.0)
            && total > 0.0;
        if usable && total.is_finite() {
            let probabilities = probabilities
                .iter()
                .map(|(class, probability)| (self.place(class), probability / total))
                .collect();
            self.scored.push(Scored {
                label: cell.0,
                predicted: cell.1,
                probabilities,
            });
        }
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        let mine: Vec<usize> = other
            .classes
            .iter()
            .map(|class| self.place(class))
            .collect();
        for ((label, predicted), count) in &other.counts {
            *self
                .counts
                .entry((mine[*label], mine[*predicted]))
                .or_default() += count;
        }
        self.scored
            .extend(other.scored.iter().map(|scored| scored.with_places(&mine)));
    }

    /// The counts of predictions against labels.
    #[must_use]
    pub fn confusion(&self) -> ConfusionMatrix {
        let name = |place: usize| self.classes[place].as_str();
        let counts = (self.counts.iter())
            .map(|((label, predicted), count)| ((name(*label), name(*predicted)), *count));
        ConfusionMatrix::new(self.classes.iter().map(String::as_str), counts)
    }

    /// The outcomes with probabilities.
    #[must_use]
    pub fn probabilities(&self) -> ClassProbabilities {
        let mut order: Vec<usize> = (0..self.classes.len()).collect();
        order.sort_unstable_by_key(|place| &self.classes[*place]);
        let mut places = vec![0; order.len()];
        for (place, old) in order.iter().enumerate() {
            places[*old] = place;
        }
        ClassProbabilities {
            classes: order.iter().map(|old| self.classes[*old].clone()).collect(),
            rows: self
                .scored
                .iter()
                .map(|scored| scored.with_places(&places))
                .collect(),
        }
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.classes.len();
        self.places.insert(name.to_owned(), place);
        self.classes.push(name.to_owned());
        place
    }
}

impl ClassProbabilities {
    /// The classes in the order of their names.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Mean negative log-likelihood of the label: 0 is perfect, more is worse, 36.04 the most. Clipped as
    /// [`Scores::log_loss`]. The interval is the normal approximation for the mean.
    ///
    /// # Errors
    /// Without probabilities.
    pub fn log_loss(&self) -> Quality {
        let losses = self.rows.iter().map(|row| log_loss_of(row.of(row.label)));
        self.mean(losses.collect(), f64::INFINITY)
    }

    /// Brier's score over all classes: the mean of `Σ (p_c − y_c)²`. 0 is perfect, more is worse, 2 the most. For
    /// two classes it is twice that of [`Scores::brier`]. The interval is the normal approximation for the mean.
    ///
    /// # Errors
    /// Without probabilities.
    pub fn brier(&self) -> Quality {
        let losses = self.rows.iter().map(|row| {
            let squares = row.probabilities.iter().map(|(_, p)| p * p);
            sum(squares) + 1.0 - 2.0 * row.of(row.label)
        });
        self.mean(losses.collect(), 2.0)
    }

    /// Share of outcomes whose label is among the `k` classes with the highest probabilities: 0 to 1, less is
    /// worse. A label whose probability ties with others is ranked behind them, so equal probabilities for all
    /// do not pass for knowledge. Wilson's interval.
    ///
    /// # Errors
    /// Without probabilities, or for `k` of 0.
    pub fn top_k_accuracy(&self, k: usize) -> Quality {
        if k == 0 {
            return Err(Undefined::BadParameter);
        }
        let hit = |row: &&Scored| {
            let own = row.of(row.label);
            let before = (row.probabilities.iter())
                .filter(|(class, p)| *class != row.label && *p >= own)
                .count();
            own > 0.0 && before < k
        };
        let hits = self.rows.iter().filter(hit).count() as u64;
        share(hits, self.rows.len() as u64, Undefined::NoScores)
    }

    /// Expected calibration error of the most probable class: how far the shares of right ones are from the
    /// highest probabilities, as [`Scores::calibration_error`].
    ///
    /// # Errors
    /// Without probabilities.
    pub fn calibration_error(&self, bins: Bins) -> Quality {
        self.top().calibration_error(bins)
    }

    /// The highest probability of each outcome with whether that class is the label. Among equal ones the
    /// predicted class, else the one that comes first by name.
    #[must_use]
    pub fn top(&self) -> Scores {
        let top = |row: &Scored| {
            let mut best = (row.predicted, row.of(row.predicted));
            for (class, p) in &row.probabilities {
                if *p > best.1 {
                    best = (*class, *p);
                }
            }
            // A sum that rounds does not make a probability more than sure.
            (best.1.min(1.0), best.0 == row.label)
        };
        Scores::new(self.rows.iter().map(top).collect())
    }

    /// The probabilities of one class, by its place, against all others.
    #[must_use]
    pub fn one_vs_rest(&self, class: usize) -> Scores {
        let rows = self.rows.iter();
        Scores::new(
            rows.map(|row| (row.of(class), row.label == class))
                .collect(),
        )
    }

    /// The mean of the one-vs-rest areas under the ROC curve, every class counting the same or, `by_labels`, as
    /// often as it is the label: 0 to 1, 0.5 for probabilities that tell nothing; less is worse.
    ///
    /// The interval is DeLong's, with what each outcome adds to all areas taken together.
    ///
    /// # Errors
    /// Unless every class has labels of its own and of others, as in scikit-learn: a mean over those classes
    /// that happen to occur would move with them. `by_labels` a class without labels has no weight, and does not
    /// matter.
    pub fn roc_auc(&self, by_labels: bool) -> Quality {
        if self.rows.is_empty() {
            return Err(Undefined::NoScores);
        }
        let n = self.rows.len() as f64;
        let mut influence = vec![0.0; self.rows.len()];
        let (mut areas, mut rarest) = (Vec::new(), self.rows.len());
        for class in 0..self.classes.len() {
            let own = self.rows.iter().filter(|row| row.label == class).count();
            let others = self.rows.len() - own;
            if own == 0 && by_labels {
                continue;
            }
            if own == 0 || others == 0 {
                return Err(Undefined::ClassWithoutLabels);
            }
            rarest = rarest.min(own);
            let weight = if by_labels {
                own as f64 / n
            } else {
                1.0 / self.classes.len() as f64
            };
            let (area, wins) = self.wins(class, own as f64, others as f64);
            areas.push(weight * area);
            for ((sum, row), win) in influence.iter_mut().zip(&self.rows).zip(wins) {
                let rows = if row.label == class { own } else { others };
                *sum += weight * (win - area) * n / rows as f64;
            }
        }
        let value = sum(areas);
        let mut squares: Vec<f64> = influence.iter().map(|part| part * part).collect();
        squares.sort_unstable_by(f64::total_cmp);
        let variance = sum(squares) / n / n;
        let interval = if variance > 0.0 {
            wald(value, variance, (0.0, 1.0))
        } else {
            super::intervals::wilson(value, rarest as f64, super::Z_95)
        };
        Ok(Estimate {
            value,
            interval: Some(interval),
            size: rarest as u64,
        })
    }

    /// The mean over all pairs of classes that have labels of the area under the ROC curve between the two (Hand
    /// and Till 2001): 0 to 1, less is worse. No interval.
    ///
    /// # Errors
    /// Without probabilities, or unless two classes have labels.
    pub fn roc_auc_one_vs_one(&self) -> Quality {
        if self.rows.is_empty() {
            return Err(Undefined::NoScores);
        }
        let labelled: BTreeSet<usize> = self.rows.iter().map(|row| row.label).collect();
        let mut areas = Vec::new();
        for a in &labelled {
            for b in labelled.iter().filter(|b| *b != a) {
                let pair = self
                    .rows
                    .iter()
                    .filter(|row| row.label == *a || row.label == *b);
                let of_a = Scores::new(pair.map(|row| (row.of(*a), row.label == *a)).collect());
                areas.push(of_a.roc_auc()?.value);
            }
        }
        if areas.is_empty() {
            return Err(Undefined::OneClass);
        }
        Ok(Estimate {
            value: sum(areas.iter().copied()) / areas.len() as f64,
            interval: None,
            size: self.rows.len() as u64,
        })
    }

    /// The area of one class against the rest, and for each outcome the share of the other side it is ordered
    /// rightly with.
    fn wins(&self, class: usize, own: f64, others: f64) -> (f64, Vec<f64>) {
        let mut sorted: Vec<(f64, usize)> = (self.rows.iter().enumerate())
            .map(|(place, row)| (row.of(class), place))
            .collect();
        sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut wins = vec![0.0; self.rows.len()];
        let (mut own_below, mut others_below, mut won) = (0.0, 0.0, 0.0);
        for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
            let is_own = |(_, place): &&(f64, usize)| self.rows[*place].label == class;
            let tied_own = tied.iter().filter(is_own).count() as f64;
            let tied_others = tied.len() as f64 - tied_own;
            for (_, place) in tied {
                wins[*place] = if self.rows[*place].label == class {
                    (others_below + tied_others / 2.0) / others
                } else {
                    (own - own_below - tied_own / 2.0) / own
                };
            }
            won += tied_own * (others_below + tied_others / 2.0);
            own_below += tied_own;
            others_below += tied_others;
        }
        (won / (own * others), wins)
    }

    fn mean(&self, mut losses: Vec<f64>, most: f64) -> Quality {
        if self.rows.is_empty() {
            return Err(Undefined::NoScores);
        }
        mean(&mut losses, (0.0, most))
    }
}

impl Scored {
    fn with_places(&self, places: &[usize]) -> Self {
        let mut probabilities: Vec<(usize, f64)> = (self.probabilities.iter())
            .map(|(class, p)| (places[*class], *p))
            .collect();
        probabilities.sort_unstable_by_key(|(class, _)| *class);
        Self {
            label: places[self.label],
            predicted: places[self.predicted],
            probabilities,
        }
    }

    /// The probability of a class; one named twice has the sum.
    fn of(&self, class: usize) -> f64 {
        let named = self
            .probabilities
            .iter()
            .filter(|(named, _)| *named == class);
        named.map(|(_, p)| *p).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Averaging, ClassMeasure};
    use super::*;

    fn push(outcomes: &mut MulticlassOutcomes, predicted: &str, p: &[(&str, f64)], label: &str) {
        let p: Vec<(String, f64)> = p
            .iter()
            .map(|(class, p)| ((*class).to_owned(), *p))
            .collect();
        outcomes.push(predicted, &p, label);
    }

    fn macro_mean(outcomes: &MulticlassOutcomes, measure: ClassMeasure) -> f64 {
        let of = outcomes.confusion().average(measure, Averaging::Macro);
        of.expect("outcomes").value
    }

    #[test]
    fn a_declared_class_that_never_occurs_counts_zero_in_macro_means_only() {
        let mut outcomes = MulticlassOutcomes::new(["a".to_owned(), "b".to_owned()]);
        push(&mut outcomes, "a", &[], "a");
        assert_eq!(macro_mean(&outcomes, ClassMeasure::Recall), 0.5);
        assert_eq!(macro_mean(&outcomes, ClassMeasure::F1), 0.5);
        let counts = outcomes.confusion();
        assert_eq!(counts.accuracy().expect("outcomes").value, 1.0);
        assert_eq!(counts.balanced_accuracy().expect("outcomes").value, 1.0);
        let weighted = counts.average(ClassMeasure::F1, Averaging::Weighted);
        assert_eq!(weighted.expect("outcomes").value, 1.0);
        assert_eq!(
            outcomes.probabilities().roc_auc(false),
            Err(Undefined::NoScores)
        );
    }

    #[test]
    fn a_label_the_model_does_not_know_is_a_class_with_probability_zero() {
        let mut outcomes = MulticlassOutcomes::new(["a".to_owned(), "b".to_owned()]);
        push(&mut outcomes, "a", &[("a", 0.9), ("b", 0.1)], "new");
        assert_eq!(macro_mean(&outcomes, ClassMeasure::Precision), 0.0);
        let probabilities = outcomes.probabilities();
        assert!(probabilities.log_loss().expect("probabilities").value > 36.0);
        let top = probabilities.top_k_accuracy(3).expect("probabilities");
        assert_eq!(top.value, 0.0, "never named, so never among the first");
    }

    #[test]
    fn a_class_without_labels_leaves_the_area_undefined() {
        let mut outcomes = MulticlassOutcomes::default();
        push(
            &mut outcomes,
            "a",
            &[("a", 0.9), ("b", 0.1), ("c", 0.0)],
            "a",
        );
        push(
            &mut outcomes,
            "b",
            &[("a", 0.2), ("b", 0.8), ("c", 0.0)],
            "b",
        );
        let area = |outcomes: &MulticlassOutcomes| outcomes.probabilities().roc_auc(false);
        assert_eq!(area(&outcomes), Err(Undefined::ClassWithoutLabels));
        push(
            &mut outcomes,
            "c",
            &[("a", 0.2), ("b", 0.1), ("c", 0.7)],
            "c",
        );
        assert_eq!(area(&outcomes).expect("every class").value, 1.0);
    }

    #[test]
    fn probabilities_are_divided_by_their_sum() {
        let mut outcomes = MulticlassOutcomes::default();
        push(&mut outcomes, "a", &[("a", 6.0), ("b", 2.0)], "a");
        push(&mut outcomes, "b", &[("a", 0.5), ("b", 0.5)], "b");
        let loss = outcomes
            .probabilities()
            .log_loss()
            .expect("probabilities")
            .value;
        assert!((loss + (0.75_f64.ln() + 0.5_f64.ln()) / 2.0).abs() < 1e-12);
        let top = outcomes
            .probabilities()
            .top_k_accuracy(1)
            .expect("probabilities");
        assert_eq!(top.value, 0.5, "a tie is not a hit");
    }

    #[test]
    fn unusable_probabilities_leave_the_predicted_class() {
        let mut outcomes = MulticlassOutcomes::default();
        for p in [-0.1, f64::NAN, f64::INFINITY, 0.0] {
            push(&mut outcomes, "a", &[("a", p), ("b", 0.0)], "a");
        }
        assert_eq!(outcomes.confusion().labels(), 4);
        assert_eq!(
            outcomes.probabilities().log_loss(),
            Err(Undefined::NoScores)
        );
    }

    #[test]
    fn two_classes_have_the_area_and_interval_of_a_binary_classifier() {
        let mut outcomes = MulticlassOutcomes::default();
        let rows: Vec<(f64, bool)> = (0..80)
            .map(|i| (f64::from(i * 37 % 101) / 101.0, i % 3 == 0))
            .collect();
        for (p, yes) in &rows {
            push(
                &mut outcomes,
                "y",
                &[("y", *p), ("n", 1.0 - p)],
                if *yes { "y" } else { "n" },
            );
        }
        let several = outcomes.probabilities().roc_auc(false).expect("both");
        let two = Scores::new(rows).roc_auc().expect("both");
        assert!((several.value - two.value).abs() < 1e-12);
        let ends = several.interval.zip(two.interval).expect("both");
        assert!(
            (ends.0.0 - ends.1.0).abs() < 0.005 && (ends.0.1 - ends.1.1).abs() < 0.005,
            "{ends:?}"
        );
    }

    #[test]
    fn parts_merge_to_exactly_the_whole_whatever_order_classes_came_in() {
        let row = |outcomes: &mut MulticlassOutcomes, i: usize| {
            let names = ["x", "y", "z"];
            let p = [
                ("z", 0.2 + (i % 5) as f64 / 10.0),
                ("x", 0.3),
                ("y", (i % 4) as f64 / 10.0),
            ];
            push(outcomes, names[i % 3], &p, names[i * 7 / 5 % 3]);
        };
        let (mut whole, mut left, mut right) =
            <(MulticlassOutcomes, MulticlassOutcomes, MulticlassOutcomes)>::default();
        for i in 0..40 {
            row(&mut whole, i);
            row(if i < 15 { &mut left } else { &mut right }, i);
        }
        right.merge(&left);
        assert_eq!(right.confusion(), whole.confusion());
        let (merged, whole) = (right.probabilities(), whole.probabilities());
        assert_eq!(merged.roc_auc(false), whole.roc_auc(false));
        assert_eq!(merged.log_loss(), whole.log_loss());
        assert_eq!(merged.brier(), whole.brier());
        assert_eq!(merged.top_k_accuracy(2), whole.top_k_accuracy(2));
    }
}
