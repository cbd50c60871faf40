//! Values that are none: null, NaN, infinite and empty are four different things.

use std::fmt::Write as _;

use super::{Folder, document, findings};

#[test]
fn null_nan_infinite_and_empty_values_are_told_apart() {
    let folder = Folder::new("values-that-are-none");
    let file = |name: &str, spoilt: bool| {
        let mut rows = "nulls,nans,infinite,texts\n".to_owned();
        for row in 0..200 {
            let number = format!("{row}.5");
            let (mut nulls, mut nans, mut infinite) = (number.clone(), number.clone(), number);
            if spoilt {
                match row % 10 {
                    0 => nulls.clear(),
                    1 => "NaN".clone_into(&mut nans),
                    2 => "-inf".clone_into(&mut infinite),
                    _ => {}
                }
            }
            writeln!(rows, "{nulls},{nans},{infinite},w{}", row % 7).expect("a string");
        }
        folder.write(name, rows)
    };
    let (sound, spoilt) = (file("sound.csv", false), file("spoilt.csv", true));
    let told = document(&sound, &spoilt, &[]);
    assert_eq!(findings(&told, "nulls"), ["null_share"]);
    assert_eq!(findings(&told, "nans"), ["nan_share"]);
    // What is infinite is in no range, and told as what it is.
    assert_eq!(findings(&told, "infinite"), ["infinite_share"]);
    assert_eq!(findings(&told, "texts"), [""; 0]);
    let schema = told["schema"].as_array().expect("a list");
    assert!(
        schema.iter().all(|finding| finding["value"] == 0.1),
        "{schema:#?}"
    );
    // An empty cell is null, so only formats with quotation marks that mean something have empty texts.
    let lines = |name: &str, empty: &str| {
        let lines = (0..200).map(|row| {
            let word = if row % 10 == 0 {
                empty.to_owned()
            } else {
                format!("w{}", row % 7)
            };
            format!("{{\"word\": \"{word}\", \"amount\": {row}}}\n")
        });
        folder.write(name, lines.collect::<String>())
    };
    let (full, empty) = (lines("full.ndjson", "w0"), lines("empty.ndjson", ""));
    let told = document(&full, &empty, &[]);
    assert!(
        findings(&told, "word").contains(&"empty_share"),
        "{told:#?}"
    );
    assert!(!findings(&told, "word").contains(&"null_share"));
}

#[test]
fn a_feature_that_only_the_models_file_names_is_not_taken_for_a_new_one() {
    let folder = Folder::new("values-of-nowhere");
    let model = folder.write(
        "model.yaml",
        "
models:
  - name: pets
    task: regression
    baselines: {training: {file: rows.csv}}
    schema: {from: training, features: {age: {max_null_share: 0.5}, weight: {required: true}}}
",
    );
    let rows: String = (0..50).fold("size\n".to_owned(), |rows, row| rows + &format!("{row}\n"));
    let file = folder.write("rows.csv", rows);
    let told = document(&file, &file, &["--model", model.to_str().expect("a path")]);
    assert_eq!(findings(&told, "age"), [""; 0]);
    assert_eq!(findings(&told, "weight"), ["missing_feature"]);
}

#[test]
fn files_of_mixed_cells_are_no_finding_against_themselves_and_lose_no_value() {
    let folder = Folder::new("values-mixed");
    let cells = |row: usize| {
        let pick = |values: &[&str]| values[row % values.len()].to_owned();
        [
            ("month", format!("{:02}", row % 12 + 1)),
            ("fips", format!("{:02}", row % 56 + 1)),
            ("size", pick(&["S", "M", "8.5", "9"])),
            ("release", pick(&["1.0", "2.0.1", "2", "1.1"])),
            ("agreed", pick(&["true", "false", "unknown"])),
            ("age", pick(&["18", "25", "unknown"])),
            ("infinite", pick(&["1.5", "inf", "-Inf", "2.5", "3.5"])),
            ("missing", pick(&["1", "2", "3", "NA"])),
        ]
    };
    let names = cells(0).map(|(name, _)| name);
    let mut csv = names.join(",") + "\n";
    let mut ndjson = String::new();
    for row in 0..1_680 {
        let row = cells(row);
        csv += &(row.clone().map(|(_, cell)| cell).join(",") + "\n");
        let members = row.map(|(name, cell)| {
            let typed = (cell.parse::<f64>().is_ok_and(f64::is_finite)
                && (cell.len() == 1 || !cell.starts_with('0')))
                || matches!(cell.as_str(), "true" | "false");
            match (typed, name) {
                (_, "infinite" | "missing") => format!("\"{name}\": 1"),
                (true, _) => format!("\"{name}\": {cell}"),
                (false, _) => format!("\"{name}\": \"{cell}\""),
            }
        });
        ndjson += &format!("{{{}}}\n", members.join(", "));
    }
    for (name, rows) in [("mixed.csv", csv), ("mixed.ndjson", ndjson)] {
        let file = folder.write(name, rows);
        let told = document(&file, &file, &["--fail-on", "schema"]);
        assert_eq!(told["schema"], serde_json::json!([]), "{name}");
        let measured = told["measurements"].as_array().expect("a list");
        for feature in ["month", "fips", "size", "release", "agreed", "age"] {
            let psi = (measured.iter())
                .find(|m| m["feature"] == feature && m["measure"] == "psi")
                .unwrap_or_else(|| panic!("{name}: {feature} is measured"));
            assert_eq!(psi["value"], 0.0, "{name}: {feature}");
            assert_eq!(psi["current_rows"], 1_680, "{name}: {feature}");
        }
    }
}

#[test]
fn a_constant_that_falls_is_drift() {
    let folder = Folder::new("values-constant");
    let file = |name: &str, value: &str| {
        folder.write(name, format!("level\n{}", format!("{value}\n").repeat(500)))
    };
    let told = document(&file("before.csv", "5.0"), &file("now.csv", "4.0"), &[]);
    let measured = told["measurements"].as_array().expect("a list");
    let moved = (measured.iter()).find(|m| m["measure"] == "total_variation");
    assert_eq!(
        moved.map(|m| &m["status"]),
        Some(&serde_json::json!("drift"))
    );
}
