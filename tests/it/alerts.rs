//! When alerts open and when they resolve.

use bellwether::domain::clock::Clock;
use bellwether::domain::model::Role;
use bellwether::domain::rule::Severity;
use bellwether::services::registry::PRODUCTION;
use bellwether::storage::measurements::{self, Selection};
use bellwether::storage::models;
use chrono::TimeDelta;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;

/// The training error is 1. Three days above 2 open, two days below resolve.
const QUALITY: &str = "rules:
  - name: quality
    model: fares
    title: Fares are off
    severity: warning
    when: {monitor: quality, measure: mae, above: {times_baseline: 2.0}, windows: 3}
    resolve_after: 2
    needs: {rows: 10, coverage: 0.5}
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_alert_opens_after_as_many_windows_as_the_rule_asks_and_resolves_after_as_many(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(QUALITY).await;
    // Two bad days, a good one, two bad ones: never three in a row.
    for error in [3.0, 3.0, 1.0, 3.0, 3.0] {
        app.live_day(error).await;
        assert_eq!(app.alerts().await, []);
    }
    app.live_day(4.0).await;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].severity, Severity::Warning);
    assert_eq!(
        (alerts[0].value, alerts[0].threshold),
        (Some(4.0), Some(2.0))
    );
    assert_eq!(
        (alerts[0].since, alerts[0].fired_at),
        (at("2026-03-05"), at("2026-03-08"))
    );
    assert_eq!(
        alerts[0].condition,
        "mae 4.00 euros, limit 2.00, for 3 days"
    );
    let promises = app.promises().await;
    let errs = &promises[0].errs;
    assert!(
        errs.contains("by chance among labels while it is 1.00 euros"),
        "{errs}"
    );
    assert!(
        promises[0]
            .sees
            .contains(" in 7/28 days, with a chance of 90 %"),
        "{:?}",
        promises[0]
    );
    // Good, bad, good: not two in a row.
    for error in [1.0, 3.0, 1.0] {
        app.live_day(error).await;
        assert_eq!(app.open_rules().await, ["quality"]);
    }
    app.live_day(1.0).await;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].resolved_at, Some(at("2026-03-12")));
    assert_eq!(
        app.history(&alerts[0]).await,
        ["opened", "seen", "resolved"]
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn windows_that_say_too_little_neither_open_nor_resolve(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(QUALITY).await;
    let sparse_day = async |error: f64| {
        let today = app.clock.now();
        // Labels of a quarter of the predictions: below the coverage that the rule needs.
        app.predict("fares", &fares::day(today, 40)).await;
        app.label("fares", &fares::labels(today, 12, error)).await;
        app.tick_at(today + TimeDelta::days(1)).await;
    };
    app.live_day(3.0).await;
    app.live_day(3.0).await;
    for _ in 0..2 {
        sparse_day(9.0).await;
        assert_eq!(app.alerts().await, []);
    }
    app.live_day(3.0).await;
    assert_eq!(app.open_rules().await, ["quality"]);
    for _ in 0..4 {
        sparse_day(0.5).await;
        assert_eq!(app.open_rules().await, ["quality"]);
    }
    app.live_day(1.0).await;
    assert_eq!(app.open_rules().await, ["quality"]);
    app.live_day(1.0).await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_window_that_is_measured_again_does_not_count_twice(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(QUALITY).await;
    app.live_day(3.0).await;
    app.live_day(3.0).await;
    // The same two days, measured four times more.
    for i in 40..44 {
        for day in ["2026-03-02", "2026-03-03"] {
            app.predict("fares", &[fares::prediction(at(day), i)]).await;
            app.label("fares", &[fares::label(at(day), i, 3.0)]).await;
        }
        app.work().await;
        assert_eq!(app.alerts().await, []);
    }
    app.live_day(3.0).await;
    assert_eq!(app.open_rules().await, ["quality"]);
    // One good day, measured twice, is not two.
    app.live_day(1.0).await;
    app.predict("fares", &[fares::prediction(at("2026-03-05"), 40)])
        .await;
    app.work().await;
    assert_eq!(app.open_rules().await, ["quality"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_rule_hears_of_the_newest_window_however_many_values_the_ones_before_have(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&QUALITY.replace("windows: 3", "windows: 1"))
        .await;
    for _ in 0..3 {
        app.live_day(1.0).await;
    }
    many_more_values(&app).await;
    app.live_day(3.0).await;
    assert_eq!(app.open_rules().await, ["quality"]);
    // As many on the day itself: it is read whole, and so is every day that it takes to resolve.
    many_more_values(&app).await;
    for open in [vec!["quality"], vec![]] {
        app.live_day(1.0).await;
        assert_eq!(app.open_rules().await, open);
        many_more_values(&app).await;
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn windows_and_what_they_said_before_are_read_whole_from_the_newest_back(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    app.live_day(3.0).await;
    app.live_day(3.0).await;
    // The first day three times in all.
    for i in 40..42 {
        let day = at("2026-03-02");
        app.predict("fares", &[fares::prediction(day, i)]).await;
        app.label("fares", &[fares::label(day, i, 3.0)]).await;
        app.work().await;
    }
    let version = app.measured("fares").await[0].version_id;
    let mut conn = app.conn().await;
    let measures = ["mae", "label_coverage"].map(str::to_owned);
    let selection = Selection {
        monitor: Some("quality"),
        measures: Some(&measures),
        overall_only: true,
        ..Selection::default()
    };
    let model = app.model("fares").await.model_id;
    let mut of_windows = async |enough: i64| {
        let read = measurements::of_newest_windows(&mut conn, model, selection, enough).await;
        let read = read.expect("measurements");
        let told = read.into_iter().map(|m| (m.window.start, m.measure));
        told.collect::<Vec<_>>()
    };
    let of = |day: &str| ["label_coverage", "mae"].map(|measure| (at(day), measure.to_owned()));
    assert_eq!(of_windows(1).await, of("2026-03-03"));
    assert_eq!(of_windows(2).await, of("2026-03-03"));
    let both = [of("2026-03-02"), of("2026-03-03")].concat();
    assert_eq!(of_windows(3).await, both);
    assert_eq!(of_windows(100).await, both);

    let mut before = async |enough: i64| {
        let day = at("2026-03-02");
        let read =
            measurements::superseded(&mut conn, version, "quality", day, &measures, true, enough);
        let read = read.await.expect("measurements");
        let told = read.into_iter().map(|(_, m)| (m.measure, m.current_rows));
        told.collect::<Vec<_>>()
    };
    let all = before(100).await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(before(1).await, all[2..]);
    assert_ne!(all[..2], all[2..], "the day had more rows then");
}

/// Gives every window so many values of the measure that two have more than a rule reads at a time.
async fn many_more_values(app: &TestApp) {
    sqlx::query(
        "INSERT INTO measurements
         SELECT gen_random_uuid(), project_id, model_id, model_version_id, monitor, grain, window_start, window_end,
                segment_name, segment_value, 'f' || n, measure, value, low, high, p_value, reference, status,
                current_rows, reference_rows, baseline_id, '{}', measured_at
         FROM measurements m, generate_series(1, 26000) AS n
         WHERE measure = 'mae' AND feature = '' AND segment_name = '' AND superseded_at IS NULL
           AND (SELECT count(*) FROM measurements o WHERE o.measure = 'mae' AND o.window_start = m.window_start) < 26000",
    )
    .execute(&mut *app.conn().await)
    .await
    .expect("more values");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_labels_that_mend_the_windows_resolve_the_alert(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(QUALITY).await;
    for _ in 0..3 {
        app.live_day(3.0).await;
    }
    assert_eq!(app.open_rules().await, ["quality"]);
    for day in ["2026-03-02", "2026-03-03", "2026-03-04"] {
        let corrected = fares::labels(at(day), 40, 1.0)
            .into_iter()
            .map(|mut label| {
                label["observed_at"] = serde_json::json!(at("2026-03-05"));
                label
            });
        app.label("fares", &corrected.collect::<Vec<_>>()).await;
    }
    app.work().await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn silence_opens_by_the_clock_and_resolves_with_the_next_prediction(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(
        "rules:
  - name: silent
    model: fares
    title: Nothing is heard
    severity: critical
    runbook: no-predictions
    when: {no_predictions_for: 24h}
",
    )
    .await;
    // A model that has never predicted is not silent.
    app.tick("2026-03-09").await;
    assert_eq!(app.alerts().await, []);
    let last = fares::prediction(at("2026-03-09"), 0);
    app.clock.advance_to(at("2026-03-09T12:00:00Z"));
    app.predict("fares", &[last]).await;
    app.tick("2026-03-10T12:00:00Z").await;
    assert_eq!(app.alerts().await, []);
    app.tick("2026-03-10T12:00:01Z").await;
    assert_eq!(app.open_rules().await, ["silent"]);
    app.tick("2026-03-14").await;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].since, at("2026-03-09T12:00:00Z"));
    assert!(
        app.history(&alerts[0])
            .await
            .contains(&"diagnosis".to_owned())
    );
    app.predict("fares", &[fares::prediction(at("2026-03-14"), 1)])
        .await;
    app.tick("2026-03-14T13:00:00Z").await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
}

const SILENT: &str = "rules:
  - name: silent
    model: fares
    title: Nothing is heard
    severity: critical
    when: {no_predictions_for: 24h}
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_shadow_that_is_fed_does_not_hide_that_the_champion_is_cut_off(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(SILENT).await;
    let model = app.model("fares").await;
    let shadow = app.version("fares", "v0").await;
    let deployed = async |role, now| {
        let mut conn = app.conn().await;
        models::deploy(&mut conn, &model, shadow, PRODUCTION, role, 0.0, now)
            .await
            .expect("deployed");
    };
    deployed(Role::Shadow, app.clock.now()).await;
    for day in ["2026-03-02", "2026-03-03", "2026-03-04"] {
        app.clock.advance_to(at(day) + TimeDelta::hours(13));
        if day == "2026-03-02" {
            let row = fares::prediction(at(day), 0);
            app.predict_as("fares", "v1", &[row]).await;
        }
        let row = fares::prediction(at(day), 1);
        app.predict_as("fares", "v0", &[row]).await;
        app.work().await;
        let expected: &[&str] = match day {
            "2026-03-02" => &[],
            _ => &["silent"],
        };
        assert_eq!(app.open_rules().await, expected, "{day}");
    }
    let alert = &app.alerts().await[0];
    assert_eq!(alert.since, at("2026-03-02T12:00:00Z"));
    // As a canary it answers users, and what it is sent is a sign of life.
    deployed(Role::Canary, app.clock.now()).await;
    app.work().await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_prediction_of_tomorrow_and_labels_are_no_sign_of_life(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(SILENT).await;
    app.clock.advance_to(at("2026-03-02T13:00:00Z"));
    let of_tomorrow = fares::prediction(at("2026-03-03"), 0);
    app.predict("fares", &[of_tomorrow]).await;
    app.settle().await;
    app.tick("2026-03-03T12:30:00Z").await;
    assert_eq!(app.alerts().await, []);
    app.label("fares", &[fares::label(at("2026-03-03"), 0, 1.0)])
        .await;
    app.tick("2026-03-03T13:00:01Z").await;
    assert_eq!(app.open_rules().await, ["silent"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_new_champion_is_silent_when_it_is_sent_nothing(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(SILENT).await;
    app.live_day(1.0).await;
    let model = app.model("fares").await;
    let (old, new) = (
        app.version("fares", "v1").await,
        app.version("fares", "v2").await,
    );
    let mut conn = app.conn().await;
    for (version, role) in [(old, Role::Shadow), (new, Role::Champion)] {
        let now = app.clock.now();
        models::deploy(&mut conn, &model, version, PRODUCTION, role, 1.0, now)
            .await
            .expect("deployed");
    }
    drop(conn);
    for (tick, expected) in [
        ("2026-03-04T00:00:00Z", &[][..]),
        ("2026-03-04T00:00:01Z", &["silent"]),
    ] {
        app.tick(tick).await;
        assert_eq!(app.open_rules().await, expected, "{tick}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_rule_with_a_lower_limit_names_the_lowest_value(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let rule = "rules:
  - name: traffic
    model: fares
    title: Too few fares
    severity: info
    when: {monitor: traffic, measure: traffic, below: 25, segments: true}
";
    app.with_fares(rule).await;
    let mut rows = fares::day(at("2026-03-02"), 40);
    rows.truncate(39);
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].value, Some(19.0));
    assert_eq!(alerts[0].evidence[0]["segment"], "origin=JFK");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn applying_the_same_configuration_again_measures_nothing_again(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(QUALITY).await;
    app.live_day(1.0).await;
    let applied = app
        .apply(&format!("{}{QUALITY}", fares::configuration("fares")))
        .await;
    assert_eq!(applied.changed, Vec::<String>::new());
    app.work().await;
    let superseded = app
        .number("SELECT COUNT(*) FROM measurements WHERE superseded_at IS NOT NULL")
        .await;
    assert_eq!(superseded, 0);
}
