//! The peers' statistics of a feature, day by day against one reference, computed by `stats::parity`. That these are what the
//! peers themselves say is measured on the same rows by [`crate::beside`].

use bellwether::stats::parity::nannyml::{NumericReference, learned_threshold};
use bellwether::stats::parity::{CategoryCounts, Mode, NumberKind};
use bellwether::stats::samples::{Sample, wasserstein_normalised};

/// Evidently's default cut-off of distances: drift from there on.
pub const EVIDENTLY_CUT: f64 = 0.1;

/// The rows of a feature that are there.
#[derive(Debug, Clone)]
pub enum Rows {
    Numbers(Vec<f64>, NumberKind),
    /// How many rows of each level.
    Levels(Vec<u64>),
}

/// A feature's reference, as each peer keeps it.
pub struct Peers {
    side: Side,
    /// NannyML's cut-off, learned from the reference's days: drift beyond.
    pub nannyml_cut: f64,
}

enum Side {
    Numbers {
        reference: Sample,
        nannyml: NumericReference,
    },
    Levels(CategoryCounts),
}

impl Peers {
    /// # Panics
    /// Without a finite number in the reference, and when days are of several kinds.
    pub fn of(days: &[Rows]) -> Self {
        let side = match &days[0] {
            Rows::Numbers(_, kind) => {
                let all: Vec<f64> = days.iter().flat_map(numbers).copied().collect();
                Side::Numbers {
                    nannyml: NumericReference::of(&all, *kind).expect("finite values"),
                    reference: Sample::of(&all),
                }
            }
            Rows::Levels(first) => {
                let mut sums = vec![0; first.len()];
                for day in days {
                    for (sum, count) in sums.iter_mut().zip(levels(day)) {
                        *sum += count;
                    }
                }
                Side::Levels(named(&sums))
            }
        };
        let mut peers = Self {
            side,
            nannyml_cut: 1.0,
        };
        let learned: Vec<f64> = days.iter().map(|day| peers.distances(day)[1]).collect();
        peers.nannyml_cut = learned_threshold(&learned, Some(1.0)).unwrap_or(1.0);
        peers
    }

    /// Evidently's and NannyML's distance of a day; 0 where they give none.
    pub fn distances(&self, day: &Rows) -> [f64; 2] {
        let values = match &self.side {
            Side::Numbers { reference, nannyml } => {
                let day = Sample::of(numbers(day));
                [
                    wasserstein_normalised(reference, &day),
                    nannyml.jensen_shannon(&day),
                ]
            }
            Side::Levels(reference) => {
                let day = named(levels(day));
                [Mode::Evidently, Mode::Nannyml].map(|mode| {
                    let results = mode.compare_categorical(reference, &day);
                    let chosen = results.into_iter().find(|result| result.chosen);
                    chosen.and_then(|result| result.value)
                })
            }
        };
        values.map(Option::unwrap_or_default)
    }
}

fn numbers(day: &Rows) -> &Vec<f64> {
    match day {
        Rows::Numbers(numbers, _) => numbers,
        Rows::Levels(_) => unreachable!("a feature keeps its kind"),
    }
}

fn levels(day: &Rows) -> &Vec<u64> {
    match day {
        Rows::Levels(levels) => levels,
        Rows::Numbers(..) => unreachable!("a feature keeps its kind"),
    }
}

fn named(counts: &[u64]) -> CategoryCounts {
    let counts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    counts
        .map(|(level, count)| (level.to_string(), *count))
        .collect()
}
