//! Evidently's data definition, and the column mapping it was before: which columns there are, by kind.

use std::collections::BTreeSet;

use super::document::{Document, Item};
use super::{Draft, SchemaFileError, shown};
use crate::domain::schema::FeatureType;

/// Lists of columns, as they are called now and as they were called in column mappings.
const LISTS: [(&str, &str, FeatureType); 4] = [
    (
        "numerical_columns",
        "numerical_features",
        FeatureType::Number,
    ),
    (
        "categorical_columns",
        "categorical_features",
        FeatureType::Category,
    ),
    ("text_columns", "text_features", FeatureType::Text),
    (
        "datetime_columns",
        "datetime_features",
        FeatureType::Timestamp,
    ),
];

pub(super) fn is_one(document: &Document) -> bool {
    let root = document.root();
    LISTS
        .iter()
        .any(|(now, before, _)| root.get(now).is_some() || root.get(before).is_some())
}

pub(super) fn read(document: &Document) -> Result<Draft, SchemaFileError> {
    let root = document.root();
    let mut draft = Draft::default();
    let answers = answers(&root);
    for (key, item) in root.entries() {
        let list = LISTS
            .iter()
            .find(|(now, before, _)| key == *now || key == *before);
        match list {
            _ if item.value.is_null() || item.value.as_str() == Some("None") => {}
            _ if is_empty(&item) => {}
            Some((_, _, kind)) => columns(&item, *kind, &answers, &mut draft),
            None => draft.note(item.place, reason(key)),
        }
    }
    Ok(draft)
}

fn is_empty(item: &Item<'_>) -> bool {
    let value = item.value;
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn reason(key: &str) -> &'static str {
    match key {
        "id_column" | "id" => "the id of a row is sent as `prediction_id`, and is no feature",
        "timestamp" | "datetime" => "the time of a row is sent as `timestamp`, and is no feature",
        "classification"
        | "regression"
        | "ranking"
        | "llm"
        | "target"
        | "prediction"
        | "task"
        | "target_names"
        | "pos_label"
        | "user_id"
        | "item_id"
        | "recommendations_type" => {
            "targets and predictions are sent as labels and predictions; the task is the model's"
        }
        "list_columns" => "rows have one value for each feature, and no lists",
        "embeddings" => "rows have one value for each feature, and no embeddings",
        _ => "a schema has no word for it",
    }
}

fn columns(list: &Item<'_>, kind: FeatureType, answers: &BTreeSet<String>, draft: &mut Draft) {
    if !list.value.is_array() {
        draft.note(list.place.clone(), "a list of columns is expected");
    }
    for item in list.items() {
        let Some(name) = item.value.as_str() else {
            draft.note(item.place, "the name of a column is a text");
            continue;
        };
        if answers.contains(name) {
            draft.note(item.place, "a target or prediction is no feature");
            continue;
        }
        if draft.knows(name) {
            let cause = format!("{:?} is in two lists; the first stands", shown(name));
            draft.note(item.place, cause);
            continue;
        }
        if let Some(feature) = draft.feature(name, &item.place) {
            feature.feature_type = Some(kind);
        }
    }
}

/// The columns that hold targets, predictions, ids and times.
fn answers(root: &Item<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |item: Option<Item<'_>>| {
        if let Some(item) = item {
            names.extend(item.value.as_str().map(str::to_owned));
            let listed = item
                .items()
                .filter_map(|i| i.value.as_str().map(str::to_owned));
            names.extend(listed);
        }
    };
    for key in [
        "id_column",
        "id",
        "timestamp",
        "datetime",
        "target",
        "prediction",
    ] {
        add(root.get(key));
    }
    for task in ["classification", "regression", "ranking"] {
        for said in root.get(task).iter().flat_map(Item::items) {
            for key in [
                "target",
                "prediction",
                "prediction_labels",
                "prediction_probas",
            ] {
                add(said.get(key));
            }
        }
    }
    names
}
