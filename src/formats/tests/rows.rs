//! What makes a single row good or bad, shown in JSON; the same rules serve every format.

use super::RejectReason::*;
use super::*;

/// One good row with these fields in place of its own.
fn row(task: Task, fields: &str) -> Decoded<PredictionBatch> {
    let prediction = match task {
        Task::Regression => r#""prediction": 1.5,"#,
        Task::Binary => r#""score": 0.5,"#,
        Task::Multiclass => r#""prediction": "cat","#,
        Task::Ranking => r#""query": "q", "score": 0.5,"#,
        Task::Forecast => r#""prediction": 12.5,"#,
    };
    let mut defaults = vec![
        (r#""prediction_id""#, r#""prediction_id": "a","#),
        (r#""timestamp""#, r#""timestamp": "2013-03-01T10:00:00Z","#),
        (r#""prediction""#, prediction),
    ];
    let no_output = [
        "\"score\"",
        "\"prediction\"",
        "\"probabilities\"",
        "\"error\"",
        "\"query\"",
        "\"rank\"",
        "\"quantile",
    ];
    defaults.retain(|(name, _)| {
        !fields.contains(name)
            && (*name != "\"prediction\"" || no_output.iter().all(|name| !fields.contains(name)))
    });
    let defaults: String = defaults.iter().map(|(_, field)| *field).collect();
    let body = format!("{{{defaults} {fields}}}").replace(", }", "}");
    predictions(Format::Json, body.as_bytes(), task)
}

#[test]
fn a_full_row_keeps_every_field() {
    let decoded = row(
        Task::Multiclass,
        r#""prediction_id": 7, "timestamp": "2013-03-01T11:00:00.1234567+01:00", "version": 2,
           "probabilities": {"cat": 0.6, "dog": 0.4}, "segments": ["channel=web", "plan="],
           "latency_ms": 12, "deployment": "blue", "error": "", "features": {"age": 31, "city": "Porto"}"#,
    );
    assert_eq!(decoded.rejects.first(), []);
    let batch = decoded.batch;
    assert_eq!(batch.prediction_ids.iter().collect::<Vec<_>>(), ["7"]);
    assert_eq!(batch.predicted_at, [at("2013-03-01T10:00:00.123456Z")]);
    assert_eq!(batch.versions.iter().collect::<Vec<_>>(), [Some("2")]);
    assert_eq!(batch.outputs[0].class.as_deref(), Some("cat"));
    assert_eq!(
        batch.outputs[0].probabilities,
        [("cat".to_owned(), 0.6), ("dog".to_owned(), 0.4)]
    );
    let segments = [("channel", "web"), ("plan", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(batch.segments, [segments]);
    assert_eq!(batch.latency_ms, [Some(12.0)]);
    assert_eq!(batch.deployments.iter().collect::<Vec<_>>(), [Some("blue")]);
    assert_eq!(batch.errors.iter().collect::<Vec<_>>(), [None]);
    assert_eq!(feature(&batch, "age"), [Value::Integer(31)]);
    assert_eq!(feature(&batch, "city"), [Value::Text("Porto".into())]);
}

#[test]
fn rows_at_fault_are_refused_with_field_reason_and_cause() {
    let long = "x".repeat(201);
    let long_id = format!(r#""prediction_id": "{long}""#);
    let cases: &[(Task, &str, &str, RejectReason, &str)] = &[
        (
            Task::Regression,
            r#""prediction_id": null"#,
            "prediction_id",
            MissingField,
            "is missing",
        ),
        (
            Task::Regression,
            r#""prediction_id": " \t""#,
            "prediction_id",
            MissingField,
            "is empty or only white space",
        ),
        (
            Task::Regression,
            &long_id,
            "prediction_id",
            TooLarge,
            "is 201 bytes long; at most 200 are kept",
        ),
        (
            Task::Regression,
            r#""prediction_id": "a\u0007""#,
            "prediction_id",
            WrongType,
            "holds the control character U+0007 at byte 1",
        ),
        (
            Task::Regression,
            r#""prediction_id": "a\u0000""#,
            "prediction_id",
            NulByte,
            "holds a NUL character at byte 1",
        ),
        (
            Task::Regression,
            r#""prediction_id": 1.5"#,
            "prediction_id",
            WrongType,
            "is the number 1.5, not text or an integer",
        ),
        (
            Task::Regression,
            r#""prediction_id": ["a"]"#,
            "prediction_id",
            WrongType,
            "is a list, not text or an integer",
        ),
        (
            Task::Regression,
            r#""timestamp": null"#,
            "timestamp",
            MissingField,
            "is missing",
        ),
        (
            Task::Regression,
            r#""timestamp": "yesterday""#,
            "timestamp",
            WrongType,
            "is the text \"yesterday\", not an RFC 3339 time with offset or integer milliseconds since 1970",
        ),
        (
            Task::Regression,
            r#""timestamp": "2013-03-01T10:00:00""#,
            "timestamp",
            WrongType,
            "is the text \"2013-03-01T10:00:00\", not an RFC 3339 time with offset or integer milliseconds since 1970",
        ),
        (
            Task::Regression,
            r#""timestamp": 1362132000.5"#,
            "timestamp",
            WrongType,
            "is the number 1362132000.5, not an RFC 3339 time with offset or integer milliseconds since 1970",
        ),
        (
            Task::Regression,
            r#""timestamp": 1362132000"#,
            "timestamp",
            TimeOutOfBounds,
            "is 1970-01-16T18:22:12Z, outside 2013-01-01T00:00:00Z to 2014-01-01T00:00:00Z",
        ),
        (
            Task::Regression,
            r#""timestamp": 9223372036854775807"#,
            "timestamp",
            TimeOutOfBounds,
            "is outside 2013-01-01T00:00:00Z to 2014-01-01T00:00:00Z",
        ),
        (
            Task::Regression,
            r#""version": """#,
            "version",
            MissingField,
            "is empty or only white space",
        ),
        (
            Task::Regression,
            r#""prediction": null"#,
            "prediction",
            MissingField,
            "is missing, and the row has no `error`",
        ),
        (
            Task::Regression,
            r#""prediction": "high""#,
            "prediction",
            WrongType,
            "is the text \"high\", not a number",
        ),
        (
            Task::Regression,
            r#""prediction": 1e999"#,
            "prediction",
            WrongType,
            "is inf, not a finite number",
        ),
        (
            Task::Regression,
            r#""prediction": 1, "score": 0.5"#,
            "score",
            WrongType,
            "belongs to binary models; a feature of this name is sent as feature.score",
        ),
        (
            Task::Regression,
            r#""latency_ms": -1"#,
            "latency_ms",
            WrongType,
            "is -1, less than 0",
        ),
        (
            Task::Regression,
            r#""deployment": true"#,
            "deployment",
            WrongType,
            "is the boolean true, not text or an integer",
        ),
        (
            Task::Regression,
            r#""error": 500"#,
            "error",
            WrongType,
            "is the integer 500, not text",
        ),
        (
            Task::Regression,
            r#""segments": ["web"]"#,
            "segments",
            WrongType,
            "is the text \"web\", not of the form name=value",
        ),
        (
            Task::Regression,
            r#""segments": ["a=1", "a=2"]"#,
            "segments.a",
            DuplicateField,
            "occurs twice in the row",
        ),
        (
            Task::Regression,
            r#""segments": {"": "x"}"#,
            "segments.",
            MissingField,
            "the name is empty or only white space",
        ),
        (
            Task::Regression,
            r#""features": [1]"#,
            "features",
            WrongType,
            "is a list, not an object of names and values",
        ),
        (
            Task::Regression,
            r#""features": {"x": {"y": 1}}"#,
            "x",
            WrongType,
            "is an object, not a single value",
        ),
        (
            Task::Regression,
            r#""features": {"x": 1, "x": 2}"#,
            "x",
            DuplicateField,
            "occurs twice in the row",
        ),
        (
            Task::Regression,
            r#""x": 1, "feature.x": 2"#,
            "x",
            DuplicateField,
            "occurs twice in the row",
        ),
        (
            Task::Regression,
            r#""latency_ms": 1, "latency_ms": 1"#,
            "latency_ms",
            DuplicateField,
            "occurs twice in the row",
        ),
        (
            Task::Regression,
            r#""features": {" ": 1}"#,
            " ",
            MissingField,
            "the name is empty or only white space",
        ),
        (
            Task::Binary,
            r#""prediction": null"#,
            "prediction",
            MissingField,
            "is missing, and so are `score` and `error`",
        ),
        (
            Task::Binary,
            r#""score": 1.01"#,
            "score",
            WrongType,
            "is 1.01, not between 0 and 1",
        ),
        (
            Task::Binary,
            r#""prediction": 0.5"#,
            "prediction",
            WrongType,
            "is the number 0.5, not a class (text, an integer or a boolean)",
        ),
        (
            Task::Binary,
            r#""score": 0.5, "probabilities": {"a": 1}"#,
            "probabilities",
            WrongType,
            "belong to multiclass models; a binary model sends `score`",
        ),
        (
            Task::Multiclass,
            r#""prediction": null"#,
            "prediction",
            MissingField,
            "is missing, and so are `probabilities` and `error`",
        ),
        (
            Task::Multiclass,
            r#""prediction": """#,
            "prediction",
            MissingField,
            "is empty",
        ),
        (
            Task::Multiclass,
            r#""probabilities": {"a": 0.5, "b": 0.4}"#,
            "probabilities",
            WrongType,
            "sum to 0.9000, not to 1",
        ),
        (
            Task::Multiclass,
            r#""probabilities": {"a": -0.1, "b": 1.1}"#,
            "probabilities.a",
            WrongType,
            "is -0.1, not between 0 and 1",
        ),
        (
            Task::Multiclass,
            r#""probabilities": {"a": 0.5, "a": 0.5}"#,
            "probabilities.a",
            DuplicateField,
            "occurs twice in the row",
        ),
        (
            Task::Ranking,
            r#""score": 0.5"#,
            "query",
            MissingField,
            "is missing, and the row has no `error`",
        ),
        (
            Task::Ranking,
            r#""query": "q""#,
            "score",
            MissingField,
            "is missing, and so are `rank` and `error`",
        ),
        (
            Task::Ranking,
            r#""query": "q", "rank": 0"#,
            "rank",
            WrongType,
            "is 0, not a place counted from 1",
        ),
        (
            Task::Ranking,
            r#""query": "q", "rank": 1, "prediction": 3"#,
            "prediction",
            WrongType,
            "is not what a ranking sends; it sends `score` or `rank`",
        ),
        (
            Task::Forecast,
            r#""quantiles": {"0.1": 3}"#,
            "prediction",
            MissingField,
            "is missing, and so are the quantile 0.5 and `error`",
        ),
        (
            Task::Forecast,
            r#""prediction": 1, "quantile.10": 3"#,
            "quantiles.10",
            WrongType,
            "has a name that is no level: one above 0 and below 1 is expected, such as 0.9",
        ),
        (
            Task::Forecast,
            r#""prediction": 1, "quantiles": {"0.1": 3, "0.10": 4}"#,
            "quantiles.0.10",
            DuplicateField,
            "occurs twice in the row",
        ),
        (
            Task::Forecast,
            r#""prediction": 1, "naive_error": 0"#,
            "naive_error",
            WrongType,
            "is 0, not above 0: errors cannot be measured in it",
        ),
        (
            Task::Forecast,
            r#""prediction": 1, "score": 0.5"#,
            "score",
            WrongType,
            "belongs to binary models; a feature of this name is sent as feature.score",
        ),
    ];
    for (task, fields, field, reason, cause) in cases {
        let decoded = row(*task, fields);
        assert_eq!(
            decoded.rejects.first(),
            [reject(1, field, *reason, cause)],
            "{fields}"
        );
        assert_eq!((decoded.batch.len(), decoded.received), (0, 1), "{fields}");
    }
}

#[test]
fn outputs_follow_the_task() {
    let value = |value| Output {
        value: Some(value),
        ..Output::default()
    };
    let class = |class: &str| Output {
        class: Some(class.to_owned()),
        ..Output::default()
    };
    let cases: &[(Task, &str, Output)] = &[
        (Task::Regression, r#""prediction": 2"#, value(2.0)),
        (Task::Regression, r#""prediction": -0.0"#, value(0.0)),
        (
            Task::Regression,
            r#""error": "time out""#,
            Output::default(),
        ),
        (
            Task::Binary,
            r#""score": 0.75"#,
            Output {
                score: Some(0.75),
                ..Output::default()
            },
        ),
        (Task::Binary, r#""prediction": true"#, class("true")),
        (
            Task::Binary,
            r#""prediction": 1, "score": 1"#,
            Output {
                score: Some(1.0),
                ..class("1")
            },
        ),
        (
            Task::Multiclass,
            r#""probabilities": {"a": 0.2, "b": 0.4, "c": 0.4, "d": null}"#,
            Output {
                probabilities: [("a", 0.2), ("b", 0.4), ("c", 0.4)]
                    .map(|(c, p)| (c.to_owned(), p))
                    .to_vec(),
                ..class("b")
            },
        ),
        (
            Task::Multiclass,
            r#""prediction": "x", "proba_x": 1.0"#,
            Output {
                probabilities: vec![("x".to_owned(), 1.0)],
                ..class("x")
            },
        ),
        (
            Task::Ranking,
            r#""query": 7, "score": -3.5, "rank": 2"#,
            Output {
                value: Some(2.0),
                score: Some(-3.5),
                ..class("7")
            },
        ),
        (
            Task::Forecast,
            r#""quantiles": {".50": 12, "0.90": 15.5, "0.1": null}, "naive_error": 3"#,
            Output {
                score: Some(3.0),
                probabilities: [("0.5", 12.0), ("0.9", 15.5)]
                    .map(|(level, value)| (level.to_owned(), value))
                    .to_vec(),
                ..value(12.0)
            },
        ),
        (
            Task::Forecast,
            r#""prediction": 11, "quantile.0.1": 8"#,
            Output {
                probabilities: vec![("0.1".to_owned(), 8.0)],
                ..value(11.0)
            },
        ),
    ];
    for (task, fields, output) in cases {
        let decoded = row(*task, fields);
        assert_eq!(decoded.rejects.first(), [], "{fields}");
        assert_eq!(
            decoded.batch.outputs,
            std::slice::from_ref(output),
            "{fields}"
        );
    }
    assert!(
        row(Task::Regression, r#""prediction": -0.0"#).batch.outputs[0]
            .value
            .expect("kept")
            .is_sign_positive()
    );
}

#[test]
fn without_an_object_of_features_every_other_name_is_a_feature() {
    let decoded = row(Task::Regression, r#""age": 31, "feature.score": 0.5"#);
    let names: Vec<&str> = decoded
        .batch
        .features
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["age", "score"]);
}

#[test]
fn with_an_object_of_features_other_names_are_passed_over() {
    let decoded = row(
        Task::Regression,
        r#""prediction": 1, "request": {"deep": []}, "features": {"score": 0.5}"#,
    );
    assert_eq!(decoded.rejects.first(), []);
    assert_eq!(decoded.batch.features.len(), 1);
    assert_eq!(feature(&decoded.batch, "score"), [Value::Number(0.5)]);
}

#[test]
fn segments_may_be_an_object_a_list_or_one_text() {
    let expected = [("channel", "web"), ("vip", "true")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    for segments in [
        r#"{"channel": "web", "vip": true, "plan": null}"#,
        r#"["channel=web", "vip=true"]"#,
        r#""channel=web;vip=true""#,
    ] {
        let decoded = row(Task::Regression, &format!(r#""segments": {segments}"#));
        assert_eq!(decoded.batch.segments[0], expected, "{segments}");
    }
}

#[test]
fn a_row_without_version_needs_a_default() {
    let body = br#"{"prediction_id": "a", "timestamp": 1362132000000, "prediction": 1}"#;
    let mut expect = expect(Task::Regression);
    let decoded = decode_predictions(Format::Json, body, &expect).expect("readable");
    assert_eq!(
        decoded.batch.versions.iter().collect::<Vec<_>>(),
        [Some("v1")]
    );
    expect.default_version = None;
    let decoded = decode_predictions(Format::Json, body, &expect).expect("readable");
    let cause = "is missing, and the request names no version for such rows";
    assert_eq!(
        decoded.rejects.first(),
        [reject(1, "version", MissingField, cause)]
    );
}

#[test]
fn labels_follow_the_task_and_may_leave_out_their_time() {
    let cases = [
        (Task::Regression, "2", LabelValue::Number(2.0)),
        (Task::Forecast, "-2.5", LabelValue::Number(-2.5)),
        (Task::Ranking, "3", LabelValue::Number(3.0)),
        (Task::Binary, "true", LabelValue::Class("true".to_owned())),
        (Task::Binary, "1", LabelValue::Class("1".to_owned())),
        (
            Task::Multiclass,
            "\"cat\"",
            LabelValue::Class("cat".to_owned()),
        ),
    ];
    for (task, label, expected) in cases {
        let body = format!(r#"{{"prediction_id": "a", "label": {label}, "weight": [1]}}"#);
        let decoded = labels(Format::Json, body.as_bytes(), task);
        assert_eq!(decoded.rejects.first(), []);
        assert_eq!(decoded.batch.labels, [expected]);
        assert_eq!(decoded.batch.observed_at, [at("2013-06-01T00:00:00Z")]);
    }
    let body = br#"{"labels": [{"prediction_id": "a", "label": 1, "observed_at": 1362132000000}]}"#;
    let decoded = labels(Format::Json, body, Task::Regression);
    assert_eq!(decoded.batch.observed_at, [at("2013-03-01T10:00:00Z")]);
}

#[test]
fn labels_at_fault_are_refused() {
    let body = br#"[
        {"label": 1},
        {"prediction_id": "a"},
        {"prediction_id": "a", "label": "one"},
        {"prediction_id": "a", "label": 1, "label": 2},
        {"prediction_id": "a", "label": 1, "observed_at": "2031-01-01T00:00:00Z"}
    ]"#;
    let bounds = "is 2031-01-01T00:00:00Z, outside 2013-01-01T00:00:00Z to 2014-01-01T00:00:00Z";
    let decoded = labels(Format::Json, body, Task::Regression);
    assert_eq!(
        decoded.rejects.first(),
        [
            reject(1, "prediction_id", MissingField, "is missing"),
            reject(2, "label", MissingField, "is missing"),
            reject(3, "label", WrongType, "is the text \"one\", not a number"),
            reject(4, "label", DuplicateField, "occurs twice in the row"),
            reject(5, "observed_at", TimeOutOfBounds, bounds),
        ]
    );
    assert_eq!(decoded.received, 5);
}

#[test]
fn names_of_refused_rows_do_not_use_up_the_room_for_features() {
    let mut expect = expect(Task::Regression);
    expect.limits.max_features = 2;
    let body = br#"[
        {"prediction_id": "a", "timestamp": 1362132000000, "prediction": 1, "p": 1, "q": 1, "r": 1},
        {"prediction_id": "b", "timestamp": 1362132000000, "prediction": null, "p": 1, "q": 1},
        {"prediction_id": "c", "timestamp": 1362132000000, "prediction": 1, "x": 1},
        {"prediction_id": "d", "timestamp": 1362132000000, "prediction": 1, "y": 1}
    ]"#;
    let decoded = decode_predictions(Format::Json, body, &expect).expect("readable");
    assert_eq!(
        decoded.batch.prediction_ids.iter().collect::<Vec<_>>(),
        ["c", "d"]
    );
    assert_eq!(
        feature(&decoded.batch, "x"),
        [Value::Integer(1), Value::Absent]
    );
    assert_eq!(
        feature(&decoded.batch, "y"),
        [Value::Absent, Value::Integer(1)]
    );
    assert_eq!(
        decoded.rejects.first()[0],
        reject(1, "r", TooLarge, "one body names at most 2 features")
    );
}

#[test]
fn a_body_names_no_segment_for_each_of_its_rows() {
    let row = |n: usize, name: String| {
        format!(
            r#"{{"prediction_id": "{n}", "timestamp": 1362132000000, "prediction": 1, "segments": {{"{name}": "x"}}}}"#
        )
    };
    let mut rows: Vec<String> = (0..101).map(|n| row(n, format!("segment {n}"))).collect();
    rows.push(row(101, "segment 7".to_owned()));
    let body = rows.join("\n");
    let expect = expect(Task::Regression);
    let decoded = decode_predictions(Format::Ndjson, body.as_bytes(), &expect).expect("readable");
    let cause = "one body names at most 100 segments";
    assert_eq!(
        decoded.rejects.first(),
        [reject(101, "segments.segment 100", TooLarge, cause)]
    );
    // The names that are known go on to be taken.
    assert_eq!(decoded.batch.len(), 101);
}

#[test]
fn names_of_fields_that_only_another_task_has_are_free_for_features() {
    let decoded = row(
        Task::Regression,
        r#""prediction": 1, "query": "shoes", "rank": 2, "naive_error": 0.5, "quantile.0.9": 4"#,
    );
    assert_eq!(decoded.rejects.first(), []);
    for (name, value) in [
        ("query", Value::Text("shoes".into())),
        ("rank", Value::Integer(2)),
        ("naive_error", Value::Number(0.5)),
        ("quantile.0.9", Value::Integer(4)),
    ] {
        assert_eq!(feature(&decoded.batch, name), [value], "{name}");
    }
}

#[test]
fn a_relevance_is_not_negative() {
    let body = br#"[{"prediction_id": "a", "label": -1}]"#;
    let decoded = labels(Format::Json, body, Task::Ranking);
    assert_eq!(
        decoded.rejects.first(),
        [reject(
            1,
            "label",
            WrongType,
            "is -1, not a relevance of 0 or more"
        )]
    );
}
