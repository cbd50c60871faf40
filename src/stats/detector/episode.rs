//! From surprising days to one alert: an episode opens on the first candidate, stays while days are nearly as
//! surprising, and ends after a quiet week.
//!
//! The step is a pure function, so that live evaluation, backtests and the benchmark cannot differ. A model has one
//! episode at a time, whatever the number of features in it.

use serde::{Deserialize, Serialize};

/// An open episode goes on while the p-value is below so many times what opened it.
const STAYS_BELOW: f64 = 10.0;
/// Quiet days after which it ends.
const QUIET_DAYS: u32 = 7;

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
        /// The days since then that were judged, in whole or in part. Earlier builds counted buckets here.
        quiet: u32,
        /// The last bucket that was taken in; of those that earlier builds stored it is not known.
        #[serde(default = "long_ago")]
        taken: i64,
    },
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Opened,
    Resolved,
}

fn long_ago() -> i64 {
    i64::MIN
}

impl Episode {
    /// Takes in one bucket: the least `ln(p / α)` of its features ([`super::Verdict::evidence`]), `None` if none could
    /// be judged, and the start that the verdict names. A bucket that could not be judged is neither quiet nor not,
    /// and while it is open, one that was taken in before, or is older than such a one, changes nothing.
    ///
    /// It ends when seven days have passed and seven were quiet, however many buckets of them could be judged. A day is as
    /// many buckets as one has, and the first begins after the last bucket that was nearly as surprising.
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
                (Self::loud(bucket, since, bucket), Change::Opened)
            }
            Self::Closed => (self, Change::Nothing),
            Self::Open { last, taken, .. } if bucket <= taken.max(last) => (self, Change::Nothing),
            Self::Open { opened, since, .. } if evidence < STAYS_BELOW.ln() => {
                (Self::loud(opened, since, bucket), Change::Nothing)
            }
            Self::Open {
                opened,
                since,
                last,
                quiet,
                taken,
            } => {
                let length = buckets_per_day.max(1.0) as i64;
                let day = |bucket: i64| (bucket - last - 1).div_euclid(length);
                let is_another = taken <= last || day(bucket) != day(taken);
                // A bucket of a week has seven days.
                let days = (1.0 / buckets_per_day).max(1.0).round() as u32;
                let quiet = quiet + if is_another { days } else { 0 };
                let enough = (f64::from(QUIET_DAYS) * buckets_per_day).round() as i64;
                if quiet >= QUIET_DAYS && bucket - last >= enough {
                    return (Self::Closed, Change::Resolved);
                }
                let open = Self::Open {
                    opened,
                    since,
                    last,
                    quiet,
                    taken: bucket,
                };
                (open, Change::Nothing)
            }
        }
    }

    /// An open one after a bucket that was as surprising.
    fn loud(opened: i64, since: i64, bucket: i64) -> Self {
        Self::Open {
            opened,
            since,
            last: bucket,
            quiet: 0,
            taken: bucket,
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
    /// After how many hours an episode ends of which only those are judged that `is_judged`, and which then are quiet.
    fn ends_after(is_judged: impl Fn(i64) -> bool) -> Option<i64> {
        let (mut episode, _) = Episode::Closed.step(34, 24.0, Some(-2.0), None);
        (1..60 * 24).find(|hours| {
            let evidence = is_judged(34 + hours).then_some(9.0);
            let (next, change) = episode.step(34 + hours, 24.0, evidence, None);
            episode = next;
            change == Change::Resolved
        })
    }

    #[test]
    fn thin_hours_end_it_after_seven_quiet_days_as_all_hours_do() {
        assert_eq!(ends_after(|_| true), Some(168));
        assert_eq!(ends_after(|hour| (8..16).contains(&(hour % 24))), Some(168));
        assert_eq!(ends_after(|hour| hour % 24 == 10), Some(168));
        // An hour that is not there every day at the same time: the first one later.
        assert_eq!(ends_after(|hour| hour % 24 == 9), Some(7 * 24 + 23));
        // A day none of whose hours could be judged is no quiet one.
        let weekdays = |hour: i64| hour % 24 == 10 && hour / 24 % 7 < 5;
        assert_eq!(ends_after(weekdays), Some(9 * 24));
        assert_eq!(ends_after(|hour| hour < 48), None);
    }

    #[test]
    fn a_quiet_week_ends_it_where_weeks_are_judged() {
        let (episode, _) = Episode::Closed.step(5, 1.0 / 7.0, Some(-2.0), None);
        assert_eq!(
            episode.step(6, 1.0 / 7.0, Some(9.0), None).1,
            Change::Resolved
        );
    }

    #[test]
    fn a_quiet_bucket_counts_once_however_often_it_is_taken_in() {
        let (mut episode, _) = Episode::Closed.step(0, 1.0, Some(-2.0), None);
        for bucket in [1, 2, 2, 3, 1, 3, 3, 4, 5, 6, 6] {
            let (next, change) = episode.step(bucket, 1.0, Some(9.0), None);
            assert_eq!(change, Change::Nothing, "{bucket}");
            episode = next;
        }
        // Nor does an earlier one that is loud now prolong it.
        assert_eq!(episode.step(4, 1.0, Some(-5.0), None).0, episode);
        assert_eq!(episode.step(7, 1.0, Some(9.0), None).1, Change::Resolved);
    }

    #[test]
    fn what_earlier_builds_stored_is_read_and_goes_on() {
        let read = |quiet: u32| {
            let stored =
                serde_json::json!({"Open": {"opened": 2, "since": 1, "last": 3, "quiet": quiet}});
            serde_json::from_value::<Episode>(stored).expect("an episode")
        };
        // Six quiet days, and the seventh.
        let change = |of: Episode, bucket, per_day| of.step(bucket, per_day, Some(9.0), None).1;
        assert_eq!(change(read(5), 9, 1.0), Change::Nothing);
        assert_eq!(change(read(6), 10, 1.0), Change::Resolved);
        // Of hours, 166 and 167.
        assert_eq!(change(read(166), 3 + 167, 24.0), Change::Nothing);
        assert_eq!(change(read(167), 3 + 168, 24.0), Change::Resolved);
    }
}
