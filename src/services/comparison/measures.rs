//! The measures of drift that two files are compared by.

use std::collections::BTreeMap;

use crate::domain::drift::{Judged, is_of_the_profiles};
use crate::domain::measurement::{Measure, Recipe, Status};
use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, ProfileKind};
use crate::stats::{DriftMeasure, Readings};

/// In the order they are written in. The others of the service would tell a reader little more.
const MEASURES: [Measure; 8] = [
    Measure::Psi,
    Measure::JensenShannon,
    Measure::KolmogorovSmirnov,
    Measure::Wasserstein,
    Measure::Chi2,
    Measure::Hellinger,
    Measure::TotalVariation,
    Measure::LInfinity,
];

/// The measures there are, those of samples of rows and of quality among them.
pub fn all() -> impl Iterator<Item = Measure> {
    let of_quality = Measure::ALL.iter().copied();
    let of_quality =
        of_quality.filter(|measure| measure.is_quality() || *measure == Measure::LabelCoverage);
    MEASURES
        .into_iter()
        .chain(super::rows::measures())
        .chain(of_quality)
}

/// By what values are judged.
#[derive(Debug, Clone)]
pub(super) struct Judgement<'a> {
    pub(super) thresholds: &'a BTreeMap<Measure, f64>,
    pub(super) min_rows: u64,
}

/// All measures of a feature in a group. `note` is added to the recipes of numeric features: deciles are edges of
/// the grid, too, so there is no measure it does not concern.
pub(super) fn compare(
    reference: &FeatureProfile,
    current: &FeatureProfile,
    grid: Option<&Grid>,
    judgement: &Judgement<'_>,
    note: Option<&str>,
) -> Vec<Judged> {
    let readings = Readings::of(reference, current, grid);
    let numeric = reference.kind() == ProfileKind::Numeric;
    let note = note.filter(|_| numeric);
    let mut judged = Vec::with_capacity(MEASURES.len());
    for measure in MEASURES {
        let Some(drift) = measure.drift() else {
            continue;
        };
        if !numeric && DriftMeasure::needs_order(drift) {
            continue;
        }
        match readings.read(drift) {
            Ok(reading) => {
                let threshold = judgement.thresholds.get(&measure).copied();
                judged.push(Judged::of(measure, &reading, threshold, judgement.min_rows));
            }
            Err(cause) if is_of_the_profiles(cause) => {
                return vec![insufficient(&cause.to_string())];
            }
            Err(cause) => judged.push(Judged {
                measure,
                ..insufficient(&cause.to_string())
            }),
        }
    }
    if let Some(note) = note {
        for judged in &mut judged {
            judged.recipe.method = format!("{}; {note}", judged.recipe.method);
        }
    }
    judged
}

/// What stands for all measures where there is nothing to compare.
pub(super) fn insufficient(cause: &str) -> Judged {
    Judged {
        measure: Measure::Psi,
        value: None,
        interval: None,
        p_value: None,
        status: Status::Insufficient,
        recipe: Recipe {
            method: "compared with the reference".to_owned(),
            cause: Some(cause.to_owned()),
            ..Recipe::default()
        },
    }
}
