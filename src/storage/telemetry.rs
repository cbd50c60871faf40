//! Samples of telemetry, and what was sent and is not used.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::intake::count;
use crate::domain::ids::{ModelId, ProjectId};
use crate::domain::telemetry::{Counting, Reading, Sample, SampleRow, Spread, table};

/// How many names of what is not used are kept of a project; further ones are counted under the empty name.
const MOST_NAMES: i64 = 1_000;

/// Stores samples, each with its model. One that is there already stays as it is; returns how many were new.
pub async fn insert(
    conn: &mut PgConnection,
    project_id: ProjectId,
    samples: &[(ModelId, SampleRow)],
) -> sqlx::Result<u64> {
    let models: Vec<Uuid> = samples.iter().map(|(model, _)| model.0).collect();
    let measures: Vec<&str> = samples.iter().map(|(_, of)| of.measure.as_str()).collect();
    let series: Vec<i64> = samples.iter().map(|(_, of)| of.series).collect();
    let sampled_at: Vec<DateTime<Utc>> = samples.iter().map(|(_, of)| of.sampled_at).collect();
    let started_at: Vec<_> = samples.iter().map(|(_, of)| of.started_at).collect();
    let sources: Vec<&str> = samples.iter().map(|(_, of)| of.source.as_str()).collect();
    let countings: Vec<&str> = samples.iter().map(|(_, of)| of.counting.as_str()).collect();
    let values: Vec<f64> = samples.iter().map(|(_, of)| of.value).collect();
    let observations: Vec<Option<i64>> = samples.iter().map(|(_, of)| of.observations).collect();
    // Arrays of arrays have to be of one length each, so lists travel as text.
    let bounds: Vec<Option<String>> = (samples.iter())
        .map(|(_, of)| of.bounds.as_deref().map(list))
        .collect();
    let buckets: Vec<Option<String>> = (samples.iter())
        .map(|(_, of)| of.buckets.as_deref().map(list))
        .collect();
    let inserted = sqlx::query!(
        r#"
        INSERT INTO telemetry_samples (project_id, model_id, measure, series, sampled_at, started_at, source, counting,
                                       value, observations, bounds, buckets)
        SELECT $1, model_id, measure, series, sampled_at, started_at, source, counting, value, observations,
               bounds::double precision[], buckets::bigint[]
        FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[],
                    $9::double precision[], $10::bigint[], $11::text[], $12::text[])
            AS sample (model_id, measure, series, sampled_at, started_at, source, counting, value, observations,
                       bounds, buckets)
        ON CONFLICT DO NOTHING
        "#,
        project_id.0,
        &models,
        &measures as &[&str],
        &series,
        &sampled_at,
        &started_at as &[Option<DateTime<Utc>>],
        &sources as &[&str],
        &countings as &[&str],
        &values,
        &observations as &[Option<i64>],
        &bounds as &[Option<String>],
        &buckets as &[Option<String>]
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected())
}

/// An array as Postgres writes it.
fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    format!("{{{}}}", items.join(","))
}

/// Where a sample is among those of its model.
pub type SamplePlace = (String, i64, DateTime<Utc>);

/// The samples of a model in a span as they are kept, `most` of them behind `after`, in the order of their places.
pub async fn rows(
    conn: &mut PgConnection,
    model_id: ModelId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    after: Option<&SamplePlace>,
    most: i64,
) -> sqlx::Result<Vec<SampleRow>> {
    let place = after.map(|(measure, series, at)| (measure.as_str(), *series, *at));
    sqlx::query_as!(
        SampleRow,
        r#"
        SELECT measure, series, sampled_at, started_at, source, counting, value, observations, bounds, buckets
        FROM telemetry_samples
        WHERE model_id = $1 AND sampled_at >= $2 AND sampled_at < $3
          AND ($4::text IS NULL OR (measure, series, sampled_at) > ($4, $5::bigint, $6::timestamptz))
        ORDER BY measure, series, sampled_at
        LIMIT $7
        "#,
        model_id.0,
        from,
        to,
        place.map(|(measure, ..)| measure),
        place.map(|(_, series, _)| series),
        place.map(|(.., at)| at),
        most
    )
    .fetch_all(conn)
    .await
}

/// How many samples of a model there are in a span.
pub async fn rows_in(
    conn: &mut PgConnection,
    model_id: ModelId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT COUNT(*) AS "rows!"
        FROM telemetry_samples
        WHERE model_id = $1 AND sampled_at >= $2 AND sampled_at < $3
        "#,
        model_id.0,
        from,
        to
    )
    .fetch_one(conn)
    .await
}

/// Which measures a model has samples of in a range of time.
pub async fn measures(
    conn: &mut PgConnection,
    model_id: ModelId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT measure
        FROM telemetry_samples
        WHERE model_id = $1 AND sampled_at >= $2 AND sampled_at < $3
        ORDER BY measure
        "#,
        model_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// The samples of one measure in a range of time, the newest `most` of them, oldest first.
pub async fn samples(
    conn: &mut PgConnection,
    model_id: ModelId,
    measure: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    most: i64,
) -> sqlx::Result<Vec<Sample>> {
    let rows = sqlx::query!(
        r#"
        SELECT series, sampled_at, started_at, source, counting, value, observations,
               bounds AS "bounds: Vec<f64>", buckets AS "buckets: Vec<i64>"
        FROM telemetry_samples
        WHERE model_id = $1 AND measure = $2 AND sampled_at >= $3 AND sampled_at < $4
        ORDER BY sampled_at DESC
        LIMIT $5
        "#,
        model_id.0,
        measure,
        from,
        to,
        most
    )
    .fetch_all(conn)
    .await?;
    // A measure that an earlier release knew is left out.
    let Some(measure) = table().measure(measure) else {
        return Ok(Vec::new());
    };
    let samples = rows.into_iter().rev().map(|row| {
        let counting = match row.counting.as_str() {
            "delta" => Some(Counting::Delta),
            "cumulative" => Some(Counting::Cumulative),
            _ => None,
        };
        let reading = match (counting, row.observations) {
            (None, _) => Reading::Level(row.value),
            (Some(counting), None) => Reading::Count(counting, row.value),
            (Some(counting), Some(observations)) => {
                let spread = Spread {
                    count: unsigned(observations),
                    sum: row.value,
                    bounds: row.bounds.unwrap_or_default(),
                    buckets: (row.buckets.unwrap_or_default().into_iter())
                        .map(unsigned)
                        .collect(),
                };
                Reading::Spread(counting, spread)
            }
        };
        Sample {
            measure: &measure.name,
            series: row.series,
            source: row.source,
            at: row.sampled_at,
            started_at: row.started_at,
            reading,
        }
    });
    Ok(samples.collect())
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// What was sent and is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedTelemetry {
    pub signal: String,
    pub reason: String,
    /// Of the metric, the event, or the library whose records they are; empty for all beyond the first thousand.
    pub name: String,
    pub count: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

/// Counts what is not used: reason, name and how many.
pub async fn count_unused(
    conn: &mut PgConnection,
    project_id: ProjectId,
    signal: &str,
    unused: &[(&'static str, String, u64)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let reasons: Vec<&str> = unused.iter().map(|(reason, ..)| *reason).collect();
    let names: Vec<&str> = unused.iter().map(|(_, name, _)| name.as_str()).collect();
    let counts: Vec<i64> = unused.iter().map(|(.., number)| count(*number)).collect();
    sqlx::query!(
        r#"
        WITH sent AS (
            SELECT reason, name, SUM(number)::bigint AS number
            FROM (
                SELECT u.reason, u.number,
                       -- A name that is new when there are too many is not kept.
                       CASE WHEN known.name IS NOT NULL OR full_up.names < $7 THEN u.name ELSE '' END AS name
                FROM unnest($3::text[], $4::text[], $5::bigint[]) AS u (reason, name, number)
                CROSS JOIN (SELECT COUNT(*) AS names FROM unused_telemetry WHERE project_id = $1) AS full_up
                LEFT JOIN unused_telemetry known ON known.project_id = $1 AND known.signal = $2
                    AND known.reason = u.reason AND known.name = u.name
            ) AS named
            GROUP BY reason, name
        )
        INSERT INTO unused_telemetry (project_id, signal, reason, name, count, first_seen_at, last_seen_at)
        SELECT $1, $2, reason, name, number, $6, $6
        FROM sent
        -- In one order, so that concurrent writers cannot deadlock.
        ORDER BY reason, name
        ON CONFLICT (project_id, signal, reason, name) DO UPDATE
        SET count = unused_telemetry.count + EXCLUDED.count,
            last_seen_at = GREATEST(unused_telemetry.last_seen_at, EXCLUDED.last_seen_at)
        "#,
        project_id.0,
        signal,
        &reasons as &[&str],
        &names as &[&str],
        &counts,
        now,
        MOST_NAMES
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is not used of a project, the latest first.
pub async fn unused(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Vec<UnusedTelemetry>> {
    sqlx::query_as!(
        UnusedTelemetry,
        r#"
        SELECT signal, reason, name, count, first_seen_at, last_seen_at
        FROM unused_telemetry
        WHERE project_id = $1
        ORDER BY last_seen_at DESC, signal, reason, name
        LIMIT $2
        "#,
        project_id.0,
        MOST_NAMES
    )
    .fetch_all(conn)
    .await
}
