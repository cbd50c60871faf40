//! Which columns say how much a feature contributed to a prediction, such as SHAP values logged beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where rows have the attributions of features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attributions {
    /// In columns named like the feature, behind this.
    Prefix(String),
    /// Of each column the feature it is about.
    Columns(BTreeMap<String, String>),
}

impl Default for Attributions {
    fn default() -> Self {
        Self::Prefix("attribution.".to_owned())
    }
}

impl Attributions {
    /// The feature that a column is the attribution of; nothing for a column that is none.
    #[must_use]
    pub fn feature_of<'a>(&'a self, column: &'a str) -> Option<&'a str> {
        match self {
            Self::Prefix(prefix) => column
                .strip_prefix(prefix.as_str())
                .filter(|feature| !feature.is_empty()),
            Self::Columns(features) => features.get(column).map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributions_are_known_by_prefix_or_by_name() {
        let usual = Attributions::default();
        assert_eq!(usual.feature_of("attribution.age"), Some("age"));
        assert_eq!(usual.feature_of("attribution."), None);
        assert_eq!(usual.feature_of("age"), None);
        let named = [("sv_0".to_owned(), "age".to_owned())];
        let named = Attributions::Columns(named.into());
        assert_eq!(named.feature_of("sv_0"), Some("age"));
        assert_eq!(named.feature_of("attribution.age"), None);
    }
}
