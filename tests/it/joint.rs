//! Columns together in the service: two features that begin to go together while each stays as it was, named with what tells the
//! days apart; and what is said where nothing can be.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::compare::{Folder, document};
use crate::draws::mixed;

const ROWS: i64 = 240;

const CONFIGURATION: &str = "models:
  - name: fares
    task: regression
    window: day
    baselines:
      training: {file: training.ndjson}
    schema: {from: training}
    monitors:
      - name: drift
        kind: drift
        window: day
        baseline: training
        measures: [copula_correlation_change, random_features_mmd]
rules:
  - name: columns-moved
    model: fares
    title: Columns no longer go together as they did
    severity: warning
    when: {monitor: drift, measure: copula_correlation_change, status: drift}
  - name: rows-moved
    model: fares
    title: Rows as a whole are not those of the training data
    severity: warning
    when: {monitor: drift, measure: random_features_mmd, status: drift}
";

/// In that share of the rows the weight follows the distance; either is as it always was.
fn rows(day: DateTime<Utc>, of: std::ops::Range<i64>, together: f64) -> Vec<Value> {
    let number = day.timestamp() / 86_400;
    let row = |i: i64| {
        let of = |column| f64::from(mixed(number, i, column)) / 1_000.0;
        let distance = of(1);
        let follows = of(5) < together;
        let weight = if follows { distance } else { of(2) };
        let carrier = ["AA", "DL"][usize::from(of(3) < 0.5)];
        json!({
            "prediction_id": format!("{number}-{i}"),
            "timestamp": day + TimeDelta::hours(6) + TimeDelta::minutes(i),
            "distance": 1_000.0 * distance,
            "weight": 40.0 * weight,
            "carrier": carrier,
            "prediction": 100.0 * of(4),
        })
    };
    of.map(row).collect()
}

async fn started(pool: PgPool, days: i64) -> TestApp {
    let app = TestApp::start(pool, "2026-03-01").await;
    app.apply(CONFIGURATION).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &training(days)).await;
    app
}

fn training(days: i64) -> Vec<Value> {
    let day = |day| rows(at("2026-03-01") - TimeDelta::days(day), 0..ROWS, 0.0);
    (1..=days).flat_map(day).collect()
}

async fn live(app: &TestApp, days: i64, count: i64, together: f64) {
    for _ in 0..days {
        let today = app.clock.now();
        app.predict("fares", &rows(today, 0..count, together)).await;
        app.tick_at(today + TimeDelta::days(1)).await;
    }
}

async fn said(app: &TestApp, measure: &str, day: &str) -> StoredMeasurement {
    let found = (app.measured("fares").await.into_iter())
        .find(|m| m.measure == measure && m.window.start == at(day));
    found.unwrap_or_else(|| panic!("nothing is said by {measure} on {day}"))
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn columns_that_begin_to_go_together_open_a_ticket_that_names_them(pool: PgPool) {
    let app = started(pool, 28).await;
    live(&app, 5, ROWS, 0.0).await;
    for m in app.measured("fares").await {
        assert_eq!((m.status, m.feature.as_str()), (Status::Ok, ""), "{m:?}");
        assert!(
            m.value.is_some() && m.p_value.expect("a p-value") > 1e-3,
            "{m:?}"
        );
        assert_eq!((m.current_rows, m.reference_rows), (240, 28 * 240));
    }
    assert_eq!(app.open_rules().await, Vec::<String>::new());

    live(&app, 1, ROWS, 0.7).await;
    let found = said(&app, "copula_correlation_change", "2026-03-06").await;
    assert_eq!(found.status, Status::Drift, "{found:?}");
    let (low, high) = found.interval.expect("an interval");
    let value = found.value.expect("a value");
    assert!(value > 0.4 && low < value && value < high, "{found:?}");
    let recipe = &found.recipe["joint"];
    assert_eq!(
        recipe["pairs"][0]["features"],
        json!(["distance", "weight"])
    );
    assert_eq!(
        (&recipe["columns"], &recipe["reference_days"]),
        (&json!(3), &json!(28)),
        "the prediction and two numbers"
    );
    let words = found.recipe["detail"].as_str().expect("words");
    for part in [
        "correlation of distance and weight from ",
        "by chance about one such finding in 27 years of a model",
        "smallest change of a correlation seen in 1/7/28 days: 0.",
        "a classifier tells the day's rows from the baseline's with an area of 0.",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_eq!(app.open_rules().await, ["columns-moved"]);
    for promise in app.promises().await {
        assert_eq!(
            promise.errs,
            "by chance about one such finding in 27 years of a model"
        );
    }
    let alerts = app.alerts().await;
    let ticket = format!("/alerts/{}", alerts[0].alert_id);
    let page = app.reader().await.page(&ticket).await;
    assert!(
        page.contains("correlation of distance and weight"),
        "{page}"
    );

    // The distance of rows as a whole sees any change of shape, and takes longer for each.
    live(&app, 6, ROWS, 1.0).await;
    let distance = said(&app, "random_features_mmd", "2026-03-12").await;
    assert_eq!(distance.status, Status::Drift, "{distance:?}");
    assert_eq!(app.open_rules().await, ["columns-moved", "rows-moved"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn files_are_told_of_what_the_service_says_of_the_same_rows(pool: PgPool) {
    let app = started(pool, 28).await;
    let first = app.clock.now();
    live(&app, 4, ROWS, 0.0).await;
    live(&app, 3, ROWS, 0.4).await;

    let day = |number: i64| first + TimeDelta::days(number);
    let lines = |days: std::ops::Range<i64>| -> String {
        let together = |number: i64| if number >= 4 { 0.4 } else { 0.0 };
        let rows = days.flat_map(|number| rows(day(number), 0..ROWS, together(number)));
        rows.map(|row| format!("{row}\n")).collect()
    };
    let folder = Folder::new("together-as-the-service");
    let reference = folder.write("reference.ndjson", lines(-28..0));
    let current = folder.write("current.ndjson", lines(0..7));
    let told = document(&reference, &current, &[]);
    let told: Vec<&Value> = (told["measurements"].as_array().expect("a list").iter())
        .filter(|m| m["recipe"]["joint"].is_object())
        .collect();

    let stored = app.measured("fares").await;
    assert_eq!((stored.len(), told.len()), (14, 14));
    let mut findings = 0;
    for m in stored {
        let same = |one: &&&Value| {
            let start = one["window"]["start"].as_str().expect("a time");
            one["measure"] == m.measure.as_str() && at(&start[..10]) == m.window.start
        };
        let file = told.iter().find(same).expect("the same day");
        let near = |a: Option<f64>, b: &Value| match (a, b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs(),
            (a, b) => a == b,
        };
        assert!(near(m.value, &file["value"]), "{m:?} {file}");
        assert!(near(m.p_value, &file["p_value"]), "{m:?} {file}");
        assert!(
            near(m.interval.map(|of| of.0), &file["interval"][0]),
            "{m:?} {file}"
        );
        assert_eq!(m.status.as_str(), file["status"], "{m:?} {file}");
        assert_eq!(
            (m.current_rows, m.reference_rows),
            (
                file["current_rows"].as_u64().expect("a number"),
                file["reference_rows"].as_u64().expect("a number")
            )
        );
        let [stored, told] = [&m.recipe, &file["recipe"]].map(|recipe| {
            let joint = &recipe["joint"];
            let explained = recipe["detail"]
                .as_str()
                .is_some_and(|of| of.contains("a classifier"));
            (
                joint["columns"].clone(),
                joint["reference_days"].clone(),
                joint["window_days"].clone(),
                explained,
            )
        });
        assert_eq!(stored, told, "{m:?} {file}");
        findings += usize::from(m.status == Status::Drift);
    }
    assert!(findings >= 3, "{findings}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_rows_are_counted_again_and_few_rows_and_few_days_say_nothing(pool: PgPool) {
    let app = started(pool, 28).await;
    let late = app.clock.now();
    live(&app, 1, 20, 0.0).await;
    let few = said(&app, "copula_correlation_change", "2026-03-01").await;
    assert_eq!((few.status, few.value), (Status::Insufficient, None));
    app.predict("fares", &rows(late, 20..ROWS, 0.7)).await;
    app.work().await;
    let whole = said(&app, "copula_correlation_change", "2026-03-01").await;
    assert_eq!((whole.current_rows, whole.status), (240, Status::Drift));
    let kept = "SELECT COUNT(*) FROM joint_days";
    assert_eq!(app.number(kept).await, 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn damaged_days_are_left_out_and_a_damaged_reference_is_an_error_until_it_is_fitted_again(
    pool: PgPool,
) {
    const MEASURE: &str = "copula_correlation_change";
    let app = started(pool, 28).await;
    live(&app, 2, ROWS, 0.0).await;
    let damage = async |statement: &'static str| {
        let damaged = sqlx::query(statement).execute(&app.services.pool).await;
        assert!(damaged.expect("damaged").rows_affected() > 0, "{statement}");
    };
    damage("UPDATE joint_days SET sums = set_byte(sums, 9, 255 - get_byte(sums, 9))").await;
    live(&app, 1, ROWS, 0.0).await;
    let third = said(&app, MEASURE, "2026-03-03").await;
    assert_eq!(third.status, Status::Ok, "{third:?}");

    damage("UPDATE joint_references SET reference = set_byte(reference, 9, 255 - get_byte(reference, 9))").await;
    live(&app, 1, ROWS, 0.0).await;
    let fourth = said(&app, MEASURE, "2026-03-04").await;
    assert_eq!((fourth.status, fourth.value), (Status::Error, None));
    let cause = "what the baseline says of its columns together is damaged; fit the baseline again";
    assert_eq!(fourth.recipe["cause"], cause);

    app.fit("fares", "training", &training(28)).await;
    app.work().await;
    let fourth = said(&app, MEASURE, "2026-03-04").await;
    assert_eq!(fourth.status, Status::Ok, "{fourth:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_baseline_of_too_few_days_says_so(pool: PgPool) {
    let app = started(pool, 6).await;
    live(&app, 1, ROWS, 0.0).await;
    let said = said(&app, "random_features_mmd", "2026-03-01").await;
    assert_eq!(said.status, Status::Insufficient);
    assert_eq!(
        said.recipe["cause"],
        "the reference has too few rows, or too few days with rows enough"
    );
}
