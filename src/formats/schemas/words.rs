//! What types are called in databases, data frames and engines.

use crate::domain::schema::FeatureType;

/// The type that a word stands for; lengths, precisions and name spaces are passed over. A string may be a category or
/// free text, which the word does not tell: it is taken for a category whose values are not known.
pub(super) fn feature_type(word: &str) -> Option<FeatureType> {
    let word = word.to_ascii_lowercase();
    let word = word.rsplit('.').next().unwrap_or_default();
    let end = word.find(['(', '[', '<', ' ']).unwrap_or(word.len());
    let word = word[..end].trim_end_matches("type").trim_end_matches('_');
    // Widths: int64, float32.
    let plain = word.trim_end_matches(|c: char| c.is_ascii_digit());
    Some(match plain {
        "int" | "integer" | "long" | "short" | "byte" | "bigint" | "smallint" | "tinyint"
        | "uint" | "integral" => FeatureType::Integer,
        "float" | "double" | "real" | "decimal" | "numeric" | "number" | "fractional" => {
            FeatureType::Number
        }
        "bool" | "boolean" => FeatureType::Boolean,
        "str" | "string" | "text" | "varchar" | "char" | "nvarchar" | "object" | "category"
        | "categorical" | "bytes" => FeatureType::Category,
        "date" | "datetime" | "timestamp" | "timestamptz" | "timestampntz" => {
            FeatureType::Timestamp
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use FeatureType::{Boolean, Category, Integer, Number, Timestamp};

    #[test]
    fn types_are_known_by_what_they_are_called() {
        for (word, expected) in [
            ("INTEGER", Some(Integer)),
            ("int64", Some(Integer)),
            ("LongType", Some(Integer)),
            ("numpy.float32", Some(Number)),
            ("DECIMAL(10, 2)", Some(Number)),
            ("DOUBLE_PRECISION", None),
            ("double precision", Some(Number)),
            ("BooleanType", Some(Boolean)),
            ("VARCHAR(3)", Some(Category)),
            ("datetime64[ns]", Some(Timestamp)),
            ("TIMESTAMP_NTZ", None),
            ("geometry", None),
            ("", None),
        ] {
            assert_eq!(feature_type(word), expected, "{word}");
        }
    }
}
