//! A model's own columns: under the names of the fields they are said to be, and with times as they are written.

use arrow_schema::DataType;

use super::{Batch, ColumnData, Table, TableError, Take, mixed, unreadable};
use crate::domain::columns::{Column, Value};
use crate::domain::mapping::ColumnMap;
use crate::domain::times::{self, TimeFormat, Unit};

/// The fields that are times.
const TIMES: [&str; 2] = ["timestamp", "observed_at"];

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
            let column = &mut self.columns[place];
            column.name = field.to_owned();
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
            let instant = match &value {
                Value::Null | Value::Absent => return Ok(value),
                Value::Timestamp(_) if is_zoned => return Ok(value),
                Value::Timestamp(clock) => format.of_clock(clock.naive_utc()),
                Value::Integer(number) if format.pattern().is_some() => {
                    format.of_text(&number.to_string())
                }
                Value::Integer(number) => {
                    (format.unit().instant(*number)).ok_or_else(|| "beyond the calendar".to_owned())
                }
                Value::Number(number) => {
                    let unit = format.unit_of_fractions().unwrap_or(Unit::Milliseconds);
                    (unit.instant_of_fraction(*number))
                        .ok_or_else(|| "beyond the calendar".to_owned())
                }
                Value::Text(text) => of_text(text.trim(), format),
                Value::Boolean(_) | Value::Vector(_) => Err(format!("not {}", format.expected())),
            };
            instant
                .map(Value::Timestamp)
                .map_err(|cause| (row, format!("is {}, {cause}", described(&value))))
        })
        .collect();
    Ok(Column::of("", instants?))
}

/// The instant that a text says, which may be a number where numbers are times.
fn of_text(text: &str, format: &TimeFormat) -> Result<chrono::DateTime<chrono::Utc>, String> {
    let unit = format.unit_of_fractions();
    match unit.zip(text.parse().ok()) {
        Some((unit, number)) => {
            (unit.instant_of_fraction(number)).ok_or_else(|| "beyond the calendar".to_owned())
        }
        None => format.of_text(text),
    }
}

fn described(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => {
            let shown: String = text.chars().take(40).collect();
            format!("the text {shown:?}")
        }
        Value::Integer(number) => format!("the number {number}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Timestamp(at) => format!("the time {}", at.naive_utc()),
        _ => "no time".to_owned(),
    }
}
