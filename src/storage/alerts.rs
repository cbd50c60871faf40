//! Rule states, alerts and their history.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::alert::RuleState;
use crate::domain::ids::{AlertId, ModelId, ProjectId, RunId, VersionId};
use crate::domain::rule::Severity;
use crate::domain::window::Window;

/// Where a rule stands, with the open alert.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredState {
    pub state: RuleState,
    pub alert_id: Option<AlertId>,
    pub version: i64,
}

/// The state of a rule on a model; `None` before its first step.
pub async fn state(
    conn: &mut PgConnection,
    model_id: ModelId,
    rule: &str,
) -> sqlx::Result<Option<StoredState>> {
    let row = sqlx::query!(
        r#"
        SELECT state AS "state: Json<RuleState>", alert_id AS "alert_id: AlertId", version
        FROM rule_states
        WHERE model_id = $1 AND rule = $2
        "#,
        model_id.0,
        rule
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| StoredState {
        state: r.state.0,
        alert_id: r.alert_id,
        version: r.version,
    }))
}

/// Stores a rule's state if it is still at `expected_version` (0 before the first step); returns whether it
/// was. A `false` means that somebody else stepped it, and the caller must start over.
pub async fn put_state(
    conn: &mut PgConnection,
    (project_id, model_id, rule): (ProjectId, ModelId, &str),
    state: &RuleState,
    alert_id: Option<AlertId>,
    expected_version: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        r#"
        INSERT INTO rule_states (project_id, model_id, rule, state, alert_id, version, stepped_at)
        VALUES ($1, $2, $3, $4, $5, $6::bigint + 1, $7)
        ON CONFLICT (model_id, rule) DO UPDATE
        SET state = EXCLUDED.state, alert_id = EXCLUDED.alert_id, version = EXCLUDED.version,
            stepped_at = EXCLUDED.stepped_at
        WHERE rule_states.version = $6
        "#,
        project_id.0,
        model_id.0,
        rule,
        Json(state) as _,
        alert_id.map(|id| id.0),
        expected_version,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub alert_id: AlertId,
    pub project_id: ProjectId,
    /// Nothing of an alert of the project itself.
    pub model_id: Option<ModelId>,
    pub version_id: Option<VersionId>,
    pub rule: String,
    pub severity: Severity,
    pub summary: String,
    pub condition: String,
    pub since: DateTime<Utc>,
    pub fired_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub evidence: serde_json::Value,
    pub explanation: serde_json::Value,
    pub runbook: Option<String>,
    /// It opened because of a window that had ended long before, and nobody has been told of it.
    pub late: bool,
}

/// Stores a new alert.
pub async fn insert(conn: &mut PgConnection, alert: &Alert) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO alerts (alert_id, project_id, model_id, model_version_id, rule, severity, summary, condition,
                            since, fired_at, last_seen_at, value, threshold, evidence, explanation, runbook,
                            late, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 1)
        "#,
        alert.alert_id.0,
        alert.project_id.0,
        alert.model_id.map(|id| id.0),
        alert.version_id.map(|id| id.0),
        alert.rule,
        alert.severity as Severity,
        alert.summary,
        alert.condition,
        alert.since,
        alert.fired_at,
        alert.last_seen_at,
        alert.value,
        alert.threshold,
        alert.evidence,
        alert.explanation,
        alert.runbook,
        alert.late
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a further window confirmed an open alert.
pub async fn mark_seen(
    conn: &mut PgConnection,
    alert_id: AlertId,
    value: f64,
    evidence: &serde_json::Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE alerts
        SET last_seen_at = $2, value = $3, evidence = $4, version = version + 1
        WHERE alert_id = $1
        "#,
        alert_id.0,
        now,
        value,
        evidence
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends an open alert.
pub async fn mark_resolved(
    conn: &mut PgConnection,
    alert_id: AlertId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE alerts
        SET resolved_at = $2, version = version + 1
        WHERE alert_id = $1 AND resolved_at IS NULL
        "#,
        alert_id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that people are told of an alert that opened late.
pub async fn mark_told(conn: &mut PgConnection, alert_id: AlertId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE alerts SET late = false, version = version + 1 WHERE alert_id = $1",
        alert_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The resolved alerts of a version that were open about a window, each with its rule.
pub async fn resolved_about(
    conn: &mut PgConnection,
    version_id: VersionId,
    window: Window,
) -> sqlx::Result<Vec<(AlertId, String)>> {
    let rows = sqlx::query!(
        r#"
        SELECT alert_id AS "alert_id: AlertId", rule
        FROM alerts
        WHERE model_version_id = $1 AND since <= $2 AND resolved_at >= $3
        ORDER BY alert_id
        "#,
        version_id.0,
        window.start,
        window.end
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.alert_id, r.rule)).collect())
}

/// One step of an alert's life.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEvent<'a> {
    pub kind: &'a str,
    pub text: &'a str,
    pub detail: serde_json::Value,
    pub actor: &'a str,
}

/// Appends to an alert's history; returns the event's number, counted from 1 without gaps.
pub async fn add_event(
    conn: &mut PgConnection,
    alert_id: AlertId,
    event: AlertEvent<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<i32> {
    // A rule, a run, and somebody who answers may have something to say at the same moment.
    sqlx::query!(
        "SELECT alert_id FROM alerts WHERE alert_id = $1 FOR NO KEY UPDATE",
        alert_id.0
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"
        INSERT INTO alert_events (alert_id, sequence, at, kind, text, detail, actor)
        VALUES ($1, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM alert_events WHERE alert_id = $1), $2, $3, $4,
                $5, $6)
        RETURNING sequence
        "#,
        alert_id.0,
        now,
        event.kind,
        event.text,
        event.detail,
        event.actor
    )
    .fetch_one(conn)
    .await
}

/// One alert of the project.
pub async fn find(
    conn: &mut PgConnection,
    project_id: ProjectId,
    alert_id: AlertId,
) -> sqlx::Result<Option<Alert>> {
    sqlx::query_as!(
        Alert,
        r#"
        SELECT alert_id AS "alert_id: AlertId", project_id AS "project_id: ProjectId",
               model_id AS "model_id: ModelId", model_version_id AS "version_id: VersionId", rule,
               severity AS "severity: Severity", summary, condition, since, fired_at, last_seen_at, resolved_at,
               value, threshold, evidence, explanation, runbook, late
        FROM alerts
        WHERE project_id = $1 AND alert_id = $2
        "#,
        project_id.0,
        alert_id.0
    )
    .fetch_optional(conn)
    .await
}

/// The rules that have an open alert about a project itself, of all projects.
pub async fn open_of_projects(conn: &mut PgConnection) -> sqlx::Result<Vec<(ProjectId, String)>> {
    let rows = sqlx::query!(
        r#"
        SELECT project_id AS "project_id: ProjectId", rule
        FROM alerts
        WHERE model_id IS NULL AND resolved_at IS NULL
        "#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.project_id, r.rule)).collect())
}

/// The open alert about a project itself by that rule. Whoever opens or ends one holds the
/// project's lock ([`super::models::lock_project`]): there is one such alert at most.
pub async fn open_of_project(
    conn: &mut PgConnection,
    project_id: ProjectId,
    rule: &str,
) -> sqlx::Result<Option<Alert>> {
    sqlx::query_as!(
        Alert,
        r#"
        SELECT alert_id AS "alert_id: AlertId", project_id AS "project_id: ProjectId",
               model_id AS "model_id: ModelId", model_version_id AS "version_id: VersionId", rule,
               severity AS "severity: Severity", summary, condition, since, fired_at, last_seen_at, resolved_at,
               value, threshold, evidence, explanation, runbook, late
        FROM alerts
        WHERE project_id = $1 AND rule = $2 AND model_id IS NULL AND resolved_at IS NULL
        "#,
        project_id.0,
        rule
    )
    .fetch_optional(conn)
    .await
}

/// The alerts of a project, newest first; the open ones only when asked.
pub async fn list(
    conn: &mut PgConnection,
    project_id: ProjectId,
    open_only: bool,
    limit: i64,
) -> sqlx::Result<Vec<Alert>> {
    sqlx::query_as!(
        Alert,
        r#"
        SELECT alert_id AS "alert_id: AlertId", project_id AS "project_id: ProjectId",
               model_id AS "model_id: ModelId", model_version_id AS "version_id: VersionId", rule,
               severity AS "severity: Severity", summary, condition, since, fired_at, last_seen_at, resolved_at,
               value, threshold, evidence, explanation, runbook, late
        FROM alerts
        WHERE project_id = $1 AND (NOT $2 OR resolved_at IS NULL)
        ORDER BY fired_at DESC, alert_id DESC
        LIMIT $3
        "#,
        project_id.0,
        open_only,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The rules of the model that have an open alert, with the alert.
pub async fn open_rules(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Vec<(String, AlertId)>> {
    let rows = sqlx::query!(
        r#"
        SELECT rule, alert_id AS "alert_id: AlertId"
        FROM alerts
        WHERE model_id = $1 AND resolved_at IS NULL
        ORDER BY fired_at
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.rule, r.alert_id)).collect())
}

/// One step of an alert's life, as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    pub sequence: i32,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub text: String,
    pub detail: serde_json::Value,
    pub actor: String,
}

/// The history of an alert, oldest first.
pub async fn events(
    conn: &mut PgConnection,
    alert_id: AlertId,
) -> sqlx::Result<Vec<RecordedEvent>> {
    sqlx::query_as!(
        RecordedEvent,
        r#"
        SELECT sequence, at, kind, text, detail, actor
        FROM alert_events
        WHERE alert_id = $1
        ORDER BY sequence
        "#,
        alert_id.0
    )
    .fetch_all(conn)
    .await
}

/// The runs that an alert started, oldest first.
pub async fn run_ids(conn: &mut PgConnection, alert_id: AlertId) -> sqlx::Result<Vec<RunId>> {
    sqlx::query_scalar!(
        r#"SELECT run_id AS "run_id: RunId" FROM runs WHERE alert_id = $1 ORDER BY run_id"#,
        alert_id.0
    )
    .fetch_all(conn)
    .await
}
