//! Tables of the real data, by column, in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Numbers with NaN for null, and texts.
#[derive(Default)]
pub struct Table {
    pub numbers: BTreeMap<String, Vec<f64>>,
    pub texts: BTreeMap<String, Vec<Option<String>>>,
}

impl Table {
    /// Reads a file, named from the root of the repository.
    pub fn read(path: &str) -> anyhow::Result<Self> {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let file = File::open(whole).with_context(|| format!("open {path}"))?;
        let mut table = Self::default();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            let batch = batch?;
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                table.append(field.name(), column)?;
            }
        }
        Ok(table)
    }

    fn append(&mut self, name: &str, column: &dyn Array) -> anyhow::Result<()> {
        if *column.data_type() == DataType::Utf8 {
            let texts = column
                .as_string::<i32>()
                .iter()
                .map(|text| text.map(str::to_owned));
            self.texts.entry(name.to_owned()).or_default().extend(texts);
            return Ok(());
        }
        let values = match column.data_type() {
            DataType::Float64 => numbers::<Float64Type>(column, |v| v),
            DataType::Float32 => numbers::<Float32Type>(column, f64::from),
            DataType::Int8 => numbers::<Int8Type>(column, f64::from),
            DataType::Int16 => numbers::<Int16Type>(column, f64::from),
            DataType::Int32 => numbers::<Int32Type>(column, f64::from),
            DataType::Int64 => numbers::<Int64Type>(column, |v| v as f64),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                numbers::<TimestampMillisecondType>(column, |v| v as f64)
            }
            other => bail!("read a column of type {other}"),
        };
        self.numbers
            .entry(name.to_owned())
            .or_default()
            .extend(values);
        Ok(())
    }

    pub fn number(&self, name: &str) -> anyhow::Result<&[f64]> {
        let column = self.numbers.get(name);
        Ok(column.with_context(|| format!("find column {name}"))?)
    }

    pub fn text(&self, name: &str) -> anyhow::Result<&[Option<String>]> {
        let column = self.texts.get(name);
        Ok(column.with_context(|| format!("find column {name}"))?)
    }
}

fn numbers<T: ArrowPrimitiveType>(column: &dyn Array, of: fn(T::Native) -> f64) -> Vec<f64> {
    let values = column.as_primitive::<T>().iter();
    values.map(|value| value.map_or(f64::NAN, of)).collect()
}
