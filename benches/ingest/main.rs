//! Intake beside `COPY` by hand: how fast, how large, how prompt and how frugal. One run measures all sides on one
//! Postgres with fsync on, in turns. The service is known from outside only: its binary, its API, and the size of
//! its database.
//!
//! A default run takes about a quarter of an hour. `--only` picks parts, `--quick` shrinks everything to see that
//! it works; figures of such a run say nothing.

mod answering;
mod bodies;
mod by_hand;
mod events;
#[expect(dead_code, reason = "the bench of the detector has tables of its own")]
#[path = "../shared/figures.rs"]
mod figures;
mod generator;
mod growth;
mod http;
mod load;
mod memory;
#[path = "../shared/postgres.rs"]
mod postgres;
mod service;
mod speed;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use bodies::Format;
use figures::Report;
use growth::Growth;
use postgres::Cluster;
use service::Service;
use speed::Rates;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Arrow IPC (Parquet where the service does not take it) against COPY: speed and bytes on disk
    Columnar,
    /// Arrow IPC with Zstandard beside it; not part of a default run
    Zstd,
    /// Parquet beside it
    Parquet,
    /// NDJSON against COPY and against COPY of jsonb
    Ndjson,
    /// Acknowledgements at half of the sustained rate
    Latency,
    /// One prediction per request against pgbench
    Single,
    /// Answers to two thousand events of a serving platform a second
    Events,
    /// Resident memory under the heaviest load
    Memory,
    /// Resident memory while the database stands still
    Stall,
    /// Cost per prediction beside many stored rows
    Growth,
}

impl Part {
    /// Whether it is one of those that are measured together, in turns.
    fn compares_speeds(self) -> bool {
        matches!(
            self,
            Self::Columnar | Self::Zstd | Self::Parquet | Self::Ndjson
        )
    }

    /// As it is called on the command line.
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Measures Bellwether's intake beside COPY by hand
#[derive(Debug, Parser)]
#[command(name = "bench-ingest")]
struct Arguments {
    /// Measure these parts only
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rows per side in the comparison of speeds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..))]
    rows: Option<u64>,
    /// Shrink everything, to see that it works
    #[arg(long)]
    quick: bool,
    /// Grow to 100 million stored rows instead of the usual parts; an hour or two, and some 50 GB of disk
    #[arg(long)]
    hundred_million: bool,
    /// Put the results into docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// What cargo passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a run does, and how much of it.
struct Plan {
    parts: Vec<Part>,
    seed: u64,
    rounds: usize,
    rows_per_round: u64,
    /// How long the size of a database has to rest before it counts as compacted, and when it counts anyway.
    quiet: Duration,
    longest_compaction: Duration,
    latency: Duration,
    single: Duration,
    mixed_rows_per_format: u64,
    stall: Duration,
    growth: Growth,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let mut plan = if arguments.quick {
            Self::quick()
        } else {
            Self::full()
        };
        if arguments.hundred_million {
            plan.parts = vec![Part::Growth];
            plan.growth.to = 100_000_000;
        }
        if !arguments.only.is_empty() {
            plan.parts.clone_from(&arguments.only);
        }
        if let Some(rows) = arguments.rows {
            plan.rows_per_round = rows.div_ceil(plan.rounds as u64);
        }
        plan
    }

    fn full() -> Self {
        let parts = Part::value_variants().iter().copied();
        Self {
            parts: parts.filter(|&part| part != Part::Zstd).collect(),
            seed: 20_130_301,
            rounds: 3,
            rows_per_round: 700_000,
            quiet: Duration::from_secs(30),
            longest_compaction: Duration::from_secs(180),
            latency: Duration::from_secs(30),
            single: Duration::from_secs(20),
            mixed_rows_per_format: 200_000,
            stall: Duration::from_secs(60),
            growth: Growth {
                from: 1_000_000,
                to: 6_000_000,
                sample: 500_000,
                step: 1_000_000,
                longest: Duration::from_secs(60 * 60),
            },
        }
    }

    fn quick() -> Self {
        Self {
            rounds: 2,
            rows_per_round: 30_000,
            quiet: Duration::from_secs(3),
            longest_compaction: Duration::from_secs(20),
            latency: Duration::from_secs(4),
            single: Duration::from_secs(3),
            mixed_rows_per_format: 20_000,
            stall: Duration::from_secs(6),
            growth: Growth {
                from: 20_000,
                to: 60_000,
                sample: 10_000,
                step: 20_000,
                longest: Duration::from_secs(60),
            },
            ..Self::full()
        }
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    fn compares_speeds(&self) -> bool {
        self.parts.iter().any(|part| part.compares_speeds())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    // Whichever way it ends, servers are stopped and folders removed as the values are dropped.
    tokio::select! {
        ended = run(&arguments) => ended,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let plan = Plan::of(arguments);
    let cluster = Cluster::start(&folder()?)?;
    let facts = figures::facts(&format!(", {}", cluster.facts()?))?;
    eprintln!("{facts}");
    let mut report = Report::default();
    let failed = measure(&cluster, &plan, &mut report).await?;
    println!("{facts}\n");
    report.print();
    if !failed.is_empty() {
        bail!("not everything could be measured: {}", failed.join("; "));
    }
    if arguments.write {
        let section = if arguments.hundred_million {
            "bench-ingest-hundred-million"
        } else {
            "bench-ingest"
        };
        report.write(section, &figures::command("make bench-ingest"), &facts)?;
    }
    Ok(())
}

/// Measures the parts of the plan one after the other. One that fails does not take the others with it.
async fn measure(
    cluster: &Cluster,
    plan: &Plan,
    report: &mut Report,
) -> anyhow::Result<Vec<String>> {
    let columnar = columnar_format(cluster).await?;
    let formats = match columnar {
        Format::Arrow => vec![
            Format::Arrow,
            Format::ArrowZstd,
            Format::Parquet,
            Format::Ndjson,
        ],
        _ => vec![Format::Parquet, Format::Ndjson],
    };
    let mut rates = Rates::default();
    let mut failed = Vec::new();
    if plan.compares_speeds() {
        eprintln!(
            "speed: {} rounds of {} rows a side",
            plan.rounds, plan.rows_per_round
        );
        match speed::measure(cluster, plan, columnar, report).await {
            Ok(measured) => rates = measured,
            Err(error) => failed.push(told("speed", &error)),
        }
    }
    for &part in plan.parts.iter().filter(|part| !part.compares_speeds()) {
        eprintln!("{}", part.name());
        let measured = match part {
            // Measured above.
            Part::Columnar | Part::Zstd | Part::Parquet | Part::Ndjson => continue,
            Part::Latency => answering::latency(cluster, plan, columnar, rates, report).await,
            Part::Single => answering::single(cluster, plan, report).await,
            Part::Events => events::prompt(cluster, plan, report).await,
            Part::Memory => memory::heaviest(cluster, plan, &formats, report).await,
            Part::Stall => memory::stalled(cluster, plan, &formats, report).await,
            Part::Growth => growth::measure(cluster, plan, columnar, report).await,
        };
        if let Err(error) = measured {
            failed.push(told(&part.name(), &error));
        }
    }
    Ok(failed)
}

/// Which part could not be measured, and why.
fn told(part: &str, error: &anyhow::Error) -> String {
    let text = format!("{part}: {error:#}");
    eprintln!("  failed: {text}");
    text
}

/// The columnar format that is compared: Arrow IPC where the service takes it.
async fn columnar_format(cluster: &Cluster) -> anyhow::Result<Format> {
    let mut service = Service::create(cluster, "probe").await?;
    let takes_arrow = service.takes(Format::Arrow).await?;
    service.stop().await?;
    cluster.drop_database("probe")?;
    if takes_arrow {
        return Ok(Format::Arrow);
    }
    eprintln!("the service does not take Arrow IPC: what is columnar is measured with Parquet");
    Ok(Format::Parquet)
}

/// Where the cluster and the files to copy are kept: the disk that is measured.
fn folder() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("BELLWETHER_BENCH_DIR").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    std::fs::create_dir_all(&folder).context("make the folder of the measurements")?;
    folder
        .canonicalize()
        .context("find the folder of the measurements")
}
