//! How long raw rows, profiles and measurements are kept, and what that means on a day.
//!
//! A partition holds the rows of a day (of a month, for measurements) of all projects, and projects forget at
//! different times. So forgetting a day is one of two things: dropping its partition, which costs nothing and gives
//! its space back at once, when everybody who has rows in it is past it; or deleting a project's rows from it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::ProjectId;

/// What is kept for a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Predictions with their features, labels and outcomes, and samples of telemetry.
    Raw,
    /// Counts by feature and window.
    Profiles,
    /// Computed values.
    Measurements,
}

impl Kept {
    /// Every kind, the shortest kept first.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Profiles, Self::Measurements];

    /// The word used in messages and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Profiles => "profiles",
            Self::Measurements => "measurements",
        }
    }
}

/// How long a project keeps what, in whole days of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub raw_days: u32,
    pub profile_days: u32,
    pub measurement_days: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            raw_days: 90,
            profile_days: 400,
            measurement_days: 1_100,
        }
    }
}

/// What a project says of it; what it does not say is up to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wishes {
    pub raw_days: Option<u32>,
    pub profile_days: Option<u32>,
    pub measurement_days: Option<u32>,
    /// Whether raw rows go into the archive before they are dropped. Said with `true`, nothing is dropped without.
    pub archive: Option<bool>,
}

impl Policy {
    /// The policy of a project with these wishes. Profiles and measurements are kept at least as long as raw rows,
    /// from which they could be counted again.
    #[must_use]
    pub fn of(self, wishes: Wishes) -> Self {
        let raw_days = wishes.raw_days.unwrap_or(self.raw_days);
        let at_least = |days: Option<u32>, usual: u32| days.unwrap_or(usual).max(raw_days);
        Self {
            raw_days,
            profile_days: at_least(wishes.profile_days, self.profile_days),
            measurement_days: at_least(wishes.measurement_days, self.measurement_days),
        }
    }

    /// The first instant of a kind that is still kept: the midnight so many days before the present day.
    #[must_use]
    pub fn kept_from(self, kept: Kept, now: DateTime<Utc>) -> DateTime<Utc> {
        let days = match kept {
            Kept::Raw => self.raw_days,
            Kept::Profiles => self.profile_days,
            Kept::Measurements => self.measurement_days,
        };
        let day = now.date_naive().checked_sub_days(Days::new(days.into()));
        day.map_or(DateTime::<Utc>::MIN_UTC, |day| {
            day.and_time(NaiveTime::MIN).and_utc()
        })
    }
}

/// What is gone of a project; marks only ever move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// No prediction of before is taken in any more.
    pub raw_closed_before: Option<DateTime<Utc>>,
    pub raw_gone_before: Option<DateTime<Utc>>,
    pub profiles_gone_before: Option<DateTime<Utc>>,
    pub measurements_gone_before: Option<DateTime<Utc>>,
}

impl Marks {
    /// Before when everything of a kind is gone.
    #[must_use]
    pub fn gone_before(&self, kept: Kept) -> Option<DateTime<Utc>> {
        match kept {
            Kept::Raw => self.raw_gone_before,
            Kept::Profiles => self.profiles_gone_before,
            Kept::Measurements => self.measurements_gone_before,
        }
    }

    /// Whether some of what a window that starts then was made of may be gone.
    #[must_use]
    pub fn reaches_gone(&self, kept: Kept, start: DateTime<Utc>) -> bool {
        self.gone_before(kept).is_some_and(|gone| start < gone)
    }

    /// Whether a prediction of that time comes too late to be taken in.
    #[must_use]
    pub fn is_closed(&self, at: DateTime<Utc>) -> bool {
        self.raw_closed_before.is_some_and(|closed| at < closed)
    }
}

/// A partition, and which projects have rows in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub projects: BTreeSet<ProjectId>,
}

/// How a partition gives up what is past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Everybody is past it.
    Drop {
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        projects: BTreeSet<ProjectId>,
    },
    /// These are, others are not.
    Delete {
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        projects: BTreeSet<ProjectId>,
    },
}

impl Removal {
    /// From when on rows are removed.
    #[must_use]
    pub fn start(&self) -> DateTime<Utc> {
        match self {
            Self::Drop { start, .. } | Self::Delete { start, .. } => *start,
        }
    }

    /// Before when rows are removed.
    #[must_use]
    pub fn end(&self) -> DateTime<Utc> {
        match self {
            Self::Drop { end, .. } | Self::Delete { end, .. } => *end,
        }
    }

    /// Whose rows are removed.
    #[must_use]
    pub fn projects(&self) -> &BTreeSet<ProjectId> {
        match self {
            Self::Drop { projects, .. } | Self::Delete { projects, .. } => projects,
        }
    }
}

/// What is to be removed of partitions, the oldest first, when projects keep what begins at these instants. A project
/// that is not named keeps everything. A partition is past when all of it is. One without rows is dropped as soon as
/// every project is past it.
#[must_use]
pub fn removals(
    partitions: &[Occupied],
    kept_from: &BTreeMap<ProjectId, DateTime<Utc>>,
) -> Vec<Removal> {
    let is_past =
        |project: &ProjectId, end| kept_from.get(project).is_some_and(|from| end <= *from);
    let everyone_from = kept_from.values().min().copied();
    let mut sorted: Vec<&Occupied> = partitions.iter().collect();
    sorted.sort_unstable_by_key(|partition| partition.start);
    sorted
        .into_iter()
        .filter_map(
            |Occupied {
                 start,
                 end,
                 projects,
             }| {
                let (start, end) = (*start, *end);
                let past: BTreeSet<ProjectId> = (projects.iter())
                    .filter(|project| is_past(project, end))
                    .copied()
                    .collect();
                if past.len() == projects.len() {
                    let is_empty_and_past = everyone_from.is_some_and(|from| end <= from);
                    return (!past.is_empty() || is_empty_and_past).then_some(Removal::Drop {
                        start,
                        end,
                        projects: past,
                    });
                }
                (!past.is_empty()).then_some(Removal::Delete {
                    start,
                    end,
                    projects: past,
                })
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}T00:00:00Z").parse().expect("a day")
    }

    fn project(number: u128) -> ProjectId {
        ProjectId(Uuid::from_u128(number))
    }

    fn day(text: &str, projects: &[u128]) -> Occupied {
        Occupied {
            start: at(text),
            end: at(text) + Days::new(1),
            projects: projects.iter().copied().map(project).collect(),
        }
    }

    #[test]
    fn days_are_whole_days_of_utc_before_the_present_one() {
        let policy = Policy {
            raw_days: 1,
            ..Policy::default()
        };
        let now: DateTime<Utc> = "2026-03-10T23:59:59Z".parse().expect("an instant");
        assert_eq!(policy.kept_from(Kept::Raw, now), at("2026-03-09"));
        let ages = Policy {
            raw_days: u32::MAX,
            ..policy
        };
        assert_eq!(
            ages.kept_from(Kept::Raw, now),
            DateTime::<Utc>::MIN_UTC,
            "further back than the calendar goes"
        );
    }

    #[test]
    fn nothing_is_kept_shorter_than_the_rows_it_was_made_of() {
        let wishes = Wishes {
            raw_days: Some(2_000),
            profile_days: Some(10),
            ..Wishes::default()
        };
        let policy = Policy::default().of(wishes);
        assert_eq!(
            (
                policy.raw_days,
                policy.profile_days,
                policy.measurement_days
            ),
            (2_000, 2_000, 2_000)
        );
        assert_eq!(Policy::default().of(Wishes::default()), Policy::default());
    }

    #[test]
    fn a_partition_is_dropped_when_everybody_is_past_it_and_swept_otherwise() {
        let kept_from = BTreeMap::from([
            (project(1), at("2026-03-03")),
            (project(2), at("2026-03-01")),
        ]);
        let partitions = [
            day("2026-03-02", &[1]),
            day("2026-03-01", &[1, 2]),
            day("2026-02-28", &[1, 2]),
            day("2026-03-03", &[1]),
            day("2026-02-27", &[]),
            day("2026-03-04", &[]),
            day("2026-02-26", &[3]),
            day("2026-02-25", &[1, 3]),
        ];
        let one = BTreeSet::from([project(1)]);
        let drop = |text: &str, projects: &BTreeSet<ProjectId>| Removal::Drop {
            start: at(text),
            end: at(text) + Days::new(1),
            projects: projects.clone(),
        };
        let delete = |text: &str, projects: &BTreeSet<ProjectId>| Removal::Delete {
            start: at(text),
            end: at(text) + Days::new(1),
            projects: projects.clone(),
        };
        assert_eq!(
            removals(&partitions, &kept_from),
            [
                delete("2026-02-25", &one),
                drop("2026-02-27", &BTreeSet::new()),
                drop("2026-02-28", &BTreeSet::from([project(1), project(2)])),
                delete("2026-03-01", &one),
                drop("2026-03-02", &one),
            ]
        );
    }

    #[test]
    fn marks_tell_what_reaches_into_the_past_that_is_gone() {
        let marks = Marks {
            raw_closed_before: Some(at("2026-03-03")),
            raw_gone_before: Some(at("2026-03-02")),
            ..Marks::default()
        };
        assert!(marks.reaches_gone(Kept::Raw, at("2026-03-01")));
        assert!(!marks.reaches_gone(Kept::Raw, at("2026-03-02")));
        assert!(!marks.reaches_gone(Kept::Profiles, at("2020-01-01")));
        assert!(marks.is_closed(at("2026-03-02")) && !marks.is_closed(at("2026-03-03")));
    }
}
