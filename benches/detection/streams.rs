//! The streams that detectors are held against: features of the shapes features have, days on which nothing happens
//! in the ways in which nothing happens, and changes.
//!
//! Rows are drawn only where a statistic needs them. A detector that counts in frozen bins sees the same whether the
//! rows are drawn and counted or the counts are drawn from the multinomial distribution they have; the latter lets
//! thousands of days of a model run in a second.

use std::f64::consts::{E, PI, SQRT_2};

use bellwether::stats::detector::{Bins, FeatureDays, Observation, Role, Tally};
use bellwether::stats::grid::TARGET_CELLS;
use bellwether::stats::{FeatureProfile, Grid};
use statrs::function::erf::erfc;

use crate::random::Random;

/// A distribution of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Normal,
    Lognormal,
    Exponential,
    Student3,
    Student2,
    Uniform,
    Bimodal,
    Poisson,
}

/// How a day of numbers differs: moved by so many of its own standard deviations, and scaled about its mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    pub shift: f64,
    pub scale: f64,
}

impl Moved {
    pub const NOT: Self = Self {
        shift: 0.0,
        scale: 1.0,
    };
}

const POISSON_MEAN: f64 = 5.0;

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Lognormal => "lognormal",
            Self::Exponential => "exponential",
            Self::Student3 => "Student's t, 3 degrees",
            Self::Student2 => "Student's t, 2 degrees",
            Self::Uniform => "uniform",
            Self::Bimodal => "bimodal",
            Self::Poisson => "Poisson",
        }
    }

    fn mean(self) -> f64 {
        match self {
            Self::Normal | Self::Student3 | Self::Student2 | Self::Bimodal => 0.0,
            Self::Lognormal => 0.5_f64.exp(),
            Self::Exponential => 1.0,
            Self::Uniform => 0.5,
            Self::Poisson => POISSON_MEAN,
        }
    }

    /// Of the heaviest tails, which have none, the scale of the others' kind.
    fn deviation(self) -> f64 {
        match self {
            Self::Normal | Self::Exponential => 1.0,
            Self::Lognormal => ((E - 1.0) * E).sqrt(),
            Self::Student3 | Self::Student2 => 3_f64.sqrt(),
            Self::Uniform => (1.0_f64 / 12.0).sqrt(),
            Self::Bimodal => 5_f64.sqrt(),
            Self::Poisson => POISSON_MEAN.sqrt(),
        }
    }

    pub fn draw(self, random: &mut Random, moved: Moved) -> f64 {
        let value = match self {
            Self::Normal => random.normal(),
            Self::Lognormal => random.normal().exp(),
            Self::Exponential => random.exponential(),
            Self::Student3 | Self::Student2 => {
                let freedom = if self == Self::Student3 { 3 } else { 2 };
                let squares: f64 = (0..freedom).map(|_| random.normal().powi(2)).sum();
                random.normal() / (squares / f64::from(freedom)).sqrt()
            }
            Self::Uniform => random.uniform(),
            Self::Bimodal => random.normal() + if random.uniform() < 0.5 { -2.0 } else { 2.0 },
            Self::Poisson => return random.poisson(poisson_mean(moved)),
        };
        (value - self.mean()) * moved.scale + self.mean() + moved.shift * self.deviation()
    }

    /// The share of values of at most `x`.
    fn share_up_to(self, x: f64, moved: Moved) -> f64 {
        if x == f64::INFINITY {
            return 1.0;
        }
        let z = (x - self.mean() - moved.shift * self.deviation()) / moved.scale + self.mean();
        match self {
            Self::Normal => normal(z),
            Self::Lognormal if z <= 0.0 => 0.0,
            Self::Lognormal => normal(z.ln()),
            Self::Exponential => -(-z.max(0.0)).exp_m1(),
            Self::Student3 => {
                let s = z / 3_f64.sqrt();
                0.5 + (s / (1.0 + s * s) + s.atan()) / PI
            }
            Self::Student2 => 0.5 + z / (2.0 * (2.0 + z * z).sqrt()),
            Self::Uniform => z.clamp(0.0, 1.0),
            Self::Bimodal => f64::midpoint(normal(z - 2.0), normal(z + 2.0)),
            Self::Poisson => poisson_up_to(x, poisson_mean(moved)),
        }
    }
}

fn poisson_mean(moved: Moved) -> f64 {
    (POISSON_MEAN + moved.shift * POISSON_MEAN.sqrt()).max(0.1)
}

fn poisson_up_to(x: f64, mean: f64) -> f64 {
    let (mut term, mut sum, mut k) = ((-mean).exp(), 0.0, 0.0);
    while k <= x && k < 200.0 {
        sum += term;
        k += 1.0;
        term *= mean / k;
    }
    sum.min(1.0)
}

fn normal(z: f64) -> f64 {
    0.5 * erfc(-z / SQRT_2)
}

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
}

impl Calm {
    pub const IID: Self = Self {
        name: "days alike",
        day: 0.0,
        wandering: 0.0,
        weekend: 0.0,
        swings: false,
        heavy: false,
    };
}

/// A change of one feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    Number(Moved),
    /// The shares afterwards; a level more than before is new.
    Category(Vec<f64>),
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
    pub features: Vec<DayOfFeature>,
}

#[derive(Debug, Clone)]
pub enum DayOfFeature {
    Number(Shape, Moved),
    Category(Vec<f64>),
}

/// Buckets of days are numbered from a Monday.
pub const FIRST_DAY: i64 = 4;
/// Rows that a grid is fitted on at most.
const GRID_ROWS: u64 = 30_000;

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
        Day { rows, features }
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
        let season = if weekend && is_seasonal {
            calm.weekend
        } else {
            0.0
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
                DayOfFeature::Number(shape, moved)
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

/// The bins of a model's features, with what is needed to draw counts in them.
pub struct Counting {
    features: Vec<CountedFeature>,
    pub random: Random,
}

struct CountedFeature {
    bins: Bins,
    /// The upper edge of each bin of numbers.
    edges: Vec<f64>,
    names: Vec<String>,
}

/// The counts of a model's days, by feature and day.
pub type Tallies = Vec<Vec<Tally>>;

impl Counting {
    /// Chooses bins for the days of a reference, and counts these.
    pub fn of_reference(days: &[Day], mut random: Random) -> (Self, Tallies) {
        let mut features = Vec::new();
        let mut tallies = Vec::new();
        for place in 0..days[0].features.len() {
            let (feature, counted) = match &days[0].features[place] {
                DayOfFeature::Number(..) => numbers(days, place, &mut random),
                DayOfFeature::Category(_) => categories(days, place, &mut random),
            };
            features.push(feature);
            tallies.push(counted);
        }
        (Self { features, random }, tallies)
    }

    pub fn count(&mut self, day: &Day, place: usize) -> Tally {
        let feature = &self.features[place];
        match &day.features[place] {
            DayOfFeature::Number(shape, moved) => {
                count_numbers(&feature.edges, *shape, *moved, day.rows, &mut self.random)
            }
            DayOfFeature::Category(shares) => {
                let profile = profile(shares, &feature.names, day.rows, &mut self.random);
                feature.bins.tally(&profile).expect("categories")
            }
        }
    }

    /// What a reference is fitted on.
    pub fn feature_days<'a>(&self, tallies: &'a Tallies) -> Vec<FeatureDays<'a>> {
        self.feature_buckets(tallies, FIRST_DAY)
    }

    /// The same of buckets that are numbered from another.
    pub fn feature_buckets<'a>(&self, tallies: &'a Tallies, first: i64) -> Vec<FeatureDays<'a>> {
        let days = |place: usize| {
            (first..)
                .zip(&tallies[place])
                .map(|(bucket, tally)| Observation {
                    bucket,
                    holiday: false,
                    tally,
                })
        };
        (0..tallies.len())
            .map(|place| FeatureDays {
                name: format!("feature {place}"),
                role: Role::Input,
                bins: self.features[place].bins.clone(),
                days: days(place).collect(),
            })
            .collect()
    }
}

pub fn observation(day: usize, tally: &Tally) -> Observation<'_> {
    Observation {
        bucket: FIRST_DAY + day as i64,
        holiday: false,
        tally,
    }
}

fn numbers(days: &[Day], place: usize, random: &mut Random) -> (CountedFeature, Vec<Tally>) {
    let each = (GRID_ROWS / days.len() as u64).max(1);
    let of = |day: &Day| match day.features[place] {
        DayOfFeature::Number(shape, moved) => (shape, moved),
        DayOfFeature::Category(_) => unreachable!("a feature keeps its kind"),
    };
    let mut values = Vec::new();
    for day in days {
        let (shape, moved) = of(day);
        values.extend((0..day.rows.min(each)).map(|_| shape.draw(random, moved)));
    }
    let grid = Grid::fit(&values, TARGET_CELLS);
    let mut cells = vec![0; grid.cells()];
    for value in &values {
        cells[grid.cell_of(*value)] += 1;
    }
    let bins = Bins::of_numbers(&grid, &cells, days.len());
    let Bins::Numbers(cut) = &bins else {
        unreachable!("numbers have bins of numbers")
    };
    let edges: Vec<f64> = cut
        .cuts()
        .iter()
        .map(|cell| grid.bounds(*cell).1)
        .chain([f64::INFINITY])
        .collect();
    let tallies = days
        .iter()
        .map(|day| {
            let (shape, moved) = of(day);
            count_numbers(&edges, shape, moved, day.rows, random)
        })
        .collect();
    (
        CountedFeature {
            bins,
            edges,
            names: Vec::new(),
        },
        tallies,
    )
}

fn count_numbers(
    edges: &[f64],
    shape: Shape,
    moved: Moved,
    rows: u64,
    random: &mut Random,
) -> Tally {
    let mut below = 0.0;
    let shares: Vec<f64> = edges
        .iter()
        .map(|edge| {
            let up_to = shape.share_up_to(*edge, moved);
            let share = (up_to - below).max(0.0);
            below = up_to;
            share
        })
        .collect();
    Tally {
        rows,
        counts: random.multinomial(rows, &shares),
        ..Tally::default()
    }
}

fn categories(days: &[Day], place: usize, random: &mut Random) -> (CountedFeature, Vec<Tally>) {
    let mut levels = 0;
    let shares: Vec<&Vec<f64>> = days
        .iter()
        .map(|day| match &day.features[place] {
            DayOfFeature::Category(shares) => shares,
            DayOfFeature::Number(..) => unreachable!("a feature keeps its kind"),
        })
        .inspect(|shares| levels = levels.max(shares.len()))
        .collect();
    // One level more than now, for new ones.
    let names: Vec<String> = (0..=levels).map(|level| format!("level {level}")).collect();
    let profiles: Vec<FeatureProfile> = shares
        .iter()
        .zip(days)
        .map(|(shares, day)| profile(shares, &names, day.rows, random))
        .collect();
    let borrowed: Vec<&FeatureProfile> = profiles.iter().collect();
    let bins = Bins::of_profiles(&borrowed, None).expect("categories");
    let tallies = profiles
        .iter()
        .map(|day| bins.tally_of_reference(day).expect("categories"))
        .collect();
    (
        CountedFeature {
            bins,
            edges: Vec::new(),
            names,
        },
        tallies,
    )
}

fn profile(shares: &[f64], names: &[String], rows: u64, random: &mut Random) -> FeatureProfile {
    let mut profile = FeatureProfile::categorical();
    for (name, count) in names.iter().zip(random.multinomial(rows, shares)) {
        if count > 0 {
            profile.observe_category(name, count).expect("categories");
        }
    }
    profile
}
