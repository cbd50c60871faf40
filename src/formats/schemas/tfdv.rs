//! The schema of TensorFlow Data Validation: `schema.pbtxt`, or the same message in binary.
//!
//! Numbers and names of fields are those of `tensorflow_metadata.v0.Schema`.

use std::collections::HashMap;

use super::proto::{self, Field, Kind, Shape, find};
use super::{Draft, SchemaFileError, complement, count, named, shown};
use crate::domain::schema::{FeatureOverride, FeatureType, Limit};

const TYPES: &[&str] = &["TYPE_UNKNOWN", "BYTES", "INT", "FLOAT", "STRUCT"];
const STAGES: &[&str] = &[
    "UNKNOWN_STAGE",
    "PLANNED",
    "ALPHA",
    "BETA",
    "PRODUCTION",
    "DEPRECATED",
    "DEBUG_ONLY",
    "DISABLED",
    "8",
    "VALIDATION_DERIVED",
];
/// Stages in which validation passes a feature over.
const PASSED_OVER: [&str; 5] = ["PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY", "DISABLED"];

static PRESENCE: Shape = Shape(&[
    (1, "min_fraction", Kind::Float),
    (2, "min_count", Kind::Integer),
]);
static COUNT: Shape = Shape(&[(1, "min", Kind::Integer), (2, "max", Kind::Integer)]);
static UNIQUE: Shape = Shape(&[(1, "min", Kind::Integer), (2, "max", Kind::Integer)]);
static DIMENSION: Shape = Shape(&[(1, "size", Kind::Integer), (2, "name", Kind::Text)]);
static FIXED: Shape = Shape(&[(2, "dim", Kind::Message(&DIMENSION))]);
static INTEGERS: Shape = Shape(&[
    (1, "name", Kind::Text),
    (3, "min", Kind::Integer),
    (4, "max", Kind::Integer),
    (5, "is_categorical", Kind::Flag),
]);
static FLOATS: Shape = Shape(&[
    (1, "name", Kind::Text),
    (3, "min", Kind::Float),
    (4, "max", Kind::Float),
    (5, "disallow_nan", Kind::Flag),
    (6, "disallow_inf", Kind::Flag),
    (7, "is_embedding", Kind::Flag),
    (8, "is_categorical", Kind::Flag),
]);
static STRINGS: Shape = Shape(&[(1, "name", Kind::Text), (2, "value", Kind::Text)]);
static FLAGS: Shape = Shape(&[
    (1, "name", Kind::Text),
    (2, "true_value", Kind::Text),
    (3, "false_value", Kind::Text),
]);
static DISTRIBUTION: Shape = Shape(&[(1, "min_domain_mass", Kind::Float)]);
static FEATURE: Shape = Shape(&[
    (1, "name", Kind::Text),
    (2, "deprecated", Kind::Flag),
    (5, "value_count", Kind::Message(&COUNT)),
    (6, "type", Kind::Enum(TYPES)),
    (7, "domain", Kind::Text),
    (9, "int_domain", Kind::Message(&INTEGERS)),
    (10, "float_domain", Kind::Message(&FLOATS)),
    (11, "string_domain", Kind::Message(&STRINGS)),
    (13, "bool_domain", Kind::Message(&FLAGS)),
    (14, "presence", Kind::Message(&PRESENCE)),
    (15, "distribution_constraints", Kind::Message(&DISTRIBUTION)),
    (16, "annotation", Kind::Opaque),
    (17, "group_presence", Kind::Opaque),
    (18, "skew_comparator", Kind::Opaque),
    (19, "not_in_environment", Kind::Text),
    (20, "in_environment", Kind::Text),
    (21, "drift_comparator", Kind::Opaque),
    (22, "lifecycle_stage", Kind::Enum(STAGES)),
    (23, "shape", Kind::Message(&FIXED)),
    (24, "natural_language_domain", Kind::Opaque),
    (25, "image_domain", Kind::Opaque),
    (26, "mid_domain", Kind::Opaque),
    (27, "url_domain", Kind::Opaque),
    (28, "time_domain", Kind::Opaque),
    (29, "struct_domain", Kind::Opaque),
    (30, "time_of_day_domain", Kind::Opaque),
    (31, "unique_constraints", Kind::Message(&UNIQUE)),
    (32, "value_counts", Kind::Opaque),
    (34, "validation_derived_source", Kind::Opaque),
    (35, "sequence_metadata", Kind::Opaque),
]);
static SCHEMA: Shape = Shape(&[
    (1, "feature", Kind::Message(&FEATURE)),
    (4, "string_domain", Kind::Message(&STRINGS)),
    (5, "default_environment", Kind::Text),
    (6, "sparse_feature", Kind::Opaque),
    (8, "annotation", Kind::Opaque),
    (9, "float_domain", Kind::Message(&FLOATS)),
    (10, "int_domain", Kind::Message(&INTEGERS)),
    (11, "dataset_constraints", Kind::Opaque),
    (12, "weighted_feature", Kind::Opaque),
    (13, "tensor_representation_group", Kind::Opaque),
    (14, "represent_variable_length_as_ragged", Kind::Flag),
]);

/// Whether a file begins as the text format does.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    const FIRST: usize = 64 << 10;
    let start = &bytes[..bytes.len().min(FIRST)];
    let text = String::from_utf8_lossy(start);
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = line else {
        return false;
    };
    SCHEMA.0.iter().any(|(_, name, _)| {
        line.strip_prefix(name).is_some_and(|rest| {
            rest.trim_start_matches([' ', ':'])
                .starts_with(['{', '<', '"'])
        })
    })
}

pub(super) fn read(bytes: &[u8]) -> Result<Draft, SchemaFileError> {
    let as_text = std::str::from_utf8(bytes)
        .ok()
        .filter(|_| !has_control(bytes));
    let fields = match as_text {
        Some(text) => proto::read_text(text).map_err(|cause| SchemaFileError::Syntax {
            format: "a text protocol buffer",
            cause,
        })?,
        None => proto::read_wire(bytes, &SCHEMA).map_err(|cause| SchemaFileError::Syntax {
            format: "a binary protocol buffer",
            cause,
        })?,
    };
    let mut draft = Draft::default();
    let mut domains = HashMap::new();
    let environments = fields.iter();
    let environments = environments.filter(|field| field.name == "default_environment");
    let environments: Vec<&str> = environments.filter_map(Field::text).collect();
    for field in &fields {
        if matches!(
            field.name.as_str(),
            "string_domain" | "int_domain" | "float_domain"
        ) && let Some(name) = find(field.fields(), "name").and_then(Field::text)
        {
            domains.insert(name, field);
        }
    }
    for field in &fields {
        match field.name.as_str() {
            "feature" => read_feature(field, (&domains, &environments), &mut draft),
            "string_domain" | "int_domain" | "float_domain" | "default_environment" => {}
            name => draft.note(field.place.clone(), format!("{}: {NO_WORD}", shown(name))),
        }
    }
    Ok(draft)
}

const NO_WORD: &str = "a schema has no word for it";

/// Text has no control characters but these; binary messages cannot do without.
fn has_control(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .any(|b| *b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t'))
}

fn read_feature(
    field: &Field,
    (domains, environments): (&HashMap<&str, &Field>, &[&str]),
    draft: &mut Draft,
) {
    let fields = field.fields();
    let place = &field.place;
    let Some(name) = find(fields, "name").and_then(Field::text) else {
        return draft.note(place, "a feature without a name");
    };
    let place = &named(place, name);
    let stage = find(fields, "lifecycle_stage")
        .and_then(Field::word)
        .unwrap_or_default();
    let deprecated = find(fields, "deprecated").and_then(Field::word) == Some("true");
    if deprecated || PASSED_OVER.contains(&stage) {
        return draft.note(
            place,
            "a feature that validation passes over, by its stage of life",
        );
    }
    if let Some(cause) = several_values(fields) {
        return draft.note(place, cause);
    }
    let word = find(fields, "type")
        .and_then(Field::word)
        .unwrap_or("TYPE_UNKNOWN");
    let feature_type = match word {
        "BYTES" | "1" => Some(FeatureType::Category),
        "INT" | "2" => Some(FeatureType::Integer),
        "FLOAT" | "3" => Some(FeatureType::Number),
        "STRUCT" | "4" => {
            return draft.note(place, "a structure has more than one value");
        }
        _ => None,
    };
    let mut said = FeatureOverride {
        feature_type,
        // Without a word about presence, any share may be missing.
        required: Some(false),
        max_null_share: Some(1.0),
        ..FeatureOverride::default()
    };
    for part in fields {
        let part = &Field {
            place: named(&part.place, name),
            ..part.clone()
        };
        read_part(part, domains, &mut said, draft);
    }
    match expected_in(fields, environments) {
        // Nowhere that the file names: rows may lack it.
        Some(expected) if expected.is_empty() => said.required = Some(false),
        expected => said.environments = expected,
    }
    if said.feature_type.is_none() {
        draft.note(place, format!("the type {:?} says nothing", shown(word)));
    }
    if draft.knows(name) {
        return draft.note(place, "the name occurs twice; the first stands");
    }
    if let Some(feature) = draft.feature(name, place) {
        let name = std::mem::take(&mut feature.feature);
        *feature = FeatureOverride {
            feature: name,
            ..said
        };
    }
}

/// Why a feature has not one value in a row, if so.
fn several_values(fields: &[Field]) -> Option<&'static str> {
    const SEVERAL: &str = "a feature of several values: rows have one for each feature";
    if let Some(count) = find(fields, "value_count") {
        let most = find(count.fields(), "max").and_then(Field::number);
        return most.is_none_or(|most| most > 1.0).then_some(SEVERAL);
    }
    let shape = find(fields, "shape")?;
    let mut sizes = shape
        .fields()
        .iter()
        .map(|dimension| find(dimension.fields(), "size").and_then(Field::number));
    sizes.any(|size| size != Some(1.0)).then_some(SEVERAL)
}

fn read_part(
    part: &Field,
    domains: &HashMap<&str, &Field>,
    said: &mut FeatureOverride,
    draft: &mut Draft,
) {
    let place = part.place.clone();
    match part.name.as_str() {
        "name" | "type" | "value_count" | "shape" | "lifecycle_stage" | "deprecated" => {}
        "presence" => presence(part, said, draft),
        "int_domain" | "float_domain" | "string_domain" | "bool_domain" => {
            domain(part, said, draft);
        }
        "domain" => {
            let named = part.text().and_then(|name| domains.get(name));
            match named {
                Some(found) => domain(found, said, draft),
                None => draft.note(place, "the file has no domain of that name"),
            }
        }
        "natural_language_domain" | "url_domain" => said.feature_type = Some(FeatureType::Text),
        "distribution_constraints" => {
            let mass = find(part.fields(), "min_domain_mass").and_then(Field::number);
            said.max_outside_share = Some(complement(mass.unwrap_or(1.0)));
        }
        "unique_constraints" => {
            let end = |name: &str| find(part.fields(), name)?.number().and_then(count);
            let (least, most) = (end("min"), end("max"));
            if least.zip(most).is_some_and(|(least, most)| least > most) {
                draft.note(
                    place,
                    "no number of values is allowed; it is not carried over",
                );
            } else {
                (said.min_distinct, said.max_distinct) = (least, most);
            }
        }
        "skew_comparator" | "drift_comparator" => draft.note(
            place,
            format!(
                "{}: drift is judged by monitors, with their `thresholds`",
                part.name
            ),
        ),
        "not_in_environment" | "in_environment" => {}
        name => draft.note(place, format!("{}: {NO_WORD}", shown(name))),
    }
}

/// The environments in which a feature is expected, where these are not all: by default the file's, but for those it is said not
/// to be in, and beside them those it is said to be in.
fn expected_in(fields: &[Field], by_default: &[&str]) -> Option<Vec<String>> {
    let named = |name: &str| -> Vec<&str> {
        let fields = fields.iter().filter(|field| field.name == name);
        fields.filter_map(Field::text).collect()
    };
    let (within, without) = (named("in_environment"), named("not_in_environment"));
    if within.is_empty() && without.is_empty() {
        return None;
    }
    let mut expected: Vec<&str> = by_default.to_vec();
    expected.extend(within.iter().filter(|name| !by_default.contains(name)));
    expected.retain(|name| !without.contains(name) || within.contains(name));
    Some(expected.into_iter().map(str::to_owned).collect())
}

/// The share of rows that must have a value: what is missing may be absent or null.
fn presence(part: &Field, said: &mut FeatureOverride, draft: &mut Draft) {
    let fraction = find(part.fields(), "min_fraction").and_then(Field::number);
    if let Some(fraction) = fraction {
        said.required = Some(fraction >= 1.0);
        said.max_null_share = Some(complement(fraction));
    }
    if let Some(count) = find(part.fields(), "min_count")
        && count.number().is_some_and(|count| count > 1.0)
    {
        draft.note(
            count.place.clone(),
            "a number of rows depends on how many are looked at",
        );
    }
}

fn domain(part: &Field, said: &mut FeatureOverride, draft: &mut Draft) {
    let fields = part.fields();
    let number = |name: &str| find(fields, name).and_then(Field::number);
    let flag = |name: &str| find(fields, name).and_then(Field::word) == Some("true");
    match part.name.as_str() {
        "string_domain" => {
            let values = fields
                .iter()
                .filter(|f| f.name == "value")
                .filter_map(Field::text);
            said.categories = Limit::Given(values.map(str::to_owned).collect());
            said.feature_type = Some(FeatureType::Category);
        }
        "bool_domain" => bool_domain(part, said),
        _ => {
            let (low, high) = (number("min"), number("max"));
            if low.zip(high).is_some_and(|(low, high)| low > high) {
                draft.note(
                    part.place.clone(),
                    "the range leaves no value; it is not carried over",
                );
                return;
            }
            said.minimum = low.map_or(Limit::Inferred, Limit::Given);
            said.maximum = high.map_or(Limit::Inferred, Limit::Given);
            if flag("is_categorical") {
                draft.note(
                    part.place.clone(),
                    "numbers that stand for categories are counted as numbers; set `type: category` if they are none",
                );
            }
            for name in ["disallow_nan", "disallow_inf", "is_embedding"] {
                if flag(name) {
                    let cause = format!("{name}: {NO_WORD}");
                    draft.note(part.place.clone(), cause);
                }
            }
        }
    }
}

/// Words for true and false are categories. Numbers with such a domain, as which a boolean column of a data frame is written,
/// are 0 and 1: booleans, whichever way a file has them.
fn bool_domain(part: &Field, said: &mut FeatureOverride) {
    let words: Vec<String> = ["false_value", "true_value"]
        .iter()
        .filter_map(|name| find(part.fields(), name)?.text().map(str::to_owned))
        .collect();
    match said.feature_type {
        Some(FeatureType::Category) | None if words.len() == 2 => {
            said.feature_type = Some(FeatureType::Category);
            said.categories = Limit::Given(words);
        }
        _ => said.feature_type = Some(FeatureType::Boolean),
    }
}
