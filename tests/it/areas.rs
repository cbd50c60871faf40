//! How well a binary model's scores rank, day by day, against the days of a baseline: quiet weeks, a lost order, too few labels.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::domain::window::Grain;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::draws::mixed;

const ROWS: i64 = 160;

const CONFIGURATION: &str = "models:
  - name: calls
    task: binary
    positive_class: buys
    window: day
    baselines:
      reference: {from: 2026-01-01, to: 2026-01-22}
    monitors:
      - name: quality
        kind: quality
        window: day
        baseline: reference
        min_labels: 20
        measures: [accuracy, error_rate_sequential, roc_auc_change]
rules:
  - name: worse
    model: calls
    title: More decisions are wrong than in the reference
    severity: critical
    when: {monitor: quality, measure: error_rate_sequential, status: drift}
  - name: order
    model: calls
    title: Scores no longer rank as in the reference
    severity: warning
    when: {monitor: quality, measure: roc_auc_change, status: drift}
";

fn number(day: DateTime<Utc>) -> i64 {
    day.timestamp() / 86_400
}

fn made_at(day: DateTime<Utc>, i: i64) -> DateTime<Utc> {
    day + TimeDelta::minutes(8 * i)
}

/// A call, and whether it sold: a quarter do. Nobody is predicted to buy, so the same share of decisions is wrong whether or not
/// the scores know something; where they do, buyers score 0.2 higher.
fn call(day: DateTime<Utc>, i: i64, ranks: bool) -> (Value, Value) {
    let of = |column| mixed(number(day), i, column);
    let buys = of(1) < 250;
    let high = if ranks { buys } else { of(2) < 250 };
    let score = f64::from(of(3)) / 1_000.0 * 0.25 + if high { 0.2 } else { 0.0 };
    let id = format!("{}-{i}", number(day));
    let prediction = json!({
        "prediction_id": id,
        "timestamp": made_at(day, i),
        "age": of(4),
        "prediction": "leaves",
        "score": score,
    });
    (prediction, sold(day, i, buys, 1))
}

fn sold(day: DateTime<Utc>, i: i64, buys: bool, hours: i64) -> Value {
    json!({
        "prediction_id": format!("{}-{i}", number(day)),
        "label": if buys { "buys" } else { "leaves" },
        "observed_at": made_at(day, i) + TimeDelta::hours(hours),
    })
}

async fn send(app: &TestApp, day: DateTime<Utc>, rows: i64, ranks: bool) {
    let (predictions, labels): (Vec<Value>, Vec<Value>) =
        (0..rows).map(|i| call(day, i, ranks)).unzip();
    app.predict("calls", &predictions).await;
    app.label("calls", &labels).await;
}

/// Lives through some days, until their labels are old enough to be compared.
async fn live(app: &TestApp, days: i64, rows: i64, ranks: bool) {
    for _ in 0..days {
        let today = Grain::Day.window_at(app.clock.now()).start;
        send(app, today, rows, ranks).await;
        app.tick_at(today + TimeDelta::hours(26)).await;
    }
}

/// The reference of January is there, and it is the night of 24 January.
async fn started(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-01-22T03:00:00Z").await;
    app.apply(CONFIGURATION).await;
    app.version("calls", "v1").await;
    for day in 0..21 {
        send(&app, at("2026-01-01") + TimeDelta::days(day), ROWS, true).await;
    }
    app.tick("2026-01-24T03:00:00Z").await;
    app
}

async fn said(app: &TestApp) -> Vec<StoredMeasurement> {
    let found = app.measured("calls").await;
    (found.into_iter())
        .filter(|m| m.measure == "roc_auc_change")
        .collect()
}

async fn of_day(app: &TestApp, day: &str) -> StoredMeasurement {
    let found = said(app).await.into_iter();
    let mut found = found.filter(|m| m.window.start == at(day));
    found
        .next()
        .unwrap_or_else(|| panic!("nothing is said of {day}"))
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn quiet_weeks_are_quiet_and_a_lost_order_is_found_within_days_though_no_decision_changes(
    pool: PgPool,
) {
    let app = started(pool).await;
    live(&app, 21, ROWS, true).await;
    let quiet = said(&app).await;
    let judged = quiet.iter().filter(|m| m.window.start >= at("2026-01-24"));
    let judged: Vec<&StoredMeasurement> = judged.collect();
    assert_eq!(judged.len(), 21);
    assert!(judged.iter().all(|m| m.status == Status::Ok), "{judged:?}");
    assert_eq!(app.open_rules().await, Vec::<String>::new());
    let reference = of_day(&app, "2026-01-10").await;
    assert_eq!(
        (reference.status, reference.recipe["cause"].as_str()),
        (
            Status::Insufficient,
            Some("the window is part of the reference")
        )
    );
    let last = of_day(&app, "2026-02-13").await;
    assert_eq!(last.recipe["area"]["reference_days"], 21);
    assert!(last.reference.is_some_and(|area| area > 0.8), "{last:?}");
    let words = last.recipe["detail"].as_str().expect("words");
    assert!(
        words.contains("by chance about once in 5 years of a model at most"),
        "{words}"
    );

    // From 14 February on scores are drawn without a look at who buys.
    live(&app, 5, ROWS, false).await;
    let found = of_day(&app, "2026-02-16").await;
    assert_eq!(found.status, Status::Drift, "{found:?}");
    assert!(found.value.expect("a value") < -0.1, "{found:?}");
    assert!(found.p_value.expect("a p-value") <= 0.001);
    let lost: Vec<StoredMeasurement> = said(&app).await.into_iter().rev().take(5).collect();
    assert_eq!(
        app.open_rules().await,
        ["order"],
        "no decision has changed: {lost:?}"
    );
    let alerts = app.alerts().await;
    assert!(
        alerts[0]
            .condition
            .contains("the area under the ROC curve has fallen to 0."),
        "{}",
        alerts[0].condition
    );

    // It ranks again: the windows that are over say nothing more once their newest days are well.
    live(&app, 8, ROWS, true).await;
    let after = of_day(&app, "2026-02-26").await;
    assert_eq!(after.status, Status::Ok, "{after:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_day_is_computed_once_and_days_measured_together_see_each_other(pool: PgPool) {
    let app = started(pool).await;
    // Six days come at once, with few labels each.
    for day in 0..6 {
        let day = at("2026-01-24") + TimeDelta::days(day);
        app.clock.advance_to(day + TimeDelta::hours(3));
        send(&app, day, 40, true).await;
    }
    app.tick("2026-01-31T03:00:00Z").await;
    let first = of_day(&app, "2026-01-24").await;
    assert_eq!(first.status, Status::Insufficient, "{first:?}");
    let cause = first.recipe["cause"].as_str().expect("a cause");
    assert!(
        cause.starts_with("no window has 20 labels of the rarer class: the last 28 days have "),
        "{cause}"
    );
    let sixth = of_day(&app, "2026-01-29").await;
    assert_eq!(sixth.status, Status::Ok, "{sixth:?}");
    let labels = sixth.recipe["area"]["labels"].as_u64().expect("labels");
    assert!(labels >= 20, "{sixth:?}");

    // All labels of the first day are corrected: the accuracy changes, and the day's area stands.
    let accuracy = app.value("calls", "accuracy", "", "2026-01-24").await;
    let day = at("2026-01-24");
    let other: Vec<Value> = (0..40).map(|i| sold(day, i, i % 2 == 0, 60)).collect();
    app.label("calls", &other).await;
    app.tick("2026-01-31T05:00:00Z").await;
    assert_ne!(
        accuracy,
        app.value("calls", "accuracy", "", "2026-01-24").await
    );
    let again = of_day(&app, "2026-01-24").await;
    assert!(again.measured_at > first.measured_at);
    assert_eq!(again.recipe["area"]["day"], first.recipe["area"]["day"]);

    // With another lag the days are others, and all of them are computed anew.
    app.apply(&CONFIGURATION.replace(
        "min_labels: 20",
        "min_labels: 20\n        labels_within: 2h",
    ))
    .await;
    app.work().await;
    let anew = of_day(&app, "2026-01-29").await;
    assert_ne!(
        anew.recipe["area"]["course"],
        sixth.recipe["area"]["course"]
    );
    assert_eq!(anew.recipe["area"]["lag_seconds"], 7_200.0);
    assert_eq!(anew.status, Status::Ok, "{anew:?}");
}
