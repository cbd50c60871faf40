//! Fitting the reference of columns together on the days of a baseline. What takes part are the numbers and flags of its rows,
//! the prediction first.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::profiling::{LATENCY, PREDICTION, Yardstick};
use super::{Error, shift_reference};
use crate::domain::columns::Column;
use crate::domain::ids::BaselineId;
use crate::domain::joint::{self, JointReference};
use crate::domain::schema::{self, FeatureType};
use crate::domain::shift::{date_of, day_number};
use crate::storage::baselines::Baseline;
use crate::storage::joints::{self, StoredReference};
use crate::storage::models::Model;

/// Fits and stores the reference of a baseline whose rows have these columns and times, or why it has none. The caller holds the
/// model's lock.
///
/// # Errors
/// When the database fails.
pub(super) async fn fit(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
    yardstick: &Yardstick,
    (columns, times): (&[Column], &[DateTime<Utc>]),
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let holidays = shift_reference::holidays(conn, model).await?;
    let count = columns.first().map_or(0, Column::len);
    let days = days_of(count, times, &holidays);
    let ends = days.keys().next().zip(days.keys().next_back());
    let stored = StoredReference {
        baseline_id: baseline.baseline_id,
        span: ends.map(|(first, last)| (date_of(*first), date_of(*last))),
        reference: if days.is_empty() {
            Err("the baseline's rows have no days".to_owned())
        } else {
            joint::reference(&ordered(yardstick, columns), &days)
                .map(|reference| reference.encode())
                .map_err(|cause| cause.to_string())
        },
    };
    let of = (model.project_id, model.model_id);
    joints::put_reference(conn, of, &stored, now).await?;
    Ok(())
}

/// Whether it is known what a baseline's days say of its columns together, and can be read.
///
/// # Errors
/// When the database fails.
pub(super) async fn is_whole(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
) -> Result<bool, Error> {
    let stored = joints::reference(conn, baseline_id).await?;
    Ok(stored.is_some_and(|stored| match stored.reference {
        Ok(bytes) => JointReference::decode(&bytes).is_ok(),
        Err(_) => true,
    }))
}

/// The rows of each day that is no holiday; none where rows have no times.
fn days_of(
    count: usize,
    times: &[DateTime<Utc>],
    holidays: &BTreeSet<i64>,
) -> BTreeMap<i64, Vec<usize>> {
    let mut days: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    if times.len() == count {
        for (row, at) in times.iter().enumerate() {
            days.entry(day_number(*at)).or_default().push(row);
        }
    }
    days.retain(|day, _| !holidays.contains(day));
    days
}

/// The columns that take part: not the latency, which is measured on the way.
fn ordered<'c>(yardstick: &Yardstick, columns: &'c [Column]) -> Vec<(&'c Column, FeatureType)> {
    let typed = (columns.iter())
        .filter(|column| column.name != LATENCY)
        .filter_map(|column| Some((column, type_of(yardstick, column)?)));
    joint::taking_part(typed, |column| column.name == PREDICTION)
}

/// What a column is expected to be, or seems to be.
pub(super) fn type_of(yardstick: &Yardstick, column: &Column) -> Option<FeatureType> {
    let expected = yardstick.expectation(&column.name).map(|e| e.feature_type);
    let inferred = || schema::infer([column]).pop().map(|e| e.feature_type);
    expected.or_else(inferred)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::columns::Value;
    use crate::domain::shift::start_of;

    #[test]
    fn numbers_and_flags_take_part_and_the_prediction_comes_first() {
        let of =
            |name: &str, value: fn(i64) -> Value<'static>| Column::of(name, (0..30).map(value));
        let columns = [
            of("distance", |row| Value::Number(row as f64 / 3.0)),
            of("carrier", |row| {
                Value::Text(["AA", "DL"][(row % 2) as usize].into())
            }),
            of("is_late", |row| Value::Boolean(row % 3 == 0)),
            of(LATENCY, |row| Value::Number(row as f64 + 0.5)),
            of(PREDICTION, |row| Value::Number(row as f64 + 0.25)),
        ];
        let names: Vec<&str> = (ordered(&Yardstick::default(), &columns).iter())
            .map(|(column, _)| column.name.as_str())
            .collect();
        assert_eq!(names, [PREDICTION, "distance", "is_late"]);
    }

    #[test]
    fn rows_are_sorted_into_days_without_holidays() {
        let times: Vec<DateTime<Utc>> = (0..6).map(|row| start_of(20 + row / 2)).collect();
        let days = days_of(6, &times, &BTreeSet::from([21]));
        assert_eq!(days, BTreeMap::from([(20, vec![0, 1]), (22, vec![4, 5])]));
        assert!(days_of(6, &[], &BTreeSet::new()).is_empty());
    }
}
