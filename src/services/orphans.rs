//! Labels whose prediction is unknown. They wait, because labels may come before their predictions; a sender that
//! labels what was never sent must not make them wait for ever.
//!
//! Giving one up changes a count and nothing else: it stays accepted, and it still joins should its prediction
//! come after all, because then the truth about that prediction is known and there is no reason to ignore it.

use chrono::{DateTime, Utc};

use super::{Error, Services};
use crate::storage::labels;

/// How many labels one activation gives up at most, so that none holds many rows for long.
const LABELS: i64 = 10_000;

/// Gives up labels that have waited too long. Returns whether there were any.
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
    Ok(expired > 0)
}
