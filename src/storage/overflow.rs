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
}

impl OverflowKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Models,
        Self::Versions,
        Self::Features,
        Self::SegmentValues,
    ];

    /// The word used in SQL, JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Versions => "versions",
            Self::Features => "features",
            Self::SegmentValues => "segment_values",
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
