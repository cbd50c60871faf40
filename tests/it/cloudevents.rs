//! Events of serving platforms, from the address to predictions: in every mode, out of order, missing, sent twice,
//! and with a token that nobody must ever read in a log.

use bellwether::domain::clock::{Clock, SystemClock};
use bellwether::domain::ids::{ProjectId, TokenId};
use bellwether::domain::inference::{Content, Half, InferenceEvent};
use bellwether::formats::cloudevents::{Envelope, EventKind};
use bellwether::services::access::revoke_token;
use bellwether::services::ingest::{self, EventUpload, Taken};
use bellwether::services::orphans;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::{inferences, telemetry};
use serde_json::Value;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::proxy::Proxy;
use crate::served::Served;

const MODEL: &str = r"
models:
  - name: fares
    task: regression
    serving:
      names: [fares-predictor]
      inputs: [carrier, distance]
";
const REQUEST: &str = r#"{"instances":[["UA",1400]]}"#;
const RESPONSE: &str = r#"{"predictions":[212.5]}"#;

/// A request to "fares" as an event.
pub fn request(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","type":"org.kubeflow.serving.inference.request",
            "inferenceservicename":"fares","data":{REQUEST}}}"#
    )
}

fn event(pair: &str, half: Half, time: &str, data: &str) -> Envelope {
    let micros = at(time).timestamp_micros();
    let event = InferenceEvent {
        pair: pair.to_owned(),
        half,
        content: Content {
            at: Some(micros),
            received_at: micros,
            version: None,
            data: data.as_bytes().to_vec(),
        },
    };
    Envelope {
        model: Some("fares-predictor".to_owned()),
        kind: EventKind::Inference(event),
    }
}

async fn send(app: &TestApp, events: Vec<Envelope>) -> u64 {
    let upload = EventUpload {
        project_id: app.project,
        generation: None,
        model: None,
        version: None,
        events,
        presumed: false,
    };
    match ingest::events(&app.services, upload).await.expect("taken") {
        Taken::Landed(landed) => landed,
        Taken::Unsure => panic!("nothing was presumed"),
    }
}

async fn app(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-03-01T10:00:00Z").await;
    app.apply(MODEL).await;
    app.version("fares", "v1").await;
    app
}

/// `accepted`, `duplicate` and `expired` of events, and accepted predictions.
async fn counts(app: &TestApp) -> [i64; 4] {
    [
        app.count("fares", BatchKind::Events, "accepted").await,
        app.count("fares", BatchKind::Events, "duplicate").await,
        app.count("fares", BatchKind::Events, "expired").await,
        app.count("fares", BatchKind::Predictions, "accepted").await,
    ]
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn halves_are_joined_in_any_order_and_counted_once_however_often_they_come(pool: PgPool) {
    let app = app(pool).await;
    let now = "2026-03-01T10:00:00Z";
    let request = |pair| event(pair, Half::Request, now, REQUEST);
    let response = |pair| event(pair, Half::Response, "2026-03-01T10:00:00.025Z", RESPONSE);
    // In order and in one batch; the other way round and in two; one after it was joined.
    assert_eq!(
        send(&app, vec![request("a"), response("a"), response("b")]).await,
        3
    );
    app.settle().await;
    assert_eq!(counts(&app).await, [3, 0, 0, 1]);
    send(&app, vec![request("b")]).await;
    app.settle().await;
    assert_eq!(counts(&app).await, [4, 0, 0, 2]);
    send(
        &app,
        vec![
            request("a"),
            response("b"),
            request("b"),
            request("c"),
            request("c"),
        ],
    )
    .await;
    app.settle().await;
    assert_eq!(counts(&app).await, [5, 4, 0, 2]);
    let model = app.model("fares").await;
    let waiting = inferences::waiting(&mut *app.conn().await, model.model_id).await;
    assert_eq!(waiting.expect("a count"), 1);
    app.assert_conserved("fares").await;

    let stored: (String, f64, f64, f64) = sqlx::query_as(
        "SELECT p.prediction_id, p.value, p.latency_ms, f.number
         FROM predictions p JOIN feature_values f USING (model_version_id, day, chunk, position)
         WHERE f.feature = 'distance' ORDER BY p.prediction_id LIMIT 1",
    )
    .fetch_one(&app.services.pool)
    .await
    .expect("a prediction");
    assert_eq!(stored, ("a".to_owned(), 212.5, 25.0, 1400.0));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_half_whose_other_half_never_comes_is_given_up_and_counted(pool: PgPool) {
    let app = app(pool).await;
    let of = |pair, half| event(pair, half, "2026-03-01T10:00:00Z", REQUEST);
    send(&app, vec![of("a", Half::Request), of("b", Half::Response)]).await;
    app.settle().await;
    app.clock.advance_to(at("2026-03-01T10:59:00Z"));
    let now = at("2026-03-01T10:59:00Z");
    assert!(!orphans::activate(&app.services, now).await.expect("looks"));
    let later = at("2026-03-01T11:00:01Z");
    assert!(
        orphans::activate(&app.services, later)
            .await
            .expect("gives up")
    );
    assert_eq!(counts(&app).await, [2, 0, 2, 0]);
    assert_eq!(app.number("SELECT COUNT(*) FROM inference_halves").await, 0);
    app.assert_conserved("fares").await;
    // A restart of nothing is nothing: it comes too late to be joined, and waits anew.
    send(&app, vec![of("a", Half::Response)]).await;
    app.settle().await;
    assert_eq!(counts(&app).await, [3, 0, 2, 0]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_damaged_half_costs_nobody_else_and_may_be_sent_again(pool: PgPool) {
    let app = app(pool).await;
    let now = "2026-03-01T10:00:00Z";
    let request = |pair| event(pair, Half::Request, now, REQUEST);
    let response = |pair| event(pair, Half::Response, now, RESPONSE);
    send(&app, vec![request("a"), request("b")]).await;
    app.settle().await;
    sqlx::query("UPDATE inference_halves SET body = set_byte(body, 20, get_byte(body, 20) # 16) WHERE pair = 'a'")
        .execute(&app.services.pool)
        .await
        .expect("is damaged");
    send(&app, vec![response("a"), response("b")]).await;
    app.settle().await;
    assert_eq!(counts(&app).await, [4, 0, 1, 1]);
    send(&app, vec![request("a"), response("a")]).await;
    app.settle().await;
    assert_eq!(counts(&app).await, [5, 1, 1, 2]);
    app.assert_conserved("fares").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_cannot_be_read_is_a_refused_row_and_holds_up_nothing(pool: PgPool) {
    let app = app(pool).await;
    let now = "2026-03-01T10:00:00Z";
    let pair = |name: &str, request: &str, response: &str| {
        vec![
            event(name, Half::Request, now, request),
            event(name, Half::Response, now, response),
        ]
    };
    let unknown_version = r#"{"model_version":"v9","outputs":[{"name":"o","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    let tensor = r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
    let all = [
        pair("good", REQUEST, RESPONSE),
        pair("binary", "\u{0}\u{1}", RESPONSE),
        pair("short", REQUEST, r#"{"predictions":[]}"#),
        pair("version", tensor, unknown_version),
    ];
    send(&app, all.concat()).await;
    app.settle().await;
    assert_eq!(counts(&app).await, [8, 0, 0, 1]);
    let refused: Vec<(String, String)> =
        sqlx::query_as("SELECT field, reason FROM rejected_rows ORDER BY line")
            .fetch_all(&app.services.pool)
            .await
            .expect("rows");
    let refused: Vec<(&str, &str)> = refused.iter().map(|(f, r)| (&**f, &**r)).collect();
    assert_eq!(
        refused,
        [
            ("request", "malformed"),
            ("response", "wrong_type"),
            ("version", "unknown_version")
        ]
    );
    app.assert_conserved("fares").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn events_of_other_types_and_models_are_counted_by_name(pool: PgPool) {
    let app = app(pool).await;
    let other = Envelope {
        model: None,
        kind: EventKind::Other("io.seldon.serving.feedback".to_owned()),
    };
    assert_eq!(send(&app, vec![other.clone(), other]).await, 0);
    let mut stray = event("a", Half::Request, "2026-03-01T10:00:00Z", REQUEST);
    stray.model = Some("unheard-of".to_owned());
    let upload = EventUpload {
        project_id: app.project,
        generation: None,
        model: None,
        version: None,
        events: vec![stray],
        presumed: false,
    };
    let refused = ingest::events(&app.services, upload).await;
    assert!(matches!(
        refused,
        Err(bellwether::services::Error::NotFound { .. })
    ));
    let unused = telemetry::unused(&mut *app.conn().await, app.project).await;
    let mut unused: Vec<_> = (unused.expect("reads").into_iter())
        .map(|of| (of.reason, of.name, of.count))
        .collect();
    unused.sort();
    assert_eq!(
        unused,
        [
            (
                "no_prediction".to_owned(),
                "io.seldon.serving.feedback".to_owned(),
                2
            ),
            ("unknown_model".to_owned(), "unheard-of".to_owned(), 1)
        ]
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_event_of_a_batch_that_is_wrong_costs_itself_alone(pool: PgPool) {
    let app = app(pool).await;
    let of = |model: Option<&str>| Envelope {
        model: model.map(str::to_owned),
        ..event("b", Half::Request, "2026-03-01T10:00:00Z", REQUEST)
    };
    let damaged = Envelope {
        model: None,
        kind: EventKind::Damaged,
    };
    let landed = send(
        &app,
        vec![
            event("a", Half::Request, "2026-03-01T10:00:00Z", REQUEST),
            of(Some("unheard-of")),
            damaged,
            of(None),
            event("a", Half::Response, "2026-03-01T10:00:01Z", RESPONSE),
        ],
    )
    .await;
    app.settle().await;
    assert_eq!((landed, counts(&app).await), (2, [2, 0, 0, 1]));
    let unused = telemetry::unused(&mut *app.conn().await, app.project).await;
    let mut unused: Vec<_> = (unused.expect("reads").into_iter())
        .map(|of| (of.reason, of.name, of.count))
        .collect();
    unused.sort();
    let told = [
        ("malformed", ""),
        ("unknown_model", ""),
        ("unknown_model", "unheard-of"),
    ];
    assert_eq!(
        unused,
        told.map(|(reason, name)| (reason.to_owned(), name.to_owned(), 1))
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_is_presumed_of_senders_and_models_counts_no_longer_than_it_holds(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let served = Served::start(pool, &proxy.url(), &[]).await;
    let path = "/api/v1/cloudevents?version=v1";
    let send = async |id: &str| {
        let answer = served
            .post(path, "application/cloudevents+json", request(id).as_bytes())
            .await;
        answer.status
    };
    let landed = "SELECT COALESCE(SUM(rows), 0)::bigint FROM intake_counts WHERE kind = 'events' AND outcome = 'received'";
    // The first is asked about, the others are presumed.
    for (count, id) in (1..).zip(["a", "b", "c"]) {
        assert_eq!(send(id).await, 200);
        served.until(landed, count).await;
    }
    // Something changes: nothing is lost and nothing is counted twice.
    sqlx::query("UPDATE projects SET generation = generation + 1")
        .execute(&served.pool)
        .await
        .expect("changed");
    for (count, id) in (4..).zip(["d", "e"]) {
        assert_eq!(send(id).await, 200);
        served.until(landed, count).await;
    }
    // A body that cannot be read is told with a good token.
    let broken = served
        .post(path, "application/cloudevents+json", b"{}")
        .await;
    assert_eq!(broken.status, 400, "{broken:?}");
    let token: (uuid::Uuid, uuid::Uuid) = sqlx::query_as("SELECT project_id, token_id FROM tokens")
        .fetch_one(&served.pool)
        .await
        .expect("the token");
    let of = (ProjectId(token.0), TokenId(token.1));
    revoke_token(&served.pool, SystemClock.now(), of.0, of.1, "tests")
        .await
        .expect("revoked");
    // From the next request on, and without a word about what was sent.
    assert_eq!(send("f").await, 401);
    let broken = served
        .post(path, "application/cloudevents+json", b"{}")
        .await;
    assert_eq!(broken.status, 401, "{broken:?}");
    served.until(landed, 5).await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn every_mode_is_taken_and_the_token_is_in_no_log(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let settings = [("BELLWETHER_TELEMETRY_LOG_FILTER", "trace")];
    let served = Served::start(pool, &proxy.url(), &settings).await;
    let token = served.token.clone();
    let path = format!("/api/v1/cloudevents/{token}?version=v1");
    let by_query = format!("/api/v1/cloudevents?version=v1&access_token={token}");
    // Without the header that `post` adds: KServe's logger can send none.
    let post = async |path: &str, headers: &[(&str, &str)], body: &str| {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            served.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        served
            .raw(&[head.as_bytes(), b"\r\n", body.as_bytes()])
            .await
    };
    let binary = |half: &'static str| {
        [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "one"),
            ("ce-type", half),
            ("ce-inferenceservicename", "fares"),
        ]
    };
    let request = r#"{"instances":[{"carrier":"UA","distance":1400}]}"#;
    let answer = post(
        &path,
        &binary("org.kubeflow.serving.inference.request"),
        request,
    )
    .await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, ""),
        "{answer:?}"
    );
    let answer = post(
        &by_query,
        &binary("org.kubeflow.serving.inference.response"),
        RESPONSE,
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let document = |half: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"two","type":"org.kubeflow.serving.inference.{half}",
                "inferenceservicename":"fares","data":{}}}"#,
            if half == "request" { request } else { RESPONSE }
        )
    };
    let structured = [(
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    )];
    let answer = post(&path, &structured, &document("response")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let answer = post(&path, &batch, &format!("[{}]", document("request"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    served
        .until("SELECT COALESCE(SUM(accepted_rows), 0)::bigint FROM landed_batches WHERE kind = 'predictions'", 2)
        .await;

    // What is wrong is said, and still the address is not.
    let wrong = post("/api/v1/cloudevents/bw_wrong_token", &structured, "{}").await;
    wrong.problem(401);
    let wrong = post("/api/v1/cloudevents", &structured, "{}").await;
    wrong.problem(401);
    let wrong = post(&path, &structured, "{}").await;
    assert!(wrong.problem(400).contains("specversion"), "{wrong:?}");
    let wrong = post(
        &path,
        &binary("org.kubeflow.serving.inference.request")[..4],
        "{}",
    )
    .await;
    assert!(
        wrong.problem(422).contains("inferenceservicename"),
        "{wrong:?}"
    );
    post(&format!("/api/v1/cloudevent/{token}"), &structured, "{}")
        .await
        .problem(404);
    let asked = format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nwebhook-request-origin: eventgrid\r\n\r\n",
        served.address
    );
    let agreed = served.raw(&[asked.as_bytes()]).await;
    assert_eq!(agreed.status, 200, "{agreed:?}");
    assert_eq!(agreed.header("webhook-allowed-origin"), Some("eventgrid"));
    assert_eq!(agreed.header("webhook-allowed-rate"), Some("*"));

    let said = served.said();
    assert!(
        said.contains("http.request"),
        "requests are logged at this level"
    );
    assert!(!said.contains(&token), "the token is in the log");
    assert!(
        !said.contains("bw_wrong_token"),
        "a wrong token is in the log"
    );
    let metrics: Value = Value::String(served.get("/metrics").await.body);
    assert!(!metrics.to_string().contains(&token));
}
