//! Files as programs leave them: columns wanted in two roles, damaged CSV, the index of a data frame, dates as text, types that
//! seldom come.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::{Int16Type, Int64Type};
use arrow_array::{
    ArrayRef, Date64Array, Decimal256Array, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{Folder, arrow, by_subject, compare, document, findings, ndjson, parquet, text};

const DAY: i64 = 86_400_000;
/// The first of March 2026 in milliseconds.
const MARCH: i64 = 1_772_323_200_000;

/// What is told on standard error of a comparison that could not be made.
#[track_caller]
fn refused(reference: &Path, current: &Path, options: &[&str]) -> String {
    let output = compare(reference, current, options);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    told
}

/// Four hundred rows over ten days with labels that are known a day later.
fn labelled() -> RecordBatch {
    let times = || (0..400_i64).map(|row| MARCH + row * DAY / 40);
    let columns: [(&str, ArrayRef); 5] = [
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from_iter_values(times())),
        ),
        (
            "observed_at",
            Arc::new(TimestampMillisecondArray::from_iter_values(
                times().map(|time| time + DAY),
            )),
        ),
        (
            "group",
            Arc::new(StringArray::from_iter_values(
                (0..400).map(|row| ["a", "b"][row % 2]),
            )),
        ),
        (
            "prediction",
            Arc::new(Int64Array::from_iter_values((0..400).map(|row| row % 2))),
        ),
        (
            "label",
            Arc::new(Int64Array::from_iter_values(
                (0..400).map(|row| row / 2 % 2),
            )),
        ),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[test]
fn a_column_may_have_two_roles_in_every_format() {
    let folder = Folder::new("roles");
    let batches = [labelled()];
    type Writer = fn(&Path, &[RecordBatch]);
    let writers: [(&str, Writer); 3] = [("parquet", parquet), ("arrow", arrow), ("ndjson", ndjson)];
    for (extension, write) in writers {
        let file = folder.0.join(format!("rows.{extension}"));
        write(&file, &batches);
        let once = document(&file, &file, &["--segment", "group"]);
        let twice = document(&file, &file, &["--segment", "group,group"]);
        assert_eq!(once, twice, "{extension}");
        let measured = once["measurements"].as_array().expect("a list");
        assert!(measured.iter().any(|m| m["segment"] == "group=b"));

        // The time of the label is the time of the row: all labels were there at once.
        let options = ["--task", "binary", "--observed-at", "timestamp"];
        let told = document(&file, &file, &options);
        let measured = told["measurements"].as_array().expect("a list");
        let complete = measured
            .iter()
            .find(|m| m["measure"] == "label_completeness");
        assert_eq!(
            complete.map(|m| &m["value"]),
            Some(&json!(1.0)),
            "{extension}"
        );

        let options = [
            "--timestamp",
            "observed_at",
            "--by",
            "week",
            "--task",
            "binary",
        ];
        let told = document(&file, &file, &options);
        assert!(
            told["measurements"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        );
        let options = ["--mode", "evidently", "--segment", "group,group"];
        let told = document(&file, &file, &options);
        assert_eq!(told["mode"], "evidently", "{extension}");

        // Times make windows, and no segments: before, no row was in any.
        let segments = ["--segment", "timestamp", "--by", "month"];
        if extension == "ndjson" {
            continue;
        }
        let told = refused(&file, &file, &segments);
        assert!(
            told.contains("by segments: column \"timestamp\" holds times"),
            "{told}"
        );
    }
}

#[test]
fn a_quotation_mark_that_takes_the_rest_of_a_csv_file_ends_the_comparison() {
    let folder = Folder::new("quotes");
    let mut rows = "amount,word\n".to_owned();
    for row in 0..500 {
        writeln!(rows, "{row},\"w {}\"", row % 5).expect("a string");
    }
    let whole = folder.write("whole.csv", &rows);
    text(&compare(&whole, &whole, &[]), 0);
    let cut = folder.write("cut.csv", &rows[..rows.len() - 4]);
    let told = refused(&whole, &cut, &[]);
    assert!(
        told.contains("cut.csv, line 501: a quotation mark is opened and never closed"),
        "{told}"
    );
    let open = rows
        .replace("\"w 3\"", "w 3")
        .replace("\n100,\"w 0\"", "\n100,\"w 0");
    let open = folder.write("open.csv", open);
    let told = refused(&whole, &open, &[]);
    assert!(
        told.contains(
            "open.csv, line 102: a quotation mark is opened, and closed only lines later"
        ),
        "{told}"
    );
    let plain = rows.replace('"', "").replace("\n100,", "\n100,\"");
    let plain = folder.write("plain.csv", plain);
    let told = refused(&whole, &plain, &[]);
    assert!(
        told.contains("plain.csv, line 102: a quotation mark is opened and never closed"),
        "{told}"
    );
}

#[test]
fn the_index_of_a_data_frame_is_left_out_and_told() {
    let folder = Folder::new("index");
    let csv = |name: &str, first: usize, header: &str| {
        let mut rows = format!("{header}\n");
        for row in 0..400 {
            writeln!(rows, "{},{},{}", first + row, row % 90, ["x", "y"][row % 2])
                .expect("a string");
        }
        folder.write(name, rows)
    };
    let [reference, current] = [
        csv("reference.csv", 0, ",amount,word"),
        csv("current.csv", 9_000, "\"\",amount,word"),
    ];
    let told = document(&reference, &current, &["--fail-on", "drift,schema"]);
    assert_eq!(
        told["left_out"],
        json!([
            "column 1 of the reference has no name",
            "column 1 of the current file has no name"
        ])
    );
    let subjects = by_subject(&told["measurements"], &["feature"]);
    assert_eq!(subjects.len(), 2, "{:?}", subjects.keys());
    for format in ["table", "html"] {
        let written = text(&compare(&reference, &current, &["--format", format]), 0);
        assert!(
            written.contains("Left out")
                && written.contains("column 1 of the reference has no name"),
            "{written}"
        );
    }
    let mode = document(&reference, &current, &["--mode", "evidently"]);
    assert_eq!(mode["left_out"].as_array().map(Vec::len), Some(2));

    let file = |name: &str, first: i64| {
        let columns: [(&str, ArrayRef); 2] = [
            (
                "amount",
                Arc::new(Float64Array::from_iter_values(
                    (0..400).map(|row| f64::from(row % 90)),
                )),
            ),
            (
                "__index_level_0__",
                Arc::new(Int64Array::from_iter_values(first..first + 400)),
            ),
        ];
        let path = folder.0.join(name);
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        parquet(&path, &[batch]);
        path
    };
    let files = [file("reference.parquet", 0), file("current.parquet", 9_000)];
    let told = document(&files[0], &files[1], &["--fail-on", "drift,schema"]);
    let left_out = "column 2 of the reference, \"__index_level_0__\", is the row index of pandas";
    assert_eq!(told["left_out"][0], left_out);
    assert_eq!(by_subject(&told["measurements"], &["feature"]).len(), 1);
    let ignored = document(&files[0], &files[1], &["--ignore", "__index_level_0__"]);
    assert_eq!(ignored.get("left_out"), None, "it was asked for");
}

/// Rows with a day, a moment and an amount, from a day of the year 2026 on, in a format with types and in two without, as data
/// frames write them.
fn dated(folder: &Folder, name: &str, first: i64) -> [PathBuf; 3] {
    let day = |row: i64| MARCH + (first + row % 60) * DAY;
    let moment = |row: i64| day(row) + row * 61_000 + 250;
    let columns: [(&str, ArrayRef); 3] = [
        (
            "day",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                (0..600).map(|row| day(row) * 1_000),
            )),
        ),
        (
            "moment",
            Arc::new(TimestampMillisecondArray::from_iter_values(
                (0..600).map(moment),
            )),
        ),
        (
            "amount",
            Arc::new(Float64Array::from_iter_values(
                (0..600).map(|row| f64::from(row) / 8.0),
            )),
        ),
    ];
    let typed = folder.0.join(format!("{name}.parquet"));
    parquet(
        &typed,
        &[RecordBatch::try_from_iter(columns).expect("columns of one length")],
    );
    let written = |milliseconds: i64, form: &str| {
        let at = DateTime::from_timestamp_millis(milliseconds).expect("in the calendar");
        at.format(form).to_string()
    };
    let (mut csv, mut lines) = ("day,moment,amount\n".to_owned(), String::new());
    for row in 0..600 {
        let day = written(day(row), "%Y-%m-%d");
        let moment = written(moment(row), "%Y-%m-%d %H:%M:%S%.6f");
        let amount = row as f64 / 8.0;
        writeln!(csv, "{day},{moment},{amount}").expect("a string");
        let line = json!({"day": day, "moment": moment, "amount": amount});
        writeln!(lines, "{line}").expect("a string");
    }
    [
        typed,
        folder.write(&format!("{name}.csv"), csv),
        folder.write(&format!("{name}.ndjson"), lines),
    ]
}

#[test]
fn dates_written_as_text_are_the_dates_of_a_file_with_types() {
    let folder = Folder::new("dates");
    let (before, now) = (dated(&folder, "before", 0), dated(&folder, "now", 5));
    let values = |document: &Value| -> BTreeMap<(String, String), Value> {
        let measured = document["measurements"].as_array().expect("a list").iter();
        let word = |of: &Value| of.as_str().expect("a word").to_owned();
        measured
            .filter(|m| m["measure"] != "wasserstein")
            .map(|m| {
                (
                    (word(&m["feature"]), word(&m["measure"])),
                    m["value"].clone(),
                )
            })
            .collect()
    };
    let typed = document(&before[0], &now[0], &[]);
    let expected = values(&typed);
    let of_days = &expected[&("day".to_owned(), "kolmogorov_smirnov".to_owned())];
    assert!(of_days.as_f64().is_some_and(|ks| ks > 0.05), "{of_days}");
    for before in &before {
        for now in &now {
            let told = document(before, now, &[]);
            let names = (before.display(), now.display());
            for feature in ["day", "moment"] {
                assert_eq!(
                    findings(&told, feature),
                    findings(&typed, feature),
                    "{names:?} {feature}"
                );
            }
            assert_eq!(values(&told), expected, "{names:?}");
        }
    }
    // A column with a word among its dates is one of texts, and its dates are not told as another type.
    let words = std::fs::read_to_string(&before[1]).expect("text");
    let words = folder.write("words.csv", words.replacen("2026-03-01,", "unknown,", 10));
    let told = document(&words, &now[1], &[]);
    assert!(!findings(&told, "day").contains(&"type_change"), "{told:#}");
    let told = document(&before[0], &words, &[]);
    let found = findings(&told, "day");
    assert!(
        found.contains(&"wrong_type") && !found.contains(&"type_change"),
        "{found:?}"
    );
    let other = std::fs::read_to_string(&before[1]).expect("text");
    let other = folder.write("other.csv", other.replace("2026-0", "later than "));
    let told = document(&before[1], &other, &[]);
    assert_eq!(findings(&told, "day"), ["type_change"]);

    let signature = "signature:\n  inputs: '[{\"type\": \"datetime\", \"name\": \"day\"}, {\"type\": \"datetime\", \"name\": \"moment\"}, \
                     {\"type\": \"double\", \"name\": \"amount\"}]'\nflavors: {}\nmodel_uuid: '1'\nmlflow_version: 3.1.0\n";
    let signature = folder.write("MLmodel.yaml", signature);
    let options = [
        "--schema",
        signature.to_str().expect("text"),
        "--schema-from",
        "mlflow",
    ];
    let told = document(&before[1], &before[1], &options);
    assert_eq!(told["schema"], json!([]));
}

#[test]
fn types_that_seldom_come_are_read_as_what_they_are() {
    let folder = Folder::new("types");
    let days = || (0..300_i64).map(|row| MARCH + row % 50 * DAY);
    let codes = || (0..300_i64).map(|row| row % 7);
    let cents = || (0..300_i64).map(|row| row * 25);
    let rare: [(&str, ArrayRef); 3] = [
        ("day", Arc::new(Date64Array::from_iter_values(days()))),
        ("code", {
            let keys = codes().map(|code| Some(code as i16)).collect();
            let values = Int64Array::from_iter_values(0..7);
            Arc::new(DictionaryArray::<Int16Type>::new(keys, Arc::new(values)))
        }),
        ("price", {
            let digits = cents().map(|cents| Some(arrow_buffer::i256::from_i128(cents.into())));
            let decimals: Decimal256Array = digits.collect();
            Arc::new(
                decimals
                    .with_precision_and_scale(50, 2)
                    .expect("a precision that fits"),
            )
        }),
    ];
    let plain: [(&str, ArrayRef); 3] = [
        (
            "day",
            Arc::new(TimestampMillisecondArray::from_iter_values(days())),
        ),
        (
            "code",
            Arc::new(arrow_array::PrimitiveArray::<Int64Type>::from_iter_values(
                codes(),
            )),
        ),
        (
            "price",
            Arc::new(Float64Array::from_iter_values(
                cents().map(|cents| cents as f64 / 100.0),
            )),
        ),
    ];
    let batch = |columns| RecordBatch::try_from_iter(columns).expect("columns of one length");
    let reference = folder.0.join("plain.parquet");
    parquet(&reference, &[batch(plain)]);
    let rare = batch(rare);
    type Writer = fn(&Path, &[RecordBatch]);
    let writers: [(&str, Writer); 2] = [("parquet", parquet), ("arrow", arrow)];
    for (extension, write) in writers {
        let file = folder.0.join(format!("rare.{extension}"));
        write(&file, std::slice::from_ref(&rare));
        let told = document(&reference, &file, &[]);
        assert_eq!(told["schema"], json!([]), "{extension}");
        for m in told["measurements"].as_array().expect("a list") {
            let is_distance = ["psi", "kolmogorov_smirnov", "wasserstein"]
                .contains(&m["measure"].as_str().expect("a word"));
            assert!(!is_distance || m["value"] == 0.0, "{extension}: {m}");
        }
    }
}

#[test]
fn dates_go_on_and_what_lies_before_them_is_told() {
    let folder = Folder::new("dates-go-on");
    let (before, now) = (dated(&folder, "before", 0), dated(&folder, "now", 200));
    for (before, now) in before.iter().zip(&now) {
        // It would end with 1 on a finding.
        let told = document(before, now, &["--fail-on", "drift,schema"]);
        let of_moments = by_subject(&told["measurements"], &["feature", "measure"]);
        let psi = &of_moments["\"moment\" \"psi\" "];
        assert!(psi["value"].as_f64().is_some_and(|psi| psi > 1.0), "{psi}");
        assert_eq!(psi["status"], "ok");
        for feature in ["day", "moment"] {
            assert_eq!(findings(&told, feature), Vec::<String>::new());
        }
        let table = text(&compare(before, now, &[]), 0);
        assert!(table.contains("2026-03-30"), "{table}");
        // The year in which computers think they were born.
        let told = document(before, &long_ago(&folder), &[]);
        assert_eq!(findings(&told, "day"), ["out_of_range"]);
        let told = by_subject(&told["schema"], &["feature"]);
        let detail = told["\"day\" "]["detail"].as_str().expect("a text");
        assert!(
            detail.contains("before 2026-03-01 00:00; seen are 1970-01-01"),
            "{detail}"
        );
    }
}

/// Rows of which every tenth has the first of all dates.
fn long_ago(folder: &Folder) -> PathBuf {
    let row = |row: i64| {
        let year = if row % 10 == 0 { "1970-01" } else { "2026-03" };
        format!("{year}-{:02},{}\n", 1 + row % 28, row as f64 / 8.0)
    };
    let rows: String = (0..600).map(row).collect();
    folder.write("long-ago.csv", format!("day,amount\n{rows}"))
}

#[test]
fn a_file_with_other_separators_is_told_apart_from_one_with_a_single_column() {
    let folder = Folder::new("separators");
    let single = folder.write("single.csv", "a\n1\n2\n");
    assert!(document(&single, &single, &[])["left_out"].is_null());
    for (separator, words) in [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")] {
        let rows: String = (0..60)
            .map(|row| format!("{}{separator}{}\n", row % 7, row % 5))
            .collect();
        let file = folder.write("rows.csv", format!("a{separator}b\n{rows}"));
        let hint = format!(
            "has been read as one column: it seems to be separated by {words}, and only commas are read"
        );
        let refused = compare(&single, &file, &[]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(
            told.contains(&format!("; the current file {hint}")),
            "{told}"
        );
        // A name with a control character is no feature, so there the files have nothing in common either.
        if separator != "\t" {
            let told = document(&file, &file, &[]);
            let left_out = told["left_out"].as_array().expect("a list");
            let both = ["the reference", "the current file"].map(|file| format!("{file} {hint}"));
            assert_eq!(*left_out, both);
        }
    }
    // Decimal commas look like more cells than the header has.
    let file = folder.write("commas.csv", "a;b\n1,5;2,5\n3;4\n");
    let refused = compare(&file, &file, &[]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    let expected = "commas.csv, line 2: has 3 cells; the header has 1: it seems to be separated by semicolons, and only \
                    commas are read";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn seconds_since_1970_are_not_taken_for_milliseconds() {
    let folder = Folder::new("seconds");
    let rows = |from: u64| (0..60).map(move |row| format!("{},{row}\n", from + row * 86_400));
    let write = |name: &str, from: u64| {
        folder.write(
            name,
            format!("at,amount\n{}", rows(from).collect::<String>()),
        )
    };
    let (before, now) = (
        write("before.csv", 1_767_225_600),
        write("now.csv", 1_772_409_600),
    );
    let options = ["--by", "month", "--timestamp", "at"];
    let refused = compare(&before, &now, &options);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    let expected = "column \"at\", row 1: 1772409600 is 1970-01-21 in milliseconds since 1970, but 2026-03-02 in seconds; \
                    `time_format: seconds`";
    assert!(told.contains(expected), "{told}");
    let model = folder.write(
        "model.yaml",
        "models:\n  - name: fares\n    task: regression\n    columns:\n      timestamp: at\n      time_format: seconds\n",
    );
    let options = ["--by", "month", "--model", &model.display().to_string()];
    let told = document(&before, &now, &options);
    let windows = told["measurements"].to_string();
    assert!(
        windows.contains("2026-03") && !windows.contains("1970"),
        "{windows}"
    );
}
