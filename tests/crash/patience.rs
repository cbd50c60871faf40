//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use bellwether::domain::clock::{Clock, SystemClock};
use chrono::TimeDelta;

/// Longer than anything waited for here takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: TimeDelta = TimeDelta::milliseconds(20);

/// Looks until there is something to return; fails with what was seen last when it takes too long.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > LIMIT => {
                panic!("waited for {what} in vain; last seen: {seen}")
            }
            Err(_) => SystemClock.sleep_until(SystemClock.now() + PAUSE).await,
        }
    }
}
