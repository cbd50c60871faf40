//! Distributions of numbers: their rows, and the share of rows up to a value.

use std::f64::consts::{E, PI, SQRT_2};

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

    /// Moved, and moved again.
    pub fn and(self, other: Self) -> Self {
        Self {
            shift: self.shift + other.shift,
            scale: self.scale * other.scale,
        }
    }
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

    pub fn mean(self) -> f64 {
        match self {
            Self::Normal | Self::Student3 | Self::Student2 | Self::Bimodal => 0.0,
            Self::Lognormal => 0.5_f64.exp(),
            Self::Exponential => 1.0,
            Self::Uniform => 0.5,
            Self::Poisson => POISSON_MEAN,
        }
    }

    /// Of the heaviest tails, which have none, the scale of the others' kind.
    pub fn deviation(self) -> f64 {
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
    pub fn share_up_to(self, x: f64, moved: Moved) -> f64 {
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
