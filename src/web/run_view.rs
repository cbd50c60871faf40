//! A run of a runbook, step by step, as the alert page and the run page show it. What a step has left
//! behind is JSON whose keys may be missing while the step is young, so everything here reads tolerantly.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::ids::RunId;
use crate::storage::pages::{ApprovalRow, PipelineRunRow, RunRow, StepRow};

use super::tone::{Badge, Tone};
use super::wording;

/// A run, ready for its template.
#[derive(Debug, Clone)]
pub struct RunView {
    pub href: String,
    pub title: String,
    pub runbook: String,
    pub state: Badge,
    pub outcome: String,
    pub started: String,
    pub started_by: String,
    pub finished: Option<String>,
    pub decision: Option<DecisionView>,
    pub steps: Vec<StepView>,
}

/// A question that waits for an answer.
#[derive(Debug, Clone)]
pub struct DecisionView {
    pub action: String,
    pub question: String,
    pub asked: String,
}

/// One step.
#[derive(Debug, Clone)]
pub struct StepView {
    pub name: String,
    pub kind: &'static str,
    pub state: Badge,
    pub when: String,
    pub body: Vec<Block>,
}

/// A piece of what a step has to say.
#[derive(Debug, Clone)]
pub enum Block {
    Paragraph(String),
    Quote { text: String, by: String },
    List { title: String, lines: Vec<String> },
    Facts(Vec<Fact>),
    Link { text: String, href: String },
    Table(TableView),
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// A small table.
#[derive(Debug, Clone)]
pub struct TableView {
    pub caption: String,
    pub head: Vec<&'static str>,
    pub rows: Vec<TableLine>,
}

/// A row of a small table: its head, its numbers, and what follows from them.
#[derive(Debug, Clone)]
pub struct TableLine {
    pub head: String,
    pub cells: Vec<String>,
    pub verdict: Badge,
}

/// Everything read about some runs.
#[derive(Debug, Clone, Default)]
pub struct RunRecords {
    pub steps: Vec<StepRow>,
    pub approvals: Vec<ApprovalRow>,
    pub pipeline_runs: Vec<PipelineRunRow>,
}

/// Builds the view of a run.
#[must_use]
pub fn run_view(run: &RunRow, records: &RunRecords, now: DateTime<Utc>) -> RunView {
    let waiting = records
        .approvals
        .iter()
        .find(|q| q.run_id == run.run_id && q.decision.is_none() && run.finished_at.is_none());
    RunView {
        href: format!("/runs/{}", run.run_id),
        title: run.title.clone(),
        runbook: run.runbook.clone(),
        state: Badge::state(&run.state),
        outcome: run.outcome.clone(),
        started: wording::date_time(run.started_at),
        started_by: run.started_by.clone(),
        finished: run.finished_at.map(wording::date_time),
        decision: waiting.map(|q| DecisionView {
            action: format!("/approvals/{}", q.approval_id),
            question: q.question.clone(),
            asked: format!(
                "{} ({})",
                wording::date_time(q.requested_at),
                wording::ago(q.requested_at, now)
            ),
        }),
        steps: records
            .steps
            .iter()
            .filter(|step| step.run_id == run.run_id)
            .map(|step| step_view(step, records))
            .collect(),
    }
}

fn step_view(step: &StepRow, records: &RunRecords) -> StepView {
    let here = |run: RunId, position: i32| run == step.run_id && position == step.position;
    let approval = records
        .approvals
        .iter()
        .find(|q| here(q.run_id, q.position));
    let pipeline = records
        .pipeline_runs
        .iter()
        .find(|p| here(p.run_id, p.position));
    StepView {
        name: step.name.clone(),
        kind: kind_words(&step.kind),
        state: Badge::state(&step.state),
        when: when(step),
        body: match step.kind.as_str() {
            "diagnose" => diagnosis(&step.detail),
            "approve" => approval_blocks(&step.detail, approval),
            "trigger" => trigger(&step.detail, pipeline),
            "gate" => gate(&step.detail),
            "promote" => promotion(&step.detail),
            "watch" => watch(&step.detail),
            _ => Vec::new(),
        },
    }
}

fn kind_words(kind: &str) -> &'static str {
    match kind {
        "diagnose" => "Diagnosis",
        "approve" => "Approval by a person",
        "trigger" => "Retraining pipeline",
        "gate" => "Comparison with the champion",
        "promote" => "Promotion",
        "watch" => "Watch after promotion",
        _ => "Step",
    }
}

fn when(step: &StepRow) -> String {
    match (step.started_at, step.finished_at) {
        (None, _) => String::new(),
        (Some(start), None) => format!("since {}", wording::date_time(start)),
        (Some(start), Some(end)) if (end - start).num_seconds() < 60 => wording::date_time(end),
        (Some(start), Some(end)) => format!(
            "{}, took {}",
            wording::date_time(end),
            wording::length(end - start)
        ),
    }
}

fn diagnosis(detail: &Value) -> Vec<Block> {
    list(detail, "findings")
        .iter()
        .map(|finding| Block::List {
            title: text(finding, "title").unwrap_or_else(|| {
                wording::words(&text(finding, "check").unwrap_or_else(|| "finding".to_owned()))
            }),
            lines: list(finding, "lines")
                .iter()
                .map(|line| {
                    line.as_str()
                        .map_or_else(|| line.to_string(), str::to_owned)
                })
                .collect(),
        })
        .collect()
}

fn approval_blocks(detail: &Value, approval: Option<&ApprovalRow>) -> Vec<Block> {
    let question = approval
        .map(|q| q.question.clone())
        .or_else(|| text(detail, "question"));
    let decision = approval
        .and_then(|q| q.decision.clone())
        .or_else(|| text(detail, "decision"));
    let reason = approval
        .and_then(|q| q.reason.clone())
        .or_else(|| text(detail, "reason"));
    let by = text(detail, "by").or_else(|| approval.and_then(|q| q.decided_by.clone()));
    let at = approval
        .and_then(|q| q.decided_at)
        .map(wording::date_time)
        .or_else(|| time(detail, "at"));
    let mut blocks: Vec<Block> = question.map(Block::Paragraph).into_iter().collect();
    if let Some(decision) = decision {
        let who = [
            Some(wording::words(&decision)),
            by.map(|b| format!("by {b}")),
            at,
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
        blocks.push(Block::Quote {
            text: reason.unwrap_or_default(),
            by: who,
        });
    }
    blocks
}

fn trigger(detail: &Value, pipeline: Option<&PipelineRunRow>) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(reason) = text(detail, "refused_because") {
        blocks.push(Block::Paragraph(format!("Refused: {reason}")));
    }
    let state = pipeline
        .map(|p| p.state.clone())
        .or_else(|| text(detail, "state"));
    let facts = [
        (
            "Pipeline",
            pipeline
                .map(|p| p.pipeline.clone())
                .or_else(|| text(detail, "pipeline")),
        ),
        ("State", state.map(|s| wording::words(&s))),
        ("Candidate", text(detail, "candidate")),
        (
            "Run key",
            pipeline
                .map(|p| p.run_key.clone())
                .or_else(|| text(detail, "run_key")),
        ),
        ("Its own id", pipeline.and_then(|p| p.external_id.clone())),
        (
            "Requested",
            pipeline.map(|p| wording::date_time(p.requested_at)),
        ),
        (
            "Finished",
            pipeline.and_then(|p| p.finished_at).map(wording::date_time),
        ),
        (
            "Expected",
            pipeline
                .filter(|p| p.finished_at.is_none())
                .and_then(|p| p.expected_at)
                .map(wording::date_time)
                .or_else(|| {
                    pipeline
                        .is_none()
                        .then(|| time(detail, "expected_at"))
                        .flatten()
                }),
        ),
        (
            "Attempts",
            pipeline
                .filter(|p| p.attempts > 1)
                .map(|p| p.attempts.to_string()),
        ),
        ("Cause", pipeline.and_then(|p| p.cause.clone())),
    ];
    push_facts(&mut blocks, facts);
    if let Some(link) = pipeline.and_then(|p| p.link.clone()).filter(|l| is_web(l)) {
        blocks.push(Block::Link {
            text: "Open in the pipeline's own interface".to_owned(),
            href: link,
        });
    }
    blocks
}

fn gate(detail: &Value) -> Vec<Block> {
    let comparisons = list(detail, "comparisons");
    let mut blocks = Vec::new();
    match (text(detail, "verdict"), text(detail, "reason")) {
        (Some(verdict), Some(reason)) => {
            blocks.push(Block::Paragraph(format!("Candidate {verdict}: {reason}")));
        }
        (Some(verdict), None) => blocks.push(Block::Paragraph(format!("Candidate {verdict}."))),
        (None, Some(reason)) => blocks.push(Block::Paragraph(reason)),
        (None, None) => {}
    }
    let window = match (instant(detail, "window_from"), instant(detail, "window_to")) {
        (Some(from), Some(to)) => format!(
            "Same labelled window for both: {}",
            wording::window(from, to)
        ),
        _ => "Same labelled window for both".to_owned(),
    };
    if comparisons.is_empty() {
        if instant(detail, "window_from").is_some() {
            blocks.push(Block::Paragraph(window));
        }
        return blocks;
    }
    blocks.push(Block::Table(TableView {
        caption: window,
        head: vec![
            "Slice",
            "Measure",
            "Champion",
            "Candidate",
            "Change",
            "Labels",
            "Verdict",
        ],
        rows: comparisons.iter().map(comparison).collect(),
    }));
    blocks
}

fn comparison(row: &Value) -> TableLine {
    let measure = text(row, "measure").unwrap_or_default();
    let (champion, candidate) = (number(row, "champion"), number(row, "candidate"));
    let judged = row.get("judged").and_then(Value::as_bool).unwrap_or(true);
    let better = row.get("better").and_then(Value::as_bool);
    TableLine {
        head: segment(row.get("segment")),
        cells: vec![
            wording::measure_short(&measure).to_owned(),
            wording::value_or_dash(&measure, champion),
            wording::value_or_dash(&measure, candidate),
            champion
                .zip(candidate)
                .and_then(|(from, to)| wording::change(to, from))
                .unwrap_or_else(|| "–".to_owned()),
            number(row, "labels").map_or_else(|| "–".to_owned(), |n| wording::count(n as i64)),
        ],
        verdict: match (judged, better) {
            (false, _) => Badge::new("Too few", Tone::Quiet),
            (true, Some(true)) => Badge::new("Passed", Tone::Good),
            (true, Some(false)) => Badge::new("Not passed", Tone::Warning),
            (true, None) => Badge::new("–", Tone::Quiet),
        },
    }
}

fn promotion(detail: &Value) -> Vec<Block> {
    let mut blocks = Vec::new();
    match (text(detail, "from"), text(detail, "to")) {
        (Some(from), Some(to)) => blocks.push(Block::Paragraph(format!(
            "{to} is the champion in place of {from}, which runs along as shadow."
        ))),
        (None, Some(to)) => blocks.push(Block::Paragraph(format!("{to} is the champion."))),
        _ => {}
    }
    blocks.extend(text(detail, "reason").map(Block::Paragraph));
    blocks
}

fn watch(detail: &Value) -> Vec<Block> {
    let mut blocks: Vec<Block> = text(detail, "conclusion")
        .map(Block::Paragraph)
        .into_iter()
        .collect();
    let windows = list(detail, "windows");
    if !windows.is_empty() {
        let row = |w: &Value| TableLine {
            head: instant(w, "start").map_or_else(|| "–".to_owned(), wording::date),
            cells: vec![
                number(w, "champion").map_or_else(|| "–".to_owned(), wording::number),
                number(w, "former").map_or_else(|| "–".to_owned(), wording::number),
            ],
            verdict: better_version(w.get("better")),
        };
        blocks.push(Block::Table(TableView {
            caption: "The champion beside the version it replaced, window by window".to_owned(),
            head: vec!["Window from", "Champion", "Former", "Better"],
            rows: windows.iter().map(row).collect(),
        }));
    }
    blocks
}

fn better_version(better: Option<&Value>) -> Badge {
    match better {
        // A truth value says whether the former champion was the better one.
        Some(Value::Bool(true)) => Badge::new("Former", Tone::Warning),
        Some(Value::Bool(false)) => Badge::new("Champion", Tone::Good),
        Some(Value::String(word)) if word == "former" => Badge::new("Former", Tone::Warning),
        Some(Value::String(word)) if word == "champion" => Badge::new("Champion", Tone::Good),
        Some(Value::String(word)) => Badge::new(word.clone(), Tone::Quiet),
        _ => Badge::new("–", Tone::Quiet),
    }
}

fn segment(segment: Option<&Value>) -> String {
    match segment {
        Some(Value::String(words)) if words.is_empty() => "Overall".to_owned(),
        Some(Value::String(words)) => words.clone(),
        Some(Value::Object(parts)) => {
            let part = |key| parts.get(key).and_then(Value::as_str).unwrap_or_default();
            if part("name").is_empty() {
                "Overall".to_owned()
            } else {
                format!("{} = {}", part("name"), part("value"))
            }
        }
        _ => "Overall".to_owned(),
    }
}

fn push_facts<const N: usize>(blocks: &mut Vec<Block>, facts: [(&str, Option<String>); N]) {
    let known: Vec<Fact> = facts
        .into_iter()
        .filter_map(|(name, value)| {
            Some(Fact {
                name: name.to_owned(),
                value: value?,
            })
        })
        .collect();
    if !known.is_empty() {
        blocks.push(Block::Facts(known));
    }
}

/// Whether an address that a pipeline reported may become a link.
fn is_web(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key)?.as_f64()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn instant(value: &Value, key: &str) -> Option<DateTime<Utc>> {
    value.get(key)?.as_str()?.parse().ok()
}

fn time(value: &Value, key: &str) -> Option<String> {
    instant(value, key).map(wording::date_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(kind: &str, detail: Value) -> StepView {
        let row = StepRow {
            run_id: RunId(uuid::Uuid::nil()),
            position: 0,
            name: "a step".to_owned(),
            kind: kind.to_owned(),
            state: "succeeded".to_owned(),
            detail,
            started_at: None,
            finished_at: None,
        };
        step_view(&row, &RunRecords::default())
    }

    #[test]
    fn a_gate_shows_every_slice_with_its_verdict() {
        let view = step(
            "gate",
            json!({
                "window_from": "2013-05-15T00:00:00Z", "window_to": "2013-05-22T00:00:00Z",
                "verdict": "accepted", "reason": "better overall and on every segment",
                "comparisons": [
                    {"segment": "", "measure": "mae", "champion": 15.12, "candidate": 6.93, "labels": 2063, "judged": true, "better": true},
                    {"segment": "carrier = HA", "measure": "mae", "champion": 30.0, "candidate": 31.0, "labels": 3, "judged": false, "better": false},
                ],
            }),
        );
        let Block::Table(table) = &view.body[1] else {
            panic!("the second block is the table");
        };
        assert_eq!(table.rows[0].head, "Overall");
        assert_eq!(
            table.rows[0].cells,
            ["MAE", "15.12", "6.93", "−54 %", "2,063"]
        );
        assert_eq!(table.rows[0].verdict.word, "Passed");
        assert_eq!(table.rows[1].verdict.word, "Too few");
    }

    #[test]
    fn a_step_with_nothing_or_nonsense_behind_it_is_still_a_step() {
        for kind in [
            "diagnose", "approve", "trigger", "gate", "promote", "watch", "new",
        ] {
            for detail in [
                json!({}),
                json!(null),
                json!([1]),
                json!({"comparisons": 3}),
            ] {
                assert!(step(kind, detail).body.is_empty(), "{kind}");
            }
        }
    }

    #[test]
    fn a_refused_trigger_says_why() {
        let view = step(
            "trigger",
            json!({"pipeline": "retrain", "refused_because": "schema skew is open"}),
        );
        assert!(
            matches!(&view.body[0], Block::Paragraph(text) if text == "Refused: schema skew is open")
        );
    }
}
