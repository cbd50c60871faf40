//! BentoML's own monitoring records, as its `otlp` monitor sends them: a body with all columns of one row, and, in
//! as many records as its `meta_sample_rate` says, a schema that gives each column a role and a type.
//!
//! A record without a schema is read by that of another record of the same request for the same monitor; if none has
//! one it is refused, because without roles features and answers look alike.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::DateTime;

use super::super::raw::{Entries, Fault, Raw};
use super::message::{LogRecord, Origin, attribute, instant, number_of, text_of};
use super::{Destination, Kind, events};
use crate::domain::model::Task;

const SCOPE: &str = "bentoml_monitor_data";
const META: &str = "bento_meta";
const TIME: &str = "timestamp";
const REQUEST: &str = "request_id";
/// What the monitor adds to the columns.
const NO_COLUMNS: [&str; 4] = [META, TIME, REQUEST, "trace_id"];
/// A column that names the prediction, if the service logs one.
const ID: &str = "prediction_id";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Feature,
    Prediction,
    Target,
}

/// What is known of a monitor's columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Columns {
    roles: BTreeMap<String, Role>,
    version: Option<String>,
}

impl Columns {
    pub fn is_known(&self) -> bool {
        !self.roles.is_empty()
    }

    pub fn has_target(&self) -> bool {
        self.roles.values().any(|role| *role == Role::Target)
    }
}

/// Whether a record is BentoML's. Older SDKs, which it pins, do not say which logger it came from; then it is known by
/// its schema, or by what the monitor adds to the columns of a service `BENTO:MONITOR`.
pub(super) fn is_of(origin: &Origin<'_>, record: &LogRecord<'_>) -> bool {
    let Some(body) = body(record) else {
        return false;
    };
    let has = |name| body.iter().any(|(key, _)| key == name);
    let service = attribute(&origin.resource, "service.name").and_then(text_of);
    origin.scope == SCOPE
        || has(META)
        || (NO_COLUMNS.into_iter().all(|name| name == META || has(name))
            && service.is_some_and(|service| service.contains(':')))
}

fn body<'r, 'a>(record: &'r LogRecord<'a>) -> Option<&'r Entries<'a>> {
    match &record.body {
        Some(Raw::Object(entries)) => Some(entries),
        _ => None,
    }
}

fn object<'r, 'a>(value: Option<&'r Raw<'a>>) -> Option<&'r Entries<'a>> {
    match value {
        Some(Raw::Object(entries)) => Some(entries),
        _ => None,
    }
}

/// The model: the name of the monitor, which the service's name ends in.
pub(super) fn model(origin: &Origin<'_>, record: &LogRecord<'_>) -> Option<String> {
    let meta = object(body(record).and_then(|body| attribute(body, META)));
    let monitor = meta.and_then(|meta| text_of(attribute(meta, "monitor_name")?));
    if let Some(monitor) = monitor {
        return Some(monitor.into_owned());
    }
    let service = text_of(attribute(&origin.resource, "service.name")?)?;
    let monitor = service.rsplit_once(':').map_or(&*service, |(_, name)| name);
    (!monitor.is_empty()).then(|| monitor.to_owned())
}

/// The schema that a record brings; nothing if it brings none.
pub(super) fn columns(record: &LogRecord<'_>) -> Columns {
    let mut columns = Columns::default();
    let Some(meta) = object(body(record).and_then(|body| attribute(body, META))) else {
        return columns;
    };
    columns.version = attribute(meta, "bento_version")
        .and_then(text_of)
        .filter(|version| !matches!(&**version, "not available" | "None"))
        .map(Cow::into_owned);
    let schema = object(attribute(meta, "schema"));
    for (name, of) in schema.into_iter().flatten() {
        let role = object(Some(of)).and_then(|of| text_of(attribute(of, "role")?));
        let role = match role.as_deref() {
            Some("feature") => Role::Feature,
            Some("prediction") => Role::Prediction,
            Some("target") => Role::Target,
            _ => continue,
        };
        columns.roles.insert(name.clone().into_owned(), role);
    }
    columns
}

/// The row of predictions or labels that a record stands for.
pub(super) fn row<'a>(
    record: LogRecord<'a>,
    destination: &Destination,
    task: Task,
) -> Result<Entries<'a>, Fault> {
    let own = columns(&record);
    let columns = if own.is_known() {
        &own
    } else {
        &destination.columns
    };
    if !columns.is_known() {
        return Err(Fault::missing(
            "brings no schema of its columns, and no record beside it does; leave meta_sample_rate of the monitor at 1.0",
        )
        .in_field("bento_meta.schema"));
    }
    let at = instant(record.at).or_else(|| instant(record.observed_at));
    let content = events::content_id(&Origin::default(), &record);
    let Some(Raw::Object(body)) = record.body else {
        return Err(Fault::wrong("is not the columns of one row").in_field("body"));
    };
    let mut row = Entries::new();
    let named = attribute(&body, ID).and_then(text_of).map(Cow::into_owned);
    // Outside of a request, its id is the text of nothing.
    let asked = attribute(&body, REQUEST).and_then(text_of);
    let asked = asked.filter(|request| request != "None");
    let id = named.unwrap_or_else(|| match asked {
        // One request may log many rows.
        Some(request) => format!("{request}#{}", &content["otlp-".len()..][..8]),
        None => content,
    });
    let time = attribute(&body, TIME)
        .and_then(number_of)
        .and_then(|seconds| DateTime::from_timestamp_micros((seconds * 1e6) as i64))
        .or(at);
    let time = time.map(Raw::Timestamp);
    row.push((Cow::Borrowed(ID), Raw::Text(id.into())));
    for (name, value) in body {
        if NO_COLUMNS.contains(&&*name) || name == ID {
            continue;
        }
        match (columns.roles.get(&*name), destination.kind) {
            (Some(Role::Feature), Kind::Predictions) => put_feature(&mut row, &name, value),
            (Some(Role::Prediction), Kind::Predictions) => {
                row.push((Cow::Borrowed(field_of(task, &value)), value));
            }
            (Some(Role::Target), Kind::Labels) => row.push((Cow::Borrowed("label"), value)),
            (Some(_), _) => {}
            (None, _) => {
                let cause = "is a column that the record's schema does not have";
                return Err(Fault::wrong(cause).in_field(&name));
            }
        }
    }
    match destination.kind {
        Kind::Predictions => {
            row.extend(time.map(|time| (Cow::Borrowed("timestamp"), time)));
            if let Some(version) = &columns.version {
                row.push((Cow::Borrowed("version"), Raw::Text(version.clone().into())));
            }
        }
        Kind::Labels => row.extend(time.map(|time| (Cow::Borrowed("observed_at"), time))),
    }
    Ok(row)
}

/// A sequence of numbers is a feature for each of them.
fn put_feature<'a>(row: &mut Entries<'a>, name: &str, value: Raw<'a>) {
    match value {
        Raw::List(items) => {
            for (place, item) in items.into_iter().enumerate() {
                row.push((Cow::Owned(format!("feature.{name}.{place}")), item));
            }
        }
        value => row.push((Cow::Owned(format!("feature.{name}")), value)),
    }
}

/// Which field an answer fills: a fraction from a binary model is the probability of its positive class.
fn field_of(task: Task, value: &Raw<'_>) -> &'static str {
    match (task, value) {
        (Task::Binary, Raw::Number(_)) => "score",
        _ => "prediction",
    }
}
