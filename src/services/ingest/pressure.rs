//! Who comes first when there is more to do than processors to do it. A sender waits for the answer; what was
//! answered is durable and may be settled some seconds later. So while many requests are under way, settling steps
//! back: a burst is acknowledged at full speed. And while requests come one upon the other, it lets them gather: what a
//! pack costs beside its rows is paid for all of them once. It waits for a while only, or a stream of requests that never
//! ends would keep rows from being counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// As many requests under way at a time keep both of two processors busy.
const MANY: usize = 3;
/// A burst is over when for this long there were fewer, and a stream when for this long none came and none was answered.
const LULL: Duration = Duration::from_millis(20);
/// For how long settling steps back at most, and how long it then has before it steps back again.
const LONGEST: Duration = Duration::from_secs(3);
/// For how long it lets requests gather at most.
const LONGEST_GATHERING: Duration = Duration::from_millis(250);

/// How many requests that bring data are under way.
#[derive(Debug, Clone)]
pub(super) struct Pressure {
    traffic: Arc<watch::Sender<Traffic>>,
    /// When settling had stepped back for as long as it does.
    waited_out: Arc<Mutex<Option<Instant>>>,
    lull: Duration,
    longest: Duration,
    longest_gathering: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    under_way: usize,
    /// When a request came or was answered last.
    moved_at: Option<Instant>,
}

impl Traffic {
    fn count(traffic: &watch::Sender<Self>, change: impl FnOnce(usize) -> usize) {
        traffic.send_modify(|of| {
            *of = Self {
                under_way: change(of.under_way),
                moved_at: Some(Instant::now()),
            }
        });
    }

    fn is_heavy(&self) -> bool {
        self.under_way >= MANY
    }
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            traffic: Arc::new(watch::Sender::new(Traffic::default())),
            waited_out: Arc::default(),
            lull: LULL,
            longest: LONGEST,
            longest_gathering: LONGEST_GATHERING,
        }
    }
}

impl Pressure {
    /// Counts a request until the guard is dropped.
    pub(super) fn enter(&self) -> UnderWay {
        Traffic::count(&self.traffic, |under_way| under_way + 1);
        UnderWay(self.traffic.clone())
    }

    /// Ends when the burst is over, or after [`LONGEST`]; at once when nothing is under way, and for as long again after a
    /// burst was waited for in vain.
    pub(super) async fn eased(&self) {
        let mut traffic = self.traffic.subscribe();
        let begun = Instant::now();
        let is_of_late = |at: Instant| begun < at + self.longest;
        if traffic.borrow_and_update().under_way == 0 || self.waited_out().is_some_and(is_of_late) {
            return;
        }
        let latest = begun + self.longest;
        while let Ok(()) = timeout_at(latest, reached(&mut traffic, |of| !of.is_heavy())).await {
            let rises = reached(&mut traffic, Traffic::is_heavy);
            if timeout(self.lull, rises).await.is_err() {
                return;
            }
        }
        *self.waited_out() = Some(Instant::now());
    }

    fn waited_out(&self) -> MutexGuard<'_, Option<Instant>> {
        self.waited_out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the stream pauses, or after [`LONGEST_GATHERING`]; at once when nothing came or was answered of late.
    pub(super) async fn gathered(&self) {
        let mut traffic = self.traffic.subscribe();
        let latest = Instant::now() + self.longest_gathering;
        loop {
            let Some(moved_at) = traffic.borrow_and_update().moved_at else {
                return;
            };
            let pause = latest.min(moved_at + self.lull);
            if timeout_at(pause, traffic.changed()).await.is_err() {
                return;
            }
        }
    }
}

async fn reached(traffic: &mut watch::Receiver<Traffic>, wanted: impl FnMut(&Traffic) -> bool) {
    let waited = traffic.wait_for(wanted).await;
    waited.expect("whoever waits holds the sender too");
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<watch::Sender<Traffic>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        Traffic::count(&self.0, |under_way| under_way - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const PATIENT: Duration = Duration::from_secs(3600);
    const AT_ONCE: Duration = Duration::from_millis(1);

    /// With its own lull, and the same patience for bursts and streams.
    fn pressure(lull: Duration, longest: Duration) -> Pressure {
        Pressure {
            lull,
            longest,
            longest_gathering: longest,
            ..Pressure::default()
        }
    }

    fn requests(pressure: &Pressure, count: usize) -> Vec<UnderWay> {
        (0..count).map(|_| pressure.enter()).collect()
    }

    #[tokio::test]
    async fn nothing_waits_for_few_requests() {
        let pressure = pressure(AT_ONCE, PATIENT);
        pressure.eased().await;
        let _few = requests(&pressure, MANY - 1);
        pressure.eased().await;
    }

    #[tokio::test]
    async fn a_burst_is_waited_for_until_its_requests_are_answered() {
        let pressure = pressure(AT_ONCE, PATIENT);
        let many = requests(&pressure, MANY);
        let mut waiting = std::pin::pin!(pressure.eased());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(many);
        waiting.await;
        assert_eq!(pressure.traffic.borrow().under_way, 0);
    }

    #[tokio::test]
    async fn a_short_gap_does_not_end_a_burst() {
        let pressure = pressure(PATIENT, PATIENT);
        let many = requests(&pressure, MANY);
        let mut waiting = std::pin::pin!(pressure.eased());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(many);
        assert!(waiting.as_mut().now_or_never().is_none(), "a gap begins");
        let _many = requests(&pressure, MANY);
        assert!(waiting.as_mut().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_burst_that_does_not_end_is_not_waited_for_any_longer_and_not_soon_again() {
        let pressure = pressure(AT_ONCE, AT_ONCE);
        let _many = requests(&pressure, MANY);
        pressure.eased().await;
        let patient = Pressure {
            longest: PATIENT,
            ..pressure
        };
        assert!(patient.eased().now_or_never().is_some());
        *patient.waited_out() = None;
        assert!(patient.eased().now_or_never().is_none());
    }

    #[tokio::test]
    async fn requests_that_follow_each_other_gather() {
        let pressure = pressure(PATIENT, PATIENT);
        assert!(pressure.gathered().now_or_never().is_some(), "none came");
        let mut waiting = std::pin::pin!(pressure.gathered());
        for _ in 0..3 {
            drop(pressure.enter());
            assert!(waiting.as_mut().now_or_never().is_none());
        }
    }

    #[tokio::test]
    async fn gathering_ends_with_a_pause() {
        let pressure = pressure(AT_ONCE, PATIENT);
        drop(pressure.enter());
        pressure.gathered().await;
    }

    #[tokio::test]
    async fn a_stream_that_does_not_pause_gathers_for_a_while_only() {
        let pressure = pressure(PATIENT, AT_ONCE);
        let stream = async {
            loop {
                drop(pressure.enter());
                tokio::task::yield_now().await;
            }
        };
        drop(pressure.enter());
        tokio::select! {
            () = stream => {}
            () = pressure.gathered() => {}
        }
    }
}
