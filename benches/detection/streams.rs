//! The streams that detectors are held against: features of the shapes features have, days on which nothing happens
//! in the ways in which nothing happens, and days on which something does.

use crate::changes::{Drift, Numbers};
use crate::random::Random;
use crate::shapes::{Moved, Shape};

/// A feature before anything happens to it.
#[derive(Debug, Clone)]
pub enum Feature {
    Number(Shape),
    Category(Vec<f64>),
}

/// Six normal, three lognormal, three exponential, two of Student's t, two uniform, two bimodal and two Poisson
/// features; and categories of 2, 2 (2 %), 3, 5, 8, 12, 20, 50, 100 and 300 levels.
pub fn thirty_features() -> Vec<Feature> {
    let shapes = [
        (Shape::Normal, 6),
        (Shape::Lognormal, 3),
        (Shape::Exponential, 3),
        (Shape::Student3, 2),
        (Shape::Uniform, 2),
        (Shape::Bimodal, 2),
        (Shape::Poisson, 2),
    ];
    let numbers = shapes
        .into_iter()
        .flat_map(|(shape, count)| vec![Feature::Number(shape); count]);
    let categories = [
        vec![0.5, 0.5],
        vec![0.98, 0.02],
        vec![0.5, 0.3, 0.2],
        vec![0.4, 0.25, 0.15, 0.12, 0.08],
        zipf(8, 1.0),
        zipf(12, 1.0),
        zipf(20, 1.0),
        zipf(50, 1.0),
        zipf(100, 1.1),
        zipf(300, 1.1),
    ];
    numbers.chain(categories.map(Feature::Category)).collect()
}

pub fn zipf(levels: usize, exponent: f64) -> Vec<f64> {
    normalised(
        (1..=levels)
            .map(|rank| (rank as f64).powf(-exponent))
            .collect(),
    )
}

pub fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// A way in which nothing happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calm {
    pub name: &'static str,
    /// Every day moves each number by so many deviations, and categories' logits by twice that.
    pub day: f64,
    /// What every day leaves to the next of such a movement.
    pub wandering: f64,
    /// Half of the numbers and of the categories are higher at weekends, by so many deviations.
    pub weekend: f64,
    /// Rows a day swing between a fifth and five times as many.
    pub swings: bool,
    /// Student's t with 2 degrees of freedom in place of 3.
    pub heavy: bool,
    /// So large a share of the rows comes twice.
    pub repeated: f64,
    /// Every so many days all rows come twice.
    pub twice_every: Option<usize>,
}

impl Calm {
    pub const IID: Self = Self {
        name: "days alike",
        day: 0.0,
        wandering: 0.0,
        weekend: 0.0,
        swings: false,
        heavy: false,
        repeated: 0.0,
        twice_every: None,
    };
    /// Days that differ as much as those of calm real models do.
    pub const DIFFERING: Self = Self {
        name: "days differ by 0.05 σ",
        day: 0.05,
        ..Self::IID
    };
}

/// A model whose days can be asked for, in order.
pub struct World {
    features: Vec<Feature>,
    calm: Calm,
    rows: u64,
    random: Random,
    /// What yesterday left: a shift for a number, logits for a category.
    level: Vec<Vec<f64>>,
}

/// What a day is, before its rows are drawn.
#[derive(Debug, Clone)]
pub struct Day {
    pub rows: u64,
    /// The share of the rows that come twice.
    pub repeated: f64,
    pub features: Vec<DayOfFeature>,
}

#[derive(Debug, Clone)]
pub enum DayOfFeature {
    Number(Numbers),
    Category(Vec<f64>),
}

/// Buckets of days are numbered from a Monday.
pub const FIRST_DAY: i64 = 4;

impl World {
    pub fn new(features: Vec<Feature>, calm: Calm, rows: u64, random: Random) -> Self {
        let level = features
            .iter()
            .map(|feature| match feature {
                Feature::Number(_) => vec![0.0],
                Feature::Category(shares) => vec![0.0; shares.len()],
            })
            .collect();
        Self {
            features,
            calm,
            rows,
            random,
            level,
        }
    }

    /// The day of this number. `drifts` are the features that have changed, by their place, each so far as `part`
    /// says.
    pub fn day(&mut self, number: usize, drifts: &[(usize, Drift)], part: f64) -> Day {
        let rows = if self.calm.swings {
            let swing = 5_f64.powf(2.0 * self.random.uniform() - 1.0);
            (self.rows as f64 * swing).max(1.0) as u64
        } else {
            self.rows
        };
        let features = (0..self.features.len())
            .map(|place| {
                let drift = drifts
                    .iter()
                    .find(|(own, _)| *own == place)
                    .map(|(_, drift)| drift);
                self.feature_day(place, number % 7 >= 5, drift, part)
            })
            .collect();
        let is_twice = |every: usize| number % every == every - 1;
        let repeated = if self.calm.twice_every.is_some_and(is_twice) {
            1.0
        } else {
            self.calm.repeated
        };
        Day {
            rows,
            repeated,
            features,
        }
    }

    fn feature_day(
        &mut self,
        place: usize,
        weekend: bool,
        drift: Option<&Drift>,
        part: f64,
    ) -> DayOfFeature {
        let calm = self.calm;
        let kept = calm.wandering;
        let fresh = (1.0 - kept * kept).sqrt() * calm.day;
        let is_number = matches!(self.features[place], Feature::Number(_));
        let times = if is_number { 1.0 } else { 2.0 };
        if calm.day > 0.0 {
            for level in &mut self.level[place] {
                *level = kept * *level + fresh * times * self.random.normal();
            }
        }
        let is_seasonal = if is_number { place < 10 } else { place < 25 };
        let change = match drift {
            Some(Drift::Weekend(by)) => part * by,
            _ => 0.0,
        };
        let season = match (weekend, is_seasonal) {
            (true, true) => calm.weekend + change,
            (true, false) => change,
            (false, _) => 0.0,
        };
        match (&self.features[place], drift) {
            (Feature::Number(shape), drift) => {
                let change = match drift {
                    Some(Drift::Number(moved)) => *moved,
                    _ => Moved::NOT,
                };
                let shape = if calm.heavy && *shape == Shape::Student3 {
                    Shape::Student2
                } else {
                    *shape
                };
                let moved = Moved {
                    shift: self.level[place][0] + season + part * change.shift,
                    scale: 1.0 + part * (change.scale - 1.0),
                };
                let changed = match drift {
                    Some(Drift::Rows(share, becomes)) => Some((part * share, *becomes)),
                    _ => None,
                };
                DayOfFeature::Number(Numbers {
                    shape,
                    moved,
                    changed,
                })
            }
            (Feature::Category(shares), drift) => {
                let mut weights = match drift {
                    Some(Drift::Category(after)) => (0..after.len())
                        .map(|i| {
                            let before = shares.get(i).copied().unwrap_or(0.0);
                            before + part * (after[i] - before)
                        })
                        .collect(),
                    _ => shares.clone(),
                };
                for (weight, level) in weights.iter_mut().zip(&self.level[place]) {
                    *weight *= level.exp();
                }
                // A weekend of 0.3 deviations is one of 0.4 in the first level's logit.
                weights[0] *= (season * 4.0 / 3.0).exp();
                DayOfFeature::Category(normalised(weights))
            }
        }
    }
}
