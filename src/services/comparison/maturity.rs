//! How far the labels of a file have come: by how long those of the reference took, where both files say when each row
//! was predicted and when its label was known.
//!
//! A file does not say when it was written. The latest time in it stands for that, of a prediction or of a label.

use std::collections::BTreeMap;

use super::error::ComparisonError;
use super::grouping::{Grouping, seconds};
use super::quality::{LABEL, QualityMeasurement};
use crate::domain::columns::Value;
use crate::domain::measurement::{Measure, Recipe, Segment, Status};
use crate::formats::table::{self, ColumnData, Table};
use crate::stats::quality::{AgeSlice, CompletenessCurve, Maturity};

/// The column with the time at which the label was known.
const OBSERVED_AT: &str = "observed_at";
/// The most labels whose times are kept: 128 MiB.
const MOST_LABELS: usize = 1 << 24;

/// A file, its groups of rows, and where it has the time of a row.
pub(super) struct Side<'a> {
    pub(super) table: &'a Table,
    pub(super) grouping: &'a Grouping,
    pub(super) timestamp: Option<usize>,
}

/// When the labels of a file came.
#[derive(Debug, Default)]
struct Arrivals {
    /// In seconds after the prediction.
    lags: Vec<f64>,
    windows: BTreeMap<u32, Slice>,
    latest: i64,
    /// Why nothing is to be said of them.
    fault: Option<String>,
}

/// The predictions of a window, from the first to the last.
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
    observed: usize,
    label: usize,
    error: Option<usize>,
}

impl Places {
    fn of(side: &Side<'_>) -> Option<Self> {
        Some(Self {
            time: side.timestamp?,
            observed: side.table.position(OBSERVED_AT)?,
            label: side.table.position(LABEL)?,
            error: side.table.position("error"),
        })
    }
}

impl Arrivals {
    fn of(side: &Side<'_>, places: &Places) -> Result<Self, ComparisonError> {
        let mut found = Self {
            latest: i64::MIN,
            ..Self::default()
        };
        let mut columns = vec![places.time, places.observed, places.label];
        columns.extend(places.error);
        let mut first = 0;
        side.table.read(&columns, &mut |batch| {
            found.take(side.grouping, first, &batch.columns);
            first += batch.rows;
            found.fault.is_none()
        })?;
        Ok(found)
    }

    fn take(&mut self, grouping: &Grouping, first: usize, columns: &[ColumnData]) {
        let [time, observed, label, error @ ..] = columns else {
            return;
        };
        let (times, observed) = match (seconds(time), seconds(observed)) {
            (Ok(times), Ok(observed)) => (times, observed),
            (Err((_, cause)), _) | (_, Err((_, cause))) => {
                self.fault = Some(format!("a time cannot be read: {cause}"));
                return;
            }
        };
        let [label, error] = [Some(label), error.first()].map(|data| data.map(is_there));
        for (row, (time, observed)) in times.into_iter().zip(observed).enumerate() {
            let there = |column: &Option<Vec<bool>>| column.as_ref().is_some_and(|c| c[row]);
            let code = grouping
                .codes(0, first + row, 1)
                .map_or(0, |codes| codes[0]);
            let (Some(time), false, false) =
                (time, there(&error), Grouping::is_out_of_groups(code))
            else {
                continue;
            };
            let slice = self.windows.entry(code).or_insert(Slice {
                first: time,
                last: time,
                answered: 0,
                labelled: 0,
            });
            slice.first = slice.first.min(time);
            slice.last = slice.last.max(time);
            slice.answered += 1;
            self.latest = self.latest.max(time);
            if !there(&label) {
                continue;
            }
            slice.labelled += 1;
            if let Some(observed) = observed {
                self.latest = self.latest.max(observed);
                self.lags.push((observed - time) as f64);
            }
            if self.lags.len() > MOST_LABELS {
                self.fault = Some(format!("there are more than {MOST_LABELS} labels"));
                return;
            }
        }
    }

    fn answered(&self) -> u64 {
        self.windows.values().map(|slice| slice.answered).sum()
    }
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

/// The completeness of the labels in every window of the current file; nothing where a file does not have the times.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn completeness(
    reference: &Side<'_>,
    current: &Side<'_>,
    threshold: Option<f64>,
) -> Result<Vec<QualityMeasurement>, ComparisonError> {
    let (Some(before), Some(now)) = (Places::of(reference), Places::of(current)) else {
        return Ok(Vec::new());
    };
    let before = Arrivals::of(reference, &before)?;
    let now = Arrivals::of(current, &now)?;
    let fault = before.fault.as_ref().or(now.fault.as_ref()).cloned();
    let (labels, answered) = (before.lags.len() as u64, before.answered());
    let curve = match fault {
        Some(fault) => Err(fault),
        None => CompletenessCurve::new(before.lags, answered).map_err(|cause| cause.to_string()),
    };
    let windows = now.windows.iter().map(|(code, slice)| {
        let age = |time: i64| (now.latest - time) as f64;
        let slices = [AgeSlice {
            youngest: age(slice.last),
            oldest: age(slice.first),
            answered: slice.answered,
            labelled: slice.labelled,
        }];
        let maturity = curve.clone().and_then(|curve| {
            let maturity = curve.maturity(&slices);
            maturity.map_err(|cause| cause.to_string())
        });
        let group = current.grouping.group(0, *code);
        let value = maturity.as_ref().ok().map(|m| m.completeness.min(1.0));
        let beyond = value.zip(threshold).is_some_and(|(v, limit)| v < limit);
        QualityMeasurement {
            window: group.window.map(|at| current.grouping.windows[at]),
            segment: Segment::overall(),
            feature: String::new(),
            measure: Measure::LabelCompleteness,
            value,
            interval: None,
            reference: None,
            status: match (value, beyond) {
                (None, _) => Status::Insufficient,
                (Some(_), true) => Status::Drift,
                (Some(_), false) => Status::Ok,
            },
            reference_labels: labels,
            current_labels: slice.labelled,
            recipe: Recipe {
                method: maturity.as_ref().map_or_else(
                    |_| "by the time the reference's labels took".to_owned(),
                    told,
                ),
                threshold,
                cause: maturity.err(),
                ..Recipe::default()
            },
        }
    });
    Ok(windows.collect())
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
        "by the time the reference's labels took, of whose predictions {:.3} got one, {:.3} of them when as old as \
         these; here {:.3} have one, at the latest time in the file; {rest}",
        maturity.at_maturity, maturity.expected, maturity.coverage
    )
}
