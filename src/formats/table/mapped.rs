//! A model's own columns: under the names of the fields they are said to be, and with times as they are written.

use arrow_schema::DataType;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::{Batch, ColumnData, Raw, Table, TableError, Take, mixed, unreadable};
use crate::domain::columns::{Column, Value};
use crate::domain::mapping::ColumnMap;
use crate::domain::times::{self, TimeFormat};

/// The fields that are times.
const TIMES: [&str; 2] = ["timestamp", "observed_at"];
/// Any time of the calendar.
const EARLIEST: DateTime<Utc> = midnight(1);
const LATEST: DateTime<Utc> = midnight(9_999);

const fn midnight(year: i32) -> DateTime<Utc> {
    let day = NaiveDate::from_ymd_opt(year, 1, 1).expect("a day");
    day.and_time(NaiveTime::MIN).and_utc()
}

impl Table {
    /// The table as a model's file says what its columns are: known by the names of their fields, by their own names as well,
    /// without those that are not to be read, and with the times of rows and labels as [`Value::Timestamp`].
    ///
    /// # Errors
    /// When it has a field twice.
    pub fn mapped(mut self, map: &ColumnMap) -> Result<Self, TableError> {
        for place in 0..self.columns.len() {
            let own_name = self.columns[place].name.clone();
            let Some(field) = map.field_of(&own_name) else {
                continue;
            };
            if field != own_name && self.position(field).is_some() {
                let cause = format!("columns \"{field}\" and \"{own_name}\" are both {field}");
                return Err(unreadable(&self.file, "", cause));
            }
            self.places.insert(field.to_owned(), place);
            let column = &mut self.columns[place];
            column.name = field.to_owned();
            column.left_out = None;
            column.own_name = Some(own_name);
        }
        for column in &mut self.columns {
            let is_time = TIMES.contains(&column.name.as_str());
            if is_time && map.times != times::USUAL {
                column.times = Some(map.times.clone());
            }
            column.is_ignored = map.is_ignored(column.own_name.as_ref().unwrap_or(&column.name));
        }
        Ok(self)
    }

    /// Reads columns some of which are times that are written in another way than everybody's.
    pub(super) fn read_times(
        &self,
        columns: &[usize],
        take: &mut Take<'_>,
    ) -> Result<(), TableError> {
        let (mut row, mut failed) = (0, None);
        self.read_source(columns, &mut |mut batch: Batch| {
            for (data, place) in batch.columns.iter_mut().zip(columns) {
                let column = &self.columns[*place];
                let Some(format) = &column.times else {
                    continue;
                };
                match in_format(data, format) {
                    Ok(times) => *data = ColumnData::Mixed(times),
                    Err((at, cause)) => {
                        let name = column.own_name.as_ref().unwrap_or(&column.name);
                        let place = format!(", row {}, column \"{name}\"", row + at + 1);
                        failed = Some(unreadable(&self.file, place, cause));
                        return false;
                    }
                }
            }
            row += batch.rows;
            take(batch)
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// Instants, or the row whose value is none and why.
fn in_format(data: &ColumnData, format: &TimeFormat) -> Result<Column, (usize, String)> {
    let (column, is_zoned) = match data {
        ColumnData::Mixed(column) => (column, true),
        ColumnData::Array(array) => {
            let unzoned = matches!(
                array.data_type(),
                DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64
            );
            (&mixed(array), !unzoned)
        }
    };
    let instants: Result<Vec<Value<'_>>, (usize, String)> = (column.iter().enumerate())
        .map(|(row, value)| {
            let raw = match value {
                Value::Null | Value::Absent => return Ok(value),
                Value::Timestamp(at) if is_zoned => Raw::Timestamp(at),
                Value::Timestamp(clock) => Raw::Unzoned(clock),
                Value::Integer(number) => Raw::Integer(number),
                Value::Number(number) => Raw::Number(number),
                Value::Boolean(boolean) => Raw::Boolean(boolean),
                Value::Text(text) => Raw::Text(text),
                Value::Vector(numbers) => Raw::Vector(numbers.into_owned()),
            };
            let instant = raw.into_instant(format, EARLIEST, LATEST);
            instant
                .map(Value::Timestamp)
                .map_err(|fault| (row, fault.cause))
        })
        .collect();
    Ok(Column::of("", instants?))
}
