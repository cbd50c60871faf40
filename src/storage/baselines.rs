//! Schemas, baselines, and the grid that features are counted on.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::ids::{BaselineId, GridId, ModelId, ProjectId, SchemaId, VersionId};
use crate::domain::measurement::Segment;
use crate::domain::schema::{FeatureExpectation, FeatureType};

/// A schema in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub schema_id: SchemaId,
    pub version: i32,
    pub features: Vec<FeatureExpectation>,
}

/// The schema in force of a model.
pub async fn schema(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Option<Schema>> {
    let Some(head) = sqlx::query!(
        r#"
        SELECT schema_id AS "schema_id: SchemaId", version
        FROM schemas
        WHERE model_id = $1
        ORDER BY version DESC
        LIMIT 1
        "#,
        model_id.0
    )
    .fetch_optional(&mut *conn)
    .await?
    else {
        return Ok(None);
    };
    let features = sqlx::query_as!(
        FeatureExpectation,
        r#"
        SELECT feature, feature_type AS "feature_type: FeatureType", required, minimum, maximum, categories,
               max_null_share, max_duplicate_share, min_distinct, max_distinct, max_outside_share, environments
        FROM schema_features
        WHERE schema_id = $1
        ORDER BY feature
        "#,
        head.schema_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Schema {
        schema_id: head.schema_id,
        version: head.version,
        features,
    }))
}

/// The newest schema of a model: its version, where it came from, since when it is in force.
pub async fn newest_schema(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Option<(i32, String, DateTime<Utc>)>> {
    let row = sqlx::query!(
        "SELECT version, source, created_at FROM schemas WHERE model_id = $1 ORDER BY version DESC LIMIT 1",
        model_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| (r.version, r.source, r.created_at)))
}

/// Who changed a schema, and why.
#[derive(Debug, Clone, Copy)]
pub struct SchemaChange<'a> {
    pub source: &'a str,
    pub by: &'a str,
    pub at: DateTime<Utc>,
}

/// Adds a version of the schema, which is in force from then on.
pub async fn add_schema(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    features: &[FeatureExpectation],
    change: SchemaChange<'_>,
) -> sqlx::Result<i32> {
    let schema_id = SchemaId::new(change.at);
    let version = sqlx::query_scalar!(
        r#"
        INSERT INTO schemas (schema_id, project_id, model_id, version, source, created_at, created_by)
        VALUES ($1, $2, $3, (SELECT COALESCE(MAX(version), 0) + 1 FROM schemas WHERE model_id = $3), $4, $5, $6)
        RETURNING version
        "#,
        schema_id.0,
        project_id.0,
        model_id.0,
        change.source,
        change.at,
        change.by
    )
    .fetch_one(&mut *conn)
    .await?;
    for f in features {
        sqlx::query!(
            r#"
            INSERT INTO schema_features (schema_id, feature, feature_type, required, minimum, maximum,
                                         categories, max_null_share, max_duplicate_share, min_distinct,
                                         max_distinct, max_outside_share, environments)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
            "#,
            schema_id.0,
            f.feature,
            f.feature_type as FeatureType,
            f.required,
            f.minimum,
            f.maximum,
            f.categories.as_deref(),
            f.max_null_share,
            f.max_duplicate_share,
            f.min_distinct,
            f.max_distinct,
            f.max_outside_share,
            f.environments.as_deref()
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(version)
}

/// A baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    pub baseline_id: BaselineId,
    pub model_id: ModelId,
    pub name: String,
    pub source: String,
    pub window_from: Option<DateTime<Utc>>,
    pub window_to: Option<DateTime<Utc>>,
    pub file_name: Option<String>,
    pub file_sha256: Option<Vec<u8>>,
    pub version_id: Option<VersionId>,
    pub state: String,
    pub cause: Option<String>,
    pub rows: i64,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub fitted_at: Option<DateTime<Utc>>,
    /// Why somebody put it in the place of the one before.
    pub reason: Option<String>,
}

/// The baselines in force of a model, by name.
pub async fn in_force(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Baseline>> {
    sqlx::query_as!(
        Baseline,
        r#"
        SELECT baseline_id AS "baseline_id: BaselineId", model_id AS "model_id: ModelId", name, source,
               window_from, window_to, file_name, file_sha256, model_version_id AS "version_id: VersionId",
               state, cause, rows, created_at, created_by, fitted_at, reason
        FROM baselines
        WHERE model_id = $1 AND retired_at IS NULL
        ORDER BY name
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// Window baselines that wait to be fitted and whose window was over by `ended_by`.
pub async fn waiting(
    conn: &mut PgConnection,
    ended_by: DateTime<Utc>,
) -> sqlx::Result<Vec<Baseline>> {
    sqlx::query_as!(
        Baseline,
        r#"
        SELECT baseline_id AS "baseline_id: BaselineId", model_id AS "model_id: ModelId", name, source,
               window_from, window_to, file_name, file_sha256, model_version_id AS "version_id: VersionId",
               state, cause, rows, created_at, created_by, fitted_at, reason
        FROM baselines
        WHERE state = 'waiting' AND retired_at IS NULL AND window_to <= $1
        ORDER BY baseline_id
        "#,
        ended_by
    )
    .fetch_all(conn)
    .await
}

/// Puts a baseline into force; the one of the same name that was is retired.
pub async fn put(
    conn: &mut PgConnection,
    project_id: ProjectId,
    baseline: &Baseline,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE baselines SET retired_at = $3 WHERE model_id = $1 AND name = $2 AND retired_at IS NULL",
        baseline.model_id.0,
        baseline.name,
        baseline.created_at
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO baselines (baseline_id, project_id, model_id, name, source, window_from, window_to,
                               file_name, file_sha256, model_version_id, state, cause, rows, created_at,
                               created_by, fitted_at, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
        "#,
        baseline.baseline_id.0,
        project_id.0,
        baseline.model_id.0,
        baseline.name,
        baseline.source,
        baseline.window_from,
        baseline.window_to,
        baseline.file_name,
        baseline.file_sha256.as_deref(),
        baseline.version_id.map(|id| id.0),
        baseline.state,
        baseline.cause,
        baseline.rows,
        baseline.created_at,
        baseline.created_by,
        baseline.fitted_at,
        baseline.reason
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records what became of fitting a baseline: what there is to know of it, or why it failed.
pub async fn mark_fitted(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    rows: u64,
    remark: Result<Option<&str>, &str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (state, cause) = match remark {
        Ok(remark) => ("fitted", remark),
        Err(cause) => ("failed", Some(cause)),
    };
    sqlx::query!(
        r#"
        UPDATE baselines
        SET state = $2, cause = $3, rows = $4, fitted_at = $5
        WHERE baseline_id = $1
        "#,
        baseline_id.0,
        state,
        cause,
        super::intake::count(rows),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records whose predictions a window baseline was fitted on.
pub async fn mark_version(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    version_id: Option<VersionId>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE baselines SET model_version_id = $2 WHERE baseline_id = $1",
        baseline_id.0,
        version_id.map(|id| id.0)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Has a baseline on a window fitted again.
pub async fn mark_waiting(conn: &mut PgConnection, baseline_id: BaselineId) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE baselines SET state = 'waiting', fitted_at = NULL WHERE baseline_id = $1",
        baseline_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps what was inferred from a baseline's rows, so that overrides can change without the rows.
pub async fn put_inferred(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    inferred: &[FeatureExpectation],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE baselines SET inferred = $2 WHERE baseline_id = $1",
        baseline_id.0,
        Json(inferred) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was inferred from the rows of the baseline in force of that name.
pub async fn inferred(
    conn: &mut PgConnection,
    model_id: ModelId,
    name: &str,
) -> sqlx::Result<Option<Vec<FeatureExpectation>>> {
    let row = sqlx::query_scalar!(
        r#"
        SELECT inferred AS "inferred: Json<Vec<FeatureExpectation>>"
        FROM baselines
        WHERE model_id = $1 AND name = $2 AND retired_at IS NULL
        "#,
        model_id.0,
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.flatten().map(|json| json.0))
}

/// One feature's cells.
#[derive(Debug, Clone, PartialEq)]
pub struct GridFeature {
    pub feature: String,
    /// `numeric` or `categorical`.
    pub kind: String,
    pub edges: Vec<f64>,
    pub decile_edges: Vec<f64>,
}

/// The grid in force of a model and the baseline it was fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredGrid {
    pub grid_id: GridId,
    pub baseline_id: BaselineId,
    pub features: Vec<GridFeature>,
}

/// The grid in force.
pub async fn grid(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Option<StoredGrid>> {
    let Some(head) = sqlx::query!(
        r#"
        SELECT grid_id AS "grid_id: GridId", baseline_id AS "baseline_id: BaselineId"
        FROM grids
        WHERE model_id = $1 AND retired_at IS NULL
        "#,
        model_id.0
    )
    .fetch_optional(&mut *conn)
    .await?
    else {
        return Ok(None);
    };
    let features = sqlx::query_as!(
        GridFeature,
        "SELECT feature, kind, edges, decile_edges FROM grid_features WHERE grid_id = $1 ORDER BY feature",
        head.grid_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(StoredGrid {
        grid_id: head.grid_id,
        baseline_id: head.baseline_id,
        features,
    }))
}

/// The edges that a numeric feature was counted by, and from when to when.
#[derive(Debug, Clone, PartialEq)]
pub struct PastGrid {
    pub created_at: DateTime<Utc>,
    pub retired_at: Option<DateTime<Utc>>,
    pub feature: String,
    pub edges: Vec<f64>,
    pub decile_edges: Vec<f64>,
}

/// The grids that a model's numeric features are and were counted by.
pub async fn grids_of(
    conn: &mut PgConnection,
    model_id: ModelId,
    features: &[String],
) -> sqlx::Result<Vec<PastGrid>> {
    sqlx::query_as!(
        PastGrid,
        r#"
        SELECT g.created_at, g.retired_at, f.feature, f.edges, f.decile_edges
        FROM grids g
        JOIN grid_features f ON f.grid_id = g.grid_id
        WHERE g.model_id = $1 AND f.feature = ANY($2) AND f.kind = 'numeric'
        "#,
        model_id.0,
        features
    )
    .fetch_all(conn)
    .await
}

/// Puts a grid into force and retires the one before it.
pub async fn put_grid(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    grid: &StoredGrid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE grids SET retired_at = $2 WHERE model_id = $1 AND retired_at IS NULL",
        model_id.0,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO grids (grid_id, project_id, model_id, baseline_id, created_at) VALUES ($1, $2, $3, $4, $5)",
        grid.grid_id.0,
        project_id.0,
        model_id.0,
        grid.baseline_id.0,
        now
    )
    .execute(&mut *conn)
    .await?;
    for f in &grid.features {
        sqlx::query!(
            r#"
            INSERT INTO grid_features (grid_id, feature, kind, edges, decile_edges)
            VALUES ($1, $2, $3, $4, $5)
            "#,
            grid.grid_id.0,
            f.feature,
            f.kind,
            &f.edges,
            &f.decile_edges
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// One profile of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineProfile {
    pub segment: Segment,
    pub feature: String,
    pub profile: Vec<u8>,
}

/// Replaces the profiles of a baseline.
pub async fn put_profiles(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    profiles: &[BaselineProfile],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM baseline_profiles WHERE baseline_id = $1",
        baseline_id.0
    )
    .execute(&mut *conn)
    .await?;
    for p in profiles {
        sqlx::query!(
            r#"
            INSERT INTO baseline_profiles (baseline_id, segment_name, segment_value, feature, profile)
            VALUES ($1, $2, $3, $4, $5)
            "#,
            baseline_id.0,
            p.segment.name,
            p.segment.value,
            p.feature,
            p.profile
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The profiles of a baseline: all of them, or those of some features.
pub async fn profiles(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    features: Option<&[String]>,
) -> sqlx::Result<Vec<BaselineProfile>> {
    let rows = sqlx::query!(
        r#"
        SELECT segment_name, segment_value, feature, profile
        FROM baseline_profiles
        WHERE baseline_id = $1 AND ($2::text[] IS NULL OR feature = ANY($2))
        "#,
        baseline_id.0,
        features
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| BaselineProfile {
            segment: Segment {
                name: r.segment_name,
                value: r.segment_value,
            },
            feature: r.feature,
            profile: r.profile,
        })
        .collect())
}

/// Quality over a baseline's window.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineQuality {
    pub segment: Segment,
    pub measure: String,
    pub value: f64,
    pub labels: i64,
}

/// Replaces the quality of a baseline.
pub async fn put_qualities(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    qualities: &[BaselineQuality],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM baseline_qualities WHERE baseline_id = $1",
        baseline_id.0
    )
    .execute(&mut *conn)
    .await?;
    for q in qualities {
        sqlx::query!(
            r#"
            INSERT INTO baseline_qualities (baseline_id, segment_name, segment_value, measure, value, labels)
            VALUES ($1, $2, $3, $4, $5, $6)
            "#,
            baseline_id.0,
            q.segment.name,
            q.segment.value,
            q.measure,
            q.value,
            q.labels
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The quality of a baseline.
pub async fn qualities(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Vec<BaselineQuality>> {
    let rows = sqlx::query!(
        r#"
        SELECT segment_name, segment_value, measure, value, labels
        FROM baseline_qualities
        WHERE baseline_id = $1
        "#,
        baseline_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| BaselineQuality {
            segment: Segment {
                name: r.segment_name,
                value: r.segment_value,
            },
            measure: r.measure,
            value: r.value,
            labels: r.labels,
        })
        .collect())
}
