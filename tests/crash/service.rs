//! The real binary as a process: started with a fault or without, until it dies.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether::domain::clock::{Clock, SystemClock};
use chrono::{DateTime, Utc};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const SIGKILL: i32 = 9;
/// Longer than the service takes to start or to stop on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What every start of the service is given.
pub struct Settings {
    pub database_url: String,
    pub config: std::path::PathBuf,
    pub secret: String,
}

/// The process, ready or dead.
pub struct Service {
    child: Child,
    /// Where it listens; empty when it died before it did.
    pub address: String,
    log: Arc<Mutex<Vec<String>>>,
    /// Ends with its log.
    reading: JoinHandle<()>,
}

impl Service {
    /// Starts the service with the given variables, and waits until it is ready or dead.
    pub async fn start(settings: &Settings, faults: &[(&str, String)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(&settings.config)
            .env("DATABASE_URL", &settings.database_url)
            .env("BELLWETHER_SECRET_HOOK", &settings.secret)
            .env_remove("BELLWETHER_CRASH_AT")
            .env_remove("BELLWETHER_DEFECT")
            .envs(faults.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts the service");
        let log = Arc::default();
        let (ready, is_ready) = oneshot::channel();
        let stderr = child.stderr.take().expect("its log");
        let reading = tokio::spawn(read_log(stderr, Arc::clone(&log), ready));
        // An error means that the log has ended, and so has the service.
        let address = tokio::time::timeout(LIMIT, is_ready)
            .await
            .expect("the service becomes ready or dies");
        let mut service = Self {
            child,
            address: String::new(),
            log,
            reading,
        };
        match address {
            Ok(address) => service.address = address,
            Err(_) => drop(service.ended().await),
        }
        service
    }

    /// Whether the process has died within `pause`.
    pub async fn dies_within(&mut self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.child.wait()).await.is_ok()
    }

    async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await;
        ended
            .expect("the service ends in time")
            .expect("the service is a child of ours")
    }

    /// Kills it with -9 at that moment.
    pub fn kill_at(&self, moment: DateTime<Utc>) -> JoinHandle<()> {
        let process = self.child.id();
        tokio::spawn(async move {
            SystemClock.sleep_until(moment).await;
            if let Some(process) = process {
                signal("KILL", process).await;
            }
        })
    }

    /// Asks it to stop; it goes on until it has.
    pub async fn ask_to_stop(&self) {
        if let Some(process) = self.child.id() {
            signal("TERM", process).await;
        }
    }

    /// Lets it end in order.
    pub async fn stop(mut self) {
        self.ask_to_stop().await;
        let status = self.ended().await;
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Checks that it died where it was told to and nowhere else.
    pub async fn assert_died_at(&mut self, point: &str) {
        let status = self.ended().await;
        // What it said last may still have to be read.
        (&mut self.reading).await.expect("its log is read");
        let said = format!("crash point {point} is reached");
        let died_there = self.log().contains(&said) && status.signal() == Some(SIGKILL);
        assert!(died_there, "not at {point}, {status}:\n{}", self.log());
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }
}

/// Sends a signal. The process has not been waited for, so its number is still its own.
async fn signal(name: &str, process: u32) {
    let kill = format!("kill -{name} {process}");
    let sent = Command::new("/bin/sh").args(["-c", &kill]).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "sends {name}");
}

async fn read_log(
    stderr: ChildStderr,
    log: Arc<Mutex<Vec<String>>>,
    ready: oneshot::Sender<String>,
) {
    let mut ready = Some(ready);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let address = line
            .split_once("ready public_url=")
            .map(|(_, address)| address.trim().trim_end_matches('/').to_owned());
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        if let Some(address) = address
            && let Some(ready) = ready.take()
        {
            // Nobody listens any more when the start took too long.
            let _ = ready.send(address);
        }
    }
}
