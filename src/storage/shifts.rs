//! The default drift detector's references, and the days that were judged by them, as blobs that `stats::detector`
//! reads and writes.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::ids::{BaselineId, ModelId, ProjectId, VersionId};
use crate::domain::shift::State;

/// What was fitted on the days of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReference {
    pub baseline_id: BaselineId,
    /// The first and the last day; `None` where rows have no times.
    pub span: Option<(NaiveDate, NaiveDate)>,
    pub days: usize,
    /// `days`, or `rows` where there are too few of them.
    pub footing: String,
    pub left_out: Vec<NaiveDate>,
    pub unstable: Vec<NaiveDate>,
    /// Its days that are holidays of the model, which it was fitted without.
    pub holidays: Vec<NaiveDate>,
    /// Features whose days could not be counted alike.
    pub unusable: Vec<String>,
    pub reference: Vec<u8>,
}

/// Puts the reference of a baseline in the place of an earlier one, whose days go with it: they are in other bins.
pub async fn put_reference(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    reference: &StoredReference,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        DELETE FROM shift_days d
        USING model_versions v
        WHERE v.model_id = $1 AND d.model_version_id = v.model_version_id AND d.baseline_id = $2
        "#,
        model_id.0,
        reference.baseline_id.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO shift_references (baseline_id, project_id, model_id, first_day, last_day, days, footing,
                                      left_out, unstable, unusable, reference, fitted_at, holidays)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT (baseline_id) DO UPDATE
        SET first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day, days = EXCLUDED.days,
            footing = EXCLUDED.footing, left_out = EXCLUDED.left_out, unstable = EXCLUDED.unstable,
            unusable = EXCLUDED.unusable, reference = EXCLUDED.reference, fitted_at = EXCLUDED.fitted_at,
            holidays = EXCLUDED.holidays
        "#,
        reference.baseline_id.0,
        project_id.0,
        model_id.0,
        reference.span.map(|(first, _)| first),
        reference.span.map(|(_, last)| last),
        i32::try_from(reference.days).unwrap_or(i32::MAX),
        reference.footing,
        &reference.left_out,
        &reference.unstable,
        &reference.unusable,
        reference.reference,
        now,
        &reference.holidays
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The reference of a baseline.
pub async fn reference(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> sqlx::Result<Option<StoredReference>> {
    let row = sqlx::query!(
        r#"
        SELECT first_day, last_day, days, footing, left_out, unstable, unusable, reference, holidays
        FROM shift_references
        WHERE baseline_id = $1
        "#,
        baseline_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| StoredReference {
        baseline_id,
        span: r.first_day.zip(r.last_day),
        days: usize::try_from(r.days).unwrap_or(0),
        footing: r.footing,
        left_out: r.left_out,
        unstable: r.unstable,
        holidays: r.holidays,
        unusable: r.unusable,
        reference: r.reference,
    }))
}

/// Which days: those of a version in the bins of a baseline.
pub type Course = (VersionId, BaselineId);

/// The tallies of the days in `[from, to)`, the oldest first.
pub async fn days(
    conn: &mut PgConnection,
    (version_id, baseline_id): Course,
    from: NaiveDate,
    to: NaiveDate,
) -> sqlx::Result<Vec<(NaiveDate, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT day, tallies
        FROM shift_days
        WHERE model_version_id = $1 AND baseline_id = $2 AND day >= $3 AND day < $4
        ORDER BY day
        "#,
        version_id.0,
        baseline_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.day, r.tallies)).collect())
}

/// What was going on after the last judged day before this one.
pub async fn state_before(
    conn: &mut PgConnection,
    (version_id, baseline_id): Course,
    day: NaiveDate,
) -> sqlx::Result<Option<State>> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT state AS "state: Json<State>"
        FROM shift_days
        WHERE model_version_id = $1 AND baseline_id = $2 AND day < $3
        ORDER BY day DESC
        LIMIT 1
        "#,
        version_id.0,
        baseline_id.0,
        day
    )
    .fetch_optional(conn)
    .await?;
    Ok(state.map(|json| json.0))
}

/// A judged day.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDay {
    pub day: NaiveDate,
    pub tallies: Vec<u8>,
    pub state: State,
}

/// Stores a judged day in the place of what was said of it before.
pub async fn put_day(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    (version_id, baseline_id): Course,
    day: &StoredDay,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO shift_days (model_version_id, baseline_id, day, project_id, model_id, tallies, state, measured_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (model_version_id, baseline_id, day) DO UPDATE
        SET tallies = EXCLUDED.tallies, state = EXCLUDED.state, measured_at = EXCLUDED.measured_at
        "#,
        version_id.0,
        baseline_id.0,
        day.day,
        project_id.0,
        model_id.0,
        day.tallies,
        Json(&day.state) as _,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
