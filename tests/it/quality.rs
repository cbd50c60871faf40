//! What a quality monitor chooses to measure, from the configuration to the alert: measures with parameters,
//! fairness between groups, and what young windows are expected to become.

use bellwether::domain::measurement::Status;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};

const LOANS: &str = "
models:
  - name: loans
    task: binary
    positive_class: good
    window: day
    segments: [region]
    monitors:
      - name: quality
        kind: quality
        window: day
        min_labels: 50
        labels_within: 2d
        measures: [accuracy, specificity, brier, lift, value_per_prediction, demographic_parity_difference,
                   demographic_parity_ratio, equal_opportunity_difference]
        values: {true_positive: 10, false_positive: -50, true_negative: 0, false_negative: -5}
        groups: [region]
rules:
  - name: unequal
    model: loans
    title: Regions are not treated alike
    severity: warning
    when: {monitor: quality, measure: demographic_parity_difference, feature: region, above: 0.2}
";
const ROWS: i64 = 200;

fn is_predicted(i: i64) -> bool {
    i % 4 < 2
}

/// Labels of even rows come after six hours, and one in ten of them is against the prediction; those of odd rows
/// after thirty, and four in ten are.
fn is_good(i: i64) -> bool {
    let wrong = if i % 2 == 0 { i % 20 == 0 } else { i % 10 < 4 };
    is_predicted(i) != wrong
}

fn predictions(day: DateTime<Utc>) -> Vec<Value> {
    (0..ROWS)
        .map(|i| {
            json!({
                "prediction_id": format!("{}-{i}", day.date_naive()),
                "timestamp": day + TimeDelta::minutes(7 * i),
                "region": if i % 8 < 3 { "north" } else { "south" },
                "prediction": if is_predicted(i) { "good" } else { "bad" },
                "score": if is_predicted(i) { 0.8 } else { 0.3 },
            })
        })
        .collect()
}

fn labels(day: DateTime<Utc>, rest: i64) -> Vec<Value> {
    (0..ROWS)
        .filter(|i| i % 2 == rest)
        .map(|i| {
            let hours = if rest == 0 { 6 } else { 30 };
            json!({
                "prediction_id": format!("{}-{i}", day.date_naive()),
                "label": if is_good(i) { "good" } else { "bad" },
                "observed_at": day + TimeDelta::minutes(7 * i) + TimeDelta::hours(hours),
            })
        })
        .collect()
}

/// The value in force of a measure over the day that starts at `start`.
async fn measured(app: &TestApp, measure: &str, start: &str) -> StoredMeasurement {
    let all = app.measured("loans").await;
    let found = all
        .into_iter()
        .find(|m| m.measure == measure && m.window.start == at(start) && m.segment.is_overall());
    found.unwrap_or_else(|| panic!("{measure} of {start} is not measured"))
}

fn is_near(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 1e-9)
}

/// A day whose labels are in, and one of which only the early ones are, at six in the morning after.
async fn with_a_young_window(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(LOANS).await;
    app.version("loans", "v1").await;
    let (old, young) = (at("2026-03-02"), at("2026-03-04"));
    app.predict("loans", &predictions(old)).await;
    app.tick("2026-03-03T12:00:00Z").await;
    app.label("loans", &labels(old, 0)).await;
    app.label("loans", &labels(old, 1)).await;
    app.tick("2026-03-04").await;
    app.predict("loans", &predictions(young)).await;
    app.tick("2026-03-05").await;
    app.label("loans", &labels(young, 0)).await;
    app.tick("2026-03-05T06:00:00Z").await;
    app
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn chosen_measures_are_measured_with_their_parameters_and_no_others(pool: PgPool) {
    let app = with_a_young_window(pool).await;
    let old = "2026-03-02";
    let worth: i64 = (0..ROWS)
        .map(|i| match (is_predicted(i), is_good(i)) {
            (true, true) => 10,
            (true, false) => -50,
            (false, false) => 0,
            (false, true) => -5,
        })
        .sum();
    let value = measured(&app, "value_per_prediction", old).await;
    assert!(
        is_near(value.value, worth as f64 / ROWS as f64),
        "{value:?}"
    );
    let (low, high) = value.interval.expect("many labels");
    assert!(low < worth as f64 / ROWS as f64 && worth as f64 / (ROWS as f64) < high);

    let lift = measured(&app, "lift", old).await;
    // All predicted ones have the same score, so a tenth of all is a fifth of those, mixed as they are.
    let (good, good_predicted) = ((0..ROWS).filter(|i| is_good(*i)).count(), {
        let both = (0..ROWS).filter(|i| is_good(*i) && is_predicted(*i));
        both.count()
    });
    let expected = (good_predicted as f64 / 100.0) / (good as f64 / ROWS as f64);
    assert!(is_near(lift.value, expected), "{lift:?}");
    let method = lift.recipe["method"].as_str().expect("a method");
    assert!(method.contains("of the 0.1000 of predictions"), "{method}");

    let all = app.measured("loans").await;
    assert!(all.iter().all(|m| m.measure != "roc_auc"));

    // A tenth of the young window's hundred labels are ten: too few to carry the value.
    let lift = measured(&app, "lift", "2026-03-04").await;
    assert_eq!(lift.status, Status::Insufficient);
    let cause = lift.recipe["cause"].as_str().expect("a cause");
    assert!(cause.contains("only 10 of the labels carry"), "{cause}");
    let accuracy = measured(&app, "accuracy", "2026-03-04").await;
    assert_eq!(accuracy.status, Status::Ok);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn groups_that_are_treated_differently_open_an_alert(pool: PgPool) {
    let app = with_a_young_window(pool).await;
    // Two of three in the north are predicted good, and two of five in the south.
    let parity = measured(&app, "demographic_parity_difference", "2026-03-02").await;
    assert_eq!(
        (parity.feature.as_str(), parity.status),
        ("region", Status::Ok)
    );
    assert!(is_near(parity.value, 2.0 / 3.0 - 2.0 / 5.0), "{parity:?}");
    let (low, high) = parity.interval.expect("two large groups");
    assert!(
        0.1 < low && low < 4.0 / 15.0 && 4.0 / 15.0 < high && high < 0.45,
        "{low} {high}"
    );
    let method = parity.recipe["method"].as_str().expect("a method");
    assert!(
        method.contains("highest \"north\" (0.667 of 75), lowest \"south\" (0.400 of 125)"),
        "{method}"
    );
    let ratio = measured(&app, "demographic_parity_ratio", "2026-03-02").await;
    assert!(is_near(ratio.value, 0.6), "{ratio:?}");
    let history: Vec<String> = app
        .alerts()
        .await
        .iter()
        .map(|alert| alert.rule.clone())
        .collect();
    assert_eq!(history, ["unequal"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_young_window_says_how_young_it_is_and_what_it_is_expected_to_become(pool: PgPool) {
    let app = with_a_young_window(pool).await;
    let young = "2026-03-04";
    let coverage = measured(&app, "label_coverage", young).await;
    assert!(is_near(coverage.value, 0.5), "{coverage:?}");
    let completeness = measured(&app, "label_completeness", young).await;
    assert!(is_near(completeness.value, 0.5), "{completeness:?}");
    let method = completeness.recipe["method"].as_str().expect("a method");
    assert!(
        method.contains("it matures at 2026-03-06 06:00"),
        "{method}"
    );

    let accuracy = measured(&app, "accuracy", young).await;
    assert!(is_near(accuracy.value, 0.9), "{accuracy:?}");
    let projected = &accuracy.recipe["projected"];
    assert!(is_near(projected["value"].as_f64(), 0.75), "{projected}");
    let end = |key: &str| projected[key].as_f64().expect("an end");
    assert!(
        end("low") < 0.75 && 0.75 < end("high") && end("high") < 0.9,
        "{projected}"
    );
    let note = projected["note"].as_str().expect("a note");
    assert!(
        note.starts_with("a projection, not a measurement: 50 %"),
        "{note}"
    );

    app.tick("2026-03-06").await;
    app.label("loans", &labels(at(young), 1)).await;
    app.tick("2026-03-06T12:00:00Z").await;
    let accuracy = measured(&app, "accuracy", young).await;
    assert!(is_near(accuracy.value, 0.75), "{accuracy:?}");
    assert_eq!(
        accuracy.recipe["projected"],
        Value::Null,
        "what is final needs no projection"
    );
    let completeness = measured(&app, "label_completeness", young).await;
    assert!(is_near(completeness.value, 1.0), "{completeness:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn without_old_labels_nothing_is_said_of_maturity(pool: PgPool) {
    let app = with_a_young_window(pool).await;
    let first = measured(&app, "label_completeness", "2026-03-02").await;
    assert_eq!((first.value, first.status), (None, Status::Insufficient));
    let cause = first.recipe["cause"].as_str().expect("a cause");
    assert!(cause.contains("old enough"), "{cause}");
}
