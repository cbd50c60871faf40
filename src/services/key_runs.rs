//! Keys of predictions merged into longer runs, so that there are few runs to look into however many predictions there are.
//! Nothing depends on it but speed.

use super::{Error, Services};
use crate::storage::keys;

/// Merges runs of one model. Returns whether there was anything to merge.
///
/// # Errors
/// When the database fails, or keys are damaged.
pub async fn activate(services: &Services) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let Some(model_id) = keys::mergeable(&mut conn).await? else {
        return Ok(false);
    };
    let merged = keys::merge(&mut conn, &services.key_filters, model_id).await?;
    if let Some(merged) = merged {
        tracing::debug!(model = %model_id, runs = merged.runs, keys = merged.keys, "merged keys of predictions");
    }
    Ok(merged.is_some())
}
