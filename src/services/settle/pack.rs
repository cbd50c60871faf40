//! A pack: the rows of the batches that are settled together, and the hashes by which they are known again.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::domain::batch::PredictionBatch;
use crate::domain::columns::{Column, TextColumn, Value};
use crate::domain::ids::{BatchId, ModelId};
use crate::domain::row_hashes::{add_column, hash_text, mix};
use crate::storage::keys::IdHasher;

/// How many cells the columns of a pack have at most, unless it is one batch: some 9 bytes each, and two packs are in
/// memory at a time.
const CELLS: usize = 4_000_000;

#[derive(Default)]
pub(super) struct Pack {
    model_id: Option<ModelId>,
    rows: PredictionBatch,
    /// Which rows each batch brought, in their order.
    batches: Vec<(BatchId, Range<usize>)>,
    /// Whether a row is the first of the request that sent it.
    starts: Vec<bool>,
    /// The batches that come from the archive.
    restored: HashSet<BatchId>,
    id_hashes: Vec<i64>,
    content_hashes: Vec<i32>,
    held_hashes: Vec<u64>,
    /// The rows in the order of their ids' hashes, and of their own among equal ones.
    by_hash: Vec<usize>,
    /// The features and segments that rows were added with.
    names: HashSet<String>,
}

impl Pack {
    pub(super) fn of(model_id: ModelId) -> Self {
        Self {
            model_id: Some(model_id),
            ..Self::default()
        }
    }

    /// Adds the rows of a batch; `requests` says how many each of those sent that share it, and nothing where one sent
    /// them all. Says no and adds nothing where the columns would get more than [`CELLS`] cells: rows that name features
    /// and segments of their own widen those of all others.
    #[must_use]
    pub(super) fn add(
        &mut self,
        batch_id: BatchId,
        rows: PredictionBatch,
        requests: &[usize],
    ) -> bool {
        let start = self.rows.len();
        let new: HashSet<&str> = names(&rows)
            .filter(|name| !self.names.contains(*name))
            .collect();
        let columns = self.names.len() + new.len();
        if start > 0 && (start + rows.len()).saturating_mul(columns) > CELLS {
            return false;
        }
        self.names.extend(new.into_iter().map(str::to_owned));
        self.starts.resize(start + rows.len(), false);
        let mut first = start;
        for sent in std::iter::once(&0).chain(requests) {
            first += sent;
            if let Some(is_first) = self.starts.get_mut(first) {
                *is_first = true;
            }
        }
        if start == 0 {
            self.rows = rows;
        } else {
            self.rows.append(&rows);
        }
        self.batches.push((batch_id, start..self.rows.len()));
        true
    }

    /// How many cells its columns have.
    pub(super) fn cells(&self) -> usize {
        self.rows.len().saturating_mul(self.names.len())
    }

    /// Notes that a batch comes from the archive.
    pub(super) fn note_restored(&mut self, batch_id: BatchId) {
        self.restored.insert(batch_id);
    }

    /// Whether each row comes from the archive.
    pub(super) fn restored(&self) -> Vec<bool> {
        let mut restored = vec![false; self.rows.len()];
        for (batch_id, range) in &self.batches {
            if self.restored.contains(batch_id) {
                restored[range.clone()].fill(true);
            }
        }
        restored
    }

    /// Computes the hashes once everything is added.
    pub(super) fn hash(&mut self) {
        if let Some(model_id) = self.model_id {
            let hasher = IdHasher::new(model_id);
            let ids = self.rows.prediction_ids.iter();
            self.id_hashes = ids.map(|id| hasher.hash(id)).collect();
        }
        self.held_hashes = held_hashes(&self.rows);
        self.content_hashes = content_hashes(&self.rows, &self.held_hashes);
        self.by_hash = (0..self.id_hashes.len()).collect();
        self.by_hash
            .sort_unstable_by_key(|row| (self.id_hashes[*row], *row));
    }

    pub(super) fn rows(&self) -> &PredictionBatch {
        &self.rows
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = BatchId> + '_ {
        self.batches.iter().map(|(batch_id, _)| *batch_id)
    }

    /// The row that was sent right before this one, in the same request.
    pub(super) fn sent_before(&self, row: usize) -> Option<usize> {
        let is_first = self.starts.get(row).copied().unwrap_or(true);
        row.checked_sub(1).filter(|_| !is_first)
    }

    /// Which rows each batch brought.
    pub(super) fn ranges(&self) -> &[(BatchId, Range<usize>)] {
        &self.batches
    }

    /// The hash of each row's id.
    pub(super) fn id_hashes(&self) -> &[i64] {
        &self.id_hashes
    }

    /// The rows in the order of their ids' hashes, and of their own among equal ones.
    pub(super) fn by_hash(&self) -> &[usize] {
        &self.by_hash
    }

    /// The hashes of the ids, each once, in their order: so the index of keys is read fastest.
    pub(super) fn sorted_hashes(&self) -> Vec<i64> {
        let mut hashes: Vec<i64> = (self.by_hash.iter())
            .map(|row| self.id_hashes[*row])
            .collect();
        hashes.dedup();
        hashes
    }

    /// The hash of everything in each row but its id and version.
    pub(super) fn content_hashes(&self) -> &[i32] {
        &self.content_hashes
    }

    /// A hash of each row's features and answer: those of rows that repeat each other are the same.
    pub(super) fn held_hash(&self, row: usize) -> u64 {
        mix(12, self.held_hashes[row])
    }

    /// Forgets features. The rows are still known by what they were sent with.
    pub(super) fn drop_features(&mut self, names: &HashSet<String>) {
        self.rows
            .features
            .retain(|column| !names.contains(&column.name));
    }

    /// Forgets the rows that are not to be kept; their batches stay. Returns how many each batch has lost.
    pub(super) fn keep_rows(&mut self, keep: &[bool]) -> Vec<(BatchId, u64)> {
        let mut lost = Vec::new();
        let mut start = 0;
        for (batch_id, range) in &mut self.batches {
            let kept = keep[range.clone()].iter().filter(|keep| **keep).count();
            lost.push((*batch_id, (range.len() - kept) as u64));
            *range = start..start + kept;
            start += kept;
        }
        // Where the first row of a request goes, the next one that stays is its first.
        let mut is_first = false;
        let mut starts = Vec::with_capacity(start);
        for (starts_request, keep) in self.starts.iter().zip(keep) {
            is_first |= starts_request;
            if *keep {
                starts.push(std::mem::take(&mut is_first));
            }
        }
        self.starts = starts;
        self.rows.retain(keep);
        self.hash();
        lost
    }

    /// Forgets the batches that are not to be kept, with their rows.
    pub(super) fn keep_batches(&mut self, keep: impl Fn(BatchId) -> bool) {
        let mut rows = vec![false; self.rows.len()];
        let mut batches = Vec::new();
        let mut start = 0;
        for (batch_id, range) in self.batches.drain(..) {
            if keep(batch_id) {
                rows[range.clone()].fill(true);
                batches.push((batch_id, start..start + range.len()));
                start += range.len();
            }
        }
        self.batches = batches;
        self.rows.retain(&rows);
        let mut keep = rows.into_iter();
        self.starts.retain(|_| keep.next().unwrap_or(false));
        self.hash();
    }
}

/// The features and segments of rows; a segment once for each row that has it.
fn names(rows: &PredictionBatch) -> impl Iterator<Item = &str> {
    let features = rows.features.iter().map(|column| column.name.as_str());
    let segments = rows.segments.iter().flatten();
    features.chain(segments.map(|(name, _)| name.as_str()))
}

/// The segments sent with rows, as columns; absent where a row was sent without.
pub(super) fn sent_segments(rows: &PredictionBatch) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for (row, segments) in rows.segments.iter().enumerate() {
        for (name, value) in segments {
            let position = *positions.entry(name).or_insert_with(|| {
                columns.push(Column::new(name.as_str()));
                columns.len() - 1
            });
            columns[position].resize(row);
            columns[position].push(&Value::Text(value.into()));
        }
    }
    for column in &mut columns {
        column.resize(rows.len());
    }
    columns
}

/// A hash of what each row holds, its features and its answer, without its id, version and time.
fn held_hashes(rows: &PredictionBatch) -> Vec<u64> {
    let mut hashes = vec![0; rows.len()];
    for column in &rows.features {
        add_column(&mut hashes, column);
    }
    for (hash, output) in hashes.iter_mut().zip(&rows.outputs) {
        let mut add = |part| *hash = hash.wrapping_add(part);
        for (salt, number) in [(3, output.value), (4, output.score)] {
            add(number.map_or(0, |number| mix(salt, number.to_bits())));
        }
        add(output
            .class
            .as_deref()
            .map_or(0, |class| mix(5, hash_text(class))));
        for (class, probability) in &output.probabilities {
            add(mix(mix(6, hash_text(class)), probability.to_bits()));
        }
    }
    hashes
}

/// A hash of everything in each row but its id and version, to tell a repeated delivery from a conflicting one.
/// Absent features count like features the batch does not have, and the order in which features, classes and
/// segments are named does not count: it depends on the rows that happened to come in the same body.
///
/// It is stored with the prediction: a change makes what was sent before a change and again after it look like a
/// conflict.
fn content_hashes(rows: &PredictionBatch, held: &[u64]) -> Vec<i32> {
    let mut hashes: Vec<u64> = (rows.predicted_at.iter())
        .map(|at| mix(1, at.timestamp_micros().cast_unsigned()))
        .collect();
    // A sum does not depend on the order of its parts.
    for (hash, held) in hashes.iter_mut().zip(held) {
        *hash = hash.wrapping_add(*held);
    }
    for (hash, segments) in hashes.iter_mut().zip(&rows.segments) {
        for (name, value) in segments {
            *hash = hash.wrapping_add(mix(mix(7, hash_text(name)), hash_text(value)));
        }
    }
    for (hash, latency) in hashes.iter_mut().zip(&rows.latency_ms) {
        *hash = hash.wrapping_add(latency.map_or(0, |latency| mix(8, latency.to_bits())));
    }
    add_texts(&mut hashes, 9, &rows.errors);
    add_texts(&mut hashes, 10, &rows.deployments);
    let short = |hash: u64| (mix(11, hash) >> 32) as u32;
    hashes
        .into_iter()
        .map(|hash| short(hash).cast_signed())
        .collect()
}

fn add_texts(hashes: &mut [u64], salt: u64, column: &TextColumn) {
    let texts: Vec<u64> = column
        .texts()
        .map(|text| mix(salt, hash_text(text)))
        .collect();
    for (hash, code) in hashes.iter_mut().zip(column.codes()) {
        let part = texts.get(*code as usize).copied().unwrap_or(0);
        *hash = hash.wrapping_add(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn row(features: &[(&'static str, Value<'static>)]) -> PredictionBatch {
        let mut rows = PredictionBatch::default();
        rows.prediction_ids.push("p");
        rows.predicted_at.push(DateTime::UNIX_EPOCH);
        rows.versions.push(Some("v1"));
        rows.outputs.push(crate::domain::batch::Output::default());
        rows.segments.push(Vec::new());
        rows.latency_ms.push(None);
        rows.errors.push(None);
        rows.deployments.push(None);
        for (name, value) in features {
            rows.features.push(Column::of(*name, [value.clone()]));
        }
        rows
    }

    fn hash(rows: &PredictionBatch) -> i32 {
        content_hashes(rows, &held_hashes(rows))[0]
    }

    #[test]
    fn rows_follow_those_of_their_own_request_whatever_is_taken_out() {
        let of = |rows: usize| {
            let mut batch = PredictionBatch::default();
            (0..rows).for_each(|_| batch.append(&row(&[])));
            batch
        };
        let (now, mut pack) = (DateTime::UNIX_EPOCH, Pack::default());
        assert!(pack.add(BatchId::new(now), of(5), &[3, 2]));
        assert!(pack.add(BatchId::new(now), of(3), &[]));
        let followers = |pack: &Pack| -> Vec<usize> {
            (0..pack.rows().len())
                .filter(|row| pack.sent_before(*row).is_some())
                .collect()
        };
        assert_eq!(followers(&pack), [1, 2, 4, 6, 7]);
        // Of the requests 0 1 2, 3 4 and 5 6 7, these stay: 1 2, 4, 5 7.
        pack.keep_rows(&[false, true, true, false, true, true, false, true]);
        assert_eq!(followers(&pack), [1, 4]);
    }

    #[test]
    fn a_pack_ends_before_names_of_each_row_s_own_fill_the_memory() {
        let wide = |from: usize| {
            let mut batch = PredictionBatch::default();
            for place in from..from + 1_000 {
                let mut row = row(&[]);
                row.features
                    .push(Column::of(format!("feature {place}"), [Value::Number(1.0)]));
                row.segments[0] = vec![(format!("segment {place}"), "x".into())];
                batch.append(&row);
            }
            batch
        };
        let (now, mut pack) = (DateTime::UNIX_EPOCH, Pack::default());
        // 2,000 names and 1,000 rows, which is what one batch has anyway; with another they are 8,000,000 cells.
        assert!(pack.add(BatchId::new(now), wide(0), &[]));
        assert!(!pack.add(BatchId::new(now), wide(1_000), &[]));
        assert_eq!((pack.rows().len(), pack.batches().count()), (1_000, 1));
        // What names nothing new still finds room.
        assert!(pack.add(BatchId::new(now), wide(0), &[]));
        // One that is too wide by itself is taken alone.
        let mut alone = Pack::default();
        assert!(alone.add(BatchId::new(now), wide(0), &[]));
    }

    #[test]
    fn the_order_of_names_and_absent_features_do_not_count() {
        let (a, b) = (("a", Value::Number(1.0)), ("b", Value::Text("x".into())));
        let plain = hash(&row(&[a.clone(), b.clone()]));
        assert_eq!(plain, hash(&row(&[b.clone(), a.clone()])));
        assert_eq!(
            plain,
            hash(&row(&[a.clone(), ("c", Value::Absent), b.clone()]))
        );
        let mut segments = row(std::slice::from_ref(&a));
        segments.segments[0] = vec![("x".into(), "1".into()), ("y".into(), "2".into())];
        let mut turned = segments.clone();
        turned.segments[0].reverse();
        assert_eq!(hash(&segments), hash(&turned));
    }

    #[test]
    fn everything_else_counts() {
        let a = |value| row(&[("a", value)]);
        let mut all = vec![
            a(Value::Null),
            a(Value::Integer(1)),
            a(Value::Number(1.5)),
            a(Value::Number(9_007_199_254_740_992.0)),
            a(Value::Integer(9_007_199_254_740_992)),
            a(Value::Boolean(true)),
            a(Value::Text("1".into())),
            a(Value::Text("a long text of more than eight bytes".into())),
            a(Value::Text("a long text of more than eight bytez".into())),
            a(Value::Timestamp(DateTime::UNIX_EPOCH)),
            row(&[("b", Value::Number(1.0))]),
            row(&[("a", Value::Number(1.0)), ("b", Value::Number(2.0))]),
            row(&[("a", Value::Number(2.0)), ("b", Value::Number(1.0))]),
        ];
        let change = |change: fn(&mut PredictionBatch)| {
            let mut rows = a(Value::Number(1.0));
            change(&mut rows);
            rows
        };
        all.extend([
            change(|rows| rows.predicted_at[0] += chrono::TimeDelta::microseconds(1)),
            change(|rows| rows.outputs[0].value = Some(1.0)),
            change(|rows| rows.outputs[0].score = Some(1.0)),
            change(|rows| rows.outputs[0].class = Some("1".into())),
            change(|rows| rows.outputs[0].probabilities = vec![("a".into(), 1.0)]),
            change(|rows| rows.segments[0] = vec![("a".into(), "b".into())]),
            change(|rows| rows.segments[0] = vec![("b".into(), "a".into())]),
            change(|rows| rows.latency_ms[0] = Some(1.0)),
            change(|rows| rows.errors = [Some("x")].into_iter().collect()),
            change(|rows| rows.deployments = [Some("x")].into_iter().collect()),
        ]);
        let different: std::collections::BTreeSet<i32> = all.iter().map(hash).collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn a_whole_number_is_the_same_however_it_is_written() {
        for (number, integer) in [(1.0, 1), (0.0, 0), (-0.0, 0), (-7.0, -7)] {
            let written = hash(&row(&[("a", Value::Number(number))]));
            assert_eq!(
                written,
                hash(&row(&[("a", Value::Integer(integer))])),
                "{number}"
            );
        }
    }

    #[test]
    fn a_stored_hash_stays_what_it_is() {
        let features = [("a", Value::Number(1.5)), ("b", Value::Text("JFK".into()))];
        insta::assert_snapshot!(hash(&row(&features)));
    }
}
