//! Each format by a file of it, and what breaks them all.

use std::path::{Path, PathBuf};

use super::*;
use crate::domain::definitions::schema_yaml;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/schemas")
        .join(name)
}

/// What a file says, as it is written in a model's file, and below it what is not carried over.
fn told(name: &str) -> String {
    let imported = read(&path(name), None).unwrap_or_else(|error| panic!("{name}: {error}"));
    let notes: Vec<String> = imported
        .told()
        .iter()
        .map(|note| format!("# {note}\n"))
        .collect();
    let format = imported.format.name();
    format!(
        "# {format}\n{}{}",
        schema_yaml(&imported.features),
        notes.concat()
    )
}

#[test]
fn every_format_is_told_by_its_content_and_read() {
    for name in [
        "mlflow-MLmodel.yaml",
        "tfdv-schema.pbtxt",
        "great-expectations-0.18.json",
        "great-expectations-1.24.json",
        "sagemaker-constraints.json",
        "sagemaker-statistics.json",
        "evidently-data-definition.json",
        "evidently-data-definition.txt",
        "evidently-column-mapping.yaml",
        "odcs-3.1.yaml",
        "training.csv",
    ] {
        insta::assert_snapshot!(name, told(name));
    }
}

#[test]
fn text_and_binary_of_a_schema_say_the_same() {
    let text = read(&path("tfdv-schema.pbtxt"), None).expect("is read");
    let binary = read(&path("tfdv-schema.pb"), Some(SchemaFormat::Tfdv)).expect("is read");
    assert_eq!(text.features, binary.features);
    let causes = |imported: &Imported| -> Vec<String> {
        imported
            .notes
            .iter()
            .map(|note| note.cause.clone())
            .collect()
    };
    let sorted = |mut causes: Vec<String>| {
        causes.sort();
        causes
    };
    assert_eq!(sorted(causes(&text)), sorted(causes(&binary)));
}

#[test]
fn a_signature_of_tensors_is_refused_with_the_reason() {
    let refused = read(&path("mlflow-tensor.json"), None).expect_err("no column");
    assert_eq!(
        refused.to_string(),
        "the MLflow signature has no feature that rows could have: inputs[0] (image): a tensor of shape [-1,28,28] is no column: \
         rows have one value for each feature"
    );
}

#[test]
fn a_later_file_stands_over_an_earlier_one() {
    let mut imported = read(&path("sagemaker-statistics.json"), None).expect("is read");
    imported.extend(read(&path("sagemaker-constraints.json"), None).expect("is read"));
    let distance = imported
        .features
        .iter()
        .find(|f| f.feature == "distance")
        .expect("known");
    // The range is the statistics', the share of nulls and the end at zero the constraints'.
    assert_eq!(
        distance.maximum,
        crate::domain::schema::Limit::Given(4983.0)
    );
    assert_eq!(distance.minimum, crate::domain::schema::Limit::Given(0.0));
    assert!(
        distance
            .max_null_share
            .is_some_and(|share| (share - 0.03).abs() < 1e-9)
    );
    assert_eq!(imported.features.len(), 6);
}

#[test]
fn what_is_none_of_them_is_told_so_with_place_and_cause() {
    for (text, expected) in [
        (
            "",
            "its content tells no format; known are data, mlflow, tfdv, great-expectations, sagemaker, evidently, odcs: name one with --from",
        ),
        (
            "just some words",
            "its content tells no format; known are data, mlflow, tfdv, great-expectations, sagemaker, evidently, odcs: name one with --from",
        ),
        (
            "{\"a\": 1}",
            "its content tells no format; known are data, mlflow, tfdv, great-expectations, sagemaker, evidently, odcs: name one with --from",
        ),
        (
            "{\"inputs\": [{",
            "read it as JSON: EOF while parsing an object at line 1 column 13",
        ),
        (
            "{\"inputs\": \"[{\"}",
            "read it as JSON inside the signature: inputs: EOF while parsing an object at line 1 column 2",
        ),
        (
            "feature {\n  name: \"a\n}",
            "read it as a text protocol buffer: line 2: a text does not end",
        ),
        (
            "kind: DataContract\napiVersion: v2.2.2\n",
            "the ODCS data contract has no feature that rows could have: apiVersion: version \"v2.2.2\" of the standard is not read; v3 is",
        ),
        (
            "flavors: {python_function: {}}\n",
            "the MLflow signature has no feature that rows could have: signature: the model was logged without a signature",
        ),
    ] {
        let refused = decode(text.as_bytes(), None).expect_err(text);
        assert_eq!(refused.to_string(), expected, "{text:?}");
    }
}

#[test]
fn names_that_no_row_can_have_are_noted_and_others_made_canonical() {
    let text = "{\"inputs\": [{\"name\": \"e\\u0301\", \"type\": \"double\"}, {\"name\": \"a\\u200b\", \"type\": \"double\"},
                 {\"name\": \"\", \"type\": \"double\"}, {\"name\": \"\\u00e9\", \"type\": \"long\"}]}";
    let imported = decode(text.as_bytes(), None).expect("is read");
    let names: Vec<&str> = imported
        .features
        .iter()
        .map(|f| f.feature.as_str())
        .collect();
    assert_eq!(names, ["\u{E9}"]);
    let notes: Vec<String> = imported.told();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].starts_with("inputs[1] (a): the name holds the invisible character U+200B"));
    assert_eq!(
        notes[2],
        "inputs[3] (\u{E9}): the name occurs twice; the first stands"
    );
}

#[test]
fn columns_of_a_contract_go_by_their_physical_names() {
    let text = "kind: DataContract
apiVersion: v3.0.2
schema:
  - name: flights
    properties:
      - {name: Seats, physicalName: seat_count, logicalType: integer}
      - {name: carrier, physicalName: carrier, logicalType: string}
      - {physicalName: gate, logicalType: string}
";
    let imported = decode(text.as_bytes(), None).expect("is read");
    let names: Vec<&str> = (imported.features.iter())
        .map(|f| f.feature.as_str())
        .collect();
    assert_eq!(names, ["seat_count", "carrier", "gate"]);
    let of_names: Vec<String> = (imported.told().into_iter())
        .filter(|note| note.contains("physicalName"))
        .collect();
    assert_eq!(
        of_names,
        [
            "schema[0].properties[0] (seat_count): it goes by its physicalName; \"Seats\" is its logical name"
        ]
    );
}

#[test]
fn notes_of_one_cause_are_told_once_with_their_number() {
    let note = |at: usize| Note {
        place: format!("features[{at}]"),
        cause: "no word for it".to_owned(),
    };
    let told = |count: usize| {
        Imported {
            format: SchemaFormat::Mlflow,
            features: Vec::new(),
            notes: (0..count).map(note).collect(),
        }
        .told()
    };
    assert_eq!(told(1), ["features[0]: no word for it"]);
    assert_eq!(
        told(2),
        ["features[0], features[1]: no word for it (2 times)"]
    );
    assert_eq!(
        told(7),
        ["features[0], features[1], features[2] and 4 more: no word for it (7 times)"]
    );
}

#[test]
fn uniqueness_and_tolerated_masses_carry_over() {
    let said = |text: &str| {
        let imported = decode(text.as_bytes(), None).expect("is read");
        (schema_yaml(&imported.features), imported.told())
    };
    let (tfdv, told) = said(
        "feature { name: \"id\" type: BYTES unique_constraints { min: 2 max: 40 } distribution_constraints { min_domain_mass: 0.95 } }\n",
    );
    assert!(told.is_empty(), "{told:?}");
    for line in [
        "min_distinct: 2",
        "max_distinct: 40",
        "max_outside_share: 0.05",
    ] {
        assert!(tfdv.contains(line), "{line} in {tfdv}");
    }
    let expectation = |kind: &str, kwargs: &str| {
        format!(r#"{{"type": "expect_column_{kind}", "kwargs": {{"column": "id", {kwargs}}}}}"#)
    };
    let suite = |expectations: &[String]| {
        said(&format!(
            r#"{{"meta": {{}}, "expectations": [{}]}}"#,
            expectations.join(", ")
        ))
    };
    let (yaml, told) = suite(&[
        expectation("values_to_be_unique", r#""mostly": 0.9"#),
        expectation(
            "proportion_of_unique_values_to_be_between",
            r#""min_value": 0.98"#,
        ),
        expectation(
            "unique_value_count_to_be_between",
            r#""min_value": 3, "max_value": 9"#,
        ),
        expectation(
            "values_to_be_between",
            r#""min_value": 0, "max_value": 5, "mostly": 0.75"#,
        ),
    ]);
    assert!(told.is_empty(), "{told:?}");
    let lines = [
        "max_duplicate_share: 0.02",
        "min_distinct: 3",
        "max_distinct: 9",
        "max_outside_share: 0.25",
    ];
    for line in lines {
        assert!(yaml.contains(line), "{line} in {yaml}");
    }
    let (_, told) = suite(&[
        expectation(
            "proportion_of_unique_values_to_be_between",
            r#""min_value": 0.1, "max_value": 0.5"#,
        ),
        expectation(
            "unique_value_count_to_be_between",
            r#""min_value": 9, "max_value": 3"#,
        ),
    ]);
    assert_eq!(told.len(), 2, "{told:?}");
    let contract = |properties: &str| {
        said(&format!(
            "apiVersion: v3.1.0\nkind: DataContract\nschema:\n  - name: t\n    properties:\n{properties}"
        ))
    };
    let (yaml, told) = contract(
        "      - {name: id, logicalType: integer, primaryKey: true}\n      - {name: code, logicalType: string, unique: true}\n",
    );
    assert_eq!(
        yaml.matches("max_duplicate_share: 0\n").count(),
        2,
        "{yaml}"
    );
    assert!(told.is_empty(), "{told:?}");
    let (yaml, told) = contract(
        "      - {name: id, logicalType: integer, primaryKey: true}\n      - {name: at, logicalType: timestamp, primaryKey: true}\n",
    );
    assert!(!yaml.contains("max_duplicate_share"), "{yaml}");
    assert!(
        told.iter()
            .any(|note| note.contains("a key of several properties")),
        "{told:?}"
    );
    let (yaml, _) = contract(
        "      - name: id\n        logicalType: integer\n        quality: [{type: library, metric: duplicateValues, mustBeLessThan: 5, unit: percent}]\n",
    );
    assert!(yaml.contains("max_duplicate_share: 0.05"), "{yaml}");
}
