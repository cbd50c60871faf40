//! Values that are no means of labels: an area under a curve, an F1, a correlation.
//!
//! Their day-to-day variation is estimated from the reference's days, because the labels of one day share causes, and
//! the sampling variance of each day (DeLong's for areas) is its floor: days cannot be more alike than chance lets them.

use crate::stats::beta::student_two_sided;
use crate::stats::tails::PValue;

/// A measure of one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayValue {
    pub value: f64,
    /// Sampling variance of the value.
    pub variance: f64,
    /// Labels of the rarer class.
    pub size: u64,
}

/// The most telling window that ends on the last day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayTest {
    /// Days of the window.
    pub days: usize,
    /// The window's mean less the reference's, with its 95 % interval, which is of this window alone.
    pub difference: f64,
    pub interval: (f64, f64),
    /// Two-sided, times the number of windows looked at.
    pub p_value: PValue,
    /// How many times the sampling variance days differ by in the reference; 1 when they are alike.
    pub overdispersion: f64,
}

/// Why nothing is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTested {
    #[error("the reference has too few days with a value")]
    TooFewReferenceDays,
    #[error("no window has enough labels of the rarer class")]
    NotEnoughLabels,
}

const WINDOWS: [usize; 5] = [1, 3, 7, 14, 28];
const FEWEST_DAYS: usize = 7;
/// A ratio of a window with fewer labels of the rarer class is not tested.
const FEWEST_LABELS: u64 = 20;

/// Tests the means over the last 1, 3, 7, 14 and 28 days against the reference's days by Student's distribution; `None`
/// stands for a day without a value, which the window is then shorter by. Range of the difference: that of the measure; which
/// sign is worse is the measure's too.
///
/// The variance between days is `g = max(0, s² − v̄)`, from the reference's variance `s²` and mean sampling variance `v̄`; a
/// day then weighs `1/(g + vᵢ)`, and the standard error is `√(1/Σ weights + 1/Σ reference weights)`, with as many degrees of freedom
/// as the reference has days, less one.
///
/// # Errors
/// With fewer than seven days of reference, or if no window has twenty labels of the rarer class.
pub fn day_test(
    reference: &[DayValue],
    current: &[Option<DayValue>],
) -> Result<DayTest, NotTested> {
    let usable = |day: &&DayValue| day.value.is_finite() && day.variance > 0.0 && day.size > 0;
    let reference: Vec<&DayValue> = reference.iter().filter(usable).collect();
    if reference.len() < FEWEST_DAYS {
        return Err(NotTested::TooFewReferenceDays);
    }
    let days = reference.len() as f64;
    let plain = reference.iter().map(|day| day.value).sum::<f64>() / days;
    let spread = reference.iter().map(|day| (day.value - plain).powi(2));
    let spread = spread.sum::<f64>() / (days - 1.0);
    let floor = reference.iter().map(|day| day.variance).sum::<f64>() / days;
    let between = (spread - floor).max(0.0);
    let (base, base_weight) = weighted(reference.into_iter(), between);

    let mut tested = Vec::new();
    for length in WINDOWS.into_iter().filter(|days| *days <= current.len()) {
        let window = || (current[current.len() - length..].iter().flatten()).filter(usable);
        if window().map(|day| day.size).sum::<u64>() < FEWEST_LABELS {
            continue;
        }
        let (mean, weight) = weighted(window(), between);
        let error = (1.0 / weight + 1.0 / base_weight).sqrt();
        tested.push((length, mean - base, error));
    }
    let windows = (tested.len() as f64).ln();
    let freedom = days - 1.0;
    let best = tested
        .into_iter()
        .max_by(|a, b| (a.1 / a.2).abs().total_cmp(&(b.1 / b.2).abs()));
    let (days, difference, error) = best.ok_or(NotTested::NotEnoughLabels)?;
    let single = student_two_sided(difference / error, freedom).unwrap_or(PValue::ONE);
    let half = student_quantile(freedom) * error;
    Ok(DayTest {
        days,
        difference,
        interval: (difference - half, difference + half),
        p_value: PValue::from_ln(single.ln() + windows).unwrap_or(PValue::ONE),
        overdispersion: (spread / floor).max(1.0),
    })
}

/// Mean and total of the weights `1/(g + vᵢ)`.
fn weighted<'d>(days: impl Iterator<Item = &'d DayValue>, between: f64) -> (f64, f64) {
    let (mut sum, mut weights) = (0.0, 0.0);
    for day in days {
        let weight = 1.0 / (between + day.variance);
        sum += weight * day.value;
        weights += weight;
    }
    (sum / weights, weights)
}

/// Where Student's distribution leaves 2.5 % above.
fn student_quantile(freedom: f64) -> f64 {
    let (mut low, mut high) = (1.0, 50.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        let beyond = student_two_sided(middle, freedom).map_or(0.0, PValue::value);
        if beyond > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}
