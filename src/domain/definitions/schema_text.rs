//! A schema as it is written in a configuration file, for people to paste: what is read from it is what was meant.

use crate::domain::names;
use crate::domain::schema::{FeatureOverride, Limit};

/// The key `schema` of a model with these features; empty without any.
#[must_use]
pub fn schema_yaml(features: &[FeatureOverride]) -> String {
    if features.is_empty() {
        return String::new();
    }
    let mut text = "schema:\n  features:\n".to_owned();
    for feature in features {
        let lines = lines(feature);
        text += &format!("    {}:", key(&feature.feature));
        if lines.is_empty() {
            text += " {}";
        }
        text.push('\n');
        for (name, value) in lines {
            text += &format!("      {name}: {value}\n");
        }
    }
    text
}

fn lines(feature: &FeatureOverride) -> Vec<(&'static str, String)> {
    let list = |names: &Vec<String>| {
        let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        format!("[{}]", quoted.join(", "))
    };
    let number = |number: &f64| number_text(*number);
    [
        ("type", feature.feature_type.map(|t| t.as_str().to_owned())),
        ("required", feature.required.map(|r| r.to_string())),
        ("min", limit(&feature.minimum, number)),
        ("max", limit(&feature.maximum, number)),
        ("categories", limit(&feature.categories, list)),
        ("max_null_share", feature.max_null_share.map(number_text)),
        (
            "max_duplicate_share",
            limit(&feature.max_duplicate_share, number),
        ),
        ("min_distinct", feature.min_distinct.map(|n| n.to_string())),
        ("max_distinct", feature.max_distinct.map(|n| n.to_string())),
        (
            "max_outside_share",
            feature.max_outside_share.map(number_text),
        ),
        ("environments", feature.environments.as_ref().map(list)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn limit<T>(limit: &Limit<T>, text: impl Fn(&T) -> String) -> Option<String> {
    match limit {
        Limit::Inferred => None,
        Limit::Any => Some("any".to_owned()),
        Limit::Given(given) => Some(text(given)),
    }
}

/// All digits that tell the number from its neighbours.
fn number_text(number: f64) -> String {
    let text = format!("{number:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A name without quotes where no reader could take it for anything else.
fn key(name: &str) -> String {
    const WORDS: [&str; 13] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "nil", "none",
    ];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !WORDS.contains(&name.to_ascii_lowercase().as_str());
    if plain { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let unprintable = c.is_control()
            || names::turns_direction(c)
            || names::is_invisible(c)
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}');
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if unprintable => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definitions::{self, SourceFile};
    use crate::domain::schema::FeatureType;

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        let features = vec![
            FeatureOverride {
                feature: "no".to_owned(),
                feature_type: Some(FeatureType::Number),
                required: Some(false),
                minimum: Limit::Given(-1e300),
                maximum: Limit::Given(0.1 + 0.2),
                max_null_share: Some(0.05),
                max_duplicate_share: Limit::Given(0.0),
                ..FeatureOverride::default()
            },
            FeatureOverride {
                feature: "a \"quoted\": {name} # \u{1F600}\\".to_owned(),
                feature_type: Some(FeatureType::Category),
                categories: Limit::Given(vec![
                    String::new(),
                    "true".to_owned(),
                    "007".to_owned(),
                    "a, b]".to_owned(),
                    "\u{7F}\u{2028}\t\u{85}".to_owned() + "x",
                ]),
                ..FeatureOverride::default()
            },
            FeatureOverride {
                feature: "seats".to_owned(),
                feature_type: Some(FeatureType::Integer),
                minimum: Limit::Any,
                maximum: Limit::Given(9.0),
                max_duplicate_share: Limit::Any,
                min_distinct: Some(2),
                max_distinct: Some(4_000_000_000),
                max_outside_share: Some(0.125),
                environments: Some(vec!["SERVING".to_owned(), "on".to_owned()]),
                ..FeatureOverride::default()
            },
        ];
        let schema = schema_yaml(&features).replace('\n', "\n    ");
        let text = format!("models:\n  - name: m\n    task: regression\n    {schema}\n");
        let file = SourceFile {
            path: "m.yaml".to_owned(),
            text: text.clone(),
        };
        let read =
            definitions::parse(&[file]).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let schema = read.models[0].value.schema.as_ref().expect("a schema");
        // Space at the ends of a class is not kept by the reader of files.
        let mut expected = features;
        if let Limit::Given(names) = &mut expected[1].categories {
            names[4] = names[4].trim().to_owned();
        }
        assert_eq!(schema.features, expected, "{text}");
        assert_eq!(schema_yaml(&[]), "");
    }
}
