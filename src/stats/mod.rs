//! Distances, tests, histograms and profiles: slices in, numbers out.
//!
//! The way through this module is the way of a value. A [`Grid`] is fitted once on the baseline and then
//! frozen. Every window of production is counted on it into a [`FeatureProfile`], which can be stored,
//! merged and compared without reading a row again. [`Readings`] of two profiles give every measure of drift
//! under one name, through a [`Comparison`]; [`distance`] and [`contingency`] hold measures on plain shares and
//! counts, and [`samples`] the exact ones on raw numbers. P-values are logarithms ([`tails`]). [`quality`] accumulates outcomes,
//! which are pairs of a prediction and its label.
//!
//! Two decisions are easy to undo by accident. Counting in frozen cells, and not in bins refitted on both
//! samples or by sketched quantiles, is what makes windows of any length sums of integers, and the measures
//! exact and the same in whatever order the data came. And a value that is not defined for its input is
//! `None` or an error with a reason; it is never a zero that could be read as "no drift".

pub mod anderson_darling;
pub mod attribution;
pub mod beta;
pub mod causes;
mod cells;
pub mod contingency;
pub mod cramer_von_mises;
pub mod dates;
pub mod detector;
pub mod distance;
pub mod drift;
pub mod estimation;
mod exact;
#[cfg(test)]
mod golden;
pub mod grid;
pub mod kolmogorov;
#[cfg(test)]
mod labelled_golden;
pub mod limits;
pub mod moderated;
pub mod multivariate;
pub mod parity;
pub mod profile;
pub mod quality;
#[cfg(test)]
mod random;
pub mod reading;
pub mod repeats;
pub mod samples;
pub mod sequential;
pub mod tails;
pub mod text;
pub mod thinning;
pub mod uncertainty;

pub use drift::{Comparison, Distance, KolmogorovSmirnov, NotDefined};
pub use grid::{Grid, GridError};
pub use profile::{FeatureProfile, ProfileError, ProfileKind};
pub use quality::{BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes};
pub use reading::{DriftMeasure, Reading, Readings};
pub use tails::PValue;
