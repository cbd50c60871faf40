//! False alarms: episodes that open on days on which nothing happened.

use std::collections::BTreeMap;

use bellwether::stats::detector::{
    Change, Episode, Grain, Observation, Reference, Settings, Status, Tally, Verdict,
};

use crate::Run;
use crate::figures::{Goal, Report, thousands};
use crate::pictures::{self, Bars};
use crate::random::Random;
use crate::streams::{Calm, Counting, Day, Feature, World, observation, thirty_features};

/// What is asked about: how nothing happens, with how many rows, features and days of reference.
#[derive(Debug, Clone)]
pub struct Case {
    pub calm: Calm,
    pub rows: u64,
    pub features: Vec<Feature>,
    pub reference_days: usize,
}

/// Days judged before the reference is fitted anew.
pub const BLOCK: usize = 100;

/// What happened on days on which nothing did.
#[derive(Debug, Clone, Default)]
pub struct Count {
    pub days: usize,
    pub episodes: usize,
    pub candidate_feature_days: usize,
    pub feature_days: usize,
    /// Which score the candidates came from, and how many feature-days.
    pub causes: BTreeMap<String, usize>,
    /// Counts of `ln(p/α)` over models' days, for rates at other α: below ln of these.
    pub at_times_alpha: [usize; 3],
}

pub const TIMES_ALPHA: [f64; 3] = [3.0, 1.0, 0.3];

impl Count {
    pub fn add(&mut self, other: &Self) {
        self.days += other.days;
        self.episodes += other.episodes;
        self.candidate_feature_days += other.candidate_feature_days;
        self.feature_days += other.feature_days;
        for (cause, count) in &other.causes {
            *self.causes.entry(cause.clone()).or_default() += count;
        }
        for (mine, theirs) in self.at_times_alpha.iter_mut().zip(other.at_times_alpha) {
            *mine += theirs;
        }
    }

    pub fn per_thousand(&self) -> f64 {
        1_000.0 * self.episodes as f64 / self.days.max(1) as f64
    }

    /// The 95 % interval of a Poisson count, per thousand days, by Garwood's exact limits as Byar approximated them.
    pub fn interval(&self) -> (f64, f64) {
        let count = self.episodes as f64;
        let limit = |n: f64, z: f64| n * (1.0 - 1.0 / (9.0 * n) + z / (3.0 * n.sqrt())).powi(3);
        let low = if self.episodes == 0 {
            0.0
        } else {
            limit(count, -1.96)
        };
        let high = limit(count + 1.0, 1.96);
        let scale = 1_000.0 / self.days.max(1) as f64;
        (low * scale, high * scale)
    }
}

/// One reference and the days after it.
pub fn block(case: &Case, settings: &Settings, seed: u64, number: u64) -> Count {
    let mut world = World::new(
        case.features.clone(),
        case.calm,
        case.rows,
        Random::of(seed, 2 * number),
    );
    let before: Vec<Day> = (0..case.reference_days)
        .map(|day| world.day(day, &[], 0.0))
        .collect();
    let (mut counting, tallies) = Counting::of_reference(&before, Random::of(seed, 2 * number + 1));
    let days = counting.feature_days(&tallies);
    let reference = Reference::fit(Grain::Day, &days, &[], settings.clone()).expect("a reference");
    let after: Vec<Day> = (0..BLOCK)
        .map(|day| world.day(case.reference_days + day, &[], 0.0))
        .collect();
    let mut history: Vec<Vec<Tally>> = vec![Vec::new(); case.features.len()];
    let mut alarms = Alarms::default();
    for (number, day) in after.iter().enumerate() {
        for (place, past) in history.iter_mut().enumerate() {
            past.push(counting.count(day, place));
            let verdict = judge(&reference, place, past, case.reference_days);
            alarms.see(&verdict);
        }
        alarms.end_day(case.reference_days + number);
    }
    alarms.tally
}

/// Judges the last of some days that follow a reference of so many days.
pub fn judge(
    reference: &Reference,
    place: usize,
    past: &[Tally],
    reference_days: usize,
) -> Verdict {
    let from = past.len().saturating_sub(reference.longest_window());
    let recent: Vec<Observation<'_>> = past
        .iter()
        .enumerate()
        .skip(from)
        .map(|(day, tally)| observation(reference_days + day, tally))
        .collect();
    reference.evaluate(place, &recent).expect("a verdict")
}

/// Counts alarms, day by day.
#[derive(Debug, Default)]
pub struct Alarms {
    pub tally: Count,
    episode: Episode,
    least: Option<f64>,
}

impl Alarms {
    pub fn see(&mut self, verdict: &Verdict) {
        self.see_named(verdict, "");
    }

    /// The same, with the feature's name among the causes.
    pub fn see_named(&mut self, verdict: &Verdict, feature: &str) {
        self.tally.feature_days += 1;
        if let Some(evidence) = verdict.evidence() {
            self.least = Some(self.least.map_or(evidence, |least| least.min(evidence)));
        }
        if verdict.status == Status::Candidate {
            self.tally.candidate_feature_days += 1;
            if let Some(cause) = &verdict.deciding {
                let score = format!("{:?}", cause.score);
                let score = score.split('(').next().unwrap_or_default();
                *self
                    .tally
                    .causes
                    .entry(format!("{feature} {score}"))
                    .or_default() += 1;
            }
        }
    }

    pub fn end_day(&mut self, day: usize) -> Change {
        self.tally.days += 1;
        for (count, times) in self.tally.at_times_alpha.iter_mut().zip(TIMES_ALPHA) {
            *count += usize::from(self.least.is_some_and(|least| least < times.ln()));
        }
        let (episode, change) = self.episode.step(day as i64, 1.0, self.least.take(), None);
        self.episode = episode;
        self.tally.episodes += usize::from(change == Change::Opened);
        change
    }
}

/// Counts over many references, on all cores.
pub fn measure(case: &Case, settings: &Settings, days: usize, seed: u64) -> Count {
    let blocks = days.div_ceil(BLOCK);
    let mut total = Count::default();
    for tally in crate::parallel(blocks, |number| block(case, settings, seed, number as u64)) {
        total.add(&tally);
    }
    total
}

/// What is promised of quiet: gate and stretch in episodes of a thousand days.
struct Promise {
    name: &'static str,
    case: Case,
    goals: Option<(f64, f64)>,
    /// How many days of the short form are judged, as a multiple.
    times: usize,
}

fn promises() -> Vec<Promise> {
    let differing = Calm {
        name: "days differ by 0.05 σ",
        day: 0.05,
        ..Calm::IID
    };
    let case = |calm: Calm, rows: u64, features: Vec<Feature>, reference_days: usize| Case {
        calm,
        rows,
        features,
        reference_days,
    };
    let thirty = thirty_features;
    let three_hundred = || (0..10).flat_map(|_| thirty_features()).collect::<Vec<_>>();
    let of = |name, case, goals, times| Promise {
        name,
        case,
        goals,
        times,
    };
    let wandering = |part: f64| Calm {
        name: "days wander",
        wandering: part,
        ..differing
    };
    vec![
        of(
            "alike_1000_rows",
            case(Calm::IID, 1_000, thirty(), 28),
            Some((0.5, 0.2)),
            4,
        ),
        of(
            "alike_100_rows",
            case(Calm::IID, 100, thirty(), 28),
            Some((1.0, 0.5)),
            2,
        ),
        of(
            "alike_300_features",
            case(Calm::IID, 1_000, three_hundred(), 28),
            Some((1.0, 0.5)),
            1,
        ),
        of(
            "days_differ",
            case(differing, 1_000, thirty(), 28),
            Some((2.7, 1.0)),
            4,
        ),
        of(
            "weekday_pattern",
            case(
                Calm {
                    name: "weekends",
                    weekend: 0.3,
                    ..differing
                },
                1_000,
                thirty(),
                56,
            ),
            Some((1.5, 0.7)),
            4,
        ),
        of(
            "wandering_0.6",
            case(wandering(0.6), 1_000, thirty(), 28),
            Some((5.0, 2.7)),
            4,
        ),
        of(
            "days_differ_300_rows",
            case(differing, 300, thirty(), 28),
            None,
            2,
        ),
        of(
            "days_differ_10000_rows",
            case(differing, 10_000, thirty(), 28),
            None,
            1,
        ),
        of(
            "days_differ_0.1",
            case(
                Calm {
                    day: 0.1,
                    ..differing
                },
                1_000,
                thirty(),
                28,
            ),
            None,
            1,
        ),
        of(
            "wandering_0.3",
            case(wandering(0.3), 1_000, thirty(), 28),
            None,
            1,
        ),
        of(
            "wandering_0.8",
            case(wandering(0.8), 1_000, thirty(), 28),
            None,
            1,
        ),
        of(
            "heavy_tails",
            case(
                Calm {
                    name: "heavy tails",
                    heavy: true,
                    ..differing
                },
                1_000,
                thirty(),
                28,
            ),
            None,
            1,
        ),
        of(
            "volume_swings",
            case(
                Calm {
                    name: "volume swings",
                    swings: true,
                    ..differing
                },
                1_000,
                thirty(),
                28,
            ),
            None,
            1,
        ),
        of(
            "five_features",
            case(
                differing,
                1_000,
                thirty().into_iter().step_by(6).collect(),
                28,
            ),
            None,
            1,
        ),
    ]
}

/// The table and figures of false alarms.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let days = if run.long { 20_000 } else { 1_000 };
    let mut rows = Vec::new();
    for promise in promises() {
        let days = if run.long { days } else { days * promise.times };
        let count = measure(&promise.case, &run.settings, days, run.seed);
        let (low, high) = count.interval();
        let told = format!(
            "{:.2} ({low:.2} to {high:.2}) of {} days",
            count.per_thousand(),
            thousands(count.days as f64)
        );
        report.tell(
            format!("false episodes in 1,000 days of a model, {}", promise.name),
            told.clone(),
        );
        let at = TIMES_ALPHA
            .iter()
            .zip(count.at_times_alpha)
            .map(|(times, days)| {
                format!(
                    "{:.2} at {times} α",
                    1_000.0 * days as f64 / count.days as f64
                )
            });
        report.tell(
            format!("the same as days called drift, {}", promise.name),
            at.collect::<Vec<_>>().join(", "),
        );
        if !count.causes.is_empty() {
            report.tell(
                format!("feature-days called drift by score, {}", promise.name),
                format!("{:?}", count.causes),
            );
        }
        if let Some((gate, stretch)) = promise.goals {
            run.figures(
                report,
                &format!("false_episodes_{}", promise.name),
                count.per_thousand(),
                Goal::AtMost(gate),
                Some(Goal::AtMost(stretch)),
            );
        }
        rows.push(Bars {
            label: promise.name.replace('_', " "),
            values: vec![count.per_thousand()],
            told,
        });
    }
    let most = rows.iter().map(|row| row.values[0]).fold(5.0, f64::max);
    run.show(&pictures::bars(
        "detection-false-alarms.svg",
        "False episodes in 1,000 days of a model",
        &["Bellwether"],
        &rows,
        most,
    )?)
}
