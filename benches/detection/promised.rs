//! The smallest change that is promised to be seen, made in exactly that size: how often it is seen in that many days.

use bellwether::stats::detector::{ScoreKind, SmallestChange, Status, Verdict};
use bellwether::stats::tails::normal_quantile;

use crate::Run;
use crate::changes::{Becomes, Drift};
use crate::course::Model;
use crate::figures::{Goal, Report};
use crate::kinds::with_new;
use crate::matched::ROWS;
use crate::shapes::Moved;
use crate::streams::{Calm, Feature, normalised, thirty_features};

/// What is promised for so many days.
const DAYS: [usize; 3] = [1, 7, 28];

/// A score of one of the thirty features, and the change that moves it by so much.
struct Promise {
    name: &'static str,
    place: usize,
    score: ScoreKind,
    change: fn(usize, &SmallestChange) -> Drift,
}

fn promises() -> Vec<Promise> {
    let of = |name, place, score, change| Promise {
        name,
        place,
        score,
        change,
    };
    let category = |level: usize| ScoreKind::Category(format!("level {level}"));
    vec![
        of("centre of a normal", 0, ScoreKind::Centre, normal_shift),
        of(
            "centre of an exponential",
            9,
            ScoreKind::Centre,
            exponential_shift,
        ),
        of(
            "share of one of two categories, 50 %",
            20,
            category(1),
            second_level,
        ),
        of(
            "share of one of two categories, 2 %",
            21,
            category(1),
            second_level,
        ),
        of(
            "share of one of eight categories, 18 %",
            24,
            category(1),
            second_level,
        ),
        of(
            "share of one of fifty categories, 11 %",
            27,
            category(1),
            second_level,
        ),
        of("missing where none was", 1, ScoreKind::Missing, missing),
        of(
            "a new category beside twelve",
            25,
            ScoreKind::Unseen,
            new_category,
        ),
    ]
}

fn moved(shift: f64) -> Drift {
    Drift::Number(Moved { shift, scale: 1.0 })
}

/// The centre is the rank in the reference with mean 0 and variance 1: of a normal moved by δ, its mean is √3·(2Φ(δ/√2) − 1).
fn normal_shift(_: usize, smallest: &SmallestChange) -> Drift {
    let rank = (smallest.effect / 3_f64.sqrt()).min(0.999);
    moved(2_f64.sqrt() * normal_quantile(f64::midpoint(rank, 1.0)))
}

/// Of an exponential moved by δ it is √3·(1 − exp(−δ)).
fn exponential_shift(_: usize, smallest: &SmallestChange) -> Drift {
    let rank = (smallest.effect / 3_f64.sqrt()).min(0.999);
    moved(-(-rank).ln_1p())
}

fn shares_of(place: usize) -> Vec<f64> {
    match thirty_features().swap_remove(place) {
        Feature::Category(shares) => shares,
        Feature::Number(_) => unreachable!("a promise of shares is of categories"),
    }
}

/// By how much the share is promised to rise.
fn rise(smallest: &SmallestChange) -> f64 {
    smallest.shares.map_or(0.0, |(from, to)| to - from)
}

/// The second category gains what all others lose.
fn second_level(place: usize, smallest: &SmallestChange) -> Drift {
    let before = shares_of(place);
    let own = (before[1] + rise(smallest)).min(1.0);
    let others = (1.0 - own) / (1.0 - before[1]);
    let after = before.iter().enumerate().map(
        |(level, share)| {
            if level == 1 { own } else { share * others }
        },
    );
    Drift::Category(normalised(after.collect()))
}

fn missing(_: usize, smallest: &SmallestChange) -> Drift {
    Drift::Rows(rise(smallest), Becomes::Missing)
}

fn new_category(place: usize, smallest: &SmallestChange) -> Drift {
    Drift::Category(with_new(shares_of(place), rise(smallest)))
}

/// How often a change of the promised size was seen, and how large it was in the mean.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    promised: usize,
    seen: usize,
    effects: f64,
    shares: f64,
}

impl Kept {
    fn add(&mut self, other: &Self) {
        self.promised += other.promised;
        self.seen += other.seen;
        self.effects += other.effects;
        self.shares += other.shares;
    }

    fn share(self) -> f64 {
        self.seen as f64 / self.promised as f64
    }

    fn told(self) -> String {
        if self.promised == 0 {
            return "nothing is promised".to_owned();
        }
        let promised = self.promised as f64;
        let rise = self.shares / promised;
        let size = if rise > 0.0 {
            format!("{:.2} points", 100.0 * rise)
        } else {
            format!("{:.3} σ", self.effects / promised)
        };
        format!("{size}: {:.3}", self.share())
    }
}

/// One reference, the promises it gives for so many days, and whether they are kept on the last of these.
fn kept(run: &Run, calm: Calm, promises: &[Promise], days: usize, number: u64) -> Vec<Kept> {
    let mut model = Model::new(calm, ROWS, &run.settings, run.seed, number);
    let smallest: Vec<Option<SmallestChange>> = promises
        .iter()
        .map(|promise| {
            let changes = model.reference.smallest_changes(promise.place);
            let is_of_window = |change: &SmallestChange| {
                change.score == promise.score && change.days == days as f64
            };
            changes.into_iter().find(is_of_window)
        })
        .collect();
    let places: Vec<usize> = promises.iter().map(|promise| promise.place).collect();
    let drifts: Vec<(usize, Drift)> = promises
        .iter()
        .zip(&smallest)
        .filter_map(|(promise, smallest)| {
            let drift = (promise.change)(promise.place, smallest.as_ref()?);
            Some((promise.place, drift))
        })
        .collect();
    let mut verdicts = Vec::new();
    for _ in 0..days {
        verdicts = model.next_of(&places, &drifts, 1.0);
    }
    let of_promise = |(smallest, verdict): (&Option<SmallestChange>, &Verdict)| {
        smallest
            .as_ref()
            .map_or_else(Kept::default, |smallest| Kept {
                promised: 1,
                seen: usize::from(verdict.status == Status::Candidate),
                effects: smallest.effect,
                shares: rise(smallest),
            })
    };
    smallest.iter().zip(&verdicts).map(of_promise).collect()
}

/// The table of promises and the figures of how often they are kept.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let runs = if run.long { 2_000 } else { 300 };
    let promises = promises();
    for (calm, name) in [(Calm::IID, "days_alike"), (Calm::DIFFERING, "days_differ")] {
        let mut lines: Vec<Vec<String>> = promises
            .iter()
            .map(|promise| vec![promise.name.to_owned()])
            .collect();
        for days in DAYS {
            let mut sums = vec![Kept::default(); promises.len()];
            let all = crate::parallel(runs, |number| {
                kept(run, calm, &promises, days, number as u64)
            });
            for one in &all {
                for (sum, kept) in sums.iter_mut().zip(one) {
                    sum.add(kept);
                }
            }
            for (line, sum) in lines.iter_mut().zip(&sums) {
                line.push(sum.told());
            }
            let promised = sums.iter().filter(|sum| sum.promised > 0);
            run.figures(
                report,
                &format!("promise_kept_least_share_{name}_{days}_days"),
                promised.map(|sum| sum.share()).fold(1.0, f64::min),
                Goal::AtLeast(0.86),
                Some(Goal::AtLeast(0.9)),
            );
        }
        report.table(
            format!("The smallest change that is promised to be seen with a chance of 90 %, made in that size: how large, and in what share of {runs} references it was a finding on the last day; {}, {ROWS} rows a day:", calm.name),
            &["change", "in 1 day", "in 7 days", "in 28 days"],
            lines,
        );
    }
    Ok(())
}
