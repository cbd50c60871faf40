//! The outbox: messages on their way to receivers, leased while they are sent.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ids::{AlertId, DeliveryId, ModelId, ProjectId};
use crate::domain::rule::Severity;

/// A message to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery<'a> {
    pub delivery_id: DeliveryId,
    pub project_id: ProjectId,
    pub model_id: Option<ModelId>,
    pub alert_id: Option<AlertId>,
    pub receiver: &'a str,
    pub channel: &'a str,
    pub reason: &'a str,
    pub severity: Severity,
    pub message: &'a serde_json::Value,
}

/// Puts a message into the outbox.
pub async fn insert(
    conn: &mut PgConnection,
    delivery: NewDelivery<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO deliveries (delivery_id, project_id, model_id, alert_id, receiver, channel, reason, severity,
                                message, state, created_at, not_before, attempts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'waiting', $10, $10, 0)
        "#,
        delivery.delivery_id.0,
        delivery.project_id.0,
        delivery.model_id.map(|id| id.0),
        delivery.alert_id.map(|id| id.0),
        delivery.receiver,
        delivery.channel,
        delivery.reason,
        delivery.severity as Severity,
        delivery.message,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A leased delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Leased {
    pub delivery_id: DeliveryId,
    pub project_id: ProjectId,
    pub alert_id: Option<AlertId>,
    pub receiver: String,
    pub channel: String,
    pub message: serde_json::Value,
    pub attempts: i32,
}

/// Leases the most severe, newest delivery that is due and not leased, and records the attempt as started.
/// Messages of one alert to one receiver keep their order: one waits while an earlier one is undelivered.
///
/// Due times are on the service's clock (which may be replayed); leases are on the wall clock, because they
/// bound how long a dead process is waited for.
pub async fn lease(
    conn: &mut PgConnection,
    lease_token: Uuid,
    now: DateTime<Utc>,
    wall_now: DateTime<Utc>,
    lease_expires_at: DateTime<Utc>,
) -> sqlx::Result<Option<Leased>> {
    let leased = sqlx::query_as!(
        Leased,
        r#"
        UPDATE deliveries
        SET lease_token = $1, lease_expires_at = $4, attempts = attempts + 1
        WHERE delivery_id = (
            SELECT d.delivery_id
            FROM deliveries d
            WHERE d.state = 'waiting' AND d.not_before <= $2
              AND (d.lease_expires_at IS NULL OR d.lease_expires_at < $3)
              AND NOT EXISTS (
                  SELECT FROM deliveries earlier
                  WHERE earlier.alert_id = d.alert_id AND earlier.receiver = d.receiver
                    AND earlier.state = 'waiting' AND earlier.delivery_id < d.delivery_id
              )
            ORDER BY array_position(ARRAY['critical', 'warning', 'info'], d.severity), d.created_at DESC,
                     d.delivery_id
            LIMIT 1
            FOR UPDATE OF d SKIP LOCKED
        )
        RETURNING delivery_id AS "delivery_id: DeliveryId", project_id AS "project_id: ProjectId",
                  alert_id AS "alert_id: AlertId", receiver, channel, message, attempts
        "#,
        lease_token,
        now,
        wall_now,
        lease_expires_at
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(delivery) = &leased {
        sqlx::query!(
            r#"
            INSERT INTO delivery_attempts (delivery_id, attempt, started_at, outcome, detail)
            VALUES ($1, $2, $3, 'started', '')
            "#,
            delivery.delivery_id.0,
            delivery.attempts,
            now
        )
        .execute(conn)
        .await?;
    }
    Ok(leased)
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptOutcome {
    Delivered {
        detail: String,
    },
    Retry {
        cause: String,
        not_before: DateTime<Utc>,
    },
    Permanent {
        cause: String,
    },
}

/// Ends a lease with an outcome; ignored when the lease was lost in the meantime (returns false).
pub async fn finish(
    conn: &mut PgConnection,
    leased: &Leased,
    lease_token: Uuid,
    outcome: &AttemptOutcome,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let (state, word, detail, not_before) = match outcome {
        AttemptOutcome::Delivered { detail } => ("delivered", "delivered", detail, now),
        AttemptOutcome::Retry { cause, not_before } => ("waiting", "retry", cause, *not_before),
        AttemptOutcome::Permanent { cause } => ("failed", "permanent", cause, now),
    };
    let result = sqlx::query!(
        r#"
        UPDATE deliveries
        SET state = $3, not_before = $4, lease_token = NULL, lease_expires_at = NULL,
            delivered_at = CASE WHEN $3 = 'delivered' THEN $5 ELSE delivered_at END,
            cause = CASE WHEN $3 = 'delivered' THEN NULL ELSE $6 END
        WHERE delivery_id = $1 AND lease_token = $2
        "#,
        leased.delivery_id.0,
        lease_token,
        state,
        not_before,
        now,
        detail
    )
    .execute(&mut *conn)
    .await?;
    if result.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        r#"
        UPDATE delivery_attempts
        SET finished_at = $3, outcome = $4, detail = $5
        WHERE delivery_id = $1 AND attempt = $2
        "#,
        leased.delivery_id.0,
        leased.attempts,
        now,
        word,
        detail
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// A delivery as the API lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub delivery_id: DeliveryId,
    pub alert_id: Option<AlertId>,
    pub receiver: String,
    pub channel: String,
    pub reason: String,
    pub severity: Severity,
    pub message: serde_json::Value,
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub attempts: i32,
    pub cause: Option<String>,
}

/// The deliveries of a project, newest first.
pub async fn list(
    conn: &mut PgConnection,
    project_id: ProjectId,
    limit: i64,
) -> sqlx::Result<Vec<Delivery>> {
    sqlx::query_as!(
        Delivery,
        r#"
        SELECT delivery_id AS "delivery_id: DeliveryId", alert_id AS "alert_id: AlertId", receiver, channel, reason,
               severity AS "severity: Severity", message, state, created_at, delivered_at, attempts, cause
        FROM deliveries
        WHERE project_id = $1
        ORDER BY created_at DESC, delivery_id DESC
        LIMIT $2
        "#,
        project_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}
