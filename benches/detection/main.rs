//! The benchmark of the detectors: how quiet they are when nothing is wrong, how early when something is, beside
//! the statistics of their peers, how far quality is known before labels, and what it costs.
//!
//! Every run takes a fresh seed and prints it. A figure has a gate, and some have a stretch goal as a line of their own.

#[path = "../shared/figures.rs"]
mod figures;

mod beside;
mod changes;
mod choices;
mod cost;
mod counting;
mod course;
mod delays;
mod early;
mod estimation;
mod hours;
mod kinds;
mod lasting;
mod matched;
#[path = "../shared/peers.rs"]
mod peers;
mod pictures;
mod promised;
mod quiet;
mod random;
mod real;
mod river;
mod shapes;
mod statistics;
mod streams;
mod table;
mod together;
mod volume;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use bellwether::stats::detector::Settings;
use clap::Parser;

use figures::{Goal, Report};
use pictures::Picture;

/// A part of the benchmark: its name, and what it adds to the report.
type Part = (&'static str, fn(&Run, &mut Report) -> anyhow::Result<()>);

const PARTS: [Part; 12] = [
    ("quiet", quiet::report),
    ("early", early::report),
    ("promised", promised::report),
    ("hours", hours::report),
    ("volume", volume::report),
    ("matched", matched::report),
    ("beside", beside::report),
    ("real", real::report),
    ("choices", choices::report),
    ("delays", |run, report| {
        delays::run(report, run.seed, run.long)?;
        river::report(report, run.seed)
    }),
    ("estimation", |run, report| {
        estimation::run(report, run.seed)
    }),
    ("cost", cost::report),
];

/// Measures the drift detector
#[derive(Debug, Parser)]
#[command(name = "bench-detection")]
struct Arguments {
    /// Parts to run, all if none is named: quiet, early, promised, hours, volume, matched, beside, real, choices, delays, estimation, cost
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Enough runs for narrow intervals: an hour or two
    #[arg(long)]
    long: bool,
    /// Repeat a run
    #[arg(long)]
    seed: Option<u64>,
    /// A folder of more Parquet files with a column `timestamp`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Put the results into docs/benchmarks.md and the pictures beside it
    #[arg(long)]
    write: bool,
    /// What cargo passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What all parts share.
pub struct Run {
    pub seed: u64,
    pub long: bool,
    pub data: Option<PathBuf>,
    /// As shipped.
    pub settings: Settings,
    /// Whether the results go into the documents.
    write: bool,
}

impl Run {
    /// Shows a picture where the table of this run is shown, if it is.
    pub fn show(&self, picture: &Picture) -> anyhow::Result<()> {
        if self.write {
            picture.save()?;
        }
        Ok(())
    }

    /// A figure with its gate and, where there is one, its stretch goal.
    pub fn figures(
        &self,
        report: &mut Report,
        name: &str,
        value: f64,
        gate: Goal,
        stretch: Option<Goal>,
    ) {
        report.figure(format!("detection_{name}"), value, gate);
        if let Some(stretch) = stretch {
            report.figure(format!("detection_{name}_stretch"), value, stretch);
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let run = Run {
        seed: arguments.seed.unwrap_or_else(rand::random),
        long: arguments.long,
        data: arguments.data,
        settings: Settings::default(),
        write: arguments.write,
    };
    let facts = format!("{} Seed {}.", figures::facts("")?, run.seed);
    eprintln!("{facts}");
    let mut report = Report::default();
    for (name, part) in PARTS {
        if arguments.only.is_empty() || arguments.only.iter().any(|own| own == name) {
            eprintln!("{name}");
            part(&run, &mut report)?;
        }
    }
    println!("{facts}\n");
    report.print();
    if run.write {
        report.write(
            "bench-detection",
            &figures::command("make bench-detection"),
            &facts,
        )?;
    }
    Ok(())
}

/// Does some pieces of work on all cores; the results are in order.
pub fn parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let one_worker = || {
        let mut own = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return own;
            }
            own.push((index, work(index)));
        }
    };
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(one_worker)).collect();
        let joined = handles
            .into_iter()
            .map(|handle| handle.join().expect("the work does not panic"));
        joined.flatten().collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
