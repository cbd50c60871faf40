//! Measures on the cells of a grid, with bounds on what the raw values could give.
//!
//! Inside a cell only the counts are known, so at any place in it the distance of the two distribution
//! functions lies between what it would be if all of one side's values, or all of the other's, came first. A
//! value is computed as if both sides were spread evenly over the cell; the bound says how far the raw value
//! can be from that. A cell that holds a single number has no inside, so features of few values, and the point
//! masses of others, are exact.
//!
//! For the Wasserstein distance there is more to go by: the profiles keep the exact means, whose difference is
//! the signed area between the functions. Where one function is above the other throughout, which is what a
//! shifted feature looks like, the value is exact.

use super::anderson_darling::{self, AndersonDarling};
use super::cramer_von_mises::{self, CramerVonMises};
use super::grid::Grid;
use super::profile::FeatureProfile;

/// Two profiles counted on one grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellPair<'a> {
    grid: &'a Grid,
    reference: &'a [u64],
    current: &'a [u64],
    sides: Sides,
}

/// What is known of the values beside the cells.
#[derive(Debug, Clone, Copy)]
struct Sides {
    rows: (f64, f64),
    means: Option<(f64, f64)>,
    /// The smallest and the largest value of each.
    ends: [(f64, f64); 2],
}

/// A value with the largest amount by which that of the raw rows can differ, and its sampling variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounded {
    pub(super) value: f64,
    pub(super) error_bound: f64,
    pub(super) variance: f64,
}

/// One cell with the distribution functions around it.
#[derive(Clone, Copy)]
struct Cell {
    bounds: (f64, f64),
    point: bool,
    counts: (u64, u64),
    /// Both functions at the left end.
    before: (f64, f64),
    /// The shares of both sides that fall into the cell.
    inside: (f64, f64),
}

impl Cell {
    /// Both functions over all of it.
    fn lines(&self) -> Lines {
        Lines([
            Line::rising(self.before.0, self.inside.0),
            Line::rising(self.before.1, self.inside.1),
        ])
    }
}

/// A part of a cell in which both functions are taken to be straight lines: all of it, or what lies between the ends that the
/// sides have in an outer one.
#[derive(Clone, Copy)]
struct Stretch {
    width: f64,
    lines: Lines,
}

/// The reference's distribution function, and the current one, over a cell or a part of it.
#[derive(Clone, Copy)]
struct Lines([Line; 2]);

/// A distribution function from one place to another.
#[derive(Clone, Copy)]
struct Line {
    from: f64,
    to: f64,
    /// Between these it is, wherever in the cell the values are.
    least: f64,
    most: f64,
}

impl Line {
    fn flat(at: f64) -> Self {
        Self::rising(at, 0.0)
    }

    fn rising(before: f64, inside: f64) -> Self {
        let after = before + inside;
        Self {
            from: before,
            to: after,
            least: before,
            most: after,
        }
    }
}

impl Lines {
    fn gap_before(&self) -> f64 {
        self.0[0].from - self.0[1].from
    }

    fn gap_after(&self) -> f64 {
        self.0[0].to - self.0[1].to
    }

    /// The least and the most that the distance of the functions can be.
    fn gap_range(&self) -> (f64, f64) {
        let [reference, current] = &self.0;
        (
            reference.least - current.most,
            reference.most - current.least,
        )
    }

    /// The least and the most of the distance's size.
    fn size_range(&self) -> (f64, f64) {
        let (low, high) = self.gap_range();
        (low.max(-high).max(0.0), high.max(-low))
    }
}

/// Where the values are that a side has in a cell, if it has any.
struct Extent {
    lowest: f64,
    highest: f64,
    before: f64,
    inside: f64,
}

impl Extent {
    /// Whether values, if there are any, may be anywhere from one place to the other.
    fn fills(&self, from: f64, to: f64) -> bool {
        self.inside == 0.0 && from.is_finite() && to.is_finite()
            || self.lowest == from && self.highest == to
    }

    /// Whether all values are there.
    fn is_at(&self, place: f64) -> bool {
        self.inside > 0.0 && self.lowest == place && self.highest == place
    }

    /// The function over all of the cell.
    fn rise(&self) -> Line {
        Line::rising(self.before, self.inside)
    }

    /// The function from one place to another, between which no values begin or end.
    fn line(&self, from: f64, to: f64) -> Line {
        if self.is_at(from) && from == to {
            return self.rise();
        }
        if self.inside == 0.0 || to <= self.lowest {
            return Line::flat(self.before);
        }
        if from >= self.highest {
            return Line::flat(self.before + self.inside);
        }
        // By halves, which the largest numbers do not overflow.
        let whole = self.highest / 2.0 - self.lowest / 2.0;
        let share = |place: f64| {
            let part = (place / 2.0 - self.lowest / 2.0) / whole;
            self.before + self.inside * part.clamp(0.0, 1.0)
        };
        Line {
            from: share(from),
            to: share(to),
            ..self.rise()
        }
    }
}

impl<'a> CellPair<'a> {
    /// `None` unless both profiles were counted on the grid and have values.
    pub(super) fn of(
        reference: &'a FeatureProfile,
        current: &'a FeatureProfile,
        grid: Option<&'a Grid>,
    ) -> Option<Self> {
        let grid =
            grid.filter(|grid| reference.is_counted_on(grid) && current.is_counted_on(grid))?;
        Some(Self {
            grid,
            reference: reference.cells()?,
            current: current.cells()?,
            sides: Sides {
                rows: (reference.valid() as f64, current.valid() as f64),
                means: reference.mean().zip(current.mean()),
                ends: [
                    (reference.minimum()?, reference.maximum()?),
                    (current.minimum()?, current.maximum()?),
                ],
            },
        })
    }

    /// The edges of the bins that are compared, and the values of both sides in each: the deciles of the baseline.
    ///
    /// Where a tenth of the baseline or more is its smallest value, no decile lies below that, and what is less would count
    /// as equal to it, a constant's drop or a −999 for what is missing among them. So values below are a bin of their own
    /// there, if there are any, and likewise above the largest.
    pub(super) fn bins(&self) -> (Vec<f64>, Vec<u64>, Vec<u64>) {
        let mut edges = self.grid.decile_edges().to_vec();
        edges.extend(self.outer_edges());
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let counts = |cells| self.grid.bin_counts(&edges, cells);
        let (reference, current) = (counts(self.reference), counts(self.current));
        (edges, reference, current)
    }

    /// The edges of such bins, beside the deciles.
    pub(super) fn outer_edges(&self) -> impl Iterator<Item = f64> {
        let is_filled = |count: &u64| *count > 0;
        let values: u64 = self.reference.iter().sum();
        let is_mass =
            |cell: &usize| self.grid.is_point(*cell) && self.reference[*cell] * 10 >= values;
        let first = self.reference.iter().position(is_filled);
        let last = self.reference.iter().rposition(is_filled);
        let below = (first.filter(is_mass))
            .filter(|first| self.current[..*first].iter().any(is_filled))
            .map(|first| self.grid.bounds(first).0);
        let above = (last.filter(is_mass))
            .filter(|last| self.current[last + 1..].iter().any(is_filled))
            .map(|last| self.grid.bounds(last).1);
        below.into_iter().chain(above)
    }

    /// The number of cells.
    pub(super) fn len(&self) -> usize {
        self.grid.cells()
    }

    fn cells(&self) -> impl Iterator<Item = Cell> + Clone {
        let (n, m) = self.sides.rows;
        let mut below = (0_u64, 0_u64);
        let counts = self.reference.iter().zip(self.current).enumerate();
        counts.map(move |(index, (p, q))| {
            let before = (below.0 as f64 / n, below.1 as f64 / m);
            below = (below.0 + p, below.1 + q);
            Cell {
                bounds: self.grid.bounds(index),
                point: self.grid.is_point(index),
                counts: (*p, *q),
                before,
                inside: (*p as f64 / n, *q as f64 / m),
            }
        })
    }

    /// The cells, those in which a side has an end in parts.
    fn stretches(&self) -> Vec<Stretch> {
        let mut stretches = Vec::with_capacity(self.len() + 8);
        for cell in self.cells() {
            let extents = self.extents(&cell);
            let (from, to) = cell.bounds;
            if cell.point || extents.iter().all(|extent| extent.fills(from, to)) {
                stretches.push(Stretch {
                    width: if cell.point { 0.0 } else { to - from },
                    lines: cell.lines(),
                });
            } else {
                self.divide(&cell, &extents, &mut stretches);
            }
        }
        stretches
    }

    /// Where each side has its values in a cell.
    fn extents(&self, cell: &Cell) -> [Extent; 2] {
        let (from, to) = cell.bounds;
        let shares = [
            (cell.before.0, cell.inside.0),
            (cell.before.1, cell.inside.1),
        ];
        [0, 1].map(|side| Extent {
            lowest: from.max(self.sides.ends[side].0),
            highest: to.min(self.sides.ends[side].1),
            before: shares[side].0,
            inside: shares[side].1,
        })
    }

    /// What is outside the grid is taken to be spread over what its side has there, and not over all there is.
    fn divide(&self, cell: &Cell, extents: &[Extent; 2], stretches: &mut Vec<Stretch>) {
        let ends = &self.sides.ends;
        let start = cell.bounds.0.max(ends[0].0.min(ends[1].0));
        let end = cell.bounds.1.min(ends[0].1.max(ends[1].1));
        let mut places = vec![start, end];
        let filled = extents.iter().filter(|extent| extent.inside > 0.0);
        places.extend(filled.flat_map(|extent| [extent.lowest, extent.highest]));
        places.sort_unstable_by(f64::total_cmp);
        places.dedup();
        let mut last = None;
        for place in places
            .into_iter()
            .filter(|place| (start..=end).contains(place))
        {
            if let Some(last) = last {
                stretches.push(Stretch {
                    width: place - last,
                    lines: Lines([extents[0].line(last, place), extents[1].line(last, place)]),
                });
            }
            if extents.iter().any(|extent| extent.is_at(place)) {
                stretches.push(Stretch {
                    width: 0.0,
                    lines: Lines([extents[0].line(place, place), extents[1].line(place, place)]),
                });
            }
            last = Some(place);
        }
    }

    /// The largest distance of the distribution functions at an edge, and how much larger it could be
    /// inside a cell.
    pub(super) fn largest_gap(&self) -> (f64, f64) {
        let (mut statistic, mut possible) = (0.0_f64, 0.0_f64);
        for cell in self.cells() {
            statistic = statistic.max(cell.lines().gap_after().abs());
            if !cell.point {
                possible = possible.max(cell.lines().size_range().1);
            }
        }
        (statistic.min(1.0), (possible - statistic).max(0.0))
    }

    /// The area between the distribution functions; `None` when it is beyond the range of `f64`.
    pub(super) fn wasserstein(&self) -> Option<Bounded> {
        let (mut spread, mut low, mut high) = (0.0, 0.0, 0.0);
        // The areas where the reference's function is certainly, or possibly, above and below.
        let (mut above, mut below) = ((0.0, 0.0), (0.0, 0.0));
        for part in &self.stretches() {
            let (a, b) = (part.lines.gap_before(), part.lines.gap_after());
            spread += part.width * mean_size(a, b);
            let (least, most) = part.lines.size_range();
            low += part.width * least;
            high += part.width * most;
            let (from, to) = part.lines.gap_range();
            above.0 += part.width * from.max(0.0);
            above.1 += part.width * to.max(0.0);
            below.0 += part.width * (-to).max(0.0);
            below.1 += part.width * (-from).max(0.0);
        }
        if let Some((reference, current)) = self.sides.means {
            let signed = current - reference;
            low = low.max(signed + 2.0 * below.0).max(-signed + 2.0 * above.0);
            high = high
                .min(signed + 2.0 * below.1)
                .min(-signed + 2.0 * above.1);
        }
        bounded(spread, low, high, self.influence(f64::signum))
    }

    /// `√(2 ∫ (F − G)²)`; `None` when it is beyond the range of `f64`.
    pub(super) fn energy(&self) -> Option<Bounded> {
        let (mut spread, mut low, mut high) = (0.0, 0.0, 0.0);
        for part in &self.stretches() {
            let (a, b) = (part.lines.gap_before(), part.lines.gap_after());
            spread += part.width * (a * a + a * b + b * b) / 3.0;
            let (least, most) = part.lines.size_range();
            low += part.width * least * least;
            high += part.width * most * most;
        }
        let root = |area: f64| (2.0 * area).sqrt();
        let value = root(spread);
        // ∂e = 2 ∫ (F − G) ∂(F − G) / e
        let variance = if value > 0.0 {
            self.influence(|gap| 2.0 * gap) / (value * value)
        } else {
            0.0
        };
        bounded(value, root(low), root(high), variance)
    }

    /// The Wasserstein distance expected when nothing has changed: `√(2 s / π) ∫ √(F (1 − F))` over the
    /// reference, with `s = 1/n + 1/m` (del Barrio, Giné and Matrán 1999).
    pub(super) fn wasserstein_noise_floor(&self) -> f64 {
        let (n, m) = self.sides.rows;
        let spread: f64 = self
            .stretches()
            .iter()
            .map(|part| {
                let middle = f64::midpoint(part.lines.0[0].from, part.lines.0[0].to);
                part.width * (middle * (1.0 - middle)).max(0.0).sqrt()
            })
            .sum();
        (2.0 * (1.0 / n + 1.0 / m) / std::f64::consts::PI).sqrt() * spread
    }

    /// The energy distance whose square is expected when nothing has changed: `√(2 s ∫ F (1 − F))` over the reference.
    pub(super) fn energy_noise_floor(&self) -> f64 {
        let (n, m) = self.sides.rows;
        let spread: f64 = self
            .stretches()
            .iter()
            .map(|part| {
                let middle = f64::midpoint(part.lines.0[0].from, part.lines.0[0].to);
                part.width * (middle * (1.0 - middle)).max(0.0)
            })
            .sum();
        (2.0 * (1.0 / n + 1.0 / m) * spread).sqrt()
    }

    /// The Cramér–von Mises test, the values inside a cell taken to come in a random order, and how far the
    /// statistic of the raw values can be from that.
    pub(super) fn cramer_von_mises(&self) -> Option<(CramerVonMises, f64)> {
        let (n, m) = self.sides.rows;
        let (mut squares, mut low, mut high) = (0.0, 0.0, 0.0);
        for cell in self.cells() {
            let both = (cell.counts.0 + cell.counts.1) as f64;
            if cell.point {
                let part = both * cell.lines().gap_after().powi(2);
                (squares, low, high) = (squares + part, low + part, high + part);
                continue;
            }
            let (p, q) = (cell.counts.0 as f64, cell.counts.1 as f64);
            squares += shuffled_squares(cell.lines().gap_before(), (p, n), (q, m));
            squares += shuffled_squares(-cell.lines().gap_before(), (q, m), (p, n));
            let (least, most) = cell.lines().size_range();
            low += both * least * least;
            high += both * most * most;
        }
        let statistic = |squares: f64| n * m / (n + m).powi(2) * squares;
        let test = cramer_von_mises::of_squares(squares, n as u64, m as u64)?;
        let bound = (statistic(high) - test.statistic).max(test.statistic - statistic(low));
        Some((test, bound.max(0.0)))
    }

    /// The Anderson–Darling test with every cell as one tied value.
    pub(super) fn anderson_darling(&self) -> Option<AndersonDarling> {
        let groups = self.reference.iter().zip(self.current);
        anderson_darling::of_tie_groups(groups.map(|(p, q)| (*p, *q)))
    }

    /// The variance that the change gives the Cramér–von Mises statistic.
    pub(super) fn cramer_von_mises_variance(&self) -> f64 {
        self.rank_variance(|_| (1.0, 0.0))
    }

    /// The variance that the change gives the Anderson–Darling statistic before it is standardised.
    pub(super) fn anderson_darling_variance(&self) -> f64 {
        self.rank_variance(|share| {
            let spread = share * (1.0 - share);
            (1.0 / spread, (2.0 * share - 1.0) / (spread * spread))
        })
    }

    /// The sampling variance of `nm/(n+m) ∫ w(H) (F − G)² dH`, where H is the distribution of both sides' rows, by the influence of
    /// single rows: one at `x` moves its function up at and beyond `x`, H with it, and counts once more at `x`. It vanishes where
    /// nothing has changed. `weight` is w and its slope at a share of H.
    fn rank_variance(&self, weight: impl Fn(f64) -> (f64, f64)) -> f64 {
        let (n, m) = self.sides.rows;
        let parts = [n / (n + m), m / (n + m)];
        let cells: Vec<Cell> = self.cells().collect();
        let mut beyond = [0.0; 2];
        let mut sums = [(0.0, 0.0); 2];
        for cell in cells.iter().rev() {
            let inside = [cell.inside.0, cell.inside.1];
            let both = parts[0] * inside[0] + parts[1] * inside[1];
            if both == 0.0 {
                continue;
            }
            let share = parts[0] * cell.before.0 + parts[1] * cell.before.1 + both / 2.0;
            let gap = f64::midpoint(cell.lines().gap_before(), cell.lines().gap_after());
            let (weight, slope) = weight(share);
            for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
                let moved = both * (sign * 2.0 * weight * gap + parts[side] * slope * gap * gap);
                // Rows are in the middle of their cell on average.
                let influence = beyond[side] + moved / 2.0 + parts[side] * weight * gap * gap;
                beyond[side] += moved;
                sums[side].0 += inside[side] * influence;
                sums[side].1 += inside[side] * influence * influence;
            }
        }
        let variance = |(mean, square): (f64, f64)| (square - mean * mean).max(0.0);
        let scale = n * m / (n + m);
        scale * scale * (variance(sums[0]) / n + variance(sums[1]) / m)
    }

    /// The sampling variance of `∫ f(F − G)` with `f′ = slope`, by the influence of single rows: one at `x`
    /// moves its function up at and beyond `x`. NaN or infinite where values are too far apart to tell.
    fn influence(&self, slope: impl Fn(f64) -> f64) -> f64 {
        let (n, m) = self.sides.rows;
        let mut reached = 0.0;
        let mut sums = [(0.0, 0.0); 2];
        for part in &self.stretches() {
            let middle = f64::midpoint(part.lines.gap_before(), part.lines.gap_after());
            let reach = part.width * slope(middle);
            // Rows are in the middle of their stretch on average.
            let at = reached + reach / 2.0;
            reached += reach;
            for (sum, line) in sums.iter_mut().zip(&part.lines.0) {
                let share = line.to - line.from;
                sum.0 += share * at;
                sum.1 += share * at * at;
            }
        }
        // The squares of values beyond 10¹⁵⁴ are no numbers any more, and neither is their variance.
        let variance = |(mean, square): (f64, f64)| {
            let variance = square - mean * mean;
            if variance < 0.0 { 0.0 } else { variance }
        };
        variance(sums[0]) / n + variance(sums[1]) / m
    }
}

/// The expected sum of `(F − G)²` over one side's values in a cell, `own.0` of `own.1` in all, when they and
/// the other side's come in a random order. `gap` is the distance at the left end, own minus other.
///
/// After the t-th own value, `t b / (a + 1)` of the others are expected, with the variance of the negative
/// hypergeometric distribution.
fn shuffled_squares(gap: f64, own: (f64, f64), other: (f64, f64)) -> f64 {
    let ((a, n), (b, m)) = (own, other);
    let step = 1.0 / n - b / ((a + 1.0) * m);
    let means = a * gap * gap
        + gap * step * a * (a + 1.0)
        + step * step * a * (a + 1.0) * (2.0 * a + 1.0) / 6.0;
    means + a * b * (a + b + 1.0) / (6.0 * (a + 1.0)) / (m * m)
}

/// The mean size of a line from `a` to `b`.
fn mean_size(a: f64, b: f64) -> f64 {
    if a * b >= 0.0 {
        (a.abs() + b.abs()) / 2.0
    } else {
        (a * a + b * b) / (2.0 * (a.abs() + b.abs()))
    }
}

/// The value taken into its bounds, which rounding may have let cross.
fn bounded(value: f64, low: f64, high: f64, variance: f64) -> Option<Bounded> {
    let low = low.min(high);
    let value = value.max(low).min(high);
    let error_bound = (high - value).max(value - low);
    (value.is_finite() && error_bound.is_finite()).then_some(Bounded {
        value,
        error_bound,
        variance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::samples::{self, Sample};
    use proptest::prelude::*;

    fn profile(values: &[f64], grid: &Grid) -> FeatureProfile {
        let mut profile = FeatureProfile::numeric(Some(grid));
        profile
            .observe_numbers(values, Some(grid))
            .expect("the same grid");
        profile
    }

    /// Compares the measures on cells with those on the rows.
    fn assert_bounds_hold(reference: &[f64], current: &[f64], target: usize) {
        let grid = Grid::fit(reference, target);
        let (p, q) = (profile(reference, &grid), profile(current, &grid));
        let pair = CellPair::of(&p, &q, Some(&grid)).expect("counted on the grid");
        let (raw_p, raw_q) = (Sample::of(reference), Sample::of(current));
        let assert_within = |name: &str, raw: f64, value: f64, bound: f64| {
            let rounding = 1e-9 * (raw.abs() + bound.abs()) + 1e-12;
            assert!(
                (raw - value).abs() <= bound + rounding,
                "{name}: {raw} is not within {bound} of {value}"
            );
        };
        let (statistic, bound) = pair.largest_gap();
        let raw = samples::kolmogorov_smirnov(&raw_p, &raw_q).expect("values");
        assert_within("kolmogorov_smirnov", raw, statistic, bound);
        let area = pair.wasserstein().expect("in range");
        let raw = samples::wasserstein(&raw_p, &raw_q).expect("values");
        assert_within("wasserstein", raw, area.value, area.error_bound);
        let energy = pair.energy().expect("in range");
        let raw = samples::energy_distance(&raw_p, &raw_q).expect("values");
        assert_within("energy", raw, energy.value, energy.error_bound);
        let (test, bound) = pair.cramer_von_mises().expect("values");
        let raw = samples::cramer_von_mises(&raw_p, &raw_q).expect("values");
        assert_within("cramer_von_mises", raw.statistic, test.statistic, bound);
    }

    #[test]
    fn long_tails_and_sides_apart_are_near_the_rows() {
        let mut random = crate::stats::random::uniform(11);
        let mut normal = || crate::stats::tails::normal_quantile(random());
        let mut sample =
            |of: fn(f64) -> f64| -> Vec<f64> { (0..20_000).map(|_| of(normal())).collect() };
        let cases = [
            (
                "long tails",
                sample(|z| (1.5 * z).exp()),
                sample(|z| (1.6 * z + 0.1).exp()),
                0.02,
            ),
            ("apart", sample(|z| z), sample(|z| z + 1_000.0), 1e-3),
            ("constants", vec![3.0; 50], vec![4.0; 50], 1e-12),
        ];
        for (name, reference, current, within) in cases {
            let grid = Grid::fit(&reference, 256);
            let (p, q) = (profile(&reference, &grid), profile(&current, &grid));
            let pair = CellPair::of(&p, &q, Some(&grid)).expect("counted on the grid");
            let (p, q) = (Sample::of(&reference), Sample::of(&current));
            let measured = [
                (pair.wasserstein(), samples::wasserstein(&p, &q)),
                (pair.energy(), samples::energy_distance(&p, &q)),
            ];
            for (measured, raw) in measured {
                let (measured, raw) = (measured.expect("in range").value, raw.expect("values"));
                assert!(
                    (measured / raw - 1.0).abs() <= within,
                    "{name}: {measured} for {raw}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn measures_of_the_rows_are_within_the_bounds(
            reference in prop::collection::vec(-500i32..500, 1..300),
            current in prop::collection::vec(-700i32..600, 1..300),
            target in 2usize..64,
        ) {
            let scaled = |values: &[i32]| values.iter().map(|v| f64::from(*v) / 7.0).collect::<Vec<_>>();
            assert_bounds_hold(&scaled(&reference), &scaled(&current), target);
        }

        #[test]
        fn measures_of_few_distinct_values_are_those_of_the_rows(
            reference in prop::collection::vec(0i32..9, 5..200),
            current in prop::collection::vec(0i32..9, 5..200),
        ) {
            let mut whole = reference;
            whole.extend(0..9);
            let (p, q): (Vec<f64>, Vec<f64>) = (
                whole.iter().map(|v| f64::from(*v)).collect(),
                current.iter().map(|v| f64::from(*v)).collect(),
            );
            let grid = Grid::fit(&p, 256);
            let (profile_p, profile_q) = (profile(&p, &grid), profile(&q, &grid));
            let pair = CellPair::of(&profile_p, &profile_q, Some(&grid)).expect("counted on the grid");
            let (raw_p, raw_q) = (Sample::of(&p), Sample::of(&q));
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs() + 1e-12;
            let area = pair.wasserstein().expect("in range");
            prop_assert!(area.error_bound < 1e-9);
            prop_assert!(close(area.value, samples::wasserstein(&raw_p, &raw_q).expect("values")));
            let energy = pair.energy().expect("in range");
            prop_assert!(close(energy.value, samples::energy_distance(&raw_p, &raw_q).expect("values")));
            let (cvm, bound) = pair.cramer_von_mises().expect("values");
            let raw = samples::cramer_von_mises(&raw_p, &raw_q).expect("values");
            prop_assert!(bound < 1e-9 && close(cvm.statistic, raw.statistic));
            let ad = pair.anderson_darling().map(|test| test.statistic);
            let raw = samples::anderson_darling(&raw_p, &raw_q).map(|test| test.statistic);
            prop_assert!(ad.zip(raw).is_none_or(|(a, b)| close(a, b)), "{:?} {:?}", ad, raw);
        }
    }

    /// Squares of numbers from a small congruential generator, so that tails are long.
    fn draw(rows: usize, shift: f64, scale: f64, state: &mut u64) -> Vec<f64> {
        (0..rows)
            .map(|_| {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                ((*state >> 40) as f64 / 16_777_216.0).powi(2) * scale + shift
            })
            .collect()
    }

    #[test]
    fn wasserstein_of_a_shift_is_exact() {
        let mut state = 3;
        let (p, q) = (
            draw(5_000, 0.0, 1.0, &mut state),
            draw(3_000, 0.1, 1.0, &mut state),
        );
        let grid = Grid::fit(&p, 256);
        let (profile_p, profile_q) = (profile(&p, &grid), profile(&q, &grid));
        let area = CellPair::of(&profile_p, &profile_q, Some(&grid))
            .and_then(|pair| pair.wasserstein())
            .expect("in range");
        let raw = samples::wasserstein(&Sample::of(&p), &Sample::of(&q)).expect("values");
        assert!((area.value - raw).abs() < 2e-4 * raw, "{area:?} {raw}");
        assert!(area.error_bound < 0.01 * raw, "{area:?}");
    }

    #[test]
    fn the_variance_of_values_whose_squares_are_no_numbers_is_unknown() {
        let mut state = 7;
        for scale in [1e170, 1e200, 1e308] {
            let (p, q) = (
                draw(500, 0.0, scale, &mut state),
                draw(500, 0.0, scale, &mut state),
            );
            let grid = Grid::fit(&p, 256);
            let (p, q) = (profile(&p, &grid), profile(&q, &grid));
            let pair = CellPair::of(&p, &q, Some(&grid)).expect("counted on the grid");
            for of in [pair.wasserstein(), pair.energy()] {
                let of = of.expect("in range");
                assert!(
                    of.value > 0.0 && !of.variance.is_finite(),
                    "{scale}: {of:?}"
                );
            }
        }
    }

    #[test]
    fn wasserstein_without_drift_is_at_its_noise_floor() {
        let mut state = 5;
        let reference = draw(4_000, 0.0, 1.0, &mut state);
        let grid = Grid::fit(&reference, 256);
        let p = profile(&reference, &grid);
        let (mut sum, mut floor, mut variance, mut values) = (0.0, 0.0, 0.0, Vec::new());
        for _ in 0..300 {
            // The reference is drawn anew as well, for both sides vary.
            let fresh = profile(&draw(4_000, 0.0, 1.0, &mut state), &grid);
            let q = profile(&draw(1_000, 0.0, 1.0, &mut state), &grid);
            let pair = CellPair::of(&fresh, &q, Some(&grid)).expect("counted on the grid");
            let area = pair.wasserstein().expect("in range");
            sum += area.value / 300.0;
            variance += area.variance / 300.0;
            floor += pair.wasserstein_noise_floor() / 300.0;
            values.push(area.value);
        }
        assert!((sum / floor - 1.0).abs() < 0.1, "{sum} is not {floor}");
        let spread = values.iter().map(|v| (v - sum).powi(2)).sum::<f64>() / 300.0;
        assert!(
            variance > spread / 2.0 && variance < 8.0 * spread,
            "{variance} {spread}"
        );
        assert!(CellPair::of(&p, &p, None).is_none());
    }

    #[test]
    fn values_at_the_ends_of_the_range_have_no_area() {
        let (low, high) = ([f64::MIN, f64::MIN, 0.0], [f64::MAX, f64::MAX, 0.0]);
        let grid = Grid::fit(&low, 16);
        let (p, q) = (profile(&low, &grid), profile(&high, &grid));
        let pair = CellPair::of(&p, &q, Some(&grid)).expect("counted on the grid");
        assert_eq!(pair.wasserstein(), None);
        assert_eq!(pair.energy(), None);
        assert!(pair.cramer_von_mises().is_some());
    }
}
