//! A value as a decoder read it, and the conversions to what a field may hold. Every rule about a single
//! value (finite, long enough, a time in range) lives here, once for all formats.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};

use crate::domain::batch::RejectReason;
use crate::domain::columns::Value;
use crate::domain::mapping::ColumnMap;
use crate::domain::names;
use crate::domain::times::TimeFormat;

/// The longest id, version, deployment, segment, feature name.
pub(super) const MAX_NAME_BYTES: usize = 200;
/// The longest text of a feature, class or error.
pub(super) const MAX_TEXT_BYTES: usize = 10_000;
/// The most numbers of a vector: twice what the largest embeddings in use have.
pub(super) const MAX_VECTOR_NUMBERS: usize = 8_192;
/// Longer than any number has to be written.
const MAX_NUMBER_BYTES: usize = 32;
/// How much of a sender's text is repeated in a cause or a field's name.
const SHOWN_CHARS: usize = 60;

/// Names and values, in the order they were sent; a name may come twice.
pub(super) type Entries<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

/// A value whose field has not been asked yet what it may hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    /// A number in digits that neither `i64` nor, if it is a fraction, `f64` reaches.
    BigNumber(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// A CSV cell: the field decides whether it is text, and otherwise what it looks like does.
    Untyped(&'a str),
    Timestamp(DateTime<Utc>),
    /// A timestamp of a file that names no zone, as if it were UTC.
    Unzoned(DateTime<Utc>),
    /// A timestamp so far away that no calendar holds it.
    EndlessTimestamp,
    /// A list of numbers, NaN where it has a null.
    Vector(Vec<f32>),
    List(Vec<Raw<'a>>),
    Object(Entries<'a>),
    /// A list or object where no field allows one, in words and as its text, which has not been read.
    Nested(&'static str, &'a str),
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub field: String,
    pub reason: RejectReason,
    pub cause: String,
}

impl Fault {
    /// A fault of the row as a whole, or of a field named later by [`Fault::in_field`].
    pub fn new(reason: RejectReason, cause: impl Into<String>) -> Self {
        Self {
            field: String::new(),
            reason,
            cause: cause.into(),
        }
    }

    pub fn in_field(mut self, field: &str) -> Self {
        self.field = shown(field, MAX_NAME_BYTES);
        self
    }

    /// Adds what the sender calls the field's column, where the model's file says so.
    pub fn in_column(mut self, columns: &ColumnMap) -> Self {
        if let Some(column) = columns.column_of(&self.field) {
            self.cause = format!("{} (column {})", self.cause, quoted(column));
        }
        self
    }

    pub fn missing(cause: impl Into<String>) -> Self {
        Self::new(RejectReason::MissingField, cause)
    }

    pub fn wrong(cause: impl Into<String>) -> Self {
        Self::new(RejectReason::WrongType, cause)
    }

    pub fn too_large(cause: impl Into<String>) -> Self {
        Self::new(RejectReason::TooLarge, cause)
    }

    pub fn duplicate(name: &str) -> Self {
        Self::new(RejectReason::DuplicateField, "occurs twice in the row").in_field(name)
    }
}

impl<'a> Raw<'a> {
    /// Whether nothing was said: null, or an empty CSV cell.
    pub fn is_null(&self) -> bool {
        matches!(self, Raw::Null | Raw::Untyped(""))
    }

    /// A finite number.
    pub fn into_number(self) -> Result<f64, Fault> {
        let number = match self.typed() {
            Raw::Integer(integer) => integer as f64,
            Raw::Number(number) => number,
            Raw::BigNumber(digits) => parse_f64(&digits),
            other => return Err(other.not("a number")),
        };
        if number.is_finite() {
            Ok(positive_zero(number))
        } else {
            Err(Fault::wrong(format!("is {number}, not a finite number")))
        }
    }

    /// An instant within the bounds: RFC 3339 text, or what the format says of numbers and other texts.
    pub fn into_instant(
        self,
        format: &TimeFormat,
        earliest: DateTime<Utc>,
        latest: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, Fault> {
        let wrong = |raw: &Raw<'_>, cause: &str| {
            Fault::wrong(format!("is {}, {}", raw.described(), shown(cause, 200)))
        };
        let read = match self {
            // By a pattern, what looks like a number is text.
            Raw::Untyped(cell) if format.pattern().is_some() => Raw::Text(Cow::Borrowed(cell)),
            Raw::Integer(number) if format.pattern().is_some() => {
                Raw::Text(Cow::Owned(number.to_string()))
            }
            Raw::Text(text) if format.unit_of_fractions().is_some() && is_number(&text) => {
                match number(&text) {
                    Raw::Integer(integer) => Raw::Integer(integer),
                    Raw::Number(number) => Raw::Number(number),
                    _ => Raw::EndlessTimestamp,
                }
            }
            other => other.typed(),
        };
        let instant = match &read {
            Raw::Timestamp(instant) => Some(*instant),
            Raw::Unzoned(clock) => {
                let instant = format.of_clock(clock.naive_utc());
                Some(instant.map_err(|cause| wrong(&read, &cause))?)
            }
            Raw::Integer(count) => format.unit().instant(*count),
            Raw::Number(count) if let Some(unit) = format.unit_of_fractions() => {
                unit.instant_of_fraction(*count)
            }
            Raw::BigNumber(_) | Raw::EndlessTimestamp => None,
            Raw::Text(text) => Some(format.of_text(text).map_err(|cause| wrong(&read, &cause))?),
            other => return Err(other.not(&format.expected())),
        };
        let bounds = || format!("outside {} to {}", rfc3339(earliest), rfc3339(latest));
        match instant.map(to_micros) {
            Some(instant) if (earliest..=latest).contains(&instant) => Ok(instant),
            Some(instant) => Err(Fault::new(
                RejectReason::TimeOutOfBounds,
                format!("is {}, {}", rfc3339(instant), bounds()),
            )),
            None => Err(Fault::new(
                RejectReason::TimeOutOfBounds,
                format!("is {}", bounds()),
            )),
        }
    }

    /// An id, version or deployment: short text, or an integer taken as its digits.
    pub fn into_name(self) -> Result<Cow<'a, str>, Fault> {
        let name = match self {
            Raw::Text(text) => text,
            Raw::Untyped(text) => Cow::Borrowed(text),
            Raw::Integer(integer) => Cow::Owned(integer.to_string()),
            Raw::BigNumber(digits) if is_integer(&digits) => digits,
            other => return Err(other.not("text or an integer")),
        };
        check_name(&name)?;
        Ok(name)
    }

    /// A class: text, an integer as its digits, a boolean as `true` or `false`.
    pub fn into_class(self) -> Result<String, Fault> {
        let class = match self {
            Raw::Text(text) => text,
            Raw::Untyped(text) => Cow::Borrowed(text),
            Raw::Integer(integer) => Cow::Owned(integer.to_string()),
            Raw::BigNumber(digits) if is_integer(&digits) => digits,
            Raw::Boolean(boolean) => Cow::Owned(boolean.to_string()),
            other => return Err(other.not("a class (text, an integer or a boolean)")),
        };
        if class.is_empty() {
            return Err(Fault::missing("is empty"));
        }
        check_text(&class)?;
        Ok(class.into_owned())
    }

    /// The value of a segment: whatever a person can read.
    pub fn into_segment_value(self) -> Result<String, Fault> {
        let value = match self {
            Raw::Number(number) => positive_zero(number).to_string(),
            Raw::BigNumber(digits) => digits.into_owned(),
            Raw::Integer(integer) => integer.to_string(),
            Raw::Boolean(boolean) => boolean.to_string(),
            Raw::Text(text) => text.into_owned(),
            Raw::Untyped(text) => text.to_owned(),
            other => return Err(other.not("text")),
        };
        check_characters(&value)?;
        check_length(&value, MAX_NAME_BYTES)?;
        Ok(value)
    }

    /// Free text.
    pub fn into_text(self) -> Result<Cow<'a, str>, Fault> {
        let text = match self {
            Raw::Text(text) => text,
            Raw::Untyped(text) => Cow::Borrowed(text),
            other => return Err(other.not("text")),
        };
        check_text(&text)?;
        Ok(text)
    }

    /// The value of a feature. NaN and infinities are kept: they are counted as what they are later.
    pub fn into_feature(self) -> Result<Value<'a>, Fault> {
        match self.typed() {
            Raw::Null => Ok(Value::Null),
            Raw::Boolean(boolean) => Ok(Value::Boolean(boolean)),
            Raw::Integer(integer) => Ok(Value::Integer(integer)),
            Raw::Number(number) => Ok(Value::Number(positive_zero(number))),
            Raw::BigNumber(digits) => exact_or_text(digits),
            Raw::Text(text) => {
                check_text(&text)?;
                Ok(Value::Text(text))
            }
            Raw::Timestamp(instant) | Raw::Unzoned(instant)
                if (1..=9999).contains(&instant.year()) =>
            {
                Ok(Value::Timestamp(to_micros(instant)))
            }
            Raw::Timestamp(_) | Raw::Unzoned(_) | Raw::EndlessTimestamp => Err(Fault::new(
                RejectReason::TimeOutOfBounds,
                "is a time outside the years 1 to 9999",
            )),
            Raw::Vector(vector) => check_vector(vector),
            Raw::Nested(_, list) if list.starts_with('[') => check_vector(numbers_of(list)?),
            other => Err(other.not("a single value")),
        }
    }

    /// A CSV cell as what it looks like; every other value as it is.
    fn typed(self) -> Self {
        match self {
            Raw::Untyped(cell) => infer(cell),
            other => other,
        }
    }

    pub fn not(&self, expected: &str) -> Fault {
        Fault::wrong(format!("is {}, not {expected}", self.described()))
    }

    fn described(&self) -> String {
        match self {
            Raw::Null => "null".to_owned(),
            Raw::Boolean(boolean) => format!("the boolean {boolean}"),
            Raw::Integer(integer) => format!("the integer {integer}"),
            Raw::Number(number) => format!("the number {number}"),
            Raw::BigNumber(digits) => format!("the number {}", shown(digits, SHOWN_CHARS)),
            Raw::Text(text) => format!("the text {}", quoted(text)),
            Raw::Untyped(text) => format!("the cell {}", quoted(text)),
            Raw::Timestamp(instant) => format!("the time {}", rfc3339(*instant)),
            Raw::Unzoned(clock) => format!("the time {}", clock.format("%Y-%m-%d %H:%M:%S%.f")),
            Raw::EndlessTimestamp => "a time".to_owned(),
            Raw::List(_) | Raw::Vector(_) => "a list".to_owned(),
            Raw::Object(_) => "an object".to_owned(),
            Raw::Nested(kind, _) => (*kind).to_owned(),
        }
    }
}

/// What a CSV cell looks like: nothing (R writes `NA`), a boolean, a number, NaN or an infinity, else text.
fn infer(cell: &str) -> Raw<'_> {
    match cell {
        "" | "NA" => Raw::Null,
        "true" | "True" | "TRUE" => Raw::Boolean(true),
        "false" | "False" | "FALSE" => Raw::Boolean(false),
        "NaN" | "nan" => Raw::Number(f64::NAN),
        "inf" | "Inf" | "Infinity" => Raw::Number(f64::INFINITY),
        "-inf" | "-Inf" | "-Infinity" => Raw::Number(f64::NEG_INFINITY),
        _ if is_number(cell) => number(cell),
        _ => Raw::Text(Cow::Borrowed(cell)),
    }
}

/// The value of a text that [`is_number`].
pub(super) fn number(text: &str) -> Raw<'_> {
    if let Ok(integer) = text.parse::<i64>() {
        return Raw::Integer(integer);
    }
    let number = parse_f64(text);
    if is_integer(text) || number.is_infinite() {
        Raw::BigNumber(Cow::Borrowed(text))
    } else {
        Raw::Number(number)
    }
}

/// Whether a text is a number as JSON writes it. Leading zeros make a code, not a number.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

fn is_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Only for texts that are numbers: what cannot be parsed is NaN, which no field takes.
fn parse_f64(number: &str) -> f64 {
    number.parse().unwrap_or(f64::NAN)
}

/// A number too large for `i64` stays a number when no digit is lost, and is kept as its digits otherwise.
fn exact_or_text(digits: Cow<'_, str>) -> Result<Value<'_>, Fault> {
    check_text(&digits)?;
    let number = parse_f64(&digits);
    if number.is_finite() && is_integer(&digits) && format!("{number:.0}") == digits {
        Ok(Value::Number(number))
    } else {
        Ok(Value::Text(digits))
    }
}

/// The numbers of a JSON list. JSON has no NaN: where senders have one they write null, and NaN it is again.
#[expect(
    clippy::cast_possible_truncation,
    reason = "vectors are kept as floats"
)]
fn numbers_of(list: &str) -> Result<Vec<f32>, Fault> {
    if list.len() > MAX_VECTOR_NUMBERS * MAX_NUMBER_BYTES {
        return Err(too_long());
    }
    let numbers: Vec<Option<f64>> = serde_json::from_str(list).map_err(|_| {
        Fault::wrong(
            "is a list with something that is no number, not a single value or a list of numbers",
        )
    })?;
    let numbers = numbers.into_iter();
    Ok(numbers
        .map(|number| number.map_or(f32::NAN, |number| number as f32))
        .collect())
}

fn check_vector(mut vector: Vec<f32>) -> Result<Value<'static>, Fault> {
    if vector.len() > MAX_VECTOR_NUMBERS {
        return Err(too_long());
    }
    for number in &mut vector {
        *number = if number.is_nan() {
            f32::NAN
        } else {
            *number + 0.0
        };
    }
    Ok(Value::Vector(vector.into()))
}

fn too_long() -> Fault {
    Fault::too_large(format!(
        "is a list that is too long; at most {MAX_VECTOR_NUMBERS} numbers are kept"
    ))
}

/// −0 and 0 are the same number and would be two categories.
fn positive_zero(number: f64) -> f64 {
    number + 0.0
}

/// Postgres keeps microseconds; what is in memory is what will be read back.
fn to_micros(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(instant.timestamp_micros()).unwrap_or(instant)
}

fn rfc3339(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Names are short, visible and safe to show.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    // First, so that judging a name costs no more than a name.
    check_length(name, MAX_NAME_BYTES)?;
    if name.trim().is_empty() {
        return Err(Fault::missing("is empty or only white space"));
    }
    check_characters(name)
}

/// A name of a feature or segment as it is kept. Those of ids, versions and deployments are compared byte by byte.
pub(super) fn canonical_name(name: &str) -> Result<Cow<'_, str>, Fault> {
    check_name(name)?;
    if let Some((at, c)) = name.char_indices().find(|(_, c)| names::is_invisible(*c)) {
        return Err(Fault::wrong(format!(
            "holds the invisible character U+{:04X} at byte {at}",
            u32::from(c)
        )));
    }
    let canonical = names::canonical(name);
    // A few characters have a longer form.
    check_length(&canonical, MAX_NAME_BYTES)?;
    Ok(canonical)
}

fn check_characters(text: &str) -> Result<(), Fault> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    check_nul(text)?;
    match (text.char_indices()).find(|(_, c)| c.is_control() || names::turns_direction(*c)) {
        Some((at, c)) => Err(Fault::wrong(format!(
            "holds the control character U+{:04X} at byte {at}",
            u32::from(c)
        ))),
        None => Ok(()),
    }
}

/// Control characters, those that turn the direction of the text around them, those that nobody sees.
fn is_unsafe_to_show(c: char) -> bool {
    c.is_control() || names::turns_direction(c) || names::is_invisible(c)
}

fn check_text(text: &str) -> Result<(), Fault> {
    check_length(text, MAX_TEXT_BYTES)?;
    check_nul(text)
}

fn check_length(text: &str, limit: usize) -> Result<(), Fault> {
    if text.len() > limit {
        let length = text.len();
        return Err(Fault::too_large(format!(
            "is {length} bytes long; at most {limit} are kept"
        )));
    }
    Ok(())
}

fn check_nul(text: &str) -> Result<(), Fault> {
    match text.bytes().position(|byte| byte == 0) {
        Some(at) => Err(Fault::new(
            RejectReason::NulByte,
            format!("holds a NUL character at byte {at}"),
        )),
        None => Ok(()),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, SHOWN_CHARS))
}

/// A sender's text, shortened, without anything that could deceive the reader of a message.
pub(super) fn shown(text: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == max_chars {
            shown.push('…');
            break;
        }
        if is_unsafe_to_show(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}
