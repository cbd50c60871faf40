//! Levels that wander: days that are like those before them.

/// What a level that wanders adds to the variance of the mean of `length` days in a row: the sum
/// `1 + 2 Σ (1 − j/length) ρʲ` of a first-order autoregression.
#[must_use]
pub fn inflation(length: usize, correlation: f64) -> f64 {
    if correlation == 0.0 || length < 2 {
        return 1.0;
    }
    let mut power = 1.0;
    let mut sum = 0.0;
    for lag in 1..length {
        power *= correlation;
        if power < 1e-18 {
            break;
        }
        sum += (1.0 - lag as f64 / length as f64) * power;
    }
    1.0 + 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_wander_adds_nothing() {
        assert_eq!(inflation(28, 0.0), 1.0);
        assert_eq!(inflation(1, 0.8), 1.0);
        assert!((inflation(2, 0.5) - 1.5).abs() < 1e-15);
        // For long windows (1 + ρ)/(1 − ρ).
        assert!((inflation(100_000, 0.6) - 4.0).abs() < 1e-3);
    }
}
