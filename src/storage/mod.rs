//! All SQL, one file per aggregate. Functions take a connection, so that the caller decides the transaction;
//! look-ups return `Option`, and the service decides whether absence is an error. No statement reads the
//! database's clock: every time is an argument.

pub mod access;
pub mod alerts;
pub mod audit;
pub mod baselines;
pub mod candidates;
pub mod cluster;
mod copy;
pub mod definitions;
pub mod deliveries;
pub mod erasures;
pub mod estimates;
pub mod files;
pub mod inferences;
pub mod intake;
pub mod joints;
pub mod keys;
pub mod labelled;
pub mod labels;
pub mod measurements;
pub mod models;
pub mod objectives;
pub mod overflow;
pub mod pages;
pub mod partitions;
pub mod predictions;
pub mod profiles;
pub mod proposals;
pub mod replay;
pub mod retention;
pub mod runs;
pub mod samples;
pub mod sequential;
pub mod shifts;
pub mod telemetry;
pub mod windows;

use sqlx::PgConnection;
use sqlx::migrate::Migrate;

/// The schema's history, applied at start and by the tests.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Whether the database has every migration this version knows.
pub async fn is_migrated(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let applied = conn.list_applied_migrations(&MIGRATOR.table_name).await?;
    Ok(MIGRATOR
        .iter()
        .all(|known| applied.iter().any(|done| done.version == known.version)))
}
