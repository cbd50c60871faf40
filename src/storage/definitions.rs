//! Objects brought in by `bellwether apply`, with the file and revision they came from.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::ProjectId;

/// One applied object.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDefinition {
    pub kind: String,
    pub name: String,
    pub file: String,
    pub line: i32,
    pub revision: String,
    pub body: serde_json::Value,
    pub applied_at: DateTime<Utc>,
    pub applied_by: String,
}

/// Waits until nobody else changes the objects of a project, and keeps others from it until the transaction ends.
pub async fn take_turn(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<()> {
    let (_, last) = project_id
        .0
        .as_bytes()
        .split_last_chunk()
        .expect("16 bytes");
    sqlx::query!(
        "SELECT pg_advisory_xact_lock($1)",
        i64::from_be_bytes(*last)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All objects of a project, or those of one kind.
pub async fn list(
    conn: &mut PgConnection,
    project_id: ProjectId,
    kind: Option<&str>,
) -> sqlx::Result<Vec<StoredDefinition>> {
    sqlx::query_as!(
        StoredDefinition,
        r#"
        SELECT kind, name, file, line, revision, body, applied_at, applied_by
        FROM definitions
        WHERE project_id = $1 AND ($2::text IS NULL OR kind = $2)
        ORDER BY kind, name
        "#,
        project_id.0,
        kind
    )
    .fetch_all(conn)
    .await
}

/// One object.
pub async fn find(
    conn: &mut PgConnection,
    project_id: ProjectId,
    kind: &str,
    name: &str,
) -> sqlx::Result<Option<StoredDefinition>> {
    sqlx::query_as!(
        StoredDefinition,
        r#"
        SELECT kind, name, file, line, revision, body, applied_at, applied_by
        FROM definitions
        WHERE project_id = $1 AND kind = $2 AND name = $3
        "#,
        project_id.0,
        kind,
        name
    )
    .fetch_optional(conn)
    .await
}

/// Adds or replaces an object. An unchanged body keeps its revision and time; returns whether it changed.
pub async fn put(
    conn: &mut PgConnection,
    project_id: ProjectId,
    definition: &StoredDefinition,
) -> sqlx::Result<bool> {
    let result = sqlx::query!(
        r#"
        INSERT INTO definitions (project_id, kind, name, file, line, revision, body, applied_at, applied_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (project_id, kind, name) DO UPDATE
        SET file = EXCLUDED.file, line = EXCLUDED.line, revision = EXCLUDED.revision, body = EXCLUDED.body,
            applied_at = EXCLUDED.applied_at, applied_by = EXCLUDED.applied_by
        WHERE definitions.body IS DISTINCT FROM EXCLUDED.body
           OR definitions.file IS DISTINCT FROM EXCLUDED.file
           OR definitions.line IS DISTINCT FROM EXCLUDED.line
        "#,
        project_id.0,
        definition.kind,
        definition.name,
        definition.file,
        definition.line,
        definition.revision,
        definition.body,
        definition.applied_at,
        definition.applied_by
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Removes the objects of a kind that are not among `keep`; returns their names.
pub async fn remove_others(
    conn: &mut PgConnection,
    project_id: ProjectId,
    kind: &str,
    keep: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "DELETE FROM definitions WHERE project_id = $1 AND kind = $2 AND NOT name = ANY($3) RETURNING name",
        project_id.0,
        kind,
        keep
    )
    .fetch_all(conn)
    .await
}
