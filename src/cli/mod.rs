//! The command line. Commands that talk to a running server are carried out here, over the same HTTP API that
//! everybody else uses; those that are the server (`serve`, `demo`, `openapi`) are only parsed, because the
//! wiring is not this module's to know.
//!
//! Errors are fragments that follow "could not", and say what to do next.

mod apply;
mod check;
mod client;
pub mod compare;
mod custody;
pub mod directory;
mod import;
mod parts;
mod progress;
pub mod schema;
mod sources;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};

use client::Server;

use crate::domain::model::Task;

/// Observability and model monitoring, from drift to gated retraining, in one process plus Postgres.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Serve(ServeOptions),
    /// Live through a year of flights in a few minutes, with the whole loop from drift to retraining
    Demo(DemoOptions),
    /// The retraining pipeline of the demo, started by the demo itself
    #[command(hide = true)]
    DemoPipeline {
        /// The folder in which the pipeline keeps its state
        state: PathBuf,
    },
    /// Print the OpenAPI description of the HTTP API
    Openapi,
    #[command(flatten)]
    Client(ClientCommand),
}

/// How the service is run.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// The settings; `bellwether.toml` in the working directory when absent
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen, such as 127.0.0.1:8420
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where the private Postgres and everything else is kept
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// How the demo is run.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// End when the year is over, instead of serving what happened
    #[arg(long)]
    pub once: bool,
    /// Print what happened as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave the approvals to you
    #[arg(long)]
    pub hands_on: bool,
    /// Where the demo keeps its data; `bellwether-demo` among the temporary files when absent
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Where to listen, such as 127.0.0.1:8420
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
}

/// A server to talk to.
#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// The address of the service
    #[arg(
        long,
        env = "BELLWETHER_SERVER",
        default_value = "http://127.0.0.1:8420",
        value_name = "URL"
    )]
    pub server: url::Url,
    /// A token of the project, best given in the environment
    #[arg(long, env = "BELLWETHER_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// What is asked of a running server, or of nobody.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Send files of predictions or labels
    Import(ImportOptions),
    /// Compare two files of rows, offline: drift, schema skew, and what they look like
    Compare(Box<compare::CompareOptions>),
    /// Check a configuration directory, offline
    Check {
        /// The directory
        directory: PathBuf,
    },
    /// Bring a configuration directory in, and fit the baselines whose files it names
    Apply {
        /// The directory
        directory: PathBuf,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Versions of models
    #[command(subcommand)]
    Version(VersionCommand),
    /// Schemas of models
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Tokens, for machines that talk to the service
    #[command(subcommand)]
    Token(TokenCommand),
    /// Runs of runbooks
    #[command(subcommand)]
    Run(RunCommand),
    /// How long what is kept, and what is past that
    #[command(subcommand)]
    Retention(custody::RetentionCommand),
    /// Raw rows in the archive
    #[command(subcommand)]
    Archive(custody::ArchiveCommand),
    /// Erase predictions by their ids, everywhere
    Erase(custody::EraseOptions),
    /// Ask an address of the service whether it is well; for the health check of a container
    Health {
        /// Such as http://127.0.0.1:8420/readyz
        url: url::Url,
    },
}

/// What is sent, and to which model.
#[derive(Debug, Args)]
pub struct ImportOptions {
    /// The model
    pub model: String,
    /// Files, folders, or patterns such as 'exports/*.parquet': .parquet, .csv, .ndjson, .jsonl, .json, .arrow; what
    /// SageMaker captures and Azure ML collects is known by its content
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// What the files are, where their names and contents do not tell
    #[arg(long)]
    pub format: Option<FileFormat>,
    /// What the rows are
    #[arg(long)]
    pub kind: RowKind,
    /// The version of predictions that do not name one; the champion when absent
    #[arg(long)]
    pub version: Option<String>,
    #[command(flatten)]
    pub server: ServerOptions,
}

/// What files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    Json,
    Ndjson,
    Csv,
    Parquet,
    Arrow,
    #[value(name = "sagemaker")]
    SageMaker,
    #[value(name = "azureml")]
    AzureMl,
}

/// What rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowKind {
    Predictions,
    Labels,
}

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Register a model, or change what may change of one that exists
    Add {
        /// Letters, digits, '.', '_' and '-'
        name: String,
        /// What it predicts
        #[arg(long)]
        task: TaskWord,
        #[arg(long, default_value = "")]
        description: String,
        /// Who answers for it
        #[arg(long, default_value = "")]
        owner: String,
        /// The unit of what is predicted, such as minutes
        #[arg(long, default_value = "")]
        unit: String,
        /// The class that scores are the probability of, for binary models
        #[arg(long)]
        positive_class: Option<String>,
        /// How long the windows are that everything is counted in
        #[arg(long, default_value = "day")]
        window: WindowWord,
        /// Features that slice everything measured, with commas between them
        #[arg(long, value_delimiter = ',')]
        segments: Vec<String>,
        #[command(flatten)]
        server: ServerOptions,
    },
}

/// A task, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskWord {
    Regression,
    Binary,
    Multiclass,
    Ranking,
    Forecast,
}

impl From<TaskWord> for Task {
    fn from(word: TaskWord) -> Self {
        match word {
            TaskWord::Regression => Self::Regression,
            TaskWord::Binary => Self::Binary,
            TaskWord::Multiclass => Self::Multiclass,
            TaskWord::Ranking => Self::Ranking,
            TaskWord::Forecast => Self::Forecast,
        }
    }
}

/// A base window, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowWord {
    Hour,
    Day,
}

/// What can be done with versions.
#[derive(Debug, Subcommand)]
pub enum VersionCommand {
    /// Register a version of a model
    Add {
        /// The model
        model: String,
        /// What the version is called
        version: String,
        #[command(flatten)]
        server: ServerOptions,
    },
}

/// What can be done with schemas.
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Take over what another tool, or training data, say of the features
    Import(Box<schema::SchemaImportOptions>),
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it; it cannot be shown again
    Create {
        /// What people call it
        name: String,
        /// What it may do: ingest, read, operate or admin, with commas between them
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        #[command(flatten)]
        server: ServerOptions,
    },
}

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// Start a runbook on a model
    Start {
        /// The model
        model: String,
        /// The runbook
        runbook: String,
        /// Why, for whoever reads it later
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        server: ServerOptions,
    },
}

/// Carries a command out. The exit code says whether all is well; errors are for what could not be done at
/// all.
///
/// # Errors
/// With a text that follows "could not" and says what to do.
pub async fn run(command: ClientCommand) -> anyhow::Result<ExitCode> {
    match command {
        ClientCommand::Import(options) => import::run(&options).await,
        ClientCommand::Compare(options) => Ok(compare::run(&options)),
        ClientCommand::Check { directory } => check::run(&directory),
        ClientCommand::Apply { directory, server } => apply::run(&directory, &server).await,
        ClientCommand::Model(command) => add_model(command).await,
        ClientCommand::Version(VersionCommand::Add {
            model,
            version,
            server,
        }) => {
            let server = Server::new(&server)?;
            let path = ["models", &model, "versions"];
            server.post(&path, &json!({"version": version})).await?;
            println!("version {version} of model {model} is registered");
            Ok(ExitCode::SUCCESS)
        }
        ClientCommand::Schema(SchemaCommand::Import(options)) => schema::import(&options).await,
        ClientCommand::Token(TokenCommand::Create {
            name,
            scopes,
            server,
        }) => {
            let wanted = json!({"name": name, "scopes": scopes});
            let created = Server::new(&server)?.post(&["tokens"], &wanted).await?;
            println!("{}", text(&created, "secret"));
            Ok(ExitCode::SUCCESS)
        }
        ClientCommand::Run(RunCommand::Start {
            model,
            runbook,
            reason,
            server,
        }) => {
            let server = Server::new(&server)?;
            let wanted = json!({"runbook": runbook, "reason": reason});
            let started = server.post(&["models", &model, "runs"], &wanted).await?;
            println!("run {} is started", text(&started, "run_id"));
            Ok(ExitCode::SUCCESS)
        }
        ClientCommand::Retention(command) => custody::retention(command).await,
        ClientCommand::Archive(command) => custody::archive(command).await,
        ClientCommand::Erase(options) => custody::erase(&options).await,
        ClientCommand::Health { url } => Ok(client::health(url).await),
    }
}

async fn add_model(command: ModelCommand) -> anyhow::Result<ExitCode> {
    let ModelCommand::Add {
        name,
        task,
        description,
        owner,
        unit,
        positive_class,
        window,
        segments,
        server,
    } = command;
    let wanted = json!({
        "name": name, "task": task, "description": description, "owner": owner, "unit": unit,
        "positive_class": positive_class, "window": window, "segments": segments,
    });
    Server::new(&server)?.post(&["models"], &wanted).await?;
    println!("model {name} is registered");
    Ok(ExitCode::SUCCESS)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
