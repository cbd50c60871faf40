//! All SQL, one file per aggregate. Functions take a connection, so that the caller decides the transaction;
//! look-ups return `Option`, and the service decides whether absence is an error. No statement reads the
//! database's clock: every time is an argument.

pub mod access;
pub mod alerts;
pub mod audit;
pub mod baselines;
pub mod cluster;
pub mod definitions;
pub mod deliveries;
pub mod intake;
pub mod labels;
pub mod measurements;
pub mod models;
pub mod pages;
pub mod partitions;
pub mod predictions;
pub mod profiles;
pub mod replay;
pub mod runs;
pub mod windows;

/// The schema's history, applied at start and by the tests.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
