//! Making batches durable before their senders hear of it.
//!
//! Requests that arrive while a commit is under way are landed together by the next one: under load a commit
//! serves many requests, without load a request waits for nobody. Small requests for one model even become one
//! batch: a request of one prediction costs its share of a row, not a row of its own. Their bodies are not even read
//! before, but here, into that batch ([`unread`]).
//!
//! The queue is bounded in number, and what
//! waits in it in time. A commit that takes longer than the pool's patience (with an allowance for its size)
//! is taken for stuck: everybody behind it is sent away at once and their batches are dropped, so a database
//! that stalls costs neither memory nor anybody's time. Those in the commit itself are told that the outcome is
//! unknown; nobody can know it, and sending again is harmless because rows have ids.
//!
//! The commit itself is given more time than its senders: it may yet succeed, and then most of what is sent
//! again counts as duplicate. After that its connection is dropped, since it may be one that never answers again.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::body::encode;
use super::processors;
use super::unread::{self, Unread};
use crate::domain::batch::{LabelBatch, PredictionBatch, Rejects};
use crate::domain::ids::{BatchId, ModelId, ProjectId};
use crate::domain::inference::EventBatch;
use crate::services::Error;
use crate::services::error::passes_by_itself;
use crate::services::patience::{discard_idle, patience};
use crate::storage::intake::{self, BatchKind, Landing};

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

/// Requests of up to this many rows, of which none was refused, share a batch.
pub(super) const SMALL: usize = 100;

/// Events of up to this many bytes share a batch.
const SMALL_EVENTS: usize = 64 << 10;

/// About how many bytes a value of a row is, or what an event has beside its data.
const CELL: usize = 32;
/// How many bytes are read and encoded in less time than another thread takes to begin; small arrivals share a batch of
/// so many.
const LIGHT: usize = 64 << 10;

/// What a request brings.
#[derive(Debug)]
pub(super) struct Arrival {
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub kind: BatchKind,
    pub format: &'static str,
    pub rows: Rows,
    /// Rows that were sent, as far as they have been read.
    pub received: u64,
    pub rejects: Rejects,
    pub received_at: DateTime<Utc>,
    /// The project's generation that the sender and the model were known for, where nobody has asked whether it still
    /// is that one. Then it lands only if it is, which saves the asking.
    pub presumed: Option<i64>,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landed {
    /// It became this batch, or a part of it, with so many rows, refused ones included.
    As { batch_id: BatchId, rows: u64 },
    /// What it presumed does not hold any more; nothing of it was kept.
    Outdated,
    /// Its body is to be read by itself; nothing of it was kept.
    Apart,
}

impl Landed {
    /// The batch of an arrival that presumed nothing and is not to be read by itself, and how many rows that brought.
    ///
    /// # Errors
    /// Only for faults of ours.
    pub(super) fn sure(self) -> Result<(BatchId, u64), Error> {
        match self {
            Self::As { batch_id, rows } => Ok((batch_id, rows)),
            Self::Outdated => Err(Error::internal("a batch is outdated that presumed nothing")),
            Self::Apart => Err(Error::internal("a batch is to be read that was read")),
        }
    }
}

/// The rows that are kept.
#[derive(Debug)]
pub(super) enum Rows {
    /// Few enough to share a batch with those of other requests.
    Predictions(Box<PredictionBatch>),
    Labels(LabelBatch),
    Events(EventBatch),
    /// Predictions that are yet to be read.
    Unread(Box<Unread>),
    /// Nothing when every row was refused.
    Encoded(Option<Vec<u8>>),
}

impl Rows {
    /// Encodes rows unless they are few.
    ///
    /// # Errors
    /// Only for faults of ours.
    pub(super) fn of_predictions(rows: PredictionBatch, refused: bool) -> Result<Self, Error> {
        match rows.len() {
            0 => Ok(Self::Encoded(None)),
            1..=SMALL if !refused => Ok(Self::Predictions(Box::new(rows))),
            _ => Ok(Self::Encoded(Some(encode(&rows)?))),
        }
    }

    /// As [`Self::of_predictions`].
    ///
    /// # Errors
    /// Only for faults of ours.
    pub(super) fn of_labels(rows: LabelBatch, refused: bool) -> Result<Self, Error> {
        match rows.len() {
            0 => Ok(Self::Encoded(None)),
            1..=SMALL if !refused => Ok(Self::Labels(rows)),
            _ => Ok(Self::Encoded(Some(encode(&rows)?))),
        }
    }

    /// Events are as large as what was asked; large ones are encoded here, and small ones share a batch.
    ///
    /// # Errors
    /// Only for faults of ours.
    pub(super) fn of_events(events: EventBatch) -> Result<Self, Error> {
        let bytes: usize = events.events.iter().map(|e| e.content.data.len()).sum();
        if events.events.len() <= SMALL && bytes <= SMALL_EVENTS {
            return Ok(Self::Events(events));
        }
        Ok(Self::Encoded(Some(encode(&events)?)))
    }

    fn is_encoded(&self) -> bool {
        matches!(self, Self::Encoded(_))
    }

    /// About how many bytes there are to encode.
    fn weight(&self) -> usize {
        match self {
            Self::Predictions(rows) => rows.len() * (1 + rows.features.len()) * CELL,
            Self::Labels(rows) => rows.len() * CELL,
            Self::Unread(unread) => unread.body.len(),
            Self::Events(events) => {
                let events = events.events.iter();
                events.map(|event| CELL + event.content.data.len()).sum()
            }
            Self::Encoded(_) => 0,
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Predictions(mine), Self::Predictions(theirs)) => mine.append(&theirs),
            (Self::Labels(mine), Self::Labels(theirs)) => mine.append(theirs),
            (Self::Events(mine), Self::Events(theirs)) => mine.events.extend(theirs.events),
            _ => unreachable!(
                "arrivals are gathered by kind, and only rows that are read and not encoded"
            ),
        }
    }

    fn into_body(self) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Predictions(rows) => encode(&rows).map(Some),
            Self::Labels(rows) => encode(&rows).map(Some),
            Self::Events(events) => encode(&events).map(Some),
            Self::Encoded(body) => Ok(body),
            Self::Unread(_) => Err(Error::internal("a batch was not read")),
        }
    }
}

/// Lands batches of concurrent requests together.
#[derive(Debug, Clone)]
pub(super) struct Lander {
    queue: mpsc::Sender<Waiter>,
    /// When the commit under way is overdue.
    due: watch::Receiver<Option<Instant>>,
    patience: Duration,
}

/// An arrival that waits; whoever takes it out decides what becomes of it.
type Slot = Arc<Mutex<Option<Arrival>>>;
/// Hears what became of an arrival.
type Sender = oneshot::Sender<Result<Landed, Failure>>;

#[derive(Debug)]
struct Waiter {
    slot: Slot,
    done: Sender,
}

/// Who waits for a batch, and how many rows they sent for it.
struct Member {
    done: Sender,
    rows: u64,
}

impl Member {
    fn tell(self, batch_id: BatchId, outcome: Result<(), Failure>) {
        let rows = self.rows;
        // A sender that has gone away does not hear that its batch is durable; it will send it again.
        let _ = (self.done).send(outcome.map(|()| Landed::As { batch_id, rows }));
    }
}

/// Why a batch did not land.
#[derive(Debug, Clone)]
enum Failure {
    /// It is not stored.
    NotKept(Arc<sqlx::Error>),
    /// It may be stored.
    Unknown(Option<Arc<sqlx::Error>>),
    /// What it presumed does not hold any more; it is not stored.
    Outdated,
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
                return Self::Internal(cause);
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
            Failure::Outdated => (
                "what the batch depends on has just changed; nothing of it was kept, send it again",
                None,
            ),
        };
        Self::Unavailable {
            retry_after: RETRY_AFTER,
            message: message.to_owned(),
            source: source.map(|cause| cause as _),
        }
    }
}

fn take(slot: &Slot) -> Option<Arrival> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Lander {
    /// Starts landing with one connection of the pool at a time; ends when the last handle is dropped.
    pub(super) fn start(pool: PgPool) -> Self {
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

    /// Returns the batch that the arrival became, or became a part of, once it is durable.
    ///
    /// # Errors
    /// Unavailable when it is not, or when nobody knows.
    pub(super) async fn land(&self, arrival: Arrival) -> Result<Landed, Error> {
        if self.is_stuck() {
            return Err(overloaded());
        }
        let slot = Arc::new(Mutex::new(Some(arrival)));
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
                Ok(Ok(Err(Failure::Outdated))) => return Ok(Landed::Outdated),
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

/// The connection that landed the group before.
type Held = Option<PoolConnection<Postgres>>;

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
    // Kept while groups follow each other: the pool tests what it is given back, which takes a round trip.
    let mut held = None;
    while let Some(first) = waiting.recv().await {
        let arrived = group(first, &mut waiting);
        let batches = gathered(arrived).await;
        if batches.is_empty() {
            continue;
        }
        crate::faults::crash_point("intake.decoded");
        let (landings, mut members): (Vec<Landing>, Vec<Vec<Member>>) = batches.into_iter().unzip();
        if crate::faults::defect("acknowledge_before_commit") {
            for (landing, members) in landings.iter().zip(&mut members) {
                let acknowledge = |member: Member| member.tell(landing.batch_id, Ok(()));
                members.drain(..).for_each(acknowledge);
            }
        }
        let outcomes = land_group((&pool, &mut held), &landings, &due).await;
        due.send_replace(None);
        if waiting.is_empty() {
            held = None;
        }
        crate::faults::crash_point("intake.after_commit");
        for ((landing, members), outcome) in landings.iter().zip(members).zip(outcomes) {
            for member in members {
                member.tell(landing.batch_id, outcome.clone());
            }
        }
    }
}

/// What is landed next: all that waits and was not withdrawn, up to the size of a group.
fn group(first: Waiter, waiting: &mut mpsc::Receiver<Waiter>) -> Vec<(Arrival, Sender)> {
    let mut arrived = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(waiter) = next {
        if let Some(arrival) = take(&waiter.slot) {
            bytes += match &arrival.rows {
                Rows::Encoded(Some(body)) => body.len(),
                Rows::Unread(unread) => unread.body.len(),
                _ => 0,
            };
            arrived.push((arrival, waiter.done));
        }
        let full = arrived.len() == GROUP || bytes >= GROUP_BYTES;
        next = if full { None } else { waiting.try_recv().ok() };
    }
    arrived
}

/// Makes batches of arrivals, each with those who wait for it. Few bytes are read where they are: on a busy machine, another
/// thread gets its turn later than that takes. Many are read on all processors.
async fn gathered(arrived: Vec<(Arrival, Sender)>) -> Vec<(Landing, Vec<Member>)> {
    let weight: usize = arrived
        .iter()
        .map(|(arrival, _)| arrival.rows.weight())
        .sum();
    let shares = shares(arrived);
    if weight <= LIGHT {
        return landings(shares);
    }
    let hands = weight.div_ceil(LIGHT).min(processors());
    let mut of_hands: Vec<Vec<Share>> = (0..hands).map(|_| Vec::new()).collect();
    for (number, share) in shares.into_iter().enumerate() {
        of_hands[number % hands].push(share);
    }
    let gathering = of_hands
        .into_iter()
        .map(|shares| tokio::task::spawn_blocking(|| landings(shares)));
    let gathered = join_all(gathering).await;
    gathered.into_iter().flatten().flatten().collect()
}

/// Arrivals that become one batch.
type Share = Vec<(Arrival, Sender)>;

/// What arrivals of one batch have in common: model, kind, format and what they presume.
type Sharing = (ModelId, BatchKind, &'static str, Option<i64>);

/// Sorts arrivals into batches of at most [`LIGHT`] bytes, or of one arrival.
fn shares(arrived: Vec<(Arrival, Sender)>) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::with_capacity(arrived.len());
    // Where the last batch of each kind is, and what it weighs.
    let mut last: HashMap<Sharing, (usize, usize)> = HashMap::new();
    for (arrival, done) in arrived {
        if arrival.rows.is_encoded() {
            shares.push(vec![(arrival, done)]);
            continue;
        }
        let weight = arrival.rows.weight();
        let key = (
            arrival.model_id,
            arrival.kind,
            arrival.format,
            arrival.presumed,
        );
        match last.get_mut(&key) {
            Some((place, before)) if *before + weight <= LIGHT => {
                *before += weight;
                shares[*place].push((arrival, done));
            }
            _ => {
                last.insert(key, (shares.len(), weight));
                shares.push(vec![(arrival, done)]);
            }
        }
    }
    shares
}

/// Makes batches. Where that finds a fault of ours, the senders are dropped and hear that they may send again.
fn landings(shares: Vec<Share>) -> Vec<(Landing, Vec<Member>)> {
    let made = |share| catch_unwind(AssertUnwindSafe(|| landing(share))).ok()?;
    shares.into_iter().filter_map(made).collect()
}

/// Makes a batch. Nothing when no arrival is left for it.
fn landing(arrivals: Share) -> Option<(Landing, Vec<Member>)> {
    let (arrival, members) = joined(arrivals)?;
    let requests = members.iter().map(|member| member.rows);
    let request_rows = (members.len() > 1).then(|| requests.collect());
    let Ok(body) = arrival.rows.into_body() else {
        tracing::error!(model = %arrival.model_id, "could not encode a batch");
        return None;
    };
    let landing = Landing {
        batch_id: BatchId::new(arrival.received_at),
        project_id: arrival.project_id,
        model_id: arrival.model_id,
        kind: arrival.kind,
        format: arrival.format,
        body,
        request_rows,
        received: arrival.received,
        rejects: arrival.rejects,
        received_at: arrival.received_at,
        presumed: arrival.presumed,
    };
    Some((landing, members))
}

/// Makes one of arrivals that share a batch, without those that are to be read by themselves, who hear of it. Nothing when
/// that is all of them.
fn joined(arrivals: Share) -> Option<(Arrival, Vec<Member>)> {
    let mut members = Vec::with_capacity(arrivals.len());
    let mut whole: Option<Arrival> = None;
    let (mut bodies, mut of_bodies, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (mut arrival, done) in arrivals {
        match std::mem::replace(&mut arrival.rows, Rows::Encoded(None)) {
            Rows::Unread(body) => {
                bodies.push(*body);
                of_bodies.push((arrival, done));
            }
            rows => others.push((Arrival { rows, ..arrival }, done)),
        }
    }
    // Should one of them find a fault of ours, it is to find it alone.
    let read = catch_unwind(AssertUnwindSafe(|| unread::read(&bodies)));
    let (batch, counts) =
        read.unwrap_or_else(|_| (PredictionBatch::default(), vec![None; bodies.len()]));
    for ((arrival, done), rows) in of_bodies.into_iter().zip(counts) {
        let Some(rows) = rows else {
            // Nobody waits any more where it cannot be said.
            let _ = done.send(Ok(Landed::Apart));
            continue;
        };
        let rows = rows as u64;
        members.push(Member { done, rows });
        whole.get_or_insert(arrival).received += rows;
    }
    if let Some(whole) = &mut whole {
        whole.rows = Rows::Predictions(Box::new(batch));
    }
    for (arrival, done) in others {
        let rows = arrival.received;
        members.push(Member { done, rows });
        match &mut whole {
            Some(whole) => {
                whole.received += rows;
                whole.rows.append(arrival.rows);
            }
            None => whole = Some(arrival),
        }
    }
    Some((whole?, members))
}

fn size(landing: &Landing) -> usize {
    landing.body.as_ref().map_or(0, Vec::len)
}

/// Lands a group, or its batches one by one when one of them may be what the database objects to; without those that
/// presume what does not hold any more.
async fn land_group(
    (pool, held): (&PgPool, &mut Held),
    landings: &[Landing],
    due: &watch::Sender<Option<Instant>>,
) -> Vec<Result<(), Failure>> {
    let outcome = land_together((pool, held), landings, due).await;
    match outcome {
        Err(Failure::Outdated) if landings.iter().any(|landing| landing.presumed.is_none()) => {
            let sure = landings.iter().filter(|landing| landing.presumed.is_none());
            let sure: Vec<Landing> = sure.cloned().collect();
            let of_sure = land_together((pool, held), &sure, due).await;
            let outcome = |landing: &Landing| match landing.presumed {
                Some(_) => Err(Failure::Outdated),
                None => of_sure.clone(),
            };
            landings.iter().map(outcome).collect()
        }
        Err(failure) if landings.len() > 1 && failure.may_be_of_one() => {
            let mut outcomes = Vec::with_capacity(landings.len());
            for landing in landings {
                let alone = std::slice::from_ref(landing);
                outcomes.push(land_together((pool, held), alone, due).await);
            }
            outcomes
        }
        outcome => vec![outcome; landings.len()],
    }
}

async fn land_together(
    (pool, held): (&PgPool, &mut Held),
    landings: &[Landing],
    due: &watch::Sender<Option<Instant>>,
) -> Result<(), Failure> {
    let bytes: usize = landings.iter().map(size).sum();
    let allowance = Duration::from_secs(1).mul_f64(bytes as f64 / LEAST_RATE as f64);
    let patience = patience(pool);
    due.send_replace(Some(Instant::now() + patience + allowance));
    let outcome = async {
        let mut conn = match held.take() {
            Some(conn) => conn,
            None => pool.acquire().await.map_err(Failure::not_kept)?,
        };
        let writing = write(&mut conn, landings);
        let longest = patience * PERSEVERANCE + allowance * 4;
        let Ok(outcome) = tokio::time::timeout(longest, writing).await else {
            // Whatever it waits for, nothing is said to it any more: it would not be heard.
            drop(conn.detach());
            tracing::warn!(batches = landings.len(), "gave up landing batches");
            return Err(Failure::Unknown(None));
        };
        if !matches!(outcome, Ok(()) | Err(Failure::Outdated)) {
            return outcome;
        }
        *held = Some(conn);
        outcome
    };
    let outcome = outcome.await;
    if !matches!(outcome, Ok(()) | Err(Failure::Outdated)) {
        discard_idle(pool);
    }
    outcome
}

async fn write(conn: &mut PgConnection, landings: &[Landing]) -> Result<(), Failure> {
    crate::faults::crash_point("intake.before_commit");
    let landed = intake::land(conn, landings).await;
    if let Ok(false) = landed {
        return Err(Failure::Outdated);
    }
    landed.map(drop).map_err(|error| match &error {
        // The server says that it did not, unless it was stopped at just that moment (class 57P).
        sqlx::Error::Database(said) if !said.code().is_some_and(|code| code.starts_with("57P")) => {
            Failure::not_kept(error)
        }
        _ => Failure::unknown(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landing(presumed: Option<i64>) -> Landing {
        let now = DateTime::UNIX_EPOCH;
        Landing {
            batch_id: BatchId::new(now),
            project_id: ProjectId(uuid::Uuid::from_u128(1)),
            model_id: ModelId(uuid::Uuid::from_u128(2)),
            kind: BatchKind::Events,
            format: "cloudevents",
            body: Some(vec![1]),
            request_rows: None,
            received: 1,
            rejects: Rejects::default(),
            received_at: now,
            presumed,
        }
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn what_presumes_wrongly_lands_not_at_all_and_holds_nobody_up(pool: PgPool) {
        let (says_due, _due) = watch::channel(None);
        let mut held = None;
        let group = [landing(Some(7)), landing(None), landing(None)];
        let outcomes = land_group((&pool, &mut held), &group, &says_due).await;
        assert!(
            matches!(outcomes[..], [Err(Failure::Outdated), Ok(()), Ok(())]),
            "{outcomes:?}"
        );
        let alone = [landing(Some(7))];
        let outcomes = land_group((&pool, &mut held), &alone, &says_due).await;
        assert!(
            matches!(outcomes[..], [Err(Failure::Outdated)]),
            "{outcomes:?}"
        );
        let landed: (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM landed_batches), (SELECT SUM(rows)::bigint FROM intake_counts)",
        )
        .fetch_one(&pool)
        .await
        .expect("counts");
        assert_eq!(landed, (2, 2));
        // The connection is kept: nothing was wrong with it.
        assert!(held.is_some());
    }
}
