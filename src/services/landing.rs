//! Making batches durable before their senders hear of it.
//!
//! Requests that arrive while a commit is under way are landed together by the next one: under load a commit
//! serves many requests, without load a request waits for nobody. The queue is bounded in number, and what
//! waits in it in time. A commit that takes longer than the pool's patience (with an allowance for its size)
//! is taken for stuck: everybody behind it is sent away at once and their batches are dropped, so a database
//! that stalls costs neither memory nor anybody's time. Those in the commit itself are told that the outcome is
//! unknown; nobody can know it, and sending again is harmless because rows have ids.
//!
//! The commit itself is given more time than its senders: it may yet succeed, and then most of what is sent
//! again counts as duplicate. After that its connection is dropped, since it may be one that never answers again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::Error;
use super::error::passes_by_itself;
use super::patience::{discard_idle, patience};
use crate::storage::intake::{self, Landing};

/// How many requests may wait for the next commit.
const QUEUE: usize = 1_024;
/// How many requests one commit lands at most, and how many bytes before it takes no more of them.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 8 << 20;
/// Bytes a second that any database writes; a large batch is given its time.
const LEAST_RATE: usize = 8 << 20;
/// How many times as long as its senders' patience a commit is waited for.
const PERSEVERANCE: u32 = 12;
/// How many times its patience a request stays in a queue that moves.
const LONGEST_QUEUE: u32 = 8;
/// When a sender whose batch was not landed should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lands batches of concurrent requests together.
#[derive(Debug, Clone)]
pub struct Lander {
    queue: mpsc::Sender<Waiter>,
    /// When the commit under way is overdue.
    due: watch::Receiver<Option<Instant>>,
    patience: Duration,
}

/// A batch that waits; whoever takes it out decides what becomes of it.
type Slot = Arc<Mutex<Option<Landing>>>;

#[derive(Debug)]
struct Waiter {
    slot: Slot,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// Why a batch did not land.
#[derive(Debug, Clone)]
enum Failure {
    /// It is not stored.
    NotKept(Arc<sqlx::Error>),
    /// It may be stored.
    Unknown(Option<Arc<sqlx::Error>>),
}

impl Failure {
    fn not_kept(error: sqlx::Error) -> Self {
        Self::NotKept(Arc::new(error))
    }

    fn unknown(error: sqlx::Error) -> Self {
        Self::Unknown(Some(Arc::new(error)))
    }

    /// Whether one of several batches may be the cause.
    fn may_be_of_one(&self) -> bool {
        matches!(self, Self::NotKept(cause) if !passes_by_itself(cause))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (message, source) = match failure {
            Failure::NotKept(cause) if !passes_by_itself(&cause) => {
                return Self::Internal(Box::new(cause));
            }
            Failure::NotKept(cause) => (
                "the batch could not be written; nothing of it was kept, send it again",
                Some(cause),
            ),
            Failure::Unknown(cause) => (
                "the batch was being written and its outcome is unknown; send it again: rows that are \
                 stored already count as duplicates",
                cause,
            ),
        };
        Self::Unavailable {
            retry_after: RETRY_AFTER,
            message: message.to_owned(),
            source: source.map(|cause| Box::new(cause) as _),
        }
    }
}

fn take(slot: &Slot) -> Option<Landing> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Lander {
    /// Starts landing with one connection of the pool at a time; ends when the last handle is dropped.
    #[must_use]
    pub fn start(pool: PgPool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (says_due, due) = watch::channel(None);
        let patience = patience(&pool);
        tokio::spawn(land_groups(pool, waiting, says_due));
        Self {
            queue,
            due,
            patience,
        }
    }

    /// Returns once the batch is durable.
    ///
    /// # Errors
    /// Unavailable when it is not, or when nobody knows.
    pub(super) async fn land(&self, landing: Landing) -> Result<(), Error> {
        if self.is_stuck() {
            return Err(overloaded());
        }
        let slot = Arc::new(Mutex::new(Some(landing)));
        let (done, mut landed) = oneshot::channel();
        let waiter = Waiter {
            slot: slot.clone(),
            done,
        };
        self.queue.try_send(waiter).map_err(|_| overloaded())?;
        // Also when the request is cancelled its batch must not stay behind.
        let _withdrawn = WithdrawOnDrop(slot.clone());
        let longest = Instant::now() + self.patience * LONGEST_QUEUE;
        loop {
            let soon = Instant::now() + self.patience;
            let until = self.due.borrow().unwrap_or(soon);
            match tokio::time::timeout_at(until, &mut landed).await {
                Ok(Ok(outcome)) => return outcome.map_err(Error::from),
                Ok(Err(_)) => {
                    return Err(Error::unavailable(
                        RETRY_AFTER,
                        "the service is stopping; send the batch again",
                    ));
                }
                Err(_) if self.is_stuck() => {
                    return Err(match take(&slot) {
                        Some(_) => overloaded(),
                        None => Failure::Unknown(None).into(),
                    });
                }
                Err(_) => {
                    if Instant::now() >= longest && take(&slot).is_some() {
                        return Err(overloaded());
                    }
                }
            }
        }
    }

    fn is_stuck(&self) -> bool {
        self.due.borrow().is_some_and(|due| due <= Instant::now())
    }
}

struct WithdrawOnDrop(Slot);

impl Drop for WithdrawOnDrop {
    fn drop(&mut self) {
        take(&self.0);
    }
}

fn overloaded() -> Error {
    Error::unavailable(
        RETRY_AFTER,
        "batches are not written fast enough at present; nothing of this one was kept, send it again",
    )
}

async fn land_groups(
    pool: PgPool,
    mut waiting: mpsc::Receiver<Waiter>,
    due: watch::Sender<Option<Instant>>,
) {
    while let Some(first) = waiting.recv().await {
        let (landings, senders) = group(first, &mut waiting);
        if landings.is_empty() {
            continue;
        }
        let outcomes = land_group(&pool, &landings, &due).await;
        due.send_replace(None);
        for (done, outcome) in senders.into_iter().zip(outcomes) {
            // A sender that has gone away does not hear that its batch is durable; it will send it again.
            let _ = done.send(outcome);
        }
    }
}

/// What is landed next: all that waits and was not withdrawn, up to the size of a group.
fn group(
    first: Waiter,
    waiting: &mut mpsc::Receiver<Waiter>,
) -> (Vec<Landing>, Vec<oneshot::Sender<Result<(), Failure>>>) {
    let (mut landings, mut senders) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(waiter) = next {
        if let Some(landing) = take(&waiter.slot) {
            bytes += size(&landing);
            landings.push(landing);
            senders.push(waiter.done);
        }
        let full = landings.len() == GROUP || bytes >= GROUP_BYTES;
        next = if full { None } else { waiting.try_recv().ok() };
    }
    (landings, senders)
}

fn size(landing: &Landing) -> usize {
    landing.body.as_ref().map_or(0, Vec::len)
}

/// Lands a group, or its batches one by one when one of them may be what the database objects to.
async fn land_group(
    pool: &PgPool,
    landings: &[Landing],
    due: &watch::Sender<Option<Instant>>,
) -> Vec<Result<(), Failure>> {
    let outcome = land_together(pool, landings, due).await;
    match outcome {
        Err(failure) if landings.len() > 1 && failure.may_be_of_one() => {
            let mut outcomes = Vec::with_capacity(landings.len());
            for landing in landings {
                outcomes.push(land_together(pool, std::slice::from_ref(landing), due).await);
            }
            outcomes
        }
        outcome => vec![outcome; landings.len()],
    }
}

async fn land_together(
    pool: &PgPool,
    landings: &[Landing],
    due: &watch::Sender<Option<Instant>>,
) -> Result<(), Failure> {
    let bytes: usize = landings.iter().map(size).sum();
    let allowance = Duration::from_secs(1).mul_f64(bytes as f64 / LEAST_RATE as f64);
    let patience = patience(pool);
    due.send_replace(Some(Instant::now() + patience + allowance));
    let outcome = async {
        let mut conn = pool.acquire().await.map_err(Failure::not_kept)?;
        let writing = write(&mut conn, landings);
        let longest = patience * PERSEVERANCE + allowance * 4;
        let Ok(outcome) = tokio::time::timeout(longest, writing).await else {
            // Whatever it waits for, nothing is said to it any more: it would not be heard.
            drop(conn.detach());
            tracing::warn!(batches = landings.len(), "gave up landing batches");
            return Err(Failure::Unknown(None));
        };
        outcome
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        discard_idle(pool);
    }
    outcome
}

async fn write(conn: &mut PgConnection, landings: &[Landing]) -> Result<(), Failure> {
    let mut tx = conn.begin().await.map_err(Failure::not_kept)?;
    intake::land(&mut tx, landings)
        .await
        .map_err(Failure::not_kept)?;
    // From here on, an error does not say that nothing happened.
    tx.commit().await.map_err(Failure::unknown)
}
