//! Models as they are declared: what they predict, their baselines, their schema and their monitors.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::attributions;
use super::fields::{self, Fields, Located, listed, suggestion};
use super::monitors::{self, MonitorDef, OfModel};
use super::problem::{Sink, did_you_mean};
use super::serving;
use super::yaml::{Content, Node};
use crate::domain::attributions::Attributions;
use crate::domain::inference::Serving;
use crate::domain::mapping::{ColumnMap, FIELDS};
use crate::domain::model::Task;
use crate::domain::names;
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
    /// After this time as good as all predictions have come: a window is measured so long after it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions_within_seconds: Option<i64>,
    /// Fields by whose values everything is also measured.
    pub segments: Vec<String>,
    /// Days that are unlike the others: no baseline is fitted on them, and no drift is found on them.
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
    /// How long predictions may take to come.
    #[must_use]
    pub fn predictions_take(&self) -> TimeDelta {
        TimeDelta::seconds(self.predictions_within_seconds.unwrap_or_default())
    }

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

pub(super) const TASKS: &[(&str, Task)] = &[
    ("regression", Task::Regression),
    ("binary", Task::Binary),
    ("multiclass", Task::Multiclass),
    ("ranking", Task::Ranking),
    ("forecast", Task::Forecast),
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
    ("vector", FeatureType::Vector),
];
pub(super) const MODEL_KEYS: &[&str] = &[
    "name",
    "task",
    "description",
    "owner",
    "unit",
    "positive_class",
    "window",
    "predictions_within",
    "segments",
    "holidays",
    "baselines",
    "schema",
    "serving",
    "monitors",
    "attributions",
    "columns",
];
const TIME_FORMAT: &str = "time_format";
const TIME_ZONE: &str = "time_zone";
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
    "max_duplicate_share",
    "min_distinct",
    "max_distinct",
    "max_outside_share",
    "environments",
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
    let predictions_within_seconds = f.optional("predictions_within", sink, fields::seconds);
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
    let monitors = monitors::read(&f, of_model, sink);
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
            predictions_within_seconds,
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
    let times = [TIME_FORMAT, TIME_ZONE];
    (FIELDS.iter().chain(COLUMN_LISTS).copied())
        .chain(times)
        .collect()
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
    map.times.written = match f.get(TIME_FORMAT) {
        Some(node) => Some(said(node, sink)?),
        None => None,
    };
    map.times.zone = match f.get(TIME_ZONE) {
        Some(node) => Some(said(node, sink)?),
        None => None,
    };
    Some(map)
}

/// A text that is something more.
fn said<T: TryFrom<String, Error = String>>(node: &Node, sink: &mut Sink) -> Option<T> {
    let read = T::try_from(fields::text(node, sink)?);
    read.map_err(|cause| sink.note(node.place, cause)).ok()
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
    let max_duplicate_share = limit(&f, "max_duplicate_share", sink, fields::share);
    let min_distinct = f.optional("min_distinct", sink, fields::whole(0, u32::MAX));
    let max_distinct = f.optional("max_distinct", sink, fields::whole(0, u32::MAX));
    let max_outside_share = f.optional("max_outside_share", sink, fields::share);
    if let (Some(min), Some(max)) = (min_distinct, max_distinct)
        && min > max
    {
        sink.note(
            f.place,
            format!(
                "no number of values is allowed: `min_distinct` {min} is above `max_distinct` {max}"
            ),
        );
    }
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
        if kind == FeatureType::Vector {
            let keys = ["max_duplicate_share", "min_distinct", "max_distinct"];
            f.refuse(
                &keys,
                "of vectors it is not counted how often they repeat",
                sink,
            );
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
        max_duplicate_share,
        min_distinct: min_distinct.map(i64::from),
        max_distinct: max_distinct.map(i64::from),
        max_outside_share,
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

pub(super) fn baseline_name(node: &Node, known: &[&str], sink: &mut Sink) -> Option<String> {
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
