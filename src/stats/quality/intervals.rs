//! Intervals that need no resampling, and sums that do not depend on the order of their terms.

use super::{Estimate, Quality, Undefined};

/// The two-sided 95 % quantile of the normal distribution.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// The Wilson score interval, 95 %, for a share of `successes` in `trials`.
///
/// Within 0 to 1 and never empty, also for shares of exactly 0 or 1. `None` without trials. Wilson (1927).
#[must_use]
pub fn wilson_interval(successes: u64, trials: u64) -> Option<(f64, f64)> {
    (trials > 0).then(|| wilson(successes as f64 / trials as f64, trials as f64, Z_95))
}

/// Wilson's interval for a share that need not be a whole number of trials.
pub(super) fn wilson(share: f64, trials: f64, z: f64) -> (f64, f64) {
    let squared = z * z;
    let centre = share + squared / (2.0 * trials);
    let spread = z * (share * (1.0 - share) / trials + squared / (4.0 * trials * trials)).sqrt();
    let scale = 1.0 + squared / trials;
    // Rounding must not push an end past the share itself.
    let low = ((centre - spread) / scale).clamp(0.0, share);
    let high = ((centre + spread) / scale).clamp(share, 1.0);
    (
        if share <= 0.0 { 0.0 } else { low },
        if share >= 1.0 { 1.0 } else { high },
    )
}

/// A share of integers with Wilson's interval, or `otherwise` of nothing.
pub(super) fn share(part: u64, whole: u64, otherwise: Undefined) -> Quality {
    let interval = wilson_interval(part, whole).ok_or(otherwise)?;
    Ok(Estimate {
        value: part as f64 / whole as f64,
        interval: Some(interval),
        size: whole,
    })
}

/// The interval of the difference of two independent shares, `first` minus `second`, each given as successes
/// and trials: from the Wilson intervals of both at the quantile `z`.
///
/// Within −1 to 1 and never empty. `None` without trials on either side. Newcombe (1998), method 10.
#[must_use]
pub fn newcombe_difference(first: (u64, u64), second: (u64, u64), z: f64) -> Option<(f64, f64)> {
    if first.1 == 0 || second.1 == 0 {
        return None;
    }
    let parts = |(successes, trials): (u64, u64)| {
        let share = successes as f64 / trials as f64;
        (share, wilson(share, trials as f64, z))
    };
    let ((a, of_a), (b, of_b)) = (parts(first), parts(second));
    let difference = a - b;
    let below = (a - of_a.0).hypot(of_b.1 - b);
    let above = (of_a.1 - a).hypot(b - of_b.0);
    Some((
        (difference - below).max(-1.0),
        (difference + above).min(1.0),
    ))
}

/// The interval of the ratio of two independent shares, `first` over `second`, from the Wilson intervals of both at
/// the quantile `z`; never empty. The second has successes. Donner and Zou (2012).
pub(super) fn ratio_interval(first: (u64, u64), second: (u64, u64), z: f64) -> (f64, f64) {
    let parts = |(successes, trials): (u64, u64)| {
        let share = successes as f64 / trials as f64;
        (share, wilson(share, trials as f64, z))
    };
    let ((a, of_a), (b, of_b)) = (parts(first), parts(second));
    let root = |of_first: f64, of_second: f64| {
        let rest = of_first * of_second * (2.0 * a - of_first) * (2.0 * b - of_second);
        (a * a * b * b - rest).max(0.0).sqrt()
    };
    let low = of_a.0 * (2.0 * a - of_a.0) / (a * b + root(of_a.0, of_b.1));
    let high = (a * b + root(of_a.1, of_b.0)) / (of_b.0 * (2.0 * b - of_b.0));
    let ratio = a / b;
    (if a > 0.0 { low.min(ratio) } else { 0.0 }, high.max(ratio))
}

/// The interval of a value from 0 to 1 on the logit scale with the variance of a share of `trials`; Wilson's
/// where the value is 0 or 1 and has no logit. Boyd, Eng and Page (2013), who recommend it for the area under
/// the precision-recall curve with the number of positives.
pub(super) fn logit_interval(value: f64, trials: f64) -> (f64, f64) {
    if value <= 0.0 || value >= 1.0 {
        return wilson(value.clamp(0.0, 1.0), trials, Z_95);
    }
    let logit = (value / (1.0 - value)).ln();
    let spread = Z_95 / (trials * value * (1.0 - value)).sqrt();
    let back = |x: f64| 1.0 / (1.0 + (-x).exp());
    (back(logit - spread), back(logit + spread))
}

/// `value ± z·√variance` within `bounds`.
pub(super) fn wald(value: f64, variance: f64, bounds: (f64, f64)) -> (f64, f64) {
    let half = Z_95 * variance.max(0.0).sqrt();
    ((value - half).max(bounds.0), (value + half).min(bounds.1))
}

/// The sum with the rounding errors carried along (Neumaier 1974).
pub(super) fn sum(terms: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for term in terms {
        let next = total + term;
        lost += if total.abs() >= term.abs() {
            (total - next) + term
        } else {
            (term - next) + total
        };
        total = next;
    }
    if lost.is_finite() {
        total + lost
    } else {
        total
    }
}

/// The mean of values with its standard error; the values are sorted first, so their order does not matter.
/// The second is `None` for a single value. Both survive values near the largest number.
pub(super) fn mean_and_error(values: &mut [f64]) -> Option<(f64, Option<f64>)> {
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let largest = values[0].abs().max(values[values.len() - 1].abs());
    if largest == 0.0 {
        return Some((0.0, (values.len() > 1).then_some(0.0)));
    }
    let plain = sum(values.iter().copied());
    let mean = if plain.is_finite() {
        plain / n
    } else {
        largest * (sum(values.iter().map(|value| value / largest)) / n)
    };
    let error = (values.len() > 1).then(|| {
        let squares = values
            .iter()
            .map(|value| (value / largest - mean / largest).powi(2));
        largest * (sum(squares) / (n - 1.0) / n).sqrt()
    });
    Some((mean, error))
}

/// The mean of finite values with the interval of the normal approximation, within `bounds`.
pub(super) fn mean(values: &mut [f64], bounds: (f64, f64)) -> Quality {
    if values.iter().any(|value| !value.is_finite()) {
        return Err(Undefined::Overflow);
    }
    let (mean, error) = mean_and_error(values).ok_or(Undefined::NoOutcomes)?;
    if !mean.is_finite() {
        return Err(Undefined::Overflow);
    }
    let interval = error.map(|error| {
        let half = Z_95 * error;
        ((mean - half).max(bounds.0), (mean + half).min(bounds.1))
    });
    Ok(Estimate {
        value: mean,
        interval: interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
        size: values.len() as u64,
    })
}

/// The variance of the mean of values of which each of several kinds occurs so many times: `(count, value)`.
pub(super) fn variance_of_counted(cells: impl Iterator<Item = (u64, f64)> + Clone) -> f64 {
    let n = cells.clone().map(|(count, _)| count).sum::<u64>() as f64;
    if n < 1.0 {
        return 0.0;
    }
    let mean = sum(cells.clone().map(|(count, value)| count as f64 * value)) / n;
    sum(cells.map(|(count, value)| count as f64 * (value - mean).powi(2))) / n / n
}

/// The mean of what outcomes are worth: `(count, worth)` of each kind. The interval is the normal approximation for that mean.
///
/// # Errors
/// Without outcomes, with values that are not finite, or when the mean is not.
pub(super) fn mean_worth(cells: impl Iterator<Item = (u64, f64)> + Clone) -> Quality {
    let outcomes = cells.clone().map(|(count, _)| count).sum::<u64>();
    if outcomes == 0 {
        return Err(Undefined::NoOutcomes);
    }
    if cells.clone().any(|(_, worth)| !worth.is_finite()) {
        return Err(Undefined::BadParameter);
    }
    let n = outcomes as f64;
    let value: f64 = cells
        .clone()
        .map(|(count, worth)| count as f64 / n * worth)
        .sum();
    if !value.is_finite() {
        return Err(Undefined::Overflow);
    }
    let half = Z_95 * (variance_of_counted(cells) * n / (n - 1.0)).sqrt();
    Ok(Estimate {
        value,
        interval: half.is_finite().then_some((value - half, value + half)),
        size: outcomes,
    })
}

/// The quantile of sorted values with linear interpolation between order statistics, as numpy's default.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = share * last as f64;
    let below = position.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let part = position - below as f64;
    // Both ends weighted by themselves: the difference of two finite numbers may not be one.
    Some(if part == 0.0 {
        low
    } else {
        low * (1.0 - part) + high * part
    })
}

/// The interval of a quantile from order statistics: the ranks `n·q ± z·√(n·q·(1−q))`. Free of the distribution.
pub(super) fn quantile_interval(sorted: &[f64], share: f64) -> Option<(f64, f64)> {
    if sorted.len() < 2 {
        return None;
    }
    let n = sorted.len() as f64;
    let spread = Z_95 * (n * share * (1.0 - share)).sqrt();
    let rank = |rank: f64| sorted[(rank.max(1.0) as usize).min(sorted.len()) - 1];
    Some((
        rank((n * share - spread).floor()),
        rank((n * share + spread).ceil() + 1.0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn newcombe_interval_has_its_published_values() {
        // Newcombe (1998), table II, method 10: 56/70 against 48/80, and 9/10 against 3/10.
        for (first, second, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((10, 10), (0, 10), 0.6075, 1.0000),
        ] {
            let (l, h) = newcombe_difference(first, second, Z_95).expect("trials");
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{l} {h}");
        }
        assert_eq!(newcombe_difference((0, 0), (1, 2), Z_95), None);
    }

    #[test]
    fn sums_keep_what_large_terms_would_swallow() {
        assert_eq!(sum([1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum([]), 0.0);
    }

    #[test]
    fn a_mean_of_the_largest_numbers_is_a_number() {
        let of = mean(&mut [1e308; 3], (f64::NEG_INFINITY, f64::INFINITY)).expect("finite");
        assert!((of.value / 1e308 - 1.0).abs() < 1e-12, "{of:?}");
        let both = mean(
            &mut [f64::MAX, -f64::MAX],
            (f64::NEG_INFINITY, f64::INFINITY),
        );
        assert_eq!(both.expect("finite").value, 0.0);
    }

    #[test]
    fn quantiles_of_few_values() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.9), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(quantile(&[-1e308, 1e308], 0.5), Some(0.0));
        let many: Vec<f64> = (1..=100).map(f64::from).collect();
        // Ranks 50 − 9.8 and 50 + 9.8 + 1, rounded outwards.
        assert_eq!(quantile_interval(&many, 0.5), Some((40.0, 61.0)));
    }
}
