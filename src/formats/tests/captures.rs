//! What serving platforms write, against golden files of each.

use std::fmt::Write as _;

use super::*;
use crate::domain::mapping::{ColumnMap, NO_COLUMNS};

fn columns(outputs: &[&str]) -> ColumnMap {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ColumnMap {
        inputs: names(&["distance", "carrier", "delay"]),
        outputs: names(outputs),
        ..ColumnMap::default()
    }
}

/// What became of a body, row by row.
fn told(decoded: &Decoded<PredictionBatch>) -> String {
    let batch = &decoded.batch;
    let mut text = format!("{} received\n", decoded.received);
    for row in 0..batch.len() {
        let features: Vec<String> = batch
            .features
            .iter()
            .map(|column| format!("{}={:?}", column.name, column.get(row)))
            .collect();
        let output = &batch.outputs[row];
        writeln!(
            text,
            "line {}: {} at {} version {}: {:?} {:?} {:?} | {}",
            decoded.lines[row],
            &batch.prediction_ids[row],
            batch.predicted_at[row].format("%H:%M"),
            batch.version(row),
            output.value,
            output.class,
            output.score,
            features.join(" ")
        )
        .expect("a string takes all");
    }
    for reject in decoded.rejects.first() {
        writeln!(
            text,
            "refused {}: {} {:?}: {}",
            reject.line, reject.field, reject.reason, reject.cause
        )
        .expect("a string takes all");
    }
    text
}

fn decoded(format: Format, body: &str, task: Task, columns: &ColumnMap) -> String {
    let expect = Expectations {
        columns,
        ..expect(task)
    };
    told(&decode_predictions(format, body.as_bytes(), &expect).expect("a body that can be read"))
}

#[test]
fn sagemaker_csv() {
    let body = include_str!("../../../tests/data/captures/sagemaker_csv.jsonl");
    insta::assert_snapshot!(decoded(
        Format::SageMaker,
        body,
        Task::Regression,
        &columns(&[])
    ));
}

#[test]
fn sagemaker_json() {
    let body = include_str!("../../../tests/data/captures/sagemaker_json.jsonl");
    insta::assert_snapshot!(decoded(
        Format::SageMaker,
        body,
        Task::Binary,
        &columns(&[])
    ));
}

#[test]
fn sagemaker_ground_truth() {
    let body = include_str!("../../../tests/data/captures/sagemaker_truth.jsonl");
    let decoded = labels(Format::SageMaker, body.as_bytes(), Task::Regression);
    let kept: Vec<_> = decoded
        .batch
        .prediction_ids
        .iter()
        .zip(&decoded.batch.labels)
        .collect();
    assert_eq!(
        kept,
        [
            (&"order-2".to_owned(), &LabelValue::Number(1.0)),
            (&"order-3".to_owned(), &LabelValue::Number(0.5)),
        ]
    );
    let refused: Vec<_> = decoded
        .rejects
        .first()
        .iter()
        .map(|reject| (reject.line, reject.reason))
        .collect();
    assert_eq!(
        refused,
        [
            (3, RejectReason::Malformed),
            (4, RejectReason::MissingField)
        ]
    );
}

#[test]
fn azure_ml() {
    let body = include_str!("../../../tests/data/captures/azureml.jsonl");
    insta::assert_snapshot!(decoded(
        Format::AzureMl,
        body,
        Task::Binary,
        &columns(&["score"])
    ));
    let refused = decode_labels(Format::AzureMl, body.as_bytes(), &expect(Task::Binary));
    assert_eq!(
        refused.expect_err("it has none").to_string(),
        "read labels from a body of azureml, which has none"
    );
}

#[test]
fn values_without_names_are_refused_until_they_are_named() {
    let body = include_str!("../../../tests/data/captures/sagemaker_csv.jsonl");
    let told = decoded(Format::SageMaker, body, Task::Regression, &NO_COLUMNS);
    assert!(told.contains("`columns: inputs`"), "{told}");
}

#[test]
fn lines_are_known_by_what_they_hold() {
    for (format, body) in [
        (
            Format::SageMaker,
            include_str!("../../../tests/data/captures/sagemaker_csv.jsonl"),
        ),
        (
            Format::SageMaker,
            include_str!("../../../tests/data/captures/sagemaker_truth.jsonl"),
        ),
        (
            Format::AzureMl,
            include_str!("../../../tests/data/captures/azureml.jsonl"),
        ),
        (
            Format::Ndjson,
            "{\"prediction_id\": \"a\", \"specversion\": \"1.0\", \"type\": \"plane\"}",
        ),
        (Format::Ndjson, "not JSON"),
    ] {
        let first = body.lines().next().expect("a line");
        assert_eq!(Format::of_line(first.as_bytes()), format, "{first}");
    }
}

#[test]
fn the_models_file_says_what_columns_are() {
    let columns = ColumnMap {
        fields: [
            ("prediction_id", "request"),
            ("timestamp", "scored_at"),
            ("prediction", "y_hat"),
            ("label", "y"),
            ("observed_at", "y_at"),
        ]
        .map(|(field, column)| (field.to_owned(), column.to_owned()))
        .into(),
        ignore: ["row".to_owned()].into(),
        ..ColumnMap::default()
    };
    let expect = Expectations {
        columns: &columns,
        ..expect(Task::Regression)
    };
    let csv = "row,request,scored_at,y_hat,distance,y,y_at\n1,a,2013-03-01T10:00:00Z,2.5,7,3,2013-03-02T10:00:00Z\n";
    let json = "{\"row\":1,\"request\":\"a\",\"scored_at\":\"2013-03-01T10:00:00Z\",\"y_hat\":2.5,\"distance\":7,\"y\":3,\
                \"y_at\":\"2013-03-02T10:00:00Z\"}";
    for (format, body) in [(Format::Csv, csv), (Format::Ndjson, json)] {
        let decoded = decode_predictions(format, body.as_bytes(), &expect).expect("read");
        assert_eq!(decoded.rejects.first(), []);
        let names: Vec<&str> = decoded
            .batch
            .features
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(names, ["distance"], "{format:?}");
        assert_eq!(decoded.batch.outputs[0].value, Some(2.5));
        let labels = decode_labels(format, body.as_bytes(), &expect).expect("read");
        assert_eq!(labels.rejects.first(), []);
        assert_eq!(labels.batch.labels, [LabelValue::Number(3.0)]);
        assert_eq!(labels.batch.observed_at, [at("2013-03-02T10:00:00Z")]);
        let reference =
            decode_reference(format, body.as_bytes(), Task::Regression, &columns).expect("read");
        assert_eq!(reference.labels, [Some(LabelValue::Number(3.0))]);
        assert_eq!(reference.features.len(), 1);
    }
    // Names that mean something everywhere still do.
    let plain = "{\"prediction_id\":\"b\",\"timestamp\":\"2013-03-01T10:00:00Z\",\"prediction\":1}";
    let decoded = decode_predictions(Format::Ndjson, plain.as_bytes(), &expect).expect("read");
    assert_eq!(decoded.batch.len(), 1);
}
