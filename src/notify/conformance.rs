//! What every notifier must do, whatever it speaks: the same table runs against each, over real sockets.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{Notifier, SendError};
use crate::domain::message::tests::{example, hostile};
use crate::domain::message::{Message, NotifyReason};

/// How the other side behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Takes,
    /// Says that it cannot for the moment.
    NotNow,
    /// Says that it never will.
    Never,
    /// Takes the connection and says nothing.
    Silent,
    /// Does not listen.
    Absent,
    /// Says far more than anybody asked.
    Babbles,
}

/// What must come of it.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Delivered,
    Retry,
    Permanent,
    /// Depends on whether the channel has its answer before the babble; but it must not give up.
    NotPermanent,
}

/// What the other side got of one message.
#[derive(Debug)]
pub(super) struct Received {
    /// By what a receiver can tell a repetition.
    pub(super) identity: String,
    pub(super) size: usize,
    /// Names of the headers, in lower case.
    pub(super) headers: Vec<String>,
}

/// A notifier under test, with its other side.
pub(super) trait Channel {
    async fn facing(&self, behaviour: Behaviour) -> Box<dyn Notifier>;
    /// Everything that was taken so far, in order.
    async fn received(&self) -> Vec<Received>;
}

const TABLE: [(&str, Behaviour, Outcome); 6] = [
    ("taken", Behaviour::Takes, Outcome::Delivered),
    ("not for the moment", Behaviour::NotNow, Outcome::Retry),
    ("refused for good", Behaviour::Never, Outcome::Permanent),
    ("no answer in time", Behaviour::Silent, Outcome::Retry),
    ("nobody listens", Behaviour::Absent, Outcome::Retry),
    ("oversize answer", Behaviour::Babbles, Outcome::NotPermanent),
];

/// Runs the table, then sends a message of hostile texts, and one message twice.
pub(super) async fn check(channel: &impl Channel) {
    for (name, behaviour, expected) in TABLE {
        let started = Instant::now();
        let notifier = channel.facing(behaviour).await;
        let sent = notifier
            .send("key-1", &example(NotifyReason::AlertOpened), now())
            .await;
        let met = match expected {
            Outcome::Delivered => sent.is_ok(),
            Outcome::Retry => matches!(sent, Err(SendError::Retry { .. })),
            Outcome::Permanent => matches!(sent, Err(SendError::Permanent { .. })),
            Outcome::NotPermanent => !matches!(sent, Err(SendError::Permanent { .. })),
        };
        assert!(met, "{name}: expected {expected:?}, got {sent:?}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(10), "{name}: took {took:?}");
    }

    let plain = sent_and_received(channel, "key-2", &example(NotifyReason::AlertOpened)).await;
    let poisoned = sent_and_received(channel, "key-3", &hostile()).await;
    assert_eq!(
        poisoned.headers, plain.headers,
        "hostile text adds no header"
    );
    assert!(
        poisoned.size < 64_000,
        "hostile text is cut: {} bytes",
        poisoned.size
    );

    let again = sent_and_received(channel, "key-2", &example(NotifyReason::AlertOpened)).await;
    assert_eq!(
        again.identity, plain.identity,
        "a repetition can be recognised"
    );
    assert_ne!(
        poisoned.identity, plain.identity,
        "another delivery is another"
    );
}

async fn sent_and_received(channel: &impl Channel, key: &str, message: &Message) -> Received {
    let notifier = channel.facing(Behaviour::Takes).await;
    notifier
        .send(key, message, now())
        .await
        .expect("is delivered");
    let mut received = channel.received().await;
    received.pop().expect("something was received")
}

fn now() -> DateTime<Utc> {
    "2013-05-08T03:00:10Z".parse().expect("an instant")
}
