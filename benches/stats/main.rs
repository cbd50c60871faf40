//! `bellwether compare` as a whole process, beside the peers where they are installed: processor time and peak
//! memory on the same two files; what it takes to merge a year of hourly windows; and to evaluate an hour of a thousand
//! models from the profiles in Postgres.
//!
//! A process is measured by `time` (GNU), which asks the kernel what its child has used. The peers are Python
//! programs in `peers/`, run by the environments that `scripts/peers` makes; one that is not installed is left out.

mod evaluation;
#[expect(dead_code, reason = "the bench of the detector has tables of its own")]
#[path = "../shared/figures.rs"]
mod figures;
mod generator;
mod merging;
#[path = "../shared/peers.rs"]
mod peers;
#[expect(dead_code, reason = "the bench of the intake needs more of it")]
#[path = "../shared/postgres.rs"]
mod postgres;
mod process;
mod profiling;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};

use figures::{Goal, Report, Spread, per_second, rounded, thousands};
use postgres::Cluster;
use process::Usage;
use profiling::Profiled;

const SEED: u64 = 20_130_301;
/// How far the current file has moved, in standard deviations of every third column.
const SHIFT: f64 = 0.05;
/// What a quarter of TFDV's need was when the goals were set, on two cores.
const CPU_SECONDS: f64 = 2.3;
const RESIDENT_MEBIBYTES: f64 = 330.0;
const MERGE_MILLISECONDS: f64 = 20.0;
const EVALUATION_SECONDS: f64 = 10.0;
/// What a sketch by rank (KLL, k = 200) took and was off by, on two cores.
const PROFILE_NANOSECONDS: f64 = 50.0;
const PROFILE_RANK_ERROR_PERCENT: f64 = 1.0;
/// Figures of another number of models have another name.
const EVALUATED_MODELS: usize = 1_000;
/// Three million rows of a thousand columns against as many, in four minutes.
const WIDE_VALUES_PER_SECOND: f64 = 25e6;

/// The peers: their environment and program, and the largest shares of their processor time and memory that we
/// may need.
const PEERS: [(&str, Option<f64>, Option<f64>); 4] = [
    ("evidently", Some(1.0 / 50.0), Some(1.0 / 10.0)),
    ("nannyml", None, None),
    ("tfdv", Some(0.25), Some(0.25)),
    ("whylogs", None, None),
];

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Comparisons of two files, beside the peers that are installed
    Compare,
    /// Merging a year of hourly windows
    Merging,
    /// Evaluating an hour of many models from the profiles in Postgres
    Evaluation,
    /// The profile of one feature: time, size, and how true its quantiles are
    Profiles,
}

/// Measures comparisons of files and of windows
#[derive(Debug, Parser)]
#[command(name = "bench-stats")]
struct Arguments {
    /// Measure these parts only
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Models whose hour is evaluated
    #[arg(long, default_value_t = EVALUATED_MODELS)]
    models: usize,
    /// Rows of each file
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// How often each program is run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Compare a wide file, too: so many rows of a thousand columns
    #[arg(long, value_name = "ROWS")]
    wide: Option<usize>,
    /// Leave the peers out
    #[arg(long)]
    without_peers: bool,
    /// Put the results into docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// What cargo passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = folder()?;
    let facts = figures::facts("")?;
    eprintln!("{facts}");
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let mut files = Report::default();
    if wanted(Part::Compare) {
        compare(&arguments, &folder, &mut files)?;
    }
    if let Some(rows) = arguments.wide {
        wide(rows, &folder, &mut files)?;
    }
    if wanted(Part::Merging) {
        merge(&mut files)?;
    }
    let mut windows = Report::default();
    if wanted(Part::Evaluation) {
        evaluate(&arguments, &folder, &mut windows)?;
    }
    let mut profiles = Report::default();
    if wanted(Part::Profiles) {
        profile(&mut profiles)?;
    }
    println!("{facts}\n");
    for (section, report) in [
        ("bench-stats", files),
        ("bench-evaluation", windows),
        ("bench-profiles", profiles),
    ] {
        report.print();
        if arguments.write {
            report.write(section, &figures::command("make bench-stats"), &facts)?;
        }
    }
    Ok(())
}

/// The same two files for everybody.
fn compare(arguments: &Arguments, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let rows = arguments.rows;
    let files = [
        folder.join("reference.parquet"),
        folder.join("current.parquet"),
    ];
    eprintln!("writing two files of {} rows", thousands(rows as f64));
    generator::write(&files[0], rows, SEED, 0.0)?;
    generator::write(&files[1], rows, SEED + 1, SHIFT)?;
    let output = folder.join("comparison.json");
    let ours = measured(arguments.rounds, || process::run(ours(&files, &output)))?;
    tell(report, "bellwether compare", rows, &ours);
    let (cpu, memory) = (
        median(&ours, Usage::cpu_seconds),
        median(&ours, |u| u.resident_mebibytes),
    );
    report.figure("compare_cpu_seconds", cpu, Goal::AtMost(CPU_SECONDS));
    report.figure(
        "compare_resident_mebibytes",
        memory,
        Goal::AtMost(RESIDENT_MEBIBYTES),
    );
    if arguments.without_peers {
        return Ok(());
    }
    for (peer, cpu_share, memory_share) in PEERS {
        let Some(python) = peers::python_of(peer) else {
            eprintln!("{peer} is not installed; `scripts/peers {peer}` installs it");
            continue;
        };
        let theirs = match measured(1, || process::run(process::peer(&python, peer, &files))) {
            Ok(theirs) => theirs,
            Err(error) => {
                eprintln!("{peer} could not be measured: {error:#}");
                continue;
            }
        };
        tell(report, peer, rows, &theirs);
        if let Some(goal) = cpu_share {
            let share = cpu / median(&theirs, Usage::cpu_seconds);
            report.figure(
                format!("compare_cpu_times_{peer}"),
                share,
                Goal::AtMost(goal),
            );
        }
        if let Some(goal) = memory_share {
            let share = memory / median(&theirs, |u| u.resident_mebibytes);
            report.figure(
                format!("compare_memory_times_{peer}"),
                share,
                Goal::AtMost(goal),
            );
        }
    }
    Ok(())
}

fn ours(files: &[PathBuf; 2], output: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command
        .arg("compare")
        .args(files)
        .args(["--format", "json", "--output"])
        .arg(output);
    command
}

fn wide(rows: usize, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    const COLUMNS: usize = 1_000;
    let file = folder.join("wide.parquet");
    eprintln!(
        "writing a file of {} rows and {COLUMNS} columns",
        thousands(rows as f64)
    );
    generator::write_wide(&file, rows, COLUMNS, SEED)?;
    let output = folder.join("wide.json");
    let usage = process::run(ours(&[file.clone(), file.clone()], &output))?;
    std::fs::remove_file(&file).context("remove the wide file")?;
    report.tell(
        format!(
            "bellwether compare, {} rows, {COLUMNS} columns",
            thousands(rows as f64)
        ),
        usage.told(),
    );
    let values = 2.0 * rows as f64 * COLUMNS as f64;
    report.figure(
        "compare_wide_values_per_second",
        values / usage.elapsed_seconds,
        Goal::AtLeast(WIDE_VALUES_PER_SECOND),
    );
    Ok(())
}

fn merge(report: &mut Report) -> anyhow::Result<()> {
    let measured = merging::year_of_hours()?;
    report.tell(
        "a year of hourly windows of one feature, merged and compared by every measure",
        format!("{} ms", measured.merged.told()),
    );
    report.tell(
        "the same, read from their stored form first",
        format!("{} ms", measured.decoded.told()),
    );
    report.figure(
        "compare_year_of_hours_milliseconds",
        measured.merged.median,
        Goal::AtMost(MERGE_MILLISECONDS),
    );
    Ok(())
}

fn profile(report: &mut Report) -> anyhow::Result<()> {
    let shapes = profiling::of_shapes()?;
    for shape in &shapes {
        report.tell(
            format!("the profile of a feature, {}", shape.shape),
            format!(
                "{} ns a value; largest rank error {:.2} %; {} bytes, of an hour {}, merged in {} µs",
                shape.nanoseconds.told(),
                100.0 * shape.rank_error,
                thousands(shape.bytes as f64),
                thousands(shape.bytes_of_an_hour as f64),
                shape.merge_microseconds.told()
            ),
        );
    }
    let most = |of: fn(&Profiled) -> f64| shapes.iter().map(of).fold(0.0, f64::max);
    report.figure(
        "profile_nanoseconds_per_value",
        most(|s| s.nanoseconds.median),
        Goal::AtMost(PROFILE_NANOSECONDS),
    );
    report.figure(
        "profile_rank_error_percent",
        most(|s| 100.0 * s.rank_error),
        Goal::AtMost(PROFILE_RANK_ERROR_PERCENT),
    );
    Ok(())
}

fn evaluate(arguments: &Arguments, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let models = arguments.models;
    eprintln!("storing an hour of {} models", thousands(models as f64));
    let cluster = Cluster::start(folder)?;
    let evaluated = evaluation::of_models(&cluster, models, arguments.rounds)?;
    report.tell(
        format!(
            "an hour of {} models with 30 features evaluated from profiles, {}",
            thousands(models as f64),
            cluster.facts()?
        ),
        format!(
            "{} s, {} measurements",
            evaluated.seconds.told(),
            thousands(evaluated.measurements as f64)
        ),
    );
    report.figure(
        format!("evaluate_{models}_models_seconds"),
        evaluated.seconds.median,
        Goal::AtMost(EVALUATION_SECONDS * models as f64 / EVALUATED_MODELS as f64),
    );
    Ok(())
}

fn measured(
    rounds: u32,
    mut run: impl FnMut() -> anyhow::Result<Usage>,
) -> anyhow::Result<Vec<Usage>> {
    (0..rounds).map(|_| run()).collect()
}

fn median(usages: &[Usage], of: impl Fn(&Usage) -> f64) -> f64 {
    Spread::of(usages.iter().map(of)).median
}

fn tell(report: &mut Report, who: &str, rows: usize, usages: &[Usage]) {
    let seconds = median(usages, |u| u.elapsed_seconds);
    report.tell(
        format!("{who}: processor time, elapsed, peak memory"),
        format!(
            "{} s, {} s ({} rows), {} MiB",
            Spread::of(usages.iter().map(Usage::cpu_seconds)).told(),
            rounded(seconds),
            per_second(2.0 * rows as f64 / seconds),
            rounded(median(usages, |u| u.resident_mebibytes)),
        ),
    );
}

/// Where the files are kept.
fn folder() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("BELLWETHER_BENCH_DIR").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("stats"));
    std::fs::create_dir_all(&folder).context("make the folder of the measurements")?;
    Ok(folder)
}
