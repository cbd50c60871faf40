//! Runbooks: a Markdown file with front matter, and `step` blocks whose YAML is done by the machine.
//!
//! ```text
//! ---
//! name: rollback
//! title: …
//! first_step: …
//! ---
//! # Meaning …
//!
//! (three backticks)step
//! name: approve
//! kind: approve
//! question: …
//! (three backticks)
//! ```

use std::collections::BTreeMap;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use super::fields::{self, Fields, Located, listed};
use super::model::GRAINS;
use super::problem::{Place, Sink};
use super::rule::measure;
use super::yaml::{self, Content, Node};
use crate::domain::measurement::Measure;
use crate::domain::runbook::{Action, Check, Gate, Promoted, Runbook, Step, Watch, comparable};
use crate::domain::window::Grain;

/// A runbook with the places of the names it uses.
#[derive(Debug, Clone)]
pub(super) struct RunbookDraft {
    pub runbook: Runbook,
    /// Pipelines that are triggered.
    pub pipelines: Vec<Located<String>>,
    /// Runbooks that a watch proposes.
    pub proposed: Vec<Located<String>>,
}

pub(super) const FRONT_MATTER_KEYS: &[&str] = &["name", "title", "first_step"];
pub(super) const DIAGNOSE_KEYS: &[&str] = &["name", "kind", "checks"];
pub(super) const APPROVE_KEYS: &[&str] = &["name", "kind", "question"];
pub(super) const TRIGGER_KEYS: &[&str] = &["name", "kind", "pipeline", "parameters"];
pub(super) const GATE_KEYS: &[&str] = &[
    "name",
    "kind",
    "measure",
    "days",
    "label_wait",
    "min_labels",
    "min_improvement",
    "segment_tolerance",
    "segment_min_labels",
];
pub(super) const PROMOTE_KEYS: &[&str] = &["name", "kind", "version"];
pub(super) const WATCH_KEYS: &[&str] = &[
    "name",
    "kind",
    "measure",
    "window",
    "margin",
    "windows",
    "min_labels",
    "propose",
];
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("drifted_features", Check::DriftedFeatures),
    ("worst_segments", Check::WorstSegments),
    ("recent_changes", Check::RecentChanges),
    ("schema_findings", Check::SchemaFindings),
    ("label_coverage", Check::LabelCoverage),
    ("traffic", Check::Traffic),
];
pub(super) const VERSIONS: &[(&str, Promoted)] = &[
    ("candidate", Promoted::Candidate),
    ("previous", Promoted::Previous),
];

#[derive(Clone, Copy)]
enum Kind {
    Diagnose,
    Approve,
    Trigger,
    Gate,
    Promote,
    Watch,
}

const KINDS: &[(&str, Kind)] = &[
    ("diagnose", Kind::Diagnose),
    ("approve", Kind::Approve),
    ("trigger", Kind::Trigger),
    ("gate", Kind::Gate),
    ("promote", Kind::Promote),
    ("watch", Kind::Watch),
];

/// Reads a Markdown file. `None` without a problem means that it has no front matter: it is a text for people
/// and no runbook.
pub(super) fn read(
    text: &str,
    sink: &mut Sink,
) -> Option<(Option<Located<String>>, Option<RunbookDraft>)> {
    let Some(parts) = split(text) else {
        if is_fence(text.lines().next().unwrap_or_default()) {
            sink.note(
                Place::START,
                "the front matter that begins here has no end: a line `---` is missing",
            );
        }
        return None;
    };
    let root = load(parts.front, 2, 1, sink);
    let node = root.unwrap_or(Node {
        place: Place { line: 2, column: 1 },
        content: Content::Map(Vec::new()),
    });
    let Some(f) = Fields::read(&node, "the front matter", FRONT_MATTER_KEYS, sink) else {
        return Some((None, None));
    };
    let name = f.required("name", sink, fields::name);
    let title = f.required("title", sink, fields::text);
    let first_step = f.required("first_step", sink, fields::text);
    let mut draft = RunbookDraft {
        runbook: Runbook {
            name: name.as_ref().map(|n| n.value.clone()).unwrap_or_default(),
            title: title.clone().unwrap_or_default(),
            text: parts.body.trim().to_owned(),
            first_step: first_step.clone().unwrap_or_default(),
            steps: Vec::new(),
        },
        pipelines: Vec::new(),
        proposed: Vec::new(),
    };
    let steps_are_read = read_steps(parts.body, parts.body_line, &mut draft, sink);
    let complete = name.is_some() && title.is_some() && first_step.is_some() && steps_are_read;
    Some((name, complete.then_some(draft)))
}

struct Parts<'a> {
    front: &'a str,
    body: &'a str,
    /// The line of the file on which the body begins.
    body_line: u32,
}

fn is_fence(line: &str) -> bool {
    line.trim_end() == "---"
}

/// Splits the front matter from the text. The first line is `---`, and so is the one that ends it.
fn split(text: &str) -> Option<Parts<'_>> {
    let mut end = 0;
    let mut front_start = 0;
    for (number, line) in (1_u32..).zip(text.split_inclusive('\n')) {
        let start = end;
        end += line.len();
        match number {
            1 if !is_fence(line) => return None,
            1 => front_start = end,
            _ if is_fence(line) => {
                return Some(Parts {
                    front: &text[front_start..start],
                    body: &text[end..],
                    body_line: number + 1,
                });
            }
            _ => {}
        }
    }
    None
}

/// Loads YAML that begins at a line and column of the file.
fn load(text: &str, line: u32, column: u32, sink: &mut Sink) -> Option<Node> {
    let shifted = |place: Place| Place {
        line: place.line + line - 1,
        column: place.column + column - 1,
    };
    let loaded = yaml::load(text);
    for (place, cause) in loaded.faults {
        sink.note(shifted(place), cause);
    }
    loaded.root.map(|node| shift(node, &shifted))
}

fn shift(node: Node, shifted: &impl Fn(Place) -> Place) -> Node {
    let content = match node.content {
        Content::List(items) => {
            Content::List(items.into_iter().map(|item| shift(item, shifted)).collect())
        }
        Content::Map(entries) => Content::Map(
            entries
                .into_iter()
                .map(|(key, value)| (shift(key, shifted), shift(value, shifted)))
                .collect(),
        ),
        scalar => scalar,
    };
    Node {
        place: shifted(node.place),
        content,
    }
}

/// A `step` block of the text.
struct Block {
    yaml: String,
    /// Where the YAML begins, in the body: byte offset of its first line's text.
    start: usize,
}

fn blocks(body: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (event, range) in Parser::new(body).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if info.trim() == "step" => {
                open = Some(Block {
                    yaml: String::new(),
                    start: range.start,
                });
            }
            Event::Text(text) => {
                if let Some(block) = open.as_mut() {
                    if block.yaml.is_empty() {
                        block.start = range.start;
                    }
                    block.yaml.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks
}

/// The line and column of a byte offset.
fn place_at(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX - 1) + 1;
    Place {
        line: count(before.matches('\n').count()),
        column: count(before[line_start..].chars().count()),
    }
}

/// Reads the steps into the draft; whether all could be read.
fn read_steps(body: &str, body_line: u32, draft: &mut RunbookDraft, sink: &mut Sink) -> bool {
    let mut complete = true;
    let mut places: Vec<(String, Place)> = Vec::new();
    for block in blocks(body) {
        let start = place_at(body, block.start);
        let line = start.line + body_line - 1;
        let place = Place { line, ..start };
        let Some(node) = load(&block.yaml, line, start.column, sink) else {
            sink.note(place, "a step needs `name` and `kind`");
            complete = false;
            continue;
        };
        let Some(step) = step(&node, draft, sink) else {
            complete = false;
            continue;
        };
        if let Some((_, first)) = places.iter().find(|(name, _)| *name == step.name) {
            sink.note(
                node.place,
                format!(
                    "there is already a step `{}`, on line {}",
                    step.name, first.line
                ),
            );
        }
        // A step that could not be read may be the one that seems to be missing.
        if complete && let Some(missing) = missing_before(&step, &draft.runbook.steps) {
            sink.note(node.place, missing);
        }
        places.push((step.name.clone(), node.place));
        draft.runbook.steps.push(step);
    }
    complete
}

/// What has to come before a step and does not. A candidate is promoted only when a gate has accepted it.
fn missing_before(step: &Step, earlier: &[Step]) -> Option<&'static str> {
    let last = |kind: &str| earlier.iter().rposition(|step| step.action.kind() == kind);
    match &step.action {
        Action::Gate(_) if last("trigger").is_none() => {
            Some("a gate compares what a `trigger` step delivers; there is none before it")
        }
        Action::Promote {
            version: Promoted::Candidate,
        } if last("gate").is_none() || last("gate") < last("trigger") => Some(
            "a candidate is promoted only after a `gate` step has accepted it; there is none before this",
        ),
        Action::Watch(_) if last("promote").is_none() => Some(
            "a watch compares the champion with the version it replaced; there is no `promote` step before it",
        ),
        _ => None,
    }
}

fn step(node: &Node, draft: &mut RunbookDraft, sink: &mut Sink) -> Option<Step> {
    let kind = kind(node, sink)?;
    let keys = match kind {
        Kind::Diagnose => DIAGNOSE_KEYS,
        Kind::Approve => APPROVE_KEYS,
        Kind::Trigger => TRIGGER_KEYS,
        Kind::Gate => GATE_KEYS,
        Kind::Promote => PROMOTE_KEYS,
        Kind::Watch => WATCH_KEYS,
    };
    let f = Fields::read(node, what(kind), keys, sink)?;
    let name = f.required("name", sink, fields::name);
    let action = match kind {
        Kind::Diagnose => diagnose(&f, sink),
        Kind::Approve => f
            .required("question", sink, fields::text)
            .map(|question| Action::Approve { question }),
        Kind::Trigger => trigger(&f, draft, sink),
        Kind::Gate => Some(Action::Gate(gate(&f, sink))),
        Kind::Promote => f
            .required("version", sink, |n, s| {
                fields::word(n, s, "a version to promote", VERSIONS)
            })
            .map(|version| Action::Promote { version }),
        Kind::Watch => watch(&f, draft, sink),
    };
    Some(Step {
        name: name?.value,
        action: action?,
    })
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Diagnose => "a diagnose step",
        Kind::Approve => "an approve step",
        Kind::Trigger => "a trigger step",
        Kind::Gate => "a gate step",
        Kind::Promote => "a promote step",
        Kind::Watch => "a watch step",
    }
}

/// The kind of a step, which decides the keys it may have.
fn kind(node: &Node, sink: &mut Sink) -> Option<Kind> {
    let Content::Map(entries) = &node.content else {
        sink.note(
            node.place,
            format!(
                "a step needs `name` and `kind`, but this is {}",
                node.kind()
            ),
        );
        return None;
    };
    let kind = entries
        .iter()
        .find(|(key, _)| key.content == Content::Text("kind".into()));
    let Some((_, value)) = kind else {
        sink.note(
            node.place,
            format!(
                "a step needs `kind`, one of {}",
                listed(KINDS.iter().map(|(name, _)| *name))
            ),
        );
        return None;
    };
    fields::word(value, sink, "a kind of step", KINDS)
}

fn diagnose(f: &Fields, sink: &mut Sink) -> Option<Action> {
    let checks = f.required("checks", sink, |n, s| {
        fields::items(n, s, |n, s| fields::word(n, s, "a check", CHECKS))
    })?;
    if checks.is_empty() {
        sink.note(f.place, "a diagnose step needs at least one check");
        return None;
    }
    Some(Action::Diagnose { checks })
}

fn trigger(f: &Fields, draft: &mut RunbookDraft, sink: &mut Sink) -> Option<Action> {
    let pipeline = f.required("pipeline", sink, fields::located_text);
    let parameters = f
        .optional("parameters", sink, parameters)
        .unwrap_or_default();
    let pipeline = pipeline?;
    draft.pipelines.push(pipeline.clone());
    Some(Action::Trigger {
        pipeline: pipeline.value,
        parameters,
    })
}

fn parameters(node: &Node, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let Content::Map(entries) = &node.content else {
        sink.note(
            node.place,
            format!(
                "parameters are a mapping from names to texts, but this is {}",
                node.kind()
            ),
        );
        return None;
    };
    let read: Vec<Option<(String, String)>> = entries
        .iter()
        .map(|(key, value)| fields::text(key, sink).zip(fields::class(value, sink)))
        .collect();
    read.into_iter().collect()
}

fn gate(f: &Fields, sink: &mut Sink) -> Gate {
    let count = fields::whole(0, u32::MAX);
    let measure = f.optional("measure", sink, comparable_measure);
    let days = f.optional("days", sink, fields::whole(1, 366));
    let label_wait = f.optional("label_wait", sink, fields::seconds);
    let min_labels = f.optional("min_labels", sink, &count);
    let min_improvement = f.optional("min_improvement", sink, fields::share);
    let segment_tolerance = f.optional("segment_tolerance", sink, fields::share);
    let segment_min_labels = f.optional("segment_min_labels", sink, &count);
    Gate {
        measure,
        days: days.unwrap_or(7),
        label_wait_seconds: label_wait.unwrap_or(86_400),
        min_labels: u64::from(min_labels.unwrap_or(500)),
        min_improvement: min_improvement.unwrap_or(0.05),
        segment_tolerance: segment_tolerance.unwrap_or(0.05),
        segment_min_labels: u64::from(segment_min_labels.unwrap_or(100)),
    }
}

fn watch(f: &Fields, draft: &mut RunbookDraft, sink: &mut Sink) -> Option<Action> {
    let measure = f.optional("measure", sink, comparable_measure);
    let grain = f.optional("window", sink, |n, s| {
        fields::word(n, s, "a window", GRAINS)
    });
    let margin = f.optional("margin", sink, fields::share);
    let windows = f.optional("windows", sink, fields::whole(1, 366));
    let min_labels = f.optional("min_labels", sink, fields::whole(0, u32::MAX));
    let propose = f.required("propose", sink, fields::located_text)?;
    draft.proposed.push(propose.clone());
    Some(Action::Watch(Watch {
        measure,
        grain: grain.unwrap_or(Grain::Week),
        margin: margin.unwrap_or(0.05),
        windows: windows.unwrap_or(2) as usize,
        min_labels: u64::from(min_labels.unwrap_or(200)),
        propose: propose.value,
    }))
}

/// A measure by which two versions can be ranked.
fn comparable_measure(node: &Node, sink: &mut Sink) -> Option<Measure> {
    let found = measure(node, sink)?;
    if !comparable(found.value) {
        let known = Measure::ALL.iter().copied().filter(|m| comparable(*m));
        sink.note(
            node.place,
            format!(
                "versions cannot be ranked by `{}`; use one of {}",
                found.value.as_str(),
                listed(known.map(Measure::as_str))
            ),
        );
        return None;
    }
    Some(found.value)
}
