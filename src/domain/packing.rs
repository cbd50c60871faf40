//! Columns as they are stored: plain Postgres arrays, in the narrowest type that loses nothing.
//!
//! Most numbers that models are fed are counts or have a few decimals. Written as whole multiples of a power of
//! ten beside a base they take two or four bytes instead of eight, still add up and compare in plain SQL, and
//! come back bit by bit: a column is only packed if each of its values does. What cannot be packed is stored as
//! it is. Which form a column has follows from its values alone.

use chrono::DateTime;
use uuid::Uuid;

use super::columns::{Column, Kind, Value};

/// What the values of a stored column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum ValueType {
    Number,
    Integer,
    Boolean,
    Text,
    Timestamp,
    Vector,
    /// Values of several types, each as JSON.
    Mixed,
}

impl ValueType {
    /// The word used in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Vector => "vector",
            Self::Mixed => "mixed",
        }
    }

    fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Absent | Kind::Null => None,
            Kind::Number => Some(Self::Number),
            Kind::Integer => Some(Self::Integer),
            Kind::Boolean => Some(Self::Boolean),
            Kind::Text => Some(Self::Text),
            Kind::Timestamp => Some(Self::Timestamp),
            Kind::Vector => Some(Self::Vector),
        }
    }
}

/// A column as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedColumn {
    pub value_type: ValueType,
    pub values: PackedValues,
    /// Positions, from 0, of rows that do not have the feature; null everywhere else is null.
    pub absent: Vec<i32>,
}

/// One element per row, none where it is null or absent.
#[derive(Debug, Clone, PartialEq)]
pub enum PackedValues {
    /// Each value is `(base + unit) / 10^scale`; of timestamps, in microseconds since 1970.
    Units {
        base: i64,
        scale: i16,
        units: Units,
    },
    Numbers(Vec<Option<f64>>),
    Uuids(Vec<Option<Uuid>>),
    Texts(Vec<Option<String>>),
    /// Places in `categories`, from 1 as SQL counts.
    Categories {
        places: Vec<Option<i16>>,
        categories: Vec<String>,
    },
    /// The vectors' numbers one behind the other, and how many of them each row has.
    Vectors {
        lengths: Vec<Option<i16>>,
        reals: Vec<f32>,
    },
}

/// Whole numbers of the narrowest type that holds them.
#[derive(Debug, Clone, PartialEq)]
pub enum Units {
    Small(Vec<Option<i16>>),
    Medium(Vec<Option<i32>>),
    Large(Vec<Option<i64>>),
}

/// More decimals than these are not looked for.
const MOST_DECIMALS: i16 = 6;
/// Of a dictionary with more texts than this share of the rows, the texts themselves are shorter.
const MOST_CATEGORIES_PER_ROW: f64 = 0.5;
/// Below this, doubles hold every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;
const EXACT_WHOLES: u64 = 1 << 53;

impl PackedColumn {
    /// Packs the given rows of a column.
    #[must_use]
    pub fn pack(column: &Column, rows: &[usize]) -> Self {
        let kinds = column.kinds();
        let mut present = rows.iter().filter_map(|row| ValueType::of(kinds[*row]));
        let value_type = match present.next() {
            None => ValueType::Number,
            Some(first) if present.all(|other| other == first) => first,
            Some(_) => ValueType::Mixed,
        };
        let absent = (0_i32..)
            .zip(rows)
            .filter(|(_, row)| kinds[**row] == Kind::Absent)
            .map(|(position, _)| position)
            .collect();
        let values = match value_type {
            ValueType::Number => pack_numbers(column, rows),
            ValueType::Integer | ValueType::Boolean => {
                let wholes = wholes(column, rows);
                units(0, &wholes)
            }
            ValueType::Timestamp => pack_timestamps(column, rows),
            ValueType::Text => pack_texts(column, rows),
            ValueType::Vector => pack_vectors(column, rows),
            ValueType::Mixed => PackedValues::Texts(
                rows.iter()
                    .map(|row| match column.get(*row) {
                        Value::Absent | Value::Null => None,
                        value => serde_json::to_string(&value).ok(),
                    })
                    .collect(),
            ),
        };
        Self {
            value_type,
            values,
            absent,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.values {
            PackedValues::Units { units, .. } => match units {
                Units::Small(units) => units.len(),
                Units::Medium(units) => units.len(),
                Units::Large(units) => units.len(),
            },
            PackedValues::Numbers(numbers) => numbers.len(),
            PackedValues::Uuids(uuids) => uuids.len(),
            PackedValues::Texts(texts) => texts.len(),
            PackedValues::Categories { places, .. } => places.len(),
            PackedValues::Vectors { lengths, .. } => lengths.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The column that was packed.
    #[must_use]
    pub fn unpack(&self, name: &str) -> Column {
        let mut column = Column::new(name);
        let mut absent = self.absent.iter().peekable();
        let mut push = |position: i32, value: Option<Value<'_>>| {
            let is_absent = absent.next_if(|absent| **absent == position).is_some();
            column.push(&match value {
                Some(value) => value,
                None if is_absent => Value::Absent,
                None => Value::Null,
            });
        };
        match &self.values {
            PackedValues::Units { base, scale, units } => {
                for (position, unit) in (0..).zip(units.iter()) {
                    let whole = unit.map(|unit| base.saturating_add(unit));
                    push(position, whole.map(|whole| self.whole(whole, *scale)));
                }
            }
            PackedValues::Numbers(numbers) => {
                for (position, number) in (0..).zip(numbers) {
                    push(position, number.map(Value::Number));
                }
            }
            PackedValues::Uuids(uuids) => {
                for (position, uuid) in (0..).zip(uuids) {
                    push(
                        position,
                        uuid.map(|uuid| Value::Text(uuid.to_string().into())),
                    );
                }
            }
            PackedValues::Texts(texts) => {
                for (position, text) in (0..).zip(texts) {
                    push(position, text.as_deref().map(|text| self.text(text)));
                }
            }
            PackedValues::Categories { places, categories } => {
                for (position, place) in (0..).zip(places) {
                    let text = place
                        .and_then(|place| usize::try_from(place).ok()?.checked_sub(1))
                        .and_then(|place| categories.get(place));
                    push(position, text.map(|text| Value::Text(text.as_str().into())));
                }
            }
            PackedValues::Vectors { lengths, reals } => {
                let mut rest = reals.as_slice();
                for (position, length) in (0..).zip(lengths) {
                    let vector = length.map(|length| {
                        let length = usize::try_from(length).unwrap_or(0).min(rest.len());
                        let (vector, behind) = rest.split_at(length);
                        rest = behind;
                        Value::Vector(vector.into())
                    });
                    push(position, vector);
                }
            }
        }
        column
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers were packed only where nothing is lost"
    )]
    fn whole(&self, whole: i64, scale: i16) -> Value<'static> {
        match self.value_type {
            ValueType::Integer => Value::Integer(whole),
            ValueType::Boolean => Value::Boolean(whole != 0),
            ValueType::Timestamp => {
                let step = 10_i64.saturating_pow(u32::from(scale.min(0).unsigned_abs()));
                let micros = whole.saturating_mul(step);
                Value::Timestamp(DateTime::from_timestamp_micros(micros).unwrap_or_default())
            }
            _ => Value::Number(whole as f64 / power(scale)),
        }
    }

    fn text<'t>(&self, text: &'t str) -> Value<'t> {
        if self.value_type == ValueType::Mixed {
            serde_json::from_str(text).unwrap_or(Value::Null)
        } else {
            Value::Text(text.into())
        }
    }
}

impl Units {
    fn iter(&self) -> Box<dyn Iterator<Item = Option<i64>> + '_> {
        match self {
            Self::Small(units) => Box::new(units.iter().map(|unit| unit.map(i64::from))),
            Self::Medium(units) => Box::new(units.iter().map(|unit| unit.map(i64::from))),
            Self::Large(units) => Box::new(units.iter().copied()),
        }
    }
}

fn power(scale: i16) -> f64 {
    10_f64.powi(i32::from(scale))
}

fn pack_numbers(column: &Column, rows: &[usize]) -> PackedValues {
    let (kinds, bits) = (column.kinds(), column.bits());
    let number = |row: usize| (kinds[row] == Kind::Number).then(|| f64::from_bits(bits[row]));
    match decimals(rows.len(), rows.iter().map(|row| number(*row))) {
        Some((scale, wholes)) => units(scale, &wholes),
        None => PackedValues::Numbers(rows.iter().map(|row| number(*row)).collect()),
    }
}

/// The numbers as whole multiples of the coarsest power of ten that holds all of them exactly; `None` where there is none.
fn decimals(
    rows: usize,
    numbers: impl Iterator<Item = Option<f64>>,
) -> Option<(i16, Vec<Option<i64>>)> {
    let (mut scale, mut step) = (0, power(0));
    let mut wholes: Vec<Option<i64>> = Vec::with_capacity(rows);
    for number in numbers {
        let Some(number) = number else {
            wholes.push(None);
            continue;
        };
        let whole = loop {
            if let Some(whole) = multiple(number, step) {
                break whole;
            }
            if scale == MOST_DECIMALS {
                return None;
            }
            (scale, step) = (scale + 1, power(scale + 1));
            for whole in wholes.iter_mut().flatten() {
                *whole = ten_times(*whole)?;
            }
        };
        wholes.push(Some(whole));
    }
    Some((scale, wholes))
}

/// For one decimal more, which is the same quotient and so the same double; `None` where doubles do not hold every whole
/// number any more: a value that had fewer decimals may be too large for those of the others.
fn ten_times(whole: i64) -> Option<i64> {
    let more = whole.checked_mul(10)?;
    (more.unsigned_abs() < EXACT_WHOLES).then_some(more)
}

/// The whole number that gives back exactly this one when divided by the power of ten.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "within the range in which doubles hold every whole number"
)]
fn multiple(number: f64, power: f64) -> Option<i64> {
    let scaled = number * power;
    if scaled.is_nan() || scaled.abs() >= EXACT {
        return None;
    }
    let whole = (scaled + 0.5_f64.copysign(scaled)) as i64;
    ((whole as f64 / power).to_bits() == number.to_bits()).then_some(whole)
}

fn wholes(column: &Column, rows: &[usize]) -> Vec<Option<i64>> {
    let (kinds, bits) = (column.kinds(), column.bits());
    let present = |row: &usize| ValueType::of(kinds[*row]).is_some();
    rows.iter()
        .map(|row| present(row).then(|| bits[*row].cast_signed()))
        .collect()
}

/// The coarsest of seconds, milliseconds and microseconds in which every timestamp is whole.
fn pack_timestamps(column: &Column, rows: &[usize]) -> PackedValues {
    let mut micros = wholes(column, rows);
    for (scale, step) in [(-6, 1_000_000), (-3, 1_000)] {
        if micros.iter().flatten().all(|micros| micros % step == 0) {
            for micros in micros.iter_mut().flatten() {
                *micros /= step;
            }
            return units(scale, &micros);
        }
    }
    units(0, &micros)
}

fn units(scale: i16, wholes: &[Option<i64>]) -> PackedValues {
    let present = wholes.iter().flatten();
    let least = present.clone().copied().min().unwrap_or(0);
    let most = present.copied().max().unwrap_or(0);
    let of_base = |base: i64| move |whole: &Option<i64>| whole.map(|whole| whole - base);
    let span = most.checked_sub(least);
    let fits = |limit: i64| span.is_some_and(|span| span <= limit);
    // Without a base where none is needed, so that the arrays read plainly.
    let plain = |limit: i64| least >= -limit && most <= limit;
    let small = i64::from(i16::MAX);
    let medium = i64::from(i32::MAX);
    let (base, units) = if plain(small) || fits(small) {
        let base = if plain(small) { 0 } else { least };
        let units = wholes.iter().map(of_base(base));
        let narrow = |unit: i64| i16::try_from(unit).unwrap_or(i16::MAX);
        (
            base,
            Units::Small(units.map(|unit| unit.map(narrow)).collect()),
        )
    } else if plain(medium) || fits(medium) {
        let base = if plain(medium) { 0 } else { least };
        let units = wholes.iter().map(of_base(base));
        let narrow = |unit: i64| i32::try_from(unit).unwrap_or(i32::MAX);
        (
            base,
            Units::Medium(units.map(|unit| unit.map(narrow)).collect()),
        )
    } else {
        (0, Units::Large(wholes.to_vec()))
    };
    PackedValues::Units { base, scale, units }
}

fn pack_texts(column: &Column, rows: &[usize]) -> PackedValues {
    let (kinds, bits) = (column.kinds(), column.bits());
    let code = |row: &usize| {
        let code = usize::try_from(bits[*row]).unwrap_or(usize::MAX);
        (kinds[*row] == Kind::Text).then_some(code)
    };
    let text = |code: usize| column.texts().get(code).map_or("", String::as_str);
    // By the text's code; 0 of one that has not been met.
    let mut places = vec![0_i16; column.texts().len()];
    let mut categories = Vec::new();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a chunk's rows"
    )]
    let most = (rows.len() as f64 * MOST_CATEGORIES_PER_ROW).ceil() as usize;
    let most = most.min(usize::from(i16::MAX.unsigned_abs()));
    let coded: Option<Vec<Option<i16>>> = rows
        .iter()
        .map(|row| {
            let Some(code) = code(row) else {
                return Some(None);
            };
            let place = places.get_mut(code)?;
            if *place == 0 {
                if categories.len() == most {
                    return None;
                }
                categories.push(text(code).to_owned());
                *place = i16::try_from(categories.len()).ok()?;
            }
            Some(Some(*place))
        })
        .collect();
    if let Some(places) = coded {
        return PackedValues::Categories { places, categories };
    }
    pack_long_texts(
        &rows
            .iter()
            .map(|row| code(row).map(text))
            .collect::<Vec<_>>(),
    )
}

/// No vector is longer than a small integer says: decoders refuse those.
fn pack_vectors(column: &Column, rows: &[usize]) -> PackedValues {
    let mut reals = Vec::new();
    let lengths = rows.iter().map(|row| match column.get(*row) {
        Value::Vector(vector) => {
            reals.extend_from_slice(&vector);
            i16::try_from(vector.len()).ok()
        }
        _ => None,
    });
    PackedValues::Vectors {
        lengths: lengths.collect(),
        reals,
    }
}

/// Packs texts of which most are different: as UUIDs where all of them are, else as they are.
fn pack_long_texts(texts: &[Option<&str>]) -> PackedValues {
    let uuids: Option<Vec<Option<Uuid>>> = texts
        .iter()
        .map(|text| match text {
            Some(text) => canonical_uuid(text).map(Some),
            None => Some(None),
        })
        .collect();
    match uuids {
        Some(uuids) => PackedValues::Uuids(uuids),
        None => PackedValues::Texts(texts.iter().map(|text| text.map(str::to_owned)).collect()),
    }
}

/// Packs ids, of which each row has one.
#[must_use]
pub fn pack_ids<'t>(ids: impl Iterator<Item = &'t str>) -> PackedColumn {
    let ids: Vec<Option<&str>> = ids.map(Some).collect();
    PackedColumn {
        value_type: ValueType::Text,
        values: pack_long_texts(&ids),
        absent: Vec::new(),
    }
}

/// The UUID of a text that is written as UUIDs are printed, so that nothing is lost: lower case, with hyphens.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let bytes: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let plain = |at: usize| match bytes[at] {
        b'-' => matches!(at, 8 | 13 | 18 | 23),
        digit => digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit),
    };
    (0..bytes.len())
        .all(plain)
        .then(|| Uuid::try_parse_ascii(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(values: &[Value<'static>]) -> PackedColumn {
        let column = Column::of("f", values.iter().cloned());
        let rows: Vec<usize> = (0..values.len()).collect();
        let packed = PackedColumn::pack(&column, &rows);
        let back = packed.unpack("f");
        let bits = |column: &Column| -> Vec<String> {
            column
                .iter()
                .map(|value| match value {
                    Value::Number(number) => format!("{:x}", number.to_bits()),
                    other => format!("{other:?}"),
                })
                .collect()
        };
        assert_eq!(bits(&back), bits(&column), "{packed:?}");
        assert_eq!(packed.len(), values.len());
        packed
    }

    fn numbers(numbers: &[f64]) -> PackedValues {
        there_and_back(
            &numbers
                .iter()
                .map(|n| Value::Number(*n))
                .collect::<Vec<_>>(),
        )
        .values
    }

    #[test]
    fn numbers_take_the_narrowest_units_that_lose_nothing() {
        let small = |scale, units: &[i16]| PackedValues::Units {
            base: 0,
            scale,
            units: Units::Small(units.iter().map(|unit| Some(*unit)).collect()),
        };
        assert_eq!(numbers(&[1.0, 2.0, -3.0]), small(0, &[1, 2, -3]));
        assert_eq!(numbers(&[0.1, 0.25, 3.0]), small(2, &[10, 25, 300]));
        assert_eq!(
            numbers(&[100_000.5, 100_001.0]),
            PackedValues::Units {
                base: 1_000_005,
                scale: 1,
                units: Units::Small(vec![Some(0), Some(5)])
            }
        );
        assert!(matches!(
            numbers(&[19.99, 123_456.78]),
            PackedValues::Units {
                base: 0,
                scale: 2,
                units: Units::Medium(_)
            }
        ));
        for odd in [
            f64::NAN,
            f64::INFINITY,
            -0.0,
            1e308,
            5e-324,
            std::f64::consts::PI,
            0.1 + 0.2,
            1e-7,
        ] {
            assert!(
                matches!(numbers(&[1.0, odd]), PackedValues::Numbers(_)),
                "{odd}"
            );
        }
        // Each is whole at some scale, but not both at one.
        assert!(matches!(
            numbers(&[4_503_599_627_370_495.0, 0.000_001]),
            PackedValues::Numbers(_)
        ));
    }

    #[test]
    fn whole_numbers_flags_times_and_texts_come_back() {
        let at = |micros| Value::Timestamp(DateTime::from_timestamp_micros(micros).expect("valid"));
        there_and_back(&[
            Value::Integer(i64::MAX),
            Value::Integer(i64::MIN),
            Value::Null,
        ]);
        there_and_back(&[
            Value::Integer(i64::MAX),
            Value::Integer(i64::MAX - 7),
            Value::Absent,
        ]);
        there_and_back(&[
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Null,
            Value::Absent,
        ]);
        let times = there_and_back(&[at(1_700_000_000_123_000), at(1_700_000_009_000_000)]);
        assert!(matches!(
            times.values,
            PackedValues::Units {
                scale: -3,
                units: Units::Small(_),
                ..
            }
        ));
        there_and_back(&[at(1_700_000_000_123_456), at(-1), at(0)]);
        there_and_back(&[Value::Null, Value::Absent]);
        let texts = ["a", "", "a", "b"].map(|text| Value::Text(text.into()));
        assert!(matches!(
            there_and_back(&texts).values,
            PackedValues::Texts(_)
        ));
        let few = ["a", "", "a", "", "", ""].map(|text| Value::Text(text.into()));
        assert!(matches!(
            there_and_back(&few).values,
            PackedValues::Categories { .. }
        ));
        let ids = [
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "00000000-0000-0000-0000-000000000000",
        ];
        let uuids = ids.map(|text| Value::Text(text.into()));
        assert!(matches!(
            there_and_back(&uuids).values,
            PackedValues::Uuids(_)
        ));
        let shouted = ["67E55044-10B1-426F-9247-BB680E5FE0C8", "x"];
        there_and_back(&shouted.map(|text| Value::Text(text.into())));
        there_and_back(&[
            Value::Text("1".into()),
            Value::Integer(1),
            Value::Number(1.0),
            Value::Vector(vec![f32::NAN, 0.5].into()),
            Value::Absent,
        ]);
    }

    #[test]
    fn vectors_of_whatever_length_come_back() {
        let vector = |numbers: &[f32]| Value::Vector(numbers.to_vec().into());
        let packed = there_and_back(&[
            vector(&[0.1, -2.0]),
            Value::Null,
            vector(&[]),
            Value::Absent,
            vector(&[f32::NAN, f32::INFINITY, 3.0]),
        ]);
        let PackedValues::Vectors { lengths, reals } = packed.values else {
            panic!("not packed as vectors");
        };
        assert_eq!(lengths, [Some(2), None, Some(0), None, Some(3)]);
        assert_eq!(reals.len(), 5);
    }

    proptest! {
        #[test]
        fn every_number_survives(values in prop::collection::vec(
            prop_oneof![
                any::<f64>(),
                (any::<i32>(), 0_i32..9).prop_map(|(n, scale)| f64::from(n) / 10_f64.powi(scale)),
                any::<i16>().prop_map(f64::from),
            ],
            0..50,
        )) {
            let values: Vec<Value> = values.into_iter().map(Value::Number).collect();
            there_and_back(&values);
        }

        #[test]
        fn rows_are_packed_as_chosen(values in prop::collection::vec(any::<i32>(), 1..30)) {
            let column = Column::of("f", values.iter().map(|n| Value::Integer((*n).into())));
            let rows: Vec<usize> = (0..values.len()).rev().step_by(2).collect();
            let chosen: Vec<Value> = rows.iter().map(|row| column.get(*row)).collect();
            let back = PackedColumn::pack(&column, &rows).unpack("f");
            prop_assert_eq!(back.iter().collect::<Vec<_>>(), chosen);
        }
    }
}
