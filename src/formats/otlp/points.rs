//! Points of metrics as samples of telemetry.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::super::FormatError;
use super::super::raw::{Entries, shown};
use super::message::{
    Form, Metric, Node, Origin, Point, Temporality, attribute, instant, sorted, text_of,
};
use super::{Damage, Telling, Unused, proto, text};
use crate::domain::telemetry::{Alias, Counting, Reading, Sample, Spread, table};

/// How much is kept of the name of where a series comes from.
const SOURCE_CHARS: usize = 120;
/// Values beyond this are what exporters write for "no value".
const NO_VALUE: f64 = 9e15;

pub(super) fn metric(node: Node<'_>) -> Result<Metric<'_>, Damage> {
    match node {
        Node::Protobuf(message) => proto::metric(message),
        Node::Json(message) => text::metric(message),
    }
}

/// Visits the points of a metric.
pub(super) fn each<'a>(
    metric: &Metric<'a>,
    visit: impl FnMut(Node<'a>) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    match metric.data.as_ref().map(|data| data.points) {
        Some(Node::Protobuf(data)) => proto::points(data, visit),
        Some(Node::Json(list)) => text::points(list, visit),
        None => Ok(()),
    }
}

/// Reads the points of one metric.
pub(super) struct Reader<'r, 'a> {
    origin: &'r Origin<'a>,
    metric: &'r Metric<'a>,
    aliases: Vec<&'static Alias>,
    /// What all series of the metric have in common.
    series: Series,
}

impl<'r, 'a> Reader<'r, 'a> {
    pub fn of(origin: &'r Origin<'a>, metric: &'r Metric<'a>) -> Self {
        let aliases: Vec<_> = table().aliases(&metric.name).collect();
        let mut series = Series::default();
        if !aliases.is_empty() {
            series.add(&metric.name);
            series.add(origin.scope_in_series());
            series.add_all(origin.resource_in_series());
        }
        Self {
            origin,
            metric,
            aliases,
            series,
        }
    }

    /// What a point tells.
    pub fn read(&self, node: Node<'_>) -> Result<Option<Telling>, Unused> {
        let data = self.metric.data.as_ref().ok_or(Unused::NoValue)?;
        if self.aliases.is_empty() {
            return Err(Unused::UnknownMetric);
        }
        let point = match node {
            Node::Protobuf(message) => proto::point(data.form, message),
            Node::Json(message) => text::point(message),
        }
        .map_err(|_| Unused::Malformed)?;
        let alias = (self.aliases.iter())
            .find(|alias| holds(alias, &point.attributes))
            .ok_or(Unused::UnknownMetric)?;
        let at = instant(point.at).ok_or(Unused::NoValue)?;
        let counting = match data.temporality {
            Temporality::Delta => Counting::Delta,
            Temporality::Cumulative | Temporality::Unknown => Counting::Cumulative,
        };
        let reading = if point.stale {
            None
        } else {
            match data.form {
                Form::Gauge => level(&point, alias.scale).map(Reading::Level),
                // What can fall as well is a level that is counted: requests under way.
                Form::Sum if !data.monotonic && counting == Counting::Cumulative => {
                    level(&point, alias.scale).map(Reading::Level)
                }
                Form::Sum => level(&point, alias.scale)
                    .filter(|count| *count >= 0.0)
                    .map(|count| Reading::Count(counting, count)),
                Form::Histogram | Form::ExponentialHistogram | Form::Summary => {
                    // A summary has no other form.
                    let counting = match data.form {
                        Form::Summary => Counting::Cumulative,
                        _ => counting,
                    };
                    spread(&point, data.form, alias.scale)
                        .map(|spread| Reading::Spread(counting, spread))
                }
            }
        };
        let sample = Sample {
            measure: &alias.measure,
            series: self.series(&point),
            source: source_of(&point.attributes, &self.origin.resource),
            at,
            started_at: instant(point.started_at),
            reading: reading.ok_or(Unused::NoValue)?,
        };
        Ok(Some(Telling {
            models: self.models(&point.attributes),
            sample,
        }))
    }

    fn models(&self, attributes: &Entries<'_>) -> Vec<String> {
        let mut models: Vec<String> = Vec::new();
        for of in [attributes, &self.origin.resource] {
            for name in &table().model {
                let model = attribute(of, name).and_then(text_of).map(Cow::into_owned);
                models.extend(model.filter(|model| !models.contains(model)));
            }
        }
        models
    }

    fn series(&self, point: &Point<'_>) -> i64 {
        let mut series = self.series.clone();
        series.add_all(&sorted(&point.attributes));
        series.number()
    }
}

fn holds(alias: &Alias, attributes: &Entries<'_>) -> bool {
    alias.when.iter().all(|(name, wanted)| {
        attribute(attributes, name)
            .and_then(text_of)
            .is_some_and(|found| found == *wanted)
    })
}

fn is_value(value: f64) -> bool {
    value.is_finite() && value.abs() < NO_VALUE
}

fn level(point: &Point<'_>, scale: f64) -> Option<f64> {
    let value = point.value.filter(|value| is_value(*value))?;
    Some(value * scale)
}

/// A point's histogram with explicit bounds.
fn spread(point: &Point<'_>, form: Form, scale: f64) -> Option<Spread> {
    let sum = point.sum.filter(|sum| is_value(*sum))?;
    let mut spread = Spread {
        count: point.count,
        sum: sum * scale,
        ..Spread::default()
    };
    match form {
        Form::ExponentialHistogram if !point.has_negative => {
            let base = 2_f64.powf(2_f64.powf(-f64::from(point.scale)));
            // Zeros, then the buckets; nothing lies above the last.
            spread.bounds.push(base.powi(point.offset));
            spread.buckets.push(point.zero_count);
            for (place, count) in (1..).zip(&point.buckets) {
                spread
                    .bounds
                    .push(base.powi(point.offset.saturating_add(place)));
                spread.buckets.push(*count);
            }
            spread.buckets.push(0);
        }
        Form::Histogram if point.buckets.len() == point.bounds.len() + 1 => {
            spread.bounds.clone_from(&point.bounds);
            spread.buckets.clone_from(&point.buckets);
        }
        _ => {}
    }
    for bound in &mut spread.bounds {
        *bound *= scale;
    }
    let ascend = spread.bounds.is_sorted_by(|a, b| a < b);
    let counts = spread.buckets.iter().all(|n| i64::try_from(*n).is_ok());
    if !ascend || !counts || !spread.bounds.iter().all(|bound| bound.is_finite()) {
        spread.bounds.clear();
        spread.buckets.clear();
    }
    i64::try_from(spread.count).ok().map(|_| spread)
}

/// A hash that tells series apart.
#[derive(Clone, Default)]
pub(super) struct Series(Sha256);

impl Series {
    pub fn add(&mut self, part: &str) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part.as_bytes());
    }

    fn add_all(&mut self, parts: &[String]) {
        for part in parts {
            self.add(part);
        }
    }

    pub fn number(self) -> i64 {
        let digest: [u8; 32] = self.0.finalize().into();
        let (first, _) = digest.split_first_chunk::<8>().expect("32 bytes hold 8");
        i64::from_be_bytes(*first)
    }
}

/// The first of these attributes that is text.
pub(super) fn first_text(attributes: &Entries<'_>, names: &[String]) -> Option<String> {
    let mut found = names.iter().filter_map(|name| attribute(attributes, name));
    found.find_map(text_of).map(Cow::into_owned)
}

/// Where a series comes from, in words.
pub(super) fn source_of(attributes: &Entries<'_>, resource: &Entries<'_>) -> String {
    let names = &table().source;
    let source = first_text(attributes, names).or_else(|| first_text(resource, names));
    shown(&source.unwrap_or_default(), SOURCE_CHARS)
}
