//! More load than can be borne, and a database that stalls, restarts or is gone. Senders get an answer that
//! says when to come back, soon; nothing grows meanwhile; what was acknowledged is stored; and when the cause
//! is over, so is the trouble.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use bellwether::domain::clock::{Clock, SystemClock};
use chrono::TimeDelta;
use flate2::write::GzEncoder;
use futures::future::join_all;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::json;
use sqlx::PgPool;

use crate::proxy::Proxy;
use crate::served::{Answer, IMPATIENT, PREDICTIONS, Served, predictions};
use crate::{cloudevents, otlp};

/// What senders are promised, and what a machine that does other things too may add.
const SHED: Duration = Duration::from_millis(250);
const MARGIN: Duration = Duration::from_millis(1_250);
/// What it may add to half of the answers.
const USUAL_MARGIN: Duration = Duration::from_millis(150);
/// How soon after the database is back the first batch is taken.
const RECOVERY: Duration = Duration::from_secs(5);
/// The most memory the service may have.
const MOST_RESIDENT: u64 = 300;

async fn behind_a_proxy(pool: PgPool, settings: &[(&str, &str)]) -> (Served, Proxy) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let settings = [&[IMPATIENT], settings].concat();
    let served = Served::start(pool, &proxy.url(), &settings).await;
    (served, proxy)
}

/// Many senders at once, with bodies of about 64 KiB, which are made before the first is sent.
async fn wave(served: &Served, senders: usize, name: &str) -> Vec<Answer> {
    let bodies: Vec<String> = (0..senders)
        .map(|sender| predictions((0..400).map(|n| format!("{name}-{sender}-{n}"))))
        .collect();
    let sending = bodies
        .iter()
        .map(|body| served.post(PREDICTIONS, "application/x-ndjson", body.as_bytes()));
    join_all(sending).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

type WayIn = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>);

/// A request by each way that is not a plain body of predictions.
fn other_ways_in() -> Vec<WayIn> {
    let row = predictions(["packed".to_owned()]);
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(row.as_bytes()).expect("packed");
    let label = json!([{"prediction_id": "before", "value": 1.0}]).to_string();
    vec![
        (
            PREDICTIONS,
            vec![
                ("content-type", "application/x-ndjson"),
                ("content-encoding", "gzip"),
            ],
            packed.finish().expect("packed"),
        ),
        (
            "/api/v1/models/fares/labels",
            vec![JSON],
            label.into_bytes(),
        ),
        (
            "/api/v1/cloudevents?version=v1",
            vec![("content-type", "application/cloudevents+json")],
            cloudevents::request("stalled").into_bytes(),
        ),
        (
            "/v1/logs",
            vec![JSON],
            otlp::prediction("stalled", "3").into_bytes(),
        ),
    ]
}

fn slowest(answers: &[Answer]) -> Duration {
    answers
        .iter()
        .map(|answer| answer.took)
        .max()
        .unwrap_or_default()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_stalled_database_sheds_soon_and_without_growing(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    for answer in wave(&served, 50, "warm").await {
        assert!(answer.status == 200 || answer.was_shed(), "{answer:?}");
    }

    proxy.stall();
    // One by one: a machine that computes fifty bodies at once would measure itself.
    let mut took = Vec::new();
    for n in 0..10 {
        let answer = served.predict([format!("one-{n}")]).await;
        assert!(answer.was_shed(), "{answer:?}");
        took.push(answer.took);
    }
    took.sort();
    println!("figure stalled_shed_median_ms {}", took[5].as_millis());
    println!("figure stalled_shed_slowest_ms {}", took[9].as_millis());
    assert!(took[5] <= SHED + USUAL_MARGIN, "{took:?}");
    assert!(took[9] <= SHED + MARGIN, "{took:?}");
    for (path, headers, body) in other_ways_in() {
        let answer = served.post_with(path, &headers, &body).await;
        assert!(answer.was_shed(), "{path}: {answer:?}");
        assert!(answer.took <= SHED + MARGIN, "{path}: {answer:?}");
    }
    let mut resident = Vec::new();
    for n in 0..6 {
        let answers = wave(&served, 100, &format!("stalled-{n}")).await;
        assert!(answers.iter().all(Answer::was_shed));
        println!(
            "figure stalled_wave_slowest_ms {}",
            slowest(&answers).as_millis()
        );
        resident.push(served.resident());
    }
    println!("figure stalled_resident_mib {resident:?}");
    assert!(resident[5] <= resident[1] + 24, "it grows: {resident:?}");
    assert!(served.most_resident() <= MOST_RESIDENT);

    proxy.heal();
    let recovered = served.until_taken("after").await;
    println!("figure stalled_recovery_ms {}", recovered.as_millis());
    assert!(recovered <= RECOVERY, "{recovered:?}");

    // Again, and this time the old connections never come back to life.
    proxy.stall();
    let answers = wave(&served, 50, "again").await;
    assert!(answers.iter().all(Answer::was_shed));
    proxy.heal_for_new_connections();
    let recovered = served.until_taken("after that").await;
    println!("figure failover_recovery_ms {}", recovered.as_millis());
    assert!(recovered <= RECOVERY, "{recovered:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_stall_in_the_middle_of_the_load_is_told_from_a_refusal(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    let stalling = async {
        pause(Duration::from_millis(150)).await;
        proxy.stall_only("bellwether landing");
    };
    // Each sends until it has met the stall, and then a little longer.
    let senders = join_all((0..16).map(|sender| {
        let served = &served;
        async move {
            let mut answers: Vec<Answer> = Vec::new();
            while answers.iter().filter(|answer| answer.status != 200).count() < 4 {
                let id = format!("mid-{sender}-{}", answers.len());
                answers.push(served.predict([id]).await);
            }
            answers
        }
    }));
    let (answers, ()) = tokio::join!(senders, stalling);
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 || answer.was_shed())
    );
    let shed: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    let longest = shed.iter().map(|answer| answer.took).max().expect("some");
    println!("figure stalled_landing_slowest_ms {}", longest.as_millis());
    assert!(longest <= SHED + MARGIN, "{longest:?}");
    // Whoever was in the commit is told that nobody knows; whoever came later, that nothing was kept.
    assert!(
        shed.iter()
            .any(|answer| answer.body.contains("outcome is unknown"))
    );
    assert!(
        shed.iter()
            .any(|answer| answer.body.contains("nothing of this one was kept"))
    );
    proxy.heal();
    assert!(served.until_taken("after").await <= RECOVERY);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn alerting_and_pages_keep_their_connections_while_intake_hangs(pool: PgPool) {
    let (served, proxy) =
        behind_a_proxy(pool, &[("BELLWETHER_INTAKE_DATABASE_WAIT_MS", "60000")]).await;
    served.until_taken("before").await;
    // 64 requests hang in the database: they have all of the intake's connections, and wait for more.
    proxy.stall_only("bellwether intake");
    let hanging = AtomicBool::new(true);
    let senders = async {
        let sending = (0..64).map(|n| served.predict([format!("hanging-{n}")]));
        let answers = join_all(sending).await;
        hanging.store(false, Ordering::Relaxed);
        answers
    };
    let others = async {
        assert_activated(&served, &["evaluate", "alert", "deliver", "settle"]).await;
        for path in ["/readyz", "/api/v1/models", "/api/v1/alerts", "/sign-in"] {
            let answer = served.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert!(
                answer.took < Duration::from_secs(2),
                "{path}: {:?}",
                answer.took
            );
        }
        assert!(hanging.load(Ordering::Relaxed), "they do not hang");
        proxy.heal();
    };
    let (answers, ()) = tokio::join!(senders, others);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 || answer.was_shed())
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn alerting_keeps_its_connections_while_settling_and_measuring_hang(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    proxy.stall_only("bellwether background");
    assert_activated(&served, &["alert", "respond", "deliver"]).await;
    proxy.heal();
}

/// Every one of these tasks is activated again, and none fails for want of a connection.
async fn assert_activated(served: &Served, tasks: &[&'static str]) {
    let count = async |task: &&'static str| {
        let labels = [format!("task=\"{task}\"")];
        let all = [labels[0].as_str()];
        let failed = [labels[0].as_str(), "result=\"failed\""];
        let name = "bellwether_task_activations_total";
        (
            served.metric(name, &all).await,
            served.metric(name, &failed).await,
        )
    };
    let before = join_all(tasks.iter().map(count)).await;
    let began = Instant::now();
    loop {
        let now = join_all(tasks.iter().map(count)).await;
        for ((before, _), (_, failed)) in before.iter().zip(&now) {
            assert!(*failed < 1.0, "{before} {failed}");
        }
        let mut both = before.iter().zip(&now);
        if both.all(|(before, now)| now.0 > before.0 + 1.0) {
            return;
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(40), "{before:?} {now:?}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_database_that_restarts_costs_503_and_nothing_else(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    let (over, taken, shed) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let senders = join_all((0..12).map(|sender| {
        let (served, over, taken, shed) = (&served, &over, &taken, &shed);
        async move {
            let mut acknowledged = BTreeSet::new();
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                let id = format!("restart-{sender}-{n}");
                let answer = served.predict([id.clone()]).await;
                if answer.status == 200 {
                    taken.fetch_add(1, Ordering::Relaxed);
                    acknowledged.insert(id);
                    n += 1;
                } else {
                    // Sent again with the same id.
                    assert!(answer.was_shed(), "{answer:?}");
                    shed.fetch_add(1, Ordering::Relaxed);
                }
            }
            acknowledged
        }
    }));
    let faults = async {
        let mut slowest = Duration::ZERO;
        for round in 0..4 {
            pause(Duration::from_millis(400)).await;
            match round {
                0 | 2 => {
                    // What a server does to its clients when it is told to restart.
                    sqlx::query(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name LIKE 'bellwether%' AND datname = current_database()",
                    )
                    .execute(&served.pool)
                    .await
                    .expect("terminated");
                }
                1 => proxy.cut(),
                _ => {
                    proxy.refuse();
                    pause(Duration::from_millis(1_500)).await;
                    proxy.heal();
                }
            }
            slowest = slowest.max(served.until_taken(&format!("back-{round}")).await);
        }
        pause(Duration::from_millis(300)).await;
        over.store(true, Ordering::Relaxed);
        slowest
    };
    let (acknowledged, slowest) = tokio::join!(senders, faults);
    println!("figure restart_recovery_ms {}", slowest.as_millis());
    assert!(slowest <= RECOVERY, "{slowest:?}");
    let acknowledged: BTreeSet<String> = acknowledged.into_iter().flatten().collect();
    println!("taken {taken:?}, shed {shed:?}");
    assert!(acknowledged.len() > 12, "{acknowledged:?}");
    assert!(shed.load(Ordering::Relaxed) > 0, "nobody noticed");

    served
        .until(
            "SELECT count(*) FROM landed_batches WHERE state <> 'settled'",
            0,
        )
        .await;
    let stored: Vec<String> = sqlx::query_scalar(
        "SELECT prediction_id FROM predictions WHERE prediction_id LIKE 'restart-%'",
    )
    .fetch_all(&served.pool)
    .await
    .expect("predictions");
    let distinct: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(stored.len(), distinct.len(), "some are stored twice");
    assert!(acknowledged.is_subset(&distinct), "some were lost");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn more_bodies_than_there_is_room_for_are_shed_and_the_taken_ones_stored(pool: PgPool) {
    let settings = [
        ("BELLWETHER_INTAKE_MEMORY_BUDGET", "2097152"),
        ("BELLWETHER_INTAKE_MAX_BODY_BYTES", "1048576"),
        ("BELLWETHER_INTAKE_MAX_INFLATED_BYTES", "1048576"),
    ];
    let (served, _proxy) = behind_a_proxy(pool, &settings).await;
    served.until_taken("before").await;
    let mut kept = 1;
    let mut shed = 0;
    for round in 0..2 {
        let sending = (0..64).map(|sender| {
            let served = &served;
            async move {
                let ids = (0..3_000).map(|n| format!("over-{round}-{sender}-{n}"));
                let body = predictions(ids);
                served
                    .post(PREDICTIONS, "application/x-ndjson", body.as_bytes())
                    .await
            }
        });
        for answer in join_all(sending).await {
            if answer.status == 200 {
                kept += 3_000;
            } else {
                assert!(answer.was_shed(), "{answer:?}");
                shed += 1;
            }
        }
    }
    assert!(kept > 1 && shed > 0, "kept {kept}, shed {shed}");
    let counted = served.metric("bellwether_shed_requests_total", &[]).await;
    assert!(counted >= f64::from(shed), "{counted} of {shed}");
    let received: i64 = sqlx::query_scalar("SELECT sum(received_rows)::bigint FROM landed_batches")
        .fetch_one(&served.pool)
        .await
        .expect("a sum");
    // A batch whose outcome was unknown may be there as well; none that was acknowledged is missing.
    assert!(received >= kept, "{received} of {kept}");
    println!("kept {kept}, received {received}, shed {shed}");
    assert!(served.most_resident() <= MOST_RESIDENT);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_heaviest_intake_stays_within_the_memory(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    // Of taking in alone: what settling takes at the same time depends on other things than senders.
    proxy.stall_only("bellwether background");
    let body = predictions((0..60_000).map(|n| format!("heavy-{n}")));
    let packed = zstd::encode_all(body.as_bytes(), 1).expect("packed");
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("content-encoding", "zstd"),
    ];
    let mut taken = 0;
    for _ in 0..2 {
        let sending = (0..24).map(|_| served.post_with(PREDICTIONS, &headers, &packed));
        for answer in join_all(sending).await {
            assert!(answer.status == 200 || answer.was_shed(), "{answer:?}");
            taken += u32::from(answer.status == 200);
        }
    }
    println!("figure heavy_body_mib {}", body.len() >> 20);
    println!("figure heavy_taken {taken}");
    println!("figure heavy_resident_mib {}", served.most_resident());
    assert!(taken > 0, "nothing was taken");
    assert!(served.most_resident() <= MOST_RESIDENT);
}

/// How many rows a file of many values has.
const ROWS: i64 = 50_000;

/// A small file of many values: rows with ids from `first` on, and fifty features that never change.
fn of_many_values(first: i64) -> Vec<u8> {
    let now = SystemClock.now().timestamp_millis();
    let constant: ArrayRef = Arc::new(Float64Array::from(vec![1.5; ROWS as usize]));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (
            "prediction_id".to_owned(),
            Arc::new(Int64Array::from_iter_values(first..first + ROWS)),
        ),
        (
            "timestamp".to_owned(),
            Arc::new(TimestampMillisecondArray::from(vec![now; ROWS as usize])),
        ),
        ("prediction".to_owned(), constant.clone()),
    ];
    columns.extend((0..50).map(|at| (format!("f{at}"), constant.clone())));
    let batch = RecordBatch::try_from_iter(columns).expect("columns fit");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    file
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn many_values_in_small_files_stay_within_the_memory(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    proxy.stall_only("bellwether background");
    let body = of_many_values(0);
    let headers = [("content-type", "application/vnd.apache.parquet")];
    let sending = (0..12).map(|_| served.post_with(PREDICTIONS, &headers, &body));
    let mut taken = 0;
    for answer in join_all(sending).await {
        assert!(answer.status == 200 || answer.was_shed(), "{answer:?}");
        taken += u32::from(answer.status == 200);
    }
    println!("figure small_files_body_kib {}", body.len() >> 10);
    println!("figure small_files_taken {taken}");
    println!("figure small_files_resident_mib {}", served.most_resident());
    assert!(taken > 0, "nothing was taken");
    assert!(served.most_resident() <= MOST_RESIDENT);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn large_batches_are_settled_within_the_memory(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    proxy.stall_only("bellwether background");
    let headers = [("content-type", "application/vnd.apache.parquet")];
    for file in 0..4 {
        let body = of_many_values(file * ROWS);
        let answer = served.post_with(PREDICTIONS, &headers, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let landed = served.most_resident();
    proxy.heal();
    served
        .until(
            "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'",
            0,
        )
        .await;
    println!("figure large_batches_landed_resident_mib {landed}");
    println!(
        "figure large_batches_settled_resident_mib {}",
        served.most_resident()
    );
    assert!(served.most_resident() <= MOST_RESIDENT);
}

/// Rows of one text each, which make a body as large as it may be unpacked.
fn of_long_texts(sender: usize) -> Vec<u8> {
    const TEXT: usize = 9_500;
    let now = SystemClock.now();
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in 0..6_700_usize {
        let word = format!("{:08x} ", (row * 31 + sender).wrapping_mul(2_654_435_761));
        let row = json!({
            "prediction_id": format!("text-{sender}-{row}"), "prediction": 1.5, "timestamp": now,
            "features": {"text": word.repeat(TEXT / word.len())},
        });
        writeln!(packed, "{row}").expect("packed");
    }
    packed.finish().expect("packed")
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_largest_bodies_are_taken_and_settled_within_the_memory(pool: PgPool) {
    let (served, _proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    let bodies: Vec<Vec<u8>> = (0..4).map(of_long_texts).collect();
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("content-encoding", "gzip"),
    ];
    let sending = bodies
        .iter()
        .map(|body| served.post_with(PREDICTIONS, &headers, body));
    let answers = join_all(sending).await;
    assert!(answers.iter().all(|a| a.status == 200 || a.was_shed()));
    assert!(answers.iter().any(|a| a.status == 200), "nothing was taken");
    served
        .until(
            "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'",
            0,
        )
        .await;
    // Reading one of them takes no more than 8 MiB.
    let large = "SELECT COUNT(*) FROM prediction_chunks WHERE rows > 900";
    served.until(large, 0).await;
    println!(
        "figure largest_bodies_resident_mib {}",
        served.most_resident()
    );
    assert!(served.most_resident() <= MOST_RESIDENT);
}

/// Rows of so many hours, one for each, with fifty features; a history that somebody brings along.
fn of_many_hours(hours: i64) -> String {
    let now = SystemClock.now();
    let row = |hour: i64| {
        let mut row = json!({
            "prediction_id": format!("hour-{hour}"), "prediction": 1.5,
            "timestamp": (now - TimeDelta::hours(hour)).to_rfc3339(),
        });
        for feature in 0..50 {
            row[format!("f{feature}")] = json!(hour as f64 * 0.25 + f64::from(feature));
        }
        format!("{row}\n")
    };
    (0..hours).map(row).collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn many_windows_are_settled_within_the_memory(pool: PgPool) {
    let (served, _proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    sqlx::query("UPDATE models SET base_window = 'hour'")
        .execute(&served.pool)
        .await
        .expect("windows of hours");
    let body = of_many_hours(4_000);
    let answer = served.post(PREDICTIONS, "application/x-ndjson", body.as_bytes());
    let answer = answer.await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let settled = "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'";
    served.until(settled, 0).await;
    println!(
        "figure many_windows_resident_mib {}",
        served.most_resident()
    );
    let profiles: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM profiles")
        .fetch_one(&served.pool)
        .await
        .expect("a count");
    assert!(profiles >= 4_000 * 51, "{profiles}");
    assert!(served.most_resident() <= MOST_RESIDENT);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn long_texts_are_settled_within_the_memory(pool: PgPool) {
    let (served, proxy) = behind_a_proxy(pool, &[]).await;
    served.until_taken("before").await;
    proxy.stall_only("bellwether background");
    let now = SystemClock.now().to_rfc3339();
    let word = |at: u64| format!("{:x} ", at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    let text: String = (0..1_400).map(word).collect();
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("content-encoding", "gzip"),
    ];
    for body in 0..8 {
        let row = |row: i32| {
            let id = format!("text-{body}-{row}");
            let row = json!({"prediction_id": id, "timestamp": now, "prediction": 1.5, "text": format!("{row} {text}")});
            format!("{row}\n")
        };
        let rows: String = (0..2_500).map(row).collect();
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(rows.as_bytes()).expect("packed");
        let packed = packed.finish().expect("packed");
        let answer = served.post_with(PREDICTIONS, &headers, &packed).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    proxy.heal();
    let settled = "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'";
    served.until(settled, 0).await;
    println!("figure long_texts_resident_mib {}", served.most_resident());
    assert!(served.most_resident() <= MOST_RESIDENT);
}

async fn pause(time: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
}
