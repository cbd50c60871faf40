//! Why quality was lost: other rows, or other answers to the same rows.
//!
//! A mean loss changes because the rows are others (input drift) or because rows like these now lose more (concept change).
//! [`decompose`] splits the change between the two, [`rank_features`] says along which feature each of them runs, [`find_segments`]
//! where rows lose more than elsewhere, and [`new_and_vanished`] which rows were not there before. All of it works on
//! counts and sums by cell, after the labels have come; each loss is a number of which more is worse, such as 0 and 1 for
//! right and wrong, or an absolute error.

mod decomposition;
mod ranking;
mod segments;

pub use decomposition::{Decomposition, Moments, Part, decompose};
pub use ranking::{FeatureCause, rank_features};
pub use segments::{Presence, Segment, SegmentChange, find_segments, new_and_vanished};

/// One side of a comparison: rows whose features are bins, with their losses.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledRows {
    features: Vec<Vec<u16>>,
    losses: Vec<f64>,
}

/// Why causes cannot be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCauses {
    #[error("the features and the losses have different lengths")]
    DifferentLengths,
    #[error("the two sides have different features")]
    DifferentFeatures,
    #[error("a loss is not a finite number")]
    NotFinite,
    #[error("a side has too few labelled rows")]
    TooFewRows,
}

/// Rows that a cell, a segment or a side needs before anything is said of it.
const FEWEST_ROWS: u64 = 30;

impl LabelledRows {
    /// From the bins of each feature, one list per feature, and the losses of the rows.
    ///
    /// # Errors
    /// For lists of different lengths, and for losses that are not finite.
    pub fn new(features: Vec<Vec<u16>>, losses: Vec<f64>) -> Result<Self, NoCauses> {
        if features.iter().any(|bins| bins.len() != losses.len()) {
            return Err(NoCauses::DifferentLengths);
        }
        if !losses.iter().all(|loss| loss.is_finite()) {
            return Err(NoCauses::NotFinite);
        }
        Ok(Self { features, losses })
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.losses.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.losses.is_empty()
    }

    /// Sums by bin of a feature.
    fn moments(&self, feature: usize, bins: usize) -> Vec<Moments> {
        let mut moments = vec![Moments::default(); bins];
        for (bin, loss) in self.features[feature].iter().zip(&self.losses) {
            moments[usize::from(*bin)].push(*loss);
        }
        moments
    }
}

/// The number of bins of a feature on both sides.
fn bins_of(reference: &LabelledRows, current: &LabelledRows, feature: usize) -> usize {
    let sides = [reference, current].into_iter();
    let most = sides.flat_map(|side| side.features[feature].iter().max());
    most.max().map_or(0, |bin| usize::from(*bin) + 1)
}

fn check(reference: &LabelledRows, current: &LabelledRows) -> Result<(), NoCauses> {
    if reference.features.len() != current.features.len() {
        return Err(NoCauses::DifferentFeatures);
    }
    if (reference.len().min(current.len()) as u64) < FEWEST_ROWS {
        return Err(NoCauses::TooFewRows);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
