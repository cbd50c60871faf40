//! Profiles as bytes.
//!
//! Two bytes of magic, one for the family and one for the version, the body, and a CRC-32C of all that. The
//! body is written by postcard: variable-length integers, borrowed texts, and cells as pairs of a gap and
//! a count, so that a window of a few hundred rows takes a few hundred bytes however many cells there are.
//! Reading trusts nothing: every count is checked against the others, and nothing is allocated that is not
//! bounded by the length of the input or by the largest grid allowed.
//!
//! A profile that keeps track of how often numbers repeat has that behind all else, and a version of its own: others are the bytes
//! they always were.

mod earlier;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::categories::{Categories, Overflow};
use super::numbers::{Cells, Moments, Numbers};
use super::quantiles::{Buckets, Quantiles};
use super::{Counts, FeatureProfile, MAX_CATEGORIES, Mismatches, ProfileError, Values};
use crate::stats::exact::{ExactSums, Fixed};
use crate::stats::grid::MAX_EDGES;
use crate::stats::repeats::Repeats;

const HEADER: [u8; 3] = [b'B', b'W', FAMILY];
const FAMILY: u8 = 1;
const VERSION: u8 = 2;
/// The same, followed by how often numbers repeat each other.
const VERSION_WITH_REPEATS: u8 = 3;
const CHECKSUM_BYTES: usize = 4;

/// Counts beyond this are refused, so that merging a thousand profiles cannot overflow.
const MAX_COUNT: u64 = 1 << 53;

/// A profile in the form that this version has for numbers, `N`; all else is the same in every version.
#[derive(Serialize, Deserialize)]
struct Body<'a, N> {
    counts: Counts,
    #[serde(borrow)]
    values: ValuesBody<'a, N>,
}

#[derive(Serialize, Deserialize)]
enum ValuesBody<'a, N> {
    Numeric(N),
    #[serde(borrow)]
    Categorical(CategoriesBody<'a>),
}

/// Numbers as a version stores them.
trait StoredNumbers {
    fn restore(self) -> Result<Numbers, ProfileError>;
}

#[derive(Serialize, Deserialize)]
struct NumbersBody {
    cells: Option<CellsBody>,
    /// Absent when there are no numbers.
    moments: Option<MomentsBody>,
    quantiles: QuantilesBody,
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
    sum: FixedBody,
    squares: FixedBody,
}

/// A number of any size: its sign, the place of its first limb, and its limbs, the lowest first.
#[derive(Serialize, Deserialize)]
struct FixedBody {
    negative: bool,
    first: u8,
    limbs: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
enum QuantilesBody {
    Kept {
        /// How many low bits of the keys are dropped.
        dropped: u8,
        /// How much larger the key is than the one before, and the count.
        buckets: Vec<(u64, u64)>,
        /// Keys of some of the numbers, where bits are dropped.
        some: Vec<u64>,
    },
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
        let repeats = self
            .numbers()
            .and_then(|numbers| numbers.repeats.as_ref())
            .map(Repeats::encode);
        bytes.push(match repeats {
            None => VERSION,
            Some(_) => VERSION_WITH_REPEATS,
        });
        // What the values of a wrong type were follows the body.
        let bytes = postcard::to_extend(&body, bytes)
            .and_then(|bytes| postcard::to_extend(&self.mismatches, bytes))
            .and_then(|bytes| match &repeats {
                None => Ok(bytes),
                Some(repeats) => postcard::to_extend(repeats.as_slice(), bytes),
            });
        let mut bytes =
            bytes.expect("every sequence knows its length and a vector takes all that is written");
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
        let read = match version {
            earlier::VERSION => read_body::<earlier::NumbersBody>,
            VERSION | VERSION_WITH_REPEATS => read_body::<NumbersBody>,
            _ => return Err(ProfileError::UnknownVersion(version)),
        };
        let (body, checksum) = rest
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(ProfileError::NotAProfile)?;
        let covered = &bytes[..bytes.len() - CHECKSUM_BYTES];
        if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
            return Err(ProfileError::Checksum);
        }
        let (mut profile, mut rest) = read(body)?;
        if version != earlier::VERSION {
            (profile.mismatches, rest) = postcard::take_from_bytes(rest)
                .map_err(|_| ProfileError::Malformed("its mismatches cannot be parsed"))?;
        }
        if version == VERSION_WITH_REPEATS {
            rest = profile.read_repeats(rest)?;
        }
        if !rest.is_empty() {
            return Err(ProfileError::Malformed("something follows its body"));
        }
        profile.check_counts()?;
        Ok(profile)
    }

    /// Takes over how often numbers repeat each other; returns what follows.
    fn read_repeats<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ProfileError> {
        const MALFORMED: ProfileError =
            ProfileError::Malformed("its repeats are not those of its numbers");
        let (encoded, rest) = postcard::take_from_bytes::<&[u8]>(bytes).map_err(|_| MALFORMED)?;
        let repeats = Repeats::decode(encoded).map_err(|_| MALFORMED)?;
        match &mut self.values {
            Values::Numeric(numbers) if repeats.rows() == numbers.count() => {
                numbers.repeats = Some(repeats);
            }
            _ => return Err(MALFORMED),
        }
        Ok(rest)
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

/// A profile, and what follows its body.
fn read_body<'a, N: StoredNumbers + Deserialize<'a>>(
    bytes: &'a [u8],
) -> Result<(FeatureProfile, &'a [u8]), ProfileError> {
    let (body, rest) = postcard::take_from_bytes::<Body<N>>(bytes)
        .map_err(|_| ProfileError::Malformed("its body cannot be parsed"))?;
    let profile = FeatureProfile {
        counts: body.counts,
        mismatches: Mismatches::default(),
        values: match body.values {
            ValuesBody::Numeric(numbers) => Values::Numeric(Box::new(numbers.restore()?)),
            ValuesBody::Categorical(categories) => Values::Categorical(categories.restore()?),
        },
    };
    Ok((profile, rest))
}

/// The sum, or `None` when it is larger than any window could be.
fn total(counts: impl IntoIterator<Item = u64>) -> Option<u64> {
    counts.into_iter().try_fold(0_u64, |sum, count| {
        sum.checked_add(count).filter(|sum| *sum <= MAX_COUNT)
    })
}

impl NumbersBody {
    fn of(numbers: &Numbers) -> Self {
        Self {
            cells: numbers.cells.as_ref().map(CellsBody::of),
            moments: (numbers.moments.count > 0).then(|| MomentsBody::of(&numbers.moments)),
            quantiles: QuantilesBody::of(&numbers.quantiles),
        }
    }
}

impl StoredNumbers for NumbersBody {
    fn restore(self) -> Result<Numbers, ProfileError> {
        let moments = self
            .moments
            .map_or(Ok(Moments::default()), MomentsBody::restore)?;
        Ok(Numbers {
            cells: self
                .cells
                .map(|cells| cells.restore(moments.count))
                .transpose()?,
            quantiles: self.quantiles.restore(&moments)?,
            moments,
            repeats: None,
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
    fn of(moments: &Moments) -> Self {
        let (sum, squares) = moments.sums.fixed();
        Self {
            count: moments.count,
            minimum: moments.minimum,
            maximum: moments.maximum,
            sum: FixedBody::of(sum),
            squares: FixedBody::of(squares),
        }
    }

    fn restore(self) -> Result<Moments, ProfileError> {
        check_extremes(self.count, self.minimum, self.maximum)?;
        let sums = ExactSums::restore(&self.sum.fixed(), &self.squares.fixed(), self.count);
        Ok(Moments {
            count: self.count,
            minimum: self.minimum,
            maximum: self.maximum,
            sums: sums.ok_or(ProfileError::Malformed("no numbers have its sums"))?,
        })
    }
}

fn check_extremes(count: u64, minimum: f64, maximum: f64) -> Result<(), ProfileError> {
    if count == 0 || !minimum.is_finite() || !maximum.is_finite() || minimum > maximum {
        return Err(ProfileError::Malformed(
            "its extremes are not two numbers in order",
        ));
    }
    Ok(())
}

impl FixedBody {
    fn of(fixed: Fixed) -> Self {
        Self {
            negative: fixed.negative,
            first: u8::try_from(fixed.first).expect("a register has fewer than a hundred limbs"),
            limbs: fixed.limbs,
        }
    }

    fn fixed(self) -> Fixed {
        Fixed {
            negative: self.negative,
            first: usize::from(self.first),
            limbs: self.limbs,
        }
    }
}

impl QuantilesBody {
    fn of(quantiles: &Quantiles) -> Self {
        let Quantiles::Kept(buckets) = quantiles else {
            return Self::Left;
        };
        let mut before = 0;
        let steps = buckets.counts().iter().map(|(key, count)| {
            let step = key - std::mem::replace(&mut before, *key);
            (step, *count)
        });
        Self::Kept {
            buckets: steps.collect(),
            some: buckets.some().collect(),
            dropped: u8::try_from(buckets.dropped()).expect("a key has 64 bits"),
        }
    }

    fn restore(self, moments: &Moments) -> Result<Quantiles, ProfileError> {
        let Self::Kept {
            dropped,
            buckets,
            some,
        } = self
        else {
            return Ok(Quantiles::Left);
        };
        if moments.count == 0 && buckets.is_empty() && dropped == 0 && some.is_empty() {
            return Ok(Quantiles::default());
        }
        let filled = buckets.iter().all(|(_, count)| *count > 0);
        if !filled || total(buckets.iter().map(|(_, count)| *count)) != Some(moments.count) {
            return Err(ProfileError::Malformed(
                "its quantiles are of another number of values",
            ));
        }
        let mut key = 0_u64;
        let sorted: Option<Vec<(u64, u64)>> = (buckets.into_iter())
            .map(|(step, count)| {
                key = key.checked_add(step)?;
                Some((key, count))
            })
            .collect();
        let extremes = (moments.minimum, moments.maximum);
        sorted
            .and_then(|sorted| Buckets::restore(u32::from(dropped), sorted, &some, extremes))
            .map(Quantiles::Kept)
            .ok_or(ProfileError::Malformed(
                "its quantiles are not those of numbers with its extremes",
            ))
    }
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
