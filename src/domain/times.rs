//! How a model's own rows write their times, where they do not write them as everybody's should. What names its zone is
//! never in doubt: RFC 3339 with an offset, and timestamps of files that say UTC, mean what they say whatever is set here.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// What numbers and texts are as times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimeFormat {
    /// Integers are milliseconds when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
    /// Where the clock hung that a time without a zone was read off; UTC when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
}

/// Rows are written as everybody's.
pub const USUAL: TimeFormat = TimeFormat {
    written: None,
    zone: None,
};

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Written {
    /// As a number, since 1970.
    Number(Unit),
    /// As text, by the fields of `strftime`.
    Pattern(String),
}

/// The unit of numbers that are times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 4] = [
        Self::Seconds,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Nanoseconds,
    ];

    /// The word used in the model's file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// The instant so many of them after 1970 began; `None` beyond the calendar.
    #[must_use]
    pub fn instant(self, count: i64) -> Option<DateTime<Utc>> {
        match self {
            Self::Seconds => DateTime::from_timestamp(count, 0),
            Self::Milliseconds => DateTime::from_timestamp_millis(count),
            Self::Microseconds => DateTime::from_timestamp_micros(count),
            Self::Nanoseconds => Some(DateTime::from_timestamp_nanos(count)),
        }
    }

    /// As [`Self::instant`], of a number with a fraction, to the nearest microsecond.
    #[must_use]
    pub fn instant_of_fraction(self, count: f64) -> Option<DateTime<Utc>> {
        let microseconds = match self {
            Self::Seconds => count * 1e6,
            Self::Milliseconds => count * 1e3,
            Self::Microseconds => count,
            Self::Nanoseconds => count / 1e3,
        };
        // Beyond this lies no calendar; NaN is no number of anything.
        let limit = i64::MAX as f64 / 2.0;
        let microseconds = Some(microseconds.round()).filter(|count| count.abs() < limit)?;
        DateTime::from_timestamp_micros(microseconds as i64)
    }
}

impl TryFrom<String> for Written {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(unit) = Unit::ALL.into_iter().find(|unit| unit.as_str() == text) {
            return Ok(Self::Number(unit));
        }
        if !text.contains('%') {
            let units = Unit::ALL.map(Unit::as_str).join("`, `");
            return Err(format!(
                "`{text}` is neither `{units}` (since 1970) nor a pattern such as `%d.%m.%Y %H:%M:%S`"
            ));
        }
        if StrftimeItems::new(&text).any(|item| matches!(item, Item::Error)) {
            return Err(format!(
                "`{text}` has a field that there is none of; those of strftime are known, such as `%Y-%m-%d`"
            ));
        }
        // A moment whose fields differ from each other.
        let sample = DateTime::from_timestamp(1_362_132_367, 0).unwrap_or_default();
        let written = sample.format(&text).to_string();
        if let Err(cause) = by_pattern(&written, &text) {
            return Err(format!(
                "`{text}` does not say on which day a time is: `{written}` is no time ({cause})"
            ));
        }
        Ok(Self::Pattern(text))
    }
}

impl From<Written> for String {
    fn from(written: Written) -> Self {
        match written {
            Written::Number(unit) => unit.as_str().to_owned(),
            Written::Pattern(pattern) => pattern,
        }
    }
}

/// A time zone by its name in the tz database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Tz);

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let zone: Result<Tz, _> = name.parse();
        zone.map(Self).map_err(|_| {
            format!("`{name}` is no time zone; they have names such as `Europe/Berlin` or `UTC`")
        })
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0.name().to_owned()
    }
}

/// A time as a text says it.
enum Said {
    Instant(DateTime<Utc>),
    /// What a clock showed.
    Clock(NaiveDateTime),
}

impl TimeFormat {
    /// What a time may be, for whoever wrote another one.
    #[must_use]
    pub fn expected(&self) -> String {
        let number = match &self.written {
            Some(Written::Pattern(pattern)) => return format!("a time as `{pattern}`"),
            Some(Written::Number(unit)) => format!("a number of {} since 1970", unit.as_str()),
            None => "integer milliseconds since 1970".to_owned(),
        };
        match self.zone {
            Some(zone) => format!(
                "a time such as 2026-03-01 10:00:00 ({}) or {number}",
                zone.0
            ),
            None => format!("an RFC 3339 time with offset or {number}"),
        }
    }

    /// The pattern that texts are read by; then numbers are texts too.
    #[must_use]
    pub fn pattern(&self) -> Option<&str> {
        match &self.written {
            Some(Written::Pattern(pattern)) => Some(pattern),
            _ => None,
        }
    }

    /// The unit of integers.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self.written {
            Some(Written::Number(unit)) => unit,
            _ => Unit::Milliseconds,
        }
    }

    /// The unit of numbers with fractions, which have to be asked for.
    #[must_use]
    pub fn unit_of_fractions(&self) -> Option<Unit> {
        match self.written {
            Some(Written::Number(unit)) => Some(unit),
            _ => None,
        }
    }

    /// The instant that a text says.
    ///
    /// # Errors
    /// A cause that goes on from "is the text …, ": what was expected, or that no clock ever showed it.
    pub fn of_text(&self, text: &str) -> Result<DateTime<Utc>, String> {
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Ok(instant.to_utc());
        }
        let not = || format!("not {}", self.expected());
        let said = match (&self.written, self.zone) {
            (Some(Written::Pattern(pattern)), _) => {
                by_pattern(text, pattern).map_err(|cause| format!("{} ({cause})", not()))?
            }
            (_, Some(_)) => Said::Clock(plain(text).ok_or_else(not)?),
            _ => return Err(not()),
        };
        match said {
            Said::Instant(instant) => Ok(instant),
            Said::Clock(clock) => self.of_clock(clock),
        }
    }

    /// The instant at which a clock in the zone showed that; the earlier one of two when clocks were put back.
    ///
    /// # Errors
    /// A cause, when clocks were put forward past it.
    pub fn of_clock(&self, clock: NaiveDateTime) -> Result<DateTime<Utc>, String> {
        let Some(Zone(zone)) = self.zone else {
            return Ok(clock.and_utc());
        };
        match zone.from_local_datetime(&clock) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Ok(at.to_utc()),
            LocalResult::None => Err(format!(
                "which no clock in {zone} ever showed: they were put forward past it"
            )),
        }
    }
}

/// The instant that a text says where nothing is said of how times are written: RFC 3339, or as people and data frames write
/// times: a day, with or without a time of the day, with or without an offset; in UTC without one.
#[must_use]
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    // It is asked of all texts, and most are no times.
    if text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    let with_offset = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
    match with_offset {
        Ok(instant) => Some(instant.to_utc()),
        Err(_) => plain(text).map(|clock| clock.and_utc()),
    }
}

/// As a person writes a time: a day, with or without a time of the day.
fn plain(text: &str) -> Option<NaiveDateTime> {
    let patterns = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let clock = patterns
        .iter()
        .find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    clock.or_else(|| Some(day()?.and_time(NaiveTime::MIN)))
}

fn by_pattern(text: &str, pattern: &str) -> Result<Said, String> {
    if let Ok(instant) = DateTime::parse_from_str(text, pattern) {
        return Ok(Said::Instant(instant.to_utc()));
    }
    match NaiveDateTime::parse_from_str(text, pattern) {
        Ok(clock) => Ok(Said::Clock(clock)),
        Err(error) => match NaiveDate::parse_from_str(text, pattern) {
            Ok(day) => Ok(Said::Clock(day.and_time(NaiveTime::MIN))),
            Err(_) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(written: &str, zone: &str) -> TimeFormat {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        TimeFormat {
            written: given(written).map(|text| Written::try_from(text).expect("a format")),
            zone: given(zone).map(|text| Zone::try_from(text).expect("a zone")),
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn numbers_count_in_the_unit_that_is_said_and_in_milliseconds_otherwise() {
        let expected = at("2013-03-01T10:00:00Z");
        for (unit, count) in [
            ("seconds", 1_362_132_000),
            ("milliseconds", 1_362_132_000_000),
            ("microseconds", 1_362_132_000_000_000),
            ("nanoseconds", 1_362_132_000_000_000_000),
            ("", 1_362_132_000_000),
        ] {
            assert_eq!(
                format(unit, "").unit().instant(count),
                Some(expected),
                "{unit}"
            );
        }
        let half = Unit::Seconds.instant_of_fraction(1_362_132_000.5);
        assert_eq!(half, Some(at("2013-03-01T10:00:00.5Z")));
        for beyond in [f64::NAN, f64::INFINITY, 1e300, -1e300] {
            assert_eq!(Unit::Seconds.instant_of_fraction(beyond), None);
        }
        assert_eq!(Unit::Seconds.instant(i64::MAX), None);
        assert_eq!(USUAL.unit_of_fractions(), None);
    }

    #[test]
    fn texts_are_read_by_their_pattern_and_in_their_zone() {
        for (written, zone, text, expected) in [
            (
                "%d.%m.%Y %H:%M:%S",
                "",
                "01.03.2013 10:00:00",
                "2013-03-01T10:00:00Z",
            ),
            (
                "%d.%m.%Y %H:%M:%S",
                "Europe/Berlin",
                "01.03.2013 11:00:00",
                "2013-03-01T10:00:00Z",
            ),
            (
                "%d.%m.%Y %H:%M:%S",
                "Europe/Berlin",
                "01.07.2013 12:00:00",
                "2013-07-01T10:00:00Z",
            ),
            ("%Y%m%d", "", "20130301", "2013-03-01T00:00:00Z"),
            (
                "%Y%m%d%H%M%S",
                "America/New_York",
                "20130301050000",
                "2013-03-01T10:00:00Z",
            ),
            // An offset in the text goes before the zone.
            (
                "%Y-%m-%d %H:%M:%S %z",
                "Asia/Tokyo",
                "2013-03-01 12:00:00 +0200",
                "2013-03-01T10:00:00Z",
            ),
            (
                "%Y-%m-%d %I:%M %p",
                "",
                "2013-03-01 10:00 AM",
                "2013-03-01T10:00:00Z",
            ),
            (
                "%Y-%m-%d %H:%M:%S%.f",
                "",
                "2013-03-01 10:00:00.25",
                "2013-03-01T10:00:00.25Z",
            ),
            // So does RFC 3339, whatever is said.
            (
                "%d.%m.%Y",
                "Europe/Berlin",
                "2013-03-01T10:00:00Z",
                "2013-03-01T10:00:00Z",
            ),
            (
                "",
                "Europe/Berlin",
                "2013-03-01T11:00:00",
                "2013-03-01T10:00:00Z",
            ),
            (
                "",
                "Europe/Berlin",
                "2013-03-01 11:00:00.5",
                "2013-03-01T10:00:00.5Z",
            ),
            ("", "Europe/Berlin", "2013-03-02", "2013-03-01T23:00:00Z"),
            (
                "seconds",
                "UTC",
                "2013-03-01 10:00:00",
                "2013-03-01T10:00:00Z",
            ),
            // Clocks were put back at three: it was half past two twice.
            (
                "",
                "Europe/Berlin",
                "2013-10-27 02:30:00",
                "2013-10-27T00:30:00Z",
            ),
        ] {
            let read = format(written, zone).of_text(text);
            assert_eq!(read, Ok(at(expected)), "{written} {zone} {text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_with_what_one_would_be() {
        for (written, zone, text, cause) in [
            (
                "",
                "",
                "2013-03-01 10:00:00",
                "not an RFC 3339 time with offset or integer milliseconds since 1970",
            ),
            (
                "seconds",
                "",
                "soon",
                "not an RFC 3339 time with offset or a number of seconds since 1970",
            ),
            (
                "",
                "Europe/Berlin",
                "1.3.2013",
                "not a time such as 2026-03-01 10:00:00 (Europe/Berlin)",
            ),
            (
                "%d.%m.%Y",
                "",
                "31.02.2013",
                "not a time as `%d.%m.%Y` (input is out of range)",
            ),
            ("%d.%m.%Y", "", "2013-03-01", "not a time as `%d.%m.%Y`"),
            (
                "",
                "Europe/Berlin",
                "2013-03-31 02:30:00",
                "no clock in Europe/Berlin ever showed",
            ),
        ] {
            let refused = format(written, zone).of_text(text).expect_err(text);
            assert!(refused.contains(cause), "{refused}");
        }
    }

    #[test]
    fn times_are_read_as_people_and_programs_write_them() {
        let noon = Some(1_362_139_200);
        let cases = [
            ("2013-03-01T12:00:00Z", noon),
            ("2013-03-01T14:00:00+02:00", noon),
            ("2013-03-01T12:00:00", noon),
            ("2013-03-01 12:00:00", noon),
            ("2013-03-01 12:00:00.250", noon),
            ("2013-03-01 14:00:00+02:00", noon),
            (" 2013-03-01 ", Some(1_362_096_000)),
            ("2013-03-01", Some(1_362_096_000)),
            ("01.03.2013", None),
            ("2013-3", None),
            ("abcd-ef", None),
            ("äöü-", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = instant(text).map(|at| at.timestamp());
            assert_eq!(read, expected, "{text:?}");
        }
    }

    #[test]
    fn a_format_that_could_never_give_an_instant_is_refused() {
        for (written, cause) in [
            ("days", "neither `seconds`"),
            ("%Q", "has a field that there is none of"),
            ("%H:%M:%S", "does not say on which day"),
            ("%d.%m. %H:%M", "does not say on which day"),
        ] {
            let refused = Written::try_from(written.to_owned()).expect_err(written);
            assert!(refused.contains(cause), "{refused}");
        }
        let refused = Zone::try_from("Berlin".to_owned()).expect_err("no zone");
        assert!(refused.contains("Europe/Berlin"), "{refused}");
    }

    #[test]
    fn a_format_is_stored_as_it_is_said() {
        for (written, zone) in [("seconds", ""), ("%d.%m.%Y", "Europe/Berlin"), ("", "UTC")] {
            let format = format(written, zone);
            let stored = serde_json::to_value(&format).expect("stored");
            assert_eq!(
                serde_json::from_value::<TimeFormat>(stored).expect("read"),
                format
            );
        }
    }
}
