//! `serving` in a model's file: what serving platforms leave unsaid.

use super::fields::{self, Fields};
use super::model::note_twice;
use super::problem::Sink;
use super::yaml::Node;
use crate::domain::inference::{Answer, Serving};
use crate::domain::model::Task;

pub(super) const KEYS: &[&str] = &["names", "inputs", "answer", "classes"];
pub(super) const ANSWERS: &[(&str, Answer)] = &[
    ("prediction", Answer::Prediction),
    ("score", Answer::Score),
    ("probabilities", Answer::Probabilities),
];

pub(super) fn read(node: &Node, task: Option<Task>, sink: &mut Sink) -> Option<Serving> {
    let f = Fields::read(node, "how a model is served", KEYS, sink)?;
    let mut list = |key: &str, what: &str, read: fn(&Node, &mut Sink) -> Option<String>| {
        let items = f.items(key, sink, |node, sink| {
            let value = read(node, sink)?;
            let place = node.place;
            Some(fields::Located { value, place })
        })?;
        note_twice(&items, what, sink);
        Some(items.into_iter().map(|item| item.value).collect::<Vec<_>>())
    };
    let names = list("names", "name", fields::text);
    let inputs = list("inputs", "input", |node, sink| {
        fields::name_in_rows(node, sink).map(|name| name.value)
    });
    let classes = list("classes", "class", fields::class);
    let answer = f.optional("answer", sink, |n, s| {
        fields::word(n, s, "what the answer is", ANSWERS)
    });
    match (task, answer) {
        (Some(Task::Regression), Some(Answer::Score | Answer::Probabilities)) => {
            let told = "a regression model answers with a `prediction`";
            sink.note(f.get("answer").map_or(f.place, |n| n.place), told);
        }
        (Some(Task::Multiclass), Some(Answer::Score)) => {
            let told = "a `score` belongs to binary models; this one answers with `prediction` or `probabilities`";
            sink.note(f.get("answer").map_or(f.place, |n| n.place), told);
        }
        _ => {}
    }
    if task == Some(Task::Regression) {
        f.refuse(&["classes"], "a regression model has none", sink);
    }
    Some(Serving {
        names: names?,
        inputs: inputs?,
        answer,
        classes: classes?,
    })
}
