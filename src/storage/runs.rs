//! Runs of runbooks: their steps, approvals, pipeline runs, candidates, gate results and promotions.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::ids::{
    AlertId, ApprovalId, CandidateId, GateResultId, ModelId, PersonId, PipelineRunId, ProjectId,
    PromotionId, RunId, VersionId,
};
use crate::domain::runbook::Runbook;

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    pub run_id: RunId,
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub alert_id: Option<AlertId>,
    pub runbook: String,
    pub title: String,
    pub definition: Json<Runbook>,
    pub parameters: serde_json::Value,
    pub state: String,
    pub outcome: String,
    pub started_by: String,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub version: i64,
}

/// A step of a run.
#[derive(Debug, Clone)]
pub struct RunStep {
    pub position: i32,
    pub name: String,
    pub kind: String,
    pub state: String,
    pub detail: serde_json::Value,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Stores a new run with its steps pending.
pub async fn insert(conn: &mut PgConnection, run: &Run) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO runs (run_id, project_id, model_id, alert_id, runbook, title, definition, parameters, state,
                          outcome, started_by, started_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)
        "#,
        run.run_id.0,
        run.project_id.0,
        run.model_id.0,
        run.alert_id.map(|id| id.0),
        run.runbook,
        run.title,
        &run.definition as &Json<Runbook>,
        run.parameters,
        run.state,
        run.outcome,
        run.started_by,
        run.started_at
    )
    .execute(&mut *conn)
    .await?;
    for (position, step) in (0_i32..).zip(&run.definition.steps) {
        sqlx::query!(
            r#"
            INSERT INTO run_steps (run_id, position, name, kind, state, detail)
            VALUES ($1, $2, $3, $4, 'pending', '{}')
            "#,
            run.run_id.0,
            position,
            step.name,
            step.action.kind()
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A run, by id.
pub async fn get(conn: &mut PgConnection, run_id: RunId) -> sqlx::Result<Option<Run>> {
    sqlx::query_as!(
        Run,
        r#"
        SELECT run_id AS "run_id: RunId", project_id AS "project_id: ProjectId", model_id AS "model_id: ModelId",
               alert_id AS "alert_id: AlertId", runbook, title, definition AS "definition: Json<Runbook>",
               parameters, state, outcome, started_by, started_at, finished_at, version
        FROM runs
        WHERE run_id = $1
        "#,
        run_id.0
    )
    .fetch_optional(conn)
    .await
}

/// A run, its row locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, run_id: RunId) -> sqlx::Result<Option<Run>> {
    sqlx::query_as!(
        Run,
        r#"
        SELECT run_id AS "run_id: RunId", project_id AS "project_id: ProjectId", model_id AS "model_id: ModelId",
               alert_id AS "alert_id: AlertId", runbook, title, definition AS "definition: Json<Runbook>",
               parameters, state, outcome, started_by, started_at, finished_at, version
        FROM runs
        WHERE run_id = $1
        FOR UPDATE
        "#,
        run_id.0
    )
    .fetch_optional(conn)
    .await
}

/// The runs of a project, newest first.
pub async fn list(
    conn: &mut PgConnection,
    project_id: ProjectId,
    limit: i64,
) -> sqlx::Result<Vec<Run>> {
    sqlx::query_as!(
        Run,
        r#"
        SELECT run_id AS "run_id: RunId", project_id AS "project_id: ProjectId", model_id AS "model_id: ModelId",
               alert_id AS "alert_id: AlertId", runbook, title, definition AS "definition: Json<Runbook>",
               parameters, state, outcome, started_by, started_at, finished_at, version
        FROM runs
        WHERE project_id = $1
        ORDER BY started_at DESC, run_id DESC
        LIMIT $2
        "#,
        project_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Ids of all runs that are not over.
pub async fn open(conn: &mut PgConnection) -> sqlx::Result<Vec<RunId>> {
    sqlx::query_scalar!(
        r#"SELECT run_id AS "run_id: RunId" FROM runs WHERE finished_at IS NULL ORDER BY run_id"#
    )
    .fetch_all(conn)
    .await
}

/// The open runs of a model.
pub async fn open_of_model(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Run>> {
    sqlx::query_as!(
        Run,
        r#"
        SELECT run_id AS "run_id: RunId", project_id AS "project_id: ProjectId", model_id AS "model_id: ModelId",
               alert_id AS "alert_id: AlertId", runbook, title, definition AS "definition: Json<Runbook>",
               parameters, state, outcome, started_by, started_at, finished_at, version
        FROM runs
        WHERE model_id = $1 AND finished_at IS NULL
        ORDER BY run_id
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// The steps of a run, in order.
pub async fn steps(conn: &mut PgConnection, run_id: RunId) -> sqlx::Result<Vec<RunStep>> {
    sqlx::query_as!(
        RunStep,
        r#"
        SELECT position, name, kind, state, detail, started_at, finished_at
        FROM run_steps
        WHERE run_id = $1
        ORDER BY position
        "#,
        run_id.0
    )
    .fetch_all(conn)
    .await
}

/// Stores a step's state; `started_at` is set once, `finished_at` when `finished`.
pub async fn put_step(
    conn: &mut PgConnection,
    run_id: RunId,
    step: &RunStep,
    finished: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE run_steps
        SET state = $3, detail = $4, started_at = COALESCE(started_at, $5),
            finished_at = CASE WHEN $6 THEN $5 END
        WHERE run_id = $1 AND position = $2
        "#,
        run_id.0,
        step.position,
        step.state,
        step.detail,
        now,
        finished
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks every pending step of a run skipped.
pub async fn skip_pending(conn: &mut PgConnection, run_id: RunId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE run_steps SET state = 'skipped' WHERE run_id = $1 AND state = 'pending'",
        run_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores a run's state and outcome; a `finished_at` ends it.
pub async fn put_state(
    conn: &mut PgConnection,
    run_id: RunId,
    state: &str,
    outcome: &str,
    finished_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE runs
        SET state = $2, outcome = $3, finished_at = $4, version = version + 1
        WHERE run_id = $1
        "#,
        run_id.0,
        state,
        outcome,
        finished_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A question put to a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
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

/// Asks.
pub async fn insert_approval(
    conn: &mut PgConnection,
    project_id: ProjectId,
    approval: &Approval,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO approvals (approval_id, project_id, run_id, position, question, requested_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        approval.approval_id.0,
        project_id.0,
        approval.run_id.0,
        approval.position,
        approval.question,
        approval.requested_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The approvals of a run, by step.
pub async fn approvals(conn: &mut PgConnection, run_id: RunId) -> sqlx::Result<Vec<Approval>> {
    sqlx::query_as!(
        Approval,
        r#"
        SELECT a.approval_id AS "approval_id: ApprovalId", a.run_id AS "run_id: RunId", a.position, a.question,
               a.requested_at, a.decision, a.decided_at, p.display_name AS "decided_by?", a.reason
        FROM approvals a
        LEFT JOIN people p ON p.person_id = a.decided_by
        WHERE a.run_id = $1
        ORDER BY a.position
        "#,
        run_id.0
    )
    .fetch_all(conn)
    .await
}

/// The run that an approval of the project belongs to.
pub async fn run_of_approval(
    conn: &mut PgConnection,
    project_id: ProjectId,
    approval_id: ApprovalId,
) -> sqlx::Result<Option<RunId>> {
    sqlx::query_scalar!(
        r#"
        SELECT run_id AS "run_id: RunId"
        FROM approvals
        WHERE project_id = $1 AND approval_id = $2
        "#,
        project_id.0,
        approval_id.0
    )
    .fetch_optional(conn)
    .await
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision<'a> {
    pub approve: bool,
    pub reason: &'a str,
    pub person_id: PersonId,
    pub at: DateTime<Utc>,
}

/// Answers, unless somebody has; returns whether it did.
pub async fn decide(
    conn: &mut PgConnection,
    approval_id: ApprovalId,
    decision: Decision<'_>,
) -> sqlx::Result<bool> {
    let word = if decision.approve {
        "approved"
    } else {
        "declined"
    };
    let result = sqlx::query!(
        r#"
        UPDATE approvals
        SET decision = $2, decided_at = $3, decided_by = $4, reason = $5
        WHERE approval_id = $1 AND decision IS NULL
        "#,
        approval_id.0,
        word,
        decision.at,
        decision.person_id.0,
        decision.reason
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// A run of a retraining pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineRun {
    pub pipeline_run_id: PipelineRunId,
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub run_id: RunId,
    pub position: i32,
    pub pipeline: String,
    pub run_key: String,
    pub parameters: serde_json::Value,
    pub state: String,
    pub status_url: Option<String>,
    pub link: Option<String>,
    pub expected_at: Option<DateTime<Utc>>,
    pub requested_at: DateTime<Utc>,
    pub attempts: i32,
    pub cause: Option<String>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Stores a pipeline run to be requested.
pub async fn insert_pipeline_run(conn: &mut PgConnection, run: &PipelineRun) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO pipeline_runs (pipeline_run_id, project_id, model_id, run_id, position, pipeline, run_key,
                                   parameters, state, requested_at, not_before, attempts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'requested', $9, $9, 0)
        "#,
        run.pipeline_run_id.0,
        run.project_id.0,
        run.model_id.0,
        run.run_id.0,
        run.position,
        run.pipeline,
        run.run_key,
        run.parameters,
        run.requested_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

macro_rules! pipeline_run_query {
    ($tail:literal, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            PipelineRun,
            r#"
            SELECT pipeline_run_id AS "pipeline_run_id: PipelineRunId", project_id AS "project_id: ProjectId",
                   model_id AS "model_id: ModelId", run_id AS "run_id: RunId", position, pipeline, run_key,
                   parameters, state, status_url, link, expected_at, requested_at, attempts,
                   cause, finished_at
            FROM pipeline_runs
            "# + $tail,
            $($args),*
        )
    };
}

/// The pipeline run with that key, its row locked.
pub async fn lock_pipeline_run(
    conn: &mut PgConnection,
    run_key: &str,
) -> sqlx::Result<Option<PipelineRun>> {
    pipeline_run_query!("WHERE run_key = $1 FOR UPDATE", run_key)
        .fetch_optional(conn)
        .await
}

/// The pipeline run of a step.
pub async fn pipeline_run_of_step(
    conn: &mut PgConnection,
    run_id: RunId,
    position: i32,
) -> sqlx::Result<Option<PipelineRun>> {
    pipeline_run_query!("WHERE run_id = $1 AND position = $2", run_id.0, position)
        .fetch_optional(conn)
        .await
}

/// The pipeline runs of a project, newest first.
pub async fn pipeline_runs(
    conn: &mut PgConnection,
    project_id: ProjectId,
    limit: i64,
) -> sqlx::Result<Vec<PipelineRun>> {
    pipeline_run_query!(
        "WHERE project_id = $1 ORDER BY requested_at DESC, pipeline_run_id DESC LIMIT $2",
        project_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Claims a pipeline run that has work due, until `lease_expires_at` by the wall clock: one to be requested,
/// one whose request was cut off by a crash, or one to be polled.
pub async fn claim_pipeline_run(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    wall_now: DateTime<Utc>,
    lease_expires_at: DateTime<Utc>,
) -> sqlx::Result<Option<PipelineRun>> {
    let claimed = sqlx::query_scalar!(
        r#"
        UPDATE pipeline_runs
        SET lease_expires_at = $3
        WHERE pipeline_run_id = (
            SELECT pipeline_run_id
            FROM pipeline_runs
            WHERE finished_at IS NULL AND not_before <= $1 AND state <> 'unknown'
              AND (lease_expires_at IS NULL OR lease_expires_at < $2)
            ORDER BY not_before, pipeline_run_id
            LIMIT 1
            FOR UPDATE SKIP LOCKED
        )
        RETURNING run_key
        "#,
        now,
        wall_now,
        lease_expires_at
    )
    .fetch_optional(&mut *conn)
    .await?;
    match claimed {
        Some(run_key) => lock_pipeline_run(conn, &run_key).await,
        None => Ok(None),
    }
}

/// Records, before the call, that a pipeline run is being asked for.
pub async fn mark_sending(
    conn: &mut PgConnection,
    pipeline_run_id: PipelineRunId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE pipeline_runs SET state = 'sending' WHERE pipeline_run_id = $1 AND finished_at IS NULL",
        pipeline_run_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What became known of a pipeline run.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineProgress<'a> {
    pub state: &'a str,
    pub external_id: Option<&'a str>,
    pub status_url: Option<&'a str>,
    pub link: Option<&'a str>,
    pub expected_at: Option<DateTime<Utc>>,
    pub cause: Option<&'a str>,
    /// When to look again.
    pub not_before: DateTime<Utc>,
    pub finished: bool,
    /// Whether this was an attempt to start it.
    pub attempted: bool,
}

/// Stores progress and gives the claim back. A run that is over stays as it is.
pub async fn put_pipeline_progress(
    conn: &mut PgConnection,
    pipeline_run_id: PipelineRunId,
    progress: &PipelineProgress<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE pipeline_runs
        SET state = $2,
            external_id = COALESCE($3, external_id),
            status_url = COALESCE($4, status_url),
            link = COALESCE($5, link),
            expected_at = COALESCE($6, expected_at),
            cause = $7,
            not_before = $8,
            lease_expires_at = NULL,
            attempts = attempts + CASE WHEN $9 THEN 1 ELSE 0 END,
            started_at = CASE WHEN $2 = 'running' THEN COALESCE(started_at, $11) ELSE started_at END,
            finished_at = CASE WHEN $10 THEN $11 END
        WHERE pipeline_run_id = $1 AND finished_at IS NULL
        "#,
        pipeline_run_id.0,
        progress.state,
        progress.external_id,
        progress.status_url,
        progress.link,
        progress.expected_at,
        progress.cause,
        progress.not_before,
        progress.attempted,
        progress.finished,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A version that a pipeline delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub candidate_id: CandidateId,
    pub version_id: VersionId,
    pub version: String,
    pub run_id: RunId,
    pub delivered_at: DateTime<Utc>,
}

/// Stores a delivered candidate, once per run and version.
pub async fn insert_candidate(
    conn: &mut PgConnection,
    run: &PipelineRun,
    version_id: VersionId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO candidates (candidate_id, project_id, model_id, model_version_id, run_id, pipeline_run_id,
                                delivered_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT ON CONSTRAINT candidates_one_per_version DO NOTHING
        "#,
        CandidateId::new(now).0,
        run.project_id.0,
        run.model_id.0,
        version_id.0,
        run.run_id.0,
        run.pipeline_run_id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The candidate that a run's pipeline delivered.
pub async fn candidate(conn: &mut PgConnection, run_id: RunId) -> sqlx::Result<Option<Candidate>> {
    sqlx::query_as!(
        Candidate,
        r#"
        SELECT c.candidate_id AS "candidate_id: CandidateId", c.model_version_id AS "version_id: VersionId",
               v.name AS version, c.run_id AS "run_id: RunId", c.delivered_at
        FROM candidates c
        JOIN model_versions v USING (model_version_id)
        WHERE c.run_id = $1
        ORDER BY c.delivered_at DESC
        LIMIT 1
        "#,
        run_id.0
    )
    .fetch_optional(conn)
    .await
}

/// A gate's verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct GateResult {
    pub run_id: RunId,
    pub position: i32,
    pub candidate: VersionId,
    pub candidate_name: String,
    pub champion: VersionId,
    pub champion_name: String,
    pub window_from: DateTime<Utc>,
    pub window_to: DateTime<Utc>,
    pub verdict: String,
    pub reason: String,
    pub comparisons: serde_json::Value,
    pub decided_at: DateTime<Utc>,
}

/// Stores a verdict, once per step.
pub async fn insert_gate_result(
    conn: &mut PgConnection,
    gate_result_id: GateResultId,
    project_id: ProjectId,
    model_id: ModelId,
    result: &GateResult,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO gate_results (gate_result_id, project_id, model_id, run_id, position, candidate_version_id,
                                  champion_version_id, window_from, window_to, verdict, reason, comparisons,
                                  decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        "#,
        gate_result_id.0,
        project_id.0,
        model_id.0,
        result.run_id.0,
        result.position,
        result.candidate.0,
        result.champion.0,
        result.window_from,
        result.window_to,
        result.verdict,
        result.reason,
        result.comparisons,
        result.decided_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The verdicts of a project, oldest first.
pub async fn gate_results(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Vec<GateResult>> {
    sqlx::query_as!(
        GateResult,
        r#"
        SELECT g.run_id AS "run_id: RunId", g.position, g.candidate_version_id AS "candidate: VersionId",
               c.name AS candidate_name, g.champion_version_id AS "champion: VersionId",
               ch.name AS champion_name, g.window_from, g.window_to, g.verdict, g.reason, g.comparisons,
               g.decided_at
        FROM gate_results g
        JOIN model_versions c ON c.model_version_id = g.candidate_version_id
        JOIN model_versions ch ON ch.model_version_id = g.champion_version_id
        WHERE g.project_id = $1
        ORDER BY g.decided_at, g.gate_result_id
        "#,
        project_id.0
    )
    .fetch_all(conn)
    .await
}

/// A change of champion.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    pub promotion_id: PromotionId,
    pub run_id: Option<RunId>,
    pub environment: String,
    pub from_version: Option<VersionId>,
    pub from_name: Option<String>,
    pub to_version: VersionId,
    pub to_name: String,
    pub promoted_at: DateTime<Utc>,
    pub promoted_by: String,
    pub reason: String,
}

/// Records a promotion.
pub async fn insert_promotion(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    promotion: &Promotion,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO promotions (promotion_id, project_id, model_id, run_id, environment, from_version_id,
                                to_version_id, promoted_at, promoted_by, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        promotion.promotion_id.0,
        project_id.0,
        model_id.0,
        promotion.run_id.map(|id| id.0),
        promotion.environment,
        promotion.from_version.map(|id| id.0),
        promotion.to_version.0,
        promotion.promoted_at,
        promotion.promoted_by,
        promotion.reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The promotions of a project, oldest first; of one model when given.
pub async fn promotions(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: Option<ModelId>,
) -> sqlx::Result<Vec<Promotion>> {
    sqlx::query_as!(
        Promotion,
        r#"
        SELECT p.promotion_id AS "promotion_id: PromotionId", p.run_id AS "run_id: RunId", p.environment,
               p.from_version_id AS "from_version: VersionId", f.name AS "from_name?",
               p.to_version_id AS "to_version: VersionId", t.name AS to_name, p.promoted_at, p.promoted_by,
               p.reason
        FROM promotions p
        LEFT JOIN model_versions f ON f.model_version_id = p.from_version_id
        JOIN model_versions t ON t.model_version_id = p.to_version_id
        WHERE p.project_id = $1 AND ($2::uuid IS NULL OR p.model_id = $2)
        ORDER BY p.promoted_at, p.promotion_id
        "#,
        project_id.0,
        model_id.map(|id| id.0)
    )
    .fetch_all(conn)
    .await
}

/// The service's own secret of that name; `fresh` is kept and returned if there was none.
pub async fn service_key(
    conn: &mut PgConnection,
    name: &str,
    fresh: &[u8],
) -> sqlx::Result<Vec<u8>> {
    sqlx::query!(
        "INSERT INTO service_keys (name, secret) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        name,
        fresh
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!("SELECT secret FROM service_keys WHERE name = $1", name)
        .fetch_one(conn)
        .await
}
