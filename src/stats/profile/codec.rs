//! Profiles as bytes.
//!
//! Two bytes of magic, one for the family and one for the version, the body, and a CRC-32C of all that. The
//! body is written by postcard: variable-length integers, borrowed texts, and cells as pairs of a gap and
//! a count, so that a window of a few hundred rows takes a few hundred bytes however many cells there are.
//! Reading trusts nothing: every count is checked against the others, and nothing is allocated that is not
//! bounded by the length of the input or by the largest grid allowed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::categories::{Categories, Overflow};
use super::numbers::{Cells, Moments, Numbers};
use super::quantiles::{MAX_EXACT, Quantiles, SKETCH_K, Sketch};
use super::{Counts, FeatureProfile, MAX_CATEGORIES, Mismatches, ProfileError, Values};
use crate::stats::grid::MAX_EDGES;

const HEADER: [u8; 3] = [b'B', b'W', FAMILY];
const FAMILY: u8 = 1;
/// Without anything behind the body.
const VERSION: u8 = 1;
/// With what the values of a wrong type were behind the body. Written only where there are some, so that what has
/// nothing new to say stays readable by earlier releases.
const VERSION_WITH_MISMATCHES: u8 = 2;
const CHECKSUM_BYTES: usize = 4;

/// Counts beyond this are refused, so that merging a thousand profiles cannot overflow.
const MAX_COUNT: u64 = 1 << 53;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    counts: Counts,
    #[serde(borrow)]
    values: ValuesBody<'a>,
}

#[derive(Serialize, Deserialize)]
enum ValuesBody<'a> {
    #[serde(borrow)]
    Numeric(NumbersBody<'a>),
    #[serde(borrow)]
    Categorical(CategoriesBody<'a>),
}

#[derive(Serialize, Deserialize)]
struct NumbersBody<'a> {
    cells: Option<CellsBody>,
    /// Absent when there are no numbers.
    moments: Option<MomentsBody>,
    #[serde(borrow)]
    quantiles: QuantilesBody<'a>,
}

#[derive(Serialize, Deserialize)]
struct CellsBody {
    fingerprint: u32,
    cells: u32,
    /// The number of empty cells since the last one listed, and the count.
    filled: Vec<(u32, u64)>,
}

#[derive(Serialize, Deserialize)]
struct MomentsBody {
    count: u64,
    minimum: f64,
    maximum: f64,
    mean: f64,
    squares: f64,
}

#[derive(Serialize, Deserialize)]
enum QuantilesBody<'a> {
    /// Distinct values and how often each occurs.
    Exact(Vec<(f64, u32)>),
    #[serde(borrow)]
    Sketch(Bytes<'a>),
    /// None are kept.
    Left,
}

#[derive(Serialize, Deserialize)]
struct CategoriesBody<'a> {
    #[serde(borrow)]
    counts: Vec<(&'a str, u64)>,
    /// Rows beyond the categories kept; 0 when all are.
    rest: u64,
}

/// A sketch in its own format: made when writing, borrowed from the input when reading.
#[derive(Serialize, Deserialize)]
struct Bytes<'a>(#[serde(borrow)] std::borrow::Cow<'a, [u8]>);

impl FeatureProfile {
    /// The profile as bytes that [`FeatureProfile::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = Body {
            counts: self.counts,
            values: match &self.values {
                Values::Numeric(numbers) => ValuesBody::Numeric(NumbersBody::of(numbers)),
                Values::Categorical(categories) => {
                    ValuesBody::Categorical(CategoriesBody::of(categories))
                }
            },
        };
        let mut bytes = Vec::with_capacity(512);
        bytes.extend(HEADER);
        let with_mismatches = self.mismatches.total() > 0;
        bytes.push(if with_mismatches {
            VERSION_WITH_MISMATCHES
        } else {
            VERSION
        });
        let mut bytes = postcard::to_extend(&body, bytes)
            .expect("every sequence knows its length and a vector takes all that is written");
        if with_mismatches {
            bytes = postcard::to_extend(&self.mismatches, bytes)
                .expect("five numbers can be written to a vector");
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`FeatureProfile::encode`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are not a profile, are of another version, damaged, or inconsistent.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProfileError> {
        let rest = bytes
            .strip_prefix(&HEADER)
            .ok_or(ProfileError::NotAProfile)?;
        let (&version, rest) = rest.split_first().ok_or(ProfileError::NotAProfile)?;
        if !matches!(version, VERSION | VERSION_WITH_MISMATCHES) {
            return Err(ProfileError::UnknownVersion(version));
        }
        let (body, checksum) = rest
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(ProfileError::NotAProfile)?;
        let covered = &bytes[..bytes.len() - CHECKSUM_BYTES];
        if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
            return Err(ProfileError::Checksum);
        }
        let (body, mut rest) = postcard::take_from_bytes::<Body>(body)
            .map_err(|_| ProfileError::Malformed("its body cannot be parsed"))?;
        let mut mismatches = Mismatches::default();
        if version == VERSION_WITH_MISMATCHES {
            (mismatches, rest) = postcard::take_from_bytes(rest)
                .map_err(|_| ProfileError::Malformed("its mismatches cannot be parsed"))?;
        }
        if !rest.is_empty() {
            return Err(ProfileError::Malformed("something follows its body"));
        }
        let profile = Self {
            counts: body.counts,
            mismatches,
            values: match body.values {
                ValuesBody::Numeric(numbers) => Values::Numeric(Box::new(numbers.restore()?)),
                ValuesBody::Categorical(categories) => Values::Categorical(categories.restore()?),
            },
        };
        profile.check_counts()?;
        Ok(profile)
    }

    fn check_counts(&self) -> Result<(), ProfileError> {
        let counts = &self.counts;
        let kinds = [
            counts.absent,
            counts.nulls,
            counts.nans,
            counts.positive_infinities,
            counts.negative_infinities,
            counts.mismatched,
            self.valid(),
        ];
        if total(kinds) != Some(counts.rows) || counts.out_of_range.max(counts.unseen) > counts.rows
        {
            return Err(ProfileError::Malformed("its row counts do not add up"));
        }
        let Mismatches {
            booleans,
            numbers,
            timestamps,
            texts,
            numeric_texts,
        } = self.mismatches;
        let noted = total([booleans, numbers, timestamps, texts]);
        if noted.is_none_or(|noted| noted > counts.mismatched) || numeric_texts > texts {
            return Err(ProfileError::Malformed("its mismatches do not add up"));
        }
        Ok(())
    }
}

/// The sum, or `None` when it is larger than any window could be.
fn total(counts: impl IntoIterator<Item = u64>) -> Option<u64> {
    counts.into_iter().try_fold(0_u64, |sum, count| {
        sum.checked_add(count).filter(|sum| *sum <= MAX_COUNT)
    })
}

impl<'a> NumbersBody<'a> {
    fn of(numbers: &'a Numbers) -> Self {
        let moments = numbers.moments;
        Self {
            cells: numbers.cells.as_ref().map(CellsBody::of),
            moments: (moments.count > 0).then_some(MomentsBody {
                count: moments.count,
                minimum: moments.minimum,
                maximum: moments.maximum,
                mean: moments.mean,
                squares: moments.squares,
            }),
            quantiles: QuantilesBody::of(&numbers.quantiles),
        }
    }

    fn restore(self) -> Result<Numbers, ProfileError> {
        let moments = self
            .moments
            .map_or(Ok(Moments::EMPTY), MomentsBody::restore)?;
        Ok(Numbers {
            cells: self
                .cells
                .map(|cells| cells.restore(moments.count))
                .transpose()?,
            moments,
            quantiles: self.quantiles.restore(moments.count)?,
        })
    }
}

impl CellsBody {
    fn of(cells: &Cells) -> Self {
        let mut filled = Vec::new();
        let mut gap = 0;
        for count in &cells.counts {
            if *count == 0 {
                gap += 1;
            } else {
                filled.push((gap, *count));
                gap = 0;
            }
        }
        Self {
            fingerprint: cells.fingerprint,
            cells: u32::try_from(cells.counts.len())
                .expect("a grid has a few thousand cells at most"),
            filled,
        }
    }

    fn restore(&self, expected: u64) -> Result<Cells, ProfileError> {
        let cells = self.cells as usize;
        if cells == 0 || cells > MAX_EDGES + 1 {
            return Err(ProfileError::Malformed("no grid has its number of cells"));
        }
        let mut counts = vec![0; cells];
        let mut next = 0_usize;
        for (gap, count) in &self.filled {
            let cell = counts
                .get_mut(next.saturating_add(*gap as usize))
                .ok_or(ProfileError::Malformed("a cell lies outside its grid"))?;
            *cell = *count;
            next += *gap as usize + 1;
        }
        if total(counts.iter().copied()) != Some(expected) {
            return Err(ProfileError::Malformed("its cells do not add up"));
        }
        Ok(Cells {
            fingerprint: self.fingerprint,
            counts,
        })
    }
}

impl MomentsBody {
    fn restore(self) -> Result<Moments, ProfileError> {
        let finite_in_order =
            self.minimum.is_finite() && self.maximum.is_finite() && self.minimum <= self.maximum;
        if self.count == 0 || !finite_in_order {
            return Err(ProfileError::Malformed(
                "its extremes are not two numbers in order",
            ));
        }
        Ok(Moments {
            count: self.count,
            minimum: self.minimum,
            maximum: self.maximum,
            mean: self.mean,
            squares: self.squares,
        })
    }
}

impl QuantilesBody<'_> {
    fn of(quantiles: &Quantiles) -> Self {
        match quantiles {
            Quantiles::Sketch(sketch) => Self::Sketch(Bytes(sketch.serialize().into())),
            Quantiles::Left => Self::Left,
            Quantiles::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                let runs = sorted.chunk_by(|a, b| a == b);
                Self::Exact(runs.map(|run| (run[0], run.len() as u32)).collect())
            }
        }
    }

    fn restore(self, expected: u64) -> Result<Quantiles, ProfileError> {
        let restored = match self {
            Self::Exact(runs) => Quantiles::Exact(repeated(&runs)?),
            Self::Sketch(bytes) => {
                let sketch = Sketch::deserialize(&bytes.0).map_err(ProfileError::Sketch)?;
                if sketch.k() != SKETCH_K {
                    return Err(ProfileError::Malformed(
                        "its quantile sketch has another accuracy",
                    ));
                }
                Quantiles::Sketch(sketch)
            }
            Self::Left => Quantiles::Left,
        };
        let count = match &restored {
            Quantiles::Exact(values) => values.len() as u64,
            Quantiles::Sketch(sketch) => sketch.n(),
            Quantiles::Left => expected,
        };
        if count != expected {
            return Err(ProfileError::Malformed(
                "its quantiles are of another number of values",
            ));
        }
        Ok(restored)
    }
}

fn repeated(runs: &[(f64, u32)]) -> Result<Vec<f64>, ProfileError> {
    let count = total(runs.iter().map(|(_, times)| u64::from(*times)));
    if count.is_none_or(|count| count > MAX_EXACT as u64)
        || runs.iter().any(|(value, _)| !value.is_finite())
    {
        return Err(ProfileError::Malformed(
            "its values are too many or not finite",
        ));
    }
    let values = runs
        .iter()
        .flat_map(|(value, times)| std::iter::repeat_n(*value, *times as usize));
    Ok(values.collect())
}

impl<'a> CategoriesBody<'a> {
    fn of(categories: &'a Categories) -> Self {
        Self {
            counts: categories.iter().collect(),
            rest: categories.rest(),
        }
    }

    fn restore(self) -> Result<Categories, ProfileError> {
        let all = self.counts.iter().map(|(_, count)| *count);
        if total(all.chain([self.rest])).is_none() {
            return Err(ProfileError::Malformed("its categories do not add up"));
        }
        let listed = self.counts.len();
        let full = listed == MAX_CATEGORIES;
        let owned = self
            .counts
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count));
        let counts: BTreeMap<String, u64> = owned.collect();
        if counts.len() != listed || listed > MAX_CATEGORIES || (self.rest > 0 && !full) {
            return Err(ProfileError::Malformed(
                "its categories repeat or are of a wrong number",
            ));
        }
        let overflow = (self.rest > 0)
            .then(|| Overflow::beside(&counts, self.rest))
            .flatten();
        Ok(Categories { counts, overflow })
    }
}
