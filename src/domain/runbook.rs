//! Runbooks: Markdown for people with typed steps for the machine. The text is parsed and checked by
//! [`super::definitions`]; this module holds what comes out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measurement::{Better, Measure};
use super::model::Task;
use super::window::Grain;

/// A runbook: what people read, and what is done step by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    pub name: String,
    pub title: String,
    /// The whole Markdown text, without the front matter.
    pub text: String,
    /// The first thing a person should do, in one sentence; shown in the alert's message.
    pub first_step: String,
    pub steps: Vec<Step>,
}

/// One step of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    #[serde(flatten)]
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// Looks at the model and attaches what it finds to the alert.
    Diagnose { checks: Vec<Check> },
    /// Waits for a signed-in person to approve or decline, with a reason.
    Approve { question: String },
    /// Starts a retraining pipeline and follows it to its end. Refused while schema skew is open.
    Trigger {
        pipeline: String,
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
    /// Compares the candidate with the champion on the same labelled window.
    Gate(Gate),
    /// Makes a version the champion; the one it replaces becomes a shadow.
    Promote { version: Promoted },
    /// Keeps comparing the champion with the version it replaced.
    Watch(Watch),
}

impl Action {
    /// The word used in files, SQL and JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Diagnose { .. } => "diagnose",
            Self::Approve { .. } => "approve",
            Self::Trigger { .. } => "trigger",
            Self::Gate(_) => "gate",
            Self::Promote { .. } => "promote",
            Self::Watch(_) => "watch",
        }
    }
}

/// One question a diagnosis answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Which features moved most against the baseline.
    DriftedFeatures,
    /// Which segments do worst against their own baseline.
    WorstSegments,
    /// Promotions, deployments, schema and configuration changes of the last fortnight.
    RecentChanges,
    /// What is open of schema skew.
    SchemaFindings,
    /// How many labels have arrived.
    LabelCoverage,
    /// How much traffic there is, and how much of it fails.
    Traffic,
}

/// The version a promotion is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promoted {
    /// What the run's pipeline delivered and its gate accepted.
    Candidate,
    /// The champion's predecessor, as named by the watch that proposed the run.
    Previous,
}

/// How a candidate is compared with the champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// What is compared; when absent, see [`compared_measure`].
    pub measure: Option<Measure>,
    /// Length of the compared window in days; it starts with the first full day the candidate has predicted.
    pub days: u32,
    /// How long after the window's end to wait for labels.
    pub label_wait_seconds: i64,
    /// Fewer labelled predictions than this, and the gate refuses.
    pub min_labels: u64,
    /// The share by which the candidate must be better overall.
    pub min_improvement: f64,
    /// The share by which it may be worse on a segment.
    pub segment_tolerance: f64,
    /// Segments with fewer labels than this are shown, not judged.
    pub segment_min_labels: u64,
}

/// How the champion is watched after a promotion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// What is compared; when absent, see [`compared_measure`].
    pub measure: Option<Measure>,
    pub grain: Grain,
    /// The share by which the former champion must be better in a window.
    pub margin: f64,
    /// For how many windows in a row.
    pub windows: usize,
    /// Windows with fewer labels than this say nothing.
    pub min_labels: u64,
    /// The runbook whose run is proposed then.
    pub propose: String,
}

/// What a gate or watch compares: the measure its step names, else the one the rule that started the run is
/// about, else the usual one of the model's task. So one runbook serves models of every task.
#[must_use]
pub fn compared_measure(step: Option<Measure>, rule: &[Measure], task: Task) -> Measure {
    step.or_else(|| rule.iter().copied().find(|measure| comparable(*measure)))
        .unwrap_or(Measure::of_quality(task)[0])
}

/// Whether two versions can be ranked by the measure: it is about quality as a whole, and one direction is better.
#[must_use]
pub fn comparable(measure: Measure) -> bool {
    measure.is_of_whole_model() && matches!(measure.better(), Better::Lower | Better::Higher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_of_the_step_wins_then_the_rule_s_then_the_task_s_usual_one() {
        let cases = [
            (Some(Measure::Rmse), vec![Measure::Mae], Measure::Rmse),
            (None, vec![Measure::Rmse], Measure::Rmse),
            (None, vec![Measure::Psi, Measure::Rmse], Measure::Rmse),
            (None, vec![Measure::Bias], Measure::Mae),
            (None, vec![], Measure::Mae),
        ];
        for (step, rule, expected) in cases {
            assert_eq!(compared_measure(step, &rule, Task::Regression), expected);
        }
        assert_eq!(compared_measure(None, &[], Task::Binary), Measure::RocAuc);
        assert_eq!(compared_measure(None, &[], Task::Multiclass), Measure::F1);
    }
}
