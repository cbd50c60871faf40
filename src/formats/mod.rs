//! From bytes to batches: one decoder per wire format, and one builder that judges rows.
//!
//! A decoder (`json`, `csv`, `parquet`, `arrow`) knows its syntax and nothing else: it hands over rows of named
//! [`raw::Raw`] values. What a name means is in `names`, what a value may be is in `raw`, and what makes
//! a row of predictions or labels whole is in `predictions` and `labels`. So a rule is written once, and a
//! row means the same however it was sent.
//!
//! A row that is wrong is refused alone, with its line, field and cause; a [`FormatError`] is only for bodies
//! of which no row can be trusted. Decoders are pure and hold the whole batch; how large one may become is
//! bounded by [`Limits`], because a compressed or sparse body can unfold to many times its size. Files of any
//! size, which need no rules about predictions, are read by [`table`]; what other tools say of features by
//! [`schemas`].

pub mod archived;
mod arrow;
mod captures;
pub mod cloudevents;
mod csv;
mod guard;
pub mod inference;
mod json;
mod labels;
mod names;
pub mod otlp;
mod parquet;
mod predictions;
mod raw;
pub mod schemas;
mod segments;
mod statistics;
pub mod table;
mod together;

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::domain::batch::{
    Decoded, LabelBatch, LabelValue, Output, PredictionBatch, Reject, Rejects,
};
use crate::domain::columns::Column;
use crate::domain::mapping::ColumnMap;
use crate::domain::model::Task;
use arrow::Cells;
use names::Field;
use raw::{Fault, Raw};
pub use together::Together;

/// Judges a name that stands beside rows, as that of a version in an address, by what goes for names in rows.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    raw::check_name(name).map_err(|fault| fault.cause)
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An array of rows, one row, or `{"predictions": […]}` / `{"labels": […]}`.
    Json,
    /// One row per line.
    Ndjson,
    /// A header, then one row per record.
    Csv,
    /// Apache Parquet with flat columns.
    Parquet,
    /// Apache Arrow IPC, stream or file, with flat columns.
    Arrow,
    /// What `SageMaker` captures of an endpoint, or its ground truth: one JSON object a line.
    SageMaker,
    /// What Azure ML's data collector writes: one event of inputs or outputs a line.
    AzureMl,
}

impl Format {
    /// Every format of rows.
    pub const ALL: [Self; 7] = [
        Self::Json,
        Self::Ndjson,
        Self::Csv,
        Self::Parquet,
        Self::Arrow,
        Self::SageMaker,
        Self::AzureMl,
    ];

    /// The format of a `Content-Type`; parameters such as `charset` are ignored.
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next()?.trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                Some(Self::Ndjson)
            }
            "text/csv" => Some(Self::Csv),
            "application/vnd.apache.parquet" | "application/x-parquet" => Some(Self::Parquet),
            "application/vnd.apache.arrow.stream" | "application/vnd.apache.arrow.file" => {
                Some(Self::Arrow)
            }
            "application/x-sagemaker-capture" => Some(Self::SageMaker),
            "application/x-azureml-collector" => Some(Self::AzureMl),
            _ => None,
        }
    }

    /// The format of a file, by its extension.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            "arrow" | "arrows" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The format of a file of lines, by the first of them: platforms name theirs like any NDJSON.
    #[must_use]
    pub fn of_line(line: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Known<'l> {
            #[serde(rename = "eventMetadata")]
            event_metadata: Option<serde::de::IgnoredAny>,
            #[serde(rename = "eventVersion")]
            event_version: Option<serde::de::IgnoredAny>,
            specversion: Option<serde::de::IgnoredAny>,
            #[serde(rename = "type", borrow)]
            kind: Option<std::borrow::Cow<'l, str>>,
        }
        let Ok(known) = serde_json::from_slice::<Known<'_>>(line) else {
            return Self::Ndjson;
        };
        let is_azure = |kind: &str| kind.starts_with("azureml.inference.");
        if known.event_metadata.is_some() && known.event_version.is_some() {
            Self::SageMaker
        } else if known.specversion.is_some() && known.kind.as_deref().is_some_and(is_azure) {
            Self::AzureMl
        } else {
            Self::Ndjson
        }
    }

    /// Which request a line of Azure ML's collector belongs to, and whether it is of its outputs; `None` for other
    /// lines. Inputs and outputs come in files of their own and have to be brought together.
    #[must_use]
    pub fn correlation(line: &[u8]) -> Option<(String, bool)> {
        captures::azure::correlation(line)
    }

    /// The word used in messages, and the usual file extension.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::SageMaker => "sagemaker",
            Self::AzureMl => "azureml",
        }
    }
}

/// How large one decoded body may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows, refused ones included.
    pub max_rows: u64,
    /// Different features over all rows of a body.
    pub max_features: usize,
    /// Rows times features: what the columns of the batch hold, absent values included.
    pub max_cells: usize,
    /// Bytes of text kept, over all rows, and of what else a row may bring any number of: numbers of vectors, and room for
    /// each probability and each segment.
    pub max_text_bytes: usize,
    /// Bytes a Parquet file or an Arrow body says it holds when unpacked.
    pub max_unpacked_bytes: u64,
    /// How many times as large as itself such a body may say it is, when it unpacks to more than [`FREE_OF_RATIO`].
    pub max_unpacking_ratio: u64,
}

/// Rows times features of one body that is sent to the service: what several of them take while they are decoded has to
/// stay within its memory.
pub const MOST_CELLS_OF_A_BODY: usize = 2_500_000;
/// Up to here a body may unpack to any multiple of its size: columns that say little pack very well.
const FREE_OF_RATIO: u128 = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_rows: 1_000_000,
            max_features: 2_000,
            max_cells: 20_000_000,
            max_text_bytes: 256 << 20,
            max_unpacked_bytes: 512 << 20,
            max_unpacking_ratio: 200,
        }
    }
}

impl Limits {
    /// Refuses rows of so many columns before room is made for any of them: how many rows a packed body has is what it says,
    /// and costs it nothing.
    fn check_rows(&self, rows: u64, columns: usize) -> Result<(), FormatError> {
        let limit = self.max_rows;
        if rows > limit {
            return Err(FormatError::TooManyRows { limit });
        }
        let limit = self.max_cells;
        if u128::from(rows) * columns as u128 > limit as u128 {
            return Err(FormatError::TooManyCells { limit });
        }
        Ok(())
    }

    /// Refuses what a body of so many bytes says it unpacks to, with the cause.
    fn check_unpacked(&self, packed: usize, unpacked: u128) -> Result<(), String> {
        let limit = self.max_unpacked_bytes;
        if unpacked > u128::from(limit) {
            return Err(format!(
                "it unpacks to {unpacked} bytes; at most {limit} are taken from one body"
            ));
        }
        let ratio = self.max_unpacking_ratio;
        if unpacked > FREE_OF_RATIO && unpacked / u128::from(ratio.max(1)) > packed as u128 {
            return Err(format!(
                "it unpacks to {unpacked} bytes, more than {ratio} times its size; pack it less"
            ));
        }
        Ok(())
    }
}

/// What the receiver knows about a body before it is read.
#[derive(Debug, Clone, Copy)]
pub struct Expectations<'a> {
    pub task: Task,
    /// The version of rows that name none.
    pub default_version: Option<&'a str>,
    /// The earliest time taken, itself included.
    pub earliest: DateTime<Utc>,
    /// The latest time taken, itself included.
    pub latest: DateTime<Utc>,
    /// When the body arrived: the time of labels that name none.
    pub received_at: DateTime<Utc>,
    /// What the model's own columns are called.
    pub columns: &'a ColumnMap,
    pub limits: Limits,
}

/// Why a body cannot be read at all. The text is the answer to the sender: it names place and cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The brackets of the body do not hold rows. Bytes count from 0.
    #[error("read the body as JSON: byte {byte}: {cause}")]
    Json { byte: usize, cause: String },
    /// There is no usable header, or the reader gave up.
    #[error("read the body as CSV: line {line}: {cause}")]
    Csv { line: u64, cause: String },
    /// Not a Parquet file, or a damaged one.
    #[error("read the body as Parquet: {cause}")]
    Parquet { cause: String },
    /// Not Arrow IPC, or damaged.
    #[error("read the body as Arrow: {cause}")]
    Arrow { cause: String },
    /// An envelope that cannot be read, and with it nothing of what came with it.
    #[error("read the body as CloudEvents: {cause}")]
    CloudEvent { cause: String },
    /// Not what OTLP is made of.
    #[error("read the body as OTLP: {cause}")]
    Otlp { cause: String },
    /// A column that cannot be taken, whatever its rows hold.
    #[error("read column \"{column}\": {cause}")]
    Column { column: String, cause: String },
    /// Rows of a baseline's file that cannot be used; the first of them.
    #[error(
        "read {refused} rows of the reference; the first is line {line}, field {field:?}: {cause}"
    )]
    Reference {
        refused: u64,
        line: u64,
        field: String,
        cause: String,
    },
    /// A format that never holds such rows.
    #[error("read {wanted} from a body of {format}, which has none")]
    NotHere {
        format: &'static str,
        wanted: String,
    },
    /// See [`Limits::max_rows`].
    #[error("read more than {limit} rows from one body; send it in smaller parts")]
    TooManyRows { limit: u64 },
    /// See [`Limits::max_cells`].
    #[error(
        "read more than {limit} values (rows times features) from one body; send it in smaller parts"
    )]
    TooManyCells { limit: usize },
    /// See [`Limits::max_text_bytes`].
    #[error("read more than {limit} bytes of text from one body; send it in smaller parts")]
    TooMuchText { limit: usize },
}

/// Reads predictions.
///
/// # Errors
/// When the body as a whole cannot be read; single rows at fault are in [`Decoded::rejects`].
pub fn decode_predictions(
    format: Format,
    body: &[u8],
    expect: &Expectations,
) -> Result<Decoded<PredictionBatch>, FormatError> {
    let mut rows = predictions::PredictionRows::new(expect);
    match format {
        Format::SageMaker => captures::sagemaker::read_predictions(body, expect, &mut rows)?,
        Format::AzureMl => captures::azure::read_predictions(body, expect, &mut rows)?,
        _ => read(format, body, "predictions", &expect.limits, &mut rows)?,
    }
    Ok(rows.finish())
}

/// Reads labels.
///
/// # Errors
/// When the body as a whole cannot be read; single rows at fault are in [`Decoded::rejects`].
pub fn decode_labels(
    format: Format,
    body: &[u8],
    expect: &Expectations,
) -> Result<Decoded<LabelBatch>, FormatError> {
    let mut rows = labels::LabelRows::new(expect);
    match format {
        Format::SageMaker => captures::sagemaker::read_labels(body, &mut rows)?,
        _ => read(format, body, "labels", &expect.limits, &mut rows)?,
    }
    Ok(rows.finish())
}

/// Rows that a baseline is fitted on, column by column; all vectors have one element per row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReferenceRows {
    /// When the model was asked, where the file says so in a way that can be read.
    pub times: Vec<Option<DateTime<Utc>>>,
    pub features: Vec<Column>,
    /// What the model answered, where the file has it.
    pub outputs: Vec<Option<Output>>,
    /// The truth, where the file has it.
    pub labels: Vec<Option<LabelValue>>,
    /// Of rows that stand for statistics: which features these do not tell enough of, and why.
    pub of_statistics: Option<Vec<String>>,
}

impl ReferenceRows {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// Reads rows for a baseline, such as training data: the reserved names mean what they mean in predictions,
/// `label` is the truth, every other column is a feature. Ids and versions are not needed and not
/// kept; times are not needed, and kept where they can be read. SageMaker's statistics give rows that stand for them.
///
/// # Errors
/// When the body cannot be read, or any row of it.
pub fn decode_reference(
    format: Format,
    body: &[u8],
    task: Task,
    columns: &ColumnMap,
) -> Result<ReferenceRows, FormatError> {
    let expect = Expectations {
        task,
        default_version: None,
        earliest: DateTime::<Utc>::MIN_UTC,
        latest: DateTime::<Utc>::MAX_UTC,
        received_at: DateTime::UNIX_EPOCH,
        columns,
        limits: Limits::default(),
    };
    if let Some(rows) = (format == Format::Json)
        .then(|| statistics::rows(body))
        .flatten()
    {
        return rows;
    }
    let mut rows = predictions::PredictionRows::of_reference(&expect);
    read(format, body, "rows", &expect.limits, &mut rows)?;
    rows.finish_reference()
}

/// `wrapper` is the key under which a JSON object may carry the array of rows.
fn read(
    format: Format,
    body: &[u8],
    wrapper: &str,
    limits: &Limits,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    match format {
        Format::Json => json::read_document(body, wrapper, rows),
        Format::Ndjson => json::read_lines(body, rows),
        Format::Csv => csv::read(body, rows),
        Format::Parquet => parquet::read(body, limits, rows),
        Format::Arrow => arrow::read(body, limits, rows),
        Format::SageMaker | Format::AzureMl => Err(FormatError::NotHere {
            format: format.as_str(),
            wanted: wrapper.to_owned(),
        }),
    }
}

/// Where decoders put rows: the builder of one kind of batch.
trait Rows {
    /// Makes room, within reason, for so many rows that may come.
    fn expect(&mut self, _rows: usize) {}

    /// The field that a flat column of this name fills in every row; `None` when it is not wanted.
    fn locate(&mut self, column: &str) -> Result<Option<Field>, Fault>;

    /// Takes or refuses a row whose columns were located before.
    fn append<'a>(
        &mut self,
        line: u64,
        cells: impl Iterator<Item = (Field, Raw<'a>)>,
    ) -> Result<(), FormatError>;

    /// Takes or refuses the rows of a batch, numbered from `first`.
    fn append_batch(&mut self, first: u64, cells: &Cells<'_>) -> Result<(), FormatError> {
        (first..)
            .zip(0..cells.rows())
            .try_for_each(|(line, row)| self.append(line, cells.row(row)))
    }

    /// Takes or refuses a row that brings its own names.
    fn append_named<'a>(&mut self, line: u64, row: raw::Entries<'a>) -> Result<(), FormatError>;

    /// Counts a row that the decoder could not read.
    fn refuse(&mut self, line: u64, fault: Fault) -> Result<(), FormatError>;
}

/// The count of rows and what was refused: the half of a builder that does not depend on the kind of row.
struct Ledger {
    received: u64,
    text_bytes: usize,
    rejects: Rejects,
    limits: Limits,
}

impl Ledger {
    fn new(limits: Limits) -> Self {
        Self {
            received: 0,
            text_bytes: 0,
            rejects: Rejects::default(),
            limits,
        }
    }

    fn refuse(&mut self, line: u64, fault: Fault) -> Result<(), FormatError> {
        self.count()?;
        self.rejects.push(Reject {
            line,
            field: fault.field,
            reason: fault.reason,
            cause: fault.cause,
        });
        Ok(())
    }

    fn accept(&mut self, text_bytes: usize) -> Result<(), FormatError> {
        self.count()?;
        self.text_bytes = self.text_bytes.saturating_add(text_bytes);
        if self.text_bytes > self.limits.max_text_bytes {
            let limit = self.limits.max_text_bytes;
            return Err(FormatError::TooMuchText { limit });
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), FormatError> {
        if self.received == self.limits.max_rows {
            let limit = self.limits.max_rows;
            return Err(FormatError::TooManyRows { limit });
        }
        self.received += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
