//! The modes of other tools: their values, their choices, their verdicts.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Folder, compare, document, findings, flights_in, rows_with, text, trusted};

/// What a tool's mode may be off by, relative to the value.
const PARITY: f64 = 1e-6;

/// Feature, month and measure.
type Key = (String, String, String);

/// NannyML's Wasserstein of a column that is stored in single precision: it makes its 10,000 bins in single precision, too.
const IN_SINGLE_PRECISION: (&str, &str, f64) = ("predicted_delay_min", "wasserstein", 2e-5);

/// Compares every measurement that has a trusted value, and says how many are the same, and how many differ for the one reason
/// there is and by no more than that explains.
fn held_against(document: &Value, trusted: &BTreeMap<Key, f64>) -> (usize, usize) {
    let (mut same, mut explained) = (0, 0);
    for measured in document["measurements"].as_array().expect("a list") {
        let start = measured["window"]["start"].as_str().expect("a time");
        let word = |key: &str| measured[key].as_str().expect("a word").to_owned();
        let key = (word("feature"), start[..7].to_owned(), word("measure"));
        let Some(exact) = trusted.get(&key).filter(|value| value.is_finite()) else {
            continue;
        };
        let ours = measured["value"].as_f64().expect("a number");
        let off = (ours - exact).abs();
        if off <= PARITY * exact.abs() + 1e-9 {
            same += 1;
            continue;
        }
        let (column, measure, limit) = IN_SINGLE_PRECISION;
        assert_eq!(
            (key.0.as_str(), key.2.as_str()),
            (column, measure),
            "{key:?}: {ours} {exact}"
        );
        assert!(off <= limit * exact.abs(), "{key:?}: {ours} {exact}");
        explained += 1;
    }
    (same, explained)
}

#[test]
fn modes_give_the_tools_values_by_month() {
    let folder = Folder::new("modes");
    let files = flights_in(&folder);
    let names = [
        ("evidently_js", "Jensen-Shannon distance"),
        ("evidently_psi", "PSI"),
        ("evidently_hellinger", "Hellinger distance"),
        ("evidently_ks_p", "K-S p_value"),
        (
            "evidently_wasserstein_norm",
            "Wasserstein distance (normed)",
        ),
        ("evidently_chi2_p", "chi-square p_value"),
    ];
    let mut evidently = BTreeMap::new();
    for ((column, window), values) in trusted() {
        for (metric, measure) in names {
            if let Some(value) = values.get(metric) {
                let key = (column.clone(), window.clone(), measure.to_owned());
                evidently.insert(key, *value);
            }
        }
    }
    let document_of = |mode| document(&files[0], &files[1], &["--by", "month", "--mode", mode]);
    let document = document_of("evidently");
    let compared = held_against(&document, &evidently);
    let finite = evidently.values().filter(|value| value.is_finite()).count();
    assert_eq!(compared, (finite, 0), "every value of the tool is given");
    let all = document["measurements"].as_array().expect("a list");
    let of = |feature: &str, month: &str| -> Vec<&Value> {
        let start = format!("2013-{month}-01T00:00:00Z");
        let is_it = |m: &&Value| m["feature"] == feature && m["window"]["start"] == start.as_str();
        all.iter().filter(is_it).collect()
    };
    let temp = of("temp", "06");
    let chosen: Vec<&&Value> = temp.iter().filter(|m| m["chosen"] == true).collect();
    assert_eq!(chosen.len(), 1);
    assert_eq!(chosen[0]["measure"], "Wasserstein distance (normed)");
    assert_eq!(chosen[0]["verdict"], "drift");
    assert_eq!(chosen[0]["status"], "drift");
    assert_eq!(chosen[0]["threshold"], 0.1);
    assert_eq!(chosen[0]["drift_when"], "at_least");

    // NannyML divided probabilities by their sum before it measured them.
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reference/nannyml_flights.csv");
    let mut reader = csv::Reader::from_path(path).expect("readable");
    let mut nannyml = BTreeMap::new();
    for record in reader.records().map(|record| record.expect("a record")) {
        if record[3].starts_with("proba_") {
            continue;
        }
        if let Some(measure) = record[4].strip_suffix(".value") {
            let value: f64 = record[5].parse().expect("a number");
            nannyml.insert(
                (
                    record[3].to_owned(),
                    record[1].to_owned(),
                    measure.to_owned(),
                ),
                value,
            );
        }
    }
    let document = document_of("nannyml");
    let of_wasserstein = nannyml
        .keys()
        .filter(|(.., measure)| measure == "wasserstein");
    assert_eq!(of_wasserstein.count(), 104);
    assert_eq!(held_against(&document, &nannyml), (nannyml.len() - 8, 8));
    for measured in document["measurements"].as_array().expect("a list") {
        assert_ne!(measured["verdict"], "no_threshold", "{measured}");
    }
}

#[test]
fn modes_are_written_in_every_format_and_judge_by_the_tool() {
    let folder = Folder::new("mode-formats");
    let reference = folder.write("reference.csv", rows_with(0.0, &["red", "blue"]));
    let moved = rows_with(60.0, &["red", "blue"]).replace(",3\n", ",x\n");
    let moved = folder.write("moved.csv", moved);
    let code = |current: &Path, mode: &str| {
        let options = ["--mode", mode, "--fail-on", "drift"];
        compare(&reference, current, &options).status.code()
    };
    for mode in ["evidently", "nannyml", "azure", "sagemaker"] {
        assert_eq!(code(&reference, mode), Some(0), "{mode}");
        assert_eq!(code(&moved, mode), Some(1), "{mode}");
    }
    assert_eq!(
        code(&moved, "tfdv"),
        Some(0),
        "it has no threshold by itself"
    );
    let options = ["--mode", "azure", "--by", "week", "--segment", "colour"];
    let document = document(&reference, &moved, &options);
    assert_eq!(document["mode"], "azure");
    let measured = document["measurements"].as_array().expect("a list");
    let is_there = |m: &&Value| m["segment"] == "colour=red" && m["window"]["grain"] == "week";
    assert!(measured.iter().any(|m| is_there(&m)));
    assert!(
        findings(&document, "code").contains(&"wrong_type"),
        "what is left out is told"
    );
    for format in ["table", "html", "junit"] {
        let options = [&options[..], &["--format", format]].concat();
        let written = text(&compare(&reference, &moved, &options), 0);
        assert!(
            written.contains("NormalizedWassersteinDistance"),
            "{format}: {written}"
        );
        assert!(
            written.contains("values that are no "),
            "{format}: {written}"
        );
        assert!(
            !written.contains("jensen_shannon"),
            "{format}: nothing of ours beside it"
        );
    }
    // Where a feature is worst is said where there are several places.
    for (options, is_said) in [(&options[..2], false), (&options[..4], true)] {
        let options = [options, &["--format", "html"]].concat();
        let page = text(&compare(&reference, &moved, &options), 0);
        assert_eq!(page.contains("<th>worst in</th>"), is_said, "{page}");
    }
    // By a tool that does not look at the schema: nobody is told that it is well, or may stop at it.
    assert_eq!(document["schema_checked"], true);
    for (current, format, told) in [
        (&reference, "table", "; schema not checked"),
        (
            &moved,
            "table",
            "1 schema finding, otherwise the schema is not checked",
        ),
        (
            &reference,
            "junit",
            "<skipped message=\"with --mode it is not checked\"/>",
        ),
    ] {
        let written = compare(
            &reference,
            current,
            &["--mode", "nannyml", "--format", format],
        );
        let written = text(&written, 0);
        assert!(written.contains(told), "{format}: {written}");
    }
    let stopping = ["--mode", "nannyml", "--fail-on", "schema"];
    assert_eq!(
        compare(&reference, &moved, &stopping).status.code(),
        Some(2)
    );
    let mixed = compare(
        &reference,
        &moved,
        &["--mode", "azure", "--threshold", "psi=1"],
    );
    assert_eq!(mixed.status.code(), Some(2));
}

#[test]
fn checks_have_the_tools_names_and_verdicts() {
    let folder = Folder::new("checks");
    let reference: Vec<String> = (0..400)
        .map(|row| format!("{},{},{}", row % 50, ["a", "b"][row % 2], row))
        .collect();
    let reference = folder.write(
        "reference.csv",
        format!("n,c,gone\n{}\n", reference.join("\n")),
    );
    let current: Vec<String> = (0..400)
        .map(|row| match row {
            0..100 => format!(",z,{row}"),
            _ => format!("{}.5,{},{row}", row % 50 + 70, ["a", "b"][row % 2]),
        })
        .collect();
    let current = folder.write("current.csv", format!("n,c,new\n{}\n", current.join("\n")));
    let failed = |mode: &str| {
        let document = document(&reference, &current, &["--mode", mode]);
        let checks = document["checks"].as_array().expect("a list").iter();
        let failed = checks.filter(|check| check["failed"] == true);
        let mut told: Vec<String> = failed
            .map(|check| {
                format!(
                    "{} {}",
                    check["check"].as_str().expect("a name"),
                    check["feature"].as_str().expect("a name")
                )
            })
            .collect();
        told.sort();
        told
    };
    assert_eq!(failed("evidently"), ["DriftedColumnsCount "]);
    assert_eq!(failed("nannyml"), ["alert "]);
    assert_eq!(
        failed("azure"),
        ["NullValueRate n", "OutOfBoundsRate c", "OutOfBoundsRate n"]
    );
    assert_eq!(
        failed("tfdv"),
        [
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES c",
            "FEATURE_TYPE_LOW_FRACTION_PRESENT n",
            "SCHEMA_MISSING_COLUMN gone",
            "SCHEMA_NEW_COLUMN new",
            "UNEXPECTED_DATA_TYPE n",
        ]
    );
    assert_eq!(
        failed("sagemaker"),
        [
            "baseline_drift_check c",
            "baseline_drift_check n",
            "categorical_values_check c",
            "completeness_check n",
            "data_type_check n",
            "extra_column_check new",
            "missing_column_check gone",
        ]
    );
    // A pipeline can stop at them, where the tool checks the schema at all.
    for (mode, code) in [
        ("tfdv", 1),
        ("sagemaker", 1),
        ("azure", 1),
        ("evidently", 2),
        ("nannyml", 2),
    ] {
        let output = compare(
            &reference,
            &current,
            &["--mode", mode, "--fail-on", "schema"],
        );
        assert_eq!(output.status.code(), Some(code), "{mode}");
    }
    let output = compare(
        &reference,
        &reference,
        &["--mode", "tfdv", "--fail-on", "schema"],
    );
    let table = text(&output, 0);
    assert!(table.contains("all checks passed"), "{table}");
    for format in ["table", "html", "junit"] {
        let output = compare(
            &reference,
            &current,
            &["--mode", "sagemaker", "--format", format],
        );
        assert!(text(&output, 0).contains("completeness_check"), "{format}");
    }
}
