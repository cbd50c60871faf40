//! Ids of different things are different types. All are UUIDv7 made from the clock's instant, so they sort
//! by creation, and a replayed year gets ids of that year. Within one instant (a replayed clock stands still for
//! long, and a transaction writes several rows at one) a counter keeps them in the order of their making, which
//! the outbox and the intake rely on.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{Timestamp, Uuid};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id that sorts by `now`; the rest of its bits are random.
            #[must_use]
            pub fn new(now: DateTime<Utc>) -> Self {
                Self(uuid_at(now))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// Names a project.
    ProjectId,
    /// Names a person who can sign in.
    PersonId,
    /// Names an API token (not its secret).
    TokenId,
    /// Names a model.
    ModelId,
    /// Names a version of a model.
    VersionId,
    /// Names one stay of a version in a role.
    DeploymentId,
    /// Names a version of a model's schema.
    SchemaId,
    /// Names a proposed change of a schema.
    ProposalId,
    /// Names a baseline.
    BaselineId,
    /// Names a set of counting cells.
    GridId,
    /// Names a landed batch.
    BatchId,
    /// Names a chunk of feature columns.
    ChunkId,
    /// Names one computed value.
    MeasurementId,
    /// Names an alert, from opening to resolution.
    AlertId,
    /// Names a message on its way to a receiver.
    DeliveryId,
    /// Names a run of a runbook.
    RunId,
    /// Names a question put to a person.
    ApprovalId,
    /// Names a run of a retraining pipeline.
    PipelineRunId,
    /// Names a delivered candidate.
    CandidateId,
    /// Names a gate's verdict.
    GateResultId,
    /// Names a change of champion.
    PromotionId,
    /// Names an audit row.
    AuditEventId,
}

/// How many ids this process has made. It begins anew after 2^32 of them, when the order of two is not kept.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A UUIDv7 whose time is `now` and whose other bits are a counter and then random; instants before 1970 count
/// as 1970.
#[must_use]
pub fn uuid_at(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    Uuid::new_v7(Timestamp::from_unix_time(
        seconds,
        now.timestamp_subsec_nanos(),
        made.into(),
        32,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_instant_sort_by_the_order_of_their_making_and_differ() {
        let now = DateTime::from_timestamp(1_000, 500_000_000).expect("valid");
        let ids: Vec<DeliveryId> = (0..10_000).map(|_| DeliveryId::new(now)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7));
    }

    #[test]
    fn ids_sort_by_the_instant_they_were_made_at() {
        let early = ModelId::new(DateTime::from_timestamp(1_000, 0).expect("valid"));
        let late = ModelId::new(DateTime::from_timestamp(2_000, 0).expect("valid"));
        assert!(early < late);
        assert_ne!(
            early,
            ModelId::new(DateTime::from_timestamp(1_000, 0).expect("valid"))
        );
    }
}
