//! Files that have days: the drift detector's verdicts beside the measures of the files as a whole.

use std::fmt::Write as _;

use serde_json::Value;

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
    text(&compare(&reference, &changed, &["--fail-on", "drift"]), 1);
}

#[test]
fn files_without_days_or_with_too_few_have_no_verdict_over_days() {
    let folder = Folder::new("no-days");
    let current = folder.write("current.csv", rows(21..=28, 99));
    for (name, reference) in [
        ("few", rows(1..=13, 99)),
        ("none", rows(1..=20, 99).replace("timestamp", "written")),
        ("same", rows(21..=28, 99)),
    ] {
        let reference = folder.write(&format!("{name}.csv"), reference);
        let told = document(&reference, &current, &[]);
        assert_eq!(told.get("over_days"), None, "{name}");
    }
}
