//! The few kinds of failure an edge can act on. Each edge renders them in its own way; none looks at the
//! text to find out what happened. Texts are shown to people, except that of [`Error::Internal`], of which
//! they see a request id while the log has the whole chain.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Shared, because several callers can wait for one answer.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// How long a caller should wait when Postgres is out of reach: a restart takes seconds.
const STORAGE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What Postgres says when its disk is full.
const DISK_FULL: &str = "53100";
/// What Postgres says of a text with U+0000.
const NUL_IN_TEXT: &str = "22021";

/// Why a service did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not there, or not for this caller to see: the two must look alike.
    #[error("{what} does not exist")]
    NotFound {
        /// The thing, as in "model flight-time".
        what: String,
    },
    /// The request itself is wrong.
    #[error("{message}")]
    Invalid {
        /// What is wrong, in one line.
        message: String,
        /// What is wrong with each field, where fields can be named.
        fields: Vec<FieldProblem>,
    },
    /// The request is right but does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// The caller is known and may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The caller is not known.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller has asked too often.
    #[error("{message}")]
    TooManyRequests {
        /// When asking again makes sense.
        retry_after: Duration,
        /// Why, in one line.
        message: String,
    },
    /// Nothing is wrong with the request; it may succeed later.
    #[error("{message}")]
    Unavailable {
        /// When asking again makes sense.
        retry_after: Duration,
        /// Why, in one line.
        message: String,
        /// What happened underneath; for the log.
        #[source]
        source: Option<Cause>,
    },
    /// A fault of ours.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field, by its name or path in the request.
    pub field: String,
    /// What is wrong with it.
    pub cause: String,
}

impl FieldProblem {
    /// A problem with `field`.
    pub fn new(field: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            cause: cause.into(),
        }
    }
}

impl Error {
    /// `what` does not exist.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// The request is wrong as a whole.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// One field is wrong.
    pub fn invalid_field(field: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldProblem::new(field, cause)])
    }

    /// Several fields are wrong; the message lists them.
    #[must_use]
    pub fn invalid_fields(fields: Vec<FieldProblem>) -> Self {
        let listed: Vec<String> = fields
            .iter()
            .map(|problem| format!("{}: {}", problem.field, problem.cause))
            .collect();
        Self::Invalid {
            message: listed.join("; "),
            fields,
        }
    }

    /// It may work later.
    pub fn unavailable(retry_after: Duration, message: impl Into<String>) -> Self {
        Self::Unavailable {
            retry_after,
            message: message.into(),
            source: None,
        }
    }

    /// It may work later, with what happened underneath.
    pub fn unavailable_because(
        retry_after: Duration,
        message: impl Into<String>,
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unavailable {
            retry_after,
            message: message.into(),
            source: Some(Arc::new(cause)),
        }
    }

    /// A fault of ours, with its cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }

    /// When asking again makes sense, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }
}

/// A wait as the `Retry-After` header has it, in whole seconds; rounded up, since a caller that obeys must not come too early.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl From<sqlx::Error> for Error {
    /// Sorts what passes by itself from what does not. A violated constraint is an expected answer only
    /// where the caller knows its name (see [`violates`]); everywhere else it is a fault of ours. A text with U+0000, which
    /// an address can hold, is nothing that Postgres could look for.
    fn from(error: sqlx::Error) -> Self {
        if has_sqlstate(&error, NUL_IN_TEXT) {
            Self::invalid("a name or text holds U+0000")
        } else if passes_by_itself(&error) {
            Self::Unavailable {
                retry_after: STORAGE_RETRY_AFTER,
                message: told_of(&error).to_owned(),
                source: Some(Arc::new(error)),
            }
        } else {
            Self::Internal(Arc::new(error))
        }
    }
}

/// An error with all that it was caused by, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Whether what failed may succeed when it is tried again.
pub(super) fn passes_by_itself(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(cause) => {
            cause.code().is_some_and(|code| is_transient(&code))
                || ended_the_session(&**cause)
                || lacks_a_partition(&**cause)
        }
        _ => false,
    }
}

/// Whether there was no partition for a row. They are made before rows are written; one that nobody had rows in may have
/// been dropped in between, and is made again.
fn lacks_a_partition(cause: &dyn DatabaseError) -> bool {
    cause.is_check_violation() && cause.constraint().is_none()
}

/// Whether the server ended the session with it, or refused to begin one: that says something of the server and nothing
/// of a statement. On a disk without a byte left, it cannot even write down what a new session needs (XX000).
fn ended_the_session(cause: &dyn DatabaseError) -> bool {
    let cause = cause.try_downcast_ref::<PgDatabaseError>();
    cause.is_some_and(|cause| matches!(cause.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

fn has_sqlstate(error: &sqlx::Error, wanted: &str) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some(wanted)
}

/// What people are told of what passes by itself.
fn told_of(error: &sqlx::Error) -> &'static str {
    if has_sqlstate(error, DISK_FULL) {
        "the database's disk is full; retention frees what is past, and what is not has to make room elsewhere"
    } else {
        "the database cannot be reached at present"
    }
}

/// Whether an SQLSTATE tells of the server's or the moment's condition rather than of the statement:
/// connection (08), resources (53), shutdown and restart (57P), serialisation and deadlock (40), a standby
/// that cannot write (25006), a disk that fails (58), and what was given up because it took too long: a
/// statement (57014), the wait for a lock (55P03), a transaction (25P03, 25P04).
fn is_transient(sqlstate: &str) -> bool {
    ["08", "40", "53", "57P", "58"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
        || ["25006", "25P03", "25P04", "55P03", "57014"].contains(&sqlstate)
}

/// Whether `error` is the violation of the constraint of that name.
#[must_use]
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .and_then(|cause| cause.constraint())
        == Some(constraint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::PgPool;

    #[test]
    fn what_passes_by_itself_is_unavailable_and_the_rest_internal() {
        let transient = [
            sqlx::Error::PoolTimedOut,
            sqlx::Error::PoolClosed,
            sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into()),
        ];
        for error in transient {
            assert!(matches!(Error::from(error), Error::Unavailable { .. }));
        }
        assert!(matches!(
            Error::from(sqlx::Error::RowNotFound),
            Error::Internal(_)
        ));
    }

    #[test]
    fn states_of_the_server_are_told_from_faults_of_a_statement() {
        for (sqlstate, expected) in [
            ("08006", true),
            ("40P01", true),
            ("53100", true),
            ("53200", true),
            ("53300", true),
            ("57P01", true),
            ("57P03", true),
            ("58030", true),
            ("25006", true),
            ("25P03", true),
            ("55P03", true),
            ("57014", true),
            ("23505", false),
            ("42P01", false),
        ] {
            assert_eq!(is_transient(sqlstate), expected, "{sqlstate}");
        }
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn a_text_that_cannot_be_stored_is_the_caller_s_fault(pool: PgPool) {
        let of_nul = sqlx::query("SELECT 1 WHERE 'a' = $1")
            .bind("a\0b")
            .execute(&pool)
            .await
            .expect_err("is no text");
        assert!(matches!(Error::from(of_nul), Error::Invalid { .. }));
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn a_violated_constraint_is_known_by_its_name(pool: PgPool) {
        let error = sqlx::query(
            "INSERT INTO memberships (project_id, person_id, role, created_at)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'owner', 'epoch')",
        )
        .execute(&pool)
        .await
        .expect_err("the role is unknown");
        assert!(violates(&error, "memberships_role_known"));
        assert!(!violates(&error, "people_email_unique"));
        assert!(matches!(Error::from(error), Error::Internal(_)));
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn what_ends_a_session_passes_by_itself(pool: PgPool) {
        let raised = |level: &str, code: &str| {
            sqlx::AssertSqlSafe(format!(
                "DO $$ BEGIN RAISE {level} USING ERRCODE = '{code}', MESSAGE = 'on purpose'; END $$"
            ))
        };
        let full = sqlx::raw_sql(raised("EXCEPTION", "53100"))
            .execute(&pool)
            .await;
        let full = Error::from(full.expect_err("raised"));
        assert!(full.to_string().contains("disk is full"), "{full}");
        let fault = sqlx::raw_sql(raised("EXCEPTION", "XX000"))
            .execute(&pool)
            .await;
        assert!(matches!(
            fault.map_err(Error::from),
            Err(Error::Internal(_))
        ));
        // The server refuses the session.
        let options = pool.connect_options().as_ref().clone().database("nowhere");
        let refused = PgPool::connect_with(options).await.map_err(Error::from);
        assert!(matches!(refused, Err(Error::Unavailable { .. })));
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn that_a_partition_has_gone_passes_by_itself(pool: PgPool) {
        let insert = "INSERT INTO telemetry_samples (project_id, model_id, measure, series, sampled_at, source, counting, value)
                      VALUES (gen_random_uuid(), gen_random_uuid(), 'requests', 1, '2001-01-01Z', 'otlp', 'level', 1)";
        let homeless = sqlx::query(insert).execute(&pool).await;
        let error = Error::from(homeless.expect_err("there is no partition"));
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }

    #[test]
    fn an_internal_error_does_not_show_its_cause() {
        let error = Error::internal("password=hunter2");
        assert_eq!(error.to_string(), "internal error");
    }
}
