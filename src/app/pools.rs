//! The connections to Postgres and who may take which. Each part of the service has its own, because a part
//! that waits for a connection holds what it has: senders in any number must not keep alerts from being
//! decided and sent, and a page must open while data pours in.
//!
//! A connection of the intake belongs to a short request. What it left behind when its request was given up
//! is ended by the server itself, so that a lock does not outlive its owner by long.

use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, PgPool};

/// How long people and tools wait for a connection before they are told to come back.
const FRONT_WAIT: Duration = Duration::from_secs(5);
/// How long a background task waits for one; it has nobody to tell.
const BACKGROUND_WAIT: Duration = Duration::from_secs(30);
/// How long the service waits for its first one.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// Landing commits one group after the other; the second connection is for when the first was given up.
const LANDING: u32 = 2;
/// Deciding alerts, responding to them and delivering messages, each at the same time as the others.
const ALERTING: u32 = 3;
/// An idle connection is asked whether it still lives when it has been idle for this long.
const TRUSTED_IDLE: Duration = Duration::from_millis(500);
/// How long a connection that comes back may take to show that it is usable.
const RETURN_TEST: Duration = Duration::from_secs(2);

/// What the server does by itself on connections of the intake. They hold locks for milliseconds.
const INTAKE_SETTINGS: [(&str, &str); 3] = [
    ("statement_timeout", "20s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "2s"),
];

/// There is one statement to land batches by, which reads and writes no partitions: its plan is made once. Senders wait
/// for it.
const LANDING_SETTINGS: [(&str, &str); 1] = [("plan_cache_mode", "force_generic_plan")];

/// What the server does by itself on every connection: notice that we are gone, and make no plan for every
/// day of data, which would lock the partitions of every day.
const SETTINGS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_custom_plan"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("client_connection_check_interval", "5s"),
];

/// The connections, by what they are for.
#[derive(Debug, Clone)]
pub struct Pools {
    /// Requests that bring data, up to where they land.
    pub intake: PgPool,
    /// Landing it.
    pub landing: PgPool,
    /// Deciding alerts, responding to them, delivering messages.
    pub alerting: PgPool,
    /// Settling, measuring and the other background tasks.
    pub background: PgPool,
    /// Pages and the rest of the API.
    pub front: PgPool,
}

impl Pools {
    /// Shares `connections` out, and makes the first of them.
    ///
    /// # Errors
    /// When Postgres cannot be reached.
    pub async fn connect(
        options: PgConnectOptions,
        connections: u64,
        intake_wait: Duration,
    ) -> anyhow::Result<Self> {
        let options = options.application_name("bellwether").options(SETTINGS);
        // The name is what whoever looks at the server's list of connections sees.
        let named = |name: &str| options.clone().application_name(name);
        let of_intake = |name| named(name).options(INTAKE_SETTINGS);
        let share = Share::of(connections);
        let pools = Self {
            intake: pool(share.intake, intake_wait)
                .connect_lazy_with(of_intake("bellwether intake")),
            landing: pool(LANDING, intake_wait)
                .connect_lazy_with(of_intake("bellwether landing").options(LANDING_SETTINGS)),
            alerting: pool(ALERTING, BACKGROUND_WAIT)
                .connect_lazy_with(named("bellwether alerting")),
            background: pool(share.background, BACKGROUND_WAIT)
                .connect_lazy_with(named("bellwether background")),
            front: pool(share.front, FRONT_WAIT).connect_lazy_with(named("bellwether front")),
        };
        let first = tokio::time::timeout(FIRST_WAIT, PgConnection::connect_with(&options));
        first
            .await
            .context("connect to Postgres: it did not answer")?
            .context("connect to Postgres")?
            .close()
            .await
            .context("connect to Postgres")?;
        Ok(pools)
    }

    /// Closes all.
    pub async fn close(&self) {
        let (intake, landing) = (&self.intake, &self.landing);
        for pool in [
            intake,
            landing,
            &self.alerting,
            &self.background,
            &self.front,
        ] {
            pool.close().await;
        }
    }
}

/// How the connections are shared out.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    intake: u32,
    background: u32,
    front: u32,
}

impl Share {
    /// A quarter each for taking in and for people, the rest for the tasks: some hold two at a time.
    fn of(connections: u64) -> Self {
        let all = u32::try_from(connections).unwrap_or(u32::MAX) - LANDING - ALERTING;
        let quarter = (all / 4).max(2);
        Self {
            intake: quarter,
            front: quarter,
            background: all - 2 * quarter,
        }
    }
}

fn pool(connections: u32, wait: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(wait)
        // Asking one that was in use a moment ago would cost every request a round trip.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        // The pool tests what comes back, but without a limit: on a connection that never answers again the
        // test would hold its place in the pool for ever.
        .after_release(|conn, _| {
            Box::pin(async move {
                match tokio::time::timeout(RETURN_TEST, conn.ping()).await {
                    Ok(answer) => answer.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_connections_of_their_own() {
        for connections in [15, 24, 60, 1_000] {
            let share = Share::of(connections);
            assert!(share.background >= 6, "{share:?}");
            assert!(share.intake >= 2 && share.front >= 2, "{share:?}");
            let sum = share.intake + share.front + share.background + LANDING + ALERTING;
            assert_eq!(u64::from(sum), connections);
        }
    }
}
