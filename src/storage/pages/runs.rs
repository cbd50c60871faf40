//! Runs of runbooks, step by step.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::ids::{AlertId, ApprovalId, ModelId, ProjectId, RunId};

/// A run of a runbook.
#[derive(Debug, Clone)]
pub struct RunRow {
    pub run_id: RunId,
    pub model: String,
    pub alert_id: Option<AlertId>,
    pub alert_summary: Option<String>,
    pub runbook: String,
    pub title: String,
    pub definition: Value,
    pub state: String,
    pub outcome: String,
    pub started_by: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// One run.
pub async fn run(
    conn: &mut PgConnection,
    project: ProjectId,
    run: RunId,
) -> sqlx::Result<Option<RunRow>> {
    sqlx::query_as!(
        RunRow,
        r#"
        SELECT r.run_id AS "run_id!: RunId", m.name AS "model!", r.alert_id AS "alert_id: AlertId",
               a.summary AS "alert_summary?", r.runbook AS "runbook!", r.title AS "title!",
               r.definition AS "definition!", r.state AS "state!", r.outcome AS "outcome!",
               r.started_by AS "started_by!", r.started_at AS "started_at!", r.finished_at
          FROM runs r
          JOIN models m USING (model_id)
          LEFT JOIN alerts a ON a.alert_id = r.alert_id
         WHERE r.project_id = $1 AND r.run_id = $2
        "#,
        project.0,
        run.0
    )
    .fetch_optional(conn)
    .await
}

/// The runs that an alert started, newest first.
pub async fn runs_of_alert(
    conn: &mut PgConnection,
    project: ProjectId,
    alert: AlertId,
) -> sqlx::Result<Vec<RunRow>> {
    sqlx::query_as!(
        RunRow,
        r#"
        SELECT r.run_id AS "run_id!: RunId", m.name AS "model!", r.alert_id AS "alert_id: AlertId",
               a.summary AS "alert_summary?", r.runbook AS "runbook!", r.title AS "title!",
               r.definition AS "definition!", r.state AS "state!", r.outcome AS "outcome!",
               r.started_by AS "started_by!", r.started_at AS "started_at!", r.finished_at
          FROM runs r
          JOIN models m USING (model_id)
          LEFT JOIN alerts a ON a.alert_id = r.alert_id
         WHERE r.project_id = $1 AND r.alert_id = $2
         ORDER BY r.started_at DESC, r.run_id DESC
         LIMIT 10
        "#,
        project.0,
        alert.0
    )
    .fetch_all(conn)
    .await
}

/// The newest runs of a model.
pub async fn runs_of_model(
    conn: &mut PgConnection,
    project: ProjectId,
    model: ModelId,
) -> sqlx::Result<Vec<RunRow>> {
    sqlx::query_as!(
        RunRow,
        r#"
        SELECT r.run_id AS "run_id!: RunId", m.name AS "model!", r.alert_id AS "alert_id: AlertId",
               a.summary AS "alert_summary?", r.runbook AS "runbook!", r.title AS "title!",
               r.definition AS "definition!", r.state AS "state!", r.outcome AS "outcome!",
               r.started_by AS "started_by!", r.started_at AS "started_at!", r.finished_at
          FROM runs r
          JOIN models m USING (model_id)
          LEFT JOIN alerts a ON a.alert_id = r.alert_id
         WHERE r.project_id = $1 AND r.model_id = $2
         ORDER BY r.started_at DESC, r.run_id DESC
         LIMIT 20
        "#,
        project.0,
        model.0
    )
    .fetch_all(conn)
    .await
}

/// A step of a run.
#[derive(Debug, Clone)]
pub struct StepRow {
    pub run_id: RunId,
    pub position: i32,
    pub name: String,
    pub kind: String,
    pub state: String,
    pub detail: Value,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The steps of some runs, in order.
pub async fn steps(conn: &mut PgConnection, runs: &[RunId]) -> sqlx::Result<Vec<StepRow>> {
    let runs: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
    sqlx::query_as!(
        StepRow,
        r#"
        SELECT run_id AS "run_id: RunId", position, name, kind, state, detail, started_at, finished_at
          FROM run_steps
         WHERE run_id = ANY($1)
         ORDER BY run_id, position
        "#,
        &runs
    )
    .fetch_all(conn)
    .await
}

/// A question put to a person.
#[derive(Debug, Clone)]
pub struct ApprovalRow {
    pub approval_id: ApprovalId,
    pub run_id: RunId,
    pub position: i32,
    pub question: String,
    pub requested_at: DateTime<Utc>,
    pub decision: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub reason: Option<String>,
}

/// The questions of some runs.
pub async fn approvals(conn: &mut PgConnection, runs: &[RunId]) -> sqlx::Result<Vec<ApprovalRow>> {
    let runs: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
    sqlx::query_as!(
        ApprovalRow,
        r#"
        SELECT q.approval_id AS "approval_id!: ApprovalId", q.run_id AS "run_id!: RunId",
               q.position AS "position!", q.question AS "question!",
               q.requested_at AS "requested_at!", q.decision, q.decided_at,
               p.display_name AS "decided_by?", q.reason
          FROM approvals q
          LEFT JOIN people p ON p.person_id = q.decided_by
         WHERE q.run_id = ANY($1)
        "#,
        &runs
    )
    .fetch_all(conn)
    .await
}

/// What became of a call to a retraining pipeline.
#[derive(Debug, Clone)]
pub struct PipelineRunRow {
    pub run_id: RunId,
    pub position: i32,
    pub pipeline: String,
    pub run_key: String,
    pub state: String,
    pub external_id: Option<String>,
    pub link: Option<String>,
    pub expected_at: Option<DateTime<Utc>>,
    pub requested_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub attempts: i32,
    pub cause: Option<String>,
}

/// The pipeline runs of some runs.
pub async fn pipeline_runs(
    conn: &mut PgConnection,
    runs: &[RunId],
) -> sqlx::Result<Vec<PipelineRunRow>> {
    let runs: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
    sqlx::query_as!(
        PipelineRunRow,
        r#"
        SELECT run_id AS "run_id: RunId", position, pipeline, run_key, state, external_id, link,
               expected_at, requested_at, finished_at, attempts, cause
          FROM pipeline_runs
         WHERE run_id = ANY($1)
        "#,
        &runs
    )
    .fetch_all(conn)
    .await
}
