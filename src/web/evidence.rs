//! What an alert was raised on, and a message as it was sent: JSON whose shape belongs to its writer, shown
//! as names and values rather than as braces.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::run_view::Fact;
use super::wording;

/// The facts in a JSON value, flattened; `names / inside` for what is nested.
#[must_use]
pub fn facts(value: &Value) -> Vec<Fact> {
    let mut out = Vec::new();
    collect("", value, &mut out);
    out
}

fn collect(name: &str, value: &Value, out: &mut Vec<Fact>) {
    match value {
        Value::Object(parts) => {
            for (key, inner) in parts {
                let words = wording::words(key);
                let path = if name.is_empty() {
                    words
                } else {
                    format!("{name} / {words}")
                };
                collect(&path, inner, out);
            }
        }
        Value::Array(items) if items.iter().all(is_scalar) => {
            if !items.is_empty() {
                let texts: Vec<String> = items.iter().filter_map(scalar).collect();
                push(name, texts.join(", "), out);
            }
        }
        Value::Array(items) => {
            for (position, inner) in items.iter().enumerate() {
                collect(&format!("{name} {}", position + 1), inner, out);
            }
        }
        other => {
            if let Some(text) = scalar(other) {
                push(name, text, out);
            }
        }
    }
}

fn push(name: &str, value: String, out: &mut Vec<Fact>) {
    if !value.is_empty() {
        out.push(Fact {
            name: name.trim().to_owned(),
            value,
        });
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Bool(false) => Some("no".to_owned()),
        Value::Number(n) => Some(match n.as_i64() {
            Some(whole) => wording::count(whole),
            None => wording::number(n.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::String(text) => Some(match text.parse::<DateTime<Utc>>() {
            Ok(at) => wording::date_time(at),
            Err(_) => text.clone(),
        }),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_become_names_and_values() {
        let read: Vec<(String, String)> = facts(&json!({
            "window_start": "2013-05-06T00:00:00Z",
            "labels": 2063,
            "segments": [{"name": "carrier", "mae": 16.5}],
            "measures": ["mae", "rmse"],
            "nothing": null,
        }))
        .into_iter()
        .map(|fact| (fact.name, fact.value))
        .collect();
        let expected = [
            ("labels", "2,063"),
            ("measures", "mae, rmse"),
            ("segments 1 / mae", "16.50"),
            ("segments 1 / name", "carrier"),
            ("window start", "6 May 2013, 00:00"),
        ];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
