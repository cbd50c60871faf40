//! CSV as RFC 4180 describes it: commas, double quotation marks, a header. Cells have no types: a field that
//! is text takes the cell as it stands, every other field takes what it looks like.

use csv::{ByteRecord, ReaderBuilder};

use crate::domain::batch::RejectReason;

use super::names::Field;
use super::raw::{Fault, Raw};
use super::{FormatError, Rows};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// More cells than a row has a reason to have. The parser keeps some fifty bytes for each cell of a record, be it empty,
/// and would take many times the memory of a body that is nothing but commas.
const MOST_CELLS_OF_A_ROW: usize = 100_000;

/// A wanted column: its index in the record, its name for messages, and the field it fills.
struct Column {
    index: usize,
    name: String,
    field: Field,
}

/// Reads a header and the rows below it. Lines count from 1, the header's.
pub(super) fn read(body: &[u8], rows: &mut impl Rows) -> Result<(), FormatError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    check_width(body)?;
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(body);
    let mut record = ByteRecord::new();
    if !read_record(&mut reader, &mut record)? {
        let cause = "the body is empty; expected a header".to_owned();
        return Err(FormatError::Csv { line: 1, cause });
    }
    let width = record.len();
    let columns = read_header(&record, rows)?;
    let mut lines = Lines {
        body,
        byte: 0,
        line: 1,
    };
    while read_record(&mut reader, &mut record)? {
        let start = record.position().map_or(0, csv::Position::byte);
        let line = lines.of(start);
        let is_last = reader.position().byte() == body.len() as u64;
        match read_row(&record, width, &columns) {
            _ if is_last && ends_inside_quotes(&body[lines.byte..]) => {
                rows.refuse(line, unclosed())?;
            }
            Err(fault) => rows.refuse(line, fault)?,
            Ok(()) => rows.append(line, cells(&record, &columns))?,
        }
    }
    Ok(())
}

/// Refuses a body with a row of too many cells before the parser sees it.
fn check_width(body: &[u8]) -> Result<(), FormatError> {
    if body.iter().filter(|byte| **byte == b',').count() < MOST_CELLS_OF_A_ROW {
        return Ok(());
    }
    let (mut cells, mut line) = (1, 1);
    // As the parser has it: a quotation mark opens only where a cell begins, and two of them inside are one.
    let (mut begins, mut quoted) = (true, false);
    for byte in body {
        line += u64::from(*byte == b'\n');
        match byte {
            b'"' if quoted || begins => quoted = !quoted,
            b',' if !quoted => cells += 1,
            b'\n' | b'\r' if !quoted => cells = 1,
            _ => {}
        }
        // Behind a closing mark another one opens again: it was the first of two.
        begins = matches!(byte, b',' | b'\n' | b'\r' | b'"') && !quoted;
        if cells > MOST_CELLS_OF_A_ROW {
            let cause = format!("the row has more than {MOST_CELLS_OF_A_ROW} cells");
            return Err(FormatError::Csv { line, cause });
        }
    }
    Ok(())
}

fn read_record(
    reader: &mut csv::Reader<&[u8]>,
    record: &mut ByteRecord,
) -> Result<bool, FormatError> {
    reader.read_byte_record(record).map_err(|error| {
        let line = error.position().map_or(1, csv::Position::line);
        let cause = error.to_string();
        FormatError::Csv { line, cause }
    })
}

fn read_header(header: &ByteRecord, rows: &mut impl Rows) -> Result<Vec<Column>, FormatError> {
    let mut columns: Vec<Column> = Vec::with_capacity(header.len());
    for (index, name) in header.iter().enumerate() {
        let name = std::str::from_utf8(name).map_err(|_| FormatError::Csv {
            line: 1,
            cause: format!("the name of column {} is not UTF-8", index + 1),
        })?;
        let located = rows.locate(name).map_err(|fault| FormatError::Csv {
            line: 1,
            cause: format!("column {}: {}", index + 1, fault.cause),
        })?;
        let Some(field) = located else { continue };
        if columns.iter().any(|column| column.field == field) {
            return Err(FormatError::Csv {
                line: 1,
                cause: format!("column {}: \"{name}\" occurs twice", index + 1),
            });
        }
        columns.push(Column {
            index,
            name: name.to_owned(),
            field,
        });
    }
    Ok(columns)
}

/// Whether a record has the header's width and is text throughout.
fn read_row(record: &ByteRecord, width: usize, columns: &[Column]) -> Result<(), Fault> {
    if record.len() != width {
        return Err(Fault::new(
            RejectReason::Malformed,
            format!("has {} cells; the header has {width}", record.len()),
        ));
    }
    for column in columns {
        if let Err(error) = std::str::from_utf8(&record[column.index]) {
            let at = error.valid_up_to();
            let cause = format!("byte {at} of the cell is not UTF-8");
            return Err(Fault::new(RejectReason::Malformed, cause).in_field(&column.name));
        }
    }
    Ok(())
}

fn cells<'a>(
    record: &'a ByteRecord,
    columns: &'a [Column],
) -> impl Iterator<Item = (Field, Raw<'a>)> {
    columns.iter().map(|column| {
        // A cell that is not UTF-8 has been refused with its row by `read_row`.
        let cell = std::str::from_utf8(&record[column.index]).unwrap_or_default();
        (column.field, Raw::Untyped(cell))
    })
}

/// The reader ends a quoted cell at the end of the body without a word. Marks inside quotes are doubled, so
/// in a record that was cut short their number is odd.
fn ends_inside_quotes(record: &[u8]) -> bool {
    let marks = record.iter().filter(|byte| **byte == b'"').count();
    marks % 2 == 1 && record.trim_ascii_end().contains(&b'\n')
}

fn unclosed() -> Fault {
    Fault::new(
        RejectReason::Malformed,
        "a quotation mark is not closed; the lines after it were read as part of its cell",
    )
}

/// Finds the line of a record. The reader counts blank lines to the record after them, and a person who
/// opens the file does not.
struct Lines<'a> {
    body: &'a [u8],
    byte: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that the reader says starts at `byte`; moves to its first character.
    fn of(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        let blank = |byte: &&u8| matches!(**byte, b'\n' | b'\r');
        let rest = self.body.get(byte..).unwrap_or_default();
        let start = self.body.len() - rest.len() + rest.iter().take_while(blank).count();
        let passed = &self.body[self.byte..start];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.byte = start;
        self.line
    }
}
