//! Reads what a quality monitor chooses to measure.

use std::collections::BTreeMap;

use super::fields::{self, Fields, Located, listed, suggestion};
use super::problem::{Sink, did_you_mean};
use super::rule::measure;
use super::yaml::{Content, Node};
use crate::domain::measurement::Measure;
use crate::domain::model::Task;
use crate::domain::quality::{BinaryValues, ClassValues, PredictionValues, QualityChoice};
use crate::domain::sequential::SequentialChoice;
use crate::domain::window::Grain;

/// The keys of a monitor that only a quality monitor has, besides `min_labels`.
pub(super) const KEYS: &[&str] = &[
    "top_share",
    "top_k",
    "places",
    "interval",
    "values",
    "groups",
    "labels_within",
    "sequential",
];
pub(super) const SEQUENTIAL_KEYS: &[&str] =
    &["run_length", "tolerance", "right_within", "loss_cap"];
pub(super) const BINARY_VALUE_KEYS: &[&str] = &[
    "true_positive",
    "false_positive",
    "true_negative",
    "false_negative",
];
pub(super) const CLASS_VALUE_KEYS: &[&str] = &["right", "wrong", "by_label"];
/// More classes than this are no short list to look at.
const MOST_CLASSES: u32 = 100;
/// Nobody looks at more places of a ranking.
const MOST_PLACES: u32 = 10_000;
/// With a shorter one false alarms are what a detector mostly says.
const SHORTEST_RUN: u32 = 1_000;
const MOST_TOLERANCE: f64 = 0.5;

/// The choice of a monitor with that window, of a model with that task and those segments.
pub(super) fn read(
    f: &Fields,
    (task, grain): (Option<Task>, Option<Grain>),
    segments: &[String],
    files: &[&str],
    sink: &mut Sink,
) -> Option<QualityChoice> {
    let usual = QualityChoice::default();
    let measures = f.items("measures", sink, |node, sink| {
        let read = measure(node, sink)?;
        fitting(read, task, sink)
    });
    let top_share = f.optional("top_share", sink, top_share);
    let top_k = f.optional("top_k", sink, fields::whole(1, MOST_CLASSES));
    let places = f.optional("places", sink, fields::whole(1, MOST_PLACES));
    let interval = f.optional("interval", sink, interval);
    let values = f.get("values").map(|node| values(node, task, sink));
    let groups = f.items("groups", sink, |node, sink| group(node, segments, sink));
    let labels_within_seconds = f.optional("labels_within", sink, fields::seconds);
    let sequential = f.get("sequential").map(|node| sequential(node, task, sink));
    if let Some(task) = task {
        let keys: &[&str] = match task {
            Task::Regression => &[
                "top_share",
                "top_k",
                "places",
                "interval",
                "values",
                "groups",
            ],
            Task::Binary => &["top_k", "places", "interval"],
            Task::Multiclass => &["top_share", "places", "interval", "groups"],
            Task::Ranking => &["top_share", "top_k", "interval", "values", "groups"],
            Task::Forecast => &["top_share", "top_k", "places", "values", "groups"],
        };
        f.refuse(keys, "no measure of this task uses it", sink);
    }
    let choice = QualityChoice {
        measures: measures?,
        top_share: top_share.unwrap_or(usual.top_share),
        top_k: top_k.map_or(usual.top_k, |k| k as usize),
        places: places.map_or(usual.places, |places| places as usize),
        interval: interval.unwrap_or(usual.interval),
        values: match values {
            None => None,
            Some(read) => Some(read?),
        },
        groups: groups?,
        labels_within_seconds,
        sequential: match sequential {
            None => SequentialChoice::default(),
            Some(read) => read?,
        },
    };
    note_what_is_needed(&choice, f, sink);
    note_what_detectors_need(&choice, f, (task, grain, files), sink);
    Some(choice)
}

fn fitting(read: Located<Measure>, task: Option<Task>, sink: &mut Sink) -> Option<Measure> {
    let Some(task) = task else {
        return Some(read.value);
    };
    let known = || {
        Measure::of_quality(task)
            .iter()
            .chain(Measure::detailed_quality(task))
            .chain(Measure::of_label_detectors(task))
    };
    if !known().any(|measure| *measure == read.value) {
        sink.note(
            read.place,
            format!(
                "`{}` is no measure of quality for this model's task; there are {}",
                read.value.as_str(),
                listed(known().map(|measure| measure.as_str()))
            ),
        );
        return None;
    }
    Some(read.value)
}

fn top_share(node: &Node, sink: &mut Sink) -> Option<f64> {
    let share = fields::share(node, sink)?;
    if share == 0.0 {
        sink.note(
            node.place,
            "a share above 0 is expected: there is no top of nothing",
        );
        return None;
    }
    Some(share)
}

fn interval(node: &Node, sink: &mut Sink) -> Option<f64> {
    let level = fields::share(node, sink)?;
    if level == 0.0 || level == 1.0 {
        sink.note(
            node.place,
            "a share above 0 and below 1 is expected: the interval lies between two quantiles",
        );
        return None;
    }
    Some(level)
}

/// How the detectors are set.
fn sequential(node: &Node, task: Option<Task>, sink: &mut Sink) -> Option<SequentialChoice> {
    let f = Fields::read(
        node,
        "how detectors of labels are set",
        SEQUENTIAL_KEYS,
        sink,
    )?;
    let run_length = f.optional("run_length", sink, fields::whole(SHORTEST_RUN, u32::MAX));
    let tolerance = f.optional("tolerance", sink, tolerance);
    let right_within = f.optional("right_within", sink, fields::positive);
    let loss_cap = f.optional("loss_cap", sink, fields::positive);
    if task.is_some_and(|task| task != Task::Regression) {
        f.refuse(
            &["right_within", "loss_cap"],
            "only numbers have a distance",
            sink,
        );
    }
    let usual = SequentialChoice::default();
    Some(SequentialChoice {
        run_length: run_length.map(f64::from),
        tolerance: tolerance.unwrap_or(usual.tolerance),
        right_within,
        loss_cap,
    })
}

fn tolerance(node: &Node, sink: &mut Sink) -> Option<f64> {
    let share = fields::share(node, sink)?;
    if share >= MOST_TOLERANCE {
        sink.note(
            node.place,
            format!(
                "a tolerance below {MOST_TOLERANCE} is expected: nothing would be found with more"
            ),
        );
        return None;
    }
    Some(share)
}

/// What the detectors among the measures need besides.
fn note_what_detectors_need(
    choice: &QualityChoice,
    f: &Fields,
    (task, grain, files): (Option<Task>, Option<Grain>, &[&str]),
    sink: &mut Sink,
) {
    let place = f.get("measures").map_or(f.place, |node| node.place);
    if !choice
        .measures
        .iter()
        .any(|measure| measure.is_sequential())
    {
        f.refuse(
            &["sequential"],
            "none of the monitor's `measures` takes in each label once",
            sink,
        );
    }
    let watches = |measure: &Measure| measure.is_of_label_detector();
    if !choice.measures.iter().any(watches) {
        return;
    }
    if choice.measures.contains(&Measure::RocAucChange) && grain.is_some_and(|of| of != Grain::Day)
    {
        sink.note(
            place,
            "`roc_auc_change` is measured by day: give the monitor `window: day`",
        );
    }
    let rate = choice.measures.contains(&Measure::ErrorRateSequential);
    if rate && task == Some(Task::Regression) && choice.sequential.right_within.is_none() {
        sink.note(
            place,
            "`error_rate_sequential` of numbers needs `sequential: {right_within: …}`: how near to its label a number is right",
        );
    }
    let Some(baseline) = f.get("baseline") else {
        sink.note(
            place,
            "detectors of labels need a `baseline`: what the labels are held against",
        );
        return;
    };
    let of_file =
        matches!(&baseline.content, Content::Text(name) if files.contains(&name.as_str()));
    if of_file && choice.labels_within_seconds.is_none() {
        sink.note(
            place,
            "a file does not say when its labels came: detectors held against one need `labels_within`, the time after which \
             labels are in",
        );
    }
}

fn values(node: &Node, task: Option<Task>, sink: &mut Sink) -> Option<PredictionValues> {
    match task {
        Some(Task::Multiclass) => class_values(node, sink).map(PredictionValues::Classes),
        _ => binary_values(node, sink).map(PredictionValues::Binary),
    }
}

fn binary_values(node: &Node, sink: &mut Sink) -> Option<BinaryValues> {
    let f = Fields::read(node, "what a prediction is worth", BINARY_VALUE_KEYS, sink)?;
    let [tp, fp, tn, missed] =
        [0, 1, 2, 3].map(|i| f.required(BINARY_VALUE_KEYS[i], sink, fields::number));
    Some(BinaryValues {
        true_positive: tp?,
        false_positive: fp?,
        true_negative: tn?,
        false_negative: missed?,
    })
}

fn class_values(node: &Node, sink: &mut Sink) -> Option<ClassValues> {
    let f = Fields::read(node, "what a prediction is worth", CLASS_VALUE_KEYS, sink)?;
    let [right, wrong] = ["right", "wrong"].map(|key| f.required(key, sink, fields::number));
    let by_label = f.get("by_label").map(|node| {
        by_class(
            node,
            "labels with what their predictions are worth",
            sink,
            |node, sink| {
                let what = "predicted classes with what they are worth";
                by_class(node, what, sink, fields::number)
            },
        )
    });
    Some(ClassValues {
        right: right?,
        wrong: wrong?,
        by_label: by_label.unwrap_or_else(|| Some(BTreeMap::new()))?,
    })
}

/// A mapping of classes to what is said of them.
fn by_class<T>(
    node: &Node,
    what: &str,
    sink: &mut Sink,
    mut read: impl FnMut(&Node, &mut Sink) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let Content::Map(map) = &node.content else {
        let cause = format!(
            "a mapping of {what} is expected, but this is {}",
            node.kind()
        );
        sink.note(node.place, cause);
        return None;
    };
    let read: Vec<Option<(String, T)>> = map
        .iter()
        .map(|(class, of)| fields::text(class, sink).zip(read(of, sink)))
        .collect();
    read.into_iter().collect()
}

/// A segment whose values are groups.
fn group(node: &Node, segments: &[String], sink: &mut Sink) -> Option<String> {
    let name = fields::name_in_rows(node, sink)?.value;
    if !segments.contains(&name) {
        let known = || segments.iter().map(String::as_str);
        let hint = suggestion(did_you_mean(&name, known()), &listed(known()));
        sink.note(
            node.place,
            format!("groups are values of a segment, and this model has no segment `{name}`{hint}"),
        );
        return None;
    }
    Some(name)
}

/// Measures that cannot be computed without another key.
fn note_what_is_needed(choice: &QualityChoice, f: &Fields, sink: &mut Sink) {
    let place = f.get("measures").map_or(f.place, |node| node.place);
    let needs = [
        (
            "values",
            choice.values.is_none(),
            choice.measures.contains(&Measure::ValuePerPrediction),
            "what each kind of prediction is worth",
        ),
        (
            "groups",
            choice.groups.is_empty(),
            choice.measures.iter().any(|measure| measure.is_of_groups()),
            "the segments whose values are compared",
        ),
    ];
    for (key, is_missing, is_needed, what) in needs {
        match (is_missing, is_needed) {
            (true, true) => sink.note(
                place,
                format!("one of these measures needs `{key}`: {what}"),
            ),
            (false, false) => {
                f.refuse(&[key], "none of the monitor's `measures` uses it", sink);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definitions::{Definitions, SourceFile, parse};
    use crate::domain::rule::Condition;

    const SOUND: &str = "\
models:
  - name: loans
    task: binary
    positive_class: good
    segments: [region]
    monitors:
      - name: quality
        kind: quality
        window: day
        labels_within: 14d
        measures: [lift, value_per_prediction, equal_opportunity_ratio]
        top_share: 0.05
        values: {true_positive: 4, false_positive: -1, true_negative: 0, false_negative: -9.5}
        groups: [region]
rules:
  - name: bad
    model: loans
    title: Bad
    severity: warning
    when: {monitor: quality, measure: lift, below: 2}
";

    fn read(text: &str) -> Result<Definitions, Vec<String>> {
        let file = SourceFile {
            path: "a.yaml".to_owned(),
            text: text.to_owned(),
        };
        parse(&[file]).map_err(|problems| {
            let said = problems
                .into_iter()
                .map(|p| format!("{}: {}", p.line, p.cause));
            said.collect()
        })
    }

    #[test]
    fn a_choice_is_read_with_its_parameters() {
        let definitions = read(SOUND).expect("a sound file");
        let monitor = &definitions.models[0].value.monitors[0];
        let choice = &monitor.quality;
        assert_eq!(
            choice.measures,
            [
                Measure::Lift,
                Measure::ValuePerPrediction,
                Measure::EqualOpportunityRatio
            ]
        );
        assert_eq!((choice.top_share, choice.top_k), (0.05, 3));
        let Some(PredictionValues::Binary(values)) = &choice.values else {
            panic!("{:?}", choice.values)
        };
        assert_eq!(values.false_negative, -9.5);
        assert_eq!(choice.groups, ["region"]);
        assert_eq!(choice.labels_within_seconds, Some(14 * 86_400));
        let measured = monitor.measures(Task::Binary);
        assert_eq!(
            measured[3..],
            [Measure::LabelCoverage, Measure::LabelCompleteness]
        );
    }

    const CLASSES: &str = "\
models:
  - name: goods
    task: multiclass
    monitors:
      - name: quality
        kind: quality
        window: day
        measures: [value_per_prediction]
        values:
          right: 1
          wrong: -5
          by_label:
            fraud: {clean: -120, fraud: 40}
            \"1\": {clean: 0}
";

    #[test]
    fn what_predictions_of_several_classes_are_worth_is_read() {
        let definitions = read(CLASSES).expect("a sound file");
        let choice = &definitions.models[0].value.monitors[0].quality;
        let Some(PredictionValues::Classes(values)) = &choice.values else {
            panic!("{:?}", choice.values)
        };
        let of = |label, predicted| values.of(label, predicted);
        assert_eq!((of("fraud", "clean"), of("fraud", "fraud")), (-120.0, 40.0));
        assert_eq!((of("fraud", "review"), of("clean", "fraud")), (-5.0, -5.0));
        assert_eq!((of("clean", "clean"), of("1", "clean")), (1.0, 0.0));
        let stored = serde_json::to_string(&choice).expect("JSON");
        let again: QualityChoice = serde_json::from_str(&stored).expect("the same");
        assert_eq!(&again, choice);

        let cases = [
            (
                "right: 1",
                "false_positive: 1",
                "what a prediction is worth has no key `false_positive`",
            ),
            (
                "          wrong: -5\n",
                "",
                "what a prediction is worth needs `wrong`",
            ),
            (
                "{clean: 0}",
                "5",
                "a mapping of predicted classes with what they are worth is expected",
            ),
            (
                "\"1\": {",
                "1: {",
                "a text is expected, but this is a number; put it in quotes",
            ),
            ("clean: -120", "clean: dear", "a number is expected"),
            (
                "task: multiclass",
                "task: binary",
                "what a prediction is worth has no key `right`",
            ),
        ];
        for (old, new, expected) in cases {
            let said = read(&CLASSES.replacen(old, new, 1)).expect_err(new);
            assert!(
                said.iter().any(|cause| cause.contains(expected)),
                "{new}: {said:?}"
            );
        }
    }

    #[test]
    fn a_rule_may_look_at_one_field_of_groups() {
        let when = "measure: equal_opportunity_ratio, feature: region, below: 0.8";
        let text = SOUND.replace("measure: lift, below: 2", when);
        let definitions = read(&text).expect("a sound file");
        let Condition::Measured(condition) = &definitions.rules[0].value.condition else {
            panic!("not measured")
        };
        assert_eq!(condition.feature.as_deref(), Some("region"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases = [
            (
                "[lift,",
                "[mae,",
                "11: `mae` is no measure of quality for this model's task; there are `roc_auc`",
            ),
            (
                "[lift,",
                "[roc_auc_change, lift,",
                "11: detectors of labels need a `baseline`",
            ),
            (
                "window: day\n        labels_within: 14d\n        measures: [lift,",
                "window: week\n        labels_within: 14d\n        measures: [roc_auc_change, lift,",
                "11: `roc_auc_change` is measured by day: give the monitor `window: day`",
            ),
            (
                "        top_share: 0.05\n",
                "        top_share: 0.05\n        sequential: {tolerance: 0.1}\n",
                "13: `sequential` does not apply here: none of the monitor's `measures` takes in each label once",
            ),
            (
                "[lift,",
                "[lfit,",
                "11: there is no measure `lfit`; did you mean `lift`?",
            ),
            (
                "top_share: 0.05",
                "top_share: 0",
                "12: a share above 0 is expected",
            ),
            (
                "top_share: 0.05",
                "top_k: 5",
                "12: `top_k` does not apply here: no measure of this task uses it",
            ),
            (
                ", false_negative: -9.5}",
                "}",
                "13: what a prediction is worth needs `false_negative`",
            ),
            (
                "groups: [region]",
                "groups: [regoin]",
                "14: groups are values of a segment, and this model has no segment `regoin`; did you mean `region`?",
            ),
            (
                "        groups: [region]\n",
                "",
                "11: one of these measures needs `groups`: the segments whose values are compared",
            ),
            (
                "value_per_prediction, ",
                "",
                "13: `values` does not apply here: none of the monitor's `measures` uses it",
            ),
            (
                "kind: quality",
                "kind: traffic",
                "11: `measures` does not apply here: a traffic monitor has `min_rows` only",
            ),
            (
                "measure: lift, below: 2",
                "measure: roc_auc, below: 2",
                "20: the quality monitor `quality` does not measure `roc_auc`; it measures `lift`",
            ),
            (
                "measure: lift, below: 2",
                "measure: value_per_prediction, below: {times_baseline: 0.9}",
                "20: `times_baseline` is for measures of quality; a baseline has no `value_per_prediction`",
            ),
            (
                "measure: lift, below: 2",
                "measure: lift, below: {times_baseline: 0.9}",
                "20: `times_baseline` does not fit: a baseline has `lift` with the usual parameter only",
            ),
            (
                "        labels_within: 14d\n",
                "        labels_within: 14\n",
                "10: a length of time with its unit is expected",
            ),
            (
                "measure: lift, below: 2",
                "measure: lift, feature: region, below: 2",
                "20: the quality monitor `quality` measures the whole model",
            ),
        ];
        for (old, new, expected) in cases {
            assert!(SOUND.contains(old), "the sound file has no {old:?}");
            let said = read(&SOUND.replacen(old, new, 1)).expect_err(new);
            let found = said.iter().any(|cause| cause.starts_with(expected));
            assert!(found, "{new}: {said:?} has no {expected:?}");
        }
        let young = SOUND
            .replace("        labels_within: 14d\n", "")
            .replace("measure: lift", "measure: label_completeness");
        let said = read(&young).expect_err("no time is given");
        assert!(said[0].contains("only with `labels_within`"), "{said:?}");
    }
}
