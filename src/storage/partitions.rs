//! Partitions of the tables that grow: raw rows and profiles by UTC day of the event, measurements by month.
//!
//! A partition is created as a table of its own and then attached, which locks the parent only against other
//! changes of its partitions, not against readers and writers as `CREATE TABLE … PARTITION OF` would.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::domain::retention::Kept;
use crate::domain::window::{Grain, Window};

const BY_DAY: [&str; 4] = ["prediction_chunks", "chunk_columns", "outcomes", "profiles"];
const OF_TELEMETRY: [&str; 1] = ["telemetry_samples"];
const BY_MONTH: [&str; 1] = ["measurements"];

/// The partitioned tables in which what is kept for a time is.
#[must_use]
pub fn tables(kept: Kept) -> &'static [&'static str] {
    match kept {
        Kept::Raw => &[
            "prediction_chunks",
            "chunk_columns",
            "outcomes",
            "telemetry_samples",
        ],
        Kept::Profiles => &["profiles"],
        Kept::Measurements => &BY_MONTH,
    }
}

/// How long the partitions are in which it is.
#[must_use]
pub fn grain(kept: Kept) -> Grain {
    match kept {
        Kept::Raw | Kept::Profiles => Grain::Day,
        Kept::Measurements => Grain::Month,
    }
}

/// Makes the partitions that rows of the given instants need. To be called before the transaction that
/// writes them; several callers may do so at once.
pub async fn ensure(
    conn: &mut PgConnection,
    grain: Grain,
    instants: &[DateTime<Utc>],
) -> sqlx::Result<()> {
    let tables: &[&str] = if grain == Grain::Month {
        &BY_MONTH
    } else {
        &BY_DAY
    };
    let mut windows: Vec<Window> = instants.iter().map(|at| grain.window_at(*at)).collect();
    windows.sort_unstable();
    windows.dedup();
    for window in windows {
        ensure_window(conn, tables, window).await?;
    }
    Ok(())
}

/// As [`ensure`], the partitions by day that samples of telemetry need.
pub async fn ensure_telemetry(
    conn: &mut PgConnection,
    days: impl IntoIterator<Item = Window>,
) -> sqlx::Result<()> {
    for day in days {
        ensure_window(conn, &OF_TELEMETRY, day).await?;
    }
    Ok(())
}

async fn ensure_window(
    conn: &mut PgConnection,
    tables: &[&str],
    window: Window,
) -> sqlx::Result<()> {
    let names: Vec<String> = tables
        .iter()
        .map(|table| partition_name(table, window))
        .collect();
    if count_existing(conn, &names).await? == names.len() {
        return Ok(());
    }
    let mut statements = String::new();
    // The names are ours: a table from the list above and digits of a date.
    for (table, name) in tables.iter().zip(&names) {
        let (start, end) = (window.start.to_rfc3339(), window.end.to_rfc3339());
        statements.push_str(&format!(
            "LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE;\n\
             DO $$ BEGIN IF to_regclass('{name}') IS NULL THEN\n\
             CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMPRESSION);\n\
             ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}');\n\
             END IF; END $$;\n"
        ));
    }
    let mut tx = conn.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut *tx)
        .await?;
    crate::faults::crash_point("partitions.before_commit");
    tx.commit().await
}

async fn count_existing(conn: &mut PgConnection, names: &[String]) -> sqlx::Result<usize> {
    let count = sqlx::query_scalar!(
        r#"
        SELECT COUNT(*) AS "count!"
        FROM unnest($1::text[]) AS name
        WHERE to_regclass(name) IS NOT NULL
        "#,
        names
    )
    .fetch_one(conn)
    .await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn partition_name(table: &str, window: Window) -> String {
    let pattern = if window.grain == Grain::Month {
        "%Y%m"
    } else {
        "%Y%m%d"
    };
    format!("{table}_{}", window.start.format(pattern))
}

/// The partitions there are of what is kept for a time, oldest first. A window is named once, however many of its
/// tables have a partition of it.
pub async fn existing(conn: &mut PgConnection, kept: Kept) -> sqlx::Result<Vec<Window>> {
    let parents: Vec<String> = tables(kept).iter().map(|name| (*name).to_owned()).collect();
    let names = sqlx::query_scalar!(
        r#"
        SELECT child.relname::text AS "name!"
        FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        JOIN pg_class parent ON parent.oid = inhparent
        JOIN pg_namespace n ON n.oid = parent.relnamespace
        WHERE parent.relname = ANY($1) AND n.nspname = current_schema()
        "#,
        &parents as &[String]
    )
    .fetch_all(conn)
    .await?;
    let windows = names.iter().filter_map(|name| window_of(name, grain(kept)));
    let distinct: BTreeSet<Window> = windows.collect();
    Ok(distinct.into_iter().collect())
}

/// Keeps writers away from the partitions of a window until the transaction ends, those too who made sure that they are
/// there and have not written yet; who reads goes on reading. Waits for those who are writing no longer than a moment
/// (error 55P03), as [`drop`] does.
pub async fn freeze(conn: &mut PgConnection, kept: Kept, window: Window) -> sqlx::Result<()> {
    // The names are ours: a table from the list above and digits of a date.
    let locks: Vec<String> = names(kept, window)
        .map(|name| {
            format!(
                "DO $$ BEGIN IF to_regclass('{name}') IS NOT NULL THEN LOCK TABLE {name} IN SHARE MODE; END IF; END $$;"
            )
        })
        .collect();
    let statements = format!("SET LOCAL lock_timeout = '2s'; {}", locks.join("\n"));
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(conn)
        .await?;
    Ok(())
}

/// Drops the partitions of a window, which gives their space back with the commit. Waits for those who read or write
/// the tables no longer than a moment (error 55P03): whoever comes after it would have to wait as well.
pub async fn drop(conn: &mut PgConnection, kept: Kept, window: Window) -> sqlx::Result<()> {
    // The names are ours: a table from the list above and digits of a date.
    let names: Vec<String> = names(kept, window).collect();
    let statements = format!(
        "SET LOCAL lock_timeout = '2s'; DROP TABLE IF EXISTS {};",
        names.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(conn)
        .await?;
    Ok(())
}

/// How many bytes the partitions of a window take, indexes and all.
pub async fn bytes(conn: &mut PgConnection, kept: Kept, window: Window) -> sqlx::Result<i64> {
    let names: Vec<String> = names(kept, window).collect();
    sqlx::query_scalar!(
        r#"
        SELECT COALESCE(SUM(pg_total_relation_size(to_regclass(name))), 0)::bigint AS "bytes!"
        FROM unnest($1::text[]) AS name
        "#,
        &names
    )
    .fetch_one(conn)
    .await
}

fn names(kept: Kept, window: Window) -> impl Iterator<Item = String> {
    tables(kept)
        .iter()
        .map(move |table| partition_name(table, window))
}

/// The window of a partition, by its name.
fn window_of(name: &str, grain: Grain) -> Option<Window> {
    let (_, digits) = name.rsplit_once('_')?;
    let date = if grain == Grain::Month {
        format!("{digits}01")
    } else {
        digits.to_owned()
    };
    let day = NaiveDate::parse_from_str(&date, "%Y%m%d").ok()?;
    Some(grain.window_at(day.and_time(chrono::NaiveTime::MIN).and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_known_by_its_name() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let day = Grain::Day.window_at(at("2026-03-09T10:00:00Z"));
        let month = Grain::Month.window_at(at("2026-03-09T10:00:00Z"));
        for (table, window) in [("chunk_columns", day), ("measurements", month)] {
            let name = partition_name(table, window);
            assert_eq!(window_of(&name, window.grain), Some(window), "{name}");
        }
        for name in [
            "profiles",
            "profiles_2026",
            "profiles_20261301",
            "profiles_copy",
        ] {
            assert_eq!(window_of(name, Grain::Day), None, "{name}");
        }
    }
}
