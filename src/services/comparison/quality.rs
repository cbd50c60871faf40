//! Quality of the predictions in two files, where both the task and the truth are known: the service's own measures on
//! the rows of files.
//!
//! Of each outcome a few numbers are kept, for all rows and again for each segment; beyond [`MOST_NUMBERS`] of a file
//! quality is not measured, and says so. Everything else about a file needs no more memory however long it is.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::error::ComparisonError;
use super::grouping::{Grouping, seconds};
use super::maturity::{self, Progressed, Side as Labels};
use super::{Request, place, thresholds};
use crate::domain::batch::{LabelValue, Output};
use crate::domain::columns::{Column, Value};
use crate::domain::definitions::{MonitorDef, MonitorKind};
use crate::domain::measurement::{Better, Measure, Recipe, Segment, Status};
use crate::domain::model::Task;
use crate::domain::quality::QualityChoice;
use crate::domain::window::Window;
use crate::formats::table::{self, ColumnData, Table};
use crate::services::maturity::{ByArrival, Outlook};
use crate::services::quality::{
    Gathered, QualityOutcome, QualityValue, Wanted, of_groups_of, why_insufficient,
};
use crate::stats::quality::{AgeSpread, GroupOutcomes, wilson_interval};

/// Numbers kept of one file's outcomes: half a gigabyte.
const MOST_NUMBERS: usize = 1 << 26;
pub(super) const LABEL: &str = "label";
/// What is said of a value that is held against the reference's.
const WORSE: &str = "worse than the reference's: their 95 % intervals do not meet";

/// What the predictions are and by what they are judged.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    task: Task,
    positive: String,
    choice: QualityChoice,
    min_labels: u64,
    thresholds: BTreeMap<Measure, f64>,
    /// Whether values without a threshold are held against the reference's.
    by_reference: bool,
    /// Whether somebody asked for quality in so many words, so that a column that lacks is a fault.
    asked: bool,
    /// Whether the model has a monitor of it.
    declared: bool,
}

impl Settings {
    /// By the model's first quality monitor, or the usual ones, and what has a threshold; nothing where no task is known.
    ///
    /// # Errors
    /// When a threshold is of a measure that cannot be measured.
    pub(super) fn of(request: &Request) -> Result<Option<Self>, ComparisonError> {
        let model = request.model.as_ref();
        let Some(task) = request.task.or(model.map(|model| model.task)) else {
            return thresholds::without_task(request).map(|()| None);
        };
        let usual = MonitorDef::usual();
        let of_quality = |monitor: &&MonitorDef| monitor.kind == MonitorKind::Quality;
        let declared = model.and_then(|model| model.monitors.iter().find(of_quality));
        let monitor = declared.or_else(|| usual.iter().find(of_quality));
        let mut choice = monitor.map_or_else(QualityChoice::default, |m| m.quality.clone());
        thresholds::add_to(&mut choice, task, request)?;
        let positive = request
            .positive_class
            .clone()
            .or_else(|| model.and_then(|model| model.positive_class.clone()));
        let min_labels = request.min_rows.or(monitor.map(|monitor| monitor.min_rows));
        Ok(Some(Self {
            task,
            positive: positive.unwrap_or_else(|| "1".to_owned()),
            choice,
            min_labels: min_labels.unwrap_or(0),
            thresholds: request.thresholds.clone(),
            by_reference: request.quality_by_reference,
            declared: declared.is_some(),
            asked: request.task.is_some()
                || request.quality_by_reference
                || request
                    .thresholds
                    .keys()
                    .any(|m| thresholds::needs_task(*m)),
        }))
    }

    /// Whether the predictions are items of rankings.
    pub(super) fn ranks(&self) -> bool {
        self.task == Task::Ranking
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            measures: self.choice.measures(self.task),
            choice: &self.choice,
        }
    }
}

/// One measure of quality in one group of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityMeasurement {
    /// Nothing when rows are not split by time.
    pub window: Option<Window>,
    pub segment: Segment,
    /// The class or the field of groups it is about; empty for the whole model.
    pub feature: String,
    pub measure: Measure,
    pub value: Option<f64>,
    /// 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// The reference's value, where the reference has labels.
    pub reference: Option<f64>,
    /// The 95 % interval of that.
    pub reference_interval: Option<(f64, f64)>,
    pub status: Status,
    pub reference_labels: u64,
    pub current_labels: u64,
    pub recipe: Recipe,
}

/// Where a file has what predictions are judged by.
#[derive(Debug)]
struct Places {
    label: usize,
    prediction: Option<usize>,
    score: Option<usize>,
    query: Option<usize>,
    rank: Option<usize>,
    naive_error: Option<usize>,
    error: Option<usize>,
    /// Classes with their probabilities, or levels with their quantiles.
    distribution: Vec<(String, usize)>,
}

impl Places {
    /// The places of a file, or the name of the column it lacks.
    fn of(table: &Table, task: Task) -> Result<Self, &'static str> {
        let of = |name: &str| table.position(name);
        let only = |name: &str, of_task: Task| of(name).filter(|_| task == of_task);
        let prefixes: &[&str] = match task {
            Task::Multiclass => &["probability.", "probabilities.", "proba_"],
            Task::Forecast => &["quantile.", "quantiles."],
            Task::Regression | Task::Binary | Task::Ranking => &[],
        };
        let columns = (0..).zip(table.columns());
        let distribution = columns.filter_map(|(place, column)| {
            let mut prefixes = prefixes.iter();
            let name = prefixes.find_map(|prefix| column.name.strip_prefix(prefix))?;
            Some((name.to_owned(), place))
        });
        let places = Self {
            label: of(LABEL).ok_or(LABEL)?,
            prediction: of("prediction"),
            score: of("score"),
            query: only("query", Task::Ranking),
            rank: only("rank", Task::Ranking),
            naive_error: only("naive_error", Task::Forecast),
            error: of("error"),
            distribution: distribution.collect(),
        };
        let lacks = match task {
            Task::Ranking if places.query.is_none() => Some("query"),
            Task::Ranking if places.score.is_none() && places.rank.is_none() => Some("score"),
            Task::Binary if places.score.is_none() && places.prediction.is_none() => Some("score"),
            Task::Regression | Task::Multiclass if places.prediction.is_none() => {
                Some("prediction")
            }
            Task::Forecast if places.prediction.is_none() && !places.has_median() => {
                Some("prediction")
            }
            _ => None,
        };
        lacks.map_or(Ok(places), Err)
    }

    /// Whether there is a quantile 0.5, which stands for the prediction where there is none.
    fn has_median(&self) -> bool {
        let mut levels = self.distribution.iter();
        levels.any(|(level, _)| is_median(level))
    }

    /// The columns to read, and where each of them comes among these.
    fn wanted(&self) -> Vec<usize> {
        let single = [
            self.prediction,
            self.score,
            self.query,
            self.rank,
            self.naive_error,
            self.error,
        ];
        let mut wanted = vec![self.label];
        wanted.extend(single.into_iter().flatten());
        wanted.extend(self.distribution.iter().map(|(_, place)| *place));
        wanted
    }

    /// Numbers that are kept of an outcome, for all rows or one segment.
    fn numbers(&self, task: Task) -> usize {
        match task {
            Task::Regression | Task::Binary => 2,
            Task::Multiclass => 4 + 2 * self.distribution.len(),
            Task::Ranking => 5,
            Task::Forecast => 7,
        }
    }
}

/// The outcomes of a file by group.
#[derive(Default)]
struct Side {
    gathered: BTreeMap<(usize, u32), Gathered>,
    /// By field of groups and window.
    fairness: BTreeMap<(String, u32), GroupOutcomes>,
    /// By window: predictions, and those with a label.
    coverage: BTreeMap<u32, (u64, u64)>,
    /// Whether there are more outcomes than are kept.
    overflowed: bool,
}

/// Quality in every group of the current file, beside that of the same segment of the reference. Empty where no task
/// is known, or a file that was not asked for it has no labels.
///
/// # Errors
/// When a file cannot be read, or lacks a column of the task that was asked for.
pub(super) fn compare(
    settings: Option<&Settings>,
    of_reference: &Labels<'_>,
    of_current: &Labels<'_>,
) -> Result<Vec<QualityMeasurement>, ComparisonError> {
    let Some(settings) = settings else {
        return Ok(Vec::new());
    };
    let (reference, in_reference) = (of_reference.table, of_reference.grouping);
    let (current, in_current) = (of_current.table, of_current.grouping);
    let places = match Places::of(current, settings.task) {
        Ok(places) => places,
        Err(column) if settings.asked => return Err(lacking(current, column)),
        // Files without labels are compared as well; with them, the model's monitor is not passed over without a word.
        Err(column) if settings.declared && column != LABEL => return Ok(vec![unsaid(column)]),
        Err(_) => return Ok(Vec::new()),
    };
    let now = gather(settings, current, in_current, &places)?;
    let in_reference_file = Places::of(reference, settings.task);
    let before = match &in_reference_file {
        Ok(places) => gather(settings, reference, in_reference, places)?,
        Err(_) => Side::default(),
    };
    let before = Reference::of(settings, &before, in_reference);
    let mut measured = Vec::new();
    for group in 0..in_current.windows.len().max(1) as u32 {
        let of_window = now.coverage.get(&group).copied().unwrap_or_default();
        let place = place_of(in_current, 0, group);
        measured.push(of_coverage(settings, place, of_window, before.coverage));
    }
    let threshold = settings.thresholds.get(&Measure::LabelCompleteness);
    let within = settings.choice.labels_within_seconds;
    let within = within.map(TimeDelta::seconds);
    let mut progressed = maturity::progressed(
        of_reference,
        of_current,
        (threshold.copied(), within),
        now.is_labelled(),
    )?;
    measured.append(&mut progressed.completeness);
    let outlooks = match &in_reference_file {
        Ok(places) if !now.overflowed => outlooks(settings, of_reference, places, &progressed)?,
        _ => BTreeMap::new(),
    };
    if now.overflowed {
        let measures = settings.wanted().measures.iter();
        measured.extend(measures.map(|measure| overflowed(*measure)));
        return Ok(measured);
    }
    for ((dimension, code), gathered) in &now.gathered {
        let place = place_of(in_current, *dimension, *code);
        let outlook = outlooks.get(&in_current.group(*dimension, *code).window);
        for value in gathered.measure(settings.wanted()) {
            measured.push(judge(settings, place.clone(), value, (&before, outlook)));
        }
    }
    for ((field, window), groups) in &now.fairness {
        let place = place_of(in_current, 0, *window);
        let outlook = outlooks.get(&in_current.group(0, *window).window);
        for value in of_groups_of(field, settings.wanted().measures, groups) {
            measured.push(judge(settings, place.clone(), value, (&before, outlook)));
        }
    }
    Ok(measured)
}

/// What the reference says of the values of young windows once their labels are in, by window. The reference's labels are read
/// again for as many windows at a time as their numbers fit into memory.
fn outlooks(
    settings: &Settings,
    reference: &Labels<'_>,
    places: &Places,
    progressed: &Progressed,
) -> Result<BTreeMap<Option<usize>, Outlook>, ComparisonError> {
    let mut outlooks = BTreeMap::new();
    let Some(span) = progressed.reference else {
        return Ok(outlooks);
    };
    let labels = usize::try_from(span.labels).unwrap_or(usize::MAX).max(1);
    let numbers = places.numbers(settings.task) * reference.grouping.dimensions().max(1);
    // One part is for all labels, whenever they came.
    let parts = (MOST_NUMBERS / labels.saturating_mul(numbers)).saturating_sub(1);
    for young in progressed.young.chunks(parts.max(1)) {
        let mut ages: Vec<Option<&AgeSpread>> = young.iter().map(|w| Some(&w.ages)).collect();
        ages.push(None);
        let mut sides = gather_by_age(settings, reference, places, (&ages, span.until))?;
        let Some((full, _)) = sides.pop() else { break };
        let values = |side: &Side| Reference::of(settings, side, reference.grouping).values;
        let full = values(&full);
        for (window, (early, late)) in young.iter().zip(&sides) {
            let outlook = Outlook {
                maturity: window.maturity,
                matures_at: window.matures_at,
                from: span.from,
                to: span.to,
                labels: span.labels,
                arrived: ByArrival {
                    early: values(early),
                    late: values(late),
                    full: full.clone(),
                },
            };
            outlooks.insert(window.window, outlook);
        }
    }
    Ok(outlooks)
}

/// The outcomes of a file whose labels came at known times: by the ages of each window those that took no longer, and those that
/// did; all of them without ages.
fn gather_by_age(
    settings: &Settings,
    file: &Labels<'_>,
    places: &Places,
    (ages, until): (&[Option<&AgeSpread>], i64),
) -> Result<Vec<(Side, Side)>, ComparisonError> {
    let (Some(time), Some(observed)) = (file.timestamp, file.observed) else {
        return Ok(Vec::new());
    };
    let mut sides: Vec<(Side, Side)> = ages.iter().map(|_| Default::default()).collect();
    let mut columns = vec![time, observed];
    columns.extend(places.wanted());
    let mut first = 0;
    let mut number = 0;
    file.table.read(&columns, &mut |batch| {
        // What cannot be read was told when the labels were counted.
        let [times, observed] = [0, 1].map(|at| seconds(&batch.columns[at]).unwrap_or_default());
        let columns: Vec<Column> = batch.columns[2..].iter().map(values).collect();
        let rows = Rows::of(places, &columns);
        for (row, (time, observed)) in times.into_iter().zip(observed).enumerate() {
            let (Some(time), Some(observed)) = (time.filter(|time| *time <= until), observed)
            else {
                continue;
            };
            let output = rows.output(settings.task, row);
            let Some((output, label)) = output.zip(rows.label(settings.task, row)) else {
                continue;
            };
            let outcome = QualityOutcome::of_file(&output, &label);
            let lag = ((observed - time) as f64).max(0.0);
            for (ages, (early, late)) in ages.iter().zip(&mut sides) {
                let is_early = ages.is_none_or(|ages| lag <= ages.of(number));
                let side = if is_early { early } else { late };
                side.add(settings, file.grouping, first + row, &outcome);
            }
            number += 1;
        }
        first += batch.rows;
        true
    })?;
    Ok(sides)
}

fn place_of(grouping: &Grouping, dimension: usize, code: u32) -> (Option<Window>, Segment) {
    let group = grouping.group(dimension, code);
    let window = group.window.map(|at| grouping.windows[at]);
    (window, group.segment)
}

fn lacking(table: &Table, column: &str) -> ComparisonError {
    match place(table, column) {
        Err(error) => error,
        // It has one of that name after all, of lists for instance.
        Ok(_) => ComparisonError::UnknownColumn {
            file: table.file().to_owned(),
            column: column.to_owned(),
            hint: String::new(),
        },
    }
}

/// What the reference's outcomes come to.
struct Reference {
    values: BTreeMap<Segment, Vec<QualityValue>>,
    coverage: Option<(u64, u64)>,
}

impl Reference {
    fn of(settings: &Settings, side: &Side, grouping: &Grouping) -> Self {
        let mut values: BTreeMap<Segment, Vec<QualityValue>> = BTreeMap::new();
        if !side.overflowed {
            for ((dimension, code), gathered) in &side.gathered {
                let segment = grouping.group(*dimension, *code).segment;
                values.insert(segment, gathered.measure(settings.wanted()));
            }
            for ((field, _), groups) in &side.fairness {
                let of_field = of_groups_of(field, settings.wanted().measures, groups);
                let overall = values.entry(Segment::overall()).or_default();
                overall.extend(of_field);
            }
        }
        Self {
            values,
            coverage: side.coverage.get(&0).copied(),
        }
    }

    fn value(&self, segment: &Segment, of: &QualityValue) -> Option<&QualityValue> {
        let mut values = self.values.get(segment)?.iter();
        values.find(|value| value.measure == of.measure && value.feature == of.feature)
    }
}

fn judge(
    settings: &Settings,
    (window, segment): (Option<Window>, Segment),
    value: QualityValue,
    (reference, outlook): (&Reference, Option<&Outlook>),
) -> QualityMeasurement {
    let projected = outlook.and_then(|outlook| outlook.project(&segment, &value));
    let before = reference.value(&segment, &value);
    let cause = why_insufficient(&value, settings.min_labels);
    let threshold = settings.thresholds.get(&value.measure).copied();
    let is_beyond = |value: f64, threshold: f64, measure: Measure| match measure.better() {
        Better::Lower | Better::Neither => value > threshold,
        Better::Higher => value < threshold,
        Better::Zero => value.abs() > threshold,
    };
    let beyond = value.value().zip(threshold);
    let beyond = beyond.is_some_and(|(v, limit)| is_beyond(v, limit, value.measure));
    let reference_interval = before.and_then(QualityValue::interval);
    let intervals = value.interval().zip(reference_interval);
    let is_judged = settings.by_reference && threshold.is_none();
    let worse = intervals.filter(|_| is_judged);
    let worse = worse.is_some_and(|(now, before)| is_worse(value.measure, now, before));
    let over = format!("over the {} rows whose label is known", value.labels);
    QualityMeasurement {
        window,
        segment,
        value: value.value(),
        interval: value.interval(),
        reference: before.and_then(QualityValue::value),
        reference_interval,
        status: match (&cause, beyond || worse) {
            (Some(_), _) => Status::Insufficient,
            (None, true) => Status::Drift,
            (None, false) => Status::Ok,
        },
        reference_labels: before.map_or(0, |before| before.labels),
        current_labels: value.labels,
        recipe: Recipe {
            method: match &value.note {
                Some(note) => format!("{over}; {note}"),
                None => over,
            },
            threshold,
            detail: (worse && cause.is_none()).then(|| WORSE.to_owned()),
            cause,
            projected,
            ..Recipe::default()
        },
        measure: value.measure,
        feature: value.feature,
    }
}

/// Whether a value's interval lies wholly on the worse side of the reference's. Never of measures without a better side.
fn is_worse(measure: Measure, now: (f64, f64), before: (f64, f64)) -> bool {
    let nearest_to_zero = |(low, high): (f64, f64)| {
        if low <= 0.0 && high >= 0.0 {
            0.0
        } else {
            low.abs().min(high.abs())
        }
    };
    match measure.better() {
        Better::Lower => now.0 > before.1,
        Better::Higher => now.1 < before.0,
        Better::Zero => nearest_to_zero(now) > before.0.abs().max(before.1.abs()),
        Better::Neither => false,
    }
}

/// The share of predictions whose label is in the file.
fn of_coverage(
    settings: &Settings,
    (window, segment): (Option<Window>, Segment),
    (answered, labelled): (u64, u64),
    before: Option<(u64, u64)>,
) -> QualityMeasurement {
    let share = |(answered, labelled): (u64, u64)| {
        (answered > 0).then(|| labelled as f64 / answered as f64)
    };
    let value = share((answered, labelled));
    let threshold = settings.thresholds.get(&Measure::LabelCoverage).copied();
    let beyond = value.zip(threshold).is_some_and(|(v, limit)| v < limit);
    QualityMeasurement {
        window,
        segment,
        feature: String::new(),
        measure: Measure::LabelCoverage,
        value,
        interval: wilson_interval(labelled, answered),
        reference: before.and_then(share),
        reference_interval: None,
        status: match (value, beyond) {
            (None, _) => Status::Insufficient,
            (Some(_), true) => Status::Drift,
            (Some(_), false) => Status::Ok,
        },
        reference_labels: before.map_or(0, |(_, labelled)| labelled),
        current_labels: labelled,
        recipe: Recipe {
            method: format!("{labelled} of {answered} predictions without an error"),
            threshold,
            cause: value.is_none().then(|| "no predictions".to_owned()),
            ..Recipe::default()
        },
    }
}

/// That the model's monitor has nothing to go by.
fn unsaid(column: &str) -> QualityMeasurement {
    QualityMeasurement {
        status: Status::Insufficient,
        recipe: Recipe {
            method: "over the rows whose label is known".to_owned(),
            cause: Some(format!("the current file has no column \"{column}\"")),
            ..Recipe::default()
        },
        ..overflowed(Measure::LabelCoverage)
    }
}

fn overflowed(measure: Measure) -> QualityMeasurement {
    QualityMeasurement {
        window: None,
        segment: Segment::overall(),
        feature: String::new(),
        measure,
        value: None,
        interval: None,
        reference: None,
        reference_interval: None,
        status: Status::Error,
        reference_labels: 0,
        current_labels: 0,
        recipe: Recipe {
            method: "over the rows whose label is known".to_owned(),
            cause: Some(format!(
                "the file has more outcomes than {MOST_NUMBERS} numbers hold, all segments together; compare a part \
                 of it, or fewer segments"
            )),
            ..Recipe::default()
        },
    }
}

fn gather(
    settings: &Settings,
    table: &Table,
    grouping: &Grouping,
    places: &Places,
) -> Result<Side, ComparisonError> {
    let mut side = Side::default();
    let most = MOST_NUMBERS / places.numbers(settings.task) / grouping.dimensions().max(1);
    let mut first = 0;
    let mut outcomes = 0;
    table.read(&places.wanted(), &mut |batch| {
        let columns: Vec<Column> = batch.columns.iter().map(values).collect();
        let rows = Rows::of(places, &columns);
        for row in 0..batch.rows {
            let Some(output) = rows.output(settings.task, row) else {
                continue;
            };
            let window = code(grouping, 0, first + row);
            let label = rows.label(settings.task, row);
            if let Some(window) = window {
                let (answered, labelled) = side.coverage.entry(window).or_default();
                *answered += 1;
                *labelled += u64::from(label.is_some());
            }
            let Some(label) = label else { continue };
            outcomes += 1;
            side.overflowed |= outcomes > most;
            if !side.overflowed {
                let outcome = QualityOutcome::of_file(&output, &label);
                side.add(settings, grouping, first + row, &outcome);
            }
        }
        first += batch.rows;
        true
    })?;
    if side.overflowed {
        side.gathered.clear();
        side.fairness.clear();
    }
    Ok(side)
}

fn code(grouping: &Grouping, dimension: usize, row: usize) -> Option<u32> {
    let code = grouping
        .codes(dimension, row, 1)
        .map_or(0, |codes| codes[0]);
    (!Grouping::is_out_of_groups(code)).then_some(code)
}

impl Side {
    /// Whether every prediction has its label.
    fn is_labelled(&self) -> bool {
        let mut windows = self.coverage.values();
        windows.all(|(answered, labelled)| answered == labelled)
    }

    fn add(
        &mut self,
        settings: &Settings,
        grouping: &Grouping,
        row: usize,
        outcome: &QualityOutcome,
    ) {
        let decided = (settings.task == Task::Binary)
            .then(|| outcome.yes_or_no(&settings.positive))
            .flatten();
        for dimension in 0..grouping.dimensions() {
            let Some(code_here) = code(grouping, dimension, row) else {
                continue;
            };
            let fresh = || Gathered::new(settings.task, &settings.positive, &settings.choice);
            self.gathered
                .entry((dimension, code_here))
                .or_insert_with(fresh)
                .push(outcome);
            let segment = grouping.group(dimension, code_here).segment;
            let is_group = settings.choice.groups.contains(&segment.name);
            let window = code(grouping, 0, row);
            if let (true, Some((predicted, label)), Some(window)) = (is_group, decided, window) {
                self.fairness
                    .entry((segment.name, window))
                    .or_default()
                    .push(&segment.value, predicted, label);
            }
        }
    }
}

fn values(data: &ColumnData) -> Column {
    match data {
        ColumnData::Mixed(column) => column.clone(),
        ColumnData::Array(array) => table::mixed(array),
    }
}

/// The columns of a batch by what they mean.
struct Rows<'c> {
    label: &'c Column,
    prediction: Option<&'c Column>,
    score: Option<&'c Column>,
    query: Option<&'c Column>,
    rank: Option<&'c Column>,
    naive_error: Option<&'c Column>,
    error: Option<&'c Column>,
    distribution: Vec<(&'c str, &'c Column)>,
}

impl<'c> Rows<'c> {
    /// Of columns in the order of [`Places::wanted`].
    fn of(places: &'c Places, columns: &'c [Column]) -> Self {
        let mut next = columns.iter();
        let mut take = |place: Option<usize>| place.and_then(|_| next.next());
        let label = take(Some(places.label)).unwrap_or(&columns[0]);
        let prediction = take(places.prediction);
        let score = take(places.score);
        let query = take(places.query);
        let rank = take(places.rank);
        let naive_error = take(places.naive_error);
        let error = take(places.error);
        let names = places.distribution.iter().map(|(name, _)| name.as_str());
        Self {
            label,
            prediction,
            score,
            query,
            rank,
            naive_error,
            error,
            distribution: names.zip(next).collect(),
        }
    }

    /// What the model answered; nothing of a row without an answer, or with an error.
    fn output(&self, task: Task, row: usize) -> Option<Output> {
        let failed = self.error.and_then(|column| text(&column.get(row)));
        if failed.is_some_and(|error| !error.is_empty()) {
            return None;
        }
        let of_number = |column: Option<&Column>| column.and_then(|c| number(&c.get(row)));
        let of_class = |column: Option<&Column>| column.and_then(|c| text(&c.get(row)));
        let distribution = self.distribution.iter();
        let distribution: Vec<(String, f64)> = distribution
            .filter_map(|(name, column)| Some(((*name).to_owned(), number(&column.get(row))?)))
            .collect();
        let output = match task {
            Task::Regression => Output {
                value: Some(of_number(self.prediction)?),
                ..Output::default()
            },
            Task::Binary => Output {
                class: of_class(self.prediction),
                score: of_number(self.score),
                ..Output::default()
            },
            Task::Multiclass => Output {
                class: Some(of_class(self.prediction)?),
                probabilities: distribution,
                ..Output::default()
            },
            Task::Ranking => Output {
                class: Some(of_class(self.query)?),
                score: of_number(self.score),
                value: of_number(self.rank),
                ..Output::default()
            },
            Task::Forecast => {
                let mut levels = distribution.iter();
                let median = levels.find_map(|(level, value)| is_median(level).then_some(*value));
                Output {
                    value: Some(of_number(self.prediction).or(median)?),
                    score: of_number(self.naive_error),
                    probabilities: distribution,
                    ..Output::default()
                }
            }
        };
        (output != Output::default()).then_some(output)
    }

    fn label(&self, task: Task, row: usize) -> Option<LabelValue> {
        let value = self.label.get(row);
        match task {
            Task::Regression | Task::Ranking | Task::Forecast => {
                number(&value).map(LabelValue::Number)
            }
            Task::Binary | Task::Multiclass => text(&value).map(LabelValue::Class),
        }
    }
}

fn is_median(level: &str) -> bool {
    level.parse() == Ok(0.5)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers are doubles from here on"
)]
fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) if number.is_finite() => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::Boolean(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

/// A class. Files hold classes that are whole numbers as doubles where some row has none.
fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) if !text.is_empty() => Some(text.to_string()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Number(number) if number.is_finite() => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
