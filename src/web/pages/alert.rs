//! One alert, for a person who has just been woken: what is wrong, how bad, since when, what to do.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::ids::AlertId;
use crate::domain::measurement::Measure;
use crate::domain::promise::PromiseOf;
use crate::domain::rule::{Condition, Rule};
use crate::services::access::Session;
use crate::services::causes::{self, Question};
use crate::services::{Error, Services, configuration, promises, registry};
use crate::storage::pages::{self, AlertEvent, AlertRow, DeliveryRow, RunRow};
use crate::web::answer::{Failure, page};
use crate::web::cause_view::CauseView;
use crate::web::chart::ChartView;
use crate::web::escape::path_segment;
use crate::web::evidence::facts;
use crate::web::frame::{Section, Shell, may_operate};
use crate::web::markdown::{self, Rendered};
use crate::web::measure_chart::{Choice, History};
use crate::web::run_view::{Block, Fact, RunRecords, RunView, run_view};
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::Visitor;
use crate::web::wording;

use super::deliveries::{DeliveryLine, delivery_line};
use super::rules::PromiseLine;

/// How much of the past the chart of an alert shows before it began.
const LEAD: TimeDelta = TimeDelta::weeks(12);

/// How much it shows after the alert was resolved.
const TRAIL: TimeDelta = TimeDelta::weeks(4);

/// How much of a long alert is looked at for causes: its beginning.
const LONGEST: TimeDelta = TimeDelta::weeks(4);

/// The page of an alert.
#[derive(Debug, Template)]
#[template(path = "pages/alerts/alert.html", escape = "page")]
pub struct AlertPage {
    pub shell: Shell,
    pub may_operate: bool,
    pub summary: String,
    pub severity: Badge,
    pub state: Badge,
    pub model: String,
    pub model_href: String,
    pub runs_action: String,
    pub now_text: String,
    pub limit_text: String,
    pub condition: String,
    pub facts: Vec<Fact>,
    /// How often the rule errs, and what it would see.
    pub promises: Vec<PromiseLine>,
    pub rules_href: String,
    pub next_step: Option<String>,
    pub causes: Vec<Cause>,
    /// What a loss of quality is made of, where the rule is about quality.
    pub why: Option<CauseView>,
    pub why_title: &'static str,
    pub chart: Option<ChartView>,
    pub evidence: Vec<Fact>,
    pub runs: Vec<RunView>,
    pub runbook: Option<String>,
    pub runbook_text: Option<Rendered>,
    pub events: Vec<EventLine>,
    pub deliveries: Vec<DeliveryLine>,
}

/// A likely cause.
#[derive(Debug, Clone)]
pub struct Cause {
    pub kind: String,
    pub title: String,
    pub detail: String,
}

/// A step of the alert's life.
#[derive(Debug, Clone)]
pub struct EventLine {
    pub at: String,
    pub kind: String,
    pub text: String,
    pub actor: String,
}

/// What was read about an alert.
#[derive(Debug)]
pub struct AlertRecords {
    pub alert: AlertRow,
    pub events: Vec<AlertEvent>,
    pub deliveries: Vec<DeliveryRow>,
    pub runs: Vec<RunRow>,
    pub run_records: RunRecords,
    /// What the alert's rule judges, where that is a single measure.
    pub measure: Option<String>,
    pub chart: Option<ChartView>,
    pub why: Option<CauseView>,
    /// What its rule promises, while there is one of that name.
    pub promises: Vec<PromiseOf>,
}

/// `GET /alerts/{id}`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let now = services.clock.now();
    let session = &visitor.0;
    let mut conn = services.pool.acquire().await?;
    let id: AlertId = id.parse().map_err(|_| Failure::page_not_found())?;
    let alert = pages::alert(&mut conn, session.project_id, id)
        .await?
        .ok_or_else(|| Error::not_found("this alert"))?;
    let shell = Shell::load(
        &mut conn,
        &services,
        session,
        Section::Alerts,
        &alert.summary,
    )
    .await?;
    let mut records = load(&mut conn, session, alert).await?;
    drop(conn);
    records.promises = promised(&services, session, &records.alert, now).await?;
    records.why = why(&services, session, &records, now).await?;
    page(&alert_page(shell, &records, may_operate(session), now))
}

async fn load(
    conn: &mut PgConnection,
    session: &Session,
    alert: AlertRow,
) -> Result<AlertRecords, Failure> {
    let (choice, chart) = chart(conn, session, &alert).await?;
    let runs = pages::runs_of_alert(conn, session.project_id, alert.alert_id).await?;
    Ok(AlertRecords {
        events: pages::alert_events(conn, alert.alert_id).await?,
        deliveries: pages::deliveries_of_alert(conn, session.project_id, alert.alert_id).await?,
        run_records: super::runs::load(conn, &runs).await?,
        measure: choice.map(|choice| choice.measure),
        chart,
        why: None,
        promises: Vec::new(),
        runs,
        alert,
    })
}

async fn promised(
    services: &Services,
    session: &Session,
    alert: &AlertRow,
    now: DateTime<Utc>,
) -> Result<Vec<PromiseOf>, Failure> {
    if alert.model_id.is_none() {
        return Ok(Vec::new());
    }
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, session.project_id, &alert.model).await?;
    let rules = configuration::rules(&mut conn, &model).await?;
    match rules.iter().find(|rule| rule.name == alert.rule) {
        Some(rule) => Ok(promises::of_rule(&mut conn, &model, rule, now).await?),
        None => Ok(Vec::new()),
    }
}

/// What the loss of quality is made of that a rule has found; of drift, whether labels show that it matters. What cannot be said
/// leaves the rest of the page as it is.
async fn why(
    services: &Services,
    session: &Session,
    records: &AlertRecords,
    now: DateTime<Utc>,
) -> Result<Option<CauseView>, Failure> {
    let alert = &records.alert;
    let judged = records.measure.as_deref().map(str::parse::<Measure>);
    let measure = match judged {
        Some(Ok(measure)) if measure.is_quality() => Some(measure),
        Some(Ok(measure)) if measure.is_drift() => None,
        _ => return Ok(None),
    };
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, session.project_id, &alert.model).await?;
    drop(conn);
    let end = alert.resolved_at.unwrap_or(now).min(alert.since + LONGEST);
    let question = Question {
        version: alert.version.clone(),
        measure,
        from: Some(alert.since),
        to: Some(end),
        ..Question::default()
    };
    let href = super::causes::address(&alert.model, &question);
    match causes::glance(services, &model, &question, now).await {
        Ok(Some(report)) => Ok(Some(CauseView::of(&report, &model.unit, href).short())),
        Ok(None) => Ok(Some(CauseView::in_the_making(href))),
        Err(Error::Invalid { .. } | Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The measure that the alert's rule judges, where it is one value of the whole model.
async fn chart(
    conn: &mut PgConnection,
    session: &Session,
    alert: &AlertRow,
) -> Result<(Option<Choice>, Option<ChartView>), Failure> {
    let Some(model_id) = alert.model_id else {
        return Ok((None, None));
    };
    let history = super::model::history(
        conn,
        session.project_id,
        (model_id, &alert.model, &alert.unit),
        alert.since - LEAD,
    )
    .await?;
    let Some(choice) = judged(&history, &alert.rule) else {
        return Ok((None, None));
    };
    let mut values = pages::series(
        conn,
        model_id,
        &choice.monitor,
        &choice.measure,
        &choice.grain,
        alert.since - LEAD,
    )
    .await?;
    // What came long after does not explain the alert, and another champion's limits would mislead.
    if let Some(resolved_at) = alert.resolved_at {
        values.retain(|value| value.window_start < resolved_at + TRAIL);
    }
    let chart = history.chart("judged", &choice, &values);
    Ok((Some(choice), chart))
}

fn judged(history: &History, rule: &str) -> Option<Choice> {
    let rule: &Rule = history.rules.iter().find(|r| r.name == rule)?;
    let Condition::Measured(condition) = &rule.condition else {
        return None;
    };
    Some(Choice {
        monitor: condition.monitor.clone(),
        grain: condition.grain.as_str().to_owned(),
        measure: condition.measures.first()?.as_str().to_owned(),
        alternatives: Vec::new(),
    })
}

/// Builds the page.
#[must_use]
pub fn alert_page(
    shell: Shell,
    records: &AlertRecords,
    may_operate: bool,
    now: DateTime<Utc>,
) -> AlertPage {
    let alert = &records.alert;
    let measure = records.measure.as_deref();
    let model_href = format!("/models/{}", path_segment(&alert.model));
    AlertPage {
        shell,
        may_operate,
        summary: alert.summary.clone(),
        severity: Badge::severity(&alert.severity),
        state: match alert.resolved_at {
            None => Badge::new("Open", Tone::of_severity(&alert.severity)),
            Some(_) => Badge::new("Resolved", Tone::Good),
        },
        model: alert.model.clone(),
        runs_action: format!("{model_href}/runs"),
        now_text: judged_value(alert.value, measure, &alert.unit),
        limit_text: judged_value(alert.threshold, measure, &alert.unit),
        condition: alert.condition.clone(),
        facts: times(alert, now),
        promises: (records.promises.iter())
            .filter(|of| of.promise.is_some())
            .map(PromiseLine::of)
            .collect(),
        rules_href: format!("{model_href}/rules"),
        next_step: text(&alert.explanation, "next_step").filter(|_| alert.resolved_at.is_none()),
        causes: causes(&alert.explanation),
        why: records.why.clone(),
        why_title: match measure.map(str::parse::<Measure>) {
            Some(Ok(measure)) if measure.is_drift() => "What labels say of it",
            _ => "Why quality was lost",
        },
        chart: records.chart.clone(),
        evidence: facts(&alert.evidence),
        runs: records
            .runs
            .iter()
            .map(|run| run_view(run, &records.run_records, now))
            .collect(),
        runbook: alert.runbook.clone(),
        runbook_text: alert.runbook_text.as_deref().map(markdown::render),
        events: event_lines(&records.events),
        deliveries: records
            .deliveries
            .iter()
            .map(|delivery| delivery_line(delivery, now))
            .collect(),
        model_href,
    }
}

fn times(alert: &AlertRow, now: DateTime<Utc>) -> Vec<Fact> {
    let fact = |name: &str, value: String| Fact {
        name: name.to_owned(),
        value,
    };
    let end = alert.resolved_at.unwrap_or(now);
    let mut facts = vec![
        fact(
            "Wrong since",
            format!(
                "{} ({})",
                wording::date_time(alert.since),
                wording::length(end - alert.since)
            ),
        ),
        fact("Alert opened", wording::date_time(alert.fired_at)),
    ];
    facts.push(match alert.resolved_at {
        Some(at) => fact("Resolved", wording::date_time(at)),
        None => fact("Last confirmed", wording::date_time(alert.last_seen_at)),
    });
    if let Some(version) = &alert.version {
        facts.push(fact("Version", version.clone()));
    }
    facts.push(fact("Rule", alert.rule.clone()));
    facts
}

/// A value on the scale of the measure that the alert's rule judges, or as a bare number.
fn judged_value(value: Option<f64>, measure: Option<&str>, unit: &str) -> String {
    let Some(value) = value else {
        return String::new();
    };
    match measure {
        Some(measure) => {
            let unit = wording::unit(measure, unit);
            format!("{} {unit}", wording::value(measure, value))
                .trim_end()
                .to_owned()
        }
        // How often, or how long.
        None if value.fract() == 0.0 => wording::count(value as i64),
        None => wording::number(value),
    }
}

fn causes(explanation: &Value) -> Vec<Cause> {
    let list = explanation
        .get("causes")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|cause| Cause {
            kind: wording::words(&text(cause, "kind").unwrap_or_default()),
            title: text(cause, "title").unwrap_or_else(|| "Unnamed cause".to_owned()),
            detail: text(cause, "detail").unwrap_or_default(),
        })
        .collect()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value
        .get(key)?
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The life of the alert. An alert that lasts is confirmed by every window: of many confirmations in a row the first and the
/// last are shown.
fn event_lines(events: &[AlertEvent]) -> Vec<EventLine> {
    let mut lines = Vec::new();
    for row in events.chunk_by(|a, b| a.kind == CONFIRMED && b.kind == CONFIRMED) {
        match row {
            [first, between @ .., last] if !between.is_empty() => {
                let mut last = event_line(last);
                last.text = format!("{}; and {} times in between", last.text, between.len());
                lines.extend([event_line(first), last]);
            }
            few => lines.extend(few.iter().map(event_line)),
        }
    }
    lines
}

/// The kind of an event that says that the alert goes on.
const CONFIRMED: &str = "seen";

fn event_line(event: &AlertEvent) -> EventLine {
    EventLine {
        at: wording::date_time(event.at),
        kind: wording::words(&event.kind),
        text: event.text.clone(),
        actor: event.actor.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_confirmations_in_a_row_the_first_and_the_last_are_shown() {
        let event = |kind: &str, text: &str| AlertEvent {
            at: DateTime::UNIX_EPOCH,
            kind: kind.to_owned(),
            text: text.to_owned(),
            actor: "bellwether".to_owned(),
        };
        let mut events = vec![event("opened", "o")];
        events.extend(["1", "2", "3", "4"].map(|text| event(CONFIRMED, text)));
        events.push(event("diagnosis", "d"));
        events.extend(["5", "6"].map(|text| event(CONFIRMED, text)));
        let told: Vec<String> = (event_lines(&events).into_iter())
            .map(|line| line.text)
            .collect();
        assert_eq!(told, ["o", "1", "4; and 2 times in between", "d", "5", "6"]);
        assert!(event_lines(&[]).is_empty());
    }
}
