//! Who is asking, and what they may do. People sign in with a password and get a session; machines present
//! a token. Both become a [`Principal`], and every request is checked against the one scope it needs.
//!
//! Secrets are made here, shown once, and stored only as digests: SHA-256 for what has 256 random bits,
//! Argon2id for passwords. Everything here runs on the wall clock ([`WallClock`]) even when the service
//! lives through a replayed year: a session must not end because the demo has reached the next month.
//!
//! The JSON API and the pages may not use each other, so what both need to know about browsers is in
//! [`browser`].

pub mod browser;
mod passwords;
pub mod people;
mod secrets;
pub mod sessions;
pub mod tokens;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::access::allows;
pub use crate::domain::access::{MemberRole, Scope};
use crate::domain::clock::Clock;
use crate::domain::ids::{PersonId, ProjectId};
use crate::services::error::Error;

pub use browser::{Site, csrf_matches};
pub use people::{
    FirstAdmin, NewPerson, OneTimePassword, add_person, change_password, disable_person,
    ensure_first_admin, list_people, reset_password,
};
pub use sessions::{NewSession, Session, session, sign_in, sign_out};
pub(super) use tokens::{Admission, admit_token};
pub use tokens::{
    NewToken, Token, TokenRequest, authenticate_token, create_token, list_tokens, revoke_token,
};

/// The clock that sessions, tokens and sign-ins run on, which is never the replay clock.
#[derive(Debug, Clone)]
pub struct WallClock(pub Arc<dyn Clock>);

impl WallClock {
    /// The present instant.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
}

/// Who is asking, for which project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `token:NAME` or `person:EMAIL`: what audit rows and histories say.
    pub actor: String,
    /// The project the credential belongs to; it never comes from the request.
    pub project_id: ProjectId,
    /// What the credential may do.
    pub scopes: Vec<Scope>,
    /// The person, when it is one: approvals need a person.
    pub person_id: Option<PersonId>,
    /// The project's generation for which this is known, where the intake looked: it need not ask again.
    pub generation: Option<i64>,
}

impl Principal {
    /// Whether the principal may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        allows(&self.scopes, scope)
    }

    /// Refuses a principal that may not do what needs `scope`.
    ///
    /// # Errors
    /// [`Error::Forbidden`], naming the scope that is missing and those that are held.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.may(scope) {
            return Ok(());
        }
        tracing::warn!(actor = %self.actor, project_id = %self.project_id, %scope, "access refused");
        let held: Vec<&str> = self.scopes.iter().map(|held| held.name()).collect();
        Err(Error::Forbidden(format!(
            "this needs the scope {scope}; {} has {}",
            self.actor,
            held.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_missing_scope_and_the_held_ones() {
        let principal = Principal {
            actor: "token:trainer".into(),
            project_id: ProjectId::new(DateTime::UNIX_EPOCH),
            scopes: vec![Scope::Ingest, Scope::Read],
            person_id: None,
            generation: None,
        };
        assert!(principal.require(Scope::Read).is_ok());
        let refusal = principal
            .require(Scope::Operate)
            .expect_err("operate is not held");
        assert_eq!(
            refusal.to_string(),
            "this needs the scope operate; token:trainer has ingest, read"
        );
    }
}
