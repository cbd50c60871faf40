//! Files of rows of any size, read batch by batch: Parquet, Arrow, CSV and NDJSON.
//!
//! A [`Table`] knows its columns once it is open, and can be read as often as needed; nothing of it stays in
//! memory but the batch at hand. Parquet keeps columns apart, so that several threads may each read another
//! one; the other formats are read from one end to the other, whichever columns are wanted.
//!
//! Unlike a body that is sent to the service, a file is taken whole or not at all: its owner is there to mend
//! it, and a comparison of most of a file would be taken for one of all of it.

pub mod arrays;
mod arrow;
mod csv;
mod mapped;
mod ndjson;
mod parquet;
mod quotes;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ::arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};

pub use self::csv::separated_by;
use super::raw::{self, Raw};
use super::{Format, guard};
use crate::domain::columns::{Column, Value};
use crate::domain::times::TimeFormat;

/// Rows of a batch, where the format leaves it to the reader.
const ROWS_AT_ONCE: usize = 16_384;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why a file cannot be read. The text names file, place and cause.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("open {}", file.display())]
    Open {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "read {}: the name tells no format; known are .parquet, .csv, .ndjson, .jsonl, .arrow, .arrows and .feather",
        file.display()
    )]
    UnknownFormat { file: PathBuf },
    #[error(
        "read {}: a JSON document cannot be read row by row; write one row a line (.ndjson)",
        file.display()
    )]
    Document { file: PathBuf },
    #[error("read {}{place}: {cause}", file.display())]
    Unreadable {
        file: PathBuf,
        /// Such as `, line 3`; may be empty.
        place: String,
        cause: String,
    },
    #[error("read {}: it has no columns", file.display())]
    NoColumns { file: PathBuf },
}

/// One column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    pub name: String,
    /// Why its values cannot be read as single ones, such as lists.
    pub refused: Option<String>,
    /// Why it is no feature, whatever it holds: it has no name that one can have, or numbers the rows.
    pub left_out: Option<String>,
    /// Whether it holds lists of numbers, which [`Table::each_vector`] reads.
    pub vectors: bool,
    /// What the file calls it, where a model's file says what it is.
    own_name: Option<String>,
    /// How its times are written, if in another way than everybody's.
    times: Option<TimeFormat>,
    /// Whether a model's file says that it is not to be read.
    pub is_ignored: bool,
}

impl TableColumn {
    fn new(name: String, refused: Option<String>, vectors: bool) -> Self {
        Self {
            name,
            refused,
            left_out: None,
            vectors,
            own_name: None,
            times: None,
            is_ignored: false,
        }
    }
}

/// Some columns of some rows.
#[derive(Debug, Clone)]
pub struct Batch {
    pub rows: usize,
    /// The wanted columns, in the order they were asked for.
    pub columns: Vec<ColumnData>,
    /// How much of the file this is, in the unit of [`Table::length`].
    pub progress: u64,
}

/// The values of a column in a batch.
#[derive(Debug, Clone)]
pub enum ColumnData {
    /// Of a format whose columns have one type.
    Array(ArrayRef),
    /// Of a format whose values each have their own.
    Mixed(Column),
}

/// A file of rows.
#[derive(Debug)]
pub struct Table {
    file: PathBuf,
    columns: Vec<TableColumn>,
    /// Where columns are, by name; those of [`Table::mapped`] by their own names, too.
    places: HashMap<String, usize>,
    length: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Parquet(parquet::Source),
    Arrow(arrow::Source),
    Csv(csv::Source),
    Ndjson(ndjson::Source),
}

impl Batch {
    /// About how many bytes it holds.
    #[must_use]
    pub fn size(&self) -> usize {
        let sizes = self.columns.iter().map(|column| match column {
            ColumnData::Array(array) => array.get_array_memory_size(),
            ColumnData::Mixed(column) => {
                column.len() * 9
                    + column
                        .texts()
                        .iter()
                        .map(|text| text.len() + 48)
                        .sum::<usize>()
            }
        });
        sizes.sum()
    }
}

/// The columns that are wanted of a format that gives each once, in the order of the file: one column may be wanted in
/// several roles.
struct InFileOrder {
    places: Vec<usize>,
    /// Where each of the wanted is among the places.
    order: Vec<usize>,
}

impl InFileOrder {
    fn of(columns: &[usize]) -> Self {
        let mut places = columns.to_vec();
        places.sort_unstable();
        places.dedup();
        let order = (columns.iter())
            .filter_map(|column| places.binary_search(column).ok())
            .collect();
        Self { places, order }
    }

    /// The wanted columns of a batch that has those of the places.
    fn columns_of(&self, batch: &RecordBatch) -> Vec<ColumnData> {
        let plain: Vec<ArrayRef> = batch.columns().iter().map(arrays::plain).collect();
        let wanted = self.order.iter().map(|at| ArrayRef::clone(&plain[*at]));
        wanted.map(ColumnData::Array).collect()
    }
}

/// What is done with each batch; `false` ends the reading.
pub type Take<'a> = dyn FnMut(Batch) -> bool + 'a;

impl Table {
    /// Opens a file and finds out its columns. Of NDJSON every row is read for that, because each brings names
    /// of its own.
    ///
    /// # Errors
    /// When it cannot be opened, is not of the format its name tells, or is damaged.
    pub fn open(file: &Path) -> Result<Self, TableError> {
        let unknown = || TableError::UnknownFormat {
            file: file.to_owned(),
        };
        let (source, columns, length) = match Format::from_path(file).ok_or_else(unknown)? {
            Format::Parquet => {
                let (source, columns, rows) = parquet::Source::open(file)?;
                (Source::Parquet(source), columns, rows)
            }
            Format::Arrow => {
                let (source, columns) = arrow::Source::open(file)?;
                (Source::Arrow(source), columns, size(file)?)
            }
            Format::Csv => {
                let (source, columns) = csv::Source::open(file)?;
                (Source::Csv(source), columns, size(file)?)
            }
            Format::Ndjson => {
                let (source, columns) = ndjson::Source::open(file)?;
                (Source::Ndjson(source), columns, size(file)?)
            }
            Format::Json | Format::SageMaker | Format::AzureMl => {
                return Err(TableError::Document {
                    file: file.to_owned(),
                });
            }
        };
        let columns = canonical(file, columns)?;
        Ok(Self {
            file: file.to_owned(),
            places: (columns.iter().enumerate())
                .map(|(place, column)| (column.name.clone(), place))
                .collect(),
            columns,
            length,
            source,
        })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// The place of a column.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// How much there is to read: rows, or bytes where the rows are not counted beforehand.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether a column can be read without the others, so that several may be read at the same time.
    #[must_use]
    pub fn keeps_columns_apart(&self) -> bool {
        matches!(self.source, Source::Parquet(_))
    }

    /// Whether the file says what its values are; where it is text, that is guessed.
    #[must_use]
    pub fn has_types(&self) -> bool {
        !matches!(self.source, Source::Csv(_))
    }

    /// Reads all rows of the columns at these places, in the order of the file.
    ///
    /// # Errors
    /// When the file turns out to be damaged, or a time not to be one.
    pub fn read(&self, columns: &[usize], take: &mut Take<'_>) -> Result<(), TableError> {
        if columns
            .iter()
            .any(|place| self.columns[*place].times.is_some())
        {
            return self.read_times(columns, take);
        }
        self.read_source(columns, take)
    }

    fn read_source(&self, columns: &[usize], take: &mut Take<'_>) -> Result<(), TableError> {
        match &self.source {
            Source::Parquet(source) => source.read(&self.file, columns, take),
            Source::Arrow(source) => source.read(&self.file, columns, take),
            Source::Csv(source) => source.read(&self.file, columns, take),
            Source::Ndjson(source) => source.read(&self.file, columns, take),
        }
    }

    /// Reads the vectors of some rows of a column of lists, in the order of the file. A row that has none, or a list
    /// with something that is no number, has `None`. Ends when `take` answers `false`.
    ///
    /// # Errors
    /// When the file turns out to be damaged.
    pub fn each_vector(
        &self,
        column: usize,
        wanted: &dyn Fn(u64) -> bool,
        take: &mut TakeVector<'_>,
    ) -> Result<(), TableError> {
        if let Source::Ndjson(source) = &self.source {
            return source.each_vector(&self.file, column, wanted, take);
        }
        let mut first = 0;
        self.read(&[column], &mut |batch| {
            let rows = (first..).take(batch.rows);
            first += batch.rows as u64;
            let Some(ColumnData::Array(array)) = batch.columns.first() else {
                return false;
            };
            rows.enumerate()
                .filter(|(_, row)| wanted(*row))
                .all(|(at, row)| take(row, arrays::vector(array, at)))
        })
    }
}

/// What is done with the vector of a row; `false` ends the reading.
pub type TakeVector<'a> = dyn FnMut(u64, Option<Vec<f32>>) -> bool + 'a;

fn open(file: &Path) -> Result<File, TableError> {
    File::open(file).map_err(|source| TableError::Open {
        file: file.to_owned(),
        source,
    })
}

fn size(file: &Path) -> Result<u64, TableError> {
    let metadata = std::fs::metadata(file).map_err(|source| TableError::Open {
        file: file.to_owned(),
        source,
    })?;
    Ok(metadata.len())
}

/// Opens a text file behind its byte order mark, which some programs write.
fn open_text(file: &Path) -> Result<impl Read + use<>, TableError> {
    let mut reader = open(file)?;
    let mut start = Vec::with_capacity(BYTE_ORDER_MARK.len());
    let mark = reader
        .by_ref()
        .take(BYTE_ORDER_MARK.len() as u64)
        .read_to_end(&mut start);
    mark.map_err(|error| unreadable(file, "", error))?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    Ok(std::io::Cursor::new(start).chain(reader))
}

fn unreadable(file: &Path, place: impl Into<String>, cause: impl ToString) -> TableError {
    TableError::Unreadable {
        file: file.to_owned(),
        place: place.into(),
        cause: cause.to_string(),
    }
}

/// Columns under the names the service would know them by: canonical, without the prefix that says that a
/// column is a feature. Those that can have no such name, as the first of many files has, are left out alone.
fn canonical(file: &Path, columns: Vec<TableColumn>) -> Result<Vec<TableColumn>, TableError> {
    if columns.is_empty() {
        return Err(TableError::NoColumns {
            file: file.to_owned(),
        });
    }
    let mut known: Vec<TableColumn> = Vec::with_capacity(columns.len());
    let mut names = std::collections::HashSet::new();
    for (number, column) in (1..).zip(columns) {
        let name = column.name.strip_prefix("feature.").unwrap_or(&column.name);
        let (name, left_out) = match raw::canonical_name(name) {
            Ok(name) => {
                let name = name.into_owned();
                let numbers_rows =
                    is_row_index(&name).then(|| "is the row index of pandas".to_owned());
                (name, numbers_rows)
            }
            Err(_) if name.trim().is_empty() => (String::new(), Some("has no name".to_owned())),
            Err(fault) => (
                column.name.clone(),
                Some(format!("has a name that {}", fault.cause)),
            ),
        };
        if !name.is_empty() && !names.insert(name.clone()) {
            let cause = format!("the name \"{name}\" occurs twice");
            return Err(unreadable(file, format!(", column {number}"), cause));
        }
        known.push(TableColumn {
            name,
            left_out,
            ..column
        });
    }
    Ok(known)
}

/// Whether pandas writes an index without a name under this one: rows have numbers because a frame has, and not because
/// they mean anything.
fn is_row_index(name: &str) -> bool {
    let level = name.strip_prefix("__index_level_");
    let level = level.and_then(|rest| rest.strip_suffix("__"));
    level.is_some_and(|level| !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The columns of a file whose columns have types.
fn typed_columns(schema: &Schema) -> Vec<TableColumn> {
    let fields = schema.fields().iter();
    fields
        .map(|field| {
            let refused = (!is_readable(field.data_type())).then(|| {
                format!(
                    "is of type {}; taken are numbers, booleans, texts, timestamps and dates",
                    field.data_type()
                )
            });
            let vectors = arrays::are_vectors(field.data_type());
            TableColumn::new(field.name().clone(), refused, vectors)
        })
        .collect()
}

/// Whether arrays of a type, once they are [`arrays::plain`], can be read as single values.
fn is_readable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_readable(values),
        DataType::Date64 => true,
        other => other.is_decimal() || super::arrow::reader_of(other).is_some(),
    }
}

/// Arrays of a type that is read value by value as the column it stands for.
#[must_use]
pub fn mixed(array: &ArrayRef) -> Column {
    let mut column = Column::new(String::new());
    match arrays::doubles(array).filter(|_| matches!(array.data_type(), DataType::Decimal128(..))) {
        Some(numbers) => numbers.iter().enumerate().for_each(|(row, number)| {
            column.push(&if array.is_valid(row) {
                Value::Number(*number)
            } else {
                Value::Null
            });
        }),
        None => super::arrow::each_cell(array, |cell| column.push(&value_of(cell))),
    }
    column
}

/// A cell as a value. What the service would refuse, such as a text of megabytes, is a text here.
fn value_of(cell: Raw<'_>) -> Value<'_> {
    let text = match &cell {
        Raw::Untyped(text) => Some(std::borrow::Cow::Borrowed(*text)),
        Raw::Text(text) => Some(text.clone()),
        _ => None,
    };
    // Lists are read apart from single values.
    if let Raw::Nested(kind, _) = cell {
        return Value::Text(format!("{kind}, not a single value").into());
    }
    match (cell.into_feature(), text) {
        (Ok(value), _) => value,
        (Err(_), Some(text)) => Value::Text(text),
        (Err(fault), None) => Value::Text(fault.cause.into()),
    }
}

fn guarded<T>(
    file: &Path,
    place: &str,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, TableError> {
    guard::guarded(work)
        .unwrap_or_else(|| Err(guard::CONTRADICTORY.to_owned()))
        .map_err(|cause| unreadable(file, place, cause))
}

#[cfg(test)]
mod tests;
