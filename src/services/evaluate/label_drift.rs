//! Drift of the labels themselves: those of a window against those of the baseline, by the measures of a feature.
//!
//! Labels come for days, and the early ones need not be like the rest. What is said of a window is of those that have come,
//! and is said anew as more come.

use sqlx::PgConnection;

use super::drift;
use super::subject::Subject;
use crate::domain::columns::{Column, Value};
use crate::domain::labelled::{LabelledSample, Truth};
use crate::domain::measurement::{Measure, Measurement, Segment};
use crate::domain::yardstick::FeatureYardstick;
use crate::services::Error;
use crate::services::baselines::GRID_CELLS;
use crate::services::labelled;
use crate::services::quality::QualityOutcome;
use crate::stats::grid::Grid;
use crate::stats::profile::FeatureProfile;
use crate::storage::labels;

/// What labels are called where features have names.
const LABEL: &str = "label";

/// The distances of the labels, over all rows. Nothing where the baseline has no labels, or none of the window's has come.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(Vec::new());
    };
    let window = subject.window;
    let outcomes = labels::outcomes(conn, subject.version_id, window.start, window.end).await?;
    let now: Vec<Value<'_>> = (outcomes.rows.into_iter())
        .filter_map(|outcome| QualityOutcome::of_stored(outcome).truth(subject.model))
        .map(label)
        .collect();
    if now.is_empty() {
        return Ok(Vec::new());
    }
    let Ok(reference) = labelled::load(conn, baseline_id).await? else {
        let overall = Segment::overall();
        let unknown = subject.unknown(&overall, LABEL, Measure::TotalVariation);
        return Ok(vec![unknown]);
    };
    if reference.rows.is_empty() {
        return Ok(Vec::new());
    }
    let of_labels = drift::chosen(subject)
        // A label that is missing may still come.
        .filter(|measure| *measure != Measure::MissingShareChange);
    let measures: Vec<Measure> = of_labels.collect();
    let (grid, profiles) = counted(reference, now)?;
    let overall = Segment::overall();
    let compared = drift::Compared {
        segment: &overall,
        feature: LABEL,
        reference: &profiles[0],
        current: &profiles[1],
        grid: grid.as_ref(),
    };
    Ok(drift::readings(subject, &compared, &measures))
}

/// Both sides on one grid, that of the baseline's labels.
fn counted(
    reference: LabelledSample,
    now: Vec<Value<'_>>,
) -> Result<(Option<Grid>, [FeatureProfile; 2]), Error> {
    let before: Vec<Value<'_>> = (reference.rows.into_iter())
        .map(|row| label(row.truth))
        .collect();
    let number = |value: &Value<'_>| match value {
        Value::Number(number) => Some(*number),
        _ => None,
    };
    let numbers: Vec<f64> = before.iter().filter_map(number).collect();
    let grid = (!numbers.is_empty()).then(|| Grid::fit(&numbers, GRID_CELLS));
    let yardstick = FeatureYardstick::new(None, grid.clone());
    let profile = |values: Vec<Value<'_>>| {
        let column = Column::of(LABEL, values);
        let rows: Vec<usize> = (0..column.len()).collect();
        yardstick.profile(&column, &rows).map_err(Error::internal)
    };
    Ok((grid, [profile(before)?, profile(now)?]))
}

fn label(truth: Truth) -> Value<'static> {
    match truth {
        Truth::Number { label, .. } => Value::Number(label),
        Truth::Binary { label, .. } => Value::Boolean(label),
        Truth::Class { label, .. } => Value::Text(label.into()),
    }
}
