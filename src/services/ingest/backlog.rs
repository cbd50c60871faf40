//! How much has landed and is not settled. It is on disk and costs no memory, but a sender that is always faster than settling
//! would fill the disk: beyond a limit, senders are told to come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::domain::ids::ProjectId;
use crate::services::Error;
use crate::storage::intake::Unsettled;

/// When a sender should try again: settling takes some seconds for what is counted in the meantime.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Rows that wait to be settled, as they were last counted.
#[derive(Debug)]
pub(super) struct Backlog {
    rows: AtomicU64,
    unsettled: RwLock<Unsettled>,
    most: u64,
}

impl Backlog {
    /// With room for so many rows.
    pub(super) fn of(most: u64) -> Self {
        Self {
            rows: AtomicU64::new(0),
            unsettled: RwLock::default(),
            most,
        }
    }

    /// Says how much waits now, and how much was set aside.
    pub(super) fn note(&self, unsettled: Unsettled) {
        self.rows.store(unsettled.rows(), Ordering::Relaxed);
        *self
            .unsettled
            .write()
            .unwrap_or_else(PoisonError::into_inner) = unsettled;
    }

    /// How many batches were set aside when it was last said.
    pub(super) fn failed_batches(&self) -> u64 {
        let unsettled = self
            .unsettled
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        unsettled.failed_batches
    }

    /// How many rows waited when it was last said.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether more of this project may land. Where too many rows wait, only a project whose own are fewer than its share
    /// has room: one that floods does not stop the others, and what waits stays below twice the limit.
    ///
    /// # Errors
    /// Unavailable while there are too many rows.
    pub(super) fn has_room(&self, project_id: ProjectId) -> Result<(), Error> {
        if self.rows() < self.most {
            return Ok(());
        }
        let unsettled = self
            .unsettled
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let own = unsettled.by_project.get(&project_id).copied();
        let sharing = unsettled.by_project.len() + usize::from(own.is_none());
        if own.unwrap_or(0) < self.most / (sharing as u64) {
            return Ok(());
        }
        Err(Error::unavailable(
            RETRY_AFTER,
            "too many rows wait to be settled; nothing of this was kept, send it again later",
        ))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn project(n: u128) -> ProjectId {
        ProjectId(Uuid::from_u128(n))
    }

    fn waiting<const N: usize>(rows: [u64; N]) -> Unsettled {
        let rows = (0..).zip(rows).filter(|(_, rows)| *rows > 0);
        Unsettled {
            by_project: rows.map(|(n, rows)| (project(n), rows)).collect(),
            failed_batches: 0,
        }
    }

    #[test]
    fn senders_come_back_when_what_waits_has_been_settled() {
        let backlog = Backlog::of(1_000);
        backlog.note(waiting([999]));
        assert!(backlog.has_room(project(0)).is_ok());
        backlog.note(waiting([1_000]));
        let refused = backlog.has_room(project(0));
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
        backlog.note(waiting([0]));
        assert!(backlog.has_room(project(0)).is_ok());
    }

    #[test]
    fn a_project_that_floods_leaves_the_others_their_share() {
        let backlog = Backlog::of(1_000);
        let room = |n| backlog.has_room(project(n)).is_ok();
        backlog.note(waiting([1_000, 0]));
        assert_eq!([0, 1].map(room), [false, true]);
        backlog.note(waiting([1_000, 499]));
        assert_eq!([0, 1, 2].map(room), [false, true, true]);
        backlog.note(waiting([1_000, 500]));
        assert_eq!([0, 1, 2].map(room), [false, false, true]);
        backlog.note(waiting([300, 499]));
        assert_eq!([0, 1, 2].map(room), [true; 3]);
    }
}
