//! Areas under the ROC curve by days: how well a binary model's scores still rank, against the days of the baseline.
//!
//! An area has no value per label, so it cannot be watched label by label. Each day of predictions has one area, over the labels
//! that came within the lag, and it is computed once, when the day is that old: it stays in the recipe of the day's measurement, from
//! which the windows of later days are made without reading a row again. A label that is corrected later changes the measured
//! `roc_auc` and not this. The days of the baseline are those of its labelled rows that came within the same lag.
//!
//! Sampling variances are DeLong's with the components of the baseline's days pooled, and depend on a day's number of labels alone:
//! with each day's own, days that happen to look good would seem better known than the others, and weigh more. Days are compared on the
//! scale of `asin √A`: areas near 1 have a long tail towards less, and compared as they are, quiet days of a good model
//! would be found more often than promised.

use std::collections::BTreeMap;
use std::f64::consts::FRAC_PI_2;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::labelled::{LabelledRow, LabelledSample, Truth};
use super::measurement::{Recipe, Status};
use super::promise::Promise;
use super::sequential::{CannotWatch, ExpectedLabels, Readiness, date, length, once_in, readiness};
use super::window::{Grain, Window};
use crate::stats::quality::{RocArea, Scores};
use crate::stats::sequential::{DAY_WINDOWS, DayChange, DayReference, DayTest, DayValue};

/// Days up to and with the window that are looked at.
pub const DAYS_LOOKED_BACK: i64 = DAY_WINDOWS[DAY_WINDOWS.len() - 1] as i64;

/// A p-value of a fall at or below this is a finding. Half of it is of falls, and there is one look a day.
const SIGNIFICANCE: f64 = 0.001;

/// The area of one day of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DayArea {
    pub area: f64,
    /// Sampling variance of the area.
    pub variance: f64,
    pub positives: u64,
    pub negatives: u64,
}

impl DayArea {
    /// Labels of the rarer class.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.positives.min(self.negatives)
    }
}

/// The days of a baseline, and how those of production are held against them.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaWatch {
    /// Seconds from a prediction within which its label has to come to be looked at.
    pub lag: f64,
    expected: ExpectedLabels,
    components: Components,
    /// By how much a variance is larger on the scale that days are compared on.
    stretch: f64,
    days: DayReference,
    /// Labels of the baseline's days.
    pub reference_labels: u64,
}

/// DeLong's components of the variance, for one label of either class.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Components {
    positive: f64,
    negative: f64,
}

impl Components {
    /// Pooled over days. Where the scores separate the classes without an exception they would be 0; an exception among one label
    /// more than there are, counted half, takes their place.
    fn pooled(days: &[RocArea]) -> Self {
        let pooled = |part: &dyn Fn(&RocArea) -> (f64, u64)| {
            let parts = days.iter().map(part);
            let (spread, labels, freedom) = parts.fold((0.0, 0, 0), |sum, (spread, labels)| {
                (sum.0 + spread, sum.1 + labels, sum.2 + labels - 1)
            });
            let exception = 0.5 / (labels as f64 + 1.0);
            (spread / (freedom.max(1) as f64)).max(exception * (1.0 - exception))
        };
        Self {
            positive: pooled(&|day| (day.positive_spread, day.positives)),
            negative: pooled(&|day| (day.negative_spread, day.negatives)),
        }
    }

    fn variance(&self, positives: u64, negatives: u64) -> f64 {
        self.positive / positives.max(1) as f64 + self.negative / negatives.max(1) as f64
    }
}

/// What is said of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaTold {
    /// How far the area lies above that of the baseline's days.
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub p_value: Option<f64>,
    pub status: Status,
    pub recipe: Recipe,
}

/// What a change of the area was told by, stored beside the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AreaRecipe {
    /// Name and version.
    pub detector: String,
    /// What the day was held against: a day of another course is of no use to later ones.
    pub course: String,
    /// The day itself, computed once; nothing where one of the classes has no labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<DayArea>,
    /// Labels count that came within this time of their prediction.
    pub lag_seconds: f64,
    pub reference_days: usize,
    /// How many times more than chance the baseline's days differ.
    pub overdispersion: f64,
    /// A p-value of a fall at or below this is a finding.
    pub significance: f64,
    /// The days of the window that is told, and its labels of the rarer class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<u64>,
    /// The smallest falls that would be seen with a chance of 90 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smallest: Vec<SmallestFall>,
}

/// The smallest fall that would be seen once it has lasted so many days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SmallestFall {
    pub days: f64,
    pub fall: f64,
}

impl AreaWatch {
    /// The days of a baseline's labelled rows. `labels_within` takes the place of the time by which nine of ten of the baseline's
    /// labels had come.
    ///
    /// # Errors
    /// See [`CannotWatch`].
    pub fn fit(sample: &LabelledSample, labels_within: Option<f64>) -> Result<Self, CannotWatch> {
        let lag = labels_within.or_else(|| sample.mature_after());
        let lag = lag.ok_or(CannotWatch::NoLags)?;
        let mut days: BTreeMap<DateTime<Utc>, Vec<&LabelledRow>> = BTreeMap::new();
        for row in &sample.rows {
            let at = row.predicted_at.ok_or(CannotWatch::NoTimes)?;
            days.entry(Grain::Day.window_at(at).start)
                .or_default()
                .push(row);
        }
        let areas: Vec<RocArea> = (days.into_values())
            .filter_map(|rows| area_of(rows.into_iter(), lag))
            .collect();
        let components = Components::pooled(&areas);
        let rarer: u64 = (areas.iter())
            .map(|area| area.positives.min(area.negatives))
            .sum();
        let exception = 0.5 / (rarer as f64 + 1.0);
        let mean = areas.iter().map(|area| area.value).sum::<f64>() / areas.len().max(1) as f64;
        let mean = mean.clamp(exception, 1.0 - exception);
        let stretch = 0.25 / (mean * (1.0 - mean));
        let values: Vec<DayValue> = (areas.iter())
            .map(|area| DayValue {
                value: on_scale(area.value),
                variance: stretch * components.variance(area.positives, area.negatives),
                size: area.positives.min(area.negatives),
            })
            .collect();
        Ok(Self {
            lag,
            expected: ExpectedLabels::of(sample, |_| true),
            components,
            stretch,
            days: DayReference::fit(&values)?,
            reference_labels: areas
                .iter()
                .map(|area| area.positives + area.negatives)
                .sum(),
        })
    }

    /// What tells these days from those of another baseline or lag.
    #[must_use]
    pub fn course(&self, baseline: &str) -> String {
        format!("{baseline} {:e}", self.lag)
    }

    /// The mean area of the baseline's days.
    #[must_use]
    pub fn reference(&self) -> f64 {
        from_scale(self.days.mean)
    }

    /// The area that lies so far from the baseline's on the scale.
    fn away(&self, difference: f64) -> f64 {
        from_scale(self.days.mean + difference)
    }

    /// Whether a day can be judged at `now`, given its predictions that can have a label and its rows.
    #[must_use]
    pub fn readiness(
        &self,
        window: Window,
        (answered, rows): (u64, &[LabelledRow]),
        now: DateTime<Utc>,
    ) -> Readiness {
        let known = rows.iter().filter_map(|row| row.within(self.lag));
        let labels = known.count() as u64;
        let of = (&self.expected, self.lag);
        readiness(of, window, (answered, labels), now)
    }

    /// The area of a day; nothing where one of the classes has no labels with a score that came in time.
    #[must_use]
    pub fn day(&self, rows: &[LabelledRow]) -> Option<DayArea> {
        let area = area_of(rows.iter(), self.lag)?;
        Some(DayArea {
            area: area.value,
            variance: self.components.variance(area.positives, area.negatives),
            positives: area.positives,
            negatives: area.negatives,
        })
    }

    /// What is said of a day. `days` are those up to it by their beginnings, itself among them; `course` tells what they
    /// were held against.
    #[must_use]
    pub fn told(
        &self,
        days: &BTreeMap<DateTime<Utc>, DayArea>,
        window: Window,
        course: &str,
    ) -> AreaTold {
        let current: Vec<Option<DayArea>> = (0..DAYS_LOOKED_BACK)
            .rev()
            .map(|back| days.get(&(window.start - TimeDelta::days(back))).copied())
            .collect();
        let values: Vec<Option<DayValue>> = current
            .iter()
            .map(|day| day.map(|day| self.value_of(&day)))
            .collect();
        let blank = AreaRecipe {
            detector: "areas by days, version 1".to_owned(),
            course: course.to_owned(),
            day: days.get(&window.start).copied(),
            lag_seconds: self.lag,
            reference_days: self.days.days,
            overdispersion: self.days.overdispersion,
            significance: SIGNIFICANCE,
            days: None,
            since: None,
            labels: None,
            smallest: self.smallest(&values),
        };
        let insufficient = |cause: String| AreaTold {
            value: None,
            interval: None,
            p_value: None,
            status: Status::Insufficient,
            recipe: Recipe {
                method: self.method(),
                cause: Some(cause),
                area: Some(blank.clone()),
                ..Recipe::default()
            },
        };
        if blank.day.is_none() {
            return insufficient(
                "one of the classes has no labels with a score that came in time".to_owned(),
            );
        }
        match self.days.test(&values) {
            Ok(test) => self.found(test, &current, window, blank),
            Err(error) => insufficient(format!(
                "{error}: the last {DAYS_LOOKED_BACK} days have {}",
                size_of(&current)
            )),
        }
    }

    fn found(
        &self,
        test: DayTest,
        current: &[Option<DayArea>],
        window: Window,
        recipe: AreaRecipe,
    ) -> AreaTold {
        let is_found = |change: &DayChange| change.p_value.value() <= SIGNIFICANCE;
        let fall = test.fall.filter(is_found);
        let rise = test.rise.filter(is_found);
        let told = fall.or(rise).unwrap_or(test.strongest);
        let needed = self.days.needed(&told, SIGNIFICANCE);
        let of = &current[current.len() - told.days..];
        let recipe = AreaRecipe {
            days: Some(told.days),
            since: Some(window.start - TimeDelta::days(told.days as i64 - 1)),
            labels: Some(size_of(of)),
            ..recipe
        };
        let what = match (fall, rise) {
            (Some(fall), _) => self.change_in_words("has fallen", fall, &recipe),
            (None, Some(rise)) => self.change_in_words("has risen", rise, &recipe),
            (None, None) => format!(
                "no change beyond chance; over {} the area under the ROC curve is {:.3}, from {:.3} on the baseline's {} days",
                in_days(told.days),
                self.away(told.difference),
                self.reference(),
                self.days.days,
            ),
        };
        let promise = Promise {
            errs: errs(),
            sees: sees(&recipe.smallest),
        };
        AreaTold {
            value: Some(self.away(told.difference) - self.reference()),
            interval: Some((
                self.away(told.interval.0) - self.reference(),
                self.away(told.interval.1) - self.reference(),
            )),
            p_value: Some(told.p_value.value()),
            status: if fall.is_some() {
                Status::Drift
            } else {
                Status::Ok
            },
            recipe: Recipe {
                method: self.method(),
                threshold: needed.map(|needed| self.away(-needed) - self.reference()),
                detail: Some(format!("{what}; {}; {}", promise.errs, promise.sees)),
                promise: Some(promise),
                area: Some(recipe),
                ..Recipe::default()
            },
        }
    }

    fn method(&self) -> String {
        format!(
            "areas under the ROC curve of days, over labels that came within {} of their prediction, against the baseline's days \
             over the labels that came within the same time; asin √area, windows of 1, 3, 7, 14 and 28 days, Student's \
             distribution, times the number of windows",
            length(self.lag)
        )
    }

    fn change_in_words(&self, verb: &str, change: DayChange, recipe: &AreaRecipe) -> String {
        format!(
            "since {} ({}, {} labels of the rarer class) the area under the ROC curve {verb} to {:.3}, from {:.3} on the \
             baseline's {} days",
            recipe.since.map_or_else(String::new, date),
            in_days(change.days),
            recipe.labels.unwrap_or_default(),
            self.away(change.difference),
            self.reference(),
            self.days.days,
        )
    }

    /// A day as it is tested. Its variance is that of the baseline in force, which may have been fitted again since.
    fn value_of(&self, day: &DayArea) -> DayValue {
        DayValue {
            value: on_scale(day.area),
            variance: self.stretch * self.components.variance(day.positives, day.negatives),
            size: day.size(),
        }
    }

    /// By days like those that were looked at.
    fn smallest(&self, values: &[Option<DayValue>]) -> Vec<SmallestFall> {
        let known: Vec<&DayValue> = values.iter().flatten().collect();
        if known.is_empty() {
            return Vec::new();
        }
        let count = known.len() as f64;
        let size = known.iter().map(|day| day.size as f64).sum::<f64>() / count;
        let variance = known.iter().map(|day| day.variance).sum::<f64>() / count;
        let fall = |days: f64| {
            let fall = (self.days).smallest_noticed(days, variance, SIGNIFICANCE)?;
            // No area can fall by more than all of it.
            let is_seen = DayReference::is_enough(days, size) && fall < self.days.mean;
            is_seen.then(|| SmallestFall {
                days,
                fall: self.reference() - self.away(-fall),
            })
        };
        [1.0, 7.0, 28.0].into_iter().filter_map(fall).collect()
    }
}

/// How often a finding is chance.
fn errs() -> String {
    format!(
        "with its one look a day a fall is found by chance {} of a model at most",
        once_in(2.0 / SIGNIFICANCE)
    )
}

/// The smallest fall that would be seen.
fn sees(smallest: &[SmallestFall]) -> String {
    if smallest.is_empty() {
        return "labels are too few to say which fall would be seen within 28 days".to_owned();
    }
    let list = |of: &dyn Fn(&SmallestFall) -> String| {
        smallest.iter().map(of).collect::<Vec<_>>().join("/")
    };
    format!(
        "smallest fall seen in {} days with a chance of 90 %: by {}",
        list(&|s| format!("{:.0}", s.days)),
        list(&|s| format!("{:.3}", s.fall)),
    )
}

/// An area on the scale that days are compared on, from 0 to π/2: its sampling variance hardly depends on it there.
fn on_scale(area: f64) -> f64 {
    area.clamp(0.0, 1.0).sqrt().asin()
}

fn from_scale(value: f64) -> f64 {
    value.clamp(0.0, FRAC_PI_2).sin().powi(2)
}

fn in_days(days: usize) -> String {
    match days {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn size_of(days: &[Option<DayArea>]) -> u64 {
    days.iter().flatten().map(DayArea::size).sum()
}

fn area_of<'r>(rows: impl Iterator<Item = &'r LabelledRow>, lag: f64) -> Option<RocArea> {
    let scored = rows.filter_map(|row| match row.within(lag)? {
        Truth::Binary {
            score: Some(score),
            label,
            ..
        } => Some((*score, *label)),
        _ => None,
    });
    Scores::new(scored.collect()).roc_area().ok()
}

#[cfg(test)]
mod tests;
