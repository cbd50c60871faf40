//! Drift of what a model goes by: the ranking of its features.

use super::thinning::mixed;

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

/// How often rows are drawn again for an interval.
const DRAWS: u64 = 200;

/// Attributions row by row: those of all features of a row behind each other, NaN where a feature has none.
#[derive(Debug, Clone, Copy)]
pub struct AttributedRows<'a> {
    pub features: usize,
    pub values: &'a [f64],
}

impl AttributedRows<'_> {
    /// The mean size of each feature's attribution where each row counts as often as drawn.
    fn means(&self, mut drawn: impl FnMut() -> f64) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.features];
        for row in self.values.chunks_exact(self.features.max(1)) {
            let times = drawn();
            for ((sum, rows), value) in sums
                .iter_mut()
                .zip(row)
                .filter(|(_, value)| value.is_finite())
            {
                *sum += times * value.abs();
                *rows += times;
            }
        }
        let mean = |(sum, rows): (f64, f64)| if rows > 0.0 { sum / rows } else { 0.0 };
        sums.into_iter().map(mean).collect()
    }
}

/// The 95 % interval of [`ranking_gain`] by the bootstrap: the rows of both sides are drawn again, each as often as a Poisson number
/// says, and the middle 95 of 100 gains are taken, and `value` with them. The same rows are always drawn alike. `None` where no draw
/// can be ranked.
#[must_use]
pub fn interval(
    reference: AttributedRows<'_>,
    current: AttributedRows<'_>,
    value: f64,
) -> Option<(f64, f64)> {
    let mut state = 0;
    let mut times = || {
        state += 1;
        poisson((mixed(state) >> 11) as f64 / (1_u64 << 53) as f64)
    };
    let mut gains: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let (p, q) = (reference.means(&mut times), current.means(&mut times));
            ranking_gain(&p, &q).ok()
        })
        .collect();
    gains.sort_by(f64::total_cmp);
    let cut = gains.len() / 40;
    let (low, high) = (gains.get(cut)?, gains.get(gains.len() - 1 - cut)?);
    Some((low.min(value), high.max(value)))
}

/// The number of events of a Poisson distribution of mean 1 that a share of all cases does not exceed.
fn poisson(share: f64) -> f64 {
    let (mut events, mut probability) = (0.0, (-1.0_f64).exp());
    let mut below = probability;
    while share >= below && events < 20.0 {
        events += 1.0;
        probability /= events;
        below += probability;
    }
    events
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
    fn intervals_hold_the_gain_of_the_populations() {
        use crate::stats::random::uniform;
        // Mean sizes of exponential attributions; the middle two trade places.
        let (before, now) = ([4.0, 2.0, 1.6, 0.5], [4.0, 1.5, 2.2, 0.5]);
        let truth = ranking_gain(&before, &now).expect("ranked");
        let mut random = uniform(3);
        let mut rows = |means: &[f64]| -> Vec<f64> {
            (0..300)
                .flat_map(|_| {
                    means
                        .iter()
                        .map(|m| -m * (1.0 - random()).ln())
                        .collect::<Vec<_>>()
                })
                .collect()
        };
        let mut held = 0;
        for _ in 0..150 {
            let (p, q) = (rows(&before), rows(&now));
            let of = |values| AttributedRows {
                features: 4,
                values,
            };
            let value = ranking_gain(&of(&p).means(|| 1.0), &of(&q).means(|| 1.0)).expect("ranked");
            let (low, high) = interval(of(&p), of(&q), value).expect("ranked");
            assert_eq!(
                interval(of(&p), of(&q), value),
                Some((low, high)),
                "the same draws"
            );
            assert!((0.0..=1.0).contains(&low) && low <= value && value <= high && high <= 1.0);
            held += i32::from(low - 1e-12 <= truth && truth <= high + 1e-12);
        }
        assert!(held >= 132, "{held} of 150");
        let none = AttributedRows {
            features: 2,
            values: &[],
        };
        assert_eq!(interval(none, none, 1.0), None);
    }

    #[test]
    fn a_poisson_number_of_mean_one_is_drawn() {
        let draws: Vec<f64> = (0..10_000)
            .map(|n| poisson(f64::from(n) / 10_000.0))
            .collect();
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
        assert_eq!((draws[0], draws[3_678], draws[3_680]), (0.0, 0.0, 1.0));
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
