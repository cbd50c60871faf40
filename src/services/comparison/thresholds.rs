//! Whether what has a threshold is measured. A threshold that nothing is held against would look like a check that passed,
//! so its measure is measured, too, or the comparison ends with what it would take.

use super::error::ComparisonError;
use super::{Comparison, Request};
use crate::domain::measurement::{Better, Measure};
use crate::domain::model::Task;
use crate::domain::quality::QualityChoice;
use crate::domain::row_measures::About;
use crate::stats::DriftMeasure;

/// Whether a measure can only be told where it is known what the predictions are.
#[must_use]
pub fn needs_task(measure: Measure) -> bool {
    measure.is_quality() || measure == Measure::LabelCoverage
}

/// Where no task is known: nothing may have been asked for that needs one.
///
/// # Errors
/// When a threshold is of quality, or quality is to be held against the reference's.
pub(super) fn without_task(request: &Request) -> Result<(), ComparisonError> {
    let cause = "say what the predictions are, with --task or --model";
    let mut of_quality = request.thresholds.keys().filter(|m| needs_task(**m));
    if let Some(measure) = of_quality.next() {
        return Err(not_measured(*measure, cause));
    }
    if request.quality_by_reference {
        return Err(unjudged(cause));
    }
    Ok(())
}

/// Has the measures of quality that have a threshold measured beside those that are chosen.
///
/// # Errors
/// When models of the task do not have a measure, or what it needs was not named.
pub(super) fn add_to(
    choice: &mut QualityChoice,
    task: Task,
    request: &Request,
) -> Result<(), ComparisonError> {
    let known = [Measure::of_quality(task), Measure::detailed_quality(task)].concat();
    let mut measures = choice.measures(task).to_vec();
    let asked = request.thresholds.keys().copied();
    for measure in asked.filter(|measure| measure.is_quality()) {
        if !known.contains(&measure) {
            let cause = format!("models of the task {} do not have it", task.as_str());
            return Err(not_measured(measure, &cause));
        }
        if measure.is_of_groups() && choice.groups.is_empty() {
            let of_model = request.model.iter().flat_map(|model| &model.segments);
            choice.groups = request.segments.iter().chain(of_model).cloned().collect();
            if choice.groups.is_empty() {
                let cause = "it compares groups of people: name the column that tells them apart with --segment";
                return Err(not_measured(measure, cause));
            }
        }
        if measure == Measure::ValuePerPrediction && choice.values.is_none() {
            let cause = "it needs what predictions are worth: the `values` of a quality monitor in the file of --model";
            return Err(not_measured(measure, cause));
        }
        if !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    choice.measures = measures;
    Ok(())
}

/// That everything with a threshold was measured, and that quality can be held against the reference's where it is to be.
///
/// # Errors
/// For the first measure that was not, with what it would take.
pub(super) fn check(request: &Request, comparison: &Comparison) -> Result<(), ComparisonError> {
    let of_features = comparison.measurements.iter().map(|m| m.measure);
    let of_quality = comparison.quality.iter().map(|m| m.measure);
    let measured: Vec<Measure> = of_features.chain(of_quality).collect();
    let mut asked = request.thresholds.keys();
    if let Some(measure) = asked.find(|measure| !measured.contains(measure)) {
        return Err(not_measured(*measure, why_not(*measure)));
    }
    let has_both = comparison.quality.iter().any(|m| {
        let has_side = m.measure.better() != Better::Neither;
        has_side && m.interval.is_some() && m.reference_interval.is_some()
    });
    if request.quality_by_reference && !has_both {
        return Err(unjudged(
            "there is no measure of both files with its interval, for which both need predictions with labels; name what to go by \
             with --threshold, such as --threshold accuracy=0.9",
        ));
    }
    Ok(())
}

/// Why these files have no such measurement.
fn why_not(measure: Measure) -> &'static str {
    let is_about = |about: About| about.measures().contains(&measure);
    if measure.is_quality() {
        "the current file has no prediction with a label that it could be measured of"
    } else if is_about(About::Text) {
        "it is measured of texts, and no column of both files has these"
    } else if is_about(About::Dates) {
        "it is measured of dates, and no column of both files has these"
    } else if is_about(About::Attributions) {
        "it is measured of attributions, and the files do not have two columns of these in common"
    } else if measure.is_of_rows() {
        "it is measured of vectors, and no column of both files has these"
    } else if measure.drift().is_some_and(DriftMeasure::needs_order) {
        "it is measured of numbers, and no column of both files has these"
    } else {
        "no column of both files can be measured by it"
    }
}

fn not_measured(measure: Measure, cause: &str) -> ComparisonError {
    ComparisonError::NotMeasured {
        measure,
        cause: cause.to_owned(),
    }
}

fn unjudged(cause: &str) -> ComparisonError {
    ComparisonError::QualityUnjudged {
        cause: cause.to_owned(),
    }
}
