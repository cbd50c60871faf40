//! A batch as it is kept until it is settled: family and version, checksum, rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// The family of all versions.
const FAMILY: &[u8; 3] = b"BWB";
/// Compressed rows. Predictions of version 1 were kept row by row; migration 0002 sees to it that none is left.
const COMPRESSED: u8 = 2;
/// Rows as they are: of few rows, compressing costs more than it saves.
const PLAIN: u8 = 3;
/// Labels were kept like this from the first version on.
const COMPRESSED_LABELS: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// What is kept for seconds is compressed as fast as can be.
const LEVEL: i32 = -3;
/// Rows of fewer bytes are not compressed.
const WORTH_COMPRESSING: usize = 4 << 10;
/// More than any batch within the limits unfolds to: a damaged length must not ask for all memory.
const MOST_BYTES: usize = 1 << 30;

/// Encodes a batch.
pub(in crate::services) fn encode<B: Serialize>(batch: &B) -> Result<Vec<u8>, Error> {
    let rows = postcard::to_allocvec(batch).map_err(Error::internal)?;
    let (version, rows) = if rows.len() < WORTH_COMPRESSING {
        (PLAIN, rows)
    } else {
        let rows = zstd::bulk::compress(&rows, LEVEL).map_err(Error::internal)?;
        (COMPRESSED, rows)
    };
    let mut body = Vec::with_capacity(FAMILY.len() + 1 + CHECKSUM_BYTES + rows.len());
    body.extend_from_slice(FAMILY);
    body.push(version);
    body.extend_from_slice(&checksum(version, &rows).to_le_bytes());
    body.extend_from_slice(&rows);
    Ok(body)
}

/// Of the version too, or a damaged one would pass.
fn checksum(version: u8, rows: &[u8]) -> u32 {
    match version {
        COMPRESSED_LABELS => crc32c::crc32c(rows),
        _ => crc32c::crc32c_append(version.into(), rows),
    }
}

/// How many bytes a body unfolds to, as it says itself.
pub fn unfolded_bytes(body: &[u8]) -> usize {
    let rows = body
        .get(FAMILY.len() + 1 + CHECKSUM_BYTES..)
        .unwrap_or(body);
    let bytes = zstd::bulk::Decompressor::upper_bound(rows);
    bytes.unwrap_or(rows.len()).min(MOST_BYTES)
}

/// Why a landed batch cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("read a landed batch: it does not begin like one")]
    Header,
    #[error("read a landed batch of version {0}, which this release does not know")]
    UnknownVersion(u8),
    #[error("read a landed batch: its checksum does not fit")]
    Checksum,
    #[error("decompress a landed batch")]
    Decompress(#[source] std::io::Error),
    #[error("decode a landed batch")]
    Decode(#[source] postcard::Error),
}

/// Reads a landed batch back.
///
/// # Errors
/// When the bytes are not what [`super::predictions`] or [`super::labels`] wrote.
pub fn decode<B: DeserializeOwned>(body: &[u8]) -> Result<B, BodyError> {
    let rest = body.strip_prefix(FAMILY).ok_or(BodyError::Header)?;
    let (&version, rest) = rest.split_first().ok_or(BodyError::Header)?;
    if !matches!(version, COMPRESSED_LABELS | COMPRESSED | PLAIN) {
        return Err(BodyError::UnknownVersion(version));
    }
    let (expected, rows) = rest
        .split_first_chunk::<CHECKSUM_BYTES>()
        .ok_or(BodyError::Header)?;
    if checksum(version, rows) != u32::from_le_bytes(*expected) {
        return Err(BodyError::Checksum);
    }
    if version == PLAIN {
        return postcard::from_bytes(rows).map_err(BodyError::Decode);
    }
    let bytes = zstd::bulk::Decompressor::upper_bound(rows).unwrap_or(MOST_BYTES);
    let rows =
        zstd::bulk::decompress(rows, bytes.min(MOST_BYTES)).map_err(BodyError::Decompress)?;
    postcard::from_bytes(&rows).map_err(BodyError::Decode)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::DateTime;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::domain::batch::{LabelBatch, LabelValue, Output, PredictionBatch};
    use crate::domain::columns::{Column, Value};

    fn batch(rows: usize) -> LabelBatch {
        LabelBatch {
            prediction_ids: (0..rows).map(|row| format!("id {row}")).collect(),
            labels: (0..rows)
                .map(|row| match row % 2 {
                    0 => LabelValue::Number(1.5),
                    _ => LabelValue::Class("late".into()),
                })
                .collect(),
            observed_at: vec![DateTime::UNIX_EPOCH; rows],
        }
    }

    #[test]
    fn a_landed_batch_reads_back_as_it_was() {
        for rows in [0, 1, 2, 1_000] {
            let body = encode(&batch(rows)).expect("encodes");
            assert_eq!(decode::<LabelBatch>(&body).expect("decodes"), batch(rows));
        }
    }

    #[test]
    fn a_damaged_batch_is_an_error_wherever_the_damage_is() {
        for rows in [2, 400] {
            let body = encode(&batch(rows)).expect("encodes");
            for position in 0..body.len() {
                for bit in 0..8 {
                    let mut damaged = body.clone();
                    damaged[position] ^= 1 << bit;
                    assert!(
                        decode::<LabelBatch>(&damaged).is_err(),
                        "bit {bit} of byte {position}"
                    );
                }
            }
            assert!(decode::<LabelBatch>(&body[..6]).is_err());
        }
    }

    fn predictions(rows: usize) -> PredictionBatch {
        let mut batch = PredictionBatch::default();
        let mut distance = Column::new("distance");
        let mut carrier = Column::new("carrier");
        for row in 0..rows {
            batch.prediction_ids.push(&format!("id {row}"));
            batch.predicted_at.push(DateTime::UNIX_EPOCH);
            batch.versions.push(Some("v1"));
            batch.outputs.push(Output {
                value: Some(row as f64),
                ..Output::default()
            });
            batch.segments.push(vec![("origin".into(), "EWR".into())]);
            batch.latency_ms.push((row % 2 == 0).then_some(1.5));
            batch.errors.push((row % 7 == 0).then_some("time-out"));
            batch.deployments.push(None);
            distance.push(&Value::Number(row as f64 * 1.25));
            carrier.push(&Value::Text(["UA", "AA", ""][row % 3].into()));
        }
        batch.features = vec![distance, carrier];
        batch
    }

    #[test]
    fn ten_thousand_random_bit_flips_are_all_found() {
        fn is_found<B: DeserializeOwned>(body: &[u8]) -> bool {
            decode::<B>(body).is_err()
        }
        type IsFound = fn(&[u8]) -> bool;
        let [labels, more_labels] = [2, 1_000].map(|rows| encode(&batch(rows)).expect("encodes"));
        let [rows, more_rows] = [3, 1_000].map(|rows| encode(&predictions(rows)).expect("encodes"));
        let seeds: [(Vec<u8>, IsFound, u8); 5] = [
            (labels, is_found::<LabelBatch>, PLAIN),
            (more_labels, is_found::<LabelBatch>, COMPRESSED),
            (rows, is_found::<PredictionBatch>, PLAIN),
            (more_rows, is_found::<PredictionBatch>, COMPRESSED),
            (
                landed_by_the_first_version(),
                is_found::<LabelBatch>,
                COMPRESSED_LABELS,
            ),
        ];
        for (body, is_found, version) in &seeds {
            assert_eq!(body[FAMILY.len()], *version);
            assert!(!is_found(body));
        }
        let mut rng = StdRng::seed_from_u64(24);
        for flip in 0..10_000 {
            let (body, is_found, _) = &seeds[flip % seeds.len()];
            let mut damaged = body.clone();
            // Most damage is one bit; some is more.
            let bits = if flip % 4 == 0 {
                rng.random_range(2..=32)
            } else {
                1
            };
            let mut flipped = BTreeSet::new();
            while flipped.len() < bits {
                flipped.insert((rng.random_range(0..damaged.len()), rng.random_range(0..8)));
            }
            for (byte, bit) in &flipped {
                damaged[*byte] ^= 1 << bit;
            }
            assert!(is_found(&damaged), "flip {flip}: {flipped:?}");
        }
    }

    fn landed_by_the_first_version() -> Vec<u8> {
        let rows = postcard::to_allocvec(&batch(3)).expect("serialises");
        let rows = zstd::encode_all(rows.as_slice(), 1).expect("compresses");
        let mut body = b"BWB\x01".to_vec();
        body.extend_from_slice(&crc32c::crc32c(&rows).to_le_bytes());
        body.extend_from_slice(&rows);
        body
    }

    #[test]
    fn labels_landed_by_the_first_version_are_read() {
        let body = landed_by_the_first_version();
        assert_eq!(decode::<LabelBatch>(&body).expect("decodes"), batch(3));
    }
}
