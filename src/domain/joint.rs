//! Columns together over days: how features and the prediction go with each other, and whether the rows as a whole are still
//! those of the baseline, told as measurements.
//!
//! The statistics are `stats::multivariate::days`; here is which columns take part, how their values become numbers, and what a
//! finding says. The service and comparisons of files both come here, so that they cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::columns::{Column, Value};
use super::drift::Judged;
use super::measurement::{ExplainedBy, Measure, Recipe, Status};
use super::promise::Promise;
use super::sample::{SAMPLE_ROWS, SEED};
use super::schema::FeatureType;
use super::yardstick::{self, Reading};
use crate::stats::PValue;
use crate::stats::multivariate::NotComparable;
use crate::stats::multivariate::comoments::PairChange;
pub use crate::stats::multivariate::days::{ColumnChoice, ColumnDays, DaySums, JointReference};
use crate::stats::multivariate::days::{EARLIER_DAYS, ShapeChange};

/// The chance that each of the two measures may have of a finding on a day on which nothing happened: a tenth of what the
/// drift detector may take for all features.
pub const ALPHA: f64 = 1e-4;
/// A change of a correlation by less is not reported.
pub const LEAST_CHANGE: f64 = 0.05;
/// How many pairs a finding names.
const NAMED: usize = 5;

/// What a measure of columns together over days went by, stored beside the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointRecipe {
    /// The length of the window that decided, in days, and its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_days: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The pairs whose correlation has changed, the clearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<ChangedPair>,
    /// How many columns were looked at, and how many more there are than can be.
    pub columns: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// What the p-value is held against.
    pub alpha: f64,
    pub reference_days: usize,
    /// Whether the window is further from the baseline than each of the baseline's days is from the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_beyond_all_days: Option<bool>,
    /// The smallest changes of a correlation that would be seen in so many days, with a chance of 90 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smallest: Vec<(usize, f64)>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Two columns whose correlation has changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedPair {
    pub features: (String, String),
    pub reference: f64,
    pub current: f64,
    pub p_value: f64,
    pub days: usize,
}

/// Whether values of a type have an order, which a correlation of ranks needs. Of two values either order will do.
#[must_use]
pub fn is_ordered(feature_type: FeatureType) -> bool {
    matches!(
        feature_type,
        FeatureType::Number | FeatureType::Integer | FeatureType::Boolean
    )
}

/// A column's values as numbers; NaN for what is missing or of another type.
#[must_use]
pub fn numbers(column: &Column, feature_type: FeatureType) -> Vec<f64> {
    let number = |value: Value<'_>| match yardstick::read(&value, Some(feature_type), true) {
        Reading::Number(number) => number,
        Reading::Category(category) => f64::from(u8::from(category == "true")),
        Reading::Absent | Reading::Null | Reading::Mismatch => f64::NAN,
    };
    column.iter().map(number).collect()
}

/// Those of some columns that take part: what has an order, and the model's output first, so that of more columns than can be
/// looked at together it is not left out.
pub fn taking_part<C>(
    columns: impl IntoIterator<Item = (C, FeatureType)>,
    is_output: impl Fn(&C) -> bool,
) -> Vec<(C, FeatureType)> {
    let mut part: Vec<(C, FeatureType)> = (columns.into_iter())
        .filter(|(_, feature_type)| is_ordered(*feature_type))
        .collect();
    part.sort_by_key(|(column, _)| !is_output(column));
    part
}

/// Of a day of a baseline with so many rows every how many-th is taken, so that it has no more than `most`.
#[must_use]
pub fn step(rows: usize, most: usize) -> usize {
    rows.div_ceil(most.max(1)).max(1)
}

/// Learns from the rows of each of a baseline's days, given by their places. Of a day with more than [`SAMPLE_ROWS`] rows every
/// second, third … is taken.
///
/// # Errors
/// With fewer than two columns that vary, and with fewer than seven days of twenty rows or more.
pub fn reference(
    columns: &[(&Column, FeatureType)],
    days: &BTreeMap<i64, Vec<usize>>,
) -> Result<JointReference, NotComparable> {
    let by_day = |(column, feature_type): &(&Column, FeatureType)| ColumnDays {
        name: column.name.clone(),
        days: (days.values())
            .map(|rows| {
                let some = rows.iter().step_by(step(rows.len(), SAMPLE_ROWS));
                let some: Vec<usize> = some.copied().collect();
                numbers(&column.select(&some), *feature_type)
            })
            .collect(),
    };
    JointReference::fit(columns.iter().map(by_day), SEED)
}

/// The days that are judged together with one of them: it and those before it, but none from before the end of the baseline.
/// `None` for a baseline without days.
#[must_use]
pub fn days_until(number: i64, baseline: Option<&RangeInclusive<i64>>) -> RangeInclusive<i64> {
    let first = number - EARLIER_DAYS;
    match baseline {
        Some(days) if *days.end() < number => first.max(days.end() + 1)..=number,
        _ => first..=number,
    }
}

/// What is said of the last of these days by each of the measures, and whether that is a finding while the days before said
/// nothing by it: day after day of the same finding need not be explained again.
#[must_use]
pub fn judged_today(
    reference: &JointReference,
    measures: &[Measure],
    days: &BTreeMap<i64, DaySums>,
    (least_rows, is_holiday): (u64, bool),
) -> Vec<(Judged, bool)> {
    let mut before = days.clone();
    before.pop_last();
    let of = |measure: &Measure| {
        let today = judged(reference, *measure, days, least_rows);
        if is_holiday {
            return (on_a_holiday(today), false);
        }
        let is_found = |judged: &Judged| judged.status == Status::Drift;
        let is_new =
            is_found(&today) && !is_found(&judged(reference, *measure, &before, least_rows));
        (today, is_new)
    };
    measures.iter().map(of).collect()
}

/// A day that is known to be different is no finding.
fn on_a_holiday(mut judged: Judged) -> Judged {
    if judged.status == Status::Drift {
        judged.status = Status::Ok;
        let found = judged.recipe.detail.take().unwrap_or_default();
        judged.recipe.detail = Some(format!("on a holiday: {found}"));
    }
    judged
}

/// Says which columns a classifier tells the day's rows from the baseline's by, if it can. What was found stands whether or not
/// they can be told apart.
pub fn explain(recipe: &mut Recipe, classifier: &Judged) {
    let Some(area) = classifier.value else { return };
    let found = recipe.detail.take().unwrap_or_default();
    let mut words = format!(
        "{found}; a classifier tells the day's rows from the baseline's with an area of {area:.2} (0.5 is not at all)"
    );
    // What it leans on while it only guesses means nothing.
    if classifier.interval.is_some_and(|(low, _)| low > 0.5) {
        let columns = classifier.recipe.explained_by.iter().take(3);
        let columns: Vec<&str> = columns.map(|by| by.feature.as_str()).collect();
        words += &format!(", mostly by {}", columns.join(", "));
        if recipe.explained_by.is_empty() {
            recipe
                .explained_by
                .clone_from(&classifier.recipe.explained_by);
        }
    }
    recipe.detail = Some(words);
}

/// What is said of the last of these days by one of the two measures.
#[must_use]
pub fn judged(
    reference: &JointReference,
    measure: Measure,
    days: &BTreeMap<i64, DaySums>,
    least_rows: u64,
) -> Judged {
    let today = days.last_key_value().map_or(0, |(_, sums)| sums.rows());
    if today < least_rows.max(1) {
        let cause = match today {
            0 => "the day has no rows".to_owned(),
            _ => format!("fewer than {least_rows} rows"),
        };
        return unsaid(measure, Status::Insufficient, cause);
    }
    let judged = if measure == Measure::CopulaCorrelationChange {
        reference
            .pairs(days)
            .map(|pairs| of_pairs(reference, &pairs, days))
    } else {
        reference
            .shape(days)
            .map(|shape| shape.map(|shape| of_shape(reference, shape)))
    };
    match judged {
        Ok(Some(judged)) => judged,
        Ok(None) => unsaid(measure, Status::Insufficient, "too few rows".to_owned()),
        Err(cause) => unsaid(measure, Status::Error, cause.to_string()),
    }
}

/// What stands for a value that there is not.
#[must_use]
pub fn unsaid(measure: Measure, status: Status, cause: String) -> Judged {
    Judged {
        measure,
        value: None,
        interval: None,
        p_value: None,
        status,
        recipe: Recipe {
            method: method(measure).to_owned(),
            cause: Some(cause),
            ..Recipe::default()
        },
    }
}

fn method(measure: Measure) -> &'static str {
    if measure == Measure::CopulaCorrelationChange {
        "Pearson's correlations of normal scores of frozen bins, over windows of 1, 3, 7 and 14 days, with the variance of the \
         baseline's days; a missing value is the mean"
    } else {
        "maximum mean discrepancy of normal scores of frozen bins by 256 random Fourier features, over windows of 1, 3, 7 and \
         14 days, held against the baseline's days"
    }
}

fn recipe_of(reference: &JointReference) -> JointRecipe {
    JointRecipe {
        window_days: None,
        rows: None,
        pairs: Vec::new(),
        columns: reference.columns().count(),
        left_out: reference.left_out(),
        alpha: ALPHA,
        reference_days: reference.days(),
        is_beyond_all_days: None,
        smallest: Vec::new(),
    }
}

fn has_changed(pair: &PairChange) -> bool {
    pair.p_value.value() < ALPHA && (pair.current - pair.reference).abs() >= LEAST_CHANGE
}

/// Nothing without pairs.
fn of_pairs(
    reference: &JointReference,
    pairs: &[PairChange],
    days: &BTreeMap<i64, DaySums>,
) -> Option<Judged> {
    let names: Vec<&str> = reference.columns().collect();
    let changed: Vec<&PairChange> = pairs.iter().filter(|pair| has_changed(pair)).collect();
    let deciding = changed.first().copied().or(pairs.first())?;
    let told = |pair: &PairChange| ChangedPair {
        features: (
            names[pair.columns.0].to_owned(),
            names[pair.columns.1].to_owned(),
        ),
        reference: pair.reference,
        current: pair.current,
        p_value: pair.p_value.value(),
        days: pair.days,
    };
    let usual: u64 = days.values().map(DaySums::rows).sum::<u64>() / days.len().max(1) as u64;
    let recipe = JointRecipe {
        window_days: Some(deciding.days),
        pairs: changed.iter().take(NAMED).map(|pair| told(pair)).collect(),
        smallest: smallest(reference, usual),
        ..recipe_of(reference)
    };
    let is_found = !changed.is_empty();
    let promise = promise_of_pairs(&recipe);
    Some(Judged {
        measure: Measure::CopulaCorrelationChange,
        value: Some(deciding.current - deciding.reference),
        interval: Some(deciding.interval),
        p_value: Some(deciding.p_value.value()),
        status: if is_found { Status::Drift } else { Status::Ok },
        recipe: Recipe {
            method: method(Measure::CopulaCorrelationChange).to_owned(),
            threshold: Some(LEAST_CHANGE),
            explained_by: columns_of(&recipe.pairs),
            detail: Some(words_of_pairs(&recipe, &promise, changed.len())),
            promise: Some(promise),
            joint: Some(recipe),
            ..Recipe::default()
        },
    })
}

fn of_shape(reference: &JointReference, shape: ShapeChange) -> Judged {
    let is_beyond = shape.distance.is_beyond_all_days;
    let is_found = shape.p_value.value() < ALPHA && is_beyond;
    let recipe = JointRecipe {
        window_days: Some(shape.days),
        rows: Some(shape.rows),
        is_beyond_all_days: Some(is_beyond),
        ..recipe_of(reference)
    };
    let finding = if is_found {
        format!(
            "rows of {} are further from the baseline's than those of any of its {} days are from the others",
            over(shape.days),
            recipe.reference_days
        )
    } else {
        "rows as a whole are no further from the baseline's than its days are from each other"
            .to_owned()
    };
    Judged {
        measure: Measure::RandomFeaturesMmd,
        value: Some(shape.distance.squared),
        interval: Some(shape.distance.interval),
        p_value: Some(shape.p_value.value()),
        status: if is_found { Status::Drift } else { Status::Ok },
        recipe: Recipe {
            method: method(Measure::RandomFeaturesMmd).to_owned(),
            noise_floor: Some(shape.distance.usual),
            threshold: Some(shape.distance.usual),
            detail: Some(format!("{finding}; {}", by_chance())),
            promise: Some(Promise {
                errs: by_chance(),
                sees: "what is further from the baseline than each of its days is from the others; which change that takes \
                       depends on the columns it is in"
                    .to_owned(),
            }),
            joint: Some(recipe),
            ..Recipe::default()
        },
    }
}

fn smallest(reference: &JointReference, rows_per_day: u64) -> Vec<(usize, f64)> {
    let Some(alpha) = PValue::from_ln(ALPHA.ln()) else {
        return Vec::new();
    };
    let of = |days: usize| {
        let change = reference.smallest_change(days, rows_per_day as f64, alpha)?;
        Some((days, change.tanh().max(LEAST_CHANGE)))
    };
    [1, 7, 28].into_iter().filter_map(of).collect()
}

/// The columns of the pairs, each with its part of them.
fn columns_of(pairs: &[ChangedPair]) -> Vec<ExplainedBy> {
    let all = || {
        pairs
            .iter()
            .flat_map(|pair| [&pair.features.0, &pair.features.1])
    };
    let whole = 2.0 * pairs.len() as f64;
    let mut seen = BTreeSet::new();
    let first_of_each = all().filter(|name| seen.insert(name.as_str()));
    first_of_each
        .map(|name| ExplainedBy {
            feature: name.clone(),
            share: all().filter(|other| *other == name).count() as f64 / whole,
        })
        .collect()
}

fn over(days: usize) -> String {
    match days {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// How often a finding of either measure is chance, in words.
#[must_use]
pub fn by_chance() -> String {
    format!(
        "by chance about one such finding in {:.0} years of a model",
        1.0 / (ALPHA * 365.0)
    )
}

fn words_of_pairs(recipe: &JointRecipe, promise: &Promise, found: usize) -> String {
    let mut pairs: Vec<String> = (recipe.pairs.iter())
        .map(|pair| {
            format!(
                "correlation of {} and {} from {:.2} to {:.2} over {}",
                pair.features.0,
                pair.features.1,
                pair.reference,
                pair.current,
                over(pair.days)
            )
        })
        .collect();
    if found > recipe.pairs.len() {
        pairs.push(format!("{} more pairs", found - recipe.pairs.len()));
    }
    if pairs.is_empty() {
        pairs.push("no correlation has changed beyond chance and size".to_owned());
    }
    let mut parts = vec![pairs.join(", "), promise.errs.clone()];
    if !recipe.smallest.is_empty() {
        parts.push(promise.sees.clone());
    }
    parts.join("; ")
}

fn promise_of_pairs(recipe: &JointRecipe) -> Promise {
    let list = |of: &dyn Fn(&(usize, f64)) -> String| {
        let texts: Vec<String> = recipe.smallest.iter().map(of).collect();
        texts.join("/")
    };
    let sees = if recipe.smallest.is_empty() {
        "no change of a correlation would be seen on so few rows".to_owned()
    } else {
        format!(
            "smallest change of a correlation seen in {} days: {}",
            list(&|(days, _)| days.to_string()),
            list(&|(_, change)| format!("{change:.2}"))
        )
    };
    Promise {
        errs: by_chance(),
        sees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day's rows of three columns, two of which go together in that share of the rows.
    fn rows(day: i64, together: f64) -> Vec<Column> {
        let mixed = |seed: i64| {
            let hash = crate::stats::thinning::mixed(seed.cast_unsigned());
            (hash >> 11) as f64 / (1_u64 << 53) as f64
        };
        let value = |row: i64, column: i64| mixed((day * 1_000 + row) * 8 + column);
        let first = |row: i64| 200.0 * value(row, 0);
        let second = |row: i64| {
            let follows = value(row, 3) < together;
            if follows {
                first(row) / 200.0
            } else {
                value(row, 1)
            }
        };
        vec![
            Column::of("distance", (0..300).map(|row| Value::Number(first(row)))),
            Column::of("delay", (0..300).map(|row| Value::Number(second(row)))),
            Column::of(
                "is_late",
                (0..300).map(|row| Value::Boolean(value(row, 2) < 0.3)),
            ),
        ]
    }

    const TYPES: [FeatureType; 3] = [
        FeatureType::Number,
        FeatureType::Number,
        FeatureType::Boolean,
    ];

    fn fitted(days: i64) -> Result<JointReference, NotComparable> {
        let by_day: Vec<Vec<Column>> = (0..days).map(|day| rows(day, 0.0)).collect();
        let columns: Vec<Column> = (0..3)
            .map(|at| {
                let values = by_day.iter().flat_map(|columns| columns[at].iter());
                Column::of(by_day[0][at].name.clone(), values.collect::<Vec<_>>())
            })
            .collect();
        let typed: Vec<(&Column, FeatureType)> = columns.iter().zip(TYPES).collect();
        let places = (0..days).map(|day| {
            let first = usize::try_from(day).expect("small") * 300;
            (day, (first..first + 300).collect())
        });
        reference(&typed, &places.collect())
    }

    fn lived(reference: &JointReference, day: i64, together: f64) -> BTreeMap<i64, DaySums> {
        let columns: Vec<Vec<f64>> = (rows(day, together).iter().zip(TYPES))
            .map(|(column, of)| numbers(column, of))
            .collect();
        BTreeMap::from([(day, reference.day(&columns).expect("the columns"))])
    }

    #[test]
    fn a_finding_names_the_pair_how_often_it_errs_and_what_it_would_miss() {
        let reference = fitted(20).expect("days");
        let days = lived(&reference, 100, 0.5);
        let found = judged(&reference, Measure::CopulaCorrelationChange, &days, 50);
        assert_eq!(found.status, Status::Drift, "{found:?}");
        let value = found.value.expect("a value");
        let (low, high) = found.interval.expect("an interval");
        assert!(value > 0.3 && low < value && value < high, "{found:?}");
        let words = found.recipe.detail.expect("words");
        assert!(
            words.starts_with("correlation of distance and delay from ")
                && words.contains("; by chance about one such finding in 27 years of a model; ")
                && words.contains("smallest change of a correlation seen in 1/7/28 days: 0."),
            "{words}"
        );
        let shares: Vec<(&str, f64)> = (found.recipe.explained_by.iter())
            .map(|by| (by.feature.as_str(), by.share))
            .collect();
        assert_eq!(shares, [("distance", 0.5), ("delay", 0.5)]);
        let recipe = found.recipe.joint.expect("a recipe");
        assert_eq!((recipe.columns, recipe.reference_days), (3, 20));
        assert_eq!(recipe.pairs.len(), 1);

        let quiet = lived(&reference, 101, 0.0);
        for measure in Measure::OVER_DAYS_TOGETHER {
            let told = judged(&reference, measure, &quiet, 50);
            assert_eq!(told.status, Status::Ok, "{told:?}");
            assert!(told.p_value.expect("a p-value") > 1e-3);
        }
    }

    #[test]
    fn rows_of_another_shape_are_found_as_a_whole() {
        let reference = fitted(60).expect("days");
        let days = lived(&reference, 200, 1.0);
        let found = judged(&reference, Measure::RandomFeaturesMmd, &days, 50);
        assert_eq!(found.status, Status::Drift, "{found:?}");
        let floor = found.recipe.noise_floor.expect("a noise floor");
        assert!(found.value.expect("a value") > 3.0 * floor, "{floor}");
        let words = found.recipe.detail.expect("words");
        assert!(words.starts_with("rows of 1 day are further"), "{words}");
    }

    #[test]
    fn too_few_rows_and_days_are_insufficient() {
        assert_eq!(fitted(6), Err(NotComparable::TooFewReferenceRows));
        let reference = fitted(8).expect("days");
        let measure = Measure::CopulaCorrelationChange;
        let nothing = judged(&reference, measure, &BTreeMap::new(), 50);
        assert_eq!(nothing.status, Status::Insufficient);
        assert_eq!(nothing.recipe.cause.as_deref(), Some("the day has no rows"));
        let few = judged(&reference, measure, &lived(&reference, 100, 0.0), 500);
        assert_eq!(few.recipe.cause.as_deref(), Some("fewer than 500 rows"));
    }

    #[test]
    fn the_output_comes_first_and_what_has_no_order_takes_no_part() {
        let columns = [
            ("distance", FeatureType::Number),
            ("carrier", FeatureType::Category),
            ("is_late", FeatureType::Boolean),
            ("score", FeatureType::Number),
        ];
        let part = taking_part(columns, |name| *name == "score");
        let names: Vec<&str> = part.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["score", "distance", "is_late"]);
    }

    #[test]
    fn days_are_judged_with_those_since_the_baseline_and_only_the_first_of_a_finding_is_new() {
        assert_eq!(days_until(100, None), 87..=100);
        assert_eq!(days_until(100, Some(&(60..=80))), 87..=100);
        assert_eq!(days_until(100, Some(&(60..=95))), 96..=100);
        assert_eq!(days_until(50, Some(&(60..=95))), 37..=50);
        assert_eq!((step(4_000, 4_000), step(4_001, 4_000)), (1, 2));
        assert_eq!((step(0, 4_000), step(10, 0)), (1, 10));

        let reference = fitted(20).expect("days");
        let mut days = lived(&reference, 100, 0.0);
        let today = |days: &BTreeMap<i64, DaySums>, is_holiday| {
            let measures = &Measure::OVER_DAYS_TOGETHER;
            let judged = judged_today(&reference, measures, days, (50, is_holiday));
            (judged[0].0.status, judged[0].1)
        };
        assert_eq!(today(&days, false), (Status::Ok, false));
        days.extend(lived(&reference, 101, 0.5));
        assert_eq!(today(&days, false), (Status::Drift, true));
        assert_eq!(today(&days, true), (Status::Ok, false));
        days.extend(lived(&reference, 102, 0.5));
        assert_eq!(today(&days, false), (Status::Drift, false));
    }

    #[test]
    fn a_classifier_that_guesses_names_no_columns() {
        let told = |area: f64| {
            let mut classifier = unsaid(Measure::DomainClassifierAuc, Status::Ok, String::new());
            classifier.value = Some(area);
            classifier.interval = Some((area - 0.1, area + 0.1));
            classifier.recipe.explained_by = vec![ExplainedBy {
                feature: "weight".to_owned(),
                share: 1.0,
            }];
            let mut recipe = Recipe {
                detail: Some("found".to_owned()),
                ..Recipe::default()
            };
            explain(&mut recipe, &classifier);
            (recipe.detail.unwrap_or_default(), recipe.explained_by.len())
        };
        let guess = "found; a classifier tells the day's rows from the baseline's with an area of 0.52 (0.5 is not at all)";
        assert_eq!(told(0.52), (guess.to_owned(), 0));
        let (sure, columns) = told(0.8);
        assert!(
            sure.ends_with(", mostly by weight") && columns == 1,
            "{sure}"
        );
    }

    #[test]
    fn flags_are_numbers_and_what_is_of_another_type_is_missing() {
        let values = [
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Null,
            Value::Number(2.0),
        ];
        let column = Column::of("flag", values);
        let read = numbers(&column, FeatureType::Boolean);
        assert_eq!(read[..2], [1.0, 0.0]);
        assert!(read[2].is_nan() && read[3].is_nan());
        assert!(!is_ordered(FeatureType::Category) && !is_ordered(FeatureType::Timestamp));
    }
}
