//! Realised quality: predictions whose label is known.
//!
//! Each kind of model has an accumulator that takes outcomes one by one, merges with another, and gives a
//! summary. What cannot be computed from the outcomes at hand is `None`: a recall without positives is
//! unknown, not zero. The macro means over classes are the exception, because leaving out a class without
//! predictions would reward a model for ignoring it; they follow scikit-learn's `zero_division=0`.
//!
//! The area under the ROC curve has no exact summary of fixed size, so the classifiers' accumulators keep
//! one number per outcome and class.

mod binary;
mod multiclass;
mod regression;

pub use binary::{BinaryOutcomes, BinarySummary};
pub use multiclass::{MulticlassOutcomes, MulticlassSummary};
pub use regression::{RegressionOutcomes, RegressionSummary};

/// The two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// The Wilson score interval, 95 %, for a share of `successes` in `trials`.
///
/// Within 0 to 1 and never empty, also for shares of exactly 0 or 1. `None` without trials. Wilson (1927).
#[must_use]
pub fn wilson_interval(successes: u64, trials: u64) -> Option<(f64, f64)> {
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let share = successes as f64 / n;
    let squared = Z_95 * Z_95;
    let centre = share + squared / (2.0 * n);
    let spread = Z_95 * (share * (1.0 - share) / n + squared / (4.0 * n * n)).sqrt();
    let scale = 1.0 + squared / n;
    Some((
        ((centre - spread) / scale).max(0.0),
        ((centre + spread) / scale).min(1.0),
    ))
}

/// The area under the ROC curve of scores with their truth: the share of pairs of a positive and a negative
/// in which the positive has the higher score, ties counting half. The slice is sorted in place.
///
/// From 0 to 1, 0.5 for scores that tell nothing; less is worse. `None` unless there are both positives and
/// negatives. Exact: the pairs are counted in integers (Mann and Whitney 1947).
#[must_use]
pub fn roc_auc(scored: &mut [(f64, bool)]) -> Option<f64> {
    scored.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut negatives_below = 0_u128;
    let mut positives = 0_u128;
    let mut half_pairs = 0_u128;
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let tied_positives = tied.iter().filter(|(_, positive)| *positive).count() as u128;
        let tied_negatives = tied.len() as u128 - tied_positives;
        half_pairs += tied_positives * (2 * negatives_below + tied_negatives);
        negatives_below += tied_negatives;
        positives += tied_positives;
    }
    let pairs = positives * negatives_below;
    (pairs > 0).then(|| half_pairs as f64 / (2 * pairs) as f64)
}

/// Minus the logarithm of the probability given to what happened, clipped by the rounding unit of `f64` on
/// both sides so that one sure mistake does not make the mean infinite; as scikit-learn does.
fn log_loss_of(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// A share, or `None` of nothing.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wilson_interval_has_its_published_values() {
        // statsmodels.stats.proportion.proportion_confint(8, 10, method="wilson")
        let (low, high) = wilson_interval(8, 10).expect("trials");
        assert!((low - 0.490_162_471_536_642).abs() < 1e-9, "{low}");
        assert!((high - 0.943_317_848_545_625).abs() < 1e-9, "{high}");
        assert_eq!(wilson_interval(0, 5).expect("trials").0, 0.0);
        assert_eq!(wilson_interval(5, 5).expect("trials").1, 1.0);
        assert_eq!(wilson_interval(0, 0), None);
    }

    #[test]
    fn area_under_the_curve_counts_ties_half() {
        let auc = |mut scored: Vec<(f64, bool)>| roc_auc(&mut scored);
        assert_eq!(
            auc(vec![(0.1, false), (0.4, false), (0.35, true), (0.8, true)]),
            Some(0.75)
        );
        assert_eq!(auc(vec![(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(auc(vec![(0.9, false), (0.1, true)]), Some(0.0));
        assert_eq!(auc(vec![(0.9, true), (0.1, true)]), None, "a single class");
        assert_eq!(auc(vec![]), None);
        assert_eq!(
            auc(vec![(-0.0, false), (0.0, true)]),
            Some(0.5),
            "both zeros are one score"
        );
    }

    proptest! {
        #[test]
        fn area_under_the_curve_is_the_share_of_ordered_pairs(
            scored in prop::collection::vec((0u8..6, any::<bool>()), 0..40),
        ) {
            let mut scored: Vec<(f64, bool)> = scored.into_iter().map(|(s, y)| (f64::from(s), y)).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for (positive, _) in scored.iter().filter(|(_, y)| *y) {
                for (negative, _) in scored.iter().filter(|(_, y)| !*y) {
                    pairs += 1.0;
                    won += if positive > negative { 1.0 } else if positive == negative { 0.5 } else { 0.0 };
                }
            }
            let expected = (pairs > 0.0).then_some(won / pairs);
            prop_assert_eq!(roc_auc(&mut scored), expected);
        }
    }
}
