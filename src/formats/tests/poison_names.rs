//! Poison values as names: of features, of segments, of classes, of columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array};

use super::RejectReason::*;
use super::files::{arrow_stream, parquet_file};
use super::*;

/// Names of features, of segments, of classes: in JSON each row has its own.
#[test]
fn poison_in_names_costs_one_row_in_json() {
    let long = "n".repeat(10_000);
    let cases: [(&str, Result<&str, RejectReason>); 14] = [
        ("plain", Ok("plain")),
        ("\u{E9}", Ok("\u{E9}")),
        ("e\u{301}", Ok("\u{E9}")),
        ("\u{430}", Ok("\u{430}")),
        ("\u{1F4A9}", Ok("\u{1F4A9}")),
        ("a\u{200B}b", Err(WrongType)),
        ("\u{FEFF}a", Err(WrongType)),
        ("\u{202E}a", Err(WrongType)),
        ("a\u{200F}", Err(WrongType)),
        ("a\nb", Err(WrongType)),
        ("a\0b", Err(NulByte)),
        ("", Err(MissingField)),
        (" ", Err(MissingField)),
        (&long, Err(TooLarge)),
    ];
    let row = |id: usize, more: &str| {
        format!(
            r#"{{"prediction_id": "{id}", "timestamp": 1362132000000, "prediction": "cat", {more}}}"#
        )
    };
    for (name, expected) in cases {
        let key = serde_json::to_string(name).expect("text is JSON");
        for (object, field) in [("features", ""), ("segments", "segments.")] {
            for position in 0..3 {
                let rows: Vec<String> = (0..3)
                    .map(|id| match id == position {
                        true => row(id, &format!(r#""{object}": {{{key}: "v"}}"#)),
                        false => row(id, &format!(r#""{object}": {{"good": "v"}}"#)),
                    })
                    .collect();
                for format in [Format::Json, Format::Ndjson] {
                    let body = match format {
                        Format::Json => format!("[{}]", rows.join(",")),
                        _ => rows.join("\n"),
                    };
                    let what = format!("{name:?} in {object}, row {position}");
                    let decoded = predictions(format, body.as_bytes(), Task::Multiclass);
                    match expected {
                        Ok(expected) => {
                            assert_eq!(decoded.rejects.first(), [], "{what}");
                            let kept = match object {
                                "features" => decoded.batch.feature(expected).is_some(),
                                _ => decoded.batch.segments[position][0].0 == expected,
                            };
                            assert!(kept, "{what}");
                        }
                        Err(reason) => {
                            assert_eq!(
                                (decoded.batch.len(), decoded.rejects.total()),
                                (2, 1),
                                "{what}"
                            );
                            let refused = &decoded.rejects.first()[0];
                            assert_eq!(refused.reason, reason, "{what}: {refused:?}");
                            assert!(refused.field.starts_with(field), "{what}: {refused:?}");
                            assert!(
                                refused.cause.starts_with("the name "),
                                "{what}: {refused:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

/// One feature in two forms is one feature, and in one row it is there twice.
#[test]
fn a_name_in_two_forms_is_one_name() {
    let row = |features: &str| {
        format!(
            r#"{{"prediction_id": "a", "timestamp": 1362132000000, "prediction": 1, "features": {{{features}}}}}"#
        )
    };
    let rows = [
        row("\"e\u{301}\": 1"),
        row("\"\u{E9}\": 2"),
        row("\"e\u{301}\": 3, \"\u{E9}\": 4"),
    ];
    let decoded = predictions(Format::Ndjson, rows.join("\n").as_bytes(), Task::Regression);
    assert_eq!(
        feature(&decoded.batch, "\u{E9}"),
        [Value::Integer(1), Value::Integer(2)]
    );
    assert_eq!(decoded.batch.features.len(), 1);
    let cause = "occurs twice in the row";
    assert_eq!(
        decoded.rejects.first(),
        [reject(3, "\u{E9}", DuplicateField, cause)]
    );
}

/// A flat file names its columns once: there is no row to refuse alone.
#[test]
fn poison_in_the_names_of_columns_is_canonicalised_or_refused_with_the_body() {
    let bodies = |name: &str| {
        let columns = || -> Vec<(&str, ArrayRef)> {
            vec![
                ("prediction_id", Arc::new(Int64Array::from(vec![1]))),
                (
                    "timestamp",
                    Arc::new(Int64Array::from(vec![1_362_132_000_000])),
                ),
                ("prediction", Arc::new(Float64Array::from(vec![1.0]))),
                (name, Arc::new(Float64Array::from(vec![1.0]))),
            ]
        };
        let csv = format!("prediction_id,timestamp,prediction,\"{name}\"\n1,1362132000000,1,1.0\n");
        [
            (Format::Csv, csv.into_bytes()),
            (Format::Parquet, parquet_file(columns())),
            (Format::Arrow, arrow_stream(columns(), Default::default())),
        ]
    };
    for (format, body) in bodies("e\u{301}") {
        let decoded = predictions(format, &body, Task::Regression);
        assert_eq!(
            feature(&decoded.batch, "\u{E9}"),
            [Value::Number(1.0)],
            "{format:?}"
        );
    }
    let long = "n".repeat(10_000);
    for (name, cause) in [
        (
            "\u{202E}x",
            "the name holds the control character U+202E at byte 0",
        ),
        (
            "x\u{200B}",
            "the name holds the invisible character U+200B at byte 1",
        ),
        (
            "x\ny",
            "the name holds the control character U+000A at byte 1",
        ),
        ("x\0", "the name holds a NUL character at byte 1"),
        (" ", "the name is empty or only white space"),
        (
            long.as_str(),
            "the name is 10000 bytes long; at most 200 are kept",
        ),
    ] {
        for (format, body) in bodies(name) {
            let error = body_error(format, &body);
            assert!(error.ends_with(cause), "{name:?} in {format:?}: {error}");
        }
    }
}
