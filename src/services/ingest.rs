//! Taking in predictions and labels: decode, refuse row by row, land. The answer is given after the commit,
//! so what is acknowledged is durable.
//!
//! Whatever requests that arrive together have in common is done once for all of them: what they depend on is
//! read when it has changed ([`standing`]), and they land in one commit ([`landing`]), small ones of a model as
//! one batch.

mod backlog;
mod body;
mod events;
mod landing;
mod otlp;
mod pressure;
mod standing;
mod unread;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::Principal;
use super::patience::answered;
use super::{Error, Services, overflow, registry};
use crate::domain::batch::{Decoded, LabelBatch, PredictionBatch, Reject, RejectReason, Rejects};
use crate::domain::ids::{BatchId, ProjectId};
use crate::domain::mapping::ColumnMap;
use crate::domain::model::Task;
use crate::formats::{self, Expectations, Format, FormatError, Limits};
use crate::storage::audit::{self, AuditEvent};
use crate::storage::intake::{self, ARCHIVED, BatchKind, CountAddition, Unsettled};
use crate::storage::models::Model;
use crate::storage::overflow::OverflowKind;

use backlog::Backlog;
pub(super) use body::encode as encode_body;
pub use body::{BodyError, decode as decode_body, unfolded_bytes};
pub use events::{EventUpload, Taken, events};
use landing::{Arrival, Landed, Lander, Rows, SMALL};
pub use otlp::{Export, Exported, otlp};
use pressure::{Pressure, UnderWay};
use standing::{Standing, Target};
use unread::Unread;

/// How far back event times may lie.
const OLDEST_EVENT: TimeDelta = TimeDelta::days(2 * 366);
/// How far ahead event times may lie: senders' clocks differ, and a replay sends a step ahead.
const NEWEST_EVENT: TimeDelta = TimeDelta::days(1);
/// Bodies up to this size are decoded where they arrive: handing them to another thread costs more.
const SMALL_BODY: usize = 16 << 10;
/// How long a request waits for its turn to be decoded.
const WAIT_FOR_TURN: Duration = Duration::from_secs(5);
/// When a sender whose turn did not come should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Leave to decode a body, and to hold what it became until that is encoded. Whatever thread works on it has it: work that
/// was begun goes on when its sender has left, and counts until it is done.
type Turn = Arc<OwnedSemaphorePermit>;

/// What concurrent requests share. Each request clones it several times.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Parts>);

/// What is in an [`Intake`].
#[derive(Debug)]
pub struct Parts {
    pool: PgPool,
    lander: Lander,
    limits: Limits,
    standing: Standing,
    pressure: Pressure,
    backlog: Backlog,
    decoding: Arc<Semaphore>,
}

impl Deref for Intake {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Intake {
    /// Starts landing what comes in; ends when the last handle is dropped. `pool` is for look-ups, `landing` for
    /// what is landed, `limits` for each body; `most_waiting` rows may wait to be settled.
    #[must_use]
    pub fn start(pool: PgPool, landing: PgPool, limits: Limits, most_waiting: u64) -> Self {
        Self(Arc::new(Parts {
            lander: Lander::start(landing),
            standing: Standing::new(pool.clone()),
            pressure: Pressure::default(),
            backlog: Backlog::of(most_waiting),
            decoding: Arc::new(Semaphore::new(processors())),
            pool,
            limits,
        }))
    }

    /// Who presents this token; as [`authenticate_token`](super::access::authenticate_token), for many requests
    /// at once.
    ///
    /// # Errors
    /// As there.
    pub async fn authenticate(
        &self,
        now: DateTime<Utc>,
        presented: &str,
    ) -> Result<Principal, Error> {
        self.standing.caller(now, presented).await
    }

    /// Who presented this token when it was last looked up, as long as that is to be relied on; whether it is still so
    /// is found out where what is sent lands.
    #[must_use]
    pub fn presume(&self, now: DateTime<Utc>, presented: &str) -> Option<Principal> {
        self.standing.known_caller(now, presented)
    }

    /// Counts a request that brings data of a project until the guard is dropped.
    ///
    /// # Errors
    /// Unavailable while too much waits to be settled.
    fn enter(&self, project_id: ProjectId) -> Result<UnderWay, Error> {
        self.backlog.has_room(project_id)?;
        Ok(self.pressure.enter())
    }

    /// Says how much has landed and is not settled.
    pub(super) fn note_backlog(&self, unsettled: Unsettled) {
        self.backlog.note(unsettled);
    }

    /// How many batches were set aside when they were last counted.
    #[must_use]
    pub fn failed_batches(&self) -> u64 {
        self.backlog.failed_batches()
    }

    /// How many rows waited to be settled when they were last counted.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.backlog.rows()
    }

    /// Ends at once, unless so many requests are under way that what can wait should: then when they are
    /// answered, or after a few seconds.
    pub(super) async fn eased(&self) {
        self.pressure.eased().await;
    }

    /// Ends at once, unless requests come one upon the other, so that more can be settled together: then when they pause, or
    /// after a quarter of a second.
    pub(super) async fn gathered(&self) {
        self.pressure.gathered().await;
    }

    /// Leave to decode a body, which need not wait if the body is `light`. Decoded rows take several times the memory of
    /// the body, and more of them at a time than there are processors would be decoded no sooner.
    async fn turn_to_decode(&self, light: bool) -> Result<Option<Turn>, Error> {
        if light {
            return Ok(None);
        }
        let turn = self.decoding.clone().acquire_owned();
        match tokio::time::timeout(WAIT_FOR_TURN, turn).await {
            Ok(turn) => turn
                .map(|turn| Some(Arc::new(turn)))
                .map_err(Error::internal),
            Err(_) => Err(Error::TooManyRequests {
                retry_after: RETRY_AFTER,
                message: "too much is being sent at once; send it again in a moment".to_owned(),
            }),
        }
    }

    /// As long as the database answers in time.
    async fn target(&self, upload: &Upload<'_>, now: DateTime<Utc>) -> Result<Arc<Target>, Error> {
        let model = (upload.project_id, upload.model);
        let looking_up = self.standing.target(model, upload.generation, now);
        answered(&self.pool, looking_up).await?
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The answer to a sender: what was kept is durable, what was refused is listed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Receipt {
    /// Ask `/api/v1/batches/{batch_id}` for how many rows were duplicates, once it is settled. Small requests
    /// that arrive together share a batch.
    pub batch_id: BatchId,
    pub received: u64,
    /// Rows that are durable now. Those whose id is known already will count as duplicates.
    pub kept: u64,
    pub rejected: u64,
    pub rejected_by_reason: BTreeMap<&'static str, u64>,
    /// The first refused rows.
    pub rejects: Vec<Reject>,
}

/// How many refused rows an answer lists.
const LISTED_REJECTS: usize = 20;

/// Bytes that came in for a model.
#[derive(Debug, Clone)]
pub struct Upload<'a> {
    pub project_id: ProjectId,
    pub model: &'a str,
    pub format: Format,
    pub body: bytes::Bytes,
    /// The version of rows that do not name one; the champion when absent.
    pub version: Option<String>,
    /// The project's generation, if the request has asked for it: see [`Principal::generation`].
    pub generation: Option<i64>,
}

/// Judges what stands in the address of a request and goes for all of its rows.
fn check_addressed(field: &str, name: Option<&str>) -> Result<(), Error> {
    let judged = name.map_or(Ok(()), formats::check_name);
    judged.map_err(|cause| Error::invalid_field(field, cause))
}

/// Takes in a small body of predictions, if what is known of its sender and its model still holds: nobody has asked, and it
/// lands only if it does. So many requests cost one way to the database and back, and their bodies are read into
/// one batch. Nothing, and nothing was kept, when that has to be asked first, or something is to be said about a row.
///
/// # Errors
/// Unavailable when the database is out of reach or the queue is full.
pub async fn presumed_predictions(
    services: &Services,
    upload: &Upload<'_>,
) -> Result<Option<Receipt>, Error> {
    let _under_way = services.intake.enter(upload.project_id)?;
    check_addressed("version", upload.version.as_deref())?;
    let now = services.clock.now();
    let model = (upload.project_id, upload.model);
    let known = (services.intake.standing).known_target(model, upload.generation);
    let Some(target) = known.filter(|_| Unread::suits(upload.format, &upload.body)) else {
        return Ok(None);
    };
    let arrival = Arrival {
        project_id: target.model.project_id,
        model_id: target.model.model_id,
        kind: BatchKind::Predictions,
        format: upload.format.as_str(),
        received: 0,
        rejects: Rejects::default(),
        received_at: now,
        presumed: upload.generation,
        rows: Rows::Unread(Box::new(Unread {
            format: upload.format,
            body: upload.body.clone(),
            version: upload.version.clone().or_else(|| target.champion.clone()),
            limits: services.intake.limits,
            received_at: now,
            target,
        })),
    };
    match services.intake.lander.land(arrival).await? {
        Landed::As { batch_id, rows } => {
            Ok(Some(acknowledge(services, batch_id, rows, Told::default())))
        }
        Landed::Outdated | Landed::Apart => Ok(None),
    }
}

/// Takes in predictions.
///
/// # Errors
/// Not found for an unknown model, invalid for a body that cannot be read at all, unavailable when the
/// database is out of reach or the queue is full.
pub async fn predictions(services: &Services, upload: Upload<'_>) -> Result<Receipt, Error> {
    let _under_way = services.intake.enter(upload.project_id)?;
    check_addressed("version", upload.version.as_deref())?;
    let now = services.clock.now();
    let target = services.intake.target(&upload, now).await?;
    let version = upload.version.clone().or_else(|| target.champion.clone());
    let (format, body, task) = (upload.format, upload.body, target.task());
    let limits = services.intake.limits;
    let turn = services
        .intake
        .turn_to_decode(is_light(format, &body))
        .await?;
    let of = target.clone();
    let (mut decoded, turn) = decode(turn, move || {
        let version = version.as_deref();
        let expect = expectations(task, version, (&of.columns, limits), now);
        formats::decode_predictions(format, &body, &expect)
    })
    .await?;
    refuse_gone(&target, &mut decoded);
    let refusing = refuse_unknown_versions(services, &target, &mut decoded, now);
    answered(&services.intake.pool, refusing).await??;
    land(
        services,
        &target.model,
        (BatchKind::Predictions, format.as_str()),
        (decoded, turn),
        Rows::of_predictions,
        now,
    )
    .await
}

/// Takes in labels.
///
/// # Errors
/// As for [`predictions`].
pub async fn labels(services: &Services, upload: Upload<'_>) -> Result<Receipt, Error> {
    let _under_way = services.intake.enter(upload.project_id)?;
    let now = services.clock.now();
    let target = services.intake.target(&upload, now).await?;
    let (format, body, task) = (upload.format, upload.body, target.task());
    let limits = services.intake.limits;
    let turn = services
        .intake
        .turn_to_decode(is_light(format, &body))
        .await?;
    let of = target.clone();
    let (decoded, turn) = decode(turn, move || {
        let expect = expectations(task, None, (&of.columns, limits), now);
        formats::decode_labels(format, &body, &expect)
    })
    .await?;
    land(
        services,
        &target.model,
        (BatchKind::Labels, format.as_str()),
        (decoded, turn),
        Rows::of_labels,
        now,
    )
    .await
}

pub(super) fn expectations<'e>(
    task: Task,
    version: Option<&'e str>,
    (columns, limits): (&'e ColumnMap, Limits),
    now: DateTime<Utc>,
) -> Expectations<'e> {
    Expectations {
        task,
        default_version: version,
        earliest: now - OLDEST_EVENT,
        latest: now + NEWEST_EVENT,
        received_at: now,
        columns,
        limits,
    }
}

/// Has a batch that was set aside settled again.
///
/// # Errors
/// Not found for a batch of nobody or of another project, conflict when it was not set aside, and when the database fails.
pub async fn retry(
    services: &Services,
    project_id: ProjectId,
    batch_id: BatchId,
    actor: &str,
) -> Result<(), Error> {
    let now = services.clock.now();
    let mut tx = services.pool.begin().await?;
    let Some(cause) = intake::retry(&mut tx, project_id, batch_id, now).await? else {
        return Err(not_set_aside(&mut tx, project_id, batch_id).await?);
    };
    let event = AuditEvent {
        project_id: Some(project_id),
        at: now,
        actor,
        action: "batch.retry",
        object_kind: "batch",
        object_id: &batch_id.to_string(),
        detail: json!({ "cause": cause }),
    };
    audit::record(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}

/// Gives up a batch that was set aside: its rows are refused as `given_up` and its body is dropped.
///
/// # Errors
/// Invalid without a reason; not found for a batch of nobody or of another project, conflict when it was not set aside, and
/// when the database fails.
pub async fn give_up(
    services: &Services,
    project_id: ProjectId,
    (batch_id, reason): (BatchId, &str),
    actor: &str,
) -> Result<(), Error> {
    let reason = reason.trim();
    if reason.is_empty() {
        let cause = "say why nobody needs its rows any more";
        return Err(Error::invalid_field("reason", cause));
    }
    let now = services.clock.now();
    let mut tx = services.pool.begin().await?;
    let Some(given_up) = intake::give_up(&mut tx, project_id, batch_id, now).await? else {
        return Err(not_set_aside(&mut tx, project_id, batch_id).await?);
    };
    // Rows that came back from the archive were received once; they stay there.
    if given_up.format != ARCHIVED {
        let addition = CountAddition {
            project_id,
            model_id: given_up.model_id,
            kind: given_up.kind,
            outcome: "rejected",
            reason: RejectReason::GivenUp.as_str(),
            rows: u64::try_from(given_up.rows).unwrap_or(0),
        };
        intake::add_counts(&mut tx, &[addition]).await?;
    }
    let event = AuditEvent {
        project_id: Some(project_id),
        at: now,
        actor,
        action: "batch.give_up",
        object_kind: "batch",
        object_id: &batch_id.to_string(),
        detail: json!({ "reason": reason, "rows": given_up.rows, "cause": given_up.cause }),
    };
    audit::record(&mut tx, &event).await?;
    Ok(tx.commit().await?)
}

/// Why a batch can be neither tried again nor given up.
async fn not_set_aside(
    conn: &mut PgConnection,
    project_id: ProjectId,
    batch_id: BatchId,
) -> Result<Error, Error> {
    let status = intake::status(conn, project_id, batch_id).await?;
    Ok(match status {
        None => Error::not_found(format!("batch {batch_id}")),
        Some(status) => {
            let state = status.state;
            Error::Conflict(format!("batch {batch_id} was not set aside: it is {state}"))
        }
    })
}

/// Whether a body is decoded where it arrives: a small one that holds no more than can be seen of it.
fn is_light(format: Format, body: &[u8]) -> bool {
    format.reads_together() && body.len() <= SMALL_BODY
}

/// Decodes a body where it arrives, or in its turn on a thread for long work.
async fn decode<T: Send + 'static>(
    turn: Option<Turn>,
    decode: impl FnOnce() -> Result<T, FormatError> + Send + 'static,
) -> Result<(T, Option<Turn>), Error> {
    let (decoded, turn) = match turn {
        None => (decode(), None),
        Some(turn) => {
            let decoding = tokio::task::spawn_blocking(move || (decode(), Some(turn)));
            decoding.await.map_err(Error::internal)?
        }
    };
    let decoded = decoded.map_err(|error| Error::invalid(error.to_string()))?;
    Ok((decoded, turn))
}

/// Refuses rows of days whose raw rows are gone: nothing could be told of them any more, and whether they were there
/// before neither.
fn refuse_gone(target: &Target, decoded: &mut Decoded<PredictionBatch>) {
    let Some(closed) = target.closed_before else {
        return;
    };
    decoded.refuse("timestamp", RejectReason::PastRetention, |batch, row| {
        let at = batch.predicted_at[row];
        let is_gone = at < closed;
        is_gone.then(|| {
            format!(
                "is {}; the raw rows of before {} are gone from this project, and nothing is added to them",
                at.format("%Y-%m-%dT%H:%M:%SZ"),
                closed.format("%Y-%m-%d"),
            )
        })
    });
}

/// Lands predictions that come back from the archive.
///
/// # Errors
/// As for [`predictions`].
pub(super) async fn give_back_predictions(
    services: &Services,
    model: &Model,
    batch: PredictionBatch,
    now: DateTime<Utc>,
) -> Result<Receipt, Error> {
    let of = (BatchKind::Predictions, ARCHIVED);
    let received = batch.len() as u64;
    land(
        services,
        model,
        of,
        (returned(batch, received), None),
        Rows::of_predictions,
        now,
    )
    .await
}

/// Lands labels that come back from the archive.
///
/// # Errors
/// As for [`labels`].
pub(super) async fn give_back_labels(
    services: &Services,
    model: &Model,
    batch: LabelBatch,
    now: DateTime<Utc>,
) -> Result<Receipt, Error> {
    let of = (BatchKind::Labels, ARCHIVED);
    let received = batch.len() as u64;
    land(
        services,
        model,
        of,
        (returned(batch, received), None),
        Rows::of_labels,
        now,
    )
    .await
}

fn returned<B>(batch: B, received: u64) -> Decoded<B> {
    Decoded {
        batch,
        rejects: Rejects::default(),
        received,
        lines: Vec::new(),
    }
}

/// Registers versions seen for the first time where the project allows it, else refuses their rows.
async fn refuse_unknown_versions(
    services: &Services,
    target: &Target,
    decoded: &mut Decoded<PredictionBatch>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let all_known = (decoded.batch.versions.texts()).all(|version| target.has_version(version));
    if all_known {
        return Ok(());
    }
    // Of the rows that are left: a text may be that of a refused one.
    let unknown: BTreeSet<String> = (0..decoded.batch.len())
        .map(|row| decoded.batch.version(row))
        .filter(|version| !target.has_version(version))
        .map(str::to_owned)
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let model = &target.model;
    let mut no_room: HashMap<&str, String> = HashMap::new();
    let mut unusable: HashMap<&str, String> = HashMap::new();
    if target.auto_registers {
        for version in &unknown {
            // Where there was no room for one, there is none for the next: nobody asks the database for each.
            let registered = if no_room.is_empty() {
                let lineage = serde_json::json!({});
                registry::register_version(services, model, version, lineage, "intake", now).await
            } else {
                Err(registry::one_too_many(model, version))
            };
            match registered {
                Ok(_) => {}
                Err(Error::Conflict(cause)) => {
                    no_room.insert(version, cause);
                }
                Err(error @ Error::Invalid { .. }) => {
                    unusable.insert(version, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        if no_room.is_empty() && unusable.is_empty() {
            return Ok(());
        }
    }
    let cause_of = |version: &str| {
        let of_registering = no_room.get(version).or_else(|| unusable.get(version));
        match of_registering {
            Some(cause) => Some(cause.clone()),
            None if target.auto_registers || !unknown.contains(version) => None,
            None => Some(format!(
                "version {version:?} of model {:?} is not registered; register it with \
                 `bellwether version add {} {version}`",
                model.name, model.name
            )),
        }
    };
    let beyond = (0..decoded.batch.len())
        .filter(|row| no_room.contains_key(decoded.batch.version(*row)))
        .count() as u64;
    if beyond > 0 {
        let mut conn = services.intake.pool.acquire().await?;
        overflow::note(&mut conn, model, OverflowKind::Versions, beyond, now).await?;
    }
    decoded.refuse("version", RejectReason::UnknownVersion, |batch, row| {
        cause_of(batch.version(row))
    });
    Ok(())
}

async fn land<B: Send + 'static>(
    services: &Services,
    model: &Model,
    (kind, format): (BatchKind, &'static str),
    (decoded, turn): (Decoded<B>, Option<Turn>),
    rows: fn(B, bool) -> Result<Rows, Error>,
    now: DateTime<Utc>,
) -> Result<Receipt, Error> {
    let Decoded {
        batch,
        rejects,
        received,
        ..
    } = decoded;
    let refused = !rejects.is_empty();
    // Few rows are not worth another thread either.
    let rows = if received <= SMALL as u64 {
        drop(turn);
        rows(batch, refused)?
    } else {
        let encode = move || {
            let _turn = turn;
            rows(batch, refused)
        };
        tokio::task::spawn_blocking(encode)
            .await
            .map_err(Error::internal)??
    };
    let told = Told::of(&rejects);
    let too_large = (told.by_reason.get(RejectReason::TooLarge.as_str())).copied();
    if let Some(rows) = too_large {
        let mut conn = services.intake.pool.acquire().await?;
        overflow::note(&mut conn, model, OverflowKind::Texts, rows, now).await?;
    }
    let arrival = Arrival {
        project_id: model.project_id,
        model_id: model.model_id,
        kind,
        format,
        rows,
        received,
        rejects,
        received_at: now,
        presumed: None,
    };
    let (batch_id, received) = services.intake.lander.land(arrival).await?.sure()?;
    Ok(acknowledge(services, batch_id, received, told))
}

/// What a sender is told of refused rows.
#[derive(Default)]
struct Told {
    rejected: u64,
    by_reason: BTreeMap<&'static str, u64>,
    listed: Vec<Reject>,
}

impl Told {
    fn of(rejects: &Rejects) -> Self {
        let by_reason = rejects.by_reason().iter();
        let listed = rejects.first().iter().take(LISTED_REJECTS);
        Self {
            rejected: rejects.total(),
            by_reason: by_reason
                .map(|(reason, rows)| (reason.as_str(), *rows))
                .collect(),
            listed: listed.cloned().collect(),
        }
    }
}

/// The answer to a sender whose rows are durable now; they are settled next.
fn acknowledge(services: &Services, batch_id: BatchId, received: u64, told: Told) -> Receipt {
    services.nudges.settle.notify_one();
    crate::faults::crash_point("intake.nudged");
    Receipt {
        batch_id,
        received,
        kept: received - told.rejected,
        rejected: told.rejected,
        rejected_by_reason: told.by_reason,
        rejects: told.listed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use sqlx::postgres::PgPoolOptions;

    use super::*;

    fn intake() -> Intake {
        let pool = PgPoolOptions::new();
        let pool = pool.connect_lazy("postgres://nobody@127.0.0.1:1/none");
        let pool = pool.expect("an address");
        Intake::start(pool.clone(), pool, Limits::default(), u64::MAX)
    }

    #[test]
    fn only_what_shows_its_size_is_decoded_where_it_arrives() {
        for (format, is_light_if_small) in [
            (Format::Json, true),
            (Format::Ndjson, true),
            (Format::Csv, true),
            (Format::Parquet, false),
            (Format::Arrow, false),
            (Format::SageMaker, false),
            (Format::AzureMl, false),
        ] {
            let small = vec![b' '; SMALL_BODY];
            assert_eq!(is_light(format, &small), is_light_if_small, "{format:?}");
            assert!(!is_light(format, &vec![b' '; SMALL_BODY + 1]), "{format:?}");
        }
    }

    #[tokio::test]
    async fn a_decode_counts_until_it_is_done_also_when_its_sender_has_left() {
        let intake = intake();
        let free = || intake.decoding.available_permits();
        let all = free();
        let turn = intake.turn_to_decode(false).await.expect("a turn");
        assert_eq!(free(), all - 1);
        let (go_on, held_up) = mpsc::channel::<()>();
        let (says, said) = mpsc::channel();
        let decoding = tokio::spawn(decode(turn, move || {
            says.send(()).expect("heard");
            held_up.recv().expect("told");
            Ok(())
        }));
        tokio::task::spawn_blocking(move || said.recv().expect("it began"))
            .await
            .expect("waited");
        decoding.abort();
        assert!(decoding.await.expect_err("left").is_cancelled());
        assert_eq!(free(), all - 1, "the thread works on");
        go_on.send(()).expect("it waits");
        let whole = u32::try_from(all).expect("few");
        let freed = intake.decoding.acquire_many(whole);
        let freed = tokio::time::timeout(Duration::from_secs(20), freed).await;
        assert!(freed.is_ok(), "the turn was not given back");
    }

    #[tokio::test]
    async fn who_gets_no_turn_is_told_to_come_back() {
        let intake = intake();
        let all = u32::try_from(intake.decoding.available_permits()).expect("few");
        let _taken = intake.decoding.acquire_many(all).await.expect("all");
        assert!(intake.turn_to_decode(true).await.expect("light").is_none());
        let waiting = tokio::time::timeout(WAIT_FOR_TURN * 4, intake.turn_to_decode(false));
        let refused = waiting.await.expect("an answer").expect_err("no turn");
        assert!(
            matches!(refused, Error::TooManyRequests { .. }),
            "{refused:?}"
        );
    }
}
