//! What a verdict costs, on one core.

use std::time::Instant;

use bellwether::stats::detector::{Observation, Settings, WINDOWS};

use crate::Run;
use crate::course::Model;
use crate::figures::{Goal, Report, Spread, per_second};
use crate::streams::{Calm, FIRST_DAY};

/// So many features, as often as the spread of the times needs.
const FEATURES: usize = 10_000;
const ROUNDS: usize = 5;

/// Seconds for a verdict on each of 10,000 features, all windows and scores, with 27 days before it.
fn seconds(settings: &Settings, seed: u64) -> Spread {
    let mut model = Model::new(Calm::IID, 1_000, settings, seed, 0);
    for _ in 0..28 {
        model.next(&[], 0.0);
    }
    let days: Vec<Vec<Observation<'_>>> = model
        .history()
        .iter()
        .map(|tallies| {
            let first = FIRST_DAY + 28;
            let days = (first..).zip(tallies);
            days.map(|(bucket, tally)| Observation {
                bucket,
                holiday: false,
                tally,
            })
            .collect()
        })
        .collect();
    assert_eq!((days[0].len(), WINDOWS), (28, 5));
    Spread::of((0..ROUNDS).map(|_| {
        let began = Instant::now();
        for feature in 0..FEATURES {
            let place = feature % days.len();
            let verdict = model
                .reference
                .evaluate(place, &days[place])
                .expect("a verdict");
            std::hint::black_box(verdict);
        }
        began.elapsed().as_secs_f64()
    }))
}

/// The figures of cost.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let seconds = seconds(&run.settings, run.seed);
    let features = FEATURES as f64;
    report.tell(
        "seconds for 10,000 features and five windows on one core",
        format!(
            "{}: {} verdicts",
            seconds.told(),
            per_second(features / seconds.median)
        ),
    );
    let microseconds = seconds.median * 1e6 / features;
    run.figures(
        report,
        "microseconds_per_feature_and_day",
        microseconds,
        Goal::AtMost(50.0),
        None,
    );
    run.figures(
        report,
        "seconds_10000_features_5_windows",
        seconds.median,
        Goal::AtMost(2.0),
        None,
    );
    Ok(())
}
