//! What Bellwether does: the transactions and their order. Everything that changes state goes through here,
//! so that the API, the pages, the command line and the scheduler cannot disagree. The way of the data is
//! [`ingest`] → [`settle`] → [`evaluate`] → [`alerting`] → [`delivery`] and [`runbooks`].

pub mod access;
pub mod alerting;
pub mod archiving;
pub mod baselines;
pub mod bounds;
pub mod causes;
mod coalescing;
pub mod comparison;
pub mod configuration;
pub mod custody;
pub mod delivery;
pub mod erasure;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod files;
pub mod gate;
pub mod ingest;
mod joint_reference;
pub mod key_runs;
mod labelled;
pub mod maturity;
pub mod orphans;
pub mod overflow;
pub mod patience;
pub mod profiling;
pub mod promises;
pub mod promotion;
pub mod quality;
mod reason;
pub mod recipes;
pub mod recount;
pub mod registry;
pub mod request_id;
pub mod retention;
pub mod retraining;
mod row_sample;
pub mod runbooks;
pub mod schema_watch;
pub mod schemas;
pub mod segment_values;
pub mod settle;
mod shift_reference;
pub mod telemetry;
pub mod watch;

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Notify;

pub use bounds::Bounds;
pub use custody::Custody;
pub use error::Error;

use crate::domain::clock::{Clock, ReplayClock};
use crate::storage::keys::KeyFilters;

/// What every service and edge needs.
#[derive(Debug, Clone)]
pub struct Services {
    /// Connections for whoever holds this: taking in, background work and people each have their own, so that
    /// none of them can take all.
    pub pool: PgPool,
    /// The clock that data, windows, alerts and runs live by; may be replayed.
    pub clock: Arc<dyn Clock>,
    /// The machine's clock, for sessions, tokens and leases.
    pub wall: Arc<dyn Clock>,
    /// Where people reach the service; links in messages begin with it.
    pub public_url: String,
    /// The clock again when it is a replayed one, so that it can be advanced.
    pub replay: Option<ReplayClock>,
    pub intake: ingest::Intake,
    /// Whose batches are settled next.
    pub turns: settle::Turns,
    pub bounds: bounds::Bounds,
    /// What is known of the keys of predictions without reading them.
    pub key_filters: KeyFilters,
    pub custody: custody::Custody,
    pub outward: delivery::Outward,
    pub nudges: Nudges,
    /// What was found out about lost quality, so that a page that is looked at again does not cost it again.
    pub causes: causes::Reports,
}

/// Hints that a background task has work. A lost nudge costs delay, never correctness.
#[derive(Debug, Clone, Default)]
pub struct Nudges {
    /// Batches have landed.
    pub settle: Arc<Notify>,
    /// Batches have been settled.
    pub evaluate: Arc<Notify>,
    /// Runs may go on: somebody decided, or a pipeline reported.
    pub respond: Arc<Notify>,
    /// Messages wait in the outbox.
    pub deliver: Arc<Notify>,
}
