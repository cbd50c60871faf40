//! The labels of base windows by when they were observed, as bytes that `domain::objective` reads and writes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId, VersionId};

/// A base window whose labels are not counted as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    pub window_start: DateTime<Utc>,
    pub revision: i64,
    /// What was counted before, if it was by the same course.
    pub counts: Option<Vec<u8>>,
}

/// Whose counts: a version's, for a monitor.
pub type Course<'a> = (VersionId, &'a str);

/// The base windows of a version with labels that start in `[from, to)` and have changed since they were counted, or were
/// counted by what was right in another way; the oldest first.
pub async fn stale(
    conn: &mut PgConnection,
    (version_id, monitor): Course<'_>,
    course: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<Stale>> {
    sqlx::query_as!(
        Stale,
        r#"
        SELECT w.window_start, w.revision,
               CASE WHEN c.course = $3 THEN c.counts END AS "counts?"
        FROM window_states w
        LEFT JOIN objective_counts c ON c.model_version_id = w.model_version_id AND c.monitor = $2
                                    AND c.window_start = w.window_start
        WHERE w.model_version_id = $1 AND w.window_start >= $4 AND w.window_start < $5 AND w.labels > 0
          AND (c.revision IS DISTINCT FROM w.revision OR c.course IS DISTINCT FROM $3)
        ORDER BY w.window_start
        "#,
        version_id.0,
        monitor,
        course,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// The counts of a base window.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCounts {
    pub window_start: DateTime<Utc>,
    /// That of the base window when it was counted.
    pub revision: i64,
    pub last_observed_at: DateTime<Utc>,
    pub counts: Vec<u8>,
}

/// Puts counts of a base window in the place of earlier ones.
pub async fn put(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    (version_id, monitor): Course<'_>,
    course: &str,
    stored: &StoredCounts,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO objective_counts (model_version_id, monitor, window_start, project_id, model_id, revision, course,
                                      last_observed_at, counts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (model_version_id, monitor, window_start) DO UPDATE
        SET revision = EXCLUDED.revision, course = EXCLUDED.course, last_observed_at = EXCLUDED.last_observed_at,
            counts = EXCLUDED.counts
        "#,
        version_id.0,
        monitor,
        stored.window_start,
        project_id.0,
        model_id.0,
        stored.revision,
        course,
        stored.last_observed_at,
        stored.counts
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The counts of a version's base windows before `to` that have labels observed after `since`; with where they are from.
pub async fn observed_since(
    conn: &mut PgConnection,
    (version_id, monitor): Course<'_>,
    since: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<StoredCounts>> {
    sqlx::query_as!(
        StoredCounts,
        r#"
        SELECT window_start, revision, last_observed_at, counts
        FROM objective_counts
        WHERE model_version_id = $1 AND monitor = $2 AND last_observed_at > $3 AND window_start < $4
        ORDER BY window_start
        "#,
        version_id.0,
        monitor,
        since,
        to
    )
    .fetch_all(conn)
    .await
}
