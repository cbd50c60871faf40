//! Values that are no means of labels: an area under a curve, an F1, a correlation.
//!
//! Their day-to-day variation is estimated from the reference's days, because the labels of one day share causes, and
//! the sampling variance of each day (DeLong's for areas) is its floor: days cannot be more alike than chance lets them.

use super::POWER_QUANTILE;
use crate::stats::beta::{student_critical, student_two_sided};
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

/// How the days up to the last one differ from the reference's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayTest {
    /// Of the most telling window, in whichever direction.
    pub strongest: DayChange,
    /// Of the window that speaks most for a fall that still lasts, and the same of a rise.
    pub fall: Option<DayChange>,
    pub rise: Option<DayChange>,
}

/// A window of days that ends on the last day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayChange {
    /// Days of the window.
    pub days: usize,
    /// The window's mean less the reference's, with its 95 % interval, which is of this window alone.
    pub difference: f64,
    pub interval: (f64, f64),
    /// Two-sided, times the number of windows looked at.
    pub p_value: PValue,
    /// Standard error of the difference, and the number of windows looked at.
    error: f64,
    windows: usize,
}

/// Why nothing is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTested {
    #[error("the reference has {0} days with a value, and {FEWEST_DAYS} are needed")]
    TooFewReferenceDays(usize),
    #[error("no window has {FEWEST_LABELS} labels of the rarer class")]
    NotEnoughLabels,
}

/// The lengths of the windows, in days.
pub const DAY_WINDOWS: [usize; 5] = [1, 3, 7, 14, 28];
/// With fewer days a reference does not say how they differ.
const FEWEST_DAYS: usize = 7;
/// A ratio of a window with fewer labels of the rarer class is not tested.
const FEWEST_LABELS: u64 = 20;

/// The days of a reference, as later days are held against them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayReference {
    /// The days' mean, each weighing by what is known of it.
    pub mean: f64,
    /// Days with a value.
    pub days: usize,
    /// How many times the sampling variance days differ by; 1 when they are alike.
    pub overdispersion: f64,
    weight: f64,
    between: f64,
}

impl DayReference {
    /// The variance between days is `g = max(0, s² − v̄)`, from their variance `s²` and mean sampling variance `v̄`; a day then
    /// weighs `1/(g + vᵢ)`.
    ///
    /// # Errors
    /// With fewer than seven days that have a value.
    pub fn fit(days: &[DayValue]) -> Result<Self, NotTested> {
        let usable: Vec<&DayValue> = days.iter().filter(|day| day.is_usable()).collect();
        if usable.len() < FEWEST_DAYS {
            return Err(NotTested::TooFewReferenceDays(usable.len()));
        }
        let count = usable.len() as f64;
        let plain = usable.iter().map(|day| day.value).sum::<f64>() / count;
        let spread = usable.iter().map(|day| (day.value - plain).powi(2));
        let spread = spread.sum::<f64>() / (count - 1.0);
        let floor = usable.iter().map(|day| day.variance).sum::<f64>() / count;
        let between = (spread - floor).max(0.0);
        let (mean, weight) = weighted(usable.iter().copied(), between);
        Ok(Self {
            mean,
            days: usable.len(),
            overdispersion: (spread / floor).max(1.0),
            weight,
            between,
        })
    }

    /// Tests the means over the last 1, 3, 7, 14 and 28 days by Student's distribution; `None` stands for a day without a value,
    /// which the window is then shorter by. Range of the difference: that of the measure; which sign is worse is the measure's too.
    ///
    /// The standard error is `√(1/Σ weights + 1/Σ reference weights)`, with as many degrees of freedom as the reference has
    /// days, less one. A window speaks for a fall (or a rise) only if its newest quarter, a day at least, has fallen (risen) half
    /// as far at least, so that what is over is not told for four more weeks.
    ///
    /// # Errors
    /// If no window has twenty labels of the rarer class.
    pub fn test(&self, current: &[Option<DayValue>]) -> Result<DayTest, NotTested> {
        let last = |length: usize| {
            let days = current[current.len() - length..].iter().flatten();
            days.filter(|day| day.is_usable())
        };
        let mut tested = Vec::new();
        for length in DAY_WINDOWS
            .into_iter()
            .filter(|days| *days <= current.len())
        {
            if last(length).map(|day| day.size).sum::<u64>() < FEWEST_LABELS {
                continue;
            }
            let (mean, weight) = weighted(last(length), self.between);
            let (newest, _) = weighted(last(length.div_ceil(4)), self.between);
            let error = (1.0 / weight + 1.0 / self.weight).sqrt();
            tested.push(Tested {
                days: length,
                difference: mean - self.mean,
                error,
                newest: newest - self.mean,
            });
        }
        let strongest = |of: &dyn Fn(&&Tested) -> bool| {
            let telling = |tested: &&Tested| (tested.difference / tested.error).abs();
            let found = tested.iter().filter(of);
            let found = found.max_by(|a, b| telling(a).total_cmp(&telling(b)))?;
            Some(self.change(found, tested.len()))
        };
        Ok(DayTest {
            strongest: strongest(&|_| true).ok_or(NotTested::NotEnoughLabels)?,
            fall: strongest(&|window| {
                window.difference < 0.0 && window.newest <= window.difference / 2.0
            }),
            rise: strongest(&|window| {
                window.difference > 0.0 && window.newest >= window.difference / 2.0
            }),
        })
    }

    fn change(&self, found: &Tested, windows: usize) -> DayChange {
        let single = student_two_sided(found.difference / found.error, self.freedom());
        let corrected = single.map_or(0.0, PValue::ln) + (windows as f64).ln();
        let half =
            student_critical(0.05_f64.ln(), self.freedom()).unwrap_or(f64::INFINITY) * found.error;
        DayChange {
            days: found.days,
            difference: found.difference,
            interval: (found.difference - half, found.difference + half),
            p_value: PValue::from_ln(corrected).unwrap_or(PValue::ONE),
            error: found.error,
            windows,
        }
    }

    /// The smallest difference that is significant with a chance of 90 % in a window of so many days that have `variance` each,
    /// when the p-value has to be `p_value` or less.
    #[must_use]
    pub fn smallest_noticed(&self, days: f64, variance: f64, p_value: f64) -> Option<f64> {
        let error = ((self.between + variance) / days + 1.0 / self.weight).sqrt();
        let critical = self.critical(error, DAY_WINDOWS.len(), p_value)?;
        Some(critical + POWER_QUANTILE * error)
    }

    /// How far the window of a change has to differ for that p-value.
    #[must_use]
    pub fn needed(&self, change: &DayChange, p_value: f64) -> Option<f64> {
        self.critical(change.error, change.windows, p_value)
    }

    fn critical(&self, error: f64, windows: usize, p_value: f64) -> Option<f64> {
        let single = (p_value / windows as f64).ln();
        Some(student_critical(single, self.freedom())? * error)
    }

    /// Whether a window of so many days that have `size` labels of the rarer class each is tested.
    #[must_use]
    pub fn is_enough(days: f64, size: f64) -> bool {
        days * size >= FEWEST_LABELS as f64
    }

    fn freedom(&self) -> f64 {
        self.days as f64 - 1.0
    }
}

/// A window that has enough labels.
#[derive(Debug, Clone, Copy)]
struct Tested {
    days: usize,
    difference: f64,
    error: f64,
    /// Of its newest quarter alone; NaN where that has no value.
    newest: f64,
}

impl DayValue {
    fn is_usable(&self) -> bool {
        self.value.is_finite() && self.variance > 0.0 && self.size > 0
    }
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
