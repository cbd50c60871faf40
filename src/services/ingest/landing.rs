//! Landing: what concurrent requests bring is written together and committed once, then all are answered.
//!
//! While a commit is under way the next group gathers, so without load a request waits for nobody, and under
//! load a commit serves many. Small requests for one model even become one batch: a request of one prediction
//! costs its share of a row, not a row of its own. The queue is bounded; when it is full the caller is told to
//! come back, and nothing was kept.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::body::encode;
use super::{Error, RETRY_AFTER};
use crate::domain::batch::{LabelBatch, PredictionBatch, Reject};
use crate::domain::ids::{BatchId, ModelId, ProjectId};
use crate::storage::intake::{self, BatchKind, Landing};

/// How many requests may wait for the next commit.
const QUEUE: usize = 1_024;
/// How many requests one commit lands at most.
const GROUP: usize = 256;
/// How many commits may be under way at once: while one waits for the disk, another sends its rows.
const LANDERS: usize = 2;
/// Requests of up to this many rows, of which none was refused, share a batch.
const SMALL: usize = 100;

/// What a request brings.
#[derive(Debug)]
pub(super) struct Arrival {
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub format: &'static str,
    pub rows: Rows,
    pub received: u64,
    pub rejects: Vec<Reject>,
    pub received_at: DateTime<Utc>,
}

/// The rows that are kept.
#[derive(Debug)]
pub(super) enum Rows {
    Predictions(PredictionBatch),
    Labels(LabelBatch),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Predictions(rows) => rows.len(),
            Self::Labels(rows) => rows.len(),
        }
    }

    fn kind(&self) -> BatchKind {
        match self {
            Self::Predictions(_) => BatchKind::Predictions,
            Self::Labels(_) => BatchKind::Labels,
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Predictions(mine), Self::Predictions(theirs)) => mine.append(&theirs),
            (Self::Labels(mine), Self::Labels(theirs)) => mine.append(theirs),
            // Arrivals are gathered by kind.
            (Self::Predictions(_), Self::Labels(_)) | (Self::Labels(_), Self::Predictions(_)) => {}
        }
    }

    fn encode(&self) -> Result<Option<Vec<u8>>, Error> {
        if self.len() == 0 {
            return Ok(None);
        }
        match self {
            Self::Predictions(rows) => encode(rows),
            Self::Labels(rows) => encode(rows),
        }
        .map(Some)
    }
}

/// Lands batches of concurrent requests together.
#[derive(Debug, Clone)]
pub(super) struct Lander {
    queue: mpsc::Sender<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    arrival: Arrival,
    done: oneshot::Sender<Result<BatchId, Error>>,
}

impl Lander {
    pub(super) fn start(pool: &PgPool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..LANDERS {
            tokio::spawn(land_groups(pool.clone(), waiting.clone()));
        }
        Self { queue }
    }

    /// Returns the batch that the arrival became, or became a part of, once it is durable.
    pub(super) async fn land(&self, arrival: Arrival) -> Result<BatchId, Error> {
        let (done, landed) = oneshot::channel();
        self.queue.try_send(Waiter { arrival, done }).map_err(|_| {
            Error::unavailable(
                RETRY_AFTER,
                "too many batches are waiting to be written; send it again",
            )
        })?;
        landed.await.unwrap_or_else(|_| {
            Err(Error::unavailable(
                RETRY_AFTER,
                "the service is stopping; send the batch again",
            ))
        })
    }
}

async fn land_groups(pool: PgPool, waiting: Arc<Mutex<mpsc::Receiver<Waiter>>>) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.lock().await.recv_many(&mut group, GROUP).await > 0 {
        let arrived = std::mem::take(&mut group);
        let Ok(batches) = tokio::task::spawn_blocking(|| gather(arrived)).await else {
            // Encoding has panicked and the waiters with it: each is told to send again.
            continue;
        };
        let (landings, mut waiters): (Vec<Landing>, Vec<Waiters>) = batches.into_iter().unzip();
        if crate::faults::defect("acknowledge_before_commit") {
            for (landing, waiters) in landings.iter().zip(&mut waiters) {
                let acknowledge = |done: oneshot::Sender<_>| drop(done.send(Ok(landing.batch_id)));
                waiters.drain(..).for_each(acknowledge);
            }
        }
        let outcome = land_group(&pool, &landings).await;
        crate::faults::crash_point("intake.after_commit");
        for (landing, waiters) in landings.iter().zip(waiters) {
            let answer = match &outcome {
                Ok(()) => Ok(landing.batch_id),
                Err(error) => Err(error.clone()),
            };
            for done in waiters {
                // A sender that has gone away does not hear that its batch is durable; it will send it again.
                let _ = done.send(answer.clone());
            }
        }
    }
}

type Waiters = Vec<oneshot::Sender<Result<BatchId, Error>>>;

/// Makes batches of arrivals, each with those who wait for it.
fn gather(arrived: Vec<Waiter>) -> Vec<(Landing, Waiters)> {
    let mut gathered: Vec<(Arrival, Waiters)> = Vec::with_capacity(arrived.len());
    let mut open: HashMap<(ModelId, BatchKind, &'static str), usize> = HashMap::new();
    for Waiter { arrival, done } in arrived {
        let key = (arrival.model_id, arrival.rows.kind(), arrival.format);
        let is_small = arrival.rows.len() <= SMALL && arrival.rejects.is_empty();
        match open.get(&key).filter(|_| is_small) {
            Some(&place) => {
                let (batch, waiters) = &mut gathered[place];
                batch.received += arrival.received;
                batch.rows.append(arrival.rows);
                waiters.push(done);
            }
            None => {
                if is_small {
                    open.insert(key, gathered.len());
                }
                gathered.push((arrival, vec![done]));
            }
        }
    }
    let mut batches = Vec::with_capacity(gathered.len());
    for (arrival, waiters) in gathered {
        match arrival.rows.encode() {
            Ok(body) => batches.push((
                Landing {
                    batch_id: BatchId::new(arrival.received_at),
                    project_id: arrival.project_id,
                    model_id: arrival.model_id,
                    kind: arrival.rows.kind(),
                    format: arrival.format,
                    body,
                    received: arrival.received,
                    rejects: arrival.rejects,
                    received_at: arrival.received_at,
                },
                waiters,
            )),
            Err(error) => {
                for done in waiters {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }
    batches
}

async fn land_group(pool: &PgPool, landings: &[Landing]) -> Result<(), Error> {
    let written = async {
        let mut tx = pool.begin().await?;
        crate::faults::crash_point("intake.before_insert");
        intake::land(&mut tx, landings).await?;
        crate::faults::crash_point("intake.before_commit");
        tx.commit().await
    };
    written.await.map_err(|cause| Error::Unavailable {
        retry_after: RETRY_AFTER,
        message: "the batch could not be written; send it again, its ids make that safe".to_owned(),
        source: Some(Arc::new(cause)),
    })
}
