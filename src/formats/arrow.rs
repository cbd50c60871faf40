//! Arrow: columns of record batches as cells, and the IPC stream and file formats.
//!
//! The library trusts the lengths that compressed buffers state and would allocate them, copies buffers that are not
//! aligned for each column that names them, and takes the number of a batch's rows as it is said, which columns of nulls
//! do not bear out. So all that a body says of its size is summed up before anything is unpacked or room made for a row.

use std::collections::BTreeMap;
use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{MessageHeader, RecordBatch as IpcBatch, root_as_message};
use arrow_schema::{DataType, Schema, TimeUnit};
use chrono::{DateTime, Utc};

use super::guard;
use super::names::Field;
use super::raw::Raw;
use super::table::arrays::{are_vectors, vector_with_gaps};
use super::{FormatError, Limits, Rows};

const SECONDS_PER_DAY: i64 = 86_400;
/// What a file begins with; more padding (writers align to 8 or to 64 bytes), a stream and a footer follow.
const FILE_MAGIC: &[u8] = b"ARROW1\0\0";
/// What precedes the length of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Reads the value of a row that is not null.
type ReadCell = for<'a> fn(&'a dyn Array, usize) -> Raw<'a>;

/// A wanted column: its index in the file, the field it fills and how it is read.
pub(super) struct Column {
    pub(super) index: usize,
    field: Field,
    read: ReadCell,
}

/// Cells of a record batch, by column.
pub(super) struct Cells<'a> {
    rows: usize,
    columns: Vec<CellColumn<'a>>,
}

/// One column's cells.
pub(super) struct CellColumn<'a> {
    pub(super) field: Field,
    array: &'a dyn Array,
    read: ReadCell,
    /// Of a dictionary: where each row's value is among its values.
    places: Option<Vec<usize>>,
}

impl<'a> Cells<'a> {
    pub(super) fn of(
        rows: usize,
        columns: impl Iterator<Item = (&'a Column, &'a ArrayRef)>,
    ) -> Self {
        let columns = columns.map(|(column, array)| CellColumn {
            field: column.field,
            array: array.as_ref(),
            read: column.read,
            places: places(array.as_ref()),
        });
        Self {
            rows,
            columns: columns.collect(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> &[CellColumn<'a>] {
        &self.columns
    }

    /// The cells of one row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = (Field, Raw<'a>)> {
        let columns = self.columns.iter();
        columns.map(move |column| (column.field, column.cell(row)))
    }
}

impl<'a> CellColumn<'a> {
    pub(super) fn cell(&self, row: usize) -> Raw<'a> {
        if self.array.is_null(row) {
            return Raw::Null;
        }
        let Some(places) = &self.places else {
            return (self.read)(self.array, row);
        };
        // A dictionary may hold nulls of its own.
        let values = self.array.as_any_dictionary().values().as_ref();
        match places.get(row) {
            Some(place) if values.is_valid(*place) => (self.read)(values, *place),
            _ => Raw::Null,
        }
    }

    /// How many places the column's dictionary has; 0 where it has none.
    pub(super) fn places(&self) -> usize {
        self.array
            .as_any_dictionary_opt()
            .map_or(0, |dictionary| dictionary.values().len())
    }

    /// The place in the column's dictionary that a row's value is at.
    pub(super) fn place(&self, row: usize) -> Option<usize> {
        let places = self.places.as_ref()?;
        places
            .get(row)
            .copied()
            .filter(|_| self.array.is_valid(row))
    }

    /// The column as doubles, if it is one of doubles.
    pub(super) fn doubles(&self) -> Option<&'a Float64Array> {
        self.array.as_primitive_opt()
    }
}

/// Calls with each value of an array whose type has a reader; with null for others.
pub(super) fn each_cell<'a>(array: &'a ArrayRef, mut each: impl FnMut(Raw<'a>)) {
    let read = reader_of(array.data_type()).unwrap_or(|_, _| Raw::Null);
    let column = CellColumn {
        field: Field::Feature(0),
        array: array.as_ref(),
        read,
        places: places(array.as_ref()),
    };
    (0..array.len()).for_each(|row| each(column.cell(row)));
}

fn places(array: &dyn Array) -> Option<Vec<usize>> {
    let dictionary = array.as_any_dictionary_opt()?;
    // Without values, every row is null.
    let is_empty = dictionary.values().is_empty();
    Some(if is_empty {
        Vec::new()
    } else {
        dictionary.normalized_keys()
    })
}

/// Reads the stream format, or the file format, which is a stream with a frame around it.
pub(super) fn read(body: &[u8], limits: &Limits, rows: &mut impl Rows) -> Result<(), FormatError> {
    let stream = body.strip_prefix(FILE_MAGIC).map_or(body, unpadded);
    let stated = guarded(|| stated(stream))?;
    (limits.check_unpacked(body.len(), stated.unpacked)).map_err(|cause| unreadable(&cause))?;
    limits.check_rows(stated.rows, 0)?;
    let failed = |error: arrow_schema::ArrowError| unreadable(&error.to_string());
    let open = || StreamReader::try_new(Cursor::new(stream), None).map_err(failed);
    let mut reader = guarded(open)?;
    let columns = locate_columns(&reader.schema(), rows)?;
    limits.check_rows(stated.rows, open_ended(&columns))?;
    let mut line = 1;
    while let Some(batch) = guarded(|| reader.next().transpose().map_err(failed))? {
        let wanted = columns
            .iter()
            .map(|column| (column, batch.column(column.index)));
        rows.append_batch(line, &Cells::of(batch.num_rows(), wanted))?;
        line += batch.num_rows() as u64;
    }
    Ok(())
}

fn unpadded(mut file: &[u8]) -> &[u8] {
    while let Some(rest) = file.strip_prefix(&[0; 8]) {
        file = rest;
    }
    file
}

fn unreadable(cause: &str) -> FormatError {
    let cause = cause.to_owned();
    FormatError::Arrow { cause }
}

fn guarded<T>(work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    guard::guarded(work).unwrap_or_else(|| Err(unreadable(guard::CONTRADICTORY)))
}

/// What a stream says of its size.
#[derive(Default)]
struct Stated {
    /// Of all its batches.
    rows: u64,
    /// Bytes of all its buffers, once unpacked; one that is named twice counts twice.
    unpacked: u128,
}

fn stated(mut stream: &[u8]) -> Result<Stated, FormatError> {
    let cut = || unreadable("it ends in the middle of a message");
    let mut stated = Stated::default();
    // Bytes of each dictionary, by its number.
    let mut dictionaries: BTreeMap<i64, u128> = BTreeMap::new();
    while let Some((length, rest)) = stream.split_first_chunk::<4>() {
        let (length, rest) = if *length == CONTINUATION {
            rest.split_first_chunk::<4>().ok_or_else(cut)?
        } else {
            (length, rest)
        };
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| cut())?;
        if length == 0 {
            return Ok(stated);
        }
        let (metadata, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        let message = root_as_message(metadata).map_err(|error| unreadable(&error.to_string()))?;
        let body_length = usize::try_from(message.bodyLength()).map_err(|_| cut())?;
        let (body, rest) = rest.split_at_checked(body_length).ok_or_else(cut)?;
        match message.header_type() {
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch();
                if let Some((dictionary, batch)) = dictionary.and_then(|d| Some((d, d.data()?))) {
                    let whole = dictionaries.entry(dictionary.id()).or_default();
                    let added = unpacked(&batch, body);
                    // What is added to one is copied together with all there was.
                    *whole = if dictionary.isDelta() {
                        whole.saturating_add(added)
                    } else {
                        added
                    };
                    stated.unpacked = stated.unpacked.saturating_add(*whole);
                }
            }
            MessageHeader::RecordBatch => {
                if let Some(batch) = message.header_as_record_batch() {
                    let rows = u64::try_from(batch.length())
                        .map_err(|_| unreadable("a batch has less than no rows"))?;
                    stated.rows = stated.rows.saturating_add(rows);
                    stated.unpacked = stated.unpacked.saturating_add(unpacked(&batch, body));
                }
            }
            _ => {}
        }
        stream = rest;
    }
    // A part, cut between two messages, would pass for the whole.
    Err(unreadable("it ends without the mark of its end"))
}

/// What the buffers of a batch say they unpack to.
fn unpacked(batch: &IpcBatch, body: &[u8]) -> u128 {
    let is_packed = batch.compression().is_some();
    let buffers = batch.buffers().into_iter().flatten();
    buffers
        .map(|buffer| {
            let stated = || {
                let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
                let stated = body.get(start..).and_then(<[u8]>::first_chunk::<8>);
                stated.map_or(0, |stated| i64::from_le_bytes(*stated))
            };
            let length = u128::try_from(buffer.length()).unwrap_or(0);
            // Less than nothing says that this buffer is not compressed.
            let unpacked = is_packed.then(stated).map(u128::try_from);
            unpacked.and_then(Result::ok).unwrap_or(length)
        })
        .fold(0, u128::saturating_add)
}

/// How many columns there are that a body may have any number of.
pub(super) fn open_ended(columns: &[Column]) -> usize {
    let of_fixed = |column: &&Column| matches!(column.field, Field::Fixed(_));
    columns.len() - columns.iter().filter(of_fixed).count()
}

/// The columns of a file that fields want.
pub(super) fn locate_columns(
    schema: &Schema,
    rows: &mut impl Rows,
) -> Result<Vec<Column>, FormatError> {
    let mut columns: Vec<Column> = Vec::new();
    for (index, arrow) in schema.fields().iter().enumerate() {
        let refuse = |cause: String| FormatError::Column {
            column: arrow.name().clone(),
            cause,
        };
        let located = rows.locate(arrow.name());
        let Some(field) = located.map_err(|fault| refuse(fault.cause))? else {
            continue;
        };
        if columns.iter().any(|column| column.field == field) {
            return Err(refuse("occurs twice".to_owned()));
        }
        let vectors = matches!(field, Field::Feature(_)) && are_vectors(arrow.data_type());
        let read = vectors.then_some(vector as ReadCell);
        let read = read.or_else(|| reader_of(arrow.data_type()));
        let read = read.ok_or_else(|| {
            let data_type = arrow.data_type();
            refuse(format!(
                "is of type {data_type}; taken are numbers, booleans, texts, timestamps, dates and, of features, lists of numbers"
            ))
        })?;
        columns.push(Column { index, field, read });
    }
    Ok(columns)
}

pub(super) fn reader_of(data_type: &DataType) -> Option<ReadCell> {
    Some(match data_type {
        DataType::Null => |_, _| Raw::Null,
        DataType::Boolean => |array, row| Raw::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => integer::<Int8Type>,
        DataType::Int16 => integer::<Int16Type>,
        DataType::Int32 => integer::<Int32Type>,
        DataType::Int64 => integer::<Int64Type>,
        DataType::UInt8 => integer::<UInt8Type>,
        DataType::UInt16 => integer::<UInt16Type>,
        DataType::UInt32 => integer::<UInt32Type>,
        DataType::UInt64 => large_integer,
        DataType::Float16 => number::<Float16Type>,
        DataType::Float32 => number::<Float32Type>,
        DataType::Float64 => number::<Float64Type>,
        DataType::Utf8 => |array, row| Raw::Text(array.as_string::<i32>().value(row).into()),
        DataType::LargeUtf8 => |array, row| Raw::Text(array.as_string::<i64>().value(row).into()),
        DataType::Utf8View => |array, row| Raw::Text(array.as_string_view().value(row).into()),
        DataType::Date32 => date,
        DataType::Timestamp(unit, zone) => return Some(timestamp_reader(*unit, zone.is_some())),
        DataType::Dictionary(_, values) if is_text(values) => return reader_of(values),
        _ => return None,
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn integer<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, row: usize) -> Raw<'_> {
    Raw::Integer(array.as_primitive::<T>().value(row).into())
}

fn large_integer(array: &dyn Array, row: usize) -> Raw<'_> {
    let integer = array.as_primitive::<UInt64Type>().value(row);
    i64::try_from(integer).map_or_else(|_| Raw::BigNumber(integer.to_string().into()), Raw::Integer)
}

fn number<T: ArrowPrimitiveType<Native: Into<f64>>>(array: &dyn Array, row: usize) -> Raw<'_> {
    Raw::Number(array.as_primitive::<T>().value(row).into())
}

fn vector(array: &dyn Array, row: usize) -> Raw<'_> {
    vector_with_gaps(array, row).map_or(Raw::Null, Raw::Vector)
}

fn date(array: &dyn Array, row: usize) -> Raw<'_> {
    let days = i64::from(array.as_primitive::<Date32Type>().value(row));
    DateTime::from_timestamp(days * SECONDS_PER_DAY, 0).map_or(Raw::EndlessTimestamp, Raw::Unzoned)
}

fn timestamp_reader(unit: TimeUnit, is_zoned: bool) -> ReadCell {
    match (unit, is_zoned) {
        (TimeUnit::Second, true) => timestamp::<TimestampSecondType>,
        (TimeUnit::Millisecond, true) => timestamp::<TimestampMillisecondType>,
        (TimeUnit::Microsecond, true) => timestamp::<TimestampMicrosecondType>,
        (TimeUnit::Nanosecond, true) => timestamp::<TimestampNanosecondType>,
        (TimeUnit::Second, false) => clock::<TimestampSecondType>,
        (TimeUnit::Millisecond, false) => clock::<TimestampMillisecondType>,
        (TimeUnit::Microsecond, false) => clock::<TimestampMicrosecondType>,
        (TimeUnit::Nanosecond, false) => clock::<TimestampNanosecondType>,
    }
}

fn timestamp<T: ArrowTimestampType>(array: &dyn Array, row: usize) -> Raw<'_> {
    instant::<T>(array, row).map_or(Raw::EndlessTimestamp, Raw::Timestamp)
}

fn clock<T: ArrowTimestampType>(array: &dyn Array, row: usize) -> Raw<'_> {
    instant::<T>(array, row).map_or(Raw::EndlessTimestamp, Raw::Unzoned)
}

fn instant<T: ArrowTimestampType>(array: &dyn Array, row: usize) -> Option<DateTime<Utc>> {
    let value = array.as_primitive::<T>().value(row);
    match T::UNIT {
        TimeUnit::Second => DateTime::from_timestamp(value, 0),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(value),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(value),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(value)),
    }
}
