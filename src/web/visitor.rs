//! Who is looking. A page that takes a [`Visitor`] is for people who are signed in, one that takes a
//! [`SignedForm`] moreover only for forms that our own pages have shown to them.

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;

use crate::services::access::browser::Provenance;
use crate::services::access::{self, Scope, Session, Site};
use crate::services::{Error, Services};

use super::answer::Failure;

/// A person who is signed in.
pub struct Visitor(pub Session);

impl FromRequestParts<Services> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, services: &Services) -> Result<Self, Failure> {
        let site = Site::at(&services.public_url)?;
        let session = match session_cookie(&site, &parts.headers) {
            Some(cookie) => access::session(&services.pool, services.wall.now(), cookie).await?,
            None => None,
        };
        session.map(Self).ok_or_else(|| Failure::SignInFirst {
            next: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

impl Visitor {
    /// Refuses a person whose role does not include `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        self.0.principal().require(scope)
    }

    /// What histories and audit rows call the person.
    #[must_use]
    pub fn actor(&self) -> String {
        self.0.principal().actor
    }
}

/// The value of the session cookie, if the browser has sent one.
#[must_use]
pub fn session_cookie<'h>(site: &Site, headers: &'h HeaderMap) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| site.session_cookie(value))
}

/// Refuses a form that another site has sent.
pub fn require_own_site(site: &Site, headers: &HeaderMap) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let own = site.is_own_request(Provenance {
        host: text("host"),
        origin: text("origin"),
        sec_fetch_site: text("sec-fetch-site"),
    });
    if own {
        Ok(())
    } else {
        Err(Error::Forbidden(
            "the form was sent from another site".to_owned(),
        ))
    }
}

/// A form that one of our pages has shown to the person who sends it.
pub struct SignedForm<T> {
    pub visitor: Visitor,
    pub form: T,
}

#[derive(serde::Deserialize)]
struct Token {
    #[serde(default)]
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<Services> for SignedForm<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, services: &Services) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, services).await?;
        require_own_site(&Site::at(&services.public_url)?, &parts.headers)?;
        let Form(fields) =
            Form::<Vec<(String, String)>>::from_request(Request::from_parts(parts, body), services)
                .await
                .map_err(|_| Error::invalid("the form could not be read"))?;
        let token: Token = read(&fields)?;
        if !access::csrf_matches(&visitor.0, &token.csrf) {
            return Err(Error::Forbidden(
                "the form is from another session; reload the page and send it again".to_owned(),
            )
            .into());
        }
        Ok(Self {
            visitor,
            form: read(&fields)?,
        })
    }
}

fn read<T: DeserializeOwned>(fields: &[(String, String)]) -> Result<T, Error> {
    let object = fields
        .iter()
        .map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str())))
        .collect();
    serde_json::from_value(serde_json::Value::Object(object))
        .map_err(|cause| Error::invalid(format!("the form is incomplete: {cause}")))
}

/// Where to go after signing in: an address of ours, whatever the query said.
#[must_use]
pub fn own_address(next: Option<&str>) -> &str {
    match next {
        Some(next)
            if next.starts_with('/')
                && !next.starts_with("//")
                && !next.contains(['\\', '\r', '\n', '\t'])
                && !next.starts_with("/sign-") =>
        {
            next
        }
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_one_stays_on_this_site() {
        for (next, to) in [
            (Some("/alerts/1?x=2"), "/alerts/1?x=2"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\t/evil.example"), "/"),
            (Some("/sign-out"), "/"),
            (Some(""), "/"),
            (None, "/"),
        ] {
            assert_eq!(own_address(next), to);
        }
    }
}
