//! The windows that detectors of labels have taken in, and their states after each.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId, VersionId};

/// A window that a detector has taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCohort {
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    /// Which of the windows taken in it is, from 1.
    pub place: i64,
    pub labels: u64,
    /// The sum of their losses.
    pub losses: f64,
    pub state: Vec<u8>,
}

/// Which detector: that of a measure in a monitor, of a version's labels.
pub type Course<'a> = (VersionId, &'a str, &'a str);

/// Forgets what a detector took in while it watched something else.
pub async fn forget_others(
    conn: &mut PgConnection,
    (version_id, monitor, measure): Course<'_>,
    course: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM sequential_cohorts
        WHERE model_version_id = $1 AND monitor = $2 AND measure = $3 AND course <> $4
        "#,
        version_id.0,
        monitor,
        measure,
        course
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The place at which a window was taken in, if it was.
pub async fn place_of(
    conn: &mut PgConnection,
    (version_id, monitor, measure): Course<'_>,
    window_start: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"
        SELECT place
        FROM sequential_cohorts
        WHERE model_version_id = $1 AND monitor = $2 AND measure = $3 AND window_start = $4
        "#,
        version_id.0,
        monitor,
        measure,
        window_start
    )
    .fetch_optional(conn)
    .await
}

/// The last windows taken in up to a place, or of all, in the order in which they were; `limit` at most.
pub async fn taken(
    conn: &mut PgConnection,
    (version_id, monitor, measure): Course<'_>,
    until: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<StoredCohort>> {
    let rows = sqlx::query!(
        r#"
        SELECT window_start, window_end, place, labels, losses, state
        FROM sequential_cohorts
        WHERE model_version_id = $1 AND monitor = $2 AND measure = $3 AND ($4::bigint IS NULL OR place <= $4)
        ORDER BY place DESC
        LIMIT $5
        "#,
        version_id.0,
        monitor,
        measure,
        until,
        limit
    )
    .fetch_all(conn)
    .await?;
    let mut cohorts: Vec<StoredCohort> = rows
        .into_iter()
        .map(|r| StoredCohort {
            window_start: r.window_start,
            window_end: r.window_end,
            place: r.place,
            labels: u64::try_from(r.labels).unwrap_or(0),
            losses: r.losses,
            state: r.state,
        })
        .collect();
    cohorts.reverse();
    Ok(cohorts)
}

/// Notes that a window was taken in. A window, or a place, that is there already is an error: a label counts once.
pub async fn insert(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    (version_id, monitor, measure): Course<'_>,
    course: &str,
    cohort: &StoredCohort,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO sequential_cohorts (model_version_id, monitor, measure, window_start, project_id, model_id,
                                        window_end, course, place, labels, losses, state, measured_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        "#,
        version_id.0,
        monitor,
        measure,
        cohort.window_start,
        project_id.0,
        model_id.0,
        cohort.window_end,
        course,
        cohort.place,
        super::intake::count(cohort.labels),
        cohort.losses,
        cohort.state,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts a sound state in the place of a damaged one.
pub async fn mend(
    conn: &mut PgConnection,
    (version_id, monitor, measure): Course<'_>,
    place: i64,
    state: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE sequential_cohorts
        SET state = $5
        WHERE model_version_id = $1 AND monitor = $2 AND measure = $3 AND place = $4
        "#,
        version_id.0,
        monitor,
        measure,
        place,
        state
    )
    .execute(conn)
    .await?;
    Ok(())
}
