//! One run of a runbook, starting one by hand, and answering its question.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::domain::ids::{ApprovalId, RunId};
use crate::services::access::Scope;
use crate::services::{Error, Services, runbooks};
use crate::storage::pages::{self, RunRow};
use crate::web::answer::{Failure, page};
use crate::web::escape::path_segment;
use crate::web::frame::{Section, Shell, may_operate};
use crate::web::markdown::{self, Rendered};
use crate::web::run_view::{Block, RunRecords, RunView, run_view};
use crate::web::visitor::{SignedForm, Visitor, own_address};

/// The page of a run.
#[derive(Debug, Template)]
#[template(path = "pages/runs/run.html", escape = "page")]
pub struct RunPage {
    pub shell: Shell,
    pub may_operate: bool,
    pub model: String,
    pub model_href: String,
    pub alert: Option<(String, String)>,
    pub run: RunView,
    pub runbook_text: Option<Rendered>,
}

/// `GET /runs/{id}`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let session = &visitor.0;
    let mut conn = services.pool.acquire().await?;
    let id: RunId = id.parse().map_err(|_| Failure::page_not_found())?;
    let run = pages::run(&mut conn, session.project_id, id)
        .await?
        .ok_or_else(|| Error::not_found("this run"))?;
    let shell = Shell::load(&mut conn, &services, session, Section::Alerts, &run.title).await?;
    let records = load(&mut conn, std::slice::from_ref(&run)).await?;
    page(&RunPage {
        shell,
        may_operate: may_operate(session),
        model_href: format!("/models/{}", path_segment(&run.model)),
        model: run.model.clone(),
        alert: run.alert_id.map(|id| {
            (
                format!("/alerts/{id}"),
                run.alert_summary.clone().unwrap_or_default(),
            )
        }),
        run: run_view(&run, &records, services.clock.now()),
        runbook_text: run
            .definition
            .get("text")
            .and_then(serde_json::Value::as_str)
            .map(markdown::render),
    })
}

/// Reads what belongs to some runs.
pub async fn load(conn: &mut PgConnection, runs: &[RunRow]) -> sqlx::Result<RunRecords> {
    let ids: Vec<RunId> = runs.iter().map(|run| run.run_id).collect();
    Ok(RunRecords {
        steps: pages::steps(conn, &ids).await?,
        approvals: pages::approvals(conn, &ids).await?,
        pipeline_runs: pages::pipeline_runs(conn, &ids).await?,
    })
}

#[derive(Deserialize)]
pub struct Decision {
    decision: String,
    reason: String,
    #[serde(default)]
    back: String,
}

/// `POST /approvals/{id}`
pub async fn decide(
    State(services): State<Services>,
    Path(id): Path<String>,
    SignedForm { visitor, form }: SignedForm<Decision>,
) -> Result<Response, Failure> {
    visitor.require(Scope::Operate)?;
    let id: ApprovalId = id.parse().map_err(|_| Failure::page_not_found())?;
    let approve = match form.decision.as_str() {
        "approve" => true,
        "decline" => false,
        _ => return Err(Error::invalid_field("decision", "is approve or decline").into()),
    };
    let answer = runbooks::Answer {
        approval_id: id,
        approve,
        reason: &form.reason,
        person_id: visitor.0.person_id,
        actor: &visitor.actor(),
    };
    runbooks::decide(&services, visitor.0.project_id, answer).await?;
    Ok(Redirect::to(own_address(Some(&form.back))).into_response())
}

#[derive(Deserialize)]
pub struct Start {
    runbook: String,
    reason: String,
}

/// `POST /models/{name}/runs`
pub async fn start(
    State(services): State<Services>,
    Path(model): Path<String>,
    SignedForm { visitor, form }: SignedForm<Start>,
) -> Result<Response, Failure> {
    visitor.require(Scope::Operate)?;
    let run = runbooks::start_by_hand(
        &services,
        visitor.0.project_id,
        &model,
        &form.runbook,
        &form.reason,
        &visitor.actor(),
    )
    .await?;
    Ok(Redirect::to(&format!("/runs/{run}")).into_response())
}
