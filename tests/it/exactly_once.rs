//! However often, in whatever order and in whatever parts the same rows arrive, and whoever settles them: what
//! is stored and measured is what one delivery gives.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use bellwether::domain::clock::{Clock, ReplayClock};
use bellwether::formats::Format;
use bellwether::services::Services;
use bellwether::services::ingest::{self, Upload};
use bellwether::storage::intake::BatchKind;
use bytes::Bytes;
use chrono::TimeDelta;
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at, lines, settle_all};
use crate::fares;
use crate::snapshot::{assert_profiles_equal_a_recount, snapshot};

/// As many streams of rows, unless `BELLWETHER_STREAMS` says otherwise.
const STREAMS: u64 = 20;

fn streams() -> u64 {
    let said = std::env::var("BELLWETHER_STREAMS").ok();
    said.map_or(STREAMS, |said| said.parse().expect("a number of streams"))
}

/// Three days of rows with everything that makes counting hard: nulls, absent and unexpected features, errors,
/// wrong types, values out of range, a second version.
fn awkward_rows(rng: &mut StdRng) -> Vec<Value> {
    let mut rows = Vec::new();
    for day in 0..3 {
        let day = at("2026-03-02") + TimeDelta::days(day);
        for i in 0..30 {
            let mut row = fares::prediction(day, i);
            match rng.random_range(0..14) {
                0 => row["distance"] = Value::Null,
                1 => row["distance"] = json!("far"),
                2 => row["distance"] = json!(5_000.0),
                3 => row["carrier"] = json!("ZZ"),
                // Nothing says whether this is to be a number.
                4 => {
                    let values = [json!(1.5), json!("some"), json!(true), Value::Null];
                    row["surprise"] = values[rng.random_range(0..values.len())].clone();
                }
                5 => row["error"] = json!("time-out"),
                6 => row["version"] = json!("v2"),
                7 => row["segments"] = json!({"origin": "LGA"}),
                8 => {
                    row.as_object_mut().expect("a row").remove("seats");
                }
                9 => {
                    row.as_object_mut().expect("a row").remove("latency_ms");
                }
                _ => {}
            }
            rows.push(row);
        }
    }
    rows
}

fn labels_of(rows: &[Value], rng: &mut StdRng) -> Vec<Value> {
    let mut labels: Vec<Value> = Vec::new();
    for (day, row) in rows.iter().enumerate() {
        if rng.random_range(0..4) == 0 {
            continue;
        }
        let label = |value: f64, hours: i64| {
            json!({
                "prediction_id": row["prediction_id"],
                "label": value,
                "observed_at": at("2026-03-06") + TimeDelta::hours(hours),
            })
        };
        labels.push(label(day as f64, 1));
        if rng.random_range(0..5) == 0 {
            labels.push(label(day as f64 + 3.0, 2));
        }
    }
    labels
}

/// Cuts rows into batches of random sizes.
fn cut(mut rows: Vec<Value>, rng: &mut StdRng) -> Vec<Vec<Value>> {
    rows.shuffle(rng);
    let mut batches = Vec::new();
    while !rows.is_empty() {
        let size = rng.random_range(1..=rows.len().min(40));
        batches.push(rows.drain(..size).collect());
    }
    batches
}

/// One delivery.
struct Parcel {
    kind: BatchKind,
    format: Format,
    rows: Vec<Value>,
}

async fn deliver(services: &Services, app: &TestApp, model: &str, parcel: &Parcel) {
    let upload = Upload {
        project_id: app.project,
        model,
        format: parcel.format,
        body: written(parcel.format, parcel.kind, &parcel.rows),
        version: None,
        generation: None,
    };
    match parcel.kind {
        BatchKind::Predictions => ingest::predictions(services, upload).await,
        BatchKind::Labels => ingest::labels(services, upload).await,
        BatchKind::Events => unreachable!("events have formats of their own"),
    }
    .expect("the batch is taken");
}

/// Lands one after the other, and settles in between: what a replica does.
async fn receive(services: &Services, app: &TestApp, model: &str, parcels: &[Parcel]) {
    for group in parcels.chunks(4) {
        for parcel in group {
            deliver(services, app, model, parcel).await;
        }
        settle_all(services).await;
    }
}

/// Rows as a body. CSV and the formats of columns take only rows that all have the same fields.
fn written(format: Format, kind: BatchKind, rows: &[Value]) -> Bytes {
    match format {
        Format::Ndjson => lines(rows),
        Format::Json => json!(rows).to_string().into(),
        Format::Csv => csv(rows),
        Format::SageMaker | Format::AzureMl => unreachable!("not among the formats tried"),
        Format::Parquet => {
            let batch = columns(kind, rows);
            let mut file = Vec::new();
            let mut writer =
                ArrowWriter::try_new(&mut file, batch.schema(), None).expect("a writer");
            writer.write(&batch).expect("written");
            writer.close().expect("closed");
            file.into()
        }
        Format::Arrow => {
            let batch = columns(kind, rows);
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
            writer.write(&batch).expect("written");
            writer.into_inner().expect("finished").into()
        }
    }
}

fn csv(rows: &[Value]) -> Bytes {
    let row = |row: &Value, of: fn(&String, &Value) -> String| {
        let fields = row.as_object().expect("a row").iter();
        let cells: Vec<String> = fields.map(|(name, value)| of(name, value)).collect();
        cells.join(",")
    };
    let cell = |_: &String, value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let header = rows
        .iter()
        .take(1)
        .map(|first| row(first, |name, _| name.clone()));
    let lines: Vec<String> = header.chain(rows.iter().map(|r| row(r, cell))).collect();
    lines.join("\n").into()
}

fn columns(kind: BatchKind, rows: &[Value]) -> RecordBatch {
    let texts = |name: &'static str| -> (&'static str, ArrayRef) {
        let texts = rows.iter().map(|row| row[name].as_str());
        (name, Arc::new(texts.collect::<StringArray>()))
    };
    let numbers = |name: &'static str| -> (&'static str, ArrayRef) {
        let numbers = rows.iter().map(|row| row[name].as_f64());
        (name, Arc::new(numbers.collect::<Float64Array>()))
    };
    let integers = |name: &'static str| -> (&'static str, ArrayRef) {
        let integers = rows.iter().map(|row| row[name].as_i64());
        (name, Arc::new(integers.collect::<Int64Array>()))
    };
    let columns = match kind {
        BatchKind::Predictions => vec![
            texts("prediction_id"),
            texts("timestamp"),
            numbers("prediction"),
            numbers("latency_ms"),
            numbers("distance"),
            integers("seats"),
            texts("carrier"),
            texts("origin"),
        ],
        BatchKind::Labels => vec![
            texts("prediction_id"),
            numbers("label"),
            texts("observed_at"),
        ],
        BatchKind::Events => unreachable!("events have formats of their own"),
    };
    RecordBatch::try_from_iter(columns).expect("columns fit")
}

/// Everything once and then up to five times more, each time in other parts; all in any order.
fn repeated(
    predictions: &[Value],
    labels: &[Value],
    formats: &[Format],
    rng: &mut StdRng,
) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    for (kind, rows) in [
        (BatchKind::Predictions, predictions),
        (BatchKind::Labels, labels),
    ] {
        for _ in 0..=rng.random_range(0..=5) {
            for rows in cut(rows.to_vec(), rng) {
                let format = formats[rng.random_range(0..formats.len())];
                parcels.push(Parcel { kind, format, rows });
            }
        }
    }
    parcels.shuffle(rng);
    parcels
}

async fn set_up(app: &TestApp, model: &str) {
    app.version(model, "v1").await;
    app.version(model, "v2").await;
    app.fit(model, "training", &fares::training()).await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn repeated_shuffled_and_split_deliveries_leave_what_one_delivery_leaves(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-06T12:00:00Z").await;
    let mut declared = String::from("models:\n");
    for seed in 0..streams() {
        declared.push_str(&fares::declared(&format!("once-{seed}")));
        declared.push_str(&fares::declared(&format!("often-{seed}")));
    }
    app.apply(&declared).await;
    let replica = app.replica().await;
    for seed in 0..streams() {
        let mut rng = StdRng::seed_from_u64(seed);
        let (once, often) = (format!("once-{seed}"), format!("often-{seed}"));
        set_up(&app, &once).await;
        set_up(&app, &often).await;
        let rows = awkward_rows(&mut rng);
        let labels = labels_of(&rows, &mut rng);

        app.predict(&once, &rows).await;
        app.label(&once, &labels).await;
        app.settle().await;

        let formats = [Format::Ndjson, Format::Json];
        let parcels = repeated(&rows, &labels, &formats, &mut rng);
        let (first, second) = parcels.split_at(parcels.len() / 2);
        tokio::join!(
            receive(&app.services, &app, &often, first),
            receive(&replica, &app, &often, second)
        );
    }
    replica.pool.close().await;
    app.tick("2026-03-07").await;
    for seed in 0..streams() {
        let (once, often) = (format!("once-{seed}"), format!("often-{seed}"));
        let (expected, got) = (snapshot(&app, &once).await, snapshot(&app, &often).await);
        assert_eq!(expected.predictions.len(), 90, "seed {seed}");
        got.assert_equals(&expected, &format!("seed {seed}"));
        for model in [&once, &often] {
            app.assert_conserved(model).await;
            assert_eq!(
                app.count(model, BatchKind::Predictions, "accepted").await,
                90
            );
            assert_eq!(
                app.count(model, BatchKind::Predictions, "conflicting")
                    .await,
                0
            );
        }
        let accepted = app.count(&once, BatchKind::Labels, "accepted").await;
        assert_eq!(
            app.count(&often, BatchKind::Labels, "accepted").await,
            accepted,
            "seed {seed}"
        );
        assert_profiles_equal_a_recount(&app, &often).await;
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_same_rows_are_the_same_in_every_format(pool: PgPool) {
    const FORMATS: [Format; 5] = [
        Format::Json,
        Format::Ndjson,
        Format::Csv,
        Format::Parquet,
        Format::Arrow,
    ];
    let app = TestApp::start(pool, "2026-03-04T12:00:00Z").await;
    let names = ["once", "often"];
    let declared: String = names.iter().map(|name| fares::declared(name)).collect();
    app.apply(&format!("models:\n{declared}")).await;
    let mut rng = StdRng::seed_from_u64(7);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for day in ["2026-03-02", "2026-03-03"] {
        rows.extend(fares::day(at(day), 60));
        labels.extend(fares::labels(at(day), 50, 1.5));
    }
    for name in names {
        app.version(name, "v1").await;
        app.fit(name, "training", &fares::training()).await;
    }
    app.predict("once", &rows).await;
    app.label("once", &labels).await;
    app.settle().await;
    let replica = app.replica().await;
    let mut parcels = Vec::new();
    for format in FORMATS {
        parcels.extend(repeated(&rows, &labels, &[format], &mut rng));
    }
    parcels.shuffle(&mut rng);
    let (first, second) = parcels.split_at(parcels.len() / 2);
    tokio::join!(
        receive(&app.services, &app, "often", first),
        receive(&replica, &app, "often", second)
    );
    replica.pool.close().await;
    app.tick("2026-03-05").await;
    let expected = snapshot(&app, "once").await;
    assert_eq!(
        (expected.predictions.len(), expected.outcomes.len()),
        (120, 100)
    );
    let got = snapshot(&app, "often").await;
    got.assert_equals(&expected, "every format");
    for kind in [BatchKind::Predictions, BatchKind::Labels] {
        assert_eq!(app.count("often", kind, "conflicting").await, 0);
        assert_eq!(app.count("often", kind, "rejected").await, 0);
    }
    app.assert_conserved("often").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_id_sent_again_with_other_content_or_another_day_is_a_conflict_and_the_first_stays(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let first = fares::prediction(at("2026-03-02"), 1);
    app.predict("fares", std::slice::from_ref(&first)).await;
    app.settle().await;
    let before = snapshot(&app, "fares").await;

    let mut other_value = first.clone();
    other_value["prediction"] = json!(99.0);
    let mut other_day = first.clone();
    other_day["timestamp"] = json!(at("2026-03-01"));
    let mut other_feature = first.clone();
    other_feature["carrier"] = json!("ZZ");
    // Both in batches of their own, and twice within one.
    app.predict("fares", &[other_value.clone()]).await;
    app.predict("fares", &[other_day]).await;
    app.predict("fares", &[other_feature, first, other_value])
        .await;
    app.settle().await;

    assert_eq!(snapshot(&app, "fares").await, before);
    app.assert_conserved("fares").await;
    let count = async |outcome| app.count("fares", BatchKind::Predictions, outcome).await;
    assert_eq!(count("received").await, 6);
    assert_eq!(count("accepted").await, 1);
    // Judged against what is stored, not against what came last.
    assert_eq!(count("conflicting").await, 4);
    assert_eq!(count("duplicate").await, 1);
    let page = app.reader().await.page("/models/fares").await;
    assert!(page.contains(r#"data-label="Conflicting" class="n">4<"#));
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM prediction_keys").await, 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_body_of_more_rows_than_a_statement_may_have_parameters_is_settled_once(pool: PgPool) {
    const ROWS: i64 = 70_000;
    let app = TestApp::start(pool, "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let mut rows = "prediction_id,timestamp,prediction,distance\n".to_owned();
    let mut labels = "prediction_id,label,observed_at\n".to_owned();
    for n in 0..ROWS {
        rows += &format!("many-{n},2026-03-02T10:00:00Z,{n},{}\n", n % 700);
        labels += &format!("many-{n},{n},2026-03-02T11:00:00Z\n");
    }
    let upload = |body: &str| Upload {
        project_id: app.project,
        model: "fares",
        format: Format::Csv,
        body: body.to_owned().into(),
        version: None,
        generation: None,
    };
    for _ in 0..2 {
        let receipt = ingest::predictions(&app.services, upload(&rows)).await;
        assert_eq!(receipt.expect("taken").kept, 70_000);
        let receipt = ingest::labels(&app.services, upload(&labels)).await;
        assert_eq!(receipt.expect("taken").kept, 70_000);
        app.settle().await;
    }
    for kind in [BatchKind::Predictions, BatchKind::Labels] {
        for outcome in ["accepted", "duplicate"] {
            assert_eq!(app.count("fares", kind, outcome).await, ROWS, "{outcome}");
        }
    }
    app.assert_conserved("fares").await;
    let joined = "SELECT COUNT(DISTINCT prediction_id) FROM outcomes";
    assert_eq!(app.number(joined).await, ROWS);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn refused_rows_are_counted_by_reason_and_the_law_of_conservation_holds(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let good = fares::prediction(at("2026-03-02"), 1);
    let mut nul = good.clone();
    nul["prediction_id"] = json!("a\u{0}b");
    let mut unknown = fares::prediction(at("2026-03-02"), 2);
    unknown["version"] = json!("v9");
    let mut ancient = fares::prediction(at("2026-03-02"), 3);
    ancient["timestamp"] = json!("1999-01-01T00:00:00Z");
    let receipt = app.predict("fares", &[good, nul, unknown, ancient]).await;
    assert_eq!(
        (receipt.received, receipt.kept, receipt.rejected),
        (4, 1, 3)
    );
    let reasons: Vec<&str> = receipt.rejected_by_reason.keys().copied().collect();
    assert_eq!(
        reasons,
        ["nul_byte", "time_out_of_bounds", "unknown_version"]
    );
    app.settle().await;
    app.assert_conserved("fares").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_row_whose_classes_are_listed_in_another_order_is_still_the_same_row(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03T12:00:00Z").await;
    app.apply("models:\n  - {name: pets, task: multiclass, segments: [home, street]}")
        .await;
    app.version("pets", "v1").await;
    let row = |probabilities: &str, segments: &str, id: &str| -> Value {
        let text = format!(
            r#"{{"prediction_id": "{id}", "timestamp": "2026-03-02T10:00:00Z", "prediction": "cat",
                "probabilities": {probabilities}, "segments": {segments}}}"#
        );
        serde_json::from_str(&text).expect("a row")
    };
    let a = row(
        r#"{"cat": 0.75, "dog": 0.25}"#,
        r#"["home=a", "street=b"]"#,
        "1",
    );
    let b = row(
        r#"{"cat": 0.75, "dog": 0.25}"#,
        r#"["street=b", "home=a"]"#,
        "1",
    );
    // In the second body the classes are first seen the other way round.
    let opener = row(r#"{"dog": 1.0}"#, r#"["home=a"]"#, "2");
    app.predict("pets", &[a]).await;
    app.predict("pets", &[opener, b]).await;
    app.settle().await;
    let count = async |outcome| app.count("pets", BatchKind::Predictions, outcome).await;
    assert_eq!((count("accepted").await, count("duplicate").await), (2, 1));
    assert_eq!(count("conflicting").await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_landed_by_a_clock_that_was_ahead_does_not_wait_for_it(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    let row = fares::prediction(at("2026-03-02"), 1);
    let ahead = app.clock.now() + TimeDelta::hours(12);
    let mut fast = app.replica().await;
    fast.clock = Arc::new(ReplayClock::starting_at(ahead));
    let parcel = Parcel {
        kind: BatchKind::Predictions,
        format: Format::Ndjson,
        rows: vec![row],
    };
    deliver(&fast, &app, "fares", &parcel).await;
    fast.pool.close().await;
    settle_all(&app.services).await;
    let accepted = app.count("fares", BatchKind::Predictions, "accepted").await;
    assert_eq!(accepted, 1);
}
