//! The record of who changed what, when. A row is written in the transaction of the change it tells of, so
//! that neither can exist without the other; rows are never updated or deleted by the service.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::ids::{AuditEventId, ProjectId};

/// One change, as it is recorded.
#[derive(Debug)]
pub struct AuditEvent<'a> {
    /// The project it belongs to; `None` for changes of the service as a whole.
    pub project_id: Option<ProjectId>,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Who did it: `person:EMAIL`, `token:NAME` or the name of a part of the service.
    pub actor: &'a str,
    /// What was done, as `object.verb_in_the_past`.
    pub action: &'a str,
    /// The kind of thing it was done to.
    pub object_kind: &'a str,
    /// Which one.
    pub object_id: &'a str,
    /// What else is worth knowing. Never a secret.
    pub detail: Value,
}

/// Records a change, in the caller's transaction.
pub async fn record(conn: &mut PgConnection, event: &AuditEvent<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO audit_events
            (audit_event_id, project_id, at, actor, action, object_kind, object_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        AuditEventId::new(event.at).0,
        event.project_id.map(|id| id.0),
        event.at,
        event.actor,
        event.action,
        event.object_kind,
        event.object_id,
        event.detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A recorded change.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// The kind of thing it was done to.
    pub object_kind: String,
    /// Which one.
    pub object_id: String,
    /// What else is known about it.
    pub detail: Value,
}

/// The latest changes in a project, newest first.
pub async fn latest(
    conn: &mut PgConnection,
    project_id: ProjectId,
    limit: i64,
) -> sqlx::Result<Vec<AuditRow>> {
    sqlx::query_as!(
        AuditRow,
        "SELECT at, actor, action, object_kind, object_id, detail
         FROM audit_events
         WHERE project_id = $1
         ORDER BY at DESC, audit_event_id DESC
         LIMIT $2",
        project_id.0,
        limit,
    )
    .fetch_all(conn)
    .await
}
