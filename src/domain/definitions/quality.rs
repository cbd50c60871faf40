//! Reads what a quality monitor chooses to measure.

use super::fields::{self, Fields, Located, listed, suggestion};
use super::problem::{Sink, did_you_mean};
use super::rule::measure;
use super::yaml::Node;
use crate::domain::measurement::Measure;
use crate::domain::model::Task;
use crate::domain::quality::{PredictionValues, QualityChoice};

/// The keys of a monitor that only a quality monitor has, besides `min_labels`.
pub(super) const KEYS: &[&str] = &[
    "measures",
    "top_share",
    "top_k",
    "values",
    "groups",
    "labels_within",
];
pub(super) const VALUE_KEYS: &[&str] = &[
    "true_positive",
    "false_positive",
    "true_negative",
    "false_negative",
];
/// More classes than this are no short list to look at.
const MOST_CLASSES: u32 = 100;

/// The choice of a monitor of a model with that task and those segments.
pub(super) fn read(
    f: &Fields,
    task: Option<Task>,
    segments: &[String],
    sink: &mut Sink,
) -> Option<QualityChoice> {
    let usual = QualityChoice::default();
    let measures = f.items("measures", sink, |node, sink| {
        let read = measure(node, sink)?;
        fitting(read, task, sink)
    });
    let top_share = f.optional("top_share", sink, top_share);
    let top_k = f.optional("top_k", sink, fields::whole(1, MOST_CLASSES));
    let values = f.get("values").map(|node| values(node, sink));
    let groups = f.items("groups", sink, |node, sink| group(node, segments, sink));
    let labels_within_seconds = f.optional("labels_within", sink, fields::seconds);
    if let Some(task) = task {
        let keys: &[&str] = match task {
            Task::Regression => &["top_share", "top_k", "values", "groups"],
            Task::Binary => &["top_k"],
            Task::Multiclass => &["top_share", "values", "groups"],
        };
        f.refuse(keys, "no measure of this task uses it", sink);
    }
    let choice = QualityChoice {
        measures: measures?,
        top_share: top_share.unwrap_or(usual.top_share),
        top_k: top_k.map_or(usual.top_k, |k| k as usize),
        values: match values {
            None => None,
            Some(read) => Some(read?),
        },
        groups: groups?,
        labels_within_seconds,
    };
    note_what_is_needed(&choice, f, sink);
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

fn values(node: &Node, sink: &mut Sink) -> Option<PredictionValues> {
    let f = Fields::read(node, "what a prediction is worth", VALUE_KEYS, sink)?;
    let [tp, fp, tn, missed] =
        [0, 1, 2, 3].map(|i| f.required(VALUE_KEYS[i], sink, fields::number));
    Some(PredictionValues {
        true_positive: tp?,
        false_positive: fp?,
        true_negative: tn?,
        false_negative: missed?,
    })
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
