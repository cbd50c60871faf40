//! Outcomes of a regression.

use super::Z_95;

/// Predictions of numbers with their labels, in a few sums.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RegressionOutcomes {
    count: u64,
    error_sum: f64,
    square_sum: f64,
    /// Welford's mean and sum of squared deviations of the absolute error.
    absolute_mean: f64,
    absolute_squares: f64,
}

/// The quality of a regression over some outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionSummary {
    /// Outcomes with a finite prediction and label.
    pub labels: u64,
    /// Mean absolute error, in the unit of the label: 0 is perfect, more is worse.
    pub mae: f64,
    /// 95 % interval of `mae`: the normal approximation for the mean of `|error|`. `None` for one outcome.
    pub mae_interval: Option<(f64, f64)>,
    /// Root of the mean squared error, in the unit of the label: 0 is perfect, more is worse; at least `mae`.
    pub rmse: f64,
    /// Mean of prediction minus label: 0 is perfect, and the sign says which way the model errs.
    pub bias: f64,
}

impl RegressionOutcomes {
    /// Adds an outcome; pairs with NaN or an infinity are left out.
    pub fn push(&mut self, prediction: f64, label: f64) {
        let error = prediction - label;
        if !error.is_finite() {
            return;
        }
        self.count += 1;
        self.error_sum += error;
        self.square_sum += error * error;
        let deviation = error.abs() - self.absolute_mean;
        self.absolute_mean += deviation / self.count as f64;
        self.absolute_squares += deviation * (error.abs() - self.absolute_mean);
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let deviation = other.absolute_mean - self.absolute_mean;
        self.count += other.count;
        self.error_sum += other.error_sum;
        self.square_sum += other.square_sum;
        self.absolute_mean += deviation * (m / (n + m));
        self.absolute_squares += other.absolute_squares + deviation * deviation * (n * m / (n + m));
    }

    /// The quality over all outcomes; `None` without any.
    #[must_use]
    pub fn summary(&self) -> Option<RegressionSummary> {
        if self.count == 0 {
            return None;
        }
        let n = self.count as f64;
        let mae_interval = (self.count > 1).then(|| {
            let half = Z_95 * (self.absolute_squares / (n - 1.0) / n).sqrt();
            (self.absolute_mean - half, self.absolute_mean + half)
        });
        Some(RegressionSummary {
            labels: self.count,
            mae: self.absolute_mean,
            mae_interval,
            rmse: (self.square_sum / n).sqrt(),
            bias: self.error_sum / n,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(pairs: &[(f64, f64)]) -> RegressionOutcomes {
        let mut outcomes = RegressionOutcomes::default();
        for (prediction, label) in pairs {
            outcomes.push(*prediction, *label);
        }
        outcomes
    }

    #[test]
    fn no_outcomes_have_no_quality() {
        assert_eq!(outcomes(&[]).summary(), None);
        assert_eq!(
            outcomes(&[(f64::NAN, 1.0), (1.0, f64::INFINITY)]).summary(),
            None
        );
    }

    #[test]
    fn a_single_outcome_has_no_interval() {
        let summary = outcomes(&[(3.0, 5.0)]).summary().expect("one outcome");
        assert_eq!((summary.mae, summary.rmse, summary.bias), (2.0, 2.0, -2.0));
        assert_eq!(summary.mae_interval, None);
    }

    #[test]
    fn errors_of_known_outcomes() {
        // Errors 1, −1, 2, −4: mean of |e| 2, its variance 2 (divided by n − 1).
        let summary = outcomes(&[(1.0, 0.0), (0.0, 1.0), (2.0, 0.0), (0.0, 4.0)])
            .summary()
            .expect("outcomes");
        assert!((summary.mae - 2.0).abs() < 1e-12);
        assert!((summary.rmse - 5.5_f64.sqrt()).abs() < 1e-12);
        assert!((summary.bias + 0.5).abs() < 1e-12);
        let (low, high) = summary.mae_interval.expect("more than one outcome");
        let half = Z_95 * (2.0_f64 / 4.0).sqrt();
        assert!((low - (2.0 - half)).abs() < 1e-12 && (high - (2.0 + half)).abs() < 1e-12);
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let pairs: Vec<(f64, f64)> = (0..100)
            .map(|i| (f64::from(i % 13), f64::from(i % 7) * 1.5))
            .collect();
        let whole = outcomes(&pairs).summary().expect("outcomes");
        let mut merged = RegressionOutcomes::default();
        for part in [&pairs[..0], &pairs[..30], &pairs[30..31], &pairs[31..]] {
            merged.merge(&outcomes(part));
        }
        let merged = merged.summary().expect("outcomes");
        assert_eq!(merged.labels, whole.labels);
        assert!((merged.mae - whole.mae).abs() < 1e-12 && (merged.rmse - whole.rmse).abs() < 1e-12);
        let (merged, whole) = (
            merged.mae_interval.expect("many"),
            whole.mae_interval.expect("many"),
        );
        assert!((merged.0 - whole.0).abs() < 1e-12);
    }
}
