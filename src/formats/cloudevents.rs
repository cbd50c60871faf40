//! `CloudEvents`, as serving platforms send them: an event in headers and body, in a JSON document, or several in a
//! list. Versions 1.0 and 0.3 differ in nothing that matters here. Of an event only the envelope is read; what it
//! carries stays bytes.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;

use super::FormatError;
use super::json::{Elements, Object};
use super::raw::{check_name, shown};
use crate::domain::inference::{Content, Half, InferenceEvent};

/// The longest id that is taken, as of predictions.
const MOST_ID_BYTES: usize = 190;
/// Events of one batch.
const MOST_EVENTS: usize = 10_000;
/// Where platforms say which model it is: KServe, Seldon and MLServer.
const MODELS: [&str; 2] = ["inferenceservicename", "modelid"];

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Attributes in headers, the data in the body.
    Binary,
    Structured,
    Batch,
}

impl Mode {
    /// The mode of a `Content-Type`.
    #[must_use]
    pub fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Self::Structured,
            "application/cloudevents-batch+json" => Self::Batch,
            _ => Self::Binary,
        }
    }
}

/// An event, its envelope read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The model as the platform calls it, if it does.
    pub model: Option<String>,
    pub kind: EventKind,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    Inference(InferenceEvent),
    /// Of another type; it is counted under its name.
    Other(String),
    /// One of a batch whose envelope cannot be read; the others are sound.
    Damaged,
}

/// Reads events. `header` gives the header of that name as text.
///
/// # Errors
/// When an envelope cannot be read: it names what is missing. Of a batch when that is so of all of them; otherwise such an
/// event costs itself alone.
pub fn read<'h>(
    mode: Mode,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    received_at: i64,
) -> Result<Vec<Envelope>, FormatError> {
    match mode {
        Mode::Binary => {
            let attribute = |name: &str| header(&format!("ce-{name}")).map(Cow::Borrowed);
            envelope(attribute, || Ok(body.to_vec()), received_at).map(|event| vec![event])
        }
        Mode::Structured => {
            let text = utf8(body)?;
            structured(text.trim(), received_at).map(|event| vec![event])
        }
        Mode::Batch => {
            let list = body.trim_ascii();
            // Whatever is wrong inside an event is noticed when it is read.
            if !list.starts_with(b"[") {
                return Err(damaged("a batch is a JSON list of events"));
            }
            let mut events = Vec::new();
            let mut first_fault = None;
            let mut are_sound = 0;
            let mut elements = Elements::of(list, 0);
            while let Some(event) = elements.next()? {
                if events.len() == MOST_EVENTS {
                    return Err(damaged("a batch may have 10000 events"));
                }
                let read = utf8(&list[event]).and_then(|text| structured(text, received_at));
                events.push(match read {
                    Ok(event) => {
                        are_sound += 1;
                        event
                    }
                    Err(fault) => {
                        first_fault.get_or_insert(fault);
                        Envelope {
                            model: None,
                            kind: EventKind::Damaged,
                        }
                    }
                });
            }
            match first_fault {
                Some(fault) if are_sound == 0 => Err(fault),
                _ => Ok(events),
            }
        }
    }
}

fn damaged(cause: impl Into<String>) -> FormatError {
    FormatError::CloudEvent {
        cause: cause.into(),
    }
}

fn utf8(body: &[u8]) -> Result<&str, FormatError> {
    std::str::from_utf8(body)
        .map_err(|error| damaged(format!("byte {} is not UTF-8", error.valid_up_to())))
}

fn structured(text: &str, received_at: i64) -> Result<Envelope, FormatError> {
    let object: Object = serde_json::from_str(text).map_err(|error| {
        damaged(format!(
            "an event is JSON: {}",
            shown(&error.to_string(), 200)
        ))
    })?;
    let members = object
        .into_entries()
        .map_err(|_| damaged("an event has more than 10000 names"))?;
    let member = |name: &str| {
        let found = members.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.get()).filter(|v| *v != "null")
    };
    let attribute = |name: &str| {
        let text: String = serde_json::from_str(member(name)?).ok()?;
        Some(Cow::Owned(text))
    };
    let data = || {
        if let Some(encoded) = member("data_base64") {
            let text: String =
                serde_json::from_str(encoded).map_err(|_| damaged("data_base64 is text"))?;
            return STANDARD
                .decode(text)
                .map_err(|_| damaged("data_base64 is not base64"));
        }
        Ok(member("data").unwrap_or("null").as_bytes().to_vec())
    };
    envelope(attribute, data, received_at)
}

fn envelope<'a>(
    attribute: impl Fn(&str) -> Option<Cow<'a, str>>,
    data: impl FnOnce() -> Result<Vec<u8>, FormatError>,
    received_at: i64,
) -> Result<Envelope, FormatError> {
    let needed = |name: &str| {
        attribute(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| damaged(format!("an event needs the attribute {name:?}")))
    };
    let version = needed("specversion")?;
    if !["1.0", "0.3"].contains(&&*version) {
        return Err(damaged(format!(
            "specversion {:?} is not known; 1.0 is, and 0.3",
            shown(&version, 20)
        )));
    }
    let (id, kind) = (needed("id")?, needed("type")?);
    // One that is there and says nothing, as MLServer's outside of Kubernetes, does not hide the other.
    let mut said = MODELS.iter().filter_map(|name| attribute(name));
    let model = said.find(|model| check_name(model).is_ok());
    let model = model.map(Cow::into_owned);
    let half = match &*kind {
        "org.kubeflow.serving.inference.request" | "io.seldon.serving.inference.request" => {
            Half::Request
        }
        "org.kubeflow.serving.inference.response" | "io.seldon.serving.inference.response" => {
            Half::Response
        }
        other => {
            let kind = EventKind::Other(shown(other, 120));
            return Ok(Envelope { model, kind });
        }
    };
    // Seldon's events have ids of their own and name the request that both are about.
    let pair = attribute("requestid")
        .filter(|id| !id.is_empty())
        .unwrap_or(id);
    if pair.len() > MOST_ID_BYTES || check_name(&pair).is_err() {
        return Err(damaged(format!(
            "the id of an event has up to {MOST_ID_BYTES} bytes and no control characters"
        )));
    }
    let at = attribute("time").and_then(|time| {
        let time = DateTime::parse_from_rfc3339(&time).ok()?;
        Some(time.timestamp_micros())
    });
    let kind = EventKind::Inference(InferenceEvent {
        pair: pair.into_owned(),
        half,
        content: Content {
            at,
            received_at,
            version: None,
            data: data()?,
        },
    });
    Ok(Envelope { model, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn binary(attributes: &[(&str, &str)], body: &[u8]) -> Result<Vec<Envelope>, FormatError> {
        let headers: HashMap<String, String> = (attributes.iter())
            .map(|(name, value)| (format!("ce-{name}"), (*value).to_owned()))
            .collect();
        read(
            Mode::Binary,
            |name| headers.get(name).map(String::as_str),
            body,
            7,
        )
    }

    const KSERVE: [(&str, &str); 6] = [
        ("specversion", "1.0"),
        ("id", "one"),
        ("type", "org.kubeflow.serving.inference.request"),
        ("source", "http://localhost:9081/"),
        ("time", "2026-03-01T10:00:00.5Z"),
        ("inferenceservicename", "fares"),
    ];

    #[test]
    fn an_event_means_the_same_in_every_mode() {
        let found = binary(&KSERVE, br#"{"instances":[1]}"#).expect("an event");
        let expected = Envelope {
            model: Some("fares".to_owned()),
            kind: EventKind::Inference(InferenceEvent {
                pair: "one".to_owned(),
                half: Half::Request,
                content: Content {
                    at: Some(1_772_359_200_500_000),
                    received_at: 7,
                    version: None,
                    data: br#"{"instances":[1]}"#.to_vec(),
                },
            }),
        };
        assert_eq!(found, std::slice::from_ref(&expected));
        let document = r#"{"specversion":"1.0","id":"one","type":"org.kubeflow.serving.inference.request",
            "time":"2026-03-01T10:00:00.5Z","inferenceservicename":"fares","data":{"instances":[1]}}"#;
        let found = read(Mode::Structured, |_| None, document.as_bytes(), 7);
        assert_eq!(found.expect("an event"), std::slice::from_ref(&expected));
        let encoded = document.replace(
            r#""data":{"instances":[1]}"#,
            r#""data_base64":"eyJpbnN0YW5jZXMiOlsxXX0=""#,
        );
        let batch = format!("[{document}, {encoded}]");
        let found = read(Mode::Batch, |_| None, batch.as_bytes(), 7);
        assert_eq!(found.expect("events"), [expected.clone(), expected]);
    }

    #[test]
    fn the_halves_of_seldon_have_one_request() {
        fn of(kind: &str, id: &str) -> Envelope {
            let attributes = [
                ("specversion", "0.3"),
                ("id", id),
                ("requestid", "r"),
                ("modelid", "m"),
                ("type", kind),
            ];
            binary(&attributes, b"{}").expect("an event").remove(0)
        }
        for kind in ["request", "response"] {
            let found = of(&format!("io.seldon.serving.inference.{kind}"), kind);
            assert_eq!(found.model.as_deref(), Some("m"));
            assert!(matches!(found.kind, EventKind::Inference(event) if event.pair == "r"));
        }
        let other = of("io.seldon.serving.feedback", "f");
        let named = EventKind::Other("io.seldon.serving.feedback".to_owned());
        assert_eq!(other.kind, named);
    }

    #[test]
    fn an_event_without_what_it_needs_is_refused_by_name() {
        for missing in ["specversion", "id", "type"] {
            let rest: Vec<_> = KSERVE.into_iter().filter(|(n, _)| *n != missing).collect();
            let error = binary(&rest, b"").expect_err("refused").to_string();
            assert!(error.contains(missing), "{error}");
        }
        let long = "x".repeat(MOST_ID_BYTES + 1);
        let mut attributes = KSERVE;
        attributes[1].1 = &long;
        binary(&attributes, b"").expect_err("the id is too long");
        for bad in ["[", "{}", "[{]", "[1]"] {
            read(Mode::Batch, |_| None, bad.as_bytes(), 7).expect_err(bad);
        }
    }
}
