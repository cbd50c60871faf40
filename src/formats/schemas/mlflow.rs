//! The signature of an MLflow model: the columns it is called with.

use super::document::{Document, Item};
use super::{Draft, SchemaFileError, named, shown};
use crate::domain::schema::FeatureType;

pub(super) fn is_one(document: &Document) -> bool {
    let root = document.root();
    root.get("signature")
        .is_some_and(|s| s.get("inputs").is_some())
        || root.get("inputs").is_some()
        || root.get("flavors").is_some()
        || root.items().next().is_some_and(|first| is_column(&first))
}

/// A list of columns may stand alone, as `Schema.to_json` writes it.
fn is_column(item: &Item<'_>) -> bool {
    item.text("type").is_some() && (item.get("name").is_some() || item.get("tensor-spec").is_some())
}

pub(super) fn read(document: &Document) -> Result<Draft, SchemaFileError> {
    let root = document.root();
    let mut draft = Draft::default();
    let signature = root.get("signature").unwrap_or_else(|| root.clone());
    if root.get("flavors").is_some() && root.get("signature").is_none() {
        draft.note("signature", "the model was logged without a signature");
        return Ok(draft);
    }
    for (part, what) in [
        ("outputs", "what the model answers is no feature"),
        ("params", "parameters of a call are no features"),
    ] {
        if let Some(said) = signature.get(part) {
            draft.note(said.place, what);
        }
    }
    if root.value.is_array() {
        columns(&root, &mut draft);
        return Ok(draft);
    }
    let Some(inputs) = signature.get("inputs") else {
        draft.note("inputs", "the signature names no inputs");
        return Ok(draft);
    };
    match inputs.value.as_str() {
        None => columns(&inputs, &mut draft),
        Some(text) => {
            let inner = Document::inside(text).map_err(|cause| SchemaFileError::Syntax {
                format: "JSON inside the signature",
                cause: format!("{}: {cause}", inputs.place),
            })?;
            let columns_inside = Item {
                place: inputs.place,
                ..inner.root()
            };
            columns(&columns_inside, &mut draft);
        }
    }
    Ok(draft)
}

fn columns(list: &Item<'_>, draft: &mut Draft) {
    for column in list.items() {
        read_column(&column, draft);
    }
}

fn read_column(column: &Item<'_>, draft: &mut Draft) {
    let place = &match column.text("name") {
        Some(name) => named(&column.place, name),
        None => column.place.clone(),
    };
    let word = column.text("type").unwrap_or_default();
    if word == "tensor" {
        let spec = column.get("tensor-spec");
        let shape = spec.and_then(|spec| Some(spec.get("shape")?.value.to_string()));
        let shape = shown(&shape.unwrap_or_default());
        draft.note(
            place,
            format!("a tensor of shape {shape} is no column: rows have one value for each feature"),
        );
        return;
    }
    let Some(feature_type) = type_of(word) else {
        draft.note(
            place,
            format!(
                "the type {:?} holds more than one value, or bytes",
                shown(word)
            ),
        );
        return;
    };
    let Some(name) = column.text("name") else {
        draft.note(place, "a column without a name cannot be told from others");
        return;
    };
    // Before 2.6, columns were `optional`.
    let optional = column.flag("optional").unwrap_or(false);
    let required = column.flag("required").unwrap_or(!optional);
    if draft.knows(name) {
        draft.note(place, "the name occurs twice; the first stands");
        return;
    }
    if let Some(feature) = draft.feature(name, place) {
        feature.feature_type = Some(feature_type);
        feature.required = Some(required);
    }
}

fn type_of(word: &str) -> Option<FeatureType> {
    Some(match word {
        "boolean" => FeatureType::Boolean,
        "integer" | "long" => FeatureType::Integer,
        "float" | "double" => FeatureType::Number,
        "string" => FeatureType::Category,
        "datetime" => FeatureType::Timestamp,
        _ => return None,
    })
}
