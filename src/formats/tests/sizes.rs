//! What packed bodies say of their size, and what it would cost to believe them.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use ::parquet::file::metadata::ParquetMetaDataReader;
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use arrow_array::*;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;

use super::*;

/// A stream of batches.
fn stream(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let schema = batches[0].schema();
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &schema, options).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("written");
    }
    writer.into_inner().expect("finished")
}

/// So many columns of nothing, which cost a body nothing.
fn of_nothing(columns: usize, rows: usize) -> RecordBatch {
    let fields = (0..columns).map(|at| Field::new(format!("f{at}"), DataType::Null, true));
    let nulls: ArrayRef = Arc::new(NullArray::new(rows));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, vec![nulls; columns], &options).expect("fits")
}

#[test]
fn arrow_rows_that_nothing_bears_out_are_refused_before_there_is_room_for_them() {
    for batches in [
        vec![of_nothing(0, 1 << 40)],
        vec![of_nothing(2, 1 << 40)],
        vec![of_nothing(0, usize::MAX >> 1), of_nothing(0, 10)],
        // Each of them is within the limit.
        vec![of_nothing(1, 600_000), of_nothing(1, 600_000)],
    ] {
        let body = stream(&batches, IpcWriteOptions::default());
        assert!(body.len() < 1_000, "{} bytes", body.len());
        let limit = Limits::default().max_rows;
        let expect = expect(Task::Regression);
        let refusal = FormatError::TooManyRows { limit };
        let refused = decode_predictions(Format::Arrow, &body, &expect);
        assert_eq!(refused, Err(refusal.clone()));
        let refused = decode_labels(Format::Arrow, &body, &expect);
        assert_eq!(refused, Err(refusal));
    }
}

#[test]
fn values_are_counted_before_a_column_is_read() {
    let limits = Limits {
        max_cells: 1_999,
        ..Limits::default()
    };
    let refusal = FormatError::TooManyCells {
        limit: limits.max_cells,
    };
    // All of these rows are refused, and none is looked at.
    let batch = of_nothing(20, 100);
    let arrow = stream(std::slice::from_ref(&batch), IpcWriteOptions::default());
    let parquet = parquet(&batch, WriterProperties::builder());
    for (format, body) in [(Format::Arrow, arrow), (Format::Parquet, parquet)] {
        let mut expect = expect(Task::Regression);
        expect.limits = limits;
        let refused = decode_predictions(format, &body, &expect);
        assert_eq!(refused, Err(refusal.clone()), "{format:?}");
        // Labels have no columns that there may be any number of.
        let read = decode_labels(format, &body, &expect).expect("read");
        assert_eq!(read.received, 100);
        expect.limits.max_cells = 2_000;
        let read = decode_predictions(format, &body, &expect).expect("read");
        assert_eq!(read.received, 100);
    }
}

#[test]
fn what_unpacks_to_many_times_its_size_is_refused() {
    let zeros = |rows| {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0; rows]));
        RecordBatch::try_from_iter([("prediction", column)]).expect("fits")
    };
    let zstd = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD));
    let zstd = zstd.expect("an option");
    let plain = || {
        let pages = WriterProperties::builder().set_dictionary_enabled(false);
        let pages = pages.set_data_page_row_count_limit(usize::MAX);
        pages.set_compression(Compression::ZSTD(ZstdLevel::default()))
    };
    for (format, large, small) in [
        (
            Format::Arrow,
            stream(&[zeros(500_000)], zstd.clone()),
            stream(&[zeros(50_000)], zstd),
        ),
        (
            Format::Parquet,
            parquet(&zeros(500_000), plain()),
            parquet(&zeros(50_000), plain()),
        ),
    ] {
        let refused = decode_predictions(format, &large, &expect(Task::Regression));
        let cause = refused.expect_err("refused").to_string();
        assert!(cause.contains("more than 200 times its size"), "{cause}");
        // What is small anyway may be packed however well.
        let read = decode_predictions(format, &small, &expect(Task::Regression));
        assert_eq!(read.expect("read").received, 50_000);
    }
}

fn parquet(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let mut file = Vec::new();
    let properties = Some(properties.build());
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), properties).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    file
}

/// Where the pages of a file's first column begin.
fn first_page(file: &[u8]) -> usize {
    let mut reader = ParquetMetaDataReader::new();
    reader
        .try_parse(&Bytes::copy_from_slice(file))
        .expect("a file");
    let metadata = reader.finish().expect("a file");
    let (start, _) = metadata.row_group(0).column(0).byte_range();
    usize::try_from(start).expect("within the file")
}

fn scores(rows: i32) -> RecordBatch {
    let column: ArrayRef = Arc::new(Float64Array::from_iter_values((0..rows).map(f64::from)));
    RecordBatch::try_from_iter([("prediction", column)]).expect("fits")
}

#[test]
fn a_parquet_page_that_says_it_is_huge_is_refused_whatever_the_footer_says() {
    for codec in [
        Compression::SNAPPY,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(8 << 20)
            .set_data_page_row_count_limit(usize::MAX);
        let mut body = parquet(&scores(160_000), properties);
        let expect = expect(Task::Regression);
        let read = decode_predictions(Format::Parquet, &body, &expect).expect("read");
        assert_eq!(read.received, 160_000);
        // The page's kind, then its size unpacked, in four bytes: 134 million.
        let size = first_page(&body) + 3;
        assert_eq!(body[size - 3..size], [0x15, 0x00, 0x15]);
        assert!(body[size..size + 3].iter().all(|byte| *byte >= 0x80) && body[size + 3] < 0x80);
        body[size..size + 4].copy_from_slice(&[0xfe, 0xff, 0xff, 0x7f]);
        let limits = Limits {
            max_unpacked_bytes: 64 << 20,
            ..Limits::default()
        };
        let mut expect = expect;
        expect.limits = limits;
        let refused = decode_predictions(Format::Parquet, &body, &expect).expect_err("refused");
        let cause = refused.to_string();
        assert!(cause.contains("at most 67108864 are taken"), "{cause}");
    }
}

#[test]
fn a_parquet_dictionary_has_no_more_values_than_there_is_room_for() {
    let mut body = parquet(&scores(20_000), WriterProperties::builder());
    let mut expect = expect(Task::Regression);
    expect.limits.max_unpacked_bytes = 4 << 20;
    let read = decode_predictions(Format::Parquet, &body, &expect).expect("read");
    assert_eq!(read.received, 20_000);
    // Twice their number, which is written doubled: signed numbers are.
    let values = [0x15, 0xc0, 0xb8, 0x02];
    let page = first_page(&body);
    let header = &body[page..page + 40];
    let place = header.windows(4).position(|bytes| bytes == values);
    let place = page + place.expect("a dictionary's header") + 1;
    body[place..place + 3].copy_from_slice(&[0xfe, 0xff, 0x7f]);
    let refused = decode_predictions(Format::Parquet, &body, &expect).expect_err("refused");
    let cause = refused.to_string();
    assert!(cause.contains("at most 4194304 are taken"), "{cause}");
}

#[test]
fn parquet_is_taken_in_the_codecs_and_encodings_that_say_what_they_hold() {
    let texts = (0..100).map(|row| format!("prediction {row}"));
    let times =
        TimestampMillisecondArray::from_iter_values((0..100).map(|n| 1_362_132_000_000 + n));
    let batch = RecordBatch::try_from_iter([
        (
            "prediction_id",
            Arc::new(StringArray::from_iter_values(texts)) as ArrayRef,
        ),
        ("timestamp", Arc::new(times) as ArrayRef),
        (
            "prediction",
            Arc::new(Float64Array::from_iter_values((0..100).map(f64::from))) as ArrayRef,
        ),
    ])
    .expect("fits");
    let plain = || WriterProperties::builder().set_dictionary_enabled(false);
    let of = |column: &'static str, encoding| plain().set_column_encoding(column.into(), encoding);
    let with = |codec| WriterProperties::builder().set_compression(codec);
    for (what, properties, refusal) in [
        ("as it is", WriterProperties::builder(), None),
        ("without dictionaries", plain(), None),
        (
            "version 2",
            WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0),
            None,
        ),
        ("Snappy", with(Compression::SNAPPY), None),
        ("LZ4_RAW", with(Compression::LZ4_RAW), None),
        (
            "Zstandard",
            with(Compression::ZSTD(ZstdLevel::default())),
            None,
        ),
        (
            "gzip",
            with(Compression::GZIP(GzipLevel::default())),
            Some("column \"prediction_id\" is packed with GZIP"),
        ),
        (
            "LZ4",
            with(Compression::LZ4),
            Some("column \"prediction_id\" is packed with LZ4;"),
        ),
        (
            "packed numbers",
            of("timestamp", Encoding::DELTA_BINARY_PACKED),
            None,
        ),
        (
            "split numbers",
            of("prediction", Encoding::BYTE_STREAM_SPLIT),
            None,
        ),
        (
            "packed lengths",
            of("prediction_id", Encoding::DELTA_LENGTH_BYTE_ARRAY),
            Some("column \"prediction_id\" has pages of encoding 6"),
        ),
        (
            "shared beginnings",
            of("prediction_id", Encoding::DELTA_BYTE_ARRAY),
            Some("column \"prediction_id\" has pages of encoding 7"),
        ),
    ] {
        let body = parquet(&batch, properties);
        let read = decode_predictions(Format::Parquet, &body, &expect(Task::Regression));
        match refusal {
            None => assert_eq!(read.expect(what).batch.len(), 100, "{what}"),
            Some(refusal) => {
                let cause = read.expect_err(what).to_string();
                assert!(cause.contains(refusal), "{what}: {cause}");
            }
        }
    }
}

#[test]
fn lists_that_are_not_there_have_room_all_the_same() {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let lists = FixedSizeListArray::new_null(item, 200_000, 10);
    let batch = RecordBatch::try_from_iter([("f", Arc::new(lists) as ArrayRef)]).expect("fits");
    let body = parquet(&batch, WriterProperties::builder());
    let mut expect = expect(Task::Regression);
    expect.limits.max_unpacked_bytes = 15 << 20;
    let refused = decode_predictions(Format::Parquet, &body, &expect).expect_err("refused");
    let cause = refused.to_string();
    assert!(cause.contains("it unpacks to 16000000 bytes"), "{cause}");
}

#[test]
fn what_each_row_keeps_counts_with_the_room_it_takes() {
    let names: Vec<String> = (0..50).map(|at| format!("\"s{at}\":\"1\"")).collect();
    let classes: Vec<String> = (0..50).map(|at| format!("\"c{at}\":0.02")).collect();
    let (names, classes) = (names.join(","), classes.join(","));
    let row = |id: usize| {
        format!(
            r#"{{"prediction_id": "{id}", "timestamp": "2013-03-01T10:00:00Z", "segments": {{{names}}}, "probabilities": {{{classes}}}}}"#
        )
    };
    let body: Vec<String> = (0..10).map(row).collect();
    let mut expect = expect(Task::Multiclass);
    let refusal = |limit| Err(FormatError::TooMuchText { limit });
    // Names and values have some three thousand bytes, and are kept in forty thousand.
    for (limit, is_taken) in [(30_000, false), (50_000, true)] {
        expect.limits.max_text_bytes = limit;
        let read = decode_predictions(Format::Ndjson, body.join("\n").as_bytes(), &expect);
        match is_taken {
            true => assert_eq!(read.expect("read").batch.len(), 10),
            false => assert_eq!(read, refusal(limit)),
        }
    }
}

#[test]
fn a_row_of_csv_that_is_nothing_but_commas_is_refused_before_it_is_parsed() {
    let head = "prediction_id,timestamp,prediction\n";
    let commas = ",".repeat(100_000);
    let hidden = format!("a\"{}", "b,\"\n\"".repeat(100_000));
    for row in [commas.clone(), format!("\"x\ny\"{commas}"), hidden] {
        let error = body_error(Format::Csv, format!("{head}{row}\n").as_bytes());
        assert!(error.contains("more than 100000 cells"), "{error}");
    }
    // Inside of a text they are text, and several rows may have many together.
    let text = ",".repeat(9_000);
    let row = format!("a,2013-03-01T10:00:00Z,1,\"{text}\"\n").repeat(20);
    let body = format!("prediction_id,timestamp,prediction,t\n{row}");
    assert_eq!(
        predictions(Format::Csv, body.as_bytes(), Task::Regression)
            .batch
            .len(),
        20
    );
}
