//! Free quantiles of a profile.
//!
//! Most windows hold a few hundred rows, and the sketch would keep that many values unchanged anyway. So the
//! values themselves are kept until there are more than the sketch would hold at its lowest level, which is
//! exact, quicker, and smaller when values repeat; only then does the sketch begin.

use datasketches::common::SearchCriteria;
use datasketches::error::Error;
use datasketches::kll::{KllFloat, KllSketch};

/// The accuracy parameter of the sketch: a rank error of 1.33 % at 99 % confidence.
pub(super) const SKETCH_K: u16 = 200;

/// How many values are kept as they are.
pub(super) const MAX_EXACT: usize = SKETCH_K as usize;

pub(super) type Sketch = KllSketch<KllFloat<f64>>;

#[derive(Debug, Clone)]
pub(super) enum Quantiles {
    /// All values, in no order.
    Exact(Vec<f64>),
    Sketch(Sketch),
    /// None are kept: whoever made the profile has no use for them, and a sketch costs more than all the rest.
    Left,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Quantiles {
    /// Adds a number, which must not be NaN.
    pub(super) fn observe(&mut self, value: f64) {
        match self {
            Self::Exact(values) if values.len() < MAX_EXACT => values.push(value),
            Self::Exact(values) => {
                let mut sketch = sketch_of(values);
                sketch.update(ordered(value));
                *self = Self::Sketch(sketch);
            }
            Self::Sketch(sketch) => sketch.update(ordered(value)),
            Self::Left => {}
        }
    }

    /// Whether values are to be shown to it.
    pub(super) fn are_kept(&self) -> bool {
        !matches!(self, Self::Left)
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), Error> {
        match (&mut *self, other) {
            // Those of a part are not those of the whole.
            (Self::Left, _) | (_, Self::Left) => *self = Self::Left,
            (Self::Exact(mine), Self::Exact(theirs)) if mine.len() + theirs.len() <= MAX_EXACT => {
                mine.extend(theirs);
            }
            (Self::Exact(mine), Self::Exact(theirs)) => {
                let mut sketch = sketch_of(mine);
                extend(&mut sketch, theirs);
                *self = Self::Sketch(sketch);
            }
            (Self::Exact(mine), Self::Sketch(theirs)) => {
                let mut sketch = theirs.clone();
                extend(&mut sketch, mine);
                *self = Self::Sketch(sketch);
            }
            (Self::Sketch(mine), Self::Exact(theirs)) => extend(mine, theirs),
            (Self::Sketch(mine), Self::Sketch(theirs)) => mine.merge(theirs)?,
        }
        Ok(())
    }

    /// The smallest value of rank at least `q`.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        match self {
            Self::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                let rank = (q * sorted.len() as f64).ceil() as usize;
                sorted.get(rank.saturating_sub(1)).copied()
            }
            Self::Sketch(sketch) => sketch
                .quantile(q, SearchCriteria::Inclusive)
                .ok()
                .flatten()
                .map(KllFloat::into_inner),
            Self::Left => None,
        }
    }
}

impl Quantiles {
    /// All values while they are kept as they are; beyond, those at so many ranks, evenly spaced.
    pub(super) fn sampled(&self, ranks: usize) -> Vec<f64> {
        match self {
            Self::Exact(values) => values.clone(),
            Self::Sketch(sketch) => {
                let ranks: Vec<f64> = (0..ranks)
                    .map(|rank| (rank as f64 + 0.5) / ranks as f64)
                    .collect();
                let values = sketch.quantiles(&ranks, SearchCriteria::Inclusive);
                let values = values.ok().flatten().unwrap_or_default();
                values.into_iter().map(KllFloat::into_inner).collect()
            }
            Self::Left => Vec::new(),
        }
    }
}

fn sketch_of(values: &[f64]) -> Sketch {
    let mut sketch = Sketch::new(SKETCH_K).expect("200 is an accuracy parameter the sketch allows");
    extend(&mut sketch, values);
    sketch
}

fn extend(sketch: &mut Sketch, values: &[f64]) {
    for value in values {
        sketch.update(ordered(*value));
    }
}

fn ordered(value: f64) -> KllFloat<f64> {
    KllFloat::<f64>::new(value)
        .expect("NaN is counted before a value gets here, and refused when decoding")
}
