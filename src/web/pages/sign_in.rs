//! Signing in and out.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::services::access::{self, Site};
use crate::services::{Error, Services};
use crate::web::answer::{Failure, page};
use crate::web::frame::Shell;
use crate::web::visitor::{SignedForm, own_address, require_own_site, session_cookie};

/// The sign-in form.
#[derive(Debug, Template)]
#[template(path = "pages/sign_in.html", escape = "page")]
pub struct SignInPage {
    pub shell: Shell,
    pub next: String,
    pub email: String,
    pub problem: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Next {
    next: Option<String>,
}

/// `GET /sign-in`
pub async fn show(Query(query): Query<Next>) -> Result<Response, Failure> {
    page(&SignInPage {
        shell: Shell::bare("Sign in"),
        next: own_address(query.next.as_deref()).to_owned(),
        email: String::new(),
        problem: None,
    })
}

#[derive(Deserialize)]
pub struct Credentials {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /sign-in`
pub async fn sign_in(
    State(services): State<Services>,
    headers: HeaderMap,
    Form(form): Form<Credentials>,
) -> Result<Response, Failure> {
    let site = Site::at(&services.public_url)?;
    require_own_site(&site, &headers)?;
    let now = services.wall.now();
    let next = own_address(Some(&form.next));
    match access::sign_in(&services.pool, now, &form.email, &form.password).await {
        Ok(session) => with_cookie(next, &site.set_cookie(&session.cookie_value)),
        Err(refusal @ (Error::Unauthenticated(_) | Error::TooManyRequests { .. })) => {
            let status = match refusal {
                Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
                _ => StatusCode::TOO_MANY_REQUESTS,
            };
            let again = page(&SignInPage {
                shell: Shell::bare("Sign in"),
                next: next.to_owned(),
                email: form.email,
                problem: Some(refusal.to_string()),
            })?;
            Ok((status, again).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Deserialize)]
pub struct Nothing {}

/// `POST /sign-out`
pub async fn sign_out(
    State(services): State<Services>,
    headers: HeaderMap,
    _form: SignedForm<Nothing>,
) -> Result<Response, Failure> {
    let site = Site::at(&services.public_url)?;
    if let Some(cookie) = session_cookie(&site, &headers) {
        access::sign_out(&services.pool, services.wall.now(), cookie).await?;
    }
    with_cookie("/sign-in", &site.clear_cookie())
}

/// A redirect that sets a cookie.
pub fn with_cookie(to: &str, cookie: &str) -> Result<Response, Failure> {
    let cookie = HeaderValue::from_str(cookie).map_err(Error::internal)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response())
}
