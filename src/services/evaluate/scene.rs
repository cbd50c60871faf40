//! What is in force of a model while some of its windows are measured: read once, under the model's lock, however
//! many monitors look at it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::shift::{Kept, NoReference, ShiftReference};
use crate::domain::area::AreaRecipe;
use crate::domain::definitions::MonitorDef;
use crate::domain::ids::{BaselineId, VersionId};
use crate::domain::labelled::LabelledSample;
use crate::domain::measurement::Segment;
use crate::domain::shift::Unit;
use crate::domain::skew::{STEP_RANKS, Stillnesses, Stills};
use crate::domain::window::Window;
use crate::services::profiling::{LATENCY, Yardstick};
use crate::services::{Bounds, Error, labelled, recount, shift_reference};
use crate::stats::profile::FeatureProfile;
use crate::stats::thinning::ThinnedSample;
use crate::storage::baselines::{self, Baseline};
use crate::storage::models::{Deployment, Model};
use crate::storage::profiles::{self, ProfileKey};
use crate::storage::samples;
use crate::storage::shifts::{self, Course};

/// How many base windows are read at a time: a month of hours need not be in memory at once.
const BASE_WINDOWS: usize = 64;

/// How many numbers of a feature are looked at by themselves.
const TRACED_NUMBERS: usize = 8 * STEP_RANKS;

pub(super) type Profiles = BTreeMap<Segment, BTreeMap<String, FeatureProfile>>;

/// A model and what its windows are measured by.
pub(super) struct Scene<'a> {
    pub(super) model: &'a Model,
    pub(super) deployments: &'a [Deployment],
    pub(super) bounds: Bounds,
    pub(super) now: DateTime<Utc>,
    pub(super) yardstick: Arc<Yardstick>,
    /// The numbers of the model's holidays.
    pub(super) holidays: Arc<BTreeSet<i64>>,
    /// By name.
    fitted: Vec<Arc<Baseline>>,
    read: HashMap<BaselineId, Arc<Fitted>>,
    /// The labelled rows of the fitted baselines, or why there are none.
    labelled: HashMap<BaselineId, Result<Arc<LabelledSample>, &'static str>>,
    /// Areas of days that are measured but not stored yet, by version, monitor and beginning.
    pub(super) areas: BTreeMap<(VersionId, String, DateTime<Utc>), AreaRecipe>,
    /// What the fitted baselines say of their days or hours.
    shifts: HashMap<(BaselineId, Unit), Result<Arc<ShiftReference>, NoReference>>,
    /// What was read of days or hours that were judged before.
    pub(super) tallies: HashMap<Course, Kept>,
    /// The window that was read last: several monitors look at the same.
    current: Option<(VersionId, Window, Arc<Gathered>)>,
}

/// A baseline's profiles, and which of them are damaged.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    pub(super) profiles: Profiles,
    pub(super) damaged: Vec<(Segment, String)>,
    pub(super) stillnesses: Stillnesses,
}

/// A version's base window that profiles are wanted of, and what for: which part of a reference it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) version_id: VersionId,
    pub(super) start: DateTime<Utc>,
    pub(super) part: usize,
}

/// Profiles of base windows, merged.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) profiles: Profiles,
    /// Segments and features of which a part is damaged; they are not in `profiles`, which would pass for all.
    pub(super) unknown: BTreeSet<(Segment, String)>,
    /// The parts in which a feature has rows.
    pub(super) parts: BTreeMap<(Segment, String), BTreeSet<usize>>,
    /// Of all rows, what only the base windows by themselves show.
    pub(super) traces: BTreeMap<String, Trace>,
    /// Base windows with a damaged profile.
    damaged: BTreeSet<(VersionId, DateTime<Utc>)>,
}

/// What is lost of a feature when its base windows are merged.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) stills: Stills,
    /// Some of its numbers.
    pub(super) numbers: ThinnedSample,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            stills: Stills::default(),
            numbers: ThinnedSample::new(TRACED_NUMBERS),
        }
    }
}

impl Gathered {
    /// Whether there are rows of the segment.
    pub(super) fn knows(&self, segment: &Segment) -> bool {
        self.profiles.contains_key(segment) || self.unknown.iter().any(|(of, _)| of == segment)
    }

    pub(super) fn is_unknown(&self, segment: &Segment, feature: &str) -> bool {
        self.unknown
            .contains(&(segment.clone(), feature.to_owned()))
    }

    fn trace(&mut self, key: &ProfileKey, profile: &FeatureProfile) {
        if key.segment.is_overall() && key.feature != LATENCY {
            let trace = self.traces.entry(key.feature.clone()).or_default();
            trace.stills.observe(profile);
            trace.numbers.observe(&profile.sampled_numbers(STEP_RANKS));
        }
    }

    fn add(&mut self, key: ProfileKey, profile: FeatureProfile) {
        let features = self.profiles.entry(key.segment).or_default();
        match features.entry(key.feature) {
            // Only of the latency quantiles are told.
            Entry::Vacant(entry) if entry.key() == LATENCY => {
                entry.insert(profile);
            }
            Entry::Vacant(entry) => {
                entry.insert(profile.without_quantiles());
            }
            Entry::Occupied(mut entry) => {
                if let Err(error) = entry.get_mut().merge(&profile) {
                    tracing::warn!(feature = entry.key(), %error, "profiles of a window do not fit together");
                }
            }
        }
    }
}

impl<'a> Scene<'a> {
    /// What is in force; the caller holds the model's lock.
    pub(super) async fn load(
        conn: &mut PgConnection,
        model: &'a Model,
        deployments: &'a [Deployment],
        bounds: Bounds,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let in_force = baselines::in_force(conn, model.model_id).await?;
        Ok(Self {
            model,
            deployments,
            bounds,
            now,
            yardstick: Arc::new(Yardstick::load(conn, model.model_id).await?),
            holidays: Arc::new(shift_reference::holidays(conn, model).await?),
            fitted: in_force
                .into_iter()
                .filter(|baseline| baseline.state == "fitted")
                .map(Arc::new)
                .collect(),
            read: HashMap::new(),
            labelled: HashMap::new(),
            areas: BTreeMap::new(),
            shifts: HashMap::new(),
            tallies: HashMap::new(),
            current: None,
        })
    }

    /// The baseline a monitor is compared with, if it is fitted: the one it names, or else the one whose cells
    /// everything is counted in.
    pub(super) fn baseline_of(&self, monitor: &MonitorDef) -> Option<Arc<Baseline>> {
        if monitor.against.is_some() {
            return None;
        }
        let mut fitted = self.fitted.iter();
        let found = match &monitor.baseline {
            Some(name) => fitted.find(|baseline| baseline.name == *name),
            None => fitted
                .find(|baseline| self.yardstick.grid_of == Some(baseline.baseline_id))
                .or(self.fitted.first()),
        };
        found.cloned()
    }

    /// The profiles of a baseline; none without one.
    pub(super) async fn baseline(
        &mut self,
        conn: &mut PgConnection,
        baseline_id: Option<BaselineId>,
    ) -> Result<Arc<Fitted>, Error> {
        let Some(baseline_id) = baseline_id else {
            return Ok(Arc::default());
        };
        if let Some(read) = self.read.get(&baseline_id) {
            return Ok(read.clone());
        }
        let mut fitted = decode(baselines::profiles(conn, baseline_id, None).await?);
        let stillness = samples::stillness(conn, baseline_id).await?;
        fitted.stillnesses = stillness.map(|Json(found)| found).unwrap_or_default();
        let fitted = Arc::new(fitted);
        self.read.insert(baseline_id, fitted.clone());
        Ok(fitted)
    }

    /// The labelled rows of a baseline, or why there are none.
    pub(super) async fn labelled(
        &mut self,
        conn: &mut PgConnection,
        baseline_id: BaselineId,
    ) -> Result<Result<Arc<LabelledSample>, &'static str>, Error> {
        if let Some(read) = self.labelled.get(&baseline_id) {
            return Ok(read.clone());
        }
        let read = labelled::load(conn, baseline_id).await?.map(Arc::new);
        self.labelled.insert(baseline_id, read.clone());
        Ok(read)
    }

    /// What a baseline says of its days or hours.
    pub(super) async fn shift_reference(
        &mut self,
        conn: &mut PgConnection,
        baseline_id: BaselineId,
        unit: Unit,
    ) -> Result<Result<Arc<ShiftReference>, NoReference>, Error> {
        if let Some(read) = self.shifts.get(&(baseline_id, unit)) {
            return Ok(read.clone());
        }
        let read = match shifts::reference(conn, baseline_id, unit).await? {
            Some(stored) => ShiftReference::of(&stored).map(Arc::new),
            None => Err(NoReference::NotFitted),
        };
        self.shifts.insert((baseline_id, unit), read.clone());
        Ok(read)
    }

    /// The window's profiles, base windows merged, by segment and feature.
    pub(super) async fn current(
        &mut self,
        conn: &mut PgConnection,
        version_id: VersionId,
        window: Window,
    ) -> Result<Arc<Gathered>, Error> {
        if let Some((of, at, read)) = &self.current
            && (*of, *at) == (version_id, window)
        {
            return Ok(read.clone());
        }
        let places: Vec<Place> = (self.base_windows(window.start, window.end))
            .map(|start| Place {
                version_id,
                start,
                part: 0,
            })
            .collect();
        let read = Arc::new(self.gather(conn, &places, |_, _| true).await?);
        self.current = Some((version_id, window, read.clone()));
        Ok(read)
    }

    fn base_windows(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        let grain = self.model.base_window;
        let first = grain.window_at(from);
        std::iter::successors(Some(first), move |window| Some(grain.window_at(window.end)))
            .map(|window| window.start)
            .take_while(move |start| *start < to)
    }

    /// The profiles of base windows that are `wanted`, merged. A base window with a damaged profile is counted
    /// again; what cannot be, because its rows are gone, is unknown.
    pub(super) async fn gather(
        &self,
        conn: &mut PgConnection,
        places: &[Place],
        wanted: impl Fn(&Place, &ProfileKey) -> bool + Copy,
    ) -> Result<Gathered, Error> {
        let gathered = self.stored(conn, places, wanted).await?;
        let mut mended = false;
        for window in &gathered.damaged {
            let by = ("evaluate", self.now);
            mended |= recount::rebuild(conn, self.model, *window, 0, self.bounds, by).await?;
        }
        if mended {
            self.stored(conn, places, wanted).await
        } else {
            Ok(gathered)
        }
    }

    async fn stored(
        &self,
        conn: &mut PgConnection,
        places: &[Place],
        wanted: impl Fn(&Place, &ProfileKey) -> bool,
    ) -> Result<Gathered, Error> {
        let mut gathered = Gathered::default();
        for places in places.chunks(BASE_WINDOWS) {
            let by_key: HashMap<(VersionId, DateTime<Utc>), &Place> = places
                .iter()
                .map(|place| ((place.version_id, place.start), place))
                .collect();
            let keys: Vec<_> = by_key.keys().copied().collect();
            for stored in profiles::of_windows(conn, &keys, self.yardstick.grid_id).await? {
                let key = stored.key;
                let Some(place) = by_key.get(&(key.version_id, key.window_start)) else {
                    continue;
                };
                if !wanted(place, &key) {
                    continue;
                }
                let of = (key.segment.clone(), key.feature.clone());
                match FeatureProfile::decode(&stored.profile) {
                    Ok(profile) => {
                        if profile.counts().rows > 0 {
                            gathered.parts.entry(of).or_default().insert(place.part);
                        }
                        gathered.trace(&key, &profile);
                        gathered.add(key, profile);
                    }
                    Err(error) => {
                        let (segment, feature) = &of;
                        tracing::error!(?segment, feature, %error, "a stored profile is damaged");
                        gathered.damaged.insert((key.version_id, key.window_start));
                        gathered.unknown.insert(of);
                    }
                }
            }
        }
        for (segment, feature) in &gathered.unknown {
            if let Some(features) = gathered.profiles.get_mut(segment) {
                features.remove(feature);
            }
        }
        Ok(gathered)
    }
}

fn decode(stored: Vec<baselines::BaselineProfile>) -> Fitted {
    let mut fitted = Fitted::default();
    for stored in stored {
        match FeatureProfile::decode(&stored.profile) {
            Ok(profile) => {
                let features = fitted.profiles.entry(stored.segment).or_default();
                features.insert(stored.feature, profile);
            }
            Err(error) => {
                tracing::error!(feature = stored.feature, %error, "a baseline's profile is damaged");
                if stored.feature != LATENCY {
                    fitted.damaged.push((stored.segment, stored.feature));
                }
            }
        }
    }
    fitted
}
