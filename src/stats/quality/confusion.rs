//! Measures of the four counts of yes-or-no predictions against their labels.

use super::intervals::{Z_95, mean_worth, share, variance_of_counted, wald, wilson};
use super::{Estimate, Quality, Undefined};

/// How often each pair of prediction and label occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub true_negatives: u64,
    pub false_negatives: u64,
}

/// What a prediction is worth, by its prediction and label, in whatever unit the business counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeValues {
    pub true_positive: f64,
    pub false_positive: f64,
    pub true_negative: f64,
    pub false_negative: f64,
}

impl Confusion {
    /// Counts an outcome.
    pub fn push(&mut self, predicted: bool, label: bool) {
        let cell = match (predicted, label) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
            (false, true) => &mut self.false_negatives,
        };
        *cell += 1;
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.true_negatives += other.true_negatives;
        self.false_negatives += other.false_negatives;
    }

    /// Number of outcomes.
    #[must_use]
    pub fn labels(&self) -> u64 {
        self.positives() + self.negatives()
    }

    /// Number of positive labels.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Number of negative labels.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.true_negatives + self.false_positives
    }

    /// Number of positive predictions.
    #[must_use]
    pub fn predicted_positives(&self) -> u64 {
        self.true_positives + self.false_positives
    }

    /// Share of right predictions: 0 to 1, less is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn accuracy(&self) -> Quality {
        let right = self.true_positives + self.true_negatives;
        share(right, self.labels(), Undefined::NoOutcomes)
    }

    /// Share of predicted positives that are positive: 0 to 1, less is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without predicted positives.
    pub fn precision(&self) -> Quality {
        let predicted = self.predicted_positives();
        self.some()?;
        share(
            self.true_positives,
            predicted,
            Undefined::NoPredictedPositives,
        )
    }

    /// Share of positives that are predicted: 0 to 1, less is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without positives.
    pub fn recall(&self) -> Quality {
        self.some()?;
        share(
            self.true_positives,
            self.positives(),
            Undefined::NoPositives,
        )
    }

    /// Share of negatives that are predicted: 0 to 1, less is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without negatives.
    pub fn specificity(&self) -> Quality {
        self.some()?;
        share(
            self.true_negatives,
            self.negatives(),
            Undefined::NoNegatives,
        )
    }

    /// Share of outcomes whose label is positive: 0 to 1, neither direction is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn base_rate(&self) -> Quality {
        share(self.positives(), self.labels(), Undefined::NoOutcomes)
    }

    /// Share of outcomes that are predicted positive: 0 to 1, neither direction is worse. Wilson's interval.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn selection_rate(&self) -> Quality {
        share(
            self.predicted_positives(),
            self.labels(),
            Undefined::NoOutcomes,
        )
    }

    /// Harmonic mean of precision and recall: 0 to 1, less is worse.
    ///
    /// It is `2J/(1+J)` of the share `J` of right ones among those labelled or predicted positive, so its
    /// interval is Wilson's of that share, carried over.
    ///
    /// # Errors
    /// When there is neither a positive nor a predicted one.
    pub fn f1(&self) -> Quality {
        self.some()?;
        let either = self.true_positives + self.false_positives + self.false_negatives;
        let jaccard = share(
            self.true_positives,
            either,
            Undefined::NeitherLabelledNorPredicted,
        )?;
        let f1 = |share: f64| 2.0 * share / (1.0 + share);
        Ok(Estimate {
            value: 2.0 * self.true_positives as f64 / (either + self.true_positives) as f64,
            interval: jaccard.interval.map(|(low, high)| (f1(low), f1(high))),
            size: either,
        })
    }

    /// Mean of recall and specificity: 0 to 1, 0.5 for predictions that tell nothing; less is worse. The
    /// interval combines both Wilson intervals (Zou and Donner 2008).
    ///
    /// # Errors
    /// Unless both classes have labels.
    pub fn balanced_accuracy(&self) -> Quality {
        let (recall, specificity) = (self.recall()?, self.specificity()?);
        let value = f64::midpoint(recall.value, specificity.value);
        let ends = recall.interval.zip(specificity.interval);
        let interval = ends.map(|(a, b)| {
            let below = (recall.value - a.0).hypot(specificity.value - b.0) / 2.0;
            let above = (a.1 - recall.value).hypot(b.1 - specificity.value) / 2.0;
            ((value - below).max(0.0), (value + above).min(1.0))
        });
        Ok(Estimate {
            value,
            interval,
            size: recall.size.min(specificity.size),
        })
    }

    /// Matthews' correlation of prediction and label: −1 to 1, 0 for predictions that tell nothing; less is
    /// worse. The interval is by the delta method over the four counts; where that has no spread, because all
    /// or no predictions are right, it is that of a share of right ones stretched to −1 to 1. Matthews (1975).
    ///
    /// # Errors
    /// When all labels or all predictions are of one class.
    pub fn mcc(&self) -> Quality {
        self.some()?;
        let [tp, fp, tn, missed] = self.cells().map(|count| count as f64);
        let margins = [tp + fp, tp + missed, tn + fp, tn + missed];
        if margins.contains(&0.0) {
            return Err(Undefined::OneClass);
        }
        let root = margins.map(f64::sqrt).iter().product::<f64>();
        let value = (tp * tn - fp * missed) / root;
        let [predicted, positives, negatives, unpredicted] = margins.map(|margin| 1.0 / margin);
        let n = self.labels() as f64;
        // The derivatives by each share.
        let gradients = [
            tn / root - value / 2.0 * (predicted + positives),
            -missed / root - value / 2.0 * (predicted + negatives),
            tp / root - value / 2.0 * (unpredicted + negatives),
            -fp / root - value / 2.0 * (unpredicted + positives),
        ]
        .map(|gradient| gradient * n);
        let variance = variance_of_counted(self.cells().into_iter().zip(gradients));
        let (right, wrong) = (tp + tn, fp + missed);
        let interval = if right == 0.0 || wrong == 0.0 {
            let (low, high) = wilson(right / n, n, Z_95);
            (2.0 * low - 1.0, 2.0 * high - 1.0)
        } else {
            wald(value, variance, (-1.0, 1.0))
        };
        Ok(Estimate {
            // The roots round; all right and all wrong are exact.
            value: match (right, wrong) {
                (_, 0.0) => 1.0,
                (0.0, _) => -1.0,
                _ => value.clamp(-1.0, 1.0),
            },
            interval: Some(interval),
            size: self.positives().min(self.negatives()),
        })
    }

    /// Mean value of a prediction by what each pair of prediction and label is worth; less is worse. Its
    /// interval is the normal approximation for that mean.
    ///
    /// # Errors
    /// Without outcomes, with values that are not finite, or when the mean is not.
    pub fn value_per_prediction(&self, worth: OutcomeValues) -> Quality {
        let worths = [
            worth.true_positive,
            worth.false_positive,
            worth.true_negative,
            worth.false_negative,
        ];
        mean_worth(self.cells().into_iter().zip(worths))
    }

    fn some(&self) -> Result<(), Undefined> {
        if self.labels() == 0 {
            return Err(Undefined::NoOutcomes);
        }
        Ok(())
    }

    fn cells(&self) -> [u64; 4] {
        [
            self.true_positives,
            self.false_positives,
            self.true_negatives,
            self.false_negatives,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion(counts: [u64; 4]) -> Confusion {
        Confusion {
            true_positives: counts[0],
            false_positives: counts[1],
            true_negatives: counts[2],
            false_negatives: counts[3],
        }
    }

    #[test]
    fn a_value_per_prediction_is_the_mean_of_what_each_is_worth() {
        let worth = OutcomeValues {
            true_positive: 10.0,
            false_positive: -1.0,
            true_negative: 0.0,
            false_negative: -20.0,
        };
        let of = confusion([2, 3, 4, 1])
            .value_per_prediction(worth)
            .expect("outcomes");
        assert!((of.value + 0.3).abs() < 1e-12);
        // The ten values 10, 10, −1, −1, −1, 0, 0, 0, 0, −20 have the variance 67.79 (n − 1).
        let half = Z_95 * (602.1_f64 / 9.0 / 10.0).sqrt();
        let (low, high) = of.interval.expect("many");
        assert!((low + 0.3 + half).abs() < 1e-9 && (high + 0.3 - half).abs() < 1e-9);
        let endless = OutcomeValues {
            false_negative: f64::NEG_INFINITY,
            ..worth
        };
        assert_eq!(
            confusion([1, 1, 1, 1]).value_per_prediction(endless),
            Err(Undefined::BadParameter)
        );
    }

    #[test]
    fn a_perfect_sample_still_has_an_interval() {
        let perfect = confusion([20, 0, 30, 0]);
        for of in [
            perfect.accuracy(),
            perfect.f1(),
            perfect.balanced_accuracy(),
            perfect.mcc(),
        ] {
            let of = of.expect("both classes");
            let (low, high) = of.interval.expect("an interval");
            assert!(
                of.value == 1.0 && high == 1.0 && low > 0.7 && low < 1.0,
                "{of:?}"
            );
        }
        let wrong = confusion([0, 20, 0, 30]).mcc().expect("both classes");
        let (low, high) = wrong.interval.expect("an interval");
        assert!(wrong.value == -1.0 && low == -1.0 && high > -1.0);
    }

    #[test]
    fn the_interval_of_the_correlation_holds_under_resampling() {
        // The spread of 4,000 multinomial samples of 400 with these shares, made with numpy, is 0.0387.
        let of = confusion([120, 40, 200, 40]).mcc().expect("both classes");
        let (low, high) = of.interval.expect("an interval");
        assert!(((high - low) / 2.0 / Z_95 - 0.0404).abs() < 0.002, "{of:?}");
    }
}
