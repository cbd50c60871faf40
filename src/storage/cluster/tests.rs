//! Against the real programs of Postgres, as root and as an ordinary user alike.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;

/// A data directory of its own for a test. Whatever the test leaves running in it is ended with it.
struct Scratch {
    root: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("bw-cluster-{}-{count}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { root }
    }

    fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    fn settings(&self) -> ClusterSettings {
        ClusterSettings::new(self.data_dir())
    }

    async fn start(&self) -> PrivateCluster {
        PrivateCluster::start(self.settings()).await.unwrap()
    }

    async fn refusal(&self, settings: ClusterSettings) -> ClusterError {
        PrivateCluster::start(settings)
            .await
            .expect_err("the start is refused")
    }

    /// A data directory of ours with what passes for a cluster until a server is started on it.
    async fn made_up_cluster(&self, version: &str) -> Layout {
        let layout = Layout::open(&self.data_dir()).unwrap();
        drop(layout.lock().unwrap());
        layout
            .write_private(&layout.password_file(), "password")
            .unwrap();
        std::fs::create_dir(layout.cluster()).unwrap();
        std::fs::write(layout.cluster().join("PG_VERSION"), version).unwrap();
        let account = Account::resolve(None, &layout.cluster(), None)
            .await
            .unwrap();
        account.hand_over(&layout.cluster()).unwrap();
        layout
    }

    /// A folder with programs that are scripts.
    fn programs(&self, initdb: &str, postgres: &str) -> PathBuf {
        let folder = self.root.join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, script) in [("initdb", initdb), ("postgres", postgres)] {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let pid_file = self.data_dir().join("postgres/postmaster.pid");
        if let Ok(text) = std::fs::read_to_string(pid_file)
            && let Some(Ok(pid)) = text.lines().next().map(str::parse::<u32>)
        {
            kill("QUIT", pid);
        }
        // Postgres may still be writing; what it leaves behind is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// A script for `postgres` that does this when it is started.
fn postgres_that(does: &str) -> String {
    format!("if [ \"$1\" = --version ]; then {VERSION}; else {does}; fi")
}

const VERSION: &str = "echo 'postgres (PostgreSQL) 15.1'";

fn kill(signal: &str, pid: u32) {
    let script = format!("kill -{signal} {pid}");
    Command::new("sh").args(["-c", &script]).status().unwrap();
}

fn we_are_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

async fn wait_for(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    let mut poll = polling();
    while !reached().await {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "waited in vain for {what}"
        );
        poll.tick().await;
    }
}

async fn answers(cluster: &PrivateCluster) -> bool {
    cluster.connect_options().connect().await.is_ok()
}

#[tokio::test]
async fn data_are_still_there_after_stop_and_start() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let mut connection = cluster.connect_options().connect().await.unwrap();
    sqlx::query("CREATE TABLE kept (word text)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO kept VALUES ('here')")
        .execute(&mut connection)
        .await
        .unwrap();
    drop(connection);
    cluster.stop().await.unwrap();
    assert!(!answers(&cluster).await);
    drop(cluster);

    let cluster = scratch.start().await;
    let url: PgConnectOptions = cluster.url().parse().unwrap();
    let mut connection = url.connect().await.unwrap();
    let word: String = sqlx::query_scalar("SELECT word FROM kept")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(word, "here");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_cluster_is_durable_private_and_unprivileged() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let mut connection = cluster.connect_options().connect().await.unwrap();
    let durability = Durability::check(&mut connection).await.unwrap();
    assert!(durability.is_durable(), "{durability:?}");
    for (value, off) in [("off", vec!["synchronous_commit"]), ("local", vec![])] {
        sqlx::query("SELECT set_config('synchronous_commit', $1, false)")
            .bind(value)
            .execute(&mut connection)
            .await
            .unwrap();
        let durability = Durability::check(&mut connection).await.unwrap();
        assert_eq!(durability.switched_off(), off);
        assert_eq!(durability.is_durable(), off.is_empty());
    }

    let listens: String = sqlx::query_scalar("SHOW listen_addresses")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(listens, "");
    for (path, mode) in [
        ("postgres", 0o700),
        ("run", 0o700),
        ("log", 0o700),
        ("postgres.password", 0o600),
    ] {
        let found = std::fs::metadata(scratch.data_dir().join(path)).unwrap();
        assert_eq!(found.mode() & 0o777, mode, "{path}");
    }
    assert_ne!(
        std::fs::metadata(scratch.data_dir().join("postgres"))
            .unwrap()
            .uid(),
        0
    );
    assert!(!scratch.data_dir().join("postgres.password.initdb").exists());

    let without_password = cluster
        .connect_options()
        .password("guessed")
        .connect()
        .await;
    assert!(without_password.is_err());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_is_started_again_under_supervision() {
    let scratch = Scratch::new();
    let cluster = Arc::new(scratch.start().await);
    let supervised = Arc::clone(&cluster);
    let supervision = tokio::spawn(async move { supervised.supervise().await });
    let before = cluster.pid().await;
    kill("KILL", before);
    wait_for("another server", async || cluster.pid().await != before).await;
    assert!(answers(&cluster).await);
    cluster.stop().await.unwrap();
    supervision.await.unwrap().unwrap();
    assert!(
        !answers(&cluster).await,
        "supervision does not start what was stopped"
    );
}

#[tokio::test]
async fn a_server_that_outlives_its_service_is_adopted() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let before = cluster.pid().await;
    drop(cluster);
    let cluster = Arc::new(scratch.start().await);
    assert_eq!(cluster.pid().await, before);
    assert!(answers(&cluster).await);

    let supervised = Arc::clone(&cluster);
    let supervision = tokio::spawn(async move { supervised.supervise().await });
    kill("KILL", before);
    wait_for("another server", async || cluster.pid().await != before).await;
    cluster.stop().await.unwrap();
    supervision.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_killed_with_its_service_recovers_at_the_next_start() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let mut connection = cluster.connect_options().connect().await.unwrap();
    sqlx::query("CREATE TABLE kept AS SELECT 1")
        .execute(&mut connection)
        .await
        .unwrap();
    let killed = cluster.pid().await;
    kill("KILL", killed);
    drop(cluster);
    let cluster = scratch.start().await;
    assert_ne!(cluster.pid().await, killed);
    let mut connection = cluster.connect_options().connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM kept")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows, 1);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_that_names_another_process_does_not_prevent_the_start() {
    let scratch = Scratch::new();
    let cluster = scratch.start().await;
    let account = cluster.server.account.clone();
    let pid_file = scratch.data_dir().join("postgres/postmaster.pid");
    let left_behind = std::fs::read_to_string(&pid_file).unwrap();
    cluster.stop().await.unwrap();
    drop(cluster);

    // As after a power failure: the number now belongs to another process of the user that Postgres runs as.
    let mut other = account
        .command("/bin/sh")
        .args(["-c", "exec sleep 60"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (_, rest) = left_behind.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", other.id().unwrap())).unwrap();
    account.hand_over(&pid_file).unwrap();
    let cluster = scratch.start().await;
    assert!(answers(&cluster).await);
    assert!(
        other.try_wait().unwrap().is_none(),
        "the other process was left alone"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_service_on_the_same_directory_is_refused_with_the_first_ones_process() {
    let scratch = Scratch::new();
    let _first = Layout::open(&scratch.data_dir()).unwrap().lock().unwrap();
    let error = scratch.refusal(scratch.settings()).await;
    let ClusterError::AlreadyRunning { pid, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(pid, Some(std::process::id()));
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_both_versions() {
    for version in ["99", "9"] {
        let scratch = Scratch::new();
        scratch.made_up_cluster(version).await;
        let text = scratch.refusal(scratch.settings()).await.to_string();
        assert!(
            text.contains(&format!("made by Postgres {version}, and installed is")),
            "{text}"
        );
        assert!(text.contains("pg_upgrade"), "{text}");
    }
}

#[tokio::test]
async fn directories_of_others_are_refused_and_left_as_they_are() {
    let cases = [
        ("PG_VERSION", "itself a Postgres cluster"),
        ("postgres/notes.txt", "already has a folder postgres"),
        ("log/syslog", "already has a folder log"),
        ("run/other.sock", "already has a folder run"),
    ];
    for (file, expected) in cases {
        let scratch = Scratch::new();
        let path = scratch.data_dir().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "theirs").unwrap();
        let text = scratch.refusal(scratch.settings()).await.to_string();
        assert!(text.contains(expected), "{file}: {text}");
        assert!(!scratch.data_dir().join("bellwether.lock").exists());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
    }
}

#[tokio::test]
async fn a_cluster_without_our_password_file_is_refused() {
    let scratch = Scratch::new();
    let layout = scratch.made_up_cluster("15").await;
    std::fs::remove_file(layout.password_file()).unwrap();
    let settings = ClusterSettings {
        bin_dir: Some(scratch.programs("exit 1", VERSION)),
        ..scratch.settings()
    };
    let error = scratch.refusal(settings).await;
    assert!(
        matches!(error, ClusterError::PasswordMissing { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_password_file_is_named_instead_of_waited_for() {
    let scratch = Scratch::new();
    scratch.start().await.stop().await.unwrap();
    std::fs::write(scratch.data_dir().join("postgres.password"), "another").unwrap();
    let error = scratch.refusal(scratch.settings()).await;
    assert!(
        matches!(error, ClusterError::PasswordRefused { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn files_in_the_clusters_place_that_are_no_cluster_are_refused() {
    let scratch = Scratch::new();
    let layout = scratch.made_up_cluster("15").await;
    std::fs::rename(
        layout.cluster().join("PG_VERSION"),
        layout.cluster().join("notes"),
    )
    .unwrap();
    let error = scratch.refusal(scratch.settings()).await;
    assert!(
        matches!(error, ClusterError::ForeignDirectory { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_interrupted_initialisation_is_begun_afresh() {
    let scratch = Scratch::new();
    let failing = ClusterSettings {
        bin_dir: Some(scratch.programs("echo broken >&2; exit 1", VERSION)),
        ..scratch.settings()
    };
    let error = scratch.refusal(failing).await;
    assert!(
        matches!(&error, ClusterError::InitFailed { output, .. } if output == "broken"),
        "{error}"
    );
    let half_done = scratch.data_dir().join("postgres.new");
    std::fs::write(half_done.join("half"), "done").unwrap();

    let cluster = scratch.start().await;
    assert!(answers(&cluster).await);
    assert!(!half_done.exists());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_named_whoever_meets_it() {
    let no_space = "echo 'FATAL:  could not write lock file: No space left on device' >&2; exit 1";
    let while_initialising = Scratch::new();
    let settings = ClusterSettings {
        bin_dir: Some(while_initialising.programs(no_space, VERSION)),
        ..while_initialising.settings()
    };
    let error = while_initialising.refusal(settings).await;
    assert!(matches!(error, ClusterError::DiskFull { .. }), "{error}");

    let while_starting = Scratch::new();
    while_starting.made_up_cluster("15").await;
    let settings = ClusterSettings {
        bin_dir: Some(while_starting.programs("exit 1", &postgres_that(no_space))),
        ..while_starting.settings()
    };
    let error = while_starting.refusal(settings).await;
    assert!(matches!(error, ClusterError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("no space is left"), "{error}");
}

#[tokio::test]
async fn the_end_of_the_log_is_in_the_error_of_a_failed_start() {
    let scratch = Scratch::new();
    scratch.made_up_cluster("15").await;
    let postgres = postgres_that("echo 'FATAL:  no_such_setting' >&2; exit 1");
    let settings = ClusterSettings {
        bin_dir: Some(scratch.programs("exit 1", &postgres)),
        ..scratch.settings()
    };
    let text = scratch.refusal(settings).await.to_string();
    assert!(
        text.contains("no_such_setting") && text.contains("postgres.log"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_get_ready_is_given_up_after_the_bound() {
    let scratch = Scratch::new();
    scratch.made_up_cluster("15").await;
    let settings = ClusterSettings {
        bin_dir: Some(scratch.programs("exit 1", &postgres_that("exec sleep 3"))),
        ready_within: Duration::from_secs(1),
        ..scratch.settings()
    };
    let error = scratch.refusal(settings).await;
    assert!(
        matches!(
            error,
            ClusterError::NotReady {
                waited_seconds: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_socket_that_something_else_answers_on_is_named() {
    let scratch = Scratch::new();
    let layout = scratch.made_up_cluster("15").await;
    let account = Account::resolve(None, &layout.cluster(), None)
        .await
        .unwrap();
    let socket = layout::socket_in(&layout.socket_folder(&account).unwrap());
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let settings = ClusterSettings {
        bin_dir: Some(scratch.programs("exit 1", VERSION)),
        ..scratch.settings()
    };
    let error = scratch.refusal(settings).await;
    assert!(
        matches!(&error, ClusterError::SocketInUse { socket: named } if *named == socket),
        "{error}"
    );
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_uses_a_private_folder_elsewhere() {
    let scratch = Scratch::new();
    let deep = scratch.root.join("d".repeat(60)).join("d".repeat(60));
    std::fs::create_dir_all(&deep).unwrap();
    symlink(&deep, scratch.data_dir()).unwrap();
    let cluster = scratch.start().await;
    let folder = cluster.server.socket_folder.clone();
    assert!(!folder.starts_with(&scratch.root), "{}", folder.display());
    assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    assert!(answers(&cluster).await);
    let url: PgConnectOptions = cluster.url().parse().unwrap();
    assert!(url.connect().await.is_ok());
    cluster.stop().await.unwrap();
    drop(cluster);

    // Somebody else's folder of that name is not used.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = scratch.refusal(scratch.settings()).await;
    assert!(
        matches!(error, ClusterError::UnsafeSocketDirectory { .. }),
        "{error}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_directory_that_is_closed_to_us_or_to_postgres_is_named() {
    let scratch = Scratch::new();
    let closed = scratch.root.join("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = if we_are_root() { 0o700 } else { 0o500 };
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
    let error = scratch
        .refusal(ClusterSettings::new(closed.join("data")))
        .await;
    let closed = closed.canonicalize().unwrap();
    match &error {
        ClusterError::NotTraversable { directory, .. } => assert_eq!(*directory, closed),
        ClusterError::PermissionDenied { path, .. } => assert!(path.starts_with(&closed)),
        _ => panic!("{error}"),
    }
    assert_eq!(
        we_are_root(),
        matches!(error, ClusterError::NotTraversable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn users_that_cannot_run_postgres_are_refused() {
    for user in ["root", "no-such-user-here"] {
        let scratch = Scratch::new();
        let settings = ClusterSettings {
            run_as: Some(user.to_owned()),
            ..scratch.settings()
        };
        let error = scratch.refusal(settings).await;
        assert!(
            matches!(error, ClusterError::UnusableUser { .. }),
            "{user}: {error}"
        );
    }
}

#[tokio::test]
async fn a_cluster_of_another_user_is_refused() {
    if !we_are_root() {
        // Only root can make a cluster that belongs to somebody else.
        return;
    }
    let scratch = Scratch::new();
    let layout = scratch.made_up_cluster("15").await;
    std::os::unix::fs::chown(layout.cluster(), Some(12345), Some(12345)).unwrap();
    let settings = ClusterSettings {
        run_as: Some("nobody".to_owned()),
        ..scratch.settings()
    };
    let error = scratch.refusal(settings).await;
    assert!(
        matches!(error, ClusterError::NotOwned { owner: 12345, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_large_log_is_set_aside_at_start() {
    let scratch = Scratch::new();
    let layout = scratch.made_up_cluster("15").await;
    layout
        .open_log()
        .unwrap()
        .set_len(11 * 1024 * 1024)
        .unwrap();
    drop(layout.open_log().unwrap());
    assert_eq!(std::fs::metadata(layout.log_file()).unwrap().len(), 0);
    assert!(layout.log_file().with_extension("log.1").exists());
}
