mod points;
mod properties;
mod spans;

use super::*;

use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::domain::batch::LabelValue;
use crate::domain::columns::Value as Cell;
use crate::domain::mapping::ColumnMap;
use crate::domain::model::Task;
use crate::domain::telemetry::{Counting, Reading};

/// 2026-03-01 10:00:00 UTC.
const NOW: i64 = 1_772_359_200;
const NANOS: u64 = NOW as u64 * 1_000_000_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a valid instant")
}

fn expectations(task: Task) -> Expectations<'static> {
    Expectations {
        task,
        default_version: Some("v1"),
        earliest: now() - chrono::TimeDelta::days(30),
        latest: now() + chrono::TimeDelta::days(1),
        received_at: now(),
        columns: no_columns(),
        limits: Limits::default(),
    }
}

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::StringValue(text.to_owned())),
    })
}

fn double(number: f64) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::DoubleValue(number)),
    })
}

fn int(number: i64) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::IntValue(number)),
    })
}

fn map(entries: &[(&str, Option<AnyValue>)]) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::KvlistValue(KeyValueList {
            values: pairs(entries),
        })),
    })
}

fn pairs(entries: &[(&str, Option<AnyValue>)]) -> Vec<KeyValue> {
    entries
        .iter()
        .map(|(key, value)| KeyValue {
            key: (*key).to_owned(),
            value: value.clone(),
            ..KeyValue::default()
        })
        .collect()
}

fn resource(entries: &[(&str, &str)]) -> Option<Resource> {
    let entries: Vec<_> = entries.iter().map(|(k, v)| (*k, text(v))).collect();
    Some(Resource {
        attributes: pairs(&entries),
        ..Resource::default()
    })
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: name.to_owned(),
        ..InstrumentationScope::default()
    })
}

fn logs(of: &[(&str, &str)], library: &str, records: Vec<LogRecord>) -> Vec<u8> {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(of),
            scope_logs: vec![ScopeLogs {
                scope: scope(library),
                log_records: records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec()
}

fn event(name: &str, attributes: &[(&str, Option<AnyValue>)]) -> LogRecord {
    LogRecord {
        time_unix_nano: NANOS,
        event_name: name.to_owned(),
        attributes: pairs(attributes),
        ..LogRecord::default()
    }
}

fn read(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
    task: Task,
) -> (Sorted, Vec<Option<Batch>>) {
    let sorted = sort(signal, encoding, body, &Limits::default()).expect("sorted");
    let expect = vec![Some(expectations(task)); sorted.destinations.len()];
    let batches = decode(signal, encoding, body, &sorted, &expect).expect("decoded");
    (sorted, batches)
}

fn predictions(batch: &Option<Batch>) -> &Decoded<PredictionBatch> {
    match batch {
        Some(Batch::Predictions(decoded)) => decoded,
        other => panic!("no predictions: {other:?}"),
    }
}

fn labels(batch: &Option<Batch>) -> &Decoded<LabelBatch> {
    match batch {
        Some(Batch::Labels(decoded)) => decoded,
        other => panic!("no labels: {other:?}"),
    }
}

fn cell<'b>(batch: &'b PredictionBatch, feature: &str, row: usize) -> Cell<'b> {
    batch.feature(feature).expect("a column").get(row)
}

#[test]
fn an_event_means_the_same_by_attributes_by_body_and_in_both_encodings() {
    let by_attributes = event(
        "bellwether.prediction",
        &[
            ("bellwether.model", text("fares")),
            ("bellwether.prediction_id", text("p-1")),
            ("bellwether.prediction", double(12.5)),
            ("bellwether.version", text("v7")),
            ("bellwether.feature.distance", int(1400)),
            ("bellwether.feature.carrier", text("UA")),
            ("bellwether.segment.route", text("EWR-IAH")),
            ("bellwether.latency_ms", double(3.5)),
            ("code.function.name", text("predict")),
        ],
    );
    let mut by_body = event("bellwether.prediction", &[]);
    by_body.body = map(&[
        ("prediction_id", text("p-1")),
        ("prediction", double(12.5)),
        ("version", text("v7")),
        (
            "features",
            map(&[("distance", int(1400)), ("carrier", text("UA"))]),
        ),
        ("segments", map(&[("route", text("EWR-IAH"))])),
        ("latency_ms", double(3.5)),
    ]);
    // Where SDKs without event names put them.
    let mut older = by_attributes.clone();
    older.event_name.clear();
    older
        .attributes
        .extend(pairs(&[("event.name", text("bellwether.prediction"))]));
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"fares"}}]},"scopeLogs":[{"scope":null,"logRecords":[
        {"timeUnixNano":"1772359200000000000","eventName":"bellwether.prediction","spanId":"","attributes":null,
         "severityNumber":9,"unknown":{"a":[1]},"body":{"kvlistValue":{"values":[
          {"key":"prediction_id","value":{"stringValue":"p-1"}},
          {"key":"prediction","value":{"doubleValue":12.5}},
          {"key":"version","value":{"stringValue":"v7"}},
          {"key":"features","value":{"kvlistValue":{"values":[
            {"key":"distance","value":{"intValue":"1400"}},{"key":"carrier","value":{"stringValue":"UA"}}]}}},
          {"key":"segments","value":{"kvlistValue":{"values":[
            {"key":"route","value":{"stringValue":"EWR-IAH"}}]}}},
          {"key":"latency_ms","value":{"doubleValue":"3.5"}}]}}}]}]},{"scopeLogs":null}]}"#;
    let service = [("service.name", "fares")];
    for (encoding, body) in [
        (Encoding::Protobuf, logs(&[], "", vec![by_attributes])),
        (Encoding::Protobuf, logs(&[], "", vec![older])),
        (Encoding::Protobuf, logs(&service, "", vec![by_body])),
        (Encoding::Json, json.as_bytes().to_vec()),
    ] {
        let (sorted, batches) = read(Signal::Logs, encoding, &body, Task::Regression);
        assert_eq!((sorted.received, sorted.unused.total()), (1, 0));
        assert_eq!(sorted.destinations[0].model, "fares");
        let Decoded { batch, rejects, .. } = predictions(&batches[0]);
        assert_eq!(rejects.first(), []);
        assert_eq!(batch.prediction_ids.iter().collect::<Vec<_>>(), ["p-1"]);
        assert_eq!(batch.outputs[0].value, Some(12.5));
        assert_eq!(batch.version(0), "v7");
        assert_eq!(batch.predicted_at, [now()]);
        assert_eq!(batch.latency_ms, [Some(3.5)]);
        assert_eq!(
            batch.segments[0],
            [("route".to_owned(), "EWR-IAH".to_owned())]
        );
        assert_eq!(cell(batch, "distance", 0), Cell::Integer(1400));
        assert_eq!(cell(batch, "carrier", 0), Cell::Text("UA".into()));
        assert_eq!(batch.features.len(), 2);
    }
}

#[test]
fn labels_are_events_too_and_go_to_a_batch_of_their_own() {
    let of = |name, more: &[(&str, Option<AnyValue>)]| {
        let given = [
            ("bellwether.model", text("churn")),
            ("bellwether.prediction_id", int(42)),
        ];
        event(name, &[&given[..], more].concat())
    };
    let body = logs(
        &[("bellwether.version", "v3")],
        "shop",
        vec![
            of("bellwether.label", &[("bellwether.label", text("yes"))]),
            of(
                "bellwether.prediction",
                &[("bellwether.score", double(0.8))],
            ),
            event("shop.checkout", &[]),
            LogRecord::default(),
        ],
    );
    let (sorted, batches) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Binary);
    let kinds: Vec<Kind> = sorted.destinations.iter().map(|d| d.kind).collect();
    assert_eq!(kinds, [Kind::Labels, Kind::Predictions]);
    let taken = labels(&batches[0]);
    assert_eq!(taken.batch.prediction_ids, ["42"]);
    assert_eq!(taken.batch.labels, [LabelValue::Class("yes".to_owned())]);
    assert_eq!(taken.batch.observed_at, [now()]);
    let taken = predictions(&batches[1]);
    assert_eq!(taken.batch.outputs[0].score, Some(0.8));
    assert_eq!(taken.batch.version(0), "v3");
    assert_eq!(taken.lines, [2]);
    let unused: Vec<_> = sorted.unused.0.into_iter().collect();
    assert_eq!(
        unused,
        [
            ((Unused::NoPrediction, "shop".to_owned()), 1),
            ((Unused::NoPrediction, "shop.checkout".to_owned()), 1)
        ]
    );
}

#[test]
fn one_bad_record_costs_one_record() {
    let good = [
        ("bellwether.model", text("fares")),
        ("bellwether.prediction", double(1.0)),
    ];
    let with = |name, value| {
        event(
            "bellwether.prediction",
            &[&good[..], &[(name, value)]].concat(),
        )
    };
    let body = logs(
        &[],
        "",
        vec![
            with("bellwether.prediction_id", text("a")),
            with("bellwether.latency", double(3.0)),
            with("bellwether.feature.x", map(&[])),
            with("bellwether.score", double(0.5)),
            event("bellwether.prediction", &good[..1]),
            event("bellwether.prediction", &good[1..]),
        ],
    );
    let (sorted, batches) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Regression);
    assert_eq!(sorted.received, 6);
    let unused: Vec<_> = sorted.unused.0.keys().collect();
    assert_eq!(unused, [&(Unused::UnknownModel, String::new())]);
    let Decoded { batch, rejects, .. } = predictions(&batches[0]);
    assert_eq!(batch.len(), 1);
    let told: Vec<(u64, &str)> = rejects
        .first()
        .iter()
        .map(|r| (r.line, r.field.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (2, "bellwether.latency"),
            (3, "x"),
            (4, "score"),
            (5, "prediction")
        ]
    );
}

#[test]
fn a_record_that_is_sent_again_has_the_same_id_and_another_one_has_not() {
    let of = |number| {
        event(
            "bellwether.prediction",
            &[
                ("bellwether.model", text("fares")),
                ("bellwether.prediction", double(number)),
            ],
        )
    };
    let mut seen_later = of(1.0);
    seen_later.observed_time_unix_nano = NANOS + 5;
    let body = logs(&[], "", vec![of(1.0), of(2.0), of(1.0), seen_later]);
    let (_, batches) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Regression);
    let ids: Vec<&str> = predictions(&batches[0])
        .batch
        .prediction_ids
        .iter()
        .collect();
    assert_eq!([ids[0], ids[0]], [ids[2], ids[3]]);
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].starts_with("otlp-") && ids[0].len() == 37);
}

fn ids(batch: &Option<Batch>) -> Vec<&str> {
    predictions(batch).batch.prediction_ids.iter().collect()
}

/// Of a model of a service whose resource says this much beside its name.
fn of_service(note: &str, records: usize) -> Vec<u8> {
    let record = |n: usize| {
        let number = double(n as f64);
        event(
            "bellwether.prediction",
            &[("bellwether.prediction", number)],
        )
    };
    let resource = [("service.name", "fares"), ("note", note)];
    logs(&resource, "lib", (0..records).map(record).collect())
}

#[test]
fn ids_of_records_are_those_they_always_were() {
    let (_, batches) = read(
        Signal::Logs,
        Encoding::Protobuf,
        &of_service("a", 1),
        Task::Regression,
    );
    let content = concat!(
        r#"[("service.name", Text("fares")), ("note", Text("a"))]"#,
        r#"[("bellwether.prediction", Number(0.0))]None"#
    );
    let mut hashed = NANOS.to_be_bytes().to_vec();
    hashed.extend(0_u64.to_be_bytes());
    hashed.extend(content.as_bytes());
    let digest: [u8; 32] = Sha256::digest(&hashed).into();
    let id: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(ids(&batches[0]), [format!("otlp-{id}")]);
}

#[test]
fn numbers_of_series_are_those_they_always_were() {
    let body = r#"{"resourceMetrics":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"fares"}},{"key":"host.name","value":{"stringValue":"a"}}]},
        "scopeMetrics":[{"scope":{"name":"lib"},"metrics":[{"name":"process.cpu.utilization","gauge":{"dataPoints":[
        {"timeUnixNano":"1772359200000000000","asDouble":0.5,"attributes":[
        {"key":"state","value":{"stringValue":"user"}}]}]}}]}]}]}"#;
    let (sorted, _) = read(
        Signal::Metrics,
        Encoding::Json,
        body.as_bytes(),
        Task::Regression,
    );
    let mut hashed = Vec::new();
    for part in [
        "process.cpu.utilization",
        "lib",
        r#"("host.name", Text("a"))"#,
        r#"("service.name", Text("fares"))"#,
        r#"("state", Text("user"))"#,
    ] {
        hashed.extend((part.len() as u64).to_be_bytes());
        hashed.extend(part.as_bytes());
    }
    let digest: [u8; 32] = Sha256::digest(&hashed).into();
    let number = i64::from_be_bytes(digest[..8].try_into().expect("eight"));
    assert_eq!(sorted.samples[0].sample.series, number);
}

#[test]
fn a_large_resource_is_written_out_once_and_not_for_each_record() {
    // A quotation mark, so that the text of JSON cannot be borrowed from the body.
    let note = format!("\"{}", "a".repeat(4 << 20));
    let began = std::time::Instant::now();
    let body = of_service(&note, 3_000);
    let (_, batches) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Regression);
    let of_large = ids(&batches[0]);
    assert_eq!(of_large.len(), 3_000);
    // Its content still tells, though only by a hash.
    let other = of_service(&format!("{note}b"), 2);
    let (_, batches) = read(Signal::Logs, Encoding::Protobuf, &other, Task::Regression);
    assert_ne!(of_large[1], ids(&batches[0])[1]);
    let again = of_service(&note, 2);
    let (_, batches) = read(Signal::Logs, Encoding::Protobuf, &again, Task::Regression);
    assert_eq!(of_large[..2], ids(&batches[0])[..]);

    // Said of all records, and no version.
    let note = serde_json::to_string(&note).expect("text");
    let record = r#"{"timeUnixNano":"1772359200000000000","eventName":"bellwether.prediction","attributes":[
        {"key":"bellwether.prediction_id","value":{"stringValue":"p"}}]}"#;
    let point = r#"{"timeUnixNano":"1772359200000000000","asDouble":0.5}"#;
    let points = vec![point; 3_000].join(",");
    let resource = format!(
        r#"{{"attributes":[{{"key":"service.name","value":{{"stringValue":"fares"}}}},
        {{"key":"bellwether.version","value":{{"stringValue":{note}}}}}]}}"#
    );
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
        vec![record; 3_000].join(",")
    );
    let (_, batches) = read(
        Signal::Logs,
        Encoding::Json,
        body.as_bytes(),
        Task::Regression,
    );
    let rejects = &predictions(&batches[0]).rejects;
    assert_eq!(
        (rejects.total(), &*rejects.first()[0].field),
        (3_000, "version")
    );
    let metric =
        format!(r#"{{"name":"process.cpu.utilization","gauge":{{"dataPoints":[{points}]}}}}"#);
    let body = format!(
        r#"{{"resourceMetrics":[{{"resource":{resource},"scopeMetrics":[{{"scope":{{"name":{note}}},"metrics":[{metric}]}}]}}]}}"#
    );
    let (sorted, _) = read(
        Signal::Metrics,
        Encoding::Json,
        body.as_bytes(),
        Task::Regression,
    );
    assert_eq!(sorted.samples.len(), 3_000);
    // Written out for each, these are some forty gigabytes.
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(120), "{took:?}");
}

fn bento(request: &str, with_schema: bool) -> LogRecord {
    let column = |role, kind| map(&[("role", text(role)), ("type", text(kind))]);
    let schema = map(&[
        ("age", column("feature", "numerical")),
        ("plan", column("feature", "categorical")),
        ("embedding", column("feature", "numerical_sequence")),
        ("churn", column("prediction", "numerical")),
        ("truth", column("target", "categorical")),
    ]);
    let list = Some(AnyValue {
        value: Some(Value::ArrayValue(
            opentelemetry_proto::tonic::common::v1::ArrayValue {
                values: vec![double(0.5).expect("one"), double(1.5).expect("one")],
            },
        )),
    });
    let mut columns = vec![
        ("age", int(41)),
        ("plan", text("pro")),
        ("embedding", list),
        ("churn", double(0.25)),
        ("truth", text("no")),
        ("timestamp", double(NOW as f64 + 0.5)),
        ("request_id", text(request)),
        ("trace_id", int(7)),
    ];
    let meta = [
        ("bento_name", text("shop")),
        ("bento_version", text("w2x")),
        ("monitor_name", text("churn")),
        ("schema", schema),
    ];
    if with_schema {
        columns.push(("bento_meta", map(&meta)));
    }
    LogRecord {
        time_unix_nano: NANOS,
        body: map(&columns),
        ..LogRecord::default()
    }
}

#[test]
fn records_of_bentoml_are_predictions_and_labels_as_their_schema_says() {
    // The schema is in one of them only, as with a meta_sample_rate below 1.
    let body = logs(
        &[("service.name", "shop:churn")],
        "bentoml_monitor_data",
        vec![bento("r1", false), bento("r2", true), bento("r1", false)],
    );
    let (sorted, batches) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Binary);
    assert_eq!(sorted.unused.total(), 0);
    assert_eq!(sorted.destinations.len(), 2);
    let Decoded { batch, rejects, .. } = predictions(&batches[0]);
    assert_eq!(rejects.first(), []);
    assert_eq!(batch.len(), 3);
    let ids: Vec<&str> = batch.prediction_ids.iter().collect();
    assert!(
        ids[0].starts_with("r1#") && ids[1].starts_with("r2#"),
        "{ids:?}"
    );
    assert_eq!(ids[0], ids[2]);
    assert_eq!(batch.version(0), "w2x");
    assert_eq!(batch.outputs[0].score, Some(0.25));
    assert_eq!(
        batch.predicted_at[0],
        now() + chrono::TimeDelta::milliseconds(500)
    );
    assert_eq!(cell(batch, "age", 0), Cell::Integer(41));
    assert_eq!(cell(batch, "embedding.1", 0), Cell::Number(1.5));
    assert_eq!(batch.features.len(), 4);
    let taken = labels(&batches[1]);
    assert_eq!(taken.batch.labels.len(), 3);
    assert_eq!(taken.batch.labels[0], LabelValue::Class("no".to_owned()));
}

#[test]
fn records_of_bentoml_without_any_schema_are_refused_with_what_to_do() {
    let body = logs(
        &[("service.name", "shop:churn")],
        "bentoml_monitor_data",
        vec![bento("r1", false)],
    );
    let (_, batches) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Binary);
    let rejects = &predictions(&batches[0]).rejects;
    assert!(
        rejects.first()[0].cause.contains("meta_sample_rate"),
        "{rejects:?}"
    );
}

#[test]
fn json_with_every_quirk_of_encoders_loses_nothing() {
    let body = r#"{"resourceMetrics":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"fares"}},{"key":"n","value":{}},{"key":"x"}]},
        "scopeMetrics":[{"metrics":[
          {"name":"system.cpu.utilization","gauge":{"dataPoints":[
            {"timeUnixNano":1772359200000000000,"asDouble":0.25,"attributes":[]},
            {"timeUnixNano":"1772359201000000000","asInt":"1","exemplars":null},
            {"timeUnixNano":"1772359202000000000","asDouble":"NaN"},
            {"timeUnixNano":"1772359203000000000","asDouble":"Infinity"}]}},
          {"name":"http.server.request.duration","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":"1772359200000000000","count":"2","sum":1.5,"bucketCounts":["1",1],"explicitBounds":[1]},
            {"timeUnixNano":"1772359201000000000","count":"2","sum":"Infinity","bucketCounts":null}]}}]}]}]}"#;
    let (sorted, _) = read(
        Signal::Metrics,
        Encoding::Json,
        body.as_bytes(),
        Task::Regression,
    );
    assert_eq!(sorted.received, 6);
    let readings: Vec<&Reading> = sorted.samples.iter().map(|t| &t.sample.reading).collect();
    assert_eq!(readings[..2], [&Reading::Level(0.25), &Reading::Level(1.0)]);
    assert_eq!(readings.len(), 3);
    let unused: Vec<u64> = sorted.unused.0.values().copied().collect();
    assert_eq!(unused, [1, 2]);
}

#[test]
fn what_is_no_export_request_is_refused_with_its_cause() {
    let limits = Limits {
        max_rows: 2,
        ..Limits::default()
    };
    for (encoding, body, cause) in [
        (
            Encoding::Protobuf,
            &b"\x0a\x7f"[..],
            "ends before its length",
        ),
        (Encoding::Protobuf, b"\x0b", "a kind of field"),
        (Encoding::Protobuf, b"{}", "a kind of field"),
        (Encoding::Json, b"[]", "where a JSON object belongs"),
        (Encoding::Json, b"\xff", "not UTF-8"),
        (
            Encoding::Json,
            br#"{"resourceLogs":{}}"#,
            "where a JSON list belongs",
        ),
    ] {
        let error = sort(Signal::Logs, encoding, body, &limits).expect_err("refused");
        assert!(error.to_string().contains(cause), "{error}");
    }
    let many = logs(&[], "", vec![LogRecord::default(); 3]);
    let error = sort(Signal::Logs, Encoding::Protobuf, &many, &limits).expect_err("too many");
    assert_eq!(error, FormatError::TooManyRows { limit: 2 });
    for empty in [
        (Encoding::Protobuf, &b""[..]),
        (Encoding::Json, b"{}"),
        (Encoding::Json, b"null"),
    ] {
        let sorted = sort(Signal::Logs, empty.0, empty.1, &limits).expect("nothing is something");
        assert_eq!(sorted.received, 0);
    }
}

#[test]
fn values_in_values_and_too_many_of_them_cost_their_record() {
    let mut deep = text("x");
    for _ in 0..40 {
        deep = map(&[("a", deep)]);
    }
    let many: Vec<(&str, Option<AnyValue>)> = vec![("a", None); 10_001];
    let records = vec![
        event("e", &[("a", deep)]),
        event("e", &many),
        event("e", &[]),
    ];
    let body = logs(&[], "lib", records);
    let (sorted, _) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Regression);
    let unused: Vec<_> = sorted
        .unused
        .0
        .keys()
        .map(|(reason, name)| (*reason, name.as_str()))
        .collect();
    assert_eq!(
        unused,
        [
            (Unused::NoPrediction, "e"),
            (Unused::Malformed, "more than 10000 values"),
            (Unused::Malformed, "values more than 16 deep"),
        ]
    );
}

#[test]
fn names_of_what_is_not_used_are_bounded() {
    let records = (0..1_000)
        .map(|n| event(&format!("event.{n}"), &[]))
        .collect();
    let body = logs(&[], "lib", records);
    let (sorted, _) = read(Signal::Logs, Encoding::Protobuf, &body, Task::Regression);
    assert_eq!(sorted.unused.total(), 1_000);
    assert_eq!(sorted.unused.0.len(), MOST_NAMES + 1);
}

/// What real clients sent, as `tests/integrations/clients.py` made them send it.
#[test]
fn what_the_python_sdk_sends_is_understood() {
    // The day on which it was recorded.
    let expect = |task| Expectations {
        task,
        earliest: DateTime::from_timestamp(1_795_219_200, 0).expect("a valid instant"),
        latest: DateTime::from_timestamp(1_795_305_600, 0).expect("a valid instant"),
        ..expectations(task)
    };
    let read = |signal, body: &[u8], task| {
        let limits = Limits::default();
        let sorted = sort(signal, Encoding::Protobuf, body, &limits).expect("sorted");
        let expect = vec![Some(expect(task)); sorted.destinations.len()];
        let batches = decode(signal, Encoding::Protobuf, body, &sorted, &expect);
        (sorted, batches.expect("decoded"))
    };
    let body = include_bytes!("../../../tests/data/plug-in/otlp-logs.bin");
    let (sorted, batches) = read(Signal::Logs, body, Task::Regression);
    assert_eq!((sorted.received, sorted.unused.total()), (7, 1));
    let taken = predictions(&batches[0]);
    assert_eq!((taken.batch.len(), taken.rejects.first()), (3, &[][..]));
    assert_eq!(taken.batch.outputs[2].value, Some(12.0));
    assert_eq!(cell(&taken.batch, "carrier", 1), Cell::Text("UA".into()));
    assert_eq!(
        labels(&batches[1]).batch.labels[0],
        LabelValue::Number(11.0)
    );

    let body = include_bytes!("../../../tests/data/plug-in/otlp-traces.bin");
    let (sorted, batches) = read(Signal::Traces, body, Task::Regression);
    assert_eq!((sorted.received, sorted.unused.total()), (9, 3));
    assert_eq!(predictions(&batches[0]).batch.len(), 3);
    assert_eq!(sorted.samples.len(), 3 * 4);

    let body = include_bytes!("../../../tests/data/plug-in/otlp-metrics.bin");
    let (sorted, _) = read(Signal::Metrics, body, Task::Regression);
    assert_eq!((sorted.received, sorted.unused.total()), (4, 1));
    let mut told: Vec<&str> = sorted.samples.iter().map(|t| t.sample.measure).collect();
    told.sort_unstable();
    assert_eq!(told, ["cpu_utilization", "request_duration", "requests"]);
    assert_eq!(sorted.samples[0].sample.source, "node-1");

    let body = include_bytes!("../../../tests/data/plug-in/bentoml.bin");
    let (sorted, batches) = read(Signal::Logs, body, Task::Binary);
    assert_eq!((sorted.received, sorted.unused.total()), (3, 0));
    assert_eq!(sorted.destinations[0].model, "churn");
    let taken = predictions(&batches[0]);
    assert_eq!((taken.batch.len(), taken.rejects.first()), (3, &[][..]));
    assert_eq!(taken.batch.outputs[2].score, Some(0.02));
    assert_eq!(taken.batch.version(0), "v1");
    assert_eq!(cell(&taken.batch, "age", 1), Cell::Integer(21));
}

/// Of a model whose file says nothing of columns.
fn no_columns() -> &'static ColumnMap {
    static COLUMNS: std::sync::LazyLock<ColumnMap> = std::sync::LazyLock::new(ColumnMap::default);
    &COLUMNS
}
