//! Tests of files read batch by batch: the same rows from every format, and what is told of bad ones.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Decimal128Array, Float64Array, Int32Array, ListArray, RecordBatch, StringArray};

use super::*;
use crate::domain::mapping::ColumnMap;

/// A folder of its own for each test, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("bellwether-table-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn batch() -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        (
            "feature.delay",
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-2.0)])),
        ),
        ("seats", Arc::new(Int32Array::from(vec![100, 200, 300]))),
        (
            "origin",
            Arc::new(StringArray::from(vec![Some("JFK"), Some(""), None])),
        ),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("writes");
    writer.close().expect("closes");
    bytes
}

fn stream(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
    writer.write(batch).expect("writes");
    writer.finish().expect("finishes");
    drop(writer);
    bytes
}

fn framed(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        arrow_ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
    writer.write(batch).expect("writes");
    writer.finish().expect("finishes");
    drop(writer);
    bytes
}

const CSV: &str = "\u{feff}feature.delay,seats,origin\n1.5,100,JFK\n,200,\"\"\n-2.0,300,\n";
const NDJSON: &str = "{\"features\": {\"delay\": 1.5}, \"seats\": 100, \"origin\": \"JFK\"}\n\n\
                      {\"features\": {\"delay\": null}, \"seats\": 200, \"origin\": \"\"}\n\
                      {\"features\": {\"delay\": -2.0}, \"seats\": 300, \"origin\": null}\n";

/// The values of some columns as text, row by row.
fn values(table: &Table, columns: &[usize]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let read = table.read(columns, &mut |batch| {
        let columns: Vec<Column> = (batch.columns.iter())
            .map(|data| match data {
                ColumnData::Array(array) => mixed(array),
                ColumnData::Mixed(column) => column.clone(),
            })
            .collect();
        for row in 0..batch.rows {
            rows.push(
                columns
                    .iter()
                    .map(|column| format!("{:?}", column.get(row)))
                    .collect(),
            );
        }
        true
    });
    read.expect("a whole file");
    rows
}

#[test]
fn every_format_gives_the_same_columns_and_rows() {
    let folder = Folder::new("formats");
    let files = [
        folder.file("a.parquet", parquet(&batch())),
        folder.file("a.arrow", framed(&batch())),
        folder.file("a.arrows", stream(&batch())),
        folder.file("a.ndjson", NDJSON),
        folder.file("a.csv", CSV),
    ];
    for file in files {
        let table = Table::open(&file).unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<&str> = table.columns().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["delay", "seats", "origin"], "{}", file.display());
        // In another order than the file's.
        let rows = values(&table, &[1, 0]);
        let expected = [
            ["Integer(100)", "Number(1.5)"],
            ["Integer(200)", "Null"],
            ["Integer(300)", "Number(-2.0)"],
        ];
        assert_eq!(rows, expected, "{}", file.display());
        // One column may be wanted more than once.
        let rows = values(&table, &[1, 1, 0]);
        let expected = [
            ["Integer(100)", "Integer(100)", "Number(1.5)"],
            ["Integer(200)", "Integer(200)", "Null"],
            ["Integer(300)", "Integer(300)", "Number(-2.0)"],
        ];
        assert_eq!(rows, expected, "{}", file.display());
        // CSV cannot tell an empty text from nothing.
        let origins = values(&table, &[2]);
        let empty = if file.extension().is_some_and(|e| e == "csv") {
            "Null"
        } else {
            "Text(\"\")"
        };
        assert_eq!(
            origins,
            [["Text(\"JFK\")"], [empty], ["Null"]],
            "{}",
            file.display()
        );
    }
}

#[test]
fn ndjson_rows_may_lack_members_and_bring_new_ones() {
    let folder = Folder::new("members");
    let rows = "{\"a\": 1}\n{}\n{\"features\": {}}\n{\"b\": \"x\", \"a\": 2}\n{\"features\": {}}\n";
    let table = Table::open(&folder.file("a.jsonl", rows)).expect("a whole file");
    let expected = [
        ["Integer(1)", "Absent"],
        ["Absent", "Absent"],
        ["Absent", "Absent"],
        ["Integer(2)", "Text(\"x\")"],
        ["Absent", "Absent"],
    ];
    assert_eq!(values(&table, &[0, 1]), expected);
}

#[test]
fn long_files_come_in_batches_that_lose_nothing() {
    let folder = Folder::new("long");
    let rows = ROWS_AT_ONCE * 2 + 7;
    let csv = (0..rows).fold("n\n".to_owned(), |text, row| text + &format!("{row}\n"));
    let ndjson = (0..rows).fold(String::new(), |text, row| {
        text + &format!("{{\"n\":{row}}}\n")
    });
    for file in [folder.file("a.csv", csv), folder.file("a.ndjson", ndjson)] {
        let table = Table::open(&file).expect("a whole file");
        let all = values(&table, &[0]);
        assert_eq!(all.len(), rows);
        assert!(
            all.iter()
                .enumerate()
                .all(|(row, cells)| cells[0] == format!("Integer({row})"))
        );
    }
}

#[test]
fn reading_stops_when_it_is_asked_to() {
    let folder = Folder::new("stops");
    let ndjson = "{\"n\":1}\n".repeat(ROWS_AT_ONCE * 3);
    let csv = format!("n\n{}", "1\n".repeat(ROWS_AT_ONCE * 3));
    for file in [folder.file("a.ndjson", ndjson), folder.file("a.csv", csv)] {
        let mut batches = 0;
        let table = Table::open(&file).expect("a whole file");
        let read = table.read(&[0], &mut |_| {
            batches += 1;
            false
        });
        read.expect("no error");
        assert_eq!(batches, 1, "{}", file.display());
    }
}

#[test]
fn bad_files_are_told_with_place_and_cause() {
    let folder = Folder::new("bad");
    let whole = parquet(&batch());
    let cases: [(&str, Vec<u8>, &str); 15] = [
        (
            "cut.parquet",
            whole[..whole.len() - 20].to_vec(),
            "cut.parquet: ",
        ),
        ("empty.parquet", Vec::new(), "empty.parquet: "),
        (
            "cut.arrows",
            stream(&batch())[..200].to_vec(),
            "cut.arrows: it ends without the mark of its end",
        ),
        ("cut.arrow", framed(&batch())[..300].to_vec(), "cut.arrow: "),
        (
            "empty.csv",
            Vec::new(),
            "empty.csv, line 1: the file is empty; expected a header",
        ),
        (
            "short.csv",
            b"a,b\n1,2\n3\n".to_vec(),
            "short.csv, line 3: has 1 cells; the header has 2",
        ),
        (
            "twice.csv",
            b"a,feature.a\n1,2\n".to_vec(),
            "twice.csv, column 2: the name \"a\" occurs twice",
        ),
        (
            "latin.csv",
            b"a\n\xe9\n".to_vec(),
            "latin.csv, line 2: byte 0 of cell 1 is not UTF-8",
        ),
        (
            "open.csv",
            b"a,b\n1,2\n\n3,\"x\n4,5\n".to_vec(),
            "open.csv, line 4: a quotation mark is opened and never closed",
        ),
        (
            "header.csv",
            b"a,\"b\n1,2\n".to_vec(),
            "header.csv, line 1: a quotation mark is opened and never closed",
        ),
        (
            "late.csv",
            b"a,b\n1,\"x\n2,y\n3,\"z\"\n".to_vec(),
            "late.csv, line 2: a quotation mark is opened, and closed only lines later",
        ),
        (
            "bad.ndjson",
            b"{\"a\": 1}\n{\"a\": }\n".to_vec(),
            "bad.ndjson, line 2: ",
        ),
        (
            "none.ndjson",
            b"\n\n".to_vec(),
            "none.ndjson: it has no columns",
        ),
        (
            "rows.json",
            b"[]".to_vec(),
            "rows.json: a JSON document cannot be read row by row",
        ),
        (
            "rows.xlsx",
            b"PK".to_vec(),
            "rows.xlsx: the name tells no format",
        ),
    ];
    for (name, content, expected) in cases {
        let file = folder.file(name, content);
        let read = Table::open(&file).and_then(|table| {
            let all: Vec<usize> = (0..table.columns().len()).collect();
            table.read(&all, &mut |_| true)
        });
        let error = read.expect_err(name).to_string();
        let expected = format!("read {}", folder.0.join(expected).display());
        assert!(error.starts_with(&expected), "{error}");
    }
    let missing = Table::open(&folder.0.join("missing.csv")).expect_err("there is none");
    assert!(missing.to_string().starts_with("open "), "{missing}");
}

#[test]
fn decimals_are_numbers_and_lists_are_refused_alone() {
    let decimals = Decimal128Array::from(vec![Some(12_345), None])
        .with_precision_and_scale(10, 2)
        .expect("a precision that fits");
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None]);
    let columns: [(&str, ArrayRef); 2] = [("price", Arc::new(decimals)), ("tags", Arc::new(lists))];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let folder = Folder::new("types");
    for file in [
        folder.file("a.parquet", parquet(&batch)),
        folder.file("a.arrow", framed(&batch)),
    ] {
        let table = Table::open(&file).expect("a whole file");
        let refused: Vec<bool> = table
            .columns()
            .iter()
            .map(|c| c.refused.is_some())
            .collect();
        assert_eq!(refused, [false, true]);
        assert_eq!(values(&table, &[0]), [["Number(123.45)"], ["Null"]]);
    }
}

#[test]
fn columns_without_a_name_of_a_feature_are_left_out_alone() {
    let folder = Folder::new("names");
    let csv = " ,amount,__index_level_12__,a\u{200b},__index_level_x__,\n1,2,3,4,5,6\n";
    let table = Table::open(&folder.file("a.csv", csv)).expect("a whole file");
    let told: Vec<(&str, Option<&str>)> = (table.columns().iter())
        .map(|column| (column.name.as_str(), column.left_out.as_deref()))
        .collect();
    let expected = [
        ("", Some("has no name")),
        ("amount", None),
        ("__index_level_12__", Some("is the row index of pandas")),
        (
            "a\u{200b}",
            Some("has a name that holds the invisible character U+200B at byte 1"),
        ),
        ("__index_level_x__", None),
        ("", Some("has no name")),
    ];
    assert_eq!(told, expected);
    assert_eq!(values(&table, &[1]), [["Integer(2)"]]);
    let table = Table::open(&folder.file("a.ndjson", "{\"\": 1, \"a\": 2}\n{\"a\": 3}\n"));
    let table = table.expect("a whole file");
    assert!(table.columns()[0].left_out.is_some());
    assert_eq!(values(&table, &[1]), [["Integer(2)"], ["Integer(3)"]]);
    // What a model's file calls by a name has one.
    let map: ColumnMap = serde_json::from_value(serde_json::json!({
        "fields": {"prediction_id": "__index_level_0__"}
    }))
    .expect("a map");
    let table = Table::open(&folder.file("b.csv", "__index_level_0__,a\n1,2\n"));
    let table = table.and_then(|table| table.mapped(&map)).expect("a file");
    assert_eq!(table.columns()[0].left_out, None);
}
