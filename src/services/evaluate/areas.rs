//! Areas under the ROC curve by days: a day's area is computed once, when its labels are old enough, and stays in the recipe of its
//! measurement. Windows of up to four weeks are made from the recipes in force, so that no row is read twice, and
//! measuring a day again says of it what it said.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::scene::Scene;
use super::subject::Subject;
use crate::domain::area::{AreaRecipe, AreaWatch, DAYS_LOOKED_BACK, DayArea};
use crate::domain::labelled::{LabelledRow, LabelledSample};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::sequential::Readiness;
use crate::services::Error;
use crate::services::maturity;
use crate::storage::measurements::{self, Selection};

const MEASURE: Measure = Measure::RocAucChange;

/// What is said of a day, given the labelled rows of the baseline and its own.
pub(super) async fn said(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
    (sample, rows): (&LabelledSample, &[LabelledRow]),
) -> Result<Measurement, Error> {
    let within = subject.monitor.quality.labels_within_seconds;
    let watch = match AreaWatch::fit(sample, within.map(|seconds| seconds as f64)) {
        Ok(watch) => watch,
        Err(cannot) => {
            return Ok(subject.unsaid(MEASURE, Status::Insufficient, &cannot.to_string()));
        }
    };
    let blank = Measurement {
        reference: Some(watch.reference()),
        reference_rows: watch.reference_labels,
        ..subject.unsaid(MEASURE, Status::Insufficient, "")
    };
    let baseline = subject.baseline_id();
    let course = watch.course(&baseline.map_or_else(String::new, |id| id.0.to_string()));
    let mut days = known(conn, scene, subject, &course).await?;
    let window = subject.window;
    if !days.contains_key(&window.start) {
        let answered = maturity::answered(subject.totals);
        let readiness = watch.readiness(window, (answered, rows), subject.now);
        if let Readiness::Waiting(why) = readiness {
            let recipe = Recipe {
                cause: Some(why),
                ..blank.recipe
            };
            return Ok(Measurement { recipe, ..blank });
        }
        days.extend(watch.day(rows).map(|day| (window.start, day)));
    }
    let told = watch.told(&days, window, &course);
    if let Some(area) = &told.recipe.area {
        let place = (
            subject.version_id,
            subject.monitor.name.clone(),
            window.start,
        );
        scene.areas.insert(place, area.clone());
    }
    let of_day = days.get(&window.start);
    Ok(Measurement {
        value: told.value,
        interval: told.interval,
        p_value: told.p_value,
        status: told.status,
        current_rows: of_day.map_or(0, |day| day.positives + day.negatives),
        reference: blank.reference,
        reference_rows: blank.reference_rows,
        baseline_id: baseline,
        recipe: Recipe {
            reference: subject.fitted_reference(),
            ..told.recipe
        },
        ..subject.blank(&Segment::overall(), "", MEASURE)
    })
}

/// The days up to the window, itself among them, that were held against the same.
async fn known(
    conn: &mut PgConnection,
    scene: &Scene<'_>,
    subject: &Subject<'_>,
    course: &str,
) -> Result<BTreeMap<DateTime<Utc>, DayArea>, Error> {
    let from = subject.window.start - TimeDelta::days(DAYS_LOOKED_BACK - 1);
    let measures = [MEASURE.as_str().to_owned()];
    let selection = Selection {
        version_id: Some(subject.version_id),
        monitor: Some(&subject.monitor.name),
        measures: Some(&measures),
        overall_only: true,
        from: Some(from),
        to: Some(subject.window.end),
        ..Selection::default()
    };
    let stored =
        measurements::in_force(conn, subject.model.model_id, selection, DAYS_LOOKED_BACK).await?;
    let stored = stored.into_iter().filter_map(|mut measured| {
        let recipe = measured.recipe.get_mut("area")?.take();
        match serde_json::from_value::<AreaRecipe>(recipe) {
            Ok(recipe) => Some((measured.window.start, recipe)),
            Err(error) => {
                tracing::error!(window = %measured.window.start, %error, "the area of a day cannot be read; it is left out");
                None
            }
        }
    });
    let place = |at| (subject.version_id, subject.monitor.name.clone(), at);
    let fresh = scene
        .areas
        .range(place(from)..place(subject.window.end))
        .map(|((_, _, at), recipe)| (*at, recipe.clone()));
    Ok(stored
        .chain(fresh)
        .filter(|(_, recipe)| recipe.course == course)
        .filter_map(|(at, recipe)| Some((at, recipe.day?)))
        .collect())
}
