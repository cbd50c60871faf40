//! The JSON Schemas in `docs/schemas` are written by hand, because their descriptions are for people who type in
//! an editor. These tests keep their keys and words the same as those that are read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    TOP_KEYS, against, fields, model, monitors, quality, receiver, rule, runbook, serving,
};
use crate::domain::measurement::Measure;
use crate::domain::runbook::comparable;

fn schema(text: &str) -> Value {
    serde_json::from_str(text).expect("a schema is JSON")
}

fn configuration() -> Value {
    schema(include_str!("../../../docs/schemas/configuration.json"))
}

fn step() -> Value {
    schema(include_str!("../../../docs/schemas/runbook-step.json"))
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let properties = object["properties"].as_object().expect("an object schema");
    assert_eq!(object["additionalProperties"], false);
    properties.keys().map(String::as_str).collect()
}

fn words(list: &Value) -> BTreeSet<&str> {
    let words = list.as_array().expect("a list of words");
    words
        .iter()
        .map(|word| word.as_str().expect("a word"))
        .collect()
}

fn set<'a>(known: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    known.into_iter().collect()
}

fn first<'a, T>(known: &'a [(&'a str, T)]) -> BTreeSet<&'a str> {
    known.iter().map(|(word, _)| *word).collect()
}

#[test]
fn the_schema_of_configuration_has_the_keys_that_are_read() {
    let root = configuration();
    assert_eq!(keys(&root), set(TOP_KEYS.iter().copied()));
    let columns = model::column_keys();
    let cases = [
        ("columns", columns.as_slice()),
        ("project", receiver::PROJECT_KEYS),
        ("retention", receiver::RETENTION_KEYS),
        ("model", model::MODEL_KEYS),
        ("file_baseline", model::FILE_KEYS),
        ("window_baseline", model::WINDOW_KEYS),
        ("schema", model::SCHEMA_KEYS),
        ("feature", model::FEATURE_KEYS),
        ("serving", serving::KEYS),
        ("monitor", monitors::MONITOR_KEYS),
        ("against", against::AGAINST_KEYS),
        ("binary_values", quality::BINARY_VALUE_KEYS),
        ("class_values", quality::CLASS_VALUE_KEYS),
        ("sequential", quality::SEQUENTIAL_KEYS),
        ("rule", rule::RULE_KEYS),
        ("when", rule::WHEN_KEYS),
        ("needs", rule::NEEDS_KEYS),
        ("receiver", receiver::RECEIVER_KEYS),
        ("email", receiver::EMAIL_KEYS),
        ("webhook", receiver::WEBHOOK_KEYS),
        ("pipeline", receiver::PIPELINE_KEYS),
        ("secret", fields::SECRET_KEYS),
    ];
    for (name, known) in cases {
        assert_eq!(
            keys(&root["$defs"][name]),
            set(known.iter().copied()),
            "{name}"
        );
    }
}

#[test]
fn the_schema_of_configuration_has_the_words_that_are_read() {
    let root = configuration();
    let defs = &root["$defs"];
    let of = |object: &str, key: &str| defs[object]["properties"][key]["enum"].clone();
    let cases = [
        (of("model", "task"), first(model::TASKS)),
        (of("monitor", "kind"), first(monitors::KINDS)),
        (of("monitor", "window"), first(model::GRAINS)),
        (of("feature", "type"), first(model::TYPES)),
        (of("serving", "answer"), first(serving::ANSWERS)),
        (of("rule", "severity"), first(rule::SEVERITIES)),
        (
            defs["against"]["properties"]["season"]["items"]["enum"].clone(),
            first(against::SEASONS),
        ),
        (
            defs["measure"]["enum"].clone(),
            Measure::ALL.iter().map(|m| m.as_str()).collect(),
        ),
        (
            defs["drift_measure"]["enum"].clone(),
            Measure::of_drift().map(Measure::as_str).collect(),
        ),
    ];
    for (listed, known) in cases {
        assert_eq!(words(&listed), known);
    }
    assert_eq!(
        keys(&defs["thresholds"]),
        // What is judged over days has gates of its own.
        set(Measure::of_drift()
            .filter(|measure| !measure.is_over_days())
            .map(Measure::as_str))
    );
}

#[test]
fn the_schema_of_steps_has_the_keys_and_words_that_are_read() {
    let root = step();
    let defs = &root["$defs"];
    let cases = [
        ("diagnose", runbook::DIAGNOSE_KEYS),
        ("approve", runbook::APPROVE_KEYS),
        ("trigger", runbook::TRIGGER_KEYS),
        ("gate", runbook::GATE_KEYS),
        ("promote", runbook::PROMOTE_KEYS),
        ("watch", runbook::WATCH_KEYS),
    ];
    for (name, known) in cases {
        assert_eq!(keys(&defs[name]), set(known.iter().copied()), "{name}");
        assert_eq!(defs[name]["properties"]["kind"]["const"], name);
    }
    let checks = &defs["diagnose"]["properties"]["checks"]["items"]["enum"];
    assert_eq!(words(checks), first(runbook::CHECKS));
    let versions = &defs["promote"]["properties"]["version"]["enum"];
    assert_eq!(words(versions), first(runbook::VERSIONS));
    let measures = Measure::ALL.iter().copied().filter(|m| comparable(*m));
    assert_eq!(
        words(&defs["measure"]["enum"]),
        measures.map(Measure::as_str).collect()
    );
}

#[test]
fn the_schema_of_front_matter_has_the_keys_that_are_read() {
    let root = schema(include_str!(
        "../../../docs/schemas/runbook-front-matter.json"
    ));
    assert_eq!(keys(&root), set(runbook::FRONT_MATTER_KEYS.iter().copied()));
}
