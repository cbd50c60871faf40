//! What people and machines are told, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bellwether::services::{alerting, delivery};
use chrono::TimeDelta;
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::app::{SECRET, TestApp, at};
use crate::fares;

/// A rule that a single bad day opens and a single good one resolves, told to `receiver`.
fn told(receiver: &str) -> String {
    format!(
        "rules:
  - name: quality
    model: fares
    title: Fares are off
    severity: critical
    receivers: [on-call]
    when: {{monitor: quality, measure: mae, above: 2.0}}
receivers:
  - {{name: on-call, {receiver}}}
"
    )
}

const BY_MAIL: &str = "email: {to: [ada@example.org]}";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_opened_alert_has_its_message_in_the_same_transaction_and_it_is_sent_once(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&told(BY_MAIL)).await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 40)).await;
    app.label("fares", &fares::labels(day, 40, 3.0)).await;
    app.tick("2026-03-03").await;
    let opened_with_message = app
        .number(
            "SELECT COUNT(*) FROM deliveries d JOIN alerts a USING (alert_id)
             WHERE d.xmin = (SELECT e.xmin FROM alert_events e WHERE e.alert_id = a.alert_id AND sequence = 1)
                OR d.state = 'delivered'",
        )
        .await;
    assert_eq!(opened_with_message, 1);
    app.work().await;
    app.work().await;
    assert_eq!(app.mail_files().len(), 1, "{:?}", app.mail_files());
    let deliveries = app.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(
        (deliveries[0].state.as_str(), deliveries[0].attempts),
        ("delivered", 1)
    );
    assert_eq!(deliveries[0].reason, "alert_opened");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn two_processes_that_step_one_rule_open_one_alert_with_one_message(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&told(BY_MAIL)).await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 40)).await;
    app.label("fares", &fares::labels(day, 40, 3.0)).await;
    app.clock.advance_to(at("2026-03-03"));
    app.settle().await;
    let now = at("2026-03-03");
    bellwether::services::evaluate::activate(&app.services, now)
        .await
        .expect("evaluates");
    let twin = app.services.clone();
    let (one, other) = tokio::join!(
        alerting::activate(&app.services, now),
        alerting::activate(&twin, now)
    );
    one.expect("steps");
    other.expect("steps");
    assert_eq!(app.alerts().await.len(), 1);
    assert_eq!(app.deliveries().await.len(), 1);
    let (one, other) = tokio::join!(
        delivery::activate(&app.services, now),
        delivery::activate(&twin, now)
    );
    assert_ne!(one.expect("delivers"), other.expect("delivers"));
    assert_eq!(app.mail_files().len(), 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_channel_that_is_down_is_tried_with_growing_pauses_until_it_is_back(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&told(BY_MAIL)).await;
    // A file where the directory of mails should be.
    std::fs::write(&app.mails, "in the way").expect("can be written");
    app.live_day(3.0).await;
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let due: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("SELECT not_before FROM deliveries")
                .fetch_one(&app.services.pool)
                .await
                .expect("one delivery");
        pauses.push((due - bellwether::domain::clock::Clock::now(&app.clock)).num_seconds());
        // A moment too early, nothing is tried.
        app.tick_at(due - TimeDelta::milliseconds(1)).await;
        assert_eq!(app.deliveries().await[0].attempts as usize, pauses.len());
        app.tick_at(due).await;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80]);
    // The resolution waits behind the message that the alert opened.
    app.tick("2026-03-03T01:00:00Z").await;
    let today = at("2026-03-03");
    app.predict("fares", &fares::day(today, 40)).await;
    app.label("fares", &fares::labels(today, 40, 1.0)).await;
    app.tick("2026-03-04").await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
    let undelivered = app.deliveries().await;
    assert_eq!(undelivered.len(), 2);
    assert!(undelivered.iter().all(|d| d.state == "waiting"));
    assert_eq!(undelivered[0].attempts, 0);

    std::fs::remove_file(&app.mails).expect("can be removed");
    app.tick("2026-03-04T01:00:00Z").await;
    let deliveries = app.deliveries().await;
    assert!(
        deliveries.iter().all(|d| d.state == "delivered"),
        "{deliveries:?}"
    );
    let order: Vec<String> = sqlx::query_scalar(
        "SELECT d.reason FROM delivery_attempts a JOIN deliveries d USING (delivery_id)
         WHERE a.outcome = 'delivered' ORDER BY a.ctid",
    )
    .fetch_all(&app.services.pool)
    .await
    .expect("attempts");
    assert_eq!(order, ["alert_opened", "alert_resolved"]);
    assert_eq!(app.mail_files().len(), 2);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn messages_of_one_alert_are_sent_in_order_even_when_written_at_one_instant(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let rule = told(BY_MAIL).replace("    receivers", "    runbook: ask\n    receivers");
    let runbook = "---
name: ask
title: Ask
first_step: Look.
---
```step
name: sure
kind: approve
question: Sure?
```
";
    app.apply_with_runbook(&format!("{}{rule}", fares::configuration("fares")), runbook)
        .await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    // Opening and asking happen at one instant of the clock.
    for _ in 0..8 {
        app.live_day(3.0).await;
        app.live_day(1.0).await;
    }
    let started: Vec<String> = sqlx::query_scalar(
        "SELECT string_agg(d.reason, ' ' ORDER BY a.ctid)
         FROM delivery_attempts a JOIN deliveries d USING (delivery_id) GROUP BY d.alert_id",
    )
    .fetch_all(&app.services.pool)
    .await
    .expect("attempts");
    assert_eq!(started.len(), 8);
    for order in started {
        assert_eq!(order, "alert_opened approval_requested alert_resolved");
    }
}

/// A receiver that can be told to fail and keeps what it was sent.
#[derive(Clone, Default)]
struct Hook {
    fails: Arc<AtomicBool>,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

async fn take(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    hook.got.lock().expect("not poisoned").push((headers, body));
    if hook.fails.load(Ordering::SeqCst) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::NO_CONTENT
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_webhook_is_signed_and_a_repetition_carries_the_same_key(pool: PgPool) {
    let hook = Hook::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let router = Router::new()
        .route("/hook", post(take))
        .with_state(hook.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let app = TestApp::reaching(pool, "2026-03-02", &[port]).await;
    let receiver = format!(
        "webhook: {{url: \"http://127.0.0.1:{port}/hook\", secret: {{env: BELLWETHER_SECRET_HOOK}}}}"
    );
    app.with_fares(&told(&receiver)).await;
    hook.fails.store(true, Ordering::SeqCst);
    app.live_day(3.0).await;
    hook.fails.store(false, Ordering::SeqCst);
    app.tick("2026-03-03T00:01:00Z").await;

    let got = hook.got.lock().expect("not poisoned").clone();
    assert_eq!(got.len(), 2);
    let verifier = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    for (headers, body) in &got {
        let header = |name: &str| headers[name].to_str().expect("text");
        let timestamp = header("webhook-timestamp").parse().expect("seconds");
        let expected = verifier
            .sign(header("webhook-id"), timestamp, body)
            .expect("signs");
        assert_eq!(header("webhook-signature"), expected);
    }
    assert_eq!(got[0].0["webhook-id"], got[1].0["webhook-id"]);
    let told: Value = serde_json::from_slice(&got[1].1).expect("JSON");
    assert_eq!(told["type"], "alert.opened");
    assert_eq!(told["data"]["model"], "fares");
    assert_eq!(
        told["data"]["what"],
        "Fares are off: mae 3.00 euros, limit 2.00, in the last day."
    );
    assert_eq!(app.deliveries().await[0].state, "delivered");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_webhook_into_the_inside_that_nobody_allowed_is_not_called(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&told(
        "webhook: {url: \"http://127.0.0.1:9/hook\", secret: {env: BELLWETHER_SECRET_HOOK}}",
    ))
    .await;
    app.live_day(3.0).await;
    let deliveries = app.deliveries().await;
    assert_eq!(deliveries[0].state, "failed");
    assert!(
        deliveries[0]
            .cause
            .as_deref()
            .expect("a cause")
            .contains("allowed")
    );
}
