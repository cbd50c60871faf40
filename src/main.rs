//! The command line: parses, and calls the part that does the work.

use std::process::ExitCode;

use bellwether::app;
use bellwether::cli;
use clap::Parser;

/// Bodies are decoded on blocking threads, as many at a time as there are processors, and what one is made into is
/// freed into the allocator's arena of its thread. More threads than these would only keep more memory.
const OTHER_BLOCKING_THREADS: usize = 2;

fn main() -> ExitCode {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(processors + OTHER_BLOCKING_THREADS)
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
