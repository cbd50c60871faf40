//! Bellwether from outside: the release binary, its first sign-in, and its API. Each service has a database of
//! its own, and can be stopped and started again over it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use axum::http::{Method, header};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::bodies::{self, Body, Format, ROWS_PER_BODY};
use crate::generator::Generator;
use crate::http::{Connection, Target};
use crate::postgres::{Cluster, signal};

pub const PREDICTIONS: &str = "/api/v1/models/bench/predictions";
const INTAKE: &str = "/api/v1/models/bench/intake";
const BASELINE: &str = "/api/v1/models/bench/baselines/training?file_name=training.parquet";
/// Rows the baseline is fitted on; they are none of those that are sent later.
const BASELINE_ROWS: usize = 20_000;
const BASELINE_SEED: u64 = u64::MAX;
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(90);
/// How long landed rows may take to be settled.
const SETTLE: Duration = Duration::from_secs(1800);
const POLL: Duration = Duration::from_millis(20);

/// A service with its database. It runs between [`Service::start`] and [`Service::stop`].
pub struct Service {
    pub database: String,
    database_url: String,
    folder: PathBuf,
    token: String,
    running: Option<Running>,
    /// Rows that were sent and acknowledged, over all of its runs.
    pub sent: u64,
    /// Rows that were acknowledged once more, and have to count as duplicates.
    pub repeated: u64,
    empty_bytes: u64,
}

struct Running {
    process: Child,
    target: Target,
}

/// The account of the predictions that came in.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub accepted: u64,
    pub duplicate: u64,
    /// Conflicting or rejected: none of the rows sent here may be.
    pub other: u64,
}

impl Counts {
    /// Whether so many rows are accounted for. A body that was sent again for want of an answer may count twice,
    /// which must not hide that another one is still to come.
    fn cover(&self, sent: u64, repeated: u64) -> bool {
        let new = self.accepted + self.other;
        new >= sent && new + self.duplicate >= sent + repeated
    }
}

impl Service {
    /// A running service over a new database, with its model registered and a baseline fitted, so that every
    /// row is counted on the cells of a grid.
    pub async fn create(cluster: &Cluster, database: &str) -> anyhow::Result<Self> {
        cluster.create(database)?;
        let folder = cluster.folder().join(format!("{database}-service"));
        std::fs::create_dir_all(&folder).context("make the service's data directory")?;
        let mut service = Self {
            database: database.to_owned(),
            database_url: cluster.url(database),
            folder,
            token: String::new(),
            running: None,
            sent: 0,
            repeated: 0,
            empty_bytes: 0,
        };
        let password = service.launch(true).await?.context("read the password")?;
        service.token = service.first_token(&password).await?;
        service.set_token();
        service.empty_bytes = service.occupied(cluster)?;
        service.register().await?;
        Ok(service)
    }

    /// Starts it again over its database.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.launch(false).await?;
        self.set_token();
        Ok(())
    }

    fn set_token(&mut self) {
        if let Some(running) = &mut self.running {
            running.target.token.clone_from(&self.token);
        }
    }

    /// Starts the process and waits until it serves; at the first start it tells the password.
    async fn launch(&mut self, first: bool) -> anyhow::Result<Option<String>> {
        let listen = free_address()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("service.log"))
            .context("open the service's log")?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(["serve", "--listen", &listen, "--data-dir"])
            .arg(self.folder.join("data"))
            .env("DATABASE_URL", &self.database_url)
            .env("BELLWETHER_TELEMETRY_LOG_FILTER", "warn")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start the service")?;
        let output = process.stdout.take().context("read what it prints")?;
        self.running = Some(Running {
            process,
            target: Target {
                server: format!("http://{listen}"),
                token: String::new(),
            },
        });
        let password = first.then(|| read_password(output)).transpose();
        // What it says on its log is the reason when it says no password.
        let password = password.with_context(|| self.log())?;
        self.wait_until_ready().await?;
        Ok(password)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("service.log")).unwrap_or_default()
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let (started, connection) = (Instant::now(), self.connection()?);
        loop {
            let answer = connection
                .request(Method::GET, "/readyz", &[], Bytes::new())
                .await;
            if answer.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            if started.elapsed() > START {
                bail!("start the service: {}", self.log());
            }
            pause(POLL).await;
        }
    }

    /// Signs in as the first administrator does, and makes a token with all scopes.
    async fn first_token(&self, password: &str) -> anyhow::Result<String> {
        let connection = self.connection()?;
        let origin = self.target()?.server.clone();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("email", "admin@localhost")
            .append_pair("password", password)
            .finish();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", &origin),
        ];
        let answer = connection
            .request(Method::POST, "/sign-in", &headers, form.into())
            .await?;
        let cookie = answer
            .headers
            .get(header::SET_COOKIE)
            .and_then(|cookie| cookie.to_str().ok()?.split(';').next())
            .with_context(|| format!("sign in: {}", answer.status))?;
        let page = connection
            .request(
                Method::GET,
                "/settings",
                &[("cookie", cookie)],
                Bytes::new(),
            )
            .await?
            .text();
        let csrf = hidden_value(&page, "csrf").context("find the token of the session's forms")?;
        let headers = [
            ("content-type", "application/json"),
            ("origin", &origin),
            ("cookie", cookie),
            ("x-csrf-token", csrf),
        ];
        let wanted = json!({"name": "bench", "scopes": ["ingest", "read", "operate", "admin"]});
        let answer = connection
            .request(
                Method::POST,
                "/api/v1/tokens",
                &headers,
                wanted.to_string().into(),
            )
            .await?;
        let made: Value = serde_json::from_slice(&answer.body).context("read the new token")?;
        let secret = made["secret"].as_str();
        secret
            .map(str::to_owned)
            .with_context(|| format!("make a token: {made}"))
    }

    async fn register(&self) -> anyhow::Result<()> {
        let connection = self.connection()?;
        let model = json!({"name": "bench", "task": "binary"});
        connection
            .json(Method::POST, "/api/v1/models", &model)
            .await?;
        let version = json!({"version": "v1"});
        connection
            .json(Method::POST, "/api/v1/models/bench/versions", &version)
            .await?;
        let mut generator = Generator::new(BASELINE_SEED, BASELINE_ROWS as u64);
        let rows = generator.rows(BASELINE_ROWS);
        let file = bodies::body(&rows, &generator.vocabulary, Format::Parquet)?;
        let answer = connection.post(BASELINE, &file).await?;
        ensure!(
            answer.status.is_success(),
            "fit the baseline: {}: {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        signal("TERM", &[running.process.id()])?;
        let started = Instant::now();
        while running.process.try_wait()?.is_none() {
            ensure!(started.elapsed() < STOP, "stop the service");
            pause(POLL).await;
        }
        Ok(())
    }

    pub fn target(&self) -> anyhow::Result<&Target> {
        let running = self.running.as_ref().context("use a stopped service")?;
        Ok(&running.target)
    }

    pub fn connection(&self) -> anyhow::Result<Connection> {
        Ok(Connection::new(self.target()?))
    }

    /// Whether it takes a format: asked with a small body, whose rows are sent as any others.
    pub async fn takes(&mut self, format: Format) -> anyhow::Result<bool> {
        let mut generator = Generator::new(BASELINE_SEED - 1 - format as u64, 10);
        let bodies = bodies::bodies(&mut generator, format, 10, ROWS_PER_BODY)?;
        let answer = self.connection()?.post(PREDICTIONS, &bodies[0]).await?;
        if answer.status == axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE {
            return Ok(false);
        }
        ensure!(
            answer.status.is_success(),
            "try {}: {}: {}",
            format.name(),
            answer.status,
            answer.text()
        );
        self.sent += 10;
        Ok(true)
    }

    pub async fn counts(&self) -> anyhow::Result<Counts> {
        let intake = self.connection()?.get(INTAKE).await?;
        let count = |outcome: &str| intake["predictions"][outcome].as_u64().unwrap_or(0);
        Ok(Counts {
            accepted: count("accepted"),
            duplicate: count("duplicate"),
            other: count("conflicting") + count("rejected"),
        })
    }

    /// Counts `bodies` as sent, and waits until every row sent so far is settled.
    pub async fn settle(&mut self, bodies: &[Body]) -> anyhow::Result<()> {
        self.sent += bodies.iter().map(|body| body.rows).sum::<u64>();
        self.wait_until_settled().await
    }

    pub async fn wait_until_settled(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let counts = self.counts().await?;
            if counts.cover(self.sent, self.repeated) {
                return Ok(());
            }
            if started.elapsed() > SETTLE {
                bail!("settle {} rows: {counts:?}: {}", self.sent, self.log());
            }
            pause(POLL).await;
        }
    }

    /// Checks that every row that was acknowledged is there once, and can be queried.
    pub async fn verify(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let counts = self.counts().await?;
        ensure!(
            counts.accepted == self.sent && counts.other == 0,
            "{} rows were acknowledged, and the service counts {counts:?}",
            self.sent
        );
        let rows = cluster.number(&self.database, "SELECT count(*) FROM predictions")?;
        ensure!(
            rows == self.sent,
            "{} rows were accepted, and {rows} can be queried",
            self.sent
        );
        Ok(())
    }

    /// Bytes on disk since the database was new, once the size rests for `quiet`, and unused space is given back.
    pub async fn bytes_at_rest(
        &self,
        cluster: &Cluster,
        quiet: Duration,
        at_most: Duration,
    ) -> anyhow::Result<u64> {
        let (started, mut unchanged_since) = (Instant::now(), Instant::now());
        let mut bytes = self.occupied(cluster)?;
        while unchanged_since.elapsed() < quiet && started.elapsed() < at_most {
            pause(Duration::from_secs(1)).await;
            let now = self.occupied(cluster)?;
            if now != bytes {
                (bytes, unchanged_since) = (now, Instant::now());
            }
        }
        cluster.query(&self.database, "VACUUM")?;
        Ok(self.occupied(cluster)?.saturating_sub(self.empty_bytes))
    }

    /// Bytes in the database and, should it keep something there, in the data directory.
    fn occupied(&self, cluster: &Cluster) -> anyhow::Result<u64> {
        Ok(cluster.bytes(&self.database)? + folder_bytes(&self.folder.join("data")))
    }

    /// The most memory it has had resident since it started, in MiB.
    pub fn peak_memory_mib(&self) -> anyhow::Result<f64> {
        let running = self.running.as_ref().context("use a stopped service")?;
        let path = format!("/proc/{}/status", running.process.id());
        let status = std::fs::read_to_string(path).context("read the service's memory")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB"));
        let kib: f64 = kib.context("find the peak of memory")?.trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Only after a failure is it still running: then nothing of it is needed any more.
        if let Some(running) = &mut self.running {
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
    }
}

pub async fn pause(duration: Duration) {
    tokio::time::sleep_until((Instant::now() + duration).into()).await;
}

/// The password is printed on the line after the one that says how to sign in.
fn read_password(output: impl std::io::Read) -> anyhow::Result<String> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next() {
        if line?.starts_with("Sign in at") {
            let password = lines.next().context("the service said no password")??;
            return Ok(password.trim().to_owned());
        }
    }
    bail!("the service ended before it said a password")
}

/// The value of a hidden field of a page's forms.
fn hidden_value<'p>(page: &'p str, name: &str) -> Option<&'p str> {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.to_string())
}

fn folder_bytes(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
