//! JSON documents and newline-delimited JSON.
//!
//! A document is first cut into rows by its brackets and quotation marks alone, and each row is then parsed
//! by itself. So whatever is wrong inside one row (bytes that are not UTF-8, half a surrogate pair, a stray
//! comma) costs that row and no other, in an array just as with one row per line. Within a row, the text of each value is
//! kept until its field is known: large integers keep their digits, and nesting is skipped, never descended.

mod plain;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::batch::RejectReason;

use super::raw::{Entries, Fault, Raw, number};
use super::{FormatError, Rows};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Names or items of one object or list that are looked at; rows with more are refused.
const MAX_ENTRIES: usize = 10_000;
/// Fields that may hold an object.
const OBJECTS: [&str; 4] = ["features", "probabilities", "quantiles", "segments"];
/// The field that may hold a list.
const LIST: &str = "segments";

/// Reads an array of rows, `{wrapper: [rows]}`, or one row.
pub(super) fn read_document(
    body: &[u8],
    wrapper: &str,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    let start = skip_white_space(body, mark_length(body));
    match body.get(start) {
        Some(b'[') => {
            let end = read_array(body, start, rows)?;
            expect_end(body, end)
        }
        Some(b'{') => read_object(body, start, wrapper, rows),
        Some(_) => Err(fault_at(
            start,
            "expected an array of rows or one row object",
        )),
        None => Err(fault_at(start, "the body is empty")),
    }
}

/// Reads the one row, or the wrapped ones, of the object at `start`.
fn read_object(
    body: &[u8],
    start: usize,
    wrapper: &str,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    // A plain row has no list in it: nothing has to be looked for.
    if let Some(row) = plain_row(&body[start..]) {
        return rows.append_named(1, row);
    }
    match find_wrapped(body, start, wrapper)? {
        (Some(array), end) => {
            read_array(body, array, rows)?;
            expect_end(body, end)
        }
        (None, end) => {
            expect_end(body, end)?;
            read_row(body, start..end, 1, rows)
        }
    }
}

/// Reads one row per line; blank lines are passed over.
pub(super) fn read_lines(body: &[u8], rows: &mut impl Rows) -> Result<(), FormatError> {
    let mut start = mark_length(body);
    rows.expect(body.iter().filter(|byte| **byte == b'\n').count() + 1);
    for (line, text) in (1..).zip(body[start..].split(|byte| *byte == b'\n')) {
        if !text.trim_ascii().is_empty() {
            read_row(body, start..start + text.len(), line, rows)?;
        }
        start += text.len() + 1;
    }
    Ok(())
}

fn mark_length(body: &[u8]) -> usize {
    if body.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    }
}

/// Reads the rows of the array whose bracket is at `open`; returns the place after its end.
fn read_array(body: &[u8], open: usize, rows: &mut impl Rows) -> Result<usize, FormatError> {
    let mut elements = Elements::of(body, open);
    let mut number = 0;
    while let Some(row) = elements.next()? {
        number += 1;
        read_row(body, row, number, rows)?;
    }
    Ok(elements.at)
}

/// Looks for `wrapper` among the members of the object at `open`: the place of its array, if it is there and
/// holds one, and the place after the object.
fn find_wrapped(
    body: &[u8],
    open: usize,
    wrapper: &str,
) -> Result<(Option<usize>, usize), FormatError> {
    let mut members = Elements::of(body, open);
    let mut count = 0;
    let mut array = None;
    while let Some(member) = members.next()? {
        count += 1;
        if let Some(value) = value_of(body, member, wrapper)
            && body[value] == b'['
        {
            array = Some(value);
        }
    }
    if let Some(value) = array
        && count > 1
    {
        let cause = format!("an object with \"{wrapper}\" cannot have other members");
        return Err(fault_at(value, cause));
    }
    Ok((array, members.at))
}

/// The place of the value of a member, if the member has this name.
fn value_of(body: &[u8], member: Range<usize>, name: &str) -> Option<usize> {
    let text = &body[member.clone()];
    let rest = text
        .strip_prefix(b"\"")?
        .strip_prefix(name.as_bytes())?
        .strip_prefix(b"\"")?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    let value = value.trim_ascii_start();
    (!value.is_empty()).then(|| member.end - value.len())
}

fn expect_end(body: &[u8], at: usize) -> Result<(), FormatError> {
    let at = skip_white_space(body, at);
    if at == body.len() {
        return Ok(());
    }
    Err(fault_at(
        at,
        "something follows the end of the document (rows on lines of their own are NDJSON)",
    ))
}

fn skip_white_space(body: &[u8], at: usize) -> usize {
    let rest = &body[at..];
    body.len() - rest.trim_ascii_start().len()
}

fn fault_at(byte: usize, cause: impl Into<String>) -> FormatError {
    FormatError::Json {
        byte,
        cause: cause.into(),
    }
}

/// Walks over the elements of an array, or the members of an object, without understanding them.
pub(super) struct Elements<'a> {
    body: &'a [u8],
    open: usize,
    /// The place after the last element and its comma, or after the closing bracket.
    at: usize,
    done: bool,
}

impl<'a> Elements<'a> {
    pub(super) fn of(body: &'a [u8], open: usize) -> Self {
        Self {
            body,
            open,
            at: open + 1,
            done: false,
        }
    }

    /// The next element without the white space around it; `None` after the closing bracket.
    pub(super) fn next(&mut self) -> Result<Option<Range<usize>>, FormatError> {
        if self.done {
            return Ok(None);
        }
        let start = skip_white_space(self.body, self.at);
        let end = self.end_of_element(start)?;
        let first = self.at == self.open + 1;
        self.done = self.body[end] != b',';
        self.at = end + 1;
        let length = self.body[start..end].trim_ascii_end().len();
        match length {
            0 if self.done && first => Ok(None),
            0 => Err(fault_at(end, "a value is missing before this")),
            _ => Ok(Some(start..start + length)),
        }
    }

    /// The place of the comma or closing bracket after the element that starts at `start`.
    fn end_of_element(&self, start: usize) -> Result<usize, FormatError> {
        let mut depth = 0_usize;
        let mut at = start;
        while let Some(byte) = self.body.get(at) {
            match byte {
                b'"' => at = self.end_of_text(at)?,
                b'[' | b'{' => depth += 1,
                b']' | b'}' if depth > 0 => depth -= 1,
                b']' | b'}' if *byte != self.closing() => {
                    let cause = format!("expected '{}' here", char::from(self.closing()));
                    return Err(fault_at(at, cause));
                }
                b',' | b']' | b'}' if depth == 0 => return Ok(at),
                _ => {}
            }
            at += 1;
        }
        let bracket = char::from(self.body[self.open]);
        Err(fault_at(
            self.open,
            format!("the '{bracket}' here is not closed: the body ends too early"),
        ))
    }

    /// The place of the quotation mark that closes the one at `open`.
    fn end_of_text(&self, open: usize) -> Result<usize, FormatError> {
        let mut at = open + 1;
        while let Some(byte) = self.body.get(at) {
            match byte {
                b'\\' => at += 2,
                b'"' => return Ok(at),
                _ => at += 1,
            }
        }
        Err(fault_at(open, "the text that starts here is not closed"))
    }

    fn closing(&self) -> u8 {
        if self.body[self.open] == b'[' {
            b']'
        } else {
            b'}'
        }
    }
}

fn read_row(
    body: &[u8],
    place: Range<usize>,
    line: u64,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    match parse_row(&body[place.clone()], place.start) {
        Ok(row) => rows.append_named(line, row),
        Err(fault) => rows.refuse(line, fault),
    }
}

/// `offset` is where the row starts in the body, for messages.
pub(super) fn parse_row(row: &[u8], offset: usize) -> Result<Entries<'_>, Fault> {
    plain_row(row).map_or_else(|| parse_any_row(row, offset), Ok)
}

fn plain_row(row: &[u8]) -> Option<Entries<'_>> {
    std::str::from_utf8(row).ok().and_then(plain::read)
}

fn parse_any_row(row: &[u8], offset: usize) -> Result<Entries<'_>, Fault> {
    let text = std::str::from_utf8(row).map_err(|error| {
        let at = offset + error.valid_up_to();
        malformed(format!("byte {at} of the body is not UTF-8"))
    })?;
    if !text.trim_start().starts_with('{') {
        return Err(malformed("the row is not an object"));
    }
    let object: Object = serde_json::from_str(text).map_err(|error| {
        if let Some(at) = row.iter().position(|byte| *byte == 0) {
            let cause = format!("byte {} of the body is NUL", offset + at);
            return Fault::new(RejectReason::NulByte, cause);
        }
        malformed(syntax_cause(&error, text, offset))
    })?;
    object
        .into_entries()?
        .into_iter()
        .map(|(name, value)| match read_field(&name, value.get()) {
            Ok(raw) => Ok((name, raw)),
            Err(fault) if fault.field.is_empty() => Err(fault.in_field(&name)),
            Err(fault) => Err(fault),
        })
        .collect()
}

fn malformed(cause: impl Into<String>) -> Fault {
    Fault::new(RejectReason::Malformed, cause)
}

/// The parser's message with its place in the body instead of its line and column in the row.
fn syntax_cause(error: &serde_json::Error, row: &str, offset: usize) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&place).unwrap_or(&message);
    let lines = row
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let at = offset + lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    format!("{message}, near byte {at} of the body")
}

/// A value at the top of a row. Only the fields that may hold objects or lists are opened.
fn read_field<'a>(name: &str, text: &'a str) -> Result<Raw<'a>, Fault> {
    match text.as_bytes().first() {
        Some(b'{') if OBJECTS.contains(&name) => {
            let object: Object = serde_json::from_str(text)
                .map_err(|error| malformed(syntax_cause(&error, text, 0)))?;
            let entries: Result<Entries, Fault> = object
                .into_entries()?
                .into_iter()
                .map(|(key, value)| match read_single(value.get()) {
                    Ok(raw) => Ok((key, raw)),
                    Err(fault) if name == OBJECTS[0] => Err(fault.in_field(&key)),
                    Err(fault) => Err(fault.in_field(&format!("{name}.{key}"))),
                })
                .collect();
            entries.map(Raw::Object)
        }
        Some(b'[') if name == LIST => read_list(text).map(Raw::List),
        _ => read_single(text),
    }
}

fn read_list(text: &str) -> Result<Vec<Raw<'_>>, Fault> {
    let mut elements = Elements::of(text.as_bytes(), 0);
    let mut items = Vec::new();
    while let Some(item) = elements
        .next()
        .map_err(|error| malformed(error.to_string()))?
    {
        if items.len() == MAX_ENTRIES {
            return Err(Fault::too_large(format!(
                "holds more than {MAX_ENTRIES} items"
            )));
        }
        items.push(read_single(&text[item])?);
    }
    Ok(items)
}

/// A value that cannot be opened further. The text is a JSON value: the parser has been over it.
pub(super) fn read_single(text: &str) -> Result<Raw<'_>, Fault> {
    match text.as_bytes().first() {
        Some(b'"') => read_text(text).map(Raw::Text),
        Some(b'{') => Ok(Raw::Nested("an object", text)),
        Some(b'[') => Ok(Raw::Nested("a list", text)),
        Some(b't') => Ok(Raw::Boolean(true)),
        Some(b'f') => Ok(Raw::Boolean(false)),
        Some(b'n') => Ok(Raw::Null),
        _ => Ok(number(text)),
    }
}

fn read_text(text: &str) -> Result<Cow<'_, str>, Fault> {
    let inside = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match inside {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_str(text).map(Cow::Owned).map_err(|_| {
            malformed("holds half of a surrogate pair (\\uD800 to \\uDFFF), which is no character")
        }),
    }
}

/// An object with its names in order and as often as they were sent, values unread.
pub(super) struct Object<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
    count: usize,
}

impl<'a> Object<'a> {
    pub(super) fn into_entries(self) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, Fault> {
        if self.count > MAX_ENTRIES {
            let count = self.count;
            return Err(Fault::too_large(format!(
                "holds {count} names; at most {MAX_ENTRIES} are read"
            )));
        }
        Ok(self.entries)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

pub(super) struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < MAX_ENTRIES {
            match map.next_entry::<Name<'de>, &RawValue>()? {
                Some((Name(name), value)) => entries.push((name, value)),
                None => break,
            }
        }
        let mut count = entries.len();
        if count == MAX_ENTRIES {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                count += 1;
            }
        }
        Ok(Object { entries, count })
    }
}

/// A name that borrows from the body unless it holds escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
