//! Decoding, the part of the intake that is ours alone: predictions as NDJSON into columns, beside what
//! `serde_json` needs to parse the same lines into values that nothing has been checked of.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bellwether::domain::mapping::NO_COLUMNS;
use bellwether::domain::model::Task;
use bellwether::formats::{Expectations, Format, Limits, decode_predictions};
use chrono::DateTime;
use serde_json::{Value, json};

const ROWS: u32 = 20_000;
const ROUNDS: u32 = 7;
/// Checking, naming the fault of each row and building columns may cost this many times bare parsing.
const GOAL: f64 = 3.0;

fn main() {
    let body = body();
    let expect = Expectations {
        task: Task::Regression,
        default_version: Some("v1"),
        earliest: DateTime::UNIX_EPOCH,
        latest: DateTime::from_timestamp(2_000_000_000, 0).expect("a valid instant"),
        received_at: DateTime::UNIX_EPOCH,
        columns: &NO_COLUMNS,
        limits: Limits::default(),
    };
    let decoded = decode_predictions(Format::Ndjson, body.as_bytes(), &expect).expect("decodes");
    assert_eq!(decoded.received, u64::from(ROWS));
    assert!(decoded.rejects.is_empty());

    // In turns, so that a noisy moment meets both; the best round of each is the least disturbed.
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        ours = ours.min(time(|| {
            black_box(
                decode_predictions(Format::Ndjson, body.as_bytes(), &expect).expect("decodes"),
            );
        }));
        bare = bare.min(time(|| {
            for line in body.lines() {
                black_box(serde_json::from_str::<Value>(line).expect("parses"));
            }
        }));
    }
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    let verdict = if ratio <= GOAL { "met" } else { "short" };

    println!("figure ndjson_decode_times_bare_parse {ratio:.2} {GOAL} {verdict}");
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// Predictions with twenty numbers and ten categories each.
fn body() -> String {
    let mut body = String::new();
    for row in 0..ROWS {
        let mut features = serde_json::Map::new();
        for n in 0..20 {
            features.insert(
                format!("number_{n}"),
                json!(f64::from(row * 31 + n * 7) / 16.0),
            );
        }
        for n in 0..10 {
            features.insert(
                format!("category_{n}"),
                json!(format!("level-{}", (row + n) % 12)),
            );
        }
        let line = json!({
            "prediction_id": format!("p-{row}"),
            "timestamp": "2026-03-01T12:00:00Z",
            "prediction": f64::from(row % 97),
            "features": features,
        });
        body.push_str(&line.to_string());
        body.push('\n');
    }
    body
}
