//! `bellwether import` as it is met: the real program, files on disk, a server. What the documents tell people to type
//! (docs/formats.md, docs/retention.md) is typed here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::served::Served;

/// The database of this test, for a process of its own.
fn url(pool: &PgPool) -> String {
    let options = pool.connect_options();
    let database = options.get_database().expect("a database");
    let server = std::env::var("DATABASE_URL").expect("DATABASE_URL names a server");
    let (base, query) = server.split_once('?').unwrap_or((&server, ""));
    let base = base.rsplit_once('/').map_or(base, |(base, _)| base);
    format!("{base}/{database}?{query}")
}

fn new_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bellwether-import-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).expect("made");
    folder
}

fn program(service: &Served, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command
        .current_dir(folder)
        .env("BELLWETHER_SERVER", format!("http://{}", service.address))
        .env("BELLWETHER_TOKEN", &service.token);
    command
}

/// Runs what people type, word by word.
async fn typed(service: &Served, folder: &Path, line: &str) -> (bool, String) {
    let mut command = program(service, folder);
    let words = line.strip_prefix("bellwether ").expect("a command of ours");
    command.args(words.split_whitespace().map(|word| word.trim_matches('\'')));
    let output: Output = tokio::task::spawn_blocking(move || command.output().expect("starts"))
        .await
        .expect("ends");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8(text).expect("text"),
    )
}

async fn apply(service: &Served, folder: &Path, yaml: &str) {
    let config = folder.join("config");
    std::fs::create_dir_all(&config).expect("made");
    std::fs::write(config.join("models.yaml"), yaml).expect("written");
    let (fine, said) = typed(service, folder, "bellwether apply config").await;
    assert!(fine, "{said}");
}

async fn count(service: &Served, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&service.pool)
        .await
        .expect("a number")
}

const LANDED: &str = "SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'";
const PREDICTIONS: &str = "SELECT COUNT(*) FROM predictions";

fn now() -> String {
    use bellwether::domain::clock::{Clock, SystemClock};
    SystemClock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn two_hundred_files_and_a_kill_in_the_middle_give_each_row_once(pool: PgPool) {
    const FILES: usize = 200;
    const ROWS: usize = 50;
    let service = Served::start(pool.clone(), &url(&pool), &[]).await;
    let folder = new_folder();
    let at = now();
    for file in 0..FILES {
        let mut text = String::from("prediction_id,timestamp,version,prediction,distance\n");
        for row in 0..ROWS {
            text += &format!("{file}-{row},{at},v1,{row},{file}\n");
        }
        if file == 150 {
            text += &format!("150-bad,{at},v1,much,1\n");
        }
        std::fs::write(folder.join(format!("part-{file:03}.csv")), text).expect("written");
    }
    let mut first = program(&service, &folder)
        .args(["import", "fares", "--kind", "predictions", "."])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    // Killed with a file half done: at no moment in particular, and surely neither before nor after the work.
    let complete = "SELECT COUNT(*) FROM imported_files WHERE state = 'complete'";
    while count(&service, complete).await < 60 {
        assert!(
            first.try_wait().expect("asked").is_none(),
            "it ended too soon"
        );
    }
    first.kill().expect("killed");
    first.wait().expect("ended");
    let done = count(&service, complete).await;
    assert!((60..200).contains(&done), "{done}");

    let line = "bellwether import fares --kind predictions .";
    let (fine, said) = typed(&service, &folder, line).await;
    assert!(!fine, "a row is refused: {said}");
    assert!(said.contains("part-150.csv:52: prediction: "), "{said}");
    assert!(
        said.contains(&format!("{done} files had been imported before")),
        "{said}"
    );
    service.until(LANDED, 0).await;
    assert_eq!(count(&service, PREDICTIONS).await, (FILES * ROWS) as i64);
    assert_eq!(
        count(
            &service,
            "SELECT COUNT(DISTINCT prediction_id) FROM predictions"
        )
        .await,
        (FILES * ROWS) as i64
    );
    assert_eq!(count(&service, complete).await, FILES as i64);
    // What was sent twice, if anything, was counted as that.
    let accepted =
        "SELECT COALESCE(SUM(rows), 0)::bigint FROM intake_counts WHERE outcome = 'accepted'";
    assert_eq!(count(&service, accepted).await, (FILES * ROWS) as i64);

    let (fine, said) = typed(&service, &folder, line).await;
    assert!(fine, "{said}");
    assert!(
        said.contains("0 rows received, 0 kept, 0 rejected; 200 files had been imported before"),
        "{said}"
    );
    let listed = service.get("/api/v1/models/fares/files").await;
    let listed: Value = serde_json::from_str(&listed.body).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(FILES));
    assert_eq!(
        listed
            .as_array()
            .expect("a list")
            .iter()
            .map(|f| f["rejected"].as_i64().expect("a number"))
            .sum::<i64>(),
        1
    );
    std::fs::remove_dir_all(folder).expect("removed");
}

fn columns(from: usize, to: usize, at: &str) -> RecordBatch {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(
        (from..to).map(|row| format!("c-{row}")),
    ));
    let times: ArrayRef = Arc::new(StringArray::from_iter_values((from..to).map(|_| at)));
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(
        (from..to).map(|row| row as f64),
    ));
    let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (from..to).map(|row| row as i64),
    ));
    let named = [
        ("request", ids),
        ("scored_at", times),
        ("y_hat", values),
        ("seats", counts),
    ];
    RecordBatch::try_from_iter(named).expect("a batch")
}

const MAPPED: &str = "models:
  - name: mapped
    task: regression
    columns:
      prediction_id: request
      timestamp: scored_at
      prediction: y_hat
      label: y
      ignore: [row]
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn files_of_every_format_with_the_models_own_column_names(pool: PgPool) {
    let service = Served::start(pool.clone(), &url(&pool), &[]).await;
    let folder = new_folder();
    apply(&service, &folder, MAPPED).await;
    let at = now();
    let exports = folder.join("exports");
    std::fs::create_dir_all(&exports).expect("made");
    // More rows than the server takes at once.
    let mut parquet = Vec::new();
    let whole = columns(0, 120_000, &at);
    let mut writer = ArrowWriter::try_new(&mut parquet, whole.schema(), None).expect("a writer");
    writer.write(&whole).expect("written");
    writer.close().expect("closed");
    std::fs::write(exports.join("a.parquet"), parquet).expect("written");
    let some = columns(120_000, 120_010, &at);
    let mut arrow = FileWriter::try_new(Vec::new(), &some.schema()).expect("a writer");
    arrow.write(&some).expect("written");
    std::fs::write(
        exports.join("b.arrow"),
        arrow.into_inner().expect("finished"),
    )
    .expect("written");
    std::fs::write(
        exports.join("c.csv"),
        format!("row,request,scored_at,y_hat,y\n1,csv-1,{at},2.5,3\n"),
    )
    .expect("written");
    let line = json!({"request": "json-1", "scored_at": at, "y_hat": 1, "seats": 3, "y": 4});
    std::fs::write(exports.join("d.ndjson"), line.to_string()).expect("written");

    let (fine, said) = typed(
        &service,
        &folder,
        "bellwether import mapped --kind predictions --version v1 exports",
    )
    .await;
    assert!(fine, "{said}");
    assert!(
        said.starts_with("120012 rows received, 120012 kept, 0 rejected"),
        "{said}"
    );
    let (fine, said) = typed(
        &service,
        &folder,
        "bellwether import mapped --kind labels 'exports/*.csv' exports/d.ndjson",
    )
    .await;
    assert!(fine, "{said}");
    service.until(LANDED, 0).await;
    assert_eq!(count(&service, PREDICTIONS).await, 120_012);
    assert_eq!(count(&service, "SELECT COUNT(*) FROM outcomes").await, 2);
    let features: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT name FROM chunk_columns WHERE kind = 'feature'")
            .fetch_all(&service.pool)
            .await
            .expect("names");
    assert_eq!(features, ["seats"]);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_sagemaker_captures_and_azure_ml_collects(pool: PgPool) {
    let service = Served::start(pool.clone(), &url(&pool), &[]).await;
    let folder = new_folder();
    apply(
        &service,
        &folder,
        "models:
  - name: fares
    task: regression
    columns:
      inputs: [distance, carrier, delay]
  - name: risk
    task: binary
    positive_class: \"1\"
    columns: {inputs: [distance, carrier, delay]}
",
    )
    .await;
    // The golden files, with times of today.
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let today = now();
    let copy = |from: &str, to: &str| {
        let text = std::fs::read_to_string(data.join(from)).expect("readable");
        let text = text.replace("2013-03-01T10", &today[..13]);
        let to = folder.join(to);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::write(to, text).expect("written");
    };
    copy(
        "sagemaker_csv.jsonl",
        "capture/endpoint/AllTraffic/2026/03/01/10/a.jsonl",
    );
    copy("sagemaker_truth.jsonl", "truth/a.jsonl");
    let (fine, said) = typed(
        &service,
        &folder,
        "bellwether import fares --kind predictions --version v1 capture",
    )
    .await;
    assert!(!fine);
    assert!(
        said.contains("a.jsonl:3: endpointInput: has 2 values"),
        "{said}"
    );
    assert!(
        said.contains("9 rows received, 4 kept, 5 rejected"),
        "{said}"
    );
    let (_, said) = typed(
        &service,
        &folder,
        "bellwether import fares --kind labels truth",
    )
    .await;
    assert!(
        said.contains("4 rows received, 2 kept, 2 rejected"),
        "{said}"
    );

    // Azure ML: inputs and outputs in files of their own.
    let events = std::fs::read_to_string(data.join("azureml.jsonl")).expect("readable");
    let of = |side: &[&str]| -> String {
        let lines = events.lines().filter(|line| {
            side.iter()
                .any(|side| line.contains(&format!("inference.{side}\"")))
        });
        lines
            .map(|line| format!("{}\n", line.replace("2013-03-01T10", &today[..13])))
            .collect()
    };
    for (name, side) in [
        ("model_inputs", ["model_inputs", "request"]),
        ("model_outputs", ["model_outputs", "response"]),
    ] {
        let path = folder
            .join("modelDataCollector/fares/blue")
            .join(name)
            .join("2026/03/01/10");
        std::fs::create_dir_all(&path).expect("made");
        std::fs::write(path.join("instance.jsonl"), of(&side)).expect("written");
    }
    let (fine, said) = typed(
        &service,
        &folder,
        "bellwether import risk --kind predictions --version v1 modelDataCollector",
    )
    .await;
    assert!(!fine);
    assert!(
        said.contains("model_inputs/2026/03/01/10/instance.jsonl:3: correlationid: has no outputs"),
        "{said}"
    );
    assert!(
        said.contains("9 rows received, 5 kept, 4 rejected"),
        "{said}"
    );
    service.until(LANDED, 0).await;
    assert_eq!(count(&service, PREDICTIONS).await, 9);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_operators_type_about_retention_archive_and_erasing(pool: PgPool) {
    let folder = new_folder();
    let archive = folder.join("archive").display().to_string();
    let settings = [
        ("BELLWETHER_ARCHIVE_FOLDER", archive.as_str()),
        ("BELLWETHER_RETENTION_RAW_DAYS", "30"),
    ];
    let service = Served::start(pool.clone(), &url(&pool), &settings).await;
    let days_ago = |days: i64| {
        use bellwether::domain::clock::{Clock, SystemClock};
        (SystemClock.now() - chrono::TimeDelta::days(days))
            .format("%Y-%m-%d")
            .to_string()
    };
    let (old, new) = (days_ago(40), days_ago(1));
    let mut rows = String::new();
    for (day, name) in [(&old, "old"), (&new, "new")] {
        for row in 0..5 {
            let row = json!({"prediction_id": format!("{name}-{row}"), "timestamp": format!("{day}T10:00:00Z"), "prediction": row});
            rows += &format!("{row}\n");
        }
    }
    std::fs::write(folder.join("rows.ndjson"), rows).expect("written");
    let (fine, said) = typed(
        &service,
        &folder,
        "bellwether import fares --kind predictions --version v1 rows.ndjson",
    )
    .await;
    assert!(fine, "{said}");
    service.until(LANDED, 0).await;
    // The windows of the past are measured before their rows go.
    service
        .until("SELECT COUNT(*) FROM window_states WHERE pending", 0)
        .await;
    let (fine, said) = typed(&service, &folder, "bellwether retention plan").await;
    assert!(fine, "{said}");
    assert!(said.contains("raw rows 30 days (archived first)"), "{said}");
    let (fine, said) = typed(&service, &folder, "bellwether retention run").await;
    assert!(fine, "{said}");
    service.until(PREDICTIONS, 5).await;
    let (fine, said) = typed(&service, &folder, "bellwether archive list --model fares").await;
    assert!(
        fine && said.contains(&format!("{old}  fares  5 predictions, 0 labels")),
        "{said}"
    );
    let restore = format!("bellwether archive restore fares --from {old} --to {old} --keep-days 7");
    for _ in 0..2 {
        let (fine, said) = typed(&service, &folder, &restore).await;
        assert!(fine && said.contains("1 days, 5 predictions"), "{said}");
        service.until(LANDED, 0).await;
        assert_eq!(count(&service, PREDICTIONS).await, 10);
    }
    std::fs::write(folder.join("ids.txt"), "old-2\nnew-3\n").expect("written");
    let (fine, said) = typed(
        &service,
        &folder,
        "bellwether erase fares new-4 --file ids.txt --reason ticket-17",
    )
    .await;
    assert!(fine && said.contains("\"predictions\": 3"), "{said}");
    assert_eq!(count(&service, PREDICTIONS).await, 7);
    let (fine, said) = typed(&service, &folder, "bellwether archive run").await;
    assert!(fine, "{said}");
    let (_, said) = typed(&service, &folder, "bellwether archive list").await;
    assert!(said.contains("4 predictions"), "{said}");
    let shown = service.get("/api/v1/models/fares").await;
    let shown: Value = serde_json::from_str(&shown.body).expect("JSON");
    assert!(shown["raw_gone_before"].is_string(), "{shown}");
    let refused = service
        .get(&format!(
            "/api/v1/models/fares/quality?version=v1&from={old}T00:00:00Z&to={new}T00:00:00Z"
        ))
        .await;
    assert!(refused.problem(409).contains("are gone"), "{refused:?}");
    std::fs::remove_dir_all(folder).expect("removed");
}
