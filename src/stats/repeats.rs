//! How many rows repeat another one, or how many values of a feature do, from a summary of bounded size that merges.
//!
//! Rows are known by a hash of what they hold. Up to [`MOST_HASHES`] different hashes all are kept, each with how often
//! it came, and the count is exact. Beyond, only hashes with a zero in each of their last bits are kept, one bit more
//! each time there are too many (adaptive sampling, Flajolet 1990). Rows that repeat each other share their hash and so
//! are kept or left out together: the share among those kept is that among all, but for chance.
//!
//! The summary depends on the rows and on nothing else: neither on their order nor on the parts they came in.

use std::collections::BTreeMap;

/// Different hashes that are kept: 24 KiB as bytes. Where one row in a hundred repeats another, the share estimated from
/// so many has a standard error of 0.3 percentage points.
pub const MOST_HASHES: usize = 2_048;
/// Before the level, the number of rows and the hashes.
const VERSION: u8 = 2;
const ROW_BYTES: usize = 8 + 4;
const HEADER_BYTES: usize = 1 + 1 + 8;
const CHECKSUM_BYTES: usize = 4;

/// A summary of rows by how often what they hold came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repeats {
    /// So many last bits of the hashes that are kept are zero.
    level: u32,
    rows: u64,
    counts: BTreeMap<u64, u32>,
}

/// Why bytes are no such summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a summary of repeated rows")]
pub struct NoRepeats;

impl Repeats {
    /// Adds a row by the hash of what it holds, whose bits are as good as random.
    pub fn observe(&mut self, hash: u64) {
        self.rows += 1;
        self.keep(hash, 1);
        self.thin();
    }

    /// Adds a row as [`Self::observe`] does; whether it is the first that is kept track of with this hash.
    pub fn observe_new(&mut self, hash: u64) -> bool {
        let known = is_kept(hash, self.level) && self.counts.contains_key(&hash);
        self.observe(hash);
        !known
    }

    /// Adds the rows of another summary.
    pub fn merge(&mut self, other: &Self) {
        self.level = self.level.max(other.level);
        self.rows = self.rows.saturating_add(other.rows);
        let level = self.level;
        self.counts.retain(|hash, _| is_kept(*hash, level));
        for (hash, count) in &other.counts {
            self.keep(*hash, *count);
        }
        self.thin();
    }

    fn keep(&mut self, hash: u64, times: u32) {
        if is_kept(hash, self.level) {
            let count = self.counts.entry(hash).or_default();
            *count = count.saturating_add(times);
        }
    }

    fn thin(&mut self) {
        while self.counts.len() > MOST_HASHES {
            self.level += 1;
            let level = self.level;
            self.counts.retain(|hash, _| is_kept(*hash, level));
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether every row is accounted for; else the share is an estimate.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.level == 0
    }

    /// The number of different rows: exact where every row is accounted for, else estimated by those kept, with a standard error
    /// of 3 % about.
    #[must_use]
    pub fn distinct(&self) -> f64 {
        self.counts.len() as f64 * 2.0_f64.powi(i32::try_from(self.level).unwrap_or(i32::MAX))
    }

    /// Of the rows that are kept track of, those that repeat an earlier one, and all of them.
    #[must_use]
    pub fn repeated(&self) -> (u64, u64) {
        let rows: u64 = self.counts.values().map(|count| u64::from(*count)).sum();
        (rows - self.counts.len() as u64, rows)
    }

    /// As bytes: version, level, number of rows, then each hash with its count; little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size = HEADER_BYTES + self.counts.len() * ROW_BYTES + CHECKSUM_BYTES;
        let mut bytes = Vec::with_capacity(size);
        // Beyond 64 bits there is no hash left but zero.
        bytes.extend([VERSION, u8::try_from(self.level).unwrap_or(u8::MAX)]);
        bytes.extend(self.rows.to_le_bytes());
        for (hash, count) in &self.counts {
            bytes.extend(hash.to_le_bytes());
            bytes.extend(count.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoRepeats> {
        let (covered, checksum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(NoRepeats)?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
            return Err(NoRepeats);
        }
        let (header, body) = covered.split_at_checked(HEADER_BYTES).ok_or(NoRepeats)?;
        let (rows, rest) = body.as_chunks::<ROW_BYTES>();
        if header[0] != VERSION || header[1] > 64 || !rest.is_empty() || rows.len() > MOST_HASHES {
            return Err(NoRepeats);
        }
        let level = u32::from(header[1]);
        let total = header[2..].try_into().map_err(|_| NoRepeats)?;
        let mut counts = BTreeMap::new();
        for row in rows {
            let (hash, count) = row.split_first_chunk::<8>().ok_or(NoRepeats)?;
            let hash = u64::from_le_bytes(*hash);
            let count = u32::from_le_bytes(count.try_into().map_err(|_| NoRepeats)?);
            if count == 0 || !is_kept(hash, level) || counts.insert(hash, count).is_some() {
                return Err(NoRepeats);
            }
        }
        Ok(Self {
            level,
            rows: u64::from_le_bytes(total),
            counts,
        })
    }
}

fn is_kept(hash: u64, level: u32) -> bool {
    hash.trailing_zeros() >= level
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::thinning::mixed;

    fn of(hashes: impl IntoIterator<Item = u64>) -> Repeats {
        let mut repeats = Repeats::default();
        hashes.into_iter().for_each(|hash| repeats.observe(hash));
        repeats
    }

    #[test]
    fn few_rows_are_counted_exactly() {
        let repeats = of([1, 2, 1, 3, 1, 2].map(mixed));
        assert_eq!((repeats.repeated(), repeats.rows()), ((3, 6), 6));
        assert!(repeats.is_exact());
        assert_eq!(Repeats::default().repeated(), (0, 0));
    }

    #[test]
    fn of_many_rows_the_share_is_kept() {
        // One row in five repeats the one before it.
        let rows = 200_000_u64;
        let repeats = of((0..rows).map(|row| mixed(row - u64::from(row % 5 == 4))));
        assert!(!repeats.is_exact());
        assert_eq!(repeats.rows(), rows);
        let (repeated, kept) = repeats.repeated();
        assert!(kept > MOST_HASHES as u64 / 2, "{kept}");
        let share = repeated as f64 / kept as f64;
        assert!((share - 0.2).abs() < 0.02, "{share}");
    }

    #[test]
    fn the_summary_depends_on_the_rows_only() {
        let hashes: Vec<u64> = (0..30_000_u64).map(|row| mixed(row / 2)).collect();
        let whole = of(hashes.iter().copied());
        let backward = of(hashes.iter().rev().copied());
        let mut parts = of(hashes[20_000..].iter().copied());
        parts.merge(&of(hashes[..7].iter().copied()));
        parts.merge(&of(hashes[7..20_000].iter().copied()));
        assert_eq!(whole, backward);
        assert_eq!(whole, parts);
        assert_eq!(Repeats::decode(&whole.encode()), Ok(whole));
    }

    #[test]
    fn other_bytes_are_refused() {
        let whole = of([1, 2, 2].map(mixed)).encode();
        let bytes = &whole[..whole.len() - CHECKSUM_BYTES];
        let read = |bytes: &[u8]| {
            let checksum = crc32c::crc32c(bytes).to_le_bytes();
            Repeats::decode(&[bytes, &checksum].concat())
        };
        assert!(read(bytes).is_ok());
        let changed = |at: usize, to: u8| {
            let mut changed = bytes.to_vec();
            changed[at] = to;
            read(&changed)
        };
        assert_eq!(changed(0, 1), Err(NoRepeats), "another version");
        assert_eq!(changed(1, 64), Err(NoRepeats), "hashes of a lower level");
        for length in [0, 5, bytes.len() - 1] {
            assert_eq!(read(&bytes[..length]), Err(NoRepeats), "{length}");
        }
        let twice = [bytes, &bytes[HEADER_BYTES..]].concat();
        assert_eq!(read(&twice), Err(NoRepeats));
        assert_eq!(Repeats::decode(&[]), Err(NoRepeats));
    }

    #[test]
    fn no_bit_that_flips_goes_unnoticed() {
        let whole = of((0..40).map(|row| mixed(row / 2))).encode();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Repeats::decode(&flipped), Err(NoRepeats), "{bit}");
        }
    }
}
