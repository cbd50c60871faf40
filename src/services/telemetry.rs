//! Telemetry as it is shown: read, and brought into steps.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::Error;
use crate::domain::ids::ModelId;
use crate::domain::telemetry::{MeasureInfo, Point, points, table};
use crate::storage::telemetry;

/// The range that is shown unless another one is asked for.
pub const USUAL_RANGE: TimeDelta = TimeDelta::days(1);
/// The longest range that is read.
pub const LONGEST_RANGE: TimeDelta = TimeDelta::days(31);
/// How long before the range samples are read as well: counters need the one before.
const LEAD: TimeDelta = TimeDelta::minutes(10);
/// How many steps a range is cut into at most.
const MOST_STEPS: i64 = 240;
/// How many samples of a measure are read.
const MOST_SAMPLES: i64 = 100_000;

/// One measure over a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    pub step: TimeDelta,
    pub points: Vec<Point>,
}

/// The measures of a model that there are samples of.
///
/// # Errors
/// When the database fails.
pub async fn read(
    conn: &mut PgConnection,
    model_id: ModelId,
    only: Option<&str>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<(&'static MeasureInfo, Readings)>, Error> {
    let step = step(to - from);
    let from = floor(from, step);
    let mut found = Vec::new();
    for name in telemetry::measures(conn, model_id, (from, to)).await? {
        let Some(info) = table().measure(&name) else {
            continue;
        };
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let range = (from - LEAD, to);
        let samples = telemetry::samples(conn, model_id, &name, range, MOST_SAMPLES).await?;
        let points = points(info.combine, &samples, (from, to), step);
        found.push((info, Readings { step, points }));
    }
    Ok(found)
}

/// Whole minutes, so that a range has no more than [`MOST_STEPS`].
fn step(range: TimeDelta) -> TimeDelta {
    let minutes = (range.num_minutes() + MOST_STEPS - 1) / MOST_STEPS;
    let usual = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360];
    let step = usual.into_iter().find(|step| *step >= minutes);
    TimeDelta::minutes(step.unwrap_or(minutes))
}

fn floor(at: DateTime<Utc>, step: TimeDelta) -> DateTime<Utc> {
    let seconds = at.timestamp().rem_euclid(step.num_seconds());
    DateTime::from_timestamp(at.timestamp() - seconds, 0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_few_steps_that_begin_at_round_times() {
        for (range, minutes) in [
            (TimeDelta::hours(1), 1),
            (TimeDelta::days(1), 10),
            (TimeDelta::days(7), 60),
            (TimeDelta::days(31), 360),
        ] {
            assert_eq!(step(range), TimeDelta::minutes(minutes));
        }
        let at: DateTime<Utc> = "2026-03-01T10:17:31Z".parse().expect("an instant");
        let floored = floor(at, TimeDelta::minutes(10));
        assert_eq!(floored.to_rfc3339(), "2026-03-01T10:10:00+00:00");
    }
}
