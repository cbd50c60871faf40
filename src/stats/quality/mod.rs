//! Realised quality: predictions whose label is known.
//!
//! Each kind of prediction has an accumulator that takes outcomes one by one and merges with another. What is
//! counted is counted in integers; what is a mean is summed in the order of the values and not of the rows, so
//! parts merge to exactly the whole, in whatever order they come. The measures are methods of what the
//! accumulators give: [`Confusion`] and [`ConfusionMatrix`] of classes, [`Scores`] of scores, [`Errors`] of
//! numbers. Only those that are asked for are computed.
//!
//! Every measure is a [`Quality`]: an [`Estimate`] with its interval and the number of outcomes that carry it,
//! or the reason why it is [`Undefined`]. A recall without positives is unknown, not zero. The means over
//! classes are the exception, because leaving out a class without predictions would reward a model for
//! ignoring it; they follow scikit-learn's `zero_division=0`.
//!
//! All intervals hold the underlying value in 95 of 100 samples, each value looked at by itself. Counts use
//! Wilson's and Newcombe's, which are never empty, not even for shares of 0 and 1; means the normal
//! approximation; functions of several counts the delta method. None needs resampling.
//!
//! The area under the ROC curve and quantiles have no exact summary of fixed size, so the accumulators keep a
//! few numbers per outcome.

mod binary;
mod bins;
mod confusion;
mod errors;
mod fairness;
mod forecast;
mod intervals;
mod matrix;
mod maturity;
mod multiclass;
mod ranking;
mod regression;
mod scores;
#[cfg(test)]
mod tests;

pub use binary::BinaryOutcomes;
pub use bins::{Bins, ReliabilityBin};
pub use confusion::{Confusion, OutcomeValues};
pub use errors::Errors;
pub use fairness::{Disparity, FairnessRate, GroupOutcomes};
pub use forecast::{IntervalForecasts, QuantileForecasts, ScaledErrors};
pub use intervals::{Z_95, newcombe_difference, wilson_interval};
pub use matrix::{Averaging, ClassMeasure, ConfusionMatrix};
pub use maturity::{
    AgeSlice, AgeSpread, CompletenessCurve, Maturity, Projection, ReferenceValues, project,
};
pub use multiclass::{ClassProbabilities, MulticlassOutcomes};
pub use ranking::{RankingMeasure, RankingOutcomes};
pub use regression::RegressionOutcomes;
pub use scores::{RocArea, Scores};

/// A value of a measure, or why it has none.
pub type Quality = Result<Estimate, Undefined>;

/// A value of a measure with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub value: f64,
    /// 95 % interval; `None` where a single outcome tells nothing of the spread.
    pub interval: Option<(f64, f64)>,
    /// The number of outcomes that carry the value: those it is a share or mean of. Where two classes are
    /// needed, those of the rarer one.
    pub size: u64,
}

/// Why a measure has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    #[error("there are no outcomes")]
    NoOutcomes,
    #[error("no outcome has both a finite prediction and a finite label")]
    NoFiniteOutcomes,
    #[error("no label is positive")]
    NoPositives,
    #[error("no label is negative")]
    NoNegatives,
    #[error("nothing is predicted positive")]
    NoPredictedPositives,
    #[error("nothing is labelled or predicted positive")]
    NeitherLabelledNorPredicted,
    #[error("all labels or all predictions are of one class")]
    OneClass,
    #[error("no outcome has a score")]
    NoScores,
    #[error("some score is outside 0 to 1 and so no probability")]
    NotProbabilities,
    #[error("some class has no labels of its own or of others")]
    ClassWithoutLabels,
    #[error("all labels are the same number")]
    ConstantLabels,
    #[error("all labels are zero")]
    OnlyZeroLabels,
    #[error("a difference or sum leaves the range of numbers")]
    Overflow,
    #[error("no query has a relevant item")]
    NoRelevantItems,
    #[error("no item of the outcomes names its query and has a score or a rank")]
    NoQueries,
    #[error("no forecast has quantiles")]
    NoQuantiles,
    #[error("no forecast has both ends of the interval among its quantiles")]
    NoIntervals,
    #[error("no forecast says how wrong the naive forecast was")]
    NoNaiveErrors,
    #[error("fewer than two groups are large enough to be compared")]
    TooFewGroups,
    #[error("the larger of the two rates is zero")]
    ZeroRate,
    #[error("the parameter of the measure is out of its range")]
    BadParameter,
}
