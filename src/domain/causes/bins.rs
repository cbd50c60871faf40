//! Bins of a feature for the search of causes, and what they are called.
//!
//! They are made of both sides: a category that only the window has, or a value beyond all that the reference had, needs a bin of
//! its own, or it could not be named as new.

use std::collections::BTreeMap;

use crate::domain::columns::{Column, Value};
use crate::stats::estimation;

/// Bins of equal share of a number.
const NUMBER_BINS: usize = 8;
/// Numbers with at most so many different values have a bin for each.
const MOST_SINGLE_VALUES: usize = 12;
/// Categories with a bin of their own, the most frequent ones of either side.
const MOST_CATEGORIES: usize = 15;
/// A category is named only from this share of a side on.
const LEAST_SHARE: f64 = 0.005;

/// The bins of one feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FeatureBins {
    pub(super) name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// The least value, the inner edges and the greatest value of the reference; a value is at or above the edge below it.
    Range(Vec<f64>),
    Values(Vec<f64>),
    Categories(Vec<String>),
}

/// The bin of rows without a value.
const MISSING: u16 = 0;

impl FeatureBins {
    /// `None` of a feature that is neither a number nor a category on either side.
    pub(super) fn of(reference: &Column, current: &Column) -> Option<Self> {
        let (mut numbers, mut texts) = (0_usize, 0_usize);
        for value in reference.iter().chain(current.iter()) {
            numbers += usize::from(number(&value).is_some());
            texts += usize::from(category(&value).is_some());
        }
        let kind = match (numbers, texts) {
            (0, 0) => return None,
            (numbers, texts) if numbers >= texts => of_numbers(reference, current),
            _ => Kind::Categories(categories(reference, current)),
        };
        Some(Self {
            name: reference.name.clone(),
            kind,
        })
    }

    /// The bin of a value.
    pub(super) fn bin(&self, value: &Value<'_>) -> u16 {
        let place = match &self.kind {
            Kind::Categories(names) => category(value).map(|text| {
                let known = names.iter().position(|name| *name == text);
                known.unwrap_or(names.len())
            }),
            Kind::Values(values) => number(value).map(|number| {
                let known = values.iter().position(|known| *known == number);
                known.unwrap_or(values.len())
            }),
            // The greatest value itself belongs to the bin below it.
            Kind::Range(edges) => number(value).map(|number| match edges.last() {
                Some(last) if number == *last => edges.len() - 1,
                _ => edges.partition_point(|edge| *edge <= number),
            }),
        };
        place.map_or(MISSING, |place| place as u16 + 1)
    }

    /// The bin as a condition that a person reads: `carrier = AA`, `distance from 500 to 750`.
    pub(super) fn words(&self, bin: u16) -> String {
        // As a condition on rows it reads like a feature.
        let name = match self.name.as_str() {
            "prediction()" => "the prediction",
            feature => feature,
        };
        if bin == MISSING {
            return format!("{name} missing");
        }
        let place = usize::from(bin) - 1;
        match &self.kind {
            Kind::Categories(names) => match names.get(place) {
                Some(category) => format!("{name} = {category}"),
                None => format!("{name} = any other value"),
            },
            Kind::Values(values) => match values.get(place) {
                Some(value) => format!("{name} = {}", plain(*value)),
                None => format!("{name} = any other value"),
            },
            Kind::Range(edges) => match (place, edges.get(place)) {
                (0, _) => format!("{name} below {}", plain(edges[0])),
                (_, None) => format!("{name} above {}", plain(edges[edges.len() - 1])),
                (_, Some(high)) => {
                    format!(
                        "{name} from {} to {}",
                        plain(edges[place - 1]),
                        plain(*high)
                    )
                }
            },
        }
    }
}

/// The values of both sides as a model of the loss reads them: numbers with NaN for missing ones, or codes.
pub(super) fn model_columns(
    bins: &FeatureBins,
    reference: &Column,
    current: &Column,
) -> [estimation::Column; 2] {
    let sides = [reference, current];
    if !matches!(bins.kind, Kind::Categories(_)) {
        return sides.map(|side| {
            let numbers = side.iter().map(|v| number(&v).unwrap_or(f64::NAN));
            estimation::Column::Numbers(numbers.collect())
        });
    }
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    sides.map(|side| {
        let of = |value: Value<'_>| match category(&value) {
            None => u32::MAX,
            Some(text) => {
                let next = codes.len() as u32;
                *codes.entry(text).or_insert(next)
            }
        };
        estimation::Column::Categories(side.iter().map(of).collect())
    })
}

fn of_numbers(reference: &Column, current: &Column) -> Kind {
    let sorted = |column: &Column| {
        let mut values: Vec<f64> = column.iter().filter_map(|v| number(&v)).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let values = sorted(reference);
    let mut different = values.clone();
    different.extend(sorted(current));
    different.sort_unstable_by(f64::total_cmp);
    different.dedup();
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return Kind::Values(different.into_iter().take(MOST_SINGLE_VALUES).collect());
    };
    if different.len() <= MOST_SINGLE_VALUES {
        return Kind::Values(different);
    }
    let inner = (1..NUMBER_BINS).map(|bin| values[bin * values.len() / NUMBER_BINS]);
    let mut edges: Vec<f64> = std::iter::once(*first).chain(inner).collect();
    edges.push(*last);
    edges.dedup();
    Kind::Range(edges)
}

fn categories(reference: &Column, current: &Column) -> Vec<String> {
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for side in [reference, current] {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for text in side.iter().filter_map(|v| category(&v)) {
            *counts.entry(text).or_default() += 1;
        }
        let rows = side.len().max(1) as f64;
        for (text, count) in counts {
            let share = shares.entry(text).or_default();
            *share = share.max(count as f64 / rows);
        }
    }
    let mut names: Vec<(String, f64)> = shares.into_iter().collect();
    names.retain(|(_, share)| *share >= LEAST_SHARE);
    names.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    names.truncate(MOST_CATEGORIES);
    names.into_iter().map(|(name, _)| name).collect()
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number).filter(|number| number.is_finite()),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

fn category(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone().into_owned()),
        Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// A number with as many digits as tell it from its neighbours.
fn plain(value: f64) -> String {
    let size = value.abs();
    if value == value.trunc() && size < 1e9 {
        format!("{value:.0}")
    } else if (0.001..1e9).contains(&size) {
        let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        let text = format!("{value:.digits$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: impl IntoIterator<Item = f64>) -> Column {
        Column::of("x", values.into_iter().map(Value::Number))
    }

    fn texts(values: &[&'static str]) -> Column {
        Column::of("c", values.iter().map(|text| Value::Text((*text).into())))
    }

    #[test]
    fn numbers_have_bins_of_equal_share_and_one_beyond_each_end() {
        let reference = numbers((0..800).map(f64::from));
        let bins = FeatureBins::of(&reference, &numbers([-5.0, 900.0])).expect("bins");
        let of = |value| bins.bin(&Value::Number(value));
        let cases = [
            (-1.0, "x below 0"),
            (0.0, "x from 0 to 100"),
            (150.5, "x from 100 to 200"),
            (799.0, "x from 700 to 799"),
            (799.5, "x above 799"),
        ];
        for (value, words) in cases {
            assert_eq!(bins.words(of(value)), words);
        }
        assert_eq!(bins.words(bins.bin(&Value::Null)), "x missing");
        assert_eq!(bins.words(bins.bin(&Value::Number(f64::NAN))), "x missing");
    }

    #[test]
    fn few_values_have_a_bin_each_and_so_have_categories_of_either_side() {
        let bins = FeatureBins::of(&numbers([1.0, 2.0, 2.5]), &numbers([4.0])).expect("bins");
        assert_eq!(bins.words(bins.bin(&Value::Integer(4))), "x = 4");
        assert_eq!(bins.words(bins.bin(&Value::Number(2.5))), "x = 2.5");
        let bins = FeatureBins::of(&texts(&["a", "b", "a"]), &texts(&["new"])).expect("bins");
        assert_eq!(bins.words(bins.bin(&Value::Text("new".into()))), "c = new");
        assert_eq!(
            bins.words(bins.bin(&Value::Text("never".into()))),
            "c = any other value"
        );
    }

    #[test]
    fn constant_and_empty_columns_are_no_trouble() {
        let bins = FeatureBins::of(&numbers([3.0; 40]), &numbers([3.0; 40])).expect("bins");
        assert_eq!(bins.words(bins.bin(&Value::Number(3.0))), "x = 3");
        let empty = Column::of("x", (0..40).map(|_| Value::Null));
        assert_eq!(FeatureBins::of(&empty, &empty), None);
        let late = FeatureBins::of(&empty, &numbers((0..40).map(f64::from))).expect("bins");
        assert_eq!(late.bin(&Value::Null), MISSING);
        let same = numbers(std::iter::repeat_n(1.0, 700).chain((0..100).map(f64::from)));
        let bins = FeatureBins::of(&same, &same).expect("bins");
        assert_eq!(bins.words(bins.bin(&Value::Number(1.0))), "x from 1 to 99");
    }

    #[test]
    fn numbers_are_written_with_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0"),
            (1234.0, "1234"),
            (12.345_678, "12.35"),
            (0.012_345_6, "0.01235"),
            (-0.5, "-0.5"),
            (1.5e12, "1.500e12"),
        ] {
            assert_eq!(plain(value), text);
        }
    }
}
