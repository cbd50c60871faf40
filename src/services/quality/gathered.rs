//! Outcomes gathered one by one, as the measures of a task need them: a few numbers of each are kept, and of a file
//! larger than memory nothing else.

use std::collections::BTreeMap;

use super::{QualityOutcome, QualityValue, Wanted, words};
use crate::domain::estimate::POSITIVE_FROM;
use crate::domain::measurement::Measure;
use crate::domain::model::Task;
use crate::domain::quality::{BinaryValues, PredictionValues, QualityChoice};
use crate::stats::quality::{
    Averaging, BinaryOutcomes, Bins, ClassMeasure, ConfusionMatrix, Errors, IntervalForecasts,
    MulticlassOutcomes, OutcomeValues, Quality, QuantileForecasts, RankingMeasure, RankingOutcomes,
    RegressionOutcomes, ScaledErrors, Undefined,
};
/// Bins of equal width of the calibration error.
pub(super) const CALIBRATION_BINS: usize = 10;
/// Levels of quantiles this near to each other are one: the ends of an interval of 0.8 are computed.
const SAME_LEVEL: f64 = 1e-9;

/// Outcomes of a task.
#[derive(Debug, Clone)]
pub struct Gathered(Outcomes);

#[derive(Debug, Clone)]
enum Outcomes {
    Regression(RegressionOutcomes),
    Binary {
        positive: String,
        outcomes: BinaryOutcomes,
    },
    Multiclass(MulticlassOutcomes),
    Ranking(Lists),
    Forecast(Forecasts),
}

impl Gathered {
    /// No outcomes yet. `positive` is the positive class of a binary model; of the choice, what decides what has to be
    /// kept of an outcome.
    #[must_use]
    pub fn new(task: Task, positive: &str, choice: &QualityChoice) -> Self {
        Self(match task {
            Task::Regression => Outcomes::Regression(RegressionOutcomes::default()),
            Task::Binary => Outcomes::Binary {
                positive: positive.to_owned(),
                outcomes: BinaryOutcomes::default(),
            },
            Task::Multiclass => Outcomes::Multiclass(MulticlassOutcomes::default()),
            Task::Ranking => Outcomes::Ranking(Lists::default()),
            Task::Forecast => Outcomes::Forecast(Forecasts::new(choice.interval)),
        })
    }

    /// Adds an outcome; one without what the task's predictions or labels have is left out.
    pub fn push(&mut self, outcome: &QualityOutcome) {
        match &mut self.0 {
            Outcomes::Regression(outcomes) => {
                if let Some((prediction, label)) = outcome.predicted_value.zip(outcome.label_value)
                {
                    outcomes.push(prediction, label);
                }
            }
            Outcomes::Binary { positive, outcomes } => {
                if let Some((predicted, label)) = outcome.yes_or_no(positive) {
                    outcomes.push(outcome.score, predicted, label);
                }
            }
            Outcomes::Multiclass(outcomes) => {
                if let (Some(predicted), Some(label)) =
                    (&outcome.predicted_class, &outcome.label_class)
                {
                    outcomes.push(predicted, &outcome.probabilities, label);
                }
            }
            Outcomes::Ranking(lists) => lists.push(outcome),
            Outcomes::Forecast(forecasts) => forecasts.push(outcome),
        }
    }

    /// The wanted measures; empty without outcomes. A measure that the task does not have is left out.
    #[must_use]
    pub fn measure(&self, wanted: Wanted<'_>) -> Vec<QualityValue> {
        match &self.0 {
            Outcomes::Regression(outcomes) => regression(wanted, outcomes),
            Outcomes::Binary { positive, outcomes } => binary(wanted, positive, outcomes),
            Outcomes::Multiclass(outcomes) => multiclass(wanted, outcomes),
            Outcomes::Ranking(lists) => lists.measure(wanted),
            Outcomes::Forecast(forecasts) => forecasts.measure(wanted),
        }
    }
}

fn regression(wanted: Wanted<'_>, outcomes: &RegressionOutcomes) -> Vec<QualityValue> {
    let labels = outcomes.labels();
    if labels == 0 {
        return Vec::new();
    }
    let errors = outcomes.errors();
    let value = |measure: &Measure| {
        let quality = of_errors(*measure, &errors)?;
        Some(QualityValue {
            note: words::of_errors(*measure),
            ..QualityValue::overall(*measure, quality, labels)
        })
    };
    wanted.measures.iter().filter_map(value).collect()
}

fn of_errors(measure: Measure, errors: &Errors) -> Option<Quality> {
    Some(match measure {
        Measure::Mae => errors.mae(),
        Measure::Rmse => errors.rmse(),
        Measure::Bias => errors.bias(),
        Measure::MedianAbsoluteError => errors.median_absolute_error(),
        Measure::ErrorP90 => errors.absolute_quantile(0.9),
        Measure::Mape => errors.mape(),
        Measure::Smape => errors.smape(),
        Measure::R2 => errors.r2(),
        _ => return None,
    })
}

impl QualityOutcome {
    /// Whether a binary model predicted yes, and whether the label is yes; nothing without both.
    #[must_use]
    pub fn yes_or_no(&self, positive: &str) -> Option<(bool, bool)> {
        let predicted = match (&self.predicted_class, self.score) {
            (Some(class), _) => class == positive,
            (None, Some(score)) => score >= POSITIVE_FROM,
            (None, None) => return None,
        };
        Some((predicted, self.label_class.as_deref()? == positive))
    }
}

fn binary(wanted: Wanted<'_>, positive: &str, outcomes: &BinaryOutcomes) -> Vec<QualityValue> {
    let counts = outcomes.confusion();
    if counts.labels() == 0 {
        return Vec::new();
    }
    let scores = outcomes.scores();
    let value = |measure: &Measure| {
        let quality = match measure {
            Measure::Accuracy => counts.accuracy(),
            Measure::Precision => counts.precision(),
            Measure::Recall => counts.recall(),
            Measure::F1 => counts.f1(),
            Measure::RocAuc => scores.roc_auc(),
            Measure::LogLoss => scores.log_loss(),
            Measure::Specificity => counts.specificity(),
            Measure::BalancedAccuracy => counts.balanced_accuracy(),
            Measure::Mcc => counts.mcc(),
            Measure::PrAuc => scores.average_precision(),
            Measure::ScoreSeparation => scores.kolmogorov_smirnov(),
            Measure::Brier => scores.brier(),
            Measure::Ece => scores.calibration_error(Bins::Width(CALIBRATION_BINS)),
            Measure::Lift => scores.lift(wanted.choice.top_share),
            Measure::ValuePerPrediction => match wanted.choice.values.as_ref()? {
                PredictionValues::Binary(values) => counts.value_per_prediction(worth(*values)),
                PredictionValues::Classes(_) => return None,
            },
            _ => return None,
        };
        let mut note = words::of_binary(*measure, positive, wanted.choice);
        if *measure == Measure::Ece
            && let Ok(noise) = scores.calibration_noise(Bins::Width(CALIBRATION_BINS))
        {
            let expected =
                format!("perfectly calibrated scores would be expected to have {noise:.4}");
            note = note.map(|note| format!("{note}; {expected}"));
        }
        Some(QualityValue {
            note,
            ..QualityValue::overall(*measure, quality, counts.labels())
        })
    };
    wanted.measures.iter().filter_map(value).collect()
}

fn worth(values: BinaryValues) -> OutcomeValues {
    OutcomeValues {
        true_positive: values.true_positive,
        false_positive: values.false_positive,
        true_negative: values.true_negative,
        false_negative: values.false_negative,
    }
}

fn multiclass(wanted: Wanted<'_>, outcomes: &MulticlassOutcomes) -> Vec<QualityValue> {
    let counts = outcomes.confusion();
    let labels = counts.labels();
    if labels == 0 {
        return Vec::new();
    }
    let probabilities = outcomes.probabilities();
    let mut values = Vec::new();
    for measure in wanted.measures {
        let quality = match measure {
            Measure::Accuracy => counts.accuracy(),
            Measure::Precision => counts.average(ClassMeasure::Precision, Averaging::Macro),
            Measure::Recall => counts.average(ClassMeasure::Recall, Averaging::Macro),
            Measure::F1 => counts.average(ClassMeasure::F1, Averaging::Macro),
            Measure::RocAuc => probabilities.roc_auc(false),
            Measure::LogLoss => probabilities.log_loss(),
            Measure::BalancedAccuracy => counts.balanced_accuracy(),
            Measure::WeightedPrecision => {
                counts.average(ClassMeasure::Precision, Averaging::Weighted)
            }
            Measure::WeightedF1 => counts.average(ClassMeasure::F1, Averaging::Weighted),
            Measure::Brier => probabilities.brier(),
            Measure::Ece => probabilities.calibration_error(Bins::Width(CALIBRATION_BINS)),
            Measure::TopKAccuracy => probabilities.top_k_accuracy(wanted.choice.top_k),
            Measure::ValuePerPrediction => match &wanted.choice.values {
                Some(PredictionValues::Classes(values)) => {
                    counts.value_per_prediction(|label, predicted| values.of(label, predicted))
                }
                _ => continue,
            },
            measure if measure.is_of_classes() => {
                values.extend(of_classes(*measure, &counts, wanted.choice));
                continue;
            }
            _ => continue,
        };
        values.push(QualityValue {
            note: words::of_multiclass(*measure, wanted.choice),
            ..QualityValue::overall(*measure, quality, labels)
        });
    }
    values
}

/// A measure of each class against the rest.
fn of_classes(
    measure: Measure,
    counts: &ConfusionMatrix,
    choice: &QualityChoice,
) -> Vec<QualityValue> {
    let of_class = |(place, class): (usize, &String)| {
        let own = counts.one_vs_rest(place);
        let quality = match measure {
            Measure::ClassPrecision => own.precision(),
            Measure::ClassRecall => own.recall(),
            _ => own.f1(),
        };
        QualityValue {
            feature: class.clone(),
            note: words::of_multiclass(measure, choice),
            ..QualityValue::overall(measure, quality, counts.labels())
        }
    };
    counts.classes().iter().enumerate().map(of_class).collect()
}

/// Items by the query they were ranked for.
#[derive(Debug, Clone, Default)]
struct Lists {
    queries: BTreeMap<String, Vec<Item>>,
    labels: u64,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    score: Option<f64>,
    rank: Option<f64>,
    relevance: f64,
}

impl Lists {
    fn push(&mut self, outcome: &QualityOutcome) {
        let (Some(query), Some(relevance)) = (&outcome.predicted_class, outcome.label_value) else {
            return;
        };
        let item = Item {
            score: outcome.score,
            rank: outcome.predicted_value,
            relevance,
        };
        self.labels += 1;
        match self.queries.get_mut(query) {
            Some(items) => items.push(item),
            None => {
                self.queries.insert(query.clone(), vec![item]);
            }
        }
    }

    fn measure(&self, wanted: Wanted<'_>) -> Vec<QualityValue> {
        if self.labels == 0 {
            return Vec::new();
        }
        let places = wanted.choice.places;
        let mut outcomes = RankingOutcomes::new(places);
        for items in self.queries.values() {
            // The order that was shown is known by the ranks; the scores are what it was made from.
            let ranked = items.iter().all(|item| item.rank.is_some());
            let of_item = |item: &Item| {
                let by_rank = item.rank.filter(|_| ranked).map(|rank| -rank);
                let score = by_rank.or(item.score).unwrap_or(f64::NAN);
                (score, item.relevance)
            };
            outcomes.push(&items.iter().map(of_item).collect::<Vec<_>>());
        }
        let mut note = format!("at the first {places} places of each query");
        for (left_out, why) in [
            (outcomes.without_relevant(), "have no relevant item"),
            (outcomes.left_out(), "have an item without score and rank"),
        ] {
            if left_out > 0 {
                note += &format!("; {left_out} queries {why} and are left out");
            }
        }
        let value = |measure: &Measure| {
            let quality = match measure {
                Measure::Ndcg => outcomes.measure(RankingMeasure::Ndcg),
                Measure::MeanAveragePrecision => {
                    outcomes.measure(RankingMeasure::MeanAveragePrecision)
                }
                Measure::MeanReciprocalRank => outcomes.measure(RankingMeasure::MeanReciprocalRank),
                Measure::HitRate => outcomes.measure(RankingMeasure::HitRate),
                _ => return None,
            };
            Some(QualityValue {
                note: Some(note.clone()),
                ..QualityValue::overall(*measure, quality, self.labels)
            })
        };
        wanted.measures.iter().filter_map(value).collect()
    }
}

/// Forecasts as points, quantiles, an interval between two of these, and against the naive forecast. Each of the
/// latter only where a forecast has it.
#[derive(Debug, Clone)]
struct Forecasts {
    level: f64,
    points: RegressionOutcomes,
    quantiles: Option<QuantileForecasts>,
    intervals: Option<IntervalForecasts>,
    scaled: Option<ScaledErrors>,
}

impl Forecasts {
    fn new(level: f64) -> Self {
        Self {
            level,
            points: RegressionOutcomes::default(),
            quantiles: None,
            intervals: None,
            scaled: None,
        }
    }

    fn push(&mut self, outcome: &QualityOutcome) {
        let Some(actual) = outcome.label_value else {
            return;
        };
        if let Some(forecast) = outcome.predicted_value {
            self.points.push(forecast, actual);
            if let Some(naive_error) = outcome.score {
                self.scaled
                    .get_or_insert_default()
                    .push(forecast, actual, naive_error);
            }
        }
        if outcome.probabilities.is_empty() {
            return;
        }
        let quantiles = outcome.probabilities.iter();
        let quantiles: Vec<(f64, f64)> = quantiles
            .filter_map(|(level, value)| Some((level.parse().ok()?, *value)))
            .collect();
        self.quantiles
            .get_or_insert_default()
            .push(&quantiles, actual);
        let end = |level: f64| {
            let mut known = quantiles.iter();
            known.find_map(|(of, value)| ((of - level).abs() < SAME_LEVEL).then_some(*value))
        };
        let (low, high) = ((1.0 - self.level) / 2.0, f64::midpoint(1.0, self.level));
        let Some(ends) = end(low).zip(end(high)) else {
            return;
        };
        if self.intervals.is_none() {
            self.intervals = IntervalForecasts::new(self.level).ok();
        }
        if let Some(intervals) = &mut self.intervals {
            intervals.push(ends, actual);
        }
    }

    fn note(&self, measure: Measure) -> Option<String> {
        match measure {
            Measure::PinballLoss => {
                return Some(
                    "over the quantiles of each forecast, and then over the forecasts".to_owned(),
                );
            }
            Measure::Mase => {
                return Some(
                    "each error over the naive error of its forecast, and the mean of these"
                        .to_owned(),
                );
            }
            measure if !measure.is_of_interval() => return words::of_errors(measure),
            _ => {}
        }
        let mut note = format!(
            "of intervals that should hold {:.4} of what happens",
            self.level
        );
        let crossed = self
            .intervals
            .as_ref()
            .map_or(0, IntervalForecasts::crossed);
        if crossed > 0 {
            note += &format!("; {crossed} whose ends have changed places are left out");
        }
        Some(note)
    }

    fn measure(&self, wanted: Wanted<'_>) -> Vec<QualityValue> {
        let labels = self.points.labels();
        if labels == 0 {
            return Vec::new();
        }
        let errors = self.points.errors();
        let of_intervals = |of: fn(&IntervalForecasts) -> Quality| match &self.intervals {
            Some(intervals) => of(intervals),
            None => Err(Undefined::NoIntervals),
        };
        let value = |measure: &Measure| {
            let quality = match measure {
                Measure::PinballLoss => match &self.quantiles {
                    Some(quantiles) => quantiles.pinball_loss(),
                    None => Err(Undefined::NoQuantiles),
                },
                Measure::IntervalCoverage => of_intervals(IntervalForecasts::coverage),
                Measure::IntervalWidth => of_intervals(IntervalForecasts::width),
                Measure::IntervalScore => of_intervals(IntervalForecasts::interval_score),
                Measure::Mase => match &self.scaled {
                    Some(scaled) => scaled.mase(),
                    None => Err(Undefined::NoNaiveErrors),
                },
                measure => of_errors(*measure, &errors)?,
            };
            Some(QualityValue {
                note: self.note(*measure),
                ..QualityValue::overall(*measure, quality, labels)
            })
        };
        wanted.measures.iter().filter_map(value).collect()
    }
}
