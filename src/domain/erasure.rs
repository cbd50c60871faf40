//! Taking what erased rows held out of what was written about them: sentences and documents that name values, such as
//! the finding that a category is unknown.
//!
//! Only values that no other row holds are taken out: a carrier or a country says nothing about a person. They are
//! taken out of sentences where they stand as words, and out of lists of categories where they are one.

use serde_json::Value;

/// What stands where an erased value stood.
pub const ERASED: &str = "(erased)";
/// Shorter values are taken out of sentences only where they stand in quotation marks: a letter is in every sentence.
const LEAST_BYTES: usize = 4;
/// What is shown of a long text, in characters: findings cut them there.
const SHOWN: usize = 40;
/// The keys under which documents list values of features.
const LISTS: [&str; 2] = ["categories", "values"];

/// The values to take out.
#[derive(Debug, Clone, Default)]
pub struct Scrub {
    values: Vec<String>,
}

impl Scrub {
    /// Takes out these values, the longest first, so that one that is part of another does not leave its rest.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = String>) -> Self {
        let mut values: Vec<String> = values
            .into_iter()
            .filter(|value| !value.is_empty())
            .collect();
        values.sort_unstable_by(|a, b| (b.len(), b).cmp(&(a.len(), a)));
        values.dedup();
        Self { values }
    }

    /// Whether there is nothing to take out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The beginnings by which texts that may hold a value are found.
    pub fn needles(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| beginning(value))
    }

    /// Whether a text is one of the values.
    #[must_use]
    pub fn is_value(&self, text: &str) -> bool {
        self.values.iter().any(|value| value == text)
    }

    /// The text without the values; `None` when it holds none.
    #[must_use]
    pub fn text(&self, text: &str) -> Option<String> {
        let mut scrubbed = text.to_owned();
        for value in &self.values {
            scrubbed = without(&scrubbed, value);
            let shown = beginning(value);
            if shown.len() < value.len() {
                scrubbed = without(&scrubbed, shown);
            }
        }
        (scrubbed != text).then_some(scrubbed)
    }

    /// Takes the values out of a document; returns whether it held any. Keys are names of ours or of features, and
    /// stay; so does a text that is nothing but the value, unless it is in a list of values: it may be a word of ours.
    pub fn document(&self, document: &mut Value) -> bool {
        match document {
            Value::Object(members) => members.iter_mut().fold(false, |found, (key, member)| {
                let is_list = LISTS.contains(&key.as_str());
                let taken = match member {
                    Value::Array(items) if is_list => self.take_out(items),
                    _ => false,
                };
                self.document(member) || taken || found
            }),
            Value::Array(items) => {
                // All of them, not just the first that holds one.
                let mut found = false;
                for item in items {
                    found |= self.document(item);
                }
                found
            }
            Value::String(text) if !self.may_be_ours(text) => match self.text(text) {
                Some(scrubbed) => {
                    *text = scrubbed;
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    fn take_out(&self, items: &mut Vec<Value>) -> bool {
        let before = items.len();
        items.retain(|item| !item.as_str().is_some_and(|text| self.is_value(text)));
        items.len() < before
    }

    /// Words of ours are lower-case letters and underscores.
    fn may_be_ours(&self, text: &str) -> bool {
        self.is_value(text)
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }
}

fn beginning(value: &str) -> &str {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => &value[..end],
        None => value,
    }
}

/// The text with each occurrence of the value that stands by itself taken out.
fn without(text: &str, value: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(value) {
        let (before, behind) = (&rest[..at], &rest[at + value.len()..]);
        let left = scrubbed
            .chars()
            .next_back()
            .filter(|_| at == 0)
            .or(before.chars().next_back());
        let right = behind.chars().next();
        let stands_alone = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        let is_quoted = |c: Option<char>| matches!(c, Some('"' | '\'' | '“' | '”'));
        let is_it = if value.len() < LEAST_BYTES {
            is_quoted(left) && is_quoted(right)
        } else {
            stands_alone(left) && stands_alone(right)
        };
        scrubbed.push_str(before);
        if is_it || value.len() >= SHOWN / 2 {
            scrubbed.push_str(ERASED);
            rest = behind;
        } else {
            let first = value.chars().next().map_or(0, char::len_utf8);
            scrubbed.push_str(&rest[at..at + first]);
            rest = &rest[at + first..];
        }
    }
    scrubbed.push_str(rest);
    scrubbed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scrub(values: &[&str]) -> Scrub {
        Scrub::of(values.iter().map(|value| (*value).to_owned()))
    }

    #[test]
    fn values_are_taken_out_of_sentences_where_they_stand_by_themselves() {
        let cases = [
            (
                &["Maria"][..],
                "unknown: \"Maria\" (1)",
                Some("unknown: \"(erased)\" (1)"),
            ),
            (&["Maria"], "Mariana lives", None),
            (
                &["a"],
                "a cat is \"a\" cat",
                Some("a cat is \"(erased)\" cat"),
            ),
            (&["x"], "max", None),
            (
                &["m@x.org", "m@x.o"],
                "to m@x.org and m@x.o",
                Some("to (erased) and (erased)"),
            ),
            (&["été-1"], "l'été-1, été-12", Some("l'(erased), été-12")),
            (&[""], "nothing", None),
        ];
        for (values, text, expected) in cases {
            assert_eq!(scrub(values).text(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_long_value_is_taken_out_where_its_beginning_is_shown() {
        let long = "4111-1111-1111-1111 is the number on the card of this person";
        let text = format!("unknown: \"{}…\"", &long[..SHOWN]);
        assert_eq!(
            scrub(&[long]).text(&text).as_deref(),
            Some("unknown: \"(erased)…\"")
        );
    }

    #[test]
    fn documents_keep_their_keys_and_our_words() {
        let mut document = json!({
            "drift": {"status": "drift", "cause": "no row had \"drift\" before"},
            "categories": ["UA", "drift", "Maria S."],
            "named": ["Maria S."],
        });
        assert!(scrub(&["drift", "Maria S."]).document(&mut document));
        assert_eq!(
            document,
            json!({
                "drift": {"status": "drift", "cause": "no row had \"(erased)\" before"},
                "categories": ["UA"],
                "named": ["(erased)"],
            })
        );
        assert!(!scrub(&["nobody"]).document(&mut document));
    }
}
