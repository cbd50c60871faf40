//! OTLP messages in protobuf. Field numbers are those of `opentelemetry-proto` 1.x; unknown ones are passed over.

use std::borrow::Cow;

use super::super::raw::{Entries, Raw};
use super::Damage;
use super::message::{
    Form, LogRecord, MOST_BUCKETS, Metric, MetricData, Node, Origin, Point, Room, Span, SpanEvent,
    Temporality,
};
use super::wire::{Fields, Wire, fixed64s, varints};

/// The bit of a point's flags that says there is no value.
const NO_VALUE: u64 = 1;

/// Walks over the records of an export request: field 1 of the request holds resources, field 2 of these scopes,
/// field 2 of these records, for all signals alike.
pub(super) fn walk<'a, E: From<Damage>>(
    body: &'a [u8],
    mut visit: impl FnMut(&Origin<'a>, Node<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for field in Fields::of(body) {
        if let (1, value) = field? {
            walk_resource(value.bytes()?, &mut visit)?;
        }
    }
    Ok(())
}

fn walk_resource<'a, E: From<Damage>>(
    message: &'a [u8],
    visit: &mut impl FnMut(&Origin<'a>, Node<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut origin = Origin::of(attributes_in(message, 1)?);
    for field in Fields::of(message) {
        let (2, value) = field? else { continue };
        let scope = value.bytes()?;
        origin.enter(name_in(scope)?);
        for field in Fields::of(scope) {
            if let (2, record) = field? {
                visit(&origin, Node::Protobuf(record.bytes()?))?;
            }
        }
    }
    Ok(())
}

/// The attributes of the resource, which is field `number` and may stand anywhere in the message.
fn attributes_in(message: &[u8], number: u32) -> Result<Entries<'_>, Damage> {
    let mut attributes = Entries::new();
    let mut room = Room::new();
    for field in Fields::of(message) {
        let (found, value) = field?;
        if found == number {
            for field in Fields::of(value.bytes()?) {
                if let (1, pair) = field? {
                    attributes.push(key_value(pair, &mut room)?);
                }
            }
        }
    }
    Ok(attributes)
}

fn name_in(message: &[u8]) -> Result<Cow<'_, str>, Damage> {
    for field in Fields::of(message) {
        if let (1, scope) = field? {
            for field in Fields::of(scope.bytes()?) {
                if let (1, name) = field? {
                    return text(name);
                }
            }
        }
    }
    Ok(Cow::Borrowed(""))
}

pub(super) fn log_record(message: &[u8]) -> Result<LogRecord<'_>, Damage> {
    let mut record = LogRecord::default();
    let mut room = Room::new();
    for field in Fields::of(message) {
        match field? {
            (1, value) => record.at = value.fixed()?,
            (5, value) => record.body = Some(any_value(value.bytes()?, &mut room)?),
            (6, value) => record.attributes.push(key_value(value, &mut room)?),
            (10, value) => record.span_id = span_id(value)?,
            (11, value) => record.observed_at = value.fixed()?,
            (12, value) => record.event_name = text(value)?,
            _ => {}
        }
    }
    Ok(record)
}

pub(super) fn span(message: &[u8]) -> Result<Span<'_>, Damage> {
    let mut span = Span::default();
    let mut room = Room::new();
    for field in Fields::of(message) {
        match field? {
            (1, value) => {
                let bytes = value.bytes()?;
                span.trace_id = bytes.try_into().map_or(0, u128::from_be_bytes);
            }
            (2, value) => span.span_id = span_id(value)?,
            (5, value) => span.name = text(value)?,
            (7, value) => span.started_at = value.fixed()?,
            (8, value) => span.ended_at = value.fixed()?,
            (9, value) => span.attributes.push(key_value(value, &mut room)?),
            (11, value) => span.events.push(span_event(value.bytes()?, &mut room)?),
            (15, value) => {
                for field in Fields::of(value.bytes()?) {
                    match field? {
                        (2, value) => span.failure = text(value)?,
                        (3, value) => span.failed = value.varint()? == 2,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(span)
}

fn span_event<'a>(message: &'a [u8], room: &mut Room) -> Result<SpanEvent<'a>, Damage> {
    room.take()?;
    let mut event = SpanEvent::default();
    for field in Fields::of(message) {
        match field? {
            (1, value) => event.at = value.fixed()?,
            (2, value) => event.name = text(value)?,
            (3, value) => event.attributes.push(key_value(value, room)?),
            _ => {}
        }
    }
    Ok(event)
}

pub(super) fn metric(message: &[u8]) -> Result<Metric<'_>, Damage> {
    let mut metric = Metric::default();
    for field in Fields::of(message) {
        let (number, value) = field?;
        let form = match number {
            1 => {
                metric.name = text(value)?;
                continue;
            }
            5 => Form::Gauge,
            7 => Form::Sum,
            9 => Form::Histogram,
            10 => Form::ExponentialHistogram,
            11 => Form::Summary,
            _ => continue,
        };
        metric.data = Some(metric_data(form, value.bytes()?)?);
    }
    Ok(metric)
}

fn metric_data(form: Form, message: &[u8]) -> Result<MetricData<'_>, Damage> {
    let mut data = MetricData {
        form,
        temporality: Temporality::Unknown,
        monotonic: false,
        points: Node::Protobuf(message),
    };
    for field in Fields::of(message) {
        match field? {
            (2, value) => data.temporality = Temporality::of(value.varint()?),
            (3, value) => data.monotonic = value.varint()? != 0,
            _ => {}
        }
    }
    Ok(data)
}

/// Visits the points of a metric's data.
pub(super) fn points<'a, E: From<Damage>>(
    data: &'a [u8],
    mut visit: impl FnMut(Node<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for field in Fields::of(data) {
        if let (1, point) = field? {
            visit(Node::Protobuf(point.bytes()?))?;
        }
    }
    Ok(())
}

pub(super) fn point(form: Form, message: &[u8]) -> Result<Point<'_>, Damage> {
    let mut point = Point::default();
    let mut room = Room::new();
    for field in Fields::of(message) {
        let (number, value) = field?;
        match (form, number) {
            (_, 2) => point.started_at = value.fixed()?,
            (_, 3) => point.at = value.fixed()?,
            (Form::Gauge | Form::Sum | Form::Summary, 7)
            | (Form::Histogram, 9)
            | (Form::ExponentialHistogram, 1) => {
                point.attributes.push(key_value(value, &mut room)?);
            }
            (Form::Gauge | Form::Sum, 4) => point.value = Some(value.double()?),
            (Form::Gauge | Form::Sum, 6) => {
                point.value = Some(value.fixed()?.cast_signed() as f64);
            }
            (Form::Histogram | Form::ExponentialHistogram | Form::Summary, 4) => {
                point.count = value.fixed()?;
            }
            (Form::Histogram | Form::ExponentialHistogram | Form::Summary, 5) => {
                point.sum = Some(value.double()?);
            }
            (Form::Histogram, 6) => fixed64s(value, MOST_BUCKETS, &mut point.buckets)?,
            (Form::Histogram, 7) => {
                let mut bits = Vec::new();
                fixed64s(value, MOST_BUCKETS, &mut bits)?;
                point.bounds.extend(bits.into_iter().map(f64::from_bits));
                if point.bounds.len() > MOST_BUCKETS {
                    return Err(Damage("more buckets than any histogram has"));
                }
            }
            (Form::ExponentialHistogram, 6) => point.scale = zigzag(value.varint()?)?,
            (Form::ExponentialHistogram, 7) => point.zero_count = value.fixed()?,
            (Form::ExponentialHistogram, 8) => {
                for field in Fields::of(value.bytes()?) {
                    match field? {
                        (1, value) => point.offset = zigzag(value.varint()?)?,
                        (2, value) => varints(value, MOST_BUCKETS, &mut point.buckets)?,
                        _ => {}
                    }
                }
            }
            (Form::ExponentialHistogram, 9) => {
                for field in Fields::of(value.bytes()?) {
                    point.has_negative |= field?.0 == 2;
                }
            }
            (Form::Gauge | Form::Sum | Form::Summary, 8)
            | (Form::Histogram | Form::ExponentialHistogram, 10) => {
                point.stale = value.varint()? & NO_VALUE != 0;
            }
            _ => {}
        }
    }
    Ok(point)
}

fn zigzag(number: u64) -> Result<i32, Damage> {
    let number = u32::try_from(number).map_err(|_| Damage("a number out of range"))?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

fn span_id(value: Wire<'_>) -> Result<u64, Damage> {
    Ok(value.bytes()?.try_into().map_or(0, u64::from_be_bytes))
}

fn text(value: Wire<'_>) -> Result<Cow<'_, str>, Damage> {
    std::str::from_utf8(value.bytes()?)
        .map(Cow::Borrowed)
        .map_err(|_| Damage("text that is not UTF-8"))
}

fn key_value<'a>(pair: Wire<'a>, room: &mut Room) -> Result<(Cow<'a, str>, Raw<'a>), Damage> {
    room.take()?;
    let (mut key, mut value) = (Cow::Borrowed(""), Raw::Null);
    for field in Fields::of(pair.bytes()?) {
        match field? {
            (1, of) => key = text(of)?,
            (2, of) => value = any_value(of.bytes()?, room)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn any_value<'a>(message: &'a [u8], room: &mut Room) -> Result<Raw<'a>, Damage> {
    let mut value = Raw::Null;
    for field in Fields::of(message) {
        value = match field? {
            (1, of) => Raw::Text(text(of)?),
            (2, of) => Raw::Boolean(of.varint()? != 0),
            (3, of) => Raw::Integer(of.varint()?.cast_signed()),
            (4, of) => Raw::Number(of.double()?),
            (5, of) => room.deeper(|room| {
                let mut items = Vec::new();
                for field in Fields::of(of.bytes()?) {
                    if let (1, item) = field? {
                        room.take()?;
                        items.push(any_value(item.bytes()?, room)?);
                    }
                }
                Ok(Raw::List(items))
            })?,
            (6, of) => room.deeper(|room| {
                let mut entries = Entries::new();
                for field in Fields::of(of.bytes()?) {
                    if let (1, pair) = field? {
                        entries.push(key_value(pair, room)?);
                    }
                }
                Ok(Raw::Object(entries))
            })?,
            (7, of) => {
                of.bytes()?;
                Raw::Nested("bytes", "")
            }
            _ => continue,
        };
    }
    Ok(value)
}
