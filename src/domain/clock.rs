//! Time as an argument. The tick or the request reads a [`Clock`] once; below that, `now` is a parameter.
//! The whole service can run on a [`ReplayClock`], which stands still until it is told to advance: the demo
//! lives through a year in a minute on it, and tests drive it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::sync::watch;

/// A source of the present instant, in UTC with microseconds (what Postgres keeps).
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant.
    fn now(&self) -> DateTime<Utc>;

    /// Completes once `now()` has reached `until`.
    fn sleep_until(&self, until: DateTime<Utc>) -> BoxFuture<'_, ()>;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> DateTime<Utc> {
        truncate_to_micros(Utc::now())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn sleep_until(&self, until: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let Ok(left) = (until - Utc::now()).to_std() {
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left).await;
            }
        })
    }
}

/// A clock that stands still until [`ReplayClock::advance_to`] moves it. It never goes back.
#[derive(Debug, Clone)]
pub struct ReplayClock {
    micros: Arc<AtomicI64>,
    moved: watch::Sender<i64>,
}

impl ReplayClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        let micros = start.timestamp_micros();
        Self {
            micros: Arc::new(AtomicI64::new(micros)),
            moved: watch::Sender::new(micros),
        }
    }

    /// Moves the clock forward to `to`; an earlier instant is ignored.
    pub fn advance_to(&self, to: DateTime<Utc>) {
        let reached = self
            .micros
            .fetch_max(to.timestamp_micros(), Ordering::SeqCst)
            .max(to.timestamp_micros());
        self.moved.send_replace(reached);
    }
}

impl Clock for ReplayClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.micros.load(Ordering::SeqCst))
            .expect("the clock was set from a valid instant")
    }

    fn sleep_until(&self, until: DateTime<Utc>) -> BoxFuture<'_, ()> {
        let mut moved = self.moved.subscribe();
        let until = until.timestamp_micros();
        Box::pin(async move {
            // The sender lives in self, which this future borrows, so the channel cannot close.
            let _ = moved.wait_for(|reached| *reached >= until).await;
        })
    }
}

fn truncate_to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn instant(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid instant")
    }

    #[test]
    fn replay_clock_stands_still_and_never_goes_back() {
        let clock = ReplayClock::starting_at(instant(100));
        assert_eq!(clock.now(), instant(100));
        clock.advance_to(instant(50));
        assert_eq!(clock.now(), instant(100));
        clock.advance_to(instant(200));
        assert_eq!(clock.now(), instant(200));
    }

    #[tokio::test]
    async fn sleeping_on_the_replay_clock_ends_when_it_is_advanced() {
        let clock = ReplayClock::starting_at(instant(0));
        let sleeper = clock.clone();
        let task = tokio::spawn(async move { sleeper.sleep_until(instant(10)).await });
        clock.advance_to(instant(5));
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        clock.advance_to(instant(10));
        task.await.expect("the sleeper ends");
    }

    #[tokio::test]
    async fn sleeping_into_the_past_returns_at_once() {
        let clock = SystemClock;
        clock.sleep_until(clock.now() - TimeDelta::days(1)).await;
    }
}
