//! The replay client: sends what happened in its order of time and moves the clock on, step by step. All it
//! knows of the service it asks through the API, and all it remembers is the clock, so a replay that was cut
//! off goes on from the step it was in; what it sends again counts as duplicate.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::client::Client;
use super::data::{self, Flights};
use super::person::Person;
use super::{MODEL, PROJECT};
use crate::domain::clock::{Clock, SystemClock};

/// How much time one step covers.
const STEP: TimeDelta = TimeDelta::hours(12);
/// How long to wait, by the machine's clock, for the pipeline to deliver what is due.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look while waiting.
const LOOK: TimeDelta = TimeDelta::milliseconds(100);
/// The runbook that the scripted person approves; proposals to roll back are left to whoever watches.
const APPROVED: &str = "quality-regression";
/// The address of the pipeline in the configuration, replaced by where it really listens.
const PIPELINE_IN_FILE: &str = "127.0.0.1:8421";

/// Applies the demo's configuration, uploads the training data, registers the champion.
pub(super) async fn set_up(client: &Client, pipeline: SocketAddr) -> anyhow::Result<()> {
    let text = data::CONFIGURATION.replace(PIPELINE_IN_FILE, &pipeline.to_string());
    let files = json!({"files": [{"path": "bellwether.yaml", "text": text}]});
    client
        .post("/api/v1/definitions", &files)
        .await
        .context("apply the demo's configuration")?;
    let version = json!({
        "version": "v1",
        "lineage": {"training_data": "2013-01-01 to 2013-02-14", "algorithm": "HistGradientBoostingRegressor"},
    });
    client
        .post(&format!("/api/v1/models/{MODEL}/versions"), &version)
        .await
        .context("register the champion")?;
    let path = format!("/api/v1/models/{MODEL}/baselines/training?file_name=training-v1.parquet");
    let training = Bytes::from_static(data::TRAINING);
    client
        .upload(&path, "application/vnd.apache.parquet", training)
        .await
        .context("upload the training data")?;
    Ok(())
}

/// A replay of the year.
pub(super) struct Replay<'a> {
    client: &'a Client,
    flights: &'a Flights,
    person: &'a Person,
    hands_on: bool,
    quiet: bool,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        client: &'a Client,
        flights: &'a Flights,
        person: &'a Person,
        hands_on: bool,
        quiet: bool,
    ) -> Self {
        Self {
            client,
            flights,
            person,
            hands_on,
            quiet,
        }
    }

    /// Lives through the rest of the year.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let mut now = self.client.clock().await?;
        self.respond(now).await?;
        while now < data::end() {
            let to = (now + STEP).min(data::end());
            self.send(now, to).await?;
            now = self.advance(to).await?;
            self.respond(now).await?;
            self.say_progress(now);
        }
        // The last flights of the year land after midnight.
        let after = data::end() + TimeDelta::days(2);
        if let Some(labels) = self.flights.labels(data::end(), after) {
            self.upload("labels", labels).await?;
        }
        self.advance(now).await?;
        Ok(())
    }

    async fn send(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> anyhow::Result<()> {
        // The last instant of the year belongs to the last step.
        let to = if to == data::end() {
            to + TimeDelta::seconds(1)
        } else {
            to
        };
        for version in self.versions().await? {
            if let Some(predictions) = self.flights.predictions(&version, from, to) {
                self.upload("predictions", predictions).await?;
            }
        }
        let until = to.min(data::end());
        if let Some(labels) = self.flights.labels(from, until) {
            self.upload("labels", labels).await?;
        }
        Ok(())
    }

    async fn upload(&self, kind: &str, body: Bytes) -> anyhow::Result<()> {
        let path = format!("/api/v1/models/{MODEL}/{kind}");
        let receipt = self
            .client
            .upload(&path, "application/x-ndjson", body)
            .await?;
        if receipt["rejected"].as_u64() != Some(0) {
            bail!("the service refused rows of the demo: {receipt}");
        }
        Ok(())
    }

    /// The versions that run: those registered by now.
    async fn versions(&self) -> anyhow::Result<Vec<String>> {
        let model = self.client.get(&format!("/api/v1/models/{MODEL}")).await?;
        let versions = model["versions"]
            .as_array()
            .context("read the model's versions")?;
        Ok(versions
            .iter()
            .filter_map(|v| v["version"].as_str())
            .map(str::to_owned)
            .collect())
    }

    async fn advance(&self, to: DateTime<Utc>) -> anyhow::Result<DateTime<Utc>> {
        let advanced = self
            .client
            .post("/api/v1/replay/advance", &json!({ "to": to }))
            .await?;
        serde_json::from_value(advanced["now"].clone()).context("read the replay clock")
    }

    /// What people and pipelines do at this point of the story, until nothing more is to be done before time
    /// goes on.
    async fn respond(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        self.ask_during_skew(now).await?;
        let waiting_since = Instant::now();
        loop {
            let asked = self.approve(now).await?;
            let due = self.pipeline_is_due(now).await?;
            if !asked && !due {
                return Ok(());
            }
            if !self.hands_on && waiting_since.elapsed() > PATIENCE {
                bail!(
                    "nothing moved for {} s at {now}: a pipeline run or an approval hangs",
                    PATIENCE.as_secs()
                );
            }
            let wall = SystemClock;
            wall.sleep_until(wall.now() + LOOK).await;
            self.advance(now).await?;
        }
    }

    /// Decides what waits for a decision; returns whether something did.
    async fn approve(&self, now: DateTime<Utc>) -> anyhow::Result<bool> {
        let runs = self.client.get("/api/v1/runs").await?;
        let mut waited = false;
        for run in runs.as_array().into_iter().flatten() {
            if run["state"] != "waiting" || run["runbook"] != APPROVED {
                continue;
            }
            let run_id = run["run_id"].as_str().unwrap_or_default();
            let run = self.client.get(&format!("/api/v1/runs/{run_id}")).await?;
            for approval in run["approvals"].as_array().into_iter().flatten() {
                if !approval["decision"].is_null() {
                    continue;
                }
                waited = true;
                if !self.hands_on {
                    let approval_id = approval["approval_id"].as_str().unwrap_or_default();
                    self.person
                        .approve(run_id, approval_id, reason_at(now))
                        .await?;
                }
            }
        }
        Ok(waited)
    }

    /// Whether a pipeline run should have ended by now.
    async fn pipeline_is_due(&self, now: DateTime<Utc>) -> anyhow::Result<bool> {
        let runs = self.client.get("/api/v1/pipeline-runs").await?;
        Ok(runs.as_array().into_iter().flatten().any(|run| {
            let open = run["finished_at"].is_null();
            let expected: Option<DateTime<Utc>> =
                serde_json::from_value(run["expected_at"].clone()).unwrap_or_default();
            // One that has not said when it will be ready has not been started yet, which takes no time here.
            open && expected.is_none_or(|expected| expected <= now)
        }))
    }

    /// In August, while the inputs are broken, somebody asks for a retrain by hand, once.
    async fn ask_during_skew(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let (from, to) = data::skewed_days();
        let open = self.client.get("/api/v1/alerts?open=true").await?;
        let skewed = open
            .as_array()
            .into_iter()
            .flatten()
            .any(|alert| alert["rule"] == "schema-skew");
        if !skewed || !(from..to + TimeDelta::days(1)).contains(&now) {
            return Ok(());
        }
        let runs = self.client.get("/api/v1/runs").await?;
        let asked = runs.as_array().into_iter().flatten().any(|run| {
            let started: Option<DateTime<Utc>> =
                serde_json::from_value(run["started_at"].clone()).unwrap_or_default();
            run["runbook"] == APPROVED && started.is_some_and(|started| started >= from)
        });
        if asked {
            return Ok(());
        }
        let order = json!({"runbook": APPROVED, "reason": "the inputs look odd since yesterday; would a retrain help?"});
        self.client
            .post(&format!("/api/v1/models/{MODEL}/runs"), &order)
            .await?;
        self.advance(now).await?;
        Ok(())
    }

    fn say_progress(&self, now: DateTime<Utc>) {
        use chrono::{Datelike, Timelike};
        if !self.quiet && now.day() == 1 && now.hour() == 0 {
            println!("{PROJECT}: {}", now.format("%B %Y"));
        }
    }
}

fn reason_at(now: DateTime<Utc>) -> &'static str {
    use chrono::Datelike;
    match now.month() {
        3 => "two bad weeks in a row: let us see whether a quick retrain on the last days helps",
        5 => {
            "errors jumped by two thirds; the weather drifts as it does every spring, but that does not explain it: retrain on all data"
        }
        _ => "agreed",
    }
}
