//! Tokens: what machines present. A token reads `bw_ID_SECRET`; the id finds its row, and of the secret only
//! the SHA-256 is stored. A token that is not known, altered or cut gets one answer after one path of work;
//! only who holds the whole secret is told that it has expired or was revoked.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::people::name_field;
use super::sessions::{LAST_USE_PRECISION, log_unnoted_use};
use super::{Principal, Scope, secrets};
use crate::domain::ids::{ProjectId, TokenId};
use crate::services::error::{Error, FieldProblem, violates};
use crate::storage::access::{self as stored, Digest, StoredToken, TokenToAdd};
use crate::storage::audit::{self, AuditEvent};

const PREFIX: &str = "bw";
/// The digest an unknown id is compared with. No known text has it.
const DIGEST_OF_NOTHING: Digest = [0; 32];

/// A token to be made.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// What people call it, and audit rows too; no two tokens that work share one.
    pub name: &'a str,
    /// What it may do.
    pub scopes: &'a [Scope],
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token just made.
pub struct NewToken {
    /// Names the token.
    pub token_id: TokenId,
    /// What the machine presents; it is not stored and cannot be shown again.
    pub secret: String,
}

/// A token as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Names the token.
    pub token_id: TokenId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Makes a token for a project.
///
/// # Errors
/// [`Error::Invalid`] with the fields that are wrong; [`Error::Conflict`] if a token of that name works.
pub async fn create_token(
    pool: &PgPool,
    now: DateTime<Utc>,
    project_id: ProjectId,
    request: &TokenRequest<'_>,
    by: &str,
) -> Result<NewToken, Error> {
    let (name, scopes) = checked(request, now)?;
    let token_id = TokenId::new(now);
    let secret = secrets::random_secret();
    let token = TokenToAdd {
        token_id,
        project_id,
        name: &name,
        secret_hash: secrets::digest(&secret),
        scopes: &scopes,
        created_by: by,
        expires_at: request.expires_at,
    };

    let mut transaction = pool.begin().await?;
    stored::add_token(&mut transaction, &token, now)
        .await
        .map_err(|error| {
            if violates(&error, "tokens_name_unique") {
                Error::Conflict(format!("a token called {name} exists; revoke it first"))
            } else {
                error.into()
            }
        })?;
    let event = AuditEvent {
        project_id: Some(project_id),
        at: now,
        actor: by,
        action: "token.created",
        object_kind: "token",
        object_id: &token_id.to_string(),
        detail: json!({ "name": name, "scopes": scopes, "expires_at": request.expires_at }),
    };
    audit::record(&mut transaction, &event).await?;
    transaction.commit().await?;
    Ok(NewToken {
        token_id,
        secret: format!("{PREFIX}_{}_{secret}", token_id.0.simple()),
    })
}

/// The name and the names of the scopes, each once, or what is wrong with the request.
fn checked(request: &TokenRequest<'_>, now: DateTime<Utc>) -> Result<(String, Vec<String>), Error> {
    let name = name_field("name", request.name);
    let mut problems: Vec<FieldProblem> = name.clone().err().into_iter().collect();
    if request.scopes.is_empty() {
        problems.push(FieldProblem::new("scopes", "must name at least one scope"));
    }
    if request.expires_at.is_some_and(|at| at <= now) {
        problems.push(FieldProblem::new("expires_at", "must be in the future"));
    }
    match name {
        Ok(name) if problems.is_empty() => {
            let scopes = Scope::ALL
                .iter()
                .filter(|scope| request.scopes.contains(scope));
            Ok((name, scopes.map(ToString::to_string).collect()))
        }
        _ => Err(Error::invalid_fields(problems)),
    }
}

/// Revokes a token at once.
///
/// # Errors
/// [`Error::NotFound`] if the project has no such token that works.
pub async fn revoke_token(
    pool: &PgPool,
    now: DateTime<Utc>,
    project_id: ProjectId,
    token_id: TokenId,
    by: &str,
) -> Result<(), Error> {
    let mut transaction = pool.begin().await?;
    let name = stored::revoke_token(&mut transaction, project_id, token_id, now)
        .await?
        .ok_or_else(|| Error::not_found(format!("token {token_id}")))?;
    let event = AuditEvent {
        project_id: Some(project_id),
        at: now,
        actor: by,
        action: "token.revoked",
        object_kind: "token",
        object_id: &token_id.to_string(),
        detail: json!({ "name": name }),
    };
    audit::record(&mut transaction, &event).await?;
    transaction.commit().await?;
    Ok(())
}

/// The tokens of a project, newest first, also those that do not work any more.
///
/// # Errors
/// Only when Postgres cannot answer.
pub async fn list_tokens(pool: &PgPool, project_id: ProjectId) -> Result<Vec<Token>, Error> {
    stored::tokens(&mut *pool.acquire().await?, project_id)
        .await?
        .into_iter()
        .map(Token::try_from)
        .collect()
}

impl TryFrom<StoredToken> for Token {
    type Error = Error;

    fn try_from(stored: StoredToken) -> Result<Self, Error> {
        Ok(Self {
            token_id: stored.token_id,
            name: stored.name,
            scopes: parse_scopes(&stored.scopes)?,
            created_by: stored.created_by,
            created_at: stored.created_at,
            expires_at: stored.expires_at,
            last_used_at: stored.last_used_at,
            revoked_at: stored.revoked_at,
        })
    }
}

fn parse_scopes(names: &[String]) -> Result<Vec<Scope>, Error> {
    names
        .iter()
        .map(|name| name.parse().map_err(Error::internal))
        .collect()
}

/// Who presents a token, and for how long that is known.
#[derive(Debug, Clone)]
pub(in crate::services) struct Admission {
    pub principal: Principal,
    /// Of the project: when it changes, the token has to be looked at again.
    pub generation: i64,
    /// By this time too: it ends then, or its use has to be noted.
    pub until: DateTime<Utc>,
}

/// Who presents this token.
///
/// # Errors
/// [`Error::Unauthenticated`].
pub async fn authenticate_token(
    pool: &PgPool,
    now: DateTime<Utc>,
    presented: &str,
) -> Result<Principal, Error> {
    Ok(admit_token(pool, now, presented).await?.principal)
}

/// As [`authenticate_token`].
pub(in crate::services) async fn admit_token(
    pool: &PgPool,
    now: DateTime<Utc>,
    presented: &str,
) -> Result<Admission, Error> {
    let (token_id, secret) = split(presented).ok_or_else(unknown)?;
    let mut conn = pool.acquire().await?;
    let found = stored::token(&mut conn, token_id).await?;
    let expected = found
        .as_ref()
        .map_or(&DIGEST_OF_NOTHING[..], |token| &token.secret_hash);
    let matches = secrets::equal(&secrets::digest(secret), expected);
    let token = found.filter(|_| matches).ok_or_else(unknown)?;
    refuse_ended(&token, now)?;

    let noted = token
        .last_used_at
        .filter(|at| now - *at < LAST_USE_PRECISION);
    if noted.is_none() {
        stored::touch_token(&mut conn, token_id, now)
            .await
            .unwrap_or_else(|error| log_unnoted_use(&error));
    }
    let to_be_noted = noted.unwrap_or(now) + LAST_USE_PRECISION;
    Ok(Admission {
        principal: Principal {
            actor: format!("token:{}", token.name),
            project_id: token.project_id,
            scopes: parse_scopes(&token.scopes)?,
            person_id: None,
            generation: None,
        },
        generation: token.generation,
        until: token
            .expires_at
            .map_or(to_be_noted, |end| end.min(to_be_noted)),
    })
}

fn split(presented: &str) -> Option<(TokenId, &str)> {
    let mut parts = presented.splitn(3, '_');
    let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    // Uuid reads other notations too; a token has one.
    let id = (prefix == PREFIX && id.len() == 32)
        .then(|| Uuid::try_parse(id).ok())
        .flatten()?;
    Some((TokenId(id), secret))
}

fn unknown() -> Error {
    Error::Unauthenticated("the token is not known".to_owned())
}

fn refuse_ended(token: &StoredToken, now: DateTime<Utc>) -> Result<(), Error> {
    let ended = |how: &str, at: DateTime<Utc>| {
        let at = at.format("%Y-%m-%d %H:%M UTC");
        Err(Error::Unauthenticated(format!(
            "the token {} {how} on {at}",
            token.name
        )))
    };
    match (token.revoked_at, token.expires_at) {
        (Some(at), _) => ended("was revoked", at),
        (None, Some(at)) if at <= now => ended("expired", at),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
