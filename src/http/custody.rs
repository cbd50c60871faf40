//! What is kept and forgotten: retention, the archive, and erasing.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::auth::{Admin, Authorised, Read};
use super::bodies::{Body, Path, Query};
use super::problem::Problem;
use crate::domain::archive::Manifest;
use crate::services::archiving::{self, GivenBack, Wanted};
use crate::services::erasure::{self, Erasure, Order};
use crate::services::retention::{self, Plan};
use crate::services::{Error, Services};

/// How long restored rows stay when nobody says.
const KEEP_DAYS: u32 = 30;
const MOST_KEEP_DAYS: u32 = 3_650;

/// How long the project keeps what, what has gone, and what would go now.
#[utoipa::path(
    get, path = "/retention", tag = "retention", security(("token" = ["read"])),
    responses((status = 200, description = "The policy and the steps that are due", body = Plan))
)]
pub async fn plan(
    caller: Authorised<Read>,
    State(services): State<Services>,
) -> Result<Json<Plan>, Problem> {
    let now = services.clock.now();
    Ok(Json(
        retention::plan(&services, caller.principal.project_id, now).await?,
    ))
}

/// What a run of retention has left.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Ran {
    /// Whether anything was removed; it may have been rows of other projects.
    pub removed: bool,
    /// What is there now.
    pub plan: Plan,
}

/// Archives and removes what is past, at once instead of within ten minutes.
#[utoipa::path(
    post, path = "/retention/run", tag = "retention", security(("token" = ["admin"])),
    responses((status = 200, description = "What was done, and what could not be", body = Ran))
)]
pub async fn run(
    caller: Authorised<Admin>,
    State(services): State<Services>,
) -> Result<Json<Ran>, Problem> {
    let now = services.clock.now();
    let removed = retention::activate(&services, now).await?;
    let plan = retention::plan(&services, caller.principal.project_id, now).await?;
    Ok(Json(Ran { removed, plan }))
}

/// Which part of the archive.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ArchiveQuery {
    /// One model; all of the project when absent.
    model: Option<String>,
}

/// The days in the archive, by model and day.
#[utoipa::path(
    get, path = "/archive", tag = "retention", security(("token" = ["read"])),
    params(ArchiveQuery),
    responses((status = 200, description = "Their manifests", body = [Manifest]))
)]
pub async fn archived(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<ArchiveQuery>,
) -> Result<Json<Vec<Manifest>>, Problem> {
    let project_id = caller.principal.project_id;
    let listed = archiving::list(&services, project_id, query.model.as_deref()).await?;
    Ok(Json(listed))
}

/// Days whose raw rows are to come back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DaysToRestore {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// How many days they stay; 30 when absent.
    pub keep_days: Option<u32>,
}

/// Gives the raw rows of archived days back. They are landed like any others, and what is there already counts as
/// duplicate, so this may be done twice.
#[utoipa::path(
    post, path = "/models/{model}/archive/restore", tag = "retention", security(("token" = ["admin"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = DaysToRestore,
    responses((status = 200, description = "What was landed", body = GivenBack))
)]
pub async fn restore(
    caller: Authorised<Admin>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(days): Body<DaysToRestore>,
) -> Result<Json<GivenBack>, Problem> {
    let keep_days = days.keep_days.unwrap_or(KEEP_DAYS);
    if !(1..=MOST_KEEP_DAYS).contains(&keep_days) {
        let cause = format!("must be from 1 to {MOST_KEEP_DAYS}");
        return Err(Error::invalid_field("keep_days", cause).into());
    }
    if days.to < days.from {
        return Err(Error::invalid_field("to", "must not be before from").into());
    }
    let wanted = Wanted {
        project_id: caller.principal.project_id,
        model: &model,
        from: days.from,
        to: days.to,
        keep_days,
    };
    Ok(Json(
        archiving::give_back(&services, wanted, &caller.principal.actor).await?,
    ))
}

/// Predictions to be erased.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionsToErase {
    /// 1 to 10,000 ids.
    pub prediction_ids: Vec<String>,
    /// Why, for the audit. Name nobody here.
    pub reason: String,
}

/// Erases predictions by their ids, with all that was kept of them, in the archive too. May be done twice.
#[utoipa::path(
    post, path = "/models/{model}/erasures", tag = "retention", security(("token" = ["admin"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = PredictionsToErase,
    responses((status = 200, description = "What was erased", body = Erasure))
)]
pub async fn erase(
    caller: Authorised<Admin>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(wanted): Body<PredictionsToErase>,
) -> Result<Json<Erasure>, Problem> {
    let ids: BTreeSet<String> = wanted.prediction_ids.into_iter().collect();
    let order = Order {
        project_id: caller.principal.project_id,
        model: &model,
        ids: &ids,
        reason: &wanted.reason,
    };
    Ok(Json(
        erasure::erase(&services, order, &caller.principal.actor).await?,
    ))
}
