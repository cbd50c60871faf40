//! False alarms: episodes that open on days on which nothing happened.

use std::collections::BTreeMap;

use bellwether::stats::detector::{
    Change, Episode, Grain, Observation, Reference, Settings, Status, Verdict,
};

use crate::random::Random;
use crate::streams::{Calm, Counting, Day, Feature, World, observation};

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
pub struct Tally {
    pub days: usize,
    pub episodes: usize,
    pub candidate_feature_days: usize,
    pub feature_days: usize,
    /// Which window and score the candidates came from.
    pub causes: BTreeMap<String, usize>,
    /// Counts of `ln(p/α)` over models' days, for rates at other α: below ln of these.
    pub at_times_alpha: [usize; 3],
}

pub const TIMES_ALPHA: [f64; 3] = [3.0, 1.0, 0.3];

impl Tally {
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
        let low = if self.episodes == 0 { 0.0 } else { limit(count, -1.96) };
        let high = limit(count + 1.0, 1.96);
        let scale = 1_000.0 / self.days.max(1) as f64;
        (low * scale, high * scale)
    }
}

/// One reference and the days after it.
pub fn block(case: &Case, settings: &Settings, seed: u64, number: u64) -> Tally {
    let mut world =
        World::new(case.features.clone(), case.calm, case.rows, Random::of(seed, 2 * number));
    let before: Vec<Day> = (0..case.reference_days).map(|day| world.day(day, &[], 0.0)).collect();
    let (mut counting, tallies) =
        Counting::of_reference(&before, Random::of(seed, 2 * number + 1));
    let days = counting.feature_days(&tallies);
    let reference =
        Reference::fit(Grain::Day, &days, &[], settings.clone()).expect("a reference");
    let after: Vec<Day> =
        (0..BLOCK).map(|day| world.day(case.reference_days + day, &[], 0.0)).collect();
    let mut history: Vec<Vec<bellwether::stats::detector::Tally>> = vec![Vec::new(); case.features.len()];
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
    past: &[bellwether::stats::detector::Tally],
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
    pub tally: Tally,
    episode: Episode,
    least: Option<f64>,
}

impl Alarms {
    pub fn see(&mut self, verdict: &Verdict) {
        self.tally.feature_days += 1;
        if let Some(evidence) = verdict.evidence() {
            self.least = Some(self.least.map_or(evidence, |least| least.min(evidence)));
        }
        if verdict.status == Status::Candidate {
            self.tally.candidate_feature_days += 1;
            if let Some(cause) = &verdict.deciding {
                let score = format!("{:?}", cause.score);
                let score = score.split('(').next().unwrap_or_default();
                *self.tally.causes.entry(format!("{score} {}d", cause.window)).or_default() += 1;
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
pub fn measure(case: &Case, settings: &Settings, days: usize, seed: u64) -> Tally {
    let blocks = days.div_ceil(BLOCK);
    let mut total = Tally::default();
    for tally in crate::parallel(blocks, |number| block(case, settings, seed, number as u64)) {
        total.add(&tally);
    }
    total
}
