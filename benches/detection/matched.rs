//! The statistics themselves, at the same rate of false alarms: one day of 1,000 rows against 28,000, each statistic
//! with the cut-off that as many of its own values on days without a change exceed.
//!
//! The peers' statistics are computed by `stats::parity`, which is held against the peers. Their default cut-offs give
//! other rates by orders of magnitude, so that delays at defaults say little about who sees better.

use bellwether::stats::detector::{Settings, Status};
use bellwether::stats::parity::nannyml::{NumericReference, learned_threshold};
use bellwether::stats::parity::{CategoryCounts, Mode, NumberKind};
use bellwether::stats::samples::{Sample, wasserstein_normalised};

use crate::Run;
use crate::early::{Kind, Model, kinds};
use crate::figures::{Goal, Report};
use crate::lasting;
use crate::pictures::{self, Bars};
use crate::random::Random;
use crate::streams::{Calm, Drift, Feature, Moved, Shape, thirty_features};

pub const ROWS: u64 = 1_000;
/// How many values on calm days exceed a cut-off.
pub const EXCEEDING: usize = 10;
const REFERENCES: usize = 8;
/// Shares seen that differ by less are a draw.
const DRAW: f64 = 0.02;
/// From this share of days on a change is always seen.
const SEEN: f64 = 0.98;

pub struct Matched {
    pub kind: String,
    /// The share of changed days seen: ours, Evidently's statistic, NannyML's.
    pub seen: [f64; 3],
    /// The peers' share of calm days flagged, and of changed days seen, at their default cut-offs.
    pub defaults: [(f64, f64); 2],
}

/// A peer's statistic of many days, and of how many it is beyond the default cut-off.
struct Peer {
    values: Vec<f64>,
    beyond: usize,
}

impl Peer {
    fn of(values: Vec<f64>, cut: f64) -> Self {
        let beyond = values.iter().filter(|value| **value > cut).count();
        Self { values, beyond }
    }

    /// With the days that another reference was held against.
    fn and(mut self, other: Self) -> Self {
        self.values.extend(other.values);
        self.beyond += other.beyond;
        self
    }

    fn flagged(&self) -> f64 {
        self.beyond as f64 / self.values.len() as f64
    }
}

/// Evidently's default cut-off of distances.
const EVIDENTLY_CUT: f64 = 0.1;
/// NannyML learns its own from so many days.
const CHUNKS: usize = 28;

/// The share of changed days that each statistic sees.
pub fn compare(
    calm_days: usize,
    changed_days: usize,
    settings: &Settings,
    seed: u64,
) -> Vec<Matched> {
    let kinds = kinds();
    crate::parallel(kinds.len(), |index| {
        let kind = &kinds[index];
        let ours = [calm_days, changed_days].map(|days| {
            let drift = (days == changed_days).then_some(&kind.drift);
            ours(kind, drift, days, settings, seed)
        });
        let feature = &thirty_features()[kind.place];
        let peers = [calm_days, changed_days].map(|days| {
            let drift = (days == changed_days).then_some(&kind.drift);
            let each = days.div_ceil(REFERENCES);
            // As many references as ours has: how a single one happened to fall would decide.
            let of_reference = |reference: usize| {
                let mut random = Random::of(seed, (1_000 + index * REFERENCES + reference) as u64);
                match feature {
                    Feature::Number(shape) => of_numbers(*shape, drift, each, &mut random),
                    Feature::Category(shares) => of_categories(shares, drift, each, &mut random),
                }
            };
            let joined = (0..REFERENCES)
                .map(of_reference)
                .reduce(|[a, b], [c, d]| [a.and(c), b.and(d)]);
            joined.expect("there are references")
        });
        let share = |calm: &[f64], changed: &[f64]| {
            let mut sorted = calm.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let cut = sorted[EXCEEDING.min(sorted.len() - 1)];
            changed.iter().filter(|value| **value > cut).count() as f64 / changed.len() as f64
        };
        Matched {
            kind: kind.name.clone(),
            seen: [
                share(&ours[0], &ours[1]),
                share(&peers[0][0].values, &peers[1][0].values),
                share(&peers[0][1].values, &peers[1][1].values),
            ],
            defaults: [0, 1]
                .map(|peer: usize| (peers[0][peer].flagged(), peers[1][peer].flagged())),
        }
    })
}

/// The share of comparisons won, draws counting half. `open` leaves out the changes that both nearly always see: they
/// tell nothing of who sees better.
pub fn wins(matched: &[Matched], peer: usize, open: bool) -> f64 {
    let is_open = |m: &&Matched| !open || m.seen[0].min(m.seen[peer]) < SEEN;
    let points: Vec<f64> = matched
        .iter()
        .filter(is_open)
        .map(|m| match m.seen[0] - m.seen[peer] {
            gap if gap > DRAW => 1.0,
            gap if gap < -DRAW => 0.0,
            _ => 0.5,
        })
        .collect();
    points.iter().sum::<f64>() / points.len().max(1) as f64
}

/// The largest loss in the share of days seen.
pub fn loss(matched: &[Matched], peer: usize) -> f64 {
    matched
        .iter()
        .map(|m| m.seen[peer] - m.seen[0])
        .fold(0.0, f64::max)
}

/// Minus the logarithm of the p-value of first days.
fn ours(
    kind: &Kind,
    drift: Option<&Drift>,
    days: usize,
    settings: &Settings,
    seed: u64,
) -> Vec<f64> {
    let drifts: Vec<(usize, Drift)> = drift
        .iter()
        .map(|drift| (kind.place, (*drift).clone()))
        .collect();
    let each = days.div_ceil(REFERENCES);
    let mut values = Vec::with_capacity(days);
    for reference in 0..REFERENCES {
        let mut model = Model::new(Calm::IID, ROWS, settings, seed, reference as u64);
        for _ in 0..each {
            let verdict = model.first_day(kind.place, &drifts);
            assert!(
                verdict.status != Status::Insufficient,
                "a day of a thousand rows is enough"
            );
            values.push(verdict.evidence().map_or(0.0, |evidence| -evidence));
        }
    }
    values
}

fn of_numbers(shape: Shape, drift: Option<&Drift>, days: usize, random: &mut Random) -> [Peer; 2] {
    let draw = |count: u64, moved: Moved, random: &mut Random| -> Vec<f64> {
        (0..count).map(|_| shape.draw(random, moved)).collect()
    };
    let moved = match drift {
        Some(Drift::Number(moved)) => *moved,
        _ => Moved::NOT,
    };
    let rows = draw(CHUNKS as u64 * ROWS, Moved::NOT, random);
    let kind = if shape == Shape::Poisson {
        NumberKind::Integer
    } else {
        NumberKind::Float
    };
    let nannyml = NumericReference::of(&rows, kind).expect("finite values");
    let of_nannyml = |day: &Sample| nannyml.jensen_shannon(day).unwrap_or(0.0);
    let learned: Vec<f64> = rows
        .chunks(ROWS as usize)
        .map(|day| of_nannyml(&Sample::of(day)))
        .collect();
    let reference = Sample::of(&rows);
    let (evidently, nannyml) = (0..days)
        .map(|_| {
            let day = Sample::of(&draw(ROWS, moved, random));
            (
                wasserstein_normalised(&reference, &day).unwrap_or(0.0),
                of_nannyml(&day),
            )
        })
        .unzip();
    peers(evidently, nannyml, &learned)
}

fn of_categories(
    shares: &[f64],
    drift: Option<&Drift>,
    days: usize,
    random: &mut Random,
) -> [Peer; 2] {
    let named = |counts: &[u64]| -> CategoryCounts {
        let counts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts
            .map(|(level, count)| (level.to_string(), *count))
            .collect()
    };
    let after = match drift {
        Some(Drift::Category(after)) => after.as_slice(),
        _ => shares,
    };
    let chunks: Vec<Vec<u64>> = (0..CHUNKS)
        .map(|_| random.multinomial(ROWS, shares))
        .collect();
    let sums: Vec<u64> = (0..shares.len())
        .map(|level| chunks.iter().map(|chunk| chunk[level]).sum())
        .collect();
    let reference = named(&sums);
    let chosen = |mode: Mode, day: &[u64]| {
        let results = mode.compare_categorical(&reference, &named(day));
        results
            .into_iter()
            .find(|result| result.chosen)
            .and_then(|result| result.value)
            .unwrap_or(0.0)
    };
    let learned: Vec<f64> = chunks
        .iter()
        .map(|chunk| chosen(Mode::Nannyml, chunk))
        .collect();
    let (evidently, nannyml) = (0..days)
        .map(|_| {
            let day = random.multinomial(ROWS, after);
            (chosen(Mode::Evidently, &day), chosen(Mode::Nannyml, &day))
        })
        .unzip();
    peers(evidently, nannyml, &learned)
}

fn peers(evidently: Vec<f64>, nannyml: Vec<f64>, learned: &[f64]) -> [Peer; 2] {
    let cut = learned_threshold(learned, Some(1.0)).unwrap_or(1.0);
    [Peer::of(evidently, EVIDENTLY_CUT), Peer::of(nannyml, cut)]
}

/// The tables and figures of the comparison.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let (calm, changed) = if run.long {
        (200_000, 2_000)
    } else {
        (20_000, 400)
    };
    let matched = compare(calm, changed, &run.settings, run.seed);
    for row in &matched {
        let [ours, evidently, nannyml] = row.seen;
        let [(e_calm, e_seen), (n_calm, n_seen)] = row.defaults;
        report.tell(
            format!("{}: seen on one day at the same false alarms: ours / Evidently's statistic / NannyML's", row.kind),
            format!("{ours:.2} / {evidently:.2} / {nannyml:.2}"),
        );
        report.tell(
            format!("{}: at their defaults, calm days flagged and changed days seen: Evidently; NannyML", row.kind),
            format!("{e_calm:.4}, {e_seen:.2}; {n_calm:.4}, {n_seen:.2}"),
        );
    }
    for (peer, name) in [(1, "evidently"), (2, "nannyml")] {
        for (which, open) in [("", true), ("all_", false)] {
            let won = wins(&matched, peer, open);
            let name = format!("matched_win_share_{which}{name}");
            run.figures(
                report,
                &name,
                won,
                Goal::AtLeast(0.75),
                Some(Goal::AtLeast(0.9)),
            );
        }
        let loss = loss(&matched, peer);
        report.tell(
            format!("largest loss to {name}'s statistic, in the share of days seen"),
            format!("{loss:.2}"),
        );
    }
    let rows: Vec<Bars> = matched
        .iter()
        .map(|row| Bars {
            label: row.kind.clone(),
            values: row.seen.to_vec(),
            told: row.seen.map(|share| format!("{share:.2}")).join(" / "),
        })
        .collect();
    let series = ["Bellwether", "Evidently's statistic", "NannyML's statistic"];
    lasting::report(run, report, &matched);
    run.show(&pictures::bars(
        "detection-matched.svg",
        "Changes seen on one day at the same rate of false alarms",
        &series,
        &rows,
        1.0,
    )?)
}
