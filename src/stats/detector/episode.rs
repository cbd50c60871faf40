//! From surprising days to one alert: an episode opens on the first candidate, stays while days are nearly as
//! surprising, and ends after a quiet week.
//!
//! The step is a pure function, so that live evaluation, backtests and the benchmark cannot differ. A model has one
//! episode at a time, whatever the number of features in it.

use serde::{Deserialize, Serialize};

/// An open episode goes on while the p-value is below so many times what opened it.
const STAYS_BELOW: f64 = 10.0;
/// Quiet buckets of a day's length after which it ends.
const QUIET_DAYS: f64 = 7.0;

/// Whether something is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Episode {
    #[default]
    Closed,
    Open {
        /// The bucket that opened it.
        opened: i64,
        /// The bucket since which things have probably changed.
        since: i64,
        /// The last bucket that was nearly as surprising.
        last: i64,
        /// Judged buckets since then.
        quiet: u32,
    },
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Opened,
    Resolved,
}

impl Episode {
    /// Takes in one bucket: the least `ln(p / α)` of its features ([`super::Verdict::evidence`]), `None` if none could
    /// be judged, and the start that the verdict names. A bucket that could not be judged is neither quiet nor not,
    /// and one that was taken in before changes nothing.
    #[must_use]
    pub fn step(
        self,
        bucket: i64,
        buckets_per_day: f64,
        evidence: Option<f64>,
        since: Option<i64>,
    ) -> (Self, Change) {
        let Some(evidence) = evidence else {
            return (self, Change::Nothing);
        };
        match self {
            Self::Closed if evidence < 0.0 => {
                let since = since.unwrap_or(bucket);
                (
                    Self::Open {
                        opened: bucket,
                        since,
                        last: bucket,
                        quiet: 0,
                    },
                    Change::Opened,
                )
            }
            Self::Closed => (self, Change::Nothing),
            Self::Open { last, .. } if bucket <= last => (self, Change::Nothing),
            Self::Open { opened, since, .. } if evidence < STAYS_BELOW.ln() => (
                Self::Open {
                    opened,
                    since,
                    last: bucket,
                    quiet: 0,
                },
                Change::Nothing,
            ),
            Self::Open {
                opened,
                since,
                last,
                quiet,
            } => {
                let quiet = quiet + 1;
                if f64::from(quiet) >= (QUIET_DAYS * buckets_per_day).max(1.0) {
                    return (Self::Closed, Change::Resolved);
                }
                (
                    Self::Open {
                        opened,
                        since,
                        last,
                        quiet,
                    },
                    Change::Nothing,
                )
            }
        }
    }

    /// Ends it because the reference it was about is no longer the one in use.
    #[must_use]
    pub fn reference_changed(self) -> (Self, Change) {
        match self {
            Self::Closed => (self, Change::Nothing),
            Self::Open { .. } => (Self::Closed, Change::Resolved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opened and resolved buckets of a course of evidence.
    fn course(evidence: &[Option<f64>]) -> Vec<(i64, Change)> {
        let mut episode = Episode::default();
        let mut changes = Vec::new();
        for (bucket, evidence) in (0..).zip(evidence) {
            let (next, change) = episode.step(bucket, 1.0, *evidence, None);
            episode = next;
            if change != Change::Nothing {
                changes.push((bucket, change));
            }
        }
        changes
    }

    #[test]
    fn a_day_opens_it_and_a_quiet_week_ends_it() {
        let mut days = vec![Some(3.0), Some(-1.0)];
        days.extend([Some(5.0); 8]);
        assert_eq!(course(&days), [(1, Change::Opened), (8, Change::Resolved)]);
    }

    #[test]
    fn what_is_nearly_as_surprising_keeps_it_open_but_opens_nothing() {
        assert_eq!(course(&[Some(1.0); 20]), []);
        let mut days = vec![Some(-1.0)];
        for _ in 0..5 {
            days.extend([Some(9.0); 6]);
            days.push(Some(2.0));
        }
        assert_eq!(course(&days), [(0, Change::Opened)]);
    }

    #[test]
    fn days_that_could_not_be_judged_are_not_quiet() {
        let mut days = vec![Some(-1.0)];
        days.extend([None; 30]);
        days.extend([Some(9.0); 6]);
        assert_eq!(course(&days), [(0, Change::Opened)]);
        days.push(Some(9.0));
        assert_eq!(course(&days).len(), 2);
    }

    #[test]
    fn the_start_is_the_verdicts_and_a_bucket_counts_once() {
        let (episode, _) = Episode::Closed.step(10, 1.0, Some(-2.0), Some(7));
        let Episode::Open { since, opened, .. } = episode else {
            panic!("{episode:?}")
        };
        assert_eq!((since, opened), (7, 10));
        assert_eq!(
            episode.step(10, 1.0, Some(9.0), None),
            (episode, Change::Nothing)
        );
        assert_eq!(
            episode.reference_changed(),
            (Episode::Closed, Change::Resolved)
        );
    }

    #[test]
    fn a_quiet_week_has_as_many_buckets_as_seven_days() {
        let (mut episode, _) = Episode::Closed.step(0, 24.0, Some(-2.0), None);
        for bucket in 1..168 {
            let (next, change) = episode.step(bucket, 24.0, Some(9.0), None);
            assert_eq!(change, Change::Nothing);
            episode = next;
        }
        assert_eq!(episode.step(168, 24.0, Some(9.0), None).1, Change::Resolved);
    }
}
