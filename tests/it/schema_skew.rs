//! What does not fit the schema is found, with its share, and nothing else is blamed.

use std::collections::BTreeMap;

use bellwether::domain::measurement::Status;
use bellwether::services::alerting;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;
use crate::snapshot::assert_profiles_equal_a_recount;

const ROWS: i32 = 40;

/// What is beyond its limit on the day: `measure of feature` and the share.
async fn findings(app: &TestApp) -> BTreeMap<String, f64> {
    app.measured("fares")
        .await
        .into_iter()
        .filter(|m| m.monitor == "schema" && m.segment.is_overall() && m.status == Status::Drift)
        .map(|m| {
            (
                format!("{} of {}", m.measure, m.feature),
                m.value.expect("a share"),
            )
        })
        .collect()
}

/// Lives through a day of which `spoil` changes a row, and returns what was found.
async fn day_of(pool: PgPool, spoil: impl Fn(usize, &mut Value)) -> BTreeMap<String, f64> {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let mut rows = fares::day(at("2026-03-02"), ROWS);
    for (i, row) in rows.iter_mut().enumerate() {
        spoil(i, row);
    }
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    let found = findings(&app).await;
    // Counting again must not lose a finding, nor make one.
    assert_profiles_equal_a_recount(&app, "fares").await;
    app.tick("2026-03-04").await;
    assert_eq!(findings(&app).await, found);
    found
}

fn one(finding: &str, share: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([(finding.to_owned(), share)])
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_like_the_training_data_give_no_finding(pool: PgPool) {
    assert_eq!(day_of(pool, |_, _| {}).await, BTreeMap::new());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_feature_that_a_quarter_of_the_rows_lack_is_missing(pool: PgPool) {
    let found = day_of(pool, |i, row| {
        if i % 4 == 0 {
            row.as_object_mut().expect("a row").remove("carrier");
        }
    });
    assert_eq!(found.await, one("missing_feature of carrier", 0.25));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_feature_that_every_row_lacks_is_missing(pool: PgPool) {
    let found = day_of(pool, |_, row| {
        row.as_object_mut().expect("a row").remove("carrier");
    });
    assert_eq!(found.await, one("missing_feature of carrier", 1.0));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_feature_that_the_schema_does_not_know_is_unexpected(pool: PgPool) {
    let found = day_of(pool, |i, row| {
        if i % 4 == 0 {
            row["altitude"] = json!(3.5);
        }
    });
    assert_eq!(found.await, one("unexpected_feature of altitude", 0.25));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn text_in_a_numeric_feature_is_of_the_wrong_type(pool: PgPool) {
    let found = day_of(pool, |i, row| {
        if i % 2 == 0 {
            row["distance"] = json!("NW");
        }
    });
    assert_eq!(found.await, one("wrong_type of distance", 0.5));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn nulls_where_the_training_data_have_none_are_a_finding(pool: PgPool) {
    let found = day_of(pool, |i, row| {
        if i % 4 == 0 {
            row["seats"] = Value::Null;
        }
    });
    assert_eq!(found.await, one("null_share of seats", 0.25));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn numbers_beyond_the_range_of_the_file_are_out_of_range(pool: PgPool) {
    let found = day_of(pool, |i, row| {
        if i % 4 == 0 {
            row["distance"] = json!(1_000.5);
        }
    });
    assert_eq!(found.await, one("out_of_range of distance", 0.25));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_category_that_nobody_has_seen_is_unseen(pool: PgPool) {
    let found = day_of(pool, |i, row| {
        if i % 8 == 0 {
            row["carrier"] = json!("ZZ");
        }
    });
    assert_eq!(found.await, one("unseen_category of carrier", 0.125));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_share_within_the_tolerance_and_a_window_with_few_rows_are_no_finding(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let mut within = fares::day(at("2026-03-02"), ROWS);
    within[0]["distance"] = json!("NW");
    let mut few = fares::day(at("2026-03-03"), 9);
    for row in &mut few {
        row["distance"] = json!("NW");
    }
    app.predict("fares", &within).await;
    app.tick("2026-03-03").await;
    app.predict("fares", &few).await;
    app.tick("2026-03-04").await;
    let of = async |day| app.value("fares", "wrong_type", "distance", day).await;
    assert_eq!(of("2026-03-02").await, Some((Some(0.025), Status::Ok, 40)));
    assert_eq!(
        of("2026-03-03").await,
        Some((Some(1.0), Status::Insufficient, 9))
    );
}

/// The words of the only finding of a measure.
async fn words(app: &TestApp, measure: &str) -> (String, String) {
    let found: Vec<_> = app
        .measured("fares")
        .await
        .into_iter()
        .filter(|m| m.measure == measure && m.status == Status::Drift && m.segment.is_overall())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let detail = found[0].recipe["detail"].as_str().expect("words");
    (found[0].feature.clone(), detail.to_owned())
}

const RULE: &str = "rules:
  - name: skew
    model: fares
    title: What comes in does not fit the schema
    severity: critical
    when: {monitor: schema, measures: [MEASURES], status: drift}
";

/// A service that has lived through a day of changed rows, with a rule on some measures.
async fn lived(pool: PgPool, measures: &str, spoil: impl Fn(usize, &mut Value)) -> TestApp {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&RULE.replace("MEASURES", measures)).await;
    let mut rows = fares::day(at("2026-03-02"), ROWS);
    for (i, row) in rows.iter_mut().enumerate() {
        spoil(i, row);
    }
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    app
}

fn distance(row: &Value) -> f64 {
    row["distance"].as_f64().expect("a number")
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_change_of_unit_is_named_from_the_measurement_to_the_page(pool: PgPool) {
    let app = lived(pool, "unit_change", |_, row| {
        row["distance"] = json!(distance(row) * 1000.0);
    })
    .await;
    let (feature, detail) = words(&app, "unit_change").await;
    assert_eq!(feature, "distance");
    assert!(
        detail.starts_with("looks converted (× 1000): mean"),
        "{detail}"
    );

    let alerts = app.alerts().await;
    let condition = &alerts[0].condition;
    assert!(
        condition.starts_with("distance unit change: looks converted (× 1000)"),
        "{condition}"
    );
    let causes = alerts[0].explanation["causes"].to_string();
    assert!(
        causes.contains("unit change: looks converted (× 1000)"),
        "{causes}"
    );
    let reader = app.reader().await;
    let model = reader.page("/models/fares").await;
    assert!(
        model.contains("unit change: looks converted (× 1000)"),
        "{model}"
    );
    let alert = reader
        .page(&format!("/alerts/{}", alerts[0].alert_id))
        .await;
    assert!(alert.contains("looks converted (× 1000)"), "{alert}");

    // The next day all is well, and the alert is over.
    app.predict("fares", &fares::day(at("2026-03-03"), ROWS))
        .await;
    app.tick("2026-03-04").await;
    assert!(app.open_rules().await.is_empty());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_renamed_feature_is_named(pool: PgPool) {
    let app = lived(pool, "renamed_feature", |_, row| {
        let seats = row["seats"].take();
        row.as_object_mut().expect("a row").remove("seats");
        row["chairs"] = seats;
    })
    .await;
    let (feature, detail) = words(&app, "renamed_feature").await;
    assert_eq!(feature, "seats");
    assert!(
        detail.starts_with("probably renamed to \"chairs\": same type and distribution"),
        "{detail}"
    );
    assert_eq!(app.open_rules().await, ["skew"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn numbers_that_come_as_text_are_a_change_of_type(pool: PgPool) {
    let app = lived(pool, "type_change", |_, row| {
        row["distance"] = json!(format!("{:e}", distance(row)));
    })
    .await;
    let (feature, detail) = words(&app, "type_change").await;
    assert_eq!(feature, "distance");
    assert_eq!(
        detail,
        "40 of 40: text where the schema expects number: numbers written as text (100.0 % of the texts)"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn constant_coarse_and_empty_values_are_found_and_keep_no_retraining(pool: PgPool) {
    let app = lived(pool, "constant, granularity, empty_share", |i, row| {
        row["seats"] = json!(2);
        row["carrier"] = json!(if i % 4 == 0 { "" } else { "UA" });
        row["distance"] = json!((distance(row) / 10.0).round() * 10.0);
    })
    .await;
    let (feature, detail) = words(&app, "constant").await;
    assert_eq!(
        (feature.as_str(), detail.as_str()),
        ("seats", "all 40 values are 2; the reference varies")
    );
    let (feature, detail) = words(&app, "granularity").await;
    assert_eq!(
        (feature.as_str(), detail.as_str()),
        (
            "distance",
            "numbers come in steps of 10; in the reference 1"
        )
    );
    let (feature, detail) = words(&app, "empty_share").await;
    assert_eq!(
        (feature.as_str(), detail.as_str()),
        ("carrier", "10 of 40: empty texts; the reference has none")
    );
    assert_eq!(app.open_rules().await, ["skew"]);
    let model = app.model("fares").await;
    let open = alerting::schema_skew_is_open(&mut *app.conn().await, &model).await;
    assert_eq!(open.expect("reads"), None);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_feature_that_stood_still_for_some_days_is_frozen(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let weekly = "      - {name: weekly, kind: schema, window: week, min_rows: 10}\n";
    app.apply(&format!("{}{weekly}", fares::configuration("fares")))
        .await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    for day in 2..9 {
        let day = at(&format!("2026-03-0{day}"));
        let mut rows = fares::day(day, ROWS);
        if (at("2026-03-04")..at("2026-03-07")).contains(&day) {
            rows.iter_mut()
                .for_each(|row| row["distance"] = json!(444.25));
        }
        app.predict("fares", &rows).await;
        app.tick_at(day + TimeDelta::days(1)).await;
    }
    let weekly: Vec<_> = app.measured("fares").await;
    let found = weekly
        .iter()
        .find(|m| m.monitor == "weekly" && m.measure == "frozen" && m.feature == "distance");
    let found = found.expect("a finding");
    assert_eq!(
        (found.status, found.value),
        (Status::Drift, Some(120.0 / 280.0))
    );
    assert_eq!(
        found.recipe["detail"],
        "120 of 280: 444.2 in 3 base windows in a row; elsewhere it varies"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_feature_of_another_environment_is_not_missed(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let elsewhere = fares::configuration("fares").replace(
        "distance: {min: 0, max: 1000}",
        "distance: {min: 0, max: 1000}\n        carrier: {environments: [test]}",
    );
    app.apply(&elsewhere).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    let mut rows = fares::day(at("2026-03-02"), ROWS);
    for row in &mut rows {
        row.as_object_mut().expect("a row").remove("carrier");
    }
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    assert_eq!(findings(&app).await, BTreeMap::new());
    let here = elsewhere.replace("environments: [test]", "environments: [production, test]");
    app.apply(&here).await;
    app.tick("2026-03-04").await;
    assert_eq!(findings(&app).await, one("missing_feature of carrier", 1.0));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_that_come_out_of_order_are_counted_and_keep_no_retraining(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&RULE.replace("MEASURES", "out_of_order"))
        .await;
    let mut rows = fares::day(at("2026-03-02"), ROWS);
    for pair in rows.chunks_exact_mut(10) {
        pair.swap(0, 1);
    }
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    let found = app.value("fares", "out_of_order", "", "2026-03-02").await;
    // The first row of the request has none before it.
    assert_eq!(found, Some((Some(4.0 / 39.0), Status::Drift, 39)));
    assert_eq!(app.open_rules().await, ["skew"]);
    let model = app.model("fares").await;
    let open = alerting::schema_skew_is_open(&mut *app.conn().await, &model).await;
    assert_eq!(open.expect("reads"), None);

    // Rows in no order at all say nothing.
    let mut rows = fares::day(at("2026-03-03"), ROWS);
    rows.reverse();
    app.predict("fares", &rows).await;
    app.tick("2026-03-04").await;
    let found = app.value("fares", "out_of_order", "", "2026-03-03").await;
    assert_eq!(found, Some((Some(1.0), Status::Ok, 39)));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_that_repeat_earlier_ones_under_other_ids_are_found(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&RULE.replace("MEASURES", "duplicate_rows"))
        .await;
    let first = fares::day(at("2026-03-02"), ROWS);
    app.predict("fares", &first).await;
    app.settle().await;
    // Every tenth row comes again with another id and a minute later, in a delivery of its own.
    let again: Vec<_> = first
        .iter()
        .step_by(10)
        .map(|row| {
            let mut row = row.clone();
            let id = row["prediction_id"].as_str().expect("an id").to_owned();
            row["prediction_id"] = json!(format!("{id}-again"));
            row
        })
        .collect();
    app.predict("fares", &again).await;
    // The same rows with the same ids are no new rows at all.
    app.predict("fares", &first).await;
    app.tick("2026-03-03").await;
    let found = app.value("fares", "duplicate_rows", "", "2026-03-02").await;
    assert_eq!(found, Some((Some(4.0 / 44.0), Status::Drift, 44)));
    assert_eq!(app.open_rules().await, ["skew"]);
    app.predict("fares", &fares::day(at("2026-03-03"), ROWS))
        .await;
    app.tick("2026-03-04").await;
    let found = app.value("fares", "duplicate_rows", "", "2026-03-03").await;
    assert_eq!(found, Some((Some(0.0), Status::Ok, 40)));

    // Of a damaged summary nothing is said, however many rows come in later.
    sqlx::query("UPDATE window_states SET repeats = set_byte(repeats, 9, 255 - get_byte(repeats, 9)) WHERE repeats IS NOT NULL")
        .execute(&app.services.pool)
        .await
        .expect("is damaged");
    let more = fares::prediction(at("2026-03-03"), 99);
    app.predict("fares", &[more]).await;
    app.tick("2026-03-05").await;
    let found = app.value("fares", "duplicate_rows", "", "2026-03-03").await;
    assert!(matches!(found, Some((None, Status::Error, _))), "{found:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_order_of_rows_is_that_of_their_requests_however_these_are_packed(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&RULE.replace("MEASURES", "out_of_order"))
        .await;
    let requests = |day: &str| {
        let mut rows = fares::day(at(day), ROWS);
        // Of the first ten the second is earlier than the first; the requests themselves come in no order.
        rows.swap(0, 1);
        let mut requests: Vec<Vec<_>> = rows.chunks(10).map(<[_]>::to_vec).collect();
        requests.reverse();
        requests
    };
    // One after the other, each settled before the next comes.
    for request in requests("2026-03-02") {
        app.predict("fares", &request).await;
        app.settle().await;
    }
    app.tick("2026-03-03").await;
    // All at once, so that they share a batch and are settled together.
    let together = requests("2026-03-03");
    futures::future::join_all(together.iter().map(|rows| app.predict("fares", rows))).await;
    let batches = app
        .number("SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'")
        .await;
    assert!(batches < 4, "{batches} batches of four requests");
    app.tick("2026-03-04").await;
    let expected = Some((Some(1.0 / 36.0), Status::Ok, 36));
    for day in ["2026-03-02", "2026-03-03"] {
        let found = app.value("fares", "out_of_order", "", day).await;
        assert_eq!(found, expected, "{day}");
    }
    // Rows that come alone have no order to be out of.
    for row in fares::day(at("2026-03-04"), 5) {
        app.predict("fares", &[row]).await;
    }
    app.tick("2026-03-05").await;
    let found = app.value("fares", "out_of_order", "", "2026-03-04").await;
    assert_eq!(found, None);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn values_that_should_not_repeat_are_found_over_the_whole_window(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let key = fares::configuration("fares").replace(
        "distance: {min: 0, max: 1000}",
        "distance: {min: 0, max: 1000}\n        ticket: {type: integer, required: false, max_duplicate_share: 0}\n        \
         carrier: {min_distinct: 1, max_distinct: 2}",
    );
    app.apply(&(key + &RULE.replace("MEASURES", "duplicate_values")))
        .await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    // Beyond 2^53, where doubles cannot tell one from the next.
    let ticket = |i: usize| (1_i64 << 53) + i64::try_from(i).expect("small");
    let mut rows = fares::day(at("2026-03-02"), ROWS);
    for (i, row) in rows.iter_mut().enumerate() {
        row["ticket"] = json!(ticket(i));
    }
    app.predict("fares", &rows).await;
    app.settle().await;
    // A delivery of its own brings two tickets again, in another row.
    let mut again = fares::day(at("2026-03-02"), ROWS).split_off(36);
    for (i, row) in again.iter_mut().enumerate() {
        row["prediction_id"] = json!(format!("again-{i}"));
        row["ticket"] = json!(ticket(if i < 2 { i } else { 100 + i }));
    }
    app.predict("fares", &again).await;
    app.tick("2026-03-03").await;
    let found = app.value("fares", "duplicate_values", "ticket", "2026-03-02");
    assert_eq!(found.await, Some((Some(2.0 / 44.0), Status::Drift, 44)));
    let found = app.value("fares", "distinct_values", "carrier", "2026-03-02");
    assert_eq!(found.await, Some((Some(1.0), Status::Drift, 44)));
    assert_eq!(app.open_rules().await, ["skew"]);
    assert_profiles_equal_a_recount(&app, "fares").await;
    // A day without repeats resolves it.
    let mut rows = fares::day(at("2026-03-03"), ROWS);
    for (i, row) in rows.iter_mut().enumerate() {
        row["ticket"] = json!(ticket(i));
        row["carrier"] = json!("AA");
    }
    app.predict("fares", &rows).await;
    app.tick("2026-03-04").await;
    for measure in ["duplicate_values", "distinct_values"] {
        let found = app.value("fares", measure, "", "2026-03-03").await;
        assert_eq!(found, Some((Some(0.0), Status::Ok, 40)), "{measure}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_feature_may_have_a_tolerance_of_its_own(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let lenient = fares::configuration("fares").replace(
        "distance: {min: 0, max: 1000}",
        "distance: {min: 0, max: 1000, max_outside_share: 0.2}",
    );
    app.apply(&lenient).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    for (day, next, every, found) in [
        ("2026-03-02", "2026-03-03", 8, BTreeMap::new()),
        (
            "2026-03-03",
            "2026-03-04",
            4,
            one("out_of_range of distance", 0.25),
        ),
    ] {
        let mut rows = fares::day(at(day), ROWS);
        for row in rows.iter_mut().step_by(every) {
            row["distance"] = json!(1_234.5);
        }
        app.predict("fares", &rows).await;
        app.tick(next).await;
        assert_eq!(findings(&app).await, found, "{day}");
    }
}
