//! The data directory: where things lie in it, and the lock that gives it to one service.
//!
//! | path | what |
//! | --- | --- |
//! | `bellwether.lock` | held by the running service, with its process id |
//! | `bellwether.conf` | the cluster's settings, written anew at every start |
//! | `postgres.password` | the cluster's password, readable by the service alone |
//! | `postgres/` | the cluster; `postgres.new/` while it is being made |
//! | `run/` | the cluster's socket |
//! | `log/postgres.log` | the cluster's log |

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::{Account, Owner};
use super::error::ClusterError;

/// The cluster listens on no network, so the number only names its socket.
pub(super) const PORT: u16 = 5432;

/// The longest path a Unix socket can have on every system we know (macOS has the least).
const LONGEST_SOCKET_PATH: usize = 103;

/// The log is set aside at start when it has grown past this.
const LARGEST_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// How much of the end of a log or of a program's output is shown in an error.
const EXCERPT_BYTES: usize = 4 * 1024;
const EXCERPT_LINES: usize = 20;

/// A directory that is ours. Dropping it gives the lock itself back and does not only close the file: a program
/// that another thread is just starting holds a copy of the open file for a moment, and with it the lock.
#[derive(Debug)]
pub(super) struct DirectoryLock(File);

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // When it fails, closing the file does the same, a moment later.
        let _ = self.0.unlock();
    }
}

/// The data directory of a service.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the data directory if it is not there, and refuses one that belongs to something else.
    pub(super) fn open(data_dir: &Path) -> Result<Self, ClusterError> {
        if let Some(parent) = data_dir.parent() {
            std::fs::create_dir_all(parent).map_err(ClusterError::file("create", parent))?;
        }
        // As root the directory lets the unprivileged user pass through to the cluster, without showing what else is in it.
        match DirBuilder::new().mode(0o711).create(data_dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => result.map_err(ClusterError::file("create", data_dir))?,
        }
        let root = data_dir
            .canonicalize()
            .map_err(ClusterError::file("open", data_dir))?;
        let layout = Self { root };
        layout.refuse_foreign_directory()?;
        Ok(layout)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("postgres")
    }

    pub(super) fn unfinished_cluster(&self) -> PathBuf {
        self.root.join("postgres.new")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.root.join("postgres.password")
    }

    pub(super) fn settings_file(&self) -> PathBuf {
        self.root.join("bellwether.conf")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.log_folder().join("postgres.log")
    }

    fn log_folder(&self) -> PathBuf {
        self.root.join("log")
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("bellwether.lock")
    }

    /// The user the cluster's files belong to, if there is a cluster.
    pub(super) fn cluster_owner(&self) -> Result<Option<Owner>, ClusterError> {
        let cluster = self.cluster();
        match std::fs::metadata(&cluster) {
            Ok(found) => Ok(Some(Owner {
                uid: found.uid(),
                gid: found.gid(),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ClusterError::file("open", &cluster)(error)),
        }
    }

    /// The major version of the Postgres that made the cluster; `None` when there is no cluster yet.
    pub(super) fn cluster_version(&self) -> Result<Option<u32>, ClusterError> {
        let cluster = self.cluster();
        if is_empty(&cluster)? {
            return Ok(None);
        }
        let text = match std::fs::read_to_string(cluster.join("PG_VERSION")) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(ClusterError::ForeignDirectory {
                    directory: self.root.clone(),
                    found: format!("{} is not empty and no Postgres cluster", cluster.display()),
                });
            }
            Err(error) => return Err(ClusterError::file("read the version of", &cluster)(error)),
        };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| ClusterError::ForeignDirectory {
                directory: self.root.clone(),
                found: format!("{} has a PG_VERSION that is no number", cluster.display()),
            })
    }

    /// Until our lock file marks the directory as ours, whatever has the name of something we would use is somebody else's.
    /// Without this, a service started as root with `/var` as its data directory would take over `/var/log`.
    fn refuse_foreign_directory(&self) -> Result<(), ClusterError> {
        let refuse = |found: String| {
            Err(ClusterError::ForeignDirectory {
                directory: self.root.clone(),
                found,
            })
        };
        if self.root.join("PG_VERSION").exists() {
            return refuse("it is itself a Postgres cluster".to_owned());
        }
        if self.lock_file().exists() {
            return Ok(());
        }
        for folder in ["postgres", "postgres.new", "run", "log"] {
            if !is_empty(&self.root.join(folder))? {
                return refuse(format!(
                    "it was not made by Bellwether and already has a folder {folder}"
                ));
            }
        }
        Ok(())
    }

    /// Takes the directory for this process, until the returned lock is dropped. It goes with the process however it ends.
    pub(super) fn lock(&self) -> Result<DirectoryLock, ClusterError> {
        let path = self.lock_file();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(ClusterError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The process id is only advice in the message; without it the message is shorter.
                let _ = file.read_to_string(&mut pid);
                return Err(ClusterError::AlreadyRunning {
                    data_dir: self.root.clone(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(ClusterError::file("lock", &path)(error));
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(ClusterError::file("write", &path))?;
        Ok(DirectoryLock(file))
    }

    /// The folder for the socket, made ready: `run/`, or when its path is too long for a socket, a private folder under the
    /// system's folder for temporary files.
    pub(super) fn socket_folder(&self, account: &Account) -> Result<PathBuf, ClusterError> {
        let ours = self.root.join("run");
        if can_hold_a_socket(&ours) {
            make_private(&ours)?;
            account.hand_over(&ours)?;
            return Ok(ours);
        }
        let name = format!("bellwether-{}", short_hash(&self.root));
        let elsewhere = [
            std::env::temp_dir().join(&name),
            Path::new("/tmp").join(&name),
        ];
        let [first, last] = &elsewhere;
        let chosen = if can_hold_a_socket(first) {
            first
        } else {
            last
        };
        make_private(chosen)?;
        refuse_unsafe(chosen, account)?;
        account.hand_over(chosen)?;
        Ok(chosen.clone())
    }

    /// Opens the cluster's log for appending, and sets a large one aside. As root the file stays root's: Postgres inherits it
    /// open and needs no right to the path.
    pub(super) fn open_log(&self) -> Result<File, ClusterError> {
        make_private(&self.log_folder())?;
        let path = self.log_file();
        let size = std::fs::metadata(&path).map_or(0, |found| found.len());
        if size > LARGEST_LOG_BYTES {
            std::fs::rename(&path, path.with_extension("log.1"))
                .map_err(ClusterError::file("set aside", &path))?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(ClusterError::file("open", &path))
    }

    /// The last lines of what was written to the log after the first `from` bytes.
    pub(super) fn log_after(&self, from: u64) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.log_file())?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_or_else(
            |error| format!("(the log cannot be read: {error})"),
            |bytes| excerpt(&bytes),
        )
    }

    /// Writes a file that only this service may read, so that it is there as a whole or not at all.
    pub(super) fn write_private(&self, path: &Path, text: &str) -> Result<(), ClusterError> {
        self.write(path, text, 0o600)
    }

    /// Writes the cluster's settings; the user Postgres runs as reads them.
    pub(super) fn write_settings(&self, text: &str) -> Result<(), ClusterError> {
        self.write(&self.settings_file(), text, 0o644)
    }

    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), ClusterError> {
        let unfinished = path.with_extension("unfinished");
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&unfinished)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)
        };
        write().map_err(ClusterError::file("write", path))?;
        self.sync()
    }

    /// Makes the names in the data directory durable.
    pub(super) fn sync(&self) -> Result<(), ClusterError> {
        let sync = || File::open(&self.root)?.sync_all();
        sync().map_err(ClusterError::file("sync", &self.root))
    }
}

/// The path of the socket in a folder.
pub(super) fn socket_in(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// The last lines of a program's output, for an error.
pub(super) fn excerpt(output: &[u8]) -> String {
    let end = &output[output.len().saturating_sub(EXCERPT_BYTES)..];
    let text = String::from_utf8_lossy(end);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(EXCERPT_LINES)..].join("\n")
}

/// Makes a folder that only its owner may enter, if it is not there.
pub(super) fn make_private(folder: &Path) -> Result<(), ClusterError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(ClusterError::file("create", folder)),
    }
}

/// In a folder that everybody can write to, somebody else may have taken the name before us.
fn refuse_unsafe(folder: &Path, account: &Account) -> Result<(), ClusterError> {
    let found = std::fs::symlink_metadata(folder).map_err(ClusterError::file("open", folder))?;
    if found.is_dir() && account.may_have_made(found.uid()) && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(ClusterError::UnsafeSocketDirectory {
        directory: folder.to_path_buf(),
        user: account.name.clone(),
    })
}

/// Whether the path of a socket in this folder is short enough, and simple enough to be written into a list of folders.
fn can_hold_a_socket(folder: &Path) -> bool {
    let socket = socket_in(folder);
    let Some(text) = socket.to_str() else {
        return false;
    };
    text.len() <= LONGEST_SOCKET_PATH && !text.contains(['\'', '"', ',', '\\', '\n'])
}

fn short_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether there is nothing at `path`, or an empty folder.
fn is_empty(path: &Path) -> Result<bool, ClusterError> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(ClusterError::file("look into", path)(error)),
    }
}
