//! Tests of the decoders, from bytes to batch.

mod bodies;
mod captures;
mod files;
mod matrix;
mod platforms;
mod poison;
mod poison_names;
mod properties;
mod rows;
mod sizes;
mod times;
mod together;
mod vectors;

use chrono::{DateTime, Utc};

use super::*;
use crate::domain::batch::{LabelValue, Output, RejectReason};
use crate::domain::columns::Value;
use crate::domain::mapping::NO_COLUMNS;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in a test")
}

fn expect(task: Task) -> Expectations<'static> {
    Expectations {
        task,
        default_version: Some("v1"),
        earliest: at("2013-01-01T00:00:00Z"),
        latest: at("2014-01-01T00:00:00Z"),
        received_at: at("2013-06-01T00:00:00Z"),
        columns: &NO_COLUMNS,
        limits: Limits::default(),
    }
}

fn predictions(format: Format, body: &[u8], task: Task) -> Decoded<PredictionBatch> {
    together::check(format, body, task);
    decode_predictions(format, body, &expect(task)).expect("a body that can be read")
}

fn labels(format: Format, body: &[u8], task: Task) -> Decoded<LabelBatch> {
    decode_labels(format, body, &expect(task)).expect("a body that can be read")
}

fn body_error(format: Format, body: &[u8]) -> String {
    together::check(format, body, Task::Regression);
    decode_predictions(format, body, &expect(Task::Regression))
        .expect_err("a body that cannot be read")
        .to_string()
}

fn reject(line: u64, field: &str, reason: RejectReason, cause: &str) -> Reject {
    Reject {
        line,
        field: field.to_owned(),
        reason,
        cause: cause.to_owned(),
    }
}

/// The values of one feature; none when the batch does not have it.
fn feature<'b>(batch: &'b PredictionBatch, name: &str) -> Vec<Value<'b>> {
    batch
        .feature(name)
        .map_or_else(Vec::new, |column| column.iter().collect())
}
