//! Files that have days: the drift detector's verdicts beside the measures of the files as a whole.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::{Folder, compare, document, text};

/// A number below a thousand that is different for each row and column, and the same in each run.
fn mixed(day: u64, row: u64, column: u64) -> u64 {
    let mut x = ((day * 1_000 + row) * 10 + column).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % 1_000
}

/// Days of March 2026, each of two hundred rows; from a day on distances are longer.
fn rows(days: std::ops::RangeInclusive<u64>, longer_from: u64) -> String {
    let mut csv = "prediction_id,timestamp,distance,carrier\n".to_owned();
    for day in days {
        for row in 0..200 {
            let far = mixed(day, row, 1) as f64;
            let distance = if day >= longer_from {
                far.sqrt() * 31.6
            } else {
                far
            };
            let carrier = ["AA", "DL", "UA"][(mixed(day, row, 2) % 3) as usize];
            writeln!(
                csv,
                "{day}-{row},2026-03-{day:02}T08:00:00Z,{distance},{carrier}"
            )
            .expect("a string takes all");
        }
    }
    csv
}

fn verdict<'d>(document: &'d Value, feature: &str) -> &'d Value {
    let verdicts = document["over_days"]["verdicts"]
        .as_array()
        .expect("a list");
    let found = verdicts
        .iter()
        .find(|verdict| verdict["feature"] == feature);
    found.unwrap_or_else(|| panic!("nothing of {feature}: {document}"))
}

#[test]
fn days_that_are_like_those_of_the_reference_are_well_and_a_change_is_dated() {
    let folder = Folder::new("days");
    let reference = folder.write("reference.csv", rows(1..=20, 99));
    let calm = folder.write("calm.csv", rows(21..=28, 99));
    let changed = folder.write("changed.csv", rows(21..=28, 25));

    let told = document(&reference, &calm, &[]);
    assert_eq!(
        (
            &told["over_days"]["reference_days"],
            &told["over_days"]["current_days"]
        ),
        (&20.into(), &8.into())
    );
    for feature in ["distance", "carrier"] {
        let verdict = verdict(&told, feature);
        assert_eq!(
            (&verdict["status"], &verdict["measure"]),
            (&"ok".into(), &"shift".into())
        );
    }
    let found = compare(&reference, &calm, &["--fail-on", "drift"]);
    text(&found, 0);

    let told = document(&reference, &changed, &[]);
    let distance = verdict(&told, "distance");
    assert_eq!(distance["status"], "drift", "{distance}");
    assert_eq!(
        distance["recipe"]["shift"]["since"], "2026-03-25",
        "{distance}"
    );
    assert_eq!(verdict(&told, "carrier")["status"], "ok");
    let table = text(&compare(&reference, &changed, &[]), 0);
    assert!(
        table.contains("Over days: 8 days judged by 20 days of the reference, about one false ticket per model and year"),
        "{table}"
    );
    assert!(table.contains("since 2026-03-25"), "{table}");
    let page = text(&compare(&reference, &changed, &["--format", "html"]), 0);
    assert!(
        page.contains("Day by day") && page.contains("since 2026-03-25"),
        "{page}"
    );
    let failing = ["--fail-on", "drift", "--format", "junit"];
    let junit = text(&compare(&reference, &changed, &failing), 1);
    assert!(
        junit.contains("<testcase classname=\"drift.over_days\" name=\"distance\">\n      <failure message=\"2026-03-2"),
        "{junit}"
    );
    assert!(
        junit.contains("<testcase classname=\"drift.over_days\" name=\"carrier\"/>"),
        "{junit}"
    );
    assert!(junit.contains("since 2026-03-25"), "{junit}");

    // The clearest day is a late one, and the change as old as its episode.
    let from_the_first = folder.write("from-the-first.csv", rows(21..=31, 21));
    let told = document(&reference, &from_the_first, &[]);
    let distance = verdict(&told, "distance");
    assert_ne!(distance["window"]["from"], "2026-03-21T00:00:00Z");
    assert_eq!(
        distance["recipe"]["shift"]["since"], "2026-03-21",
        "{distance}"
    );
}

#[test]
fn files_without_days_or_with_too_few_say_why_there_is_no_verdict_over_days() {
    let folder = Folder::new("no-days");
    let current = folder.write("current.csv", rows(21..=28, 99));
    let untimely = rows(1..=20, 99).replace("2026-03-03T08:00:00Z", "soon");
    let mut timeless = String::new();
    for line in rows(1..=20, 99).lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let time = if cells[1] == "timestamp" {
            cells[1]
        } else {
            ""
        };
        writeln!(timeless, "{},{time},{},{}", cells[0], cells[2], cells[3]).expect("a string");
    }
    for (name, reference, cause) in [
        (
            "few",
            rows(1..=13, 99),
            "the reference has 13 days, and with fewer than 14 it is not known how days differ",
        ),
        (
            "none",
            rows(1..=20, 99).replace("timestamp", "written"),
            "the reference has no column \"timestamp\" with the rows' time (--timestamp names another one)",
        ),
        (
            "same",
            rows(21..=28, 99),
            "the current file has no days but those of the reference",
        ),
        (
            "untimely",
            untimely,
            "the reference has times that cannot be read: column \"timestamp\", row 401: \"soon\" is no time such as \
             2026-03-01T09:30:00Z or 2026-03-01",
        ),
        ("timeless", timeless, "no row of the reference has a time"),
    ] {
        let reference = folder.write(&format!("{name}.csv"), reference);
        let told = document(&reference, &current, &[]);
        assert_eq!(told.get("over_days"), None, "{name}");
        assert_eq!(told["without_days"], cause, "{name}");
        let table = text(&compare(&reference, &current, &[]), 0);
        let said = format!("Over days: nothing is said: {cause}\n");
        assert!(table.contains(&said), "{name}: {table}");
        assert!(
            told["measurements"]
                .as_array()
                .is_some_and(|m| !m.is_empty())
        );
        // Columns together need fewer days than the detector.
        assert_eq!(
            together(&told, CORRELATIONS).is_empty(),
            name != "few",
            "{name}"
        );
    }
}

const CORRELATIONS: &str = "copula_correlation_change";
const SHAPES: &str = "random_features_mmd";

/// What a measure of columns together says of the days, in their order.
fn together<'d>(document: &'d Value, measure: &str) -> Vec<&'d Value> {
    let measured = document["measurements"].as_array().expect("a list");
    let of_measure = measured.iter().filter(|m| m["measure"] == measure);
    of_measure.collect()
}

/// The days on which a measure finds something.
fn found(document: &Value, measure: &str) -> Vec<String> {
    let drifting = together(document, measure).into_iter();
    drifting
        .filter(|m| m["status"] == "drift")
        .map(|m| m["window"]["start"].as_str().expect("a time")[..10].to_owned())
        .collect()
}

/// Days of March 2026, each of so many rows; from a day on the weight follows the distance in seven of ten rows, and looks as it
/// always did.
fn pairs(days: RangeInclusive<u64>, count: u64, together_from: u64) -> String {
    let mut csv =
        "prediction_id,timestamp,distance,weight,is_late,carrier,prediction,label\n".to_owned();
    for day in days {
        for row in 0..count {
            let follows = day >= together_from && mixed(day, row, 5) < 700;
            let distance = mixed(day, row, 1);
            let weight = if follows {
                distance
            } else {
                mixed(day, row, 2)
            };
            let carrier = ["AA", "DL", "UA"][(mixed(day, row, 3) % 3) as usize];
            writeln!(
                csv,
                "{day}-{row},2026-03-{day:02}T08:00:00Z,{distance}.5,{weight}.25,{},{carrier},{}.75,{}",
                mixed(day, row, 4) < 300,
                mixed(day, row, 6),
                mixed(day, row, 6)
            )
            .expect("a string takes all");
        }
    }
    csv
}

#[test]
fn columns_that_begin_to_go_together_are_found_on_their_day_and_named_in_every_format() {
    let folder = Folder::new("together");
    let reference = folder.write("reference.csv", pairs(1..=20, 200, 99));
    let calm = folder.write("calm.csv", pairs(21..=28, 200, 99));
    let changed = folder.write("changed.csv", pairs(21..=28, 200, 25));

    let told = document(&reference, &calm, &["--fail-on", "drift"]);
    for measure in [CORRELATIONS, SHAPES] {
        let days = together(&told, measure);
        assert_eq!(days.len(), 8, "{measure}");
        for day in days {
            assert_eq!(
                (&day["status"], &day["feature"]),
                (&"ok".into(), &"".into())
            );
            assert_eq!(
                (&day["current_rows"], &day["reference_rows"]),
                (&200.into(), &4_000.into())
            );
            assert!(day["p_value"].as_f64().expect("a p-value") > 1e-4, "{day}");
            // The prediction and the flag take part; categories and labels do not.
            assert_eq!(day["recipe"]["joint"]["columns"], 4, "{day}");
        }
    }

    let told = document(&reference, &changed, &[]);
    let days = ["2026-03-25", "2026-03-26", "2026-03-27", "2026-03-28"];
    assert_eq!(found(&told, CORRELATIONS), days);
    let finding = together(&told, CORRELATIONS)[4];
    let pair = &finding["recipe"]["joint"]["pairs"][0];
    assert_eq!(pair["features"], json!(["distance", "weight"]));
    assert!(
        finding["value"].as_f64().expect("a value") > 0.4,
        "{finding}"
    );
    let words = finding["recipe"]["detail"].as_str().expect("words");
    for part in [
        "correlation of distance and weight from ",
        "by chance about one such finding in 27 years of a model",
        "smallest change of a correlation seen in 1/7/28 days: 0.",
        "a classifier tells the day's rows from the baseline's with an area of 0.",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let later = together(&told, CORRELATIONS)[5]["recipe"]["detail"].to_string();
    assert!(
        !later.contains("classifier"),
        "only the first day is explained: {later}"
    );
    text(&compare(&reference, &changed, &["--fail-on", "drift"]), 1);

    let table = text(&compare(&reference, &changed, &[]), 0);
    for part in [
        "Columns together over days: 4 columns on 8 days, by 20 days of the reference; by chance about one such finding in 27",
        "2026-03-25 and 3 days more",
        "correlation of distance and weight from ",
        "all features together drift",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let junit = text(&compare(&reference, &changed, &["--format", "junit"]), 0);
    let failed = "<testcase classname=\"drift.2026-03-25\" name=\"all features together\">\n      <failure message=\"\
                  copula_correlation_change: correlation of distance and weight from ";
    assert!(junit.contains(failed), "{junit}");
    let passed = "<testcase classname=\"drift.2026-03-24\" name=\"all features together\"/>";
    assert!(junit.contains(passed), "{junit}");
    let page = text(&compare(&reference, &changed, &["--format", "html"]), 0);
    for part in [
        "No feature drifted by itself, but all together did",
        "<h2>Columns together, day by day</h2>",
        "2026-03-25 and 3 days more",
        "correlation of distance and weight from ",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn threads_and_the_order_of_rows_do_not_matter_to_columns_together() {
    let folder = Folder::new("together-order");
    let reference = folder.write("reference.csv", pairs(1..=14, 60, 99));
    let current = pairs(15..=20, 60, 18);
    let in_order = folder.write("current.csv", &current);
    let (header, lines) = current.split_once('\n').expect("a header");
    let mut backward: Vec<&str> = lines.lines().collect();
    backward.reverse();
    let backward = folder.write(
        "backward.csv",
        format!("{header}\n{}\n", backward.join("\n")),
    );
    let told = document(&reference, &in_order, &["--threads", "1"]);
    let same = document(&reference, &in_order, &["--threads", "3"]);
    let other = document(&reference, &backward, &[]);
    assert_eq!(told["measurements"], same["measurements"]);
    for measure in [CORRELATIONS, SHAPES] {
        let pairs = together(&told, measure)
            .into_iter()
            .zip(together(&other, measure));
        for (one, other) in pairs {
            assert_eq!(
                (&one["status"], &one["window"], &one["current_rows"]),
                (&other["status"], &other["window"], &other["current_rows"])
            );
            let [a, b] = [one, other].map(|m| m["value"].as_f64().expect("a value"));
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
}

#[test]
fn columns_together_need_seven_days_and_rows_enough_and_heed_holidays() {
    let folder = Folder::new("together-few");
    let current = folder.write("current.csv", pairs(21..=26, 60, 25));
    let few = folder.write("few.csv", pairs(15..=20, 60, 99));
    let told = document(&few, &current, &[]);
    for measure in [CORRELATIONS, SHAPES] {
        let said = together(&told, measure);
        assert_eq!(said.len(), 1, "once for all days");
        assert_eq!(
            (&said[0]["status"], &said[0]["window"]),
            (&"insufficient".into(), &Value::Null)
        );
        assert_eq!(
            said[0]["recipe"]["cause"],
            "the reference has too few rows, or too few days with rows enough"
        );
    }
    let reference = folder.write("reference.csv", pairs(7..=20, 60, 99));
    let strict = document(&reference, &current, &["--min-rows", "61"]);
    for day in together(&strict, CORRELATIONS) {
        assert_eq!(day["status"], "insufficient");
        assert_eq!(day["recipe"]["cause"], "fewer than 61 rows");
    }
    assert_eq!(
        found(&document(&reference, &current, &[]), CORRELATIONS).len(),
        2
    );
    let model =
        "models:\n  - name: fares\n    task: regression\n    holidays: [2026-03-25, 2026-03-26]\n";
    let model = folder.write("model.yaml", model);
    let options = ["--model", model.to_str().expect("a path")];
    let told = document(&reference, &current, &options);
    assert_eq!(found(&told, CORRELATIONS), [""; 0], "they are holidays");
    let words = together(&told, CORRELATIONS)[4]["recipe"]["detail"].to_string();
    assert!(
        words.contains("on a holiday: correlation of distance and weight"),
        "{words}"
    );
}

#[test]
fn of_many_columns_those_that_vary_are_looked_at_and_the_others_counted() {
    let folder = Folder::new("together-many");
    let columns = |days: RangeInclusive<u64>| {
        let names: Vec<String> = (0..70).map(|at| format!("c{at:02}")).collect();
        let mut csv = format!("timestamp,{}\n", names.join(","));
        for day in days {
            for row in 0..40 {
                let cell = |at: u64| match at {
                    0..3 => "5.5".to_owned(),
                    _ => format!("{}.25", mixed(day * 100 + at, row, 7)),
                };
                let cells: Vec<String> = (0..70).map(cell).collect();
                writeln!(csv, "2026-03-{day:02}T08:00:00Z,{}", cells.join(",")).expect("a string");
            }
        }
        csv
    };
    let reference = folder.write("reference.csv", columns(1..=9));
    let current = folder.write("current.csv", columns(10..=11));
    let told = document(&reference, &current, &[]);
    let said = together(&told, CORRELATIONS);
    assert_eq!(said.len(), 2);
    for day in said {
        let joint = &day["recipe"]["joint"];
        // Of 67 that vary there is room for 64.
        assert_eq!(
            (&joint["columns"], &joint["left_out"]),
            (&64.into(), &3.into()),
            "{day}"
        );
        let method = day["recipe"]["method"].as_str().expect("words");
        assert!(
            method.ends_with("; all 40 rows of the day, and all rows of each day of the reference"),
            "{method}"
        );
    }
}
