//! Runs of retraining pipelines, and the callback on which pipelines report. A pipeline has no account: it
//! holds the token of its one run.

use axum::Json;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::auth::{Authorised, Read};
use super::bodies::{Body, Path, Query};
use super::moments::ListQuery;
use super::names::Names;
use super::problem::Problem;
use crate::domain::ids::{PipelineRunId, RunId};
use crate::domain::pipeline::PipelineStatus;
use crate::services::{Error, Services, retraining};
use crate::storage::runs::{self as stored, PipelineRun};

/// A run of a retraining pipeline.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PipelineRunView {
    pub pipeline_run_id: PipelineRunId,
    pub model: String,
    /// The run of the runbook that asked for it.
    pub run_id: RunId,
    pub pipeline: String,
    /// What the pipeline knows it by.
    pub run_key: String,
    pub parameters: serde_json::Value,
    pub state: String,
    /// Where a person can watch it.
    pub link: Option<String>,
    pub expected_at: Option<DateTime<Utc>>,
    pub requested_at: DateTime<Utc>,
    /// How often it was asked for.
    pub attempts: i32,
    pub cause: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl PipelineRunView {
    fn new(run: PipelineRun, names: &Names) -> Self {
        Self {
            pipeline_run_id: run.pipeline_run_id,
            model: names.model(run.model_id),
            run_id: run.run_id,
            pipeline: run.pipeline,
            run_key: run.run_key,
            parameters: run.parameters,
            state: run.state,
            link: run.link,
            expected_at: run.expected_at,
            requested_at: run.requested_at,
            attempts: run.attempts,
            cause: run.cause,
            finished_at: run.finished_at,
        }
    }
}

/// The pipeline runs of the project, newest first.
#[utoipa::path(
    get, path = "/pipeline-runs", tag = "pipelines", security(("token" = ["read"])), params(ListQuery),
    responses((status = 200, description = "The pipeline runs", body = [PipelineRunView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<PipelineRunView>>, Problem> {
    let project_id = caller.principal.project_id;
    let mut conn = services.pool.acquire().await?;
    let runs = stored::pipeline_runs(&mut conn, project_id, query.limit()?).await?;
    let names = Names::of(&mut conn, project_id).await?;
    let views = runs
        .into_iter()
        .map(|run| PipelineRunView::new(run, &names));
    Ok(Json(views.collect()))
}

/// Takes a pipeline's report. Reporting the same end again changes nothing.
#[utoipa::path(
    post, path = "/pipeline-runs/{run_key}/status", tag = "pipelines", security(("pipeline_run" = [])),
    params(("run_key" = String, Path, description = "The key the pipeline was started with")),
    request_body = PipelineStatus,
    responses((status = 204, description = "Taken"))
)]
pub async fn report(
    State(services): State<Services>,
    Path(run_key): Path<String>,
    headers: HeaderMap,
    Body(status): Body<PipelineStatus>,
) -> Result<StatusCode, Problem> {
    let token = bearer(&headers).ok_or_else(|| {
        Error::Unauthenticated(
            "present the token of the run as `Authorization: Bearer TOKEN`".to_owned(),
        )
    })?;
    retraining::report(&services, &run_key, token, &status).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
