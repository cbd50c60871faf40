//! Threads for the work that nobody waits for.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// How much these threads give way. The kernel gives a thread at 5 a third of what one at 0 has, where both want a processor;
/// what nobody else wants they have whole.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;
/// Beside one for each processor, those that wait for a disk.
const OTHER_BLOCKING_THREADS: usize = 2;

/// A runtime of its own for settling, measuring and the other background work: a pack that is settled keeps several threads
/// busy for tens of milliseconds, and on those of the requests, senders would wait for it behind each other.
#[derive(Debug)]
pub(super) struct Background {
    handle: Handle,
    /// Until it is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the process cannot have them.
    pub(super) fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors)
            .max_blocking_threads(processors + OTHER_BLOCKING_THREADS)
            .thread_name("background")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// By which work is given to them.
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Where others are polled, nobody may wait for threads to end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Has this thread give way to others.
#[cfg(target_os = "linux")]
fn give_way() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a background thread does not give way");
    }
}

/// Elsewhere only whole processes give way.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).expect("a thread has a niceness")
    }

    #[tokio::test]
    async fn its_threads_give_way_and_no_others() {
        let background = Background::start().expect("threads");
        let threads = background.handle();
        let polling = threads.spawn(async { niceness() }).await.expect("ran");
        let computing = threads.spawn_blocking(niceness).await.expect("ran");
        let here = niceness();
        let others = tokio::task::spawn_blocking(niceness).await.expect("ran");
        assert_eq!((polling, computing), (here + NICENESS, here + NICENESS));
        assert_eq!(others, here);
    }
}
