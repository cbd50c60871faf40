//! What OTLP messages say, whichever of the two encodings they came in. Values are the [`Raw`] that every format of
//! rows is read into, so what a field may hold is decided by the same rules.

use std::borrow::Cow;
use std::cell::OnceCell;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::super::raw::{Entries, Raw, check_name};
use super::Damage;

/// Values of one record, lists and objects counted with what is in them.
const MOST_VALUES: usize = 10_000;
/// How deep values may lie in each other.
const MOST_DEPTH: usize = 16;
/// Buckets of one histogram.
pub(super) const MOST_BUCKETS: usize = 2_000;
/// How long a text about all records of an origin may be and go into the id of each of them as it is. A longer one is
/// stood for by its hash, or a request would cost its records times its resource.
const MOST_IN_IDS: usize = 16 << 10;

/// Whose records follow. What their ids are made of is written out once for all of them.
#[derive(Debug, Default)]
pub(super) struct Origin<'a> {
    pub resource: Entries<'a>,
    /// The library, or the part of a program, that made them.
    pub scope: Cow<'a, str>,
    resource_in_ids: OnceCell<String>,
    resource_in_series: OnceCell<Vec<String>>,
    scope_in_series: OnceCell<String>,
}

impl<'a> Origin<'a> {
    pub fn of(resource: Entries<'a>) -> Self {
        Self {
            resource,
            ..Self::default()
        }
    }

    /// Goes on to records of another scope.
    pub fn enter(&mut self, scope: Cow<'a, str>) {
        self.scope = scope;
        self.scope_in_series.take();
    }

    /// The resource in the ids of records.
    pub fn resource_in_ids(&self) -> &str {
        self.resource_in_ids
            .get_or_init(|| in_ids(format!("{:?}", self.resource)))
    }

    /// The resource among what tells series apart, in whatever order its attributes came.
    pub fn resource_in_series(&self) -> &[String] {
        self.resource_in_series.get_or_init(|| {
            let said = sorted(&self.resource);
            let length: usize = said.iter().map(String::len).sum();
            if length > MOST_IN_IDS {
                vec![in_ids(said.concat())]
            } else {
                said
            }
        })
    }

    /// The scope among what tells series apart.
    pub fn scope_in_series(&self) -> &str {
        self.scope_in_series
            .get_or_init(|| in_ids(self.scope.to_string()))
    }
}

fn in_ids(text: String) -> String {
    if text.len() <= MOST_IN_IDS {
        return text;
    }
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes as texts, in an order of their own. `Debug` of them is their content, and as stable as the types.
pub(super) fn sorted(attributes: &Entries<'_>) -> Vec<String> {
    let mut said: Vec<String> = attributes.iter().map(|pair| format!("{pair:?}")).collect();
    said.sort_unstable();
    said
}

/// A log record or an event.
#[derive(Debug, Default)]
pub(super) struct LogRecord<'a> {
    pub at: u64,
    pub observed_at: u64,
    pub event_name: Cow<'a, str>,
    pub body: Option<Raw<'a>>,
    pub attributes: Entries<'a>,
    pub span_id: u64,
}

/// A span.
#[derive(Debug, Default)]
pub(super) struct Span<'a> {
    pub trace_id: u128,
    pub span_id: u64,
    pub name: Cow<'a, str>,
    pub started_at: u64,
    pub ended_at: u64,
    pub attributes: Entries<'a>,
    pub failed: bool,
    pub failure: Cow<'a, str>,
    pub events: Vec<SpanEvent<'a>>,
}

/// Something that happened while a span lasted.
#[derive(Debug, Default)]
pub(super) struct SpanEvent<'a> {
    pub at: u64,
    pub name: Cow<'a, str>,
    pub attributes: Entries<'a>,
}

/// A metric with its points unread.
#[derive(Debug, Default)]
pub(super) struct Metric<'a> {
    pub name: Cow<'a, str>,
    pub data: Option<MetricData<'a>>,
}

/// The points of a metric.
#[derive(Debug)]
pub(super) struct MetricData<'a> {
    pub form: Form,
    pub temporality: Temporality,
    pub monotonic: bool,
    /// What holds the points: the data in protobuf, the list in JSON.
    pub points: Node<'a>,
}

/// What the points of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

/// Whether a point counts from the one before or from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Temporality {
    #[default]
    Unknown,
    Delta,
    Cumulative,
}

impl Temporality {
    pub fn of(number: u64) -> Self {
        match number {
            1 => Self::Delta,
            2 => Self::Cumulative,
            _ => Self::Unknown,
        }
    }
}

/// One point of a metric.
#[derive(Debug, Default)]
pub(super) struct Point<'a> {
    pub attributes: Entries<'a>,
    pub started_at: u64,
    pub at: u64,
    /// The value of a gauge or sum.
    pub value: Option<f64>,
    /// The sum of a histogram or summary.
    pub sum: Option<f64>,
    pub count: u64,
    pub bounds: Vec<f64>,
    pub buckets: Vec<u64>,
    /// Of an exponential histogram.
    pub scale: i32,
    pub zero_count: u64,
    pub offset: i32,
    pub has_negative: bool,
    /// It says only that there is no value any more.
    pub stale: bool,
}

/// A message that has not been read yet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<'a> {
    Protobuf(&'a [u8]),
    Json(&'a str),
}

/// How many more values a record may have.
pub(super) struct Room {
    values: usize,
    depth: usize,
}

impl Room {
    pub fn new() -> Self {
        Self {
            values: MOST_VALUES,
            depth: MOST_DEPTH,
        }
    }

    pub fn take(&mut self) -> Result<(), Damage> {
        self.values = (self.values.checked_sub(1)).ok_or(Damage("more than 10000 values"))?;
        Ok(())
    }

    /// Goes one level down for as long as `read` takes.
    pub fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damage>,
    ) -> Result<T, Damage> {
        self.depth = (self.depth.checked_sub(1)).ok_or(Damage("values more than 16 deep"))?;
        let result = read(self);
        self.depth += 1;
        result
    }
}

/// The value of an attribute.
pub(super) fn attribute<'e, 'a>(entries: &'e Entries<'a>, name: &str) -> Option<&'e Raw<'a>> {
    let found = entries.iter().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

/// The value of an attribute that is a name: short text, or a number as its digits.
pub(super) fn text_of<'e>(value: &'e Raw<'_>) -> Option<Cow<'e, str>> {
    match value {
        Raw::Text(text) if check_name(text).is_ok() => Some(Cow::Borrowed(text)),
        Raw::Integer(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// A number, also one that was sent as text.
pub(super) fn number_of(value: &Raw<'_>) -> Option<f64> {
    match value {
        Raw::Integer(number) => Some(*number as f64),
        Raw::Number(number) => Some(*number),
        Raw::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Nanoseconds since 1970 as an instant; 0 says that nobody knows.
pub(super) fn instant(nanoseconds: u64) -> Option<DateTime<Utc>> {
    let micros = i64::try_from(nanoseconds / 1_000).ok()?;
    (micros > 0)
        .then(|| DateTime::from_timestamp_micros(micros))
        .flatten()
}
