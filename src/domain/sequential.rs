//! Detectors that watch the labels of a model as they come: what they are told to watch, what they have taken in, and
//! what they say in words.
//!
//! A detector takes in windows of predictions, each once: when the labels that come within a certain time of their
//! prediction (the *lag*) are there. They are held against the labels that the baseline had within the same lag, so a
//! young window is never compared with what the baseline knew in the end; a label that was corrected later counts on both
//! sides as it was then. What comes later than the lag, or is corrected after its window was taken in, changes the measured
//! values and not the detector: its promise is about a sequence of labels each of which is looked at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::labelled::{LabelledRow, LabelledSample, Truth};
use super::measurement::{Measure, Recipe, Status};
use super::promise::Promise;
use super::window::{Grain, Window};
use crate::stats::detector::{Damaged, Form, decode, encode};
use crate::stats::quality::{CompletenessCurve, Z_95, wilson_interval};
use crate::stats::sequential::cohorts::{Cohort, ENOUGH, Standing, comparable};
use crate::stats::sequential::{
    DEFAULT_RUN_LENGTH, LossDetector, LossReference, LossState, NotMonitorable, NotTested,
    RateBatch, RateDetector, RateReference, RateState, Verdict,
};

/// How a quality monitor's detectors are set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SequentialChoice {
    /// Labels that pass on average before a false alarm, at least; without it, those of a year, and [`DEFAULT_RUN_LENGTH`] at least.
    pub run_length: Option<f64>,
    /// How much worse than the baseline is let pass: of a rate in its unit, of losses as a share of their cap.
    pub tolerance: f64,
    /// A number counts as right within this distance of its label.
    pub right_within: Option<f64>,
    /// Absolute errors count as this much at most; without it, as the baseline's 99th percentile.
    pub loss_cap: Option<f64>,
}

impl Default for SequentialChoice {
    fn default() -> Self {
        Self {
            run_length: None,
            tolerance: 0.0,
            right_within: None,
            loss_cap: None,
        }
    }
}

/// Without a choice of run length, about one false alarm of a detector is to be expected in as many days.
const DAYS_OF_A_YEAR: f64 = 365.25;

/// Why nothing can be watched.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CannotWatch {
    #[error("the baseline has too few labels to watch by: {0}, and {LEAST_LABELS} are needed")]
    FewLabels(u64),
    #[error(
        "the baseline does not say when its labels came; give the monitor `labels_within`, the time after which they are in"
    )]
    NoLags,
    #[error(
        "the baseline does not say when its predictions were made, and its days cannot be told"
    )]
    NoTimes,
    #[error("{0}")]
    NotMonitorable(#[from] NotMonitorable),
    #[error("{0}")]
    NotTested(#[from] NotTested),
}

/// With fewer labels a baseline says nothing of its rate.
const LEAST_LABELS: u64 = 100;
/// With fewer windows nothing is known of how they differ.
const LEAST_WINDOWS: usize = 7;
/// Windows back from now among which the beginning of a change is looked for.
pub const WINDOWS_LOOKED_BACK: i64 = 400;

const STATE: Form = Form {
    family: 17,
    version: 1,
};

#[derive(Debug, Clone, PartialEq)]
enum Detector {
    Rate(RateDetector),
    Loss(LossDetector),
}

/// A detector of one measure, set by a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    pub measure: Measure,
    /// Seconds from a prediction within which its label has to come to be looked at.
    pub lag: f64,
    detector: Detector,
    expected: ExpectedLabels,
    right_within: Option<f64>,
    /// What a loss of 1 is in the measure's unit.
    cap: f64,
    /// Of the baseline's labels, within the lag.
    mean: f64,
    variance: f64,
    pub reference_labels: u64,
    /// The variance of the means of the baseline's windows beyond chance, as a share of that of a label.
    between: f64,
    /// Whether the baseline has enough windows to know how they differ.
    dated: bool,
    /// What was asked for.
    run_length: Option<f64>,
}

/// What a detector knows after a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequentialState {
    detector: DetectorState,
    /// Shares of what an alarm takes, for the worse and for the better.
    pub worse: f64,
    pub better: Option<f64>,
    /// The end of the window that raised the alarm, as long as it lasts.
    pub alarm: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum DetectorState {
    Rate(RateState),
    Loss(LossState),
}

impl SequentialState {
    /// As bytes with family, version and checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(STATE, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        decode(STATE, bytes)
    }

    /// Labels taken in since the detector began.
    #[must_use]
    pub fn labels(&self) -> u64 {
        match &self.detector {
            DetectorState::Rate(state) => state.labels,
            DetectorState::Loss(state) => state.labels,
        }
    }
}

/// A window that was taken in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub labels: u64,
    /// The sum of its losses.
    pub losses: f64,
}

/// What is to be done with a window.
#[derive(Debug, Clone, PartialEq)]
pub enum Readiness {
    Ready,
    /// Not yet, or not with these labels; why.
    Waiting(String),
}

/// The losses of a window within the lag.
#[must_use]
pub fn losses_of<'r>(watch: &Watch, rows: impl Iterator<Item = &'r LabelledRow>) -> Vec<f64> {
    let known = rows.filter_map(|row| row.within(watch.lag));
    known.filter_map(|truth| watch.loss(truth)).collect()
}

impl Watch {
    /// The detector that a baseline's labelled rows give. `labels_within` takes the place of the time by which nine of ten of the
    /// baseline's labels had come.
    ///
    /// # Errors
    /// See [`CannotWatch`].
    pub fn fit(
        measure: Measure,
        choice: &SequentialChoice,
        sample: &LabelledSample,
        grain: Grain,
        labels_within: Option<f64>,
    ) -> Result<Self, CannotWatch> {
        let lag = labels_within.or_else(|| sample.mature_after());
        let lag = lag.ok_or(CannotWatch::NoLags)?;
        let of = |row: &LabelledRow| {
            let truth = row.within(lag)?;
            match measure {
                Measure::LossSequential => truth.loss(),
                _ => {
                    let wrong = truth.is_wrong(choice.right_within)?;
                    Some(f64::from(u8::from(wrong)))
                }
            }
        };
        let rows: Vec<(&LabelledRow, f64)> = (sample.rows.iter())
            .filter_map(|row| Some((row, of(row)?)))
            .collect();
        if (rows.len() as u64) < LEAST_LABELS {
            return Err(CannotWatch::FewLabels(rows.len() as u64));
        }
        let cap = match measure {
            Measure::LossSequential => cap_of(choice, &rows),
            _ => 1.0,
        };
        let losses: Vec<(Option<DateTime<Utc>>, f64)> = (rows.iter())
            .map(|(row, loss)| (row.predicted_at, (loss / cap).min(1.0)))
            .collect();
        let n = losses.len() as f64;
        let mean = losses.iter().map(|(_, loss)| loss).sum::<f64>() / n;
        let squares = losses.iter().map(|(_, loss)| (loss - mean).powi(2));
        let variance = squares.sum::<f64>() / (n - 1.0);
        let windows = Windows::of(&losses, grain);
        let between = windows.as_ref().and_then(|of| of.between(mean, variance));
        // Labels that share causes are as good as fewer that do not.
        let squares = windows.map_or(0.0, |of| of.squares());
        let effective = (n / (1.0 + between.unwrap_or(0.0) * squares / n)).max(2.0);
        let tolerance = choice.tolerance;
        let length = choice.run_length.unwrap_or(DEFAULT_RUN_LENGTH);
        let detector = if measure == Measure::LossSequential {
            let reference = LossReference {
                mean,
                variance,
                labels: effective as u64,
            };
            Detector::Loss(LossDetector::new(reference, tolerance, length)?)
        } else {
            let labels = effective as u64;
            let events = ((mean * effective).ceil() as u64).min(labels);
            let reference = RateReference { events, labels };
            Detector::Rate(RateDetector::new(reference, tolerance, length)?)
        };
        Ok(Self {
            measure,
            lag,
            detector,
            expected: ExpectedLabels::of(sample, |row| of(row).is_some()),
            right_within: choice.right_within,
            cap,
            mean,
            variance,
            reference_labels: rows.len() as u64,
            between: between.unwrap_or(0.0),
            dated: between.is_some(),
            run_length: choice.run_length,
        })
    }

    /// Labels that pass on average before a false alarm where so many come in a day: without a choice those of a year, so that
    /// a model with more labels has no more false alarms.
    fn run_length(&self, labels_a_day: Option<f64>) -> f64 {
        let of_a_year = labels_a_day.unwrap_or(0.0) * DAYS_OF_A_YEAR;
        self.run_length.unwrap_or(of_a_year.max(DEFAULT_RUN_LENGTH))
    }

    /// What tells this detector from others: a state of another course is of no use to it.
    #[must_use]
    pub fn course(&self, baseline: &str) -> String {
        format!(
            "{baseline} {:e} {:e} {:?} {:e} {:e} {:?}",
            self.tolerated(),
            self.between,
            self.run_length,
            self.lag,
            self.cap,
            self.right_within,
        )
    }

    fn loss(&self, truth: &Truth) -> Option<f64> {
        match self.detector {
            Detector::Loss(_) => Some((truth.loss()? / self.cap).min(1.0)),
            Detector::Rate(_) => Some(f64::from(u8::from(truth.is_wrong(self.right_within)?))),
        }
    }

    /// How many times more than chance the mean of a window of so many labels varies: the more labels a window has, the less of its
    /// variance is chance.
    fn overdispersion(&self, labels: f64) -> f64 {
        1.0 + self.between * (labels - 1.0).max(0.0)
    }

    /// What counts as well at most, in the measure's unit.
    #[must_use]
    pub fn tolerated(&self) -> f64 {
        self.cap
            * match &self.detector {
                Detector::Rate(detector) => detector.tolerated(),
                Detector::Loss(detector) => detector.tolerated(),
            }
    }

    /// The baseline's own value, in the measure's unit.
    #[must_use]
    pub fn reference(&self) -> f64 {
        self.cap * self.mean
    }

    /// Whether a window can be taken in at `now`, given its predictions that can have a label, and its labels within the lag.
    #[must_use]
    pub fn readiness(
        &self,
        window: Window,
        (answered, labels): (u64, u64),
        now: DateTime<Utc>,
    ) -> Readiness {
        readiness((&self.expected, self.lag), window, (answered, labels), now)
    }

    /// Takes a window in, after which all its labels have been looked at. `earlier` are the windows taken in before it, as far back
    /// as they tell the traffic.
    ///
    /// # Errors
    /// With a state of another kind or version.
    pub fn take(
        &self,
        before: Option<&SequentialState>,
        earlier: &[Taken],
        window: Window,
        losses: &[f64],
    ) -> Result<SequentialState, NotMonitorable> {
        let factor = self.overdispersion(losses.len() as f64);
        let own = Taken {
            start: window.start,
            end: window.end,
            labels: losses.len() as u64,
            losses: losses.iter().sum(),
        };
        let length = self.run_length(labels_a_day(earlier.iter().chain([&own])));
        let (detector, verdict): (DetectorState, Verdict) = match &self.detector {
            Detector::Rate(detector) => {
                let state = match before.map(|state| &state.detector) {
                    None => RateState::default(),
                    Some(DetectorState::Rate(state)) => *state,
                    Some(DetectorState::Loss(_)) => return Err(NotMonitorable::OtherVersion),
                };
                let batch = RateBatch {
                    events: losses.iter().filter(|loss| **loss > 0.5).count() as u64,
                    labels: losses.len() as u64,
                };
                let detector = detector.overdispersed(factor).promising(length);
                let (next, verdict) = detector.step(state, batch)?;
                (DetectorState::Rate(next), verdict)
            }
            Detector::Loss(detector) => {
                let state = match before.map(|state| &state.detector) {
                    None => detector.start(),
                    Some(DetectorState::Loss(state)) => *state,
                    Some(DetectorState::Rate(_)) => return Err(NotMonitorable::OtherVersion),
                };
                let detector = detector.overdispersed(factor).promising(length);
                let (next, verdict) = detector.step(state, losses)?;
                (DetectorState::Loss(next), verdict)
            }
        };
        let ongoing = before.and_then(|state| state.alarm);
        let alarm = if verdict.is_alarm() {
            ongoing.or(Some(window.end))
        } else {
            ongoing.filter(|_| !verdict.is_quiet())
        };
        Ok(SequentialState {
            detector,
            worse: verdict.worse,
            better: verdict.better,
            alarm,
        })
    }

    /// The last windows, as they were taken in, that speak most for a change for the worse: from which one on, how many
    /// labels they have, and their mean in the measure's unit. The last one alone if none does.
    fn strongest(&self, taken: &[Taken]) -> Option<Strongest> {
        let limit = self.tolerated() / self.cap;
        let mut best: Option<(f64, Strongest)> = None;
        let (mut labels, mut sum, mut squares) = (0, 0.0, 0.0);
        for window in taken.iter().rev() {
            labels += window.labels;
            sum += window.losses;
            squares += (window.labels as f64).powi(2);
            let n = labels as f64;
            let mean = sum / n;
            let evidence = match &self.detector {
                _ if mean <= limit => 0.0,
                Detector::Rate(_) => n * divergence(mean, limit),
                Detector::Loss(_) => n * (mean - limit).powi(2) / (2.0 * self.variance.max(1e-9)),
            };
            let found = Strongest {
                since: window.start,
                labels,
                squares,
                mean,
            };
            if best.as_ref().is_none_or(|(most, _)| evidence > *most) {
                best = Some((evidence, found));
            }
        }
        best.map(|(_, found)| found)
    }

    fn interval(&self, found: &Strongest) -> Option<(f64, f64)> {
        let labels = found.labels as f64;
        let effective = (labels / (1.0 + self.between * found.squares / labels.max(1.0))).max(1.0);
        match &self.detector {
            Detector::Rate(_) => {
                let trials = effective.round() as u64;
                wilson_interval(
                    ((found.mean * effective).round() as u64).min(trials),
                    trials,
                )
            }
            Detector::Loss(_) => {
                let half = Z_95 * (self.variance / effective).sqrt();
                let (low, high) = ((found.mean - half).max(0.0), (found.mean + half).min(1.0));
                Some((self.cap * low, self.cap * high))
            }
        }
    }

    /// The smallest value that would be noticed within so many labels, in windows of so many each, in the measure's unit.
    fn smallest(&self, labels: f64, of_window: f64, run_length: f64) -> Option<f64> {
        let factor = self.overdispersion(of_window);
        let found = match &self.detector {
            Detector::Rate(detector) => (detector.overdispersed(factor))
                .promising(run_length)
                .smallest_noticed(labels),
            Detector::Loss(detector) => (detector.overdispersed(factor))
                .promising(run_length)
                .smallest_noticed(labels),
        };
        found.map(|value| self.cap * value)
    }

    /// What is said of a window that was taken in. `taken` are the windows up to it in the order in which they were.
    #[must_use]
    pub fn told(&self, taken: &[Taken], state: &SequentialState, unit: &str) -> Told {
        let found = self.strongest(taken);
        let daily = labels_a_day(taken);
        let run_length = self.run_length(daily);
        let all: u64 = taken.iter().map(|window| window.labels).sum();
        let of_window = all as f64 / taken.len().max(1) as f64;
        let smallest: Vec<SmallestNoticed> = daily.map_or_else(Vec::new, |daily| {
            [1.0, 7.0, 28.0]
                .into_iter()
                .filter_map(|days| {
                    Some(SmallestNoticed {
                        days,
                        labels: (days * daily).round() as u64,
                        value: self.smallest(days * daily, of_window, run_length)?,
                    })
                })
                .collect()
        });
        let recipe = SequentialRecipe {
            detector: match &self.detector {
                Detector::Rate(_) => "mixture Shiryaev–Roberts, version 1",
                Detector::Loss(_) => "Shiryaev–Roberts by betting, version 1",
            }
            .to_owned(),
            evidence: state.worse,
            evidence_of_better: state.better,
            run_length,
            lag_seconds: self.lag,
            overdispersion: self.overdispersion(of_window),
            windows_differ_known: self.dated,
            labels: state.labels(),
            taken_until: taken.iter().map(|window| window.end).max(),
            since: found.as_ref().map(|found| found.since),
            labels_since: found.as_ref().map(|found| found.labels),
            alarm_since: state.alarm,
            labels_a_day: daily,
            smallest,
        };
        let promise = self.promise(&recipe, unit);
        let detail = self.words(found.as_ref(), state, (&recipe, &promise), unit);
        Told {
            value: found.as_ref().map(|found| self.cap * found.mean),
            interval: found.as_ref().and_then(|found| self.interval(found)),
            status: if state.alarm.is_some() {
                Status::Drift
            } else {
                Status::Ok
            },
            recipe: Recipe {
                method: format!(
                    "labels that came within {} of their prediction, each window once, against the baseline's {} that \
                     came within the same time",
                    length(self.lag),
                    self.reference_labels
                ),
                threshold: Some(self.tolerated()),
                detail: Some(detail),
                promise: Some(promise),
                sequential: Some(recipe),
                ..Recipe::default()
            },
        }
    }

    fn in_words(&self, value: f64, unit: &str) -> String {
        match &self.detector {
            Detector::Rate(_) => format!("{:.1} %", 100.0 * value),
            Detector::Loss(_) if unit.is_empty() => format!("{value:.3}"),
            Detector::Loss(_) => format!("{value:.2} {unit}"),
        }
    }

    fn words(
        &self,
        found: Option<&Strongest>,
        state: &SequentialState,
        (recipe, promise): (&SequentialRecipe, &Promise),
        unit: &str,
    ) -> String {
        let what = match &self.detector {
            Detector::Rate(_) => "of predictions are wrong",
            Detector::Loss(_) => "is the mean loss",
        };
        let said = |value| self.in_words(value, unit);
        let change = match (found, state.alarm) {
            (Some(found), Some(_)) => format!(
                "since {} ({} labels) {} {what}, from {} in the baseline; up to {} counts as well",
                date(found.since),
                found.labels,
                said(self.cap * found.mean),
                said(self.reference()),
                said(self.tolerated()),
            ),
            _ => format!(
                "no change for the worse beyond chance; the baseline has {}, and up to {} counts as well",
                said(self.reference()),
                said(self.tolerated()),
            ),
        };
        let mut parts = vec![change];
        if state.alarm.is_none() && state.better.is_some_and(|better| better >= 1.0) {
            parts.push("it has become better than the baseline".to_owned());
        }
        parts.push(promise.errs.clone());
        if !recipe.smallest.is_empty() {
            parts.push(promise.sees.clone());
        }
        parts.extend(
            recipe
                .taken_until
                .map(|until| format!("labels of predictions up to {} were looked at", date(until))),
        );
        parts.retain(|part| !part.is_empty());
        parts.join("; ")
    }

    fn promise(&self, recipe: &SequentialRecipe, unit: &str) -> Promise {
        let often = recipe.labels_a_day.map_or_else(String::new, |daily| {
            format!(", {} at this traffic", once_in(recipe.run_length / daily))
        });
        let mut errs = format!(
            "a false alarm is to be expected at most once in {:.0} labels{often}",
            recipe.run_length
        );
        if !self.dated {
            errs.push_str("; the baseline does not say how windows differ: expect more false alarms where they do");
        }
        Promise {
            errs,
            sees: self.smallest_words(&recipe.smallest, unit),
        }
    }

    fn smallest_words(&self, smallest: &[SmallestNoticed], unit: &str) -> String {
        if smallest.is_empty() {
            return "labels are too few to say which rise would be seen within 28 days".to_owned();
        }
        let list = |of: &dyn Fn(&SmallestNoticed) -> String| {
            smallest.iter().map(of).collect::<Vec<_>>().join("/")
        };
        format!(
            "smallest rise seen in {} days ({} labels) with a chance of 90 %: to {}",
            list(&|s| format!("{:.0}", s.days)),
            list(&|s| s.labels.to_string()),
            list(&|s| self.in_words(s.value, unit)),
        )
    }
}

/// How many labels a window should have to be like the baseline.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExpectedLabels {
    /// As many as the baseline had at the same age.
    ByAge(CompletenessCurve),
    /// This share of predictions, where the baseline does not say when its labels came.
    Share(f64),
}

impl ExpectedLabels {
    /// Those of a baseline, of which only some rows may be of use.
    pub(super) fn of(sample: &LabelledSample, is_of_use: impl Fn(&LabelledRow) -> bool) -> Self {
        sample.curve().map_or_else(
            || {
                let of_use = sample.rows.iter().filter(|row| is_of_use(row)).count() as f64;
                let labelled = sample.labels as f64 / sample.answered.max(1) as f64;
                Self::Share(labelled * of_use / sample.rows.len().max(1) as f64)
            },
            Self::ByAge,
        )
    }
}

/// Whether a window's labels that came within the lag are as many as the baseline had.
pub(super) fn readiness(
    (expected, lag): (&ExpectedLabels, f64),
    window: Window,
    (answered, labels): (u64, u64),
    now: DateTime<Utc>,
) -> Readiness {
    let ready_at = window.end + chrono::TimeDelta::milliseconds((lag * 1000.0).ceil() as i64);
    if now < ready_at {
        return Readiness::Waiting(format!(
            "its labels are too young to be compared before {}",
            ready_at.format("%Y-%m-%d %H:%M")
        ));
    }
    if labels == 0 {
        return Readiness::Waiting("it has no labels that came in time".to_owned());
    }
    let curve = match expected {
        ExpectedLabels::ByAge(curve) => curve,
        ExpectedLabels::Share(share) => return enough(*share, answered.max(labels), labels),
    };
    let cohort = Cohort {
        from: 0.0,
        to: 0.0,
        answered: answered.max(labels),
        labelled: labels,
    };
    match comparable(curve, &[cohort], lag).map(|of| of.standings) {
        Ok(standings) => match standings.first() {
            Some(Standing::Mature | Standing::AtLag(_)) => Readiness::Ready,
            Some(Standing::Behind { coverage, expected }) => Readiness::Waiting(format!(
                "fewer labels have come than in the baseline at that age, {:.1} % and not {:.1} %, so they are not like them",
                100.0 * coverage,
                100.0 * expected
            )),
            Some(Standing::TooYoung { .. }) => Readiness::Waiting(
                "within `labels_within` less than a fifth of the baseline's labels had come; make it longer".to_owned(),
            ),
            Some(Standing::Empty) | None => {
                Readiness::Waiting("it has no predictions that can have a label".to_owned())
            }
        },
        Err(undefined) => Readiness::Waiting(undefined.to_string()),
    }
}

/// Labels are enough unless chance does not explain that they are less than nine tenths of the expected share.
fn enough(share: f64, answered: u64, labels: u64) -> Readiness {
    let highest = wilson_interval(labels, answered).map_or(0.0, |(_, high)| high);
    if highest >= ENOUGH * share {
        return Readiness::Ready;
    }
    Readiness::Waiting(format!(
        "fewer predictions have a label than in the baseline, {:.1} % and not {:.1} %, so the labels are not like them",
        100.0 * labels as f64 / answered as f64,
        100.0 * share
    ))
}

/// What is said of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The mean of the windows that speak most for a change, in the measure's unit.
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub status: Status,
    pub recipe: Recipe,
}

#[derive(Debug, Clone, PartialEq)]
struct Strongest {
    since: DateTime<Utc>,
    labels: u64,
    /// The sum of the squares of the windows' labels.
    squares: f64,
    /// From 0 to 1.
    mean: f64,
}

/// What a sequential detector went by, stored beside the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequentialRecipe {
    /// Name and version.
    pub detector: String,
    /// Shares of what an alarm takes.
    pub evidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_of_better: Option<f64>,
    /// Labels that pass on average before a false alarm, at least.
    pub run_length: f64,
    /// Labels count that came within this time of their prediction.
    pub lag_seconds: f64,
    /// How many times more than chance windows with as many labels as the usual one differ, and whether the baseline has enough
    /// of them to know.
    pub overdispersion: f64,
    pub windows_differ_known: bool,
    /// Labels looked at since the detector began, of predictions up to this instant.
    pub labels: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_until: Option<DateTime<Utc>>,
    /// Where the windows begin that speak most for a change, and how many labels these have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_since: Option<u64>,
    /// The end of the window that raised the alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_a_day: Option<f64>,
    /// The smallest values for the worse that would be seen with a chance of 90 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smallest: Vec<SmallestNoticed>,
}

/// The smallest value that would be noticed within so many days at the present traffic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SmallestNoticed {
    pub days: f64,
    pub labels: u64,
    pub value: f64,
}

fn cap_of(choice: &SequentialChoice, rows: &[(&LabelledRow, f64)]) -> f64 {
    let is_number = |row: &LabelledRow| matches!(row.truth, Truth::Number { .. });
    if !rows.iter().any(|(row, _)| is_number(row)) {
        return 1.0;
    }
    choice.loss_cap.unwrap_or_else(|| {
        let mut losses: Vec<f64> = rows.iter().map(|(_, loss)| *loss).collect();
        losses.sort_unstable_by(f64::total_cmp);
        let high = losses[(losses.len() * 99 / 100).min(losses.len() - 1)];
        if high > 0.0 { high } else { 1.0 }
    })
}

/// A baseline's labels and the sum of their losses, by window.
struct Windows(Vec<(f64, f64)>);

impl Windows {
    /// Nothing where a label's window is not known.
    fn of(losses: &[(Option<DateTime<Utc>>, f64)], grain: Grain) -> Option<Self> {
        let mut windows: BTreeMap<DateTime<Utc>, (f64, f64)> = BTreeMap::new();
        for (at, loss) in losses {
            let window = windows.entry(grain.window_at((*at)?).start).or_default();
            window.0 += 1.0;
            window.1 += loss;
        }
        Some(Self(windows.into_values().collect()))
    }

    /// The sum of the squares of the windows' labels.
    fn squares(&self) -> f64 {
        self.0.iter().map(|(labels, _)| labels * labels).sum()
    }

    /// The variance between the means of windows beyond chance, as a share of that of a label: by the method of moments,
    /// `(Σ n (m_w − m)² / σ² − (W − 1)) / (N − Σ n² / N)`, at least 0 (W. G. Cochran 1954). It does not depend on how many labels of a
    /// window were drawn, as a ratio to chance would. Nothing with fewer than seven windows.
    fn between(&self, mean: f64, variance: f64) -> Option<f64> {
        if self.0.len() < LEAST_WINDOWS || variance <= 0.0 {
            return None;
        }
        let all: f64 = self.0.iter().map(|(labels, _)| labels).sum();
        let excess = self.0.iter();
        let excess = excess.map(|(n, sum)| n * (sum / n - mean).powi(2) / variance);
        let beyond = excess.sum::<f64>() - (self.0.len() as f64 - 1.0);
        Some((beyond / (all - self.squares() / all)).max(0.0))
    }
}

/// Kullback and Leibler's divergence of two rates, in nats.
fn divergence(p: f64, q: f64) -> f64 {
    let part = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// The labels of the last 28 days of windows, by day.
fn labels_a_day<'a>(taken: impl IntoIterator<Item = &'a Taken, IntoIter: Clone>) -> Option<f64> {
    let taken = taken.into_iter();
    let last = taken.clone().map(|window| window.end).max()?;
    let from = last - chrono::TimeDelta::days(28);
    let recent = taken.filter(|window| window.end > from);
    let (labels, first) = recent.fold((0, last), |(labels, first), window| {
        (labels + window.labels, first.min(window.start))
    });
    let days = (last - first).num_seconds() as f64 / 86_400.0;
    (days > 0.0 && labels > 0).then(|| labels as f64 / days)
}

pub(super) fn once_in(days: f64) -> String {
    if days >= 730.0 {
        format!("about once in {:.0} years", days / 365.25)
    } else if days >= 2.0 {
        format!("about once in {days:.0} days")
    } else {
        format!("about once in {:.0} hours", (24.0 * days).max(1.0))
    }
}

pub(super) fn length(seconds: f64) -> String {
    if seconds >= 172_800.0 {
        format!("{:.1} days", seconds / 86_400.0)
    } else if seconds >= 7_200.0 {
        format!("{:.1} hours", seconds / 3_600.0)
    } else {
        format!("{:.0} minutes", seconds / 60.0)
    }
}

pub(super) fn date(at: DateTime<Utc>) -> String {
    if at.timestamp() % 86_400 == 0 {
        at.format("%-d %B %Y").to_string()
    } else {
        at.format("%-d %B %Y, %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests;
