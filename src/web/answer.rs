//! What handlers answer: a rendered page, or a failure that becomes a designed page. People never see the
//! text of an internal error, only the id under which the log has all of it. The headers that every answer
//! carries (content security policy and the like) are the application's.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::services::error::whole_seconds;
use crate::services::{Error, request_id};

use super::frame::Shell;

/// Renders a page.
pub fn page(template: &impl Template) -> Result<Response, Failure> {
    let html = template.render().map_err(Error::internal)?;
    Ok(Html(html).into_response())
}

/// Why there is no page, or no longer the one that was asked for.
#[derive(Debug)]
pub enum Failure {
    /// Nobody is signed in: to the sign-in page, and back here afterwards.
    SignInFirst { next: String },
    /// What a service or a query said.
    Service(Error),
}

impl Failure {
    /// There is no page at this address.
    #[must_use]
    pub fn page_not_found() -> Self {
        Self::Service(Error::not_found("this page"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Service(error.into())
    }
}

/// A failure as its page says it.
#[derive(Debug, Template)]
#[template(path = "pages/failure.html", escape = "page")]
pub struct FailurePage {
    pub shell: Shell,
    pub title: &'static str,
    pub text: String,
    pub advice: &'static str,
    pub request_id: Option<String>,
}

impl FailurePage {
    /// The page for an error, and its status.
    #[must_use]
    pub fn of(error: &Error, request_id: String) -> (StatusCode, Self) {
        let page = |title, text: String, advice| Self {
            shell: Shell::bare(title),
            title,
            text,
            advice,
            request_id: None,
        };
        match error {
            Error::NotFound { .. } => (
                StatusCode::NOT_FOUND,
                page(
                    "Not found",
                    sentence(&error.to_string()),
                    "It may have been removed, or the address may be mistyped.",
                ),
            ),
            Error::Forbidden(_) => (
                StatusCode::FORBIDDEN,
                page(
                    "No permission",
                    sentence(&error.to_string()),
                    "An administrator of the project can give you another role under Settings.",
                ),
            ),
            Error::Unauthenticated(_) => (
                StatusCode::UNAUTHORIZED,
                page(
                    "Signed out",
                    sentence(&error.to_string()),
                    "Sign in and try again.",
                ),
            ),
            Error::Invalid { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                page(
                    "That did not fit",
                    sentence(&error.to_string()),
                    "Go back, mend it, and send it again: nothing has been changed.",
                ),
            ),
            Error::Conflict(_) => (
                StatusCode::CONFLICT,
                page(
                    "Somebody was faster",
                    sentence(&error.to_string()),
                    "Go back and reload to see how things stand now: nothing has been changed.",
                ),
            ),
            Error::TooManyRequests { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                page(
                    "Too many attempts",
                    sentence(&error.to_string()),
                    "Please wait a little.",
                ),
            ),
            Error::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                Self {
                    request_id: Some(request_id),
                    ..page(
                        "Not available right now",
                        sentence(&error.to_string()),
                        "Nothing that was acknowledged is lost. Try again in a moment.",
                    )
                },
            ),
            Error::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                Self {
                    request_id: Some(request_id),
                    ..page(
                        "Something went wrong",
                        "The page could not be made, and it is our fault.".to_owned(),
                        "Try again. If it happens again, the id below leads to the cause in the log.",
                    )
                },
            ),
        }
    }
}

fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let mut text: String = letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = match self {
            Self::SignInFirst { next } => {
                let next = super::escape::path_segment(&next);
                return Redirect::to(&format!("/sign-in?next={next}")).into_response();
            }
            Self::Service(error) => error,
        };
        let request_id = request_id::current();
        if let Error::Internal(_) | Error::Unavailable { .. } = error {
            let chain = chain(&error);
            tracing::error!(%request_id, chain, "a page could not be made");
        }
        let (status, page) = FailurePage::of(&error, request_id);
        let mut response = match page.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => status.into_response(),
        };
        if let Some(wait) = error.retry_after() {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, whole_seconds(wait).into());
        }
        response
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        out.push_str(": ");
        out.push_str(&inner.to_string());
        cause = inner.source();
    }
    out
}
