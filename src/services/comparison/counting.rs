//! Counting one column of a file into profiles, batch by batch.
//!
//! The reference is read twice, once for what it says about the column (type, range, a sample for the grid) and
//! once to be counted on the grid; what fits into memory is kept in between. Numbers and coded texts are counted
//! whole arrays at a time. Everything else goes through the same [`FeatureYardstick`] value by value, which is
//! where it is written what counts as what.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};

use super::grouping::Grouping;
use crate::domain::columns::{Column, Kind, Value};
use crate::domain::row_hashes::{hash_bits, hash_text};
use crate::domain::schema::{Evidence, FeatureType};
use crate::domain::skew::Habits;
use crate::domain::times;
use crate::domain::yardstick::FeatureYardstick;
use crate::formats::table::arrays::{self, ArrayKind};
use crate::formats::table::{self, ColumnData};
use crate::stats::profile::{FeatureProfile, ProfileError, extremes};
use crate::stats::thinning::ThinnedSample;

/// A batch's values of one column, in the form they are counted in.
pub(super) enum Lane<'a> {
    Numbers {
        values: Cow<'a, [f64]>,
        array: &'a ArrayRef,
    },
    Codes {
        codes: &'a [i32],
        texts: &'a StringArray,
        array: &'a ArrayRef,
    },
    Mixed(Cow<'a, Column>),
}

impl<'a> Lane<'a> {
    /// The form in which values count as what is expected; without an expectation, as what they are.
    pub(super) fn of(data: &'a ColumnData, expected: Option<FeatureType>) -> Self {
        use FeatureType::{Category, Integer, Number, Text, Timestamp};
        let array = match data {
            ColumnData::Mixed(column) => return Self::Mixed(Cow::Borrowed(column)),
            ColumnData::Array(array) => array,
        };
        let fits = match ArrayKind::of(array) {
            ArrayKind::Number => matches!(expected, Some(Number) | None),
            ArrayKind::Integer => matches!(expected, Some(Number | Integer) | None),
            ArrayKind::Timestamp => matches!(expected, Some(Number | Timestamp) | None),
            ArrayKind::CodedText => matches!(expected, Some(Category | Text) | None),
            ArrayKind::Other => false,
        };
        if fits && let Some(values) = arrays::doubles(array) {
            return Self::Numbers { values, array };
        }
        if fits && let Some((codes, texts)) = arrays::coded_texts(array) {
            return Self::Codes {
                codes,
                texts,
                array,
            };
        }
        Self::Mixed(Cow::Owned(table::mixed(array)))
    }

    /// The texts that are times, in seconds since 1970.
    fn times(&self) -> Vec<f64> {
        let time = |text: &str| times::instant(text).map(|at| at.timestamp() as f64);
        match self {
            Self::Numbers { .. } => Vec::new(),
            Self::Codes {
                codes,
                texts,
                array,
            } => {
                let nulls = array.logical_nulls();
                let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                let codes = codes.iter().enumerate().filter(|(row, _)| !is_null(*row));
                let places = codes.filter_map(|(_, code)| usize::try_from(*code).ok());
                let places = places.filter(|place| *place < texts.len());
                places
                    .filter_map(|place| time(texts.value(place)))
                    .collect()
            }
            Self::Mixed(column) => (column.iter())
                .filter_map(|value| match value {
                    Value::Text(text) => time(&text),
                    _ => None,
                })
                .collect(),
        }
    }
}

/// What a column says about itself, in the rows seen so far.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) habits: Habits,
    sample: ThinnedSample,
    /// Texts that are times, in seconds since 1970.
    times: ThinnedSample,
    watch: Watch,
}

impl Survey {
    pub(super) fn new(sample: usize) -> Self {
        Self {
            habits: Habits::default(),
            sample: ThinnedSample::new(sample),
            times: ThinnedSample::new(sample),
            watch: Watch::default(),
        }
    }

    pub(super) fn observe(&mut self, data: &ColumnData) {
        let lane = Lane::of(data, None);
        let sample = &mut self.sample;
        self.watch
            .observe(&mut self.habits, &lane, |numbers| sample.observe(numbers));
        if self.habits.time_texts > 0 {
            self.times.observe(&lane.times());
        }
    }

    /// A sample of the numbers that values count as where this type is expected.
    pub(super) fn sample(&self, expected: Option<FeatureType>) -> &ThinnedSample {
        let are_texts = self.habits.evidence.timestamps == 0;
        if expected == Some(FeatureType::Timestamp) && are_texts {
            &self.times
        } else {
            &self.sample
        }
    }

    /// A key for the value of each row of the batch seen last.
    pub(super) fn keys(&self) -> &[u64] {
        &self.watch.keys
    }
}

/// Watches the habits of a column.
#[derive(Debug, Default)]
struct Watch {
    /// The dictionary seen last, and a key for each of its texts: codes of different dictionaries differ.
    dictionary: Option<(ArrayRef, Vec<u64>)>,
    numbers: Vec<f64>,
    /// A key for the value of each row of the batch: equal values have equal ones.
    keys: Vec<u64>,
}

const NULL_KEY: u64 = u64::MAX;

impl Watch {
    /// Takes a batch into account, and hands its numbers on.
    fn observe(&mut self, habits: &mut Habits, lane: &Lane<'_>, numbers: impl FnMut(&[f64])) {
        self.keys.clear();
        match lane {
            Lane::Numbers { values, array } => self.observe_numbers(habits, values, array, numbers),
            Lane::Codes {
                codes,
                texts,
                array,
            } => self.observe_codes(habits, codes, texts, array),
            Lane::Mixed(column) => self.observe_values(habits, column, numbers),
        }
        let telling = self.keys.iter().copied().filter(|key| *key != NULL_KEY);
        habits.observe_order(telling);
    }

    fn observe_numbers(
        &mut self,
        habits: &mut Habits,
        values: &[f64],
        array: &ArrayRef,
        mut numbers: impl FnMut(&[f64]),
    ) {
        match arrays::own_bits(array) {
            Some(own) => {
                let keys = own
                    .iter()
                    .map(|bits| key(Kind::Integer, bits.cast_unsigned()));
                self.keys.extend(keys);
            }
            None => {
                let keys = values.iter().map(|n| key(Kind::Number, n.to_bits()));
                self.keys.extend(keys);
            }
        }
        if let Some(nulls) = array.nulls() {
            for (row, key) in self.keys.iter_mut().enumerate() {
                if nulls.is_null(row) {
                    *key = NULL_KEY;
                }
            }
        }
        let valid = valid(values, array, &mut self.numbers);
        let evidence = &mut habits.evidence;
        evidence.rows += values.len() as u64;
        evidence.nulls += (values.len() - valid.len()) as u64;
        extend_range(evidence, valid);
        match ArrayKind::of(array) {
            ArrayKind::Integer => {
                evidence.integers += valid.len() as u64;
                if evidence.may_be_unique() {
                    evidence.observe_hashes(hashes(values, array, None));
                }
                habits.whole_numbers += valid.len() as u64;
            }
            ArrayKind::Timestamp => evidence.timestamps += valid.len() as u64,
            _ => {
                evidence.numbers += valid.len() as u64;
                habits.observe_numbers(valid);
            }
        }
        numbers(valid);
    }

    fn observe_codes(
        &mut self,
        habits: &mut Habits,
        codes: &[i32],
        texts: &StringArray,
        array: &ArrayRef,
    ) {
        let values = array.as_any_dictionary().values();
        let is_known = |known: &(ArrayRef, Vec<u64>)| std::sync::Arc::ptr_eq(&known.0, values);
        if !self.dictionary.as_ref().is_some_and(is_known) {
            let keys = (0..texts.len()).map(|code| hash_text(texts.value(code)));
            self.dictionary = Some((ArrayRef::clone(values), keys.collect()));
        }
        let keys = self.dictionary.as_ref().map_or(&[][..], |(_, keys)| keys);
        let nulls = array.logical_nulls();
        let mut tallies = vec![0_u64; texts.len()];
        let mut telling = 0;
        self.keys
            .extend(codes.iter().enumerate().map(|(row, code)| {
                let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                let place = usize::try_from(*code).unwrap_or(usize::MAX);
                match tallies.get_mut(place).filter(|_| !is_null) {
                    Some(tally) => {
                        *tally += 1;
                        telling += 1;
                        keys[place]
                    }
                    None => NULL_KEY,
                }
            }));
        if tallies.iter().any(|rows| *rows > 1) {
            habits.evidence.observe_repeats();
        } else {
            let present = keys.iter().zip(&tallies).filter(|(_, rows)| **rows > 0);
            habits.evidence.observe_hashes(present.map(|(key, _)| *key));
        }
        let counted = tallies
            .into_iter()
            .enumerate()
            .filter(|(_, rows)| *rows > 0);
        counted.for_each(|(code, rows)| habits.observe_text(texts.value(code), rows));
        habits.evidence.rows += codes.len() as u64;
        habits.evidence.texts += telling;
        habits.evidence.nulls += codes.len() as u64 - telling;
    }

    fn observe_values(
        &mut self,
        habits: &mut Habits,
        column: &Column,
        mut numbers: impl FnMut(&[f64]),
    ) {
        self.numbers.clear();
        let text_keys: Vec<u64> = column.texts().iter().map(|text| hash_text(text)).collect();
        let mut tallies = vec![0_u64; column.texts().len()];
        let keyed = column.kinds().iter().zip(column.bits());
        for (value, (kind, bits)) in column.iter().zip(keyed) {
            let mut key = key(*kind, *bits);
            match &value {
                Value::Text(_) => {
                    let place = usize::try_from(*bits).unwrap_or(usize::MAX);
                    habits.evidence.rows += 1;
                    habits.evidence.texts += 1;
                    if let Some(tally) = tallies.get_mut(place) {
                        *tally += 1;
                    }
                    self.keys.push(text_keys.get(place).copied().unwrap_or(key));
                    continue;
                }
                Value::Number(number) => self.numbers.push(*number),
                Value::Integer(number) => self.numbers.push(*number as f64),
                Value::Timestamp(at) => self.numbers.push(at.timestamp() as f64),
                Value::Null | Value::Absent => key = NULL_KEY,
                Value::Boolean(_) | Value::Vector(_) => {}
            }
            habits.evidence.observe(&value);
            self.keys.push(key);
        }
        habits.observe_numbers(&self.numbers);
        if tallies.iter().any(|rows| *rows > 1) {
            habits.evidence.observe_repeats();
        } else {
            let present = text_keys
                .iter()
                .zip(&tallies)
                .filter(|(_, rows)| **rows > 0);
            habits.evidence.observe_hashes(present.map(|(key, _)| *key));
        }
        let counted = column
            .texts()
            .iter()
            .zip(tallies)
            .filter(|(_, rows)| *rows > 0);
        counted.for_each(|(text, rows)| habits.observe_text(text, rows));
        numbers(&self.numbers);
    }
}

/// The key of a value that is no text: its own bits, moved apart by its kind, so that no usual value has [`NULL_KEY`].
fn key(kind: Kind, bits: u64) -> u64 {
    bits.wrapping_add((kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn extend_range(evidence: &mut Evidence, numbers: &[f64]) {
    let (mut minimum, mut maximum) = extremes(numbers);
    if minimum == f64::NEG_INFINITY || maximum == f64::INFINITY {
        let finite: Vec<f64> = numbers.iter().copied().filter(|n| n.is_finite()).collect();
        (minimum, maximum) = extremes(&finite);
    }
    evidence.minimum = evidence.minimum.min(minimum);
    evidence.maximum = evidence.maximum.max(maximum);
}

/// The values that are not null.
fn valid<'v>(values: &'v [f64], array: &ArrayRef, scratch: &'v mut Vec<f64>) -> &'v [f64] {
    let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else {
        return values;
    };
    scratch.clear();
    scratch.extend(nulls.valid_indices().map(|row| values[row]));
    scratch
}

/// The profiles of a column's groups, and its habits over all rows.
#[derive(Debug)]
pub(super) struct Tally {
    /// By dimension of the grouping and code of the group.
    pub(super) groups: Vec<BTreeMap<u32, FeatureProfile>>,
    pub(super) habits: Habits,
    watch: Option<Watch>,
    numeric: bool,
    scratch: Scratch,
}

/// What is needed again for every batch.
#[derive(Debug, Default)]
struct Scratch {
    numbers: Vec<f64>,
    tallies: Vec<u64>,
    rows: Vec<usize>,
}

impl Tally {
    /// An empty tally that watches habits, too, unless they are known.
    pub(super) fn new(
        yardstick: &FeatureYardstick,
        grouping: &Grouping,
        habits: Option<Habits>,
    ) -> Self {
        let expected = yardstick.expectation.as_ref().map(|e| e.feature_type);
        Self {
            groups: vec![BTreeMap::new(); grouping.dimensions()],
            watch: habits.is_none().then(Watch::default),
            habits: habits.unwrap_or_default(),
            numeric: expected.is_none_or(FeatureType::is_numeric),
            scratch: Scratch::default(),
        }
    }

    /// A key for the value of each row of the batch counted last, if its habits are watched.
    pub(super) fn keys(&self) -> &[u64] {
        self.watch.as_ref().map_or(&[], |watch| &watch.keys)
    }

    /// All rows in a window, or just all rows: the sum of the groups that are of no segment. `None` without any.
    pub(super) fn whole(&self, grouping: &Grouping) -> Option<FeatureProfile> {
        let mut groups = (self.groups.first()?.iter())
            .filter(|(code, _)| grouping.group(0, **code).segment.is_overall())
            .map(|(_, profile)| profile);
        let mut whole = groups.next()?.clone();
        for profile in groups {
            // All were counted by one yardstick.
            if let Err(error) = whole.merge(profile) {
                tracing::error!(%error, "windows of one feature cannot be added together");
            }
        }
        Some(whole)
    }

    /// Counts the rows of a batch, the first of which is row `first` of the file.
    pub(super) fn observe(
        &mut self,
        data: &ColumnData,
        (first, rows): (usize, usize),
        yardstick: &FeatureYardstick,
        grouping: &Grouping,
    ) -> Result<(), ProfileError> {
        if let Some(watch) = &mut self.watch {
            watch.observe(&mut self.habits, &Lane::of(data, None), |_| {});
        }
        let expected = yardstick.expectation.as_ref().map(|e| e.feature_type);
        // Where nothing is expected, because the reference has no value, the profiles are of numbers.
        let lane = Lane::of(data, expected.or(Some(FeatureType::Number)));
        for dimension in 0..grouping.dimensions() {
            let Some(codes) = grouping.codes(dimension, first, rows) else {
                self.count(dimension, 0, &lane, None, rows, yardstick)?;
                continue;
            };
            if codes.iter().all(|code| *code == codes[0]) {
                if let Some(code) = codes
                    .first()
                    .filter(|code| !Grouping::is_out_of_groups(**code))
                {
                    self.count(dimension, *code, &lane, None, rows, yardstick)?;
                }
                continue;
            }
            let mut order: Vec<(u32, u32)> = codes.iter().copied().zip(0..).collect();
            order.sort_unstable();
            for group in order.chunk_by(|a, b| a.0 == b.0) {
                if !Grouping::is_out_of_groups(group[0].0) {
                    let mut some = std::mem::take(&mut self.scratch.rows);
                    some.clear();
                    some.extend(group.iter().map(|(_, row)| *row as usize));
                    self.count(dimension, group[0].0, &lane, Some(&some), rows, yardstick)?;
                    self.scratch.rows = some;
                }
            }
        }
        Ok(())
    }

    /// Counts some rows of a batch, or all of them, into a group.
    fn count(
        &mut self,
        dimension: usize,
        code: u32,
        lane: &Lane<'_>,
        some: Option<&[usize]>,
        rows: usize,
        yardstick: &FeatureYardstick,
    ) -> Result<(), ProfileError> {
        let profile = self.groups[dimension]
            .entry(code)
            .or_insert_with(|| empty_profile(self.numeric, yardstick));
        let scratch = &mut self.scratch;
        match lane {
            Lane::Numbers { values, array } => {
                let numbers = match some {
                    None => valid(values, array, &mut scratch.numbers),
                    Some(rows) => {
                        scratch.numbers.clear();
                        let valid = rows.iter().filter(|row| array.is_valid(**row));
                        scratch.numbers.extend(valid.map(|row| values[*row]));
                        &scratch.numbers
                    }
                };
                let all = some.map_or(rows, <[usize]>::len);
                profile.observe_null((all - numbers.len()) as u64);
                if yardstick.watches_repeats() {
                    profile.note_values(hashes(values, array, some));
                }
                yardstick.count_numbers(profile, numbers)
            }
            Lane::Codes {
                codes,
                texts,
                array,
            } => {
                let tallies = &mut scratch.tallies;
                tallies.clear();
                tallies.resize(texts.len(), 0);
                let nulls = array.logical_nulls();
                let mut absent = 0;
                let mut tally = |row: usize| {
                    let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                    let place = usize::try_from(codes[row]).unwrap_or(usize::MAX);
                    match tallies.get_mut(place).filter(|_| !is_null) {
                        Some(tally) => *tally += 1,
                        None => absent += 1,
                    }
                };
                match some {
                    None => (0..rows).for_each(&mut tally),
                    Some(rows) => rows.iter().copied().for_each(&mut tally),
                }
                profile.observe_null(absent);
                for (place, rows) in tallies.iter().enumerate().filter(|(_, rows)| **rows > 0) {
                    yardstick.count_category(profile, texts.value(place), *rows)?;
                }
                Ok(())
            }
            Lane::Mixed(column) => match some {
                Some(rows) => yardstick.count(profile, column, rows),
                None => {
                    let all: Vec<usize> = (0..rows).collect();
                    yardstick.count(profile, column, &all)
                }
            },
        }
    }
}

/// A profile without values, of the kind the yardstick expects.
pub(super) fn empty_profile(numeric: bool, yardstick: &FeatureYardstick) -> FeatureProfile {
    let profile = match &yardstick.grid {
        Some(grid) if numeric => FeatureProfile::numeric_without_quantiles(grid),
        None if numeric => FeatureProfile::numeric(None),
        _ => FeatureProfile::categorical(),
    };
    yardstick.watched(profile)
}

/// Hashes of the finite numbers of some rows, or of all of them, by the array's own bits.
fn hashes<'v>(
    values: &'v [f64],
    array: &'v ArrayRef,
    some: Option<&'v [usize]>,
) -> impl Iterator<Item = u64> + 'v {
    let own = arrays::own_bits(array);
    let rows = some.map_or(values.len(), <[usize]>::len);
    (0..rows)
        .map(move |at| some.map_or(at, |some| some[at]))
        .filter(|row| array.is_valid(*row) && values[*row].is_finite())
        .map(move |row| match &own {
            Some(own) => hash_bits(Kind::Integer, own[row].cast_unsigned()),
            None => hash_bits(Kind::Number, values[row].to_bits()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    use arrow_array::{Int64Array, TimestampMicrosecondArray, UInt64Array};

    fn keys(data: &ColumnData) -> Vec<u64> {
        let mut survey = Survey::new(16);
        survey.observe(data);
        survey.keys().to_vec()
    }

    fn different(keys: &[u64]) -> usize {
        keys.iter().collect::<HashSet<_>>().len()
    }

    #[test]
    fn values_that_are_one_as_doubles_have_keys_of_their_own() {
        const BEYOND: i64 = 1 << 53;
        let arrays: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(vec![
                Some(BEYOND),
                Some(BEYOND + 1),
                Some(-1),
                None,
                Some(BEYOND),
            ])),
            Arc::new(UInt64Array::from(vec![
                Some(u64::MAX),
                Some(u64::MAX - 1),
                Some(1 << 63),
                None,
                Some(u64::MAX),
            ])),
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(1_000_000),
                Some(1_000_001),
                Some(-1),
                None,
                Some(1_000_000),
            ])),
        ];
        for array in arrays {
            let keys = keys(&ColumnData::Array(array));
            assert_eq!((keys.len(), different(&keys)), (5, 4), "{keys:?}");
            assert_eq!(keys[0], keys[4]);
        }
        let values = [
            Value::Integer(-1),
            Value::Null,
            Value::Integer(1),
            Value::Boolean(true),
            Value::Integer(-1),
        ];
        let keys = keys(&ColumnData::Mixed(Column::of("a", values)));
        assert_eq!(different(&keys), 4, "{keys:?}");
        assert_eq!(keys[0], keys[4]);
    }

    #[test]
    fn many_texts_have_as_many_keys() {
        const TEXTS: usize = 300_000;
        let texts = (0..TEXTS).map(|n| Value::Text(format!("id-{n}").into()));
        let keys = keys(&ColumnData::Mixed(Column::of("id", texts)));
        assert_eq!(different(&keys), TEXTS);
    }
}
