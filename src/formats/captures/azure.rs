//! Azure ML's data collector: events of inputs and of outputs, which belong together by their correlation id and come
//! in files of their own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::payload::Payload;
use super::{Prediction, ids, lines, malformed, parse};
use crate::formats::raw::Fault;
use crate::formats::{Expectations, FormatError, Rows};

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    time: Option<String>,
    data: Option<Box<RawValue>>,
    datainblob: Option<Value>,
    correlationid: Option<String>,
    modelversion: Option<String>,
}

/// Which half of a prediction an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

impl Event {
    fn side(&self) -> Option<Side> {
        let collection = self.kind.strip_prefix("azureml.inference.")?;
        if collection.contains("input") || collection == "request" {
            Some(Side::Input)
        } else if collection.contains("output") || collection == "response" {
            Some(Side::Output)
        } else {
            None
        }
    }

    fn payload(&self) -> Result<Payload, Fault> {
        let in_blob = match &self.datainblob {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        if in_blob {
            return Err(malformed(
                "is in a blob of its own, too large for the event; it cannot be read here",
            )
            .in_field("data"));
        }
        let data = self.data.as_ref().filter(|data| data.get() != "null");
        let data = data.ok_or_else(|| Fault::missing("is missing").in_field("data"))?;
        Payload::json(data.get()).map_err(|fault| fault.in_field("data"))
    }

    /// A version, if it is one: the collector writes `default` where nobody has said.
    fn version(&self) -> Option<&str> {
        let version = self.modelversion.as_deref()?;
        (!matches!(version, "" | "default")).then_some(version)
    }
}

/// The two events of a request, each with its line.
#[derive(Default)]
struct Pair {
    input: Option<(u64, Event)>,
    output: Option<(u64, Event)>,
}

/// Reads events as predictions. A half without the other is refused.
pub(in crate::formats) fn read_predictions(
    body: &[u8],
    expect: &Expectations<'_>,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for (number, line) in lines(body) {
        match parse::<Event>(line).and_then(place) {
            Ok((id, side, event)) => {
                let pair = pairs.entry(id.clone()).or_default();
                if pair.input.is_none() && pair.output.is_none() {
                    order.push(id);
                }
                let half = match side {
                    Side::Input => &mut pair.input,
                    Side::Output => &mut pair.output,
                };
                if half.is_some() {
                    let fault = Fault::new(
                        crate::domain::batch::RejectReason::DuplicateField,
                        "has another event with this correlationid before it",
                    );
                    rows.refuse(number, fault)?;
                } else {
                    *half = Some((number, event));
                }
            }
            Err(fault) => rows.refuse(number, fault)?,
        }
    }
    for id in order {
        let Some(pair) = pairs.remove(&id) else {
            continue;
        };
        append(&id, pair, expect, rows)?;
    }
    Ok(())
}

fn place(event: Event) -> Result<(String, Side, Event), Fault> {
    let side = event.side().ok_or_else(|| {
        malformed(
            "is no event of inputs or outputs (azureml.inference.model_inputs and model_outputs)",
        )
        .in_field("type")
    })?;
    let id = event.correlationid.clone().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| Fault::missing("is missing").in_field("correlationid"))?;
    Ok((id, side, event))
}

fn append(
    id: &str,
    pair: Pair,
    expect: &Expectations<'_>,
    rows: &mut impl Rows,
) -> Result<(), FormatError> {
    let (number, input, output) = match (pair.input, pair.output) {
        (Some((_, input)), Some((number, output))) => (number, input, output),
        (Some((number, _)), None) => {
            let fault = Fault::missing("has no outputs with its correlationid");
            return rows.refuse(number, fault.in_field("correlationid"));
        }
        (None, Some((number, _))) => {
            let fault = Fault::missing("has no inputs with its correlationid");
            return rows.refuse(number, fault.in_field("correlationid"));
        }
        (None, None) => return Ok(()),
    };
    match joined(id, &input, &output, expect) {
        Ok(predictions) => {
            for prediction in predictions {
                prediction.append(number, expect, rows)?;
            }
            Ok(())
        }
        Err(fault) => rows.refuse(number, fault),
    }
}

fn joined<'e>(
    id: &str,
    input: &'e Event,
    output: &'e Event,
    expect: &Expectations<'_>,
) -> Result<Vec<Prediction<'e>>, Fault> {
    let inputs = input.payload()?.inputs(&expect.columns.inputs);
    let inputs = inputs.map_err(|fault| fault.in_field("data"))?;
    let outputs = output
        .payload()?
        .outputs(inputs.len(), &expect.columns.outputs, expect.task);
    let outputs = outputs.map_err(|fault| fault.in_field("data"))?;
    let at = input
        .time
        .as_deref()
        .or(output.time.as_deref())
        .unwrap_or_default();
    let version = input.version().or(output.version());
    Ok((ids(id, inputs.len()).into_iter().zip(inputs).zip(outputs))
        .map(|((id, inputs), outputs)| Prediction {
            id,
            at,
            version,
            inputs,
            outputs,
        })
        .collect())
}

/// Which line belongs to which request: `None` for a line that is no event of the collector.
pub(in crate::formats) fn correlation(line: &[u8]) -> Option<(String, bool)> {
    let event: Event = serde_json::from_slice(line).ok()?;
    let is_output = event.side()? == Side::Output;
    Some((event.correlationid?, is_output))
}
