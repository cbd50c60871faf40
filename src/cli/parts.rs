//! A file of rows, cut into bodies that the server takes, whatever the file's size: it is read as it is sent. NDJSON is
//! cut at its lines and CSV at its records, each part with the header; Parquet and Arrow are read some rows at a time
//! and sent as Arrow. A JSON document is sent whole, because it cannot be cut without being read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::formats::{Format, MOST_CELLS_OF_A_BODY};

/// Half of what the server takes, so that a record more does not matter.
const PART_BYTES: usize = 8 << 20;
/// Half of the rows the server takes at once.
const PART_ROWS: usize = 50_000;
/// Half of the values, rows times columns, that the server takes at once.
const PART_VALUES: usize = MOST_CELLS_OF_A_BODY / 2;
/// Rows of a file of columns that are read at a time.
const ROWS_AT_ONCE: usize = 8_192;
const ARROW_FILE: &[u8] = b"ARROW1";

/// One body of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub body: Bytes,
    /// What the body is.
    pub format: Format,
    /// How many records of the file it holds: rows, or lines.
    pub records: u64,
    /// What to add to a line of this body to get the line of the file.
    pub line_offset: u64,
}

/// The parts of a file, in order.
pub type Parts = Box<dyn Iterator<Item = anyhow::Result<Part>>>;

/// Opens a file.
///
/// # Errors
/// When it cannot be read, or is not what its format says.
pub fn of(format: Format, path: &Path) -> anyhow::Result<Parts> {
    let open = || File::open(path).context("read it");
    Ok(match format {
        Format::Ndjson | Format::SageMaker | Format::AzureMl | Format::Csv => {
            let reader = BufReader::with_capacity(1 << 20, open()?);
            Box::new(TextParts::of(format, reader, PART_BYTES, PART_ROWS)?)
        }
        Format::Json => {
            let mut body = Vec::new();
            open()?.read_to_end(&mut body).context("read it")?;
            Box::new(std::iter::once(Ok(Part {
                body: body.into(),
                format,
                records: 1,
                line_offset: 0,
            })))
        }
        Format::Parquet => {
            let builder =
                ParquetRecordBatchReaderBuilder::try_new(open()?).context("read it as Parquet")?;
            let reader = builder
                .with_batch_size(ROWS_AT_ONCE)
                .build()
                .context("read it as Parquet")?;
            let schema = arrow_array::RecordBatchReader::schema(&reader);
            Box::new(ColumnParts::of(schema, Box::new(reader)))
        }
        Format::Arrow => {
            let mut file = open()?;
            let mut start = Vec::new();
            file.by_ref()
                .take(ARROW_FILE.len() as u64)
                .read_to_end(&mut start)
                .context("read it")?;
            file.seek(SeekFrom::Start(0)).context("read it")?;
            let batches = BufReader::new(file);
            if start == ARROW_FILE {
                let reader = FileReader::try_new(batches, None).context("read it as Arrow")?;
                Box::new(ColumnParts::of(reader.schema(), Box::new(reader)))
            } else {
                let reader = StreamReader::try_new(batches, None).context("read it as Arrow")?;
                Box::new(ColumnParts::of(reader.schema(), Box::new(reader)))
            }
        }
    })
}

/// Lines or records of text, some at a time.
struct TextParts<R> {
    format: Format,
    reader: R,
    header: Vec<u8>,
    /// The line that the next record begins in, from 0.
    line: u64,
    header_lines: u64,
    /// A record that was read and found no room.
    next: Option<Vec<u8>>,
    most_bytes: usize,
    most_rows: usize,
    began: bool,
}

impl<R: BufRead> TextParts<R> {
    fn of(format: Format, reader: R, most_bytes: usize, most_rows: usize) -> anyhow::Result<Self> {
        let mut parts = Self {
            format,
            reader,
            header: Vec::new(),
            line: 0,
            header_lines: 0,
            next: None,
            most_bytes,
            most_rows,
            began: false,
        };
        if format == Format::Csv {
            parts.header = parts.read_record()?.unwrap_or_default();
            parts.header_lines = lines(&parts.header);
            parts.line = parts.header_lines;
            // A comma in a name makes parts a little smaller. Other texts have the names in every row, and so few values.
            let commas = parts.header.iter().filter(|byte| **byte == b',').count();
            parts.most_rows = most_rows.min(rows_of(commas + 1));
        }
        Ok(parts)
    }

    /// A record with the end of its line. In CSV, a line may end inside quotes without ending its record; a doubled
    /// quote inside quotes changes the state twice and so not at all.
    fn read_record(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        let mut quotes = 0;
        loop {
            let before = record.len();
            let read = self
                .reader
                .read_until(b'\n', &mut record)
                .context("read it")?;
            if self.format == Format::Csv {
                quotes += record[before..]
                    .iter()
                    .filter(|byte| **byte == b'"')
                    .count();
            }
            if read == 0 || quotes % 2 == 0 {
                return Ok((!record.is_empty()).then_some(record));
            }
        }
    }

    fn read_part(&mut self) -> anyhow::Result<Option<Part>> {
        let mut body = self.header.clone();
        let (first_line, mut records) = (self.line, 0);
        loop {
            let record = match self.next.take() {
                Some(record) => Some(record),
                None => self.read_record()?,
            };
            let Some(record) = record else {
                break;
            };
            let is_full = records == self.most_rows
                || body.len() - self.header.len() + record.len() > self.most_bytes;
            if records > 0 && is_full {
                self.next = Some(record);
                break;
            }
            self.line += lines(&record);
            body.extend(record);
            records += 1;
        }
        // A file without rows is sent all the same: whether that is right, the server says.
        let is_only = !std::mem::replace(&mut self.began, true);
        if records == 0 && !is_only {
            return Ok(None);
        }
        Ok(Some(Part {
            body: body.into(),
            format: self.format,
            records: records as u64,
            line_offset: first_line - self.header_lines,
        }))
    }
}

impl<R: BufRead> Iterator for TextParts<R> {
    type Item = anyhow::Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_part().transpose()
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// How many rows of so many columns a part has at most.
fn rows_of(columns: usize) -> usize {
    (PART_VALUES / columns.max(1)).clamp(1, PART_ROWS)
}

/// Rows of a file of columns, some at a time, as Arrow.
struct ColumnParts {
    schema: Arc<Schema>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>,
    /// What was read and is still to be sent.
    rest: Option<RecordBatch>,
    row: u64,
    began: bool,
}

impl ColumnParts {
    fn of(
        schema: Arc<Schema>,
        batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>,
    ) -> Self {
        Self {
            schema,
            batches,
            rest: None,
            row: 0,
            began: false,
        }
    }

    fn read_part(&mut self) -> anyhow::Result<Option<Part>> {
        let mut chosen: Vec<RecordBatch> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        let most_rows = rows_of(self.schema.fields().len());
        while rows < most_rows && bytes < PART_BYTES {
            let batch = match self.rest.take() {
                Some(rest) => rest,
                None => match self.batches.next() {
                    Some(batch) => batch.context("read its rows")?,
                    None => break,
                },
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let each = (batch.get_array_memory_size() / batch.num_rows()).max(1);
            let room = ((PART_BYTES - bytes) / each).clamp(1, most_rows - rows);
            let taken = room.min(batch.num_rows());
            if taken < batch.num_rows() {
                self.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            rows += taken;
            bytes += taken * each;
            chosen.push(batch.slice(0, taken));
            if self.rest.is_some() {
                break;
            }
        }
        let is_only = !std::mem::replace(&mut self.began, true);
        if rows == 0 && !is_only {
            return Ok(None);
        }
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .context("write Arrow")?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &self.schema, options)
            .context("write Arrow")?;
        for batch in &chosen {
            writer.write(batch).context("write Arrow")?;
        }
        let line_offset = self.row;
        self.row += rows as u64;
        Ok(Some(Part {
            body: writer.into_inner().context("write Arrow")?.into(),
            format: Format::Arrow,
            records: rows as u64,
            line_offset,
        }))
    }
}

impl Iterator for ColumnParts {
    type Item = anyhow::Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_part().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use proptest::prelude::*;

    fn texts(format: Format, body: &str, bytes: usize, rows: usize) -> Vec<(String, u64)> {
        TextParts::of(format, body.as_bytes(), bytes, rows)
            .expect("opened")
            .map(|part| {
                let part = part.expect("read");
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
    fn rows_of_many_columns_are_cut_by_their_values() {
        let row = ",".repeat(999) + "\n";
        let body = row.repeat(1 + 2_000);
        let parts = TextParts::of(Format::Csv, body.as_bytes(), PART_BYTES, PART_ROWS);
        let parts = parts
            .expect("opened")
            .map(|part| part.expect("read").records);
        assert_eq!(parts.collect::<Vec<u64>>(), [1_250, 750]);
        assert_eq!(rows_of(3), PART_ROWS);
        assert_eq!(rows_of(10_000_000), 1);
    }

    #[test]
    fn a_file_without_rows_is_one_part() {
        for (format, body) in [
            (Format::Csv, "id,x\n"),
            (Format::Csv, ""),
            (Format::Ndjson, ""),
        ] {
            assert_eq!(texts(format, body, 1, 1), [part(body, 0)], "{format:?}");
        }
    }

    #[test]
    fn columns_are_cut_at_rows() {
        let column = |rows: std::ops::Range<i64>| Int64Array::from_iter_values(rows);
        let batch = |rows| {
            let array: arrow_array::ArrayRef = Arc::new(column(rows));
            RecordBatch::try_from_iter([("a", array)]).expect("a batch")
        };
        let batches = vec![Ok(batch(0..70_000)), Ok(batch(70_000..70_003))];
        let parts = ColumnParts::of(batch(0..1).schema(), Box::new(batches.into_iter()));
        let parts: Vec<(u64, u64)> = parts
            .map(|part| part.expect("read"))
            .map(|part| (part.records, part.line_offset))
            .collect();
        assert_eq!(parts, [(50_000, 0), (20_003, 50_000)]);
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
