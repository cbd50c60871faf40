//! Detectors that look at every label as it comes, and say beforehand how often they err.
//!
//! A test at 5 % that is repeated every day finds something every three weeks. What is here can be looked at after every
//! label: [`RateDetector`] and [`LossDetector`] promise a mean run length, the number of labels that pass on average
//! before a false alarm, and [`BurnPolicy`] pages on the share of an error budget that is being used up. [`DayReference`]
//! is for values that are no means of labels, such as an area under a curve: it is asked once a day. [`cohorts`] says which labels may be looked at
//! at all: early ones are not like the rest.
//!
//! The detectors are mixtures of Shiryaev–Roberts recursions over e-values (Shin, Ramdas and Rinaldo 2024). With
//! `Λ` the likelihood ratio of a batch of `b` labels, whose mean is at most 1 as long as nothing is wrong, the recursion
//! `R' = (R + b)·Λ` grows by no more than `b` on average, so that `R` less the labels seen never rises in the mean, and at
//! the first time that `R ≥ A`, `A` labels or more have passed on average. It holds for batches of any size, also
//! when they differ: adding 1 for each batch instead would count batches. States keep `ln(1 + R)`, which is zero at the
//! start, never negative, and never leaves the range of numbers.

mod burn;
pub mod cohorts;
mod day_values;
mod losses;
mod multiplicity;
mod rates;

pub use burn::{
    BurnAlert, BurnPolicy, BurnRule, BurnSeverity, CHANCE, EXPECTED_ERRORS, LabelledCounts,
};
pub use day_values::{DAY_WINDOWS, DayChange, DayReference, DayTest, DayValue, NotTested};
pub use losses::{LossDetector, LossReference, LossState};
pub use multiplicity::{calibrated_ln_e, e_benjamini_hochberg};
pub use rates::{RateBatch, RateDetector, RateReference, RateState, clopper_pearson_upper};

/// How many labels pass on average before a false alarm, unless told otherwise.
pub const DEFAULT_RUN_LENGTH: f64 = 100_000.0;

/// The changes that are looked for: so many times the reference's rate.
pub const MULTIPLES: [f64; 6] = [1.1, 1.2, 1.35, 1.5, 2.0, 3.0];

/// How the evidence is spread over [`MULTIPLES`]. A change that is looked for with weight `w` is found `ln(1/w)` nats later
/// than if it were the only one. Half again and twice the rate are what most people would want to be told of; a
/// tenth more takes many thousand labels anyway, and three times is found within a few dozen.
pub const WEIGHTS: [f64; 6] = [0.05, 0.27, 0.13, 0.24, 0.24, 0.07];

/// Why a detector cannot be made of this reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMonitorable {
    #[error("the reference has no labels")]
    NoLabels,
    #[error("the reference has more events than labels")]
    MoreEventsThanLabels,
    #[error("the reference is so bad already that worse cannot be told")]
    NothingWorse,
    #[error("a parameter is out of its range")]
    BadParameter,
    #[error("the state was kept by another version")]
    OtherVersion,
}

/// What a detector says after a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The evidence of a change for the worse, as a share of what an alarm takes: 1 and more is an alarm, by chance once in a
    /// run length of labels on average.
    pub worse: f64,
    /// The same for a change for the better, for information; `None` where better cannot be told.
    pub better: Option<f64>,
}

impl Verdict {
    /// Whether there is an alarm.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        self.worse >= 1.0
    }

    /// Whether an alarm may end: the evidence has fallen to a hundredth of what raised it.
    #[must_use]
    pub fn is_quiet(self) -> bool {
        self.worse < 0.01
    }
}

/// Beyond this many times the threshold evidence is not added up, so that what is over is soon seen to be over. Capping only
/// takes away, so the promised run length holds.
const CAP: f64 = 10.0;

/// `R' = (R + b)·Λ` on `ln(1 + R)`, capped.
fn advance(state: f64, starts: f64, ln_ratio: f64, ln_cap: f64) -> f64 {
    // ln R; −∞ at the start.
    let ln_r = if state > 0.0 {
        state + (-(-state).exp()).ln_1p()
    } else {
        f64::NEG_INFINITY
    };
    let next = (ln_add(ln_r, starts.ln()) + ln_ratio).min(ln_cap);
    ln_add(0.0, next)
}

/// `ln(eᵃ + eᵇ)`.
fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}

/// Nats by which a change is noticed sooner than `ln(A/w) − ln(1/g)` says, because the recursion is not at its start when
/// things change, and because the best of many starts counts. From the published delays, where it lies between 2.5 and 3.2.
const HEAD_START: f64 = 2.5;

/// What the logarithm of the evidence gains by a label: its mean, and the variance that labels have.
struct Gain {
    mean: f64,
    variance: f64,
}

/// The normal quantile of the chance with which the smallest changes that are told are noticed, 90 %.
const POWER_QUANTILE: f64 = 1.281_551_565_544_6;

/// Labels until half of the changes are noticed, given the evidence that each alternative gains in the mean per label, and its
/// weight; `None` if none gains any.
///
/// `min (ln(A/w) − ln(1/g) − 2.5)/g`, at least 1. An approximation: within a third of the delays that were measured.
///
/// With a `quantile` above 0, until the sum of what was gained is that many of its standard deviations above: until more than
/// half of the changes are noticed.
fn labels_needed(
    gains: impl Iterator<Item = (Gain, f64)>,
    run_length: f64,
    quantile: f64,
) -> Option<f64> {
    gains
        .filter(|(gain, _)| gain.mean > 0.0)
        .map(|(gain, weight)| {
            let needed = ((run_length / weight).ln() + gain.mean.ln() - HEAD_START).max(0.0);
            let chance = quantile * gain.variance.sqrt();
            let root = chance + (chance * chance + 4.0 * gain.mean * needed).sqrt();
            (root / (2.0 * gain.mean)).powi(2)
        })
        .map(|labels| labels.max(1.0))
        .reduce(f64::min)
}

/// The least value between two for which `enough` holds, if it holds for the upper one; it has to hold for all above one
/// for which it does.
fn least(low: f64, high: f64, enough: impl Fn(f64) -> bool) -> Option<f64> {
    if !enough(high) {
        return None;
    }
    let (mut below, mut above) = (low, high);
    for _ in 0..60 {
        let middle = f64::midpoint(below, above);
        if enough(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(above)
}

/// The weighted mean of `R` over the threshold.
fn evidence(states: &[f64], weights: &[f64], run_length: f64) -> f64 {
    let terms = states.iter().zip(weights);
    terms
        .map(|(state, weight)| weight * state.exp_m1() / run_length)
        .sum()
}

#[cfg(test)]
mod tests;
