//! Rules: which measurements mean that somebody should know.

use serde::{Deserialize, Serialize};

use super::measurement::Measure;
use super::sequential::length;
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

impl Rule {
    /// Whether it goes by what that monitor measures.
    #[must_use]
    pub fn reads(&self, monitor: &str) -> bool {
        match &self.condition {
            Condition::Measured(condition) => condition.monitor == monitor,
            Condition::Silence { .. } => false,
        }
    }

    /// What the rule asks for, in words.
    #[must_use]
    pub fn asks(&self) -> String {
        match &self.condition {
            Condition::Silence { after_seconds } => {
                format!("no prediction for {}", length(*after_seconds as f64))
            }
            Condition::Measured(condition) => condition.asks(),
        }
    }
}

impl MeasuredCondition {
    fn asks(&self) -> String {
        let measures: Vec<&str> = self
            .measures
            .iter()
            .map(|measure| measure.as_str())
            .collect();
        let grain = self.grain.as_str();
        let mut parts = vec![format!(
            "{} {}",
            measures.join(" or "),
            self.threshold.asks()
        )];
        if let Some(feature) = &self.feature {
            parts.push(format!("of {feature}"));
        }
        if self.segments {
            parts.push("in any segment".to_owned());
        }
        if self.at_least > 1 {
            parts.push(format!("for at least {} features at once", self.at_least));
        }
        parts.push(match self.windows {
            1 => format!("in one {grain}"),
            windows => format!("in {windows} {grain}s in a row"),
        });
        parts.push(format!("by the monitor {}", self.monitor));
        let mut needs = Vec::new();
        if self.min_rows > 0 {
            needs.push(format!("{} rows", self.min_rows));
        }
        if self.min_coverage > 0.0 {
            needs.push(format!("labels of {:.0} %", 100.0 * self.min_coverage));
        }
        if !needs.is_empty() {
            parts.push(format!("with at least {}", needs.join(" and ")));
        }
        let resolves = match self.resolve_windows {
            1 => format!("one {grain}"),
            windows => format!("{windows} {grain}s"),
        };
        format!("{}; over after {resolves} without", parts.join(" "))
    }
}

impl Threshold {
    fn asks(self) -> String {
        match self {
            Self::Above(limit) => format!("above {limit}"),
            Self::Below(limit) => format!("below {limit}"),
            Self::AboveTimesBaseline(factor) => format!("above {factor} times the baseline's"),
            Self::BelowTimesBaseline(factor) => format!("below {factor} times the baseline's"),
            Self::OwnStatus => "found".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_said_in_one_sentence() {
        let mut condition = MeasuredCondition {
            monitor: "quality".to_owned(),
            grain: Grain::Week,
            measures: vec![Measure::Mae],
            feature: None,
            segments: false,
            threshold: Threshold::AboveTimesBaseline(1.2),
            at_least: 1,
            windows: 2,
            resolve_windows: 2,
            min_rows: 200,
            min_coverage: 0.8,
        };
        assert_eq!(
            condition.asks(),
            "mae above 1.2 times the baseline's in 2 weeks in a row by the monitor quality with at least 200 rows \
             and labels of 80 %; over after 2 weeks without"
        );
        condition.measures = vec![Measure::Psi, Measure::Shift];
        condition.threshold = Threshold::OwnStatus;
        condition.segments = true;
        condition.at_least = 3;
        condition.windows = 1;
        condition.resolve_windows = 1;
        (condition.min_rows, condition.min_coverage) = (0, 0.0);
        assert_eq!(
            condition.asks(),
            "psi or shift found in any segment for at least 3 features at once in one week by the monitor quality; \
             over after one week without"
        );
    }
}
