//! The drift detector on files that have days: the reference's days say how days differ, and each day of the current file that
//! the reference does not have is judged with those before it, all features together.
//!
//! This is a reading of its own, by day and over all rows, whatever windows and segments were asked for. A feature is told
//! of once, on the day that speaks most clearly.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::columns::{self, Job, Plan};
use super::error::ComparisonError;
use super::grouping::{Grouping, Wanted};
use super::progress::Progress;
use super::quality::LABEL;
use super::{Measurement, TIMESTAMP};
use crate::domain::measurement::{Measure, Segment, Status};
use crate::domain::names::is_answer;
use crate::domain::shift::{self, Day, State};
use crate::domain::window::Grain;
use crate::formats::table::Table;
use crate::stats::detector::{
    self, Bins, FeatureDays, NotCounted, Observation, Reference, Role, Settings, Tally,
};
use crate::stats::grid::Grid;
use crate::stats::profile::FeatureProfile;

/// With fewer days in the reference nothing is known of how days differ.
const FEWEST_DAYS: usize = 14;
/// How many profiles are counted at the same time.
const MOST_PROFILES: usize = 1 << 15;

/// What the drift detector says of two files.
#[derive(Debug, Clone, PartialEq)]
pub struct OverDays {
    pub reference_days: usize,
    /// Days of the current file that were judged.
    pub current_days: usize,
    /// One of each feature, on the day that speaks most clearly; the clearest first.
    pub verdicts: Vec<Measurement>,
}

/// The days of the rows of both files.
#[derive(Debug)]
pub(super) struct Days {
    pub(super) reference: Grouping,
    pub(super) current: Grouping,
    /// Days that are known to be different.
    holidays: BTreeSet<i64>,
    /// From the first to the last of the reference.
    span: RangeInclusive<i64>,
}

impl Days {
    /// The days of two files by a column of both.
    ///
    /// # Errors
    /// Why nothing can be said by day, as a sentence without its end: a file has no such column, its values are no times, or the
    /// current file has no other days than the reference.
    pub(super) fn of(
        reference: &Table,
        current: &Table,
        column: Option<&str>,
        (holidays, progress): (&BTreeSet<i64>, &Progress),
    ) -> Result<Self, String> {
        let lacks = |file: &str, column: &str| {
            format!(
                "{file} has no column \"{column}\" with the rows' time (--timestamp names another one)"
            )
        };
        let column = column.ok_or_else(|| lacks("the current file", TIMESTAMP))?;
        let by_day = |file: &str, table: &Table| {
            let wanted = Wanted {
                by: Some(Grain::Day),
                timestamp: Some(table.position(column).ok_or_else(|| lacks(file, column))?),
                segments: &[],
            };
            Grouping::of(table, wanted, progress).map_err(|error| unreadable(file, &error))
        };
        let reference = by_day("the reference", reference)?;
        let current = by_day("the current file", current)?;
        let numbers: Vec<i64> = Self::numbers(&reference).collect();
        let (Some(first), Some(last)) = (numbers.iter().min(), numbers.iter().max()) else {
            return Err("no row of the reference has a time".to_owned());
        };
        let days = Self {
            span: *first..=*last,
            holidays: holidays.clone(),
            reference,
            current,
        };
        if days.judged().next().is_none() {
            return Err("the current file has no days but those of the reference".to_owned());
        }
        Ok(days)
    }

    fn numbers(grouping: &Grouping) -> impl Iterator<Item = i64> {
        let windows = grouping.windows.iter();
        windows.map(|window| shift::day_number(window.start))
    }

    /// From the first to the last day of the reference.
    pub(super) fn span(&self) -> &RangeInclusive<i64> {
        &self.span
    }

    pub(super) fn is_holiday(&self, number: i64) -> bool {
        self.holidays.contains(&number)
    }

    /// The days of the current file that are not among those of the reference, oldest first.
    pub(super) fn judged(&self) -> impl Iterator<Item = i64> {
        Self::numbers(&self.current).filter(|day| !self.span.contains(day))
    }
}

/// Why a file's times cannot be gone by.
fn unreadable(file: &str, error: &ComparisonError) -> String {
    match error {
        ComparisonError::NotATime {
            column, row, cause, ..
        } => {
            format!("{file} has times that cannot be read: column \"{column}\", row {row}: {cause}")
        }
        error => format!("the times of {file} cannot be gone by: could not {error}"),
    }
}

/// One column, counted by day.
struct Counted {
    name: String,
    bins: Bins,
    reference: BTreeMap<i64, Tally>,
    current: BTreeMap<i64, Tally>,
}

/// Counts the columns once more, by day, and judges them; or why the detector says nothing.
pub(super) fn judge(
    job: &Job<'_>,
    plans: &[Plan],
    days: &Days,
) -> Result<Result<OverDays, String>, ComparisonError> {
    let known = days.reference.windows.len();
    if known < FEWEST_DAYS {
        return Ok(Err(format!(
            "the reference has {known} {}, and with fewer than {FEWEST_DAYS} it is not known how days differ",
            if known == 1 { "day" } else { "days" }
        )));
    }
    let job = Job {
        in_reference: &days.reference,
        in_current: &days.current,
        rows: None,
        ..*job
    };
    let groups = days.reference.len().max(days.current.len());
    let at_once = MOST_PROFILES / groups.max(1);
    let counted = columns::each_block(&job, plans, at_once, &|block, threads| {
        let fitted = columns::fit(&job, block, threads)?;
        let places: Vec<usize> = block.iter().filter_map(|plan| plan.current).collect();
        let tallies = columns::count_current(&job, &places, &fitted, threads)?;
        let counted = block.iter().zip(fitted).zip(tallies);
        // What cannot be counted in bins, such as a column of lists, has no verdict.
        Ok(counted
            .filter_map(|((plan, fitted), current)| {
                let profiles = [
                    of_days(&days.reference, &fitted.counted.groups),
                    of_days(&days.current, &current.groups),
                ];
                of_column(&plan.name, fitted.yardstick.grid.as_ref(), &profiles).ok()
            })
            .collect())
    })?;
    Ok(verdicts(&counted, days)
        .ok_or_else(|| "no feature can be counted alike on all days of the reference".to_owned()))
}

fn of_days<'p>(
    grouping: &Grouping,
    counted: &'p [BTreeMap<u32, FeatureProfile>],
) -> BTreeMap<i64, &'p FeatureProfile> {
    let all = counted.first().into_iter().flatten();
    all.filter_map(|(code, profile)| {
        let window = grouping.windows.get(grouping.group(0, *code).window?)?;
        Some((shift::day_number(window.start), profile))
    })
    .collect()
}

fn of_column(
    name: &str,
    grid: Option<&Grid>,
    [reference, current]: &[BTreeMap<i64, &FeatureProfile>; 2],
) -> Result<Counted, NotCounted> {
    let telling: Vec<&FeatureProfile> = (reference.values())
        .copied()
        .filter(|profile| profile.valid() > 0)
        .collect();
    let bins = Bins::of_profiles(&telling, grid)?;
    let told = |tally: Tally| {
        if name == LABEL {
            without_missing(tally)
        } else {
            tally
        }
    };
    let of_reference = |(day, profile): (&i64, &&FeatureProfile)| {
        Ok((*day, told(bins.tally_of_reference(profile)?)))
    };
    let of_current =
        |(day, profile): (&i64, &&FeatureProfile)| Ok((*day, told(bins.tally(profile)?)));
    Ok(Counted {
        name: name.to_owned(),
        reference: reference
            .iter()
            .map(of_reference)
            .collect::<Result<_, NotCounted>>()?,
        current: current
            .iter()
            .map(of_current)
            .collect::<Result<_, NotCounted>>()?,
        bins,
    })
}

/// A label that is missing may still come: that is no drift of the labels, and the label coverage tells of it.
fn without_missing(tally: Tally) -> Tally {
    Tally {
        rows: tally.rows - tally.missing,
        missing: 0,
        ..tally
    }
}

/// What is known best of a feature so far: how clear it is, and what was said.
type Best = Option<(f64, Measurement)>;

fn verdicts(counted: &[Counted], days: &Days) -> Option<OverDays> {
    let features: Vec<FeatureDays<'_>> = (counted.iter())
        .map(|column| FeatureDays {
            name: column.name.clone(),
            role: if is_answer(&column.name) {
                Role::Output
            } else {
                Role::Input
            },
            bins: column.bins.clone(),
            days: observed(&column.reference, days),
        })
        .collect();
    let reference = Reference::fit(detector::Grain::Day, &features, &[], Settings::default());
    let reference = reference.ok()?;
    let mut best: Vec<Best> = vec![None; counted.len()];
    // Of the episode a feature is in: since when, as its first finding said.
    let mut begun: Vec<Option<i64>> = vec![None; counted.len()];
    let mut state = State::default();
    let judged: Vec<i64> = days.judged().collect();
    for number in &judged {
        let told: Vec<_> = (counted.iter().enumerate())
            .map(|(place, column)| {
                let until = column
                    .current
                    .range(number - shift::Unit::Day.earlier()..=*number);
                let known = |day: &i64| judged.contains(day);
                let observed: Vec<Observation<'_>> = until
                    .filter(|(day, _)| known(day))
                    .map(|(day, tally)| observation(*day, tally, days))
                    .collect();
                reference.evaluate(place, &observed).ok()
            })
            .collect();
        let mut day = Day::default();
        for (column, verdict) in counted.iter().zip(&told) {
            if let Some(verdict) = verdict {
                day.add(&column.name, verdict);
            }
        }
        state = state.step(*number, &day);
        for (place, verdict) in told.iter().enumerate() {
            let Some(verdict) = verdict else { continue };
            let candidate = verdict.status == detector::Status::Candidate;
            begun[place] = state
                .open_for(&counted[place].name)
                .and(begun[place].or(verdict.since));
            let evidence = verdict.evidence().unwrap_or(f64::MAX);
            let clearness = if candidate { evidence - 1e9 } else { evidence };
            if best[place]
                .as_ref()
                .is_none_or(|(known, _)| clearness < *known)
            {
                let mut verdict = verdict.clone();
                verdict.since = verdict.since.and(begun[place].or(verdict.since));
                let judged = shift::judged(&reference, place, &verdict, &state, true);
                let told = measurement(&counted[place], *number, judged);
                best[place] = Some((clearness, told));
            }
        }
    }
    let mut best: Vec<(f64, Measurement)> = best.into_iter().flatten().collect();
    best.sort_by(|a, b| {
        a.0.total_cmp(&b.0)
            .then_with(|| a.1.feature.cmp(&b.1.feature))
    });
    Some(OverDays {
        reference_days: days.reference.windows.len(),
        current_days: judged.len(),
        verdicts: best.into_iter().map(|(_, told)| told).collect(),
    })
}

fn observed<'t>(tallies: &'t BTreeMap<i64, Tally>, days: &Days) -> Vec<Observation<'t>> {
    let each = tallies.iter();
    each.map(|(day, tally)| observation(*day, tally, days))
        .collect()
}

fn observation<'t>(bucket: i64, tally: &'t Tally, days: &Days) -> Observation<'t> {
    Observation {
        bucket,
        holiday: days.is_holiday(bucket),
        tally,
    }
}

fn measurement(column: &Counted, number: i64, judged: crate::domain::drift::Judged) -> Measurement {
    let rows = |tallies: &BTreeMap<i64, Tally>| tallies.values().map(|tally| tally.rows).sum();
    Measurement {
        window: Some(Grain::Day.window_at(shift::start_of(number))),
        segment: Segment::overall(),
        feature: column.name.clone(),
        measure: Measure::Shift,
        value: judged.value,
        interval: judged.interval,
        p_value: judged.p_value,
        status: judged.status,
        reference_rows: rows(&column.reference),
        current_rows: column.current.get(&number).map_or(0, |tally| tally.rows),
        recipe: judged.recipe,
    }
}

impl OverDays {
    /// Whether the detector has found drift of any feature.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        self.verdicts.iter().any(|m| m.status == Status::Drift)
    }
}
