//! Caps: what a sender makes up beyond them is counted and told once, and no other project notices.

use bellwether::domain::clock::Clock;
use bellwether::domain::ids::ProjectId;
use bellwether::formats::{Format, Limits};
use bellwether::services::ingest::{self, Intake, Upload};
use bellwether::services::{Error, Services, settle};
use bellwether::storage::access;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::overflow::{self, OverflowKind};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at, lines};
use crate::fares;
use crate::snapshot::{assert_profiles_equal_a_recount, profiles};

const DAY: &str = "2026-03-02";

pub async fn over(app: &TestApp, model: &str) -> Vec<(OverflowKind, i64)> {
    let model = app.model(model).await;
    let counts = overflow::of_model(&mut *app.conn().await, model.project_id, model.model_id).await;
    let counts = counts.expect("counts").into_iter();
    counts.map(|count| (count.kind, count.rows)).collect()
}

async fn told(app: &TestApp) -> i64 {
    app.number("SELECT COUNT(*) FROM audit_events WHERE action = 'intake.overflowed'")
        .await
}

/// A day's predictions, in which each row brings a feature that no other has.
pub fn inventive(day: &str, rows: std::ops::Range<i32>) -> Vec<Value> {
    rows.map(|i| {
        let mut row = fares::prediction(at(day), i);
        row[format!("invented_{i:03}")] = json!(i);
        row
    })
    .collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn features_beyond_the_cap_are_dropped_counted_and_told_once_a_day(pool: PgPool) {
    let mut app = TestApp::start(pool, "2026-03-03").await;
    app.services.bounds.features = 10;
    let two = ["fares", "calm"].map(fares::declared).concat();
    app.apply(&format!("models:\n{two}")).await;
    for model in ["fares", "calm"] {
        app.version(model, "v1").await;
        app.fit(model, "training", &fares::training()).await;
        app.predict(model, &fares::day(at(DAY), 20)).await;
        app.settle().await;
    }
    let calm = profiles(&app, "calm").await;

    // Four features are known; six of the hundred find room.
    app.predict("fares", &inventive(DAY, 100..200)).await;
    app.settle().await;
    assert_eq!(over(&app, "fares").await, [(OverflowKind::Features, 94)]);
    assert_eq!(told(&app).await, 1);
    let features = app
        .number("SELECT COUNT(DISTINCT feature) FROM feature_values WHERE feature LIKE 'invented%'")
        .await;
    assert_eq!(features, 6);
    let distance = app
        .number("SELECT COUNT(*) FROM feature_values WHERE feature = 'distance'")
        .await;
    assert_eq!(
        distance,
        20 + 20 + 100,
        "rows keep the features that are known"
    );
    app.assert_conserved("fares").await;
    let accepted = app.count("fares", BatchKind::Predictions, "accepted").await;
    assert_eq!(accepted, 120);

    // The same again are duplicates; others count on, and are not told again on that day.
    app.predict("fares", &inventive(DAY, 100..200)).await;
    app.predict("fares", &inventive(DAY, 200..210)).await;
    app.settle().await;
    let duplicate = app
        .count("fares", BatchKind::Predictions, "duplicate")
        .await;
    assert_eq!(duplicate, 100);
    assert_eq!(over(&app, "fares").await, [(OverflowKind::Features, 104)]);
    assert_eq!(told(&app).await, 1);
    app.clock.advance_to(at("2026-03-04"));
    app.predict("fares", &inventive(DAY, 210..211)).await;
    app.settle().await;
    assert_eq!(told(&app).await, 2);

    assert_eq!(over(&app, "calm").await, []);
    assert_eq!(profiles(&app, "calm").await, calm);
    assert_profiles_equal_a_recount(&app, "fares").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn values_of_a_segment_beyond_the_cap_count_under_no_value_of_their_own(pool: PgPool) {
    let mut app = TestApp::start(pool, DAY).await;
    app.services.bounds.segment_values = 3;
    app.with_fares("").await;
    let rows = |day: &str, values: std::ops::Range<i32>| -> Vec<Value> {
        values
            .map(|i| {
                let mut row = fares::prediction(at(day), i);
                row["segments"] = json!({"origin": format!("A{i:02}")});
                row
            })
            .collect()
    };
    app.predict("fares", &rows(DAY, 0..2)).await;
    app.settle().await;
    app.predict("fares", &rows(DAY, 2..12)).await;
    let labels: Vec<Value> = (0..12).map(|i| fares::label(at(DAY), i, 2.0)).collect();
    app.label("fares", &labels).await;
    app.settle().await;
    // Each window has room of its own.
    app.predict("fares", &rows("2026-03-01", 20..23)).await;
    app.tick("2026-03-04").await;
    assert_eq!(
        over(&app, "fares").await,
        [(OverflowKind::SegmentValues, 9)]
    );
    assert_eq!(told(&app).await, 1);
    let values: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT segment_value FROM profiles WHERE segment_name = 'origin' ORDER BY 1",
    )
    .fetch_all(&app.services.pool)
    .await
    .expect("values");
    assert_eq!(values, ["A00", "A01", "A02", "A20", "A21", "A22"]);
    let measured = app
        .number(
            "SELECT COUNT(DISTINCT segment_value) FROM measurements
             WHERE measure = 'mae' AND segment_name = 'origin' AND window_start = '2026-03-02'",
        )
        .await;
    assert_eq!(measured, 3);
    let traffic = app
        .value("fares", "traffic", "", DAY)
        .await
        .expect("is measured");
    assert_eq!(traffic.2, 12, "overall, every row counts");
    let kept = app
        .number("SELECT COUNT(DISTINCT value) FROM segment_values WHERE segment = 'origin'")
        .await;
    assert_eq!(kept, 15, "rows keep their value");
    assert_profiles_equal_a_recount(&app, "fares").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_segment_declared_anew_keeps_to_the_cap_that_is_set(pool: PgPool) {
    let mut app = TestApp::start(pool, DAY).await;
    app.services.bounds.segment_values = 2;
    app.with_fares("").await;
    let rows: Vec<Value> = (0..12).map(|i| fares::prediction(at(DAY), i)).collect();
    app.predict("fares", &rows).await;
    app.settle().await;
    let carriers = "SELECT COUNT(DISTINCT text) FROM feature_values WHERE feature = 'carrier'";
    assert_eq!(app.number(carriers).await, 3);
    let declared = fares::configuration("fares").replace("[origin]", "[carrier, origin]");
    app.apply(&declared).await;
    let counted =
        "SELECT COUNT(DISTINCT segment_value) FROM profiles WHERE segment_name = 'carrier'";
    assert_eq!(app.number(counted).await, 2);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_full_project_takes_no_further_model_and_another_project_does(pool: PgPool) {
    let app = TestApp::start(pool, DAY).await;
    let other = registering(&app, "other").await;
    let full = registering(&app, "full").await;
    let filled = sqlx::query(
        "INSERT INTO models
         SELECT gen_random_uuid(), $1, 'model-' || n, 'regression', '', '', '', NULL, 'day', '{}', '2026-03-02'
         FROM generate_series(1, 1000) AS n",
    );
    filled
        .bind(full.0)
        .execute(&app.services.pool)
        .await
        .expect("models");
    for _ in 0..2 {
        let refused = send(&app, full, "one-more", "v1").await;
        assert!(
            matches!(&refused, Err(Error::Conflict(cause)) if cause.contains("1000 models")),
            "{refused:?}"
        );
    }
    send(&app, full, "model-7", "v1")
        .await
        .expect("it is known");
    send(&app, other, "one-more", "v1")
        .await
        .expect("there is room");
    let counted = app
        .number("SELECT SUM(rows)::bigint FROM overflow_counts WHERE kind = 'models'")
        .await;
    assert_eq!((counted, told(&app).await), (2, 1));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_model_with_too_many_versions_refuses_rows_of_further_ones_alone(pool: PgPool) {
    let app = TestApp::start(pool, DAY).await;
    let project = registering(&app, "versions").await;
    send(&app, project, "fares", "v1").await.expect("registers");
    let filled = sqlx::query(
        "INSERT INTO model_versions (model_version_id, project_id, model_id, name, lineage, created_at, created_by)
         SELECT gen_random_uuid(), project_id, model_id, 'w' || n, '{}', '2026-03-02', 'tests'
         FROM models, generate_series(2, 1000) AS n WHERE name = 'fares'",
    );
    filled.execute(&app.services.pool).await.expect("versions");
    app.clock.advance_to(at(DAY) + TimeDelta::minutes(5));
    let receipt = send(&app, project, "fares", "x1")
        .await
        .expect("is answered");
    assert_eq!((receipt.kept, receipt.rejected), (1, 1));
    assert!(receipt.rejects[0].cause.contains("1000 versions"));
    let receipt = send(&app, project, "fares", "w7")
        .await
        .expect("is answered");
    assert_eq!((receipt.kept, receipt.rejected), (2, 0));
    assert_eq!(told(&app).await, 1);
    // The database is not asked about each of many that there is no room for: that would take longer than a sender waits.
    let many: Vec<String> = (0..1_000).map(|n| format!("y{n}")).collect();
    let receipt = send_versions(&app, project, &many).await;
    let receipt = receipt.expect("is answered");
    assert_eq!((receipt.kept, receipt.rejected), (0, 1_000));
    assert_eq!(versions_beyond(&app).await, 1_001);
}

async fn versions_beyond(app: &TestApp) -> i64 {
    let counted =
        "SELECT COALESCE(SUM(rows), 0)::bigint FROM overflow_counts WHERE kind = 'versions'";
    app.number(counted).await
}

/// Rows of `fares`, each of another version.
async fn send_versions(
    app: &TestApp,
    project_id: ProjectId,
    versions: &[String],
) -> Result<ingest::Receipt, Error> {
    let rows: Vec<Value> = (100..)
        .zip(versions)
        .map(|(i, version)| {
            let mut row = fares::prediction(at(DAY), i % 20);
            row["prediction_id"] = json!(format!("one of {version}, {i}"));
            row["version"] = json!(version);
            row
        })
        .collect();
    let upload = Upload {
        project_id,
        model: "fares",
        format: Format::Ndjson,
        body: lines(&rows),
        version: None,
        generation: None,
    };
    ingest::predictions(&app.services, upload).await
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_version_that_cannot_be_registered_costs_its_own_rows_alone(pool: PgPool) {
    let app = TestApp::start(pool, DAY).await;
    let project = registering(&app, "versions").await;
    send(&app, project, "fares", "v1").await.expect("registers");
    let versions = ["v2", "1.4.0+build.7", "v3", "a/b"].map(str::to_owned);
    let receipt = send_versions(&app, project, &versions).await;
    let receipt = receipt.expect("is answered");
    let refused: Vec<(u64, &str)> = (receipt.rejects.iter())
        .map(|reject| (reject.line, reject.reason.as_str()))
        .collect();
    assert_eq!(refused, [(2, "unknown_version"), (4, "unknown_version")]);
    assert_eq!((receipt.received, receipt.kept), (4, 2));
    // Nothing was too many.
    assert_eq!(versions_beyond(&app).await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn versions_of_rows_that_are_refused_are_not_registered(pool: PgPool) {
    let app = TestApp::start(pool, DAY).await;
    let project = registering(&app, "versions").await;
    send(&app, project, "fares", "v1").await.expect("registers");
    sqlx::query(
        "INSERT INTO project_retention (project_id, raw_closed_before) VALUES ($1, '2026-03-02')
         ON CONFLICT (project_id) DO UPDATE SET raw_closed_before = EXCLUDED.raw_closed_before",
    )
    .bind(project.0)
    .execute(&app.services.pool)
    .await
    .expect("closed");
    let mut row = fares::prediction(at("2026-02-01"), 1);
    row["version"] = json!("v2");
    let upload = Upload {
        project_id: project,
        model: "fares",
        format: Format::Ndjson,
        body: lines(&[row]),
        version: None,
        generation: None,
    };
    let receipt = ingest::predictions(&app.services, upload).await;
    let receipt = receipt.expect("is answered");
    assert_eq!(receipt.rejects[0].reason.as_str(), "past_retention");
    assert_eq!(app.number("SELECT COUNT(*) FROM model_versions").await, 1);
}

pub async fn registering(app: &TestApp, name: &str) -> ProjectId {
    let (now, mut conn) = (at(DAY), app.conn().await);
    access::project_named(&mut conn, ProjectId::new(now), name, true, now)
        .await
        .expect("the project is made")
}

/// A row of version v1 and one of `version`.
pub async fn send(
    app: &TestApp,
    project_id: ProjectId,
    model: &str,
    version: &str,
) -> Result<ingest::Receipt, Error> {
    let rows = [(1, "v1"), (2, version)].map(|(i, version)| {
        let mut row = fares::prediction(at(DAY), i);
        row["version"] = json!(version);
        row
    });
    let upload = Upload {
        project_id,
        model,
        format: Format::Ndjson,
        body: lines(&rows),
        version: None,
        generation: None,
    };
    ingest::predictions(&app.services, upload).await
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn senders_come_back_while_too_much_waits_to_be_settled(pool: PgPool) {
    let app = TestApp::start(pool.clone(), "2026-03-03").await;
    app.with_fares("").await;
    let services = Services {
        intake: Intake::start(pool.clone(), pool, Limits::default(), 20),
        ..app.services.clone()
    };
    let send = async |rows: std::ops::Range<i32>| {
        let rows: Vec<Value> = rows.map(|i| fares::prediction(at(DAY), i)).collect();
        let upload = Upload {
            project_id: app.project,
            model: "fares",
            format: Format::Ndjson,
            body: lines(&rows),
            version: None,
            generation: None,
        };
        ingest::predictions(&services, upload).await
    };
    let now = app.clock.now();
    send(0..20).await.expect("there is room");
    settle::activate(&services, now).await.expect("settles");
    let refused = send(20..21).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    assert_eq!(services.intake.backlog(), 20, "as they were counted");
    let is_left = settle::activate(&services, now).await.expect("settles");
    assert!(!is_left);
    send(20..21).await.expect("there is room again");
    app.settle().await;
    let stored = app.number("SELECT COUNT(*) FROM predictions").await;
    assert_eq!(stored, 21);
}
