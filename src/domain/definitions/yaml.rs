//! YAML as a tree in which every value knows its line and column.
//!
//! Decoding straight into types would stop at the first mistake; a person who mends a file wants to see all of
//! them. So the text becomes this tree first, and [`super::fields`] reads the tree, noting what is wrong and
//! going on.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::Place;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub place: Place,
    pub content: Content,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    /// Keys and values in the order of the file.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The kind of value, in words for people.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "true or false",
            Content::Integer(_) | Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }
}

/// What could be read of a text, and what is wrong with it as YAML.
pub(super) struct Loaded {
    /// `None` when the text is empty or cannot be read at all.
    pub root: Option<Node>,
    pub faults: Vec<(Place, String)>,
}

/// Reads a YAML document. A key that is written twice is a fault, and the rest of the document is read all the
/// same, with the first of the two.
pub(super) fn load(text: &str) -> Loaded {
    let mut faults = Vec::new();
    let root = read(text, DuplicateKeyPolicy::Error)
        .or_else(|error| {
            faults.push(fault(&error));
            read(text, DuplicateKeyPolicy::FirstWins)
        })
        .unwrap_or_else(|error| {
            let second = fault(&error);
            if !faults.contains(&second) {
                faults.push(second);
            }
            None
        });
    Loaded { root, faults }
}

fn read(
    text: &str,
    duplicate_keys: DuplicateKeyPolicy,
) -> Result<Option<Node>, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
        // Aliases of aliases unfold to any size; nobody repeats this much by hand.
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
    };
    serde_saphyr::from_str_with_options::<Option<Node>>(text, options)
}

fn fault(error: &serde_saphyr::Error) -> (Place, String) {
    let place = error.location().map_or(Place::START, place_of);
    let message = UserMessageFormatter.format_message(error).into_owned();
    (place, format!("this is not valid YAML: {message}"))
}

fn place_of(location: serde_saphyr::Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    Place {
        line: number(location.line()),
        column: number(location.column()),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            place: place_of(spanned.referenced),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(i64::try_from(value).map_or(Content::Number(value as f64), Content::Integer))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Content, E> {
        Ok(Content::Number(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Content, E> {
        Ok(Content::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32) -> Place {
        Place { line, column }
    }

    fn text(node: &Node) -> &str {
        match &node.content {
            Content::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        }
    }

    #[test]
    fn every_key_and_value_knows_its_line_and_column() {
        let loaded = load("# a comment\nname: demo\nlist:\n  - 24h\n  - {a: .nan}\n");
        assert_eq!(loaded.faults, []);
        let root = loaded.root.expect("a document");
        let Content::Map(entries) = &root.content else {
            panic!("not a mapping: {root:?}")
        };
        assert_eq!(
            (text(&entries[0].0), entries[0].0.place),
            ("name", at(2, 1))
        );
        assert_eq!(
            (text(&entries[0].1), entries[0].1.place),
            ("demo", at(2, 7))
        );
        let Content::List(items) = &entries[1].1.content else {
            panic!("not a list")
        };
        assert_eq!((text(&items[0]), items[0].place), ("24h", at(4, 5)));
        let Content::Map(inner) = &items[1].content else {
            panic!("not a mapping")
        };
        assert_eq!(inner[0].1.place, at(5, 9));
        assert!(matches!(inner[0].1.content, Content::Number(n) if n.is_nan()));
    }

    #[test]
    fn words_that_other_yaml_versions_take_for_booleans_stay_words() {
        let root = load("carrier: NO").root.expect("a document");
        let Content::Map(entries) = root.content else {
            panic!("not a mapping")
        };
        assert_eq!(text(&entries[0].1), "NO");
    }

    #[test]
    fn a_key_written_twice_is_a_fault_and_the_rest_is_still_read() {
        let loaded = load("name: a\nname: b\ntask: regression\n");
        assert_eq!(loaded.faults.len(), 1, "{:?}", loaded.faults);
        assert_eq!(loaded.faults[0].0.line, 2);
        let Some(Content::Map(entries)) = loaded.root.map(|node| node.content) else {
            panic!("not a mapping")
        };
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn an_empty_document_is_nothing_and_no_fault() {
        for empty in ["", "\n", "# only a comment\n"] {
            let loaded = load(empty);
            assert_eq!((loaded.root, loaded.faults), (None, vec![]), "{empty:?}");
        }
    }

    #[test]
    fn broken_text_says_where() {
        let loaded = load("name: [a\nother: b\n");
        assert!(loaded.root.is_none());
        assert_eq!(loaded.faults.len(), 1, "{:?}", loaded.faults);
        assert!(loaded.faults[0].0.line >= 1);
        assert!(loaded.faults[0].1.starts_with("this is not valid YAML: "));
    }
}
