//! False alarms: episodes that open on days on which nothing happened.

use std::collections::BTreeMap;

use bellwether::stats::detector::{
    Change, Episode, Grain, Observation, Reference, Settings, Status, Tally, Verdict,
};

use crate::Run;
use crate::counting::{Counting, observation};
use crate::figures::{Goal, Report, thousands};
use crate::pictures::{self, Bars};
use crate::random::Random;
use crate::streams::{Calm, Day, Feature, World, thirty_features, zipf};

/// What is asked about: how nothing happens, with how many rows, features and days of reference.
#[derive(Debug, Clone)]
pub struct Case {
    pub calm: Calm,
    pub rows: u64,
    pub features: Vec<Feature>,
    pub reference_days: usize,
    /// The share of a day's rows that come after it was judged once; then it is judged again.
    pub late: f64,
}

impl Case {
    pub fn of(calm: Calm, rows: u64, features: Vec<Feature>) -> Self {
        Self {
            calm,
            rows,
            features,
            reference_days: 28,
            late: 0.0,
        }
    }
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
            let whole = counting.count(day, place);
            if case.late > 0.0 {
                past.push(counting.before(case.late, &whole));
                alarms.see(&judge(&reference, place, past, case.reference_days));
                past.pop();
            }
            past.push(whole);
            alarms.see(&judge(&reference, place, past, case.reference_days));
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
                    .entry(format!("{feature} {score}").trim().to_owned())
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
    let of = |name, case, goals, times| Promise {
        name,
        case,
        goals,
        times,
    };
    let promised = |name, calm, rows, goals, times| {
        of(
            name,
            Case::of(calm, rows, thirty_features()),
            Some(goals),
            times,
        )
    };
    let told = |name, calm, rows| of(name, Case::of(calm, rows, thirty_features()), None, 1);
    let differing = Calm::DIFFERING;
    let wandering = |part: f64| Calm {
        name: "days wander",
        wandering: part,
        ..differing
    };
    let three_hundred = || (0..10).flat_map(|_| thirty_features()).collect();
    let weekends = Case {
        reference_days: 56,
        ..Case::of(
            Calm {
                name: "weekends",
                weekend: 0.3,
                ..differing
            },
            1_000,
            thirty_features(),
        )
    };
    let late = Case {
        late: 0.1,
        ..Case::of(differing, 1_000, thirty_features())
    };
    let by = |day: f64| Calm { day, ..differing };
    let five = thirty_features().into_iter().step_by(6).collect();
    // A model whose every other category is an identifier of some kind.
    let identifiers = |levels: &[usize]| -> Vec<Feature> {
        let all = levels.iter().flat_map(|levels| {
            [1.0, 0.5, 0.0].map(|exponent| Feature::Category(zipf(*levels, exponent)))
        });
        all.collect()
    };
    vec![
        promised("alike_1000_rows", Calm::IID, 1_000, (0.5, 0.2), 4),
        promised("alike_100_rows", Calm::IID, 100, (1.0, 0.5), 2),
        of(
            "alike_300_features",
            Case::of(Calm::IID, 1_000, three_hundred()),
            Some((1.0, 0.5)),
            1,
        ),
        promised("days_differ", differing, 1_000, (2.7, 1.0), 4),
        of("weekday_pattern", weekends, Some((1.5, 0.7)), 4),
        promised("wandering_0.6", wandering(0.6), 1_000, (5.0, 2.7), 4),
        told("days_differ_50_rows", differing, 50),
        told("days_differ_100_rows", differing, 100),
        of(
            "days_differ_300_rows",
            Case::of(differing, 300, thirty_features()),
            None,
            2,
        ),
        told("days_differ_10000_rows", differing, 10_000),
        told("days_differ_100000_rows", differing, 100_000),
        told("days_differ_0.02", by(0.02), 1_000),
        told("days_differ_0.1", by(0.1), 1_000),
        told("wandering_0.3", wandering(0.3), 1_000),
        told("wandering_0.8", wandering(0.8), 1_000),
        told(
            "heavy_tails",
            Calm {
                name: "heavy tails",
                heavy: true,
                ..differing
            },
            1_000,
        ),
        told(
            "volume_swings",
            Calm {
                name: "volume swings",
                swings: true,
                ..differing
            },
            1_000,
        ),
        told(
            "rows_twice_1_percent",
            Calm {
                name: "1 % of rows come twice",
                repeated: 0.01,
                ..differing
            },
            1_000,
        ),
        told(
            "days_sent_twice",
            Calm {
                name: "every tenth day is sent twice",
                twice_every: Some(10),
                ..differing
            },
            1_000,
        ),
        of("late_rows_10_percent", late, None, 1),
        of("five_features", Case::of(differing, 1_000, five), None, 1),
        of(
            "days_differ_300_features",
            Case::of(differing, 1_000, three_hundred()),
            None,
            1,
        ),
        of(
            "a_thousand_to_ten_thousand_categories",
            Case::of(differing, 1_000, identifiers(&[1_000, 10_000])),
            None,
            1,
        ),
        of(
            "a_hundred_thousand_categories",
            Case::of(differing, 10_000, identifiers(&[100_000])),
            None,
            1,
        ),
    ]
}

/// The table and figures of false alarms.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let days = if run.long { 20_000 } else { 1_000 };
    let (mut lines, mut bars) = (Vec::new(), Vec::new());
    for promise in promises() {
        let days = if run.long { days } else { days * promise.times };
        let count = measure(&promise.case, &run.settings, days, run.seed);
        eprintln!("  {}: {:.2}", promise.name, count.per_thousand());
        let (low, high) = count.interval();
        let told = format!(
            "{:.2} ({low:.2} to {high:.2}) of {} days",
            count.per_thousand(),
            thousands(count.days as f64)
        );
        let at = count
            .at_times_alpha
            .map(|days| format!("{:.2}", 1_000.0 * days as f64 / count.days as f64));
        let causes = count.causes.iter();
        let causes: Vec<String> = causes
            .map(|(score, days)| format!("{score} {days}"))
            .collect();
        lines.push(vec![
            promise.name.replace('_', " "),
            told.clone(),
            at.join(" / "),
            causes.join(", "),
        ]);
        if let Some((gate, stretch)) = promise.goals {
            run.figures(
                report,
                &format!("false_episodes_{}", promise.name),
                count.per_thousand(),
                Goal::AtMost(gate),
                Some(Goal::AtMost(stretch)),
            );
        }
        bars.push(Bars {
            label: promise.name.replace('_', " "),
            values: vec![count.per_thousand()],
            told,
        });
    }
    let [more, own, less] = TIMES_ALPHA;
    let at = format!("days called drift at {more} / {own} / {less} α");
    let columns = [
        "stream",
        "false episodes in 1,000 days",
        &at,
        "feature-days called drift, by score",
    ];
    report.table(
        "Days of a model on which nothing happens, in 1,000 of them:",
        &columns,
        lines,
    );
    let most = bars.iter().map(|row| row.values[0]).fold(5.0, f64::max);
    run.show(&pictures::bars(
        "detection-false-alarms.svg",
        "False episodes in 1,000 days of a model",
        &["Bellwether"],
        &bars,
        most,
    )?)
}
