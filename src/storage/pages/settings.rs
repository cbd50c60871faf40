//! Where configured objects came from.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::ProjectId;

/// A configured object and the file and revision it came from.
#[derive(Debug, Clone)]
pub struct DefinitionRow {
    pub kind: String,
    pub name: String,
    pub file: String,
    pub line: i32,
    pub revision: String,
    pub applied_at: DateTime<Utc>,
    pub applied_by: String,
}

/// The configured objects of a project, by kind and name.
pub async fn definitions(
    conn: &mut PgConnection,
    project: ProjectId,
) -> sqlx::Result<Vec<DefinitionRow>> {
    sqlx::query_as!(
        DefinitionRow,
        r#"
        SELECT kind, name, file, line, revision, applied_at, applied_by
          FROM definitions
         WHERE project_id = $1
         ORDER BY kind, name
        "#,
        project.0
    )
    .fetch_all(conn)
    .await
}
