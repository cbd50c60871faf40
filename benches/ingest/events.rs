//! How fast a serving platform's logger is answered: `CloudEvents` as KServe sends them, two thousand a second, each a
//! request or a response of one prediction. The answer waits for the disk, and the logger for the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use axum::http::{Method, StatusCode};
use tokio::task::JoinSet;

use crate::Plan;
use crate::figures::{Goal, Report, rounded};
use crate::http::Connection;
use crate::postgres::{self, Cluster};
use crate::service::Service;

/// The model every service of the bench has.
const MODEL: &str = "bench";
const PER_SECOND: f64 = 2_000.0;
/// KServe's agent has as many workers in all pods together.
const CONNECTIONS: usize = 32;
/// What an answer may take.
const GOAL_MILLISECONDS: f64 = 10.0;

/// Answers to events, counted from when each was due.
pub async fn prompt(cluster: &Cluster, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut service = Service::create(cluster, "events").await?;
    cluster.settle_down(&service.database)?;
    let (fsync, slow_fsync) = postgres::fsync_milliseconds(cluster.folder())?;
    let count = (PER_SECOND * plan.latency.as_secs_f64()) as usize;
    let late = send(&service, count).await?;
    // Both halves of each, joined and settled.
    let inferences = count / 2;
    let joined = until_joined(&service, inferences).await?;
    service.stop().await?;
    cluster.drop_database("events")?;
    let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize];
    report.tell(
        format!("one fsync: {} ms, {} ms; answers to {PER_SECOND} events a second: median, 99th percentile, worst", rounded(fsync), rounded(slow_fsync)),
        format!("{} ms, {} ms, {} ms", rounded(at(0.5)), rounded(at(0.99)), rounded(at(1.0))),
    );
    report.tell(
        format!("until the last of {inferences} inferences was a prediction"),
        format!("{} s", rounded(joined.as_secs_f64())),
    );
    report.figure(
        "ingest_event_p99_milliseconds",
        at(0.99),
        Goal::AtMost(GOAL_MILLISECONDS),
    );
    Ok(())
}

/// Sends requests and responses in turn, and returns how late each answer came, in milliseconds and ascending.
async fn send(service: &Service, count: usize) -> anyhow::Result<Vec<f64>> {
    let target = service.target()?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    let started = Instant::now();
    for _ in 0..CONNECTIONS {
        let (connection, next) = (Connection::new(target), Arc::clone(&next));
        senders.spawn(async move {
            let mut late = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(late);
                }
                let due = started + Duration::from_secs_f64(index as f64 / PER_SECOND);
                tokio::time::sleep_until(due.into()).await;
                log(&connection, index).await?;
                late.push(due.elapsed().as_secs_f64() * 1e3);
            }
        });
    }
    let mut late = Vec::new();
    while let Some(ended) = senders.join_next().await {
        late.extend(ended??);
    }
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// One event as KServe's logger writes it.
async fn log(connection: &Connection, index: usize) -> anyhow::Result<()> {
    let number = index / 2;
    let (half, body) = if index.is_multiple_of(2) {
        let request = format!(
            r#"{{"instances":[{{"distance":{number},"carrier":"UA","origin":"EWR","hour":{}}}]}}"#,
            number % 24
        );
        ("request", request)
    } else {
        (
            "response",
            format!(r#"{{"predictions":[0.{}5]}}"#, number % 10),
        )
    };
    let (id, kind) = (
        format!("event-{number}"),
        format!("org.kubeflow.serving.inference.{half}"),
    );
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", id.as_str()),
        ("ce-type", kind.as_str()),
        ("ce-source", "http://localhost:9081/"),
        ("ce-inferenceservicename", MODEL),
    ];
    let path = "/api/v1/cloudevents";
    let answer = connection
        .request(Method::POST, path, &headers, body.into())
        .await?;
    ensure!(
        answer.status == StatusCode::OK,
        "an event was not taken: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

/// How long it took until all were predictions.
async fn until_joined(service: &Service, inferences: usize) -> anyhow::Result<Duration> {
    let (connection, began) = (service.connection()?, Instant::now());
    loop {
        let intake = connection
            .get(&format!("/api/v1/models/{MODEL}/intake"))
            .await?;
        let accepted = intake["predictions"]["accepted"].as_u64().unwrap_or(0);
        if accepted >= inferences as u64 {
            return Ok(began.elapsed());
        }
        ensure!(
            began.elapsed() < Duration::from_secs(300),
            "only {accepted} of {inferences} are predictions"
        );
        tokio::time::sleep_until((Instant::now() + Duration::from_millis(200)).into()).await;
    }
}
