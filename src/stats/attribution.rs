//! Drift of what a model goes by: the ranking of its features.

/// Why two attributions cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRanked {
    #[error("the two sides have different features, or none")]
    DifferentFeatures,
    #[error("an attribution is not a finite number of at least 0")]
    NotANumber,
    #[error("no feature has any attribution in the baseline")]
    NoAttribution,
}

/// Compares the ranking of features by their attribution in the window with the attributions of the baseline,
/// feature by feature in the same order: normalised discounted cumulative gain.
///
/// From 0 to 1, where 1 is the same ranking; less is worse. `Σ a(i) / log₂(i + 1)` over the baseline's
/// attributions `a` in the window's ranking, over the same sum in the baseline's own. Features that the window
/// attributes the same share their ranks' mean discount, so that their order in the table does not matter.
/// Järvelin and Kekäläinen (2002); SageMaker Clarify alerts below 0.9.
///
/// # Errors
///
/// When the sides differ in length or are empty, hold a number that is negative or not finite, or the baseline
/// has no attribution at all.
pub fn ranking_gain(reference: &[f64], current: &[f64]) -> Result<f64, NotRanked> {
    if reference.is_empty() || reference.len() != current.len() {
        return Err(NotRanked::DifferentFeatures);
    }
    let wrong = |value: &&f64| !value.is_finite() || **value < 0.0;
    if reference.iter().chain(current).any(|value| wrong(&value)) {
        return Err(NotRanked::NotANumber);
    }
    let largest = reference.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(NotRanked::NoAttribution);
    }
    // Gains relative to the largest, so that the sums stay in range.
    let gains: Vec<f64> = reference.iter().map(|gain| gain / largest).collect();
    Ok((discounted(&gains, current) / discounted(&gains, reference)).min(1.0))
}

/// The gains discounted by the rank that `by` gives, greatest first.
fn discounted(gains: &[f64], by: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..by.len()).collect();
    order.sort_by(|a, b| by[*b].total_cmp(&by[*a]));
    let mut rank = 0;
    let mut sum = 0.0;
    for tied in order.chunk_by(|a, b| by[*a] == by[*b]) {
        let discount: f64 = (rank..rank + tied.len())
            .map(|rank| 1.0 / (rank as f64 + 2.0).log2())
            .sum();
        let gain: f64 = tied.iter().map(|feature| gains[*feature]).sum();
        sum += gain * discount / tied.len() as f64;
        rank += tied.len();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ranking_has_gain_one_whatever_its_scale() {
        let reference = [0.5, 0.3, 0.2];
        for current in [[0.5, 0.3, 0.2], [5.0, 3.0, 2.0], [0.9, 0.06, 0.04]] {
            let gain = ranking_gain(&reference, &current).expect("ranked");
            assert!((gain - 1.0).abs() < 1e-12, "{gain}");
        }
        let huge = ranking_gain(&[1e308, 1e308], &[1.0, 2.0]).expect("ranked");
        assert!((huge - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_reversed_ranking_has_the_gain_of_the_formula() {
        // Gains 3, 2, 1 in the order 1, 2, 3: (1 + 2/log₂3 + 3/2) / (3 + 2/log₂3 + 1/2).
        let middle = 2.0 / 3.0_f64.log2();
        let expected = (2.5 + middle) / (3.5 + middle);
        let gain = ranking_gain(&[3.0, 2.0, 1.0], &[1.0, 2.0, 3.0]).expect("ranked");
        assert!((gain - expected).abs() < 1e-12, "{gain} {expected}");
    }

    #[test]
    fn the_order_of_tied_features_does_not_matter() {
        let one = ranking_gain(&[3.0, 1.0], &[1.0, 1.0]).expect("ranked");
        let other = ranking_gain(&[1.0, 3.0], &[1.0, 1.0]).expect("ranked");
        assert_eq!(one, other);
        assert!(one < 1.0);
    }

    #[test]
    fn degenerate_attributions_are_named() {
        let cases: [(&[f64], &[f64], NotRanked); 6] = [
            (&[], &[], NotRanked::DifferentFeatures),
            (&[1.0], &[1.0, 2.0], NotRanked::DifferentFeatures),
            (&[1.0, f64::NAN], &[1.0, 2.0], NotRanked::NotANumber),
            (&[1.0, 2.0], &[1.0, f64::INFINITY], NotRanked::NotANumber),
            (&[1.0, -2.0], &[1.0, 2.0], NotRanked::NotANumber),
            (&[0.0, 0.0], &[1.0, 2.0], NotRanked::NoAttribution),
        ];
        for (reference, current, expected) in cases {
            assert_eq!(
                ranking_gain(reference, current),
                Err(expected),
                "{reference:?} {current:?}"
            );
        }
    }
}
