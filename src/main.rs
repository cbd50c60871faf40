//! The command line: parses, and calls the part that does the work.

use std::process::ExitCode;

use bellwether::app;
use bellwether::cli::{self, Command};
use clap::Parser;

/// Bodies are decoded on blocking threads, as many at a time as there are processors, and what one is made into is
/// freed into the allocator's arena of its thread. More threads than these would only keep more memory.
const OTHER_BLOCKING_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if matches!(cli.command, Command::Serve(_) | Command::Demo(_)) {
        begin_with_few_arenas(processors);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(processors + OTHER_BLOCKING_THREADS)
        .build()
        .expect("a process that starts can have threads");
    match runtime.block_on(app::run(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bellwether: could not {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The GNU C library keeps what is freed in up to eight arenas for each processor and gives little of it back, so that a service
/// stays as large as its worst minute made it. One for each processor is enough; the library looks only when a process
/// begins, so this one begins once more, as the same process. Whoever has set the number in the environment is not overruled.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn begin_with_few_arenas(processors: usize) {
    use std::os::unix::process::CommandExt;

    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    // Comes back only when it fails, and then the process goes on as it is.
    let _ = std::process::Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(ARENAS, processors.to_string())
        .exec();
}

/// Other allocators have no such habit.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn begin_with_few_arenas(_processors: usize) {}
