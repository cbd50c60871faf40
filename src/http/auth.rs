//! Access to the JSON API, as an extractor: a handler that takes `Authorised<Operate>` cannot be reached
//! without that scope. A token may come as `Authorization: Bearer`, as the password of
//! `Authorization: Basic` (for senders that know nothing else) or as `X-API-Key`; the pages' scripts use the
//! session cookie, and then must prove for every change that they are our pages.
//!
//! A credential that is presented and wrong is refused; it never falls back to another one.

use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sqlx::PgPool;

use super::overload::Timely;
use super::problem::Problem;
use crate::domain::access::Scope;
use crate::services::Error;
use crate::services::access::browser::Provenance;
use crate::services::access::{
    Principal, Session, Site, WallClock, authenticate_token, csrf_matches, session,
};
use crate::services::ingest::Intake;
use crate::services::patience;

const API_KEY: &str = "x-api-key";
/// Where a script of our pages puts the token of its session.
pub const CSRF_HEADER: &str = "x-csrf-token";
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The scope a route needs, as a type.
pub trait Needs: Send + Sync {
    /// That scope.
    const SCOPE: Scope;
}

macro_rules! scopes_as_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )+};
}

scopes_as_types! {
    /// For routes that take data in.
    Ingest,
    /// For routes that only show.
    Read,
    /// For routes that act on alerts and runs.
    Operate,
    /// For routes that change the project.
    Admin,
}

/// A caller who may do what needs the scope `N`.
#[derive(Debug)]
pub struct Authorised<N> {
    /// Who is asking, for which project.
    pub principal: Principal,
    needs: PhantomData<N>,
}

impl<N, S> FromRequestParts<S> for Authorised<N>
where
    N: Needs,
    S: Send + Sync,
    PgPool: FromRef<S>,
    Intake: FromRef<S>,
    WallClock: FromRef<S>,
    Site: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pool = PgPool::from_ref(state);
        let now = WallClock::from_ref(state).now();
        let site = Site::from_ref(state);
        let principal = match Credential::presented(&parts.headers, &site)? {
            // Data arrive in many requests at once, which share their look-ups.
            Credential::Token(token) if N::SCOPE == Scope::Ingest => {
                Intake::from_ref(state).authenticate(now, &token).await?
            }
            Credential::Token(token) => authenticate_token(&pool, now, &token).await?,
            Credential::Cookie(value) => {
                let session = session(&pool, now, value).await?.ok_or_else(ended)?;
                refuse_forgery(parts, &site, &session)?;
                session.principal()
            }
        };
        principal.require(N::SCOPE)?;
        Ok(Self {
            principal,
            needs: PhantomData,
        })
    }
}

/// Who sends data.
#[derive(Debug)]
pub enum Sender {
    /// Who it was when last looked up, and the token to ask with. Whoever relies on it has to find out before anything
    /// is kept, or said of the project, whether it still holds.
    Presumed(Principal, String),
    /// Who it is.
    Known(Principal),
}

impl Sender {
    /// Who it is, asked if nobody has.
    pub async fn known<S>(self, state: &S) -> Result<Principal, Problem>
    where
        PgPool: FromRef<S>,
        Intake: FromRef<S>,
        WallClock: FromRef<S>,
    {
        let token = match self {
            Self::Known(principal) => return Ok(principal),
            Self::Presumed(_, token) => token,
        };
        let (intake, now) = (Intake::from_ref(state), WallClock::from_ref(state).now());
        let asking = intake.authenticate(now, &token);
        let principal = patience::answered(&PgPool::from_ref(state), asking).await??;
        principal.require(Scope::Ingest)?;
        Ok(principal)
    }
}

impl<S> FromRequestParts<S> for Sender
where
    S: Send + Sync,
    PgPool: FromRef<S>,
    Intake: FromRef<S>,
    WallClock: FromRef<S>,
    Site: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some((principal, token)) = presumed(&parts.headers, state) {
            return Ok(Self::Presumed(principal, token));
        }
        // Hardly any request asks: the others are not to carry what that takes.
        let asking = Timely::<Authorised<Ingest>>::from_request_parts(parts, state);
        Ok(Self::Known(Box::pin(asking).await?.0.principal))
    }
}

/// Who presents a token, as far as that is known without asking, and the token; nobody where it would have to be asked.
/// See [`Sender::Presumed`].
pub fn presumed<S>(headers: &HeaderMap, state: &S) -> Option<(Principal, String)>
where
    Intake: FromRef<S>,
    WallClock: FromRef<S>,
    Site: FromRef<S>,
{
    let site = Site::from_ref(state);
    let Ok(Credential::Token(token)) = Credential::presented(headers, &site) else {
        return None;
    };
    let now = WallClock::from_ref(state).now();
    let principal = Intake::from_ref(state).presume(now, &token)?;
    principal.may(Scope::Ingest).then_some((principal, token))
}

enum Credential<'h> {
    Token(String),
    Cookie(&'h str),
}

impl<'h> Credential<'h> {
    fn presented(headers: &'h HeaderMap, site: &Site) -> Result<Self, Error> {
        if let Some(authorization) = headers.get(AUTHORIZATION) {
            return authorization
                .to_str()
                .ok()
                .and_then(token_in_authorization)
                .map(Self::Token)
                .ok_or_else(|| {
                    Error::Unauthenticated(
                        "the Authorization header must read `Bearer TOKEN` or be Basic with the \
                         token as its password"
                            .to_owned(),
                    )
                });
        }
        if let Some(key) = headers.get(API_KEY) {
            let key = key.to_str().unwrap_or_default();
            return Ok(Self::Token(key.trim().to_owned()));
        }
        // HTTP/2 clients may send the cookies in several headers.
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .find_map(|header| site.session_cookie(header))
            .map(Self::Cookie)
            .ok_or_else(|| {
                Error::Unauthenticated(
                    "present a token as `Authorization: Bearer TOKEN`, or sign in".to_owned(),
                )
            })
    }
}

fn token_in_authorization(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (_, password) = pair.split_once(':')?;
    Some(password.to_owned())
}

fn ended() -> Error {
    Error::Unauthenticated("the session has ended; sign in again".to_owned())
}

/// Refuses a change that another site may have made the browser ask for: a browser sends the cookie along
/// whoever asks.
fn refuse_forgery(parts: &Parts, site: &Site, session: &Session) -> Result<(), Error> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let from = Provenance {
        // HTTP/2 has the host in the request target.
        host: text(&parts.headers, HOST.as_str())
            .or_else(|| parts.uri.authority().map(Authority::as_str)),
        origin: text(&parts.headers, ORIGIN.as_str()),
        sec_fetch_site: text(&parts.headers, SEC_FETCH_SITE),
    };
    let cause = if !site.is_own_request(from) {
        "the request comes from another site"
    } else if !text(&parts.headers, CSRF_HEADER).is_some_and(|token| csrf_matches(session, token)) {
        "with a session, changes need its token in the header X-CSRF-Token"
    } else {
        return Ok(());
    };
    tracing::warn!(email = session.email, cause, "request refused as forged");
    Err(Error::Forbidden(cause.to_owned()))
}

/// A header as text; one that is not text counts as an empty value, not as absent.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests;
