//! How much has landed and is not settled. It is on disk and costs no memory, but a sender that is always faster than settling
//! would fill the disk: beyond a limit, senders are told to come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::services::Error;

/// When a sender should try again: settling takes some seconds for what is counted in the meantime.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Rows that wait to be settled, as they were last counted.
#[derive(Debug)]
pub(super) struct Backlog {
    rows: AtomicU64,
    most: u64,
}

impl Backlog {
    /// With room for so many rows.
    pub(super) fn of(most: u64) -> Self {
        Self {
            rows: AtomicU64::new(0),
            most,
        }
    }

    /// Says how many rows wait now.
    pub(super) fn note(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
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

    #[test]
    fn senders_come_back_when_what_waits_has_been_settled() {
        let backlog = Backlog::of(1_000);
        backlog.note(999);
        assert!(backlog.has_room().is_ok());
        backlog.note(1_000);
        let refused = backlog.has_room();
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
        backlog.note(0);
        assert!(backlog.has_room().is_ok());
    }
}
