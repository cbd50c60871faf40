//! Projects, people, their sessions and their tokens. Only digests of secrets come here, never a secret.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::access::MemberRole;
use crate::domain::ids::{PersonId, ProjectId, TokenId};

/// The SHA-256 of a secret.
pub type Digest = [u8; 32];

// ── projects ────────────────────────────────────────────────────────────────────────────────────────

/// The project of that name, made with `project_id` if there is none.
pub async fn project_named(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
    auto_register: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<ProjectId> {
    sqlx::query!(
        "INSERT INTO projects (project_id, name, auto_register, created_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT ON CONSTRAINT projects_name_unique DO NOTHING",
        project_id.0,
        name,
        auto_register,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"SELECT project_id AS "project_id: ProjectId" FROM projects WHERE name = $1"#,
        name,
    )
    .fetch_one(conn)
    .await
}

// ── people ──────────────────────────────────────────────────────────────────────────────────────────

/// Lets one transaction at a time add people until it ends; reading goes on.
pub async fn lock_people(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("LOCK TABLE people IN SHARE ROW EXCLUSIVE MODE")
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether there is any person at all.
pub async fn anybody_exists(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM people) AS "exists!""#)
        .fetch_one(conn)
        .await
}

/// A person to be added to a project.
#[derive(Debug)]
pub struct PersonToAdd<'a> {
    /// Names the person.
    pub person_id: PersonId,
    /// Normalised.
    pub email: &'a str,
    /// What the pages show.
    pub display_name: &'a str,
    /// In PHC string format.
    pub password_hash: &'a str,
    /// The project to belong to.
    pub project_id: ProjectId,
    /// The part in it.
    pub role: MemberRole,
}

/// Adds a person with their membership. A known address violates `people_email_unique`.
pub async fn add_person(
    conn: &mut PgConnection,
    person: &PersonToAdd<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO people (person_id, email, display_name, password_hash, created_at)
         VALUES ($1, $2, $3, $4, $5)",
        person.person_id.0,
        person.email,
        person.display_name,
        person.password_hash,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO memberships (project_id, person_id, role, created_at)
         VALUES ($1, $2, $3, $4)",
        person.project_id.0,
        person.person_id.0,
        person.role.name(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A member of a project, as lists show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Names the person.
    pub person_id: PersonId,
    /// What they sign in with.
    pub email: String,
    /// What the pages show.
    pub display_name: String,
    /// Their part in the project.
    pub role: MemberRole,
    /// Since when they are known.
    pub created_at: DateTime<Utc>,
    /// Since when they may not sign in any more.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// The people of a project, by address.
pub async fn members(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<Vec<Member>> {
    sqlx::query_as!(
        Member,
        r#"SELECT p.person_id AS "person_id: PersonId", p.email, p.display_name,
                  m.role AS "role: MemberRole", p.created_at, p.disabled_at
           FROM memberships m
           JOIN people p USING (person_id)
           WHERE m.project_id = $1
           ORDER BY p.email"#,
        project_id.0,
    )
    .fetch_all(conn)
    .await
}

/// One member of a project.
pub async fn member(
    conn: &mut PgConnection,
    project_id: ProjectId,
    email: &str,
) -> sqlx::Result<Option<Member>> {
    sqlx::query_as!(
        Member,
        r#"SELECT p.person_id AS "person_id: PersonId", p.email, p.display_name,
                  m.role AS "role: MemberRole", p.created_at, p.disabled_at
           FROM memberships m
           JOIN people p USING (person_id)
           WHERE m.project_id = $1
             AND p.email = $2"#,
        project_id.0,
        email,
    )
    .fetch_optional(conn)
    .await
}

/// The administrators of a project who can sign in, locked until the transaction ends, so that two of them
/// cannot remove each other at once.
pub async fn lock_enabled_admins(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Vec<PersonId>> {
    sqlx::query_scalar!(
        r#"SELECT p.person_id AS "person_id: PersonId"
           FROM memberships m
           JOIN people p USING (person_id)
           WHERE m.project_id = $1
             AND m.role = 'admin'
             AND p.disabled_at IS NULL
           ORDER BY p.person_id
           FOR UPDATE"#,
        project_id.0,
    )
    .fetch_all(conn)
    .await
}

/// Keeps a person from signing in; says whether that changed anything.
pub async fn disable_person(
    conn: &mut PgConnection,
    person_id: PersonId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE people SET disabled_at = $2 WHERE person_id = $1 AND disabled_at IS NULL",
        person_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the password and lets a disabled person sign in again.
pub async fn reset_password(
    conn: &mut PgConnection,
    person_id: PersonId,
    password_hash: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE people SET password_hash = $2, disabled_at = NULL WHERE person_id = $1",
        person_id.0,
        password_hash,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the password if it still is `replaced_hash`; says whether it was.
pub async fn replace_password(
    conn: &mut PgConnection,
    person_id: PersonId,
    replaced_hash: &str,
    password_hash: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE people SET password_hash = $3 WHERE person_id = $1 AND password_hash = $2",
        person_id.0,
        replaced_hash,
        password_hash,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a sign-in is checked against.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Names the person.
    pub person_id: PersonId,
    /// The project they have belonged to longest: where a session starts.
    pub project_id: ProjectId,
    /// In PHC string format.
    pub password_hash: String,
}

/// The credentials of the person of that address, who is not disabled and belongs to a project.
pub async fn credentials(
    conn: &mut PgConnection,
    email: &str,
) -> sqlx::Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT p.person_id AS "person_id: PersonId", m.project_id AS "project_id: ProjectId",
                  p.password_hash
           FROM people p
           JOIN memberships m USING (person_id)
           WHERE p.email = $1
             AND p.disabled_at IS NULL
           ORDER BY m.created_at, m.project_id
           LIMIT 1"#,
        email,
    )
    .fetch_optional(conn)
    .await
}

/// Whether the person can still sign in with what was just verified, and will until the transaction ends.
pub async fn hold_credentials(
    conn: &mut PgConnection,
    credentials: &Credentials,
) -> sqlx::Result<bool> {
    let held = sqlx::query_scalar!(
        r#"SELECT 1 AS "one!"
           FROM people
           WHERE person_id = $1
             AND password_hash = $2
             AND disabled_at IS NULL
           FOR SHARE"#,
        credentials.person_id.0,
        credentials.password_hash,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

// ── failed sign-ins ─────────────────────────────────────────────────────────────────────────────────

/// The failed sign-ins for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignInFailures {
    /// How many in a row.
    pub failures: i32,
    /// When the last one was.
    pub last_failed_at: DateTime<Utc>,
}

/// The failed sign-ins for an address, locked until the transaction ends; none yet count from `now`.
pub async fn lock_sign_in_failures(
    conn: &mut PgConnection,
    email: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<SignInFailures> {
    // The update that changes nothing takes the lock on a row that exists.
    sqlx::query_as!(
        SignInFailures,
        "INSERT INTO sign_in_failures AS known (email, failures, last_failed_at)
         VALUES ($1, 0, $2)
         ON CONFLICT (email) DO UPDATE SET failures = known.failures
         RETURNING failures, last_failed_at",
        email,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Stores the number of failed sign-ins for an address.
pub async fn set_sign_in_failures(
    conn: &mut PgConnection,
    email: &str,
    stored: SignInFailures,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE sign_in_failures SET failures = $2, last_failed_at = $3 WHERE email = $1",
        email,
        stored.failures,
        stored.last_failed_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the failed sign-ins for an address.
pub async fn clear_sign_in_failures(conn: &mut PgConnection, email: &str) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sign_in_failures WHERE email = $1", email)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets the failed sign-ins for all addresses that had none since `before`.
pub async fn forget_old_sign_in_failures(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM sign_in_failures WHERE last_failed_at < $1",
        before
    )
    .execute(conn)
    .await?;
    Ok(())
}

// ── sessions ────────────────────────────────────────────────────────────────────────────────────────

/// A session to be opened.
#[derive(Debug)]
pub struct SessionToOpen<'a> {
    /// Of the cookie's value.
    pub session_hash: Digest,
    /// Whose it is.
    pub person_id: PersonId,
    /// Where it works.
    pub project_id: ProjectId,
    /// What forms of the session must carry.
    pub csrf_token: &'a str,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
}

/// Opens a session.
pub async fn open_session(
    conn: &mut PgConnection,
    session: &SessionToOpen<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO sessions
            (session_hash, person_id, project_id, csrf_token, created_at, last_seen_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $5, $6)",
        &session.session_hash[..],
        session.person_id.0,
        session.project_id.0,
        session.csrf_token,
        now,
        session.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A session with the person and project it stands for, as they are now.
#[derive(Debug, Clone)]
pub struct LiveSession {
    /// Whose it is.
    pub person_id: PersonId,
    /// What they sign in with.
    pub email: String,
    /// What the pages show.
    pub display_name: String,
    /// Where it works.
    pub project_id: ProjectId,
    /// The name of that project.
    pub project_name: String,
    /// The person's part in it.
    pub role: MemberRole,
    /// What forms of the session must carry.
    pub csrf_token: String,
    /// When it was last used, to the minute.
    pub last_seen_at: DateTime<Utc>,
}

/// The session of that digest, if it has not expired at `now`, was seen after `idle_since`, and its person
/// may still sign in and belongs to its project.
pub async fn live_session(
    conn: &mut PgConnection,
    session_hash: &Digest,
    now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> sqlx::Result<Option<LiveSession>> {
    sqlx::query_as!(
        LiveSession,
        r#"SELECT s.person_id AS "person_id: PersonId", p.email, p.display_name,
                  s.project_id AS "project_id: ProjectId", j.name AS project_name,
                  m.role AS "role: MemberRole", s.csrf_token, s.last_seen_at
           FROM sessions s
           JOIN people p USING (person_id)
           JOIN projects j USING (project_id)
           JOIN memberships m USING (project_id, person_id)
           WHERE s.session_hash = $1
             AND s.expires_at > $2
             AND s.last_seen_at > $3
             AND p.disabled_at IS NULL"#,
        &session_hash[..],
        now,
        idle_since,
    )
    .fetch_optional(conn)
    .await
}

/// Notes that a session was used.
pub async fn touch_session(
    conn: &mut PgConnection,
    session_hash: &Digest,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE sessions SET last_seen_at = $2 WHERE session_hash = $1",
        &session_hash[..],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A session that was ended.
#[derive(Debug)]
pub struct EndedSession {
    /// Whose it was.
    pub email: String,
    /// Where it worked.
    pub project_id: ProjectId,
}

/// Ends a session.
pub async fn end_session(
    conn: &mut PgConnection,
    session_hash: &Digest,
) -> sqlx::Result<Option<EndedSession>> {
    sqlx::query_as!(
        EndedSession,
        r#"DELETE FROM sessions s
           USING people p
           WHERE s.session_hash = $1
             AND p.person_id = s.person_id
           RETURNING p.email, s.project_id AS "project_id: ProjectId""#,
        &session_hash[..],
    )
    .fetch_optional(conn)
    .await
}

/// Ends all sessions of a person.
pub async fn end_sessions_of(conn: &mut PgConnection, person_id: PersonId) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE person_id = $1", person_id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes the sessions whose time is over.
pub async fn remove_expired_sessions(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE expires_at <= $1", now)
        .execute(conn)
        .await?;
    Ok(())
}

// ── tokens ──────────────────────────────────────────────────────────────────────────────────────────

/// A token to be added.
#[derive(Debug)]
pub struct TokenToAdd<'a> {
    /// Names the token.
    pub token_id: TokenId,
    /// Where it works.
    pub project_id: ProjectId,
    /// What people call it.
    pub name: &'a str,
    /// Of the secret.
    pub secret_hash: Digest,
    /// By name.
    pub scopes: &'a [String],
    /// Who made it.
    pub created_by: &'a str,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Adds a token. The name of another one that works violates `tokens_name_unique`.
pub async fn add_token(
    conn: &mut PgConnection,
    token: &TokenToAdd<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO tokens
            (token_id, project_id, name, secret_hash, scopes, created_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        token.token_id.0,
        token.project_id.0,
        token.name,
        &token.secret_hash[..],
        token.scopes,
        token.created_by,
        now,
        token.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A token as it is checked and listed.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Names the token.
    pub token_id: TokenId,
    /// Where it works.
    pub project_id: ProjectId,
    /// What people call it.
    pub name: String,
    /// Of the secret.
    pub secret_hash: Vec<u8>,
    /// By name.
    pub scopes: Vec<String>,
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
    /// Of its project, as of the same moment: see `storage::models::generation`.
    pub generation: i64,
}

/// The token of that id, whatever its state.
pub async fn token(
    conn: &mut PgConnection,
    token_id: TokenId,
) -> sqlx::Result<Option<StoredToken>> {
    sqlx::query_as!(
        StoredToken,
        r#"SELECT t.token_id AS "token_id: TokenId", t.project_id AS "project_id: ProjectId", t.name,
                  t.secret_hash, t.scopes, t.created_by, t.created_at, t.expires_at, t.last_used_at,
                  t.revoked_at, p.generation
           FROM tokens t
           JOIN projects p USING (project_id)
           WHERE t.token_id = $1"#,
        token_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// The tokens of a project, newest first.
pub async fn tokens(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Vec<StoredToken>> {
    sqlx::query_as!(
        StoredToken,
        r#"SELECT t.token_id AS "token_id: TokenId", t.project_id AS "project_id: ProjectId", t.name,
                  t.secret_hash, t.scopes, t.created_by, t.created_at, t.expires_at, t.last_used_at,
                  t.revoked_at, p.generation
           FROM tokens t
           JOIN projects p USING (project_id)
           WHERE t.project_id = $1
           ORDER BY t.created_at DESC, t.token_id DESC"#,
        project_id.0,
    )
    .fetch_all(conn)
    .await
}

/// Notes that a token was used.
pub async fn touch_token(
    conn: &mut PgConnection,
    token_id: TokenId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE tokens SET last_used_at = $2 WHERE token_id = $1",
        token_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Revokes a token of a project and returns its name; `None` if there is none that works.
pub async fn revoke_token(
    conn: &mut PgConnection,
    project_id: ProjectId,
    token_id: TokenId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "UPDATE tokens
         SET revoked_at = $3
         WHERE project_id = $1
           AND token_id = $2
           AND revoked_at IS NULL
         RETURNING name",
        project_id.0,
        token_id.0,
        now,
    )
    .fetch_optional(conn)
    .await
}
