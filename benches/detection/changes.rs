//! Changes of a feature: of where and how far its numbers lie, of its categories' shares, and of single rows, as broken
//! pipelines and new segments make them.

use bellwether::stats::parity::NumberKind;

use crate::random::Random;
use crate::shapes::{Moved, Shape};

/// A change of one feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Drift {
    Number(Moved),
    /// The shares afterwards; a level more than before is new.
    Category(Vec<f64>),
    /// So large a share of the rows becomes something else.
    Rows(f64, Becomes),
    /// Weekends are so many deviations higher than before.
    Weekend(f64),
}

/// What a row of a number becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Becomes {
    /// Another segment's.
    Moved(Moved),
    /// One of another shape with the same mean and deviation.
    Like(Shape),
    /// The same in another unit.
    Unit {
        factor: f64,
        plus: f64,
    },
    /// The nearest multiple.
    Rounded(f64),
    /// No more than this.
    Clipped(f64),
    /// Always this.
    Stuck(f64),
    Missing,
    /// Missing where it is more than this.
    MissingAbove(f64),
}

impl Becomes {
    /// The share of rows that are there and at most `x`.
    fn share_up_to(self, shape: Shape, moved: Moved, x: f64) -> f64 {
        match self {
            Self::Moved(by) => shape.share_up_to(x, moved.and(by)),
            Self::Like(other) => {
                let standard = (x - shape.mean()) / shape.deviation();
                other.share_up_to(other.mean() + standard * other.deviation(), moved)
            }
            Self::Unit { factor, plus } => shape.share_up_to((x - plus) / factor, moved),
            Self::Rounded(step) => shape.share_up_to(((x / step).floor() + 0.5) * step, moved),
            Self::Clipped(most) if x >= most => 1.0,
            Self::Clipped(_) => shape.share_up_to(x, moved),
            Self::Stuck(value) => f64::from(u8::from(x >= value)),
            Self::Missing => 0.0,
            Self::MissingAbove(most) => shape.share_up_to(x.min(most), moved),
        }
    }

    fn draw(self, shape: Shape, moved: Moved, random: &mut Random) -> Option<f64> {
        match self {
            Self::Moved(by) => Some(shape.draw(random, moved.and(by))),
            Self::Like(other) => {
                let standard = (other.draw(random, moved) - other.mean()) / other.deviation();
                Some(shape.mean() + standard * shape.deviation())
            }
            Self::Stuck(value) => Some(value),
            Self::Missing => None,
            Self::Unit { factor, plus } => Some(factor * shape.draw(random, moved) + plus),
            Self::Rounded(step) => Some((shape.draw(random, moved) / step).round() * step),
            Self::Clipped(most) => Some(shape.draw(random, moved).min(most)),
            Self::MissingAbove(most) => {
                Some(shape.draw(random, moved)).filter(|value| *value <= most)
            }
        }
    }
}

/// The numbers of a day, before they are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    pub shape: Shape,
    pub moved: Moved,
    /// What so large a share of the rows has become.
    pub changed: Option<(f64, Becomes)>,
}

impl Numbers {
    pub fn kind(&self) -> NumberKind {
        match self.shape {
            Shape::Poisson => NumberKind::Integer,
            _ => NumberKind::Float,
        }
    }

    /// The share of rows that are there and at most `x`; at infinity, of those that are there.
    pub fn share_up_to(&self, x: f64) -> f64 {
        let as_before = self.shape.share_up_to(x, self.moved);
        self.changed.map_or(as_before, |(share, becomes)| {
            share * becomes.share_up_to(self.shape, self.moved, x) + (1.0 - share) * as_before
        })
    }

    /// A row; `None` if it is missing.
    pub fn draw(&self, random: &mut Random) -> Option<f64> {
        match self.changed {
            Some((share, becomes)) if random.uniform() < share => {
                becomes.draw(self.shape, self.moved, random)
            }
            _ => Some(self.shape.draw(random, self.moved)),
        }
    }
}
