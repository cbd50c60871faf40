//! Measurements: computed values, the ones in force and the ones they superseded.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::copy::CopyRows;
use crate::domain::ids::{BaselineId, MeasurementId, ModelId, ProjectId, VersionId};
use crate::domain::measurement::{Measurement, Segment, Status};
use crate::domain::window::{Grain, Window};

/// Supersedes what a monitor measured of a window; it is kept.
pub async fn supersede(
    conn: &mut PgConnection,
    (version_id, monitor, window): (VersionId, &str, Window),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE measurements
        SET superseded_at = $4
        WHERE model_version_id = $1 AND monitor = $2 AND window_start = $3 AND superseded_at IS NULL
        "#,
        version_id.0,
        monitor,
        window.start,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores values of a model; what was measured of their windows earlier has been superseded.
pub async fn insert(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    measurements: &[Measurement],
) -> sqlx::Result<()> {
    const FIELDS: i16 = 23;
    let mut rows = CopyRows::new();
    for m in measurements {
        let recipe = serde_json::to_string(&m.recipe).map_err(|e| sqlx::Error::Encode(e.into()))?;
        rows.row(FIELDS);
        rows.uuid(MeasurementId::new(m.measured_at).0);
        rows.uuid(project_id.0);
        rows.uuid(model_id.0);
        rows.uuid(m.version_id.0);
        rows.text(&m.monitor);
        rows.text(m.window.grain.as_str());
        rows.timestamp(m.window.start);
        rows.timestamp(m.window.end);
        rows.text(&m.segment.name);
        rows.text(&m.segment.value);
        rows.text(&m.feature);
        rows.text(m.measure.as_str());
        rows.double(m.value);
        rows.double(m.interval.map(|(low, _)| low));
        rows.double(m.interval.map(|(_, high)| high));
        rows.double(m.p_value);
        rows.double(m.reference);
        rows.text(m.status.as_str());
        rows.bigint(super::intake::count(m.current_rows));
        rows.bigint(super::intake::count(m.reference_rows));
        match m.baseline_id {
            Some(baseline_id) => rows.uuid(baseline_id.0),
            None => rows.null(),
        }
        rows.jsonb(&recipe);
        rows.timestamp(m.measured_at);
    }
    rows.copy(
        conn,
        "COPY measurements (measurement_id, project_id, model_id, model_version_id, monitor, grain, window_start, \
         window_end, segment_name, segment_value, feature, measure, value, low, high, p_value, reference, status, \
         current_rows, reference_rows, baseline_id, recipe, measured_at) FROM STDIN (FORMAT binary)",
    )
    .await
}

/// A value in force, as rules, diagnoses and the API read it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMeasurement {
    pub version_id: VersionId,
    pub monitor: String,
    pub window: Window,
    pub segment: Segment,
    pub feature: String,
    pub measure: String,
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub p_value: Option<f64>,
    pub reference: Option<f64>,
    pub status: Status,
    pub current_rows: u64,
    pub reference_rows: u64,
    pub baseline_id: Option<BaselineId>,
    pub recipe: serde_json::Value,
    pub measured_at: DateTime<Utc>,
}

/// A row of whichever query below, each of which has a type of its own.
macro_rules! stored {
    ($row:ident) => {
        StoredMeasurement {
            version_id: $row.version_id,
            monitor: $row.monitor,
            window: Window {
                start: $row.window_start,
                end: $row.window_end,
                grain: $row.grain,
            },
            segment: Segment {
                name: $row.segment_name,
                value: $row.segment_value,
            },
            feature: $row.feature,
            measure: $row.measure,
            value: $row.value,
            interval: $row.low.zip($row.high),
            p_value: $row.p_value,
            reference: $row.reference,
            status: $row.status,
            current_rows: u64::try_from($row.current_rows).unwrap_or(0),
            reference_rows: u64::try_from($row.reference_rows).unwrap_or(0),
            baseline_id: $row.baseline_id,
            recipe: $row.recipe,
            measured_at: $row.measured_at,
        }
    };
}

/// The features of which a monitor has found any of these measures beyond what it tolerates, over all segments
/// together, in windows that lie in `[from, to)`; by name.
pub async fn drifted_features(
    conn: &mut PgConnection,
    version_id: VersionId,
    monitor: &str,
    measures: &[String],
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT feature
        FROM measurements
        WHERE model_version_id = $1 AND monitor = $2 AND window_start >= $4 AND window_end <= $5
          AND segment_name = '' AND status = 'drift' AND measure = ANY($3) AND superseded_at IS NULL
        ORDER BY feature
        "#,
        version_id.0,
        monitor,
        measures,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// Values of a window that were in force once, each with when it ceased to be; oldest first. All of what was measured at one time,
/// and of the newest times as many as it takes to have `enough` values.
pub async fn superseded(
    conn: &mut PgConnection,
    version_id: VersionId,
    monitor: &str,
    window_start: DateTime<Utc>,
    measures: &[String],
    overall_only: bool,
    enough: i64,
) -> sqlx::Result<Vec<(DateTime<Utc>, StoredMeasurement)>> {
    let rows = sqlx::query!(
        r#"
        SELECT model_version_id AS "version_id: VersionId", monitor, grain AS "grain: Grain", window_start,
               window_end, segment_name, segment_value, feature, measure, value, low, high, p_value, reference,
               status AS "status: Status", current_rows, reference_rows,
               baseline_id AS "baseline_id: BaselineId", recipe, measured_at,
               superseded_at AS "superseded_at!"
        FROM (
            SELECT *
            FROM measurements
            WHERE model_version_id = $1 AND monitor = $2 AND window_start = $3 AND superseded_at IS NOT NULL
              AND measure = ANY($4) AND (NOT $5 OR segment_name = '')
            ORDER BY superseded_at DESC, measured_at DESC
            FETCH FIRST $6 ROWS WITH TIES
        ) AS newest
        ORDER BY superseded_at, measured_at, segment_name, segment_value, feature, measure
        "#,
        version_id.0,
        monitor,
        window_start,
        measures,
        overall_only,
        enough
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let superseded_at = r.superseded_at;
            (superseded_at, stored!(r))
        })
        .collect())
}

/// Which values are asked for; `None` means any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    pub version_id: Option<VersionId>,
    pub monitor: Option<&'a str>,
    pub measures: Option<&'a [String]>,
    pub feature: Option<&'a str>,
    pub overall_only: bool,
    /// Windows that start at or after this.
    pub from: Option<DateTime<Utc>>,
    /// Windows that start before this.
    pub to: Option<DateTime<Utc>>,
}

/// The values in force of a model, oldest window first.
pub async fn in_force(
    conn: &mut PgConnection,
    model_id: ModelId,
    selection: Selection<'_>,
    limit: i64,
) -> sqlx::Result<Vec<StoredMeasurement>> {
    let rows = sqlx::query!(
        r#"
        SELECT model_version_id AS "version_id: VersionId", monitor, grain AS "grain: Grain", window_start,
               window_end, segment_name, segment_value, feature, measure, value, low, high, p_value, reference,
               status AS "status: Status", current_rows, reference_rows,
               baseline_id AS "baseline_id: BaselineId", recipe, measured_at
        FROM measurements
        WHERE model_id = $1 AND superseded_at IS NULL
          AND ($2::uuid IS NULL OR model_version_id = $2)
          AND ($3::text IS NULL OR monitor = $3)
          AND ($4::text[] IS NULL OR measure = ANY($4))
          AND ($5::text IS NULL OR feature = $5)
          AND (NOT $6 OR segment_name = '')
          AND ($7::timestamptz IS NULL OR window_start >= $7)
          AND ($8::timestamptz IS NULL OR window_start < $8)
        ORDER BY window_start, monitor, segment_name, segment_value, feature, measure
        LIMIT $9
        "#,
        model_id.0,
        selection.version_id.map(|id| id.0),
        selection.monitor,
        selection.measures,
        selection.feature,
        selection.overall_only,
        selection.from,
        selection.to,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| stored!(r)).collect())
}

/// The values in force of a model's newest windows, oldest window first: whole windows, as many as it takes to have `enough`
/// values. Fewer are all there are.
pub async fn of_newest_windows(
    conn: &mut PgConnection,
    model_id: ModelId,
    selection: Selection<'_>,
    enough: i64,
) -> sqlx::Result<Vec<StoredMeasurement>> {
    let rows = sqlx::query!(
        r#"
        SELECT model_version_id AS "version_id: VersionId", monitor, grain AS "grain: Grain", window_start,
               window_end, segment_name, segment_value, feature, measure, value, low, high, p_value, reference,
               status AS "status: Status", current_rows, reference_rows,
               baseline_id AS "baseline_id: BaselineId", recipe, measured_at
        FROM (
            SELECT *
            FROM measurements
            WHERE model_id = $1 AND superseded_at IS NULL
              AND ($2::uuid IS NULL OR model_version_id = $2)
              AND ($3::text IS NULL OR monitor = $3)
              AND ($4::text[] IS NULL OR measure = ANY($4))
              AND ($5::text IS NULL OR feature = $5)
              AND (NOT $6 OR segment_name = '')
              AND ($7::timestamptz IS NULL OR window_start >= $7)
              AND ($8::timestamptz IS NULL OR window_start < $8)
            -- All values of the last window that is reached, since they tie.
            ORDER BY window_start DESC
            FETCH FIRST $9 ROWS WITH TIES
        ) AS newest
        ORDER BY window_start, monitor, segment_name, segment_value, feature, measure
        "#,
        model_id.0,
        selection.version_id.map(|id| id.0),
        selection.monitor,
        selection.measures,
        selection.feature,
        selection.overall_only,
        selection.from,
        selection.to,
        enough
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| stored!(r)).collect())
}

/// The newest value in force of each measure of each feature and segment that a monitor has judged since `from`, of one version.
pub async fn newest(
    conn: &mut PgConnection,
    version_id: VersionId,
    monitor: &str,
    measures: &[String],
    from: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<StoredMeasurement>> {
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (measure, segment_name, segment_value, feature)
               model_version_id AS "version_id: VersionId", monitor, grain AS "grain: Grain", window_start,
               window_end, segment_name, segment_value, feature, measure, value, low, high, p_value, reference,
               status AS "status: Status", current_rows, reference_rows,
               baseline_id AS "baseline_id: BaselineId", recipe, measured_at
        FROM measurements
        WHERE model_version_id = $1 AND monitor = $2 AND measure = ANY($3) AND window_start >= $4
          AND superseded_at IS NULL AND value IS NOT NULL AND status IN ('ok', 'drift')
        ORDER BY measure, segment_name, segment_value, feature, window_start DESC
        LIMIT $5
        "#,
        version_id.0,
        monitor,
        measures,
        from,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| stored!(r)).collect())
}
