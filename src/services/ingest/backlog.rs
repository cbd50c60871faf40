//! How much has landed and is not settled. It is on disk and costs no memory, but a sender that is always faster than settling
//! would fill the disk: beyond a limit, senders are told to come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::services::Error;
use crate::storage::intake::Unsettled;

/// When a sender should try again: settling takes some seconds for what is counted in the meantime.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Rows that wait to be settled, as they were last counted.
#[derive(Debug)]
pub(super) struct Backlog {
    rows: AtomicU64,
    failed_batches: AtomicU64,
    most: u64,
}

impl Backlog {
    /// With room for so many rows.
    pub(super) fn of(most: u64) -> Self {
        Self {
            rows: AtomicU64::new(0),
            failed_batches: AtomicU64::new(0),
            most,
        }
    }

    /// Says how much waits now, and how much was set aside.
    pub(super) fn note(&self, unsettled: Unsettled) {
        self.rows.store(unsettled.rows, Ordering::Relaxed);
        (self.failed_batches).store(unsettled.failed_batches, Ordering::Relaxed);
    }

    /// How many batches were set aside when it was last said.
    pub(super) fn failed_batches(&self) -> u64 {
        self.failed_batches.load(Ordering::Relaxed)
    }

    /// How many rows waited when it was last said.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether more may land.
    ///
    /// # Errors
    /// Unavailable while there are too many rows.
    pub(super) fn has_room(&self) -> Result<(), Error> {
        if self.rows() < self.most {
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
    use super::*;

    fn waiting(rows: u64) -> Unsettled {
        Unsettled {
            rows,
            failed_batches: 0,
        }
    }

    #[test]
    fn senders_come_back_when_what_waits_has_been_settled() {
        let backlog = Backlog::of(1_000);
        backlog.note(waiting(999));
        assert!(backlog.has_room().is_ok());
        backlog.note(waiting(1_000));
        let refused = backlog.has_room();
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
        backlog.note(waiting(0));
        assert!(backlog.has_room().is_ok());
    }
}
