//! What serving platforms log, platform by platform, from their headers and bodies to rows. The files in
//! `tests/data/plug-in` say what is sent and what is to become of it.

use serde_json::{Value as Json, json};

use super::*;
use crate::domain::inference::{Half, Inference, Serving};
use crate::formats::cloudevents::{self, EventKind, Mode};
use crate::formats::inference::{Served, decode_inferences};

const PLATFORMS: [(&str, &str); 4] = [
    (
        "kserve-v1",
        include_str!("../../../tests/data/plug-in/kserve-v1.json"),
    ),
    (
        "kserve-v2",
        include_str!("../../../tests/data/plug-in/kserve-v2.json"),
    ),
    (
        "seldon-core-1",
        include_str!("../../../tests/data/plug-in/seldon-core-1.json"),
    ),
    (
        "mlserver",
        include_str!("../../../tests/data/plug-in/mlserver.json"),
    ),
];

/// The event of a half, as the receiver reads it.
fn event(sent: &Json, half: Half) -> cloudevents::Envelope {
    let headers = sent["headers"].as_object().expect("headers");
    let header = |name: &str| headers.get(name)?.as_str();
    let mode = Mode::of(header("content-type").expect("a type"));
    let body = sent["body"].to_string();
    let received_at = at("2026-03-01T10:00:01Z").timestamp_micros();
    let mut events =
        cloudevents::read(mode, header, body.as_bytes(), received_at).expect("an event");
    assert_eq!(events.len(), 1);
    let event = events.remove(0);
    assert!(matches!(&event.kind, EventKind::Inference(event) if event.half == half));
    event
}

fn rows_of(decoded: &Decoded<PredictionBatch>) -> Json {
    let batch = &decoded.batch;
    let rows = (0..batch.len()).map(|row| {
        let output = &batch.outputs[row];
        let features = batch.features.iter().map(|column| {
            let value = match column.get(row) {
                Value::Number(number) => json!(number),
                Value::Integer(integer) => json!(integer),
                Value::Text(text) => json!(text),
                other => panic!("{other:?}"),
            };
            (column.name.clone(), value)
        });
        let mut told = json!({
            "prediction_id": &batch.prediction_ids[row],
            "version": batch.version(row),
            "features": features.collect::<serde_json::Map<_, _>>(),
        });
        for (name, number) in [("value", output.value), ("score", output.score)] {
            if let Some(number) = number {
                told[name] = json!(number);
            }
        }
        told
    });
    rows.collect()
}

#[test]
fn what_each_platform_logs_becomes_the_rows_it_stands_for() {
    for (platform, file) in PLATFORMS {
        let file: Json = serde_json::from_str(file).expect("JSON");
        let task: Task = serde_json::from_value(file["task"].clone()).expect("a task");
        let halves = [("request", Half::Request), ("response", Half::Response)];
        let mut contents = Vec::new();
        let mut pairs = Vec::new();
        for (name, half) in halves {
            let event = event(&file[name], half);
            assert_eq!(event.model.as_deref(), Some("fares"), "{platform}");
            let EventKind::Inference(event) = event.kind else {
                panic!("{platform}: of another kind");
            };
            pairs.push(event.pair);
            contents.push(event.content);
        }
        assert_eq!(pairs[0], pairs[1], "{platform}");
        let response = contents.pop().expect("a response");
        let inference = Inference {
            pair: pairs.remove(0),
            request: contents.pop().expect("a request"),
            response,
        };
        let serving = Serving::default();
        let served = Served {
            serving: &serving,
            task,
            positive_class: Some("yes"),
        };
        let expect = Expectations {
            earliest: at("2026-01-01T00:00:00Z"),
            latest: at("2027-01-01T00:00:00Z"),
            ..expect(task)
        };
        let decoded = decode_inferences(&[inference], served, &expect).expect("within the limits");
        assert_eq!(decoded.rejects.first(), [], "{platform}");
        assert_eq!(rows_of(&decoded), file["rows"], "{platform}");
    }
}
