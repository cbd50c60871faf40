//! What lists are asked with: instants that may be written as a day, and how many entries at most.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Deserializer};

use crate::services::Error;

/// How many entries a list has when nobody says.
pub const USUAL_LIMIT: i64 = 100;
/// The longest list.
pub const HIGHEST_LIMIT: i64 = 1_000;

/// An instant: RFC 3339, or a day, which means its first instant in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = String, example = "2013-03-15")]
pub struct Moment(pub DateTime<Utc>);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Self(day.and_time(NaiveTime::MIN).and_utc()));
        }
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self(at.to_utc()))
            .map_err(|_| {
                format!("{text:?} is no time; write 2013-03-15 or 2013-03-15T12:00:00Z (RFC 3339)")
            })
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The number of entries asked for, or the usual one.
///
/// # Errors
/// Invalid when it is not from 1 to `highest`.
pub fn limit(asked: Option<i64>, usual: i64, highest: i64) -> Result<i64, Error> {
    let limit = asked.unwrap_or(usual);
    if (1..=highest).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid_field(
        "limit",
        format!("must be from 1 to {highest}"),
    ))
}

/// How many entries of a list are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// At most so many, from 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

impl ListQuery {
    /// See [`limit`].
    ///
    /// # Errors
    /// Invalid when it is out of bounds.
    pub fn limit(&self) -> Result<i64, Error> {
        limit(self.limit, USUAL_LIMIT, HIGHEST_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_first_instant_and_offsets_are_followed() {
        for (text, expected) in [
            ("2013-03-15", Some("2013-03-15T00:00:00+00:00")),
            ("2013-03-15T12:00:00Z", Some("2013-03-15T12:00:00+00:00")),
            (
                "2013-03-15T12:00:00+02:00",
                Some("2013-03-15T10:00:00+00:00"),
            ),
            ("15.3.2013", None),
            ("2013-03-15T12:00:00", None),
            ("", None),
        ] {
            let parsed = text
                .parse::<Moment>()
                .ok()
                .map(|moment| moment.0.to_rfc3339());
            assert_eq!(parsed.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn limits_are_held_to_their_bounds() {
        assert_eq!(limit(None, 100, 1_000).expect("usual"), 100);
        assert_eq!(limit(Some(1_000), 100, 1_000).expect("highest"), 1_000);
        assert!(limit(Some(0), 100, 1_000).is_err());
        assert!(limit(Some(1_001), 100, 1_000).is_err());
    }
}
