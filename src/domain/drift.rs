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

impl Judged {
    /// Judges a value of a feature of that type by the threshold of its measure. Dates are further on whenever they are looked
    /// at: how far they have come is a reading, and only how many are missing is held against a threshold.
    #[must_use]
    pub fn of_feature(
        measure: Measure,
        reading: &Reading,
        feature_type: Option<FeatureType>,
        thresholds: &BTreeMap<Measure, f64>,
        min_rows: u64,
    ) -> Self {
        let go_on =
            feature_type == Some(FeatureType::Timestamp) && measure != Measure::MissingShareChange;
        let threshold = thresholds.get(&measure).copied().filter(|_| !go_on);
        let mut judged = Self::of(measure, reading, threshold, min_rows);
        if go_on {
            judged.recipe.method +=
                "; a reading without a threshold, because dates go on with time";
        }
        judged
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
            Judged::of_feature(measure, &reading, feature_type, &thresholds, 100)
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
