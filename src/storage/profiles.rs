//! Profiles of base windows, as blobs that `stats::profile` reads and writes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ids::{GridId, ModelId, ProjectId, VersionId};
use crate::domain::measurement::Segment;

/// Which profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileKey {
    pub version_id: VersionId,
    pub window_start: DateTime<Utc>,
    pub segment: Segment,
    pub feature: String,
}

/// A profile as stored.
#[derive(Debug, Clone)]
pub struct StoredProfile {
    pub key: ProfileKey,
    pub rows: u64,
    pub profile: Vec<u8>,
}

/// A row of the table, of which each column is a field.
struct ProfileRow {
    version_id: VersionId,
    window_start: DateTime<Utc>,
    segment_name: String,
    segment_value: String,
    feature: String,
    rows: i64,
    profile: Vec<u8>,
}

fn stored(rows: Vec<ProfileRow>) -> Vec<StoredProfile> {
    let stored = |row: ProfileRow| StoredProfile {
        key: ProfileKey {
            version_id: row.version_id,
            window_start: row.window_start,
            segment: Segment {
                name: row.segment_name,
                value: row.segment_value,
            },
            feature: row.feature,
        },
        rows: u64::try_from(row.rows).unwrap_or(0),
        profile: row.profile,
    };
    rows.into_iter().map(stored).collect()
}

/// The profiles of some segments of a version's base window. Counted on another grid than `grid_id` means not comparable, hence left out.
pub async fn of_segments(
    conn: &mut PgConnection,
    (version_id, window_start): (VersionId, DateTime<Utc>),
    segments: &[&Segment],
    grid_id: Option<GridId>,
) -> sqlx::Result<Vec<StoredProfile>> {
    let names: Vec<&str> = segments
        .iter()
        .map(|segment| segment.name.as_str())
        .collect();
    let values: Vec<&str> = segments
        .iter()
        .map(|segment| segment.value.as_str())
        .collect();
    sqlx::query_as!(
        ProfileRow,
        r#"
        SELECT model_version_id AS "version_id: VersionId", window_start, segment_name, segment_value, feature, rows,
               profile
        FROM profiles
        WHERE model_version_id = $1 AND window_start = $2 AND grid_id IS NOT DISTINCT FROM $3
          AND (segment_name, segment_value) IN (SELECT * FROM unnest($4::text[], $5::text[]))
        "#,
        version_id.0,
        window_start,
        grid_id.map(|id| id.0),
        &names as &[&str],
        &values as &[&str]
    )
    .fetch_all(conn)
    .await
    .map(stored)
}

/// The profiles of some features over all segments together, of base windows starting in `[from, to)`, oldest first, as
/// [`of_segments`] gives them.
pub async fn overall(
    conn: &mut PgConnection,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    grid_id: Option<GridId>,
    features: &[String],
) -> sqlx::Result<Vec<(String, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT feature, profile
        FROM profiles
        WHERE model_version_id = $1 AND window_start >= $2 AND window_start < $3 AND segment_name = ''
          AND grid_id IS NOT DISTINCT FROM $4 AND feature = ANY($5)
        ORDER BY window_start
        "#,
        version_id.0,
        from,
        to,
        grid_id.map(|id| id.0),
        features
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.feature, r.profile)).collect())
}

/// The profiles of some base windows, each of a version, the oldest window first. Counted on another grid than
/// `grid_id` means not comparable, hence left out.
pub async fn of_windows(
    conn: &mut PgConnection,
    windows: &[(VersionId, DateTime<Utc>)],
    grid_id: Option<GridId>,
) -> sqlx::Result<Vec<StoredProfile>> {
    let versions: Vec<Uuid> = windows.iter().map(|(version_id, _)| version_id.0).collect();
    let starts: Vec<DateTime<Utc>> = windows.iter().map(|(_, start)| *start).collect();
    // The arrays by themselves let the planner look into the partitions and keys that are asked for only.
    sqlx::query_as!(
        ProfileRow,
        r#"
        SELECT model_version_id AS "version_id: VersionId", window_start, segment_name, segment_value, feature, rows,
               profile
        FROM profiles
        WHERE model_version_id = ANY($1) AND window_start = ANY($2)
          AND (model_version_id, window_start) IN (SELECT * FROM unnest($1::uuid[], $2::timestamptz[]))
          AND grid_id IS NOT DISTINCT FROM $3
        ORDER BY window_start, model_version_id
        "#,
        &versions,
        &starts,
        grid_id.map(|id| id.0)
    )
    .fetch_all(conn)
    .await
    .map(stored)
}

/// The values of segments that are counted in a version's base windows starting in `[from, to)`, known by the
/// profiles of a feature that every row has.
pub async fn segments(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    feature: &str,
) -> sqlx::Result<Vec<Segment>> {
    sqlx::query_as!(
        Segment,
        r#"
        SELECT DISTINCT segment_name AS name, segment_value AS value
        FROM profiles
        WHERE model_version_id = $1 AND window_start >= $2 AND window_start < $3 AND feature = $4
          AND segment_name <> ''
        "#,
        version_id.0,
        from,
        to,
        feature
    )
    .fetch_all(conn)
    .await
}

/// Stores profiles, replacing those of the same key. The caller holds the model's lock and has merged what
/// was there.
pub async fn put(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    grid_id: Option<GridId>,
    profiles: &[StoredProfile],
) -> sqlx::Result<()> {
    let versions: Vec<Uuid> = profiles.iter().map(|p| p.key.version_id.0).collect();
    let starts: Vec<DateTime<Utc>> = profiles.iter().map(|p| p.key.window_start).collect();
    let segment_names: Vec<&str> = profiles
        .iter()
        .map(|p| p.key.segment.name.as_str())
        .collect();
    let segment_values: Vec<&str> = profiles
        .iter()
        .map(|p| p.key.segment.value.as_str())
        .collect();
    let features: Vec<&str> = profiles.iter().map(|p| p.key.feature.as_str()).collect();
    let rows: Vec<i64> = profiles
        .iter()
        .map(|p| super::intake::count(p.rows))
        .collect();
    let blobs: Vec<&[u8]> = profiles.iter().map(|p| p.profile.as_slice()).collect();
    sqlx::query!(
        r#"
        INSERT INTO profiles (project_id, model_id, model_version_id, window_start, segment_name, segment_value,
                              feature, grid_id, rows, profile)
        SELECT $1, $2, version_id, window_start, segment_name, segment_value, feature, $3, rows, profile
        FROM unnest($4::uuid[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::bigint[],
                    $10::bytea[])
            AS p (version_id, window_start, segment_name, segment_value, feature, rows, profile)
        ON CONFLICT (model_version_id, window_start, segment_name, segment_value, feature) DO UPDATE
        SET grid_id = EXCLUDED.grid_id, rows = EXCLUDED.rows, profile = EXCLUDED.profile
        "#,
        project_id.0,
        model_id.0,
        grid_id.map(|id| id.0),
        &versions,
        &starts,
        &segment_names as &[&str],
        &segment_values as &[&str],
        &features as &[&str],
        &rows,
        &blobs as &[&[u8]]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops a version's profiles of one base window, to be counted again.
pub async fn clear(
    conn: &mut PgConnection,
    version_id: VersionId,
    window_start: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM profiles WHERE model_version_id = $1 AND window_start = $2",
        version_id.0,
        window_start
    )
    .execute(conn)
    .await?;
    Ok(())
}
