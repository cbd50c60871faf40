//! Runs merged into longer ones, so that there are few of them however many predictions there are.

use sqlx::{Connection, PgConnection};

use super::{Damaged, KeyFilters, NewRun, PredictionKey, Run, pages_after};
use crate::domain::ids::ModelId;
use crate::storage::models;

/// How many runs of about the same length are merged, and how many times as long those are that are not.
const RUNS: i64 = 16;
/// Runs with as many keys are not merged any more.
const LONGEST: i64 = 1 << 20;
/// Pages of each run that are read at once.
const PAGES: i64 = 64;

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    pub runs: usize,
    pub keys: u64,
}

/// A model with runs to be merged, if there is one.
pub async fn mergeable(conn: &mut PgConnection) -> sqlx::Result<Option<ModelId>> {
    sqlx::query_scalar!(
        r#"
        SELECT model_id AS "model_id: ModelId"
        FROM prediction_key_runs
        WHERE keys < $2
        GROUP BY model_id, floor(log(16, keys))
        HAVING COUNT(*) >= $1
        ORDER BY COUNT(*) DESC
        LIMIT 1
        "#,
        RUNS,
        LONGEST
    )
    .fetch_optional(conn)
    .await
}

/// Merges runs of a model, in a transaction of its own. Returns `None` where there is nothing to merge, or somebody else
/// is at it. The runs are read and the new one is written while the model is settled; only taking the old ones away waits for
/// the model's lock, so that nobody who looks for a key has seen the list of runs before and the pages after.
pub async fn merge(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model_id: ModelId,
) -> sqlx::Result<Option<Merged>> {
    let mut tx = conn.begin().await?;
    if !claim(&mut tx, model_id).await? {
        return Ok(None);
    }
    let runs = of_one_length(&mut tx, model_id).await?;
    if runs.is_empty() {
        return Ok(None);
    }
    let keys = runs.iter().map(|run| run.keys).sum();
    let mut merged = NewRun::begin(&mut tx, model_id, keys).await?;
    let mut sources: Vec<Source> = runs.iter().map(|run| Source::of(run.run)).collect();
    let mut written = 0;
    loop {
        let next = next(&mut tx, model_id, &mut sources).await?;
        if next.is_empty() {
            break;
        }
        written += next.len() as u64;
        merged.add(&mut tx, &next).await?;
    }
    crate::faults::crash_point("merge_keys.written");
    let runs: Vec<i64> = runs.iter().map(|run| run.run).collect();
    if written != keys {
        // A page is missing.
        return Err(Damaged::error(model_id, runs[0]));
    }
    merged.finish(&mut tx).await?;
    models::lock(&mut tx, model_id).await?;
    remove(&mut tx, model_id, &runs).await?;
    crate::faults::crash_point("merge_keys.before_commit");
    tx.commit().await?;
    filters.forget(model_id, &runs);
    Ok(Some(Merged {
        runs: runs.len(),
        keys,
    }))
}

/// Whether the runs of a model are ours to change until the transaction ends.
async fn claim(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT pg_try_advisory_xact_lock($1) AS "claimed!""#,
        advisory_lock(model_id)
    )
    .fetch_one(conn)
    .await
}

/// The number of the lock that whoever changes the runs of a model holds.
pub(super) fn advisory_lock(model_id: ModelId) -> i64 {
    let (_, last) = model_id.0.as_bytes().split_last_chunk().expect("16 bytes");
    i64::from_be_bytes(*last)
}

async fn of_one_length(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Run>> {
    let runs = sqlx::query!(
        r#"
        SELECT run, keys, first_day
        FROM (
            SELECT run, keys, first_day, COUNT(*) OVER length AS runs, ROW_NUMBER() OVER (length ORDER BY run) AS place
            FROM prediction_key_runs
            WHERE model_id = $1 AND keys < $3
            WINDOW length AS (PARTITION BY floor(log(16, keys)))
        ) AS runs
        WHERE runs >= $2 AND place <= $2
        ORDER BY keys, run
        LIMIT $2
        "#,
        model_id.0,
        RUNS,
        LONGEST
    )
    .fetch_all(conn)
    .await?;
    let run = |run: i64, keys: i64, first_day| Run {
        run,
        keys: keys.cast_unsigned(),
        first_day,
    };
    Ok((runs.into_iter())
        .map(|of| run(of.run, of.keys, of.first_day))
        .collect())
}

async fn remove(conn: &mut PgConnection, model_id: ModelId, runs: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM prediction_key_runs WHERE model_id = $1 AND run = ANY($2)",
        model_id.0,
        runs
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM prediction_key_pages WHERE model_id = $1 AND run = ANY($2)",
        model_id.0,
        runs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A run that is being read.
struct Source {
    run: i64,
    keys: Vec<PredictionKey>,
    /// How many of `keys` were taken.
    taken: usize,
    after: Option<i64>,
    is_over: bool,
}

impl Source {
    fn of(run: i64) -> Self {
        Self {
            run,
            keys: Vec::new(),
            taken: 0,
            after: None,
            is_over: false,
        }
    }

    async fn fill(&mut self, conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<()> {
        if self.is_over || self.taken < self.keys.len() {
            return Ok(());
        }
        let pages = pages_after(conn, model_id, self.run, self.after, PAGES).await?;
        self.after = pages.last().map(|(first_hash, _)| *first_hash);
        self.keys = pages.into_iter().flat_map(|(_, keys)| keys).collect();
        self.taken = 0;
        self.is_over = self.keys.is_empty();
        Ok(())
    }
}

/// The next keys of all sources in the order of their hashes: up to the least of the last hashes that were read.
async fn next(
    conn: &mut PgConnection,
    model_id: ModelId,
    sources: &mut [Source],
) -> sqlx::Result<Vec<PredictionKey>> {
    for source in &mut *sources {
        source.fill(conn, model_id).await?;
    }
    let last = |source: &Source| source.keys.last().map(|key| key.id_hash);
    let Some(bound) = sources.iter().filter(|s| !s.is_over).filter_map(last).min() else {
        return Ok(Vec::new());
    };
    let mut keys = Vec::new();
    for source in sources {
        let rest = &source.keys[source.taken..];
        let count = rest.partition_point(|key| key.id_hash <= bound);
        keys.extend_from_slice(&rest[..count]);
        source.taken += count;
    }
    keys.sort_unstable_by_key(|key| (key.id_hash, key.chunk, key.position));
    Ok(keys)
}
