//! Quality of predictions against their labels, overall and per segment: one path for windows, baselines,
//! gates and watches, so that they cannot disagree.

mod gathered;
mod words;

use std::collections::BTreeMap;

pub use gathered::Gathered;

use super::profiling;
use crate::domain::batch::{LabelValue, Output};
use crate::domain::causes::LossKind;
use crate::domain::labelled::Truth;
use crate::domain::measurement::{Measure, Segment};
use crate::domain::model::Task;
use crate::domain::quality::QualityChoice;
use crate::stats::quality::{Disparity, FairnessRate, GroupOutcomes, Quality};
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

/// A value carried by fewer outcomes than this says nothing, however many labels there are: a recall of three
/// positives.
const LEAST_CARRYING: u64 = 20;
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
    let mut gathered = Gathered::new(model.task, positive_class(model), wanted.choice);
    outcomes.for_each(|outcome| gathered.push(outcome));
    gathered.measure(wanted)
}

/// The label whose probability the score of a binary model is.
#[must_use]
pub fn positive_class(model: &Model) -> &str {
    model.positive_class.as_deref().unwrap_or("1")
}

/// Why a value says too little to be gone by, if it does.
#[must_use]
pub fn why_insufficient(quality: &QualityValue, min_labels: u64) -> Option<String> {
    let needed = LEAST_CARRYING.min(min_labels);
    match quality.quality {
        Err(undefined) => Some(format!("not defined for these labels: {undefined}")),
        Ok(_) if quality.labels < min_labels => Some(format!("fewer than {min_labels} labels")),
        Ok(estimate) if estimate.size < needed => Some(format!(
            "only {} of the labels carry the value, fewer than {needed}",
            estimate.size
        )),
        Ok(_) => None,
    }
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
            (Task::Ranking | Task::Forecast, _) => return None,
        };
        lost.is_finite().then_some(lost)
    }

    /// What the prediction and the label say together; nothing where either is of another kind than the model's task.
    #[must_use]
    pub fn truth(&self, model: &Model) -> Option<Truth> {
        Some(match model.task {
            Task::Regression => Truth::Number {
                predicted: self.predicted_value?,
                label: self.label_value?,
            },
            Task::Binary => {
                let (predicted, label) = self.yes_or_no(positive_class(model))?;
                Truth::Binary {
                    score: self.score,
                    predicted,
                    label,
                }
            }
            Task::Multiclass => Truth::Class {
                predicted: self.predicted_class.clone()?,
                label: self.label_class.clone()?,
                probabilities: self.probabilities.clone(),
            },
            // Nothing that watches labels as they come knows what a good ranking or a good forecast is.
            Task::Ranking | Task::Forecast => return None,
        })
    }
}

/// Outcomes as they are stored, each with its values of the declared segments.
#[must_use]
pub fn with_segments(outcomes: Vec<Outcome>) -> Vec<(QualityOutcome, Vec<String>)> {
    let taken = outcomes.into_iter().map(|mut outcome| {
        let segments = std::mem::take(&mut outcome.segments);
        (QualityOutcome::of_stored(outcome), segments)
    });
    taken.collect()
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
    let is_wanted = wanted.measures.iter().any(|measure| measure.is_of_groups());
    if !is_wanted || model.task != Task::Binary {
        return Vec::new();
    }
    let mut values = Vec::new();
    for field in &wanted.choice.groups {
        let Some(place) = model.segments.iter().position(|segment| segment == field) else {
            continue;
        };
        let mut groups = GroupOutcomes::default();
        for (outcome, segments) in outcomes {
            let decided = outcome.yes_or_no(positive_class(model));
            if let (Some((predicted, label)), Some(group)) = (decided, segments.get(place)) {
                groups.push(group, predicted, label);
            }
        }
        values.extend(of_groups_of(field, wanted.measures, &groups));
    }
    values
}

/// The measures of fairness among these, for the groups of one field.
pub fn of_groups_of(
    field: &str,
    measures: &[Measure],
    groups: &GroupOutcomes,
) -> Vec<QualityValue> {
    let of_groups = measures.iter().filter(|measure| measure.is_of_groups());
    of_groups
        .map(|measure| of_field(*measure, field, groups, groups.labels()))
        .collect()
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
