//! Along which features a change of the loss runs.

use super::decomposition::{Moments, Part, decompose};
use super::{FEWEST_ROWS, LabelledRows, NoCauses, bins_of, check};
use crate::stats::tails::{PValue, chi_square_tail, normal_two_sided};

/// What one feature has to do with a change of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureCause {
    pub feature: usize,
    /// What the change of this feature's distribution alone would do to the mean loss.
    pub input: Part,
    /// How much the change of the loss differs between the feature's bins, chance taken away: the standard deviation over the
    /// window's rows, in the unit of the loss. Concept change that runs along the feature shows here.
    pub unevenness: f64,
    /// That of both being chance, times twice the number of features (Bonferroni).
    pub p_value: PValue,
}

impl FeatureCause {
    /// What features are ranked by: the larger of the two, in the unit of the loss.
    #[must_use]
    pub fn size(&self) -> f64 {
        self.input.value.abs().max(self.unevenness)
    }
}

/// Ranks the features by what they have to do with a change of the loss, significant ones (below 0.05) first.
///
/// The input part is that of [`decompose`] over the feature's bins. Unevenness is tested by Cochran's Q (1954) of
/// the bins' changes, which is chi-square with one degree less than there are bins with thirty rows on both sides.
/// Features that go together share causes: the ranking says where to look, not what to blame.
///
/// # Errors
/// With other features, or fewer than 30 rows on a side.
pub fn rank_features(
    reference: &LabelledRows,
    current: &LabelledRows,
) -> Result<Vec<FeatureCause>, NoCauses> {
    check(reference, current)?;
    let tests = (2.0 * reference.features.len() as f64).ln();
    let mut found = Vec::with_capacity(reference.features.len());
    for feature in 0..reference.features.len() {
        let bins = bins_of(reference, current, feature);
        let sides = [reference, current].map(|side| side.moments(feature, bins));
        let cells: Vec<(Moments, Moments)> = sides[0]
            .iter()
            .copied()
            .zip(sides[1].iter().copied())
            .collect();
        let input = decompose(&cells)?.input;
        let (unevenness, uneven) = unevenness(&cells);
        let half = (input.interval.1 - input.interval.0) / 2.0 / crate::stats::quality::Z_95;
        let moved = if half > 0.0 {
            normal_two_sided(input.value / half).unwrap_or(PValue::ONE)
        } else {
            PValue::ONE
        };
        let least = moved.ln().min(uneven.ln());
        found.push(FeatureCause {
            feature,
            input,
            unevenness,
            p_value: PValue::from_ln(least + tests).unwrap_or(PValue::ONE),
        });
    }
    found.sort_by(|a, b| {
        let significant = |cause: &FeatureCause| cause.p_value.value() < 0.05;
        let by_size = b.size().total_cmp(&a.size());
        significant(b)
            .cmp(&significant(a))
            .then(by_size)
            .then(a.feature.cmp(&b.feature))
    });
    Ok(found)
}

/// The standard deviation of the bins' changes beyond chance, and Cochran's test of it.
fn unevenness(cells: &[(Moments, Moments)]) -> (f64, PValue) {
    let enough = |cell: &&(Moments, Moments)| cell.0.rows.min(cell.1.rows) >= FEWEST_ROWS;
    let changes: Vec<(f64, f64, f64)> = (cells.iter().filter(enough))
        .map(|(before, after)| {
            let variance = before.error(before.variance()) + after.error(after.variance());
            (after.mean() - before.mean(), variance, after.rows as f64)
        })
        .filter(|(_, variance, _)| *variance > 0.0)
        .collect();
    if changes.len() < 2 {
        return (0.0, PValue::ONE);
    }
    let weight: f64 = changes.iter().map(|(_, variance, _)| 1.0 / variance).sum();
    let mean = changes
        .iter()
        .map(|(d, variance, _)| d / variance)
        .sum::<f64>()
        / weight;
    let q: f64 = changes
        .iter()
        .map(|(d, variance, _)| (d - mean).powi(2) / variance)
        .sum();
    let rows: f64 = changes.iter().map(|(.., rows)| rows).sum();
    let excess: f64 = (changes.iter())
        .map(|(d, variance, own)| own / rows * ((d - mean).powi(2) - variance))
        .sum();
    let p = chi_square_tail(q, changes.len() as f64 - 1.0);
    (excess.max(0.0).sqrt(), p.unwrap_or(PValue::ONE))
}
