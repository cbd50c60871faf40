//! What the values of one feature are counted against: the type it should have, its range, the categories that
//! are known, the cells its numbers fall into. Whatever counts values goes through here, so that a value counts
//! the same wherever it comes from: settled in the service, fitted into a baseline, or read from a file.

use std::borrow::Cow;
use std::collections::HashSet;

use hashbrown::HashMap;

use super::columns::{Column, Kind, Value};
use super::row_hashes::hash_bits;
use super::schema::{FeatureExpectation, FeatureType, vector_length};
use super::times;
use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, Mismatches, ProfileError, ProfileKind};

/// What one feature's values are counted against. Without an expectation any type will do.
#[derive(Debug, Clone, Default)]
pub struct FeatureYardstick {
    pub expectation: Option<FeatureExpectation>,
    /// The cells its numbers are counted in.
    pub grid: Option<Grid>,
    categories: Option<HashSet<String>>,
    /// Whether numbers are of the expected type where that is one of names: not where no category that is known is a
    /// number.
    takes_numbers: bool,
}

impl FeatureYardstick {
    /// A yardstick of these.
    #[must_use]
    pub fn new(expectation: Option<FeatureExpectation>, grid: Option<Grid>) -> Self {
        let known = expectation.as_ref().and_then(|e| e.categories.as_ref());
        let of_names = (expectation.as_ref())
            .is_some_and(|expected| expected.feature_type == FeatureType::Category);
        Self {
            takes_numbers: !of_names
                || known.is_none_or(|known| known.iter().any(|name| is_numeric_text(name))),
            categories: known.map(|known| known.iter().cloned().collect()),
            expectation,
            grid,
        }
    }

    /// Whether nothing says what its values are to be.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.expectation.is_none() && self.grid.is_none()
    }

    /// Counts the values of some rows into a fresh profile. The schema says whether they are numbers or
    /// categories; without one the values do, and of both together there are rows only
    /// ([`FeatureProfile::without_kind`]). That a row lacks a feature counts only where the
    /// feature is expected: which rows share a batch with one that brings something else is chance, and must not
    /// show in the counts.
    ///
    /// # Errors
    /// Never for a profile made here; the profile's own checks are passed on.
    pub fn profile(&self, column: &Column, rows: &[usize]) -> Result<FeatureProfile, ProfileError> {
        let kinds = column.kinds();
        let mut telling = rows.iter().filter_map(|row| is_numeric(kinds[*row]));
        let numeric = match self.expected() {
            Some(feature_type) => feature_type.is_numeric(),
            None => self.grid.is_some() || telling.next().unwrap_or(true),
        };
        let is_mixed = self.is_free() && telling.any(|of_another| of_another != numeric);
        let mut profile = match numeric {
            true => self.watched(FeatureProfile::numeric(self.grid.as_ref())),
            false => FeatureProfile::categorical(),
        };
        self.count(&mut profile, column, rows)?;
        if is_mixed {
            return Ok(profile.without_kind());
        }
        Ok(profile)
    }

    /// Whether it is kept track of how often the feature's values repeat each other.
    #[must_use]
    pub fn watches_repeats(&self) -> bool {
        let expected = self.expectation.as_ref();
        expected.is_some_and(FeatureExpectation::limits_repeats)
    }

    /// An empty profile as it is counted into: one that keeps track of repeats where the feature's are limited.
    #[must_use]
    pub fn watched(&self, profile: FeatureProfile) -> FeatureProfile {
        if self.watches_repeats() {
            profile.with_repeats()
        } else {
            profile
        }
    }

    /// Counts the values of some rows into a profile, whose kind says whether they are to be numbers or
    /// categories.
    ///
    /// # Errors
    /// When the profile was counted on another grid.
    pub fn count(
        &self,
        profile: &mut FeatureProfile,
        column: &Column,
        rows: &[usize],
    ) -> Result<(), ProfileError> {
        match profile.kind() {
            ProfileKind::Numeric => self.count_number_rows(profile, column, rows),
            ProfileKind::Categorical => self.count_category_rows(profile, column, rows),
        }
    }

    /// Counts numbers that are known to be of the expected type.
    ///
    /// # Errors
    /// When the profile is of categories, or was counted on another grid.
    pub fn count_numbers(
        &self,
        profile: &mut FeatureProfile,
        numbers: &[f64],
    ) -> Result<(), ProfileError> {
        profile.observe_numbers(numbers, self.grid.as_ref())?;
        if let Some(expected) = &self.expectation {
            let minimum = expected.minimum.unwrap_or(f64::NEG_INFINITY);
            let maximum = expected.maximum.unwrap_or(f64::INFINITY);
            // An infinity is beyond every range, and counted as what it is.
            let is_outside = |n: &&f64| n.is_finite() && (**n < minimum || **n > maximum);
            profile.note_out_of_range(numbers.iter().filter(is_outside).count() as u64);
        }
        Ok(())
    }

    /// Counts so many rows with a text that is known to be of the expected type.
    ///
    /// # Errors
    /// When the profile is of numbers.
    pub fn count_category(
        &self,
        profile: &mut FeatureProfile,
        category: &str,
        rows: u64,
    ) -> Result<(), ProfileError> {
        profile.observe_category(category, rows)?;
        if self.is_unseen(category) {
            profile.note_unseen(rows);
        }
        Ok(())
    }

    fn expected(&self) -> Option<FeatureType> {
        self.expectation.as_ref().map(|e| e.feature_type)
    }

    fn count_number_rows(
        &self,
        profile: &mut FeatureProfile,
        column: &Column,
        rows: &[usize],
    ) -> Result<(), ProfileError> {
        let expected = self.expected();
        let any_number = matches!(expected, Some(FeatureType::Number) | None);
        let (kinds, bits) = (column.kinds(), column.bits());
        let mut numbers = Vec::with_capacity(rows.len());
        let watches = self.watches_repeats();
        let mut hashes = Vec::new();
        for &row in rows {
            if any_number && !watches && kinds[row] == Kind::Number {
                numbers.push(f64::from_bits(bits[row]));
                continue;
            }
            let value = column.get(row);
            match read(&value, expected, true) {
                Reading::Number(number) => {
                    numbers.push(number);
                    if watches && number.is_finite() {
                        hashes.push(hash_of(kinds[row], bits[row], number));
                    }
                }
                other => self.note(profile, &value, &other, 1)?,
            }
        }
        profile.note_values(hashes);
        self.count_numbers(profile, &numbers)
    }

    fn count_category_rows(
        &self,
        profile: &mut FeatureProfile,
        column: &Column,
        rows: &[usize],
    ) -> Result<(), ProfileError> {
        let expected = self.expected();
        let any_text = matches!(
            expected,
            Some(FeatureType::Category | FeatureType::Text) | None
        );
        let (kinds, bits) = (column.kinds(), column.bits());
        // Each text is looked up once, however many rows have it, and so is each of the others, with a row that has it.
        let mut tallies = vec![0_u64; column.texts().len()];
        let mut others: HashMap<(Kind, u64), (usize, u64)> = HashMap::new();
        for &row in rows {
            let tally = usize::try_from(bits[row])
                .ok()
                .filter(|_| any_text && kinds[row] == Kind::Text)
                .and_then(|place| tallies.get_mut(place));
            match tally {
                Some(tally) => *tally += 1,
                None => others.entry((kinds[row], bits[row])).or_insert((row, 0)).1 += 1,
            }
        }
        for (row, rows) in others.into_values() {
            let value = column.get(row);
            self.note(profile, &value, &read(&value, expected, false), rows)?;
        }
        for (text, rows) in column.texts().iter().zip(tallies) {
            self.count_category(profile, text, rows)?;
        }
        Ok(())
    }

    fn note(
        &self,
        profile: &mut FeatureProfile,
        value: &Value<'_>,
        reading: &Reading,
        rows: u64,
    ) -> Result<(), ProfileError> {
        let is_category = self.takes_numbers || !matches!(value, Value::Number(_));
        match reading {
            Reading::Absent if self.expectation.is_none() => {}
            Reading::Absent => profile.observe_absent(rows),
            Reading::Null => profile.observe_null(rows),
            Reading::Category(category) if is_category => {
                self.count_category(profile, category, rows)?;
            }
            Reading::Mismatch | Reading::Number(_) | Reading::Category(_) => {
                profile.observe_mismatch(rows);
                profile.note_mismatches(mismatch(value, rows));
            }
        }
        Ok(())
    }

    fn is_unseen(&self, category: &str) -> bool {
        self.categories
            .as_ref()
            .is_some_and(|known| !known.contains(category))
    }
}

/// A hash of a value that counts as a number: of a text by the number it is read as, of others by what they are themselves.
fn hash_of(kind: Kind, bits: u64, number: f64) -> u64 {
    match kind {
        Kind::Text | Kind::Vector => hash_bits(Kind::Number, number.to_bits()),
        kind => hash_bits(kind, bits),
    }
}

/// What a value of a wrong type is that so many rows have.
fn mismatch(value: &Value<'_>, rows: u64) -> Mismatches {
    let mut noted = Mismatches::default();
    match value {
        Value::Absent | Value::Null => {}
        Value::Boolean(_) => noted.booleans = rows,
        Value::Number(_) | Value::Integer(_) => noted.numbers = rows,
        Value::Timestamp(_) => noted.timestamps = rows,
        // Not told apart: a feature that should be something else seldom becomes vectors.
        Value::Vector(_) => {}
        Value::Text(text) => {
            noted.texts = rows;
            noted.numeric_texts = if is_numeric_text(text) { rows } else { 0 };
        }
    }
    noted
}

/// Whether a text is a finite number in disguise.
#[must_use]
pub fn is_numeric_text(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(f64::is_finite)
}

/// What one value counts as.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading<'v> {
    Absent,
    Null,
    /// A value of another type than is expected.
    Mismatch,
    Number(f64),
    Category(Cow<'v, str>),
}

/// Whether a value tells that its feature is numeric; nothing for null and absent.
fn is_numeric(kind: Kind) -> Option<bool> {
    match kind {
        Kind::Absent | Kind::Null => None,
        Kind::Number | Kind::Integer | Kind::Timestamp | Kind::Vector => Some(true),
        Kind::Boolean | Kind::Text => Some(false),
    }
}

/// What a value counts as where this type is expected; where none is, as a number or as a category.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "profiles count in doubles; rows keep the integer"
)]
pub fn read<'v>(value: &'v Value<'_>, expected: Option<FeatureType>, numeric: bool) -> Reading<'v> {
    use FeatureType::{Boolean, Category, Integer, Number, Text, Timestamp, Vector};
    let any_number = matches!(expected, Some(Number) | None) && numeric;
    let as_category = || {
        value
            .category()
            .map_or(Reading::Mismatch, Reading::Category)
    };
    match value {
        Value::Absent => Reading::Absent,
        Value::Null => Reading::Null,
        Value::Number(n) if any_number => Reading::Number(*n),
        Value::Number(n) if expected == Some(Integer) && (n.fract() == 0.0 || !n.is_finite()) => {
            Reading::Number(*n)
        }
        Value::Integer(n) if any_number || expected == Some(Integer) => Reading::Number(*n as f64),
        Value::Number(0.0) | Value::Integer(0) if expected == Some(Boolean) => {
            Reading::Category("false".into())
        }
        Value::Number(1.0) | Value::Integer(1) if expected == Some(Boolean) => {
            Reading::Category("true".into())
        }
        Value::Number(_) | Value::Integer(_) | Value::Text(_)
            if matches!(expected, Some(Category | Text)) =>
        {
            as_category()
        }
        Value::Boolean(_) if matches!(expected, Some(Boolean | Category | Text)) => as_category(),
        Value::Boolean(_) | Value::Text(_) if expected.is_none() && !numeric => as_category(),
        Value::Text(t) if expected == Some(Timestamp) => times::instant(t)
            .map_or(Reading::Mismatch, |at| {
                Reading::Number(at.timestamp() as f64)
            }),
        Value::Timestamp(at) if expected == Some(Timestamp) || any_number => {
            Reading::Number(at.timestamp() as f64)
        }
        Value::Vector(vector) if expected == Some(Vector) || (expected.is_none() && numeric) => {
            Reading::Number(vector_length(vector))
        }
        _ => Reading::Mismatch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expecting(feature_type: FeatureType, categories: Option<&[&str]>) -> FeatureYardstick {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expectation = FeatureExpectation {
            minimum: Some(0.0).filter(|_| feature_type.is_numeric()),
            maximum: Some(9.0).filter(|_| feature_type.is_numeric()),
            categories: categories.map(named),
            ..FeatureExpectation::of_type("a", feature_type)
        };
        FeatureYardstick::new(Some(expectation), None)
    }

    fn counted(yardstick: &FeatureYardstick, values: &[Value<'static>]) -> FeatureProfile {
        let column = Column::of("a", values.iter().cloned());
        let rows: Vec<usize> = (0..column.len()).collect();
        yardstick.profile(&column, &rows).expect("one kind")
    }

    #[test]
    fn infinities_and_nan_are_in_no_range_and_not_out_of_it() {
        let numbers = [-1.0, 5.0, 10.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let profile = counted(
            &expecting(FeatureType::Number, None),
            &numbers.map(Value::Number),
        );
        assert_eq!(profile.counts().out_of_range, 2);
        assert_eq!(profile.valid(), 3);
    }

    #[test]
    fn numbers_and_booleans_are_categories_by_their_text() {
        let values = [
            Value::Text("8.5".into()),
            Value::Number(8.5),
            Value::Number(9.0),
            Value::Integer(9),
            Value::Boolean(true),
            Value::Number(1e300),
        ];
        let known = expecting(FeatureType::Category, Some(&["8.5", "9", "true"]));
        for yardstick in [&known, &expecting(FeatureType::Text, None)] {
            let profile = counted(yardstick, &values);
            let categories: Vec<(&str, u64)> = profile.categories().collect();
            assert_eq!(
                categories,
                [("1e300", 1), ("8.5", 2), ("9", 2), ("true", 1)]
            );
            assert_eq!(profile.counts().mismatched, 0);
        }
        assert_eq!(counted(&known, &values).counts().unseen, 1);
        // Where all categories are words, a number is none of them.
        let words = expecting(FeatureType::Category, Some(&["S", "M"]));
        assert_eq!(
            counted(&words, &[Value::Number(0.5)]).counts().mismatched,
            1
        );
    }

    #[test]
    fn values_of_a_key_are_told_apart_by_what_they_are() {
        const BEYOND: i64 = 1 << 53;
        let expectation = FeatureExpectation {
            max_duplicate_share: Some(0.0),
            ..FeatureExpectation::of_type("a", FeatureType::Number)
        };
        let key = FeatureYardstick::new(Some(expectation), None);
        let values = [
            Value::Integer(BEYOND),
            Value::Integer(BEYOND + 1),
            Value::Integer(3),
            Value::Number(3.0),
            Value::Number(3.5),
            Value::Number(f64::NAN),
            Value::Number(f64::NAN),
            Value::Null,
        ];
        let profile = counted(&key, &values);
        assert_eq!(profile.repeated(), Some((1, 5)), "3 and 3.0 are one");
        let free = expecting(FeatureType::Number, None);
        assert_eq!(counted(&free, &values).repeated(), None);
    }

    #[test]
    fn zero_and_one_are_booleans_where_these_are_expected() {
        let values = [
            Value::Boolean(true),
            Value::Integer(1),
            Value::Number(0.0),
            Value::Integer(2),
        ];
        let profile = counted(&expecting(FeatureType::Boolean, None), &values);
        let categories: Vec<(&str, u64)> = profile.categories().collect();
        assert_eq!(categories, [("false", 1), ("true", 2)]);
        assert_eq!(profile.counts().mismatched, 1);
    }
}
