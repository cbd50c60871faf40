//! How far the labels of a file have come, and what its values are expected to be once all are in: by how long those of the
//! reference took, where that says when each row was predicted and when its label was known.
//!
//! A file does not say when it was written. The latest time in it stands for that, of a prediction or of a label.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::error::ComparisonError;
use super::grouping::{Grouping, seconds};
use super::quality::{LABEL, QualityMeasurement};
use crate::domain::columns::Value;
use crate::domain::measurement::{Measure, Recipe, Segment, Status};
use crate::domain::shift::day_number;
use crate::formats::table::{self, ColumnData, Table};
use crate::stats::quality::{AgeSlice, AgeSpread, CompletenessCurve, Maturity};

/// The column with the time at which the label was known, unless another one is named.
pub(super) const OBSERVED_AT: &str = "observed_at";
/// The most labels whose times are kept: 128 MiB.
const MOST_LABELS: usize = 1 << 24;

/// A file, its groups of rows, and where it has the times of a row.
pub(super) struct Side<'a> {
    pub(super) table: &'a Table,
    pub(super) grouping: &'a Grouping,
    pub(super) timestamp: Option<usize>,
    /// When the label was known.
    pub(super) observed: Option<usize>,
}

/// When the labels of a file came.
#[derive(Debug)]
struct Arrivals {
    /// In seconds after the prediction.
    lags: Vec<f64>,
    /// By window and day.
    windows: BTreeMap<u32, BTreeMap<i64, Slice>>,
    first: i64,
    latest: i64,
    /// Predictions made later are not looked at.
    until: i64,
    /// Why nothing is to be said of them.
    fault: Option<String>,
}

/// The predictions of a window on a day, from the first to the last.
#[derive(Debug)]
struct Slice {
    first: i64,
    last: i64,
    answered: u64,
    labelled: u64,
}

/// Where a file has what is needed.
struct Places {
    time: usize,
    observed: Option<usize>,
    label: usize,
    error: Option<usize>,
}

impl Places {
    /// Or what the file lacks, in words.
    fn of(side: &Side<'_>, file: &str) -> Result<Self, String> {
        let lacks = |what: &str| format!("{file} has no column with {what}");
        Ok(Self {
            time: side
                .timestamp
                .ok_or_else(|| lacks("the rows' time (`timestamp`, or --timestamp)"))?,
            observed: side.observed,
            label: side
                .table
                .position(LABEL)
                .ok_or_else(|| lacks("labels (`label`)"))?,
            error: side.table.position("error"),
        })
    }

    fn of_reference(side: &Side<'_>) -> Result<Self, String> {
        let file = "the reference";
        let places = Self::of(side, file)?;
        match places.observed {
            Some(_) => Ok(places),
            None => Err(format!(
                "{file} has no column with the time at which each label was known (`{OBSERVED_AT}`, or --observed-at)"
            )),
        }
    }
}

impl Arrivals {
    fn of(
        side: &Side<'_>,
        places: &Places,
        within: Option<TimeDelta>,
    ) -> Result<Self, ComparisonError> {
        let mut found = Self {
            lags: Vec::new(),
            windows: BTreeMap::new(),
            first: i64::MAX,
            latest: i64::MIN,
            until: i64::MAX,
            fault: None,
        };
        if let Some(within) = within {
            let all = Self::of(side, places, None)?;
            found.until = all.latest.saturating_sub(within.num_seconds());
            found.fault = all.fault;
        }
        let mut columns = vec![places.time, places.label];
        columns.extend(places.observed);
        columns.extend(places.error);
        let mut first = 0;
        side.table.read(&columns, &mut |batch| {
            found.take(side.grouping, places, first, &batch.columns);
            first += batch.rows;
            found.fault.is_none()
        })?;
        Ok(found)
    }

    fn take(&mut self, grouping: &Grouping, places: &Places, first: usize, columns: &[ColumnData]) {
        let mut columns = columns.iter();
        let mut next = |place: Option<usize>| place.and_then(|_| columns.next());
        let (time, label) = (next(Some(places.time)), next(Some(places.label)));
        let (observed, error) = (next(places.observed), next(places.error));
        let times = time.map_or(Ok(Vec::new()), seconds);
        let observed = observed.map(seconds).transpose();
        let (times, observed) = match (times, observed) {
            (Ok(times), Ok(observed)) => (times, observed),
            (Err((_, cause)), _) | (_, Err((_, cause))) => {
                self.fault = Some(format!("a time cannot be read: {cause}"));
                return;
            }
        };
        let [label, error] = [label, error].map(|data| data.map(is_there));
        for (row, time) in times.into_iter().enumerate() {
            let there = |column: &Option<Vec<bool>>| column.as_ref().is_some_and(|c| c[row]);
            let code = grouping
                .codes(0, first + row, 1)
                .map_or(0, |codes| codes[0]);
            let Some(time) = time.filter(|time| *time <= self.until) else {
                continue;
            };
            if there(&error) || Grouping::is_out_of_groups(code) {
                continue;
            }
            let observed = observed.as_ref().and_then(|observed| observed[row]);
            self.add(code, time, there(&label), observed);
            if self.lags.len() > MOST_LABELS {
                self.fault = Some(format!("there are more than {MOST_LABELS} labels"));
                return;
            }
        }
    }

    fn add(&mut self, code: u32, time: i64, is_labelled: bool, observed: Option<i64>) {
        let days = self.windows.entry(code).or_default();
        let day = at(time).map_or(0, day_number);
        let slice = days.entry(day).or_insert(Slice {
            first: time,
            last: time,
            answered: 0,
            labelled: 0,
        });
        slice.first = slice.first.min(time);
        slice.last = slice.last.max(time);
        slice.answered += 1;
        self.first = self.first.min(time);
        self.latest = self.latest.max(time);
        if !is_labelled {
            return;
        }
        slice.labelled += 1;
        if let Some(observed) = observed {
            self.latest = self.latest.max(observed);
            self.lags.push((observed - time) as f64);
        }
    }

    fn answered(&self) -> u64 {
        let slices = self.windows.values().flat_map(BTreeMap::values);
        slices.map(|slice| slice.answered).sum()
    }

    /// The predictions of a window, as old as they are at the latest time in the file.
    fn slices(&self, days: &BTreeMap<i64, Slice>) -> Vec<AgeSlice> {
        let age = |time: i64| (self.latest - time) as f64;
        let slices = days.values().map(|slice| AgeSlice {
            youngest: age(slice.last),
            oldest: age(slice.first),
            answered: slice.answered,
            labelled: slice.labelled,
        });
        slices.collect()
    }
}

fn at(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

fn is_there(data: &ColumnData) -> Vec<bool> {
    let is_there = |value: Value<'_>| match value {
        Value::Absent | Value::Null => false,
        Value::Text(text) => !text.is_empty(),
        Value::Number(number) => number.is_finite(),
        _ => true,
    };
    match data {
        ColumnData::Mixed(column) => column.iter().map(is_there).collect(),
        ColumnData::Array(array) => table::mixed(array).iter().map(is_there).collect(),
    }
}

/// How far the labels of the current file have come.
#[derive(Debug, Default)]
pub(super) struct Progressed {
    /// The completeness of every window.
    pub(super) completeness: Vec<QualityMeasurement>,
    /// The windows whose labels are not all in, and what is known of them.
    pub(super) young: Vec<Young>,
    /// What the reference's labels are, where there is a young window.
    pub(super) reference: Option<ReferenceSpan>,
}

/// A window some of whose labels are still to come.
#[derive(Debug)]
pub(super) struct Young {
    /// Its place; nothing where rows are not split by time.
    pub(super) window: Option<usize>,
    pub(super) maturity: Maturity,
    pub(super) matures_at: DateTime<Utc>,
    /// A label of the reference that took longer than the age it is given came later than those that are there now.
    pub(super) ages: AgeSpread,
}

/// The reference's predictions that tell how long labels take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReferenceSpan {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    pub(super) labels: u64,
    /// Later predictions of the file are too young to tell.
    pub(super) until: i64,
}

/// The completeness of the labels in every window of the current file, by the reference's predictions that are older than the
/// time `within` which labels come. `is_labelled` says that no label of the current file is missing.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn progressed(
    reference: &Side<'_>,
    current: &Side<'_>,
    (threshold, within): (Option<f64>, Option<TimeDelta>),
    is_labelled: bool,
) -> Result<Progressed, ComparisonError> {
    let places = Places::of_reference(reference)
        .and_then(|before| Ok((before, Places::of(current, "the current file")?)));
    let (before, now) = match places {
        Ok(places) => places,
        // With all labels there nothing is to be waited for.
        Err(_) if is_labelled => return Ok(Progressed::default()),
        Err(cause) => {
            let cause = format!(
                "labels are missing, and whether they are still to come is not known: {cause}"
            );
            return Ok(Progressed {
                completeness: vec![unknown(cause)],
                ..Progressed::default()
            });
        }
    };
    let before = Arrivals::of(reference, &before, within)?;
    let now = Arrivals::of(current, &now, None)?;
    let fault = before.fault.as_ref().or(now.fault.as_ref()).cloned();
    let (labels, answered) = (before.lags.len() as u64, before.answered());
    let span = (at(before.first).zip(at(before.latest.min(before.until)))).map(|(from, to)| {
        ReferenceSpan {
            from,
            to,
            labels,
            until: before.until,
        }
    });
    let curve = match fault {
        Some(fault) => Err(fault),
        None if answered == 0 && within.is_some() => {
            Err("no prediction of the reference is older than `labels_within`".to_owned())
        }
        None => CompletenessCurve::new(before.lags, answered).map_err(|cause| cause.to_string()),
    };
    let mut progressed = Progressed::default();
    for (code, days) in &now.windows {
        let slices = now.slices(days);
        let maturity = curve.as_ref().map_err(Clone::clone).and_then(|curve| {
            let maturity = curve.maturity(&slices);
            maturity.map_err(|cause| cause.to_string())
        });
        let window = current.grouping.group(0, *code).window;
        if let (Ok(maturity), Ok(ages)) = (&maturity, AgeSpread::new(&slices))
            && !maturity.is_mature()
            && let Some(latest) = at(now.latest)
        {
            progressed.young.push(Young {
                window,
                maturity: *maturity,
                matures_at: latest + TimeDelta::seconds(maturity.matures_in.ceil() as i64),
                ages,
            });
            progressed.reference = span;
        }
        let labelled = days.values().map(|slice| slice.labelled).sum();
        progressed.completeness.push(QualityMeasurement {
            window: window.map(|at| current.grouping.windows[at]),
            reference_labels: labels,
            current_labels: labelled,
            ..completeness(maturity, threshold)
        });
    }
    Ok(progressed)
}

fn completeness(maturity: Result<Maturity, String>, threshold: Option<f64>) -> QualityMeasurement {
    let value = maturity.as_ref().ok().map(|m| m.completeness.min(1.0));
    let beyond = value.zip(threshold).is_some_and(|(v, limit)| v < limit);
    let method = maturity.as_ref().map(told);
    QualityMeasurement {
        value,
        status: match (value, beyond) {
            (None, _) => Status::Insufficient,
            (Some(_), true) => Status::Drift,
            (Some(_), false) => Status::Ok,
        },
        recipe: Recipe {
            method: method.unwrap_or_else(|_| METHOD.to_owned()),
            threshold,
            cause: maturity.err(),
            ..Recipe::default()
        },
        ..unknown(String::new())
    }
}

const METHOD: &str = "by the time the reference's labels took";

/// What stands for the completeness where nothing is known of it.
fn unknown(cause: String) -> QualityMeasurement {
    QualityMeasurement {
        window: None,
        segment: Segment::overall(),
        feature: String::new(),
        measure: Measure::LabelCompleteness,
        value: None,
        interval: None,
        reference: None,
        reference_interval: None,
        status: Status::Insufficient,
        reference_labels: 0,
        current_labels: 0,
        recipe: Recipe {
            method: METHOD.to_owned(),
            cause: Some(cause),
            ..Recipe::default()
        },
    }
}

fn told(maturity: &Maturity) -> String {
    const HOUR: f64 = 3_600.0;
    let rest = if maturity.is_mature() {
        "the window is mature".to_owned()
    } else {
        format!(
            "as good as all are there in another {:.0} hours",
            (maturity.matures_in / HOUR).ceil()
        )
    };
    format!(
        "{METHOD}, of whose predictions {:.3} got one, {:.3} of them when as old as \
         these; here {:.3} have one, at the latest time in the file; {rest}",
        maturity.at_maturity, maturity.expected, maturity.coverage
    )
}
