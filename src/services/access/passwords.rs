//! Passwords: Argon2id with 19 MiB, two passes and one lane, off the async threads. Checking costs memory
//! and time on purpose, so only a few are checked at once; the rest queue, and then are asked to come back.

use std::sync::LazyLock;
use std::time::Duration;

use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::seq::IndexedRandom;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::services::error::{Error, FieldProblem};

const SHORTEST: usize = 12;
const LONGEST: usize = 256;
const LONGEST_WAIT_FOR_A_TURN: Duration = Duration::from_secs(10);

/// Without letters and digits that look alike, because one-time passwords are typed from a terminal.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// How many passwords may be hashed at once: bounds the memory that sign-ins can claim.
static TURNS: Semaphore = Semaphore::const_new(4);

/// The hash of a password nobody knows. An unknown address is checked against it, so that it costs what a
/// known one costs.
static DECOY: LazyLock<String> = LazyLock::new(|| {
    hash_now(&one_time()).expect("hashing a short text with constant parameters cannot fail")
});

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(19 * 1024, 2, 1, None).expect("the parameters are within their ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_now(password: &str) -> Result<String, HashError> {
    Ok(argon2().hash_password(password.as_bytes())?.to_string())
}

/// The hash of a password in PHC string format.
pub(super) async fn hash(password: &str) -> Result<String, Error> {
    let _turn = turn().await?;
    let password = password.to_owned();
    tokio::task::spawn_blocking(move || hash_now(&password))
        .await
        .map_err(Error::internal)?
        .map_err(Error::internal)
}

/// Whether the password is that of `hash`; never, after the same work, when there is no hash.
pub(super) async fn verify(password: &str, hash: Option<&str>) -> Result<bool, Error> {
    let _turn = turn().await?;
    let password = password.to_owned();
    let known = hash.map(str::to_owned);
    tokio::task::spawn_blocking(move || {
        // Made even when it is not needed: making it on the first unknown address would show.
        let decoy = DECOY.as_str();
        let checked = known.as_deref().unwrap_or(decoy);
        match argon2().verify_password(password.as_bytes(), checked) {
            Ok(()) => Ok(known.is_some()),
            Err(HashError::PasswordInvalid) => Ok(false),
            Err(error) => Err(error),
        }
    })
    .await
    .map_err(Error::internal)?
    .map_err(Error::internal)
}

async fn turn() -> Result<SemaphorePermit<'static>, Error> {
    tokio::time::timeout(LONGEST_WAIT_FOR_A_TURN, TURNS.acquire())
        .await
        .map_err(|_| {
            Error::unavailable(
                LONGEST_WAIT_FOR_A_TURN,
                "too many sign-ins are being checked",
            )
        })?
        .map_err(Error::internal)
}

/// A random password of 99 bits, in groups that are easy to type.
pub(super) fn one_time() -> String {
    let mut random = rand::rng();
    let groups: Vec<String> = (0..4)
        .map(|_| {
            (0..5)
                .filter_map(|_| ALPHABET.choose(&mut random))
                .map(|letter| char::from(*letter))
                .collect()
        })
        .collect();
    groups.join("-")
}

/// Refuses a new password that is too short, too long, or built from the person's address.
pub(super) fn check_new(password: &str, email: &str) -> Result<(), FieldProblem> {
    let name = email.split('@').next().unwrap_or(email);
    let cause = if password.chars().count() < SHORTEST {
        format!("must have at least {SHORTEST} characters")
    } else if password.len() > LONGEST {
        format!("must have at most {LONGEST} bytes")
    } else if name.len() > 3 && password.to_lowercase().contains(name) {
        "must not contain the name in the e-mail address".to_owned()
    } else if password.chars().all(|letter| password.starts_with(letter)) {
        "must not be one character repeated".to_owned()
    } else {
        return Ok(());
    };
    Err(FieldProblem::new("new_password", cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_is_verified() {
        let stored = hash("correct horse battery").await.expect("hashed");
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        for (password, hash, expected) in [
            ("correct horse battery", Some(stored.as_str()), true),
            ("correct horse batterz", Some(stored.as_str()), false),
            ("", Some(stored.as_str()), false),
            ("correct horse battery", None, false),
        ] {
            assert_eq!(verify(password, hash).await.expect("checked"), expected);
        }
    }

    #[test]
    fn the_decoy_costs_what_a_real_hash_costs() {
        assert!(DECOY.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[tokio::test]
    async fn a_damaged_hash_is_an_internal_error_and_not_a_wrong_password() {
        let outcome = verify("anything at all", Some("not a hash")).await;
        assert!(matches!(outcome, Err(Error::Internal(_))));
    }

    #[test]
    fn one_time_passwords_are_typeable_and_pass_the_rules() {
        let password = one_time();
        assert_eq!(password.len(), 23);
        assert_ne!(password, one_time());
        assert_eq!(check_new(&password, "admin@localhost"), Ok(()));
    }

    #[test]
    fn weak_passwords_are_refused_with_the_reason() {
        for (password, reason) in [
            ("short", "must have at least 12 characters"),
            (
                "Margaret-1969",
                "must not contain the name in the e-mail address",
            ),
            ("aaaaaaaaaaaaaaaa", "must not be one character repeated"),
            (&"long".repeat(65), "must have at most 256 bytes"),
        ] {
            let problem = check_new(password, "margaret@example.org").expect_err(password);
            assert_eq!(problem.cause, reason);
        }
    }
}
