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
    // What is infinite is beyond every range, too.
    assert_eq!(
        findings(&told, "infinite"),
        ["infinite_share", "out_of_range"]
    );
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
