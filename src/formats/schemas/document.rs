//! JSON and YAML as one tree whose parts know their path in the file.

use serde_json::{Map, Value};

use super::{SchemaFileError, shown};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A file of JSON or YAML.
#[derive(Debug)]
pub(super) struct Document(Value);

impl Document {
    pub fn read(bytes: &[u8]) -> Result<Self, SchemaFileError> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        if looks_like_json(bytes) {
            match serde_json::from_slice(bytes) {
                Ok(value) => return Ok(Self(value)),
                // What Python prints of a dictionary is YAML, but no JSON.
                Err(error) => {
                    return yaml(bytes).map(Self).map_err(|_| SchemaFileError::Syntax {
                        format: "JSON",
                        cause: error.to_string(),
                    });
                }
            }
        }
        let read = yaml(bytes).map_err(|cause| SchemaFileError::Syntax {
            format: "YAML",
            cause,
        })?;
        Ok(Self(read))
    }

    /// Reads JSON that stands as a text inside another document.
    pub fn inside(text: &str) -> Result<Self, String> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub fn root(&self) -> Item<'_> {
        Item {
            value: &self.0,
            place: String::new(),
        }
    }
}

pub(super) fn looks_like_json(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}

fn yaml(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let options = serde_saphyr::options! {
        with_snippet: false,
        // Aliases of aliases unfold to any size; nobody repeats this much by hand.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |at| {
            format!("line {}, column {}: ", at.line(), at.column())
        });
        let cause = error.to_string();
        place + &shown(cause.lines().next().unwrap_or_default())
    })
}

/// A part of a document.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub value: &'a Value,
    /// Such as `expectations[3].kwargs`; empty for the whole.
    pub place: String,
}

impl<'a> Item<'a> {
    /// The part behind a key, unless it is nothing. Python's word for nothing, printed, is a text.
    pub fn get(&self, key: &str) -> Option<Item<'a>> {
        let value = self.value.get(key)?;
        let nothing = value.is_null() || value.as_str() == Some("None");
        (!nothing).then(|| Item {
            value,
            place: self.below(key),
        })
    }

    fn below(&self, key: &str) -> String {
        match self.place.as_str() {
            "" => shown(key),
            place => format!("{place}.{}", shown(key)),
        }
    }

    /// The parts of a list; none of anything else.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let place = self.place.clone();
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(move |(at, value)| Item {
            value,
            place: format!("{place}[{at}]"),
        })
    }

    /// The parts of a mapping; none of anything else.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> + use<'a> {
        let parent = self.clone();
        let entries: Option<&'a Map<String, Value>> = self.value.as_object();
        entries.into_iter().flatten().map(move |(key, value)| {
            let item = Item {
                value,
                place: parent.below(key),
            };
            (key.as_str(), item)
        })
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.value.as_str()
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.value.as_bool()
    }

    /// A finite number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.value.as_f64().filter(|n| n.is_finite())
    }

    /// A list of texts.
    pub fn texts(&self) -> Option<Vec<String>> {
        let items = self.value.as_array()?.iter();
        items.map(|item| item.as_str().map(str::to_owned)).collect()
    }
}
