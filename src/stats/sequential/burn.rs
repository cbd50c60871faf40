//! Burn rates: how fast the errors that a quality objective allows are being used up.

use serde::{Deserialize, Serialize};

use super::NotMonitorable;
use crate::stats::beta::binomial_upper;
use crate::stats::tails::PValue;

/// Labelled predictions of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LabelledCounts {
    pub labelled: u64,
    /// How many of them were wrong.
    pub bad: u64,
}

/// Who is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BurnSeverity {
    Ticket,
    Page,
}

/// Speaks up when the budget burns at least so fast over a long window and still does over a short one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BurnRule {
    pub severity: BurnSeverity,
    /// How many times faster than the objective allows.
    pub burn: f64,
    pub long_seconds: f64,
    pub short_seconds: f64,
}

/// An objective of quality with the rules that guard it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BurnPolicy {
    /// The share of labelled predictions that should be right, between 0 and 1.
    objective: f64,
    /// How much longer the windows are than usual, because labels are few.
    scale: f64,
    rules: Vec<BurnRule>,
}

/// A rule that speaks up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnAlert {
    pub rule: BurnRule,
    /// The burn over both windows.
    pub long: f64,
    pub short: f64,
    /// How likely so many errors over the long window are while the objective is just met.
    pub p_value: PValue,
}

/// Windows, rates and severities of the Google SRE workbook, chapter 5: 2, 5 and 10 % of a budget of 30 days.
const USUAL: [BurnRule; 3] = {
    const HOUR: f64 = 3_600.0;
    const fn rule(severity: BurnSeverity, burn: f64, long: f64, short: f64) -> BurnRule {
        BurnRule {
            severity,
            burn,
            long_seconds: long,
            short_seconds: short,
        }
    }
    [
        rule(BurnSeverity::Page, 14.4, HOUR, HOUR / 12.0),
        rule(BurnSeverity::Page, 6.0, 6.0 * HOUR, HOUR / 2.0),
        rule(BurnSeverity::Ticket, 1.0, 72.0 * HOUR, 6.0 * HOUR),
    ]
};

/// From this probability on errors may be chance, and no rule speaks up: one error among five labels is a rate of 20 %.
pub const CHANCE: f64 = 1e-4;

/// A long window should expect so many errors while the objective is just met.
pub const EXPECTED_ERRORS: f64 = 10.0;

impl BurnPolicy {
    /// The usual rules for an objective and the rate at which labels come in. Where they are slow every window is longer by
    /// the same factor, so that the shortest of the long ones expects ten errors; it keeps its twelve short ones.
    ///
    /// # Errors
    /// Unless the objective is between 0 and 1 and the rate above 0.
    pub fn new(objective: f64, labels_per_second: f64) -> Result<Self, NotMonitorable> {
        let possible = objective > 0.0 && objective < 1.0;
        if !(possible && labels_per_second > 0.0 && labels_per_second.is_finite()) {
            return Err(NotMonitorable::BadParameter);
        }
        let needed = EXPECTED_ERRORS / (1.0 - objective);
        let scale = (needed / (labels_per_second * USUAL[0].long_seconds)).max(1.0);
        let rules = USUAL.map(|rule| BurnRule {
            long_seconds: rule.long_seconds * scale,
            short_seconds: rule.short_seconds * scale,
            ..rule
        });
        Ok(Self {
            objective,
            scale,
            rules: rules.to_vec(),
        })
    }

    /// The rules, the most urgent first.
    #[must_use]
    pub fn rules(&self) -> &[BurnRule] {
        &self.rules
    }

    /// The time the budget is for, in seconds: 30 days, or as much longer as the windows are.
    #[must_use]
    pub fn budget_seconds(&self) -> f64 {
        30.0 * 86_400.0 * self.scale
    }

    /// The burn of some labels: 1 when errors are as frequent as the objective allows. `None` without labels.
    #[must_use]
    pub fn burn(&self, counts: LabelledCounts) -> Option<f64> {
        (counts.labelled > 0)
            .then(|| counts.bad as f64 / counts.labelled as f64 / (1.0 - self.objective))
    }

    /// The most urgent rule that speaks up, given the counts of each rule's long and short window in the order of
    /// [`Self::rules`]. A window without labels burns nothing.
    #[must_use]
    pub fn judge(&self, windows: &[(LabelledCounts, LabelledCounts)]) -> Option<BurnAlert> {
        let judged = self.rules.iter().zip(windows);
        let mut alerts = judged.filter_map(|(rule, (long, short))| {
            let (of_long, of_short) = (self.burn(*long)?, self.burn(*short)?);
            let p_value = binomial_upper(long.bad, long.labelled, 1.0 - self.objective)?;
            let speaks = of_long >= rule.burn && of_short >= rule.burn;
            (speaks && p_value.ln() < CHANCE.ln()).then_some(BurnAlert {
                rule: *rule,
                long: of_long,
                short: of_short,
                p_value,
            })
        });
        alerts.next()
    }
}
