//! Fitting the default detector's reference on the days of a baseline: its rows are sorted into days, each day of a
//! feature is counted on the model's grid and folded into bins, and what is left is a few numbers per feature. A model that
//! counts by hour has a reference of its hours beside it, fitted the same way, so that a monitor of hours finds it
//! whenever it is declared.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use sqlx::PgConnection;

use super::Error;
use super::profiling::{PREDICTION, Yardstick};
use crate::domain::columns::Column;
use crate::domain::ids::BaselineId;
use crate::domain::shift::{Unit, date_of, day_number, footing_word};
use crate::stats::detector::{
    Bins, FeatureDays, Footing, NotCounted, Observation, Reference, Role, Settings, Tally,
};
use crate::stats::profile::FeatureProfile;
use crate::storage::baselines::Baseline;
use crate::storage::models::Model;
use crate::storage::shifts::{self, StoredReference};

/// Fits and stores the references of a baseline whose rows have these columns and times; without times all rows are
/// one day that is nowhere. The caller holds the model's lock.
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
    let holidays = holidays(conn, model).await?;
    for unit in Unit::of_model(model.base_window) {
        let days = Days::by(unit, columns.first().map_or(0, Column::len), times);
        if let Some(fitted) = fitted(yardstick, columns, &days, &holidays)? {
            let stored = stored(baseline, fitted, &days, &holidays);
            shifts::put_reference(conn, model.project_id, model.model_id, &stored, now).await?;
        }
    }
    Ok(())
}

fn stored(
    baseline: &Baseline,
    fitted: Fitted,
    days: &Days,
    holidays: &BTreeSet<i64>,
) -> StoredReference {
    let features = || fitted.reference.features().iter();
    let of_any = |of: &dyn Fn(usize) -> Vec<i64>| -> Vec<i64> {
        let numbers: BTreeSet<i64> = (0..features().len()).flat_map(of).collect();
        numbers.into_iter().collect()
    };
    let by_days = features().any(|feature| feature.footing() == Footing::Days);
    StoredReference {
        baseline_id: baseline.baseline_id,
        unit: days.unit,
        span: days.span(),
        days: days.days(),
        counted: if days.dated { days.rows.len() } else { 0 },
        footing: footing_word(if by_days {
            Footing::Days
        } else {
            Footing::RowsOnly
        })
        .to_owned(),
        left_out: of_any(&|place| fitted.reference.features()[place].left_out().to_vec()),
        unstable: of_any(&|place| fitted.reference.features()[place].unstable().to_vec()),
        holidays: days.holidays(holidays),
        unusable: fitted.unusable,
        reference: fitted.reference.encode(),
    }
}

/// The holidays of a model, by the numbers of their days.
///
/// # Errors
/// When the database fails.
pub(super) async fn holidays(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<BTreeSet<i64>, Error> {
    let definition = super::configuration::model_definition(conn, model).await?;
    let days = definition.map_or_else(Vec::new, |definition| definition.holidays);
    Ok(days.into_iter().map(number_of).collect())
}

/// Whether a baseline has references of its days, and of its hours where its model counts by hour, that can be read and were
/// fitted without the holidays of today.
///
/// # Errors
/// When the database fails.
pub(super) async fn is_whole(
    conn: &mut PgConnection,
    model: &Model,
    baseline_id: BaselineId,
) -> Result<bool, Error> {
    let holidays = holidays(conn, model).await?;
    for unit in Unit::of_model(model.base_window) {
        let Some(stored) = shifts::reference(conn, baseline_id, unit).await? else {
            return Ok(false);
        };
        let within = |day: &i64| match stored.span {
            Some((first, last)) => (unit.day_of(first)..=unit.day_of(last)).contains(day),
            None => false,
        };
        let expected = holidays.iter().copied().filter(within).map(date_of);
        let expected: Vec<NaiveDate> = expected.collect();
        if expected != stored.holidays || Reference::decode(&stored.reference).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn number_of(day: NaiveDate) -> i64 {
    day_number(day.and_time(NaiveTime::MIN).and_utc())
}

/// The rows of each day, or hour, by its number.
#[derive(Debug)]
struct Days {
    unit: Unit,
    rows: BTreeMap<i64, Vec<usize>>,
    /// Whether the rows have times.
    dated: bool,
}

impl Days {
    fn by(unit: Unit, count: usize, times: &[DateTime<Utc>]) -> Self {
        let dated = times.len() == count && count > 0;
        let mut rows: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        if dated {
            for (row, at) in times.iter().enumerate() {
                rows.entry(unit.number(*at)).or_default().push(row);
            }
        } else {
            rows.insert(0, (0..count).collect());
        }
        Self { unit, rows, dated }
    }

    fn days(&self) -> usize {
        let days: BTreeSet<i64> = self.rows.keys().map(|n| self.unit.day_of(*n)).collect();
        if self.dated { days.len() } else { 0 }
    }

    fn is_holiday(&self, number: i64, holidays: &BTreeSet<i64>) -> bool {
        self.dated && holidays.contains(&self.unit.day_of(number))
    }

    /// The holidays from its first day to its last.
    fn holidays(&self, all: &BTreeSet<i64>) -> Vec<NaiveDate> {
        let days = |number| self.unit.day_of(number);
        match self.span() {
            Some((first, last)) => {
                let within = all.range(days(first)..=days(last));
                within.copied().map(date_of).collect()
            }
            None => Vec::new(),
        }
    }

    fn span(&self) -> Option<(i64, i64)> {
        let (first, last) = self.rows.keys().next().zip(self.rows.keys().next_back())?;
        self.dated.then_some((*first, *last))
    }
}

struct Fitted {
    reference: Reference,
    unusable: Vec<String>,
}

/// One feature's bins, and its days in them.
struct Counted {
    name: String,
    bins: Bins,
    days: Vec<(i64, Tally)>,
}

fn fitted(
    yardstick: &Yardstick,
    columns: &[Column],
    days: &Days,
    holidays: &BTreeSet<i64>,
) -> Result<Option<Fitted>, Error> {
    let mut usable = Vec::new();
    let mut unusable = Vec::new();
    let shown = |column: &&Column| yardstick.shows_drift(&column.name);
    for column in columns.iter().filter(shown) {
        // One feature at a time: the profiles of all days of all features need not be in memory at once.
        let mut profiles = Vec::with_capacity(days.rows.len());
        for (day, rows) in &days.rows {
            profiles.push((*day, yardstick.profile(column, rows)?));
        }
        match counted(yardstick, &column.name, &profiles) {
            Ok(counted) => usable.push(counted),
            Err(error) => {
                tracing::warn!(feature = column.name, %error, "the days of a baseline are not counted alike");
                unusable.push(column.name.clone());
            }
        }
    }
    if usable.is_empty() {
        return Ok(None);
    }
    let features: Vec<FeatureDays<'_>> = usable
        .iter()
        .map(|counted| FeatureDays {
            name: counted.name.clone(),
            role: if counted.name == PREDICTION {
                Role::Output
            } else {
                Role::Input
            },
            bins: counted.bins.clone(),
            days: (counted.days.iter())
                .map(|(day, tally)| Observation {
                    bucket: *day,
                    holiday: days.is_holiday(*day, holidays),
                    tally,
                })
                .collect(),
        })
        .collect();
    let reference = Reference::fit(days.unit.buckets(), &features, &[], Settings::default());
    Ok(Some(Fitted {
        reference: reference.map_err(Error::internal)?,
        unusable,
    }))
}

fn counted(
    yardstick: &Yardstick,
    name: &str,
    profiles: &[(i64, FeatureProfile)],
) -> Result<Counted, NotCounted> {
    // A day without any value says nothing of what the feature is.
    let telling: Vec<&FeatureProfile> = profiles
        .iter()
        .map(|(_, profile)| profile)
        .filter(|profile| profile.valid() > 0)
        .collect();
    let bins = Bins::of_profiles(&telling, yardstick.grid(name))?;
    let days = profiles.iter().map(|(day, profile)| {
        let tally = bins.tally_of_reference(profile)?;
        Ok((*day, tally))
    });
    Ok(Counted {
        name: name.to_owned(),
        days: days.collect::<Result<_, NotCounted>>()?,
        bins,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::columns::Value;
    use crate::domain::shift::start_of;
    use chrono::TimeDelta;

    fn columns(rows: usize) -> Vec<Column> {
        let carriers = ["AA", "DL", "UA"];
        vec![
            Column::of(
                "carrier",
                (0..rows).map(|row| Value::Text(carriers[row % 3].into())),
            ),
            Column::of("never", (0..rows).map(|_| Value::Null)),
            Column::of(
                PREDICTION,
                (0..rows).map(|row| Value::Text(carriers[row % 2].into())),
            ),
        ]
    }

    #[test]
    fn rows_are_sorted_into_days_and_the_prediction_is_the_output() {
        let times: Vec<DateTime<Utc>> = (0..2_000)
            .map(|row| start_of(20 + row % 20) + TimeDelta::minutes(row / 20))
            .collect();
        let days = Days::by(Unit::Day, 2_000, &times);
        assert_eq!(days.span(), Some((20, 39)));
        let fitted = fitted(
            &Yardstick::default(),
            &columns(2_000),
            &days,
            &BTreeSet::new(),
        )
        .expect("counts")
        .expect("has features");
        assert_eq!(fitted.unusable, Vec::<String>::new());
        let told: Vec<_> = fitted
            .reference
            .features()
            .iter()
            .map(|feature| {
                (
                    feature.name(),
                    feature.role(),
                    feature.footing(),
                    feature.buckets(),
                )
            })
            .collect();
        let expected = [
            ("carrier", Role::Input, Footing::Days, 20),
            // No day of it has a value.
            ("never", Role::Input, Footing::RowsOnly, 20),
            (PREDICTION, Role::Output, Footing::Days, 20),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn rows_without_times_are_one_day_that_is_nowhere() {
        let days = Days::by(Unit::Day, 300, &[]);
        assert_eq!((days.span(), days.rows.len(), days.dated), (None, 1, false));
        let fitted = fitted(
            &Yardstick::default(),
            &columns(300),
            &days,
            &BTreeSet::new(),
        )
        .expect("counts")
        .expect("has features");
        let footing = |feature: &crate::stats::detector::FeatureReference| feature.footing();
        let all: Vec<Footing> = fitted.reference.features().iter().map(footing).collect();
        assert_eq!(all, [Footing::RowsOnly; 3]);
    }

    #[test]
    fn a_feature_that_cannot_be_counted_is_named_and_hides_no_other() {
        let mut columns = columns(300);
        // Numbers without cells to count them in.
        columns.push(Column::of(
            "fare",
            (0..300).map(|row| Value::Number(f64::from(row))),
        ));
        let fitted = fitted(
            &Yardstick::default(),
            &columns,
            &Days::by(Unit::Day, 300, &[]),
            &BTreeSet::new(),
        )
        .expect("counts")
        .expect("has features");
        assert_eq!(fitted.unusable, ["fare"]);
        assert_eq!(fitted.reference.features().len(), 3);
    }

    #[test]
    fn rows_are_sorted_into_hours_of_days_that_may_be_holidays() {
        let times: Vec<DateTime<Utc>> = (0..2_000)
            .map(|row| start_of(20 + row % 20) + TimeDelta::minutes(12 * (row / 20)))
            .collect();
        let hours = Days::by(Unit::Hour, 2_000, &times);
        assert_eq!((hours.days(), hours.rows.len()), (20, 20 * 20));
        assert_eq!(hours.span(), Some((20 * 24, 39 * 24 + 19)));
        let holidays = BTreeSet::from([21, 50]);
        assert_eq!(hours.holidays(&holidays), [date_of(21)]);
        let fitted = fitted(&Yardstick::default(), &columns(2_000), &hours, &holidays)
            .expect("counts")
            .expect("has features");
        let carrier = &fitted.reference.features()[0];
        assert_eq!(
            (carrier.footing(), carrier.buckets(), carrier.whole_days()),
            (Footing::Days, 19 * 20, 19)
        );
        // Twenty hours of one day know nothing of how days differ.
        let of_one_day: Vec<_> = times.iter().step_by(20).copied().collect();
        let few = Days::by(Unit::Hour, 100, &of_one_day);
        let fitted = super::fitted(&Yardstick::default(), &columns(100), &few, &BTreeSet::new())
            .expect("counts")
            .expect("has features");
        assert_eq!(fitted.reference.features()[0].footing(), Footing::RowsOnly);
    }
}
