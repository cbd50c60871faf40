//! Requests and answers of models in the shapes that serving platforms know: CSV without a header, JSON with rows as
//! objects, as lists or as columns.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{MOST_ROWS_OF_A_LINE, malformed, raw};
use crate::domain::model::Task;
use crate::formats::raw::{Entries, Fault, Raw};

/// Under these names, requests hold their rows.
const ROWS: [&str; 5] = ["instances", "inputs", "data", "dataframe_records", "rows"];
/// Under these names, answers hold one result for each row.
const RESULTS: [&str; 4] = ["predictions", "outputs", "results", "data"];

/// A request or an answer.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// Cells by record.
    Csv(Vec<Vec<String>>),
    Json(Value),
}

impl Payload {
    /// Reads what a platform has captured as text.
    pub fn of_text(data: &str, encoding: &str, content_type: &str) -> Result<Self, Fault> {
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        match encoding.to_ascii_uppercase().as_str() {
            "CSV" => Self::csv(data),
            "JSON" => Self::json(data),
            "BASE64" => {
                let bytes = STANDARD
                    .decode(data.trim())
                    .map_err(|error| malformed(format!("is not BASE64: {error}")))?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    malformed(format!("is {content_type} in BASE64, and no text inside"))
                })?;
                if content_type.contains("csv") {
                    Self::csv(&text)
                } else {
                    Self::json(&text)
                }
            }
            other => Err(malformed(format!(
                "is encoded as \"{other}\", which is not known"
            ))),
        }
    }

    fn csv(text: &str) -> Result<Self, Fault> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| malformed(format!("is no CSV: {error}")))?;
            records.push(record.iter().map(str::to_owned).collect());
            bounded(records.len())?;
        }
        Ok(Self::Csv(records))
    }

    /// A document, or one a line.
    fn json(text: &str) -> Result<Self, Fault> {
        match serde_json::from_str(text) {
            Ok(value) => Ok(Self::Json(value)),
            Err(error) => {
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                let documents: Result<Vec<Value>, _> = lines.map(serde_json::from_str).collect();
                match documents {
                    Ok(rows) if rows.len() > 1 => Ok(Self::Json(Value::Array(rows))),
                    _ => Err(malformed(format!("is no JSON: {error}"))),
                }
            }
        }
    }

    /// The rows of a request, with `names` for values that come without.
    pub fn inputs(self, names: &[String]) -> Result<Vec<Entries<'static>>, Fault> {
        match self {
            Self::Csv(records) => records
                .into_iter()
                .map(|cells| of_cells(cells, names))
                .collect(),
            Self::Json(value) => rows_of(value)?
                .into_iter()
                .map(|row| match row {
                    Value::Object(mut members) => match members.remove("features") {
                        Some(Value::Array(values)) => of_values(values, names),
                        Some(Value::Object(features)) => Ok(of_members(features)),
                        Some(other) => {
                            members.insert("features".to_owned(), other);
                            Ok(of_members(members))
                        }
                        None => Ok(of_members(members)),
                    },
                    Value::Array(values) => of_values(values, names),
                    single => of_values(vec![single], names),
                })
                .collect(),
        }
    }

    /// The results for `rows` rows, as fields of predictions.
    pub fn outputs(
        self,
        rows: usize,
        names: &[String],
        task: Task,
    ) -> Result<Vec<Entries<'static>>, Fault> {
        let usual = [usual_output(task).to_owned()];
        let names = if names.is_empty() { &usual[..] } else { names };
        let results: Vec<Entries<'static>> = match self {
            Self::Csv(mut records) => {
                // Some write one record with a value for each row.
                if records.len() == 1 && rows > 1 && records[0].len() == rows {
                    records = records
                        .remove(0)
                        .into_iter()
                        .map(|cell| vec![cell])
                        .collect();
                }
                let read: Result<_, Fault> = records
                    .into_iter()
                    .map(|cells| of_cells(cells, names))
                    .collect();
                read?
            }
            Self::Json(value) => {
                let read: Result<_, Fault> = results_of(value, rows)
                    .into_iter()
                    .map(|result| match result {
                        Value::Object(members) => Ok(of_result(members, task)),
                        Value::Array(values) => of_values(values, names),
                        single => of_values(vec![single], names),
                    })
                    .collect();
                read?
            }
        };
        if results.len() != rows {
            let found = results.len();
            return Err(malformed(format!("has {found} results for {rows} rows")));
        }
        Ok(results)
    }
}

/// What a single number is when nobody says.
fn usual_output(task: Task) -> &'static str {
    match task {
        Task::Binary => "score",
        _ => "prediction",
    }
}

fn bounded(rows: usize) -> Result<(), Fault> {
    if rows > MOST_ROWS_OF_A_LINE {
        return Err(Fault::too_large(format!(
            "holds more than {MOST_ROWS_OF_A_LINE} rows"
        )));
    }
    Ok(())
}

fn check_names(values: usize, names: &[String]) -> Result<(), Fault> {
    if names.is_empty() {
        return Err(malformed(
            "has values without names; list them in the model's file under `columns: inputs`",
        ));
    }
    if values != names.len() {
        let named = names.len();
        return Err(malformed(format!(
            "has {values} values without names, and the model's file names {named} under `columns`"
        )));
    }
    Ok(())
}

fn of_cells(cells: Vec<String>, names: &[String]) -> Result<Entries<'static>, Fault> {
    check_names(cells.len(), names)?;
    Ok((names.iter().zip(cells))
        .map(|(name, cell)| (Cow::Owned(name.clone()), of_cell(cell)))
        .collect())
}

/// A cell has no type: it is what it looks like, as in a CSV file.
fn of_cell(cell: String) -> Raw<'static> {
    let trimmed = cell.trim();
    if trimmed.is_empty() {
        return Raw::Null;
    }
    match trimmed {
        "true" | "True" | "TRUE" => return Raw::Boolean(true),
        "false" | "False" | "FALSE" => return Raw::Boolean(false),
        "NaN" | "nan" => return Raw::Number(f64::NAN),
        "inf" | "Infinity" => return Raw::Number(f64::INFINITY),
        "-inf" | "-Infinity" => return Raw::Number(f64::NEG_INFINITY),
        _ => {}
    }
    match serde_json::from_str::<Value>(trimmed) {
        Ok(value @ Value::Number(_)) => raw(value),
        _ => Raw::Text(cell.into()),
    }
}

fn of_values(values: Vec<Value>, names: &[String]) -> Result<Entries<'static>, Fault> {
    check_names(values.len(), names)?;
    Ok((names.iter().zip(values))
        .map(|(name, value)| (Cow::Owned(name.clone()), raw(value)))
        .collect())
}

fn of_members(members: Map<String, Value>) -> Entries<'static> {
    members
        .into_iter()
        .map(|(name, value)| (Cow::Owned(name), raw(value)))
        .collect()
}

/// A result with names. What platforms call the class they chose is our `prediction`; a regression's `score` is its
/// answer.
fn of_result(members: Map<String, Value>, task: Task) -> Entries<'static> {
    let mut result = Entries::new();
    for (name, value) in members {
        let name = match name.as_str() {
            "predicted_label" | "predicted_value" => "prediction".to_owned(),
            "score" if task != Task::Binary && !value.is_array() => "prediction".to_owned(),
            _ => name,
        };
        match value {
            Value::Object(probabilities) if name == "probabilities" => {
                let probabilities = probabilities
                    .into_iter()
                    .map(|(class, value)| (Cow::Owned(format!("probability.{class}")), raw(value)));
                result.extend(probabilities);
            }
            // Of a classifier: its scores beside the class it chose.
            Value::Array(_) => {}
            value => result.push((Cow::Owned(name), raw(value))),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    result.retain(|(name, _)| seen.insert(name.clone().into_owned()));
    result
}

fn rows_of(value: Value) -> Result<Vec<Value>, Fault> {
    let rows = match value {
        Value::Array(rows) => rows,
        Value::Object(mut members) => {
            if let Some(split) = members.remove("dataframe_split") {
                of_split(split)?
            } else {
                let found = ROWS.into_iter().find(|name| {
                    members
                        .get(*name)
                        .is_some_and(|rows| rows.is_array() || rows.is_object())
                });
                match found.and_then(|name| members.remove(name)) {
                    Some(Value::Array(rows)) => rows,
                    Some(Value::Object(columns)) => of_columns(columns)?,
                    _ => vec![Value::Object(members)],
                }
            }
        }
        single => vec![single],
    };
    bounded(rows.len())?;
    Ok(rows)
}

fn of_split(split: Value) -> Result<Vec<Value>, Fault> {
    let wrong = || malformed("has a dataframe_split without columns and data");
    let Value::Object(mut split) = split else {
        return Err(wrong());
    };
    let (Some(Value::Array(columns)), Some(Value::Array(data))) =
        (split.remove("columns"), split.remove("data"))
    else {
        return Err(wrong());
    };
    let names: Option<Vec<String>> = columns
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect();
    let names = names.ok_or_else(wrong)?;
    data.into_iter()
        .map(|row| match row {
            Value::Array(values) if values.len() == names.len() => {
                Ok(Value::Object(names.iter().cloned().zip(values).collect()))
            }
            _ => Err(wrong()),
        })
        .collect()
}

/// Rows of `{"a": [1, 2], "b": [3, 4]}`; of single values, one.
fn of_columns(columns: Map<String, Value>) -> Result<Vec<Value>, Fault> {
    let lengths: Option<Vec<usize>> = columns
        .values()
        .map(|column| column.as_array().map(Vec::len))
        .collect();
    let Some(lengths) = lengths else {
        return Ok(vec![Value::Object(columns)]);
    };
    let rows = lengths.first().copied().unwrap_or(0);
    if lengths.iter().any(|length| *length != rows) {
        return Err(malformed("has columns of different lengths"));
    }
    bounded(rows)?;
    let mut all: Vec<Map<String, Value>> = vec![Map::new(); rows];
    for (name, column) in columns {
        if let Value::Array(values) = column {
            for (row, value) in all.iter_mut().zip(values) {
                row.insert(name.clone(), value);
            }
        }
    }
    Ok(all.into_iter().map(Value::Object).collect())
}

fn results_of(value: Value, rows: usize) -> Vec<Value> {
    match value {
        Value::Object(mut members) => {
            let found = RESULTS
                .into_iter()
                .find(|name| members.get(*name).is_some_and(Value::is_array));
            match found.and_then(|name| members.remove(name)) {
                Some(Value::Array(results)) => results_of(Value::Array(results), rows),
                _ => vec![Value::Object(members)],
            }
        }
        // One row's values, or a value for each row.
        Value::Array(results) if rows == 1 && results.len() > 1 => vec![Value::Array(results)],
        Value::Array(results) => results,
        single => vec![single],
    }
}
