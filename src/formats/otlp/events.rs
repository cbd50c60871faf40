//! Predictions and labels as events: which names mean what. The fields are those of every other format; an
//! attribute puts `bellwether.` before their name, and a body that is a map is a row as it stands.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::super::raw::{Entries, Fault, Raw};
use super::message::{LogRecord, Node, Origin, Span, SpanEvent, attribute, instant, text_of};
use super::{Damage, Destination, Kind, bento, proto, text};
use crate::domain::batch::RejectReason;
use crate::domain::model::Task;

const PREFIX: &str = "bellwether.";
const PREDICTION: &str = "bellwether.prediction";
const LABEL: &str = "bellwether.label";
/// Where older SDKs put the name of an event.
const EVENT_NAME: &str = "event.name";
/// The attribute that names the model, of a record or of its resource.
const MODEL: &str = "bellwether.model";
const SERVICE: &str = "service.name";
/// Fields that a resource may give for all of its records.
const OF_RESOURCE: [&str; 2] = ["version", "deployment"];
/// Fields of one value, and beginnings of the names of many.
const FIELDS: [&str; 13] = [
    ID,
    "timestamp",
    "version",
    "prediction",
    "score",
    "probabilities",
    "features",
    "segments",
    "latency_ms",
    "error",
    "deployment",
    "label",
    "observed_at",
];
const BEGINNINGS: [&str; 3] = ["feature.", "probability.", "segment."];
const SEGMENT: &str = "segment.";
const ID: &str = "prediction_id";

pub(super) fn log_record(node: Node<'_>) -> Result<LogRecord<'_>, Damage> {
    match node {
        Node::Protobuf(message) => proto::log_record(message),
        Node::Json(message) => text::log_record(message),
    }
}

pub(super) fn span(node: Node<'_>) -> Result<Span<'_>, Damage> {
    match node {
        Node::Protobuf(message) => proto::span(message),
        Node::Json(message) => text::span(message),
    }
}

/// What an event tells of, if it is one of ours.
pub(super) fn kind(record: &LogRecord<'_>) -> Option<Kind> {
    let name = match &*record.event_name {
        "" => text_of(attribute(&record.attributes, EVENT_NAME)?)?,
        name => Cow::Borrowed(name),
    };
    match &*name {
        PREDICTION => Some(Kind::Predictions),
        LABEL => Some(Kind::Labels),
        _ => None,
    }
}

/// As [`kind`], of an event of a span.
pub(super) fn kind_of_event(event: &SpanEvent<'_>) -> Option<Kind> {
    match &*event.name {
        PREDICTION => Some(Kind::Predictions),
        LABEL => Some(Kind::Labels),
        _ => None,
    }
}

/// Takes the events out of a span that tell of predictions or labels, each with its place among all of them.
pub(super) fn told_in<'a>(span: &mut Span<'a>) -> Vec<(usize, SpanEvent<'a>, Kind)> {
    let events = std::mem::take(&mut span.events).into_iter().enumerate();
    events
        .filter_map(|(place, event)| {
            let kind = kind_of_event(&event)?;
            Some((place, event, kind))
        })
        .collect()
}

/// Whether a span says what a model answered.
pub(super) fn tells_of_a_prediction(attributes: &Entries<'_>) -> bool {
    let answers = ["prediction", "score", "probabilities", ID];
    attributes.iter().any(|(name, _)| {
        let field = name.strip_prefix(PREFIX);
        field.is_some_and(|field| answers.contains(&field) || field.starts_with("probability."))
    })
}

/// The model a record is about.
pub(super) fn model(origin: &Origin<'_>, attributes: &Entries<'_>) -> Option<String> {
    let named = attribute(attributes, MODEL)
        .or_else(|| attribute(&origin.resource, MODEL))
        .or_else(|| attribute(&origin.resource, SERVICE));
    named.and_then(text_of).map(Cow::into_owned)
}

/// The model that an event of a span is about: what the event does not say, its span does.
pub(super) fn model_of_event(
    origin: &Origin<'_>,
    span: &Span<'_>,
    event: &SpanEvent<'_>,
) -> Option<String> {
    let named = attribute(&event.attributes, MODEL).or_else(|| attribute(&span.attributes, MODEL));
    match named {
        Some(named) => text_of(named).map(Cow::into_owned),
        None => model(origin, &event.attributes),
    }
}

/// The row that a log record stands for.
pub(super) fn row_of_log<'a>(
    origin: &'a Origin<'a>,
    node: Node<'a>,
    destination: &Destination,
    task: Task,
) -> Result<Entries<'a>, Fault> {
    let record = log_record(node)?;
    if bento::is_of(origin, &record) {
        return bento::row(record, destination, task);
    }
    let at = instant(record.at).or_else(|| instant(record.observed_at));
    let lacks_id = destination.kind == Kind::Predictions && !names_itself(&record);
    let content = lacks_id.then(|| content_id(origin, &record));
    let mut row = match record.body {
        Some(Raw::Object(entries)) => entries,
        _ => Entries::new(),
    };
    add_attributes(&mut row, record.attributes)?;
    let time = match destination.kind {
        Kind::Predictions => "timestamp",
        Kind::Labels => "observed_at",
    };
    if !has(&row, time)
        && let Some(at) = at
    {
        row.push((Cow::Borrowed(time), Raw::Timestamp(at)));
    }
    if destination.kind == Kind::Predictions {
        add_defaults(&mut row, &[&origin.resource]);
        if let Some(content) = content {
            row.push((Cow::Borrowed(ID), Raw::Text(content.into())));
        }
    }
    Ok(row)
}

/// Whether a record says which prediction it is about.
fn names_itself(record: &LogRecord<'_>) -> bool {
    let in_attributes = (record.attributes.iter())
        .any(|(name, value)| name.strip_prefix(PREFIX) == Some(ID) && !value.is_null());
    in_attributes || matches!(&record.body, Some(Raw::Object(entries)) if has(entries, ID))
}

/// The row that a span stands for: it began when the model was asked, and took as long as the model.
pub(super) fn row_of_span<'a>(
    origin: &'a Origin<'a>,
    span: &Span<'a>,
) -> Result<Entries<'a>, Fault> {
    let mut row = Entries::new();
    add_attributes(&mut row, span.attributes.clone())?;
    add_defaults(&mut row, &[&origin.resource]);
    if !has(&row, "timestamp")
        && let Some(at) = instant(span.started_at)
    {
        row.push((Cow::Borrowed("timestamp"), Raw::Timestamp(at)));
    }
    if !has(&row, "latency_ms") && span.ended_at >= span.started_at && span.started_at > 0 {
        let milliseconds = (span.ended_at - span.started_at) as f64 / 1e6;
        row.push((Cow::Borrowed("latency_ms"), Raw::Number(milliseconds)));
    }
    if !has(&row, "error") && span.failed {
        let failure = match &span.failure {
            text if text.is_empty() => Cow::Borrowed("error"),
            text => text.clone(),
        };
        row.push((Cow::Borrowed("error"), Raw::Text(failure)));
    }
    if !has(&row, ID) {
        let id = format!("{:032x}-{:016x}", span.trace_id, span.span_id);
        row.push((Cow::Borrowed(ID), Raw::Text(id.into())));
    }
    Ok(row)
}

/// The row that an event of a span stands for. Without an id of its own it has that of the span and its place in it, so that
/// it counts once when the span is sent again.
pub(super) fn row_of_event<'a>(
    origin: &'a Origin<'a>,
    span: &'a Span<'a>,
    (place, event, kind): (usize, SpanEvent<'a>, Kind),
) -> Result<Entries<'a>, Fault> {
    let mut row = Entries::new();
    add_attributes(&mut row, event.attributes)?;
    let time = match kind {
        Kind::Predictions => "timestamp",
        Kind::Labels => "observed_at",
    };
    if !has(&row, time)
        && let Some(at) = instant(event.at)
    {
        row.push((Cow::Borrowed(time), Raw::Timestamp(at)));
    }
    if kind == Kind::Predictions {
        add_defaults(&mut row, &[&span.attributes, &origin.resource]);
        if !has(&row, ID) {
            let id = format!("{:032x}-{:016x}-{place}", span.trace_id, span.span_id);
            row.push((Cow::Borrowed(ID), Raw::Text(id.into())));
        }
    }
    Ok(row)
}

fn has(row: &Entries<'_>, name: &str) -> bool {
    row.iter()
        .any(|(key, value)| key == name && !value.is_null())
}

/// Moves the attributes that are ours into the row. One that begins like ours and is none would be lost without a
/// word, so it costs the row.
fn add_attributes<'a>(row: &mut Entries<'a>, attributes: Entries<'a>) -> Result<(), Fault> {
    let mut segments = Entries::new();
    for (name, value) in attributes {
        let Some(field) = name.strip_prefix(PREFIX) else {
            continue;
        };
        if field == "model" {
            continue;
        }
        if let Some(segment) = field.strip_prefix(SEGMENT) {
            segments.push((Cow::Owned(segment.to_owned()), value));
        } else if FIELDS.contains(&field) || BEGINNINGS.iter().any(|b| field.starts_with(b)) {
            row.push((Cow::Owned(field.to_owned()), value));
        } else {
            let cause = "is no attribute that Bellwether knows; docs/plug-in.md lists them";
            return Err(Fault::new(RejectReason::Malformed, cause).in_field(&name));
        }
    }
    if segments.is_empty() {
        return Ok(());
    }
    let given = row.iter_mut().find(|(name, _)| name == "segments");
    match given {
        Some((_, Raw::Object(given))) => given.append(&mut segments),
        Some(_) => {
            let cause = "is given as a list or text beside bellwether.segment attributes";
            return Err(Fault::new(RejectReason::DuplicateField, cause).in_field("segments"));
        }
        None => row.push((Cow::Borrowed("segments"), Raw::Object(segments))),
    }
    Ok(())
}

/// What is said of all that is around a record, from the nearest on, where the row says nothing itself.
fn add_defaults<'a>(row: &mut Entries<'a>, around: &[&'a Entries<'a>]) {
    for field in OF_RESOURCE {
        let said = (around.iter().copied().flatten())
            .find(|(name, _)| name.strip_prefix(PREFIX) == Some(field))
            .map(|(_, value)| lent(value));
        if let Some(value) = said
            && !has(row, field)
        {
            row.retain(|(name, _)| name != field);
            row.push((Cow::Borrowed(field), value));
        }
    }
}

/// A value that many rows share, without a copy for each. Their fields take names: of what no name is, it is enough to say
/// what it is.
fn lent<'a>(value: &'a Raw<'a>) -> Raw<'a> {
    match value {
        Raw::Text(text) => Raw::Text(Cow::Borrowed(text)),
        Raw::BigNumber(digits) => Raw::BigNumber(Cow::Borrowed(digits)),
        Raw::List(_) | Raw::Vector(_) => Raw::Nested("a list", ""),
        Raw::Object(_) => Raw::Nested("an object", ""),
        other => other.clone(),
    }
}

/// An id for a record that has none: the same for the same record sent again.
pub(super) fn content_id(origin: &Origin<'_>, record: &LogRecord<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(record.at.to_be_bytes());
    hash.update(record.span_id.to_be_bytes());
    // `Debug` of these is their content, and as stable as the types.
    hash.update(origin.resource_in_ids().as_bytes());
    let text = format!("{:?}{:?}", record.attributes, record.body);
    hash.update(text.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = String::from("otlp-");
    for byte in &digest[..16] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}
