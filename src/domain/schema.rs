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

/// What a person says about one feature: every part of it stands against what is inferred from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct FeatureOverride {
    pub feature: String,
    pub feature_type: Option<FeatureType>,
    pub required: Option<bool>,
    pub minimum: Limit<f64>,
    pub maximum: Limit<f64>,
    pub categories: Limit<Vec<String>>,
    pub max_null_share: Option<f64>,
}

/// A limit that a person leaves to the data, lifts, or sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Limit<T> {
    /// What the data say.
    #[default]
    Inferred,
    /// No limit.
    Any,
    /// This limit.
    Given(T),
}

impl<T: Clone> Limit<T> {
    fn over(&self, inferred: Option<T>) -> Option<T> {
        match self {
            Self::Inferred => inferred,
            Self::Any => None,
            Self::Given(limit) => Some(limit.clone()),
        }
    }
}

impl FeatureOverride {
    /// The expectation in force: what is inferred, with what the person says put over it. Limits that the type
    /// in force has no use for are dropped. `None` when neither names a type.
    #[must_use]
    pub fn apply(&self, inferred: Option<FeatureExpectation>) -> Option<FeatureExpectation> {
        let feature_type = self
            .feature_type
            .or(inferred.as_ref().map(|known| known.feature_type))?;
        let numeric = feature_type.is_numeric();
        let listed = matches!(feature_type, FeatureType::Category | FeatureType::Boolean);
        let inferred = inferred.unwrap_or_else(|| FeatureExpectation {
            feature: self.feature.clone(),
            feature_type,
            required: true,
            minimum: None,
            maximum: None,
            categories: None,
            max_null_share: 0.0,
        });
        Some(FeatureExpectation {
            feature: self.feature.clone(),
            feature_type,
            required: self.required.unwrap_or(inferred.required),
            minimum: self.minimum.over(inferred.minimum).filter(|_| numeric),
            maximum: self.maximum.over(inferred.maximum).filter(|_| numeric),
            categories: self.categories.over(inferred.categories).filter(|_| listed),
            max_null_share: self.max_null_share.unwrap_or(inferred.max_null_share),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred() -> FeatureExpectation {
        FeatureExpectation {
            feature: "temp".into(),
            feature_type: FeatureType::Number,
            required: true,
            minimum: Some(10.94),
            maximum: Some(64.4),
            categories: None,
            max_null_share: 0.001,
        }
    }

    #[test]
    fn what_a_person_says_stands_over_what_the_data_say() {
        let said = FeatureOverride {
            feature: "temp".into(),
            minimum: Limit::Given(-40.0),
            maximum: Limit::Any,
            max_null_share: Some(0.3),
            ..FeatureOverride::default()
        };
        assert_eq!(
            said.apply(Some(inferred())),
            Some(FeatureExpectation {
                minimum: Some(-40.0),
                maximum: None,
                max_null_share: 0.3,
                ..inferred()
            })
        );
    }

    #[test]
    fn a_new_type_drops_the_limits_it_has_no_use_for() {
        let said = FeatureOverride {
            feature: "temp".into(),
            feature_type: Some(FeatureType::Category),
            ..FeatureOverride::default()
        };
        let in_force = said.apply(Some(inferred())).expect("a type is known");
        assert_eq!((in_force.minimum, in_force.maximum), (None, None));
    }

    #[test]
    fn a_feature_the_data_do_not_have_needs_a_type() {
        let mut said = FeatureOverride {
            feature: "gate".into(),
            ..FeatureOverride::default()
        };
        assert_eq!(said.apply(None), None);
        said.feature_type = Some(FeatureType::Category);
        assert!(said.apply(None).is_some_and(|known| known.required));
    }
}
