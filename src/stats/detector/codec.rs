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
use super::volume::ByDay;

const MAGIC: [u8; 2] = *b"BW";
const CHECKSUM_BYTES: usize = 4;

/// What a blob is, and in which version it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) family: u8,
    pub(crate) version: u8,
}

/// With what is stored beside the scores.
const REFERENCE: Form = Form {
    family: 2,
    version: 4,
};
/// As earlier builds wrote it: of buckets that are days or longer,
const PLAIN: Form = Form {
    family: 2,
    version: 2,
};
/// and of shorter ones, with what the buckets of a day have in common.
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
        let features = self.features.iter().map(BesideFeature::of);
        let beside = Beside {
            features: features.collect(),
            volume: self.volume.as_ref().map(|volume| volume.by_day.clone()),
        };
        encode(REFERENCE, &(self, beside))
    }

    /// Reads what [`Reference::encode`] wrote, and what earlier builds did: of these the usual rows of single scores are not known,
    /// and those of the feature stand for them.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (mut reference, beside): (Self, Beside) = match decode(REFERENCE, bytes) {
            Err(Damaged::UnknownVersion(version)) if version == PLAIN.version => {
                return decode(PLAIN, bytes);
            }
            Err(Damaged::UnknownVersion(version)) if version == SHORT.version => {
                let (reference, of_days): (Self, Vec<OfDays>) = decode(SHORT, bytes)?;
                let features = of_days.into_iter().map(|of_days| BesideFeature {
                    of_days,
                    usual_rows: Vec::new(),
                });
                let beside = Beside {
                    features: features.collect(),
                    volume: None,
                };
                (reference, beside)
            }
            read => read?,
        };
        for (feature, beside) in reference.features.iter_mut().zip(beside.features) {
            beside.give(feature);
        }
        if let (Some(volume), Some(by_day)) = (&mut reference.volume, beside.volume) {
            volume.by_day = by_day;
        }
        Ok(reference)
    }
}

/// What is stored beside a reference's scores, whose own form is older than it.
#[derive(Debug, Serialize, Deserialize)]
struct Beside {
    features: Vec<BesideFeature>,
    volume: Option<ByDay>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BesideFeature {
    of_days: OfDays,
    /// By score.
    usual_rows: Vec<Option<f64>>,
}

/// What the days of a feature are, beside its shorter buckets.
#[derive(Debug, Serialize, Deserialize)]
struct OfDays {
    whole_days: Option<usize>,
    /// By score.
    scores: Vec<Option<OfDay>>,
}

impl BesideFeature {
    fn of(feature: &FeatureReference) -> Self {
        Self {
            of_days: OfDays {
                whole_days: feature.whole_days,
                scores: feature.scores.iter().map(|score| score.of_day).collect(),
            },
            usual_rows: feature
                .scores
                .iter()
                .map(|score| score.usual_rows)
                .collect(),
        }
    }

    fn give(self, feature: &mut FeatureReference) {
        feature.whole_days = self.of_days.whole_days;
        for (score, of_day) in feature.scores.iter_mut().zip(self.of_days.scores) {
            score.of_day = of_day;
        }
        for (score, usual_rows) in feature.scores.iter_mut().zip(self.usual_rows) {
            score.usual_rows = usual_rows;
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
    fn a_reference_that_an_earlier_build_wrote_is_read_without_what_it_did_not_store() {
        let reference = reference();
        let mut known = reference.clone();
        for score in &mut known.features[0].scores {
            assert!(score.usual_rows.is_some());
            score.usual_rows = None;
        }
        known.volume.as_mut().expect("a volume").by_day = ByDay::default();
        let plain = encode(PLAIN, &reference);
        assert_eq!(Reference::decode(&plain).as_ref(), Ok(&known));
        let of_days: Vec<OfDays> = (reference.features.iter())
            .map(|feature| BesideFeature::of(feature).of_days)
            .collect();
        let short = encode(SHORT, &(&reference, of_days));
        assert_eq!(Reference::decode(&short), Ok(known));
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
