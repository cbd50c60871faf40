//! The service as its clients meet it: the real program in a process of its own, whose memory can be measured,
//! and a client that can misbehave, because it writes its requests by hand.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bellwether::domain::clock::{Clock, SystemClock};
use bellwether::domain::ids::ProjectId;
use bellwether::services::access::{Scope, TokenRequest, create_token};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a request waits for the database, for tests of what happens to senders while it stalls.
pub const IMPATIENT: (&str, &str) = ("BELLWETHER_INTAKE_DATABASE_WAIT_MS", "200");

/// The running program.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
    pub token: String,
    pub pool: PgPool,
    /// All that the program has said since it was ready.
    said: Said,
}

type Said = Arc<Mutex<String>>;

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    pub took: Duration,
}

impl Answer {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Checks that it is a problem document of that status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("a problem document");
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().expect("a detail").to_owned()
    }

    /// Whether the request was sent away for now, as it must be: with a time to come back.
    pub fn was_shed(&self) -> bool {
        let shed = matches!(self.status, 429 | 503);
        assert!(!shed || self.header("retry-after").is_some(), "{self:?}");
        shed
    }
}

impl Served {
    /// Starts the program on a database, with further settings; there is a model called "fares".
    pub async fn start(pool: PgPool, database_url: &str, settings: &[(&str, &str)]) -> Self {
        let served = Self::again(pool, database_url, settings).await;
        let model = json!({"name": "fares", "task": "regression"}).to_string();
        let made = served
            .post("/api/v1/models", "application/json", model.as_bytes())
            .await;
        assert_eq!(made.status, 200, "{made:?}");
        served
    }

    /// Starts the program on a database that it knows.
    pub async fn again(pool: PgPool, database_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", database_url)
            .env("BELLWETHER_TELEMETRY_LOG_FORMAT", "json")
            // Other tests keep the database busy, and few senders here come again.
            .env("BELLWETHER_INTAKE_DATABASE_WAIT_MS", "10000")
            .envs(settings.iter().copied())
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let said = Said::default();
        let address = ready(lines, said.clone())
            .await
            .expect("the program is ready");
        let token = token(&pool).await;
        Self {
            child,
            address,
            token,
            pool,
            said,
        }
    }

    /// The head of a request with a token.
    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\n",
            self.address, self.token
        );
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes all");
        }
        head + "\r\n"
    }

    /// Sends bytes as they are, and reads what comes back until the connection ends.
    pub async fn raw(&self, parts: &[&[u8]]) -> Answer {
        raw(self.address, parts).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.raw(&[self.head("GET", path, &[]).as_bytes()]).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.post_with(path, &[("content-type", content_type)], body)
            .await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .chain([("content-length", length.as_str())])
            .collect();
        let head = self.head("POST", path, &headers);
        self.raw(&[head.as_bytes(), body]).await
    }

    /// Sends predictions with these ids.
    pub async fn predict(&self, ids: impl IntoIterator<Item = String>) -> Answer {
        let body = predictions(ids);
        self.post(PREDICTIONS, "application/x-ndjson", body.as_bytes())
            .await
    }

    /// Sends predictions until they are taken; returns how long that took.
    pub async fn until_taken(&self, id: &str) -> Duration {
        let began = Instant::now();
        loop {
            let answer = self.predict([id.to_owned()]).await;
            if answer.status == 200 {
                return began.elapsed();
            }
            assert!(answer.was_shed(), "{answer:?}");
            assert!(began.elapsed() < PATIENCE, "still {answer:?}");
            tokio::task::yield_now().await;
        }
    }

    /// What the program has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number")
            / 1024
    }

    /// The most memory that was resident at any time, in MiB.
    pub fn most_resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process lives");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number")
            / 1024
    }

    /// The sum of a metric over the series that have all these labels.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.get("/metrics").await.body;
        text.lines()
            .filter(|line| line.starts_with(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a question to the database has this answer.
    pub async fn until(&self, question: &'static str, expected: i64) {
        let began = Instant::now();
        loop {
            let found: i64 = sqlx::query_scalar(question)
                .fetch_one(&self.pool)
                .await
                .expect("an answer");
            if found == expected {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{question} gives {found}, not {expected}"
            );
            tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(50)).await;
        }
    }
}

/// The address that the program says it can be reached at. What it says is read to its end, by a thread of its
/// own, because neither the program nor the test's tasks may wait for that.
async fn ready(
    lines: impl Iterator<Item = std::io::Result<String>> + Send + 'static,
    keep: Said,
) -> Option<SocketAddr> {
    let (say, said) = tokio::sync::oneshot::channel();
    let aloud = std::env::var_os("BELLWETHER_TEST_LOG").is_some();
    std::thread::spawn(move || {
        let mut say = Some(say);
        for line in lines.map_while(Result::ok) {
            let url = serde_json::from_str::<Value>(&line)
                .ok()
                .and_then(|line| Some(line["public_url"].as_str()?.to_owned()));
            keep.lock().expect("nobody panics with it").push_str(&line);
            if let Some(url) = url
                && let Some(say) = say.take()
            {
                let _ = say.send(url);
            } else if aloud || say.is_some() {
                eprintln!("{line}");
            }
        }
    });
    let url = tokio::time::timeout(PATIENCE, said).await.ok()?.ok()?;
    url.trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .ok()
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself, and then the test has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where predictions of the model are sent to.
pub const PREDICTIONS: &str = "/api/v1/models/fares/predictions?version=v1";

/// Predictions with these ids, as NDJSON.
pub fn predictions(ids: impl IntoIterator<Item = String>) -> String {
    let now = SystemClock.now().to_rfc3339();
    let lines = ids.into_iter().map(|id| {
        json!({
            "prediction_id": id, "timestamp": now, "prediction": 12.5,
            "features": {"distance": 3.25, "zone": "north"},
        })
        .to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Sends bytes as they are, and reads what comes back until the connection ends.
pub async fn raw(address: SocketAddr, parts: &[&[u8]]) -> Answer {
    let began = Instant::now();
    let text = tokio::time::timeout(PATIENCE, exchange(address, parts))
        .await
        .expect("an answer in time");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
        took: began.elapsed(),
    }
}

/// What is not answered reads as an empty text; a service that refuses may close before all is written.
async fn exchange(address: SocketAddr, parts: &[&[u8]]) -> String {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (mut from, mut to) = stream.into_split();
    let writing = async {
        for part in parts {
            if to.write_all(part).await.is_err() {
                break;
            }
        }
        // Only the answer ends the exchange.
        std::future::pending::<()>().await;
    };
    let mut read = Vec::new();
    tokio::select! {
        () = writing => {}
        _ = from.read_to_end(&mut read) => {}
    }
    String::from_utf8_lossy(&read).into_owned()
}

pub async fn token(pool: &PgPool) -> String {
    let project: uuid::Uuid = sqlx::query_scalar("SELECT project_id FROM projects")
        .fetch_one(pool)
        .await
        .expect("the project");
    sqlx::query("UPDATE projects SET auto_register = true")
        .execute(pool)
        .await
        .expect("versions need not be registered");
    let request = TokenRequest {
        name: &format!("tests {}", uuid::Uuid::new_v4()),
        scopes: &[Scope::Admin],
        expires_at: None,
    };
    create_token(
        pool,
        SystemClock.now(),
        ProjectId(project),
        &request,
        "tests",
    )
    .await
    .expect("a token")
    .secret
}
