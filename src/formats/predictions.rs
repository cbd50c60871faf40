//! Builds a batch of predictions: judges each row as a whole and adds the good ones column by column.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::batch::{Decoded, LabelValue, Output, PredictionBatch};
use crate::domain::columns::{Column, Kind, Value};
use crate::domain::model::Task;

use super::arrow::{CellColumn, Cells};
use super::labels::into_label;
use super::names::{Field, Fixed, Meaning, Noun, Positions};
use super::raw::{Entries, Fault, Raw};
use super::segments::{MAX_SEGMENTS, into_segments};
use super::{Expectations, FormatError, Ledger, ReferenceRows, Rows};

/// Different classes over all rows of a body.
const MAX_CLASSES: usize = 1_000;
/// No more cells are made room for before they come, whatever a body looks like: some nine megabytes.
const MOST_RESERVED_CELLS: usize = 1 << 20;
/// How far probabilities may be from a sum of 1: enough for many classes rounded to four decimals.
const PROBABILITY_SLACK: f64 = 0.01;
/// What a name or a value that each row keeps for itself takes beside its text.
const KEPT_TEXT: usize = size_of::<String>();

pub(super) struct PredictionRows<'e> {
    expect: &'e Expectations<'e>,
    ledger: Ledger,
    features: Positions,
    classes: Positions,
    segments: Positions,
    batch: PredictionBatch,
    /// The line of each kept row.
    lines: Vec<u64>,
    purpose: Purpose,
    /// How many rows there may be in all; 0 where nobody knows.
    expected_rows: usize,
    /// Numbers the rows from 1, refused ones included, to see a name twice in one row.
    serial: u64,
}

/// What the rows are for.
enum Purpose {
    /// Predictions that were made: each has an id, a time, a version and an answer.
    Intake,
    /// Rows that a baseline is fitted on: only their features must be there; they may carry labels and
    /// times, kept here by row.
    Reference {
        labels: Vec<Option<LabelValue>>,
        times: Vec<Option<DateTime<Utc>>>,
    },
}

/// A feature's values in all rows of a batch, and which rows are at fault.
struct FeatureCells {
    position: usize,
    column: Column,
    faults: Vec<(usize, Fault)>,
}

impl FeatureCells {
    fn read(position: usize, name: &str, cells: &CellColumn<'_>, rows: usize) -> Self {
        let mut read = Self {
            position,
            column: Column::new(name),
            faults: Vec::new(),
        };
        if let Some(doubles) = cells.doubles() {
            // As `Raw::into_feature` does: there is one zero.
            let numbers = doubles
                .iter()
                .map(|double| double.map(|double| double + 0.0));
            read.column = Column::of_numbers(name, numbers);
            return read;
        }
        read.column.reserve(rows);
        // Where the value of each place of a dictionary was seen first. In one that is larger than the batch few are seen
        // twice, and many batches may share it.
        let places = Some(cells.places()).filter(|places| *places <= rows);
        let mut firsts = vec![None; places.unwrap_or(0)];
        for row in 0..rows {
            let place = cells.place(row);
            if let Some(first) = place.and_then(|place| *firsts.get(place)?) {
                read.column.repeat(first);
                continue;
            }
            match cells.cell(row).into_feature() {
                Ok(value) => {
                    read.column.push(&value);
                    if let Some(first) = place.and_then(|place| firsts.get_mut(place)) {
                        *first = Some(row);
                    }
                }
                Err(fault) => {
                    read.faults.push((row, fault.in_field(name)));
                    read.column.push(&Value::Absent);
                }
            }
        }
        read
    }
}

/// The cells of one row, each where it belongs.
#[derive(Default)]
struct Gathered<'a> {
    fixed: [Option<Raw<'a>>; Fixed::COUNT],
    probabilities: Vec<(usize, Raw<'a>)>,
    features: Vec<(usize, Raw<'a>)>,
}

/// One row that will be kept.
struct Row<'a> {
    prediction_id: Cow<'a, str>,
    predicted_at: DateTime<Utc>,
    /// Whether that is what the row says; rows of a reference need not.
    dated: bool,
    version: Cow<'a, str>,
    error: Option<Cow<'a, str>>,
    output: Output,
    segments: Vec<(String, String)>,
    latency_ms: Option<f64>,
    deployment: Option<Cow<'a, str>>,
    features: Vec<(usize, Value<'a>)>,
    label: Option<LabelValue>,
}

impl<'e> PredictionRows<'e> {
    pub fn new(expect: &'e Expectations<'e>) -> Self {
        Self::of(expect, Purpose::Intake)
    }

    pub fn of_reference(expect: &'e Expectations<'e>) -> Self {
        let purpose = Purpose::Reference {
            labels: Vec::new(),
            times: Vec::new(),
        };
        Self::of(expect, purpose)
    }

    fn of(expect: &'e Expectations<'e>, purpose: Purpose) -> Self {
        Self {
            lines: Vec::new(),
            purpose,
            expect,
            ledger: Ledger::new(expect.limits),
            features: Positions::new(Noun::Features, expect.limits.max_features),
            classes: Positions::new(Noun::Classes, MAX_CLASSES),
            segments: Positions::new(Noun::Segments, MAX_SEGMENTS),
            batch: PredictionBatch::default(),
            expected_rows: 0,
            serial: 0,
        }
    }

    /// Judges what comes next by other expectations; the limits stay.
    pub fn expecting(&mut self, expect: &'e Expectations<'e>) {
        self.expect = expect;
    }

    /// The rows that have been kept so far, and how many have been refused.
    pub fn so_far(&self) -> (&PredictionBatch, u64) {
        (&self.batch, self.ledger.rejects.total())
    }

    /// Keeps only these of the rows that have been kept so far, in this order.
    pub fn select(&mut self, rows: &[usize]) {
        self.batch = self.batch.select(rows);
        self.lines = rows.iter().map(|row| self.lines[*row]).collect();
    }

    /// Columns that no kept row has are left out: they are names that only refused rows had.
    pub fn finish(mut self) -> Decoded<PredictionBatch> {
        let rows = self.batch.len();
        self.batch.features.retain_mut(|column| {
            column.resize(rows);
            column.kinds().iter().any(|kind| *kind != Kind::Absent)
        });
        Decoded {
            batch: self.batch,
            rejects: self.ledger.rejects,
            received: self.ledger.received,
            lines: self.lines,
        }
    }

    /// As [`Self::finish`], for rows that a baseline is fitted on. One refused row fails the whole: a reference
    /// with holes would be compared with ever after.
    pub fn finish_reference(mut self) -> Result<ReferenceRows, FormatError> {
        let (labels, times) = match std::mem::replace(&mut self.purpose, Purpose::Intake) {
            Purpose::Reference { labels, times } => (labels, times),
            Purpose::Intake => (Vec::new(), Vec::new()),
        };
        let decoded = self.finish();
        if let [first, ..] = decoded.rejects.first() {
            return Err(FormatError::Reference {
                refused: decoded.rejects.total(),
                line: first.line,
                field: first.field.clone(),
                cause: first.cause.clone(),
            });
        }
        let outputs = decoded.batch.outputs;
        Ok(ReferenceRows {
            times,
            features: decoded.batch.features,
            outputs: outputs
                .into_iter()
                .map(|output| (output != Output::default()).then_some(output))
                .collect(),
            labels,
            of_statistics: None,
        })
    }

    fn settle(&mut self, line: u64, judged: Result<Row<'_>, Fault>) -> Result<(), FormatError> {
        match judged {
            Ok(row) => self.keep(line, row, 0),
            Err(fault) => self.refuse_row(line, fault),
        }
    }

    fn refuse_row(&mut self, line: u64, fault: Fault) -> Result<(), FormatError> {
        let fault = fault.in_column(self.expect.columns);
        self.ledger.refuse(line, fault)
    }

    /// `more_text` counts bytes of texts that are kept beside the row's own.
    fn keep(&mut self, line: u64, row: Row<'_>, more_text: usize) -> Result<(), FormatError> {
        self.ledger.accept(row.text_bytes() + more_text)?;
        let at = self.batch.len();
        let limit = self.expect.limits.max_cells;
        if (at + 1).saturating_mul(self.features.len()) > limit {
            return Err(FormatError::TooManyCells { limit });
        }
        self.name_columns();
        for (position, value) in row.features {
            let column = &mut self.batch.features[position];
            column.resize(at);
            column.push(&value);
        }
        if let Purpose::Reference { labels, times } = &mut self.purpose {
            labels.push(row.label);
            times.push(row.dated.then_some(row.predicted_at));
        }
        self.lines.push(line);
        self.batch.prediction_ids.push(&row.prediction_id);
        self.batch.predicted_at.push(row.predicted_at);
        self.batch.versions.push(Some(&row.version));
        self.batch.outputs.push(row.output);
        self.batch.segments.push(row.segments);
        self.batch.latency_ms.push(row.latency_ms);
        self.batch.errors.push(row.error.as_deref());
        self.batch.deployments.push(row.deployment.as_deref());
        Ok(())
    }

    /// Makes a column of each feature that has been named since.
    fn name_columns(&mut self) {
        let columns = self.features.len();
        for position in self.batch.features.len()..columns {
            let mut column = Column::new(self.features.name(position));
            column.reserve(self.expected_rows.min(MOST_RESERVED_CELLS / columns));
            self.batch.features.push(column);
        }
    }

    fn gather<'a>(
        &mut self,
        cells: impl Iterator<Item = (Field, Raw<'a>)>,
    ) -> Result<Gathered<'a>, Fault> {
        let mut gathered = Gathered::default();
        gathered.features.reserve(self.features.len());
        for (field, raw) in cells {
            self.put(&mut gathered, field, raw)?;
        }
        Ok(gathered)
    }

    fn gather_named<'a>(&mut self, row: Entries<'a>) -> Result<Gathered<'a>, Fault> {
        let nested = row.iter().any(|(name, _)| name == Fixed::Features.name());
        let mut gathered = Gathered::default();
        for (name, raw) in row {
            let Some(meaning) = self.meaning(&name) else {
                continue;
            };
            let is_label =
                matches!(self.purpose, Purpose::Reference { .. }) && name == Fixed::Label.name();
            if nested && matches!(meaning, Meaning::Other(_)) && !is_label {
                continue;
            }
            let field = self.field(meaning)?;
            self.put(&mut gathered, field, raw)?;
        }
        Ok(gathered)
    }

    /// What a name stands for; `None` when it is not read. The model's file has the first word.
    fn meaning<'n>(&self, name: &'n str) -> Option<Meaning<'n>> {
        let columns = self.expect.columns;
        if columns.is_ignored(name) {
            return None;
        }
        let Some(field) = columns.field_of(name) else {
            return Some(Meaning::of(name, self.expect.task));
        };
        // The truth is no feature, whether it is read here or not.
        let is_reference = matches!(self.purpose, Purpose::Reference { .. });
        Fixed::of_said(field, self.expect.task)
            .filter(|field| match field {
                Fixed::Label => is_reference,
                Fixed::ObservedAt => false,
                _ => true,
            })
            .map(Meaning::Fixed)
    }

    fn field(&mut self, meaning: Meaning<'_>) -> Result<Field, Fault> {
        let label = Fixed::Label.name();
        match meaning {
            Meaning::Other(name)
                if name == label && matches!(self.purpose, Purpose::Reference { .. }) =>
            {
                Ok(Field::Fixed(Fixed::Label))
            }
            Meaning::Fixed(fixed) => Ok(Field::Fixed(fixed)),
            Meaning::Feature(name) | Meaning::Other(name) => {
                self.features.of(name).map(Field::Feature)
            }
            Meaning::Probability(class) => self.classes.of(class).map(Field::Probability),
        }
    }

    fn put<'a>(
        &mut self,
        gathered: &mut Gathered<'a>,
        field: Field,
        raw: Raw<'a>,
    ) -> Result<(), Fault> {
        match field {
            Field::Fixed(fixed) => {
                if gathered.fixed[fixed as usize].replace(raw).is_some() {
                    return Err(Fault::duplicate(fixed.name()));
                }
            }
            Field::Feature(position) => {
                self.features.see(position, self.serial)?;
                gathered.features.push((position, raw));
            }
            Field::Probability(position) => {
                let within = match self.expect.task {
                    Task::Forecast => Fixed::Quantiles,
                    _ => Fixed::Probabilities,
                };
                let seen = self.classes.see(position, self.serial);
                seen.map_err(|fault| {
                    let field = format!("{}.{}", within.name(), fault.field);
                    fault.in_field(&field)
                })?;
                gathered.probabilities.push((position, raw));
            }
        }
        Ok(())
    }

    fn judge<'a>(&mut self, row: Gathered<'a>) -> Result<Row<'a>, Fault>
    where
        'e: 'a,
    {
        match self.purpose {
            Purpose::Intake => self.judge_prediction(row),
            Purpose::Reference { .. } => self.judge_reference(row),
        }
    }

    fn judge_reference<'a>(&mut self, mut row: Gathered<'a>) -> Result<Row<'a>, Fault> {
        self.open_objects(&mut row)?;
        let label = row.optional(Fixed::Label, |raw| into_label(self.expect.task, raw))?;
        let output = self.judge_output(&mut row, true)?;
        // A time that cannot be read is no fault: nothing but days is made of it.
        let (earliest, latest) = (self.expect.earliest, self.expect.latest);
        let time = row.fixed[Fixed::Timestamp as usize].take().and_then(|raw| {
            let format = &self.expect.columns.times;
            raw.into_instant(format, earliest, latest).ok()
        });
        Ok(Row {
            prediction_id: Cow::Borrowed(""),
            predicted_at: time.unwrap_or(self.expect.received_at),
            dated: time.is_some(),
            version: Cow::Borrowed(""),
            error: None,
            output,
            segments: Vec::new(),
            latency_ms: None,
            deployment: None,
            features: self.judge_features(row.features)?,
            label,
        })
    }

    fn judge_features<'a>(
        &self,
        raw: Vec<(usize, Raw<'a>)>,
    ) -> Result<Vec<(usize, Value<'a>)>, Fault> {
        raw.into_iter()
            .map(|(position, raw)| {
                let value = raw
                    .into_feature()
                    .map_err(|fault| fault.in_field(self.features.name(position)))?;
                Ok((position, value))
            })
            .collect()
    }

    fn judge_prediction<'a>(&mut self, mut row: Gathered<'a>) -> Result<Row<'a>, Fault>
    where
        'e: 'a,
    {
        let expect = self.expect;
        self.open_objects(&mut row)?;
        let prediction_id = row.required(Fixed::PredictionId, Raw::into_name)?;
        let predicted_at = row.required(Fixed::Timestamp, |raw| {
            raw.into_instant(&expect.columns.times, expect.earliest, expect.latest)
        })?;
        let version = match row.optional(Fixed::Version, Raw::into_name)? {
            Some(version) => version,
            None => expect.default_version.map(Cow::Borrowed).ok_or_else(|| {
                Fault::missing("is missing, and the request names no version for such rows")
                    .in_field(Fixed::Version.name())
            })?,
        };
        let error = row
            .optional(Fixed::Error, Raw::into_text)?
            .filter(|error| !error.is_empty());
        let output = self.judge_output(&mut row, error.is_some())?;
        let segments = row.optional(Fixed::Segments, into_segments)?;
        let latency_ms = row.optional(Fixed::LatencyMs, into_latency)?;
        let deployment = row.optional(Fixed::Deployment, Raw::into_name)?;
        let features = self.judge_features(row.features)?;
        self.name_segments(segments.as_deref().unwrap_or_default())?;
        Ok(Row {
            prediction_id,
            predicted_at,
            dated: true,
            version,
            error,
            output,
            segments: segments.unwrap_or_default(),
            latency_ms,
            deployment,
            features,
            label: None,
        })
    }

    /// Each segment becomes a column of the body's rows, so a body may not name one for each row. The names of a row that is
    /// refused take no room.
    fn name_segments(&mut self, segments: &[(String, String)]) -> Result<(), Fault> {
        let known = self.segments.len();
        for (name, _) in segments {
            if let Err(fault) = self.segments.of(name) {
                self.segments.truncate(known);
                return Err(fault.in_field(&format!("segments.{name}")));
            }
        }
        Ok(())
    }

    /// Moves what is inside `features` and `probabilities` to where flat columns already are.
    fn open_objects<'a>(&mut self, row: &mut Gathered<'a>) -> Result<(), Fault> {
        let features = row
            .optional(Fixed::Features, into_entries)?
            .unwrap_or_default();
        row.features.reserve(features.len());
        for (name, raw) in features {
            let field = Field::Feature(self.features.of(&name)?);
            self.put(row, field, raw)?;
        }
        let distribution = match self.expect.task {
            Task::Forecast => Fixed::Quantiles,
            _ => Fixed::Probabilities,
        };
        for (class, raw) in row
            .optional(distribution, into_entries)?
            .unwrap_or_default()
        {
            let field = Field::Probability(self.classes.of(&class)?);
            self.put(row, field, raw)?;
        }
        Ok(())
    }

    fn judge_output(&self, row: &mut Gathered<'_>, failed: bool) -> Result<Output, Fault> {
        let task = self.expect.task;
        self.refuse_foreign_output(row)?;
        let mut output = Output::default();
        match task {
            Task::Regression => output.value = row.optional(Fixed::Prediction, Raw::into_number)?,
            Task::Binary => {
                output.score = row.optional(Fixed::Score, into_probability)?;
                output.class = row.optional(Fixed::Prediction, Raw::into_class)?;
            }
            Task::Multiclass => {
                output.probabilities = self.judge_probabilities(row)?;
                output.class = row
                    .optional(Fixed::Prediction, Raw::into_class)?
                    .or_else(|| most_probable(&output.probabilities));
            }
            Task::Ranking => {
                output.score = row.optional(Fixed::Score, Raw::into_number)?;
                output.class = row
                    .optional(Fixed::Query, Raw::into_name)?
                    .map(Cow::into_owned);
                output.value = row.optional(Fixed::Rank, into_rank)?;
            }
            Task::Forecast => {
                output.probabilities = self.judge_quantiles(row)?;
                output.score = row.optional(Fixed::NaiveError, into_naive_error)?;
                output.value = row
                    .optional(Fixed::Prediction, Raw::into_number)?
                    .or_else(|| median(&output.probabilities));
            }
        }
        match missing_answer(task, &output) {
            Some((field, cause)) if !failed => Err(Fault::missing(cause).in_field(field.name())),
            _ => Ok(output),
        }
    }

    /// An output that the model's task does not have is refused rather than dropped unseen: it is often a
    /// feature with a reserved name.
    fn refuse_foreign_output(&self, row: &Gathered<'_>) -> Result<(), Fault> {
        let task = self.expect.task;
        let given = |field: Fixed| {
            let cell = row.fixed[field as usize].as_ref();
            cell.is_some_and(|raw| !raw.is_null())
        };
        let refuse = |field: Fixed, cause: &str| Err(Fault::wrong(cause).in_field(field.name()));
        if given(Fixed::Score) && !matches!(task, Task::Binary | Task::Ranking) {
            return refuse(
                Fixed::Score,
                "belongs to binary models; a feature of this name is sent as feature.score",
            );
        }
        if given(Fixed::Prediction) && task == Task::Ranking {
            return refuse(
                Fixed::Prediction,
                "is not what a ranking sends; it sends `score` or `rank`",
            );
        }
        let has_distribution = row.probabilities.iter().any(|(_, raw)| !raw.is_null());
        let foreign = match task {
            Task::Multiclass => false,
            Task::Forecast => given(Fixed::Probabilities),
            Task::Regression | Task::Binary | Task::Ranking => has_distribution,
        };
        if foreign {
            return refuse(
                Fixed::Probabilities,
                "belong to multiclass models; a binary model sends `score`",
            );
        }
        Ok(())
    }

    /// The quantiles of a forecast, by their levels written in one way.
    fn judge_quantiles(&self, row: &mut Gathered<'_>) -> Result<Vec<(String, f64)>, Fault> {
        let mut quantiles: Vec<(String, f64)> = Vec::with_capacity(row.probabilities.len());
        for (position, raw) in row.probabilities.drain(..) {
            if raw.is_null() {
                continue;
            }
            let level = self.classes.name(position);
            let field = format!("{}.{level}", Fixed::Quantiles.name());
            let parsed = level.parse::<f64>().ok();
            let Some(parsed) = parsed.filter(|level| *level > 0.0 && *level < 1.0) else {
                return Err(Fault::wrong(
                    "has a name that is no level: one above 0 and below 1 is expected, such as 0.9",
                )
                .in_field(&field));
            };
            let value = raw.into_number().map_err(|fault| fault.in_field(&field))?;
            let level = parsed.to_string();
            if quantiles.iter().any(|(known, _)| *known == level) {
                return Err(Fault::duplicate(&field));
            }
            quantiles.push((level, value));
        }
        Ok(quantiles)
    }

    fn judge_probabilities(&self, row: &mut Gathered<'_>) -> Result<Vec<(String, f64)>, Fault> {
        let mut probabilities = Vec::with_capacity(row.probabilities.len());
        for (position, raw) in row.probabilities.drain(..) {
            if raw.is_null() {
                continue;
            }
            let class = self.classes.name(position);
            let probability = into_probability(raw).map_err(|fault| {
                fault.in_field(&format!("{}.{class}", Fixed::Probabilities.name()))
            })?;
            probabilities.push((class.to_owned(), probability));
        }
        let sum: f64 = probabilities
            .iter()
            .map(|(_, probability)| probability)
            .sum();
        if !probabilities.is_empty() && (sum - 1.0).abs() > PROBABILITY_SLACK {
            return Err(Fault::wrong(format!("sum to {sum:.4}, not to 1"))
                .in_field(Fixed::Probabilities.name()));
        }
        Ok(probabilities)
    }
}

impl Rows for PredictionRows<'_> {
    fn expect(&mut self, rows: usize) {
        self.expected_rows = self.expected_rows.max(rows);
    }

    fn locate(&mut self, column: &str) -> Result<Option<Field>, Fault> {
        match self.meaning(column) {
            Some(meaning) => self.field(meaning).map(Some),
            None => Ok(None),
        }
    }

    fn append<'a>(
        &mut self,
        line: u64,
        cells: impl Iterator<Item = (Field, Raw<'a>)>,
    ) -> Result<(), FormatError> {
        self.serial += 1;
        let judged = self.gather(cells).and_then(|row| self.judge(row));
        self.settle(line, judged)
    }

    /// Features column by column, which is several times faster than row by row; what a row is refused for is the
    /// same.
    fn append_batch(&mut self, first: u64, cells: &Cells<'_>) -> Result<(), FormatError> {
        let (features, fixed): (Vec<&CellColumn>, Vec<&CellColumn>) =
            (cells.columns().iter()).partition(|column| matches!(column.field, Field::Feature(_)));
        let read: Vec<FeatureCells> = features
            .iter()
            .filter_map(|column| match column.field {
                Field::Feature(position) => Some((position, column)),
                Field::Fixed(_) | Field::Probability(_) => None,
            })
            .map(|(position, column)| {
                FeatureCells::read(position, self.features.name(position), column, cells.rows())
            })
            .collect();
        let mut faults: BTreeMap<usize, Fault> = BTreeMap::new();
        for (row, fault) in read.iter().flat_map(|cells| &cells.faults) {
            faults.entry(*row).or_insert_with(|| fault.clone());
        }
        let mut bytes_beside = vec![0; cells.rows()];
        for cells in &read {
            cells.column.add_bytes_beside(&mut bytes_beside);
        }
        let start = self.batch.len();
        let mut kept = Vec::with_capacity(cells.rows());
        for (row, bytes_beside) in bytes_beside.into_iter().enumerate() {
            let line = first + row as u64;
            self.serial += 1;
            let of_row = fixed.iter().map(|column| (column.field, column.cell(row)));
            let judged = self.gather(of_row).and_then(|row| self.judge(row));
            match (judged, faults.remove(&row)) {
                (Ok(judged), None) => {
                    self.keep(line, judged, bytes_beside)?;
                    kept.push(row);
                }
                (Err(fault), _) | (Ok(_), Some(fault)) => self.refuse_row(line, fault)?,
            }
        }
        self.name_columns();
        for cells in read {
            let column = &mut self.batch.features[cells.position];
            let added = if kept.len() == cells.column.len() {
                cells.column
            } else {
                cells.column.select(&kept)
            };
            if start == 0 {
                *column = added;
            } else {
                column.resize(start);
                column.append(&added);
            }
        }
        Ok(())
    }

    fn append_named<'a>(&mut self, line: u64, row: Entries<'a>) -> Result<(), FormatError> {
        self.serial += 1;
        let (features, classes) = (self.features.len(), self.classes.len());
        let judged = self.gather_named(row).and_then(|row| self.judge(row));
        if judged.is_err() {
            // Otherwise the names of bad rows would use up the room of good ones.
            self.features.truncate(features);
            self.classes.truncate(classes);
        }
        self.settle(line, judged)
    }

    fn refuse(&mut self, line: u64, fault: Fault) -> Result<(), FormatError> {
        self.ledger.refuse(line, fault)
    }
}

impl<'a> Gathered<'a> {
    fn optional<T>(
        &mut self,
        field: Fixed,
        convert: impl FnOnce(Raw<'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.fixed[field as usize]
            .take()
            .filter(|raw| !raw.is_null())
            .map(convert)
            .transpose()
            .map_err(|fault| {
                if fault.field.is_empty() {
                    fault.in_field(field.name())
                } else {
                    fault
                }
            })
    }

    fn required<T>(
        &mut self,
        field: Fixed,
        convert: impl FnOnce(Raw<'a>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.optional(field, convert)?
            .ok_or_else(|| Fault::missing("is missing").in_field(field.name()))
    }
}

impl Row<'_> {
    fn text_bytes(&self) -> usize {
        let features = self.features.iter().map(|(_, value)| value.bytes_beside());
        let segments = self
            .segments
            .iter()
            .map(|(name, value)| 2 * KEPT_TEXT + name.len() + value.len());
        let classes = self
            .output
            .probabilities
            .iter()
            .map(|(class, _)| size_of::<(String, f64)>() + class.len());
        let optional = [
            self.error.as_deref(),
            self.output.class.as_deref(),
            self.deployment.as_deref(),
        ]
        .map(|text| text.map_or(0, str::len));
        self.prediction_id.len()
            + self.version.len()
            + features
                .chain(segments)
                .chain(classes)
                .chain(optional)
                .sum::<usize>()
    }
}

fn into_entries(raw: Raw<'_>) -> Result<Entries<'_>, Fault> {
    match raw {
        Raw::Object(entries) => Ok(entries),
        other => Err(other.not("an object of names and values")),
    }
}

fn into_probability(raw: Raw<'_>) -> Result<f64, Fault> {
    let probability = raw.into_number()?;
    if (0.0..=1.0).contains(&probability) {
        Ok(probability)
    } else {
        Err(Fault::wrong(format!(
            "is {probability}, not between 0 and 1"
        )))
    }
}

fn into_latency(raw: Raw<'_>) -> Result<f64, Fault> {
    let milliseconds = raw.into_number()?;
    if milliseconds >= 0.0 {
        Ok(milliseconds)
    } else {
        Err(Fault::wrong(format!("is {milliseconds}, less than 0")))
    }
}

/// What a row without an answer lacks, in the words for its sender.
fn missing_answer(task: Task, output: &Output) -> Option<(Fixed, &'static str)> {
    let answered = output.value.is_some() || output.class.is_some() || output.score.is_some();
    match task {
        Task::Regression if !answered => {
            Some((Fixed::Prediction, "is missing, and the row has no `error`"))
        }
        Task::Binary if !answered => Some((
            Fixed::Prediction,
            "is missing, and so are `score` and `error`",
        )),
        Task::Multiclass if !answered => Some((
            Fixed::Prediction,
            "is missing, and so are `probabilities` and `error`",
        )),
        Task::Ranking if output.class.is_none() => {
            Some((Fixed::Query, "is missing, and the row has no `error`"))
        }
        Task::Ranking if output.score.is_none() && output.value.is_none() => {
            Some((Fixed::Score, "is missing, and so are `rank` and `error`"))
        }
        Task::Forecast if output.value.is_none() => Some((
            Fixed::Prediction,
            "is missing, and so are the quantile 0.5 and `error`",
        )),
        _ => None,
    }
}

/// The quantile 0.5.
fn median(quantiles: &[(String, f64)]) -> Option<f64> {
    let mut quantiles = quantiles.iter();
    quantiles.find_map(|(level, value)| (level == "0.5").then_some(*value))
}

fn into_rank(raw: Raw<'_>) -> Result<f64, Fault> {
    let rank = raw.into_number()?;
    if rank >= 1.0 && rank.fract() == 0.0 {
        Ok(rank)
    } else {
        Err(Fault::wrong(format!(
            "is {rank}, not a place counted from 1"
        )))
    }
}

fn into_naive_error(raw: Raw<'_>) -> Result<f64, Fault> {
    let naive_error = raw.into_number()?;
    if naive_error > 0.0 {
        Ok(naive_error)
    } else {
        Err(Fault::wrong(format!(
            "is {naive_error}, not above 0: errors cannot be measured in it"
        )))
    }
}

/// The first of the largest.
fn most_probable(probabilities: &[(String, f64)]) -> Option<String> {
    let (first, rest) = probabilities.split_first()?;
    let best = rest.iter().fold(first, |best, candidate| {
        if candidate.1 > best.1 {
            candidate
        } else {
            best
        }
    });
    Some(best.0.clone())
}
