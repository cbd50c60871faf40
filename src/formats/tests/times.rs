//! Times that the model's file says are written in another way, in every format.

use std::sync::Arc;

use arrow_array::*;

use super::files::parquet_file;
use super::*;
use crate::domain::mapping::ColumnMap;
use crate::domain::times::{TimeFormat, Written, Zone};

fn columns(written: &str, zone: &str) -> ColumnMap {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ColumnMap {
        fields: [("timestamp".to_owned(), "scored_at".to_owned())].into(),
        times: TimeFormat {
            written: given(written).map(|text| Written::try_from(text).expect("a format")),
            zone: given(zone).map(|text| Zone::try_from(text).expect("a zone")),
        },
        ..ColumnMap::default()
    }
}

/// The times of rows that were kept, and what was told of the others.
fn read(format: Format, body: &[u8], columns: &ColumnMap) -> (Vec<DateTime<Utc>>, Vec<String>) {
    let expect = Expectations {
        columns,
        ..expect(Task::Regression)
    };
    let decoded = decode_predictions(format, body, &expect).expect("read");
    let told = decoded.rejects.first().iter().map(|reject| {
        let Reject {
            line,
            field,
            cause,
            reason,
        } = reject;
        format!("{line} {field} {}: {cause}", reason.as_str())
    });
    (decoded.batch.predicted_at, told.collect())
}

#[test]
fn times_of_a_file_are_read_as_the_models_file_says() {
    let ten = at("2013-03-01T10:00:00Z");
    for (written, zone, cell) in [
        ("seconds", "", "1362132000"),
        ("seconds", "", "1362132000.0"),
        ("microseconds", "", "1362132000000000"),
        ("nanoseconds", "", "1362132000000000000"),
        ("", "", "1362132000000"),
        ("%d.%m.%Y %H:%M", "Europe/Berlin", "01.03.2013 11:00"),
        ("%Y%m%d%H%M%S", "", "20130301100000"),
        ("", "America/New_York", "2013-03-01 05:00:00"),
        ("seconds", "America/New_York", "2013-03-01T10:00:00Z"),
    ] {
        let columns = columns(written, zone);
        let csv = format!("prediction_id,scored_at,prediction\na,{cell},1.5\n");
        let quoted =
            format!("{{\"prediction_id\":\"a\",\"scored_at\":\"{cell}\",\"prediction\":1.5}}");
        let mut bodies = vec![(Format::Csv, csv)];
        // In JSON, milliseconds in quotation marks are text unless the file says that they are numbers.
        if !written.is_empty() || !zone.is_empty() {
            bodies.push((Format::Ndjson, quoted));
        }
        if cell.bytes().all(|byte| byte.is_ascii_digit()) {
            let plain =
                format!("{{\"prediction_id\":\"a\",\"scored_at\":{cell},\"prediction\":1.5}}");
            bodies.push((Format::Json, plain));
        }
        for (format, body) in bodies {
            let read = read(format, body.as_bytes(), &columns);
            assert_eq!(read, (vec![ten], vec![]), "{written} {zone} {body}");
        }
    }
}

#[test]
fn timestamps_of_parquet_without_a_zone_are_of_the_zone_that_is_said() {
    let micros = vec![at("2013-07-01T10:00:00Z").timestamp_micros()];
    let file = |times: ArrayRef| {
        parquet_file(vec![
            (
                "prediction_id",
                Arc::new(Int64Array::from(vec![1])) as ArrayRef,
            ),
            ("scored_at", times),
            ("prediction", Arc::new(Float32Array::from(vec![0.5]))),
        ])
    };
    let plain = file(Arc::new(TimestampMicrosecondArray::from(micros.clone())));
    let zoned = TimestampMicrosecondArray::from(micros).with_timezone("UTC");
    let zoned = file(Arc::new(zoned));
    for (zone, file, expected) in [
        ("", &plain, "2013-07-01T10:00:00Z"),
        ("Europe/Berlin", &plain, "2013-07-01T08:00:00Z"),
        ("Europe/Berlin", &zoned, "2013-07-01T10:00:00Z"),
    ] {
        let read = read(Format::Parquet, file, &columns("", zone));
        assert_eq!(read, (vec![at(expected)], vec![]), "{zone}");
    }
}

#[test]
fn a_time_that_is_none_is_told_with_its_row_its_column_and_what_was_expected() {
    let columns = columns("%d.%m.%Y %H:%M", "Europe/Berlin");
    let csv = "prediction_id,scored_at,prediction\na,01.03.2013 11:00,1\nb,31.02.2013 11:00,1\nc,,1\n\
               d,31.03.2013 02:30,1\ne,01.01.1999 10:00,1\nf,soon,1\n";
    let (kept, told) = read(Format::Csv, csv.as_bytes(), &columns);
    assert_eq!(kept, [at("2013-03-01T10:00:00Z")]);
    insta::assert_snapshot!(told.join("\n"), @r#"
    3 timestamp wrong_type: is the text "31.02.2013 11:00", not a time as `%d.%m.%Y %H:%M` (input is out of range) (column "scored_at")
    4 timestamp missing_field: is missing (column "scored_at")
    5 timestamp wrong_type: is the text "31.03.2013 02:30", which no clock in Europe/Berlin ever showed: they were put forward past it (column "scored_at")
    6 timestamp time_out_of_bounds: is 1999-01-01T09:00:00Z, outside 2013-01-01T00:00:00Z to 2014-01-01T00:00:00Z (column "scored_at")
    7 timestamp wrong_type: is the text "soon", not a time as `%d.%m.%Y %H:%M` (input contains invalid characters) (column "scored_at")
    "#);
}

#[test]
fn labels_are_observed_at_times_of_the_same_form() {
    let columns = columns("seconds", "");
    let expect = Expectations {
        columns: &columns,
        ..expect(Task::Regression)
    };
    let csv = "prediction_id,label,observed_at\na,1.5,1362132000\nb,1,yesterday\n";
    let decoded = decode_labels(Format::Csv, csv.as_bytes(), &expect).expect("read");
    assert_eq!(decoded.batch.observed_at, [at("2013-03-01T10:00:00Z")]);
    let cause = &decoded.rejects.first()[0].cause;
    assert!(cause.contains("a number of seconds since 1970"), "{cause}");
}
