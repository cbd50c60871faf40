//! What the pages of a Parquet file say they hold, read before any of them is unpacked.
//!
//! The library makes room for as many bytes, values of a dictionary and levels of a list as a page's header names, and
//! nothing ties these to the sums in the file's footer: a kilobyte can ask for gigabytes. It has no reader of the headers
//! for others, so this is one, of Thrift's compact protocol as far as headers of pages go. Where a known field is of
//! another type than it should be, the library still reads what it expects; here the file is refused, so that both always
//! go on at the same place.

use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// Types of fields.
const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const STRUCT: u8 = 12;

/// How deep structs may lie in each other.
const MOST_DEPTH: usize = 8;
/// The longest number, in sevenths of its bits.
const MOST_SEVENTHS: u32 = 9;
/// What a value of a dictionary or of a list takes beside its page: itself, or its levels and itself.
const VALUE_BYTES: u64 = 8;
/// Encodings whose values are no more than what their page says. The others say inside the page how many they are, or
/// make long texts of shared beginnings.
const TAKEN: [Encoding; 6] = [
    Encoding::PLAIN,
    Encoding::PLAIN_DICTIONARY,
    Encoding::RLE,
    Encoding::DELTA_BINARY_PACKED,
    Encoding::RLE_DICTIONARY,
    Encoding::BYTE_STREAM_SPLIT,
];

/// What a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    packed: u64,
    unpacked: u64,
    values: u64,
    encoding: Option<i64>,
    is_dictionary: bool,
}

/// How many bytes the pages of these leaf columns take once they are unpacked, as far as they are needed to see that it is
/// more than `limit`.
///
/// # Errors
/// With the cause, when a page cannot be what it says, or is packed or encoded so that it does not say what it holds.
pub(super) fn unpacked(
    file: &[u8],
    metadata: &ParquetMetaData,
    is_wanted: impl Fn(usize) -> bool,
    limit: u64,
) -> Result<u128, String> {
    let mut unpacked = 0;
    for group in metadata.row_groups() {
        for (_, chunk) in (group.columns().iter().enumerate()).filter(|(leaf, _)| is_wanted(*leaf))
        {
            unpacked += of_chunk(file, chunk, limit)?;
            if unpacked > u128::from(limit) {
                return Ok(unpacked);
            }
        }
    }
    Ok(unpacked)
}

fn of_chunk(file: &[u8], chunk: &ColumnChunkMetaData, limit: u64) -> Result<u128, String> {
    let column = chunk.column_path().string();
    match chunk.compression() {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => {}
        other => {
            let codec = other.to_string();
            let codec = codec.split('(').next().unwrap_or_default();
            return Err(format!(
                "column {column:?} is packed with {codec}; taken are none, Snappy, Zstandard and LZ4_RAW"
            ));
        }
    }
    let damaged = || format!("a page of column {column:?} is damaged");
    let (start, length) = chunk.byte_range();
    let place = usize::try_from(start)
        .ok()
        .zip(usize::try_from(length).ok());
    let mut pages = place
        .and_then(|(start, length)| file.get(start..)?.get(..length))
        .ok_or_else(damaged)?;
    let is_list = chunk.column_descr().max_rep_level() > 0;
    let mut unpacked = 0;
    while !pages.is_empty() && unpacked <= u128::from(limit) {
        let before = pages.len();
        let header = header(&mut pages).ok_or_else(damaged)?;
        let length = usize::try_from(header.packed).map_err(|_| damaged())?;
        (_, pages) = pages.split_at_checked(length).ok_or_else(damaged)?;
        if let Some(encoding) = header.encoding {
            let taken = TAKEN.iter().any(|taken| *taken as i64 == encoding);
            if !taken {
                return Err(format!(
                    "column {column:?} has pages of encoding {encoding}; taken are dictionaries, plain values, \
                     DELTA_BINARY_PACKED and BYTE_STREAM_SPLIT"
                ));
            }
        }
        // The header itself too: pages of nothing cost time.
        let of_header = (before - pages.len() - length) as u128;
        unpacked += of_header + u128::from(header.unpacked.max(header.packed));
        if is_list || header.is_dictionary {
            unpacked += u128::from(header.values) * u128::from(VALUE_BYTES);
        }
    }
    Ok(unpacked)
}

/// Reads a page's header off the front.
fn header(bytes: &mut &[u8]) -> Option<Header> {
    let (mut packed, mut unpacked) = (None, None);
    let (mut values, mut encoding, mut is_dictionary) = (0, None, false);
    let mut kinds = 0;
    fields(bytes, |bytes, id, kind| {
        match (id, kind) {
            (1 | 4, I32) => {
                number(bytes)?;
            }
            (2, I32) if unpacked.is_none() => unpacked = Some(count(bytes)?),
            (3, I32) if packed.is_none() => packed = Some(count(bytes)?),
            (5..=8, STRUCT) => {
                kinds += 1;
                let (place_of_encoding, numbers, flag) = match id {
                    5 => (Some(2), 1..=4, None),
                    7 => (Some(2), 1..=2, Some(3)),
                    8 => (Some(4), 1..=6, Some(7)),
                    _ => (None, 0..=0, None),
                };
                is_dictionary = id == 7;
                fields(bytes, |bytes, id, kind| match kind {
                    I32 if numbers.contains(&id) => {
                        let said = number(bytes)?;
                        if id == 1 {
                            values = values.max(u64::try_from(said).ok()?);
                        } else if Some(id) == place_of_encoding {
                            encoding = Some(said);
                        }
                        Some(())
                    }
                    TRUE | FALSE if Some(id) == flag => Some(()),
                    _ if numbers.contains(&id) || Some(id) == flag => None,
                    _ => pass_over(bytes, kind, MOST_DEPTH),
                })?;
            }
            (1..=8, _) => return None,
            _ => pass_over(bytes, kind, MOST_DEPTH)?,
        }
        Some(())
    })?;
    // One page is of one kind.
    (kinds <= 1).then_some(())?;
    Some(Header {
        packed: packed?,
        unpacked: unpacked?,
        values,
        encoding,
        is_dictionary,
    })
}

/// Visits the fields of a struct, each with its number and type, to the struct's end.
fn fields(
    bytes: &mut &[u8],
    mut visit: impl FnMut(&mut &[u8], i16, u8) -> Option<()>,
) -> Option<()> {
    let mut id = 0_i16;
    loop {
        let byte = byte(bytes)?;
        let kind = byte & 0x0f;
        if kind == STOP {
            return Some(());
        }
        id = match byte >> 4 {
            0 => i16::try_from(zigzag(bytes)?).ok()?,
            further => id.checked_add(further.into())?,
        };
        visit(bytes, id, kind)?;
    }
}

/// Passes over a value; headers have neither lists nor maps.
fn pass_over(bytes: &mut &[u8], kind: u8, depth: usize) -> Option<()> {
    let length = match kind {
        TRUE | FALSE => 0,
        BYTE => 1,
        I16 | I32 | I64 => {
            varint(bytes)?;
            0
        }
        DOUBLE => 8,
        BINARY => usize::try_from(varint(bytes)?).ok()?,
        STRUCT => {
            let depth = depth.checked_sub(1)?;
            fields(bytes, |bytes, _, kind| pass_over(bytes, kind, depth))?;
            0
        }
        _ => return None,
    };
    (_, *bytes) = bytes.split_at_checked(length)?;
    Some(())
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*byte)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for seventh in 0..MOST_SEVENTHS {
        let byte = byte(bytes)?;
        number |= u64::from(byte & 0x7f) << (7 * seventh);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let number = varint(bytes)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// A number of 32 bits.
fn number(bytes: &mut &[u8]) -> Option<i64> {
    let number = zigzag(bytes)?;
    i32::try_from(number).ok().map(i64::from)
}

fn count(bytes: &mut &[u8]) -> Option<u64> {
    u64::try_from(number(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page of 7 bytes that says 300, with two values, plain, and statistics.
    const PAGE: [u8; 23] = [
        0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x0e, 0x2c, 0x15, 0x04, 0x15, 0x00, 0x15, 0x06, 0x15,
        0x06, 0x1c, 0x18, 0x01, b'x', 0x00, 0x00, 0x00,
    ];

    #[test]
    fn a_header_says_what_it_says_and_where_it_ends() {
        let with_body = [&PAGE[..], b"abc"].concat();
        let mut bytes = &with_body[..];
        let expected = Header {
            packed: 7,
            unpacked: 300,
            values: 2,
            encoding: Some(0),
            is_dictionary: false,
        };
        assert_eq!(header(&mut bytes), Some(expected));
        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn a_header_that_is_cut_or_of_other_types_is_none() {
        for length in 0..PAGE.len() {
            assert_eq!(header(&mut &PAGE[..length]), None, "{length} bytes");
        }
        for (place, byte, what) in [
            (2, 0x18, "a size that is text"),
            (2, 0x16, "a size of 64 bits"),
            (7, 0x25, "a page's kind that is a number"),
            (8, 0x18, "values that are text"),
            (16, 0x19, "statistics that are a list"),
            (4, 0x84, "a size beyond 32 bits"),
            (6, 0x0d, "less than no bytes"),
        ] {
            let mut other = PAGE;
            other[place] = byte;
            if place == 4 {
                other[5..8].copy_from_slice(&[0xff, 0xff, 0x7f]);
            }
            assert_eq!(header(&mut &other[..]), None, "{what}");
        }
    }
}
