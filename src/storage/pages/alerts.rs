//! Alerts and their history.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::ids::{AlertId, ModelId, ProjectId};

/// An alert with the names of what it is about.
#[derive(Debug, Clone)]
pub struct AlertRow {
    pub alert_id: AlertId,
    /// Nothing, and no name, of an alert of the project itself.
    pub model_id: Option<ModelId>,
    pub model: String,
    pub version: Option<String>,
    pub unit: String,
    pub rule: String,
    pub severity: String,
    pub summary: String,
    pub condition: String,
    pub since: DateTime<Utc>,
    pub fired_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub evidence: Value,
    pub explanation: Value,
    pub runbook: Option<String>,
    pub runbook_text: Option<String>,
}

/// The newest alerts of a project, open ones first; only the open ones when `open_only`.
pub async fn alerts(
    conn: &mut PgConnection,
    project: ProjectId,
    open_only: bool,
) -> sqlx::Result<Vec<AlertRow>> {
    sqlx::query_as!(
        AlertRow,
        r#"
        SELECT a.alert_id AS "alert_id!: AlertId", a.model_id AS "model_id: ModelId", COALESCE(m.name, '') AS "model!",
               v.name AS "version?", COALESCE(m.unit, '') AS "unit!", a.rule AS "rule!", a.severity AS "severity!",
               a.summary AS "summary!", a.condition AS "condition!", a.since AS "since!",
               a.fired_at AS "fired_at!", a.last_seen_at AS "last_seen_at!", a.resolved_at,
               a.value, a.threshold, a.evidence AS "evidence!", a.explanation AS "explanation!",
               a.runbook, NULL::text AS runbook_text
          FROM alerts a
          LEFT JOIN models m USING (model_id)
          LEFT JOIN model_versions v ON v.model_version_id = a.model_version_id
         WHERE a.project_id = $1 AND (a.resolved_at IS NULL OR NOT $2)
         ORDER BY a.resolved_at IS NULL DESC, a.fired_at DESC
         LIMIT 200
        "#,
        project.0,
        open_only
    )
    .fetch_all(conn)
    .await
}

/// The newest alerts of a model, open ones first.
pub async fn alerts_of_model(
    conn: &mut PgConnection,
    project: ProjectId,
    model: ModelId,
) -> sqlx::Result<Vec<AlertRow>> {
    sqlx::query_as!(
        AlertRow,
        r#"
        SELECT a.alert_id AS "alert_id!: AlertId", a.model_id AS "model_id: ModelId", COALESCE(m.name, '') AS "model!",
               v.name AS "version?", COALESCE(m.unit, '') AS "unit!", a.rule AS "rule!", a.severity AS "severity!",
               a.summary AS "summary!", a.condition AS "condition!", a.since AS "since!",
               a.fired_at AS "fired_at!", a.last_seen_at AS "last_seen_at!", a.resolved_at,
               a.value, a.threshold, a.evidence AS "evidence!", a.explanation AS "explanation!",
               a.runbook, NULL::text AS runbook_text
          FROM alerts a
          LEFT JOIN models m USING (model_id)
          LEFT JOIN model_versions v ON v.model_version_id = a.model_version_id
         WHERE a.project_id = $1 AND a.model_id = $2
         ORDER BY a.resolved_at IS NULL DESC, a.fired_at DESC
         LIMIT 20
        "#,
        project.0,
        model.0
    )
    .fetch_all(conn)
    .await
}

/// One alert, with the text of its runbook.
pub async fn alert(
    conn: &mut PgConnection,
    project: ProjectId,
    alert: AlertId,
) -> sqlx::Result<Option<AlertRow>> {
    sqlx::query_as!(
        AlertRow,
        r#"
        SELECT a.alert_id AS "alert_id!: AlertId", a.model_id AS "model_id: ModelId", COALESCE(m.name, '') AS "model!",
               v.name AS "version?", COALESCE(m.unit, '') AS "unit!", a.rule AS "rule!", a.severity AS "severity!",
               a.summary AS "summary!", a.condition AS "condition!", a.since AS "since!",
               a.fired_at AS "fired_at!", a.last_seen_at AS "last_seen_at!", a.resolved_at,
               a.value, a.threshold, a.evidence AS "evidence!", a.explanation AS "explanation!",
               a.runbook, d.body->>'text' AS "runbook_text?"
          FROM alerts a
          LEFT JOIN models m USING (model_id)
          LEFT JOIN model_versions v ON v.model_version_id = a.model_version_id
          LEFT JOIN definitions d
                 ON d.project_id = a.project_id AND d.kind = 'runbook' AND d.name = a.runbook
         WHERE a.project_id = $1 AND a.alert_id = $2
        "#,
        project.0,
        alert.0
    )
    .fetch_optional(conn)
    .await
}

/// A step of an alert's life.
#[derive(Debug, Clone)]
pub struct AlertEvent {
    pub at: DateTime<Utc>,
    pub kind: String,
    pub text: String,
    pub actor: String,
}

/// The life of an alert, oldest first.
pub async fn alert_events(
    conn: &mut PgConnection,
    alert: AlertId,
) -> sqlx::Result<Vec<AlertEvent>> {
    sqlx::query_as!(
        AlertEvent,
        "SELECT at, kind, text, actor FROM alert_events WHERE alert_id = $1 ORDER BY sequence",
        alert.0
    )
    .fetch_all(conn)
    .await
}
