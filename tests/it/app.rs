//! The whole service for a story: real services on a real Postgres, a clock that is moved by hand, mails as
//! files. A story ingests, lets time pass with [`TestApp::tick`], and looks at what became of it. Nothing runs in
//! the background, so after a tick there is no work left that a test could miss.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bellwether::domain::clock::{Clock, ReplayClock};
use bellwether::domain::definitions::SourceFile;
use bellwether::domain::ids::{PersonId, ProjectId, RunId, VersionId};
use bellwether::domain::measurement::Status;
use bellwether::domain::promise::Promise;
use bellwether::formats::{Format, Limits};
use bellwether::notify::email::Mailer;
use bellwether::outbound::{HostPort, Outbound};
use bellwether::services::access::{self as people, FirstAdmin, MemberRole, Site};
use bellwether::services::causes::Reports;
use bellwether::services::configuration::Applied;
use bellwether::services::delivery::Outward;
use bellwether::services::ingest::{self, Intake, Receipt, Upload};
use bellwether::services::runbooks::Answer;
use bellwether::services::{
    Bounds, Custody, Error, Nudges, Services, alerting, baselines, configuration, delivery,
    evaluate, key_runs, orphans, promises, registry, retraining, runbooks, schemas, settle,
};
use bellwether::storage::access::{self, PersonToAdd};
use bellwether::storage::alerts::Alert;
use bellwether::storage::baselines::Baseline;
use bellwether::storage::deliveries::Delivery;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::keys::KeyFilters;
use bellwether::storage::measurements::{Selection, StoredMeasurement};
use bellwether::storage::models::Model;
use bellwether::storage::runs::{Run, RunStep};
use bellwether::storage::{self, deliveries, intake, measurements, runs};
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};
use tower::ServiceExt;

/// The secret that webhooks and pipelines of the stories are signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// More rounds than any story needs; one that goes on longer moves in circles.
const MOST_ROUNDS: usize = 200;

/// The service, and the story's hands on it.
pub struct TestApp {
    pub services: Services,
    pub clock: ReplayClock,
    /// The clock of leases and signatures; stands still unless a story moves it.
    pub wall: ReplayClock,
    pub project: ProjectId,
    pub mails: PathBuf,
}

/// An instant, as stories write them: a date, or a date and a time.
pub fn at(text: &str) -> DateTime<Utc> {
    let whole = if text.contains('T') {
        text.to_owned()
    } else {
        format!("{text}T00:00:00Z")
    };
    whole.parse().expect("an instant")
}

impl TestApp {
    /// A service whose clock stands at `now`, with a project called "tests".
    pub async fn start(pool: PgPool, now: &str) -> Self {
        Self::reaching(pool, now, &[]).await
    }

    /// As [`TestApp::start`]; the operator allows outbound calls to these ports of this machine.
    pub async fn reaching(pool: PgPool, now: &str, ports: &[u16]) -> Self {
        let clock = ReplayClock::starting_at(at(now));
        let wall = ReplayClock::starting_at(at(now));
        let mails = new_directory();
        let allow: Vec<HostPort> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}").parse().expect("host and port"))
            .collect();
        let mailer = Mailer::directory("Bellwether <bellwether@example.org>", mails.clone());
        let services = Services {
            pool: pool.clone(),
            clock: Arc::new(clock.clone()),
            wall: Arc::new(wall.clone()),
            public_url: "http://bellwether.example".to_owned(),
            replay: Some(clock.clone()),
            bounds: Bounds::default(),
            key_filters: KeyFilters::default(),
            custody: Custody::default(),
            turns: settle::Turns::default(),
            intake: Intake::start(pool.clone(), pool, Limits::default(), u64::MAX),
            outward: Outward {
                mailer: Some(Arc::new(mailer.expect("a sender"))),
                outbound: Outbound::new(allow).expect("TLS works"),
                secrets: Arc::new(|_| Some(SECRET.to_owned())),
            },
            nudges: Nudges::default(),
            causes: Reports::default(),
        };
        let mut conn = services.pool.acquire().await.expect("a connection");
        let project = access::project_named(
            &mut conn,
            ProjectId::new(clock.now()),
            "tests",
            false,
            clock.now(),
        )
        .await
        .expect("the project is made");
        drop(conn);
        Self {
            services,
            clock,
            wall,
            project,
            mails,
        }
    }

    /// A second replica of the service on the same database: connections and a lander of its own. Close its pool in
    /// the end.
    pub async fn replica(&self) -> Services {
        let options = self.services.pool.connect_options().as_ref().clone();
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .expect("connects");
        Services {
            pool: pool.clone(),
            turns: settle::Turns::default(),
            intake: Intake::start(pool.clone(), pool, Limits::default(), u64::MAX),
            nudges: Nudges::default(),
            causes: Reports::default(),
            ..self.services.clone()
        }
    }

    /// A connection, to look at what is stored.
    pub async fn conn(&self) -> PoolConnection<Postgres> {
        self.services.pool.acquire().await.expect("a connection")
    }

    /// Brings in configuration.
    pub async fn apply(&self, yaml: &str) -> Applied {
        self.try_apply(yaml)
            .await
            .expect("the configuration is good")
    }

    /// Brings in configuration that may be refused.
    pub async fn try_apply(&self, yaml: &str) -> Result<Applied, Error> {
        let file = SourceFile {
            path: "tests.yaml".to_owned(),
            text: yaml.to_owned(),
        };
        configuration::apply(&self.services, self.project, &[file], "tests").await
    }

    /// Brings in configuration with a runbook beside it.
    pub async fn apply_with_runbook(&self, yaml: &str, runbook: &str) -> Applied {
        let file = |path: &str, text: &str| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [file("tests.yaml", yaml), file("runbook.md", runbook)];
        configuration::apply(&self.services, self.project, &files, "tests")
            .await
            .expect("the configuration is good")
    }

    /// The model of that name.
    pub async fn model(&self, name: &str) -> Model {
        registry::model(&mut *self.conn().await, self.project, name)
            .await
            .expect("the model is there")
    }

    /// Registers a version: the first becomes the champion.
    pub async fn version(&self, model: &str, version: &str) -> VersionId {
        let model = self.model(model).await;
        let (lineage, now) = (serde_json::json!({}), self.clock.now());
        registry::register_version(&self.services, &model, version, lineage, "tests", now)
            .await
            .expect("the version is registered")
    }

    /// Fits a baseline on rows.
    pub async fn fit(&self, model: &str, name: &str, rows: &[Value]) -> Baseline {
        self.fit_body(model, name, Format::Ndjson, &lines(rows))
            .await
    }

    /// Fits a baseline on a file.
    pub async fn fit_body(&self, model: &str, name: &str, format: Format, body: &[u8]) -> Baseline {
        let file = baselines::ReferenceFile {
            project_id: self.project,
            model,
            name,
            file_name: "rows",
            format,
            body: bytes::Bytes::copy_from_slice(body),
        };
        baselines::fit_file(&self.services, file, "tests")
            .await
            .expect("the baseline is fitted")
    }

    /// Sends predictions; they are landed, not settled.
    pub async fn predict(&self, model: &str, rows: &[Value]) -> Receipt {
        let upload = self.upload(model, lines(rows));
        ingest::predictions(&self.services, upload)
            .await
            .expect("the predictions are taken")
    }

    /// Sends predictions of a version; they are landed, not settled.
    pub async fn predict_as(&self, model: &str, version: &str, rows: &[Value]) -> Receipt {
        let upload = Upload {
            version: Some(version.to_owned()),
            ..self.upload(model, lines(rows))
        };
        ingest::predictions(&self.services, upload)
            .await
            .expect("the predictions are taken")
    }

    /// Sends labels; they are landed, not settled.
    pub async fn label(&self, model: &str, rows: &[Value]) -> Receipt {
        let upload = self.upload(model, lines(rows));
        ingest::labels(&self.services, upload)
            .await
            .expect("the labels are taken")
    }

    fn upload<'a>(&self, model: &'a str, body: bytes::Bytes) -> Upload<'a> {
        Upload {
            project_id: self.project,
            model,
            format: Format::Ndjson,
            body,
            version: None,
            generation: None,
        }
    }

    /// Settles all that has landed and is due.
    pub async fn settle(&self) {
        settle_all(&self.services).await;
    }

    /// Moves the clock, and lets every task do what there is to do.
    pub async fn tick(&self, to: &str) {
        self.tick_at(at(to)).await;
    }

    /// As [`TestApp::tick`].
    pub async fn tick_at(&self, to: DateTime<Utc>) {
        self.clock.advance_to(to);
        self.work().await;
    }

    /// Lets every task do what there is to do, until nothing moves any more.
    pub async fn work(&self) {
        let now = self.clock.now();
        for _ in 0..MOST_ROUNDS {
            settle_all(&self.services).await;
            let mut moved = key_runs::activate(&self.services).await.expect("merges");
            moved |= baselines::activate(&self.services, now)
                .await
                .expect("baselines");
            moved |= schemas::activate(&self.services, now)
                .await
                .expect("schemas");
            moved |= !evaluate::activate(&self.services, now)
                .await
                .expect("evaluate")
                .is_empty();
            moved |= alerting::activate(&self.services, now)
                .await
                .expect("alerting");
            moved |= runbooks::activate(&self.services, now)
                .await
                .expect("runbooks");
            moved |= retraining::activate(&self.services, now)
                .await
                .expect("retraining");
            while delivery::activate(&self.services, now)
                .await
                .expect("delivery")
            {
                moved = true;
            }
            moved |= orphans::activate(&self.services, now)
                .await
                .expect("orphans");
            if !moved {
                return;
            }
        }
        panic!("the tasks still move after {MOST_ROUNDS} rounds");
    }

    /// The values in force of a model.
    pub async fn measured(&self, model: &str) -> Vec<StoredMeasurement> {
        let model = self.model(model).await;
        measurements::in_force(
            &mut *self.conn().await,
            model.model_id,
            Selection::default(),
            100_000,
        )
        .await
        .expect("measurements")
    }

    /// The overall value of a measure in the window that starts at `start`, of the feature (or of none).
    pub async fn value(
        &self,
        model: &str,
        measure: &str,
        feature: &str,
        start: &str,
    ) -> Option<(Option<f64>, Status, u64)> {
        let found: Vec<_> = self
            .measured(model)
            .await
            .into_iter()
            .filter(|m| m.measure == measure && m.feature == feature)
            .filter(|m| m.window.start == at(start) && m.segment.is_overall())
            .map(|m| (m.value, m.status, m.current_rows))
            .collect();
        assert!(
            found.len() <= 1,
            "{measure} of {feature:?} on {start}: {found:?}"
        );
        found.into_iter().next()
    }

    /// The alerts of the project, oldest first.
    pub async fn alerts(&self) -> Vec<Alert> {
        let mut alerts = storage::alerts::list(&mut *self.conn().await, self.project, false, 1_000)
            .await
            .expect("alerts");
        alerts.reverse();
        alerts
    }

    /// The open alerts' rules.
    pub async fn open_rules(&self) -> Vec<String> {
        let alerts = self.alerts().await;
        let open = alerts
            .into_iter()
            .filter(|alert| alert.resolved_at.is_none());
        open.map(|alert| alert.rule).collect()
    }

    /// What the rules on the fares promise, where anything is known.
    pub async fn promises(&self) -> Vec<Promise> {
        let mut conn = self.services.pool.acquire().await.expect("a connection");
        let model = registry::model(&mut conn, self.project, "fares")
            .await
            .expect("the model");
        let told = promises::of_model(&mut conn, &model, self.clock.now()).await;
        let told = told.expect("rules can be read");
        let promises = told.into_iter().flat_map(|rule| rule.promises);
        promises.filter_map(|of| of.promise).collect()
    }

    /// Kinds of the events of an alert, in their order.
    pub async fn history(&self, alert: &Alert) -> Vec<String> {
        sqlx::query_scalar("SELECT kind FROM alert_events WHERE alert_id = $1 ORDER BY sequence")
            .bind(alert.alert_id.0)
            .fetch_all(&self.services.pool)
            .await
            .expect("events")
    }

    /// The messages of the project, newest first.
    pub async fn deliveries(&self) -> Vec<Delivery> {
        deliveries::list(&mut *self.conn().await, self.project, 1_000)
            .await
            .expect("deliveries")
    }

    /// The runs of the project, oldest first.
    pub async fn runs(&self) -> Vec<Run> {
        let mut runs = runs::list(&mut *self.conn().await, self.project, 1_000)
            .await
            .expect("runs");
        runs.reverse();
        runs
    }

    /// The steps of a run: name and state.
    pub async fn steps(&self, run: RunId) -> Vec<(String, String)> {
        let steps = self.run_steps(run).await;
        steps
            .into_iter()
            .map(|step| (step.name, step.state))
            .collect()
    }

    /// The steps of a run.
    pub async fn run_steps(&self, run: RunId) -> Vec<RunStep> {
        runs::steps(&mut *self.conn().await, run)
            .await
            .expect("steps")
    }

    /// Somebody who looks at the pages.
    pub async fn reader(&self) -> Reader {
        let (pool, now) = (&self.services.pool, self.services.wall.now());
        let first = FirstAdmin {
            project_name: "tests",
            auto_register: false,
            email: "reader@example.org",
        };
        let password = people::ensure_first_admin(pool, now, &first)
            .await
            .expect("makes the administrator")
            .expect("there was nobody");
        let session = people::sign_in(pool, now, first.email, password.reveal())
            .await
            .expect("signs in");
        let site = Site::at(&self.services.public_url).expect("a good URL");
        Reader {
            services: self.services.clone(),
            cookie: site.set_cookie(&session.cookie_value),
        }
    }

    /// Adds somebody who may approve.
    pub async fn person(&self, name: &str) -> PersonId {
        let person_id = PersonId::new(self.clock.now());
        let person = PersonToAdd {
            person_id,
            email: &format!("{}@example.org", name.to_lowercase()),
            display_name: name,
            password_hash: "none",
            project_id: self.project,
            role: MemberRole::Operator,
        };
        access::add_person(&mut *self.conn().await, &person, self.clock.now())
            .await
            .expect("the person is added");
        person_id
    }

    /// Answers what a run asks.
    pub async fn answer(
        &self,
        run: RunId,
        person_id: PersonId,
        approve: bool,
        reason: &str,
    ) -> Result<(), Error> {
        let approvals = runs::approvals(&mut *self.conn().await, run)
            .await
            .expect("approvals");
        let approval_id = approvals.last().expect("the run asks").approval_id;
        let answer = Answer {
            approval_id,
            approve,
            reason,
            person_id,
            actor: "a person",
        };
        runbooks::decide(&self.services, self.project, answer).await
    }

    /// The roles of a model's versions at present.
    pub async fn roles(&self, model: &str) -> BTreeMap<String, &'static str> {
        let model = self.model(model).await;
        let deployed = registry::deployed(&mut *self.conn().await, &model).await;
        let roles = deployed.expect("deployments").into_iter();
        roles.map(|d| (d.version, d.role.as_str())).collect()
    }

    /// How many rows of a kind came to an outcome, over all reasons.
    pub async fn count(&self, model: &str, kind: BatchKind, outcome: &str) -> i64 {
        let model = self.model(model).await;
        let counts = intake::counts(&mut *self.conn().await, model.model_id).await;
        let of_outcome = counts.expect("counts").into_iter();
        of_outcome
            .filter(|count| count.kind == kind && count.outcome == outcome)
            .map(|count| count.rows)
            .sum()
    }

    /// Checks the conservation law of the intake: nothing is lost, nothing is counted twice.
    pub async fn assert_conserved(&self, model: &str) {
        for kind in [BatchKind::Predictions, BatchKind::Labels, BatchKind::Events] {
            let mut parts = 0;
            for outcome in ["accepted", "duplicate", "conflicting", "rejected"] {
                parts += self.count(model, kind, outcome).await;
            }
            assert_eq!(
                self.count(model, kind, "received").await,
                parts,
                "{kind:?} of {model}"
            );
        }
    }

    /// One number that a query gives.
    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.services.pool)
            .await
            .expect("a number")
    }

    /// The names of the mails that were written.
    pub fn mail_files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.mails)
            .into_iter()
            .flatten()
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// Somebody who is signed in.
pub struct Reader {
    services: Services,
    cookie: String,
}

impl Reader {
    /// A page as it is served.
    pub async fn page(&self, path: &str) -> String {
        let cookie = self.cookie.split(';').next().unwrap_or_default();
        let request = Request::get(path).header(header::COOKIE, cookie);
        let answer = bellwether::web::router()
            .with_state(self.services.clone())
            .oneshot(request.body(Body::empty()).expect("a request"))
            .await
            .expect("the router answers");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let body = answer.into_body().collect().await.expect("a body");
        String::from_utf8(body.to_bytes().to_vec()).expect("text")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // What is left behind after a failure lies in the temporary directory; there is nothing more to do.
        let _ = std::fs::remove_dir_all(&self.mails);
    }
}

/// Settles everything that is due, as one worker.
pub async fn settle_all(services: &Services) {
    let now = services.clock.now();
    for _ in 0..MOST_ROUNDS {
        if !settle::activate(services, now).await.expect("settles") {
            return;
        }
    }
    panic!("batches are still due after {MOST_ROUNDS} rounds");
}

/// Rows as NDJSON.
pub fn lines(rows: &[Value]) -> bytes::Bytes {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    lines.join("\n").into()
}

fn new_directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bellwether-mails-{}-{number}", std::process::id()))
}
