//! Halves of inferences: those that wait for the other one, and those of pairs, so that one sent again is known.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId};
use crate::domain::inference::Half;

/// A half to be kept. `body` is nothing when its pair is joined already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfToKeep {
    pub pair: String,
    pub half: Half,
    pub body: Option<Vec<u8>>,
    pub received_at: DateTime<Utc>,
}

/// A half that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHalf {
    pub pair: String,
    pub half: Half,
    pub body: Option<Vec<u8>>,
}

/// What is kept of these pairs. Nobody gives it up until the transaction ends.
pub async fn known(
    conn: &mut PgConnection,
    model_id: ModelId,
    pairs: &[String],
) -> sqlx::Result<Vec<KeptHalf>> {
    sqlx::query_as!(
        KeptHalf,
        r#"
        SELECT pair, half AS "half: Half", body
        FROM inference_halves
        WHERE model_id = $1 AND pair = ANY($2)
        FOR UPDATE
        "#,
        model_id.0,
        pairs
    )
    .fetch_all(conn)
    .await
}

/// Everything that is kept of a model.
pub async fn all(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<KeptHalf>> {
    sqlx::query_as!(
        KeptHalf,
        r#"SELECT pair, half AS "half: Half", body FROM inference_halves WHERE model_id = $1 ORDER BY pair, half"#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// Forgets a half.
pub async fn remove(
    conn: &mut PgConnection,
    model_id: ModelId,
    pair: &str,
    half: Half,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM inference_halves WHERE model_id = $1 AND pair = $2 AND half = $3",
        model_id.0,
        pair,
        half.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps halves; of one that is there already, its body is replaced.
pub async fn keep(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    halves: &[HalfToKeep],
) -> sqlx::Result<()> {
    let pairs: Vec<&str> = halves.iter().map(|half| half.pair.as_str()).collect();
    let which: Vec<&str> = halves.iter().map(|half| half.half.as_str()).collect();
    let bodies: Vec<Option<&[u8]>> = halves.iter().map(|half| half.body.as_deref()).collect();
    let received_at: Vec<DateTime<Utc>> = halves.iter().map(|half| half.received_at).collect();
    sqlx::query!(
        r#"
        INSERT INTO inference_halves (project_id, model_id, pair, half, body, received_at)
        SELECT $1, $2, pair, half, body, received_at
        FROM unnest($3::text[], $4::text[], $5::bytea[], $6::timestamptz[]) AS kept (pair, half, body, received_at)
        ON CONFLICT (model_id, pair, half) DO UPDATE
        SET body = EXCLUDED.body
        "#,
        project_id.0,
        model_id.0,
        &pairs as &[&str],
        &which as &[&str],
        &bodies as &[Option<&[u8]>],
        &received_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets halves that were received before `received_before`, `limit` at most; returns of each model how many
/// were waiting until then, by half.
pub async fn expire(
    conn: &mut PgConnection,
    received_before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<(u64, Vec<ExpiredHalves>)> {
    let rows = sqlx::query!(
        r#"
        WITH old AS (
            SELECT model_id, pair, half
            FROM inference_halves
            WHERE received_at < $1
            ORDER BY received_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM inference_halves h
            USING old
            WHERE h.model_id = old.model_id AND h.pair = old.pair AND h.half = old.half
            RETURNING h.project_id, h.model_id, h.half, h.body IS NOT NULL AS waited
        )
        SELECT project_id AS "project_id: ProjectId", model_id AS "model_id: ModelId", half AS "half: Half",
               COUNT(*) AS "gone!", COUNT(*) FILTER (WHERE waited) AS "waited!"
        FROM gone
        GROUP BY project_id, model_id, half
        "#,
        received_before,
        limit
    )
    .fetch_all(conn)
    .await?;
    let gone = rows.iter().map(|row| unsigned(row.gone)).sum();
    let expired = rows.into_iter().filter(|row| row.waited > 0);
    let expired = expired.map(|row| ExpiredHalves {
        project_id: row.project_id,
        model_id: row.model_id,
        half: row.half,
        halves: unsigned(row.waited),
    });
    Ok((gone, expired.collect()))
}

/// How many halves of a model were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredHalves {
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub half: Half,
    pub halves: u64,
}

/// How many halves of a model wait for the other one.
pub async fn waiting(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "waiting!" FROM inference_halves WHERE model_id = $1 AND body IS NOT NULL"#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
