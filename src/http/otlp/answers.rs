//! Answers as the protocol wants them: an export response with `partial_success` where there is something to tell, or
//! a `google.rpc.Status`; in the encoding of the request. They are a few fields each, written by hand.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::problem::Problem;
use super::PROTOBUF;
use crate::formats::otlp::{Encoding, Signal};
use crate::services::ingest::Exported;

/// How much of a text is told; a response may have 4 MiB, and nobody reads that.
const MOST_TOLD: usize = 2_000;

/// When an exporter whose body was too slow may try again, in seconds.
const AFTER_SLOW: HeaderValue = HeaderValue::from_static("1");

/// An export response.
pub(super) fn success(encoding: Encoding, signal: Signal, exported: &Exported) -> Response {
    match encoding {
        Encoding::Protobuf => {
            let body = export_response(exported);
            ([(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF))], body).into_response()
        }
        Encoding::Json if is_plain(exported) => Json(json!({})).into_response(),
        Encoding::Json => {
            let rejected = match signal {
                Signal::Logs => "rejectedLogRecords",
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
            };
            // 64-bit numbers are text in protobuf's JSON.
            let partial = json!({
                rejected: exported.refused.to_string(), "errorMessage": short(&exported.told)
            });
            Json(json!({ "partialSuccess": partial })).into_response()
        }
    }
}

/// Whether everything was taken and there is nothing to tell: then `partial_success` must not be there.
fn is_plain(exported: &Exported) -> bool {
    exported.refused == 0 && exported.told.is_empty()
}

/// An export response in protobuf; the fields of all signals have the same numbers.
pub(super) fn export_response(exported: &Exported) -> Vec<u8> {
    let mut response = Vec::new();
    if !is_plain(exported) {
        let mut partial = Vec::new();
        put_number(&mut partial, 1, exported.refused);
        put_bytes(&mut partial, 2, short(&exported.told).as_bytes());
        put_bytes(&mut response, 1, &partial);
    }
    response
}

fn short(text: &str) -> &str {
    let end = (0..=MOST_TOLD.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// A failure. Only 429, 502, 503 and 504 make an exporter try again, so what may succeed later is one of these:
/// a body that came too slowly is.
pub(super) fn failure(encoding: Encoding, problem: Problem) -> Response {
    let told = problem.detail.clone();
    let status = match problem.status {
        408 => StatusCode::SERVICE_UNAVAILABLE,
        // What is wrong with the data and always will be.
        422 => StatusCode::BAD_REQUEST,
        status => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let slow = problem.status == 408;
    // Its headers say when to come back and how to present a token, its extensions why it was sent away.
    let (mut head, _) = problem.into_response().into_parts();
    head.status = status;
    if slow {
        head.headers
            .insert(axum::http::header::RETRY_AFTER, AFTER_SLOW);
    }
    let body = match encoding {
        Encoding::Protobuf => {
            head.headers
                .insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
            status_message(None, &told, None)
        }
        Encoding::Json => {
            let json = HeaderValue::from_static(super::JSON);
            head.headers.insert(CONTENT_TYPE, json);
            json!({ "message": short(&told) }).to_string().into_bytes()
        }
    };
    head.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(head, body.into())
}

/// How long a failure asks its sender to wait, in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(axum::http::header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok()
}

/// A `google.rpc.Status`, with a `google.rpc.RetryInfo` if it may be tried again.
pub(super) fn status_message(code: Option<u8>, told: &str, retry_seconds: Option<u64>) -> Vec<u8> {
    let mut status = Vec::new();
    if let Some(code) = code {
        put_number(&mut status, 1, u64::from(code));
    }
    put_bytes(&mut status, 2, short(told).as_bytes());
    if let Some(seconds) = retry_seconds {
        let (mut duration, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
        put_number(&mut duration, 1, seconds);
        put_bytes(&mut info, 1, &duration);
        put_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        put_bytes(&mut any, 2, &info);
        put_bytes(&mut status, 3, &any);
    }
    status
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// A number; zero is what is not there.
fn put_number(into: &mut Vec<u8>, field: u8, number: u64) {
    if number > 0 {
        into.push(field << 3);
        put_varint(into, number);
    }
}

fn put_bytes(into: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        into.push(field << 3 | 2);
        put_varint(into, bytes.len() as u64);
        into.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_protobuf() {
        let exported = Exported {
            refused: 300,
            told: "why".to_owned(),
            ..Exported::default()
        };
        let expected = [0x0a, 8, 0x08, 0xac, 0x02, 0x12, 3, b'w', b'h', b'y'];
        assert_eq!(export_response(&exported), expected);
        assert!(export_response(&Exported::default()).is_empty());
    }

    #[test]
    fn a_warning_is_a_partial_success_that_refuses_nothing() {
        let exported = Exported {
            told: "so".to_owned(),
            ..Exported::default()
        };
        assert_eq!(export_response(&exported), [0x0a, 4, 0x12, 2, b's', b'o']);
    }

    #[test]
    fn a_status_may_say_when_to_come_back() {
        let status = status_message(Some(14), "later", Some(5));
        assert_eq!(status[..2], [0x08, 14]);
        assert!(status.ends_with(&[0x12, 4, 0x0a, 2, 0x08, 5]), "{status:?}");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let text = "é".repeat(MOST_TOLD);
        assert_eq!(short(&text).len(), MOST_TOLD);
        let text = format!("a{text}");
        assert_eq!(short(&text).len(), MOST_TOLD - 1);
    }
}
