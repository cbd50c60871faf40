//! A suite of Great Expectations. Versions before 1 call an expectation's type `expectation_type`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::document::{Document, Item};
use super::{Draft, SchemaFileError, complement, count, named, shown, words};
use crate::domain::schema::{FeatureOverride, FeatureType, Limit};

pub(super) fn is_one(document: &Document) -> bool {
    let root = document.root();
    root.get("expectations").is_some_and(|list| {
        let first = list.items().next();
        first.map_or(root.get("meta").is_some(), |e| type_of(&e).is_some())
    })
}

fn type_of<'a>(expectation: &Item<'a>) -> Option<&'a str> {
    expectation
        .text("type")
        .or(expectation.text("expectation_type"))
}

pub(super) fn read(document: &Document) -> Result<Draft, SchemaFileError> {
    let root = document.root();
    let mut draft = Draft::default();
    for expectation in root.get("expectations").iter().flat_map(Item::items) {
        match type_of(&expectation) {
            Some(kind) => read_expectation(kind, &expectation, &mut draft),
            None => draft.note(expectation.place, "an expectation without a type"),
        }
    }
    Ok(draft)
}

fn read_expectation(kind: &str, expectation: &Item<'_>, draft: &mut Draft) {
    let place = expectation.place.clone();
    let Some(kwargs) = expectation.get("kwargs") else {
        return draft.note(place, "an expectation without `kwargs`");
    };
    if ["row_condition", "condition_parser"]
        .iter()
        .any(|key| kwargs.get(key).is_some())
    {
        return draft.note(place, "it holds for some rows only, and a schema for all");
    }
    if matches!(
        kind,
        "expect_table_columns_to_match_set" | "expect_table_columns_to_match_ordered_list"
    ) {
        return columns(&kwargs, draft);
    }
    let Some(column) = kwargs.text("column") else {
        return draft.note(place, format!("{} is not about one column", shown(kind)));
    };
    let place = named(&place, column);
    // Only a feature that something is known of is entered.
    let mut said = FeatureOverride::default();
    let carried = match kind {
        "expect_column_to_exist" => {
            said.required = Some(true);
            true
        }
        "expect_column_values_to_not_be_null" => {
            let mostly = kwargs.number("mostly").unwrap_or(1.0);
            said.max_null_share = Some(complement(mostly));
            true
        }
        "expect_column_values_to_be_between" => between(&kwargs, &mut said, draft),
        "expect_column_min_to_be_between" => {
            one_end(&kwargs, "max_value", "smallest", draft);
            end(
                &kwargs,
                "min_value",
                &mut said.minimum,
                &mut said.feature_type,
            )
        }
        "expect_column_max_to_be_between" => {
            one_end(&kwargs, "min_value", "largest", draft);
            end(
                &kwargs,
                "max_value",
                &mut said.maximum,
                &mut said.feature_type,
            )
        }
        "expect_column_values_to_be_unique" => {
            let mostly = kwargs.number("mostly").unwrap_or(1.0);
            said.max_duplicate_share = Limit::Given(complement(mostly));
            true
        }
        "expect_column_proportion_of_unique_values_to_be_between" => {
            proportion_of_unique(&kwargs, &mut said, draft)
        }
        "expect_column_unique_value_count_to_be_between" => {
            let end = |key: &str| kwargs.number(key).and_then(count);
            (said.min_distinct, said.max_distinct) = (end("min_value"), end("max_value"));
            strict_ends(&kwargs, draft);
            let is_empty = said.min_distinct.zip(said.max_distinct);
            let is_empty = is_empty.is_some_and(|(least, most)| least > most);
            !is_empty && (said.min_distinct.is_some() || said.max_distinct.is_some())
        }
        "expect_column_values_to_be_in_set" => set(&kwargs, &mut said, draft),
        "expect_column_values_to_be_of_type" => one_type(&kwargs, &mut said),
        "expect_column_values_to_be_in_type_list" => type_list(&kwargs, &mut said),
        _ => {
            let cause = format!("{}: a schema has no word for it", shown(kind));
            return draft.note(place, cause);
        }
    };
    if !carried {
        let cause = format!("{}: its values cannot be carried over", shown(kind));
        return draft.note(place, cause);
    }
    let mostly = kwargs.number("mostly").filter(|mostly| *mostly < 1.0);
    if matches!(
        kind,
        "expect_column_values_to_be_between" | "expect_column_values_to_be_in_set"
    ) {
        said.max_outside_share = mostly.map(complement);
    } else if !matches!(
        kind,
        "expect_column_values_to_not_be_null" | "expect_column_values_to_be_unique"
    ) && let Some(mostly) = mostly
    {
        draft.note(
            place.clone(),
            format!(
                "how many rows may be wrong is the monitor's to say: `tolerance: {}`",
                complement(mostly)
            ),
        );
    }
    let clash = draft
        .feature(column, &place)
        .and_then(|feature| add(feature, said));
    if let Some(clash) = clash {
        draft.note(place, clash);
    }
}

/// Puts what one expectation says beside what others said of the feature: ranges by their common part. Returns what
/// does not go together.
fn add(feature: &mut FeatureOverride, said: FeatureOverride) -> Option<&'static str> {
    feature.required = said.required.or(feature.required);
    feature.max_null_share = said.max_null_share.or(feature.max_null_share);
    feature.min_distinct = said.min_distinct.max(feature.min_distinct);
    feature.max_distinct = least(said.max_distinct, feature.max_distinct, i64::min);
    feature.max_outside_share = least(said.max_outside_share, feature.max_outside_share, f64::min);
    if let Limit::Given(share) = said.max_duplicate_share {
        let known = given(&feature.max_duplicate_share).unwrap_or(share);
        feature.max_duplicate_share = Limit::Given(share.min(known));
    }
    if let Limit::Given(low) = said.minimum {
        let known = given(&feature.minimum).unwrap_or(low);
        feature.minimum = Limit::Given(low.max(known));
    }
    if let Limit::Given(high) = said.maximum {
        let known = given(&feature.maximum).unwrap_or(high);
        feature.maximum = Limit::Given(high.min(known));
    }
    if let (Some(low), Some(high)) = (given(&feature.minimum), given(&feature.maximum))
        && low > high
    {
        (feature.minimum, feature.maximum) = (Limit::Inferred, Limit::Inferred);
        return Some("the ranges of this column leave no value; none is carried over");
    }
    match (&feature.categories, said.categories) {
        (Limit::Given(known), Limit::Given(new)) if *known != new => {
            return Some("the column has another set of values already; the first stands");
        }
        (_, Limit::Given(new)) => feature.categories = Limit::Given(new),
        _ => {}
    }
    match (feature.feature_type, said.feature_type) {
        (Some(known), Some(new)) if known != new => {
            return Some("the column has another type already; the first stands");
        }
        (known, new) => feature.feature_type = known.or(new),
    }
    None
}

/// The stricter of two limits, either of which may not have been said.
fn least<T: Copy>(one: Option<T>, other: Option<T>, lesser: fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(lesser(one, other)),
        (one, other) => one.or(other),
    }
}

fn given(limit: &Limit<f64>) -> Option<f64> {
    match limit {
        Limit::Given(limit) => Some(*limit),
        Limit::Inferred | Limit::Any => None,
    }
}

fn columns(kwargs: &Item<'_>, draft: &mut Draft) {
    let list = kwargs.get("column_set").or(kwargs.get("column_list"));
    for item in list.iter().flat_map(Item::items) {
        match item.value.as_str() {
            Some(name) => {
                if let Some(feature) = draft.feature(name, &item.place) {
                    feature.required = Some(true);
                }
            }
            None => draft.note(item.place, "the name of a column is a text"),
        }
    }
}

fn strict_ends(kwargs: &Item<'_>, draft: &mut Draft) {
    for key in ["strict_min", "strict_max"] {
        if kwargs.flag(key) == Some(true) {
            let cause = "the end of a range belongs to it; that it should not is not carried over";
            draft.note(format!("{}.{key}", kwargs.place), cause);
        }
    }
}

/// The share of different values among all: at least so many is at most so many that repeat an earlier one.
fn proportion_of_unique(kwargs: &Item<'_>, said: &mut FeatureOverride, draft: &mut Draft) -> bool {
    strict_ends(kwargs, draft);
    if kwargs.number("max_value").is_some_and(|most| most < 1.0) {
        let cause = "that values have to repeat is not part of a schema";
        draft.note(format!("{}.max_value", kwargs.place), cause);
    }
    let Some(least) = kwargs.number("min_value") else {
        return false;
    };
    said.max_duplicate_share = Limit::Given(complement(least));
    true
}

fn between(kwargs: &Item<'_>, said: &mut FeatureOverride, draft: &mut Draft) -> bool {
    strict_ends(kwargs, draft);
    let low = end(
        kwargs,
        "min_value",
        &mut said.minimum,
        &mut said.feature_type,
    );
    let high = end(
        kwargs,
        "max_value",
        &mut said.maximum,
        &mut said.feature_type,
    );
    low || high
}

/// An end of a range: a number, or a time as seconds since 1970, which also says the type.
fn end(
    kwargs: &Item<'_>,
    key: &str,
    limit: &mut Limit<f64>,
    feature_type: &mut Option<FeatureType>,
) -> bool {
    if let Some(number) = kwargs.number(key) {
        *limit = Limit::Given(number);
        return true;
    }
    let Some(at) = kwargs.text(key).and_then(instant) else {
        return false;
    };
    *limit = Limit::Given(at.timestamp() as f64);
    *feature_type = Some(FeatureType::Timestamp);
    true
}

/// A time with its offset, or a date or time of UTC.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let with_offset = || {
        DateTime::parse_from_rfc3339(text)
            .map(|at| at.to_utc())
            .ok()
    };
    let without = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let date = || {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    with_offset().or_else(|| {
        without("%Y-%m-%dT%H:%M:%S%.f")
            .or_else(|| without("%Y-%m-%d %H:%M:%S%.f"))
            .or_else(date)
            .map(|at| at.and_utc())
    })
}

fn one_end(kwargs: &Item<'_>, key: &str, which: &str, draft: &mut Draft) {
    if let Some(other) = kwargs.get(key) {
        let cause = format!("on which side of it the {which} value should lie is not carried over");
        draft.note(other.place, cause);
    }
}

fn set(kwargs: &Item<'_>, said: &mut FeatureOverride, draft: &mut Draft) -> bool {
    let Some(list) = kwargs.get("value_set") else {
        return false;
    };
    if let Some(texts) = list.texts() {
        said.feature_type = Some(FeatureType::Category);
        said.categories = Limit::Given(texts);
        return true;
    }
    let values: Vec<_> = list.items().map(|item| item.value).collect();
    if !values.is_empty() && values.iter().all(|value| value.is_boolean()) {
        said.feature_type = Some(FeatureType::Boolean);
        said.categories = Limit::Given(values.iter().map(ToString::to_string).collect());
        return true;
    }
    let numbers: Option<Vec<f64>> = values.iter().map(|value| value.as_f64()).collect();
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
        return false;
    };
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !low.is_finite() || !high.is_finite() {
        return false;
    }
    (said.minimum, said.maximum) = (Limit::Given(low), Limit::Given(high));
    draft.note(list.place, "a set of numbers is carried over as its range");
    true
}

fn one_type(kwargs: &Item<'_>, said: &mut FeatureOverride) -> bool {
    said.feature_type = kwargs
        .text("type_")
        .or(kwargs.text("type"))
        .and_then(words::feature_type);
    said.feature_type.is_some()
}

/// The type that all words of a list stand for; a number, where some are integers and some not.
fn type_list(kwargs: &Item<'_>, said: &mut FeatureOverride) -> bool {
    let list = kwargs.get("type_list");
    let types: Option<Vec<FeatureType>> = list
        .iter()
        .flat_map(Item::items)
        .map(|item| item.value.as_str().and_then(words::feature_type))
        .collect();
    let Some(types) = types else {
        return false;
    };
    let all = |of: &[FeatureType]| !types.is_empty() && types.iter().all(|t| of.contains(t));
    said.feature_type = match types.first() {
        Some(first) if all(&[*first]) => Some(*first),
        _ if all(&[FeatureType::Integer, FeatureType::Number]) => Some(FeatureType::Number),
        _ => None,
    };
    said.feature_type.is_some()
}
