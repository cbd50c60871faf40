//! Taking in predictions and labels: decode, refuse row by row, land. The answer is given after the commit,
//! so what is acknowledged is durable.
//!
//! Whatever requests that arrive together have in common is done once for all of them: their token and model
//! are looked up together, and they land in one commit ([`landing`]), small ones of a model as one batch.

mod body;
mod landing;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::access::{Principal, authenticate_token};
use super::coalescing::Coalescing;
use super::patience::answered;
use super::{Error, Services, overflow, registry};
use crate::domain::batch::{Decoded, LabelBatch, PredictionBatch, Reject, RejectReason};
use crate::domain::ids::{BatchId, ProjectId};
use crate::domain::model::Task;
use crate::formats::{self, Expectations, Format, FormatError, Limits};
use crate::storage::intake::BatchKind;
use crate::storage::models::{self, Model};
use crate::storage::overflow::OverflowKind;

pub use body::{BodyError, decode as decode_body};
use landing::{Arrival, Lander, Rows, SMALL};

/// How far back event times may lie.
const OLDEST_EVENT: TimeDelta = TimeDelta::days(2 * 366);
/// How far ahead event times may lie: senders' clocks differ, and a replay sends a step ahead.
const NEWEST_EVENT: TimeDelta = TimeDelta::days(1);
/// Bodies up to this size are decoded where they arrive: handing them to another thread costs more.
const SMALL_BODY: usize = 16 << 10;

/// What concurrent requests share.
#[derive(Debug, Clone)]
pub struct Intake {
    pool: PgPool,
    lander: Lander,
    limits: Limits,
    callers: Coalescing<String, Principal>,
    targets: Coalescing<(ProjectId, String), Target>,
}

impl Intake {
    /// Starts landing what comes in; ends when the last handle is dropped. `pool` is for look-ups, `landing` for
    /// what is landed, `limits` for each body.
    #[must_use]
    pub fn start(pool: PgPool, landing: PgPool, limits: Limits) -> Self {
        Self {
            lander: Lander::start(landing),
            pool,
            limits,
            callers: Coalescing::default(),
            targets: Coalescing::default(),
        }
    }

    /// Who presents this token; as [`authenticate_token`], for many requests at once.
    ///
    /// # Errors
    /// As there.
    pub async fn authenticate(
        &self,
        now: DateTime<Utc>,
        presented: &str,
    ) -> Result<Principal, Error> {
        let (pool, token) = (self.pool.clone(), presented.to_owned());
        let look_up = move || {
            let (pool, token) = (pool.clone(), token.clone());
            async move { answered(&pool, authenticate_token(&pool, now, &token)).await? }
        };
        self.callers.get(presented.to_owned(), look_up).await
    }

    /// As long as the database answers in time.
    async fn target(
        &self,
        project_id: ProjectId,
        model: &str,
        now: DateTime<Utc>,
    ) -> Result<Target, Error> {
        let (pool, name) = (self.pool.clone(), model.to_owned());
        let look_up = move || {
            let (pool, name) = (pool.clone(), name.clone());
            async move { answered(&pool, Target::look_up(&pool, project_id, &name, now)).await? }
        };
        let looking_up = self.targets.get((project_id, model.to_owned()), look_up);
        answered(&self.pool, looking_up).await?
    }
}

/// What rows are sent to.
#[derive(Debug, Clone)]
struct Target {
    model: Model,
    champion: Option<String>,
    versions: Vec<String>,
    auto_registers: bool,
}

impl Target {
    async fn look_up(
        pool: &PgPool,
        project_id: ProjectId,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let mut conn = pool.acquire().await?;
        let model = registry::model_for_intake(&mut conn, project_id, name, now).await?;
        let champion = registry::champion(&mut conn, &model).await?;
        let versions = models::versions(&mut conn, model.model_id).await?;
        Ok(Self {
            champion: champion.map(|champion| champion.version),
            versions: versions.into_iter().map(|version| version.name).collect(),
            auto_registers: models::auto_registers(&mut conn, project_id).await?,
            model,
        })
    }
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
}

/// Takes in predictions.
///
/// # Errors
/// Not found for an unknown model, invalid for a body that cannot be read at all, unavailable when the
/// database is out of reach or the queue is full.
pub async fn predictions(services: &Services, upload: Upload<'_>) -> Result<Receipt, Error> {
    let now = services.clock.now();
    let target = services
        .intake
        .target(upload.project_id, upload.model, now)
        .await?;
    let version = upload.version.clone().or_else(|| target.champion.clone());
    let (format, body, task) = (upload.format, upload.body, target.model.task);
    let limits = services.intake.limits;
    let mut decoded = decode(body.len(), move || {
        let expect = expectations(task, version.as_deref(), now, limits);
        formats::decode_predictions(format, &body, &expect)
    })
    .await?;
    crate::faults::crash_point("intake.decoded");
    let refusing = refuse_unknown_versions(services, &target, &mut decoded, now);
    answered(&services.intake.pool, refusing).await??;
    land(
        services,
        &target.model,
        (BatchKind::Predictions, format),
        decoded,
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
    let now = services.clock.now();
    let target = services
        .intake
        .target(upload.project_id, upload.model, now)
        .await?;
    let (format, body, task) = (upload.format, upload.body, target.model.task);
    let limits = services.intake.limits;
    let decoded: Decoded<LabelBatch> = decode(body.len(), move || {
        formats::decode_labels(format, &body, &expectations(task, None, now, limits))
    })
    .await?;
    land(
        services,
        &target.model,
        (BatchKind::Labels, format),
        decoded,
        Rows::of_labels,
        now,
    )
    .await
}

fn expectations(
    task: Task,
    version: Option<&str>,
    now: DateTime<Utc>,
    limits: Limits,
) -> Expectations<'_> {
    Expectations {
        task,
        default_version: version,
        earliest: now - OLDEST_EVENT,
        latest: now + NEWEST_EVENT,
        received_at: now,
        limits,
    }
}

async fn decode<T: Send + 'static>(
    body_bytes: usize,
    decode: impl FnOnce() -> Result<T, FormatError> + Send + 'static,
) -> Result<T, Error> {
    let decoded = if body_bytes <= SMALL_BODY {
        decode()
    } else {
        tokio::task::spawn_blocking(decode)
            .await
            .map_err(Error::internal)?
    };
    decoded.map_err(|error| Error::invalid(error.to_string()))
}

/// Registers versions seen for the first time where the project allows it, else refuses their rows.
async fn refuse_unknown_versions(
    services: &Services,
    target: &Target,
    decoded: &mut Decoded<PredictionBatch>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let is_known = |version: &str| target.versions.iter().any(|known| known == version);
    let unknown: Vec<String> = (decoded.batch.versions.texts())
        .filter(|version| !is_known(version))
        .map(str::to_owned)
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let model = &target.model;
    let mut no_room: HashMap<&str, String> = HashMap::new();
    if target.auto_registers {
        for version in &unknown {
            let lineage = serde_json::json!({});
            let registered =
                registry::register_version(services, model, version, lineage, "intake", now).await;
            match registered {
                Ok(_) => {}
                Err(Error::Conflict(cause)) => {
                    no_room.insert(version, cause);
                }
                Err(error) => return Err(error),
            }
        }
        if no_room.is_empty() {
            return Ok(());
        }
    }
    let rows = 0..decoded.batch.len();
    let keep: Vec<bool> = rows
        .map(|row| {
            let version = decoded.batch.version(row);
            is_known(version) || (target.auto_registers && !no_room.contains_key(version))
        })
        .collect();
    if target.auto_registers {
        let refused = keep.iter().filter(|keep| !**keep).count() as u64;
        let mut conn = services.intake.pool.acquire().await?;
        overflow::note(&mut conn, model, OverflowKind::Versions, refused, now).await?;
    }
    for row in (0..keep.len()).filter(|row| !keep[*row]) {
        let version = decoded.batch.version(row);
        let cause = no_room.get(version).cloned().unwrap_or_else(|| {
            format!(
                "version {version:?} of model {:?} is not registered; register it with \
                 `bellwether version add {} {version}`",
                model.name, model.name
            )
        });
        decoded.rejects.push(Reject {
            line: decoded.lines[row],
            field: "version".to_owned(),
            reason: RejectReason::UnknownVersion,
            cause,
        });
    }
    decoded.batch.retain(&keep);
    Ok(())
}

async fn land<B: Send + 'static>(
    services: &Services,
    model: &Model,
    (kind, format): (BatchKind, Format),
    decoded: Decoded<B>,
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
        rows(batch, refused)?
    } else {
        tokio::task::spawn_blocking(move || rows(batch, refused))
            .await
            .map_err(Error::internal)??
    };
    let mut rejected_by_reason = BTreeMap::new();
    for reject in &rejects {
        *rejected_by_reason
            .entry(reject.reason.as_str())
            .or_insert(0) += 1;
    }
    let rejected = rejects.len() as u64;
    let listed = rejects.iter().take(LISTED_REJECTS).cloned().collect();
    let arrival = Arrival {
        project_id: model.project_id,
        model_id: model.model_id,
        kind,
        format: format.as_str(),
        rows,
        received,
        rejects,
        received_at: now,
    };
    let batch_id = services.intake.lander.land(arrival).await?;
    services.nudges.settle.notify_one();
    crate::faults::crash_point("intake.nudged");
    Ok(Receipt {
        batch_id,
        received,
        kept: received - rejected,
        rejected,
        rejected_by_reason,
        rejects: listed,
    })
}
