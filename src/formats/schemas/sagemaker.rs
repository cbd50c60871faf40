//! What SageMaker's Model Monitor writes of a baseline: `constraints.json` and `statistics.json`.
//!
//! The statistics hold summaries of the columns. Here they give a schema, and a note for each distribution: those
//! become a baseline where the file is named as one (`formats::statistics`).

use super::document::{Document, Item};
use super::{Draft, SchemaFileError, complement, named, shown};
use crate::domain::schema::{FeatureType, Limit, usual_null_share};

const NO_BASELINE: &str = "a distribution is not part of a schema; name the file as a baseline, or better the \
                           training data";

pub(super) fn is_one(document: &Document) -> bool {
    let root = document.root();
    let features = root.get("features");
    features.is_some_and(|list| list.items().any(|f| f.get("inferred_type").is_some()))
}

pub(super) fn read(document: &Document) -> Result<Draft, SchemaFileError> {
    let root = document.root();
    let mut draft = Draft::default();
    for feature in root.get("features").iter().flat_map(Item::items) {
        read_feature(&feature, &mut draft);
    }
    for (key, item) in root.entries() {
        match key {
            "features" | "version" => {}
            "dataset" => draft.note(
                item.place,
                "how many rows there were is not part of a schema",
            ),
            "monitoring_config" => {
                for (_, setting) in item.entries() {
                    draft.note(
                        setting.place,
                        "how much is let pass is the monitor's to say, by `tolerance` and `thresholds`",
                    );
                }
            }
            _ => draft.note(item.place, "a schema has no word for it"),
        }
    }
    Ok(draft)
}

fn read_feature(said: &Item<'_>, draft: &mut Draft) {
    let Some(name) = said.text("name") else {
        draft.note(said.place.clone(), "a feature without a name");
        return;
    };
    let said = &Item {
        place: named(&said.place, name),
        ..said.clone()
    };
    let word = said.text("inferred_type").unwrap_or("Unknown");
    let feature_type = match word {
        "Integral" => Some(FeatureType::Integer),
        "Fractional" => Some(FeatureType::Number),
        "String" => Some(FeatureType::Category),
        _ => {
            let cause = format!("the type {:?} says nothing", shown(word));
            draft.note(format!("{}.inferred_type", said.place), cause);
            None
        }
    };
    let numeric = feature_type.is_none_or(FeatureType::is_numeric);
    let (minimum, maximum) = range(said, numeric);
    let categories = categories(said, draft);
    let nulls = null_share(said);
    for (key, item) in said.entries() {
        match key {
            "name" | "inferred_type" | "completeness" => {}
            "num_constraints" => note_others(&item, &["is_non_negative"], draft),
            "string_constraints" => note_others(&item, &["domains"], draft),
            "numerical_statistics" => {
                note_others(&item, &["common", "min", "max", "distribution"], draft);
                draft.note(format!("{}.distribution", item.place), NO_BASELINE);
            }
            "string_statistics" => {
                note_others(&item, &["common", "distinct_count", "distribution"], draft);
            }
            "monitoring_config_overrides" => draft.note(
                item.place,
                "how much is let pass is the monitor's to say, by `tolerance` and `thresholds`",
            ),
            _ => draft.note(item.place, "a schema has no word for it"),
        }
    }
    if let Some(feature) = draft.feature(name, &said.place) {
        feature.feature_type = feature_type;
        // A column that is missing is a violation whatever the constraints say.
        feature.required = Some(true);
        feature.minimum = minimum.map_or(Limit::Inferred, Limit::Given);
        feature.maximum = maximum.map_or(Limit::Inferred, Limit::Given);
        feature.categories = categories.map_or(Limit::Inferred, Limit::Given);
        feature.max_null_share = nulls;
    }
}

fn note_others(item: &Item<'_>, known: &[&str], draft: &mut Draft) {
    for (key, inner) in item.entries() {
        if !known.contains(&key) {
            draft.note(inner.place, format!("a schema has no {}", shown(key)));
        }
    }
}

fn range(said: &Item<'_>, numeric: bool) -> (Option<f64>, Option<f64>) {
    if !numeric {
        return (None, None);
    }
    let statistics = said.get("numerical_statistics");
    let end = |key: &str| statistics.as_ref().and_then(|s| s.number(key));
    let non_negative = said
        .get("num_constraints")
        .and_then(|c| c.flag("is_non_negative"))
        .unwrap_or(false);
    let ends = (end("min").or(non_negative.then_some(0.0)), end("max"));
    match ends {
        (Some(low), Some(high)) if low > high => (None, None),
        ends => ends,
    }
}

/// The domain of the constraints, or the buckets of the statistics where they are all values there were.
fn categories(said: &Item<'_>, draft: &mut Draft) -> Option<Vec<String>> {
    if let Some(domains) = said
        .get("string_constraints")
        .and_then(|c| c.get("domains"))
    {
        let texts = domains.texts();
        if texts.is_none() {
            draft.note(domains.place, "a domain is a list of texts");
        }
        return texts;
    }
    let statistics = said.get("string_statistics")?;
    let buckets = statistics
        .get("distribution")
        .and_then(|d| d.get("categorical"))
        .and_then(|c| c.get("buckets"))?;
    let values: Option<Vec<String>> = buckets
        .items()
        .map(|bucket| bucket.text("value").map(str::to_owned))
        .collect();
    let values = values?;
    let complete = statistics.number("distinct_count") == Some(values.len() as f64);
    if !complete {
        draft.note(
            buckets.place,
            "the buckets are not all values there were, so they are no list of categories",
        );
    }
    complete.then_some(values)
}

/// Of constraints the share they let pass; of statistics a little more than was seen.
fn null_share(said: &Item<'_>) -> Option<f64> {
    if let Some(complete) = said.number("completeness") {
        return Some(complement(complete));
    }
    let statistics = said
        .get("numerical_statistics")
        .or(said.get("string_statistics"))?;
    let common = statistics.get("common")?;
    let (present, missing) = (common.number("num_present")?, common.number("num_missing")?);
    (present >= 0.0 && missing >= 0.0 && present + missing > 0.0)
        .then(|| usual_null_share(missing / (present + missing)))
}
