//! Errors as RFC 9457 problem documents, in one place. What a person can act on is told in full; of an
//! internal error they learn a request id, under which the log has the whole chain.

use std::any::Any;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::services::error::{Error, FieldProblem, whole_seconds};
use crate::services::request_id;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind of problem it is; `about:blank` says that the status tells.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and, where possible, what to do.
    pub detail: String,
    /// What is wrong with each field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// What to quote when asking about an internal error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
    #[serde(skip)]
    #[schema(ignore)]
    shed: Option<Shed>,
}

/// Why a request that was right was sent away for now. It goes with the answer as an extension, so that it can
/// be counted in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// There was no room for its body.
    Memory,
    /// The database or a queue in front of it could not take it.
    Unavailable,
    /// Its caller has asked too often.
    TooOften,
    /// It took too long to read what was asked for.
    Slow,
    /// Too many requests were open.
    Requests,
}

impl Shed {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Memory,
        Self::Unavailable,
        Self::TooOften,
        Self::Slow,
        Self::Requests,
    ];

    /// The word used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Unavailable => "unavailable",
            Self::TooOften => "too_often",
            Self::Slow => "slow",
            Self::Requests => "requests",
        }
    }
}

impl Problem {
    /// A problem of that status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            request_id: None,
            retry_after: None,
            shed: None,
        }
    }

    /// A request is sent away for now.
    pub fn shed(
        status: StatusCode,
        shed: Shed,
        retry_after: Duration,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            retry_after: Some(retry_after),
            shed: Some(shed),
            ..Self::new(status, detail)
        }
    }

    fn with_errors(mut self, errors: Vec<FieldProblem>) -> Self {
        self.errors = errors;
        self
    }

    fn internal(error: &Error) -> Self {
        let request_id = request_id::current();
        tracing::error!(
            request_id,
            error = error as &dyn std::error::Error,
            "request failed"
        );
        Self {
            request_id: Some(request_id),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "something went wrong on our side; the log has it under the request id",
            )
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let told = error.to_string();
        match error {
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, told),
            Error::Invalid { fields, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, told).with_errors(fields)
            }
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, told),
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, told),
            Error::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, told),
            Error::TooManyRequests { retry_after, .. } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                Self::shed(status, Shed::TooOften, retry_after, told)
            }
            Error::Unavailable {
                retry_after,
                ref source,
                ..
            } => {
                if let Some(cause) = source {
                    let cause: &(dyn std::error::Error + 'static) = cause.as_ref();
                    tracing::warn!(error = cause, "request not answered for now");
                }
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::shed(status, Shed::Unavailable, retry_after, told)
            }
            Error::Internal(_) => Self::internal(&error),
        }
    }
}

impl From<sqlx::Error> for Problem {
    /// For the reads that go to storage directly.
    fn from(error: sqlx::Error) -> Self {
        Error::from(error).into()
    }
}

/// The answer where there is no route.
pub async fn no_such_route(uri: Uri) -> Problem {
    let told = format!(
        "there is no route {}; /api/v1/openapi.json lists them",
        uri.path()
    );
    Problem::new(StatusCode::NOT_FOUND, told)
}

/// The answer where there is a route, but not for the method; axum adds the header that names those there are.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let told = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, told)
}

/// The answer to a request whose handler panicked.
pub fn of_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text");
    Problem::internal(&Error::internal(text)).into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (retry_after, shed) = (self.retry_after, self.shed);
        let mut response = (status, axum::Json(self)).into_response();
        if let Some(shed) = shed {
            response.extensions_mut().insert(shed);
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = retry_after {
            headers.insert(RETRY_AFTER, whole_seconds(wait).into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    async fn rendered(error: Error) -> (StatusCode, Response<()>, Value) {
        let (parts, body) = Problem::from(error).into_response().into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let json = serde_json::from_slice(&bytes).expect("JSON");
        (parts.status, Response::from_parts(parts, ()), json)
    }

    #[tokio::test]
    async fn every_kind_of_error_has_its_status() {
        let wait = Duration::from_secs(3);
        for (error, status) in [
            (Error::not_found("model a"), 404),
            (Error::invalid("bad"), 422),
            (Error::Conflict("taken".into()), 409),
            (Error::Forbidden("no".into()), 403),
            (Error::Unauthenticated("who".into()), 401),
            (Error::unavailable(wait, "later"), 503),
            (
                Error::TooManyRequests {
                    retry_after: wait,
                    message: "slower".into(),
                },
                429,
            ),
            (Error::internal("boom"), 500),
        ] {
            let (found, response, body) = rendered(error).await;
            assert_eq!(found.as_u16(), status);
            assert_eq!(body["status"], status);
            assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        }
    }

    #[tokio::test]
    async fn field_problems_are_listed() {
        let error = Error::invalid_field("name", "must not be empty");
        let (_, _, body) = rendered(error).await;
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "name: must not be empty",
                "errors": [{ "field": "name", "cause": "must not be empty" }],
            })
        );
    }

    #[tokio::test]
    async fn an_internal_error_tells_its_request_id_and_nothing_else() {
        let error = Error::internal("relation \"secrets\" does not exist");
        let (_, _, body) = request_id::scope("request-7".into(), rendered(error)).await;
        assert_eq!(body["request_id"], "request-7");
        assert!(!body.to_string().contains("secrets"), "{body}");
    }

    #[tokio::test]
    async fn callers_are_told_how_to_sign_in_and_when_to_come_back() {
        let (_, response, _) = rendered(Error::Unauthenticated("who".into())).await;
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let wait = Duration::from_millis(2_100);
        let (_, response, _) = rendered(Error::unavailable(wait, "later")).await;
        assert_eq!(response.headers()[RETRY_AFTER], "3");
    }
}
