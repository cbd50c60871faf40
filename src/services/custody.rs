//! What the service does with raw rows, profiles and measurements over time, unless projects say otherwise.

use crate::archive::Archive;
use crate::domain::retention::Policy;

/// The settings of keeping and archiving.
#[derive(Debug, Clone)]
pub struct Custody {
    /// For projects that do not say.
    pub policy: Policy,
    /// How many days ahead partitions are made.
    pub days_ahead: u32,
    /// Where raw rows go before they are dropped.
    pub archive: Option<Archive>,
}

impl Default for Custody {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            days_ahead: 3,
            archive: None,
        }
    }
}
