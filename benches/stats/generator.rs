//! The rows that are compared: 20 numeric and 10 categorical columns of the shapes features have, the same for the
//! same seed, written as Parquet.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ROWS_AT_ONCE: usize = 100_000;
/// The numbers of categories.
const LEVELS: [usize; 10] = [2, 2, 3, 5, 8, 12, 20, 50, 100, 300];

#[derive(Debug, Clone, Copy)]
enum Shape {
    Normal,
    LogNormal,
    Exponential,
    Uniform,
    Bimodal,
    Count,
}

/// Six normal columns, three lognormal, three exponential, four uniform, two bimodal and two of counts.
const SHAPES: [Shape; 20] = {
    use Shape::{Bimodal, Count, Exponential, LogNormal, Normal, Uniform};
    [
        Normal,
        Normal,
        Normal,
        Normal,
        Normal,
        Normal,
        LogNormal,
        LogNormal,
        LogNormal,
        Exponential,
        Exponential,
        Exponential,
        Uniform,
        Uniform,
        Uniform,
        Uniform,
        Bimodal,
        Bimodal,
        Count,
        Count,
    ]
};

/// Writes a file of so many rows. `shift` moves every third numeric column by so many standard deviations.
pub fn write(file: &Path, rows: usize, seed: u64, shift: f64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    write_batches(file, rows, ROWS_AT_ONCE, |rows| {
        batch(&mut random, rows, shift)
    })
}

/// Writes a file of so many numeric columns, whose values have three digits so that the file stays small.
pub fn write_wide(file: &Path, rows: usize, columns: usize, seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    write_batches(file, rows, 10_000, |rows| {
        let columns = (0..columns).map(|column| {
            let values = (0..rows).map(|_| (normal(&mut random) * 100.0).round());
            let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
            (format!("n{column:04}"), array)
        });
        Ok(RecordBatch::try_from_iter(columns)?)
    })
}

/// Writes so many rows, at most `at_once` of them made at a time.
fn write_batches(
    file: &Path,
    rows: usize,
    at_once: usize,
    mut batch_of: impl FnMut(usize) -> anyhow::Result<RecordBatch>,
) -> anyhow::Result<()> {
    let mut writer: Option<ArrowWriter<File>> = None;
    let mut left = rows;
    while left > 0 {
        let batch = batch_of(left.min(at_once))?;
        left -= batch.num_rows();
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(self::writer(file, &batch)?),
        };
        writer.write(&batch)?;
    }
    if let Some(writer) = writer {
        writer.close()?;
    }
    Ok(())
}

fn writer(file: &Path, batch: &RecordBatch) -> anyhow::Result<ArrowWriter<File>> {
    let created = File::create(file).with_context(|| format!("create {}", file.display()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(250_000))
        .build();
    Ok(ArrowWriter::try_new(
        created,
        batch.schema(),
        Some(properties),
    )?)
}

fn batch(random: &mut StdRng, rows: usize, shift: f64) -> anyhow::Result<RecordBatch> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let moved = if number % 3 == 0 { shift } else { 0.0 };
        columns.push((
            format!("n{number:02}"),
            numbers(random, shape, number, rows, moved),
        ));
    }
    for (number, levels) in LEVELS.into_iter().enumerate() {
        columns.push((format!("c{number:02}"), categories(random, levels, rows)));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Every fourth column has nulls in one of fifty rows.
fn numbers(random: &mut StdRng, shape: Shape, number: usize, rows: usize, shift: f64) -> ArrayRef {
    let has_nulls = number % 4 == 1;
    let value = |random: &mut StdRng| match shape {
        Shape::Normal => 50.0 + 10.0 * (normal(random) + shift),
        Shape::LogNormal => (normal(random) + shift).exp(),
        Shape::Exponential => -(1.0 - random.random::<f64>()).ln() * (1.0 + shift),
        Shape::Uniform => random.random::<f64>() + shift,
        Shape::Bimodal => normal(random) + shift + if random.random::<bool>() { 4.0 } else { 0.0 },
        Shape::Count => (normal(random) + shift).abs().mul_add(4.0, 0.0).floor(),
    };
    if matches!(shape, Shape::Count) {
        let values = (0..rows).map(|_| value(random) as i64);
        return Arc::new(Int64Array::from_iter_values(values));
    }
    let values = (0..rows).map(|_| {
        let value = value(random);
        (!has_nulls || random.random::<f64>() >= 0.02).then_some(value)
    });
    Arc::new(values.collect::<Float64Array>())
}

/// Categories of falling shares.
fn categories(random: &mut StdRng, levels: usize, rows: usize) -> ArrayRef {
    let names: Vec<String> = (0..levels).map(|level| format!("level {level}")).collect();
    let values = (0..rows).map(|_| {
        let level = (random.random::<f64>() * random.random::<f64>() * levels as f64) as usize;
        names[level.min(levels - 1)].as_str()
    });
    Arc::new(values.collect::<DictionaryArray<Int32Type>>())
}

/// Box and Muller's normal numbers, one of each pair.
fn normal(random: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}
