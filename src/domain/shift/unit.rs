//! The unit that the detector takes for one observation: a day, or an hour where a monitor's windows are hours. All that
//! differs between the two is here.

use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::reference::Part;
use crate::domain::window::{Grain, Window};
use crate::stats::detector::{self, WINDOWS};

const SECONDS_OF_HOUR: i64 = 60 * 60;

/// What is judged as one: an hour or a day, in UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Hour,
    #[default]
    Day,
}

/// When a unit begins, as it is told: a day by its date.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(untagged)]
pub enum Beginning {
    Day(NaiveDate),
    Hour(DateTime<Utc>),
}

impl Beginning {
    /// As it stands in a sentence.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Day(day) => day.format("%-d %B %Y").to_string(),
            Self::Hour(hour) => hour.format("%-d %B %Y, %H:%M UTC").to_string(),
        }
    }
}

impl fmt::Display for Beginning {
    /// As in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Hour(hour) => hour.format("%Y-%m-%dT%H:%M:%SZ").fmt(f),
        }
    }
}

impl Unit {
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// The unit of windows of that length; weeks and months are too few to learn from.
    #[must_use]
    pub fn of(grain: Grain) -> Option<Self> {
        match grain {
            Grain::Hour => Some(Self::Hour),
            Grain::Day => Some(Self::Day),
            Grain::Week | Grain::Month => None,
        }
    }

    /// The units that a model with that base window can be judged by.
    pub fn of_model(base_window: Grain) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(move |unit| unit.grain() >= base_window)
    }

    /// The length of its windows; its word is the unit's in SQL, too.
    #[must_use]
    pub fn grain(self) -> Grain {
        match self {
            Self::Hour => Grain::Hour,
            Self::Day => Grain::Day,
        }
    }

    /// As the detector has it.
    #[must_use]
    pub fn buckets(self) -> detector::Grain {
        match self {
            Self::Hour => detector::Grain::Hour,
            Self::Day => detector::Grain::Day,
        }
    }

    /// How many units before one are judged with it.
    #[must_use]
    pub fn earlier(self) -> i64 {
        self.buckets().windows()[WINDOWS - 1] as i64 - 1
    }

    /// The number of the unit that `at` falls into, from the epoch, as the detector counts buckets.
    #[must_use]
    pub fn number(self, at: DateTime<Utc>) -> i64 {
        at.timestamp().div_euclid(self.seconds())
    }

    /// The beginning of the unit of that number.
    #[must_use]
    pub fn start_of(self, number: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(number * self.seconds())
    }

    /// The number of the day that the unit is, or is part of.
    #[must_use]
    pub fn day_of(self, number: i64) -> i64 {
        (number * self.seconds()).div_euclid(Self::Day.seconds())
    }

    /// The numbers of the units of a day.
    #[must_use]
    pub fn of_day(self, day: i64) -> std::ops::RangeInclusive<i64> {
        let count = Self::Day.seconds() / self.seconds();
        day * count..=day * count + count - 1
    }

    /// When the unit of that number begins, as it is told.
    #[must_use]
    pub fn beginning(self, number: i64) -> Beginning {
        let start = self.start_of(number);
        match self {
            Self::Hour => Beginning::Hour(start),
            Self::Day => Beginning::Day(start.date_naive()),
        }
    }

    /// The part of the past that a window is judged with.
    #[must_use]
    pub fn before(self, window: Window) -> Part {
        Part {
            from: window.start - TimeDelta::seconds(self.earlier() * self.seconds()),
            to: window.start,
        }
    }

    /// Its word, and that for several.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.grain().as_str()
    }

    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Hour => "hours",
            Self::Day => "days",
        }
    }

    /// So many of them, in words.
    #[must_use]
    pub fn count(self, count: usize) -> String {
        match (self, count) {
            (_, 1) => format!("1 {}", self.word()),
            (Self::Hour, hours) if hours > 24 && hours % 24 == 0 => format!("{} days", hours / 24),
            _ => format!("{count} {}", self.plural()),
        }
    }

    /// The detector's name and version as recipes give them.
    pub(super) fn detector(self) -> &'static str {
        match self {
            Self::Hour => "hours/1",
            Self::Day => "days/1",
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Hour => {
                "means of hours in frozen bins, over windows of 1 and 6 hours, and once a day of 1, 3 and 7 days"
            }
            Self::Day => "means of days in frozen bins, over windows of 1, 3, 7, 14 and 28 days",
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Hour => SECONDS_OF_HOUR,
            Self::Day => 24 * SECONDS_OF_HOUR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn units_are_counted_from_the_epoch_and_back() {
        let evening = at("2026-05-03T23:59:59Z");
        let hour = Unit::Hour.number(evening);
        assert_eq!(Unit::Hour.start_of(hour), at("2026-05-03T23:00:00Z"));
        let day = Unit::Day.number(evening);
        assert_eq!(Unit::Hour.day_of(hour), day);
        assert_eq!(Unit::Day.day_of(day), day);
        assert!(Unit::Hour.of_day(day).contains(&hour));
        assert_eq!(Unit::Hour.of_day(day).count(), 24);
        assert_eq!(Unit::Day.of_day(day), day..=day);
        assert_eq!(Unit::Hour.number(at("1969-12-31T23:30:00Z")), -1);
        assert_eq!(Unit::Hour.day_of(-1), -1);
    }

    #[test]
    fn a_window_is_judged_with_a_week_of_hours_or_four_weeks_of_days() {
        let window = Grain::Hour.window_at(at("2026-05-10T12:00:00Z"));
        assert_eq!(Unit::Hour.before(window).from, at("2026-05-03T13:00:00Z"));
        let window = Grain::Day.window_at(at("2026-05-28T12:00:00Z"));
        let before = Unit::Day.before(window);
        assert_eq!(
            (before.from, before.to),
            (at("2026-05-01T00:00:00Z"), window.start)
        );
    }

    #[test]
    fn a_model_that_counts_by_day_is_not_judged_by_hour() {
        let of = |grain| Unit::of_model(grain).collect::<Vec<_>>();
        assert_eq!(of(Grain::Hour), [Unit::Hour, Unit::Day]);
        assert_eq!(of(Grain::Day), [Unit::Day]);
        let grains = [Grain::Hour, Grain::Day, Grain::Week, Grain::Month];
        assert_eq!(
            grains.map(Unit::of),
            [Some(Unit::Hour), Some(Unit::Day), None, None]
        );
    }

    #[test]
    fn beginnings_are_dates_of_days_and_instants_of_hours() {
        let told = [Unit::Day, Unit::Hour]
            .map(|unit| unit.beginning(unit.number(at("2026-05-03T07:10:00Z"))));
        let json = serde_json::to_string(&told).expect("serialises");
        assert_eq!(json, r#"["2026-05-03","2026-05-03T07:00:00Z"]"#);
        assert_eq!(
            serde_json::from_str::<[Beginning; 2]>(&json).expect("reads"),
            told
        );
        assert_eq!(
            told.map(|at| at.to_string()),
            ["2026-05-03", "2026-05-03T07:00:00Z"]
        );
        assert_eq!(
            told.map(Beginning::words),
            ["3 May 2026", "3 May 2026, 07:00 UTC"]
        );
    }

    #[test]
    fn lengths_are_told_as_people_say_them() {
        let told = [1, 6, 24, 72, 168].map(|hours| Unit::Hour.count(hours));
        assert_eq!(told, ["1 hour", "6 hours", "24 hours", "3 days", "7 days"]);
        assert_eq!(
            [1, 28].map(|days| Unit::Day.count(days)),
            ["1 day", "28 days"]
        );
    }
}
