//! Bodies read into one batch: each comes in as it does by itself, or not at all, and costs the others nothing. [`check`] is
//! made of every body of the tests beside this.

use super::*;

/// A good row of a task, with a feature of its own and one that others may send as something else.
fn neighbour(task: Task, id: &str, x: &str) -> String {
    let answer = match task {
        Task::Regression | Task::Forecast => r#""prediction": 1.5"#,
        Task::Binary => r#""score": 0.5"#,
        Task::Multiclass => r#""prediction": "cat""#,
        Task::Ranking => r#""query": "q", "score": 0.5"#,
    };
    format!(
        r#"{{"prediction_id": "{id}", "timestamp": "2013-03-01T10:00:00Z", {answer},
            "features": {{"x": {x}, "of {id}": true}}}}"#
    )
}

/// The rows as they are meant: without what is absent, and however their texts are numbered.
fn shown(batch: &PredictionBatch) -> Vec<String> {
    let row = |row: usize| {
        let features: Vec<(&str, Value<'_>)> = (batch.features.iter())
            .map(|column| (column.name.as_str(), column.get(row)))
            .filter(|(_, value)| *value != Value::Absent)
            .collect();
        let texts =
            [&batch.versions, &batch.errors, &batch.deployments].map(|texts| texts.get(row));
        let (id, at) = (&batch.prediction_ids[row], batch.predicted_at[row]);
        let (output, segments) = (&batch.outputs[row], &batch.segments[row]);
        let latency = batch.latency_ms[row];
        format!("{id:?} {at} {texts:?} {output:?} {segments:?} {latency:?} {features:?}")
    };
    (0..batch.len()).map(row).collect()
}

fn names(batch: &PredictionBatch) -> Vec<&str> {
    let names = batch.features.iter().map(|column| column.name.as_str());
    names.collect()
}

/// Checks that a body between two others comes in whole if all of it is kept when it comes alone, and else not at all; and
/// that the batch is what the bodies are one by one.
pub(super) fn check(format: Format, body: &[u8], task: Task) {
    if !format.reads_together() {
        return;
    }
    let expect = expect(task);
    let first = neighbour(task, "first", "17.5");
    let last = neighbour(task, "last", "\"a text\"");
    let mut together = Together::new(&expect, 3);
    let of_first = together.add(Format::Json, first.as_bytes(), &expect);
    assert_eq!(of_first, Some(0..1));
    let of_body = together.add(format, body, &expect);
    let of_last = together.add(Format::Json, last.as_bytes(), &expect);
    assert_eq!(of_last.map(|rows| rows.len()), Some(1));
    let batch = together.finish();

    let alone = |format, body| decode_predictions(format, body, &expect).ok();
    let whole = |decoded: &Decoded<PredictionBatch>| {
        decoded.rejects.is_empty() && !decoded.batch.is_empty()
    };
    let kept = alone(format, body).filter(whole);
    let rows = kept.as_ref().map(|decoded| decoded.batch.len());
    assert_eq!(of_body.map(|rows| rows.len()), rows);
    let mut expected = alone(Format::Json, first.as_bytes()).expect("read").batch;
    for decoded in kept.into_iter().chain(alone(Format::Json, last.as_bytes())) {
        expected.append(&decoded.batch);
    }
    assert_eq!(shown(&batch), shown(&expected));
    assert_eq!(names(&batch), names(&expected));
}

#[test]
fn a_body_is_left_out_whole_wherever_its_bad_row_is() {
    let good = neighbour(Task::Regression, "good", "1");
    let bad = good.replace("1.5", "\"many\"");
    for rows in [
        [&bad, &good, &good],
        [&good, &bad, &good],
        [&good, &good, &bad],
    ] {
        let body = rows.map(|row| row.replace('\n', " ")).join("\n");
        check(Format::Ndjson, body.as_bytes(), Task::Regression);
    }
    check(Format::Json, b"[]", Task::Regression);
    check(Format::Json, b"[", Task::Regression);
    check(Format::Csv, b"", Task::Regression);
}

#[test]
fn what_is_left_out_leaves_neither_names_nor_texts() {
    let expect = expect(Task::Regression);
    let mut together = Together::new(&expect, 2);
    let rows = [
        neighbour(Task::Regression, "secret", "\"secret\"").replace('\n', " "),
        "{}".to_owned(),
    ];
    assert_eq!(
        together.add(Format::Ndjson, rows.join("\n").as_bytes(), &expect),
        None
    );
    let good = neighbour(Task::Regression, "good", "\"good\"");
    let added = together.add(Format::Json, good.as_bytes(), &expect);
    assert_eq!(added, Some(1..2));
    let batch = together.finish();
    assert_eq!(names(&batch), ["x", "of good"]);
    let encoded = postcard::to_allocvec(&batch).expect("encodes");
    let encoded = String::from_utf8_lossy(&encoded).into_owned();
    assert!(
        encoded.contains("good") && !encoded.contains("secret"),
        "{encoded}"
    );
}

#[test]
fn the_limits_of_one_body_hold_for_all_of_them() {
    let mut expect = expect(Task::Regression);
    let row = |number: usize| neighbour(Task::Regression, &format!("row {number}"), "1");
    let taken = |expect: &Expectations<'_>| {
        let bodies: Vec<String> = (0..10).map(row).collect();
        let mut together = Together::new(expect, bodies.len());
        let added = (bodies.iter())
            .map(|body| together.add(Format::Json, body.as_bytes(), expect))
            .filter(Option::is_some)
            .count();
        assert_eq!(together.finish().len(), added);
        added
    };
    assert_eq!(taken(&expect), 10);
    let limits = expect.limits;
    expect.limits.max_rows = 4;
    assert_eq!(taken(&expect), 4);
    // Each brings a feature beside the one that all have.
    expect.limits = Limits {
        max_features: 4,
        ..limits
    };
    assert_eq!(taken(&expect), 3);
    expect.limits = Limits {
        max_cells: 12,
        ..limits
    };
    assert_eq!(taken(&expect), 3);
    expect.limits = Limits {
        max_text_bytes: 21,
        ..limits
    };
    assert_eq!(taken(&expect), 3);
}

#[test]
fn each_body_is_judged_by_what_held_when_it_came() {
    let first = expect(Task::Regression);
    let second = Expectations {
        default_version: Some("v2"),
        ..first
    };
    let third = Expectations {
        earliest: first.received_at,
        ..first
    };
    let mut together = Together::new(&first, 3);
    let row = |id| neighbour(Task::Regression, id, "1");
    assert_eq!(
        together.add(Format::Json, row("a").as_bytes(), &first),
        Some(0..1)
    );
    assert_eq!(
        together.add(Format::Json, row("b").as_bytes(), &second),
        Some(1..2)
    );
    assert_eq!(
        together.add(Format::Json, row("c").as_bytes(), &third),
        None
    );
    let batch = together.finish();
    assert_eq!(
        batch.versions.iter().collect::<Vec<_>>(),
        [Some("v1"), Some("v2")]
    );
}
