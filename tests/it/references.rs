//! What a monitor is compared with: a baseline, the days before, the same weekday or hour of the weeks before.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::services::recipes;
use bellwether::storage::measurements::StoredMeasurement;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;

/// The model of the fares with other monitors.
fn configuration(monitors: &str) -> String {
    let declared = fares::configuration("fares");
    let (before, _) = declared.split_once("    monitors:\n").expect("monitors");
    format!("{before}    monitors:\n{monitors}")
}

async fn started(pool: PgPool, monitors: &str, now: &str) -> TestApp {
    let app = TestApp::start(pool, now).await;
    app.apply(&configuration(monitors)).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    app
}

/// Sixty rows of a day with distances around a middle.
fn day_around(day: DateTime<Utc>, middle: f64) -> Vec<Value> {
    let mut rows = fares::day(day, 60);
    for (i, row) in (0..).zip(&mut rows) {
        row["distance"] = json!(middle + f64::from(i));
    }
    rows
}

/// Lives through some days; `middle` gives each one's distances.
async fn live(app: &TestApp, days: i64, middle: impl Fn(DateTime<Utc>) -> f64) {
    for _ in 0..days {
        let today = app.clock.now();
        app.predict("fares", &day_around(today, middle(today)))
            .await;
        app.tick_at(today + TimeDelta::days(1)).await;
    }
}

/// What is said of a day by how many rows have another distance.
async fn distance(app: &TestApp, day: DateTime<Utc>) -> StoredMeasurement {
    let found = app.measured("fares").await.into_iter().find(|m| {
        m.measure == "total_variation"
            && m.feature == "distance"
            && m.segment.is_overall()
            && m.window.start == day
    });
    found.unwrap_or_else(|| panic!("nothing was measured on {day}"))
}

fn weekend(day: DateTime<Utc>) -> bool {
    use chrono::{Datelike, Weekday};
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_rolling_reference_follows_what_has_become_usual(pool: PgPool) {
    let monitors =
        "      - {name: drift, kind: drift, window: day, min_rows: 10, against: {rolling: 4d}}\n";
    let app = started(pool, monitors, "2026-03-02").await;
    let changed = at("2026-03-08");
    live(&app, 12, |day| if day < changed { 100.0 } else { 700.0 }).await;

    let first = distance(&app, at("2026-03-02")).await;
    assert_eq!((first.status, first.value), (Status::Insufficient, None));
    assert_eq!(
        first.recipe["cause"],
        "too little history: 0 of the 4 days before the window have rows, 2 are needed"
    );
    let third = distance(&app, at("2026-03-04")).await;
    assert_eq!((third.status, third.reference_rows), (Status::Ok, 120));
    let moved = distance(&app, changed).await;
    assert_eq!((moved.status, moved.reference_rows), (Status::Drift, 240));
    assert_eq!(
        moved.recipe["reference"],
        json!({
            "kind": "rolling", "from": "2026-03-04T00:00:00Z", "to": "2026-03-08T00:00:00Z",
            "parts": 4, "parts_with_rows": 4,
            "text": "the 4 days up to 2026-03-08 00:00 (4 of them with rows)",
        })
    );
    let settled = distance(&app, at("2026-03-13")).await;
    assert_eq!((settled.value, settled.status), (Some(0.0), Status::Ok));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_gap_keeps_the_last_days_out_of_a_rolling_reference(pool: PgPool) {
    let monitors = "      - {name: drift, kind: drift, window: day, min_rows: 10, against: {rolling: 2d, gap: 3d}}\n";
    let app = started(pool, monitors, "2026-03-02").await;
    live(
        &app,
        7,
        |day| {
            if day < at("2026-03-07") { 100.0 } else { 700.0 }
        },
    )
    .await;
    let of = distance(&app, at("2026-03-08")).await;
    assert_eq!(of.status, Status::Drift);
    assert_eq!(of.recipe["reference"]["from"], "2026-03-03T00:00:00Z");
    assert_eq!(of.recipe["reference"]["to"], "2026-03-05T00:00:00Z");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_season_finds_a_weekend_usual_that_the_days_before_do_not(pool: PgPool) {
    let monitors =
        "      - {name: drift, kind: drift, window: day, min_rows: 10, against: {rolling: 4d}}\n";
    let seasonal = "      - {name: drift, kind: drift, window: day, min_rows: 10, against: {season: [weekday], weeks: 2}}\n";
    let usual = |day| if weekend(day) { 700.0 } else { 100.0 };
    // A Monday, and the Saturday two weeks later.
    let (begin, saturday) = ("2026-03-02", at("2026-03-14"));
    let app = started(pool, monitors, begin).await;
    live(&app, 14, usual).await;
    assert_eq!(distance(&app, saturday).await.status, Status::Drift);

    // The same days under another monitor: everything that is stored is measured anew by it.
    app.apply(&configuration(seasonal)).await;
    app.work().await;
    let of = distance(&app, saturday).await;
    assert_eq!((of.value, of.status), (Some(0.0), Status::Ok));
    assert_eq!(of.reference_rows, 60);
    assert_eq!(
        of.recipe["reference"]["text"],
        "Saturdays in the 2 weeks before (1 of 2 with rows)"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_data_in_the_reference_have_the_windows_compared_with_it_measured_again(pool: PgPool) {
    let monitors =
        "      - {name: drift, kind: drift, window: day, min_rows: 10, against: {rolling: 2d}}\n";
    let (first, second, third) = (at("2026-03-02"), at("2026-03-03"), at("2026-03-04"));
    let app = started(pool, monitors, "2026-03-02").await;
    app.clock.advance_to(second);
    app.predict("fares", &day_around(second, 100.0)).await;
    app.tick("2026-03-04").await;
    app.predict("fares", &day_around(third, 100.0)).await;
    app.tick("2026-03-05").await;
    let before = distance(&app, third).await;
    assert_eq!((before.value, before.reference_rows), (Some(0.0), 60));

    app.predict("fares", &day_around(first, 700.0)).await;
    app.tick("2026-03-05T01:00:00Z").await;
    let after = distance(&app, third).await;
    assert_eq!(after.reference_rows, 120);
    assert_eq!(after.status, Status::Drift);
    let superseded =
        app.number("SELECT COUNT(*) FROM measurements WHERE superseded_at IS NOT NULL");
    assert!(superseded.await > 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn quality_is_compared_with_that_of_the_days_before(pool: PgPool) {
    let monitors = "      - {name: quality, kind: quality, window: day, min_labels: 5, against: {rolling: 2d}}\n";
    let rule = "rules:
  - name: worse
    model: fares
    title: Errors have doubled
    severity: warning
    when: {monitor: quality, measure: mae, above: {times_baseline: 2}}
";
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&format!("{}{rule}", configuration(monitors)))
        .await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    app.live_day(1.0).await;
    app.live_day(2.0).await;
    app.live_day(6.0).await;
    let mae = |day: &'static str| {
        let app = &app;
        async move {
            let all = app.measured("fares").await;
            let found = all.into_iter().find(|m| {
                m.measure == "mae" && m.segment.is_overall() && m.window.start == at(day)
            });
            found.expect("measured")
        }
    };
    let first = mae("2026-03-02").await;
    assert_eq!(
        (first.status, first.reference),
        (Status::Insufficient, None)
    );
    let third = mae("2026-03-04").await;
    assert_eq!(
        (third.value, third.reference, third.reference_rows),
        (Some(6.0), Some(1.5), 80)
    );
    assert_eq!(third.recipe["reference"]["kind"], "rolling");
    assert_eq!(app.open_rules().await, ["worse"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn recipes_are_read_with_the_bins_that_were_compared(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    app.predict("fares", &fares::day(at("2026-03-02"), 40))
        .await;
    app.tick("2026-03-03").await;
    let stored = app.measured("fares").await;
    let model = app.model("fares").await;
    for cells in [false, true] {
        let mut read = stored.clone();
        let mut conn = app.conn().await;
        let completed = recipes::complete(&mut conn, model.model_id, &mut read, cells);
        completed.await.expect("the database answers");
        let recipe = |values: &[StoredMeasurement], feature: &str, measure: &str| {
            let is_it = |m: &&StoredMeasurement| {
                m.feature == feature && m.measure == measure && m.segment.is_overall()
            };
            values.iter().find(is_it).expect("measured").recipe.clone()
        };
        let psi = recipe(&read, "distance", "psi");
        let edges: Vec<f64> = serde_json::from_value(psi["edges"].clone()).expect("edges");
        assert_eq!(psi["bins"], json!(edges.len() + 1));
        assert!(
            edges.is_sorted() && edges[4] > 400.0 && edges[4] < 600.0,
            "{edges:?}"
        );
        let of_carrier = recipe(&read, "carrier", "psi");
        assert_eq!(of_carrier["categories"], json!(["AA", "DL", "UA"]));
        // They are the baseline's, and not stored with each value.
        assert!(recipe(&stored, "distance", "psi").get("edges").is_none());
        let ks = recipe(&read, "distance", "kolmogorov_smirnov");
        let of_cells = ks["edges"].as_array().map(|edges| json!(edges.len() + 1));
        assert_eq!(of_cells, cells.then(|| ks["bins"].clone()));
    }
}
