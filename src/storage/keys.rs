//! Keys of predictions: what finds one by its id, and tells one that is sent again from a new one.
//!
//! The keys of a pack are a *run*: sorted by hash and stored in pages (`page`). A run is never changed. Who looks for hashes
//! asks the filter of every run (`filter`), which are kept in memory ([`KeyFilters`]), and reads a page only where one says
//! that the run may have the hash; so a new id costs next to nothing however many there are. So that there are never many
//! runs, those of about the same length are merged into a longer one ([`merge`]).

mod filter;
mod mending;
mod merge;
pub mod page;
mod removal;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::predictions::ChunkKey;
use crate::domain::ids::ModelId;
pub use filter::Filter;
pub use mending::{Lost, is_damage, take_damaged};
pub use merge::{Merged, merge, mergeable};
pub use removal::{hold, remove, sweep};

/// How much memory filters take at most. Runs whose filters do not fit are looked into for every hash.
const FILTER_BYTES: usize = 256 << 20;
/// Pages that are read at once where a run is read alone.
const PAGES: i64 = 512;
/// How much of a run's number is chance.
const CHANCE_BITS: u32 = 24;
/// Bytes of pages that one statement carries.
const PIECE_BYTES: usize = 4 << 20;

/// The hash under which keys have an id: `prediction_id_hash()` of migration 0002.
#[derive(Debug, Clone)]
pub struct IdHasher(Sha256);

impl IdHasher {
    /// For the ids of one model.
    #[must_use]
    pub fn new(model_id: ModelId) -> Self {
        Self(Sha256::new_with_prefix(model_id.0.as_bytes()))
    }

    /// The hash of an id.
    #[must_use]
    pub fn hash(&self, prediction_id: &str) -> i64 {
        let digest = self.0.clone().chain_update(prediction_id).finalize();
        let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        i64::from_be_bytes(*first)
    }
}

/// Where a prediction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PredictionKey {
    pub id_hash: i64,
    /// Unknown of predictions from before contents were hashed this way.
    pub content_hash: Option<i32>,
    pub chunk: ChunkKey,
    /// From 0.
    pub position: i16,
}

/// A page of keys that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the keys of predictions in run {run} of model {model_id} are damaged")]
struct Damaged {
    model_id: ModelId,
    run: i64,
}

impl Damaged {
    fn error(model_id: ModelId, run: i64) -> sqlx::Error {
        sqlx::Error::Decode(Box::new(Self { model_id, run }))
    }
}

/// A run that is listed.
#[derive(Debug, Clone, Copy)]
struct Run {
    run: i64,
    keys: u64,
    /// The earliest day of its predictions, as keys have it.
    first_day: i16,
}

/// The keys with any of these hashes: of predictions with these ids, of all versions, and very rarely of others. To be called
/// in a transaction that sees one state of the runs: under the model's lock, or in repeatable read.
pub async fn find(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model_id: ModelId,
    mut hashes: Vec<i64>,
) -> sqlx::Result<Vec<PredictionKey>> {
    hashes.sort_unstable();
    let mut found = Vec::new();
    for page in found_pages(conn, filters, model_id, &hashes).await? {
        let is_wanted = |key: &PredictionKey| hashes.binary_search(&key.id_hash).is_ok();
        found.extend(page.keys.into_iter().filter(is_wanted));
    }
    Ok(found)
}

/// A page that may have a hash that is looked for.
struct FoundPage {
    run: i64,
    first_hash: i64,
    keys: Vec<PredictionKey>,
}

/// The pages that may have any of these hashes, which are in their order.
async fn found_pages(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model_id: ModelId,
    hashes: &[i64],
) -> sqlx::Result<Vec<FoundPage>> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let listed = listed(conn, model_id).await?;
    filters.keep_listed(model_id, &listed);
    let (mut runs, mut wanted) = (Vec::new(), Vec::new());
    for run in listed {
        let filter = filters.of(conn, model_id, run).await?;
        let may_have = |hash: &&i64| filter.as_ref().is_none_or(|filter| filter.may_have(**hash));
        wanted.extend(hashes.iter().filter(may_have));
        runs.resize(wanted.len(), run.run);
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // A plan made while there were few pages may read all of them.
    sqlx::query!("SET LOCAL enable_seqscan = off")
        .execute(&mut *conn)
        .await?;
    let pages = sqlx::query!(
        r#"
        SELECT p.run, p.first_hash, p.keys
        FROM (
            SELECT DISTINCT w.run, (
                SELECT o.first_hash
                FROM prediction_key_pages o
                WHERE o.model_id = $1 AND o.run = w.run AND o.first_hash <= w.hash
                ORDER BY o.first_hash DESC
                LIMIT 1
            ) AS first_hash
            FROM unnest($2::bigint[], $3::bigint[]) AS w (run, hash)
        ) AS found
        JOIN prediction_key_pages p ON p.model_id = $1 AND p.run = found.run AND p.first_hash = found.first_hash
        "#,
        model_id.0,
        &runs,
        &wanted
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!("SET LOCAL enable_seqscan = on")
        .execute(conn)
        .await?;
    pages
        .into_iter()
        .map(|of| {
            let keys = page::decode(&of.keys).ok_or_else(|| Damaged::error(model_id, of.run))?;
            Ok(FoundPage {
                run: of.run,
                first_hash: of.first_hash,
                keys,
            })
        })
        .collect()
}

/// Stores the keys of a pack, in the order of their hashes, as a run.
pub async fn insert(
    conn: &mut PgConnection,
    model_id: ModelId,
    keys: &[PredictionKey],
) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut run = NewRun::begin(conn, model_id, keys.len() as u64).await?;
    run.add(conn, keys).await?;
    run.finish(conn).await
}

async fn listed(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Run>> {
    let runs = sqlx::query!(
        "SELECT run, keys, first_day FROM prediction_key_runs WHERE model_id = $1 ORDER BY run",
        model_id.0
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

/// Pages of a run in their order, behind the one that begins with `after`: so many, each with the hash it begins with.
async fn pages_after(
    conn: &mut PgConnection,
    model_id: ModelId,
    run: i64,
    after: Option<i64>,
    most: i64,
) -> sqlx::Result<Vec<(i64, Vec<PredictionKey>)>> {
    let pages = stored_pages(conn, model_id, run, after, most).await?;
    pages
        .into_iter()
        .map(|(first_hash, bytes)| {
            let keys = page::decode(&bytes).ok_or_else(|| Damaged::error(model_id, run))?;
            Ok((first_hash, keys))
        })
        .collect()
}

/// As [`pages_after`], as stored.
async fn stored_pages(
    conn: &mut PgConnection,
    model_id: ModelId,
    run: i64,
    after: Option<i64>,
    most: i64,
) -> sqlx::Result<Vec<(i64, Vec<u8>)>> {
    let pages = sqlx::query!(
        r#"
        SELECT first_hash, keys
        FROM prediction_key_pages
        WHERE model_id = $1 AND run = $2 AND ($3::bigint IS NULL OR first_hash > $3)
        ORDER BY first_hash
        LIMIT $4
        "#,
        model_id.0,
        run,
        after,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(pages
        .into_iter()
        .map(|of| (of.first_hash, of.keys))
        .collect())
}

/// A run that is being written.
struct NewRun {
    model_id: ModelId,
    run: i64,
    keys: u64,
    first_day: i16,
    filter: Filter,
}

impl NewRun {
    /// A run of so many keys.
    async fn begin(conn: &mut PgConnection, model_id: ModelId, keys: u64) -> sqlx::Result<Self> {
        // No two runs have one number, whatever becomes of the transaction: filters are kept under it. A server that
        // dies may forget that it gave a number, and give it again; chance tells the two apart.
        let given = sqlx::query_scalar!(r#"SELECT nextval('prediction_key_run') AS "run!""#)
            .fetch_one(conn)
            .await?;
        let chance = i64::from(rand::random::<u32>()) & ((1 << CHANCE_BITS) - 1);
        Ok(Self {
            model_id,
            run: (given << CHANCE_BITS) | chance,
            keys,
            first_day: i16::MAX,
            filter: Filter::new(keys),
        })
    }

    /// Adds keys with higher hashes than those before.
    async fn add(&mut self, conn: &mut PgConnection, keys: &[PredictionKey]) -> sqlx::Result<()> {
        let (mut firsts, mut pages, mut bytes) = (Vec::new(), Vec::new(), 0);
        for keys in page::split(keys) {
            for key in keys {
                self.filter.insert(key.id_hash);
                self.first_day = self.first_day.min(key.chunk.day);
            }
            let page = page::encode(keys);
            bytes += page.len();
            firsts.push(keys[0].id_hash);
            pages.push(page);
            if bytes > PIECE_BYTES {
                self.insert(&mut *conn, &firsts, &pages).await?;
                (firsts, pages, bytes) = (Vec::new(), Vec::new(), 0);
            }
        }
        self.insert(conn, &firsts, &pages).await
    }

    /// Stores pages, each with the first hash of its keys. Not by `COPY`, which waits where it ends: see
    /// [`CopyRows::copy`](super::copy::CopyRows::copy).
    async fn insert(
        &self,
        conn: &mut PgConnection,
        firsts: &[i64],
        pages: &[Vec<u8>],
    ) -> sqlx::Result<()> {
        sqlx::query!(
            "INSERT INTO prediction_key_pages (model_id, run, first_hash, keys)
             SELECT $1, $2, p.first_hash, p.keys FROM unnest($3::bigint[], $4::bytea[]) AS p (first_hash, keys)",
            self.model_id.0,
            self.run,
            firsts,
            pages
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn finish(self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!(
            "INSERT INTO prediction_key_runs (model_id, run, keys, first_day, filter) VALUES ($1, $2, $3, $4, $5)",
            self.model_id.0,
            self.run,
            super::intake::count(self.keys),
            self.first_day,
            self.filter.encode()
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// The filters of runs, in memory. They only save reading: what is not there is read, and what does not fit is done without.
#[derive(Debug, Clone)]
pub struct KeyFilters {
    known: Arc<Mutex<Known>>,
    most_bytes: usize,
}

impl Default for KeyFilters {
    fn default() -> Self {
        Self::within(FILTER_BYTES)
    }
}

#[derive(Debug, Default)]
struct Known {
    filters: HashMap<(ModelId, i64), Kept>,
    bytes: usize,
    /// How often filters were asked for: who was asked for longest ago goes first.
    asked: u64,
}

#[derive(Debug)]
struct Kept {
    filter: Arc<Filter>,
    bytes: usize,
    asked: u64,
}

impl Known {
    fn get(&mut self, key: (ModelId, i64)) -> Option<Arc<Filter>> {
        self.asked += 1;
        let kept = self.filters.get_mut(&key)?;
        kept.asked = self.asked;
        Some(kept.filter.clone())
    }

    /// Makes room by forgetting filters of other models, those asked for longest ago first. Returns whether there is.
    fn make_room(&mut self, model_id: ModelId, bytes: usize, most: usize) -> bool {
        while self.bytes + bytes > most {
            let others = self.filters.iter().filter(|((of, _), _)| *of != model_id);
            let Some(oldest) = others.min_by_key(|(_, kept)| kept.asked) else {
                return false;
            };
            let key = *oldest.0;
            self.forget(key);
        }
        true
    }

    fn forget(&mut self, key: (ModelId, i64)) {
        if let Some(kept) = self.filters.remove(&key) {
            self.bytes -= kept.bytes;
        }
    }
}

impl KeyFilters {
    /// Filters that take so many bytes at most.
    #[must_use]
    pub fn within(most_bytes: usize) -> Self {
        Self {
            known: Arc::default(),
            most_bytes,
        }
    }

    /// The filter of a run; `None` where there is no room for it.
    async fn of(
        &self,
        conn: &mut PgConnection,
        model_id: ModelId,
        run: Run,
    ) -> sqlx::Result<Option<Arc<Filter>>> {
        let key = (model_id, run.run);
        let bytes = Filter::size(run.keys);
        {
            let mut known = self.known();
            if let Some(filter) = known.get(key) {
                return Ok(Some(filter));
            }
            if !known.make_room(model_id, bytes, self.most_bytes) {
                return Ok(None);
            }
        }
        let filter = Arc::new(load(conn, model_id, run).await?);
        let mut known = self.known();
        let asked = known.asked;
        let kept = Kept {
            filter: filter.clone(),
            bytes,
            asked,
        };
        if known.filters.insert(key, kept).is_none() {
            known.bytes += bytes;
        }
        Ok(Some(filter))
    }

    /// Forgets the filters of runs that are merged into another.
    fn forget(&self, model_id: ModelId, runs: &[i64]) {
        let mut known = self.known();
        for run in runs {
            known.forget((model_id, *run));
        }
    }

    /// Forgets the filters of runs of a model that are not listed any more: another replica has merged them.
    fn keep_listed(&self, model_id: ModelId, runs: &[Run]) {
        let mut known = self.known();
        let gone: Vec<i64> = (known.filters.keys())
            .filter(|(of, run)| {
                *of == model_id && runs.binary_search_by_key(run, |listed| listed.run).is_err()
            })
            .map(|(_, run)| *run)
            .collect();
        for run in gone {
            known.forget((model_id, run));
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter of a run as stored; computed again where there is none or it is damaged.
async fn load(conn: &mut PgConnection, model_id: ModelId, run: Run) -> sqlx::Result<Filter> {
    let stored = sqlx::query_scalar!(
        "SELECT filter FROM prediction_key_runs WHERE model_id = $1 AND run = $2",
        model_id.0,
        run.run
    )
    .fetch_optional(&mut *conn)
    .await?
    .flatten();
    if let Some(filter) = stored.and_then(|bytes| Filter::decode(&bytes)) {
        return Ok(filter);
    }
    let mut filter = Filter::new(run.keys);
    let mut after = None;
    loop {
        let pages = pages_after(conn, model_id, run.run, after, PAGES).await?;
        let Some((last, _)) = pages.last() else {
            return Ok(filter);
        };
        after = Some(*last);
        let keys = pages.iter().flat_map(|(_, keys)| keys);
        keys.for_each(|key| filter.insert(key.id_hash));
    }
}
