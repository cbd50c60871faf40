//! What a profile of one feature costs and how true its quantiles are: time per value, bytes as stored, time to merge
//! an hour, and how far the rank of a quantile is from what it should be.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context;
use bellwether::stats::grid::TARGET_CELLS;
use bellwether::stats::{FeatureProfile, Grid};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::figures::Spread;

const VALUES: usize = 200_000;
const SLICE: usize = 4_096;
const VALUES_OF_AN_HOUR: usize = 1_000;
const ROUNDS: usize = 7;
const MERGES: usize = 200;
const SEED: u64 = 8;

/// The profile of one feature with numbers of one shape.
pub struct Profiled {
    pub shape: &'static str,
    /// Time to observe a value, with the cells of a grid, moments and quantiles.
    pub nanoseconds: Spread,
    /// The most that the share of values below a quantile differs from the quantile's own, over the percentiles 1 to 99.
    pub rank_error: f64,
    pub bytes: usize,
    pub bytes_of_an_hour: usize,
    pub merge_microseconds: Spread,
}

pub fn of_shapes() -> anyhow::Result<Vec<Profiled>> {
    Ok(vec![
        profiled("normal", |z| z)?,
        profiled("lognormal", f64::exp)?,
        profiled("times, 1.4e9 + normal", |z| 1.4e9 + z)?,
    ])
}

fn profiled(shape: &'static str, of: fn(f64) -> f64) -> anyhow::Result<Profiled> {
    let mut random = StdRng::seed_from_u64(SEED);
    let values: Vec<f64> = (0..VALUES).map(|_| of(normal(&mut random))).collect();
    let grid = Grid::fit(&values, TARGET_CELLS);
    let mut nanoseconds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(observed(&values, &grid)?);
        nanoseconds.push(start.elapsed().as_secs_f64() * 1e9 / VALUES as f64);
    }
    let whole = observed(&values, &grid)?;
    let hour = observed(&values[..VALUES_OF_AN_HOUR], &grid)?;
    let mut merge_microseconds = Vec::new();
    for _ in 0..ROUNDS {
        let mut day = observed(&values[VALUES_OF_AN_HOUR..2 * VALUES_OF_AN_HOUR], &grid)?;
        let start = Instant::now();
        for _ in 0..MERGES {
            day.merge(black_box(&hour))?;
        }
        merge_microseconds.push(start.elapsed().as_secs_f64() * 1e6 / MERGES as f64);
    }
    Ok(Profiled {
        shape,
        nanoseconds: Spread::of(nanoseconds),
        rank_error: rank_error(&whole, values)?,
        bytes: whole.encode().len(),
        bytes_of_an_hour: hour.encode().len(),
        merge_microseconds: Spread::of(merge_microseconds),
    })
}

fn observed(values: &[f64], grid: &Grid) -> anyhow::Result<FeatureProfile> {
    let mut profile = FeatureProfile::numeric(Some(grid));
    for slice in values.chunks(SLICE) {
        profile.observe_numbers(slice, Some(grid))?;
    }
    Ok(profile)
}

fn rank_error(profile: &FeatureProfile, mut values: Vec<f64>) -> anyhow::Result<f64> {
    values.sort_by(f64::total_cmp);
    let mut largest: f64 = 0.0;
    for percentile in 1..100 {
        let q = f64::from(percentile) / 100.0;
        let quantile = profile.quantile(q).context("a profile with quantiles")?;
        let below = values.partition_point(|&value| value < quantile) as f64;
        let up_to = values.partition_point(|&value| value <= quantile) as f64;
        let count = values.len() as f64;
        let off = (below / count - q).max(q - up_to / count).max(0.0);
        largest = largest.max(off);
    }
    Ok(largest)
}

/// By Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
