//! The part of the past that a window is compared with: which base windows of which versions, and their profiles.
//!
//! Inputs are those of the versions that answered users at the time, by their deployments: a version that was
//! promoted yesterday is compared with what its predecessor was asked last week. Its predictions are compared with its
//! own only, because those of another model differ for another reason.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::answers_users;
use super::scene::{Gathered, Place, Scene};
use crate::domain::definitions::MonitorKind;
use crate::domain::ids::VersionId;
use crate::domain::measurement::Segment;
use crate::domain::reference::Past;
use crate::domain::window::Window;
use crate::services::Error;
use crate::services::profiling::{LATENCY, PREDICTION};
use crate::storage::models::{Deployment, Model};
use crate::storage::windows;

/// The base windows a window is compared with.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) past: Past,
    /// How many parts the past has, with or without rows.
    pub(super) parts: usize,
    /// The sum of the base windows' revisions: it grows when something in them changes.
    pub(super) revision: i64,
    own: VersionId,
    /// Those that have rows, and whether their version answered users at the time.
    places: BTreeMap<Place, bool>,
}

impl History {
    /// Finds the base windows that a window of a version is compared with.
    pub(super) async fn find(
        conn: &mut PgConnection,
        (model, deployments, kind): (&Model, &[Deployment], MonitorKind),
        version_id: VersionId,
        (past, window): (Past, Window),
    ) -> Result<Self, Error> {
        let span = past.span(window);
        let parts = past.parts(window);
        let mut found = Self {
            past,
            parts: parts.len(),
            revision: 0,
            own: version_id,
            places: BTreeMap::new(),
        };
        for base in windows::between(conn, model.model_id, span.from, span.to).await? {
            let start = base.window_start;
            let Some(part) = parts.iter().position(|part| part.contains(start)) else {
                continue;
            };
            let answered = match kind {
                MonitorKind::Quality | MonitorKind::Objective | MonitorKind::Estimate => {
                    base.version_id == version_id
                }
                _ => answering(deployments, start, version_id).contains(&base.version_id),
            };
            if answered || base.version_id == version_id {
                let place = Place {
                    version_id: base.version_id,
                    start,
                    part,
                };
                found.revision += base.revision;
                found.places.insert(place, answered);
            }
        }
        Ok(found)
    }

    /// Its profiles. How many rows of the past those are does not matter, only how many base windows.
    pub(super) async fn profiles(
        &self,
        conn: &mut PgConnection,
        scene: &Scene<'_>,
    ) -> Result<Gathered, Error> {
        let places: Vec<Place> = self.places.keys().copied().collect();
        scene
            .gather(conn, &places, |place, key| match key.feature.as_str() {
                LATENCY => false,
                PREDICTION => place.version_id == self.own,
                _ => self.places.get(place).copied().unwrap_or(false),
            })
            .await
    }

    /// Why there is too little of the past to compare with, if there is.
    pub(super) fn lack(
        &self,
        gathered: &Gathered,
        segment: &Segment,
        feature: &str,
    ) -> Option<String> {
        let of = (segment.clone(), feature.to_owned());
        let with_rows = gathered.parts.get(&of).map_or(0, BTreeSet::len);
        self.too_few(with_rows)
    }

    /// Why so many parts with rows are too few, if they are.
    pub(super) fn too_few(&self, with_rows: usize) -> Option<String> {
        let needed = Past::needed(self.parts);
        let what = match self.past {
            Past::Rolling { .. } => "days before the window",
            Past::Season { .. } => "earlier occurrences of the season",
        };
        (with_rows < needed).then(|| {
            format!(
                "too little history: {with_rows} of the {} {what} have rows, {needed} are needed",
                self.parts
            )
        })
    }
}

/// The versions that answered users when a base window began; `own` where nothing was deployed yet, because history
/// may be older than the service's knowledge of its deployments.
fn answering(deployments: &[Deployment], at: DateTime<Utc>, own: VersionId) -> BTreeSet<VersionId> {
    let answering: BTreeSet<VersionId> = deployments
        .iter()
        .filter(|d| answers_users(d.role) && d.started_at <= at)
        .filter(|d| d.ended_at.is_none_or(|ended| ended > at))
        .map(|d| d.version_id)
        .collect();
    if answering.is_empty() {
        BTreeSet::from([own])
    } else {
        answering
    }
}
