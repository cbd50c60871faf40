//! What projects keep, what is gone, and removing what lies outside of partitions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::keys::{self, PredictionKey};
use super::predictions::day_number;
use crate::domain::ids::{ModelId, ProjectId, VersionId};
use crate::domain::retention::{Kept, Marks, Wishes};

/// A project as retention sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Keeping {
    pub project_id: ProjectId,
    pub project: String,
    pub wishes: Wishes,
    pub marks: Marks,
    /// Up to where what lies outside of partitions was swept.
    pub swept_before: Option<DateTime<Utc>>,
    /// Why something that is past is still there, and since when.
    pub problem: Option<(String, DateTime<Utc>)>,
}

/// All projects.
pub async fn projects(conn: &mut PgConnection) -> sqlx::Result<Vec<Keeping>> {
    let rows = sqlx::query!(
        r#"
        SELECT project_id AS "project_id!: ProjectId", name AS "name!", raw_days AS "raw_days?",
               profile_days AS "profile_days?", measurement_days AS "measurement_days?", archive AS "archive?",
               raw_closed_before AS "raw_closed_before?", raw_gone_before AS "raw_gone_before?",
               profiles_gone_before AS "profiles_gone_before?",
               measurements_gone_before AS "measurements_gone_before?", keys_swept_before AS "keys_swept_before?",
               problem AS "problem?", problem_at AS "problem_at?"
        FROM projects
        LEFT JOIN project_retention USING (project_id)
        ORDER BY project_id
        "#
    )
    .fetch_all(conn)
    .await?;
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    Ok(rows
        .into_iter()
        .map(|row| Keeping {
            project_id: row.project_id,
            project: row.name,
            wishes: Wishes {
                raw_days: days(row.raw_days),
                profile_days: days(row.profile_days),
                measurement_days: days(row.measurement_days),
                archive: row.archive,
            },
            marks: Marks {
                raw_closed_before: row.raw_closed_before,
                raw_gone_before: row.raw_gone_before,
                profiles_gone_before: row.profiles_gone_before,
                measurements_gone_before: row.measurements_gone_before,
            },
            swept_before: row.keys_swept_before,
            problem: row.problem.zip(row.problem_at),
        })
        .collect())
}

/// What is gone of a project.
pub async fn marks(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<Marks> {
    let marks = sqlx::query_as!(
        Marks,
        r#"
        SELECT raw_closed_before, raw_gone_before, profiles_gone_before, measurements_gone_before
        FROM project_retention
        WHERE project_id = $1
        "#,
        project_id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(marks.unwrap_or_default())
}

/// As in [`marks`], before when nothing is taken in any more; stays true until the end of the transaction.
pub async fn closed_before(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    // Nothing can be locked of a project that says nothing and of which nothing was ever closed.
    sqlx::query!(
        "INSERT INTO project_retention (project_id) VALUES ($1) ON CONFLICT DO NOTHING",
        project_id.0
    )
    .execute(&mut *conn)
    .await?;
    let closed = sqlx::query_scalar!(
        "SELECT raw_closed_before FROM project_retention WHERE project_id = $1 FOR SHARE",
        project_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(closed)
}

/// Sets what a project wishes.
pub async fn wish(
    conn: &mut PgConnection,
    project_id: ProjectId,
    wishes: Wishes,
) -> sqlx::Result<()> {
    let days = |days: Option<u32>| days.map(|days| i32::try_from(days).unwrap_or(i32::MAX));
    sqlx::query!(
        r#"
        INSERT INTO project_retention (project_id, raw_days, profile_days, measurement_days, archive)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (project_id) DO UPDATE
        SET raw_days = EXCLUDED.raw_days, profile_days = EXCLUDED.profile_days,
            measurement_days = EXCLUDED.measurement_days, archive = EXCLUDED.archive
        "#,
        project_id.0,
        days(wishes.raw_days),
        days(wishes.profile_days),
        days(wishes.measurement_days),
        wishes.archive
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whose rows a window's partitions hold.
pub async fn occupants(
    conn: &mut PgConnection,
    kept: Kept,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<BTreeSet<ProjectId>> {
    let projects = match kept {
        Kept::Raw => {
            sqlx::query_scalar!(
                r#"
                SELECT DISTINCT project_id AS "project_id!: ProjectId"
                FROM (SELECT project_id FROM prediction_chunks WHERE day >= $1 AND day < $2
                      UNION ALL
                      SELECT project_id FROM telemetry_samples WHERE sampled_at >= $1 AND sampled_at < $2) AS raw
                "#,
                from,
                to
            )
            .fetch_all(conn)
            .await?
        }
        Kept::Profiles => {
            sqlx::query_scalar!(
                r#"
                SELECT DISTINCT project_id AS "project_id: ProjectId"
                FROM profiles
                WHERE window_start >= $1 AND window_start < $2
                "#,
                from,
                to
            )
            .fetch_all(conn)
            .await?
        }
        Kept::Measurements => {
            sqlx::query_scalar!(
                r#"
                SELECT DISTINCT project_id AS "project_id: ProjectId"
                FROM measurements
                WHERE window_start >= $1 AND window_start < $2
                "#,
                from,
                to
            )
            .fetch_all(conn)
            .await?
        }
    };
    Ok(projects.into_iter().collect())
}

/// Locks the models of some projects, as [`super::models::lock`] does one.
async fn lock_models(conn: &mut PgConnection, projects: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT model_id FROM models WHERE project_id = ANY($1) ORDER BY model_id FOR NO KEY UPDATE",
        projects
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Closes days of some projects: once this is committed, nothing more is settled into them. Waits for what is being
/// settled, by the locks of the models.
pub async fn close(
    conn: &mut PgConnection,
    projects: &BTreeSet<ProjectId>,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    lock_models(conn, &ids).await?;
    sqlx::query!(
        r#"
        INSERT INTO project_retention (project_id, raw_closed_before)
        SELECT project_id, $2
        FROM unnest($1::uuid[]) AS p (project_id)
        ON CONFLICT (project_id) DO UPDATE
        SET raw_closed_before = EXCLUDED.raw_closed_before
        WHERE project_retention.raw_closed_before IS NULL
           OR project_retention.raw_closed_before < EXCLUDED.raw_closed_before
        "#,
        &ids,
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that everything of a kind from before an instant is gone. Whoever measures or counts again holds a model's lock,
/// and looks at what is gone before it looks at rows: so it is waited for, but for no longer than a moment (error 55P03).
pub async fn mark_gone(
    conn: &mut PgConnection,
    projects: &BTreeSet<ProjectId>,
    kept: Kept,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    sqlx::query!("SET LOCAL lock_timeout = '2s'")
        .execute(&mut *conn)
        .await?;
    lock_models(conn, &ids).await?;
    sqlx::query!(
        r#"
        INSERT INTO project_retention AS r (project_id, raw_closed_before, raw_gone_before, profiles_gone_before,
                                            measurements_gone_before)
        SELECT project_id, CASE WHEN $3 = 'raw' THEN $2::timestamptz END,
               CASE WHEN $3 = 'raw' THEN $2::timestamptz END, CASE WHEN $3 = 'profiles' THEN $2::timestamptz END,
               CASE WHEN $3 = 'measurements' THEN $2::timestamptz END
        FROM unnest($1::uuid[]) AS p (project_id)
        ON CONFLICT (project_id) DO UPDATE
        SET raw_closed_before = GREATEST(r.raw_closed_before, EXCLUDED.raw_closed_before),
            raw_gone_before = GREATEST(r.raw_gone_before, EXCLUDED.raw_gone_before),
            profiles_gone_before = GREATEST(r.profiles_gone_before, EXCLUDED.profiles_gone_before),
            measurements_gone_before = GREATEST(r.measurements_gone_before, EXCLUDED.measurements_gone_before)
        "#,
        &ids,
        before,
        kept.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes why what is past is still there, or that nothing stands in the way any more.
pub async fn note_problem(
    conn: &mut PgConnection,
    project_id: ProjectId,
    problem: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO project_retention (project_id, problem, problem_at)
        VALUES ($1, $2, CASE WHEN $2::text IS NOT NULL THEN $3::timestamptz END)
        ON CONFLICT (project_id) DO UPDATE
        SET problem = EXCLUDED.problem,
            problem_at = CASE WHEN EXCLUDED.problem IS NULL THEN NULL
                              ELSE COALESCE(project_retention.problem_at, EXCLUDED.problem_at) END
        WHERE project_retention.problem IS DISTINCT FROM EXCLUDED.problem
        "#,
        project_id.0,
        problem,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes projects' rows from the partitions of a window that others still need.
pub async fn delete(
    conn: &mut PgConnection,
    kept: Kept,
    projects: &BTreeSet<ProjectId>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    match kept {
        Kept::Raw => {
            sqlx::query!(
                "DELETE FROM chunk_columns WHERE project_id = ANY($1) AND day >= $2 AND day < $3",
                &ids,
                from,
                to
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM prediction_chunks WHERE project_id = ANY($1) AND day >= $2 AND day < $3",
                &ids,
                from,
                to
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM outcomes WHERE project_id = ANY($1) AND predicted_at >= $2 AND predicted_at < $3",
                &ids,
                from,
                to
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM telemetry_samples WHERE project_id = ANY($1) AND sampled_at >= $2 AND sampled_at < $3",
                &ids,
                from,
                to
            )
            .execute(conn)
            .await?;
        }
        Kept::Profiles => {
            sqlx::query!(
                "DELETE FROM profiles WHERE project_id = ANY($1) AND window_start >= $2 AND window_start < $3",
                &ids,
                from,
                to
            )
            .execute(conn)
            .await?;
        }
        Kept::Measurements => {
            sqlx::query!(
                "DELETE FROM measurements WHERE project_id = ANY($1) AND window_start >= $2 AND window_start < $3",
                &ids,
                from,
                to
            )
            .execute(conn)
            .await?;
        }
    }
    Ok(())
}

/// Deletes what goes with profiles and measurements of before an instant and has no partitions: few and narrow rows.
pub async fn delete_beside(
    conn: &mut PgConnection,
    kept: Kept,
    projects: &BTreeSet<ProjectId>,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    match kept {
        Kept::Raw => {}
        Kept::Profiles => {
            sqlx::query!(
                "DELETE FROM window_states WHERE project_id = ANY($1) AND window_start < $2",
                &ids,
                before
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM shift_days WHERE project_id = ANY($1) AND window_start < date_trunc('day', $2::timestamptz, 'UTC')",
                &ids,
                before
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM joint_days WHERE project_id = ANY($1) AND day < ($2 AT TIME ZONE 'UTC')::date",
                &ids,
                before
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM objective_counts WHERE project_id = ANY($1) AND window_start < $2",
                &ids,
                before
            )
            .execute(&mut *conn)
            .await?;
            // What a detector has learnt is in its state after the last window, which goes with that window only.
            sqlx::query!(
                "DELETE FROM sequential_cohorts WHERE project_id = ANY($1) AND window_start < $2",
                &ids,
                before
            )
            .execute(conn)
            .await?;
        }
        Kept::Measurements => {
            sqlx::query!(
                "DELETE FROM measured_windows WHERE project_id = ANY($1) AND window_start < $2",
                &ids,
                before
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!(
                "DELETE FROM estimate_checks WHERE project_id = ANY($1) AND window_start < $2",
                &ids,
                before
            )
            .execute(conn)
            .await?;
        }
    }
    Ok(())
}

/// Whether some window of these projects that starts in the span has yet to be measured.
pub async fn is_pending(
    conn: &mut PgConnection,
    projects: &BTreeSet<ProjectId>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<bool> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM window_states
            WHERE project_id = ANY($1) AND window_start >= $2 AND window_start < $3 AND pending
        ) AS "pending!"
        "#,
        &ids,
        from,
        to
    )
    .fetch_one(conn)
    .await
}

/// Deletes the keys of a project's predictions of before a day. Days that were given back keep theirs.
pub async fn sweep_keys(
    conn: &mut PgConnection,
    project_id: ProjectId,
    before: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let models = sqlx::query_scalar!(
        r#"SELECT model_id AS "model_id: ModelId" FROM models WHERE project_id = $1 ORDER BY model_id"#,
        project_id.0
    )
    .fetch_all(&mut *conn)
    .await?;
    let before_day = day_number(before);
    let mut swept = 0;
    for model_id in models {
        let restored = sqlx::query_scalar!(
            "SELECT day FROM restored_days WHERE model_id = $1 AND day < $2",
            model_id.0,
            before
        )
        .fetch_all(&mut *conn)
        .await?;
        let restored: BTreeSet<i16> = restored.into_iter().map(day_number).collect();
        let is_gone =
            |key: &PredictionKey| key.chunk.day < before_day && !restored.contains(&key.chunk.day);
        swept += keys::sweep(conn, model_id, before_day, is_gone).await?;
    }
    Ok(swept)
}

/// What was swept beside the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub labels: u64,
    pub batches: u64,
}

/// Deletes labels that were observed and came before an instant, their corrections, and batches that came before it
/// with what was refused of them. A label is observed after its prediction, so the predictions of all these are gone.
pub async fn sweep_received(
    conn: &mut PgConnection,
    project_id: ProjectId,
    before: DateTime<Utc>,
) -> sqlx::Result<Swept> {
    let labels = sqlx::query!(
        "DELETE FROM labels WHERE project_id = $1 AND observed_at < $2 AND received_at < $2",
        project_id.0,
        before
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM label_revisions WHERE project_id = $1 AND observed_at < $2 AND received_at < $2",
        project_id.0,
        before
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM rejected_rows r
        USING landed_batches b
        WHERE b.batch_id = r.batch_id AND b.project_id = $1 AND b.received_at < $2 AND b.state = 'settled'
        "#,
        project_id.0,
        before
    )
    .execute(&mut *conn)
    .await?;
    let batches = sqlx::query!(
        "DELETE FROM landed_batches WHERE project_id = $1 AND received_at < $2 AND state = 'settled'",
        project_id.0,
        before
    )
    .execute(conn)
    .await?;
    Ok(Swept {
        labels: labels.rows_affected(),
        batches: batches.rows_affected(),
    })
}

/// Notes up to where what lies outside of partitions was swept.
pub async fn mark_swept(
    conn: &mut PgConnection,
    project_id: ProjectId,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE project_retention SET keys_swept_before = $2 WHERE project_id = $1",
        project_id.0,
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The models that have predictions or samples of telemetry in a day, with the versions of their predictions.
pub async fn models_in(
    conn: &mut PgConnection,
    project_id: ProjectId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<BTreeMap<ModelId, Vec<VersionId>>> {
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT model_id AS "model_id!: ModelId", model_version_id AS "version_id?: VersionId"
        FROM (SELECT model_id, model_version_id
              FROM prediction_chunks
              WHERE project_id = $1 AND day >= $2 AND day < $3
              UNION ALL
              SELECT model_id, NULL
              FROM telemetry_samples
              WHERE project_id = $1 AND sampled_at >= $2 AND sampled_at < $3) AS raw
        ORDER BY 1, 2
        "#,
        project_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    let mut models: BTreeMap<ModelId, Vec<VersionId>> = BTreeMap::new();
    for row in rows {
        let versions = models.entry(row.model_id).or_default();
        versions.extend(row.version_id);
    }
    Ok(models)
}

/// How many predictions projects have in a span.
pub async fn rows_in(
    conn: &mut PgConnection,
    projects: &BTreeSet<ProjectId>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<i64> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    sqlx::query_scalar!(
        r#"
        SELECT COALESCE(SUM(rows), 0)::bigint AS "rows!"
        FROM prediction_chunks
        WHERE project_id = ANY($1) AND day >= $2 AND day < $3
        "#,
        &ids,
        from,
        to
    )
    .fetch_one(conn)
    .await
}

/// A day that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredDay {
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub day: DateTime<Utc>,
    pub keep_until: DateTime<Utc>,
}

/// The days that were given back, of all projects.
pub async fn restored(conn: &mut PgConnection) -> sqlx::Result<Vec<RestoredDay>> {
    sqlx::query_as!(
        RestoredDay,
        r#"
        SELECT project_id AS "project_id: ProjectId", model_id AS "model_id: ModelId", day, keep_until
        FROM restored_days
        "#
    )
    .fetch_all(conn)
    .await
}

/// The days of a model that were given back.
pub async fn restored_of(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<BTreeSet<DateTime<Utc>>> {
    let days = sqlx::query_scalar!(
        "SELECT day FROM restored_days WHERE model_id = $1",
        model_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(days.into_iter().collect())
}

/// Notes that a day is given back and how long it stays.
pub async fn note_restored(
    conn: &mut PgConnection,
    day: &RestoredDay,
    (by, now): (&str, DateTime<Utc>),
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO restored_days (project_id, model_id, day, restored_at, restored_by, keep_until)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (model_id, day) DO UPDATE
        SET restored_at = EXCLUDED.restored_at, restored_by = EXCLUDED.restored_by, keep_until = EXCLUDED.keep_until
        "#,
        day.project_id.0,
        day.model_id.0,
        day.day,
        now,
        by,
        day.keep_until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets that days of some projects were given back: they are gone again.
pub async fn forget_restored(
    conn: &mut PgConnection,
    projects: &BTreeSet<ProjectId>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = projects.iter().map(|project| project.0).collect();
    let forgotten = sqlx::query!(
        "DELETE FROM restored_days WHERE project_id = ANY($1) AND day >= $2 AND day < $3",
        &ids,
        from,
        to
    )
    .execute(&mut *conn)
    .await?;
    if forgotten.rows_affected() > 0 {
        // What lies outside of partitions came back with them, and has to be swept once more.
        sqlx::query!(
            "UPDATE project_retention SET keys_swept_before = NULL WHERE project_id = ANY($1)",
            &ids
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Takes the turn of those who move raw rows as a whole (removing, archiving, giving back, erasing) until the end of the
/// transaction; `false` when another has it.
pub async fn try_turn(conn: &mut PgConnection) -> sqlx::Result<bool> {
    // It is idle while others do the work. A server that ended it for that would give the turn to another.
    sqlx::query!("SET LOCAL idle_in_transaction_session_timeout = 0")
        .execute(&mut *conn)
        .await?;
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock(4802110711) AS "had!""#)
        .fetch_one(conn)
        .await
}
