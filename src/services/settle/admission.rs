//! Which rows of a pack are new, and what the others are: sent again, or at odds with what came first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sqlx::PgConnection;

use super::pack::Pack;
use crate::domain::columns::Value;
use crate::domain::ids::{BatchId, VersionId};
use crate::services::Error;
use crate::storage::intake::Settled;
use crate::storage::predictions::{
    self, Chunk, ChunkKey, ColumnKind, PredictionKey, Read, row_column,
};

pub(super) struct Admission {
    /// The new rows, in their order.
    pub(super) rows: Vec<usize>,
    pub(super) settled: Vec<(BatchId, Settled)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    New,
    Duplicate,
    Conflicting,
}

/// Judges each row by its id and version: first within the pack, where the first row wins, then by the keys that
/// are stored. The caller holds the model's lock, so no other worker can store the same ids meanwhile.
pub(super) async fn admit(
    conn: &mut PgConnection,
    pack: &Pack,
    versions: &[(VersionId, i32)],
    numbers: &[(String, VersionId, i32)],
) -> Result<Admission, Error> {
    let order = by_hash(pack);
    let mut verdicts = judge_within(pack, versions, &order);
    let mut hashes: Vec<i64> = order.iter().map(|row| pack.id_hashes()[*row]).collect();
    hashes.dedup();
    let stored = predictions::keys(conn, &hashes).await?;
    if !stored.is_empty() {
        judge_by_stored(conn, pack, versions, numbers, &stored, &mut verdicts).await?;
    }
    if crate::faults::defect("skip_deduplication") {
        verdicts.fill(Verdict::New);
    }
    let rows = (0..verdicts.len()).filter(|row| verdicts[*row] == Verdict::New);
    let count = |verdicts: &[Verdict], of| verdicts.iter().filter(|v| **v == of).count() as u64;
    let settled = |verdicts: &[Verdict]| Settled {
        accepted: count(verdicts, Verdict::New),
        duplicate: count(verdicts, Verdict::Duplicate),
        conflicting: count(verdicts, Verdict::Conflicting),
    };
    Ok(Admission {
        rows: rows.collect(),
        settled: (pack.ranges().iter())
            .map(|(batch_id, range)| (*batch_id, settled(&verdicts[range.clone()])))
            .collect(),
    })
}

/// The rows in the order of their hashes, and of their own among equal ones.
fn by_hash(pack: &Pack) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pack.id_hashes().len()).collect();
    order.sort_unstable_by_key(|row| (pack.id_hashes()[*row], *row));
    order
}

fn judge_within(pack: &Pack, versions: &[(VersionId, i32)], order: &[usize]) -> Vec<Verdict> {
    let ids = &pack.rows().prediction_ids;
    let mut verdicts = vec![Verdict::New; order.len()];
    for same_hash in order.chunk_by(|a, b| pack.id_hashes()[*a] == pack.id_hashes()[*b]) {
        let mut firsts: Vec<usize> = Vec::with_capacity(1);
        for &row in same_hash {
            let mut known = firsts.iter();
            let first = known
                .find(|first| versions[**first].1 == versions[row].1 && ids[**first] == ids[row]);
            match first {
                Some(first) => {
                    verdicts[row] = compare(pack, row, Some(pack.content_hashes()[*first]));
                }
                None => firsts.push(row),
            }
        }
    }
    verdicts
}

/// What a row is whose id is known with this content.
fn compare(pack: &Pack, row: usize, known: Option<i32>) -> Verdict {
    if known.is_none_or(|known| known == pack.content_hashes()[row]) {
        Verdict::Duplicate
    } else {
        Verdict::Conflicting
    }
}

/// A key has only the hash of an id; the chunk has the id itself.
async fn judge_by_stored(
    conn: &mut PgConnection,
    pack: &Pack,
    versions: &[(VersionId, i32)],
    numbers: &[(String, VersionId, i32)],
    stored: &[PredictionKey],
    verdicts: &mut [Verdict],
) -> Result<(), Error> {
    let mut by_hash: HashMap<i64, Vec<&PredictionKey>> = HashMap::new();
    for key in stored {
        by_hash.entry(key.id_hash).or_default().push(key);
    }
    let mut ids = StoredIds::default();
    for row in 0..verdicts.len() {
        let keys = by_hash.get(&pack.id_hashes()[row]).into_iter().flatten();
        for key in keys.filter(|key| key.chunk.version_number == versions[row].1) {
            let id = ids.find(conn, numbers, key).await?;
            if id.as_deref() == Some(&pack.rows().prediction_ids[row]) {
                verdicts[row] = compare(pack, row, key.content_hash);
            }
        }
    }
    Ok(())
}

/// Ids read back, a chunk's at a time.
#[derive(Default)]
struct StoredIds {
    chunks: HashMap<ChunkKey, Chunk>,
}

impl StoredIds {
    async fn find(
        &mut self,
        conn: &mut PgConnection,
        numbers: &[(String, VersionId, i32)],
        key: &PredictionKey,
    ) -> Result<Option<String>, Error> {
        let version = numbers
            .iter()
            .find(|(_, _, n)| *n == key.chunk.version_number);
        let Some((_, version_id, _)) = version else {
            return Ok(None);
        };
        let chunk = match self.chunks.entry(key.chunk) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let day = predictions::day_of_chunk(key.chunk);
                let ids = Read::Ids;
                let read = predictions::chunk(conn, *version_id, day, key.chunk.chunk, ids);
                place.insert(read.await?)
            }
        };
        let ids = chunk.column(ColumnKind::Row, row_column::PREDICTION_ID);
        let position = usize::try_from(key.position).unwrap_or(usize::MAX);
        Ok(ids.and_then(|ids| match ids.get(position) {
            Value::Text(id) => Some(id.into_owned()),
            _ => None,
        }))
    }
}
