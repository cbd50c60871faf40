//! A year of hourly windows of one feature, as the service stores them, merged into one and compared.

use std::time::Instant;

use anyhow::Context;
use bellwether::domain::measurement::Measure;
use bellwether::services::comparison::measures;
use bellwether::stats::grid::TARGET_CELLS;
use bellwether::stats::{FeatureProfile, Grid, Readings};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::figures::Spread;

const HOURS: usize = 365 * 24;
const ROWS_PER_HOUR: usize = 500;
const ROUNDS: usize = 7;

/// Milliseconds.
pub struct Merging {
    pub merged: Spread,
    pub decoded: Spread,
}

pub fn year_of_hours() -> anyhow::Result<Merging> {
    let mut random = StdRng::seed_from_u64(7);
    let mut hour = |shift: f64| -> Vec<f64> {
        let value = |_| -(1.0 - random.random::<f64>()).ln() + shift;
        (0..ROWS_PER_HOUR).map(value).collect()
    };
    let reference: Vec<f64> = (0..100).flat_map(|_| hour(0.0)).collect();
    let grid = Grid::fit(&reference, TARGET_CELLS);
    let mut baseline = FeatureProfile::numeric(Some(&grid));
    baseline.observe_numbers(&reference, Some(&grid))?;
    let mut hours = Vec::with_capacity(HOURS);
    for at in 0..HOURS {
        let mut profile = FeatureProfile::numeric(Some(&grid));
        profile.observe_numbers(&hour(at as f64 * 1e-6), Some(&grid))?;
        hours.push(profile);
    }
    let stored: Vec<Vec<u8>> = hours.iter().map(FeatureProfile::encode).collect();
    let (mut merged, mut decoded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        compare(&baseline, hours.iter().cloned().map(Ok), &grid)?;
        merged.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let read = stored
            .iter()
            .map(|bytes| Ok(FeatureProfile::decode(bytes)?));
        compare(&baseline, read, &grid)?;
        decoded.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Merging {
        merged: Spread::of(merged),
        decoded: Spread::of(decoded),
    })
}

/// Merges the hours and computes every measure.
fn compare(
    baseline: &FeatureProfile,
    mut hours: impl Iterator<Item = anyhow::Result<FeatureProfile>>,
    grid: &Grid,
) -> anyhow::Result<f64> {
    let mut year = hours
        .next()
        .context("a year has hours")??
        .without_quantiles();
    for hour in hours {
        year.merge(&hour?)?;
    }
    let readings = Readings::of(baseline, &year, Some(grid));
    let mut sum = 0.0;
    for measure in measures::all().filter_map(Measure::drift) {
        sum += readings.read(measure)?.value;
    }
    Ok(sum)
}
