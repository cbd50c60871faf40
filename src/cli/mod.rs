//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bellwether", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(ServeOptions),
    Demo(DemoOptions),
    #[command(hide = true)]
    DemoPipeline { state: PathBuf },
    Openapi,
}

#[derive(Debug, Args)]
pub struct ServeOptions {
    #[arg(long)]
    pub config: Option<PathBuf>,
    #[arg(long)]
    pub listen: Option<String>,
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DemoOptions {
    #[arg(long)]
    pub once: bool,
    #[arg(long)]
    pub json: bool,
    #[arg(long)]
    pub hands_on: bool,
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    #[arg(long)]
    pub listen: Option<String>,
}
