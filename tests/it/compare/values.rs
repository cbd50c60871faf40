//! Values that are none: null, NaN, infinite and empty are four different things.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, new_null_array,
};
use arrow_schema::{DataType, TimeUnit};

use super::{Folder, document, findings, parquet};

#[test]
fn null_nan_infinite_and_empty_values_are_told_apart() {
    let folder = Folder::new("values-that-are-none");
    let file = |name: &str, spoilt: bool| {
        let mut rows = "nulls,nans,infinite,texts\n".to_owned();
        for row in 0..200 {
            let number = format!("{row}.5");
            let (mut nulls, mut nans, mut infinite) = (number.clone(), number.clone(), number);
            if spoilt {
                match row % 10 {
                    0 => nulls.clear(),
                    1 => "NaN".clone_into(&mut nans),
                    2 => "-inf".clone_into(&mut infinite),
                    _ => {}
                }
            }
            writeln!(rows, "{nulls},{nans},{infinite},w{}", row % 7).expect("a string");
        }
        folder.write(name, rows)
    };
    let (sound, spoilt) = (file("sound.csv", false), file("spoilt.csv", true));
    let told = document(&sound, &spoilt, &[]);
    assert_eq!(findings(&told, "nulls"), ["null_share"]);
    assert_eq!(findings(&told, "nans"), ["nan_share"]);
    // What is infinite is in no range, and told as what it is.
    assert_eq!(findings(&told, "infinite"), ["infinite_share"]);
    assert_eq!(findings(&told, "texts"), [""; 0]);
    let schema = told["schema"].as_array().expect("a list");
    assert!(
        schema.iter().all(|finding| finding["value"] == 0.1),
        "{schema:#?}"
    );
    // An empty cell is null, so only formats with quotation marks that mean something have empty texts.
    let lines = |name: &str, empty: &str| {
        let lines = (0..200).map(|row| {
            let word = if row % 10 == 0 {
                empty.to_owned()
            } else {
                format!("w{}", row % 7)
            };
            format!("{{\"word\": \"{word}\", \"amount\": {row}}}\n")
        });
        folder.write(name, lines.collect::<String>())
    };
    let (full, empty) = (lines("full.ndjson", "w0"), lines("empty.ndjson", ""));
    let told = document(&full, &empty, &[]);
    assert!(
        findings(&told, "word").contains(&"empty_share"),
        "{told:#?}"
    );
    assert!(!findings(&told, "word").contains(&"null_share"));
}

#[test]
fn a_feature_that_only_the_models_file_names_is_not_taken_for_a_new_one() {
    let folder = Folder::new("values-of-nowhere");
    let model = folder.write(
        "model.yaml",
        "
models:
  - name: pets
    task: regression
    baselines: {training: {file: rows.csv}}
    schema: {from: training, features: {age: {max_null_share: 0.5}, weight: {required: true}}}
",
    );
    let rows: String = (0..50).fold("size\n".to_owned(), |rows, row| rows + &format!("{row}\n"));
    let file = folder.write("rows.csv", rows);
    let told = document(&file, &file, &["--model", model.to_str().expect("a path")]);
    assert_eq!(findings(&told, "age"), [""; 0]);
    assert_eq!(findings(&told, "weight"), ["missing_feature"]);
}

#[test]
fn files_of_mixed_cells_are_no_finding_against_themselves_and_lose_no_value() {
    let folder = Folder::new("values-mixed");
    let cells = |row: usize| {
        let pick = |values: &[&str]| values[row % values.len()].to_owned();
        [
            ("month", format!("{:02}", row % 12 + 1)),
            ("fips", format!("{:02}", row % 56 + 1)),
            ("size", pick(&["S", "M", "8.5", "9"])),
            ("release", pick(&["1.0", "2.0.1", "2", "1.1"])),
            ("agreed", pick(&["true", "false", "unknown"])),
            ("age", pick(&["18", "25", "unknown"])),
            ("infinite", pick(&["1.5", "inf", "-Inf", "2.5", "3.5"])),
            ("missing", pick(&["1", "2", "3", "NA"])),
        ]
    };
    let names = cells(0).map(|(name, _)| name);
    let mut csv = names.join(",") + "\n";
    let mut ndjson = String::new();
    for row in 0..1_680 {
        let row = cells(row);
        csv += &(row.clone().map(|(_, cell)| cell).join(",") + "\n");
        let members = row.map(|(name, cell)| {
            let typed = (cell.parse::<f64>().is_ok_and(f64::is_finite)
                && (cell.len() == 1 || !cell.starts_with('0')))
                || matches!(cell.as_str(), "true" | "false");
            match (typed, name) {
                (_, "infinite" | "missing") => format!("\"{name}\": 1"),
                (true, _) => format!("\"{name}\": {cell}"),
                (false, _) => format!("\"{name}\": \"{cell}\""),
            }
        });
        ndjson += &format!("{{{}}}\n", members.join(", "));
    }
    for (name, rows) in [("mixed.csv", csv), ("mixed.ndjson", ndjson)] {
        let file = folder.write(name, rows);
        let told = document(&file, &file, &["--fail-on", "schema"]);
        assert_eq!(told["schema"], serde_json::json!([]), "{name}");
        let measured = told["measurements"].as_array().expect("a list");
        for feature in ["month", "fips", "size", "release", "agreed", "age"] {
            let psi = (measured.iter())
                .find(|m| m["feature"] == feature && m["measure"] == "psi")
                .unwrap_or_else(|| panic!("{name}: {feature} is measured"));
            assert_eq!(psi["value"], 0.0, "{name}: {feature}");
            assert_eq!(psi["current_rows"], 1_680, "{name}: {feature}");
        }
    }
}

#[test]
fn a_constant_that_falls_is_drift() {
    let folder = Folder::new("values-constant");
    let file = |name: &str, value: &str| {
        folder.write(name, format!("level\n{}", format!("{value}\n").repeat(500)))
    };
    let told = document(&file("before.csv", "5.0"), &file("now.csv", "4.0"), &[]);
    let measured = told["measurements"].as_array().expect("a list");
    let moved = (measured.iter()).find(|m| m["measure"] == "total_variation");
    assert_eq!(
        moved.map(|m| &m["status"]),
        Some(&serde_json::json!("drift"))
    );
}

/// A file of columns of 200 rows.
fn columns(folder: &Folder, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let path = folder.0.join(name);
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    parquet(&path, &[batch.expect("columns of one length")]);
    path
}

const ROWS: usize = 200;

fn amounts() -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(
        (0..ROWS).map(|row| row as f64 * 0.5),
    ))
}

fn words() -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        (0..ROWS).map(|row| format!("w{}", row % 7)),
    ))
}

#[test]
fn a_column_without_a_single_value_hides_no_other() {
    let folder = Folder::new("columns-of-nulls");
    let types = [
        DataType::Utf8,
        DataType::Float64,
        DataType::Int64,
        DataType::Boolean,
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::Null,
    ];
    let full: [(&str, ArrayRef); 5] = [
        ("words", words()),
        (
            "coded",
            Arc::new(
                (0..ROWS)
                    .map(|row| ["x", "y", "z"][row % 3])
                    .collect::<DictionaryArray<Int32Type>>(),
            ),
        ),
        ("amounts", amounts()),
        (
            "flags",
            Arc::new(BooleanArray::from_iter(
                (0..ROWS).map(|row| Some(row % 3 == 0)),
            )),
        ),
        (
            "times",
            Arc::new(TimestampMillisecondArray::from_iter_values(
                (0..ROWS as i64).map(|row| row * 1_000),
            )),
        ),
    ];
    for (number, data_type) in types.iter().enumerate() {
        for (name, values) in &full {
            let empty = new_null_array(data_type, ROWS);
            let before = vec![("new", empty), ("amount", amounts())];
            let now = vec![("new", ArrayRef::clone(values)), ("amount", amounts())];
            let before = columns(&folder, &format!("before-{number}.parquet"), before);
            let now = columns(&folder, &format!("now-{number}-{name}.parquet"), now);
            for (reference, current) in [(&before, &now), (&now, &before)] {
                let told = document(reference, current, &[]);
                let what = format!("{data_type} beside {name}");
                let of = |feature: &str, measure: &str| {
                    let all = told["measurements"].as_array().expect("a list");
                    let mut found = all
                        .iter()
                        .filter(|m| m["feature"] == feature && m["measure"] == measure);
                    let found = found
                        .next()
                        .unwrap_or_else(|| panic!("{what}: no {measure} of {feature}"));
                    found.clone()
                };
                assert_eq!(of("amount", "total_variation")["status"], "ok", "{what}");
                assert_eq!(
                    of("new", "total_variation")["status"],
                    "insufficient",
                    "{what}"
                );
                let cause = of("new", "total_variation")["recipe"]["cause"].to_string();
                assert!(cause.contains("no usable value"), "{what}: {cause}");
                assert_eq!(
                    of("new", "missing_share_change")["status"],
                    "drift",
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn texts_that_become_numbers_or_booleans_are_told_where_files_have_types() {
    let folder = Folder::new("texts-that-become-numbers");
    let numbers = || (0..ROWS).map(|row| (row % 7) as i64);
    let flags = || (0..ROWS).map(|row| row % 3 == 0);
    let before = columns(
        &folder,
        "before.parquet",
        vec![
            (
                "code",
                Arc::new(StringArray::from_iter_values(
                    numbers().map(|n| n.to_string()),
                )),
            ),
            (
                "flag",
                Arc::new(StringArray::from_iter_values(
                    flags().map(|f| f.to_string()),
                )),
            ),
        ],
    );
    let now = columns(
        &folder,
        "now.parquet",
        vec![
            ("code", Arc::new(Int64Array::from_iter_values(numbers()))),
            ("flag", Arc::new(BooleanArray::from_iter(flags().map(Some)))),
        ],
    );
    for (reference, current) in [(&before, &now), (&now, &before)] {
        let told = document(reference, current, &[]);
        assert_eq!(findings(&told, "code"), ["type_change"], "{told:#}");
        assert_eq!(findings(&told, "flag"), ["type_change"], "{told:#}");
    }
    // Flags that are 0 and 1 now.
    let ones = columns(
        &folder,
        "ones.parquet",
        vec![
            ("code", Arc::new(Int64Array::from_iter_values(numbers()))),
            (
                "flag",
                Arc::new(Int64Array::from_iter_values(flags().map(i64::from))),
            ),
        ],
    );
    assert_eq!(
        findings(&document(&now, &ones, &[]), "flag"),
        ["type_change"]
    );
    // Text without types says nothing of that.
    let rows = numbers()
        .zip(flags())
        .map(|(code, flag)| format!("{code},{flag}\n"));
    let untyped = folder.write(
        "now.csv",
        format!("code,flag\n{}", rows.collect::<String>()),
    );
    let told = document(&before, &untyped, &[]);
    assert_eq!(findings(&told, "code"), [""; 0], "{told:#}");
    assert_eq!(findings(&told, "flag"), [""; 0], "{told:#}");
}
