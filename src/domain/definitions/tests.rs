mod runbooks;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::measurement::Measure;
use crate::domain::rule::{Condition, Threshold};
use crate::domain::schema::Limit;
use crate::domain::shift::Unit;
use crate::domain::window::Grain;
use runbooks::{PIPELINES, RUNBOOK};

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn demo() -> Definitions {
    parse(&[file(
        "bellwether.yaml",
        include_str!("../../../demo/bellwether.yaml"),
    )])
    .unwrap_or_else(|problems| panic!("{}", check_report(&problems)))
}

/// The problems as `file:line: cause`.
fn causes(files: &[SourceFile]) -> Vec<String> {
    parse(files)
        .err()
        .unwrap_or_default()
        .into_iter()
        .map(|p| format!("{}:{}: {}", p.file, p.line, p.cause))
        .collect()
}

/// A sound file that the cases below break: one model, one rule, one receiver.
const SOUND: &str = "\
models:
  - name: air
    task: regression
    baselines:
      training: {file: training.csv}
    schema: {from: training}
    monitors:
      - {name: drift, kind: drift, window: week, baseline: training}
      - {name: quality, kind: quality, window: week, baseline: training}
      - {name: traffic, kind: traffic, window: day}
rules:
  - name: bad
    model: air
    title: Bad
    severity: warning
    receivers: [on-call]
    when: {monitor: quality, measure: mae, above: 3}
receivers:
  - {name: on-call, email: {to: [a@example.org]}}
";

#[test]
fn a_sound_file_has_no_problems() {
    assert_eq!(causes(&[file("a.yaml", SOUND)]), Vec::<String>::new());
}

#[test]
fn a_broken_file_is_told_what_is_wrong_and_where() {
    // What is replaced, by what, and what is then said.
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "    task: regression",
            "    taks: regression",
            &[
                "2: a model needs `task`",
                "3: a model has no key `taks`; did you mean `task`?",
            ],
        ),
        (
            "regression",
            "regresion",
            &["3: `regresion` is not a task; did you mean `regression`?"],
        ),
        (
            "task: regression",
            "task: binary",
            &[
                "2: a binary model needs `positive_class`: the label whose probability its score is",
                "17: `mae` does not fit the binary model `air`, whose quality is measured by `roc_auc`, `f1`, `accuracy`, `precision`, `recall`, `log_loss` and `label_coverage`",
            ],
        ),
        (
            "models:",
            "modles:",
            &[
                "1: a configuration file has no key `modles`; did you mean `models`?",
                "13: there is no model `air`, and no model is defined at all",
            ],
        ),
        (
            "name: air\n",
            "name: air time\n",
            &[
                "2: a name begins with a letter or digit, has only letters, digits, `-`, `_` and `.`, and is no longer than 100",
            ],
        ),
        (
            "training.csv",
            "../training.csv",
            &[
                "5: a file of rows lies inside the configuration directory, and its path is relative to this file",
            ],
        ),
        (
            "training.csv",
            "training.xlsx",
            &[
                "5: a file of rows ends in one of `.parquet`, `.csv`, `.ndjson`, `.jsonl` and `.json`",
            ],
        ),
        (
            "{file: training.csv}",
            "{from: 2026-02-01, to: 2026-01-01}",
            &["5: the window ends before it begins: `to` has to be later than `from`"],
        ),
        (
            "from: training",
            "from: trainnig",
            &["6: this model has no baseline `trainnig`; did you mean `training`?"],
        ),
        (
            "{from: training}",
            "{from: training, features: {temp: {min: 5, max: 1}}}",
            &["6: no value lies in this range: `min` 5 is above `max` 1"],
        ),
        (
            "{from: training}",
            "{features: {temp: {min: 5}}}",
            &["6: a feature needs `type` when its schema is not inferred (`from`)"],
        ),
        (
            "{from: training}",
            "{from: training, features: {temp: {max_null_share: 30}}}",
            &["6: a share from 0 to 1 is expected, but this is 30"],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: week",
            &[
                "8: a drift monitor needs `baseline` or `against`: what the features are compared with",
            ],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: week, baseline: training, against: {rolling: 28d}",
            &[
                "8: a monitor is compared with one thing: `baseline`, or `against` for a part of the past that moves along",
            ],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: week, against: {}",
            &[
                "8: exactly one of `rolling` (a number of days) and `season` (`hour`, `weekday` or both) is needed; a fixed window of the past is a baseline",
            ],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: week, against: {rolling: 36h, weeks: 2}",
            &[
                "8: `weeks` does not apply here: it belongs to a `season`",
                "8: a rolling reference is a number of whole days, such as `28d`",
            ],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: week, against: {rolling: 7d, gap: 1h}",
            &["8: the gap is a multiple of the model's base window, which is day"],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: week, against: {season: [weekday]}",
            &["8: only windows of `hour` and `day` have a season"],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: day, against: {season: [weekday, hour]}",
            &["8: a window of a day has every hour in it; its season is the `weekday`"],
        ),
        (
            "kind: drift, window: week, baseline: training",
            "kind: drift, window: day, against: {season: [month]}",
            &["8: `month` is not a season; there are `hour` and `weekday`"],
        ),
        (
            "{from: training}",
            "{from: training, features: {temp: {environments: []}}}",
            &[
                "6: no environment is listed; a feature that is nowhere required has `required: false`",
            ],
        ),
        (
            "kind: traffic, window: day",
            "kind: traffic, window: day, against: {rolling: 7d}",
            &["10: `against` does not apply here: a traffic monitor has `min_rows` only"],
        ),
        (
            "kind: drift, window: week",
            "kind: drift, window: hour",
            &[
                "8: a monitor's window cannot be shorter than its model's base window; set the model's `window: hour`",
            ],
        ),
        (
            "name: traffic",
            "name: quality",
            &["10: there is already a monitor `quality`, on line 9"],
        ),
        (
            "kind: traffic, window: day",
            "kind: traffic, window: day, tolerance: 1",
            &["10: `tolerance` does not apply here: a traffic monitor has `min_rows` only"],
        ),
        (
            "model: air",
            "model: ari",
            &["13: there is no model `ari`; did you mean `air`?"],
        ),
        (
            "severity: warning",
            "severity: fatal",
            &["15: `fatal` is not a severity; there are `info`, `warning` and `critical`"],
        ),
        (
            "[on-call]",
            "[oncall]",
            &["16: there is no receiver `oncall`; did you mean `on-call`?"],
        ),
        (
            "monitor: quality",
            "monitor: qualty",
            &["17: the model `air` has no monitor `qualty`; did you mean `quality`?"],
        ),
        (
            "measure: mae",
            "measure: f1",
            &[
                "17: `f1` does not fit the regression model `air`, whose quality is measured by `mae`, `rmse`, `bias` and `label_coverage`",
            ],
        ),
        (
            "measure: mae",
            "measure: psi",
            &[
                "17: the quality monitor `quality` does not measure `psi`; it measures `mae`, `rmse`, `bias` and `label_coverage`",
            ],
        ),
        (
            "measure: mae",
            "measure: mea",
            &["17: there is no measure `mea`; did you mean `mae`?"],
        ),
        (
            "above: 3",
            "above: .nan",
            &["17: a finite number is expected"],
        ),
        (
            "above: 3",
            "above: -1",
            &["17: `mae` is always above -1: it is never below 0"],
        ),
        (
            "measure: mae, above: 3",
            "measure: label_coverage, above: 1",
            &["17: `label_coverage` is never above 1: it lies between 0 and 1"],
        ),
        (
            "above: 3",
            "below: 0",
            &["17: `mae` is never below 0: 0 is the least it can be"],
        ),
        (
            "above: 3",
            "above: 3, below: 1",
            &["17: the `when` of a rule needs exactly one of `above`, `below` and `status`"],
        ),
        (
            "above: 3",
            "above: 3, windows: 0",
            &["17: a whole number from 1 to 366 is expected, but this is 0"],
        ),
        (
            "above: 3",
            "above: 3, at_least: 2",
            &["17: this rule looks at 1 value a window, so 2 can never be beyond the threshold"],
        ),
        (
            "above: 3",
            "above: {times_baseline: 0}",
            &["17: a number above 0 is expected, but this is 0"],
        ),
        (
            "monitor: quality, measure: mae, above: 3",
            "monitor: drift, measure: psi, above: {times_baseline: 2}",
            &["17: `times_baseline` is for measures of quality; a baseline has no `psi`"],
        ),
        (
            "monitor: quality, measure: mae, above: 3",
            "monitor: drift, measure: jensen_shannon, status: drift",
            &[
                "17: the monitor `drift` has no threshold for `jensen_shannon`, so its status is never drift; set `thresholds: {jensen_shannon: …}` there",
            ],
        ),
        (
            "monitor: quality, measure: mae, above: 3",
            "no_predictions_for: 24",
            &[
                "17: a length of time with its unit is expected, such as `30s`, `15m`, `24h` or `7d`, but this is a number",
            ],
        ),
        (
            "monitor: quality, measure: mae, above: 3",
            "no_predictions_for: 24h, windows: 2",
            &["17: `windows` does not apply here: `no_predictions_for` stands alone"],
        ),
        (
            "    title: Bad",
            "    runbook: rollbak\n    title: Bad",
            &["14: there is no runbook `rollbak`; did you mean `rollback`?"],
        ),
        (
            "    title: Bad",
            "    runbook: quality-regression\n    title: Bad",
            &[
                "14: the runbook `quality-regression`, which comes with Bellwether, starts the pipeline `retrain`; define it under `pipelines`, or write your own runbook of that name",
            ],
        ),
        (
            "a@example.org",
            "a at example.org",
            &["19: `a at example.org` is not an e-mail address such as `oncall@example.org`"],
        ),
        (
            "email: {to: [a@example.org]}",
            "webhook: {url: \"https://u:p@example.org\", secret: hunter2}",
            &[
                "19: a secret does not belong into a file that is kept in Git: name the environment variable that holds it, `{env: BELLWETHER_SECRET_NAME}`",
                "19: a web address must not hold a user name or password; name a secret by `env`",
            ],
        ),
        (
            "email: {to: [a@example.org]}",
            "sms: 123",
            &[
                "19: a receiver has no key `sms`; it may have `name`, `email` and `webhook`",
                "19: a receiver needs either `email` or `webhook`",
            ],
        ),
        (
            "receivers:\n",
            "pipelines:\n  - {name: retrain, url: \"file:///etc/passwd\"}\nreceivers:\n",
            &["19: a web address begins with http:// or https://, not file:"],
        ),
        (
            "rules:\n  - name: bad",
            "rules:\n    name: bad",
            &["12: `rules` is a list, each item beginning with `- `, but this is a mapping"],
        ),
        (
            "    title: Bad",
            "    title: 5",
            &["14: a text is expected, but this is a number; put it in quotes"],
        ),
        (
            "    title: Bad",
            "    title: Bad\n    title: Worse",
            &["15: this is not valid YAML: duplicate mapping key: title not allowed here"],
        ),
    ];
    let mut wrong = Vec::new();
    for (old, new, expected) in cases {
        assert!(SOUND.contains(old), "the sound file has no {old:?}");
        let text = SOUND.replacen(old, new, 1);
        let mut said = causes(&[file("a.yaml", &text)]);
        let mut expected: Vec<String> = expected.iter().map(|e| format!("a.yaml:{e}")).collect();
        said.sort();
        expected.sort();
        if said != expected {
            wrong.push(format!(
                "{old:?} -> {new:?}\n  said {said:#?}\n  not {expected:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_misspelt_monitor_of_a_quality_rule_on_a_feature_is_refused() {
    let text = SOUND.replace("above: 3", "above: 3, feature: temp");
    assert_eq!(
        causes(&[file("a.yaml", &text)]),
        ["a.yaml:17: the quality monitor `quality` measures the whole model, not single features"]
    );
}

#[test]
fn a_feature_is_looked_up_when_the_schema_is_written_out_in_full() {
    let text = SOUND
        .replace(
            "{from: training}",
            "{features: {temp: {type: number}, wind: {type: number}}}",
        )
        .replace(
            "monitor: quality, measure: mae, above: 3",
            "monitor: drift, measure: psi, feature: tmep, above: 3",
        );
    assert_eq!(
        causes(&[file("a.yaml", &text)]),
        ["a.yaml:17: the schema of the model `air` has no feature `tmep`; did you mean `temp`?"]
    );
}

#[test]
fn problems_of_all_files_are_reported_together_in_order() {
    let second =
        "rules:\n  - {name: bad, model: air}\nreceivers:\n  - {name: on-call, email: {to: []}}\n";
    let runbook = "---\nname: x\n---\n";
    assert_eq!(
        causes(&[
            file("b.yaml", second),
            file("a.yaml", SOUND),
            file("x.md", runbook),
            file("notes.txt", "{{{"),
        ]),
        [
            "a.yaml:12: there is already a rule `bad`, at b.yaml:2",
            "a.yaml:19: there is already a receiver `on-call`, at b.yaml:4",
            "b.yaml:2: a rule needs `severity`",
            "b.yaml:2: a rule needs `title`",
            "b.yaml:2: a rule needs `when`",
            "b.yaml:4: an email receiver needs at least one address in `to`",
            "x.md:2: the front matter needs `first_step`",
            "x.md:2: the front matter needs `title`",
        ]
    );
}

#[test]
fn what_names_a_broken_object_is_not_blamed_for_it() {
    let text = SOUND.replace("window: day}", "window: fortnight}");
    assert_eq!(
        causes(&[file("a.yaml", &text)]),
        ["a.yaml:10: `fortnight` is not a window; there are `hour`, `day`, `week` and `month`"]
    );
}

#[test]
fn the_demo_is_what_the_story_needs() {
    let definitions = demo();
    let model = &definitions.models[0];
    assert_eq!((model.file.as_str(), model.line), ("bellwether.yaml", 13));
    assert_eq!(model.value.base_window, Grain::Day);
    let schema = model.value.schema.as_ref().expect("a schema");
    assert_eq!(schema.features.len(), 16);
    let wind = schema
        .features
        .iter()
        .find(|f| f.feature == "wind_direction")
        .expect("a feature");
    assert_eq!(wind.maximum, Limit::Given(360.0));
    let names: Vec<&str> = definitions
        .rules
        .iter()
        .map(|r| r.value.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "quality-warning",
            "quality-critical",
            "labels-worse",
            "budget-burns",
            "probably-worse",
            "estimates-blind",
            "schema-skew",
            "feature-drift",
            "volume",
            "no-predictions"
        ]
    );
    let Condition::Measured(warning) = &definitions.rules[0].value.condition else {
        panic!("not measured")
    };
    assert_eq!(warning.threshold, Threshold::AboveTimesBaseline(1.2));
    assert_eq!(
        (warning.grain, warning.windows, warning.resolve_windows),
        (Grain::Week, 2, 2)
    );
    assert_eq!(
        definitions.rules[9].value.condition,
        Condition::Silence {
            after_seconds: 86_400
        }
    );
}

#[test]
fn times_of_a_models_rows_are_of_a_form_that_there_is() {
    let of = |times: &str| {
        let text = SOUND.replace(
            "    baselines:",
            &format!("    columns: {{timestamp: scored_at, {times}}}\n    baselines:"),
        );
        causes(&[file("a.yaml", &text)])
    };
    for sound in [
        "time_format: seconds",
        "time_zone: Europe/Berlin",
        "time_format: '%d.%m.%Y %H:%M', time_zone: America/New_York",
    ] {
        assert_eq!(of(sound), Vec::<String>::new(), "{sound}");
    }
    for (times, cause) in [
        (
            "time_format: fortnights",
            "`fortnights` is neither `seconds`",
        ),
        ("time_format: '%H:%M'", "`%H:%M` does not say on which day"),
        ("time_zone: Berlin", "`Berlin` is no time zone"),
    ] {
        let found = of(times);
        assert!(found.len() == 1 && found[0].contains(cause), "{found:?}");
        assert!(found[0].starts_with("a.yaml:4: "), "{found:?}");
    }
}

#[test]
fn definitions_of_every_kind_survive_storage_as_json() {
    let more = "\
project: {name: other}
models:
  - name: clicks
    task: binary
    positive_class: 1
    baselines: {past: {from: 2026-01-01, to: 2026-02-01T00:00:00Z}}
    schema: {features: {page: {type: category, categories: [a, '', 3]}, n: {type: integer, min: any, required: false}}}
    monitors: [{name: drift, kind: drift, window: day, baseline: past, thresholds: {psi: 0.1, jensen_shannon: 0.2}}, {name: chosen, kind: drift, window: day, baseline: past, measures: [wasserstein, chi2], thresholds: {chi2: 9}}]
receivers:
  - {name: hook, webhook: {url: 'https://example.org/x', secret: {env: BELLWETHER_SECRET_HOOK}}}
pipelines:
  - {name: train, url: 'https://example.org/y', token: {env: BELLWETHER_SECRET_TRAIN}, poll: 5m}
";
    let second = parse(&[file("b.yml", more)])
        .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
    for definitions in [demo().with_shipped(), second] {
        let json = serde_json::to_value(&definitions).expect("serialises");
        let back: Definitions = serde_json::from_value(json).expect("parses");
        assert_eq!(back, definitions);
    }
}

/// A model with one drift monitor that has these further keys, and a rule on its Wasserstein distance.
fn with_drift_monitor(keys: &str) -> String {
    format!(
        "\
project: {{name: other}}
models:
  - name: clicks
    task: binary
    positive_class: 1
    baselines: {{past: {{from: 2026-01-01, to: 2026-02-01T00:00:00Z}}}}
    monitors:
      - {{name: drift, kind: drift, window: day, baseline: past{keys}}}
rules:
  - name: moved
    model: clicks
    title: Something moved
    severity: warning
    when: {{monitor: drift, measure: wasserstein, above: 3}}
"
    )
}

#[test]
fn a_drift_monitor_measures_what_it_chooses() {
    let text = with_drift_monitor(", measures: [wasserstein, psi], thresholds: {wasserstein: 2}");
    let definitions = parse(&[file("b.yml", &text)])
        .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
    let monitor = &definitions.models[0].value.monitors[0];
    assert_eq!(monitor.measures, [Measure::Wasserstein, Measure::Psi]);
    assert_eq!(
        monitor.thresholds.keys().collect::<Vec<_>>(),
        [&Measure::Wasserstein]
    );
    // Without thresholds the usual ones hold, but only of what is measured, and where the detector does not judge.
    for (keys, expected) in [
        (", measures: [wasserstein]", 0),
        (", measures: [wasserstein, total_variation]", 1),
        (
            ", measures: [wasserstein, missing_share_change, total_variation]",
            2,
        ),
        (", measures: [wasserstein, shift, total_variation]", 0),
    ] {
        let definitions = parse(&[file("b.yml", &with_drift_monitor(keys))])
            .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
        assert_eq!(
            definitions.models[0].value.monitors[0].thresholds.len(),
            expected,
            "{keys}"
        );
    }
}

#[test]
fn the_detector_has_a_status_of_its_own_and_works_by_day_against_a_baseline() {
    let rule = |text: &str| text.replace("wasserstein, above: 3", "shift, status: drift");
    let sound = rule(&with_drift_monitor(", measures: [shift, psi]"));
    let definitions = parse(&[file("b.yml", &sound)])
        .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
    let monitor = &definitions.models[0].value.monitors[0];
    assert!(monitor.watches_shift());
    // Readings beside the detector have no threshold unless somebody asks for one.
    assert_eq!(monitor.thresholds, BTreeMap::new());
    let by_day = "`shift` is measured by day and against the days of a `baseline`";
    for (old, new, expected) in [
        ("window: day", "window: week", by_day),
        ("baseline: past", "against: {rolling: 4d}", by_day),
        ("psi]", "psi], thresholds: {shift: 1}", "`shift`"),
    ] {
        let problems = parse(&[file("b.yml", &sound.replace(old, new))]).expect_err(new);
        let report = check_report(&problems);
        assert!(report.contains(expected), "{new}: {report}");
    }
}

#[test]
fn the_detector_works_by_the_hour_where_the_model_counts_by_hour() {
    let by_hour = |keys: &str| {
        with_drift_monitor(keys)
            .replace("window: day", "window: hour")
            .replace("task: binary", "task: binary\n    window: hour")
            .replace("wasserstein, above: 3", "shift, status: drift")
    };
    let read = |text: &str| parse(&[file("b.yml", text)]);
    let definitions =
        read(&by_hour("")).unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
    let monitor = &definitions.models[0].value.monitors[0];
    assert_eq!(monitor.drift_measures(), Measure::USUAL_DRIFT_BY_HOUR);
    assert_eq!(monitor.looks_back_by(), Some(Unit::Hour));
    assert_eq!(monitor.thresholds, BTreeMap::new());
    for (text, expected) in [
        (
            by_hour(", measures: [shift, copula_correlation_change]"),
            "`copula_correlation_change` is measured by day and against the days of a `baseline`",
        ),
        (
            by_hour(", measures: [shift]").replace("baseline: past", "against: {rolling: 4d}"),
            "or by hour and against its hours",
        ),
        (
            by_hour("").replace("kind: drift, window: hour", "kind: drift, window: 6h"),
            "`hour`",
        ),
    ] {
        let report = check_report(&read(&text).expect_err(&text));
        assert!(report.contains(expected), "{expected}: {report}");
    }
}

#[test]
fn the_detector_is_what_drift_is_judged_by_unless_a_monitor_cannot_have_it() {
    let rule = |text: &str, condition: &str| text.replace("wasserstein, above: 3", condition);
    let usual = [
        (
            "baseline: past",
            "baseline: past",
            &Measure::USUAL_DRIFT[..],
        ),
        (
            "baseline: past",
            "against: {rolling: 4d}",
            &Measure::USUAL_DRIFT_WITHOUT_DAYS,
        ),
        (
            "window: day",
            "window: week",
            &Measure::USUAL_DRIFT_WITHOUT_DAYS,
        ),
    ];
    for (old, new, expected) in usual {
        let text = rule(&with_drift_monitor(""), "psi, above: 0.3").replace(old, new);
        let definitions = parse(&[file("b.yml", &text)])
            .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
        let monitor = &definitions.models[0].value.monitors[0];
        assert_eq!(monitor.drift_measures(), expected, "{new}");
        let with_detector = expected.contains(&Measure::Shift);
        assert_eq!(monitor.watches_shift(), with_detector, "{new}");
        assert_eq!(monitor.thresholds.is_empty(), with_detector, "{new}");
    }
    let asked = rule(
        &with_drift_monitor(", thresholds: {psi: 0.2}"),
        "shift, status: drift",
    );
    let definitions = parse(&[file("b.yml", &asked)])
        .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
    let thresholds = &definitions.models[0].value.monitors[0].thresholds;
    assert_eq!(thresholds, &BTreeMap::from([(Measure::Psi, 0.2)]));
}

#[test]
fn drift_alone_pages_nobody_who_did_not_ask_for_it() {
    let rule = |severity: &str, measures: &str, more: &str| {
        let monitor = "measures: [psi, shift, copula_correlation_change, domain_classifier_auc, missing_share_change]";
        let text = SOUND
            .replace(
                "kind: drift, window: week",
                &format!("kind: drift, window: day, {monitor}"),
            )
            .replace("severity: warning", &format!("severity: {severity}{more}"))
            .replace(
                "{monitor: quality, measure: mae, above: 3}",
                &format!("{{monitor: drift, measures: [{measures}], above: 0.5}}"),
            );
        causes(&[file("a.yaml", &text)])
    };
    for measure in [
        "psi",
        "shift",
        "copula_correlation_change",
        "domain_classifier_auc",
    ] {
        let refused = rule("critical", measure, "");
        assert_eq!(refused.len(), 1, "{refused:?}");
        for part in [
            "a.yaml:17: the rule `bad` would page because of ",
            measure,
            "drift alone does not say that the model has become worse",
            "`severity: warning`",
            "`pages_on_drift: true`",
        ] {
            assert!(refused[0].contains(part), "{part}: {refused:?}");
        }
        assert_eq!(
            rule("critical", measure, "\n    pages_on_drift: false").len(),
            1
        );
        let allowed = rule("critical", measure, "\n    pages_on_drift: true");
        assert_eq!(allowed, Vec::<String>::new());
        assert_eq!(rule("warning", measure, ""), Vec::<String>::new());
    }
    // One measure of several is enough, and missing values are an outage of data.
    assert_eq!(rule("critical", "missing_share_change, psi", "").len(), 1);
    assert_eq!(
        rule("critical", "missing_share_change", ""),
        Vec::<String>::new()
    );
    for (severity, measure) in [("warning", "psi"), ("critical", "missing_share_change")] {
        let idle = rule(severity, measure, "\n    pages_on_drift: true");
        assert!(
            idle.len() == 1
                && idle[0].starts_with("a.yaml:16: `pages_on_drift` is for rules on drift"),
            "{idle:?}"
        );
    }
}

#[test]
fn measures_that_a_drift_monitor_does_not_have_are_named() {
    for (keys, expected) in [
        (
            "",
            "the drift monitor `drift` does not measure `wasserstein`; it measures `shift`, `copula_correlation_change`, `psi`, `jensen_shannon` and `kolmogorov_smirnov`",
        ),
        (
            ", measures: [psi, mae]",
            "a drift monitor does not measure `mae`; it can measure `psi`",
        ),
        (", measures: [wasserstien]", "did you mean `wasserstein`?"),
        (", measures: [wasserstein], thresholds: {psi: 0.1}", "`psi`"),
        (
            ", measures: [wasserstein, psi, psi]",
            "`psi` is listed twice",
        ),
    ] {
        let problems = parse(&[file("b.yml", &with_drift_monitor(keys))]).expect_err(keys);
        let report = check_report(&problems);
        assert!(report.contains(expected), "{keys}: {report}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*", ending in "yaml|md|yml|txt") {
        let _ = parse(&[file(&format!("a.{ending}"), &text)]);
    }

    #[test]
    fn a_sound_file_with_a_piece_cut_out_is_read_without_a_panic(
        from in 0_usize..SOUND.len(),
        length in 0_usize..200,
        put in "[\\PC\\n]{0,5}",
    ) {
        let to = (from + length).min(SOUND.len());
        let text = format!("{}{put}{}", &SOUND[..from], &SOUND[to..]);
        let _ = parse(&[file("a.yaml", &text)]);
    }

    #[test]
    fn a_runbook_with_a_piece_cut_out_is_read_without_a_panic(
        from in 0_usize..RUNBOOK.len(),
        length in 0_usize..200,
        put in "[\\PC\\n]{0,5}",
    ) {
        let to = (from + length).min(RUNBOOK.len());
        let text = format!("{}{put}{}", &RUNBOOK[..from], &RUNBOOK[to..]);
        let _ = parse(&[file("a.md", &text), file("p.yaml", PIPELINES)]);
    }
}
