//! What is drift where no days tell how days differ: what is beyond chance among all features, and large enough to matter.

use std::fmt::Write as _;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::{Folder, compare, document, findings, text};

/// Rows that are alike whatever the seed: numbers, categories of few and of many levels, and a text that seldom repeats.
fn alike(folder: &Folder, name: &str, rows: u32, seed: u64) -> PathBuf {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lines = "even,skewed,few,k50,k300,k1000,said,segment\n".to_owned();
    for _ in 0..rows {
        let even: f64 = rng.random();
        let skewed = -(1.0 - rng.random::<f64>()).ln();
        let level = |rng: &mut StdRng, levels: u32| rng.random_range(0..levels);
        let few = ["a", "b", "c"][level(&mut rng, 3) as usize];
        let (k50, k300, k1000) = (
            level(&mut rng, 50),
            level(&mut rng, 300),
            level(&mut rng, 1000),
        );
        let said = level(&mut rng, 1_000_000);
        let segment = level(&mut rng, 4);
        writeln!(
            lines,
            "{even},{skewed},{few},f{k50},t{k300},m{k1000},said {said},s{segment}"
        )
        .expect("a string");
    }
    folder.write(name, lines)
}

#[test]
fn rows_that_are_alike_have_no_findings_in_however_many_levels_and_segments() {
    let folder = Folder::new("alike");
    for seed in 0..12 {
        let before = alike(&folder, "before.csv", 3_000, seed);
        for rows in [120, 1_000, 4_000] {
            let now = alike(&folder, "now.csv", rows, 1_000 + seed);
            let options = ["--segment", "segment", "--fail-on", "drift,schema"];
            let told = document(&before, &now, &options);
            let measured = told["measurements"].as_array().expect("a list");
            assert!(measured.len() > 200, "{}", measured.len());
            assert!(measured.iter().all(|m| m["status"] != "drift"));
        }
    }
}

/// Two thousand rows, with a number that has moved by so many deviations, a flag that is true so much more often, and a
/// number of which so many are missing.
fn moved(folder: &Folder, name: &str, (by, more, missing): (f64, f64, f64)) -> PathBuf {
    let mut rng = StdRng::seed_from_u64(7);
    let mut lines = "number,flag,sparse,calm\n".to_owned();
    for _ in 0..2_000 {
        let uniform: f64 = (0..12).map(|_| rng.random::<f64>()).sum();
        let number = uniform - 6.0 + by;
        let flag = rng.random_bool(0.5 + more);
        let sparse = if rng.random_bool(missing) {
            String::new()
        } else {
            rng.random::<f64>().to_string()
        };
        let calm: f64 = rng.random();
        writeln!(lines, "{number},{flag},{sparse},{calm}").expect("a string");
    }
    folder.write(name, lines)
}

/// The feature and measure of each value that is drift.
fn drifted(told: &Value) -> Vec<String> {
    let measured = told["measurements"].as_array().expect("a list").iter();
    let drifted = measured.filter(|m| m["status"] == "drift");
    let word = |m: &Value, key: &str| m[key].as_str().expect("a word").to_owned();
    drifted
        .map(|m| word(m, "feature") + " " + &word(m, "measure"))
        .collect()
}

#[test]
fn what_moves_by_a_tenth_of_the_rows_or_is_lost_is_drift() {
    let folder = Folder::new("moved");
    let before = moved(&folder, "before.csv", (0.0, 0.0, 0.54));
    let cases: [(_, &[&str]); 4] = [
        ((0.1, 0.04, 0.56), &[]),
        ((0.4, 0.0, 0.54), &["number total_variation"]),
        ((0.0, 0.13, 0.54), &["flag total_variation"]),
        ((0.0, 0.0, 0.7), &["sparse missing_share_change"]),
    ];
    for (change, expected) in cases {
        let now = moved(&folder, "now.csv", change);
        let told = document(&before, &now, &[]);
        assert_eq!(drifted(&told), expected, "{change:?}");
        let code = i32::from(!expected.is_empty());
        text(&compare(&before, &now, &["--fail-on", "drift"]), code);
    }
    // All of it is lost.
    let now = moved(&folder, "now.csv", (0.0, 0.0, 1.0));
    let told = document(&before, &now, &[]);
    assert_eq!(findings(&told, "sparse"), ["null_share"]);
    text(&compare(&before, &now, &["--fail-on", "schema"]), 1);
}
