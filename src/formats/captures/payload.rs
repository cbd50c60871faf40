//! Requests and answers of models in the shapes that serving platforms know: CSV without a header, JSON with rows as
//! objects, as lists or as columns.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::{Json, Members, fields, owned, take};
use super::{MOST_ROWS_OF_A_LINE, malformed};
use crate::domain::batch::RejectReason;
use crate::domain::model::Task;
use crate::formats::raw::{Entries, Fault, Raw, is_number, number, shown};

/// Under these names, requests hold their rows.
const ROWS: [&str; 5] = ["instances", "inputs", "data", "dataframe_records", "rows"];
/// Under these names, answers hold one result for each row.
const RESULTS: [&str; 4] = ["predictions", "outputs", "results", "data"];

/// A request or an answer.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    /// Cells by record.
    Csv(Vec<Vec<String>>),
    Json(Json),
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
                    let content_type = shown(content_type, 60);
                    malformed(format!("is {content_type} in BASE64, and no text inside"))
                })?;
                if content_type.contains("csv") {
                    Self::csv(&text)
                } else {
                    Self::json(&text)
                }
            }
            other => Err(malformed(format!(
                "is encoded as \"{}\", which is not known",
                shown(other, 60)
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
    pub fn json(text: &str) -> Result<Self, Fault> {
        let whole = Json::read(text);
        let is_malformed = |fault: &Fault| fault.reason == RejectReason::Malformed;
        if !whole.as_ref().is_err_and(is_malformed) {
            return whole.map(Self::Json);
        }
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        match lines.map(Json::read).collect::<Result<Vec<_>, _>>() {
            Ok(rows) if rows.len() > 1 => Ok(Self::Json(Json::List(rows))),
            Err(fault) if !is_malformed(&fault) => Err(fault),
            _ => whole.map(Self::Json),
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
                    Json::Object(mut members) => match take(&mut members, "features") {
                        Some(Json::List(values)) => of_values(values, names),
                        Some(Json::Object(features)) => Ok(fields(features)),
                        Some(single) => {
                            members.push(("features".to_owned(), single));
                            Ok(fields(members))
                        }
                        None => Ok(fields(members)),
                    },
                    Json::List(values) => of_values(values, names),
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
                        Json::Object(members) => Ok(of_result(members, task)),
                        Json::List(values) => of_values(values, names),
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
    if is_number(trimmed) {
        owned(number(trimmed))
    } else {
        Raw::Text(cell.into())
    }
}

fn of_values(values: Vec<Json>, names: &[String]) -> Result<Entries<'static>, Fault> {
    check_names(values.len(), names)?;
    Ok((names.iter().zip(values))
        .map(|(name, value)| (Cow::Owned(name.clone()), value.into_raw()))
        .collect())
}

/// A result with names. What platforms call the class they chose is our `prediction`; a regression's `score` is its
/// answer.
fn of_result(members: Members, task: Task) -> Entries<'static> {
    let mut result = Entries::new();
    for (name, value) in members {
        let name = match name.as_str() {
            "predicted_label" | "predicted_value" => "prediction".to_owned(),
            "score" if task != Task::Binary && !value.is_list() => "prediction".to_owned(),
            _ => name,
        };
        match value {
            Json::Object(probabilities) if name == "probabilities" => {
                let probabilities = (probabilities.into_iter()).map(|(class, value)| {
                    let name = Cow::Owned(format!("probability.{class}"));
                    (name, value.into_raw())
                });
                result.extend(probabilities);
            }
            // Of a classifier: its scores beside the class it chose.
            Json::List(_) => {}
            value => result.push((Cow::Owned(name), value.into_raw())),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    result.retain(|(name, _)| seen.insert(name.clone().into_owned()));
    result
}

fn rows_of(value: Json) -> Result<Vec<Json>, Fault> {
    let rows = match value {
        Json::List(rows) => rows,
        Json::Object(mut members) => {
            if let Some(split) = take(&mut members, "dataframe_split") {
                of_split(split)?
            } else {
                let holds_rows = |name: &str| {
                    let found = members.iter().find(|(known, _)| known == name);
                    found.is_some_and(|(_, rows)| rows.is_list() || rows.is_object())
                };
                let found = ROWS.into_iter().find(|name| holds_rows(name));
                match found.and_then(|name| take(&mut members, name)) {
                    Some(Json::List(rows)) => rows,
                    Some(Json::Object(columns)) => of_columns(columns)?,
                    _ => vec![Json::Object(members)],
                }
            }
        }
        single => vec![single],
    };
    bounded(rows.len())?;
    Ok(rows)
}

fn of_split(split: Json) -> Result<Vec<Json>, Fault> {
    let wrong = || malformed("has a dataframe_split without columns and data");
    let Json::Object(mut split) = split else {
        return Err(wrong());
    };
    let (Some(Json::List(columns)), Some(Json::List(data))) =
        (take(&mut split, "columns"), take(&mut split, "data"))
    else {
        return Err(wrong());
    };
    let names: Option<Vec<String>> = (columns.into_iter())
        .map(|name| match name {
            Json::Single(Raw::Text(name)) => Some(name.into_owned()),
            _ => None,
        })
        .collect();
    let names = names.ok_or_else(wrong)?;
    data.into_iter()
        .map(|row| match row {
            Json::List(values) if values.len() == names.len() => {
                Ok(Json::Object(names.iter().cloned().zip(values).collect()))
            }
            _ => Err(wrong()),
        })
        .collect()
}

/// Rows of `{"a": [1, 2], "b": [3, 4]}`; of single values, one.
fn of_columns(columns: Members) -> Result<Vec<Json>, Fault> {
    let length = |column: &Json| match column {
        Json::List(values) => Some(values.len()),
        _ => None,
    };
    let lengths: Option<Vec<usize>> = columns.iter().map(|(_, column)| length(column)).collect();
    let Some(lengths) = lengths else {
        return Ok(vec![Json::Object(columns)]);
    };
    let rows = lengths.first().copied().unwrap_or(0);
    if lengths.iter().any(|length| *length != rows) {
        return Err(malformed("has columns of different lengths"));
    }
    bounded(rows)?;
    let mut all: Vec<Members> = vec![Members::new(); rows];
    for (name, column) in columns {
        if let Json::List(values) = column {
            for (row, value) in all.iter_mut().zip(values) {
                row.push((name.clone(), value));
            }
        }
    }
    Ok(all.into_iter().map(Json::Object).collect())
}

fn results_of(value: Json, rows: usize) -> Vec<Json> {
    match value {
        Json::Object(mut members) => {
            let holds_results = |name: &str| {
                let found = members.iter().find(|(known, _)| known == name);
                found.is_some_and(|(_, results)| results.is_list())
            };
            let found = RESULTS.into_iter().find(|name| holds_results(name));
            match found.and_then(|name| take(&mut members, name)) {
                Some(results) => results_of(results, rows),
                None => vec![Json::Object(members)],
            }
        }
        // One row's values, or a value for each row.
        Json::List(results) if rows == 1 && results.len() > 1 => vec![Json::List(results)],
        Json::List(results) => results,
        single => vec![single],
    }
}
