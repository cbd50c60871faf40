//! Any bytes are answered, and good rows mean the same in every format.

use std::sync::Arc;

use arrow_array::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::files::parquet_file;
use super::*;

const FORMATS: [Format; 4] = [Format::Json, Format::Ndjson, Format::Csv, Format::Parquet];
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

fn as_parquet(rows: &[Row]) -> Vec<u8> {
    fn column<T, A: FromIterator<T> + Array + 'static>(
        rows: &[Row],
        value: impl Fn(&Row) -> T,
    ) -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<A>())
    }
    parquet_file(vec![
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
    ])
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
            (Format::Parquet, as_parquet(&rows)),
        ];
        let json = format!("[{}]", lines.join(","));
        let json = sorted(predictions(Format::Json, json.as_bytes(), Task::Regression));
        prop_assert_eq!(&json.rejects, &[]);
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
    fn a_damaged_parquet_file_is_answered(
        rows in vec(row(), 1..20),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = as_parquet(&rows);
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let _ = decode_predictions(Format::Parquet, &body, &expect(Task::Regression));
    }
}

/// Decodes as everything; what is received is kept or refused.
fn answer_everywhere(body: &[u8]) {
    for format in FORMATS {
        for task in TASKS {
            together::check(format, body, task);
            if let Ok(decoded) = decode_predictions(format, body, &expect(task)) {
                let counted = decoded.batch.len() + decoded.rejects.len();
                assert_eq!(decoded.received, counted as u64);
            }
            if let Ok(decoded) = decode_labels(format, body, &expect(task)) {
                let counted = decoded.batch.len() + decoded.rejects.len();
                assert_eq!(decoded.received, counted as u64);
            }
        }
    }
}
