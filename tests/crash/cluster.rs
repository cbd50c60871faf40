//! A real Postgres of the test's own: synced to disk as in production, reachable only through a Unix socket, and
//! stopped in the middle of whatever it does when the test says so.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bellwether::domain::clock::{Clock, SystemClock};
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::patience::wait_for;

pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    /// The user and group to run as, when the test runs as root: Postgres refuses to.
    account: Option<(u32, u32)>,
    server: Option<Child>,
}

impl Cluster {
    pub async fn start(folder: PathBuf) -> Self {
        let account = (number("id", &["-u"]) == 0).then(|| {
            (
                number("id", &["-u", "postgres"]),
                number("id", &["-g", "postgres"]),
            )
        });
        std::fs::create_dir_all(&folder).expect("makes the cluster's folder");
        if let Some((user, group)) = account {
            std::os::unix::fs::chown(&folder, Some(user), Some(group))
                .expect("gives the cluster's folder to its user");
        }
        let find = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/find-postgres");
        let mut cluster = Self {
            folder,
            programs: PathBuf::from(output(&mut Command::new(find))),
            account,
            server: None,
        };
        let data = cluster.data();
        let mut initdb = cluster.program("initdb");
        initdb.arg("--pgdata").arg(data).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
        ]);
        output(&mut initdb);
        cluster.run().await;
        cluster
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder).stdin(Stdio::null());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    /// The address of the database, for the service and for the test.
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.folder.display()
        )
    }

    /// Starts the server and waits until it has recovered.
    pub async fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))
            .expect("opens the server's log");
        let mut postgres = self.program("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder)
            .args(["-c", "listen_addresses=", "-c", "fsync=on"])
            .args(["-c", "synchronous_commit=on", "-c", "max_connections=60"])
            .stdout(Stdio::null())
            .stderr(log);
        self.server = Some(postgres.spawn().expect("starts Postgres"));
        let url = self.url();
        wait_for("Postgres", async || {
            let conn = PgConnection::connect(&url).await;
            let closed = conn.map_err(|error| error.to_string())?.close().await;
            closed.map_err(|error| error.to_string())
        })
        .await;
    }

    fn stop_command(&self) -> Command {
        let mut stop = self.program("pg_ctl");
        stop.arg("stop")
            .args(["-m", "immediate", "-D"])
            .arg(self.data());
        stop
    }

    /// Stops the server at that moment as a power cut would: nothing is finished, nothing is written down.
    pub fn stop_immediately_at(&mut self, moment: DateTime<Utc>) -> JoinHandle<()> {
        let mut stop = self.stop_command();
        let mut server = self.server.take().expect("the server runs");
        tokio::spawn(async move {
            SystemClock.sleep_until(moment).await;
            output(&mut stop);
            server.wait().expect("the server is gone");
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let mut stop = self.stop_command();
        let stopped = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if stopped.is_ok_and(|status| status.success()) {
            // It is gone, and this only takes note of it.
            let _ = server.wait();
        }
    }
}

fn number(program: &str, arguments: &[&str]) -> u32 {
    output(Command::new(program).args(arguments))
        .parse()
        .expect("a number")
}

fn output(command: &mut Command) -> String {
    let ran = command
        .output()
        .unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}
