//! Features together: rows of numbers made of a sample's columns.
//!
//! A number stands for itself, a category for its share in the reference, a value that is missing for the
//! reference's mean. So a row is complete whatever it lacks; that values are missing more often is another
//! measure's business.

use std::collections::HashMap;

use super::{ExplainedBy, NotRead, Read, Sides, classified, explained, reading};
use crate::domain::columns::{Column, Value};
use crate::domain::measurement::Measure;
use crate::domain::sample::RowSample;
use crate::domain::schema::FeatureType;
use crate::domain::yardstick::{self, Reading as Counted};
use crate::stats::Reading;
use crate::stats::multivariate::{self, Rows};
use crate::stats::samples::Sample;

/// The most features that are looked at together; the time grows with the cube of their number.
const MOST_FEATURES: usize = 200;
/// The share of the reference's variance that its main directions are to hold.
const HELD: f64 = 0.65;
/// So many features are named among those left out.
const MOST_NAMED: usize = 5;

pub(super) fn read(sides: &Sides<'_>, measure: Measure) -> Result<Read, NotRead> {
    let table = Encoded::of(sides)?;
    let (p, q) = (&table.reference, &table.current);
    let sizes = (p.len(), q.len());
    let name = |at: usize| table.names[at].to_owned();
    Ok(match measure {
        Measure::ReconstructionErrorChange => {
            let found = multivariate::reconstruction(p, q, HELD)?;
            let change = found.change().ok_or_else(|| {
                NotRead("the reference is reconstructed without any error".to_owned())
            })?;
            let method = format!(
                "{}; {} principal components of half of the reference, errors {:.4} in the other half and {:.4} now",
                table.note, found.components, found.reference, found.current
            );
            let reading = Reading {
                p_value: Some(found.p_value),
                interval: found.interval(),
                ..reading(change, method, sizes)
            };
            (reading, explained(&found.residuals, name))
        }
        Measure::CorrelationChange => {
            let found = multivariate::correlation_change(p, q)?;
            let (one, other) = found.columns;
            let method = format!(
                "{}; Pearson's correlation of {} and {}, {:.3} in the reference and {:.3} now; Fisher's \
                 transformation, p-value times the number of pairs",
                table.note,
                name(one),
                name(other),
                found.reference,
                found.current
            );
            let reading = Reading {
                p_value: Some(found.p_value),
                interval: Some(found.interval),
                ..reading(found.current - found.reference, method, sizes)
            };
            let both = [one, other].map(|at| ExplainedBy {
                feature: name(at),
                share: 0.5,
            });
            (reading, both.into())
        }
        _ => {
            let classifier = multivariate::domain_classifier(p, q)?;
            let reading = classified(&classifier, table.note.clone(), sizes);
            (reading, explained(&classifier.weights, name))
        }
    })
}

/// The features that vary, as rows of numbers.
struct Encoded<'a> {
    names: Vec<&'a str>,
    reference: Rows,
    current: Rows,
    note: String,
}

impl<'a> Encoded<'a> {
    fn of(sides: &Sides<'a>) -> Result<Self, NotRead> {
        let mut names = Vec::new();
        let mut columns: Vec<[Vec<f64>; 2]> = Vec::new();
        let mut left_out = 0;
        let mut beyond_range = Vec::new();
        for (name, feature_type) in sides.features {
            let (Some(before), Some(now)) =
                (sides.reference.column(name), sides.current.column(name))
            else {
                continue;
            };
            let both = match encode(before, now, *feature_type) {
                Numbers::Varying(both) => both,
                Numbers::Alike => continue,
                Numbers::BeyondRange => {
                    beyond_range.push(name.as_str());
                    continue;
                }
            };
            if names.len() == MOST_FEATURES {
                left_out += 1;
                continue;
            }
            names.push(name.as_str());
            columns.push(both);
        }
        if names.is_empty() {
            let said = said_of_beyond_range(&beyond_range);
            return Err(NotRead(format!("no feature varies{said}")));
        }
        let rows = |side: usize, sample: &RowSample| {
            let row = |row: usize| columns.iter().map(move |column| column[side][row]);
            let values: Vec<f64> = (0..sample.rows()).flat_map(row).collect();
            Rows::of(&values, columns.len())
        };
        let mut note = format!(
            "{} features, a category as its share in the reference, a missing value as the reference's mean",
            names.len()
        );
        if left_out > 0 {
            note += &format!("; {left_out} more left out");
        }
        note += &said_of_beyond_range(&beyond_range);
        Ok(Self {
            reference: rows(0, sides.reference),
            current: rows(1, sides.current),
            names,
            note,
        })
    }
}

/// Both sides of a feature as numbers.
enum Numbers {
    Varying([Vec<f64>; 2]),
    /// There is but one, or none.
    Alike,
    /// They cannot be summed.
    BeyondRange,
}

/// What is left out because its numbers cannot be summed, for a sentence.
fn said_of_beyond_range(names: &[&str]) -> String {
    let (first, others) = names.split_at(names.len().min(MOST_NAMED));
    let more = match others.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    match first {
        [] => String::new(),
        first => format!(
            "; left out as beyond the range of numbers: {}{more}",
            first.join(", ")
        ),
    }
}

/// Both sides of a feature as numbers, with the reference's mean where there is none.
fn encode(before: &Column, now: &Column, feature_type: FeatureType) -> Numbers {
    let mut numbers = if feature_type.is_numeric() {
        let number = |value: Value<'_>| match yardstick::read(&value, Some(feature_type), true) {
            Counted::Number(number) if number.is_finite() => number,
            _ => f64::NAN,
        };
        [before, now].map(|column| column.iter().map(number).collect::<Vec<f64>>())
    } else {
        let shares = shares(before, feature_type);
        [before, now].map(|column| {
            let share = |value: Value<'_>| {
                let share = shares.get(category(&value, feature_type).as_deref().unwrap_or(""));
                share.copied().unwrap_or(0.0)
            };
            column.iter().map(share).collect()
        })
    };
    if numbers[0].iter().all(|number| number.is_nan()) {
        return Numbers::Alike;
    }
    let Some(mean) = Sample::of(&numbers[0]).mean() else {
        return Numbers::BeyondRange;
    };
    for number in numbers.iter_mut().flatten() {
        if number.is_nan() {
            *number = mean;
        }
    }
    let samples = numbers.each_ref().map(|side| Sample::of(side));
    let is_beyond = |sample: &Sample| !sample.is_empty() && sample.deviation().is_none();
    if samples.iter().any(is_beyond) {
        return Numbers::BeyondRange;
    }
    let varies = samples.iter().any(|sample| sample.deviation() > Some(0.0));
    if varies || samples[0].mean() != samples[1].mean() {
        Numbers::Varying(numbers)
    } else {
        Numbers::Alike
    }
}

/// The share of each category in the reference; of no category under an empty name.
fn shares(column: &Column, feature_type: FeatureType) -> HashMap<String, f64> {
    let mut shares = HashMap::new();
    let part = 1.0 / column.len().max(1) as f64;
    for value in column.iter() {
        *shares
            .entry(category(&value, feature_type).unwrap_or_default())
            .or_default() += part;
    }
    shares
}

fn category(value: &Value<'_>, feature_type: FeatureType) -> Option<String> {
    match yardstick::read(value, Some(feature_type), false) {
        Counted::Category(category) => Some(category.into_owned()),
        _ => None,
    }
}
