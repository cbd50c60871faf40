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

/// A sample as it is kept and archived, of whatever release: its measure may be one that this one does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    pub measure: String,
    pub series: i64,
    pub sampled_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub source: String,
    /// `level`, `delta` or `cumulative`.
    pub counting: String,
    /// A level, a count, or the sum of what was observed.
    pub value: f64,
    /// Of a spread: how many observations, the upper bounds, and how many lie below each and above all.
    pub observations: Option<i64>,
    pub bounds: Option<Vec<f64>>,
    pub buckets: Option<Vec<i64>>,
}

impl SampleRow {
    /// As a sample is kept.
    #[must_use]
    pub fn of(sample: &Sample) -> Self {
        let (counting, value, spread) = match &sample.reading {
            Reading::Level(level) => ("level", *level, None),
            Reading::Count(counting, counted) => (counting.as_str(), *counted, None),
            Reading::Spread(counting, spread) => (counting.as_str(), spread.sum, Some(spread)),
        };
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let listed = spread.filter(|spread| !spread.bounds.is_empty());
        Self {
            measure: sample.measure.to_owned(),
            series: sample.series,
            sampled_at: sample.at,
            started_at: sample.started_at,
            source: sample.source.clone(),
            counting: counting.to_owned(),
            value,
            observations: spread.map(|spread| signed(spread.count)),
            bounds: listed.map(|spread| spread.bounds.clone()),
            buckets: listed.map(|spread| spread.buckets.iter().copied().map(signed).collect()),
        }
    }
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

impl Counting {
    /// The word used in SQL and in the archive.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Cumulative => "cumulative",
        }
    }
}

/// A histogram: `buckets` is empty or has one more element than `bounds`, which are upper ends, ascending.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spread {
    pub count: u64,
    pub sum: f64,
    pub bounds: Vec<f64>,
    pub buckets: Vec<u64>,
}
