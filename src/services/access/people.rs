//! The people of a project: the first administrator, those added later, and their passwords. A password
//! that the service makes is returned once, to be handed over; it is stored like any other.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::sessions::{self, NewSession, Session};
use super::{MemberRole, passwords};
use crate::domain::ids::{PersonId, ProjectId};
use crate::services::error::{Error, FieldProblem, violates};
use crate::storage::access::{self as stored, Member, PersonToAdd};
use crate::storage::audit::{self, AuditEvent};

const LONGEST_EMAIL: usize = 254;
const LONGEST_NAME: usize = 100;

/// An e-mail address as people are known by: trimmed and in lower case. Not more is checked than that it
/// can be shown and stored; whether mail arrives there is found out by sending some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Email(String);

impl Email {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, host) = text.split_once('@')?;
        let plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
        let good = !name.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && text.len() <= LONGEST_EMAIL
            && text.chars().all(plain);
        good.then(|| Self(text.to_lowercase()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

fn email_field(text: &str) -> Result<Email, FieldProblem> {
    Email::parse(text)
        .ok_or_else(|| FieldProblem::new("email", "must be an address like ada@example.org"))
}

/// A name that can be shown: not empty, not long, without control characters.
pub(super) fn name_field(field: &str, text: &str) -> Result<String, FieldProblem> {
    let text = text.trim();
    let good = !text.is_empty()
        && text.chars().count() <= LONGEST_NAME
        && !text.chars().any(char::is_control);
    good.then(|| text.to_owned()).ok_or_else(|| {
        FieldProblem::new(
            field,
            format!("must have 1 to {LONGEST_NAME} characters and no control characters"),
        )
    })
}

/// A password made by the service, to be shown once. It does not print itself by accident.
pub struct OneTimePassword {
    /// Whose it is.
    pub email: String,
    password: String,
}

impl OneTimePassword {
    /// The password, for the one place that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for OneTimePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimePassword")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// What the first start makes.
#[derive(Debug)]
pub struct FirstAdmin<'a> {
    /// The project, made if there is none of that name.
    pub project_name: &'a str,
    /// Whether a new project registers models it has not seen.
    pub auto_register: bool,
    /// What the administrator signs in with.
    pub email: &'a str,
}

/// Makes the project and its first administrator where there is nobody yet, and returns the password.
/// Services that start at the same time agree on one.
///
/// # Errors
/// [`Error::Invalid`] for an unusable address or project name.
pub async fn ensure_first_admin(
    pool: &PgPool,
    now: DateTime<Utc>,
    first: &FirstAdmin<'_>,
) -> Result<Option<OneTimePassword>, Error> {
    if stored::anybody_exists(&mut *pool.acquire().await?).await? {
        return Ok(None);
    }
    let email = email_field(first.email).map_err(|problem| Error::invalid_fields(vec![problem]))?;
    let project_name = name_field("project", first.project_name)
        .map_err(|problem| Error::invalid_fields(vec![problem]))?;
    let (password, password_hash) = new_one_time_password(&email).await?;

    let mut transaction = pool.begin().await?;
    stored::lock_people(&mut transaction).await?;
    if stored::anybody_exists(&mut transaction).await? {
        return Ok(None);
    }
    let project_id = stored::project_named(
        &mut transaction,
        ProjectId::new(now),
        &project_name,
        first.auto_register,
        now,
    )
    .await?;
    let person = PersonToAdd {
        person_id: PersonId::new(now),
        email: email.as_str(),
        display_name: "Administrator",
        password_hash: &password_hash,
        project_id,
        role: MemberRole::Admin,
    };
    stored::add_person(&mut transaction, &person, now).await?;
    let change = Change {
        project_id,
        now,
        by: "service",
        action: "person.added",
    };
    change
        .record(
            &mut transaction,
            &email,
            json!({ "role": MemberRole::Admin, "first": true }),
        )
        .await?;
    transaction.commit().await?;
    Ok(Some(password))
}

/// A person to be added to a project.
#[derive(Debug)]
pub struct NewPerson<'a> {
    /// What they will sign in with.
    pub email: &'a str,
    /// What the pages show.
    pub display_name: &'a str,
    /// Their part in the project.
    pub role: MemberRole,
}

/// Adds a person to a project and returns their one-time password.
///
/// # Errors
/// [`Error::Invalid`] with the fields that are wrong; [`Error::Conflict`] for a known address.
pub async fn add_person(
    pool: &PgPool,
    now: DateTime<Utc>,
    project_id: ProjectId,
    new: &NewPerson<'_>,
    by: &str,
) -> Result<OneTimePassword, Error> {
    let (email, display_name) = match (
        email_field(new.email),
        name_field("display_name", new.display_name),
    ) {
        (Ok(email), Ok(name)) => (email, name),
        (email, name) => {
            return Err(Error::invalid_fields(
                email.err().into_iter().chain(name.err()).collect(),
            ));
        }
    };
    let (password, password_hash) = new_one_time_password(&email).await?;

    let mut transaction = pool.begin().await?;
    let person = PersonToAdd {
        person_id: PersonId::new(now),
        email: email.as_str(),
        display_name: &display_name,
        password_hash: &password_hash,
        project_id,
        role: new.role,
    };
    stored::add_person(&mut transaction, &person, now)
        .await
        .map_err(|error| {
            if violates(&error, "people_email_unique") {
                Error::Conflict(format!(
                    "a person with the address {} exists",
                    email.as_str()
                ))
            } else {
                error.into()
            }
        })?;
    let change = Change {
        project_id,
        now,
        by,
        action: "person.added",
    };
    change
        .record(&mut transaction, &email, json!({ "role": new.role }))
        .await?;
    transaction.commit().await?;
    Ok(password)
}

/// The people of a project, by address.
///
/// # Errors
/// Only when Postgres cannot answer.
pub async fn list_people(pool: &PgPool, project_id: ProjectId) -> Result<Vec<Member>, Error> {
    Ok(stored::members(&mut *pool.acquire().await?, project_id).await?)
}

/// Ends a person's sessions and keeps them from signing in. What they did stays under their name.
///
/// # Errors
/// [`Error::NotFound`] if the project has no such person; [`Error::Conflict`] for its last administrator,
/// without whom nobody could let anybody in.
pub async fn disable_person(
    pool: &PgPool,
    now: DateTime<Utc>,
    project_id: ProjectId,
    email: &str,
    by: &str,
) -> Result<(), Error> {
    let mut transaction = pool.begin().await?;
    let admins = stored::lock_enabled_admins(&mut transaction, project_id).await?;
    let (person, email) = member_at(&mut transaction, project_id, email).await?;
    if admins == [person.person_id] {
        return Err(Error::Conflict(format!(
            "{} is the last administrator of the project",
            email.as_str()
        )));
    }
    if stored::disable_person(&mut transaction, person.person_id, now).await? {
        stored::end_sessions_of(&mut transaction, person.person_id).await?;
        let change = Change {
            project_id,
            now,
            by,
            action: "person.disabled",
        };
        change.record(&mut transaction, &email, json!({})).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Gives a person a new one-time password, ends their sessions and the waiting after failed sign-ins, and
/// lets them in again if they were disabled.
///
/// # Errors
/// [`Error::NotFound`] if the project has no such person.
pub async fn reset_password(
    pool: &PgPool,
    now: DateTime<Utc>,
    project_id: ProjectId,
    email: &str,
    by: &str,
) -> Result<OneTimePassword, Error> {
    let (person, email) = member_at(&mut *pool.acquire().await?, project_id, email).await?;
    let (password, password_hash) = new_one_time_password(&email).await?;

    let mut transaction = pool.begin().await?;
    stored::reset_password(&mut transaction, person.person_id, &password_hash).await?;
    stored::end_sessions_of(&mut transaction, person.person_id).await?;
    stored::clear_sign_in_failures(&mut transaction, email.as_str()).await?;
    let change = Change {
        project_id,
        now,
        by,
        action: "person.password_reset",
    };
    change.record(&mut transaction, &email, json!({})).await?;
    transaction.commit().await?;
    Ok(password)
}

/// Replaces the password of the signed-in person, ends all their sessions, and opens a new one.
///
/// # Errors
/// [`Error::Invalid`] for a wrong present or an unfit new password; [`Error::TooManyRequests`] after too
/// many wrong ones, because a stolen session must not become a place to guess in peace.
pub async fn change_password(
    pool: &PgPool,
    now: DateTime<Utc>,
    session: &Session,
    current: &str,
    new: &str,
) -> Result<NewSession, Error> {
    let wrong = || Error::invalid_field("current_password", "is not the present password");
    passwords::check_new(new, &session.email)
        .map_err(|problem| Error::invalid_fields(vec![problem]))?;
    if new == current {
        return Err(Error::invalid_field(
            "new_password",
            "must differ from the present one",
        ));
    }
    let email = Email::parse(&session.email).ok_or_else(wrong)?;
    let verified = sessions::verified_credentials(pool, now, &email, current).await?;
    let verified = verified.ok_or_else(wrong)?;
    let password_hash = passwords::hash(new).await?;

    let mut transaction = pool.begin().await?;
    let replaced = stored::replace_password(
        &mut transaction,
        verified.person_id,
        &verified.password_hash,
        &password_hash,
    )
    .await?;
    if !replaced {
        return Err(wrong());
    }
    stored::end_sessions_of(&mut transaction, session.person_id).await?;
    let change = Change {
        project_id: session.project_id,
        now,
        by: &session.actor(),
        action: "person.password_changed",
    };
    change.record(&mut transaction, &email, json!({})).await?;
    let person = (session.person_id, session.project_id);
    let opened = sessions::open(&mut transaction, now, person, &email).await?;
    transaction.commit().await?;
    Ok(opened)
}

async fn member_at(
    conn: &mut PgConnection,
    project_id: ProjectId,
    email: &str,
) -> Result<(Member, Email), Error> {
    let absent = || Error::not_found(format!("a person with the address {}", email.trim()));
    let email = Email::parse(email).ok_or_else(absent)?;
    let member = stored::member(conn, project_id, email.as_str()).await?;
    Ok((member.ok_or_else(absent)?, email))
}

async fn new_one_time_password(email: &Email) -> Result<(OneTimePassword, String), Error> {
    let password = passwords::one_time();
    let password_hash = passwords::hash(&password).await?;
    let shown = OneTimePassword {
        email: email.as_str().to_owned(),
        password,
    };
    Ok((shown, password_hash))
}

/// A change to a person, as the audit rows of this module share it.
struct Change<'a> {
    project_id: ProjectId,
    now: DateTime<Utc>,
    by: &'a str,
    action: &'a str,
}

impl Change<'_> {
    async fn record(
        &self,
        conn: &mut PgConnection,
        email: &Email,
        detail: Value,
    ) -> sqlx::Result<()> {
        let event = AuditEvent {
            project_id: Some(self.project_id),
            at: self.now,
            actor: self.by,
            action: self.action,
            object_kind: "person",
            object_id: email.as_str(),
            detail,
        };
        audit::record(conn, &event).await
    }
}

#[cfg(test)]
mod tests;
