//! Telemetry of models in service: what the machines under them are busy with, how long they take, how much they are
//! asked. Only what [`Table`] knows is kept; this is not a store for any metric there is.
//!
//! Samples are kept as they were sent, and become levels and rates when they are read: so a sample that is sent
//! twice or late changes nothing but itself, and whether a counter was reset is seen with its neighbours at hand.

mod reading;
mod table;

use chrono::{DateTime, Utc};

pub use reading::{Point, Quantiles, points};
pub use table::{
    Alias, CALL_DURATION, CALL_FAILURES, CALL_INPUT_TOKENS, CALL_OUTPUT_TOKENS, Combine,
    MeasureInfo, Table, table,
};

/// One sample of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The measure's name in [`Table`].
    pub measure: &'static str,
    /// Tells series of a measure apart: a hash of where it comes from and all its attributes.
    pub series: i64,
    /// Where it comes from, in words: a pod, an instance, a host.
    pub source: String,
    pub at: DateTime<Utc>,
    /// Since when a counter counts, if its sender says so.
    pub started_at: Option<DateTime<Utc>>,
    pub reading: Reading,
}

/// What a sample says.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// How much there is at present.
    Level(f64),
    /// How much a counter has counted.
    Count(Counting, f64),
    /// How a duration or size is spread.
    Spread(Counting, Spread),
}

/// Since when something was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Since the sample before.
    Delta,
    /// Since the counter began.
    Cumulative,
}

/// A histogram: `buckets` is empty or has one more element than `bounds`, which are upper ends, ascending.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spread {
    pub count: u64,
    pub sum: f64,
    pub bounds: Vec<f64>,
    pub buckets: Vec<u64>,
}
