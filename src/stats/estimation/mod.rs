//! Quality before the labels are there.
//!
//! A calibrated score says how often predictions like it come true, so the scores of a window say what its labels
//! will, as long as what the scores mean has not changed. [`Calibration`] does it for two classes from counts in frozen bins,
//! [`ClassCalibration`] for several, [`LossModel`] for numbers, by predicting the loss of each row from its features.
//!
//! **What none of them can see.** If the labels of the very same rows would come out otherwise today, which is concept
//! change, no score and no feature shows it, and an estimate stays where it was while the quality falls. So estimates come with
//! flags on whether they may be trusted ([`Trust`]), with an interval of what the labels will say, and, as soon as labels
//! come, with how far off they have been ([`Reliability`]). A shift of the classes' shares is a case between: [`label_shift`]
//! recognises and corrects it.

mod binary;
mod boosting;
mod calibration;
mod cells;
pub mod label_shift;
mod losses;
mod multiclass;
mod reliability;

pub use binary::{BinaryEstimates, ScoreWindow};
pub use boosting::{Boosting, BoostingOptions, Column};
pub use calibration::{Calibration, ScoreBins, isotonic};
pub use losses::{LossEstimates, LossModel, LossTable, LossWindow};
pub use multiclass::{ClassCalibration, ClassEstimates, ClassWindow};
pub use reliability::{Compared, ConceptChange, Reliability};

use serde::{Deserialize, Serialize};

use crate::stats::quality::Undefined;

/// An estimate of what the labels will say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    pub value: f64,
    /// 95 % interval of the value that will be realised: the chance of the labels to come, and that of those the
    /// calibration was learnt from.
    pub interval: (f64, f64),
}

impl Estimated {
    fn of(value: f64, variance: f64, bounds: (f64, f64)) -> Self {
        let half = crate::stats::quality::Z_95 * variance.max(0.0).sqrt();
        Self {
            value,
            interval: ((value - half).max(bounds.0), (value + half).min(bounds.1)),
        }
    }
}

/// A value, or why there is none.
pub type Estimation = Result<Estimated, Undefined>;

/// Why an estimate should not be leant on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Distrust {
    /// More than 5 % of the window lies where the reference has fewer than 20 rows.
    OffSupport { share: f64 },
    /// The calibration is older than is allowed, in seconds.
    OldCalibration { age: f64 },
    /// The calibrated scores miss the truth on held-out rows of the reference, beyond chance and by more than 0.02.
    Miscalibrated { error: f64 },
}

/// What speaks against an estimate; nothing if the list is empty. Never a warranty: concept change leaves no trace here.
pub type Trust = Vec<Distrust>;

/// A bin of the reference with fewer rows says little.
const SUPPORT: u64 = 20;
const OFF_SUPPORT: f64 = 0.05;
const MISCALIBRATION: f64 = 0.02;

fn trust(off_support: f64, age: f64, oldest: f64, miscalibration: Option<f64>) -> Trust {
    let mut found = Vec::new();
    if off_support > OFF_SUPPORT {
        found.push(Distrust::OffSupport { share: off_support });
    }
    if age > oldest {
        found.push(Distrust::OldCalibration { age });
    }
    found.extend(miscalibration.map(|error| Distrust::Miscalibrated { error }));
    found
}

#[cfg(test)]
mod tests;
