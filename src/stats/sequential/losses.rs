//! Bounded losses: Brier scores, capped absolute errors, one less a gain.

use serde::{Deserialize, Serialize};

use super::{
    CAP, Gain, MULTIPLES, NotMonitorable, POWER_QUANTILE, Verdict, WEIGHTS, advance, evidence,
    labels_needed, least,
};

const VERSION: u32 = 1;

/// The bet that learns from what it has seen has this weight; the six fixed ones share the rest as the rates do.
const ADAPTIVE: f64 = 0.2;

/// The learning bet forgets half of what it knows after so many labels, so that it can follow a change.
const HALF_LIFE: f64 = 200.0;

/// What the loss was when all was well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossReference {
    /// Mean and variance of losses from 0 to 1.
    pub mean: f64,
    pub variance: f64,
    pub labels: u64,
}

/// The evidence so far: seven bets, and what the seventh has learnt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossState {
    version: u32,
    pub labels: u64,
    worse: [f64; 7],
    mean: f64,
    variance: f64,
}

/// A detector of a mean loss by betting (Waudby-Smith and Ramdas 2024, in the recursion of Shiryaev and Roberts).
///
/// Each label is a round of a game in which `1 + λ·(x − m₀)` is won; it is fair at best while the mean loss is at most `m₀`,
/// whatever the distribution of the losses and however `λ` was chosen before. Six bets look for the changes of
/// [`MULTIPLES`], a seventh learns from the labels before. The promise is that of the rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossDetector {
    tolerated: f64,
    bets: [f64; 6],
    start: (f64, f64),
    run_length: f64,
    overdispersion: f64,
}

impl LossDetector {
    /// Against the mean loss of a reference, of which the upper 95 % bound counts (the empirical Bernstein bound of Maurer
    /// and Pontil 2009, which supposes nothing but the range), plus a tolerance.
    ///
    /// # Errors
    /// With fewer than two labels, for moments that losses from 0 to 1 cannot have, and when nothing worse is left to be told.
    pub fn new(
        reference: LossReference,
        tolerance: f64,
        run_length: f64,
    ) -> Result<Self, NotMonitorable> {
        let LossReference {
            mean,
            variance,
            labels,
        } = reference;
        if labels < 2 {
            return Err(NotMonitorable::NoLabels);
        }
        let possible = (0.0..=1.0).contains(&mean) && (0.0..=0.2501).contains(&variance);
        if !possible || !(0.0..1.0).contains(&tolerance) {
            return Err(NotMonitorable::BadParameter);
        }
        let (n, odds) = (labels as f64, 40.0_f64.ln());
        let bound = mean + (2.0 * variance * odds / n).sqrt() + 7.0 * odds / (3.0 * (n - 1.0));
        Self::against(bound + tolerance, variance, run_length)
    }

    /// Against a mean loss that is known, or promised, with about that variance.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn against(mean: f64, variance: f64, run_length: f64) -> Result<Self, NotMonitorable> {
        if !(run_length > 1.0 && run_length.is_finite() && mean > 0.0 && variance >= 0.0) {
            return Err(NotMonitorable::BadParameter);
        }
        if mean >= 0.95 {
            return Err(NotMonitorable::NothingWorse);
        }
        let variance = variance.max(1e-6);
        let bets = MULTIPLES.map(|multiple| {
            let change = (mean * (multiple - 1.0)).min(0.95 - mean);
            bet(change, variance, mean)
        });
        Ok(Self {
            tolerated: mean,
            bets,
            start: (mean, variance),
            run_length,
            overdispersion: 1.0,
        })
    }

    /// The same where the means of batches vary so many times more than chance would make them: from 1. Winnings are taken to
    /// the power of one over it, and a change takes as many times more labels to notice.
    #[must_use]
    pub fn overdispersed(self, factor: f64) -> Self {
        Self {
            overdispersion: factor.max(1.0),
            ..self
        }
    }

    /// The same with another run length, as [`super::RateDetector::promising`].
    #[must_use]
    pub fn promising(self, run_length: f64) -> Self {
        Self { run_length, ..self }
    }

    /// The mean loss up to which nothing counts as wrong.
    #[must_use]
    pub fn tolerated(&self) -> f64 {
        self.tolerated
    }

    /// Labels until half of the changes to that mean loss are noticed, about, if the losses' variance stays; `None` for one
    /// that never is.
    #[must_use]
    pub fn labels_to_notice(&self, mean: f64) -> Option<f64> {
        self.labels_needed(mean, 0.0)
    }

    fn labels_needed(&self, mean: f64, quantile: f64) -> Option<f64> {
        let change = mean - self.tolerated;
        // The mean and variance of ln(1 + λx), to second order.
        let gain = |bet: &f64| Gain {
            mean: (bet * change - 0.5 * bet * bet * (self.start.1 + change * change))
                / self.overdispersion,
            variance: bet * bet * self.start.1 / self.overdispersion,
        };
        let weights = WEIGHTS.map(|weight| (1.0 - ADAPTIVE) * weight);
        labels_needed(
            self.bets.iter().map(gain).zip(weights),
            self.run_length,
            quantile,
        )
    }

    /// The smallest mean loss that is noticed within so many labels with a chance of 90 %; `None` if not even 0.95 is.
    #[must_use]
    pub fn smallest_noticed(&self, labels: f64) -> Option<f64> {
        least(self.tolerated, 0.95, |mean| {
            self.labels_needed(mean, POWER_QUANTILE)
                .is_some_and(|needed| needed <= labels)
        })
    }

    /// The state before the first label.
    #[must_use]
    pub fn start(&self) -> LossState {
        LossState {
            version: VERSION,
            labels: 0,
            worse: [0.0; 7],
            mean: self.start.0,
            variance: self.start.1,
        }
    }

    /// Takes losses in, in their order.
    ///
    /// # Errors
    /// With a loss outside 0 to 1, or a state of another version. Then nothing is taken in.
    pub fn step(
        &self,
        state: LossState,
        losses: &[f64],
    ) -> Result<(LossState, Verdict), NotMonitorable> {
        if state.version != VERSION {
            return Err(NotMonitorable::OtherVersion);
        }
        if !losses.iter().all(|loss| (0.0..=1.0).contains(loss)) {
            return Err(NotMonitorable::BadParameter);
        }
        let ln_cap = (CAP * self.run_length).ln();
        let rate = 1.0 - 0.5_f64.powf(1.0 / HALF_LIFE);
        let mut next = state;
        for loss in losses {
            let learnt = bet(next.mean - self.tolerated, next.variance, self.tolerated);
            let bets = self.bets.iter().chain(std::iter::once(&learnt));
            for (evidence, bet) in next.worse.iter_mut().zip(bets) {
                let won = (bet * (loss - self.tolerated)).ln_1p() / self.overdispersion;
                *evidence = advance(*evidence, 1.0, won, ln_cap);
            }
            // The bet on a label is made before it is seen.
            let surprise = loss - next.mean;
            next.mean += rate * surprise;
            next.variance = (1.0 - rate) * (next.variance + rate * surprise * surprise);
            next.labels += 1;
        }
        let mut weights = [ADAPTIVE; 7];
        for (weight, of_rates) in weights.iter_mut().zip(WEIGHTS) {
            *weight = (1.0 - ADAPTIVE) * of_rates;
        }
        let verdict = Verdict {
            worse: evidence(&next.worse, &weights, self.run_length),
            better: None,
        };
        Ok((next, verdict))
    }
}

/// The bet that grows fastest, to second order, if the mean has moved by `change`; never more than half of what could be
/// lost in one round.
fn bet(change: f64, variance: f64, tolerated: f64) -> f64 {
    let best = change / (variance + change * change).max(1e-12);
    best.clamp(0.0, 0.5 / tolerated)
}
