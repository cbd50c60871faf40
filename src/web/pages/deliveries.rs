//! Messages that went out: which, to whom, and what became of each attempt.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::ids::DeliveryId;
use crate::services::{Error, Services};
use crate::storage::pages::{self, AttemptRow, DeliveryRow};
use crate::web::answer::{Failure, page};
use crate::web::evidence::facts;
use crate::web::frame::{Section, Shell};
use crate::web::run_view::Fact;
use crate::web::tone::Badge;
use crate::web::visitor::Visitor;
use crate::web::wording;

/// The list of deliveries.
#[derive(Debug, Template)]
#[template(path = "pages/deliveries/list.html", escape = "page")]
pub struct DeliveriesPage {
    pub shell: Shell,
    pub deliveries: Vec<DeliveryLine>,
}

/// A delivery in a list.
#[derive(Debug, Clone)]
pub struct DeliveryLine {
    pub href: String,
    pub subject: String,
    pub receiver: String,
    pub channel: String,
    pub reason: String,
    pub state: Badge,
    pub created: String,
    pub note: String,
}

/// One delivery.
#[derive(Debug, Template)]
#[template(path = "pages/deliveries/delivery.html", escape = "page")]
pub struct DeliveryPage {
    pub shell: Shell,
    pub line: DeliveryLine,
    pub alert: Option<(String, String)>,
    pub headers: Vec<Fact>,
    pub body: Option<String>,
    pub rest: Vec<Fact>,
    pub attempts: Vec<AttemptLine>,
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct AttemptLine {
    pub number: i32,
    pub started: String,
    pub took: String,
    pub outcome: Badge,
    pub detail: String,
}

/// `GET /deliveries`
pub async fn list(State(services): State<Services>, visitor: Visitor) -> Result<Response, Failure> {
    let mut conn = services.pool.acquire().await?;
    let shell = Shell::load(
        &mut conn,
        &services,
        &visitor.0,
        Section::Deliveries,
        "Deliveries",
    )
    .await?;
    let now = services.clock.now();
    let deliveries = pages::deliveries(&mut conn, visitor.0.project_id).await?;
    page(&DeliveriesPage {
        shell,
        deliveries: deliveries.iter().map(|d| delivery_line(d, now)).collect(),
    })
}

/// `GET /deliveries/{id}`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let mut conn = services.pool.acquire().await?;
    let id: DeliveryId = id.parse().map_err(|_| Failure::page_not_found())?;
    let row = pages::delivery(&mut conn, visitor.0.project_id, id)
        .await?
        .ok_or_else(|| Error::not_found("this delivery"))?;
    let attempts = pages::attempts(&mut conn, id).await?;
    let line = delivery_line(&row, services.clock.now());
    let shell = Shell::load(
        &mut conn,
        &services,
        &visitor.0,
        Section::Deliveries,
        &line.subject,
    )
    .await?;
    page(&DeliveryPage {
        shell,
        alert: row.alert_id.map(|id| {
            (
                format!("/alerts/{id}"),
                row.alert_summary.clone().unwrap_or_default(),
            )
        }),
        headers: headers(&row),
        body: body(&row.message),
        rest: rest(&row.message),
        attempts: attempts.iter().map(attempt_line).collect(),
        line,
    })
}

/// A delivery as lists show it.
#[must_use]
pub fn delivery_line(row: &DeliveryRow, now: DateTime<Utc>) -> DeliveryLine {
    let subject = row
        .message
        .get("subject")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .or_else(|| row.alert_summary.clone())
        .unwrap_or_else(|| wording::words(&row.reason));
    DeliveryLine {
        href: format!("/deliveries/{}", row.delivery_id),
        subject,
        receiver: row.receiver.clone(),
        channel: row.channel.clone(),
        reason: wording::words(&row.reason),
        state: Badge::state(&row.state),
        created: wording::date_time(row.created_at),
        note: note(row, now),
    }
}

fn note(row: &DeliveryRow, now: DateTime<Utc>) -> String {
    let attempts = match row.attempts {
        0 => "not tried yet".to_owned(),
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    match (row.state.as_str(), &row.cause) {
        ("delivered", _) => attempts,
        ("waiting", Some(cause)) => {
            format!(
                "{attempts}, next {}: {cause}",
                wording::ago(row.not_before, now)
            )
        }
        (_, Some(cause)) => format!("{attempts}: {cause}"),
        (_, None) => attempts,
    }
}

fn headers(row: &DeliveryRow) -> Vec<Fact> {
    let fact = |name: &str, value: String| Fact {
        name: name.to_owned(),
        value,
    };
    let to = row.message.get("to").and_then(|to| match to {
        Value::String(address) => Some(address.clone()),
        Value::Array(all) => Some(
            all.iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        ),
        _ => None,
    });
    let mut out = vec![
        fact("Receiver", row.receiver.clone()),
        fact("Channel", row.channel.clone()),
    ];
    out.extend(to.map(|to| fact("To", to)));
    out.push(fact("Because", wording::words(&row.reason)));
    out.extend(row.model.clone().map(|model| fact("Model", model)));
    out.push(fact("Written", wording::date_time(row.created_at)));
    out.extend(
        row.delivered_at
            .map(|at| fact("Delivered", wording::date_time(at))),
    );
    out
}

/// Under which names the text of a message may stand.
const BODIES: [&str; 4] = ["text", "body_text", "body", "plain"];

/// Parts of a message that the page shows in their own place, or that repeat the text as markup.
const SHOWN_ELSEWHERE: [&str; 4] = ["subject", "to", "html", "body_html"];

fn body(message: &Value) -> Option<String> {
    BODIES
        .iter()
        .find_map(|name| message.get(name)?.as_str())
        .map(str::to_owned)
}

fn rest(message: &Value) -> Vec<Fact> {
    let mut rest = message.clone();
    if let Some(parts) = rest.as_object_mut() {
        parts.retain(|name, _| {
            !BODIES.contains(&name.as_str()) && !SHOWN_ELSEWHERE.contains(&name.as_str())
        });
    }
    facts(&rest)
}

fn attempt_line(row: &AttemptRow) -> AttemptLine {
    AttemptLine {
        number: row.attempt,
        started: wording::date_time(row.started_at),
        took: row
            .finished_at
            .map(|end| wording::length(end - row.started_at))
            .unwrap_or_default(),
        outcome: Badge::state(&row.outcome),
        detail: row.detail.clone(),
    }
}
