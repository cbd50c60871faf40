//! Values known to break intakes, each in the first, the middle and the last row of a batch: the row is
//! refused or kept as said, and its neighbours are always kept.

use super::RejectReason::*;
use super::*;

enum Fate {
    /// Kept, with this value of the feature `x`.
    Kept(Value<'static>),
    /// Refused, with this field and reason, and a cause that holds this.
    Refused(&'static str, RejectReason, &'static str),
}
use Fate::{Kept, Refused};

fn text(text: &str) -> Fate {
    Kept(Value::Text(text.to_owned().into()))
}

fn good(number: usize, json: bool) -> Vec<u8> {
    if json {
        json_row(&format!("\"good {number}\""), "1362132000000", "1", b"1")
    } else {
        csv_row(&format!("good {number}"), "1362132000000", "1", b"1")
    }
}

fn json_row(id: &str, timestamp: &str, prediction: &str, x: &[u8]) -> Vec<u8> {
    let head = format!(
        r#"{{"prediction_id": {id}, "timestamp": {timestamp}, "prediction": {prediction}, "features": {{"x": "#
    );
    [head.as_bytes(), x, b"}}"].concat()
}

fn csv_row(id: &str, timestamp: &str, prediction: &str, x: &[u8]) -> Vec<u8> {
    [format!("{id},{timestamp},{prediction},").as_bytes(), x].concat()
}

fn check_everywhere(name: &str, format: Format, poison: &[u8], fate: &Fate) {
    for position in 0..3 {
        let mut rows: Vec<Vec<u8>> = (0..2).map(|n| good(n, format != Format::Csv)).collect();
        rows.insert(position, poison.to_vec());
        let body = match format {
            Format::Json => [b"[", rows.join(&b","[..]).as_slice(), b"]"].concat(),
            Format::Csv => [
                b"prediction_id,timestamp,prediction,x\n",
                rows.join(&b"\n"[..]).as_slice(),
            ]
            .concat(),
            _ => rows.join(&b"\n"[..]),
        };
        let place = format!("{name} in {}, position {position}", format.as_str());
        together::check(format, &body, Task::Regression);
        let decoded = decode_predictions(format, &body, &expect(Task::Regression))
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(decoded.received, 3, "{place}");
        match fate {
            Kept(value) => {
                assert_eq!(decoded.rejects.first(), [], "{place}");
                let kept = &feature(&decoded.batch, "x")[position];
                // NaN is not equal to itself; its text is.
                assert_eq!(format!("{kept:?}"), format!("{value:?}"), "{place}");
            }
            Refused(field, reason, cause) => {
                assert_eq!(
                    decoded.batch.prediction_ids.iter().collect::<Vec<_>>(),
                    ["good 0", "good 1"],
                    "{place}"
                );
                let header = u64::from(format == Format::Csv);
                let refused = &decoded.rejects.first()[0];
                assert_eq!(refused.line, position as u64 + 1 + header, "{place}");
                assert_eq!(
                    (refused.field.as_str(), refused.reason),
                    (*field, *reason),
                    "{place}"
                );
                assert!(refused.cause.contains(cause), "{place}: {}", refused.cause);
            }
        }
    }
}

#[test]
fn poison_in_json_costs_one_row_at_most() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let many: String = (0..100_000).map(|n| format!(",\"k{n}\":1")).collect();
    let many = format!("1{many}");
    let wide = format!("\"{}\"", "x".repeat(1 << 20));
    let digits = "9".repeat(40);
    let cases: &[(&str, &[u8], Fate)] = &[
        (
            "NaN",
            b"NaN",
            Refused("", Malformed, "expected value, near byte"),
        ),
        ("negative zero", b"-0.0", Kept(Value::Number(0.0))),
        ("subnormal", b"5e-324", Kept(Value::Number(5e-324))),
        ("large float", b"1e308", Kept(Value::Number(1e308))),
        ("too large float", b"1e400", text("1e400")),
        (
            "integer over 2^53",
            b"9007199254740993",
            Kept(Value::Integer(9_007_199_254_740_993)),
        ),
        (
            "exact integer over i64",
            b"18446744073709551616",
            Kept(Value::Number(18_446_744_073_709_551_616.0)),
        ),
        (
            "inexact integer over i64",
            b"18446744073709551617",
            text("18446744073709551617"),
        ),
        ("forty digits", digits.as_bytes(), text(&digits)),
        (
            "escaped NUL",
            br#""a\u0000""#,
            Refused("x", NulByte, "NUL character at byte 1"),
        ),
        ("raw NUL", b"\"a\0\"", Refused("", NulByte, "is NUL")),
        (
            "lone surrogate",
            br#""\ud800""#,
            Refused("x", Malformed, "half of a surrogate pair"),
        ),
        (
            "reversed surrogates",
            br#""\udc00\ud800""#,
            Refused("x", Malformed, "half of a surrogate pair"),
        ),
        (
            "invalid UTF-8",
            b"\"\xC3\x28\"",
            Refused("", Malformed, "of the body is not UTF-8"),
        ),
        (
            "direction override",
            "\"\u{202E}x\"".as_bytes(),
            text("\u{202E}x"),
        ),
        ("composed", "\"\u{E9}\"".as_bytes(), text("\u{E9}")),
        ("decomposed", "\"e\u{301}\"".as_bytes(), text("e\u{301}")),
        (
            "1 MiB of text",
            wide.as_bytes(),
            Refused("x", TooLarge, "1048576 bytes"),
        ),
        ("empty text", b"\"\"", text("")),
        ("the word null", b"\"null\"", text("null")),
        ("the word NaN", b"\"NaN\"", text("NaN")),
        ("null", b"null", Kept(Value::Null)),
        ("boolean", b"true", Kept(Value::Boolean(true))),
        ("the word true", b"\"true\"", text("true")),
        ("one", b"1", Kept(Value::Integer(1))),
        ("1e5", b"1e5", Kept(Value::Number(100_000.0))),
        (
            "duplicate",
            b"1, \"x\": 2",
            Refused("x", DuplicateField, "twice"),
        ),
        (
            "duplicate by escape",
            br#"1, "\u0078": 2"#,
            Refused("x", DuplicateField, "twice"),
        ),
        (
            "100,000 names",
            many.as_bytes(),
            Refused("features", TooLarge, "100001 names"),
        ),
        (
            "depth 10,000",
            deep.as_bytes(),
            Refused("x", WrongType, "is a list"),
        ),
        (
            "name with override",
            "1, \"\u{202E}y\": 1".as_bytes(),
            Refused("\\u{202e}y", WrongType, "U+202E"),
        ),
        (
            "name with NUL",
            br#"1, "\u0000": 1"#,
            Refused("\\u{0}", NulByte, "the name holds a NUL"),
        ),
        ("stray comma", b"1,", Refused("", Malformed, "near byte")),
        ("two values", b"1 2", Refused("", Malformed, "near byte")),
    ];
    for (name, x, fate) in cases {
        for format in [Format::Json, Format::Ndjson] {
            check_everywhere(
                name,
                format,
                &json_row("\"p\"", "1362132000000", "1", x),
                fate,
            );
        }
    }
    let absent = br#"{"prediction_id": "p", "timestamp": 1362132000000, "prediction": 1}"#;
    check_everywhere("missing", Format::Json, absent, &Kept(Value::Absent));
    check_everywhere(
        "no row",
        Format::Json,
        b"7",
        &Refused("", Malformed, "not an object"),
    );
}

#[test]
fn poison_in_ids_times_and_predictions_costs_one_row() {
    let long = format!("\"{}\"", "i".repeat(10_000));
    let cases: &[(&str, &str, &str, &str, Fate)] = &[
        (
            "long id",
            &long,
            "1362132000000",
            "1",
            Refused("prediction_id", TooLarge, "10000 bytes"),
        ),
        (
            "blank id",
            "\" \"",
            "1362132000000",
            "1",
            Refused("prediction_id", MissingField, "white space"),
        ),
        (
            "NUL in id",
            r#""\u0000""#,
            "1362132000000",
            "1",
            Refused("prediction_id", NulByte, "NUL"),
        ),
        (
            "surrogate id",
            r#""\ud800""#,
            "1362132000000",
            "1",
            Refused("prediction_id", Malformed, "surrogate"),
        ),
        (
            "time 0",
            "\"p\"",
            "0",
            "1",
            Refused("timestamp", TimeOutOfBounds, "1970-01-01"),
        ),
        (
            "negative time",
            "\"p\"",
            "-1",
            "1",
            Refused("timestamp", TimeOutOfBounds, "1969-12-31"),
        ),
        (
            "smallest time",
            "\"p\"",
            "-9223372036854775808",
            "1",
            Refused("timestamp", TimeOutOfBounds, "outside"),
        ),
        (
            "endless time",
            "\"p\"",
            "99999999999999999999",
            "1",
            Refused("timestamp", TimeOutOfBounds, "outside"),
        ),
        (
            "year 9999",
            "\"p\"",
            "\"9999-12-31T23:59:60Z\"",
            "1",
            Refused("timestamp", TimeOutOfBounds, "outside"),
        ),
        (
            "year 10000",
            "\"p\"",
            "\"10000-01-01T00:00:00Z\"",
            "1",
            Refused("timestamp", WrongType, "RFC 3339"),
        ),
        (
            "year 10000 in ms",
            "\"p\"",
            "253402300800000",
            "1",
            Refused("timestamp", TimeOutOfBounds, "+10000-01-01"),
        ),
        (
            "local time",
            "\"p\"",
            "\"2013-03-10T02:30:00\"",
            "1",
            Refused("timestamp", WrongType, "RFC 3339"),
        ),
        (
            "infinite prediction",
            "\"p\"",
            "1362132000000",
            "1e400",
            Refused("prediction", WrongType, "finite"),
        ),
    ];
    for (name, id, timestamp, prediction, fate) in cases {
        for format in [Format::Json, Format::Ndjson] {
            check_everywhere(
                name,
                format,
                &json_row(id, timestamp, prediction, b"1"),
                fate,
            );
        }
    }
}

#[test]
fn poison_in_csv_costs_one_row_at_most() {
    let wide = "x".repeat(1 << 20);
    let cells: &[(&str, &[u8], Fate)] = &[
        ("NaN", b"NaN", Kept(Value::Number(f64::NAN))),
        (
            "negative infinity",
            b"-inf",
            Kept(Value::Number(f64::NEG_INFINITY)),
        ),
        ("negative zero", b"-0.0", Kept(Value::Number(0.0))),
        ("subnormal", b"5e-324", Kept(Value::Number(5e-324))),
        ("too large float", b"1e400", text("1e400")),
        (
            "inexact integer over i64",
            b"18446744073709551617",
            text("18446744073709551617"),
        ),
        (
            "raw NUL",
            b"a\0",
            Refused("x", NulByte, "NUL character at byte 1"),
        ),
        (
            "invalid UTF-8",
            b"ab\xFF",
            Refused("x", Malformed, "byte 2 of the cell is not UTF-8"),
        ),
        (
            "direction override",
            "\u{202E}x".as_bytes(),
            text("\u{202E}x"),
        ),
        (
            "1 MiB of text",
            wide.as_bytes(),
            Refused("x", TooLarge, "1048576 bytes"),
        ),
        ("empty", b"", Kept(Value::Null)),
        ("the word null", b"null", text("null")),
        (
            "one cell more",
            b"1,2",
            Refused("", Malformed, "has 5 cells"),
        ),
    ];
    for (name, x, fate) in cells {
        check_everywhere(
            name,
            Format::Csv,
            &csv_row("p", "1362132000000", "1", x),
            fate,
        );
    }
    let rows: &[(&str, &str, &str, &str, Fate)] = &[
        (
            "blank id",
            " ",
            "1362132000000",
            "1",
            Refused("prediction_id", MissingField, "white space"),
        ),
        (
            "NUL in id",
            "\0",
            "1362132000000",
            "1",
            Refused("prediction_id", NulByte, "NUL"),
        ),
        (
            "time 0",
            "p",
            "0",
            "1",
            Refused("timestamp", TimeOutOfBounds, "1970-01-01"),
        ),
        (
            "year 10000",
            "p",
            "+10000-01-01T00:00:00Z",
            "1",
            Refused("timestamp", WrongType, "RFC 3339"),
        ),
        (
            "NaN prediction",
            "p",
            "1362132000000",
            "NaN",
            Refused("prediction", WrongType, "is NaN"),
        ),
        (
            "infinite prediction",
            "p",
            "1362132000000",
            "inf",
            Refused("prediction", WrongType, "finite"),
        ),
    ];
    for (name, id, timestamp, prediction, fate) in rows {
        check_everywhere(
            name,
            Format::Csv,
            &csv_row(id, timestamp, prediction, b"1"),
            fate,
        );
    }
}

#[test]
fn ids_that_differ_in_case_or_form_are_different() {
    let ids = ["a", "A", "\u{E9}", "e\u{301}"];
    let rows: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| json_row(&format!("\"{id}\""), "1362132000000", "1", b"1"))
        .collect();
    let body = rows.join(&b"\n"[..]);
    let decoded = predictions(Format::Ndjson, &body, Task::Regression);
    assert_eq!(decoded.batch.prediction_ids.iter().collect::<Vec<_>>(), ids);
}
