//! Columns of values in memory: nine bytes for a value of whatever type, each different text once.
//!
//! A batch of ten thousand predictions holds hundreds of thousands of values. As a vector of enums with texts
//! of their own they would take several times the memory and an allocation for each text; counting categories
//! by their code instead of their name is what makes profiles cheap.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::ops::{Index, Range};

use chrono::{DateTime, Utc};
use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize, Serializer};

/// A value as it was sent. Absent, null, NaN and empty text are four different things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value<'a> {
    /// The row has no such field.
    Absent,
    Null,
    Number(f64),
    Integer(i64),
    Boolean(bool),
    Text(Cow<'a, str>),
    Timestamp(DateTime<Utc>),
    /// A list of numbers, such as an embedding, in the precision in which models compute them.
    Vector(#[serde(with = "exact_floats")] Cow<'a, [f32]>),
}

impl Value<'_> {
    /// What it takes beside the nine bytes of any, in bytes.
    #[must_use]
    pub fn bytes_beside(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Vector(vector) => size_of_val(vector.as_ref()),
            _ => 0,
        }
    }

    /// The value as a category: a text as it is, a number in its shortest decimal form, so that equal ones are one category whether
    /// they came as integers or with a fraction of zero, a boolean as `true` or `false`. Nothing of all others.
    #[must_use]
    pub fn category(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Text(text) => Cow::Borrowed(text.as_ref()),
            Self::Integer(integer) => Cow::Owned(integer.to_string()),
            Self::Number(number) => Cow::Owned(shortest(*number + 0.0)),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Absent | Self::Null | Self::Timestamp(_) | Self::Vector(_) => return None,
        })
    }
}

/// A number in decimal, with an exponent where it would have more than 21 digits or begin with many zeros.
fn shortest(number: f64) -> String {
    if number == 0.0 || !number.is_finite() || (1e-6..1e21).contains(&number.abs()) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

/// Which of [`Value`]'s variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    Absent,
    Null,
    Number,
    Integer,
    Boolean,
    Text,
    Timestamp,
    Vector,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Absent,
        Self::Null,
        Self::Number,
        Self::Integer,
        Self::Boolean,
        Self::Text,
        Self::Timestamp,
        Self::Vector,
    ];
}

/// One feature over all rows of a batch.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "StoredColumn")]
pub struct Column {
    pub name: String,
    kinds: Vec<Kind>,
    /// The value of each row in 64 bits: a number's own, microseconds since 1970, the place of a text, or the
    /// [`span`] of a vector.
    bits: Vec<u64>,
    texts: Dictionary,
    /// Of all vectors, one behind the other; some may have lost their rows.
    numbers: Vec<f32>,
}

impl Column {
    /// A column without rows.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// A column of these values.
    #[must_use]
    pub fn of<'v>(name: impl Into<String>, values: impl IntoIterator<Item = Value<'v>>) -> Self {
        let values = values.into_iter();
        let mut column = Self::new(name);
        column.reserve(values.size_hint().0);
        for value in values {
            column.push(&value);
        }
        column
    }

    /// A column of numbers and nulls.
    #[must_use]
    pub fn of_numbers(
        name: impl Into<String>,
        numbers: impl ExactSizeIterator<Item = Option<f64>> + Clone,
    ) -> Self {
        let kind = |number: Option<f64>| number.map_or(Kind::Null, |_| Kind::Number);
        Self {
            name: name.into(),
            kinds: numbers.clone().map(kind).collect(),
            bits: numbers
                .map(|number| number.map_or(0, f64::to_bits))
                .collect(),
            texts: Dictionary::default(),
            numbers: Vec::new(),
        }
    }

    /// Makes room for so many more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.kinds.reserve(rows);
        self.bits.reserve(rows);
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, value: &Value<'_>) {
        let (kind, bits) = match value {
            Value::Absent => (Kind::Absent, 0),
            Value::Null => (Kind::Null, 0),
            Value::Number(number) => (Kind::Number, number.to_bits()),
            Value::Integer(integer) => (Kind::Integer, integer.cast_unsigned()),
            Value::Boolean(boolean) => (Kind::Boolean, u64::from(*boolean)),
            Value::Text(text) => (Kind::Text, u64::from(self.texts.code_of(text))),
            Value::Timestamp(at) => (Kind::Timestamp, at.timestamp_micros().cast_unsigned()),
            Value::Vector(vector) => {
                let first = self.numbers.len();
                self.numbers.extend_from_slice(vector);
                (Kind::Vector, span(first, vector.len()))
            }
        };
        self.kinds.push(kind);
        self.bits.push(bits);
    }

    /// Adds a row with the value of an earlier one.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn repeat(&mut self, row: usize) {
        self.kinds.push(self.kinds[row]);
        self.bits.push(self.bits[row]);
    }

    /// Makes it `rows` long: adds absent values, or forgets the last ones.
    pub fn resize(&mut self, rows: usize) {
        self.kinds.resize(rows, Kind::Absent);
        self.bits.resize(rows, 0);
    }

    /// The value of a row; absent beyond the end.
    #[must_use]
    pub fn get(&self, row: usize) -> Value<'_> {
        let Some((kind, bits)) = self.kinds.get(row).zip(self.bits.get(row)) else {
            return Value::Absent;
        };
        self.value(*kind, *bits)
    }

    fn value(&self, kind: Kind, bits: u64) -> Value<'_> {
        match kind {
            Kind::Absent => Value::Absent,
            Kind::Null => Value::Null,
            Kind::Number => Value::Number(f64::from_bits(bits)),
            Kind::Integer => Value::Integer(bits.cast_signed()),
            Kind::Boolean => Value::Boolean(bits != 0),
            Kind::Text => Value::Text(Cow::Borrowed(self.texts.text(bits))),
            Kind::Timestamp => Value::Timestamp(
                DateTime::from_timestamp_micros(bits.cast_signed()).unwrap_or_default(),
            ),
            Kind::Vector => {
                let numbers = self.numbers.get(range(bits));
                Value::Vector(Cow::Borrowed(numbers.unwrap_or_default()))
            }
        }
    }

    /// The values, row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'_>> + Clone {
        let rows = self.kinds.iter().zip(&self.bits);
        rows.map(|(kind, bits)| self.value(*kind, *bits))
    }

    /// What each row's value is.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Each row's value in 64 bits: of a number its own, of a text its place in [`Self::texts`], of a timestamp
    /// the microseconds since 1970, as its kind says. Those of a vector say where it is, which [`Self::get`] knows.
    #[must_use]
    pub fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// The different texts, in order of their first sight.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts.texts
    }

    /// What its different texts and its vectors take, in bytes.
    #[must_use]
    pub fn bytes_beside(&self) -> usize {
        let texts = self.texts.texts.iter().map(String::len);
        texts.sum::<usize>() + size_of_val(self.numbers.as_slice())
    }

    /// Adds what each row's value takes beside the nine bytes of any to that row's number, in bytes.
    pub fn add_bytes_beside(&self, bytes: &mut [usize]) {
        if self.texts.texts.is_empty() && self.numbers.is_empty() {
            return;
        }
        for (value, bytes) in self.iter().zip(bytes) {
            *bytes += value.bytes_beside();
        }
    }

    /// Keeps the rows for which `keep`, of one element per row, is true.
    pub fn retain(&mut self, keep: &[bool]) {
        retain(&mut self.kinds, keep);
        retain(&mut self.bits, keep);
    }

    /// The values of the given rows, in their order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Self::new(self.name.clone());
        for row in rows {
            selected.push(&self.get(*row));
        }
        selected
    }

    /// Adds the rows of another column behind one's own.
    pub fn append(&mut self, other: &Self) {
        let places: Vec<u64> = (other.texts.texts.iter())
            .map(|text| u64::from(self.texts.code_of(text)))
            .collect();
        let first = self.numbers.len();
        self.numbers.extend(&other.numbers);
        self.kinds.extend(&other.kinds);
        let bits = other.kinds.iter().zip(&other.bits);
        self.bits.extend(bits.map(|(kind, bits)| match kind {
            Kind::Text => place(&places, *bits),
            Kind::Vector => bits + span(first, 0),
            _ => *bits,
        }));
    }
}

/// Where a vector begins among all numbers, and how long it is.
///
/// # Panics
/// Beyond four thousand million numbers, which the limits on bodies and packs never let come together.
fn span(first: usize, length: usize) -> u64 {
    let half = |number: usize| u32::try_from(number).expect("packs are bounded far below 16 GiB");
    u64::from(half(first)) << 32 | u64::from(half(length))
}

fn range(span: u64) -> Range<usize> {
    let (first, length) = ((span >> 32) as usize, (span & u64::from(NONE)) as usize);
    first..first + length
}

/// By its values: two columns may number their texts differently.
impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.len() == other.len() && self.iter().eq(other.iter())
    }
}

fn place(places: &[u64], code: u64) -> u64 {
    let code = usize::try_from(code).unwrap_or(usize::MAX);
    places.get(code).copied().unwrap_or_default()
}

fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    values.retain(|_| keep.next().copied().unwrap_or(false));
}

/// A text or none per row, of which few are different, such as versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TextColumn {
    codes: Vec<u32>,
    texts: Dictionary,
}

/// The code of a row without text.
const NONE: u32 = u32::MAX;

impl TextColumn {
    /// Adds a row.
    pub fn push(&mut self, text: Option<&str>) {
        let code = text.map_or(NONE, |text| self.texts.code_of(text));
        self.codes.push(code);
    }

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        let code = self.codes.get(row).filter(|code| **code != NONE)?;
        Some(self.texts.text(u64::from(*code)))
    }

    /// The texts, row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> + Clone {
        (0..self.codes.len()).map(|row| self.get(row))
    }

    /// Each row's place in [`Self::texts`]; beyond its end where the row has no text.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The different texts, in order of their first sight; some may have lost their rows.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.texts.iter().map(String::as_str)
    }

    /// Keeps the rows for which `keep`, of one element per row, is true.
    pub fn retain(&mut self, keep: &[bool]) {
        retain(&mut self.codes, keep);
    }

    /// Adds the rows of another column behind one's own.
    pub fn append(&mut self, other: &Self) {
        let places: Vec<u32> = (other.texts.texts.iter())
            .map(|text| self.texts.code_of(text))
            .collect();
        self.codes.extend(other.codes.iter().map(|code| match code {
            &NONE => NONE,
            code => places.get(*code as usize).copied().unwrap_or(NONE),
        }));
    }
}

/// By its texts: two columns may number them differently.
impl PartialEq for TextColumn {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'t> FromIterator<Option<&'t str>> for TextColumn {
    fn from_iter<I: IntoIterator<Item = Option<&'t str>>>(texts: I) -> Self {
        let mut column = Self::default();
        for text in texts {
            column.push(text);
        }
        column
    }
}

/// A text per row, most of them different, such as ids: one behind the other in a single allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "(String, Vec<u32>)")]
pub struct Texts {
    joined: String,
    /// Where each text ends, in bytes.
    ends: Vec<u32>,
}

impl Texts {
    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds one.
    ///
    /// # Panics
    /// Beyond 4 GiB of text, which the limits on bodies and packs never let come together.
    pub fn push(&mut self, text: &str) {
        self.joined.push_str(text);
        let end = u32::try_from(self.joined.len()).expect("packs are bounded far below 4 GiB");
        self.ends.push(end);
    }

    /// The texts in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|row| &self[row])
    }

    /// Keeps those for which `keep`, of one element each, is true.
    pub fn retain(&mut self, keep: &[bool]) {
        let kept = self.iter().zip(keep).filter(|(_, keep)| **keep);
        *self = kept.map(|(text, _)| text).collect();
    }

    /// Adds those of another behind one's own.
    pub fn append(&mut self, other: &Self) {
        for text in other.iter() {
            self.push(text);
        }
    }
}

impl Index<usize> for Texts {
    type Output = str;

    fn index(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.joined[start as usize..self.ends[row] as usize]
    }
}

impl<'t> FromIterator<&'t str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'t str>>(texts: I) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.push(text);
        }
        all
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.joined, &self.ends).serialize(serializer)
    }
}

impl TryFrom<(String, Vec<u32>)> for Texts {
    type Error = &'static str;

    fn try_from((joined, ends): (String, Vec<u32>)) -> Result<Self, Self::Error> {
        let cuts = ends
            .iter()
            .all(|end| joined.is_char_boundary(*end as usize));
        let whole = ends.last().map_or(0, |end| *end as usize) == joined.len();
        if cuts && whole && ends.is_sorted() {
            Ok(Self { joined, ends })
        } else {
            Err("texts do not end where they say")
        }
    }
}

/// Different texts, numbered in order of their first sight.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Vec<String>")]
struct Dictionary {
    texts: Vec<String>,
    /// Numbers by text. Empty, until something is looked up, in a dictionary that was read back.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Dictionary {
    fn text(&self, code: u64) -> &str {
        usize::try_from(code)
            .ok()
            .and_then(|code| self.texts.get(code))
            .map_or("", String::as_str)
    }

    /// The number of a text, new or known.
    fn code_of(&mut self, text: &str) -> u32 {
        let Self {
            texts,
            numbers,
            hasher,
        } = self;
        let hash_of = |number: &u32| hasher.hash_one(texts[*number as usize].as_str());
        if numbers.len() < texts.len() {
            for number in 0..texts.len() {
                let number = u32::try_from(number).unwrap_or(NONE);
                numbers.insert_unique(hash_of(&number), number, hash_of);
            }
        }
        let hash = hasher.hash_one(text);
        if let Some(number) = numbers.find(hash, |number| texts[*number as usize] == text) {
            return *number;
        }
        // Rows are counted in 32 bits, and no row brings more than one text.
        let number = u32::try_from(texts.len()).unwrap_or(NONE);
        numbers.insert_unique(hash, number, hash_of);
        texts.push(text.to_owned());
        number
    }
}

impl From<Vec<String>> for Dictionary {
    fn from(texts: Vec<String>) -> Self {
        Self {
            texts,
            ..Self::default()
        }
    }
}

impl Serialize for Dictionary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts.serialize(serializer)
    }
}

/// A column as it is written: kinds as one run where all rows are alike, values as plain bytes, and the numbers of
/// vectors behind them.
#[derive(Serialize)]
struct ColumnToStore<'c> {
    name: &'c str,
    rows: u32,
    #[serde(with = "plain_bytes")]
    kinds: Vec<u8>,
    #[serde(with = "plain_bytes")]
    bits: Vec<u8>,
    texts: &'c [String],
}

/// The same, as it is read.
#[derive(Deserialize)]
struct StoredColumn {
    name: String,
    rows: u32,
    #[serde(with = "plain_bytes")]
    kinds: Vec<u8>,
    #[serde(with = "plain_bytes")]
    bits: Vec<u8>,
    texts: Vec<String>,
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let uniform = self.kinds.first().filter(|first| {
            let mut kinds = self.kinds.iter();
            kinds.all(|kind| kind == *first)
        });
        let kinds = match uniform {
            Some(kind) => vec![*kind as u8],
            None => self.kinds.iter().map(|kind| *kind as u8).collect(),
        };
        // Texts are few: four bytes are enough for the place of any.
        let bits = if uniform == Some(&Kind::Text) {
            joined(self.bits.iter().map(|place| (*place as u32).to_le_bytes()))
        } else {
            let mut bits = joined(self.bits.iter().map(|bits| bits.to_le_bytes()));
            bits.extend(joined(
                self.numbers.iter().map(|number| number.to_le_bytes()),
            ));
            bits
        };
        let stored = ColumnToStore {
            name: &self.name,
            rows: u32::try_from(self.kinds.len()).unwrap_or(u32::MAX),
            kinds,
            bits,
            texts: &self.texts.texts,
        };
        stored.serialize(serializer)
    }
}

fn joined<const N: usize>(parts: impl ExactSizeIterator<Item = [u8; N]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.len() * N);
    for part in parts {
        bytes.extend_from_slice(&part);
    }
    bytes
}

impl TryFrom<StoredColumn> for Column {
    type Error = &'static str;

    fn try_from(stored: StoredColumn) -> Result<Self, Self::Error> {
        let kind = |byte: &u8| Kind::ALL.get(usize::from(*byte)).copied();
        let rows = stored.rows as usize;
        let (bits, numbers): (Vec<u64>, Vec<f32>) = if stored.bits.len() == rows * 4 {
            let (places, _) = stored.bits.as_chunks::<4>();
            let places = places.iter().map(|place| u32::from_le_bytes(*place).into());
            (places.collect(), Vec::new())
        } else {
            let split = stored.bits.split_at_checked(rows * 8);
            let (bits, numbers) = split.ok_or("a column does not have the rows it says")?;
            let ((bits, _), (numbers, _)) = (bits.as_chunks::<8>(), numbers.as_chunks::<4>());
            (
                bits.iter().map(|bits| u64::from_le_bytes(*bits)).collect(),
                numbers.iter().map(|n| f32::from_le_bytes(*n)).collect(),
            )
        };
        let kinds: Option<Vec<Kind>> = match stored.kinds.as_slice() {
            [uniform] => kind(uniform).map(|kind| vec![kind; bits.len()]),
            kinds => kinds.iter().map(kind).collect(),
        };
        let kinds = kinds.ok_or("a column has a value of unknown kind")?;
        if kinds.len() != rows || bits.len() != rows {
            return Err("a column does not have the rows it says");
        }
        let texts = stored.texts.len() as u64;
        let mut places = kinds.iter().zip(&bits);
        if places.any(|(kind, place)| *kind == Kind::Text && *place >= texts) {
            return Err("a column lacks a text");
        }
        let mut spans = kinds.iter().zip(&bits);
        if spans.any(|(kind, span)| *kind == Kind::Vector && range(*span).end > numbers.len()) {
            return Err("a column lacks numbers of a vector");
        }
        Ok(Self {
            name: stored.name,
            kinds,
            bits,
            texts: stored.texts.into(),
            numbers,
        })
    }
}

/// Numbers by their bits: JSON has no words for NaN and infinities.
mod exact_floats {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(numbers: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers.iter().map(|number| number.to_bits()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'static, [f32]>, D::Error> {
        let bits = Vec::<u32>::deserialize(deserializer)?;
        Ok(bits.into_iter().map(f32::from_bits).collect())
    }
}

/// Bytes as one run, not as a list of numbers.
mod plain_bytes {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Absent),
            Just(Value::Null),
            any::<f64>()
                .prop_filter("equal to itself", |n| !n.is_nan())
                .prop_map(Value::Number),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            "[a-c]{0,2}".prop_map(|text| Value::Text(text.into())),
            (0_i64..4_000_000_000_000_000).prop_map(|micros| {
                Value::Timestamp(DateTime::from_timestamp_micros(micros).unwrap_or_default())
            }),
            prop::collection::vec(-9.0_f32..9.0, 0..4).prop_map(|n| Value::Vector(n.into())),
        ]
    }

    proptest! {
        #[test]
        fn columns_give_back_what_was_put_in_also_when_joined_cut_and_stored(
            first in prop::collection::vec(value(), 0..40),
            second in prop::collection::vec(value(), 0..40),
            keep in prop::collection::vec(any::<bool>(), 80),
        ) {
            let mut column = Column::of("f", first.iter().cloned());
            column.append(&Column::of("f", second.iter().cloned()));
            let bytes = postcard::to_allocvec(&column).expect("serialises");
            let mut column: Column = postcard::from_bytes(&bytes).expect("reads back");
            column.push(&Value::Text("a".into()));

            let mut expected: Vec<Value> = first.into_iter().chain(second).collect();
            expected.push(Value::Text("a".into()));
            prop_assert_eq!(column.iter().collect::<Vec<_>>(), expected.clone());

            column.retain(&keep);
            let kept = expected.into_iter().zip(&keep).filter(|(_, keep)| **keep);
            prop_assert_eq!(column.iter().collect::<Vec<_>>(), kept.map(|(v, _)| v).collect::<Vec<_>>());
        }

        #[test]
        fn texts_give_back_what_was_put_in(
            first in prop::collection::vec("\\PC{0,3}", 0..20),
            second in prop::collection::vec(prop::option::of("[a-c]{0,2}"), 0..20),
            keep in prop::collection::vec(any::<bool>(), 20),
        ) {
            let mut texts: Texts = first.iter().map(String::as_str).collect();
            let bytes = postcard::to_allocvec(&texts).expect("serialises");
            prop_assert_eq!(&postcard::from_bytes::<Texts>(&bytes).expect("reads back"), &texts);
            texts.retain(&keep);
            let kept: Vec<&String> = first.iter().zip(&keep).filter(|(_, k)| **k).map(|(t, _)| t).collect();
            prop_assert_eq!(texts.iter().collect::<Vec<_>>(), kept);

            let mut column: TextColumn = second.iter().map(Option::as_deref).collect();
            column.append(&column.clone());
            column.retain(&[keep.clone(), keep.clone(), keep.clone()].concat());
            let expected = second.iter().chain(&second).zip(keep.iter().cycle());
            let expected: Vec<Option<&str>> = expected.filter(|(_, k)| **k).map(|(t, _)| t.as_deref()).collect();
            prop_assert_eq!(column.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_column_is_refused() {
        let stored = |rows, kinds: &[u8], bits: usize, texts: &[&str]| {
            Column::try_from(StoredColumn {
                name: "f".into(),
                rows,
                kinds: kinds.to_vec(),
                bits: vec![1; bits],
                texts: texts.iter().map(|&t| t.into()).collect(),
            })
        };
        assert!(stored(2, &[2], 16, &[]).is_ok());
        assert!(
            stored(2, &[8], 16, &[]).is_err(),
            "a kind that does not exist"
        );
        assert!(
            stored(2, &[7], 16, &[]).is_err(),
            "vectors whose numbers are not there"
        );
        assert!(stored(3, &[2], 16, &[]).is_err(), "fewer values than rows");
        assert!(
            stored(2, &[2, 2, 2], 16, &[]).is_err(),
            "more kinds than rows"
        );
        assert!(
            stored(2, &[5], 16, &["a"]).is_err(),
            "a text that is not there"
        );
        assert!(
            Texts::try_from(("é".to_owned(), vec![1, 2])).is_err(),
            "half a character"
        );
        assert!(
            Texts::try_from(("ab".to_owned(), vec![1])).is_err(),
            "text behind the last"
        );
    }
}
