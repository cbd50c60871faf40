//! The changes whose delays are measured.

use crate::changes::{Becomes, Drift};
use crate::shapes::{Moved, Shape};
use crate::streams::{normalised, zipf};

/// Where the categories begin among the thirty features.
const CATEGORIES: usize = 20;

/// A change of one of the thirty features.
#[derive(Debug, Clone)]
pub struct Kind {
    pub name: String,
    pub place: usize,
    pub drift: Drift,
}

/// Changes of where numbers lie and of categories' shares, from below the gate of size to plain, each of another feature.
pub fn kinds() -> Vec<Kind> {
    let number = |place: usize, shape: Shape, shift: f64, scale: f64| {
        let what = match (shift != 0.0, scale != 1.0) {
            (true, _) => format!("{} +{shift} σ", shape.name()),
            (_, true) => format!("{} × {scale}", shape.name()),
            _ => shape.name().to_owned(),
        };
        Kind {
            name: what,
            place,
            drift: Drift::Number(Moved { shift, scale }),
        }
    };
    let category = |index: usize, name: &str, shares: Vec<f64>| Kind {
        name: name.to_owned(),
        place: CATEGORIES + index,
        drift: Drift::Category(shares),
    };
    vec![
        number(0, Shape::Normal, 0.05, 1.0),
        number(1, Shape::Normal, 0.1, 1.0),
        number(2, Shape::Normal, 0.2, 1.0),
        number(3, Shape::Normal, 0.3, 1.0),
        number(4, Shape::Normal, 0.5, 1.0),
        number(5, Shape::Normal, 0.0, 1.25),
        number(6, Shape::Lognormal, 0.1, 1.0),
        number(7, Shape::Lognormal, 0.2, 1.0),
        number(9, Shape::Exponential, 0.1, 1.0),
        number(10, Shape::Exponential, 0.0, 1.1),
        number(14, Shape::Uniform, 0.1, 1.0),
        number(15, Shape::Uniform, 0.0, 1.25),
        number(16, Shape::Bimodal, 0.2, 1.0),
        number(18, Shape::Poisson, 0.2, 1.0),
        category(0, "two categories, .50 to .55", vec![0.45, 0.55]),
        category(1, "a rare one of two, 2 % to 3 %", vec![0.97, 0.03]),
        category(
            3,
            "five categories, 2 points",
            moved(vec![0.4, 0.25, 0.15, 0.12, 0.08], 0.02),
        ),
        category(4, "eight categories, 5 points", moved(zipf(8, 1.0), 0.05)),
        category(5, "a new category, 0.2 %", with_new(zipf(12, 1.0), 0.002)),
        category(6, "a new category, 1 %", with_new(zipf(20, 1.0), 0.01)),
        category(7, "fifty categories, 5 points", moved(zipf(50, 1.0), 0.05)),
    ]
}

/// So much moved from the first category to the second.
pub fn moved(mut shares: Vec<f64>, part: f64) -> Vec<f64> {
    shares[0] -= part;
    shares[1] += part;
    shares
}

/// One category more.
pub fn with_new(shares: Vec<f64>, part: f64) -> Vec<f64> {
    shares
        .into_iter()
        .map(|share| share * (1.0 - part))
        .chain([part])
        .collect()
}

/// Changes of shape, and of single rows as broken pipelines and new segments make them: in lists, in each of which every
/// change is of another feature.
pub fn more_kinds() -> [Vec<Kind>; 2] {
    let of = |place: usize, name: &str, drift: Drift| Kind {
        name: name.to_owned(),
        place,
        drift,
    };
    let rows = |place: usize, name: &str, share: f64, becomes: Becomes| {
        of(place, name, Drift::Rows(share, becomes))
    };
    let category = |index: usize, name: &str, shares: Vec<f64>| {
        of(CATEGORIES + index, name, Drift::Category(shares))
    };
    let by = |shift: f64| Becomes::Moved(Moved { shift, scale: 1.0 });
    let hundredfold = Becomes::Unit {
        factor: 100.0,
        plus: 0.0,
    };
    // Of temperatures around 15 °C that vary by 8.
    let fahrenheit = Becomes::Unit {
        factor: 1.8,
        plus: 5.5,
    };
    let scaled = Drift::Number(Moved {
        shift: 0.0,
        scale: 1.1,
    });
    [
        vec![
            of(0, "normal × 1.1", scaled),
            rows(
                1,
                "skew: half of a normal is lognormal",
                0.5,
                Becomes::Like(Shape::Lognormal),
            ),
            rows(
                2,
                "tails: a normal is Student's t, 3 degrees",
                1.0,
                Becomes::Like(Shape::Student3),
            ),
            rows(
                3,
                "split: half of a normal is bimodal",
                0.5,
                Becomes::Like(Shape::Bimodal),
            ),
            rows(4, "rounded to whole deviations", 1.0, Becomes::Rounded(1.0)),
            rows(5, "100 times as much, 1 % of rows", 0.01, hundredfold),
            rows(6, "100 times as much, 5 % of rows", 0.05, hundredfold),
            rows(
                7,
                "clipped at the 95th percentile",
                1.0,
                Becomes::Clipped(1.645_f64.exp()),
            ),
            rows(
                9,
                "clipped at the 90th percentile",
                1.0,
                Becomes::Clipped(10_f64.ln()),
            ),
            rows(10, "missing, 2 % of rows", 0.02, Becomes::Missing),
            rows(
                11,
                "missing, the largest 5 %",
                1.0,
                Becomes::MissingAbove(20_f64.ln()),
            ),
            rows(12, "one value in 5 % of rows", 0.05, Becomes::Stuck(0.3)),
            rows(13, "one value in all rows", 1.0, Becomes::Stuck(0.3)),
            rows(14, "missing, 1 % of rows", 0.01, Becomes::Missing),
            rows(16, "a segment of 20 % moves by 1 σ", 0.2, by(1.0)),
            rows(17, "a segment of 5 % moves by 1 σ", 0.05, by(1.0)),
            rows(18, "zero in 5 % of rows", 0.05, Becomes::Stuck(0.0)),
            rows(19, "a segment of 20 % moves by 0.5 σ", 0.2, by(0.5)),
            category(1, "two labels swapped, 98 and 2 %", vec![0.02, 0.98]),
            category(2, "two labels swapped, 50 and 30 %", vec![0.3, 0.5, 0.2]),
            category(
                3,
                "two labels swapped, 15 and 12 %",
                vec![0.4, 0.25, 0.12, 0.15, 0.08],
            ),
            category(
                5,
                "a segment of 5 % has a new label",
                with_new(zipf(12, 1.0), 0.05),
            ),
            category(
                6,
                "five rare labels of twenty vanish",
                without_last(zipf(20, 1.0), 5),
            ),
            category(
                8,
                "a new category of 1 % beside a hundred",
                with_new(zipf(100, 1.1), 0.01),
            ),
            category(
                9,
                "three hundred categories, 5 points",
                moved(zipf(300, 1.1), 0.05),
            ),
        ],
        vec![
            rows(0, "100 times as much, all rows", 1.0, hundredfold),
            rows(1, "°C become °F, all rows", 1.0, fahrenheit),
            rows(2, "°C become °F, 5 % of rows", 0.05, fahrenheit),
            rows(
                3,
                "rounded to a tenth of a deviation",
                1.0,
                Becomes::Rounded(0.1),
            ),
            rows(4, "clipped at one deviation", 1.0, Becomes::Clipped(1.0)),
            rows(
                5,
                "missing, the largest 2 %",
                1.0,
                Becomes::MissingAbove(2.054),
            ),
        ],
    ]
}

/// Weekends change where they differ from other days by 0.3 deviations already.
pub fn weekend_kinds() -> Vec<Kind> {
    let of = |place: usize, name: &str, by: f64| Kind {
        name: name.to_owned(),
        place,
        drift: Drift::Weekend(by),
    };
    vec![
        of(0, "weekends stand out twice as much", 0.3),
        of(1, "weekends stand out half as much again", 0.15),
        of(2, "weekends do not stand out any more", -0.3),
    ]
}

/// Without so many of the last categories.
fn without_last(mut shares: Vec<f64>, count: usize) -> Vec<f64> {
    let from = shares.len() - count;
    shares[from..].fill(0.0);
    normalised(shares)
}
