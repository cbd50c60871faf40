//! How far off estimates have been, once the labels came.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Estimated;
use crate::stats::quality::Z_95;

/// An estimate beside the truth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub estimated: Estimated,
    /// The value that the labels gave.
    pub realised: f64,
}

impl Compared {
    /// How much the estimate was too high.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.estimated.value - self.realised
    }

    /// Whether the truth was in the interval.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        (self.estimated.interval.0..=self.estimated.interval.1).contains(&self.realised)
    }

    /// The error in standard errors; `None` if the interval has no width.
    fn deviation(&self) -> Option<f64> {
        let (low, high) = self.estimated.interval;
        let error = (high - low) / 2.0 / Z_95;
        (error > 0.0).then(|| self.error() / error)
    }
}

/// What the last windows whose labels have matured say of the estimates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reliability {
    windows: VecDeque<Compared>,
}

/// Windows that are remembered.
const REMEMBERED: usize = 60;

/// Of fewer windows it is not known how far off they are wont to be.
const LEAST_KNOWN: usize = 8;

/// What labels say about an estimate after the fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConceptChange {
    /// No window has matured yet: nobody knows.
    Unknown,
    /// The last estimate was as close as its interval says, or off by no more than is harmless, or than is usual.
    Agrees,
    /// The last estimate was off by more than its interval allows, which happens to one in twenty. It was too high by so much.
    Off { by: f64 },
    /// Estimates have been off the same way for so many windows: what the scores mean has changed, and the estimates
    /// do not see it. They were too high by so much on average.
    Blinded { windows: usize, by: f64 },
}

impl Reliability {
    /// Takes in a window whose labels have matured, in the order of time. What is no number is left out.
    pub fn push(&mut self, compared: Compared) {
        if compared.error().is_finite() {
            self.windows.push_back(compared);
            if self.windows.len() > REMEMBERED {
                self.windows.pop_front();
            }
        }
    }

    fn last(&self, windows: usize) -> impl Iterator<Item = &Compared> {
        self.windows.iter().rev().take(windows)
    }

    /// "Has been within x of the truth for the last n windows": x, for at most so many windows, and how many there were.
    #[must_use]
    pub fn within(&self, windows: usize) -> Option<(f64, usize)> {
        let largest = self.last(windows).map(|window| window.error().abs());
        Some((largest.reduce(f64::max)?, self.windows.len().min(windows)))
    }

    /// For how many windows in a row, up to now, estimates have been within `distance` of the truth.
    #[must_use]
    pub fn streak(&self, distance: f64) -> usize {
        let close = |window: &&Compared| window.error().abs() <= distance;
        self.last(REMEMBERED).take_while(close).count()
    }

    /// The mean size of the error over the last windows.
    #[must_use]
    pub fn mean_absolute_error(&self, windows: usize) -> Option<f64> {
        let (sum, count) = self.last(windows).fold((0.0, 0.0), |(sum, count), window| {
            (sum + window.error().abs(), count + 1.0)
        });
        (count > 0.0).then(|| sum / count)
    }

    /// The share of the last windows whose truth was in the interval; 0.95 is what was promised.
    #[must_use]
    pub fn coverage(&self, windows: usize) -> Option<f64> {
        let count = self.last(windows).count();
        let held = self
            .last(windows)
            .filter(|window| window.is_covered())
            .count();
        (count > 0).then(|| held as f64 / count as f64)
    }

    /// Whether concept change has made the estimates blind, where errors up to `harmless` do not matter, in the unit of what is
    /// estimated.
    ///
    /// One estimate outside its interval is to be expected in twenty. Two in a row on the same side are called blinded: by chance
    /// about once in eight hundred windows, if windows err independently. Windows share what a small reference has wrong and what days
    /// differ by, so where the windows before have been further off than their intervals say, so far is to be expected.
    #[must_use]
    pub fn concept_change(&self, harmless: f64) -> ConceptChange {
        let Some(last) = self.windows.back() else {
            return ConceptChange::Unknown;
        };
        let run = |limit: f64| -> Vec<f64> {
            let off = |window: &Compared| {
                let matters = window.error().abs() > harmless;
                window.deviation().filter(|z| matters && z.abs() > limit)
            };
            let now = off(last).unwrap_or(0.0);
            let same = |window: &&Compared| off(window).is_some_and(|z| z * now > 0.0);
            let run = self.last(REMEMBERED).take_while(same);
            run.map(Compared::error).collect()
        };
        let spread = self.spread_before(run(Z_95).len());
        let errors = run(Z_95 * spread);
        match errors.len() {
            0 => ConceptChange::Agrees,
            1 => ConceptChange::Off { by: last.error() },
            windows => ConceptChange::Blinded {
                windows,
                by: errors.iter().sum::<f64>() / windows as f64,
            },
        }
    }

    /// How many times further than their intervals say the windows before the last few have been off, 1 at least and where
    /// they are fewer than [`LEAST_KNOWN`].
    fn spread_before(&self, windows: usize) -> f64 {
        let before = self.windows.iter().rev().skip(windows);
        let squares: Vec<f64> = before
            .filter_map(|window| Some(window.deviation()?.powi(2)))
            .collect();
        if squares.len() < LEAST_KNOWN {
            return 1.0;
        }
        let mean = squares.iter().sum::<f64>() / squares.len() as f64;
        mean.sqrt().max(1.0)
    }
}
