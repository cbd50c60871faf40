//! Alerts about a project itself: its senders make up more than a cap has room for.
//!
//! There is one for each cap of a project and not one for each model, feature or day: it opens with the first that
//! is counted, is confirmed by every day on which more is, and is over after a whole day (UTC) without. A sender that
//! makes up a million names is one alert. It has no rule in a file, because a project that nobody has configured has
//! caps as well; who is told of it is up to the project, and nobody is where it names no receivers.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::note;
use crate::domain::alert::{Change, Observation, Patience, RuleState, Verdict, step};
use crate::domain::ids::{AlertId, ProjectId};
use crate::domain::message::NotifyReason;
use crate::domain::rule::Severity;
use crate::domain::window::{Grain, Window};
use crate::services::delivery::{self, About};
use crate::services::explain::Explanation;
use crate::services::{Error, Services};
use crate::storage::alerts::{self, Alert};
use crate::storage::models;
use crate::storage::overflow::{self, OverflowKind};

/// One day tells, both ways.
const PATIENCE: Patience = Patience {
    windows: 1,
    resolve_windows: 1,
};
/// How many models are named of those that went over a cap.
const NAMED: i64 = 3;

/// A day and what went over one cap of a project on it.
type Day = (Window, i64);

/// Steps the caps of every project of which something went over one lately, or of which an alert is open. Returns
/// whether anything changed.
///
/// # Errors
/// When the database fails.
pub(super) async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let today = Grain::Day.window_at(now);
    let yesterday = today.previous();
    let mut conn = services.pool.acquire().await?;
    let days = overflow::days(&mut conn, yesterday.start).await?;
    let open = alerts::open_of_projects(&mut conn).await?;
    drop(conn);
    let kind_of = |rule: &str| {
        OverflowKind::ALL
            .into_iter()
            .find(|kind| named(*kind) == rule)
    };
    let mut caps: BTreeSet<(ProjectId, OverflowKind)> =
        days.iter().map(|day| (day.project_id, day.kind)).collect();
    caps.extend((open.iter()).filter_map(|(project, rule)| Some((*project, kind_of(rule)?))));
    let mut changed = false;
    for (project_id, kind) in caps {
        let on = |window: Window| {
            let of_day = days
                .iter()
                .find(|d| (d.project_id, d.kind, d.day) == (project_id, kind, window.start));
            (window, of_day.map_or(0, |day| day.rows))
        };
        changed |= step_cap(services, project_id, kind, [on(yesterday), on(today)], now).await?;
    }
    Ok(changed)
}

/// What alerts about a cap have in the place of a rule's name, which no rule can have.
fn named(kind: OverflowKind) -> String {
    format!("limit({})", kind.as_str())
}

async fn step_cap(
    services: &Services,
    project_id: ProjectId,
    kind: OverflowKind,
    days: [Day; 2],
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let mut tx = services.pool.begin().await?;
    // Another replica looks at the same days.
    models::lock_project(&mut tx, project_id).await?;
    let open = alerts::open_of_project(&mut tx, project_id, &named(kind)).await?;
    let state = open.as_ref().map_or(RuleState::Inactive, |alert| {
        let last_seen_at = Grain::Day.window_at(alert.last_seen_at).end;
        RuleState::Firing {
            since: alert.since,
            fired_at: alert.fired_at,
            last_seen_at,
        }
    });
    let observations = days.map(|day| observed(day, now));
    let transition = step(state, &observations, PATIENCE, now);
    let told = match (transition.change, open) {
        (Change::Opened { value, .. }, None) => {
            let text = condition(&mut tx, project_id, kind, days).await?;
            Some(opened(&mut tx, project_id, (kind, value), text, days, now).await?)
        }
        (Change::Seen { value, .. }, Some(alert)) => {
            let text = condition(&mut tx, project_id, kind, days).await?;
            alerts::mark_seen(&mut tx, alert.alert_id, value, &alert.evidence, now).await?;
            note(&mut tx, alert.alert_id, "seen", &text, now).await?;
            None
        }
        (Change::Resolved { .. }, Some(alert)) => {
            alerts::mark_resolved(&mut tx, alert.alert_id, now).await?;
            let text = format!(
                "nothing went over the cap on {}",
                days[0].0.start.format("%Y-%m-%d")
            );
            note(&mut tx, alert.alert_id, "resolved", &text, now).await?;
            Some((alert, NotifyReason::AlertResolved, text))
        }
        _ => return Ok(false),
    };
    if let Some((alert, reason, what)) = told {
        let receivers = models::project_receivers(&mut tx, project_id).await?;
        let about = About {
            project_id,
            model: None,
        };
        delivery::announce(
            services, &mut tx, about, &receivers, &alert, reason, &what, now,
        )
        .await?;
    }
    tx.commit().await?;
    services.nudges.deliver.notify_one();
    Ok(true)
}

/// A day that is not over may still bring something.
#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn observed((day, rows): Day, now: DateTime<Utc>) -> Observation {
    let (value, threshold) = (rows as f64, 0.0);
    Observation {
        start: day.start,
        end: day.end,
        verdict: match rows {
            0 if now < day.end => Verdict::Insufficient,
            0 => Verdict::Fine { value, threshold },
            _ => Verdict::Breach { value, threshold },
        },
    }
}

async fn opened(
    conn: &mut PgConnection,
    project_id: ProjectId,
    (kind, value): (OverflowKind, f64),
    condition: String,
    days: [Day; 2],
    now: DateTime<Utc>,
) -> Result<(Alert, NotifyReason, String), Error> {
    let told = words(kind);
    let explanation = Explanation {
        causes: Vec::new(),
        next_step: told.next_step.to_owned(),
    };
    let first = days.iter().find(|(_, rows)| *rows > 0);
    let alert = Alert {
        alert_id: AlertId::new(now),
        project_id,
        model_id: None,
        version_id: None,
        rule: named(kind),
        severity: told.severity,
        summary: told.summary.to_owned(),
        condition: condition.clone(),
        since: first.map_or(now, |(day, _)| day.start),
        fired_at: now,
        last_seen_at: now,
        resolved_at: None,
        value: Some(value),
        threshold: None,
        evidence: serde_json::json!([]),
        explanation: serde_json::to_value(&explanation).map_err(Error::internal)?,
        runbook: None,
        late: false,
    };
    alerts::insert(conn, &alert).await?;
    note(conn, alert.alert_id, "opened", &condition, now).await?;
    Ok((alert, NotifyReason::AlertOpened, condition))
}

/// What went over the cap on the newest of the days, and of which models most of it.
async fn condition(
    conn: &mut PgConnection,
    project_id: ProjectId,
    kind: OverflowKind,
    days: [Day; 2],
) -> Result<String, Error> {
    let newest = days.iter().rev().find(|(_, rows)| *rows > 0);
    let (day, rows) = newest.copied().unwrap_or(days[1]);
    let worst = overflow::worst_models(conn, project_id, kind, day.start, NAMED).await?;
    let models: Vec<String> = (worst.into_iter())
        .map(|(name, rows)| format!("{name} ({rows})"))
        .collect();
    let of = match models.as_slice() {
        [] => String::new(),
        models => format!(", most of {}", models.join(", ")),
    };
    let date = day.start.format("%Y-%m-%d");
    Ok(format!("{rows} {} on {date}{of}", words(kind).counted))
}

/// How people are told of a cap.
struct Words {
    severity: Severity,
    summary: &'static str,
    /// What is counted, and what became of it.
    counted: &'static str,
    next_step: &'static str,
}

fn words(kind: OverflowKind) -> Words {
    let (summary, counted, next_step) = match kind {
        OverflowKind::Models => (
            "More models than the project has room for",
            "uploads for models that could not be registered",
            "Find out which sender makes up names of models: the audit log has the first of each day.",
        ),
        OverflowKind::Versions => (
            "More versions than a model has room for",
            "rows refused because their version could not be registered",
            "Find out what the sender gives as version: often it is an id of the build or of the request.",
        ),
        OverflowKind::Features => (
            "More features than a model has room for",
            "values of features dropped",
            "Look for an id or a time that is sent as the name of a feature.",
        ),
        OverflowKind::SegmentValues => (
            "More values than a segment has room for",
            "rows counted under no value of their segment",
            "Look for an id that is declared as a segment; slice by something that has few values.",
        ),
        OverflowKind::Categories => (
            "More categories than a feature has room for",
            "rows whose category is counted together with others",
            "Look for an id or free text among the categories; leave it out, or expect `categories: any` of it.",
        ),
        OverflowKind::Texts => (
            "Texts longer than are taken",
            "rows refused because a text in them is too long",
            "The sender's answers name line and field of each row; have it send less of the text, or a hash.",
        ),
    };
    let severity = match kind {
        // Nothing is lost by it.
        OverflowKind::Categories => Severity::Info,
        _ => Severity::Warning,
    };
    Words {
        severity,
        summary,
        counted,
        next_step,
    }
}
