use super::*;
use crate::domain::access::Scope;
use crate::services::access::{FirstAdmin, ensure_first_admin};

const EMAIL: &str = "admin@localhost";

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + hours * 3_600, 0).expect("a valid instant")
}

/// Makes the first administrator at hour 0 and returns the password.
async fn admin(pool: &PgPool) -> String {
    let first = FirstAdmin {
        project_name: "default",
        auto_register: true,
        email: EMAIL,
    };
    let password = ensure_first_admin(pool, at(0), &first).await;
    let password = password.expect("made").expect("nobody was there");
    password.reveal().to_owned()
}

async fn signed_in(pool: &PgPool) -> String {
    let password = admin(pool).await;
    let session = sign_in(pool, at(0), EMAIL, &password).await;
    session.expect("the right password").cookie_value
}

async fn is_live(pool: &PgPool, now: DateTime<Utc>, cookie: &str) -> bool {
    let found = session(pool, now, cookie).await;
    found.expect("Postgres answers").is_some()
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn signing_in_opens_a_session_of_the_person_and_project(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    let found = session(&pool, at(1), &cookie).await.expect("answered");
    let found = found.expect("a live session");
    assert_eq!(found.email, EMAIL);
    assert_eq!(found.project_name, "default");
    assert_eq!(found.role, MemberRole::Admin);
    assert!(found.principal().may(Scope::Admin));
    assert_eq!(found.principal().actor, "person:admin@localhost");
    assert_eq!(found.principal().person_id, Some(found.person_id));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn the_address_is_read_without_regard_to_case_and_spaces(pool: PgPool) {
    let password = admin(&pool).await;
    let session = sign_in(&pool, at(0), " Admin@LocalHost ", &password).await;
    assert!(session.is_ok());
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn only_the_digest_of_a_session_is_stored(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    let stored: Vec<String> = sqlx::query_scalar("SELECT sessions::text FROM sessions")
        .fetch_all(&pool)
        .await
        .expect("rows");
    assert_eq!(stored.len(), 1);
    assert!(!stored[0].contains(&cookie));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn unknown_addresses_wrong_passwords_and_disabled_people_get_one_answer(pool: PgPool) {
    let password = admin(&pool).await;
    sqlx::query("UPDATE people SET disabled_at = created_at")
        .execute(&pool)
        .await
        .expect("disabled");
    let long = format!("{}@localhost", "x".repeat(300));
    for (email, password) in [
        (EMAIL, password.as_str()),
        (EMAIL, "wrong"),
        ("nobody@localhost", "wrong"),
        ("no address", "wrong"),
        ("zero\0@localhost", "wrong"),
        (&long, "wrong"),
    ] {
        let refusal = sign_in(&pool, at(0), email, password).await.err();
        let refusal = refusal.expect("not signed in");
        assert!(matches!(refusal, Error::Unauthenticated(_)), "{email}");
        assert_eq!(
            refusal.to_string(),
            "the e-mail address or the password is wrong"
        );
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_session_that_was_altered_or_invented_is_none(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    let mut altered = cookie.clone();
    let last = altered.pop().expect("not empty");
    altered.push(if last == 'A' { 'B' } else { 'A' });
    for presented in [altered.as_str(), "", "invented", &cookie[..20]] {
        assert!(!is_live(&pool, at(0), presented).await, "{presented:?}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_session_ends_after_twelve_hours_without_use(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    assert!(is_live(&pool, at(11), &cookie).await);
    assert!(is_live(&pool, at(22), &cookie).await, "use prolongs it");
    assert!(!is_live(&pool, at(34), &cookie).await);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_session_ends_after_seven_days_even_in_use(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    for hour in (0..7 * 24).step_by(8) {
        assert!(is_live(&pool, at(hour), &cookie).await, "hour {hour}");
    }
    assert!(!is_live(&pool, at(7 * 24), &cookie).await);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn the_last_use_is_noted_at_most_once_a_minute(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    let mut noted = Vec::new();
    for seconds in [30, 59, 60, 100] {
        let now = at(0) + TimeDelta::seconds(seconds);
        assert!(is_live(&pool, now, &cookie).await);
        let seen: DateTime<Utc> = sqlx::query_scalar("SELECT last_seen_at FROM sessions")
            .fetch_one(&pool)
            .await
            .expect("one session");
        noted.push((seen - at(0)).num_seconds());
    }
    assert_eq!(noted, [0, 0, 60, 60]);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn signing_out_ends_the_session_and_can_be_repeated(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    sign_out(&pool, at(1), &cookie).await.expect("signed out");
    assert!(!is_live(&pool, at(1), &cookie).await);
    sign_out(&pool, at(1), &cookie).await.expect("no error");
    let ends: i64 =
        sqlx::query_scalar("SELECT count(*) FROM audit_events WHERE action = 'person.signed_out'")
            .fetch_one(&pool)
            .await
            .expect("a count");
    assert_eq!(ends, 1);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_session_without_membership_or_with_a_disabled_person_is_none(pool: PgPool) {
    let cookie = signed_in(&pool).await;
    for (change, undo) in [
        (
            "UPDATE people SET disabled_at = created_at",
            "UPDATE people SET disabled_at = NULL",
        ),
        ("DELETE FROM memberships", "SELECT 1"),
    ] {
        sqlx::query(change).execute(&pool).await.expect("changed");
        assert!(!is_live(&pool, at(0), &cookie).await, "{change}");
        sqlx::query(undo).execute(&pool).await.expect("undone");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_session_is_not_opened_for_a_password_replaced_meanwhile(pool: PgPool) {
    admin(&pool).await;
    let mut conn = pool.acquire().await.expect("a connection");
    let verified = stored::credentials(&mut conn, EMAIL)
        .await
        .expect("answered");
    let verified = verified.expect("known");
    assert!(
        stored::hold_credentials(&mut conn, &verified)
            .await
            .expect("answered")
    );
    sqlx::query("UPDATE people SET password_hash = 'another'")
        .execute(&pool)
        .await
        .expect("replaced");
    assert!(
        !stored::hold_credentials(&mut conn, &verified)
            .await
            .expect("answered")
    );
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn after_five_failures_the_right_password_has_to_wait_too(pool: PgPool) {
    let password = admin(&pool).await;
    for _ in 0..5 {
        let refusal = sign_in(&pool, at(0), EMAIL, "wrong").await.err();
        assert!(matches!(refusal, Some(Error::Unauthenticated(_))));
    }
    let early = at(0) + TimeDelta::seconds(10);
    let refusal = sign_in(&pool, early, EMAIL, &password).await.err();
    let Some(Error::TooManyRequests {
        retry_after,
        message,
    }) = refusal
    else {
        panic!("expected to be asked to wait, got {refusal:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(21));
    assert!(message.ends_with("try again in 21 seconds"), "{message}");

    let later = at(0) + TimeDelta::seconds(30);
    assert!(sign_in(&pool, later, EMAIL, &password).await.is_ok());
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM sign_in_failures")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(left, 0, "success forgives");
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn an_unknown_address_has_to_wait_like_a_known_one(pool: PgPool) {
    for _ in 0..5 {
        let _ = sign_in(&pool, at(0), "nobody@localhost", "wrong").await;
    }
    let refusal = sign_in(&pool, at(0), "nobody@localhost", "wrong").await;
    assert!(matches!(refusal.err(), Some(Error::TooManyRequests { .. })));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn attempts_made_at_once_are_each_counted(pool: PgPool) {
    let email = Email::parse("nobody@localhost").expect("an address");
    let attempts = (0..20).map(|_| count_attempt(&pool, at(0), &email));
    let outcomes = futures::future::join_all(attempts).await;
    let allowed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(allowed, 5);
}

#[test]
fn the_wait_doubles_from_half_a_minute_to_a_quarter_of_an_hour() {
    for (failures, seconds) in [
        (0, 0),
        (4, 0),
        (5, 30),
        (6, 60),
        (7, 120),
        (9, 480),
        (10, 900),
        (i32::MAX, 900),
    ] {
        assert_eq!(wait_after(failures).num_seconds(), seconds, "{failures}");
    }
}

#[test]
fn failures_are_forgotten_after_a_day() {
    let known = SignInFailures {
        failures: 50,
        last_failed_at: at(0),
    };
    let wait = after_attempt(known, at(0)).expect_err("too early");
    assert_eq!(wait, LONGEST_WAIT);
    assert_eq!(after_attempt(known, at(1)).expect("allowed").failures, 51);
    assert_eq!(after_attempt(known, at(24)).expect("allowed").failures, 1);
}

#[test]
fn a_long_wait_is_told_in_minutes() {
    let Error::TooManyRequests { message, .. } = too_many(TimeDelta::seconds(899)) else {
        panic!("expected to be asked to wait");
    };
    assert!(message.ends_with("try again in 15 minutes"), "{message}");
}
