//! Measures on raw numbers: the exact values that measures on profiles are held against.
//!
//! A [`Sample`] is the sorted finite values of one side. These functions read every value, so they are for
//! comparing two files, for reproducing other tools, and for tests; the service compares profiles
//! ([`super::drift`]), which never need a row again.

use super::anderson_darling::{self, AndersonDarling};
use super::cramer_von_mises::{self, CramerVonMises};

/// Finite numbers in increasing order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    sorted: Vec<f64>,
    left_out: usize,
}

impl Sample {
    /// Sorts the finite values; NaN and the infinities are left out and counted.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = values
            .iter()
            .filter(|value| value.is_finite())
            .map(|value| value + 0.0)
            .collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            left_out: values.len() - sorted.len(),
            sorted,
        }
    }

    /// The values in increasing order.
    #[must_use]
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// How many values were NaN or infinite.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The number of distinct values.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.sorted.chunk_by(|a, b| a == b).count()
    }

    /// The mean; `None` without values, or beyond the range of `f64`.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let mean = self.sorted.iter().sum::<f64>() / self.len() as f64;
        mean.is_finite().then_some(mean)
    }

    /// The standard deviation divided by `n`, not `n − 1`; `None` without values, or beyond the range of
    /// `f64`.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        let squares: f64 = self.sorted.iter().map(|v| (v - mean) * (v - mean)).sum();
        let deviation = (squares / self.len() as f64).sqrt();
        deviation.is_finite().then_some(deviation)
    }

    /// The quantile `q` by linear interpolation, as numpy computes it; `None` without values and for `q`
    /// outside 0 to 1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.is_empty() || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let position = (self.len() - 1) as f64 * q;
        let below = self.sorted[position.floor() as usize];
        let above = self.sorted[position.ceil() as usize];
        let share = position.fract();
        let step = above - below;
        Some(if !step.is_finite() {
            below * (1.0 - share) + above * share
        } else if share < 0.5 {
            below + step * share
        } else {
            above - step * (1.0 - share)
        })
    }

    /// The number of values in each bin between neighbouring edges, which must be increasing: `(a, b]`, the
    /// outer bins open.
    #[must_use]
    pub fn counts_between(&self, edges: &[f64]) -> Vec<u64> {
        let mut counts = Vec::with_capacity(edges.len() + 1);
        let mut from = 0;
        for edge in edges {
            let to = self.sorted.partition_point(|value| value <= edge);
            counts.push(to.saturating_sub(from) as u64);
            from = to;
        }
        counts.push((self.len() - from) as u64);
        counts
    }
}

/// The Kolmogorov–Smirnov statistic: the largest distance of the two distribution functions.
///
/// From 0 (equal) to 1 (one sample wholly below the other); more is worse. `None` with an empty sample. Its
/// p-value is [`super::kolmogorov::p_value`].
#[must_use]
pub fn kolmogorov_smirnov(reference: &Sample, current: &Sample) -> Option<f64> {
    let (n, m) = sizes(reference, current)?;
    let gaps = steps(reference, current).map(|step| (step.below.0 / n - step.below.1 / m).abs());
    Some(gaps.fold(0.0, f64::max))
}

/// The first Wasserstein distance, in the unit of the values: the area between the distribution functions.
///
/// From 0 (equal) without an upper limit; more is worse. `None` with an empty sample or when it is beyond the
/// range of `f64`. The same value as `scipy.stats.wasserstein_distance`.
#[must_use]
pub fn wasserstein(reference: &Sample, current: &Sample) -> Option<f64> {
    let (n, m) = sizes(reference, current)?;
    let area: f64 = steps(reference, current)
        .map(|step| (step.below.0 / n - step.below.1 / m).abs() * step.width)
        .sum();
    area.is_finite().then_some(area)
}

/// The smallest deviation [`wasserstein_normalised`] divides by.
pub const DEVIATION_FLOOR: f64 = 0.001;

/// [`wasserstein`] over the standard deviation of the reference (divided by `n`), which is at least
/// [`DEVIATION_FLOOR`].
///
/// Without a unit, so that features compare: a shift of the mean by half a deviation gives about 0.5. From 0
/// without an upper limit; more is worse.
#[must_use]
pub fn wasserstein_normalised(reference: &Sample, current: &Sample) -> Option<f64> {
    let value = wasserstein(reference, current)? / reference.deviation()?.max(DEVIATION_FLOOR);
    value.is_finite().then_some(value)
}

/// The energy distance `√(2 ∫ (F − G)²)` (Székely and Rizzo 2013), in the square root of the unit.
///
/// From 0 (equal) without an upper limit; more is worse. `None` with an empty sample or when it is beyond the
/// range of `f64`. The same value as `scipy.stats.energy_distance`.
#[must_use]
pub fn energy_distance(reference: &Sample, current: &Sample) -> Option<f64> {
    let (n, m) = sizes(reference, current)?;
    let area: f64 = steps(reference, current)
        .map(|step| (step.below.0 / n - step.below.1 / m).powi(2) * step.width)
        .sum();
    let distance = (2.0 * area).sqrt();
    distance.is_finite().then_some(distance)
}

/// The two-sample Cramér–von Mises test; `None` with an empty sample.
#[must_use]
pub fn cramer_von_mises(reference: &Sample, current: &Sample) -> Option<CramerVonMises> {
    let (n, m) = sizes(reference, current)?;
    let squares = steps(reference, current)
        .map(|step| {
            let tied = (step.here.0 + step.here.1) as f64;
            tied * (step.below.0 / n - step.below.1 / m).powi(2)
        })
        .sum();
    cramer_von_mises::of_squares(squares, reference.len() as u64, current.len() as u64)
}

/// The two-sample Anderson–Darling test with mid-ranks for ties; `None` when a sample is empty or all values
/// are equal.
#[must_use]
pub fn anderson_darling(reference: &Sample, current: &Sample) -> Option<AndersonDarling> {
    let groups: Vec<(u64, u64)> = steps(reference, current).map(|step| step.here).collect();
    anderson_darling::of_tie_groups(groups.into_iter())
}

/// Both samples at one distinct value.
struct Step {
    /// How many values of each side there are up to and including this one.
    below: (f64, f64),
    /// How many values of each side equal this one.
    here: (u64, u64),
    /// The distance to the next distinct value; 0 at the last.
    width: f64,
}

/// The distinct values of both samples, in increasing order.
fn steps(reference: &Sample, current: &Sample) -> impl Iterator<Item = Step> {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let (p, q) = (&reference.sorted[i..], &current.sorted[j..]);
        let value = match (p.first(), q.first()) {
            (Some(p), Some(q)) => p.min(*q),
            (Some(value), None) | (None, Some(value)) => *value,
            (None, None) => return None,
        };
        let equal = |values: &[f64]| values.iter().take_while(|v| **v == value).count();
        let here = (equal(p), equal(q));
        (i, j) = (i + here.0, j + here.1);
        let next = match (reference.sorted.get(i), current.sorted.get(j)) {
            (Some(p), Some(q)) => p.min(*q),
            (Some(next), None) | (None, Some(next)) => *next,
            (None, None) => value,
        };
        Some(Step {
            below: (i as f64, j as f64),
            here: (here.0 as u64, here.1 as u64),
            width: next - value,
        })
    })
}

fn sizes(reference: &Sample, current: &Sample) -> Option<(f64, f64)> {
    let some = !reference.is_empty() && !current.is_empty();
    some.then(|| (reference.len() as f64, current.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        Sample::of(values)
    }

    #[test]
    fn what_is_not_finite_is_left_out_and_counted() {
        let sample = sample(&[2.0, f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(sample.sorted(), [1.0, 2.0]);
        assert_eq!(sample.left_out(), 3);
    }

    #[test]
    fn empty_samples_have_no_measure() {
        let (none, some) = (sample(&[f64::NAN]), sample(&[1.0, 2.0]));
        for (p, q) in [(&none, &some), (&some, &none), (&none, &none)] {
            assert_eq!(kolmogorov_smirnov(p, q), None);
            assert_eq!(wasserstein(p, q), None);
            assert_eq!(wasserstein_normalised(p, q), None);
            assert_eq!(energy_distance(p, q), None);
            assert_eq!(cramer_von_mises(p, q), None);
            assert_eq!(anderson_darling(p, q), None);
        }
        assert_eq!(none.mean(), None);
        assert_eq!(none.deviation(), None);
        assert_eq!(none.quantile(0.5), None);
    }

    #[test]
    fn constants_are_compared_by_their_distance() {
        let (five, seven) = (sample(&[5.0; 10]), sample(&[7.0; 4]));
        assert_eq!(wasserstein(&five, &seven), Some(2.0));
        assert_eq!(wasserstein_normalised(&five, &seven), Some(2_000.0));
        assert_eq!(energy_distance(&five, &seven), Some(2.0));
        assert_eq!(kolmogorov_smirnov(&five, &seven), Some(1.0));
        assert_eq!(wasserstein(&five, &five), Some(0.0));
        assert_eq!(anderson_darling(&five, &five), None, "a single value");
    }

    #[test]
    fn values_beyond_the_range_give_none_rather_than_infinity() {
        let (low, high) = (sample(&[f64::MIN; 3]), sample(&[f64::MAX; 3]));
        assert_eq!(wasserstein(&low, &high), None);
        assert_eq!(energy_distance(&low, &high), None);
        assert_eq!(kolmogorov_smirnov(&low, &high), Some(1.0));
        assert_eq!(low.mean(), None);
    }

    #[test]
    fn bins_are_open_below_and_closed_above() {
        let sample = sample(&[1.0, 2.0, 2.0, 3.0, 9.0]);
        assert_eq!(sample.counts_between(&[2.0, 5.0]), [3, 1, 1]);
        assert_eq!(sample.counts_between(&[]), [5]);
    }
}
