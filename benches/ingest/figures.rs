//! The report of this bench, and the facts about the machine and its Postgres.

#[path = "../shared/figures.rs"]
mod shared;

pub use shared::*;

use crate::postgres::{self, Cluster};

/// The machine, the server and its settings, and the day.
pub fn facts(cluster: &Cluster) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let gib = postgres::memory_mib()? as f64 / 1024.0;
    let version = cluster.query("postgres", "SHOW server_version")?;
    let version = version.split(' ').next().unwrap_or_default();
    let date = cluster.query("postgres", "SELECT (now() AT TIME ZONE 'UTC')::date")?;
    Ok(format!(
        "{date}, {}{cores} cores, {gib:.0} GiB of memory, Postgres {version} ({}), Bellwether {}.",
        processor(),
        cluster.settings(),
        revision()?
    ))
}
