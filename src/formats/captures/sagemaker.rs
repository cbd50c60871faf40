//! SageMaker data capture, and its ground truth files.

use serde::Deserialize;

use super::payload::Payload;
use super::tree::owned;
use super::{Prediction, ids, lines, malformed, parse};
use crate::formats::raw::{Fault, Raw, is_number, number};
use crate::formats::{Expectations, FormatError, Rows};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    capture_data: Option<CaptureData>,
    ground_truth_data: Option<Captured>,
    event_metadata: EventMetadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaptureData {
    endpoint_input: Option<Captured>,
    endpoint_output: Option<Captured>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Captured {
    #[serde(default)]
    observed_content_type: String,
    data: String,
    encoding: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventMetadata {
    event_id: String,
    inference_id: Option<String>,
    inference_time: Option<String>,
}

impl EventMetadata {
    /// What the caller named the request, or else the platform.
    fn id(&self) -> &str {
        self.inference_id.as_deref().unwrap_or(&self.event_id)
    }
}

impl Captured {
    fn payload(&self, field: &str) -> Result<Payload, Fault> {
        let read = Payload::of_text(&self.data, &self.encoding, &self.observed_content_type);
        read.map_err(|fault| fault.in_field(field))
    }
}

/// Reads captured requests and answers as predictions.
pub(in crate::formats) fn read_predictions(
    body: &[u8],
    expect: &Expectations<'_>,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    for (number, line) in lines(body) {
        match parse::<Line>(line).and_then(|line| predictions(&line, expect).map(|p| (line, p))) {
            Ok((line, predictions)) => {
                let at = line
                    .event_metadata
                    .inference_time
                    .as_deref()
                    .unwrap_or_default();
                for mut prediction in predictions {
                    prediction.at = at;
                    prediction.append(number, expect, rows)?;
                }
            }
            Err(fault) => rows.refuse(number, fault)?,
        }
    }
    Ok(())
}

fn predictions(line: &Line, expect: &Expectations<'_>) -> Result<Vec<Prediction<'static>>, Fault> {
    let captured = line.capture_data.as_ref();
    let captured = captured.ok_or_else(|| Fault::missing("has no captureData"))?;
    let missing = |field: &str| {
        Fault::missing("was not captured; capture both input and output").in_field(field)
    };
    let input = captured.endpoint_input.as_ref();
    let input = input.ok_or_else(|| missing("endpointInput"))?;
    let output = captured.endpoint_output.as_ref();
    let output = output.ok_or_else(|| missing("endpointOutput"))?;
    let inputs = input
        .payload("endpointInput")?
        .inputs(&expect.columns.inputs);
    let inputs = inputs.map_err(|fault| fault.in_field("endpointInput"))?;
    let outputs = output
        .payload("endpointOutput")?
        .outputs(inputs.len(), &expect.columns.outputs, expect.task)
        .map_err(|fault| fault.in_field("endpointOutput"))?;
    let ids = ids(line.event_metadata.id(), inputs.len());
    Ok((ids.into_iter().zip(inputs).zip(outputs))
        .map(|((id, inputs), outputs)| Prediction {
            id,
            at: "",
            version: None,
            inputs,
            outputs,
        })
        .collect())
}

/// Reads ground truth as labels.
pub(in crate::formats) fn read_labels(
    body: &[u8],
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    for (number, line) in lines(body) {
        match parse::<Line>(line).and_then(|line| label(&line)) {
            Ok((id, label)) => {
                let row = vec![
                    ("prediction_id".into(), Raw::Text(id.into())),
                    ("label".into(), label),
                ];
                rows.append_named(number, row)?;
            }
            Err(fault) => rows.refuse(number, fault)?,
        }
    }
    Ok(())
}

fn label(line: &Line) -> Result<(String, Raw<'static>), Fault> {
    let truth = line.ground_truth_data.as_ref();
    let truth = truth.ok_or_else(|| Fault::missing("has no groundTruthData"))?;
    let value = match truth.payload("groundTruthData")? {
        Payload::Csv(records) => match records.as_slice() {
            [cells] if cells.len() == 1 => {
                let cell = cells[0].trim();
                if is_number(cell) {
                    owned(number(cell))
                } else {
                    Raw::Text(cell.to_owned().into())
                }
            }
            _ => return Err(malformed("holds more than one value").in_field("groundTruthData")),
        },
        Payload::Json(value) => value.into_raw(),
    };
    Ok((line.event_metadata.id().to_owned(), value))
}
