//! What is measured of predictions whose label is known: the measures of each task, and what a monitor chooses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measurement::Measure;
use super::model::Task;
use super::sequential::SequentialChoice;

/// What a quality monitor measures, and the parameters of measures that have some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QualityChoice {
    /// Empty for the usual ones of the task.
    pub measures: Vec<Measure>,
    /// Lift: the share of predictions with the highest scores that is looked at.
    pub top_share: f64,
    /// Top-k accuracy: among how many classes the label may be.
    pub top_k: usize,
    /// Rankings: how many places are looked at.
    pub places: usize,
    /// Forecasts: the share of what happens that the interval between two quantiles should hold.
    pub interval: f64,
    /// What a prediction is worth, for `value_per_prediction`.
    pub values: Option<PredictionValues>,
    /// Fairness: the segments whose values are groups that should be treated alike.
    pub groups: Vec<String>,
    /// After this time as good as all labels that will come have come. Without it nothing is said of maturity.
    pub labels_within_seconds: Option<i64>,
    /// How the detectors among the measures are set.
    pub sequential: SequentialChoice,
}

/// What a prediction is worth, by what was predicted and what is true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PredictionValues {
    /// Of a binary model.
    Binary(BinaryValues),
    /// Of a model with several classes.
    Classes(ClassValues),
}

/// What each kind of prediction of a binary model is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BinaryValues {
    pub true_positive: f64,
    pub false_positive: f64,
    pub true_negative: f64,
    pub false_negative: f64,
}

/// What a prediction of one of several classes is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassValues {
    /// If it is right, where nothing else is said of its class.
    pub right: f64,
    /// If it is wrong, where nothing else is said of label and prediction.
    pub wrong: f64,
    /// By the label, and then by the predicted class.
    pub by_label: BTreeMap<String, BTreeMap<String, f64>>,
}

impl ClassValues {
    /// What a prediction is worth whose label is this.
    #[must_use]
    pub fn of(&self, label: &str, predicted: &str) -> f64 {
        let own = self.by_label.get(label).and_then(|of| of.get(predicted));
        own.copied().unwrap_or(if label == predicted {
            self.right
        } else {
            self.wrong
        })
    }
}

impl Default for QualityChoice {
    fn default() -> Self {
        Self {
            measures: Vec::new(),
            top_share: 0.1,
            top_k: 3,
            places: 10,
            interval: 0.8,
            values: None,
            groups: Vec::new(),
            labels_within_seconds: None,
            sequential: SequentialChoice::default(),
        }
    }
}

impl QualityChoice {
    /// The measures of a model of that task, the usual ones when none were chosen.
    #[must_use]
    pub fn measures(&self, task: Task) -> &[Measure] {
        if self.measures.is_empty() {
            Measure::usual_quality(task)
        } else {
            &self.measures
        }
    }

    /// Whether a measure has the parameters that baselines are measured with.
    #[must_use]
    pub fn is_usual(&self, measure: Measure) -> bool {
        let usual = Self::default();
        match measure {
            Measure::Lift => self.top_share == usual.top_share,
            Measure::TopKAccuracy => self.top_k == usual.top_k,
            measure if measure.is_of_places() => self.places == usual.places,
            measure if measure.is_of_interval() => self.interval == usual.interval,
            _ => true,
        }
    }
}

impl Measure {
    /// The measures of a task that are one value for the whole model and need no parameters of a monitor; versions
    /// can be compared by them, and baselines have them. The first is the usual one.
    #[must_use]
    pub fn of_quality(task: Task) -> &'static [Self] {
        match task {
            Task::Regression => &[
                Self::Mae,
                Self::Rmse,
                Self::Bias,
                Self::MedianAbsoluteError,
                Self::ErrorP90,
                Self::Mape,
                Self::Smape,
                Self::R2,
            ],
            Task::Binary => &[
                Self::RocAuc,
                Self::F1,
                Self::Accuracy,
                Self::Precision,
                Self::Recall,
                Self::LogLoss,
                Self::Specificity,
                Self::BalancedAccuracy,
                Self::Mcc,
                Self::PrAuc,
                Self::ScoreSeparation,
                Self::Brier,
                Self::Ece,
                Self::Lift,
            ],
            Task::Multiclass => &[
                Self::F1,
                Self::Accuracy,
                Self::Precision,
                Self::Recall,
                Self::RocAuc,
                Self::LogLoss,
                Self::BalancedAccuracy,
                Self::WeightedPrecision,
                Self::WeightedF1,
                Self::Brier,
                Self::Ece,
                Self::TopKAccuracy,
            ],
            Task::Ranking => &[
                Self::Ndcg,
                Self::MeanAveragePrecision,
                Self::MeanReciprocalRank,
                Self::HitRate,
            ],
            Task::Forecast => &[
                Self::Mae,
                Self::Bias,
                Self::PinballLoss,
                Self::IntervalCoverage,
                Self::IntervalWidth,
                Self::Mase,
                Self::IntervalScore,
                Self::Rmse,
                Self::MedianAbsoluteError,
                Self::ErrorP90,
                Self::Mape,
                Self::Smape,
                Self::R2,
            ],
        }
    }

    /// What is measured of a task when a monitor chooses nothing; the first is the most telling.
    #[must_use]
    pub fn usual_quality(task: Task) -> &'static [Self] {
        let usual = match task {
            Task::Regression => 3,
            Task::Ranking => 4,
            Task::Binary | Task::Multiclass | Task::Forecast => 6,
        };
        &Self::of_quality(task)[..usual]
    }

    /// The measures of a task that are about single classes or groups, or need parameters of a monitor. The
    /// class or the field of the groups stands where others have a feature.
    #[must_use]
    pub fn detailed_quality(task: Task) -> &'static [Self] {
        match task {
            Task::Regression | Task::Ranking | Task::Forecast => &[],
            Task::Binary => &[
                Self::ValuePerPrediction,
                Self::DemographicParityDifference,
                Self::DemographicParityRatio,
                Self::EqualOpportunityDifference,
                Self::EqualOpportunityRatio,
            ],
            Task::Multiclass => &[
                Self::ValuePerPrediction,
                Self::ClassPrecision,
                Self::ClassRecall,
                Self::ClassF1,
            ],
        }
    }

    /// The detectors of labels that take in each label once.
    const OF_SEQUENTIAL: [Self; 2] = [Self::ErrorRateSequential, Self::LossSequential];

    /// The detectors of labels that a quality monitor can measure by, for a task: a ranking or a forecast is not right or
    /// wrong by itself.
    #[must_use]
    pub fn of_label_detectors(task: Task) -> &'static [Self] {
        match task {
            Task::Regression | Task::Multiclass => &Self::OF_SEQUENTIAL,
            Task::Binary => &[
                Self::ErrorRateSequential,
                Self::LossSequential,
                Self::RocAucChange,
            ],
            Task::Ranking | Task::Forecast => &[],
        }
    }

    /// What an objective monitor measures.
    pub const OF_OBJECTIVE: [Self; 3] = [Self::FastBurn, Self::SlowBurn, Self::ErrorBudgetLeft];

    /// What an estimate monitor measures of a task; the first is what it is checked by.
    #[must_use]
    pub fn of_estimate(task: Task) -> &'static [Self] {
        match task {
            Task::Regression => &[Self::EstimatedMae, Self::EstimatedRmse, Self::EstimateError],
            Task::Binary | Task::Multiclass => &[
                Self::EstimatedAccuracy,
                Self::EstimatedPrecision,
                Self::EstimatedRecall,
                Self::EstimatedF1,
                Self::EstimatedRocAuc,
                Self::EstimateError,
            ],
            Task::Ranking | Task::Forecast => &[],
        }
    }

    /// What an estimate is an estimate of.
    #[must_use]
    pub fn estimated(self) -> Option<Self> {
        Some(match self {
            Self::EstimatedMae => Self::Mae,
            Self::EstimatedRmse => Self::Rmse,
            Self::EstimatedAccuracy => Self::Accuracy,
            Self::EstimatedPrecision => Self::Precision,
            Self::EstimatedRecall => Self::Recall,
            Self::EstimatedF1 => Self::F1,
            Self::EstimatedRocAuc => Self::RocAuc,
            _ => return None,
        })
    }

    /// Whether a detector takes in each label once, as it comes.
    #[must_use]
    pub fn is_sequential(self) -> bool {
        Self::OF_SEQUENTIAL.contains(&self)
    }

    /// Whether a detector holds labels within a lag against those of a baseline, label by label or day by day.
    #[must_use]
    pub fn is_of_label_detector(self) -> bool {
        self.is_sequential() || self == Self::RocAucChange
    }

    /// Whether it is how fast an objective's budget is used up.
    #[must_use]
    pub fn is_burn(self) -> bool {
        matches!(self, Self::FastBurn | Self::SlowBurn)
    }

    /// Whether it is said without labels, or about what was.
    #[must_use]
    pub fn is_estimate(self) -> bool {
        self.estimated().is_some() || self == Self::EstimateError
    }

    /// Whether it is said of predictions whose label is known.
    #[must_use]
    pub fn needs_labels(self) -> bool {
        self.is_quality() || self.is_of_label_detector()
    }

    /// Whether the measure compares predictions with labels.
    #[must_use]
    pub fn is_quality(self) -> bool {
        Task::ALL
            .iter()
            .any(|task| Self::detailed_quality(*task).contains(&self))
            || self.is_of_whole_model()
    }

    /// Whether baselines have the measure of some task.
    #[must_use]
    pub fn is_of_whole_model(self) -> bool {
        Task::ALL
            .iter()
            .any(|task| Self::of_quality(*task).contains(&self))
    }

    /// Whether the measure has a value for each class.
    #[must_use]
    pub fn is_of_classes(self) -> bool {
        matches!(
            self,
            Self::ClassPrecision | Self::ClassRecall | Self::ClassF1
        )
    }

    /// Whether the measure compares groups of people, and has a value for each field of groups.
    #[must_use]
    pub fn is_of_groups(self) -> bool {
        matches!(
            self,
            Self::DemographicParityDifference
                | Self::DemographicParityRatio
                | Self::EqualOpportunityDifference
                | Self::EqualOpportunityRatio
        )
    }

    /// Whether the measure is of the first places of rankings.
    #[must_use]
    pub fn is_of_places(self) -> bool {
        matches!(
            self,
            Self::Ndcg | Self::MeanAveragePrecision | Self::MeanReciprocalRank | Self::HitRate
        )
    }

    /// Whether the measure is of forecast intervals of one level.
    #[must_use]
    pub fn is_of_interval(self) -> bool {
        matches!(
            self,
            Self::IntervalCoverage | Self::IntervalWidth | Self::IntervalScore
        )
    }

    /// Whether the measure has the unit of the label.
    #[must_use]
    pub fn has_unit(self) -> bool {
        matches!(
            self,
            Self::Mae
                | Self::Rmse
                | Self::Bias
                | Self::MedianAbsoluteError
                | Self::ErrorP90
                | Self::PinballLoss
                | Self::IntervalWidth
                | Self::IntervalScore
                | Self::EstimatedMae
                | Self::EstimatedRmse
                | Self::LossSequential
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_measures_of_quality_and_no_other_measure_is_one() {
        for task in Task::ALL {
            assert!(!Measure::of_quality(task).is_empty());
            let all = Measure::of_quality(task).iter();
            for measure in all.chain(Measure::detailed_quality(task)) {
                assert!(measure.is_quality(), "{measure:?}");
            }
            for measure in Measure::detailed_quality(task) {
                assert!(!measure.is_of_whole_model(), "{measure:?}");
            }
        }
        assert!(!Measure::LabelCoverage.is_quality());
        assert!(!Measure::LabelCompleteness.is_quality());
        assert!(!Measure::Psi.is_quality());
    }

    #[test]
    fn what_was_stored_before_there_was_a_choice_is_the_usual() {
        let stored: QualityChoice = serde_json::from_str("{}").expect("defaults");
        assert_eq!(stored, QualityChoice::default());
        assert_eq!(
            stored.measures(Task::Regression),
            [Measure::Mae, Measure::Rmse, Measure::Bias]
        );
    }

    #[test]
    fn other_parameters_than_the_baselines_are_known() {
        let own = QualityChoice {
            top_share: 0.05,
            ..QualityChoice::default()
        };
        assert!(!own.is_usual(Measure::Lift) && own.is_usual(Measure::TopKAccuracy));
        let own = QualityChoice {
            places: 5,
            interval: 0.9,
            ..QualityChoice::default()
        };
        assert!(!own.is_usual(Measure::Ndcg) && !own.is_usual(Measure::IntervalWidth));
        assert!(own.is_usual(Measure::PinballLoss) && own.is_usual(Measure::Mase));
    }
}
