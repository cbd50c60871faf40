//! What went over a cap: counts per project, subject, kind and day.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::intake::count;
use crate::domain::ids::{ModelId, ProjectId};

/// Which cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum OverflowKind {
    /// Models of a project that were not registered on sight.
    Models,
    /// Rows refused because their version could not be registered.
    Versions,
    /// Values of features that were dropped.
    Features,
    /// Rows counted under no value of a segment.
    SegmentValues,
    /// Rows whose category of a feature is counted together with others.
    Categories,
    /// Rows refused because a text, an id or a name in them is too long.
    Texts,
}

impl OverflowKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Models,
        Self::Versions,
        Self::Features,
        Self::SegmentValues,
        Self::Categories,
        Self::Texts,
    ];

    /// The word used in SQL, JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Versions => "versions",
            Self::Features => "features",
            Self::SegmentValues => "segment_values",
            Self::Categories => "categories",
            Self::Texts => "texts",
        }
    }
}

/// Adds to the count of a day; returns whether these are the first of that day. `subject_id` is the model, or the
/// project where there is no model.
pub async fn add(
    conn: &mut PgConnection,
    project_id: ProjectId,
    subject_id: Uuid,
    kind: OverflowKind,
    day: DateTime<Utc>,
    rows: u64,
) -> sqlx::Result<bool> {
    let total = sqlx::query_scalar!(
        r#"
        INSERT INTO overflow_counts (project_id, subject_id, kind, day, rows)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (project_id, subject_id, kind, day) DO UPDATE
        SET rows = overflow_counts.rows + EXCLUDED.rows
        RETURNING rows
        "#,
        project_id.0,
        subject_id,
        kind.as_str(),
        day,
        count(rows)
    )
    .fetch_one(conn)
    .await?;
    Ok(total == count(rows))
}

/// What went over one cap in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverflowCount {
    pub kind: OverflowKind,
    pub rows: i64,
    pub last_day: DateTime<Utc>,
}

/// What went over the caps of a model.
pub async fn of_model(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
) -> sqlx::Result<Vec<OverflowCount>> {
    sqlx::query_as!(
        OverflowCount,
        r#"
        SELECT kind AS "kind: OverflowKind", SUM(rows)::bigint AS "rows!", MAX(day) AS "last_day!"
        FROM overflow_counts
        WHERE project_id = $1 AND subject_id = $2
        GROUP BY kind
        ORDER BY kind
        "#,
        project_id.0,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// What went over one cap of a project on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverflowDay {
    pub project_id: ProjectId,
    pub kind: OverflowKind,
    pub day: DateTime<Utc>,
    pub rows: i64,
}

/// What went over the caps of all projects, from a day on.
pub async fn days(conn: &mut PgConnection, from: DateTime<Utc>) -> sqlx::Result<Vec<OverflowDay>> {
    sqlx::query_as!(
        OverflowDay,
        r#"
        SELECT project_id AS "project_id: ProjectId", kind AS "kind: OverflowKind", day,
               SUM(rows)::bigint AS "rows!"
        FROM overflow_counts
        WHERE day >= $1
        GROUP BY project_id, kind, day
        "#,
        from
    )
    .fetch_all(conn)
    .await
}

/// The models of which most went over a cap on a day, those with the most first, each with how much it was.
pub async fn worst_models(
    conn: &mut PgConnection,
    project_id: ProjectId,
    kind: OverflowKind,
    day: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT m.name, o.rows
        FROM overflow_counts o
        JOIN models m ON m.model_id = o.subject_id
        WHERE o.project_id = $1 AND o.kind = $2 AND o.day = $3
        ORDER BY o.rows DESC, m.name
        LIMIT $4
        "#,
        project_id.0,
        kind.as_str(),
        day,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.name, r.rows)).collect())
}

/// The features a model has been sent, as far as its cap allowed.
pub async fn known_features(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT feature FROM model_features WHERE model_id = $1",
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// Enters features. The caller holds the model's lock.
pub async fn add_features(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    features: &[&str],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO model_features (project_id, model_id, feature, first_seen_at)
        SELECT $1, $2, feature, $4
        FROM unnest($3::text[]) AS f (feature)
        ON CONFLICT DO NOTHING
        "#,
        project_id.0,
        model_id.0,
        features as &[&str],
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
