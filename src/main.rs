//! The command line: parses, and calls the part that does the work.

use std::process::ExitCode;

use bellwether::app;
use bellwether::cli;
use clap::Parser;

/// Bodies are decoded on blocking threads, each of which may hold what it makes of one. More of them than this
/// only take memory from each other.
const BLOCKING_THREADS: usize = 8;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .expect("a process that starts can have threads");
    match runtime.block_on(app::run(cli::Cli::parse())) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bellwether: could not {error:#}");
            ExitCode::FAILURE
        }
    }
}
