//! From an alert to a new champion and back: diagnosis, approval, pipeline, gate, promotion, watch. The pipeline
//! is a real HTTP server that is told how to behave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use bellwether::domain::clock::Clock;
use bellwether::domain::ids::{AlertId, RunId};
use bellwether::domain::pipeline::{CandidateReport, PipelineState, PipelineStatus};
use bellwether::services::promotion::{self, Order};
use bellwether::services::{Error, retraining, runbooks};
use bellwether::storage::alerts::{self, Alert};
use bellwether::storage::{models, runs};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::app::{TestApp, at};
use crate::fares;

const RUNBOOK: &str = "---
name: mend
title: Mend the fares
first_step: Look at the diagnosis.
---
```step
name: look
kind: diagnose
checks: [schema_findings, worst_segments, recent_changes, label_coverage, traffic]
```
```step
name: approve
kind: approve
question: Train again?
```
```step
name: retrain
kind: trigger
pipeline: retrain
```
```step
name: compare
kind: gate
days: 2
label_wait: 1h
min_labels: 20
min_improvement: 0.05
segment_tolerance: 0.05
segment_min_labels: 5
```
```step
name: promote
kind: promote
version: candidate
```
```step
name: watch
kind: watch
window: day
margin: 0.05
windows: 2
min_labels: 10
propose: rollback
```
";

/// A pipeline that takes runs, or takes them and dies.
#[derive(Clone, Default)]
struct FakePipeline {
    hangs: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Value>>>,
    heard: Arc<Notify>,
}

impl FakePipeline {
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new()
            .route("/runs", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// Run key and callback token of the newest request.
    fn credentials(&self) -> (String, String) {
        let asked = self.asked();
        let newest = asked.last().expect("the pipeline was asked");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&newest["run_key"]), text(&newest["callback"]["token"]))
    }
}

async fn take(State(pipeline): State<FakePipeline>, body: Bytes) -> Json<Value> {
    let request = serde_json::from_slice(&body).expect("JSON");
    pipeline.asked.lock().expect("not poisoned").push(request);
    pipeline.heard.notify_one();
    if pipeline.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    Json(json!({"id": 17, "link": "/runs/17"}))
}

/// The story so far: a bad day has opened the alert, and its run asks whether to train again.
struct Story {
    app: TestApp,
    pipeline: FakePipeline,
    run: RunId,
}

impl Story {
    async fn begin(pool: PgPool, idempotent: bool) -> Self {
        Self::begin_with(pool, idempotent, |_| {}).await
    }

    async fn begin_with(pool: PgPool, idempotent: bool, spoil: impl Fn(&mut Value)) -> Self {
        let pipeline = FakePipeline::default();
        let port = pipeline.start().await;
        let app = TestApp::reaching(pool, "2026-03-02", &[port]).await;
        let configuration = format!(
            "{}rules:
  - {{name: schema-skew, model: fares, title: Features look odd, severity: critical, receivers: [on-call],
     when: {{monitor: schema, measures: [wrong_type], status: drift}}}}
  - {{name: quality, model: fares, title: Fares are off, severity: warning, runbook: mend, receivers: [on-call],
     when: {{monitor: quality, measure: mae, above: 2.0}}}}
  - {{name: quality-worse, model: fares, title: Fares are far off, severity: critical, runbook: mend,
     receivers: [on-call], when: {{monitor: quality, measure: mae, above: 2.5}}}}
receivers:
  - {{name: on-call, email: {{to: [ada@example.org]}}}}
pipelines:
  - {{name: retrain, url: \"http://127.0.0.1:{port}/runs\", idempotent: {idempotent}, timeout: 30d, poll: 1h}}
",
            fares::configuration("fares")
        );
        app.apply_with_runbook(&configuration, RUNBOOK).await;
        app.version("fares", "v1").await;
        app.fit("fares", "training", &fares::training()).await;
        let day = at("2026-03-02");
        let mut rows = fares::day(day, 40);
        rows.iter_mut().for_each(spoil);
        app.predict("fares", &rows).await;
        app.label("fares", &fares::labels(day, 40, 3.0)).await;
        app.tick("2026-03-03").await;
        let runs = app.runs().await;
        assert_eq!(runs.len(), 1, "{runs:?}");
        Self {
            run: runs[0].run_id,
            app,
            pipeline,
        }
    }

    async fn approve(&self) {
        let person = self.app.person("Ada").await;
        self.app
            .answer(self.run, person, true, "the world has changed")
            .await
            .expect("approved");
    }

    async fn report(&self, status: &PipelineStatus) -> Result<(), Error> {
        let (run_key, token) = self.pipeline.credentials();
        retraining::report(&self.app.services, &run_key, &token, status).await
    }

    /// Approves, and lets the pipeline deliver `version`.
    async fn retrain(&self, version: &str) {
        self.approve().await;
        self.app.work().await;
        self.report(&succeeded(version))
            .await
            .expect("the report is taken");
        self.app.work().await;
    }

    /// A day on which v1 is off by `error` and v2 predicts less than v1 by `less(origin)`.
    async fn live_day(&self, error: f64, less: impl Fn(&str) -> f64) {
        let today = self.app.clock.now();
        let midnight = bellwether::domain::window::Grain::Day.window_at(today);
        let day = midnight.start;
        let mut rows = Vec::new();
        for i in 0..40 {
            let mut of_v1 = fares::prediction(day, i);
            of_v1["version"] = json!("v1");
            let mut of_v2 = of_v1.clone();
            of_v2["version"] = json!("v2");
            let value = of_v1["prediction"].as_f64().expect("a number");
            let origin = of_v1["origin"].as_str().expect("a text");
            of_v2["prediction"] = json!(value - less(origin));
            rows.extend([of_v1, of_v2]);
        }
        self.app.predict("fares", &rows).await;
        self.app
            .label("fares", &fares::labels(day, 40, error))
            .await;
        self.app.tick_at(midnight.end).await;
    }

    async fn states(&self, run: RunId) -> Vec<String> {
        let steps = self.app.steps(run).await;
        steps.into_iter().map(|(_, state)| state).collect()
    }

    async fn run_state(&self) -> (String, String) {
        let runs = self.app.runs().await;
        let run = runs.into_iter().find(|run| run.run_id == self.run);
        let run = run.expect("the run is there");
        (run.state, run.outcome)
    }
}

fn succeeded(version: &str) -> PipelineStatus {
    PipelineStatus {
        state: PipelineState::Succeeded,
        detail: "trained".to_owned(),
        candidate: Some(CandidateReport {
            version: version.to_owned(),
            lineage: json!({"rows": 200}),
        }),
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_bad_day_is_diagnosed_approved_retrained_compared_promoted_watched_and_undone(
    pool: PgPool,
) {
    let story = Story::begin(pool, true).await;
    let app = &story.app;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 2);
    assert_eq!(
        story.states(story.run).await,
        [
            "succeeded",
            "waiting",
            "pending",
            "pending",
            "pending",
            "pending"
        ]
    );
    let history = app.history(&alerts[0]).await;
    assert_eq!(history, ["opened", "runbook_started", "diagnosis"]);
    // The second alert is about the same loss: it does not train a second time.
    assert_eq!(app.history(&alerts[1]).await, ["opened", "runbook_skipped"]);

    story.retrain("v2").await;
    assert_eq!(story.pipeline.asked().len(), 1);
    assert_eq!(story.pipeline.asked()[0]["model"], "fares");
    let roles = app.roles("fares").await;
    assert_eq!((roles["v1"], roles["v2"]), ("champion", "challenger"));
    assert_eq!(
        story.states(story.run).await[..4],
        ["succeeded", "succeeded", "succeeded", "running"]
    );

    // v1 is off by 3, v2 by 1, on both days.
    story.live_day(3.0, |_| 2.0).await;
    story.live_day(3.0, |_| 2.0).await;
    // The labels have an hour.
    assert_eq!(story.states(story.run).await[3], "running");
    app.tick("2026-03-05T01:00:00Z").await;
    assert_eq!(
        story.states(story.run).await,
        [
            "succeeded",
            "succeeded",
            "succeeded",
            "succeeded",
            "succeeded",
            "running"
        ]
    );
    let gate = &runs::gate_results(&mut *app.conn().await, app.project)
        .await
        .expect("results")[0];
    assert_eq!(gate.verdict, "accepted");
    assert_eq!(
        (gate.window_from, gate.window_to),
        (at("2026-03-03"), at("2026-03-05"))
    );
    let compared: Vec<(String, f64, f64, u64)> = gate
        .comparisons
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| {
            let number = |name: &str| c[name].as_f64().expect("a number");
            let segment = c["segment"].as_str().expect("text").to_owned();
            (
                segment,
                number("champion"),
                number("candidate"),
                number("labels") as u64,
            )
        })
        .collect();
    assert_eq!(
        compared,
        [
            (String::new(), 3.0, 1.0, 80),
            ("origin=EWR".to_owned(), 3.0, 1.0, 40),
            ("origin=JFK".to_owned(), 3.0, 1.0, 40),
        ]
    );
    let roles = app.roles("fares").await;
    assert_eq!((roles["v1"], roles["v2"]), ("shadow", "champion"));
    let promotions = runs::promotions(&mut *app.conn().await, app.project, None)
        .await
        .expect("promotions");
    assert_eq!(promotions.len(), 1);
    assert_eq!(
        (
            promotions[0].from_name.as_deref(),
            promotions[0].to_name.as_str()
        ),
        (Some("v1"), "v2")
    );
    assert_eq!(promotions[0].promoted_by, "Ada");
    assert_eq!(story.run_state().await.0, "watching");
    // The new champion's windows are fine.
    assert_eq!(app.open_rules().await, Vec::<String>::new());

    // The old world comes back: v1 is off by 0.5, v2 by 1.5.
    story.live_day(0.5, |_| 2.0).await;
    story.live_day(0.5, |_| 2.0).await;
    assert_eq!(app.runs().await.len(), 1);
    app.tick("2026-03-08").await;
    let runs = app.runs().await;
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].runbook, "rollback");
    assert_eq!(runs[1].started_by, "watch of v2");
    assert_eq!(story.run_state().await.0, "succeeded");
    assert_eq!(
        story.states(runs[1].run_id).await,
        ["succeeded", "waiting", "pending"]
    );
    let grace = app.person("Grace").await;
    app.answer(runs[1].run_id, grace, true, "winter is back")
        .await
        .expect("approved");
    app.work().await;
    let roles = app.roles("fares").await;
    assert_eq!((roles["v1"], roles["v2"]), ("champion", "shadow"));
    assert_eq!(
        story.states(runs[1].run_id).await,
        ["succeeded", "succeeded", "succeeded"]
    );
    let told: Vec<String> = app
        .deliveries()
        .await
        .into_iter()
        .rev()
        .map(|d| d.reason)
        .collect();
    assert_eq!(
        told,
        [
            "alert_opened",
            "alert_opened",
            "approval_requested",
            "candidate_promoted",
            "alert_resolved",
            "alert_resolved",
            "rollback_proposed",
            "candidate_promoted"
        ]
    );
    assert_eq!(app.mail_files().len(), 8);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_approval_needs_a_reason_and_is_given_once(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    let app = &story.app;
    let ada = app.person("Ada").await;
    for reason in ["", " \n", "a\0b"] {
        let refused = app.answer(story.run, ada, true, reason).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{reason:?}: {refused:?}"
        );
    }
    app.answer(story.run, ada, false, "one bad day is no reason")
        .await
        .expect("declined");
    let second = app.answer(story.run, ada, true, "but I want it").await;
    assert!(matches!(second, Err(Error::Conflict(_))), "{second:?}");
    app.work().await;
    assert_eq!(
        story.run_state().await,
        (
            "cancelled".to_owned(),
            "declined: one bad day is no reason".to_owned()
        )
    );
    assert_eq!(
        story.states(story.run).await,
        [
            "succeeded",
            "refused",
            "skipped",
            "skipped",
            "skipped",
            "skipped"
        ]
    );
    assert_eq!(story.pipeline.asked(), Vec::<Value>::new());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_model_whose_schema_is_skewed_is_not_retrained(pool: PgPool) {
    let story = Story::begin_with(pool, true, |row| row["distance"] = json!("NW")).await;
    assert!(
        story
            .app
            .open_rules()
            .await
            .contains(&"schema-skew".to_owned())
    );
    story.approve().await;
    story.app.work().await;
    let (state, outcome) = story.run_state().await;
    assert_eq!(state, "refused");
    assert!(
        outcome.starts_with("schema skew is open (rule \"schema-skew\")"),
        "{outcome}"
    );
    assert_eq!(story.states(story.run).await[2], "refused");
    assert_eq!(story.pipeline.asked(), Vec::<Value>::new());
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_report_with_a_wrong_token_or_key_is_not_found_and_one_made_twice_counts_once(
    pool: PgPool,
) {
    let story = Story::begin(pool, true).await;
    story.approve().await;
    story.app.work().await;
    let (run_key, token) = story.pipeline.credentials();
    let services = &story.app.services;
    for (key, token) in [
        (run_key.as_str(), "wrong"),
        ("nobody", token.as_str()),
        (&run_key, ""),
    ] {
        let refused = retraining::report(services, key, token, &succeeded("v2")).await;
        assert!(
            matches!(refused, Err(Error::NotFound { .. })),
            "{key}: {refused:?}"
        );
    }
    let running = PipelineStatus {
        state: PipelineState::Running,
        ..succeeded("v2")
    };
    story.report(&running).await.expect("taken");
    story.app.work().await;
    assert_eq!(story.app.roles("fares").await.len(), 1);
    story.report(&succeeded("v2")).await.expect("taken");
    story
        .report(&succeeded("v3"))
        .await
        .expect("taken, and without effect");
    story.app.work().await;
    let roles: Vec<String> = story.app.roles("fares").await.into_keys().collect();
    assert_eq!(roles, ["v1", "v2"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_candidate_that_is_hardly_better_is_refused_and_becomes_a_shadow(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    story.retrain("v2").await;
    story.live_day(3.0, |_| 0.125).await;
    story.live_day(3.0, |_| 0.125).await;
    story.app.tick("2026-03-05T01:00:00Z").await;
    let (state, outcome) = story.run_state().await;
    assert_eq!(state, "refused");
    assert_eq!(
        outcome,
        "v2 was refused: mae 2.88 against the champion's 3.00: 4.2 % better, 5.0 % better is needed"
    );
    let roles = story.app.roles("fares").await;
    assert_eq!((roles["v1"], roles["v2"]), ("champion", "shadow"));
    let reasons: Vec<String> = story
        .app
        .deliveries()
        .await
        .into_iter()
        .map(|d| d.reason)
        .collect();
    assert!(
        reasons.contains(&"candidate_refused".to_owned()),
        "{reasons:?}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_candidate_that_is_worse_on_one_segment_is_refused(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    story.retrain("v2").await;
    let less = |origin: &str| if origin == "EWR" { 2.0 } else { -0.5 };
    story.live_day(3.0, less).await;
    story.live_day(3.0, less).await;
    story.app.tick("2026-03-05T01:00:00Z").await;
    let (state, outcome) = story.run_state().await;
    assert_eq!(state, "refused");
    assert!(
        outcome.contains("but on origin=JFK 16.7 % worse"),
        "{outcome}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_pipeline_that_delivers_the_champion_leaves_it_the_champion(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    story.retrain("v1").await;
    story.live_day(3.0, |_| 0.0).await;
    assert_eq!(story.run_state().await.0, "failed");
    assert_eq!(story.app.roles("fares").await["v1"], "champion");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_delivery_that_cannot_be_stored_ends_the_run_and_says_so(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    story.approve().await;
    story.app.work().await;
    let mut status = succeeded("v2/../v3");
    status.detail = "a\0b".to_owned();
    story.report(&status).await.expect("taken");
    story.app.work().await;
    let (state, outcome) = story.run_state().await;
    assert_eq!(state, "failed");
    assert!(
        outcome.contains("it delivered a version that cannot be taken"),
        "{outcome}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_a_pipeline_says_is_kept_even_with_characters_postgres_cannot_keep(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    story.approve().await;
    story.app.work().await;
    let mut status = succeeded("v2");
    status.detail = "a\0b".to_owned();
    status.candidate = Some(CandidateReport {
        version: "v2".to_owned(),
        lineage: json!({"a\0b": ["c\0d"]}),
    });
    story.report(&status).await.expect("taken");
    story.app.work().await;
    assert_eq!(story.app.roles("fares").await["v2"], "challenger");
}

/// Approves, and has the service die after the pipeline has heard and before it answers.
async fn die_while_asking(story: &Story) {
    story.approve().await;
    let now = story.app.clock.now();
    runbooks::activate(&story.app.services, now)
        .await
        .expect("the run goes on");
    story.pipeline.hangs.store(true, Ordering::SeqCst);
    tokio::select! {
        _ = retraining::activate(&story.app.services, now) => panic!("the pipeline does not answer"),
        () = story.pipeline.heard.notified() => {}
    }
    story.pipeline.hangs.store(false, Ordering::SeqCst);
    // Until the lease of the dead process is over, nobody touches the run.
    story.app.work().await;
    assert_eq!(story.pipeline.asked().len(), 1);
    story
        .app
        .wall
        .advance_to(story.app.wall.now() + TimeDelta::seconds(121));
    story.app.work().await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_pipeline_that_may_be_running_is_not_started_twice(pool: PgPool) {
    let story = Story::begin(pool, false).await;
    die_while_asking(&story).await;
    assert_eq!(story.pipeline.asked().len(), 1);
    let (run_key, _) = story.pipeline.credentials();
    let (state, outcome) = story.run_state().await;
    assert_eq!(state, "failed");
    assert_eq!(
        outcome,
        format!(
            "it is not known whether pipeline \"retrain\" was started; look there for run key {run_key}"
        )
    );
    let state: String = sqlx::query_scalar("SELECT state FROM pipeline_runs")
        .fetch_one(&story.app.services.pool)
        .await
        .expect("one pipeline run");
    assert_eq!(state, "unknown");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_idempotent_pipeline_is_asked_again_with_the_same_key_and_token(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    die_while_asking(&story).await;
    let asked = story.pipeline.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
    story.report(&succeeded("v2")).await.expect("taken");
    story.app.work().await;
    assert_eq!(story.app.roles("fares").await["v2"], "challenger");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_run_cannot_be_started_by_hand_while_another_retrains(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    let app = &story.app;
    let start = async |runbook: &str, reason: &str| {
        runbooks::start_by_hand(&app.services, app.project, "fares", runbook, reason, "Ada").await
    };
    assert!(matches!(
        start("mend", "now").await,
        Err(Error::Conflict(_))
    ));
    assert!(matches!(
        start("mend", "\0").await,
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        start("nothing", "now").await,
        Err(Error::NotFound { .. })
    ));
    // One that does not train may run beside it.
    start("no-predictions", "to look").await.expect("starts");
    app.work().await;
    assert_eq!(app.runs().await[1].state, "succeeded");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_candidate_is_not_promoted_over_a_version_it_was_never_compared_with(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    let app = &story.app;
    story.retrain("v2").await;
    story.live_day(3.0, |_| 2.0).await;
    story.live_day(3.0, |_| 2.0).await;
    let v3 = app.version("fares", "v3").await;
    let model = app.model("fares").await;
    app.clock.advance_to(at("2026-03-05T01:00:00Z"));
    let now = app.clock.now();
    // The gate accepts v2, and somebody promotes v3 before the run does v2.
    let mut other = app.services.pool.begin().await.expect("begins");
    models::lock(&mut other, model.model_id)
        .await
        .expect("locked");
    let services = app.services.clone();
    let running = tokio::spawn(async move { runbooks::activate(&services, now).await });
    app.until_waiting(1).await;
    let order = Order {
        version_id: v3,
        run_id: None,
        by: "Grace",
        reason: "it is newer",
    };
    let promoted = promotion::promote(&mut other, &model, order, now).await;
    promoted.expect("promoted");
    other.commit().await.expect("ends");
    running.await.expect("ends").expect("moves");
    assert_eq!(app.roles("fares").await["v3"], "champion");
    assert_eq!(
        story.run_state().await,
        (
            "failed".to_owned(),
            "v2 was compared with v1, which is not the champion any more".to_owned()
        )
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_pipeline_is_not_started_once_schema_skew_has_opened(pool: PgPool) {
    let story = Story::begin(pool, true).await;
    let app = &story.app;
    story.approve().await;
    let now = app.clock.now();
    runbooks::activate(&app.services, now).await.expect("moves");
    assert_eq!(story.states(story.run).await[2], "running");
    let skew = Alert {
        alert_id: AlertId::new(now),
        rule: "schema-skew".to_owned(),
        ..app.alerts().await.remove(0)
    };
    alerts::insert(&mut *app.conn().await, &skew)
        .await
        .expect("opened");
    app.work().await;
    assert_eq!(story.pipeline.asked(), Vec::<Value>::new());
    let (state, outcome) = story.run_state().await;
    assert_eq!(state, "failed");
    assert!(outcome.contains("schema skew is open"), "{outcome}");
}
