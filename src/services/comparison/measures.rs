//! The measures of drift that two files are compared by.

use crate::domain::drift::{Gates, Judged};
use crate::domain::measurement::{Measure, Recipe, Status};
use crate::stats::grid::Grid;
use crate::stats::profile::{FeatureProfile, ProfileKind};
use crate::stats::{DriftMeasure, Readings};

/// Those that every feature has, in the order they are written in.
const USUAL: [Measure; 9] = [
    Measure::Psi,
    Measure::JensenShannon,
    Measure::KolmogorovSmirnov,
    Measure::Wasserstein,
    Measure::Chi2,
    Measure::Hellinger,
    Measure::TotalVariation,
    Measure::LInfinity,
    Measure::MissingShareChange,
];

/// The measures of single features by their counts: the usual ones, and those that have to be asked for.
fn of_profiles() -> impl Iterator<Item = Measure> {
    let others = Measure::ALL.iter().copied();
    let others = others.filter(|measure| measure.drift().is_some() && !USUAL.contains(measure));
    USUAL.into_iter().chain(others)
}

/// The measures there are, those of samples of rows and of quality among them.
pub fn all() -> impl Iterator<Item = Measure> {
    let of_quality = Measure::ALL.iter().copied();
    let of_quality =
        of_quality.filter(|measure| measure.is_quality() || *measure == Measure::LabelCoverage);
    of_profiles()
        .chain(super::rows::measures())
        .chain(of_quality)
}

/// Those by which features are compared: the usual ones, and of the others those that a monitor or a threshold asks for.
pub(super) fn chosen<'a>(asked: impl Iterator<Item = &'a Measure>) -> Vec<Measure> {
    let asked: Vec<&Measure> = asked.collect();
    of_profiles()
        .filter(|measure| USUAL.contains(measure) || asked.contains(&measure))
        .collect()
}

/// By what values are judged.
#[derive(Debug, Clone)]
pub(super) struct Judgement<'a> {
    pub(super) measures: Vec<Measure>,
    pub(super) gates: Gates<'a>,
}

impl Judgement<'_> {
    /// The measures of such a feature: categories have no order.
    fn measures_of(&self, kind: ProfileKind) -> impl Iterator<Item = (Measure, DriftMeasure)> {
        let numeric = kind == ProfileKind::Numeric;
        let measures = self.measures.iter();
        let measures = measures.filter_map(|measure| Some((*measure, measure.drift()?)));
        measures.filter(move |(_, drift)| numeric || !drift.needs_order())
    }

    /// What stands for the measures of a feature where there is nothing to compare.
    pub(super) fn nothing(&self, kind: ProfileKind, status: Status, cause: &str) -> Vec<Judged> {
        let measures = self.measures_of(kind);
        measures
            .map(|(measure, _)| without_value(measure, status, cause))
            .collect()
    }
}

/// All measures of a feature in a group. `note` is added to the recipes of numeric features: deciles are edges of
/// the grid, too, so there is no measure of values it does not concern.
pub(super) fn compare(
    reference: &FeatureProfile,
    current: &FeatureProfile,
    grid: Option<&Grid>,
    judgement: &Judgement<'_>,
    note: Option<&str>,
) -> Vec<Judged> {
    let readings = Readings::of(reference, current, grid);
    let by_chance = readings.by_chance();
    let note = note.filter(|_| reference.kind() == ProfileKind::Numeric);
    let measures = judgement.measures_of(reference.kind());
    measures
        .map(|(measure, drift)| {
            let mut judged = match readings.read(drift) {
                Ok(reading) => Judged::of_feature(measure, &reading, by_chance, &judgement.gates),
                Err(cause) => without_value(measure, Status::Insufficient, &cause.to_string()),
            };
            if let Some(note) = note.filter(|_| drift != DriftMeasure::MissingShareChange) {
                judged.recipe.method = format!("{}; {note}", judged.recipe.method);
            }
            judged
        })
        .collect()
}

fn without_value(measure: Measure, status: Status, cause: &str) -> Judged {
    Judged {
        measure,
        value: None,
        interval: None,
        p_value: None,
        status,
        recipe: Recipe {
            method: "compared with the reference".to_owned(),
            cause: Some(cause.to_owned()),
            ..Recipe::default()
        },
    }
}
