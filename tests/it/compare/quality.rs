//! Quality of predictions in files whose rows have labels.

use serde_json::Value;

use super::{Folder, compare, document, text};

/// The value of a measure in a document, of all rows and the whole model unless said otherwise.
fn found<'d>(document: &'d Value, measure: &str, segment: Option<&str>, of: &str) -> &'d Value {
    let measured = document["measurements"].as_array().expect("a list");
    let found = measured.iter().find(|m| {
        m["measure"] == measure && m["segment"].as_str() == segment && m["feature"] == of
    });
    found.unwrap_or_else(|| panic!("{measure} of {segment:?} is not measured: {measured:#?}"))
}

#[track_caller]
fn assert_near(value: &Value, expected: f64) {
    let value = value.as_f64().expect("a number");
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

/// Predictions of 10 that err by one amount and then by another, day by day; every fifth label is not there yet.
fn numbers(errors: [f64; 2]) -> String {
    let mut rows = "timestamp,prediction,label,origin,load\n".to_owned();
    for row in 0..200_u32 {
        let error = errors[usize::from(row >= 100)];
        let label = match row % 5 {
            0 => String::new(),
            _ => (10.0 - error).to_string(),
        };
        let origin = ["JFK", "EWR"][(row % 2) as usize];
        rows += &format!(
            "2026-03-0{}T0{}:00:00Z,10,{label},{origin},{}\n",
            1 + row / 100,
            row % 8,
            row % 7
        );
    }
    rows
}

#[test]
fn numbers_are_judged_by_window_and_segment_beside_the_reference() {
    let folder = Folder::new("quality-numbers");
    let reference = folder.write("reference.csv", numbers([1.0, 1.0]));
    let current = folder.write("current.csv", numbers([2.0, -4.0]));
    let options = ["--task", "regression", "--segment", "origin"];
    let told = document(&reference, &current, &options);
    let mae = found(&told, "mae", None, "");
    assert_near(&mae["value"], 3.0);
    assert_near(&mae["reference"], 1.0);
    assert_eq!(
        (&mae["current_rows"], &mae["status"]),
        (&160.into(), &"ok".into())
    );
    assert_near(&found(&told, "bias", None, "")["value"], -1.0);
    assert_near(&found(&told, "label_coverage", None, "")["value"], 0.8);
    assert_near(&found(&told, "mae", Some("origin=EWR"), "")["value"], 3.0);

    let by_day = document(
        &reference,
        &current,
        &["--task", "regression", "--by", "day"],
    );
    let measured = by_day["measurements"].as_array().expect("a list");
    let of_days: Vec<(&str, f64)> = measured
        .iter()
        .filter(|m| m["measure"] == "mae")
        .map(|m| {
            let start = m["window"]["start"].as_str().expect("a time");
            (&start[..10], m["value"].as_f64().expect("a number"))
        })
        .collect();
    assert_eq!(of_days, [("2026-03-01", 2.0), ("2026-03-02", 4.0)]);

    // Two of five labels of the second day are of too few rows to say anything, once 100 are asked for.
    let strict = document(
        &reference,
        &current,
        &["--task", "regression", "--min-rows", "161"],
    );
    let mae = found(&strict, "mae", None, "");
    assert_eq!(mae["status"], "insufficient");
    assert_eq!(mae["recipe"]["cause"], "fewer than 161 labels");
}

#[test]
fn a_pipeline_stops_at_quality_beyond_its_threshold() {
    let folder = Folder::new("quality-stops");
    let reference = folder.write("reference.csv", numbers([1.0, 1.0]));
    let current = folder.write("current.csv", numbers([2.0, -4.0]));
    let asked = [
        "--task",
        "regression",
        "--fail-on",
        "quality",
        "--threshold",
    ];
    let with = |limit: &'static str| {
        let options: Vec<&str> = asked.into_iter().chain([limit]).collect();
        compare(&reference, &current, &options)
    };
    text(&with("mae=3.5"), 0);
    let stopped = text(&with("mae=2.5"), 1);
    assert!(stopped.contains("beyond its threshold: mae"), "{stopped}");
    text(&with("label_coverage=0.9"), 1);
    let options = ["--task", "regression", "--threshold", "mae=2.5", "--format"];
    let as_format = |format: &'static str| {
        let options: Vec<&str> = options.into_iter().chain([format]).collect();
        text(&compare(&reference, &current, &options), 0)
    };
    let junit = as_format("junit");
    assert!(
        junit.contains("<testcase classname=\"quality\" name=\"rmse\"/>"),
        "{junit}"
    );
    assert!(
        junit.contains("<failure message=\"mae 3.0000 is beyond 2.5\"/>"),
        "{junit}"
    );
    let page = as_format("html");
    assert!(page.contains("<h2>Quality of the predictions</h2>"));
    assert!(
        page.contains("<span class=\"chip critical\">beyond</span>"),
        "{page}"
    );
}

#[test]
fn what_has_a_threshold_is_measured_or_refused_with_what_it_takes() {
    let folder = Folder::new("quality-thresholds");
    let rows = |right: u32| {
        let mut rows = "score,label,sex,load\n".to_owned();
        for row in 0..400_u32 {
            let label = u32::from(row % 2 == 0);
            let taken = if row % 10 < right { label } else { 1 - label };
            let score = if taken == 1 { 0.9 } else { 0.2 };
            rows += &format!(
                "{score},{label},{},{}\n",
                ["f", "m"][usize::from(row % 10 < 3)],
                row % 7
            );
        }
        rows
    };
    let reference = folder.write("reference.csv", rows(9));
    let current = folder.write("current.csv", rows(6));
    let with = |options: &[&str]| {
        let options: Vec<&str> = [options, &["--fail-on", "quality,drift"]].concat();
        compare(&reference, &current, &options)
    };
    for limit in [
        "ece=0.05",
        "brier=0.2",
        "mcc=0.5",
        "pr_auc=0.8",
        "specificity=0.7",
        "lift=1.5",
    ] {
        let stopped = text(&with(&["--task", "binary", "--threshold", limit]), 1);
        let (measure, _) = limit.split_once('=').expect("a threshold");
        assert!(
            stopped.contains(&format!("beyond its threshold: {measure}")),
            "{stopped}"
        );
    }
    // A recipe says what it takes to compute the value again.
    let options = [
        "--task",
        "binary",
        "--threshold",
        "ece=1",
        "--threshold",
        "lift=1",
    ];
    let told = document(&reference, &current, &options);
    for (measure, words) in [
        (
            "f1",
            "the positive class is \"1\", and a prediction without a class is positive from a score of 0.5 on",
        ),
        ("ece", "over 10 bins of equal width of the score"),
        (
            "lift",
            "of the 0.1000 of predictions with the highest scores",
        ),
        ("roc_auc", "pairs with equal scores count half"),
    ] {
        let method = found(&told, measure, None, "")["recipe"]["method"]
            .as_str()
            .expect("words");
        assert!(method.contains(words), "{measure}: {method}");
    }
    let parity = [
        "--task",
        "binary",
        "--threshold",
        "demographic_parity_difference=0",
    ];
    let by_sex = with(&[&parity[..], &["--segment", "sex"]].concat());
    assert!(text(&by_sex, 1).contains("demographic_parity_difference"));
    let refused = [
        (
            &parity[..],
            "name the column that tells them apart with --segment",
        ),
        (&["--threshold", "accuracy=0.9"], "with --task or --model"),
        (
            &["--task", "binary", "--threshold", "mae=1"],
            "models of the task binary do not have it",
        ),
        (
            &["--task", "binary", "--threshold", "value_per_prediction=1"],
            "the `values` of a quality monitor",
        ),
        (
            &["--threshold", "unseen_words=0.1"],
            "it is measured of texts",
        ),
        (
            &["--threshold", "mean_shift=0.1"],
            "it is measured of vectors",
        ),
        (&["--threads", "0"], "--threads"),
        (&["--mode", "nannyml"], "with --mode it is not checked"),
    ];
    for (options, cause) in refused {
        let of_features = options
            .iter()
            .any(|o| o.starts_with("unseen") || o.starts_with("mean_"));
        let output = if of_features {
            compare(&reference, &current, options)
        } else {
            with(options)
        };
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {told}");
        assert!(told.contains(cause), "{options:?}: {told}");
    }
    for together in ["domain_classifier_auc=0.9", "correlation_change=0.9"] {
        let told = document(&reference, &current, &["--threshold", together]);
        let (measure, _) = together.split_once('=').expect("a threshold");
        found(&told, measure, None, "");
    }
}

#[test]
fn without_a_threshold_quality_fails_where_it_is_worse_than_the_references() {
    let folder = Folder::new("quality-by-reference");
    let rows = |right: u32| {
        let row = |row: u32| {
            let label = ["yes", "no"][(row % 2) as usize];
            let other = ["no", "yes"][(row % 2) as usize];
            let said = if row % 100 < right { label } else { other };
            format!("{said},{label},{}\n", row % 7)
        };
        let rows: String = (0..1_000).map(row).collect();
        format!("prediction,label,load\n{rows}")
    };
    let [good, alike, bad] = [("good", 90), ("alike", 89), ("bad", 80)]
        .map(|(name, right)| folder.write(&format!("{name}.csv"), rows(right)));
    let options = ["--task", "multiclass", "--fail-on", "quality"];
    text(&compare(&good, &alike, &options), 0);
    text(&compare(&bad, &good, &options), 0);
    let stopped = text(&compare(&good, &bad, &options), 1);
    assert!(
        stopped.contains("worse than the reference's: "),
        "{stopped}"
    );
    assert!(stopped.contains("accuracy"), "{stopped}");
    // Whoever does not ask is told the values, as ever.
    let told = document(&good, &bad, &["--task", "multiclass"]);
    let accuracy = found(&told, "accuracy", None, "");
    assert_eq!(accuracy["status"], "ok");
    let method = found(&told, "f1", None, "")["recipe"]["method"].as_str();
    assert!(method.expect("words").contains("(macro)"), "{method:?}");
    assert!(accuracy["interval"][1].as_f64() < accuracy["reference_interval"][0].as_f64());
    // Nothing to hold against: a check that could not fail.
    let unlabelled = folder.write("unlabelled.csv", rows(90).replace("label", "truth"));
    let refused = compare(&unlabelled, &bad, &options);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("with --threshold, such as"), "{told}");
    let refused = compare(&good, &bad, &["--fail-on", "quality"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn classes_are_judged_by_a_models_cost_matrix_lift_and_groups() {
    let folder = Folder::new("quality-classes");
    let model = folder.write(
        "model.yaml",
        "
models:
  - name: loans
    task: binary
    positive_class: good
    segments: [region]
    monitors:
      - name: quality
        kind: quality
        window: day
        min_labels: 50
        measures: [accuracy, lift, value_per_prediction, demographic_parity_difference]
        values: {true_positive: 10, false_positive: -50, true_negative: 0, false_negative: -5}
        groups: [region]
",
    );
    // In the north three in four are taken, in the south one in four; half of those taken are good, and no other is.
    let rows: String = (0..400)
        .map(|row| {
            let north = row % 2 == 0;
            let taken = (row / 2 % 4 < 3) == north;
            let good = taken && row / 8 % 2 == 0;
            let class = |is: bool| if is { "good" } else { "bad" };
            let (region, score) = (if north { "north" } else { "south" }, if taken { 0.9 } else { 0.1 });
            format!(
                "{{\"region\": \"{region}\", \"prediction\": \"{}\", \"score\": {score}, \"label\": \"{}\"}}\n",
                class(taken),
                class(good)
            )
        })
        .collect();
    let reference = folder.write("reference.ndjson", &rows);
    let current = folder.write("current.ndjson", &rows);
    let told = document(
        &reference,
        &current,
        &["--model", model.to_str().expect("a path")],
    );
    assert_near(&found(&told, "accuracy", None, "")["value"], 0.75);
    // A quarter of all is good, and half of those with the higher score.
    assert_near(&found(&told, "lift", None, "")["value"], 2.0);
    assert_near(
        &found(&told, "value_per_prediction", None, "")["value"],
        0.25 * 10.0 - 0.25 * 50.0,
    );
    let parity = found(&told, "demographic_parity_difference", None, "region");
    assert_near(&parity["value"], 0.5);
    assert_near(&parity["reference"], 0.5);
    assert!(parity["interval"][0].as_f64().expect("an end") > 0.3);
}

#[test]
fn rankings_and_forecasts_are_judged_from_flat_columns() {
    let folder = Folder::new("quality-lists");
    let lists = |order: [u32; 2]| {
        let mut rows = "query,rank,label,price\n".to_owned();
        for query in 0..40 {
            for (place, relevance) in (1..).zip(order) {
                rows += &format!("q{query},{place},{relevance},{}\n", query * place % 13);
            }
        }
        rows
    };
    let reference = folder.write("best.csv", lists([1, 0]));
    let current = folder.write("worst.csv", lists([0, 1]));
    let told = document(&reference, &current, &["--task", "ranking"]);
    assert_near(
        &found(&told, "mean_reciprocal_rank", None, "")["value"],
        0.5,
    );
    assert_near(
        &found(&told, "ndcg", None, "")["value"],
        1.0 / 3.0_f64.log2(),
    );
    assert_near(&found(&told, "ndcg", None, "")["reference"], 1.0);
    assert_near(&found(&told, "hit_rate", None, "")["value"], 1.0);
    let features = told["measurements"].as_array().expect("a list");
    assert!(
        features.iter().all(|m| m["feature"] != "query"),
        "a query is no feature"
    );

    let forecasts: String = (0..100).fold(
        "prediction,quantile.0.1,quantile.0.9,naive_error,label,day\n".to_owned(),
        |rows, row| rows + &format!("10,8,12,4,{},{row}\n", if row % 2 == 0 { 11 } else { 15 }),
    );
    let file = folder.write("forecasts.csv", forecasts);
    let told = document(&file, &file, &["--task", "forecast"]);
    assert_near(&found(&told, "mae", None, "")["value"], 3.0);
    assert_near(&found(&told, "interval_coverage", None, "")["value"], 0.5);
    assert_near(&found(&told, "interval_width", None, "")["value"], 4.0);
    assert_near(&found(&told, "pinball_loss", None, "")["value"], 0.95);
    assert_near(&found(&told, "mase", None, "")["value"], 0.75);

    // Without a prediction the quantile 0.5 is one.
    let medians: String = (0..100).fold(
        "quantile.0.1,quantile.0.5,quantile.0.9,label,day\n".to_owned(),
        |rows, row| rows + &format!("8,10,12,{},{row}\n", if row % 2 == 0 { 11 } else { 15 }),
    );
    let file = folder.write("medians.csv", medians);
    let told = document(&file, &file, &["--task", "forecast"]);
    assert_near(&found(&told, "mae", None, "")["value"], 3.0);
}

#[test]
fn a_quality_monitor_that_has_nothing_to_go_by_is_not_passed_over() {
    let folder = Folder::new("quality-declared");
    let model = folder.write(
        "model.yaml",
        "
models:
  - name: demand
    task: regression
    monitors:
      - {name: quality, kind: quality, window: day}
",
    );
    let labelled = folder.write("labelled.csv", "label,amount\n1,2\n2,3\n");
    let options = ["--model", model.to_str().expect("a path")];
    let told = document(&labelled, &labelled, &options);
    let unsaid = found(&told, "label_coverage", None, "");
    assert_eq!(unsaid["status"], "insufficient");
    let cause = unsaid["recipe"]["cause"].as_str().expect("a cause");
    assert!(cause.contains("no column \"prediction\""), "{cause}");
    let plain = folder.write("plain.csv", "amount\n2\n3\n");
    let told = document(&plain, &plain, &options);
    assert!(told["quality"].is_null(), "{told:#}");
}

#[test]
fn quality_that_was_asked_for_and_cannot_be_measured_is_a_fault() {
    let folder = Folder::new("quality-lacks");
    let file = folder.write("rows.csv", "prediction,amount\n1,2\n2,3\n");
    let asked = compare(&file, &file, &["--task", "regression"]);
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(2), "{told}");
    assert!(told.contains("it has no column \"label\""), "{told}");
    let options = [
        "--task",
        "regression",
        "--threshold",
        "mae=1",
        "--mode",
        "tfdv",
    ];
    assert_eq!(compare(&file, &file, &options).status.code(), Some(2));
}

#[test]
fn single_classes_are_judged_by_name_and_all_by_a_cost_matrix() {
    let folder = Folder::new("quality-by-class");
    let model = folder.write(
        "model.yaml",
        "
models:
  - name: pets
    task: multiclass
    monitors:
      - name: quality
        kind: quality
        window: day
        min_labels: 20
        measures: [value_per_prediction, class_precision, class_recall, class_f1]
        values: {right: 1, wrong: -2, by_label: {dog: {cat: -7}}}
",
    );
    // Of forty cats ten are taken for dogs, of sixty dogs twenty for cats.
    let rows = [
        ("cat", "cat", 30),
        ("cat", "dog", 10),
        ("dog", "dog", 40),
        ("dog", "cat", 20),
    ];
    let rows: String = rows
        .into_iter()
        .flat_map(|(label, prediction, times)| {
            (0..times).map(move |row| {
                format!("{{\"label\": \"{label}\", \"prediction\": \"{prediction}\", \"weight\": {row}}}\n")
            })
        })
        .collect();
    let file = folder.write("pets.ndjson", rows);
    let told = document(&file, &file, &["--model", model.to_str().expect("a path")]);
    let value = found(&told, "value_per_prediction", None, "");
    assert_near(
        &value["value"],
        (30.0 + 40.0 - 10.0 * 2.0 - 20.0 * 7.0) / 100.0,
    );
    let method = value["recipe"]["method"].as_str().expect("words");
    let worth = "a right prediction is worth 1, a wrong one -2, \"cat\" for the label \"dog\" -7";
    assert!(method.ends_with(worth), "{method}");
    assert_near(&found(&told, "class_precision", None, "cat")["value"], 0.6);
    assert_near(&found(&told, "class_recall", None, "cat")["value"], 0.75);
    assert_near(&found(&told, "class_f1", None, "cat")["value"], 2.0 / 3.0);
    assert_near(&found(&told, "class_precision", None, "dog")["value"], 0.8);
    assert_near(
        &found(&told, "class_recall", None, "dog")["value"],
        2.0 / 3.0,
    );
    assert_near(&found(&told, "class_f1", None, "dog")["value"], 8.0 / 11.0);
}

/// Predictions of ten days, an hour apart, whose labels come `days` later, evenly up to twice that; those that would come
/// after the last prediction are not there.
fn late(days: f64) -> String {
    let start: chrono::DateTime<chrono::Utc> = "2026-03-01T00:00:00Z".parse().expect("a time");
    let last = start + chrono::TimeDelta::hours(239);
    let mut rows = "timestamp,prediction,label,observed_at\n".to_owned();
    for row in 0..240 {
        let at = start + chrono::TimeDelta::hours(row);
        let hours =
            (days * 24.0 * (1.0 + f64::from(u8::try_from(row % 5).unwrap_or(0)) / 4.0)) as i64;
        let known = at + chrono::TimeDelta::hours(hours);
        rows += &if known <= last {
            format!("{},10,9,{}\n", at.to_rfc3339(), known.to_rfc3339())
        } else {
            format!("{},10,,\n", at.to_rfc3339())
        };
    }
    rows
}

#[test]
fn labels_that_are_still_to_come_are_told_by_how_long_they_took() {
    let folder = Folder::new("quality-maturity");
    let reference = folder.write("reference.csv", late(0.0));
    let current = folder.write("current.csv", late(2.0));
    let options = ["--task", "regression", "--by", "day"];
    let completeness = |reference: &std::path::Path| -> Vec<(String, f64, f64)> {
        let told = document(reference, &current, &options);
        let measured = told["measurements"].as_array().expect("a list");
        let of = |measure: &str| -> Vec<&Value> {
            (measured.iter())
                .filter(|m| m["measure"] == measure && m["segment"].is_null())
                .collect()
        };
        let coverage = of("label_coverage");
        let completeness = of("label_completeness");
        assert_eq!(completeness.len(), coverage.len(), "one beside the other");
        let pairs = completeness.into_iter().zip(coverage);
        pairs
            .map(|(completeness, coverage)| {
                assert_eq!(completeness["window"], coverage["window"]);
                let start = completeness["window"]["start"].as_str().expect("a time");
                let value = |m: &Value| m["value"].as_f64().expect("a share");
                (start[..10].to_owned(), value(completeness), value(coverage))
            })
            .collect()
    };
    // Where labels came at once, all should be there: those that are not are missing.
    let at_once = completeness(&reference);
    assert_eq!(at_once.len(), 10);
    assert!(at_once.iter().all(|(_, complete, _)| *complete > 0.999));
    assert_eq!(at_once[9].2, 0.0);

    // Of a reference whose labels took as long, the last days are young.
    let mut alike = late(2.0);
    alike = alike.replace("2026-03-", "2026-02-");
    let reference = folder.write("alike.csv", alike);
    let young = completeness(&reference);
    let of_day = |day: usize| (young[day].1, young[day].2);
    assert!(of_day(0).0 > 0.999 && of_day(0).1 == 1.0, "{young:?}");
    let (complete, coverage) = of_day(7);
    assert!((0.05..0.95).contains(&complete), "{complete}");
    assert!((0.05..0.95).contains(&coverage), "{coverage}");
    assert_eq!(of_day(9).1, 0.0);
    assert!(of_day(9).0 < 0.01, "{:?}", of_day(9));
}

/// Predictions of ten days, four an hour, from a time on. The labels of every other one come after an hour and are off by 1; those of the
/// others come after two days and are off by 3. Those that come after the last prediction are there where the file `is_whole`.
fn two_kinds(from: &str, is_whole: bool) -> String {
    let start: chrono::DateTime<chrono::Utc> = from.parse().expect("a time");
    let last = start + chrono::TimeDelta::minutes(15 * 959);
    let mut rows = "timestamp,prediction,label,observed_at,line\n".to_owned();
    for row in 0..960 {
        let at = start + chrono::TimeDelta::minutes(15 * row);
        let (hours, label) = if row % 2 == 0 { (1, 9) } else { (48, 7) };
        let known = at + chrono::TimeDelta::hours(hours);
        let line = ["north", "south"][(row / 2 % 2) as usize];
        rows += &if is_whole || known <= last {
            format!(
                "{},10,{label},{},{line}\n",
                at.to_rfc3339(),
                known.to_rfc3339()
            )
        } else {
            format!("{},10,,,{line}\n", at.to_rfc3339())
        };
    }
    rows
}

/// The value of a measure on each day, and what it is projected to be.
fn by_day(document: &Value, measure: &str, segment: Option<&str>) -> Vec<(f64, Option<f64>)> {
    let measured = document["measurements"].as_array().expect("a list");
    measured
        .iter()
        .filter(|m| m["measure"] == measure && m["segment"].as_str() == segment)
        .filter(|m| m["value"].is_number())
        .map(|m| {
            let value = m["value"].as_f64().expect("a value");
            (value, m["recipe"]["projected"]["value"].as_f64())
        })
        .collect()
}

#[test]
fn values_of_young_days_are_projected_and_say_that_they_are() {
    let folder = Folder::new("quality-projected");
    let reference = folder.write("reference.csv", two_kinds("2026-02-01T00:00:00Z", true));
    let current = folder.write("current.csv", two_kinds("2026-03-01T00:00:00Z", false));
    let options = ["--task", "regression", "--by", "day", "--segment", "line"];
    let told = document(&reference, &current, &options);
    for segment in [None, Some("line=north")] {
        let days = by_day(&told, "mae", segment);
        assert_eq!(days.len(), 10, "{segment:?}");
        for (day, (value, projected)) in days.into_iter().enumerate() {
            if day < 8 {
                assert!((value - 2.0).abs() < 1e-9, "{day}: {value}");
                assert_eq!(projected, None, "{day} is final");
            } else {
                // Only the labels that come soon are there: 1, and 2 with the late ones.
                assert!((value - 1.0).abs() < 1e-9, "{day}: {value}");
                let projected = projected.expect("a projection");
                assert!((projected - 2.0).abs() < 1e-9, "{day}: {projected}");
            }
        }
    }
    let last = (told["measurements"].as_array().expect("a list").iter())
        .rfind(|m| m["measure"] == "bias" && m["segment"].is_null())
        .expect("the bias of the last day");
    let projected = &last["recipe"]["projected"];
    let note = projected["note"].as_str().expect("words");
    assert!(
        note.starts_with("a projection, not a measurement: "),
        "{note}"
    );
    assert!(
        note.contains("as among the 960 of 2026-02-01 00:00 to "),
        "{note}"
    );
    let (low, high) = (projected["low"].as_f64(), projected["high"].as_f64());
    assert!(low.is_some() && low <= high, "{projected}");
    // The latest time in the file is that of its last label, 23:45 of the tenth day; the last prediction is of that moment.
    let matures = projected["matures_at"].as_str().expect("a time");
    assert!(matures.starts_with("2026-03-12T"), "{matures}");

    let table = text(&compare(&reference, &current, &options), 0);
    assert!(
        table.contains(
            "by how the reference's late labels differed from its early ones; a projection, not a measurement"
        ),
        "{table}"
    );
    assert!(
        table.contains("2.000 (2.000 to 2.000)  2026-03-11"),
        "{table}"
    );
    let page = [&options[..], &["--format", "html"]].concat();
    let page = text(&compare(&reference, &current, &page), 0);
    assert!(page.contains("<h2>Labels still to come</h2>"), "{page}");
    assert!(page.contains("a projection, not a measurement"), "{page}");
}

#[test]
fn labels_without_times_have_their_lack_named_and_other_names_are_heeded() {
    let folder = Folder::new("quality-without-times");
    let whole = two_kinds("2026-02-01T00:00:00Z", true);
    let young = two_kinds("2026-03-01T00:00:00Z", false);
    let reference = folder.write("reference.csv", &whole);
    let renamed = folder.write("renamed.csv", whole.replace("observed_at", "known_at"));
    let current = folder.write("current.csv", young.replace("observed_at", "known_at"));
    let completeness = |reference: &std::path::Path, current: &std::path::Path, more: &[&str]| {
        let options = [&["--task", "regression"], more].concat();
        let told = document(reference, current, &options);
        let measured = told["measurements"].as_array().expect("a list").clone();
        measured
            .into_iter()
            .find(|m| m["measure"] == "label_completeness")
    };
    let lacking = completeness(&renamed, &current, &[]).expect("a reason");
    assert_eq!(lacking["status"], "insufficient");
    assert_eq!(
        lacking["recipe"]["cause"],
        "labels are missing, and whether they are still to come is not known: the reference has no column with the time at \
         which each label was known (`observed_at`, or --observed-at)"
    );
    assert_eq!(
        completeness(&renamed, &renamed, &[]),
        None,
        "none is missing"
    );
    let named = completeness(&renamed, &current, &["--observed-at", "known_at"]).expect("a value");
    assert_eq!(named["status"], "ok", "{named}");
    let told = document(
        &renamed,
        &current,
        &["--task", "regression", "--observed-at", "known_at"],
    );
    let features = told["measurements"].as_array().expect("a list");
    assert!(
        features.iter().all(|m| m["feature"] != "known_at"),
        "a time of a label is no feature"
    );
    // Whose labels are known by now can be told by the current file's predictions alone.
    let bare = folder.write("bare.csv", young.replace("observed_at", "elsewhere"));
    let bare = completeness(&reference, &bare, &["--ignore", "elsewhere"]).expect("a value");
    assert_eq!(bare["value"], named["value"]);
    let missing = compare(
        &reference,
        &current,
        &["--task", "regression", "--observed-at", "known"],
    );
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn predictions_of_the_reference_that_are_too_young_do_not_tell_how_many_labels_come() {
    let folder = Folder::new("quality-within");
    let reference = folder.write("reference.csv", two_kinds("2026-02-01T00:00:00Z", false));
    let current = folder.write("current.csv", two_kinds("2026-03-01T00:00:00Z", false));
    let model = |within: &str| {
        format!(
            "models:\n  - name: fares\n    task: regression\n    columns: {{observed_at: observed_at}}\n    monitors:\n      \
             - {{name: quality, kind: quality, window: day, min_labels: 20{within}}}\n"
        )
    };
    let method = |within: &str| {
        let model = folder.write("model.yaml", model(within));
        let options = ["--model", model.to_str().expect("a path"), "--by", "day"];
        let told = document(&reference, &current, &options);
        let found = found_completeness(&told);
        found["recipe"]["method"]
            .as_str()
            .map_or_else(|| found["recipe"]["cause"].to_string(), str::to_owned)
    };
    assert!(
        method("").contains("of whose predictions 0.898 got one"),
        "{}",
        method("")
    );
    let within = method(", labels_within: 3d");
    assert!(
        within.contains("of whose predictions 1.000 got one"),
        "{within}"
    );
}

fn found_completeness(document: &Value) -> Value {
    let measured = document["measurements"].as_array().expect("a list");
    let found = measured
        .iter()
        .find(|m| m["measure"] == "label_completeness");
    found.expect("the completeness").clone()
}

/// The same rows in columns of somebody's own, with times as clocks in Tokyo show them.
fn in_own_words(rows: &str) -> String {
    let mut own = "scored_at;minutes;truth;known_on;note\n".replace(';', ",");
    for row in rows.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let local = |time: &str| {
            let at: Result<chrono::DateTime<chrono::Utc>, _> = time.parse();
            at.map_or(String::new(), |at| {
                let in_tokyo = at + chrono::TimeDelta::hours(9);
                in_tokyo.format("%d.%m.%Y %H:%M:%S").to_string()
            })
        };
        let times = [local(fields[0]), local(fields[3])];
        own += &format!(
            "{},{},{},{},{}\n",
            times[0],
            fields[1],
            fields[2],
            times[1],
            own.len()
        );
    }
    own
}

#[test]
fn a_models_own_columns_and_times_are_read_as_its_file_says() {
    let folder = Folder::new("quality-columns");
    let [reference, current] = [late(0.5).replace("2026-03-", "2026-02-"), late(2.0)];
    let model = folder.write(
        "fares.yaml",
        "models:\n  - name: fares\n    task: regression\n    columns:\n      timestamp: scored_at\n      prediction: minutes\n      \
         label: truth\n      observed_at: known_on\n      ignore: [note]\n      time_format: \"%d.%m.%Y %H:%M:%S\"\n      \
         time_zone: Asia/Tokyo\n",
    );
    let usual = ["reference.csv", "current.csv"];
    let usual = [
        folder.write(usual[0], &reference),
        folder.write(usual[1], &current),
    ];
    let own = [
        folder.write("own-reference.csv", in_own_words(&reference)),
        folder.write("own-current.csv", in_own_words(&current)),
    ];
    let measured = |files: &[std::path::PathBuf; 2], options: &[&str]| {
        let told = document(&files[0], &files[1], &[&["--by", "day"], options].concat());
        (told["measurements"].clone(), told["schema"].clone())
    };
    let expected = measured(&usual, &["--task", "regression"]);
    let model = model.to_str().expect("a path");
    let found = measured(&own, &["--model", model]);
    assert!(expected.0.as_array().is_some_and(|all| all.len() > 30));
    assert_eq!(found, expected);
    // A column may be named by what the file calls it, too.
    assert_eq!(
        measured(&own, &["--model", model, "--timestamp", "scored_at"]),
        expected
    );

    let wrong = in_own_words(&current).replacen("01.03.2026 10:00:00", "31.02.2026 10:00:00", 1);
    let wrong = folder.write("wrong.csv", wrong);
    let told = compare(&own[0], &wrong, &["--by", "day", "--model", model]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let cause = "row 2, column \"scored_at\": is the text \"31.02.2026 10:00:00\", not a time as `%d.%m.%Y %H:%M:%S`";
    assert!(told.contains(cause), "{told}");
}
