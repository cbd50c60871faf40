//! The default drift detector in the service: quiet on days that differ by the ordinary amount, and on the spot when
//! a feature moves.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::draws::mixed;

const ROWS: i64 = 240;

const SUPERSEDED: &str =
    "SELECT COUNT(*) FROM measurements WHERE measure = 'shift' AND superseded_at IS NOT NULL";

const CONFIGURATION: &str = "models:
  - name: fares
    task: regression
    window: day
    baselines:
      training: {file: training.ndjson}
    schema: {from: training}
    monitors:
      - {name: drift, kind: drift, window: day, baseline: training, measures: [shift]}
rules:
  - name: inputs-moved
    model: fares
    title: Inputs have moved away from the training data
    severity: warning
    when: {monitor: drift, measure: shift, status: drift}
";

/// The `i`th row of a day. Each day leans a little to one side, as days do; `moved` is how far the middle of the
/// distances is from where it was, within their range.
fn row(day: DateTime<Utc>, i: i64, moved: f64) -> Value {
    let number = day.timestamp() / 86_400;
    let lean = f64::from(i32::try_from(number * 7 % 5).expect("small") - 2) * 5.0;
    let rank = f64::from(mixed(number, i, 1)) / 1_000.0;
    let carriers = ["AA", "DL", "UA"];
    json!({
        "prediction_id": format!("{number}-{i}"),
        "timestamp": day + TimeDelta::hours(6) + TimeDelta::minutes(i),
        "distance": 1_000.0 * rank + (lean + moved) * 4.0 * rank * (1.0 - rank),
        "weight": mixed(number, i, 2),
        "carrier": carriers[usize::try_from(mixed(number, i, 3) % 3).expect("small")],
        "prediction": f64::from(mixed(number, i, 4)) / 10.0,
    })
}

fn rows(day: DateTime<Utc>, of: std::ops::Range<i64>, moved: f64) -> Vec<Value> {
    of.map(|i| row(day, i, moved)).collect()
}

/// The 28 days of February as training data.
fn training_rows() -> Vec<Value> {
    (0..28)
        .flat_map(|day| rows(at("2026-02-01") + TimeDelta::days(day), 0..ROWS, 0.0))
        .collect()
}

async fn started(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-03-01").await;
    app.apply(CONFIGURATION).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &training_rows()).await;
    app
}

/// Lives through some days of so many rows.
async fn live(app: &TestApp, days: i64, count: i64, moved: f64) {
    for _ in 0..days {
        let today = app.clock.now();
        app.predict("fares", &rows(today, 0..count, moved)).await;
        app.tick_at(today + TimeDelta::days(1)).await;
    }
}

async fn shifts(app: &TestApp) -> Vec<StoredMeasurement> {
    let mut measured = app.measured("fares").await;
    measured.retain(|m| m.measure == "shift");
    measured
}

async fn shift(app: &TestApp, feature: &str, day: &str) -> StoredMeasurement {
    let found = shifts(app)
        .await
        .into_iter()
        .find(|m| m.feature == feature && m.window.start == at(day));
    found.unwrap_or_else(|| panic!("nothing is said of {feature} on {day}"))
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn twenty_ordinary_days_are_quiet_and_a_feature_that_moves_is_found_with_direction_and_start(
    pool: PgPool,
) {
    let app = started(pool).await;
    live(&app, 20, ROWS, 0.0).await;
    let quiet = shifts(&app).await;
    assert_eq!(quiet.len(), 20 * 4, "three features and the prediction");
    for m in &quiet {
        assert_eq!(m.status, Status::Ok, "{m:?}");
        let (low, high) = m.interval.expect("an interval");
        let value = m.value.expect("a value");
        assert!(low <= value && value <= high, "{m:?}");
    }
    assert_eq!(app.open_rules().await, Vec::<String>::new());

    live(&app, 6, ROWS, 180.0).await;
    let mut found = shifts(&app).await;
    found.retain(|m| m.status == Status::Drift);
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|m| m.feature == "distance" && m.window.start >= at("2026-03-21"))
    );
    let last = shift(&app, "distance", "2026-03-26").await;
    assert!(
        (0.2..0.7).contains(&last.value.expect("a value")),
        "{last:?}"
    );
    assert!(last.p_value.expect("a p-value") < 1e-6);
    assert_eq!((last.current_rows, last.reference_rows), (240, 28 * 240));
    let recipe = &last.recipe["shift"];
    assert_eq!(recipe["since"], "2026-03-21");
    assert_eq!(recipe["episode_opened"], "2026-03-21");
    assert_eq!(
        (&recipe["footing"], &recipe["reference_days"]),
        (&json!("days"), &json!(28))
    );
    let words = last.recipe["detail"].as_str().expect("words");
    assert!(words.starts_with("centre up by 0."), "{words}");
    assert!(words.contains("since 21 March 2026, seen over "), "{words}");
    assert!(
        words.contains("smallest change seen in 1/7/28 days: 0."),
        "{words}"
    );

    assert_eq!(app.open_rules().await, ["inputs-moved"]);
    let promises = app.promises().await;
    assert_eq!(
        promises[0].errs,
        "about one false ticket per model and year"
    );
    assert!(
        promises[0]
            .sees
            .contains("smallest change seen in 1/7/28 days: 0."),
        "{:?}",
        promises[0]
    );
    let alerts = app.alerts().await;
    assert!(
        alerts[0]
            .condition
            .starts_with("distance shift: centre up by 0."),
        "{:?}",
        alerts[0]
    );
    let reader = app.reader().await;
    let ticket = format!("/alerts/{}", alerts[0].alert_id);
    let page = reader.page(&ticket).await;
    assert!(
        page.contains("What labels say of it") && page.contains("too few labels"),
        "{page}"
    );
    for path in ["/models/fares".to_owned(), ticket] {
        let page = reader.page(&path).await;
        assert!(page.contains("centre up by 0."), "{path}: {page}");
        assert!(
            page.contains("smallest change seen in 1/7/28 days"),
            "{path}: {page}"
        );
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_rows_have_their_day_and_those_after_it_judged_again(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 2, ROWS, 0.0).await;
    let late = app.clock.now();
    live(&app, 1, 20, 0.0).await;
    live(&app, 3, ROWS, 0.0).await;
    assert_eq!(shift(&app, "distance", "2026-03-03").await.current_rows, 20);
    assert_eq!(app.open_rules().await, Vec::<String>::new());

    // A label changes its own day only.
    let label = json!({"prediction_id": format!("{}-1", at("2026-03-01").timestamp() / 86_400), "label": 1.0});
    app.label("fares", &[label]).await;
    app.work().await;
    assert_eq!(app.number(SUPERSEDED).await, 4);

    app.predict("fares", &rows(late, 20..ROWS, 400.0)).await;
    app.work().await;
    let day = shift(&app, "distance", "2026-03-03").await;
    assert_eq!((day.current_rows, day.status), (240, Status::Drift));
    // Quiet days of an episode that was opened in the past now.
    let after = shift(&app, "distance", "2026-03-06").await;
    assert_eq!(after.status, Status::Drift, "{after:?}");
    assert_eq!(after.recipe["shift"]["episode_opened"], "2026-03-03");
    assert_eq!(shift(&app, "weight", "2026-03-06").await.status, Status::Ok);
    let before = shift(&app, "distance", "2026-03-02").await;
    assert_eq!(before.status, Status::Ok);
    // The third to the sixth day.
    assert_eq!(app.number(SUPERSEDED).await, 4 + 4 * 4);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_day_of_few_rows_is_insufficient_and_a_day_of_the_reference_is_not_judged(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 1, 20, 0.0).await;
    let few = shift(&app, "distance", "2026-03-01").await;
    assert_eq!((few.status, few.value), (Status::Insufficient, None));
    assert_eq!(few.recipe["cause"], "fewer than 50 values in every window");
    // With the days before there is enough.
    live(&app, 2, 20, 0.0).await;
    assert_eq!(
        shift(&app, "distance", "2026-03-03").await.status,
        Status::Ok
    );

    app.predict("fares", &rows(at("2026-02-20"), 0..100, 0.0))
        .await;
    app.work().await;
    let within = shift(&app, "distance", "2026-02-20").await;
    assert_eq!((within.status, within.value), (Status::Insufficient, None));
    assert_eq!(within.recipe["cause"], "the day is part of the reference");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_file_without_times_says_that_it_does_not_know_how_days_differ(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-01").await;
    app.apply(CONFIGURATION).await;
    app.version("fares", "v1").await;
    let mut training = training_rows();
    for row in &mut training {
        row.as_object_mut().expect("an object").remove("timestamp");
    }
    app.fit("fares", "training", &training).await;
    live(&app, 1, ROWS, 0.0).await;
    let day = shift(&app, "distance", "2026-03-01").await;
    assert_eq!(day.recipe["shift"]["footing"], "rows");
    assert_eq!(day.recipe["shift"]["reference_days"], 0);
    let words = day.recipe["detail"].as_str().expect("words");
    assert!(
        words.contains("too few days to know how days differ"),
        "{words}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn damaged_counts_are_made_anew_and_a_damaged_reference_is_an_error(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 2, ROWS, 180.0).await;
    let mut conn = app.conn().await;
    let damage = "UPDATE shift_days SET tallies = set_byte(tallies, 9, 255 - get_byte(tallies, 9))";
    sqlx::query(damage)
        .execute(&mut *conn)
        .await
        .expect("damaged");
    live(&app, 1, ROWS, 180.0).await;
    let third = shift(&app, "distance", "2026-03-03").await;
    assert_eq!(third.recipe["shift"]["since"], "2026-03-01", "{third:?}");

    let damage = "UPDATE shift_references SET reference = set_byte(reference, 9, 255 - get_byte(reference, 9))";
    sqlx::query(damage)
        .execute(&mut *conn)
        .await
        .expect("damaged");
    live(&app, 1, ROWS, 0.0).await;
    let fourth = shift(&app, "distance", "2026-03-04").await;
    assert_eq!((fourth.status, fourth.value), (Status::Error, None));
    assert_eq!(
        fourth.recipe["cause"],
        "the baseline's days are damaged; fit the baseline again"
    );
    drop(conn);

    // Fitting it again measures every day anew.
    let mut training = training_rows();
    training.truncate(27 * 240);
    app.fit("fares", "training", &training).await;
    app.work().await;
    assert_eq!(
        shift(&app, "distance", "2026-03-03").await.status,
        Status::Drift
    );
    assert_eq!(
        shift(&app, "distance", "2026-03-01").await.status,
        Status::Drift
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_window_of_production_gives_its_days_too(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-01").await;
    let training = "training: {file: training.ndjson}";
    let window = "first: {from: 2026-03-01, to: 2026-03-16, version: v1}";
    let both = format!("{training}\n      {window}");
    app.apply("models: [{name: fares, task: regression, window: day}]")
        .await;
    app.version("fares", "v1").await;
    let configuration = CONFIGURATION.replace(training, &both);
    app.apply(&configuration.replace("baseline: training", "baseline: first"))
        .await;
    app.fit("fares", "training", &training_rows()).await;
    live(&app, 17, ROWS, 0.0).await;
    let within = shift(&app, "distance", "2026-03-10").await;
    assert_eq!(within.recipe["cause"], "the day is part of the reference");
    let after = shift(&app, "distance", "2026-03-17").await;
    assert_eq!(after.status, Status::Ok, "{after:?}");
    let recipe = &after.recipe["shift"];
    assert_eq!(
        (&recipe["footing"], &recipe["reference_days"]),
        (&json!("days"), &json!(15))
    );
    // Fifteen days know less than 28: what they would see within a day is larger.
    live(&app, 2, ROWS, 320.0).await;
    let moved = shift(&app, "distance", "2026-03-19").await;
    assert_eq!(moved.status, Status::Drift, "{moved:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_holiday_teaches_nothing_and_is_no_finding(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-01").await;
    let holidays = CONFIGURATION.replace(
        "    window: day\n    baselines",
        "    window: day\n    holidays: [2026-02-10, 2026-03-03, 2030-01-01]\n    baselines",
    );
    app.apply(&holidays).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &training_rows()).await;
    let reference = "SELECT cardinality(holidays)::bigint FROM shift_references
                     WHERE holidays = '{2026-02-10}' AND days = 28";
    assert_eq!(app.number(reference).await, 1);
    live(&app, 2, ROWS, 0.0).await;
    live(&app, 1, ROWS, 400.0).await;
    let holiday = shift(&app, "distance", "2026-03-03").await;
    assert_eq!(holiday.status, Status::Ok, "{holiday:?}");
    live(&app, 2, ROWS, 0.0).await;
    let after = shift(&app, "distance", "2026-03-05").await;
    assert_eq!(after.status, Status::Ok, "{after:?}");

    // Another list has the same file fitted again.
    app.apply(&holidays.replace("2026-02-10, ", "2026-02-11, "))
        .await;
    app.fit("fares", "training", &training_rows()).await;
    let again = "SELECT COUNT(*) FROM shift_references r JOIN baselines b USING (baseline_id)
                 WHERE r.holidays = '{2026-02-11}' AND b.retired_at IS NULL";
    assert_eq!(app.number(again).await, 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_day_with_a_third_of_its_predictions_is_found_by_the_volume(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-01").await;
    let traffic = CONFIGURATION.replace(
        "measures: [shift]}",
        "measures: [shift]}\n      - {name: traffic, kind: traffic, window: day}",
    );
    let rule = "  - name: volume
    model: fares
    title: Unusually many or few predictions
    severity: warning
    when: {monitor: traffic, measure: volume, status: drift}
";
    let holiday = traffic.replace(
        "    window: day\n    baselines",
        "    window: day\n    holidays: [2026-03-24]\n    baselines",
    );
    app.apply(&format!("{holiday}{rule}")).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &training_rows()).await;
    // From 230 to 250 a day.
    for day in 0..22 {
        live(&app, 1, 230 + day * 7 % 20, 0.0).await;
    }
    let volume = async |day: &str| app.value("fares", "volume", "", day).await;
    let (value, status, _) = volume("2026-03-05").await.expect("is measured");
    assert_eq!((value, status), (None, Status::Insufficient));
    let (value, status, rows) = volume("2026-03-22").await.expect("is measured");
    assert!(value.expect("a value").abs() < 0.1, "{value:?}");
    assert_eq!((status, rows), (Status::Ok, 230 + 21 * 7 % 20));
    assert_eq!(app.open_rules().await, Vec::<String>::new());
    live(&app, 1, 80, 0.0).await;
    let (value, status, _) = volume("2026-03-23").await.expect("is measured");
    assert_eq!(status, Status::Drift);
    assert!(
        (-0.75..-0.6).contains(&value.expect("a value")),
        "{value:?}"
    );
    assert_eq!(app.open_rules().await, ["volume"]);
    let promises = app.promises().await;
    let promise = promises
        .iter()
        .find(|promise| {
            promise
                .sees
                .starts_with("smallest loss of rows seen in 1/7/28 days: ")
        })
        .expect("the rule on the volume says what it sees");
    assert_eq!(promise.errs, "about one false ticket per model and year");

    // As few on a holiday are no finding, and are not said to be as many as usual.
    live(&app, 1, 80, 0.0).await;
    let mut measured = app.measured("fares").await;
    measured.retain(|m| m.measure == "volume" && m.window.start == at("2026-03-24"));
    assert_eq!(measured[0].status, Status::Ok);
    let detail = measured[0].recipe["detail"].as_str().expect("words");
    assert!(
        detail.starts_with("a holiday: whatever this day shows is not called drift"),
        "{detail}"
    );
    let alerts = app.alerts().await;
    assert!(
        alerts[0]
            .condition
            .contains("% fewer rows than usual over 1 day; about one false ticket"),
        "{:?}",
        alerts[0].condition
    );
}
