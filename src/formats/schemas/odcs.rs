//! A data contract of the Open Data Contract Standard, version 3: the properties of its first table.

use super::document::{Document, Item};
use super::{Draft, SchemaFileError, named, shown, words};
use crate::domain::schema::{FeatureOverride, FeatureType, Limit};

/// Parts of a contract or a property that describe and do not constrain.
const DESCRIPTIONS: [&str; 20] = [
    "id",
    "businessName",
    "description",
    "tags",
    "examples",
    "classification",
    "encryptedName",
    "transformSourceObjects",
    "transformLogic",
    "transformDescription",
    "criticalDataElement",
    "authoritativeDefinitions",
    "customProperties",
    "physicalType",
    "partitioned",
    "partitionKeyPosition",
    "primaryKeyPosition",
    "dataGranularityDescription",
    "tenant",
    "status",
];

pub(super) fn is_one(document: &Document) -> bool {
    let root = document.root();
    root.text("kind") == Some("DataContract")
        || root.text("apiVersion").is_some_and(|v| v.starts_with('v'))
            && root.get("schema").is_some()
}

pub(super) fn read(document: &Document) -> Result<Draft, SchemaFileError> {
    let root = document.root();
    let mut draft = Draft::default();
    let version = root.text("apiVersion").unwrap_or_default();
    if !version.starts_with("v3") {
        let cause = format!(
            "version {:?} of the standard is not read; v3 is",
            shown(version)
        );
        draft.note("apiVersion", cause);
        return Ok(draft);
    }
    for (key, item) in root.entries() {
        match key {
            "apiVersion" | "kind" | "schema" | "version" => {}
            "slaProperties" => draft.note(item.place, "service levels are not part of a schema"),
            _ => draft.note(
                item.place,
                "it describes the contract and constrains no feature",
            ),
        }
    }
    for (at, table) in root.get("schema").iter().flat_map(Item::items).enumerate() {
        if at > 0 {
            let name = shown(table.text("name").unwrap_or_default());
            draft.note(
                table.place,
                format!(
                    "a model has the rows of one table; the first is read, and {name:?} is not"
                ),
            );
            continue;
        }
        for quality in table.get("quality").iter().flat_map(Item::items) {
            draft.note(
                quality.place,
                "a rule about the whole table is not part of a schema",
            );
        }
        let properties: Vec<Item<'_>> =
            (table.get("properties").iter().flat_map(Item::items)).collect();
        let keys = properties
            .iter()
            .filter(|property| property.flag("primaryKey") == Some(true));
        let whole_key = keys.count() == 1;
        for property in &properties {
            read_property(property, whole_key, &mut draft);
        }
    }
    Ok(draft)
}

/// Reads a property; `whole_key` is whether a primary key is one property, and not several together.
fn read_property(property: &Item<'_>, whole_key: bool, draft: &mut Draft) {
    let logical = property.text("name");
    // What the table calls it, where that is not its logical name.
    let physical = property.text("physicalName");
    let Some(name) = physical.or(logical) else {
        draft.note(property.place.clone(), "a property without a name");
        return;
    };
    if let Some(logical) = logical.filter(|logical| *logical != name) {
        let logical = shown(logical);
        let place = named(&property.place, name);
        draft.note(
            place,
            format!("it goes by its physicalName; {logical:?} is its logical name"),
        );
    }
    let property = &Item {
        place: named(&property.place, name),
        ..property.clone()
    };
    let logical = property.text("logicalType");
    if let Some(word @ ("object" | "array" | "map" | "vector")) = logical {
        let cause = format!("the type {word:?} holds more than one value");
        draft.note(property.place.clone(), cause);
        return;
    }
    let mut said = FeatureOverride {
        feature_type: type_of(property, draft),
        ..FeatureOverride::default()
    };
    match property.flag("required") {
        Some(true) => (said.required, said.max_null_share) = (Some(true), Some(0.0)),
        Some(false) => said.max_null_share = Some(1.0),
        None => {}
    }
    if let Some(values) = property.get("enum") {
        categories(&values, &mut said, draft);
    }
    if let Some(options) = property.get("logicalTypeOptions") {
        read_options(&options, &mut said, draft);
    }
    for rule in property.get("quality").iter().flat_map(Item::items) {
        read_quality(&rule, &mut said, draft);
    }
    let mut described = Vec::new();
    for (key, item) in property.entries() {
        match key {
            "name" | "physicalName" | "logicalType" | "required" | "enum"
            | "logicalTypeOptions" | "quality" => {}
            "unique" | "primaryKey" if item.value.as_bool() == Some(false) => {}
            "primaryKey" if !whole_key => draft.note(
                item.place,
                "a key of several properties: that none repeats by itself does not follow",
            ),
            "unique" | "primaryKey" => said.max_duplicate_share = Limit::Given(0.0),
            key if DESCRIPTIONS.contains(&key) => described.push(key),
            _ => draft.note(item.place, "a schema has no word for it"),
        }
    }
    if !described.is_empty() {
        draft.note(
            property.place.clone(),
            format!("{} describe and do not constrain", described.join(", ")),
        );
    }
    // Of a property that says nothing, the type has been noted.
    if said == FeatureOverride::default() {
        return;
    }
    if let Some(feature) = draft.feature(name, &property.place) {
        let name = std::mem::take(&mut feature.feature);
        *feature = FeatureOverride {
            feature: name,
            ..said
        };
    }
}

fn type_of(property: &Item<'_>, draft: &mut Draft) -> Option<FeatureType> {
    let physical = || property.text("physicalType").and_then(words::feature_type);
    let Some(word) = property.text("logicalType") else {
        let found = physical();
        if found.is_none() {
            draft.note(property.place.clone(), "its type is not said, or not known");
        }
        return found;
    };
    let found = words::feature_type(word);
    if found.is_none() {
        let cause = format!("features have no type like {:?}", shown(word));
        draft.note(format!("{}.logicalType", property.place), cause);
    }
    found
}

fn categories(values: &Item<'_>, said: &mut FeatureOverride, draft: &mut Draft) {
    match (values.texts(), said.feature_type) {
        (Some(texts), Some(FeatureType::Category) | None) => {
            said.categories = Limit::Given(texts);
            said.feature_type = Some(FeatureType::Category);
        }
        _ => draft.note(values.place.clone(), "only texts are listed as categories"),
    }
}

fn read_options(options: &Item<'_>, said: &mut FeatureOverride, draft: &mut Draft) {
    let numeric = matches!(
        said.feature_type,
        Some(FeatureType::Integer | FeatureType::Number)
    );
    for (key, item) in options.entries() {
        let number = item.value.as_f64().filter(|n| n.is_finite() && numeric);
        match (key, number) {
            ("minimum", Some(low)) => said.minimum = Limit::Given(low),
            ("maximum", Some(high)) => said.maximum = Limit::Given(high),
            ("exclusiveMinimum" | "exclusiveMaximum", _) if item.value.as_bool() == Some(false) => {
            }
            ("exclusiveMinimum" | "exclusiveMaximum", _) => draft.note(
                item.place,
                "the end of a range belongs to it; that it should not is not carried over",
            ),
            _ => draft.note(item.place, format!("a schema has no {}", shown(key))),
        }
    }
    if let (Limit::Given(low), Limit::Given(high)) = (&said.minimum, &said.maximum)
        && low > high
    {
        (said.minimum, said.maximum) = (Limit::Inferred, Limit::Inferred);
        draft.note(
            options.place.clone(),
            "the range leaves no value; it is not carried over",
        );
    }
}

/// Rules of the library that are about nulls, repeated values or listed values; whatever else they say is the monitors' to judge.
fn read_quality(rule: &Item<'_>, said: &mut FeatureOverride, draft: &mut Draft) {
    let metric = rule
        .text("metric")
        .or(rule.text("rule"))
        .unwrap_or_default();
    let carried = match metric {
        "nullValues" | "missingValues" | "nullCheck" => most_of_all(rule).map(|share| {
            said.max_null_share = Some(share);
        }),
        "duplicateValues" | "duplicateCount" => most_of_all(rule).map(|share| {
            said.max_duplicate_share = Limit::Given(share);
        }),
        "invalidValues" | "validValues" => valid_values(rule).map(|values| {
            categories(&values, said, draft);
        }),
        _ => None,
    };
    if carried.is_none() {
        let what = rule.text("type").unwrap_or("library");
        let cause = format!(
            "a rule of quality ({}) that a schema has no word for",
            shown(if metric.is_empty() { what } else { metric })
        );
        draft.note(rule.place.clone(), cause);
    }
}

fn valid_values<'a>(rule: &Item<'a>) -> Option<Item<'a>> {
    rule.get("arguments")
        .and_then(|arguments| arguments.get("validValues"))
        .or(rule.get("validValues"))
}

/// The share of rows a rule lets pass: none, or so many percent.
fn most_of_all(rule: &Item<'_>) -> Option<f64> {
    let most = [
        "mustBe",
        "mustBeLessThan",
        "mustBeLessThanOrEqualTo",
        "mustBeLessOrEqualTo",
    ]
    .iter()
    .find_map(|key| rule.number(key))?;
    let percent = rule.text("unit") == Some("percent");
    (most == 0.0 || percent).then(|| (most / 100.0).clamp(0.0, 1.0))
}
