//! What does not fit the schema is found, with its share, and nothing else is blamed.

use std::collections::BTreeMap;

use bellwether::domain::measurement::Status;
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
