//! Profiles counted again from raw rows, by code that shares nothing with the service's own: no sketches, no
//! merging, one row after the other.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::ledger::{Feature, Prediction};
use crate::stored::{Expectation, ProfilePlace, StoredModel, VersionAt, WindowCounts};

/// The whole numbers of a profile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Count {
    pub rows: u64,
    pub absent: u64,
    pub nulls: u64,
    pub mismatched: u64,
    pub out_of_range: u64,
    pub unseen: u64,
    pub valid: u64,
    pub cells: Option<Vec<u64>>,
    pub categories: BTreeMap<String, u64>,
}

/// Midnight of the instant's day: the base window of every model here.
pub fn window_of(at: DateTime<Utc>) -> DateTime<Utc> {
    let midnight = at.date_naive().and_hms_opt(0, 0, 0);
    midnight.expect("every day begins").and_utc()
}

/// Every profile that the model's rows make.
pub fn profiles(model: &StoredModel) -> BTreeMap<ProfilePlace, Count> {
    let mut counts: BTreeMap<ProfilePlace, Count> = BTreeMap::new();
    for row in &model.predictions {
        let start = window_of(row.content.predicted_at);
        let mut segments = vec![(String::new(), String::new())];
        let named = model.segments.iter().zip(&row.content.segments);
        segments.extend(
            named
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        for (feature, value) in values(model, &row.content) {
            for (name, segment) in &segments {
                let (version, name, segment) = (row.version.clone(), name.clone(), segment.clone());
                let place = (version, start, name, segment, feature.clone());
                let edges = model.cells.get(&feature);
                let count = counts.entry(place).or_insert_with(|| Count {
                    cells: edges.map(|edges| vec![0; edges.len() + 1]),
                    ..Count::default()
                });
                count.add(value.as_ref(), model.schema.get(&feature), edges);
            }
        }
    }
    counts
}

/// What each feature of a row counts as; nothing where a feature is expected and absent.
fn values(model: &StoredModel, row: &Prediction) -> Vec<(String, Option<Feature>)> {
    let mut names: BTreeSet<&String> = model.schema.keys().collect();
    names.extend(row.features.keys());
    let mut values: Vec<(String, Option<Feature>)> = names
        .into_iter()
        .map(|name| (name.clone(), row.features.get(name).cloned()))
        .collect();
    let answer = row.value.or(row.score);
    values.push((
        "prediction()".to_owned(),
        Some(answer.map_or(Feature::Null, Feature::Number)),
    ));
    if let Some(latency) = row.latency_ms {
        values.push(("latency()".to_owned(), Some(Feature::Number(latency))));
    }
    values
}

impl Count {
    fn add(
        &mut self,
        value: Option<&Feature>,
        expected: Option<&Expectation>,
        edges: Option<&Vec<f64>>,
    ) {
        self.rows += 1;
        let wanted = expected.map(|e| e.feature_type.as_str());
        match (value, wanted) {
            (None, _) => self.absent += 1,
            (Some(Feature::Null), _) => self.nulls += 1,
            (Some(Feature::Number(number)), None | Some("number")) => {
                self.add_number(*number, expected, edges);
            }
            (Some(Feature::Number(number)), Some("integer")) if number.fract() == 0.0 => {
                self.add_number(*number, expected, edges);
            }
            (Some(Feature::Text(text)), None | Some("category")) => {
                self.valid += 1;
                *self.categories.entry(text.clone()).or_default() += 1;
                let known = expected.and_then(|e| e.categories.as_ref());
                self.unseen += u64::from(known.is_some_and(|known| !known.contains(text)));
            }
            (Some(_), Some("number" | "integer" | "category")) => self.mismatched += 1,
            (Some(_), other) => panic!("no row was meant to have a feature of type {other:?}"),
        }
    }

    fn add_number(
        &mut self,
        number: f64,
        expected: Option<&Expectation>,
        edges: Option<&Vec<f64>>,
    ) {
        self.valid += 1;
        let is_outside = expected.is_some_and(|e| {
            e.minimum.is_some_and(|minimum| number < minimum)
                || e.maximum.is_some_and(|maximum| number > maximum)
        });
        self.out_of_range += u64::from(is_outside);
        if let (Some(cells), Some(edges)) = (&mut self.cells, edges) {
            let cell = edges.iter().filter(|edge| **edge < number).count();
            cells[cell] += 1;
        }
    }
}

/// What each base window has seen.
pub fn windows(model: &StoredModel) -> BTreeMap<VersionAt, WindowCounts> {
    let mut windows: BTreeMap<VersionAt, WindowCounts> = BTreeMap::new();
    for row in &model.predictions {
        let place = (row.version.clone(), window_of(row.content.predicted_at));
        let window = windows.entry(place).or_default();
        window.predictions += 1;
        window.errors += i64::from(row.content.error.is_some());
    }
    for outcome in &model.outcomes {
        let place = (outcome.version.clone(), window_of(outcome.predicted_at));
        windows.entry(place).or_default().labels += 1;
    }
    windows
}

/// The mean absolute error of each base window, with how many labels it is over.
pub fn errors(model: &StoredModel) -> BTreeMap<VersionAt, (f64, i64)> {
    let mut sums: BTreeMap<VersionAt, (f64, i64)> = BTreeMap::new();
    for outcome in &model.outcomes {
        let (Some(predicted), Some(label)) = (outcome.predicted.0, outcome.label.value) else {
            continue;
        };
        let place = (outcome.version.clone(), window_of(outcome.predicted_at));
        let sum = sums.entry(place).or_default();
        sum.0 += (predicted - label).abs();
        sum.1 += 1;
    }
    for (sum, labels) in sums.values_mut() {
        *sum /= f64::from(i32::try_from(*labels).expect("few labels"));
    }
    sums
}
