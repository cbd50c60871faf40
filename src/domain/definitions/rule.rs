//! Rules as they are written, before what they name has been looked up.

use super::fields::{self, Fields, Located, listed, suggestion};
use super::problem::{Sink, did_you_mean};
use super::yaml::{Content, Node};
use crate::domain::measurement::Measure;
use crate::domain::rule::{Severity, Threshold};

/// A rule whose names are not yet known to mean anything.
#[derive(Debug, Clone)]
pub(super) struct RuleDraft {
    pub name: String,
    pub model: Located<String>,
    pub title: String,
    pub severity: Severity,
    /// Somebody wants to be paged by drift alone, where the rule says so.
    pub pages_on_drift: Option<Located<bool>>,
    pub runbook: Option<Located<String>>,
    pub receivers: Vec<Located<String>>,
    pub condition: ConditionDraft,
}

/// When the rule is breached.
#[derive(Debug, Clone)]
pub(super) enum ConditionDraft {
    Silence { after_seconds: i64 },
    Measured(MeasuredDraft),
}

/// A condition on a monitor that has still to be found.
#[derive(Debug, Clone)]
pub(super) struct MeasuredDraft {
    pub monitor: Located<String>,
    pub measures: Vec<Located<Measure>>,
    pub feature: Option<Located<String>>,
    pub segments: bool,
    pub threshold: Located<Threshold>,
    pub at_least: Located<usize>,
    pub windows: usize,
    pub resolve_windows: usize,
    pub min_rows: u64,
    pub min_coverage: f64,
}

pub(super) const SEVERITIES: &[(&str, Severity)] = &[
    ("info", Severity::Info),
    ("warning", Severity::Warning),
    ("critical", Severity::Critical),
];
pub(super) const RULE_KEYS: &[&str] = &[
    "name",
    "model",
    "title",
    "severity",
    "pages_on_drift",
    "runbook",
    "receivers",
    "when",
    "resolve_after",
    "needs",
];
pub(super) const SILENCE_KEYS: &[&str] = &["no_predictions_for"];
pub(super) const WHEN_KEYS: &[&str] = &[
    "monitor",
    "measure",
    "measures",
    "feature",
    "segments",
    "above",
    "below",
    "status",
    "at_least",
    "windows",
    "no_predictions_for",
];
pub(super) const TIMES_KEYS: &[&str] = &["times_baseline"];
pub(super) const NEEDS_KEYS: &[&str] = &["rows", "coverage"];
/// More windows in a row than this are a slip of the pen: it is a year of days.
const MOST_WINDOWS: u32 = 366;

/// Reads one item of `rules`.
pub(super) fn read(node: &Node, sink: &mut Sink) -> (Option<Located<String>>, Option<RuleDraft>) {
    let Some(f) = Fields::read(node, "a rule", RULE_KEYS, sink) else {
        return (None, None);
    };
    let name = f.required("name", sink, fields::name);
    let model = f.required("model", sink, fields::located_text);
    let title = f.required("title", sink, fields::text);
    let severity = f.required("severity", sink, |n, s| {
        fields::word(n, s, "a severity", SEVERITIES)
    });
    let pages_on_drift = f.optional("pages_on_drift", sink, |node, sink| {
        let value = fields::flag(node, sink)?;
        let place = node.place;
        Some(Located { place, value })
    });
    let runbook = f.optional("runbook", sink, fields::located_text);
    let receivers = f.items("receivers", sink, fields::located_text);
    let condition = f.required("when", sink, |n, s| condition(n, &f, s));
    let rule = (|| {
        Some(RuleDraft {
            name: name.as_ref()?.value.clone(),
            model: model?,
            title: title?,
            severity: severity?,
            pages_on_drift,
            runbook,
            receivers: receivers?,
            condition: condition?,
        })
    })();
    (name, rule)
}

fn condition(node: &Node, rule: &Fields, sink: &mut Sink) -> Option<ConditionDraft> {
    let when = Fields::read(node, "the `when` of a rule", WHEN_KEYS, sink)?;
    if when.get("no_predictions_for").is_none() {
        return measured(&when, rule, sink).map(ConditionDraft::Measured);
    }
    let others: Vec<&str> = WHEN_KEYS
        .iter()
        .copied()
        .filter(|key| !SILENCE_KEYS.contains(key))
        .collect();
    when.refuse(&others, "`no_predictions_for` stands alone", sink);
    rule.refuse(
        &["resolve_after", "needs"],
        "a rule with `no_predictions_for` looks at no windows and resolves with the next prediction",
        sink,
    );
    let after_seconds = when.required("no_predictions_for", sink, fields::seconds)?;
    Some(ConditionDraft::Silence { after_seconds })
}

fn measured(when: &Fields, rule: &Fields, sink: &mut Sink) -> Option<MeasuredDraft> {
    let monitor = when.required("monitor", sink, fields::located_text);
    let measures = measures(when, sink);
    let feature = when.optional("feature", sink, fields::name_in_rows);
    let segments = when.optional("segments", sink, fields::flag);
    let threshold = threshold(when, sink);
    let at_least = when
        .optional("at_least", sink, |node, sink| {
            let value = fields::whole(1, 100_000)(node, sink)?;
            Some((node.place, value))
        })
        .unwrap_or((when.place, 1));
    let windows = when.optional("windows", sink, fields::whole(1, MOST_WINDOWS));
    let resolve_windows = rule.optional("resolve_after", sink, fields::whole(1, MOST_WINDOWS));
    let (min_rows, min_coverage) = rule.optional("needs", sink, needs).unwrap_or((0, 0.0));
    Some(MeasuredDraft {
        monitor: monitor?,
        measures: measures?,
        feature,
        segments: segments.unwrap_or(false),
        threshold: threshold?,
        at_least: Located {
            place: at_least.0,
            value: at_least.1 as usize,
        },
        windows: windows.unwrap_or(1) as usize,
        resolve_windows: resolve_windows.unwrap_or(1) as usize,
        min_rows,
        min_coverage,
    })
}

fn needs(node: &Node, sink: &mut Sink) -> Option<(u64, f64)> {
    let f = Fields::read(node, "the `needs` of a rule", NEEDS_KEYS, sink)?;
    let rows = f.optional("rows", sink, fields::whole(0, u32::MAX));
    let coverage = f.optional("coverage", sink, fields::share);
    Some((u64::from(rows.unwrap_or(0)), coverage.unwrap_or(0.0)))
}

fn measures(when: &Fields, sink: &mut Sink) -> Option<Vec<Located<Measure>>> {
    match (when.get("measure"), when.get("measures")) {
        (Some(one), None) => measure(one, sink).map(|measure| vec![measure]),
        (None, Some(several)) => {
            let read = fields::items(several, sink, measure)?;
            if read.is_empty() {
                sink.note(several.place, "at least one measure is needed");
                return None;
            }
            Some(read)
        }
        (None, None) => {
            sink.note(
                when.place,
                "the `when` of a rule needs `measure`, or `no_predictions_for`",
            );
            None
        }
        (Some(one), Some(_)) => {
            sink.note(one.place, "either `measure` or `measures`, not both");
            None
        }
    }
}

/// A measure by its name.
pub(super) fn measure(node: &Node, sink: &mut Sink) -> Option<Located<Measure>> {
    let name = fields::text(node, sink)?;
    let read = name.parse::<Measure>();
    if read.is_err() {
        let names = || Measure::ALL.iter().map(|measure| measure.as_str());
        let hint = suggestion(did_you_mean(&name, names()), &listed(names()));
        sink.note(node.place, format!("there is no measure `{name}`{hint}"));
    }
    read.ok().map(|value| Located {
        place: node.place,
        value,
    })
}

fn threshold(when: &Fields, sink: &mut Sink) -> Option<Located<Threshold>> {
    let given: Vec<(&str, &Node)> = ["above", "below", "status"]
        .into_iter()
        .filter_map(|key| Some((key, when.get(key)?)))
        .collect();
    let [(key, node)] = given.as_slice() else {
        sink.note(
            when.place,
            "the `when` of a rule needs exactly one of `above`, `below` and `status`",
        );
        return None;
    };
    let value = match *key {
        "status" => fields::word(
            node,
            sink,
            "a status a rule can wait for",
            &[("drift", Threshold::OwnStatus)],
        )?,
        "above" => bound(node, sink, Threshold::Above, Threshold::AboveTimesBaseline)?,
        _ => bound(node, sink, Threshold::Below, Threshold::BelowTimesBaseline)?,
    };
    Some(Located {
        place: node.place,
        value,
    })
}

fn bound(
    node: &Node,
    sink: &mut Sink,
    plain: impl Fn(f64) -> Threshold,
    relative: impl Fn(f64) -> Threshold,
) -> Option<Threshold> {
    if !matches!(node.content, Content::Map(_)) {
        return fields::number(node, sink).map(plain);
    }
    let f = Fields::read(node, "a relative threshold", TIMES_KEYS, sink)?;
    f.required("times_baseline", sink, fields::positive)
        .map(relative)
}
