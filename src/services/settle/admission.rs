//! Which rows of a pack are new, and what the others are: sent again, or at odds with what came first.
//!
//! The keys of a pack are looked up while the pack before it is being stored, which saves a good part of the time
//! that packs of a model have to follow each other in. What was found then is relied on only if it can be shown,
//! under the model's lock, that nobody has stored keys since but the pack before: by the count of stored
//! predictions, which grows in the same transaction as the keys.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use sqlx::{Connection, PgConnection};

use super::pack::Pack;
use crate::domain::columns::Value;
use crate::domain::ids::{BatchId, ModelId, VersionId};
use crate::services::Error;
use crate::storage::intake::{self, BatchKind, Settled};
use crate::storage::keys::{self, KeyFilters, PredictionKey};
use crate::storage::predictions::{self, Chunk, ChunkKey, ColumnKind, Read, row_column};

pub(super) struct Admission {
    /// The new rows, in their order.
    pub(super) rows: Vec<usize>,
    pub(super) settled: Vec<(BatchId, Settled)>,
    /// For the pack that follows.
    pub(super) stored: Stored,
}

/// What was stored under the hashes of a pack's ids at an earlier time.
#[derive(Default)]
pub(super) struct Foreseen {
    keys: Vec<PredictionKey>,
    /// How many predictions of the model had been stored then, or earlier.
    accepted: i64,
}

impl Foreseen {
    pub(super) async fn look_up(
        conn: &mut PgConnection,
        filters: &KeyFilters,
        model_id: ModelId,
        pack: &Pack,
    ) -> Result<Self, Error> {
        let hashes = pack.sorted_hashes();
        if hashes.is_empty() {
            return Ok(Self::default());
        }
        // Counted first: what is stored in between shows in the count.
        let accepted = intake::stored(conn, model_id, BatchKind::Predictions).await?;
        // Of one state: runs may be merged at the same time.
        let mut tx = conn
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let keys = keys::find(&mut tx, filters, model_id, hashes).await?;
        tx.commit().await?;
        Ok(Self { keys, accepted })
    }
}

/// What a pack has stored.
#[derive(Default)]
pub(super) struct Stored {
    /// How many predictions of the model had been stored before it and with it.
    accepted: Range<i64>,
    /// The hashes of its new rows' ids, in their order.
    hashes: Vec<i64>,
}

impl Stored {
    /// Those of `hashes` (in their order) under which something may be stored that was not foreseen; `None` if
    /// others than this pack have stored keys since.
    fn unforeseen(&self, hashes: &[i64], foreseen: &Foreseen, accepted: i64) -> Option<Vec<i64>> {
        if foreseen.accepted == accepted {
            return Some(Vec::new());
        }
        // Looked up while this pack was being stored, and it was the last to store anything.
        let only_this = self.accepted == (foreseen.accepted..accepted);
        only_this.then(|| {
            let stored: HashSet<i64> = self.hashes.iter().copied().collect();
            let both = hashes.iter().filter(|hash| stored.contains(hash));
            both.copied().collect()
        })
    }
}

/// The versions of a model.
#[derive(Clone, Copy)]
pub(super) struct Versions<'v> {
    /// Of each row of the pack.
    pub(super) of_rows: &'v [(VersionId, i32)],
    /// All of them: name, id, number.
    pub(super) numbers: &'v [(String, VersionId, i32)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    New,
    Duplicate,
    Conflicting,
}

/// Judges each row by its id and version: first within the pack, where the first row wins, then by the keys that
/// are stored. The caller holds the model's lock, so no other worker can store the same ids meanwhile. `before` is
/// what the pack before has stored.
pub(super) async fn admit(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model_id: ModelId,
    (pack, foreseen): (&Pack, Foreseen),
    before: &Stored,
    versions: Versions<'_>,
) -> Result<Admission, Error> {
    let mut verdicts = judge_within(pack, versions.of_rows);
    let accepted = intake::stored(conn, model_id, BatchKind::Predictions).await?;
    let hashes = pack.sorted_hashes();
    let stored = match before.unforeseen(&hashes, &foreseen, accepted) {
        Some(unforeseen) => {
            let mut stored = foreseen.keys;
            stored.retain(|key| unforeseen.binary_search(&key.id_hash).is_err());
            stored.extend(keys::find(conn, filters, model_id, unforeseen).await?);
            stored
        }
        None => keys::find(conn, filters, model_id, hashes).await?,
    };
    if !stored.is_empty() {
        judge_by_stored(conn, pack, versions, &stored, &mut verdicts).await?;
    }
    if crate::faults::defect("skip_deduplication") {
        verdicts.fill(Verdict::New);
    }
    let is_new = |row: &usize| verdicts[*row] == Verdict::New;
    let rows: Vec<usize> = (0..verdicts.len()).filter(is_new).collect();
    let new_by_hash = pack.by_hash().iter().filter(|row| is_new(row));
    let stored = Stored {
        accepted: accepted..accepted + i64::try_from(rows.len()).unwrap_or(i64::MAX),
        hashes: new_by_hash.map(|row| pack.id_hashes()[*row]).collect(),
    };
    let count = |verdicts: &[Verdict], of| verdicts.iter().filter(|v| **v == of).count() as u64;
    let settled = |verdicts: &[Verdict]| Settled {
        accepted: count(verdicts, Verdict::New),
        duplicate: count(verdicts, Verdict::Duplicate),
        conflicting: count(verdicts, Verdict::Conflicting),
        ..Settled::default()
    };
    Ok(Admission {
        rows,
        settled: (pack.ranges().iter())
            .map(|(batch_id, range)| (*batch_id, settled(&verdicts[range.clone()])))
            .collect(),
        stored,
    })
}

fn judge_within(pack: &Pack, versions: &[(VersionId, i32)]) -> Vec<Verdict> {
    let ids = &pack.rows().prediction_ids;
    let mut verdicts = vec![Verdict::New; ids.len()];
    for same_hash in pack
        .by_hash()
        .chunk_by(|a, b| pack.id_hashes()[*a] == pack.id_hashes()[*b])
    {
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
    versions: Versions<'_>,
    stored: &[PredictionKey],
    verdicts: &mut [Verdict],
) -> Result<(), Error> {
    let mut by_hash: HashMap<i64, Vec<&PredictionKey>> = HashMap::new();
    for key in stored {
        by_hash.entry(key.id_hash).or_default().push(key);
    }
    let mut ids = StoredIds::default();
    for (row, verdict) in verdicts.iter_mut().enumerate() {
        let keys = by_hash.get(&pack.id_hashes()[row]).into_iter().flatten();
        for key in keys.filter(|key| key.chunk.version_number == versions.of_rows[row].1) {
            let id = &pack.rows().prediction_ids[row];
            if ids.hold(conn, versions.numbers, key, id).await? {
                *verdict = compare(pack, row, key.content_hash);
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
    /// Whether the chunk of a key has this id: where the key says, or further up, if rows before it have been erased since
    /// the key was looked up.
    async fn hold(
        &mut self,
        conn: &mut PgConnection,
        numbers: &[(String, VersionId, i32)],
        key: &PredictionKey,
        id: &str,
    ) -> Result<bool, Error> {
        let version = numbers
            .iter()
            .find(|(_, _, n)| *n == key.chunk.version_number);
        let Some((_, version_id, _)) = version else {
            return Ok(false);
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
        let Some(ids) = chunk.column(ColumnKind::Row, row_column::PREDICTION_ID) else {
            return Ok(false);
        };
        let is_it = |position: usize| matches!(ids.get(position), Value::Text(text) if text == id);
        let position = usize::try_from(key.position).unwrap_or(usize::MAX);
        Ok(is_it(position) || (0..position.min(ids.len())).rev().any(is_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_foreseen_counts_unless_others_have_stored_keys_since() {
        let before = Stored {
            accepted: 100..103,
            hashes: vec![-5, 7, 9],
        };
        let hashes = [-5, 0, 7, 8];
        let cases = [
            ("looked up after it", 103, 103, Some(vec![])),
            (
                "looked up while it was being stored",
                100,
                103,
                Some(vec![-5, 7]),
            ),
            ("others stored before it", 90, 103, None),
            ("others stored after it", 100, 110, None),
            ("others stored as many after it as it had", 103, 106, None),
        ];
        for (name, then, now, expected) in cases {
            let foreseen = Foreseen {
                keys: Vec::new(),
                accepted: then,
            };
            assert_eq!(
                before.unforeseen(&hashes, &foreseen, now),
                expected,
                "{name}"
            );
        }
        // The first pack of an activation follows none.
        let first = Stored::default();
        let foreseen = Foreseen::default();
        assert_eq!(first.unforeseen(&hashes, &foreseen, 0), Some(vec![]));
        assert_eq!(first.unforeseen(&hashes, &foreseen, 1), None);
    }
}
