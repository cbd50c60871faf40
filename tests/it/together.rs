//! Small bodies of concurrent requests, which are read into one batch: each sender hears about its own rows and nothing
//! else, and what is presumed of senders and models counts no longer than it holds.

use bellwether::domain::clock::{Clock, SystemClock};
use bellwether::domain::ids::{BatchId, ProjectId, TokenId};
use bellwether::formats::Format;
use bellwether::services::access::revoke_token;
use bellwether::services::ingest::{self, Receipt, Upload};
use bellwether::storage::intake::BatchKind;
use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;
use crate::proxy::Proxy;
use crate::served::{Answer, Served};

const DAY: &str = "2026-03-02";

impl TestApp {
    /// Sends bodies at once, from a sender and for a model that are known.
    async fn presume(&self, bodies: &[(Format, Bytes)]) -> Vec<Option<Receipt>> {
        let generation = self.number("SELECT generation FROM projects").await;
        let sending = bodies.iter().map(async |(format, body)| {
            let upload = Upload {
                project_id: self.project,
                model: "fares",
                format: *format,
                body: body.clone(),
                version: None,
                generation: Some(generation),
            };
            ingest::presumed_predictions(&self.services, &upload)
                .await
                .expect("an answer")
        });
        join_all(sending).await
    }
}

async fn known(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    app.predict("fares", &[fares::prediction(at(DAY), 0)]).await;
    app.settle().await;
    app
}

fn json_body(row: &Value) -> (Format, Bytes) {
    (Format::Json, row.to_string().into())
}

fn ndjson(rows: &[Value]) -> (Format, Bytes) {
    (Format::Ndjson, crate::app::lines(rows))
}

fn batches(receipts: &[Option<Receipt>]) -> Vec<BatchId> {
    let batches = receipts.iter().flatten().map(|receipt| receipt.batch_id);
    batches.collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn bodies_share_a_batch_and_a_bad_one_stays_out_alone(pool: PgPool) {
    let app = known(pool).await;
    let row = |i| fares::prediction(at(DAY), i);
    let with = |i, field: &str, value: Value| {
        let mut row = row(i);
        row[field] = value;
        row
    };
    let mut features = row(3);
    features["features"] = json!({"distance": "far", "of its own": [1.0, 2.0]});
    let good = [
        json_body(&row(1)),
        json_body(&row(2)),
        json_body(&features),
        (
            Format::Json,
            json!({"predictions": [row(4), row(5)]}).to_string().into(),
        ),
    ];
    let bad = [
        (Format::Json, Bytes::from_static(b"{")),
        (Format::Json, Bytes::from_static(b"[]")),
        (Format::Json, Bytes::from_static(b"\xff")),
        json_body(&with(6, "prediction", json!("many"))),
        json_body(&with(7, "prediction_id", json!("a\u{0}b"))),
        json_body(&with(8, "version", json!("v9"))),
        json_body(&with(9, "timestamp", json!("1999-01-01T00:00:00Z"))),
        json_body(&json!([row(10), with(11, "latency_ms", json!(-1))])),
        json_body(&with(12, "error", json!("x".repeat(20_000)))),
        (Format::Parquet, Bytes::from_static(b"PAR1")),
    ];
    // A bad one between any two good ones.
    let mut bodies = bad.to_vec();
    for (place, body) in (0..).step_by(3).zip(&good) {
        bodies.insert(place, body.clone());
    }
    let receipts = app.presume(&bodies).await;
    for (receipt, body) in receipts.iter().zip(&bodies) {
        assert_eq!(receipt.is_some(), good.contains(body), "{body:?}");
    }
    let kept: Vec<(u64, u64)> = (receipts.iter().flatten())
        .map(|receipt| (receipt.received, receipt.kept))
        .collect();
    assert_eq!(kept, [(1, 1), (1, 1), (1, 1), (2, 2)]);
    let batches = batches(&receipts);
    assert!(
        batches.iter().all(|batch| *batch == batches[0]),
        "{batches:?}"
    );
    // NDJSON is another batch; both land together.
    let lines = [
        ndjson(&[row(20), row(21)]),
        ndjson(&[row(22)]),
        json_body(&row(23)),
    ];
    let receipts = app.presume(&lines).await;
    let ids: Vec<BatchId> = self::batches(&receipts);
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");

    app.settle().await;
    app.assert_conserved("fares").await;
    assert_eq!(
        app.count("fares", BatchKind::Predictions, "received").await,
        10
    );
    assert_eq!(
        app.count("fares", BatchKind::Predictions, "accepted").await,
        10
    );
    assert_eq!(app.number("SELECT COUNT(*) FROM rejected_rows").await, 0);
    let own = "SELECT COUNT(*) FROM feature_values WHERE feature = 'of its own' AND NOT absent";
    assert_eq!(app.number(own).await, 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_id_that_comes_twice_at_once_is_a_duplicate_or_a_conflict(pool: PgPool) {
    let app = known(pool).await;
    let row = fares::prediction(at(DAY), 1);
    let mut other = row.clone();
    other["prediction"] = json!(99.0);
    let bodies = [&row, &row, &other, &fares::prediction(at(DAY), 0)].map(json_body);
    let receipts = app.presume(&bodies).await;
    assert_eq!(batches(&receipts).len(), 4);
    app.settle().await;
    app.assert_conserved("fares").await;
    for (outcome, rows) in [("accepted", 2), ("duplicate", 2), ("conflicting", 1)] {
        let counted = app.count("fares", BatchKind::Predictions, outcome).await;
        assert_eq!(counted, rows, "{outcome}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_has_changed_since_it_was_known_keeps_everything_out(pool: PgPool) {
    let app = known(pool).await;
    let bodies = [1, 2].map(|i| json_body(&fares::prediction(at(DAY), i)));
    let generation = app.number("SELECT generation FROM projects").await;
    let upload = Upload {
        project_id: app.project,
        model: "fares",
        format: Format::Json,
        body: bodies[0].1.clone(),
        version: None,
        generation: Some(generation),
    };
    sqlx::query("UPDATE projects SET generation = generation + 1")
        .execute(&app.services.pool)
        .await
        .expect("changed");
    // Whether it is the sender who is not up to date, or the model.
    let landed = ingest::presumed_predictions(&app.services, &upload).await;
    assert!(landed.expect("an answer").is_none());
    assert!(app.presume(&bodies).await.iter().all(Option::is_none));
    assert_eq!(
        app.number("SELECT COUNT(*) FROM landed_batches WHERE state = 'landed'")
            .await,
        0
    );
    // Looked up anew, also that the day is gone.
    sqlx::query("INSERT INTO project_retention (project_id, raw_closed_before) SELECT project_id, '2026-03-03' FROM projects")
        .execute(&app.services.pool)
        .await
        .expect("closed");
    let gone = app.predict("fares", &[fares::prediction(at(DAY), 3)]).await;
    assert_eq!(
        gone.rejected_by_reason.keys().collect::<Vec<_>>(),
        [&"past_retention"]
    );
    let today = json_body(&fares::prediction(at("2026-03-03"), 1));
    let receipts = app.presume(&[bodies[0].clone(), today]).await;
    assert!(
        receipts[0].is_none() && receipts[1].is_some(),
        "{receipts:?}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn each_of_many_senders_hears_about_its_own_rows(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let served = Served::start(pool, &proxy.url(), &[]).await;
    let path = "/api/v1/models/fares/predictions";
    let now = SystemClock.now();
    let row = |id: &str| json!({"prediction_id": id, "timestamp": now, "version": "v1", "prediction": 12.5});
    // A busy machine may send senders away, who come again.
    let send = async |body: String| loop {
        let answer = served.post(path, "application/json", body.as_bytes()).await;
        if !answer.was_shed() {
            return answer;
        }
    };
    let receipt = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str::<Value>(&answer.body).expect("a receipt")
    };
    // The first is asked about, the others are presumed.
    receipt(&send(row("first").to_string()).await);
    let sending = (0..60).map(|number| {
        let id = format!("row {number}");
        send(match number % 6 {
            4 => format!("[{},{{}}]", row(&id)),
            5 => "{".to_owned(),
            // A version that is registered when it is seen.
            3 => row(&id).to_string().replace("v1", &format!("v{number}")),
            _ => row(&id).to_string(),
        })
    });
    for (number, answer) in join_all(sending).await.iter().enumerate() {
        match number % 6 {
            4 => {
                let receipt = receipt(answer);
                assert_eq!(
                    (&receipt["kept"], &receipt["rejected"]),
                    (&json!(1), &json!(1))
                );
                assert_eq!(receipt["rejects"][0]["line"], 2);
            }
            5 => {
                let told = answer.problem(422);
                assert!(told.contains("byte 0"), "{told}");
            }
            _ => {
                let receipt = receipt(answer);
                assert_eq!(
                    (&receipt["kept"], &receipt["rejected"]),
                    (&json!(1), &json!(0))
                );
            }
        }
    }
    let accepted =
        "SELECT COALESCE(SUM(rows), 0)::bigint FROM intake_counts WHERE outcome = 'accepted'";
    served.until(accepted, 51).await;

    // Something changes: nothing is lost and nothing is counted twice.
    sqlx::query("UPDATE projects SET generation = generation + 1")
        .execute(&served.pool)
        .await
        .expect("changed");
    let sending = (0..10).map(|number| send(row(&format!("later {number}")).to_string()));
    join_all(sending)
        .await
        .iter()
        .for_each(|answer| drop(receipt(answer)));
    served.until(accepted, 61).await;

    let (project, token): (uuid::Uuid, uuid::Uuid) =
        sqlx::query_as("SELECT project_id, token_id FROM tokens")
            .fetch_one(&served.pool)
            .await
            .expect("the token");
    let of = (ProjectId(project), TokenId(token));
    revoke_token(&served.pool, SystemClock.now(), of.0, of.1, "tests")
        .await
        .expect("revoked");
    // From the next request on, and without a word about what was sent.
    for body in [
        row("too late").to_string(),
        "{".to_owned(),
        "[{}]".to_owned(),
    ] {
        assert_eq!(send(body).await.status, 401);
    }
    served.until(accepted, 61).await;
}
