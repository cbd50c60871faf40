//! The detector against an independent computation of the same statistics in Python.
//!
//! The script and what it says are in `tests/data/detector`. States are not stored: both sides draw them with the same
//! congruential generator. `BELLWETHER_DETECTOR_STATES` names a longer file of the script's to hold them against, as
//! `make test-detector` does.

use serde_json::{Value, json};

use super::*;
use crate::stats::PValue;

struct Draws(u64);

impl Draws {
    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn whole(&mut self, below: usize) -> usize {
        (self.next() * below as f64) as usize
    }
}

struct Drawn {
    bins: Bins,
    before: Vec<(i64, Tally)>,
    after: Vec<(i64, Tally)>,
}

const AFTER: usize = 30;

/// As `draw_feature` of the script.
fn feature(draws: &mut Draws, days: usize, rows: f64) -> Drawn {
    let numeric = draws.next() < 0.6;
    let count = 3 + draws.whole(20);
    let weights: Vec<f64> = (0..count).map(|_| 0.02 + draws.next().powi(3)).collect();
    let total: f64 = weights.iter().sum();
    let wobble = if draws.next() < 0.4 {
        0.0
    } else {
        0.6 * draws.next()
    };
    let weekend = if draws.next() < 0.3 { 0.5 } else { 0.0 };
    let missing = if draws.next() < 0.5 {
        0.0
    } else {
        0.05 * draws.next()
    };
    let unseen = if draws.next() < 0.5 {
        0.0
    } else {
        0.002 * draws.next()
    };
    let change = if draws.next() < 0.5 {
        0.0
    } else {
        draws.next()
    };
    let surge = if draws.next() < 0.6 {
        1.0
    } else {
        6.0 * draws.next()
    };
    let ranged = draws.next() < 0.5;
    let bins = if numeric {
        let cuts: Vec<usize> = (0..count - 1).collect();
        let points = if count > 6 {
            json!([[2, 7.0]])
        } else {
            json!([])
        };
        json!({"Numbers": {"fingerprint": 0, "cells": count, "cuts": cuts, "points": points}})
    } else {
        let names: Vec<String> = (0..count - 1).map(|i| format!("c{i}")).collect();
        json!({"Categories": {"names": names, "vocabulary": {}}})
    };
    let mut day = |number: usize, change: f64, times: f64| {
        let bucket = 4 + number as i64;
        let held = rows * (0.5 + draws.next()) * times;
        let level = wobble * (draws.next() - 0.5);
        let tilt = level + if number % 7 >= 5 { weekend } else { 0.0 } + change;
        let mut counts: Vec<u64> = weights
            .iter()
            .enumerate()
            .map(|(bin, weight)| {
                let mean = held * weight / total * (1.0 + tilt * (bin as f64 / count as f64 - 0.5));
                (mean + mean.sqrt() * 1.8 * (draws.next() + draws.next() - 1.0) + draws.next())
                    .max(0.0) as u64
            })
            .collect();
        let beyond = [draws.next(), draws.next()].map(|part| (held * 0.004 * change * part) as u64);
        if numeric && ranged {
            counts[0] = beyond[0];
            counts[count - 1] = beyond[1];
        }
        let values: u64 = counts.iter().sum();
        let missing = (held * missing * 2.0 * draws.next()) as u64;
        let unseen = (held * unseen * (1.0 + 8.0 * change) * 2.0 * draws.next()) as u64;
        let tally = Tally {
            rows: values + missing,
            missing,
            mismatched: 0,
            counts,
            unseen: (!numeric).then_some(unseen),
        };
        (bucket, tally)
    };
    let before = (0..days).map(|number| day(number, 0.0, 1.0)).collect();
    let after = (days..days + AFTER)
        .map(|number| day(number, change, surge))
        .collect();
    Drawn {
        bins: serde_json::from_value(bins).expect("bins"),
        before,
        after,
    }
}

/// The logarithms of p-values of every day after the reference, of every feature of a model.
fn model(seed: u64) -> Vec<f64> {
    let mut draws = Draws(seed);
    let days = [10, 28, 28, 35, 56][draws.whole(5)];
    let rows = [120.0, 400.0, 1_000.0, 20_000.0][draws.whole(4)];
    let drawn: Vec<Drawn> = (0..8).map(|_| feature(&mut draws, days, rows)).collect();
    let observed = |(bucket, tally)| Observation {
        bucket,
        holiday: false,
        tally,
    };
    let features: Vec<FeatureDays<'_>> = drawn
        .iter()
        .enumerate()
        .map(|(place, drawn)| FeatureDays {
            name: place.to_string(),
            role: if place == 0 {
                Role::Output
            } else {
                Role::Input
            },
            bins: drawn.bins.clone(),
            days: drawn
                .before
                .iter()
                .map(|(bucket, tally)| observed((*bucket, tally)))
                .collect(),
        })
        .collect();
    let reference =
        Reference::fit(Grain::Day, &features, &[], Settings::default()).expect("a reference");
    let mut logarithms = Vec::new();
    for (place, drawn) in drawn.iter().enumerate() {
        let after: Vec<Observation<'_>> = drawn
            .after
            .iter()
            .map(|(bucket, tally)| observed((*bucket, tally)))
            .collect();
        for last in 1..=after.len() {
            let verdict = reference
                .evaluate(place, &after[..last])
                .expect("a verdict");
            // Nothing is tested on the first day of a feature whose shares take longer windows.
            logarithms.push(verdict.p.map_or(0.0, PValue::ln));
        }
    }
    logarithms
}

#[test]
fn p_values_are_those_of_an_independent_computation() {
    let committed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/detector/golden.json"
    );
    let path = std::env::var("BELLWETHER_DETECTOR_STATES").unwrap_or_else(|_| committed.to_owned());
    let text = std::fs::read_to_string(path).expect("the golden file");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let (mut states, mut worst, mut surprising) = (0, (0.0, String::new()), 0);
    for (seed, (state, expected)) in golden
        .as_array()
        .expect("models")
        .iter()
        .enumerate()
        .map(|(i, m)| (i as u64 + 1, (i, m.as_array().expect("logarithms"))))
    {
        let ours = model(seed);
        assert_eq!(ours.len(), expected.len(), "model {state}");
        for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
            let expected = expected.as_f64().expect("a number");
            states += 1;
            surprising += usize::from(expected < -12.0);
            // The relative difference of the p-values is the difference of their logarithms.
            let difference = (ours - expected).abs();
            if difference > worst.0 {
                worst = (
                    difference,
                    format!("model {seed}, state {index}: {ours} {expected}"),
                );
            }
        }
    }
    println!("{states} states, {surprising} of them below 10⁻⁵, worst {worst:?}");
    assert!(states > 500 && surprising > 50, "{states} {surprising}");
    assert!(worst.0 <= 1e-9, "{worst:?}");
}
