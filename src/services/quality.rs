//! Quality of predictions against their labels, overall and per segment: one path for windows, baselines,
//! gates and watches, so that they cannot disagree.

use std::collections::BTreeMap;

use super::profiling;
use crate::domain::batch::{LabelValue, Output};
use crate::domain::measurement::{Measure, Segment};
use crate::domain::model::Task;
use crate::stats::quality::{BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes};
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
    /// Nothing where the measure is not defined, as the area under the curve with one class only.
    pub value: Option<f64>,
    /// 95 % interval, where one is known.
    pub interval: Option<(f64, f64)>,
    pub labels: u64,
}

/// The score from which on a binary prediction without a class counts as positive.
const POSITIVE_FROM: f64 = 0.5;

/// Every measure of the task over the outcomes; empty without outcomes.
#[must_use]
pub fn of<'o>(
    model: &Model,
    outcomes: impl Iterator<Item = &'o QualityOutcome>,
) -> Vec<QualityValue> {
    match model.task {
        Task::Regression => regression(outcomes),
        Task::Binary => binary(model.positive_class.as_deref().unwrap_or("1"), outcomes),
        Task::Multiclass => multiclass(outcomes),
    }
}

fn regression<'o>(outcomes: impl Iterator<Item = &'o QualityOutcome>) -> Vec<QualityValue> {
    let mut accumulated = RegressionOutcomes::default();
    for outcome in outcomes {
        if let (Some(prediction), Some(label)) = (outcome.predicted_value, outcome.label_value) {
            accumulated.push(prediction, label);
        }
    }
    let Some(summary) = accumulated.summary() else {
        return Vec::new();
    };
    let value = |measure, value, interval| QualityValue {
        measure,
        value: Some(value),
        interval,
        labels: summary.labels,
    };
    vec![
        value(Measure::Mae, summary.mae, summary.mae_interval),
        value(Measure::Rmse, summary.rmse, None),
        value(Measure::Bias, summary.bias, None),
    ]
}

fn binary<'o>(
    positive: &str,
    outcomes: impl Iterator<Item = &'o QualityOutcome>,
) -> Vec<QualityValue> {
    let mut accumulated = BinaryOutcomes::default();
    for outcome in outcomes {
        let predicted = match (&outcome.predicted_class, outcome.score) {
            (Some(class), _) => class == positive,
            (None, Some(score)) => score >= POSITIVE_FROM,
            (None, None) => continue,
        };
        if let Some(label) = &outcome.label_class {
            accumulated.push(outcome.score, predicted, label == positive);
        }
    }
    let Some(summary) = accumulated.summary() else {
        return Vec::new();
    };
    let value = |measure, value, interval| QualityValue {
        measure,
        value,
        interval,
        labels: summary.labels,
    };
    vec![
        value(
            Measure::Accuracy,
            Some(summary.accuracy),
            Some(summary.accuracy_interval),
        ),
        value(Measure::Precision, summary.precision, None),
        value(Measure::Recall, summary.recall, None),
        value(Measure::F1, summary.f1, None),
        value(Measure::RocAuc, summary.roc_auc, None),
        value(Measure::LogLoss, summary.log_loss, None),
    ]
}

fn multiclass<'o>(outcomes: impl Iterator<Item = &'o QualityOutcome>) -> Vec<QualityValue> {
    let mut accumulated = MulticlassOutcomes::default();
    for outcome in outcomes {
        if let (Some(predicted), Some(label)) = (&outcome.predicted_class, &outcome.label_class) {
            accumulated.push(predicted, &outcome.probabilities, label);
        }
    }
    let Some(summary) = accumulated.summary() else {
        return Vec::new();
    };
    let value = |measure, value, interval| QualityValue {
        measure,
        value,
        interval,
        labels: summary.labels,
    };
    vec![
        value(
            Measure::Accuracy,
            Some(summary.accuracy),
            Some(summary.accuracy_interval),
        ),
        value(Measure::Precision, Some(summary.macro_precision), None),
        value(Measure::Recall, Some(summary.macro_recall), None),
        value(Measure::F1, Some(summary.macro_f1), None),
        value(Measure::RocAuc, summary.roc_auc, None),
        value(Measure::LogLoss, summary.log_loss, None),
    ]
}

/// Quality overall and per value of each declared segment. The rows' segment values are in the order of the
/// model's segments.
#[must_use]
pub fn by_segment(
    model: &Model,
    outcomes: &[(QualityOutcome, Vec<String>)],
) -> BTreeMap<Segment, Vec<QualityValue>> {
    let mut groups: BTreeMap<Segment, Vec<&QualityOutcome>> = BTreeMap::new();
    for (outcome, values) in outcomes {
        for segment in profiling::segments_of(&model.segments, values) {
            groups.entry(segment).or_default().push(outcome);
        }
    }
    groups
        .into_iter()
        .map(|(segment, outcomes)| (segment, of(model, outcomes.into_iter())))
        .collect()
}
