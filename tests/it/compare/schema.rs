//! What is expected of the features of files, by the reference, a model's file or another tool's.

use std::fmt::Write as _;

use super::{Folder, compare, document, findings, text};

/// Forty rows of these columns: numbers, different from column to column.
fn rows(columns: &[&str]) -> String {
    let mut rows = columns.join(",") + "\n";
    for row in 0..40_usize {
        let cells = (1..=columns.len()).map(|column| (row * (2 * column + 1) % 37).to_string());
        rows += &(cells.collect::<Vec<_>>().join(",") + "\n");
    }
    rows
}

#[test]
fn a_feature_may_be_missing_where_it_is_not_required_or_not_expected() {
    let folder = Folder::new("schema-required");
    let reference = folder.write("reference.csv", rows(&["x", "m", "b"]));
    let current = folder.write("current.csv", rows(&["x"]));
    let model = folder.write(
        "model.yaml",
        "
models:
  - name: q
    task: regression
    baselines:
      training: {version: \"1\", from: 2025-01-01, to: 2025-02-01}
    schema:
      from: training
      features:
        m: {required: false}
        b: {environments: [test]}
",
    );
    let schema = folder.write(
        "schema.pbtxt",
        "feature { name: \"x\" type: INT presence { min_fraction: 1.0 } }
feature { name: \"m\" type: INT presence { min_fraction: 0.5 } }
feature { name: \"b\" type: INT presence { min_fraction: 1.0 } not_in_environment: \"SERVING\" }
default_environment: \"test\"
default_environment: \"SERVING\"
",
    );
    let path = |file: &std::path::Path| file.to_str().expect("a path").to_owned();
    for (option, file) in [("--model", path(&model)), ("--schema", path(&schema))] {
        for (environment, missing) in [(None, true), (Some("test"), true), (Some("SERVING"), false)]
        {
            let named = environment.map_or(vec![], |name| vec!["--environment", name]);
            let options = [&[option, &file][..], &named].concat();
            let told = document(&reference, &current, &options);
            let place = format!("{option} {environment:?}");
            assert_eq!(findings(&told, "m"), [""; 0], "{place}");
            let expected: &[&str] = if missing { &["missing_feature"] } else { &[] };
            assert_eq!(findings(&told, "b"), expected, "{place}");
            let stops = [&options[..], &["--fail-on", "schema"]].concat();
            text(&compare(&reference, &current, &stops), i32::from(missing));
        }
    }
}

#[test]
fn vectors_of_another_length_are_a_finding() {
    let folder = Folder::new("schema-lengths");
    // `short` of eight rows have vectors of four numbers, the others of eight.
    let rows = |short: usize| {
        let mut rows = String::new();
        for row in 0..400_usize {
            let length = if row % 8 < short { 4 } else { 8 };
            let numbers = (0..length).map(|at| ((row * (at + 3) % 41) as f64 / 41.0).to_string());
            let vector = numbers.collect::<Vec<_>>().join(",");
            writeln!(rows, "{{\"x\": {}, \"emb\": [{vector}]}}", row % 37).expect("a String");
        }
        rows
    };
    let [eights, half, fours, mixed] = [("eights", 0), ("half", 4), ("fours", 8), ("mixed", 4)]
        .map(|(name, short)| folder.write(&format!("{name}.ndjson"), rows(short)));
    let told = |reference, current| document(reference, current, &[]);
    assert_eq!(findings(&told(&eights, &eights), "emb"), [""; 0]);
    assert_eq!(findings(&told(&half, &mixed), "emb"), [""; 0]);
    assert_eq!(
        findings(&told(&half, &fours), "emb"),
        [""; 0],
        "within what the reference has"
    );
    for (current, share) in [(&half, 0.5), (&fours, 1.0)] {
        let told = told(&eights, current);
        assert_eq!(findings(&told, "emb"), ["out_of_range"]);
        let schema = told["schema"].as_array().expect("a list");
        let found = schema.iter().find(|f| f["feature"] == "emb").expect("one");
        assert_eq!(found["value"], share);
        let detail = found["detail"].as_str().expect("words");
        assert!(
            detail.contains("a length outside 8 to 8; seen are 4 to "),
            "{detail}"
        );
    }
    text(&compare(&eights, &half, &["--fail-on", "schema"]), 1);
}

#[test]
fn a_column_that_never_repeats_is_to_stay_so() {
    let folder = Folder::new("unique");
    let file = |name: &str, key: &dyn Fn(usize) -> usize| {
        let rows: Vec<String> = (0..3_000)
            .map(|row| format!("{},c{},{}", 7_000 + 3 * key(row), key(row), row % 90))
            .collect();
        folder.write(name, format!("id,code,amount\n{}\n", rows.join("\n")))
    };
    let reference = file("reference.csv", &|row| row);
    let other = file("other.csv", &|row| row + 5_000);
    let repeated = file("repeated.csv", &|row| {
        if row % 20 == 0 { row + 1 } else { row }
    });
    let of = |current, feature| {
        let document = document(&reference, current, &[]);
        let found = document["schema"].as_array().expect("a list").iter();
        let of_kind =
            found.filter(|f| f["finding"] == "duplicate_values" && f["feature"] == feature);
        of_kind
            .map(|f| f["value"].as_f64().expect("a share"))
            .collect::<Vec<f64>>()
    };
    for feature in ["id", "code", "amount"] {
        assert_eq!(of(&reference, feature), [0.0; 0], "{feature}");
        assert_eq!(of(&other, feature), [0.0; 0], "{feature}");
    }
    for feature in ["id", "code"] {
        let found = of(&repeated, feature);
        assert_eq!(found.len(), 1, "{feature}");
        // Of a sample by content.
        assert!((found[0] - 0.05).abs() < 0.02, "{feature}: {found:?}");
    }
    assert_eq!(of(&repeated, "amount"), [0.0; 0]);
    // What somebody says stands over what the reference shows.
    let model = folder.write(
        "model.yaml",
        "models:\n  - name: m\n    task: regression\n    baselines: {training: {file: r.csv}}\n    schema: {from: training, features: {id: \
         {max_duplicate_share: any}, amount: {max_distinct: 80}}}\n",
    );
    let options = ["--model", model.to_str().expect("a path")];
    let document = document(&reference, &repeated, &options);
    assert!(!findings(&document, "id").contains(&"duplicate_values"));
    assert_eq!(findings(&document, "amount"), ["distinct_values"]);
}

/// Numbers of which every tenth is something else.
fn one_in_ten(other: &str) -> String {
    let mut rows = String::new();
    for row in 0..200_u32 {
        let value = if row % 10 == 0 {
            other.to_owned()
        } else {
            (f64::from(row * 7 % 31) + 0.5).to_string()
        };
        writeln!(rows, "{{\"x\": {value}}}").expect("a string takes all");
    }
    rows
}

#[test]
fn a_few_values_of_another_type_are_wrong_and_most_are_a_change_of_type() {
    let folder = Folder::new("schema-types");
    let reference = folder.write("reference.ndjson", one_in_ten("1.5"));
    let of = |name: &str, text: String| {
        let current = folder.write(name, text);
        let told = document(&reference, &current, &[]);
        let schema = told["schema"].as_array().expect("a list").clone();
        let told = schema.into_iter().map(|finding| {
            let value = finding["value"].as_f64();
            (
                finding["finding"].as_str().expect("a word").to_owned(),
                value,
            )
        });
        told.collect::<Vec<_>>()
    };
    for (name, other) in [
        ("texts", "\"abc\""),
        ("flags", "true"),
        ("numbers", "\"1e5\""),
    ] {
        let found = of(&format!("{name}.ndjson"), one_in_ten(other));
        assert_eq!(found, [("wrong_type".to_owned(), Some(0.1))], "{name}");
    }
    let most = one_in_ten("1.5")
        .replace("5}", "5\"}")
        .replace(": ", ": \"");
    let found = of("most.ndjson", most);
    assert_eq!(found, [("type_change".to_owned(), Some(1.0))]);
}

#[test]
fn a_few_rows_of_a_reference_limit_nothing_and_a_file_without_rows_passes_nothing() {
    let folder = Folder::new("schema-few");
    let numbers = |rows: usize, far: usize| -> String {
        let each = (0..rows).map(|row| format!("{}\n", row * 7 % far));
        "x\n".to_owned() + &each.collect::<String>()
    };
    let few = folder.write("few.csv", numbers(5, 31));
    let many = folder.write("many.csv", numbers(500, 31));
    let wider = folder.write("wider.csv", numbers(500, 97));
    let told = document(&few, &wider, &[]);
    assert_eq!(findings(&told, "x"), [""; 0], "{told:#}");
    let told = document(&many, &wider, &[]);
    assert!(findings(&told, "x").contains(&"out_of_range"), "{told:#}");

    let empty = folder.write("empty.csv", "x\n");
    for (reference, current) in [(&many, &empty), (&empty, &many)] {
        for what in ["drift", "schema"] {
            let stopped = compare(reference, current, &["--fail-on", what]);
            text(&stopped, 2);
            let told = String::from_utf8_lossy(&stopped.stderr).into_owned();
            assert!(told.contains("empty.csv: it has no rows"), "{told}");
        }
        text(&compare(reference, current, &[]), 0);
    }
}
