//! Transactions and the order of work: every change goes through here, whoever asks for it.

pub mod access;
pub mod error;
pub mod request_id;
pub mod runbooks;

use std::sync::Arc;

use sqlx::PgPool;

use crate::domain::clock::Clock;

pub use error::Error;

/// What the edges need to do their work.
#[derive(Debug, Clone)]
pub struct Services {
    pub pool: PgPool,
    /// The clock of the data, which may be the replay clock.
    pub clock: Arc<dyn Clock>,
    /// The machine's clock, for sessions and deliveries.
    pub wall: Arc<dyn Clock>,
    pub public_url: String,
    /// Whether `clock` is a replay clock.
    pub replay: bool,
}
