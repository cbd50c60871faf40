//! Parquet: columns are read one by one, texts as codes into the file's own dictionaries.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::{
    Batch, InFileOrder, ROWS_AT_ONCE, TableColumn, TableError, Take, guarded, open, typed_columns,
};

/// What is known of a file once it is open.
#[derive(Debug)]
pub(super) struct Source {
    metadata: ArrowReaderMetadata,
}

impl Source {
    /// Opens a file: what is known of it, its columns, and the number of its rows.
    pub(super) fn open(file: &Path) -> Result<(Self, Vec<TableColumn>, u64), TableError> {
        let reader = open(file)?;
        let metadata = guarded(file, "", || read_metadata(&reader))?;
        let columns = typed_columns(metadata.schema());
        let rows = metadata.metadata().file_metadata().num_rows();
        Ok((Self { metadata }, columns, u64::try_from(rows).unwrap_or(0)))
    }

    pub(super) fn read(
        &self,
        file: &Path,
        columns: &[usize],
        take: &mut Take<'_>,
    ) -> Result<(), TableError> {
        // Handles of one open file share its position, and several threads read.
        let reader = open(file)?;
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let place = self.place(columns);
        let mut batches = guarded(file, &place, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(reader, self.metadata.clone())
                .with_projection(mask)
                .with_batch_size(self.rows_at_once(columns))
                .build()
                .map_err(|error| error.to_string())
        })?;
        // The batch has its columns in the order of the file.
        let wanted = InFileOrder::of(columns);
        loop {
            let next = || {
                batches
                    .next()
                    .transpose()
                    .map_err(|error| error.to_string())
            };
            let Some(batch) = guarded(file, &place, next)? else {
                return Ok(());
            };
            let batch = Batch {
                rows: batch.num_rows(),
                columns: wanted.columns_of(&batch),
                progress: batch.num_rows() as u64,
            };
            if !take(batch) {
                return Ok(());
            }
        }
    }

    /// Lists may be long: a thousand of them are as large as a batch of single values.
    fn rows_at_once(&self, columns: &[usize]) -> usize {
        let fields = self.metadata.schema().fields();
        let mut read = columns.iter().filter_map(|column| fields.get(*column));
        if read.any(|field| field.data_type().is_nested()) {
            ROWS_AT_ONCE / 16
        } else {
            ROWS_AT_ONCE
        }
    }

    /// Which column an error is about, where only one is read.
    fn place(&self, columns: &[usize]) -> String {
        match columns {
            [column] => {
                let field = self.metadata.schema().field(*column);
                format!(", column \"{}\"", field.name())
            }
            _ => String::new(),
        }
    }
}

fn read_metadata(file: &std::fs::File) -> Result<ArrowReaderMetadata, String> {
    let options = ArrowReaderOptions::new();
    let told = |error: parquet::errors::ParquetError| error.to_string();
    let metadata = ArrowReaderMetadata::load(file, options.clone()).map_err(told)?;
    let schema = metadata.schema();
    let fields: Vec<Field> = (schema.fields().iter())
        .map(|field| {
            let coded = coded_type(field.data_type());
            field.as_ref().clone().with_data_type(coded)
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let options = options.with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(told)
}

/// Texts as codes, everything else as it is.
fn coded_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => coded_type(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
        other => other.clone(),
    }
}
