//! Samples of the rows that baselines were fitted on.

use sqlx::PgConnection;

use crate::domain::ids::{BaselineId, ModelId, ProjectId};

/// Replaces the sample of a baseline.
pub async fn put(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    baseline_id: BaselineId,
    sample: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO baseline_samples (baseline_id, project_id, model_id, sample)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (baseline_id) DO UPDATE SET sample = EXCLUDED.sample
        "#,
        baseline_id.0,
        project_id.0,
        model_id.0,
        sample
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The sample of a baseline; nothing of one that was fitted before there were samples.
pub async fn of_baseline(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT sample FROM baseline_samples WHERE baseline_id = $1",
        baseline_id.0
    )
    .fetch_optional(conn)
    .await
}
