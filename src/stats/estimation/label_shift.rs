//! Label shift: the classes' shares have changed, and the rows of each class are what they were.
//!
//! Then the shares of the predictions follow from those of the classes: `μ = C w`, with `C_ij = P(ŷ = i, y = j)` of the reference
//! and `w` the ratio of the classes' new shares to their old ones. Solving for `w` is black-box shift estimation (Lipton, Wang
//! and Smola 2018). With more groups of predictions than classes there is something left over, and a chi-square test of
//! it says whether the supposition can be right at all.

use serde::{Deserialize, Serialize};

use crate::stats::multivariate::eigen;
use crate::stats::tails::{PValue, chi_square_tail};

/// Rows of the reference by group of predictions and by true class.
///
/// Groups are predicted classes, or those split further by how sure the model was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JointCounts {
    classes: usize,
    /// By group, then by class.
    counts: Vec<u64>,
}

/// Why label shift cannot be estimated.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum NoLabelShift {
    #[error("there are fewer groups of predictions than classes, or other ones")]
    DifferentGroups,
    #[error("some class has no labels in the reference")]
    ClassWithoutLabels,
    #[error("the window has fewer than {0} rows for each class")]
    TooFewRows(u64),
    #[error("predictions tell the classes too little apart: least singular value {0:.3}")]
    NotSeparated(f64),
}

/// The classes' new shares.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelShift {
    /// By class: the new share over the old one.
    ratios: Vec<f64>,
    /// By class: its share in the reference.
    pub before: Vec<f64>,
    /// By class: the new share, and its standard error.
    pub shares: Vec<f64>,
    pub errors: Vec<f64>,
    /// Whether a share came out negative and was set to zero: then it is not pure label shift, or there are too few rows.
    pub is_clipped: bool,
    /// That nothing but the classes' shares has changed; low speaks against it. `None` unless more groups than classes have rows
    /// in the reference or in the window.
    pub is_pure: Option<PValue>,
}

/// Below this singular value of the matrix of two classes the errors are multiplied too much. Of more classes, whose shares are
/// smaller, it is less in proportion.
const LEAST_SINGULAR: f64 = 0.05;
const ROWS_PER_CLASS: u64 = 50;

impl JointCounts {
    /// No rows yet.
    #[must_use]
    pub fn new(groups: usize, classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; groups * classes],
        }
    }

    /// Takes a labelled row of the reference in.
    ///
    /// # Panics
    /// For a group or a class that there is none of.
    pub fn push(&mut self, group: usize, class: usize) {
        assert!(class < self.classes, "there are {} classes", self.classes);
        self.counts[group * self.classes + class] += 1;
    }

    fn groups(&self) -> usize {
        self.counts.len() / self.classes.max(1)
    }

    fn rows(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64
    }

    /// Whether a group has rows.
    fn has(&self, group: usize) -> bool {
        let of_group = &self.counts[group * self.classes..(group + 1) * self.classes];
        of_group.iter().any(|count| *count > 0)
    }

    /// `P(group, class)`.
    fn joint(&self) -> Vec<f64> {
        let rows = self.rows();
        self.counts
            .iter()
            .map(|count| *count as f64 / rows)
            .collect()
    }

    fn class_shares(&self) -> Vec<f64> {
        let joint = self.joint();
        (0..self.classes)
            .map(|class| joint.iter().skip(class).step_by(self.classes).sum())
            .collect()
    }
}

impl LabelShift {
    /// From the reference and the groups' counts in a window, by day. The days' differences widen the errors where there are at
    /// least seven of them; otherwise rows are taken to be independent.
    ///
    /// With as many groups as classes the equations are solved as they stand, with more by least squares weighted by the
    /// groups' variances.
    ///
    /// # Errors
    /// See [`NoLabelShift`].
    pub fn estimate(reference: &JointCounts, days: &[Vec<u64>]) -> Result<Self, NoLabelShift> {
        let (groups, classes) = (reference.groups(), reference.classes);
        if classes < 2 || groups < classes || days.iter().any(|day| day.len() != groups) {
            return Err(NoLabelShift::DifferentGroups);
        }
        let old = reference.class_shares();
        if old.iter().any(|share| share.is_nan() || *share <= 0.0) {
            return Err(NoLabelShift::ClassWithoutLabels);
        }
        let rows: u64 = days.iter().flatten().sum();
        if rows < ROWS_PER_CLASS * classes as u64 {
            return Err(NoLabelShift::TooFewRows(ROWS_PER_CLASS));
        }
        let joint = reference.joint();
        let least = least_singular_value(&joint, groups, classes);
        if least < LEAST_SINGULAR * 2.0 / classes as f64 {
            return Err(NoLabelShift::NotSeparated(least));
        }
        let mu: Vec<f64> = (0..groups)
            .map(|group| days.iter().map(|day| day[group]).sum::<u64>() as f64 / rows as f64)
            .collect();
        let of_window = window_covariance(days, &mu, rows as f64);
        // The weights of the groups need the ratios, and the other way round: twice is enough.
        let mut ratios = vec![1.0; classes];
        let mut fit = None;
        for _ in 0..3 {
            let mut covariance = of_window.clone();
            add_reference_covariance(&mut covariance, reference, &joint, &ratios);
            let found =
                solve(&joint, &mu, &old, &covariance).ok_or(NoLabelShift::NotSeparated(least))?;
            ratios.clone_from_slice(&found.ratios);
            fit = Some(found);
        }
        let fit = fit.ok_or(NoLabelShift::DifferentGroups)?;
        let is_clipped = fit.ratios.iter().any(|ratio| *ratio < 0.0);
        let clipped: Vec<f64> = fit.ratios.iter().map(|ratio| ratio.max(0.0)).collect();
        let total: f64 = clipped
            .iter()
            .zip(&old)
            .map(|(ratio, share)| ratio * share)
            .sum();
        let ratios: Vec<f64> = clipped.iter().map(|ratio| ratio / total).collect();
        // A group that is empty on both sides is met by whatever the classes' shares are.
        let occupied = (0..groups).filter(|group| reference.has(*group) || mu[*group] > 0.0);
        let left = occupied.count().saturating_sub(classes);
        let is_pure = (left > 0)
            .then(|| chi_square_tail(fit.left_over, left as f64))
            .flatten();
        Ok(Self {
            shares: ratios
                .iter()
                .zip(&old)
                .map(|(ratio, share)| ratio * share)
                .collect(),
            errors: fit
                .errors
                .iter()
                .zip(&old)
                .map(|(error, share)| error * share)
                .collect(),
            ratios,
            before: old,
            is_clipped,
            is_pure,
        })
    }

    /// By class: its new share over its old one.
    #[must_use]
    pub fn ratios(&self) -> &[f64] {
        &self.ratios
    }

    /// The probabilities of a row's classes, corrected.
    #[must_use]
    pub fn corrected(&self, probabilities: &[f64]) -> Vec<f64> {
        let pairs = probabilities.iter().zip(&self.ratios);
        let weighted: Vec<f64> = pairs.map(|(p, ratio)| p * ratio).collect();
        let sum: f64 = weighted.iter().sum();
        if sum > 0.0 {
            weighted.into_iter().map(|p| p / sum).collect()
        } else {
            probabilities.to_vec()
        }
    }
}

struct Fit {
    ratios: Vec<f64>,
    errors: Vec<f64>,
    left_over: f64,
}

/// Of the matrix whose columns are `P(group | class)` times the classes' shares.
fn least_singular_value(joint: &[f64], groups: usize, classes: usize) -> f64 {
    let mut square = vec![0.0; classes * classes];
    for group in 0..groups {
        let row = &joint[group * classes..(group + 1) * classes];
        for (a, x) in row.iter().enumerate() {
            for (b, y) in row.iter().enumerate() {
                square[a * classes + b] += x * y;
            }
        }
    }
    let values = eigen(square, classes).into_iter().map(|(value, _)| value);
    values.fold(f64::INFINITY, f64::min).max(0.0).sqrt()
}

/// The covariance of the groups' shares: multinomial, or what the days differ by if that is more.
fn window_covariance(days: &[Vec<u64>], mu: &[f64], rows: f64) -> Vec<f64> {
    let groups = mu.len();
    let mut plain = vec![0.0; groups * groups];
    for (a, x) in mu.iter().enumerate() {
        for (b, y) in mu.iter().enumerate() {
            plain[a * groups + b] = (if a == b { *x } else { 0.0 } - x * y) / rows;
        }
    }
    let full: Vec<&Vec<u64>> = days
        .iter()
        .filter(|day| day.iter().sum::<u64>() > 0)
        .collect();
    if full.len() < 7 {
        return plain;
    }
    let scale = full.len() as f64 / (full.len() as f64 - 1.0) / (rows * rows);
    let mut between = 0.0;
    for day in full {
        let own = day.iter().sum::<u64>() as f64;
        let misses = day
            .iter()
            .zip(mu)
            .map(|(count, share)| (*count as f64 - own * share).powi(2));
        between += misses.sum::<f64>() * scale;
    }
    // One factor for all groups: a full matrix of so few days would not have an inverse.
    let within: f64 = (0..groups).map(|group| plain[group * groups + group]).sum();
    let factor = if within > 0.0 {
        (between / within).max(1.0)
    } else {
        1.0
    };
    plain.iter().map(|value| value * factor).collect()
}

/// Adds the covariance of `C w` from the reference's own rows.
fn add_reference_covariance(
    covariance: &mut [f64],
    reference: &JointCounts,
    joint: &[f64],
    ratios: &[f64],
) {
    let (groups, classes, rows) = (reference.groups(), reference.classes, reference.rows());
    let dot = |group: usize, power: i32| -> f64 {
        let row = &joint[group * classes..(group + 1) * classes];
        row.iter()
            .zip(ratios)
            .map(|(p, ratio)| p * ratio.powi(power))
            .sum()
    };
    for a in 0..groups {
        covariance[a * groups + a] += dot(a, 2) / rows;
        for b in 0..groups {
            covariance[a * groups + b] -= dot(a, 1) * dot(b, 1) / rows;
        }
    }
}

/// Generalised least squares under `Σ shares · w = 1`. The last group follows from the others, and the last class
/// from the constraint.
fn solve(joint: &[f64], mu: &[f64], old: &[f64], covariance: &[f64]) -> Option<Fit> {
    let (groups, classes) = (mu.len(), old.len());
    let (kept, free) = (groups - 1, classes - 1);
    let last = |group: usize| joint[group * classes + free] / old[free];
    let mut reduced: Vec<f64> = Vec::with_capacity(kept * kept);
    for a in 0..kept {
        reduced.extend_from_slice(&covariance[a * groups..a * groups + kept]);
        // A group without rows on either side has no variance at all.
        reduced[a * kept + a] += 1e-12;
    }
    let lower = cholesky(reduced, kept)?;
    let whiten = |column: Vec<f64>| forward(&lower, column);
    let target = whiten((0..kept).map(|group| mu[group] - last(group)).collect());
    let columns: Vec<Vec<f64>> = (0..free)
        .map(|class| {
            let of = |group: usize| joint[group * classes + class] - last(group) * old[class];
            whiten((0..kept).map(of).collect())
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut normal = vec![0.0; free * free];
    for a in 0..free {
        for b in 0..free {
            normal[a * free + b] = dot(&columns[a], &columns[b]);
        }
    }
    let factor = cholesky(normal, free)?;
    let back = |right: Vec<f64>| backward(&factor, forward(&factor, right));
    let mut ratios = back(columns.iter().map(|column| dot(column, &target)).collect());
    let mut rest = target;
    for (column, ratio) in columns.iter().zip(&ratios) {
        for (left, value) in rest.iter_mut().zip(column) {
            *left -= ratio * value;
        }
    }
    let inverse: Vec<Vec<f64>> = (0..free)
        .map(|class| back((0..free).map(|other| f64::from(other == class)).collect()))
        .collect();
    let mut errors: Vec<f64> = (0..free)
        .map(|class| inverse[class][class].sqrt())
        .collect();
    // The last ratio is (1 − Σ old · w) / old of the last class.
    let mut variance = 0.0;
    for a in 0..free {
        for b in 0..free {
            variance += old[a] * old[b] * inverse[a][b];
        }
    }
    errors.push(variance.max(0.0).sqrt() / old[free]);
    let used: f64 = ratios
        .iter()
        .zip(old)
        .map(|(ratio, share)| ratio * share)
        .sum();
    ratios.push((1.0 - used) / old[free]);
    Some(Fit {
        ratios,
        errors,
        left_over: dot(&rest, &rest),
    })
}

/// The lower triangle `L` with `L Lᵀ` the matrix; `None` unless it is positive definite.
fn cholesky(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    for column in 0..size {
        for row in column..size {
            let earlier = (0..column).map(|k| matrix[row * size + k] * matrix[column * size + k]);
            let value = matrix[row * size + column] - earlier.sum::<f64>();
            if row > column {
                matrix[row * size + column] = value / matrix[column * size + column];
            } else if value > 0.0 {
                matrix[row * size + column] = value.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(matrix)
}

/// Solves `L x = right`.
fn forward(lower: &[f64], mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for row in 0..size {
        let known = (0..row).map(|k| lower[row * size + k] * right[k]);
        right[row] = (right[row] - known.sum::<f64>()) / lower[row * size + row];
    }
    right
}

/// Solves `Lᵀ x = right`.
fn backward(lower: &[f64], mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for row in (0..size).rev() {
        let known = (row + 1..size).map(|k| lower[k * size + row] * right[k]);
        right[row] = (right[row] - known.sum::<f64>()) / lower[row * size + row];
    }
    right
}
