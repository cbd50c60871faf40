//! The measures of drift, in one table: what is in it is computed, judged, written and drawn.

use std::collections::BTreeMap;

use crate::domain::measurement::{Measure, Recipe, Status};
use crate::stats::drift::Comparison;
use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, ProfileKind};

/// A value with what is needed to judge it.
#[derive(Debug, Clone, Default)]
struct Computed {
    value: Option<f64>,
    p_value: Option<f64>,
    bins: Option<usize>,
    error_bound: Option<f64>,
    noise_floor: Option<f64>,
    cause: Option<String>,
}

/// A measure of drift.
struct DriftMeasure {
    measure: Measure,
    /// Whether it needs an order of the values, which categories do not have.
    needs_order: bool,
    /// What is done, beside the bins it is done over.
    method: &'static str,
    compute: fn(&Comparison<'_>) -> Computed,
}

/// A further measure is a further entry.
const MEASURES: &[DriftMeasure] = &[
    DriftMeasure {
        measure: Measure::Psi,
        needs_order: false,
        method: "natural logarithm; shares floored at 0.0001, not renormalised",
        compute: |comparison| {
            let psi = comparison.psi();
            Computed {
                value: Some(psi.value),
                bins: Some(psi.bins),
                noise_floor: Some(psi.noise_floor),
                ..Computed::default()
            }
        },
    },
    DriftMeasure {
        measure: Measure::JensenShannon,
        needs_order: false,
        method: "base 2; square root of the divergence",
        compute: |comparison| {
            let distance = comparison.jensen_shannon();
            Computed {
                value: Some(distance.value),
                bins: Some(distance.bins),
                noise_floor: Some(distance.noise_floor),
                ..Computed::default()
            }
        },
    },
    DriftMeasure {
        measure: Measure::KolmogorovSmirnov,
        needs_order: true,
        method: "cells of the reference's grid; asymptotic p-value",
        compute: |comparison| match comparison.kolmogorov_smirnov() {
            Ok(ks) => Computed {
                value: Some(ks.statistic),
                p_value: Some(ks.p_value),
                error_bound: Some(ks.error_bound),
                noise_floor: Some(ks.noise_floor),
                ..Computed::default()
            },
            Err(cause) => Computed {
                cause: Some(cause.to_string()),
                ..Computed::default()
            },
        },
    },
    DriftMeasure {
        measure: Measure::Chi2,
        needs_order: false,
        method: "Pearson's statistic of the two rows of counts, without correction",
        compute: |comparison| match comparison.chi2() {
            Some(chi2) => Computed {
                value: Some(chi2.statistic),
                p_value: Some(chi2.p_value),
                bins: Some(chi2.degrees_of_freedom + 1),
                ..Computed::default()
            },
            None => Computed {
                cause: Some("all values are in one bin".to_owned()),
                ..Computed::default()
            },
        },
    },
    DriftMeasure {
        measure: Measure::Hellinger,
        needs_order: false,
        method: "root of half the squared differences of the shares' roots",
        compute: |comparison| plain(comparison.hellinger(), comparison),
    },
    DriftMeasure {
        measure: Measure::TotalVariation,
        needs_order: false,
        method: "half the sum of the shares' differences",
        compute: |comparison| plain(comparison.total_variation(), comparison),
    },
    DriftMeasure {
        measure: Measure::LInfinity,
        needs_order: false,
        method: "largest difference of shares",
        compute: |comparison| plain(comparison.l_infinity(), comparison),
    },
];

fn plain(value: f64, comparison: &Comparison<'_>) -> Computed {
    Computed {
        value: Some(value),
        bins: Some(comparison.bins().len()),
        ..Computed::default()
    }
}

/// The measures there are.
pub fn all() -> impl Iterator<Item = Measure> {
    MEASURES.iter().map(|entry| entry.measure)
}

/// By what values are judged.
#[derive(Debug, Clone)]
pub(super) struct Judgement<'a> {
    pub(super) thresholds: &'a BTreeMap<Measure, f64>,
    pub(super) min_rows: u64,
}

/// A measure's value and how it stands.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) measure: Measure,
    pub(super) value: Option<f64>,
    pub(super) p_value: Option<f64>,
    pub(super) status: Status,
    pub(super) recipe: Recipe,
}

/// All measures of a feature in a group. `note` is added to the recipe of numeric features.
pub(super) fn compare(
    reference: &FeatureProfile,
    current: &FeatureProfile,
    grid: Option<&Grid>,
    judgement: &Judgement<'_>,
    note: Option<&str>,
) -> Vec<Measured> {
    let comparison = match Comparison::of(reference, current, grid) {
        Ok(comparison) => comparison,
        Err(cause) => return vec![insufficient(&cause.to_string())],
    };
    let numeric = reference.kind() == ProfileKind::Numeric;
    let bins = match (numeric, note) {
        (true, Some(note)) => format!("deciles of the reference ({note})"),
        (true, None) => "deciles of the reference".to_owned(),
        (false, _) => "union of categories".to_owned(),
    };
    let entries = MEASURES
        .iter()
        .filter(|entry| numeric || !entry.needs_order);
    entries
        .map(|entry| judge(entry, &comparison, &bins, judgement))
        .collect()
}

fn judge(
    entry: &DriftMeasure,
    comparison: &Comparison<'_>,
    bins: &str,
    judgement: &Judgement<'_>,
) -> Measured {
    let computed = (entry.compute)(comparison);
    let threshold = judgement.thresholds.get(&entry.measure).copied();
    let rows = comparison
        .current_values()
        .min(comparison.reference_values());
    let enough = rows >= judgement.min_rows;
    // A distance is drift only when it is beyond the threshold and beyond what chance alone would give.
    let status = match (computed.value, threshold) {
        (None, _) => Status::Insufficient,
        _ if !enough => Status::Insufficient,
        (Some(value), Some(threshold))
            if value > threshold && value > computed.noise_floor.unwrap_or(0.0) =>
        {
            Status::Drift
        }
        _ => Status::Ok,
    };
    let too_few = || format!("fewer than {} values", judgement.min_rows);
    let method = if entry.needs_order {
        entry.method.to_owned()
    } else {
        format!("{bins}; {}", entry.method)
    };
    Measured {
        measure: entry.measure,
        value: computed.value,
        p_value: computed.p_value,
        status,
        recipe: Recipe {
            method,
            bins: computed.bins,
            error_bound: computed.error_bound,
            noise_floor: computed.noise_floor,
            threshold,
            cause: computed.cause.or_else(|| (!enough).then(too_few)),
        },
    }
}

/// What stands for all measures where there is nothing to compare.
pub(super) fn insufficient(cause: &str) -> Measured {
    Measured {
        measure: Measure::Psi,
        value: None,
        p_value: None,
        status: Status::Insufficient,
        recipe: Recipe {
            method: "compared with the reference".to_owned(),
            cause: Some(cause.to_owned()),
            ..Recipe::default()
        },
    }
}
