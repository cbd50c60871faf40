//! What is measured of each feature, and what is said where nothing can be.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::{Folder, compare, document, text};

/// Rows with an amount that is moved, and is missing where `is_missing` says so.
fn rows(folder: &Folder, name: &str, shift: f64, is_missing: fn(u32) -> bool) -> PathBuf {
    let mut rows = "amount,word,size\n".to_owned();
    for row in 0..400_u32 {
        let amount = f64::from(row.wrapping_mul(2_654_435_761) % 1_000) / 10.0 + shift;
        let amount = if is_missing(row) {
            String::new()
        } else {
            format!("{amount:.2}")
        };
        writeln!(rows, "{amount},w{},{}", row % 3, row % 11).expect("a string");
    }
    folder.write(name, rows)
}

fn of<'d>(document: &'d Value, feature: &str, measure: &str) -> &'d Value {
    let measured = document["measurements"].as_array().expect("a list");
    let found = measured
        .iter()
        .find(|m| m["feature"] == feature && m["measure"] == measure);
    found.unwrap_or_else(|| panic!("no {measure} of {feature}: {document:#}"))
}

fn model(folder: &Folder, monitor: &str) -> String {
    let model = folder.write(
        "model.yaml",
        format!(
            "models:\n  - name: m\n    task: regression\n    baselines: {{training: {{file: r.parquet}}}}\n    monitors:\n      \
             - {{name: d, kind: drift, window: day, baseline: training, {monitor}}}\n"
        ),
    );
    model.to_str().expect("a path").to_owned()
}

#[test]
fn what_the_monitor_of_a_model_measures_is_measured_in_files() {
    let folder = Folder::new("measures-of-a-model");
    let reference = rows(&folder, "reference.csv", 0.0, |_| false);
    let moved = rows(&folder, "moved.csv", 20.0, |_| false);
    let file = model(
        &folder,
        "measures: [energy_distance, psi, anderson_darling], thresholds: {energy_distance: 0.05}",
    );
    let options = ["--model", &file];
    let told = document(&reference, &moved, &options);
    assert_eq!(of(&told, "amount", "energy_distance")["status"], "drift");
    assert_eq!(
        of(&told, "amount", "energy_distance")["recipe"]["threshold"],
        0.05
    );
    assert_eq!(of(&told, "size", "energy_distance")["status"], "ok");
    assert!(of(&told, "amount", "anderson_darling")["value"].is_number());
    assert_eq!(of(&told, "amount", "psi")["recipe"].get("threshold"), None);
    let failing = ["--model", &file, "--fail-on", "drift"];
    let table = text(&compare(&reference, &moved, &failing), 1);
    assert!(table.contains("(energy_distance "), "{table}");
    let page = ["--model", &file, "--format", "html"];
    let page = text(&compare(&reference, &moved, &page), 0);
    assert!(page.contains("energy_distance"), "{page}");
}

#[test]
fn every_measure_of_counts_may_have_a_threshold() {
    let folder = Folder::new("measures-by-threshold");
    let reference = rows(&folder, "reference.csv", 0.0, |_| false);
    let moved = rows(&folder, "moved.csv", 20.0, |row| row % 4 == 0);
    let without = document(&reference, &moved, &[]);
    let usual = without["measurements"].as_array().expect("a list");
    assert!(usual.iter().all(|m| m["measure"] != "energy_distance"));
    for (measure, threshold) in [
        ("energy_distance", 0.05),
        ("anderson_darling", 5.0),
        ("cramer_von_mises", 1.0),
        ("g_test", 30.0),
        ("wasserstein_normalised", 0.1),
        ("missing_share_change", 0.2),
    ] {
        let given = format!("{measure}={threshold}");
        let told = document(&reference, &moved, &["--threshold", &given]);
        let measured = of(&told, "amount", measure);
        assert_eq!(measured["status"], "drift", "{measured}");
        assert_eq!(of(&told, "size", measure)["status"], "ok");
    }
    let told = document(
        &reference,
        &moved,
        &["--threshold", "missing_share_change=0.2"],
    );
    let missing = of(&told, "amount", "missing_share_change");
    assert_eq!(missing["value"], 0.25);
    assert_eq!(missing["current_rows"], 400);
    assert_eq!(of(&told, "amount", "psi")["current_rows"], 300);
    assert!(of(&told, "word", "missing_share_change")["value"].is_number());
}

#[test]
fn a_feature_without_values_is_told_of_by_every_measure_and_is_never_well() {
    let folder = Folder::new("measures-of-nothing");
    let reference = rows(&folder, "reference.csv", 0.0, |_| false);
    let empty = rows(&folder, "empty.csv", 0.0, |_| true);
    let options = ["--threshold", "missing_share_change=2"];
    let told = document(&reference, &empty, &options);
    let measured = told["measurements"].as_array().expect("a list");
    let of_amount = measured.iter().filter(|m| m["feature"] == "amount");
    let insufficient = of_amount.clone().filter(|m| m["status"] == "insufficient");
    let measures: BTreeSet<&str> = insufficient.filter_map(|m| m["measure"].as_str()).collect();
    assert_eq!(
        measures.into_iter().collect::<Vec<_>>(),
        [
            "chi2",
            "hellinger",
            "jensen_shannon",
            "kolmogorov_smirnov",
            "l_infinity",
            "psi",
            "total_variation",
            "wasserstein"
        ]
    );
    assert_eq!(of_amount.count(), 9);
    // All values are missing, which is within this threshold, and says nothing of how they are distributed.
    assert_eq!(of(&told, "amount", "missing_share_change")["status"], "ok");
    let table = text(&compare(&reference, &empty, &options), 0);
    let line = table
        .lines()
        .find(|line| line.contains("amount"))
        .expect("a line");
    assert!(line.starts_with("insufficient"), "{table}");
    assert!(table.contains("1: too little to say"), "{table}");
    let junit = [&options[..], &["--format", "junit"]].concat();
    let junit = text(&compare(&reference, &empty, &junit), 0);
    let case = junit.split("name=\"amount\"").nth(1).expect("a case");
    assert!(case.starts_with(">\n      <skipped"), "{junit}");
}

#[test]
fn a_reference_without_rows_is_told_as_one() {
    let folder = Folder::new("measures-without-rows");
    let current = rows(&folder, "current.csv", 0.0, |_| false);
    let nothing = folder.write("nothing.csv", "amount,word,size\n");
    let told = document(&nothing, &current, &["--segment", "word"]);
    for measured in told["measurements"].as_array().expect("a list") {
        assert_eq!(measured["recipe"]["cause"], "the reference has no rows");
    }
    let part = std::fs::read_to_string(&current).expect("text");
    let part = part.replace("w2", "w1");
    let part = folder.write("part.csv", part);
    let told = document(&part, &current, &["--segment", "word"]);
    let measured = told["measurements"].as_array().expect("a list").iter();
    let mut of_two = measured.filter(|m| m["segment"] == "word=w2");
    let cause = "the reference has no rows of this segment";
    assert!(of_two.all(|m| m["recipe"]["cause"] == cause));
}

#[test]
fn recipes_have_the_bins_that_were_compared() {
    let folder = Folder::new("edges");
    let files = ["reference", "current"].map(|name| {
        let shift = if name == "current" { 50 } else { 0 };
        let rows: Vec<String> = (0..1_000)
            .map(|row| format!("{},{}", row + shift, ["red", "blue", "green"][row % 3]))
            .collect();
        folder.write(
            &format!("{name}.csv"),
            format!("amount,colour\n{}\n", rows.join("\n")),
        )
    });
    let document = document(&files[0], &files[1], &[]);
    let measured = document["measurements"].as_array().expect("a list");
    let recipe = |feature: &str, measure: &str| {
        let found = measured
            .iter()
            .find(|m| m["feature"] == feature && m["measure"] == measure);
        &found.expect("measured")["recipe"]
    };
    let edges: Vec<f64> =
        serde_json::from_value(recipe("amount", "psi")["edges"].clone()).expect("edges");
    let deciles: Vec<f64> = (1..10).map(|tenth| f64::from(tenth) * 99.9).collect();
    assert_eq!(edges.len(), 9);
    for (edge, decile) in edges.iter().zip(deciles) {
        assert!((edge - decile).abs() < 1.0, "{edges:?}");
    }
    // With them the value can be computed again.
    let share = |side: f64, below: f64, above: f64| {
        let inside = (0..1_000)
            .map(|row| f64::from(row) + side)
            .filter(|n| *n > below && *n <= above);
        (inside.count() as f64 / 1_000.0).max(1e-4)
    };
    let lower = std::iter::once(f64::NEG_INFINITY).chain(edges.iter().copied());
    let upper = edges.iter().copied().chain([f64::INFINITY]);
    let psi: f64 = lower
        .zip(upper)
        .map(|(low, high)| {
            let (p, q) = (share(0.0, low, high), share(50.0, low, high));
            (q - p) * (q / p).ln()
        })
        .sum();
    let value = measured
        .iter()
        .find(|m| m["feature"] == "amount" && m["measure"] == "psi");
    let value = value.expect("measured")["value"]
        .as_f64()
        .expect("a number");
    assert!((psi / value - 1.0).abs() < 1e-9, "{psi} {value}");
    assert_eq!(
        recipe("colour", "chi2")["categories"],
        serde_json::json!(["blue", "green", "red"])
    );
    assert!(recipe("colour", "chi2").get("edges").is_none());
    // Over cells, whose edges are there once.
    assert!(
        recipe("amount", "kolmogorov_smirnov")
            .get("edges")
            .is_none()
    );
    let cells = document["cells"]["amount"].as_array().expect("edges");
    let bins = recipe("amount", "kolmogorov_smirnov")["bins"].as_u64();
    assert_eq!(bins, Some(cells.len() as u64 + 1));
    assert!(document["cells"].get("colour").is_none());
    // Every value that is there has an interval.
    for m in measured.iter().filter(|m| !m["value"].is_null()) {
        assert!(
            m["interval"].is_array(),
            "{} of {}",
            m["measure"],
            m["feature"]
        );
    }
}
