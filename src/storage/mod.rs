//! All SQL. Functions take a connection, so that the caller decides the transaction; lookups return an
//! `Option` and leave it to the caller whether absence is an error.

pub mod access;
pub mod audit;
pub mod pages;

/// The migrations of `migrations/`, embedded in the binary.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
