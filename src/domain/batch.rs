//! What arrives, decoded: one in-memory type per kind of data, whatever the wire format.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::columns::{Column, TextColumn, Texts};

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Output {
    /// Regression and forecast: the predicted value. Ranking: the place of the item, from 1.
    pub value: Option<f64>,
    /// Binary and multiclass: the predicted class. Ranking: the query the item was ranked for.
    pub class: Option<String>,
    /// Binary: the probability of the positive class. Ranking: the item's score, higher is nearer to the top.
    /// Forecast: how wrong the naive forecast was over the history, above 0.
    pub score: Option<f64>,
    /// Multiclass: class and probability. Forecast: the level of a quantile, as the shortest decimal, and its value.
    pub probabilities: Vec<(String, f64)>,
}

/// Accepted predictions of one model, column by column; all columns have one element per row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct PredictionBatch {
    pub prediction_ids: Texts,
    #[serde(with = "micros")]
    pub predicted_at: Vec<DateTime<Utc>>,
    /// Every row has one.
    pub versions: TextColumn,
    pub outputs: Vec<Output>,
    /// Segment names and values sent with the row, beside those that are features.
    pub segments: Vec<Vec<(String, String)>>,
    pub latency_ms: Vec<Option<f64>>,
    pub errors: TextColumn,
    pub deployments: TextColumn,
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
        self.len() == 0
    }

    /// The version of a row.
    #[must_use]
    pub fn version(&self, row: usize) -> &str {
        self.versions.get(row).unwrap_or_default()
    }

    /// The column of a feature, if any row has it.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Column> {
        self.features.iter().find(|column| column.name == name)
    }

    /// Keeps the rows for which `keep`, of one element per row, is true.
    pub fn retain(&mut self, keep: &[bool]) {
        fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            values.retain(|_| keep.next().copied().unwrap_or(false));
        }
        self.prediction_ids.retain(keep);
        retain(&mut self.predicted_at, keep);
        self.versions.retain(keep);
        retain(&mut self.outputs, keep);
        retain(&mut self.segments, keep);
        retain(&mut self.latency_ms, keep);
        self.errors.retain(keep);
        self.deployments.retain(keep);
        for column in &mut self.features {
            column.retain(keep);
        }
    }

    /// The given rows, in their order, and nothing of the others.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let texts = |column: &TextColumn| rows.iter().map(|row| column.get(*row)).collect();
        Self {
            prediction_ids: rows.iter().map(|row| &self.prediction_ids[*row]).collect(),
            predicted_at: rows.iter().map(|row| self.predicted_at[*row]).collect(),
            versions: texts(&self.versions),
            outputs: rows.iter().map(|row| self.outputs[*row].clone()).collect(),
            segments: rows.iter().map(|row| self.segments[*row].clone()).collect(),
            latency_ms: rows.iter().map(|row| self.latency_ms[*row]).collect(),
            errors: texts(&self.errors),
            deployments: texts(&self.deployments),
            features: (self.features.iter())
                .map(|column| column.select(rows))
                .collect(),
        }
    }

    /// Adds the rows of another batch of the same model behind one's own. A feature that only one of them has
    /// is absent from the other's rows.
    pub fn append(&mut self, other: &Self) {
        let rows = self.len();
        for (position, theirs) in other.features.iter().enumerate() {
            // Batches of one sender name the same features in the same order.
            let same = self
                .features
                .get(position)
                .is_some_and(|mine| mine.name == theirs.name);
            let mine = if same {
                Some(position)
            } else {
                self.features
                    .iter()
                    .position(|mine| mine.name == theirs.name)
            };
            match mine {
                Some(mine) => self.features[mine].append(theirs),
                None => {
                    let mut column = Column::new(theirs.name.clone());
                    column.resize(rows);
                    column.append(theirs);
                    self.features.push(column);
                }
            }
        }
        self.prediction_ids.append(&other.prediction_ids);
        self.predicted_at.extend(&other.predicted_at);
        self.versions.append(&other.versions);
        self.outputs.extend(other.outputs.iter().cloned());
        self.segments.extend(other.segments.iter().cloned());
        self.latency_ms.extend(&other.latency_ms);
        self.errors.append(&other.errors);
        self.deployments.append(&other.deployments);
        let rows = self.len();
        for column in &mut self.features {
            column.resize(rows);
        }
    }
}

/// Times as whole microseconds, which is what is kept of them; as texts they would take most of the time that
/// keeping a batch takes.
mod micros {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        times: &[DateTime<Utc>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(times.iter().map(DateTime::timestamp_micros))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<DateTime<Utc>>, D::Error> {
        let micros: Vec<i64> = Vec::deserialize(deserializer)?;
        let time = |micros| {
            DateTime::from_timestamp_micros(micros)
                .ok_or_else(|| serde::de::Error::custom("a time beyond the calendar"))
        };
        micros.into_iter().map(time).collect()
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

    /// Keeps the rows whose prediction id is one that `keep` is true for.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let kept: Vec<bool> = self.prediction_ids.iter().map(|id| keep(id)).collect();
        let mut of_labels = kept.iter();
        self.labels
            .retain(|_| of_labels.next().copied().unwrap_or(false));
        let mut of_times = kept.iter();
        self.observed_at
            .retain(|_| of_times.next().copied().unwrap_or(false));
        self.prediction_ids.retain(|id| keep(id));
    }

    /// Adds the rows of another batch of the same model behind one's own.
    pub fn append(&mut self, other: Self) {
        self.prediction_ids.extend(other.prediction_ids);
        self.labels.extend(other.labels);
        self.observed_at.extend(other.observed_at);
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
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
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
    /// The raw rows of that day are gone.
    PastRetention,
    /// The prediction was erased.
    Erased,
    /// The batch could not be settled, and somebody gave it up.
    GivenUp,
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
            Self::PastRetention => "past_retention",
            Self::Erased => "erased",
            Self::GivenUp => "given_up",
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

/// The refused rows of a batch: how many for each reason, and the first of them. There may be a million, of which each is
/// told in words, and a body that says next to nothing a million times is small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejects {
    first: Vec<Reject>,
    by_reason: BTreeMap<RejectReason, u64>,
}

impl Rejects {
    /// How many are kept in full, for the people who have to mend the sender.
    pub const KEPT: usize = 100;

    /// Counts one, and keeps it if it is among the first.
    pub fn push(&mut self, reject: Reject) {
        *self.by_reason.entry(reject.reason).or_default() += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(reject);
        }
    }

    /// The first of them, at most [`Self::KEPT`].
    #[must_use]
    pub fn first(&self) -> &[Reject] {
        &self.first
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason.values().sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_reason.is_empty()
    }

    /// How many there are for each reason that there is.
    #[must_use]
    pub fn by_reason(&self) -> &BTreeMap<RejectReason, u64> {
        &self.by_reason
    }
}

/// A decoded body: what can be kept, and what was refused. `received` counts both.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<B> {
    pub batch: B,
    pub rejects: Rejects,
    pub received: u64,
    /// The line of each kept row, counted as in [`Reject::line`].
    pub lines: Vec<u64>,
}

impl Decoded<PredictionBatch> {
    /// Refuses rows after all, for one field and reason: those for which there is a cause, given the batch and the row's
    /// place in it.
    pub fn refuse(
        &mut self,
        field: &str,
        reason: RejectReason,
        cause_of: impl Fn(&PredictionBatch, usize) -> Option<String>,
    ) {
        let mut keep = vec![true; self.batch.len()];
        for (row, keep) in keep.iter_mut().enumerate() {
            if let Some(cause) = cause_of(&self.batch, row) {
                *keep = false;
                self.rejects.push(Reject {
                    line: self.lines[row],
                    field: field.to_owned(),
                    reason,
                    cause,
                });
            }
        }
        if keep.contains(&false) {
            self.batch.retain(&keep);
            let mut keep = keep.into_iter();
            self.lines.retain(|_| keep.next().unwrap_or(false));
        }
    }
}
