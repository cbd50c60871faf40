//! How soon the labelled detectors find a change, and how often they find one that is not there.

use bellwether::stats::multivariate::Rows;
use bellwether::stats::multivariate::comoments::{CoMomentBaseline, CoMoments, NormalScores};
use bellwether::stats::multivariate::random_features::{FeatureBaseline, RandomFeatures};
use bellwether::stats::sequential::{
    LossDetector, LossReference, RateBatch, RateDetector, RateReference, RateState,
};
use bellwether::stats::tails::normal_quantile;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::figures::{Goal, Report, rounded, thousands};

pub const RUN_LENGTH: f64 = 1e5;
pub const RATE: f64 = 0.1;
/// Labels before the change.
pub const BEFORE: u64 = 5_000;
/// Labels of the reference where its rate is not taken as known.
pub const REFERENCE: u64 = 28_000;
/// Those of the smallest one that is bounded no further than it.
const FEW: u64 = 1_000;

/// The seed of a run of one kind, from that of the whole bench, which may be any.
pub fn seed_of(seed: u64, kind: u64, run: u64) -> u64 {
    seed.wrapping_mul(kind).wrapping_add(run)
}

/// What the service watches by: a reference of labels whose rate is not known, but bounded from above.
pub fn learnt(labels: u64, random: &mut StdRng) -> anyhow::Result<RateDetector> {
    let events = (0..labels).filter(|_| random.random_bool(RATE)).count() as u64;
    let reference = RateReference { events, labels };
    Ok(RateDetector::new(reference, 0.0, RUN_LENGTH)?)
}

/// Prints the delay table and the mean run lengths of the labelled detectors.
pub fn run(report: &mut Report, seed: u64, long: bool) -> anyhow::Result<()> {
    let runs = if long { 1_000 } else { 200 };
    let known = RateDetector::against(RATE, RUN_LENGTH)?;
    for (after, goal) in [
        (0.12, 2_200.0),
        (0.15, 500.0),
        (0.20, 180.0),
        (0.30, f64::NAN),
    ] {
        let change = (after * 100.0) as u32;
        let of_known = delays(runs, |run| {
            first_alarm(&known, seed_of(seed, 10_000, run), after, 40_000).filter(|at| *at > BEFORE)
        });
        let of_learnt = delays(runs, |run| {
            let mut random = StdRng::seed_from_u64(seed_of(seed, 20_000, run));
            let detector = learnt(REFERENCE, &mut random).ok()?;
            first_alarm(&detector, seed_of(seed, 30_000, run), after, 40_000)
                .filter(|at| *at > BEFORE)
        });
        let of_losses = delays(runs.min(200), |run| {
            let detector = LossDetector::against(RATE, RATE * (1.0 - RATE), RUN_LENGTH).ok()?;
            first_loss_alarm(&detector, seed_of(seed, 40_000, run), after, 40_000)
                .filter(|at| *at > BEFORE)
        });
        report.tell(
            format!("labels to notice an error rate of 10 % become {change} %, median (found)"),
            format!("{of_known}; reference of 28,000 labels {of_learnt}; by betting {of_losses}"),
        );
        if goal.is_finite() {
            let name = format!("detection_delay_10_to_{change}_labels");
            report.figure(name, of_known.median, Goal::AtMost(goal));
            let name = format!("detection_delay_10_to_{change}_found_share");
            report.figure(name, of_known.found, Goal::AtLeast(0.95));
            // As shipped: the rate is that of a reference, and the bound above it takes its labels.
            let name = format!("detection_delay_10_to_{change}_learnt_labels");
            report.figure(name, of_learnt.median, Goal::AtMost(goal));
            let name = format!("detection_delay_10_to_{change}_learnt_found_share");
            report.figure(name, of_learnt.found, Goal::AtLeast(0.95));
        }
    }
    run_lengths(report, seed, long)?;
    correlations(report, seed, if long { 400 } else { 80 })
}

/// Labels per false alarm: all labels seen by streams that begin anew after each, over the alarms.
fn run_lengths(report: &mut Report, seed: u64, long: bool) -> anyhow::Result<()> {
    let streams = if long { 400 } else { 60 };
    let limit = 1_000_000;
    for size in [1, 50] {
        for (labels, named, figure) in [
            (None, "", ""),
            (Some(REFERENCE), ", references of 28,000 labels", "learnt_"),
            (
                Some(FEW),
                ", references of 1,000 labels",
                "learnt_from_1000_",
            ),
        ] {
            let (mut seen, mut alarms) = (0, 0);
            for stream in 0..streams {
                let mut random = StdRng::seed_from_u64(seed_of(seed, 50_000, stream + size));
                let detector = match labels {
                    Some(labels) => learnt(labels, &mut random)?,
                    None => RateDetector::against(RATE, RUN_LENGTH)?,
                };
                let mut state = RateState::default();
                let mut of_stream = 0;
                while of_stream < limit {
                    let events = (0..size).filter(|_| random.random_bool(RATE)).count() as u64;
                    let batch = RateBatch {
                        events,
                        labels: size,
                    };
                    let (next, verdict) = detector.step(state, batch)?;
                    state = next;
                    of_stream += size;
                    if verdict.is_alarm() {
                        alarms += 1;
                        state = RateState::default();
                    }
                }
                seen += of_stream;
            }
            let length = seen as f64 / alarms.max(1) as f64;
            report.tell(
                format!(
                    "mean run length where {} is promised, batches of {size}{named}",
                    thousands(RUN_LENGTH)
                ),
                format!("{} labels ({alarms} alarms)", thousands(length)),
            );
            report.figure(
                format!("rate_mean_run_length_batches_of_{size}_{figure}labels"),
                length,
                Goal::AtLeast(RUN_LENGTH),
            );
        }
    }
    // Losses between 0 and 1 that are no rates: squares of uniform numbers, with a reference that is learnt.
    let (mut seen, mut alarms) = (0, 0);
    for stream in 0..streams {
        let mut random = StdRng::seed_from_u64(seed_of(seed, 60_000, stream));
        let mut draw = || random.random_range(0.0..1.0_f64).powi(2);
        let losses: Vec<f64> = (0..REFERENCE).map(|_| draw()).collect();
        let n = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / n;
        let reference = LossReference {
            mean,
            variance,
            labels: REFERENCE,
        };
        let detector = LossDetector::new(reference, 0.0, RUN_LENGTH)?;
        let mut state = detector.start();
        let mut is_over = false;
        while state.labels < limit / 4 && !is_over {
            let (next, verdict) = detector.step(state, &[draw()])?;
            (state, is_over) = (next, verdict.is_alarm());
        }
        seen += state.labels;
        alarms += u64::from(is_over);
    }
    let length = seen as f64 / alarms.max(1) as f64;
    report.tell(
        "mean run length of bets, reference of 28,000 losses",
        format!("{} labels or more ({alarms} alarms)", thousands(length)),
    );
    report.figure(
        "loss_mean_run_length_labels",
        length,
        Goal::AtLeast(RUN_LENGTH),
    );
    Ok(())
}

/// Ten columns, 1,000 rows a day and 28 days of reference: the correlation of two columns changes, nothing else does. The
/// detector's part of the error budget is a tenth of one in a thousand.
fn correlations(report: &mut Report, seed: u64, runs: u64) -> anyhow::Result<()> {
    const ALPHA: f64 = 1e-4;
    let bins: Vec<f64> = (1..20)
        .map(|i| normal_quantile(f64::from(i) / 20.0))
        .collect();
    for (after, name) in [
        (0.0, "none"),
        (0.1, "0 to 0.1"),
        (0.2, "0 to 0.2"),
        (0.3, "0 to 0.3"),
    ] {
        let (mut first, mut further) = (Vec::new(), 0);
        for run in 0..runs {
            let mut random = StdRng::seed_from_u64(seed_of(seed, 70_000, run));
            let mut reference = [0; 20];
            let mut days = Vec::new();
            for day in 0..42 {
                let rows = day_rows(&mut random, if day < 28 { 0.0 } else { after });
                let coded: Vec<[usize; 10]> = rows
                    .iter()
                    .map(|row| row.map(|x| bins.partition_point(|b| *b < x)))
                    .collect();
                if day < 28 {
                    coded.iter().for_each(|row| reference[row[0]] += 1);
                }
                days.push((rows, coded));
            }
            let scores = NormalScores::fit(&reference)?;
            let moments: Vec<CoMoments> = (days.iter())
                .map(|(_, coded)| {
                    let mut moments = CoMoments::new(10)?;
                    for row in coded {
                        moments.push(&row.map(|bin| scores.of(Some(bin))))?;
                    }
                    Ok(moments)
                })
                .collect::<anyhow::Result<_>>()?;
            let baseline = CoMomentBaseline::fit(&moments[..28])?;
            let noticed = (29..=42).find(|day| {
                let changes = baseline.changes(&moments[28..*day]).unwrap_or_default();
                changes
                    .first()
                    .is_some_and(|change| change.p_value.value() < ALPHA)
            });
            first.push(noticed.map_or(f64::INFINITY, |day| (day - 28) as f64));
            // The random features see the same rows; the first ten runs are enough for a reading.
            if run < 10 {
                let rows: Vec<Rows> = days
                    .iter()
                    .map(|(rows, _)| Rows::of(rows.as_flattened(), 10))
                    .collect();
                let features = RandomFeatures::new(&rows[0], 1)?;
                let sums: Vec<_> = rows[..29]
                    .iter()
                    .map(|day| features.sums(day))
                    .collect::<Result<_, _>>()?;
                let distance = FeatureBaseline::fit(&sums[..28])?.compare(&[&sums[28]])?;
                let found = distance.is_beyond_all_days && distance.p_value.value() < ALPHA;
                further += u32::from(found);
            }
        }
        first.sort_by(f64::total_cmp);
        let share = |days: f64| {
            first.iter().filter(|day| **day <= days).count() as f64 / first.len() as f64
        };
        report.tell(
            format!("correlation {name}, 10 columns, 1,000 rows a day: noticed"),
            format!(
                "on day 1 {:.0} %, within 14 days {:.1} %, median day {}; random features on day 1 in {further} of 10",
                100.0 * share(1.0),
                100.0 * share(14.0),
                first[first.len() / 2],
            ),
        );
        if after == 0.2 {
            report.figure(
                "correlation_0_to_02_first_day_share",
                share(1.0),
                Goal::AtLeast(0.8),
            );
        }
    }
    Ok(())
}

/// A day of normal columns: each even one goes with the next by 0.3, and the first with the third by `correlation`.
fn day_rows(random: &mut StdRng, correlation: f64) -> Vec<[f64; 10]> {
    let mut normal = || {
        let (u, v): (f64, f64) = (
            random.random_range(1e-300..1.0),
            random.random_range(0.0..1.0),
        );
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let mix = |with: f64, own: f64, by: f64| by * with + (1.0 - by * by).sqrt() * own;
    (0..1_000)
        .map(|_| {
            let mut row = [0.0; 10].map(|_: f64| normal());
            row[2] = mix(row[0], row[2], correlation);
            for pair in row.chunks_exact_mut(2) {
                pair[1] = mix(pair[0], pair[1], 0.3);
            }
            row
        })
        .collect()
}

pub struct Delays {
    pub median: f64,
    pub found: f64,
}

impl std::fmt::Display for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({} %)",
            thousands(self.median),
            rounded(self.found * 100.0)
        )
    }
}

impl Delays {
    /// Of labels until an alarm, infinite where there is none.
    pub fn of(mut late: Vec<f64>) -> Self {
        late.sort_by(f64::total_cmp);
        let found = late.iter().filter(|delay| delay.is_finite()).count();
        Self {
            median: late.get(late.len() / 2).copied().unwrap_or(f64::INFINITY),
            found: found as f64 / late.len().max(1) as f64,
        }
    }
}

/// A run without an alarm counts as infinitely late, one with an alarm before the change is left out.
pub fn delays(runs: u64, of: impl Fn(u64) -> Option<u64>) -> Delays {
    let late = (0..runs).filter_map(of).map(|at| {
        if at == u64::MAX {
            f64::INFINITY
        } else {
            (at - BEFORE) as f64
        }
    });
    Delays::of(late.collect())
}

/// Whether each prediction of a stream is wrong: at [`RATE`] before the change, and then as often as said.
pub fn errors(seed: u64, after: f64, limit: u64) -> impl Iterator<Item = bool> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..BEFORE + limit)
        .map(move |label| random.random_bool(if label < BEFORE { RATE } else { after }))
}

/// The label at which a detector first raises an alarm; `u64::MAX` if it raises none.
pub fn first_alarm(detector: &RateDetector, seed: u64, after: f64, limit: u64) -> Option<u64> {
    let mut state = RateState::default();
    for error in errors(seed, after, limit) {
        let events = u64::from(error);
        let (next, verdict) = detector.step(state, RateBatch { events, labels: 1 }).ok()?;
        state = next;
        if verdict.is_alarm() {
            return Some(state.labels);
        }
    }
    Some(u64::MAX)
}

/// The same of one that bets on losses.
pub fn first_loss_alarm(detector: &LossDetector, seed: u64, after: f64, limit: u64) -> Option<u64> {
    let mut state = detector.start();
    for error in errors(seed, after, limit) {
        let (next, verdict) = detector.step(state, &[f64::from(u8::from(error))]).ok()?;
        state = next;
        if verdict.is_alarm() {
            return Some(state.labels);
        }
    }
    Some(u64::MAX)
}
