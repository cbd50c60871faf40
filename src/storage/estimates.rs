//! What estimates of quality rest on, and how far off they were.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{BaselineId, ModelId, ProjectId, VersionId};

/// Keeps what was learnt from the labelled rows of a baseline, as bytes that `domain::estimate` reads and writes.
pub async fn put_estimator(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    baseline_id: BaselineId,
    estimator: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO estimators (baseline_id, project_id, model_id, estimator, fitted_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (baseline_id) DO UPDATE SET estimator = EXCLUDED.estimator, fitted_at = EXCLUDED.fitted_at
        "#,
        baseline_id.0,
        project_id.0,
        model_id.0,
        estimator,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was learnt from the labelled rows of a baseline.
pub async fn estimator(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT estimator FROM estimators WHERE baseline_id = $1",
        baseline_id.0
    )
    .fetch_optional(conn)
    .await
}

/// An estimate of a window beside what its labels said.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub measure: String,
    pub window_start: DateTime<Utc>,
    pub estimated: f64,
    pub low: f64,
    pub high: f64,
    pub realised: f64,
    pub labels: u64,
}

/// Whose checks: a version's, by a monitor, of what a baseline said.
pub type Course<'a> = (VersionId, &'a str, BaselineId);

/// Puts a check in the place of an earlier one of the same window.
pub async fn put_check(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    (version_id, monitor, baseline_id): Course<'_>,
    check: &Check,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO estimate_checks (model_version_id, monitor, measure, window_start, project_id, model_id,
                                     baseline_id, estimated, low, high, realised, labels)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (model_version_id, monitor, measure, window_start) DO UPDATE
        SET baseline_id = EXCLUDED.baseline_id, estimated = EXCLUDED.estimated, low = EXCLUDED.low,
            high = EXCLUDED.high, realised = EXCLUDED.realised, labels = EXCLUDED.labels
        "#,
        version_id.0,
        monitor,
        check.measure,
        check.window_start,
        project_id.0,
        model_id.0,
        baseline_id.0,
        check.estimated,
        check.low,
        check.high,
        check.realised,
        super::intake::count(check.labels)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The checks of the last `limit` windows that begin at `until` or before, the oldest first.
pub async fn checks(
    conn: &mut PgConnection,
    (version_id, monitor, baseline_id): Course<'_>,
    measure: &str,
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Check>> {
    let rows = sqlx::query!(
        r#"
        SELECT measure, window_start, estimated, low, high, realised, labels
        FROM estimate_checks
        WHERE model_version_id = $1 AND monitor = $2 AND baseline_id = $3 AND measure = $4 AND window_start <= $5
        ORDER BY window_start DESC
        LIMIT $6
        "#,
        version_id.0,
        monitor,
        baseline_id.0,
        measure,
        until,
        limit
    )
    .fetch_all(conn)
    .await?;
    let mut checks: Vec<Check> = rows
        .into_iter()
        .map(|r| Check {
            measure: r.measure,
            window_start: r.window_start,
            estimated: r.estimated,
            low: r.low,
            high: r.high,
            realised: r.realised,
            labels: u64::try_from(r.labels).unwrap_or(0),
        })
        .collect();
    checks.reverse();
    Ok(checks)
}
