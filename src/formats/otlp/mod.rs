//! OpenTelemetry's protocol: logs, traces and metrics, in protobuf and JSON.
//!
//! A request is read twice. [`sort`] finds for each record what it is and whose: predictions and labels by the
//! model they name, samples of telemetry, and the rest, which is counted by name. Then somebody looks up the
//! models, and [`decode`] builds one batch for each of them with the builders that all formats of rows share.
//! Nothing of a record is kept in between but its place, so a request costs in memory what it brought and no more.
//!
//! What names mean is in `events` (predictions and labels), `bento` (BentoML's records), `spans` and `points`
//! (telemetry); docs/plug-in.md tells users.

mod bento;
mod events;
mod message;
mod points;
mod proto;
mod spans;
mod text;
mod wire;

use std::collections::{BTreeMap, HashMap};

use super::labels::LabelRows;
use super::predictions::PredictionRows;
use super::raw::{Entries, Fault, shown};
use super::{Expectations, FormatError, Limits, Rows};
use crate::domain::batch::{Decoded, LabelBatch, PredictionBatch, RejectReason};
use crate::domain::telemetry::Sample;
use bento::Columns;
use message::{Node, Origin, Span};

/// How many models one request may speak of.
const MOST_MODELS: usize = 100;
/// How many different names of what is not used one request may bring; further ones count as one.
const MOST_NAMES: usize = 200;
/// How much of a name is kept.
const NAME_CHARS: usize = 120;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// The word used in paths, SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// A message that cannot be read, in words that go on from "found".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Damage(&'static str);

impl From<Damage> for FormatError {
    fn from(damage: Damage) -> Self {
        Self::Otlp {
            cause: format!("found {}", damage.0),
        }
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::new(
            RejectReason::Malformed,
            format!("cannot be read: found {}", damage.0),
        )
    }
}

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Predictions,
    Labels,
}

/// A batch that a request brings rows for.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    pub kind: Kind,
    /// The model as its sender calls it.
    pub model: String,
    /// What is known of the columns of BentoML's records.
    columns: Columns,
}

/// Why something is not used, in a word that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unused {
    /// A log record or span that is about no prediction.
    NoPrediction,
    /// A metric that [`crate::domain::telemetry::Table`] does not know.
    UnknownMetric,
    /// There is nothing that names a model, or no model of that name.
    UnknownModel,
    /// A point without a value, or with one that is no number.
    NoValue,
    /// A sample of a time that is not taken.
    TimeOutOfBounds,
    /// A sample of a day whose raw rows are gone from the project.
    PastRetention,
    /// The record cannot be read, or the request speaks of too many models.
    Malformed,
}

impl Unused {
    /// The word used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPrediction => "no_prediction",
            Self::UnknownMetric => "unknown_metric",
            Self::UnknownModel => "unknown_model",
            Self::NoValue => "no_value",
            Self::TimeOutOfBounds => "time_out_of_bounds",
            Self::PastRetention => "past_retention",
            Self::Malformed => "malformed",
        }
    }
}

/// What is not used, by reason and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnusedCounts(pub BTreeMap<(Unused, String), u64>);

impl UnusedCounts {
    /// Counts what is not used under a name; beyond [`MOST_NAMES`] the name is empty.
    pub fn add(&mut self, reason: Unused, name: &str, count: u64) {
        let name = shown(name, NAME_CHARS);
        let key = (reason, name);
        let known = self.0.contains_key(&key);
        let key = if known || self.0.len() < MOST_NAMES {
            key
        } else {
            (reason, String::new())
        };
        *self.0.entry(key).or_default() += count;
    }

    /// How many, over all names.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// A sample and the model it is about, as its sender calls it.
#[derive(Debug, Clone, PartialEq)]
pub struct Telling {
    /// Names that may be the model's, the most telling first.
    pub models: Vec<String>,
    pub sample: Sample,
}

/// A request, sorted.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Log records, spans and their events that tell of predictions, or points.
    pub received: u64,
    pub destinations: Vec<Destination>,
    pub samples: Vec<Telling>,
    pub unused: UnusedCounts,
    /// Per record the place of its batch among the destinations, of predictions and of labels.
    places: Vec<[Option<u8>; 2]>,
    by_name: HashMap<(Kind, String), u8>,
    /// How many of the records behind a span are events of it.
    told_in_spans: HashMap<usize, usize>,
    /// Records of BentoML that say nothing of their columns.
    without_schema: Vec<usize>,
}

/// The rows of one destination.
#[derive(Debug)]
pub enum Batch {
    Predictions(Box<Decoded<PredictionBatch>>),
    Labels(Decoded<LabelBatch>),
}

/// Finds out what a request holds.
///
/// # Errors
/// When it cannot be read as a whole, or holds more than the limits allow.
pub fn sort(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
    limits: &Limits,
) -> Result<Sorted, FormatError> {
    let mut sorted = Sorted::default();
    walk(signal, encoding, body, |origin, node| match signal {
        Signal::Logs => {
            sorted.count(1, limits)?;
            sorted.sort_log(origin, node);
            Ok(())
        }
        Signal::Traces => {
            sorted.count(1, limits)?;
            sorted.sort_span(origin, node, limits)
        }
        Signal::Metrics => sorted.sort_metric(origin, node, limits),
    })?;
    sorted.lend_schemas();
    Ok(sorted)
}

/// Builds the batches. `expect` says per destination what is known of its model; nothing where it is unknown, and
/// then its rows are left out.
///
/// # Errors
/// Per destination, when its rows are more than the limits allow.
pub fn decode(
    signal: Signal,
    encoding: Encoding,
    body: &[u8],
    sorted: &Sorted,
    expect: &[Option<Expectations<'_>>],
) -> Result<Vec<Option<Batch>>, FormatError> {
    let mut builders: Vec<Option<Builder>> = (sorted.destinations.iter().zip(expect))
        .map(|(destination, expect)| Some(Builder::of(destination, expect.as_ref()?)))
        .collect();
    let mut record = 0;
    walk(signal, encoding, body, |origin, node| {
        let first = record;
        // Rows are counted from 1, as everywhere.
        let line = record as u64 + 1;
        record += 1;
        match signal {
            Signal::Logs => {
                for place in sorted.places_of(first) {
                    let destination = &sorted.destinations[place];
                    if let Some(builder) = &mut builders[place] {
                        let task = builder.task();
                        let row = events::row_of_log(origin, node, destination, task);
                        builder.append(line, row)?;
                    }
                }
            }
            Signal::Traces => {
                let told = sorted.told_in_spans.get(&first).copied().unwrap_or(0);
                record += told;
                if told == 0 && sorted.places_of(first).next().is_none() {
                    return Ok(());
                }
                // It could be read when it was sorted.
                let mut span = events::span(node)?;
                let told = events::told_in(&mut span);
                for place in sorted.places_of(first) {
                    if let Some(builder) = &mut builders[place] {
                        builder.append(line, events::row_of_span(origin, &span))?;
                    }
                }
                for (line, event) in (first + 1..).zip(told) {
                    let mut event = Some(event);
                    for place in sorted.places_of(line) {
                        if let (Some(builder), Some(event)) = (&mut builders[place], event.take()) {
                            let row = events::row_of_event(origin, &span, event);
                            builder.append(line as u64 + 1, row)?;
                        }
                    }
                }
            }
            Signal::Metrics => {}
        }
        Ok(())
    })?;
    Ok(builders
        .into_iter()
        .map(|builder| builder.map(Builder::finish))
        .collect())
}

enum Builder<'e> {
    Predictions(Box<PredictionRows<'e>>, &'e Expectations<'e>),
    Labels(Box<LabelRows<'e>>, &'e Expectations<'e>),
}

impl<'e> Builder<'e> {
    fn of(destination: &Destination, expect: &'e Expectations<'e>) -> Self {
        match destination.kind {
            Kind::Predictions => Self::Predictions(Box::new(PredictionRows::new(expect)), expect),
            Kind::Labels => Self::Labels(Box::new(LabelRows::new(expect)), expect),
        }
    }

    fn task(&self) -> crate::domain::model::Task {
        match self {
            Self::Predictions(_, expect) | Self::Labels(_, expect) => expect.task,
        }
    }

    fn append(&mut self, line: u64, row: Result<Entries<'_>, Fault>) -> Result<(), FormatError> {
        match (self, row) {
            (Self::Predictions(rows, _), Ok(row)) => rows.append_named(line, row),
            (Self::Predictions(rows, _), Err(fault)) => rows.refuse(line, fault),
            (Self::Labels(rows, _), Ok(row)) => rows.append_named(line, row),
            (Self::Labels(rows, _), Err(fault)) => rows.refuse(line, fault),
        }
    }

    fn finish(self) -> Batch {
        match self {
            Self::Predictions(rows, _) => Batch::Predictions(Box::new(rows.finish())),
            Self::Labels(rows, _) => Batch::Labels(rows.finish()),
        }
    }
}

fn walk<'a>(
    signal: Signal,
    encoding: Encoding,
    body: &'a [u8],
    visit: impl FnMut(&Origin<'a>, Node<'a>) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    match encoding {
        Encoding::Protobuf => proto::walk(body, visit),
        Encoding::Json => {
            let text = std::str::from_utf8(body)
                .map_err(|error| FormatError::Otlp {
                    cause: format!("byte {} is not UTF-8", error.valid_up_to()),
                })?
                .trim();
            text::walk(text, signal, visit)
        }
    }
}

impl Sorted {
    fn count(&mut self, records: u64, limits: &Limits) -> Result<(), FormatError> {
        self.received += records;
        if self.received > limits.max_rows {
            let limit = limits.max_rows;
            return Err(FormatError::TooManyRows { limit });
        }
        Ok(())
    }

    /// How many records are rows of a destination.
    #[must_use]
    pub fn rows_of(&self, destination: usize) -> u64 {
        let places = self.places.iter().flatten().flatten();
        places
            .filter(|place| usize::from(**place) == destination)
            .count() as u64
    }

    /// The destinations of a record.
    fn places_of(&self, record: usize) -> impl Iterator<Item = usize> + '_ {
        let places = self.places.get(record).copied().unwrap_or_default();
        places.into_iter().flatten().map(usize::from)
    }

    /// The place of a batch; `None` when the request speaks of too many models.
    fn place(&mut self, kind: Kind, model: &str) -> Option<u8> {
        if let Some(place) = self.by_name.get(&(kind, model.to_owned())) {
            return Some(*place);
        }
        if self.destinations.len() == 2 * MOST_MODELS {
            return None;
        }
        let place = u8::try_from(self.destinations.len()).ok()?;
        self.destinations.push(Destination {
            kind,
            model: model.to_owned(),
            columns: Columns::default(),
        });
        self.by_name.insert((kind, model.to_owned()), place);
        Some(place)
    }

    fn put(&mut self, kinds: &[Kind], model: &str) -> Option<u8> {
        let mut places = [None; 2];
        for (slot, kind) in places.iter_mut().zip(kinds) {
            *slot = self.place(*kind, model);
        }
        if places[0].is_none() {
            self.unused
                .add(Unused::Malformed, "more than 100 models", 1);
        }
        self.places.push(places);
        places[0]
    }

    fn pass_over(&mut self, reason: Unused, name: &str) {
        self.unused.add(reason, name, 1);
        self.places.push([None; 2]);
    }

    fn sort_log(&mut self, origin: &Origin<'_>, node: Node<'_>) {
        let record = match events::log_record(node) {
            Ok(record) => record,
            Err(damage) => return self.pass_over(Unused::Malformed, damage.0),
        };
        if bento::is_of(origin, &record) {
            let Some(model) = bento::model(origin, &record) else {
                return self.pass_over(Unused::UnknownModel, &origin.scope);
            };
            let columns = bento::columns(&record);
            let kinds = if columns.has_target() {
                &[Kind::Predictions, Kind::Labels][..]
            } else {
                &[Kind::Predictions]
            };
            let place = self.put(kinds, &model);
            if !columns.is_known() {
                self.without_schema.push(self.places.len() - 1);
            } else if let Some(place) = place {
                self.destinations[usize::from(place)].columns = columns;
            }
            return;
        }
        let Some(kind) = events::kind(&record) else {
            let name = match &*record.event_name {
                "" => &origin.scope,
                name => name,
            };
            return self.pass_over(Unused::NoPrediction, name);
        };
        match events::model(origin, &record.attributes) {
            Some(model) => {
                self.put(&[kind], &model);
            }
            None => self.pass_over(Unused::UnknownModel, ""),
        }
    }

    /// Gives records without a schema of their columns that of another one for the same monitor.
    fn lend_schemas(&mut self) {
        for record in std::mem::take(&mut self.without_schema) {
            let [Some(place), _] = self.places[record] else {
                continue;
            };
            let lender = &self.destinations[usize::from(place)];
            if lender.columns.has_target() {
                let (model, columns) = (lender.model.clone(), lender.columns.clone());
                let labels = self.place(Kind::Labels, &model);
                self.places[record][1] = labels;
                if let Some(labels) = labels {
                    self.destinations[usize::from(labels)].columns = columns;
                }
            }
        }
    }

    fn sort_span(
        &mut self,
        origin: &Origin<'_>,
        node: Node<'_>,
        limits: &Limits,
    ) -> Result<(), FormatError> {
        let mut span = match events::span(node) {
            Ok(span) => span,
            Err(damage) => {
                self.pass_over(Unused::Malformed, damage.0);
                return Ok(());
            }
        };
        let told = events::told_in(&mut span);
        let record = self.places.len();
        self.sort_span_itself(origin, &span, !told.is_empty());
        if !told.is_empty() {
            self.told_in_spans.insert(record, told.len());
        }
        for (_, event, kind) in &told {
            self.count(1, limits)?;
            match events::model_of_event(origin, &span, event) {
                Some(model) => {
                    self.put(&[*kind], &model);
                }
                None => self.pass_over(Unused::UnknownModel, ""),
            }
        }
        Ok(())
    }

    /// `tells` says whether some event of the span is of use, so that the span is as well.
    fn sort_span_itself(&mut self, origin: &Origin<'_>, span: &Span<'_>, tells: bool) {
        if events::tells_of_a_prediction(&span.attributes) {
            match events::model(origin, &span.attributes) {
                Some(model) => {
                    self.put(&[Kind::Predictions], &model);
                }
                None => self.pass_over(Unused::UnknownModel, ""),
            }
            return;
        }
        let told = spans::samples(origin, span);
        if told.is_empty() && !tells {
            let name = if origin.scope.is_empty() {
                &span.name
            } else {
                &origin.scope
            };
            return self.pass_over(Unused::NoPrediction, name);
        }
        self.samples.extend(told);
        self.places.push([None; 2]);
    }

    fn sort_metric(
        &mut self,
        origin: &Origin<'_>,
        node: Node<'_>,
        limits: &Limits,
    ) -> Result<(), FormatError> {
        let metric = match points::metric(node) {
            Ok(metric) => metric,
            Err(damage) => {
                self.count(1, limits)?;
                self.unused.add(Unused::Malformed, damage.0, 1);
                return Ok(());
            }
        };
        let reader = points::Reader::of(origin, &metric);
        points::each(&metric, |point| {
            self.count(1, limits)?;
            match reader.read(point) {
                Ok(told) => self.samples.extend(told),
                Err(reason) => self.unused.add(reason, &metric.name, 1),
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
