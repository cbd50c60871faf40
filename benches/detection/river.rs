//! River's detectors and ours on the very same labels, where `scripts/peers` has installed it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use bellwether::stats::sequential::{LossDetector, RateDetector};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;

use crate::delays::{
    BEFORE, Delays, RATE, REFERENCE, RUN_LENGTH, delays, errors, first_alarm, first_loss_alarm,
    learnt, seed_of,
};
use crate::figures::Report;
use crate::peers::python_of;

const RUNS: u64 = 60;
/// Labels after the change.
const AFTER: u64 = 20_000;
const RATES: [f64; 4] = [0.12, 0.15, 0.20, 0.30];

/// What one of River's detectors did.
#[derive(Deserialize)]
struct Line {
    detector: String,
    /// Labels from the change to the first alarm after it.
    delays: Vec<Option<f64>>,
    early: u64,
    before: u64,
}

/// A line of the table.
struct Row {
    detector: String,
    delays: Vec<Delays>,
    early: u64,
    before: u64,
}

/// The table of delays beside River's.
pub fn report(report: &mut Report, seed: u64) -> anyhow::Result<()> {
    let Some(python) = python_of("river") else {
        report.tell("river", "not installed (scripts/peers river)");
        return Ok(());
    };
    let mut rows = ours(seed)?;
    let first = rows.len();
    for (place, after) in RATES.into_iter().enumerate() {
        for (index, line) in theirs(&python, seed, after)?.into_iter().enumerate() {
            if place == 0 {
                rows.push(Row {
                    detector: format!("River's {}", line.detector),
                    delays: Vec::new(),
                    early: 0,
                    before: 0,
                });
            }
            let row = rows
                .get_mut(first + index)
                .context("the same detectors each time")?;
            let late = line
                .delays
                .iter()
                .map(|delay| delay.unwrap_or(f64::INFINITY));
            row.delays.push(Delays::of(late.collect()));
            row.early += line.early;
            row.before += line.before;
        }
    }
    let told = rows.into_iter().map(|row| {
        let early = 1e5 * row.early as f64 / row.before as f64;
        let delays = row.delays.iter().map(ToString::to_string);
        std::iter::once(row.detector)
            .chain(delays)
            .chain([format!("{early:.2}")])
            .collect()
    });
    report.table(
        format!("Labels until an error rate of 10 % that became another is noticed, median (found within {AFTER} labels), on the same {RUNS} streams for all:"),
        &["detector", "12 %", "15 %", "20 %", "30 %", "alarms before the change, in 100,000 labels"],
        told.collect(),
    );
    Ok(())
}

fn seed_of_stream(seed: u64, run: u64) -> u64 {
    seed_of(seed, 10_000, run)
}

fn ours(seed: u64) -> anyhow::Result<Vec<Row>> {
    let known = RateDetector::against(RATE, RUN_LENGTH)?;
    let betting = LossDetector::against(RATE, RATE * (1.0 - RATE), RUN_LENGTH)?;
    let mut random = StdRng::seed_from_u64(seed_of(seed, 20_000, 0));
    let learnt = learnt(REFERENCE, &mut random)?;
    let rate = |detector: &RateDetector, after: f64, run: u64| {
        first_alarm(detector, seed_of_stream(seed, run), after, AFTER)
    };
    type First<'a> = Box<dyn Fn(f64, u64) -> Option<u64> + 'a>;
    let detectors: [(&str, First<'_>); 3] = [
        (
            "mixture Shiryaev–Roberts, rate known",
            Box::new(|after, run| rate(&known, after, run)),
        ),
        (
            "the same, a reference of 28,000 labels",
            Box::new(|after, run| rate(&learnt, after, run)),
        ),
        (
            "by betting, rate known",
            Box::new(|after, run| {
                first_loss_alarm(&betting, seed_of_stream(seed, run), after, AFTER)
            }),
        ),
    ];
    let rows = detectors.into_iter().map(|(name, first)| {
        // Before the change all rates are the same stream.
        let is_early = |run: &u64| first(RATES[0], *run).is_some_and(|at| at <= BEFORE);
        Row {
            detector: name.to_owned(),
            delays: RATES
                .map(|after| delays(RUNS, |run| first(after, run).filter(|at| *at > BEFORE)))
                .into(),
            early: (0..RUNS).filter(is_early).count() as u64,
            before: RUNS * BEFORE,
        }
    });
    Ok(rows.collect())
}

fn theirs(python: &Path, seed: u64, after: f64) -> anyhow::Result<Vec<Line>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/detection");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("labels.bin");
    let labels: Vec<u8> = (0..RUNS)
        .flat_map(|run| errors(seed_of_stream(seed, run), after, AFTER))
        .map(u8::from)
        .collect();
    std::fs::write(&file, labels)?;
    let output = Command::new(python)
        .arg(root.join("benches/detection/peers/run_river.py"))
        .arg(&file)
        .args([(BEFORE + AFTER).to_string(), BEFORE.to_string()])
        .output()
        .context("run River")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout)?;
    let lines = lines.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}
