//! Arrow IPC, file and stream.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::{
    Batch, InFileOrder, TableColumn, TableError, Take, guarded, open, typed_columns, unreadable,
};

const FILE_MAGIC: &[u8] = b"ARROW1";
/// What a stream that was written to its end closes with.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What is known of a file once it is open.
#[derive(Debug)]
pub(super) struct Source {
    framed: bool,
}

enum Batches {
    File(FileReader<BufReader<File>>),
    Stream(StreamReader<BufReader<File>>),
}

impl Batches {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::File(reader) => reader.schema(),
            Self::Stream(reader) => reader.schema(),
        }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        let next = match self {
            Self::File(reader) => reader.next(),
            Self::Stream(reader) => reader.next(),
        };
        next.transpose().map_err(told)
    }
}

fn told(error: ArrowError) -> String {
    error.to_string()
}

impl Source {
    pub(super) fn open(file: &Path) -> Result<(Self, Vec<TableColumn>), TableError> {
        let mut reader = open(file)?;
        let mut start = Vec::new();
        (reader.by_ref().take(FILE_MAGIC.len() as u64))
            .read_to_end(&mut start)
            .map_err(|error| unreadable(file, "", error))?;
        let source = Self {
            framed: start == FILE_MAGIC,
        };
        if !source.framed && !ends_whole(&mut reader) {
            let cause = "it ends without the mark of its end: it is cut short, or not Arrow IPC";
            return Err(unreadable(file, "", cause));
        }
        let schema = source.batches(file, None)?.schema();
        Ok((source, typed_columns(&schema)))
    }

    fn batches(&self, file: &Path, columns: Option<Vec<usize>>) -> Result<Batches, TableError> {
        let reader = BufReader::with_capacity(1 << 20, open(file)?);
        guarded(file, "", || {
            Ok(if self.framed {
                Batches::File(FileReader::try_new(reader, columns).map_err(told)?)
            } else {
                Batches::Stream(StreamReader::try_new(reader, columns).map_err(told)?)
            })
        })
    }

    pub(super) fn read(
        &self,
        file: &Path,
        columns: &[usize],
        take: &mut Take<'_>,
    ) -> Result<(), TableError> {
        let wanted = InFileOrder::of(columns);
        let mut batches = self.batches(file, Some(wanted.places.clone()))?;
        let mut number = 0;
        loop {
            number += 1;
            let place = format!(", record batch {number}");
            let Some(batch) = guarded(file, &place, || batches.next())? else {
                return Ok(());
            };
            let batch = Batch {
                rows: batch.num_rows(),
                progress: batch.get_array_memory_size() as u64,
                columns: wanted.columns_of(&batch),
            };
            if !take(batch) {
                return Ok(());
            }
        }
    }
}

fn ends_whole(file: &mut File) -> bool {
    let mut end = [0; END_OF_STREAM.len()];
    let read = file
        .seek(SeekFrom::End(-(END_OF_STREAM.len() as i64)))
        .and_then(|_| file.read_exact(&mut end));
    read.is_ok() && end == END_OF_STREAM
}
