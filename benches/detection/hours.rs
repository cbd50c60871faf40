//! The hour as the unit of chance: how quiet the detector is where the hours of a day go together, and after how many
//! hours it sees a change.

use std::f64::consts::TAU;

use bellwether::stats::detector::{
    Change, Episode, Grain, Observation, Reference, Settings, Status, Tally,
};

use crate::Run;
use crate::changes::{Drift, Numbers};
use crate::counting::Counting;
use crate::figures::{Goal, Report, thousands};
use crate::random::Random;
use crate::shapes::Moved;
use crate::streams::{
    Calm, Day, DayOfFeature, FIRST_DAY, World, normalised, thirty_features, zipf,
};

const HOURS: usize = 24;
const REFERENCE_DAYS: usize = 28;
/// Days judged before the reference is fitted anew.
const BLOCK: usize = 50;
/// A change is followed for so many days.
const HORIZON: usize = 14;

/// How nothing happens by the hour: as days do, and what hours add to it.
#[derive(Debug, Clone, Copy)]
struct Hourly {
    calm: Calm,
    /// Every hour moves each number by so many deviations, and categories' logits by twice that.
    hour: f64,
    /// Half of the numbers swing by so many deviations over the day.
    pattern: f64,
    /// Rows of an hour, more by day than by night.
    rows: u64,
}

impl Hourly {
    fn hours(&self, day: &Day, random: &mut Random) -> Vec<Day> {
        (0..HOURS)
            .map(|hour| {
                let wave = (TAU * hour as f64 / HOURS as f64).sin();
                let features = day.features.iter().enumerate();
                Day {
                    repeated: day.repeated,
                    rows: (self.rows as f64 * (1.0 + 0.6 * wave)) as u64,
                    features: features
                        .map(|(place, feature)| self.moved(place, feature, wave, random))
                        .collect(),
                }
            })
            .collect()
    }

    fn moved(
        &self,
        place: usize,
        feature: &DayOfFeature,
        wave: f64,
        random: &mut Random,
    ) -> DayOfFeature {
        match feature {
            DayOfFeature::Number(numbers) => {
                let pattern = if place < 10 { self.pattern * wave } else { 0.0 };
                let shift = numbers.moved.shift + pattern + self.hour * random.normal();
                let moved = Moved {
                    shift,
                    ..numbers.moved
                };
                DayOfFeature::Number(Numbers { moved, ..*numbers })
            }
            DayOfFeature::Category(shares) => {
                let wobble = |share: &f64| share * (2.0 * self.hour * random.normal()).exp();
                DayOfFeature::Category(normalised(shares.iter().map(wobble).collect()))
            }
        }
    }
}

/// A model whose hours after the reference can be asked for.
struct Course {
    hourly: Hourly,
    world: World,
    counting: Counting,
    reference: Reference,
    random: Random,
    history: Vec<Vec<Tally>>,
    days: usize,
}

/// What is said of an hour: the least `ln(p/α)` of the features, and which are candidates.
struct Said {
    evidence: Option<f64>,
    candidates: Vec<usize>,
}

impl Course {
    fn of(hourly: Hourly, settings: &Settings, seed: u64, number: u64) -> Self {
        let mut world = World::new(
            thirty_features(),
            hourly.calm,
            hourly.rows,
            Random::of(seed, 3 * number),
        );
        let mut random = Random::of(seed, 3 * number + 2);
        let before: Vec<Day> = (0..REFERENCE_DAYS)
            .flat_map(|day| hourly.hours(&world.day(day, &[], 0.0), &mut random))
            .collect();
        let (counting, tallies) = Counting::of_reference(&before, Random::of(seed, 3 * number + 1));
        let features = counting.feature_buckets(&tallies, bucket(0));
        let reference = Reference::fit(Grain::Hour, &features, &[], settings.clone());
        Self {
            hourly,
            world,
            reference: reference.expect("a reference"),
            history: vec![Vec::new(); tallies.len()],
            counting,
            random,
            days: REFERENCE_DAYS,
        }
    }

    /// The hours of the next day.
    fn next(&mut self, drifts: &[(usize, Drift)]) -> Vec<Said> {
        let day = self.world.day(self.days, drifts, 1.0);
        self.days += 1;
        let hours = self.hourly.hours(&day, &mut self.random);
        hours.iter().map(|hour| self.said(hour)).collect()
    }

    fn said(&mut self, hour: &Day) -> Said {
        let mut said = Said {
            evidence: None,
            candidates: Vec::new(),
        };
        for (place, past) in self.history.iter_mut().enumerate() {
            past.push(self.counting.count(hour, place));
            let from = past.len().saturating_sub(self.reference.longest_window());
            let first = bucket(REFERENCE_DAYS);
            let recent: Vec<Observation<'_>> = (past.iter().enumerate().skip(from))
                .map(|(hour, tally)| Observation {
                    bucket: first + hour as i64,
                    holiday: false,
                    tally,
                })
                .collect();
            let verdict = self.reference.evaluate(place, &recent).expect("a verdict");
            if let Some(evidence) = verdict.evidence() {
                said.evidence = Some(said.evidence.map_or(evidence, |least| least.min(evidence)));
            }
            if verdict.status == Status::Candidate {
                said.candidates.push(place);
            }
        }
        said
    }
}

/// The number of a day's first hour.
fn bucket(day: usize) -> i64 {
    (FIRST_DAY + day as i64) * HOURS as i64
}

/// Episodes that open in a block of days on which nothing happens.
fn episodes(hourly: Hourly, settings: &Settings, seed: u64, number: u64) -> usize {
    let mut course = Course::of(hourly, settings, seed, number);
    let (mut episode, mut opened) = (Episode::default(), 0);
    let mut hour = 0;
    for _ in 0..BLOCK {
        for said in course.next(&[]) {
            let (next, change) = episode.step(hour, HOURS as f64, said.evidence, None);
            episode = next;
            opened += usize::from(change == Change::Opened);
            hour += 1;
        }
    }
    opened
}

/// Changes of a feature, by its place.
fn kinds() -> Vec<(&'static str, (usize, Drift))> {
    let moved = |shift: f64| Drift::Number(Moved { shift, scale: 1.0 });
    let mut new = zipf(12, 1.0);
    for share in &mut new {
        *share *= 0.99;
    }
    new.push(0.01);
    vec![
        ("normal +0.5 σ", (0, moved(0.5))),
        ("normal +0.2 σ", (2, moved(0.2))),
        ("normal +0.1 σ", (4, moved(0.1))),
        ("lognormal +0.1 σ", (6, moved(0.1))),
        (".50 to .55", (20, Drift::Category(vec![0.55, 0.45]))),
        ("a new category, 1 %", (25, Drift::Category(new))),
    ]
}

/// The hours until each kind of change is seen; `None` for those that were not.
fn delays(hourly: Hourly, settings: &Settings, seed: u64, number: u64) -> Vec<Option<usize>> {
    let mut course = Course::of(hourly, settings, seed, number);
    let kinds = kinds();
    let drifts: Vec<(usize, Drift)> = kinds.iter().map(|(_, drift)| drift.clone()).collect();
    let mut seen = vec![None; kinds.len()];
    let mut hour = 0;
    for _ in 0..HORIZON {
        for said in course.next(&drifts) {
            hour += 1;
            for (seen, (place, _)) in seen.iter_mut().zip(&drifts) {
                if seen.is_none() && said.candidates.contains(place) {
                    *seen = Some(hour);
                }
            }
        }
    }
    seen
}

/// The tables of false alarms and delays by the hour.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let (days, runs) = if run.long { (10_000, 200) } else { (500, 10) };
    let alike = Hourly {
        calm: Calm::IID,
        hour: 0.0,
        pattern: 0.0,
        rows: 400,
    };
    let differing = Hourly {
        calm: Calm::DIFFERING,
        hour: 0.05,
        ..alike
    };
    let patterned = Hourly {
        calm: Calm {
            weekend: 0.3,
            ..differing.calm
        },
        pattern: 0.5,
        ..differing
    };
    let cases = [
        ("hours_alike", alike, Some(0.5)),
        ("hours_and_days_differ", differing, Some(2.7)),
        ("hours_of_days_with_a_pattern", patterned, Some(2.7)),
    ];
    for (name, hourly, gate) in cases {
        let blocks = days / BLOCK;
        let counts = crate::parallel(blocks, |number| {
            episodes(hourly, &run.settings, run.seed, number as u64)
        });
        let count: usize = counts.iter().sum();
        let per_thousand = 1_000.0 * count as f64 / (blocks * BLOCK) as f64;
        report.tell(
            format!("false episodes in 1,000 days of a model judged by the hour, {name}"),
            format!(
                "{per_thousand:.2}, {count} in {} days",
                thousands((blocks * BLOCK) as f64)
            ),
        );
        if let Some(gate) = gate.filter(|_| run.long) {
            let name = format!("false_episodes_{name}");
            run.figures(report, &name, per_thousand, Goal::AtMost(gate), None);
        }
        let seen = crate::parallel(runs, |number| {
            delays(hourly, &run.settings, run.seed, number as u64)
        });
        for (place, (kind, _)) in kinds().iter().enumerate() {
            let mut hours: Vec<usize> = (seen.iter())
                .map(|run| run[place].unwrap_or(usize::MAX))
                .collect();
            hours.sort_unstable();
            let median = hours[hours.len() / 2];
            let told = if median == usize::MAX {
                format!("not within {HORIZON} days")
            } else {
                format!("{median}")
            };
            report.tell(format!("hours until {kind} is seen, median, {name}"), told);
        }
    }
    Ok(())
}
