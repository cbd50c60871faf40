//! What stands around every page: open alerts, questions that wait, and whether an answer is durable.

use sqlx::PgConnection;

use crate::domain::ids::ProjectId;

/// Counts for the navigation.
#[derive(Debug, Clone)]
pub struct Frame {
    pub project: String,
    pub open_alerts: i64,
    pub waiting_approvals: i64,
}

/// Counts of what is open in a project.
pub async fn frame(conn: &mut PgConnection, project: ProjectId) -> sqlx::Result<Option<Frame>> {
    sqlx::query_as!(
        Frame,
        r#"
        SELECT p.name AS project,
               (SELECT count(*) FROM alerts a
                 WHERE a.project_id = p.project_id AND a.resolved_at IS NULL) AS "open_alerts!",
               (SELECT count(*) FROM approvals q
                 WHERE q.project_id = p.project_id AND q.decision IS NULL) AS "waiting_approvals!"
          FROM projects p
         WHERE p.project_id = $1
        "#,
        project.0
    )
    .fetch_optional(conn)
    .await
}

/// The settings of the database server that decide whether a commit survives a power cut.
#[derive(Debug, Clone)]
pub struct Durability {
    pub fsync: String,
    pub synchronous_commit: String,
    pub full_page_writes: String,
    pub server_version: String,
}

impl Durability {
    /// The settings that lose acknowledged data when the machine loses power; empty when all is well.
    #[must_use]
    pub fn weak(&self) -> Vec<&'static str> {
        [
            ("fsync", &self.fsync),
            ("synchronous_commit", &self.synchronous_commit),
            ("full_page_writes", &self.full_page_writes),
        ]
        .into_iter()
        .filter(|(_, value)| value.as_str() == "off")
        .map(|(name, _)| name)
        .collect()
    }
}

/// Reads the server's durability settings, as this connection sees them.
pub async fn durability(conn: &mut PgConnection) -> sqlx::Result<Durability> {
    sqlx::query_as!(
        Durability,
        r#"
        SELECT current_setting('fsync') AS "fsync!",
               current_setting('synchronous_commit') AS "synchronous_commit!",
               current_setting('full_page_writes') AS "full_page_writes!",
               current_setting('server_version') AS "server_version!"
        "#
    )
    .fetch_one(conn)
    .await
}
