//! A disk that is full: senders are told to come back, and retention frees it by dropping partitions, for which a few
//! megabytes are enough. The disk is a small file system in memory, which takes root to mount, so this test is run by hand:
//!
//!     cargo test --test it full_disk -- --ignored

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bellwether::domain::clock::{Clock, SystemClock};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::served::Served;

const PATIENCE: Duration = Duration::from_secs(120);

/// A file system of some megabytes, with a Postgres on it.
struct SmallDisk {
    folder: PathBuf,
    server: Child,
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn as_postgres(program: PathBuf) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command.current_dir("/");
    command
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Self {
        let folder = std::env::temp_dir().join(format!("bellwether-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        let size = format!("size={megabytes}m,mode=0777");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder));
        let find = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/find-postgres");
        let programs = PathBuf::from(run(&mut Command::new(find)));
        let data = folder.join("data");
        run(as_postgres(programs.join("initdb"))
            .arg("--pgdata")
            .arg(&data)
            .args([
                "--username=postgres",
                "--auth=trust",
                "--no-locale",
                "--encoding=UTF8",
            ]));
        let server = as_postgres(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "max_wal_size=64MB",
                "-c",
                "min_wal_size=32MB",
            ])
            .args(["-c", "checkpoint_timeout=30s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        Self { folder, server }
    }

    fn url(&self) -> String {
        format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.folder.display()
        )
    }

    async fn connect(&self) -> PgPool {
        let began = Instant::now();
        loop {
            match PgPoolOptions::new()
                .max_connections(2)
                .connect(&self.url())
                .await
            {
                Ok(pool) => return pool,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    /// Takes what is free, but for a few kilobytes.
    fn fill(&self) -> u64 {
        let ballast = self.folder.join("ballast");
        let output = Command::new("dd")
            .args(["if=/dev/zero", "bs=4k"])
            .arg(format!("of={}", ballast.display()))
            .output()
            .expect("starts");
        assert!(!output.status.success(), "the disk is not full");
        std::fs::metadata(ballast).expect("there").len()
    }

    fn shrink_ballast(&self, bytes: u64) {
        let ballast = std::fs::File::options()
            .write(true)
            .open(self.folder.join("ballast"))
            .expect("opened");
        let length = ballast.metadata().expect("asked").len();
        ballast
            .set_len(length.saturating_sub(bytes))
            .expect("shortened");
    }

    fn free(&self) -> u64 {
        let line = run(Command::new("df")
            .args(["--output=avail", "-B1"])
            .arg(&self.folder));
        line.lines()
            .last()
            .and_then(|bytes| bytes.trim().parse().ok())
            .expect("a number")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.folder)
            .status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Rows of a day some days ago, each with a kilobyte of text that does not compress.
fn rows(days_ago: i64, count: usize) -> String {
    let day = SystemClock.now() - TimeDelta::days(days_ago);
    let lines = (0..count).map(|row| {
        let noise: String = (0..32).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
        json!({
            "prediction_id": format!("{days_ago}-{row}"), "timestamp": day.to_rfc3339(), "prediction": 1.5,
            "features": {"noise": noise},
        })
        .to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

const PREDICTIONS: &str = "/api/v1/models/fares/predictions?version=v1";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small file system"]
async fn a_full_disk_is_freed_by_dropping_partitions() {
    let disk = SmallDisk::mount(300);
    let pool = disk.connect().await;
    let settings = [("BELLWETHER_RETENTION_RAW_DAYS", "400")];
    let service = Served::start(pool.clone(), &disk.url(), &settings).await;
    let version = json!({"version": "v1"}).to_string();
    service
        .post(
            "/api/v1/models/fares/versions",
            "application/json",
            version.as_bytes(),
        )
        .await;
    for days_ago in [20, 19, 18, 1] {
        for part in 0..5 {
            let body = rows(days_ago, 2_000)
                .replace(&format!("\"{days_ago}-"), &format!("\"{days_ago}-{part}-"));
            let answer = service
                .post(PREDICTIONS, "application/x-ndjson", body.as_bytes())
                .await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    service
        .until(
            "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'",
            0,
        )
        .await;
    let before: i64 = sqlx::query_scalar("SELECT SUM(rows)::bigint FROM prediction_chunks")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(before, 40_000);
    drop(service);

    let service = Served::again(
        pool.clone(),
        &disk.url(),
        &[("BELLWETHER_RETENTION_RAW_DAYS", "400")],
    )
    .await;
    let ballast = disk.fill();
    // Senders are told to come back; nothing is acknowledged that is not kept.
    let began = Instant::now();
    let mut taken = 0;
    loop {
        let body = rows(0, 2_000).replace("\"0-", &format!("\"0-{taken}-"));
        let answer = service
            .post(PREDICTIONS, "application/x-ndjson", body.as_bytes())
            .await;
        if answer.status == 200 {
            taken += 1;
        } else {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the disk never fills up");
    }
    // Reading goes on.
    let read = service.get("/api/v1/models/fares").await;
    assert_eq!(read.status, 200, "{read:?}");
    // Retention has nothing to free here, and says at the worst that it cannot be done now.
    for _ in 0..5 {
        let ran = service
            .post("/api/v1/retention/run", "application/json", b"{}")
            .await;
        match ran.status {
            200 => {}
            _ => {
                let told = ran.problem(503);
                assert!(ran.header("retry-after").is_some(), "{ran:?}");
                println!("with {} bytes free: {told}", disk.free());
            }
        }
    }
    drop(service);

    // With not a byte left, Postgres takes no new connections; a few megabytes are enough for the rest.
    disk.shrink_ballast(8 << 20);
    // The operator shortens the time and starts again: days go, although there is hardly any room.
    let free = disk.free();
    let service = Served::again(
        pool.clone(),
        &disk.url(),
        &[("BELLWETHER_RETENTION_RAW_DAYS", "5")],
    )
    .await;
    let began = Instant::now();
    loop {
        let ran = service
            .post("/api/v1/retention/run", "application/json", b"{}")
            .await;
        let ran: Value = serde_json::from_str(&ran.body).unwrap_or_default();
        let left = ran["plan"]["steps"].as_array().map(Vec::len);
        if left == Some(0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{ran}");
    }
    let freed = disk.free();
    println!(
        "ballast {} MiB; taken after it {taken} batches; free when full {} KiB, after dropping {} MiB, in {:?}",
        ballast >> 20,
        free >> 10,
        freed >> 20,
        began.elapsed()
    );
    assert!(freed > free + (20 << 20), "{free} and then {freed}");
    let began = Instant::now();
    let answer = loop {
        let body = rows(0, 100).replace("\"0-", "\"after-");
        let answer = service
            .post(PREDICTIONS, "application/x-ndjson", body.as_bytes())
            .await;
        if answer.status == 200 || began.elapsed() > PATIENCE {
            break answer;
        }
    };
    assert_eq!(answer.status, 200, "{answer:?}");
    println!("taken again after {:?}", began.elapsed());
    service
        .until(
            "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'",
            0,
        )
        .await;
    let left: i64 = sqlx::query_scalar("SELECT SUM(rows)::bigint FROM prediction_chunks")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(left, 10_000 + 2_000 * taken + 100);
    pool.close().await;
}
