//! Keys of predictions kept in order: merged into longer runs, so that there are few to look into however many predictions
//! there are, and read from the chunks again where their pages are damaged.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sqlx::PgConnection;

use super::{Error, Services};
use crate::domain::columns::{Column, Value};
use crate::domain::ids::ModelId;
use crate::storage::keys::{self, IdHasher, KeyFilters, Lost, PredictionKey};
use crate::storage::models;
use crate::storage::predictions::{self, ChunkKey, ColumnKind, Read, row_column};

/// Predictions are made after the one and before the other: times are refused long before either.
const FIRST: DateTime<Utc> = DateTime::UNIX_EPOCH;
const LAST: DateTime<Utc> = NaiveDate::from_ymd_opt(9999, 1, 1)
    .expect("a date")
    .and_time(NaiveTime::MIN)
    .and_utc();

/// Merges runs of one model. Returns whether there was anything to do.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let Some(model_id) = keys::mergeable(&mut conn).await? else {
        return Ok(false);
    };
    match keys::merge(&mut conn, &services.key_filters, model_id).await {
        Ok(Some(merged)) => {
            tracing::debug!(model = %model_id, runs = merged.runs, keys = merged.keys, "merged keys of predictions");
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(damage) if keys::is_damage(&damage) => {
            mend(services, model_id).await?;
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads from the chunks again which predictions the damaged pages of a model had. What their contents were is not known
/// any more: one that is sent again counts as a duplicate, whatever it says.
///
/// # Errors
/// When the database fails.
pub async fn mend(services: &Services, model_id: ModelId) -> Result<(), Error> {
    let mut tx = services.pool.begin().await?;
    keys::hold(&mut tx, model_id).await?;
    models::lock(&mut tx, model_id).await?;
    let lost = keys::take_damaged(&mut tx, model_id).await?;
    let mut found = Vec::new();
    if !lost.is_empty() {
        for (_, version_id, version_number) in models::version_numbers(&mut tx, model_id).await? {
            for (day, chunk) in
                predictions::chunks_between(&mut tx, version_id, FIRST, LAST).await?
            {
                let key = ChunkKey {
                    version_number,
                    day: predictions::day_number(day),
                    chunk,
                };
                let ids = predictions::chunk(&mut tx, version_id, day, chunk, Read::Ids).await?;
                let ids = ids.column(ColumnKind::Row, row_column::PREDICTION_ID);
                let values = ids.into_iter().flat_map(Column::iter);
                let keys = keys_in(model_id, key, values, &lost);
                found.extend(missing(&mut tx, &services.key_filters, model_id, keys).await?);
            }
        }
        found.sort_unstable_by_key(|key: &PredictionKey| (key.id_hash, key.chunk, key.position));
        keys::insert(&mut tx, model_id, &found).await?;
    }
    tx.commit().await?;
    tracing::warn!(model = %model_id, pages = lost.len(), keys = found.len(), "read damaged keys of predictions from their chunks again");
    Ok(())
}

/// The keys of a chunk's ids that may be lost.
fn keys_in<'v>(
    model_id: ModelId,
    chunk: ChunkKey,
    ids: impl Iterator<Item = Value<'v>>,
    lost: &[Lost],
) -> Vec<PredictionKey> {
    let hasher = IdHasher::new(model_id);
    let mut keys = Vec::new();
    for (position, id) in (0..).zip(ids) {
        let Value::Text(id) = id else {
            continue;
        };
        let id_hash = hasher.hash(&id);
        if lost.iter().any(|lost| lost.has(id_hash)) {
            keys.push(PredictionKey {
                id_hash,
                content_hash: None,
                chunk,
                position,
            });
        }
    }
    keys
}

/// Those of the keys that no run has.
async fn missing(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model_id: ModelId,
    mut keys: Vec<PredictionKey>,
) -> Result<Vec<PredictionKey>, Error> {
    let hashes = keys.iter().map(|key| key.id_hash).collect();
    let known = keys::find(conn, filters, model_id, hashes).await?;
    let place = |key: &PredictionKey| (key.id_hash, key.chunk, key.position);
    keys.retain(|key| !known.iter().any(|known| place(known) == place(key)));
    Ok(keys)
}
