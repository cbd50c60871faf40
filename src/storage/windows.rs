//! Base windows: what each has seen, what has changed since it was measured.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

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
    /// Rows that the same request sent another one of the version right before, and those of them that are earlier than
    /// that one.
    pub followers: u64,
    pub out_of_order: u64,
    /// Summary of all the window's rows by what they hold, these among them; nothing where none came.
    pub repeats: Option<Vec<u8>>,
    pub last_event_at: DateTime<Utc>,
}

/// A base window of a version.
pub type WindowKey = (VersionId, DateTime<Utc>);

/// The summaries of base windows' rows by what they hold, of those that have one.
pub async fn repeats(
    conn: &mut PgConnection,
    windows: &[WindowKey],
) -> sqlx::Result<Vec<(WindowKey, Vec<u8>)>> {
    let versions: Vec<Uuid> = windows.iter().map(|(version, _)| version.0).collect();
    let starts: Vec<DateTime<Utc>> = windows.iter().map(|(_, start)| *start).collect();
    let found = sqlx::query!(
        r#"
        SELECT w.model_version_id, w.window_start, w.repeats AS "repeats!"
        FROM unnest($1::uuid[], $2::timestamptz[]) AS wanted(version_id, start)
        JOIN window_states w ON w.model_version_id = wanted.version_id AND w.window_start = wanted.start
        WHERE w.repeats IS NOT NULL
        "#,
        &versions,
        &starts
    )
    .fetch_all(conn)
    .await?;
    Ok(found
        .into_iter()
        .map(|row| {
            let key = (VersionId(row.model_version_id), row.window_start);
            (key, row.repeats)
        })
        .collect())
}

/// The summaries of a version's base windows in `[from, to)`, and how many rows of them none accounts for.
pub async fn repeats_between(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<Option<Vec<u8>>>> {
    sqlx::query_scalar!(
        r#"
        SELECT repeats
        FROM window_states
        WHERE model_version_id = $1 AND window_start >= $2 AND window_start < $3 AND predictions > 0
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// Adds to base windows, each of which is there once, and marks them changed and pending.
pub async fn add(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    additions: &[&WindowAddition],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let counts = |of: fn(&WindowAddition) -> u64| -> Vec<i64> {
        let each = additions.iter().map(|addition| of(addition));
        each.map(super::intake::count).collect()
    };
    let versions: Vec<Uuid> = additions.iter().map(|a| a.version_id.0).collect();
    let starts: Vec<DateTime<Utc>> = additions.iter().map(|a| a.window_start).collect();
    let last_events: Vec<DateTime<Utc>> = additions.iter().map(|a| a.last_event_at).collect();
    let repeats: Vec<Option<&[u8]>> = additions.iter().map(|a| a.repeats.as_deref()).collect();
    sqlx::query!(
        r#"
        INSERT INTO window_states (model_version_id, window_start, project_id, model_id, predictions, errors,
                                   labels, out_of_order, revision, pending, last_event_at, last_changed_at,
                                   followers, repeats, last_arrived_at)
        SELECT version_id, window_start, $1, $2, predictions, errors, labels, out_of_order, 1, true, last_event_at, $3,
               followers, repeats, CASE WHEN predictions > 0 THEN $3::timestamptz END
        FROM unnest($4::uuid[], $5::timestamptz[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                    $10::timestamptz[], $11::bigint[], $12::bytea[])
             AS added(version_id, window_start, predictions, errors, labels, out_of_order, last_event_at, followers,
                      repeats)
        ON CONFLICT (model_version_id, window_start) DO UPDATE
        SET predictions = window_states.predictions + EXCLUDED.predictions,
            errors = window_states.errors + EXCLUDED.errors,
            labels = window_states.labels + EXCLUDED.labels,
            out_of_order = window_states.out_of_order + EXCLUDED.out_of_order,
            followers = window_states.followers + EXCLUDED.followers,
            repeats = COALESCE(EXCLUDED.repeats, window_states.repeats),
            revision = window_states.revision + 1,
            pending = true,
            last_event_at = GREATEST(window_states.last_event_at, EXCLUDED.last_event_at),
            last_changed_at = EXCLUDED.last_changed_at,
            -- Labels alone are no sign of life.
            last_arrived_at = GREATEST(window_states.last_arrived_at, EXCLUDED.last_arrived_at)
        "#,
        project_id.0,
        model_id.0,
        now,
        &versions,
        &starts,
        &counts(|a| a.predictions),
        &counts(|a| a.errors),
        &counts(|a| a.labels),
        &counts(|a| a.out_of_order),
        &last_events,
        &counts(|a| a.followers),
        &repeats as &[Option<&[u8]>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks every window of a model changed whose rows are there: its grid, schema or baseline did.
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
          AND window_start >= COALESCE(
              (SELECT raw_gone_before FROM project_retention r WHERE r.project_id = window_states.project_id),
              '-infinity')
        "#,
        model_id.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A base window of a version as it stood when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseWindow {
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
pub async fn pending(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<BaseWindow>> {
    sqlx::query_as!(
        BaseWindow,
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

/// Marks base windows measured by all monitors, except those that have changed since `pending` was read.
pub async fn clear_pending(conn: &mut PgConnection, pending: &[BaseWindow]) -> sqlx::Result<()> {
    if pending.is_empty() {
        return Ok(());
    }
    let versions: Vec<Uuid> = pending.iter().map(|p| p.version_id.0).collect();
    let starts: Vec<DateTime<Utc>> = pending.iter().map(|p| p.window_start).collect();
    let revisions: Vec<i64> = pending.iter().map(|p| p.revision).collect();
    sqlx::query!(
        r#"
        UPDATE window_states w
        SET pending = false
        FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS p (version_id, window_start, revision)
        WHERE w.model_version_id = p.version_id AND w.window_start = p.window_start AND w.revision = p.revision
        "#,
        &versions,
        &starts,
        &revisions
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
    pub followers: i64,
    pub out_of_order: i64,
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
               COALESCE(SUM(followers), 0)::bigint AS "followers!",
               COALESCE(SUM(out_of_order), 0)::bigint AS "out_of_order!",
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

/// The numbers of predictions of a version's windows of that length in `[from, to)`, those without any left out; the oldest first.
pub async fn counts(
    conn: &mut PgConnection,
    (version_id, grain): (VersionId, Grain),
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<(DateTime<Utc>, i64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT date_trunc($2, window_start, 'UTC') AS "start!", SUM(predictions)::bigint AS "predictions!"
        FROM window_states
        WHERE model_version_id = $1 AND window_start >= $3 AND window_start < $4 AND predictions > 0
        GROUP BY 1
        ORDER BY 1
        "#,
        version_id.0,
        grain.as_str(),
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.start, r.predictions)).collect())
}

/// Every base window of a model: version, start.
pub async fn all(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<BaseWindow>> {
    sqlx::query_as!(
        BaseWindow,
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

/// How a window of a monitor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub totals: WindowTotals,
    /// The revision at which the monitor measured it, if it did.
    pub measured: Option<i64>,
    /// The predictions before it that it is judged with.
    pub before: i64,
}

/// A window of a monitor, and since when what came before it is judged with it: its own start if nothing is.
#[derive(Debug, Clone, Copy)]
pub struct AskedWindow<'a> {
    pub version_id: VersionId,
    pub monitor: &'a str,
    pub window: Window,
    pub since: DateTime<Utc>,
}

/// How some windows of monitors stand, in the order they are asked for.
pub async fn standings(
    conn: &mut PgConnection,
    windows: &[AskedWindow<'_>],
) -> sqlx::Result<Vec<Standing>> {
    let versions: Vec<Uuid> = windows.iter().map(|asked| asked.version_id.0).collect();
    let monitors: Vec<&str> = windows.iter().map(|asked| asked.monitor).collect();
    let times = |of: fn(&AskedWindow<'_>) -> DateTime<Utc>| -> Vec<DateTime<Utc>> {
        windows.iter().map(of).collect()
    };
    let starts = times(|asked| asked.window.start);
    let ends = times(|asked| asked.window.end);
    let since = times(|asked| asked.since);
    let rows = sqlx::query!(
        r#"
        SELECT t.predictions AS "predictions!", t.errors AS "errors!", t.labels AS "labels!",
               t.followers AS "followers!", t.out_of_order AS "out_of_order!", t.revision AS "revision!", m.revision AS "measured?",
               b.predictions AS "before!"
        FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[]) WITH ORDINALITY
            AS w (version_id, monitor, window_start, window_end, since, place)
        CROSS JOIN LATERAL (
            SELECT COALESCE(SUM(predictions), 0)::bigint AS predictions, COALESCE(SUM(errors), 0)::bigint AS errors,
                   COALESCE(SUM(labels), 0)::bigint AS labels,
                   COALESCE(SUM(followers), 0)::bigint AS followers,
                   COALESCE(SUM(out_of_order), 0)::bigint AS out_of_order,
                   COALESCE(SUM(revision), 0)::bigint AS revision
            FROM window_states s
            WHERE s.model_version_id = w.version_id
              AND s.window_start >= w.window_start AND s.window_start < w.window_end
        ) t
        CROSS JOIN LATERAL (
            SELECT COALESCE(SUM(predictions), 0)::bigint AS predictions
            FROM window_states s
            WHERE s.model_version_id = w.version_id
              AND s.window_start >= w.since AND s.window_start < w.window_start
        ) b
        LEFT JOIN measured_windows m ON m.model_version_id = w.version_id AND m.monitor = w.monitor
                                    AND m.window_start = w.window_start
        ORDER BY w.place
        "#,
        &versions,
        &monitors as &[&str],
        &starts,
        &ends,
        &since
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Standing {
            before: r.before,
            totals: WindowTotals {
                predictions: r.predictions,
                errors: r.errors,
                labels: r.labels,
                followers: r.followers,
                out_of_order: r.out_of_order,
                revision: r.revision,
            },
            measured: r.measured,
        })
        .collect())
}

/// The windows of a monitor that start after `after` and have been measured.
pub async fn measured_after(
    conn: &mut PgConnection,
    model_id: ModelId,
    monitor: &str,
    after: DateTime<Utc>,
) -> sqlx::Result<Vec<(VersionId, DateTime<Utc>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT m.model_version_id AS "version_id: VersionId", m.window_start
        FROM model_versions v
        JOIN measured_windows m ON m.model_version_id = v.model_version_id
        WHERE v.model_id = $1 AND m.monitor = $2 AND m.window_start > $3
        "#,
        model_id.0,
        monitor,
        after
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| (r.version_id, r.window_start))
        .collect())
}

/// The base windows of all versions of a model that start in `[from, to)` and saw predictions, the oldest first.
pub async fn between(
    conn: &mut PgConnection,
    model_id: ModelId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<BaseWindow>> {
    sqlx::query_as!(
        BaseWindow,
        r#"
        SELECT w.model_version_id AS "version_id: VersionId", w.window_start, w.revision
        FROM model_versions v
        JOIN window_states w ON w.model_version_id = v.model_version_id
        WHERE v.model_id = $1 AND w.window_start >= $2 AND w.window_start < $3 AND w.predictions > 0
        ORDER BY w.window_start, w.model_version_id
        "#,
        model_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// A window of a monitor that was measured, and at which revision.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredWindow<'a> {
    pub version_id: VersionId,
    pub monitor: &'a str,
    pub window: Window,
    pub revision: i64,
}

/// Records that monitors measured windows of a model.
pub async fn mark_measured(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    measured: &[MeasuredWindow<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let versions: Vec<Uuid> = measured.iter().map(|m| m.version_id.0).collect();
    let monitors: Vec<&str> = measured.iter().map(|m| m.monitor).collect();
    let grains: Vec<&str> = measured.iter().map(|m| m.window.grain.as_str()).collect();
    let starts: Vec<DateTime<Utc>> = measured.iter().map(|m| m.window.start).collect();
    let revisions: Vec<i64> = measured.iter().map(|m| m.revision).collect();
    sqlx::query!(
        r#"
        INSERT INTO measured_windows (project_id, model_id, model_version_id, monitor, grain, window_start,
                                      revision, measured_at)
        SELECT $1, $2, version_id, monitor, grain, window_start, revision, $8
        FROM unnest($3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[])
            AS m (version_id, monitor, grain, window_start, revision)
        ON CONFLICT (model_version_id, monitor, window_start) DO UPDATE
        SET revision = EXCLUDED.revision, measured_at = EXCLUDED.measured_at
        "#,
        project_id.0,
        model_id.0,
        &versions,
        &monitors as &[&str],
        &grains as &[&str],
        &starts,
        &revisions,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many windows of monitors have been measured of a model.
pub async fn measured_count(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!" FROM measured_windows WHERE model_id = $1"#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}
