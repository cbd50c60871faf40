//! Raw rows in the archive: Parquet that any tool reads, from which every row comes back as it was.
//!
//! The columns have the names that rows are sent with ([`super`]), so an archived file can also be imported like any
//! other. What flat and typed columns cannot say (absent beside null, values of several types in one column, segments
//! that hold the signs which part them) is said in the file's own key `bellwether`, as JSON.

mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Float64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::guard;
use crate::domain::batch::{LabelBatch, LabelValue, Output, PredictionBatch};
use crate::domain::columns::{Column, Kind, Value};
use crate::domain::model::Task;
pub use samples::{decode_samples, encode_samples};

/// The version of the layout; a reader refuses others.
pub const VERSION: u32 = 1;

const KEY: &str = "bellwether";
const FEATURE: &str = "feature.";
const PREDICTION: &str = "prediction";
const SCORE: &str = "score";
const PROBABILITY: &str = "probability.";
/// What the answers of a ranking and of a forecast have in place of these.
const QUERY: &str = "query";
const RANK: &str = "rank";
const NAIVE_ERROR: &str = "naive_error";
const QUANTILE: &str = "quantile.";
/// Rows that share their pages' headers.
const ROW_GROUP: usize = 50_000;

/// Why a file of the archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchivedError {
    #[error("write rows as Parquet")]
    Write(#[source] ParquetError),
    #[error("put rows into columns")]
    Columns(#[source] ArrowError),
    #[error("read an archived file")]
    Read(#[source] ParquetError),
    #[error("read an archived file: {0}")]
    Malformed(String),
    #[error("read an archived file of layout {0}, which this release does not know")]
    UnknownVersion(u32),
}

/// What the columns do not say.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Exact {
    version: u32,
    /// Rows that do not have a feature, as runs `(first, how many)`; its other nulls are nulls.
    #[serde(default)]
    absent: BTreeMap<String, Vec<(usize, usize)>>,
    /// Features whose values are JSON, because they are of several types.
    #[serde(default)]
    mixed: BTreeSet<String>,
    /// Segments that their text does not give back.
    #[serde(default)]
    segments: BTreeMap<usize, Vec<(String, String)>>,
}

/// What the parts of an answer are called, by the task of the model.
struct Names {
    class: &'static str,
    value: &'static str,
    score: &'static str,
    /// In front of a class, or of a level.
    share: &'static str,
}

impl Names {
    fn of(task: Task) -> Self {
        let usual = Self {
            class: PREDICTION,
            value: PREDICTION,
            score: SCORE,
            share: PROBABILITY,
        };
        match task {
            // The only answers that have a class and a number.
            Task::Ranking => Self {
                class: QUERY,
                value: RANK,
                ..usual
            },
            Task::Forecast => Self {
                score: NAIVE_ERROR,
                share: QUANTILE,
                ..usual
            },
            Task::Regression | Task::Binary | Task::Multiclass => usual,
        }
    }
}

/// Writes predictions of a model of that task.
///
/// # Errors
/// When the libraries refuse the columns.
pub fn encode(batch: &PredictionBatch, task: Task) -> Result<Vec<u8>, ArchivedError> {
    let mut exact = Exact {
        version: VERSION,
        ..Exact::default()
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (
            "prediction_id".to_owned(),
            Arc::new(StringArray::from_iter_values(batch.prediction_ids.iter())),
        ),
        ("timestamp".to_owned(), instants(&batch.predicted_at)),
        (
            "version".to_owned(),
            Arc::new(StringArray::from_iter(batch.versions.iter())),
        ),
    ];
    push_outputs(&mut columns, &batch.outputs, &Names::of(task));
    let latencies = Float64Array::from_iter(batch.latency_ms.iter().copied());
    let texts = |column: &crate::domain::columns::TextColumn| StringArray::from_iter(column.iter());
    push_if_any(&mut columns, "latency_ms", latencies);
    push_if_any(&mut columns, "error", texts(&batch.errors));
    push_if_any(&mut columns, "deployment", texts(&batch.deployments));
    let segments = segment_texts(&batch.segments, &mut exact);
    push_if_any(&mut columns, "segments", segments);
    for column in &batch.features {
        let name = format!("{FEATURE}{}", column.name);
        columns.push((name, feature(column, &mut exact)));
    }
    write(columns, &exact)
}

/// Writes labels.
///
/// # Errors
/// As for [`encode`].
pub fn encode_labels(batch: &LabelBatch) -> Result<Vec<u8>, ArchivedError> {
    let ids = StringArray::from_iter_values(&batch.prediction_ids);
    let numbers = Float64Array::from_iter(batch.labels.iter().map(|label| match label {
        LabelValue::Number(number) => Some(*number),
        LabelValue::Class(_) => None,
    }));
    let classes = StringArray::from_iter(batch.labels.iter().map(|label| match label {
        LabelValue::Number(_) => None,
        LabelValue::Class(class) => Some(class.as_str()),
    }));
    let labels: ArrayRef = if numbers.null_count() == 0 {
        Arc::new(numbers)
    } else {
        Arc::new(classes)
    };
    let columns = vec![
        ("prediction_id".to_owned(), Arc::new(ids) as ArrayRef),
        ("label".to_owned(), labels),
        ("observed_at".to_owned(), instants(&batch.observed_at)),
    ];
    let exact = Exact {
        version: VERSION,
        ..Exact::default()
    };
    write(columns, &exact)
}

fn write(columns: Vec<(String, ArrayRef)>, exact: &Exact) -> Result<Vec<u8>, ArchivedError> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let rows = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(ArchivedError::Columns)?;
    let said = serde_json::to_string(exact)
        .map_err(|error| ArchivedError::Malformed(error.to_string()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), said)]))
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(ArchivedError::Write)?;
    writer.write(&rows).map_err(ArchivedError::Write)?;
    writer.into_inner().map_err(ArchivedError::Write)
}

fn instants(times: &[DateTime<Utc>]) -> ArrayRef {
    let micros = times.iter().map(DateTime::timestamp_micros);
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn push_if_any(columns: &mut Vec<(String, ArrayRef)>, name: &str, array: impl Array + 'static) {
    if array.null_count() < array.len() {
        columns.push((name.to_owned(), Arc::new(array)));
    }
}

fn push_outputs(columns: &mut Vec<(String, ArrayRef)>, outputs: &[Output], names: &Names) {
    let classes = StringArray::from_iter(outputs.iter().map(|output| output.class.as_deref()));
    // Where both have one name, a model answers with classes or with numbers, never with both.
    push_if_any(columns, names.class, classes);
    let values = Float64Array::from_iter(outputs.iter().map(|output| output.value));
    push_if_any(columns, names.value, values);
    let scores = Float64Array::from_iter(outputs.iter().map(|output| output.score));
    push_if_any(columns, names.score, scores);
    let mut by_class: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    for (row, output) in outputs.iter().enumerate() {
        for (class, probability) in &output.probabilities {
            let column = by_class.entry(class).or_default();
            column.resize(outputs.len(), None);
            column[row] = Some(*probability);
        }
    }
    for (class, probabilities) in by_class {
        let name = format!("{}{class}", names.share);
        columns.push((name, Arc::new(Float64Array::from(probabilities))));
    }
}

/// `name=value;name=value`, the text form of segments.
fn segment_texts(segments: &[Vec<(String, String)>], exact: &mut Exact) -> StringArray {
    let mut texts = StringBuilder::new();
    for (row, segments) in segments.iter().enumerate() {
        if segments.is_empty() {
            texts.append_null();
            continue;
        }
        let text: Vec<String> = segments
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let text = text.join(";");
        if parse_segments(&text).as_ref() != Some(segments) {
            exact.segments.insert(row, segments.clone());
        }
        texts.append_value(text);
    }
    texts.finish()
}

fn parse_segments(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.split(';').map(pair).collect()
}

fn feature(column: &Column, exact: &mut Exact) -> ArrayRef {
    let kinds = column.kinds();
    let runs = runs(kinds.iter().map(|kind| *kind == Kind::Absent));
    if !runs.is_empty() {
        exact.absent.insert(column.name.clone(), runs);
    }
    let mut present = (kinds.iter()).filter(|kind| !matches!(kind, Kind::Absent | Kind::Null));
    let first = present.next().copied();
    let is_one = first.is_some_and(|first| present.all(|kind| *kind == first));
    match first {
        None => Arc::new(Float64Array::new_null(column.len())),
        Some(Kind::Number) if is_one => {
            let mut numbers = Float64Builder::with_capacity(column.len());
            for value in column.iter() {
                match value {
                    Value::Number(number) => numbers.append_value(number),
                    _ => numbers.append_null(),
                }
            }
            Arc::new(numbers.finish())
        }
        Some(Kind::Integer) if is_one => Arc::new(Int64Array::from_iter(column.iter().map(
            |value| match value {
                Value::Integer(integer) => Some(integer),
                _ => None,
            },
        ))),
        Some(Kind::Boolean) if is_one => Arc::new(BooleanArray::from_iter(column.iter().map(
            |value| match value {
                Value::Boolean(flag) => Some(flag),
                _ => None,
            },
        ))),
        Some(Kind::Text) if is_one => Arc::new(StringArray::from_iter(column.iter().map(
            |value| match value {
                Value::Text(text) => Some(text),
                _ => None,
            },
        ))),
        Some(Kind::Timestamp) if is_one => {
            let micros = column.iter().map(|value| match value {
                Value::Timestamp(at) => Some(at.timestamp_micros()),
                _ => None,
            });
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
        }
        Some(Kind::Vector) if is_one => {
            let mut vectors = ListBuilder::new(Float32Builder::new());
            for value in column.iter() {
                match value {
                    Value::Vector(vector) => {
                        vectors.values().append_slice(&vector);
                        vectors.append(true);
                    }
                    _ => vectors.append(false),
                }
            }
            Arc::new(vectors.finish())
        }
        Some(_) => {
            exact.mixed.insert(column.name.clone());
            Arc::new(StringArray::from_iter(column.iter().map(
                |value| match value {
                    Value::Absent | Value::Null => None,
                    value => serde_json::to_string(&value).ok(),
                },
            )))
        }
    }
}

/// The runs of `true`: where each begins and how long it is.
fn runs(flags: impl Iterator<Item = bool>) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (row, _) in flags.enumerate().filter(|(_, flag)| *flag) {
        match runs.last_mut() {
            Some((first, length)) if *first + *length == row => *length += 1,
            _ => runs.push((row, 1)),
        }
    }
    runs
}

/// Reads predictions of a model of that task back.
///
/// # Errors
/// When the bytes are not what [`encode`] wrote.
pub fn decode(bytes: Bytes, task: Task) -> Result<PredictionBatch, ArchivedError> {
    guarded(|| decode_predictions(bytes, task))
}

fn guarded<T>(read: impl FnOnce() -> Result<T, ArchivedError>) -> Result<T, ArchivedError> {
    guard::guarded(read).unwrap_or_else(|| {
        let cause = guard::CONTRADICTORY.to_owned();
        Err(ArchivedError::Malformed(cause))
    })
}

fn decode_predictions(bytes: Bytes, task: Task) -> Result<PredictionBatch, ArchivedError> {
    let (exact, batches) = open(bytes)?;
    let mut rows = PredictionBatch::default();
    for batch in batches {
        let first = rows.len();
        let read = of_columns(&batch, &exact, first, &Names::of(task))?;
        rows.append(&read);
    }
    Ok(rows)
}

/// Reads labels back.
///
/// # Errors
/// When the bytes are not what [`encode_labels`] wrote.
pub fn decode_labels(bytes: Bytes) -> Result<LabelBatch, ArchivedError> {
    guarded(|| read_labels(bytes))
}

fn read_labels(bytes: Bytes) -> Result<LabelBatch, ArchivedError> {
    let (_, batches) = open(bytes)?;
    let mut rows = LabelBatch::default();
    for batch in batches {
        let ids = whole_texts(&batch, "prediction_id")?;
        let label = column(&batch, "label")?;
        if label.null_count() > 0 {
            return Err(unexpected("label"));
        }
        let numbers = label.as_primitive_opt::<Float64Type>();
        let classes = label.as_string_opt::<i32>();
        let labels: Option<Vec<LabelValue>> = (0..batch.num_rows())
            .map(|row| match (numbers, classes) {
                (Some(numbers), _) => Some(LabelValue::Number(numbers.value(row))),
                (_, Some(classes)) => Some(LabelValue::Class(classes.value(row).to_owned())),
                _ => None,
            })
            .collect();
        rows.append(LabelBatch {
            prediction_ids: ids.iter().flatten().map(str::to_owned).collect(),
            labels: labels.ok_or_else(|| unexpected("label"))?,
            observed_at: times(&batch, "observed_at")?,
        });
    }
    Ok(rows)
}

fn open(bytes: Bytes) -> Result<(Exact, Vec<RecordBatch>), ArchivedError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(ArchivedError::Read)?;
    let said = builder.metadata().file_metadata().key_value_metadata();
    let said = said
        .and_then(|said| said.iter().find(|said| said.key == KEY))
        .and_then(|said| said.value.as_deref())
        .ok_or_else(|| ArchivedError::Malformed(format!("it has no key \"{KEY}\"")))?;
    let exact: Exact = serde_json::from_str(said)
        .map_err(|error| ArchivedError::Malformed(format!("its key \"{KEY}\": {error}")))?;
    if exact.version != VERSION {
        return Err(ArchivedError::UnknownVersion(exact.version));
    }
    let reader = builder.build().map_err(ArchivedError::Read)?;
    let batches: Result<Vec<RecordBatch>, ArrowError> = reader.collect();
    Ok((exact, batches.map_err(ArchivedError::Columns)?))
}

fn unexpected(name: &str) -> ArchivedError {
    ArchivedError::Malformed(format!(
        "its column \"{name}\" is missing or of another type"
    ))
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef, ArchivedError> {
    batch.column_by_name(name).ok_or_else(|| unexpected(name))
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, ArchivedError> {
    let texts = column(batch, name)?.as_string_opt::<i32>();
    texts.ok_or_else(|| unexpected(name))
}

/// As [`texts`], of which each row has one.
fn whole_texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, ArchivedError> {
    let whole = texts(batch, name)?;
    let whole = Some(whole).filter(|texts| texts.null_count() == 0);
    whole.ok_or_else(|| unexpected(name))
}

fn times(batch: &RecordBatch, name: &str) -> Result<Vec<DateTime<Utc>>, ArchivedError> {
    let micros = column(batch, name)?.as_primitive_opt::<TimestampMicrosecondType>();
    let micros = micros.ok_or_else(|| unexpected(name))?;
    let times: Option<Vec<_>> = (micros.values().iter())
        .map(|micros| DateTime::from_timestamp_micros(*micros))
        .collect();
    times.ok_or_else(|| unexpected(name))
}

/// The texts of a column that may be missing, one per row.
fn optional_texts<'b>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<Vec<Option<&'b str>>, ArchivedError> {
    match batch.column_by_name(name) {
        None => Ok(vec![None; batch.num_rows()]),
        Some(_) => Ok(texts(batch, name)?.iter().collect()),
    }
}

fn optional_numbers(batch: &RecordBatch, name: &str) -> Result<Vec<Option<f64>>, ArchivedError> {
    match batch.column_by_name(name) {
        None => Ok(vec![None; batch.num_rows()]),
        Some(array) => {
            let numbers = array.as_primitive_opt::<Float64Type>();
            Ok(numbers.ok_or_else(|| unexpected(name))?.iter().collect())
        }
    }
}

/// The rows of a part of a file that begins at row `first`.
fn of_columns(
    batch: &RecordBatch,
    exact: &Exact,
    first: usize,
    names: &Names,
) -> Result<PredictionBatch, ArchivedError> {
    let rows = batch.num_rows();
    let outputs = outputs(batch, names)?;
    let segments = optional_texts(batch, "segments")?;
    let segments = (first..).zip(segments).map(|(row, text)| {
        let said = exact.segments.get(&row).cloned();
        said.or_else(|| parse_segments(text?)).unwrap_or_default()
    });
    let mut features = Vec::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(name) = field.name().strip_prefix(FEATURE) else {
            continue;
        };
        let absent = exact.absent.get(name).map_or(&[][..], Vec::as_slice);
        let values = match exact.mixed.contains(name) {
            true => mixed_values(array).ok_or_else(|| unexpected(field.name()))?,
            false => plain_values(array).ok_or_else(|| unexpected(field.name()))?,
        };
        let values = (first..).zip(values).map(|(row, value)| {
            let is_absent = value == Value::Null && is_in(absent, row);
            if is_absent { Value::Absent } else { value }
        });
        features.push(Column::of(name, values));
    }
    Ok(PredictionBatch {
        prediction_ids: whole_texts(batch, "prediction_id")?
            .iter()
            .flatten()
            .collect(),
        predicted_at: times(batch, "timestamp")?,
        versions: texts(batch, "version")?.iter().collect(),
        outputs,
        segments: segments.take(rows).collect(),
        latency_ms: optional_numbers(batch, "latency_ms")?,
        errors: optional_texts(batch, "error")?.into_iter().collect(),
        deployments: optional_texts(batch, "deployment")?.into_iter().collect(),
        features,
    })
}

fn outputs(batch: &RecordBatch, names: &Names) -> Result<Vec<Output>, ArchivedError> {
    let rows = batch.num_rows();
    let is_number = |name: &str| {
        let array = batch.column_by_name(name);
        array.is_some_and(|array| *array.data_type() == DataType::Float64)
    };
    // Where both have one name, its type says which it is.
    let shared = names.class == names.value;
    let values = if shared && !is_number(names.value) {
        vec![None; rows]
    } else {
        optional_numbers(batch, names.value)?
    };
    let classes = if shared && is_number(names.class) {
        vec![None; rows]
    } else {
        optional_texts(batch, names.class)?
    };
    let scores = optional_numbers(batch, names.score)?;
    let mut outputs: Vec<Output> = (values.into_iter().zip(classes).zip(scores))
        .map(|((value, class), score)| Output {
            value,
            class: class.map(str::to_owned),
            score,
            probabilities: Vec::new(),
        })
        .collect();
    for field in batch.schema().fields() {
        let Some(class) = field.name().strip_prefix(names.share) else {
            continue;
        };
        let probabilities = optional_numbers(batch, field.name())?;
        for (output, probability) in outputs.iter_mut().zip(probabilities) {
            let of_class = probability.map(|probability| (class.to_owned(), probability));
            output.probabilities.extend(of_class);
        }
    }
    Ok(outputs)
}

fn plain_values(array: &ArrayRef) -> Option<Vec<Value<'_>>> {
    fn or_null<'v>(value: Option<Value<'v>>) -> Value<'v> {
        value.unwrap_or(Value::Null)
    }
    Some(match array.data_type() {
        DataType::Float64 => (array.as_primitive::<Float64Type>().iter())
            .map(|number| or_null(number.map(Value::Number)))
            .collect(),
        DataType::Int64 => (array.as_primitive::<Int64Type>().iter())
            .map(|integer| or_null(integer.map(Value::Integer)))
            .collect(),
        DataType::Boolean => (array.as_boolean().iter())
            .map(|flag| or_null(flag.map(Value::Boolean)))
            .collect(),
        DataType::Utf8 => (array.as_string::<i32>().iter())
            .map(|text| or_null(text.map(|text| Value::Text(text.into()))))
            .collect(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>();
            let times = micros.iter().map(|micros| {
                let at = micros.map(DateTime::from_timestamp_micros);
                Some(match at {
                    None => Value::Null,
                    Some(at) => Value::Timestamp(at?),
                })
            });
            times.collect::<Option<Vec<_>>>()?
        }
        DataType::List(item) if item.data_type() == &DataType::Float32 => {
            let vectors = array.as_list::<i32>().iter();
            let vector = |numbers: ArrayRef| {
                let numbers = numbers.as_primitive::<Float32Type>().values().to_vec();
                Value::Vector(numbers.into())
            };
            vectors
                .map(|numbers| or_null(numbers.map(vector)))
                .collect()
        }
        _ => return None,
    })
}

fn mixed_values(array: &ArrayRef) -> Option<Vec<Value<'_>>> {
    let texts = array.as_string_opt::<i32>()?;
    let values = texts.iter().map(|text| match text {
        None => Some(Value::Null),
        Some(text) => serde_json::from_str(text).ok(),
    });
    values.collect()
}

fn is_in(runs: &[(usize, usize)], row: usize) -> bool {
    let behind = runs.partition_point(|(first, _)| *first <= row);
    let run = behind.checked_sub(1).and_then(|place| runs.get(place));
    run.is_some_and(|(first, length)| row < first + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Absent),
            Just(Value::Null),
            any::<f64>()
                .prop_filter("one zero, and one NaN that equals itself", |n| !n.is_nan())
                .prop_map(|n| Value::Number(n + 0.0)),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            "[a-z=;\"]{0,6}".prop_map(|text| Value::Text(text.into())),
            (-4_000_000_000_000_000_i64..4_000_000_000_000_000).prop_map(|micros| {
                Value::Timestamp(DateTime::from_timestamp_micros(micros).expect("in the calendar"))
            }),
        ]
    }

    fn batch() -> impl Strategy<Value = PredictionBatch> {
        let number = || prop::option::of(-1e9..1e9_f64);
        let segments = prop::collection::vec(("[a-c]", "[a-z=;]{0,3}"), 0..3);
        let row = (
            "[a-z]{1,8}",
            0_i64..4_000_000_000_000_000,
            prop::option::of("[a-z ]{1,5}"),
            number(),
            segments,
            prop::collection::vec(value(), 3),
        );
        prop::collection::vec(row, 1..20).prop_map(|rows| {
            let mut batch = PredictionBatch::default();
            let mut features: Vec<Vec<Value<'static>>> = vec![Vec::new(); 3];
            for (id, micros, error, latency, segments, values) in rows {
                batch.prediction_ids.push(&id);
                let at = DateTime::from_timestamp_micros(micros).expect("in the calendar");
                batch.predicted_at.push(at);
                batch.versions.push(Some("v1"));
                batch.outputs.push(Output {
                    value: latency,
                    ..Output::default()
                });
                batch.segments.push(segments);
                batch.latency_ms.push(latency);
                batch.errors.push(error.as_deref());
                batch.deployments.push(error.as_deref());
                for (feature, value) in features.iter_mut().zip(values) {
                    feature.push(value);
                }
            }
            let names = ["a", "b.c", "d"];
            batch.features = (names.iter().zip(features))
                .map(|(name, values)| Column::of(*name, values))
                .collect();
            batch
        })
    }

    proptest! {
        #[test]
        fn every_row_comes_back_as_it_was(batch in batch()) {
            let bytes = encode(&batch, Task::Regression).expect("written");
            prop_assert_eq!(decode(bytes.into(), Task::Regression).expect("read"), batch);
        }
    }

    #[test]
    fn classes_and_probabilities_come_back() {
        let mut batch = PredictionBatch::default();
        let outputs = [
            (
                Some("cat"),
                vec![("cat".to_owned(), 0.75), ("dog".to_owned(), 0.25)],
            ),
            (Some("dog"), vec![("dog".to_owned(), 1.0)]),
            (None, Vec::new()),
        ];
        for (row, (class, probabilities)) in outputs.into_iter().enumerate() {
            batch.prediction_ids.push(&row.to_string());
            batch.predicted_at.push(DateTime::UNIX_EPOCH);
            batch.versions.push(Some("v1"));
            batch.outputs.push(Output {
                class: class.map(str::to_owned),
                probabilities,
                ..Output::default()
            });
            batch.segments.push(Vec::new());
            batch.latency_ms.push(None);
            batch.errors.push(class.is_none().then_some("timed out"));
            batch.deployments.push(None);
        }
        let bytes = encode(&batch, Task::Multiclass).expect("written");
        assert_eq!(decode(bytes.into(), Task::Multiclass).expect("read"), batch);
    }

    #[test]
    fn rankings_and_forecasts_come_back_under_the_names_they_are_sent_with() {
        let ranked = |query: &str, rank, score| Output {
            class: Some(query.to_owned()),
            value: Some(rank),
            score: Some(score),
            ..Output::default()
        };
        let forecast = Output {
            value: Some(4.5),
            score: Some(0.75),
            probabilities: vec![("0.1".to_owned(), 3.0), ("0.9".to_owned(), 6.0)],
            ..Output::default()
        };
        for (task, outputs, expected) in [
            (
                Task::Ranking,
                vec![ranked("shoes", 1.0, 0.9), ranked("shoes", 2.0, 0.4)],
                ["query", "rank", "score"].as_slice(),
            ),
            (
                Task::Forecast,
                vec![forecast],
                &["prediction", "naive_error", "quantile.0.1", "quantile.0.9"],
            ),
        ] {
            let mut batch = PredictionBatch::default();
            for (row, output) in outputs.into_iter().enumerate() {
                batch.prediction_ids.push(&row.to_string());
                batch.predicted_at.push(DateTime::UNIX_EPOCH);
                batch.versions.push(Some("v1"));
                batch.outputs.push(output);
                batch.segments.push(Vec::new());
                batch.latency_ms.push(None);
                batch.errors.push(None);
                batch.deployments.push(None);
            }
            let bytes: Bytes = encode(&batch, task).expect("written").into();
            let (_, parts) = open(bytes.clone()).expect("opened");
            let schema = parts[0].schema();
            let fields = schema.fields().iter().map(|field| field.name().as_str());
            let answers: Vec<&str> = fields.skip(3).collect();
            assert_eq!(answers, expected);
            assert_eq!(decode(bytes, task).expect("read"), batch);
        }
    }

    #[test]
    fn labels_come_back() {
        for labels in [
            vec![LabelValue::Number(1.5), LabelValue::Number(-2.0)],
            vec![
                LabelValue::Class("1".into()),
                LabelValue::Class(String::new()),
            ],
        ] {
            let batch = LabelBatch {
                prediction_ids: vec!["a".into(), "b".into()],
                labels,
                observed_at: vec![DateTime::UNIX_EPOCH; 2],
            };
            let bytes = encode_labels(&batch).expect("written");
            assert_eq!(decode_labels(bytes.into()).expect("read"), batch);
        }
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        let refused =
            decode(Bytes::from_static(b"PAR1 or not"), Task::Regression).expect_err("no Parquet");
        assert!(matches!(refused, ArchivedError::Read(_)), "{refused}");
        let exact = Exact {
            version: 9,
            ..Exact::default()
        };
        let columns = vec![("prediction_id".to_owned(), instants(&[]))];
        let bytes = write(columns, &exact).expect("written");
        let refused = decode(bytes.into(), Task::Regression).expect_err("of another layout");
        assert!(
            matches!(refused, ArchivedError::UnknownVersion(9)),
            "{refused}"
        );
    }
}
