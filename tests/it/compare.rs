//! `bellwether compare` as it is met: the real program, files on disk, standard output and exit codes.
//!
//! The values are held against those of trusted implementations (`tests/data/README.md`), and the same rows are
//! written in every format and must give the same values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int32Type, Int64Type, TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use chrono::DateTime;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

mod days;
mod measures;
mod quality;
mod readers;
mod rows;
mod schema;
mod tools;
mod values;
mod verdict;

/// Trusted values have ten significant digits.
const RELATIVE: f64 = 1e-9;

/// A folder of its own for each test, gone when the test has passed.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("bellwether-compare-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

fn compare(reference: &Path, current: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .arg("compare")
        .args([reference, current])
        .args(options)
        .output()
        .expect("runs")
}

/// Standard output of a comparison that ended with this exit code.
#[track_caller]
fn text(output: &Output, code: i32) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[track_caller]
pub(crate) fn document(reference: &Path, current: &Path, options: &[&str]) -> Value {
    let options: Vec<&str> = options
        .iter()
        .copied()
        .chain(["--format", "json"])
        .collect();
    let output = compare(reference, current, &options);
    serde_json::from_str(&text(&output, 0)).expect("JSON")
}

/// The kinds of the findings about a feature.
fn findings<'d>(document: &'d Value, feature: &str) -> Vec<&'d str> {
    let schema = document["schema"].as_array().expect("a list");
    let of_feature = schema
        .iter()
        .filter(|finding| finding["feature"] == feature);
    of_feature
        .map(|finding| finding["finding"].as_str().expect("a word"))
        .collect()
}

// ── real data ────────────────────────────────────────────────────────────────────────────────────────────

/// Flights of the reference period and of the others, in the order of the file, cut into batches.
fn flights() -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/flights/flights_predictions.parquet");
    let file = File::open(path).expect("the data are there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let (mut reference, mut current) = (Vec::new(), Vec::new());
    for batch in reader.build().expect("readable") {
        let batch = batch.expect("a batch");
        let periods: Vec<bool> = texts(batch.column_by_name("period").expect("a column"))
            .into_iter()
            .map(|period| period.as_deref() == Some("reference"))
            .collect();
        let mut start = 0;
        for run in periods.chunk_by(|a, b| a == b) {
            let side = if run[0] { &mut reference } else { &mut current };
            side.push(batch.slice(start, run.len()));
            start += run.len();
        }
    }
    (reference, current)
}

fn texts(array: &dyn Array) -> Vec<Option<String>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match array.data_type() {
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(owned).collect(),
        _ => array.as_string::<i32>().iter().map(owned).collect(),
    }
}

fn parquet(path: &Path, batches: &[RecordBatch]) {
    let file = File::create(path).expect("a file can be made");
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), None).expect("a writer");
    batches
        .iter()
        .for_each(|batch| writer.write(batch).expect("writes"));
    writer.close().expect("closes");
}

fn arrow(path: &Path, batches: &[RecordBatch]) {
    let file = File::create(path).expect("a file can be made");
    let schema = batches[0].schema();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(file, &schema).expect("a writer");
    batches
        .iter()
        .for_each(|batch| writer.write(batch).expect("writes"));
    writer.finish().expect("finishes");
}

/// A batch's rows as JSON.
fn rows(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        for (row, value) in rows.iter_mut().zip(values(column)) {
            row.insert(field.name().clone(), value);
        }
    }
    rows
}

fn values(array: &dyn Array) -> Vec<Value> {
    match array.data_type() {
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .iter()
            .map(|v| json!(v))
            .collect(),
        DataType::Float32 => {
            let numbers = array.as_primitive::<Float32Type>().iter();
            numbers.map(|v| json!(v.map(f64::from))).collect()
        }
        DataType::Int8 => array
            .as_primitive::<Int8Type>()
            .iter()
            .map(|v| json!(v))
            .collect(),
        DataType::Int32 => array
            .as_primitive::<Int32Type>()
            .iter()
            .map(|v| json!(v))
            .collect(),
        DataType::Int64 => array
            .as_primitive::<Int64Type>()
            .iter()
            .map(|v| json!(v))
            .collect(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let times = array.as_primitive::<TimestampMillisecondType>().iter();
            let told = |ms| DateTime::from_timestamp_millis(ms).map(|at| at.to_rfc3339());
            times.map(|ms| json!(ms.and_then(told))).collect()
        }
        _ => texts(array).into_iter().map(|text| json!(text)).collect(),
    }
}

fn ndjson(path: &Path, batches: &[RecordBatch]) {
    let mut text = String::new();
    for row in batches.iter().flat_map(rows) {
        writeln!(text, "{}", Value::Object(row)).expect("a String takes it");
    }
    std::fs::write(path, text).expect("a file can be written");
}

fn csv(path: &Path, batches: &[RecordBatch]) {
    let mut writer = csv::Writer::from_path(path).expect("a writer");
    let names: Vec<String> = batches[0]
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    writer.write_record(&names).expect("writes");
    for row in batches.iter().flat_map(rows) {
        let cells = names.iter().map(|name| match &row[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        writer.write_record(cells).expect("writes");
    }
    writer.flush().expect("flushes");
}

/// The first rows of batches.
fn first(batches: &[RecordBatch], mut rows: usize) -> Vec<RecordBatch> {
    let mut some = Vec::new();
    for batch in batches {
        let taken = rows.min(batch.num_rows());
        rows -= taken;
        if taken > 0 {
            some.push(batch.slice(0, taken));
        }
    }
    some
}

/// The reference period and the rest, as Parquet.
fn flights_in(folder: &Folder) -> [PathBuf; 2] {
    let (reference, current) = flights();
    let files = ["reference.parquet", "current.parquet"].map(|name| folder.0.join(name));
    parquet(&files[0], &reference);
    parquet(&files[1], &current);
    files
}

/// The trusted values by column and month.
fn trusted() -> BTreeMap<(String, String), BTreeMap<String, f64>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reference/drift_flights.csv");
    let mut reader = csv::Reader::from_path(path).expect("readable");
    let mut trusted: BTreeMap<_, BTreeMap<String, f64>> = BTreeMap::new();
    for record in reader.records() {
        let record = record.expect("a record");
        let key = (record[2].to_owned(), record[1].to_owned());
        let value = record[5].parse().expect("a number");
        trusted
            .entry(key)
            .or_default()
            .insert(record[4].to_owned(), value);
    }
    trusted
}

#[test]
fn values_by_month_are_those_of_trusted_implementations() {
    let folder = Folder::new("trusted");
    let files = flights_in(&folder);
    let document = document(&files[0], &files[1], &["--by", "month"]);
    assert_eq!(document["reference"]["rows"], 57_128);
    assert_eq!(document["current"]["rows"], 256_000 - 57_128);

    let trusted = trusted();
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for measured in document["measurements"].as_array().expect("a list") {
        let start = measured["window"]["start"].as_str().expect("a time");
        let key = (
            measured["feature"].as_str().expect("a name").to_owned(),
            start[..7].to_owned(),
        );
        let (Some(trusted), Some(ours)) = (trusted.get(&key), measured["value"].as_f64()) else {
            continue;
        };
        let measure = measured["measure"].as_str().expect("a word");
        let names = match measure {
            "psi" => ["psi_q10", "psi"],
            "jensen_shannon" => ["js2_q10", "js2"],
            "hellinger" => ["hellinger_q10", "hellinger"],
            "total_variation" => ["tv_q10", "tv"],
            "l_infinity" => ["linf_q10", "linf"],
            "chi2" => ["chi2_stat", "chi2_stat"],
            "kolmogorov_smirnov" => ["ks_stat", "ks_stat"],
            "wasserstein" => ["wasserstein", "wasserstein"],
            // Of missing values there is no trusted value.
            "missing_share_change" => continue,
            other => panic!("there is no measure {other}"),
        };
        let Some(exact) = names.iter().find_map(|name| trusted.get(*name)) else {
            // Chi-square of numbers has no trusted value.
            assert_eq!(measure, "chi2", "{key:?}");
            continue;
        };
        if measure == "kolmogorov_smirnov" {
            let bound = measured["recipe"]["error_bound"].as_f64().expect("a bound");
            assert!(
                ours <= exact + 1e-9 && *exact <= ours + bound + 1e-9,
                "{key:?}: {ours} {exact}"
            );
        } else if measure == "wasserstein" {
            let bound = measured["recipe"]["error_bound"].as_f64().expect("a bound");
            assert!(
                (ours - exact).abs() <= bound + RELATIVE * exact.abs(),
                "{key:?}: {ours} {exact}, up to {bound}"
            );
        } else {
            // SciPy's own rounding shows in the root of very small divergences.
            let rounding = if measure == "jensen_shannon" {
                f64::EPSILON / exact.max(1e-8)
            } else {
                0.0
            };
            let off = (ours - exact).abs();
            assert!(
                off <= RELATIVE * exact.abs() + rounding,
                "{key:?} {measure}: {ours} {exact}"
            );
        }
        *compared.entry(measure).or_default() += 1;
    }
    let expected = [
        ("chi2", 40),
        ("hellinger", 176),
        ("jensen_shannon", 176),
        ("kolmogorov_smirnov", 136),
        ("l_infinity", 176),
        ("psi", 176),
        ("total_variation", 176),
        ("wasserstein", 136),
    ];
    assert_eq!(
        compared,
        BTreeMap::from(expected),
        "another number of values was compared"
    );
}

/// Entries of a list by what they are about: a file's columns have no order that matters.
fn by_subject<'d>(list: &'d Value, keys: &[&str]) -> BTreeMap<String, &'d Value> {
    let entries = list.as_array().expect("a list").iter();
    let subject = |entry: &Value| keys.iter().map(|key| format!("{} ", entry[*key])).collect();
    entries.map(|entry| (subject(entry), entry)).collect()
}

/// Writes batches into a file of one format.
type Writer = fn(&Path, &[RecordBatch]);

#[test]
fn every_format_gives_the_same_values() {
    let folder = Folder::new("formats");
    let (reference, current) = flights();
    let (reference, current) = (first(&reference, 3_000), first(&current, 4_000));
    let writers: [(&str, Writer); 4] = [
        ("parquet", parquet),
        ("arrow", arrow),
        ("csv", csv),
        ("ndjson", ndjson),
    ];
    let mut documents = Vec::new();
    for (extension, write) in writers {
        let files = [
            folder.0.join(format!("reference.{extension}")),
            folder.0.join(format!("current.{extension}")),
        ];
        write(&files[0], &reference);
        write(&files[1], &current);
        let options = ["--by", "day", "--segment", "origin", "--threads", "3"];
        documents.push((extension, document(&files[0], &files[1], &options)));
    }
    let (_, of_parquet) = &documents[0];
    let measured = by_subject(
        &of_parquet["measurements"],
        &["feature", "window", "segment", "measure"],
    );
    assert!(measured.len() > 500, "{} measurements", measured.len());
    assert!(measured.values().any(|m| m["segment"] == "origin=EWR"));
    for (extension, other) in &documents[1..] {
        let others = by_subject(
            &other["measurements"],
            &["feature", "window", "segment", "measure"],
        );
        assert_eq!(others.len(), measured.len(), "{extension}");
        for (subject, value) in &others {
            assert_same(value, measured[subject], extension);
        }
        let key = ["feature", "window", "finding"];
        assert_eq!(
            by_subject(&of_parquet["schema"], &key),
            by_subject(&other["schema"], &key),
            "{extension}"
        );
    }
    // Formats may be mixed, and one thread counts as several do.
    let mixed = document(
        &folder.0.join("reference.csv"),
        &folder.0.join("current.parquet"),
        &["--by", "day", "--segment", "origin", "--threads", "1"],
    );
    let mixed = mixed["measurements"].as_array().expect("a list");
    assert_eq!(mixed.len(), measured.len());
    let of_parquet = of_parquet["measurements"].as_array().expect("a list");
    for (value, other) in mixed.iter().zip(of_parquet) {
        assert_same(value, other, "mixed");
    }
}

/// The same to the last digit, but for Wasserstein: its means are summed batch by batch, and formats differ in
/// where their batches end.
#[track_caller]
fn assert_same(value: &Value, other: &Value, what: &str) {
    if value["measure"] != "wasserstein" {
        assert_eq!(value, other, "{what}");
        return;
    }
    assert_eq!(value["status"], other["status"], "{what}");
    assert_eq!(value["current_rows"], other["current_rows"], "{what}");
    match (value["value"].as_f64(), other["value"].as_f64()) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-12 * b.abs() + 1e-12, "{value} {other}"),
        (a, b) => assert_eq!(a, b, "{what}"),
    }
}

// ── a hundred rows ───────────────────────────────────────────────────────────────────────────────────────

/// Rows with an amount, a colour and a code, of which the first moves by `shift`.
fn rows_with(shift: f64, colours: &[&str]) -> String {
    let mut text = "timestamp,amount,colour,code\n".to_owned();
    for row in 0..400_u32 {
        let amount = f64::from(row.wrapping_mul(2_654_435_761) % 1_000) / 10.0 + shift + 0.01;
        let (colour, day) = (colours[row as usize % colours.len()], row / 20 + 1);
        writeln!(
            text,
            "2026-01-{day:02}T00:00:{:02}Z,{amount:.2},{colour},{}",
            row % 20,
            row % 7
        )
        .expect("a String takes it");
    }
    text
}

#[test]
fn exit_codes_say_what_was_asked_for() {
    let folder = Folder::new("codes");
    let colours = ["red", "green", "blue"];
    let reference = folder.write("reference.csv", rows_with(0.0, &colours));
    let moved = folder.write("moved.csv", rows_with(60.0, &colours));
    let new = folder.write("new.csv", rows_with(0.0, &["red", "green", "mauve"]));
    let code = |current: &Path, fail_on: &str| {
        compare(&reference, current, &["--fail-on", fail_on])
            .status
            .code()
    };
    assert_eq!(code(&reference, "drift,schema"), Some(0));
    assert_eq!(code(&moved, "drift"), Some(1));
    assert_eq!(code(&new, "schema"), Some(1));
    assert_eq!(
        compare(&reference, &moved, &[]).status.code(),
        Some(0),
        "nothing was asked for"
    );
    let strict = [
        "--fail-on",
        "drift",
        "--threshold",
        "kolmogorov_smirnov=0.9",
    ];
    let lenient = ["--fail-on", "drift", "--threshold", "total_variation=1"];
    assert_eq!(
        compare(&reference, &moved, &strict).status.code(),
        Some(1),
        "the usual threshold stays in force"
    );
    assert_eq!(compare(&reference, &moved, &lenient).status.code(), Some(0));
}

#[test]
fn too_few_rows_are_insufficient_and_never_ok() {
    let folder = Folder::new("few");
    let reference = folder.write("reference.csv", rows_with(0.0, &["red"]));
    let head: Vec<String> = rows_with(90.0, &["red"])
        .lines()
        .take(20)
        .map(str::to_owned)
        .collect();
    let few = folder.write("few.csv", head.join("\n"));
    let document = document(&reference, &few, &[]);
    for measured in document["measurements"].as_array().expect("a list") {
        assert_eq!(measured["status"], "insufficient", "{measured}");
        assert!(measured["recipe"]["cause"].is_string(), "{measured}");
    }
    let enough = compare(
        &reference,
        &few,
        &["--min-rows", "10", "--fail-on", "drift"],
    );
    assert_eq!(enough.status.code(), Some(1));
}

#[test]
fn one_bad_feature_does_not_hide_the_others() {
    let folder = Folder::new("bad-feature");
    let reference = folder.write("reference.csv", rows_with(0.0, &["red", "blue"]));
    let broken = rows_with(0.0, &["red", "blue"])
        .replace(",0\n", ",n/a\n")
        .replace("amount", "Amount");
    let text_codes: String = broken
        .lines()
        .enumerate()
        .map(|(at, line)| match line.rsplit_once(',') {
            Some((rest, code)) if at > 0 => format!("{rest},\"{code}e5x\"\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let current = folder.write("current.csv", text_codes);
    let document = document(&reference, &current, &["--by", "week"]);
    assert_eq!(findings(&document, "amount"), ["renamed_feature"]);
    assert_eq!(findings(&document, "code"), ["type_change"]);
    let ok = document["measurements"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|m| m["status"] == "ok");
    let features: Vec<&str> = ok.filter_map(|m| m["feature"].as_str()).collect();
    assert!(features.contains(&"colour"), "{features:?}");
}

#[test]
fn a_model_sets_types_limits_and_segments() {
    let folder = Folder::new("model");
    let model = "models:\n  - name: paint\n    task: regression\n    segments: [colour]\n    schema:\n      features:\n        \
                 amount: {type: number, min: 0, max: 50}\n        code: {type: category, categories: ['1', '2']}\n    \
                 monitors:\n      - {name: skew, kind: schema, window: day, tolerance: 0.05, min_rows: 20}\n";
    let model = folder.write("model.yaml", model);
    let reference = folder.write("reference.csv", rows_with(0.0, &["red", "blue"]));
    let named = format!("{}#paint", model.display());
    let document = document(&reference, &reference, &["--model", &named]);
    assert!(findings(&document, "amount").contains(&"out_of_range"));
    assert!(findings(&document, "code").contains(&"unseen_category"));
    let measured = document["measurements"].as_array().expect("a list");
    assert!(
        measured
            .iter()
            .any(|m| m["segment"] == "colour=red" && m["feature"] == "amount")
    );
    let unknown = format!("{}#pain", model.display());
    let output = compare(&reference, &reference, &["--model", &unknown]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("it defines no model \"pain\"; did you mean `paint`?"),
        "{told}"
    );
}

#[test]
fn bad_input_ends_with_two_and_names_file_place_and_cause() {
    let folder = Folder::new("bad-input");
    let good = folder.write("good.csv", rows_with(0.0, &["red", "blue"]));
    let (whole, _) = flights();
    let parquet_file = folder.0.join("whole.parquet");
    parquet(&parquet_file, &first(&whole, 500));
    let bytes = std::fs::read(&parquet_file).expect("just written");
    let cut = folder.write("cut.parquet", &bytes[..bytes.len() / 2]);
    let mut damaged = bytes.clone();
    let (from, to) = (bytes.len() / 10, bytes.len() / 2);
    damaged[from..to].fill(0xa5);
    let damaged = folder.write("damaged.parquet", damaged);
    let short = folder.write(
        "short.csv",
        "timestamp,amount,colour,code\n2026-01-01T00:00:00Z,1\n",
    );
    let late = folder.write("late.csv", "timestamp,amount,colour,code\nsoon,1.5,red,2\n");
    let other = folder.write("other.csv", "a,b\n1,2\n");
    let missing = folder.0.join("missing.csv");
    let cases: [(&Path, &[&str], &[&str]); 9] = [
        (&missing, &[], &["missing.csv", "No such file"]),
        (&cut, &[], &["cut.parquet"]),
        (&damaged, &[], &["damaged.parquet"]),
        (
            &short,
            &[],
            &["short.csv, line 2: has 2 cells; the header has 4"],
        ),
        (
            &late,
            &["--by", "day"],
            &[
                "late.csv",
                "column \"timestamp\", row 1: \"soon\" is no time",
            ],
        ),
        (
            &good,
            &["--segment", "color"],
            &["good.csv", "no column \"color\"; did you mean `colour`?"],
        ),
        (
            &good,
            &["--ignore", "nothing"],
            &["good.csv", "no column \"nothing\""],
        ),
        (
            &other,
            &["--by", "day"],
            &["other.csv by time", "--timestamp"],
        ),
        (
            &other,
            &[],
            &["good.csv", "other.csv", "no feature in common"],
        ),
    ];
    for (current, options, expected) in cases {
        let output = compare(&good, current, options);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("bellwether: could not "), "{told}");
        for part in expected {
            assert!(told.contains(part), "{part:?} is not in: {told}");
        }
        assert!(output.stdout.is_empty());
    }
    let wrong = compare(&good, &good, &["--threshold", "psy=1"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn the_table_is_aligned_and_the_worst_comes_first() {
    let folder = Folder::new("table");
    let reference = folder.write("reference.csv", rows_with(0.0, &["red", "green", "blue"]));
    let current = folder.write("current.csv", rows_with(60.0, &["red", "green", "mauve"]));
    let output = compare(&reference, &current, &[]);
    let written = text(&output, 0).replace(&folder.0.display().to_string(), "…");
    insta::assert_snapshot!(written);
}

#[test]
fn junit_has_a_case_per_feature_and_window() {
    let folder = Folder::new("junit");
    let reference = folder.write("reference.csv", rows_with(0.0, &["red", "blue"]));
    let current = folder.write("current.csv", rows_with(60.0, &["red", "<blue> & \u{1}"]));
    let output = compare(&reference, &current, &["--format", "junit", "--by", "week"]);
    let written = text(&output, 0);
    // Each case has a class and a name, and each of the three suites has a name.
    let (cases, names) = (
        written.matches("<testcase ").count(),
        written.matches("name=\"").count(),
    );
    assert!(cases > 9, "{written}");
    assert_eq!(names, cases * 2 + 3);
    assert!(
        written.contains("<testcase classname=\"drift.2026-W02\" name=\"amount\">"),
        "{written}"
    );
    assert!(written.contains("&lt;blue&gt; &amp;"), "{written}");
    assert!(!written.contains('\u{1}'));
}

#[test]
fn the_page_is_complete_in_itself_and_takes_nothing_for_markup() {
    let folder = Folder::new("page");
    let reference = folder.write("reference.csv", rows_with(0.0, &["red", "blue"]));
    let current = rows_with(60.0, &["red", "<script>alert(1)</script>"]);
    let current = folder.write("current.csv", current);
    let page = folder.0.join("report.html");
    let options = [
        "--format",
        "html",
        "--by",
        "week",
        "--output",
        page.to_str().expect("text"),
    ];
    let output = compare(&reference, &current, &options);
    assert_eq!(text(&output, 0), "");
    let written = std::fs::read_to_string(&page).expect("a page");
    for part in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!written.contains(part), "{part} is in the page");
    }
    for part in ["amount", "colour", "mauve", "2026-W02", "<svg"] {
        assert_eq!(written.contains(part), part != "mauve", "{part}");
    }
    assert!(
        written.contains("alert(1)"),
        "the category is shown as text"
    );
}

#[test]
fn repeated_rows_and_rows_out_of_order_are_found() {
    let folder = Folder::new("rows");
    let mut lines: Vec<String> = (0..400)
        .map(|row| {
            format!(
                "2026-01-{:02}T00:00:{:02}Z,{}",
                row / 20 + 1,
                row % 20,
                row * 7 % 401
            )
        })
        .collect();
    let file = |name: &str, lines: &[String]| {
        folder.write(name, format!("timestamp,amount\n{}\n", lines.join("\n")))
    };
    let reference = file("reference.csv", &lines);
    let repeated: Vec<String> = lines.iter().chain(&lines[..100]).cloned().collect();
    let repeated = file("repeated.csv", &repeated);
    let found = document(&reference, &repeated, &[]);
    assert_eq!(findings(&found, ""), ["duplicate_rows"]);
    lines.swap(100, 200);
    let unordered = file("unordered.csv", &lines);
    let found = document(&reference, &unordered, &["--timestamp", "timestamp"]);
    assert_eq!(findings(&found, "timestamp"), ["out_of_order"]);
    assert_eq!(findings(&found, ""), [""; 0]);
    // Rows in no order at all are found where the reference is in order, and not where it is in none either.
    let shuffled: Vec<String> = (0..400).map(|row| lines[row * 167 % 400].clone()).collect();
    let shuffled = file("shuffled.csv", &shuffled);
    let found = document(&reference, &shuffled, &["--timestamp", "timestamp"]);
    assert_eq!(findings(&found, "timestamp"), ["out_of_order"]);
    let found = document(&shuffled, &shuffled, &["--timestamp", "timestamp"]);
    assert_eq!(findings(&found, "timestamp"), [""; 0]);
}

#[test]
fn rows_without_a_time_are_counted_and_told_in_every_format() {
    let folder = Folder::new("untimed");
    let whole = rows_with(0.0, &["red", "blue"]);
    let reference = folder.write("reference.csv", &whole);
    let untimed: String = whole
        .lines()
        .enumerate()
        .map(|(at, line)| match line.split_once(',') {
            Some((_, rest)) if at > 0 && at % 10 == 0 => format!(",{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let current = folder.write("current.csv", untimed);
    let by_day = document(&reference, &current, &["--by", "day"]);
    assert_eq!(findings(&by_day, "timestamp"), ["missing_timestamp"]);
    let found = &by_day["schema"][0];
    assert_eq!(found["value"], 0.1);
    assert_eq!(found["window"], Value::Null);
    let detail = found["detail"].as_str().expect("words");
    assert!(
        detail.starts_with("40 of 400: rows without a time"),
        "{detail}"
    );
    assert_eq!(
        by_day["current"]["rows"], 400,
        "of the file, not of its windows"
    );
    let measured = by_day["measurements"].as_array().expect("a list").iter();
    let psi = measured.filter(|m| m["feature"] == "amount" && m["measure"] == "psi");
    let in_windows: u64 = psi.filter_map(|m| m["current_rows"].as_u64()).sum();
    assert_eq!(in_windows, 360, "the other rows are in no measurement");

    let failing = ["--by", "day", "--fail-on", "schema"];
    assert_eq!(
        compare(&reference, &current, &failing).status.code(),
        Some(1)
    );
    for format in ["table", "html", "junit"] {
        let written = text(
            &compare(&reference, &current, &["--by", "day", "--format", format]),
            0,
        );
        let kind = if format == "html" {
            "missing timestamp"
        } else {
            "missing_timestamp"
        };
        assert!(written.contains(kind), "{format}: {written}");
        assert!(
            written.contains("40 of 400: rows without a time"),
            "{format}: {written}"
        );
    }
    let together = document(&reference, &current, &[]);
    assert_eq!(
        findings(&together, "timestamp"),
        [""; 0],
        "all rows are measured"
    );

    let none = whole.lines().map(|line| match line.split_once(',') {
        Some((head, rest)) if head != "timestamp" => format!(",{rest}\n"),
        _ => format!("{line}\n"),
    });
    let none = folder.write("none.csv", none.collect::<String>());
    let nothing = document(&reference, &none, &["--by", "day"]);
    assert_eq!(nothing["schema"][0]["value"], 1.0);
    for measured in nothing["measurements"].as_array().expect("a list") {
        assert_eq!(measured["status"], "insufficient", "{measured}");
    }
}

#[test]
fn every_measure_of_a_sampled_column_says_that_its_grid_is_of_a_sample() {
    const ROWS: i32 = 1_100_000;
    let folder = Folder::new("sampled");
    let file = |name: &str, rows: i32, shift: f64| {
        let amounts = (0..rows).map(|row| f64::from(row.wrapping_mul(40_503) & 0xffff) + shift);
        let fields = vec![
            Field::new("amount", DataType::Float64, false),
            Field::new("code", DataType::Utf8, false),
        ];
        let codes = (0..rows).map(|row| if row % 3 == 0 { "a" } else { "b" });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from_iter_values(amounts)),
            Arc::new(StringArray::from_iter_values(codes)),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        let path = folder.0.join(name);
        parquet(&path, &[batch.expect("columns of one length")]);
        path
    };
    let current = file("current.parquet", 2_000, 10.0);
    for (name, rows, sampled) in [
        ("long.parquet", ROWS, true),
        ("short.parquet", 2_000, false),
    ] {
        let document = document(&file(name, rows, 0.0), &current, &[]);
        let mut of_numbers = BTreeMap::new();
        for measured in document["measurements"].as_array().expect("a list") {
            let method = measured["recipe"]["method"].as_str().expect("words");
            let told = method.contains("the grid's edges are from a sample of ");
            if measured["measure"] == "missing_share_change" {
                assert!(!told, "missing values have no grid: {method}");
            } else if measured["feature"] == "amount" {
                assert!(measured["value"].is_number(), "{measured}");
                of_numbers.insert(
                    measured["measure"].as_str().expect("a word").to_owned(),
                    told,
                );
                let counted = method.contains(&format!(" of {ROWS} values"));
                assert_eq!(counted, sampled, "{method}");
            } else {
                assert!(!told, "categories have no grid: {method}");
            }
        }
        assert_eq!(of_numbers.len(), 8, "{of_numbers:?}");
        assert!(
            of_numbers.values().all(|told| *told == sampled),
            "{name}: {of_numbers:?}"
        );
    }
}
