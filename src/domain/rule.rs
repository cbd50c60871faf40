//! Rules: which measurements mean that somebody should know.

use serde::{Deserialize, Serialize};

use super::measurement::Measure;
use super::window::Grain;

/// How bad it is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nobody is woken.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// The word used in files, SQL, JSON and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One rule on one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    pub model: String,
    /// What the rule means, in one line for people.
    pub title: String,
    pub severity: Severity,
    pub condition: Condition,
    /// Runbook to start when an alert opens.
    pub runbook: Option<String>,
    pub receivers: Vec<String>,
}

/// When a rule is breached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Condition {
    /// Measurements of closed windows of the champion.
    Measured(MeasuredCondition),
    /// No prediction for this long by the wall clock.
    Silence { after_seconds: i64 },
}

/// A condition on measurements: the newest `windows` windows are in breach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredCondition {
    /// The name of the model's monitor whose measurements are read.
    pub monitor: String,
    pub grain: Grain,
    /// For how many windows back labels may still be awaited; so many more are looked at.
    #[serde(default)]
    pub label_windows: usize,
    pub measures: Vec<Measure>,
    /// Only this feature; all of them when absent.
    pub feature: Option<String>,
    /// Whether values of segments count, or only the overall ones.
    pub segments: bool,
    pub threshold: Threshold,
    /// How many features (or values) must be beyond the threshold for the window to be in breach.
    pub at_least: usize,
    /// How many windows in a row must be in breach before an alert opens.
    pub windows: usize,
    /// How many windows in a row must be fine before it resolves.
    pub resolve_windows: usize,
    /// Below this many rows (labels, for quality) a window says nothing.
    pub min_rows: u64,
    /// Below this share of labels a window of a quality measure says nothing.
    pub min_coverage: f64,
}

/// Beyond what a value is in breach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    Above(f64),
    Below(f64),
    /// Above this many times the baseline's value.
    AboveTimesBaseline(f64),
    /// Below this many times the baseline's value.
    BelowTimesBaseline(f64),
    /// Beyond the measurement's own threshold, that is: its status is drift.
    OwnStatus,
}
