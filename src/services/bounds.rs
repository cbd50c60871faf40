//! How long things are waited for, and how many of them there may be. What goes beyond is counted and told of,
//! never dropped in silence ([`super::overflow`]); and it touches only the model it belongs to.

use chrono::TimeDelta;

/// The bounds that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long a label waits for its prediction before it is given up.
    pub orphan_label_age: TimeDelta,
    /// How long a request or response of an inference waits for the other one.
    pub unpaired_age: TimeDelta,
    /// How long ago a window may have ended for an alert about it to be told.
    pub annotate_after: TimeDelta,
    /// Features a model may have; those it was sent first stay.
    pub features: usize,
    /// Values a segment may have in one base window of a version.
    pub segment_values: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            orphan_label_age: TimeDelta::days(30),
            unpaired_age: TimeDelta::minutes(60),
            annotate_after: TimeDelta::hours(24),
            features: 2_000,
            segment_values: 200,
        }
    }
}
