//! Samples of the rows that baselines were fitted on.

use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::ids::{BaselineId, ModelId, ProjectId};
use crate::domain::skew::Stillnesses;

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

/// Keeps how many rows of a baseline repeat an earlier one, and of how many; the sample is there.
pub async fn put_repeated(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    (repeated, rows): (i64, i64),
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE baseline_samples
        SET repeated_rows = $2, counted_rows = $3
        WHERE baseline_id = $1
        "#,
        baseline_id.0,
        repeated,
        rows
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many rows of a baseline repeat an earlier one, and of how many; nothing of one that was fitted before this was
/// counted.
pub async fn repeated(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<(i64, i64)>> {
    let counts = sqlx::query!(
        "SELECT repeated_rows, counted_rows FROM baseline_samples WHERE baseline_id = $1",
        baseline_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(counts.and_then(|counts| counts.repeated_rows.zip(counts.counted_rows)))
}

/// Keeps how often the features of a baseline stand still; the sample is there.
pub async fn put_stillness(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    stillness: &Stillnesses,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE baseline_samples SET stillness = $2 WHERE baseline_id = $1",
        baseline_id.0,
        Json(stillness) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How often the features of a baseline stand still; nothing of one that was fitted before this was counted.
pub async fn stillness(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<Json<Stillnesses>>> {
    let found = sqlx::query_scalar!(
        r#"SELECT stillness AS "stillness: Json<Stillnesses>" FROM baseline_samples WHERE baseline_id = $1"#,
        baseline_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.flatten())
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
