//! Which window and which segment each row of a file counts for.
//!
//! Columns may be read one at a time and in any order, so the groups of all rows are found out first and kept:
//! four bytes a row for the windows, and four for each segment. Without windows and segments nothing is kept.

use std::collections::{BTreeMap, HashMap};

use arrow_array::Array;
use chrono::{DateTime, Utc};

use super::error::ComparisonError;
use super::progress::Progress;
use crate::domain::columns::{Column, Value};
use crate::domain::measurement::Segment;
use crate::domain::times;
use crate::domain::window::{Grain, Window};
use crate::formats::table::{self, ColumnData, Table, arrays};

/// The most windows a file may fall into: ten years of hours.
const MOST_WINDOWS: usize = 90_000;
/// The most values a segment may have.
const MOST_VALUES: usize = 1_000;
/// A row without a time, or without a value of a segment, is in no group.
const NONE: u32 = u32::MAX;

/// One way to group rows: all of them, or by the values of a segment, and both by window.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    /// In order of time; empty when rows are not split by time.
    pub(super) windows: Vec<Window>,
    /// For all rows, and for each segment, the group of each row; nothing where all rows are one group.
    dimensions: Vec<Dimension>,
    /// The number of rows earlier than the one before them, of those with a time.
    pub(super) late: Option<(u64, u64)>,
    /// The number of rows without a time, of all rows, when they are split by time: they are in no window.
    pub(super) untimed: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Dimension {
    segment: String,
    values: Vec<String>,
    /// `window × values + value`, or nothing when there is one group only.
    codes: Option<Vec<u32>>,
}

/// A group: its window, if rows are split by time, and its segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) window: Option<usize>,
    pub(super) segment: Segment,
}

/// How rows are to be grouped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) by: Option<Grain>,
    /// The column with the rows' time, where there is one.
    pub(super) timestamp: Option<usize>,
    /// The places and names of the segments' columns.
    pub(super) segments: &'a [(usize, String)],
}

impl Grouping {
    /// Finds out the groups of the rows of a file.
    pub(super) fn of(
        table: &Table,
        wanted: Wanted<'_>,
        progress: &Progress,
    ) -> Result<Self, ComparisonError> {
        let mut columns: Vec<usize> = wanted.segments.iter().map(|(place, _)| *place).collect();
        columns.extend(wanted.timestamp);
        if columns.is_empty() {
            return Ok(Self {
                dimensions: vec![Dimension::default()],
                ..Self::default()
            });
        }
        let mut reader = Reader::new(table, wanted);
        let mut failed = None;
        table.read(&columns, &mut |batch| {
            progress.advance(batch.progress);
            failed = reader.take(&batch.columns, batch.rows).err();
            failed.is_none()
        })?;
        match failed {
            Some(error) => Err(error),
            None => reader.finish(),
        }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions.len()
    }

    /// The groups of some rows of a dimension; nothing when all rows are one group.
    pub(super) fn codes(&self, dimension: usize, first: usize, rows: usize) -> Option<&[u32]> {
        let codes = self.dimensions[dimension].codes.as_ref()?;
        codes.get(first..first + rows)
    }

    /// The window of each row; nothing when rows are not split by time.
    pub(super) fn windows_of_rows(&self) -> &[u32] {
        let overall = self.dimensions.first().and_then(|of| of.codes.as_deref());
        overall.unwrap_or_default()
    }

    /// The group behind a code.
    pub(super) fn group(&self, dimension: usize, code: u32) -> Group {
        let dimension = &self.dimensions[dimension];
        let values = dimension.values.len().max(1);
        let (window, value) = (code as usize / values, code as usize % values);
        Group {
            window: (!self.windows.is_empty()).then_some(window),
            segment: match dimension.values.get(value) {
                Some(value) => Segment {
                    name: dimension.segment.clone(),
                    value: value.clone(),
                },
                None => Segment::overall(),
            },
        }
    }

    /// All groups of a dimension.
    pub(super) fn groups(&self, dimension: usize) -> Vec<Group> {
        let values = self.dimensions[dimension].values.len().max(1);
        let segmented = !self.dimensions[dimension].segment.is_empty();
        let count = if segmented && self.dimensions[dimension].values.is_empty() {
            0
        } else {
            self.windows.len().max(1) * values
        };
        (0..count)
            .map(|code| self.group(dimension, code as u32))
            .collect()
    }

    /// All rows by some of the windows, which are given by their places; rows of the others are in no group.
    pub(super) fn only(&self, windows: &[usize]) -> Self {
        let place = |code: u32| windows.iter().position(|at| *at == code as usize);
        let new: Vec<u32> = (0..self.windows.len() as u32)
            .map(|code| place(code).map_or(NONE, |at| at as u32))
            .collect();
        let renamed = |code: &u32| new.get(*code as usize).copied().unwrap_or(NONE);
        let codes = self.windows_of_rows().iter().map(renamed).collect();
        Self {
            windows: windows.iter().map(|at| self.windows[*at]).collect(),
            dimensions: vec![Dimension {
                codes: Some(codes),
                ..Dimension::default()
            }],
            ..Self::default()
        }
    }

    /// The number of groups over all dimensions.
    pub(super) fn len(&self) -> usize {
        let windows = self.windows.len().max(1);
        let values = self.dimensions.iter().map(|d| d.values.len().max(1));
        values.map(|values| values * windows).sum()
    }

    pub(super) fn is_out_of_groups(code: u32) -> bool {
        code == NONE
    }
}

/// Collects windows and values as they come; they are numbered in order at the end.
struct Reader<'a> {
    table: &'a Table,
    wanted: Wanted<'a>,
    windows: BTreeMap<DateTime<Utc>, (u32, Window)>,
    window_codes: Vec<u32>,
    segments: Vec<SegmentReader>,
    present: Option<(i64, i64, u32)>,
    last: Option<i64>,
    late: u64,
    timed: u64,
    rows: u64,
}

/// Why a column's values make no segments.
enum NoSegment {
    TooManyValues,
    Times,
}

#[derive(Default)]
struct SegmentReader {
    values: HashMap<String, u32>,
    codes: Vec<u32>,
}

impl<'a> Reader<'a> {
    fn new(table: &'a Table, wanted: Wanted<'a>) -> Self {
        Self {
            table,
            wanted,
            windows: BTreeMap::new(),
            window_codes: Vec::new(),
            segments: wanted
                .segments
                .iter()
                .map(|_| SegmentReader::default())
                .collect(),
            present: None,
            last: None,
            late: 0,
            timed: 0,
            rows: 0,
        }
    }

    fn take(&mut self, columns: &[ColumnData], rows: usize) -> Result<(), ComparisonError> {
        let (segments, times) = columns.split_at(self.wanted.segments.len());
        for (index, data) in segments.iter().enumerate() {
            let wanted = &self.wanted.segments[index].1;
            let file = self.table.file();
            match self.segments[index].take(data) {
                Ok(()) => {}
                Err(NoSegment::TooManyValues) => {
                    return Err(ComparisonError::TooManySegments {
                        file: file.to_owned(),
                        column: wanted.clone(),
                        limit: MOST_VALUES,
                    });
                }
                Err(NoSegment::Times) => {
                    return Err(ComparisonError::NoSegment {
                        file: file.to_owned(),
                        column: wanted.clone(),
                        cause: "holds times; rows are split by them with --by and --timestamp"
                            .to_owned(),
                    });
                }
            }
        }
        if let Some(times) = times.first() {
            for time in seconds(times).map_err(|(row, cause)| self.not_a_time(row, cause))? {
                self.take_time(time)?;
            }
        }
        self.rows += rows as u64;
        Ok(())
    }

    fn take_time(&mut self, time: Option<i64>) -> Result<(), ComparisonError> {
        if let Some(time) = time {
            self.timed += 1;
            self.late += u64::from(self.last.is_some_and(|last| time < last));
            self.last = Some(time);
        }
        let Some(grain) = self.wanted.by else {
            return Ok(());
        };
        let code = match (time, self.present) {
            (None, _) => NONE,
            (Some(time), Some((from, to, code))) if (from..to).contains(&time) => code,
            (Some(time), _) => self.window_of(grain, time)?,
        };
        self.window_codes.push(code);
        Ok(())
    }

    fn window_of(&mut self, grain: Grain, time: i64) -> Result<u32, ComparisonError> {
        let row = self.window_codes.len() as u64;
        let at = DateTime::from_timestamp(time, 0)
            .filter(|at| (0..=9_999).contains(&chrono::Datelike::year(at)))
            .ok_or_else(|| {
                self.not_a_time_at(row, "is a time outside the years 0 to 9999".into())
            })?;
        let window = grain.window_at(at);
        let next = self.windows.len() as u32;
        let code = self.windows.entry(window.start).or_insert((next, window)).0;
        if self.windows.len() > MOST_WINDOWS {
            return Err(ComparisonError::TooManyWindows {
                file: self.table.file().to_owned(),
                limit: MOST_WINDOWS,
            });
        }
        self.present = Some((window.start.timestamp(), window.end.timestamp(), code));
        Ok(code)
    }

    fn not_a_time(&self, row: usize, cause: String) -> ComparisonError {
        self.not_a_time_at(self.rows + row as u64, cause)
    }

    fn not_a_time_at(&self, row: u64, cause: String) -> ComparisonError {
        let column = self
            .wanted
            .timestamp
            .map(|place| &self.table.columns()[place]);
        ComparisonError::NotATime {
            file: self.table.file().to_owned(),
            column: column.map_or(String::new(), |column| column.name.clone()),
            row: row + 1,
            cause,
        }
    }

    fn finish(self) -> Result<Grouping, ComparisonError> {
        let split = self.wanted.by.is_some();
        let mut ordered = vec![0_u32; self.windows.len()];
        for (order, (code, _)) in (0..).zip(self.windows.values()) {
            ordered[*code as usize] = order;
        }
        let window_codes: Option<Vec<u32>> = split.then(|| {
            let codes = self.window_codes.into_iter();
            codes
                .map(|code| ordered.get(code as usize).copied().unwrap_or(NONE))
                .collect()
        });
        let mut dimensions = Vec::with_capacity(self.segments.len() + 1);
        for (segment, (_, name)) in self.segments.into_iter().zip(self.wanted.segments) {
            dimensions.push(segment.finish(name, window_codes.as_deref()));
        }
        dimensions.insert(
            0,
            Dimension {
                codes: window_codes,
                ..Dimension::default()
            },
        );
        Ok(Grouping {
            windows: self
                .windows
                .into_values()
                .map(|(_, window)| window)
                .collect(),
            dimensions,
            late: self.wanted.timestamp.map(|_| (self.late, self.timed)),
            untimed: split.then_some((self.rows - self.timed, self.rows)),
        })
    }
}

impl SegmentReader {
    fn take(&mut self, data: &ColumnData) -> Result<(), NoSegment> {
        match data {
            ColumnData::Mixed(column) => self.take_values(column),
            ColumnData::Array(array) => self.take_values(&table::mixed(array)),
        }
    }

    fn take_values(&mut self, column: &Column) -> Result<(), NoSegment> {
        for value in column.iter() {
            let text = match value {
                Value::Text(text) => text,
                Value::Integer(n) => n.to_string().into(),
                Value::Number(n) => n.to_string().into(),
                Value::Boolean(b) => if b { "true" } else { "false" }.into(),
                Value::Timestamp(_) => return Err(NoSegment::Times),
                Value::Vector(_) | Value::Null | Value::Absent => "".into(),
            };
            let code = match self.values.get(text.as_ref()) {
                _ if text.is_empty() => NONE,
                Some(code) => *code,
                None if self.values.len() > MOST_VALUES => NONE,
                None => {
                    let code = self.values.len() as u32;
                    self.values.insert(text.into_owned(), code);
                    code
                }
            };
            self.codes.push(code);
        }
        if self.values.len() > MOST_VALUES {
            return Err(NoSegment::TooManyValues);
        }
        Ok(())
    }

    /// Numbers the values in alphabetical order, behind their windows.
    fn finish(self, name: &str, windows: Option<&[u32]>) -> Dimension {
        let mut values: Vec<(String, u32)> = self.values.into_iter().collect();
        values.sort();
        let mut ordered = vec![0_u32; values.len()];
        for (order, (_, code)) in (0..).zip(&values) {
            ordered[*code as usize] = order;
        }
        let count = values.len() as u32;
        let codes = self.codes.into_iter().enumerate().map(|(row, code)| {
            let window = windows.map_or(Some(0), |windows| windows.get(row).copied());
            match (window, ordered.get(code as usize)) {
                (Some(window), Some(value)) if window != NONE => window * count + value,
                _ => NONE,
            }
        });
        Dimension {
            segment: name.to_owned(),
            codes: Some(codes.collect()),
            values: values.into_iter().map(|(value, _)| value).collect(),
        }
    }
}

/// Whole numbers that are times of 2000 to 2100 in seconds since 1970, and of the first weeks of 1970 in milliseconds.
const SECONDS_OF_NOW: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// Seconds since 1970 of milliseconds, unless these look like seconds.
fn from_milliseconds(row: usize, at: i64) -> Result<i64, (usize, String)> {
    if !SECONDS_OF_NOW.contains(&at) {
        return Ok(at.div_euclid(1_000));
    }
    let day = |at: Option<DateTime<Utc>>| at.unwrap_or_default().format("%Y-%m-%d").to_string();
    let cause = format!(
        "{at} is {} in milliseconds since 1970, but {} in seconds; `time_format: seconds` in the columns of the file \
         given with --model says that they are seconds",
        day(DateTime::from_timestamp_millis(at)),
        day(DateTime::from_timestamp(at, 0)),
    );
    Err((row, cause))
}

/// The times of a batch in seconds since 1970, or the row that has none and why.
pub(super) fn seconds(data: &ColumnData) -> Result<Vec<Option<i64>>, (usize, String)> {
    let column = match data {
        ColumnData::Array(array) => {
            if arrays::ArrayKind::of(array) == arrays::ArrayKind::Timestamp {
                let seconds = arrays::doubles(array).unwrap_or_default();
                let rows = seconds.iter().enumerate();
                return Ok(rows
                    .map(|(row, second)| array.is_valid(row).then_some(*second as i64))
                    .collect());
            }
            &table::mixed(array)
        }
        ColumnData::Mixed(column) => column,
    };
    let mut seconds = Vec::with_capacity(column.len());
    for (row, value) in column.iter().enumerate() {
        seconds.push(match value {
            Value::Absent | Value::Null => None,
            Value::Timestamp(at) => Some(at.timestamp()),
            Value::Integer(milliseconds) => Some(from_milliseconds(row, milliseconds)?),
            Value::Number(milliseconds) if milliseconds.is_finite() => {
                Some(from_milliseconds(row, milliseconds.floor() as i64)?)
            }
            Value::Text(text) => Some(times::instant(&text).map(|at| at.timestamp()).ok_or_else(
                || {
                    let shown: String = text.chars().take(40).collect();
                    (
                        row,
                        format!("{shown:?} is no time such as 2026-03-01T09:30:00Z or 2026-03-01"),
                    )
                },
            )?),
            Value::Number(_) | Value::Boolean(_) | Value::Vector(_) => {
                return Err((
                    row,
                    "is neither a time nor milliseconds since 1970".to_owned(),
                ));
            }
        });
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_time_are_told_with_their_row() {
        let column = Column::of("t", [Value::Null, Value::Text("soon".into())]);
        let (row, cause) = seconds(&ColumnData::Mixed(column)).expect_err("soon is no time");
        assert_eq!(row, 1);
        assert!(cause.starts_with("\"soon\" is no time"), "{cause}");
    }

    #[test]
    fn seconds_are_not_taken_for_milliseconds() {
        let times =
            |values: [Value<'static>; 2]| seconds(&ColumnData::Mixed(Column::of("t", values)));
        let milliseconds = [Value::Integer(1_767_225_600_000), Value::Number(-1.5)];
        assert_eq!(times(milliseconds), Ok(vec![Some(1_767_225_600), Some(-1)]));
        for seconds in [
            Value::Integer(1_767_225_600),
            Value::Number(1_767_225_600.25),
        ] {
            let (row, cause) = times([Value::Integer(0), seconds]).expect_err("ambiguous");
            let expected =
                "1767225600 is 1970-01-21 in milliseconds since 1970, but 2026-01-01 in seconds;";
            assert_eq!(row, 1);
            assert!(cause.starts_with(expected), "{cause}");
        }
    }
}
