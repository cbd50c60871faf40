//! The inputs of the corpus that no text editor writes.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, TimestampSecondArray, UInt64Array, types,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use bellwether::domain::batch::{LabelBatch, LabelValue, Output, PredictionBatch};
use bellwether::domain::columns::{Column, Value};
use bellwether::domain::model::Task;
use bellwether::domain::telemetry::SampleRow;
use bellwether::formats::archived;
use bellwether::stats::grid::Grid;
use bellwether::stats::profile::FeatureProfile;
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use super::folder;
use crate::blobs;

/// The inputs that no text editor writes. Those in the corpus were written by this; it is run by hand when a format
/// of ours changes.
#[test]
#[ignore = "writes fuzz/corpus"]
fn write_binary_corpus() {
    let mut inputs = Vec::new();
    for (name, columns) in [
        ("predictions", prediction_columns()),
        ("labels", label_columns()),
        ("extremes", extreme_columns()),
    ] {
        let batch = RecordBatch::try_from_iter(columns).expect("columns fit");
        let codecs = [
            ("plain", Compression::UNCOMPRESSED, None),
            (
                "snappy",
                Compression::SNAPPY,
                Some(CompressionType::LZ4_FRAME),
            ),
            (
                "zstd",
                Compression::ZSTD(Default::default()),
                Some(CompressionType::ZSTD),
            ),
        ];
        for (codec, of_parquet, of_arrow) in codecs {
            inputs.push((
                "parquet",
                format!("{name}-{codec}"),
                parquet_file(&batch, of_parquet),
            ));
            inputs.push((
                "arrow",
                format!("{name}-{codec}"),
                arrow_stream(&batch, of_arrow),
            ));
        }
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        inputs.push((
            "arrow",
            format!("{name}-file"),
            writer.into_inner().expect("finished"),
        ));
    }
    inputs.extend(landed_bodies().map(|(name, bytes)| ("landed", name.to_owned(), bytes)));
    inputs.extend(archived_files().map(|(name, bytes)| ("archived", name.to_owned(), bytes)));
    for (name, profile) in profiles() {
        let bytes = profile.encode();
        let inside = bytes[4..bytes.len() - 4].to_vec();
        inputs.push(("profile", name.to_owned(), bytes));
        inputs.push(("profile", format!("{name}-inside"), inside));
    }
    inputs.extend(packed_bodies().map(|(name, bytes)| ("inflated", name.to_owned(), bytes)));
    for blob in blobs::every_kind() {
        let target = match blob.kind {
            "keys" | "filter" => "keys",
            "profile" | "landed batch" | "half of an inference" => continue,
            _ => "states",
        };
        let name = format!("{}-{}", blob.kind.replace(' ', "-"), blob.bytes.len());
        // Behind family and version, and before the checksum.
        let inside = blob.bytes[4..blob.bytes.len() - 4].to_vec();
        if inside.len() < 1_000 {
            inputs.push((target, format!("{name}-inside"), inside));
        }
        inputs.push((target, name, blob.bytes));
    }
    for (name, columns) in [
        ("predictions", prediction_columns()),
        ("extremes", extreme_columns()),
    ] {
        let batch = RecordBatch::try_from_iter(columns).expect("columns fit");
        inputs.push((
            "tables",
            format!("{name}.parquet"),
            parquet_file(&batch, Compression::SNAPPY),
        ));
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        let file = writer.into_inner().expect("finished");
        inputs.push(("tables", format!("{name}.arrow"), file));
    }
    let csv = "id,x,when,t\n1,2.5,2013-03-01,a\n2,,,\"b\nc\"\n3,NaN,x,\u{202E}\n";
    let ndjson = "{\"x\":1,\"v\":[1,2.5,null],\"s\":{\"a\":1}}\n\n{\"x\":\"t\",\"v\":[3]}\n{\"e\u{301}\":1e400}\n";
    inputs.push(("tables", "mixed.csv".to_owned(), csv.into()));
    inputs.push(("tables", "mixed.ndjson".to_owned(), ndjson.into()));
    for (target, name, bytes) in inputs {
        let folder = folder().join("corpus").join(target);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name), bytes).expect("written");
    }
}

/// Bodies as senders pack them, and as nobody should: many times as large unpacked, several streams, a head with everything
/// in it, and what follows the end.
fn packed_bodies() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let gzip = |text: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(text).expect("written");
        packer.finish().expect("finished")
    };
    let zstd = |text: &[u8]| zstd::encode_all(text, 19).expect("packed");
    let rows = b"prediction_id,timestamp,prediction\na,2013-03-01,1\n".repeat(20);
    let blanks = vec![b' '; 8 << 20];
    let mut named = flate2::GzBuilder::new()
        .filename("rows.csv")
        .comment("of March")
        .extra("xy")
        .write(Vec::new(), flate2::Compression::fast());
    named.write_all(&rows).expect("written");
    let skippable = [
        &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..],
        &zstd(&rows),
    ]
    .concat();
    [
        ("gzip", gzip(&rows)),
        (
            "gzip-twice",
            [gzip(&rows), gzip(b"b,2013-03-01,1\n")].concat(),
        ),
        ("gzip-nothing", gzip(b"")),
        ("gzip-bomb", gzip(&blanks)),
        ("gzip-named", named.finish().expect("finished")),
        ("gzip-and-more", [gzip(&rows), b"more".to_vec()].concat()),
        ("zstd", zstd(&rows)),
        (
            "zstd-twice",
            [zstd(&rows), zstd(b"b,2013-03-01,1\n")].concat(),
        ),
        ("zstd-bomb", zstd(&blanks)),
        ("zstd-skippable", skippable),
        ("zstd-in-gzip", gzip(&zstd(&rows))),
    ]
    .into_iter()
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn prediction_columns() -> Columns {
    let carriers: DictionaryArray<types::Int8Type> =
        vec![Some("UA"), None, Some("B6")].into_iter().collect();
    let times = vec![1_362_132_000_000, 1_362_132_000_001, 0];
    vec![
        ("prediction_id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from(times)),
        ),
        (
            "prediction",
            Arc::new(Float64Array::from(vec![212.5, -0.0, f64::NAN])),
        ),
        ("carrier", Arc::new(carriers)),
        (
            "distance",
            Arc::new(Float64Array::from(vec![
                Some(1400.5),
                None,
                Some(f64::INFINITY),
            ])),
        ),
        (
            "late",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            "segments",
            Arc::new(StringArray::from(vec!["a=b;c=d", "", "x"])),
        ),
    ]
}

fn label_columns() -> Columns {
    vec![
        (
            "prediction_id",
            Arc::new(StringArray::from(vec!["a", "b\0", " "])),
        ),
        (
            "label",
            Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None])),
        ),
        (
            "observed_at",
            Arc::new(TimestampSecondArray::from(vec![
                1_362_132_000,
                i64::MAX,
                i64::MIN,
            ])),
        ),
    ]
}

fn extreme_columns() -> Columns {
    let long = "x".repeat(300);
    vec![
        (
            "prediction_id",
            Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 63, 0])),
        ),
        (
            "timestamp",
            Arc::new(TimestampSecondArray::from(vec![1_362_132_000; 3])),
        ),
        (
            "score",
            Arc::new(Float64Array::from(vec![1e308, -1.0, 0.5])),
        ),
        (
            "e\u{301}",
            Arc::new(StringArray::from(vec!["\u{202E}", &long, ""])),
        ),
        (
            "when",
            Arc::new(TimestampSecondArray::from(vec![
                253_402_300_800,
                -1,
                i64::MIN,
            ])),
        ),
        (
            "whole",
            Arc::new(Int64Array::from(vec![
                i64::MIN,
                i64::MAX,
                9_007_199_254_740_993,
            ])),
        ),
    ]
}

pub fn parquet_file(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    file
}

pub fn arrow_stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression);
    let options = options.expect("an option");
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("a writer");
    writer.write(batch).expect("written");
    writer.into_inner().expect("finished")
}

fn archived_files() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let spread = SampleRow {
        measure: "request_duration".to_owned(),
        series: -7,
        sampled_at: DateTime::UNIX_EPOCH,
        started_at: Some(DateTime::UNIX_EPOCH),
        source: "pod-1".to_owned(),
        counting: "cumulative".to_owned(),
        value: 1.5,
        observations: Some(3),
        bounds: Some(vec![0.1, 1.0]),
        buckets: Some(vec![1, 2, 0]),
    };
    let level = SampleRow {
        counting: "level".to_owned(),
        observations: None,
        bounds: None,
        buckets: None,
        ..spread.clone()
    };
    let (predictions, mut labels) = some_rows();
    // A file of labels has numbers or classes.
    labels.labels = vec![LabelValue::Number(1.5), LabelValue::Number(2.0)];
    [
        ("predictions", archived::encode(&predictions, Task::Ranking)),
        ("labels", archived::encode_labels(&labels)),
        ("telemetry", archived::encode_samples(&[level, spread])),
    ]
    .into_iter()
    .map(|(name, bytes)| (name, bytes.expect("written")))
}

/// Rows with something of everything.
fn some_rows() -> (PredictionBatch, LabelBatch) {
    let texts = |texts: [&'static str; 3]| texts.into_iter().map(Some).collect();
    let value = |value| Output {
        value: Some(value),
        class: Some("late".to_owned()),
        score: Some(0.5),
        probabilities: vec![("cat".to_owned(), 1.0)],
    };
    let predictions = PredictionBatch {
        prediction_ids: ["a", "b", "\u{E9}"].into_iter().collect(),
        predicted_at: vec![DateTime::UNIX_EPOCH; 3],
        versions: texts(["v1", "v2", "v1"]),
        outputs: [1.5, -2.0, 1e308].map(value).into(),
        segments: vec![vec![("origin".to_owned(), "EWR".to_owned())]; 3],
        latency_ms: vec![Some(1.0), None, Some(3.5)],
        errors: texts(["", "time-out", ""]),
        deployments: [None; 3].into_iter().collect(),
        features: vec![
            Column::of(
                "n",
                [
                    Value::Number(f64::NAN),
                    Value::Integer(i64::MIN),
                    Value::Absent,
                ],
            ),
            Column::of(
                "t",
                [Value::Text("a".into()), Value::Null, Value::Boolean(true)],
            ),
            Column::of("w", [const { Value::Timestamp(DateTime::UNIX_EPOCH) }; 3]),
        ],
    };
    let labels = LabelBatch {
        prediction_ids: vec!["a".to_owned(), "b".to_owned()],
        labels: vec![
            LabelValue::Number(1.5),
            LabelValue::Class("late".to_owned()),
        ],
        observed_at: vec![DateTime::UNIX_EPOCH; 2],
    };
    (predictions, labels)
}

fn landed_bodies() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let (predictions, labels) = some_rows();
    let whole = |rows: &[u8]| {
        let mut body = b"BWB\x03".to_vec();
        body.extend(crc32c::crc32c_append(3, rows).to_le_bytes());
        body.extend(rows);
        body
    };
    let (predictions, labels) = (serialised(&predictions), serialised(&labels));
    [
        ("predictions", whole(&predictions)),
        ("labels", whole(&labels)),
        (
            "predictions-zstd",
            zstd::encode_all(predictions.as_slice(), 1).expect("compresses"),
        ),
        (
            "labels-zstd",
            zstd::encode_all(labels.as_slice(), 1).expect("compresses"),
        ),
        ("predictions-inside", predictions),
        ("labels-inside", labels),
    ]
    .into_iter()
}

fn serialised<B: Serialize>(batch: &B) -> Vec<u8> {
    postcard::to_allocvec(batch).expect("serialises")
}

fn profiles() -> Vec<(&'static str, FeatureProfile)> {
    let many: Vec<f64> = (0..900).map(f64::from).collect();
    let grid = Grid::fit(&many, 64);
    let numeric = |numbers: &[f64], grid| {
        let mut profile = FeatureProfile::numeric(grid);
        profile.observe_numbers(numbers, grid).expect("numbers");
        profile.observe_null(2);
        profile
    };
    let mut categories = FeatureProfile::categorical();
    for name in ["a", "", "\u{E9}"] {
        categories.observe_category(name, 3).expect("a category");
    }
    let mut full = FeatureProfile::categorical();
    for name in 0..1_100 {
        full.observe_category(&name.to_string(), 1)
            .expect("a category");
    }
    vec![
        ("empty", FeatureProfile::numeric(None)),
        ("exact", numeric(&[1.5, -2.0, 1e308, f64::NAN], None)),
        ("with-grid", numeric(&many[..50], Some(&grid))),
        ("many", numeric(&many, Some(&grid))),
        ("categories", categories),
        ("full", full),
    ]
}
