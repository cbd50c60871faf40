//! Distances, tests, histograms and sketches: slices in, numbers out.
//!
//! The way through this module is the way of a value. A [`Grid`] is fitted once on the baseline and then
//! frozen. Every window of production is counted on it into a [`FeatureProfile`], which can be stored,
//! merged and compared without reading a row again. A [`Comparison`] of two profiles gives the measures of
//! drift; [`distance`] holds the same measures on plain share vectors. [`quality`] accumulates outcomes,
//! which are pairs of a prediction and its label.
//!
//! Two decisions are easy to undo by accident. Counting in frozen cells, and not in bins refitted on both
//! samples or in quantile sketches, is what makes windows of any length sums of integers, and the measures
//! exact and the same in whatever order the data came. And a value that is not defined for its input is
//! `None` or an error with a reason; it is never a zero that could be read as "no drift".

pub mod distance;
pub mod drift;
pub mod grid;
pub mod profile;
pub mod quality;
pub mod thinning;

pub use drift::{Comparison, Distance, KolmogorovSmirnov, NotDefined};
pub use grid::{Grid, GridError};
pub use profile::{FeatureProfile, ProfileError, ProfileKind};
pub use quality::{BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes};
