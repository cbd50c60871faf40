//! Labels whose prediction is unknown. They wait, because labels may come before their predictions; a sender that
//! labels what was never sent must not make them wait for ever.
//!
//! Giving one up changes a count and nothing else: it stays accepted, and it still joins should its prediction
//! come after all, because then the truth about that prediction is known and there is no reason to ignore it.

//!
//! Halves of inferences whose other half never came are given up in the same way, sooner, and are gone then: without
//! an answer there is no prediction, and without a request nothing it was made of.

use chrono::{DateTime, Utc};

use super::{Error, Services};
use crate::domain::inference::Half;
use crate::storage::intake::{self, BatchKind, CountAddition};
use crate::storage::{inferences, labels};

/// How many labels, and how many halves, one activation gives up at most, so that none holds many rows for long.
const LABELS: i64 = 10_000;

/// Gives up labels and halves that have waited too long. Returns whether there were any.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let received_before = now - services.bounds.orphan_label_age;
    let expired = labels::expire(&mut conn, received_before, LABELS, now).await?;
    if expired > 0 {
        tracing::info!(
            labels = expired,
            "gave up labels whose predictions never came"
        );
    }
    let halves = give_up_halves(services, now).await?;
    Ok(expired > 0 || halves)
}

async fn give_up_halves(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut tx = services.pool.begin().await?;
    let received_before = now - services.bounds.unpaired_age;
    let (gone, expired) = inferences::expire(&mut tx, received_before, LABELS).await?;
    if gone == 0 {
        return Ok(false);
    }
    let counts: Vec<CountAddition> = (expired.iter())
        .map(|of| CountAddition {
            project_id: of.project_id,
            model_id: of.model_id,
            kind: BatchKind::Events,
            outcome: "expired",
            reason: match of.half {
                Half::Request => "unanswered_request",
                Half::Response => "unasked_response",
            },
            rows: of.halves,
        })
        .collect();
    intake::add_counts(&mut tx, &counts).await?;
    tx.commit().await?;
    let waited: u64 = expired.iter().map(|of| of.halves).sum();
    if waited > 0 {
        tracing::info!(
            events = waited,
            "gave up requests and responses whose other half never came"
        );
    }
    Ok(true)
}
