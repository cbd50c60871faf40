//! Drift of one feature: a window's profile against the baseline's.
//!
//! Numeric features are compared over the deciles of the baseline, which are whole cells of its grid, so
//! the values are those that the raw rows would give. The Kolmogorov–Smirnov statistic uses every cell and
//! carries the largest amount by which the rows could exceed it. Categorical features are compared over the
//! union of the categories of both sides. Absent values, nulls, NaN, infinities and values of a wrong type
//! take no part: they are findings of the schema, counted in [`super::profile::Counts`].

use std::sync::Arc;

use super::anderson_darling::{self, AndersonDarling};
use super::cells::CellPair;
use super::contingency::{self, Chi2};
use super::cramer_von_mises::{self, CramerVonMises};
use super::distance;
use super::grid::Grid;
use super::kolmogorov::{self, Method};
use super::profile::{FeatureProfile, ProfileKind};
use super::tails::PValue;
use super::uncertainty::{self, ByChance};

/// Why two profiles have no distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDefined {
    #[error(
        "the baseline has no usable value of this feature: all are missing, not finite or of another type"
    )]
    NoReferenceValues,
    #[error(
        "the window has no usable value of this feature: all are missing, not finite or of another type"
    )]
    NoCurrentValues,
    #[error("one profile is of numbers and the other of categories")]
    DifferentKinds,
    #[error("the profiles were not counted on the baseline's grid")]
    OtherGrid,
    #[error("categories have no order, so the measure is not defined")]
    NoOrder,
    #[error("all values are in one bin, so there is nothing to test")]
    OneBin,
    #[error("the values are so far apart that the measure is beyond the range of numbers")]
    BeyondRange,
    #[error("the baseline has no rows with or without this feature")]
    NoReferenceRows,
    #[error("the window has no rows with or without this feature")]
    NoCurrentRows,
}

/// What a bin holds.
#[derive(Debug, Clone, PartialEq)]
pub enum BinName {
    /// Numbers above the first and at most the second, either of which may be infinite.
    Between(f64, f64),
    Category(String),
    /// Categories too many to be counted one by one.
    Rest,
}

/// One bin with the values of both sides in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bin {
    pub name: BinName,
    pub reference: u64,
    pub current: u64,
}

/// A distance with what is needed to judge it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    pub value: f64,
    /// The number of bins compared, empty ones included.
    pub bins: usize,
    /// The value expected when nothing has changed.
    pub noise_floor: f64,
}

/// The Kolmogorov–Smirnov statistic of two samples counted in cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The largest distance of the two distribution functions at the edges of the cells: from 0 (equal) to
    /// 1 (no value in common), more is worse. Never more than the statistic of the raw values.
    pub statistic: f64,
    /// The statistic of the raw values is at most `statistic + error_bound`.
    pub error_bound: f64,
    /// The probability of such a statistic without drift ([`kolmogorov::p_value`]); that of the raw values
    /// is at most this.
    pub p_value: PValue,
    /// How the p-value was computed.
    pub method: Method,
    /// A band that holds the statistic of the populations in at least 95 of 100 cases, the bound included.
    pub interval: (f64, f64),
    /// The statistic expected when nothing has changed.
    pub noise_floor: f64,
}

/// A distance between the distribution functions, computed from cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    pub value: f64,
    /// The value of the raw rows is between `value − error_bound` and `value + error_bound`.
    pub error_bound: f64,
    /// The sampling variance of the value.
    pub variance: f64,
    /// The value expected when nothing has changed.
    pub noise_floor: f64,
}

/// Two profiles of one feature, laid out bin by bin.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    bins: Arc<[Bin]>,
    /// Of the bins' edges, those that are not the grid's.
    outer_edges: Vec<f64>,
    reference_shares: Vec<f64>,
    current_shares: Vec<f64>,
    reference_values: u64,
    current_values: u64,
    cells: Option<CellPair<'a>>,
}

impl<'a> Comparison<'a> {
    /// Lays a window's profile beside the baseline's. The grid is needed for numbers and ignored for
    /// categories.
    ///
    /// A constant baseline gives the two bins "at most the constant" and "above it", and a third one where the window
    /// has something below it; a single category on both sides gives one bin and distance 0; a category only one side has is a bin that is empty on the
    /// other.
    ///
    /// # Errors
    ///
    /// When either side has no values, or the profiles cannot be compared.
    pub fn of(
        reference: &'a FeatureProfile,
        current: &'a FeatureProfile,
        grid: Option<&'a Grid>,
    ) -> Result<Self, NotDefined> {
        if reference.kind() != current.kind() {
            return Err(NotDefined::DifferentKinds);
        }
        if reference.valid() == 0 {
            return Err(NotDefined::NoReferenceValues);
        }
        if current.valid() == 0 {
            return Err(NotDefined::NoCurrentValues);
        }
        let (bins, outer_edges, cells) = match reference.kind() {
            ProfileKind::Numeric => {
                let cells = CellPair::of(reference, current, grid).ok_or(NotDefined::OtherGrid)?;
                (
                    decile_bins(&cells),
                    cells.outer_edges().collect(),
                    Some(cells),
                )
            }
            ProfileKind::Categorical => (category_bins(reference, current), Vec::new(), None),
        };
        let (reference_values, current_values) = (reference.valid(), current.valid());
        let share = |count: u64, of: u64| count as f64 / of as f64;
        Ok(Self {
            reference_shares: bins
                .iter()
                .map(|bin| share(bin.reference, reference_values))
                .collect(),
            current_shares: bins
                .iter()
                .map(|bin| share(bin.current, current_values))
                .collect(),
            bins: bins.into(),
            outer_edges,
            reference_values,
            current_values,
            cells,
        })
    }

    /// The bins compared: deciles in increasing order, or categories in alphabetical order.
    #[must_use]
    pub fn bins(&self) -> &Arc<[Bin]> {
        &self.bins
    }

    /// The edges of bins that the baseline's deciles do not have: of what lies beyond a baseline that has a large part of its values at
    /// an end.
    #[must_use]
    pub fn outer_edges(&self) -> &[f64] {
        &self.outer_edges
    }

    /// The number of values of the baseline.
    #[must_use]
    pub fn reference_values(&self) -> u64 {
        self.reference_values
    }

    /// The number of values of the window.
    #[must_use]
    pub fn current_values(&self) -> u64 {
        self.current_values
    }

    /// Population stability index over the bins; see [`distance::psi`].
    #[must_use]
    pub fn psi(&self) -> Distance {
        self.distance(distance::psi, distance::psi_noise_floor)
    }

    /// Jensen–Shannon distance to base 2 over the bins; see [`distance::jensen_shannon`].
    #[must_use]
    pub fn jensen_shannon(&self) -> Distance {
        self.distance(
            distance::jensen_shannon,
            distance::jensen_shannon_noise_floor,
        )
    }

    /// Hellinger distance over the bins; see [`distance::hellinger`].
    #[must_use]
    pub fn hellinger(&self) -> Distance {
        self.distance(distance::hellinger, distance::hellinger_noise_floor)
    }

    /// Total variation distance over the bins; see [`distance::total_variation`].
    #[must_use]
    pub fn total_variation(&self) -> Distance {
        Distance {
            value: self.measured(distance::total_variation),
            bins: self.bins.len(),
            noise_floor: distance::total_variation_noise_floor(
                &self.reference_shares,
                self.reference_values,
                self.current_values,
            ),
        }
    }

    /// Largest change of a bin's share; see [`distance::l_infinity`].
    #[must_use]
    pub fn l_infinity(&self) -> f64 {
        self.measured(distance::l_infinity)
    }

    /// Chi-square test over the bins; see [`contingency::chi2`]. `None` when all values are in one bin.
    #[must_use]
    pub fn chi2(&self) -> Option<Chi2> {
        self.counts(contingency::chi2)
    }

    /// G-test over the bins; see [`contingency::g_test`]. `None` when all values are in one bin.
    #[must_use]
    pub fn g_test(&self) -> Option<Chi2> {
        self.counts(contingency::g_test)
    }

    /// How probable it is that two samples of one distribution differ like this: twice the lesser of the chi-square test's over
    /// bins that expect [`contingency::ROWS_EXPECTED`] rows or more, rarer ones together, and of numbers Kolmogorov and Smirnov's.
    ///
    /// The first sees what moves between bins, the second what moves a little everywhere; tails of many rare
    /// categories, which no approximation holds for, are one bin.
    #[must_use]
    pub fn by_chance(&self) -> PValue {
        let counts = self.counts(contingency::pooled_chi2);
        let counts = counts.map_or(PValue::ONE, |test| test.p_value);
        match self.kolmogorov_smirnov() {
            Ok(shape) => counts.lesser_of_two(shape.p_value),
            Err(_) => counts,
        }
    }

    /// A test of the counts of both sides in the bins.
    pub(super) fn counts(&self, test: fn(&[u64], &[u64]) -> Option<Chi2>) -> Option<Chi2> {
        let (reference, current): (Vec<u64>, Vec<u64>) = self
            .bins
            .iter()
            .map(|bin| (bin.reference, bin.current))
            .unzip();
        test(&reference, &current)
    }

    /// Kolmogorov–Smirnov statistic over the cells of the grid.
    ///
    /// # Errors
    ///
    /// For categories, which have no order.
    pub fn kolmogorov_smirnov(&self) -> Result<KolmogorovSmirnov, NotDefined> {
        let (n, m) = (self.reference_values, self.current_values);
        let (statistic, error_bound) = self.ordered()?.largest_gap();
        let (p_value, method) = kolmogorov::p_value(statistic, n, m)
            .expect("both sides have values and the statistic is a difference of shares");
        let (low, high) = uncertainty::kolmogorov_smirnov(statistic, n, m);
        Ok(KolmogorovSmirnov {
            statistic,
            error_bound,
            p_value,
            method,
            interval: (low, (high + error_bound).min(1.0)),
            noise_floor: distance::kolmogorov_smirnov_noise_floor(n, m),
        })
    }

    /// First Wasserstein distance over the cells of the grid, in the unit of the values: the area between the
    /// distribution functions, from 0 without an upper limit, more is worse.
    ///
    /// # Errors
    ///
    /// For categories, and when the values are too far apart for a number.
    pub fn wasserstein(&self) -> Result<Area, NotDefined> {
        let cells = self.ordered()?;
        let area = cells.wasserstein().ok_or(NotDefined::BeyondRange)?;
        Ok(Area {
            value: area.value,
            error_bound: area.error_bound,
            variance: area.variance,
            noise_floor: cells.wasserstein_noise_floor(),
        })
    }

    /// Energy distance over the cells of the grid: from 0 without an upper limit, more is worse.
    ///
    /// # Errors
    ///
    /// For categories, and when the values are too far apart for a number.
    pub fn energy_distance(&self) -> Result<Area, NotDefined> {
        let cells = self.ordered()?;
        let energy = cells.energy().ok_or(NotDefined::BeyondRange)?;
        Ok(Area {
            value: energy.value,
            error_bound: energy.error_bound,
            variance: energy.variance,
            noise_floor: cells.energy_noise_floor(),
        })
    }

    /// Cramér–von Mises test over the cells of the grid, and how far the statistic of the raw values can be.
    ///
    /// # Errors
    ///
    /// For categories, which have no order.
    pub fn cramer_von_mises(&self) -> Result<(CramerVonMises, f64), NotDefined> {
        let test = self.ordered()?.cramer_von_mises();
        test.ok_or(NotDefined::NoCurrentValues)
    }

    /// Anderson–Darling test over the cells of the grid.
    ///
    /// # Errors
    ///
    /// For categories, which have no order; when all values are in one cell.
    pub fn anderson_darling(&self) -> Result<AndersonDarling, NotDefined> {
        self.ordered()?.anderson_darling().ok_or(NotDefined::OneBin)
    }

    /// The 95 % interval of the Cramér–von Mises statistic that samples of these sizes have on average.
    ///
    /// # Errors
    ///
    /// As for the statistic.
    pub fn cramer_von_mises_interval(&self) -> Result<(f64, f64), NotDefined> {
        let (test, error_bound) = self.cramer_von_mises()?;
        let of_change = self.ordered()?.cramer_von_mises_variance();
        let (n, m) = (self.reference_values as f64, self.current_values as f64);
        let by_chance = ByChance {
            mean: cramer_von_mises::null_mean(n + m),
            variance: cramer_von_mises::null_variance(n, m),
        };
        let (low, high) = by_chance.of_statistic(test.statistic, of_change);
        Ok(((low - error_bound).max(0.0), high + error_bound))
    }

    /// The 95 % interval of the standardised Anderson–Darling statistic that samples of these sizes have on average.
    ///
    /// # Errors
    ///
    /// As for the statistic.
    pub fn anderson_darling_interval(&self) -> Result<(f64, f64), NotDefined> {
        let test = self.anderson_darling()?;
        let (n, m) = (self.reference_values as f64, self.current_values as f64);
        let variance = anderson_darling::variance(n, m);
        // Before it is standardised, its mean is 1 where nothing has changed.
        let by_chance = ByChance {
            mean: 1.0,
            variance,
        };
        let standard = |raw: f64| (raw - 1.0) / variance.sqrt();
        let raw = 1.0 + test.statistic * variance.sqrt();
        let of_change = self.ordered()?.anderson_darling_variance();
        let (low, high) = by_chance.of_statistic(raw, of_change);
        // Rounding must not leave the value outside of its interval.
        Ok((
            standard(low).min(test.statistic),
            standard(high).max(test.statistic),
        ))
    }

    /// Whether these are numbers.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.cells.is_some()
    }

    /// The number of cells of the grid; `None` for categories.
    #[must_use]
    pub fn cells(&self) -> Option<usize> {
        self.cells.map(|cells| cells.len())
    }

    /// The shares of both sides over the bins.
    #[must_use]
    pub fn shares(&self) -> uncertainty::Shares<'_> {
        uncertainty::Shares {
            reference: &self.reference_shares,
            current: &self.current_shares,
            reference_rows: self.reference_values,
            current_rows: self.current_values,
        }
    }

    fn ordered(&self) -> Result<&CellPair<'a>, NotDefined> {
        self.cells.as_ref().ok_or(NotDefined::NoOrder)
    }

    fn distance(
        &self,
        measure: fn(&[f64], &[f64]) -> Option<f64>,
        noise_floor: fn(usize, u64, u64) -> f64,
    ) -> Distance {
        Distance {
            value: self.measured(measure),
            bins: self.bins.len(),
            noise_floor: noise_floor(self.bins.len(), self.reference_values, self.current_values),
        }
    }

    fn measured(&self, measure: fn(&[f64], &[f64]) -> Option<f64>) -> f64 {
        measure(&self.reference_shares, &self.current_shares).expect(
            "both sides have values and the same bins, which was checked when they were laid out",
        )
    }
}

fn category_bins(reference: &FeatureProfile, current: &FeatureProfile) -> Vec<Bin> {
    reference
        .paired_categories(current)
        .into_iter()
        .map(|(name, reference, current)| Bin {
            name: name.map_or(BinName::Rest, |name| BinName::Category(name.to_owned())),
            reference,
            current,
        })
        .collect()
}

fn decile_bins(cells: &CellPair<'_>) -> Vec<Bin> {
    let (edges, reference, current) = cells.bins();
    let lower = std::iter::once(f64::NEG_INFINITY).chain(edges.iter().copied());
    let upper = edges.iter().copied().chain([f64::INFINITY]);
    lower
        .zip(upper)
        .zip(reference.into_iter().zip(current))
        .map(|((lower, upper), (reference, current))| Bin {
            name: BinName::Between(lower, upper),
            reference,
            current,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f64], grid: &Grid) -> FeatureProfile {
        let mut profile = FeatureProfile::numeric(Some(grid));
        for value in values {
            profile
                .observe_numbers(&[*value], Some(grid))
                .expect("same grid");
        }
        profile
    }

    fn categories(names: &[&str]) -> FeatureProfile {
        let mut profile = FeatureProfile::categorical();
        for name in names {
            profile.observe_category(name, 1).expect("categorical");
        }
        profile
    }

    fn raw_kolmogorov_smirnov(reference: &[f64], current: &[f64]) -> f64 {
        let below = |values: &[f64], at: f64| {
            values.iter().filter(|value| **value <= at).count() as f64 / values.len() as f64
        };
        let at = reference.iter().chain(current);
        at.map(|at| (below(reference, *at) - below(current, *at)).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn empty_and_all_nan_sides_have_no_distance() {
        let grid = Grid::fit(&[1.0, 2.0, 3.0], 16);
        let some = numbers(&[1.0, 2.0], &grid);
        for nothing in [
            numbers(&[], &grid),
            numbers(&[f64::NAN; 3], &grid),
            numbers(&[f64::INFINITY], &grid),
        ] {
            assert_eq!(
                Comparison::of(&nothing, &some, Some(&grid)).err(),
                Some(NotDefined::NoReferenceValues)
            );
            assert_eq!(
                Comparison::of(&some, &nothing, Some(&grid)).err(),
                Some(NotDefined::NoCurrentValues)
            );
        }
    }

    #[test]
    fn profiles_of_other_kinds_or_grids_are_not_compared() {
        let (grid, other) = (Grid::fit(&[1.0, 2.0], 16), Grid::fit(&[1.0, 3.0], 16));
        let some = numbers(&[1.0], &grid);
        let error = |current: &FeatureProfile, grid| Comparison::of(&some, current, grid).err();
        assert_eq!(
            error(&categories(&["a"]), Some(&grid)),
            Some(NotDefined::DifferentKinds)
        );
        assert_eq!(
            error(&numbers(&[1.0], &other), Some(&grid)),
            Some(NotDefined::OtherGrid)
        );
        assert_eq!(error(&some, None), Some(NotDefined::OtherGrid));
    }

    #[test]
    fn constant_baseline_tells_equal_from_below_and_above() {
        let grid = Grid::fit(&[5.0; 10], 16);
        let reference = numbers(&[5.0; 10], &grid);
        let same = numbers(&[5.0; 4], &grid);
        let comparison = Comparison::of(&reference, &same, Some(&grid)).expect("defined");
        assert_eq!(comparison.psi().value, 0.0);
        assert_eq!(comparison.psi().bins, 2);
        let ks = comparison.kolmogorov_smirnov().expect("ordered");
        assert_eq!(
            (ks.statistic, ks.error_bound, ks.p_value),
            (0.0, 0.0, PValue::ONE)
        );

        let above = numbers(&[5.0, 6.0], &grid);
        let comparison = Comparison::of(&reference, &above, Some(&grid)).expect("defined");
        assert!(comparison.psi().value > 1.0);
        assert_eq!(comparison.total_variation().value, 0.5);
        let below = numbers(&[4.0, 4.0], &grid);
        let comparison = Comparison::of(&reference, &below, Some(&grid)).expect("defined");
        assert!(comparison.psi().value > 1.0);
        assert_eq!(comparison.psi().bins, 3);
        for whole in [
            comparison.jensen_shannon().value,
            comparison.hellinger().value,
            comparison.total_variation().value,
            comparison.l_infinity(),
        ] {
            assert!((whole - 1.0).abs() < 1e-12, "{whole}");
        }
        assert_eq!(
            comparison.kolmogorov_smirnov().expect("ordered").statistic,
            1.0
        );
    }

    #[test]
    fn values_beyond_a_frequent_end_of_the_baseline_are_told_from_it() {
        let total_variation = |reference: &[f64], current: &[f64]| {
            let grid = Grid::fit(reference, 16);
            let (p, q) = (numbers(reference, &grid), numbers(current, &grid));
            let comparison = Comparison::of(&p, &q, Some(&grid)).expect("defined");
            (comparison.total_variation().value, comparison.psi().bins)
        };
        // Half of the values are 0; then a fifth of the rows has a word for what is missing.
        let rain: Vec<f64> = (0..100).map(|i| f64::from((i - 50).max(0))).collect();
        let bins = total_variation(&rain, &rain).1;
        let missing: Vec<f64> = (0..100)
            .map(|i| if i < 20 { -999.0 } else { rain[i] })
            .collect();
        let (distance, told_apart) = total_variation(&rain, &missing);
        assert_eq!(told_apart, bins + 1);
        assert!((distance - 0.2).abs() < 1e-12, "{distance}");
        let capped: Vec<f64> = rain.iter().map(|value| 49.0 - value).collect();
        let above: Vec<f64> = (0..100)
            .map(|i| if i < 20 { 999.0 } else { capped[i] })
            .collect();
        let (distance, told_apart) = total_variation(&capped, &above);
        assert_eq!(told_apart, bins + 1);
        assert!((distance - 0.2).abs() < 1e-12, "{distance}");
        // Where few values are the smallest, what is a little smaller is still of the first tenth.
        let ramp: Vec<f64> = (0..100).map(f64::from).collect();
        let lower: Vec<f64> = ramp.iter().map(|value| value - 0.5).collect();
        assert_eq!(total_variation(&ramp, &lower).1, 10);
    }

    #[test]
    fn single_category_is_at_distance_zero_and_has_no_test() {
        let (reference, current) = (categories(&["a"; 5]), categories(&["a"; 3]));
        let comparison = Comparison::of(&reference, &current, None).expect("defined");
        assert_eq!(
            comparison.psi(),
            Distance {
                value: 0.0,
                bins: 1,
                noise_floor: 0.0
            }
        );
        assert_eq!(comparison.jensen_shannon().value, 0.0);
        assert_eq!(comparison.chi2(), None);
        assert_eq!(comparison.kolmogorov_smirnov(), Err(NotDefined::NoOrder));
    }

    #[test]
    fn unseen_and_gone_categories_are_bins_of_their_own() {
        let (reference, current) = (categories(&["a", "b"]), categories(&["b", "c"]));
        let comparison = Comparison::of(&reference, &current, None).expect("defined");
        let bins: Vec<_> = comparison
            .bins()
            .iter()
            .map(|bin| (&bin.name, bin.reference, bin.current))
            .collect();
        let name = |text: &str| BinName::Category(text.to_owned());
        assert_eq!(
            bins,
            [(&name("a"), 1, 0), (&name("b"), 1, 1), (&name("c"), 0, 1)]
        );
        assert_eq!(comparison.total_variation().value, 0.5);
        assert_eq!(comparison.l_infinity(), 0.5);
    }

    #[test]
    fn categories_beyond_the_limit_do_not_look_like_drift() {
        let mut reference = FeatureProfile::categorical();
        let mut current = FeatureProfile::categorical();
        for i in 0..3_000 {
            reference
                .observe_category(&format!("user {i}"), 1)
                .expect("categorical");
            current
                .observe_category(&format!("user {}", 2_999 - i), 1)
                .expect("categorical");
        }
        let comparison = Comparison::of(&reference, &current, None).expect("defined");
        assert_eq!(comparison.l_infinity(), 0.0);
        assert_eq!(
            comparison.bins().last().map(|bin| bin.name.clone()),
            Some(BinName::Rest)
        );
        // A side that never overflowed is pooled by the same rule.
        let few = categories(&["user 1", "user 2", "user 3", "user 4", "user 5"]);
        let comparison = Comparison::of(&reference, &few, None).expect("defined");
        assert_eq!(
            comparison.bins().iter().map(|bin| bin.current).sum::<u64>(),
            5
        );
        assert!(
            comparison
                .bins()
                .iter()
                .all(|bin| bin.name == BinName::Rest || bin.reference == 1)
        );
    }

    #[test]
    fn kolmogorov_smirnov_of_the_rows_is_within_the_bound() {
        let mut state = 1_u64;
        let mut draw = |shift: f64| -> Vec<f64> {
            (0..700)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    ((state >> 40) as f64 / 16_777_216.0).powi(2) + shift
                })
                .collect()
        };
        for (target, shift) in [(8, 0.0), (8, 0.1), (64, 0.05), (256, 0.02), (256, 3.0)] {
            let (reference, current) = (draw(0.0), draw(shift));
            let grid = Grid::fit(&reference, target);
            let (p, q) = (numbers(&reference, &grid), numbers(&current, &grid));
            let ks = Comparison::of(&p, &q, Some(&grid))
                .and_then(|comparison| comparison.kolmogorov_smirnov())
                .expect("defined");
            let exact = raw_kolmogorov_smirnov(&reference, &current);
            assert!(ks.statistic <= exact + 1e-12, "{target} {shift}");
            assert!(
                exact <= ks.statistic + ks.error_bound + 1e-12,
                "{target} {shift}"
            );
            assert!(
                ks.error_bound <= 1.5 / target as f64 + 0.02,
                "{target} {shift}: {ks:?}"
            );
        }
    }

    #[test]
    fn intervals_of_rank_tests_hold_the_statistic_such_samples_have_on_average() {
        let mut random = crate::stats::random::uniform(5);
        let mut normal =
            move || super::super::tails::normal_quantile(random().clamp(1e-12, 1.0 - 1e-12));
        let base: Vec<f64> = (0..4_000).map(|_| normal()).collect();
        let grid = Grid::fit(&base, 256);
        let (n, m, runs) = (500, 300, 250);
        for (name, shift, scale) in [
            ("unchanged", 0.0, 1.0),
            ("moved", 0.25, 1.0),
            ("wider", 0.1, 1.5),
        ] {
            let mut found: [Vec<(f64, (f64, f64))>; 2] = [Vec::new(), Vec::new()];
            for _ in 0..runs {
                let mut sample = |count: usize, shift: f64, scale: f64| {
                    let values: Vec<f64> = (0..count).map(|_| shift + scale * normal()).collect();
                    numbers(&values, &grid)
                };
                let (reference, current) = (sample(n, 0.0, 1.0), sample(m, shift, scale));
                let comparison =
                    Comparison::of(&reference, &current, Some(&grid)).expect("comparable");
                let (test, _) = comparison.cramer_von_mises().expect("numbers");
                let interval = comparison.cramer_von_mises_interval().expect("numbers");
                found[0].push((test.statistic, interval));
                let test = comparison.anderson_darling().expect("numbers");
                let interval = comparison.anderson_darling_interval().expect("numbers");
                found[1].push((test.statistic, interval));
            }
            for (test, found) in ["cramer_von_mises", "anderson_darling"].iter().zip(found) {
                // That of Anderson and Darling is 0 where nothing has changed, by the way it is standardised; the mean of some
                // runs is above or below it by chance, and so is the end of every second interval.
                let mean = if *test == "anderson_darling" && shift == 0.0 {
                    0.0
                } else {
                    found.iter().map(|(value, _)| value).sum::<f64>() / f64::from(runs)
                };
                let held = found
                    .iter()
                    .filter(|(_, (low, high))| (*low..=*high).contains(&mean));
                let share = held.count() as f64 / f64::from(runs);
                // The bound of what lies inside of cells makes them wider where little has changed.
                let most = if shift == 0.0 { 1.0 } else { 0.99 };
                assert!(
                    (0.91..=most).contains(&share),
                    "{test}, {name}: holds in {share}"
                );
            }
        }
    }

    #[test]
    fn kolmogorov_smirnov_of_few_distinct_values_is_exact() {
        let values: Vec<f64> = (0..200).map(|i| f64::from(i % 7)).collect();
        let shifted: Vec<f64> = values.iter().map(|value| (value + 1.0).min(6.0)).collect();
        let grid = Grid::fit(&values, 256);
        let (p, q) = (numbers(&values, &grid), numbers(&shifted, &grid));
        let ks = Comparison::of(&p, &q, Some(&grid))
            .and_then(|comparison| comparison.kolmogorov_smirnov())
            .expect("defined");
        assert!((ks.statistic - raw_kolmogorov_smirnov(&values, &shifted)).abs() < 1e-12);
        assert!(ks.error_bound < 1e-12);
    }
}
