//! The counts of predicted classes against labels, and what is averaged over the classes.

use std::collections::BTreeMap;

use super::confusion::Confusion;
use super::intervals::{Z_95, mean_worth, share, sum, variance_of_counted, wald, wilson};
use super::{Estimate, Quality, Undefined};

/// How often each pair of label and prediction occurred, classes in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfusionMatrix {
    classes: Vec<String>,
    /// By the places of label and prediction in `classes`.
    cells: BTreeMap<(usize, usize), u64>,
    tallies: Vec<Tally>,
    labels: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    right: u64,
    predicted: u64,
    labelled: u64,
}

/// A measure of one class against the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassMeasure {
    Precision,
    Recall,
    F1,
}

/// How the values of the classes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averaging {
    /// Every class counts the same.
    Macro,
    /// Every outcome counts the same: the counts are added up first. With one class per outcome this is the
    /// accuracy, whichever measure is averaged.
    Micro,
    /// Every class counts as often as it is the label.
    Weighted,
}

impl ConfusionMatrix {
    /// From counts by the names of label and prediction; `classes` may name more, which count in macro means.
    #[must_use]
    pub fn new<'n>(
        classes: impl IntoIterator<Item = &'n str>,
        counts: impl IntoIterator<Item = ((&'n str, &'n str), u64)> + Clone,
    ) -> Self {
        let named = counts
            .clone()
            .into_iter()
            .flat_map(|((label, predicted), _)| [label, predicted]);
        let mut names: Vec<&str> = classes.into_iter().chain(named).collect();
        names.sort_unstable();
        names.dedup();
        let places: BTreeMap<&str, usize> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (*name, i))
            .collect();
        let mut matrix = Self {
            tallies: vec![Tally::default(); names.len()],
            classes: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        };
        for ((label, predicted), count) in counts {
            let (label, predicted) = (places[label], places[predicted]);
            *matrix.cells.entry((label, predicted)).or_default() += count;
            matrix.tallies[label].labelled += count;
            matrix.tallies[predicted].predicted += count;
            if label == predicted {
                matrix.tallies[label].right += count;
            }
            matrix.labels += count;
        }
        matrix
    }

    /// The classes in the order of their names.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of outcomes.
    #[must_use]
    pub fn labels(&self) -> u64 {
        self.labels
    }

    /// How often `predicted` was predicted for the label `label`.
    #[must_use]
    pub fn count(&self, label: &str, predicted: &str) -> u64 {
        let place = |name: &str| {
            self.classes
                .binary_search_by(|class| class.as_str().cmp(name))
                .ok()
        };
        let cell = place(label).zip(place(predicted));
        cell.and_then(|cell| self.cells.get(&cell))
            .copied()
            .unwrap_or(0)
    }

    /// The counts of one class, by its place, against all others.
    ///
    /// # Panics
    /// If there is no such class.
    #[must_use]
    pub fn one_vs_rest(&self, class: usize) -> Confusion {
        let tally = self.tallies[class];
        Confusion {
            true_positives: tally.right,
            false_positives: tally.predicted - tally.right,
            false_negatives: tally.labelled - tally.right,
            true_negatives: self.labels + tally.right - tally.predicted - tally.labelled,
        }
    }

    /// Share of right predictions: 0 to 1, less is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn accuracy(&self) -> Quality {
        let right = self.tallies.iter().map(|tally| tally.right).sum();
        share(right, self.labels, Undefined::NoOutcomes)
    }

    /// Mean of the recalls of the classes that have labels: 0 to 1, less is worse. Interval by the delta method.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn balanced_accuracy(&self) -> Quality {
        self.mean(ClassMeasure::Recall, |tally, classes| {
            if tally.labelled > 0 {
                1.0 / classes.labelled
            } else {
                0.0
            }
        })
    }

    /// A measure averaged over the classes: 0 to 1, less is worse. A class never predicted has the precision 0, one
    /// without labels the recall 0, and both count in macro means.
    ///
    /// The interval of micro means is Wilson's; of the others it is by the delta method over all counts, as
    /// Takahashi and others (2022) give it for F1, and Wilson's where that has no spread.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn average(&self, measure: ClassMeasure, averaging: Averaging) -> Quality {
        match averaging {
            Averaging::Micro => self.accuracy(),
            Averaging::Macro => self.mean(measure, |_, classes| 1.0 / classes.all),
            Averaging::Weighted if measure == ClassMeasure::Recall => self.accuracy(),
            Averaging::Weighted => self.weighted(measure),
        }
    }

    /// Mean value of a prediction by what each pair of label and predicted class, in this order, is worth; less is worse. Its
    /// interval is the normal approximation for that mean.
    ///
    /// # Errors
    /// Without outcomes, with values that are not finite, or when the mean is not.
    pub fn value_per_prediction(&self, worth: impl Fn(&str, &str) -> f64) -> Quality {
        let cells = self.cells.iter().map(|(&(label, predicted), &count)| {
            let worth = worth(&self.classes[label], &self.classes[predicted]);
            (count, worth)
        });
        mean_worth(cells)
    }

    fn mean(&self, measure: ClassMeasure, weight: fn(&Tally, Classes) -> f64) -> Quality {
        let classes = Classes {
            all: self.tallies.len() as f64,
            labelled: self
                .tallies
                .iter()
                .filter(|tally| tally.labelled > 0)
                .count() as f64,
        };
        let weights: Vec<f64> = self
            .tallies
            .iter()
            .map(|tally| weight(tally, classes))
            .collect();
        self.combine(measure, &weights, false)
    }

    fn weighted(&self, measure: ClassMeasure) -> Quality {
        let n = self.labels as f64;
        let weights: Vec<f64> = (self.tallies.iter())
            .map(|tally| tally.labelled as f64 / n)
            .collect();
        self.combine(measure, &weights, true)
    }

    /// `Σ w_c·M_c` with its delta interval; `counted` weights are themselves shares of labels and vary with them.
    fn combine(&self, measure: ClassMeasure, weights: &[f64], counted: bool) -> Quality {
        if self.labels == 0 {
            return Err(Undefined::NoOutcomes);
        }
        let n = self.labels as f64;
        let values: Vec<f64> = self
            .tallies
            .iter()
            .map(|tally| tally.value(measure))
            .collect();
        let value = sum(values
            .iter()
            .zip(weights)
            .map(|(value, weight)| value * weight));
        let slope = |class: usize, right: f64| {
            let whole = self.tallies[class].whole(measure);
            weights[class] * (right - values[class]) * n / whole
        };
        let gradients = self.cells.iter().map(|(&(label, predicted), &count)| {
            let hit = f64::from(u8::from(label == predicted));
            let gradient = match measure {
                ClassMeasure::Precision => slope(predicted, hit),
                ClassMeasure::Recall => slope(label, hit),
                // Each outcome is in the denominator of its label and of its prediction.
                ClassMeasure::F1 => slope(label, hit) + slope(predicted, hit),
            };
            (count, gradient + if counted { values[label] } else { 0.0 })
        });
        let variance = variance_of_counted(gradients);
        // Rounding leaves a trace of spread where there is none.
        let interval = if variance > 1e-24 {
            wald(value, variance, (0.0, 1.0))
        } else {
            wilson(value.clamp(0.0, 1.0), n, Z_95)
        };
        Ok(Estimate {
            value,
            interval: Some(interval),
            size: self.labels,
        })
    }
}

/// Numbers of classes.
#[derive(Clone, Copy)]
struct Classes {
    all: f64,
    labelled: f64,
}

impl Tally {
    /// The denominator: outcomes whose label or prediction the class is.
    fn whole(self, measure: ClassMeasure) -> f64 {
        let count = match measure {
            ClassMeasure::Precision => self.predicted,
            ClassMeasure::Recall => self.labelled,
            ClassMeasure::F1 => self.predicted + self.labelled,
        };
        count as f64
    }

    fn value(self, measure: ClassMeasure) -> f64 {
        let right = match measure {
            ClassMeasure::F1 => 2 * self.right,
            ClassMeasure::Precision | ClassMeasure::Recall => self.right,
        };
        let whole = self.whole(measure);
        if whole > 0.0 {
            right as f64 / whole
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_per_prediction_is_the_mean_of_what_each_pair_of_classes_is_worth() {
        let counts = [
            (("fraud", "fraud"), 2),
            (("fraud", "clean"), 1),
            (("clean", "clean"), 5),
            (("clean", "review"), 2),
        ];
        let worth = |label: &str, predicted: &str| match (label, predicted) {
            ("fraud", "fraud") => 40.0,
            ("fraud", _) => -120.0,
            ("clean", "review") => -2.5,
            _ => 0.0,
        };
        let matrix = ConfusionMatrix::new([], counts);
        let of = matrix.value_per_prediction(worth).expect("outcomes");
        assert!((of.value + 4.5).abs() < 1e-12 && of.size == 10, "{of:?}");
        // The squares of 40, 40, −120, five times 0, −2.5 and −2.5 sum to 17,612.5; ten times the mean's are 202.5.
        let half = Z_95 * (17_410.0_f64 / 9.0 / 10.0).sqrt();
        let (low, high) = of.interval.expect("many");
        assert!((low + 4.5 + half).abs() < 1e-9 && (high + 4.5 - half).abs() < 1e-9);

        let none = ConfusionMatrix::new(["fraud"], []);
        assert_eq!(none.value_per_prediction(worth), Err(Undefined::NoOutcomes));
        let endless = matrix.value_per_prediction(|_, _| f64::INFINITY);
        assert_eq!(endless, Err(Undefined::BadParameter));
    }
}
