//! What arrives, decoded: one in-memory type per kind of data, whatever the wire format.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A value as it was sent. Absent, null, NaN and empty text are four different things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// The row has no such field.
    Absent,
    Null,
    Number(f64),
    Integer(i64),
    Boolean(bool),
    Text(String),
    Timestamp(DateTime<Utc>),
}

/// One feature over all rows of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// As many as the batch has rows.
    pub values: Vec<Value>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Output {
    /// Regression: the predicted value.
    pub value: Option<f64>,
    /// Binary and multiclass: the predicted class.
    pub class: Option<String>,
    /// Binary: the probability of the positive class.
    pub score: Option<f64>,
    /// Multiclass: class and probability.
    pub probabilities: Vec<(String, f64)>,
}

/// Accepted predictions of one model, column by column; all vectors have one element per row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct PredictionBatch {
    pub prediction_ids: Vec<String>,
    pub predicted_at: Vec<DateTime<Utc>>,
    pub versions: Vec<String>,
    pub outputs: Vec<Output>,
    /// Segment names and values sent with the row, beside those that are features.
    pub segments: Vec<Vec<(String, String)>>,
    pub latency_ms: Vec<Option<f64>>,
    pub errors: Vec<Option<String>>,
    pub deployments: Vec<Option<String>>,
    pub features: Vec<Column>,
}

impl PredictionBatch {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prediction_ids.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prediction_ids.is_empty()
    }

    /// Keeps the rows for which `keep`, of one element per row, is true.
    pub fn retain(&mut self, keep: &[bool]) {
        fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            values.retain(|_| keep.next().copied().unwrap_or(false));
        }
        retain(&mut self.prediction_ids, keep);
        retain(&mut self.predicted_at, keep);
        retain(&mut self.versions, keep);
        retain(&mut self.outputs, keep);
        retain(&mut self.segments, keep);
        retain(&mut self.latency_ms, keep);
        retain(&mut self.errors, keep);
        retain(&mut self.deployments, keep);
        for column in &mut self.features {
            retain(&mut column.values, keep);
        }
    }
}

/// The truth about a prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LabelValue {
    Number(f64),
    Class(String),
}

/// Accepted labels of one model; all vectors have one element per row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct LabelBatch {
    pub prediction_ids: Vec<String>,
    pub labels: Vec<LabelValue>,
    pub observed_at: Vec<DateTime<Utc>>,
}

impl LabelBatch {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prediction_ids.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prediction_ids.is_empty()
    }
}

/// Why a row was refused; a closed set, because it is counted.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The row cannot be read at all.
    Malformed,
    /// A field that is needed is missing or null.
    MissingField,
    /// A field is of the wrong type or not a finite number where one is needed.
    WrongType,
    /// Too long, too many, too deep.
    TooLarge,
    /// A text holds a NUL character, which Postgres cannot keep.
    NulByte,
    /// The time lies outside what the service takes.
    TimeOutOfBounds,
    /// A name occurs twice in one row.
    DuplicateField,
    /// The version is not registered and the project does not register on sight.
    UnknownVersion,
}

impl RejectReason {
    /// The word used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::TooLarge => "too_large",
            Self::NulByte => "nul_byte",
            Self::TimeOutOfBounds => "time_out_of_bounds",
            Self::DuplicateField => "duplicate_field",
            Self::UnknownVersion => "unknown_version",
        }
    }
}

/// A refused row: where, and why, in words for the person who has to mend the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reject {
    /// Line of the body for NDJSON and CSV (the header is line 1), else the row's number; from 1.
    pub line: u64,
    /// The field at fault; empty when it is the row as a whole.
    pub field: String,
    pub reason: RejectReason,
    pub cause: String,
}

/// A decoded body: what can be kept, and what was refused. `received` counts both.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<B> {
    pub batch: B,
    pub rejects: Vec<Reject>,
    pub received: u64,
    /// The line of each kept row, counted as in [`Reject::line`].
    pub lines: Vec<u64>,
}
