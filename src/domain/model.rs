//! Models, their versions and the roles versions are deployed in.

use serde::{Deserialize, Serialize};

/// What a model predicts, which decides the fields of its predictions and the measures of its quality.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Task {
    /// A number: `prediction` is the value, the label is a number.
    Regression,
    /// One of two classes: `score` is the probability of the positive class.
    Binary,
    /// One of several classes: `prediction` is the class, `probabilities` its distribution.
    Multiclass,
    /// Items in order: `score` or `rank` places an item among those of its `query`, the label is its relevance.
    Ranking,
    /// A number that will be known later: `prediction` is the value, `quantiles` its distribution, the label is what
    /// happened.
    Forecast,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 5] = [
        Self::Regression,
        Self::Binary,
        Self::Multiclass,
        Self::Ranking,
        Self::Forecast,
    ];

    /// The word used in files, SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Ranking => "ranking",
            Self::Forecast => "forecast",
        }
    }
}

/// What a deployed version is there for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Answers the users. One per model and environment.
    Champion,
    /// A candidate under comparison; its answers are logged, not used.
    Challenger,
    /// Answers a share of the users.
    Canary,
    /// Runs along, for comparison and for a way back.
    Shadow,
}

impl Role {
    /// The word used in SQL, JSON and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}
