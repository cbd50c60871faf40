//! A service, its database, its client and everybody it talks to; and the ways in which it is made to die.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether::domain::clock::{Clock, SystemClock};
use bellwether::domain::ids::ProjectId;
use bellwether::services::access::{Scope, TokenRequest, create_token};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use rand::RngExt;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::checker::{self, Violations};
use crate::client::{Client, JSON, NDJSON};
use crate::cluster::Cluster;
use crate::damage::{DAMAGES, Damage};
use crate::ledger::{Batch, Ledger};
use crate::outside::Outside;
use crate::patience::wait_for;
use crate::recount::window_of;
use crate::service::{Service, Settings};
use crate::stored::Stored;
use crate::traffic::{CLICKS, FARES, Traffic};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RECEIVERS: [&str; 2] = ["on-call", "hook"];
/// How long a process is given, after each step of the client, to come to where it dies.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the service is left alone with what it was last sent, when it is to finish.
const NUDGES_APART: Duration = Duration::from_secs(2);
/// After how many steps a point that was not reached never will be.
const MOST_STEPS: usize = 150;
/// How many requests of one row each are under way at once.
const SINGLES: usize = 12;
/// Kills by time come within this many milliseconds.
const LATEST_KILL: i64 = 1_500;
const RUNBOOK: &str = "---
name: mend
title: Mend the fares
first_step: Look at the diagnosis.
---
```step
name: look
kind: diagnose
checks: [recent_changes, traffic]
```
```step
name: retrain
kind: trigger
pipeline: retrain
```
";

pub struct World {
    cluster: Cluster,
    settings: Settings,
    /// Variables that every start of the service gets beside its crash point.
    defects: Vec<(&'static str, String)>,
    outside: Outside,
    client: Client,
    traffic: Traffic,
    ledger: Ledger,
    /// Batches nobody has acknowledged yet, and some that somebody has.
    unheard: Vec<Arc<Batch>>,
    heard: Vec<Arc<Batch>>,
    today: DateTime<Utc>,
    rows: i64,
    /// Grows with everything that has to be new each time.
    edition: u32,
    kills: usize,
    // Declared last, so that it is removed when everything in it is closed.
    folder: Folder,
}

impl World {
    /// A service with its models, baseline, rules and receivers; `rows` is how many a batch has.
    pub async fn start(seed: u64, rows: i64, defect: Option<&str>) -> Self {
        let can_crash = cfg!(debug_assertions);
        assert!(
            can_crash,
            "there are no crash points in a build for release"
        );
        let folder = Folder::new();
        let cluster = Cluster::start(folder.0.join("cluster")).await;
        let outside = Outside::start().await;
        let config = folder.0.join("bellwether.toml");
        let text = format!(
            "[mail]\nfrom = \"bellwether@example.org\"\ndirectory = \"mails\"\n\
             [outbound]\nallow_private = [\"127.0.0.1:{}\"]\n",
            outside.port
        );
        std::fs::write(&config, text).expect("writes the settings");
        let today = window_of(SystemClock.now());
        let mut world = Self {
            settings: Settings {
                database_url: cluster.url(),
                config,
                secret: SECRET.to_owned(),
            },
            cluster,
            defects: defect
                .map(|defect| ("BELLWETHER_DEFECT", defect.to_owned()))
                .into_iter()
                .collect(),
            outside,
            client: Client::new(),
            traffic: Traffic::new(seed, today),
            ledger: Ledger::default(),
            unheard: Vec::new(),
            heard: Vec::new(),
            today,
            rows,
            edition: 0,
            kills: 0,
            folder,
        };
        world.set_up().await;
        world
    }

    async fn set_up(&mut self) {
        // The very first start is a start like any other, and may be cut off as well.
        let mut first = self.run(Some(("start.migrated", 1))).await;
        first.assert_died_at("start.migrated").await;
        let service = self.run(None).await;
        let mut stored = self.stored().await;
        self.client.token = token(&self.settings, &mut stored).await;
        self.apply(&service)
            .await
            .expect("the definitions are good");
        let version = json!({"version": "v1"}).to_string();
        let url = format!("{}/api/v1/models/{FARES}/versions", service.address);
        let made = self.client.post(&url, JSON, version).await;
        made.expect("the version is registered");
        self.fit(&service).await.expect("the baseline is fitted");
        service.stop().await;
    }

    async fn stored(&self) -> Stored {
        Stored::open(&self.settings.database_url).await
    }

    /// Starts the service, armed with a point or not.
    async fn run(&mut self, point: Option<(&str, u64)>) -> Service {
        let mut faults = self.defects.clone();
        faults.extend(point.map(|(name, pass)| ("BELLWETHER_CRASH_AT", format!("{name}:{pass}"))));
        Service::start(&self.settings, &faults).await
    }

    /// Declares everything, with a rule that did not exist before and fires at once.
    async fn apply(&mut self, service: &Service) -> Option<()> {
        self.edition += 1;
        let (edition, port) = (self.edition, self.outside.port);
        let receivers = RECEIVERS.join(", ");
        let definitions = format!(
            "project: {{name: default, auto_register: true}}
models:
  - name: {CLICKS}
    task: binary
    positive_class: \"1\"
  - name: {FARES}
    task: regression
    unit: euros
    window: day
    segments: [origin]
    baselines:
      training: {{file: training.ndjson}}
    schema:
      from: training
      features:
        distance: {{min: 0, max: 1000}}
    monitors:
      - {{name: schema, kind: schema, window: day, tolerance: 0.05, min_rows: 10}}
      - {{name: drift, kind: drift, window: day, baseline: training, min_rows: 10, thresholds: {{psi: 0.25}}}}
      - {{name: quality, kind: quality, window: day, baseline: training, min_labels: 2}}
      - {{name: traffic, kind: traffic, window: day}}
rules:
  - {{name: quality-{edition}, model: {FARES}, title: Fares are off, severity: warning, runbook: mend,
     receivers: [{receivers}], when: {{monitor: quality, measure: mae, above: 0.5}}}}
receivers:
  - {{name: on-call, email: {{to: [ada@example.org]}}}}
  - {{name: hook, webhook: {{url: \"http://127.0.0.1:{port}/hook\", secret: {{env: BELLWETHER_SECRET_HOOK}}}}}}
pipelines:
  - {{name: retrain, url: \"http://127.0.0.1:{port}/runs\", idempotent: true, poll: 1s}}
"
        );
        let files = json!({"files": [
            {"path": "tests.yaml", "text": definitions},
            {"path": "mend.md", "text": RUNBOOK},
        ]});
        let url = format!("{}/api/v1/definitions", service.address);
        self.client
            .post(&url, JSON, files.to_string())
            .await
            .map(drop)
    }

    /// Fits the baseline on another file, and another one on another window.
    async fn fit(&mut self, service: &Service) -> Option<()> {
        self.edition += 1;
        let of_model = format!("{}/api/v1/models/{FARES}/baselines", service.address);
        let rows = Traffic::training(self.edition);
        let url = format!("{of_model}/training");
        self.client.post(&url, NDJSON, rows).await?;
        // Editions go up in steps of one or two, so that the window is always another one than before.
        let from = self.today - TimeDelta::days(2 + i64::from(self.edition % 3));
        let window = json!({"name": "past", "from": from, "to": from + TimeDelta::days(1), "reason": "other days"});
        self.client
            .post(&of_model, JSON, window.to_string())
            .await
            .map(drop)
    }

    /// Sends a batch and writes down what was heard of it.
    async fn send(&mut self, service: &Service, batch: Arc<Batch>) -> Option<()> {
        let acknowledged = self.client.send(&service.address, &batch).await;
        self.note(batch, acknowledged)
    }

    /// Sends batches at once, so that they land together.
    async fn send_together(&mut self, service: &Service, batches: Vec<Batch>) -> Option<()> {
        let sending = batches.iter();
        let sending = sending.map(|batch| self.client.send(&service.address, batch));
        let acknowledged = join_all(sending).await;
        let noted = batches.into_iter().zip(acknowledged);
        let noted: Vec<Option<()>> = noted
            .map(|(batch, acknowledged)| self.note(Arc::new(batch), acknowledged))
            .collect();
        noted.into_iter().collect()
    }

    fn note(&mut self, batch: Arc<Batch>, acknowledged: Option<Uuid>) -> Option<()> {
        self.ledger.note(&batch, acknowledged);
        match acknowledged {
            Some(_) => self.heard.push(batch),
            None => self.unheard.push(batch),
        }
        acknowledged.map(drop)
    }

    /// What a client does in one go, until something is not answered; `area` is the first word of the point
    /// that is to be reached.
    async fn step(&mut self, service: &Service, area: &str) -> Option<()> {
        let mut batches = std::mem::take(&mut self.unheard);
        batches.extend(self.traffic.step(self.rows).into_iter().map(Arc::new));
        if !self.heard.is_empty() && self.traffic.rng.random_range(0..2) == 0 {
            let again = self.traffic.rng.random_range(0..self.heard.len());
            batches.push(self.heard[again].clone());
        }
        let mut batches = batches.into_iter();
        while let Some(batch) = batches.next() {
            if self.send(service, batch).await.is_none() {
                self.unheard.extend(batches);
                return None;
            }
        }
        let singles = self.traffic.singles(SINGLES);
        self.send_together(service, singles).await?;
        self.errand(service, area).await
    }

    /// What has to happen for points that mere traffic does not reach.
    async fn errand(&mut self, service: &Service, area: &str) -> Option<()> {
        self.edition += 1;
        let edition = self.edition;
        match area {
            "version" => {
                let version = format!("sight-{edition}");
                let batch = self.traffic.clicks(2, Some(&version), None);
                self.send(service, Arc::new(batch)).await
            }
            "partitions" => {
                let batch = self
                    .traffic
                    .clicks(2, None, Some(i64::from(edition % 600) + 10));
                self.send(service, Arc::new(batch)).await
            }
            "baseline" => self.fit(service).await,
            "alert" | "delivery" => self.apply(service).await,
            "runbook" | "pipeline" => {
                let url = format!("{}/api/v1/models/{FARES}/runs", service.address);
                let run = json!({"runbook": "mend", "reason": "tests"});
                self.client
                    .post(&url, JSON, run.to_string())
                    .await
                    .map(drop)
            }
            "shutdown" => {
                service.ask_to_stop().await;
                Some(())
            }
            _ => Some(()),
        }
    }

    /// Lets the service die at the `pass`th pass of a point.
    pub async fn kill_at(&mut self, point: &str, pass: u64) {
        self.stored().await.expire_leases().await;
        let area = point.split('.').next().unwrap_or_default();
        let mut service = self.run(Some((point, pass))).await;
        let mut is_dead = service.address.is_empty();
        for _ in 0..MOST_STEPS {
            if is_dead {
                break;
            }
            // Silence means that the service is dying; whether it is dead is what is asked next.
            let _ = self.step(&service, area).await;
            is_dead = service.dies_within(PAUSE).await;
        }
        assert!(
            is_dead,
            "{point}:{pass} was not reached:\n{}",
            service.log()
        );
        service.assert_died_at(point).await;
        self.kills += 1;
    }

    /// Sends rows that were sent before again, as of another time of the day.
    pub async fn contradict(&mut self) {
        let service = self.run(None).await;
        let batch = self.traffic.contradictions(self.rows);
        let sent = self.send(&service, Arc::new(batch)).await;
        sent.expect("the service is well");
        service.stop().await;
    }

    /// Kills the service at a random moment.
    pub async fn kill_at_random(&mut self) {
        self.stored().await.expire_leases().await;
        let mut service = self.run(None).await;
        let killed = service.kill_at(self.random_moment());
        while !service.dies_within(Duration::ZERO).await {
            let _ = self.step(&service, "").await;
        }
        killed.await.expect("the kill itself goes well");
        self.kills += 1;
    }

    /// Stops Postgres at a random moment as a power cut would. The service lives on, and works once Postgres
    /// is back.
    pub async fn stop_postgres_at_random(&mut self) {
        self.stored().await.expire_leases().await;
        let service = self.run(None).await;
        let moment = self.random_moment();
        let stopped = self.cluster.stop_immediately_at(moment);
        while !stopped.is_finished() {
            let _ = self.step(&service, "").await;
        }
        stopped.await.expect("Postgres is stopped");
        self.cluster.run().await;
        let heard = self.ledger.acknowledged_rows();
        wait_for("an acknowledgement after the stop", async || {
            match self.step(&service, "").await {
                Some(()) if self.ledger.acknowledged_rows() > heard => Ok(()),
                _ => Err(service.log()),
            }
        })
        .await;
        service.stop().await;
        self.kills += 1;
    }

    /// What happened, in a line.
    pub fn told(&self) -> String {
        let rows = self.ledger.acknowledged_rows();
        format!("{} kills, {rows} acknowledged rows", self.kills)
    }

    fn random_moment(&mut self) -> DateTime<Utc> {
        let within = self.traffic.rng.random_range(0..LATEST_KILL);
        SystemClock.now() + TimeDelta::milliseconds(within)
    }

    /// Lets the service finish all there is to do, stops it, and checks what is stored.
    pub async fn check(&mut self) -> Violations {
        let service = self.run(None).await;
        let mut stored = self.stored().await;
        stored.expire_leases().await;
        let mut nudged: Option<Instant> = None;
        wait_for("the end of all work", async || {
            let unfinished = stored.unfinished(SystemClock.now()).await;
            if unfinished.is_empty() && self.unheard.is_empty() {
                return Ok(());
            }
            // Whatever is settled makes the service look whether there is anything else to do. It is given time to
            // do it: a service that stores what it is sent again has something to measure after every batch.
            let had_time = nudged.is_none_or(|at| at.elapsed() > NUDGES_APART);
            if !unfinished.contains("batches") && had_time {
                nudged = Some(Instant::now());
                let again = self.unheard.pop().or_else(|| self.heard.last().cloned());
                if let Some(batch) = again {
                    self.send(&service, batch).await;
                }
            }
            Err(unfinished)
        })
        .await;
        service.stop().await;
        self.look(&mut stored).await
    }

    async fn look(&self, stored: &mut Stored) -> Violations {
        let outside = checker::Outside {
            heard: &self.outside.heard(),
            mails: std::fs::read_dir(self.folder.0.join("mails")).map_or(0, Iterator::count),
            receivers: &RECEIVERS,
        };
        checker::check(stored, &self.ledger, &outside, SystemClock.now()).await
    }

    /// What the checker finds after each of the ways in which rows can be lost, doubled or changed.
    pub async fn check_damaged(&self) -> Vec<(Damage, Violations)> {
        let mut found = Vec::new();
        for damage in DAMAGES {
            let mut stored = self.stored().await;
            stored.damage(damage.sql).await;
            found.push((*damage, self.look(&mut stored).await));
        }
        found
    }

    /// Fails when something that is to survive kills has not happened at all, or no requests landed together.
    pub async fn assert_busy(&self) {
        let idle = self.stored().await.idle().await;
        assert!(idle.is_empty(), "nothing was tried of: {idle:?}");
        let shared = self.ledger.shared();
        assert!(shared > 0, "no requests shared a batch");
    }
}

/// A token for everything.
pub async fn token(settings: &Settings, stored: &mut Stored) -> String {
    let pool = PgPool::connect(&settings.database_url)
        .await
        .expect("the database");
    let project = stored.project().await;
    let request = TokenRequest {
        name: "crash tests",
        scopes: &Scope::ALL,
        expires_at: None,
    };
    let now = SystemClock.now();
    let token = create_token(&pool, now, ProjectId(project), &request, "tests").await;
    pool.close().await;
    token.expect("a token").secret
}

/// A folder that Postgres's own user may pass through, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("bellwether-crash-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("makes the test's folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind by a failed test is for people to look at.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
