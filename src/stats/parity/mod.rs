//! The numbers other tools give, by their own rules.
//!
//! A team that comes from another tool has thresholds tuned to that tool's numbers, and "Jensen–Shannon 0.1" of
//! one is not that of another: the bins, the base of the logarithm, the smoothing and the boundary differ. Each
//! [`Mode`] reproduces one tool as it behaves by default, its choice of method by sample size included, from raw
//! values or category counts. These modes are for comparing two files and for moving thresholds over. The
//! service itself measures with [`super::Readings`], whose bins do not move with the window.
//!
//! What is reproduced is held against values of the tools themselves (`tests/it/reference.rs`, where every
//! difference that remains is explained); versions are named in each file.

pub mod azure;
mod binning;
pub mod checks;
pub mod evidently;
pub mod nannyml;
mod recipes;
pub mod sagemaker;
pub mod tfdv;

use std::collections::{BTreeMap, BTreeSet};

/// Rows per category.
pub type CategoryCounts = BTreeMap<String, u64>;

/// A tool whose numbers are reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    Evidently,
    Nannyml,
    Azure,
    Tfdv,
    Sagemaker,
}

/// A word that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no mode {0:?}; the modes are evidently, nannyml, azure, tfdv and sagemaker")]
pub struct UnknownMode(pub String);

impl Mode {
    /// Every mode.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &[
            Self::Evidently,
            Self::Nannyml,
            Self::Azure,
            Self::Tfdv,
            Self::Sagemaker,
        ]
    }

    /// The machine name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evidently => "evidently",
            Self::Nannyml => "nannyml",
            Self::Azure => "azure",
            Self::Tfdv => "tfdv",
            Self::Sagemaker => "sagemaker",
        }
    }

    /// What the tool says of a numeric column, its own choice first.
    ///
    /// The values are in the order of the rows, NaN where one has none; NaN and the infinities are left out.
    #[must_use]
    pub fn compare_numeric(
        self,
        reference: &[f64],
        current: &[f64],
        kind: NumberKind,
    ) -> Vec<ParityResult> {
        match self {
            Self::Evidently => evidently::numeric(reference, current),
            Self::Nannyml => nannyml::numeric(reference, current, kind),
            Self::Azure => azure::numeric(reference, current),
            Self::Tfdv => tfdv::numeric(reference, current),
            Self::Sagemaker => sagemaker::numeric(reference, current),
        }
    }

    /// What the tool says of a categorical column, its own choice first. Categories without rows are ignored.
    /// NannyML learns its thresholds from chunks of the reference, which counts do not have; see
    /// [`Self::compare_categories`].
    #[must_use]
    pub fn compare_categorical(
        self,
        reference: &CategoryCounts,
        current: &CategoryCounts,
    ) -> Vec<ParityResult> {
        match self {
            Self::Evidently => evidently::categorical(reference, current),
            Self::Nannyml => nannyml::categorical(reference, &[], current),
            Self::Azure => azure::categorical(reference, current),
            Self::Tfdv => tfdv::categorical(reference, current),
            Self::Sagemaker => sagemaker::categorical(reference, current),
        }
    }
}

impl Mode {
    /// What the tool says of a categorical column whose values are known row by row, its own choice first. Rows without one
    /// are left out.
    #[must_use]
    pub fn compare_categories(
        self,
        reference: &[Option<&str>],
        current: &[Option<&str>],
    ) -> Vec<ParityResult> {
        let (counts, current) = (counted(reference), counted(current));
        if self != Self::Nannyml {
            return self.compare_categorical(&counts, &current);
        }
        let chunks = reference.chunks(nannyml::chunk_length(reference.len()));
        let chunks: Vec<CategoryCounts> = chunks.map(counted).collect();
        nannyml::categorical(&counts, &chunks, &current)
    }
}

/// How many rows have each category.
#[must_use]
pub fn counted(categories: &[Option<&str>]) -> CategoryCounts {
    // Names are made once for each category, not for each row.
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for category in categories.iter().flatten() {
        *counts.entry(category).or_default() += 1;
    }
    let named = counts.into_iter();
    named
        .map(|(category, rows)| (category.to_owned(), rows))
        .collect()
}

impl std::str::FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = Self::all().iter().find(|mode| mode.as_str() == text);
        mode.copied().ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// How a numeric column is stored; NannyML treats whole numbers of few values as categories, and decides by
/// this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    Integer,
    Float,
}

/// A threshold, and on which side of it a value is drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Drift at this value and above.
    AtLeast(f64),
    /// Drift above this value.
    Above(f64),
    /// Drift at this value and below.
    AtMost(f64),
    /// Drift below this value.
    Below(f64),
}

impl Threshold {
    fn verdict(self, value: f64) -> Verdict {
        let drift = match self {
            Self::AtLeast(limit) => value >= limit,
            Self::Above(limit) => value > limit,
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
        };
        if drift {
            Verdict::Drift
        } else {
            Verdict::NoDrift
        }
    }

    /// The number itself.
    #[must_use]
    pub fn limit(self) -> f64 {
        match self {
            Self::AtLeast(limit)
            | Self::Above(limit)
            | Self::AtMost(limit)
            | Self::Below(limit) => limit,
        }
    }
}

/// What the tool would conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Drift,
    NoDrift,
    /// The tool has no threshold unless it is given one.
    NoThreshold,
    /// There is no value, for this reason.
    NotDefined(&'static str),
}

/// One number of a tool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParityResult {
    pub mode: Mode,
    /// The tool's method, in the tool's terms.
    pub method: &'static str,
    /// The number the tool reports, which for tests is the p-value with some tools; `None` where it reports
    /// none or fails.
    pub value: Option<f64>,
    /// The p-value, of methods that are tests.
    pub p_value: Option<f64>,
    pub threshold: Option<Threshold>,
    pub verdict: Verdict,
    /// Whether the tool takes this method by itself for such data.
    pub chosen: bool,
}

impl ParityResult {
    /// A value that a threshold is held against.
    fn judged(
        mode: Mode,
        method: &'static str,
        value: Option<f64>,
        threshold: Option<Threshold>,
    ) -> Self {
        let value = value.filter(|value| value.is_finite());
        let verdict = match (value, threshold) {
            (None, _) => Verdict::NotDefined("the method gives no number for these values"),
            (Some(_), None) => Verdict::NoThreshold,
            (Some(value), Some(threshold)) => threshold.verdict(value),
        };
        Self {
            mode,
            method,
            value,
            p_value: None,
            threshold,
            verdict,
            chosen: false,
        }
    }

    /// The number that the threshold is held against: of tests the p-value.
    #[must_use]
    pub fn judged_value(&self) -> Option<f64> {
        self.p_value.or(self.value)
    }

    /// A test whose p-value is the number reported and judged.
    fn tested(
        mode: Mode,
        method: &'static str,
        p_value: Option<f64>,
        threshold: Threshold,
    ) -> Self {
        let judged = Self::judged(mode, method, p_value, Some(threshold));
        Self {
            p_value: judged.value,
            ..judged
        }
    }

    /// The single answer for data no method can say anything about.
    fn undefined(mode: Mode, reason: &'static str) -> Vec<Self> {
        vec![Self {
            mode,
            method: "none",
            value: None,
            p_value: None,
            threshold: None,
            verdict: Verdict::NotDefined(reason),
            chosen: true,
        }]
    }
}

/// Marks the tool's own choice and puts it first.
fn with_choice(mut results: Vec<ParityResult>, method: &'static str) -> Vec<ParityResult> {
    for result in &mut results {
        result.chosen = result.method == method;
    }
    results.sort_by_key(|result| !result.chosen);
    results
}

const NO_REFERENCE: &str = "the reference has no values";
const NO_CURRENT: &str = "the window has no values";

/// The counts of both sides over the union of their categories, in alphabetical order.
fn paired(reference: &CategoryCounts, current: &CategoryCounts) -> (Vec<u64>, Vec<u64>) {
    let names: BTreeSet<&String> = (reference.iter().chain(current))
        .filter(|(_, count)| **count > 0)
        .map(|(name, _)| name)
        .collect();
    let count = |side: &CategoryCounts, name: &String| side.get(name).copied().unwrap_or(0);
    names
        .into_iter()
        .map(|name| (count(reference, name), count(current, name)))
        .unzip()
}

/// Why two tables of counts cannot be compared, if they cannot.
fn emptiness(reference: &[u64], current: &[u64]) -> Option<&'static str> {
    if reference.iter().all(|count| *count == 0) {
        Some(NO_REFERENCE)
    } else if current.iter().all(|count| *count == 0) {
        Some(NO_CURRENT)
    } else {
        None
    }
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total: f64 = counts.iter().map(|count| *count as f64).sum();
    counts.iter().map(|count| *count as f64 / total).collect()
}

#[cfg(test)]
mod tests;
