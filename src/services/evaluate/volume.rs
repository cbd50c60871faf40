//! The number of predictions against the season: the days (or hours) before, with their pattern of the week and day,
//! say how many are usual. That none come at all is for the rule `no_predictions_for`, which needs no window.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::subject::Subject;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::promise::Promise;
use crate::domain::shift::{date_of, holiday_words};
use crate::domain::window::Grain;
use crate::services::Error;
use crate::stats::PValue;
use crate::stats::detector::{
    self, Reference, Settings, SmallestVolume, VolumeDay, VolumeReference,
};
use crate::storage::windows;

/// How far back windows are looked at.
const HISTORY: TimeDelta = TimeDelta::days(84);
/// The windows of the past that nothing but the level is learnt from, where there are enough.
const LEAST_LEVEL_DAYS: i64 = 28;
const SECONDS_OF_HOUR: i64 = 3_600;

/// What the season says of the window's number of predictions; nothing for weeks and months.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Option<Measurement>, Error> {
    let grain = match subject.window.grain {
        Grain::Hour => detector::Grain::Hour,
        Grain::Day => detector::Grain::Day,
        Grain::Week | Grain::Month => return Ok(None),
    };
    let of = (subject.version_id, subject.window.grain);
    let (from, to) = (subject.window.start - HISTORY, subject.window.end);
    let counted = windows::counts(conn, of, from, to).await?;
    let days = course(&counted, subject.window.grain, &subject.holidays);
    let (learnt, judged) = split(&days, per_day(subject.window.grain));
    let rows = u64::try_from(subject.totals.predictions).unwrap_or(0);
    let blank = Measurement {
        current_rows: rows,
        reference_rows: learnt.iter().map(|day| day.rows).sum(),
        ..subject.blank(&Segment::overall(), "", Measure::Volume)
    };
    let settings = Settings::default();
    let Some(reference) = Reference::of_volume(grain, learnt, settings) else {
        return Ok(Some(Measurement {
            recipe: recipe(None, Some("fewer than 14 days before it have predictions")),
            ..blank
        }));
    };
    let verdict = match reference.evaluate_volume(judged) {
        Ok(Some(verdict)) => verdict,
        Ok(None) => return Ok(Some(blank)),
        Err(error) => {
            return Ok(Some(Measurement {
                status: Status::Error,
                recipe: recipe(None, Some(&error.to_string())),
                ..blank
            }));
        }
    };
    let evidence = verdict.deciding.as_ref().or(verdict.nearest.as_ref());
    let share = |logarithm: f64| logarithm.exp() - 1.0;
    let promise = promise(&reference);
    let mut words = match (verdict.status, evidence) {
        (detector::Status::Holiday, _) => holiday_words(subject.window.grain.as_str()),
        (detector::Status::Candidate, Some(evidence)) => format!(
            "{} over {} {}; {}",
            evidence.words(),
            evidence.window,
            windows_word(subject.window.grain, evidence.window),
            promise.errs
        ),
        _ => format!(
            "as many as usual, give or take what windows differ by; a change of less than {:.0} % is not reported",
            100.0 * share(reference.settings().least_volume_effect)
        ),
    };
    let left_out = (reference.volume()).map_or(&[][..], VolumeReference::left_out);
    if !left_out.is_empty() {
        let dates = left_out.iter().map(|day| date_of(*day).to_string());
        let dates: Vec<String> = dates.collect();
        words.push_str("; learnt without ");
        words.push_str(&dates.join(", "));
        words.push_str(", far from all other days");
    }
    Ok(Some(Measurement {
        value: Some(evidence.map_or(0.0, |e| share(e.effect))),
        interval: evidence.map(|e| (share(e.interval.0), share(e.interval.1))),
        p_value: verdict.p.map(PValue::value),
        status: match verdict.status {
            detector::Status::Insufficient => Status::Insufficient,
            detector::Status::Candidate => Status::Drift,
            detector::Status::Quiet | detector::Status::Holiday => Status::Ok,
        },
        recipe: Recipe {
            threshold: Some(share(reference.settings().least_volume_effect)),
            promise: Some(promise),
            ..recipe(Some(words), None)
        },
        ..blank
    }))
}

fn recipe(detail: Option<String>, cause: Option<&str>) -> Recipe {
    Recipe {
        method:
            "logarithm of the number of predictions against up to 84 days before, with their season"
                .to_owned(),
        detail,
        cause: cause.map(str::to_owned),
        ..Recipe::default()
    }
}

/// How often it errs, and the smallest loss (or gain) of rows that it would see.
fn promise(reference: &Reference) -> Promise {
    let smallest = reference.smallest_volume_changes();
    let list = |of: &dyn Fn(&SmallestVolume) -> String| {
        smallest.iter().map(of).collect::<Vec<_>>().join("/")
    };
    Promise {
        errs: detector::Verdict::by_chance(reference.settings()),
        sees: format!(
            "smallest loss of rows seen in {} days: {} %",
            list(&|of| format!("{:.0}", of.days)),
            list(&|of| format!("{:.0}", 100.0 * (1.0 - (-of.logarithm).exp())))
        ),
    }
}

fn windows_word(grain: Grain, count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{}{plural}", grain.as_str())
}

fn per_day(grain: Grain) -> i64 {
    if grain == Grain::Hour { 24 } else { 1 }
}

/// Every window from the first one that had predictions to the last; those without any count as such.
fn course(
    counted: &[(DateTime<Utc>, i64)],
    grain: Grain,
    holidays: &BTreeSet<i64>,
) -> Vec<VolumeDay> {
    let length = SECONDS_OF_HOUR * 24 / per_day(grain);
    let bucket = |at: DateTime<Utc>| at.timestamp().div_euclid(length);
    let (Some((first, _)), Some((last, _))) = (counted.first(), counted.last()) else {
        return Vec::new();
    };
    let mut known = counted.iter().peekable();
    (bucket(*first)..=bucket(*last))
        .map(|number| {
            let found = known.next_if(|(at, _)| bucket(*at) == number);
            VolumeDay {
                bucket: number,
                holiday: holidays.contains(&number.div_euclid(per_day(grain))),
                rows: found.map_or(0, |(_, rows)| u64::try_from(*rows).unwrap_or(0)),
            }
        })
        .collect()
}

/// The windows that the level is learnt from, and those that are judged: as many as the longest window has, as long as four
/// weeks are left to learn from, and at least the last. The very first window is left out: it began somewhere in it.
fn split(days: &[VolumeDay], per_day: i64) -> (&[VolumeDay], &[VolumeDay]) {
    let days = days.get(1..).unwrap_or_default();
    let level = usize::try_from(LEAST_LEVEL_DAYS * per_day).unwrap_or(usize::MAX);
    let judged = days
        .len()
        .saturating_sub(level)
        .clamp(1, level)
        .min(days.len());
    days.split_at(days.len() - judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    #[test]
    fn days_without_predictions_count_as_such() {
        let days = course(&[(at(3), 10), (at(6), 20)], Grain::Day, &BTreeSet::new());
        let told: Vec<(i64, u64)> = days.iter().map(|day| (day.bucket, day.rows)).collect();
        assert_eq!(told, [(3, 10), (4, 0), (5, 0), (6, 20)]);
        assert_eq!(course(&[], Grain::Day, &BTreeSet::new()), []);
    }

    #[test]
    fn four_weeks_are_kept_to_learn_from_before_more_than_a_day_is_judged() {
        let days = |count: i64| {
            let counted: Vec<_> = (0..count).map(|day| (at(day), 5)).collect();
            course(&counted, Grain::Day, &BTreeSet::new())
        };
        for (count, learnt, judged) in [
            (0, 0, 0),
            (1, 0, 0),
            (2, 0, 1),
            (20, 18, 1),
            (40, 28, 11),
            (84, 55, 28),
        ] {
            let days = days(count);
            let (a, b) = split(&days, 1);
            assert_eq!((a.len(), b.len()), (learnt, judged), "{count} days");
        }
    }
}
