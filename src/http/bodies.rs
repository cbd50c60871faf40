//! What requests carry: bodies within their limits, and extractors that answer with problem documents where
//! axum's own would answer with plain text.
//!
//! There are two limits, because a small compressed body can hold a large one: what is sent, and what it
//! unpacks to. A body that says its length is refused before it is read.

use axum::body::{Body as Content, Bytes};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::Problem;
use crate::formats::Format;

/// The largest body of a request, as sent.
pub const MOST_BYTES_SENT: usize = 16 << 20;
/// The largest file or batch, once unpacked.
const MOST_BYTES_UNPACKED: usize = 64 << 20;

/// Middleware that holds every body to its limit as sent, and refuses encodings other than gzip.
pub async fn limit(request: Request, next: Next) -> Response {
    if let Some(refusal) = refusal_by_head(request.headers()) {
        return refusal.into_response();
    }
    let limited = request.map(|body| Content::new(Limited::new(body, MOST_BYTES_SENT)));
    next.run(limited).await
}

fn refusal_by_head(headers: &HeaderMap) -> Option<Problem> {
    let header = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let encoding = header(CONTENT_ENCODING).unwrap_or("identity");
    if !matches!(encoding, "identity" | "gzip") {
        let told = format!("Content-Encoding {encoding:?} is not known; send gzip or none");
        return Some(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    length
        .is_some_and(|length| length > MOST_BYTES_SENT)
        .then(too_large)
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "a body may have {} MiB as sent and {} MiB unpacked; send smaller parts, as `bellwether import` \
             does",
            MOST_BYTES_SENT >> 20,
            MOST_BYTES_UNPACKED >> 20
        ),
    )
}

/// A batch or file, with the format its `Content-Type` names.
#[derive(Debug)]
pub struct Upload {
    pub format: Format,
    pub body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let content_type = request
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default());
        let format = content_type
            .and_then(Format::from_content_type)
            .ok_or_else(|| unknown_format(content_type))?;
        let body = Limited::new(request.into_body(), MOST_BYTES_UNPACKED)
            .collect()
            .await
            .map_err(|error| unreadable(error.as_ref()))?
            .to_bytes();
        crate::faults::crash_point("intake.body_read");
        Ok(Self { format, body })
    }
}

fn unknown_format(content_type: Option<&str>) -> Problem {
    let present = content_type.map_or_else(
        || "the request has no Content-Type".to_owned(),
        |content_type| format!("Content-Type {content_type:?} is not known"),
    );
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "{present}; send application/json, application/x-ndjson, text/csv or \
             application/vnd.apache.parquet"
        ),
    )
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if causes.any(<dyn std::error::Error>::is::<LengthLimitError>) {
        return too_large();
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        "the body could not be read to its end; if it says that it is gzip, is it?",
    )
}

/// A JSON body.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Body<T>(pub T);

/// Parameters behind the `?`.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Parameters in the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match &rejection {
            JsonRejection::BytesRejection(error) => unreadable(error),
            _ => Self::new(rejection.status(), rejection.body_text()),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
