//! Features of rows as columns of the model that expects losses from them.

use serde::{Deserialize, Serialize};

use crate::domain::columns::{self, Kind, Value};
use crate::stats::estimation::Column;

/// How a feature becomes a column of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coding {
    pub feature: String,
    /// The categories in the order of their codes; nothing for numbers.
    categories: Option<Vec<String>>,
}

/// The columns of the model: features as they are coded, and the prediction as the last.
pub(super) fn coded(
    codings: &[Coding],
    features: &[columns::Column],
    predictions: Vec<f64>,
) -> Vec<Column> {
    let rows = predictions.len();
    let of = |coding: &Coding| {
        let column = features.iter().find(|column| column.name == coding.feature);
        coding.code(column, rows)
    };
    let mut columns: Vec<Column> = codings.iter().map(of).collect();
    columns.push(Column::Numbers(predictions));
    columns
}

impl Coding {
    /// Nothing for vectors, dates and for what has no values: a date is always later than those of the baseline.
    pub(super) fn of(column: &columns::Column) -> Option<Self> {
        let has = |kind| column.kinds().contains(&kind);
        if has(Kind::Timestamp) || has(Kind::Vector) {
            return None;
        }
        let categories = if has(Kind::Text) || has(Kind::Boolean) {
            let mut all: Vec<String> = column.iter().filter_map(|value| category(&value)).collect();
            all.sort_unstable();
            all.dedup();
            Some(all)
        } else if has(Kind::Number) || has(Kind::Integer) {
            None
        } else {
            return None;
        };
        Some(Self {
            feature: column.name.clone(),
            categories,
        })
    }

    fn code(&self, column: Option<&columns::Column>, rows: usize) -> Column {
        match (&self.categories, column) {
            (None, None) => Column::Numbers(vec![f64::NAN; rows]),
            (Some(_), None) => Column::Categories(vec![u32::MAX; rows]),
            (None, Some(column)) => {
                Column::Numbers(column.iter().map(|value| number(&value)).collect())
            }
            (Some(categories), Some(column)) => {
                let code = |value: Value<'_>| {
                    let place = categories.binary_search(&category(&value)?).ok()?;
                    u32::try_from(place).ok()
                };
                Column::Categories(
                    column
                        .iter()
                        .map(|value| code(value).unwrap_or(u32::MAX))
                        .collect(),
                )
            }
        }
    }
}

fn number(value: &Value<'_>) -> f64 {
    match value {
        Value::Number(number) => *number,
        Value::Integer(integer) => *integer as f64,
        _ => f64::NAN,
    }
}

fn category(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Integer(integer) => Some(integer.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Timestamp(_) | Value::Vector(_) | Value::Null | Value::Absent => None,
    }
}
