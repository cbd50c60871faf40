//! Labelled rows of baselines, as bytes that `domain::labelled` reads and writes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{BaselineId, ModelId, ProjectId};

/// Labelled rows of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSample {
    pub labels: u64,
    /// By this time after a prediction nine of ten of its labels had come, where it says when they came.
    pub lag_seconds: Option<f64>,
    pub sample: Vec<u8>,
}

/// Puts the labelled rows of a baseline in the place of earlier ones; what was learnt from those goes with them.
pub async fn put(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    baseline_id: BaselineId,
    stored: &StoredSample,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM estimators WHERE baseline_id = $1",
        baseline_id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO labelled_samples (baseline_id, project_id, model_id, labels, lag_seconds, sample, fitted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (baseline_id) DO UPDATE
        SET labels = EXCLUDED.labels, lag_seconds = EXCLUDED.lag_seconds, sample = EXCLUDED.sample,
            fitted_at = EXCLUDED.fitted_at
        "#,
        baseline_id.0,
        project_id.0,
        model_id.0,
        super::intake::count(stored.labels),
        stored.lag_seconds,
        stored.sample,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The labelled rows of a baseline; nothing of one without labels, or that was fitted before they were kept.
pub async fn of_baseline(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<StoredSample>> {
    let row = sqlx::query!(
        "SELECT labels, lag_seconds, sample FROM labelled_samples WHERE baseline_id = $1",
        baseline_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| StoredSample {
        labels: u64::try_from(r.labels).unwrap_or(0),
        lag_seconds: r.lag_seconds,
        sample: r.sample,
    }))
}

/// By when nine of ten labels had come, of each baseline of a model that is in force and says so; by name.
pub async fn lags(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<(String, f64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT b.name, s.lag_seconds AS "lag_seconds!"
        FROM baselines b
        JOIN labelled_samples s USING (baseline_id)
        WHERE b.model_id = $1 AND b.retired_at IS NULL AND s.lag_seconds IS NOT NULL
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.name, r.lag_seconds)).collect())
}
