//! Many models at once: which of their detectors of labels speak for a loss when all are looked at together.
//!
//! Each detector keeps its own promise, such as one false alarm in two years. Of a hundred of them one is wrong every week. So what
//! is named for the fleet is corrected for their number, whatever the models have in common.

use super::measurement::Measure;
use crate::stats::PValue;
use crate::stats::sequential::{calibrated_ln_e, e_benjamini_hochberg};

/// On average so many of those that are named are false, at most.
pub const FALSE_SHARE: f64 = 0.05;

/// What the newest window of one detector of labels says.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelEvidence {
    pub model: String,
    pub measure: Measure,
    /// Whether its alarm is raised.
    pub is_alarm: bool,
    pub weight: Weight,
}

/// How much speaks for a loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// Of a detector that looks at every label: the share of what an alarm takes, the labels that pass on average before a false one,
    /// and those that were looked at.
    Sequential {
        evidence: f64,
        run_length: f64,
        labels: f64,
    },
    /// Of a test.
    Test(PValue),
}

impl Weight {
    /// The logarithm of the e-value. Shiryaev's and Roberts' statistic has the number of labels as its expectation while nothing is
    /// wrong, so that it is an e-value when it is divided by that.
    fn ln_e(self) -> f64 {
        match self {
            Self::Sequential {
                evidence,
                run_length,
                labels,
            } => (evidence * run_length / labels.max(1.0)).ln(),
            Self::Test(p) => calibrated_ln_e(p),
        }
    }
}

/// What a fleet's labels say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Together {
    /// How many detectors were looked at, of how many models.
    pub detectors: usize,
    pub models: usize,
    /// Models that have become worse, the clearest first.
    pub worse: Vec<String>,
    /// Models with an alarm that so many detectors bring by chance.
    pub by_chance: Vec<String>,
}

/// Looks at all of them by e-Benjamini–Hochberg.
#[must_use]
pub fn together(evidence: &[LabelEvidence]) -> Together {
    let weights: Vec<f64> = evidence.iter().map(|of| of.weight.ln_e()).collect();
    let named = e_benjamini_hochberg(&weights, FALSE_SHARE);
    let worse = distinct(named.iter().map(|place| &evidence[*place]));
    let alarms = evidence.iter().filter(|of| of.is_alarm);
    let mut by_chance = distinct(alarms);
    by_chance.retain(|model| !worse.contains(model));
    Together {
        detectors: evidence.len(),
        models: distinct(evidence.iter()).len(),
        worse,
        by_chance,
    }
}

fn distinct<'e>(of: impl Iterator<Item = &'e LabelEvidence>) -> Vec<String> {
    let mut models: Vec<String> = Vec::new();
    for evidence in of {
        if !models.contains(&evidence.model) {
            models.push(evidence.model.clone());
        }
    }
    models
}

impl Together {
    /// In words; nothing for a fleet of one model, whose detectors speak for themselves, and while all is quiet.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        if self.models < 2 || (self.worse.is_empty() && self.by_chance.is_empty()) {
            return None;
        }
        let mut sentences = Vec::new();
        if !self.worse.is_empty() {
            sentences.push(format!(
                "The labels of {} models, looked at together, say that {} of them {} worse: {}. On average at most one in {:.0} that \
                 are named so is not.",
                self.models,
                self.worse.len(),
                if self.worse.len() == 1 { "has become" } else { "have become" },
                self.worse.join(", "),
                1.0 / FALSE_SHARE
            ));
        }
        if !self.by_chance.is_empty() {
            sentences.push(format!(
                "The alarm of {} alone could be chance among {} detectors.",
                self.by_chance.join(", "),
                self.detectors
            ));
        }
        Some(sentences.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector(model: usize, evidence: f64) -> LabelEvidence {
        LabelEvidence {
            model: format!("model-{model}"),
            measure: Measure::ErrorRateSequential,
            is_alarm: evidence >= 1.0,
            weight: Weight::Sequential {
                evidence,
                run_length: 100_000.0,
                labels: 1_000.0,
            },
        }
    }

    /// Each e-value is a hundred times the evidence; of forty at 5 % the first needs 800, the second 400.
    #[test]
    fn an_alarm_among_many_models_has_to_be_clearer_than_one_alone() {
        let quiet = || (2..40).map(|model| detector(model, 0.001));
        let all = |first: f64, second: f64| -> Vec<LabelEvidence> {
            [detector(0, first), detector(1, second)]
                .into_iter()
                .chain(quiet())
                .collect()
        };
        let one = together(&all(1.1, 0.2));
        assert_eq!((one.detectors, one.models), (40, 40));
        assert_eq!(one.worse, Vec::<String>::new());
        assert_eq!(one.by_chance, ["model-0"]);
        assert_eq!(
            one.words().expect("there is an alarm"),
            "The alarm of model-0 alone could be chance among 40 detectors."
        );
        let clear = together(&all(4.1, 9.0));
        assert_eq!(clear.worse, ["model-1", "model-0"]);
        assert_eq!(clear.by_chance, Vec::<String>::new());
        assert_eq!(
            clear.words().expect("two are worse"),
            "The labels of 40 models, looked at together, say that 2 of them have become worse: model-1, model-0. On average at most \
             one in 20 that are named so is not."
        );
    }

    #[test]
    fn one_model_and_a_quiet_fleet_need_no_words() {
        assert_eq!(together(&[]).words(), None);
        assert_eq!(together(&[detector(0, 50.0)]).words(), None);
        assert_eq!(
            together(&[detector(0, 0.1), detector(1, 0.2)]).words(),
            None
        );
    }

    #[test]
    fn a_test_counts_by_what_its_p_value_is_worth() {
        let test = |model: usize, ln_p: f64| LabelEvidence {
            weight: Weight::Test(PValue::from_ln(ln_p).expect("a p-value")),
            ..detector(model, 0.0)
        };
        let found = together(&[test(0, -30.0), test(1, -1.0)]);
        assert_eq!(found.worse, ["model-0"]);
    }
}
