//! Limits on time and number, so that more is asked than can be done without anything growing without bound:
//! how long a sender waits for the database, how long a read may take, and how many requests are open at once.
//! What is too much is answered with a time to come back, as early as it is known.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::observe::Instruments;
use super::problem::{Problem, Shed};
use crate::services::patience;

/// How long a request may take that changes nothing.
const LONGEST_READ: Duration = Duration::from_secs(15);
/// How long a form may take to arrive.
const LONGEST_FORM: Duration = Duration::from_secs(10);
/// When a caller who met too many others should try again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The most header fields of a request, and the most bytes of their names and values together.
const MOST_FIELDS: usize = 100;
const MOST_FIELD_BYTES: usize = 32 << 10;

/// What is taken from the head of a request as long as the database answers in time; see [`patience`].
#[derive(Debug)]
pub struct Timely<E>(pub E);

impl<E, S> FromRequestParts<S> for Timely<E>
where
    E: FromRequestParts<S, Rejection = Problem>,
    S: Send + Sync,
    PgPool: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pool = PgPool::from_ref(state);
        patience::answered(&pool, E::from_request_parts(parts, state))
            .await?
            .map(Self)
    }
}

/// Middleware that gives up requests that only read and take too long. A change goes on: it could be left
/// half done for all that its caller would know.
pub async fn bound_reads(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match tokio::time::timeout(LONGEST_READ, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::shed(
            StatusCode::SERVICE_UNAVAILABLE,
            Shed::Slow,
            RETRY_AFTER,
            "reading this takes too long at present",
        )
        .into_response(),
    }
}

/// Middleware for routes that take forms: gives up one that does not arrive. What is sent elsewhere is read by
/// [`super::bodies`].
pub async fn bound_forms(request: Request, next: Next) -> Response {
    let limit = tokio::time::Instant::now() + LONGEST_FORM;
    let in_time = request.map(|body| {
        let parts = futures::stream::unfold(body.into_data_stream(), move |mut parts| async move {
            match tokio::time::timeout_at(limit, parts.next()).await {
                Ok(Some(part)) => Some((part, parts)),
                Ok(None) => None,
                Err(late) => Some((Err(axum::Error::new(late)), parts)),
            }
        });
        Body::from_stream(parts)
    });
    next.run(in_time).await
}

/// The requests that may be open at once.
#[derive(Debug, Clone)]
pub struct OpenRequests {
    free: Arc<Semaphore>,
    instruments: Instruments,
}

impl OpenRequests {
    /// At most so many; those beyond are counted.
    #[must_use]
    pub fn new(most: usize, instruments: Instruments) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            instruments,
        }
    }
}

/// Around everything: refuses heads that are too large, and requests beyond what may be open.
pub async fn bound_requests(open: &OpenRequests, request: Request, next: Next) -> Response {
    if has_large_head(request.headers()) {
        let told = format!(
            "a request may have {MOST_FIELDS} header fields and {} KiB of them",
            MOST_FIELD_BYTES >> 10
        );
        return Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, told).into_response();
    }
    let Ok(_permit) = open.free.try_acquire() else {
        open.instruments.shed(Shed::Requests, 1);
        return Problem::shed(
            StatusCode::SERVICE_UNAVAILABLE,
            Shed::Requests,
            RETRY_AFTER,
            "too many requests are open; try again in a moment",
        )
        .into_response();
    };
    next.run(request).await
}

fn has_large_head(headers: &HeaderMap) -> bool {
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum::<usize>();
    headers.len() > MOST_FIELDS || bytes > MOST_FIELD_BYTES
}
