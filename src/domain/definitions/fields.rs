//! Reads values out of a YAML tree. Every reader returns `None` when it has noted a problem, and the caller
//! goes on with the next field, so that one look at a file finds all that is wrong with it.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use url::Url;

use super::problem::{Place, Sink, did_you_mean};
use super::yaml::{Content, Node};
use crate::domain::names;
use crate::domain::pipeline::SecretName;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located<T> {
    pub place: Place,
    pub value: T,
}

/// The fields of a mapping, all of them known.
pub(super) struct Fields<'a> {
    pub place: Place,
    what: &'static str,
    entries: Vec<(&'a str, &'a Node)>,
}

impl<'a> Fields<'a> {
    /// Reads a mapping that stands for `what` ("a model") and may have `keys`.
    pub fn read(
        node: &'a Node,
        what: &'static str,
        keys: &[&str],
        sink: &mut Sink,
    ) -> Option<Self> {
        let Content::Map(map) = &node.content else {
            let example = keys.first().copied().unwrap_or("key");
            sink.note(
                node.place,
                format!(
                    "{what} is a mapping that begins like `{example}: …`, but this is {}",
                    node.kind()
                ),
            );
            return None;
        };
        let mut entries = Vec::new();
        for (key, value) in map {
            let Content::Text(word) = &key.content else {
                sink.note(
                    key.place,
                    format!("a key is a text, but this is {}", key.kind()),
                );
                continue;
            };
            if keys.contains(&word.as_str()) {
                entries.push((word.as_str(), value));
            } else {
                sink.note(key.place, unknown_key(what, word, keys));
            }
        }
        Some(Self {
            place: node.place,
            what,
            entries,
        })
    }

    /// The value of a key; `null` counts as not written.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries
            .iter()
            .find(|(name, node)| *name == key && node.content != Content::Null)
            .map(|(_, node)| *node)
    }

    /// The value of a key that has to be there.
    pub fn required<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        read: impl FnOnce(&'a Node, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        let Some(node) = self.get(key) else {
            sink.note(self.place, format!("{} needs `{key}`", self.what));
            return None;
        };
        read(node, sink)
    }

    /// The value of a key that may be there. `None` also stands for a value that could not be read: the noted
    /// problem keeps the whole from being used, so a default in its place does no harm.
    pub fn optional<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        read: impl FnOnce(&'a Node, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|node| read(node, sink))
    }

    /// The items of a list that may be there, each read on its own; `None` when an item could not be read.
    pub fn items<T>(
        &self,
        key: &str,
        sink: &mut Sink,
        read: impl FnMut(&'a Node, &mut Sink) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.get(key)
            .map_or_else(|| Some(Vec::new()), |node| items(node, sink, read))
    }

    /// Notes every one of `keys` that is written although it means nothing here.
    pub fn refuse(&self, keys: &[&str], because: &str, sink: &mut Sink) {
        for key in keys {
            if let Some(node) = self.get(key) {
                sink.note(
                    node.place,
                    format!("`{key}` does not apply here: {because}"),
                );
            }
        }
    }
}

fn unknown_key(what: &str, word: &str, keys: &[&str]) -> String {
    let hint = did_you_mean(word, keys.iter().copied());
    if hint.is_empty() {
        format!(
            "{what} has no key `{word}`; it may have {}",
            listed(keys.iter().copied())
        )
    } else {
        format!("{what} has no key `{word}`{hint}")
    }
}

/// Words in backticks, as they are read aloud.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// A list, each item read on its own.
pub(super) fn items<'a, T>(
    node: &'a Node,
    sink: &mut Sink,
    mut read: impl FnMut(&'a Node, &mut Sink) -> Option<T>,
) -> Option<Vec<T>> {
    let Content::List(nodes) = &node.content else {
        sink.note(
            node.place,
            format!("a list is expected, but this is {}", node.kind()),
        );
        return None;
    };
    let read: Vec<Option<T>> = nodes.iter().map(|node| read(node, sink)).collect();
    read.into_iter().collect()
}

/// A text that says something.
pub(super) fn text(node: &Node, sink: &mut Sink) -> Option<String> {
    let cause = match &node.content {
        Content::Text(text) if text.contains('\0') => {
            "a text cannot hold a NUL character".to_owned()
        }
        Content::Text(text) if text.trim().is_empty() => "this text is empty".to_owned(),
        Content::Text(text) => return Some(text.trim().to_owned()),
        Content::Bool(_) | Content::Integer(_) | Content::Number(_) => format!(
            "a text is expected, but this is {}; put it in quotes",
            node.kind()
        ),
        _ => format!("a text is expected, but this is {}", node.kind()),
    };
    sink.note(node.place, cause);
    None
}

/// A text with its place.
pub(super) fn located_text(node: &Node, sink: &mut Sink) -> Option<Located<String>> {
    text(node, sink).map(|value| Located {
        place: node.place,
        value,
    })
}

/// The name of a feature or segment, in the form in which rows have it.
pub(super) fn name_in_rows(node: &Node, sink: &mut Sink) -> Option<Located<String>> {
    located_text(node, sink).map(|name| Located {
        value: names::canonical(&name.value).into_owned(),
        ..name
    })
}

/// A name, which stands in addresses of pages and in commands.
pub(super) fn name(node: &Node, sink: &mut Sink) -> Option<Located<String>> {
    let name = located_text(node, sink)?;
    let fits = name.value.len() <= 100
        && name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !fits {
        sink.note(
            node.place,
            "a name begins with a letter or digit, has only letters, digits, `-`, `_` and `.`, and is \
             no longer than 100",
        );
        return None;
    }
    Some(name)
}

/// A class or category: a text, or a number or truth value taken as its text.
pub(super) fn class(node: &Node, sink: &mut Sink) -> Option<String> {
    match &node.content {
        Content::Bool(value) => Some(value.to_string()),
        Content::Integer(value) => Some(value.to_string()),
        // An empty category is a value that data really have, so it is not refused here.
        Content::Text(value) if value.is_empty() => Some(String::new()),
        _ => text(node, sink),
    }
}

/// True or false.
pub(super) fn flag(node: &Node, sink: &mut Sink) -> Option<bool> {
    if let Content::Bool(value) = node.content {
        return Some(value);
    }
    sink.note(
        node.place,
        format!("`true` or `false` is expected, but this is {}", node.kind()),
    );
    None
}

/// A finite number.
pub(super) fn number(node: &Node, sink: &mut Sink) -> Option<f64> {
    let cause = match node.content {
        Content::Integer(value) => return Some(value as f64),
        Content::Number(value) if value.is_finite() => return Some(value),
        Content::Number(_) => "a finite number is expected".to_owned(),
        _ => format!("a number is expected, but this is {}", node.kind()),
    };
    sink.note(node.place, cause);
    None
}

/// A number above zero.
pub(super) fn positive(node: &Node, sink: &mut Sink) -> Option<f64> {
    let value = number(node, sink)?;
    if value <= 0.0 {
        sink.note(
            node.place,
            format!("a number above 0 is expected, but this is {value}"),
        );
        return None;
    }
    Some(value)
}

/// A share, from 0 to 1.
pub(super) fn share(node: &Node, sink: &mut Sink) -> Option<f64> {
    let value = number(node, sink)?;
    if !(0.0..=1.0).contains(&value) {
        sink.note(
            node.place,
            format!("a share from 0 to 1 is expected, but this is {value}"),
        );
        return None;
    }
    Some(value)
}

/// A reader of whole numbers within bounds.
pub(super) fn whole(from: u32, to: u32) -> impl Fn(&Node, &mut Sink) -> Option<u32> {
    move |node, sink| {
        if let Content::Integer(value) = node.content
            && let Ok(value) = u32::try_from(value)
            && (from..=to).contains(&value)
        {
            return Some(value);
        }
        let found = match node.content {
            Content::Integer(value) => value.to_string(),
            Content::Number(value) => value.to_string(),
            _ => node.kind().to_owned(),
        };
        sink.note(
            node.place,
            format!("a whole number from {from} to {to} is expected, but this is {found}"),
        );
        None
    }
}

/// One of some words.
pub(super) fn word<T: Copy>(
    node: &Node,
    sink: &mut Sink,
    what: &str,
    known: &[(&str, T)],
) -> Option<T> {
    let word = text(node, sink)?;
    let found = known.iter().find(|(name, _)| *name == word);
    if found.is_none() {
        let names = || known.iter().map(|(name, _)| *name);
        sink.note(
            node.place,
            format!(
                "`{word}` is not {what}{}",
                suggestion(did_you_mean(&word, names()), &listed(names()))
            ),
        );
    }
    found.map(|(_, value)| *value)
}

/// The near word, or else all there are.
pub(super) fn suggestion(hint: String, all: &str) -> String {
    if hint.is_empty() {
        format!("; there are {all}")
    } else {
        hint
    }
}

/// A length of time such as `30s`, `15m`, `24h`, `7d` or `2w`, in seconds; at least a second, at most a year
/// and a day.
pub(super) fn seconds(node: &Node, sink: &mut Sink) -> Option<i64> {
    const EXPECTED: &str =
        "a length of time with its unit is expected, such as `30s`, `15m`, `24h` or `7d`";
    let written = match &node.content {
        Content::Text(text) => text.trim(),
        _ => {
            sink.note(
                node.place,
                format!("{EXPECTED}, but this is {}", node.kind()),
            );
            return None;
        }
    };
    let Some(seconds) = parse_seconds(written) else {
        sink.note(node.place, format!("{EXPECTED}, but this is `{written}`"));
        return None;
    };
    if !(1..=366 * 86_400).contains(&seconds) {
        sink.note(
            node.place,
            format!("a length of time lies between `1s` and `366d`, but this is `{written}`"),
        );
        return None;
    }
    Some(seconds)
}

fn parse_seconds(written: &str) -> Option<i64> {
    let unit = written.chars().last()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let digits = written[..written.len() - unit.len_utf8()].trim_end();
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

/// An instant: a date, which is its midnight in UTC, or a time with its offset.
pub(super) fn instant(node: &Node, sink: &mut Sink) -> Option<DateTime<Utc>> {
    let written = text(node, sink)?;
    let read = written
        .parse::<NaiveDate>()
        .map(|day| day.and_time(NaiveTime::MIN).and_utc())
        .or_else(|_| DateTime::parse_from_rfc3339(&written).map(|at| at.with_timezone(&Utc)));
    if read.is_err() {
        sink.note(
            node.place,
            format!(
                "a date such as `2026-03-15` or a time such as `2026-03-15T12:00:00Z` is expected, but \
                 this is `{written}`"
            ),
        );
    }
    read.ok()
}

/// A day.
pub(super) fn day(node: &Node, sink: &mut Sink) -> Option<NaiveDate> {
    let written = text(node, sink)?;
    let read = written.parse::<NaiveDate>();
    if read.is_err() {
        let cause = format!("a date such as `2026-12-25` is expected, but this is `{written}`");
        sink.note(node.place, cause);
    }
    read.ok()
}

/// An address that Bellwether calls. Credentials in it would end up in logs and pages, so they are refused.
pub(super) fn web_address(node: &Node, sink: &mut Sink) -> Option<String> {
    let written = text(node, sink)?;
    let cause = match Url::parse(&written) {
        Err(error) => format!("this is not a web address: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            format!(
                "a web address begins with http:// or https://, not {}:",
                url.scheme()
            )
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "a web address must not hold a user name or password; name a secret by `env`".to_owned()
        }
        Ok(url) if url.fragment().is_some() => {
            "a web address that is called cannot have a `#` part".to_owned()
        }
        Ok(_) => return Some(written),
    };
    sink.note(node.place, cause);
    None
}

/// The keys of a reference to a secret.
pub(super) const SECRET_KEYS: &[&str] = &["env"];

/// A secret, by the environment variable that holds it. One that is written into the file is refused and never
/// repeated.
pub(super) fn secret(node: &Node, sink: &mut Sink) -> Option<SecretName> {
    if !matches!(node.content, Content::Map(_)) {
        sink.note(
            node.place,
            "a secret does not belong into a file that is kept in Git: name the environment variable that \
             holds it, `{env: BELLWETHER_SECRET_NAME}`",
        );
        return None;
    }
    let fields = Fields::read(node, "a secret", SECRET_KEYS, sink)?;
    fields.required("env", sink, secret_name)
}

fn secret_name(node: &Node, sink: &mut Sink) -> Option<SecretName> {
    let name = text(node, sink)?;
    let known = SecretName::try_from(name).ok();
    if known.is_none() {
        sink.note(
            node.place,
            "the name of a secret starts with BELLWETHER_SECRET_ and goes on with capital letters, digits or \
             underscores",
        );
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definitions::yaml::load;

    fn read<T>(yaml: &str, read: impl FnOnce(&Node, &mut Sink) -> Option<T>) -> Result<T, String> {
        let node = load(yaml).root.expect("a document");
        let mut sink = Sink::new("test.yaml");
        let value = read(&node, &mut sink);
        match sink.problems.pop() {
            Some(problem) => Err(problem.cause),
            None => Ok(value.expect("a value when there is no problem")),
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        let good = [
            ("30s", 30),
            ("15m", 900),
            ("24h", 86_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
        ];
        for (written, expected) in good {
            assert_eq!(read(written, seconds), Ok(expected), "{written}");
        }
        for bad in [
            "24",
            "h",
            "1.5h",
            "-3h",
            "0s",
            "367d",
            "24 hours",
            "٣h",
            "9999999999999999999d",
        ] {
            assert!(read(bad, seconds).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_named_and_never_repeated() {
        assert_eq!(
            read("{env: BELLWETHER_SECRET_HOOK}", secret),
            Ok(SecretName::try_from("BELLWETHER_SECRET_HOOK".to_owned()).expect("a name"))
        );
        for bad in [
            "hunter2",
            "{env: hunter-2}",
            "{}",
            "{env: DATABASE_URL}",
            "[hunter2]",
        ] {
            let cause = read(bad, secret).expect_err(bad);
            assert!(!cause.contains("hunter"), "{cause}");
        }
    }

    #[test]
    fn web_addresses_are_http_and_hold_no_credentials() {
        assert!(read("http://127.0.0.1:8421/runs", web_address).is_ok());
        assert!(read("https://hooks.example.org/a?b=c", web_address).is_ok());
        for bad in [
            "ftp://example.org",
            "https://user:hunter2@example.org",
            "https://hunter2@example.org",
            "example.org",
            "https://",
            "https://example.org/#x",
        ] {
            let cause = read(bad, web_address).expect_err(bad);
            assert!(!cause.contains("hunter"), "{cause}");
        }
    }

    #[test]
    fn instants_are_dates_or_times_with_an_offset() {
        assert_eq!(
            read("2013-02-15", instant).map(|at| at.to_rfc3339()),
            Ok("2013-02-15T00:00:00+00:00".into())
        );
        assert_eq!(
            read("2013-02-15T01:00:00+01:00", instant).map(|at| at.to_rfc3339()),
            Ok("2013-02-15T00:00:00+00:00".into())
        );
        for bad in [
            "2013-02-30",
            "15.02.2013",
            "2013-02-15T01:00:00",
            "yesterday",
        ] {
            assert!(read(bad, instant).is_err(), "{bad}");
        }
    }
}
