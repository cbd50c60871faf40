//! Whole arrays at a time, for whoever counts millions of values.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Float64Array, StringArray};
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// An array of a type that seldom comes as one of the type that is read: dates in milliseconds as timestamps, decimals of any
/// width as numbers, dictionaries of what is no text as their values. Every other array is as it was.
#[must_use]
pub fn plain(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Date64 => {
            let dates = array.as_primitive::<Date64Type>();
            Arc::new(dates.reinterpret_cast::<TimestampMillisecondType>())
        }
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale, f64::from),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale, |n| n as f64),
        DataType::Decimal256(_, scale) => decimals::<Decimal256Type>(array, *scale, double_of),
        DataType::Dictionary(_, values) if !is_text(values) => {
            let dictionary = array.as_any_dictionary();
            match take(dictionary.values().as_ref(), dictionary.keys(), None) {
                Ok(values) => plain(&values),
                Err(_) => ArrayRef::clone(array),
            }
        }
        _ => ArrayRef::clone(array),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn decimals<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    scale: i8,
    double: impl Fn(T::Native) -> f64,
) -> ArrayRef {
    let unit = 10_f64.powi(i32::from(scale));
    let digits = array.as_primitive::<T>();
    let numbers: Float64Array = digits.unary(|digits| double(digits) / unit);
    Arc::new(numbers)
}

/// The nearest double, but for the last digits of what 128 bits cannot hold.
fn double_of(digits: i256) -> f64 {
    const HIGH: f64 = 2.0 * (1_u128 << 127) as f64;
    match (digits.to_i128(), digits.to_parts()) {
        (Some(digits), _) => digits as f64,
        (None, (low, high)) => high as f64 * HIGH + low as f64,
    }
}

/// What the values of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayKind {
    Number,
    Integer,
    Timestamp,
    /// Codes into a dictionary of texts.
    CodedText,
    /// To be read value by value.
    Other,
}

impl ArrayKind {
    /// The kind of an array.
    #[must_use]
    pub fn of(array: &dyn Array) -> Self {
        match array.data_type() {
            DataType::Float16
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..) => Self::Number,
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64 => Self::Integer,
            DataType::Timestamp(..) | DataType::Date32 => Self::Timestamp,
            DataType::Dictionary(keys, values)
                if **keys == DataType::Int32 && **values == DataType::Utf8 =>
            {
                Self::CodedText
            }
            _ => Self::Other,
        }
    }
}

/// The values of numbers, integers and timestamps (in whole seconds since 1970) as doubles, one per row; what
/// stands in rows that are null means nothing. `None` for other kinds.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "profiles count in doubles; beyond 2^53 neighbouring integers count as one"
)]
pub fn doubles(array: &dyn Array) -> Option<Cow<'_, [f64]>> {
    Some(Cow::Owned(match array.data_type() {
        DataType::Float64 => {
            return Some(Cow::Borrowed(array.as_primitive::<Float64Type>().values()));
        }
        DataType::Float32 => each::<Float32Type>(array, f64::from),
        DataType::Float16 => each::<Float16Type>(array, f64::from),
        DataType::Decimal128(_, scale) => {
            let unit = 10_f64.powi(i32::from(*scale));
            each::<Decimal128Type>(array, |digits| digits as f64 / unit)
        }
        DataType::Int8 => each::<Int8Type>(array, f64::from),
        DataType::Int16 => each::<Int16Type>(array, f64::from),
        DataType::Int32 => each::<Int32Type>(array, f64::from),
        DataType::Int64 => each::<Int64Type>(array, |n| n as f64),
        DataType::UInt8 => each::<UInt8Type>(array, f64::from),
        DataType::UInt16 => each::<UInt16Type>(array, f64::from),
        DataType::UInt32 => each::<UInt32Type>(array, f64::from),
        DataType::UInt64 => each::<UInt64Type>(array, |n| n as f64),
        DataType::Date32 => each::<Date32Type>(array, |days| f64::from(days) * SECONDS_PER_DAY),
        DataType::Timestamp(TimeUnit::Second, _) => {
            each::<TimestampSecondType>(array, |at| at as f64)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            each::<TimestampMillisecondType>(array, |at| at.div_euclid(1_000) as f64)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            each::<TimestampMicrosecondType>(array, |at| at.div_euclid(1_000_000) as f64)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            each::<TimestampNanosecondType>(array, |at| at.div_euclid(1_000_000_000) as f64)
        }
        _ => return None,
    }))
}

fn each<T: ArrowPrimitiveType>(array: &dyn Array, double: impl Fn(T::Native) -> f64) -> Vec<f64> {
    let values = array.as_primitive::<T>().values();
    values.iter().map(|value| double(*value)).collect()
}

/// What tells the values of an array apart, one per row, where [`doubles`] do not: 64-bit integers beyond 2^53, decimals of many
/// digits and the parts of a second. `None` for arrays whose doubles do. What stands in rows that are null means nothing.
#[must_use]
pub fn own_bits(array: &dyn Array) -> Option<Cow<'_, [i64]>> {
    fn own<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array) -> Cow<'_, [i64]> {
        Cow::Borrowed(array.as_primitive::<T>().values())
    }
    Some(match array.data_type() {
        DataType::Int64 => own::<Int64Type>(array),
        DataType::UInt64 => {
            let integers = array.as_primitive::<UInt64Type>().values().iter();
            Cow::Owned(integers.map(|n| n.cast_signed()).collect())
        }
        DataType::Decimal128(..) => {
            let digits = array.as_primitive::<Decimal128Type>().values().iter();
            Cow::Owned(digits.map(|digits| folded(*digits)).collect())
        }
        DataType::Timestamp(TimeUnit::Second, _) => own::<TimestampSecondType>(array),
        DataType::Timestamp(TimeUnit::Millisecond, _) => own::<TimestampMillisecondType>(array),
        DataType::Timestamp(TimeUnit::Microsecond, _) => own::<TimestampMicrosecondType>(array),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => own::<TimestampNanosecondType>(array),
        _ => return None,
    })
}

/// Both halves of a number in one; the odd factor keeps small negative numbers away from small positive ones.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the other half is in the other part"
)]
fn folded(digits: i128) -> i64 {
    (digits as i64) ^ ((digits >> 64) as i64).wrapping_mul(0x1e37_79b9_7f4a_7c15)
}

/// The codes and the dictionary of [`ArrayKind::CodedText`]; `None` for other kinds. What stands in rows that are
/// null means nothing.
#[must_use]
pub fn coded_texts(array: &dyn Array) -> Option<(&[i32], &StringArray)> {
    if ArrayKind::of(array) != ArrayKind::CodedText {
        return None;
    }
    let dictionary = array.as_dictionary_opt::<Int32Type>()?;
    let texts = dictionary.values().as_string_opt::<i32>()?;
    Some((dictionary.keys().values(), texts))
}

/// Whether arrays of a type are lists of numbers.
#[must_use]
pub fn are_vectors(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type().is_numeric()
        }
        _ => false,
    }
}

/// The list of a row of such an array; `None` where there is none, or it has a null.
#[must_use]
pub fn vector(array: &dyn Array, row: usize) -> Option<Vec<f32>> {
    let items = list(array, row)?;
    (items.null_count() == 0).then(|| floats(&items))?
}

/// The list of a row of such an array, NaN for nulls in it.
#[must_use]
pub fn vector_with_gaps(array: &dyn Array, row: usize) -> Option<Vec<f32>> {
    let items = list(array, row)?;
    let mut numbers = floats(&items)?;
    for (at, number) in numbers.iter_mut().enumerate() {
        if items.is_null(at) {
            *number = f32::NAN;
        }
    }
    Some(numbers)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "vectors are kept as floats"
)]
fn floats(items: &ArrayRef) -> Option<Vec<f32>> {
    let numbers = doubles(items)?;
    Some(numbers.iter().map(|number| *number as f32).collect())
}

fn list(array: &dyn Array, row: usize) -> Option<ArrayRef> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        _ => return None,
    })
}
