//! Detectors of labels: a window is taken in once, when the labels that come within the lag are there.
//!
//! What was taken in is kept window by window with the state after it, in the same transaction as the value that says so and
//! under the model's lock. So a crash takes in nothing or everything, of two replicas one comes second and finds the
//! window taken, and measuring a window again says what it said, whatever has come since.

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::areas;
use super::scene::Scene;
use super::subject::Subject;
use crate::domain::definitions::MonitorDef;
use crate::domain::ids::ModelId;
use crate::domain::labelled::LabelledRow;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::sequential::{
    Readiness, SequentialState, Taken, WINDOWS_LOOKED_BACK, Watch, losses_of,
};
use crate::services::labelled::all_of_window;
use crate::services::{Error, maturity};
use crate::storage::labelled;
use crate::storage::sequential::{self, StoredCohort};

/// How long after the end of their windows the monitors' detectors wait for labels; nothing for monitors without any.
pub(super) async fn lags(
    conn: &mut PgConnection,
    model_id: ModelId,
    monitors: &[MonitorDef],
) -> Result<Vec<TimeDelta>, Error> {
    let known = if monitors.iter().any(MonitorDef::watches_labels) {
        labelled::lags(conn, model_id).await?
    } else {
        Vec::new()
    };
    let lag = |monitor: &MonitorDef| {
        let take = monitor.labels_take(&known);
        take.filter(|_| monitor.watches_labels())
            .unwrap_or_default()
    };
    Ok(monitors.iter().map(lag).collect())
}

/// What the monitor's detectors say of the window.
pub(super) async fn measure(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let choice = &subject.monitor.quality;
    let chosen = || {
        choice
            .measures
            .iter()
            .copied()
            .filter(|measure| measure.is_of_label_detector())
    };
    let all = |status: Status, cause: &str| -> Vec<Measurement> {
        chosen()
            .map(|measure| subject.unsaid(measure, status, cause))
            .collect()
    };
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(all(Status::Insufficient, "the baseline is not fitted yet"));
    };
    if subject.is_of_reference() {
        return Ok(all(
            Status::Insufficient,
            "the window is part of the reference",
        ));
    }
    let sample = match scene.labelled(conn, baseline_id).await? {
        Ok(sample) => sample,
        Err(cause) => return Ok(all(Status::Insufficient, cause)),
    };
    let span = (subject.window.start, subject.window.end);
    let rows = all_of_window(conn, subject.model, subject.version_id, span).await?;
    let within = choice.labels_within_seconds.map(|seconds| seconds as f64);
    let mut values = Vec::new();
    for measure in chosen() {
        if measure == Measure::RocAucChange {
            values.push(areas::said(conn, scene, subject, (&sample, &rows)).await?);
            continue;
        }
        let fitted = Watch::fit(
            measure,
            &choice.sequential,
            &sample,
            subject.monitor.grain,
            within,
        );
        values.push(match fitted {
            Ok(watch) => said(conn, subject, &watch, &rows).await?,
            Err(cannot) => subject.unsaid(measure, Status::Insufficient, &cannot.to_string()),
        });
    }
    Ok(values)
}

async fn said(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    watch: &Watch,
    rows: &[LabelledRow],
) -> Result<Measurement, Error> {
    let measure = watch.measure;
    let of = (
        subject.version_id,
        subject.monitor.name.as_str(),
        measure.as_str(),
    );
    let baseline = subject
        .baseline_id()
        .map_or_else(String::new, |id| id.0.to_string());
    let course = watch.course(&baseline);
    sequential::forget_others(conn, of, &course).await?;
    let place = sequential::place_of(conn, of, subject.window.start).await?;
    let mut taken = sequential::taken(conn, of, place, WINDOWS_LOOKED_BACK).await?;
    let mut state = sound_state(conn, subject, watch, &taken).await?;
    if place.is_none() {
        let losses = losses_of(watch, rows.iter());
        let counts = (maturity::answered(subject.totals), losses.len() as u64);
        if let Readiness::Waiting(why) = watch.readiness(subject.window, counts, subject.now) {
            return Ok(Measurement {
                reference: Some(watch.reference()),
                current_rows: counts.1,
                reference_rows: watch.reference_labels,
                ..subject.unsaid(measure, Status::Insufficient, &why)
            });
        }
        let earlier = windows(&taken);
        let next = match watch.take(state.as_ref(), &earlier, subject.window, &losses) {
            Ok(next) => next,
            Err(error) => return Ok(subject.unsaid(measure, Status::Error, &error.to_string())),
        };
        let cohort = StoredCohort {
            window_start: subject.window.start,
            window_end: subject.window.end,
            place: taken.last().map_or(1, |last| last.place + 1),
            labels: losses.len() as u64,
            losses: losses.iter().sum(),
            state: next.encode(),
        };
        let model = (subject.model.project_id, subject.model.model_id);
        sequential::insert(conn, model, of, &course, &cohort, subject.now).await?;
        taken.push(cohort);
        state = Some(next);
    }
    Ok(match state {
        Some(state) => told(subject, watch, &taken, &state),
        None => subject.unsaid(measure, Status::Insufficient, "no window was taken in yet"),
    })
}

fn windows(taken: &[StoredCohort]) -> Vec<Taken> {
    let of = |cohort: &StoredCohort| Taken {
        start: cohort.window_start,
        end: cohort.window_end,
        labels: cohort.labels,
        losses: cohort.losses,
    };
    taken.iter().map(of).collect()
}

fn told(
    subject: &Subject<'_>,
    watch: &Watch,
    taken: &[StoredCohort],
    state: &SequentialState,
) -> Measurement {
    let unit = if watch.measure == Measure::LossSequential {
        subject.model.unit.as_str()
    } else {
        ""
    };
    let mut told = watch.told(&windows(taken), state, unit);
    // An alarm holds after however few labels; that there is none says something after enough of them.
    let min_labels = subject.monitor.min_rows;
    if told.status == Status::Ok && state.labels() < min_labels {
        told.status = Status::Insufficient;
        told.recipe.cause = Some(format!("fewer than {min_labels} labels"));
    }
    Measurement {
        value: told.value,
        interval: told.interval,
        reference: Some(watch.reference()),
        status: told.status,
        current_rows: taken.last().map_or(0, |last| last.labels),
        reference_rows: watch.reference_labels,
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            reference: subject.fitted_reference(),
            ..told.recipe
        },
        ..subject.blank(&Segment::overall(), "", watch.measure)
    }
}

/// The state after the last of the windows. Damaged ones are made again from the labels of their windows, beginning with the
/// last that is sound.
async fn sound_state(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    watch: &Watch,
    taken: &[StoredCohort],
) -> Result<Option<SequentialState>, Error> {
    let of = (
        subject.version_id,
        subject.monitor.name.as_str(),
        watch.measure.as_str(),
    );
    let mut state = None;
    let mut sound = 0;
    for (place, cohort) in taken.iter().enumerate().rev() {
        match SequentialState::decode(&cohort.state) {
            Ok(read) => {
                state = Some(read);
                sound = place + 1;
                break;
            }
            Err(error) => {
                tracing::error!(window = %cohort.window_start, %error, "the state of a detector is damaged; it is made again");
            }
        }
    }
    for place in sound..taken.len() {
        let cohort = &taken[place];
        let span = (cohort.window_start, cohort.window_end);
        let rows = all_of_window(conn, subject.model, subject.version_id, span).await?;
        let losses = losses_of(watch, rows.iter());
        let window = subject.monitor.grain.window_at(cohort.window_start);
        let next = watch
            .take(state.as_ref(), &windows(&taken[..place]), window, &losses)
            .map_err(Error::internal)?;
        sequential::mend(conn, of, cohort.place, &next.encode()).await?;
        state = Some(next);
    }
    Ok(state)
}
