//! One model: its versions, what was measured, and what happened to it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId, VersionId};

/// A model as its page's header shows it.
#[derive(Debug, Clone)]
pub struct ModelRow {
    pub model_id: ModelId,
    pub name: String,
    pub task: String,
    pub description: String,
    pub owner: String,
    pub unit: String,
    pub last_prediction_at: Option<DateTime<Utc>>,
}

/// A project's model by its name.
pub async fn model_by_name(
    conn: &mut PgConnection,
    project: ProjectId,
    name: &str,
) -> sqlx::Result<Option<ModelRow>> {
    sqlx::query_as!(
        ModelRow,
        r#"
        SELECT m.model_id AS "model_id: ModelId", m.name, m.task, m.description, m.owner, m.unit,
               (SELECT max(w.last_event_at) FROM window_states w
                 WHERE w.model_id = m.model_id) AS last_prediction_at
          FROM models m
         WHERE m.project_id = $1 AND m.name = $2
        "#,
        project.0,
        name
    )
    .fetch_optional(conn)
    .await
}

/// A version, with the role it has now.
#[derive(Debug, Clone)]
pub struct VersionRow {
    pub version_id: VersionId,
    pub name: String,
    pub parent: Option<String>,
    pub lineage: Value,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub role: Option<String>,
    pub environment: Option<String>,
    pub traffic_share: Option<f64>,
    pub role_since: Option<DateTime<Utc>>,
}

/// The versions of a model, newest first.
pub async fn versions(conn: &mut PgConnection, model: ModelId) -> sqlx::Result<Vec<VersionRow>> {
    sqlx::query_as!(
        VersionRow,
        r#"
        SELECT v.model_version_id AS "version_id!: VersionId", v.name AS "name!", p.name AS "parent?",
               v.lineage AS "lineage!", v.created_at AS "created_at!",
               v.created_by AS "created_by!",
               d.role AS "role?", d.environment AS "environment?",
               d.traffic_share AS "traffic_share?", d.started_at AS "role_since?"
          FROM model_versions v
          LEFT JOIN model_versions p ON p.model_version_id = v.parent_version_id
          LEFT JOIN LATERAL (
               SELECT d.role, d.environment, d.traffic_share, d.started_at
                 FROM deployments d
                WHERE d.model_version_id = v.model_version_id AND d.ended_at IS NULL
                ORDER BY d.role = 'champion' DESC, d.started_at DESC LIMIT 1) d ON true
         WHERE v.model_id = $1
         ORDER BY v.created_at DESC, v.model_version_id DESC
        "#,
        model.0
    )
    .fetch_all(conn)
    .await
}

/// One stay of a version in a role.
#[derive(Debug, Clone)]
pub struct DeploymentRow {
    pub version: String,
    pub environment: String,
    pub role: String,
    pub traffic_share: f64,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// The stays of a model's versions, newest first.
pub async fn deployments(
    conn: &mut PgConnection,
    model: ModelId,
) -> sqlx::Result<Vec<DeploymentRow>> {
    sqlx::query_as!(
        DeploymentRow,
        r#"
        SELECT v.name AS version, d.environment, d.role, d.traffic_share, d.started_at, d.ended_at
          FROM deployments d JOIN model_versions v USING (model_version_id)
         WHERE d.model_id = $1
         ORDER BY d.started_at DESC, d.deployment_id DESC
         LIMIT 50
        "#,
        model.0
    )
    .fetch_all(conn)
    .await
}

/// A measure that a monitor of the model has measured, by grain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    pub monitor: String,
    pub grain: String,
    pub measure: String,
}

/// What has been measured on a model at all.
pub async fn measured(conn: &mut PgConnection, model: ModelId) -> sqlx::Result<Vec<Measured>> {
    sqlx::query_as!(
        Measured,
        r#"
        SELECT DISTINCT m.monitor, m.grain, m.measure
          FROM model_versions v
          JOIN measurements m ON m.model_version_id = v.model_version_id
         WHERE v.model_id = $1 AND m.superseded_at IS NULL
         ORDER BY m.monitor, m.grain, m.measure
        "#,
        model.0
    )
    .fetch_all(conn)
    .await
}

/// One point of a line of one version.
#[derive(Debug, Clone)]
pub struct SeriesValue {
    pub version_id: VersionId,
    pub measure: String,
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub reference: Option<f64>,
    pub status: String,
    pub current_rows: i64,
}

/// Overall values of every version of a model, oldest first.
pub async fn series(
    conn: &mut PgConnection,
    model: ModelId,
    monitor: &str,
    measure: &str,
    grain: &str,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<SeriesValue>> {
    sqlx::query_as!(
        SeriesValue,
        r#"
        SELECT m.model_version_id AS "version_id: VersionId", m.measure, m.window_start, m.window_end,
               m.value, m.low, m.high, m.reference, m.status, m.current_rows
          FROM model_versions v
          JOIN measurements m ON m.model_version_id = v.model_version_id
         WHERE v.model_id = $1 AND m.monitor = $2 AND m.measure = $3 AND m.grain = $4
           AND m.window_start >= $5
           AND m.segment_name = '' AND m.feature = '' AND m.superseded_at IS NULL
         ORDER BY m.window_start
        "#,
        model.0,
        monitor,
        measure,
        grain,
        from
    )
    .fetch_all(conn)
    .await
}

/// A value of one class, or of the groups of one field.
#[derive(Debug, Clone)]
pub struct PartValue {
    pub part: String,
    pub value: SeriesValue,
}

/// Overall values of the parts of a measure, of every version of a model, by part, oldest first.
pub async fn part_series(
    conn: &mut PgConnection,
    model: ModelId,
    (monitor, measure, grain): (&str, &str, &str),
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<PartValue>> {
    let rows = sqlx::query!(
        r#"
        SELECT m.feature AS part, m.model_version_id AS "version_id: VersionId", m.measure, m.window_start,
               m.window_end, m.value, m.low, m.high, m.reference, m.status, m.current_rows
          FROM model_versions v
          JOIN measurements m ON m.model_version_id = v.model_version_id
         WHERE v.model_id = $1 AND m.monitor = $2 AND m.measure = $3 AND m.grain = $4
           AND m.window_start >= $5
           AND m.segment_name = '' AND m.feature <> '' AND m.superseded_at IS NULL
         ORDER BY m.feature, m.window_start
        "#,
        model.0,
        monitor,
        measure,
        grain,
        from
    )
    .fetch_all(conn)
    .await?;
    let values = rows.into_iter().map(|row| PartValue {
        part: row.part,
        value: SeriesValue {
            version_id: row.version_id,
            measure: row.measure,
            window_start: row.window_start,
            window_end: row.window_end,
            value: row.value,
            low: row.low,
            high: row.high,
            reference: row.reference,
            status: row.status,
            current_rows: row.current_rows,
        },
    });
    Ok(values.collect())
}

/// One cell of the drift heat map.
#[derive(Debug, Clone)]
pub struct HeatValue {
    pub feature: String,
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    pub value: Option<f64>,
    pub status: String,
    pub current_rows: i64,
    pub recipe: Value,
}

/// A measure of every feature, and of all of them together where `together`, over all rows, oldest window first, of the
/// version that was champion when the window ended.
pub async fn heat_values(
    conn: &mut PgConnection,
    model: ModelId,
    monitor: &str,
    measure: &str,
    (grain, together): (&str, bool),
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<HeatValue>> {
    sqlx::query_as!(
        HeatValue,
        r#"
        WITH stays AS (
            SELECT d.model_version_id, d.ended_at,
                   CASE WHEN row_number() OVER (PARTITION BY d.environment ORDER BY d.started_at) = 1
                        THEN '-infinity'::timestamptz ELSE d.started_at END AS from_at
              FROM deployments d
             WHERE d.model_id = $1 AND d.role = 'champion'
        )
        SELECT DISTINCT ON (m.window_start, m.feature)
               m.feature, m.window_start, m.window_end, m.value, m.status, m.current_rows, m.recipe
          FROM stays s
          JOIN measurements m ON m.model_version_id = s.model_version_id
         WHERE m.monitor = $2 AND m.measure = $3 AND m.grain = $4
           AND m.window_start >= $5
           AND m.segment_name = '' AND (m.feature <> '' OR $6) AND m.superseded_at IS NULL
           AND s.from_at < m.window_end
           AND (s.ended_at IS NULL OR s.ended_at >= m.window_end)
         ORDER BY m.window_start, m.feature, s.from_at DESC
        "#,
        model.0,
        monitor,
        measure,
        grain,
        from,
        together
    )
    .fetch_all(conn)
    .await
}

/// A feature that was not as the schema expects.
#[derive(Debug, Clone)]
pub struct Finding {
    pub version: String,
    pub monitor: String,
    pub feature: String,
    pub measure: String,
    pub share: Option<f64>,
    /// What was found in the newest window of the stretch, in words.
    pub detail: Option<String>,
    pub rows: i64,
    pub since: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    pub open: bool,
    pub feature_type: Option<String>,
    pub required: Option<bool>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub categories: Option<Vec<String>>,
    pub max_null_share: Option<f64>,
}

/// Findings against the schema since `from`: one row per stretch of windows in a row, the newest first. A
/// finding is open while it is in the newest window that its monitor has judged.
pub async fn findings(
    conn: &mut PgConnection,
    model: ModelId,
    measures: &[String],
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<Finding>> {
    sqlx::query_as!(
        Finding,
        r#"
        WITH judged AS (
            SELECT v.name AS version, m.monitor, m.feature, m.measure, m.value, m.status, m.current_rows,
                   m.recipe ->> 'detail' AS detail, m.window_start, m.window_end,
                   max(m.window_start) OVER (PARTITION BY m.monitor) AS newest,
                   dense_rank() OVER (PARTITION BY m.model_version_id, m.monitor ORDER BY m.window_start) AS place
              FROM model_versions v
              JOIN deployments d ON d.model_version_id = v.model_version_id
                                AND d.role = 'champion' AND d.ended_at IS NULL
              JOIN measurements m ON m.model_version_id = v.model_version_id
             WHERE v.model_id = $1 AND m.superseded_at IS NULL
               AND m.segment_name = '' AND m.feature <> ''
               AND m.status IN ('ok', 'drift')
               AND m.measure = ANY($2)
               AND m.window_start >= $3
        ), found AS (
            -- The place of a window less the number of findings before it is the same along a stretch of findings.
            SELECT *, place - row_number() OVER (
                       PARTITION BY version, monitor, feature, measure ORDER BY window_start) AS stretch
              FROM judged
             WHERE status = 'drift'
        ), stretches AS (
            SELECT version, monitor, feature, measure, stretch,
                   (array_agg(value ORDER BY window_start DESC))[1] AS share,
                   (array_agg(detail ORDER BY window_start DESC))[1] AS detail,
                   sum(current_rows)::bigint AS rows,
                   min(window_start) AS since,
                   max(window_end) AS window_end,
                   bool_or(window_start = newest) AS open
              FROM found
             GROUP BY version, monitor, feature, measure, stretch
        )
        SELECT s.version AS "version!", s.monitor AS "monitor!", s.feature AS "feature!",
               s.measure AS "measure!", s.share, s.detail, s.rows AS "rows!", s.since AS "since!",
               s.window_end AS "window_end!", s.open AS "open!",
               f.feature_type AS "feature_type?", f.required AS "required?", f.minimum, f.maximum,
               f.categories, f.max_null_share AS "max_null_share?"
          FROM stretches s
          LEFT JOIN schema_features f
                 ON f.feature = s.feature
                AND f.schema_id = (SELECT c.schema_id FROM schemas c
                                    WHERE c.model_id = $1 ORDER BY c.version DESC LIMIT 1)
         ORDER BY s.open DESC, s.since DESC, s.feature, s.measure
         LIMIT 200
        "#,
        model.0,
        measures,
        from
    )
    .fetch_all(conn)
    .await
}

/// A measure on one segment, in the newest window that has it.
#[derive(Debug, Clone)]
pub struct SegmentValue {
    pub segment_name: String,
    pub segment_value: String,
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub reference: Option<f64>,
    pub status: String,
    pub current_rows: i64,
    /// What it was taken against, in words.
    pub against: Option<String>,
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
}

/// The newest window of the champion by segment, overall first.
pub async fn segment_values(
    conn: &mut PgConnection,
    model: ModelId,
    monitor: &str,
    measure: &str,
    grain: &str,
) -> sqlx::Result<Vec<SegmentValue>> {
    sqlx::query_as!(
        SegmentValue,
        r#"
        WITH of_champion AS (
            SELECT m.*, max(m.window_start) FILTER (WHERE m.value IS NOT NULL AND m.segment_name = '')
                        OVER () AS newest
              FROM deployments d
              JOIN measurements m ON m.model_version_id = d.model_version_id
             WHERE d.model_id = $1 AND d.role = 'champion' AND d.ended_at IS NULL
               AND m.monitor = $2 AND m.measure = $3 AND m.grain = $4
               AND m.feature = '' AND m.superseded_at IS NULL
        )
        SELECT segment_name AS "segment_name!", segment_value AS "segment_value!", value, low, high,
               reference, status AS "status!", current_rows AS "current_rows!",
               recipe #>> '{reference,text}' AS against, window_start AS "window_start!", window_end AS "window_end!"
          FROM of_champion
         WHERE window_start = newest
         ORDER BY segment_name, current_rows DESC, segment_value
         LIMIT 500
        "#,
        model.0,
        monitor,
        measure,
        grain
    )
    .fetch_all(conn)
    .await
}

/// The newest value of a measure that a monitor puts into words.
#[derive(Debug, Clone)]
pub struct VerdictRow {
    pub monitor: String,
    pub measure: String,
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub reference: Option<f64>,
    pub threshold: Option<f64>,
    pub status: String,
    pub current_rows: i64,
    pub detail: Option<String>,
    pub cause: Option<String>,
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
}

/// What the champion's monitors say by these measures: of each the newest window that has a value, or the newest one where
/// none has.
pub async fn verdicts(
    conn: &mut PgConnection,
    model: ModelId,
    measures: &[String],
) -> sqlx::Result<Vec<VerdictRow>> {
    sqlx::query_as!(
        VerdictRow,
        r#"
        SELECT DISTINCT ON (m.monitor, m.measure)
               m.monitor, m.measure, m.value, m.low, m.high, m.reference,
               (m.recipe ->> 'threshold')::float8 AS threshold, m.status, m.current_rows,
               m.recipe ->> 'detail' AS detail, m.recipe ->> 'cause' AS cause, m.window_start, m.window_end
          FROM deployments d
          JOIN measurements m ON m.model_version_id = d.model_version_id
         WHERE d.model_id = $1 AND d.role = 'champion' AND d.ended_at IS NULL
           AND m.measure = ANY($2) AND m.segment_name = '' AND m.feature = '' AND m.superseded_at IS NULL
         ORDER BY m.monitor, m.measure, (m.value IS NULL), m.window_start DESC
        "#,
        model.0,
        measures
    )
    .fetch_all(conn)
    .await
}

/// Something that happened to a model, for the time axis.
#[derive(Debug, Clone)]
pub struct ModelEvent {
    pub at: DateTime<Utc>,
    pub kind: String,
    pub text: String,
}

/// Promotions, alerts, candidates and schema changes since `from`, oldest first.
pub async fn events(
    conn: &mut PgConnection,
    model: ModelId,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<ModelEvent>> {
    sqlx::query_as!(
        ModelEvent,
        r#"
        SELECT at AS "at!", kind AS "kind!", text AS "text!"
          FROM (
            SELECT p.promoted_at AS at, 'promotion' AS kind,
                   v.name || ' promoted by ' || p.promoted_by AS text
              FROM promotions p JOIN model_versions v ON v.model_version_id = p.to_version_id
             WHERE p.model_id = $1
            UNION ALL
            SELECT a.fired_at, 'alert', a.summary FROM alerts a WHERE a.model_id = $1
            UNION ALL
            SELECT a.resolved_at, 'resolved', 'Resolved: ' || a.summary
              FROM alerts a WHERE a.model_id = $1 AND a.resolved_at IS NOT NULL
            UNION ALL
            SELECT c.delivered_at, 'candidate', 'Candidate ' || v.name || ' delivered'
              FROM candidates c JOIN model_versions v USING (model_version_id)
             WHERE c.model_id = $1
            UNION ALL
            SELECT s.created_at, 'schema', 'Schema version ' || s.version || ' (' || s.source || ')'
              FROM schemas s WHERE s.model_id = $1
          ) happened
         WHERE at >= $2
         ORDER BY at
         LIMIT 500
        "#,
        model.0,
        from
    )
    .fetch_all(conn)
    .await
}

/// The parsed bodies of the rules of a model.
pub async fn rules(
    conn: &mut PgConnection,
    project: ProjectId,
    model: &str,
) -> sqlx::Result<Vec<Value>> {
    sqlx::query_scalar!(
        "SELECT body FROM definitions WHERE project_id = $1 AND kind = 'rule' AND body->>'model' = $2",
        project.0,
        model
    )
    .fetch_all(conn)
    .await
}

/// The runbooks a person can start: name and title.
pub async fn runbooks(
    conn: &mut PgConnection,
    project: ProjectId,
) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"
        SELECT name, coalesce(body->>'title', name) AS "title!"
          FROM definitions
         WHERE project_id = $1 AND kind = 'runbook'
         ORDER BY name
        "#,
        project.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.title)).collect())
}
