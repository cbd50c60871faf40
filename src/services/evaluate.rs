//! Measuring windows: schema skew, drift, quality and traffic, per feature and segment.
//!
//! A window is measured when it is over, and again whenever something in it changes afterwards: late
//! predictions and labels raise the revision of their base window, and a monitor's window is measured as long
//! as the sum of its base windows' revisions is not the one it was measured at. Nothing else says what is to
//! be done, so a crash loses nothing and a lost nudge only costs time.

mod areas;
mod drift;
mod estimate;
mod history;
mod joint;
mod label_drift;
mod objective;
mod quality_monitor;
mod quality_reference;
mod renames;
mod repeats;
mod rows;
mod scene;
mod schema_skew;
mod sequential;
mod shift;
mod subject;
mod traffic;
mod volume;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use super::{Bounds, Error, Services, alerting, configuration, registry, schema_watch};
use crate::domain::definitions::{MonitorDef, MonitorKind};
use crate::domain::ids::{ModelId, VersionId};
use crate::domain::measurement::Measurement;
use crate::domain::model::Role;
use crate::domain::objective::SAID_ANEW_FOR;
use crate::domain::retention::{Kept, Marks};
use crate::domain::window::{Grain, Window};
use crate::storage::models::{self, Deployment, Model};
use crate::storage::windows::{self, AskedWindow, BaseWindow, MeasuredWindow};
use crate::storage::{measurements, partitions, retention};
use history::History;
use scene::Scene;
use subject::Subject;

/// How many models are measured side by side at most. Each takes a connection, and half of those there are stay
/// free for others.
const SIDE_BY_SIDE: u32 = 4;
/// How many windows of monitors one transaction measures at most. It holds the model's lock, so that settling waits
/// for it.
const WINDOWS_AT_ONCE: usize = 8;
/// Of how many windows it is asked at once whether something has changed.
const STANDINGS_AT_ONCE: usize = 1_000;

/// Measures every window that is due and has changed since it was measured. Returns the models of which
/// something was measured.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<Vec<ModelId>, Error> {
    let mut conn = services.pool.acquire().await?;
    let mut waiting = windows::models_pending(&mut conn, now).await?.into_iter();
    drop(conn);
    let connections = services.pool.options().get_max_connections();
    let most = (connections / 2).clamp(1, SIDE_BY_SIDE) as usize;
    let mut working = JoinSet::new();
    let mut measured = Vec::new();
    loop {
        let free = most - working.len();
        for model_id in waiting.by_ref().take(free) {
            let services = services.clone();
            working.spawn(async move {
                let windows = evaluate_model(&services, model_id, now).await?;
                Ok::<_, Error>((model_id, windows))
            });
        }
        let Some(done) = working.join_next().await else {
            break;
        };
        let (model_id, windows) = done.map_err(Error::internal)??;
        if windows > 0 {
            measured.push(model_id);
        }
    }
    Ok(measured)
}

/// A window of a monitor that is to be looked at: version, window, place of the monitor. In this order, so that
/// the monitors of one window come one after the other and read its profiles once.
type Due = (VersionId, Window, usize);

async fn evaluate_model(
    services: &Services,
    model_id: ModelId,
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    let mut conn = services.pool.acquire().await?;
    let Some(model) = models::get(&mut conn, model_id).await? else {
        return Ok(0);
    };
    let monitors = configuration::monitors(&mut conn, &model).await?;
    let deployments = models::deployments(&mut conn, model_id).await?;
    let pending = windows::pending(&mut conn, model_id).await?;
    let mut due = due_windows(&monitors, &deployments, &pending, now);
    due.extend(windows_referring(&mut conn, model_id, &monitors, &pending).await?);
    let lags = sequential::lags(&mut conn, model_id, &monitors).await?;
    let due = unless_measured(&mut conn, due, (&monitors, &lags), now).await?;
    let starts: Vec<DateTime<Utc>> = (due.iter())
        .flat_map(|(_, window, monitor)| {
            let is_objective = monitors[*monitor].kind == MonitorKind::Objective;
            let anew = is_objective.then(|| window.start - SAID_ANEW_FOR);
            anew.into_iter().chain([window.start])
        })
        .collect();
    partitions::ensure(&mut conn, Grain::Month, &starts).await?;
    drop(conn);
    crate::faults::crash_point("evaluate.read");

    let mut measured = 0;
    let mut schema_measured = BTreeSet::new();
    let mut is_current = true;
    for due in due.chunks(WINDOWS_AT_ONCE) {
        let mut tx = services.pool.begin().await?;
        is_current = registry::lock_model(&mut tx, model_id).await? == model
            && configuration::monitors(&mut tx, &model).await? == monitors;
        if !is_current {
            // Declared anew meanwhile. What is left stays pending, to be measured by that.
            break;
        }
        let of = (&model, monitors.as_slice(), deployments.as_slice());
        let of = (of, lags.as_slice());
        let windows = measure_windows(&mut tx, of, due, services.bounds, now).await?;
        measured += windows.len();
        schema_measured.extend(
            (windows.into_iter()).filter_map(|(version_id, _, monitor)| {
                (monitors[monitor].kind == MonitorKind::Schema).then_some((version_id, monitor))
            }),
        );
        crate::faults::crash_point("evaluate.before_commit");
        tx.commit().await?;
        crate::faults::crash_point("evaluate.after_commit");
    }
    for (version_id, monitor) in schema_measured {
        if is_champion(version_id, &deployments) {
            schema_watch::look(services, &model, version_id, &monitors[monitor], now).await?;
        }
    }
    if !is_current {
        return Ok(measured);
    }
    let mut conn = services.pool.acquire().await?;
    crate::faults::crash_point("evaluate.before_clear");
    let over = pending.into_iter().filter(|base| {
        let mut each = monitors.iter().zip(&lags);
        each.all(|(monitor, lag)| {
            let window = monitor.grain.window_at(base.window_start);
            window.end + *lag <= now && monitor.is_due(window, now)
        })
    });
    windows::clear_pending(&mut conn, &over.collect::<Vec<_>>()).await?;
    Ok(measured)
}

/// The windows to look at: those that are due and contain a changed base window; oldest first.
fn due_windows(
    monitors: &[MonitorDef],
    deployments: &[Deployment],
    pending: &[BaseWindow],
    now: DateTime<Utc>,
) -> BTreeSet<Due> {
    let mut due = BTreeSet::new();
    for base in pending {
        for (index, monitor) in monitors.iter().enumerate() {
            let window = match monitor.kind {
                // An objective speaks of the labels that are known by now, whatever window they belong to.
                MonitorKind::Objective => monitor.grain.window_at(now).previous(),
                _ => monitor.grain.window_at(base.window_start),
            };
            let is_watched = is_monitored(monitor.kind, base.version_id, deployments, window);
            if is_watched && monitor.is_due(window, now) {
                due.insert((base.version_id, window, index));
            }
        }
    }
    due
}

fn is_champion(version_id: VersionId, deployments: &[Deployment]) -> bool {
    deployments
        .iter()
        .any(|d| d.version_id == version_id && d.role == Role::Champion && d.ended_at.is_none())
}

/// Windows that have been measured against a part of the past in which something has changed since.
async fn windows_referring(
    conn: &mut PgConnection,
    model_id: ModelId,
    monitors: &[MonitorDef],
    pending: &[BaseWindow],
) -> Result<Vec<Due>, Error> {
    let mut referring = Vec::new();
    let changed: BTreeSet<DateTime<Utc>> = pending.iter().map(|base| base.window_start).collect();
    let Some(oldest) = changed.first() else {
        return Ok(referring);
    };
    for (index, monitor) in monitors.iter().enumerate() {
        let looks_back_by = monitor.looks_back_by();
        if monitor.against.is_none() && looks_back_by.is_none() {
            continue;
        }
        let measured = windows::measured_after(conn, model_id, &monitor.name, *oldest).await?;
        for (version_id, start) in measured {
            let window = monitor.grain.window_at(start);
            let parts = match monitor.against {
                Some(past) => past.parts(window),
                None => (looks_back_by.iter().map(|unit| unit.before(window))).collect(),
            };
            if parts
                .into_iter()
                .any(|part| changed.range(part.from..part.to).next().is_some())
            {
                referring.push((version_id, window, index));
            }
        }
    }
    Ok(referring)
}

/// Quality and traffic are measured of every version. Inputs are measured of those that answer users: a shadow
/// sees the same rows and would only say everything twice.
fn is_monitored(
    kind: MonitorKind,
    version_id: VersionId,
    deployments: &[Deployment],
    window: Window,
) -> bool {
    match kind {
        MonitorKind::Quality
        | MonitorKind::Objective
        | MonitorKind::Estimate
        | MonitorKind::Traffic => true,
        MonitorKind::Schema | MonitorKind::Drift => deployments.iter().any(|d| {
            d.version_id == version_id
                && answers_users(d.role)
                && d.ended_at.is_none_or(|ended| ended > window.start)
        }),
    }
}

fn answers_users(role: Role) -> bool {
    matches!(role, Role::Champion | Role::Canary)
}

/// Leaves out the windows that are as they were measured, where that is plain from their own rows and labels: those whose labels
/// are waited for are pending for as long, and each look at one takes the model's lock.
async fn unless_measured(
    conn: &mut PgConnection,
    due: BTreeSet<Due>,
    (monitors, lags): (&[MonitorDef], &[TimeDelta]),
    now: DateTime<Utc>,
) -> Result<Vec<Due>, Error> {
    let (plain, others): (Vec<Due>, Vec<Due>) =
        (due.into_iter()).partition(|(_, _, index)| is_of_its_own_rows(&monitors[*index]));
    let mut left = others;
    for plain in plain.chunks(STANDINGS_AT_ONCE) {
        let asked: Vec<AskedWindow<'_>> = (plain.iter()).map(|due| asked(due, monitors)).collect();
        let standings = windows::standings(conn, &asked).await?;
        let changed = plain.iter().zip(standings).filter(|(due, standing)| {
            let (_, window, index) = due;
            let revision = standing.totals.revision + age_in(*window, lags[*index], now);
            standing.measured != Some(revision)
        });
        left.extend(changed.map(|(due, _)| *due));
    }
    left.sort_unstable();
    Ok(left)
}

/// Whether a monitor measures a window of nothing but what is in it.
fn is_of_its_own_rows(monitor: &MonitorDef) -> bool {
    monitor.against.is_none()
        && monitor.looks_back_by().is_none()
        && monitor.kind != MonitorKind::Objective
}

/// What the age of a window's labels adds to its revision: they count once more when they are old enough to be held against the
/// baseline's.
fn age_in(window: Window, lag: TimeDelta, now: DateTime<Utc>) -> i64 {
    let are_old_enough = lag > TimeDelta::zero() && window.end + lag <= now;
    if are_old_enough { LABELS_OLD_ENOUGH } else { 0 }
}

fn asked<'a>((version_id, window, index): &Due, monitors: &'a [MonitorDef]) -> AskedWindow<'a> {
    let monitor = &monitors[*index];
    let looks_back_by = monitor.looks_back_by();
    AskedWindow {
        version_id: *version_id,
        monitor: &monitor.name,
        window: *window,
        since: looks_back_by.map_or(window.start, |unit| unit.before(*window).from),
    }
}

/// A model, its monitors, and where its versions are deployed.
type Watched<'a> = (&'a Model, &'a [MonitorDef], &'a [Deployment]);

/// What a monitor says of a window.
struct Said {
    window: Window,
    /// Whether it was said before: that is superseded.
    again: bool,
    values: Vec<Measurement>,
}

/// Added to the revision of a window whose labels are old enough to be held against the baseline's. More than revisions come
/// to, so that the two never make up for each other: a longer `labels_within` raises these by one, and takes this away.
const LABELS_OLD_ENOUGH: i64 = 1 << 40;

/// Measures what has changed of some windows; the caller holds the model's lock. Returns those that had.
async fn measure_windows(
    conn: &mut PgConnection,
    ((model, monitors, deployments), lags): (Watched<'_>, &[TimeDelta]),
    due: &[Due],
    bounds: Bounds,
    now: DateTime<Utc>,
) -> Result<Vec<Due>, Error> {
    let asked: Vec<AskedWindow<'_>> = due.iter().map(|due| asked(due, monitors)).collect();
    let standings = windows::standings(conn, &asked).await?;
    let marks = retention::marks(conn, model.project_id).await?;
    let mut scene = None;
    let mut values = Vec::new();
    let mut measured = Vec::new();
    let mut again = Vec::new();
    let mut changed = Vec::new();
    for ((version_id, window, index), standing) in due.iter().zip(standings) {
        let (version_id, window, monitor) = (*version_id, *window, &monitors[*index]);
        if is_gone(&marks, monitor, window) {
            continue;
        }
        let history = match monitor.against {
            Some(past) => {
                let of = (model, deployments, monitor.kind);
                Some(History::find(conn, of, version_id, (past, window)).await?)
            }
            None => None,
        };
        let of_past = match &history {
            Some(history) => history.revision,
            // Not their revisions: labels, which come for weeks, change nothing in it. A new grid or baseline raises
            // the revision of the window itself.
            None if monitor.looks_back_by().is_some() => standing.before,
            None if monitor.kind == MonitorKind::Objective => {
                let before = windows::totals(conn, version_id, DateTime::UNIX_EPOCH, window.start);
                before.await?.revision
            }
            None => age_in(window, lags[*index], now),
        };
        let revision = standing.totals.revision + of_past;
        if standing.measured == Some(revision) {
            continue;
        }
        let scene = match &mut scene {
            Some(scene) => scene,
            None => scene.insert(Scene::load(conn, model, deployments, bounds, now).await?),
        };
        let subject = Subject::of(scene, monitor, version_id, window, standing.totals, history);
        let is_again = standing.measured.is_some();
        let found = measure(conn, scene, &subject, is_again, &marks).await?;
        crate::faults::crash_point("evaluate.computed");
        for said in found {
            values.extend(said.values);
            if said.again {
                again.push((version_id, monitor.name.as_str(), said.window));
            }
            changed.push((version_id, said.window, *index));
            if said.window != window {
                measured.push(MeasuredWindow {
                    version_id,
                    monitor: &monitor.name,
                    window: said.window,
                    revision,
                });
            }
        }
        measured.push(MeasuredWindow {
            version_id,
            monitor: &monitor.name,
            window,
            revision,
        });
    }
    for place in &again {
        measurements::supersede(conn, *place, now).await?;
    }
    measurements::insert(conn, model.project_id, model.model_id, &values).await?;
    for place in again {
        alerting::late::annotate_resolved(conn, model, place, now).await?;
    }
    if !measured.is_empty() {
        windows::mark_measured(conn, model.project_id, model.model_id, &measured, now).await?;
    }
    Ok(changed)
}

/// Whether something that the monitor would measure the window from is gone. What was measured before stands: a value
/// of what is left would be another one under the same name.
fn is_gone(marks: &Marks, monitor: &MonitorDef, window: Window) -> bool {
    let is_of_labels = matches!(
        monitor.kind,
        MonitorKind::Quality | MonitorKind::Objective | MonitorKind::Estimate
    );
    let needs_rows = is_of_labels
        || (monitor.kind == MonitorKind::Drift && monitor.measures.iter().any(|m| m.is_of_rows()));
    marks.reaches_gone(Kept::Profiles, window.start)
        || marks.reaches_gone(Kept::Measurements, window.start)
        || (needs_rows && marks.reaches_gone(Kept::Raw, window.start))
}

/// What a monitor measures of a window, and an objective of those before it that labels came for; nothing where what was
/// said before (`again`) still holds.
async fn measure(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
    again: bool,
    marks: &Marks,
) -> Result<Vec<Said>, Error> {
    let (version_id, window) = (subject.version_id, subject.window);
    let values = match subject.monitor.kind {
        MonitorKind::Schema => {
            let current = scene.current(conn, version_id, window).await?;
            let reference = scene.baseline(conn, subject.baseline_id()).await?;
            let mut values = schema_skew::measure(subject, &current, &reference);
            values.extend(repeats::measure(conn, subject).await?);
            values
        }
        MonitorKind::Drift => {
            let mut values = drift::measure(conn, scene, subject).await?;
            if subject.monitor.watches_shift() {
                values.extend(shift::measure(conn, scene, subject).await?);
            }
            values.extend(joint::measure(conn, scene, subject).await?);
            values
        }
        MonitorKind::Quality => {
            let mut values = quality_monitor::measure(conn, subject).await?;
            if subject.monitor.watches_labels() {
                values.extend(sequential::measure(conn, scene, subject).await?);
            }
            values
        }
        MonitorKind::Objective => return objective::measure(conn, subject, again, marks).await,
        MonitorKind::Estimate => estimate::measure(conn, scene, subject).await?,
        MonitorKind::Traffic => {
            let mut values =
                traffic::measure(subject, &*scene.current(conn, version_id, window).await?);
            values.extend(volume::measure(conn, subject).await?);
            values
        }
    };
    Ok(vec![Said {
        window,
        again,
        values,
    }])
}

/// A count over a count; nothing when there is nothing to count.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share of rows needs no more than a double's digits"
)]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
