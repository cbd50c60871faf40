//! Files of rows that were imported, known by what they hold.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::intake::BatchKind;
use crate::domain::ids::{ModelId, ProjectId};

/// Which file: what it holds, as what, and for which version (empty when its rows name theirs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKey {
    pub model_id: ModelId,
    pub kind: BatchKind,
    pub version: String,
    pub sha256: Vec<u8>,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFile {
    pub kind: BatchKind,
    pub version: String,
    pub sha256: Vec<u8>,
    pub name: String,
    pub format: String,
    pub bytes: i64,
    /// How many of its records were taken, from the first on.
    pub records: i64,
    pub received: i64,
    pub kept: i64,
    pub rejected: i64,
    /// `sending` or `complete`.
    pub state: String,
    pub imported_by: String,
    pub started_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

/// What a file is called by whoever sends it.
#[derive(Debug, Clone)]
pub struct Described<'a> {
    pub name: &'a str,
    pub format: &'a str,
    pub bytes: i64,
}

/// Enters a file unless it is known.
pub async fn enter(
    conn: &mut PgConnection,
    project_id: ProjectId,
    key: &FileKey,
    described: &Described<'_>,
    (by, now): (&str, DateTime<Utc>),
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO imported_files (project_id, model_id, kind, version, sha256, name, format, bytes, records, received,
                                    kept, rejected, state, imported_by, started_at, changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, 'sending', $9, $10, $10)
        ON CONFLICT DO NOTHING
        "#,
        project_id.0,
        key.model_id.0,
        key.kind.as_str(),
        key.version,
        key.sha256,
        described.name,
        described.format,
        described.bytes,
        by,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A file that is known.
pub async fn find(conn: &mut PgConnection, key: &FileKey) -> sqlx::Result<Option<ImportedFile>> {
    sqlx::query_as!(
        ImportedFile,
        r#"
        SELECT kind AS "kind: BatchKind", version, sha256, name, format, bytes, records, received, kept, rejected,
               state, imported_by, started_at, changed_at
        FROM imported_files
        WHERE model_id = $1 AND kind = $2 AND version = $3 AND sha256 = $4
        "#,
        key.model_id.0,
        key.kind.as_str(),
        key.version,
        key.sha256
    )
    .fetch_optional(conn)
    .await
}

/// What became of a stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// From which record on, and before which.
    pub from: i64,
    pub to: i64,
    pub received: i64,
    pub kept: i64,
    pub rejected: i64,
    /// Whether that was the last of it.
    pub complete: bool,
}

/// Notes that a stretch was taken, if nobody else has noted it: `from` is where the file stood.
pub async fn advance(
    conn: &mut PgConnection,
    key: &FileKey,
    progress: Progress,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE imported_files
        SET records = $6, received = received + $7, kept = kept + $8, rejected = rejected + $9,
            state = CASE WHEN $10 THEN 'complete' ELSE state END, changed_at = $11
        WHERE model_id = $1 AND kind = $2 AND version = $3 AND sha256 = $4 AND records = $5 AND state = 'sending'
        "#,
        key.model_id.0,
        key.kind.as_str(),
        key.version,
        key.sha256,
        progress.from,
        progress.to,
        progress.received,
        progress.kept,
        progress.rejected,
        progress.complete,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The files of a model, the last changed first.
pub async fn of_model(
    conn: &mut PgConnection,
    model_id: ModelId,
    limit: i64,
) -> sqlx::Result<Vec<ImportedFile>> {
    sqlx::query_as!(
        ImportedFile,
        r#"
        SELECT kind AS "kind: BatchKind", version, sha256, name, format, bytes, records, received, kept, rejected,
               state, imported_by, started_at, changed_at
        FROM imported_files
        WHERE model_id = $1
        ORDER BY changed_at DESC, sha256
        LIMIT $2
        "#,
        model_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}
