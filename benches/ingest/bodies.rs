//! Predictions as request bodies, made before any clock starts. Types are what the usual clients send: texts as
//! texts and not as dictionaries, times with their zone, integers as integers.

use std::fmt::Write;
use std::sync::Arc;

use anyhow::Context;
use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::generator::{self, Generator, Rows, Vocabulary};

/// How many predictions a body of the throughput measurements holds.
pub const ROWS_PER_BODY: usize = 10_000;
/// What the service takes as sent.
const LARGEST_BODY: usize = 16 << 20;

/// A format as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Arrow,
    ArrowZstd,
    Parquet,
    Ndjson,
}

impl Format {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Arrow | Self::ArrowZstd => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Arrow => "Arrow IPC",
            Self::ArrowZstd => "Arrow IPC, zstd",
            Self::Parquet => "Parquet, Snappy",
            Self::Ndjson => "NDJSON",
        }
    }

    /// One word, for names of databases.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::ArrowZstd => "arrow_zstd",
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
        }
    }
}

/// A body, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Body {
    pub bytes: Bytes,
    pub rows: u64,
    pub media_type: &'static str,
}

/// The next `rows` predictions of a stream, in bodies of `per_body`.
pub fn bodies(
    generator: &mut Generator,
    format: Format,
    rows: u64,
    per_body: usize,
) -> anyhow::Result<Arc<[Body]>> {
    let mut left = usize::try_from(rows).context("make so many rows")?;
    let mut bodies = Vec::with_capacity(left.div_ceil(per_body));
    while left > 0 {
        let rows = generator.rows(left.min(per_body));
        left -= rows.len();
        bodies.push(body(&rows, &generator.vocabulary, format)?);
    }
    Ok(bodies.into())
}

/// Rows as one body.
pub fn body(rows: &Rows, vocabulary: &Vocabulary, format: Format) -> anyhow::Result<Body> {
    let bytes = match format {
        Format::Arrow => arrow_stream(rows, vocabulary, None)?,
        Format::ArrowZstd => arrow_stream(rows, vocabulary, Some(CompressionType::ZSTD))?,
        Format::Parquet => parquet_file(rows, vocabulary)?,
        Format::Ndjson => ndjson(rows, vocabulary).into_bytes(),
    };
    anyhow::ensure!(
        bytes.len() <= LARGEST_BODY,
        "a body of {} has {} bytes, more than the service takes",
        format.name(),
        bytes.len()
    );
    Ok(Body {
        bytes: bytes.into(),
        rows: rows.len() as u64,
        media_type: format.media_type(),
    })
}

/// Each of the next `rows` predictions as a JSON body of its own. They share one block of memory, because there
/// are hundreds of thousands.
pub fn singles(generator: &mut Generator, rows: u64) -> Arc<[Body]> {
    let mut text = String::new();
    let mut ends = vec![0];
    for _ in 0..rows {
        let row = generator.rows(1);
        write_json(&mut text, &row, 0, &generator.vocabulary, true);
        ends.push(text.len());
    }
    let block = Bytes::from(text);
    ends.windows(2)
        .map(|ends| Body {
            bytes: block.slice(ends[0]..ends[1]),
            rows: 1,
            media_type: "application/json",
        })
        .collect()
}

fn ndjson(rows: &Rows, vocabulary: &Vocabulary) -> String {
    let mut text = String::with_capacity(rows.len() * 900);
    for row in 0..rows.len() {
        write_json(&mut text, rows, row, vocabulary, true);
        text.push('\n');
    }
    text
}

/// A prediction as a JSON object, with or without its id.
pub fn write_json(
    text: &mut String,
    rows: &Rows,
    row: usize,
    vocabulary: &Vocabulary,
    with_id: bool,
) {
    text.push('{');
    if with_id {
        push(
            text,
            format_args!("\"prediction_id\":\"{}\",", rows.ids[row]),
        );
    }
    let time = rfc3339(rows.times[row]);
    let score = rows.scores[row];
    push(
        text,
        format_args!("\"timestamp\":\"{time}\",\"score\":{score},\"features\":{{"),
    );
    for (feature, values) in rows.numbers.iter().enumerate() {
        let comma = if feature == 0 { "" } else { "," };
        let name = generator::number_name(feature);
        push(text, format_args!("{comma}\"{name}\":"));
        match values[row] {
            Some(value) => push(text, format_args!("{value}")),
            None => text.push_str("null"),
        }
    }
    for (feature, values) in rows.categories.iter().enumerate() {
        let name = generator::category_name(feature);
        push(text, format_args!(",\"{name}\":"));
        match values[row] {
            Some(value) => push(
                text,
                format_args!("\"{}\"", vocabulary.text(feature, value)),
            ),
            None => text.push_str("null"),
        }
    }
    text.push_str("}}");
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a String cannot fail");
}

fn rfc3339(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .expect("times lie in one day of the present")
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn record_batch(rows: &Rows, vocabulary: &Vocabulary) -> anyhow::Result<RecordBatch> {
    let ids = rows.ids.iter().map(|id| Some(id.to_string()));
    let times = TimestampMicrosecondArray::from(rows.times.clone()).with_timezone("UTC");
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (
            "prediction_id".to_owned(),
            Arc::new(ids.collect::<StringArray>()),
        ),
        ("timestamp".to_owned(), Arc::new(times)),
        (
            "score".to_owned(),
            Arc::new(Float64Array::from(rows.scores.clone())),
        ),
    ];
    for (feature, values) in rows.numbers.iter().enumerate() {
        let column: ArrayRef = if generator::is_integer(feature) {
            let integers = values.iter().map(|value| value.map(|value| value as i64));
            Arc::new(integers.collect::<Int64Array>())
        } else {
            Arc::new(Float64Array::from(values.clone()))
        };
        columns.push((generator::number_name(feature), column));
    }
    for (feature, values) in rows.categories.iter().enumerate() {
        let texts = values
            .iter()
            .map(|value| value.map(|value| vocabulary.text(feature, value)));
        columns.push((
            generator::category_name(feature),
            Arc::new(texts.collect::<StringArray>()),
        ));
    }
    RecordBatch::try_from_iter(columns).context("put the columns together")
}

fn arrow_stream(
    rows: &Rows,
    vocabulary: &Vocabulary,
    compression: Option<CompressionType>,
) -> anyhow::Result<Vec<u8>> {
    let batch = record_batch(rows, vocabulary)?;
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options)?;
    writer.write(&batch).context("write an Arrow stream")?;
    writer.into_inner().context("end an Arrow stream")
}

fn parquet_file(rows: &Rows, vocabulary: &Vocabulary) -> anyhow::Result<Vec<u8>> {
    let batch = record_batch(rows, vocabulary)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch).context("write a Parquet file")?;
    writer.into_inner().context("end a Parquet file")
}
