//! The demo's retraining pipeline: a process of its own that is asked by HTTP to train, takes its time by the
//! replay clock, and delivers candidates that were really trained: v2 on the quick request of March, v3 on the
//! request of May. It keeps its jobs in a file, so that it too survives being killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

use super::client::Client;
use super::data::day;
use super::write_private;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::pipeline::{CandidateReport, PipelineState, PipelineStatus};

/// How often the pipeline looks at the clock and at its jobs.
const LOOK: chrono::TimeDelta = chrono::TimeDelta::milliseconds(50);
/// How long the process may take to say where it listens.
const START: Duration = Duration::from_secs(20);

/// The pipeline's process, as the demo sees it. It ends when its standard input does, so it never outlives us.
#[derive(Debug)]
pub(super) struct PipelineProcess {
    address: SocketAddr,
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
}

impl PipelineProcess {
    /// Starts it; its jobs are kept in `state`.
    pub(super) async fn start(state: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("demo-pipeline")
            .arg(state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the demo's pipeline")?;
        let input = child.stdin.take().context("take the pipeline's input")?;
        let output = child.stdout.take().context("take the pipeline's output")?;
        let mut line = String::new();
        tokio::time::timeout(START, BufReader::new(output).read_line(&mut line))
            .await
            .context("wait for the demo's pipeline to listen")?
            .context("read where the demo's pipeline listens")?;
        let address = line
            .trim()
            .parse()
            .context("read where the demo's pipeline listens")?;
        Ok(Self {
            address,
            child: Mutex::new(child),
            input: Mutex::new(Some(input)),
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it where the service is, so that it can look at the replay clock.
    pub(super) async fn introduce(&self, server: &str, token: &str) -> anyhow::Result<()> {
        let line = format!("{}\n", json!({"server": server, "token": token}));
        let mut input = self.input.lock().await;
        let input = input.as_mut().context("talk to the demo's pipeline")?;
        input
            .write_all(line.as_bytes())
            .await
            .context("talk to the demo's pipeline")?;
        input.flush().await.context("talk to the demo's pipeline")
    }

    /// Ends it.
    pub(super) async fn stop(&self) {
        drop(self.input.lock().await.take());
        let mut child = self.child.lock().await;
        if tokio::time::timeout(Duration::from_secs(2), child.wait())
            .await
            .is_err()
        {
            // It has nothing to lose: its jobs are in its file.
            let _ = child.kill().await;
        }
    }
}

/// A training under way or done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    requested_at: DateTime<Utc>,
    /// What will be delivered; nothing for requests the demo has no training for.
    version: Option<String>,
    ready_at: DateTime<Utc>,
    callback_url: String,
    callback_token: String,
    reported: bool,
}

impl Job {
    fn status(&self, now: Option<DateTime<Utc>>) -> PipelineStatus {
        let ready = now.is_some_and(|now| now >= self.ready_at);
        match (&self.version, ready) {
            (_, false) => PipelineStatus {
                state: PipelineState::Running,
                detail: format!("ready at {}", self.ready_at),
                candidate: None,
            },
            (Some(version), true) => PipelineStatus {
                state: PipelineState::Succeeded,
                detail: format!("{version} is trained"),
                candidate: Some(CandidateReport {
                    version: version.clone(),
                    lineage: lineage(version, self.ready_at),
                }),
            },
            (None, true) => PipelineStatus {
                state: PipelineState::Failed,
                detail: "the demo has trained models for March and May only".to_owned(),
                candidate: None,
            },
        }
    }
}

/// What will be delivered for a request, and when: the trainings that were really done.
fn training(requested_at: DateTime<Utc>) -> (Option<&'static str>, DateTime<Utc>) {
    if requested_at < day(2013, 4, 15) {
        (Some("v2"), day(2013, 3, 15).max(requested_at))
    } else if requested_at < day(2013, 6, 15) {
        (Some("v3"), day(2013, 5, 15).max(requested_at))
    } else {
        (None, requested_at)
    }
}

fn lineage(version: &str, trained_at: DateTime<Utc>) -> serde_json::Value {
    let data = if version == "v2" {
        "quick retrain on 2013-03-06 to 2013-03-14"
    } else {
        "all data to 2013-05-14, recent days weigh more"
    };
    json!({
        "training_data": data,
        "algorithm": "HistGradientBoostingRegressor, scikit-learn, seed 7",
        "trained_at": trained_at,
    })
}

#[derive(Clone)]
struct Jobs {
    file: Arc<PathBuf>,
    jobs: Arc<Mutex<BTreeMap<String, Job>>>,
    /// Where this process is reached.
    address: SocketAddr,
    /// The replay clock as last seen.
    now: Arc<Mutex<Option<DateTime<Utc>>>>,
}

impl Jobs {
    fn load(file: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        let jobs = match std::fs::read(file) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("read {}", file.display()))?
            }
            Err(_) => BTreeMap::new(),
        };
        Ok(Self {
            file: Arc::new(file.to_owned()),
            jobs: Arc::new(Mutex::new(jobs)),
            address,
            now: Arc::default(),
        })
    }

    fn save(&self, jobs: &BTreeMap<String, Job>) -> anyhow::Result<()> {
        write_private(&self.file, &serde_json::to_vec_pretty(jobs)?)
    }
}

/// The process: `bellwether demo-pipeline STATE`.
///
/// # Errors
/// When it cannot listen or keep its jobs.
pub async fn serve(state: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
    let address = listener.local_addr()?;
    let jobs = Jobs::load(state, address)?;
    println!("{address}");
    let router = Router::new()
        .route("/runs", post(accept))
        .route("/runs/{run_key}", get(status))
        .with_state(jobs.clone());
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let introduction = input
        .next_line()
        .await
        .context("wait for an introduction")?;
    let Some(introduction) = introduction else {
        return Ok(());
    };
    let introduction: Introduction =
        serde_json::from_str(&introduction).context("read the introduction")?;
    let client = Client::new(&introduction.server, &introduction.token)?;
    let ended = async move { while let Ok(Some(_)) = input.next_line().await {} };
    tokio::select! {
        served = async { axum::serve(listener, router).await } => served.context("serve"),
        worked = work(jobs, client) => worked,
        () = ended => Ok(()),
    }
}

#[derive(Deserialize)]
struct Introduction {
    server: String,
    token: String,
}

#[derive(Deserialize)]
struct Request {
    run_key: String,
    requested_at: DateTime<Utc>,
    callback: Callback,
}

#[derive(Deserialize)]
struct Callback {
    url: String,
    token: String,
}

async fn accept(
    State(jobs): State<Jobs>,
    Json(request): Json<Request>,
) -> (StatusCode, Json<serde_json::Value>) {
    let mut all = jobs.jobs.lock().await;
    let known = all.contains_key(&request.run_key);
    if !known {
        let (version, ready_at) = training(request.requested_at);
        let job = Job {
            requested_at: request.requested_at,
            version: version.map(str::to_owned),
            ready_at,
            callback_url: request.callback.url,
            callback_token: request.callback.token,
            reported: false,
        };
        all.insert(request.run_key.clone(), job);
        if let Err(error) = jobs.save(&all) {
            all.remove(&request.run_key);
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                Json(json!({"error": error.to_string()})),
            );
        }
    }
    let expected_at = all[&request.run_key].ready_at;
    let status_url = format!("http://{}/runs/{}", jobs.address, request.run_key);
    let answer =
        json!({"id": request.run_key, "status_url": status_url, "expected_at": expected_at});
    (StatusCode::ACCEPTED, Json(answer))
}

async fn status(
    State(jobs): State<Jobs>,
    axum::extract::Path(run_key): axum::extract::Path<String>,
) -> Result<Json<PipelineStatus>, StatusCode> {
    let now = *jobs.now.lock().await;
    let all = jobs.jobs.lock().await;
    let job = all.get(&run_key).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(job.status(now)))
}

/// Watches the clock and reports what is ready, until somebody has taken it.
async fn work(jobs: Jobs, client: Client) -> anyhow::Result<()> {
    let wall = SystemClock;
    loop {
        wall.sleep_until(wall.now() + LOOK).await;
        let waiting = jobs.jobs.lock().await.values().any(|job| !job.reported);
        if !waiting {
            continue;
        }
        // The service may be away for a moment; the next look will find it.
        let Ok(now) = client.clock().await else {
            continue;
        };
        *jobs.now.lock().await = Some(now);
        report_ready(&jobs, &client, now).await?;
    }
}

async fn report_ready(jobs: &Jobs, client: &Client, now: DateTime<Utc>) -> anyhow::Result<()> {
    let ready: Vec<(String, Job)> = jobs
        .jobs
        .lock()
        .await
        .iter()
        .filter(|(_, job)| !job.reported && now >= job.ready_at)
        .map(|(key, job)| (key.clone(), job.clone()))
        .collect();
    for (run_key, job) in ready {
        let status = job.status(Some(now));
        if client
            .report(&job.callback_url, &job.callback_token, &status)
            .await
            .is_ok()
        {
            let mut all = jobs.jobs.lock().await;
            if let Some(job) = all.get_mut(&run_key) {
                job.reported = true;
            }
            jobs.save(&all)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn march_gets_v2_may_gets_v3_and_later_requests_nothing() {
        assert_eq!(training(day(2013, 3, 11)), (Some("v2"), day(2013, 3, 15)));
        assert_eq!(training(day(2013, 3, 20)), (Some("v2"), day(2013, 3, 20)));
        assert_eq!(training(day(2013, 5, 6)), (Some("v3"), day(2013, 5, 15)));
        assert_eq!(training(day(2013, 8, 14)).0, None);
    }
}
