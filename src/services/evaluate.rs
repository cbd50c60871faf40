//! Measuring windows: schema skew, drift, quality and traffic, per feature and segment.
//!
//! A window is measured when it is over, and again whenever something in it changes afterwards: late
//! predictions and labels raise the revision of their base window, and a monitor's window is measured as long
//! as the sum of its base windows' revisions is not the one it was measured at. Nothing else says what is to
//! be done, so a crash loses nothing and a lost nudge only costs time.

mod drift;
mod quality_monitor;
mod rows;
mod schema_skew;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::profiling::{LATENCY, Yardstick};
use super::{Bounds, Error, Services, alerting, configuration, recount};
use crate::domain::definitions::{MonitorDef, MonitorKind};
use crate::domain::ids::{BaselineId, ModelId, VersionId};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::model::Role;
use crate::domain::window::{Grain, Window};
use crate::stats::profile::FeatureProfile;
use crate::storage::baselines::{self, Baseline, BaselineQuality};
use crate::storage::models::{self, Deployment, Model};
use crate::storage::profiles::ProfileKey;
use crate::storage::windows::{self, MeasuredWindow, Pending, WindowTotals};
use crate::storage::{measurements, partitions, profiles};

/// Measures every window that is over and has changed since it was measured. Returns the models of which
/// something was measured.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<Vec<ModelId>, Error> {
    let mut conn = services.pool.acquire().await?;
    let pending = windows::models_pending(&mut conn, now).await?;
    drop(conn);
    let mut measured = Vec::new();
    for model_id in pending {
        if evaluate_model(services, model_id, now).await? > 0 {
            measured.push(model_id);
        }
    }
    Ok(measured)
}

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
    let due = due_windows(&monitors, &deployments, &pending, now);
    let starts: Vec<DateTime<Utc>> = due.iter().map(|(_, window, _)| window.start).collect();
    partitions::ensure(&mut conn, Grain::Month, &starts).await?;
    drop(conn);
    crate::faults::crash_point("evaluate.read");

    let mut measured = 0;
    for (version_id, window, monitor) in due {
        let mut tx = services.pool.begin().await?;
        models::lock(&mut tx, model_id).await?;
        let of = (&monitors[monitor], window);
        if measure_window(&mut tx, &model, version_id, of, services.bounds, now).await? {
            measured += 1;
        }
        crate::faults::crash_point("evaluate.before_commit");
        tx.commit().await?;
        crate::faults::crash_point("evaluate.after_commit");
    }
    let mut conn = services.pool.acquire().await?;
    crate::faults::crash_point("evaluate.before_clear");
    for base in pending {
        let all_over = monitors
            .iter()
            .all(|monitor| monitor.grain.window_at(base.window_start).end <= now);
        if all_over {
            windows::clear_pending(&mut conn, base).await?;
        }
    }
    Ok(measured)
}

/// The windows to look at: those that are over and contain a changed base window; oldest first.
fn due_windows(
    monitors: &[MonitorDef],
    deployments: &[Deployment],
    pending: &[Pending],
    now: DateTime<Utc>,
) -> BTreeSet<(VersionId, Window, usize)> {
    let mut due = BTreeSet::new();
    for base in pending {
        for (index, monitor) in monitors.iter().enumerate() {
            let window = monitor.grain.window_at(base.window_start);
            if window.end <= now && is_monitored(monitor.kind, base.version_id, deployments, window)
            {
                due.insert((base.version_id, window, index));
            }
        }
    }
    due
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
        MonitorKind::Quality | MonitorKind::Traffic => true,
        MonitorKind::Schema | MonitorKind::Drift => deployments.iter().any(|d| {
            d.version_id == version_id
                && matches!(d.role, Role::Champion | Role::Canary)
                && d.ended_at.is_none_or(|ended| ended > window.start)
        }),
    }
}

/// What a monitor measures of one window: everything that the measures are computed from.
struct Subject<'a> {
    model: &'a Model,
    monitor: &'a MonitorDef,
    version_id: VersionId,
    window: Window,
    totals: WindowTotals,
    yardstick: Yardstick,
    baseline: Option<Baseline>,
    bounds: Bounds,
    now: DateTime<Utc>,
}

impl Subject<'_> {
    fn baseline_id(&self) -> Option<BaselineId> {
        self.baseline.as_ref().map(|baseline| baseline.baseline_id)
    }

    /// A measurement with nothing but its place; the caller fills in the rest.
    fn blank(&self, segment: &Segment, feature: &str, measure: Measure) -> Measurement {
        Measurement {
            version_id: self.version_id,
            monitor: self.monitor.name.clone(),
            window: self.window,
            segment: segment.clone(),
            feature: feature.to_owned(),
            measure,
            value: None,
            interval: None,
            p_value: None,
            reference: None,
            status: Status::Insufficient,
            current_rows: 0,
            reference_rows: 0,
            baseline_id: None,
            recipe: Recipe::default(),
            measured_at: self.now,
        }
    }

    /// The window's profiles, base windows merged, by segment and feature. A base window with a damaged profile is
    /// counted again; what cannot be, because its rows are gone, is unknown.
    async fn profiles(&self, conn: &mut PgConnection) -> Result<Current, Error> {
        let current = self.stored_profiles(conn).await?;
        let mut mended = false;
        for start in &current.damaged {
            let window = (self.version_id, *start);
            mended |= recount::rebuild(
                conn,
                self.model,
                window,
                0,
                self.bounds,
                ("evaluate", self.now),
            )
            .await?;
        }
        if mended {
            self.stored_profiles(conn).await
        } else {
            Ok(current)
        }
    }

    async fn stored_profiles(&self, conn: &mut PgConnection) -> Result<Current, Error> {
        let (from, to) = (self.window.start, self.window.end);
        let mut current = Current::default();
        for stored in
            profiles::between(conn, self.version_id, from, to, self.yardstick.grid_id).await?
        {
            let ProfileKey {
                segment, feature, ..
            } = stored.key;
            let profile = match FeatureProfile::decode(&stored.profile) {
                Ok(profile) => profile,
                Err(error) => {
                    tracing::error!(?segment, feature, %error, "a stored profile is damaged");
                    current.damaged.insert(stored.key.window_start);
                    current.unknown.insert((segment, feature));
                    continue;
                }
            };
            let features = current.profiles.entry(segment).or_default();
            match features.entry(feature) {
                // Only of the latency quantiles are told.
                std::collections::btree_map::Entry::Vacant(entry) if entry.key() == LATENCY => {
                    entry.insert(profile);
                }
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(profile.without_quantiles());
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    if let Err(error) = entry.get_mut().merge(&profile) {
                        tracing::warn!(feature = entry.key(), %error, "profiles of a window do not fit together");
                    }
                }
            }
        }
        for (segment, feature) in &current.unknown {
            if let Some(features) = current.profiles.get_mut(segment) {
                features.remove(feature);
            }
        }
        Ok(current)
    }

    /// What is said about a profile that is damaged and could not be counted again.
    fn unknown(&self, segment: &Segment, feature: &str, measure: Measure) -> Measurement {
        Measurement {
            status: Status::Error,
            baseline_id: self.baseline_id(),
            recipe: Recipe {
                method: "from the profiles of the window".to_owned(),
                cause: Some("a stored profile is damaged, and its rows are gone".to_owned()),
                ..Recipe::default()
            },
            ..self.blank(segment, feature, measure)
        }
    }
}

/// What is known of a window.
#[derive(Default)]
struct Current {
    profiles: Profiles,
    /// Segments and features of which a part is damaged; they are not in `profiles`, which would pass for all.
    unknown: BTreeSet<(Segment, String)>,
    /// Base windows with a damaged profile.
    damaged: BTreeSet<DateTime<Utc>>,
}

impl Current {
    /// Whether the window has rows of the segment.
    fn knows(&self, segment: &Segment) -> bool {
        self.profiles.contains_key(segment) || self.unknown.iter().any(|(of, _)| of == segment)
    }

    fn is_unknown(&self, segment: &Segment, feature: &str) -> bool {
        self.unknown
            .contains(&(segment.clone(), feature.to_owned()))
    }
}

type Profiles = BTreeMap<Segment, BTreeMap<String, FeatureProfile>>;

async fn measure_window(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    (monitor, window): (&MonitorDef, Window),
    bounds: Bounds,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let totals = windows::totals(conn, version_id, window.start, window.end).await?;
    let measured =
        windows::measured_revision(conn, version_id, &monitor.name, window.start).await?;
    if measured == Some(totals.revision) {
        return Ok(false);
    }
    let subject = Subject {
        model,
        monitor,
        version_id,
        window,
        totals,
        yardstick: Yardstick::load(conn, model.model_id).await?,
        baseline: fitted_baseline(conn, model, monitor).await?,
        bounds,
        now,
    };
    let values = match monitor.kind {
        MonitorKind::Schema => schema_skew::measure(&subject, &subject.profiles(conn).await?),
        MonitorKind::Drift => drift::measure(conn, &subject).await?,
        MonitorKind::Quality => quality_monitor::measure(conn, &subject).await?,
        MonitorKind::Traffic => traffic::measure(&subject, &subject.profiles(conn).await?),
    };
    crate::faults::crash_point("evaluate.computed");
    let place = (version_id, monitor.name.as_str(), window);
    measurements::replace(conn, model.project_id, model.model_id, place, &values, now).await?;
    if measured.is_some() {
        alerting::late::annotate_resolved(conn, model, place, now).await?;
    }
    let measured = MeasuredWindow {
        project_id: model.project_id,
        model_id: model.model_id,
        version_id,
        monitor: &monitor.name,
        window,
        revision: totals.revision,
    };
    windows::mark_measured(conn, measured, now).await?;
    Ok(true)
}

async fn fitted_baseline(
    conn: &mut PgConnection,
    model: &Model,
    monitor: &MonitorDef,
) -> Result<Option<Baseline>, Error> {
    let in_force = baselines::in_force(conn, model.model_id).await?;
    let mut fitted = in_force
        .into_iter()
        .filter(|baseline| baseline.state == "fitted");
    Ok(match &monitor.baseline {
        Some(name) => fitted.find(|baseline| baseline.name == *name),
        None => fitted.next(),
    })
}

/// A count over a count; nothing when there is nothing to count.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share of rows needs no more than a double's digits"
)]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn quality_reference(
    qualities: &[BaselineQuality],
    segment: &Segment,
    measure: Measure,
) -> Option<(f64, u64)> {
    qualities
        .iter()
        .find(|q| q.segment == *segment && q.measure == measure.as_str())
        .map(|q| (q.value, u64::try_from(q.labels).unwrap_or(0)))
}
