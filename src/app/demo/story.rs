//! What happened, read back through the API, and whether it is the story that the data tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value, json};

use super::MODEL;
use super::client::Client;
use super::data::day;
use crate::domain::message::Message;
use crate::notify;

/// The first days of the rows that errors are shown for; each row runs to the next.
const ROWS: [(u32, u32); 19] = [
    (2, 15),
    (3, 1),
    (3, 15),
    (3, 22),
    (4, 1),
    (4, 15),
    (5, 1),
    (5, 8),
    (5, 15),
    (5, 22),
    (6, 1),
    (7, 1),
    (8, 1),
    (9, 1),
    (10, 1),
    (11, 1),
    (11, 15),
    (12, 1),
    (12, 15),
];

/// The year in one object, the same for people, and what the story lacks.
#[derive(Debug)]
pub(super) struct Summary {
    pub json: Value,
    pub text: String,
    pub missing: Vec<&'static str>,
}

/// Asks the service for everything the summary holds.
pub(super) async fn summarise(client: &Client) -> anyhow::Result<Summary> {
    let model = client.get(&format!("/api/v1/models/{MODEL}")).await?;
    let mae = errors(client, &model).await?;
    let alerts = oldest_first(client.get("/api/v1/alerts?limit=1000").await?);
    let runs = runs(client).await?;
    let candidates = candidates(&client.get("/api/v1/candidates?limit=1000").await?);
    let promotions = promotions(oldest_first(
        client.get("/api/v1/promotions?limit=1000").await?,
    ));
    let mails = mails(&oldest_first(
        client.get("/api/v1/deliveries?limit=1000").await?,
    ));
    let intake = intake(
        &client
            .get(&format!("/api/v1/models/{MODEL}/intake"))
            .await?,
    );
    let alerts: Vec<Value> = alerts
        .iter()
        .map(|a| {
            pick(
                a,
                &[
                    "rule",
                    "model",
                    "severity",
                    "fired_at",
                    "resolved_at",
                    "since",
                    "condition",
                ],
            )
        })
        .collect();
    let json = json!({
        "windows_measured": model["windows_measured"],
        "mae": mae,
        "alerts": alerts,
        "runs": runs,
        "candidates": candidates,
        "promotions": promotions,
        "mails": mails,
        "intake": intake,
    });
    let missing = missing(&json);
    let text = told(&json);
    Ok(Summary {
        json,
        text,
        missing,
    })
}

async fn errors(
    client: &Client,
    model: &Value,
) -> anyhow::Result<BTreeMap<String, Map<String, Value>>> {
    let mut mae: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for version in model["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v["version"].as_str())
    {
        for (row, (month, first)) in ROWS.iter().enumerate() {
            let from = day(2013, *month, *first);
            let to = ROWS
                .get(row + 1)
                .map_or(day(2014, 1, 1), |(month, day_of_month)| {
                    day(2013, *month, *day_of_month)
                });
            let path = format!(
                "/api/v1/models/{MODEL}/quality?version={version}&from={}&to={}",
                from.format("%Y-%m-%d"),
                to.format("%Y-%m-%d")
            );
            let quality = client.get(&path).await?;
            let overall = all(&quality, "segments").find(|s| s["segment"].is_null());
            if let Some(value) = overall.and_then(|s| s["measures"]["mae"]["value"].as_f64()) {
                let rounded = (value * 100.0).round() / 100.0;
                mae.entry(version.to_owned())
                    .or_default()
                    .insert(from.format("%Y-%m-%d").to_string(), json!(rounded));
            }
        }
    }
    Ok(mae)
}

async fn runs(client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut runs = Vec::new();
    for run in oldest_first(client.get("/api/v1/runs?limit=1000").await?) {
        let run_id = run["run_id"].as_str().context("read a run's id")?;
        let whole = client.get(&format!("/api/v1/runs/{run_id}")).await?;
        let steps: Vec<Value> = whole["steps"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|s| pick(s, &["name", "kind", "state"]))
            .collect();
        let mut told = pick(
            &run,
            &[
                "runbook",
                "state",
                "outcome",
                "started_by",
                "started_at",
                "finished_at",
            ],
        );
        told["steps"] = json!(steps);
        runs.push(told);
    }
    Ok(runs)
}

fn candidates(delivered: &Value) -> Vec<Value> {
    oldest_first(delivered.clone())
        .iter()
        .map(|delivered| {
            let gate = &delivered["gate"];
            let keys = [
                "champion",
                "verdict",
                "reason",
                "window_from",
                "window_to",
                "comparisons",
                "decided_at",
            ];
            let mut candidate = pick(gate, &keys);
            candidate["version"] = delivered["version"].clone();
            let overall = all(gate, "comparisons").find(|c| c["segment"].is_null());
            candidate["compared"] = overall.cloned().unwrap_or_default();
            candidate
        })
        .collect()
}

fn promotions(promotions: Vec<Value>) -> Vec<Value> {
    promotions
        .iter()
        .map(|promotion| {
            let mut told = pick(
                promotion,
                &["model", "promoted_at", "promoted_by", "reason"],
            );
            told["from"] = promotion["from_version"].clone();
            told["to"] = promotion["to_version"].clone();
            told
        })
        .collect()
}

fn mails(deliveries: &[Value]) -> Vec<Value> {
    deliveries
        .iter()
        .filter(|d| d["channel"] == "email")
        .map(|d| {
            let mut mail = pick(
                d,
                &[
                    "receiver",
                    "reason",
                    "severity",
                    "state",
                    "created_at",
                    "delivered_at",
                ],
            );
            let message: Option<Message> = serde_json::from_value(d["message"].clone()).ok();
            mail["subject"] = json!(
                message
                    .and_then(|message| notify::letter(&message))
                    .map(|letter| letter.subject)
            );
            mail
        })
        .collect()
}

fn intake(counts: &Value) -> Value {
    let of_kind = |kind: &str| {
        let mut counted = pick(
            &counts[kind],
            &["received", "accepted", "duplicate", "conflicting"],
        );
        counted["rejected"] = counts[kind]["rejected_by_reason"].clone();
        counted
    };
    json!({"predictions": of_kind("predictions"), "labels": of_kind("labels")})
}

fn oldest_first(list: Value) -> Vec<Value> {
    let mut items = match list {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    items.reverse();
    items
}

fn pick(value: &Value, keys: &[&str]) -> Value {
    let picked: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), value[key].clone()))
        .collect();
    Value::Object(picked)
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

fn in_months(value: &Value, months: std::ops::RangeInclusive<u32>) -> bool {
    instant(value).is_some_and(|at| at.year() == 2013 && months.contains(&at.month()))
}

fn all<'j>(json: &'j Value, key: &str) -> impl Iterator<Item = &'j Value> {
    json[key].as_array().into_iter().flatten()
}

/// What the story that the data tell has and this one lacks.
fn missing(json: &Value) -> Vec<&'static str> {
    let alert = |rule: &str, severity: &str, month: u32| {
        all(json, "alerts")
            .find(|a| {
                a["rule"] == rule
                    && a["severity"] == severity
                    && in_months(&a["fired_at"], month..=month)
            })
            .map(|a| a["resolved_at"].clone())
    };
    let march = alert("quality-warning", "warning", 3);
    let may = alert("quality-critical", "critical", 5);
    let skew = alert("schema-skew", "critical", 8);
    let verdict = |version: &str, verdict: &str| {
        all(json, "candidates").any(|c| c["version"] == version && c["verdict"] == verdict)
    };
    let refused_in_skew = all(json, "runs").any(|run| {
        run["state"] == "refused"
            && in_months(&run["started_at"], 8..=8)
            && all(run, "steps").any(|step| step["kind"] == "trigger" && step["state"] == "refused")
    });
    let promoted =
        all(json, "promotions").any(|p| p["to"] == "v3" && in_months(&p["promoted_at"], 5..=5));
    let proposed = all(json, "runs").any(|run| {
        run["runbook"] == "rollback"
            && run["state"] == "waiting"
            && in_months(&run["started_at"], 11..=12)
    });
    let resolved = |alert: &Option<Value>| {
        alert
            .as_ref()
            .is_some_and(|resolved_at| !resolved_at.is_null())
    };
    let parts = [
        (march.is_some(), "a warning on quality in March"),
        (verdict("v2", "refused"), "the refusal of v2"),
        (resolved(&march), "the end of the warning of March"),
        (may.is_some(), "a critical alert on quality in May"),
        (verdict("v3", "accepted"), "the acceptance of v3"),
        (promoted, "the promotion of v3"),
        (resolved(&may), "the end of the critical alert"),
        (skew.is_some(), "a schema skew alert in August"),
        (resolved(&skew), "the end of the schema skew"),
        (
            refused_in_skew,
            "the refusal to retrain while the schema is skewed",
        ),
        (
            proposed,
            "the watch's proposal to go back in November or December",
        ),
    ];
    parts
        .into_iter()
        .filter(|(happened, _)| !happened)
        .map(|(_, part)| part)
        .collect()
}

/// The year in lines for people.
fn told(json: &Value) -> String {
    let date = |value: &Value| {
        instant(value).map_or_else(|| "…".to_owned(), |at| at.format("%Y-%m-%d").to_string())
    };
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<(String, String)> = Vec::new();
    for a in all(json, "alerts") {
        let until = if a["resolved_at"].is_null() {
            "still open".to_owned()
        } else {
            format!("until {}", date(&a["resolved_at"]))
        };
        lines.push((
            date(&a["fired_at"]),
            format!(
                "{} alert {}: {} ({until})",
                word(&a["severity"]),
                word(&a["rule"]),
                word(&a["condition"])
            ),
        ));
    }
    for c in all(json, "candidates") {
        lines.push((
            date(&c["decided_at"]),
            format!(
                "gate: {} {}: {}",
                word(&c["version"]),
                word(&c["verdict"]),
                word(&c["reason"])
            ),
        ));
    }
    for p in all(json, "promotions") {
        lines.push((
            date(&p["promoted_at"]),
            format!(
                "{} promoted in place of {} by {}",
                word(&p["to"]),
                word(&p["from"]),
                word(&p["promoted_by"])
            ),
        ));
    }
    for r in all(json, "runs") {
        lines.push((
            date(&r["started_at"]),
            format!(
                "run of {}, {}: {}",
                word(&r["runbook"]),
                word(&r["state"]),
                word(&r["outcome"])
            ),
        ));
    }
    lines.sort();
    let mut text = String::from("What happened in 2013:\n");
    for (at, what) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {at}  {what}");
    }
    let mails = all(json, "mails").count();
    let _ = write!(
        text,
        "{} windows measured, {mails} mails sent.",
        json["windows_measured"]
    );
    text
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, TimeDelta};

    use super::*;

    #[test]
    fn an_empty_year_lacks_every_part_of_the_story() {
        let nothing = json!({"alerts": [], "candidates": [], "promotions": [], "runs": []});
        assert_eq!(missing(&nothing).len(), 11);
    }

    #[test]
    fn an_alert_that_never_ends_is_noticed() {
        let year = json!({
            "alerts": [{"rule": "quality-warning", "severity": "warning", "fired_at": "2013-03-11T00:00:00Z", "resolved_at": null}],
            "candidates": [], "promotions": [], "runs": [],
        });
        assert!(missing(&year).contains(&"the end of the warning of March"));
        assert!(!missing(&year).contains(&"a warning on quality in March"));
    }

    #[test]
    fn rows_are_in_order_and_within_the_year() {
        let days: Vec<NaiveDate> = ROWS
            .iter()
            .filter_map(|(m, d)| NaiveDate::from_ymd_opt(2013, *m, *d))
            .collect();
        assert_eq!(days.len(), ROWS.len());
        assert!(
            days.windows(2)
                .all(|pair| pair[1] - pair[0] >= TimeDelta::days(7))
        );
    }
}
