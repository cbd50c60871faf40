//! The number of rows: tickets on traffic that is as usual, and how soon a change of it is seen, judged as the service does,
//! which learns the level from twelve weeks without the last four.

use std::f64::consts::TAU;

use bellwether::stats::detector::{Grain, Reference, Settings, Status, VolumeDay};

use crate::Run;
use crate::figures::{Goal, Report, thousands};
use crate::random::Random;
use crate::streams::FIRST_DAY;

const KNOWN_DAYS: usize = 84;
const NOT_LEARNT_DAYS: usize = 28;
/// Days judged of one stream.
const BLOCK: usize = 100;
/// A change is followed for so many days.
const HORIZON: usize = 28;
/// A sum of so many rare chances is nearly Poisson's.
const CHANCES: u64 = 10_000_000;

/// Traffic as it usually is.
#[derive(Debug, Clone, Copy)]
struct Traffic {
    name: &'static str,
    grain: Grain,
    /// Rows of a day.
    rows: f64,
    /// What of it is left at weekends.
    weekend: f64,
    /// Every day, and every hour, is so many logarithms more or less.
    day: f64,
    hour: f64,
    /// Hours swing by this part over the day.
    pattern: f64,
}

impl Traffic {
    fn slots(&self) -> usize {
        if self.grain == Grain::Hour { 24 } else { 1 }
    }

    /// The buckets of a day, of which so large a part comes.
    fn day(&self, number: usize, part: f64, random: &mut Random) -> Vec<VolumeDay> {
        let slots = self.slots();
        let weekend = if number % 7 >= 5 { self.weekend } else { 1.0 };
        let of_day = self.rows * weekend * (self.day * random.normal()).exp();
        (0..slots)
            .map(|slot| {
                let wave = (TAU * slot as f64 / slots as f64).sin();
                let expected = of_day / slots as f64
                    * (1.0 + self.pattern * wave)
                    * (self.hour * random.normal()).exp()
                    * part;
                let first = FIRST_DAY + number as i64;
                VolumeDay {
                    bucket: first * slots as i64 + slot as i64,
                    holiday: false,
                    rows: random.binomial(CHANCES, expected / CHANCES as f64),
                }
            })
            .collect()
    }
}

/// A stream whose next days can be judged.
struct Stream {
    traffic: Traffic,
    random: Random,
    days: usize,
    buckets: Vec<VolumeDay>,
}

impl Stream {
    /// One with twelve weeks behind it.
    fn of(traffic: Traffic, seed: u64, number: u64) -> Self {
        let mut stream = Self {
            traffic,
            random: Random::of(seed, number),
            days: 0,
            buckets: Vec::new(),
        };
        for _ in 0..KNOWN_DAYS {
            stream.more(1.0);
        }
        stream
    }

    fn more(&mut self, part: f64) {
        let day = self.traffic.day(self.days, part, &mut self.random);
        self.days += 1;
        self.buckets.extend(day);
    }

    /// Whether each bucket of the next day is called drift.
    fn next(&mut self, part: f64, settings: &Settings) -> Vec<bool> {
        self.more(part);
        let slots = self.traffic.slots();
        let ends = self.buckets.len() - slots + 1..=self.buckets.len();
        ends.map(|end| {
            let from = end - KNOWN_DAYS * slots;
            let (learnt, recent) =
                self.buckets[from..end].split_at(end - from - NOT_LEARNT_DAYS * slots);
            let reference = Reference::of_volume(self.traffic.grain, learnt, settings.clone());
            let verdict = reference.expect("eight weeks").evaluate_volume(recent);
            let verdict = verdict.expect("buckets in order").expect("a volume");
            verdict.status == Status::Candidate
        })
        .collect()
    }
}

/// Tickets on days on which nothing happens: runs of buckets that are called drift.
fn tickets(traffic: Traffic, settings: &Settings, seed: u64, number: u64) -> usize {
    let mut stream = Stream::of(traffic, seed, number);
    let (mut tickets, mut open) = (0, false);
    for _ in 0..BLOCK {
        for drift in stream.next(1.0, settings) {
            tickets += usize::from(drift && !open);
            open = drift;
        }
    }
    tickets
}

/// The buckets until a change of the volume to this part is seen.
fn delay(traffic: Traffic, part: f64, settings: &Settings, seed: u64, number: u64) -> usize {
    let mut stream = Stream::of(traffic, seed, number);
    let mut buckets = 0;
    for _ in 0..HORIZON {
        for drift in stream.next(part, settings) {
            buckets += 1;
            if drift {
                return buckets;
            }
        }
    }
    usize::MAX
}

fn traffics() -> [(&'static str, Traffic); 6] {
    let days = Traffic {
        name: "Poisson's days",
        grain: Grain::Day,
        rows: 1_000.0,
        weekend: 1.0,
        day: 0.0,
        hour: 0.0,
        pattern: 0.0,
    };
    let weekly = Traffic {
        name: "weekends have 60 %, days differ by 5 %",
        weekend: 0.6,
        day: 0.05,
        ..days
    };
    let wild = Traffic {
        name: "weekends have 60 %, days differ by 20 %",
        day: 0.2,
        ..weekly
    };
    let hours = Traffic {
        name: "hours swing by 60 %",
        grain: Grain::Hour,
        rows: 9_600.0,
        pattern: 0.6,
        ..days
    };
    let weekly_hours = Traffic {
        name: "hours swing by 60 %, weekends have 60 %, hours and days differ by 5 %",
        weekend: 0.6,
        day: 0.05,
        hour: 0.05,
        ..hours
    };
    let wild_hours = Traffic {
        name: "hours swing by 60 %, weekends have 60 %, hours differ by 10 % and days by 20 %",
        day: 0.2,
        hour: 0.1,
        ..weekly_hours
    };
    [
        ("days_alike", days),
        ("days_with_weekends", weekly),
        ("days_that_differ", wild),
        ("hours_alike", hours),
        ("hours_with_weekends", weekly_hours),
        ("hours_that_differ", wild_hours),
    ]
}

const CHANGES: [(&str, f64); 4] = [
    ("20 % fewer", 0.8),
    ("half", 0.5),
    ("twice as many", 2.0),
    ("none", 0.0),
];

/// The table of tickets and delays.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for (name, traffic) in traffics() {
        let by_hour = traffic.grain == Grain::Hour;
        let (days, runs) = match (run.long, by_hour) {
            (true, false) => (100_000, 1_000),
            (true, true) => (20_000, 200),
            (false, false) => (10_000, 200),
            (false, true) => (1_000, 20),
        };
        let blocks = days / BLOCK;
        let count: usize = crate::parallel(blocks, |number| {
            tickets(traffic, &run.settings, run.seed, number as u64)
        })
        .iter()
        .sum();
        let per_thousand = 1_000.0 * count as f64 / days as f64;
        let unit = if by_hour { "h" } else { "d" };
        let mut cells = vec![
            traffic.name.to_owned(),
            format!(
                "{per_thousand:.2} ({count} in {} days)",
                thousands(days as f64)
            ),
        ];
        for (_, part) in CHANGES {
            let mut delays = crate::parallel(runs, |number| {
                delay(
                    traffic,
                    part,
                    &run.settings,
                    run.seed ^ 0xde1,
                    number as u64,
                )
            });
            delays.sort_unstable();
            let told = [0.5, 0.9].map(|at| match delays[(runs as f64 * at) as usize] {
                usize::MAX => format!("not in {HORIZON} days"),
                buckets => format!("{buckets} {unit}"),
            });
            cells.push(told.join(", "));
        }
        lines.push(cells);
        run.figures(
            report,
            &format!("false_volume_tickets_{name}"),
            per_thousand,
            Goal::AtMost(2.7),
            Some(Goal::AtMost(1.0)),
        );
    }
    let mut columns = vec!["traffic", "false tickets in 1,000 days"];
    columns.extend(CHANGES.map(|(change, _)| change));
    report.table(
        "The volume: tickets where it is as usual, and after how many days or hours a change is seen, median and 90th percentile:",
        &columns,
        lines,
    );
    Ok(())
}
