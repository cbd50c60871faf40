//! Two files compared as another tool would compare them: its measures by its rules, with its default verdict.
//!
//! These measures are defined on values and not on counts, so the values of a column are held in memory while it
//! is worked on. Columns are read and rows are grouped as they are for our own measures; nothing else of those is
//! computed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use arrow_array::Array;

use super::columns::{self, Job, Plan};
use super::counting::Lane;
use super::error::ComparisonError;
use super::grouping::{Group, Grouping};
use super::progress::Progress;
use super::{Request, SchemaFinding, Settings, renames};
use crate::domain::measurement::{Segment, Status};
use crate::domain::schema::FeatureType;
use crate::domain::skew::{self, Finding};
use crate::domain::window::Window;
use crate::domain::yardstick::{self, Reading};
use crate::formats::table::{ColumnData, Table};
use crate::stats::parity::checks::{self, Check};
use crate::stats::parity::{
    CategoryCounts, Mode, NumberKind, ParityResult, Threshold, Verdict, counted,
};

/// How many bytes the values of columns that are read together may take.
const AT_ONCE: u64 = 512 << 20;
/// A row without a category.
const NONE: u32 = u32::MAX;

/// A number of a tool, for one feature in one group of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolMeasurement {
    /// Nothing when rows are not split by time.
    pub window: Option<Window>,
    pub segment: Segment,
    pub feature: String,
    pub result: ParityResult,
    /// Values, without nulls.
    pub reference_rows: u64,
    pub current_rows: u64,
}

impl ToolMeasurement {
    /// How it stands by the tool's verdict; ok also where the tool has no threshold by itself.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.result.verdict {
            Verdict::Drift => Status::Drift,
            Verdict::NoDrift | Verdict::NoThreshold => Status::Ok,
            Verdict::NotDefined(_) => Status::Insufficient,
        }
    }

    /// How far the value is towards drift: beyond 1 it is. The value itself where there is no threshold.
    #[must_use]
    pub fn excess(&self) -> f64 {
        let Some(value) = self.result.judged_value() else {
            return 0.0;
        };
        let excess = match self.result.threshold {
            Some(Threshold::AtLeast(limit) | Threshold::Above(limit)) => value / limit,
            Some(Threshold::AtMost(limit) | Threshold::Below(limit)) => limit / value,
            None => value,
        };
        // Zero against a learned threshold of zero.
        if excess.is_nan() { 0.0 } else { excess }
    }
}

/// A check of a tool, of one feature or of all in one group of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCheck {
    /// Nothing when rows are not split by time, and for columns that only one file has.
    pub window: Option<Window>,
    pub segment: Segment,
    /// Empty for all features.
    pub feature: String,
    pub check: Check,
}

impl ToolCheck {
    /// How it stands by the tool's verdict.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.check.verdict {
            Verdict::Drift => Status::Drift,
            Verdict::NoDrift | Verdict::NoThreshold => Status::Ok,
            Verdict::NotDefined(_) => Status::Insufficient,
        }
    }
}

/// What a tool would say of two files.
#[derive(Debug, Clone)]
pub struct ToolComparison {
    pub mode: Mode,
    pub reference: PathBuf,
    pub current: PathBuf,
    pub reference_rows: u64,
    pub current_rows: u64,
    pub windows: Vec<Window>,
    /// In the order of features, windows and segments; of each group the tool's own choice first.
    pub measurements: Vec<ToolMeasurement>,
    /// What the tool checks beside the measures, by its own names: columns that only one file has, then features, windows and segments,
    /// then its verdicts on all features.
    pub checks: Vec<ToolCheck>,
    /// What could not be compared, or not all of it.
    pub schema: Vec<SchemaFinding>,
    /// The columns that are no features and were not asked to be, with the reason, as sentences without their ends.
    pub left_out: Vec<String>,
}

impl ToolComparison {
    /// Whether the tool would report drift of any feature in any window or segment, by the measure it chooses.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        let mut chosen = self.measurements.iter().filter(|m| m.result.chosen);
        chosen.any(|m| m.status() == Status::Drift)
    }

    /// Whether any of the tool's checks of the schema has failed.
    #[must_use]
    pub fn has_skew(&self) -> bool {
        let checks = self.checks.iter().map(|of| &of.check);
        checks
            .filter(|check| check.is_of_schema())
            .any(Check::has_failed)
    }
}

/// Compares two files as a tool would. Thresholds and least rows are the tool's own.
///
/// # Errors
/// When a file cannot be read, a named column is not there, or there is nothing to compare.
pub fn compare_as(
    mode: Mode,
    request: &Request,
    progress: &Progress,
) -> Result<ToolComparison, ComparisonError> {
    let settings = Settings::of(request)?;
    let mut files = super::Files::open(request, &settings)?;
    // Tools have numbers of single values only: columns of vectors are told as what cannot be read.
    files.both.append(&mut files.vectors);
    progress.expect(columns::work(
        &files.reference,
        &files.current,
        files.both.len(),
    ));
    let in_reference = super::grouping(&files.reference, None, None, &settings, progress)?;
    let timestamp = files.timestamp.filter(|_| request.by.is_some());
    let in_current = super::grouping(&files.current, request.by, timestamp, &settings, progress)?;
    let job = Job {
        reference: &files.reference,
        current: &files.current,
        in_reference: &in_reference,
        in_current: &in_current,
        settings: &settings,
        columns: files.both.len(),
        threads: super::threads(request),
        progress,
        rows: None,
    };
    let mut schema = renames::one_sided(&job, &files.one_sided)?;
    let untimed = in_current.untimed.zip(files.timestamp_name());
    schema.extend(untimed.and_then(|(untimed, column)| skew::missing_timestamp(column, untimed)));
    let mut comparison = ToolComparison {
        mode,
        reference: request.reference.clone(),
        current: request.current.clone(),
        reference_rows: 0,
        current_rows: 0,
        windows: in_current.windows.clone(),
        measurements: Vec::new(),
        checks: one_sided(mode, &files.one_sided),
        schema: Vec::new(),
        left_out: std::mem::take(&mut files.left_out),
    };
    let at_once = at_once(&job, files.both.len());
    let work = |block: &[Plan], threads| compared(mode, &job, block, threads);
    for mut column in columns::each_block(&job, &files.both, at_once, &work)? {
        comparison.reference_rows = comparison.reference_rows.max(column.rows.0);
        comparison.current_rows = comparison.current_rows.max(column.rows.1);
        comparison.measurements.append(&mut column.measurements);
        comparison.checks.append(&mut column.checks);
        schema.append(&mut column.findings);
    }
    let of_all = of_data_sets(mode, &comparison.measurements);
    comparison.checks.extend(of_all);
    let whole = |finding| SchemaFinding {
        window: None,
        finding,
    };
    comparison.schema = schema.into_iter().map(whole).collect();
    Ok(comparison)
}

/// What the tool says of columns that only one of the files has.
fn one_sided(mode: Mode, plans: &[Plan]) -> Vec<ToolCheck> {
    let sides = plans.iter().map(|plan| (plan, plan.reference.is_some()));
    sides
        .filter(|(plan, _)| plan.reference.is_some() || plan.current.is_some())
        .filter_map(|(plan, in_reference)| {
            Some(ToolCheck {
                window: None,
                segment: Segment::overall(),
                feature: plan.name.clone(),
                check: mode.check_presence(in_reference)?,
            })
        })
        .collect()
}

/// The tool's verdicts on all features of a window and segment.
fn of_data_sets(mode: Mode, measurements: &[ToolMeasurement]) -> Vec<ToolCheck> {
    type Verdicts<'a> = Vec<(&'a str, Verdict)>;
    let mut groups: BTreeMap<(&Segment, Option<Window>), Verdicts<'_>> = BTreeMap::new();
    for m in measurements.iter().filter(|m| m.result.chosen) {
        let verdicts = groups.entry((&m.segment, m.window)).or_default();
        verdicts.push((&m.feature, m.result.verdict));
    }
    let groups = groups.into_iter();
    groups
        .filter_map(|((segment, window), verdicts)| {
            Some(ToolCheck {
                window,
                segment: segment.clone(),
                feature: String::new(),
                check: mode.check_data_set(&verdicts)?,
            })
        })
        .collect()
}

/// How many columns may be held at the same time. A value takes two bytes of a file of text at the least, and
/// eight of memory.
fn at_once(job: &Job<'_>, columns: usize) -> usize {
    let values = |table: &Table| {
        if table.keeps_columns_apart() {
            table.length() * columns as u64
        } else {
            table.length() / 2
        }
    };
    let all = 8 * u128::from(values(job.reference) + values(job.current)).max(1);
    usize::try_from(u128::from(AT_ONCE) * columns as u128 / all).unwrap_or(columns)
}

/// What a tool says of one column.
struct Column {
    measurements: Vec<ToolMeasurement>,
    checks: Vec<ToolCheck>,
    findings: Vec<Finding>,
    rows: (u64, u64),
}

fn compared(
    mode: Mode,
    job: &Job<'_>,
    plans: &[Plan],
    threads: usize,
) -> Result<Vec<Column>, ComparisonError> {
    let (surveys, kept) = columns::survey(job, plans, threads)?;
    let kinds: Vec<ColumnKind> = plans
        .iter()
        .zip(&surveys)
        .map(|(plan, survey)| {
            // A data frame of a file of text keeps its dates as texts.
            let evidence = &survey.habits.evidence;
            let inferred = evidence.expectation(&plan.name);
            let expected = columns::expectation(job.settings, &plan.name, inferred);
            let has_nulls = evidence.nulls > 0;
            ColumnKind::of(expected.map(|e| e.feature_type), has_nulls)
        })
        .collect();
    let observe = |raw: &mut Raw, _: usize, data: &ColumnData, _: (usize, usize)| {
        raw.observe(data);
        Ok(())
    };
    let empty = || {
        kinds
            .iter()
            .map(|kind| Raw::new(*kind))
            .collect::<Vec<Raw>>()
    };
    let places = columns::in_reference(plans);
    let source = kept.again(job, &places);
    let before = columns::each_column(source, empty(), threads, &observe, &mut |_| {})?;
    drop(kept);
    let places: Vec<usize> = plans.iter().filter_map(|plan| plan.current).collect();
    let source = columns::Rows::Of(job.current, &places);
    let advance = &mut |batch: &std::sync::Arc<crate::formats::table::Batch>| {
        job.progress.advance(batch.progress);
    };
    let now = columns::each_column(source, empty(), threads, &observe, advance)?;
    let sides = plans.iter().zip(before.into_iter().zip(now));
    Ok(sides
        .map(|(plan, (before, now))| column(mode, job, plan, &before, &now))
        .collect())
}

fn column(mode: Mode, job: &Job<'_>, plan: &Plan, before: &Raw, now: &Raw) -> Column {
    let mut findings = Vec::new();
    let sides = [
        (job.reference, plan.reference, "the reference", before),
        (job.current, plan.current, "the current file", now),
    ];
    for (table, place, file, raw) in sides {
        match refused(table, place) {
            Some(cause) => {
                let cause = format!("in {file} it {cause}");
                findings.push(Finding::unreadable(&plan.name, &cause));
            }
            None => findings.extend(skew::wrong_type(
                &plan.name,
                raw.kind.expected.unwrap_or(FeatureType::Number),
                (raw.mismatched.len() as u64, raw.telling()),
            )),
        }
    }
    let readable = refused(job.reference, plan.reference)
        .or_else(|| refused(job.current, plan.current))
        .is_none();
    let (measurements, checks) = if readable {
        measured(mode, job, plan, before, now)
    } else {
        (Vec::new(), Vec::new())
    };
    Column {
        measurements,
        checks,
        findings,
        rows: (before.rows() as u64, now.rows() as u64),
    }
}

fn refused(table: &Table, place: Option<usize>) -> Option<&str> {
    table.columns()[place?].refused.as_deref()
}

fn measured(
    mode: Mode,
    job: &Job<'_>,
    plan: &Plan,
    before: &Raw,
    now: &Raw,
) -> (Vec<ToolMeasurement>, Vec<ToolCheck>) {
    let (mut measurements, mut checks) = (Vec::new(), Vec::new());
    for dimension in 0..job.in_current.dimensions() {
        let reference = before.by_group(job.in_reference, dimension);
        let current = now.by_group(job.in_current, dimension);
        let nothing = Part::empty(before.kind);
        for group in job.in_current.groups(dimension) {
            let of_segment = Group {
                window: None,
                segment: group.segment.clone(),
            };
            let reference = reference.get(&of_segment).unwrap_or(&nothing);
            let current = current.get(&group).unwrap_or(&nothing);
            let results = match (&reference.values, &current.values) {
                (PartValues::Numbers(reference), PartValues::Numbers(current)) => {
                    mode.compare_numeric(reference, current, before.kind.stored)
                }
                (PartValues::Categories(reference), PartValues::Categories(current)) => {
                    mode.compare_categories(reference, current)
                }
                _ => unreachable!("both sides are read as one kind"),
            };
            let window = group.window.map(|at| job.in_current.windows[at]);
            let of_schema = mode.checks_schema().then(|| {
                let (reference, current) = (reference.held(), current.held());
                mode.check_column(&reference.column(), &current.column())
            });
            let of_drift = results.iter().filter_map(|result| mode.check_drift(result));
            checks.extend(
                of_schema
                    .into_iter()
                    .flatten()
                    .chain(of_drift)
                    .map(|check| ToolCheck {
                        window,
                        segment: group.segment.clone(),
                        feature: plan.name.clone(),
                        check,
                    }),
            );
            measurements.extend(results.into_iter().map(|result| ToolMeasurement {
                window,
                segment: group.segment.clone(),
                feature: plan.name.clone(),
                result,
                reference_rows: reference.len(),
                current_rows: current.len(),
            }));
        }
    }
    (measurements, checks)
}

/// What the values of a column are read as, by what the reference says.
#[derive(Debug, Clone, Copy)]
struct ColumnKind {
    expected: Option<FeatureType>,
    numeric: bool,
    /// Whether the reference has whole numbers only.
    whole: bool,
    stored: NumberKind,
}

impl ColumnKind {
    /// Whole numbers may become others: a tool does not mind. Where some are missing, data frames keep all of
    /// them as floating point.
    fn of(expected: Option<FeatureType>, has_nulls: bool) -> Self {
        let whole = expected == Some(FeatureType::Integer);
        Self {
            expected: if whole {
                Some(FeatureType::Number)
            } else {
                expected
            },
            numeric: expected.is_none_or(FeatureType::is_numeric),
            whole,
            stored: if whole && !has_nulls {
                NumberKind::Integer
            } else {
                NumberKind::Float
            },
        }
    }
}

/// The values of one column, row by row.
#[derive(Debug)]
struct Raw {
    kind: ColumnKind,
    /// NaN where there is none.
    numbers: Vec<f64>,
    /// Places in `names`, or [`NONE`].
    codes: Vec<u32>,
    names: Vec<String>,
    known: HashMap<String, u32>,
    /// The rows with a value of another type, which are left out.
    mismatched: Vec<usize>,
    nulls: u64,
}

impl Raw {
    fn new(kind: ColumnKind) -> Self {
        Self {
            kind,
            numbers: Vec::new(),
            codes: Vec::new(),
            names: Vec::new(),
            known: HashMap::new(),
            mismatched: Vec::new(),
            nulls: 0,
        }
    }

    fn rows(&self) -> usize {
        self.numbers.len().max(self.codes.len())
    }

    /// Rows with a value, whatever it is.
    fn telling(&self) -> u64 {
        self.rows() as u64 - self.nulls
    }

    fn code(&mut self, name: &str) -> u32 {
        if let Some(code) = self.known.get(name) {
            return *code;
        }
        let code = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.known.insert(name.to_owned(), code);
        code
    }

    /// Takes a row that has no value to be compared.
    fn skip(&mut self, mismatched: bool) {
        if mismatched {
            self.mismatched.push(self.rows());
        } else {
            self.nulls += 1;
        }
        if self.kind.numeric {
            self.numbers.push(f64::NAN);
        } else {
            self.codes.push(NONE);
        }
    }

    fn observe(&mut self, data: &ColumnData) {
        match Lane::of(data, self.kind.expected) {
            Lane::Numbers { values, array } if self.kind.numeric => {
                for (row, value) in values.iter().enumerate() {
                    if array.is_valid(row) {
                        self.numbers.push(*value);
                    } else {
                        self.skip(false);
                    }
                }
            }
            Lane::Codes {
                codes,
                texts,
                array,
            } if !self.kind.numeric => {
                let nulls = array.logical_nulls();
                let mut of_texts: Vec<Option<u32>> = vec![None; texts.len()];
                for (row, place) in codes.iter().enumerate() {
                    let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                    let place = usize::try_from(*place).unwrap_or(usize::MAX);
                    if is_null || place >= of_texts.len() {
                        self.skip(false);
                        continue;
                    }
                    let known = of_texts[place];
                    let code = known.unwrap_or_else(|| self.code(texts.value(place)));
                    of_texts[place] = Some(code);
                    self.codes.push(code);
                }
            }
            Lane::Numbers { array, .. } | Lane::Codes { array, .. } => {
                (0..array.len()).for_each(|row| self.skip(array.is_valid(row)));
            }
            Lane::Mixed(column) => {
                for value in column.iter() {
                    match yardstick::read(&value, self.kind.expected, self.kind.numeric) {
                        Reading::Number(number) if self.kind.numeric => self.numbers.push(number),
                        Reading::Category(name) if !self.kind.numeric => {
                            let code = self.code(&name);
                            self.codes.push(code);
                        }
                        Reading::Absent | Reading::Null => self.skip(false),
                        _ => self.skip(true),
                    }
                }
            }
        }
    }

    /// The values of each group of a dimension, in the order of the rows.
    fn by_group(&self, grouping: &Grouping, dimension: usize) -> BTreeMap<Group, Part<'_>> {
        let codes = grouping.codes(dimension, 0, self.rows());
        let mut parts: BTreeMap<u32, Part<'_>> = BTreeMap::new();
        for row in 0..self.rows() {
            let group = codes.map_or(0, |codes| codes[row]);
            if Grouping::is_out_of_groups(group) {
                continue;
            }
            let part = parts.entry(group).or_insert_with(|| Part::empty(self.kind));
            match &mut part.values {
                PartValues::Numbers(numbers) => numbers.push(self.numbers[row]),
                PartValues::Categories(names) => {
                    let name = self.names.get(self.codes[row] as usize);
                    names.push(name.map(String::as_str));
                }
            }
        }
        for row in &self.mismatched {
            let group = codes.map_or(0, |codes| codes[*row]);
            if let Some(part) = parts.get_mut(&group) {
                part.mismatched += 1;
            }
        }
        let groups = parts.into_iter();
        groups
            .map(|(code, part)| (grouping.group(dimension, code), part))
            .collect()
    }
}

/// The values of a group.
#[derive(Debug)]
struct Part<'a> {
    values: PartValues<'a>,
    /// Rows with a value of another type.
    mismatched: u64,
    /// Whether whole numbers are expected.
    whole: bool,
}

/// By row; NaN or nothing where one has none.
#[derive(Debug)]
enum PartValues<'a> {
    Numbers(Vec<f64>),
    Categories(Vec<Option<&'a str>>),
}

impl Part<'_> {
    fn empty(kind: ColumnKind) -> Self {
        Self {
            values: if kind.numeric {
                PartValues::Numbers(Vec::new())
            } else {
                PartValues::Categories(Vec::new())
            },
            mismatched: 0,
            whole: kind.whole,
        }
    }

    fn rows(&self) -> u64 {
        let rows = match &self.values {
            PartValues::Numbers(numbers) => numbers.len(),
            PartValues::Categories(names) => names.len(),
        };
        rows as u64
    }

    /// How many values there are, of numbers the finite ones.
    fn len(&self) -> u64 {
        let values = match &self.values {
            PartValues::Numbers(numbers) => numbers.iter().filter(|n| n.is_finite()).count(),
            PartValues::Categories(names) => names.iter().flatten().count(),
        };
        values as u64
    }

    /// What a tool checks beside the distribution. An infinity is a value like any other, and outside of every range.
    fn held(&self) -> Held {
        let values = match &self.values {
            PartValues::Numbers(numbers) => {
                HeldValues::Numbers(numbers.iter().copied().filter(|n| !n.is_nan()).collect())
            }
            PartValues::Categories(names) => HeldValues::Categories(counted(names)),
        };
        let present = match &values {
            HeldValues::Numbers(numbers) => numbers.len() as u64,
            HeldValues::Categories(_) => self.len(),
        };
        Held {
            rows: self.rows(),
            missing: self.rows() - present - self.mismatched,
            mismatched: self.mismatched,
            values,
            whole: self.whole,
        }
    }
}

/// A column as a tool's checks see it.
struct Held {
    rows: u64,
    missing: u64,
    mismatched: u64,
    values: HeldValues,
    whole: bool,
}

enum HeldValues {
    Numbers(Vec<f64>),
    Categories(CategoryCounts),
}

impl Held {
    fn column(&self) -> checks::Column<'_> {
        checks::Column {
            rows: self.rows,
            missing: self.missing,
            mismatched: self.mismatched,
            values: match &self.values {
                HeldValues::Numbers(numbers) => checks::Values::Numbers {
                    numbers,
                    whole: self.whole,
                },
                HeldValues::Categories(counts) => checks::Values::Categories(counts),
            },
        }
    }
}
