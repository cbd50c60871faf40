//! What the values of one feature are counted against: the type it should have, its range, the categories that
//! are known, the cells its numbers fall into. Whatever counts values goes through here, so that a value counts
//! the same wherever it comes from: settled in the service, fitted into a baseline, or read from a file.

use std::borrow::Cow;
use std::collections::HashSet;

use super::columns::{Column, Kind, Value};
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
}

impl FeatureYardstick {
    /// A yardstick of these.
    #[must_use]
    pub fn new(expectation: Option<FeatureExpectation>, grid: Option<Grid>) -> Self {
        let known = expectation.as_ref().and_then(|e| e.categories.as_ref());
        Self {
            categories: known.map(|known| known.iter().cloned().collect()),
            expectation,
            grid,
        }
    }

    /// Counts the values of some rows into a fresh profile. The schema says whether they are numbers or
    /// categories; without one the first telling value does. That a row lacks a feature counts only where the
    /// feature is expected: which rows share a batch with one that brings something else is chance, and must not
    /// show in the counts.
    ///
    /// # Errors
    /// Never for a profile made here; the profile's own checks are passed on.
    pub fn profile(&self, column: &Column, rows: &[usize]) -> Result<FeatureProfile, ProfileError> {
        let kinds = column.kinds();
        let numeric = match self.expected() {
            Some(feature_type) => feature_type.is_numeric(),
            None => {
                let mut telling = rows.iter().filter_map(|row| is_numeric(kinds[*row]));
                self.grid.is_some() || telling.next().unwrap_or(true)
            }
        };
        let mut profile = if numeric {
            FeatureProfile::numeric(self.grid.as_ref())
        } else {
            FeatureProfile::categorical()
        };
        self.count(&mut profile, column, rows)?;
        Ok(profile)
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
            let is_outside = |n: &&f64| **n < minimum || **n > maximum;
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
        for &row in rows {
            if any_number && kinds[row] == Kind::Number {
                numbers.push(f64::from_bits(bits[row]));
                continue;
            }
            let value = column.get(row);
            match read(&value, expected, true) {
                Reading::Number(number) => numbers.push(number),
                other => self.note(profile, &value, &other)?,
            }
        }
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
        // Each text is looked up once, however many rows have it.
        let mut tallies = vec![0_u64; column.texts().len()];
        for &row in rows {
            let tally = usize::try_from(bits[row])
                .ok()
                .filter(|_| any_text && kinds[row] == Kind::Text)
                .and_then(|place| tallies.get_mut(place));
            match tally {
                Some(tally) => *tally += 1,
                None => {
                    let value = column.get(row);
                    self.note(profile, &value, &read(&value, expected, false))?;
                }
            }
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
    ) -> Result<(), ProfileError> {
        match reading {
            Reading::Absent if self.expectation.is_none() => {}
            Reading::Absent => profile.observe_absent(1),
            Reading::Null => profile.observe_null(1),
            Reading::Category(category) => self.count_category(profile, category, 1)?,
            Reading::Mismatch | Reading::Number(_) => {
                profile.observe_mismatch(1);
                profile.note_mismatches(mismatch(value));
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

/// What a value of a wrong type is.
fn mismatch(value: &Value<'_>) -> Mismatches {
    let mut noted = Mismatches::default();
    match value {
        Value::Absent | Value::Null => {}
        Value::Boolean(_) => noted.booleans = 1,
        Value::Number(_) | Value::Integer(_) => noted.numbers = 1,
        Value::Timestamp(_) => noted.timestamps = 1,
        // Not told apart: a feature that should be something else seldom becomes vectors.
        Value::Vector(_) => {}
        Value::Text(text) => {
            noted.texts = 1;
            noted.numeric_texts = u64::from(is_numeric_text(text));
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
    match value {
        Value::Absent => Reading::Absent,
        Value::Null => Reading::Null,
        Value::Number(n) if any_number => Reading::Number(*n),
        Value::Number(n) if expected == Some(Integer) && (n.fract() == 0.0 || !n.is_finite()) => {
            Reading::Number(*n)
        }
        Value::Integer(n) if any_number || expected == Some(Integer) => Reading::Number(*n as f64),
        Value::Integer(n) if expected == Some(Category) => Reading::Category(n.to_string().into()),
        Value::Boolean(b)
            if matches!(expected, Some(Boolean | Category)) || (expected.is_none() && !numeric) =>
        {
            Reading::Category(if *b { "true" } else { "false" }.into())
        }
        Value::Text(t)
            if matches!(expected, Some(Category | Text)) || (expected.is_none() && !numeric) =>
        {
            Reading::Category(t.as_ref().into())
        }
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
