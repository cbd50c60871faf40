//! Measures of numbers against numbers.

use super::intervals::{Z_95, mean, mean_and_error, quantile, quantile_interval};
use super::{Estimate, Quality, Undefined};

/// Predictions of numbers with their labels, ready to be measured. An error is prediction minus label.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Errors {
    pairs: Vec<(f64, f64)>,
    absolute: Vec<f64>,
    left_out: u64,
}

const WHOLE_LINE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
const POSITIVE: (f64, f64) = (0.0, f64::INFINITY);

impl Errors {
    /// Of finite pairs of prediction and label, when so many others were left out.
    pub(super) fn new(pairs: Vec<(f64, f64)>, left_out: u64) -> Self {
        let mut absolute: Vec<f64> = pairs.iter().map(|(p, label)| (p - label).abs()).collect();
        absolute.sort_unstable_by(f64::total_cmp);
        Self {
            pairs,
            absolute,
            left_out,
        }
    }

    /// Mean absolute error, in the unit of the label: 0 is perfect, more is worse. Normal interval.
    ///
    /// # Errors
    /// Without outcomes, or when an error leaves the range of numbers.
    pub fn mae(&self) -> Quality {
        self.some()?;
        mean(&mut self.absolute.clone(), POSITIVE)
    }

    /// Mean of prediction minus label: 0 is perfect, and the sign says which way the model errs. Normal interval.
    ///
    /// # Errors
    /// As for [`Self::mae`].
    pub fn bias(&self) -> Quality {
        self.some()?;
        let mut errors: Vec<f64> = self.pairs.iter().map(|(p, label)| p - label).collect();
        mean(&mut errors, WHOLE_LINE)
    }

    /// Mean squared error, in the square of the label's unit: 0 is perfect, more is worse. Normal interval.
    ///
    /// # Errors
    /// As for [`Self::mae`].
    pub fn mse(&self) -> Quality {
        self.some()?;
        let mut squares: Vec<f64> = self.absolute.iter().map(|error| error * error).collect();
        mean(&mut squares, POSITIVE)
    }

    /// Root of the mean squared error, in the unit of the label: 0 is perfect, more is worse; at least the mean
    /// absolute error. The interval is that of the mean squared error, its roots.
    ///
    /// # Errors
    /// As for [`Self::mae`].
    pub fn rmse(&self) -> Quality {
        self.some()?;
        // Relative to the largest error, so that squares stay numbers.
        let largest = *self.absolute.last().ok_or(Undefined::NoOutcomes)?;
        if largest == 0.0 {
            return self.mae();
        }
        let mut squares: Vec<f64> = (self.absolute.iter())
            .map(|e| (e / largest).powi(2))
            .collect();
        let of_squares = mean(&mut squares, POSITIVE)?;
        let back = |square: f64| largest * square.sqrt();
        let interval = of_squares
            .interval
            .map(|(low, high)| (back(low), back(high)));
        Ok(Estimate {
            value: back(of_squares.value),
            interval: interval.filter(|(_, high)| high.is_finite()),
            size: of_squares.size,
        })
    }

    /// Mean of `|error| / |label|` over the outcomes whose label is not zero; those with label zero, for which it
    /// is not defined, are left out and missing from the size. 0 is perfect, more is worse. Normal interval.
    ///
    /// # Errors
    /// Without outcomes, when all labels are zero, or when a quotient leaves the range of numbers.
    pub fn mape(&self) -> Quality {
        self.some()?;
        let mut shares: Vec<f64> = (self.pairs.iter())
            .filter(|(_, label)| *label != 0.0)
            .map(|(p, label)| (p - label).abs() / label.abs())
            .collect();
        if shares.is_empty() {
            return Err(Undefined::OnlyZeroLabels);
        }
        mean(&mut shares, POSITIVE)
    }

    /// Mean of `2·|error| / (|prediction| + |label|)`, 0 where both are zero: 0 is perfect, more is worse, 2 the
    /// most. Normal interval.
    ///
    /// # Errors
    /// As for [`Self::mae`].
    pub fn smape(&self) -> Quality {
        self.some()?;
        let share = |(p, label): &(f64, f64)| {
            let larger = p.abs().max(label.abs());
            if larger == 0.0 {
                return 0.0;
            }
            // Relative to the larger of both, so that neither sum nor difference overflows.
            2.0 * (p / larger - label / larger).abs() / (p.abs() / larger + label.abs() / larger)
        };
        mean(
            &mut self.pairs.iter().map(share).collect::<Vec<_>>(),
            (0.0, 2.0),
        )
    }

    /// The share of the labels' variance that the predictions explain: 1 is perfect, 0 no better than the labels'
    /// own mean, negative worse than it; less is worse. Interval by the delta method.
    ///
    /// # Errors
    /// Without outcomes, when all labels are the same, or when an error leaves the range of numbers.
    pub fn r2(&self) -> Quality {
        self.some()?;
        let mut labels: Vec<f64> = self.pairs.iter().map(|(_, label)| *label).collect();
        let (centre, _) = mean_and_error(&mut labels).ok_or(Undefined::NoOutcomes)?;
        let (first, last) = (labels[0], labels[labels.len() - 1]);
        if first == last {
            return Err(Undefined::ConstantLabels);
        }
        let scale = (last / 2.0 - first / 2.0).max(self.absolute[self.absolute.len() - 1] / 2.0);
        let mut terms: Vec<(f64, f64)> = (self.pairs.iter())
            .map(|(p, label)| {
                let (error, deviation) = ((p - label) / scale, label / scale - centre / scale);
                (error * error, deviation * deviation)
            })
            .collect();
        terms.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let n = terms.len() as f64;
        let left = super::intervals::sum(terms.iter().map(|(error, _)| *error));
        let whole = super::intervals::sum(terms.iter().map(|(_, deviation)| *deviation));
        if whole == 0.0 {
            // So close together that their squares vanish beside the errors'.
            return Err(Undefined::Overflow);
        }
        let ratio = left / whole;
        let squares = terms
            .iter()
            .map(|(error, deviation)| (error - ratio * deviation).powi(2));
        let half = Z_95 * super::intervals::sum(squares).sqrt() / whole;
        let value = 1.0 - ratio;
        if !value.is_finite() {
            return Err(Undefined::Overflow);
        }
        Ok(Estimate {
            value,
            interval: (n > 1.0 && half.is_finite())
                .then_some((value - half, (value + half).min(1.0))),
            size: self.absolute.len() as u64,
        })
    }

    /// Median of `|error|`, in the unit of the label: 0 is perfect, more is worse. Interval from order statistics.
    ///
    /// # Errors
    /// As for [`Self::mae`].
    pub fn median_absolute_error(&self) -> Quality {
        self.absolute_quantile(0.5)
    }

    /// Quantile of `|error|`: this share of errors is no larger. In the unit of the label; 0 is perfect, more is
    /// worse. Interval from order statistics, free of any assumption on the errors.
    ///
    /// # Errors
    /// As for [`Self::mae`], or if `share` is not from 0 to 1.
    pub fn absolute_quantile(&self, share: f64) -> Quality {
        self.some()?;
        of_quantile(&self.absolute, share)
    }

    /// Quantile of prediction minus label, in the unit of the label: how far off the predictions are on either
    /// side. Interval from order statistics.
    ///
    /// # Errors
    /// As for [`Self::mae`], or if `share` is not from 0 to 1.
    pub fn error_quantile(&self, share: f64) -> Quality {
        self.some()?;
        let mut errors: Vec<f64> = self.pairs.iter().map(|(p, label)| p - label).collect();
        errors.sort_unstable_by(f64::total_cmp);
        of_quantile(&errors, share)
    }

    /// Largest `|error|`, in the unit of the label: 0 is perfect, more is worse. A single outcome decides it, so it
    /// has no interval and grows with the number of outcomes.
    ///
    /// # Errors
    /// As for [`Self::mae`].
    pub fn max_error(&self) -> Quality {
        self.some()?;
        Ok(Estimate {
            value: self.absolute[self.absolute.len() - 1],
            interval: None,
            size: self.absolute.len() as u64,
        })
    }

    fn some(&self) -> Result<(), Undefined> {
        match self.absolute.last() {
            None if self.left_out > 0 => Err(Undefined::NoFiniteOutcomes),
            None => Err(Undefined::NoOutcomes),
            Some(largest) if !largest.is_finite() => Err(Undefined::Overflow),
            Some(_) => Ok(()),
        }
    }
}

fn of_quantile(sorted: &[f64], share: f64) -> Quality {
    if !(0.0..=1.0).contains(&share) {
        return Err(Undefined::BadParameter);
    }
    Ok(Estimate {
        value: quantile(sorted, share).ok_or(Undefined::NoOutcomes)?,
        interval: quantile_interval(sorted, share),
        size: sorted.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::super::RegressionOutcomes;
    use super::*;

    fn outcomes(pairs: &[(f64, f64)]) -> RegressionOutcomes {
        let mut outcomes = RegressionOutcomes::default();
        for (prediction, label) in pairs {
            outcomes.push(*prediction, *label);
        }
        outcomes
    }

    fn value(of: Quality) -> f64 {
        of.expect("defined").value
    }

    #[test]
    fn errors_of_known_outcomes() {
        // Errors 1, −1, 2, −4: mean of |e| 2, its variance 2 (divided by n − 1).
        let of = outcomes(&[(1.0, 0.0), (0.0, 1.0), (2.0, 0.0), (0.0, 4.0)]).errors();
        assert!((value(of.mae()) - 2.0).abs() < 1e-12);
        assert!((value(of.rmse()) - 5.5_f64.sqrt()).abs() < 1e-12);
        assert!((value(of.bias()) + 0.5).abs() < 1e-12);
        assert_eq!(value(of.median_absolute_error()), 1.5);
        assert_eq!(value(of.error_quantile(0.0)), -4.0);
        let (low, high) = of
            .mae()
            .expect("defined")
            .interval
            .expect("more than one outcome");
        let half = Z_95 * (2.0_f64 / 4.0).sqrt();
        assert!((low - (2.0 - half)).abs() < 1e-12 && (high - (2.0 + half)).abs() < 1e-12);
    }

    #[test]
    fn a_single_outcome_has_no_interval() {
        let of = outcomes(&[(3.0, 5.0)]).errors();
        for (of, expected) in [(of.mae(), 2.0), (of.rmse(), 2.0), (of.bias(), -2.0)] {
            assert_eq!(value(of), expected);
            assert_eq!(of.expect("defined").interval, None);
        }
        assert_eq!(of.r2(), Err(Undefined::ConstantLabels));
    }

    #[test]
    fn labels_of_zero_are_left_out_of_the_relative_error() {
        let of = outcomes(&[(1.0, 0.0), (3.0, 2.0), (0.0, 0.0)]).errors();
        let mape = of.mape().expect("a label that is not zero");
        assert_eq!((mape.value, mape.size), (0.5, 1));
        assert_eq!(
            outcomes(&[(1.0, 0.0)]).errors().mape(),
            Err(Undefined::OnlyZeroLabels)
        );
        assert!((value(of.smape()) - (2.0 + 0.4 + 0.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_largest_numbers_have_errors_as_long_as_those_are_numbers() {
        let of = outcomes(&[(1e308, 0.0), (-1e308, 0.0), (1e308, 5e307)]).errors();
        assert!((value(of.mae()) / (1e308 / 1.2) - 1.0).abs() < 1e-12);
        assert!((value(of.rmse()) / (1e308 * 0.75_f64.sqrt()) - 1.0).abs() < 1e-12);
        assert_eq!(of.mse(), Err(Undefined::Overflow));
        let beyond = outcomes(&[(1e308, -1e308)]).errors();
        assert_eq!(beyond.mae(), Err(Undefined::Overflow));
        assert_eq!(beyond.smape(), Err(Undefined::Overflow));
    }

    #[test]
    fn parts_merge_to_exactly_the_whole() {
        let pairs: Vec<(f64, f64)> = (0..100)
            .map(|i| (f64::from(i % 13) / 3.0, f64::from(i % 7) * 1.7))
            .collect();
        let whole = outcomes(&pairs).errors();
        let mut merged = RegressionOutcomes::default();
        for part in [&pairs[..0], &pairs[30..31], &pairs[31..], &pairs[..30]] {
            merged.merge(&outcomes(part));
        }
        let merged = merged.errors();
        assert_eq!(merged.mae(), whole.mae());
        assert_eq!(merged.rmse(), whole.rmse());
        assert_eq!(merged.bias(), whole.bias());
        assert_eq!(merged.r2(), whole.r2());
        assert_eq!(merged.mape(), whole.mape());
        assert_eq!(merged.error_quantile(0.9), whole.error_quantile(0.9));
    }
}
