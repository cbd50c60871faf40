//! Keys as bytes: a byte for the format, 24 bytes a key in the order of hashes, and a checksum. `page_keys()` of migration
//! 0009 reads the same.

use super::PredictionKey;
use crate::storage::predictions::ChunkKey;

/// Keys of a page, which then stays in one piece within a page of Postgres; more only where hashes are equal.
const KEYS: usize = 80;
const KEY_BYTES: usize = 24;
/// Written by migration 0009, which cannot compute a checksum.
const WITHOUT_CHECKSUM: u8 = 0;
const FORMAT: u8 = 1;
/// In a position, which is far smaller: the hash of the content is not known.
const UNKNOWN_CONTENT: u16 = 1 << 15;

/// Keys in the order of their hashes, page by page. Equal hashes are not separated: whoever looks for a hash reads one page
/// of a run.
pub(super) fn split(mut keys: &[PredictionKey]) -> impl Iterator<Item = &[PredictionKey]> {
    std::iter::from_fn(move || {
        let first = keys.get(KEYS.min(keys.len()).checked_sub(1)?)?;
        let more = keys
            .iter()
            .skip(KEYS)
            .take_while(|key| key.id_hash == first.id_hash);
        let end = (KEYS + more.count()).min(keys.len());
        let (page, rest) = keys.split_at(end);
        keys = rest;
        Some(page)
    })
}

/// Keys in the order of their hashes as bytes.
#[must_use]
pub fn encode(keys: &[PredictionKey]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.len() * KEY_BYTES + 5);
    bytes.push(FORMAT);
    for key in keys {
        let position = key.position.cast_unsigned()
            | if key.content_hash.is_none() {
                UNKNOWN_CONTENT
            } else {
                0
            };
        bytes.extend_from_slice(&key.id_hash.to_be_bytes());
        bytes.extend_from_slice(&key.content_hash.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&key.chunk.version_number.to_be_bytes());
        bytes.extend_from_slice(&key.chunk.chunk.to_be_bytes());
        bytes.extend_from_slice(&key.chunk.day.to_be_bytes());
        bytes.extend_from_slice(&position.to_be_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

/// The keys of a page; `None` where its bytes are damaged.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<PredictionKey>> {
    let keys = match bytes.split_first()? {
        (&WITHOUT_CHECKSUM, keys) => keys,
        (&FORMAT, _) => {
            let (covered, checksum) = bytes.split_last_chunk::<4>()?;
            if crc32c::crc32c(covered) != u32::from_be_bytes(*checksum) {
                return None;
            }
            covered.get(1..)?
        }
        _ => return None,
    };
    let (keys, []) = keys.as_chunks::<KEY_BYTES>() else {
        return None;
    };
    Some(keys.iter().map(key).collect())
}

fn key(bytes: &[u8; KEY_BYTES]) -> PredictionKey {
    let [
        h0,
        h1,
        h2,
        h3,
        h4,
        h5,
        h6,
        h7,
        c0,
        c1,
        c2,
        c3,
        v0,
        v1,
        v2,
        v3,
        n0,
        n1,
        n2,
        n3,
        d0,
        d1,
        p0,
        p1,
    ] = *bytes;
    let position = u16::from_be_bytes([p0, p1]);
    let is_known = position & UNKNOWN_CONTENT == 0;
    PredictionKey {
        id_hash: i64::from_be_bytes([h0, h1, h2, h3, h4, h5, h6, h7]),
        content_hash: is_known.then(|| i32::from_be_bytes([c0, c1, c2, c3])),
        chunk: ChunkKey {
            version_number: i32::from_be_bytes([v0, v1, v2, v3]),
            chunk: i32::from_be_bytes([n0, n1, n2, n3]),
            day: i16::from_be_bytes([d0, d1]),
        },
        position: (position & !UNKNOWN_CONTENT).cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys_with(hashes: impl IntoIterator<Item = i64>) -> Vec<PredictionKey> {
        let mut keys: Vec<PredictionKey> = (hashes.into_iter().zip(0..))
            .map(|(id_hash, position)| PredictionKey {
                id_hash,
                content_hash: (position % 3 > 0).then_some(id_hash as i32),
                chunk: ChunkKey {
                    version_number: i32::from(position) + 1,
                    day: position - 40,
                    chunk: 7,
                },
                position,
            })
            .collect();
        keys.sort_by_key(|key| key.id_hash);
        keys
    }

    proptest! {
        #[test]
        fn keys_are_read_back_and_equal_hashes_stay_together(hashes in prop::collection::vec(-40_i64..40, 0..400)) {
            let keys = keys_with(hashes);
            let pages: Vec<&[PredictionKey]> = split(&keys).collect();
            prop_assert_eq!(pages.concat(), keys.clone());
            for pair in pages.windows(2) {
                prop_assert!(pair[0].last().map(|k| k.id_hash) < pair[1].first().map(|k| k.id_hash));
                prop_assert!(pair[0].len() >= KEYS);
            }
            for page in pages {
                prop_assert_eq!(decode(&encode(page)), Some(page.to_vec()));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = encode(&keys_with([i64::MIN, -1, 0, i64::MAX]));
        for place in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[place / 8] ^= 1 << (place % 8);
            assert_eq!(decode(&damaged), None, "bit {place}");
        }
    }
}
