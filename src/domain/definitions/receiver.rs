//! The smaller objects: the project, who is told, and which pipelines there are.

use serde::{Deserialize, Serialize};

use super::fields::{self, Fields, Located};
use super::problem::Sink;
use super::yaml::Node;
use crate::domain::pipeline::{PipelineDef, SecretName};
use crate::domain::retention::Wishes;

/// Settings of the project itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDef {
    pub name: String,
    /// Whether data of an unknown model or version registers it, rather than being refused.
    pub auto_register: bool,
    /// Who is told of alerts that are about the project itself: of what went over its caps.
    #[serde(default)]
    pub receivers: Vec<String>,
    /// How long what is kept, where that is not up to the service.
    #[serde(default)]
    pub retention: Wishes,
}

/// Somebody, or something, that is told about alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverDef {
    pub name: String,
    #[serde(flatten)]
    pub channel: Channel,
}

/// How a receiver is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email {
        to: Vec<String>,
    },
    /// A signed call (Standard Webhooks).
    Webhook {
        url: String,
        secret: SecretName,
    },
}

/// A project whose receivers have still to be looked up.
#[derive(Debug)]
pub(super) struct ProjectDraft {
    pub project: ProjectDef,
    pub receivers: Vec<Located<String>>,
}

pub(super) const PROJECT_KEYS: &[&str] = &["name", "auto_register", "receivers", "retention"];
pub(super) const RETENTION_KEYS: &[&str] =
    &["raw_days", "profile_days", "measurement_days", "archive"];
pub(super) const RECEIVER_KEYS: &[&str] = &["name", "email", "webhook"];
pub(super) const EMAIL_KEYS: &[&str] = &["to"];
pub(super) const WEBHOOK_KEYS: &[&str] = &["url", "secret"];
pub(super) const PIPELINE_KEYS: &[&str] = &[
    "name",
    "url",
    "token",
    "secret",
    "idempotent",
    "timeout",
    "poll",
];

/// A century.
const MOST_DAYS: u32 = 36_500;
const DEFAULT_TIMEOUT_SECONDS: u64 = 86_400;
const DEFAULT_POLL_SECONDS: u64 = 30;

/// Reads `project`.
pub(super) fn read_project(
    node: &Node,
    sink: &mut Sink,
) -> (Option<Located<String>>, Option<ProjectDraft>) {
    let Some(f) = Fields::read(node, "the project", PROJECT_KEYS, sink) else {
        return (None, None);
    };
    let name = f.required("name", sink, fields::name);
    let auto_register = f.optional("auto_register", sink, fields::flag);
    let receivers = f.items("receivers", sink, fields::located_text);
    let retention = f.optional("retention", sink, read_retention);
    let project = name.as_ref().zip(receivers).map(|(name, receivers)| {
        let project = ProjectDef {
            name: name.value.clone(),
            auto_register: auto_register.unwrap_or(false),
            receivers: receivers.iter().map(|r| r.value.clone()).collect(),
            retention: retention.unwrap_or_default(),
        };
        ProjectDraft { project, receivers }
    });
    (name, project)
}

fn read_retention(node: &Node, sink: &mut Sink) -> Option<Wishes> {
    let f = Fields::read(node, "retention", RETENTION_KEYS, sink)?;
    let mut days = |key| f.optional(key, sink, fields::whole(1, MOST_DAYS));
    let wishes = Wishes {
        raw_days: days("raw_days"),
        profile_days: days("profile_days"),
        measurement_days: days("measurement_days"),
        archive: f.optional("archive", sink, fields::flag),
    };
    let raw = wishes.raw_days.unwrap_or(0);
    let shorter = [
        ("profile_days", wishes.profile_days),
        ("measurement_days", wishes.measurement_days),
    ];
    for (key, days) in shorter {
        if let (Some(days), Some(node)) = (days.filter(|days| *days < raw), f.get(key)) {
            sink.note(
                node.place,
                format!("{days} is less than `raw_days` ({raw}): what is made of raw rows is kept at least as long"),
            );
        }
    }
    Some(wishes)
}

/// Reads one item of `receivers`.
pub(super) fn read_receiver(
    node: &Node,
    sink: &mut Sink,
) -> (Option<Located<String>>, Option<ReceiverDef>) {
    let Some(f) = Fields::read(node, "a receiver", RECEIVER_KEYS, sink) else {
        return (None, None);
    };
    let name = f.required("name", sink, fields::name);
    let channel = match (f.get("email"), f.get("webhook")) {
        (Some(node), None) => email(node, sink),
        (None, Some(node)) => webhook(node, sink),
        _ => {
            sink.note(f.place, "a receiver needs either `email` or `webhook`");
            None
        }
    };
    let receiver = name
        .as_ref()
        .zip(channel)
        .map(|(name, channel)| ReceiverDef {
            name: name.value.clone(),
            channel,
        });
    (name, receiver)
}

fn email(node: &Node, sink: &mut Sink) -> Option<Channel> {
    let f = Fields::read(node, "an email receiver", EMAIL_KEYS, sink)?;
    let to = f.required("to", sink, |n, s| fields::items(n, s, email_address))?;
    if to.is_empty() {
        sink.note(
            f.place,
            "an email receiver needs at least one address in `to`",
        );
        return None;
    }
    Some(Channel::Email { to })
}

/// An address that can be an e-mail address. Whether it is one, only a mail can tell.
fn email_address(node: &Node, sink: &mut Sink) -> Option<String> {
    let written = fields::text(node, sink)?;
    let plausible = written.split_once('@').is_some_and(|(local, domain)| {
        let plain = |text: &str| {
            !text.is_empty()
                && !text
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || "<>,;\"@".contains(c))
        };
        plain(local)
            && plain(domain)
            && written.len() <= 254
            && domain
                .split('.')
                .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
    });
    if !plausible {
        sink.note(
            node.place,
            format!("`{written}` is not an e-mail address such as `oncall@example.org`"),
        );
        return None;
    }
    Some(written)
}

fn webhook(node: &Node, sink: &mut Sink) -> Option<Channel> {
    let f = Fields::read(node, "a webhook receiver", WEBHOOK_KEYS, sink)?;
    let url = f.required("url", sink, fields::web_address);
    let secret = f.required("secret", sink, fields::secret);
    Some(Channel::Webhook {
        url: url?,
        secret: secret?,
    })
}

/// Reads one item of `pipelines`.
pub(super) fn read_pipeline(
    node: &Node,
    sink: &mut Sink,
) -> (Option<Located<String>>, Option<PipelineDef>) {
    let Some(f) = Fields::read(node, "a pipeline", PIPELINE_KEYS, sink) else {
        return (None, None);
    };
    let name = f.required("name", sink, fields::name);
    let url = f.required("url", sink, fields::web_address);
    let token_env = f.optional("token", sink, fields::secret);
    let secret_env = f.optional("secret", sink, fields::secret);
    let idempotent = f.optional("idempotent", sink, fields::flag);
    let length = |node: &Node, sink: &mut Sink| fields::seconds(node, sink).map(i64::unsigned_abs);
    let timeout_seconds = f.optional("timeout", sink, length);
    let poll_seconds = f.optional("poll", sink, length);
    let pipeline = name.as_ref().zip(url).map(|(name, url)| PipelineDef {
        name: name.value.clone(),
        url,
        token_env,
        secret_env,
        idempotent: idempotent.unwrap_or(false),
        timeout_seconds: timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS),
        poll_seconds: poll_seconds.unwrap_or(DEFAULT_POLL_SECONDS),
    });
    (name, pipeline)
}
