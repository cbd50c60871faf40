//! The running server: started as our child, or found running and adopted.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::process::{Child, Command};
use tokio::time::MissedTickBehavior;

use super::account::Account;
use super::binaries::Binaries;
use super::error::ClusterError;
use super::initialise::{NO_SPACE, ROLE};
use super::layout::{Layout, PORT, excerpt, socket_in};

/// How often the server is asked whether it is ready.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the processes of a server that was killed may take to notice and go.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(30);

const FAST_SHUTDOWN_SECONDS: u32 = 30;
const IMMEDIATE_SHUTDOWN_SECONDS: u32 = 15;

/// What Postgres writes when processes of a killed server still hold its memory.
const LEFTOVERS: &str = "pre-existing shared memory block";

/// What Postgres writes when its socket is taken.
const SOCKET_TAKEN: [&str; 2] = ["could not bind Unix address", "is another postmaster"];

/// SQLSTATE `invalid_password`.
const INVALID_PASSWORD: &str = "28P01";

/// Everything needed to run the server of one cluster.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) layout: Layout,
    pub(super) binaries: Binaries,
    pub(super) account: Account,
    pub(super) socket_folder: PathBuf,
    pub(super) password: String,
    pub(super) ready_within: Duration,
}

/// A server that runs, or ran a moment ago.
#[derive(Debug)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    /// `None` when it was found running: then it is not our child, and its end is seen by looking.
    child: Option<Child>,
}

/// What a server says of itself in `postmaster.pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PidFile {
    pid: u32,
    socket_folder: PathBuf,
}

/// What a server answers to a connection.
enum Answer {
    Ready,
    WrongPassword,
    /// Starting up, recovering, shutting down, or not there.
    NotYet(String),
}

/// Why a server that was just started ended.
enum StartEnd {
    Leftovers,
    Failed(ClusterError),
}

impl Server {
    /// The settings of the cluster. They suit a small machine; `ALTER SYSTEM` goes over them.
    pub(super) fn settings(&self) -> String {
        format!(
            "# Written by Bellwether at every start; changes here are lost. ALTER SYSTEM goes over these settings.\n\
             include 'postgres/postgresql.conf'\n\
             data_directory = '{cluster}'\n\
             hba_file = '{cluster}/pg_hba.conf'\n\
             ident_file = '{cluster}/pg_ident.conf'\n\
             listen_addresses = ''\n\
             port = {PORT}\n\
             unix_socket_directories = '{socket_folder}'\n\
             unix_socket_permissions = 0700\n\
             password_encryption = 'scram-sha-256'\n\
             fsync = on\n\
             synchronous_commit = on\n\
             full_page_writes = on\n\
             wal_compression = on\n\
             shared_buffers = 256MB\n\
             max_connections = 60\n\
             max_wal_size = 1GB\n\
             checkpoint_timeout = 10min\n\
             # A statement over a long time touches many daily partitions.\n\
             max_locks_per_transaction = 256\n\
             jit = off\n\
             timezone = 'UTC'\n\
             log_timezone = 'UTC'\n\
             lc_messages = 'C'\n\
             log_destination = 'stderr'\n\
             logging_collector = off\n\
             log_checkpoints = off\n\
             log_lock_waits = on\n\
             cluster_name = 'bellwether'\n",
            cluster = quoted(&self.layout.cluster()),
            socket_folder = quoted(&self.socket_folder),
        )
    }

    /// How to connect, to the given database of the cluster.
    pub(super) fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_folder)
            .port(PORT)
            .username(ROLE)
            .password(&self.password)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// Where the server of this cluster listens, if one survived the service that started it. That is not where we would put
    /// the socket today if the folder for temporary files has changed since.
    pub(super) fn running_socket_folder(&self) -> Option<PathBuf> {
        self.running().map(|found| found.socket_folder)
    }

    /// The server of this cluster if it runs. It is recognised by its command line, which names our cluster: a process id alone
    /// may by now belong to something else.
    fn running(&self) -> Option<PidFile> {
        self.read_pid_file().filter(|found| self.is_ours(found.pid))
    }

    /// Adopts the running server, or starts one; either way it answers afterwards.
    pub(super) async fn run(&self) -> Result<Postmaster, ClusterError> {
        if let Some(found) = self.running() {
            tracing::info!(
                pid = found.pid,
                "adopting the Postgres that is still running"
            );
            if let Some(adopted) = self.adopt(found.pid).await? {
                return Ok(adopted);
            }
        }
        self.launch().await
    }

    /// Starts a server and waits until it answers.
    async fn launch(&self) -> Result<Postmaster, ClusterError> {
        let begun = Instant::now();
        let mut pause = polling();
        loop {
            self.clear_stale_files().await?;
            match self.launch_once().await? {
                Ok(postmaster) => return Ok(postmaster),
                Err(StartEnd::Leftovers) if begun.elapsed() < LEFTOVERS_TIMEOUT => {
                    tracing::info!("processes of the former Postgres are still ending");
                    pause.tick().await;
                }
                Err(StartEnd::Leftovers) => {
                    return Err(self.start_failed("leftovers of the former server", 0));
                }
                Err(StartEnd::Failed(error)) => return Err(error),
            }
        }
    }

    async fn launch_once(&self) -> Result<Result<Postmaster, StartEnd>, ClusterError> {
        let log = self.layout.open_log()?;
        let log_file = self.layout.log_file();
        let log_begin = log
            .metadata()
            .map_err(ClusterError::file("open", &log_file))?
            .len();
        let errors = log
            .try_clone()
            .map_err(ClusterError::file("open", &log_file))?;
        let program = self.binaries.program("postgres");
        let child = self
            .account
            .command(&program)
            .arg("-D")
            .arg(self.layout.cluster())
            .arg("-c")
            .arg(format!(
                "config_file={}",
                self.layout.settings_file().display()
            ))
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(errors))
            // A group of its own, so that Ctrl-C on the service does not end the server before the service is done with it.
            .process_group(0)
            .spawn()
            .map_err(ClusterError::program(&program))?;
        let mut postmaster = Postmaster {
            pid: child
                .id()
                .expect("a child that was not waited for has its id"),
            child: Some(child),
        };
        match self.wait_until_ready(&mut postmaster, log_begin).await {
            Ok(()) => Ok(Ok(postmaster)),
            Err(end) => Ok(Err(end)),
        }
    }

    /// Waits for a server that was found running, which may be in the middle of a recovery. `None` if it ended meanwhile.
    async fn adopt(&self, pid: u32) -> Result<Option<Postmaster>, ClusterError> {
        let mut postmaster = Postmaster { pid, child: None };
        let log_begin = std::fs::metadata(self.layout.log_file()).map_or(0, |found| found.len());
        match self.wait_until_ready(&mut postmaster, log_begin).await {
            Ok(()) => Ok(Some(postmaster)),
            Err(StartEnd::Leftovers | StartEnd::Failed(ClusterError::StartFailed { .. })) => {
                Ok(None)
            }
            Err(StartEnd::Failed(error)) => Err(error),
        }
    }

    async fn wait_until_ready(
        &self,
        postmaster: &mut Postmaster,
        log_begin: u64,
    ) -> Result<(), StartEnd> {
        let begun = Instant::now();
        let mut poll = polling();
        let mut last_answer = "no attempt was made".to_owned();
        while begun.elapsed() < self.ready_within {
            poll.tick().await;
            if let Some(status) = self.end_of(postmaster) {
                return Err(self.diagnose(&status, log_begin));
            }
            match self.ask().await {
                Answer::Ready => return Ok(()),
                Answer::WrongPassword => {
                    return Err(StartEnd::Failed(ClusterError::PasswordRefused {
                        password_file: self.layout.password_file(),
                    }));
                }
                Answer::NotYet(answer) => last_answer = answer,
            }
        }
        Err(StartEnd::Failed(ClusterError::NotReady {
            waited_seconds: self.ready_within.as_secs(),
            last_answer,
            log_file: self.layout.log_file(),
            output: self.layout.log_after(log_begin),
        }))
    }

    async fn ask(&self) -> Answer {
        let options = self.options("postgres").disable_statement_logging();
        let error = match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(Ok(connection)) => {
                // The server has answered; how the conversation ends does not matter.
                let _ = connection.close().await;
                return Answer::Ready;
            }
            Ok(Err(error)) => error,
            Err(_) => return Answer::NotYet("no answer".to_owned()),
        };
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(INVALID_PASSWORD) {
            return Answer::WrongPassword;
        }
        Answer::NotYet(error.to_string())
    }

    /// How the server ended, if it has.
    pub(super) fn end_of(&self, postmaster: &mut Postmaster) -> Option<String> {
        match &mut postmaster.child {
            Some(child) => match child.try_wait() {
                Ok(status) => status.map(|status: ExitStatus| status.to_string()),
                Err(error) => Some(format!("an end that could not be read: {error}")),
            },
            None if self.is_ours(postmaster.pid) => None,
            None => Some("an end nobody saw".to_owned()),
        }
    }

    /// Stops the server: fast, and if that does not end it, at once (the next start then recovers from the log).
    pub(super) async fn stop(&self, postmaster: &mut Postmaster) -> Result<(), ClusterError> {
        // A restart that was under way may have started another one than we know of.
        if self.end_of(postmaster).is_some() && self.running().is_none() {
            return Ok(());
        }
        let mut said = String::new();
        for (mode, seconds) in [
            ("fast", FAST_SHUTDOWN_SECONDS),
            ("immediate", IMMEDIATE_SHUTDOWN_SECONDS),
        ] {
            let output = self.pg_ctl_stop(mode, seconds).await?;
            if output.status.success() || self.running().is_none() {
                self.reap(postmaster).await;
                return Ok(());
            }
            said = excerpt(&[output.stdout, output.stderr].concat());
            tracing::warn!(mode, seconds, "Postgres did not stop in time");
        }
        Err(ClusterError::StopFailed {
            pid: postmaster.pid,
            output: said,
        })
    }

    async fn pg_ctl_stop(
        &self,
        mode: &str,
        seconds: u32,
    ) -> Result<std::process::Output, ClusterError> {
        let program = self.binaries.program("pg_ctl");
        let mut command: Command = self.account.command(&program);
        command.args(["stop", "-w", "-m", mode, "-t", &seconds.to_string(), "-D"]);
        command.arg(self.layout.cluster());
        command
            .output()
            .await
            .map_err(ClusterError::program(&program))
    }

    async fn reap(&self, postmaster: &mut Postmaster) {
        if let Some(child) = &mut postmaster.child {
            // It has removed its files and is exiting; what is left to wait for is the process itself.
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, child.wait()).await;
        }
    }

    /// Removes the files by which a server that no longer runs says that it does. Postgres would do so itself, except when the
    /// process id has meanwhile been given to another process of the same user, as it may be after a power failure. The
    /// data directory's lock is ours and nobody answers on the socket, so there is no server to protect.
    async fn clear_stale_files(&self) -> Result<(), ClusterError> {
        let socket = socket_in(&self.socket_folder);
        if tokio::net::UnixStream::connect(&socket).await.is_ok() {
            return Err(ClusterError::SocketInUse { socket });
        }
        let socket_lock = socket.with_added_extension("lock");
        let mut stale = vec![socket, socket_lock];
        if let Some(found) = self.read_pid_file()
            && command_line(found.pid).is_some()
            && !self.is_ours(found.pid)
        {
            tracing::warn!(
                pid = found.pid,
                "postmaster.pid names a process that is not Postgres; removing it"
            );
            stale.push(self.pid_file());
        }
        for path in stale {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ClusterError::file("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn diagnose(&self, status: &str, log_begin: u64) -> StartEnd {
        let output = self.layout.log_after(log_begin);
        if output.contains(LEFTOVERS) {
            return StartEnd::Leftovers;
        }
        if output.contains(NO_SPACE) {
            return StartEnd::Failed(ClusterError::DiskFull {
                directory: self.layout.root().to_path_buf(),
                output,
            });
        }
        if SOCKET_TAKEN
            .iter()
            .any(|text| output.to_lowercase().contains(&text.to_lowercase()))
        {
            return StartEnd::Failed(ClusterError::SocketInUse {
                socket: socket_in(&self.socket_folder),
            });
        }
        StartEnd::Failed(self.start_failed(status, log_begin))
    }

    fn start_failed(&self, status: &str, log_begin: u64) -> ClusterError {
        ClusterError::StartFailed {
            status: status.to_owned(),
            log_file: self.layout.log_file(),
            output: self.layout.log_after(log_begin),
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.layout.cluster().join("postmaster.pid")
    }

    fn read_pid_file(&self) -> Option<PidFile> {
        parse_pid_file(&std::fs::read_to_string(self.pid_file()).ok()?)
    }

    fn is_ours(&self, pid: u32) -> bool {
        let cluster = self.layout.cluster();
        command_line(pid)
            .is_some_and(|line| line.contains(&format!(" -D {} -c ", cluster.display())))
    }
}

/// The lines are: process, data directory, start, port, socket folder, address, shared memory, status.
fn parse_pid_file(text: &str) -> Option<PidFile> {
    let mut lines = text.lines();
    Some(PidFile {
        pid: lines.next()?.trim().parse().ok()?,
        socket_folder: lines
            .nth(3)
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)?,
    })
}

/// What a process was started with; `None` if there is no such process. A process that has ended and waits to be reaped has
/// nothing left of it.
fn command_line(pid: u32) -> Option<String> {
    let text = if Path::new("/proc/self/cmdline").exists() {
        std::fs::read(format!("/proc/{pid}/cmdline")).ok()?
    } else {
        let pid = pid.to_string();
        let ps = std::process::Command::new("ps")
            .args(["-ww", "-o", "command=", "-p", &pid])
            .output();
        ps.ok()?.stdout
    };
    let text = String::from_utf8_lossy(&text).replace('\0', " ");
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A path inside the single quotes of a Postgres settings file.
fn quoted(path: &Path) -> String {
    path.to_string_lossy()
        .replace('\\', "\\\\")
        .replace('\'', "''")
}

/// Waiting for another process is not business time, so it goes by the machine's clock.
pub(super) fn polling() -> tokio::time::Interval {
    let mut interval = tokio::time::interval(POLL_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Lets a length of time pass, for the same reason by the machine's clock.
pub(super) async fn pass(time: Duration) {
    let mut interval = tokio::time::interval(time);
    interval.tick().await;
    interval.tick().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_gives_process_and_socket_folder() {
        let text =
            "1234\n/data/postgres\n1700000000\n5432\n/data/run\n\n  5432001    131072\nready   \n";
        let expected = PidFile {
            pid: 1234,
            socket_folder: PathBuf::from("/data/run"),
        };
        assert_eq!(parse_pid_file(text), Some(expected));
    }

    #[test]
    fn a_pid_file_cut_short_by_a_crash_is_no_server() {
        for text in [
            "",
            "1234\n",
            "1234\n/data/postgres\n1700000000\n5432\n",
            "-1\na\nb\nc\nd\n",
        ] {
            assert_eq!(parse_pid_file(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_running_process_has_a_command_line_and_others_have_none() {
        assert!(command_line(std::process::id()).is_some());
        assert!(command_line(u32::MAX - 1).is_none());
    }
}
