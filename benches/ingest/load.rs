//! Ways to load the service: as fast as it answers, at a given rate, or for as long as something else lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::http::Method;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::bodies::Body;
use crate::http::{Connection, Target};
use crate::service::PREDICTIONS;

/// What sending came to.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// From the first byte to the last acknowledgement.
    pub acknowledged: Duration,
    /// How often a body had to be sent again.
    pub in_vain: u64,
}

/// Sends every body once, each connection the next one as soon as it has its answer.
pub async fn send_all(
    target: &Target,
    bodies: &Arc<[Body]>,
    connections: usize,
) -> anyhow::Result<Sent> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let started = Instant::now();
    for _ in 0..connections {
        let (connection, bodies) = (Connection::new(target), Arc::clone(bodies));
        let next = Arc::clone(&next);
        senders.spawn(async move {
            let mut in_vain = 0;
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                in_vain += connection.deliver(PREDICTIONS, body).await?;
            }
            anyhow::Ok(in_vain)
        });
    }
    let in_vain = joined(senders).await?.into_iter().sum();
    Ok(Sent {
        acknowledged: started.elapsed(),
        in_vain,
    })
}

/// Asks for a path so many times, and returns how long that took: what the same connections come to when hardly anything is
/// to be done for a request.
pub async fn ask(
    target: &Target,
    path: &'static str,
    times: u64,
    connections: usize,
) -> anyhow::Result<Duration> {
    let asked = Arc::new(AtomicU64::new(0));
    let mut askers = JoinSet::new();
    let started = Instant::now();
    for _ in 0..connections {
        let (connection, asked) = (Connection::new(target), Arc::clone(&asked));
        askers.spawn(async move {
            while asked.fetch_add(1, Ordering::Relaxed) < times {
                let answer = connection
                    .request(Method::GET, path, &[], Bytes::new())
                    .await?;
                ensure!(answer.status.is_success(), "{path}: {}", answer.status);
            }
            anyhow::Ok(())
        });
    }
    joined(askers).await?;
    Ok(started.elapsed())
}

/// Sends bodies as they are made, and returns how many rows they had.
pub async fn send_stream(
    target: &Target,
    bodies: mpsc::Receiver<Body>,
    connections: usize,
) -> anyhow::Result<u64> {
    let bodies = Arc::new(Mutex::new(bodies));
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (connection, bodies) = (Connection::new(target), Arc::clone(&bodies));
        senders.spawn(async move {
            let mut rows = 0;
            loop {
                let Some(body) = bodies.lock().await.recv().await else {
                    return anyhow::Ok(rows);
                };
                connection.deliver(PREDICTIONS, &body).await?;
                rows += body.rows;
            }
        });
    }
    Ok(joined(senders).await?.into_iter().sum())
}

/// Sends the bodies one after the other at `per_second`, and returns how late each answer came after the moment
/// its body was due, in milliseconds and ascending. When the service falls behind, bodies wait for a connection,
/// and that waiting counts: a sender in production would not have stopped either.
pub async fn send_at_rate(
    target: &Target,
    bodies: &Arc<[Body]>,
    connections: usize,
    per_second: f64,
) -> anyhow::Result<Vec<f64>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let started = Instant::now();
    for _ in 0..connections {
        let (connection, bodies) = (Connection::new(target), Arc::clone(bodies));
        let next = Arc::clone(&next);
        senders.spawn(async move {
            let mut late = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(index) else {
                    return anyhow::Ok(late);
                };
                let due = started + Duration::from_secs_f64(index as f64 / per_second);
                tokio::time::sleep_until(due.into()).await;
                connection.deliver(PREDICTIONS, body).await?;
                late.push(due.elapsed().as_secs_f64() * 1e3);
            }
        });
    }
    let mut late = joined(senders).await?.concat();
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// Sends a body again and again for `lasting`, and returns how long each refusal took, in milliseconds and ascending.
pub async fn refusals(target: &Target, body: &Body, lasting: Duration) -> anyhow::Result<Vec<f64>> {
    let connection = Connection::new(target);
    let started = Instant::now();
    let mut took = Vec::new();
    while started.elapsed() < lasting {
        let sent = Instant::now();
        let answer = connection.post(PREDICTIONS, body).await?;
        took.push(sent.elapsed().as_secs_f64() * 1e3);
        ensure!(
            !answer.status.is_success(),
            "a body was taken although the database stands still"
        );
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// A load that goes on until it is told to stop and every body has been acknowledged. When it has sent all, it
/// begins again: those rows are duplicates, and known as such.
pub struct Endless {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    senders: JoinSet<anyhow::Result<()>>,
}

#[derive(Default)]
struct Progress {
    next: AtomicUsize,
    acknowledged: AtomicU64,
    rows: AtomicU64,
}

impl Endless {
    pub fn start(target: &Target, bodies: &Arc<[Body]>, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let mut senders = JoinSet::new();
        for _ in 0..connections {
            let (connection, bodies) = (Connection::new(target), Arc::clone(bodies));
            let (stop, progress) = (Arc::clone(&stop), Arc::clone(&progress));
            senders.spawn(async move {
                loop {
                    let index = progress.next.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) && index >= bodies.len() {
                        return Ok(());
                    }
                    let body = &bodies[index % bodies.len()];
                    connection.deliver(PREDICTIONS, body).await?;
                    progress.acknowledged.fetch_add(1, Ordering::Relaxed);
                    progress.rows.fetch_add(body.rows, Ordering::Relaxed);
                }
            });
        }
        Self {
            stop,
            progress,
            senders,
        }
    }

    /// How many bodies have been acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends it, and returns how many rows were acknowledged, repeated ones included.
    pub async fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        joined(self.senders).await?;
        Ok(self.progress.rows.load(Ordering::Relaxed))
    }
}

async fn joined<T: 'static>(mut senders: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut results = Vec::new();
    while let Some(ended) = senders.join_next().await {
        results.push(ended??);
    }
    Ok(results)
}
