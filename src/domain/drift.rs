//! What a reading of drift means: the one judgement of the service and of comparisons of files.

use std::collections::BTreeMap;

use super::measurement::{Better, Measure, Recipe, Status};
use super::schema::FeatureType;
use crate::stats::{NotDefined, PValue, Reading};

/// A measure's value and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub measure: Measure,
    pub value: Option<f64>,
    /// 95 % interval, for distances.
    pub interval: Option<(f64, f64)>,
    /// The probability of such a value without drift, for tests.
    pub p_value: Option<f64>,
    pub status: Status,
    pub recipe: Recipe,
}

/// What the values of a feature are held against.
#[derive(Debug, Clone, Copy)]
pub struct Gates<'a> {
    pub thresholds: &'a BTreeMap<Measure, f64>,
    pub feature_type: Option<FeatureType>,
    /// Of fewer values on either side nothing is said.
    pub min_rows: u64,
    /// How many features are looked at: each may be the one that chance makes stand out.
    pub features: usize,
}

/// Once in so many looks at all features of a model chance is taken for drift.
const LOOKS: f64 = 1_000.0;

/// How probable it may be that nothing has changed in a feature that drifts, among so many that are looked at.
#[must_use]
pub fn chance_of_a_feature(features: usize) -> f64 {
    1.0 / (LOOKS * features.max(1) as f64)
}

impl Judged {
    /// Judges a value of a feature by the threshold of its measure: drift is what is beyond that and no chance. Dates are further
    /// on whenever they are looked at: how far they have come is a reading, and only how many are missing is
    /// held against a threshold. `by_chance` is the probability that nothing has changed.
    #[must_use]
    pub fn of_feature(
        measure: Measure,
        reading: &Reading,
        by_chance: Option<PValue>,
        gates: &Gates<'_>,
    ) -> Self {
        let is_of_rows = measure == Measure::MissingShareChange;
        let go_on = gates.feature_type == Some(FeatureType::Timestamp) && !is_of_rows;
        let threshold = gates.thresholds.get(&measure).copied().filter(|_| !go_on);
        let mut judged = Self::of(measure, reading, threshold, gates.min_rows);
        let by_chance = if is_of_rows {
            reading.p_value
        } else {
            by_chance
        };
        judged.spare_chance(by_chance, gates.features);
        judged.allow_for_bound();
        if measure == Measure::TotalVariation {
            judged.p_value = by_chance.map(PValue::value);
            judged.recipe.method += "; p-value: twice the lesser of chi-square's over bins that expect 5 rows and, of numbers, \
                                     Kolmogorov and Smirnov's";
        }
        if go_on {
            judged.recipe.method +=
                "; a reading without a threshold, because dates go on with time";
        }
        judged
    }

    /// No drift after all where that nothing has changed is too probable, among so many features that are looked at.
    pub fn spare_chance(&mut self, by_chance: Option<PValue>, features: usize) {
        let is_chance = by_chance.is_some_and(|p| p.ln() >= chance_of_a_feature(features).ln());
        if self.status == Status::Drift && is_chance {
            self.status = Status::Ok;
        }
    }

    /// Nothing is said where the rows' own value, of which this one is known to be within a bound, may be within the threshold.
    fn allow_for_bound(&mut self) {
        let Some(((value, bound), threshold)) =
            (self.value.zip(self.recipe.error_bound)).zip(self.recipe.threshold)
        else {
            return;
        };
        if self.status == Status::Drift && value.abs() - bound <= threshold {
            self.status = Status::Insufficient;
            self.recipe.cause = Some(format!(
                "the value of the rows is within {bound:.3} of this one, so whether it is beyond {threshold} cannot be told"
            ));
        }
    }

    /// Judges a value: drift is what is beyond the threshold and beyond what chance alone would give. Of fewer values
    /// than `min_rows` on either side nothing is said. A change that can go either way is held against the
    /// threshold by its size; of a likeness less than the threshold is drift.
    #[must_use]
    pub fn of(measure: Measure, reading: &Reading, threshold: Option<f64>, min_rows: u64) -> Self {
        let enough = reading.current_values.min(reading.reference_values) >= min_rows;
        let noise = reading.noise_floor.unwrap_or(0.0);
        let further_than = |threshold: f64| match measure.better() {
            Better::Higher => reading.value < threshold,
            Better::Zero => reading.value.abs() > threshold.max(noise),
            Better::Lower | Better::Neither => reading.value > threshold.max(noise),
        };
        let status = match threshold {
            _ if !enough => Status::Insufficient,
            Some(threshold) if further_than(threshold) => Status::Drift,
            _ => Status::Ok,
        };
        Self {
            measure,
            value: Some(reading.value),
            interval: reading.interval,
            p_value: reading.p_value.map(PValue::value),
            status,
            recipe: Recipe {
                method: reading.method.clone(),
                bins: reading.bins,
                compared: reading.compared.clone(),
                outer_edges: reading.outer_edges.clone(),
                error_bound: reading.error_bound,
                noise_floor: reading.noise_floor,
                threshold,
                cause: (!enough).then(|| format!("fewer than {min_rows} values")),
                ..Recipe::default()
            },
        }
    }
}

/// Whether a cause is about the two profiles rather than about one measure: then it is said once, not for each.
#[must_use]
pub fn is_of_the_profiles(cause: NotDefined) -> bool {
    match cause {
        NotDefined::NoReferenceValues
        | NotDefined::NoCurrentValues
        | NotDefined::DifferentKinds
        | NotDefined::OtherGrid => true,
        NotDefined::NoOrder
        | NotDefined::OneBin
        | NotDefined::BeyondRange
        | NotDefined::NoReferenceRows
        | NotDefined::NoCurrentRows => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(value: f64, noise_floor: Option<f64>, values: u64) -> Reading {
        Reading {
            value,
            p_value: None,
            interval: None,
            noise_floor,
            error_bound: None,
            method: String::new(),
            bins: None,
            compared: None,
            outer_edges: Vec::new(),
            reference_values: 1_000,
            current_values: values,
        }
    }

    #[test]
    fn of_dates_only_what_is_missing_is_held_against_a_threshold() {
        let thresholds =
            BTreeMap::from([(Measure::Psi, 0.25), (Measure::MissingShareChange, 0.05)]);
        let judged = |measure, feature_type| {
            let reading = reading(6.0, Some(0.01), 1_000);
            let gates = Gates {
                thresholds: &thresholds,
                feature_type,
                min_rows: 100,
                features: 1,
            };
            Judged::of_feature(measure, &reading, None, &gates)
        };
        for feature_type in [None, Some(FeatureType::Integer)] {
            let number = judged(Measure::Psi, feature_type);
            assert_eq!(number.status, Status::Drift);
            assert_eq!(number.recipe.threshold, Some(0.25));
        }
        let dates = Some(FeatureType::Timestamp);
        let date = judged(Measure::Psi, dates);
        assert_eq!((date.status, date.value), (Status::Ok, Some(6.0)));
        assert_eq!(date.recipe.threshold, None);
        let missing = judged(Measure::MissingShareChange, dates);
        assert_eq!(missing.status, Status::Drift);
    }

    #[test]
    fn what_chance_may_have_done_among_so_many_features_is_no_drift() {
        let thresholds =
            BTreeMap::from([(Measure::Psi, 0.25), (Measure::MissingShareChange, 0.05)]);
        let status = |measure, by_chance: f64, own: Option<f64>, features| {
            let p = |p: f64| PValue::from_probability(p);
            let reading = Reading {
                p_value: own.and_then(p),
                ..reading(0.5, Some(0.01), 1_000)
            };
            let gates = Gates {
                thresholds: &thresholds,
                feature_type: None,
                min_rows: 100,
                features,
            };
            Judged::of_feature(measure, &reading, p(by_chance), &gates).status
        };
        assert_eq!(status(Measure::Psi, 0.9e-3, None, 1), Status::Drift);
        assert_eq!(status(Measure::Psi, 1.1e-3, None, 1), Status::Ok);
        assert_eq!(status(Measure::Psi, 0.9e-3, None, 30), Status::Ok);
        assert_eq!(status(Measure::Psi, 0.9e-3 / 30.0, None, 30), Status::Drift);
        // Of what is missing a test of its own tells.
        let missing = Measure::MissingShareChange;
        assert_eq!(status(missing, 0.0, Some(0.5), 1), Status::Ok);
        assert_eq!(status(missing, 1.0, Some(1e-6), 1), Status::Drift);
    }

    #[test]
    fn what_the_rows_may_not_confirm_is_undecided_unless_it_is_chance() {
        let thresholds = BTreeMap::from([(Measure::Wasserstein, 0.4)]);
        let status = |bound: f64, p: f64| {
            let reading = Reading {
                error_bound: Some(bound),
                ..reading(0.5, None, 1_000)
            };
            let gates = Gates {
                feature_type: None,
                thresholds: &thresholds,
                min_rows: 100,
                features: 1,
            };
            let p = PValue::from_probability(p).expect("a probability");
            Judged::of_feature(Measure::Wasserstein, &reading, Some(p), &gates)
        };
        assert_eq!(status(0.09, 1e-9).status, Status::Drift);
        let undecided = status(0.11, 1e-9);
        assert_eq!(undecided.status, Status::Insufficient);
        assert!(
            undecided
                .recipe
                .cause
                .is_some_and(|cause| cause.contains("within 0.110"))
        );
        assert_eq!(status(0.11, 0.5).status, Status::Ok);
    }

    #[test]
    fn drift_is_beyond_the_threshold_and_beyond_chance_among_enough_values() {
        let cases = [
            (
                "below",
                Measure::Psi,
                reading(0.1, None, 100),
                Some(0.2),
                Status::Ok,
            ),
            (
                "at it",
                Measure::Psi,
                reading(0.2, None, 100),
                Some(0.2),
                Status::Ok,
            ),
            (
                "beyond",
                Measure::Psi,
                reading(0.3, Some(0.05), 100),
                Some(0.2),
                Status::Drift,
            ),
            (
                "by chance",
                Measure::Psi,
                reading(0.3, Some(0.4), 100),
                Some(0.2),
                Status::Ok,
            ),
            (
                "too few",
                Measure::Psi,
                reading(0.3, None, 99),
                Some(0.2),
                Status::Insufficient,
            ),
            (
                "no threshold",
                Measure::Psi,
                reading(9.0, None, 100),
                None,
                Status::Ok,
            ),
            (
                "ranked as before",
                Measure::AttributionNdcg,
                reading(0.95, None, 100),
                Some(0.9),
                Status::Ok,
            ),
            (
                "ranked otherwise",
                Measure::AttributionNdcg,
                reading(0.85, None, 100),
                Some(0.9),
                Status::Drift,
            ),
            (
                "fewer missing than before",
                Measure::MissingShareChange,
                reading(-0.3, None, 100),
                Some(0.2),
                Status::Drift,
            ),
        ];
        for (name, measure, reading, threshold, expected) in cases {
            let judged = Judged::of(measure, &reading, threshold, 100);
            assert_eq!(judged.status, expected, "{name}");
            let says_why = judged.recipe.cause.is_some();
            assert_eq!(says_why, expected == Status::Insufficient, "{name}");
        }
    }
}
