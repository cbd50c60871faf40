//! The lifecycle of an alert, as one pure function.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What one window says about a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Since when the window's data speak, in event time.
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub verdict: Verdict,
}

/// A window against a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Beyond the threshold.
    Breach { value: f64, threshold: f64 },
    /// Not beyond it.
    Fine { value: f64, threshold: f64 },
    /// Too little to say. Opens nothing and resolves nothing.
    Insufficient,
}

/// Where a rule stands on a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RuleState {
    #[default]
    Inactive,
    /// In breach, but not for as many windows as the rule asks.
    Pending {
        since: DateTime<Utc>,
        windows: usize,
    },
    /// An alert is open.
    Firing {
        since: DateTime<Utc>,
        fired_at: DateTime<Utc>,
        last_seen_at: DateTime<Utc>,
    },
}

/// How many windows in a row it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To open.
    pub windows: usize,
    /// To resolve.
    pub resolve_windows: usize,
}

/// What follows from a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Nothing that anybody needs to hear.
    None,
    /// An alert opens.
    Opened { value: f64, threshold: f64 },
    /// The open alert was confirmed by a further window.
    Seen { value: f64, threshold: f64 },
    /// The open alert is over.
    Resolved { value: f64, threshold: f64 },
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transition {
    pub state: RuleState,
    pub change: Change,
}

/// Moves a rule's state on, given what its windows say, oldest first, as they are measured now. Windows that
/// say too little are passed over: silence neither opens nor resolves. Measuring a window again changes its
/// observation but never counts it twice, because the streak is read from the windows each time.
#[must_use]
pub fn step(
    state: RuleState,
    observations: &[Observation],
    patience: Patience,
    now: DateTime<Utc>,
) -> Transition {
    let telling: Vec<&Observation> = observations
        .iter()
        .filter(|o| !matches!(o.verdict, Verdict::Insufficient))
        .collect();
    let Some(newest) = telling.last() else {
        return Transition {
            state,
            change: Change::None,
        };
    };
    let breaching = matches!(newest.verdict, Verdict::Breach { .. });
    let streak = telling
        .iter()
        .rev()
        .take_while(|o| matches!(o.verdict, Verdict::Breach { .. }) == breaching)
        .count();
    let streak_since = telling[telling.len() - streak].start;

    match (state, newest.verdict) {
        (
            RuleState::Firing {
                since,
                fired_at,
                last_seen_at,
            },
            Verdict::Breach { value, threshold },
        ) => {
            let state = RuleState::Firing {
                since,
                fired_at,
                last_seen_at: last_seen_at.max(newest.end),
            };
            let change = if newest.end > last_seen_at {
                Change::Seen { value, threshold }
            } else {
                Change::None
            };
            Transition { state, change }
        }
        (RuleState::Firing { .. }, Verdict::Fine { value, threshold })
            if streak >= patience.resolve_windows =>
        {
            Transition {
                state: RuleState::Inactive,
                change: Change::Resolved { value, threshold },
            }
        }
        (RuleState::Firing { .. }, _) => Transition {
            state,
            change: Change::None,
        },
        (_, Verdict::Breach { value, threshold }) if streak >= patience.windows => Transition {
            state: RuleState::Firing {
                since: streak_since,
                fired_at: now,
                last_seen_at: newest.end,
            },
            change: Change::Opened { value, threshold },
        },
        (_, Verdict::Breach { .. }) => Transition {
            state: RuleState::Pending {
                since: streak_since,
                windows: streak,
            },
            change: Change::None,
        },
        (_, Verdict::Fine { .. } | Verdict::Insufficient) => Transition {
            state: RuleState::Inactive,
            change: Change::None,
        },
    }
}
