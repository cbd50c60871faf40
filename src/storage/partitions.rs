//! Partitions of the tables that grow: raw rows and profiles by UTC day of the event, measurements by month.
//!
//! A partition is created as a table of its own and then attached, which locks the parent only against other
//! changes of its partitions, not against readers and writers as `CREATE TABLE … PARTITION OF` would.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::domain::window::{Grain, Window};

const BY_DAY: [&str; 4] = ["prediction_chunks", "chunk_columns", "outcomes", "profiles"];
const OF_TELEMETRY: [&str; 1] = ["telemetry_samples"];
const BY_MONTH: [&str; 1] = ["measurements"];

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
