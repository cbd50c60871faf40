//! Parquet and Arrow: real files, and every column type.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::types::Int8Type;
use arrow_array::*;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{Field, Schema};

use super::RejectReason::*;
use super::*;

pub(super) fn parquet_file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("columns fit");
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, schema, None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    file
}

/// One good row with this column beside it.
fn with_column(name: &str, array: ArrayRef) -> Vec<u8> {
    parquet_file(vec![
        ("prediction_id", Arc::new(Int64Array::from(vec![1]))),
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from(vec![1_362_132_000_000])),
        ),
        ("prediction", Arc::new(Float32Array::from(vec![0.5]))),
        (name, array),
    ])
}

fn air_time(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/data/air-time");
    std::fs::read(folder.join(file)).expect("the demo's data is in the repository")
}

#[test]
fn predictions_and_labels_of_the_demo_are_read_whole() {
    let mut expect = expect(Task::Regression);
    // The last flights of the year land in the next.
    expect.latest = at("2014-01-03T00:00:00Z");
    for (file, rows, features) in [
        ("predictions-v1.parquet", 96_685, 16),
        ("predictions-v2.parquet", 88_386, 0),
        ("predictions-v3.parquet", 70_090, 0),
    ] {
        let decoded = decode_predictions(Format::Parquet, &air_time(file), &expect);
        let decoded = decoded.expect("readable");
        assert_eq!(decoded.rejects.first(), [], "{file}");
        assert_eq!(decoded.batch.len(), rows, "{file}");
        assert_eq!(decoded.batch.features.len(), features, "{file}");
    }
    let decoded = decode_labels(Format::Parquet, &air_time("labels.parquet"), &expect);
    let decoded = decoded.expect("readable");
    assert_eq!((decoded.batch.len(), decoded.rejects.total()), (94_292, 0));
}

#[test]
fn every_flat_type_is_read() {
    let day = Value::Timestamp(at("2013-03-01T00:00:00Z"));
    let dictionary: DictionaryArray<Int8Type> = vec![Some("a")].into_iter().collect();
    let zoned =
        TimestampMicrosecondArray::from(vec![1_362_096_000_000_000]).with_timezone("+01:00");
    let cases: Vec<(ArrayRef, Value)> = vec![
        (Arc::new(Int8Array::from(vec![-1])), Value::Integer(-1)),
        (Arc::new(Int16Array::from(vec![-1])), Value::Integer(-1)),
        (Arc::new(Int32Array::from(vec![-1])), Value::Integer(-1)),
        (
            Arc::new(Int64Array::from(vec![i64::MIN])),
            Value::Integer(i64::MIN),
        ),
        (Arc::new(UInt8Array::from(vec![255])), Value::Integer(255)),
        (
            Arc::new(UInt16Array::from(vec![65_535])),
            Value::Integer(65_535),
        ),
        (
            Arc::new(UInt32Array::from(vec![u32::MAX])),
            Value::Integer(4_294_967_295),
        ),
        (Arc::new(UInt64Array::from(vec![7])), Value::Integer(7)),
        (
            Arc::new(UInt64Array::from(vec![1 << 63])),
            Value::Number(9_223_372_036_854_775_808.0),
        ),
        (
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            Value::Text(u64::MAX.to_string().into()),
        ),
        (
            Arc::new(Float32Array::from(vec![0.25])),
            Value::Number(0.25),
        ),
        (
            Arc::new(Float64Array::from(vec![f64::INFINITY])),
            Value::Number(f64::INFINITY),
        ),
        (
            Arc::new(BooleanArray::from(vec![true])),
            Value::Boolean(true),
        ),
        (
            Arc::new(StringArray::from(vec!["a"])),
            Value::Text("a".into()),
        ),
        (
            Arc::new(LargeStringArray::from(vec!["a"])),
            Value::Text("a".into()),
        ),
        (
            Arc::new(StringViewArray::from(vec!["a"])),
            Value::Text("a".into()),
        ),
        (Arc::new(dictionary), Value::Text("a".into())),
        (Arc::new(StringArray::from(vec![None::<&str>])), Value::Null),
        (Arc::new(NullArray::new(1)), Value::Null),
        (Arc::new(Date32Array::from(vec![15_765])), day.clone()),
        (
            Arc::new(TimestampSecondArray::from(vec![1_362_096_000])),
            day.clone(),
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![1_362_096_000_000])),
            day.clone(),
        ),
        (Arc::new(zoned), day.clone()),
        (
            Arc::new(TimestampNanosecondArray::from(vec![
                1_362_096_000_000_000_999,
            ])),
            day,
        ),
    ];
    for (array, value) in cases {
        let name = format!("{:?}", array.data_type());
        let decoded = predictions(Format::Parquet, &with_column("x", array), Task::Regression);
        assert_eq!(decoded.rejects.first(), [], "{name}");
        assert_eq!(feature(&decoded.batch, "x"), [value], "{name}");
        assert_eq!(
            decoded.batch.prediction_ids.iter().collect::<Vec<_>>(),
            ["1"]
        );
        assert_eq!(decoded.batch.outputs[0].value, Some(0.5));
    }
}

pub(super) fn arrow_stream(arrays: Vec<(&str, ArrayRef)>, options: IpcWriteOptions) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(arrays).expect("columns fit");
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("finished")
}

fn arrow_rows(rows: i64) -> Vec<(&'static str, ArrayRef)> {
    let texts: Vec<Option<&str>> = (0..rows)
        .map(|row| [Some("a"), None, Some("b\0")][(row % 3) as usize])
        .collect();
    let codes: DictionaryArray<types::Int8Type> = (0..rows)
        .map(|row| [Some("JFK"), None, Some("EWR")][(row % 3) as usize])
        .collect();
    let times = (0..rows).map(|row| 1_362_132_000_000 + row);
    vec![
        (
            "prediction_id",
            Arc::new(Int64Array::from_iter_values(0..rows)),
        ),
        (
            "timestamp",
            Arc::new(TimestampMillisecondArray::from_iter_values(times)),
        ),
        (
            "prediction",
            Arc::new(Float32Array::from_iter_values(
                (0..rows).map(|row| row as f32),
            )),
        ),
        ("text", Arc::new(StringArray::from(texts))),
        ("code", Arc::new(codes)),
        (
            "number",
            Arc::new(Float64Array::from_iter_values(
                (0..rows).map(|row| -0.0 * row as f64),
            )),
        ),
    ]
}

#[test]
fn arrow_streams_and_files_mean_what_parquet_means() {
    let compressed = |codec| {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec));
        options.expect("an option")
    };
    let expected = predictions(
        Format::Parquet,
        &parquet_file(arrow_rows(100)),
        Task::Regression,
    );
    assert_eq!((expected.received, expected.batch.len()), (100, 67));
    assert_eq!(
        expected.rejects.first()[0],
        reject(3, "text", NulByte, "holds a NUL character at byte 1")
    );
    let mut bodies: Vec<Vec<u8>> = [
        IpcWriteOptions::default(),
        compressed(CompressionType::LZ4_FRAME),
        compressed(CompressionType::ZSTD),
    ]
    .into_iter()
    .map(|options| arrow_stream(arrow_rows(100), options))
    .collect();
    let batch = RecordBatch::try_from_iter(arrow_rows(100)).expect("columns fit");
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
    writer.write(&batch).expect("written");
    bodies.push(writer.into_inner().expect("finished"));
    for body in bodies {
        assert_eq!(
            predictions(Format::Arrow, &body, Task::Regression),
            expected
        );
        // Wherever it is cut, it is an answer and no panic.
        for length in 0..body.len() {
            let cut = decode_predictions(Format::Arrow, &body[..length], &expect(Task::Regression));
            assert!(
                cut.is_err() || cut.is_ok_and(|decoded| decoded == expected),
                "{length}"
            );
        }
    }
}

#[test]
fn arrow_buffers_that_say_they_are_huge_are_refused_before_they_are_unpacked() {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD));
    let mut body = arrow_stream(arrow_rows(1_000), options.expect("an option"));
    // The stated length of a compressed buffer is eight bytes before Zstandard's magic number.
    let magic = body
        .windows(4)
        .position(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]);
    let stated = magic.expect("a compressed buffer") - 8;
    body[stated..stated + 8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
    let refused = decode_predictions(Format::Arrow, &body, &expect(Task::Regression));
    let cause = refused.expect_err("is too large").to_string();
    assert!(cause.contains("at most 536870912 are taken"), "{cause}");
}

#[test]
fn half_precision_is_read() {
    let array = PrimitiveArray::<types::Float16Type>::from_iter_values(
        [0.5_f32].map(<types::Float16Type as ArrowPrimitiveType>::Native::from_f32),
    );
    let body = with_column("x", Arc::new(array));
    let decoded = predictions(Format::Parquet, &body, Task::Regression);
    assert_eq!(feature(&decoded.batch, "x"), [Value::Number(0.5)]);
}

#[test]
fn times_beyond_the_calendar_are_refused_alone() {
    let body = with_column("x", Arc::new(TimestampSecondArray::from(vec![i64::MAX])));
    let decoded = predictions(Format::Parquet, &body, Task::Regression);
    let cause = "is a time outside the years 1 to 9999";
    assert_eq!(
        decoded.rejects.first(),
        [reject(1, "x", TimeOutOfBounds, cause)]
    );
    let body = with_column("x", Arc::new(Date32Array::from(vec![i32::MIN])));
    let decoded = predictions(Format::Parquet, &body, Task::Regression);
    assert_eq!(
        decoded.rejects.first(),
        [reject(1, "x", TimeOutOfBounds, cause)]
    );
}

#[test]
fn other_types_are_refused_with_the_column_s_name() {
    let binary = BinaryArray::from(vec![&b"a"[..]]);
    let error = body_error(Format::Parquet, &with_column("blob", Arc::new(binary)));
    assert_eq!(
        error,
        "read column \"blob\": is of type Binary; taken are numbers, booleans, texts, timestamps, dates and, of \
         features, lists of numbers"
    );
}

#[test]
fn labels_do_not_mind_columns_they_do_not_read() {
    let list = ListArray::from_iter_primitive::<types::Int32Type, _, _>(vec![Some(vec![Some(1)])]);
    let body = parquet_file(vec![
        ("embedding", Arc::new(list)),
        ("prediction_id", Arc::new(StringArray::from(vec!["a"]))),
        ("label", Arc::new(BooleanArray::from(vec![false]))),
    ]);
    let decoded = labels(Format::Parquet, &body, Task::Binary);
    assert_eq!(
        decoded.batch.labels,
        [LabelValue::Class("false".to_owned())]
    );
}

#[test]
fn rows_at_fault_are_refused_by_their_number() {
    let body = parquet_file(vec![
        (
            "prediction_id",
            Arc::new(StringArray::from(vec![Some("a"), None])),
        ),
        (
            "timestamp",
            Arc::new(TimestampSecondArray::from(vec![1_362_132_000; 2])),
        ),
        ("score", Arc::new(Float64Array::from(vec![f64::NAN, 0.5]))),
    ]);
    let decoded = predictions(Format::Parquet, &body, Task::Binary);
    assert_eq!(
        decoded.rejects.first(),
        [
            reject(1, "score", WrongType, "is NaN, not a finite number"),
            reject(2, "prediction_id", MissingField, "is missing"),
        ]
    );
}

#[test]
fn a_file_that_says_it_is_too_large_is_not_unpacked() {
    let body = with_column("x", Arc::new(NullArray::new(1)));
    let error = |change: fn(&mut Limits)| {
        let mut expect = expect(Task::Regression);
        change(&mut expect.limits);
        decode_predictions(Format::Parquet, &body, &expect)
            .expect_err("too large")
            .to_string()
    };
    assert_eq!(
        error(|limits| limits.max_rows = 0),
        "read more than 0 rows from one body; send it in smaller parts"
    );
    assert!(error(|limits| limits.max_unpacked_bytes = 1).contains("at most 1 are taken"));
}

#[test]
fn a_file_without_columns_of_ours_has_rows_at_fault() {
    let body = parquet_file(vec![("other", Arc::new(NullArray::new(2)))]);
    let decoded = labels(Format::Parquet, &body, Task::Regression);
    assert_eq!(decoded.received, 2);
    assert_eq!(
        decoded.rejects.first()[1],
        reject(2, "prediction_id", MissingField, "is missing")
    );
}
