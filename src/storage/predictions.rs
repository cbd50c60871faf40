//! Predictions by row, their feature values by column.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ids::{ChunkId, ModelId, ProjectId, VersionId};

/// The identity of a prediction, with a hash of everything else in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionKey {
    pub prediction_id: String,
    pub version_id: VersionId,
    pub predicted_at: DateTime<Utc>,
    pub content_hash: Vec<u8>,
}

/// Inserts the keys that are new and returns, in the order given, whether each was. Two keys of the same
/// prediction must not be given in one call.
pub async fn insert_new_keys(
    conn: &mut PgConnection,
    model_id: ModelId,
    keys: &[PredictionKey],
) -> sqlx::Result<Vec<bool>> {
    let ids: Vec<&str> = keys.iter().map(|k| k.prediction_id.as_str()).collect();
    let versions: Vec<Uuid> = keys.iter().map(|k| k.version_id.0).collect();
    let times: Vec<DateTime<Utc>> = keys.iter().map(|k| k.predicted_at).collect();
    let hashes: Vec<&[u8]> = keys.iter().map(|k| k.content_hash.as_slice()).collect();
    let inserted = sqlx::query!(
        r#"
        INSERT INTO prediction_keys (model_id, prediction_id, model_version_id, predicted_at, content_hash)
        SELECT $1, prediction_id, model_version_id, predicted_at, content_hash
        FROM unnest($2::text[], $3::uuid[], $4::timestamptz[], $5::bytea[])
            AS key (prediction_id, model_version_id, predicted_at, content_hash)
        ON CONFLICT DO NOTHING
        RETURNING prediction_id, model_version_id AS "version_id: VersionId"
        "#,
        model_id.0,
        &ids as &[&str],
        &versions,
        &times,
        &hashes as &[&[u8]]
    )
    .fetch_all(conn)
    .await?;
    let new: std::collections::HashSet<(&str, VersionId)> = inserted
        .iter()
        .map(|row| (row.prediction_id.as_str(), row.version_id))
        .collect();
    Ok(keys
        .iter()
        .map(|k| new.contains(&(k.prediction_id.as_str(), k.version_id)))
        .collect())
}

/// The keys stored for the given prediction ids, of all versions.
pub async fn keys(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[String],
) -> sqlx::Result<Vec<PredictionKey>> {
    sqlx::query_as!(
        PredictionKey,
        r#"
        SELECT prediction_id, model_version_id AS "version_id: VersionId", predicted_at, content_hash
        FROM prediction_keys
        WHERE model_id = $1 AND prediction_id = ANY($2)
        "#,
        model_id.0,
        ids
    )
    .fetch_all(conn)
    .await
}

/// Rows to store, column by column.
#[derive(Debug, Clone, Default)]
pub struct PredictionRows {
    pub version_ids: Vec<Uuid>,
    pub predicted_at: Vec<DateTime<Utc>>,
    pub prediction_ids: Vec<String>,
    pub values: Vec<Option<f64>>,
    pub classes: Vec<Option<String>>,
    pub scores: Vec<Option<f64>>,
    pub probabilities: Vec<Option<serde_json::Value>>,
    /// A JSON array of segment values per row: Postgres cannot unnest an array of arrays.
    pub segments: Vec<serde_json::Value>,
    pub latency_ms: Vec<Option<f64>>,
    pub errors: Vec<Option<String>>,
    pub deployments: Vec<Option<String>>,
    pub chunk_ids: Vec<Uuid>,
    pub chunk_positions: Vec<i32>,
}

/// Stores predictions whose keys are new.
pub async fn insert(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    rows: &PredictionRows,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO predictions (project_id, model_id, model_version_id, predicted_at, prediction_id, value,
                                 class, score, probabilities, segments, latency_ms, error, deployment,
                                 chunk_id, chunk_position)
        SELECT $1, $2, version_id, predicted_at, prediction_id, value, class, score, probabilities,
               ARRAY(SELECT jsonb_array_elements_text(segments)), latency_ms, error, deployment, chunk_id,
               chunk_position
        FROM unnest($3::uuid[], $4::timestamptz[], $5::text[], $6::float8[], $7::text[], $8::float8[],
                    $9::jsonb[], $10::jsonb[], $11::float8[], $12::text[], $13::text[], $14::uuid[],
                    $15::int[])
            AS r (version_id, predicted_at, prediction_id, value, class, score, probabilities, segments,
                  latency_ms, error, deployment, chunk_id, chunk_position)
        "#,
        project_id.0,
        model_id.0,
        &rows.version_ids,
        &rows.predicted_at,
        &rows.prediction_ids,
        &rows.values as &[Option<f64>],
        &rows.classes as &[Option<String>],
        &rows.scores as &[Option<f64>],
        &rows.probabilities as &[Option<serde_json::Value>],
        &rows.segments,
        &rows.latency_ms as &[Option<f64>],
        &rows.errors as &[Option<String>],
        &rows.deployments as &[Option<String>],
        &rows.chunk_ids,
        &rows.chunk_positions
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One feature over up to 1,000 predictions of one version and day.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureChunk {
    pub version_id: VersionId,
    pub day: DateTime<Utc>,
    pub chunk_id: ChunkId,
    pub feature: String,
    pub value_type: String,
    pub numbers: Option<Vec<Option<f64>>>,
    pub texts: Option<Vec<Option<String>>>,
    pub absent: Vec<i32>,
}

/// Stores feature columns.
pub async fn insert_chunk(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    chunk: &FeatureChunk,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO feature_chunks (project_id, model_id, model_version_id, day, chunk_id, feature, value_type,
                                    numbers, texts, absent)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        project_id.0,
        model_id.0,
        chunk.version_id.0,
        chunk.day,
        chunk.chunk_id.0,
        chunk.feature,
        chunk.value_type,
        chunk.numbers.as_deref() as Option<&[Option<f64>]>,
        chunk.texts.as_deref() as Option<&[Option<String>]>,
        &chunk.absent
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A stored prediction, as profiles are counted again from it.
#[derive(Debug, Clone)]
pub struct StoredPrediction {
    pub predicted_at: DateTime<Utc>,
    pub value: Option<f64>,
    pub class: Option<String>,
    pub score: Option<f64>,
    pub segments: Vec<String>,
    pub latency_ms: Option<f64>,
    pub chunk_id: ChunkId,
    pub chunk_position: i32,
}

/// Predictions of a version in `[from, to)`.
pub async fn between(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<StoredPrediction>> {
    sqlx::query_as!(
        StoredPrediction,
        r#"
        SELECT predicted_at, value, class, score, segments, latency_ms, chunk_id AS "chunk_id: ChunkId",
               chunk_position
        FROM predictions
        WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3
        ORDER BY chunk_id, chunk_position
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// Feature columns of a version in the days `[from, to)`.
pub async fn chunks_between(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<FeatureChunk>> {
    sqlx::query_as!(
        FeatureChunk,
        r#"
        SELECT model_version_id AS "version_id: VersionId", day, chunk_id AS "chunk_id: ChunkId", feature,
               value_type, numbers AS "numbers: Vec<Option<f64>>", texts AS "texts: Vec<Option<String>>", absent
        FROM feature_chunks
        WHERE model_version_id = $1 AND day >= $2 AND day < $3
        ORDER BY chunk_id, feature
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// Puts every row's segment values into another order: `places` has, for each segment, its place so far, from
/// 1, or nothing where it is new and has no values.
pub async fn reorder_segments(
    conn: &mut PgConnection,
    model_id: ModelId,
    places: &[Option<i32>],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE predictions
        SET segments = ARRAY(
            SELECT COALESCE(segments[place], '')
            FROM unnest($2::int[]) WITH ORDINALITY AS n (place, position)
            ORDER BY position
        )
        WHERE model_id = $1
        "#,
        model_id.0,
        places as &[Option<i32>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest event time of any version of a model.
pub async fn newest_event(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"SELECT MAX(last_event_at) FROM window_states WHERE model_id = $1 AND predictions > 0"#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}
