//! All SQL. One file per aggregate; functions take a connection, so that the caller decides the transaction.

pub mod pages;

/// The schema, as a list of forward steps.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
