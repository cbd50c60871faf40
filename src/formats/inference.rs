//! Requests and answers of model servers, as rows: the protocol of TensorFlow Serving that KServe calls V1, and the
//! Open Inference Protocol, its V2. One request asks for a batch, so one inference is as many predictions as its
//! request has rows.
//!
//! A row's id is that of the inference; of several rows, each has its number (from 0) behind a `#`.

use std::borrow::Cow;
use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::json::{Elements, Object};
use super::predictions::PredictionRows;
use super::raw::{Entries, Fault, Raw, number, shown};
use super::{Expectations, FormatError, Rows};
use crate::domain::batch::{Decoded, PredictionBatch, RejectReason};
use crate::domain::inference::{Answer, Inference, Serving};
use crate::domain::model::Task;

/// Values of one request or answer.
const MOST_VALUES: usize = 1_000_000;

/// What is known of the model that was asked.
#[derive(Debug, Clone, Copy)]
pub struct Served<'m> {
    pub serving: &'m Serving,
    pub task: Task,
    pub positive_class: Option<&'m str>,
}

/// Reads inferences as predictions. Lines are the places of the inferences, from 1.
///
/// # Errors
/// When they hold more than the limits allow.
pub fn decode_inferences(
    inferences: &[Inference],
    served: Served<'_>,
    expect: &Expectations<'_>,
) -> Result<Decoded<PredictionBatch>, FormatError> {
    let mut rows = PredictionRows::new(expect);
    for (line, inference) in (1..).zip(inferences) {
        match Exchange::read(inference) {
            Ok(exchange) => exchange.append(served, line, &mut rows)?,
            Err(fault) => rows.refuse(line, fault)?,
        }
    }
    Ok(rows.finish())
}

/// The members of a JSON object.
type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// What was asked and answered, by row.
struct Exchange<'a> {
    id: Cow<'a, str>,
    version: Option<Cow<'a, str>>,
    at: DateTime<Utc>,
    latency_ms: Option<f64>,
    rows: usize,
    asked: Asked<'a>,
    answered: Answered<'a>,
}

enum Asked<'a> {
    /// A value of each row: an object, a list or a single value.
    Instances(Vec<&'a str>),
    /// Columns by name.
    Columns(Vec<Column<'a>>),
}

enum Answered<'a> {
    Predictions(Vec<&'a str>),
    Columns(Vec<Column<'a>>),
    Failed(Cow<'a, str>),
}

/// A tensor: `width` values for each row.
struct Column<'a> {
    name: Cow<'a, str>,
    width: usize,
    values: Vec<&'a str>,
    /// Whether its type says that the values are fractions, even if one looks whole.
    fractions: bool,
}

impl<'a> Exchange<'a> {
    fn read(inference: &'a Inference) -> Result<Self, Fault> {
        let in_request = |fault: Fault| fault.in_field("request");
        let in_response = |fault: Fault| fault.in_field("response");
        let request = members(&inference.request.data).map_err(in_request)?;
        let response = members(&inference.response.data).map_err(in_response)?;
        let (asked, rows) = asked(&request).map_err(in_request)?;
        let answered = answered(&response).map_err(in_response)?;
        let answers = match &answered {
            Answered::Predictions(answers) => Some(answers.len()),
            Answered::Columns(columns) => columns.iter().map(Column::rows).min(),
            Answered::Failed(_) => None,
        };
        if let Some(answers) = answers
            && answers != rows
        {
            let cause = format!("answers {answers} rows, but {rows} were asked for");
            return Err(in_response(Fault::wrong(cause)));
        }
        let text = |from: &Members<'a>, name| get(from, name).and_then(text_of);
        let id = text(&request, "id").or_else(|| text(&response, "id"));
        let version = inference.response.version.as_deref().map(Cow::Borrowed);
        let version = version.or_else(|| text(&response, "model_version"));
        let (began, ended) = (inference.request.at, inference.response.at);
        let took = ended.zip(began).map(|(ended, began)| ended - began);
        Ok(Self {
            id: id.unwrap_or(Cow::Borrowed(&inference.pair)),
            version: version.filter(|version| !version.is_empty()),
            at: inference.request.time(),
            latency_ms: took.filter(|took| *took >= 0).map(|took| took as f64 / 1e3),
            rows,
            asked,
            answered,
        })
    }

    fn append(
        &self,
        served: Served<'_>,
        line: u64,
        rows: &mut impl Rows,
    ) -> Result<(), FormatError> {
        if self.rows == 0 {
            return rows.refuse(line, Fault::missing("asks for no row").in_field("request"));
        }
        for row in 0..self.rows {
            match self.row(served, row) {
                Ok(entries) => rows.append_named(line, entries)?,
                Err(fault) => rows.refuse(line, fault)?,
            }
        }
        Ok(())
    }

    fn row(&self, served: Served<'_>, row: usize) -> Result<Entries<'a>, Fault> {
        let id = match self.rows {
            1 => self.id.clone(),
            _ => Cow::Owned(format!("{}#{row}", self.id)),
        };
        let mut entries: Entries<'a> = vec![
            (Cow::Borrowed("prediction_id"), Raw::Text(id)),
            (Cow::Borrowed("timestamp"), Raw::Timestamp(self.at)),
        ];
        if let Some(version) = &self.version {
            entries.push((Cow::Borrowed("version"), Raw::Text(version.clone())));
        }
        if let Some(milliseconds) = self.latency_ms {
            entries.push((Cow::Borrowed("latency_ms"), Raw::Number(milliseconds)));
        }
        entries.push((
            Cow::Borrowed("features"),
            Raw::Object(self.features(served.serving, row)?),
        ));
        match &self.answered {
            Answered::Failed(error) => {
                entries.push((Cow::Borrowed("error"), Raw::Text(error.clone())));
            }
            Answered::Predictions(answers) => {
                put_answer(&mut entries, answers[row], served)?;
            }
            Answered::Columns(columns) => {
                put_columns(&mut entries, columns, row, served)?;
            }
        }
        Ok(entries)
    }

    fn features(&self, serving: &Serving, row: usize) -> Result<Entries<'a>, Fault> {
        match &self.asked {
            Asked::Instances(instances) => {
                let instance = instances[row];
                match instance.as_bytes().first() {
                    Some(b'{') => object(instance)?
                        .into_iter()
                        .map(|(name, value)| Ok((name, single(value)?)))
                        .collect(),
                    Some(b'[') => named(&serving.inputs, "input", &flat(instance)?),
                    _ => named(&serving.inputs, "input", &[instance]),
                }
            }
            Asked::Columns(columns) => {
                let mut features = Entries::new();
                let lone = columns.len() == 1;
                for column in columns {
                    let values = column.row(row);
                    if let [value] = values
                        && !(lone && serving.inputs.len() == 1)
                    {
                        features.push((column.name.clone(), single(value)?));
                    } else if lone {
                        features.append(&mut named(&serving.inputs, &column.name, values)?);
                    } else {
                        features.append(&mut named(&[], &column.name, values)?);
                    }
                }
                Ok(features)
            }
        }
    }
}

impl<'a> Column<'a> {
    fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    fn row(&self, row: usize) -> &[&'a str] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

/// Values with the names of columns, or, where there are none or other ones, numbered.
fn named<'a>(names: &[String], prefix: &str, values: &[&'a str]) -> Result<Entries<'a>, Fault> {
    let declared = names.len() == values.len();
    if !names.is_empty() && !declared {
        let (names, values) = (names.len(), values.len());
        return Err(Fault::wrong(format!(
            "has {values} values, but the model's file names {names} under `serving.inputs`"
        ))
        .in_field("request"));
    }
    (values.iter().enumerate())
        .map(|(place, value)| {
            let name = match names.get(place) {
                Some(name) => name.clone(),
                None => format!("{prefix}_{place}"),
            };
            Ok((Cow::Owned(name), single(value)?))
        })
        .collect()
}

fn members(body: &[u8]) -> Result<Members<'_>, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| {
        malformed(
            "is not text; requests and answers in JSON are understood, binary tensors are not",
        )
    })?;
    object(text)
}

/// The members of an object. A name that comes twice is refused: which of the two counts, two readers would not agree on.
fn object(text: &str) -> Result<Members<'_>, Fault> {
    let object: Object = serde_json::from_str(text.trim()).map_err(|error| {
        // Otherwise it is no JSON at all, such as a binary tensor.
        if text.trim_start().starts_with('{') && text.contains('\0') {
            return Fault::new(RejectReason::NulByte, "holds a NUL byte");
        }
        // The parser repeats the text that it finds instead, however long it is.
        let error = shown(&error.to_string(), 200);
        malformed(format!("is not a JSON object: {error}"))
    })?;
    let mut members = Members::new();
    let mut names = HashSet::new();
    for (name, value) in object.into_entries()? {
        if !names.insert(name.clone()) {
            return Err(Fault::duplicate(&name));
        }
        members.push((name, value.get()));
    }
    Ok(members)
}

fn malformed(cause: impl Into<String>) -> Fault {
    Fault::new(RejectReason::Malformed, cause)
}

fn get<'a>(members: &Members<'a>, name: &str) -> Option<&'a str> {
    let found = members.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| *value).filter(|v| *v != "null")
}

/// Text, or a number as its digits.
fn text_of(value: &str) -> Option<Cow<'_, str>> {
    match single(value) {
        Ok(Raw::Text(text)) => Some(text),
        Ok(Raw::Integer(number)) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// The items of a list, not opened.
fn items(list: &str) -> Result<Vec<&str>, Fault> {
    let mut elements = Elements::of(list.as_bytes(), 0);
    let mut items = Vec::new();
    while let Some(item) = elements
        .next()
        .map_err(|error| malformed(error.to_string()))?
    {
        if items.len() == MOST_VALUES {
            return Err(Fault::too_large("has more than 1000000 values"));
        }
        items.push(&list[item]);
    }
    Ok(items)
}

/// The values of a list and of the lists in it, in their order.
fn flat(list: &str) -> Result<Vec<&str>, Fault> {
    let mut values = Vec::new();
    let mut open = vec![items(list)?.into_iter()];
    while let Some(level) = open.last_mut() {
        match level.next() {
            None => {
                open.pop();
            }
            Some(item) if item.starts_with('[') => {
                if open.len() == 8 {
                    return Err(Fault::too_large("has more than 8 dimensions"));
                }
                open.push(items(item)?.into_iter());
            }
            Some(value) => {
                if values.len() == MOST_VALUES {
                    return Err(Fault::too_large("has more than 1000000 values"));
                }
                values.push(value);
            }
        }
    }
    Ok(values)
}

/// A single value.
fn single(value: &str) -> Result<Raw<'_>, Fault> {
    match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(value)
            .map(|text| Raw::Text(text.into()))
            .map_err(|_| malformed("holds text that is no text")),
        Some(b'{') => Ok(Raw::Nested("an object", value)),
        Some(b'[') => Ok(Raw::Nested("a list", value)),
        Some(b't') => Ok(Raw::Boolean(true)),
        Some(b'f') => Ok(Raw::Boolean(false)),
        Some(b'n') => Ok(Raw::Null),
        _ => Ok(number(value)),
    }
}

fn asked<'a>(request: &Members<'a>) -> Result<(Asked<'a>, usize), Fault> {
    if let Some(instances) = get(request, "instances") {
        let instances = list_of(instances, "instances")?;
        let rows = instances.len();
        return Ok((Asked::Instances(instances), rows));
    }
    let Some(inputs) = get(request, "inputs") else {
        return Err(Fault::missing("has neither \"instances\" nor \"inputs\""));
    };
    if inputs.starts_with('{') {
        let columns = object(inputs)?
            .into_iter()
            .map(|(name, values)| {
                Ok(Column {
                    name,
                    width: 1,
                    values: list_of(values, "inputs")?,
                    fractions: false,
                })
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        return of_columns(columns, "inputs");
    }
    let listed = list_of(inputs, "inputs")?;
    let are_tensors = listed.iter().all(|input| {
        let members = object(input);
        members.is_ok_and(|members| get(&members, "datatype").is_some())
    });
    if !are_tensors {
        let rows = listed.len();
        return Ok((Asked::Instances(listed), rows));
    }
    of_columns(tensors(&listed)?, "inputs")
}

fn of_columns<'a>(columns: Vec<Column<'a>>, what: &str) -> Result<(Asked<'a>, usize), Fault> {
    let rows = columns.first().map_or(0, Column::rows);
    if columns.iter().any(|column| column.rows() != rows) {
        return Err(Fault::wrong(format!(
            "has {what:?} of different numbers of rows"
        )));
    }
    Ok((Asked::Columns(columns), rows))
}

fn list_of<'a>(value: &'a str, what: &str) -> Result<Vec<&'a str>, Fault> {
    if value.starts_with('[') {
        items(value)
    } else {
        Err(Fault::wrong(format!("has {what:?} that is no list")))
    }
}

fn tensors<'a>(listed: &[&'a str]) -> Result<Vec<Column<'a>>, Fault> {
    listed.iter().map(|tensor| read_tensor(tensor)).collect()
}

fn read_tensor(tensor: &str) -> Result<Column<'_>, Fault> {
    let members = object(tensor)?;
    let name = get(&members, "name").and_then(text_of);
    let name = name.unwrap_or(Cow::Borrowed("input"));
    let data = get(&members, "data").ok_or_else(|| {
        Fault::missing("has a tensor without data; binary tensors are not understood")
    })?;
    let values = if data.starts_with('[') {
        flat(data)?
    } else {
        vec![data]
    };
    let shape = match get(&members, "shape") {
        Some(shape) => list_of(shape, "shape")?,
        None => Vec::new(),
    };
    // The first dimension is the batch; what is behind it belongs to a row.
    let rows = match shape.first().map(|first| first.parse::<usize>()) {
        Some(Ok(rows)) => rows,
        Some(Err(_)) => return Err(Fault::wrong("has a shape that is not of whole numbers")),
        None => values.len(),
    };
    if rows == 0 || values.len() % rows != 0 {
        let length = values.len();
        return Err(Fault::wrong(format!(
            "has a tensor of {rows} rows with {length} values"
        )));
    }
    let datatype = get(&members, "datatype").and_then(text_of);
    let fractions = datatype.is_some_and(|of| of.starts_with("FP") || of == "BF16");
    Ok(Column {
        name,
        width: (values.len() / rows).max(1),
        values,
        fractions,
    })
}

fn answered<'a>(response: &Members<'a>) -> Result<Answered<'a>, Fault> {
    if let Some(error) = get(response, "error") {
        let error = text_of(error).unwrap_or(Cow::Borrowed(error));
        return Ok(Answered::Failed(error));
    }
    if let Some(predictions) = get(response, "predictions") {
        return Ok(Answered::Predictions(list_of(predictions, "predictions")?));
    }
    let Some(outputs) = get(response, "outputs") else {
        return Err(Fault::missing(
            "has neither \"predictions\" nor \"outputs\"",
        ));
    };
    let listed = list_of(outputs, "outputs")?;
    let columns = tensors(&listed)?;
    if columns.is_empty() {
        return Err(Fault::missing("has no output"));
    }
    Ok(Answered::Columns(columns))
}

/// Names of outputs that say what they are; of others the first one is the answer.
fn meaning(name: &str) -> Option<Answer> {
    match name {
        "predict" | "prediction" | "predictions" | "class" | "label" => Some(Answer::Prediction),
        "score" => Some(Answer::Score),
        "predict_proba" | "probabilities" | "probability" | "proba" => Some(Answer::Probabilities),
        _ => None,
    }
}

fn put_columns<'a>(
    entries: &mut Entries<'a>,
    columns: &[Column<'a>],
    row: usize,
    served: Served<'_>,
) -> Result<(), Fault> {
    let telling = columns.iter().any(|column| meaning(&column.name).is_some());
    for (place, column) in columns.iter().enumerate() {
        let said = meaning(&column.name);
        // A model of two classes that answers with a fraction has given no class, whatever the answer is called.
        let is_class = said == Some(Answer::Prediction);
        let named = said.filter(|_| !(is_class && column.fractions && served.task == Task::Binary));
        if (telling && said.is_none()) || (!telling && place > 0) {
            continue;
        }
        let answer = (served.serving.answer)
            .filter(|_| columns.len() == 1)
            .or(named);
        put_values(entries, column.row(row), served, (answer, column.fractions))?;
    }
    Ok(())
}

/// An answer of V1: a single value, a list of probabilities, or an object with names of fields.
fn put_answer<'a>(
    entries: &mut Entries<'a>,
    answer: &'a str,
    served: Served<'_>,
) -> Result<(), Fault> {
    let said = served.serving.answer;
    match answer.as_bytes().first() {
        Some(b'{') => {
            let mut told = false;
            for (name, value) in object(answer)? {
                let Some(meaning) = meaning(&name) else {
                    continue;
                };
                told = true;
                if value.starts_with('{') {
                    let probabilities: Result<Entries, Fault> = object(value)?
                        .into_iter()
                        .map(|(class, value)| Ok((class, single(value)?)))
                        .collect();
                    let probabilities = Raw::Object(probabilities?);
                    entries.push((Cow::Borrowed("probabilities"), probabilities));
                    continue;
                }
                let values = if value.starts_with('[') {
                    flat(value)?
                } else {
                    vec![value]
                };
                put_values(entries, &values, served, (Some(meaning), false))?;
            }
            if told {
                return Ok(());
            }
            let cause = "has an answer whose names say nothing; \"prediction\", \"score\" and \"probabilities\" do";
            Err(Fault::missing(cause).in_field("response"))
        }
        Some(b'[') => put_values(entries, &flat(answer)?, served, (said, false)),
        _ => put_values(entries, &[answer], served, (said, false)),
    }
}

fn put_values<'a>(
    entries: &mut Entries<'a>,
    values: &[&'a str],
    served: Served<'_>,
    (answer, fractions): (Option<Answer>, bool),
) -> Result<(), Fault> {
    let (task, classes) = (served.task, &served.serving.classes);
    if let [value] = values {
        let raw = single(value)?;
        let fraction = fractions || matches!(raw, Raw::Number(_));
        let field = match (answer, task) {
            (Some(Answer::Score | Answer::Probabilities), _) => "score",
            (None, Task::Binary) if fraction => "score",
            _ => "prediction",
        };
        entries.push((Cow::Borrowed(field), raw));
        return Ok(());
    }
    let given = values.len();
    let refused = |cause: String| Err(Fault::wrong(cause).in_field("response"));
    if task == Task::Regression {
        return refused(format!("answers {given} values for one row"));
    }
    if !classes.is_empty() && classes.len() != given {
        let named = classes.len();
        return refused(format!(
            "answers {given} probabilities, but the model's file names {named} under `serving.classes`"
        ));
    }
    if task == Task::Binary {
        // Without names, the second of two classes is the positive one.
        let named = classes
            .iter()
            .position(|c| Some(c.as_str()) == served.positive_class);
        let Some(value) = named
            .or((given == 2).then_some(1))
            .map(|place| values[place])
        else {
            return refused(format!(
                "answers {given} values for one row of a binary model"
            ));
        };
        entries.push((Cow::Borrowed("score"), single(value)?));
        return Ok(());
    }
    let probabilities: Result<Entries, Fault> = (values.iter().enumerate())
        .map(|(place, value)| {
            let class = (classes.get(place)).map_or_else(|| place.to_string(), String::clone);
            Ok((Cow::Owned(class), single(value)?))
        })
        .collect();
    entries.push((Cow::Borrowed("probabilities"), Raw::Object(probabilities?)));
    Ok(())
}

#[cfg(test)]
mod tests;
