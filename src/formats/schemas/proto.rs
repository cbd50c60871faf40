//! Protocol buffers without generated code: the text format and the wire format, as a tree of named fields. Only what a
//! schema needs is known by name; what is not known keeps its number, so that it can be told.

use std::fmt::Write as _;

/// Messages inside messages; beyond it nothing that people write goes.
const DEEPEST: usize = 60;

/// Fields of a file, over all its messages; beyond it, it is no schema.
const MOST_FIELDS: usize = 200_000;

/// A field of a message, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub name: String,
    /// Where it stands: `line 12`, or its path in a binary file.
    pub place: String,
    pub value: Value,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Message(Vec<Field>),
    Text(String),
    /// A number or a word, such as `BYTES` or `true`.
    Word(String),
}

impl Field {
    pub fn fields(&self) -> &[Field] {
        match &self.value {
            Value::Message(fields) => fields,
            Value::Text(_) | Value::Word(_) => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Word(_) | Value::Message(_) => None,
        }
    }

    pub fn word(&self) -> Option<&str> {
        match &self.value {
            Value::Word(word) => Some(word),
            Value::Text(_) | Value::Message(_) => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        let word = self.word()?;
        let number: f64 = word.trim_end_matches('f').parse().ok()?;
        number.is_finite().then_some(number)
    }
}

/// The first field of that name.
pub(super) fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find(|field| field.name == name)
}

/// Reads the text format.
///
/// # Errors
/// With line and cause.
pub(super) fn read_text(text: &str) -> Result<Vec<Field>, String> {
    let mut reader = TextReader {
        rest: text,
        line: 1,
        fields: 0,
    };
    reader
        .message(None, 0)
        .map_err(|cause| format!("line {}: {cause}", reader.line))
}

struct TextReader<'a> {
    rest: &'a str,
    line: usize,
    fields: usize,
}

impl<'a> TextReader<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn skip(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(end);
        }
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip();
        let found = self.rest.starts_with(c);
        if found {
            self.take(c.len_utf8());
        }
        found
    }

    fn message(&mut self, end: Option<char>, depth: usize) -> Result<Vec<Field>, String> {
        if depth > DEEPEST {
            return Err("messages inside messages go too deep".to_owned());
        }
        let mut fields = Vec::new();
        loop {
            self.skip();
            match (self.rest.chars().next(), end) {
                (None, None) => return Ok(fields),
                (None, Some(end)) => return Err(format!("{end:?} is missing")),
                (Some(c), Some(end)) if c == end => {
                    self.take(1);
                    return Ok(fields);
                }
                _ => {}
            }
            let place = format!("line {}", self.line);
            let name = self.name()?.to_owned();
            let colon = self.eat(':');
            let mut add = |value| {
                fields.push(Field {
                    name: name.clone(),
                    place: place.clone(),
                    value,
                });
            };
            if self.eat('[') {
                while !self.eat(']') {
                    add(self.value(depth)?);
                    self.eat(',');
                }
            } else {
                let value = self.value(depth)?;
                if !colon && !matches!(value, Value::Message(_)) {
                    return Err(format!("a colon is missing behind {name:?}"));
                }
                add(value);
            }
            let _ = self.eat(',') || self.eat(';');
        }
    }

    /// The name of a field or, in brackets, of an extension.
    fn name(&mut self) -> Result<&'a str, String> {
        let length = match self.rest.strip_prefix('[') {
            Some(inside) => inside.find(']').map(|end| end + 2),
            None => {
                let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = self.rest.find(|c| !is_letter(c)).unwrap_or(self.rest.len());
                Some(end).filter(|end| *end > 0)
            }
        };
        match length {
            Some(length) => Ok(self.take(length)),
            None => Err("the name of a field is expected".to_owned()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            return Err(too_many());
        }
        self.skip();
        match self.rest.chars().next() {
            Some('{') => {
                self.take(1);
                Ok(Value::Message(self.message(Some('}'), depth + 1)?))
            }
            Some('<') => {
                self.take(1);
                Ok(Value::Message(self.message(Some('>'), depth + 1)?))
            }
            Some('"' | '\'') => self.texts(),
            _ => {
                let is_part =
                    |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
                let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
                if end == 0 {
                    return Err("a value is expected".to_owned());
                }
                Ok(Value::Word(self.take(end).to_owned()))
            }
        }
    }

    /// Texts that follow each other are one.
    fn texts(&mut self) -> Result<Value, String> {
        let mut bytes = Vec::new();
        while let Some(quote @ ('"' | '\'')) = self.rest.chars().next() {
            self.take(1);
            self.one_text(quote, &mut bytes)?;
            self.skip();
        }
        String::from_utf8(bytes)
            .map(Value::Text)
            .map_err(|_| "a text is not UTF-8".to_owned())
    }

    fn one_text(&mut self, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let unended = || "a text does not end".to_owned();
            let end = self.rest.find([quote, '\\', '\n']).ok_or_else(unended)?;
            bytes.extend(self.take(end).as_bytes());
            if self.rest.starts_with('\n') {
                return Err(unended());
            }
            if self.take(1) != "\\" {
                return Ok(());
            }
            self.escape(bytes)?;
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let unknown = || "a text has an unknown escape".to_owned();
        let c = self.rest.chars().next().ok_or_else(unknown)?;
        let digits = |rest: &str, radix: u32, most: usize| {
            rest.chars()
                .take(most)
                .take_while(|c| c.is_digit(radix))
                .count()
        };
        let simple = match c {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            '\\' => b'\\',
            '"' => b'"',
            '\'' => b'\'',
            '0'..='7' => {
                let text = self.take(digits(self.rest, 8, 3));
                let byte = u32::from_str_radix(text, 8).map_err(|_| unknown())?;
                bytes.push(u8::try_from(byte).map_err(|_| unknown())?);
                return Ok(());
            }
            'x' => {
                self.take(1);
                let text = self.take(digits(self.rest, 16, 2));
                bytes.push(u8::from_str_radix(text, 16).map_err(|_| unknown())?);
                return Ok(());
            }
            _ => return Err(unknown()),
        };
        self.take(1);
        bytes.push(simple);
        Ok(())
    }
}

fn too_many() -> String {
    format!("it has more than {MOST_FIELDS} fields")
}

/// What a field of the wire format holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    Flag,
    /// One of these words, counted from 0.
    Enum(&'static [&'static str]),
    Float,
    Message(&'static Shape),
    /// It is only to be named.
    Opaque,
}

/// The fields of a message that are known, by number.
#[derive(Debug)]
pub(super) struct Shape(pub &'static [(u64, &'static str, Kind)]);

/// Reads the wire format.
///
/// # Errors
/// With place and cause.
pub(super) fn read_wire(bytes: &[u8], shape: &Shape) -> Result<Vec<Field>, String> {
    let mut fields = 0;
    wire_message(bytes, shape, ("", 0), &mut fields)
}

fn wire_message(
    mut bytes: &[u8],
    shape: &Shape,
    (place, depth): (&str, usize),
    read: &mut usize,
) -> Result<Vec<Field>, String> {
    let broken = |cause: &str| format!("{place}: {cause}");
    if depth > DEEPEST {
        return Err(broken("messages inside messages go too deep"));
    }
    let mut fields: Vec<Field> = Vec::new();
    let mut nth = 0;
    while !bytes.is_empty() {
        *read += 1;
        if *read > MOST_FIELDS {
            return Err(broken(&too_many()));
        }
        let key = varint(&mut bytes).ok_or_else(|| broken("it is cut short"))?;
        let (number, wire) = (key >> 3, key & 7);
        let known = shape.0.iter().find(|(n, _, _)| *n == number);
        let (name, kind) = match known {
            Some((_, name, kind)) => ((*name).to_owned(), *kind),
            None => (format!("field {number}"), Kind::Opaque),
        };
        let mut path = place.to_owned();
        let dot = if place.is_empty() { "" } else { "." };
        nth = if fields.last().is_some_and(|f| f.name == name) {
            nth + 1
        } else {
            0
        };
        // Writing to a text cannot fail.
        let _ = write!(path, "{dot}{name}[{nth}]");
        let value = match wire {
            0 => {
                let n = varint(&mut bytes).ok_or_else(|| broken("a number is cut short"))?;
                Value::Word(word_of(n, kind))
            }
            1 => {
                let eight: [u8; 8] = fixed(&mut bytes).ok_or_else(|| broken("it is cut short"))?;
                Value::Word(f64::from_le_bytes(eight).to_string())
            }
            5 => {
                let four: [u8; 4] = fixed(&mut bytes).ok_or_else(|| broken("it is cut short"))?;
                Value::Word(f32::from_le_bytes(four).to_string())
            }
            2 => {
                let length = varint(&mut bytes).and_then(|n| usize::try_from(n).ok());
                let inside = length
                    .and_then(|length| bytes.split_at_checked(length))
                    .ok_or_else(|| broken("it is cut short"))?;
                bytes = inside.1;
                match kind {
                    Kind::Message(shape) => {
                        Value::Message(wire_message(inside.0, shape, (&path, depth + 1), read)?)
                    }
                    Kind::Text => {
                        let text = std::str::from_utf8(inside.0);
                        let text = text.map_err(|_| broken("a text is not UTF-8"))?;
                        Value::Text(text.to_owned())
                    }
                    _ => Value::Message(Vec::new()),
                }
            }
            _ => return Err(broken("it is no protocol buffer")),
        };
        fields.push(Field {
            name,
            place: path,
            value,
        });
    }
    Ok(fields)
}

fn word_of(n: u64, kind: Kind) -> String {
    match kind {
        Kind::Flag => (n != 0).to_string(),
        Kind::Enum(words) => usize::try_from(n)
            .ok()
            .and_then(|n| words.get(n))
            .map_or_else(|| n.to_string(), |word| (*word).to_owned()),
        // Negative numbers are sent as their two's complement.
        _ => n.cast_signed().to_string(),
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format_is_read_with_its_lines() {
        let text = "# a comment\nfeature {\n  name: \"a\" 'b\\n\\101'\n  type: INT # why\n  int_domain < min: -3, max: 0x >\n}\n\
                    value: [1, 2.5]; [ext.x]: true\n";
        let fields = read_text(text).expect("is read");
        assert_eq!(fields[0].place, "line 2");
        let inner = fields[0].fields();
        assert_eq!(find(inner, "name").and_then(Field::text), Some("ab\nA"));
        assert_eq!(find(inner, "type").and_then(Field::word), Some("INT"));
        let domain = find(inner, "int_domain").expect("there").fields();
        assert_eq!(find(domain, "min").and_then(Field::number), Some(-3.0));
        assert_eq!(find(domain, "max").and_then(Field::number), None);
        assert_eq!(fields[2].number(), Some(2.5));
        assert_eq!(fields[3].name, "[ext.x]");
    }

    #[test]
    fn what_is_broken_is_told_with_its_line() {
        for (text, cause) in [
            ("feature {\n", "line 2: '}' is missing"),
            ("a: \"x\n", "line 1: a text does not end"),
            ("a: \"\\q\"", "line 1: a text has an unknown escape"),
            ("a 5", "line 1: a colon is missing behind \"a\""),
            ("\n\n}", "line 3: the name of a field is expected"),
            ("a: ", "line 1: a value is expected"),
        ] {
            assert_eq!(read_text(text), Err(cause.to_owned()), "{text:?}");
        }
        let deep = "a {".repeat(10_000);
        assert!(read_text(&deep).is_err_and(|cause| cause.contains("too deep")));
    }

    #[test]
    fn the_wire_format_is_read_and_what_is_unknown_keeps_its_number() {
        static INNER: Shape = Shape(&[(1, "low", Kind::Integer), (2, "high", Kind::Float)]);
        static OUTER: Shape =
            Shape(&[(1, "name", Kind::Text), (3, "inner", Kind::Message(&INNER))]);
        let mut bytes = vec![0x0A, 2, b'a', b'b', 0x1A, 16];
        bytes.extend([
            0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01,
        ]);
        bytes.extend([0x15]);
        bytes.extend(2.5_f32.to_le_bytes());
        bytes.extend([0x50, 7]);
        let fields = read_wire(&bytes, &OUTER).expect("is read");
        assert_eq!(fields[0].text(), Some("ab"));
        let inner = fields[1].fields();
        assert_eq!(
            (inner[0].number(), inner[1].number()),
            (Some(-1.0), Some(2.5))
        );
        assert_eq!(inner[1].place, "inner[0].high[0]");
        assert_eq!(fields[2].name, "field 10");
        for cut in 1..bytes.len() - 2 {
            // Some cuts leave a whole message.
            let _ = read_wire(&bytes[..cut], &OUTER);
        }
        assert!(read_wire(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], &OUTER).is_err());
    }
}
