//! The default drift detector: a day and the 27 before it, or an hour and the 167 before it, in the bins of the baseline,
//! all features together.
//!
//! What is said of days here goes for hours alike, where the monitor's windows are hours. A day is counted into tallies
//! when it is measured, and these are kept, so that no profile of an earlier day is read again. Days are judged in
//! order. What is late has its day counted anew, and that day and the 27 after it judged
//! again in order; an episode's state further on stays as it was.
//!
//! A week of hours is not read and decoded again for every hour of it: the scene keeps what was read of a course while
//! windows are measured one after the other ([`Kept`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use sqlx::PgConnection;

use super::scene::{Gathered, Scene};
use super::subject::Subject;
use crate::domain::ids::BaselineId;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::domain::shift::{self, Day, State, Unit};
use crate::services::Error;
use crate::stats::detector::{CannotEvaluate, DayTallies, Observation, Reference, Tally, Verdict};
use crate::storage::shifts::{self, Counted, Course, StoredReference};

/// What a baseline says of its days or hours.
#[derive(Debug)]
pub(super) struct ShiftReference {
    baseline_id: BaselineId,
    unit: Unit,
    reference: Reference,
    /// The numbers of its days; `None` where its rows have no times.
    days: Option<RangeInclusive<i64>>,
    unusable: Vec<String>,
}

/// The tallies of every judged day of a course that has a number in `[from, until)`.
#[derive(Debug, Default)]
pub(super) struct Kept {
    from: i64,
    until: i64,
    days: BTreeMap<i64, Arc<DayTallies>>,
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
        Ok(Self {
            baseline_id: stored.baseline_id,
            unit: stored.unit,
            reference,
            days: (stored.span).map(|(first, last)| first..=last),
            unusable: stored.unusable.clone(),
        })
    }

    /// The first day that may be judged together with this one: no window reaches into the reference.
    fn first_with(&self, number: i64) -> i64 {
        let earliest = number - self.unit.earlier();
        match &self.days {
            Some(days) if *days.end() < number => earliest.max(days.end() + 1),
            _ => earliest,
        }
    }

    fn course(&self, subject: &Subject<'_>) -> Course {
        Course {
            version_id: subject.version_id,
            baseline_id: self.baseline_id,
            unit: self.unit,
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

/// What the detector says of the day: one value for each feature of the baseline and for the prediction.
pub(super) async fn measure(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let (Some(baseline_id), Some(unit)) = (subject.baseline_id(), Unit::of(subject.window.grain))
    else {
        return Ok(Vec::new());
    };
    let reference = match scene.shift_reference(conn, baseline_id, unit).await? {
        Ok(reference) => reference,
        Err(lack) => {
            let fitted = scene.baseline(conn, Some(baseline_id)).await?;
            let features = (fitted.profiles.get(&Segment::overall()).into_iter())
                .flat_map(BTreeMap::keys)
                .filter(|feature| subject.yardstick.shows_drift(feature));
            return Ok(features
                .map(|f| without_reference(subject, f, unit, lack))
                .collect());
        }
    };
    let number = unit.number(subject.window.start);
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
                &format!("the {} is part of the reference", unit.word()),
            )
        };
        return Ok(reference.reference.features().iter().map(within).collect());
    }
    let current = scene
        .current(conn, subject.version_id, subject.window)
        .await?;
    let (today, broken) = reference.tallied(&current);
    let today = Arc::new(today);
    let course = reference.course(subject);
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
    let before = shifts::state_before(conn, course, number).await?;
    let state = before.unwrap_or_default().step_by(unit, number, &day);
    let counted = Counted {
        number,
        tallies: today.encode(),
        state: state.clone(),
    };
    let model = (scene.model.project_id, scene.model.model_id);
    shifts::put(conn, model, course, &counted, scene.now).await?;
    scene.tallies.entry(course).or_default().put(number, &today);

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
        let cause = format!(
            "the {} of the baseline are not counted alike; fit the baseline again",
            unit.plural()
        );
        unsaid(subject, feature, Status::Error, &cause)
    }));
    Ok(values)
}

impl Kept {
    /// Whether it has all of a course that has a number in `[from, to)`.
    fn has(&self, from: i64, to: i64) -> bool {
        from >= self.from && to <= self.until
    }

    /// Takes in what was just judged; what comes after a gap says nothing of the gap.
    fn put(&mut self, number: i64, tallies: &Arc<DayTallies>) {
        if number == self.until {
            self.until = number + 1;
        }
        if (self.from..self.until).contains(&number) {
            self.days.insert(number, tallies.clone());
        }
    }

    fn within(&self, from: i64, to: i64) -> BTreeMap<i64, Arc<DayTallies>> {
        let within = self.days.range(from..to);
        within.map(|(number, day)| (*number, day.clone())).collect()
    }
}

/// The tallies of the days before that are judged with a day.
async fn earlier(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    subject: &Subject<'_>,
    reference: &ShiftReference,
    number: i64,
) -> Result<BTreeMap<i64, Arc<DayTallies>>, Error> {
    let course = reference.course(subject);
    let (from, to) = (reference.first_with(number), number);
    let known = scene.tallies.remove(&course).unwrap_or_default();
    let kept = if known.has(from, to) {
        known
    } else {
        read(conn, scene, course, reference, (from, to), known).await?
    };
    let days = kept.within(from, to);
    scene.tallies.insert(course, kept);
    Ok(days)
}

/// Reads those with a number in `[from, to)`, and of these only what is not known where windows are measured in order. What
/// is damaged is counted again from its profiles.
async fn read(
    conn: &mut PgConnection,
    scene: &mut Scene<'_>,
    course: Course,
    reference: &ShiftReference,
    (from, to): (i64, i64),
    known: Kept,
) -> Result<Kept, Error> {
    let goes_on = (known.from..=known.until).contains(&from) && to > known.until;
    let mut kept = if goes_on {
        known
    } else {
        Kept {
            from,
            until: from,
            days: BTreeMap::new(),
        }
    };
    for (number, blob) in shifts::tallies(conn, course, kept.until, to).await? {
        let tallies = match DayTallies::decode(&blob) {
            Ok(tallies) => tallies,
            Err(error) => {
                let at = course.unit.start_of(number);
                tracing::error!(%at, %error, "the counts of a day are damaged; it is counted again");
                let window = course.unit.grain().window_at(at);
                let day = scene.current(conn, course.version_id, window).await?;
                reference.tallied(&day).0
            }
        };
        kept.days.insert(number, Arc::new(tallies));
    }
    kept.until = to;
    Ok(kept)
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
    (days, holidays): (&BTreeMap<i64, Arc<DayTallies>>, &BTreeSet<i64>),
    number: i64,
) -> Result<Verdict, Lack> {
    let unit = shift::unit_of(reference);
    let observed: Vec<Observation<'_>> = days
        .iter()
        .filter_map(|(bucket, tallies)| {
            Some(Observation {
                bucket: *bucket,
                holiday: holidays.contains(&unit.day_of(*bucket)),
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
    let word = reference.unit.word();
    let feature = fitted.features()[place].name();
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(Lack::NoValues) => {
            let cause = format!("the {word} has no values of it");
            return unsaid(subject, feature, Status::Insufficient, &cause);
        }
        Err(Lack::Damaged) => {
            return subject.unknown(&Segment::overall(), feature, Measure::Shift);
        }
        Err(Lack::OtherBins) => {
            let cause = format!(
                "the {word} is counted in other cells than the baseline; fit the baseline again"
            );
            return unsaid(subject, feature, Status::Error, &cause);
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

fn without_reference(
    subject: &Subject<'_>,
    feature: &str,
    unit: Unit,
    lack: NoReference,
) -> Measurement {
    let units = unit.plural();
    let (status, cause) = match lack {
        NoReference::NotFitted => (
            Status::Insufficient,
            format!("the baseline has no {units}; fit it again, on rows and not on statistics"),
        ),
        NoReference::Damaged => (
            Status::Error,
            format!("the baseline's {units} are damaged; fit the baseline again"),
        ),
    };
    unsaid(subject, feature, status, &cause)
}

/// A value that there is not.
fn unsaid(subject: &Subject<'_>, feature: &str, status: Status, cause: &str) -> Measurement {
    Measurement {
        status,
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            method: format!("judged over {}s", subject.window.grain.as_str()),
            cause: Some(cause.to_owned()),
            reference: subject.fitted_reference(),
            ..Recipe::default()
        },
        ..subject.blank(&Segment::overall(), feature, Measure::Shift)
    }
}
