//! Windows of event time. A window is half open, `[start, end)`, aligned to UTC hours, days, ISO weeks
//! (Monday) or months.

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};

/// How long a window is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Grain {
    Hour,
    Day,
    Week,
    Month,
}

impl Grain {
    /// The word used in files, SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The window of this grain that `at` falls into.
    #[must_use]
    pub fn window_at(self, at: DateTime<Utc>) -> Window {
        let day = at.date_naive();
        let start = match self {
            Self::Hour => {
                day.and_time(NaiveTime::from_hms_opt(at.hour(), 0, 0).unwrap_or_default())
            }
            Self::Day => day.and_time(NaiveTime::MIN),
            Self::Week => (day - Days::new(u64::from(day.weekday().num_days_from_monday())))
                .and_time(NaiveTime::MIN),
            Self::Month => (day - Days::new(u64::from(day.day0()))).and_time(NaiveTime::MIN),
        }
        .and_utc();
        Window {
            grain: self,
            start,
            end: self.end_of(start),
        }
    }

    fn end_of(self, start: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Hour => start + TimeDelta::hours(1),
            Self::Day => start + TimeDelta::days(1),
            Self::Week => start + TimeDelta::weeks(1),
            Self::Month => start + Months::new(1),
        }
    }
}

/// A half-open span of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub grain: Grain,
}

impl Window {
    /// The window right before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        self.grain
            .window_at(self.start - TimeDelta::microseconds(1))
    }

    /// Whether `at` falls into the window.
    #[must_use]
    pub fn contains(self, at: DateTime<Utc>) -> bool {
        self.start <= at && at < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a valid instant")
    }

    #[test]
    fn windows_are_aligned_half_open_and_adjacent() {
        let cases = [
            (
                Grain::Hour,
                "2013-03-15T10:59:59Z",
                "2013-03-15T10:00:00Z",
                "2013-03-15T11:00:00Z",
            ),
            (
                Grain::Day,
                "2013-03-15T00:00:00Z",
                "2013-03-15T00:00:00Z",
                "2013-03-16T00:00:00Z",
            ),
            (
                Grain::Week,
                "2013-03-17T23:59:59Z",
                "2013-03-11T00:00:00Z",
                "2013-03-18T00:00:00Z",
            ),
            (
                Grain::Week,
                "2013-01-01T12:00:00Z",
                "2012-12-31T00:00:00Z",
                "2013-01-07T00:00:00Z",
            ),
            (
                Grain::Month,
                "2013-12-31T23:00:00Z",
                "2013-12-01T00:00:00Z",
                "2014-01-01T00:00:00Z",
            ),
            (
                Grain::Month,
                "2012-02-29T00:00:00Z",
                "2012-02-01T00:00:00Z",
                "2012-03-01T00:00:00Z",
            ),
        ];
        for (grain, instant, start, end) in cases {
            let window = grain.window_at(at(instant));
            assert_eq!(
                (window.start, window.end),
                (at(start), at(end)),
                "{grain:?} at {instant}"
            );
            assert!(window.contains(window.start) && !window.contains(window.end));
            assert_eq!(window.previous().end, window.start);
        }
    }
}
