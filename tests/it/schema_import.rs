//! `bellwether schema import` and `compare --schema` as they are met: the real program, files on disk, a server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::proxy::Proxy;
use crate::served::Served;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/schemas")
        .join(name)
}

fn run(arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args(arguments)
        .args(files)
        .env_remove("BELLWETHER_TOKEN")
        .output()
        .expect("runs")
}

/// Standard output and error of a command that ended with this exit code.
#[track_caller]
fn told(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{error}");
    (out, error)
}

#[test]
fn a_schema_is_printed_for_the_models_file_and_what_is_left_out_is_told() {
    let import = ["schema", "import", "--model", "fares"];
    let files = [
        data("sagemaker-statistics.json"),
        data("sagemaker-constraints.json"),
    ];
    let (out, error) = told(&run(&import, &files), 0);
    assert!(out.starts_with("# Of model fares, from SageMaker"), "{out}");
    assert!(
        out.contains("# Without a type, which the file does not say: remark."),
        "{out}"
    );
    assert!(
        out.contains("\n    distance:\n      type: number\n"),
        "{out}"
    );
    assert!(error.contains("name the file as a baseline"), "{error}");
    assert!(
        error.contains("5 features; 7 things are not carried over"),
        "{error}"
    );

    let (_, error) = told(&run(&import, &[data("mlflow-tensor.json")]), 1);
    assert!(
        error.contains("mlflow-tensor.json: the MLflow signature has no feature that rows could have: inputs[0] (image)"),
        "{error}"
    );
    let binary = [data("tfdv-schema.pb")];
    let (_, error) = told(&run(&import, &binary), 1);
    assert!(error.contains("name one with --from"), "{error}");
    let forced = ["schema", "import", "--model", "fares", "--from", "tfdv"];
    let (out, _) = told(&run(&forced, &binary), 0);
    assert!(
        out.contains("categories: [\"AA\", \"DL\", \"UA\"]"),
        "{out}"
    );
    let (_, error) = told(&run(&import, &[data("no-such-file.json")]), 1);
    assert!(error.contains("no-such-file.json"), "{error}");
}

#[test]
fn files_are_compared_with_what_another_tool_expects() {
    let folder = std::env::temp_dir().join(format!("bellwether-schema-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let rows = |name: &str, far: &str| {
        let mut text = "distance,carrier,temp\n".to_owned();
        for row in 0..200 {
            let distance = if row % 4 == 0 { far } else { "400.5" };
            let carrier = ["AA", "DL", "B6"][row % 3];
            text += &format!("{distance},{carrier},{}\n", row % 30);
        }
        let path = folder.join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let files = [rows("before.csv", "9000"), rows("now.csv", "9000")];
    let schema = data("great-expectations-1.24.json");
    let schema = schema.to_str().expect("text");
    let compare = ["compare", "--format", "json", "--fail-on", "schema"];
    let (out, _) = told(&run(&compare, &files), 0);
    let found = |out: &str| -> Vec<(String, String)> {
        let document: Value = serde_json::from_str(out).expect("JSON");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let schema = document["schema"].as_array().expect("a list").iter();
        schema
            .map(|f| (word(&f["feature"]), word(&f["finding"])))
            .collect()
    };
    assert!(
        !found(&out)
            .iter()
            .any(|(_, finding)| finding == "out_of_range"),
        "the reference itself goes that far: {out}"
    );
    let with: Vec<&str> = compare
        .iter()
        .copied()
        .chain(["--schema", schema])
        .collect();
    let (out, error) = told(&run(&with, &files), 1);
    let found = found(&out);
    for (feature, finding) in [("distance", "out_of_range"), ("carrier", "unseen_category")] {
        let expected = (feature.to_owned(), finding.to_owned());
        assert!(found.contains(&expected), "{expected:?}: {found:?}");
    }
    // What is meant by `mostly` is carried over, so that nothing is left to be said of it.
    assert!(error.contains("5 things are not carried over"), "{error}");
    assert!(!error.contains("mostly"), "{error}");

    let lacking = data("great-expectations-0.18.json");
    let lacking = lacking.to_str().expect("text");
    let with: Vec<&str> = compare
        .iter()
        .copied()
        .chain(["--schema", lacking])
        .collect();
    let (out, _) = told(&run(&with, &files), 1);
    assert!(
        out.contains("the schema requires it, and no file has it"),
        "{out}"
    );
    drop(std::fs::remove_dir_all(folder));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_import_becomes_a_proposal_that_is_accepted_through_the_api(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let served = Served::start(pool, &proxy.url(), &[]).await;
    let server = format!("http://{}", served.address);
    let import = [
        "schema",
        "import",
        "--model",
        "fares",
        "--propose",
        "--reason",
        "as trained",
        "--server",
        &server,
        "--token",
        &served.token,
    ];
    // The proxy lives in this runtime, which must not be held up.
    let import = async || {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(import)
            .arg(data("mlflow-MLmodel.yaml"))
            .output()
            .await
            .expect("runs")
    };
    let (out, error) = told(&import().await, 0);
    assert!(
        out.contains("changes 7 features of model fares; it waits for a decision"),
        "{out}"
    );
    assert!(error.contains("(photo): the type \"binary\""), "{error}");

    let read = async |path: &str| -> Value {
        let answer = served.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).expect("JSON")
    };
    let proposals = read("/api/v1/models/fares/schema/proposals").await;
    let proposal = &proposals[0];
    assert_eq!(proposal["origin"], "import");
    assert_eq!(proposal["source"], "MLflow signature mlflow-MLmodel.yaml");
    assert_eq!(proposal["notes"].as_array().map(Vec::len), Some(5));
    assert_eq!(proposal["changes"][0]["parts"], json!(["feature"]));
    let path = format!(
        "/api/v1/schema-proposals/{}",
        proposal["proposal_id"].as_str().expect("an id")
    );
    assert_eq!(read(&path).await["state"], "proposed");
    let decide = async |body: Value| {
        served
            .post(&path, "application/json", body.to_string().as_bytes())
            .await
    };
    decide(json!({"accept": true, "reason": " "}))
        .await
        .problem(422);
    let accepted = decide(json!({"accept": true, "reason": "it is what was trained on"})).await;
    assert_eq!(
        (accepted.status, accepted.body.as_str()),
        (200, "{\"state\":\"accepting\"}")
    );
    decide(json!({"accept": false, "reason": "no"}))
        .await
        .problem(409);

    let accepted = "SELECT COUNT(*) FROM schema_proposals WHERE state = 'accepted'";
    served.until(accepted, 1).await;
    let schema = read("/api/v1/models/fares/schema").await;
    assert_eq!(
        schema["schema"]["features"].as_array().map(Vec::len),
        Some(7)
    );
    assert_eq!(
        schema["versions"][0]["proposal_id"],
        proposal["proposal_id"]
    );
    let (out, _) = told(&import().await, 0);
    assert_eq!(out, "the schema of model fares is so already\n");

    // Absent leaves as it is, null lifts, and what is unknown is refused.
    let propose = async |body: Value| {
        let path = "/api/v1/models/fares/schema/proposals";
        served
            .post(path, "application/json", body.to_string().as_bytes())
            .await
    };
    let features = json!([{"feature": "distance", "min": 0, "max": 3000}]);
    let made = propose(json!({"features": features, "reason": "miles"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let misspelt = json!([{"feature": "distance", "minimum": 0}]);
    propose(json!({"features": misspelt, "reason": "miles"}))
        .await
        .problem(422);
}
