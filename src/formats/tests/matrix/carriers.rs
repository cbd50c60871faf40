//! The matrix over what carries rows inside of something else: logs and spans of OpenTelemetry, captures of platforms, and
//! events of model servers. Each says what its form can say; what becomes of a value is what becomes of it in a row of
//! JSON.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::domain::inference::{Half, Inference, Serving};
use crate::formats::cloudevents::{self, EventKind, Mode};
use crate::formats::inference::{Served, decode_inferences};
use crate::formats::otlp::{self, Batch, Encoding, Signal};

/// Who carries rows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Carrier {
    Protobuf,
    JsonLogs,
    Spans,
    SageMaker,
    AzureMl,
    Events,
}
use Carrier::{AzureMl, Events, JsonLogs, Protobuf, SageMaker, Spans};

const CARRIERS: [Carrier; 6] = [Protobuf, JsonLogs, Spans, SageMaker, AzureMl, Events];
const NOON: &str = "2013-03-01T10:00:00Z";
/// Stands for bytes that are no text, and is as long as they are.
const PLACEHOLDER: &str = "@@";

/// Three rows with the poison in one of them; none where the carrier cannot say it.
fn carried(carrier: Carrier, place: Place, poison: &Sent, position: usize) -> Option<Vec<u8>> {
    let rows: Option<Vec<Vec<u8>>> = (0..3)
        .map(|row| {
            let sent = match row {
                _ if row == position => poison.clone(),
                _ => good(place, &Sent::Json(Vec::new()), row)?,
            };
            match carrier {
                Protobuf | Spans => {
                    log_record(place, row, &sent).map(|record| record.encode_to_vec())
                }
                JsonLogs => json_record(place, row, &sent),
                SageMaker => sagemaker_line(place, row, &sent),
                AzureMl => azure_lines(place, row, &sent),
                Events => events(place, row, &sent),
            }
        })
        .collect();
    let rows = rows?;
    Some(match carrier {
        Protobuf | Spans => {
            let records = (rows.iter())
                .map(|record| LogRecord::decode(record.as_slice()).expect("just written"))
                .collect();
            let body = match carrier {
                Spans => export_of_spans(records),
                _ => export(records),
            };
            with_bytes(body, poison)
        }
        JsonLogs => {
            let around = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#.as_slice();
            [around, &rows.join(&b','), b"]}]}]}"].concat()
        }
        SageMaker | AzureMl => rows.join(&b'\n'),
        Events => [b"[".as_slice(), &rows.join(&b','), b"]"].concat(),
    })
}

fn export(records: Vec<LogRecord>) -> Vec<u8> {
    let scope = ScopeLogs {
        log_records: records,
        ..ScopeLogs::default()
    };
    let resource = ResourceLogs {
        scope_logs: vec![scope],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource],
    }
    .encode_to_vec()
}

/// The same as events of spans, each of its own: one that is no text makes its whole span unreadable.
fn export_of_spans(records: Vec<LogRecord>) -> Vec<u8> {
    let spans = records.into_iter().map(|record| Span {
        events: vec![Event {
            name: record.event_name,
            attributes: record.attributes,
            ..Event::default()
        }],
        ..Span::default()
    });
    let scope = ScopeSpans {
        spans: spans.collect(),
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource],
    }
    .encode_to_vec()
}

/// Puts what is no text where its placeholder stands.
fn with_bytes(mut body: Vec<u8>, poison: &Sent) -> Vec<u8> {
    if let Sent::Csv(raw) = poison {
        let found = (body.windows(raw.len())).position(|at| at == PLACEHOLDER.as_bytes());
        let at = found.expect("it was written");
        body[at..at + raw.len()].copy_from_slice(raw);
    }
    body
}

/// The attributes of an event, each under the name of its field.
fn attributes(
    place: Place,
    row: usize,
    sent: &Sent,
) -> Option<(&'static str, Vec<(String, Sent)>)> {
    let name = match place {
        Feature => "feature.x",
        Segment => "segment.channel",
        Probability => "probability.a",
        place => place.field(),
    };
    let mut attributes: Vec<(String, Sent)> = (others(place, row).into_iter())
        .map(|(field, value)| (format!("bellwether.{field}"), value))
        .collect();
    attributes.push(("bellwether.model".to_owned(), text("fares")));
    let values = match sent {
        Sent::Missing => vec![],
        Sent::Twice => vec![good(place, &Sent::Json(Vec::new()), row)?; 2],
        sent => vec![sent.clone()],
    };
    attributes.extend((values.into_iter()).map(|value| (format!("bellwether.{name}"), value)));
    let event = match place {
        Label | ObservedAt => "bellwether.label",
        _ => "bellwether.prediction",
    };
    // A record without an id has one of its content, which is tried elsewhere; one without a time of its own, when it was
    // received.
    let has_default = matches!((place, sent), (Id, Sent::Missing | Sent::Null));
    (!has_default).then_some((event, attributes))
}

fn log_record(place: Place, row: usize, sent: &Sent) -> Option<LogRecord> {
    let (event, attributes) = attributes(place, row, sent)?;
    let attributes: Option<Vec<KeyValue>> = (attributes.into_iter())
        .map(|(key, value)| {
            Some(KeyValue {
                key,
                value: Some(AnyValue {
                    value: any_value(&value)?,
                }),
                ..KeyValue::default()
            })
        })
        .collect();
    Some(LogRecord {
        event_name: event.to_owned(),
        attributes: attributes?,
        ..LogRecord::default()
    })
}

/// Nothing inside of what cannot be said; of null, no value.
fn any_value(sent: &Sent) -> Option<Option<any_value::Value>> {
    Some(Some(match sent {
        Sent::Null => return Some(None),
        Sent::Boolean(boolean) => any_value::Value::BoolValue(*boolean),
        Sent::Integer(integer) => any_value::Value::IntValue(*integer),
        Sent::Number(number) => any_value::Value::DoubleValue(*number),
        Sent::Text(text) => any_value::Value::StringValue(text.clone()),
        Sent::Csv(_) => any_value::Value::StringValue(PLACEHOLDER.to_owned()),
        Sent::Unsigned(_) | Sent::Missing | Sent::Seconds(_) | Sent::Json(_) | Sent::Twice => {
            return None;
        }
    }))
}

fn json_record(place: Place, row: usize, sent: &Sent) -> Option<Vec<u8>> {
    let (event, attributes) = attributes(place, row, sent)?;
    let attributes: Option<Vec<Vec<u8>>> = (attributes.into_iter())
        .map(|(key, value)| {
            let typed =
                |name: &str, value: &[u8]| [b"{\"", name.as_bytes(), b"\":", value, b"}"].concat();
            let value = match &value {
                Sent::Null => b"null".to_vec(),
                Sent::Boolean(boolean) => typed("boolValue", boolean.to_string().as_bytes()),
                Sent::Integer(integer) => typed("intValue", format!("\"{integer}\"").as_bytes()),
                Sent::Number(number) if number.is_nan() => typed("doubleValue", b"\"NaN\""),
                Sent::Number(number) if number.is_infinite() => {
                    let sign = if *number < 0.0 { "-" } else { "" };
                    typed("doubleValue", format!("\"{sign}Infinity\"").as_bytes())
                }
                Sent::Number(number) => typed("doubleValue", format!("{number:?}").as_bytes()),
                Sent::Text(_) => typed("stringValue", &json_value(&value)?),
                // A byte that JSON does not have makes the whole request none.
                Sent::Json(raw)
                    if raw.starts_with(b"\"") && raw.is_ascii() && !raw.contains(&0) =>
                {
                    typed("stringValue", raw)
                }
                _ => return None,
            };
            let head = format!("{{\"key\":\"{key}\",\"value\":");
            Some([head.as_bytes(), &value, b"}"].concat())
        })
        .collect();
    let head = format!("{{\"eventName\":\"{event}\",\"attributes\":[");
    Some([head.as_bytes(), &attributes?.join(&b','), b"]}"].concat())
}

/// What a model was asked and answered, as JSON: the poison is in either. `named` is what the carrier calls its answer.
fn payloads(place: Place, row: usize, sent: &Sent, named: &str) -> Option<[Vec<u8>; 2]> {
    let member = |name: &str, value: &[u8]| [b"\"", name.as_bytes(), b"\":", value].concat();
    let members = |name: &str| -> Option<Vec<u8>> {
        Some(match sent {
            Sent::Missing => Vec::new(),
            Sent::Twice => {
                let value = member(
                    name,
                    &json_value(&good(place, &Sent::Json(Vec::new()), row)?)?,
                );
                [value.as_slice(), b",", &value].concat()
            }
            sent => member(name, &json_value(sent)?),
        })
    };
    // How deep lists and objects may be is told of where rows are read; here they are the value of a feature.
    let is_nested = matches!(sent, Sent::Json(raw) if raw.first() != Some(&b'"'));
    if is_nested && place != Feature {
        return None;
    }
    let asked = match place {
        Feature => members("x")?,
        _ => b"\"x\":1".to_vec(),
    };
    let answered = match place {
        Prediction | Class => members(named)?,
        Score => members("score")?,
        _ => format!("\"{named}\":1").into_bytes(),
    };
    Some([asked, answered].map(|members| [b"{".as_slice(), &members, b"}"].concat()))
}

/// The id and the time of a row, which carriers hold as text.
fn id_and_time(place: Place, row: usize, sent: &Sent) -> Option<[Vec<u8>; 2]> {
    let given = match sent {
        Sent::Text(_) => json_value(sent),
        Sent::Json(raw) if raw.first() == Some(&b'"') => Some(raw.clone()),
        // What rows have as a good time.
        Sent::Integer(1_362_132_000_000) => Some(format!("\"{NOON}\"").into_bytes()),
        _ => None,
    };
    let id = match place {
        Id => given.clone()?,
        _ => format!("\"id {row}\"").into_bytes(),
    };
    let time = match place {
        Time => given?,
        _ => format!("\"{NOON}\"").into_bytes(),
    };
    Some([id, time])
}

/// As text inside of JSON.
fn quoted(payload: &[u8]) -> Vec<u8> {
    let escaped = payload.iter().flat_map(|byte| match byte {
        b'"' => b"\\\"".to_vec(),
        b'\\' => b"\\\\".to_vec(),
        0 => b"\\u0000".to_vec(),
        byte => vec![*byte],
    });
    std::iter::once(b'"').chain(escaped).chain([b'"']).collect()
}

fn sagemaker_line(place: Place, row: usize, sent: &Sent) -> Option<Vec<u8>> {
    let [id, time] = id_and_time(place, row, sent)?;
    let captured = |payload: &[u8]| {
        let head = br#"{"observedContentType":"application/json","encoding":"JSON","data":"#;
        [head.as_slice(), &quoted(payload), b"}"].concat()
    };
    let data = if place == Label {
        [
            b"\"groundTruthData\":".as_slice(),
            &captured(&json_value(sent)?),
        ]
        .concat()
    } else {
        let [asked, answered] = payloads(place, row, sent, "predicted_value")?;
        [
            b"\"captureData\":{\"endpointInput\":".as_slice(),
            &captured(&[b"{\"instances\":[".as_slice(), &asked, b"]}"].concat()),
            b",\"endpointOutput\":",
            &captured(&[b"{\"predictions\":[".as_slice(), &answered, b"]}"].concat()),
            b"}",
        ]
        .concat()
    };
    let head = b"{\"eventMetadata\":{\"eventId\":".as_slice();
    Some([head, &id, b",\"inferenceTime\":", &time, b"},", &data, b"}"].concat())
}

fn azure_lines(place: Place, row: usize, sent: &Sent) -> Option<Vec<u8>> {
    let [id, time] = id_and_time(place, row, sent)?;
    let [asked, answered] = payloads(place, row, sent, "prediction")?;
    let event = |kind: &str, data: &[u8]| {
        let head =
            format!("{{\"specversion\":\"1.0\",\"type\":\"azureml.inference.{kind}\",\"time\":");
        [
            head.as_bytes(),
            &time,
            b",\"correlationid\":",
            &id,
            b",\"data\":[",
            data,
            b"]}",
        ]
        .concat()
    };
    let lines = [
        event("model_inputs", &asked),
        event("model_outputs", &answered),
    ];
    Some(lines.join(&b'\n'))
}

fn events(place: Place, row: usize, sent: &Sent) -> Option<Vec<u8>> {
    let [id, time] = id_and_time(place, row, sent)?;
    let [asked, answered] = payloads(place, row, sent, "prediction")?;
    let event = |kind: &str, field: &str, data: &[u8]| {
        let head = format!(
            "{{\"specversion\":\"1.0\",\"type\":\"org.kubeflow.serving.inference.{kind}\",\
             \"inferenceservicename\":\"fares\",\"time\":"
        );
        let data = [b",\"data\":{\"", field.as_bytes(), b"\":[", data, b"]}}"].concat();
        [head.as_bytes(), &time, b",\"id\":", &id, &data].concat()
    };
    let both = [
        event("request", "instances", &asked),
        event("response", "predictions", &answered),
    ];
    Some(both.join(&b','))
}

/// As [`super::decoded`].
fn received(
    carrier: Carrier,
    place: Place,
    body: &[u8],
    at: usize,
) -> (usize, String, Vec<Reject>) {
    let expect = expect(task_of(place));
    match carrier {
        SageMaker if place == Label => of_labels(
            decode_labels(Format::SageMaker, body, &expect).expect("a body that can be read"),
            place,
            at,
        ),
        SageMaker | AzureMl => {
            let format = if carrier == SageMaker {
                Format::SageMaker
            } else {
                Format::AzureMl
            };
            let decoded = decode_predictions(format, body, &expect);
            of_predictions(decoded.expect("a body that can be read"), place, at)
        }
        Protobuf | JsonLogs | Spans => {
            let encoding = if carrier == JsonLogs {
                Encoding::Json
            } else {
                Encoding::Protobuf
            };
            let signal = if carrier == Spans {
                Signal::Traces
            } else {
                Signal::Logs
            };
            let sorted = otlp::sort(signal, encoding, body, &expect.limits);
            let sorted = sorted.expect("a request that can be read");
            let expect = vec![Some(expect); sorted.destinations.len()];
            let batches = otlp::decode(signal, encoding, body, &sorted, &expect);
            let batch = batches.expect("a request that can be read").remove(0);
            let lost = sorted.unused.total() as usize;
            let (rows, kept, mut rejects) = match batch.expect("the model is known") {
                Batch::Predictions(decoded) => of_predictions(*decoded, place, at),
                Batch::Labels(decoded) => of_labels(decoded, place, at),
            };
            // A record of which nothing can be read is counted under that reason.
            rejects.extend(vec![unreadable(); lost]);
            (rows, kept, rejects)
        }
        Events => {
            let (inferences, damaged) = pairs(body);
            let serving = Serving::default();
            let served = Served {
                serving: &serving,
                task: expect.task,
                positive_class: None,
            };
            let decoded = decode_inferences(&inferences, served, &expect).expect("within limits");
            let (rows, kept, mut rejects) = of_predictions(decoded, place, at);
            rejects.extend(vec![unreadable(); damaged]);
            (rows, kept, rejects)
        }
    }
}

fn unreadable() -> Reject {
    reject(0, "", Malformed, "")
}

/// What the events of a batch are about, where both halves can be read, and how many events cannot.
fn pairs(body: &[u8]) -> (Vec<Inference>, usize) {
    let received_at = super::super::at("2013-06-01T00:00:00Z").timestamp_micros();
    let found = cloudevents::read(Mode::Batch, |_| None, body, received_at);
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    let mut damaged = 0;
    for envelope in found.expect("a batch that can be read") {
        match envelope.kind {
            EventKind::Inference(event) => match event.half {
                Half::Request => requests.push(event),
                Half::Response => responses.push(event),
            },
            EventKind::Damaged => damaged += 1,
            EventKind::Other(name) => panic!("{name}"),
        }
    }
    let answered = requests.into_iter().filter_map(|request| {
        let response = responses.iter().find(|event| event.pair == request.pair)?;
        Some(Inference {
            pair: request.pair,
            request: request.content,
            response: response.content.clone(),
        })
    });
    (answered.collect(), damaged)
}

/// The places in which a carrier has values of senders.
fn holds(carrier: Carrier, place: Place) -> bool {
    match carrier {
        Protobuf | JsonLogs | Spans => true,
        SageMaker => matches!(
            place,
            Feature | Prediction | Class | Score | Id | Time | Label
        ),
        AzureMl => matches!(place, Feature | Prediction | Class | Score | Id | Time),
        // A time that cannot be read is not needed: the event is of when it came.
        Events => matches!(place, Feature | Prediction | Class | Score | Id),
    }
}

#[test]
fn every_poison_in_every_place_costs_one_row_at_most_whoever_carries_it() {
    let mut said = 0;
    for case in cases() {
        for place in PLACES.into_iter().chain(FOLLOWING) {
            for carrier in CARRIERS
                .into_iter()
                .filter(|carrier| holds(*carrier, place))
            {
                for position in 0..3 {
                    let Some(body) = carried(carrier, place, &case.sent, position) else {
                        continue;
                    };
                    said += 1;
                    let fate = fate_of(place, &case.fates);
                    check(&case, &fate, (carrier, place, position), &body);
                }
            }
        }
    }
    assert!(said > 2_000, "only {said} bodies");
}

fn check(
    case: &Case,
    fate: &Fate,
    (carrier, place, position): (Carrier, Place, usize),
    body: &[u8],
) {
    let what = format!(
        "{} as {place:?} in row {position} by {carrier:?}",
        case.name
    );
    let (rows, value, rejects) = received(carrier, place, body, position);
    let number = match &case.sent {
        Sent::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let expected = match fate {
        Fate::Kept(expected) => Some(expected),
        // The one place and the one kind of value that no row of JSON can say.
        Fate::Unsaid => Some(&number),
        Fate::Refused(_) => None,
    };
    if let Some(expected) = expected {
        assert_eq!(rejects, [], "{what}");
        assert_eq!((rows, &value), (3, expected), "{what}");
        return;
    }
    // Both halves of what cannot be read are refused.
    let most = if matches!(carrier, AzureMl | Events) {
        2
    } else {
        1
    };
    assert_eq!(rows, 2, "{what}: {rejects:?}");
    assert!((1..=most).contains(&rejects.len()), "{what}: {rejects:?}");
    let refused = &rejects[0];
    let Fate::Refused(reason) = fate else { return };
    let is_unreadable = *refused == unreadable();
    // Features and labels of a capture are documents of their own, which are refused for what they are.
    let is_document = matches!(place, Feature | Label) && matches!(case.sent, Sent::Json(_));
    let may_differ = is_unreadable || is_document;
    assert!(
        refused.reason == *reason || may_differ,
        "{what}: {refused:?}"
    );
    assert!(refused.cause.len() < 1_000, "{what}");
}
