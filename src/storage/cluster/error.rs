//! What can keep the private cluster from running, said so that the operator knows what to do next.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The private cluster could not be started, kept running or stopped.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No Postgres is installed where we look.
    #[error(
        "find Postgres: no folder with `initdb` and `postgres` on PATH, by `pg_config --bindir`, or in the usual places; \
         install it (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; \
         Alpine: apk add postgresql; macOS: brew install postgresql@16), name its folder in storage.postgres_bin_dir, \
         or give DATABASE_URL to use a running server"
    )]
    BinariesMissing,
    /// The configured folder has no Postgres in it.
    #[error(
        "find Postgres in {directory}: storage.postgres_bin_dir must name the folder with `initdb` and `postgres`"
    )]
    BinariesNotThere {
        /// The folder as configured.
        directory: PathBuf,
    },
    /// Only versions that are too old are installed.
    #[error(
        "use Postgres {installed}: version {oldest} or newer is needed; install a newer one or give DATABASE_URL"
    )]
    BinariesTooOld {
        /// The newest major version found.
        installed: u32,
        /// The oldest major version that is supported.
        oldest: u32,
    },
    /// The data were written by a major version that is not installed.
    #[error(
        "open the cluster in {cluster}: it was made by Postgres {needed}, and installed is {}; \
         install Postgres {needed} beside it, or move the data to the installed version with pg_upgrade or pg_dump",
        list(installed)
    )]
    VersionMismatch {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The major version the cluster needs.
        needed: u32,
        /// The major versions that are installed.
        installed: Vec<u32>,
    },
    /// The directory belongs to something else.
    #[error(
        "use {directory} as data directory: {found}; name an empty or new folder in storage.data_dir"
    )]
    ForeignDirectory {
        /// The directory that was found.
        directory: PathBuf,
        /// What speaks against it.
        found: String,
    },
    /// The cluster is ours, but the password file beside it is not there.
    #[error(
        "open the cluster in {cluster}: {password_file} is missing, so it was not made by Bellwether or the file was lost; \
         restore the file from a backup, or name another folder in storage.data_dir"
    )]
    PasswordMissing {
        /// The cluster's folder.
        cluster: PathBuf,
        /// Where the password should be.
        password_file: PathBuf,
    },
    /// The running server does not take the password.
    #[error(
        "connect to the cluster: it refuses the password in {password_file}; restore that file from a backup"
    )]
    PasswordRefused {
        /// Where the password is.
        password_file: PathBuf,
    },
    /// Another service has the data directory.
    #[error(
        "lock {data_dir}: another Bellwether{} uses it; stop that one first or name another folder in storage.data_dir",
        process(*pid)
    )]
    AlreadyRunning {
        /// The data directory.
        data_dir: PathBuf,
        /// The other service, if it left its process id.
        pid: Option<u32>,
    },
    /// Something else answers where the cluster's socket should be.
    #[error(
        "listen on {socket}: another program answers there; stop it, or name another folder in storage.data_dir"
    )]
    SocketInUse {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The short folder for the socket is not safe to use.
    #[error(
        "put the socket into {directory}: it must be a folder of user {user} that nobody else can enter; \
         remove it, or choose a data directory with a shorter path"
    )]
    UnsafeSocketDirectory {
        /// The folder that was found.
        directory: PathBuf,
        /// Whose it should be.
        user: String,
    },
    /// There is no room on the disk.
    #[error(
        "write to {directory}: no space is left on its disk; free some and start again, nothing has been lost\n{output}"
    )]
    DiskFull {
        /// A directory on the disk that is full.
        directory: PathBuf,
        /// What Postgres said.
        output: String,
    },
    /// The user that Postgres runs as cannot get to the data directory.
    #[error(
        "reach the data directory as user {user}: {directory} does not let that user through, and Postgres refuses to run as \
         root; use a data directory elsewhere (such as /var/lib/bellwether), allow it with `chmod o+x {directory}`, or start \
         Bellwether as an ordinary user"
    )]
    NotTraversable {
        /// The first directory that is closed.
        directory: PathBuf,
        /// The user that has to pass.
        user: String,
    },
    /// The cluster's files belong to a different user.
    #[error(
        "open the cluster in {cluster}: it belongs to uid {owner} and Postgres would run as {user}; \
         start Bellwether as the former user, set storage.run_as to it, or hand the folder over with chown"
    )]
    NotOwned {
        /// The cluster's folder.
        cluster: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who would use it.
        user: String,
    },
    /// The user to run Postgres as cannot be used.
    #[error(
        "run Postgres as user {user:?}: {reason}; set storage.run_as to an unprivileged user that exists"
    )]
    UnusableUser {
        /// The user as configured or chosen.
        user: String,
        /// What speaks against it.
        reason: &'static str,
    },
    /// `initdb` failed. What it had begun is thrown away by the next start.
    #[error("create the cluster in {cluster}: initdb failed\n{output}")]
    InitFailed {
        /// The cluster's folder.
        cluster: PathBuf,
        /// What initdb said.
        output: String,
    },
    /// Postgres ended while it was starting.
    #[error("start Postgres: it ended with {status}; the end of {log_file}:\n{output}")]
    StartFailed {
        /// How it ended.
        status: String,
        /// Its log.
        log_file: PathBuf,
        /// The last lines of the log.
        output: String,
    },
    /// Postgres runs but does not answer in time.
    #[error(
        "wait for Postgres: it did not answer within {waited_seconds} s ({last_answer}) and is left to go on, a recovery \
         after a crash may take longer; start again to wait for it; the end of {log_file}:\n{output}"
    )]
    NotReady {
        /// How long was waited.
        waited_seconds: u64,
        /// What the last attempt to connect met.
        last_answer: String,
        /// Its log.
        log_file: PathBuf,
        /// The last lines of the log.
        output: String,
    },
    /// Postgres died and did not come back.
    #[error("keep Postgres running: it died and {attempts} attempts to start it again failed")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt met.
        #[source]
        last: Box<ClusterError>,
    },
    /// Postgres did not stop.
    #[error(
        "stop Postgres (process {pid}): neither the fast nor the immediate shutdown ended it\n{output}"
    )]
    StopFailed {
        /// The process that is still there.
        pid: u32,
        /// What pg_ctl said.
        output: String,
    },
    /// Our own database could not be made in the cluster.
    #[error("create the database in the private cluster")]
    Database(#[source] sqlx::Error),
    /// A program could not be run.
    #[error("run {program}")]
    Program {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// We lack a right in the file system.
    #[error(
        "{action} {path}: permission denied; the user that runs Bellwether must be able to write there"
    )]
    PermissionDenied {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// Any other trouble with a file.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl ClusterError {
    /// Turns an input/output error into the variant that says what to do about it.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { action, path },
            io::ErrorKind::StorageFull => Self::DiskFull {
                directory: path,
                output: String::new(),
            },
            _ => Self::File {
                action,
                path,
                source,
            },
        }
    }

    pub(super) fn program(program: &Path) -> impl FnOnce(io::Error) -> Self {
        let program = program.to_path_buf();
        move |source| Self::Program { program, source }
    }
}

fn list(versions: &[u32]) -> String {
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    versions.join(", ")
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
