//! A file of rows, cut into bodies that the server takes. NDJSON is cut at its lines and CSV at its records,
//! each part with the header; JSON, Parquet and Arrow are sent whole, because they cannot be cut without being read.

use std::ops::Range;

use bytes::Bytes;

use crate::formats::Format;

/// Half of what the server takes, so that a record more does not matter.
const PART_BYTES: usize = 8 << 20;
/// Half of the rows the server takes at once.
const PART_ROWS: usize = 50_000;

/// One body of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub body: Bytes,
    /// What to add to a line of this body to get the line of the file.
    pub line_offset: u64,
}

/// The parts of a file, in order.
pub fn of(format: Format, body: &Bytes) -> Vec<Part> {
    cut(format, body, PART_BYTES, PART_ROWS)
}

fn cut(format: Format, body: &Bytes, most_bytes: usize, most_rows: usize) -> Vec<Part> {
    let records = match format {
        Format::Ndjson => records(body, false),
        Format::Csv => records(body, true),
        Format::Json | Format::Parquet | Format::Arrow => Vec::new(),
    };
    let (header, rows) = match (format, records.as_slice()) {
        (Format::Csv, [header, rows @ ..]) => (header.clone(), rows),
        (_, rows) => (0..0, rows),
    };
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return vec![Part {
            body: body.clone(),
            line_offset: 0,
        }];
    };
    let mut spans: Vec<Range<usize>> = Vec::new();
    let (mut span, mut held) = (first.start..first.start, 0);
    for row in rows {
        if held > 0 && (held == most_rows || row.end - span.start > most_bytes) {
            spans.push(span);
            (span, held) = (row.start..row.start, 0);
        }
        span.end = row.end;
        held += 1;
    }
    spans.push(span.start..last.end);
    spans
        .into_iter()
        .map(|span| part(body, header.clone(), span))
        .collect()
}

/// A span of records behind the header, which is joined only where the two do not touch.
fn part(body: &Bytes, header: Range<usize>, span: Range<usize>) -> Part {
    if span.start == header.end {
        return Part {
            body: body.slice(header.start..span.end),
            line_offset: 0,
        };
    }
    let line_offset = lines(&body[header.end..span.start]);
    let joined = [&body[header], &body[span]].concat();
    Part {
        body: joined.into(),
        line_offset,
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Where the records are, each with the end of its line. In CSV, a line may end inside quotes without ending
/// its record; a doubled quote inside quotes changes the state twice and so not at all.
fn records(body: &[u8], quoting: bool) -> Vec<Range<usize>> {
    let (mut records, mut start, mut quoted) = (Vec::new(), 0, false);
    for (position, byte) in body.iter().enumerate() {
        match byte {
            b'"' if quoting => quoted = !quoted,
            b'\n' if !quoted => {
                records.push(start..position + 1);
                start = position + 1;
            }
            _ => {}
        }
    }
    if start < body.len() {
        records.push(start..body.len());
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(format: Format, body: &str, bytes: usize, rows: usize) -> Vec<(String, u64)> {
        cut(
            format,
            &Bytes::copy_from_slice(body.as_bytes()),
            bytes,
            rows,
        )
        .into_iter()
        .map(|part| {
            let text = String::from_utf8(part.body.into()).expect("text");
            (text, part.line_offset)
        })
        .collect()
    }

    fn part(text: &str, line_offset: u64) -> (String, u64) {
        (text.to_owned(), line_offset)
    }

    #[test]
    fn csv_parts_each_have_the_header_and_know_their_lines() {
        assert_eq!(
            texts(Format::Csv, "id,x\na,1\nb,2\nc,3\n", 100, 2),
            [part("id,x\na,1\nb,2\n", 0), part("id,x\nc,3\n", 2)]
        );
    }

    #[test]
    fn csv_records_are_not_cut_inside_quotes() {
        assert_eq!(
            texts(Format::Csv, "id,x\na,\"1\n\"\"2\"\nb,2", 100, 1),
            [part("id,x\na,\"1\n\"\"2\"\n", 0), part("id,x\nb,2", 2)]
        );
    }

    #[test]
    fn ndjson_is_cut_at_lines_by_bytes_too() {
        assert_eq!(
            texts(Format::Ndjson, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", 16, 100),
            [part("{\"a\":1}\n{\"a\":2}\n", 0), part("{\"a\":3}\n", 2)]
        );
    }

    #[test]
    fn what_cannot_be_cut_is_one_part() {
        for (format, body) in [
            (Format::Json, "[1,\n2]"),
            (Format::Parquet, "PAR1\nPAR1"),
            (Format::Csv, "id,x\n"),
            (Format::Csv, ""),
            (Format::Ndjson, ""),
        ] {
            assert_eq!(texts(format, body, 1, 1), [part(body, 0)], "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_put_together_are_the_file(
            body in "([a-z]{0,5}\n){1,30}[a-z]{0,3}", bytes in 1_usize..40, rows in 1_usize..10,
        ) {
            let parts = texts(Format::Ndjson, &body, bytes, rows);
            let joined: String = parts.iter().map(|(text, _)| text.as_str()).collect();
            prop_assert_eq!(joined, body);
            let mut lines_before = 0;
            for (text, line_offset) in parts {
                prop_assert_eq!(line_offset, lines_before);
                lines_before += lines(text.as_bytes());
            }
        }
    }
}
