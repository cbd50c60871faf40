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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience = Patience {
        windows: 2,
        resolve_windows: 2,
    };

    fn day(number: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(number)
    }

    /// Windows of a day each, the first on day 0: `!` is a breach, `.` is fine, `?` says too little.
    fn windows(verdicts: &str) -> Vec<Observation> {
        (0..)
            .zip(verdicts.chars())
            .map(|(number, verdict)| Observation {
                start: day(number),
                end: day(number + 1),
                verdict: match verdict {
                    '!' => Verdict::Breach {
                        value: 3.0,
                        threshold: 2.0,
                    },
                    '.' => Verdict::Fine {
                        value: 1.0,
                        threshold: 2.0,
                    },
                    _ => Verdict::Insufficient,
                },
            })
            .collect()
    }

    fn firing(since: i64, fired: i64, last_seen: i64) -> RuleState {
        RuleState::Firing {
            since: day(since),
            fired_at: day(fired),
            last_seen_at: day(last_seen),
        }
    }

    fn pending(since: i64, windows: usize) -> RuleState {
        RuleState::Pending {
            since: day(since),
            windows,
        }
    }

    #[test]
    fn a_rule_that_is_not_firing_waits_for_as_many_breaches_as_it_asks() {
        let now = day(9);
        let cases = [
            ("", RuleState::Inactive),
            ("???", RuleState::Inactive),
            (".", RuleState::Inactive),
            ("!", pending(0, 1)),
            ("!.", RuleState::Inactive),
            ("!.!", pending(2, 1)),
            ("!?", pending(0, 1)),
            ("!!", firing(0, 9, 2)),
            ("!?!", firing(0, 9, 3)),
            (".!!?", firing(1, 9, 3)),
            ("!!!", firing(0, 9, 3)),
        ];
        for (verdicts, expected) in cases {
            let transition = step(RuleState::Inactive, &windows(verdicts), PATIENCE, now);
            assert_eq!(transition.state, expected, "{verdicts}");
            let opened = Change::Opened {
                value: 3.0,
                threshold: 2.0,
            };
            let change = match expected {
                RuleState::Firing { .. } => opened,
                _ => Change::None,
            };
            assert_eq!(transition.change, change, "{verdicts}");
        }
    }

    #[test]
    fn a_firing_rule_waits_for_as_many_fine_windows_as_it_asks() {
        let state = firing(0, 2, 2);
        let seen = Change::Seen {
            value: 3.0,
            threshold: 2.0,
        };
        let resolved = Change::Resolved {
            value: 1.0,
            threshold: 2.0,
        };
        let cases = [
            ("", state, Change::None),
            ("????", state, Change::None),
            ("!!", state, Change::None),
            ("!!.", state, Change::None),
            ("!!.?", state, Change::None),
            ("!!!", firing(0, 2, 3), seen),
            ("!!.!", firing(0, 2, 4), seen),
            ("!!..", RuleState::Inactive, resolved),
            ("!!.?.", RuleState::Inactive, resolved),
            // Measured again, the windows that opened it are fine.
            ("..", RuleState::Inactive, resolved),
        ];
        for (verdicts, expected, change) in cases {
            let transition = step(state, &windows(verdicts), PATIENCE, day(9));
            assert_eq!(transition.state, expected, "{verdicts}");
            assert_eq!(transition.change, change, "{verdicts}");
        }
    }

    #[test]
    fn pending_is_kept_while_nothing_is_said_and_left_when_all_is_well() {
        let state = pending(0, 1);
        for (verdicts, expected) in [
            ("", state),
            ("?", state),
            (".", RuleState::Inactive),
            ("!", state),
        ] {
            let transition = step(state, &windows(verdicts), PATIENCE, day(9));
            assert_eq!(transition.state, expected, "{verdicts}");
            assert_eq!(transition.change, Change::None, "{verdicts}");
        }
    }

    proptest! {
        /// A rule lives through windows that are measured again at will. Whatever they say: an alert opens only
        /// when none is open and resolves only when one is, every change fits the state, and stepping again
        /// without news changes nothing.
        #[test]
        fn alerts_open_once_and_resolve_once(
            lives in prop::collection::vec(prop::collection::vec("[!.?]", 0..8), 1..40),
            windows_asked in 1_usize..4,
            resolve_windows in 1_usize..4,
        ) {
            let patience = Patience { windows: windows_asked, resolve_windows };
            let mut state = RuleState::Inactive;
            for (now, verdicts) in (10..).zip(lives) {
                let observations = windows(&verdicts.concat());
                let was_firing = matches!(state, RuleState::Firing { .. });
                let transition = step(state, &observations, patience, day(now));
                let is_firing = matches!(transition.state, RuleState::Firing { .. });
                match transition.change {
                    Change::Opened { .. } => prop_assert!(!was_firing && is_firing),
                    Change::Resolved { .. } => prop_assert!(was_firing && !is_firing),
                    Change::Seen { .. } => prop_assert!(was_firing && is_firing),
                    Change::None => prop_assert_eq!(was_firing, is_firing),
                }
                let again = step(transition.state, &observations, patience, day(now));
                prop_assert_eq!(again.state, transition.state);
                prop_assert_eq!(again.change, Change::None);
                state = transition.state;
            }
        }

        /// What says too little might as well not be there.
        #[test]
        fn windows_that_say_too_little_change_nothing(verdicts in "[!.?]{0,12}", firing_now: bool) {
            let state = if firing_now { firing(0, 1, 1) } else { RuleState::Inactive };
            let all = windows(&verdicts);
            let telling: Vec<Observation> = all
                .iter()
                .filter(|o| o.verdict != Verdict::Insufficient)
                .cloned()
                .collect();
            prop_assert_eq!(
                step(state, &all, PATIENCE, day(20)),
                step(state, &telling, PATIENCE, day(20))
            );
        }
    }
}
