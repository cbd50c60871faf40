//! The default drift detector: quiet when nothing is wrong, early when something is.
//!
//! A row is not the unit of chance here; a day is (or an hour, where there are rows enough). The rows of a day share
//! what happened that day, so a test that takes them as independent calls every day of a busy model a change. What is
//! tested are means of days, in windows of 1 to 28 days, with a variance between days that was estimated.
//!
//! Hours share the day's causes in turn. Where a bucket is shorter than a day, the variance between days is estimated
//! beside that between buckets, and a day has no more chances to be called drift than it has with one bucket: what it may
//! take is shared by its hours, and windows of a day and more are looked at once a day.
//!
//! The way of a value: [`Bins`] are frozen with the reference and count a day's profile into a [`Tally`];
//! [`Reference::fit`] turns the tallies of the reference's days into a [`Reference`], which is stored and needs no row
//! again; [`Reference::evaluate`] says of a day, given those before it, how surprising it is and in what way; and
//! [`Episode::step`] makes one alert out of many such days. How it decides is told in `docs/detector.md`.
//!
//! Two things are easily undone by accident. A candidate has passed two gates, significance *and* size: one without
//! the other is noise on large models or blindness on small ones. And what could not be judged is
//! [`Status::Insufficient`] or an error, never quiet.

mod bins;
mod codec;
mod draft;
mod episode;
mod evaluate;
mod fitting;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hours_tests;
mod power;
#[cfg(test)]
mod power_tests;
mod reference;
mod scores;
mod season;
#[cfg(test)]
mod sparse_tests;
mod test;
#[cfg(test)]
mod tests;
mod volume;
#[cfg(test)]
mod volume_tests;
mod wandering;
mod words;

use serde::{Deserialize, Serialize};

pub use bins::{Bins, CategoryBins, NotCounted, NumberBins, Tally};
pub use codec::{Damaged, DayTallies};
pub(crate) use codec::{Form, decode, encode};
pub use episode::{Change, Episode};
pub use evaluate::{CannotEvaluate, Observation, Shortage, Status, Verdict};
pub use power::{SmallestChange, SmallestVolume};
pub use reference::{CannotFit, FeatureDays, FeatureReference, Footing, Reference, Role};
pub use season::{Grain, Phase, Season, WINDOWS};
pub use test::{Evidence, ScoreKind};
pub use volume::{VolumeDay, VolumeReference};

/// What the detector is tuned by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many days of a model may be called drift by chance, of a thousand.
    pub false_days_per_thousand: f64,
    /// A change of less is not reported, in standard deviations of one row: the second gate.
    pub least_effect: f64,
    /// The same for a reference of too few days to know how days vary.
    pub least_effect_without_days: f64,
    /// A volume must change by this much, as a logarithm.
    pub least_volume_effect: f64,
    /// Of fewer rows nothing is said.
    pub least_rows: u64,
    /// The part of the false days that the model's own output may take; the features share the rest.
    pub output_share: f64,
    /// How the windows share what a score may take, shortest first.
    pub window_weights: [f64; WINDOWS],
    /// How the scores of a numeric feature share what the feature may take: centre, spread, skew, tails.
    pub shape_weights: [f64; 4],
    /// The part for each end of the range of a numeric feature, and for what is far from it.
    pub end_weight: f64,
    /// The part for all single values of a numeric feature, or all categories, together.
    pub values_weight: f64,
    /// The part for new categories.
    pub unseen_weight: f64,
    /// The part for missing values.
    pub missing_weight: f64,
    /// The part for values of a wrong type.
    pub mismatched_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            false_days_per_thousand: 1.0,
            least_effect: 0.05,
            least_effect_without_days: 0.1,
            least_volume_effect: 0.2,
            least_rows: 50,
            output_share: 0.2,
            window_weights: [0.5, 0.22, 0.14, 0.09, 0.05],
            shape_weights: [0.5, 0.12, 0.08, 0.08],
            end_weight: 0.05,
            values_weight: 0.2,
            unseen_weight: 0.15,
            missing_weight: 0.05,
            mismatched_weight: 0.02,
        }
    }
}
