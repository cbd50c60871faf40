//! A comparison as JUnit XML, which every build server shows: a case per feature and window, and one per finding
//! of the schema.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::ranking::{named, place, severity, status_of};
use super::table::said_over_days;
use super::window_name;
use crate::domain::measurement::{Recipe, Segment, Status};
use crate::domain::window::Window;
use crate::services::comparison::{Comparison, Measurement, SchemaFinding};

pub(super) struct Case {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) message: String,
}

/// The document.
pub(super) fn text(comparison: &Comparison) -> String {
    let mut of_drift = drift(comparison);
    of_drift.extend(over_days(comparison));
    let mut suites = vec![("drift", of_drift)];
    if !comparison.quality.is_empty() {
        suites.push(("quality", quality(comparison)));
    }
    suites.push(("schema", schema(&comparison.schema)));
    document(&suites)
}

/// A document of suites, each with its name.
pub(super) fn document(suites: &[(&str, Vec<Case>)]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let all = || suites.iter().flat_map(|(_, cases)| cases);
    let counts = |cases: &mut dyn Iterator<Item = &Case>| {
        let mut by_status = [0_usize; 4];
        cases.for_each(|case| by_status[usize::from(severity(case.status))] += 1);
        format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
            by_status.iter().sum::<usize>(),
            by_status[3],
            by_status[2],
            by_status[1]
        )
    };
    line(
        &mut text,
        &format!(
            "<testsuites name=\"bellwether compare\" {}>",
            counts(&mut all())
        ),
    );
    for (name, cases) in suites {
        line(
            &mut text,
            &format!(
                "  <testsuite name=\"{name}\" {}>",
                counts(&mut cases.iter())
            ),
        );
        for case in cases {
            write_case(&mut text, case);
        }
        line(&mut text, "  </testsuite>");
    }
    line(&mut text, "</testsuites>");
    text
}

fn line(text: &mut String, content: &str) {
    writeln!(text, "{content}").expect("writing to a String cannot fail");
}

fn write_case(text: &mut String, case: &Case) {
    let head = format!(
        "    <testcase classname=\"{}\" name=\"{}\"",
        escaped(&case.class),
        escaped(&case.name)
    );
    let element = match case.status {
        Status::Ok => return line(text, &format!("{head}/>")),
        Status::Drift => "failure",
        Status::Insufficient => "skipped",
        Status::Error => "error",
    };
    let message = escaped(&case.message);
    line(
        text,
        &format!("{head}>\n      <{element} message=\"{message}\"/>\n    </testcase>"),
    );
}

fn drift(comparison: &Comparison) -> Vec<Case> {
    let mut groups: BTreeMap<(Option<Window>, &Segment, &str), Vec<&Measurement>> = BTreeMap::new();
    for m in &comparison.measurements {
        groups
            .entry((m.window, &m.segment, &m.feature))
            .or_default()
            .push(m);
    }
    let cases = groups
        .into_iter()
        .map(|((window, segment, feature), measured)| {
            let status = status_of(&measured);
            let of_status = measured.iter().filter(|m| m.status == status);
            let mut messages: Vec<String> = of_status.map(|m| message(m)).collect();
            // What all have in common is said once.
            messages.dedup();
            let place = place(window, segment);
            Case {
                class: if place.is_empty() {
                    "drift".to_owned()
                } else {
                    format!("drift.{place}")
                },
                name: named(feature).to_owned(),
                status,
                message: messages.join("; "),
            }
        });
    cases.collect()
}

/// What the drift detector says of each feature, on the day that speaks most clearly.
fn over_days(comparison: &Comparison) -> impl Iterator<Item = Case> {
    let verdicts = comparison.over_days.iter().flat_map(|of| &of.verdicts);
    verdicts.map(|m| {
        let (said, _) = said_over_days(m);
        let day = m.window.map(window_name);
        Case {
            class: "drift.over_days".to_owned(),
            name: named(&m.feature).to_owned(),
            status: m.status,
            message: day.map_or_else(|| said.clone(), |day| format!("{day}: {said}")),
        }
    })
}

fn quality(comparison: &Comparison) -> Vec<Case> {
    let cases = comparison.quality.iter().map(|m| {
        let place = place(m.window, &m.segment);
        let measure = m.measure.as_str();
        Case {
            class: if place.is_empty() {
                "quality".to_owned()
            } else {
                format!("quality.{place}")
            },
            name: if m.feature.is_empty() {
                measure.to_owned()
            } else {
                format!("{}: {measure}", m.feature)
            },
            status: m.status,
            message: told((measure, m.value), &m.recipe),
        }
    });
    cases.collect()
}

fn message(of: &Measurement) -> String {
    told((of.measure.as_str(), of.value), &of.recipe)
}

fn told((measure, value): (&str, Option<f64>), recipe: &Recipe) -> String {
    match (value, recipe.threshold, &recipe.cause) {
        (_, _, Some(cause)) => cause.clone(),
        // It is told by what has changed; the threshold is one of its two gates.
        (Some(_), _, None) if recipe.joint.is_some() => {
            format!(
                "{measure}: {}",
                recipe.detail.as_deref().unwrap_or_default()
            )
        }
        (Some(value), Some(threshold), None) => {
            format!("{measure} {value:.4} is beyond {threshold}")
        }
        (Some(value), None, None) => match &recipe.detail {
            Some(detail) => format!("{measure} {value:.4} is {detail}"),
            None => format!("{measure} {value:.4}"),
        },
        (None, _, None) => measure.to_owned(),
    }
}

/// Findings fail; a schema without any is one case that passes.
pub(super) fn schema(findings: &[SchemaFinding]) -> Vec<Case> {
    if findings.is_empty() {
        return vec![Case {
            class: "schema".to_owned(),
            name: "no findings".to_owned(),
            status: Status::Ok,
            message: String::new(),
        }];
    }
    let cases = findings.iter().map(|found| {
        let place = place(found.window, &Segment::overall());
        let feature = &found.finding.feature;
        let kind = found.finding.kind.as_str();
        Case {
            class: if place.is_empty() {
                "schema".to_owned()
            } else {
                format!("schema.{place}")
            },
            name: if feature.is_empty() {
                kind.to_owned()
            } else {
                format!("{feature}: {kind}")
            },
            status: found.finding.status,
            message: found.finding.detail.clone(),
        }
    });
    cases.collect()
}

/// Text inside an attribute; XML has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
