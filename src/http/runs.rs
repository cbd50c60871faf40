//! Runs of runbooks, and the questions they put to people.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Authorised, Operate, Read};
use super::bodies::{Body, Path, Query};
use super::moments::ListQuery;
use super::names::Names;
use super::problem::Problem;
use crate::domain::ids::{AlertId, ApprovalId, RunId};
use crate::services::runbooks::{self, Answer};
use crate::services::{Error, Services};
use crate::storage::runs::{self as stored, Approval, Run, RunStep};

/// A run of a runbook.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RunView {
    pub run_id: RunId,
    pub model: String,
    pub alert_id: Option<AlertId>,
    pub runbook: String,
    pub title: String,
    /// What the run was started with.
    pub parameters: serde_json::Value,
    pub state: String,
    /// How it ended, in words.
    pub outcome: String,
    pub started_by: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl RunView {
    fn new(run: Run, names: &Names) -> Self {
        Self {
            run_id: run.run_id,
            model: names.model(run.model_id),
            alert_id: run.alert_id,
            runbook: run.runbook,
            title: run.title,
            parameters: run.parameters,
            state: run.state,
            outcome: run.outcome,
            started_by: run.started_by,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// A run with its steps and approvals.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RunDetail {
    #[serde(flatten)]
    pub run: RunView,
    pub steps: Vec<StepView>,
    pub approvals: Vec<ApprovalView>,
}

/// A step of a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StepView {
    /// From 0.
    pub position: i32,
    pub name: String,
    pub kind: String,
    pub state: String,
    /// What the step found or did.
    pub detail: serde_json::Value,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<RunStep> for StepView {
    fn from(step: RunStep) -> Self {
        Self {
            position: step.position,
            name: step.name,
            kind: step.kind,
            state: step.state,
            detail: step.detail,
            started_at: step.started_at,
            finished_at: step.finished_at,
        }
    }
}

/// A question put to a person.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ApprovalView {
    pub approval_id: ApprovalId,
    /// The position of the step that asks.
    pub position: i32,
    pub question: String,
    pub requested_at: DateTime<Utc>,
    /// `approved` or `declined`; nothing while it is open.
    pub decision: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub reason: Option<String>,
}

impl From<Approval> for ApprovalView {
    fn from(approval: Approval) -> Self {
        Self {
            approval_id: approval.approval_id,
            position: approval.position,
            question: approval.question,
            requested_at: approval.requested_at,
            decision: approval.decision,
            decided_at: approval.decided_at,
            decided_by: approval.decided_by,
            reason: approval.reason,
        }
    }
}

/// The runs of the project, newest first.
#[utoipa::path(
    get, path = "/runs", tag = "runs", security(("token" = ["read"])), params(ListQuery),
    responses((status = 200, description = "The runs", body = [RunView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<RunView>>, Problem> {
    let project_id = caller.principal.project_id;
    let mut conn = services.pool.acquire().await?;
    let runs = stored::list(&mut conn, project_id, query.limit()?).await?;
    let names = Names::of(&mut conn, project_id).await?;
    let views = runs.into_iter().map(|run| RunView::new(run, &names));
    Ok(Json(views.collect()))
}

/// A run with its steps and approvals.
#[utoipa::path(
    get, path = "/runs/{run_id}", tag = "runs", security(("token" = ["read"])),
    params(("run_id" = RunId, Path)),
    responses((status = 200, description = "The run", body = RunDetail))
)]
pub async fn show(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(run_id): Path<RunId>,
) -> Result<Json<RunDetail>, Problem> {
    let project_id = caller.principal.project_id;
    let mut conn = services.pool.acquire().await?;
    let run = stored::get(&mut conn, run_id)
        .await?
        .filter(|run| run.project_id == project_id)
        .ok_or_else(|| Error::not_found(format!("run {run_id}")))?;
    let steps = stored::steps(&mut conn, run_id).await?;
    let approvals = stored::approvals(&mut conn, run_id).await?;
    let names = Names::of(&mut conn, project_id).await?;
    Ok(Json(RunDetail {
        run: RunView::new(run, &names),
        steps: steps.into_iter().map(StepView::from).collect(),
        approvals: approvals.into_iter().map(ApprovalView::from).collect(),
    }))
}

/// A runbook to be started.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunToStart {
    pub runbook: String,
    /// Why, for whoever reads it later.
    pub reason: String,
}

/// A run that was started.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StartedRun {
    pub run_id: RunId,
}

/// Starts a runbook by hand.
#[utoipa::path(
    post, path = "/models/{model}/runs", tag = "runs", security(("token" = ["operate"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = RunToStart,
    responses((status = 201, description = "The run", body = StartedRun))
)]
pub async fn start(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(run): Body<RunToStart>,
) -> Result<(StatusCode, Json<StartedRun>), Problem> {
    let run_id = runbooks::start_by_hand(
        &services,
        caller.principal.project_id,
        &model,
        &run.runbook,
        &run.reason,
        &caller.principal.actor,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(StartedRun { run_id })))
}

/// A person's answer.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAnswer {
    pub approve: bool,
    /// Why, for whoever reads it later.
    pub reason: String,
}

/// Answers what a run asks. Only a person who signed in can: a token is nobody.
#[utoipa::path(
    post, path = "/approvals/{approval_id}", tag = "runs", security(("token" = ["operate"])),
    params(("approval_id" = ApprovalId, Path)),
    request_body = ApprovalAnswer,
    responses((status = 204, description = "Answered"))
)]
pub async fn decide(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(approval_id): Path<ApprovalId>,
    Body(answer): Body<ApprovalAnswer>,
) -> Result<StatusCode, Problem> {
    let principal = caller.principal;
    let person_id = principal.person_id.ok_or_else(|| {
        Error::Forbidden(
            "only a person can approve or decline; sign in on the pages, a token cannot".to_owned(),
        )
    })?;
    let answer = Answer {
        approval_id,
        approve: answer.approve,
        reason: &answer.reason,
        person_id,
        actor: &principal.actor,
    };
    runbooks::decide(&services, principal.project_id, answer).await?;
    Ok(StatusCode::NO_CONTENT)
}
