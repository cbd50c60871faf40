//! The fleet: one line per model.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId, RunId};

/// A model with what is open on it.
#[derive(Debug, Clone)]
pub struct FleetModel {
    pub model_id: ModelId,
    pub name: String,
    pub task: String,
    pub owner: String,
    pub unit: String,
    pub champion: Option<String>,
    pub last_prediction_at: Option<DateTime<Utc>>,
    pub critical: i64,
    pub warning: i64,
    pub info: i64,
    pub alerts_since: Option<DateTime<Utc>>,
    pub run_id: Option<RunId>,
    pub run_title: Option<String>,
    pub run_state: Option<String>,
}

/// Every model of a project, worst first.
pub async fn fleet(conn: &mut PgConnection, project: ProjectId) -> sqlx::Result<Vec<FleetModel>> {
    sqlx::query_as!(
        FleetModel,
        r#"
        SELECT m.model_id AS "model_id!: ModelId", m.name AS "name!", m.task AS "task!",
               m.owner AS "owner!", m.unit AS "unit!",
               champion.name AS "champion?",
               seen.last_prediction_at,
               open.critical AS "critical!", open.warning AS "warning!", open.info AS "info!",
               open.since AS alerts_since,
               run.run_id AS "run_id?: RunId", run.title AS "run_title?", run.state AS "run_state?"
          FROM models m
          LEFT JOIN LATERAL (
               SELECT v.name
                 FROM deployments d JOIN model_versions v USING (model_version_id)
                WHERE d.model_id = m.model_id AND d.role = 'champion' AND d.ended_at IS NULL
                ORDER BY d.started_at DESC LIMIT 1) champion ON true
          LEFT JOIN LATERAL (
               SELECT max(w.last_event_at) AS last_prediction_at
                 FROM window_states w WHERE w.model_id = m.model_id) seen ON true
          LEFT JOIN LATERAL (
               SELECT count(*) FILTER (WHERE a.severity = 'critical') AS critical,
                      count(*) FILTER (WHERE a.severity = 'warning') AS warning,
                      count(*) FILTER (WHERE a.severity = 'info') AS info,
                      min(a.since) AS since
                 FROM alerts a WHERE a.model_id = m.model_id AND a.resolved_at IS NULL) open ON true
          LEFT JOIN LATERAL (
               SELECT r.run_id, r.title, r.state
                 FROM runs r WHERE r.model_id = m.model_id AND r.finished_at IS NULL
                -- A question that waits for a person is what the fleet page has to show first.
                ORDER BY r.state = 'waiting' DESC, r.started_at DESC LIMIT 1) run ON true
         WHERE m.project_id = $1
         ORDER BY open.critical DESC, open.warning DESC, open.info DESC, m.name
        "#,
        project.0
    )
    .fetch_all(conn)
    .await
}

/// A value of the version that was champion when the window ended: what users lived with.
#[derive(Debug, Clone)]
pub struct ServedValue {
    pub model_id: ModelId,
    pub monitor: String,
    pub grain: String,
    pub measure: String,
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    pub value: Option<f64>,
    pub reference: Option<f64>,
    pub status: String,
}

/// Overall values of the champions since `from`, oldest first. A model's first champion counts from the
/// beginning of time, because data may have been imported from before it was registered.
pub async fn served_values(
    conn: &mut PgConnection,
    project: ProjectId,
    measures: &[String],
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<ServedValue>> {
    sqlx::query_as!(
        ServedValue,
        r#"
        WITH stays AS (
            SELECT d.model_id, d.model_version_id, d.ended_at,
                   CASE WHEN row_number() OVER (PARTITION BY d.model_id, d.environment
                                                    ORDER BY d.started_at) = 1
                        THEN '-infinity'::timestamptz ELSE d.started_at END AS from_at
              FROM deployments d
             WHERE d.project_id = $1 AND d.role = 'champion'
        )
        SELECT DISTINCT ON (m.model_id, m.monitor, m.measure, m.window_start)
               m.model_id AS "model_id: ModelId", m.monitor, m.grain, m.measure,
               m.window_start, m.window_end, m.value, m.reference, m.status
          FROM stays s
          JOIN measurements m ON m.model_version_id = s.model_version_id
         WHERE m.superseded_at IS NULL
           AND m.segment_name = '' AND m.feature = ''
           AND m.measure = ANY($2)
           AND m.window_start >= $3
           AND s.from_at < m.window_end
           AND (s.ended_at IS NULL OR s.ended_at >= m.window_end)
         ORDER BY m.model_id, m.monitor, m.measure, m.window_start, s.from_at DESC
        "#,
        project.0,
        measures,
        from
    )
    .fetch_all(conn)
    .await
}

/// How many features of a model's newest judged window are beyond their threshold.
#[derive(Debug, Clone)]
pub struct FeatureCount {
    pub model_id: ModelId,
    pub measure: String,
    pub beyond: i64,
    pub judged: i64,
}

/// Per model and drift measure: the newest judged window of the champion.
pub async fn drifted_features(
    conn: &mut PgConnection,
    project: ProjectId,
    measures: &[String],
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<FeatureCount>> {
    sqlx::query_as!(
        FeatureCount,
        r#"
        WITH judged AS (
            SELECT m.model_id, m.measure, m.window_start, m.feature, m.status,
                   max(m.window_start) OVER (PARTITION BY m.model_id, m.measure) AS newest
              FROM deployments d
              JOIN measurements m ON m.model_version_id = d.model_version_id
             WHERE d.project_id = $1 AND d.role = 'champion' AND d.ended_at IS NULL
               AND m.superseded_at IS NULL
               AND m.segment_name = '' AND m.feature <> '' AND m.feature NOT LIKE '%()'
               AND m.status IN ('ok', 'drift')
               AND m.measure = ANY($2)
               AND m.window_start >= $3
        )
        SELECT model_id AS "model_id: ModelId", measure,
               count(DISTINCT feature) FILTER (WHERE status = 'drift') AS "beyond!",
               count(DISTINCT feature) AS "judged!"
          FROM judged
         WHERE window_start = newest
         GROUP BY model_id, measure
        "#,
        project.0,
        measures,
        from
    )
    .fetch_all(conn)
    .await
}

/// Per model: features with a schema finding in the newest window of each schema monitor.
pub async fn schema_findings(
    conn: &mut PgConnection,
    project: ProjectId,
    measures: &[String],
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<FeatureCount>> {
    sqlx::query_as!(
        FeatureCount,
        r#"
        WITH judged AS (
            SELECT m.model_id, m.window_start, m.feature, m.status,
                   max(m.window_start) OVER (PARTITION BY m.model_id, m.monitor) AS newest
              FROM deployments d
              JOIN measurements m ON m.model_version_id = d.model_version_id
             WHERE d.project_id = $1 AND d.role = 'champion' AND d.ended_at IS NULL
               AND m.superseded_at IS NULL
               AND m.segment_name = '' AND m.feature <> ''
               AND m.status IN ('ok', 'drift')
               AND m.measure = ANY($2)
               AND m.window_start >= $3
        )
        SELECT model_id AS "model_id: ModelId", '' AS "measure!",
               count(DISTINCT feature) FILTER (WHERE status = 'drift') AS "beyond!",
               count(DISTINCT feature) AS "judged!"
          FROM judged
         WHERE window_start = newest
         GROUP BY model_id
        "#,
        project.0,
        measures,
        from
    )
    .fetch_all(conn)
    .await
}

/// What the newest window of a champion's detector of labels says.
#[derive(Debug, Clone)]
pub struct DetectorRow {
    pub model: String,
    pub measure: String,
    pub status: String,
    pub evidence: Option<f64>,
    pub run_length: Option<f64>,
    pub labels: Option<f64>,
    pub value: Option<f64>,
    pub p_value: Option<f64>,
}

/// The newest value since `from` of each of these measures of labels, of every champion and monitor.
pub async fn label_detectors(
    conn: &mut PgConnection,
    project: ProjectId,
    measures: &[String],
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<DetectorRow>> {
    sqlx::query_as!(
        DetectorRow,
        r#"
        SELECT DISTINCT ON (o.name, m.monitor, m.measure)
               o.name AS model, m.measure, m.status, m.value, m.p_value,
               (m.recipe #>> '{sequential,evidence}')::float8 AS evidence,
               (m.recipe #>> '{sequential,run_length}')::float8 AS run_length,
               (m.recipe #>> '{sequential,labels}')::float8 AS labels
          FROM measurements m
          JOIN models o USING (model_id)
          JOIN deployments d ON d.model_version_id = m.model_version_id
                            AND d.role = 'champion' AND d.ended_at IS NULL
         WHERE m.project_id = $1 AND m.measure = ANY($2) AND m.window_start >= $3 AND m.segment_name = ''
           AND m.superseded_at IS NULL AND m.status IN ('ok', 'drift')
         ORDER BY o.name, m.monitor, m.measure, m.window_start DESC
        "#,
        project.0,
        measures,
        from
    )
    .fetch_all(conn)
    .await
}
