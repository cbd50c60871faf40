//! Keys taken out of their runs: of predictions that are erased, and of days that are gone.

use std::collections::{BTreeSet, HashMap};

use sqlx::{Connection, PgConnection};

use super::{
    Filter, KeyFilters, PAGES, PredictionKey, found_pages, listed, merge, page, pages_after,
};
use crate::domain::ids::ModelId;
use crate::storage::intake;

/// Keeps the runs of a model from being merged until the transaction ends. To be called before the model is locked, because
/// merging locks it last.
pub async fn hold(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock($1)",
        merge::advisory_lock(model_id)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes these keys out. The caller holds the runs ([`hold`]) and the model's lock.
pub async fn remove(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model_id: ModelId,
    keys: &[PredictionKey],
) -> sqlx::Result<()> {
    let place = |key: &PredictionKey| (key.id_hash, key.chunk, key.position);
    let gone: BTreeSet<_> = keys.iter().map(place).collect();
    let hashes: Vec<i64> = gone.iter().map(|(hash, _, _)| *hash).collect();
    let mut removed: HashMap<i64, i64> = HashMap::new();
    for found in found_pages(conn, filters, model_id, &hashes).await? {
        let mut keys = found.keys;
        let before = keys.len();
        keys.retain(|key| !gone.contains(&place(key)));
        if keys.len() < before {
            *removed.entry(found.run).or_default() += intake::count((before - keys.len()) as u64);
            rewrite(conn, model_id, (found.run, found.first_hash), &keys).await?;
        }
    }
    // Filters stay: what is gone is looked for once more and not found.
    for (run, keys) in removed {
        sqlx::query!(
            "UPDATE prediction_key_runs SET keys = keys - $3 WHERE model_id = $1 AND run = $2",
            model_id.0,
            run,
            keys
        )
        .execute(&mut *conn)
        .await?;
    }
    drop_empty(conn, model_id).await
}

/// Takes out the keys of days before `before` that `is_gone` names, a run at a time, each in a transaction of its own. Runs
/// without such days are not read.
pub async fn sweep(
    conn: &mut PgConnection,
    model_id: ModelId,
    before: i16,
    is_gone: impl Fn(&PredictionKey) -> bool + Send + Sync,
) -> sqlx::Result<u64> {
    let mut swept = 0;
    for run in listed(conn, model_id).await? {
        if run.first_day < before {
            swept += sweep_run(conn, model_id, run.run, &is_gone).await?;
        }
    }
    Ok(swept)
}

async fn sweep_run(
    conn: &mut PgConnection,
    model_id: ModelId,
    run: i64,
    is_gone: impl Fn(&PredictionKey) -> bool + Send + Sync,
) -> sqlx::Result<u64> {
    let mut tx = conn.begin().await?;
    hold(&mut tx, model_id).await?;
    // It may have been merged since it was listed; the one it is in now is swept the next time.
    let Some(run) = listed(&mut tx, model_id)
        .await?
        .into_iter()
        .find(|listed| listed.run == run)
    else {
        return Ok(0);
    };
    let mut filter = Filter::new(run.keys);
    let (mut kept, mut first_day, mut after) = (0_u64, i16::MAX, None);
    loop {
        let pages = pages_after(&mut tx, model_id, run.run, after, PAGES).await?;
        let Some((last, _)) = pages.last() else {
            break;
        };
        after = Some(*last);
        for (first_hash, mut keys) in pages {
            let before = keys.len();
            keys.retain(|key| !is_gone(key));
            for key in &keys {
                filter.insert(key.id_hash);
                first_day = first_day.min(key.chunk.day);
            }
            kept += keys.len() as u64;
            if keys.len() < before {
                rewrite(&mut tx, model_id, (run.run, first_hash), &keys).await?;
            }
        }
    }
    sqlx::query!(
        "UPDATE prediction_key_runs SET keys = $3, first_day = $4, filter = $5 WHERE model_id = $1 AND run = $2",
        model_id.0,
        run.run,
        intake::count(kept),
        first_day,
        filter.encode()
    )
    .execute(&mut *tx)
    .await?;
    drop_empty(&mut tx, model_id).await?;
    tx.commit().await?;
    Ok(run.keys.saturating_sub(kept))
}

/// Stores what is left of a page under the hash that it began with.
pub(super) async fn rewrite(
    conn: &mut PgConnection,
    model_id: ModelId,
    (run, first_hash): (i64, i64),
    keys: &[PredictionKey],
) -> sqlx::Result<()> {
    if keys.is_empty() {
        sqlx::query!(
            "DELETE FROM prediction_key_pages WHERE model_id = $1 AND run = $2 AND first_hash = $3",
            model_id.0,
            run,
            first_hash
        )
        .execute(conn)
        .await?;
    } else {
        sqlx::query!(
            "UPDATE prediction_key_pages SET keys = $4 WHERE model_id = $1 AND run = $2 AND first_hash = $3",
            model_id.0,
            run,
            first_hash,
            page::encode(keys)
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

pub(super) async fn drop_empty(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM prediction_key_runs WHERE model_id = $1 AND keys = 0",
        model_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
