//! Comparing two files of rows, without a server and without a database.
//!
//! It is the service's own arithmetic on files: the reference says what is expected and fits the grids, both
//! sides are counted into profiles by the same yardstick that settles predictions, and the profiles are compared
//! by the same measures. What is particular to files is here: that they may be larger than memory, which is why
//! nothing but counts and a sample of rows outlives a batch, and that all cores should have work.
//!
//! Columns are worked on one by one, several at the same time, where the format keeps them apart (Parquet).
//! Other formats are read from one end to the other for as many columns at once as their counts fit into memory.

mod columns;
mod counting;
mod days;
mod duplicates;
mod error;
mod grouping;
mod maturity;
pub mod measures;
mod measuring;
mod progress;
mod quality;
mod renames;
mod rows;
mod shape;
mod thresholds;
mod together;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::NaiveTime;
pub use days::OverDays;
pub use error::ComparisonError;
pub use progress::Progress;
pub use quality::QualityMeasurement;
pub use shape::{CategoryShare, Shape};
pub use thresholds::needs_task;
pub use tool::{ToolCheck, ToolComparison, ToolMeasurement, compare_as};

use crate::domain::attributions::Attributions;
use crate::domain::definitions::{
    FALL_BACK, ModelDef, MonitorDef, MonitorKind, SchemaDef, did_you_mean,
};
use crate::domain::mapping::NO_COLUMNS;
use crate::domain::measurement::{Measure, Recipe, Segment, Status};
use crate::domain::model::Task;
use crate::domain::names::{is_about_row, is_answer};
use crate::domain::row_measures::About;
use crate::domain::schema::{FeatureOverride, FeatureType};
use crate::domain::shift::day_number;
use crate::domain::skew::{self, Finding, Tolerance};
use crate::domain::window::{Grain, Window};
use crate::formats::table::{Table, separated_by};
use columns::Plan;
use days::Days;
use duplicates::RowHashes;
use grouping::{Grouping, Wanted};

/// The column with the rows' time, unless another one is named.
const TIMESTAMP: &str = "timestamp";

/// What is to be compared, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub reference: PathBuf,
    pub current: PathBuf,
    /// Types, limits, segments and thresholds that a model's definition sets over what the reference says.
    pub model: Option<ModelDef>,
    /// What the predictions are, where no model says so: with it their quality is measured.
    pub task: Option<Task>,
    /// The class that scores are the probability of; `1` where neither this nor the model names one.
    pub positive_class: Option<String>,
    /// Where the current file's rows come from: features that are only expected elsewhere may be missing.
    pub environment: Option<String>,
    /// What another tool expects of the features, over what the model's definition and the reference say.
    pub schema: Vec<FeatureOverride>,
    /// Windows that the current file is split into.
    pub by: Option<Grain>,
    /// The column with the rows' time; `timestamp` when absent.
    pub timestamp: Option<String>,
    /// The column with the time at which the label was known; what the model's definition says, or `observed_at`, when absent.
    pub observed_at: Option<String>,
    /// Columns by whose values everything is measured, too.
    pub segments: Vec<String>,
    /// Columns to be left out.
    pub ignored: Vec<String>,
    /// Thresholds over those of the model, or of nobody.
    pub thresholds: BTreeMap<Measure, f64>,
    /// Whether a measure of quality without a threshold is beyond it where it is worse than the reference's, both
    /// intervals told apart.
    pub quality_by_reference: bool,
    /// Fewer values than this are insufficient.
    pub min_rows: Option<u64>,
    /// Whether features are looked at together, too.
    pub multivariate: bool,
    /// How many threads work; as many as there are cores when absent.
    pub threads: Option<usize>,
}

/// One measure of one feature in one group of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Nothing when rows are not split by time.
    pub window: Option<Window>,
    pub segment: Segment,
    /// Empty for features together.
    pub feature: String,
    pub measure: Measure,
    pub value: Option<f64>,
    /// 95 % interval, for distances.
    pub interval: Option<(f64, f64)>,
    pub p_value: Option<f64>,
    pub status: Status,
    pub reference_rows: u64,
    pub current_rows: u64,
    pub recipe: Recipe,
}

/// A finding of the schema, in the window it was made in.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFinding {
    /// Nothing for findings about the whole file.
    pub window: Option<Window>,
    pub finding: Finding,
}

/// A feature that was compared, for people.
#[derive(Debug, Clone)]
pub struct FeatureSummary {
    pub feature: String,
    pub feature_type: Option<FeatureType>,
    /// The length of its vectors, of a column of vectors.
    pub dimensions: Option<usize>,
    /// The window the shape is of: the one with the largest stability index.
    pub window: Option<Window>,
    pub shape: Option<Shape>,
    /// Where the cells meet that its numbers are counted in; none of categories.
    pub cell_edges: Vec<f64>,
    pub reference: SideSummary,
    pub current: SideSummary,
}

/// One side of a feature over all its rows.
#[derive(Debug, Clone, Default)]
pub struct SideSummary {
    pub rows: u64,
    pub missing_share: Option<f64>,
    pub mean: Option<f64>,
    pub standard_deviation: Option<f64>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub distinct: Option<f64>,
}

/// What two files have been found to differ in.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub reference: PathBuf,
    pub current: PathBuf,
    pub reference_rows: u64,
    pub current_rows: u64,
    pub windows: Vec<Window>,
    /// In the order of features, windows and segments; then those of columns together over days, by day, and those of samples of
    /// rows.
    pub measurements: Vec<Measurement>,
    /// Where the task is known and the current file has labels: label coverage by window, then the measures in the
    /// order of segments and windows.
    pub quality: Vec<QualityMeasurement>,
    pub schema: Vec<SchemaFinding>,
    pub features: Vec<FeatureSummary>,
    /// The columns that are no features and were not asked to be, with the reason, as sentences without their ends.
    pub left_out: Vec<String>,
    /// What the drift detector says; nothing where the files have no days, or too few.
    pub over_days: Option<OverDays>,
    /// Why the drift detector says nothing, if so.
    pub without_days: Option<String>,
}

impl Comparison {
    /// Whether any feature drifted in any window or segment, or over days.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        let over_days = self.over_days.as_ref().is_some_and(OverDays::has_drift);
        over_days || self.measurements.iter().any(|m| m.status == Status::Drift)
    }

    /// Whether any measure of quality is beyond the threshold it was given, or worse than the reference's where that is asked for.
    #[must_use]
    pub fn has_quality_loss(&self) -> bool {
        self.quality.iter().any(|m| m.status == Status::Drift)
    }

    /// Whether there is any certain finding of the schema.
    #[must_use]
    pub fn has_skew(&self) -> bool {
        self.schema
            .iter()
            .any(|found| found.finding.status == Status::Drift)
    }
}

/// What is in force: the monitors' settings, from the model or the usual ones.
#[derive(Debug, Clone)]
struct Settings {
    /// The measures of single features by their counts.
    measures: Vec<Measure>,
    thresholds: BTreeMap<Measure, f64>,
    min_rows: u64,
    /// Whether features are looked at together.
    multivariate: bool,
    tolerance: Tolerance,
    overrides: BTreeMap<String, FeatureOverride>,
    environment: Option<String>,
    /// Whether the model's features are the whole schema.
    closed: bool,
    segments: Vec<String>,
    quality: Option<quality::Settings>,
    attributions: Attributions,
    /// The numbers of days that are known to be different.
    holidays: BTreeSet<i64>,
}

impl Settings {
    fn of(request: &Request) -> Result<Self, ComparisonError> {
        let usual = MonitorDef::usual();
        let declared = request
            .model
            .as_ref()
            .map(|model| model.monitors.as_slice());
        let monitor = |kind| {
            let of_kind = |monitor: &&MonitorDef| monitor.kind == kind;
            let declared = declared.into_iter().flatten().find(of_kind);
            declared.or_else(|| usual.iter().find(of_kind))
        };
        let drift = monitor(MonitorKind::Drift);
        let schema = monitor(MonitorKind::Schema);
        let mut thresholds = drift.map_or_else(BTreeMap::new, |drift| drift.thresholds.clone());
        if thresholds.is_empty() && drift.is_some_and(|drift| drift.measures.is_empty()) {
            thresholds.extend(FALL_BACK);
        }
        thresholds.extend(&request.thresholds);
        let rows = |monitor: Option<&MonitorDef>| {
            request
                .min_rows
                .or_else(|| monitor.map(|monitor| monitor.min_rows))
                .unwrap_or(0)
        };
        let model = request.model.as_ref();
        let declared = model.and_then(|model| model.schema.as_ref());
        let mut segments: Vec<String> = Vec::new();
        let declared_segments = model.into_iter().flat_map(|model| &model.segments);
        for segment in request.segments.iter().chain(declared_segments) {
            if !segments.contains(segment) {
                segments.push(segment.clone());
            }
        }
        let asked = drift.into_iter().flat_map(|drift| &drift.measures);
        let mut asked_for = asked.clone().chain(thresholds.keys());
        let together = About::Together.measures();
        let are_together = asked_for.any(|measure| together.contains(measure));
        Ok(Self {
            measures: measures::chosen(asked.chain(thresholds.keys())),
            thresholds,
            min_rows: rows(drift),
            multivariate: request.multivariate || are_together,
            tolerance: Tolerance {
                share: schema.map_or(0.0, |schema| schema.tolerance),
                min_rows: rows(schema),
            },
            overrides: overrides(declared, &request.schema),
            environment: request.environment.clone(),
            closed: declared.is_some_and(|schema| schema.from.is_none()),
            segments,
            quality: quality::Settings::of(request)?,
            attributions: model
                .map_or_else(Attributions::default, |model| model.attributions.clone()),
            holidays: (model.into_iter().flat_map(|model| &model.holidays))
                .map(|day| day_number(day.and_time(NaiveTime::MIN).and_utc()))
                .collect(),
        })
    }
}

/// What is said of features over what the reference shows: by a model's definition, and over that by another tool.
fn overrides(
    declared: Option<&SchemaDef>,
    said: &[FeatureOverride],
) -> BTreeMap<String, FeatureOverride> {
    let mut overrides: BTreeMap<String, FeatureOverride> = BTreeMap::new();
    let declared = declared.into_iter().flat_map(|schema| &schema.features);
    for feature in declared.chain(said) {
        match overrides.get_mut(&feature.feature) {
            Some(known) => known.put_over(feature.clone()),
            None => {
                overrides.insert(feature.feature.clone(), feature.clone());
            }
        }
    }
    overrides
}

/// Compares two files.
///
/// # Errors
/// When a file cannot be read, a named column is not there, there is nothing to compare, or what has a threshold cannot be
/// measured.
pub fn compare(request: &Request, progress: &Progress) -> Result<Comparison, ComparisonError> {
    let settings = Settings::of(request)?;
    let files = Files::open(request, &settings)?;
    let observed_at = observed_at(request);
    let timestamp_name = files.timestamp_name().map(str::to_owned);
    let Files {
        reference,
        current,
        timestamp,
        both,
        one_sided,
        vectors,
        left_out,
    } = files;
    progress.expect(columns::work(&reference, &current, both.len()));

    let in_reference = grouping(&reference, None, None, &settings, progress)?;
    // Only whoever asks for windows or names the column has times to be relied on.
    let asked = timestamp.filter(|_| request.by.is_some() || request.timestamp.is_some());
    let in_current = grouping(&current, request.by, asked, &settings, progress)?;
    let before = order_of_reference(&reference, asked, timestamp_name.as_deref(), progress);

    let hashes = [RowHashes::new(), RowHashes::new()];
    let again = columns::Job {
        reference: &reference,
        current: &current,
        in_reference: &in_reference,
        in_current: &in_current,
        settings: &settings,
        columns: both.len(),
        threads: threads(request),
        progress,
        rows: None,
    };
    let job = columns::Job {
        rows: Some((&hashes[0], &hashes[1])),
        ..again
    };
    let mut compared = columns::compare(&job, &both)?;
    let contents = hashes.map(RowHashes::hashes);
    let by_day = ByDay::of(
        &again,
        (&both, &compared),
        timestamp_name.as_deref(),
        &contents,
    )?;
    let mut schema = renames::one_sided(&again, &one_sided)?;
    let [before_rows, now_rows] = contents;
    let wanted = rows::Wanted::of(
        &compared,
        (&reference, &current),
        vectors,
        (settings.multivariate, &settings.attributions),
    );
    let timestamp_in_reference =
        (timestamp_name.as_deref()).and_then(|name| reference.position(name));
    let of_rows = if wanted.is_nothing() {
        None
    } else {
        let before = rows::Side {
            table: &reference,
            grouping: &in_reference,
            timestamp: timestamp_in_reference,
            contents: before_rows.clone(),
        };
        let now = rows::Side {
            table: &current,
            grouping: &in_current,
            timestamp,
            contents: now_rows.clone(),
        };
        Some(rows::compare(
            &wanted,
            before,
            now,
            (&settings, threads(request)),
        )?)
    };
    let repeated = [before_rows, now_rows].map(|hashes| hashes.map(duplicates::repeated));
    let [before_rows, now_rows] = repeated;
    schema.extend(
        before_rows
            .zip(now_rows)
            .and_then(|(before, now)| skew::duplicate_rows(before, now, settings.tolerance)),
    );
    let late = in_current.late.zip(timestamp_name.as_deref());
    schema.extend(
        late.and_then(|(late, column)| {
            skew::out_of_order(column, before, late, settings.tolerance)
        }),
    );
    let untimed = in_current.untimed.zip(timestamp_name.as_deref());
    schema.extend(untimed.and_then(|(untimed, column)| skew::missing_timestamp(column, untimed)));
    let mut comparison = Comparison {
        reference: request.reference.clone(),
        current: request.current.clone(),
        windows: in_current.windows.clone(),
        quality: quality::compare(
            settings.quality.as_ref(),
            &maturity::Side {
                table: &reference,
                grouping: &in_reference,
                timestamp: timestamp_in_reference,
                observed: reference.position(observed_at),
            },
            &maturity::Side {
                table: &current,
                grouping: &in_current,
                timestamp,
                observed: current.position(observed_at),
            },
        )?,
        // Features only count the rows of windows.
        current_rows: in_current.untimed.map_or(0, |(_, rows)| rows),
        schema: schema
            .into_iter()
            .map(|finding| SchemaFinding {
                window: None,
                finding,
            })
            .collect(),
        left_out,
        over_days: by_day.over_days,
        without_days: by_day.without,
        ..Comparison::default()
    };
    for result in &mut compared {
        comparison.reference_rows = comparison.reference_rows.max(result.summary.reference.rows);
        comparison.current_rows = comparison.current_rows.max(result.summary.current.rows);
        comparison.measurements.append(&mut result.measurements);
        comparison.schema.append(&mut result.findings);
    }
    comparison.features = compared.into_iter().map(|result| result.summary).collect();
    comparison.measurements.extend(by_day.together);
    if let Some(of_rows) = of_rows {
        comparison.measurements.extend(of_rows.measurements);
        comparison.schema.extend(of_rows.findings);
        for summary in of_rows.vectors {
            comparison.reference_rows = comparison.reference_rows.max(summary.reference.rows);
            comparison.current_rows = comparison.current_rows.max(summary.current.rows);
            comparison.features.push(summary);
        }
    }
    thresholds::check(request, &comparison)?;
    Ok(comparison)
}

/// What is said of the current file's days by the reference's, whatever windows and segments were asked for.
#[derive(Default)]
struct ByDay {
    over_days: Option<OverDays>,
    /// Why the detector says nothing.
    without: Option<String>,
    /// Columns together, day by day.
    together: Vec<Measurement>,
}

impl ByDay {
    fn of(
        job: &columns::Job<'_>,
        (plans, compared): (&[Plan], &[columns::Compared]),
        timestamp: Option<&str>,
        contents: &[Option<Vec<u64>>; 2],
    ) -> Result<Self, ComparisonError> {
        let with = (&job.settings.holidays, job.progress);
        let days = match Days::of(job.reference, job.current, timestamp, with) {
            Ok(days) => days,
            Err(cause) => {
                return Ok(Self {
                    without: Some(cause),
                    ..Self::default()
                });
            }
        };
        let (over_days, without) = match days::judge(job, plans, &days)? {
            Ok(over_days) => (Some(over_days), None),
            Err(cause) => (None, Some(cause)),
        };
        let together = together::judge(&together::Together {
            job,
            days: &days,
            plans,
            compared,
            contents,
        })?;
        Ok(Self {
            over_days,
            without,
            together,
        })
    }
}

/// Two files and what is to be compared of them.
struct Files {
    reference: Table,
    current: Table,
    /// Where the current file has the rows' time.
    timestamp: Option<usize>,
    /// Columns that both files have, and those that only one has.
    both: Vec<Plan>,
    one_sided: Vec<Plan>,
    /// Columns of vectors that both files have.
    vectors: Vec<Plan>,
    /// Columns that are no features, in words.
    left_out: Vec<String>,
}

impl Files {
    fn open(request: &Request, settings: &Settings) -> Result<Self, ComparisonError> {
        let columns = request.model.as_ref().map(|model| &model.columns);
        let open = |file: &Path| Table::open(file)?.mapped(columns.unwrap_or(&NO_COLUMNS));
        let reference = open(&request.reference)?;
        let current = open(&request.current)?;
        for ignored in &request.ignored {
            if reference.position(ignored).is_none() {
                place(&current, ignored)?;
            }
        }
        // How long labels take is read from the reference.
        if let Some(name) = &request.observed_at {
            place(&reference, name)?;
        }
        let timestamp = match (&request.timestamp, request.by) {
            (Some(name), _) => Some(place(&current, name)?),
            (None, by) => current.position(TIMESTAMP).map_or_else(
                || match by {
                    Some(_) => Err(ComparisonError::NoTimestamp {
                        file: request.current.clone(),
                    }),
                    None => Ok(None),
                },
                |place| Ok(Some(place)),
            )?,
        };
        let timestamp_name = timestamp.map(|place| current.columns()[place].name.as_str());
        let plans = plan(&reference, &current, request, settings, timestamp_name);
        let (both, one_sided): (Vec<Plan>, Vec<Plan>) = plans
            .into_iter()
            .partition(|plan| plan.reference.is_some() && plan.current.is_some());
        let are_vectors = |plan: &Plan| {
            let of = |table: &Table, place: Option<usize>| {
                place.is_some_and(|place| table.columns()[place].vectors)
            };
            of(&reference, plan.reference) && of(&current, plan.current)
        };
        let (vectors, both): (Vec<Plan>, Vec<Plan>) = both.into_iter().partition(are_vectors);
        if both.is_empty() && vectors.is_empty() {
            let [of_reference, of_current] = named_files(&reference, &current)
                .map(|(file, table)| separated_otherwise(file, table));
            let hint = of_reference.or(of_current);
            return Err(ComparisonError::NothingInCommon {
                reference: request.reference.clone(),
                current: request.current.clone(),
                hint: hint.map_or_else(String::new, |hint| format!("; {hint}")),
            });
        }
        let left_out = named_files(&reference, &current)
            .into_iter()
            .flat_map(|(file, table)| left_out(file, table, request))
            .collect();
        Ok(Self {
            reference,
            current,
            timestamp,
            both,
            one_sided,
            vectors,
            left_out,
        })
    }

    fn timestamp_name(&self) -> Option<&str> {
        let place = self.timestamp?;
        Some(&self.current.columns()[place].name)
    }
}

/// The columns of a file that are no features, and why, but for those that somebody named.
fn left_out(file: &str, table: &Table, request: &Request) -> Vec<String> {
    let named = [&request.timestamp, &request.observed_at];
    let named = named.into_iter().flatten().chain(&request.ignored);
    let named: Vec<&String> = named.collect();
    let columns = (1..).zip(table.columns());
    let columns = columns.filter(|(_, column)| !named.contains(&&column.name));
    let hint = separated_otherwise(file, table);
    columns
        .filter_map(|(number, column)| {
            let cause = column.left_out.as_ref()?;
            Some(match column.name.as_str() {
                "" => format!("column {number} of {file} {cause}"),
                name => format!("column {number} of {file}, \"{name}\", {cause}"),
            })
        })
        .chain(hint)
        .collect()
}

/// That a file of text has been read as a single column although its cells seem to be separated by something else than commas.
fn separated_otherwise(file: &str, table: &Table) -> Option<String> {
    let [column] = table.columns() else {
        return None;
    };
    let words = separated_by(&column.name)?;
    Some(format!(
        "{file} has been read as one column: it seems to be separated by {words}, and only commas are read"
    ))
}

/// Both files by the names that people are told.
fn named_files<'t>(reference: &'t Table, current: &'t Table) -> [(&'static str, &'t Table); 2] {
    [("the reference", reference), ("the current file", current)]
}

/// What the column with the time of a label is called.
fn observed_at(request: &Request) -> &str {
    let named = request.observed_at.as_deref();
    named.unwrap_or(maturity::OBSERVED_AT)
}

fn threads(request: &Request) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    request.threads.unwrap_or_else(cores).max(1)
}

/// Every column of either side that is a feature, under the name both know it by.
fn plan(
    reference: &Table,
    current: &Table,
    request: &Request,
    settings: &Settings,
    timestamp: Option<&str>,
) -> Vec<Plan> {
    let declared = settings.overrides.keys().map(String::as_str);
    let ranks = settings
        .quality
        .as_ref()
        .is_some_and(quality::Settings::ranks);
    let is_query = |name: &str| ranks && name == "query";
    let sides = [reference, current].into_iter().flat_map(Table::columns);
    let mut seen = BTreeSet::new();
    let names = sides.map(|column| column.name.as_str()).chain(declared);
    names
        .filter(|name| !is_about_row(name) && !is_query(name))
        .filter(|name| timestamp != Some(name) && observed_at(request) != *name)
        .filter(|name| !request.ignored.iter().any(|ignored| ignored == name))
        .filter(|name| seen.insert(*name))
        .filter(|name| {
            let is_ignored = |table: &Table| {
                let place = table.position(name);
                let column = place.map(|place| &table.columns()[place]);
                column.is_some_and(|column| column.is_ignored || column.left_out.is_some())
            };
            !is_ignored(reference) && !is_ignored(current)
        })
        .map(|name| Plan {
            name: name.to_owned(),
            reference: reference.position(name),
            current: current.position(name),
        })
        .filter(|plan| plan.reference.is_some() == plan.current.is_some() || !is_answer(&plan.name))
        .collect()
}

fn grouping(
    table: &Table,
    by: Option<Grain>,
    timestamp: Option<usize>,
    settings: &Settings,
    progress: &Progress,
) -> Result<Grouping, ComparisonError> {
    let segments: Result<Vec<(usize, String)>, ComparisonError> = settings
        .segments
        .iter()
        .map(|name| {
            let place = place(table, name)?;
            match &table.columns()[place].refused {
                None => Ok((place, name.clone())),
                Some(cause) => Err(ComparisonError::NoSegment {
                    file: table.file().to_owned(),
                    column: name.clone(),
                    cause: cause.clone(),
                }),
            }
        })
        .collect();
    let wanted = Wanted {
        by,
        timestamp,
        segments: &segments?,
    };
    Grouping::of(table, wanted, progress)
}

/// How many rows of the reference are out of order, where it has the column of times and it can be read.
fn order_of_reference(
    reference: &Table,
    asked: Option<usize>,
    timestamp: Option<&str>,
    progress: &Progress,
) -> Option<(u64, u64)> {
    asked?;
    let wanted = Wanted {
        by: None,
        timestamp: Some(reference.position(timestamp?)?),
        segments: &[],
    };
    Grouping::of(reference, wanted, progress).ok()?.late
}

/// The place of a column that somebody named.
fn place(table: &Table, name: &str) -> Result<usize, ComparisonError> {
    table.position(name).ok_or_else(|| {
        let names = table.columns().iter().map(|column| column.name.as_str());
        ComparisonError::UnknownColumn {
            file: table.file().to_owned(),
            column: name.to_owned(),
            hint: did_you_mean(name, names),
        }
    })
}
