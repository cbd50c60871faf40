//! Any bytes are answered, and good rows mean the same in every format.

use std::sync::Arc;

use arrow_array::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::files::{arrow_stream, parquet_file};
use super::*;

const TASKS: [Task; 5] = Task::ALL;

/// A row that every format can express: a cell that is empty cannot be told from null in CSV, and one that
/// looks like a number cannot be text.
#[derive(Debug, Clone)]
struct Row {
    id: String,
    seconds: i64,
    prediction: f64,
    latency_ms: Option<f64>,
    integer: Option<i64>,
    number: Option<f64>,
    boolean: Option<bool>,
    text: Option<String>,
}

fn finite() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO
}

fn row() -> impl Strategy<Value = Row> {
    let latency = option::of(0.0..1e6_f64);
    let text = option::of("[ -~\u{e9}\n]{0,6}_[ -~\u{e9}\n]{0,6}");
    (
        "[a-z]{1,5}",
        0..31_000_000_i64,
        finite(),
        latency,
        any::<Option<i64>>(),
        option::of(finite()),
        any::<Option<bool>>(),
        text,
    )
        .prop_map(
            |(id, seconds, prediction, latency_ms, integer, number, boolean, text)| Row {
                id,
                seconds: at("2013-01-01T00:00:00Z").timestamp() + seconds,
                prediction,
                latency_ms,
                integer,
                number,
                boolean,
                text,
            },
        )
}

fn as_json(row: &Row) -> String {
    serde_json::json!({
        "prediction_id": row.id,
        "timestamp": row.seconds * 1000,
        "prediction": row.prediction,
        "latency_ms": row.latency_ms,
        "integer": row.integer,
        "number": row.number,
        "boolean": row.boolean,
        "text": row.text,
    })
    .to_string()
}

fn as_csv(rows: &[Row]) -> Vec<u8> {
    fn cell<T: std::fmt::Debug>(value: &Option<T>) -> String {
        value
            .as_ref()
            .map_or_else(String::new, |value| format!("{value:?}"))
    }
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer
        .write_record([
            "prediction_id",
            "timestamp",
            "prediction",
            "latency_ms",
            "boolean",
            "integer",
            "number",
            "text",
        ])
        .expect("written");
    for row in rows {
        writer
            .write_record([
                row.id.clone(),
                (row.seconds * 1000).to_string(),
                format!("{:?}", row.prediction),
                cell(&row.latency_ms),
                cell(&row.boolean),
                cell(&row.integer),
                cell(&row.number),
                row.text.clone().unwrap_or_default(),
            ])
            .expect("written");
    }
    writer.into_inner().expect("flushed")
}

fn as_columns(rows: &[Row]) -> Vec<(&'static str, ArrayRef)> {
    fn column<T, A: FromIterator<T> + Array + 'static>(
        rows: &[Row],
        value: impl Fn(&Row) -> T,
    ) -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<A>())
    }
    vec![
        (
            "prediction_id",
            column::<_, StringArray>(rows, |r| Some(r.id.clone())),
        ),
        (
            "timestamp",
            column::<_, TimestampSecondArray>(rows, |r| Some(r.seconds)),
        ),
        (
            "prediction",
            column::<_, Float64Array>(rows, |r| Some(r.prediction)),
        ),
        (
            "latency_ms",
            column::<_, Float64Array>(rows, |r| r.latency_ms),
        ),
        ("boolean", column::<_, BooleanArray>(rows, |r| r.boolean)),
        ("integer", column::<_, Int64Array>(rows, |r| r.integer)),
        ("number", column::<_, Float64Array>(rows, |r| r.number)),
        ("text", column::<_, StringArray>(rows, |r| r.text.clone())),
    ]
}

/// A column of some type and what its values are as features; for as many rows as there are seeds.
fn any_column(kind: usize, seeds: &[Option<i64>]) -> (ArrayRef, Vec<Value<'static>>) {
    macro_rules! column {
        ($array:ty, $value:expr, $feature:expr) => {{
            let values = seeds.iter().map(|seed| seed.map($value));
            let features = values
                .clone()
                .map(|value| value.map_or(Value::Null, $feature));
            let features: Vec<Value<'static>> = features.collect();
            (Arc::new(values.collect::<$array>()) as ArrayRef, features)
        }};
    }
    let text = |seed: i64| format!("t{}", seed % 7);
    match kind % 14 {
        0 => column!(Int8Array, |s| s as i8, |v| Value::Integer(v.into())),
        1 => column!(Int16Array, |s| s as i16, |v| Value::Integer(v.into())),
        2 => column!(Int32Array, |s| s as i32, |v| Value::Integer(v.into())),
        3 => column!(Int64Array, |s| s, Value::Integer),
        4 => column!(UInt8Array, |s| s as u8, |v| Value::Integer(v.into())),
        5 => column!(UInt16Array, |s| s as u16, |v| Value::Integer(v.into())),
        6 => column!(UInt32Array, |s| s as u32, |v| Value::Integer(v.into())),
        7 => column!(UInt64Array, |s| s.unsigned_abs() >> 1, |v| Value::Integer(
            v as i64
        )),
        8 => column!(Float64Array, |s| s as f64 / 8.0, Value::Number),
        9 => column!(BooleanArray, |s| s % 2 == 0, Value::Boolean),
        10 => column!(StringArray, text, |v: String| Value::Text(v.into())),
        11 => column!(LargeStringArray, text, |v: String| Value::Text(v.into())),
        12 => column!(StringViewArray, text, |v: String| Value::Text(v.into())),
        _ => {
            let texts: Vec<Option<String>> = seeds.iter().map(|seed| seed.map(text)).collect();
            let array: DictionaryArray<types::Int16Type> =
                texts.iter().map(Option::as_deref).collect();
            let feature =
                |text: Option<String>| text.map_or(Value::Null, |text| Value::Text(text.into()));
            (Arc::new(array), texts.into_iter().map(feature).collect())
        }
    }
}

fn as_arrow(rows: &[Row]) -> Vec<u8> {
    arrow_stream(as_columns(rows), Default::default())
}

/// In an order of its own, and without the lines, which formats count each in their way.
fn sorted(mut decoded: Decoded<PredictionBatch>) -> Decoded<PredictionBatch> {
    decoded.lines.clear();
    decoded.batch.features.sort_by(|a, b| a.name.cmp(&b.name));
    decoded
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_row_means_the_same_in_every_format(rows in vec(row(), 1..20)) {
        let lines: Vec<String> = rows.iter().map(as_json).collect();
        let bodies = [
            (Format::Ndjson, lines.join("\n").into_bytes()),
            (Format::Csv, as_csv(&rows)),
            (Format::Parquet, parquet_file(as_columns(&rows))),
            (Format::Arrow, as_arrow(&rows)),
        ];
        let json = format!("[{}]", lines.join(","));
        let json = sorted(predictions(Format::Json, json.as_bytes(), Task::Regression));
        prop_assert_eq!(json.rejects.first(), []);
        prop_assert_eq!(json.batch.len(), rows.len());
        for (format, body) in bodies {
            prop_assert_eq!(&sorted(predictions(format, &body, Task::Regression)), &json);
        }
    }

    #[test]
    fn any_bytes_are_answered(body in vec(any::<u8>(), 0..400)) {
        answer_everywhere(&body);
    }

    #[test]
    fn anything_like_json_or_csv_is_answered(
        body in r#"([\[\]{},:"\\\n ]|"prediction_id"|"features"|"timestamp"|"segments"|"predictions"|"x"|prediction_id,timestamp,x\n|\\ud800|-?[0-9]{1,25}|1e[0-9]{1,4}|true|null){0,60}"#
    ) {
        answer_everywhere(body.as_bytes());
    }

    #[test]
    fn damaged_columns_are_answered(
        rows in vec(row(), 1..20),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let bodies = [
            (Format::Parquet, parquet_file(as_columns(&rows))),
            (Format::Arrow, as_arrow(&rows)),
        ];
        for (format, mut body) in bodies {
            for (place, byte) in &damage {
                let place = place.index(body.len());
                body[place] = *byte;
            }
            if let Some(cut) = &cut {
                body.truncate(cut.index(body.len()));
            }
            if let Ok(decoded) = decode_predictions(format, &body, &expect(Task::Regression)) {
                let counted = decoded.batch.len() as u64 + decoded.rejects.total();
                prop_assert_eq!(decoded.received, counted);
            }
            let _ = decode_labels(format, &body, &expect(Task::Regression));
        }
    }

    /// Cut anywhere, a stream gives its whole batches or nothing, and never a row that was not sent.
    #[test]
    fn a_stream_that_is_cut_has_no_row_of_its_own(rows in vec(row(), 1..20), cut in any::<prop::sample::Index>()) {
        let whole = as_arrow(&rows);
        let cut = &whole[..cut.index(whole.len())];
        if let Ok(decoded) = decode_predictions(Format::Arrow, cut, &expect(Task::Regression)) {
            let sent: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            let found: Vec<&str> = decoded.batch.prediction_ids.iter().collect();
            prop_assert!(sent.starts_with(&found));
        }
    }

    #[test]
    fn columns_of_any_types_are_what_was_put_in(
        kinds in vec(0_usize..14, 1..8),
        seeds in vec(any::<Option<i64>>(), 1..30),
    ) {
        let names: Vec<String> = (0..kinds.len()).map(|column| format!("c{column}")).collect();
        let rows = seeds.len();
        let ids = (0..rows).map(|row| Some(format!("id {row}"))).collect::<StringArray>();
        let times = vec![at("2013-03-01T10:00:00Z").timestamp(); rows];
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("prediction_id", Arc::new(ids)),
            ("timestamp", Arc::new(TimestampSecondArray::from(times))),
            ("prediction", Arc::new(Float64Array::from(vec![1.0; rows]))),
        ];
        let mut expected = Vec::new();
        for (name, kind) in names.iter().zip(&kinds) {
            // Each column has its own nulls.
            let turned: Vec<Option<i64>> = seeds.iter().cycle().skip(*kind).take(rows).copied().collect();
            let (array, values) = any_column(*kind, &turned);
            columns.push((name, array));
            expected.push((name, values));
        }
        let bodies = [
            (Format::Arrow, arrow_stream(columns.clone(), Default::default())),
            (Format::Parquet, parquet_file(columns)),
        ];
        for (format, body) in bodies {
            let decoded = predictions(format, &body, Task::Regression);
            prop_assert_eq!(decoded.rejects.first(), []);
            for (name, values) in &expected {
                prop_assert_eq!(&feature(&decoded.batch, name), values, "{} of {:?}", name, format);
            }
        }
    }
}

/// Decodes as everything; what is received is kept or refused.
fn answer_everywhere(body: &[u8]) {
    for format in Format::ALL {
        for task in TASKS {
            together::check(format, body, task);
            if let Ok(decoded) = decode_predictions(format, body, &expect(task)) {
                let counted = decoded.batch.len() as u64 + decoded.rejects.total();
                assert_eq!(decoded.received, counted);
            }
            if let Ok(decoded) = decode_labels(format, body, &expect(task)) {
                let counted = decoded.batch.len() as u64 + decoded.rejects.total();
                assert_eq!(decoded.received, counted);
            }
        }
    }
}
