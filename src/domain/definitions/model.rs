//! Models as they are declared: what they predict, their baselines, their schema and their monitors.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::against;
use super::attributions;
use super::fields::{self, Fields, Located, listed, suggestion};
use super::problem::{Sink, did_you_mean};
use super::yaml::{Content, Node};
use super::{outlook, quality, serving};
use crate::domain::attributions::Attributions;
use crate::domain::inference::Serving;
use crate::domain::mapping::{ColumnMap, FIELDS};
use crate::domain::measurement::Measure;
use crate::domain::model::Task;
use crate::domain::names;
use crate::domain::objective::ObjectiveChoice;
use crate::domain::quality::QualityChoice;
use crate::domain::reference::Past;
use crate::domain::schema::{FeatureOverride, FeatureType, Limit};
use crate::domain::window::Grain;

/// A model as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelDef {
    pub name: String,
    pub task: Task,
    pub description: String,
    /// The team or person who answers for it.
    pub owner: String,
    /// The unit of what it predicts, for regression; may be empty.
    pub unit: String,
    /// The class whose probability the score is; given for binary models and no others.
    pub positive_class: Option<String>,
    /// The base window: profiles are counted per window of this length. Hour or day.
    pub base_window: Grain,
    /// Fields by whose values everything is also measured.
    pub segments: Vec<String>,
    /// Days that are unlike the others every year: no baseline is fitted on them, and no drift is found on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<NaiveDate>,
    pub baselines: Vec<BaselineDef>,
    pub schema: Option<SchemaDef>,
    /// How it is served, for what serving platforms and telemetry bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    pub monitors: Vec<MonitorDef>,
    /// Which columns say how much features contributed to a prediction.
    #[serde(default)]
    pub attributions: Attributions,
    /// What its own columns are called.
    #[serde(default, skip_serializing_if = "ColumnMap::is_empty")]
    pub columns: ColumnMap,
}

impl ModelDef {
    /// The monitor of that name.
    #[must_use]
    pub fn monitor(&self, name: &str) -> Option<&MonitorDef> {
        self.monitors.iter().find(|monitor| monitor.name == name)
    }
}

/// What a model is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineDef {
    pub name: String,
    pub source: BaselineSource,
}

/// Where a baseline comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum BaselineSource {
    /// A file of rows, usually training data; its path is relative to the configuration directory.
    File { path: String },
    /// A past window of production, `[from, to)`; fitted when it is over.
    Window {
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        /// Only the predictions of this version; the champion's when absent.
        version: Option<String>,
    },
}

/// What is expected of the features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemaDef {
    /// The baseline the schema is inferred from. When absent, the features below are the whole schema, and each
    /// has a type.
    pub from: Option<String>,
    pub features: Vec<FeatureOverride>,
}

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

    /// Whether the default detector judges its days.
    #[must_use]
    pub fn watches_shift(&self) -> bool {
        self.kind == MonitorKind::Drift && self.drift_measures().contains(&Measure::Shift)
    }

    /// Whether detectors watch its labels.
    #[must_use]
    pub fn watches_labels(&self) -> bool {
        self.kind == MonitorKind::Quality && self.quality.measures.iter().any(|m| m.is_sequential())
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
    if grain == Some(Grain::Day) && !against_past {
        &Measure::USUAL_DRIFT
    } else {
        &Measure::USUAL_DRIFT_WITHOUT_DAYS
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
                measures.extend_from_slice(Measure::of_sequential(task));
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
/// The usual reading of PSI: a quarter and more is a population that has moved. In force where the detector cannot
/// work and nobody says otherwise, and then only beyond what chance gives.
pub const FALL_BACK_PSI: f64 = 0.25;
const DEFAULT_MIN_ROWS: u32 = 100;

pub(super) const TASKS: &[(&str, Task)] = &[
    ("regression", Task::Regression),
    ("binary", Task::Binary),
    ("multiclass", Task::Multiclass),
    ("ranking", Task::Ranking),
    ("forecast", Task::Forecast),
];
pub(super) const KINDS: &[(&str, MonitorKind)] = &[
    ("schema", MonitorKind::Schema),
    ("drift", MonitorKind::Drift),
    ("quality", MonitorKind::Quality),
    ("objective", MonitorKind::Objective),
    ("estimate", MonitorKind::Estimate),
    ("traffic", MonitorKind::Traffic),
];
pub(super) const GRAINS: &[(&str, Grain)] = &[
    ("hour", Grain::Hour),
    ("day", Grain::Day),
    ("week", Grain::Week),
    ("month", Grain::Month),
];
pub(super) const TYPES: &[(&str, FeatureType)] = &[
    ("number", FeatureType::Number),
    ("integer", FeatureType::Integer),
    ("boolean", FeatureType::Boolean),
    ("category", FeatureType::Category),
    ("text", FeatureType::Text),
    ("timestamp", FeatureType::Timestamp),
];
pub(super) const MODEL_KEYS: &[&str] = &[
    "name",
    "task",
    "description",
    "owner",
    "unit",
    "positive_class",
    "window",
    "segments",
    "holidays",
    "baselines",
    "schema",
    "serving",
    "monitors",
    "attributions",
    "columns",
];
pub(super) const COLUMN_LISTS: &[&str] = &["ignore", "inputs", "outputs"];
pub(super) const FILE_KEYS: &[&str] = &["file"];
pub(super) const WINDOW_KEYS: &[&str] = &["from", "to", "version"];
pub(super) const SCHEMA_KEYS: &[&str] = &["from", "features"];
pub(super) const FEATURE_KEYS: &[&str] = &[
    "type",
    "required",
    "min",
    "max",
    "categories",
    "max_null_share",
    "environments",
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

/// Reads one item of `models`. The name is handed out even when the rest is wrong, so that what refers to it is
/// not blamed as well.
pub(super) fn read(node: &Node, sink: &mut Sink) -> (Option<Located<String>>, Option<ModelDef>) {
    let Some(f) = Fields::read(node, "a model", MODEL_KEYS, sink) else {
        return (None, None);
    };
    let name = f.required("name", sink, fields::name);
    let task = f.required("task", sink, |n, s| fields::word(n, s, "a task", TASKS));
    let description = f.optional("description", sink, fields::text);
    let owner = f.optional("owner", sink, fields::text);
    let unit = f.optional("unit", sink, fields::text);
    let positive_class = positive_class(&f, task, sink);
    let base_window = f
        .optional("window", sink, |n, s| {
            fields::word(n, s, "a base window", &GRAINS[..2])
        })
        .unwrap_or(Grain::Day);
    let segments = unique_items(&f, "segments", "segment", sink, fields::name_in_rows);
    let holidays = f.items("holidays", sink, fields::day);
    let baselines = baselines(&f, sink);
    let baseline_names: Vec<&str> = baselines.names.iter().map(String::as_str).collect();
    let files: Vec<&str> = (baselines.values.iter().flatten())
        .filter(|baseline| matches!(baseline.source, BaselineSource::File { .. }))
        .map(|baseline| baseline.name.as_str())
        .collect();
    let schema = f.get("schema").map(|n| schema(n, &baseline_names, sink));
    let of_model = OfModel {
        task,
        base_window,
        segments: segments.as_deref().unwrap_or_default(),
        baselines: &baseline_names,
        files: &files,
    };
    let monitors = monitors(&f, of_model, sink);
    let attributions = f
        .get("attributions")
        .map(|node| attributions::read(node, sink));
    let columns = f.optional("columns", sink, read_columns);
    let serving = f.get("serving").map(|n| serving::read(n, task, sink));
    let model = (|| {
        Some(ModelDef {
            name: name.as_ref()?.value.clone(),
            task: task?,
            description: description.unwrap_or_default(),
            owner: owner.unwrap_or_default(),
            unit: unit.unwrap_or_default(),
            positive_class,
            base_window,
            segments: segments?,
            holidays: holidays?,
            baselines: baselines.values?,
            schema: match schema {
                None => None,
                Some(read) => Some(read?),
            },
            serving: match serving {
                None => None,
                Some(read) => Some(read?),
            },
            monitors: monitors?,
            attributions: match attributions {
                None => Attributions::default(),
                Some(read) => read?,
            },
            columns: columns.unwrap_or_default(),
        })
    })();
    (name, model)
}

/// The keys of `columns`.
pub(super) fn column_keys() -> Vec<&'static str> {
    FIELDS.iter().chain(COLUMN_LISTS).copied().collect()
}

fn read_columns(node: &Node, sink: &mut Sink) -> Option<ColumnMap> {
    let f = Fields::read(node, "columns", &column_keys(), sink)?;
    let mut map = ColumnMap::default();
    for field in FIELDS {
        let Some(node) = f.get(field) else {
            continue;
        };
        let column = fields::name_in_rows(node, sink)?.value;
        if let Some(other) = map.field_of(&column) {
            let cause = format!("`{column}` is `{other}` already; a column is one field");
            sink.note(node.place, cause);
            return None;
        }
        map.fields.insert(field.to_owned(), column);
    }
    map.ignore = unique_items(&f, "ignore", "column", sink, fields::name_in_rows)?
        .into_iter()
        .collect();
    map.inputs = unique_items(&f, "inputs", "input", sink, fields::name_in_rows)?;
    map.outputs = unique_items(&f, "outputs", "output", sink, fields::name_in_rows)?;
    Some(map)
}

fn positive_class(f: &Fields, task: Option<Task>, sink: &mut Sink) -> Option<String> {
    match task {
        Some(Task::Binary) if f.get("positive_class").is_none() => {
            sink.note(
                f.place,
                "a binary model needs `positive_class`: the label whose probability its score is",
            );
            None
        }
        Some(Task::Regression | Task::Multiclass | Task::Ranking | Task::Forecast) => {
            f.refuse(&["positive_class"], "only binary models have one", sink);
            None
        }
        _ => f.optional("positive_class", sink, fields::class),
    }
}

/// A list of names in which none may come twice.
fn unique_items(
    f: &Fields,
    key: &str,
    what: &str,
    sink: &mut Sink,
    read: impl FnMut(&Node, &mut Sink) -> Option<Located<String>>,
) -> Option<Vec<String>> {
    let items = f.items(key, sink, read)?;
    note_twice(&items, what, sink);
    Some(items.into_iter().map(|item| item.value).collect())
}

/// Notes every name that was given before.
pub(super) fn note_twice(names: &[Located<String>], what: &str, sink: &mut Sink) {
    for (position, name) in names.iter().enumerate() {
        if let Some(first) = names[..position].iter().find(|n| n.value == name.value) {
            sink.note(
                name.place,
                format!(
                    "there is already a {what} `{}`, on line {}",
                    name.value, first.place.line
                ),
            );
        }
    }
}

/// The baselines of a model, and their names, known even where a baseline is wrong.
struct Baselines {
    names: Vec<String>,
    values: Option<Vec<BaselineDef>>,
}

fn baselines(f: &Fields, sink: &mut Sink) -> Baselines {
    let Some(node) = f.get("baselines") else {
        return Baselines {
            names: Vec::new(),
            values: Some(Vec::new()),
        };
    };
    let Some(entries) = entries(node, "a baseline", sink) else {
        return Baselines {
            names: Vec::new(),
            values: None,
        };
    };
    let names = entries.iter().map(|(name, _)| name.clone()).collect();
    let read: Vec<Option<BaselineDef>> = entries
        .into_iter()
        .map(|(name, node)| {
            let source = baseline_source(node, sink)?;
            Some(BaselineDef { name, source })
        })
        .collect();
    Baselines {
        names,
        values: read.into_iter().collect(),
    }
}

/// A mapping from names that people choose to values.
pub(super) fn entries<'a>(
    node: &'a Node,
    what: &str,
    sink: &mut Sink,
) -> Option<Vec<(String, &'a Node)>> {
    let Content::Map(map) = &node.content else {
        sink.note(
            node.place,
            format!(
                "a mapping from the name of {what} to what it is, is expected, but this is {}",
                node.kind()
            ),
        );
        return None;
    };
    let read: Vec<Option<(String, &Node)>> = map
        .iter()
        .map(|(key, value)| Some((fields::text(key, sink)?, value)))
        .collect();
    read.into_iter().collect()
}

fn baseline_source(node: &Node, sink: &mut Sink) -> Option<BaselineSource> {
    let is_file = matches!(&node.content, Content::Map(map)
        if map.iter().any(|(key, _)| key.content == Content::Text("file".into())));
    if is_file {
        let f = Fields::read(node, "a baseline from a file", FILE_KEYS, sink)?;
        let path = f.required("file", sink, data_file)?;
        return Some(BaselineSource::File { path });
    }
    let f = Fields::read(
        node,
        "a baseline from a past window (one from data has the key `file`)",
        WINDOW_KEYS,
        sink,
    )?;
    let from = f.required("from", sink, fields::instant);
    let to = f.required("to", sink, fields::instant);
    let version = f.optional("version", sink, fields::text);
    let (from, to) = (from?, to?);
    if from >= to {
        sink.note(
            f.get("to").map_or(f.place, |n| n.place),
            "the window ends before it begins: `to` has to be later than `from`",
        );
        return None;
    }
    Some(BaselineSource::Window { from, to, version })
}

/// The path of a file of rows, written relative to the file that names it.
fn data_file(node: &Node, sink: &mut Sink) -> Option<String> {
    let written = fields::text(node, sink)?;
    let known = [".parquet", ".csv", ".ndjson", ".jsonl", ".json"];
    if !known.iter().any(|ending| written.ends_with(ending)) {
        sink.note(
            node.place,
            format!("a file of rows ends in one of {}", listed(known)),
        );
        return None;
    }
    let Some(path) = relative_to(sink.file(), &written) else {
        sink.note(
            node.place,
            "a file of rows lies inside the configuration directory, and its path is relative to this file",
        );
        return None;
    };
    Some(path)
}

/// `path` as seen from the directory that `file` is in, without `.` and `..`; `None` when it leads out of the
/// configuration directory.
fn relative_to(file: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn schema(node: &Node, baselines: &[&str], sink: &mut Sink) -> Option<SchemaDef> {
    let f = Fields::read(node, "a schema", SCHEMA_KEYS, sink)?;
    let from = f.optional("from", sink, |n, s| baseline_name(n, baselines, s));
    let whole = f.get("from").is_none();
    let features = match f.get("features") {
        None if whole => {
            sink.note(
                f.place,
                "a schema needs `from`, the baseline it is inferred from, or `features`",
            );
            None
        }
        None => Some(Vec::new()),
        Some(node) => entries(node, "a feature", sink).and_then(|entries| {
            let read: Vec<Option<FeatureOverride>> = entries
                .into_iter()
                .map(|(name, node)| feature(name, node, whole, sink))
                .collect();
            read.into_iter().collect()
        }),
    };
    Some(SchemaDef {
        from,
        features: features?,
    })
}

fn feature(name: String, node: &Node, typed: bool, sink: &mut Sink) -> Option<FeatureOverride> {
    let f = Fields::read(node, "a feature", FEATURE_KEYS, sink)?;
    let feature_type = f.optional("type", sink, |n, s| {
        fields::word(n, s, "a type of feature", TYPES)
    });
    if typed && f.get("type").is_none() {
        sink.note(
            f.place,
            "a feature needs `type` when its schema is not inferred (`from`)",
        );
    }
    let required = f.optional("required", sink, fields::flag);
    let minimum = limit(&f, "min", sink, fields::number);
    let maximum = limit(&f, "max", sink, fields::number);
    let categories = limit(&f, "categories", sink, |n, s| {
        fields::items(n, s, fields::class)
    });
    let max_null_share = f.optional("max_null_share", sink, fields::share);
    let environments = f.optional("environments", sink, |n, s| {
        fields::items(n, s, fields::text)
    });
    if environments.as_ref().is_some_and(Vec::is_empty) {
        sink.note(
            f.get("environments").map_or(f.place, |n| n.place),
            "no environment is listed; a feature that is nowhere required has `required: false`",
        );
    }
    if let (Limit::Given(min), Limit::Given(max)) = (&minimum, &maximum)
        && min > max
    {
        sink.note(
            f.place,
            format!("no value lies in this range: `min` {min} is above `max` {max}"),
        );
    }
    if let Some(kind) = feature_type {
        if !kind.is_numeric() {
            f.refuse(&["min", "max"], "only numbers have a range", sink);
        }
        if !matches!(kind, FeatureType::Category | FeatureType::Boolean) {
            f.refuse(&["categories"], "only categories have a list", sink);
        }
    }
    Some(FeatureOverride {
        feature: names::canonical(&name).into_owned(),
        feature_type,
        required,
        minimum,
        maximum,
        categories,
        max_null_share,
        environments,
    })
}

/// A limit, or the word `any` for none.
fn limit<T>(
    f: &Fields,
    key: &str,
    sink: &mut Sink,
    read: impl FnOnce(&Node, &mut Sink) -> Option<T>,
) -> Limit<T> {
    match f.get(key) {
        None => Limit::Inferred,
        Some(node) if node.content == Content::Text("any".into()) => Limit::Any,
        Some(node) => read(node, sink).map_or(Limit::Inferred, Limit::Given),
    }
}

fn baseline_name(node: &Node, known: &[&str], sink: &mut Sink) -> Option<String> {
    let name = fields::text(node, sink)?;
    if known.contains(&name.as_str()) {
        return Some(name);
    }
    let hint = suggestion(
        did_you_mean(&name, known.iter().copied()),
        &listed(known.iter().copied()),
    );
    sink.note(
        node.place,
        format!("this model has no baseline `{name}`{hint}"),
    );
    None
}

/// What monitors have to fit.
#[derive(Clone, Copy)]
struct OfModel<'m> {
    task: Option<Task>,
    base_window: Grain,
    segments: &'m [String],
    baselines: &'m [&'m str],
    /// Those of them that come from files.
    files: &'m [&'m str],
}

fn monitors(f: &Fields, model: OfModel, sink: &mut Sink) -> Option<Vec<MonitorDef>> {
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
    if given.contains(&Measure::Shift) && (grain != Some(Grain::Day) || f.get("against").is_some())
    {
        sink.note(
            f.get("measures").map_or(f.place, |node| node.place),
            "`shift` is measured by day and against the days of a `baseline`",
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
        quality::read(f, model.task, model.segments, model.files, sink)?
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
        tolerance: tolerance.unwrap_or(DEFAULT_TOLERANCE),
        min_rows: u64::from(min_rows.unwrap_or(DEFAULT_MIN_ROWS)),
        thresholds: match thresholds {
            Some(read) => read?,
            None if kind == Some(MonitorKind::Drift)
                && in_force.contains(&Measure::Psi)
                && !in_force.contains(&Measure::Shift) =>
            {
                BTreeMap::from([(Measure::Psi, FALL_BACK_PSI)])
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
    // The detector has gates of its own.
    let measures = || {
        measures
            .iter()
            .filter(|measure| **measure != Measure::Shift)
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_data_are_relative_to_the_file_that_names_them_and_stay_inside() {
        let cases = [
            ("bellwether.yaml", "data/a.csv", Some("data/a.csv")),
            ("models/air.yaml", "../data/a.csv", Some("data/a.csv")),
            ("models/air.yaml", "./a.csv", Some("models/a.csv")),
            ("models/air.yaml", "../../a.csv", None),
            ("air.yaml", "/etc/a.csv", None),
            ("air.yaml", "..\\a.csv", None),
        ];
        for (file, path, expected) in cases {
            assert_eq!(relative_to(file, path).as_deref(), expected, "{path}");
        }
    }
}
