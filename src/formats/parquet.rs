//! Parquet with flat columns, read batch by batch.
//!
//! Texts are read as views into the file's pages, because a dictionary can stand for many times its size.
//! Columns that no field wants are never unpacked, and the others only when their pages say how much that is ([`pages`]).

mod pages;

use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::arrow::{self, Cells, Column};
use super::{FormatError, Limits, Rows, guard};

const ROWS_AT_ONCE: usize = 4_096;

/// Reads all rows; they count from 1.
pub(super) fn read(body: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), FormatError> {
    let body = Bytes::copy_from_slice(body);
    let metadata = guarded(|| read_metadata(&body))?;
    let all_rows = guarded(|| count_rows(&metadata))?;
    limits.check_rows(all_rows, 0)?;
    let columns = arrow::locate_columns(metadata.schema(), rows)?;
    limits.check_rows(all_rows, arrow::open_ended(&columns))?;
    let wanted = columns.iter().map(|column| column.index);
    let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted);
    let unpacked = guarded(|| {
        let is_wanted = |leaf| mask.leaf_included(leaf);
        let limit = limits.max_unpacked_bytes;
        let pages = pages::unpacked(&body, metadata.metadata(), is_wanted, limit);
        pages.map_err(unreadable)
    })?;
    let unpacked = unpacked.max(room_for_gaps(&metadata, &columns, all_rows));
    (limits.check_unpacked(body.len(), unpacked)).map_err(unreadable)?;
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
    guard::guarded(work).unwrap_or_else(|| Err(unreadable(guard::CONTRADICTORY)))
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

/// The rows of all groups: what is read is theirs, whatever the file says of them together.
fn count_rows(metadata: &ArrowReaderMetadata) -> Result<u64, FormatError> {
    let mut groups = metadata.metadata().row_groups().iter();
    groups.try_fold(0_u64, |rows, group| {
        let more = u64::try_from(group.num_rows()).map_err(unreadable)?;
        Ok(rows.saturating_add(more))
    })
}

/// What lists of a fixed length take where there is none: nothing in the file, and their whole length in memory.
fn room_for_gaps(metadata: &ArrowReaderMetadata, columns: &[Column], rows: u64) -> u128 {
    let lengths = columns.iter().filter_map(|column| {
        match metadata.schema().field(column.index).data_type() {
            DataType::FixedSizeList(_, length) => u128::try_from(*length).ok(),
            _ => None,
        }
    });
    let numbers = lengths.map(|length| length.saturating_mul(rows.into()));
    let bytes = size_of::<f64>() as u128;
    numbers.fold(0, |sum, numbers| {
        sum.saturating_add(numbers.saturating_mul(bytes))
    })
}
