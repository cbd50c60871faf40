//! Columns together on real days in random order, as the service judges them: whatever is found then is a false alarm.

use std::collections::BTreeMap;

use bellwether::domain::columns::Column;
use bellwether::domain::joint::{self, DaySums, JointReference};
use bellwether::domain::measurement::{Measure, Status};
use bellwether::domain::schema::FeatureType;
use bellwether::stats::multivariate::days::EARLIER_DAYS;

use crate::Run;
use crate::figures::{Goal, Report};
use crate::quiet::BLOCK;
use crate::random::Random;
use crate::real::{REFERENCE_DAYS, Stream};

/// Findings with fewer days without one between them are one.
const QUIET_DAYS: i64 = 7;
const LEAST_ROWS: u64 = 50;

/// Days judged, and episodes of each of [`Measure::OVER_DAYS_TOGETHER`].
#[derive(Clone, Copy, Default)]
struct Found {
    days: usize,
    episodes: [usize; 2],
}

/// One order of a stream's days: a reference, and the days after it judged one by one.
fn block(columns: &[Column], days: &[Vec<usize>], seed: u64, number: u64) -> Found {
    let mut order: Vec<usize> = (0..days.len()).collect();
    Random::of(seed, number).shuffle(&mut order);
    order.truncate(REFERENCE_DAYS + BLOCK);
    let typed: Vec<(&Column, FeatureType)> = columns
        .iter()
        .map(|column| (column, FeatureType::Number))
        .collect();
    let before: BTreeMap<i64, Vec<usize>> = (0..)
        .zip(&order[..REFERENCE_DAYS])
        .map(|(day, place)| (day, days[*place].clone()))
        .collect();
    let reference = joint::reference(&typed, &before).expect("columns that vary on enough days");
    let mut found = Found::default();
    let mut recent = BTreeMap::new();
    let mut last = [i64::MIN / 2; 2];
    for (day, place) in (0..).zip(&order).skip(REFERENCE_DAYS) {
        recent.insert(day, sums(&reference, columns, &days[*place]));
        recent.retain(|earlier, _| day - earlier <= EARLIER_DAYS);
        found.days += 1;
        for (index, measure) in Measure::OVER_DAYS_TOGETHER.into_iter().enumerate() {
            let judged = joint::judged(&reference, measure, &recent, LEAST_ROWS);
            if judged.status == Status::Drift {
                found.episodes[index] += usize::from(day - last[index] > QUIET_DAYS);
                last[index] = day;
            }
        }
    }
    found
}

/// A day's sums over the columns that the reference has, which may have left some out.
fn sums(reference: &JointReference, columns: &[Column], rows: &[usize]) -> DaySums {
    let of = |name: &str| {
        let column = columns.iter().find(|column| column.name == name);
        let column = column.expect("the reference is of these columns");
        joint::numbers(&column.select(rows), FeatureType::Number)
    };
    let values: Vec<Vec<f64>> = reference.columns().map(of).collect();
    reference
        .day(&values)
        .expect("as many columns as the reference")
}

/// Episodes by stream, and over all of those whose days are of one kind.
pub fn report(run: &Run, report: &mut Report, times: usize, streams: &[Stream]) {
    let mut calm = Found::default();
    for stream in streams {
        if stream.days() <= REFERENCE_DAYS + 1 {
            continue;
        }
        let (columns, days) = stream.numbers_by_day();
        let blocks = crate::parallel(times, |time| block(&columns, &days, run.seed, time as u64));
        let mut all = Found::default();
        for found in blocks {
            all.days += found.days;
            for index in 0..2 {
                all.episodes[index] += found.episodes[index];
            }
        }
        for (index, measure) in Measure::OVER_DAYS_TOGETHER.into_iter().enumerate() {
            report.tell(
                format!(
                    "false episodes of {} in shuffled days, {}",
                    measure.as_str(),
                    stream.name
                ),
                format!("{} in {} days", all.episodes[index], all.days),
            );
            if stream.name.ends_with("reference period") {
                calm.episodes[index] += all.episodes[index];
            }
        }
        if stream.name.ends_with("reference period") {
            calm.days += all.days;
        }
    }
    for (index, measure) in Measure::OVER_DAYS_TOGETHER.into_iter().enumerate() {
        run.figures(
            report,
            &format!("false_episodes_{}", measure.as_str()),
            1_000.0 * calm.episodes[index] as f64 / calm.days.max(1) as f64,
            Goal::AtMost(2.7),
            None,
        );
    }
}
