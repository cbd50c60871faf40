//! The mergeable summary of one feature over one window.
//!
//! A profile holds what every measure needs and no row. Its whole numbers (how many rows, of which kind, in
//! which cell or category) are exact, and merging adds them, so a week is the sum of its days in whatever
//! order they come. So are the sums that mean and deviation are read from, and the buckets that quantiles are: two profiles of
//! the same rows have the same bytes, however the rows were split and in whatever order they came. Quantiles are for
//! people and never for a test (being off by a bucket alone can look like drift).
//!
//! A profile knows the grid it was counted on only by fingerprint: the grid is stored once per feature, the
//! profile thousands of times.

mod categories;
mod codec;
mod numbers;
mod quantiles;

use serde::{Deserialize, Serialize};

use super::grid::Grid;
use super::repeats::Repeats;
use categories::Categories;
use numbers::Numbers;
pub(crate) use numbers::extremes;

/// How many distinct categories are counted one by one.
pub const MAX_CATEGORIES: usize = 1_000;

/// What happened to the rows of the window, in whole numbers.
///
/// `rows` is the sum of `absent`, `nulls`, `nans`, the infinities, `mismatched` and the values counted as
/// numbers or categories; `out_of_range` and `unseen` are about some of those values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub rows: u64,
    /// Rows that lack the feature.
    pub absent: u64,
    pub nulls: u64,
    pub nans: u64,
    pub positive_infinities: u64,
    pub negative_infinities: u64,
    /// Values of a wrong type.
    pub mismatched: u64,
    /// Finite numbers outside the schema's range; earlier releases counted infinities among them.
    pub out_of_range: u64,
    /// Categories the schema does not know.
    pub unseen: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.absent += other.absent;
        self.nulls += other.nulls;
        self.nans += other.nans;
        self.positive_infinities += other.positive_infinities;
        self.negative_infinities += other.negative_infinities;
        self.mismatched += other.mismatched;
        self.out_of_range += other.out_of_range;
        self.unseen += other.unseen;
    }
}

/// What the values of a wrong type were, as far as it was noted: of profiles of earlier releases it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mismatches {
    pub booleans: u64,
    pub numbers: u64,
    pub timestamps: u64,
    pub texts: u64,
    /// Those of the texts that read as finite numbers.
    pub numeric_texts: u64,
}

impl Mismatches {
    fn add(&mut self, other: &Self) {
        self.booleans += other.booleans;
        self.numbers += other.numbers;
        self.timestamps += other.timestamps;
        self.texts += other.texts;
        self.numeric_texts += other.numeric_texts;
    }

    /// Values whose type was noted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.booleans + self.numbers + self.timestamps + self.texts
    }
}

/// Whether a feature is counted as numbers or as categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileKind {
    Numeric,
    Categorical,
}

/// Why profiles could not be filled, merged or read.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("use one profile for both numbers and categories")]
    DifferentKinds,
    #[error("use one profile with different grids")]
    DifferentGrids,
    #[error("read a profile: the bytes are not one")]
    NotAProfile,
    #[error("read a profile of version {0}, which this release does not know")]
    UnknownVersion(u8),
    #[error("read a profile: its checksum does not match")]
    Checksum,
    #[error("read a profile: {0}")]
    Malformed(&'static str),
}

/// The mergeable summary of one feature over one window.
#[derive(Debug, Clone)]
pub struct FeatureProfile {
    counts: Counts,
    mismatches: Mismatches,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    Numeric(Box<Numbers>),
    Categorical(Categories),
}

impl FeatureProfile {
    /// An empty profile of a numeric feature. Without a grid (there is no baseline yet) it keeps moments
    /// and quantiles but no cells.
    #[must_use]
    pub fn numeric(grid: Option<&Grid>) -> Self {
        Self {
            counts: Counts::default(),
            mismatches: Mismatches::default(),
            values: Values::Numeric(Box::new(Numbers::new(grid))),
        }
    }

    /// An empty profile of a numeric feature that keeps cells and moments but no quantiles: for many rows that
    /// are counted once, such as those of a file, where keeping them would cost more than all the rest.
    #[must_use]
    pub fn numeric_without_quantiles(grid: &Grid) -> Self {
        Self {
            counts: Counts::default(),
            mismatches: Mismatches::default(),
            values: Values::Numeric(Box::new(Numbers::without_quantiles(grid))),
        }
    }

    /// An empty profile of a categorical feature.
    #[must_use]
    pub fn categorical() -> Self {
        Self {
            counts: Counts::default(),
            mismatches: Mismatches::default(),
            values: Values::Categorical(Categories::default()),
        }
    }

    /// The same empty profile, in which [`FeatureProfile::note_values`] keeps track of how often numbers repeat each other. It takes
    /// 24 KiB more at most. Categories are kept track of in every profile.
    #[must_use]
    pub fn with_repeats(mut self) -> Self {
        if let Values::Numeric(numbers) = &mut self.values {
            numbers.repeats = Some(Repeats::default());
        }
        self
    }

    /// Whether this profile counts numbers or categories.
    #[must_use]
    pub fn kind(&self) -> ProfileKind {
        match self.values {
            Values::Numeric(_) => ProfileKind::Numeric,
            Values::Categorical(_) => ProfileKind::Categorical,
        }
    }

    /// Counts rows that lack the feature.
    pub fn observe_absent(&mut self, rows: u64) {
        self.counts.rows += rows;
        self.counts.absent += rows;
    }

    /// Counts rows with the feature whose value is null.
    pub fn observe_null(&mut self, rows: u64) {
        self.counts.rows += rows;
        self.counts.nulls += rows;
    }

    /// Its rows as those of a feature whose values are numbers and categories without anything that says which they are to be: how many
    /// there are is known, and none of the values. Whatever is added to such a profile becomes one, so that it makes no difference
    /// what came first.
    #[must_use]
    pub fn without_kind(&self) -> Self {
        let Counts {
            rows,
            absent,
            nulls,
            ..
        } = self.counts;
        let mut profile = Self::categorical();
        profile.observe_absent(absent);
        profile.observe_null(nulls);
        profile.observe_mismatch(rows - absent - nulls);
        profile
    }

    /// Whether it is as [`Self::without_kind`] makes it.
    #[must_use]
    pub fn has_no_kind(&self) -> bool {
        let counts = &self.counts;
        counts.mismatched > 0 && counts.mismatched == counts.rows - counts.absent - counts.nulls
    }

    /// Counts rows whose value is of a wrong type.
    pub fn observe_mismatch(&mut self, rows: u64) {
        self.counts.rows += rows;
        self.counts.mismatched += rows;
    }

    /// Notes what so many of the values of a wrong type were.
    pub fn note_mismatches(&mut self, mismatches: Mismatches) {
        self.mismatches.add(&mismatches);
    }

    /// What the values of a wrong type were.
    #[must_use]
    pub fn mismatches(&self) -> &Mismatches {
        &self.mismatches
    }

    /// Counts a row with each of these numbers. NaN and the infinities are counted apart and enter neither
    /// cells nor moments nor quantiles.
    ///
    /// # Errors
    ///
    /// When this is a profile of categories, or of another grid.
    pub fn observe_numbers(
        &mut self,
        numbers: &[f64],
        grid: Option<&Grid>,
    ) -> Result<(), ProfileError> {
        let Values::Numeric(mine) = &mut self.values else {
            return Err(ProfileError::DifferentKinds);
        };
        if numbers.iter().all(|number| number.is_finite()) {
            mine.observe(numbers, grid)?;
        } else {
            let finite: Vec<f64> = numbers.iter().copied().filter(|n| n.is_finite()).collect();
            mine.observe(&finite, grid)?;
            for number in numbers.iter().filter(|number| !number.is_finite()) {
                if number.is_nan() {
                    self.counts.nans += 1;
                } else if *number > 0.0 {
                    self.counts.positive_infinities += 1;
                } else {
                    self.counts.negative_infinities += 1;
                }
            }
        }
        self.counts.rows += numbers.len() as u64;
        Ok(())
    }

    /// Notes the finite numbers observed by hashes that equal ones share, where the profile keeps track of how often they repeat
    /// each other. A hash says more than the number: integers that are one as doubles have different ones.
    pub fn note_values(&mut self, hashes: impl IntoIterator<Item = u64>) {
        if let Values::Numeric(numbers) = &mut self.values
            && let Some(repeats) = &mut numbers.repeats
        {
            hashes.into_iter().for_each(|hash| repeats.observe(hash));
        }
    }

    /// Counts rows with a category. The empty text is a category like any other.
    ///
    /// # Errors
    ///
    /// When this is a profile of numbers.
    pub fn observe_category(&mut self, category: &str, rows: u64) -> Result<(), ProfileError> {
        let Values::Categorical(categories) = &mut self.values else {
            return Err(ProfileError::DifferentKinds);
        };
        categories.observe(category, rows);
        self.counts.rows += rows;
        Ok(())
    }

    /// Notes that so many of the values observed are outside the schema's range.
    pub fn note_out_of_range(&mut self, rows: u64) {
        self.counts.out_of_range += rows;
    }

    /// Notes that so many of the categories observed are unknown to the schema.
    pub fn note_unseen(&mut self, rows: u64) {
        self.counts.unseen += rows;
    }

    /// What happened to the rows.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The number of values that distributions are made of: finite numbers, or categories.
    #[must_use]
    pub fn valid(&self) -> u64 {
        match &self.values {
            Values::Numeric(numbers) => numbers.count(),
            Values::Categorical(categories) => categories.total(),
        }
    }

    /// The share of rows without a usable value: absent, null or NaN.
    ///
    /// From 0 to 1; more is worse. `None` without rows.
    #[must_use]
    pub fn missing_share(&self) -> Option<f64> {
        let missing = self.counts.absent + self.counts.nulls + self.counts.nans;
        (self.counts.rows > 0).then(|| missing as f64 / self.counts.rows as f64)
    }

    /// The smallest finite number; `None` without one, or for categories.
    #[must_use]
    pub fn minimum(&self) -> Option<f64> {
        self.numbers().and_then(Numbers::minimum)
    }

    /// The largest finite number; `None` without one, or for categories.
    #[must_use]
    pub fn maximum(&self) -> Option<f64> {
        self.numbers().and_then(Numbers::maximum)
    }

    /// The mean of the finite numbers; `None` without one, or for categories, or beyond the range of `f64`.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        self.numbers().and_then(Numbers::mean)
    }

    /// The sample standard deviation (divided by n − 1); `None` with fewer than two finite numbers, or for
    /// categories, or beyond the range of `f64`.
    #[must_use]
    pub fn standard_deviation(&self) -> Option<f64> {
        self.numbers().and_then(Numbers::standard_deviation)
    }

    /// The smallest number that at least the share `q` of the finite numbers do not exceed.
    ///
    /// Exact while there are at most 512 distinct numbers. Beyond, it lies in the bucket that the number lies in, one of
    /// at most 512 as wide as a power of two each; how far its rank can be off is the bucket's share of the numbers,
    /// about 3 % for a normal distribution, and a tenth of that as a rule. `None` without numbers, for categories,
    /// for `q` outside 0 to 1, and where no quantiles are kept.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.numbers().and_then(|numbers| numbers.quantile(q))
    }

    /// Some of the numbers themselves: `most` at evenly spaced ranks, or all, while at most 512 of them are distinct; 64 of
    /// the distinct ones beyond that. The same numbers give the same ones in whatever order they came. Empty for
    /// categories, and where no quantiles are kept.
    #[must_use]
    pub fn sampled_numbers(&self, most: usize) -> Vec<f64> {
        self.numbers()
            .map_or_else(Vec::new, |numbers| numbers.sampled(most))
    }

    /// The rows with a category; `None` for numbers, and when it is not among those counted one by one.
    #[must_use]
    pub fn category(&self, category: &str) -> Option<u64> {
        self.category_counts()
            .and_then(|categories| categories.count(category))
    }

    /// Counts the rows of a category under another name, because nobody may know the category any more. Returns whether
    /// there were any.
    pub fn rename_category(&mut self, category: &str, name: &str) -> bool {
        match &mut self.values {
            Values::Categorical(categories) => categories.rename(category, name),
            Values::Numeric(_) => false,
        }
    }

    /// The number of values in each cell of the grid; `None` for categories and for profiles made without
    /// a grid.
    #[must_use]
    pub fn cells(&self) -> Option<&[u64]> {
        self.numbers().and_then(Numbers::cells)
    }

    /// Whether the cells were counted on this grid.
    #[must_use]
    pub fn is_counted_on(&self, grid: &Grid) -> bool {
        self.numbers()
            .is_some_and(|numbers| numbers.is_counted_on(grid))
    }

    /// The categories with their exact counts, in alphabetical order; nothing for numbers.
    pub fn categories(&self) -> impl Iterator<Item = (&str, u64)> {
        self.category_counts()
            .into_iter()
            .flat_map(Categories::iter)
    }

    /// The rows whose category is beyond the [`MAX_CATEGORIES`] counted one by one; 0 for numbers.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.category_counts().map_or(0, Categories::rest)
    }

    /// The number of distinct categories: exact up to [`MAX_CATEGORIES`], estimated beyond from the hashes
    /// of those kept, with a standard error of 3.2 %. Of numbers, the number of distinct ones where the profile keeps track of how
    /// often they repeat: exact up to [`MOST_HASHES`](super::repeats::MOST_HASHES). `None` of numbers elsewhere.
    #[must_use]
    pub fn distinct(&self) -> Option<f64> {
        match &self.values {
            Values::Numeric(numbers) => numbers.repeats.as_ref().map(Repeats::distinct),
            Values::Categorical(categories) => Some(categories.distinct()),
        }
    }

    /// Of the values that are kept track of, those that repeat an earlier one, and all of them: every value while there are no more
    /// different ones than [`FeatureProfile::distinct`] counts exactly, beyond that those of a sample by content, in which the share
    /// is the same but for chance. Where one value in a hundred repeats another, its standard error is about 0.3 percentage points.
    /// `None` of numbers that are not kept track of.
    #[must_use]
    pub fn repeated(&self) -> Option<(u64, u64)> {
        match &self.values {
            Values::Numeric(numbers) => numbers.repeats.as_ref().map(Repeats::repeated),
            Values::Categorical(categories) => Some(categories.repeated()),
        }
    }

    /// The [`Grid::fingerprint`] of the grid that the cells were counted on; `None` where there are no cells.
    #[must_use]
    pub fn grid_fingerprint(&self) -> Option<u32> {
        self.numbers().and_then(Numbers::grid_fingerprint)
    }

    /// Adds another window's profile of the same feature. On an error nothing has changed.
    ///
    /// # Errors
    ///
    /// When one profile is of numbers and the other of categories, or their cells are of different grids.
    pub fn merge(&mut self, other: &Self) -> Result<(), ProfileError> {
        match (&mut self.values, &other.values) {
            (Values::Numeric(mine), Values::Numeric(theirs)) => mine.merge(theirs)?,
            (Values::Categorical(mine), Values::Categorical(theirs)) => mine.merge(theirs),
            _ => return Err(ProfileError::DifferentKinds),
        }
        self.counts.add(&other.counts);
        self.mismatches.add(&other.mismatches);
        Ok(())
    }

    /// The profile without its quantiles, which only people look at. They take nearly all the time of a merge: what
    /// is merged into such a profile is added up in a fraction of it, and has no quantiles either.
    #[must_use]
    pub fn without_quantiles(mut self) -> Self {
        if let Values::Numeric(numbers) = &mut self.values {
            numbers.leave_quantiles();
        }
        self
    }

    /// The counts of two sides per category: those both sides keep by name, in alphabetical order, then what
    /// either side dropped as one pair under `None`. Empty unless both profiles are of categories.
    pub(super) fn paired_categories<'a>(
        &'a self,
        current: &'a Self,
    ) -> Vec<(Option<&'a str>, u64, u64)> {
        match (self.category_counts(), current.category_counts()) {
            (Some(reference), Some(current)) => categories::paired(reference, current),
            _ => Vec::new(),
        }
    }

    fn numbers(&self) -> Option<&Numbers> {
        match &self.values {
            Values::Numeric(numbers) => Some(numbers),
            Values::Categorical(_) => None,
        }
    }

    fn category_counts(&self) -> Option<&Categories> {
        match &self.values {
            Values::Numeric(_) => None,
            Values::Categorical(categories) => Some(categories),
        }
    }
}

#[cfg(test)]
mod tests;
