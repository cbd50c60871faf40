//! Rates: the share of labels that say the prediction was wrong.

use serde::{Deserialize, Serialize};

use super::{
    CAP, Gain, MULTIPLES, NotMonitorable, POWER_QUANTILE, Verdict, WEIGHTS, advance, evidence,
    labels_needed, least,
};
use crate::stats::beta::binomial_upper;
use crate::stats::tails::PValue;

/// The version of [`RateState`]: a state of another one is not understood.
const VERSION: u32 = 1;

/// No alternative is closer to certainty than this.
const HIGHEST: f64 = 0.95;

/// A reference of so many labels is not far off where its bound misses.
const MANY: u64 = 1_000;

/// What the rate was when all was well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateReference {
    pub events: u64,
    pub labels: u64,
}

/// Labels that came since the last look, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateBatch {
    pub events: u64,
    pub labels: u64,
}

/// The evidence so far. Twelve numbers and a count, whatever has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateState {
    version: u32,
    /// Labels seen since the start.
    pub labels: u64,
    worse: [f64; 6],
    better: [f64; 6],
}

impl Default for RateState {
    fn default() -> Self {
        Self {
            version: VERSION,
            labels: 0,
            worse: [0.0; 6],
            better: [0.0; 6],
        }
    }
}

/// One simple hypothesis against six others.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Alternatives {
    null: f64,
    rates: [f64; 6],
}

impl Alternatives {
    /// The logarithm of the likelihood ratio of a batch.
    fn ln_ratio(&self, rate: f64, batch: RateBatch) -> f64 {
        let (events, others) = (batch.events as f64, (batch.labels - batch.events) as f64);
        // A side without labels says nothing, also where its ratio is not finite.
        let part = |count: f64, ratio: f64| if count > 0.0 { count * ratio.ln() } else { 0.0 };
        part(events, rate / self.null) + part(others, (1.0 - rate) / (1.0 - self.null))
    }

    fn step(
        &self,
        states: [f64; 6],
        batch: RateBatch,
        overdispersion: f64,
        ln_cap: f64,
    ) -> [f64; 6] {
        let mut next = states;
        for (state, rate) in next.iter_mut().zip(self.rates) {
            *state = advance(
                *state,
                batch.labels as f64,
                self.ln_ratio(rate, batch) / overdispersion,
                ln_cap,
            );
        }
        next
    }
}

/// A mixture Shiryaev–Roberts detector of a rate (Shin, Ramdas and Rinaldo 2024).
///
/// Alarms when the rate is above the reference's. While it is not, [`run_length`](Self::run_length) labels pass on average
/// before a false alarm, however often one looks and however the labels are batched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateDetector {
    worse: Alternatives,
    better: Option<Alternatives>,
    run_length: f64,
    overdispersion: f64,
}

impl RateDetector {
    /// Against the rate of a reference, which is not known exactly: the rate that counts as well is the upper bound of Clopper and
    /// Pearson, of 85 % from 1,000 labels on and of 95 % for fewer, plus a tolerance (from 0, in the unit of the rate). The promise
    /// holds on average over such references, those included whose bound misses the true rate: the fewer labels they
    /// have, the further off is one that misses.
    ///
    /// # Errors
    /// Without labels, for a run length that is not above 1, and when nothing worse is left to be told.
    pub fn new(
        reference: RateReference,
        tolerance: f64,
        run_length: f64,
    ) -> Result<Self, NotMonitorable> {
        let RateReference { events, labels } = reference;
        if labels == 0 {
            return Err(NotMonitorable::NoLabels);
        }
        if events > labels {
            return Err(NotMonitorable::MoreEventsThanLabels);
        }
        if !(0.0..1.0).contains(&tolerance) {
            return Err(NotMonitorable::BadParameter);
        }
        let confidence = if labels < MANY { 0.95 } else { 0.85 };
        let upper = clopper_pearson_upper(events, labels, confidence) + tolerance;
        let lower = 1.0 - clopper_pearson_upper(labels - events, labels, confidence) - tolerance;
        Self::between(lower, upper, run_length)
    }

    /// Against a rate that is known, or promised.
    ///
    /// # Errors
    /// As for [`Self::new`], and for what is no rate.
    pub fn against(rate: f64, run_length: f64) -> Result<Self, NotMonitorable> {
        if !(rate > 0.0 && rate < 1.0) {
            return Err(NotMonitorable::BadParameter);
        }
        Self::between(rate, rate, run_length)
    }

    fn between(lower: f64, upper: f64, run_length: f64) -> Result<Self, NotMonitorable> {
        if !(run_length > 1.0 && run_length.is_finite()) {
            return Err(NotMonitorable::BadParameter);
        }
        if upper >= HIGHEST {
            return Err(NotMonitorable::NothingWorse);
        }
        let better = (lower > 0.0).then(|| Alternatives {
            null: lower,
            rates: MULTIPLES.map(|multiple| lower / multiple),
        });
        Ok(Self {
            worse: Alternatives {
                null: upper,
                rates: MULTIPLES.map(|multiple| (upper * multiple).min(HIGHEST)),
            },
            better,
            run_length,
            overdispersion: 1.0,
        })
    }

    /// The same where the counts of batches vary so many times more than chance would make them, because labels of one day
    /// share causes: from 1. The likelihood ratio is taken to the power of one over it, as in a quasi-likelihood (McCullagh and
    /// Nelder 1989, chapter 9), and a change takes as many times more labels to notice.
    #[must_use]
    pub fn overdispersed(self, factor: f64) -> Self {
        Self {
            overdispersion: factor.max(1.0),
            ..self
        }
    }

    /// The same with another run length, which must be above 1. A state is good for all of them up to ten times the largest.
    #[must_use]
    pub fn promising(self, run_length: f64) -> Self {
        Self { run_length, ..self }
    }

    /// The rate up to which nothing counts as wrong.
    #[must_use]
    pub fn tolerated(&self) -> f64 {
        self.worse.null
    }

    /// Labels that pass on average before a false alarm, at least.
    #[must_use]
    pub fn run_length(&self) -> f64 {
        self.run_length
    }

    /// Labels until half of the changes to that rate are noticed, about; `None` for a rate that never is.
    #[must_use]
    pub fn labels_to_notice(&self, rate: f64) -> Option<f64> {
        self.labels_needed(rate, 0.0)
    }

    fn labels_needed(&self, rate: f64, quantile: f64) -> Option<f64> {
        let gain = |alternative: f64| {
            let of_event = (alternative / self.worse.null).ln();
            let of_none = ((1.0 - alternative) / (1.0 - self.worse.null)).ln();
            Gain {
                mean: (rate * of_event + (1.0 - rate) * of_none) / self.overdispersion,
                variance: rate * (1.0 - rate) * (of_event - of_none).powi(2) / self.overdispersion,
            }
        };
        let gains = self.worse.rates.iter().map(|rate| gain(*rate));
        labels_needed(gains.zip(WEIGHTS), self.run_length, quantile)
    }

    /// The smallest rate that is noticed within so many labels with a chance of 90 %; `None` if not even the highest is.
    #[must_use]
    pub fn smallest_noticed(&self, labels: f64) -> Option<f64> {
        least(self.worse.null, HIGHEST, |rate| {
            self.labels_needed(rate, POWER_QUANTILE)
                .is_some_and(|needed| needed <= labels)
        })
    }

    /// Takes a batch in. An empty one changes nothing.
    ///
    /// # Errors
    /// With more events than labels, or a state of another version.
    pub fn step(
        &self,
        state: RateState,
        batch: RateBatch,
    ) -> Result<(RateState, Verdict), NotMonitorable> {
        if state.version != VERSION {
            return Err(NotMonitorable::OtherVersion);
        }
        if batch.events > batch.labels {
            return Err(NotMonitorable::MoreEventsThanLabels);
        }
        let mut next = state;
        if batch.labels > 0 {
            let ln_cap = (CAP * self.run_length).ln();
            next.labels += batch.labels;
            next.worse = self
                .worse
                .step(state.worse, batch, self.overdispersion, ln_cap);
            if let Some(better) = self.better {
                next.better = better.step(state.better, batch, self.overdispersion, ln_cap);
            }
        }
        let verdict = Verdict {
            worse: evidence(&next.worse, &WEIGHTS, self.run_length),
            better: (self.better).map(|_| evidence(&next.better, &WEIGHTS, self.run_length)),
        };
        Ok((next, verdict))
    }
}

/// The upper confidence bound of a share by Clopper and Pearson (1934): the rate at which so few events would have
/// a probability of `1 − confidence`. 1 without labels, and when every label is an event.
#[must_use]
pub fn clopper_pearson_upper(events: u64, labels: u64, confidence: f64) -> f64 {
    if events >= labels {
        return 1.0;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    // P(more than that many events) rises with the rate, from 0 to 1.
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        let beyond = binomial_upper(events + 1, labels, middle).map_or(1.0, PValue::value);
        if beyond < confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}
