use super::*;

use chrono::TimeDelta;

use crate::domain::columns::Value as Cell;
use crate::domain::inference::Content;
use crate::domain::mapping::ColumnMap;
use crate::formats::Limits;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_359_200, 0).expect("a valid instant")
}

fn inference(request: &str, response: &str) -> Inference {
    let content = |data: &str, after_ms: i64| Content {
        at: Some(now().timestamp_micros() + after_ms * 1_000),
        received_at: now().timestamp_micros(),
        version: None,
        data: data.as_bytes().to_vec(),
    };
    Inference {
        pair: "ce-1".to_owned(),
        request: content(request, 0),
        response: content(response, 12),
    }
}

fn serving(inputs: &[&str], classes: &[&str]) -> Serving {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Serving {
        inputs: owned(inputs),
        classes: owned(classes),
        ..Serving::default()
    }
}

fn decoded(
    task: Task,
    serving: &Serving,
    request: &str,
    response: &str,
) -> Decoded<PredictionBatch> {
    let expect = Expectations {
        task,
        default_version: Some("v1"),
        earliest: now() - TimeDelta::days(1),
        latest: now() + TimeDelta::days(1),
        received_at: now(),
        columns: no_columns(),
        limits: Limits::default(),
    };
    let served = Served {
        serving,
        task,
        positive_class: Some("yes"),
    };
    decode_inferences(&[inference(request, response)], served, &expect).expect("within the limits")
}

/// Ids, features by name and answers of the rows.
fn told(decoded: &Decoded<PredictionBatch>) -> String {
    assert_eq!(decoded.rejects.first(), []);
    let batch = &decoded.batch;
    let rows = (0..batch.len()).map(|row| {
        let mut features: Vec<String> = (batch.features.iter())
            .filter(|column| column.get(row) != Cell::Absent)
            .map(|column| match column.get(row) {
                Cell::Text(text) => format!("{}={text}", column.name),
                Cell::Integer(number) => format!("{}={number}", column.name),
                Cell::Number(number) => format!("{}={number}", column.name),
                other => format!("{}={other:?}", column.name),
            })
            .collect();
        features.sort();
        let output = &batch.outputs[row];
        let answer = match (output.value, output.score, &output.class) {
            (Some(value), ..) => format!("value {value}"),
            (_, Some(score), _) => format!("score {score}"),
            (_, _, Some(class)) => format!("class {class} {:?}", output.probabilities),
            _ => format!("error {:?}", batch.errors.get(row)),
        };
        let id = batch.prediction_ids.iter().nth(row).expect("a row");
        format!("{id}: {} -> {answer}", features.join(" "))
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[test]
fn bodies_of_both_protocols_are_rows() {
    let none = serving(&[], &[]);
    let named = serving(&["age", "plan"], &["no", "yes"]);
    let cases = [
        (
            "V1, objects",
            Task::Regression,
            &none,
            r#"{"instances":[{"age":41,"plan":"pro"},{"age":30,"plan":null}]}"#,
            r#"{"predictions":[1.5,2]}"#,
            "ce-1#0: age=41 plan=pro -> value 1.5\nce-1#1: age=30 plan=Null -> value 2",
        ),
        (
            "V1, lists with names from the model's file; a fraction is a score",
            Task::Binary,
            &named,
            r#"{"instances":[[41,"pro"]]}"#,
            r#"{"predictions":[0.25]}"#,
            "ce-1: age=41 plan=pro -> score 0.25",
        ),
        (
            "V1, lists without names; a whole number is a class",
            Task::Binary,
            &none,
            r#"{"instances":[[41,7.5]]}"#,
            r#"{"predictions":[1]}"#,
            "ce-1: input_0=41 input_1=7.5 -> class 1 []",
        ),
        (
            "V1, columns",
            Task::Regression,
            &none,
            r#"{"inputs":{"age":[41,30],"plan":["pro","free"]}}"#,
            r#"{"predictions":[1,2]}"#,
            "ce-1#0: age=41 plan=pro -> value 1\nce-1#1: age=30 plan=free -> value 2",
        ),
        (
            "V1, probabilities of named classes",
            Task::Binary,
            &named,
            r#"{"instances":[{"age":41}]}"#,
            r#"{"predictions":[[0.75,0.25]]}"#,
            "ce-1: age=41 -> score 0.25",
        ),
        (
            "V1, an answer with names",
            Task::Multiclass,
            &none,
            r#"{"instances":[{"age":41}]}"#,
            r#"{"predictions":[{"prediction":"cat","probabilities":{"cat":0.6,"dog":0.4},"took":3}]}"#,
            r#"ce-1: age=41 -> class cat [("cat", 0.6), ("dog", 0.4)]"#,
        ),
        (
            "V2, a column for each feature, an id, and a type that says it is a fraction",
            Task::Binary,
            &none,
            r#"{"id":"q","inputs":[{"name":"age","shape":[2,1],"datatype":"INT64","data":[[41],[30]]},
                {"name":"plan","shape":[2],"datatype":"BYTES","data":["pro","free"]}]}"#,
            r#"{"model_name":"m","outputs":[{"name":"out","shape":[2],"datatype":"FP32","data":[1,0.5]}]}"#,
            "q#0: age=41 plan=pro -> score 1\nq#1: age=30 plan=free -> score 0.5",
        ),
        (
            "V2, one tensor of all features, named by the model's file",
            Task::Binary,
            &named,
            r#"{"inputs":[{"name":"input-0","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}"#,
            r#"{"outputs":[{"name":"predict","shape":[2],"datatype":"INT64","data":[1,0]},
                {"name":"predict_proba","shape":[2,2],"datatype":"FP64","data":[0.1,0.9,0.8,0.2]}]}"#,
            "ce-1#0: age=1 plan=2 -> score 0.9\nce-1#1: age=3 plan=4 -> score 0.2",
        ),
        (
            "V2, several values for a row under one name",
            Task::Multiclass,
            &none,
            r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]},
                {"name":"y","shape":[1],"datatype":"FP32","data":[3]}]}"#,
            r#"{"outputs":[{"name":"o","shape":[1,2],"datatype":"FP32","data":[0.3,0.7]}]}"#,
            r#"ce-1: x_0=1 x_1=2 y=3 -> class 1 [("0", 0.3), ("1", 0.7)]"#,
        ),
        (
            "a model that failed",
            Task::Regression,
            &none,
            r#"{"instances":[{"age":41}]}"#,
            r#"{"error":"out of memory"}"#,
            r#"ce-1: age=41 -> error Some("out of memory")"#,
        ),
    ];
    for (name, task, serving, request, response, expected) in cases {
        let decoded = decoded(task, serving, request, response);
        assert_eq!(told(&decoded), expected, "{name}");
        assert_eq!(decoded.batch.latency_ms[0], Some(12.0), "{name}");
        assert_eq!(decoded.batch.predicted_at[0], now(), "{name}");
    }
}

#[test]
fn the_file_decides_where_types_do_not() {
    let mut serving = serving(&[], &[]);
    let (request, response) = (r#"{"instances":[{"a":1}]}"#, r#"{"predictions":[1]}"#);
    serving.answer = Some(Answer::Score);
    let as_score = decoded(Task::Binary, &serving, request, response);
    assert_eq!(as_score.batch.outputs[0].score, Some(1.0));
    serving.answer = Some(Answer::Prediction);
    let as_class = decoded(Task::Binary, &serving, request, response);
    assert_eq!(as_class.batch.outputs[0].class.as_deref(), Some("1"));
}

#[test]
fn a_version_comes_from_the_address_or_from_the_answer() {
    let none = serving(&[], &[]);
    let (request, response) = (
        r#"{"inputs":[{"name":"a","shape":[1],"datatype":"INT32","data":[1]}]}"#,
        r#"{"model_version":"7","outputs":[{"name":"o","shape":[1],"datatype":"FP32","data":[1]}]}"#,
    );
    let said = decoded(Task::Regression, &none, request, response);
    assert_eq!(said.batch.version(0), "7");
    let empty = response.replace("\"7\"", "\"\"");
    let unsaid = decoded(Task::Regression, &none, request, &empty);
    assert_eq!(unsaid.batch.version(0), "v1");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_cause_and_costs_nothing_else() {
    let named = serving(&["a", "b", "c"], &["x", "y", "z"]);
    let v1 = r#"{"predictions":[1]}"#;
    let one = r#"{"instances":[{"a":1}]}"#;
    for (task, request, response, field, cause) in [
        (
            Task::Regression,
            "\u{1}",
            v1,
            "request",
            "not a JSON object",
        ),
        (Task::Regression, "{}", v1, "request", "neither"),
        (Task::Regression, one, "{}", "response", "neither"),
        (
            Task::Regression,
            one,
            r#"{"predictions":[1,2]}"#,
            "response",
            "answers 2 rows",
        ),
        (
            Task::Regression,
            r#"{"instances":[]}"#,
            r#"{"predictions":[]}"#,
            "request",
            "no row",
        ),
        (
            Task::Regression,
            r#"{"instances":[[1,2]]}"#,
            v1,
            "request",
            "names 3",
        ),
        (
            Task::Regression,
            one,
            r#"{"predictions":[[1,2]]}"#,
            "response",
            "2 values",
        ),
        (
            Task::Multiclass,
            one,
            r#"{"predictions":[[1,2]]}"#,
            "response",
            "names 3",
        ),
        (
            Task::Binary,
            one,
            r#"{"predictions":[{"took":1}]}"#,
            "response",
            "say nothing",
        ),
        (
            Task::Regression,
            r#"{"instances":[{"a":{}}]}"#,
            v1,
            "a",
            "an object",
        ),
        (
            Task::Regression,
            r#"{"inputs":[{"name":"a","shape":[2],"datatype":"FP32","data":[1,2,3]}]}"#,
            v1,
            "request",
            "2 rows with 3 values",
        ),
        (
            Task::Regression,
            r#"{"inputs":[{"name":"a","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#,
            v1,
            "request",
            "binary tensors",
        ),
    ] {
        let found = decoded(task, &named, request, response);
        assert_eq!(found.batch.len(), 0, "{request} {response}");
        let reject = &found.rejects.first()[0];
        assert!(reject.cause.contains(cause), "{reject:?}");
        assert_eq!(reject.field, field, "{reject:?}");
    }
}

/// Of a model whose file says nothing of columns.
fn no_columns() -> &'static ColumnMap {
    static COLUMNS: std::sync::LazyLock<ColumnMap> = std::sync::LazyLock::new(ColumnMap::default);
    &COLUMNS
}
