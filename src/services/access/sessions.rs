//! Signing in and out. A session is a random value in a cookie of which only the digest is stored; it ends
//! after 12 hours without a request, after 7 days in any case, and at once when the password changes.
//!
//! Guessing is slowed down per address and not per network address, because guessers have many of those.
//! An attempt counts as failed before its password is checked and is forgiven when it was right: attempts
//! made at the same moment cannot share one failure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::people::Email;
use super::{MemberRole, Principal, passwords, secrets};
use crate::domain::ids::{PersonId, ProjectId};
use crate::services::error::Error;
use crate::storage::access::{
    self as stored, Credentials, LiveSession, SessionToOpen, SignInFailures,
};
use crate::storage::audit::{self, AuditEvent};

/// A session unused for this long has ended.
const IDLE_LIMIT: TimeDelta = TimeDelta::hours(12);
/// A session this old has ended.
pub(super) const LIFETIME: TimeDelta = TimeDelta::days(7);
/// How exactly it is known when a session or token was last used.
pub(super) const LAST_USE_PRECISION: TimeDelta = TimeDelta::minutes(1);

/// Failures that cost no waiting: people do mistype.
const FREE_FAILURES: i32 = 5;
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(30);
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);
/// Failures older than this are forgotten.
const FAILURES_REMEMBERED: TimeDelta = TimeDelta::days(1);

/// A session just opened.
pub struct NewSession {
    /// What the cookie must hold; it is not stored and cannot be shown again.
    pub cookie_value: String,
}

/// A session in use, with the person and project it stands for.
#[derive(Clone)]
pub struct Session {
    /// Whose it is.
    pub person_id: PersonId,
    /// What they sign in with.
    pub email: String,
    /// What the pages show.
    pub display_name: String,
    /// The project it works in.
    pub project_id: ProjectId,
    /// The name of that project.
    pub project_name: String,
    /// The person's part in it.
    pub role: MemberRole,
    /// What every form of the session must carry.
    pub csrf_token: String,
}

impl Session {
    /// The person as a principal of the session's project.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal {
            actor: self.actor(),
            project_id: self.project_id,
            scopes: self.role.scopes().to_vec(),
            person_id: Some(self.person_id),
            generation: None,
        }
    }

    pub(super) fn actor(&self) -> String {
        person_actor(&self.email)
    }
}

impl From<LiveSession> for Session {
    fn from(live: LiveSession) -> Self {
        Self {
            person_id: live.person_id,
            email: live.email,
            display_name: live.display_name,
            project_id: live.project_id,
            project_name: live.project_name,
            role: live.role,
            csrf_token: live.csrf_token,
        }
    }
}

fn person_actor(email: &str) -> String {
    format!("person:{email}")
}

/// Opens a session for the person of that address and password.
///
/// # Errors
/// [`Error::Unauthenticated`], the same for an unknown address, a wrong password and a disabled person;
/// [`Error::TooManyRequests`] while the address has to wait.
pub async fn sign_in(
    pool: &PgPool,
    now: DateTime<Utc>,
    email: &str,
    password: &str,
) -> Result<NewSession, Error> {
    let Some(email) = Email::parse(email) else {
        passwords::verify(password, None).await?;
        return Err(refused());
    };
    let Some(credentials) = verified_credentials(pool, now, &email, password).await? else {
        return Err(refused());
    };

    let mut transaction = pool.begin().await?;
    if !stored::hold_credentials(&mut transaction, &credentials).await? {
        return Err(refused());
    }
    stored::remove_expired_sessions(&mut transaction, now).await?;
    stored::forget_old_sign_in_failures(&mut transaction, now - FAILURES_REMEMBERED).await?;
    let person = (credentials.person_id, credentials.project_id);
    let session = open(&mut transaction, now, person, &email).await?;
    transaction.commit().await?;
    Ok(session)
}

fn refused() -> Error {
    Error::Unauthenticated("the e-mail address or the password is wrong".to_owned())
}

/// The credentials of the address if the password is right, and the failures forgiven; otherwise the
/// attempt stays counted.
pub(super) async fn verified_credentials(
    pool: &PgPool,
    now: DateTime<Utc>,
    email: &Email,
    password: &str,
) -> Result<Option<Credentials>, Error> {
    count_attempt(pool, now, email).await?;
    // No connection is held while the password is checked: that takes long.
    let known = stored::credentials(&mut *pool.acquire().await?, email.as_str()).await?;
    let hash = known.as_ref().map(|known| known.password_hash.as_str());
    if !passwords::verify(password, hash).await? {
        tracing::warn!(email = email.as_str(), "sign-in refused");
        return Ok(None);
    }
    stored::clear_sign_in_failures(&mut *pool.acquire().await?, email.as_str()).await?;
    Ok(known)
}

/// Opens a session in the caller's transaction.
pub(super) async fn open(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    (person_id, project_id): (PersonId, ProjectId),
    email: &Email,
) -> Result<NewSession, Error> {
    let cookie_value = secrets::random_secret();
    let session = SessionToOpen {
        session_hash: secrets::digest(&cookie_value),
        person_id,
        project_id,
        csrf_token: &secrets::random_secret(),
        expires_at: now + LIFETIME,
    };
    stored::open_session(&mut *conn, &session, now).await?;
    let event = AuditEvent {
        project_id: Some(project_id),
        at: now,
        actor: &person_actor(email.as_str()),
        action: "person.signed_in",
        object_kind: "person",
        object_id: email.as_str(),
        detail: json!({}),
    };
    audit::record(conn, &event).await?;
    Ok(NewSession { cookie_value })
}

async fn count_attempt(pool: &PgPool, now: DateTime<Utc>, email: &Email) -> Result<(), Error> {
    let mut transaction = pool.begin().await?;
    let known = stored::lock_sign_in_failures(&mut transaction, email.as_str(), now).await?;
    let counted = after_attempt(known, now).map_err(too_many)?;
    stored::set_sign_in_failures(&mut transaction, email.as_str(), counted).await?;
    transaction.commit().await?;
    Ok(())
}

/// The failures after one more attempt at `now`, or how long that attempt comes too early.
fn after_attempt(known: SignInFailures, now: DateTime<Utc>) -> Result<SignInFailures, TimeDelta> {
    let forgotten = now - known.last_failed_at >= FAILURES_REMEMBERED;
    let failures = if forgotten { 0 } else { known.failures };
    let open_at = known.last_failed_at + wait_after(failures);
    if now < open_at {
        return Err(open_at - now);
    }
    Ok(SignInFailures {
        failures: failures.saturating_add(1),
        last_failed_at: now,
    })
}

/// How long an address has to wait after that many failures in a row: doubling, up to a quarter of an hour.
fn wait_after(failures: i32) -> TimeDelta {
    if failures < FREE_FAILURES {
        return TimeDelta::zero();
    }
    // Ten doublings are far beyond the longest wait, and far from overflow.
    let doublings = (failures - FREE_FAILURES).min(10);
    (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT)
}

fn too_many(wait: TimeDelta) -> Error {
    let seconds = u64::try_from(wait.num_seconds()).unwrap_or(0) + 1;
    let told = if seconds < 90 {
        format!("{seconds} seconds")
    } else {
        format!("{} minutes", seconds.div_ceil(60))
    };
    Error::TooManyRequests {
        retry_after: Duration::from_secs(seconds),
        message: format!("too many failed sign-ins for this e-mail address; try again in {told}"),
    }
}

/// The session of a cookie's value, if it is still good at `now`.
///
/// # Errors
/// Only when Postgres cannot answer.
pub async fn session(
    pool: &PgPool,
    now: DateTime<Utc>,
    cookie_value: &str,
) -> Result<Option<Session>, Error> {
    let hash = secrets::digest(cookie_value);
    let mut conn = pool.acquire().await?;
    let live = stored::live_session(&mut conn, &hash, now, now - IDLE_LIMIT).await?;
    let Some(live) = live else {
        return Ok(None);
    };
    if now - live.last_seen_at >= LAST_USE_PRECISION {
        stored::touch_session(&mut conn, &hash, now)
            .await
            .unwrap_or_else(|error| log_unnoted_use(&error));
    }
    Ok(Some(live.into()))
}

/// A note of the last use that could not be written is logged and no reason to refuse the request: when
/// the disk is full, pages must still show that.
pub(super) fn log_unnoted_use(error: &sqlx::Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "failed to note the last use of a credential"
    );
}

/// Ends the session of a cookie's value. A session that has already ended is no error.
///
/// # Errors
/// Only when Postgres cannot answer.
pub async fn sign_out(pool: &PgPool, now: DateTime<Utc>, cookie_value: &str) -> Result<(), Error> {
    let mut transaction = pool.begin().await?;
    let ended = stored::end_session(&mut transaction, &secrets::digest(cookie_value)).await?;
    if let Some(ended) = ended {
        let event = AuditEvent {
            project_id: Some(ended.project_id),
            at: now,
            actor: &person_actor(&ended.email),
            action: "person.signed_out",
            object_kind: "person",
            object_id: &ended.email,
            detail: json!({}),
        };
        audit::record(&mut transaction, &event).await?;
    }
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests;
