//! OTLP messages in JSON, read leniently: numbers of 64 bits as text or numbers, `"NaN"` and `"Infinity"` where
//! a double belongs, `null` for whatever is not there, unknown names passed over. So nothing has to be mended
//! before reading, and nothing is lost by mending.

use std::borrow::Cow;

use super::super::json::{Elements, Object};
use super::super::raw::{Entries, Raw};
use super::message::{
    Form, LogRecord, MOST_BUCKETS, Metric, MetricData, Node, Origin, Point, Room, Span, SpanEvent,
    Temporality,
};
use super::{Damage, Signal};

/// The names under which a signal keeps its resources, scopes and records.
fn names(signal: Signal) -> [&'static str; 3] {
    match signal {
        Signal::Logs => ["resourceLogs", "scopeLogs", "logRecords"],
        Signal::Traces => ["resourceSpans", "scopeSpans", "spans"],
        Signal::Metrics => ["resourceMetrics", "scopeMetrics", "metrics"],
    }
}

/// Walks over the records of an export request.
pub(super) fn walk<'a, E: From<Damage>>(
    body: &'a str,
    signal: Signal,
    mut visit: impl FnMut(&Origin<'a>, Node<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let [resources, scopes, records] = names(signal);
    let request = Members::of(body)?;
    each(request.get(resources), |resource| {
        let resource = Members::of(resource)?;
        let described = match resource.get("resource") {
            Some(described) => attributes(&Members::of(described)?, &mut Room::new())?,
            None => Entries::new(),
        };
        let mut origin = Origin::of(described);
        each(resource.get(scopes), |scope| {
            let scope = Members::of(scope)?;
            origin.enter(match scope.get("scope") {
                Some(described) => Members::of(described)?.text("name")?,
                None => Cow::Borrowed(""),
            });
            each(scope.get(records), |record| {
                visit(&origin, Node::Json(record))
            })
        })
    })
}

pub(super) fn log_record(text: &str) -> Result<LogRecord<'_>, Damage> {
    let members = Members::of(text)?;
    let mut room = Room::new();
    Ok(LogRecord {
        at: members.unsigned("timeUnixNano")?,
        observed_at: members.unsigned("observedTimeUnixNano")?,
        event_name: members.text("eventName")?,
        body: match members.get("body") {
            Some(body) => Some(any_value(body, &mut room)?),
            None => None,
        },
        attributes: attributes(&members, &mut room)?,
        span_id: u64::from_str_radix(&members.text("spanId")?, 16).unwrap_or(0),
    })
}

pub(super) fn span(text: &str) -> Result<Span<'_>, Damage> {
    let members = Members::of(text)?;
    let mut room = Room::new();
    let mut span = Span {
        trace_id: u128::from_str_radix(&members.text("traceId")?, 16).unwrap_or(0),
        span_id: u64::from_str_radix(&members.text("spanId")?, 16).unwrap_or(0),
        name: members.text("name")?,
        started_at: members.unsigned("startTimeUnixNano")?,
        ended_at: members.unsigned("endTimeUnixNano")?,
        attributes: attributes(&members, &mut room)?,
        ..Span::default()
    };
    each(members.get("events"), |event| {
        room.take()?;
        let event = Members::of(event)?;
        span.events.push(SpanEvent {
            at: event.unsigned("timeUnixNano")?,
            name: event.text("name")?,
            attributes: attributes(&event, &mut room)?,
        });
        Ok::<_, Damage>(())
    })?;
    if let Some(status) = members.get("status") {
        let status = Members::of(status)?;
        span.failure = status.text("message")?;
        span.failed = status.unsigned("code")? == 2;
    }
    Ok(span)
}

pub(super) fn metric(text: &str) -> Result<Metric<'_>, Damage> {
    let members = Members::of(text)?;
    let mut metric = Metric {
        name: members.text("name")?,
        data: None,
    };
    for (name, form) in [
        ("gauge", Form::Gauge),
        ("sum", Form::Sum),
        ("histogram", Form::Histogram),
        ("exponentialHistogram", Form::ExponentialHistogram),
        ("summary", Form::Summary),
    ] {
        let Some(data) = members.get(name) else {
            continue;
        };
        let data = Members::of(data)?;
        metric.data = Some(MetricData {
            form,
            temporality: Temporality::of(data.unsigned("aggregationTemporality")?),
            monotonic: data.get("isMonotonic") == Some("true"),
            points: Node::Json(data.get("dataPoints").unwrap_or("[]")),
        });
    }
    Ok(metric)
}

/// Visits the points of a list.
pub(super) fn points<'a, E: From<Damage>>(
    list: &'a str,
    mut visit: impl FnMut(Node<'a>) -> Result<(), E>,
) -> Result<(), E> {
    each(Some(list), |point| visit(Node::Json(point)))
}

pub(super) fn point(text: &str) -> Result<Point<'_>, Damage> {
    const NO_VALUE: u64 = 1;
    let members = Members::of(text)?;
    let mut point = Point {
        attributes: attributes(&members, &mut Room::new())?,
        started_at: members.unsigned("startTimeUnixNano")?,
        at: members.unsigned("timeUnixNano")?,
        value: match members.get("asDouble").or(members.get("asInt")) {
            Some(value) => Some(double(value)?),
            None => None,
        },
        sum: match members.get("sum") {
            Some(sum) => Some(double(sum)?),
            None => None,
        },
        count: members.unsigned("count")?,
        scale: members.signed("scale")?,
        zero_count: members.unsigned("zeroCount")?,
        stale: members.unsigned("flags")? & NO_VALUE != 0,
        ..Point::default()
    };
    let numbers = |list, into: &mut Vec<u64>| {
        each(list, |item| {
            if into.len() == MOST_BUCKETS {
                return Err(Damage("more buckets than any histogram has"));
            }
            into.push(unsigned(item)?);
            Ok(())
        })
    };
    numbers(members.get("bucketCounts"), &mut point.buckets)?;
    each(members.get("explicitBounds"), |item| {
        if point.bounds.len() == MOST_BUCKETS {
            return Err(Damage("more buckets than any histogram has"));
        }
        point.bounds.push(double(item)?);
        Ok(())
    })?;
    if let Some(positive) = members.get("positive") {
        let positive = Members::of(positive)?;
        point.offset = positive.signed("offset")?;
        numbers(positive.get("bucketCounts"), &mut point.buckets)?;
    }
    if let Some(negative) = members.get("negative") {
        let mut counts = Vec::new();
        numbers(Members::of(negative)?.get("bucketCounts"), &mut counts)?;
        point.has_negative = counts.iter().any(|count| *count > 0);
    }
    Ok(point)
}

/// The members of an object; `null` has none.
struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    fn of(text: &'a str) -> Result<Self, Damage> {
        if text == "null" {
            return Ok(Self(Vec::new()));
        }
        let object: Object = serde_json::from_str(text)
            .map_err(|_| Damage("something else where a JSON object belongs"))?;
        let entries = object
            .into_entries()
            .map_err(|_| Damage("an object with more than 10000 names"))?;
        let entries = entries.into_iter();
        Ok(Self(
            entries.map(|(name, value)| (name, value.get())).collect(),
        ))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| *value).filter(|v| *v != "null")
    }

    fn text(&self, name: &str) -> Result<Cow<'a, str>, Damage> {
        self.get(name).map_or(Ok(Cow::Borrowed("")), text)
    }

    fn unsigned(&self, name: &str) -> Result<u64, Damage> {
        self.get(name).map_or(Ok(0), unsigned)
    }

    fn signed(&self, name: &str) -> Result<i32, Damage> {
        self.get(name).map_or(Ok(0), |value| {
            let number = bare(value).parse();
            number.map_err(|_| Damage("something else where a whole number belongs"))
        })
    }
}

/// Visits the items of a list; `null` and nothing have none.
fn each<'a, E: From<Damage>>(
    list: Option<&'a str>,
    mut visit: impl FnMut(&'a str) -> Result<(), E>,
) -> Result<(), E> {
    let Some(list) = list else { return Ok(()) };
    if !list.starts_with('[') {
        return Err(Damage("something else where a JSON list belongs").into());
    }
    let mut elements = Elements::of(list.as_bytes(), 0);
    while let Some(item) = elements
        .next()
        .map_err(|_| Damage("a list that cannot be read"))?
    {
        if &list[item.clone()] != "null" {
            visit(&list[item])?;
        }
    }
    Ok(())
}

/// A JSON number, or the text of one.
fn bare(value: &str) -> &str {
    value.trim_matches('"')
}

fn unsigned(value: &str) -> Result<u64, Damage> {
    bare(value)
        .parse()
        .map_err(|_| Damage("something else where a whole number belongs"))
}

fn double(value: &str) -> Result<f64, Damage> {
    match bare(value) {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        number => {
            let parsed = number.parse().ok().filter(|_| is_plain(number));
            parsed.ok_or(Damage("something else where a number belongs"))
        }
    }
}

/// Whether a text is digits and signs, and none of the words that Rust takes for numbers.
fn is_plain(number: &str) -> bool {
    let letters = number.bytes().filter(u8::is_ascii_alphabetic);
    letters.count() <= 1 && !number.is_empty()
}

fn text(value: &str) -> Result<Cow<'_, str>, Damage> {
    let inside = value
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    match inside {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_str(value)
            .map(Cow::Owned)
            .map_err(|_| Damage("something else where text belongs")),
    }
}

fn attributes<'a>(members: &Members<'a>, room: &mut Room) -> Result<Entries<'a>, Damage> {
    key_values(members.get("attributes"), room)
}

fn key_values<'a>(list: Option<&'a str>, room: &mut Room) -> Result<Entries<'a>, Damage> {
    let mut entries = Entries::new();
    each(list, |pair| -> Result<(), Damage> {
        room.take()?;
        let pair = Members::of(pair)?;
        let value = match pair.get("value") {
            Some(value) => any_value(value, room)?,
            None => Raw::Null,
        };
        entries.push((pair.text("key")?, value));
        Ok(())
    })?;
    Ok(entries)
}

fn any_value<'a>(value: &'a str, room: &mut Room) -> Result<Raw<'a>, Damage> {
    let members = Members::of(value)?;
    if let Some(value) = members.get("stringValue") {
        return text(value).map(Raw::Text);
    }
    if let Some(value) = members.get("boolValue") {
        return Ok(Raw::Boolean(value == "true"));
    }
    if let Some(value) = members.get("intValue") {
        let number = bare(value).parse();
        return number
            .map(Raw::Integer)
            .map_err(|_| Damage("something else where a whole number belongs"));
    }
    if let Some(value) = members.get("doubleValue") {
        return double(value).map(Raw::Number);
    }
    if let Some(value) = members.get("arrayValue") {
        return room.deeper(|room| {
            let mut items = Vec::new();
            each(
                Members::of(value)?.get("values"),
                |item| -> Result<(), Damage> {
                    room.take()?;
                    items.push(any_value(item, room)?);
                    Ok(())
                },
            )?;
            Ok(Raw::List(items))
        });
    }
    if let Some(value) = members.get("kvlistValue") {
        return room
            .deeper(|room| key_values(Members::of(value)?.get("values"), room).map(Raw::Object));
    }
    if members.get("bytesValue").is_some() {
        return Ok(Raw::Nested("bytes", ""));
    }
    Ok(Raw::Null)
}
