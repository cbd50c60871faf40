//! gRPC calls of one request and one answer, as far as OTLP needs them.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http_body_util::{BodyExt, Full};

use super::super::ApiState;
use super::super::auth::{Authorised, Ingest};
use super::super::bodies::Bodies;
use super::super::intake::housed;
use super::super::overload::Timely;
use super::super::problem::Problem;
use super::{answers, export};
use crate::formats::otlp::{Encoding, Signal};
use crate::services::ingest::Exported;

const GRPC: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// A flag and a length of four bytes stand before each message.
const PREFIX: usize = 5;

/// Codes of gRPC.
mod code {
    pub const OK: u8 = 0;
    pub const INVALID_ARGUMENT: u8 = 3;
    pub const PERMISSION_DENIED: u8 = 7;
    pub const RESOURCE_EXHAUSTED: u8 = 8;
    pub const UNIMPLEMENTED: u8 = 12;
    pub const INTERNAL: u8 = 13;
    pub const UNAVAILABLE: u8 = 14;
    pub const UNAUTHENTICATED: u8 = 16;
}

/// Whether a request is a gRPC call.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    content_type.is_some_and(|said| said == GRPC || said.starts_with("application/grpc+proto"))
}

/// Answers a call.
pub(super) async fn call(state: ApiState, signal: Signal, request: Request) -> Response {
    if !is_grpc(request.headers()) {
        let told = "this is the path of a gRPC method; OTLP over HTTP is taken at /v1/logs, /v1/traces and /v1/metrics";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told).into_response();
    }
    match take(&state, signal, request).await {
        Ok(exported) => success(&exported),
        Err(problem) => failure(problem),
    }
}

async fn take(state: &ApiState, signal: Signal, request: Request) -> Result<Exported, Problem> {
    let (mut head, body) = request.into_parts();
    let caller = Timely::<Authorised<Ingest>>::from_request_parts(&mut head, state).await?;
    // Calls pack their messages, not their bodies.
    head.headers.remove(CONTENT_ENCODING);
    let (body, room) = (state.bodies)
        .receive_export(&head.headers, body, PREFIX)
        .await?;
    let (message, packed) =
        message(&body).map_err(|told| Problem::new(StatusCode::BAD_REQUEST, told))?;
    if !packed {
        let message = body.slice_ref(message);
        let (message, _room) = housed(message, room);
        return export(state, &caller.0, signal, Encoding::Protobuf, message).await;
    }
    let (message, room) = {
        // The packed bytes are needed no longer than their unpacking takes.
        let message = body.slice_ref(message);
        drop((body, room));
        unpack(&state.bodies, &head.headers, message).await?
    };
    let (message, _room) = housed(message, room);
    export(state, &caller.0, signal, Encoding::Protobuf, message).await
}

/// The one message of a call, and whether it is packed.
fn message(body: &[u8]) -> Result<(&[u8], bool), &'static str> {
    let (prefix, message) = body
        .split_first_chunk::<PREFIX>()
        .ok_or("the call has no message")?;
    let [flag, length @ ..] = *prefix;
    if u32::from_be_bytes(length) as usize != message.len() {
        return Err("the call has another length than its message says");
    }
    match flag {
        0 => Ok((message, false)),
        1 => Ok((message, true)),
        _ => Err("the message's flag is neither 0 nor 1"),
    }
}

/// Unpacks a message within the limits of all bodies.
async fn unpack(
    bodies: &Bodies,
    headers: &HeaderMap,
    message: Bytes,
) -> Result<(Bytes, super::super::bodies::Room), Problem> {
    let said = headers.get(ENCODING).cloned();
    let said = said.unwrap_or(HeaderValue::from_static("none"));
    if said != "gzip" {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("messages packed with {said:?} are not understood; gzip is"),
        ));
    }
    let mut packed = HeaderMap::new();
    packed.insert(CONTENT_ENCODING, said);
    bodies.receive(&packed, Body::from(message)).await
}

fn head(status: u8) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(STATUS, u64::from(status).into());
    headers
}

fn success(exported: &Exported) -> Response {
    let message = answers::export_response(exported);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    let body = Full::new(Bytes::from(framed)).with_trailers(async { Some(Ok(head(code::OK))) });
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(ACCEPTED, HeaderValue::from_static("identity,gzip"));
    response
}

/// A call that failed. What may succeed later is UNAVAILABLE, with the time to come back; what was too large is
/// RESOURCE_EXHAUSTED without one, which says that it always will be.
fn failure(problem: Problem) -> Response {
    let (status, told) = (problem.status, problem.detail.clone());
    let answered = problem.into_response();
    let retry = match status {
        408 | 429 | 502..=504 => Some(answers::retry_after(answered.headers()).unwrap_or(1)),
        _ => None,
    };
    let number = match status {
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        413 => code::RESOURCE_EXHAUSTED,
        501 => code::UNIMPLEMENTED,
        _ if retry.is_some() => code::UNAVAILABLE,
        400..=499 => code::INVALID_ARGUMENT,
        _ => code::INTERNAL,
    };
    let mut response = ended(number, &told, retry);
    // Why it was sent away is counted by whoever looks at the answer.
    *response.extensions_mut() = answered.into_parts().0.extensions;
    response
}

/// The answer where there is no such method.
pub(super) fn unknown_method() -> Response {
    ended(
        code::UNIMPLEMENTED,
        "there are the Export methods of LogsService, TraceService and MetricsService",
        None,
    )
}

/// An answer that is nothing but its end.
fn ended(number: u8, told: &str, retry: Option<u64>) -> Response {
    let mut headers = head(number);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(told)) {
        headers.insert(MESSAGE, message);
    }
    let details = STANDARD_NO_PAD.encode(answers::status_message(Some(number), told, retry));
    if let Ok(details) = HeaderValue::from_str(&details) {
        headers.insert(DETAILS, details);
    }
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    response
}

/// A text as the protocol puts it into a header: what is not printable ASCII, and `%`, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes().take(1_000) {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_whole_message() {
        assert_eq!(
            message(&[0, 0, 0, 0, 2, 7, 8]).expect("whole"),
            (&[7, 8][..], false)
        );
        assert_eq!(
            message(&[1, 0, 0, 0, 1, 9]).expect("whole"),
            (&[9][..], true)
        );
        for bad in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 3, 7, 8],
            &[0, 0, 0, 0, 1, 7, 8],
            &[2, 0, 0, 0, 0],
        ] {
            message(bad).expect_err("not a message");
        }
    }

    #[test]
    fn failures_have_the_codes_that_exporters_act_on() {
        for (status, number, retried) in [
            (400, "3", false),
            (401, "16", false),
            (403, "7", false),
            (408, "14", true),
            (413, "8", false),
            (415, "3", false),
            (422, "3", false),
            (429, "14", true),
            (500, "13", false),
            (503, "14", true),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let response = failure(Problem::new(status, "50 % é"));
            assert_eq!(response.headers()[STATUS], number, "{status}");
            assert_eq!(response.headers()[MESSAGE], "50 %25 %C3%A9");
            let details = response.headers()[DETAILS].as_bytes();
            let details = STANDARD_NO_PAD.decode(details).expect("base64");
            let says = b"google.rpc.RetryInfo";
            let tells = details.windows(says.len()).any(|part| part == says);
            assert_eq!(tells, retried, "{status}");
        }
    }
}
