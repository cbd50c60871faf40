//! Measurements: one computed value with what it was computed from.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::area::AreaRecipe;
use super::estimate::EstimateRecipe;
use super::ids::{BaselineId, VersionId};
use super::joint::JointRecipe;
use super::objective::ObjectiveRecipe;
use super::promise::Promise;
use super::reference::ReferenceUsed;
use super::sequential::SequentialRecipe;
use super::shift::ShiftRecipe;
use super::window::Window;
use crate::stats::DriftMeasure;
use crate::stats::drift::Bin;

macro_rules! measures {
    ($($variant:ident = $name:literal, $better:ident, $doc:literal;)+) => {
        /// What was measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Measure {
            $(#[doc = $doc] #[serde(rename = $name)] $variant,)+
        }

        impl Measure {
            /// Every measure, in the order of the table above.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The machine name used in files, SQL and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Which direction is good news.
            #[must_use]
            pub fn better(self) -> Better {
                match self { $(Self::$variant => Better::$better),+ }
            }

            /// One sentence on what the value is.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $doc),+ }
            }
        }

        impl std::str::FromStr for Measure {
            type Err = UnknownMeasure;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($name => Ok(Self::$variant),)+ _ => Err(UnknownMeasure(text.to_owned())) }
            }
        }
    };
}

/// Which direction of a measure is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
    /// Nearer to zero.
    Zero,
    /// Neither direction is good or bad in itself.
    Neither,
}

measures! {
    MissingFeature = "missing_feature", Lower, "Share of rows that lack a required feature.";
    UnexpectedFeature = "unexpected_feature", Lower, "Share of rows that carry a feature the schema does not know.";
    WrongType = "wrong_type", Lower, "Share of non-null values that are not of the feature's type.";
    NullShare = "null_share", Lower, "Share of rows with the feature whose value is null.";
    OutOfRange = "out_of_range", Lower, "Share of numeric values outside the schema's range.";
    UnseenCategory = "unseen_category", Lower, "Share of values that are not among the schema's categories.";
    TypeChange = "type_change", Lower, "Share of values of another type where that is most of them.";
    RenamedFeature = "renamed_feature", Lower, "1 where a missing feature probably goes by another name, else 0.";
    UnitChange = "unit_change", Lower, "1 where numbers look converted into another unit, else 0.";
    NanShare = "nan_share", Lower, "Share of rows with the feature whose value is NaN.";
    InfiniteShare = "infinite_share", Lower, "Share of rows with the feature whose value is infinite.";
    EmptyShare = "empty_share", Lower, "Share of rows with the feature whose value is the empty text.";
    Constant = "constant", Lower, "1 where a feature that varied has a single value, else 0.";
    Frozen = "frozen", Lower, "Share of values in the longest run of base windows with one unusual value.";
    Granularity = "granularity", Lower, "1 where numbers come in coarser steps than they did, else 0.";
    OutOfOrder = "out_of_order", Lower, "Share of rows whose time is before that of the row sent right before them in the same request.";
    DuplicateRows = "duplicate_rows", Lower, "Share of rows that repeat an earlier one in every feature and in the prediction.";
    DuplicateValues = "duplicate_values", Lower, "Share of values that repeat an earlier one, of a feature whose schema limits it.";
    DistinctValues = "distinct_values", Lower, "1 where a feature has fewer or more different values than its schema allows, else 0.";
    Psi = "psi", Lower, "Population stability index over the baseline's deciles, or over categories.";
    JensenShannon = "jensen_shannon", Lower, "Jensen–Shannon distance, base 2, from 0 to 1, over the same bins.";
    KolmogorovSmirnov = "kolmogorov_smirnov", Lower, "Largest distance between the two distribution functions.";
    Hellinger = "hellinger", Lower, "Hellinger distance, from 0 to 1, over the same bins.";
    TotalVariation = "total_variation", Lower, "Total variation distance, from 0 to 1, over the same bins.";
    LInfinity = "l_infinity", Lower, "Largest change of the share of a single bin.";
    Wasserstein = "wasserstein", Lower, "Area between the two distribution functions, in the feature's unit.";
    WassersteinNormalised = "wasserstein_normalised", Lower, "Wasserstein distance over the baseline's standard deviation.";
    EnergyDistance = "energy_distance", Lower, "Root of twice the squared area between the two distribution functions.";
    CramerVonMises = "cramer_von_mises", Lower, "Statistic of the two-sample Cramér–von Mises test.";
    AndersonDarling = "anderson_darling", Lower, "Standardised statistic of the two-sample Anderson–Darling test.";
    Chi2 = "chi2", Lower, "Statistic of Pearson's chi-square test over the same bins.";
    GTest = "g_test", Lower, "Statistic of the G-test over the same bins.";
    MissingShareChange = "missing_share_change", Zero, "Share of rows without a value, minus that of the baseline.";
    DomainClassifierAuc = "domain_classifier_auc", Lower, "How well a classifier tells rows (or vectors) of the window from those of the baseline, from 0.5.";
    ReconstructionErrorChange = "reconstruction_error_change", Zero, "How much worse rows fit into the main directions of the baseline than its own do, as a share.";
    CorrelationChange = "correlation_change", Zero, "Change of the correlation of the two features whose correlation changed most.";
    MeanShift = "mean_shift", Lower, "Euclidean distance of the mean vectors.";
    MaximumMeanDiscrepancy = "maximum_mean_discrepancy", Lower, "Squared distance of the two distributions of vectors under a Gaussian kernel.";
    TextLengthDistance = "text_length_distance", Lower, "Kolmogorov–Smirnov distance of the lengths of texts, in characters.";
    UnseenWords = "unseen_words", Lower, "Share of words that the baseline never used, minus what the baseline shows of itself.";
    LanguageProfile = "language_profile", Lower, "Total variation distance of the languages that texts are in.";
    FutureShareChange = "future_share_change", Zero, "Share of dates later than their row's time, minus that of the baseline.";
    AgeDistance = "age_distance", Lower, "Kolmogorov–Smirnov distance of how old dates are at their row's time.";
    HourProfile = "hour_profile", Lower, "Total variation distance of the dates' hours of the day, in UTC.";
    WeekdayProfile = "weekday_profile", Lower, "Total variation distance of the dates' days of the week, in UTC.";
    AttributionNdcg = "attribution_ndcg", Higher, "How alike features rank by their mean absolute attribution, from 0 to 1.";
    Shift = "shift", Zero, "Change in standard deviations that the default detector finds over days or hours.";
    CopulaCorrelationChange = "copula_correlation_change", Zero, "Change of the rank correlation of the two columns whose days speak most for one.";
    RandomFeaturesMmd = "random_features_mmd", Lower, "Squared distance of rows as a whole from the baseline's, by random Fourier features over days.";
    Mae = "mae", Lower, "Mean absolute error.";
    Rmse = "rmse", Lower, "Root of the mean squared error.";
    Bias = "bias", Zero, "Mean of prediction minus label.";
    Accuracy = "accuracy", Higher, "Share of predictions whose class is the label.";
    Precision = "precision", Higher, "Share of predicted positives that are positive (macro mean over classes for multiclass).";
    Recall = "recall", Higher, "Share of positives that are predicted (macro mean over classes for multiclass).";
    F1 = "f1", Higher, "Harmonic mean of precision and recall (macro mean over classes for multiclass).";
    RocAuc = "roc_auc", Higher, "Area under the ROC curve (macro one-vs-rest for multiclass).";
    LogLoss = "log_loss", Lower, "Mean negative log-likelihood of the label.";
    MedianAbsoluteError = "median_absolute_error", Lower, "Median of the absolute error.";
    ErrorP90 = "error_p90", Lower, "90th percentile of the absolute error.";
    Mape = "mape", Lower, "Mean of absolute error over absolute label, rows whose label is zero left out.";
    Smape = "smape", Lower, "Mean of twice the absolute error over the sum of both absolute values, from 0 to 2.";
    R2 = "r2", Higher, "Share of the labels' variance that the predictions explain; negative when worse than the labels' mean.";
    Specificity = "specificity", Higher, "Share of negatives that are predicted.";
    BalancedAccuracy = "balanced_accuracy", Higher, "Mean of the recalls of the classes that have labels.";
    Mcc = "mcc", Higher, "Matthews' correlation of prediction and label, from −1 to 1.";
    PrAuc = "pr_auc", Higher, "Average precision: area under the precision-recall curve as a step function.";
    ScoreSeparation = "score_separation", Higher, "Kolmogorov–Smirnov distance between the scores of positives and negatives.";
    Brier = "brier", Lower, "Mean squared difference of probability and label (summed over classes for multiclass).";
    Ece = "ece", Lower, "Expected calibration error over ten bins of equal width (of the most probable class for multiclass).";
    Lift = "lift", Higher, "How many times more positives the predictions with the highest scores hold than all.";
    ValuePerPrediction = "value_per_prediction", Higher, "Mean worth of a prediction by the monitor's values.";
    WeightedPrecision = "weighted_precision", Higher, "Mean of the classes' precisions, each as often as it is the label.";
    WeightedF1 = "weighted_f1", Higher, "Mean of the classes' F1, each as often as it is the label.";
    TopKAccuracy = "top_k_accuracy", Higher, "Share of labels among the k classes with the highest probabilities.";
    Ndcg = "ndcg", Higher, "Discounted gain of the first places over that of the best order, from 0 to 1.";
    MeanAveragePrecision = "mean_average_precision", Higher, "Mean of the precisions at the places of relevant items among the first ones.";
    MeanReciprocalRank = "mean_reciprocal_rank", Higher, "Mean of one over the place of a query's first relevant item.";
    HitRate = "hit_rate", Higher, "Share of queries with a relevant item among the first places.";
    PinballLoss = "pinball_loss", Lower, "Mean pinball loss of the forecasts' quantiles.";
    IntervalCoverage = "interval_coverage", Neither, "Share of what happened that lies in its forecast interval; it should be the interval's level.";
    IntervalWidth = "interval_width", Lower, "Mean width of the forecast intervals.";
    IntervalScore = "interval_score", Lower, "Mean width of the forecast intervals, and a penalty for what happened outside them.";
    Mase = "mase", Lower, "Mean of the absolute error over the naive forecast's error on the history.";
    ClassPrecision = "class_precision", Higher, "Share of predictions of one class that are right.";
    ClassRecall = "class_recall", Higher, "Share of labels of one class that are predicted.";
    ClassF1 = "class_f1", Higher, "Harmonic mean of precision and recall of one class.";
    DemographicParityDifference = "demographic_parity_difference", Lower, "Largest difference between two groups of the share predicted positive.";
    DemographicParityRatio = "demographic_parity_ratio", Higher, "Lowest over highest share predicted positive among the groups.";
    EqualOpportunityDifference = "equal_opportunity_difference", Lower, "Largest difference between two groups of the recall.";
    EqualOpportunityRatio = "equal_opportunity_ratio", Higher, "Lowest over highest recall among the groups.";
    ErrorRateSequential = "error_rate_sequential", Lower, "Share of wrong predictions among the labels that speak most for a rise above the baseline's.";
    LossSequential = "loss_sequential", Lower, "Mean loss (absolute error, Brier score) of the labels that speak most for a rise above the baseline's.";
    RocAucChange = "roc_auc_change", Higher, "Area under the ROC curve over the days that speak most for a change, minus that of the baseline's days.";
    FastBurn = "fast_burn", Lower, "How many times faster than the objective allows errors come, by the rules that page.";
    SlowBurn = "slow_burn", Lower, "How many times faster than the objective allows errors come, by the rule that opens a ticket.";
    ErrorBudgetLeft = "error_budget_left", Higher, "Share of the errors the objective allows that have not been made; below 0 when more have.";
    EstimatedMae = "estimated_mae", Lower, "Mean absolute error that is to be expected, before labels.";
    EstimatedRmse = "estimated_rmse", Lower, "Root of the mean squared error that is to be expected, before labels.";
    EstimatedAccuracy = "estimated_accuracy", Higher, "Share of predictions that are to be expected right, before labels.";
    EstimatedPrecision = "estimated_precision", Higher, "Precision that is to be expected, before labels (macro mean over classes for multiclass).";
    EstimatedRecall = "estimated_recall", Higher, "Recall that is to be expected, before labels (macro mean over classes for multiclass).";
    EstimatedF1 = "estimated_f1", Higher, "F1 that is to be expected, before labels (macro mean over classes for multiclass).";
    EstimatedRocAuc = "estimated_roc_auc", Higher, "Area under the ROC curve that is to be expected, before labels.";
    EstimateError = "estimate_error", Lower, "How far estimates were off once their labels were in.";
    LabelCompleteness = "label_completeness", Higher, "Share of the labels that will ever come that should be there by now.";
    LabelCoverage = "label_coverage", Higher, "Share of the window's predictions whose label has arrived.";
    Traffic = "traffic", Neither, "Number of predictions.";
    Volume = "volume", Zero, "Change of the number of predictions against the season, as a share of the usual number.";
    ErrorRate = "error_rate", Lower, "Share of predictions that report an error.";
    LatencyP50 = "latency_p50", Lower, "Median latency in milliseconds.";
    LatencyP95 = "latency_p95", Lower, "95th percentile of latency in milliseconds.";
    LatencyP99 = "latency_p99", Lower, "99th percentile of latency in milliseconds.";
}

impl Measure {
    /// Whether the measure is about what the schema expects.
    #[must_use]
    pub fn is_schema(self) -> bool {
        Self::OF_SCHEMA.contains(&self)
    }

    /// Whether a finding means that rows do not fit the schema, so that a model trained on them would learn the fault:
    /// retraining waits. The other findings of the schema are for people to look at, and may be the world's doing.
    #[must_use]
    pub fn breaks_schema(self) -> bool {
        self.is_schema()
            && !matches!(
                self,
                Self::NanShare
                    | Self::InfiniteShare
                    | Self::EmptyShare
                    | Self::Constant
                    | Self::Frozen
                    | Self::Granularity
                    | Self::OutOfOrder
                    | Self::DuplicateRows
                    | Self::DuplicateValues
                    | Self::DistinctValues
            )
    }

    /// Whether the value is 1 or 0: something is so, or not.
    #[must_use]
    pub fn is_sign(self) -> bool {
        matches!(
            self,
            Self::RenamedFeature
                | Self::UnitChange
                | Self::Constant
                | Self::Granularity
                | Self::DistinctValues
        )
    }

    /// Whether the measure is stored for single features only where there is something to tell, and once for all of
    /// them where there is not. Most windows have nothing of the kind.
    #[must_use]
    pub fn is_told_where_found(self) -> bool {
        let of_all_rows = matches!(self, Self::OutOfOrder | Self::DuplicateRows);
        self.is_schema() && !Self::SHARES_OF_SCHEMA.contains(&self) && !of_all_rows
    }

    /// The measures of schema skew that each feature has in each window.
    pub const SHARES_OF_SCHEMA: [Self; 6] = [
        Self::MissingFeature,
        Self::UnexpectedFeature,
        Self::WrongType,
        Self::NullShare,
        Self::OutOfRange,
        Self::UnseenCategory,
    ];

    /// Every measure of schema skew.
    pub const OF_SCHEMA: [Self; 19] = [
        Self::MissingFeature,
        Self::UnexpectedFeature,
        Self::WrongType,
        Self::NullShare,
        Self::OutOfRange,
        Self::UnseenCategory,
        Self::TypeChange,
        Self::RenamedFeature,
        Self::UnitChange,
        Self::NanShare,
        Self::InfiniteShare,
        Self::EmptyShare,
        Self::Constant,
        Self::Frozen,
        Self::Granularity,
        Self::OutOfOrder,
        Self::DuplicateRows,
        Self::DuplicateValues,
        Self::DistinctValues,
    ];

    /// The measures of drift that a monitor gives unless it chooses its own: the detector decides, the others are
    /// familiar readings beside it.
    pub const USUAL_DRIFT: [Self; 5] = [
        Self::Shift,
        Self::CopulaCorrelationChange,
        Self::Psi,
        Self::JensenShannon,
        Self::KolmogorovSmirnov,
    ];

    /// The same for a monitor with windows of an hour: columns together are judged by day only.
    pub const USUAL_DRIFT_BY_HOUR: [Self; 4] = [
        Self::Shift,
        Self::Psi,
        Self::JensenShannon,
        Self::KolmogorovSmirnov,
    ];

    /// The same for a monitor that the detector cannot serve, because it works neither by day nor by hour or has no baseline that stands still.
    pub const USUAL_DRIFT_WITHOUT_DAYS: [Self; 5] = [
        Self::TotalVariation,
        Self::MissingShareChange,
        Self::Psi,
        Self::JensenShannon,
        Self::KolmogorovSmirnov,
    ];

    /// The measures of drift of columns together, from sums of days.
    pub const OVER_DAYS_TOGETHER: [Self; 2] =
        [Self::CopulaCorrelationChange, Self::RandomFeaturesMmd];

    /// Whether the measure is judged by day (or hour) against the days of a baseline, with gates of its own and not by a threshold.
    #[must_use]
    pub fn is_over_days(self) -> bool {
        self == Self::Shift || Self::OVER_DAYS_TOGETHER.contains(&self)
    }

    /// How a window's distribution is compared with the baseline's, for the measures that do.
    #[must_use]
    pub fn drift(self) -> Option<DriftMeasure> {
        Some(match self {
            Self::Psi => DriftMeasure::Psi,
            Self::JensenShannon => DriftMeasure::JensenShannon,
            Self::KolmogorovSmirnov => DriftMeasure::KolmogorovSmirnov,
            Self::Hellinger => DriftMeasure::Hellinger,
            Self::TotalVariation => DriftMeasure::TotalVariation,
            Self::LInfinity => DriftMeasure::LInfinity,
            Self::Wasserstein => DriftMeasure::Wasserstein,
            Self::WassersteinNormalised => DriftMeasure::WassersteinNormalised,
            Self::EnergyDistance => DriftMeasure::EnergyDistance,
            Self::CramerVonMises => DriftMeasure::CramerVonMises,
            Self::AndersonDarling => DriftMeasure::AndersonDarling,
            Self::Chi2 => DriftMeasure::Chi2,
            Self::GTest => DriftMeasure::GTest,
            Self::MissingShareChange => DriftMeasure::MissingShareChange,
            _ => return None,
        })
    }

    /// Whether a drift monitor can measure it.
    #[must_use]
    pub fn is_drift(self) -> bool {
        self.drift().is_some() || self.is_over_days() || self.is_of_rows()
    }

    /// Whether it says that what goes into the model, or comes out of it, is distributed otherwise, and nothing of whether the
    /// answers are worse. Missing values are an outage of data and not of this kind.
    #[must_use]
    pub fn is_mere_drift(self) -> bool {
        self.is_drift() && self != Self::MissingShareChange
    }

    /// Whether what was found says more in words than its value does.
    #[must_use]
    pub fn is_told_in_words(self) -> bool {
        self.is_told_where_found()
            || matches!(self, Self::Volume | Self::ErrorBudgetLeft)
            || self.is_over_days()
            || self.is_of_label_detector()
            || self.is_burn()
            || self.is_estimate()
    }

    /// Every measure that a drift monitor can measure.
    pub fn of_drift() -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(|measure| measure.is_drift())
    }
}

/// A word that names no measure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no measure {0:?}")]
pub struct UnknownMeasure(pub String);

/// How a value stands. One bad feature never hides another: each has its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// Within the threshold in force, or none is set.
    Ok,
    /// Beyond the threshold in force.
    Drift,
    /// Too few rows or labels, or nothing to compare with; never to be read as ok.
    Insufficient,
    /// Could not be computed; the recipe says why.
    Error,
}

impl Status {
    /// The word used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Drift => "drift",
            Self::Insufficient => "insufficient",
            Self::Error => "error",
        }
    }
}

/// The slice of traffic a value is about: everything, or the rows with one value of one segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Segment {
    pub name: String,
    pub value: String,
}

impl Segment {
    /// All rows.
    #[must_use]
    pub fn overall() -> Self {
        Self::default()
    }

    /// Whether this is all rows.
    #[must_use]
    pub fn is_overall(&self) -> bool {
        self.name.is_empty()
    }
}

/// How a value was computed, stored beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Recipe {
    /// What was done, in words a statistician can repeat: bins, base of the logarithm, floor, averaging.
    pub method: String,
    /// Number of bins or categories compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<usize>,
    /// The bins themselves. They are not stored with the value: their edges are the baseline's, but for the outer ones, and are
    /// given again when a value is read.
    #[serde(skip)]
    pub compared: Option<Arc<[Bin]>>,
    /// The edges of bins that the baseline's deciles do not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outer_edges: Vec<f64>,
    /// The largest possible difference from the exact value, where a grid or sketch stands for the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_bound: Option<f64>,
    /// The value that no drift at all would be expected to give at these sample sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_floor: Option<f64>,
    /// The threshold in force when the status was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Why the status is insufficient or error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The features a value about several of them comes from, the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explained_by: Vec<ExplainedBy>,
    /// What the value is expected to be once the labels are in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projected: Option<Projected>,
    /// What was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceUsed>,
    /// What was found, in words: which name, which unit, which categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often a finding like this errs, and the smallest change that would have been one; of measures that judge themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// What the default detector went by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftRecipe>,
    /// What a measure of columns together over days went by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joint: Option<JointRecipe>,
    /// What a detector of labels went by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequential: Option<SequentialRecipe>,
    /// What a change of the area under the ROC curve was told by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<AreaRecipe>,
    /// What an objective went by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveRecipe>,
    /// What an estimate before labels was judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateRecipe>,
}

/// One of the features that a value about several of them comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainedBy {
    pub feature: String,
    /// Its part in the explanation, from 0 to 1; those of all features add up to 1.
    pub share: f64,
}

/// What a value is expected to be once all labels that will come have come. It is no measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Projected {
    /// That it is a projection, and on what grounds.
    pub note: String,
    pub value: f64,
    /// 95 % interval of the value that will be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    pub matures_at: DateTime<Utc>,
}

/// One computed value.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub version_id: VersionId,
    pub monitor: String,
    pub window: Window,
    pub segment: Segment,
    /// Empty for values about the whole model; `prediction()` for the prediction itself.
    pub feature: String,
    pub measure: Measure,
    pub value: Option<f64>,
    /// 95 % interval, where one is known.
    pub interval: Option<(f64, f64)>,
    pub p_value: Option<f64>,
    /// The reference's value of the same measure, where there is one.
    pub reference: Option<f64>,
    pub status: Status,
    pub current_rows: u64,
    pub reference_rows: u64,
    pub baseline_id: Option<BaselineId>,
    pub recipe: Recipe,
    pub measured_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measure_names_round_trip_through_text_and_json() {
        for measure in Measure::ALL {
            assert_eq!(measure.as_str().parse(), Ok(*measure));
            let json = serde_json::to_string(measure).expect("serialises");
            assert_eq!(json, format!("\"{}\"", measure.as_str()));
            assert_eq!(
                serde_json::from_str::<Measure>(&json).expect("parses"),
                *measure
            );
        }
        assert!("mean_average".parse::<Measure>().is_err());
    }

    #[test]
    fn every_measure_has_its_page_and_is_in_the_index() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/measures");
        let read = |page: &str| {
            std::fs::read_to_string(format!("{folder}/{page}"))
                .unwrap_or_else(|error| panic!("{page}: {error}"))
        };
        let index = read("README.md");
        for measure in Measure::ALL {
            let name = measure.as_str();
            let page = read(&format!("{name}.md"));
            assert!(page.contains(&format!("Machine name `{name}`.")), "{name}");
            for part in ["Formula", "Range", "When to use it", "Default", "Source"] {
                assert!(
                    page.contains(&format!("\n## {part}\n\n")),
                    "{part} of {name}"
                );
            }
            assert!(
                index.contains(&format!("[`{name}`]({name}.md)")),
                "{name} in the index"
            );
        }
        for entry in std::fs::read_dir(folder).expect("the folder") {
            let file = entry.expect("an entry").file_name();
            let file = file.to_str().expect("a name in plain letters");
            assert!(
                file == "README.md" || index.contains(&format!("]({file})")),
                "{file} is not in the index"
            );
        }
    }

    #[test]
    fn every_way_to_compare_distributions_is_a_measure_of_its_own() {
        let mut ways: Vec<_> = Measure::of_drift().filter_map(Measure::drift).collect();
        ways.sort_unstable();
        assert_eq!(ways, DriftMeasure::ALL);
        assert!(
            Measure::USUAL_DRIFT_WITHOUT_DAYS
                .iter()
                .all(|measure| measure.drift().is_some())
        );
        let readings = &Measure::USUAL_DRIFT_WITHOUT_DAYS[2..];
        assert_eq!(&Measure::USUAL_DRIFT[2..], readings);
    }

    #[test]
    fn a_measure_is_of_one_kind() {
        assert!(Measure::of_drift().all(|measure| !measure.is_quality() && !measure.is_schema()));
    }
}
