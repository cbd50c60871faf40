//! What the columns of a model's own files are called: said once in the model's file, and heeded wherever rows come
//! from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::times::{self, TimeFormat};

/// The fields that a column can be said to be.
pub const FIELDS: [&str; 11] = [
    "prediction_id",
    "timestamp",
    "version",
    "prediction",
    "score",
    "latency_ms",
    "error",
    "deployment",
    "segments",
    "label",
    "observed_at",
];

/// A model's columns. Names that are not mentioned mean what they mean everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColumnMap {
    /// Which column is which field, by field.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Columns that are not read.
    #[serde(default)]
    pub ignore: BTreeSet<String>,
    /// The names of values that come without: what the model was given, in order.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// And what it answered: fields such as `prediction`, `score`, `probability.cat`.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// How `timestamp` and `observed_at` are written.
    #[serde(flatten)]
    pub times: TimeFormat,
}

/// Nothing is mentioned.
pub static NO_COLUMNS: ColumnMap = ColumnMap {
    fields: BTreeMap::new(),
    ignore: BTreeSet::new(),
    inputs: Vec::new(),
    outputs: Vec::new(),
    times: times::USUAL,
};

impl ColumnMap {
    /// Whether nothing is mentioned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == NO_COLUMNS
    }

    /// The field that a column is said to be.
    #[must_use]
    pub fn field_of(&self, column: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(_, name)| *name == column);
        found.map(|(field, _)| field.as_str())
    }

    /// The column that is said to be a field.
    #[must_use]
    pub fn column_of(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// Whether a column is not to be read.
    #[must_use]
    pub fn is_ignored(&self, column: &str) -> bool {
        self.ignore.contains(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_the_field_it_is_said_to_be() {
        let map = ColumnMap {
            fields: BTreeMap::from([("timestamp".to_owned(), "scored_at".to_owned())]),
            ignore: BTreeSet::from(["row".to_owned()]),
            ..ColumnMap::default()
        };
        assert_eq!(map.field_of("scored_at"), Some("timestamp"));
        assert_eq!(map.field_of("timestamp"), None);
        assert!(map.is_ignored("row") && !map.is_ignored("scored_at"));
        assert!(!map.is_empty() && NO_COLUMNS.is_empty());
    }
}
