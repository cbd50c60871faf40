//! Objectives: the labels that are known by the end of a window, by when they were observed.
//!
//! The labels of a base window are counted when it has changed and put in the place of earlier counts, so that each counts
//! once, as it is now, whatever was corrected; a damaged count is made again. A window is said anew only while it is the
//! last that is over: what an objective said at the time stays.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::subject::Subject;
use crate::domain::measurement::{Measurement, Segment};
use crate::domain::objective::{
    ObjectiveChoice, ObservedCounts, judged, labels_per_second, look_back,
};
use crate::services::Error;
use crate::services::quality::QualityOutcome;
use crate::storage::labels;
use crate::storage::objectives::{self, StoredCounts};

/// Labels of predictions that are older are not looked for.
const OLDEST: TimeDelta = TimeDelta::days(400);
/// What the rate of labels is taken from.
const RATE_SPAN: TimeDelta = TimeDelta::days(28);

/// What the objective says of the window; nothing where it was said before (`again`) and no label that was observed by its
/// end has come or changed since. Labels come all the time, and most of them are of the present.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    again: bool,
) -> Result<Option<Vec<Measurement>>, Error> {
    let Some(choice) = &subject.monitor.objective else {
        return Ok(None);
    };
    let end = subject.window.end;
    let of = (subject.version_id, subject.monitor.name.as_str());
    let course = choice.course();
    let mut changed = !again;
    for stale in objectives::stale(conn, of, &course, (end - OLDEST, end)).await? {
        let counts = count(conn, subject, choice, (stale.window_start, stale.revision)).await?;
        let before = stale
            .counts
            .and_then(|stored| ObservedCounts::decode(&stored).ok());
        changed |= before.unwrap_or_default().until(end) != counts.until(end);
    }
    if !changed {
        return Ok(None);
    }
    let recent = observed(conn, subject, choice, end - RATE_SPAN).await?;
    let seconds = look_back(choice, labels_per_second(&recent, end));
    let back = TimeDelta::seconds(seconds as i64);
    let counts = if back > RATE_SPAN {
        observed(conn, subject, choice, end - back).await?
    } else {
        recent
    };
    let told = judged(choice, &counts, subject.window).into_iter();
    let values = told.map(|told| Measurement {
        value: told.value,
        interval: told.interval,
        p_value: told.p_value,
        status: told.status,
        current_rows: told.labels,
        recipe: told.recipe,
        ..subject.blank(&Segment::overall(), "", told.measure)
    });
    Ok(Some(values.collect()))
}

/// Counts the labels of a base window and keeps the counts.
async fn count(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    choice: &ObjectiveChoice,
    (window_start, revision): (DateTime<Utc>, i64),
) -> Result<ObservedCounts, Error> {
    let window = subject.model.base_window.window_at(window_start);
    let mut counts = ObservedCounts::default();
    for outcome in labels::outcomes(conn, subject.version_id, window.start, window.end).await? {
        let observed_at = outcome.predicted_at
            + TimeDelta::milliseconds((outcome.lag_seconds * 1000.0).round() as i64);
        let truth = QualityOutcome::of_stored(outcome).truth(subject.model);
        if let Some(wrong) = truth.and_then(|truth| truth.is_wrong(choice.right_within)) {
            counts.push(observed_at, wrong);
        }
    }
    let stored = StoredCounts {
        window_start,
        revision,
        last_observed_at: counts.last_observed_at().unwrap_or(window_start),
        counts: counts.encode(),
    };
    let model = (subject.model.project_id, subject.model.model_id);
    let of = (subject.version_id, subject.monitor.name.as_str());
    objectives::put(conn, model, of, &choice.course(), &stored).await?;
    Ok(counts)
}

/// The labels that were observed since, of all predictions before the end of the window.
async fn observed(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    choice: &ObjectiveChoice,
    since: DateTime<Utc>,
) -> Result<ObservedCounts, Error> {
    let of = (subject.version_id, subject.monitor.name.as_str());
    let mut all = ObservedCounts::default();
    for stored in objectives::observed_since(conn, of, since, subject.window.end).await? {
        match ObservedCounts::decode(&stored.counts) {
            Ok(counts) => all.merge(&counts),
            Err(error) => {
                tracing::error!(window = %stored.window_start, %error, "the labels of a window are damaged; they are counted again");
                all.merge(
                    &count(
                        conn,
                        subject,
                        choice,
                        (stored.window_start, stored.revision),
                    )
                    .await?,
                );
            }
        }
    }
    Ok(all)
}
