//! What is expected of a model's features.

use serde::{Deserialize, Serialize};

/// The type of a feature.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum FeatureType {
    Number,
    Integer,
    Boolean,
    Category,
    Text,
    Timestamp,
}

impl FeatureType {
    /// The word used in files, SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
        }
    }

    /// Whether values are counted on numeric cells rather than as categories. Timestamps count as seconds
    /// since 1970.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Number | Self::Integer | Self::Timestamp)
    }
}

/// What is expected of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureExpectation {
    pub feature: String,
    pub feature_type: FeatureType,
    /// Whether a row without the feature is a finding.
    pub required: bool,
    /// Smallest value in range, for numeric features.
    pub minimum: Option<f64>,
    /// Largest value in range, for numeric features.
    pub maximum: Option<f64>,
    /// The known categories, for categories and booleans; `None` when any is allowed.
    pub categories: Option<Vec<String>>,
    /// The largest share of nulls, among rows that have the feature, that is no finding.
    pub max_null_share: f64,
}
