//! The statistics themselves, at the same rate of false alarms: one day of 1,000 rows against 28,000, each statistic
//! with the cut-off that as many of its own values on days without a change exceed.
//!
//! Their default cut-offs give other rates by orders of magnitude, so that delays at defaults say little about who sees better.

use bellwether::stats::detector::{Settings, Status};

use crate::Run;
use crate::changes::Drift;
use crate::course::Model;
use crate::figures::{Goal, Report};
use crate::kinds::{Kind, kinds, more_kinds};
use crate::lasting;
use crate::pictures::{self, Bars};
use crate::random::Random;
use crate::statistics::{EVIDENTLY_CUT, Peers, Rows};
use crate::streams::{Calm, DayOfFeature, World, thirty_features};

pub const ROWS: u64 = 1_000;
/// How many values on calm days exceed a cut-off.
pub const EXCEEDING: usize = 10;
const REFERENCES: usize = 8;
/// NannyML learns its cut-off from so many days.
const CHUNKS: usize = 28;
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

/// What a statistic says of days, and how many of them are beyond its default cut-off.
#[derive(Debug, Clone, Default)]
struct Said {
    values: Vec<f64>,
    beyond: usize,
}

impl Said {
    fn push(&mut self, value: f64, is_beyond: bool) {
        self.values.push(value);
        self.beyond += usize::from(is_beyond);
    }

    fn flagged(&self) -> f64 {
        self.beyond as f64 / self.values.len() as f64
    }

    /// What so many of the values exceed.
    fn exceeded(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted[EXCEEDING.min(sorted.len() - 1)]
    }

    fn share_above(&self, cut: f64) -> f64 {
        let above = self.values.iter().filter(|value| **value > cut).count();
        above as f64 / self.values.len() as f64
    }
}

/// The share of changed days that each statistic sees.
fn compare(
    kinds: &[Kind],
    (calm_days, changed_days): (usize, usize),
    settings: &Settings,
    seed: u64,
) -> Vec<Matched> {
    // Calm days of a feature are the same whatever changes afterwards.
    let mut places: Vec<usize> = kinds.iter().map(|kind| kind.place).collect();
    places.sort_unstable();
    places.dedup();
    let calm = crate::parallel(places.len(), |index| {
        said(places[index], None, calm_days, settings, seed)
    });
    crate::parallel(kinds.len(), |index| {
        let Kind { name, place, drift } = &kinds[index];
        let own = places.binary_search(place).expect("a place of a kind");
        let calm = &calm[own];
        let changed = said(*place, Some(drift), changed_days, settings, seed);
        let seen = [0, 1, 2].map(|who: usize| changed[who].share_above(calm[who].exceeded()));
        Matched {
            kind: name.clone(),
            seen,
            defaults: [1, 2].map(|peer: usize| (calm[peer].flagged(), changed[peer].flagged())),
        }
    })
}

/// What ours, Evidently's statistic and NannyML's say of single days of a feature.
fn said(
    place: usize,
    drift: Option<&Drift>,
    days: usize,
    settings: &Settings,
    seed: u64,
) -> [Said; 3] {
    let drifts: Vec<(usize, Drift)> = drift
        .iter()
        .map(|drift| (place, (*drift).clone()))
        .collect();
    let mut said: [Said; 3] = Default::default();
    // As many references for all: how a single one happened to fall would decide.
    for reference in 0..REFERENCES {
        let mut model = Model::new(Calm::IID, ROWS, settings, seed, reference as u64);
        let stream = (1_000 + place * REFERENCES + reference) as u64;
        let mut random = Random::of(seed, stream);
        let feature = thirty_features().swap_remove(place);
        let mut world = World::new(vec![feature], Calm::IID, ROWS, Random::of(seed, stream));
        let calm = world.day(0, &[], 0.0).features.swap_remove(0);
        let own: Vec<(usize, Drift)> = drifts.iter().map(|(_, drift)| (0, drift.clone())).collect();
        let changed = world.day(0, &own, 1.0).features.swap_remove(0);
        let rows: Vec<Rows> = (0..CHUNKS).map(|_| rows(&calm, &mut random)).collect();
        let peers = Peers::of(&rows);
        for _ in 0..days.div_ceil(REFERENCES) {
            let verdict = model.first_day(place, &drifts);
            // All of a feature's values may be missing, which is looked for over longer windows.
            let surprise = verdict.evidence().map_or(0.0, |evidence| -evidence);
            said[0].push(surprise, verdict.status == Status::Candidate);
            let [evidently, nannyml] = peers.distances(&self::rows(&changed, &mut random));
            said[1].push(evidently, evidently >= EVIDENTLY_CUT);
            said[2].push(nannyml, nannyml > peers.nannyml_cut);
        }
    }
    said
}

/// The rows of a day of a feature.
pub fn rows(day: &DayOfFeature, random: &mut Random) -> Rows {
    match day {
        DayOfFeature::Number(numbers) => {
            let rows = (0..ROWS).filter_map(|_| numbers.draw(random));
            Rows::Numbers(rows.collect(), numbers.kind())
        }
        DayOfFeature::Category(shares) => Rows::Levels(random.multinomial(ROWS, shares)),
    }
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

/// The tables and figures of the comparison.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let (calm, changed) = if run.long {
        (200_000, 2_000)
    } else {
        (20_000, 400)
    };
    let lists: Vec<Vec<Kind>> = std::iter::once(kinds()).chain(more_kinds()).collect();
    let kinds = lists.concat();
    let matched = compare(&kinds, (calm, changed), &run.settings, run.seed);
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
    let lasting = lasting::report(run, report, &lists, &matched);
    tabulate(report, &matched, &lasting);
    run.show(&pictures::bars(
        "detection-matched.svg",
        "Changes seen on one day at the same rate of false alarms",
        &series,
        &rows,
        1.0,
    )?)
}

/// A line for every kind of change: single days at the same rate of false alarms, a change that stays, and the peers' defaults.
fn tabulate(report: &mut Report, matched: &[Matched], lasting: &[[f64; 3]]) {
    let lines = matched.iter().zip(lasting).map(|(row, days)| {
        let [evidently, nannyml] = row
            .defaults
            .map(|(calm, seen)| format!("{calm:.4}, {seen:.2}"));
        vec![
            row.kind.clone(),
            row.seen.map(|share| format!("{share:.2}")).join(" / "),
            days.map(lasting::told).join(" / "),
            evidently,
            nannyml,
        ]
    });
    let columns = [
        "change",
        "share of single days seen, at the same false alarms",
        "median days until one that stays is seen, at the same false alarms",
        "Evidently's default cut-off: calm days flagged, changed days seen",
        "NannyML's default cut-off: the same",
    ];
    report.table(
        "The detector / Evidently's statistic / NannyML's statistic, feature by feature, 1,000 rows a day:",
        &columns,
        lines.collect(),
    );
}
