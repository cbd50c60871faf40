//! Parquet with flat columns, read batch by batch.
//!
//! Texts are read as views into the file's pages, because a dictionary can stand for many times its size.
//! Columns that no field wants are never unpacked.

use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::arrow::{self, Cells};
use super::{FormatError, Limits, Rows};

const ROWS_AT_ONCE: usize = 4_096;

/// Reads all rows; they count from 1.
pub(super) fn read(body: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), FormatError> {
    let body = Bytes::copy_from_slice(body);
    let metadata = guarded(|| read_metadata(&body))?;
    check_size(&metadata, limits)?;
    let columns = arrow::locate_columns(metadata.schema(), rows)?;
    let wanted = columns.iter().map(|column| column.index);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
    let mut reader = guarded(|| {
        ParquetRecordBatchReaderBuilder::new_with_metadata(body, metadata)
            .with_projection(mask)
            .with_batch_size(ROWS_AT_ONCE)
            .build()
            .map_err(unreadable)
    })?;
    let mut line = 1;
    while let Some(batch) = guarded(|| reader.next().transpose().map_err(unreadable))? {
        // The batch has the wanted columns only, in the order of the file.
        let cells = columns.iter().zip(batch.columns());
        rows.append_batch(line, &Cells::of(batch.num_rows(), cells))?;
        line += batch.num_rows() as u64;
    }
    Ok(())
}

fn guarded<T>(work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    arrow::guarded(work, |cause| unreadable(cause))
}

fn unreadable(error: impl std::fmt::Display) -> FormatError {
    let cause = error.to_string();
    FormatError::Parquet { cause }
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
