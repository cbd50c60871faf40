//! Quality before labels: an estimator that is learnt from a baseline's labelled rows, what it says of a window's
//! predictions, and how far off it has been.
//!
//! Estimates are tickets and never pages, and no estimate is a proof of health: where what the scores mean has changed,
//! which is concept change, no score and no feature shows it. That sentence goes with every value.

mod coding;
mod words;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::batch::Output;
use super::columns;
use super::labelled::{LabelledSample, Truth};
use super::measurement::{Better, Measure, Recipe, Status};
use super::model::Task;
use super::promise::Promise;
use crate::stats::detector::{Damaged, Form, decode, encode};
use crate::stats::estimation::label_shift::{JointCounts, LabelShift};
use crate::stats::estimation::{
    BinaryEstimates, BoostingOptions, Calibration, ClassCalibration, ClassEstimates, ClassWindow,
    Compared, ConceptChange, Distrust, Estimated, Estimation, LossEstimates, LossModel, LossWindow,
    Reliability, ScoreWindow,
};
use crate::stats::limits::chance_needed;
use crate::stats::quality::Undefined;
use crate::stats::tails::normal_quantile;
pub use coding::Coding;
use coding::coded;
use words::{distrust_words, in_words, name, promise, reliability_words, words};

const ESTIMATOR: Form = Form {
    family: 19,
    version: 2,
};

/// The score from which on a binary prediction without a class counts as positive.
pub const POSITIVE_FROM: f64 = 0.5;
/// Groups of scores by which a shift of the classes is told from other shifts.
const GROUPS: usize = 10;
/// A correction for label shift is not to be used where so little speaks for its supposition.
const IMPURE: f64 = 0.01;
/// How often estimates are called blind that are not.
const BLINDED_BY_CHANCE: &str =
    "by chance about once in 800 windows that err independently of each other";
/// The windows that the reliability is told of.
const WINDOWS_TOLD: usize = 12;
/// How much worse than the baseline is no finding: points of a share, and a share of an error.
pub const USUAL_TOLERANCE_OF_SHARES: f64 = 0.02;
pub const USUAL_TOLERANCE_OF_ERRORS: f64 = 0.1;
/// A calibration that is older is flagged, in seconds: half a year.
const OLDEST: f64 = 182.5 * 86_400.0;

/// The sentence without which no estimate is shown.
pub const BLIND_SPOT: &str = "an estimate without labels cannot see that the same rows would be answered otherwise today \
                              (concept change)";

/// What was learnt from labelled rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Estimator {
    Binary {
        calibration: Calibration,
        joint: JointCounts,
    },
    Classes {
        classes: Vec<String>,
        calibration: ClassCalibration,
        /// By class, the probability from which on a prediction of it is one of the surer half.
        sure_from: Vec<f64>,
        joint: JointCounts,
    },
    Numbers {
        codings: Vec<Coding>,
        model: LossModel,
    },
}

/// A window's predictions as an estimator counts them.
#[derive(Debug, Clone, PartialEq)]
pub enum Counted {
    Binary {
        scores: ScoreWindow,
        /// Groups of scores by day.
        days: BTreeMap<i64, Vec<u64>>,
    },
    Classes {
        rows: ClassWindow,
        /// Predicted classes, sure and less sure, by day.
        days: BTreeMap<i64, Vec<u64>>,
        /// What the rows are corrected for while they are counted.
        shift: Option<LabelShift>,
    },
    Numbers(LossWindow),
}

impl Estimator {
    /// Learns from the labelled rows of a baseline.
    ///
    /// # Errors
    /// With too few of them, or none of some class.
    pub fn fit(sample: &LabelledSample, task: Task) -> Result<Self, Undefined> {
        match task {
            Task::Binary => Self::fit_binary(sample),
            Task::Multiclass => Self::fit_classes(sample),
            Task::Regression => Self::fit_numbers(sample),
            // The model's file refuses estimates of these.
            Task::Ranking | Task::Forecast => Err(Undefined::NoOutcomes),
        }
    }

    fn fit_binary(sample: &LabelledSample) -> Result<Self, Undefined> {
        let scored: Vec<(f64, bool)> = (sample.rows.iter())
            .filter_map(|row| match row.truth {
                Truth::Binary {
                    score: Some(score),
                    label,
                    ..
                } if !score.is_nan() => Some((score, label)),
                _ => None,
            })
            .collect();
        let calibration = Calibration::fit(&scored, Some(POSITIVE_FROM))?;
        let mut joint = JointCounts::new(GROUPS, 2);
        for (score, label) in &scored {
            joint.push(group(&calibration, *score), usize::from(*label));
        }
        Ok(Self::Binary { calibration, joint })
    }

    fn fit_classes(sample: &LabelledSample) -> Result<Self, Undefined> {
        let mut classes: Vec<String> = (sample.rows.iter())
            .filter_map(|row| match &row.truth {
                Truth::Class { label, .. } => Some(label.clone()),
                _ => None,
            })
            .collect();
        classes.sort_unstable();
        classes.dedup();
        let place = |class: &String| classes.binary_search(class).ok();
        let mut rows: Vec<(Vec<f64>, usize)> = Vec::new();
        let mut predicted = Vec::new();
        for row in &sample.rows {
            if let Truth::Class {
                label,
                probabilities,
                predicted: class,
            } = &row.truth
                && let (Some(label), Some(row)) = (place(label), vector(&classes, probabilities))
            {
                rows.push((row, label));
                predicted.push(place(class));
            }
        }
        if rows.is_empty() {
            return Err(Undefined::NoScores);
        }
        let calibration = ClassCalibration::fit(&rows, classes.len())?;
        let answers: Vec<(f64, usize, usize)> = (rows.iter().zip(predicted))
            .filter_map(|((row, label), class)| Some((row[class?], class?, *label)))
            .collect();
        let sure_from: Vec<f64> = (0..classes.len())
            .map(|class| median((answers.iter()).filter(|a| a.1 == class).map(|a| a.0)))
            .collect();
        let mut joint = JointCounts::new(2 * classes.len(), classes.len());
        for (probability, class, label) in answers {
            joint.push(group_of_class(&sure_from, class, probability), label);
        }
        Ok(Self::Classes {
            classes,
            calibration,
            sure_from,
            joint,
        })
    }

    fn fit_numbers(sample: &LabelledSample) -> Result<Self, Undefined> {
        let mut keep = Vec::new();
        let (mut predictions, mut errors) = (Vec::new(), Vec::new());
        for (place, row) in sample.rows.iter().enumerate() {
            if let Truth::Number { predicted, label } = row.truth
                && (predicted - label).is_finite()
            {
                keep.push(place);
                predictions.push(predicted);
                errors.push(predicted - label);
            }
        }
        let kept: Vec<columns::Column> = sample
            .features
            .iter()
            .map(|column| column.select(&keep))
            .collect();
        let codings: Vec<Coding> = kept.iter().filter_map(Coding::of).collect();
        let columns = coded(&codings, &kept, predictions);
        let model = LossModel::fit(&columns, &errors, &BoostingOptions::default())?;
        Ok(Self::Numbers { codings, model })
    }

    /// The features that have to be read of a window.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        match self {
            Self::Numbers { codings, .. } => codings
                .iter()
                .map(|coding| coding.feature.clone())
                .collect(),
            Self::Binary { .. } | Self::Classes { .. } => Vec::new(),
        }
    }

    /// A window without predictions.
    #[must_use]
    pub fn window(&self) -> Counted {
        match self {
            Self::Binary { calibration, .. } => Counted::Binary {
                scores: ScoreWindow::of(calibration),
                days: BTreeMap::new(),
            },
            Self::Classes { calibration, .. } => Counted::Classes {
                rows: ClassWindow::of(calibration),
                days: BTreeMap::new(),
                shift: None,
            },
            Self::Numbers { model, .. } => Counted::Numbers(model.table().window()),
        }
    }

    /// A window without predictions that corrects those it is given for the shift of the classes that a window has shown. Nothing
    /// where none can be told from it, and where [`Self::estimates`] needs no second reading to correct it.
    #[must_use]
    pub fn corrected_window(&self, counted: &Counted) -> Option<Counted> {
        match (self, counted) {
            (
                Self::Classes {
                    calibration, joint, ..
                },
                Counted::Classes { days, .. },
            ) => Some(Counted::Classes {
                rows: ClassWindow::of(calibration),
                days: BTreeMap::new(),
                shift: Some(shift_of(joint, days)?),
            }),
            _ => None,
        }
    }

    /// Counts predictions into a window, each with the number of its day; `features` have one element for each of them. What
    /// has no score or no value says nothing.
    ///
    /// # Errors
    /// If the window was counted by another estimator.
    pub fn count(
        &self,
        counted: &mut Counted,
        outputs: &[(i64, Output)],
        features: &[columns::Column],
        positive: &str,
    ) -> Result<(), Undefined> {
        match (self, counted) {
            (Self::Binary { calibration, .. }, Counted::Binary { scores, days }) => {
                for (day, output) in outputs {
                    let Some(score) = output.score.filter(|score| !score.is_nan()) else {
                        continue;
                    };
                    let predicted = match &output.class {
                        Some(class) => class == positive,
                        None => score >= POSITIVE_FROM,
                    };
                    scores.push(calibration, score, predicted);
                    days.entry(*day).or_insert_with(|| vec![0; GROUPS])
                        [group(calibration, score)] += 1;
                }
                Ok(())
            }
            (
                Self::Classes {
                    classes,
                    calibration,
                    sure_from,
                    ..
                },
                Counted::Classes { rows, days, shift },
            ) => {
                for (day, output) in outputs {
                    let place =
                        (output.class.as_ref()).and_then(|class| classes.binary_search(class).ok());
                    if let (Some(place), Some(row)) =
                        (place, vector(classes, &output.probabilities))
                    {
                        rows.push(calibration, &row, place, shift.as_ref());
                        days.entry(*day)
                            .or_insert_with(|| vec![0; 2 * classes.len()])
                            [group_of_class(sure_from, place, row[place])] += 1;
                    }
                }
                Ok(())
            }
            (Self::Numbers { codings, model }, Counted::Numbers(window)) => {
                let keep: Vec<usize> = (outputs.iter().enumerate())
                    .filter(|(_, (_, output))| output.value.is_some_and(f64::is_finite))
                    .map(|(place, _)| place)
                    .collect();
                let predictions = keep
                    .iter()
                    .filter_map(|place| outputs[*place].1.value)
                    .collect();
                let features: Vec<columns::Column> =
                    features.iter().map(|column| column.select(&keep)).collect();
                model.count(window, &coded(codings, &features, predictions))
            }
            _ => Err(Undefined::BadParameter),
        }
    }

    /// As bytes with family, version and checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(ESTIMATOR, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        decode(ESTIMATOR, bytes)
    }

    /// What the labels of a window will say, and what [`Self::corrected_window`] makes of it where there is one. `age` is that of
    /// the baseline, in seconds.
    ///
    /// # Errors
    /// Without predictions, or with a window that was counted by another estimator.
    pub fn estimates(
        &self,
        counted: &Counted,
        corrected: Option<&Counted>,
        age: f64,
    ) -> Result<Estimates, Undefined> {
        let age = (age, OLDEST);
        match (self, counted) {
            (Self::Binary { calibration, joint }, Counted::Binary { scores, days }) => {
                let plain = BinaryEstimates::new(calibration, scores, None, age)?;
                let shift = shift_of(joint, days);
                let corrected = match &shift {
                    Some(shift) => Some(binary(&BinaryEstimates::new(
                        calibration,
                        scores,
                        Some(shift),
                        age,
                    )?)),
                    None => None,
                };
                Ok(Estimates {
                    rows: scores.rows(),
                    trust: plain.trust().clone(),
                    values: binary(&plain),
                    shift: shift.zip(corrected),
                    classes: ["negative", "positive"].map(str::to_owned).to_vec(),
                })
            }
            (
                Self::Classes {
                    classes,
                    calibration,
                    ..
                },
                Counted::Classes { rows, .. },
            ) => {
                let plain = ClassEstimates::new(calibration, rows, age)?;
                let shift = match corrected {
                    Some(Counted::Classes {
                        rows,
                        shift: Some(shift),
                        ..
                    }) => {
                        let of = ClassEstimates::new(calibration, rows, age)?;
                        Some((shift.clone(), of_classes(&of)))
                    }
                    _ => None,
                };
                Ok(Estimates {
                    rows: rows.rows(),
                    trust: plain.trust().clone(),
                    values: of_classes(&plain),
                    shift,
                    classes: classes.clone(),
                })
            }
            (Self::Numbers { model, .. }, Counted::Numbers(window)) => {
                let of: LossEstimates = model.table().estimate(window, age)?;
                Ok(Estimates {
                    rows: window.rows(),
                    trust: of.trust.clone(),
                    values: vec![
                        (Measure::EstimatedMae, Ok(of.mean)),
                        (Measure::EstimatedRmse, Ok(of.root_mean_square())),
                    ],
                    shift: None,
                    classes: Vec::new(),
                })
            }
            _ => Err(Undefined::BadParameter),
        }
    }
}

fn binary(of: &BinaryEstimates) -> Vec<(Measure, Estimation)> {
    vec![
        (Measure::EstimatedAccuracy, of.accuracy()),
        (Measure::EstimatedPrecision, of.precision()),
        (Measure::EstimatedRecall, of.recall()),
        (Measure::EstimatedF1, of.f1()),
        (Measure::EstimatedRocAuc, of.roc_auc()),
    ]
}

fn of_classes(of: &ClassEstimates) -> Vec<(Measure, Estimation)> {
    vec![
        (Measure::EstimatedAccuracy, of.accuracy()),
        (Measure::EstimatedPrecision, of.precision()),
        (Measure::EstimatedRecall, of.recall()),
        (Measure::EstimatedF1, of.f1()),
        (Measure::EstimatedRocAuc, of.roc_auc()),
    ]
}

/// The classes' new shares, from the groups of a window's predictions by day; nothing where they cannot be told.
fn shift_of(joint: &JointCounts, days: &BTreeMap<i64, Vec<u64>>) -> Option<LabelShift> {
    let days: Vec<Vec<u64>> = days.values().cloned().collect();
    LabelShift::estimate(joint, &days).ok()
}

/// The group of a prediction: its class, and whether it is one of the surer half. More groups than classes tell pure label shift
/// from other shifts.
fn group_of_class(sure_from: &[f64], class: usize, probability: f64) -> usize {
    2 * class + usize::from(probability >= sure_from[class])
}

/// Infinite of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
        .get(values.len() / 2)
        .copied()
        .unwrap_or(f64::INFINITY)
}

fn group(calibration: &Calibration, score: f64) -> usize {
    calibration.bins().of(score) * GROUPS / calibration.bins().len()
}

/// A row's probabilities in the order of the classes; classes without one have none. Nothing without any.
fn vector(classes: &[String], probabilities: &[(String, f64)]) -> Option<Vec<f64>> {
    let known: HashMap<&str, f64> = probabilities
        .iter()
        .map(|(class, p)| (class.as_str(), *p))
        .collect();
    let row: Vec<f64> = (classes.iter())
        .map(|class| known.get(class.as_str()).copied().unwrap_or(0.0))
        .collect();
    (row.iter().sum::<f64>() > 0.0).then_some(row)
}

/// What the labels of a window are expected to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    pub rows: u64,
    trust: Vec<Distrust>,
    pub values: Vec<(Measure, Estimation)>,
    /// The classes' new shares, and what follows if nothing else has changed.
    shift: Option<(LabelShift, Vec<(Measure, Estimation)>)>,
    /// The classes by name, in their order.
    classes: Vec<String>,
}

/// What else is known when an estimate is judged.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// The baseline's value of what is estimated.
    pub reference: Option<f64>,
    /// How much worse is no finding; the usual if nothing is given.
    pub tolerance: Option<f64>,
    /// Estimates of earlier windows beside their labels.
    pub reliability: &'a Reliability,
    /// The fewest predictions a window must have.
    pub least_rows: u64,
    /// The length of the window in days.
    pub days: f64,
    pub unit: &'a str,
}

/// What an estimate was judged by, stored beside the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EstimateRecipe {
    /// Why it should not be leant on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distrust: Vec<Distrust>,
    /// The same if only the classes' shares have changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected: Option<Estimated>,
    /// The classes' shares of which it is the same; those that have changed most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_shares: Vec<ClassShare>,
    /// How likely pure label shift is to leave so much unexplained; low says that the correction is not to be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_shift_p: Option<f64>,
    /// "Has been within x of the truth for the last n windows."
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<f64>,
    pub windows: usize,
    /// The mean size of the error, and the share of intervals that held, over these windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// The smallest drops that would be seen in 1, 7 and 28 days, with a chance of 90 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smallest: Vec<(f64, f64)>,
}

/// A class's share of a window's labels, if nothing but the classes' shares has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassShare {
    pub class: String,
    /// In the baseline.
    pub before: f64,
    pub now: f64,
    /// 95 % interval of the share now.
    pub interval: (f64, f64),
}

/// What is said of a window by one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub status: Status,
    pub recipe: Recipe,
}

const METHOD: &str = "what labelled rows of the baseline with such scores and features came to, over the window's predictions";

impl Estimates {
    fn class_shares(&self) -> Vec<ClassShare> {
        let Some((shift, _)) = &self.shift else {
            return Vec::new();
        };
        let mut shares: Vec<ClassShare> = (self.classes.iter().enumerate())
            .map(|(place, class)| {
                let (now, wide) = (shift.shares[place], 1.96 * shift.errors[place]);
                ClassShare {
                    class: class.clone(),
                    before: shift.before[place],
                    now,
                    interval: ((now - wide).max(0.0), (now + wide).min(1.0)),
                }
            })
            .collect();
        let change = |share: &ClassShare| (share.now - share.before).abs();
        shares.sort_by(|a, b| change(b).total_cmp(&change(a)));
        shares
    }

    /// What is said of one of the values.
    #[must_use]
    pub fn told(
        &self,
        measure: Measure,
        estimation: Estimation,
        around: &Circumstances<'_>,
    ) -> Told {
        let estimated = match estimation {
            Ok(_) if self.rows < around.least_rows => {
                return unsaid(&format!("fewer than {} predictions", around.least_rows));
            }
            Ok(estimated) => estimated,
            Err(undefined) => {
                return unsaid(&format!("not defined for these predictions: {undefined}"));
            }
        };
        let corrected = self.shift.as_ref().and_then(|(shift, values)| {
            let (_, value) = values.iter().find(|(of, _)| *of == measure)?;
            let p = shift.is_pure.map(crate::stats::PValue::value);
            Some((value.ok()?, p))
        });
        let tolerance = tolerance(measure, around);
        let drop = around
            .reference
            .and_then(|reference| drop_of(measure, estimated, reference, tolerance));
        let harmless = tolerance_in_units(measure, around, tolerance);
        let change = around.reliability.concept_change(harmless);
        let half = (estimated.interval.1 - estimated.interval.0) / 2.0;
        let limit = around
            .reference
            .map(|reference| limit_of(measure, reference, tolerance));
        let recipe = EstimateRecipe {
            distrust: self.trust.clone(),
            corrected: corrected.map(|(value, _)| value),
            class_shares: corrected.map_or_else(Vec::new, |_| self.class_shares()),
            label_shift_p: corrected.and_then(|(_, p)| p),
            within: around.reliability.within(WINDOWS_TOLD).map(|(x, _)| x),
            windows: around
                .reliability
                .within(WINDOWS_TOLD)
                .map_or(0, |(_, n)| n),
            mean_absolute_error: around.reliability.mean_absolute_error(WINDOWS_TOLD),
            coverage: around.reliability.coverage(WINDOWS_TOLD),
            smallest: smallest(half, harmless, around.days),
        };
        let cause = self.why_untrusted(change);
        let status = match (&cause, drop) {
            (Some(_), _) => Status::Insufficient,
            (None, Some(_)) => Status::Drift,
            (None, None) => Status::Ok,
        };
        let detail = words(measure, estimated, &recipe, around, change);
        Told {
            value: Some(estimated.value),
            interval: Some(estimated.interval),
            status,
            recipe: Recipe {
                method: METHOD.to_owned(),
                threshold: limit,
                cause,
                detail: Some(detail),
                promise: Some(promise(measure, &recipe, around.unit)),
                estimate: Some(recipe),
                ..Recipe::default()
            },
        }
    }

    fn why_untrusted(&self, change: ConceptChange) -> Option<String> {
        let mut causes: Vec<String> = self.trust.iter().map(distrust_words).collect();
        if let ConceptChange::Blinded { windows, .. } = change {
            causes.push(format!(
                "labels have contradicted it for {windows} windows in a row: what the scores mean has changed"
            ));
        }
        (!causes.is_empty()).then(|| causes.join("; "))
    }
}

/// What labels say of earlier estimates: how much too good (or bad) the last were, and whether that is concept change.
#[must_use]
pub fn error_told(measure: Measure, around: &Circumstances<'_>) -> Told {
    let (reliability, unit) = (around.reliability, around.unit);
    let harmless = tolerance_in_units(measure, around, tolerance(measure, around));
    let Some(last) = reliability.mean_absolute_error(1) else {
        return unsaid("no window that was estimated has all its labels yet");
    };
    let (value, status, found) = match reliability.concept_change(harmless) {
        ConceptChange::Unknown | ConceptChange::Agrees => {
            let found = if reliability.coverage(1) == Some(1.0) {
                "the last estimate was as close to its labels as its interval says"
            } else {
                "the last estimate was outside its interval, but no further off than is let pass or than is usual here"
            };
            (last, Status::Ok, found.to_owned())
        }
        ConceptChange::Off { by } => (
            by.abs(),
            Status::Ok,
            "the last estimate was further off than its interval says, which one in twenty is"
                .to_owned(),
        ),
        ConceptChange::Blinded { windows, by } => (
            by.abs(),
            Status::Drift,
            format!(
                "for the last {windows} windows {} was estimated {} too {} on average: what the scores mean has changed \
                 (concept change), and the estimates do not see it; go by the labels",
                name(measure),
                in_words(measure, by.abs(), unit),
                if by > 0.0 { "high" } else { "low" }
            ),
        ),
    };
    Told {
        value: Some(value),
        interval: None,
        status,
        recipe: Recipe {
            method:
                "the estimate less what the labels said, of the last windows whose labels are in"
                    .to_owned(),
            threshold: Some(harmless),
            detail: Some(format!(
                "{found}; {BLINDED_BY_CHANCE}; {}",
                reliability_words(measure, reliability, unit)
            )),
            promise: Some(Promise {
                errs: BLINDED_BY_CHANCE.to_owned(),
                sees: format!(
                    "windows in a row that are off to the same side by more than their intervals and {}",
                    in_words(measure, harmless, unit)
                ),
            }),
            ..Recipe::default()
        },
    }
}

fn unsaid(cause: &str) -> Told {
    Told {
        value: None,
        interval: None,
        status: Status::Insufficient,
        recipe: Recipe {
            method: METHOD.to_owned(),
            cause: Some(cause.to_owned()),
            detail: Some(BLIND_SPOT.to_owned()),
            ..Recipe::default()
        },
    }
}

fn is_error(measure: Measure) -> bool {
    measure.better() == Better::Lower
}

fn tolerance(measure: Measure, around: &Circumstances<'_>) -> f64 {
    around.tolerance.unwrap_or(if is_error(measure) {
        USUAL_TOLERANCE_OF_ERRORS
    } else {
        USUAL_TOLERANCE_OF_SHARES
    })
}

fn tolerance_in_units(measure: Measure, around: &Circumstances<'_>, tolerance: f64) -> f64 {
    if is_error(measure) {
        tolerance * around.reference.unwrap_or(0.0)
    } else {
        tolerance
    }
}

fn limit_of(measure: Measure, reference: f64, tolerance: f64) -> f64 {
    if is_error(measure) {
        reference * (1.0 + tolerance)
    } else {
        reference - tolerance
    }
}

/// How much worse than the baseline at least, beyond the tolerance, if it is.
fn drop_of(measure: Measure, estimated: Estimated, reference: f64, tolerance: f64) -> Option<f64> {
    let limit = limit_of(measure, reference, tolerance);
    let by = if is_error(measure) {
        estimated.interval.0 - limit
    } else {
        limit - estimated.interval.1
    };
    (by > 0.0).then_some(by)
}

/// The chance with which the smallest drop is to be seen.
const POWER: f64 = 0.9;

/// With half of the interval `half` of a window of so many days: the true drop that is seen with a chance of 90 % within as
/// many windows as a day, a week and four weeks have, each looked at alone.
fn smallest(half: f64, tolerance: f64, window_days: f64) -> Vec<(f64, f64)> {
    let error = half / normal_quantile(0.975);
    let of = |days: f64| {
        let chance = chance_needed(POWER, 1, (days / window_days) as usize)?;
        Some((days, tolerance + half + normal_quantile(chance) * error))
    };
    [1.0, 7.0, 28.0].into_iter().filter_map(of).collect()
}

/// An estimate beside what its labels said, for the reliability. The labels' own chance is part of the interval.
#[must_use]
pub fn compared(value: f64, interval: (f64, f64), realised: f64) -> Compared {
    Compared {
        estimated: Estimated { value, interval },
        realised,
    }
}

/// The interval of an estimate of all predictions, for the part of them whose labels have come: chance is larger with fewer.
#[must_use]
pub fn widened(estimated: (f64, (f64, f64)), rows: u64, labels: u64) -> (f64, f64) {
    let (value, (low, high)) = estimated;
    let factor = (rows as f64 / labels.max(1) as f64).max(1.0).sqrt();
    (
        value - (value - low) * factor,
        value + (high - value) * factor,
    )
}

#[cfg(test)]
mod tests;
