//! However often, in whatever order and in whatever parts the same rows arrive, and whoever settles them: what
//! is stored and measured is what one delivery gives.

use bellwether::storage::intake::BatchKind;
use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at, settle_all};
use crate::fares;
use crate::snapshot::{assert_profiles_equal_a_recount, snapshot};

const SEEDS: u64 = 20;

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
                4 => row["surprise"] = json!(1.5),
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

async fn deliver(app: &TestApp, model: &str, kind: BatchKind, batch: &[Value]) {
    match kind {
        BatchKind::Predictions => app.predict(model, batch).await,
        BatchKind::Labels => app.label(model, batch).await,
    };
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
    for seed in 0..SEEDS {
        declared.push_str(&fares::declared(&format!("once-{seed}")));
        declared.push_str(&fares::declared(&format!("often-{seed}")));
    }
    app.apply(&declared).await;
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let (once, often) = (format!("once-{seed}"), format!("often-{seed}"));
        set_up(&app, &once).await;
        set_up(&app, &often).await;
        let rows = awkward_rows(&mut rng);
        let labels = labels_of(&rows, &mut rng);

        app.predict(&once, &rows).await;
        app.label(&once, &labels).await;
        app.settle().await;

        let mut batches = Vec::new();
        for (kind, rows) in [
            (BatchKind::Predictions, &rows),
            (BatchKind::Labels, &labels),
        ] {
            for batch in cut(rows.clone(), &mut rng) {
                for _ in 0..=rng.random_range(0..5) {
                    batches.push((kind, batch.clone()));
                }
            }
        }
        batches.shuffle(&mut rng);
        let twin = app.services.clone();
        for group in batches.chunks(7) {
            for (kind, batch) in group {
                deliver(&app, &often, *kind, batch).await;
            }
            // Two workers at once.
            tokio::join!(settle_all(&app.services), settle_all(&twin));
        }
    }
    app.tick("2026-03-07").await;
    for seed in 0..SEEDS {
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
    assert_eq!(count("conflicting").await + count("duplicate").await, 5);
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 1);
    assert_eq!(app.number("SELECT COUNT(*) FROM prediction_keys").await, 1);
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
