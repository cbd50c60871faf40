//! Drift of several columns together: what no single column shows.
//!
//! Columns can keep their distributions while the way they go together changes. These functions look at whole
//! rows of numbers, of features or of embeddings, and read every row; they are for files and samples of some
//! thousand rows. All are deterministic: where rows have to be split or paired, their order decides. Rows with
//! a value that is not finite take no part.

pub mod comoments;
pub mod days;
pub mod random_features;
mod usual_day;

use super::beta::{student_critical, student_upper};
use super::samples::Sample;
use super::tails::{PValue, normal_quantile, normal_two_sided, normal_upper};
use super::uncertainty::{self, ByChance};

/// Rows of equal length, without those that hold a value that is not finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    columns: usize,
    values: Vec<f64>,
}

/// Why rows cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotComparable {
    #[error("the reference has too few rows, or too few days with rows enough")]
    TooFewReferenceRows,
    #[error("the window has too few rows")]
    TooFewCurrentRows,
    #[error("the two sides have different columns")]
    DifferentColumns,
    #[error("no column varies in the reference, or too few do")]
    NothingVaries,
    #[error("the values are beyond the range of numbers")]
    BeyondRange,
}

impl Rows {
    /// Takes values row by row; a row that is not complete at the end is left out.
    #[must_use]
    pub fn of(values: &[f64], columns: usize) -> Self {
        let rows = values.chunks_exact(columns.max(1));
        let finite = rows.filter(|row| row.iter().all(|value| value.is_finite()));
        Self {
            columns,
            values: finite.flatten().copied().collect(),
        }
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[f64]> + Clone {
        self.values.chunks_exact(self.columns.max(1))
    }

    fn column(&self, index: usize) -> Vec<f64> {
        self.iter().map(|row| row[index]).collect()
    }

    fn means(&self) -> Vec<f64> {
        let n = self.len() as f64;
        let mut means = vec![0.0; self.columns];
        for row in self.iter() {
            for (mean, value) in means.iter_mut().zip(row) {
                *mean += value / n;
            }
        }
        means
    }

    /// From where to where each column's values usually are: from the percentile 1 to 99, and as far again to both sides.
    fn usual_ranges(&self) -> Vec<(f64, f64)> {
        let of_column = |column| {
            let sample = Sample::of(&self.column(column));
            let ends = sample.quantile(0.01).zip(sample.quantile(0.99));
            ends.map_or((f64::MIN, f64::MAX), |(low, high)| {
                let width = high - low;
                (low - width, high + width)
            })
        };
        (0..self.columns).map(of_column).collect()
    }

    /// Every value drawn in to its column's bounds.
    fn within(&self, bounds: &[(f64, f64)]) -> Self {
        let rows = self.iter().flat_map(|row| row.iter().zip(bounds));
        Self {
            columns: self.columns,
            values: rows
                .map(|(value, (low, high))| value.max(*low).min(*high))
                .collect(),
        }
    }

    /// The rows with even and with odd numbers.
    fn halves(&self) -> (Self, Self) {
        let part = |first: usize| Self {
            columns: self.columns,
            values: (self.iter().skip(first).step_by(2).flatten().copied()).collect(),
        };
        (part(0), part(1))
    }

    /// Every row with the columns' means taken away, over their deviations; constant columns become 0.
    fn standardised(&self, scale: &Scale) -> Self {
        let values = self.iter().flat_map(|row| {
            let scaled = row.iter().zip(scale.means.iter().zip(&scale.deviations));
            scaled.map(|(value, (mean, deviation))| {
                if *deviation > 0.0 {
                    (value - mean) / deviation
                } else {
                    0.0
                }
            })
        });
        Self {
            columns: self.columns,
            values: values.collect(),
        }
    }
}

struct Scale {
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl Scale {
    fn of(rows: &Rows) -> Result<Self, NotComparable> {
        let means = rows.means();
        let deviations: Vec<f64> = (0..rows.columns)
            .map(|column| {
                Sample::of(&rows.column(column))
                    .deviation()
                    .unwrap_or(f64::NAN)
            })
            .collect();
        if deviations
            .iter()
            .chain(&means)
            .any(|value| !value.is_finite())
        {
            return Err(NotComparable::BeyondRange);
        }
        Ok(Self { means, deviations })
    }
}

fn check(reference: &Rows, current: &Rows, fewest: usize) -> Result<(), NotComparable> {
    if reference.columns != current.columns || reference.columns == 0 {
        return Err(NotComparable::DifferentColumns);
    }
    if reference.len() < fewest {
        return Err(NotComparable::TooFewReferenceRows);
    }
    if current.len() < fewest {
        return Err(NotComparable::TooFewCurrentRows);
    }
    Ok(())
}

/// How far the mean row has moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanShift {
    /// Euclidean distance of the two means, from 0 without an upper limit; more is worse.
    pub distance: f64,
    /// The distance expected when nothing has changed: the root of the columns' variances times `1/n + 1/m`.
    pub noise_floor: f64,
    /// 95 % interval of the distance of the populations' means.
    pub interval: (f64, f64),
}

/// Compares the means of embeddings, or of any rows of like columns.
///
/// # Errors
///
/// Without rows on a side, with other columns, or beyond the range of numbers.
pub fn mean_shift(reference: &Rows, current: &Rows) -> Result<MeanShift, NotComparable> {
    check(reference, current, 1)?;
    let scale = Scale::of(reference)?;
    let squares = scale
        .means
        .iter()
        .zip(current.means())
        .map(|(p, q)| (p - q).powi(2));
    let distance = squares.sum::<f64>().sqrt();
    let variance: f64 = scale.deviations.iter().map(|d| d * d).sum();
    let noise_floor =
        (variance * (1.0 / reference.len() as f64 + 1.0 / current.len() as f64)).sqrt();
    if !distance.is_finite() || !noise_floor.is_finite() {
        return Err(NotComparable::BeyondRange);
    }
    let shift: Vec<f64> = current
        .means()
        .iter()
        .zip(&scale.means)
        .map(|(q, p)| q - p)
        .collect();
    // The square of the distance varies with the rows along the shift and, where nothing has changed, with their scatter.
    let (p, q) = (Scatter::of(reference, &shift), Scatter::of(current, &shift));
    let along = 4.0 * (p.along + q.along);
    let by_chance = 2.0 * (p.squares + q.squares + 2.0 * (p.squares * q.squares).sqrt());
    let by_chance = ByChance {
        mean: p.total + q.total,
        variance: by_chance,
    };
    let squares = by_chance.of_distance(distance * distance, along);
    Ok(MeanShift {
        distance,
        noise_floor,
        interval: (squares.0.sqrt(), squares.1.sqrt()),
    })
}

/// How the mean of some rows scatters: with the covariance `S` of the rows over their number.
struct Scatter {
    /// The trace of `S`.
    total: f64,
    /// The trace of `S²`.
    squares: f64,
    /// `vᵀ S v` for a direction `v`.
    along: f64,
}

impl Scatter {
    /// The square's trace is that of the products of rows that follow each other, which needs no matrix.
    fn of(rows: &Rows, direction: &[f64]) -> Self {
        let means = rows.means();
        let n = rows.len() as f64;
        let centred = |row: &[f64]| -> Vec<f64> {
            row.iter()
                .zip(&means)
                .map(|(value, mean)| value - mean)
                .collect()
        };
        let (mut total, mut along, mut squares) = (0.0, 0.0, 0.0);
        let mut before: Option<Vec<f64>> = None;
        let mut pairs = 0.0;
        for row in rows.iter() {
            let row = centred(row);
            total += dot(&row, &row);
            along += dot(&row, direction).powi(2);
            if let Some(before) = &before {
                squares += dot(before, &row).powi(2);
                pairs += 1.0;
            }
            before = Some(row);
        }
        let freedom = (n - 1.0).max(1.0);
        Self {
            total: total / freedom / n,
            squares: squares / f64::max(pairs, 1.0) / (n * n),
            along: along / freedom / n,
        }
    }
}

/// The outcome of [`maximum_mean_discrepancy`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discrepancy {
    /// The estimate of the squared discrepancy: about 0 without drift, and below it by chance; at most 2. More
    /// is worse.
    pub squared: f64,
    /// The width of the Gaussian kernel, the median distance of the reference's rows.
    pub bandwidth: f64,
    /// Over how many blocks of rows the mean was taken.
    pub blocks: usize,
    pub p_value: PValue,
    /// 95 % interval of the populations' squared discrepancy.
    pub interval: (f64, f64),
}

/// The maximum mean discrepancy with a Gaussian kernel, block by block (Zaremba, Gretton and Blaschko 2013).
///
/// Both sides' rows are cut into as many blocks as the smaller side's blocks have rows, about. Each block has the estimate
/// without bias that takes every pair of its rows; what these differ by gives the p-value of their mean, by Student's
/// distribution. Blocks lean to the right where nothing has changed, which makes the p-value rather too large than too small.
///
/// # Errors
///
/// With fewer than eight rows on a side, with other columns, or when the reference's rows are all equal.
pub fn maximum_mean_discrepancy(
    reference: &Rows,
    current: &Rows,
) -> Result<Discrepancy, NotComparable> {
    check(reference, current, 8)?;
    let bandwidth = median_distance(reference)?;
    let kernel =
        |a: &[f64], b: &[f64]| (-squared_distance(a, b) / (2.0 * bandwidth * bandwidth)).exp();
    let fewer = reference.len().min(current.len());
    let blocks = fewer / fewer.isqrt();
    let rows_per_block = |rows: &Rows| (rows.len() / blocks).min(LARGEST_SIDE * fewer / blocks);
    let (n, m) = (rows_per_block(reference), rows_per_block(current));
    let (before, now): (Vec<&[f64]>, Vec<&[f64]>) =
        (reference.iter().collect(), current.iter().collect());
    let estimates: Vec<f64> = (before.chunks_exact(n).zip(now.chunks_exact(m)))
        .take(blocks)
        .map(|(p, q)| {
            let across = p.iter().flat_map(|a| q.iter().map(|b| kernel(a, b)));
            mean_of_pairs(p, kernel) + mean_of_pairs(q, kernel)
                - 2.0 * across.sum::<f64>() / (n * m) as f64
        })
        .collect();
    let (squared, variance) = mean_and_variance(&estimates);
    let error = (variance / blocks as f64).sqrt();
    let freedom = (blocks - 1) as f64;
    let (p_value, half) = if error > 0.0 {
        let half =
            error * student_critical(0.05_f64.ln(), freedom).ok_or(NotComparable::BeyondRange)?;
        (student_upper(squared / error, freedom), half)
    } else {
        (Some(PValue::ONE), 0.0)
    };
    Ok(Discrepancy {
        squared,
        bandwidth,
        blocks,
        p_value: p_value.ok_or(NotComparable::BeyondRange)?,
        interval: (squared - half, squared + half),
    })
}

/// The mean kernel of two different rows.
fn mean_of_pairs(rows: &[&[f64]], kernel: impl Fn(&[f64], &[f64]) -> f64) -> f64 {
    let pairs = rows.iter().enumerate();
    let sum: f64 = pairs
        .flat_map(|(place, a)| rows[..place].iter().map(move |b| (a, b)))
        .map(|(a, b)| kernel(a, b))
        .sum();
    sum / (rows.len() * (rows.len() - 1) / 2) as f64
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// So many times as many rows as the smaller side does the larger one have in a block, at most: time grows with their square.
const LARGEST_SIDE: usize = 4;
/// How many rows the median distance is of, at most.
const MEDIAN_OF: usize = 200;

/// The median distance among some rows spread over the reference.
fn median_distance(rows: &Rows) -> Result<f64, NotComparable> {
    let step = rows.len().div_ceil(MEDIAN_OF).max(1);
    let some: Vec<&[f64]> = rows.iter().step_by(step).collect();
    let mut distances = Vec::new();
    for (index, a) in some.iter().enumerate() {
        distances.extend(some[..index].iter().map(|b| squared_distance(a, b).sqrt()));
    }
    let distances = Sample::of(&distances);
    let median = distances.quantile(0.5).ok_or(NotComparable::BeyondRange)?;
    if median > 0.0 {
        return Ok(median);
    }
    // More than half of the rows are the same one: the mean distance stands for the median.
    let mean = distances.mean().filter(|mean| *mean > 0.0);
    mean.ok_or(NotComparable::NothingVaries)
}

/// The pair of columns whose correlation has changed most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrelationChange {
    pub columns: (usize, usize),
    /// Pearson's correlations of the two sides.
    pub reference: f64,
    pub current: f64,
    /// That of Fisher's transformation for this pair, times the number of pairs (Bonferroni).
    pub p_value: PValue,
    /// Interval of the populations' change, wide enough to hold those of all pairs at once with 95 %: the pair was chosen.
    pub interval: (f64, f64),
}

/// Looks for the pair of columns whose correlation has changed most, by Fisher's transformation (1921).
///
/// The p-value supposes roughly normal columns; ranks in place of values make it robust.
///
/// # Errors
///
/// With fewer than four rows on a side, with other columns, or when fewer than two columns vary on both sides.
pub fn correlation_change(
    reference: &Rows,
    current: &Rows,
) -> Result<CorrelationChange, NotComparable> {
    check(reference, current, 4)?;
    let (p, q) = (correlations(reference)?, correlations(current)?);
    let error = (1.0 / (reference.len() as f64 - 3.0) + 1.0 / (current.len() as f64 - 3.0)).sqrt();
    // A correlation of exactly ±1 has no transformation; it is taken as near as a number can be.
    let fisher = |r: f64| r.clamp(-1.0 + 1e-15, 1.0 - 1e-15).atanh();
    let (mut pairs, mut most) = (0_usize, None::<(f64, CorrelationChange)>);
    for a in 0..reference.columns {
        for b in 0..a {
            let (Some(r), Some(s)) = (p[a * reference.columns + b], q[a * reference.columns + b])
            else {
                continue;
            };
            pairs += 1;
            let z = ((fisher(s) - fisher(r)) / error).abs();
            if most.as_ref().is_none_or(|(largest, _)| z > *largest) {
                let change = CorrelationChange {
                    columns: (b, a),
                    reference: r,
                    current: s,
                    p_value: PValue::ONE,
                    interval: (0.0, 0.0),
                };
                most = Some((z, change));
            }
        }
    }
    let (z, change) = most.ok_or(NotComparable::NothingVaries)?;
    let single = normal_two_sided(z).ok_or(NotComparable::BeyondRange)?;
    let quantile = normal_quantile(1.0 - 0.025 / pairs as f64);
    let ends = |r: f64, rows: usize| {
        let half = quantile / (rows as f64 - 3.0).sqrt();
        ((fisher(r) - half).tanh(), (fisher(r) + half).tanh())
    };
    let (r, s) = (change.reference, change.current);
    let ((r_low, r_high), (s_low, s_high)) = (ends(r, reference.len()), ends(s, current.len()));
    Ok(CorrelationChange {
        // Zou (2007): the difference of two intervals.
        interval: (
            s - r - ((s - s_low).powi(2) + (r_high - r).powi(2)).sqrt(),
            s - r + ((s_high - s).powi(2) + (r - r_low).powi(2)).sqrt(),
        ),
        p_value: PValue::from_ln(single.ln() + (pairs as f64).ln())
            .ok_or(NotComparable::BeyondRange)?,
        ..change
    })
}

/// The matrix of correlations; `None` where a column does not vary.
fn correlations(rows: &Rows) -> Result<Vec<Option<f64>>, NotComparable> {
    let scale = Scale::of(rows)?;
    let moments = second_moments(&rows.standardised(&scale));
    let varies = |column: usize| scale.deviations[column] > 0.0;
    let of = |at: usize| {
        let (a, b) = (at / rows.columns, at % rows.columns);
        (varies(a) && varies(b)).then(|| moments[at].clamp(-1.0, 1.0))
    };
    Ok((0..moments.len()).map(of).collect())
}

/// `Σ x xᵀ / n`.
fn second_moments(rows: &Rows) -> Vec<f64> {
    let (d, n) = (rows.columns, rows.len() as f64);
    let mut moments = vec![0.0; d * d];
    for row in rows.iter() {
        for (a, x) in row.iter().enumerate() {
            let x = x / n;
            let sums = &mut moments[a * d..a * d + a + 1];
            for (sum, y) in sums.iter_mut().zip(row) {
                *sum += x * y;
            }
        }
    }
    for a in 0..d {
        for b in 0..a {
            moments[b * d + a] = moments[a * d + b];
        }
    }
    moments
}

/// How well a window's rows fit into the directions the reference varies in.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstruction {
    /// The number of principal components kept.
    pub components: usize,
    /// The mean distance of a standardised row from its reconstruction, in the reference and in the window. A
    /// window that is further off has rows unlike any before.
    pub reference: f64,
    pub current: f64,
    /// That of the two means being equal (Welch's z).
    pub p_value: PValue,
    /// How much larger the mean squared residual of each column is in the window than in the reference, the largest
    /// change first: where the rows no longer fit.
    pub residuals: Vec<(usize, f64)>,
    /// The sampling variance of the two errors' ratio.
    variance: f64,
}

impl Reconstruction {
    /// The window's error over the reference's, minus 1: 0 when nothing has changed. `None` where the reference is
    /// reconstructed without any error but that of rounding.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        let change = self.current / self.reference - 1.0;
        (self.reference > 1e-9 && change.is_finite()).then_some(change)
    }

    /// 95 % interval of the change, where there is one, for the directions that were found.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (low, high) = uncertainty::around(self.change()?, self.variance);
        Some((low.max(-1.0), high))
    }
}

/// The error of reconstructing rows from the principal components that hold `share` of the reference's variance;
/// 0.65 is usual.
///
/// The components are those of every other row of the reference, and the reference's error is that of the rest:
/// rows fit better into directions that they chose themselves, which a window's cannot. Values far from where the reference's are
/// usually are drawn in first, on both sides: a single one would be the whole error.
///
/// # Errors
///
/// With fewer than sixteen rows of the reference or eight of the window, with other columns, or when no column
/// varies in the reference.
pub fn reconstruction(
    reference: &Rows,
    current: &Rows,
    share: f64,
) -> Result<Reconstruction, NotComparable> {
    check(reference, current, 8)?;
    if reference.len() < 16 {
        return Err(NotComparable::TooFewReferenceRows);
    }
    let bounds = reference.usual_ranges();
    let current = current.within(&bounds);
    let (fitted, asked) = reference.within(&bounds).halves();
    let scale = Scale::of(&fitted)?;
    let standardised = fitted.standardised(&scale);
    let directions = leading(&standardised, share)?;
    let p = Residuals::of(&asked.standardised(&scale), &directions)?;
    let q = Residuals::of(&current.standardised(&scale), &directions)?;
    let (p_mean, p_variance) = mean_and_variance(&p.lengths);
    let (q_mean, q_variance) = mean_and_variance(&q.lengths);
    let error = (p_variance / p.lengths.len() as f64 + q_variance / q.lengths.len() as f64).sqrt();
    let z = if error > 0.0 {
        (q_mean - p_mean) / error
    } else {
        0.0
    };
    let changes = q.squares.iter().zip(&p.squares).map(|(q, p)| q - p);
    let mut residuals: Vec<(usize, f64)> = changes.enumerate().collect();
    residuals.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let ratio = q_mean / p_mean;
    Ok(Reconstruction {
        variance: (q_variance / q.lengths.len() as f64
            + ratio * ratio * p_variance / p.lengths.len() as f64)
            / (p_mean * p_mean),
        components: directions.len(),
        reference: p_mean,
        current: q_mean,
        p_value: normal_two_sided(z).ok_or(NotComparable::BeyondRange)?,
        residuals,
    })
}

/// The principal components of standardised rows that together hold at least `share` of their variance, and always at
/// least one fewer than there are.
fn leading(rows: &Rows, share: f64) -> Result<Vec<Vec<f64>>, NotComparable> {
    let mut directions = eigen(second_moments(rows), rows.columns);
    directions.sort_by(|a, b| b.0.total_cmp(&a.0));
    let held = |(variance, _): &(f64, Vec<f64>)| variance.max(0.0);
    let whole: f64 = directions.iter().map(held).sum();
    if whole <= 0.0 {
        return Err(NotComparable::NothingVaries);
    }
    let mut sum = 0.0;
    let enough = directions.iter().position(|direction| {
        sum += held(direction);
        sum >= share * whole
    });
    let kept = enough.map_or(directions.len(), |last| last + 1);
    // With all of them there would be no error but that of rounding.
    let varying = directions.iter().filter(|d| d.0 > 1e-12 * whole).count();
    directions.truncate(kept.min(varying.saturating_sub(1).max(1)));
    Ok(directions.into_iter().map(|(_, vector)| vector).collect())
}

/// What is left of rows once their parts along some directions are taken away.
struct Residuals {
    lengths: Vec<f64>,
    /// The mean square by column.
    squares: Vec<f64>,
}

impl Residuals {
    fn of(rows: &Rows, directions: &[Vec<f64>]) -> Result<Self, NotComparable> {
        let mut squares = vec![0.0; rows.columns];
        let mut lengths = Vec::with_capacity(rows.len());
        for row in rows.iter() {
            let mut left = row.to_vec();
            for direction in directions {
                let along = dot(row, direction);
                for (left, part) in left.iter_mut().zip(direction) {
                    *left -= along * part;
                }
            }
            for (square, left) in squares.iter_mut().zip(&left) {
                *square += left * left / rows.len() as f64;
            }
            lengths.push(dot(&left, &left).sqrt());
        }
        if lengths.iter().all(|length| length.is_finite()) {
            Ok(Self { lengths, squares })
        } else {
            Err(NotComparable::BeyondRange)
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (n - 1.0))
}

/// Eigenvalues and vectors of a symmetric matrix by Jacobi's rotations.
pub(super) fn eigen(mut matrix: Vec<f64>, d: usize) -> Vec<(f64, Vec<f64>)> {
    let mut vectors = vec![0.0; d * d];
    for i in 0..d {
        vectors[i * d + i] = 1.0;
    }
    for _ in 0..60 {
        let mut off = 0.0;
        for a in 0..d {
            for b in 0..a {
                off += matrix[a * d + b].powi(2);
            }
        }
        if off < 1e-24 {
            break;
        }
        for a in 0..d {
            for b in 0..a {
                rotate(&mut matrix, &mut vectors, d, (b, a));
            }
        }
    }
    let column = |i: usize| (0..d).map(|row| vectors[row * d + i]).collect();
    (0..d).map(|i| (matrix[i * d + i], column(i))).collect()
}

/// One of Jacobi's rotations, which makes the entry at `(p, q)` zero.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], d: usize, (p, q): (usize, usize)) {
    let entry = matrix[p * d + q];
    if entry == 0.0 {
        return;
    }
    let theta = (matrix[q * d + q] - matrix[p * d + p]) / (2.0 * entry);
    let sign = if theta < 0.0 { -1.0 } else { 1.0 };
    let tangent = sign / (theta.abs() + theta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for k in 0..d {
        let (x, y) = (matrix[k * d + p], matrix[k * d + q]);
        matrix[k * d + p] = cosine * x - sine * y;
        matrix[k * d + q] = sine * x + cosine * y;
    }
    for k in 0..d {
        let (x, y) = (matrix[p * d + k], matrix[q * d + k]);
        matrix[p * d + k] = cosine * x - sine * y;
        matrix[q * d + k] = sine * x + cosine * y;
        let (x, y) = (vectors[k * d + p], vectors[k * d + q]);
        vectors[k * d + p] = cosine * x - sine * y;
        vectors[k * d + q] = sine * x + cosine * y;
    }
}

/// How well a classifier tells the window's rows from the reference's.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainClassifier {
    /// The area under its ROC curve on rows it was not fitted on: 0.5 when the sides cannot be told apart, 1 when
    /// they always can.
    pub auc: f64,
    /// The standard error of the area when the sides are alike: `√((n + m + 1) / (12 n m))`.
    pub null_error: f64,
    /// The 95 % interval by Hanley and McNeil's error (1982).
    pub interval: (f64, f64),
    pub p_value: PValue,
    /// The columns with their weights per standard deviation, heaviest first: what gives the window away.
    pub weights: Vec<(usize, f64)>,
}

/// Tells the sides apart by logistic regression on the standardised columns and their squares, fitted on every
/// other row and asked about the rest, and the other way round.
///
/// The squares let it see a change of spread. A few values far off, of which the deviation would be made, are drawn in first. The
/// p-value is that of the rank-sum of the scores.
///
/// # Errors
///
/// With fewer than twenty rows on a side, with other columns, or when no column varies.
pub fn domain_classifier(
    reference: &Rows,
    current: &Rows,
) -> Result<DomainClassifier, NotComparable> {
    check(reference, current, 20)?;
    let pooled = Rows {
        columns: reference.columns,
        values: [reference.values.as_slice(), &current.values].concat(),
    };
    let bounds = pooled.usual_ranges();
    let scale = Scale::of(&pooled.within(&bounds))?;
    let (reference, current) = (reference.within(&bounds), current.within(&bounds));
    if scale.deviations.iter().all(|deviation| *deviation == 0.0) {
        return Err(NotComparable::NothingVaries);
    }
    let features = |rows: &Rows| -> Vec<Vec<f64>> {
        let scaled = rows.standardised(&scale);
        let widened = |row: &[f64]| {
            // Far values are drawn in, so that a single one cannot decide.
            let near: Vec<f64> = row.iter().map(|value| value.clamp(-4.0, 4.0)).collect();
            let squares = near.iter().map(|value| (value * value - 1.0) / 2.0);
            let squares: Vec<f64> = squares.collect();
            [near, squares].concat()
        };
        scaled.iter().map(widened).collect()
    };
    let (p, q) = (features(&reference), features(&current));
    let mut areas = 0.0;
    let mut sums = vec![0.0; 2 * reference.columns];
    for half in 0..2 {
        let fitted = (every_other(&p, half).map(|row| (row, 0.0)))
            .chain(every_other(&q, half).map(|row| (row, 1.0)));
        let weights = logistic(&fitted.collect::<Vec<_>>(), p.len(), q.len());
        for (sum, weight) in sums.iter_mut().zip(&weights) {
            *sum += weight / 2.0;
        }
        let scores = |rows: &[Vec<f64>]| -> Vec<f64> {
            let asked = every_other(rows, 1 - half);
            asked.map(|row| dot(row, &weights)).collect()
        };
        areas += area_between(&Sample::of(&scores(&p)), &Sample::of(&scores(&q))) / 2.0;
    }
    let (n, m) = (p.len() as f64, q.len() as f64);
    let error = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    let mut weights: Vec<(usize, f64)> = (0..reference.columns)
        .map(|column| (column, sums[column].hypot(sums[column + reference.columns])))
        .collect();
    weights.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(DomainClassifier {
        auc: areas,
        null_error: error,
        interval: area_interval(areas, n, m),
        p_value: normal_upper((areas - 0.5) / error).ok_or(NotComparable::BeyondRange)?,
        weights,
    })
}

fn every_other(rows: &[Vec<f64>], first: usize) -> impl Iterator<Item = &[f64]> {
    rows.iter().skip(first).step_by(2).map(Vec::as_slice)
}

/// Hanley and McNeil's 95 % interval of an area between `n` and `m` values.
fn area_interval(area: f64, n: f64, m: f64) -> (f64, f64) {
    let both_above = area / (2.0 - area);
    let above_both = 2.0 * area * area / (1.0 + area);
    let squares = area * (1.0 - area)
        + (m - 1.0) * (both_above - area * area)
        + (n - 1.0) * (above_both - area * area);
    super::uncertainty::within(area, (squares / (n * m)).max(0.0), 1.0)
}

/// Weights of a logistic regression with a small penalty, both sides weighing the same, by gradient steps. The
/// intercept is fitted and dropped: ranks do not need it.
fn logistic(rows: &[(&[f64], f64)], n: usize, m: usize) -> Vec<f64> {
    const STEPS: u32 = 200;
    const PENALTY: f64 = 1e-3;
    let width = rows.first().map_or(0, |(row, _)| row.len());
    let (mut weights, mut intercept) = (vec![0.0; width], 0.0);
    let balance = [0.5 / n as f64, 0.5 / m as f64];
    let mass: f64 = rows.iter().map(|(_, label)| balance[*label as usize]).sum();
    // The curvature is at most a quarter of the mean squared length of a row.
    let length: f64 = rows
        .iter()
        .map(|(row, label)| balance[*label as usize] * (1.0 + dot(row, row)))
        .sum();
    let step = 4.0 * mass / length;
    for _ in 0..STEPS {
        let (mut gradient, mut of_intercept) = (vec![0.0; width], 0.0);
        for (row, label) in rows {
            let score = intercept + dot(row, &weights);
            let miss = (1.0 / (1.0 + (-score).exp()) - label) * balance[*label as usize] / mass;
            of_intercept += miss;
            for (gradient, value) in gradient.iter_mut().zip(*row) {
                *gradient += miss * value;
            }
        }
        intercept -= step * of_intercept;
        for (weight, gradient) in weights.iter_mut().zip(gradient) {
            *weight -= step * (gradient + PENALTY * *weight);
        }
    }
    weights
}

/// The chance that a value of the second sample is above one of the first, ties counting half.
fn area_between(low: &Sample, high: &Sample) -> f64 {
    let above: f64 = high
        .sorted()
        .iter()
        .map(|value| {
            let below = low.sorted().partition_point(|other| other < value);
            let not_above = low.sorted().partition_point(|other| other <= value);
            below as f64 + (not_above - below) as f64 / 2.0
        })
        .sum();
    above / (low.len() as f64 * high.len() as f64)
}

#[cfg(test)]
mod tests;
