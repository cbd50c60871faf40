//! Parquet with flat columns, read batch by batch.
//!
//! Texts are read as views into the file's pages, because a dictionary can stand for many times its size.
//! Columns that no field wants are never unpacked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field as ArrowField, Schema, TimeUnit};
use bytes::Bytes;
use chrono::DateTime;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::names::Field;
use super::raw::Raw;
use super::{FormatError, Limits, Rows};

const ROWS_AT_ONCE: usize = 4_096;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads the value of a row that is not null.
type ReadCell = for<'a> fn(&'a dyn Array, usize) -> Raw<'a>;

/// Reads all rows; they count from 1.
pub(super) fn read(body: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), FormatError> {
    let body = Bytes::copy_from_slice(body);
    let metadata = guarded(|| read_metadata(&body))?;
    check_size(&metadata, limits)?;
    let columns = locate_columns(&metadata, rows)?;
    let wanted = columns.iter().map(|column| column.index);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
    let mut reader = guarded(|| {
        ParquetRecordBatchReaderBuilder::new_with_metadata(body, metadata)
            .with_projection(mask)
            .with_batch_size(ROWS_AT_ONCE)
            .build()
            .map_err(unreadable)
    })?;
    let mut line = 0;
    while let Some(batch) = guarded(|| reader.next().transpose().map_err(unreadable))? {
        for row in 0..batch.num_rows() {
            line += 1;
            rows.append(line, cells(&batch, &columns, row))?;
        }
    }
    Ok(())
}

/// The library asserts what a damaged file breaks: a panic in it is an answer about the file. Whatever it
/// was working on is dropped with the error, so nothing half-done is seen.
fn guarded<T>(work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(unreadable(
            "the file is damaged: its parts contradict each other",
        ))
    })
}

fn unreadable(error: impl std::fmt::Display) -> FormatError {
    let cause = error.to_string();
    FormatError::Parquet { cause }
}

/// A wanted column: its index in the file, the field it fills and how it is read.
struct Column {
    index: usize,
    field: Field,
    read: ReadCell,
}

fn read_metadata(body: &Bytes) -> Result<ArrowReaderMetadata, FormatError> {
    let options = ArrowReaderOptions::new();
    let metadata = ArrowReaderMetadata::load(body, options.clone()).map_err(unreadable)?;
    let schema = metadata.schema();
    let fields: Vec<ArrowField> = schema
        .fields()
        .iter()
        .map(|field| {
            let plain = plain_type(field.data_type());
            field.as_ref().clone().with_data_type(plain)
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    ArrowReaderMetadata::try_new(
        Arc::clone(metadata.metadata()),
        options.with_schema(Arc::new(schema)),
    )
    .map_err(unreadable)
}

/// Dictionaries as their values, and texts as views.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

/// Refuses a file that says it is too large before anything is unpacked.
fn check_size(metadata: &ArrowReaderMetadata, limits: &Limits) -> Result<(), FormatError> {
    let file = metadata.metadata();
    let rows = u64::try_from(file.file_metadata().num_rows()).map_err(unreadable)?;
    if rows > limits.max_rows {
        let limit = limits.max_rows;
        return Err(FormatError::TooManyRows { limit });
    }
    let unpacked: i128 = file
        .row_groups()
        .iter()
        .map(|group| i128::from(group.total_byte_size().max(0)))
        .sum();
    let limit = limits.max_unpacked_bytes;
    if unpacked > i128::from(limit) {
        return Err(unreadable(format!(
            "it unpacks to {unpacked} bytes; at most {limit} are taken from one file"
        )));
    }
    Ok(())
}

fn locate_columns(
    metadata: &ArrowReaderMetadata,
    rows: &mut impl Rows,
) -> Result<Vec<Column>, FormatError> {
    let mut columns: Vec<Column> = Vec::new();
    for (index, arrow) in metadata.schema().fields().iter().enumerate() {
        let refuse = |cause: String| FormatError::Column {
            column: arrow.name().clone(),
            cause,
        };
        let located = rows.locate(arrow.name());
        let Some(field) = located.map_err(|fault| refuse(fault.cause))? else {
            continue;
        };
        if columns.iter().any(|column| column.field == field) {
            return Err(refuse("occurs twice".to_owned()));
        }
        let read = reader_of(arrow.data_type()).ok_or_else(|| {
            let data_type = arrow.data_type();
            refuse(format!(
                "is of type {data_type}; taken are numbers, booleans, texts, timestamps and dates"
            ))
        })?;
        columns.push(Column { index, field, read });
    }
    Ok(columns)
}

/// The cells of one row. The batch has the wanted columns only, in the order of the file.
fn cells<'a>(
    batch: &'a RecordBatch,
    columns: &'a [Column],
    row: usize,
) -> impl Iterator<Item = (Field, Raw<'a>)> {
    columns
        .iter()
        .zip(batch.columns())
        .map(move |(column, array)| {
            let raw = if array.is_null(row) {
                Raw::Null
            } else {
                (column.read)(array.as_ref(), row)
            };
            (column.field, raw)
        })
}

fn reader_of(data_type: &DataType) -> Option<ReadCell> {
    Some(match data_type {
        DataType::Null => |_, _| Raw::Null,
        DataType::Boolean => |array, row| Raw::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => integer::<Int8Type>,
        DataType::Int16 => integer::<Int16Type>,
        DataType::Int32 => integer::<Int32Type>,
        DataType::Int64 => integer::<Int64Type>,
        DataType::UInt8 => integer::<UInt8Type>,
        DataType::UInt16 => integer::<UInt16Type>,
        DataType::UInt32 => integer::<UInt32Type>,
        DataType::UInt64 => large_integer,
        DataType::Float16 => number::<Float16Type>,
        DataType::Float32 => number::<Float32Type>,
        DataType::Float64 => number::<Float64Type>,
        DataType::Utf8View => |array, row| Raw::Text(array.as_string_view().value(row).into()),
        DataType::Date32 => date,
        DataType::Timestamp(TimeUnit::Second, _) => timestamp::<TimestampSecondType>,
        DataType::Timestamp(TimeUnit::Millisecond, _) => timestamp::<TimestampMillisecondType>,
        DataType::Timestamp(TimeUnit::Microsecond, _) => timestamp::<TimestampMicrosecondType>,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => timestamp::<TimestampNanosecondType>,
        _ => return None,
    })
}

fn integer<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, row: usize) -> Raw<'_> {
    Raw::Integer(array.as_primitive::<T>().value(row).into())
}

fn large_integer(array: &dyn Array, row: usize) -> Raw<'_> {
    let integer = array.as_primitive::<UInt64Type>().value(row);
    i64::try_from(integer).map_or_else(|_| Raw::BigNumber(integer.to_string().into()), Raw::Integer)
}

fn number<T: ArrowPrimitiveType<Native: Into<f64>>>(array: &dyn Array, row: usize) -> Raw<'_> {
    Raw::Number(array.as_primitive::<T>().value(row).into())
}

fn date(array: &dyn Array, row: usize) -> Raw<'_> {
    let days = i64::from(array.as_primitive::<Date32Type>().value(row));
    DateTime::from_timestamp(days * SECONDS_PER_DAY, 0)
        .map_or(Raw::EndlessTimestamp, Raw::Timestamp)
}

/// A timestamp without a zone is taken as UTC.
fn timestamp<T: ArrowTimestampType>(array: &dyn Array, row: usize) -> Raw<'_> {
    let value = array.as_primitive::<T>().value(row);
    let instant = match T::UNIT {
        TimeUnit::Second => DateTime::from_timestamp(value, 0),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(value),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(value),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(value)),
    };
    instant.map_or(Raw::EndlessTimestamp, Raw::Timestamp)
}
