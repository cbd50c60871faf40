//! Alerts with their history, and the messages that told people of them.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Authorised, Read};
use super::bodies::{Path, Query};
use super::moments::{self, ListQuery};
use super::names::Names;
use super::problem::Problem;
use crate::domain::ids::{AlertId, DeliveryId, RunId};
use crate::domain::rule::Severity;
use crate::services::{Error, Services};
use crate::storage::alerts::{self as stored, Alert, RecordedEvent};
use crate::storage::deliveries::{self, Delivery};

/// Which alerts are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// Whether only open ones are wanted.
    #[serde(default)]
    open: bool,
    /// At most so many, from 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

/// An alert.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertView {
    pub alert_id: AlertId,
    /// Nothing of an alert about the project itself.
    pub model: Option<String>,
    pub version: Option<String>,
    pub rule: String,
    pub severity: Severity,
    /// What is wrong, in one line.
    pub summary: String,
    /// What the rule asks.
    pub condition: String,
    /// Since when the data speak for it.
    pub since: DateTime<Utc>,
    pub fired_at: DateTime<Utc>,
    /// The end of the newest window that confirmed it.
    pub last_seen_at: DateTime<Utc>,
    /// Nothing while it is open.
    pub resolved_at: Option<DateTime<Utc>>,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub runbook: Option<String>,
    /// Whether it opened because of a window that had ended long before, so that nobody has been told of it.
    pub late: bool,
}

impl AlertView {
    fn new(alert: Alert, names: &Names) -> Self {
        Self {
            alert_id: alert.alert_id,
            model: alert.model_id.map(|id| names.model(id)),
            version: alert.version_id.and_then(|id| names.version(id)),
            rule: alert.rule,
            severity: alert.severity,
            summary: alert.summary,
            condition: alert.condition,
            since: alert.since,
            fired_at: alert.fired_at,
            last_seen_at: alert.last_seen_at,
            resolved_at: alert.resolved_at,
            value: alert.value,
            threshold: alert.threshold,
            runbook: alert.runbook,
            late: alert.late,
        }
    }
}

/// An alert with what led to it and what followed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertDetail {
    #[serde(flatten)]
    pub alert: AlertView,
    /// The windows that speak for it.
    pub evidence: serde_json::Value,
    /// Probable causes and the next step.
    pub explanation: serde_json::Value,
    /// What happened, oldest first.
    pub events: Vec<AlertEventView>,
    /// The runs it started.
    pub runs: Vec<RunId>,
}

/// One step of an alert's life.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AlertEventView {
    /// From 1, without gaps.
    pub sequence: i32,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub text: String,
    pub detail: serde_json::Value,
    pub actor: String,
}

impl From<RecordedEvent> for AlertEventView {
    fn from(event: RecordedEvent) -> Self {
        Self {
            sequence: event.sequence,
            at: event.at,
            kind: event.kind,
            text: event.text,
            detail: event.detail,
            actor: event.actor,
        }
    }
}

/// The alerts of the project, newest first.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", security(("token" = ["read"])), params(AlertsQuery),
    responses((status = 200, description = "The alerts", body = [AlertView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<AlertsQuery>,
) -> Result<Json<Vec<AlertView>>, Problem> {
    let limit = moments::limit(query.limit, moments::USUAL_LIMIT, moments::HIGHEST_LIMIT)?;
    let project_id = caller.principal.project_id;
    let mut conn = services.pool.acquire().await?;
    let alerts = stored::list(&mut conn, project_id, query.open, limit).await?;
    let names = Names::of(&mut conn, project_id).await?;
    let views = alerts
        .into_iter()
        .map(|alert| AlertView::new(alert, &names));
    Ok(Json(views.collect()))
}

/// An alert with its history and the runs it started.
#[utoipa::path(
    get, path = "/alerts/{alert_id}", tag = "alerts", security(("token" = ["read"])),
    params(("alert_id" = AlertId, Path)),
    responses((status = 200, description = "The alert", body = AlertDetail))
)]
pub async fn show(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(alert_id): Path<AlertId>,
) -> Result<Json<AlertDetail>, Problem> {
    let project_id = caller.principal.project_id;
    let mut conn = services.pool.acquire().await?;
    let alert = stored::find(&mut conn, project_id, alert_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("alert {alert_id}")))?;
    let events = stored::events(&mut conn, alert_id).await?;
    let runs = stored::run_ids(&mut conn, alert_id).await?;
    let names = Names::of(&mut conn, project_id).await?;
    Ok(Json(AlertDetail {
        evidence: alert.evidence.clone(),
        explanation: alert.explanation.clone(),
        alert: AlertView::new(alert, &names),
        events: events.into_iter().map(AlertEventView::from).collect(),
        runs,
    }))
}

/// A message to a receiver.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    pub delivery_id: DeliveryId,
    pub alert_id: Option<AlertId>,
    pub receiver: String,
    pub channel: String,
    /// Why it was sent.
    pub reason: String,
    pub severity: Severity,
    /// What it says.
    pub message: serde_json::Value,
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub attempts: i32,
    /// Why the last attempt failed.
    pub cause: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            delivery_id: delivery.delivery_id,
            alert_id: delivery.alert_id,
            receiver: delivery.receiver,
            channel: delivery.channel,
            reason: delivery.reason,
            severity: delivery.severity,
            message: delivery.message,
            state: delivery.state,
            created_at: delivery.created_at,
            delivered_at: delivery.delivered_at,
            attempts: delivery.attempts,
            cause: delivery.cause,
        }
    }
}

/// The messages of the project, newest first.
#[utoipa::path(
    get, path = "/deliveries", tag = "alerts", security(("token" = ["read"])), params(ListQuery),
    responses((status = 200, description = "The messages", body = [DeliveryView]))
)]
pub async fn deliveries(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<DeliveryView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let project_id = caller.principal.project_id;
    let deliveries = deliveries::list(&mut conn, project_id, query.limit()?).await?;
    let views = deliveries.into_iter().map(DeliveryView::from);
    Ok(Json(views.collect()))
}
