//! The fixed cells a numeric feature is counted in.
//!
//! A grid is fitted once, on the baseline, and never moves: that is what makes counts of different windows
//! addable and comparable. Its edges are quantiles of the baseline, so that every cell holds about the same
//! share of it (towards the ends ever less), and they include three kinds of edge that make results exact rather than approximate: the
//! deciles (PSI and its relatives are sums of whole cells), the smallest and largest value, and the two
//! sides of every value that is frequent enough to be a point mass.

use std::iter;
use std::ops::Range;

/// The number of cells to aim for unless there is a reason for another.
pub const TARGET_CELLS: usize = 256;

/// No grid has more edges, so that a damaged or hostile profile cannot ask for more memory than this.
pub const MAX_EDGES: usize = 4_095;

/// The largest target [`Grid::fit`] follows: a point mass takes two edges, and the result must respect
/// [`MAX_EDGES`].
const MAX_TARGET_CELLS: usize = 1_024;

/// Increasing edges that cut the numbers into cells: cell `i` is `(edges[i-1], edges[i]]`, and the two
/// outer cells are open, so there is one cell more than there are edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    edges: Vec<f64>,
    decile_edges: Vec<f64>,
    fingerprint: u32,
    index: Index,
}

/// Where to look for a value among the edges: the axis, without the tails, in equal slots, and the number of edges before each. With
/// about one edge a slot a value's cell is found in a few steps instead of a search through all edges.
#[derive(Debug, Clone, PartialEq)]
struct Index {
    lowest: f64,
    slots_per_unit: f64,
    /// For each slot, the edges before it; and all edges, at the end.
    before: Box<[u16]>,
    /// The edges, and infinity behind them.
    edges: Box<[f64]>,
}

/// Slots for each edge, so that few slots have more than one.
const SLOTS_PER_EDGE: usize = 8;

impl Index {
    fn of(edges: &[f64]) -> Self {
        if edges.is_empty() {
            return Self {
                lowest: 0.0,
                slots_per_unit: 0.0,
                before: Box::new([0, 0]),
                edges: Box::new([f64::INFINITY]),
            };
        }
        // With long tails in equal slots, all else would be in one of them.
        let tail = edges.len() / 32;
        let (lowest, highest) = (edges[tail], edges[edges.len() - 1 - tail]);
        let slots = edges.len() * SLOTS_PER_EDGE;
        let slots_per_unit = slots as f64 / (highest - lowest);
        let mut index = Self {
            lowest,
            // With a span of zero, or too wide for a double, everything is in one slot.
            slots_per_unit: if slots_per_unit.is_normal() {
                slots_per_unit
            } else {
                0.0
            },
            before: vec![0; slots + 1].into_boxed_slice(),
            edges: edges.iter().copied().chain([f64::INFINITY]).collect(),
        };
        for edge in edges {
            let slot = index.slot_of(*edge);
            index.before[slot + 1] += 1;
        }
        for slot in 1..=slots {
            index.before[slot] += index.before[slot - 1];
        }
        index
    }

    /// The slot of a value. Subtraction and multiplication keep order, so an edge in an earlier slot is less than
    /// the value, and one in a later slot is greater.
    fn slot_of(&self, value: f64) -> usize {
        let slot = ((value - self.lowest) * self.slots_per_unit) as usize;
        slot.min(self.before.len() - 2)
    }

    /// The number of edges less than a value.
    fn cell_of(&self, value: f64) -> usize {
        let slot = self.slot_of(value);
        let before = usize::from(self.before[slot]);
        let after = usize::from(self.before[slot + 1]);
        if after - before <= 1 {
            // The next edge, in whichever slot it is.
            return before + usize::from(self.edges[before] < value);
        }
        before + self.edges[before..after].partition_point(|edge| *edge < value)
    }
}

/// Why stored edges are not a grid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    #[error("edge {0} of the grid is not a finite number")]
    NotFinite(usize),
    #[error("edge {0} of the grid is not greater than the one before it")]
    NotIncreasing(usize),
    #[error("a grid of {0} edges is larger than the {MAX_EDGES} allowed")]
    TooManyEdges(usize),
    #[error("decile {0} is not among the edges of the grid")]
    DecileIsNoEdge(f64),
}

impl Grid {
    /// Fits the cells on a baseline; NaN and infinite values are left out.
    ///
    /// With at most `target_cells` distinct values each of them gets a cell of its own. Otherwise the edges
    /// are the `target_cells` quantiles, and every value with a share above `1 / target_cells` gets a cell
    /// of its own. The number of cells is about `target_cells` for a continuous feature and at most about
    /// twice that when values repeat. Targets are taken into the range 2 to 1,024.
    ///
    /// Towards both ends cells hold ever fewer values, each half of what the one before it and beyond holds: in one cell, a long tail
    /// would decide on distances with nothing known of where in it the values are. The outermost two are empty: they are for what is
    /// further from the smallest and the largest value than these are apart.
    ///
    /// Degenerate baselines: no finite value at all gives one cell that holds everything and no decile; a
    /// constant `c` gives the three cells below, at and above `c`, and the single decile edge `c`.
    #[must_use]
    pub fn fit(baseline: &[f64], target_cells: usize) -> Self {
        let mut ranks = Ranks::of(baseline);
        let target = target_cells.clamp(2, MAX_TARGET_CELLS);
        let (mut edges, decile_edges) = even_edges(&mut ranks, target);
        let mut tail = ranks.len() / target / 2;
        while tail > 0 {
            edges.extend([ranks.at(tail - 1), ranks.at(ranks.len() - tail - 1)]);
            tail /= 2;
        }
        if let Some(last) = ranks.len().checked_sub(1) {
            let (lowest, highest) = (ranks.at(0), ranks.at(last));
            let apart = highest - lowest;
            edges.extend([lowest - apart, highest + apart]);
        }
        Self::assembled(sorted(edges), decile_edges)
    }

    /// Puts a stored grid together again.
    ///
    /// # Errors
    ///
    /// When the edges are not finite and strictly increasing, are too many, or lack a decile.
    pub fn from_edges(edges: Vec<f64>, decile_edges: Vec<f64>) -> Result<Self, GridError> {
        if edges.len() > MAX_EDGES {
            return Err(GridError::TooManyEdges(edges.len()));
        }
        check_increasing(&edges)?;
        check_increasing(&decile_edges)?;
        if let Some(stray) = decile_edges.iter().find(|decile| !edges.contains(decile)) {
            return Err(GridError::DecileIsNoEdge(*stray));
        }
        Ok(Self::assembled(edges, decile_edges))
    }

    fn assembled(edges: Vec<f64>, decile_edges: Vec<f64>) -> Self {
        let bytes: Vec<u8> = edges.iter().flat_map(|edge| edge.to_le_bytes()).collect();
        Self {
            fingerprint: crc32c::crc32c(&bytes),
            index: Index::of(&edges),
            edges,
            decile_edges,
        }
    }

    /// The edges, strictly increasing.
    #[must_use]
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// The inner edges of the baseline's decile bins, each of which is also an edge of the grid.
    ///
    /// They are the distinct linear-interpolated quantiles 0, 0.1, … 1 without the first and the last. When
    /// that leaves none (two distinct quantiles, or a constant), the lowest quantile is the single edge, so
    /// that there are always the two bins "at most" and "above".
    #[must_use]
    pub fn decile_edges(&self) -> &[f64] {
        &self.decile_edges
    }

    /// The number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.edges.len() + 1
    }

    /// A number that differs between grids with different edges, kept with the counts made on a grid.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// The cell of a value. NaN has no order and falls into cell 0: count it elsewhere.
    #[must_use]
    pub fn cell_of(&self, value: f64) -> usize {
        self.index.cell_of(value)
    }

    /// The lower (excluded) and upper (included) end of a cell; the outer cells end at infinity.
    #[must_use]
    pub fn bounds(&self, cell: usize) -> (f64, f64) {
        let lower = cell.checked_sub(1).and_then(|i| self.edges.get(i));
        (
            lower.copied().unwrap_or(f64::NEG_INFINITY),
            self.edges.get(cell).copied().unwrap_or(f64::INFINITY),
        )
    }

    /// Whether a cell can hold one number only.
    #[must_use]
    pub fn is_point(&self, cell: usize) -> bool {
        let (lower, upper) = self.bounds(cell);
        upper.next_down() == lower
    }

    /// Whether the lowest cell, and the highest, is only for what is further from all other edges than these are apart.
    #[must_use]
    pub fn has_far_cells(&self) -> [bool; 2] {
        let [lowest, low, .., high, highest] = self.edges[..] else {
            return [false; 2];
        };
        // The distances were rounded.
        let far = 0.999 * (high - low);
        [low - lowest >= far, highest - high >= far]
    }

    /// Adds the cells between some of the grid's edges together: one count per bin, one bin more than edges.
    #[must_use]
    pub fn bin_counts(&self, edges: &[f64], cells: &[u64]) -> Vec<u64> {
        let mut counts = Vec::with_capacity(edges.len() + 1);
        let mut from = 0;
        for edge in edges {
            let to = (self.cell_of(*edge) + 1).min(cells.len());
            counts.push(cells[from..to].iter().sum());
            from = to;
        }
        counts.push(cells[from..].iter().sum());
        counts
    }
}

/// The edges of cells with about the same share of the values each, in no order, and those of the deciles among them; see
/// [`Grid::fit`].
fn even_edges(ranks: &mut Ranks, target: usize) -> (Vec<f64>, Vec<f64>) {
    let Some(last) = ranks.len().checked_sub(1) else {
        return (Vec::new(), Vec::new());
    };
    let decile_edges = decile_edges(ranks);
    let mut edges = decile_edges.clone();
    edges.extend([ranks.at(0), ranks.at(last)]);
    let values = ranks.len();
    let every_value_alone = ranks.has_at_most(target);
    if !every_value_alone {
        edges.extend((1..target).map(|i| ranks.at((i * values).div_ceil(target) - 1)));
    }
    // A value that is more frequent than a cell should be has one of those ranks.
    for (value, times) in ranks.runs() {
        if every_value_alone || times * target > values {
            edges.extend([value.next_down(), value]);
        }
    }
    (edges, decile_edges)
}

fn sorted(mut edges: Vec<f64>) -> Vec<f64> {
    edges.retain(|edge| edge.is_finite());
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}

/// Edges between which about as many of the values lie each, `target` in all; values that repeat lie alone, as in [`Grid::fit`].
#[must_use]
pub fn quantile_edges(values: &[f64], target: usize) -> Vec<f64> {
    let target = target.clamp(2, MAX_TARGET_CELLS);
    sorted(even_edges(&mut Ranks::of(values), target).0)
}

fn check_increasing(edges: &[f64]) -> Result<(), GridError> {
    if let Some(index) = edges.iter().position(|edge| !edge.is_finite()) {
        return Err(GridError::NotFinite(index));
    }
    match edges.windows(2).position(|pair| pair[0] >= pair[1]) {
        Some(index) => Err(GridError::NotIncreasing(index + 1)),
        None => Ok(()),
    }
}

/// Numbers by rank. Many are not sorted but put into groups of like ones, and of these only the ones are sorted that a rank
/// is asked of.
struct Ranks {
    /// [`ordered_bits`] of the numbers, group by group.
    keys: Vec<u64>,
    /// Keys of a group are alike but for so many lower bits.
    unlike_bits: u32,
    /// Where keys are in order, each place once.
    ordered: Vec<Range<usize>>,
}

impl Ranks {
    /// Of the finite values, with negative zero made positive so that equal values are also equal bit by bit.
    fn of(values: &[f64]) -> Self {
        let finite = values.iter().filter(|value| value.is_finite());
        let mut keys: Vec<u64> = finite.map(|value| ordered_bits(value + 0.0)).collect();
        if keys.len() < MANY {
            keys.sort_unstable();
            return Self {
                ordered: iter::once(0..keys.len()).collect(),
                keys,
                unlike_bits: 0,
            };
        }
        Self {
            unlike_bits: group(&mut keys),
            keys,
            ordered: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    /// The number of a rank, from 0.
    fn at(&mut self, rank: usize) -> f64 {
        let is_ordered = |range: &Range<usize>| range.contains(&rank);
        if !self.ordered.iter().rev().any(is_ordered) {
            let bits = self.unlike_bits;
            let of_group = self.keys[rank] >> bits;
            let start = self.keys.partition_point(|key| key >> bits < of_group);
            let end = self.keys.partition_point(|key| key >> bits <= of_group);
            sort(&mut self.keys[start..end]);
            self.ordered.push(start..end);
        }
        number_of(self.keys[rank])
    }

    /// Whether there are no more than `limit` distinct values.
    fn has_at_most(&mut self, limit: usize) -> bool {
        let bits = self.unlike_bits;
        let alike = |a: &u64, b: &u64| a >> bits == b >> bits;
        if self.keys.chunk_by(alike).nth(limit).is_some() {
            return false;
        }
        self.keys.chunk_by_mut(alike).for_each(sort);
        self.ordered = iter::once(0..self.keys.len()).collect();
        self.keys.chunk_by(|a, b| a == b).nth(limit).is_none()
    }

    /// The distinct values where keys are in order, each with how often it is there.
    fn runs(&self) -> impl Iterator<Item = (f64, usize)> {
        let ordered = self.ordered.iter().map(|range| &self.keys[range.clone()]);
        let runs = ordered.flat_map(|keys| keys.chunk_by(|a, b| a == b));
        runs.map(|run| (number_of(run[0]), run.len()))
    }
}

/// So many keys are worth being put into groups before they are compared.
const MANY: usize = 1 << 14;

fn sort(keys: &mut [u64]) {
    if keys.len() < MANY {
        keys.sort_unstable();
        return;
    }
    let bits = group(keys);
    if bits > 0 {
        keys.chunk_by_mut(|a, b| a >> bits == b >> bits)
            .for_each(sort);
    }
}

/// Puts keys into groups that agree but for some lower bits, and the groups into their order: by counting the two digits
/// of eleven bits below those that all keys have (LSD radix sort). Returns how many bits differ within groups: none, or
/// those below the two digits.
fn group(keys: &mut [u64]) -> u32 {
    const DIGIT: u32 = 11;
    const VALUES: usize = 1 << DIGIT;
    let (all, any) = keys
        .iter()
        .fold((u64::MAX, 0), |(all, any), key| (all & key, any | key));
    let unlike_bits = (u64::BITS - (all ^ any).leading_zeros()).saturating_sub(2 * DIGIT);
    let digit = |key: u64, shift: u32| (key >> shift) as usize & (VALUES - 1);
    let shifts = [unlike_bits, unlike_bits + DIGIT];
    let mut places = [[0_u32; VALUES]; 2];
    for key in keys.iter() {
        for (places, shift) in places.iter_mut().zip(shifts) {
            places[digit(*key, shift)] += 1;
        }
    }
    let scatter = |from: &[u64], to: &mut [u64], places: &mut [u32; VALUES], shift: u32| {
        let mut next = 0;
        for place in places.iter_mut() {
            next += std::mem::replace(place, next);
        }
        for key in from {
            let place = &mut places[digit(*key, shift)];
            to[*place as usize] = *key;
            *place += 1;
        }
    };
    let mut between = vec![0; keys.len()];
    scatter(keys, &mut between, &mut places[0], shifts[0]);
    scatter(&between, keys, &mut places[1], shifts[1]);
    unlike_bits
}

/// Bits whose order as integers is that of the numbers: the sign turned, and of negative ones everything.
fn ordered_bits(number: f64) -> u64 {
    let bits = number.to_bits();
    bits ^ ((bits.cast_signed() >> 63).cast_unsigned() | 1 << 63)
}

/// The number of [`ordered_bits`].
fn number_of(key: u64) -> f64 {
    f64::from_bits(key ^ (((!key).cast_signed() >> 63).cast_unsigned() | 1 << 63))
}

fn decile_edges(ranks: &mut Ranks) -> Vec<f64> {
    let mut quantiles: Vec<f64> = (0..=10)
        .map(|tenths| linear_quantile(ranks, tenths))
        .collect();
    quantiles.dedup();
    if quantiles.len() > 2 {
        quantiles.pop();
        quantiles.remove(0);
    } else {
        quantiles.truncate(1);
    }
    quantiles
}

/// The quantile `tenths / 10` by linear interpolation, as numpy computes it.
fn linear_quantile(ranks: &mut Ranks, tenths: u32) -> f64 {
    let position = (ranks.len() - 1) as f64 * (f64::from(tenths) / 10.0);
    let below = ranks.at(position.floor() as usize);
    let above = ranks.at(position.ceil() as usize);
    let share = position.fract();
    let step = above - below;
    if !step.is_finite() {
        return below * (1.0 - share) + above * share;
    }
    if share < 0.5 {
        below + step * share
    } else {
        above - step * (1.0 - share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(grid: &Grid, values: &[f64]) -> Vec<u64> {
        let mut cells = vec![0; grid.cells()];
        for value in values {
            cells[grid.cell_of(*value)] += 1;
        }
        cells
    }

    #[test]
    fn empty_baseline_gives_one_cell_for_everything() {
        for baseline in [&[][..], &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]] {
            let grid = Grid::fit(baseline, TARGET_CELLS);
            assert_eq!(grid.cells(), 1);
            assert!(grid.decile_edges().is_empty());
            assert_eq!(grid.cell_of(-1e308), 0);
            assert_eq!(grid.cell_of(1e308), 0);
            assert_eq!(grid.bin_counts(grid.decile_edges(), &[7]), [7]);
        }
    }

    #[test]
    fn constant_baseline_gives_the_cells_below_at_and_above() {
        let grid = Grid::fit(&[5.0; 40], TARGET_CELLS);
        assert_eq!(grid.edges(), [5.0_f64.next_down(), 5.0]);
        assert_eq!(grid.decile_edges(), [5.0]);
        assert_eq!(count(&grid, &[4.0, 5.0, 5.0, 6.0]), [1, 2, 1]);
        assert_eq!(grid.bin_counts(grid.decile_edges(), &[1, 2, 1]), [3, 1]);
        assert!(grid.is_point(1) && !grid.is_point(0) && !grid.is_point(2));
    }

    #[test]
    fn the_outermost_cells_are_for_what_is_further_off_than_the_range_is_wide() {
        let wide: Vec<f64> = (0..28_000).map(f64::from).collect();
        let grid = Grid::fit(&wide, 256);
        assert_eq!(grid.has_far_cells(), [true; 2]);
        let outermost = [-27_999.0, -27_998.5, 55_997.5, 55_998.5];
        let cells = outermost.map(|value| grid.cell_of(value));
        assert_eq!(cells, [0, 1, grid.cells() - 2, grid.cells() - 1]);
        for narrow in [&[5.0; 40][..], &[], &[f64::MIN, 0.0, f64::MAX]] {
            let has = Grid::fit(narrow, 256).has_far_cells();
            assert_eq!(has, [false; 2], "{narrow:?}");
        }
    }

    #[test]
    fn deciles_at_the_ends_of_the_baseline_are_no_edges() {
        // Half the values are the smallest one, so the first deciles all equal the minimum.
        let mostly_zero: Vec<f64> = (0..100).map(|i| f64::from((i - 50).max(0))).collect();
        let grid = Grid::fit(&mostly_zero, TARGET_CELLS);
        assert!(
            grid.decile_edges()
                .iter()
                .all(|edge| *edge > 0.0 && *edge < 49.0)
        );
        // Only two distinct quantiles are left: the lower one separates.
        let rare: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i > 95))).collect();
        assert_eq!(Grid::fit(&rare, TARGET_CELLS).decile_edges(), [0.0]);
    }

    #[test]
    fn deciles_are_interpolated_like_numpy() {
        // numpy.quantile([1, 2, 4, 8], [.1, … .9])
        let expected = [1.3, 1.6, 1.9, 2.4, 3.0, 3.6, 4.4, 5.6, 6.8];
        let grid = Grid::fit(&[8.0, 1.0, 4.0, 2.0], TARGET_CELLS);
        assert_eq!(grid.decile_edges().len(), expected.len());
        for (edge, expected) in grid.decile_edges().iter().zip(expected) {
            assert!((edge - expected).abs() < 1e-14, "{edge} is not {expected}");
        }
    }

    #[test]
    fn point_masses_among_many_values_get_their_own_cell() {
        let mut baseline: Vec<f64> = (0..2_000).map(|i| f64::from(i) * 0.5).collect();
        baseline.extend([123.25; 500]);
        let grid = Grid::fit(&baseline, 64);
        let cell = grid.cell_of(123.25);
        assert!(grid.is_point(cell));
        assert_eq!(count(&grid, &baseline)[cell], 500);
        assert!(grid.cells() < 90, "{} cells", grid.cells());
    }

    #[test]
    fn few_distinct_values_are_all_alone_in_their_cells() {
        let baseline: Vec<f64> = (0..1_000).map(|i| f64::from(i % 7)).collect();
        let grid = Grid::fit(&baseline, TARGET_CELLS);
        for value in 0..7 {
            assert!(grid.is_point(grid.cell_of(f64::from(value))));
        }
        assert!(!grid.is_point(grid.cell_of(2.5)));
    }

    #[test]
    fn extreme_values_still_give_finite_edges() {
        let grid = Grid::fit(&[f64::MIN, f64::MAX, f64::MIN, 0.0, -0.0], TARGET_CELLS);
        assert!(Grid::from_edges(grid.edges().to_vec(), grid.decile_edges().to_vec()).is_ok());
        assert_eq!(grid.edges().iter().filter(|edge| **edge == 0.0).count(), 1);
    }

    #[test]
    fn stored_edges_that_are_no_grid_are_refused() {
        let build =
            |edges: &[f64], deciles: &[f64]| Grid::from_edges(edges.to_vec(), deciles.to_vec());
        assert_eq!(build(&[1.0, 1.0], &[]), Err(GridError::NotIncreasing(1)));
        assert_eq!(build(&[1.0, 0.5], &[]), Err(GridError::NotIncreasing(1)));
        assert_eq!(
            build(&[0.0, f64::INFINITY], &[]),
            Err(GridError::NotFinite(1))
        );
        assert!(matches!(
            build(&[f64::NAN], &[]),
            Err(GridError::NotFinite(0))
        ));
        assert_eq!(
            build(&[1.0, 2.0], &[1.5]),
            Err(GridError::DecileIsNoEdge(1.5))
        );
        let many: Vec<f64> = (0..5_000).map(f64::from).collect();
        assert_eq!(build(&many, &[]), Err(GridError::TooManyEdges(5_000)));
    }

    #[test]
    fn many_numbers_are_sorted_as_few_are() {
        let mut random = 1_u64;
        let mut many: Vec<f64> = (0..40_000)
            .map(|i| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                match i % 4 {
                    0 => (random >> 40) as f64,
                    1 => -((random >> 30) as f64) * 1e-300,
                    2 => f64::from_bits(random & !(0x7ff << 52) | ((random >> 53) % 0x7ff) << 52),
                    _ => 7.0,
                }
            })
            .filter(|number| number.is_finite())
            .collect();
        many.extend([f64::MIN, f64::MAX, 0.0, f64::MIN_POSITIVE]);
        let mut expected = many.clone();
        expected.sort_by(f64::total_cmp);
        let mut ranks = Ranks::of(&many);
        let some = (0..many.len()).step_by(97).chain([many.len() - 1]);
        for rank in some.clone().rev().chain(some) {
            assert_eq!(ranks.at(rank).to_bits(), expected[rank].to_bits(), "{rank}");
        }
        let mut keys: Vec<u64> = many.iter().map(|number| ordered_bits(*number)).collect();
        sort(&mut keys);
        let sorted = keys.into_iter().map(number_of);
        assert!(
            sorted
                .zip(&expected)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }

    #[test]
    fn ranks_know_few_values_and_frequent_ones() {
        let few: Vec<f64> = (0..40_000).map(|i| f64::from(i % 3) - 1.0).collect();
        let mut ranks = Ranks::of(&few);
        assert!(!ranks.has_at_most(2));
        assert!(ranks.has_at_most(3));
        let runs: Vec<(f64, usize)> = ranks.runs().collect();
        assert_eq!(runs, [(-1.0, 13_334), (0.0, 13_333), (1.0, 13_333)]);
        // Close together, but for one: more values than that, in a group or two.
        let mut close: Vec<f64> = (0..40_000).map(|i| 1e9 + f64::from(i)).collect();
        close.push(-1.0);
        let mut ranks = Ranks::of(&close);
        assert!(!ranks.has_at_most(256));
        assert_eq!(
            (ranks.at(0), ranks.at(1), ranks.at(40_000)),
            (-1.0, 1e9, 1e9 + 39_999.0)
        );
        assert_eq!(Ranks::of(&[5.0; 20_000]).at(19_999), 5.0);
    }

    #[test]
    fn a_cell_is_found_by_the_index_as_by_searching_all_edges() {
        let skewed: Vec<f64> = (0..4_000).map(|i| (f64::from(i) / 150.0).exp()).collect();
        let baselines = [
            vec![f64::MIN, -1.0, 0.0, 1e-308, 5e-324, f64::MAX],
            vec![5.0; 10],
            vec![1.0, 1.0_f64.next_up(), 1.0_f64.next_down()],
            skewed,
        ];
        for baseline in &baselines {
            let grid = Grid::fit(baseline, 256);
            let near = baseline
                .iter()
                .flat_map(|v| [v.next_down(), *v, v.next_up(), v * 0.99, -v]);
            let far = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN, 0.0, -0.0, 1e300];
            for value in near.chain(far) {
                let searched = grid.edges.partition_point(|edge| *edge < value);
                assert_eq!(grid.cell_of(value), searched, "{value:e}");
            }
        }
    }

    proptest! {
        #[test]
        fn fitted_grids_survive_storage_and_keep_every_promise(
            values in prop::collection::vec(prop_oneof![-5i32..5, -1000i32..1000], 1..600),
            target in 0usize..400,
        ) {
            let baseline: Vec<f64> = values.iter().map(|value| f64::from(*value) / 4.0).collect();
            let grid = Grid::fit(&baseline, target);
            let stored = Grid::from_edges(grid.edges().to_vec(), grid.decile_edges().to_vec());
            prop_assert_eq!(stored.as_ref(), Ok(&grid));

            let cells = count(&grid, &baseline);
            let deciles = grid.bin_counts(grid.decile_edges(), &cells);
            prop_assert_eq!(deciles.iter().sum::<u64>(), baseline.len() as u64);
            let mut below = 0;
            for (edge, bin) in grid.decile_edges().iter().zip(&deciles) {
                below += bin;
                let exact = baseline.iter().filter(|value| *value <= edge).count() as u64;
                prop_assert_eq!(below, exact);
            }
            for value in &baseline {
                let (lower, upper) = grid.bounds(grid.cell_of(*value));
                prop_assert!(lower < *value && *value <= upper);
            }
        }

        #[test]
        fn no_cell_but_a_point_holds_much_more_than_its_share(seed in 0u32..1000) {
            let baseline: Vec<f64> = (0..3_000u32)
                .map(|i| f64::from((i.wrapping_mul(2_654_435_761).wrapping_add(seed)) % 1_301))
                .collect();
            let grid = Grid::fit(&baseline, 50);
            for (cell, held) in count(&grid, &baseline).iter().enumerate() {
                prop_assert!(grid.is_point(cell) || *held <= 60 + 3, "cell {} holds {}", cell, held);
            }
        }
    }
}
