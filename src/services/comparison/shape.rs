//! How a feature is distributed on both sides, coarse enough to be drawn.

use crate::stats::grid::Grid;
use crate::stats::profile::FeatureProfile;

/// Bars of a histogram.
const BARS: usize = 40;
/// Categories drawn by name; the others are added up.
const NAMED: usize = 10;
/// The share of the values at either end that does not stretch the axis.
const TAIL: f64 = 0.005;

/// Shares of both sides, bar by bar. The last number bars also hold what lies beyond the axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Numbers {
        from: f64,
        to: f64,
        reference: Vec<f64>,
        current: Vec<f64>,
    },
    Categories(Vec<CategoryShare>),
}

/// A category, or all that are not drawn by name.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoryShare {
    pub name: Option<String>,
    pub reference: f64,
    pub current: f64,
}

/// The shape of a feature; `None` when either side has no values.
pub(super) fn of(
    reference: &FeatureProfile,
    current: &FeatureProfile,
    grid: Option<&Grid>,
) -> Option<Shape> {
    if reference.valid() == 0 || current.valid() == 0 || reference.kind() != current.kind() {
        return None;
    }
    match grid {
        Some(grid) => numbers(reference, current, grid),
        None => Some(categories(reference, current)),
    }
}

/// Cells as pieces of the axis: where they begin and end, and what share they hold.
fn pieces(profile: &FeatureProfile, grid: &Grid) -> Option<Vec<(f64, f64, f64)>> {
    let (minimum, maximum) = (profile.minimum()?, profile.maximum()?);
    let cells = profile.cells()?;
    let total = profile.valid() as f64;
    let filled = cells.iter().enumerate().filter(|(_, count)| **count > 0);
    let pieces = filled.map(|(cell, count)| {
        let (lower, upper) = grid.bounds(cell);
        let (lower, upper) = (lower.max(minimum), upper.min(maximum));
        (lower.min(upper), upper, *count as f64 / total)
    });
    Some(pieces.collect())
}

fn numbers(reference: &FeatureProfile, current: &FeatureProfile, grid: &Grid) -> Option<Shape> {
    let (before, now) = (pieces(reference, grid)?, pieces(current, grid)?);
    let (from, to) = axis(&before, &now)?;
    Some(Shape::Numbers {
        from,
        to,
        reference: bars(&before, from, to),
        current: bars(&now, from, to),
    })
}

/// From the lower tail of one side to the upper tail of the other, whichever is further out.
fn axis(before: &[(f64, f64, f64)], now: &[(f64, f64, f64)]) -> Option<(f64, f64)> {
    let lower = |pieces: &[(f64, f64, f64)]| at_share(pieces.iter().copied(), TAIL);
    let upper = |pieces: &[(f64, f64, f64)]| {
        at_share(
            pieces
                .iter()
                .rev()
                .map(|(from, to, share)| (*to, *from, *share)),
            TAIL,
        )
    };
    let from = lower(before)?.min(lower(now)?);
    let to = upper(before)?.max(upper(now)?);
    (from.is_finite() && to.is_finite() && from <= to && (to - from).is_finite())
        .then_some((from, to))
}

/// Where the pieces, walked along, have held a share; inside a piece by interpolation.
fn at_share(pieces: impl Iterator<Item = (f64, f64, f64)>, wanted: f64) -> Option<f64> {
    let mut held = 0.0;
    let mut last = None;
    for (from, to, share) in pieces {
        if held + share >= wanted {
            return Some(from + (to - from) * ((wanted - held) / share).clamp(0.0, 1.0));
        }
        held += share;
        last = Some(to);
    }
    last
}

fn bars(pieces: &[(f64, f64, f64)], from: f64, to: f64) -> Vec<f64> {
    let mut bars = vec![0.0; BARS];
    let width = (to - from) / BARS as f64;
    let place = |value: f64| {
        if width > 0.0 {
            ((value - from) / width).clamp(0.0, BARS as f64 - 1e-9)
        } else {
            BARS as f64 / 2.0
        }
    };
    for (lower, upper, share) in pieces {
        let (first, last) = (place(*lower), place(*upper));
        if last - first < 1e-9 {
            bars[last as usize] += share;
            continue;
        }
        for (bar, held) in bars
            .iter_mut()
            .enumerate()
            .take(last as usize + 1)
            .skip(first as usize)
        {
            let covered = last.min(bar as f64 + 1.0) - first.max(bar as f64);
            *held += share * (covered / (last - first)).clamp(0.0, 1.0);
        }
    }
    bars
}

fn categories(reference: &FeatureProfile, current: &FeatureProfile) -> Shape {
    let share = |rows: u64, profile: &FeatureProfile| rows as f64 / profile.valid() as f64;
    let mut all: std::collections::BTreeMap<&str, (u64, u64)> = std::collections::BTreeMap::new();
    for (name, rows) in reference.categories() {
        all.entry(name).or_default().0 = rows;
    }
    for (name, rows) in current.categories() {
        all.entry(name).or_default().1 = rows;
    }
    let mut bars: Vec<CategoryShare> = all
        .into_iter()
        .map(|(name, (before, now))| CategoryShare {
            name: Some(name.to_owned()),
            reference: share(before, reference),
            current: share(now, current),
        })
        .collect();
    bars.sort_by(|a, b| (b.reference + b.current).total_cmp(&(a.reference + a.current)));
    let rest = bars.split_off(bars.len().min(NAMED));
    let sum = |side: fn(&CategoryShare) -> f64| rest.iter().map(side).sum::<f64>();
    let others = CategoryShare {
        name: None,
        reference: sum(|bar| bar.reference) + share(reference.rest(), reference),
        current: sum(|bar| bar.current) + share(current.rest(), current),
    };
    if others.reference + others.current > 0.0 {
        bars.push(others);
    }
    Shape::Categories(bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(values: &[f64], grid: &Grid) -> FeatureProfile {
        let mut profile = FeatureProfile::numeric_without_quantiles(grid);
        profile
            .observe_numbers(values, Some(grid))
            .expect("the same grid");
        profile
    }

    #[test]
    fn bars_of_a_side_add_up_to_one() {
        let values: Vec<f64> = (0..5_000).map(|i| f64::from(i % 977) / 7.0).collect();
        let grid = Grid::fit(&values, 256);
        let far: Vec<f64> = values.iter().map(|v| v * 1_000.0 - 50.0).collect();
        for current in [&values, &far, &vec![3.0; 10]] {
            let shape = of(
                &numeric(&values, &grid),
                &numeric(current, &grid),
                Some(&grid),
            );
            let Some(Shape::Numbers {
                reference,
                current,
                from,
                to,
            }) = shape
            else {
                panic!("both sides have numbers");
            };
            assert!(from < to);
            for side in [reference, current] {
                assert!((side.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                assert!(side.iter().all(|bar| *bar >= 0.0));
            }
        }
    }

    #[test]
    fn degenerate_sides_are_drawn_or_left_out() {
        let grid = Grid::fit(&[5.0; 20], 256);
        let constant = numeric(&[5.0; 20], &grid);
        let Some(Shape::Numbers { reference, .. }) = of(&constant, &constant, Some(&grid)) else {
            panic!("a constant is drawn");
        };
        assert!((reference.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(of(&constant, &numeric(&[], &grid), Some(&grid)), None);
    }

    #[test]
    fn categories_beyond_the_first_are_added_up() {
        let mut profile = FeatureProfile::categorical();
        for i in 0..30_u64 {
            profile
                .observe_category(&format!("c{i:02}"), 30 - i)
                .expect("categorical");
        }
        let Some(Shape::Categories(bars)) = of(&profile, &profile, None) else {
            panic!("both sides have categories");
        };
        assert_eq!(bars.len(), NAMED + 1);
        assert_eq!(bars[0].name.as_deref(), Some("c00"));
        assert_eq!(bars[NAMED].name, None);
        let total: f64 = bars.iter().map(|bar| bar.current).sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}
