//! Measures of rows in the service: the baseline's sample against the window's.

use bellwether::domain::measurement::Status;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};

const MEASURES: &str = "domain_classifier_auc, correlation_change, reconstruction_error_change, unseen_words, \
                        text_length_distance, language_profile, hour_profile, weekday_profile, age_distance, \
                        attribution_ndcg";

fn configuration() -> String {
    let declared = |name: &str| {
        format!(
            "  - name: {name}
    task: regression
    window: day
    baselines:
      training: {{file: training.ndjson}}
    schema:
      from: training
      features:
        note: {{type: text}}
        asked: {{type: timestamp}}
    monitors:
      - name: rows
        kind: drift
        window: day
        baseline: training
        min_rows: 50
        measures: [{MEASURES}]
        thresholds: {{correlation_change: 0.3, hour_profile: 0.5}}
"
        )
    };
    format!("models:\n{}{}", declared("fares"), declared("twin"))
}

/// A number from 0 to 1 that looks random.
fn uniform(row: i64, purpose: u64) -> f64 {
    let mixed = (row.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ purpose.wrapping_mul(0xbf58_476d_1ce4_e5b9))
    .wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64
        / (1_u64 << 53) as f64
}

/// Rows in which distance and price go together unless they come apart, with everything else that has changed then.
fn rows(numbers: std::ops::Range<i64>, changed: bool) -> Vec<Value> {
    let words = if changed {
        ["invoice", "unpaid", "reminder"]
    } else {
        ["window", "aisle", "baggage"]
    };
    let row = |row: i64| {
        let distance = uniform(row, 1);
        let price = if changed { uniform(row, 2) } else { distance } + 0.2 * uniform(row, 3);
        let note: Vec<&str> = (0..5)
            .map(|at| words[(uniform(row, 10 + at) * 3.0) as usize])
            .collect();
        let hour = if changed { 2 } else { 14 };
        let (one, other) = if changed { (0.1, 2.0) } else { (2.0, 0.1) };
        json!({
            "distance": distance, "price": price,
            "class": if uniform(row, 4) < 0.3 { "business" } else { "economy" },
            "note": note.join(" "),
            "asked": format!("2026-02-{:02}T{:02}:{:02}:00Z", 1 + row % 28, hour, row % 60),
            "attribution.distance": one * uniform(row, 5), "attribution.price": -other * uniform(row, 6),
            "prediction": distance,
        })
    };
    numbers.map(row).collect()
}

/// The same as predictions of a day.
fn predictions(day: &str, numbers: std::ops::Range<i64>, changed: bool) -> Vec<Value> {
    let mut rows = rows(numbers, changed);
    for (number, row) in rows.iter_mut().enumerate() {
        row["prediction_id"] = json!(format!("{day}-{number}"));
        row["timestamp"] = json!(at(day) + chrono::TimeDelta::seconds(10 * number as i64));
    }
    rows
}

async fn start(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&configuration()).await;
    for model in ["fares", "twin"] {
        app.version(model, "v1").await;
        app.fit(model, "training", &rows(0..600, false)).await;
    }
    app
}

async fn status(app: &TestApp, measure: &str, feature: &str, day: &str) -> Status {
    let value = app.value("fares", measure, feature, day).await;
    value
        .unwrap_or_else(|| panic!("{measure} of {feature:?} is measured"))
        .1
}

const MEASURED: [(&str, &str); 9] = [
    ("domain_classifier_auc", ""),
    ("correlation_change", ""),
    ("reconstruction_error_change", ""),
    ("attribution_ndcg", ""),
    ("unseen_words", "note"),
    ("text_length_distance", "note"),
    ("language_profile", "note"),
    ("hour_profile", "asked"),
    ("weekday_profile", "asked"),
];

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_changes_in_rows_is_measured_once_per_window_and_explained(pool: PgPool) {
    let app = start(pool).await;
    app.predict("fares", &predictions("2026-03-02", 600..1_000, false))
        .await;
    app.tick("2026-03-03").await;
    app.predict("fares", &predictions("2026-03-03", 1_000..1_400, true))
        .await;
    app.tick("2026-03-04").await;
    for (measure, feature) in MEASURED {
        assert_eq!(
            status(&app, measure, feature, "2026-03-02").await,
            Status::Ok,
            "{measure}"
        );
    }
    let changed = ["correlation_change", "attribution_ndcg"].map(|measure| (measure, ""));
    let changed = changed
        .into_iter()
        .chain([("unseen_words", "note"), ("hour_profile", "asked")]);
    for (measure, feature) in changed {
        assert_eq!(
            status(&app, measure, feature, "2026-03-03").await,
            Status::Drift,
            "{measure}"
        );
    }
    // A file does not say when its rows were.
    assert_eq!(
        status(&app, "age_distance", "asked", "2026-03-03").await,
        Status::Insufficient
    );
    let measured = app.measured("fares").await;
    let found: Vec<_> = measured
        .iter()
        .filter(|m| m.measure == "correlation_change")
        .collect();
    assert_eq!(found.len(), 2, "once per window");
    let moved = found
        .iter()
        .find(|m| m.status == Status::Drift)
        .expect("one drifted");
    assert_eq!(moved.recipe["explained_by"][0]["feature"], "distance");
    assert_eq!(moved.recipe["explained_by"][1]["feature"], "price");
    let method = moved.recipe["method"].as_str().expect("words");
    assert!(
        method.contains("all 600 rows of the reference, all 400 rows of the current data, seed 1"),
        "{method}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_order_in_which_rows_come_changes_nothing(pool: PgPool) {
    let app = start(pool).await;
    // More than a sample has.
    let mut rows = predictions("2026-03-02", 600..5_600, false);
    app.predict("fares", &rows).await;
    rows.reverse();
    for part in rows.chunks(1_700) {
        app.predict("twin", part).await;
    }
    app.tick("2026-03-03").await;
    for (measure, feature) in MEASURED {
        let of = |model: &'static str| app.value(model, measure, feature, "2026-03-02");
        let (one, other) = (of("fares").await, of("twin").await);
        assert!(one.is_some_and(|(value, ..)| value.is_some()), "{measure}");
        assert_eq!(one, other, "{measure}");
    }
    let measured = app.measured("fares").await;
    let method = measured[0].recipe["method"].to_string();
    assert!(method.contains("rows by a hash of their ids"), "{method}");
}

/// Rows whose feature is an embedding that may have moved, and some of them broken in different ways.
fn embeddings(numbers: std::ops::Range<i64>, by: f64, broken: bool) -> Vec<Value> {
    let row = |row: i64| {
        let mut vector: Vec<Value> = (0..6)
            .map(|at| json!(uniform(row, 20 + at) + if at == 2 { by } else { 0.0 }))
            .collect();
        match row % 10 {
            3 if broken => vector.truncate(4),
            5 if broken => vector[1] = Value::Null,
            _ => {}
        }
        let vector = match row % 10 {
            7 if broken => json!(1.5),
            9 if broken => Value::Null,
            _ => json!(vector),
        };
        json!({"embedding": vector, "prediction": 1.0})
    };
    numbers.map(row).collect()
}

fn sent(day: &str, mut rows: Vec<Value>) -> Vec<Value> {
    for (number, row) in rows.iter_mut().enumerate() {
        row["prediction_id"] = json!(format!("{day}-{number}"));
        row["timestamp"] = json!(at(day) + chrono::TimeDelta::seconds(10 * number as i64));
    }
    rows
}

const OF_VECTORS: &str = "models:
  - name: fares
    task: regression
    window: day
    baselines:
      training: {file: training.ndjson}
    schema:
      from: training
      features:
        embedding: {type: vector, min: 6, max: 6}
    monitors:
      - name: rows
        kind: drift
        window: day
        baseline: training
        min_rows: 50
        measures: [domain_classifier_auc, mean_shift, maximum_mean_discrepancy, psi]
      - name: schema
        kind: schema
        window: day
        min_rows: 50
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn vectors_that_move_and_vectors_that_are_none_are_told_apart(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(OF_VECTORS).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &embeddings(0..600, 0.0, false))
        .await;
    let days = [
        ("2026-03-02", 0.0, false),
        ("2026-03-03", 0.5, false),
        ("2026-03-04", 0.0, true),
    ];
    for (first, (day, by, broken)) in (1_i64..).zip(days) {
        let rows = embeddings(1_000 * first..1_000 * first + 400, by, broken);
        app.predict("fares", &sent(day, rows)).await;
        app.tick_at(at(day) + chrono::TimeDelta::days(1)).await;
    }
    let measures = [
        "domain_classifier_auc",
        "mean_shift",
        "maximum_mean_discrepancy",
    ];
    for measure in measures {
        let on = async |day| status(&app, measure, "embedding", day).await;
        assert_eq!(on("2026-03-02").await, Status::Ok, "{measure}");
        assert_eq!(
            on("2026-03-04").await,
            Status::Ok,
            "{measure} of what is left"
        );
    }
    let moved = status(&app, "domain_classifier_auc", "embedding", "2026-03-03").await;
    assert_eq!(moved, Status::Drift);
    let shift = async |day| {
        let shift = app.value("fares", "mean_shift", "embedding", day).await;
        shift.and_then(|(value, ..)| value).expect("a distance")
    };
    let (before, after) = (shift("2026-03-02").await, shift("2026-03-03").await);
    assert!(
        before < 0.1 && (after - 0.5).abs() < 0.1,
        "{before} {after}"
    );
    // Counts have nothing but lengths.
    let psi = app.value("fares", "psi", "embedding", "2026-03-02").await;
    assert_eq!(psi, None);
    for (measure, share) in [
        ("out_of_range", 1.0 / 7.0),
        ("nan_share", 0.1),
        ("wrong_type", 1.0 / 9.0),
        ("null_share", 0.1),
    ] {
        let before = app.value("fares", measure, "embedding", "2026-03-03").await;
        assert!(
            before.is_none_or(|(value, ..)| value == Some(0.0)),
            "{measure}"
        );
        let now = app.value("fares", measure, "embedding", "2026-03-04").await;
        let (value, status, _) = now.unwrap_or_else(|| panic!("{measure} is told"));
        assert_eq!(status, Status::Drift, "{measure}");
        let value = value.expect("a share");
        assert!((value - share).abs() < 0.03, "{measure}: {value}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn too_few_rows_are_insufficient(pool: PgPool) {
    let app = start(pool).await;
    app.predict("fares", &predictions("2026-03-02", 600..640, true))
        .await;
    app.tick("2026-03-03").await;
    for (measure, feature) in MEASURED {
        assert_eq!(
            status(&app, measure, feature, "2026-03-02").await,
            Status::Insufficient,
            "{measure}"
        );
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_damaged_sample_is_an_error_until_the_baseline_is_fitted_again(pool: PgPool) {
    let app = start(pool).await;
    sqlx::query(
        "UPDATE baseline_samples SET sample = set_byte(sample, 40, get_byte(sample, 40) # 16)",
    )
    .execute(&app.services.pool)
    .await
    .expect("is damaged");
    app.predict("fares", &predictions("2026-03-02", 600..900, false))
        .await;
    app.tick("2026-03-03").await;
    for measure in ["domain_classifier_auc", "unseen_words"] {
        assert_eq!(
            status(&app, measure, "", "2026-03-02").await,
            Status::Error,
            "{measure}"
        );
    }
    // The file it was fitted on mends it.
    app.fit("fares", "training", &rows(0..600, false)).await;
    app.tick("2026-03-04").await;
    for (measure, feature) in MEASURED {
        assert_eq!(
            status(&app, measure, feature, "2026-03-02").await,
            Status::Ok,
            "{measure}"
        );
    }
    // A baseline from before there were samples.
    sqlx::query("DELETE FROM baseline_samples")
        .execute(&app.services.pool)
        .await
        .expect("are gone");
    app.predict("fares", &predictions("2026-03-04", 900..1_200, false))
        .await;
    app.tick("2026-03-05").await;
    assert_eq!(
        status(&app, "unseen_words", "", "2026-03-04").await,
        Status::Insufficient
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_baseline_on_a_window_knows_the_ages_of_dates(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&configuration().replace(
        "training: {file: training.ndjson}",
        "training: {file: training.ndjson}\n      lately: {from: 2026-03-02, to: 2026-03-03}",
    ).replace("baseline: training\n        min", "baseline: lately\n        min")).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &rows(0..200, false)).await;
    app.predict("fares", &predictions("2026-03-02", 600..1_000, false))
        .await;
    app.tick("2026-03-04").await;
    app.predict("fares", &predictions("2026-03-04", 1_000..1_300, false))
        .await;
    app.tick("2026-03-05").await;
    assert_eq!(
        status(&app, "age_distance", "asked", "2026-03-04").await,
        Status::Ok
    );
}
