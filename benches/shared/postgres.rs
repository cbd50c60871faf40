//! The Postgres that every side uses: a cluster of its own, made anew and thrown away, with everything on that
//! makes a commit durable. Reached through a Unix socket only.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Settings beside `shared_buffers`; they hold for all sides alike.
const SETTINGS: [(&str, &str); 7] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "15min"),
    ("max_connections", "200"),
    ("listen_addresses", ""),
];
const LARGEST_SHARED_BUFFERS_MIB: u64 = 4096;
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(120);

/// A running cluster; stopped and removed when dropped.
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    socket: PathBuf,
    server: Child,
    shared_buffers: String,
}

impl Cluster {
    /// Makes and starts a cluster in a new folder below `parent`.
    pub fn start(parent: &Path) -> anyhow::Result<Self> {
        let bin = find_programs()?;
        let name = format!("bellwether-bench-{}", std::process::id());
        let (folder, socket) = (parent.join(&name), std::env::temp_dir().join(&name));
        let user = server_user()?;
        for made in [&folder, &socket] {
            make_folder(made, user.as_deref())?;
        }
        let shared_buffers = shared_buffers()?;
        initialise(&bin, &folder, user.as_deref())?;
        let server = launch(&bin, &folder, &socket, user.as_deref(), &shared_buffers)?;
        let mut cluster = Self {
            bin,
            folder,
            socket,
            server,
            shared_buffers,
        };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.query("postgres", "SELECT 1").is_err() {
            let ended = self.server.try_wait()?.is_some();
            if ended || started.elapsed() > START {
                let log = std::fs::read_to_string(self.folder.join("server.log"));
                bail!("start Postgres: {}", log.unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// A folder for files of the measurements, on the same disk as the data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The memory it runs in, its version and its settings, as they are reported.
    pub fn facts(&self) -> anyhow::Result<String> {
        let version = self.query("postgres", "SHOW server_version")?;
        let version = version.split(' ').next().unwrap_or_default();
        let gib = memory_mib()? as f64 / 1024.0;
        let others = SETTINGS.iter().filter(|(_, value)| !value.is_empty());
        let mut settings = format!("shared_buffers={}", self.shared_buffers);
        for (name, value) in others {
            settings.push_str(&format!(", {name}={value}"));
        }
        Ok(format!(
            "{gib:.0} GiB of memory, Postgres {version} ({settings})"
        ))
    }

    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.socket.display()
        )
    }

    /// A client program, told where the server is.
    pub fn client(&self, program: &str, database: &str) -> Command {
        let beside = self.bin.join(program);
        let program = if beside.exists() {
            beside
        } else {
            program.into()
        };
        let mut command = Command::new(program);
        command
            .env("PGHOST", &self.socket)
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database)
            .stdin(Stdio::null());
        command
    }

    /// Runs SQL, and returns what it answers as text, values separated by `|`.
    pub fn query(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let output = self
            .client("psql", database)
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .context("run psql")?;
        read(output).with_context(|| format!("run {sql}"))
    }

    /// Runs a file of psql commands.
    pub fn script(&self, database: &str, file: &Path) -> anyhow::Result<()> {
        let output = self
            .client("psql", database)
            .args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(file)
            .output()
            .context("run psql")?;
        read(output).map(drop)
    }

    pub fn number(&self, database: &str, sql: &str) -> anyhow::Result<u64> {
        let text = self.query(database, sql)?;
        text.parse()
            .with_context(|| format!("read {text:?}, the answer to {sql}"))
    }

    /// An empty database, in place of one that is there.
    pub fn create(&self, database: &str) -> anyhow::Result<()> {
        self.drop_database(database)?;
        self.query("postgres", &format!("CREATE DATABASE {database}"))
            .map(drop)
    }

    pub fn drop_database(&self, database: &str) -> anyhow::Result<()> {
        self.query(
            "postgres",
            &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
        )
        .map(drop)
    }

    /// Brings the server to rest before a measured part, so that none pays for what another left behind: what the system
    /// still has to write holds up every commit while it does.
    pub fn settle_down(&self, database: &str) -> anyhow::Result<()> {
        self.query(database, "VACUUM")?;
        self.query(database, "CHECKPOINT")?;
        let synced = Command::new("sync").status().context("run sync")?;
        ensure!(synced.success(), "sync: {synced}");
        Ok(())
    }

    /// Bytes of all tables, their indexes and their large values.
    pub fn bytes(&self, database: &str) -> anyhow::Result<u64> {
        self.number(
            database,
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'm')
                AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        )
    }

    /// Stops every process of the server where it stands, as a hanging disk would, until the answer is dropped.
    pub fn stall(&self) -> anyhow::Result<Stalled> {
        let postmaster = self.server.id();
        // The postmaster first: it then starts no more processes.
        signal("STOP", &[postmaster])?;
        let mut stalled = Stalled(vec![postmaster]);
        let backends = children(postmaster)?;
        stalled.0.extend(&backends);
        signal("STOP", &backends)?;
        Ok(stalled)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody needs the data any more: an immediate shutdown leaves them as they are.
        let _ = signal("QUIT", &[self.server.id()]);
        let started = Instant::now();
        while matches!(self.server.try_wait(), Ok(None)) && started.elapsed() < STOP {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = std::fs::remove_dir_all(&self.socket);
    }
}

/// A server that stands still.
pub struct Stalled(Vec<u32>);

impl Drop for Stalled {
    fn drop(&mut self) {
        let _ = signal("CONT", &self.0);
    }
}

fn read(output: Output) -> anyhow::Result<String> {
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Sends a signal to processes that this program started.
pub fn signal(name: &str, processes: &[u32]) -> anyhow::Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .args(processes.iter().map(ToString::to_string))
        .stderr(Stdio::null())
        .status()
        .context("run kill")?;
    ensure!(status.success(), "send the signal {name}");
    Ok(())
}

fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list processes")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // What ended meanwhile has no status any more.
        let status = std::fs::read_to_string(format!("/proc/{process}/status"));
        let of_parent = status
            .unwrap_or_default()
            .lines()
            .any(|line| line.strip_prefix("PPid:").map(str::trim) == Some(&parent.to_string()));
        if of_parent {
            found.push(process);
        }
    }
    Ok(found)
}

fn find_programs() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/find-postgres"))
        .output()
        .context("run scripts/find-postgres")?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success() && !found.is_empty(),
        "find Postgres: none is installed; scripts/setup bench installs it"
    );
    Ok(found.into())
}

fn id(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("id")
        .args(arguments)
        .output()
        .context("run id")?;
    read(output)
}

/// Postgres refuses to run as root: then it runs as the system's postgres user, or as nobody.
fn server_user() -> anyhow::Result<Option<String>> {
    if id(&["-u"])? != "0" {
        return Ok(None);
    }
    let user = id(&["-un", "postgres"]);
    Ok(Some(user.unwrap_or_else(|_| "nobody".to_owned())))
}

fn make_folder(folder: &Path, owner: Option<&str>) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let Some(owner) = owner else { return Ok(()) };
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, open).context("open the folder of the cluster")?;
    let output = Command::new("chown").arg(owner).arg(folder).output()?;
    read(output)
        .map(drop)
        .context("give the folder to the server's user")
}

/// A program of the server, run as its user, with the kernel asked to end it should this program be killed.
fn as_server(bin: &Path, program: &str, user: Option<&str>) -> anyhow::Result<Command> {
    let program = bin.join(program);
    let Some(user) = user else {
        return Ok(Command::new(program));
    };
    let group = id(&["-gn", user])?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "INT", "--clear-groups"])
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg(program);
    Ok(command)
}

fn initialise(bin: &Path, folder: &Path, user: Option<&str>) -> anyhow::Result<()> {
    let output = as_server(bin, "initdb", user)?
        .arg("--pgdata")
        .arg(folder.join("data"))
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
        .arg("--no-locale")
        .current_dir("/")
        .output()
        .context("run initdb")?;
    read(output).map(drop).with_context(|| {
        format!(
            "make a cluster in {}; BELLWETHER_BENCH_DIR names another folder, which the server's user must be \
             able to reach",
            folder.display()
        )
    })
}

fn launch(
    bin: &Path,
    folder: &Path,
    socket: &Path,
    user: Option<&str>,
    shared_buffers: &str,
) -> anyhow::Result<Child> {
    let log = std::fs::File::create(folder.join("server.log")).context("make the server's log")?;
    let mut command = as_server(bin, "postgres", user)?;
    command.arg("-D").arg(folder.join("data"));
    command.arg("-k").arg(socket);
    command
        .arg("-c")
        .arg(format!("shared_buffers={shared_buffers}"));
    for (name, value) in SETTINGS {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("start Postgres")
}

/// A quarter of the memory, within bounds.
fn shared_buffers() -> anyhow::Result<String> {
    let mib = memory_mib()? / 4;
    Ok(format!("{}MB", mib.min(LARGEST_SHARED_BUFFERS_MIB)))
}

/// The machine's memory.
fn memory_mib() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read the size of memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.context("find the size of memory")?.trim().parse()?;
    Ok(kib / 1024)
}

/// The processors' time so far, in ticks: all of it, and what other machines had of it.
fn processor_ticks() -> anyhow::Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").context("read the processors' time")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map_while(|of| of.parse().ok())
        .collect();
    let stolen = ticks.get(7).context("find what other machines had")?;
    Ok((ticks.iter().sum(), *stolen))
}

/// Since when it is watched how much of the processors' time other machines on the same host have.
pub struct Neighbours((u64, u64));

impl Neighbours {
    pub fn watch() -> anyhow::Result<Self> {
        Ok(Self(processor_ticks()?))
    }

    /// The share of the time since then that they had, 0 to 1.
    pub fn share(&self) -> anyhow::Result<f64> {
        let (all, stolen) = processor_ticks()?;
        Ok((stolen - self.0.1) as f64 / (all - self.0.0).max(1) as f64)
    }
}

/// How long it takes until a page written to a file in `folder` is on the disk: the median, and what one in
/// a hundred exceeds.
pub fn fsync_milliseconds(folder: &Path) -> anyhow::Result<(f64, f64)> {
    const WRITES: usize = 200;
    let path = folder.join("fsync");
    let mut file = std::fs::File::create(&path).context("make a file to sync")?;
    let mut taken = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let started = Instant::now();
        file.write_all(&[7; 8192])?;
        file.sync_data()?;
        taken.push(started.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&path)?;
    taken.sort_by(f64::total_cmp);
    Ok((taken[WRITES / 2], taken[WRITES * 99 / 100]))
}
