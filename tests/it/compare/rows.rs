//! Measures of samples of rows: texts, dates, vectors, attributions, features together.

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};

use super::*;

/// A number from 0 to 1 that looks random.
fn uniform(row: u64, purpose: u64) -> f64 {
    let mixed = (row.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ purpose.wrapping_mul(0xbf58_476d_1ce4_e5b9))
    .wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64
        / (1_u64 << 53) as f64
}

/// What is different in a file of rows.
#[derive(Clone, Copy, Default)]
struct Change {
    apart: bool,
    words: bool,
    shifted: bool,
    ahead: bool,
    turned: bool,
}

/// Rows in which two numbers go together, with a review, a date, an embedding and attributions.
fn rows_of(numbers: std::ops::Range<u64>, ids: bool, change: Change) -> Vec<Value> {
    let words = if change.words {
        ["invoice", "unpaid", "reminder", "due"]
    } else {
        ["flight", "late", "gate", "crew"]
    };
    let row = |row: u64| {
        let a = uniform(row, 1);
        let b = 0.2 * uniform(row, 2) + if change.apart { uniform(row, 3) } else { a };
        // More than a thousand different ones, so that it is text and no category.
        let review: Vec<&str> = (0..7)
            .map(|at| words[(uniform(row, 20 + at) * 4.0) as usize])
            .collect();
        let time = 1_770_000_000 + row as i64 * 60;
        let asked = time - 3_600 + if change.ahead { 7_200 } else { 0 };
        let shift = if change.shifted { 0.5 } else { 0.0 };
        let embedding: Vec<f64> = (0..6).map(|at| uniform(row, 40 + at) + shift).collect();
        let (one, other) = if change.turned {
            (0.1, 2.0)
        } else {
            (2.0, 0.1)
        };
        let at = |seconds| {
            DateTime::from_timestamp(seconds, 0)
                .expect("a time")
                .to_rfc3339()
        };
        let mut object = json!({
            "timestamp": at(time), "a": a, "b": b,
            "colour": if uniform(row, 4) < 0.4 { "red" } else { "blue" },
            "review": format!("{} {}", review.join(" "), row % 7),
            "asked_at": at(asked), "embedding": embedding,
            "attribution.a": one * uniform(row, 5), "attribution.b": -other * uniform(row, 6),
        });
        if ids {
            object["prediction_id"] = json!(format!("p-{row}"));
        }
        object
    };
    numbers.map(row).collect()
}

fn written(folder: &Folder, name: &str, rows: &[Value]) -> PathBuf {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    folder.write(name, lines.join("\n"))
}

/// The measures of rows by feature and measure.
fn of_rows(document: &Value) -> BTreeMap<(String, String), Value> {
    let measured = document["measurements"].as_array().expect("a list").iter();
    measured
        .filter(|m| {
            m["recipe"]["method"]
                .as_str()
                .is_some_and(|method| method.contains("from samples"))
        })
        .map(|m| {
            let word = |key: &str| m[key].as_str().expect("a word").to_owned();
            ((word("feature"), word("measure")), m.clone())
        })
        .collect()
}

fn drifted(document: &Value) -> Vec<String> {
    let of_rows = of_rows(document);
    let drifted = of_rows.iter().filter(|(_, m)| m["status"] == "drift");
    drifted
        .map(|((feature, measure), _)| format!("{feature}:{measure}"))
        .collect()
}

#[test]
fn what_changed_in_rows_is_found_and_nothing_else() {
    let folder = Folder::new("rows-found");
    let before = written(
        &folder,
        "before.ndjson",
        &rows_of(0..1_500, true, Change::default()),
    );
    let same = written(
        &folder,
        "same.ndjson",
        &rows_of(1_500..3_000, true, Change::default()),
    );
    let calm = document(&before, &same, &["--multivariate"]);
    assert_eq!(drifted(&calm), [""; 0]);
    let found = of_rows(&calm);
    assert_eq!(found.len(), 3 + 3 + 4 + 3 + 1, "{:?}", found.keys());
    assert!(
        found
            .values()
            .all(|m| m["value"].is_number() || m["recipe"]["cause"].is_string())
    );

    let cases = [
        (
            Change {
                apart: true,
                ..Change::default()
            },
            "",
            "correlation_change",
            "0.3",
        ),
        (
            Change {
                words: true,
                ..Change::default()
            },
            "review",
            "unseen_words",
            "0.1",
        ),
        (
            Change {
                shifted: true,
                ..Change::default()
            },
            "embedding",
            "domain_classifier_auc",
            "0.55",
        ),
        (
            Change {
                ahead: true,
                ..Change::default()
            },
            "asked_at",
            "future_share_change",
            "0.1",
        ),
        (
            Change {
                turned: true,
                ..Change::default()
            },
            "",
            "attribution_ndcg",
            "0.9",
        ),
    ];
    for (change, feature, measure, threshold) in cases {
        let now = written(&folder, "now.ndjson", &rows_of(1_500..3_000, true, change));
        let options = [
            "--multivariate",
            "--threshold",
            &format!("{measure}={threshold}"),
        ];
        let document = document(&before, &now, &options);
        let drifted = drifted(&document);
        assert!(
            drifted.contains(&format!("{feature}:{measure}")),
            "{measure}: {drifted:?}"
        );
        assert!(
            drifted
                .iter()
                .all(|other| other.starts_with(&format!("{feature}:"))),
            "{drifted:?}"
        );
    }
}

#[test]
fn the_features_that_explain_a_change_are_named_in_every_format() {
    let folder = Folder::new("rows-named");
    let apart = Change {
        apart: true,
        ..Change::default()
    };
    let before = written(
        &folder,
        "before.ndjson",
        &rows_of(0..900, true, Change::default()),
    );
    let now = written(&folder, "now.ndjson", &rows_of(900..1_800, true, apart));
    let options = ["--multivariate", "--threshold", "correlation_change=0.3"];
    let found = of_rows(&document(&before, &now, &options));
    let change = &found[&(String::new(), "correlation_change".to_owned())];
    assert_eq!(
        change["recipe"]["explained_by"],
        json!([
            {"feature": "a", "share": 0.5}, {"feature": "b", "share": 0.5}
        ])
    );
    let method = change["recipe"]["method"].as_str().expect("words");
    assert!(
        method.contains("all 900 rows of the reference") && method.contains("seed 1"),
        "{method}"
    );
    let with = |format: &'static str| [options.as_slice(), &["--format", format]].concat();
    let table = text(&compare(&before, &now, &with("table")), 0);
    assert!(
        table.contains("Samples of rows") && table.contains("a 50 %, b 50 %"),
        "{table}"
    );
    assert!(table.contains("all features together drift"), "{table}");
    let page = text(&compare(&before, &now, &with("html")), 0);
    assert!(page.contains("What samples of rows say") && page.contains("vectors of 6 numbers"));
    assert!(page.contains("a 50 %, b 50 %"));
    let junit = text(&compare(&before, &now, &with("junit")), 0);
    assert!(junit.contains("name=\"all features together\""), "{junit}");
    let failing = [options.as_slice(), &["--fail-on", "drift"]].concat();
    text(&compare(&before, &now, &failing), 1);
}

#[test]
fn the_order_of_rows_changes_nothing_with_ids_or_without() {
    let folder = Folder::new("rows-order");
    for ids in [true, false] {
        // More rows than a sample has, some of them more than once.
        let repeated = |rows: std::ops::Range<u64>| {
            let mut rows = rows_of(rows, ids, Change::default());
            if !ids {
                rows.extend_from_within(..900);
            }
            rows
        };
        let (mut before, mut now) = (repeated(0..5_000), repeated(5_000..9_500));
        let forward = [
            written(&folder, "before.ndjson", &before),
            written(&folder, "now.ndjson", &now),
        ];
        before.reverse();
        now.rotate_left(1_234);
        let turned = [
            written(&folder, "before-turned.ndjson", &before),
            written(&folder, "now-turned.ndjson", &now),
        ];
        let of =
            |files: &[PathBuf; 2]| of_rows(&document(&files[0], &files[1], &["--multivariate"]));
        let (one, other) = (of(&forward), of(&turned));
        assert_eq!(one.len(), 14);
        assert_eq!(one, other, "ids: {ids}");
        let method = one.values().next().expect("one")["recipe"]["method"].to_string();
        let by = if ids { "their ids" } else { "their content" };
        assert!(
            method.contains(&format!("rows by a hash of {by}")),
            "{method}"
        );
    }
}

#[test]
fn windows_have_samples_of_their_own_and_small_ones_say_nothing() {
    let folder = Folder::new("rows-windows");
    let before = written(
        &folder,
        "before.ndjson",
        &rows_of(0..1_500, true, Change::default()),
    );
    // 2026-02-02T02:40Z and on, a minute each: two days, and a third of a few rows.
    let now = written(
        &folder,
        "now.ndjson",
        &rows_of(0..2_735, true, Change::default()),
    );
    let document = document(&before, &now, &["--by", "day"]);
    let measured = document["measurements"].as_array().expect("a list").iter();
    let lengths: Vec<(&str, &Value)> = measured
        .filter(|m| m["measure"] == "text_length_distance")
        .map(|m| (m["status"].as_str().expect("a word"), &m["current_rows"]))
        .collect();
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    assert_eq!(lengths[1], ("ok", &json!(1_440)));
    assert_eq!(lengths[2].0, "insufficient");
    let together = document["measurements"].as_array().expect("a list").iter();
    assert_eq!(
        together
            .filter(|m| m["measure"] == "correlation_change")
            .count(),
        0,
        "not asked for"
    );
}

fn embeddings(rows: &[Value]) -> RecordBatch {
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 6);
    for row in rows {
        for number in row["embedding"].as_array().expect("a list") {
            vectors
                .values()
                .append_value(number.as_f64().expect("a number") as f32);
        }
        vectors.append(true);
    }
    let ids: StringArray = rows
        .iter()
        .map(|row| row["prediction_id"].as_str())
        .collect();
    let vectors = vectors.finish();
    let schema = Schema::new(vec![
        Field::new("prediction_id", DataType::Utf8, false),
        Field::new("embedding", vectors.data_type().clone(), true),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(vectors)];
    RecordBatch::try_new(Arc::new(schema), columns).expect("a batch")
}

#[test]
fn vectors_alone_are_compared_from_parquet_arrow_and_json() {
    let folder = Folder::new("rows-vectors");
    let shifted = Change {
        shifted: true,
        ..Change::default()
    };
    let sides = [
        rows_of(0..600, true, Change::default()),
        rows_of(600..1_200, true, shifted),
    ];
    let mut values = Vec::new();
    for format in ["parquet", "arrow", "ndjson"] {
        let [before, now] = [0, 1].map(|side| {
            let path = folder.0.join(format!("{side}.{format}"));
            match format {
                "parquet" => parquet(&path, &[embeddings(&sides[side])]),
                "arrow" => arrow(&path, &[embeddings(&sides[side])]),
                _ => {
                    let rows = sides[side].iter();
                    let rows: Vec<Value> = rows
                        .map(|row| json!({"prediction_id": row["prediction_id"], "embedding": row["embedding"]}))
                        .collect();
                    written(&folder, &format!("{side}.ndjson"), &rows);
                }
            }
            path
        });
        let document = document(&before, &now, &[]);
        assert_eq!(
            drifted(&document),
            ["embedding:domain_classifier_auc"],
            "{format}"
        );
        assert_eq!(document["current"]["rows"], 600, "{format}");
        assert_eq!(findings(&document, "embedding"), [""; 0]);
        let found = of_rows(&document);
        let shift = &found[&("embedding".to_owned(), "mean_shift".to_owned())]["value"];
        values.push(shift.as_f64().expect("a number"));
    }
    // Six numbers that moved by a half each.
    assert!((values[0] - 6.0_f64.sqrt() / 2.0).abs() < 0.1, "{values:?}");
    assert!(
        values.iter().all(|value| (value - values[0]).abs() < 1e-6),
        "{values:?}"
    );
}

#[test]
fn vectors_on_one_side_only_are_an_error_of_that_feature() {
    let folder = Folder::new("rows-one-side");
    let rows = rows_of(0..100, true, Change::default());
    let plain: Vec<Value> = rows
        .iter()
        .cloned()
        .map(|mut row| {
            row["embedding"] = json!(1.5);
            row
        })
        .collect();
    let before = written(&folder, "before.ndjson", &rows);
    let now = written(&folder, "now.ndjson", &plain);
    let document = document(&before, &now, &[]);
    assert_eq!(findings(&document, "embedding"), ["unreadable"]);
    let measured = document["measurements"].as_array().expect("a list").iter();
    let statuses: Vec<&Value> = measured
        .filter(|m| m["feature"] == "embedding")
        .map(|m| &m["status"])
        .collect();
    assert!(statuses.len() > 1, "one for each measure");
    assert!(statuses.iter().all(|status| **status == "error"));
}
