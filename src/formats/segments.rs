//! The segments of a row, in each of the forms they come in.

use super::raw::{Fault, Raw, canonical_name};

/// Segments of a row, and different ones over all rows of a body.
pub(super) const MAX_SEGMENTS: usize = 100;

/// Segments come as an object, as a list of `name=value`, or as one text of these, separated by semicolons.
pub(super) fn into_segments(raw: Raw<'_>) -> Result<Vec<(String, String)>, Fault> {
    let mut segments = Segments::default();
    match raw {
        Raw::Object(entries) => {
            for (name, value) in entries {
                if !value.is_null() {
                    segments.add(&name, value)?;
                }
            }
        }
        Raw::List(items) => {
            for item in items {
                match item {
                    Raw::Text(text) => segments.add_pair(&text)?,
                    other => return Err(other.not("text of the form name=value")),
                }
            }
        }
        other => {
            let text = other.into_text()?;
            for pair in text.split(';').filter(|pair| !pair.is_empty()) {
                segments.add_pair(pair)?;
            }
        }
    }
    Ok(segments.0)
}

#[derive(Default)]
struct Segments(Vec<(String, String)>);

impl Segments {
    fn add_pair(&mut self, pair: &str) -> Result<(), Fault> {
        match pair.split_once('=') {
            Some((name, value)) => self.add(name, Raw::Text(value.into())),
            None => Err(Raw::Text(pair.into()).not("of the form name=value")),
        }
    }

    fn add(&mut self, name: &str, value: Raw<'_>) -> Result<(), Fault> {
        if self.0.len() == MAX_SEGMENTS {
            return Err(Fault::too_large(format!(
                "holds more than {MAX_SEGMENTS} segments"
            )));
        }
        let in_segment = |fault: Fault| fault.in_field(&format!("segments.{name}"));
        let canonical = canonical_name(name).map_err(|fault| Fault {
            cause: format!("the name {}", fault.cause),
            ..in_segment(fault)
        })?;
        if self.0.iter().any(|(known, _)| *known == canonical) {
            return Err(Fault::duplicate(&format!("segments.{name}")));
        }
        let value = value.into_segment_value().map_err(in_segment)?;
        self.0.push((canonical.into_owned(), value));
        Ok(())
    }
}
