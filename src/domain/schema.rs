//! What is expected of a model's features.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::DateTime;
use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::columns::{Column, Kind, Value};
use super::row_hashes::{hash_bits, hash_text};
use crate::stats::repeats::Repeats;

/// The type of a feature.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum FeatureType {
    Number,
    Integer,
    Boolean,
    Category,
    Text,
    Timestamp,
    /// Lists of numbers, such as embeddings.
    Vector,
}

impl FeatureType {
    /// The word used in files, SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Category => "category",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Vector => "vector",
        }
    }

    /// Whether values are counted on numeric cells rather than as categories. Timestamps count as seconds
    /// since 1970, vectors as their lengths ([`vector_length`]).
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Integer | Self::Timestamp | Self::Vector
        )
    }

    /// The date that a number of this type stands for, such as `2026-03-01 14:05`, in UTC; nothing where the type is another one.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is beyond the range of seconds is no date, and is not taken for one"
    )]
    pub fn date(self, number: f64) -> Option<String> {
        let seconds = (self == Self::Timestamp).then_some(number.round() as i64)?;
        let at = DateTime::from_timestamp(seconds, 0)?;
        Some(at.format("%Y-%m-%d %H:%M").to_string())
    }

    /// Whether the values that are known can be listed.
    #[must_use]
    pub fn has_categories(self) -> bool {
        matches!(self, Self::Category | Self::Boolean)
    }
}

/// The number that a vector counts as: how many numbers it has, so that the range of a feature of vectors is that of
/// their lengths. With a NaN in it, it counts as NaN, and with an infinity as one: no distance can be had of it.
#[must_use]
pub fn vector_length(vector: &[f32]) -> f64 {
    if vector.iter().any(|number| number.is_nan()) {
        f64::NAN
    } else if vector.iter().all(|number| number.is_finite()) {
        vector.len() as f64
    } else {
        f64::INFINITY
    }
}

/// What is expected of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureExpectation {
    pub feature: String,
    pub feature_type: FeatureType,
    /// Whether a row without the feature is a finding.
    pub required: bool,
    /// Smallest value in range, for numeric features; of vectors the smallest length.
    pub minimum: Option<f64>,
    /// Largest value in range, for numeric features; of vectors the largest length.
    pub maximum: Option<f64>,
    /// The known categories, for categories and booleans; `None` when any is allowed.
    pub categories: Option<Vec<String>>,
    /// The largest share of nulls, among rows that have the feature, that is no finding.
    pub max_null_share: f64,
    /// The largest share of values that repeat an earlier one of their window and are no finding; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duplicate_share: Option<f64>,
    /// The smallest number of different values in a window that is no finding; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_distinct: Option<i64>,
    /// The largest number of different values in a window that is no finding; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_distinct: Option<i64>,
    /// The largest share of values outside the range or the categories that is no finding; the monitor's tolerance when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_outside_share: Option<f64>,
    /// The environments in which a row has to have the feature; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<String>>,
}

impl FeatureExpectation {
    /// Of a feature of this type nothing but that it is there.
    #[must_use]
    pub fn of_type(feature: impl Into<String>, feature_type: FeatureType) -> Self {
        Self {
            feature: feature.into(),
            feature_type,
            required: true,
            minimum: None,
            maximum: None,
            categories: None,
            max_null_share: 0.0,
            max_duplicate_share: None,
            min_distinct: None,
            max_distinct: None,
            max_outside_share: None,
            environments: None,
        }
    }

    /// The same without what only many values show: range, categories, and how often values repeat.
    #[must_use]
    pub fn without_limits(self) -> Self {
        Self {
            minimum: None,
            maximum: None,
            categories: None,
            max_duplicate_share: None,
            min_distinct: None,
            max_distinct: None,
            ..self
        }
    }

    /// Whether anything is said of how often values repeat each other.
    #[must_use]
    pub fn limits_repeats(&self) -> bool {
        self.max_duplicate_share.is_some()
            || self.min_distinct.is_some()
            || self.max_distinct.is_some()
    }

    /// Whether a row without the feature is a finding about a version deployed in these environments. Of one that is
    /// deployed nowhere, everything is expected.
    #[must_use]
    pub fn is_required_in<'e>(&self, deployed: impl Iterator<Item = &'e str>) -> bool {
        self.required && is_expected_in(self.environments.as_deref(), deployed)
    }
}

/// Whether any of the environments in which a feature is expected, all when absent, is among these, or there are none of these.
fn is_expected_in<'e>(
    expected: Option<&[String]>,
    mut deployed: impl Iterator<Item = &'e str>,
) -> bool {
    let Some(expected) = expected else {
        return true;
    };
    let mut nowhere = true;
    let mut found = deployed.by_ref().inspect(|_| nowhere = false);
    found.any(|at| expected.iter().any(|environment| environment == at)) || nowhere
}

/// What a person says about one feature: every part of it stands against what is inferred from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct FeatureOverride {
    pub feature: String,
    pub feature_type: Option<FeatureType>,
    pub required: Option<bool>,
    pub minimum: Limit<f64>,
    pub maximum: Limit<f64>,
    pub categories: Limit<Vec<String>>,
    pub max_null_share: Option<f64>,
    #[serde(default, skip_serializing_if = "Limit::is_inferred")]
    pub max_duplicate_share: Limit<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_distinct: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_distinct: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_outside_share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<Vec<String>>,
}

/// A limit that a person leaves to the data, lifts, or sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Limit<T> {
    /// What the data say.
    #[default]
    Inferred,
    /// No limit.
    Any,
    /// This limit.
    Given(T),
}

impl<T> Limit<T> {
    /// Whether it is left to the data.
    #[must_use]
    pub fn is_inferred(&self) -> bool {
        matches!(self, Self::Inferred)
    }
}

impl<T: Clone> Limit<T> {
    fn over(&self, inferred: Option<T>) -> Option<T> {
        match self {
            Self::Inferred => inferred,
            Self::Any => None,
            Self::Given(limit) => Some(limit.clone()),
        }
    }
}

impl FeatureOverride {
    /// An expectation said in full.
    #[must_use]
    pub fn exactly(expected: &FeatureExpectation) -> Self {
        let numeric = expected.feature_type.is_numeric();
        let listed = expected.feature_type.has_categories();
        let end = |end: Option<f64>| match end {
            Some(end) => Limit::Given(end),
            None if numeric => Limit::Any,
            None => Limit::Inferred,
        };
        Self {
            feature: expected.feature.clone(),
            feature_type: Some(expected.feature_type),
            required: Some(expected.required),
            minimum: end(expected.minimum),
            maximum: end(expected.maximum),
            categories: match &expected.categories {
                Some(known) => Limit::Given(known.clone()),
                None if listed => Limit::Any,
                None => Limit::Inferred,
            },
            max_null_share: Some(expected.max_null_share),
            max_duplicate_share: expected
                .max_duplicate_share
                .map_or(Limit::Inferred, Limit::Given),
            min_distinct: expected.min_distinct,
            max_distinct: expected.max_distinct,
            max_outside_share: expected.max_outside_share,
            environments: expected.environments.clone(),
        }
    }

    /// As [`FeatureExpectation::is_required_in`], where the feature is required or not `by_itself` if nobody says so.
    #[must_use]
    pub fn is_required_in<'e>(
        &self,
        deployed: impl Iterator<Item = &'e str>,
        by_itself: bool,
    ) -> bool {
        self.required.unwrap_or(by_itself) && is_expected_in(self.environments.as_deref(), deployed)
    }

    /// Puts what somebody else says of the feature over this, part by part.
    pub fn put_over(&mut self, said: Self) {
        fn over<T>(known: &mut Limit<T>, said: Limit<T>) {
            if !said.is_inferred() {
                *known = said;
            }
        }
        self.feature_type = said.feature_type.or(self.feature_type);
        self.required = said.required.or(self.required);
        self.max_null_share = said.max_null_share.or(self.max_null_share);
        self.min_distinct = said.min_distinct.or(self.min_distinct);
        self.max_distinct = said.max_distinct.or(self.max_distinct);
        self.max_outside_share = said.max_outside_share.or(self.max_outside_share);
        self.environments = said.environments.or(self.environments.take());
        over(&mut self.minimum, said.minimum);
        over(&mut self.maximum, said.maximum);
        over(&mut self.categories, said.categories);
        over(&mut self.max_duplicate_share, said.max_duplicate_share);
    }

    /// The expectation in force: what is inferred, with what the person says put over it. Limits that the type
    /// in force has no use for are dropped. `None` when neither names a type.
    #[must_use]
    pub fn apply(&self, inferred: Option<FeatureExpectation>) -> Option<FeatureExpectation> {
        let feature_type = self
            .feature_type
            .or(inferred.as_ref().map(|known| known.feature_type))?;
        let numeric = feature_type.is_numeric();
        let listed = feature_type.has_categories();
        let repeats = feature_type != FeatureType::Vector;
        let inferred = inferred
            .unwrap_or_else(|| FeatureExpectation::of_type(self.feature.clone(), feature_type));
        Some(FeatureExpectation {
            feature: self.feature.clone(),
            feature_type,
            required: self.required.unwrap_or(inferred.required),
            minimum: self.minimum.over(inferred.minimum).filter(|_| numeric),
            maximum: self.maximum.over(inferred.maximum).filter(|_| numeric),
            categories: self.categories.over(inferred.categories).filter(|_| listed),
            max_null_share: self.max_null_share.unwrap_or(inferred.max_null_share),
            max_duplicate_share: self
                .max_duplicate_share
                .over(inferred.max_duplicate_share)
                .filter(|_| repeats),
            min_distinct: self
                .min_distinct
                .or(inferred.min_distinct)
                .filter(|_| repeats),
            max_distinct: self
                .max_distinct
                .or(inferred.max_distinct)
                .filter(|_| repeats),
            max_outside_share: self.max_outside_share.or(inferred.max_outside_share),
            environments: self.environments.clone().or(inferred.environments),
        })
    }
}

/// More different texts than this are free text, not categories.
const MAX_CATEGORIES: usize = 1_000;
/// From what share of its values on being something else a column of numbers is one of categories, if its different values
/// are not too many for that.
const MIXED_SHARE: f64 = 0.05;
/// The same where all of the others are codes with leading zeros: of a few thousand codes that are counted through, few have one.
const CODE_SHARE: f64 = 0.01;
/// Which part of the values that were there may be missing before it is a finding, at the least.
const NULL_SLACK: f64 = 0.05;

/// The largest share of nulls that is no finding, where so many were seen: of the values that were there, as large a part may be
/// missing as was missing of all, and a twentieth. So it is twice what was seen where that is little, and never all.
#[must_use]
pub fn usual_null_share(seen: f64) -> f64 {
    seen + seen.max(NULL_SLACK) * (1.0 - seen)
}

/// Of fewer values that are all different it is not said that they do not repeat: chance may have it so.
const FEWEST_UNIQUE: u64 = 1_000;
/// How many pairs of equal values an unrepeated column of so many may be expected to have, of all there could be, in one of a thousand
/// cases; and twice that is still chance.
const PAIRS_BY_CHANCE: f64 = 14.0;

/// The largest share of values that repeat an earlier one and are no finding, where none of so many did: what windows of as many rows
/// would show if values were drawn with as many equal pairs as the reference may have missed by chance. So numbers that are only rarely
/// the same are no key.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a share needs no more than a double's digits"
)]
pub fn usual_duplicate_share(values: u64) -> Option<f64> {
    (values >= FEWEST_UNIQUE).then(|| PAIRS_BY_CHANCE / values as f64)
}

/// What a reference's rows say of their features: type, presence, range, categories. A feature without a single
/// telling value says nothing.
#[must_use]
pub fn infer<'c>(columns: impl IntoIterator<Item = &'c Column>) -> Vec<FeatureExpectation> {
    columns.into_iter().filter_map(infer_one).collect()
}

fn infer_one(column: &Column) -> Option<FeatureExpectation> {
    let mut evidence = Evidence::default();
    for value in column.iter() {
        evidence.observe(&value);
    }
    evidence.expectation(&column.name)
}

/// What the values of a feature say about it, gathered value by value or batch by batch; of a file larger than
/// memory as of a few rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    pub rows: u64,
    pub absent: u64,
    pub nulls: u64,
    /// Values of an integer type.
    pub integers: u64,
    /// Values of a floating-point type.
    pub numbers: u64,
    pub booleans: u64,
    pub timestamps: u64,
    pub vectors: u64,
    pub texts: u64,
    /// The different texts, until there are too many for categories.
    texts_seen: BTreeSet<String>,
    /// The different numbers of values that came one by one, until there are too many for categories: they are categories
    /// where they stand among texts. What comes as whole arrays of numbers has no texts between them.
    numbers_seen: HashSet<Figure>,
    /// Whether any text is no code with leading zeros.
    has_words: bool,
    /// The integers and texts, as long as none has repeated an earlier one.
    unique: Option<Repeats>,
    /// The extremes of the finite numbers; infinite, the wrong way round, without any.
    pub minimum: f64,
    pub maximum: f64,
}

/// A number by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Figure {
    Integer(i64),
    Number(u64),
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            rows: 0,
            absent: 0,
            nulls: 0,
            integers: 0,
            numbers: 0,
            booleans: 0,
            timestamps: 0,
            vectors: 0,
            texts: 0,
            texts_seen: BTreeSet::new(),
            numbers_seen: HashSet::new(),
            has_words: false,
            unique: Some(Repeats::default()),
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
        }
    }
}

impl Evidence {
    /// The same rows, where so many texts are times between these bounds.
    #[must_use]
    pub fn of_times(&self, times: u64, (minimum, maximum): (f64, f64)) -> Self {
        Self {
            rows: self.rows,
            absent: self.absent,
            nulls: self.nulls,
            timestamps: times,
            minimum,
            maximum,
            ..Self::default()
        }
    }

    /// Takes a value into account.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a range needs no more than a double's digits"
    )]
    pub fn observe(&mut self, value: &Value<'_>) {
        match value {
            Value::Absent => self.absent += 1,
            Value::Null => self.nulls += 1,
            Value::Integer(n) => {
                self.integers += 1;
                self.observe_figure(Figure::Integer(*n));
                self.observe_hashes([hash_bits(Kind::Integer, n.cast_unsigned())]);
                self.extend_range(*n as f64);
            }
            Value::Number(n) => {
                self.numbers += 1;
                self.observe_figure(Figure::Number(n.to_bits()));
                self.extend_range(*n);
            }
            Value::Boolean(_) => self.booleans += 1,
            Value::Timestamp(at) => {
                self.timestamps += 1;
                self.extend_range(at.timestamp() as f64);
            }
            Value::Vector(vector) => {
                self.vectors += 1;
                self.extend_range(vector_length(vector));
            }
            Value::Text(text) => {
                self.texts += 1;
                self.observe_text(text);
                self.observe_hashes([hash_text(text)]);
            }
        }
        self.rows += 1;
    }

    /// Whether no integer or text has repeated an earlier one so far.
    #[must_use]
    pub fn may_be_unique(&self) -> bool {
        self.unique.is_some()
    }

    /// Takes integers or texts into account by hashes that equal ones share. From the first that repeats another on nothing is kept.
    pub fn observe_hashes(&mut self, hashes: impl IntoIterator<Item = u64>) {
        let Some(unique) = &mut self.unique else {
            return;
        };
        let repeated = hashes.into_iter().any(|hash| !unique.observe_new(hash));
        if repeated {
            self.unique = None;
        }
    }

    /// Takes into account that integers or texts repeat each other.
    pub fn observe_repeats(&mut self) {
        self.unique = None;
    }

    /// The largest share of repeats that is no finding, where all values are integers or texts, and none has repeated another.
    fn max_duplicate_share(&self, feature_type: FeatureType) -> Option<f64> {
        let unique = self.unique.as_ref()?;
        let of_kind = matches!(feature_type, FeatureType::Integer | FeatureType::Text);
        let others = self.numbers + self.booleans + self.timestamps + self.vectors;
        (of_kind && others == 0 && unique.rows() == self.integers + self.texts)
            .then(|| usual_duplicate_share(unique.rows()))
            .flatten()
    }

    /// Notes a text without counting it.
    pub fn observe_text(&mut self, text: &str) {
        self.has_words |= !is_code(text);
        if self.texts_seen.len() <= MAX_CATEGORIES && !self.texts_seen.contains(text) {
            self.texts_seen.insert(text.to_owned());
        }
    }

    fn observe_figure(&mut self, figure: Figure) {
        if self.numbers_seen.len() <= MAX_CATEGORIES {
            self.numbers_seen.insert(figure);
        }
    }

    /// Widens the range by a number; those that are not finite are passed over.
    pub fn extend_range(&mut self, number: f64) {
        if number.is_finite() {
            self.minimum = self.minimum.min(number);
            self.maximum = self.maximum.max(number);
        }
    }

    /// The type that most of the telling values are of; `None` without any.
    #[must_use]
    pub fn majority(&self) -> Option<FeatureType> {
        let numeric = self.integers + self.numbers;
        let kinds = [
            numeric,
            self.booleans,
            self.timestamps,
            self.vectors,
            self.texts,
        ];
        let most = kinds.into_iter().max().filter(|most| *most > 0)?;
        Some(if most == numeric {
            if self.numbers > 0 {
                FeatureType::Number
            } else {
                FeatureType::Integer
            }
        } else if most == self.booleans {
            FeatureType::Boolean
        } else if most == self.timestamps {
            FeatureType::Timestamp
        } else if most == self.vectors {
            FeatureType::Vector
        } else {
            self.of_texts()
        })
    }

    /// The type of the feature: that of most of the telling values, unless they are mixed with so much else that they
    /// are categories, or with codes that only look like numbers. `None` without any telling value.
    ///
    /// Where cells have no type, codes such as `01` to `56` come as texts and as numbers, and what is left out of a
    /// comparison because it is of the rarer kind is not compared.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than a double's digits"
    )]
    pub fn feature_type(&self) -> Option<FeatureType> {
        use FeatureType::{Boolean, Category, Integer, Number};
        let majority = self.majority()?;
        let numeric = self.integers + self.numbers;
        let others = match majority {
            Integer | Number => self.texts + self.booleans,
            Boolean => self.texts,
            _ => 0,
        };
        let share = others as f64 / (numeric + self.booleans + self.texts) as f64;
        let codes = others > 0
            && majority == Integer
            && !self.has_words
            && self.booleans == 0
            && share >= CODE_SHARE;
        let mixed = others > 0 && (majority == Boolean || share > MIXED_SHARE);
        Some(match majority {
            _ if codes => self.of_texts(),
            _ if mixed && self.of_texts() == Category => Category,
            majority => majority,
        })
    }

    /// What the values are as texts: categories, unless too many are different.
    fn of_texts(&self) -> FeatureType {
        let flags = if self.booleans > 0 { 2 } else { 0 };
        let different = self.texts_seen.len() + self.numbers_seen.len() + flags;
        // Some of them may be the same as texts.
        if different <= MAX_CATEGORIES || self.categories().len() <= MAX_CATEGORIES {
            FeatureType::Category
        } else {
            FeatureType::Text
        }
    }

    /// The different values as categories.
    fn categories(&self) -> BTreeSet<String> {
        let flags = [Value::Boolean(false), Value::Boolean(true)];
        let flags = flags.into_iter().filter(|_| self.booleans > 0);
        let numbers = self.numbers_seen.iter().map(|figure| match figure {
            Figure::Integer(integer) => Value::Integer(*integer),
            Figure::Number(bits) => Value::Number(f64::from_bits(*bits)),
        });
        let named = |value: Value<'_>| value.category().map(Cow::into_owned);
        let mut categories = self.texts_seen.clone();
        categories.extend(flags.chain(numbers).filter_map(named));
        categories
    }

    /// What to expect of a feature with these values; `None` without a single telling value.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than a double's digits"
    )]
    pub fn expectation(&self, feature: &str) -> Option<FeatureExpectation> {
        let feature_type = self.feature_type()?;
        let has_range = feature_type.is_numeric() && self.minimum <= self.maximum;
        // Time goes on beyond the latest date that was seen.
        let has_end = has_range && feature_type != FeatureType::Timestamp;
        let present = self.rows - self.absent;
        let null_share = if present > 0 {
            self.nulls as f64 / present as f64
        } else {
            0.0
        };
        Some(FeatureExpectation {
            required: self.absent == 0,
            minimum: has_range.then_some(self.minimum),
            maximum: has_end.then_some(self.maximum),
            categories: match feature_type {
                FeatureType::Category => Some(self.categories().into_iter().collect()),
                FeatureType::Boolean => Some(vec!["false".to_owned(), "true".to_owned()]),
                _ => None,
            },
            max_null_share: usual_null_share(null_share),
            max_duplicate_share: self.max_duplicate_share(feature_type),
            ..FeatureExpectation::of_type(feature, feature_type)
        })
    }
}

/// Whether a text is a number with leading zeros: a code.
fn is_code(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
