//! Messages on their way: written to the outbox in the transaction that decided to tell somebody, sent by a
//! task that leases one at a time. A crash between sending and marking sends again with the same key.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::explain::Explanation;
use super::{Error, Services, configuration};
use crate::domain::definitions::Channel;
use crate::domain::ids::{DeliveryId, ProjectId, uuid_at};
use crate::domain::message::{Cause, CauseKind, Link, Message, NotifyReason};
use crate::domain::pipeline::SecretName;
use crate::domain::rule::Severity;
use crate::notify::email::{Email, Mailer};
use crate::notify::webhook::Webhook;
use crate::notify::{Notifier, Receipt, SendError};
use crate::outbound::Outbound;
use crate::storage::alerts::Alert;
use crate::storage::deliveries::{self, AttemptOutcome, Leased, NewDelivery};
use crate::storage::models::Model;
use crate::storage::runs::Run;

/// How long a sender may take before another one tries.
const LEASE: TimeDelta = TimeDelta::seconds(120);
/// How long a webhook may take to answer.
const WEBHOOK_TIME_OUT: Duration = Duration::from_secs(20);
/// The pause after the first failure; it doubles with each further one, up to [`LONGEST_PAUSE`]. Messages do
/// not expire: a receiver that is down for a night gets them in the morning.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// Finds the value of a secret by its name.
pub type SecretLookup = Arc<dyn Fn(&SecretName) -> Option<String> + Send + Sync>;

/// The ways out of the process.
#[derive(Clone)]
pub struct Outward {
    /// Nothing when no mail transport is configured.
    pub mailer: Option<Arc<Mailer>>,
    pub outbound: Outbound,
    pub secrets: SecretLookup,
}

impl std::fmt::Debug for Outward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outward")
            .field("mail", &self.mailer.is_some())
            .finish_non_exhaustive()
    }
}

/// What a message is about: a model, or the project itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub project_id: ProjectId,
    pub model: Option<&'a Model>,
}

impl<'a> From<&'a Model> for About<'a> {
    fn from(model: &'a Model) -> Self {
        Self {
            project_id: model.project_id,
            model: Some(model),
        }
    }
}

/// Writes the news of an alert to the outbox, one delivery per receiver.
#[expect(clippy::too_many_arguments, reason = "what a message is made of")]
pub(super) async fn announce(
    services: &Services,
    conn: &mut PgConnection,
    about: About<'_>,
    receivers: &[String],
    alert: &Alert,
    reason: NotifyReason,
    what: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let explanation: Explanation =
        serde_json::from_value(alert.explanation.clone()).unwrap_or_default();
    let message = Message {
        reason,
        severity: alert.severity,
        rule: Some(alert.rule.clone()),
        title: what.to_owned(),
        what: format!("{}: {what}.", alert.summary),
        how_bad: how_bad(alert),
        since: Some(alert.since),
        causes: explanation.causes,
        next_step: explanation.next_step,
        runbook: alert.runbook.clone(),
        links: links(services, about, Some(&format!("alerts/{}", alert.alert_id))),
        alert_id: Some(alert.alert_id),
        thread: alert.alert_id.to_string(),
        version: match about.model {
            Some(model) => version_name(conn, model, alert).await?,
            None => String::new(),
        },
        ..blank(conn, about, now).await?
    };
    enqueue(services, conn, about, receivers, &message, now).await
}

/// Writes the news of a run to the outbox.
#[derive(Debug, Clone)]
pub(super) struct RunNews<'a> {
    pub reason: NotifyReason,
    pub title: String,
    pub what: String,
    pub version: String,
    pub causes: Vec<Cause>,
    pub next_step: String,
    pub run: &'a Run,
}

/// Tells the receivers of the model's rules about a run.
pub(super) async fn announce_run(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    news: RunNews<'_>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut receivers: Vec<String> = Vec::new();
    for rule in configuration::rules(conn, model).await? {
        if rule.runbook.is_some() {
            receivers.extend(rule.receivers);
        }
    }
    receivers.sort_unstable();
    receivers.dedup();
    let page = match news.run.alert_id {
        Some(alert_id) => format!("alerts/{alert_id}"),
        None => format!("runs/{}", news.run.run_id),
    };
    let message = Message {
        reason: news.reason,
        severity: Severity::Warning,
        title: news.title,
        what: news.what,
        version: news.version,
        causes: news.causes,
        next_step: news.next_step,
        runbook: Some(news.run.runbook.clone()),
        links: links(services, model.into(), Some(&page)),
        alert_id: news.run.alert_id,
        thread: news
            .run
            .alert_id
            .map_or_else(|| news.run.run_id.to_string(), |id| id.to_string()),
        ..blank(conn, model.into(), now).await?
    };
    enqueue(services, conn, model.into(), &receivers, &message, now).await
}

async fn blank(
    conn: &mut PgConnection,
    about: About<'_>,
    now: DateTime<Utc>,
) -> Result<Message, Error> {
    Ok(Message {
        reason: NotifyReason::AlertOpened,
        project: crate::storage::models::project_name(conn, about.project_id).await?,
        model: (about.model).map_or_else(String::new, |model| model.name.clone()),
        version: String::new(),
        severity: Severity::Info,
        rule: None,
        title: String::new(),
        what: String::new(),
        how_bad: String::new(),
        since: None,
        at: now,
        causes: Vec::new(),
        next_step: String::new(),
        runbook: None,
        links: Vec::new(),
        alert_id: None,
        thread: String::new(),
        sequence: now.timestamp_micros(),
    })
}

async fn version_name(
    conn: &mut PgConnection,
    model: &Model,
    alert: &Alert,
) -> Result<String, Error> {
    let versions = crate::storage::models::versions(conn, model.model_id).await?;
    let named = versions
        .into_iter()
        .find(|version| Some(version.version_id) == alert.version_id);
    Ok(named.map(|version| version.name).unwrap_or_default())
}

fn how_bad(alert: &Alert) -> String {
    match (alert.value, alert.threshold) {
        (Some(value), Some(threshold)) if threshold > 0.0 && value > threshold => {
            format!("{:.2} times the limit", value / threshold)
        }
        _ => String::new(),
    }
}

fn links(services: &Services, about: About<'_>, page: Option<&str>) -> Vec<Link> {
    let base = services.public_url.trim_end_matches('/');
    let mut links = Vec::with_capacity(2);
    if let Some(page) = page {
        let text = if page.starts_with("alerts/") {
            "The alert, its runbook and the approval"
        } else {
            "The run"
        };
        links.push(Link {
            text: text.to_owned(),
            url: format!("{base}/{page}"),
        });
    }
    links.extend(about.model.map(|model| Link {
        text: "The model".to_owned(),
        url: format!("{base}/models/{}", model.name),
    }));
    links
}

async fn enqueue(
    services: &Services,
    conn: &mut PgConnection,
    about: About<'_>,
    receivers: &[String],
    message: &Message,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let body = serde_json::to_value(message).map_err(Error::internal)?;
    for name in receivers {
        let Some(receiver) = configuration::receiver(conn, about.project_id, name).await? else {
            tracing::error!(
                receiver = name,
                "a receiver that is to be told is not defined"
            );
            continue;
        };
        let channel = match receiver.channel {
            Channel::Email { .. } => "email",
            Channel::Webhook { .. } => "webhook",
        };
        let delivery = NewDelivery {
            delivery_id: DeliveryId::new(now),
            project_id: about.project_id,
            model_id: about.model.map(|model| model.model_id),
            alert_id: message.alert_id,
            receiver: name,
            channel,
            reason: message.reason.as_str(),
            severity: message.severity,
            message: &body,
        };
        deliveries::insert(conn, delivery, now).await?;
    }
    services.nudges.deliver.notify_one();
    Ok(())
}

/// Sends one due message. Returns whether there was one.
///
/// # Errors
/// When the database fails; a receiver that fails is tried again later.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let wall_now = services.wall.now();
    let lease_token = uuid_at(wall_now);
    let mut tx = services.pool.begin().await?;
    let leased = deliveries::lease(&mut tx, lease_token, now, wall_now, wall_now + LEASE).await?;
    tx.commit().await?;
    let Some(leased) = leased else {
        return Ok(false);
    };
    crate::faults::crash_point("delivery.claimed");
    let outcome = match send(services, &leased).await {
        Ok(receipt) => AttemptOutcome::Delivered {
            detail: receipt.detail,
        },
        Err(SendError::Permanent { cause }) => AttemptOutcome::Permanent { cause },
        Err(SendError::Retry { after, cause }) => AttemptOutcome::Retry {
            cause,
            not_before: now + pause(leased.attempts, after),
        },
    };
    crate::faults::crash_point("delivery.sent");
    let mut tx = services.pool.begin().await?;
    finish(&mut tx, &leased, lease_token, &outcome, now).await?;
    crate::faults::crash_point("delivery.before_mark");
    tx.commit().await?;
    crate::faults::crash_point("delivery.marked");
    Ok(true)
}

async fn finish(
    conn: &mut PgConnection,
    leased: &Leased,
    lease_token: Uuid,
    outcome: &AttemptOutcome,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if !deliveries::finish(conn, leased, lease_token, outcome, now).await? {
        tracing::warn!(delivery = %leased.delivery_id, "the lease of a delivery was lost while it was sent");
    }
    Ok(())
}

fn pause(attempts: i32, asked: Option<Duration>) -> TimeDelta {
    let doublings = attempts.saturating_sub(1).clamp(0, 16);
    let ours = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
    let asked = asked
        .and_then(|wait| TimeDelta::from_std(wait).ok())
        .unwrap_or_default();
    ours.max(asked)
}

async fn send(services: &Services, leased: &Leased) -> Result<Receipt, SendError> {
    let permanent = |cause: String| SendError::Permanent { cause };
    let message: Message = serde_json::from_value(leased.message.clone())
        .map_err(|error| permanent(error.to_string()))?;
    let channel = channel(services, leased.project_id, &leased.receiver).await?;
    let key = leased.delivery_id.to_string();
    // A signature's time is checked against the receiver's clock, so it is the machine's, not the replayed one.
    let now = services.wall.now();
    crate::faults::crash_point("delivery.before_send");
    match channel {
        Channel::Email { to } => {
            let mailer = services
                .outward
                .mailer
                .clone()
                .ok_or_else(|| SendError::Retry {
                    after: None,
                    cause: "no mail transport is configured: set [mail] in the configuration"
                        .to_owned(),
                })?;
            let email = Email::new(mailer, &to).map_err(|error| permanent(error.to_string()))?;
            email.send(&key, &message, now).await
        }
        Channel::Webhook { url, secret } => {
            let secret = (services.outward.secrets)(&secret).ok_or_else(|| {
                permanent(format!(
                    "the secret {secret} is not set in the service's environment"
                ))
            })?;
            let webhook = Webhook::new(
                services.outward.outbound.clone(),
                &url,
                &secret,
                WEBHOOK_TIME_OUT,
            )
            .map_err(|error| permanent(error.to_string()))?;
            webhook.send(&key, &message, now).await
        }
    }
}

async fn channel(
    services: &Services,
    project_id: ProjectId,
    receiver: &str,
) -> Result<Channel, SendError> {
    let retry = |cause: String| SendError::Retry { after: None, cause };
    let mut conn = services
        .pool
        .acquire()
        .await
        .map_err(|error| retry(error.to_string()))?;
    let found = configuration::receiver(&mut conn, project_id, receiver)
        .await
        .map_err(|e| retry(e.to_string()))?;
    found
        .map(|receiver| receiver.channel)
        .ok_or_else(|| SendError::Permanent {
            cause: format!("receiver {receiver:?} is not defined any more"),
        })
}

/// A cause that is a change of the model's champion.
pub(super) fn change_cause(title: String, detail: String) -> Cause {
    Cause {
        kind: CauseKind::RecentChange,
        title,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_respect_the_receiver() {
        let seconds = |attempts, asked| pause(attempts, asked).num_seconds();
        assert_eq!(
            [1, 2, 3, 7, 100].map(|n| seconds(n, None)),
            [5, 10, 20, 300, 300]
        );
        assert_eq!(seconds(1, Some(Duration::from_secs(60))), 60);
        assert_eq!(seconds(7, Some(Duration::from_secs(60))), 300);
    }
}
