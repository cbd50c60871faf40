//! What a monitor measures of one window, and how a value of it is written down.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::history::History;
use super::scene::Scene;
use crate::domain::definitions::MonitorDef;
use crate::domain::ids::{BaselineId, VersionId};
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::reference::{ReferenceKind, ReferenceUsed};
use crate::domain::schema::FeatureExpectation;
use crate::domain::skew::Tolerance;
use crate::domain::window::Window;
use crate::services::profiling::Yardstick;
use crate::storage::baselines::Baseline;
use crate::storage::models::{Deployment, Model};
use crate::storage::windows::WindowTotals;

/// A window of a monitor, and what is in force for it.
pub(super) struct Subject<'a> {
    pub(super) model: &'a Model,
    pub(super) deployments: &'a [Deployment],
    pub(super) monitor: &'a MonitorDef,
    pub(super) version_id: VersionId,
    pub(super) window: Window,
    pub(super) totals: WindowTotals,
    pub(super) yardstick: Arc<Yardstick>,
    /// The numbers of the model's holidays.
    pub(super) holidays: Arc<BTreeSet<i64>>,
    /// The fitted baseline that values are taken against; none where `history` takes its place.
    pub(super) baseline: Option<Arc<Baseline>>,
    pub(super) history: Option<History>,
    pub(super) now: DateTime<Utc>,
}

impl<'a> Subject<'a> {
    pub(super) fn of(
        scene: &Scene<'a>,
        monitor: &'a MonitorDef,
        version_id: VersionId,
        window: Window,
        totals: WindowTotals,
        history: Option<History>,
    ) -> Self {
        Self {
            model: scene.model,
            deployments: scene.deployments,
            monitor,
            version_id,
            window,
            totals,
            yardstick: scene.yardstick.clone(),
            holidays: scene.holidays.clone(),
            baseline: scene.baseline_of(monitor),
            history,
            now: scene.now,
        }
    }

    pub(super) fn baseline_id(&self) -> Option<BaselineId> {
        self.baseline.as_ref().map(|baseline| baseline.baseline_id)
    }

    /// The fitted baseline, as the recipe of a value that was taken against it names it.
    pub(super) fn fitted_reference(&self) -> Option<ReferenceUsed> {
        self.baseline.as_ref().map(|baseline| fitted(baseline))
    }

    /// What a schema monitor lets pass.
    pub(super) fn tolerance(&self) -> Tolerance {
        Tolerance {
            share: self.monitor.tolerance,
            min_rows: self.monitor.min_rows,
        }
    }

    /// What is expected of a feature where the version was deployed while the window lasted: in some environments it
    /// may be missing.
    pub(super) fn expected_here<'e>(
        &self,
        expected: &'e FeatureExpectation,
    ) -> Cow<'e, FeatureExpectation> {
        let deployed = self.deployments.iter().filter(|d| {
            d.version_id == self.version_id
                && d.ended_at.is_none_or(|ended| ended > self.window.start)
        });
        let required = expected.is_required_in(deployed.map(|d| d.environment.as_str()));
        if required == expected.required {
            return Cow::Borrowed(expected);
        }
        Cow::Owned(FeatureExpectation {
            required,
            ..expected.clone()
        })
    }

    /// A measurement with nothing but its place; the caller fills in the rest.
    pub(super) fn blank(&self, segment: &Segment, feature: &str, measure: Measure) -> Measurement {
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

    /// A value about the whole model that there is not, and why.
    pub(super) fn unsaid(&self, measure: Measure, status: Status, cause: &str) -> Measurement {
        Measurement {
            status,
            baseline_id: self.baseline_id(),
            recipe: Recipe {
                cause: Some(cause.to_owned()),
                reference: self.fitted_reference(),
                ..Recipe::default()
            },
            ..self.blank(&Segment::overall(), "", measure)
        }
    }

    /// Whether the window lies in the baseline's own.
    pub(super) fn is_of_reference(&self) -> bool {
        self.baseline.as_ref().is_some_and(|baseline| {
            let ours = baseline.version_id.is_none_or(|id| id == self.version_id);
            let (from, to) = (baseline.window_from, baseline.window_to);
            ours && from.is_some_and(|from| from < self.window.end)
                && to.is_some_and(|to| to > self.window.start)
        })
    }

    /// What is said about a profile that is damaged and could not be counted again.
    pub(super) fn unknown(
        &self,
        segment: &Segment,
        feature: &str,
        measure: Measure,
    ) -> Measurement {
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

fn fitted(baseline: &Baseline) -> ReferenceUsed {
    let span = baseline.window_from.zip(baseline.window_to);
    let name = &baseline.name;
    ReferenceUsed {
        kind: match span {
            Some(_) => ReferenceKind::Window,
            None => ReferenceKind::Baseline,
        },
        name: Some(name.clone()),
        from: baseline.window_from,
        to: baseline.window_to,
        parts: None,
        parts_with_rows: None,
        text: match span {
            Some((from, to)) => format!(
                "the baseline {name}, {} to {}",
                from.format("%Y-%m-%d %H:%M"),
                to.format("%Y-%m-%d %H:%M")
            ),
            None if baseline.source == "statistics" => {
                format!("the baseline {name}, which stands for statistics of each feature")
            }
            None => format!("the baseline {name}"),
        },
    }
}
