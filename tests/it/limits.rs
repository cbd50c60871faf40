//! Alerts about what goes over the caps of a project: one for each cap, whatever number of models, names and days.

use bellwether::domain::rule::Severity;
use bellwether::services::alerting;
use bellwether::storage::alerts::{self, Alert};
use bellwether::storage::overflow::OverflowKind;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::caps::{inventive, over, registering, send};
use crate::fares;

const DAY: &str = "2026-03-03";

/// Two models in a project that says who is told about itself.
async fn two_models(app: &TestApp) {
    let models = ["fares", "calm"].map(fares::declared).concat();
    app.apply(&format!(
        "project: {{name: tests, receivers: [operations]}}
receivers:
  - {{name: operations, email: {{to: [operations@example.org]}}}}
models:\n{models}"
    ))
    .await;
    for model in ["fares", "calm"] {
        app.version(model, "v1").await;
        app.fit(model, "training", &fares::training()).await;
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_goes_over_a_cap_is_one_alert_of_the_project_until_a_day_without(pool: PgPool) {
    let mut app = TestApp::start(pool, DAY).await;
    app.services.bounds.features = 10;
    two_models(&app).await;
    // Two models bring a hundred names each, in several batches: four are known, six find room.
    for (model, rows) in [("fares", 0..60), ("calm", 0..100), ("fares", 60..100)] {
        app.predict(model, &inventive("2026-03-02", rows)).await;
        app.work().await;
    }
    let opened = app.alerts().await;
    let [alert] = opened.as_slice() else {
        panic!("one alert: {opened:?}");
    };
    assert_eq!(
        (alert.model_id, alert.rule.as_str()),
        (None, "limit(features)")
    );
    assert_eq!((alert.severity, alert.since), (Severity::Warning, at(DAY)));
    assert_eq!(
        alert.condition,
        "54 values of features dropped on 2026-03-03, most of fares (54)"
    );
    assert_eq!(mails(&app).await, ["alert_opened"]);

    // Another replica that looks at the same moment adds nothing.
    let other = app.replica().await;
    alerting::activate(&other, at(DAY)).await.expect("looks");
    assert_eq!(app.alerts().await.len(), 1);

    // The next day brings more and confirms it, once; the day after nothing, and with its end it is over.
    app.tick("2026-03-04").await;
    app.predict("calm", &inventive("2026-03-02", 100..110))
        .await;
    app.tick("2026-03-04T06:00:00Z").await;
    app.predict("calm", &inventive("2026-03-02", 110..120))
        .await;
    app.work().await;
    app.tick("2026-03-05T12:00:00Z").await;
    assert!(is_open(&app).await, "the day may still bring some");
    app.tick("2026-03-06").await;
    assert!(!is_open(&app).await);
    assert_eq!(app.history(alert).await, ["opened", "seen", "resolved"]);
    assert_eq!(mails(&app).await, ["alert_opened", "alert_resolved"]);

    // What comes later is another alert.
    app.predict("fares", &inventive("2026-03-02", 120..121))
        .await;
    app.work().await;
    assert_eq!(app.alerts().await.len(), 2);
}

async fn is_open(app: &TestApp) -> bool {
    app.alerts()
        .await
        .iter()
        .any(|alert| alert.resolved_at.is_none())
}

/// Why somebody was told, in order.
async fn mails(app: &TestApp) -> Vec<String> {
    let mut deliveries = app.deliveries().await;
    deliveries.sort_by_key(|delivery| delivery.delivery_id);
    deliveries.into_iter().map(|d| d.reason).collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn categories_beyond_those_counted_and_texts_too_long_are_told_each_by_itself(pool: PgPool) {
    let app = TestApp::start(pool, DAY).await;
    two_models(&app).await;
    let rows = |carriers: std::ops::Range<i32>| -> Vec<Value> {
        carriers
            .map(|i| {
                let mut row = fares::prediction(at("2026-03-02"), i);
                row["carrier"] = json!(format!("carrier {i}"));
                row["timestamp"] = json!(at("2026-03-02") + TimeDelta::seconds(i.into()));
                row
            })
            .collect()
    };
    // A thousand carriers have counts of their own, in whatever batches they come.
    app.predict("fares", &rows(0..700)).await;
    app.settle().await;
    assert_eq!(over(&app, "fares").await, []);
    app.predict("fares", &rows(700..1_250)).await;
    app.settle().await;
    assert_eq!(over(&app, "fares").await, [(OverflowKind::Categories, 250)]);
    let mut long = fares::prediction(at("2026-03-02"), 2_000);
    long["carrier"] = json!("x".repeat(100_000));
    let sound = fares::prediction(at("2026-03-02"), 2_001);
    let receipt = app.predict("calm", &[long, sound]).await;
    assert_eq!((receipt.kept, receipt.rejected), (1, 1));
    app.work().await;
    assert_eq!(over(&app, "calm").await, [(OverflowKind::Texts, 1)]);
    let mut opened: Vec<(String, Severity)> = (app.alerts().await.into_iter())
        .map(|alert| (alert.rule, alert.severity))
        .collect();
    opened.sort();
    assert_eq!(
        opened,
        [
            ("limit(categories)".to_owned(), Severity::Info),
            ("limit(texts)".to_owned(), Severity::Warning)
        ]
    );
    // The same rows again are duplicates: nothing more is over.
    app.predict("fares", &rows(700..1_250)).await;
    app.work().await;
    assert_eq!(over(&app, "fares").await, [(OverflowKind::Categories, 250)]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_flood_of_models_is_one_alert_and_other_projects_see_nothing_of_it(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let (full, other) = (
        registering(&app, "full").await,
        registering(&app, "other").await,
    );
    sqlx::query(
        "INSERT INTO models
         SELECT gen_random_uuid(), $1, 'model-' || n, 'regression', '', '', '', NULL, 'day', '{}', '2026-03-02'
         FROM generate_series(1, 1000) AS n",
    )
    .bind(full.0)
    .execute(&app.services.pool)
    .await
    .expect("models");
    for n in 0..20 {
        send(&app, full, &format!("one-more-{n}"), "v1")
            .await
            .expect_err("no room");
    }
    send(&app, other, "one-more", "v1")
        .await
        .expect("there is room");
    app.work().await;
    let of = async |project| -> Vec<Alert> {
        let alerts = alerts::list(&mut *app.conn().await, project, false, 100).await;
        alerts.expect("alerts")
    };
    let told = of(full).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].condition,
        "20 uploads for models that could not be registered on 2026-03-02"
    );
    assert_eq!(of(other).await, []);
    assert_eq!(app.alerts().await, []);
    // Nobody is named by the project, and so nobody is told.
    assert_eq!(app.number("SELECT COUNT(*) FROM deliveries").await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_pages_show_an_alert_of_the_project(pool: PgPool) {
    let mut app = TestApp::start(pool, DAY).await;
    app.services.bounds.features = 10;
    app.with_fares("").await;
    app.predict("fares", &inventive("2026-03-02", 0..20)).await;
    app.work().await;
    let reader = app.reader().await;
    let list = reader.page("/alerts").await;
    assert!(
        list.contains("More features than a model has room for"),
        "{list}"
    );
    assert!(list.contains("the project"), "{list}");
    let alert = app.alerts().await.remove(0);
    let page = reader.page(&format!("/alerts/{}", alert.alert_id)).await;
    assert!(
        page.contains("14 values of features dropped on 2026-03-03"),
        "{page}"
    );
    assert!(page.contains("sent as the name of a feature"), "{page}");
    // How many, as a whole number; and what happened is said once.
    assert!(page.contains("<span class=\"big\">14</span>"), "{page}");
    let opened = "<strong>opened</strong> <bdi>14 values of features dropped";
    assert!(page.contains(opened), "{page}");
    let model = reader.page("/models/fares").await;
    assert!(
        model.contains("14 values of features were dropped"),
        "{model}"
    );
}
