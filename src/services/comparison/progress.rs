//! How far a comparison has come, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by those who work and the one who shows it.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// The share of the work that is done, from 0 to 1; nothing while it is not known how much there is.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let total = self.total.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed).min(total);
        (total > 0).then(|| done as f64 / total as f64)
    }

    pub(super) fn expect(&self, work: u64) {
        self.total.fetch_add(work, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, work: u64) {
        self.done.fetch_add(work, Ordering::Relaxed);
    }
}
