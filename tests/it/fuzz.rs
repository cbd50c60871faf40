//! The fuzz targets in small: over their committed corpus and a few thousand mutations of it, the same ones every
//! time. So what a fuzzer once found stays found, on a stable compiler and in seconds; to look for something new,
//! run the targets themselves (fuzz/README.md).

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use bodies::{FORMATS, TARGETS, target_of};

/// Mutations of each target's corpus.
const MUTATIONS: usize = 1_000;
/// The longest that one input may take: they are all small.
const SLOWEST: Duration = Duration::from_secs(5);
/// The longest that all inputs of a target may take.
const ALL: Duration = Duration::from_secs(120);
/// The whole folder stays small.
const MOST_BYTES: u64 = 300_000;
/// What breaks parsers, to be put anywhere.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"-inf",
    b"-0.0",
    b"1e308",
    b"1e400",
    b"5e-324",
    b"9007199254740993",
    b"18446744073709551617",
    b"\"",
    b"\n",
    b",",
    b"[[[[[[[[",
    b"{\"a\":",
    b"null",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80\x01",
    b"\xc3\x28",
    "\u{202E}".as_bytes(),
    "e\u{301}".as_bytes(),
    b"10000-01-01T00:00:00Z",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("a plain name")
    };
    entries.map(name).collect()
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(target);
    let read = |name: String| {
        let bytes = std::fs::read(folder.join(&name)).expect("readable");
        (name, bytes)
    };
    names_in(&folder).into_iter().map(read).collect()
}

/// Runs a target over its corpus and over mutations of it.
fn run(name: &str) {
    let (_, body) = *(TARGETS.iter().find(|(of, _)| *of == name)).expect("a target");
    let seeds = corpus(name);
    let started = Instant::now();
    for (file, input) in &seeds {
        answered(body, input, file);
    }
    let mut rng = StdRng::seed_from_u64(31);
    for number in 0..MUTATIONS {
        let (input, seed) = mutation(&mut rng, &seeds);
        answered(body, &input, &format!("mutation {number}, of {seed}"));
        let taken = started.elapsed();
        assert!(taken < ALL, "{number} mutations took {taken:?}");
    }
}

fn answered(body: fn(&[u8]), input: &[u8], what: &str) {
    let started = Instant::now();
    let panicked = catch_unwind(AssertUnwindSafe(|| body(input))).is_err();
    let taken = started.elapsed();
    assert!(!panicked, "{what}: {:?}", String::from_utf8_lossy(input));
    assert!(
        taken < SLOWEST,
        "{what} took {taken:?}: {:?}",
        String::from_utf8_lossy(input)
    );
}

fn mutation(rng: &mut StdRng, seeds: &[(String, Vec<u8>)]) -> (Vec<u8>, String) {
    let (name, seed) = &seeds[rng.random_range(0..seeds.len())];
    let mut input = seed.clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=input.len());
        let end = rng.random_range(at..=input.len().min(at + 40));
        match rng.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            1 if at < input.len() => input[at] = rng.random(),
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].repeat(rng.random_range(1..20));
                input.splice(at..at, again);
            }
            5 => {
                let (_, other) = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                let to = rng.random_range(from..=other.len().min(from + 400));
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())];
                input.splice(at..end, token.iter().copied());
            }
        }
    }
    (input, name.clone())
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*
        const RUN: &[&str] = &[$(stringify!($name)),*];
    };
}
targets! { json ndjson csv parquet arrow sagemaker azureml landed archived profile definitions schemas logs traces metrics events }

#[test]
fn every_format_and_every_target_has_a_corpus_and_is_run() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for format in FORMATS {
        assert!(targets.contains(target_of(format)), "{format:?}");
    }
    assert_eq!(
        RUN.iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        targets
    );
    assert_eq!(names_in(&folder().join("corpus")), targets);
    let files = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&folder().join("fuzz_targets")), files);
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).expect("readable");
    for target in &targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
        assert!(corpus(target).len() >= 3, "{target} has hardly any corpus");
    }
    let bytes: usize = (targets.iter().flat_map(|target| corpus(target)))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(bytes as u64 <= MOST_BYTES, "{bytes} bytes");
}

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
    for (target, name, bytes) in inputs {
        let folder = folder().join("corpus").join(target);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name), bytes).expect("written");
    }
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

fn parquet_file(batch: &RecordBatch, compression: Compression) -> Vec<u8> {
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

fn arrow_stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
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
