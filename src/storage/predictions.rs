//! Predictions by column. A chunk is up to some thousand predictions of one version and UTC day; its columns are arrays with
//! an element per prediction (see `domain::packing`). What finds one by its id is in [`super::keys`].

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::copy::CopyRows;
use crate::domain::columns::Column;
use crate::domain::ids::{ModelId, ProjectId, VersionId};
use crate::domain::packing::{PackedColumn, PackedValues, Units, ValueType};

/// The day that days are counted from in keys.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");

/// A day as keys have it.
#[must_use]
pub fn day_number(day: DateTime<Utc>) -> i16 {
    let days = (day.date_naive() - FIRST_DAY).num_days();
    i16::try_from(days).unwrap_or(if days < 0 { i16::MIN } else { i16::MAX })
}

fn day_of(number: i16) -> DateTime<Utc> {
    let day = FIRST_DAY + TimeDelta::days(number.into());
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// Which chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkKey {
    pub version_number: i32,
    /// Days since 2000-01-01.
    pub day: i16,
    pub chunk: i32,
}

/// What a column of a chunk is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum ColumnKind {
    /// The prediction itself; the names are those of [`row_column`].
    Row,
    /// A segment sent with the prediction.
    Segment,
    Feature,
}

impl ColumnKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Segment => "segment",
            Self::Feature => "feature",
        }
    }
}

/// Names of the columns that are about the prediction itself.
pub mod row_column {
    pub const PREDICTION_ID: &str = "prediction_id";
    pub const PREDICTED_AT: &str = "predicted_at";
    pub const VALUE: &str = "value";
    pub const CLASS: &str = "class";
    pub const SCORE: &str = "score";
    pub const PROBABILITIES: &str = "probabilities";
    pub const LATENCY_MS: &str = "latency_ms";
    pub const ERROR: &str = "error";
    pub const DEPLOYMENT: &str = "deployment";
}

/// A chunk to be stored. Columns in which no row has a value are left out.
#[derive(Debug, Clone)]
pub struct NewChunk {
    pub version_id: VersionId,
    pub day: DateTime<Utc>,
    pub chunk: i32,
    pub rows: usize,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    pub columns: Vec<(ColumnKind, String, PackedColumn)>,
}

/// The last chunk of a version and day and how many rows it has.
pub async fn last_chunk(
    conn: &mut PgConnection,
    version_id: VersionId,
    day: DateTime<Utc>,
) -> sqlx::Result<Option<(i32, i32)>> {
    let last = sqlx::query!(
        r#"
        SELECT chunk, rows
        FROM prediction_chunks
        WHERE model_version_id = $1 AND day = $2
        ORDER BY chunk DESC
        LIMIT 1
        "#,
        version_id.0,
        day
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.map(|last| (last.chunk, last.rows)))
}

/// Takes a chunk out, to be stored again with more rows under the same number.
pub async fn remove_chunk(
    conn: &mut PgConnection,
    version_id: VersionId,
    day: DateTime<Utc>,
    chunk: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"DELETE FROM chunk_columns WHERE model_version_id = $1 AND day = $2 AND chunk = $3"#,
        version_id.0,
        day,
        chunk
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"DELETE FROM prediction_chunks WHERE model_version_id = $1 AND day = $2 AND chunk = $3"#,
        version_id.0,
        day,
        chunk
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores chunks.
pub async fn insert_chunks(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    chunks: &[NewChunk],
) -> sqlx::Result<()> {
    insert_heads(conn, project_id, model_id, chunks).await?;
    let mut columns = CopyRows::new();
    for chunk in chunks {
        for (kind, name, packed) in &chunk.columns {
            columns.row(19);
            push_place(&mut columns, project_id, model_id, chunk);
            columns.text(kind.as_str());
            columns.text(name);
            push_packed(&mut columns, packed);
        }
    }
    let statement = "COPY chunk_columns (project_id, model_id, model_version_id, day, chunk, kind, name, value_type,
                                         base, scale, small_units, medium_units, large_units, numbers, uuids,
                                         texts, categories, reals, absent)
                     FROM STDIN (FORMAT binary)";
    columns.copy(conn, statement).await
}

/// Stores what chunks are but for their columns. Not by `COPY`, which waits where it ends: see [`CopyRows::copy`].
async fn insert_heads(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    chunks: &[NewChunk],
) -> sqlx::Result<()> {
    let versions: Vec<Uuid> = chunks.iter().map(|chunk| chunk.version_id.0).collect();
    let days: Vec<DateTime<Utc>> = chunks.iter().map(|chunk| chunk.day).collect();
    let numbers: Vec<i32> = chunks.iter().map(|chunk| chunk.chunk).collect();
    let rows = chunks.iter().map(|chunk| i32::try_from(chunk.rows));
    let rows: Vec<i32> = rows.map(|rows| rows.unwrap_or(i32::MAX)).collect();
    let firsts: Vec<DateTime<Utc>> = chunks.iter().map(|chunk| chunk.first_at).collect();
    let lasts: Vec<DateTime<Utc>> = chunks.iter().map(|chunk| chunk.last_at).collect();
    sqlx::query!(
        r#"
        INSERT INTO prediction_chunks (project_id, model_id, model_version_id, day, chunk, rows, first_at, last_at)
        SELECT $1, $2, c.version, c.day, c.chunk, c.rows, c.first_at, c.last_at
        FROM unnest($3::uuid[], $4::timestamptz[], $5::integer[], $6::integer[], $7::timestamptz[], $8::timestamptz[])
             AS c (version, day, chunk, rows, first_at, last_at)
        "#,
        project_id.0,
        model_id.0,
        &versions,
        &days,
        &numbers,
        &rows,
        &firsts,
        &lasts
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn push_place(rows: &mut CopyRows, project_id: ProjectId, model_id: ModelId, chunk: &NewChunk) {
    rows.uuid(project_id.0);
    rows.uuid(model_id.0);
    rows.uuid(chunk.version_id.0);
    rows.timestamp(chunk.day);
    rows.integer(chunk.chunk);
}

fn push_packed(rows: &mut CopyRows, packed: &PackedColumn) {
    rows.text(packed.value_type.as_str());
    let (base, scale) = match &packed.values {
        PackedValues::Units { base, scale, .. } => (*base, *scale),
        _ => (0, 0),
    };
    rows.bigint(base);
    rows.smallint(scale);
    // small, medium and large units, numbers, uuids, texts, categories, reals: nulls around what is there.
    let nulls = |rows: &mut CopyRows, count: usize| (0..count).for_each(|_| rows.null());
    match &packed.values {
        PackedValues::Units { units, .. } => {
            match units {
                Units::Small(units) => {
                    rows.array(units);
                    nulls(rows, 2);
                }
                Units::Medium(units) => {
                    nulls(rows, 1);
                    rows.array(units);
                    nulls(rows, 1);
                }
                Units::Large(units) => {
                    nulls(rows, 2);
                    rows.array(units);
                }
            }
            nulls(rows, 5);
        }
        PackedValues::Numbers(numbers) => {
            nulls(rows, 3);
            rows.array(numbers);
            nulls(rows, 4);
        }
        PackedValues::Uuids(uuids) => {
            nulls(rows, 4);
            rows.array(uuids);
            nulls(rows, 3);
        }
        PackedValues::Texts(texts) => {
            nulls(rows, 5);
            rows.array(texts);
            nulls(rows, 2);
        }
        PackedValues::Categories { places, categories } => {
            rows.array(places);
            nulls(rows, 5);
            rows.array(&categories.iter().cloned().map(Some).collect::<Vec<_>>());
            nulls(rows, 1);
        }
        PackedValues::Vectors { lengths, reals } => {
            rows.array(lengths);
            nulls(rows, 6);
            rows.array(&reals.iter().copied().map(Some).collect::<Vec<_>>());
        }
    }
    rows.array(&packed.absent.iter().copied().map(Some).collect::<Vec<_>>());
}

/// A chunk read back.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    columns: BTreeMap<(ColumnKind, String), Column>,
}

impl Chunk {
    /// A column, if any row has a value of it.
    #[must_use]
    pub fn column(&self, kind: ColumnKind, name: &str) -> Option<&Column> {
        // Chunks have few columns of a kind besides features, of which at most one is asked for at a time.
        self.columns.get(&(kind, name.to_owned()))
    }

    /// The columns of a kind by name.
    pub fn columns(&self, kind: ColumnKind) -> impl Iterator<Item = &Column> {
        let of_kind = self.columns.iter().filter(move |((k, _), _)| *k == kind);
        of_kind.map(|(_, column)| column)
    }

    /// Takes the columns of a kind out.
    pub fn take_columns(&mut self, kind: ColumnKind) -> Vec<Column> {
        let of_kind = self.columns.extract_if(.., |(k, _), _| *k == kind);
        of_kind.map(|(_, column)| column).collect()
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.column(ColumnKind::Row, row_column::PREDICTION_ID)
            .map_or(0, Column::len)
    }
}

/// What is read of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<'a> {
    /// Everything.
    All,
    /// The columns about the predictions, and of the features those named.
    Rows { features: &'a [String] },
    /// The ids alone.
    Ids,
    /// The ids and times.
    Times,
}

/// The numbers of a version's chunks in a day that have rows in `[from, to)`.
pub async fn chunks_between(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<(DateTime<Utc>, i32)>> {
    let chunks = sqlx::query!(
        r#"
        SELECT day, chunk
        FROM prediction_chunks
        WHERE model_version_id = $1 AND day > $2::timestamptz - INTERVAL '1 day' AND day < $3
          AND first_at < $3 AND last_at >= $2
        ORDER BY day, chunk
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    Ok(chunks
        .into_iter()
        .map(|chunk| (chunk.day, chunk.chunk))
        .collect())
}

#[derive(FromRow)]
struct ColumnRow {
    kind: ColumnKind,
    name: String,
    value_type: ValueType,
    base: i64,
    scale: i16,
    small_units: Option<Vec<Option<i16>>>,
    medium_units: Option<Vec<Option<i32>>>,
    large_units: Option<Vec<Option<i64>>>,
    numbers: Option<Vec<Option<f64>>>,
    uuids: Option<Vec<Option<Uuid>>>,
    texts: Option<Vec<Option<String>>>,
    categories: Option<Vec<String>>,
    reals: Option<Vec<f32>>,
    absent: Vec<i32>,
}

impl ColumnRow {
    fn unpack(self) -> Column {
        let units = |units| PackedValues::Units {
            base: self.base,
            scale: self.scale,
            units,
        };
        let values = match self {
            Self {
                small_units: Some(places),
                categories: Some(categories),
                ..
            } => PackedValues::Categories { places, categories },
            Self {
                small_units: Some(lengths),
                reals: Some(reals),
                ..
            } => PackedValues::Vectors { lengths, reals },
            Self {
                small_units: Some(small),
                ..
            } => units(Units::Small(small)),
            Self {
                medium_units: Some(medium),
                ..
            } => units(Units::Medium(medium)),
            Self {
                large_units: Some(large),
                ..
            } => units(Units::Large(large)),
            Self {
                numbers: Some(numbers),
                ..
            } => PackedValues::Numbers(numbers),
            Self {
                uuids: Some(uuids), ..
            } => PackedValues::Uuids(uuids),
            Self { texts, .. } => PackedValues::Texts(texts.unwrap_or_default()),
        };
        let packed = PackedColumn {
            value_type: self.value_type,
            values,
            absent: self.absent,
        };
        packed.unpack(&self.name)
    }
}

/// Reads a chunk back.
pub async fn chunk(
    conn: &mut PgConnection,
    version_id: VersionId,
    day: DateTime<Utc>,
    chunk: i32,
    read: Read<'_>,
) -> sqlx::Result<Chunk> {
    let features = match read {
        Read::Rows { features } => features,
        Read::All | Read::Ids | Read::Times => &[],
    };
    let row_columns: &[&str] = match read {
        Read::All | Read::Rows { .. } => &[],
        Read::Ids => &[row_column::PREDICTION_ID],
        Read::Times => &[row_column::PREDICTION_ID, row_column::PREDICTED_AT],
    };
    let row_columns: Vec<String> = row_columns.iter().map(|name| (*name).to_owned()).collect();
    let rows = sqlx::query_as!(
        ColumnRow,
        r#"
        SELECT kind AS "kind: ColumnKind", name, value_type AS "value_type: ValueType", base, scale,
               small_units AS "small_units: Vec<Option<i16>>", medium_units AS "medium_units: Vec<Option<i32>>",
               large_units AS "large_units: Vec<Option<i64>>", numbers AS "numbers: Vec<Option<f64>>",
               uuids AS "uuids: Vec<Option<Uuid>>", texts AS "texts: Vec<Option<String>>",
               categories AS "categories: Vec<String>", reals AS "reals: Vec<f32>", absent
        FROM chunk_columns
        WHERE model_version_id = $1 AND day = $2 AND chunk = $3
          AND ($4 OR kind <> 'feature' OR name = ANY($6))
          AND ($5 OR name = ANY($7) AND kind = 'row')
        "#,
        version_id.0,
        day,
        chunk,
        read == Read::All,
        row_columns.is_empty(),
        features,
        &row_columns
    )
    .fetch_all(conn)
    .await?;
    let columns = rows.into_iter().map(|row| {
        let key = (row.kind, row.name.clone());
        (key, row.unpack())
    });
    Ok(Chunk {
        columns: columns.collect(),
    })
}

/// Where a chunk's day begins.
#[must_use]
pub fn day_of_chunk(key: ChunkKey) -> DateTime<Utc> {
    day_of(key.day)
}

/// When one of the versions was heard last: when its newest prediction was made, or came, if that was earlier. A clock that runs
/// ahead makes predictions of the future.
pub async fn newest_heard(
    conn: &mut PgConnection,
    versions: &[VersionId],
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let versions: Vec<Uuid> = versions.iter().map(|version| version.0).collect();
    sqlx::query_scalar!(
        r#"
        SELECT MAX(LEAST(last_event_at, last_arrived_at))
        FROM window_states
        WHERE model_version_id = ANY($1) AND predictions > 0
        "#,
        &versions
    )
    .fetch_one(conn)
    .await
}

/// Whether a version of the model has ever predicted.
pub async fn any(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM window_states WHERE model_id = $1 AND predictions > 0) AS "any!""#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_numbered_from_2000() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        assert_eq!(day_number(at("2000-01-01T00:00:00Z")), 0);
        assert_eq!(
            day_of(day_number(at("2026-11-21T00:00:00Z"))),
            at("2026-11-21T00:00:00Z")
        );
        assert_eq!(
            day_of(day_number(at("1999-12-31T00:00:00Z"))),
            at("1999-12-31T00:00:00Z")
        );
    }
}
