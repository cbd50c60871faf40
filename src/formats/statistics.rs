//! SageMaker's `statistics.json` as rows for a baseline: the nearest thing to the training data where these are gone.
//!
//! Each feature gets the values its own statistics tell, in as many rows as there were up to [`MOST_ROWS`], in an order
//! that has nothing to do with that of the others. So what is about single features can be measured against it, to the
//! accuracy of the sketch; what goes with what it cannot tell, nor when rows were, nor what was predicted and true.

use serde::Deserialize;

use super::{FormatError, ReferenceRows};
use crate::domain::columns::{Column, Value};
use crate::domain::names;
use crate::domain::row_hashes::{hash_text, mix};

/// A sketch has some thousand items; more rows would repeat them.
const MOST_ROWS: u64 = 20_000;

#[derive(Deserialize)]
struct Statistics {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    name: String,
    inferred_type: Option<String>,
    numerical_statistics: Option<Numbers>,
    string_statistics: Option<Strings>,
}

#[derive(Deserialize)]
struct Common {
    num_present: f64,
    num_missing: f64,
}

#[derive(Deserialize)]
struct Numbers {
    common: Common,
    min: Option<f64>,
    max: Option<f64>,
    distribution: Option<NumberDistribution>,
}

#[derive(Deserialize)]
struct NumberDistribution {
    kll: Option<Kll>,
}

#[derive(Deserialize)]
struct Kll {
    #[serde(default)]
    buckets: Vec<Bucket>,
    sketch: Option<Sketch>,
}

#[derive(Deserialize)]
struct Bucket {
    lower_bound: f64,
    upper_bound: f64,
    count: f64,
}

/// Levels of items; one of level `i`, from 0, stands for `2^i` values.
#[derive(Deserialize)]
struct Sketch {
    data: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Strings {
    common: Common,
    distinct_count: Option<f64>,
    distribution: Option<StringDistribution>,
}

#[derive(Deserialize)]
struct StringDistribution {
    categorical: Option<Categorical>,
}

#[derive(Deserialize)]
struct Categorical {
    buckets: Vec<CategoryBucket>,
}

#[derive(Deserialize)]
struct CategoryBucket {
    value: String,
    count: f64,
}

/// The rows that the body's statistics stand for; nothing when it is not such statistics.
pub(super) fn rows(body: &[u8]) -> Option<Result<ReferenceRows, FormatError>> {
    let statistics: Statistics = serde_json::from_slice(body).ok()?;
    let told = |feature: &Feature| {
        feature.numerical_statistics.is_some() || feature.string_statistics.is_some()
    };
    (!statistics.features.is_empty() && statistics.features.iter().all(told))
        .then(|| of_statistics(&statistics))
}

fn of_statistics(statistics: &Statistics) -> Result<ReferenceRows, FormatError> {
    let commons = statistics.features.iter().filter_map(Feature::common);
    let most = commons.map(|common| common.num_present + common.num_missing);
    let rows = most.fold(0.0, f64::max).min(MOST_ROWS as f64) as usize;
    let mut features = Vec::new();
    let mut left_out = Vec::new();
    for feature in &statistics.features {
        match feature.column(rows) {
            Ok(column) => features.push(column),
            Err(cause) => left_out.push(format!("{}: {cause}", feature.name)),
        }
    }
    if features.is_empty() {
        return Err(FormatError::Json {
            byte: 0,
            cause: format!(
                "the statistics have no feature a baseline can be made of ({})",
                left_out.join("; ")
            ),
        });
    }
    Ok(ReferenceRows {
        times: vec![None; rows],
        features,
        outputs: vec![None; rows],
        labels: vec![None; rows],
        of_statistics: Some(left_out),
    })
}

impl Feature {
    fn common(&self) -> Option<&Common> {
        let of_numbers = self.numerical_statistics.as_ref().map(|s| &s.common);
        of_numbers.or(self.string_statistics.as_ref().map(|s| &s.common))
    }

    fn column(&self, rows: usize) -> Result<Column, &'static str> {
        if names::is_about_row(&self.name) || names::is_answer(&self.name) {
            return Err("ids, times, predictions and labels are told row by row or not at all");
        }
        let common = self.common().ok_or("nothing is told of it")?;
        let all = common.num_present + common.num_missing;
        let usable = common.num_present > 0.0 && common.num_missing >= 0.0 && all.is_finite();
        if !usable {
            return Err("it has no values");
        }
        let present = (rows as f64 * common.num_present / all).round() as usize;
        let values = match (&self.numerical_statistics, &self.string_statistics) {
            (Some(numbers), _) => {
                let values = numbers.values(present)?.into_iter();
                let whole = self.inferred_type.as_deref() == Some("Integral");
                values
                    .map(|value| match value.round() {
                        round if whole && round.abs() < 9e15 => Value::Integer(round as i64),
                        _ => Value::Number(value),
                    })
                    .collect()
            }
            (None, Some(strings)) => strings.values(present)?,
            (None, None) => return Err("nothing is told of it"),
        };
        let mut values: Vec<Value<'_>> = values;
        values.resize(rows, Value::Null);
        let salt = hash_text(&self.name);
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_unstable_by_key(|row| mix(salt, *row as u64));
        let shuffled = order.into_iter().map(|row| values[row].clone());
        Ok(Column::of(names::canonical(&self.name), shuffled))
    }
}

impl Numbers {
    /// So many values, evenly spread over the distribution: from the sketch, else from the buckets.
    fn values(&self, count: usize) -> Result<Vec<f64>, &'static str> {
        let kll = self.distribution.as_ref().and_then(|d| d.kll.as_ref());
        let kll = kll.ok_or("its distribution is not told")?;
        let levels = kll
            .sketch
            .iter()
            .flat_map(|sketch| sketch.data.iter().enumerate());
        let mut items: Vec<(f64, f64)> = levels
            .flat_map(|(level, items)| {
                let weight = 2.0_f64.powi(i32::try_from(level).unwrap_or(i32::MAX));
                items.iter().map(move |item| (*item, weight))
            })
            .filter(|(item, weight)| item.is_finite() && weight.is_finite())
            .collect();
        items.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut values = if items.is_empty() {
            spread(
                count,
                kll.buckets
                    .iter()
                    .map(|b| (b.count, (b.lower_bound, b.upper_bound))),
            )
        } else {
            spread(
                count,
                items.iter().map(|(item, weight)| (*weight, (*item, *item))),
            )
        };
        if values.is_empty() {
            return Err("its distribution is not told");
        }
        // The ends are told exactly, and ranges are inferred from them.
        for (at, end) in [(0, self.min), (values.len() - 1, self.max)] {
            if let Some(end) = end.filter(|end| end.is_finite()) {
                values[at] = end;
            }
        }
        Ok(values)
    }
}

impl Strings {
    fn values(&self, count: usize) -> Result<Vec<Value<'_>>, &'static str> {
        let told = self
            .distribution
            .as_ref()
            .and_then(|d| d.categorical.as_ref());
        let buckets = told.map_or(&[][..], |categorical| &categorical.buckets);
        let all = buckets.iter().map(|bucket| bucket.count).sum::<f64>();
        let complete = self
            .distinct_count
            .is_none_or(|n| n <= buckets.len() as f64);
        if buckets.is_empty() || !complete || all < 0.999 * self.common.num_present {
            return Err("not all of its values are told");
        }
        let places = (0..).map(f64::from);
        let places = places
            .zip(buckets)
            .map(|(at, bucket)| (bucket.count, (at, at)));
        let places = spread(count, places).into_iter();
        Ok(places
            .map(|at| Value::Text(buckets[at as usize].value.as_str().into()))
            .collect())
    }
}

/// Values at the middles of so many equal parts of the whole weight, within each piece evenly spread between its ends.
fn spread(count: usize, pieces: impl Iterator<Item = (f64, (f64, f64))>) -> Vec<f64> {
    let pieces = pieces.filter(|(weight, (low, high))| {
        *weight > 0.0 && weight.is_finite() && low.is_finite() && high.is_finite()
    });
    let pieces: Vec<(f64, (f64, f64))> = pieces.collect();
    let whole: f64 = pieces.iter().map(|(weight, _)| weight).sum();
    let mut values = Vec::with_capacity(count);
    let mut before = 0.0;
    for (weight, (low, high)) in pieces {
        while values.len() < count {
            let wanted = (values.len() as f64 + 0.5) / count as f64 * whole;
            if wanted > before + weight {
                break;
            }
            let share = ((wanted - before) / weight).clamp(0.0, 1.0);
            values.push(if low == high {
                low
            } else {
                low + share * (high - low)
            });
        }
        before += weight;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ReferenceRows, FormatError> {
        rows(body.as_bytes()).expect("statistics")
    }

    #[test]
    fn each_feature_has_the_distribution_that_its_statistics_tell() {
        let body = include_str!("../../tests/data/schemas/sagemaker-statistics.json");
        let read = read(body).expect("two features");
        assert_eq!(read.len(), 1_000);
        assert_eq!(
            read.of_statistics,
            Some(vec!["flight: not all of its values are told".to_owned()])
        );
        let [distance, carrier] = &read.features[..] else {
            panic!("{:?}", read.features)
        };
        let numbers: Vec<f64> = distance
            .iter()
            .filter_map(|value| match value {
                Value::Number(number) => Some(number),
                _ => None,
            })
            .collect();
        assert_eq!(numbers.len(), 970, "thirty of a thousand are missing");
        let of = |value: f64| numbers.iter().filter(|n| **n == value).count();
        // Three items of one weight, so about a third each.
        assert_eq!((of(17.0), of(944.0), of(4983.0)), (323, 324, 323));
        let of = |name: &str| {
            let wanted = Value::Text(name.into());
            carrier.iter().filter(|value| *value == wanted).count()
        };
        assert_eq!((of("AA"), of("DL"), of("UA")), (400, 350, 250));
        let both = distance.iter().zip(carrier.iter());
        let together =
            both.filter(|(d, c)| *d == Value::Number(17.0) && *c == Value::Text("AA".into()));
        let together = together.count();
        assert!(
            (90..170).contains(&together),
            "{together} of 129 if they are independent"
        );
    }

    #[test]
    fn items_of_higher_levels_weigh_more_and_buckets_stand_in_for_a_sketch() {
        let feature = |distribution: &str| {
            format!(
                r#"{{"features": [{{"name": "a", "inferred_type": "Integral", "numerical_statistics":
                    {{"common": {{"num_present": 100, "num_missing": 0}}, "min": 0, "max": 9,
                      "distribution": {{"kll": {distribution}}}}}}}]}}"#
            )
        };
        let count = |body: &str, value: i64| {
            let read = read(body).expect("a feature");
            let column = &read.features[0];
            column
                .iter()
                .filter(|v| *v == Value::Integer(value))
                .count()
        };
        let sketch = feature(r#"{"sketch": {"data": [[0], [5], [9]]}}"#);
        assert_eq!((count(&sketch, 0), count(&sketch, 9)), (14, 57));
        let buckets = feature(
            r#"{"buckets": [{"lower_bound": 0, "upper_bound": 4, "count": 90},
                            {"lower_bound": 4, "upper_bound": 9, "count": 10}]}"#,
        );
        assert!(count(&buckets, 2) > 20 && count(&buckets, 7) < 5);
    }

    #[test]
    fn what_is_no_statistics_is_left_to_others() {
        for body in [
            "[]",
            r#"{"rows": []}"#,
            r#"{"features": []}"#,
            r#"{"features": {"a": 1}}"#,
        ] {
            assert!(rows(body.as_bytes()).is_none(), "{body}");
        }
        let empty = r#"{"features": [{"name": "a", "string_statistics":
            {"common": {"num_present": 0, "num_missing": 5}}}]}"#;
        let refused = read(empty).expect_err("nothing to go by");
        assert!(
            refused.to_string().contains("it has no values"),
            "{refused}"
        );
    }
}
