//! All alerts, open ones first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::services::Services;
use crate::storage::pages::{self, AlertRow};
use crate::web::answer::{Failure, page};
use crate::web::frame::{Section, Shell};
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::Visitor;
use crate::web::wording;

/// The list of alerts.
#[derive(Debug, Template)]
#[template(path = "pages/alerts/list.html", escape = "page")]
pub struct AlertsPage {
    pub shell: Shell,
    pub open_only: bool,
    pub alerts: Vec<AlertLine>,
}

/// An alert in a list.
#[derive(Debug, Clone)]
pub struct AlertLine {
    pub href: String,
    /// Empty of an alert of the project itself.
    pub model: String,
    pub summary: String,
    pub severity: Badge,
    pub state: Badge,
    pub since: String,
    pub lasted: String,
    pub open: bool,
}

#[derive(Debug, Deserialize)]
pub struct Filter {
    show: Option<String>,
}

/// `GET /alerts`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Failure> {
    let now = services.clock.now();
    let mut conn = services.pool.acquire().await?;
    let shell = Shell::load(&mut conn, &services, &visitor.0, Section::Alerts, "Alerts").await?;
    let open_only = filter.show.as_deref() == Some("open");
    let alerts = pages::alerts(&mut conn, visitor.0.project_id, open_only).await?;
    page(&AlertsPage {
        shell,
        open_only,
        alerts: alerts.iter().map(|alert| line(alert, now)).collect(),
    })
}

/// An alert as lists show it.
#[must_use]
pub fn line(alert: &AlertRow, now: DateTime<Utc>) -> AlertLine {
    let end = alert.resolved_at.unwrap_or(now);
    AlertLine {
        href: format!("/alerts/{}", alert.alert_id),
        model: alert.model.clone(),
        summary: alert.summary.clone(),
        severity: Badge::severity(&alert.severity),
        state: match alert.resolved_at {
            None => Badge::new("Open", Tone::of_severity(&alert.severity)),
            Some(_) => Badge::new("Resolved", Tone::Good),
        },
        since: wording::date(alert.since),
        lasted: wording::length(end - alert.since),
        open: alert.resolved_at.is_none(),
    }
}
