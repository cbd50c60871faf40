//! What serving platforms write down of requests and answers: one JSON object a line, with the model's inputs and
//! outputs inside as they were sent. A line may hold several predictions.
//!
//! Names of values that come without any are the model's `columns: inputs` and `outputs`. An input is a feature unless the
//! model's file says otherwise of its name: here, unlike in rows made for us, a name such as `score` is nobody's
//! promise.

pub(super) mod azure;
mod payload;
pub(super) mod sagemaker;
mod tree;

use std::borrow::Cow;

use super::raw::{Entries, Fault, Raw, shown};
use super::{Expectations, FormatError, Rows};
use crate::domain::batch::RejectReason;

/// How many rows one line may hold.
const MOST_ROWS_OF_A_LINE: usize = 100_000;

/// The lines of a body that are not blank, numbered from 1.
fn lines(body: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    (1..)
        .zip(body.split(|byte| *byte == b'\n'))
        .filter(|(_, line)| !line.trim_ascii().is_empty())
}

fn malformed(cause: impl Into<String>) -> Fault {
    Fault::new(RejectReason::Malformed, cause)
}

/// A line as JSON.
fn parse<'l, T: serde::Deserialize<'l>>(line: &'l [u8]) -> Result<T, Fault> {
    if line.contains(&0) {
        return Err(Fault::new(
            RejectReason::NulByte,
            "the line holds a NUL byte",
        ));
    }
    // The parser repeats the text that it finds in the place of something else, however long it is.
    serde_json::from_slice(line).map_err(|error| malformed(shown(&error.to_string(), 200)))
}

/// One prediction: what it was made of and what came out.
struct Prediction<'p> {
    id: String,
    at: &'p str,
    version: Option<&'p str>,
    inputs: Entries<'p>,
    outputs: Entries<'p>,
}

impl Prediction<'_> {
    fn append(
        self,
        line: u64,
        expect: &Expectations<'_>,
        rows: &mut impl Rows,
    ) -> Result<(), FormatError> {
        let mut row: Entries<'_> = vec![("timestamp".into(), Raw::Text(self.at.into()))];
        row.push(("prediction_id".into(), Raw::Text(self.id.into())));
        if let Some(version) = self.version {
            row.push(("version".into(), Raw::Text(version.into())));
        }
        for (name, value) in self.inputs {
            let is_said =
                expect.columns.field_of(&name).is_some() || expect.columns.is_ignored(&name);
            let name = if is_said {
                name
            } else {
                Cow::Owned(format!("feature.{name}"))
            };
            // What the file says of a column stands above what the platform says.
            if let Some(field) = expect.columns.field_of(&name) {
                row.retain(|(known, _)| known != field);
            }
            row.push((name, value));
        }
        row.extend(self.outputs);
        rows.append_named(line, row)
    }
}

/// The ids of the predictions of one request.
fn ids(id: &str, rows: usize) -> Vec<String> {
    if rows == 1 {
        return vec![id.to_owned()];
    }
    let own: Vec<&str> = id.split(',').map(str::trim).collect();
    if own.len() == rows && own.iter().all(|id| !id.is_empty()) {
        return own.into_iter().map(str::to_owned).collect();
    }
    (0..rows).map(|row| format!("{id}#{row}")).collect()
}
