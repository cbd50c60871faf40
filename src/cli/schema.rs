//! `bellwether schema import`: what another tool says of a model's features, as a schema of ours. Printed for the model's
//! file, or proposed to the service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::ServerOptions;
use super::client::Server;
use crate::domain::definitions::schema_yaml;
use crate::domain::schema::{FeatureOverride, Limit};
use crate::formats::schemas::{self, Imported, SchemaFormat};

/// What is read, for which model, and what becomes of it.
#[derive(Debug, Args)]
pub struct SchemaImportOptions {
    /// Training data, or what MLflow, TFDV, Great Expectations, SageMaker, Evidently or a data contract says; of
    /// several files, what a later one says stands over the earlier
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The model
    #[arg(long)]
    pub model: String,
    /// What the files are, where their content does not tell
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub from: Option<SchemaFormatWord>,
    /// Propose it to the service, instead of printing it for the model's file
    #[arg(long, requires = "reason")]
    pub propose: bool,
    /// Why, for whoever reviews the proposal
    #[arg(long, requires = "propose")]
    pub reason: Option<String>,
    /// Propose that features the files do not name leave the schema
    #[arg(long, requires = "propose")]
    pub replace: bool,
    #[command(flatten)]
    pub server: ServerOptions,
}

/// A format of expectations, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormatWord {
    Data,
    Mlflow,
    Tfdv,
    GreatExpectations,
    Sagemaker,
    Evidently,
    Odcs,
}

impl From<SchemaFormatWord> for SchemaFormat {
    fn from(word: SchemaFormatWord) -> Self {
        match word {
            SchemaFormatWord::Data => Self::TrainingData,
            SchemaFormatWord::Mlflow => Self::Mlflow,
            SchemaFormatWord::Tfdv => Self::Tfdv,
            SchemaFormatWord::GreatExpectations => Self::GreatExpectations,
            SchemaFormatWord::Sagemaker => Self::Sagemaker,
            SchemaFormatWord::Evidently => Self::Evidently,
            SchemaFormatWord::Odcs => Self::Odcs,
        }
    }
}

/// Reads one file of expectations.
///
/// # Errors
/// With a text that names file, place and cause.
pub fn read(file: &Path, from: Option<SchemaFormatWord>) -> anyhow::Result<Imported> {
    schemas::read(file, from.map(SchemaFormat::from))
        .with_context(|| format!("take a schema from {}", file.display()))
}

/// Prints or proposes what the files say. What is not carried over is told on standard error.
///
/// # Errors
/// When a file cannot be read or the server refuses.
pub async fn import(options: &SchemaImportOptions) -> anyhow::Result<ExitCode> {
    let mut files = options.files.iter();
    let first = files.next().context("read no file")?;
    let mut imported = read(first, options.from)?;
    let mut sources = vec![source(imported.format, first)];
    tell(first, &imported);
    for file in files {
        let next = read(file, options.from)?;
        sources.push(source(next.format, file));
        tell(file, &next);
        imported.extend(next);
    }
    let sources = sources.join(" and ");
    match &options.reason {
        Some(reason) if options.propose => propose(options, &imported, &sources, reason).await,
        _ => {
            print!("{}", printed(&options.model, &imported, &sources));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn source(format: SchemaFormat, file: &Path) -> String {
    let name = file.file_name().map_or_else(
        || file.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    format!("{} {name}", format.name())
}

/// Says what a file says that a schema cannot.
pub fn tell(file: &Path, imported: &Imported) {
    for line in imported.told() {
        eprintln!("{}: {line}", file.display());
    }
    if !imported.notes.is_empty() {
        eprintln!(
            "{}: {} features; {} things are not carried over",
            file.display(),
            imported.features.len(),
            imported.notes.len()
        );
    }
}

fn printed(model: &str, imported: &Imported, sources: &str) -> String {
    let mut text =
        format!("# Of model {model}, from {sources}. To be put below the model in its file.\n");
    let untyped: Vec<&str> = imported
        .features
        .iter()
        .filter(|feature| feature.feature_type.is_none())
        .map(|feature| feature.feature.as_str())
        .collect();
    if !untyped.is_empty() {
        text += &format!(
            "# Without a type, which the file does not say: {}. Add it, or `from`, the baseline it is inferred from.\n",
            untyped.join(", ")
        );
    }
    text + &schema_yaml(&imported.features)
}

async fn propose(
    options: &SchemaImportOptions,
    imported: &Imported,
    sources: &str,
    reason: &str,
) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.server)?;
    let features: Vec<Value> = imported.features.iter().map(expected).collect();
    let wanted = json!({
        "features": features, "replace": options.replace, "reason": reason, "source": sources,
        "imported": {"notes": notes(imported)},
    });
    let path = ["models", &options.model, "schema", "proposals"];
    let answer = server.post(&path, &wanted).await?;
    let Some(proposal) = answer["proposal"].as_object() else {
        println!("the schema of model {} is so already", options.model);
        return Ok(ExitCode::SUCCESS);
    };
    let changes = proposal["changes"].as_array().map_or(0, Vec::len);
    let id = proposal["proposal_id"].as_str().unwrap_or_default();
    println!(
        "proposal {id} changes {changes} features of model {}; it waits for a decision",
        options.model
    );
    Ok(ExitCode::SUCCESS)
}

/// What is not carried over, as many lines as the service takes.
fn notes(imported: &Imported) -> Vec<String> {
    const MOST: usize = 1_000;
    let mut told = imported.told();
    if told.len() > MOST {
        let more = told.len() - (MOST - 1);
        told.truncate(MOST - 1);
        told.push(format!("and {more} more"));
    }
    told
}

/// A feature as the API takes it: what the file is silent about is absent.
fn expected(feature: &FeatureOverride) -> Value {
    let mut said = json!({"feature": feature.feature});
    if let Some(feature_type) = feature.feature_type {
        said["type"] = json!(feature_type);
    }
    if let Some(required) = feature.required {
        said["required"] = json!(required);
    }
    let shares = [
        ("max_null_share", feature.max_null_share),
        ("max_outside_share", feature.max_outside_share),
    ];
    for (name, share) in shares {
        if let Some(share) = share {
            said[name] = json!(share);
        }
    }
    let numbers = [
        ("min_distinct", feature.min_distinct),
        ("max_distinct", feature.max_distinct),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            said[name] = json!(number);
        }
    }
    if let Some(environments) = &feature.environments {
        said["environments"] = json!(environments);
    }
    let limits = [
        ("min", limit(&feature.minimum)),
        ("max", limit(&feature.maximum)),
        ("categories", limit(&feature.categories)),
        ("max_duplicate_share", limit(&feature.max_duplicate_share)),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit {
            said[name] = limit;
        }
    }
    said
}

fn limit<T: serde::Serialize>(limit: &Limit<T>) -> Option<Value> {
    match limit {
        Limit::Inferred => None,
        Limit::Any => Some(Value::Null),
        Limit::Given(limit) => Some(json!(limit)),
    }
}
