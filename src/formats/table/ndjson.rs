//! NDJSON: one object a line. Features may be members of the row, or of its object `features`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::super::json;
use super::super::raw::Raw;
use super::{
    Batch, ColumnData, ROWS_AT_ONCE, TableColumn, TableError, Take, TakeVector, open_text,
    unreadable, value_of,
};
use crate::domain::columns::Column;

/// The member that may hold the features.
const FEATURES: &str = "features";

/// What is known of a file once it is open: the place of each name.
#[derive(Debug)]
pub(super) struct Source {
    places: HashMap<String, usize>,
}

impl Source {
    pub(super) fn open(file: &Path) -> Result<(Self, Vec<TableColumn>), TableError> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut columns = Vec::new();
        // What the first value that is not null tells of each column.
        let mut told = Vec::new();
        each_row(file, |_, name, raw| {
            if name.is_empty() && raw.is_null() {
                return true;
            }
            let place = *places.entry(name.to_owned()).or_insert(columns.len());
            if place == columns.len() {
                columns.push(TableColumn::new(name.to_owned(), None, false));
                told.push(false);
            }
            if !told[place] && !raw.is_null() {
                told[place] = true;
                if vector(&raw).is_some() {
                    columns[place].vectors = true;
                    columns[place].refused = Some(
                        "holds lists; taken are numbers, booleans, texts, timestamps and dates"
                            .to_owned(),
                    );
                }
            }
            true
        })?;
        Ok((Self { places }, columns))
    }

    pub(super) fn read(
        &self,
        file: &Path,
        columns: &[usize],
        take: &mut Take<'_>,
    ) -> Result<(), TableError> {
        // A column may be wanted in several roles.
        let mut wanted: Vec<Vec<usize>> = vec![Vec::new(); self.places.len()];
        for (at, column) in columns.iter().enumerate() {
            wanted[*column].push(at);
        }
        let fresh = || -> Vec<Column> { columns.iter().map(|_| Column::default()).collect() };
        let mut batch = fresh();
        let mut rows = 0;
        let mut passed = 0;
        let mut going_on = true;
        let mut flush = |batch: Vec<Column>, rows: usize, progress: u64| {
            let mut columns = batch;
            for column in &mut columns {
                column.resize(rows);
            }
            let columns = columns.into_iter().map(ColumnData::Mixed).collect();
            take(Batch {
                rows,
                columns,
                progress,
            })
        };
        let mut started = None;
        each_row(file, |row, name, raw| {
            if started != Some(row.number) {
                if rows == ROWS_AT_ONCE {
                    let full = std::mem::replace(&mut batch, fresh());
                    going_on = flush(full, rows, row.byte - passed);
                    passed = row.byte;
                    rows = 0;
                }
                started = Some(row.number);
                rows += 1;
            }
            let roles = self.places.get(name).map_or(&[][..], |at| &wanted[*at]);
            // Of a name that comes twice in a row the first value counts.
            if roles.first().is_some_and(|at| batch[*at].len() < rows) {
                let value = value_of(raw);
                for at in roles {
                    batch[*at].resize(rows - 1);
                    batch[*at].push(&value);
                }
            }
            going_on
        })?;
        if rows > 0 && going_on {
            flush(batch, rows, 0);
        }
        Ok(())
    }

    /// See [`super::Table::each_vector`].
    pub(super) fn each_vector(
        &self,
        file: &Path,
        column: usize,
        wanted: &dyn Fn(u64) -> bool,
        take: &mut TakeVector<'_>,
    ) -> Result<(), TableError> {
        // The row that is being read, its line, and its vector once it has come.
        let mut present: Option<(u64, u64, Option<Vec<f32>>)> = None;
        let mut going_on = true;
        let mut finish = |row: u64, vector: Option<Vec<f32>>| !wanted(row) || take(row, vector);
        each_row(file, |row, name, raw| {
            if present
                .as_ref()
                .is_none_or(|(_, line, _)| *line != row.number)
            {
                let before = present.take();
                let next = before.as_ref().map_or(0, |(number, ..)| number + 1);
                present = Some((next, row.number, None));
                going_on = before.is_none_or(|(number, _, vector)| finish(number, vector));
            }
            if let Some((number, _, found)) = &mut present
                && found.is_none()
                && self.places.get(name) == Some(&column)
                && wanted(*number)
            {
                *found = vector(&raw);
            }
            going_on
        })?;
        if let Some((number, _, vector)) = present.filter(|_| going_on) {
            finish(number, vector);
        }
        Ok(())
    }
}

/// A list of numbers, and nothing but numbers.
fn vector(raw: &Raw<'_>) -> Option<Vec<f32>> {
    match raw {
        Raw::Nested(_, text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

/// A row of the file.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Lines count from 1.
    number: u64,
    /// Where it starts.
    byte: u64,
}

/// Calls for each member of each row, and with no name for a row without any, until `false` is answered.
fn each_row(
    file: &Path,
    mut each: impl FnMut(Row, &str, Raw<'_>) -> bool,
) -> Result<(), TableError> {
    let mut reader = BufReader::with_capacity(1 << 20, open_text(file)?);
    let mut line = Vec::new();
    let mut row = Row { number: 0, byte: 0 };
    loop {
        line.clear();
        row.number += 1;
        let place = || format!(", line {}", row.number);
        let read = (reader.read_until(b'\n', &mut line))
            .map_err(|error| unreadable(file, place(), error))?;
        if read == 0 {
            return Ok(());
        }
        if !line.trim_ascii().is_empty() {
            let entries = json::parse_row(line.trim_ascii_end(), 0).map_err(|fault| {
                let cause = fault.cause.replace(" of the body", " of the line");
                unreadable(file, place(), cause)
            })?;
            let mut members = members(entries).peekable();
            let going_on = if members.peek().is_none() {
                each(row, "", Raw::Null)
            } else {
                members.all(|(name, raw)| each(row, &name, raw))
            };
            if !going_on {
                return Ok(());
            }
        }
        row.byte += read as u64;
    }
}

/// The members of a row, those of its features among them.
fn members<'a>(
    entries: Vec<(Cow<'a, str>, Raw<'a>)>,
) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> {
    entries.into_iter().flat_map(|(name, raw)| match raw {
        Raw::Object(features) if name == FEATURES => features,
        raw => vec![(name, raw)],
    })
}
