//! Columns together over days: what was fitted on the days of baselines, and the sums of days of production, as blobs that
//! `stats::multivariate::days` reads and writes.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{BaselineId, ModelId, ProjectId, VersionId};

/// Which days: those of a version in the bins of a baseline.
pub type Course = (VersionId, BaselineId);

/// What was fitted on the days of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReference {
    pub baseline_id: BaselineId,
    /// The first and the last day; `None` where rows have no times.
    pub span: Option<(NaiveDate, NaiveDate)>,
    /// The bytes, or why there are none.
    pub reference: Result<Vec<u8>, String>,
}

/// Puts the reference of a baseline in the place of an earlier one, whose days go with it: they are in other bins.
pub async fn put_reference(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    stored: &StoredReference,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM joint_days WHERE model_id = $1 AND baseline_id = $2",
        model_id.0,
        stored.baseline_id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO joint_references (baseline_id, project_id, model_id, first_day, last_day, reference, cause, fitted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (baseline_id) DO UPDATE
        SET first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day, reference = EXCLUDED.reference,
            cause = EXCLUDED.cause, fitted_at = EXCLUDED.fitted_at
        "#,
        stored.baseline_id.0,
        project_id.0,
        model_id.0,
        stored.span.map(|(first, _)| first),
        stored.span.map(|(_, last)| last),
        stored.reference.as_ref().ok(),
        stored.reference.as_ref().err(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The reference of a baseline; nothing of one that was fitted before there were any.
pub async fn reference(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<StoredReference>> {
    let row = sqlx::query!(
        "SELECT first_day, last_day, reference, cause FROM joint_references WHERE baseline_id = $1",
        baseline_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| StoredReference {
        baseline_id,
        span: r.first_day.zip(r.last_day),
        reference: r.reference.ok_or_else(|| r.cause.unwrap_or_default()),
    }))
}

/// The sums of the days in `[from, to]`, the oldest first.
pub async fn days(
    conn: &mut PgConnection,
    (version_id, baseline_id): Course,
    (from, to): (NaiveDate, NaiveDate),
) -> sqlx::Result<Vec<(NaiveDate, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT day, sums
        FROM joint_days
        WHERE model_version_id = $1 AND baseline_id = $2 AND day BETWEEN $3 AND $4
        ORDER BY day
        "#,
        version_id.0,
        baseline_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.day, r.sums)).collect())
}

/// Stores the sums of a day in the place of earlier ones.
pub async fn put_day(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    (version_id, baseline_id): Course,
    (day, sums): (NaiveDate, &[u8]),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO joint_days (model_version_id, baseline_id, day, project_id, model_id, sums, measured_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (model_version_id, baseline_id, day) DO UPDATE
        SET sums = EXCLUDED.sums, measured_at = EXCLUDED.measured_at
        "#,
        version_id.0,
        baseline_id.0,
        day,
        project_id.0,
        model_id.0,
        sums,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
