//! Quality of predictions against their labels, overall and per segment: one path for windows, baselines,
//! gates and watches, so that they cannot disagree.

use std::collections::BTreeMap;

use super::profiling;
use crate::domain::batch::{LabelValue, Output};
use crate::domain::causes::LossKind;
use crate::domain::measurement::{Measure, Segment};
use crate::domain::model::Task;
use crate::domain::quality::{PredictionValues, QualityChoice};
use crate::stats::quality::{
    Averaging, BinaryOutcomes, Bins, ClassMeasure, ConfusionMatrix, Disparity, FairnessRate,
    GroupOutcomes, MulticlassOutcomes, OutcomeValues, Quality, RegressionOutcomes,
};
use crate::storage::labels::Outcome;
use crate::storage::models::Model;

/// A prediction together with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityOutcome {
    predicted_value: Option<f64>,
    predicted_class: Option<String>,
    score: Option<f64>,
    probabilities: Vec<(String, f64)>,
    label_value: Option<f64>,
    label_class: Option<String>,
}

impl QualityOutcome {
    /// From what is stored.
    #[must_use]
    pub fn of_stored(outcome: Outcome) -> Self {
        let probabilities = outcome
            .probabilities
            .as_ref()
            .and_then(serde_json::Value::as_object)
            .map(|classes| {
                classes
                    .iter()
                    .filter_map(|(class, p)| Some((class.clone(), p.as_f64()?)))
                    .collect()
            })
            .unwrap_or_default();
        Self {
            predicted_value: outcome.predicted_value,
            predicted_class: outcome.predicted_class,
            score: outcome.score,
            probabilities,
            label_value: outcome.label_value,
            label_class: outcome.label_class,
        }
    }

    /// From a row of a reference file.
    #[must_use]
    pub fn of_file(output: &Output, label: &LabelValue) -> Self {
        let (label_value, label_class) = match label {
            LabelValue::Number(value) => (Some(*value), None),
            LabelValue::Class(class) => (None, Some(class.clone())),
        };
        Self {
            predicted_value: output.value,
            predicted_class: output.class.clone(),
            score: output.score,
            probabilities: output.probabilities.clone(),
            label_value,
            label_class,
        }
    }
}

/// One measure of quality.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityValue {
    pub measure: Measure,
    /// The class or the field of groups the value is about; empty for values about the whole model.
    pub feature: String,
    /// The value with its interval, or why there is none.
    pub quality: Quality,
    /// How many predictions have a label the measure can use.
    pub labels: u64,
    /// What else has to be known to read the value.
    pub note: Option<String>,
}

impl QualityValue {
    /// Nothing where the measure is not defined, as the area under the curve with one class only.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.quality.ok().map(|estimate| estimate.value)
    }

    /// The 95 % interval, where one is known.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.quality.ok().and_then(|estimate| estimate.interval)
    }

    fn overall(measure: Measure, quality: Quality, labels: u64) -> Self {
        Self {
            measure,
            feature: String::new(),
            quality,
            labels,
            note: None,
        }
    }
}

/// What is wanted: measures, and the parameters of those that have some.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub measures: &'a [Measure],
    pub choice: &'a QualityChoice,
}

/// The score from which on a binary prediction without a class counts as positive.
const POSITIVE_FROM: f64 = 0.5;
/// Bins of the calibration error.
const CALIBRATION_BINS: Bins = Bins::Width(10);
/// Groups with fewer people than this are too small for a rate that could be compared.
pub const LEAST_GROUP: u64 = 20;

/// The wanted measures over the outcomes of a model; empty without outcomes. A measure that the task does not
/// have is left out.
#[must_use]
pub fn of<'o>(
    model: &Model,
    wanted: Wanted<'_>,
    outcomes: impl Iterator<Item = &'o QualityOutcome>,
) -> Vec<QualityValue> {
    match model.task {
        Task::Regression => regression(wanted, outcomes),
        Task::Binary => binary(positive_class(model), wanted, outcomes),
        Task::Multiclass => multiclass(wanted, outcomes),
    }
}

fn positive_class(model: &Model) -> &str {
    model.positive_class.as_deref().unwrap_or("1")
}

fn regression<'o>(
    wanted: Wanted<'_>,
    outcomes: impl Iterator<Item = &'o QualityOutcome>,
) -> Vec<QualityValue> {
    let mut accumulated = RegressionOutcomes::default();
    for outcome in outcomes {
        if let (Some(prediction), Some(label)) = (outcome.predicted_value, outcome.label_value) {
            accumulated.push(prediction, label);
        }
    }
    let labels = accumulated.labels();
    if labels == 0 {
        return Vec::new();
    }
    let errors = accumulated.errors();
    let value = |measure: &Measure| {
        let quality = match measure {
            Measure::Mae => errors.mae(),
            Measure::Rmse => errors.rmse(),
            Measure::Bias => errors.bias(),
            Measure::MedianAbsoluteError => errors.median_absolute_error(),
            Measure::ErrorP90 => errors.absolute_quantile(0.9),
            Measure::Mape => errors.mape(),
            Measure::Smape => errors.smape(),
            Measure::R2 => errors.r2(),
            _ => return None,
        };
        Some(QualityValue::overall(*measure, quality, labels))
    };
    wanted.measures.iter().filter_map(value).collect()
}

impl QualityOutcome {
    /// What the prediction lost, a number of which more is worse; nothing where the loss needs what is not there.
    #[must_use]
    pub fn loss(&self, model: &Model, kind: LossKind) -> Option<f64> {
        let error = || Some(self.predicted_value? - self.label_value?);
        let lost = match (model.task, kind) {
            (Task::Regression, LossKind::SquaredError) => error()?.powi(2),
            (Task::Regression, _) => error()?.abs(),
            (Task::Binary, LossKind::Brier) => {
                let label = self.label_class.as_deref()? == positive_class(model);
                (self.score? - f64::from(u8::from(label))).powi(2)
            }
            (Task::Binary, _) => {
                let (predicted, label) = self.yes_or_no(positive_class(model))?;
                f64::from(u8::from(predicted != label))
            }
            (Task::Multiclass, _) => {
                let wrong = self.predicted_class.as_ref()? != self.label_class.as_ref()?;
                f64::from(u8::from(wrong))
            }
        };
        lost.is_finite().then_some(lost)
    }

    /// Whether a binary model predicted yes, and whether the label is yes; nothing without both.
    fn yes_or_no(&self, positive: &str) -> Option<(bool, bool)> {
        let predicted = match (&self.predicted_class, self.score) {
            (Some(class), _) => class == positive,
            (None, Some(score)) => score >= POSITIVE_FROM,
            (None, None) => return None,
        };
        Some((predicted, self.label_class.as_deref()? == positive))
    }
}

fn binary<'o>(
    positive: &str,
    wanted: Wanted<'_>,
    outcomes: impl Iterator<Item = &'o QualityOutcome>,
) -> Vec<QualityValue> {
    let mut accumulated = BinaryOutcomes::default();
    for outcome in outcomes {
        if let Some((predicted, label)) = outcome.yes_or_no(positive) {
            accumulated.push(outcome.score, predicted, label);
        }
    }
    let counts = accumulated.confusion();
    if counts.labels() == 0 {
        return Vec::new();
    }
    let scores = accumulated.scores();
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
            Measure::Ece => scores.calibration_error(CALIBRATION_BINS),
            Measure::Lift => scores.lift(wanted.choice.top_share),
            Measure::ValuePerPrediction => {
                counts.value_per_prediction(worth(wanted.choice.values?))
            }
            _ => return None,
        };
        let note = match measure {
            Measure::Ece => scores
                .calibration_noise(CALIBRATION_BINS)
                .ok()
                .map(|noise| {
                    format!("perfectly calibrated scores would be expected to have {noise:.4}")
                }),
            Measure::Lift => Some(format!(
                "of the {:.4} of predictions with the highest scores",
                wanted.choice.top_share
            )),
            _ => None,
        };
        Some(QualityValue {
            note,
            ..QualityValue::overall(*measure, quality, counts.labels())
        })
    };
    wanted.measures.iter().filter_map(value).collect()
}

fn worth(values: PredictionValues) -> OutcomeValues {
    OutcomeValues {
        true_positive: values.true_positive,
        false_positive: values.false_positive,
        true_negative: values.true_negative,
        false_negative: values.false_negative,
    }
}

fn multiclass<'o>(
    wanted: Wanted<'_>,
    outcomes: impl Iterator<Item = &'o QualityOutcome>,
) -> Vec<QualityValue> {
    let mut accumulated = MulticlassOutcomes::default();
    for outcome in outcomes {
        if let (Some(predicted), Some(label)) = (&outcome.predicted_class, &outcome.label_class) {
            accumulated.push(predicted, &outcome.probabilities, label);
        }
    }
    let counts = accumulated.confusion();
    let labels = counts.labels();
    if labels == 0 {
        return Vec::new();
    }
    let probabilities = accumulated.probabilities();
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
            Measure::Ece => probabilities.calibration_error(CALIBRATION_BINS),
            Measure::TopKAccuracy => probabilities.top_k_accuracy(wanted.choice.top_k),
            measure if measure.is_of_classes() => {
                values.extend(of_classes(*measure, &counts));
                continue;
            }
            _ => continue,
        };
        let note = (*measure == Measure::TopKAccuracy)
            .then(|| format!("among the {} most probable classes", wanted.choice.top_k));
        values.push(QualityValue {
            note,
            ..QualityValue::overall(*measure, quality, labels)
        });
    }
    values
}

/// A measure of each class against the rest.
fn of_classes(measure: Measure, counts: &ConfusionMatrix) -> Vec<QualityValue> {
    let of_class = |(place, class): (usize, &String)| {
        let own = counts.one_vs_rest(place);
        let quality = match measure {
            Measure::ClassPrecision => own.precision(),
            Measure::ClassRecall => own.recall(),
            _ => own.f1(),
        };
        QualityValue {
            feature: class.clone(),
            ..QualityValue::overall(measure, quality, counts.labels())
        }
    };
    counts.classes().iter().enumerate().map(of_class).collect()
}

/// Quality overall and per value of each declared segment; fairness, which compares the segments, overall only. The
/// rows' segment values are in the order of the model's segments.
#[must_use]
pub fn by_segment(
    model: &Model,
    wanted: Wanted<'_>,
    outcomes: &[(QualityOutcome, Vec<String>)],
) -> BTreeMap<Segment, Vec<QualityValue>> {
    let mut groups: BTreeMap<Segment, Vec<&QualityOutcome>> = BTreeMap::new();
    for (outcome, values) in outcomes {
        for segment in profiling::segments_of(&model.segments, values) {
            groups.entry(segment).or_default().push(outcome);
        }
    }
    let mut measured: BTreeMap<Segment, Vec<QualityValue>> = groups
        .into_iter()
        .map(|(segment, outcomes)| (segment, of(model, wanted, outcomes.into_iter())))
        .collect();
    if let Some(overall) = measured.get_mut(&Segment::overall()) {
        overall.extend(fairness(model, wanted, outcomes));
    }
    measured
}

/// The wanted measures of fairness, for each field of groups.
fn fairness(
    model: &Model,
    wanted: Wanted<'_>,
    outcomes: &[(QualityOutcome, Vec<String>)],
) -> Vec<QualityValue> {
    let of_groups: Vec<Measure> = wanted
        .measures
        .iter()
        .copied()
        .filter(|measure| measure.is_of_groups())
        .collect();
    if of_groups.is_empty() || model.task != Task::Binary {
        return Vec::new();
    }
    let mut values = Vec::new();
    for field in &wanted.choice.groups {
        let Some(place) = model.segments.iter().position(|segment| segment == field) else {
            continue;
        };
        let mut groups = GroupOutcomes::default();
        let mut labels = 0;
        for (outcome, segments) in outcomes {
            let decided = outcome.yes_or_no(positive_class(model));
            if let (Some((predicted, label)), Some(group)) = (decided, segments.get(place)) {
                groups.push(group, predicted, label);
                labels += 1;
            }
        }
        values.extend(
            of_groups
                .iter()
                .map(|measure| of_field(*measure, field, &groups, labels)),
        );
    }
    values
}

fn of_field(measure: Measure, field: &str, groups: &GroupOutcomes, labels: u64) -> QualityValue {
    let rate = match measure {
        Measure::DemographicParityDifference | Measure::DemographicParityRatio => {
            FairnessRate::Selection
        }
        _ => FairnessRate::TruePositive,
    };
    let is_ratio = matches!(
        measure,
        Measure::DemographicParityRatio | Measure::EqualOpportunityRatio
    );
    let disparity = groups.disparity(rate, LEAST_GROUP);
    let note = disparity.as_ref().ok().map(disparity_note);
    let quality = disparity.and_then(|disparity| {
        if is_ratio {
            disparity.ratio
        } else {
            Ok(disparity.difference)
        }
    });
    QualityValue {
        feature: field.to_owned(),
        note,
        ..QualityValue::overall(measure, quality, labels)
    }
}

/// Which groups differ most, by how many people each, and who was too few to be compared.
fn disparity_note(disparity: &Disparity) -> String {
    let side = |(group, rate): &(String, Quality)| match rate {
        Ok(rate) => format!("{group:?} ({:.3} of {})", rate.value, rate.size),
        Err(undefined) => format!("{group:?} ({undefined})"),
    };
    let mut note = format!(
        "{} groups compared; highest {}, lowest {}",
        disparity.compared,
        side(&disparity.highest),
        side(&disparity.lowest)
    );
    if !disparity.too_small.is_empty() {
        let few = disparity
            .too_small
            .iter()
            .map(|(group, size)| format!("{group:?} ({size})"));
        note += &format!("; too small: {}", few.collect::<Vec<_>>().join(", "));
    }
    note
}
