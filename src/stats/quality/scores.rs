//! Measures of scores against yes-or-no labels: how well they rank, and how true they are as probabilities.

use super::bins::{Bins, ReliabilityBin};
use super::intervals::{Z_95, logit_interval, mean, newcombe_difference, sum, wald, wilson};
use super::{Estimate, Quality, Undefined};

/// Scores that are numbers, with whether the label is positive, sorted by score.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    sorted: Vec<(f64, bool)>,
    positives: u64,
}

/// An area under a ROC curve, and what DeLong's (1988) variance of it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocArea {
    /// 0 to 1; less is worse.
    pub value: f64,
    pub positives: u64,
    pub negatives: u64,
    /// The squared deviations from the area, summed over the positives, of the share of negatives that each has a higher score
    /// than; and the other way round.
    pub positive_spread: f64,
    pub negative_spread: f64,
}

/// Outcomes with one score.
#[derive(Debug, Clone, Copy)]
struct Tied {
    positives: u64,
    negatives: u64,
}

impl Scores {
    /// Sorts the scores; those that are NaN are left out.
    #[must_use]
    pub fn new(mut scored: Vec<(f64, bool)>) -> Self {
        scored.retain(|(score, _)| !score.is_nan());
        for (score, _) in &mut scored {
            // Both zeros are one score.
            *score += 0.0;
        }
        scored.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let positives = scored.iter().filter(|(_, positive)| *positive).count() as u64;
        Self {
            sorted: scored,
            positives,
        }
    }

    /// Number of outcomes with a score.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// Whether there is no score.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The area under the ROC curve: the share of pairs of a positive and a negative in which the positive has
    /// the higher score, ties counting half. 0 to 1, 0.5 for scores that tell nothing; less is worse.
    ///
    /// Exact: the pairs are counted in integers (Mann and Whitney 1947). The interval is DeLong's (1988), and
    /// where the scores separate the classes without a single exception, so that it would be empty, Wilson's
    /// for the rarer class.
    ///
    /// # Errors
    /// Unless there are both positives and negatives with a score.
    pub fn roc_auc(&self) -> Quality {
        let area = self.roc_area()?;
        let (m, n) = (area.positives, area.negatives);
        let interval = (m > 1 && n > 1).then(|| {
            let variance = area.positive_spread / (m as f64 - 1.0) / m as f64
                + area.negative_spread / (n as f64 - 1.0) / n as f64;
            if variance > 0.0 {
                wald(area.value, variance, (0.0, 1.0))
            } else {
                wilson(area.value, m.min(n) as f64, Z_95)
            }
        });
        Ok(Estimate {
            value: area.value,
            interval,
            size: m.min(n),
        })
    }

    /// The area under the ROC curve, as [`Self::roc_auc`], with what its variance is made of.
    ///
    /// # Errors
    /// Unless there are both positives and negatives with a score.
    pub fn roc_area(&self) -> Result<RocArea, Undefined> {
        let (m, n) = self.both_classes()?;
        let mut half_pairs = 0_u128;
        let mut negatives_below = 0;
        for tied in self.ties() {
            half_pairs +=
                u128::from(tied.positives) * u128::from(2 * negatives_below + tied.negatives);
            negatives_below += tied.negatives;
        }
        let (of_positives, of_negatives) = (m as f64, n as f64);
        let value = half_pairs as f64 / (2 * u128::from(m) * u128::from(n)) as f64;
        let (mut positive_spread, mut negative_spread) = (0.0, 0.0);
        let (mut above, mut below) = (m, 0);
        for tied in self.ties() {
            above -= tied.positives;
            let wins = (below as f64 + tied.negatives as f64 / 2.0) / of_negatives;
            let losses = (above as f64 + tied.positives as f64 / 2.0) / of_positives;
            positive_spread += tied.positives as f64 * (wins - value).powi(2);
            negative_spread += tied.negatives as f64 * (losses - value).powi(2);
            below += tied.negatives;
        }
        Ok(RocArea {
            value,
            positives: m,
            negatives: n,
            positive_spread,
            negative_spread,
        })
    }

    /// Average precision, the area under the precision-recall curve as a step function: the mean over the
    /// positives of the precision at their score. 0 to 1, the base rate for scores that tell nothing; less is
    /// worse. Its interval is Boyd's on the logit scale.
    ///
    /// # Errors
    /// Unless there are both positives and negatives with a score.
    pub fn average_precision(&self) -> Quality {
        let (m, _) = self.both_classes()?;
        let of_positives = m as f64;
        let steps = self.curve().into_iter().map(|point| {
            let precision = point.positives as f64 / point.rows() as f64;
            point.gained as f64 / of_positives * precision
        });
        let value = sum(steps).min(1.0);
        Ok(Estimate {
            value,
            interval: Some(logit_interval(value, of_positives)),
            size: m,
        })
    }

    /// The area under the precision-recall curve by trapezoids, as scikit-learn's `auc` of its curve; it
    /// flatters by interpolating, so [`Self::average_precision`] is the one to use.
    ///
    /// # Errors
    /// Unless there are both positives and negatives with a score.
    pub fn pr_auc_trapezoid(&self) -> Quality {
        let (m, _) = self.both_classes()?;
        let (mut recall, mut precision) = (0.0, 1.0);
        let mut area = Vec::new();
        for point in self.curve() {
            let next_recall = point.positives as f64 / m as f64;
            let next_precision = point.positives as f64 / point.rows() as f64;
            area.push((next_recall - recall) * f64::midpoint(precision, next_precision));
            (recall, precision) = (next_recall, next_precision);
        }
        let value = sum(area).min(1.0);
        Ok(Estimate {
            value,
            interval: Some(logit_interval(value, m as f64)),
            size: m,
        })
    }

    /// The Kolmogorov–Smirnov distance between the scores of positives and negatives: the largest difference of
    /// the shares of both that lie above one threshold. 0 to 1, less is worse.
    ///
    /// The interval is Newcombe's of the difference at that threshold, and a little too high, because the
    /// threshold was chosen for it.
    ///
    /// # Errors
    /// Unless there are both positives and negatives with a score.
    pub fn kolmogorov_smirnov(&self) -> Quality {
        let (m, n) = self.both_classes()?;
        let distance = |(hits, alarms): (u64, u64)| {
            (i128::from(hits) * i128::from(n) - i128::from(alarms) * i128::from(m)).abs()
        };
        let cuts = self.curve().into_iter();
        let cuts = cuts.map(|point| (point.positives, point.negatives));
        let (hits, alarms) = cuts.max_by_key(|cut| distance(*cut)).unwrap_or((m, n));
        let value = distance((hits, alarms)) as f64 / (m as f64 * n as f64);
        let difference = newcombe_difference((hits, m), (alarms, n), Z_95);
        let reversed = i128::from(hits) * i128::from(n) < i128::from(alarms) * i128::from(m);
        let interval =
            difference.map(|(low, high)| if reversed { (-high, -low) } else { (low, high) });
        Ok(Estimate {
            value,
            interval: interval.map(|(low, high)| (low.max(0.0), high)),
            size: m.min(n),
        })
    }

    /// Lift: how many times more positives there are among the `top_share` of outcomes with the highest scores
    /// than among all. 0 to the reciprocal of the base rate, 1 for scores that tell nothing; less is worse.
    ///
    /// The number of outcomes taken is rounded up. Where the cut falls between equal scores, each of them is
    /// taken in part, so the order of rows does not matter. The interval is Wilson's of the share in the top,
    /// divided by the base rate as it is.
    ///
    /// # Errors
    /// Without positives, or if `top_share` is not above 0 and at most 1.
    pub fn lift(&self, top_share: f64) -> Quality {
        if !(top_share > 0.0 && top_share <= 1.0) {
            return Err(Undefined::BadParameter);
        }
        if self.is_empty() {
            return Err(Undefined::NoScores);
        }
        if self.positives == 0 {
            return Err(Undefined::NoPositives);
        }
        let rows = self.len() as f64;
        // A tenth of 30 is 3, although 0.1 · 30 is a little more in binary.
        let taken = (top_share * rows - 1e-9).ceil().clamp(1.0, rows);
        let (mut left, mut found) = (taken, 0.0);
        for tied in self.ties().rev() {
            let size = (tied.positives + tied.negatives) as f64;
            let part = (left / size).min(1.0);
            found += part * tied.positives as f64;
            left -= part * size;
            if left <= 0.0 {
                break;
            }
        }
        let base_rate = self.positives as f64 / rows;
        let share = (found / taken).min(1.0);
        let (low, high) = wilson(share, taken, Z_95);
        Ok(Estimate {
            value: share / base_rate,
            interval: Some((low / base_rate, high / base_rate)),
            size: taken as u64,
        })
    }

    /// Mean negative log-likelihood of the label: 0 is perfect, more is worse, 36.04 the most. Probabilities are
    /// clipped by the rounding unit of `f64` so that one sure mistake does not make the mean infinite, as
    /// scikit-learn does. The interval is the normal approximation for the mean.
    ///
    /// # Errors
    /// Without scores, or if some score is no probability.
    pub fn log_loss(&self) -> Quality {
        let mut losses: Vec<f64> = (self.probabilities()?.iter())
            .map(|(score, label)| log_loss_of(if *label { *score } else { 1.0 - score }))
            .collect();
        mean(&mut losses, (0.0, f64::INFINITY))
    }

    /// Brier's score, the mean squared difference of probability and label: 0 is perfect, more is worse, 1 the
    /// most. The interval is the normal approximation for the mean. Brier (1950).
    ///
    /// # Errors
    /// Without scores, or if some score is no probability.
    pub fn brier(&self) -> Quality {
        let mut losses: Vec<f64> = (self.probabilities()?.iter())
            .map(|(score, label)| (score - f64::from(u8::from(*label))).powi(2))
            .collect();
        mean(&mut losses, (0.0, 1.0))
    }

    /// Expected calibration error: the mean, over the outcomes, of how far the share that came true in their bin
    /// is from the mean score there. 0 is perfect, more is worse, 1 the most; well calibrated scores have
    /// [`Self::calibration_noise`]. Naeini and others (2015).
    ///
    /// The interval is the normal approximation with the sign of every bin's gap as it is, and too narrow
    /// where gaps are as small as their noise.
    ///
    /// # Errors
    /// Without scores, without bins, or if some score is no probability.
    pub fn calibration_error(&self, bins: Bins) -> Quality {
        let table = self.reliability(bins)?;
        let rows = self.len();
        let value = sum(table
            .iter()
            .map(|bin| bin.outcomes as f64 / rows as f64 * (bin.observed - bin.mean_score).abs()));
        let mut gaps = Vec::with_capacity(self.sorted.len());
        for ((range, ..), bin) in bins.split(&self.sorted).into_iter().zip(&table) {
            let sign = if bin.observed < bin.mean_score {
                -1.0
            } else {
                1.0
            };
            gaps.extend(
                (self.sorted[range].iter())
                    .map(|(score, label)| sign * (f64::from(u8::from(*label)) - score)),
            );
        }
        let spread = mean(&mut gaps, (0.0, 1.0))?;
        Ok(Estimate {
            value,
            interval: spread.interval,
            size: rows,
        })
    }

    /// The calibration error that perfectly calibrated scores would be expected to have with as many outcomes,
    /// because shares of few outcomes scatter: `Σ n_b/n·√(2·v_b/(π·n_b))` with the variance `v_b` of labels drawn
    /// with the bin's scores. In the unit of [`Self::calibration_error`].
    ///
    /// # Errors
    /// As for [`Self::calibration_error`].
    pub fn calibration_noise(&self, bins: Bins) -> Result<f64, Undefined> {
        self.reliability(bins)?;
        let noise = bins.split(&self.sorted).into_iter().map(|(range, ..)| {
            let variance = sum(self.sorted[range].iter().map(|(p, _)| p * (1.0 - p)));
            (2.0 * variance / std::f64::consts::PI).sqrt()
        });
        Ok(sum(noise) / self.len() as f64)
    }

    /// The reliability table: per non-empty bin what was predicted and what came true.
    ///
    /// # Errors
    /// As for [`Self::calibration_error`].
    pub fn reliability(&self, bins: Bins) -> Result<Vec<ReliabilityBin>, Undefined> {
        self.probabilities()?;
        if bins.count() == 0 {
            return Err(Undefined::BadParameter);
        }
        let bins = bins.split(&self.sorted).into_iter();
        Ok(bins
            .filter_map(|(range, lower, upper)| {
                ReliabilityBin::of(&self.sorted[range], lower, upper)
            })
            .collect())
    }

    fn probabilities(&self) -> Result<&[(f64, bool)], Undefined> {
        let (Some(first), Some(last)) = (self.sorted.first(), self.sorted.last()) else {
            return Err(Undefined::NoScores);
        };
        if first.0 < 0.0 || last.0 > 1.0 {
            return Err(Undefined::NotProbabilities);
        }
        Ok(&self.sorted)
    }

    fn both_classes(&self) -> Result<(u64, u64), Undefined> {
        match (self.positives, self.len() - self.positives) {
            (0, 0) => Err(Undefined::NoScores),
            (0, _) => Err(Undefined::NoPositives),
            (_, 0) => Err(Undefined::NoNegatives),
            both => Ok(both),
        }
    }

    /// Groups of equal scores, the lowest first.
    fn ties(&self) -> impl DoubleEndedIterator<Item = Tied> {
        self.sorted.chunk_by(|a, b| a.0 == b.0).map(|tied| {
            let positives = tied.iter().filter(|(_, positive)| *positive).count() as u64;
            Tied {
                positives,
                negatives: tied.len() as u64 - positives,
            }
        })
    }

    /// What lies at or above each distinct score, the highest first.
    fn curve(&self) -> Vec<CurvePoint> {
        let (mut positives, mut negatives) = (0, 0);
        let ties = self.ties().rev();
        ties.map(|tied| {
            positives += tied.positives;
            negatives += tied.negatives;
            CurvePoint {
                positives,
                negatives,
                gained: tied.positives,
            }
        })
        .collect()
    }
}

/// What lies at or above a threshold.
#[derive(Debug, Clone, Copy)]
struct CurvePoint {
    positives: u64,
    negatives: u64,
    /// Positives exactly at the threshold.
    gained: u64,
}

impl CurvePoint {
    fn rows(self) -> u64 {
        self.positives + self.negatives
    }
}

/// Minus the logarithm of the probability given to what happened, clipped by the rounding unit of `f64` on
/// both sides.
pub(super) fn log_loss_of(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scores(rows: &[(f64, bool)]) -> Scores {
        Scores::new(rows.to_vec())
    }

    #[test]
    fn area_under_the_curve_counts_ties_half() {
        let auc = |rows: &[(f64, bool)]| scores(rows).roc_auc().map(|of| of.value);
        assert_eq!(
            auc(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]),
            Ok(0.75)
        );
        assert_eq!(auc(&[(0.5, false), (0.5, true)]), Ok(0.5));
        assert_eq!(auc(&[(0.9, false), (0.1, true)]), Ok(0.0));
        assert_eq!(auc(&[(0.9, true)]), Err(Undefined::NoNegatives));
        assert_eq!(auc(&[]), Err(Undefined::NoScores));
        assert_eq!(
            auc(&[(-0.0, false), (0.0, true)]),
            Ok(0.5),
            "both zeros are one score"
        );
        assert_eq!(
            auc(&[(f64::NEG_INFINITY, false), (f64::INFINITY, true)]),
            Ok(1.0),
            "infinite scores have an order"
        );
    }

    #[test]
    fn separated_classes_still_have_an_interval() {
        let rows: Vec<_> = (0..40).map(|i| (f64::from(i), i >= 30)).collect();
        let area = scores(&rows).roc_auc().expect("both classes");
        let (low, high) = area.interval.expect("enough of both");
        assert!(
            area.value == 1.0 && high == 1.0 && (0.7..0.75).contains(&low),
            "{area:?}"
        );
    }

    #[test]
    fn lift_takes_equal_scores_in_part() {
        // Ten outcomes, three positive; the top two of four equal scores, of which two are positive.
        let rows: Vec<_> = (0..10)
            .map(|i| (if i < 4 { 0.9 } else { 0.1 }, matches!(i, 0 | 1 | 8)))
            .collect();
        let lift = scores(&rows).lift(0.2).expect("positives");
        assert!(
            (lift.value - 0.5 / 0.3).abs() < 1e-12 && lift.size == 2,
            "{lift:?}"
        );
        assert_eq!(scores(&rows).lift(0.0), Err(Undefined::BadParameter));
        assert_eq!(scores(&rows).lift(f64::NAN), Err(Undefined::BadParameter));
        assert!((scores(&rows).lift(1.0).expect("positives").value - 1.0).abs() < 1e-12);
        let thirty: Vec<_> = (0..30).map(|i| (f64::from(i), i > 26)).collect();
        assert_eq!(scores(&thirty).lift(0.1).expect("positives").size, 3);
    }

    #[test]
    fn reliability_tells_bins_apart_and_leaves_out_empty_ones() {
        let table = scores(&[(0.05, false), (0.05, true), (0.1, false), (1.0, true)])
            .reliability(Bins::Width(10))
            .expect("probabilities");
        let counts: Vec<_> = table
            .iter()
            .map(|bin| (bin.lower, bin.outcomes, bin.positives))
            .collect();
        assert_eq!(counts, [(0.0, 2, 1), (0.1, 1, 0), (0.9, 1, 1)]);
        let constant = scores(&[(0.3, false), (0.3, true)]);
        assert_eq!(
            constant
                .reliability(Bins::Quantile(10))
                .expect("probabilities")
                .len(),
            1
        );
        assert_eq!(
            constant.reliability(Bins::Width(0)),
            Err(Undefined::BadParameter)
        );
    }

    proptest! {
        #[test]
        fn area_under_the_curve_is_the_share_of_ordered_pairs(
            scored in prop::collection::vec((0u8..6, any::<bool>()), 0..40),
        ) {
            let scored: Vec<(f64, bool)> = scored.into_iter().map(|(s, y)| (f64::from(s), y)).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for (positive, _) in scored.iter().filter(|(_, y)| *y) {
                for (negative, _) in scored.iter().filter(|(_, y)| !*y) {
                    pairs += 1.0;
                    won += if positive > negative { 1.0 } else if positive == negative { 0.5 } else { 0.0 };
                }
            }
            let expected = (pairs > 0.0).then_some(won / pairs);
            prop_assert_eq!(scores(&scored).roc_auc().ok().map(|of| of.value), expected);
        }

        #[test]
        fn every_measure_of_scores_is_the_same_in_whatever_order_they_come(
            scored in prop::collection::vec((0.0..1.0_f64, any::<bool>()), 1..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut turned = scored.clone();
            turned.rotate_left(cut.index(scored.len()));
            let (a, b) = (Scores::new(scored), Scores::new(turned));
            prop_assert_eq!(a.roc_auc(), b.roc_auc());
            prop_assert_eq!(a.average_precision(), b.average_precision());
            prop_assert_eq!(a.kolmogorov_smirnov(), b.kolmogorov_smirnov());
            prop_assert_eq!(a.lift(0.25), b.lift(0.25));
            prop_assert_eq!(a.log_loss(), b.log_loss());
            prop_assert_eq!(a.brier(), b.brier());
            prop_assert_eq!(a.calibration_error(Bins::Quantile(5)), b.calibration_error(Bins::Quantile(5)));
        }
    }
}
