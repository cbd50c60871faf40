//! Base windows: what each has seen, what has changed since it was measured.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId, VersionId};
use crate::domain::window::{Grain, Window};

/// What a batch added to one base window of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowAddition {
    pub version_id: VersionId,
    pub window_start: DateTime<Utc>,
    pub predictions: u64,
    pub errors: u64,
    pub labels: u64,
    pub last_event_at: DateTime<Utc>,
}

/// Adds to a base window, marks it changed and pending.
pub async fn add(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    addition: &WindowAddition,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO window_states (model_version_id, window_start, project_id, model_id, predictions, errors,
                                   labels, revision, pending, last_event_at, last_changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 1, true, $8, $9)
        ON CONFLICT (model_version_id, window_start) DO UPDATE
        SET predictions = window_states.predictions + EXCLUDED.predictions,
            errors = window_states.errors + EXCLUDED.errors,
            labels = window_states.labels + EXCLUDED.labels,
            revision = window_states.revision + 1,
            pending = true,
            last_event_at = GREATEST(window_states.last_event_at, EXCLUDED.last_event_at),
            last_changed_at = EXCLUDED.last_changed_at
        "#,
        addition.version_id.0,
        addition.window_start,
        project_id.0,
        model_id.0,
        super::intake::count(addition.predictions),
        super::intake::count(addition.errors),
        super::intake::count(addition.labels),
        addition.last_event_at,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks every window of a model changed: its grid, schema or baseline did.
pub async fn touch_all(
    conn: &mut PgConnection,
    model_id: ModelId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE window_states
        SET revision = revision + 1, pending = true, last_changed_at = $2
        WHERE model_id = $1
        "#,
        model_id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A base window that some monitor has yet to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    pub version_id: VersionId,
    pub window_start: DateTime<Utc>,
    pub revision: i64,
}

/// Models with pending base windows that started before `before`.
pub async fn models_pending(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<ModelId>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT model_id AS "model_id: ModelId"
        FROM window_states
        WHERE pending AND window_start < $1
        "#,
        before
    )
    .fetch_all(conn)
    .await
}

/// The pending base windows of a model, oldest first.
pub async fn pending(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as!(
        Pending,
        r#"
        SELECT model_version_id AS "version_id: VersionId", window_start, revision
        FROM window_states
        WHERE model_id = $1 AND pending
        ORDER BY window_start, model_version_id
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// Marks a base window measured by all monitors, unless it has changed since `pending` was read.
pub async fn clear_pending(conn: &mut PgConnection, pending: Pending) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE window_states
        SET pending = false
        WHERE model_version_id = $1 AND window_start = $2 AND revision = $3
        "#,
        pending.version_id.0,
        pending.window_start,
        pending.revision
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sums of the base windows that start in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowTotals {
    pub predictions: i64,
    pub errors: i64,
    pub labels: i64,
    pub revision: i64,
}

/// What a version's base windows in `[from, to)` have seen.
pub async fn totals(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<WindowTotals> {
    sqlx::query_as!(
        WindowTotals,
        r#"
        SELECT COALESCE(SUM(predictions), 0)::bigint AS "predictions!",
               COALESCE(SUM(errors), 0)::bigint AS "errors!",
               COALESCE(SUM(labels), 0)::bigint AS "labels!",
               COALESCE(SUM(revision), 0)::bigint AS "revision!"
        FROM window_states
        WHERE model_version_id = $1 AND window_start >= $2 AND window_start < $3
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_one(conn)
    .await
}

/// Every base window of a model: version, start.
pub async fn all(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as!(
        Pending,
        r#"
        SELECT model_version_id AS "version_id: VersionId", window_start, revision
        FROM window_states
        WHERE model_id = $1 AND predictions > 0
        ORDER BY window_start, model_version_id
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// The first and last base window of a version that saw predictions.
pub async fn span(
    conn: &mut PgConnection,
    version_id: VersionId,
) -> sqlx::Result<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"
        SELECT MIN(window_start) AS first, MAX(window_start) AS last
        FROM window_states
        WHERE model_version_id = $1 AND predictions > 0
        "#,
        version_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(row.first.zip(row.last))
}

/// The revision at which a monitor measured a window, if it did.
pub async fn measured_revision(
    conn: &mut PgConnection,
    version_id: VersionId,
    monitor: &str,
    window_start: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "SELECT revision FROM measured_windows WHERE model_version_id = $1 AND monitor = $2 AND window_start = $3",
        version_id.0,
        monitor,
        window_start
    )
    .fetch_optional(conn)
    .await
}

/// Which window of which monitor was measured.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredWindow<'a> {
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub version_id: VersionId,
    pub monitor: &'a str,
    pub window: Window,
    pub revision: i64,
}

/// Records that a monitor measured a window.
pub async fn mark_measured(
    conn: &mut PgConnection,
    measured: MeasuredWindow<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO measured_windows (project_id, model_id, model_version_id, monitor, grain, window_start,
                                      revision, measured_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (model_version_id, monitor, window_start) DO UPDATE
        SET revision = EXCLUDED.revision, measured_at = EXCLUDED.measured_at
        "#,
        measured.project_id.0,
        measured.model_id.0,
        measured.version_id.0,
        measured.monitor,
        measured.window.grain as Grain,
        measured.window.start,
        measured.revision,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many windows of monitors have been measured in a project.
pub async fn measured_count(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!" FROM measured_windows WHERE project_id = $1"#,
        project_id.0
    )
    .fetch_one(conn)
    .await
}
