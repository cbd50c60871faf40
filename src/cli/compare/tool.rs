//! A comparison by the rules of another tool, in every format. There is nothing else in it: the tool's measures
//! under the tool's names, its verdicts, and what could not be compared.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::page::{self, CountView, FileView, FindingView, MOST_FINDINGS};
use super::ranking::{place, severity};
use super::{json, junit, table};
use crate::domain::measurement::{Segment, Status};
use crate::domain::window::Window;
use crate::services::comparison::{ToolCheck, ToolComparison, ToolMeasurement};
use crate::stats::parity::{Threshold, Verdict};

/// Windows and segments that the page lists.
const MOST_GROUPS: usize = 2_000;
/// Checks that table and page list.
const MOST_CHECKS: usize = 100;

/// A feature's standing by the measure the tool takes by itself.
struct Standing<'a> {
    feature: &'a str,
    status: Status,
    /// The measures in the group where it is worst, the tool's choice first.
    worst: Vec<&'a ToolMeasurement>,
    place: String,
    drifted: usize,
    groups: usize,
}

/// A feature's measures by group of rows.
type Groups<'a> = BTreeMap<(Option<Window>, &'a Segment), Vec<&'a ToolMeasurement>>;

/// All features, worst first.
fn standings(comparison: &ToolComparison) -> Vec<Standing<'_>> {
    let mut features: BTreeMap<&str, Groups<'_>> = BTreeMap::new();
    for m in &comparison.measurements {
        let groups = features.entry(&m.feature).or_default();
        groups.entry((m.window, &m.segment)).or_default().push(m);
    }
    let mut standings: Vec<(f64, Standing<'_>)> = features
        .into_iter()
        .filter_map(|(feature, groups)| standing(feature, &groups))
        .collect();
    standings.sort_by(|(a_size, a), (b_size, b)| {
        severity(b.status)
            .cmp(&severity(a.status))
            .then(b_size.total_cmp(a_size))
    });
    standings
        .into_iter()
        .map(|(_, standing)| standing)
        .collect()
}

fn standing<'a>(feature: &'a str, groups: &Groups<'a>) -> Option<(f64, Standing<'a>)> {
    // Of equal ones the first counts: all rows come before segments. Too few values say nothing where others do.
    let order = |status| match status {
        Status::Insufficient => 0,
        Status::Ok => 1,
        Status::Error => 2,
        Status::Drift => 3,
    };
    let chosen = groups.iter().rev().filter_map(|(group, measured)| {
        let chosen = measured.iter().find(|m| m.result.chosen)?;
        Some((group, measured, *chosen))
    });
    let ((window, segment), measured, chosen) = chosen.max_by(|(_, _, a), (_, _, b)| {
        let (a_order, b_order) = (order(a.status()), order(b.status()));
        a_order
            .cmp(&b_order)
            .then(a.excess().total_cmp(&b.excess()))
    })?;
    let drifted = groups.values().flatten().filter(|m| m.result.chosen);
    let drifted = drifted.filter(|m| m.status() == Status::Drift).count();
    let standing = Standing {
        feature,
        status: chosen.status(),
        worst: measured.clone(),
        place: place(*window, segment),
        drifted,
        groups: groups.len(),
    };
    Some((chosen.excess(), standing))
}

/// What it comes to, in one line.
fn summary(comparison: &ToolComparison, standings: &[Standing<'_>]) -> String {
    let with = |status| standings.iter().filter(|s| s.status == status).count();
    let mut parts = vec![format!(
        "{} of {} features drift by the rules of {}",
        with(Status::Drift),
        standings.len(),
        comparison.mode.as_str()
    )];
    if with(Status::Insufficient) > 0 {
        parts.push(format!("{}: nothing to say", with(Status::Insufficient)));
    }
    let chosen = || comparison.measurements.iter().filter(|m| m.result.chosen);
    let unjudged = chosen().filter(|m| m.result.verdict == Verdict::NoThreshold);
    if unjudged.count() > 0 {
        parts.push("without a threshold, as it has none by itself".to_owned());
    }
    parts.extend(checked(comparison));
    if !comparison.mode.checks_schema() {
        parts.push(schema(comparison));
    }
    parts.join("; ")
}

/// The tool's verdicts on all features, and how many of its checks of single ones have failed.
fn checked(comparison: &ToolComparison) -> Vec<String> {
    let of_all: Vec<&ToolCheck> = comparison
        .checks
        .iter()
        .filter(|of| of.feature.is_empty())
        .collect();
    let failed = of_all.iter().filter(|of| of.check.has_failed()).count();
    let mut parts = Vec::new();
    match of_all.as_slice() {
        [] => {}
        [only] => parts.push(format!(
            "{}: {} ({})",
            only.check.name,
            said_of(only),
            only.check.detail
        )),
        more => parts.push(format!(
            "{}: {failed} of {}",
            more[0].check.name,
            more.len()
        )),
    }
    if comparison.mode.checks_schema() {
        let single = comparison.checks.iter().filter(|of| !of.feature.is_empty());
        let failed = single.filter(|of| of.check.has_failed()).count();
        parts.push(match failed {
            0 => "all checks passed".to_owned(),
            1 => "1 check failed".to_owned(),
            more => format!("{more} checks failed"),
        });
    }
    parts
}

/// What came of a check, in words.
fn said_of(of: &ToolCheck) -> &'static str {
    match of.check.verdict {
        Verdict::Drift => "yes",
        Verdict::NoDrift | Verdict::NoThreshold => "no",
        Verdict::NotDefined(cause) => cause,
    }
}

/// The checks that are shown to people: those that have failed, and the verdicts on all features.
fn shown_checks(comparison: &ToolComparison) -> impl Iterator<Item = &ToolCheck> {
    let checks = comparison.checks.iter();
    checks.filter(|of| of.feature.is_empty() || of.check.has_failed())
}

/// That the schema is not checked: what is listed of it is what could not be compared.
fn schema(comparison: &ToolComparison) -> String {
    if comparison.schema.is_empty() {
        return "schema not checked".to_owned();
    }
    let listed = table::certain_findings(&comparison.schema);
    format!("{listed}, otherwise the schema is not checked")
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Drift => "drift",
        Verdict::NoDrift => "no_drift",
        Verdict::NoThreshold => "no_threshold",
        Verdict::NotDefined(_) => "not_defined",
    }
}

fn cause(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::NotDefined(cause) => Some(cause),
        Verdict::Drift | Verdict::NoDrift | Verdict::NoThreshold => None,
    }
}

/// On which side of a threshold there is drift.
fn side(threshold: Threshold) -> (&'static str, &'static str) {
    match threshold {
        Threshold::AtLeast(_) => ("at_least", "≥"),
        Threshold::Above(_) => ("above", ">"),
        Threshold::AtMost(_) => ("at_most", "≤"),
        Threshold::Below(_) => ("below", "<"),
    }
}

/// A measurement in words.
struct Words {
    value: String,
    p_value: String,
    threshold: String,
    verdict: String,
}

impl Words {
    fn of(m: &ToolMeasurement) -> Self {
        let number = |number: Option<f64>| number.map_or("–".to_owned(), table::short);
        let threshold = m.result.threshold.map(|threshold| {
            let (_, sign) = side(threshold);
            let limit = threshold.limit();
            let shown = format!("{limit:.4}");
            let shown = shown.trim_end_matches('0').trim_end_matches('.');
            format!("{sign} {shown}")
        });
        let said = verdict(m.result.verdict).replace('_', " ");
        Self {
            value: number(m.result.value),
            p_value: number(m.result.p_value),
            threshold: threshold.unwrap_or_else(|| "–".to_owned()),
            verdict: match cause(m.result.verdict) {
                Some(cause) => format!("{said}: {cause}"),
                None => said,
            },
        }
    }
}

// ── table ────────────────────────────────────────────────────────────────────────────────────────────────

/// A table for people at a terminal: every measure of a feature where it is worst, the tool's choice first.
pub(super) fn table(comparison: &ToolComparison) -> String {
    let standings = standings(comparison);
    let mut text = table::head(
        (&comparison.reference, comparison.reference_rows),
        (&comparison.current, comparison.current_rows),
    );
    let header = [
        "status", "feature", "measure", "value", "p-value", "drift if", "worst in", "drifted",
        "verdict",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for standing in &standings {
        for m in &standing.worst {
            let first = m.result.chosen;
            let said = |text: &str| {
                if first {
                    text.to_owned()
                } else {
                    String::new()
                }
            };
            let words = Words::of(m);
            rows.push(vec![
                said(standing.status.as_str()),
                said(&table::shown(standing.feature)),
                m.result.method.to_owned(),
                words.value,
                words.p_value,
                words.threshold,
                said(&table::shown(&standing.place)),
                said(&format!("{} of {}", standing.drifted, standing.groups)),
                words.verdict,
            ]);
        }
    }
    text += &table::aligned(&rows);
    text += &check_table(comparison);
    text += &table::schema(&comparison.schema);
    text += &table::left_out(&comparison.left_out);
    text += &format!("\n{}\n", summary(comparison, &standings));
    text
}

/// The checks under their heading; nothing where the tool has none to show.
fn check_table(comparison: &ToolComparison) -> String {
    let header = [
        "check", "feature", "where", "value", "fails if", "failed", "detail",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for of in shown_checks(comparison).take(MOST_CHECKS) {
        let (_, sign) = side(of.check.threshold);
        rows.push(vec![
            of.check.name.to_owned(),
            table::shown(&of.feature),
            table::shown(&place(of.window, &of.segment)),
            table::short(of.check.value),
            format!("{sign} {}", table::short(of.check.threshold.limit())),
            said_of(of).to_owned(),
            table::shown(&of.check.detail),
        ]);
    }
    if rows.len() == 1 {
        return String::new();
    }
    let more = shown_checks(comparison).count().saturating_sub(MOST_CHECKS);
    if more > 0 {
        rows.push(vec![format!("and {more} more; --format json lists all")]);
    }
    format!(
        "\nChecks of {}\n{}",
        comparison.mode.as_str(),
        table::aligned(&rows)
    )
}

// ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────

#[derive(Serialize)]
struct Document<'a> {
    mode: &'static str,
    reference: json::Side,
    current: json::Side,
    measurements: Vec<MeasurementView<'a>>,
    /// What the tool checks beside its measures, by its names: all of it, passed or not.
    checks: Vec<CheckView<'a>>,
    /// Whether the tool checks the schema, which is in `checks` then: what is listed under `schema` is what could not be compared.
    schema_checked: bool,
    schema: Vec<json::FindingView<'a>>,
    /// Columns that are no features, and why; absent where all are.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    left_out: &'a [String],
}

#[derive(Serialize)]
struct MeasurementView<'a> {
    /// Null when rows are not split by time.
    window: Option<json::WindowView>,
    /// `name=value`; null for all rows.
    segment: Option<String>,
    feature: &'a str,
    /// As the tool names it.
    measure: &'static str,
    value: Option<f64>,
    p_value: Option<f64>,
    threshold: Option<f64>,
    /// Where drift is, seen from the threshold: `at_least`, `above`, `at_most` or `below`.
    drift_when: Option<&'static str>,
    verdict: &'static str,
    status: Status,
    /// Whether the tool takes this measure by itself for such data.
    chosen: bool,
    reference_rows: u64,
    current_rows: u64,
    /// Why there is no value.
    cause: Option<&'static str>,
    recipe: RecipeView,
}

#[derive(Serialize)]
struct RecipeView {
    /// Bins, base of the logarithm, smoothing and test.
    method: &'static str,
}

#[derive(Serialize)]
struct CheckView<'a> {
    /// As the tool names it.
    check: &'static str,
    window: Option<json::WindowView>,
    segment: Option<String>,
    /// Empty for the verdict on all features.
    feature: &'a str,
    value: f64,
    threshold: f64,
    /// Where it fails, seen from the threshold: `at_least`, `above`, `at_most` or `below`.
    fails_when: &'static str,
    failed: bool,
    status: Status,
    detail: &'a str,
}

/// A document for programs, with a line break at its end.
pub(super) fn json(comparison: &ToolComparison) -> anyhow::Result<String> {
    let measurement = |m| measurement(m);
    let document = Document {
        mode: comparison.mode.as_str(),
        reference: json::Side::of(&comparison.reference, comparison.reference_rows),
        current: json::Side::of(&comparison.current, comparison.current_rows),
        measurements: comparison.measurements.iter().map(measurement).collect(),
        checks: comparison.checks.iter().map(check).collect(),
        schema_checked: comparison.mode.checks_schema(),
        schema: comparison.schema.iter().map(json::finding).collect(),
        left_out: &comparison.left_out,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn check(of: &ToolCheck) -> CheckView<'_> {
    CheckView {
        check: of.check.name,
        window: of.window.map(json::window),
        segment: json::segment(&of.segment),
        feature: &of.feature,
        value: of.check.value,
        threshold: of.check.threshold.limit(),
        fails_when: side(of.check.threshold).0,
        failed: of.check.has_failed(),
        status: of.status(),
        detail: &of.check.detail,
    }
}

fn measurement(m: &ToolMeasurement) -> MeasurementView<'_> {
    MeasurementView {
        window: m.window.map(json::window),
        segment: json::segment(&m.segment),
        feature: &m.feature,
        measure: m.result.method,
        value: m.result.value,
        p_value: m.result.p_value,
        threshold: m.result.threshold.map(Threshold::limit),
        drift_when: m.result.threshold.map(|threshold| side(threshold).0),
        verdict: verdict(m.result.verdict),
        status: m.status(),
        chosen: m.result.chosen,
        reference_rows: m.reference_rows,
        current_rows: m.current_rows,
        cause: cause(m.result.verdict),
        recipe: RecipeView {
            method: m.result.recipe(),
        },
    }
}

// ── JUnit ────────────────────────────────────────────────────────────────────────────────────────────────

/// JUnit XML: a case for the tool's choice in every feature and group of rows.
pub(super) fn junit(comparison: &ToolComparison) -> String {
    let chosen = comparison.measurements.iter().filter(|m| m.result.chosen);
    let cases = chosen.map(|m| {
        let place = place(m.window, &m.segment);
        let words = Words::of(m);
        junit::Case {
            class: if place.is_empty() {
                "drift".to_owned()
            } else {
                format!("drift.{place}")
            },
            name: m.feature.clone(),
            status: m.status(),
            message: match cause(m.result.verdict) {
                Some(cause) => cause.to_owned(),
                None => format!(
                    "{} {}, drift if {}",
                    m.result.method, words.value, words.threshold
                ),
            },
        }
    });
    let mut schema = Vec::new();
    if !comparison.mode.checks_schema() {
        schema.push(junit::Case {
            class: "schema".to_owned(),
            name: "the schema".to_owned(),
            status: Status::Insufficient,
            message: "with --mode it is not checked".to_owned(),
        });
    }
    if !comparison.schema.is_empty() {
        schema.extend(junit::schema(&comparison.schema));
    }
    let checks = comparison.checks.iter().map(|of| {
        let place = place(of.window, &of.segment);
        let named = if of.feature.is_empty() {
            "all features"
        } else {
            &of.feature
        };
        junit::Case {
            class: if place.is_empty() {
                of.check.name.to_owned()
            } else {
                format!("{}.{place}", of.check.name)
            },
            name: named.to_owned(),
            status: of.status(),
            message: format!("{}: {}", table::short(of.check.value), of.check.detail),
        }
    });
    junit::document(&[
        ("drift", cases.collect()),
        ("checks", checks.collect()),
        ("schema", schema),
    ])
}

// ── page ─────────────────────────────────────────────────────────────────────────────────────────────────

#[derive(Template)]
#[template(path = "reports/tool.html")]
struct Page {
    mode: &'static str,
    reference: FileView,
    current: FileView,
    tone: &'static str,
    verdict: String,
    summary: String,
    counts: Vec<CountView>,
    findings: Vec<FindingView>,
    more_findings: usize,
    left_out: Vec<String>,
    checks: Vec<CheckRow>,
    more_checks: usize,
    features: Vec<RowView>,
    groups: Vec<RowView>,
    more_groups: usize,
}

struct CheckRow {
    name: &'static str,
    feature: String,
    place: String,
    value: String,
    threshold: String,
    tone: &'static str,
    said: &'static str,
    detail: String,
}

impl CheckRow {
    fn of(of: &ToolCheck) -> Self {
        let (_, sign) = side(of.check.threshold);
        Self {
            name: of.check.name,
            feature: of.feature.clone(),
            place: place(of.window, &of.segment),
            value: table::short(of.check.value),
            threshold: format!("{sign} {}", table::short(of.check.threshold.limit())),
            tone: page::tone(of.status()).0,
            said: said_of(of),
            detail: of.check.detail.clone(),
        }
    }
}

struct RowView {
    feature: String,
    chosen: bool,
    tone: &'static str,
    status: &'static str,
    place: String,
    drifted: String,
    measure: &'static str,
    value: String,
    p_value: String,
    threshold: String,
    verdict: String,
}

impl RowView {
    fn of(m: &ToolMeasurement, drifted: String) -> Self {
        let (tone, status) = page::tone(m.status());
        let words = Words::of(m);
        Self {
            feature: m.feature.clone(),
            chosen: m.result.chosen,
            tone,
            status: if m.result.verdict == Verdict::NoThreshold {
                "no threshold"
            } else {
                status
            },
            place: place(m.window, &m.segment),
            drifted,
            measure: m.result.method,
            value: words.value,
            p_value: words.p_value,
            threshold: words.threshold,
            verdict: words.verdict,
        }
    }
}

/// A page for colleagues: one file without scripts and without anything from elsewhere.
pub(super) fn page(comparison: &ToolComparison) -> anyhow::Result<String> {
    let standings = standings(comparison);
    let with = |status| standings.iter().filter(|s| s.status == status).count();
    let (drifting, unclear) = (with(Status::Drift), with(Status::Insufficient));
    let mode = comparison.mode.as_str();
    let certain = comparison.schema.iter();
    let certain = certain
        .filter(|f| f.finding.status == Status::Drift)
        .count();
    let (tone, verdict) = match drifting {
        0 => ("quiet", format!("No drift by the rules of {mode}")),
        _ => (
            "critical",
            format!(
                "{} drifted by the rules of {mode}",
                page::features(drifting)
            ),
        ),
    };
    let counts = [
        (drifting, "drifted", "critical"),
        (certain, "schema", "warning"),
        (unclear, "nothing to say", "quiet"),
        (with(Status::Ok), "no drift", "good"),
    ];
    let split = standings.iter().any(|s| s.groups > 1);
    let chosen = || comparison.measurements.iter().filter(|m| m.result.chosen);
    let groups = chosen().filter(|_| split);
    let features = standings.iter().flat_map(|standing| {
        let drifted = format!("{} of {}", standing.drifted, standing.groups);
        let measures = standing.worst.iter();
        measures.map(move |m| RowView::of(m, drifted.clone()))
    });
    let page = Page {
        mode,
        reference: page::file(&comparison.reference, comparison.reference_rows),
        current: page::file(&comparison.current, comparison.current_rows),
        tone,
        verdict,
        summary: summary(comparison, &standings),
        counts: (counts.into_iter().filter(|(count, _, _)| *count > 0))
            .map(|(count, word, tone)| CountView { count, word, tone })
            .collect(),
        findings: page::findings(&comparison.schema),
        more_findings: comparison.schema.len().saturating_sub(MOST_FINDINGS),
        left_out: comparison.left_out.clone(),
        checks: shown_checks(comparison)
            .take(MOST_CHECKS)
            .map(CheckRow::of)
            .collect(),
        more_checks: shown_checks(comparison).count().saturating_sub(MOST_CHECKS),
        features: features.collect(),
        more_groups: groups.clone().count().saturating_sub(MOST_GROUPS),
        groups: groups
            .take(MOST_GROUPS)
            .map(|m| RowView::of(m, String::new()))
            .collect(),
    };
    Ok(page.render()?)
}
