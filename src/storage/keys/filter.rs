//! Which hashes a run may have: a Bloom filter in blocks of 256 bits, as Parquet has it too (Putze, Sanders and Singler
//! 2009). One that says no is right; one that says yes is wrong for one hash in a thousand, in long runs for four.
//!
//! A block is chosen by the upper half of a hash and in the order of hashes, so that hashes looked up in their order walk
//! through the filter once.

/// What makes eight bits of one half of a hash: the odd numbers of Parquet's specification.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];
/// Runs with more keys have fewer bits for each: there are few of them, and they take most of the memory.
const LONG: u64 = 1 << 20;
const BITS: u64 = 16;
const BITS_WHEN_LONG: u64 = 12;
const FORMAT: u8 = 1;

type Block = [u32; 8];

/// The filter of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// An empty filter for so many keys.
    #[must_use]
    pub fn new(keys: u64) -> Self {
        Self {
            blocks: vec![Block::default(); blocks(keys)],
        }
    }

    /// Bytes that the filter of so many keys takes.
    #[must_use]
    pub fn size(keys: u64) -> usize {
        blocks(keys) * size_of::<Block>()
    }

    pub fn insert(&mut self, hash: i64) {
        let block = self.block_of(hash);
        for (word, bit) in self.blocks[block].iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    /// Whether the run may have the hash.
    #[must_use]
    pub fn may_have(&self, hash: i64) -> bool {
        let block = &self.blocks[self.block_of(hash)];
        block
            .iter()
            .zip(bits(hash))
            .all(|(word, bit)| word & bit != 0)
    }

    fn block_of(&self, hash: i64) -> usize {
        let upper = in_order(hash) >> 32;
        usize::try_from((upper * self.blocks.len() as u64) >> 32).unwrap_or(0)
    }

    /// Format, words, checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.blocks.len() * size_of::<Block>() + 5);
        bytes.push(FORMAT);
        bytes.extend(
            self.blocks
                .iter()
                .flatten()
                .flat_map(|word| word.to_le_bytes()),
        );
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// What [`Filter::encode`] gave; `None` where the bytes are damaged.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, checksum) = bytes.split_last_chunk::<4>()?;
        let (format, words) = covered.split_first()?;
        let (words, []) = words.as_chunks::<4>() else {
            return None;
        };
        let (words, []) = words.as_chunks::<8>() else {
            return None;
        };
        let is_whole = *format == FORMAT
            && !words.is_empty()
            && crc32c::crc32c(covered) == u32::from_le_bytes(*checksum);
        is_whole.then(|| Self {
            blocks: words
                .iter()
                .map(|block| block.map(u32::from_le_bytes))
                .collect(),
        })
    }
}

fn blocks(keys: u64) -> usize {
    let bits = if keys < LONG { BITS } else { BITS_WHEN_LONG };
    let blocks = keys.saturating_mul(bits).div_ceil(256).max(1);
    usize::try_from(blocks).unwrap_or(usize::MAX)
}

/// The same order without signs.
fn in_order(hash: i64) -> u64 {
    hash.cast_unsigned() ^ (1 << 63)
}

/// One bit for each word of a block, from the lower half of a hash.
fn bits(hash: i64) -> impl Iterator<Item = u32> {
    let lower = (hash.cast_unsigned() & u64::from(u32::MAX)) as u32;
    SALTS
        .into_iter()
        .map(move |salt| 1 << (lower.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as SHA-256 would spread them.
    fn hashes(from: u64, count: u64) -> impl Iterator<Item = i64> {
        (from..from + count).map(|n| {
            let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)).cast_signed()
        })
    }

    fn filter(count: u64) -> Filter {
        let mut filter = Filter::new(count);
        hashes(0, count).for_each(|hash| filter.insert(hash));
        filter
    }

    #[test]
    fn every_hash_of_a_run_is_there_and_few_others() {
        for (count, most) in [(1, 0.01), (80, 0.005), (20_000, 0.002), (LONG + 1, 0.008)] {
            let filter = filter(count);
            assert!(
                hashes(0, count).all(|hash| filter.may_have(hash)),
                "{count}"
            );
            let others = hashes(10_000_000, 100_000).filter(|hash| filter.may_have(*hash));
            let share = others.count() as f64 / 100_000.0;
            assert!(share < most, "{share} of others with {count} keys");
        }
        assert!(!Filter::new(0).may_have(7));
    }

    #[test]
    fn what_is_stored_is_read_back_and_damage_is_seen() {
        let filter = filter(300);
        let bytes = filter.encode();
        assert_eq!(bytes.len(), Filter::size(300) + 5);
        assert_eq!(Filter::decode(&bytes), Some(filter));
        for place in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[place / 8] ^= 1 << (place % 8);
            assert_eq!(Filter::decode(&damaged), None, "bit {place}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Filter::decode(&bytes[..length]), None);
        }
    }
}
