//! Why quality was lost, as it is told: how much is input drift and how much concept change, along which features, in
//! which segments, and which rows are new or gone.
//!
//! The arithmetic is that of `stats::causes`; here is which loss is looked at, how rows become cells, and what is said in words
//! to somebody who was just woken.

mod bins;
mod words;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::columns::Column;
use super::measurement::Measure;
use super::model::Task;
use crate::stats::causes::{
    self, Decomposition, FeatureCause, LabelledRows, Moments, Presence, SegmentChange,
};
use crate::stats::estimation::{self, BoostingOptions, LossModel};
use bins::FeatureBins;

/// Labelled rows that the reference needs: of fewer nothing can be learnt of what rows are expected to lose.
pub const LEAST_REFERENCE: usize = 500;
/// Labelled rows that the window needs.
pub const LEAST_CURRENT: usize = 100;
/// Segments are looked for along so many features at most, those that have most to do with the change.
const MOST_SEGMENTED: usize = 24;
/// A list longer than this explains nothing.
const MOST_NAMED: usize = 8;
/// A ranked feature is told below this p-value.
const SIGNIFICANT: f64 = 0.05;
/// Smaller than the usual model of losses: it only has to sort rows into cells.
const TREES: BoostingOptions = BoostingOptions {
    trees: 80,
    leaves: 15,
    rate: 0.1,
    rows_per_leaf: 50,
    shrinkage: 20.0,
    row_share: 0.7,
    column_share: 0.7,
    seed: 1,
};

/// What is summed up over rows: a number of which more is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Prediction against label, without its sign, in the unit of the label.
    AbsoluteError,
    SquaredError,
    /// Squared difference of the score from 0 or 1.
    Brier,
    /// 1 where the predicted class is not the label.
    Wrong,
}

impl LossKind {
    /// The loss of single rows that comes nearest to a measure, which may be none that rows have, such as an area under a curve.
    #[must_use]
    pub fn of(task: Task, measure: Option<Measure>) -> Self {
        match (task, measure) {
            (Task::Regression, Some(Measure::Rmse | Measure::R2)) => Self::SquaredError,
            (Task::Regression, _) => Self::AbsoluteError,
            (
                Task::Binary,
                Some(
                    Measure::RocAuc
                    | Measure::PrAuc
                    | Measure::LogLoss
                    | Measure::Brier
                    | Measure::Ece
                    | Measure::ScoreSeparation
                    | Measure::Lift,
                ),
            ) => Self::Brier,
            // Nothing has a loss of rankings and forecasts row by row.
            (Task::Binary | Task::Multiclass | Task::Ranking | Task::Forecast, _) => Self::Wrong,
        }
    }
}

/// Labelled rows of one side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Side {
    /// Features, and the prediction as one of them; the same names in the same order on both sides.
    pub columns: Vec<Column>,
    /// The loss of each row.
    pub losses: Vec<f64>,
    /// Seconds since 1970.
    pub times: Vec<Option<i64>>,
}

/// A part of the change of the mean loss, above 0 for the worse, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Part {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl From<causes::Part> for Part {
    fn from(part: causes::Part) -> Self {
        Self {
            value: part.value,
            low: part.interval.0,
            high: part.interval.1,
        }
    }
}

/// What the change of the mean loss is made of; the three parts add up to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Change {
    pub total: Part,
    /// Other rows than before, losing what rows like them always lost.
    pub input_drift: Part,
    /// Rows like those before, losing more.
    pub concept_change: Part,
    /// Rows that the reference hardly has: the two cannot be told apart there.
    pub unknown_rows: Part,
    /// Their share of the window.
    pub unknown_share: f64,
    /// The share of the change that input drift explains; only where the change is beyond chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_share: Option<Part>,
}

impl From<Decomposition> for Change {
    fn from(of: Decomposition) -> Self {
        Self {
            total: of.total.into(),
            input_drift: of.input.into(),
            concept_change: of.concept.into(),
            unknown_rows: of.outside.into(),
            unknown_share: of.outside_share,
            input_share: of.input_share().map(Part::from),
        }
    }
}

/// What one feature has to do with the change.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RankedFeature {
    pub feature: String,
    /// What the change of this feature alone would do to the mean loss.
    pub input_drift: Part,
    /// By how much the change of the loss differs along the feature, in the unit of the loss.
    pub unevenness: f64,
    /// Corrected for the number of features.
    pub p_value: f64,
    /// The same in words.
    pub detail: String,
}

/// A segment in which the loss has risen more than in the rest.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FoundSegment {
    /// One or two conditions, such as `carrier = AA and distance from 500 to 750`.
    pub segment: String,
    /// Its share of the window's rows.
    pub share: f64,
    pub rows: u64,
    /// Mean losses.
    pub reference: f64,
    pub current: f64,
    /// By how much more the mean loss has risen than in the rest.
    pub excess: Part,
    /// Corrected for all segments that were looked at.
    pub p_value: f64,
    pub detail: String,
}

/// A segment that is there on one side and as good as not on the other.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PresentSegment {
    pub segment: String,
    /// Shares of the rows.
    pub reference: f64,
    pub current: f64,
    pub p_value: f64,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Labels say too little; the summary tells how many there are and how many are needed.
    TooFewLabels,
    /// The mean loss is what it was, as far as labels can tell.
    NoLoss,
    /// Less is lost than before.
    Improved,
    /// More is lost than before, for the reasons given.
    Lost,
}

/// The rows of a side, for people to judge what was compared.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Compared {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub predictions: u64,
    /// Labelled rows that were found, and how many of them were drawn to be compared.
    pub labelled: u64,
    pub compared: u64,
    /// Nothing without rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_loss: Option<f64>,
}

/// Why quality was lost.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CauseReport {
    pub model: String,
    pub version: String,
    pub loss: LossKind,
    pub outcome: Outcome,
    /// What was found, in sentences; the first says it in one.
    pub summary: Vec<String>,
    pub reference: Compared,
    pub current: Compared,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// What has most to do with the change first.
    pub features: Vec<RankedFeature>,
    /// The clearest first.
    pub segments: Vec<FoundSegment>,
    pub new_segments: Vec<PresentSegment>,
    pub vanished_segments: Vec<PresentSegment>,
    /// What has to be known to read it: sampling, intervals, what was left out.
    pub notes: Vec<String>,
}

/// What is known before rows are looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub model: String,
    pub version: String,
    pub unit: String,
    pub loss: LossKind,
    pub reference: Compared,
    pub current: Compared,
    pub notes: Vec<String>,
}

/// Looks for the causes of a change between two sides of labelled rows.
#[must_use]
pub fn find(setting: Setting, reference: &Side, current: &Side) -> CauseReport {
    let few = reference.losses.len() < LEAST_REFERENCE || current.losses.len() < LEAST_CURRENT;
    let found = if few { None } else { found(reference, current) };
    words::report(setting, found)
}

/// What was found, with the names of what it is about.
struct Found {
    bins: Vec<FeatureBins>,
    change: Decomposition,
    ranking: Vec<FeatureCause>,
    /// The places of the features that segments were looked for along.
    along: Vec<usize>,
    segments: Vec<SegmentChange>,
    presences: Vec<Presence>,
}

/// `None` for rows that cannot be compared, such as losses that are no numbers.
fn found(reference: &Side, current: &Side) -> Option<Found> {
    let order = by_time(reference);
    let columns: Vec<Column> = (reference.columns.iter())
        .map(|column| column.select(&order))
        .collect();
    let losses: Vec<f64> = order.iter().map(|row| reference.losses[*row]).collect();
    let (mut bins, mut sides) = (Vec::new(), [Vec::new(), Vec::new()]);
    let (mut before, mut after): (Vec<Vec<u16>>, Vec<Vec<u16>>) = (Vec::new(), Vec::new());
    for (old, new) in columns.iter().zip(&current.columns) {
        let Some(of) = FeatureBins::of(old, new) else {
            continue;
        };
        for (side, column) in sides.iter_mut().zip(bins::model_columns(&of, old, new)) {
            side.push(column);
        }
        before.push(old.iter().map(|value| of.bin(&value)).collect());
        after.push(new.iter().map(|value| of.bin(&value)).collect());
        bins.push(of);
    }
    let [old, new] = sides;
    let change = causes::decompose(&cells((&old, &losses), (&new, &current.losses))?).ok()?;
    let ranking = causes::rank_features(
        &LabelledRows::new(before.clone(), losses.clone()).ok()?,
        &LabelledRows::new(after.clone(), current.losses.clone()).ok()?,
    )
    .ok()?;
    let along: Vec<usize> = (ranking.iter().take(MOST_SEGMENTED))
        .map(|cause| cause.feature)
        .collect();
    let some = |bins: &[Vec<u16>], losses: Vec<f64>| {
        LabelledRows::new(along.iter().map(|f| bins[*f].clone()).collect(), losses)
    };
    let (before, after) = (
        some(&before, losses).ok()?,
        some(&after, current.losses.clone()).ok()?,
    );
    Some(Found {
        segments: causes::find_segments(&before, &after).ok()?,
        presences: causes::new_and_vanished(&before, &after).ok()?,
        bins,
        change,
        ranking,
        along,
    })
}

/// The rows of a side in the order of time, which the model of losses wants; those without a time first.
fn by_time(side: &Side) -> Vec<usize> {
    let mut order: Vec<usize> = (0..side.losses.len()).collect();
    order.sort_by_key(|row| side.times.get(*row).copied().flatten());
    order
}

/// Losses by bins of what a model of the reference expects of each row.
fn cells(
    (old, losses): (&[estimation::Column], &[f64]),
    (new, current): (&[estimation::Column], &[f64]),
) -> Option<Vec<(Moments, Moments)>> {
    let model = LossModel::fit(old, losses, &TREES).ok()?;
    let before = model.table().reference();
    let after = model.moments(new, current).ok()?;
    Some(before.into_iter().zip(after).collect())
}

#[cfg(test)]
mod tests;
