//! What a body may look like in each text format, and where lines are counted from.

use super::RejectReason::*;
use super::*;

const GOOD: &str =
    r#"{"prediction_id": "a", "timestamp": "2013-03-01T10:00:00Z", "prediction": 1, "x": 1}"#;
const BAD: &str = r#"{"prediction_id": "b", "timestamp": "2013-03-01T10:00:00Z"}"#;

#[test]
fn content_types_and_extensions_name_the_format() {
    let types = [
        ("application/json; charset=utf-8", Some(Format::Json)),
        ("Application/X-NDJSON", Some(Format::Ndjson)),
        ("text/csv;header=present", Some(Format::Csv)),
        ("application/vnd.apache.parquet", Some(Format::Parquet)),
        ("application/vnd.apache.arrow.stream", Some(Format::Arrow)),
        ("text/html", None),
        ("", None),
    ];
    for (content_type, format) in types {
        assert_eq!(
            Format::from_content_type(content_type),
            format,
            "{content_type}"
        );
    }
    for format in [Format::Json, Format::Ndjson, Format::Csv, Format::Parquet] {
        let path = std::path::PathBuf::from(format!("in/rows.{}", format.as_str().to_uppercase()));
        assert_eq!(Format::from_path(&path), Some(format));
    }
    assert_eq!(
        Format::from_path(Path::new("rows.jsonl")),
        Some(Format::Ndjson)
    );
    assert_eq!(Format::from_path(Path::new("rows")), None);
}

#[test]
fn json_may_be_an_array_one_row_or_a_named_array() {
    let bodies = [
        format!("[{GOOD}]"),
        GOOD.to_owned(),
        format!("\u{FEFF} {{ \"predictions\" : [ {GOOD} ] }} \n"),
    ];
    for body in bodies {
        let decoded = predictions(Format::Json, body.as_bytes(), Task::Regression);
        assert_eq!(decoded.rejects.first(), [], "{body}");
        assert_eq!(
            decoded.batch.prediction_ids.iter().collect::<Vec<_>>(),
            ["a"],
            "{body}"
        );
    }
    for body in ["[]", " [ ] ", r#"{"predictions": []}"#] {
        let decoded = predictions(Format::Json, body.as_bytes(), Task::Regression);
        assert_eq!((decoded.received, decoded.batch.len()), (0, 0), "{body}");
    }
}

#[test]
fn json_rows_are_counted_and_ndjson_lines_are_physical() {
    let cause = "is missing, and the row has no `error`";
    let body = format!("[{GOOD},\n\n{BAD},{GOOD}]");
    let decoded = predictions(Format::Json, body.as_bytes(), Task::Regression);
    assert_eq!(
        decoded.rejects.first(),
        [reject(2, "prediction", MissingField, cause)]
    );
    let body = format!("{GOOD}\r\n\n{BAD}\n{GOOD}");
    let decoded = predictions(Format::Ndjson, body.as_bytes(), Task::Regression);
    assert_eq!(
        decoded.rejects.first(),
        [reject(3, "prediction", MissingField, cause)]
    );
    assert_eq!((decoded.received, decoded.batch.len()), (3, 2));
}

#[test]
fn csv_lines_are_physical_and_the_header_is_the_first() {
    let body = "prediction_id,timestamp,prediction,note\n\
                a,2013-03-01T10:00:00Z,1,\"two\nlines\"\n\
                \n\
                b,2013-03-01T10:00:00Z,,\r\n\
                c,2013-03-01T10:00:00Z\n\
                d,2013-03-01T10:00:00Z,1,\"say \"\"hi\"\"\"";
    let decoded = predictions(Format::Csv, body.as_bytes(), Task::Regression);
    assert_eq!(
        decoded.rejects.first(),
        [
            reject(
                5,
                "prediction",
                MissingField,
                "is missing, and the row has no `error`"
            ),
            reject(6, "", Malformed, "has 2 cells; the header has 4"),
        ]
    );
    assert_eq!(
        feature(&decoded.batch, "note"),
        [
            Value::Text("two\nlines".into()),
            Value::Text("say \"hi\"".into())
        ]
    );
}

#[test]
fn csv_cells_are_what_they_look_like_unless_the_field_is_text() {
    let body = "prediction_id,timestamp,prediction,deployment,a,b,c,d,e\n\
                007,1362132000000,1e3,1.0,12,-1.5e3,true,007,\n\
                1e5,1362132000000,\"2\",\"0,1\",NaN,inf,False,+1,\"\"\n\
                NA,1362132000000,3,NA,NA,-Inf,NA,Inf,NA\n";
    let decoded = predictions(Format::Csv, body.as_bytes(), Task::Regression);
    assert_eq!(decoded.rejects.first(), []);
    let batch = decoded.batch;
    assert_eq!(
        batch.prediction_ids.iter().collect::<Vec<_>>(),
        ["007", "1e5", "NA"]
    );
    assert_eq!(
        batch.deployments.iter().collect::<Vec<_>>(),
        [Some("1.0"), Some("0,1"), Some("NA")]
    );
    assert_eq!(batch.outputs[1].value, Some(2.0));
    assert_eq!(feature(&batch, "a")[0], Value::Integer(12));
    assert!(matches!(feature(&batch, "a")[1], Value::Number(nan) if nan.is_nan()));
    assert_eq!(feature(&batch, "a")[2], Value::Null);
    assert_eq!(
        feature(&batch, "b"),
        [-1500.0, f64::INFINITY, f64::NEG_INFINITY].map(Value::Number)
    );
    assert_eq!(
        feature(&batch, "c"),
        [Value::Boolean(true), Value::Boolean(false), Value::Null]
    );
    assert_eq!(
        feature(&batch, "d"),
        [
            Value::Text("007".into()),
            Value::Text("+1".into()),
            Value::Number(f64::INFINITY)
        ]
    );
    assert_eq!(
        feature(&batch, "e"),
        [Value::Null, Value::Null, Value::Null]
    );
}

#[test]
fn csv_labels_leave_other_columns_alone() {
    let body = "airline,prediction_id,label,observed_at\nUA,1,20.5,2013-03-01T10:00:00Z\n,2,inf,\n";
    let decoded = labels(Format::Csv, body.as_bytes(), Task::Regression);
    assert_eq!(decoded.batch.labels, [LabelValue::Number(20.5)]);
    let cause = "is inf, not a finite number";
    assert_eq!(
        decoded.rejects.first(),
        [reject(3, "label", WrongType, cause)]
    );
}

#[test]
fn an_open_quotation_mark_at_the_end_of_csv_is_noticed() {
    let body = "prediction_id,timestamp,prediction,note\n\
                a,1362132000000,1,5\" pipe\n\
                b,1362132000000,1,\"open\n\
                c,1362132000000,1,lost\n";
    let decoded = predictions(Format::Csv, body.as_bytes(), Task::Regression);
    assert_eq!(
        decoded.batch.prediction_ids.iter().collect::<Vec<_>>(),
        ["a"]
    );
    let cause = "a quotation mark is not closed; the lines after it were read as part of its cell";
    assert_eq!(decoded.rejects.first(), [reject(3, "", Malformed, cause)]);
}

#[test]
fn bodies_that_hold_no_rows_are_errors_with_place_and_cause() {
    let wrapped = r#"{"predictions": [], "version": "v2"}"#;
    let lines = format!("{GOOD}\n{GOOD}");
    let cases: &[(Format, &[u8], &str)] = &[
        (
            Format::Json,
            b"",
            "read the body as JSON: byte 0: the body is empty",
        ),
        (
            Format::Json,
            b" 7",
            "read the body as JSON: byte 1: expected an array of rows or one row object",
        ),
        (
            Format::Json,
            b"[{}, {",
            "read the body as JSON: byte 0: the '[' here is not closed: the body ends too early",
        ),
        (
            Format::Json,
            b"[{\"a]",
            "read the body as JSON: byte 2: the text that starts here is not closed",
        ),
        (
            Format::Json,
            b"[{},]",
            "read the body as JSON: byte 4: a value is missing before this",
        ),
        (
            Format::Json,
            b"[,]",
            "read the body as JSON: byte 1: a value is missing before this",
        ),
        (
            Format::Json,
            b"[1}",
            "read the body as JSON: byte 2: expected ']' here",
        ),
        (
            Format::Json,
            wrapped.as_bytes(),
            "read the body as JSON: byte 16: an object with \"predictions\" cannot have other members",
        ),
        (
            Format::Json,
            lines.as_bytes(),
            "read the body as JSON: byte 85: something follows the end of the document (rows on lines of their own are NDJSON)",
        ),
        (
            Format::Csv,
            b"",
            "read the body as CSV: line 1: the body is empty; expected a header",
        ),
        (
            Format::Csv,
            b"a,b,a\n",
            "read the body as CSV: line 1: column 3: \"a\" occurs twice",
        ),
        (
            Format::Csv,
            b",a\n",
            "read the body as CSV: line 1: column 1: the name is empty or only white space",
        ),
        (
            Format::Csv,
            b"a,\xFF\n",
            "read the body as CSV: line 1: the name of column 2 is not UTF-8",
        ),
    ];
    for (format, body, error) in cases {
        assert_eq!(
            body_error(*format, body),
            *error,
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    assert!(body_error(Format::Parquet, b"PAR1").starts_with("read the body as Parquet: "));
}

#[test]
fn limits_hold_for_the_whole_body() {
    let rows = [GOOD, GOOD, GOOD].join("\n");
    let error = |change: fn(&mut Limits)| {
        let mut expect = expect(Task::Regression);
        change(&mut expect.limits);
        decode_predictions(Format::Ndjson, rows.as_bytes(), &expect).expect_err("too large")
    };
    assert_eq!(
        error(|l| l.max_rows = 2),
        FormatError::TooManyRows { limit: 2 }
    );
    assert_eq!(
        error(|l| l.max_cells = 2),
        FormatError::TooManyCells { limit: 2 }
    );
    assert_eq!(
        error(|l| l.max_text_bytes = 8),
        FormatError::TooMuchText { limit: 8 }
    );
}

#[test]
fn a_syntax_error_names_its_byte_in_the_body() {
    let body = format!("[{GOOD},{{\"a\": tru}}]");
    let decoded = predictions(Format::Json, body.as_bytes(), Task::Regression);
    let cause = format!("expected ident, near byte {} of the body", GOOD.len() + 11);
    assert_eq!(decoded.rejects.first(), [reject(2, "", Malformed, &cause)]);
}

#[test]
fn the_examples_of_the_manual_are_read() {
    let manual = include_str!("../../../docs/formats.md");
    let mut examples = manual.split("```").skip(1).step_by(2);
    for (fence, format) in [
        ("json\n", Format::Json),
        ("json\n", Format::Ndjson),
        ("csv\n", Format::Csv),
    ] {
        let example = examples.next().expect("an example per format");
        let body = example.strip_prefix(fence).expect("in this order");
        let decoded = predictions(format, body.as_bytes(), Task::Regression);
        assert_eq!(decoded.rejects.first(), [], "{example}");
        assert_eq!(decoded.batch.len(), 2, "{example}");
    }
}

#[test]
fn of_a_million_refused_rows_the_first_are_kept_and_all_are_counted() {
    let body = "{}\n".repeat(1_000_000);
    let decoded = decode_predictions(Format::Ndjson, body.as_bytes(), &expect(Task::Regression));
    let decoded = decoded.expect("a million rows");
    assert_eq!((decoded.received, decoded.batch.len()), (1_000_000, 0));
    let by_reason: Vec<_> = decoded.rejects.by_reason().iter().collect();
    assert_eq!(by_reason, [(&MissingField, &1_000_000)]);
    let lines: Vec<u64> = (decoded.rejects.first().iter())
        .map(|reject| reject.line)
        .collect();
    assert_eq!(lines, (1..=Rejects::KEPT as u64).collect::<Vec<_>>());
}
