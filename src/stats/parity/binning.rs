//! Bins as numpy makes and counts them: equal width, `[a, b)`, the last one closed.

use crate::stats::samples::Sample;

/// `bins` equal bins from `first` to `last`; around a single value, half a unit to each side.
pub(super) fn equal_edges(first: f64, last: f64, bins: usize) -> Vec<f64> {
    let (first, last) = if first == last {
        (first - 0.5, last + 0.5)
    } else {
        (first, last)
    };
    let step = (last - first) / bins as f64;
    let mut edges: Vec<f64> = (0..=bins).map(|i| i as f64 * step + first).collect();
    edges[bins] = last;
    edges
}

/// Edges for a bin width found by a rule; a width of 0 gives one bin.
fn edges_of_width(first: f64, last: f64, width: f64) -> Vec<f64> {
    let bins = if width > 0.0 {
        ((last - first) / width).ceil().max(1.0) as usize
    } else {
        1
    };
    equal_edges(first, last, bins)
}

/// Sturges' rule on sorted values: `log₂ n + 1` bins. `None` without values, or when their range is no number.
pub(super) fn sturges(sorted: &[f64]) -> Option<Vec<f64>> {
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let range = last - first;
    let width = range / ((sorted.len() as f64).log2() + 1.0);
    range
        .is_finite()
        .then(|| edges_of_width(first, last, width))
}

/// Doane's rule, which adds bins for skewness. `None` without values, or when their range is no number.
pub(super) fn doane(sample: &Sample) -> Option<Vec<f64>> {
    let sorted = sample.sorted();
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let (range, n) = (last - first, sample.len() as f64);
    if !range.is_finite() {
        return None;
    }
    let (mean, deviation) = (sample.mean()?, sample.deviation()?);
    let width = if n > 2.0 && deviation > 0.0 {
        let cubes: f64 = sorted
            .iter()
            .map(|v| ((v - mean) / deviation).powi(3))
            .sum();
        let skewness = (cubes / n).abs();
        let error = (6.0 * (n - 2.0) / ((n + 1.0) * (n + 3.0))).sqrt();
        range / (1.0 + n.log2() + (1.0 + skewness / error).log2())
    } else {
        0.0
    };
    Some(edges_of_width(first, last, width))
}

/// Counts per bin; what lies outside the edges is in none.
pub(super) fn counts(sorted: &[f64], edges: &[f64]) -> Vec<u64> {
    let last = edges.len() - 1;
    let below = |index: usize| {
        if index == last {
            sorted.partition_point(|value| *value <= edges[last])
        } else {
            sorted.partition_point(|value| *value < edges[index])
        }
    };
    (0..last)
        .map(|bin| below(bin + 1).saturating_sub(below(bin)) as u64)
        .collect()
}

/// Both samples in one, sorted.
pub(super) fn pooled(reference: &Sample, current: &Sample) -> Vec<f64> {
    let mut pooled = [reference.sorted(), current.sorted()].concat();
    pooled.sort_unstable_by(f64::total_cmp);
    pooled
}

/// The counts of both sides per distinct value of either.
pub(super) fn per_value(reference: &Sample, current: &Sample) -> (Vec<u64>, Vec<u64>) {
    let mut values = pooled(reference, current);
    values.dedup();
    let count = |sample: &Sample, value: f64| {
        let sorted = sample.sorted();
        let from = sorted.partition_point(|v| *v < value);
        sorted[from..].partition_point(|v| *v <= value) as u64
    };
    values
        .into_iter()
        .map(|value| (count(reference, value), count(current, value)))
        .unzip()
}
