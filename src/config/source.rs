//! Where settings come from: one TOML file, and the environment over it.
//!
//! The file is not deserialised into structs, because that stops at the first mistake. A [`Source`] flattens it into dotted
//! keys with their lines; the sections ask for each key once, mistakes are collected, and whatever nobody asked for is an
//! unknown key. So an operator sees everything that is wrong at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::secret::Secret;

/// Environment variables with a widely known name, accepted beside the one derived from the key.
const WELL_KNOWN_VARIABLES: [(&str, &str); 3] = [
    ("storage.database_url", "DATABASE_URL"),
    ("storage.database_url_file", "DATABASE_URL_FILE"),
    ("telemetry.otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
];

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value was given.
    pub origin: Origin,
    /// The dotted key, such as `server.listen`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub cause: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.cause)
    }
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file; line 0 stands for the file as a whole.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// Nowhere: a value that is needed was not given.
    Missing,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => write!(formatter, "{}", path.display()),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Missing => formatter.write_str("configuration"),
        }
    }
}

/// The process's environment as a value, so that tests need not change the real one and the command line can put
/// its flags over it.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. Those that are not Unicode cannot be settings and are left out.
    #[must_use]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// The same with one variable set, for flags that stand above the environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A variable's value. An empty one counts as not set, because that is what container tools pass for "nothing".
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A value and where it was given, so that later checks can still name the place.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

#[derive(Debug, Clone)]
enum FileValue {
    Text(String),
    Integer(String),
    List(Vec<String>),
    Other(&'static str),
}

/// All settings that were given, handed out key by key.
pub(super) struct Source<'a> {
    file: Option<&'a Path>,
    values: BTreeMap<String, (usize, FileValue)>,
    environment: &'a Environment,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'a> Source<'a> {
    /// Reads the file's text (none: the environment alone). Syntax errors become problems; what could be read still counts.
    pub(super) fn new(file: Option<(&'a Path, &str)>, environment: &'a Environment) -> Self {
        let mut source = Self {
            file: file.map(|(path, _)| path),
            values: BTreeMap::new(),
            environment,
            asked: Vec::new(),
            problems: Vec::new(),
        };
        if let Some((_, text)) = file {
            source.read(text);
        }
        source
    }

    fn read(&mut self, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map_or(0, |span| line_of(text, span.start));
            let origin = self.line(line);
            self.problem(origin, "", error.message().to_owned());
        }
        flatten(text, "", table.get_ref(), &mut self.values);
    }

    /// A text value.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Given<String>> {
        self.scalar(key, "a text")
    }

    /// A value written as a text or as a whole number.
    fn scalar(&mut self, key: &'static str, expected: &str) -> Option<Given<String>> {
        self.asked.push(key);
        let from_file = self.values.remove(key);
        if let Some(given) = self.variable(key) {
            return Some(given);
        }
        let (line, value) = from_file?;
        let origin = self.line(line);
        match value {
            FileValue::Text(value) | FileValue::Integer(value) => Some(Given { value, origin }),
            FileValue::List(_) => self.wrong_type(origin, key, expected, "a list"),
            FileValue::Other(kind) => self.wrong_type(origin, key, expected, kind),
        }
    }

    /// A list of texts; in the environment they are separated by commas.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Given<Vec<String>>> {
        self.asked.push(key);
        let from_file = self.values.remove(key);
        if let Some(given) = self.variable(key) {
            let value = given.value.split(',').map(|item| item.trim().to_owned());
            return Some(Given {
                value: value.filter(|item| !item.is_empty()).collect(),
                origin: given.origin,
            });
        }
        let (line, value) = from_file?;
        let origin = self.line(line);
        match value {
            FileValue::List(value) => Some(Given { value, origin }),
            FileValue::Text(_) => self.wrong_type(origin, key, "a list of texts", "a text"),
            FileValue::Integer(_) => self.wrong_type(origin, key, "a list of texts", "a number"),
            FileValue::Other(kind) => self.wrong_type(origin, key, "a list of texts", kind),
        }
    }

    /// A value of a type that parses from text; `expected` completes "… is not".
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Given<T>> {
        let given = self.scalar(key, expected)?;
        match given.value.parse() {
            Ok(value) => Some(Given {
                value,
                origin: given.origin,
            }),
            Err(_) => {
                self.problem(
                    given.origin,
                    key,
                    format!("{:?} is not {expected}", given.value),
                );
                None
            }
        }
    }

    /// A path. One given in the file is taken from the file's folder, one in the environment from the working directory.
    pub(super) fn path(&mut self, key: &'static str) -> Option<Given<PathBuf>> {
        let given = self.text(key)?;
        Some(Given {
            value: self.resolve(&given),
            origin: given.origin,
        })
    }

    /// A secret: the value under `key`, or the content of the file named under `file_key` without its line end.
    /// The environment wins over the file as a whole, so a rotated `…_FILE` is not shadowed by an old value.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Given<Secret>> {
        let direct = self.text(key);
        let named = self.text(file_key);
        match (direct, named) {
            (None, None) => None,
            (Some(given), None) => Some(given.map(Secret::new)),
            (None, Some(named)) => self.secret_from(file_key, named),
            (Some(direct), Some(named)) => match (&direct.origin, &named.origin) {
                (Origin::Variable(_), Origin::File { .. }) => Some(direct.map(Secret::new)),
                (Origin::File { .. }, Origin::Variable(_)) => self.secret_from(file_key, named),
                _ => {
                    let cause = format!("give either this or {file_key}, not both");
                    self.problem(direct.origin, key, cause);
                    None
                }
            },
        }
    }

    fn secret_from(&mut self, key: &'static str, named: Given<String>) -> Option<Given<Secret>> {
        let path = self.resolve(&named);
        let cause = match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim_end_matches(['\r', '\n']) {
                "" => format!("{} is empty", path.display()),
                secret => {
                    return Some(Given {
                        value: Secret::new(secret),
                        origin: named.origin,
                    });
                }
            },
            Err(error) => format!("cannot read {}: {error}", path.display()),
        };
        self.problem(named.origin, key, cause);
        None
    }

    fn resolve(&self, given: &Given<String>) -> PathBuf {
        match (&given.origin, self.file.and_then(Path::parent)) {
            (Origin::File { .. }, Some(folder)) => folder.join(&given.value),
            _ => PathBuf::from(&given.value),
        }
    }

    /// Notes something that is wrong.
    pub(super) fn problem(&mut self, origin: Origin, key: &str, cause: impl Into<String>) {
        self.problems.push(Problem {
            origin,
            key: key.to_owned(),
            cause: cause.into(),
        });
    }

    /// The problems found, with every key nobody asked for among them, and the variables that look like a setting but are none.
    /// The latter are only worth a warning: container platforms inject variables of their own that begin like ours.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<String>) {
        for (key, (line, _)) in std::mem::take(&mut self.values) {
            let cause = format!("unknown key; {}", self.siblings(&key));
            let origin = self.line(line);
            self.problem(origin, &key, cause);
        }
        let known: Vec<String> = self.asked.iter().map(|key| variable_name(key)).collect();
        let unknown = self
            .environment
            .names()
            .filter(|name| {
                name.starts_with("BELLWETHER_") && !known.iter().any(|known| known == name)
            })
            .filter(|name| {
                known
                    .iter()
                    .any(|known| section_of(known) == section_of(name))
            })
            .map(str::to_owned)
            .collect();
        (self.problems, unknown)
    }

    fn siblings(&self, key: &str) -> String {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let known: Vec<&str> = self
            .asked
            .iter()
            .filter_map(|asked| asked.rsplit_once('.'))
            .filter(|(of, _)| *of == section)
            .map(|(_, name)| name)
            .collect();
        if known.is_empty() {
            return "there is no such section".to_owned();
        }
        format!("[{section}] has {}", known.join(", "))
    }

    fn variable(&self, key: &str) -> Option<Given<String>> {
        let well_known = WELL_KNOWN_VARIABLES.iter().find(|(of, _)| *of == key);
        std::iter::once(variable_name(key))
            .chain(well_known.map(|(_, name)| (*name).to_owned()))
            .find_map(|name| {
                Some(Given {
                    value: self.environment.get(&name)?.to_owned(),
                    origin: Origin::Variable(name),
                })
            })
    }

    fn line(&self, line: usize) -> Origin {
        Origin::File {
            path: self.file.map(Path::to_path_buf).unwrap_or_default(),
            line,
        }
    }

    fn wrong_type<T>(
        &mut self,
        origin: Origin,
        key: &str,
        expected: &str,
        found: &str,
    ) -> Option<T> {
        self.problem(origin, key, format!("must be {expected}, not {found}"));
        None
    }
}

impl<T> Given<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Given<U> {
        Given {
            value: change(self.value),
            origin: self.origin,
        }
    }
}

/// The environment variable of a key: `server.listen` is `BELLWETHER_SERVER_LISTEN`.
pub(super) fn variable_name(key: &str) -> String {
    format!("BELLWETHER_{}", key.replace('.', "_").to_uppercase())
}

fn section_of(variable: &str) -> Option<&str> {
    variable.split('_').nth(1)
}

fn flatten(
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    into: &mut BTreeMap<String, (usize, FileValue)>,
) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let line = line_of(text, name.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => flatten(text, &format!("{key}."), inner, into),
            other => {
                into.insert(key, (line, file_value(other)));
            }
        }
    }
}

fn file_value(value: &DeValue<'_>) -> FileValue {
    let texts = |items: &[Spanned<DeValue<'_>>]| {
        items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
    };
    match value {
        DeValue::String(text) => FileValue::Text(text.to_string()),
        DeValue::Integer(number) => FileValue::Integer(number.to_string()),
        DeValue::Array(items) => {
            texts(items).map_or(FileValue::Other("a list of other things"), FileValue::List)
        }
        DeValue::Boolean(_) => FileValue::Other("true or false"),
        DeValue::Float(_) => FileValue::Other("a fraction"),
        DeValue::Datetime(_) => FileValue::Other("a date"),
        DeValue::Table(_) => FileValue::Other("a section"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}
