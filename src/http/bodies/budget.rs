//! The memory that bodies may take, over all requests together. A limit on each request is not enough: a
//! hundred requests of the largest size are a hundred times that. Whoever finds no room waits a moment,
//! because most requests are short, and is then told to come back.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::UpDownCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A semaphore's permits are counted in pieces of this size, so that all sizes fit its numbers.
const PIECE: usize = 1 << 10;

/// There was no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The bytes that may be held.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    pieces: usize,
    /// How long a request waits for room.
    wait: Duration,
    held: UpDownCounter<i64>,
}

impl Budget {
    pub(super) fn new(bytes: u64, wait: Duration, held: UpDownCounter<i64>) -> Self {
        let pieces = usize::try_from(bytes).unwrap_or(usize::MAX) / PIECE;
        let pieces = pieces.min(Semaphore::MAX_PERMITS);
        held.add(0, &[]);
        Self {
            free: Arc::new(Semaphore::new(pieces)),
            pieces,
            wait,
            held,
        }
    }

    /// Room for this many bytes.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<Reservation, Full> {
        let permit = self.take(bytes.div_ceil(PIECE)).await?;
        Ok(Reservation {
            permit,
            budget: self.clone(),
        })
    }

    /// Room for this many bytes, or all there is.
    pub(super) async fn reserve_at_most_all(&self, bytes: usize) -> Result<Reservation, Full> {
        self.reserve(bytes.min(self.pieces * PIECE)).await
    }

    async fn take(&self, pieces: usize) -> Result<OwnedSemaphorePermit, Full> {
        let wanted = u32::try_from(pieces).map_err(|_| Full)?;
        let taking = self.free.clone().acquire_many_owned(wanted);
        let Ok(Ok(permit)) = tokio::time::timeout(self.wait, taking).await else {
            return Err(Full);
        };
        self.held.add(bytes_of(&permit), &[]);
        Ok(permit)
    }
}

/// Bytes that somebody may hold; they are free again when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    permit: OwnedSemaphorePermit,
    budget: Budget,
}

impl Reservation {
    /// How many bytes may be held.
    pub(super) fn bytes(&self) -> usize {
        self.permit.num_permits() * PIECE
    }

    /// Makes sure that `bytes` may be held.
    pub(super) async fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        let missing = bytes
            .div_ceil(PIECE)
            .saturating_sub(self.permit.num_permits());
        if missing > 0 {
            self.permit.merge(self.budget.take(missing).await?);
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.held.add(-bytes_of(&self.permit), &[]);
    }
}

fn bytes_of(permit: &OwnedSemaphorePermit) -> i64 {
    i64::try_from(permit.num_permits() * PIECE).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};

    fn budget(bytes: u64) -> Budget {
        let meter = NoopMeterProvider::new().meter("test");
        let wait = Duration::from_millis(50);
        Budget::new(bytes, wait, meter.i64_up_down_counter("held").build())
    }

    #[tokio::test]
    async fn what_is_dropped_is_free_again() {
        let budget = budget(10 << 10);
        let mut first = budget.reserve(4 << 10).await.expect("room");
        first.grow_to(10 << 10).await.expect("room");
        assert_eq!(budget.reserve(1).await.expect_err("no room"), Full);
        drop(first);
        budget.reserve(10 << 10).await.expect("room again");
    }

    #[tokio::test]
    async fn what_is_larger_than_all_takes_all() {
        let budget = budget(10 << 10);
        let all = budget.reserve_at_most_all(1 << 30).await.expect("room");
        assert_eq!(all.bytes(), 10 << 10);
        budget.reserve(1).await.expect_err("no room");
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_freed_meanwhile() {
        let budget = budget(10 << 10);
        let first = budget.reserve(10 << 10).await.expect("room");
        let second = budget.reserve(1 << 10);
        let (second, ()) = tokio::join!(second, async { drop(first) });
        assert_eq!(second.expect("room").bytes(), 1 << 10);
    }

    #[tokio::test]
    async fn a_growth_that_fails_leaves_what_there_was() {
        let budget = budget(2 << 10);
        let mut held = budget.reserve(1 << 10).await.expect("room");
        held.grow_to(5 << 10).await.expect_err("no room");
        assert_eq!(held.bytes(), 1 << 10);
        held.grow_to(2 << 10).await.expect("room");
    }
}
