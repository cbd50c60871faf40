//! `bellwether compare`: two files of rows, without a server and without a database.
//!
//! What is computed is [`comparison`]'s business; here it is asked for, watched and written down: as a table for
//! people at a terminal, as JSON and JUnit for pipelines, as a page for colleagues.

mod bar;
mod json;
mod junit;
mod page;
mod ranking;
mod table;
mod tool;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::TaskWord;
use super::schema::{self, SchemaFormatWord};
use crate::domain::definitions::{self, ModelDef, SourceFile, check_report, did_you_mean};
use crate::domain::measurement::Measure;
use crate::domain::model::Task;
use crate::domain::window::{Grain, Window};
use crate::services::comparison::{self, Progress, Request, measures};
use crate::stats::parity::Mode;

/// Something that was asked for with `--fail-on` was found.
const FOUND: u8 = 1;
/// The files could not be compared, as with a command line that is wrong.
const UNUSABLE: u8 = 2;

/// What is compared, how, and what is written.
#[derive(Debug, Args)]
pub struct CompareOptions {
    /// What is expected, such as training data: .parquet, .csv, .ndjson, .jsonl, .arrow or .feather
    pub reference: PathBuf,
    /// What is to be judged, such as last month's predictions
    pub current: PathBuf,
    /// A configuration file whose model sets types, limits, segments and thresholds; FILE#MODEL where there are several
    #[arg(long, value_name = "FILE")]
    pub model: Option<String>,
    /// What the predictions are, where no --model says so: with it and a column `label` their quality is measured
    #[arg(long, value_enum, value_name = "TASK", conflicts_with_all = ["model", "mode"])]
    pub task: Option<TaskWord>,
    /// The class that scores are the probability of; 1 unless named
    #[arg(long, value_name = "CLASS", requires = "task")]
    pub positive_class: Option<String>,
    /// What is expected of the features: training data, or what MLflow, TFDV, Great Expectations, SageMaker, Evidently or
    /// a data contract says
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// What the file of --schema is, where its content does not tell
    #[arg(long, value_enum, value_name = "FORMAT", requires = "schema")]
    pub schema_from: Option<SchemaFormatWord>,
    /// Where the current file's rows come from; features that the schema expects elsewhere only may be missing
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Split the current file into windows by its column `timestamp`
    #[arg(long, value_name = "GRAIN")]
    pub by: Option<GrainWord>,
    /// The column with the rows' time
    #[arg(long, value_name = "COLUMN")]
    pub timestamp: Option<String>,
    /// The column with the time at which each label was known; `observed_at` unless named here or by the --model
    #[arg(long, value_name = "COLUMN", conflicts_with = "mode")]
    pub observed_at: Option<String>,
    /// Measure also by the values of these columns, with commas between them
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub segment: Vec<String>,
    /// Leave these columns out, with commas between them
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// A threshold beyond which a feature counts as drifted, such as psi=0.1; may be repeated
    #[arg(long, value_name = "MEASURE=VALUE", value_parser = threshold)]
    pub threshold: Vec<(Measure, f64)>,
    /// Fewer values than this are insufficient to say anything
    #[arg(long, value_name = "ROWS")]
    pub min_rows: Option<u64>,
    /// Look at features together, too: a classifier, the main directions, correlations; reads every column once more
    #[arg(long, conflicts_with = "mode")]
    pub multivariate: bool,
    /// Give the numbers and the default verdict of another tool, and nothing else
    #[arg(long, value_enum, value_name = "TOOL", conflicts_with_all = ["threshold", "min_rows"])]
    pub mode: Option<Tool>,
    /// What is written
    #[arg(long, value_enum, default_value = "table")]
    pub format: OutputFormat,
    /// Where it is written; standard output when absent
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// End with exit code 1 when this is found, with commas between
    #[arg(long, value_enum, value_delimiter = ',')]
    pub fail_on: Vec<FailOn>,
    /// How many threads work; as many as there are cores when absent
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
}

/// A length of windows, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GrainWord {
    Hour,
    Day,
    Week,
    Month,
}

impl From<GrainWord> for Grain {
    fn from(word: GrainWord) -> Self {
        match word {
            GrainWord::Hour => Self::Hour,
            GrainWord::Day => Self::Day,
            GrainWord::Week => Self::Week,
            GrainWord::Month => Self::Month,
        }
    }
}

/// A tool whose numbers can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    Evidently,
    Nannyml,
    Azure,
    Tfdv,
    Sagemaker,
}

impl From<Tool> for Mode {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Evidently => Self::Evidently,
            Tool::Nannyml => Self::Nannyml,
            Tool::Azure => Self::Azure,
            Tool::Tfdv => Self::Tfdv,
            Tool::Sagemaker => Self::Sagemaker,
        }
    }
}

/// What a comparison is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Table,
    Json,
    Html,
    Junit,
}

/// What a pipeline wants to stop at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    Drift,
    Schema,
    /// A measure of quality beyond its --threshold; without any, one that is worse than the reference's
    Quality,
}

fn threshold(text: &str) -> Result<(Measure, f64), String> {
    let (measure, value) = text
        .split_once('=')
        .ok_or("write MEASURE=VALUE, such as psi=0.1")?;
    let known: Vec<&str> = measures::all().map(Measure::as_str).collect();
    let measure = measures::all()
        .find(|known| known.as_str() == measure)
        .ok_or_else(|| {
            let hint = did_you_mean(measure, known.iter().copied());
            format!(
                "there is no measure {measure:?}; there are {}{hint}",
                known.join(", ")
            )
        })?;
    match value.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok((measure, value)),
        _ => Err(format!("{value:?} is no number of 0 or more")),
    }
}

/// Compares, writes, and says by the exit code what was found: 0 for nothing that was asked for, 1 for something,
/// 2 when the files could not be compared.
#[must_use]
pub fn run(options: &CompareOptions) -> ExitCode {
    let compared = match options.mode {
        None => compare(options),
        Some(tool) => compare_as(tool.into(), options),
    };
    match compared {
        Ok(found) => ExitCode::from(if found { FOUND } else { 0 }),
        Err(error) => {
            eprintln!("bellwether: could not {error:#}");
            ExitCode::from(UNUSABLE)
        }
    }
}

/// Compares and writes; whether anything was found that was asked for.
fn compare(options: &CompareOptions) -> anyhow::Result<bool> {
    let request = request(options)?;
    let progress = Progress::default();
    let comparison = bar::shown_while(&progress, || comparison::compare(&request, &progress))?;
    let text = match options.format {
        OutputFormat::Table => table::text(&comparison),
        OutputFormat::Json => json::text(&comparison)?,
        OutputFormat::Html => page::text(&comparison)?,
        OutputFormat::Junit => junit::text(&comparison),
    };
    write(options, &text)?;
    check_rows(options, comparison.reference_rows, comparison.current_rows)?;
    Ok(found(
        options,
        comparison.has_drift(),
        comparison.has_skew(),
        comparison.has_quality_loss(),
    ))
}

/// The same by the rules of another tool.
fn compare_as(mode: Mode, options: &CompareOptions) -> anyhow::Result<bool> {
    for (what, word) in [(FailOn::Quality, "quality"), (FailOn::Schema, "schema")] {
        let is_checked = what == FailOn::Schema && mode.checks_schema();
        if options.fail_on.contains(&what) && !is_checked {
            bail!(
                "fail on {word}: with --mode it is not checked; compare once more without, or fail on drift"
            );
        }
    }
    let request = request(options)?;
    let progress = Progress::default();
    let compare = || comparison::compare_as(mode, &request, &progress);
    let comparison = bar::shown_while(&progress, compare)?;
    let text = match options.format {
        OutputFormat::Table => tool::table(&comparison),
        OutputFormat::Json => tool::json(&comparison)?,
        OutputFormat::Html => tool::page(&comparison)?,
        OutputFormat::Junit => tool::junit(&comparison),
    };
    write(options, &text)?;
    check_rows(options, comparison.reference_rows, comparison.current_rows)?;
    let skew = comparison.has_skew();
    Ok(found(options, comparison.has_drift(), skew, false))
}

/// A file without rows has nothing that could be found, and is no pass either.
fn check_rows(options: &CompareOptions, reference: u64, current: u64) -> anyhow::Result<()> {
    for (file, rows) in [(&options.reference, reference), (&options.current, current)] {
        if rows == 0 && !options.fail_on.is_empty() {
            bail!("check {}: it has no rows", file.display());
        }
    }
    Ok(())
}

fn found(options: &CompareOptions, drift: bool, skew: bool, quality: bool) -> bool {
    options.fail_on.iter().any(|what| match what {
        FailOn::Drift => drift,
        FailOn::Schema => skew,
        FailOn::Quality => quality,
    })
}

fn request(options: &CompareOptions) -> anyhow::Result<Request> {
    let mut expected = Vec::new();
    if let Some(file) = &options.schema {
        let imported = schema::read(file, options.schema_from)?;
        schema::tell(file, &imported);
        expected = imported.features;
    }
    let fails_on_quality = options.fail_on.contains(&FailOn::Quality);
    let has_threshold = |(measure, _): &(Measure, f64)| comparison::needs_task(*measure);
    Ok(Request {
        reference: options.reference.clone(),
        current: options.current.clone(),
        model: options.model.as_deref().map(model).transpose()?,
        task: options.task.map(Task::from),
        positive_class: options.positive_class.clone(),
        environment: options.environment.clone(),
        schema: expected,
        by: options.by.map(Grain::from),
        timestamp: options.timestamp.clone(),
        observed_at: options.observed_at.clone(),
        segments: options.segment.clone(),
        ignored: options.ignore.clone(),
        thresholds: options
            .threshold
            .iter()
            .copied()
            .collect::<BTreeMap<_, _>>(),
        quality_by_reference: fails_on_quality && !options.threshold.iter().any(has_threshold),
        min_rows: options.min_rows,
        multivariate: options.multivariate,
        threads: options.threads.map(NonZeroUsize::get),
    })
}

/// The model of a configuration file, or the one that is named behind a `#`.
fn model(named: &str) -> anyhow::Result<ModelDef> {
    let (path, name) = match named.rsplit_once('#') {
        Some((path, name)) if !Path::new(named).exists() => (path, Some(name)),
        _ => (named, None),
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let file = SourceFile {
        path: path.to_owned(),
        text,
    };
    let parsed = match definitions::parse(&[file]) {
        Ok(parsed) => parsed,
        Err(problems) => bail!("read {path}:\n{}", check_report(&problems).trim_end()),
    };
    let names: Vec<String> = parsed
        .models
        .iter()
        .map(|model| model.value.name.clone())
        .collect();
    match (name, names.len()) {
        (None, 0) => bail!("read {path}: it defines no model"),
        (None, 2..) => bail!(
            "read {path}: it defines several models; name one as {path}#{}",
            names[0]
        ),
        _ => {}
    }
    let models = parsed.models.into_iter().map(|model| model.value);
    let mut models = models.filter(|model| name.is_none_or(|name| model.name == name));
    models.next().with_context(|| {
        let known = names.iter().map(String::as_str);
        let name = name.unwrap_or_default();
        format!(
            "read {path}: it defines no model \"{name}\"{}",
            did_you_mean(name, known)
        )
    })
}

fn write(options: &CompareOptions, text: &str) -> anyhow::Result<()> {
    match &options.output {
        Some(file) => {
            std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
        }
        None => {
            let written = std::io::stdout().lock().write_all(text.as_bytes());
            match written {
                // Whoever reads has seen enough, as with `| head`.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                written => written.context("write to standard output"),
            }
        }
    }
}

/// A window as people name it.
fn window_name(window: Window) -> String {
    match window.grain {
        Grain::Hour => window.start.format("%Y-%m-%d %H:00"),
        Grain::Day => window.start.format("%Y-%m-%d"),
        Grain::Week => window.start.format("%G-W%V"),
        Grain::Month => window.start.format("%Y-%m"),
    }
    .to_string()
}

#[cfg(test)]
mod tests;
