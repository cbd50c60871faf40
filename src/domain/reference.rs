//! What values are compared with: a fitted baseline, or a part of the past that moves along with the window.
//!
//! A part of the past is a function of the window that is measured and of nothing else: not of the present, not of
//! when the data came. So a replay compares with the same windows as live operation did, and data that come late
//! into one of them have the values that were taken against it measured again.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::window::{Grain, Window};

/// A reference that moves along with the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Past {
    /// The days before the window, up to a gap before it.
    Rolling { days: u32, gap_seconds: i64 },
    /// The same hour, the same weekday, or both, in the weeks before. Hours and weekdays are those of UTC.
    Season {
        weeks: u32,
        same_hour: bool,
        same_weekday: bool,
    },
}

/// A half-open span of event time that a reference is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Part {
    /// Whether `at` falls into it.
    #[must_use]
    pub fn contains(self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.to
    }
}

impl Past {
    /// What a window is compared with, part by part, the newest first: days of a rolling reference, occurrences of a
    /// season. No part reaches into the window.
    #[must_use]
    pub fn parts(self, window: Window) -> Vec<Part> {
        match self {
            Self::Rolling { days, gap_seconds } => {
                let end = window.start - TimeDelta::seconds(gap_seconds);
                (0..i64::from(days))
                    .map(|day| Part {
                        from: end - TimeDelta::days(day + 1),
                        to: end - TimeDelta::days(day),
                    })
                    .collect()
            }
            Self::Season {
                weeks,
                same_hour,
                same_weekday,
            } => {
                let span = if same_hour {
                    window
                } else {
                    Grain::Day.window_at(window.start)
                };
                let step = if same_weekday { 7 } else { 1 };
                (1..=i64::from(weeks) * 7 / step)
                    .map(|times| Part {
                        from: span.start - TimeDelta::days(times * step),
                        to: span.end - TimeDelta::days(times * step),
                    })
                    .collect()
            }
        }
    }

    /// Whether a window is compared with what happened at `at`.
    #[must_use]
    pub fn refers_to(self, window: Window, at: DateTime<Utc>) -> bool {
        // Most of the time it is out of the question, and there may be hundreds of parts.
        let span = self.span(window);
        span.contains(at) && self.parts(window).iter().any(|part| part.contains(at))
    }

    /// From the beginning of the oldest part to the end of the newest.
    #[must_use]
    pub fn span(self, window: Window) -> Part {
        let parts = self.parts(window);
        match (parts.first(), parts.last()) {
            (Some(newest), Some(oldest)) => Part {
                from: oldest.from,
                to: newest.to,
            },
            _ => Part {
                from: window.start,
                to: window.start,
            },
        }
    }

    /// How many of so many parts must have rows: half. With fewer, one odd day would be taken for what is usual.
    #[must_use]
    pub fn needed(parts: usize) -> usize {
        parts.div_ceil(2)
    }

    /// What was compared with, for the recipe; `with_rows` of the parts had rows.
    #[must_use]
    pub fn used(self, window: Window, with_rows: usize) -> ReferenceUsed {
        let parts = self.parts(window).len();
        let span = self.span(window);
        ReferenceUsed {
            kind: match self {
                Self::Rolling { .. } => ReferenceKind::Rolling,
                Self::Season { .. } => ReferenceKind::Season,
            },
            name: None,
            from: Some(span.from),
            to: Some(span.to),
            parts: Some(parts),
            parts_with_rows: Some(with_rows),
            text: self.text(window, parts, with_rows),
        }
    }

    fn text(self, window: Window, parts: usize, with_rows: usize) -> String {
        match self {
            Self::Rolling { days, .. } => format!(
                "the {days} days up to {} ({with_rows} of them with rows)",
                self.span(window).to.format("%Y-%m-%d %H:%M")
            ),
            Self::Season {
                weeks,
                same_hour,
                same_weekday,
            } => {
                let hours = format!(
                    "{} to {}",
                    window.start.format("%H:%M"),
                    window.end.format("%H:%M")
                );
                let weekday = window.start.format("%A");
                let season = match (same_weekday, same_hour && window.grain == Grain::Hour) {
                    (true, true) => format!("{weekday}s, {hours},"),
                    (true, false) => format!("{weekday}s"),
                    (false, _) => format!("{hours} of every day"),
                };
                format!("{season} in the {weeks} weeks before ({with_rows} of {parts} with rows)")
            }
        }
    }
}

/// What kind of reference a value was taken against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    /// A file of rows, usually the training data.
    Baseline,
    /// A fixed window of production.
    Window,
    Rolling,
    Season,
}

/// What a value was taken against, stored with it. How many rows that were stands beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReferenceUsed {
    pub kind: ReferenceKind,
    /// The baseline's, for those that are fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The event time it reaches over, `to` not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// The days of a rolling reference or the occurrences of a season, and how many of them had rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_with_rows: Option<usize>,
    /// All of that for people, as in "against …".
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a valid instant")
    }

    fn part(from: &str, to: &str) -> Part {
        Part {
            from: at(from),
            to: at(to),
        }
    }

    /// A Monday.
    fn hour() -> Window {
        Grain::Hour.window_at(at("2026-03-30T10:00:00Z"))
    }

    #[test]
    fn rolling_days_end_at_the_gap_before_the_window() {
        let past = Past::Rolling {
            days: 2,
            gap_seconds: 86_400,
        };
        let window = Grain::Day.window_at(at("2026-03-10T00:00:00Z"));
        assert_eq!(
            past.parts(window),
            [
                part("2026-03-08T00:00:00Z", "2026-03-09T00:00:00Z"),
                part("2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z"),
            ]
        );
        assert!(past.refers_to(window, at("2026-03-07T00:00:00Z")));
        assert!(!past.refers_to(window, at("2026-03-09T00:00:00Z")));
        assert!(!past.refers_to(window, at("2026-03-06T23:00:00Z")));
    }

    #[test]
    fn seasons_are_the_same_hour_or_weekday_or_both() {
        let season = |same_weekday, same_hour| Past::Season {
            weeks: 2,
            same_hour,
            same_weekday,
        };
        assert_eq!(
            season(true, true).parts(hour()),
            [
                part("2026-03-23T10:00:00Z", "2026-03-23T11:00:00Z"),
                part("2026-03-16T10:00:00Z", "2026-03-16T11:00:00Z"),
            ]
        );
        assert_eq!(
            season(true, false).parts(hour()),
            [
                part("2026-03-23T00:00:00Z", "2026-03-24T00:00:00Z"),
                part("2026-03-16T00:00:00Z", "2026-03-17T00:00:00Z"),
            ]
        );
        let daily = season(false, true).parts(hour());
        assert_eq!(daily.len(), 14);
        assert_eq!(
            (daily[0], daily[13]),
            (
                part("2026-03-29T10:00:00Z", "2026-03-29T11:00:00Z"),
                part("2026-03-16T10:00:00Z", "2026-03-16T11:00:00Z"),
            )
        );
    }

    #[test]
    fn no_part_reaches_into_the_window() {
        let pasts = [
            Past::Rolling {
                days: 28,
                gap_seconds: 0,
            },
            Past::Season {
                weeks: 4,
                same_hour: false,
                same_weekday: true,
            },
            Past::Season {
                weeks: 4,
                same_hour: true,
                same_weekday: false,
            },
        ];
        for past in pasts {
            for window in [hour(), Grain::Day.window_at(hour().start)] {
                let parts = past.parts(window);
                assert!(parts.iter().all(|part| part.to <= window.start), "{past:?}");
                let mut newer = parts.iter().zip(parts.iter().skip(1));
                assert!(newer.all(|(newer, older)| older.to <= newer.from));
            }
        }
    }

    #[test]
    fn the_text_says_what_was_compared_with() {
        let season = Past::Season {
            weeks: 4,
            same_hour: true,
            same_weekday: true,
        };
        assert_eq!(
            season.used(hour(), 3).text,
            "Mondays, 10:00 to 11:00, in the 4 weeks before (3 of 4 with rows)"
        );
        let rolling = Past::Rolling {
            days: 28,
            gap_seconds: 0,
        };
        assert_eq!(
            rolling.used(hour(), 20).text,
            "the 28 days up to 2026-03-30 10:00 (20 of them with rows)"
        );
    }
}
