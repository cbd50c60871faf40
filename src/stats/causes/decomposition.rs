//! How much of a change is input drift and how much concept change.
//!
//! With shares `p` and mean losses `e` of the reference's cells and `p′`, `e′` of the window's:
//!
//! ```text
//! Σ p′e′ − Σ p e  =  Σ (p′ − p) e   +   Σ p′ (e′ − e)
//!                    input drift        concept change
//! ```
//!
//! This is the decomposition of Kitagawa (1955), weighting the reference's losses with the window's rows, as reweighting by the
//! ratio of densities would. A cell should hold rows that lost the same in the reference: then it does not matter how the
//! window's rows are spread within it. Bins of a model's expected loss are such cells (a prognostic score, Hansen 2008), and
//! hold for all features at once; bins of one feature tell of that feature alone. What cells cannot see, features that nobody
//! recorded among it, is called concept change. Rows in cells that the reference says nothing of are a third part: there
//! the two cannot be told apart (Cai, Namkoong and Yadlowsky 2023).

use serde::{Deserialize, Serialize};

use super::{FEWEST_ROWS, NoCauses};
use crate::stats::quality::Z_95;

/// Number, sum and sum of squares of losses. Merges by adding.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moments {
    pub rows: u64,
    pub sum: f64,
    pub squares: f64,
}

impl Moments {
    /// Takes a loss in.
    pub fn push(&mut self, loss: f64) {
        self.rows += 1;
        self.sum += loss;
        self.squares += loss * loss;
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// What is left without some of them.
    pub(super) fn without(&self, part: &Self) -> Self {
        Self {
            rows: self.rows - part.rows,
            sum: self.sum - part.sum,
            squares: self.squares - part.squares,
        }
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.rows as f64
    }

    /// The variance of the mean; that of a single row is taken from all others as `prior`.
    pub(super) fn error(&self, prior: f64) -> f64 {
        let n = self.rows as f64;
        let spread = (self.squares - self.sum * self.sum / n).max(0.0);
        // Drawn to the variance of all by one row, so that a cell of equal losses is not taken for certain.
        (spread + prior) / n / n
    }

    /// The variance of one row.
    pub(super) fn variance(&self) -> f64 {
        let n = self.rows as f64;
        ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0)
    }
}

/// A part of a change of the mean loss: above 0 is for the worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    pub value: f64,
    /// 95 %.
    pub interval: (f64, f64),
}

impl Part {
    pub(super) fn new(value: f64, variance: f64) -> Self {
        let half = Z_95 * variance.max(0.0).sqrt();
        Self {
            value,
            interval: (value - half, value + half),
        }
    }

    /// Whether the interval leaves out 0.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }

    fn variance(&self) -> f64 {
        ((self.interval.1 - self.interval.0) / 2.0 / Z_95).powi(2)
    }
}

/// A change of the mean loss with its parts, which add up to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decomposition {
    pub total: Part,
    /// Other rows.
    pub input: Part,
    /// The same rows lose more.
    pub concept: Part,
    /// Rows unlike any that the reference knows.
    pub outside: Part,
    /// Their share of the window.
    pub outside_share: f64,
}

impl Decomposition {
    /// The share of the change that input drift explains; below 0 or above 1 where the parts go against each other. `None` unless
    /// the change itself is significant: a share of nothing means nothing. The interval takes the parts' errors as
    /// independent.
    #[must_use]
    pub fn input_share(&self) -> Option<Part> {
        if !self.total.is_significant() {
            return None;
        }
        let share = self.input.value / self.total.value;
        let others = self.concept.variance() + self.outside.variance();
        let variance = ((1.0 - share).powi(2) * self.input.variance() + share * share * others)
            / self.total.value.powi(2);
        Some(Part::new(share, variance))
    }
}

/// Splits the change of the mean loss over cells of the reference and the window.
///
/// # Errors
/// With fewer than 30 labelled rows on a side.
pub fn decompose(cells: &[(Moments, Moments)]) -> Result<Decomposition, NoCauses> {
    let (mut reference, mut current) = (Moments::default(), Moments::default());
    for (of_reference, of_current) in cells {
        reference.merge(of_reference);
        current.merge(of_current);
    }
    if reference.rows.min(current.rows) < FEWEST_ROWS {
        return Err(NoCauses::TooFewRows);
    }
    let (n, m) = (reference.rows as f64, current.rows as f64);
    let (base, prior) = (reference.mean(), reference.variance());
    let now = current.variance();
    let (mut input, mut concept, mut outside, mut outside_share) = (0.0, 0.0, 0.0, 0.0);
    // Variances: of the cells' means, and, by the squares, of the shares.
    let (mut of_input, mut of_concept, mut of_outside) = (0.0, 0.0, 0.0);
    let (mut expected_squares, mut change_squares) = (0.0, 0.0);
    for (before, after) in cells {
        let (p, q) = (before.rows as f64 / n, after.rows as f64 / m);
        if before.rows < FEWEST_ROWS {
            let change = if after.rows > 0 {
                after.mean() - base
            } else {
                0.0
            };
            outside += q * change;
            outside_share += q;
            of_outside += if after.rows > 0 {
                q * q * after.error(now)
            } else {
                0.0
            };
            // What the reference has here leaves it, and nothing is known of what takes its place.
            input += if before.rows > 0 {
                p * (base - before.mean())
            } else {
                0.0
            };
            continue;
        }
        let (mean, error) = (before.mean(), before.error(prior));
        input += (q - p) * (mean - base);
        of_input += (q - p).powi(2) * error;
        expected_squares += q * (mean - base).powi(2);
        if after.rows > 0 {
            let change = after.mean() - mean;
            concept += q * change;
            of_concept += q * q * (error + after.error(now));
            change_squares += q * change * change;
        }
    }
    of_input += (expected_squares - input * input).max(0.0) / m;
    of_input += (reference.variance() / n).min(expected_squares / n);
    of_concept += (change_squares - concept * concept).max(0.0) / m;
    Ok(Decomposition {
        total: Part::new(
            current.mean() - base,
            reference.error(prior) + current.error(now),
        ),
        input: Part::new(input, of_input),
        concept: Part::new(concept, of_concept),
        outside: Part::new(outside, of_outside),
        outside_share,
    })
}
