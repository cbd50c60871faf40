//! Rows as most senders write them: one object of plain names and values. They are read in one pass, several times
//! faster than by the parser for everything.
//!
//! It gives up on whatever is not plain — escapes, nesting it does not expect, anything that may be wrong — and
//! leaves the row to that parser, which also knows what to say about it. So what is read here must be a part of what is
//! read there, with the same result; a test compares the two.

use std::borrow::Cow;

use crate::formats::raw::{Entries, Raw, is_number, number};

use super::{MAX_ENTRIES, OBJECTS};

/// The entries of a plain row.
pub(super) fn read(row: &str) -> Option<Entries<'_>> {
    let mut scan = Scan { text: row, at: 0 };
    let entries = scan.object(true)?;
    scan.skip_white_space();
    (scan.at == row.len()).then_some(entries)
}

/// As many as most objects have.
const USUAL_ENTRIES: usize = 32;

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    /// An object; at the top, the fields that may hold objects may.
    fn object(&mut self, at_top: bool) -> Option<Entries<'a>> {
        self.expect(b'{')?;
        let mut entries = Entries::with_capacity(USUAL_ENTRIES);
        if self.next()? == b'}' {
            self.at += 1;
            return Some(entries);
        }
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            let value = match self.next()? {
                b'{' if at_top && OBJECTS.contains(&name) => Raw::Object(self.object(false)?),
                _ => self.value()?,
            };
            if entries.len() == MAX_ENTRIES {
                return None;
            }
            entries.push((Cow::Borrowed(name), value));
            match self.next()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(entries);
                }
                _ => return None,
            }
        }
    }

    fn value(&mut self) -> Option<Raw<'a>> {
        match self.next()? {
            b'"' => self.text().map(|text| Raw::Text(Cow::Borrowed(text))),
            b't' => self.word("true", Raw::Boolean(true)),
            b'f' => self.word("false", Raw::Boolean(false)),
            b'n' => self.word("null", Raw::Null),
            _ => {
                let rest = &self.text[self.at..];
                let end = rest
                    .bytes()
                    .position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n'))?;
                let digits = &rest[..end];
                self.at += end;
                is_number(digits).then(|| number(digits))
            }
        }
    }

    fn word(&mut self, word: &str, value: Raw<'a>) -> Option<Raw<'a>> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = &self.text[self.at..];
        let end = rest
            .bytes()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        if rest.as_bytes()[end] != b'"' {
            return None;
        }
        self.at += end + 1;
        Some(&rest[..end])
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        self.skip_white_space();
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white_space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().take_while(|byte| white(byte)).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::json::{Fault, parse_any_row};
    use proptest::prelude::*;

    fn both(row: &str) -> (Option<Entries<'_>>, Result<Entries<'_>, Fault>) {
        (read(row), parse_any_row(row.as_bytes(), 0))
    }

    #[test]
    fn plain_rows_are_read_and_others_are_left() {
        let plain = [
            r#"{}"#,
            r#" { "a" : 1 , "b":"x","c":null,"d":true,"e":false,"f":-0.5e3 } "#,
            r#"{"features":{"a":1,"b":"é"},"segments":{},"x":"}"}"#,
            r#"{"a":12345678901234567890123,"a":1e999}"#,
        ];
        for row in plain {
            let (fast, full) = both(row);
            assert_eq!(fast.expect(row), full.expect(row), "{row}");
        }
        let left = [
            "",
            "[]",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":01}",
            "{\"a\":.5}",
            "{\"a\":1,}",
            "{\"a\":[1]}",
            "{\"a\":{\"b\":1}}",
            "{\"a\\n\":1}",
            "{\"a\":\"\\u0000\"}",
            "{\"a\":\"\t\"}",
            "{\"a\":nul}",
            "{\"a\":NaN}",
            "{\"a\":1",
        ];
        for row in left {
            assert_eq!(read(row), None, "{row}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_for_everything_reads(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"features\"", "1", "-0", "0.5", "1e5", "null",
                    "true", " ", "\\", "\"b\":2", "\"c\":\"d\"", "é", "\n", "\"\"", "e", "-",
                ]),
                0..14,
            ),
        ) {
            for row in [parts.concat(), format!("{{{}}}", parts.concat()), format!("{{{}}}", parts.join(","))] {
                let (fast, full) = both(&row);
                if let Some(fast) = fast {
                    prop_assert_eq!(Ok(fast), full, "{}", row);
                }
            }
        }
    }
}
