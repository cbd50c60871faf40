//! Channels: how a stored [`Message`] reaches people and machines. A notifier sends one delivery once and says
//! whether trying again makes sense; when, and how often, is decided by whoever holds the outbox, so that
//! there is one retry schedule and it survives a restart. A delivery can be sent twice (the process may die
//! between the sending and the record of it), so every channel carries the delivery's key.
//!
//! [`outbound`] is also how pipelines are called: it is the program's one HTTP client that leaves the machine.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::domain::message::Message;

#[cfg(test)]
mod conformance;
pub mod email;
mod mail;
pub mod webhook;

/// A way to reach somebody.
pub trait Notifier: Send + Sync {
    /// Sends `message` once. `delivery_key` is the same on every attempt, so that the receiver can tell a
    /// repetition. It returns within the channel's time-out.
    fn send<'a>(
        &'a self,
        delivery_key: &'a str,
        message: &'a Message,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

/// The other side has taken the message over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What it said, for the record of the attempt.
    pub detail: String,
}

/// The message was not taken over, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may work later.
    #[error("{cause}")]
    Retry {
        /// Not before this long, if the other side said so; at most [`LONGEST_WAIT`](crate::outbound::LONGEST_WAIT).
        after: Option<Duration>,
        cause: String,
    },
    /// It will not work until somebody changes something.
    #[error("{cause}")]
    Permanent { cause: String },
}
