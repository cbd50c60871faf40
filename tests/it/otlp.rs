//! OpenTelemetry as exporters meet the service: over HTTP and gRPC on its one port, what is answered to what goes
//! wrong, and what becomes of what goes right, up to the chart. What real clients do is tried by
//! `make test-integrations`; what they sent is kept in `tests/data/plug-in`.

use std::io::Write;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bellwether::domain::clock::{Clock, SystemClock};
use bellwether::formats::otlp::{Encoding, Signal};
use bellwether::services::ingest::{self, Export, Exported};
use bellwether::services::telemetry as readings;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::telemetry;
use chrono::TimeDelta;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::TestApp;
use crate::proxy::Proxy;
use crate::served::{Answer, IMPATIENT, Served};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const LOGS: &[u8] = include_bytes!("../data/plug-in/otlp-logs.bin");
const TRACES: &[u8] = include_bytes!("../data/plug-in/otlp-traces.bin");
const METRICS: &[u8] = include_bytes!("../data/plug-in/otlp-metrics.bin");
const BENTOML: &[u8] = include_bytes!("../data/plug-in/bentoml.bin");
/// An hour after the requests above were recorded.
const RECORDED: &str = "2026-11-21T23:40:00Z";

const MODELS: &str = r"
models:
  - name: fares
    task: regression
    baselines: {}
  - name: churn
    task: binary
    positive_class: true
";

async fn app(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, RECORDED).await;
    app.apply(MODELS).await;
    app.version("fares", "v1").await;
    app.version("churn", "v1").await;
    app
}

async fn export(app: &TestApp, signal: Signal, body: &'static [u8]) -> Exported {
    let export = Export {
        project_id: app.project,
        generation: None,
        signal,
        encoding: Encoding::Protobuf,
        body: Bytes::from_static(body),
    };
    ingest::otlp(&app.services, export).await.expect("taken")
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_real_clients_sent_becomes_predictions_labels_and_charts_once(pool: PgPool) {
    let app = app(pool).await;
    // At least once is what exporters promise.
    for round in 0..2 {
        let logs = export(&app, Signal::Logs, LOGS).await;
        assert_eq!(
            (logs.received, logs.refused, logs.told.as_str()),
            (7, 0, "")
        );
        let traces = export(&app, Signal::Traces, TRACES).await;
        assert_eq!((traces.received, traces.refused), (9, 0));
        let metrics = export(&app, Signal::Metrics, METRICS).await;
        assert_eq!((metrics.received, metrics.refused), (4, 0));
        let bento = export(&app, Signal::Logs, BENTOML).await;
        assert_eq!((bento.received, bento.refused), (3, 0));
        app.settle().await;
        let duplicate = app
            .count("fares", BatchKind::Predictions, "duplicate")
            .await;
        assert_eq!(duplicate, 6 * round);
        let accepted = app.count("fares", BatchKind::Predictions, "accepted").await;
        assert_eq!(accepted, 6);
    }
    assert_eq!(app.count("fares", BatchKind::Labels, "accepted").await, 3);
    assert_eq!(
        app.count("churn", BatchKind::Predictions, "accepted").await,
        3
    );
    assert_eq!(app.number("SELECT COUNT(*) FROM outcomes").await, 3);
    app.assert_conserved("fares").await;
    app.assert_conserved("churn").await;

    let model = app.model("fares").await;
    let now = app.clock.now();
    let mut conn = app.conn().await;
    let range = (now - TimeDelta::hours(2), now);
    let read = readings::read(&mut conn, model.model_id, None, range).await;
    let mut told: Vec<(&str, f64)> = (read.expect("reads").into_iter())
        .flat_map(|(info, read)| {
            let points = read.points.into_iter();
            points.map(|point| (info.name.as_str(), (point.value * 1e6).round() / 1e6))
        })
        .collect();
    told.retain(|(name, _)| *name != "traced_call_duration");
    assert_eq!(
        told,
        [
            ("cpu_utilization", 0.25),
            // 0, 10 and 20 ms.
            ("request_duration", 0.01),
            // Three requests in a step of a minute.
            ("requests", 0.05),
            ("traced_call_failures", 0.0),
            ("traced_input_tokens", 1.5),
            ("traced_output_tokens", 0.6),
        ]
    );
    let page = app.reader().await.page("/models/fares").await;
    for title in [
        "Processor utilisation",
        "Duration of requests",
        "In service",
    ] {
        assert!(page.contains(title), "{title}");
    }
    let unused = telemetry::unused(&mut conn, app.project)
        .await
        .expect("reads");
    let mut unused: Vec<(&str, &str, &str, i64)> = (unused.iter())
        .map(|of| (&*of.signal, &*of.reason, &*of.name, of.count))
        .collect();
    unused.sort_unstable();
    assert_eq!(
        unused,
        [
            ("logs", "no_prediction", "shop.opened", 2),
            ("metrics", "unknown_metric", "shop.visits", 2),
            ("traces", "no_prediction", "shop", 6),
        ]
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn names_a_model_is_served_under_are_its_own_from_the_moment_its_file_says_so(pool: PgPool) {
    let app = TestApp::start(pool, RECORDED).await;
    let unknown = export(&app, Signal::Logs, LOGS).await;
    assert_eq!((unknown.received, unknown.refused), (7, 6));
    assert!(
        unknown
            .told
            .contains("model \"fares\", which does not exist"),
        "{}",
        unknown.told
    );
    let called = |names: &str| format!("models:\n  - name: flights\n    task: regression\n{names}");
    app.apply(&called("")).await;
    app.version("flights", "v1").await;
    assert_eq!(export(&app, Signal::Logs, LOGS).await.refused, 6);
    app.apply(&called("    serving:\n      names: [fares]\n"))
        .await;
    assert_eq!(export(&app, Signal::Logs, LOGS).await.refused, 0);
    assert_eq!(export(&app, Signal::Metrics, METRICS).await.refused, 0);
    app.settle().await;
    assert_eq!(
        app.count("flights", BatchKind::Predictions, "accepted")
            .await,
        3
    );
    assert_eq!(
        app.number("SELECT COUNT(*) FROM telemetry_samples").await,
        3
    );
    app.apply(&called("")).await;
    assert_eq!(export(&app, Signal::Logs, LOGS).await.refused, 6);
}

async fn served(pool: PgPool) -> (Served, Proxy) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let settings = [
        IMPATIENT,
        ("BELLWETHER_INTAKE_MAX_BODY_BYTES", "1048576"),
        ("BELLWETHER_INTAKE_MAX_INFLATED_BYTES", "4194304"),
        ("BELLWETHER_INTAKE_MAX_ROWS", "1000"),
    ];
    (Served::start(pool, &proxy.url(), &settings).await, proxy)
}

/// A prediction by JSON, with the number given as it stands.
pub fn prediction(id: &str, number: &str) -> String {
    let now = SystemClock.now().timestamp();
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"fares"}}}}]}},
        "scopeLogs":[{{"scope":null,"logRecords":[{{"timeUnixNano":"{now}000000000","eventName":"bellwether.prediction",
        "attributes":null,"unheardOf":[1,{{}}],"body":{{"kvlistValue":{{"values":[
        {{"key":"prediction_id","value":{{"stringValue":"{id}"}}}},{{"key":"version","value":{{"stringValue":"v1"}}}},
        {{"key":"prediction","value":{{"doubleValue":{number}}}}},
        {{"key":"x","value":{{"doubleValue":"NaN"}}}}]}}}}}}]}}]}}]}}"#
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).expect("written");
    packer.finish().expect("finished")
}

fn told(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).expect("a status in JSON");
    body["message"].as_str().expect("a message").to_owned()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn exporters_over_http_are_told_what_the_protocol_has_for_each_case(pool: PgPool) {
    let (served, proxy) = served(pool).await;
    // All is well, and JSON with every quirk is.
    let good = prediction("a", "1.5");
    let answer = served.post("/v1/logs", JSON, good.as_bytes()).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{}"),
        "{answer:?}"
    );
    assert_eq!(answer.header("content-type"), Some(JSON));
    for signal in ["logs", "traces", "metrics"] {
        let path = format!("/v1/{signal}");
        let answer = served.post(&path, PROTOBUF, b"").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, ""),
            "{answer:?}"
        );
        assert_eq!(answer.header("content-type"), Some(PROTOBUF));
        assert_eq!(served.post(&path, JSON, b"{}").await.body, "{}");
    }
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    let packed = gzip(prediction("b", "2.5").as_bytes());
    let answer = served.post_with("/v1/logs", &headers, &packed).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{}"),
        "{answer:?}"
    );

    // A part is refused.
    let answer = served
        .post("/v1/logs", JSON, prediction("c", "\"NaN\"").as_bytes())
        .await;
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(answer.status, 200);
    assert_eq!(body["partialSuccess"]["rejectedLogRecords"], json!("1"));
    let message = body["partialSuccess"]["errorMessage"]
        .as_str()
        .expect("text");
    assert!(message.contains("prediction: is NaN"), "{message}");
    // Nothing is of use, and nothing is refused.
    let answer = served.post("/v1/traces", PROTOBUF, &old_span()).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.contains("nothing of this was of use"),
        "{answer:?}"
    );

    // Wrong in ways that stay wrong.
    for (path, content_type, body, status, cause) in [
        (
            "/",
            JSON,
            &b"{}"[..],
            404,
            "/v1/logs, /v1/traces and /v1/metrics",
        ),
        ("/v1/profiles", JSON, b"{}", 404, "/v1/logs"),
        ("/v1/logs/v1/logs", JSON, b"{}", 404, "/v1/logs"),
        (
            "/v1/logs",
            "text/plain",
            b"{}",
            415,
            "application/x-protobuf",
        ),
        ("/v1/logs", JSON, b"[1]", 400, "JSON object"),
        ("/v1/logs", JSON, b"\xff", 400, "not UTF-8"),
    ] {
        let answer = served.post(path, content_type, body).await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(told(&answer).contains(cause), "{answer:?}");
    }
    let answer = served.post("/v1/logs", PROTOBUF, b"\x0a\xff").await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.starts_with('\u{12}'),
        "a status in protobuf: {answer:?}"
    );
    // What is not packed may be as large as what unpacks, and no larger.
    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(served.post("/v1/logs", JSON, &large).await.status, 413);
    let bomb = gzip(&vec![b' '; (4 << 20) + 1]);
    let answer = served.post_with("/v1/logs", &headers, &bomb).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    let damaged = served.post_with("/v1/logs", &headers, b"no gzip").await;
    assert_eq!(damaged.status, 400, "{damaged:?}");
    let many = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}{{}}]}}]}}]}}"#,
        "{},".repeat(1_000)
    );
    assert!(told(&served.post("/v1/logs", JSON, many.as_bytes()).await).contains("1000 rows"));
    // What is tiny as sent and would be large as structs costs nothing worth mentioning.
    let before = served.most_resident();
    for path in ["/v1/logs", "/v1/traces", "/v1/metrics"] {
        for unit in [
            &b"\x0a\x00"[..],
            b"\x0a\x02\x12\x00",
            b"\x0a\x04\x12\x02\x12\x00",
        ] {
            let body = unit.repeat((1 << 20) / unit.len());
            let answer = served.post(path, PROTOBUF, &body).await;
            assert!(matches!(answer.status, 200 | 400), "{answer:?}");
        }
        let nulls = format!(r#"{{"resourceLogs":[{}null]}}"#, "null,".repeat(200_000));
        assert_eq!(served.post(path, JSON, nulls.as_bytes()).await.status, 200);
    }
    let grown = served.most_resident() - before;
    assert!(grown < 40, "{grown} MiB more for bodies of 1 MiB");
    let anonymous = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {JSON}\r\ncontent-length: 2\r\n\r\n{{}}",
        served.address
    );
    let answer = served.raw(&[anonymous.as_bytes()]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));

    // The database is away: the exporter is to come back, and then all is taken.
    proxy.stall();
    let answer = served
        .post("/v1/logs", JSON, prediction("d", "3").as_bytes())
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert!(!told(&answer).is_empty());
    proxy.heal();
    let mut answer = served
        .post("/v1/logs", JSON, prediction("d", "3").as_bytes())
        .await;
    while answer.was_shed() {
        answer = served
            .post("/v1/logs", JSON, prediction("d", "3").as_bytes())
            .await;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    served
        .until("SELECT COUNT(*) FROM prediction_keys", 3)
        .await;
}

/// What the protocol has for the largest body.
const LARGEST: usize = 64 << 20;

/// A prediction in protobuf, in a request of so many bytes: a field that nobody knows fills it up. It packs to some hundredth.
fn export_of(id: &str, bytes: usize) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use prost::Message;

    let pair = |key: &str, value: Value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let record = LogRecord {
        time_unix_nano: SystemClock
            .now()
            .timestamp_nanos_opt()
            .expect("near")
            .unsigned_abs(),
        event_name: "bellwether.prediction".to_owned(),
        attributes: vec![
            pair("bellwether.model", Value::StringValue("fares".to_owned())),
            pair("bellwether.version", Value::StringValue("v1".to_owned())),
            pair(
                "bellwether.prediction_id",
                Value::StringValue(id.to_owned()),
            ),
            pair("bellwether.prediction", Value::DoubleValue(1.5)),
        ],
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs {
        log_records: vec![record],
        ..ScopeLogs::default()
    }];
    let resource_logs = vec![ResourceLogs {
        scope_logs,
        ..ResourceLogs::default()
    }];
    let mut body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    // Field 100, of bytes; its key and its length take two and four bytes.
    let filling = bytes - body.len() - 6;
    body.extend([0xa2, 0x06]);
    let mut length = filling;
    for _ in 0..3 {
        body.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
    let start = body.len();
    body.resize(bytes, 0);
    for part in body[start..].chunks_mut(8 << 10) {
        for place in part.chunks_mut(16).take(8) {
            let number = uuid::Uuid::new_v4();
            place.copy_from_slice(&number.as_bytes()[..place.len()]);
        }
    }
    body
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_body_of_64_mebibytes_is_taken_and_a_byte_more_is_refused_for_good(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    // As it is set when nobody sets anything.
    let served = Served::start(pool, &proxy.url(), &[]).await;
    let version = json!({"version": "v1"}).to_string();
    served
        .post("/api/v1/models/fares/versions", JSON, version.as_bytes())
        .await;
    let gzipped = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    let bearer = format!("Bearer {}", served.token);
    let token = ("authorization", bearer.as_str());
    let packed = ("grpc-encoding", "gzip");
    for (more, taken) in [(0, true), (1, false)] {
        let bytes = LARGEST + more;
        let plain = export_of(&format!("http-{taken}"), bytes);
        let answer = served.post("/v1/logs", PROTOBUF, &plain).await;
        assert_eq!(
            answer.status,
            if taken { 200 } else { 413 },
            "{}",
            answer.head
        );
        // What is too large always will be.
        assert_eq!(answer.header("retry-after"), None);
        let body = gzip(&export_of(&format!("gzip-{taken}"), bytes));
        let answer = served.post_with("/v1/logs", &gzipped, &body).await;
        assert_eq!(answer.status, if taken { 200 } else { 413 }, "{answer:?}");
        assert_eq!(answer.body.is_empty(), taken, "{answer:?}");
        let mut json = prediction(&format!("json-{taken}"), "1.5").into_bytes();
        json.resize(bytes, b' ');
        let answer = served.post("/v1/logs", JSON, &json).await;
        assert_eq!(answer.status, if taken { 200 } else { 413 }, "{answer:?}");

        for (headers, flag) in [(&[token][..], 0), (&[token, packed], 1)] {
            let message = export_of(&format!("grpc-{flag}-{taken}"), bytes);
            let message = if flag == 1 { gzip(&message) } else { message };
            let called = call(&served, LOGS_METHOD, headers, frame(flag, &message)).await;
            assert_eq!(called.code, if taken { 0 } else { 8 }, "{called:?}");
            assert!(!tells_when_to_retry(&called), "{called:?}");
        }
    }
    let count = "SELECT COUNT(*) FROM predictions WHERE prediction_id LIKE '%-true'";
    served.until(count, 5).await;
    served
        .until("SELECT COUNT(*) FROM prediction_keys", 5)
        .await;
}

/// A request with a span that is of no use, a month after which nobody asks.
fn old_span() -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    let spans = vec![Span::default()];
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = vec![ResourceSpans {
        scope_spans,
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

const LOGS_METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// What a call was answered.
#[derive(Debug)]
struct Called {
    code: u8,
    message: String,
    details: Vec<u8>,
    response: Vec<u8>,
}

async fn call(served: &Served, path: &str, headers: &[(&str, &str)], frame: Vec<u8>) -> Called {
    // As clients of gRPC do: otherwise the end of every window waits for an acknowledgement that is delayed.
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build::<_, Full<Bytes>>(connector);
    let mut request = axum::http::Request::post(format!("http://{}{path}", served.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(frame.into())).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a body");
    let ends = body.trailers().cloned().unwrap_or(head.headers);
    let text = |name: &str| ends.get(name).map(|v| v.to_str().expect("text").to_owned());
    Called {
        code: text("grpc-status")
            .expect("a status")
            .parse()
            .expect("a number"),
        message: text("grpc-message").unwrap_or_default(),
        details: (text("grpc-status-details-bin"))
            .map(|text| STANDARD_NO_PAD.decode(text).expect("base64"))
            .unwrap_or_default(),
        response: body.to_bytes().to_vec(),
    }
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[flag], &length[..], message].concat()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn exporters_over_grpc_are_told_the_same_in_its_codes(pool: PgPool) {
    let (served, proxy) = served(pool).await;
    let bearer = format!("Bearer {}", served.token);
    let token = ("authorization", bearer.as_str());
    let packed = ("grpc-encoding", "gzip");
    let span = old_span();
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    let taken = call(&served, LOGS_METHOD, &[token], frame(0, b"")).await;
    assert_eq!(
        (taken.code, &taken.response[..]),
        (0, &[0, 0, 0, 0, 0][..]),
        "{taken:?}"
    );
    let taken = call(&served, traces, &[token, packed], frame(1, &gzip(&span))).await;
    assert_eq!(taken.code, 0, "{taken:?}");
    let response = String::from_utf8_lossy(&taken.response).into_owned();
    assert!(
        response.contains("nothing of this was of use"),
        "{response}"
    );

    let bomb = gzip(&vec![0; (4 << 20) + 1]);
    for (headers, frame, code, retried) in [
        (&[][..], frame(0, b""), 16, false),
        (
            &[("authorization", "Bearer wrong")],
            frame(0, b""),
            16,
            false,
        ),
        (&[token], frame(0, b"\x0a\xff"), 3, false),
        (&[token], frame(2, b""), 3, false),
        (&[token], vec![0], 3, false),
        (
            &[token, ("grpc-encoding", "snappy")],
            frame(1, b"x"),
            12,
            false,
        ),
        (&[token, packed], frame(1, &bomb), 8, false),
        (&[token], frame(0, &vec![0; (4 << 20) + 1]), 8, false),
    ] {
        let refused = call(&served, LOGS_METHOD, headers, frame).await;
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(!refused.message.is_empty());
        assert_eq!(tells_when_to_retry(&refused), retried, "{refused:?}");
    }
    let unknown = "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export";
    assert_eq!(
        call(&served, unknown, &[token], frame(0, b"")).await.code,
        12
    );

    proxy.stall();
    let away = call(&served, traces, &[token], frame(0, &span)).await;
    assert_eq!(away.code, 14, "{away:?}");
    assert!(tells_when_to_retry(&away));
    proxy.heal();
}

fn tells_when_to_retry(called: &Called) -> bool {
    let says = b"type.googleapis.com/google.rpc.RetryInfo";
    called.details.windows(says.len()).any(|part| part == says)
}
