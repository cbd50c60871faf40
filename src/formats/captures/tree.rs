//! JSON inside of captures, opened no deeper than rows lie. Unlike a tree of `serde_json` it keeps the digits of numbers
//! that no float has, and takes no object in which a name comes twice: which of the two values counts, two readers would
//! not agree on.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::IgnoredAny;

use super::malformed;
use crate::domain::batch::RejectReason;
use crate::formats::json::{Elements, Object, read_single};
use crate::formats::raw::{Entries, Fault, Raw};

/// Rows lie in `{"instances": [{"features": [1]}]}` at most; what is deeper is a value that no field takes.
const OPENED: usize = 5;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Json {
    Single(Raw<'static>),
    List(Vec<Json>),
    Object(Members),
}

/// The members of an object, in their order, each name once.
pub(super) type Members = Vec<(String, Json)>;

impl Json {
    pub fn read(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            if text.contains('\0') {
                return Fault::new(RejectReason::NulByte, "holds a NUL byte");
            }
            malformed(format!("is no JSON: {error}"))
        })?;
        open(text, 0)
    }

    pub fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// As a field may take it.
    pub fn into_raw(self) -> Raw<'static> {
        match self {
            Self::Single(raw) => raw,
            Self::List(_) => Raw::Nested("a list", ""),
            Self::Object(_) => Raw::Nested("an object", ""),
        }
    }
}

/// Takes a member out.
pub(super) fn take(members: &mut Members, name: &str) -> Option<Json> {
    let place = members.iter().position(|(known, _)| known == name)?;
    Some(members.remove(place).1)
}

/// Members as fields.
pub(super) fn fields(members: Members) -> Entries<'static> {
    (members.into_iter())
        .map(|(name, value)| (Cow::Owned(name), value.into_raw()))
        .collect()
}

/// The text is a JSON value: the parser has been over it.
fn open(text: &str, depth: usize) -> Result<Json, Fault> {
    match text.as_bytes().first() {
        Some(b'{') if depth < OPENED => object(text, depth).map(Json::Object),
        Some(b'[') if depth < OPENED => list(text, depth).map(Json::List),
        _ => read_single(text).map(|raw| Json::Single(owned(raw))),
    }
}

fn object(text: &str, depth: usize) -> Result<Members, Fault> {
    let object: Object =
        serde_json::from_str(text).map_err(|error| malformed(format!("is no JSON: {error}")))?;
    let mut names = HashSet::new();
    let mut members = Members::new();
    for (name, value) in object.into_entries()? {
        if !names.insert(name.clone()) {
            return Err(Fault::duplicate(&name));
        }
        members.push((name.into_owned(), open(value.get(), depth + 1)?));
    }
    Ok(members)
}

fn list(text: &str, depth: usize) -> Result<Vec<Json>, Fault> {
    let mut elements = Elements::of(text.as_bytes(), 0);
    let mut items = Vec::new();
    while let Some(item) = elements
        .next()
        .map_err(|error| malformed(error.to_string()))?
    {
        items.push(open(&text[item], depth + 1)?);
    }
    Ok(items)
}

/// What has been read out of a text that goes away.
pub(super) fn owned(raw: Raw<'_>) -> Raw<'static> {
    match raw {
        Raw::Null => Raw::Null,
        Raw::Boolean(boolean) => Raw::Boolean(boolean),
        Raw::Integer(integer) => Raw::Integer(integer),
        Raw::Number(number) => Raw::Number(number),
        Raw::BigNumber(digits) => Raw::BigNumber(digits.into_owned().into()),
        Raw::Text(text) => Raw::Text(text.into_owned().into()),
        Raw::Untyped(text) => Raw::Text(text.to_owned().into()),
        Raw::Timestamp(at) => Raw::Timestamp(at),
        Raw::Unzoned(at) => Raw::Unzoned(at),
        Raw::EndlessTimestamp => Raw::EndlessTimestamp,
        Raw::Vector(vector) => Raw::Vector(vector),
        Raw::List(_) => Raw::Nested("a list", ""),
        Raw::Object(_) => Raw::Nested("an object", ""),
        Raw::Nested(kind, _) => Raw::Nested(kind, ""),
    }
}
