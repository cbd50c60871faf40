//! Measurements: one computed value with what it was computed from.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::{BaselineId, VersionId};
use super::model::Task;
use super::window::Window;

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
    Psi = "psi", Lower, "Population stability index over the baseline's deciles, or over categories.";
    JensenShannon = "jensen_shannon", Lower, "Jensen–Shannon distance, base 2, from 0 to 1, over the same bins.";
    KolmogorovSmirnov = "kolmogorov_smirnov", Lower, "Largest distance between the two distribution functions.";
    Chi2 = "chi2", Lower, "Pearson's chi-square statistic over the same bins.";
    Hellinger = "hellinger", Lower, "Hellinger distance, from 0 to 1, over the same bins.";
    TotalVariation = "total_variation", Lower, "Share of rows that would have to change bin.";
    LInfinity = "l_infinity", Lower, "Largest change of a single bin's share.";
    Mae = "mae", Lower, "Mean absolute error.";
    Rmse = "rmse", Lower, "Root of the mean squared error.";
    Bias = "bias", Zero, "Mean of prediction minus label.";
    Accuracy = "accuracy", Higher, "Share of predictions whose class is the label.";
    Precision = "precision", Higher, "Share of predicted positives that are positive (macro mean over classes for multiclass).";
    Recall = "recall", Higher, "Share of positives that are predicted (macro mean over classes for multiclass).";
    F1 = "f1", Higher, "Harmonic mean of precision and recall (macro mean over classes for multiclass).";
    RocAuc = "roc_auc", Higher, "Area under the ROC curve (macro one-vs-rest for multiclass).";
    LogLoss = "log_loss", Lower, "Mean negative log-likelihood of the label.";
    LabelCoverage = "label_coverage", Higher, "Share of the window's predictions whose label has arrived.";
    Traffic = "traffic", Neither, "Number of predictions.";
    ErrorRate = "error_rate", Lower, "Share of predictions that report an error.";
    LatencyP50 = "latency_p50", Lower, "Median latency in milliseconds.";
    LatencyP95 = "latency_p95", Lower, "95th percentile of latency in milliseconds.";
    LatencyP99 = "latency_p99", Lower, "99th percentile of latency in milliseconds.";
}

impl Measure {
    /// Whether the measure compares predictions with labels.
    #[must_use]
    pub fn is_quality(self) -> bool {
        [Task::Regression, Task::Binary, Task::Multiclass]
            .iter()
            .any(|task| Self::of_quality(*task).contains(&self))
    }

    /// Whether the measure is about what the schema expects.
    #[must_use]
    pub fn is_schema(self) -> bool {
        matches!(
            self,
            Self::MissingFeature
                | Self::UnexpectedFeature
                | Self::WrongType
                | Self::NullShare
                | Self::OutOfRange
                | Self::UnseenCategory
        )
    }

    /// The measures that compare predictions with labels, for a task; the first is the usual one.
    #[must_use]
    pub fn of_quality(task: Task) -> &'static [Self] {
        match task {
            Task::Regression => &[Self::Mae, Self::Rmse, Self::Bias],
            Task::Binary => &[
                Self::RocAuc,
                Self::F1,
                Self::Accuracy,
                Self::Precision,
                Self::Recall,
                Self::LogLoss,
            ],
            Task::Multiclass => &[
                Self::F1,
                Self::Accuracy,
                Self::Precision,
                Self::Recall,
                Self::RocAuc,
                Self::LogLoss,
            ],
        }
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
    /// The baseline's value of the same measure, where there is one.
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
    fn every_task_has_measures_of_quality_and_no_other_measure_is_one() {
        for task in [Task::Regression, Task::Binary, Task::Multiclass] {
            assert!(!Measure::of_quality(task).is_empty());
            assert!(Measure::of_quality(task).iter().all(|m| m.is_quality()));
        }
        assert!(!Measure::LabelCoverage.is_quality());
        assert!(!Measure::Psi.is_quality());
    }
}
