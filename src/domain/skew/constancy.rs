//! Whether it is a surprise that a feature has a single value in a window. A sensor that is stuck is one; the weekday in
//! the rows of one day is none, nor is a day without rain.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::profiles::usual_share;
use super::{is_constant, single_value};
use crate::domain::columns::{Column, Kind};
use crate::domain::window::Grain;
use crate::stats::profile::FeatureProfile;

/// Windows of the reference with fewer values say nothing: they are constant by chance.
const FEWEST_VALUES: u32 = 10;
/// As many windows of the reference it takes to say how often one is constant.
const FEWEST_WINDOWS: u32 = 5;
/// A feature that is constant in this share of the reference's windows may be so now.
const USUAL: f64 = 0.05;
/// What comes about by chance more often than this, if rows do not depend on each other, is no surprise.
const BY_CHANCE: f64 = 1e-3;
/// The share from which on a value is that of most rows.
const MOST: f64 = 0.5;
/// A value that has been all of a window made up as much of one at least, on average over the windows.
const FILLED: f64 = 0.5;
/// A run of equal values in the reference excuses a file of so many times its rows.
const RUNS: u64 = 2;

/// In how many windows of one length the reference had values of a feature, and in how many of these a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stillness {
    pub windows: u32,
    pub still: u32,
}

/// How often each feature of a reference stands still for an hour, a day, a week, a month.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stillnesses(BTreeMap<String, BTreeMap<Grain, Stillness>>);

impl Stillnesses {
    /// Of all columns of a reference, whose rows have these times; nothing when not every row has one.
    #[must_use]
    pub fn of(columns: &[Column], times: &[DateTime<Utc>]) -> Self {
        let mut found = Self::default();
        for grain in [Grain::Hour, Grain::Day, Grain::Week, Grain::Month] {
            let mut numbers: BTreeMap<DateTime<Utc>, usize> = BTreeMap::new();
            let windows: Vec<usize> = (times.iter())
                .map(|at| {
                    let next = numbers.len();
                    *numbers.entry(grain.window_at(*at).start).or_insert(next)
                })
                .collect();
            for column in columns.iter().filter(|column| column.len() == times.len()) {
                let stillness = stillness(column, &windows, numbers.len());
                let of_feature = found.0.entry(column.name.clone()).or_default();
                of_feature.insert(grain, stillness);
            }
        }
        found
    }

    /// Of one feature in windows of a length.
    #[must_use]
    pub fn of_feature(&self, feature: &str, grain: Grain) -> Option<Stillness> {
        self.0.get(feature)?.get(&grain).copied()
    }
}

fn stillness(column: &Column, windows: &[usize], count: usize) -> Stillness {
    #[derive(Clone, Default)]
    struct Seen {
        value: Option<(Kind, u64)>,
        values: u32,
        varies: bool,
    }
    let mut seen = vec![Seen::default(); count];
    let values = column.kinds().iter().zip(column.bits());
    for (value, window) in values.zip(windows) {
        let value = (*value.0, *value.1);
        if matches!(value.0, Kind::Absent | Kind::Null) {
            continue;
        }
        let seen = &mut seen[*window];
        seen.values += 1;
        seen.varies |= *seen.value.get_or_insert(value) != value;
    }
    let telling = seen.iter().filter(|seen| seen.values >= FEWEST_VALUES);
    let (mut windows, mut still) = (0, 0);
    for seen in telling {
        windows += 1;
        still += u32::from(!seen.varies);
    }
    Stillness { windows, still }
}

/// What is known of how a reference stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// In windows as long as the one that is judged.
    pub windows: Option<Stillness>,
    /// The most of its rows in a row that have one value, where their order is known.
    pub longest_run: u64,
}

/// That it varied and has a single value now, where that is a surprise.
pub(super) fn constant(
    reference: &FeatureProfile,
    current: &FeatureProfile,
    past: Past,
) -> Option<String> {
    let is_new = is_constant(current) && !is_constant(reference) && reference.valid() > 0;
    if !is_new || !is_surprising(usual_share(reference, current), current.valid(), past) {
        return None;
    }
    let windows = past.windows.filter(|past| past.windows >= FEWEST_WINDOWS);
    let still = windows.map_or(String::new(), |past| {
        format!(
            "; it has a single value in {} of {} windows like this",
            past.still, past.windows
        )
    });
    Some(format!(
        "all {} values are {}; the reference varies{still}",
        current.valid(),
        single_value(current)
    ))
}

/// `usual` is the share of the reference's values that are the one which all `values` are now; none where it never was.
fn is_surprising(usual: Option<f64>, values: u64, past: Past) -> bool {
    let usual = usual.unwrap_or(0.0);
    let by_chance = usual.powf(values as f64);
    if by_chance > BY_CHANCE || past.longest_run.saturating_mul(RUNS) >= values {
        return false;
    }
    match past.windows.filter(|past| past.windows >= FEWEST_WINDOWS) {
        Some(past) => {
            let never_filled_one = usual * f64::from(past.windows) < FILLED;
            let still = f64::from(past.still) / f64::from(past.windows);
            never_filled_one || still < USUAL
        }
        // Without windows to go by: only the value of most rows may be all there is for a while.
        None => usual < MOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::columns::Value;
    use crate::domain::yardstick::FeatureYardstick;
    use crate::stats::grid::{Grid, TARGET_CELLS};
    use chrono::{Datelike, TimeDelta};

    const DAYS: i64 = 28;
    const A_DAY: i64 = 96;

    fn times() -> Vec<DateTime<Utc>> {
        let start: DateTime<Utc> = "2026-03-02T00:00:00Z".parse().expect("a time");
        let quarter = |row| start + TimeDelta::minutes(15 * row);
        (0..DAYS * A_DAY).map(quarter).collect()
    }

    fn weekday(at: DateTime<Utc>, _: i64) -> Value<'static> {
        Value::Text(at.weekday().to_string().into())
    }

    /// It rains on every third day, and then not all the time.
    fn rain(at: DateTime<Utc>, row: i64) -> Value<'static> {
        let rains = at.ordinal().is_multiple_of(3) && row % 5 < 2;
        let millimetres = 0.1 + (row * 37 % 97) as f64 / 8.0;
        Value::Number(if rains { millimetres } else { 0.0 })
    }

    fn sensor(_: DateTime<Utc>, row: i64) -> Value<'static> {
        Value::Number((row * 37 % 101) as f64 / 4.0)
    }

    type Feature = fn(DateTime<Utc>, i64) -> Value<'static>;

    /// Whether a window with this one value is found, against four weeks of the feature.
    fn found(feature: Feature, stuck: &Value<'static>, grain: Option<Grain>) -> bool {
        let times = times();
        let values = times.iter().zip(0..).map(|(at, row)| feature(*at, row));
        let column = Column::of("f", values);
        let numbers: Vec<f64> = (column.iter())
            .filter_map(|value| match value {
                Value::Number(number) => Some(number),
                _ => None,
            })
            .collect();
        let grid = (!numbers.is_empty()).then(|| Grid::fit(&numbers, TARGET_CELLS));
        let yardstick = FeatureYardstick::new(None, grid);
        let rows: Vec<usize> = (0..column.len()).collect();
        let reference = yardstick.profile(&column, &rows).expect("counts");
        let current = Column::of("f", std::iter::repeat_n(stuck.clone(), 96));
        let rows: Vec<usize> = (0..current.len()).collect();
        let current = yardstick.profile(&current, &rows).expect("counts");
        let past = Past {
            windows: grain.and_then(|grain| {
                Stillnesses::of(std::slice::from_ref(&column), &times).of_feature("f", grain)
            }),
            longest_run: 0,
        };
        constant(&reference, &current, past).is_some()
    }

    #[test]
    fn what_is_usual_in_a_day_is_found_of_no_day_and_of_a_week() {
        let text = |text: &'static str| Value::Text(text.into());
        let (day, week) = (Some(Grain::Day), Some(Grain::Week));
        assert!(!found(weekday, &text("Tue"), day), "each day has one");
        assert!(!found(rain, &Value::Number(0.0), day), "a dry day");
        assert!(found(sensor, &Value::Number(9.25), day), "a stuck sensor");
        assert!(
            found(rain, &Value::Number(3.1), day),
            "rain that never stops and never changes"
        );
        assert!(
            found(weekday, &text("holiday"), day),
            "a name that no day has"
        );
        // Four weeks are too few windows to go by; the share is all that is known then.
        assert!(found(weekday, &text("Tue"), week));
        assert!(!found(rain, &Value::Number(0.0), None), "most rows are dry");
        assert!(found(sensor, &Value::Number(9.25), None));
    }

    #[test]
    fn few_rows_and_long_runs_are_no_surprise() {
        let nothing = Past::default();
        assert!(!is_surprising(Some(0.2), 3, nothing), "one in 125");
        assert!(is_surprising(Some(0.2), 30, nothing));
        let sorted = Past {
            longest_run: 20,
            ..nothing
        };
        assert!(!is_surprising(Some(0.2), 30, sorted));
        assert!(is_surprising(None, 1_000, sorted));
    }

    #[test]
    fn windows_are_counted_where_they_have_values() {
        let times = times();
        let half = |at: DateTime<Utc>, row: i64| match at.day() {
            ..=15 => weekday(at, row),
            _ => Value::Null,
        };
        let values = times.iter().zip(0..).map(|(at, row)| half(*at, row));
        let columns = [Column::of("f", values)];
        let still = Stillnesses::of(&columns, &times);
        assert_eq!(
            still.of_feature("f", Grain::Day),
            Some(Stillness {
                windows: 14,
                still: 14
            })
        );
        assert_eq!(
            still.of_feature("f", Grain::Week),
            Some(Stillness {
                windows: 2,
                still: 0
            })
        );
        assert_eq!(
            still
                .of_feature("f", Grain::Hour)
                .map(|hours| hours.windows),
            Some(0),
            "four values an hour are too few"
        );
        let json = serde_json::to_string(&still).expect("serialises");
        assert_eq!(
            serde_json::from_str::<Stillnesses>(&json).expect("reads back"),
            still
        );
        assert_eq!(
            Stillnesses::of(&columns, &times[1..]),
            Stillnesses::default()
        );
    }
}
