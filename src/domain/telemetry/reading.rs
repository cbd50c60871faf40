//! From samples to what a chart shows: levels as they were, counters as rates, histograms as means and quantiles.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

use super::{Combine, Counting, Reading, Sample, Spread};

/// One step of a chart. Steps without samples are left out: what is missing is not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When the step begins.
    pub at: DateTime<Utc>,
    /// A level in the measure's unit; of a counter, how much it counted per second; of a histogram, its mean.
    pub value: f64,
    pub quantiles: Option<Quantiles>,
}

/// Where a histogram's observations lie, as far as its buckets tell: linear within a bucket, and the last
/// bound for what lies above it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// What has come together in a step.
#[derive(Debug, Default)]
struct Step {
    /// Per series the sum and number of its levels.
    levels: BTreeMap<i64, (f64, u32)>,
    increase: Option<f64>,
    spread: Option<Merged>,
}

#[derive(Debug, Default)]
struct Merged {
    count: u64,
    sum: f64,
    /// Lower end, upper end, observations.
    cells: Vec<(f64, f64, f64)>,
}

/// The points of one measure in `[from, to)`, in steps from `from` on.
///
/// A counter that became smaller, or says that it began anew, was reset: then all it counted is new. The first sample
/// of a series says how much it counted only if the series began within the range; so give a few samples from before it.
#[must_use]
pub fn points(
    combine: Combine,
    samples: &[Sample],
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    step: TimeDelta,
) -> Vec<Point> {
    let seconds = step.num_seconds().max(1);
    let mut ordered: Vec<&Sample> = samples.iter().collect();
    ordered.sort_by_key(|sample| (sample.series, sample.at));
    let mut steps: BTreeMap<i64, Step> = BTreeMap::new();
    let mut before: Option<&Sample> = None;
    for sample in ordered {
        let previous = before.filter(|previous| previous.series == sample.series);
        before = Some(sample);
        if !(from..to).contains(&sample.at) {
            continue;
        }
        let place = (sample.at - from).num_seconds() / seconds;
        let step = steps.entry(place).or_default();
        match &sample.reading {
            Reading::Level(level) => {
                let (sum, number) = step.levels.entry(sample.series).or_default();
                *sum += level;
                *number += 1;
            }
            Reading::Count(counting, count) => {
                if let Some(increase) = increase((*counting, *count), sample, previous, from) {
                    *step.increase.get_or_insert(0.0) += increase;
                }
            }
            Reading::Spread(counting, spread) => {
                if let Some(new) = new_observations((*counting, spread), sample, previous, from) {
                    step.spread.get_or_insert_default().add(&new);
                }
            }
        }
    }
    let at = |place: i64| from + TimeDelta::seconds(place * seconds);
    steps
        .into_iter()
        .filter_map(|(place, step)| step.point(at(place), combine, seconds as f64))
        .collect()
}

/// Whether a counter began anew between two samples.
fn began_anew(sample: &Sample, previous: &Sample) -> bool {
    matches!((sample.started_at, previous.started_at), (Some(now), Some(then)) if now > then)
}

fn began_within(sample: &Sample, from: DateTime<Utc>) -> bool {
    sample.started_at.is_some_and(|began| began >= from)
}

fn increase(
    (counting, count): (Counting, f64),
    sample: &Sample,
    previous: Option<&Sample>,
    from: DateTime<Utc>,
) -> Option<f64> {
    if counting == Counting::Delta {
        return Some(count);
    }
    match previous {
        Some(previous) => match previous.reading {
            Reading::Count(_, then) if count >= then && !began_anew(sample, previous) => {
                Some(count - then)
            }
            _ => Some(count),
        },
        None => began_within(sample, from).then_some(count),
    }
}

fn new_observations(
    (counting, spread): (Counting, &Spread),
    sample: &Sample,
    previous: Option<&Sample>,
    from: DateTime<Utc>,
) -> Option<Spread> {
    if counting == Counting::Delta {
        return Some(spread.clone());
    }
    let Some(previous) = previous else {
        return began_within(sample, from).then(|| spread.clone());
    };
    match &previous.reading {
        Reading::Spread(_, then) if !began_anew(sample, previous) => {
            Some(difference(spread, then).unwrap_or_else(|| spread.clone()))
        }
        _ => Some(spread.clone()),
    }
}

/// What was observed since `then`; `None` when that is not what `now` goes on from.
fn difference(now: &Spread, then: &Spread) -> Option<Spread> {
    if now.bounds != then.bounds || now.buckets.len() != then.buckets.len() {
        return None;
    }
    let buckets: Option<Vec<u64>> = (now.buckets.iter().zip(&then.buckets))
        .map(|(now, then)| now.checked_sub(*then))
        .collect();
    Some(Spread {
        count: now.count.checked_sub(then.count)?,
        sum: now.sum - then.sum,
        bounds: now.bounds.clone(),
        buckets: buckets?,
    })
}

impl Step {
    fn point(&self, at: DateTime<Utc>, combine: Combine, seconds: f64) -> Option<Point> {
        let mut quantiles = None;
        let value = if let Some(spread) = &self.spread {
            if spread.count == 0 {
                return None;
            }
            quantiles = spread.quantiles();
            spread.sum / spread.count as f64
        } else if let Some(increase) = self.increase {
            increase / seconds
        } else if self.levels.is_empty() {
            return None;
        } else {
            let levels = self.levels.values();
            let levels = levels.map(|(sum, number)| sum / f64::from(*number));
            match combine {
                Combine::Mean => levels.clone().sum::<f64>() / levels.count() as f64,
                Combine::Sum => levels.sum(),
                Combine::Max => levels.fold(f64::NEG_INFINITY, f64::max),
            }
        };
        value.is_finite().then_some(Point {
            at,
            value,
            quantiles,
        })
    }
}

impl Merged {
    fn add(&mut self, spread: &Spread) {
        self.count = self.count.saturating_add(spread.count);
        self.sum += spread.sum;
        if spread.bounds.is_empty() || spread.buckets.len() != spread.bounds.len() + 1 {
            return;
        }
        let last = spread.bounds.len() - 1;
        for (place, observed) in spread.buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
            let upper = spread.bounds[place.min(last)];
            let lower = match place {
                0 => upper.min(0.0),
                place => spread.bounds[place - 1],
            };
            self.cells.push((lower, upper, *observed as f64));
        }
    }

    fn quantiles(&self) -> Option<Quantiles> {
        let total: f64 = self.cells.iter().map(|(_, _, observed)| observed).sum();
        if total <= 0.0 {
            return None;
        }
        let mut edges: Vec<f64> = self.cells.iter().flat_map(|(l, u, _)| [*l, *u]).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let below: Vec<f64> = edges.iter().map(|edge| self.below(*edge)).collect();
        let quantile = |share: f64| {
            let wanted = share * total;
            let place = below.partition_point(|below| *below < wanted);
            let place = place.min(edges.len() - 1);
            if place == 0 || below[place] <= below[place - 1] {
                return edges[place];
            }
            let part = (wanted - below[place - 1]) / (below[place] - below[place - 1]);
            edges[place - 1] + part.clamp(0.0, 1.0) * (edges[place] - edges[place - 1])
        };
        Some(Quantiles {
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
        })
    }

    /// How many observations lie at or below `edge`.
    fn below(&self, edge: f64) -> f64 {
        let of = |(lower, upper, observed): &(f64, f64, f64)| {
            if edge >= *upper {
                *observed
            } else if edge <= *lower {
                0.0
            } else {
                observed * (edge - lower) / (upper - lower)
            }
        };
        self.cells.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a valid instant")
    }

    fn sample(series: i64, seconds: i64, reading: Reading) -> Sample {
        Sample {
            measure: "requests",
            series,
            source: String::new(),
            at: at(seconds),
            started_at: None,
            reading,
        }
    }

    fn total(series: i64, seconds: i64, count: f64) -> Sample {
        let reading = Reading::Count(Counting::Cumulative, count);
        sample(series, seconds, reading)
    }

    fn values(combine: Combine, samples: &[Sample]) -> Vec<(i64, f64)> {
        let found = points(combine, samples, (at(0), at(600)), TimeDelta::seconds(60));
        let found = found.into_iter();
        found
            .map(|point| ((point.at - at(0)).num_seconds(), point.value))
            .collect()
    }

    #[test]
    fn levels_are_combined_over_series_after_their_own_mean() {
        let level = |series, seconds, level| sample(series, seconds, Reading::Level(level));
        let samples = [level(1, 0, 0.2), level(1, 30, 0.4), level(2, 10, 0.9)];
        for (combine, expected) in [
            (Combine::Mean, 0.6),
            (Combine::Sum, 1.2),
            (Combine::Max, 0.9),
        ] {
            let found = values(combine, &samples);
            assert_eq!(found.len(), 1);
            assert!((found[0].1 - expected).abs() < 1e-12, "{combine:?}");
        }
    }

    #[test]
    fn a_cumulative_counter_is_a_rate_and_its_first_sample_says_nothing() {
        let samples = [
            total(1, 0, 1_000.0),
            total(1, 60, 1_060.0),
            total(1, 120, 1_180.0),
        ];
        assert_eq!(values(Combine::Sum, &samples), [(60, 1.0), (120, 2.0)]);
    }

    #[test]
    fn a_counter_that_was_reset_goes_on_from_nothing() {
        let samples = [total(1, 0, 1_000.0), total(1, 60, 30.0)];
        assert_eq!(values(Combine::Sum, &samples), [(60, 0.5)]);
        // It says so itself, although it counted further than before.
        let mut samples = [total(1, 0, 10.0), total(1, 60, 60.0)];
        samples[0].started_at = Some(at(-100));
        samples[1].started_at = Some(at(10));
        assert_eq!(values(Combine::Sum, &samples), [(60, 1.0)]);
    }

    #[test]
    fn a_counter_that_began_within_the_range_counts_from_the_first_sample_on() {
        let mut samples = [total(1, 30, 120.0)];
        assert_eq!(values(Combine::Sum, &samples), []);
        samples[0].started_at = Some(at(1));
        assert_eq!(values(Combine::Sum, &samples), [(0, 2.0)]);
    }

    #[test]
    fn deltas_add_up_whatever_their_order_and_series_do_not_mix() {
        let delta = |series, seconds, count| {
            sample(series, seconds, Reading::Count(Counting::Delta, count))
        };
        let samples = [delta(1, 50, 30.0), delta(1, 10, 30.0), delta(2, 20, 60.0)];
        assert_eq!(values(Combine::Sum, &samples), [(0, 2.0)]);
        let samples = [total(1, 0, 10.0), total(2, 10, 500.0), total(1, 60, 70.0)];
        assert_eq!(values(Combine::Sum, &samples), [(60, 1.0)]);
    }

    fn spread(buckets: &[u64], sum: f64) -> Spread {
        Spread {
            count: buckets.iter().sum(),
            sum,
            bounds: vec![0.1, 1.0, 10.0],
            buckets: buckets.to_vec(),
        }
    }

    #[test]
    fn a_histogram_gives_a_mean_and_quantiles_of_what_is_new() {
        let of =
            |seconds, spread| sample(1, seconds, Reading::Spread(Counting::Cumulative, spread));
        let samples = [
            of(0, spread(&[1_000, 0, 0, 0], 50.0)),
            of(60, spread(&[1_050, 50, 0, 0], 80.0)),
        ];
        let found = points(
            Combine::Sum,
            &samples,
            (at(0), at(600)),
            TimeDelta::seconds(60),
        );
        assert_eq!(found.len(), 1);
        assert!((found[0].value - 0.3).abs() < 1e-12);
        let quantiles = found[0].quantiles.expect("there are buckets");
        assert!((quantiles.p50 - 0.1).abs() < 1e-12, "{quantiles:?}");
        assert!((quantiles.p95 - 0.91).abs() < 1e-12, "{quantiles:?}");
    }

    #[test]
    fn what_lies_above_all_bounds_is_at_the_last_of_them() {
        let mut merged = Merged::default();
        merged.add(&spread(&[0, 0, 0, 4], 400.0));
        let quantiles = merged.quantiles().expect("observations");
        assert_eq!((quantiles.p50, quantiles.p99), (10.0, 10.0));
    }

    #[test]
    fn histograms_without_buckets_have_a_mean_alone() {
        let summary = Spread {
            count: 4,
            sum: 2.0,
            ..Spread::default()
        };
        let samples = [sample(1, 5, Reading::Spread(Counting::Delta, summary))];
        let found = points(
            Combine::Sum,
            &samples,
            (at(0), at(60)),
            TimeDelta::seconds(60),
        );
        assert_eq!((found[0].value, found[0].quantiles), (0.5, None));
    }
}
