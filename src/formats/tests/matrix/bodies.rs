//! Rows of the matrix as each format writes them.

use std::sync::Arc;

use arrow_array::*;

use super::super::files::{arrow_stream, parquet_file};
use super::*;

pub(super) fn json_value(sent: &Sent) -> Option<Vec<u8>> {
    Some(match sent {
        Sent::Null => b"null".to_vec(),
        Sent::Boolean(boolean) => boolean.to_string().into_bytes(),
        Sent::Integer(integer) => integer.to_string().into_bytes(),
        Sent::Unsigned(integer) => integer.to_string().into_bytes(),
        Sent::Number(number) if number.is_finite() => format!("{number:?}").into_bytes(),
        Sent::Text(text) => serde_json::to_vec(text).expect("text is JSON"),
        Sent::Json(raw) => raw.clone(),
        Sent::Number(_) | Sent::Missing | Sent::Seconds(_) | Sent::Csv(_) | Sent::Twice => {
            return None;
        }
    })
}

fn json_row(place: Place, row: usize, sent: &Sent) -> Option<Vec<u8>> {
    let mut members: Vec<Vec<u8>> = Vec::new();
    let member =
        |field: &str, value: Vec<u8>| [format!("\"{field}\":").into_bytes(), value].concat();
    for (field, value) in others(place, row) {
        members.push(member(field, json_value(&value)?));
    }
    let values = match sent {
        Sent::Missing => vec![],
        Sent::Twice => {
            let good = json_value(&good(place, &Sent::Json(Vec::new()), row)?)?;
            vec![good.clone(), good]
        }
        sent => vec![json_value(sent)?],
    };
    match place {
        Segment => {
            let inside: Vec<Vec<u8>> = (values.into_iter()).map(|v| member("channel", v)).collect();
            let object = [b"{".as_slice(), &inside.join(&b','), b"}"].concat();
            members.push(member("segments", object));
        }
        _ => members.extend(values.into_iter().map(|value| member(place.field(), value))),
    }
    Some([b"{".as_slice(), &members.join(&b','), b"}"].concat())
}

pub(super) fn csv_cell(sent: &Sent) -> Option<Vec<u8>> {
    Some(match sent {
        Sent::Null => Vec::new(),
        Sent::Boolean(boolean) => boolean.to_string().into_bytes(),
        Sent::Integer(integer) => integer.to_string().into_bytes(),
        Sent::Unsigned(integer) => integer.to_string().into_bytes(),
        Sent::Number(number) => format!("{number:?}").into_bytes(),
        Sent::Text(text) => text.clone().into_bytes(),
        Sent::Csv(raw) => raw.clone(),
        Sent::Missing | Sent::Seconds(_) | Sent::Json(_) | Sent::Twice => return None,
    })
}

/// Flat rows name their segment in the value.
fn flat(place: Place, sent: &Sent) -> Option<Sent> {
    if place != Segment || *sent == Sent::Null {
        return Some(sent.clone());
    }
    Some(match sent {
        Sent::Text(text) => Sent::Text(format!("channel={text}")),
        Sent::Csv(raw) => Sent::Csv([b"channel=", raw.as_slice()].concat()),
        Sent::Json(_) | Sent::Seconds(_) | Sent::Missing | Sent::Twice => return None,
        other => Sent::Csv([b"channel=".to_vec(), csv_cell(other)?].concat()),
    })
}

fn csv_body(place: Place, column: &[Sent]) -> Option<Vec<u8>> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut header: Vec<&str> = others(place, 0)
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    header.push(place.field());
    writer.write_record(header).expect("written");
    for (row, sent) in column.iter().enumerate() {
        let mut cells: Vec<Vec<u8>> = Vec::new();
        for (_, value) in others(place, row) {
            cells.push(csv_cell(&value)?);
        }
        cells.push(csv_cell(&flat(place, sent)?)?);
        writer.write_record(cells).expect("written");
    }
    Some(writer.into_inner().expect("flushed"))
}

fn array(column: &[Sent]) -> Option<ArrayRef> {
    macro_rules! of {
        ($array:ty, $variant:path) => {
            Arc::new(
                (column.iter())
                    .map(|sent| match sent {
                        $variant(value) => Some(value.clone()),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    let known = |sent: &&Sent| **sent != Sent::Null;
    let array: ArrayRef = match column.iter().find(known)? {
        Sent::Boolean(_) => of!(BooleanArray, Sent::Boolean),
        Sent::Integer(_) => of!(Int64Array, Sent::Integer),
        Sent::Unsigned(_) => of!(UInt64Array, Sent::Unsigned),
        Sent::Number(_) => of!(Float64Array, Sent::Number),
        Sent::Text(_) => of!(StringArray, Sent::Text),
        Sent::Seconds(_) => of!(TimestampSecondArray, Sent::Seconds),
        _ => return None,
    };
    Some(array)
}

fn columns(place: Place, column: &[Sent]) -> Option<Vec<(&'static str, ArrayRef)>> {
    let rows: Vec<Vec<(&str, Sent)>> = (0..column.len()).map(|row| others(place, row)).collect();
    let mut columns = Vec::new();
    for (index, (field, _)) in others(place, 0).into_iter().enumerate() {
        let values: Vec<Sent> = rows.iter().map(|row| row[index].1.clone()).collect();
        columns.push((field, array(&values)?));
    }
    let flat: Option<Vec<Sent>> = column.iter().map(|sent| flat(place, sent)).collect();
    columns.push((place.field(), array(&flat?)?));
    Some(columns)
}

/// Three rows with the poison in one of them; none where the format cannot say it.
pub(super) fn body(
    format: Format,
    place: Place,
    poison: &Sent,
    position: usize,
) -> Option<Vec<u8>> {
    let typed = matches!(format, Format::Parquet | Format::Arrow);
    if typed
        && matches!(
            poison,
            Sent::Missing | Sent::Json(_) | Sent::Csv(_) | Sent::Twice
        )
    {
        return None;
    }
    let column: Option<Vec<Sent>> = (0..3)
        .map(|row| match row {
            _ if row == position => Some(poison.clone()),
            _ if typed => good(place, poison, row),
            _ => good(place, &Sent::Json(Vec::new()), row),
        })
        .collect();
    let column = column?;
    Some(match format {
        Format::Csv => csv_body(place, &column)?,
        Format::Parquet => parquet_file(columns(place, &column)?),
        Format::Arrow => arrow_stream(columns(place, &column)?, Default::default()),
        Format::SageMaker | Format::AzureMl => unreachable!("not among the formats tried"),
        Format::Json | Format::Ndjson => {
            let rows: Option<Vec<Vec<u8>>> = (column.iter().enumerate())
                .map(|(row, sent)| json_row(place, row, sent))
                .collect();
            match format {
                Format::Json => [b"[".as_slice(), &rows?.join(&b','), b"]"].concat(),
                _ => rows?.join(&b'\n'),
            }
        }
    })
}
