//! What a feature's values are counted in: few bins that are frozen with the reference, each a union of cells of the
//! feature's grid or a set of categories, so that a stored profile is counted without reading a row again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, ProfileKind};

/// Bins of about equal share that numbers are cut into, besides the two ends and what is far from them.
const EQUAL_BINS: usize = 20;
/// What is at most this share of the reference on either side is a bin of its own: the ends, where values appear
/// that leave the range. With 256 cells the smallest end that is not empty has 0.4 %.
const END_SHARE: f64 = 0.005;
/// A single number with this share is a bin of its own.
const POINT_SHARE: f64 = 0.05;
/// Whole numbers with at most so many values are watched value by value, too.
const FEW_VALUES: usize = 30;
/// Categories watched one by one.
const MOST_CATEGORIES: usize = 30;
const LEAST_CATEGORY_SHARE: f64 = 0.005;
/// A category or value watched by itself is expected so often a day.
const EXPECTED_PER_DAY: f64 = 20.0;
/// A category with this share is watched by name even where a day has fewer of it, in windows that have enough,
const SPARSE_CATEGORY_SHARE: f64 = 0.02;
/// if the longest of these, of about so many days, and the reference have so many of it.
const LONGEST_DAYS: f64 = 28.0;
const EXPECTED_IN_ALL: f64 = 20.0;

/// The frozen bins of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Bins {
    Numbers(NumberBins),
    Categories(CategoryBins),
}

/// Bins of numbers, in increasing order: what is far below the range, the low end, the rest, the high end, what is far above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberBins {
    /// Of the grid whose cells these are unions of.
    fingerprint: u32,
    cells: usize,
    /// The last cell of each bin but the last.
    cuts: Vec<usize>,
    /// Bins that hold one number, which is watched by itself.
    pub(super) points: Vec<(usize, f64)>,
}

/// Bins of categories: those watched by name, and all others in the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryBins {
    pub(super) names: Vec<String>,
    /// All categories of the reference; `None` when they were too many to be kept by name.
    vocabulary: Option<BTreeMap<String, Known>>,
}

/// A category of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Known {
    bin: usize,
    /// Whether it occurred on one day only: on that day it was as new as a category can be.
    once: bool,
}

/// One day of one feature, counted in its bins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub rows: u64,
    /// Rows without a usable value: absent, null or NaN.
    pub missing: u64,
    /// Rows with a value of a wrong type.
    pub mismatched: u64,
    pub counts: Vec<u64>,
    /// Rows with a category that no other day of the reference has; `None` for numbers, and where the vocabulary is
    /// too large to be known.
    pub unseen: Option<u64>,
}

impl Tally {
    /// The number of values in the bins.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Why a profile cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    #[error("count numbers as categories or categories as numbers")]
    OtherKind,
    #[error("count cells of another grid than the reference's")]
    OtherGrid,
}

impl Bins {
    /// Chooses bins from the profiles of the reference's days, which must all be on this grid.
    ///
    /// # Errors
    /// When a profile is of another kind or grid than the rest.
    pub fn of_profiles(days: &[&FeatureProfile], grid: Option<&Grid>) -> Result<Self, NotCounted> {
        let is_numeric = |day: &&FeatureProfile| day.kind() == ProfileKind::Numeric;
        if !days.iter().any(is_numeric) {
            let categories = days.iter().map(|day| day.categories());
            let complete = days.iter().all(|day| day.rest() == 0);
            return Ok(Self::of_categories(categories, complete));
        }
        let grid = grid.ok_or(NotCounted::OtherGrid)?;
        let mut cells = vec![0; grid.cells()];
        for day in days {
            if !day.is_counted_on(grid) {
                return Err(NotCounted::OtherGrid);
            }
            let counts = day.cells().ok_or(NotCounted::OtherGrid)?;
            for (sum, count) in cells.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        Ok(Self::of_numbers(grid, &cells, days.len()))
    }

    /// Chooses bins of numbers from the reference's counts per cell, which are those of so many days.
    #[must_use]
    pub fn of_numbers(grid: &Grid, cells: &[u64], days: usize) -> Self {
        let total: u64 = cells.iter().sum();
        let mut up_to = Vec::with_capacity(cells.len());
        let mut sum = 0;
        for count in cells {
            sum += count;
            up_to.push(sum);
        }
        let last = cells.len() - 1;
        let mut cuts = Vec::new();
        // A cut behind a cell leaves `up_to` of that cell on its left.
        let end = END_SHARE * total as f64;
        cuts.extend((0..last).rfind(|cell| up_to[*cell] as f64 <= end));
        cuts.extend((0..last).find(|cell| (total - up_to[*cell]) as f64 <= end));
        let [is_low_far, is_high_far] = grid.has_far_cells();
        cuts.extend((is_low_far && cells[0] == 0).then_some(0));
        cuts.extend((is_high_far && cells[last] == 0).then(|| last - 1));
        let step = total as f64 / EQUAL_BINS as f64;
        for bin in 1..EQUAL_BINS {
            cuts.extend((0..last).find(|cell| up_to[*cell] as f64 >= bin as f64 * step));
        }
        let points = Self::points(grid, cells, days);
        for (cell, _) in &points {
            cuts.extend(cell.checked_sub(1));
            cuts.extend((*cell < last).then_some(*cell));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let bin_of = |cell: usize| cuts.partition_point(|cut| *cut < cell);
        let points = points.iter().map(|(cell, value)| (bin_of(*cell), *value));
        Self::Numbers(NumberBins {
            fingerprint: grid.fingerprint(),
            cells: cells.len(),
            points: points.collect(),
            cuts,
        })
    }

    /// The cells that hold one number which is to be watched by itself: the frequent ones, and of whole numbers
    /// with few values all that are not too rare.
    fn points(grid: &Grid, cells: &[u64], days: usize) -> Vec<(usize, f64)> {
        let total = cells.iter().sum::<u64>() as f64;
        let values: Vec<(usize, f64, f64)> = (0..cells.len())
            .filter(|cell| cells[*cell] > 0)
            .map(|cell| (cell, grid.bounds(cell).1, cells[cell] as f64))
            .collect();
        let is_whole =
            |(cell, value, _): &(usize, f64, f64)| grid.is_point(*cell) && value.fract() == 0.0;
        let few = values.len() <= FEW_VALUES && values.iter().all(is_whole);
        let per_day = EXPECTED_PER_DAY * days as f64;
        values
            .into_iter()
            .filter(|(cell, _, count)| {
                let frequent = *count >= POINT_SHARE * total;
                let watched = few && *count >= (LEAST_CATEGORY_SHARE * total).max(per_day);
                grid.is_point(*cell) && (frequent || watched)
            })
            .map(|(cell, value, _)| (cell, value))
            .collect()
    }

    /// Chooses the categories to watch by name from their counts on each day of the reference. `complete` says that
    /// the counts name every category.
    #[must_use]
    pub fn of_categories<'a, Day>(days: impl IntoIterator<Item = Day>, complete: bool) -> Self
    where
        Day: IntoIterator<Item = (&'a str, u64)>,
    {
        let mut seen: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
        let mut day_count = 0_usize;
        for day in days {
            day_count += 1;
            for (name, count) in day {
                let entry = seen.entry(name).or_default();
                entry.0 += count;
                entry.1 += usize::from(count > 0);
            }
        }
        let total: u64 = seen.values().map(|(count, _)| count).sum();
        let (rows, days) = (total as f64, day_count as f64);
        let by_day = (EXPECTED_PER_DAY * days).min(SPARSE_CATEGORY_SHARE * rows);
        let in_all = EXPECTED_IN_ALL * (days / LONGEST_DAYS).max(1.0);
        let least = (LEAST_CATEGORY_SHARE * rows).max(by_day).max(in_all);
        let mut frequent: Vec<(&str, u64)> = seen
            .iter()
            .map(|(name, (count, _))| (*name, *count))
            .filter(|(_, count)| *count as f64 >= least)
            .collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        frequent.truncate(MOST_CATEGORIES);
        let names: Vec<String> = frequent
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let bins: BTreeMap<&str, usize> = frequent
            .iter()
            .enumerate()
            .map(|(bin, (name, _))| (*name, bin))
            .collect();
        let vocabulary = complete.then(|| {
            let known = seen.iter().map(|(name, (_, on_days))| {
                let bin = bins.get(name).copied().unwrap_or(names.len());
                let once = *on_days == 1 && day_count > 1;
                ((*name).to_owned(), Known { bin, once })
            });
            known.collect()
        });
        Self::Categories(CategoryBins { names, vocabulary })
    }

    /// The number of bins.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.cuts.len() + 1,
            Self::Categories(categories) => categories.names.len() + 1,
        }
    }

    /// Whether there is no bin, which is never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Counts a day after the reference.
    ///
    /// # Errors
    /// When the profile is of another kind or grid.
    pub fn tally(&self, day: &FeatureProfile) -> Result<Tally, NotCounted> {
        self.count(day, |known| known.is_none())
    }

    /// Counts a day of the reference itself: what is new on it is what no other of its days has.
    ///
    /// # Errors
    /// When the profile is of another kind or grid.
    pub fn tally_of_reference(&self, day: &FeatureProfile) -> Result<Tally, NotCounted> {
        self.count(day, |known| known.is_none_or(|known| known.once))
    }

    fn count(
        &self,
        day: &FeatureProfile,
        is_new: impl Fn(Option<Known>) -> bool,
    ) -> Result<Tally, NotCounted> {
        let counts = day.counts();
        let mut tally = Tally {
            rows: counts.rows,
            missing: counts.absent + counts.nulls + counts.nans,
            mismatched: counts.mismatched,
            counts: vec![0; self.len()],
            unseen: None,
        };
        match (self, day.kind()) {
            (Self::Numbers(numbers), ProfileKind::Numeric) => {
                tally.counts = numbers.fold(day)?;
                // The infinities are beyond any end.
                *tally.counts.first_mut().expect("has a bin") += counts.negative_infinities;
                *tally.counts.last_mut().expect("has a bin") += counts.positive_infinities;
            }
            (Self::Categories(categories), ProfileKind::Categorical) => {
                categories.fold(day, &mut tally, is_new);
            }
            // A day without any value was counted as the kind that was guessed for it.
            _ if day.valid() == 0 => {}
            _ => return Err(NotCounted::OtherKind),
        }
        Ok(tally)
    }
}

/// The bins at either end of a number's axis, by what the reference has in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ends {
    /// The outermost on both sides that have nothing, but where their neighbour is a value that is watched by itself.
    pub far: Vec<usize>,
    /// The lowest and the highest half percent with what is beyond, or the outermost bin if it has more; none where this is what is
    /// far, and where the outermost is watched by itself.
    pub low: Vec<usize>,
    pub high: Vec<usize>,
}

impl NumberBins {
    /// The ends, by the reference's counts per bin.
    pub(super) fn ends(&self, counts: &[u64]) -> Ends {
        if counts.len() < 2 {
            return Ends::default();
        }
        let most = END_SHARE * counts.iter().sum::<u64>() as f64;
        let is_watched = |bin: usize| self.points.iter().any(|(point, _)| *point == bin);
        let side = |inwards: Vec<usize>| {
            let (outermost, next) = (inwards[0], inwards[1]);
            let is_far = counts[outermost] == 0 && !is_watched(next);
            let far = if is_far { vec![outermost] } else { Vec::new() };
            let mut sum = 0;
            let mut end: Vec<usize> = inwards
                .into_iter()
                .take_while(|bin| {
                    sum += counts[*bin];
                    sum as f64 <= most && !is_watched(*bin)
                })
                .collect();
            if end.is_empty() && !is_watched(outermost) {
                end.push(outermost);
            }
            if end == far {
                end.clear();
            }
            (far, end)
        };
        let (below, low) = side((0..counts.len()).collect());
        let (above, high) = side((0..counts.len()).rev().collect());
        Ends {
            far: [below, above].concat(),
            low,
            high,
        }
    }

    fn fold(&self, day: &FeatureProfile) -> Result<Vec<u64>, NotCounted> {
        let cells = day.cells().ok_or(NotCounted::OtherGrid)?;
        // The profile knows its grid by fingerprint only, and so do these bins.
        if cells.len() != self.cells || day.grid_fingerprint() != Some(self.fingerprint) {
            return Err(NotCounted::OtherGrid);
        }
        let mut from = 0;
        let ends = self.cuts.iter().map(|cut| cut + 1).chain([cells.len()]);
        Ok(ends
            .map(|to| {
                let sum = cells[from..to].iter().sum();
                from = to;
                sum
            })
            .collect())
    }

    /// The last cell of each bin but the last one.
    #[must_use]
    pub fn cuts(&self) -> &[usize] {
        &self.cuts
    }
}

impl CategoryBins {
    /// Whether all categories of the reference are known by name, so that new ones can be told.
    pub(super) fn is_known(&self) -> bool {
        self.vocabulary.is_some()
    }

    fn fold(
        &self,
        day: &FeatureProfile,
        tally: &mut Tally,
        is_new: impl Fn(Option<Known>) -> bool,
    ) {
        let others = self.names.len();
        let mut unseen = 0;
        for (name, count) in day.categories() {
            let known = match &self.vocabulary {
                Some(vocabulary) => {
                    let known = vocabulary.get(name).copied();
                    unseen += if is_new(known) { count } else { 0 };
                    known.map_or(others, |known| known.bin)
                }
                None => self
                    .names
                    .iter()
                    .position(|own| own == name)
                    .unwrap_or(others),
            };
            tally.counts[known] += count;
        }
        tally.counts[others] += day.rest();
        // What a profile dropped may well be new; where it dropped nothing, all is known.
        let countable = self.vocabulary.is_some() && day.rest() == 0;
        tally.unseen = countable.then_some(unseen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f64], grid: &Grid) -> FeatureProfile {
        let mut profile = FeatureProfile::numeric_without_quantiles(grid);
        profile
            .observe_numbers(values, Some(grid))
            .expect("numbers on their grid");
        profile
    }

    fn categories(counts: &[(&str, u64)]) -> FeatureProfile {
        let mut profile = FeatureProfile::categorical();
        for (name, count) in counts {
            profile.observe_category(name, *count).expect("categories");
        }
        profile
    }

    #[test]
    fn a_continuous_feature_has_twenty_bins_two_ends_and_what_is_far_from_them() {
        let values: Vec<f64> = (0..28_000).map(f64::from).collect();
        let grid = Grid::fit(&values, 256);
        let profile = numbers(&values, &grid);
        let bins = Bins::of_profiles(&[&profile], Some(&grid)).expect("bins");
        let tally = bins.tally(&profile).expect("a tally");
        assert_eq!(tally.counts.len(), 24);
        assert_eq!(tally.values(), 28_000);
        assert_eq!((tally.counts[0], tally.counts[23]), (0, 0));
        assert!(tally.counts[1] <= 140 && tally.counts[1] > 0, "{tally:?}");
        assert!(
            tally.counts[2..22]
                .iter()
                .all(|c| (1_200..=1_600).contains(c)),
            "{tally:?}"
        );
        let beyond = bins
            .tally(&numbers(
                &[-1.0, -28_000.0, 30_000.0, 1e9, f64::INFINITY],
                &grid,
            ))
            .expect("a tally");
        assert_eq!(beyond.counts[..2], [1, 1]);
        assert_eq!(beyond.counts[22..], [1, 2]);
        let Bins::Numbers(bins) = bins else {
            panic!("numbers");
        };
        let ends = bins.ends(&tally.counts);
        assert_eq!(
            (ends.far, ends.low, ends.high),
            (vec![0, 23], vec![0, 1], vec![23, 22])
        );
    }

    #[test]
    fn ends_have_half_a_percent_or_their_outermost_bin_and_no_watched_value() {
        let of = |counts: &[u64], points: &[usize]| {
            let points = points.iter().map(|point| (*point, 1.0)).collect();
            let bins = NumberBins {
                fingerprint: 0,
                cells: 0,
                cuts: Vec::new(),
                points,
            };
            let ends = bins.ends(counts);
            (ends.far, ends.low, ends.high)
        };
        let none = Vec::new;
        assert_eq!(of(&[7], &[]), (none(), none(), none()));
        // More than half a percent in the outermost: it is the end by itself.
        assert_eq!(of(&[50, 900, 50], &[]), (none(), vec![0], vec![2]));
        assert_eq!(
            of(&[0, 4, 992, 4, 0], &[]),
            (vec![0, 4], vec![0, 1], vec![4, 3])
        );
        // Whatever is beyond the range is far from it.
        assert_eq!(of(&[0, 50, 900, 50], &[]), (vec![0], none(), vec![3]));
        // A constant: nothing is known about how far from it is far.
        assert_eq!(of(&[0, 1_000, 0], &[1]), (none(), vec![0], vec![2]));
        assert_eq!(of(&[500, 0, 500], &[0, 2]), (none(), none(), none()));
    }

    #[test]
    fn a_constant_has_itself_and_what_is_beside_it() {
        let grid = Grid::fit(&[3.0; 500], 256);
        let profile = numbers(&[3.0; 500], &grid);
        let bins = Bins::of_profiles(&[&profile], Some(&grid)).expect("bins");
        let tally = bins
            .tally(&numbers(&[2.0, 3.0, 3.0, 4.0], &grid))
            .expect("a tally");
        assert_eq!(tally.counts, [1, 2, 1]);
    }

    #[test]
    fn whole_numbers_of_few_values_are_watched_one_by_one() {
        let values: Vec<f64> = (0..9_000).map(|i| f64::from(i % 3)).collect();
        let grid = Grid::fit(&values, 256);
        let profile = numbers(&values, &grid);
        let Bins::Numbers(bins) = Bins::of_profiles(&[&profile], Some(&grid)).expect("bins") else {
            panic!("numbers");
        };
        // Between them are bins for what is not whole.
        assert_eq!(bins.points, [(2, 0.0), (4, 1.0), (6, 2.0)]);
    }

    #[test]
    fn rare_categories_are_one_bin_and_new_ones_are_counted() {
        let days = [
            categories(&[("a", 900), ("b", 95), ("rare", 4), ("once", 1)]),
            categories(&[("a", 900), ("b", 95), ("rare", 5)]),
        ];
        let bins = Bins::of_profiles(&[&days[0], &days[1]], None).expect("bins");
        let first = bins.tally_of_reference(&days[0]).expect("a tally");
        assert_eq!(first.counts, [900, 95, 5]);
        assert_eq!(first.unseen, Some(1));
        let later = bins
            .tally(&categories(&[("once", 2), ("new", 3), ("a", 1)]))
            .expect("a tally");
        assert_eq!((later.counts, later.unseen), (vec![1, 0, 5], Some(3)));
    }

    #[test]
    fn what_cannot_be_counted_is_an_error() {
        let grid = Grid::fit(&[1.0, 2.0], 256);
        let profile = numbers(&[1.0], &grid);
        let bins = Bins::of_profiles(&[&profile], Some(&grid)).expect("bins");
        assert_eq!(
            bins.tally(&categories(&[("a", 1)])),
            Err(NotCounted::OtherKind)
        );
        let other = Grid::fit(&[1.0, 3.0], 256);
        assert_eq!(
            bins.tally(&numbers(&[1.0], &other)),
            Err(NotCounted::OtherGrid)
        );
        // A day on which everything was missing has no kind.
        let mut empty = FeatureProfile::categorical();
        empty.observe_null(7);
        let tally = bins.tally(&empty).expect("a tally");
        assert_eq!((tally.rows, tally.missing, tally.values()), (7, 7, 0));
    }
}
