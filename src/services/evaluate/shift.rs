//! The default drift detector: a day and the 27 before it, in the bins of the baseline, all features together.
//!
//! A day is counted into tallies when it is measured, and these are kept, so that no profile of an earlier day is read
//! again. Days are judged in order. What is late has its day counted anew, and that day and the 27 after it judged
//! again in order; an episode's state further on stays as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::scene::{Gathered, Scene};
use super::subject::Subject;
use crate::domain::ids::BaselineId;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::reference::Part;
use crate::domain::shift::{self, Day, State};
use crate::domain::window::{Grain, Window};
use crate::services::Error;
use crate::stats::detector::{CannotEvaluate, DayTallies, Observation, Reference, Tally, Verdict};
use crate::storage::shifts::{self, StoredDay, StoredReference};

const METHOD: &str = "judged over days";

/// What a baseline says of its days.
#[derive(Debug)]
pub(super) struct ShiftReference {
    baseline_id: BaselineId,
    reference: Reference,
    /// The numbers of its days; `None` where its rows have no times.
    days: Option<RangeInclusive<i64>>,
    unusable: Vec<String>,
}

/// Why a baseline says nothing of its days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoReference {
    /// It was fitted before there was a detector.
    NotFitted,
    Damaged,
}

impl ShiftReference {
    pub(super) fn of(stored: &StoredReference) -> Result<Self, NoReference> {
        let reference = Reference::decode(&stored.reference).map_err(|error| {
            tracing::error!(baseline = %stored.baseline_id, %error, "a baseline's reference of days is damaged");
            NoReference::Damaged
        })?;
        let number = |day: chrono::NaiveDate| {
            shift::day_number(day.and_time(chrono::NaiveTime::MIN).and_utc())
        };
        Ok(Self {
            baseline_id: stored.baseline_id,
            reference,
            days: (stored.span).map(|(first, last)| number(first)..=number(last)),
            unusable: stored.unusable.clone(),
        })
    }

    /// The first day that may be judged together with this one: no window reaches into the reference.
    fn first_with(&self, number: i64) -> i64 {
        let earliest = number - shift::EARLIER_DAYS;
        match &self.days {
            Some(days) if *days.end() < number => earliest.max(days.end() + 1),
            _ => earliest,
        }
    }

    fn tallied(&self, day: &Gathered) -> (DayTallies, BTreeSet<String>) {
        let mut tallies = DayTallies::default();
        let mut broken = BTreeSet::new();
        let Some(profiles) = day.profiles.get(&Segment::overall()) else {
            return (tallies, broken);
        };
        for feature in self.reference.features() {
            let Some(profile) = profiles.get(feature.name()) else {
                continue;
            };
            match feature.bins().tally(profile) {
                Ok(tally) => {
                    tallies.0.insert(feature.name().to_owned(), tally);
                }
                Err(error) => {
                    tracing::warn!(feature = feature.name(), %error, "a day is not counted as the reference is");
                    broken.insert(feature.name().to_owned());
                }
            }
        }
        (tallies, broken)
    }
}

/// The days before a window that its verdict looks at.
pub(super) fn days_before(window: Window) -> Part {
    Part {
        from: window.start - TimeDelta::days(shift::EARLIER_DAYS),
        to: window.start,
    }
}

/// What the detector says of the day: one value for each feature of the baseline and for the prediction.
pub(super) async fn measure(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(Vec::new());
    };
    let reference = match scene.shift_reference(conn, baseline_id).await? {
        Ok(reference) => reference,
        Err(lack) => {
            let fitted = scene.baseline(conn, Some(baseline_id)).await?;
            let features = (fitted.profiles.get(&Segment::overall()).into_iter())
                .flat_map(BTreeMap::keys)
                .filter(|feature| subject.yardstick.shows_drift(feature));
            return Ok(features
                .map(|f| without_reference(subject, f, lack))
                .collect());
        }
    };
    let number = shift::day_number(subject.window.start);
    if reference
        .days
        .as_ref()
        .is_some_and(|days| days.contains(&number))
    {
        let within = |feature: &crate::stats::detector::FeatureReference| {
            unsaid(
                subject,
                feature.name(),
                Status::Insufficient,
                "the day is part of the reference",
            )
        };
        return Ok(reference.reference.features().iter().map(within).collect());
    }
    let current = scene
        .current(conn, subject.version_id, subject.window)
        .await?;
    let (today, broken) = reference.tallied(&current);
    let course = (subject.version_id, reference.baseline_id);
    let mut days = earlier(conn, scene, subject, &reference, number).await?;
    days.insert(number, today.clone());

    let mut day = Day::default();
    let mut verdicts = Vec::new();
    for (place, feature) in reference.reference.features().iter().enumerate() {
        let name = feature.name();
        let verdict = if current.is_unknown(&Segment::overall(), name) {
            Err(Lack::Damaged)
        } else if broken.contains(name) {
            Err(Lack::OtherBins)
        } else {
            judge(
                &reference.reference,
                place,
                name,
                (&days, &scene.holidays),
                number,
            )
        };
        if let Ok(verdict) = &verdict {
            day.add(name, verdict);
        }
        verdicts.push(verdict);
    }
    let before = shifts::state_before(conn, course, shift::date_of(number)).await?;
    let state = before.unwrap_or_default().step(number, &day);
    let stored = StoredDay {
        day: shift::date_of(number),
        tallies: today.encode(),
        state: state.clone(),
    };
    let model = (scene.model.project_id, scene.model.model_id);
    shifts::put_day(conn, model, course, &stored, scene.now).await?;

    let mut values: Vec<Measurement> = (verdicts.iter().enumerate())
        .map(|(place, verdict)| {
            told(
                subject,
                &reference,
                place,
                verdict.as_ref(),
                (&today, &state),
            )
        })
        .collect();
    values.extend((reference.unusable.iter()).map(|feature| {
        let cause = "the days of the baseline are not counted alike; fit the baseline again";
        unsaid(subject, feature, Status::Error, cause)
    }));
    Ok(values)
}

/// The tallies of the days before that are judged with a day. What is damaged is counted again from its profiles.
async fn earlier(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
    reference: &ShiftReference,
    number: i64,
) -> Result<BTreeMap<i64, DayTallies>, Error> {
    let course = (subject.version_id, reference.baseline_id);
    let (from, to) = (reference.first_with(number), number);
    let stored = shifts::days(conn, course, shift::date_of(from), shift::date_of(to)).await?;
    let mut days = BTreeMap::new();
    for (date, blob) in stored {
        let start = date.and_time(chrono::NaiveTime::MIN).and_utc();
        let tallies = match DayTallies::decode(&blob) {
            Ok(tallies) => tallies,
            Err(error) => {
                tracing::error!(%date, %error, "the counts of a day are damaged; it is counted again");
                let window = Grain::Day.window_at(start);
                let day = scene.current(conn, subject.version_id, window).await?;
                reference.tallied(&day).0
            }
        };
        days.insert(shift::day_number(start), tallies);
    }
    Ok(days)
}

/// Why nothing is said of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    NoValues,
    Damaged,
    OtherBins,
    Broken(CannotEvaluate),
}

fn judge(
    reference: &Reference,
    place: usize,
    feature: &str,
    (days, holidays): (&BTreeMap<i64, DayTallies>, &BTreeSet<i64>),
    number: i64,
) -> Result<Verdict, Lack> {
    let observed: Vec<Observation<'_>> = days
        .iter()
        .filter_map(|(bucket, tallies)| {
            Some(Observation {
                bucket: *bucket,
                holiday: holidays.contains(bucket),
                tally: tallies.0.get(feature)?,
            })
        })
        .collect();
    if observed.last().is_none_or(|last| last.bucket != number) {
        return Err(Lack::NoValues);
    }
    reference.evaluate(place, &observed).map_err(Lack::Broken)
}

fn told(
    subject: &Subject<'_>,
    reference: &ShiftReference,
    place: usize,
    verdict: Result<&Verdict, &Lack>,
    (today, state): (&DayTallies, &State),
) -> Measurement {
    let fitted = &reference.reference;
    let feature = fitted.features()[place].name();
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(Lack::NoValues) => {
            let cause = "the day has no values of it";
            return unsaid(subject, feature, Status::Insufficient, cause);
        }
        Err(Lack::Damaged) => {
            return subject.unknown(&Segment::overall(), feature, Measure::Shift);
        }
        Err(Lack::OtherBins) => {
            let cause =
                "the day is counted in other cells than the baseline; fit the baseline again";
            return unsaid(subject, feature, Status::Error, cause);
        }
        Err(Lack::Broken(error)) => {
            return unsaid(subject, feature, Status::Error, &error.to_string());
        }
    };
    let judged = shift::judged(fitted, place, verdict, state, reference.days.is_some());
    let baseline_rows = subject
        .baseline
        .as_ref()
        .map_or(0, |baseline| baseline.rows);
    Measurement {
        value: judged.value,
        interval: judged.interval,
        p_value: judged.p_value,
        status: judged.status,
        current_rows: today.0.get(feature).map_or(0, |tally: &Tally| tally.rows),
        reference_rows: u64::try_from(baseline_rows).unwrap_or(0),
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            reference: subject.fitted_reference(),
            ..judged.recipe
        },
        ..subject.blank(&Segment::overall(), feature, Measure::Shift)
    }
}

fn without_reference(subject: &Subject<'_>, feature: &str, lack: NoReference) -> Measurement {
    let (status, cause) = match lack {
        NoReference::NotFitted => (
            Status::Insufficient,
            "the baseline has no days; fit it again, on rows and not on statistics",
        ),
        NoReference::Damaged => (
            Status::Error,
            "the baseline's days are damaged; fit the baseline again",
        ),
    };
    unsaid(subject, feature, status, cause)
}

/// A value that there is not.
fn unsaid(subject: &Subject<'_>, feature: &str, status: Status, cause: &str) -> Measurement {
    Measurement {
        status,
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            method: METHOD.to_owned(),
            cause: Some(cause.to_owned()),
            reference: subject.fitted_reference(),
            ..Recipe::default()
        },
        ..subject.blank(&Segment::overall(), feature, Measure::Shift)
    }
}
