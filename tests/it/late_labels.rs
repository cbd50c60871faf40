//! Labels that come long after their predictions: objectives judge the hours in which they were observed, and rules look
//! back as far as labels take.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;

const BURNING: &str = "models:
  - name: fares
    task: regression
    window: hour
    monitors:
      - {name: promise, kind: objective, window: hour, objective: 0.95, right_within: 10}
receivers:
  - {name: on-call, email: {to: [oncall@example.org]}}
rules:
  - name: burning
    model: fares
    title: The budget of errors burns fast
    severity: critical
    receivers: [on-call]
    when: {monitor: promise, measure: fast_burn, status: drift}
";

/// A prediction a minute.
const ROWS: i64 = 24 * 60;

fn id(day: DateTime<Utc>, i: i64) -> String {
    format!("{}-{i}", day.format("%Y%m%d"))
}

fn predictions(day: DateTime<Utc>) -> Vec<Value> {
    let row = |i| {
        json!({
            "prediction_id": id(day, i),
            "timestamp": day + TimeDelta::minutes(i),
            "distance": 100,
            "prediction": 50.0,
        })
    };
    (0..ROWS).map(row).collect()
}

/// Labels that were observed ten minutes after their predictions; from an hour of the day on all say wrong.
fn labels(day: DateTime<Utc>, wrong_from: i64) -> Vec<Value> {
    let row = |i| {
        json!({
            "prediction_id": id(day, i),
            "label": if i >= 60 * wrong_from { 99.0 } else { 51.0 },
            "observed_at": day + TimeDelta::minutes(i + 10),
        })
    };
    (0..ROWS).map(row).collect()
}

/// The status of what is in force of `fast_burn` in the hour that begins then, and by how many labels.
async fn burn(app: &TestApp, hour: &str) -> Option<(Status, u64)> {
    let found = app.value("fares", "fast_burn", "", hour).await;
    found.map(|(_, status, labels)| (status, labels))
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn labels_of_a_nightly_batch_page_for_the_hours_in_which_they_were_observed(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(BURNING).await;
    app.version("fares", "v1").await;
    let night = async |day: &str, labels: Option<&[Value]>| {
        app.predict("fares", &predictions(at(day))).await;
        app.tick_at(at(day) + TimeDelta::hours(26)).await;
        if let Some(labels) = labels {
            app.label("fares", labels).await;
        }
        app.tick_at(at(day) + TimeDelta::minutes(27 * 60 + 10))
            .await;
    };
    night("2026-03-02", Some(&labels(at("2026-03-02"), 24))).await;
    assert_eq!(app.alerts().await, []);
    let quiet = burn(&app, "2026-03-02T12:00:00Z").await;
    assert_eq!(quiet.map(|(status, _)| status), Some(Status::Ok));

    // From six in the evening on everything was wrong, and it is told at three in the morning.
    night("2026-03-03", Some(&labels(at("2026-03-03"), 18))).await;
    for (hour, expected) in [
        ("2026-03-03T16:00:00Z", Status::Ok),
        ("2026-03-03T22:00:00Z", Status::Drift),
        ("2026-03-04T02:00:00Z", Status::Insufficient),
    ] {
        let found = burn(&app, hour).await;
        assert_eq!(found.map(|(status, _)| status), Some(expected), "{hour}");
    }
    assert_eq!(app.open_rules().await, ["burning"]);
    let opened = &app.alerts().await[0];
    assert!(!opened.late, "{opened:?}");
    assert_eq!(app.deliveries().await.len(), 1);

    // The labels stay away: that is no reason to believe that all is well.
    night("2026-03-04", None).await;
    let unknown = burn(&app, "2026-03-05T01:00:00Z").await;
    assert_eq!(
        unknown.map(|(status, _)| status),
        Some(Status::Insufficient)
    );
    assert_eq!(app.open_rules().await, ["burning"]);
    // Those of the day before come a day late, and say that it is.
    app.label("fares", &labels(at("2026-03-04"), 24)).await;
    app.tick("2026-03-05T04:00:00Z").await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
    assert_eq!(app.deliveries().await.len(), 2);

    // What was observed longer ago than people want to be woken for is noted only.
    app.predict("fares", &predictions(at("2026-03-05"))).await;
    app.tick("2026-03-08T03:00:00Z").await;
    app.label("fares", &labels(at("2026-03-05"), 18)).await;
    app.tick("2026-03-08T04:00:00Z").await;
    assert_eq!(app.open_rules().await, ["burning"]);
    let late = app.alerts().await.pop().expect("an alert");
    assert!(late.late, "{late:?}");
    assert_eq!(app.deliveries().await.len(), 2);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn labels_that_trickle_in_leave_a_row_of_an_old_hour_only_when_it_says_something_else(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(BURNING).await;
    app.version("fares", "v1").await;
    let day = at("2026-03-02");
    let all = labels(day, 24);
    app.predict("fares", &predictions(day)).await;
    app.label("fares", &all[..1_300]).await;
    app.tick("2026-03-03T06:00:00Z").await;
    let rows = async || {
        app.number("SELECT COUNT(*) FROM measurements WHERE window_start = '2026-03-02 21:00:00Z' AND measure = 'fast_burn'")
            .await
    };
    let before = burn(&app, "2026-03-02T21:00:00Z").await.expect("a value");
    assert_eq!((before.0, rows().await), (Status::Ok, 1));
    // Five more of the same hour are no news, and all the rest of the day is.
    app.label("fares", &all[1_300..1_305]).await;
    app.work().await;
    assert_eq!(
        (burn(&app, "2026-03-02T21:00:00Z").await, rows().await),
        (Some(before), 1)
    );
    app.label("fares", &all[1_305..]).await;
    app.work().await;
    let evening = burn(&app, "2026-03-02T23:00:00Z").await.expect("a value");
    assert_eq!(evening.0, Status::Ok);
}

const QUALITY: &str = "rules:
  - name: quality
    model: fares
    title: Fares are off
    severity: critical
    when: {monitor: quality, measure: mae, above: 2}
    needs: {rows: 10, coverage: 0.8}
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_rule_on_quality_sees_windows_that_have_their_labels_after_days(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let declared = format!("{}{QUALITY}", fares::configuration("fares"));
    let within = declared.replace("min_labels: 5", "min_labels: 5, labels_within: 10d");
    app.apply(&within).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    for _ in 0..9 {
        let today = app.clock.now();
        app.predict("fares", &fares::day(today, 40)).await;
        app.tick_at(today + TimeDelta::days(1)).await;
    }
    assert_eq!(app.alerts().await, []);
    // Nine days after the first predictions their labels are there, and those of no other day.
    app.label("fares", &fares::labels(at("2026-03-02"), 40, 3.0))
        .await;
    app.work().await;
    assert_eq!(app.open_rules().await, ["quality"]);
}
