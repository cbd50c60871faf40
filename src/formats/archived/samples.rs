//! Samples of telemetry in the archive, with the columns that they are stored with.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{
    ArchivedError, Exact, VERSION, column, guarded, instants, open, times, unexpected, whole_texts,
    write,
};
use crate::domain::telemetry::SampleRow;

/// Writes samples.
///
/// # Errors
/// When the libraries refuse the columns.
pub fn encode_samples(rows: &[SampleRow]) -> Result<Vec<u8>, ArchivedError> {
    let words = |word: fn(&SampleRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(word)))
    };
    let sampled_at: Vec<DateTime<Utc>> = rows.iter().map(|row| row.sampled_at).collect();
    let started_at =
        (rows.iter()).map(|row| row.started_at.as_ref().map(DateTime::timestamp_micros));
    let started_at = TimestampMicrosecondArray::from_iter(started_at).with_timezone("UTC");
    let series = Int64Array::from_iter_values(rows.iter().map(|row| row.series));
    let values = Float64Array::from_iter_values(rows.iter().map(|row| row.value));
    let observations = Int64Array::from_iter(rows.iter().map(|row| row.observations));
    let bounds = rows.iter().map(|row| listed(row.bounds.as_deref()));
    let buckets = rows.iter().map(|row| listed(row.buckets.as_deref()));
    let columns: Vec<(String, ArrayRef)> = [
        ("measure", words(|row| &row.measure)),
        ("series", Arc::new(series) as ArrayRef),
        ("sampled_at", instants(&sampled_at)),
        ("started_at", Arc::new(started_at)),
        ("source", words(|row| &row.source)),
        ("counting", words(|row| &row.counting)),
        ("value", Arc::new(values)),
        ("observations", Arc::new(observations)),
        (
            "bounds",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(bounds)),
        ),
        (
            "buckets",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(buckets)),
        ),
    ]
    .map(|(name, array)| (name.to_owned(), array))
    .into();
    let exact = Exact {
        version: VERSION,
        ..Exact::default()
    };
    write(columns, &exact)
}

/// The items of a list as the library wants them: each may be missing, and none is.
fn listed<T: Copy>(items: Option<&[T]>) -> Option<Vec<Option<T>>> {
    items.map(|items| items.iter().copied().map(Some).collect())
}

/// Reads samples back.
///
/// # Errors
/// When the bytes are not what [`encode_samples`] wrote.
pub fn decode_samples(bytes: Bytes) -> Result<Vec<SampleRow>, ArchivedError> {
    guarded(|| read_samples(bytes))
}

fn read_samples(bytes: Bytes) -> Result<Vec<SampleRow>, ArchivedError> {
    let (_, batches) = open(bytes)?;
    let mut rows = Vec::new();
    for batch in batches {
        let measures = whole_texts(&batch, "measure")?;
        let sources = whole_texts(&batch, "source")?;
        let countings = whole_texts(&batch, "counting")?;
        let sampled_at = times(&batch, "sampled_at")?;
        let started_at = numbers::<TimestampMicrosecondType>(&batch, "started_at")?;
        let series = numbers::<Int64Type>(&batch, "series")?;
        let values = numbers::<Float64Type>(&batch, "value")?;
        let observations = numbers::<Int64Type>(&batch, "observations")?;
        let bounds = lists::<Float64Type>(&batch, "bounds")?;
        let buckets = lists::<Int64Type>(&batch, "buckets")?;
        let known =
            |counting: Option<&str>| matches!(counting, Some("level" | "delta" | "cumulative"));
        if !countings.iter().all(known) {
            return Err(unexpected("counting"));
        }
        let lists = bounds.into_iter().zip(buckets);
        for (row, (bounds, buckets)) in lists.enumerate() {
            rows.push(SampleRow {
                measure: measures.value(row).to_owned(),
                series: series[row].ok_or_else(|| unexpected("series"))?,
                sampled_at: sampled_at[row],
                started_at: started_at[row].and_then(DateTime::from_timestamp_micros),
                source: sources.value(row).to_owned(),
                counting: countings.value(row).to_owned(),
                value: values[row].ok_or_else(|| unexpected("value"))?,
                observations: observations[row],
                bounds,
                buckets,
            });
        }
    }
    Ok(rows)
}

fn numbers<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
) -> Result<Vec<Option<T::Native>>, ArchivedError> {
    let array = column(batch, name)?.as_primitive_opt::<T>();
    Ok(array.ok_or_else(|| unexpected(name))?.iter().collect())
}

fn lists<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
) -> Result<Vec<Option<Vec<T::Native>>>, ArchivedError> {
    let lists = column(batch, name)?.as_list_opt::<i32>();
    let lists = lists.ok_or_else(|| unexpected(name))?;
    (lists.iter())
        .map(|list| {
            let Some(list) = list else {
                return Ok(None);
            };
            let items = list.as_primitive_opt::<T>();
            let items = items.filter(|items| items.null_count() == 0);
            let items = items.ok_or_else(|| unexpected(name))?;
            Ok(Some(items.values().to_vec()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_kind_come_back() {
        let at = |seconds| DateTime::from_timestamp(seconds, 7_000).expect("an instant");
        let level = SampleRow {
            measure: "cpu_utilization".to_owned(),
            series: -7,
            sampled_at: at(1),
            started_at: None,
            source: "pod-1".to_owned(),
            counting: "level".to_owned(),
            value: 0.25,
            observations: None,
            bounds: None,
            buckets: None,
        };
        let spread = SampleRow {
            measure: "request_duration".to_owned(),
            started_at: Some(at(0)),
            counting: "cumulative".to_owned(),
            observations: Some(3),
            bounds: Some(vec![0.1, 1.0]),
            buckets: Some(vec![1, 2, 0]),
            ..level.clone()
        };
        let unlisted = SampleRow {
            bounds: None,
            buckets: None,
            ..spread.clone()
        };
        let rows = vec![level, spread, unlisted];
        let bytes = encode_samples(&rows).expect("written");
        assert_eq!(decode_samples(bytes.into()).expect("read"), rows);
        let none = encode_samples(&[]).expect("written");
        assert_eq!(decode_samples(none.into()).expect("read"), []);
    }

    #[test]
    fn columns_of_another_type_are_refused_by_name() {
        let columns = vec![("measure".to_owned(), instants(&[DateTime::UNIX_EPOCH]))];
        let bytes = write(
            columns,
            &Exact {
                version: VERSION,
                ..Exact::default()
            },
        );
        let refused = decode_samples(bytes.expect("written").into()).expect_err("no samples");
        assert!(refused.to_string().contains("measure"), "{refused}");
    }
}
