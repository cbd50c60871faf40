//! Features that are lists of numbers, in each format that has lists.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};
use arrow_array::{
    ArrayRef, Float32Array, Int64Array, ListArray, StringArray, TimestampMillisecondArray, types,
};
use arrow_ipc::writer::IpcWriteOptions;

use super::RejectReason::{TooLarge, WrongType};
use super::files::{arrow_stream, parquet_file};
use super::*;

/// What is read of a row whose feature `x` is this JSON.
fn row(x: &str) -> Decoded<PredictionBatch> {
    let row = format!(
        r#"{{"prediction_id": "a", "timestamp": "2013-03-01T10:00:00Z", "prediction": 1, "features": {{"x": {x}}}}}"#
    );
    let of_lines = predictions(Format::Ndjson, row.as_bytes(), Task::Regression);
    let of_document = predictions(Format::Json, row.as_bytes(), Task::Regression);
    assert_eq!(vectors(&of_lines.batch), vectors(&of_document.batch));
    of_lines
}

/// By their bits, because NaN is not itself.
fn vectors(batch: &PredictionBatch) -> Vec<Option<Vec<u32>>> {
    let bits = |value| match value {
        Value::Vector(vector) => Some(vector.iter().map(|n| n.to_bits()).collect()),
        _ => None,
    };
    feature(batch, "x").into_iter().map(bits).collect()
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn lists_of_numbers_are_vectors_in_json() {
    let cases: [(&str, &[f32]); 5] = [
        ("[0.1, -2, 3e2]", &[0.1, -2.0, 300.0]),
        ("[]", &[]),
        ("[-0.0]", &[0.0]),
        ("[1, null]", &[1.0, f32::NAN]),
        ("[1e300]", &[f32::INFINITY]),
    ];
    for (x, expected) in cases {
        let decoded = row(x);
        assert_eq!(decoded.rejects.first(), [], "{x}");
        assert_eq!(vectors(&decoded.batch), [Some(bits(expected))], "{x}");
    }
}

#[test]
fn lists_of_something_else_and_too_long_ones_cost_their_row() {
    let long = format!("[{}1]", "1,".repeat(raw::MAX_VECTOR_NUMBERS));
    let padded = format!("[1{}]", " ".repeat(1 << 20));
    let cases = [
        (r#"[1, "2"]"#, WrongType, "something that is no number"),
        ("[[1]]", WrongType, "something that is no number"),
        ("[true]", WrongType, "something that is no number"),
        (r#"{"a": 1}"#, WrongType, "is an object, not a single value"),
        (&long, TooLarge, "at most 8192 numbers"),
        (&padded, TooLarge, "at most 8192 numbers"),
    ];
    for (x, reason, cause) in cases {
        let decoded = row(x);
        let reject = &decoded.rejects.first()[0];
        assert_eq!(
            (reject.field.as_str(), reject.reason),
            ("x", reason),
            "{cause}"
        );
        assert!(reject.cause.contains(cause), "{}", reject.cause);
    }
}

fn columns(x: ArrayRef) -> Vec<(&'static str, ArrayRef)> {
    let rows = i64::try_from(x.len()).expect("few");
    let times = (0..rows).map(|row| 1_362_132_000_000 + row);
    vec![
        (
            "prediction_id",
            Arc::new(Int64Array::from_iter_values(0..rows)),
        ),
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from_iter_values(times)),
        ),
        (
            "prediction",
            Arc::new(Float32Array::from_iter_values(
                (0..rows).map(|row| row as f32),
            )),
        ),
        ("x", x),
    ]
}

#[test]
fn columns_of_lists_are_vectors_in_arrow_and_parquet() {
    let mut fixed = FixedSizeListBuilder::new(Float32Builder::new(), 2);
    fixed.values().append_slice(&[0.5, -1.0]);
    fixed.append(true);
    fixed.values().append_nulls(2);
    fixed.append(false);
    fixed.values().append_value(2.0);
    fixed.values().append_null();
    fixed.append(true);
    let free = ListArray::from_iter_primitive::<types::Float64Type, _, _>([
        Some(vec![Some(0.5), Some(-1.0)]),
        None,
        Some(vec![Some(2.0), None]),
    ]);
    let expected = [Some(bits(&[0.5, -1.0])), None, Some(bits(&[2.0, f32::NAN]))];
    for array in [Arc::new(fixed.finish()) as ArrayRef, Arc::new(free)] {
        let stream = arrow_stream(columns(array.clone()), IpcWriteOptions::default());
        let bodies = [
            (Format::Arrow, stream),
            (Format::Parquet, parquet_file(columns(array))),
        ];
        for (format, body) in bodies {
            let decoded = predictions(format, &body, Task::Regression);
            assert_eq!(decoded.rejects.first(), [], "{format:?}");
            assert_eq!(vectors(&decoded.batch), expected, "{format:?}");
            assert_eq!(feature(&decoded.batch, "x")[1], Value::Null);
        }
    }
}

#[test]
fn only_features_are_vectors_and_only_of_numbers() {
    let list = ListArray::from_iter_primitive::<types::Int32Type, _, _>([Some(vec![Some(1)])]);
    let mut rows = columns(Arc::new(list));
    rows.retain(|(name, _)| *name != "prediction");
    rows[2].0 = "prediction";
    let error = body_error(Format::Parquet, &parquet_file(rows));
    assert!(
        error.starts_with("read column \"prediction\": is of type List("),
        "{error}"
    );
    let mut texts =
        arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
    texts.values().append_value("a");
    texts.append(true);
    let error = body_error(
        Format::Parquet,
        &parquet_file(columns(Arc::new(texts.finish()))),
    );
    assert!(
        error.starts_with("read column \"x\": is of type List("),
        "{error}"
    );
    let text = StringArray::from(vec!["[1, 2]"]);
    let decoded = predictions(
        Format::Parquet,
        &parquet_file(columns(Arc::new(text))),
        Task::Regression,
    );
    assert_eq!(feature(&decoded.batch, "x"), [Value::Text("[1, 2]".into())]);
}
