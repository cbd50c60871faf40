//! The default drift detector by the hour: quiet through nights, mornings and weekends, and there within hours when a
//! feature moves.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::draws::mixed;

const CONFIGURATION: &str = "models:
  - name: fares
    task: regression
    window: hour
    baselines:
      training: {file: training.ndjson}
    schema: {from: training}
    monitors:
      - {name: drift, kind: drift, window: hour, baseline: training}
rules:
  - name: inputs-moved
    model: fares
    title: Inputs have moved away from the training data
    severity: warning
    when: {monitor: drift, measure: shift, status: drift}
";

/// Rows of an hour: eighty by day, thirty by night.
fn usual(hour: DateTime<Utc>) -> i64 {
    if (6..22).contains(&hour.hour()) {
        80
    } else {
        30
    }
}

/// The `i`th row of an hour. Distances are longer in the evening and at weekends, and each hour leans a little to one
/// side; `moved` is how far the middle of the distances is from where it was, within their range.
fn row(hour: DateTime<Utc>, i: i64, moved: f64) -> Value {
    let number = hour.timestamp() / 3_600;
    let lean = f64::from(i32::try_from(number * 7 % 5).expect("small") - 2) * 4.0;
    let evening = 60.0 * (f64::from(hour.hour()) / 24.0 * std::f64::consts::TAU).cos();
    let weekend = matches!(hour.weekday(), Weekday::Sat | Weekday::Sun);
    let usual = lean + evening + if weekend { 80.0 } else { 0.0 };
    let rank = f64::from(mixed(number, i, 1)) / 1_000.0;
    let carriers = ["AA", "DL", "UA"];
    json!({
        "prediction_id": format!("{number}-{i}"),
        "timestamp": hour + TimeDelta::seconds(i * 30),
        "distance": 1_000.0 * rank + (usual + moved) * 4.0 * rank * (1.0 - rank),
        "carrier": carriers[usize::try_from(mixed(number, i, 3) % 3).expect("small")],
        "prediction": f64::from(mixed(number, i, 4)) / 10.0,
    })
}

fn rows(hour: DateTime<Utc>, of: std::ops::Range<i64>, moved: f64) -> Vec<Value> {
    of.map(|i| row(hour, i, moved)).collect()
}

/// Three weeks up to Saturday, 21 February.
fn training_rows() -> Vec<Value> {
    let hours = (0..21 * 24).map(|hour| at("2026-02-01") + TimeDelta::hours(hour));
    hours
        .flat_map(|hour| rows(hour, 0..usual(hour), 0.0))
        .collect()
}

async fn started(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-02-22").await;
    app.apply(CONFIGURATION).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &training_rows()).await;
    app
}

/// Lives through some hours, one after the other.
async fn live(app: &TestApp, hours: i64, moved: f64) {
    for _ in 0..hours {
        let hour = app.clock.now();
        app.predict("fares", &rows(hour, 0..usual(hour), moved))
            .await;
        app.tick_at(hour + TimeDelta::hours(1)).await;
    }
}

async fn shifts(app: &TestApp) -> Vec<StoredMeasurement> {
    let mut measured = app.measured("fares").await;
    measured.retain(|m| m.measure == "shift");
    measured
}

async fn shift(app: &TestApp, feature: &str, hour: DateTime<Utc>) -> StoredMeasurement {
    let found = shifts(app)
        .await
        .into_iter()
        .find(|m| m.feature == feature && m.window.start == hour);
    found.unwrap_or_else(|| panic!("nothing is said of {feature} at {hour}"))
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn two_days_with_their_pattern_are_quiet_and_a_change_is_named_within_hours(pool: PgPool) {
    let app = started(pool).await;
    // A Sunday and a Monday.
    live(&app, 48, 0.0).await;
    let quiet = shifts(&app).await;
    assert_eq!(quiet.len(), 48 * 3, "two features and the prediction");
    // The first night has too few rows for any window; then there are enough before each hour.
    let (first, rest): (Vec<_>, Vec<_>) =
        (quiet.iter()).partition(|m| m.window.start < at("2026-02-22") + TimeDelta::hours(1));
    for m in first {
        assert_eq!((m.status, m.value), (Status::Insufficient, None), "{m:?}");
        assert_eq!(
            m.recipe["cause"],
            "fewer than 50 values in the last hour and in the last six; with so few rows judge days: `window: day`"
        );
    }
    for m in rest {
        assert_eq!(m.status, Status::Ok, "{m:?}");
    }
    assert_eq!(app.open_rules().await, Vec::<String>::new());

    // From Tuesday's midnight on, and rows are few by night.
    let change = app.clock.now();
    live(&app, 6, 400.0).await;
    let mut found = shifts(&app).await;
    found.retain(|m| m.status == Status::Drift);
    assert!(
        found
            .iter()
            .all(|m| m.feature == "distance" && m.window.start >= change)
    );
    let last = shift(&app, "distance", change + TimeDelta::hours(5)).await;
    assert_eq!(last.status, Status::Drift, "{last:?}");
    let recipe = &last.recipe["shift"];
    assert_eq!(
        (&recipe["detector"], &recipe["unit"]),
        (&json!("hours/1"), &json!("hour"))
    );
    assert_eq!(recipe["since"], "2026-02-24T00:00:00Z", "{recipe}");
    assert_eq!(
        (
            &recipe["footing"],
            &recipe["reference_days"],
            &recipe["reference_hours"]
        ),
        (&json!("days"), &json!(21), &json!(21 * 24))
    );
    assert!(
        recipe["window_hours"].is_number() && recipe["window_days"].is_null(),
        "{recipe}"
    );
    let words = last.recipe["detail"].as_str().expect("words");
    for expected in [
        "since 24 February 2026, 00:00 UTC, seen over ",
        "about one false ticket per model and year",
        "`window: day` sees as much",
        "smallest change seen in 1 hour",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }

    assert_eq!(app.open_rules().await, ["inputs-moved"]);
    let alerts = app.alerts().await;
    assert!(
        alerts[0].condition.starts_with("distance shift: "),
        "{:?}",
        alerts[0]
    );
    let reader = app.reader().await;
    let page = reader.page("/models/fares").await;
    for expected in [
        "504 hours of 21 days from",
        "The same, judged by the hour",
        "a pattern of the day and the week by the hour",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    let kept = "SELECT COUNT(*) FROM shift_days WHERE grain = 'hour'";
    assert_eq!(app.number(kept).await, 54);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_rows_have_their_hour_and_those_after_it_judged_again(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 8, 0.0).await;
    let late = app.clock.now();
    app.predict("fares", &rows(late, 0..10, 0.0)).await;
    app.tick_at(late + TimeDelta::hours(1)).await;
    live(&app, 12, 0.0).await;
    assert_eq!(shift(&app, "distance", late).await.current_rows, 10);
    assert_eq!(app.open_rules().await, Vec::<String>::new());
    let superseded =
        "SELECT COUNT(*) FROM measurements WHERE measure = 'shift' AND superseded_at IS NOT NULL";
    assert_eq!(app.number(superseded).await, 0);

    // Counts that are damaged are made anew on the way.
    let mut conn = app.conn().await;
    let damage = "UPDATE shift_days SET tallies = set_byte(tallies, 9, 255 - get_byte(tallies, 9))
                  WHERE window_start < $1";
    sqlx::query(damage)
        .bind(late)
        .execute(&mut *conn)
        .await
        .expect("damaged");
    drop(conn);
    app.predict("fares", &rows(late, 10..120, 700.0)).await;
    app.work().await;
    let hour = shift(&app, "distance", late).await;
    assert_eq!(
        (hour.current_rows, hour.status),
        (120, Status::Drift),
        "{hour:?}"
    );
    // Quiet hours of an episode that was opened in the past now.
    let after = shift(&app, "distance", late + TimeDelta::hours(12)).await;
    assert_eq!(after.status, Status::Drift, "{after:?}");
    assert_eq!(
        after.recipe["shift"]["episode_opened"],
        "2026-02-22T08:00:00Z"
    );
    let other = shift(&app, "carrier", late + TimeDelta::hours(12)).await;
    assert_eq!(other.status, Status::Ok, "{other:?}");
    let before = shift(&app, "distance", late - TimeDelta::hours(1)).await;
    assert_eq!(before.status, Status::Ok);
    // The hour and the twelve after it.
    assert_eq!(app.number(superseded).await, 13 * 3);

    // What the baseline is made of is not judged.
    app.predict("fares", &rows(at("2026-02-20"), 0..100, 0.0))
        .await;
    app.work().await;
    let within = shift(&app, "distance", at("2026-02-20")).await;
    assert_eq!(within.status, Status::Insufficient);
    assert_eq!(within.recipe["cause"], "the hour is part of the reference");
}
