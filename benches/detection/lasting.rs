//! How soon a change that stays is seen at the same rate of false alarms: the detector with all its windows, as it runs,
//! and the peers' statistics of each day, with cut-offs that as many feature-days without a change exceed.

use bellwether::stats::detector::{Settings, Verdict};

use crate::Run;
use crate::changes::Drift;
use crate::course::{HORIZON, Model};
use crate::figures::{Goal, Report};
use crate::kinds::Kind;
use crate::matched::{EXCEEDING, Matched, ROWS};
use crate::quiet::BLOCK;
use crate::streams::Calm;

/// A delay beyond this is none that anybody waits for.
const A_YEAR: f64 = 365.0;

/// How surprising a verdict is: minus the logarithm of its p-value.
fn surprise(verdict: &Verdict) -> f64 {
    verdict.evidence().map_or(0.0, |evidence| -evidence)
}

/// For each kind of change, what so many of its feature's calm days exceed.
fn cuts(kinds: &[Kind], calm_days: usize, settings: &Settings, seed: u64) -> Vec<f64> {
    let places: Vec<usize> = kinds.iter().map(|kind| kind.place).collect();
    let blocks = crate::parallel(calm_days.div_ceil(BLOCK), |block| {
        let mut model = Model::new(Calm::IID, ROWS, settings, seed, block as u64);
        let days: Vec<Vec<f64>> = (0..BLOCK)
            .map(|_| {
                let verdicts = model.next_of(&places, &[], 0.0);
                verdicts.iter().map(surprise).collect()
            })
            .collect();
        days
    });
    (0..kinds.len())
        .map(|kind| {
            let mut calm: Vec<f64> = blocks.iter().flatten().map(|day| day[kind]).collect();
            calm.sort_by(|a, b| b.total_cmp(a));
            calm[EXCEEDING.min(calm.len() - 1)]
        })
        .collect()
}

/// The median day on which the detector first exceeds its cut-off after a sudden change.
fn ours(kinds: &[Kind], cuts: &[f64], runs: usize, settings: &Settings, seed: u64) -> Vec<f64> {
    let drifts: Vec<(usize, Drift)> = kinds.iter().map(|k| (k.place, k.drift.clone())).collect();
    let places: Vec<usize> = kinds.iter().map(|kind| kind.place).collect();
    let first_days = crate::parallel(runs, |run| {
        let mut model = Model::new(Calm::IID, ROWS, settings, seed, run as u64);
        let mut first = vec![f64::INFINITY; kinds.len()];
        for day in 1..=HORIZON {
            let verdicts = model.next_of(&places, &drifts, 1.0);
            for ((first, verdict), cut) in first.iter_mut().zip(&verdicts).zip(cuts) {
                if first.is_infinite() && surprise(verdict) > *cut {
                    *first = day as f64;
                }
            }
        }
        first
    });
    (0..kinds.len())
        .map(|kind| {
            let mut days: Vec<f64> = first_days.iter().map(|first| first[kind]).collect();
            days.sort_by(f64::total_cmp);
            days[days.len() / 2]
        })
        .collect()
}

/// The median of a geometric delay: the first day by which half of the runs have been seen, if each day is seen with
/// this chance.
fn median_of_chance(seen: f64) -> f64 {
    if seen >= 0.5 {
        return 1.0;
    }
    let days = (0.5_f64.ln() / (-seen).ln_1p()).ceil();
    if days <= A_YEAR { days } else { f64::INFINITY }
}

/// A delay in words.
pub fn told(days: f64) -> String {
    if days.is_infinite() {
        "never".to_owned()
    } else {
        format!("{days}")
    }
}

/// The share of kinds seen sooner than by a peer, draws counting half; `open` leaves out those that both see on the
/// first day.
fn wins(lasting: &[[f64; 3]], peer: usize, open: bool) -> f64 {
    let points: Vec<f64> = lasting
        .iter()
        .map(|days| (days[0], days[peer]))
        .filter(|(ours, theirs)| !open || ours.max(*theirs) > 1.0)
        .map(|(ours, theirs)| match ours.total_cmp(&theirs) {
            std::cmp::Ordering::Less => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 0.0,
        })
        .collect();
    points.iter().sum::<f64>() / points.len().max(1) as f64
}

/// The figures, beside the shares of single days that the peers' statistics were found to see; the median days of every kind.
pub fn report(
    run: &Run,
    report: &mut Report,
    lists: &[Vec<Kind>],
    matched: &[Matched],
) -> Vec<[f64; 3]> {
    let (calm_days, runs) = if run.long {
        (200_000, 1_000)
    } else {
        (20_000, 200)
    };
    let of_list = |kinds: &Vec<Kind>| {
        let cuts = cuts(kinds, calm_days, &run.settings, run.seed ^ 0xca1);
        ours(kinds, &cuts, runs, &run.settings, run.seed)
    };
    let ours: Vec<f64> = lists.iter().flat_map(of_list).collect();
    let lasting: Vec<[f64; 3]> = (matched.iter().zip(ours))
        .map(|(row, ours)| {
            let [_, evidently, nannyml] = row.seen.map(median_of_chance);
            [ours, evidently, nannyml]
        })
        .collect();
    for (peer, name) in [(1, "evidently"), (2, "nannyml")] {
        for (which, open) in [("", true), ("all_", false)] {
            run.figures(
                report,
                &format!("matched_sooner_share_{which}{name}"),
                wins(&lasting, peer, open),
                Goal::AtLeast(0.75),
                Some(Goal::AtLeast(0.9)),
            );
        }
        let loss = lasting
            .iter()
            .filter(|days| days[0] > days[peer])
            .map(|days| days[0] - days[peer])
            .fold(0.0, f64::max);
        run.figures(
            report,
            &format!("matched_largest_loss_days_{name}"),
            loss,
            Goal::AtMost(2.0),
            None,
        );
    }
    lasting
}
