//! Who comes first when there is more to do than processors to do it. A sender waits for the answer; what was
//! answered is durable and may be settled some seconds later. So while many requests are under way, settling steps
//! back: a burst is acknowledged at full speed. It steps back for a while only, or a stream of requests that never
//! ends would keep rows from being counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// As many requests under way at a time keep both of two processors busy.
const MANY: usize = 3;
/// A burst is over when for this long there were fewer.
const LULL: Duration = Duration::from_millis(20);
/// For how long settling steps back at most.
const LONGEST: Duration = Duration::from_secs(3);

/// How many requests that bring data are under way.
#[derive(Debug, Clone)]
pub(super) struct Pressure {
    under_way: Arc<watch::Sender<usize>>,
    longest: Duration,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            under_way: Arc::new(watch::Sender::new(0)),
            longest: LONGEST,
        }
    }
}

impl Pressure {
    /// Counts a request until the guard is dropped.
    pub(super) fn enter(&self) -> UnderWay {
        self.under_way.send_modify(|count| *count += 1);
        UnderWay(self.under_way.clone())
    }

    /// Ends when the burst is over, or after [`LONGEST`]; at once when nothing is under way.
    pub(super) async fn eased(&self) {
        let mut under_way = self.under_way.subscribe();
        let latest = Instant::now() + self.longest;
        if *under_way.borrow_and_update() == 0 {
            return;
        }
        let is_few = |count: &usize| *count < MANY;
        while let Ok(()) = timeout_at(latest, reached(&mut under_way, is_few)).await {
            let rises = reached(&mut under_way, |count| !is_few(count));
            if timeout(LULL, rises).await.is_err() {
                return;
            }
        }
    }
}

async fn reached(under_way: &mut watch::Receiver<usize>, wanted: impl FnMut(&usize) -> bool) {
    let waited = under_way.wait_for(wanted).await;
    waited.expect("whoever waits holds the sender too");
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<watch::Sender<usize>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const PATIENT: Duration = Duration::from_secs(3600);

    fn pressure(longest: Duration) -> Pressure {
        Pressure {
            longest,
            ..Pressure::default()
        }
    }

    fn requests(pressure: &Pressure, count: usize) -> Vec<UnderWay> {
        (0..count).map(|_| pressure.enter()).collect()
    }

    #[tokio::test]
    async fn nothing_waits_for_few_requests() {
        let pressure = pressure(PATIENT);
        pressure.eased().await;
        let _few = requests(&pressure, MANY - 1);
        pressure.eased().await;
    }

    #[tokio::test]
    async fn a_burst_is_waited_for_until_its_requests_are_answered() {
        let pressure = pressure(PATIENT);
        let many = requests(&pressure, MANY);
        let mut waiting = std::pin::pin!(pressure.eased());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(many);
        waiting.await;
        assert_eq!(*pressure.under_way.borrow(), 0);
    }

    #[tokio::test]
    async fn a_short_gap_does_not_end_a_burst() {
        let pressure = pressure(PATIENT);
        let many = requests(&pressure, MANY);
        let mut waiting = std::pin::pin!(pressure.eased());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(many);
        assert!(waiting.as_mut().now_or_never().is_none(), "a gap begins");
        let many = requests(&pressure, MANY);
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(*pressure.under_way.borrow(), MANY);
        drop(many);
        waiting.await;
    }

    #[tokio::test]
    async fn a_burst_that_does_not_end_is_not_waited_for_any_longer() {
        let pressure = pressure(Duration::from_millis(1));
        let _many = requests(&pressure, MANY);
        pressure.eased().await;
    }
}
