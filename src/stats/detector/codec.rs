//! What of the detector is stored, as bytes: a fitted reference, and the tallies of a day. Other things that are stored
//! whole are written in the same form.
//!
//! As of profiles: two bytes of magic, one for the family and one for the version, the body as postcard writes it, and
//! a CRC-32C of all that.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bins::Tally;
use super::reference::{FeatureReference, Reference};
use super::test::OfDay;

const MAGIC: [u8; 2] = *b"BW";
const CHECKSUM_BYTES: usize = 4;

/// What a blob is, and in which version it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) family: u8,
    pub(crate) version: u8,
}

const REFERENCE: Form = Form {
    family: 2,
    version: 2,
};
/// Of a reference whose buckets are shorter than days: with what the buckets of a day have in common.
const SHORT: Form = Form {
    family: 2,
    version: 3,
};
const DAY: Form = Form {
    family: 3,
    version: 1,
};

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("read bytes that are something else")]
    OtherFamily,
    #[error("read bytes of version {0}, which this release does not know")]
    UnknownVersion(u8),
    #[error("read bytes whose checksum does not match")]
    Checksum,
    #[error("read bytes whose body cannot be parsed")]
    Malformed,
}

/// The tallies of one bucket, by feature.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DayTallies(pub BTreeMap<String, Tally>);

impl Reference {
    /// The reference as bytes that [`Reference::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if self.grain.slots() == 1 {
            return encode(REFERENCE, self);
        }
        let of_days: Vec<OfDays> = self.features.iter().map(OfDays::of).collect();
        encode(SHORT, &(self, of_days))
    }

    /// Reads what [`Reference::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (mut reference, of_days): (Self, Vec<OfDays>) = match decode(REFERENCE, bytes) {
            Err(Damaged::UnknownVersion(version)) if version == SHORT.version => {
                decode(SHORT, bytes)?
            }
            read => return read,
        };
        for (feature, of_days) in reference.features.iter_mut().zip(of_days) {
            of_days.give(feature);
        }
        Ok(reference)
    }
}

/// What the days of a feature are, beside its shorter buckets.
#[derive(Debug, Serialize, Deserialize)]
struct OfDays {
    whole_days: Option<usize>,
    /// By score.
    scores: Vec<Option<OfDay>>,
}

impl OfDays {
    fn of(feature: &FeatureReference) -> Self {
        Self {
            whole_days: feature.whole_days,
            scores: feature.scores.iter().map(|score| score.of_day).collect(),
        }
    }

    fn give(self, feature: &mut FeatureReference) {
        feature.whole_days = self.whole_days;
        for (score, of_day) in feature.scores.iter_mut().zip(self.scores) {
            score.of_day = of_day;
        }
    }
}

impl DayTallies {
    /// The tallies as bytes that [`DayTallies::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(DAY, self)
    }

    /// Reads what [`DayTallies::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        decode(DAY, bytes)
    }
}

/// Bytes that [`decode`] reads with the same form.
pub(crate) fn encode(form: Form, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([form.family, form.version]);
    let bytes = postcard::to_extend(body, bytes);
    let mut bytes =
        bytes.expect("every sequence knows its length and a vector takes all that is written");
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Reads what [`encode`] wrote with that form.
///
/// # Errors
/// When the bytes are something else, of another version, or damaged.
pub(crate) fn decode<T: DeserializeOwned>(form: Form, bytes: &[u8]) -> Result<T, Damaged> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(Damaged::OtherFamily)?;
    let rest = rest
        .strip_prefix(&[form.family])
        .ok_or(Damaged::OtherFamily)?;
    let (version, rest) = rest.split_first().ok_or(Damaged::Malformed)?;
    if *version != form.version {
        return Err(Damaged::UnknownVersion(*version));
    }
    let (body, checksum) = rest
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(Damaged::Malformed)?;
    let covered = &bytes[..bytes.len() - CHECKSUM_BYTES];
    if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
        return Err(Damaged::Checksum);
    }
    let (body, rest) = postcard::take_from_bytes(body).map_err(|_| Damaged::Malformed)?;
    if rest.is_empty() {
        Ok(body)
    } else {
        Err(Damaged::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bins, FeatureDays, Grain, Observation, Role, Settings, VolumeDay};
    use super::*;

    /// A day of a feature with two categories and a rare one.
    fn tally(day: u64) -> Tally {
        Tally {
            rows: 300 + day,
            missing: 3,
            mismatched: 1,
            counts: vec![200, 90 + day, 6],
            unseen: Some(day % 2),
        }
    }

    fn reference() -> Reference {
        let days: Vec<Tally> = (0..20).map(tally).collect();
        let observed = (0..).zip(&days).map(|(bucket, tally)| Observation {
            bucket,
            holiday: false,
            tally,
        });
        let names = [("a", 4_000), ("b", 2_000), ("c", 5)];
        let feature = FeatureDays {
            name: "origin".to_owned(),
            role: Role::Input,
            bins: Bins::of_categories([names; 20], true),
            days: observed.collect(),
        };
        let volumes = (0..20).map(|bucket| VolumeDay {
            bucket,
            holiday: false,
            rows: 300,
        });
        let volumes: Vec<VolumeDay> = volumes.collect();
        Reference::fit(Grain::Day, &[feature], &volumes, Settings::default()).expect("a reference")
    }

    #[test]
    fn a_reference_and_a_day_are_read_as_they_were_written() {
        let reference = reference();
        assert_eq!(
            Reference::decode(&reference.encode()).as_ref(),
            Ok(&reference)
        );
        let day = DayTallies(BTreeMap::from([
            ("origin".to_owned(), tally(3)),
            ("nothing".to_owned(), Tally::default()),
        ]));
        assert_eq!(DayTallies::decode(&day.encode()), Ok(day));
    }

    #[test]
    fn damage_other_families_and_other_versions_are_named() {
        let day = DayTallies(BTreeMap::from([("origin".to_owned(), tally(3))])).encode();
        for place in 0..day.len() {
            let mut damaged = day.clone();
            damaged[place] ^= 4;
            assert!(DayTallies::decode(&damaged).is_err(), "byte {place}");
            assert!(DayTallies::decode(&day[..place]).is_err(), "{place} bytes");
        }
        assert_eq!(Reference::decode(&day), Err(Damaged::OtherFamily));
        let mut later = day;
        later[3] = 9;
        assert_eq!(DayTallies::decode(&later), Err(Damaged::UnknownVersion(9)));
    }
}
