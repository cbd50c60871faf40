//! What a verdict costs, on one core.

use std::time::Instant;

use bellwether::stats::detector::{Observation, Settings, Tally, WINDOWS};

use crate::Run;
use crate::early::Model;
use crate::figures::{Goal, Report, rounded};
use crate::streams::{Calm, FIRST_DAY};

pub struct Cost {
    /// Microseconds for one feature and day, all windows and scores, with 27 days before it.
    pub microseconds: f64,
    /// Seconds for 10,000 features and the five windows.
    pub ten_thousand: f64,
    /// Milliseconds to fit a reference of thirty features on 28 days.
    pub fit: f64,
}

pub fn measure(settings: &Settings, seed: u64) -> Cost {
    const FEATURES: usize = 10_000;
    let began = Instant::now();
    let mut model = Model::new(Calm::IID, 1_000, settings, seed, 0);
    let fit = began.elapsed().as_secs_f64() * 1e3;
    for _ in 0..28 {
        model.next(&[], 0.0);
    }
    let history: Vec<Vec<Tally>> = model.history().to_vec();
    let days: Vec<Vec<Observation<'_>>> = history
        .iter()
        .map(|tallies| {
            let days = tallies.iter().enumerate();
            days.map(|(day, tally)| Observation {
                bucket: FIRST_DAY + 28 + day as i64,
                holiday: false,
                tally,
            })
            .collect()
        })
        .collect();
    assert_eq!((days[0].len(), WINDOWS), (28, 5));
    let began = Instant::now();
    for feature in 0..FEATURES {
        let place = feature % days.len();
        std::hint::black_box(
            model
                .reference
                .evaluate(place, &days[place])
                .expect("a verdict"),
        );
    }
    let seconds = began.elapsed().as_secs_f64();
    Cost {
        microseconds: seconds * 1e6 / FEATURES as f64,
        ten_thousand: seconds,
        fit,
    }
}

/// The figures of cost.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let cost = measure(&run.settings, run.seed);
    report.tell(
        "a reference of 30 features on 28 days, its data drawn and counted and fitted",
        format!("{} ms", rounded(cost.fit)),
    );
    run.figures(
        report,
        "microseconds_per_feature_and_day",
        cost.microseconds,
        Goal::AtMost(50.0),
        None,
    );
    run.figures(
        report,
        "seconds_10000_features_5_windows",
        cost.ten_thousand,
        Goal::AtMost(2.0),
        None,
    );
    Ok(())
}
