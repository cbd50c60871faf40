//! The private Postgres: a cluster in the data directory, run with the system's own programs, for whoever has no server to
//! give. It is started and stopped with the service and started again when it dies.
//!
//! The server is a plain child process in a group of its own. It outlives a service that is killed, and the next service adopts
//! it: stopping it first would only cost a recovery. Two services never share a data directory, because each holds a lock on a
//! file in it for as long as it lives.
//!
//! It listens on a Unix socket in a folder that only its user can enter, and asks for a password all the same: when the service
//! runs as root, that user is one that other programs may run as too.

mod account;
mod binaries;
mod durability;
mod error;
mod initialise;
mod layout;
mod postmaster;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, watch};
use url::form_urlencoded::byte_serialize;

use account::Account;
use binaries::Binaries;
pub use durability::Durability;
pub use error::ClusterError;
use initialise::{ROLE, initialise, read_password};
use layout::{DirectoryLock, Layout};
use postmaster::{Postmaster, Server, pass, polling};

/// The database of the service in its private cluster.
const DATABASE: &str = "bellwether";

/// How long a server may take to answer, recovery after a crash included.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How often a server that died is started again before the service gives up.
const RESTART_ATTEMPTS: u32 = 5;

/// The pause after the first attempt that failed; it doubles with each.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What the private cluster needs to know.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The folder everything lies in; made if it is not there.
    pub data_dir: PathBuf,
    /// The user to run Postgres as when the service runs as root; one is chosen when it is `None`.
    pub run_as: Option<String>,
    /// The folder with the programs of Postgres, when they are not to be searched for.
    pub bin_dir: Option<PathBuf>,
    /// How long to wait for the server to answer.
    pub ready_within: Duration,
}

impl ClusterSettings {
    /// The defaults, for a data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            run_as: None,
            bin_dir: None,
            ready_within: READY_WITHIN,
        }
    }
}

/// The private Postgres while it runs. Dropping it without [`PrivateCluster::stop`] leaves the server running, for the next
/// service to adopt.
#[derive(Debug)]
pub struct PrivateCluster {
    server: Server,
    postmaster: Mutex<Postmaster>,
    stopping: watch::Sender<bool>,
    /// Held for as long as this value lives.
    _lock: DirectoryLock,
}

impl PrivateCluster {
    /// Makes the cluster if there is none, adopts its server if one is running, starts it otherwise, and waits until it answers.
    ///
    /// # Errors
    /// See [`ClusterError`]; each of its variants says what to do.
    pub async fn start(settings: ClusterSettings) -> Result<Self, ClusterError> {
        let layout = Layout::open(&settings.data_dir)?;
        let lock = layout.lock()?;
        let account = Account::resolve(
            settings.run_as.as_deref(),
            &layout.cluster(),
            layout.cluster_owner()?,
        )
        .await?;
        account.check_can_enter(layout.root()).await?;
        let (binaries, password) =
            existing_or_new(&layout, &account, settings.bin_dir.as_deref()).await?;
        let mut server = Server {
            socket_folder: layout.socket_folder(&account)?,
            layout,
            binaries,
            account,
            password,
            ready_within: settings.ready_within,
        };
        if let Some(folder) = server.running_socket_folder() {
            server.socket_folder = folder;
        }
        server.layout.write_settings(&server.settings())?;
        let postmaster = server.run().await?;
        create_database(&server)
            .await
            .map_err(ClusterError::Database)?;
        Ok(Self {
            server,
            postmaster: Mutex::new(postmaster),
            stopping: watch::Sender::new(false),
            _lock: lock,
        })
    }

    /// How to connect to the service's database.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.server.options(DATABASE)
    }

    /// The same as a URL, for other programs. It holds the password.
    #[must_use]
    pub fn url(&self) -> String {
        let socket_folder = self.server.socket_folder.as_os_str().as_encoded_bytes();
        // A plus sign is a space in forms only, so it is written out.
        let host: String = byte_serialize(socket_folder)
            .collect::<String>()
            .replace('+', "%20");
        let (password, port) = (&self.server.password, layout::PORT);
        format!(
            "postgres://{ROLE}:{password}@localhost:{port}/{DATABASE}?host={host}&sslmode=disable"
        )
    }

    /// The process id of the server.
    pub async fn pid(&self) -> u32 {
        self.postmaster.lock().await.pid
    }

    /// Watches the server and starts it again when it dies. Returns when the cluster is stopped.
    ///
    /// # Errors
    /// When the server cannot be started again; the service cannot go on without it.
    pub async fn supervise(&self) -> Result<(), ClusterError> {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            // The sender lives in self, so the channel does not close.
            _ = stopping.wait_for(|stopping| *stopping) => Ok(()),
            error = self.keep_running() => Err(error),
        }
    }

    /// Returns when the server cannot be kept running.
    async fn keep_running(&self) -> ClusterError {
        let mut poll = polling();
        loop {
            poll.tick().await;
            let mut postmaster = self.postmaster.lock().await;
            if let Some(status) = self.server.end_of(&mut postmaster) {
                tracing::error!(pid = postmaster.pid, %status, "Postgres has died; starting it again");
                match self.restart().await {
                    Ok(restarted) => *postmaster = restarted,
                    Err(error) => return error,
                }
            }
        }
    }

    /// Tries a few times, because what ended the server (no memory, no space) may pass.
    async fn restart(&self) -> Result<Postmaster, ClusterError> {
        let mut pause = RESTART_PAUSE;
        let mut attempt = 1;
        loop {
            match self.server.run().await {
                Ok(restarted) => {
                    tracing::warn!(pid = restarted.pid, "Postgres runs again");
                    return Ok(restarted);
                }
                Err(error) if attempt == RESTART_ATTEMPTS => {
                    tracing::error!(
                        error = chain(&error),
                        attempt,
                        "Postgres does not come back"
                    );
                    return Err(ClusterError::GaveUp {
                        attempts: attempt,
                        last: Box::new(error),
                    });
                }
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        attempt,
                        "Postgres could not be started again"
                    );
                }
            }
            pass(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    /// Stops the server and ends its supervision.
    ///
    /// # Errors
    /// When the server does not stop in time; it then is still running.
    pub async fn stop(&self) -> Result<(), ClusterError> {
        self.stopping.send_replace(true);
        let mut postmaster = self.postmaster.lock().await;
        self.server.stop(&mut postmaster).await
    }
}

/// The programs and the password of the existing cluster, or of a new one.
async fn existing_or_new(
    layout: &Layout,
    account: &Account,
    bin_dir: Option<&Path>,
) -> Result<(Binaries, String), ClusterError> {
    let cluster_version = layout.cluster_version()?;
    let installed = Binaries::discover(bin_dir)?;
    if let Some(version) = cluster_version {
        let binaries = Binaries::for_cluster(installed, &layout.cluster(), version)?;
        return Ok((binaries, read_password(layout)?));
    }
    let binaries = Binaries::for_new_cluster(installed)?;
    tracing::info!(directory = %layout.root().display(), version = binaries.major, "creating the private Postgres");
    let password = initialise(layout, &binaries, account).await?;
    Ok((binaries, password))
}

/// An error for the log, which shows its causes too.
fn chain(error: &ClusterError) -> &(dyn std::error::Error + 'static) {
    error
}

async fn create_database(server: &Server) -> Result<(), sqlx::Error> {
    let mut connection = server.options("postgres").connect().await?;
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(DATABASE)
        .fetch_optional(&mut connection)
        .await?;
    if found.is_none() {
        sqlx::query("CREATE DATABASE bellwether")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}

#[cfg(test)]
mod tests;
