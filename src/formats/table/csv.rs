//! CSV as RFC 4180 describes it, with a header. Cells are what they look like.

use std::io::Read;
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::super::raw::Raw;
use super::quotes::Quotes;
use super::{
    Batch, ColumnData, ROWS_AT_ONCE, TableColumn, TableError, Take, open_text, unreadable, value_of,
};
use crate::domain::columns::Column;

/// What is known of a file once it is open.
#[derive(Debug)]
pub(super) struct Source {
    width: usize,
    /// What the cells of the header seem to be separated by, if not by commas.
    separated_by: Option<&'static str>,
}

/// What a header of one cell seems to be separated by.
pub fn separated_by(header: &str) -> Option<&'static str> {
    let separators = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
    let mut separators = separators.into_iter();
    let (_, words) = separators.find(|(separator, _)| header.contains(*separator))?;
    Some(words)
}

impl Source {
    pub(super) fn open(file: &Path) -> Result<(Self, Vec<TableColumn>), TableError> {
        let mut reader = reader(file)?;
        let mut header = ByteRecord::new();
        if !next(file, &mut reader, &mut header)? {
            let cause = "the file is empty; expected a header";
            return Err(unreadable(file, ", line 1", cause));
        }
        let columns: Result<Vec<TableColumn>, TableError> = (1..)
            .zip(header.iter())
            .map(|(number, name)| {
                let name = std::str::from_utf8(name).map_err(|_| {
                    let cause = format!("the name of column {number} is not UTF-8");
                    unreadable(file, ", line 1", cause)
                })?;
                Ok(TableColumn::new(name.to_owned(), None, false))
            })
            .collect();
        let columns = columns?;
        let separated_by = match &columns[..] {
            [column] => separated_by(&column.name),
            _ => None,
        };
        let source = Self {
            width: header.len(),
            separated_by,
        };
        Ok((source, columns))
    }

    pub(super) fn read(
        &self,
        file: &Path,
        columns: &[usize],
        take: &mut Take<'_>,
    ) -> Result<(), TableError> {
        let mut reader = reader(file)?;
        let mut record = ByteRecord::new();
        next(file, &mut reader, &mut record)?;
        let mut passed = reader.position().byte();
        loop {
            let mut batch: Vec<Column> = columns.iter().map(|_| Column::default()).collect();
            let mut rows = 0;
            while rows < ROWS_AT_ONCE && next(file, &mut reader, &mut record)? {
                self.take_row(file, &record, columns, &mut batch)?;
                rows += 1;
            }
            let byte = reader.position().byte();
            let progress = byte - std::mem::replace(&mut passed, byte);
            let columns = batch.into_iter().map(ColumnData::Mixed).collect();
            if rows == 0
                || !take(Batch {
                    rows,
                    columns,
                    progress,
                })
            {
                return Ok(());
            }
        }
    }

    fn take_row(
        &self,
        file: &Path,
        record: &ByteRecord,
        columns: &[usize],
        batch: &mut [Column],
    ) -> Result<(), TableError> {
        let place = || {
            let line = record.position().map_or(1, csv::Position::line);
            format!(", line {line}")
        };
        if record.len() != self.width {
            let mut cause = format!("has {} cells; the header has {}", record.len(), self.width);
            if let Some(words) = self.separated_by {
                cause +=
                    &format!(": it seems to be separated by {words}, and only commas are read");
            }
            return Err(unreadable(file, place(), cause));
        }
        for (column, place_in_row) in batch.iter_mut().zip(columns) {
            let cell = std::str::from_utf8(&record[*place_in_row]).map_err(|error| {
                let at = error.valid_up_to();
                let number = place_in_row + 1;
                let cause = format!("byte {at} of cell {number} is not UTF-8");
                unreadable(file, place(), cause)
            })?;
            column.push(&value_of(Raw::Untyped(cell)));
        }
        Ok(())
    }
}

fn reader(file: &Path) -> Result<Reader<Quotes<impl Read + use<>>>, TableError> {
    Ok(ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 20)
        .from_reader(Quotes::of(open_text(file)?)))
}

/// Reads the next record; `false` at the end of the file. The reader is ahead of the records it gives: what is wrong with a
/// quotation mark is told before what it does to the cells of its record.
fn next<R: Read>(
    file: &Path,
    reader: &mut Reader<Quotes<R>>,
    record: &mut ByteRecord,
) -> Result<bool, TableError> {
    let read = reader.read_byte_record(record).map_err(|error| {
        let line = error.position().map_or(1, csv::Position::line);
        unreadable(file, format!(", line {line}"), error)
    })?;
    match reader.get_ref().fault() {
        Some((line, cause)) => Err(unreadable(file, format!(", line {line}"), cause)),
        None => Ok(read),
    }
}
