//! What becomes of changes day by day: when a feature is a candidate, since when it is said to be one, how many episodes a
//! change makes, and whether the right features are named.

use bellwether::stats::detector::{
    Change, Episode, Grain, Reference, Settings, Status, Tally, Verdict,
};

use crate::changes::Drift;
use crate::counting::Counting;
use crate::kinds::Kind;
use crate::quiet::judge;
use crate::random::Random;
use crate::streams::{Calm, Day, FIRST_DAY, World, thirty_features};

const REFERENCE_DAYS: usize = 28;
pub const HORIZON: usize = 28;

/// How a change comes about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// At once, to stay.
    Sudden,
    /// Evenly over so many days.
    Ramp(usize),
    /// For one day.
    Transient,
    /// For two days of every seven.
    Recurring,
}

impl Course {
    pub const ALL: [Self; 5] = [
        Self::Sudden,
        Self::Ramp(7),
        Self::Ramp(28),
        Self::Transient,
        Self::Recurring,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Sudden => "sudden".to_owned(),
            Self::Ramp(days) => format!("ramp of {days} days"),
            Self::Transient => "one day".to_owned(),
            Self::Recurring => "two days of seven".to_owned(),
        }
    }

    fn part(self, day: usize) -> f64 {
        match self {
            Self::Sudden => 1.0,
            Self::Ramp(days) => ((day + 1) as f64 / days as f64).min(1.0),
            Self::Transient => f64::from(u8::from(day == 0)),
            Self::Recurring => f64::from(u8::from(day % 7 < 2)),
        }
    }
}

/// Days after which a feature was a candidate, for each run; `None` if it never was.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    days: Vec<Option<usize>>,
    /// How far the start named was from the day of the change.
    pub start_errors: Vec<f64>,
}

impl Delays {
    pub fn within(&self, days: usize) -> f64 {
        let seen = self
            .days
            .iter()
            .filter(|day| day.is_some_and(|day| day <= days))
            .count();
        seen as f64 / self.days.len() as f64
    }

    /// The median delay in days; one more than the horizon if half of the runs never saw it.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn quantile(&self, part: f64) -> f64 {
        let days = self.days.iter().map(|day| day.unwrap_or(HORIZON + 1));
        let mut days: Vec<usize> = days.collect();
        days.sort_unstable();
        days[(days.len() as f64 * part) as usize] as f64
    }

    /// The shares seen within 1, 7 and 28 days, and the median and 90th percentile of the delay.
    pub fn told(&self) -> String {
        let shares = [1, 7, 28].map(|days| {
            let share = format!("{:.2}", self.within(days));
            // All and none in one character.
            match share.as_str() {
                "1.00" => "1".to_owned(),
                "0.00" => "0".to_owned(),
                part => part[1..].to_owned(),
            }
        });
        let [median, most] = [0.5, 0.9].map(|part| told_days(self.quantile(part)));
        format!("{}; {median}, {most}", shares.join(" "))
    }
}

/// A delay in days, if it is one.
pub fn told_days(days: f64) -> String {
    if days > HORIZON as f64 {
        "–".to_owned()
    } else {
        format!("{days}")
    }
}

/// A model whose days are drawn and judged one by one.
pub struct Model {
    world: World,
    counting: Counting,
    pub reference: Reference,
    history: Vec<Vec<Tally>>,
    day: usize,
}

impl Model {
    pub fn new(calm: Calm, rows: u64, settings: &Settings, seed: u64, run: u64) -> Self {
        let mut world = World::new(thirty_features(), calm, rows, Random::of(seed, 2 * run));
        let before: Vec<Day> = (0..REFERENCE_DAYS)
            .map(|day| world.day(day, &[], 0.0))
            .collect();
        let (counting, tallies) = Counting::of_reference(&before, Random::of(seed, 2 * run + 1));
        let days = counting.feature_days(&tallies);
        let reference =
            Reference::fit(Grain::Day, &days, &[], settings.clone()).expect("a reference");
        let history = vec![Vec::new(); days.len()];
        Self {
            world,
            counting,
            reference,
            history,
            day: 0,
        }
    }

    /// The verdict on one feature on a day that is the first after the reference, whatever was asked before.
    pub fn first_day(&mut self, place: usize, drifts: &[(usize, Drift)]) -> Verdict {
        let day = self.world.day(REFERENCE_DAYS, drifts, 1.0);
        let tally = self.counting.count(&day, place);
        judge(&self.reference, place, &[tally], REFERENCE_DAYS)
    }

    /// The days asked for so far, by feature.
    pub fn history(&self) -> &[Vec<Tally>] {
        &self.history
    }

    /// The verdicts on the next day.
    pub fn next(&mut self, drifts: &[(usize, Drift)], part: f64) -> Vec<Verdict> {
        let all: Vec<usize> = (0..self.history.len()).collect();
        self.next_of(&all, drifts, part)
    }

    /// The verdicts on some features on the next day.
    pub fn next_of(
        &mut self,
        places: &[usize],
        drifts: &[(usize, Drift)],
        part: f64,
    ) -> Vec<Verdict> {
        let day = self.world.day(REFERENCE_DAYS + self.day, drifts, part);
        self.day += 1;
        let verdicts = places.iter().map(|&place| {
            self.history[place].push(self.counting.count(&day, place));
            judge(&self.reference, place, &self.history[place], REFERENCE_DAYS)
        });
        verdicts.collect()
    }
}

/// Where and how often changes are made.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a> {
    pub calm: Calm,
    pub rows: u64,
    pub runs: usize,
    pub settings: &'a Settings,
    pub seed: u64,
}

impl Runs<'_> {
    fn model(&self, run: usize) -> Model {
        Model::new(self.calm, self.rows, self.settings, self.seed, run as u64)
    }

    /// The delays of every kind of change, all in the same runs, each in a feature of its own.
    pub fn delays(&self, kinds: &[Kind], course: Course) -> Vec<Delays> {
        let drifts: Vec<(usize, Drift)> = kinds
            .iter()
            .map(|kind| (kind.place, kind.drift.clone()))
            .collect();
        let places: Vec<usize> = kinds.iter().map(|kind| kind.place).collect();
        let all = crate::parallel(self.runs, |run| {
            let mut model = self.model(run);
            let mut seen: Vec<Option<(usize, f64)>> = vec![None; kinds.len()];
            for day in 0..HORIZON {
                let verdicts = model.next_of(&places, &drifts, course.part(day));
                for (seen, verdict) in seen.iter_mut().zip(&verdicts) {
                    if seen.is_none() && verdict.status == Status::Candidate {
                        let first = FIRST_DAY + REFERENCE_DAYS as i64;
                        let error = verdict.since.map_or(0, |since| since - first).abs();
                        *seen = Some((day + 1, error as f64));
                    }
                }
            }
            seen
        });
        let mut delays = vec![Delays::default(); kinds.len()];
        for run in all {
            for (delays, seen) in delays.iter_mut().zip(run) {
                delays.days.push(seen.map(|(day, _)| day));
                delays.start_errors.extend(seen.map(|(_, error)| error));
            }
        }
        delays
    }

    /// How many episodes a change makes in sixty days, for each kind of change alone that is seen at all; the mean.
    pub fn episodes_per_change(&self, kinds: &[Kind], course: Course) -> f64 {
        let episodes = crate::parallel(self.runs, |run| {
            let kind = &kinds[run % kinds.len()];
            let drift = [(kind.place, kind.drift.clone())];
            let mut model = self.model(run);
            let (mut episode, mut opened) = (Episode::default(), 0);
            for day in 0..60 {
                let verdicts = model.next(&drift, course.part(day));
                let evidence = verdicts.iter().filter_map(Verdict::evidence);
                let least = evidence.min_by(f64::total_cmp);
                let (next, change) = episode.step(day as i64, 1.0, least, None);
                episode = next;
                opened += usize::from(change == Change::Opened);
            }
            opened
        });
        let seen: Vec<usize> = episodes.into_iter().filter(|count| *count > 0).collect();
        seen.iter().sum::<usize>() as f64 / seen.len().max(1) as f64
    }

    /// Three features change at once; how many of the three most surprising on the seventh day are among them.
    pub fn precision_at_three(&self, kinds: &[Kind]) -> f64 {
        let hits = crate::parallel(self.runs, |run| {
            let mut random = Random::of(self.seed ^ 0x5eed, run as u64);
            let mut order: Vec<usize> = (0..kinds.len()).collect();
            random.shuffle(&mut order);
            let mut drifts: Vec<(usize, Drift)> = Vec::new();
            for kind in order {
                let Kind { place, drift, .. } = &kinds[kind];
                if drifts.len() < 3 && drifts.iter().all(|(own, _)| own != place) {
                    drifts.push((*place, drift.clone()));
                }
            }
            let mut model = self.model(run);
            let mut verdicts = Vec::new();
            for _ in 0..7 {
                verdicts = model.next(&drifts, 1.0);
            }
            let mut ranked: Vec<usize> = (0..verdicts.len()).collect();
            let evidence = |place: &usize| verdicts[*place].evidence().unwrap_or(f64::INFINITY);
            ranked.sort_by(|a, b| evidence(a).total_cmp(&evidence(b)));
            ranked[..3]
                .iter()
                .filter(|place| drifts.iter().any(|(own, _)| own == *place))
                .count()
        });
        hits.iter().sum::<usize>() as f64 / (3 * hits.len()) as f64
    }
}
