//! The default drift detector's references, and the days and hours that were judged by them, as blobs that `stats::detector`
//! reads and writes.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::ids::{BaselineId, ModelId, ProjectId, VersionId};
use crate::domain::shift::{State, Unit};

/// What was fitted on the days, or the hours, of a baseline. Both are told by their numbers from the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReference {
    pub baseline_id: BaselineId,
    pub unit: Unit,
    /// The first and the last; `None` where rows have no times.
    pub span: Option<(i64, i64)>,
    /// How many days they are of, and how many they are.
    pub days: usize,
    pub counted: usize,
    /// `days`, or `rows` where there are too few of them.
    pub footing: String,
    pub left_out: Vec<i64>,
    /// Of hours the first of each day.
    pub unstable: Vec<i64>,
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
    let unit = reference.unit;
    let starts = |numbers: &[i64]| -> Vec<DateTime<Utc>> {
        numbers
            .iter()
            .map(|number| unit.start_of(*number))
            .collect()
    };
    sqlx::query!(
        r#"
        DELETE FROM shift_days d
        USING model_versions v
        WHERE v.model_id = $1 AND d.model_version_id = v.model_version_id AND d.baseline_id = $2 AND d.grain = $3
        "#,
        model_id.0,
        reference.baseline_id.0,
        unit.word()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO shift_references (baseline_id, project_id, model_id, first_at, last_at, days, footing, left_out,
                                      unstable, unusable, reference, fitted_at, holidays, grain, counted)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT (baseline_id, grain) DO UPDATE
        SET first_at = EXCLUDED.first_at, last_at = EXCLUDED.last_at, days = EXCLUDED.days,
            footing = EXCLUDED.footing, left_out = EXCLUDED.left_out, unstable = EXCLUDED.unstable,
            unusable = EXCLUDED.unusable, reference = EXCLUDED.reference, fitted_at = EXCLUDED.fitted_at,
            holidays = EXCLUDED.holidays, counted = EXCLUDED.counted
        "#,
        reference.baseline_id.0,
        project_id.0,
        model_id.0,
        reference.span.map(|(first, _)| unit.start_of(first)),
        reference.span.map(|(_, last)| unit.start_of(last)),
        i32::try_from(reference.days).unwrap_or(i32::MAX),
        reference.footing,
        &starts(&reference.left_out),
        &starts(&reference.unstable),
        &reference.unusable,
        reference.reference,
        now,
        &reference.holidays,
        unit.word(),
        i32::try_from(reference.counted).unwrap_or(i32::MAX)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The reference of a baseline's days or hours.
pub async fn reference(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    unit: Unit,
) -> sqlx::Result<Option<StoredReference>> {
    let row = sqlx::query!(
        r#"
        SELECT first_at, last_at, days, counted, footing, left_out, unstable, unusable, reference, holidays
        FROM shift_references
        WHERE baseline_id = $1 AND grain = $2
        "#,
        baseline_id.0,
        unit.word()
    )
    .fetch_optional(conn)
    .await?;
    let numbers = |starts: Vec<DateTime<Utc>>| -> Vec<i64> {
        starts.into_iter().map(|start| unit.number(start)).collect()
    };
    Ok(row.map(|r| StoredReference {
        baseline_id,
        unit,
        span: (r.first_at.zip(r.last_at))
            .map(|(first, last)| (unit.number(first), unit.number(last))),
        days: usize::try_from(r.days).unwrap_or(0),
        counted: usize::try_from(r.counted).unwrap_or(0),
        footing: r.footing,
        left_out: numbers(r.left_out),
        unstable: numbers(r.unstable),
        holidays: r.holidays,
        unusable: r.unusable,
        reference: r.reference,
    }))
}

/// Which days or hours: those of a version in the bins of a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Course {
    pub version_id: VersionId,
    pub baseline_id: BaselineId,
    pub unit: Unit,
}

/// The tallies of those with a number in `[from, to)`, the oldest first.
pub async fn tallies(
    conn: &mut PgConnection,
    course: Course,
    from: i64,
    to: i64,
) -> sqlx::Result<Vec<(i64, Vec<u8>)>> {
    let unit = course.unit;
    let rows = sqlx::query!(
        r#"
        SELECT window_start, tallies
        FROM shift_days
        WHERE model_version_id = $1 AND baseline_id = $2 AND grain = $3 AND window_start >= $4 AND window_start < $5
        ORDER BY window_start
        "#,
        course.version_id.0,
        course.baseline_id.0,
        unit.word(),
        unit.start_of(from),
        unit.start_of(to)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| (unit.number(r.window_start), r.tallies))
        .collect())
}

/// What was going on after the last one judged before this.
pub async fn state_before(
    conn: &mut PgConnection,
    course: Course,
    number: i64,
) -> sqlx::Result<Option<State>> {
    let state = sqlx::query_scalar!(
        r#"
        SELECT state AS "state: Json<State>"
        FROM shift_days
        WHERE model_version_id = $1 AND baseline_id = $2 AND grain = $3 AND window_start < $4
        ORDER BY window_start DESC
        LIMIT 1
        "#,
        course.version_id.0,
        course.baseline_id.0,
        course.unit.word(),
        course.unit.start_of(number)
    )
    .fetch_optional(conn)
    .await?;
    Ok(state.map(|json| json.0))
}

/// A judged day or hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub number: i64,
    pub tallies: Vec<u8>,
    pub state: State,
}

/// Stores a judged day or hour in the place of what was said of it before.
pub async fn put(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    course: Course,
    counted: &Counted,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO shift_days (model_version_id, baseline_id, grain, window_start, project_id, model_id, tallies, state,
                                measured_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (model_version_id, baseline_id, grain, window_start) DO UPDATE
        SET tallies = EXCLUDED.tallies, state = EXCLUDED.state, measured_at = EXCLUDED.measured_at
        "#,
        course.version_id.0,
        course.baseline_id.0,
        course.unit.word(),
        course.unit.start_of(counted.number),
        project_id.0,
        model_id.0,
        counted.tallies,
        Json(&counted.state) as _,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
