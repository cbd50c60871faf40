//! The command line: parses, and calls the part that does the work.

use std::process::ExitCode;

use bellwether::app;
use bellwether::cli;
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match app::run(cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bellwether: could not {error:#}");
            ExitCode::FAILURE
        }
    }
}
