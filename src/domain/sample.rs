//! A sample of rows: for measures that counts by feature cannot give, because they look at whole rows, at texts or
//! at vectors.
//!
//! Rows are drawn by a hash, the smallest ones first, of their id or of what they hold. So nothing is left to chance
//! and nothing to the order in which rows come: the same rows give the same sample, and a smaller one is the
//! beginning of a larger one. The order of a sample is that of the hashes, which says nothing about the rows;
//! methods that split or pair rows rely on that.

use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::columns::{Column, Value};
use super::row_hashes::hash_vector;
use crate::stats::thinning::mixed;

/// The most rows of a sample. An area under the ROC curve between two samples of this size has a standard error of
/// 0.0065 when nothing has changed, an eighth of the usual threshold's distance from 0.5; the classifier takes a
/// fraction of a second, and thirty features take a megabyte (nine bytes a value, and their different texts).
pub const SAMPLE_ROWS: usize = 4_000;
/// The most numbers kept of one feature of vectors, 8 MiB: long vectors get fewer rows.
pub const SAMPLE_NUMBERS: usize = 1 << 21;
/// Told in recipes. Another number would give another sample; nobody needs one.
pub const SEED: u64 = 1;

/// Draws a sample from rows that come in any order.
#[derive(Debug, Clone)]
pub struct Draw {
    limit: usize,
    /// The rows with the smallest hashes, the largest of them on top.
    drawn: BinaryHeap<(u64, u64)>,
    seen: u64,
}

impl Draw {
    /// Draws at most so many rows.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            drawn: BinaryHeap::new(),
            seen: 0,
        }
    }

    /// Takes a row, known by its number, that has this hash. Of rows with equal hashes those with lower numbers are
    /// drawn first.
    pub fn offer(&mut self, hash: u64, row: u64) {
        self.seen += 1;
        let place = (mixed(hash ^ mixed(SEED)), row);
        if self.drawn.len() < self.limit {
            self.drawn.push(place);
        } else if let Some(mut last) = self.drawn.peek_mut().filter(|last| place < **last) {
            *last = place;
        }
    }

    /// How many rows were offered.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The rows drawn, in the order of the sample.
    #[must_use]
    pub fn rows(self) -> Vec<u64> {
        let drawn = self.drawn.into_sorted_vec();
        drawn.into_iter().map(|(_, row)| row).collect()
    }
}

/// A hash of a text, such as a row's id.
#[must_use]
pub fn hash_of(text: &str) -> u64 {
    text.as_bytes()
        .chunks(8)
        .fold(mixed(text.len() as u64), |hash, chunk| {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            mixed(hash ^ u64::from_le_bytes(bytes))
        })
}

/// Makes hashes of what rows hold different for rows that hold the same: the first of them keeps its own, the others
/// get one each. Rows that hold the same stand for each other, so it does not matter which is first. With groups,
/// one per row, each group is by itself.
///
/// Without it a sample would have all or none of the rows that repeat.
pub fn tell_apart(hashes: &mut [u64], groups: Option<&[u32]>) {
    let group = |row: usize| groups.and_then(|groups| groups.get(row)).copied();
    let mut order: Vec<u32> = (0..u32::try_from(hashes.len()).unwrap_or(u32::MAX)).collect();
    order.sort_unstable_by_key(|row| {
        let row = *row as usize;
        (group(row), hashes[row], row)
    });
    let mut before = None;
    let mut times = 0_u64;
    for row in order.into_iter().map(|row| row as usize) {
        let present = (group(row), hashes[row]);
        times = if before == Some(present) {
            times + 1
        } else {
            0
        };
        before = Some(present);
        if times > 0 {
            hashes[row] = mixed(hashes[row] ^ mixed(times));
        }
    }
}

/// What rows were drawn by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrawnBy {
    Id,
    /// The same where there are too many rows to look at the ids of all.
    IdInSomeChunks,
    Content,
    /// Where there are no ids, and too many rows to keep a hash of each.
    Position,
}

impl DrawnBy {
    /// What recipes say of so many rows that were drawn from so many.
    #[must_use]
    pub fn note(self, rows: u64, seen: u64) -> String {
        if rows == seen {
            return format!("all {rows} rows");
        }
        format!("{rows} of {seen} rows by a hash of {}", self.words())
    }

    fn words(self) -> &'static str {
        match self {
            Self::Id => "their ids",
            Self::IdInSomeChunks => "their ids, from some of the stored chunks",
            Self::Content => "their content",
            Self::Position => "their positions",
        }
    }
}

/// How many rows of a sample keep their vectors, if these are so long: the first ones.
#[must_use]
pub fn rows_with_vectors(length: usize) -> usize {
    SAMPLE_NUMBERS / length.max(1)
}

/// Some rows of a file or window, drawn by [`Draw`], column by column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowSample {
    /// From how many rows it was drawn.
    pub seen: u64,
    pub drawn_by: DrawnBy,
    /// The time of each row in seconds since 1970, where it is known.
    pub times: Vec<Option<i64>>,
    /// With one element per row. Of long vectors only [the first rows](rows_with_vectors) have theirs.
    pub columns: Vec<Column>,
}

/// Before the version, the checksum and the body.
const MAGIC: [u8; 3] = *b"BWS";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 1 + 4;

/// Why bytes are no sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    #[error("the bytes are not a sample of rows of a known version")]
    Unknown,
    #[error("the checksum does not fit the bytes")]
    Damaged,
    #[error("the bytes do not hold what a sample holds")]
    Malformed,
}

impl RowSample {
    /// Draws a sample from all rows by what they hold.
    #[must_use]
    pub fn of(columns: &[Column], times: &[Option<i64>]) -> Self {
        let rows = columns.first().map_or(0, Column::len);
        let mut hashes = vec![0_u64; rows];
        for column in columns {
            let salt = hash_of(&column.name);
            for (hash, value) in hashes.iter_mut().zip(column.iter()) {
                *hash = hash.wrapping_add(mixed(key_of(&value) ^ salt));
            }
        }
        tell_apart(&mut hashes, None);
        let mut draw = Draw::new(SAMPLE_ROWS);
        for (hash, row) in hashes.into_iter().zip(0..) {
            draw.offer(hash, row);
        }
        let drawn: Vec<usize> = (draw.rows().into_iter())
            .filter_map(|row| usize::try_from(row).ok())
            .collect();
        let time = |row: &usize| times.get(*row).copied().flatten();
        Self {
            seen: rows as u64,
            drawn_by: DrawnBy::Content,
            times: drawn.iter().map(time).collect(),
            columns: columns
                .iter()
                .map(|column| selected(column, &drawn))
                .collect(),
        }
    }

    /// As bytes: three of magic, one for the version, a CRC-32C of the version and the rest, and the rest.
    ///
    /// # Errors
    /// Never for a sample that fits into memory; the writer's own error is passed on.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let body = postcard::to_allocvec(self)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        bytes.extend(checksum(&body).to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are not a sample, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, SampleError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(SampleError::Unknown)?;
        let rest = rest.strip_prefix(&[VERSION]).ok_or(SampleError::Unknown)?;
        let (stated, body) = rest.split_first_chunk().ok_or(SampleError::Damaged)?;
        if u32::from_le_bytes(*stated) != checksum(body) {
            return Err(SampleError::Damaged);
        }
        let sample: Self = postcard::from_bytes(body).map_err(|_| SampleError::Malformed)?;
        let whole = sample
            .columns
            .iter()
            .all(|column| column.len() == sample.rows());
        if whole {
            Ok(sample)
        } else {
            Err(SampleError::Malformed)
        }
    }

    /// Keeps the rows for which `keep`, of one element per row, is true, and nothing of the others.
    pub fn retain(&mut self, keep: &[bool]) {
        let is_kept = |row: &usize| keep.get(*row).copied().unwrap_or(false);
        let rows: Vec<usize> = (0..self.rows()).filter(is_kept).collect();
        for column in &mut self.columns {
            let values = rows.iter().map(|row| column.get(*row));
            *column = Column::of(column.name.clone(), values.collect::<Vec<_>>());
        }
        self.times = rows.iter().map(|row| self.times[*row]).collect();
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The column of a feature.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What recipes say of it, such as `4000 of 57128 rows by a hash of their ids`.
    #[must_use]
    pub fn note(&self) -> String {
        self.drawn_by.note(self.rows() as u64, self.seen)
    }
}

/// The drawn rows of a column, of long vectors the first ones.
fn selected(column: &Column, drawn: &[usize]) -> Column {
    let mut selected = Column::new(column.name.clone());
    for (rank, row) in drawn.iter().enumerate() {
        match column.get(*row) {
            Value::Vector(vector) if rank >= rows_with_vectors(vector.len()) => {
                selected.push(&Value::Absent);
            }
            value => selected.push(&value),
        }
    }
    selected
}

fn checksum(body: &[u8]) -> u32 {
    crc32c::crc32c_append(u32::from(VERSION), body)
}

/// Equal values have equal keys.
fn key_of(value: &Value<'_>) -> u64 {
    match value {
        Value::Absent => 1,
        Value::Null => 2,
        Value::Number(number) => mixed(number.to_bits()),
        Value::Integer(integer) => mixed(integer.cast_unsigned() ^ 3),
        Value::Boolean(boolean) => 4 + u64::from(*boolean),
        Value::Text(text) => hash_of(text),
        Value::Timestamp(at) => mixed(at.timestamp_micros().cast_unsigned() ^ 6),
        Value::Vector(vector) => hash_vector(vector),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_rows(rows: impl Iterator<Item = i64> + Clone) -> RowSample {
        let times: Vec<Option<i64>> = rows.clone().map(Some).collect();
        let numbers = rows.clone().map(Value::Integer);
        let texts = rows.map(|row| Value::Text(format!("t{}", row % 9).into()));
        let columns = [Column::of("n", numbers), Column::of("t", texts)];
        RowSample::of(&columns, &times)
    }

    #[test]
    fn rows_are_drawn_by_what_they_hold_whatever_their_order() {
        let forward = some_rows(0..9_000);
        assert_eq!((forward.rows(), forward.seen), (SAMPLE_ROWS, 9_000));
        assert_eq!(some_rows((0..9_000).rev()), forward);
        assert_eq!(
            forward.note(),
            "4000 of 9000 rows by a hash of their content"
        );
        let row = (forward.times[7], forward.columns[0].get(7));
        assert!(
            matches!(row, (Some(time), Value::Integer(n)) if time == n),
            "rows stay whole"
        );
        assert_eq!(some_rows(0..0).rows(), 0);
    }

    #[test]
    fn a_sample_survives_being_stored_and_damage_is_found() {
        let sample = some_rows(0..50);
        let bytes = sample.encode().expect("encodes");
        assert_eq!(RowSample::decode(&bytes), Ok(sample));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 16;
            assert!(RowSample::decode(&damaged).is_err(), "byte {at}");
            assert!(RowSample::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    fn drawn(limit: usize, ids: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut draw = Draw::new(limit);
        ids.for_each(|id| draw.offer(hash_of(&format!("p{id}")), id));
        draw.rows()
    }

    #[test]
    fn a_sample_does_not_depend_on_the_order_of_rows() {
        let forward = drawn(50, 0..5_000);
        assert_eq!(forward.len(), 50);
        assert_eq!(drawn(50, (0..5_000).rev()), forward);
        let shuffled = (0..5_000).map(|i| i * 1_237 % 5_000);
        assert_eq!(drawn(50, shuffled), forward);
    }

    #[test]
    fn a_smaller_sample_is_the_beginning_of_a_larger_one() {
        let large = drawn(80, 0..1_000);
        assert_eq!(drawn(30, 0..1_000), large[..30]);
    }

    #[test]
    fn samples_are_spread_over_all_rows() {
        let sample = drawn(4_000, 0..200_000);
        let mean = sample.iter().sum::<u64>() as f64 / 4_000.0;
        // Four standard errors of the mean of 4,000 places are 3,650.
        assert!((mean - 100_000.0).abs() < 3_650.0, "{mean}");
    }

    #[test]
    fn few_rows_are_all_drawn_and_none_from_nothing() {
        let mut all = drawn(10, 0..7);
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        assert_eq!(drawn(10, 0..0), [0; 0]);
        assert_eq!(drawn(0, 0..10), [0; 0]);
    }

    #[test]
    fn rows_that_repeat_are_drawn_in_their_share_whatever_the_order() {
        // Nine of ten rows hold the same.
        let content = |row: u64| if row.is_multiple_of(10) { row } else { 1 };
        let sample = |rows: Vec<u64>| {
            let mut hashes: Vec<u64> = rows.iter().map(|row| mixed(content(*row))).collect();
            tell_apart(&mut hashes, None);
            let mut draw = Draw::new(500);
            for (row, hash) in rows.iter().zip(hashes) {
                draw.offer(hash, *row);
            }
            let drawn = draw.rows().into_iter();
            drawn.map(content).collect::<Vec<u64>>()
        };
        let forward = sample((0..10_000).collect());
        let same = forward.iter().filter(|content| **content == 1).count();
        assert!((420..=480).contains(&same), "{same} of 500 hold the same");
        assert_eq!(sample((0..10_000).rev().collect()), forward);
    }

    #[test]
    fn groups_do_not_touch_each_other() {
        let mut hashes = [7, 7, 7, 7];
        tell_apart(&mut hashes, Some(&[0, 1, 1, 0]));
        assert_eq!((hashes[0], hashes[1]), (7, 7));
        assert_eq!(hashes[2], hashes[3]);
        assert_ne!(hashes[2], 7);
    }

    #[test]
    fn texts_of_like_beginnings_have_other_hashes() {
        let texts = ["", "\0", "a", "a\0", "aaaaaaaa", "aaaaaaaaa"];
        let hashes: std::collections::BTreeSet<u64> = texts.map(hash_of).into();
        assert_eq!(hashes.len(), texts.len());
    }
}
