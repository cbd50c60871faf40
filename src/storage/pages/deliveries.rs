//! Messages on their way out, and what became of each attempt.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::ids::{AlertId, DeliveryId, ProjectId};

/// A message to a receiver.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    pub delivery_id: DeliveryId,
    pub model: Option<String>,
    pub alert_id: Option<AlertId>,
    pub alert_summary: Option<String>,
    pub receiver: String,
    pub channel: String,
    pub reason: String,
    pub severity: String,
    pub message: Value,
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub not_before: DateTime<Utc>,
    pub attempts: i32,
    pub delivered_at: Option<DateTime<Utc>>,
    pub cause: Option<String>,
}

/// The newest deliveries of a project.
pub async fn deliveries(
    conn: &mut PgConnection,
    project: ProjectId,
) -> sqlx::Result<Vec<DeliveryRow>> {
    sqlx::query_as!(
        DeliveryRow,
        r#"
        SELECT d.delivery_id AS "delivery_id!: DeliveryId", m.name AS "model?",
               d.alert_id AS "alert_id: AlertId", a.summary AS "alert_summary?",
               d.receiver AS "receiver!", d.channel AS "channel!", d.reason AS "reason!",
               d.severity AS "severity!", d.message AS "message!", d.state AS "state!",
               d.created_at AS "created_at!", d.not_before AS "not_before!",
               d.attempts AS "attempts!", d.delivered_at, d.cause
          FROM deliveries d
          LEFT JOIN models m ON m.model_id = d.model_id
          LEFT JOIN alerts a ON a.alert_id = d.alert_id
         WHERE d.project_id = $1
         ORDER BY d.created_at DESC, d.delivery_id DESC
         LIMIT 200
        "#,
        project.0
    )
    .fetch_all(conn)
    .await
}

/// The deliveries of an alert, oldest first.
pub async fn deliveries_of_alert(
    conn: &mut PgConnection,
    project: ProjectId,
    alert: AlertId,
) -> sqlx::Result<Vec<DeliveryRow>> {
    sqlx::query_as!(
        DeliveryRow,
        r#"
        SELECT d.delivery_id AS "delivery_id!: DeliveryId", m.name AS "model?",
               d.alert_id AS "alert_id: AlertId", a.summary AS "alert_summary?",
               d.receiver AS "receiver!", d.channel AS "channel!", d.reason AS "reason!",
               d.severity AS "severity!", d.message AS "message!", d.state AS "state!",
               d.created_at AS "created_at!", d.not_before AS "not_before!",
               d.attempts AS "attempts!", d.delivered_at, d.cause
          FROM deliveries d
          LEFT JOIN models m ON m.model_id = d.model_id
          LEFT JOIN alerts a ON a.alert_id = d.alert_id
         WHERE d.project_id = $1 AND d.alert_id = $2
         ORDER BY d.created_at, d.delivery_id
        "#,
        project.0,
        alert.0
    )
    .fetch_all(conn)
    .await
}

/// One delivery.
pub async fn delivery(
    conn: &mut PgConnection,
    project: ProjectId,
    delivery: DeliveryId,
) -> sqlx::Result<Option<DeliveryRow>> {
    sqlx::query_as!(
        DeliveryRow,
        r#"
        SELECT d.delivery_id AS "delivery_id!: DeliveryId", m.name AS "model?",
               d.alert_id AS "alert_id: AlertId", a.summary AS "alert_summary?",
               d.receiver AS "receiver!", d.channel AS "channel!", d.reason AS "reason!",
               d.severity AS "severity!", d.message AS "message!", d.state AS "state!",
               d.created_at AS "created_at!", d.not_before AS "not_before!",
               d.attempts AS "attempts!", d.delivered_at, d.cause
          FROM deliveries d
          LEFT JOIN models m ON m.model_id = d.model_id
          LEFT JOIN alerts a ON a.alert_id = d.alert_id
         WHERE d.project_id = $1 AND d.delivery_id = $2
        "#,
        project.0,
        delivery.0
    )
    .fetch_optional(conn)
    .await
}

/// One try to deliver.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    pub attempt: i32,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub outcome: String,
    pub detail: String,
}

/// The attempts of a delivery, oldest first.
pub async fn attempts(
    conn: &mut PgConnection,
    delivery: DeliveryId,
) -> sqlx::Result<Vec<AttemptRow>> {
    sqlx::query_as!(
        AttemptRow,
        r#"
        SELECT attempt, started_at, finished_at, outcome, detail
          FROM delivery_attempts
         WHERE delivery_id = $1
         ORDER BY attempt
        "#,
        delivery.0
    )
    .fetch_all(conn)
    .await
}
