//! Predictions and labels coming in, and what became of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::auth::{Authorised, Ingest, Operate, Read, Sender};
use super::bodies::{Body, Path, Query, Room, Upload};
use super::overload::Timely;
use super::problem::Problem;
use crate::domain::batch::Reject;
use crate::domain::ids::BatchId;
use crate::services::ingest::{self, Receipt};
use crate::services::{Error, Services, registry};
use crate::storage::intake::{self, BatchKind, BatchStatus, IntakeCount};
use crate::storage::{inferences, labels};

/// A body that has its room for as long as anybody reads it: decoders go on when their callers have left.
struct Housed {
    body: Bytes,
    _room: Arc<Room>,
}

impl AsRef<[u8]> for Housed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The body with its room, and the room for what is made of it.
pub(super) fn housed(body: Bytes, room: Room) -> (Bytes, Arc<Room>) {
    let room = Arc::new(room);
    let housed = Housed {
        body,
        _room: room.clone(),
    };
    (Bytes::from_owner(housed), room)
}

/// How predictions are sent.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PredictionsQuery {
    /// The version of rows that do not name one; the champion when absent.
    version: Option<String>,
}

/// Takes in predictions. The answer is given once they are durable; a row whose id is known already counts as a
/// duplicate, so a batch may be sent again.
#[utoipa::path(
    post, path = "/api/v1/models/{model}/predictions", tag = "intake", security(("token" = ["ingest"])),
    params(("model" = String, Path, description = "Name of the model"), PredictionsQuery),
    request_body(description = "Rows, see docs/formats.md; may be packed with gzip or zstd", content(
        ("application/json"), ("application/x-ndjson"), ("text/csv"), ("application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream")
    )),
    responses((status = 200, description = "What was kept and what was refused", body = Receipt))
)]
pub async fn send_predictions(
    sender: Sender,
    State(state): State<ApiState>,
    Path(model): Path<String>,
    Query(query): Query<PredictionsQuery>,
    Upload { format, body, room }: Upload,
) -> Result<Json<Receipt>, Problem> {
    let (body, _room) = housed(body, room);
    let (Sender::Presumed(principal, _) | Sender::Known(principal)) = &sender;
    let mut upload = ingest::Upload {
        project_id: principal.project_id,
        model: &model,
        format,
        body,
        version: query.version,
        generation: principal.generation,
    };
    let landed = match &sender {
        Sender::Presumed(..) => ingest::presumed_predictions(&state.services, &upload).await?,
        Sender::Known(_) => None,
    };
    let receipt = match landed {
        Some(receipt) => receipt,
        None => {
            let principal = sender.known(&state).await?;
            upload.project_id = principal.project_id;
            upload.generation = principal.generation;
            // Few small bodies come here: the others are not to carry what it takes.
            Box::pin(ingest::predictions(&state.services, upload)).await?
        }
    };
    state.instruments.batch("predictions", &receipt);
    Ok(Json(receipt))
}

/// Takes in labels. They may come before their predictions, or long after; a later label corrects an earlier
/// one.
#[utoipa::path(
    post, path = "/api/v1/models/{model}/labels", tag = "intake", security(("token" = ["ingest"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body(description = "Rows, see docs/formats.md; may be packed with gzip or zstd", content(
        ("application/json"), ("application/x-ndjson"), ("text/csv"), ("application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream")
    )),
    responses((status = 200, description = "What was kept and what was refused", body = Receipt))
)]
pub async fn send_labels(
    Timely(caller): Timely<Authorised<Ingest>>,
    State(state): State<ApiState>,
    Path(model): Path<String>,
    Upload { format, body, room }: Upload,
) -> Result<Json<Receipt>, Problem> {
    let (body, _room) = housed(body, room);
    let upload = ingest::Upload {
        project_id: caller.principal.project_id,
        model: &model,
        format,
        body,
        version: None,
        generation: caller.principal.generation,
    };
    let receipt = ingest::labels(&state.services, upload).await?;
    state.instruments.batch("labels", &receipt);
    Ok(Json(receipt))
}

/// A batch that was taken in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Batch {
    pub batch_id: BatchId,
    /// `predictions`, `labels` or `events`.
    pub kind: &'static str,
    /// `landed` (durable), `settled` (counted) or `failed` (kept, but cannot be counted).
    pub state: String,
    pub received: i64,
    /// Known once the batch is settled, as are `duplicate` and `conflicting`.
    pub accepted: Option<i64>,
    pub duplicate: Option<i64>,
    /// Rows whose id is known with another content; the first stands.
    pub conflicting: Option<i64>,
    pub rejected: i64,
    /// The first refused rows, 100 at most.
    pub rejects: Vec<Reject>,
    pub received_at: DateTime<Utc>,
    pub settled_at: Option<DateTime<Utc>>,
    /// Why settling failed.
    pub cause: Option<String>,
}

impl Batch {
    fn new(status: BatchStatus, rejects: Vec<Reject>) -> Self {
        Self {
            batch_id: status.batch_id,
            kind: status.kind.as_str(),
            state: status.state,
            received: status.received_rows,
            accepted: status.accepted_rows,
            duplicate: status.duplicate_rows,
            conflicting: status.conflicting_rows,
            rejected: status.rejected_rows,
            rejects,
            received_at: status.received_at,
            settled_at: status.settled_at,
            cause: status.cause,
        }
    }
}

/// What became of a batch.
#[utoipa::path(
    get, path = "/batches/{batch_id}", tag = "intake", security(("token" = ["read"])),
    params(("batch_id" = BatchId, Path)),
    responses((status = 200, description = "The batch", body = Batch))
)]
pub async fn batch(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(batch_id): Path<BatchId>,
) -> Result<Json<Batch>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let status = intake::status(&mut conn, caller.principal.project_id, batch_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("batch {batch_id}")))?;
    let rejects = intake::rejects(&mut conn, batch_id).await?;
    Ok(Json(Batch::new(status, rejects)))
}

/// How many batches that were set aside are listed.
const LISTED_FAILED: i64 = 100;

/// The batches of a model that could not be settled and were set aside with their bodies, oldest first, 100 at most.
#[utoipa::path(
    get, path = "/models/{model}/failed-batches", tag = "intake", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The batches", body = [Batch]))
)]
pub async fn failed(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<Vec<Batch>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let failed = intake::failed(&mut conn, model.model_id, LISTED_FAILED).await?;
    let mut batches = Vec::with_capacity(failed.len());
    for status in failed {
        let rejects = intake::rejects(&mut conn, status.batch_id).await?;
        batches.push(Batch::new(status, rejects));
    }
    Ok(Json(batches))
}

/// Has a batch that was set aside settled again, once its cause is gone; kept in the audit log.
#[utoipa::path(
    post, path = "/batches/{batch_id}/retry", tag = "intake", security(("token" = ["operate"])),
    params(("batch_id" = BatchId, Path)),
    responses(
        (status = 204, description = "It is settled in a moment"),
        (status = 409, description = "It was not set aside")
    )
)]
pub async fn retry(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(batch_id): Path<BatchId>,
) -> Result<StatusCode, Problem> {
    let principal = &caller.principal;
    ingest::retry(&services, principal.project_id, batch_id, &principal.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why a batch is given up.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivingUp {
    /// Why nobody needs its rows any more, for the audit.
    pub reason: String,
}

/// Gives up a batch that was set aside: its rows count as rejected (`given_up`), and what was kept of them is dropped.
#[utoipa::path(
    post, path = "/batches/{batch_id}/give-up", tag = "intake", security(("token" = ["operate"])),
    params(("batch_id" = BatchId, Path)), request_body = GivingUp,
    responses(
        (status = 204, description = "Its rows are refused"),
        (status = 409, description = "It was not set aside")
    )
)]
pub async fn give_up(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(batch_id): Path<BatchId>,
    Body(wanted): Body<GivingUp>,
) -> Result<StatusCode, Problem> {
    let principal = &caller.principal;
    let wanted = (batch_id, wanted.reason.as_str());
    ingest::give_up(&services, principal.project_id, wanted, &principal.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many rows came in for a model, and what became of them. Once everything is settled, `received` is the
/// sum of the others.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct IntakeCounts {
    pub received: i64,
    pub accepted: i64,
    pub duplicate: i64,
    pub conflicting: i64,
    pub rejected: i64,
    pub rejected_by_reason: BTreeMap<String, i64>,
    /// Rows of batches that could not be settled and were set aside: see `failed-batches`.
    pub failed: i64,
    /// Rows that were given back from the archive. They were received once, and are no part of the sum.
    pub restored: i64,
}

/// What came in as labels. `waiting` and `expired` are shares of `accepted`, counted by prediction id.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct LabelCounts {
    #[serde(flatten)]
    pub rows: IntakeCounts,
    /// Labels whose prediction has not come yet.
    pub waiting: i64,
    /// Labels whose prediction did not come within `intake.orphan_label_days`. They still join should it come.
    pub expired: i64,
}

/// What came in as requests and responses of inferences. `waiting` and `expired` are shares of `accepted`.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct EventCounts {
    #[serde(flatten)]
    pub rows: IntakeCounts,
    /// Those whose other half has not come yet.
    pub waiting: i64,
    /// Those whose other half did not come within `intake.unpaired_event_minutes`.
    pub expired: i64,
}

/// The counts of all kinds.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Intake {
    pub predictions: IntakeCounts,
    pub labels: LabelCounts,
    pub events: EventCounts,
}

impl Intake {
    fn add(&mut self, count: IntakeCount) {
        let counts = match count.kind {
            BatchKind::Predictions => &mut self.predictions,
            BatchKind::Labels => &mut self.labels.rows,
            BatchKind::Events => {
                if count.outcome == "expired" {
                    self.events.expired += count.rows;
                    return;
                }
                &mut self.events.rows
            }
        };
        match count.outcome.as_str() {
            "received" => counts.received += count.rows,
            "accepted" => counts.accepted += count.rows,
            "duplicate" => counts.duplicate += count.rows,
            "conflicting" => counts.conflicting += count.rows,
            "failed" => counts.failed += count.rows,
            "restored" => counts.restored += count.rows,
            _ => {
                counts.rejected += count.rows;
                *counts.rejected_by_reason.entry(count.reason).or_default() += count.rows;
            }
        }
    }
}

/// How many rows came in for a model.
#[utoipa::path(
    get, path = "/models/{model}/intake", tag = "intake", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The counts", body = Intake))
)]
pub async fn counts(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<Intake>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let counts = intake::counts(&mut conn, model.model_id).await?;
    let orphans = labels::orphans(&mut conn, model.model_id).await?;
    let mut intake = Intake::default();
    for count in counts {
        intake.add(count);
    }
    intake.labels.waiting = orphans.waiting;
    intake.labels.expired = orphans.expired;
    intake.events.waiting = inferences::waiting(&mut conn, model.model_id).await?;
    Ok(Json(intake))
}
