//! Objectives: the labels that are known by the end of a window, by when they were observed.
//!
//! The labels of a base window are counted when it has changed and put in the place of earlier counts, so that each counts
//! once, as it is now, whatever was corrected; a damaged count is made again. Labels that come late are of windows that
//! were over before: all of these, back to the first step in which labels have changed, are judged anew together with the
//! last one, in the transaction that counts them. Nothing else knows that they are to be judged.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::subject::Subject;
use super::{Said, is_gone};
use crate::domain::measurement::{Measure, Measurement, Segment, Status};
use crate::domain::objective::{
    ObjectiveChoice, ObservedCounts, SAID_ANEW_FOR, Told, is_news, judged, labels_per_second,
    look_back,
};
use crate::domain::retention::Marks;
use crate::domain::window::Window;
use crate::services::Error;
use crate::services::quality::QualityOutcome;
use crate::storage::labels::{self, Outcome};
use crate::storage::measurements::{self, Selection};
use crate::storage::objectives::{self, StoredCounts};

/// Labels of predictions that are older are not looked for.
const OLDEST: TimeDelta = TimeDelta::days(400);
/// Values of the windows that are said anew: three for each hour are fewer.
const VALUES: i64 = 1_000;
/// What the rate of labels is taken from.
const RATE_SPAN: TimeDelta = TimeDelta::days(28);

/// What the objective says of the window, which is the last that is over, and of those before it in which labels were observed
/// that have come or changed since, the oldest first. Nothing of the window where it was said before (`again`) and no label
/// that was observed by its end has changed: labels come all the time, and most of them are of the present.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    again: bool,
    marks: &Marks,
) -> Result<Vec<Said>, Error> {
    let Some(choice) = &subject.monitor.objective else {
        return Ok(Vec::new());
    };
    let changed_at = count_changed(conn, subject, choice).await?;
    let windows = to_say(subject, changed_at, again, marks);
    let Some(first) = windows.first() else {
        return Ok(Vec::new());
    };
    let recent = observed(conn, subject, choice, first.end - RATE_SPAN).await?;
    let backs = windows.iter().map(|window| {
        let seconds = look_back(choice, labels_per_second(&recent, window.end));
        TimeDelta::seconds(seconds as i64)
    });
    let back = backs.max().unwrap_or(RATE_SPAN);
    let counts = if back > RATE_SPAN {
        observed(conn, subject, choice, first.end - back).await?
    } else {
        recent
    };
    let known = known(conn, subject, first.start).await?;
    let mut said = Vec::new();
    for window in windows {
        let told = judged(choice, &counts, window);
        let is_known = |told: &Told| known.contains_key(&(window.start, told.measure));
        let is_again = if window == subject.window {
            again
        } else {
            told.iter().any(is_known)
        };
        let news = |told: &Told| {
            let before = known.get(&(window.start, told.measure));
            before.is_none_or(|before| is_news(*before, told))
        };
        if window == subject.window || told.iter().any(news) {
            said.push(Said {
                window,
                again: is_again,
                values: told
                    .into_iter()
                    .map(|told| value(subject, window, told))
                    .collect(),
            });
        }
    }
    Ok(said)
}

fn value(subject: &Subject<'_>, window: Window, told: Told) -> Measurement {
    Measurement {
        window,
        value: told.value,
        interval: told.interval,
        p_value: told.p_value,
        status: told.status,
        current_rows: told.labels,
        recipe: told.recipe,
        ..subject.blank(&Segment::overall(), "", told.measure)
    }
}

/// Counts the labels of the base windows that have changed; returns since when other labels were observed than were counted
/// before.
async fn count_changed(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    choice: &ObjectiveChoice,
) -> Result<Option<DateTime<Utc>>, Error> {
    let end = subject.window.end;
    let of = (subject.version_id, subject.monitor.name.as_str());
    let course = choice.course();
    let mut changed_at = None;
    for stale in objectives::stale(conn, of, &course, (end - OLDEST, end)).await? {
        let counts = count(conn, subject, choice, (stale.window_start, stale.revision)).await?;
        let before = stale
            .counts
            .and_then(|stored| ObservedCounts::decode(&stored).ok());
        let differs_at = counts.first_difference(&before.unwrap_or_default());
        changed_at = changed_at.into_iter().chain(differs_at).min();
    }
    Ok(changed_at)
}

/// The windows that end after the change, and not too long ago to be said anew; the last one also where it was never said.
fn to_say(
    subject: &Subject<'_>,
    changed_at: Option<DateTime<Utc>>,
    again: bool,
    marks: &Marks,
) -> Vec<Window> {
    let last = subject.window;
    let is_changed = |window: &Window| changed_at.is_some_and(|at| at < window.end);
    let mut windows = Vec::new();
    if !again || is_changed(&last) {
        windows.push(last);
    }
    let mut window = last.previous();
    while is_changed(&window)
        && window.end + SAID_ANEW_FOR > subject.now
        && !is_gone(marks, subject.monitor, window)
    {
        windows.push(window);
        window = window.previous();
    }
    windows.reverse();
    windows
}

/// Status and labels of what is in force of the windows from then on.
async fn known(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    from: DateTime<Utc>,
) -> Result<BTreeMap<(DateTime<Utc>, Measure), (Status, u64)>, Error> {
    let selection = Selection {
        version_id: Some(subject.version_id),
        monitor: Some(&subject.monitor.name),
        from: Some(from),
        to: Some(subject.window.start),
        overall_only: true,
        ..Selection::default()
    };
    let stored = measurements::in_force(conn, subject.model.model_id, selection, VALUES).await?;
    let known = stored.into_iter().filter_map(|stored| {
        let measure = stored.measure.parse().ok()?;
        Some((
            (stored.window.start, measure),
            (stored.status, stored.current_rows),
        ))
    });
    Ok(known.collect())
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
    let span = (window.start, window.end);
    let add = |outcome: Outcome| {
        let observed_at = outcome.predicted_at
            + TimeDelta::milliseconds((outcome.lag_seconds * 1000.0).round() as i64);
        let truth = QualityOutcome::of_stored(outcome).truth(subject.model);
        if let Some(wrong) = truth.and_then(|truth| truth.is_wrong(choice.right_within)) {
            counts.push(observed_at, wrong);
        }
    };
    labels::each_outcome(conn, subject.version_id, span, add).await?;
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
