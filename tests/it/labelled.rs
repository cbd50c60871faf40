//! Labels as they come: detectors that take each in once, objectives with a budget of errors, and estimates that speak
//! before there are labels and are held against them afterwards.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use bellwether::config::IntakeConfig;
use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::domain::window::Grain;
use bellwether::http::{self, ApiParts, ApiState, Bodies, Instruments};
use bellwether::services::access::{Scope, Site, TokenRequest, create_token};
use bellwether::services::evaluate;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::{PgPool, Row};
use tower::ServiceExt;

use crate::app::{TestApp, at, lines, settle_all};
use crate::draws::mixed;

const ROWS: i64 = 200;
/// Of a thousand predictions so many are wrong.
const USUAL: i64 = 20;

const CONFIGURATION: &str = "models:
  - name: fares
    task: regression
    unit: minutes
    window: day
    baselines:
      reference: {from: 2026-01-01, to: 2026-01-29}
    monitors:
      - name: quality
        kind: quality
        window: day
        baseline: reference
        min_labels: 50
        measures: [mae, error_rate_sequential, loss_sequential]
        sequential: {right_within: 10}
      - {name: promise, kind: objective, window: day, objective: 0.95, right_within: 10}
      - {name: outlook, kind: estimate, window: day, baseline: reference}
rules:
  - name: worse
    model: fares
    title: More predictions are wrong than in the reference
    severity: critical
    when: {monitor: quality, measure: error_rate_sequential, status: drift}
  - name: losing
    model: fares
    title: Errors are larger than in the reference
    severity: warning
    when: {monitor: quality, measure: loss_sequential, status: drift}
  - name: burning
    model: fares
    title: The budget of errors burns fast
    severity: critical
    when: {monitor: promise, measure: fast_burn, status: drift}
  - name: spent
    model: fares
    title: Little is left of the budget of errors
    severity: warning
    when: {monitor: promise, measure: error_budget_left, below: 0.2}
  - name: worse-soon
    model: fares
    title: Errors will probably be larger
    severity: warning
    when: {monitor: outlook, measure: estimated_mae, status: drift, windows: 2}
  - name: blind
    model: fares
    title: Estimates no longer say what labels will
    severity: warning
    when: {monitor: outlook, measure: estimate_error, status: drift}
";

fn number(day: DateTime<Utc>) -> i64 {
    day.timestamp() / 86_400
}

fn made_at(day: DateTime<Utc>, i: i64) -> DateTime<Utc> {
    day + TimeDelta::minutes(7 * i)
}

fn predictions(day: DateTime<Utc>, of: std::ops::Range<i64>) -> Vec<Value> {
    of.map(|i| {
        json!({
            "prediction_id": format!("{}-{i}", number(day)),
            "timestamp": made_at(day, i),
            "distance": mixed(number(day), i, 1),
            "prediction": 50.0,
        })
    })
    .collect()
}

/// A label an hour after its prediction, or as much later; `wrong` in a thousand are off by twenty minutes.
fn label(day: DateTime<Utc>, i: i64, wrong: i64, hours: i64) -> Value {
    let off = if i64::from(mixed(number(day), i, 2)) < wrong {
        20.0
    } else {
        2.0
    };
    json!({
        "prediction_id": format!("{}-{i}", number(day)),
        "label": 50.0 + off,
        "observed_at": made_at(day, i) + TimeDelta::hours(hours),
    })
}

fn labels(day: DateTime<Utc>, of: std::ops::Range<i64>, wrong: i64) -> Vec<Value> {
    of.map(|i| label(day, i, wrong, 1)).collect()
}

/// The reference of January is there, and it is the night of 30 January.
async fn started(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-01-29T03:00:00Z").await;
    app.apply(CONFIGURATION).await;
    app.version("fares", "v1").await;
    for day in 0..28 {
        let day = at("2026-01-01") + TimeDelta::days(day);
        app.predict("fares", &predictions(day, 0..ROWS)).await;
        app.label("fares", &labels(day, 0..ROWS, USUAL)).await;
    }
    app.tick("2026-01-30T03:00:00Z").await;
    app
}

/// Lives through some days, until their labels are old enough to be compared.
async fn live(app: &TestApp, days: i64, wrong: i64) {
    for _ in 0..days {
        let today = Grain::Day.window_at(app.clock.now()).start;
        app.predict("fares", &predictions(today, 0..ROWS)).await;
        app.label("fares", &labels(today, 0..ROWS, wrong)).await;
        app.tick_at(today + TimeDelta::hours(26)).await;
    }
}

async fn said(app: &TestApp, measure: &str, day: &str) -> StoredMeasurement {
    let found = app.measured("fares").await;
    let found = found
        .into_iter()
        .find(|m| m.measure == measure && m.window.start == at(day));
    found.unwrap_or_else(|| panic!("nothing is said by {measure} on {day}"))
}

/// What a detector has taken in: window, labels, losses, state.
async fn taken(app: &TestApp, measure: &str) -> Vec<(DateTime<Utc>, i64, f64, Vec<u8>)> {
    let rows = sqlx::query(
        "SELECT window_start, labels, losses, state FROM sequential_cohorts WHERE measure = $1 ORDER BY place",
    )
    .bind(measure)
    .fetch_all(&app.services.pool)
    .await
    .expect("rows");
    rows.into_iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect()
}

const RATE: &str = "error_rate_sequential";

/// The API, as a client with a token sees it.
struct Api {
    state: ApiState,
    token: String,
}

impl Api {
    async fn of(app: &TestApp) -> Self {
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new();
        let meter = opentelemetry::metrics::MeterProvider::meter(&meter, "test");
        let request = TokenRequest {
            name: "tests",
            scopes: &[Scope::Admin],
            expires_at: None,
        };
        let pool = &app.services.pool;
        let token = create_token(pool, app.wall.now(), app.project, &request, "tests").await;
        Self {
            state: ApiState::from(ApiParts {
                services: app.services.clone(),
                site: Site::at("http://localhost:8420").expect("a good URL"),
                metrics: Arc::new(String::new),
                not_durable: Arc::new(Vec::new()),
                instruments: Instruments::new(&meter),
                intake_pool: pool.clone(),
                bodies: Bodies::new(&IntakeConfig::default(), &meter),
            }),
            token: token.expect("a token").secret,
        }
    }

    async fn ask(&self, request: axum::http::request::Builder, body: bytes::Bytes) -> Value {
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/x-ndjson");
        let request = request.body(Body::from(body)).expect("a request");
        let answer = http::router(self.state.clone())
            .oneshot(request)
            .await
            .expect("an answer");
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        serde_json::from_slice(&body).expect("JSON")
    }

    async fn post(&self, path: &str, rows: &[Value]) {
        self.ask(Request::post(path), lines(rows)).await;
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Request::get(path), bytes::Bytes::new()).await
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_month_like_the_reference_alerts_nobody_and_a_real_change_does_with_a_sentence_to_act_on(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-01-01").await;
    app.apply(CONFIGURATION).await;
    app.version("fares", "v1").await;
    let api = Api::of(&app).await;
    let mut day = at("2026-01-01");
    let mut days = async |count: i64, wrong: i64| {
        for _ in 0..count {
            // The clock of this story shows the day's first minute whenever a day begins.
            app.clock.advance_to(day.max(app.clock.now()));
            let today = day;
            api.post(
                "/api/v1/models/fares/predictions?version=v1",
                &predictions(today, 0..ROWS),
            )
            .await;
            api.post(
                "/api/v1/models/fares/labels",
                &labels(today, 0..ROWS, wrong),
            )
            .await;
            day = today + TimeDelta::days(1);
            app.tick_at(day + TimeDelta::hours(3)).await;
        }
    };
    // The reference, the day its labels are waited for, and a quiet month.
    days(28 + 1 + 30, USUAL).await;
    assert_eq!(app.alerts().await, Vec::new(), "nothing is wrong");
    let quiet = said(&app, RATE, "2026-02-27").await;
    assert_eq!(quiet.status, Status::Ok, "{quiet:?}");
    let reference = said(&app, RATE, "2026-01-20").await;
    assert_eq!(
        (reference.status, reference.recipe["cause"].as_str()),
        (
            Status::Insufficient,
            Some("the window is part of the reference")
        )
    );
    let words = quiet.recipe["detail"].as_str().expect("words");
    assert!(
        words.contains("at most once in 100000 labels, about once in 500 days at this traffic"),
        "{words}"
    );
    assert!(
        words.contains("smallest rise seen in 1/7/28 days (200/1400/5600 labels)"),
        "{words}"
    );
    let left = said(&app, "error_budget_left", "2026-02-28").await;
    assert!(
        (0.45..0.75).contains(&left.value.expect("a value")),
        "{left:?}"
    );
    let estimate = said(&app, "estimated_mae", "2026-02-27").await;
    assert_eq!(estimate.status, Status::Ok, "{estimate:?}");
    let words = estimate.recipe["detail"].as_str().expect("words");
    assert!(
        words.contains("of the truth for the last 12 windows whose labels are in"),
        "{words}"
    );
    assert!(
        words.contains("cannot see that the same rows would be answered otherwise today"),
        "{words}"
    );

    // From 1 March on half is wrong.
    days(4, 500).await;
    let mut open = app.open_rules().await;
    open.sort();
    assert_eq!(open, ["blind", "burning", "losing", "spent", "worse"]);
    let alerts = app.alerts().await;
    let worse = alerts
        .iter()
        .find(|alert| alert.rule == "worse")
        .expect("an alert");
    assert!(
        worse
            .condition
            .starts_with("error rate sequential: since 1 March 2026 ("),
        "{}",
        worse.condition
    );
    assert!(
        worse
            .condition
            .contains("% of predictions are wrong, from 1.8 %"),
        "{}",
        worse.condition
    );
    let burning = alerts
        .iter()
        .find(|alert| alert.rule == "burning")
        .expect("an alert");
    assert!(
        burning.condition.contains("times as many as 95 % allows"),
        "{}",
        burning.condition
    );
    let blind = alerts
        .iter()
        .find(|alert| alert.rule == "blind")
        .expect("an alert");
    assert!(
        blind
            .condition
            .contains("what the scores mean has changed (concept change)"),
        "{}",
        blind.condition
    );
    let estimate = said(&app, "estimated_mae", "2026-03-04").await;
    assert_eq!(
        estimate.status,
        Status::Insufficient,
        "blind estimates are never ok"
    );

    let all = api.get("/api/v1/alerts").await;
    assert!(all.to_string().contains("since 1 March 2026"), "{all}");
    let page = app.reader().await.page("/models/fares").await;
    for part in [
        "Labels as they come",
        "Quality before labels, in words",
        "% of predictions are wrong, from 1.8 %",
        "the budget of errors is spent",
        "at most once in 100000 labels",
        "cannot see that the same rows would be answered otherwise today",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn each_label_is_looked_at_once_however_late_corrected_or_measured_again(pool: PgPool) {
    let app = started(pool).await;
    let day = at("2026-01-30");
    app.predict("fares", &predictions(day, 0..ROWS)).await;
    // Half of the labels are there when the day ends: fewer than the reference had, so nothing is compared.
    app.label("fares", &labels(day, 0..ROWS / 2, USUAL)).await;
    app.tick("2026-01-31T03:00:00Z").await;
    let young = said(&app, RATE, "2026-01-30").await;
    assert_eq!(young.status, Status::Insufficient);
    let cause = young.recipe["cause"].as_str().expect("a cause");
    assert!(
        cause.starts_with("fewer labels have come than in the baseline at that age"),
        "{cause}"
    );
    assert_eq!(taken(&app, RATE).await, []);
    let mae = said(&app, "mae", "2026-01-30").await;
    assert_eq!((mae.status, mae.current_rows), (Status::Ok, 100));

    // The rest is delivered late, but was observed in time; three labels were observed too late to be compared.
    app.label("fares", &labels(day, ROWS / 2..ROWS - 3, USUAL))
        .await;
    let too_late: Vec<Value> = (ROWS - 3..ROWS).map(|i| label(day, i, USUAL, 20)).collect();
    app.label("fares", &too_late).await;
    app.tick("2026-01-31T12:00:00Z").await;
    let first = taken(&app, RATE).await;
    assert_eq!((first.len(), first[0].1), (1, 197), "{first:?}");
    assert_eq!(said(&app, RATE, "2026-01-30").await.status, Status::Ok);

    // A correction changes what is measured, and the detector has seen the label already.
    let before = said(&app, "mae", "2026-01-30").await.value;
    let mut corrected = label(day, 0, USUAL, 5);
    corrected["label"] = json!(500.0);
    app.label("fares", &[corrected]).await;
    app.tick("2026-01-31T13:00:00Z").await;
    let after = said(&app, "mae", "2026-01-30").await.value;
    assert!(
        after > before.map(|value| value + 2.0),
        "{before:?} {after:?}"
    );
    assert_eq!(taken(&app, RATE).await, first);
    // An objective counts every label as it is now, corrected where it is.
    assert_eq!(
        said(&app, "error_budget_left", "2026-01-30")
            .await
            .current_rows,
        28 * 200 + 197
    );

    // Measuring everything again says the same and takes in nothing.
    let words = said(&app, RATE, "2026-01-30").await.recipe;
    sqlx::query("UPDATE window_states SET revision = revision + 1, pending = true")
        .execute(&app.services.pool)
        .await
        .expect("windows");
    app.work().await;
    assert_eq!(taken(&app, RATE).await, first);
    assert_eq!(said(&app, RATE, "2026-01-30").await.recipe, words);
    let again = app
        .number("SELECT COUNT(*) FROM measurements WHERE measure = 'error_rate_sequential' AND superseded_at IS NOT NULL")
        .await;
    assert!(again >= 3, "{again}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_window_waits_until_its_labels_are_as_old_as_those_it_is_held_against(pool: PgPool) {
    let app = started(pool).await;
    let day = at("2026-01-30");
    app.predict("fares", &predictions(day, 0..ROWS)).await;
    app.label("fares", &labels(day, 0..ROWS, USUAL)).await;
    // The last prediction is 47 minutes old, and labels of the reference took an hour.
    app.tick("2026-01-31T00:30:00Z").await;
    let young = said(&app, RATE, "2026-01-30").await;
    let cause = young.recipe["cause"].as_str().expect("a cause");
    assert!(
        cause.contains("too young to be compared before 2026-01-31 01:00"),
        "{cause}"
    );
    assert_eq!(taken(&app, RATE).await.len(), 0);
    // Nothing comes any more; the time alone makes it ready, once.
    app.tick("2026-01-31T01:00:00Z").await;
    assert_eq!(said(&app, RATE, "2026-01-30").await.status, Status::Ok);
    assert_eq!(taken(&app, RATE).await.len(), 1);
    let pending = app
        .number("SELECT COUNT(*) FROM window_states WHERE pending")
        .await;
    assert_eq!(pending, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn labels_that_people_put_right_after_days_are_compared_as_they_came(pool: PgPool) {
    let app = TestApp::start(pool, "2026-01-29T03:00:00Z").await;
    let within = CONFIGURATION.replace(
        "min_labels: 50",
        "min_labels: 50\n        labels_within: 1d",
    );
    app.apply(&within).await;
    app.version("fares", "v1").await;
    // Twelve of a hundred labels say wrong at first; ten days later people find that none is.
    let wrong = 120;
    let is_wrong = |day, i: &i64| i64::from(mixed(number(day), *i, 2)) < wrong;
    let corrected = async |day: DateTime<Utc>| {
        let of_day = (0..ROWS).filter(|i| is_wrong(day, i));
        let put_right: Vec<Value> = of_day.map(|i| label(day, i, 0, 240)).collect();
        assert!(put_right.len() > 10);
        app.label("fares", &put_right).await;
    };
    for day in 0..28 {
        let day = at("2026-01-01") + TimeDelta::days(day);
        app.predict("fares", &predictions(day, 0..ROWS)).await;
        app.label("fares", &labels(day, 0..ROWS, wrong)).await;
        if day < at("2026-01-19") {
            corrected(day).await;
        }
    }
    app.tick("2026-01-30T03:00:00Z").await;
    for _ in 0..6 {
        live(&app, 1, wrong).await;
        let today = Grain::Day.window_at(app.clock.now()).start;
        corrected(today - TimeDelta::days(11)).await;
    }
    let last = said(&app, RATE, "2026-02-03").await;
    assert_eq!(last.status, Status::Ok, "{last:?}");
    let reference = last.reference.expect("a reference");
    assert!((0.1..0.14).contains(&reference), "{reference}");
    let open = app.open_rules().await;
    assert!(!open.contains(&"worse".to_owned()), "{open:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_longer_time_for_labels_has_windows_measured_again_at_once(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 1, USUAL).await;
    assert_eq!(said(&app, RATE, "2026-01-30").await.status, Status::Ok);
    let longer = CONFIGURATION.replace(
        "min_labels: 50",
        "min_labels: 50\n        labels_within: 20d",
    );
    app.apply(&longer).await;
    app.work().await;
    let young = said(&app, RATE, "2026-01-30").await;
    assert_eq!(young.status, Status::Insufficient, "{young:?}");
    let cause = young.recipe["cause"].as_str().expect("a cause");
    assert!(cause.contains("too young to be compared before"), "{cause}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_detectors_and_objectives_took_in_goes_with_the_profiles(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 6, USUAL).await;
    let kept = async |table: &str| {
        app.texts(&format!("SELECT DISTINCT window_start::date FROM {table}"))
            .await
            .len()
    };
    assert_eq!(
        (
            kept("sequential_cohorts").await,
            kept("objective_counts").await
        ),
        (6, 34)
    );
    assert!(kept("estimate_checks").await > 0);
    let last = taken(&app, RATE).await.pop();
    let project =
        "project: {name: tests, retention: {raw_days: 2, profile_days: 3, measurement_days: 2}}\n";
    app.apply(&format!("{project}{CONFIGURATION}")).await;
    app.forget().await;
    // It is 5 February, so that 2, 3 and 4 February are kept.
    assert_eq!(
        (
            kept("sequential_cohorts").await,
            kept("objective_counts").await
        ),
        (3, 3)
    );
    // A detector goes on from where it was.
    assert_eq!(taken(&app, RATE).await.pop(), last);
    live(&app, 1, USUAL).await;
    let next = taken(&app, RATE).await;
    assert_eq!((next.len(), next[3].1), (4, 200));
    // What became of estimates goes with the measurements, by whole months.
    app.clock.advance_to(at("2026-03-09"));
    app.forget().await;
    assert_eq!(kept("estimate_checks").await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn two_replicas_take_a_window_in_once(pool: PgPool) {
    let app = started(pool).await;
    let other = app.replica().await;
    let mut day = at("2026-01-30");
    for _ in 0..3 {
        app.predict("fares", &predictions(day, 0..ROWS)).await;
        app.label("fares", &labels(day, 0..ROWS, USUAL)).await;
        settle_all(&app.services).await;
        day += TimeDelta::days(1);
        let now = day + TimeDelta::hours(3);
        app.clock.advance_to(now);
        let (one, two) = tokio::join!(
            evaluate::activate(&app.services, now),
            evaluate::activate(&other, now)
        );
        one.expect("evaluates");
        two.expect("evaluates");
    }
    let windows = taken(&app, RATE).await;
    assert_eq!(
        windows.iter().map(|w| w.1).collect::<Vec<_>>(),
        [200, 200, 200]
    );
    let values = app
        .number("SELECT COUNT(*) FROM measurements WHERE measure = 'error_rate_sequential' AND status = 'ok' AND superseded_at IS NULL")
        .await;
    assert_eq!(values, 3);
    other.pool.close().await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_death_before_the_commit_takes_in_nothing_and_the_next_try_everything(pool: PgPool) {
    let app = started(pool).await;
    let day = at("2026-01-30");
    app.predict("fares", &predictions(day, 0..ROWS)).await;
    app.label("fares", &labels(day, 0..ROWS, USUAL)).await;
    settle_all(&app.services).await;
    // The transaction ends at its last statement, after the detector's state was written.
    for statement in [
        "CREATE FUNCTION die() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''killed''; END' LANGUAGE plpgsql",
        "CREATE TRIGGER die BEFORE INSERT ON measured_windows EXECUTE FUNCTION die()",
    ] {
        sqlx::query(statement)
            .execute(&app.services.pool)
            .await
            .expect("a trigger");
    }
    let now = at("2026-01-31T03:00:00Z");
    app.clock.advance_to(now);
    evaluate::activate(&app.services, now)
        .await
        .expect_err("killed");
    assert_eq!(taken(&app, RATE).await, []);
    assert_eq!(
        app.number("SELECT COUNT(*) FROM objective_counts WHERE window_start >= '2026-01-30'")
            .await,
        0
    );
    sqlx::query("DROP TRIGGER die ON measured_windows")
        .execute(&app.services.pool)
        .await
        .expect("no trigger");
    app.work().await;
    let windows = taken(&app, RATE).await;
    assert_eq!((windows.len(), windows[0].1), (1, 200));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_is_damaged_is_made_again_from_the_labels(pool: PgPool) {
    let app = started(pool).await;
    live(&app, 3, USUAL).await;
    let whole = (
        taken(&app, RATE).await,
        taken(&app, "loss_sequential").await,
    );
    assert_eq!((whole.0.len(), whole.1.len()), (3, 3));
    let left = said(&app, "error_budget_left", "2026-01-31").await;
    for statement in [
        "UPDATE sequential_cohorts SET state = substring(state FROM 1 FOR length(state) - 1) || '\\x00'::bytea WHERE place > 1",
        "UPDATE objective_counts SET counts = '\\x00'",
        "UPDATE estimators SET estimator = '\\x00'",
    ] {
        sqlx::query(statement)
            .execute(&app.services.pool)
            .await
            .expect("damage");
    }
    live(&app, 1, USUAL).await;
    let (rates, losses) = (
        taken(&app, RATE).await,
        taken(&app, "loss_sequential").await,
    );
    assert_eq!((&rates[..3], &losses[..3]), (&whole.0[..], &whole.1[..]));
    assert_eq!((rates.len(), losses.len()), (4, 4));
    let again = said(&app, "error_budget_left", "2026-02-02").await;
    assert!(again.current_rows > left.current_rows);
    assert!(
        said(&app, "estimated_mae", "2026-02-02")
            .await
            .value
            .is_some()
    );

    // Another choice is another detector: it begins anew, with the windows there are.
    let other = CONFIGURATION.replace(
        "right_within: 10}\n      - {name: promise",
        "right_within: 10, tolerance: 0.01}\n      - {name: promise",
    );
    app.apply(&other).await;
    app.work().await;
    let anew = taken(&app, RATE).await;
    assert_eq!(anew.len(), 4);
    for (old, new) in rates.iter().zip(&anew) {
        assert_eq!((old.0, old.1, old.2), (new.0, new.1, new.2));
        assert_ne!(old.3, new.3, "the evidence against another bound");
    }

    // Nothing is estimated from damaged labelled rows, and the file they came from mends them.
    for damaged in ["labelled_samples SET sample", "estimators SET estimator"] {
        let statement = sqlx::AssertSqlSafe(format!("UPDATE {damaged} = '\\x00'"));
        let damaged = sqlx::query(statement).execute(&app.services.pool).await;
        assert!(damaged.expect("damage").rows_affected() > 0);
    }
    live(&app, 1, USUAL).await;
    let unsaid = said(&app, "estimated_mae", "2026-02-03").await;
    assert_eq!(unsaid.value, None, "{unsaid:?}");
    let cause = "the baseline's labelled rows are damaged; fit the baseline again";
    assert_eq!(unsaid.recipe["cause"], cause);
    app.apply(&other).await;
    app.work().await;
    let mended = said(&app, "estimated_mae", "2026-02-03").await;
    assert!(mended.value.is_some(), "{mended:?}");
}

const LOANS: &str = "models:
  - name: loans
    task: binary
    positive_class: good
    window: day
    baselines:
      training: {file: training.ndjson}
    monitors:
      - name: quality
        kind: quality
        window: day
        baseline: training
        min_labels: 50
        labels_within: 3d
        measures: [accuracy, error_rate_sequential]
      - {name: outlook, kind: estimate, window: day, baseline: training}
rules:
  - name: worse
    model: loans
    title: More decisions are wrong than in training
    severity: critical
    when: {monitor: quality, measure: error_rate_sequential, status: drift}
";

/// Scores that come true as often as they say, but for those that are `against`: their label is the other one.
fn loan(day: DateTime<Utc>, i: i64, against: i64) -> (Value, Value) {
    let score = (f64::from(mixed(number(day), i, 3)) + 0.5) / 1_000.0;
    let good = (f64::from(mixed(number(day), i, 4)) / 1_000.0 < score)
        != (i64::from(mixed(number(day), i, 5)) < against);
    let id = format!("{}-{i}", number(day));
    let word = |good: bool| if good { "good" } else { "bad" };
    let prediction = json!({
        "prediction_id": id,
        "timestamp": made_at(day, i),
        "income": mixed(number(day), i, 6),
        "prediction": word(score >= 0.5),
        "score": score,
    });
    let label = json!({
        "prediction_id": id,
        "label": word(good),
        "observed_at": made_at(day, i) + TimeDelta::hours(2),
    });
    (prediction, label)
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn scores_are_estimated_at_once_and_their_labels_watched_days_later_against_a_file(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-01").await;
    app.apply(LOANS).await;
    app.version("loans", "v1").await;
    let training: Vec<Value> = (0..28)
        .flat_map(|day| (0..ROWS).map(move |i| (at("2026-01-01") + TimeDelta::days(day), i)))
        .map(|(day, i)| {
            let (mut row, label) = loan(day, i, 0);
            row["label"] = label["label"].clone();
            row
        })
        .collect();
    app.fit("loans", "training", &training).await;
    for day in 0..9 {
        let today = at("2026-03-01") + TimeDelta::days(day);
        app.clock.advance_to(today + TimeDelta::hours(3));
        // From 5 March on three of ten labels are the other one, and no score shows it.
        let against = if day < 4 { 0 } else { 300 };
        let (predictions, labels): (Vec<Value>, Vec<Value>) =
            (0..ROWS).map(|i| loan(today, i, against)).unzip();
        app.predict("loans", &predictions).await;
        app.tick_at(today + TimeDelta::hours(25)).await;
        app.clock.advance_to(today + TimeDelta::hours(26));
        app.label("loans", &labels).await;
        app.work().await;
    }
    let of = async |measure: &str, day: &str| {
        let found = app.measured("loans").await;
        let found = found
            .into_iter()
            .find(|m| m.measure == measure && m.window.start == at(day));
        found.unwrap_or_else(|| panic!("nothing is said by {measure} on {day}"))
    };
    let estimate = of("estimated_accuracy", "2026-03-03").await;
    assert_eq!(estimate.status, Status::Ok, "{estimate:?}");
    let (low, high) = estimate.interval.expect("an interval");
    let realised = of("accuracy", "2026-03-03").await.value.expect("labels");
    assert!(
        (low..=high).contains(&realised),
        "{realised} in {estimate:?}"
    );
    assert!(
        estimate.recipe["estimate"]["corrected"].is_object(),
        "{estimate:?}"
    );
    let blind = of("estimate_error", "2026-03-09").await;
    assert_eq!(blind.status, Status::Drift, "{blind:?}");

    // The labels of the last three days are not old enough, and rules look beyond them.
    let young = of(RATE, "2026-03-09").await;
    assert_eq!(young.status, Status::Insufficient);
    let cause = young.recipe["cause"].as_str().expect("a cause");
    assert!(
        cause.contains("too young to be compared before 2026-03-13 00:00"),
        "{cause}"
    );
    let found = of(RATE, "2026-03-06").await;
    assert_eq!(found.status, Status::Drift, "{found:?}");
    assert!(
        found.recipe["detail"]
            .as_str()
            .expect("words")
            .starts_with("since 5 March 2026 (")
    );
    assert_eq!(app.open_rules().await, ["worse"]);
}
