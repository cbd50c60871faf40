//! The cap on the values of a segment in one base window of a version: those that came first are counted each, rows
//! with any further value count overall and under no value of the segment. The rows themselves keep their value.
//!
//! Groups are left out before they are counted: a profile per feature of every value somebody makes up is what would
//! take the memory.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use super::profiling::{Groups, PREDICTION};
use crate::domain::ids::VersionId;
use crate::storage::profiles;

/// The values counted so far.
#[derive(Debug)]
pub struct SegmentValues {
    most: usize,
    known: HashMap<SegmentOfWindow, HashSet<String>>,
    /// Of these no further value is taken.
    closed: HashSet<SegmentOfWindow>,
}

type SegmentOfWindow = (VersionId, DateTime<Utc>, String);

impl SegmentValues {
    /// Of windows that have no profiles yet.
    #[must_use]
    pub fn none(most: usize) -> Self {
        Self {
            most,
            known: HashMap::new(),
            closed: HashSet::new(),
        }
    }

    /// Keeps to the values that are known, where any are: counting again must not take others than before.
    pub fn close(&mut self) {
        self.closed = self.known.keys().cloned().collect();
    }

    /// Adds those that are counted in the base window of a version.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(
        &mut self,
        conn: &mut PgConnection,
        version_id: VersionId,
        start: DateTime<Utc>,
    ) -> Result<(), Error> {
        let end = start + chrono::TimeDelta::microseconds(1);
        for segment in profiles::segments(conn, version_id, start, end, PREDICTION).await? {
            let key = (version_id, start, segment.name);
            self.known.entry(key).or_default().insert(segment.value);
        }
        Ok(())
    }

    /// Leaves out the groups of values there is no room for; returns how many rows they had.
    pub fn limit(&mut self, groups: &mut Groups) -> u64 {
        let mut beyond = 0;
        groups.retain(|(version_id, start, segment), rows| {
            if segment.is_overall() {
                return true;
            }
            let key = (*version_id, *start, segment.name.clone());
            let is_closed = self.closed.contains(&key);
            let known = self.known.entry(key).or_default();
            let has_room =
                known.contains(&segment.value) || (!is_closed && known.len() < self.most);
            if has_room {
                known.insert(segment.value.clone());
            } else {
                beyond += rows.len() as u64;
            }
            has_room
        });
        beyond
    }
}
