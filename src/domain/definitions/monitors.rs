//! Monitors as they are declared: what is measured of a model regularly, against what, and what counts as a finding.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::fields::{self, Fields};
use super::model::{GRAINS, baseline_name, note_twice};
use super::problem::Sink;
use super::yaml::Node;
use super::{against, outlook, quality};
use crate::domain::measurement::Measure;
use crate::domain::model::Task;
use crate::domain::objective::{ObjectiveChoice, SAID_ANEW_FOR};
use crate::domain::quality::QualityChoice;
use crate::domain::reference::Past;
use crate::domain::shift::Unit;
use crate::domain::window::{Grain, Window};

/// A rule looks at no more windows than this beyond those it asks for: a year of hours.
const MOST_AWAITING: usize = 366 * 24;

/// What is measured regularly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonitorDef {
    pub name: String,
    pub kind: MonitorKind,
    /// The length of the measured windows.
    pub grain: Grain,
    /// What values are compared with. Drift monitors have one; for quality it gives rules a value to relate to.
    pub baseline: Option<String>,
    /// The part of the past that takes the place of a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Past>,
    /// Schema: the share of rows that may be wrong without a finding.
    pub tolerance: f64,
    /// Below this many rows (labels, for quality) a window is insufficient.
    pub min_rows: u64,
    /// Drift: beyond these values a feature's status is drift.
    pub thresholds: BTreeMap<Measure, f64>,
    /// Quality: what is measured.
    #[serde(default)]
    pub quality: QualityChoice,
    /// Drift: what is measured. Empty is what is usual for the window and what it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// Objective: what labels are held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveChoice>,
    /// Estimate: how much worse than the baseline is no finding; the usual if nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_tolerance: Option<f64>,
    /// How long predictions may take to come: what its model says.
    #[serde(skip)]
    pub predictions_take: TimeDelta,
}

impl MonitorDef {
    /// The measures this monitor gives for a model of that task.
    #[must_use]
    pub fn measures(&self, task: Task) -> Vec<Measure> {
        match self.kind {
            MonitorKind::Quality => {
                let mut measures = self.quality.measures(task).to_vec();
                measures.push(Measure::LabelCoverage);
                if self.quality.labels_within_seconds.is_some() {
                    measures.push(Measure::LabelCompleteness);
                }
                measures
            }
            MonitorKind::Drift => self.drift_measures().to_vec(),
            kind => kind.measures(task),
        }
    }

    /// What is measured of drift: what the monitor chooses, or what is usual.
    #[must_use]
    pub fn drift_measures(&self) -> &[Measure] {
        if self.measures.is_empty() {
            usual_drift(Some(self.grain), self.against.is_some())
        } else {
            &self.measures
        }
    }

    /// Whether the default detector judges its days or hours.
    #[must_use]
    pub fn watches_shift(&self) -> bool {
        self.kind == MonitorKind::Drift && self.drift_measures().contains(&Measure::Shift)
    }

    /// The measures of columns together over days that it gives.
    pub fn joint_measures(&self) -> impl Iterator<Item = Measure> {
        let measures = match self.kind {
            MonitorKind::Drift => self.drift_measures(),
            _ => &[],
        };
        let together = |measure: &Measure| Measure::OVER_DAYS_TOGETHER.contains(measure);
        measures.iter().copied().filter(together)
    }

    /// What it judges together with those before, if it does: days or hours.
    #[must_use]
    pub fn looks_back_by(&self) -> Option<Unit> {
        let looks_back = self.watches_shift() || self.joint_measures().next().is_some();
        Unit::of(self.grain).filter(|_| looks_back)
    }

    /// Whether detectors watch its labels.
    #[must_use]
    pub fn watches_labels(&self) -> bool {
        let watches = |measure: &Measure| measure.is_of_label_detector();
        self.kind == MonitorKind::Quality && self.quality.measures.iter().any(watches)
    }

    /// How long after its predictions as good as all labels of a quality monitor have come: what it says, or else what its baseline's
    /// labels took (`learnt`, in seconds by the baseline's name). Nothing where neither is known.
    #[must_use]
    pub fn labels_take(&self, learnt: &[(String, f64)]) -> Option<TimeDelta> {
        if self.kind != MonitorKind::Quality {
            return None;
        }
        if let Some(within) = self.quality.labels_within_seconds {
            return Some(TimeDelta::seconds(within));
        }
        let of_baseline = |(name, _): &&(String, f64)| self.baseline.as_ref() == Some(name);
        let (_, seconds) = learnt.iter().find(of_baseline)?;
        Some(TimeDelta::milliseconds((seconds * 1000.0).ceil() as i64))
    }

    /// From when on a window is measured: when it is over and its predictions have had their time. An objective speaks of
    /// the labels that are known, and waits for nothing.
    #[must_use]
    pub fn is_due(&self, window: Window, now: DateTime<Utc>) -> bool {
        let wait = match self.kind {
            MonitorKind::Objective => TimeDelta::zero(),
            _ => self.predictions_take,
        };
        window.end + wait <= now
    }

    /// For how many of its windows back predictions or labels may still be on their way: a rule looks at so many more. `learnt`
    /// as in [`Self::labels_take`].
    #[must_use]
    pub fn windows_awaited(&self, learnt: &[(String, f64)]) -> usize {
        let take = match self.kind {
            MonitorKind::Objective => SAID_ANEW_FOR,
            _ => (self.labels_take(learnt).unwrap_or_default()).max(self.predictions_take),
        };
        let window = self.grain.window_at(DateTime::UNIX_EPOCH);
        let length = (window.end - window.start).num_seconds();
        let seconds = take.num_seconds();
        usize::try_from((seconds + length - 1) / length)
            .unwrap_or(0)
            .min(MOST_AWAITING)
    }

    /// What is measured of a model that has no file: everything, by day.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        let kinds = [
            MonitorKind::Schema,
            MonitorKind::Drift,
            MonitorKind::Quality,
            MonitorKind::Traffic,
        ];
        kinds
            .into_iter()
            .map(|kind| Self {
                name: kind.as_str().to_owned(),
                kind,
                grain: Grain::Day,
                baseline: None,
                against: None,
                tolerance: USUAL_TOLERANCE,
                min_rows: USUAL_ROWS,
                thresholds: BTreeMap::new(),
                quality: QualityChoice::default(),
                measures: Vec::new(),
                objective: None,
                estimate_tolerance: None,
                predictions_take: TimeDelta::zero(),
            })
            .collect()
    }
}

/// What monitors go by when nothing is declared: the share of rows that may not fit the schema, and the fewest rows
/// a window must have.
const USUAL_TOLERANCE: f64 = 0.01;
const USUAL_ROWS: u64 = 30;

/// The usual measures of drift of a monitor with that window.
fn usual_drift(grain: Option<Grain>, against_past: bool) -> &'static [Measure] {
    match grain.and_then(Unit::of) {
        Some(Unit::Day) if !against_past => &Measure::USUAL_DRIFT,
        Some(Unit::Hour) if !against_past => &Measure::USUAL_DRIFT_BY_HOUR,
        _ => &Measure::USUAL_DRIFT_WITHOUT_DAYS,
    }
}

/// What a monitor is about, which decides the measures it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MonitorKind {
    Schema,
    Drift,
    Quality,
    /// Labels against the share of them that should be right.
    Objective,
    /// Quality before labels.
    Estimate,
    Traffic,
}

impl MonitorKind {
    /// The word used in files, JSON and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Drift => "drift",
            Self::Quality => "quality",
            Self::Objective => "objective",
            Self::Estimate => "estimate",
            Self::Traffic => "traffic",
        }
    }

    /// The measures a monitor of this kind can give for a model of that task; of drift, those it gives unless it chooses
    /// its own.
    #[must_use]
    pub fn measures(self, task: Task) -> Vec<Measure> {
        match self {
            Self::Schema => Measure::OF_SCHEMA.to_vec(),
            Self::Drift => Measure::USUAL_DRIFT.to_vec(),
            Self::Quality => {
                let mut measures = Measure::of_quality(task).to_vec();
                measures.extend_from_slice(Measure::detailed_quality(task));
                measures.extend_from_slice(Measure::of_label_detectors(task));
                measures.extend([Measure::LabelCoverage, Measure::LabelCompleteness]);
                measures
            }
            Self::Objective => Measure::OF_OBJECTIVE.to_vec(),
            Self::Estimate => Measure::of_estimate(task).to_vec(),
            Self::Traffic => vec![
                Measure::Traffic,
                Measure::Volume,
                Measure::ErrorRate,
                Measure::LatencyP50,
                Measure::LatencyP95,
                Measure::LatencyP99,
            ],
        }
    }
}

/// A schema finding below this share of rows is let pass unless the monitor says otherwise.
const DEFAULT_TOLERANCE: f64 = 0.01;
/// What is drift where the detector cannot work and nobody says otherwise, if it is also beyond chance: a tenth of the rows lie
/// elsewhere than in the reference, or a twentieth more of them (or fewer) have no value.
pub const FALL_BACK: [(Measure, f64); 2] = [
    (Measure::TotalVariation, 0.1),
    (Measure::MissingShareChange, 0.05),
];
const DEFAULT_MIN_ROWS: u32 = 100;

pub(super) const KINDS: &[(&str, MonitorKind)] = &[
    ("schema", MonitorKind::Schema),
    ("drift", MonitorKind::Drift),
    ("quality", MonitorKind::Quality),
    ("objective", MonitorKind::Objective),
    ("estimate", MonitorKind::Estimate),
    ("traffic", MonitorKind::Traffic),
];

pub(super) const MONITOR_KEYS: &[&str] = &[
    "name",
    "kind",
    "window",
    "baseline",
    "against",
    "tolerance",
    "min_rows",
    "min_labels",
    "measures",
    "thresholds",
    "top_share",
    "top_k",
    "places",
    "interval",
    "values",
    "groups",
    "labels_within",
    "sequential",
    "objective",
    "right_within",
];

/// What monitors have to fit.
#[derive(Clone, Copy)]
pub(super) struct OfModel<'m> {
    pub(super) task: Option<Task>,
    pub(super) base_window: Grain,
    pub(super) segments: &'m [String],
    pub(super) baselines: &'m [&'m str],
    /// Those of them that come from files.
    pub(super) files: &'m [&'m str],
}

/// Reads `monitors` of a model.
pub(super) fn read(f: &Fields, model: OfModel, sink: &mut Sink) -> Option<Vec<MonitorDef>> {
    let mut names = Vec::new();
    let monitors = f.items("monitors", sink, |node, sink| {
        let f = Fields::read(node, "a monitor", MONITOR_KEYS, sink)?;
        let name = f.required("name", sink, fields::name);
        names.extend(name.clone());
        monitor(&f, name?.value, model, sink)
    });
    note_twice(&names, "monitor", sink);
    monitors
}

fn monitor(f: &Fields, name: String, model: OfModel, sink: &mut Sink) -> Option<MonitorDef> {
    let kind = f.required("kind", sink, |n, s| {
        fields::word(n, s, "a kind of monitor", KINDS)
    });
    let grain = f.required("window", sink, |n, s| {
        fields::word(n, s, "a window", GRAINS)
    });
    if grain.is_some_and(|grain| grain < model.base_window) {
        sink.note(
            f.get("window").map_or(f.place, |n| n.place),
            "a monitor's window cannot be shorter than its model's base window; set the model's \
             `window: hour`",
        );
    }
    let baseline = f.optional("baseline", sink, |n, s| {
        baseline_name(n, model.baselines, s)
    });
    let against = against::read(f, model.base_window, grain, sink);
    let tolerance = f.optional("tolerance", sink, fields::share);
    let rows_key = if kind == Some(MonitorKind::Quality) {
        "min_labels"
    } else {
        "min_rows"
    };
    let min_rows = f.optional(rows_key, sink, fields::whole(0, u32::MAX));
    // Quality monitors choose theirs with what these need.
    let measures = if kind == Some(MonitorKind::Drift) {
        f.items("measures", sink, drift_measure)
    } else {
        Some(Vec::new())
    };
    note_listed_twice(f, measures.as_deref().unwrap_or_default(), sink);
    let given = measures.as_deref().unwrap_or_default();
    let in_force = if given.is_empty() {
        usual_drift(grain, f.get("against").is_some())
    } else {
        given
    };
    let unit = grain.and_then(Unit::of);
    let fits = |measure: &Measure| {
        let by_unit = match measure {
            Measure::Shift => unit.is_some(),
            _ => unit == Some(Unit::Day),
        };
        by_unit && f.get("against").is_none()
    };
    let over_days = |measure: &&Measure| measure.is_over_days();
    if let Some(measure) = given.iter().filter(over_days).find(|m| !fits(m)) {
        let by_hour = match measure {
            Measure::Shift => ", or by hour and against its hours",
            _ => "",
        };
        sink.note(
            f.get("measures").map_or(f.place, |node| node.place),
            format!(
                "`{}` is measured by day and against the days of a `baseline`{by_hour}",
                measure.as_str()
            ),
        );
    }
    let thresholds = f
        .get("thresholds")
        .map(|node| thresholds(node, in_force, sink));
    refuse_what_the_kind_has_no_use_for(f, kind?, sink);
    let objective = if kind == Some(MonitorKind::Objective) {
        Some(outlook::objective(f, model.task, sink)?)
    } else {
        f.refuse(
            outlook::OBJECTIVE_KEYS,
            "only objective monitors have it",
            sink,
        );
        None
    };
    if kind == Some(MonitorKind::Estimate) {
        outlook::note_what_estimates_need(f, model.task, sink);
    }
    let quality = if kind == Some(MonitorKind::Quality) {
        quality::read(f, (model.task, grain), model.segments, model.files, sink)?
    } else {
        f.refuse(quality::KEYS, "only quality monitors have it", sink);
        QualityChoice::default()
    };
    let compares = f.get("baseline").is_some() || f.get("against").is_some();
    if kind == Some(MonitorKind::Drift) && !compares {
        sink.note(
            f.place,
            "a drift monitor needs `baseline` or `against`: what the features are compared with",
        );
    }
    Some(MonitorDef {
        name,
        kind: kind?,
        grain: grain?,
        baseline,
        against: against?,
        estimate_tolerance: tolerance.filter(|_| kind == Some(MonitorKind::Estimate)),
        objective,
        predictions_take: TimeDelta::zero(),
        tolerance: tolerance.unwrap_or(DEFAULT_TOLERANCE),
        min_rows: u64::from(min_rows.unwrap_or(DEFAULT_MIN_ROWS)),
        thresholds: match thresholds {
            Some(read) => read?,
            None if kind == Some(MonitorKind::Drift) && !in_force.contains(&Measure::Shift) => {
                let in_force = |(measure, _): &(Measure, f64)| in_force.contains(measure);
                FALL_BACK.into_iter().filter(in_force).collect()
            }
            None => BTreeMap::new(),
        },
        quality,
        measures: measures?,
    })
}

fn refuse_what_the_kind_has_no_use_for(f: &Fields, kind: MonitorKind, sink: &mut Sink) {
    let (keys, because): (&[&str], _) = match kind {
        MonitorKind::Schema => (
            &[
                "baseline",
                "against",
                "min_labels",
                "measures",
                "thresholds",
            ],
            "a schema monitor compares with the schema; it has `tolerance` and `min_rows`",
        ),
        MonitorKind::Drift => (
            &["tolerance", "min_labels"],
            "a drift monitor has `baseline` or `against`, `min_rows`, `measures` and `thresholds`",
        ),
        MonitorKind::Quality => (
            &["tolerance", "min_rows", "thresholds"],
            "a quality monitor has `baseline` or `against`, `min_labels`, `measures` and what these need",
        ),
        MonitorKind::Objective => (
            &[
                "baseline",
                "against",
                "tolerance",
                "min_rows",
                "min_labels",
                "measures",
                "thresholds",
            ],
            "an objective monitor has `objective` and, of numbers, `right_within`",
        ),
        MonitorKind::Estimate => (
            &["against", "min_labels", "measures", "thresholds"],
            "an estimate monitor has `baseline`, `tolerance` and `min_rows`",
        ),
        MonitorKind::Traffic => (
            &[
                "baseline",
                "against",
                "tolerance",
                "min_labels",
                "measures",
                "thresholds",
            ],
            "a traffic monitor has `min_rows` only",
        ),
    };
    f.refuse(keys, because, sink);
}

fn note_listed_twice(f: &Fields, measures: &[Measure], sink: &mut Sink) {
    for (index, measure) in measures.iter().enumerate() {
        if measures[..index].contains(measure) {
            sink.note(
                f.get("measures").map_or(f.place, |node| node.place),
                format!("`{}` is listed twice", measure.as_str()),
            );
        }
    }
}

/// One of the measures a drift monitor may choose.
fn drift_measure(node: &Node, sink: &mut Sink) -> Option<Measure> {
    let measure = super::rule::measure(node, sink)?;
    if measure.value.is_drift() {
        return Some(measure.value);
    }
    let known = fields::listed(Measure::of_drift().map(Measure::as_str));
    sink.note(
        measure.place,
        format!(
            "a drift monitor does not measure `{}`; it can measure {known}",
            measure.value.as_str()
        ),
    );
    None
}

/// The thresholds of a monitor with these measures.
fn thresholds(
    node: &Node,
    measures: &[Measure],
    sink: &mut Sink,
) -> Option<BTreeMap<Measure, f64>> {
    // What is judged over days has gates of its own.
    let measures = || measures.iter().filter(|measure| !measure.is_over_days());
    let keys: Vec<&str> = measures().map(|measure| measure.as_str()).collect();
    let f = Fields::read(node, "the thresholds of a drift monitor", &keys, sink)?;
    let mut thresholds = BTreeMap::new();
    for measure in measures() {
        if let Some(value) = f.optional(measure.as_str(), sink, fields::positive) {
            thresholds.insert(*measure, value);
        }
    }
    Some(thresholds)
}
