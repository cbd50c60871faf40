use super::*;
use crate::services::access::{session, sign_in};

const ADMIN: &str = "admin@localhost";
const CHOSEN: &str = "a better chosen one";

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minutes * 60, 0).expect("a valid instant")
}

const FIRST: FirstAdmin<'_> = FirstAdmin {
    project_name: "default",
    auto_register: true,
    email: ADMIN,
};

async fn first(pool: &PgPool) -> OneTimePassword {
    let password = ensure_first_admin(pool, at(0), &FIRST).await;
    password.expect("made").expect("nobody was there")
}

async fn signed_in(pool: &PgPool, password: &str) -> (String, Session) {
    let opened = sign_in(pool, at(0), ADMIN, password).await;
    let cookie = opened.expect("the right password").cookie_value;
    let found = session(pool, at(0), &cookie).await.expect("answered");
    (cookie, found.expect("live"))
}

async fn actions(pool: &PgPool, project_id: ProjectId) -> Vec<(String, String, String)> {
    let mut conn = pool.acquire().await.expect("a connection");
    let rows = audit::latest(&mut conn, project_id, 100).await;
    rows.expect("rows")
        .into_iter()
        .map(|row| (row.actor, row.action, row.object_id))
        .collect()
}

fn ada(role: MemberRole) -> NewPerson<'static> {
    NewPerson {
        email: "Ada@Example.org",
        display_name: " Ada ",
        role,
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn the_first_start_makes_one_administrator_and_the_second_none(pool: PgPool) {
    let password = first(&pool).await;
    assert_eq!(password.email, ADMIN);
    let again = ensure_first_admin(&pool, at(1), &FIRST).await;
    assert!(again.expect("answered").is_none());

    let (_, session) = signed_in(&pool, password.reveal()).await;
    let people = list_people(&pool, session.project_id)
        .await
        .expect("listed");
    assert_eq!(people.len(), 1);
    assert_eq!(
        (people[0].email.as_str(), people[0].role),
        (ADMIN, MemberRole::Admin)
    );
    assert!(actions(&pool, session.project_id).await.contains(&(
        "service".into(),
        "person.added".into(),
        ADMIN.into()
    )));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn services_that_start_at_once_make_one_administrator(pool: PgPool) {
    let starts = (0..4).map(|_| ensure_first_admin(&pool, at(0), &FIRST));
    let made: Vec<_> = futures::future::join_all(starts).await;
    let shown = made
        .into_iter()
        .filter_map(|outcome| outcome.expect("answered"))
        .count();
    assert_eq!(shown, 1);
}

#[test]
fn a_one_time_password_does_not_print_itself() {
    let password = OneTimePassword {
        email: ADMIN.into(),
        password: "canary".into(),
    };
    assert!(!format!("{password:?}").contains("canary"));
    assert_eq!(password.reveal(), "canary");
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn an_added_person_signs_in_with_the_one_time_password(pool: PgPool) {
    let (_, admin) = signed_in(&pool, first(&pool).await.reveal()).await;
    let new = ada(MemberRole::Operator);
    let password = add_person(&pool, at(1), admin.project_id, &new, &admin.actor()).await;
    let password = password.expect("added");
    assert_eq!(password.email, "ada@example.org");

    let opened = sign_in(&pool, at(1), "ada@example.org", password.reveal()).await;
    let cookie = opened.expect("the one-time password").cookie_value;
    let found = session(&pool, at(1), &cookie).await.expect("answered");
    let found = found.expect("live");
    assert_eq!(
        (found.display_name.as_str(), found.role),
        ("Ada", MemberRole::Operator)
    );
    assert_eq!(found.project_id, admin.project_id);
    assert!(actions(&pool, admin.project_id).await.contains(&(
        "person:admin@localhost".into(),
        "person.added".into(),
        "ada@example.org".into()
    )));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn an_address_is_added_once(pool: PgPool) {
    let (_, admin) = signed_in(&pool, first(&pool).await.reveal()).await;
    let new = ada(MemberRole::Viewer);
    let added = add_person(&pool, at(1), admin.project_id, &new, "person:admin").await;
    assert!(added.is_ok());
    let again = add_person(&pool, at(2), admin.project_id, &new, "person:admin").await;
    assert!(matches!(again, Err(Error::Conflict(_))));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn unusable_people_are_refused_by_field(pool: PgPool) {
    let (_, admin) = signed_in(&pool, first(&pool).await.reveal()).await;
    let new = NewPerson {
        email: "not an address",
        display_name: "line\nbreak",
        role: MemberRole::Viewer,
    };
    let refusal = add_person(&pool, at(1), admin.project_id, &new, "person:admin").await;
    let Err(Error::Invalid { fields, .. }) = refusal else {
        panic!("expected two field problems, got {refusal:?}");
    };
    let named: Vec<&str> = fields
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(named, ["email", "display_name"]);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_changed_password_ends_every_other_session(pool: PgPool) {
    let password = first(&pool).await;
    let (other, _) = signed_in(&pool, password.reveal()).await;
    let (_, mine) = signed_in(&pool, password.reveal()).await;
    let changed = change_password(&pool, at(1), &mine, password.reveal(), CHOSEN).await;
    let opened = changed.expect("changed").cookie_value;

    assert!(
        session(&pool, at(1), &other)
            .await
            .expect("answered")
            .is_none()
    );
    assert!(
        session(&pool, at(1), &opened)
            .await
            .expect("answered")
            .is_some()
    );
    assert!(
        sign_in(&pool, at(1), ADMIN, password.reveal())
            .await
            .is_err()
    );
    assert!(sign_in(&pool, at(1), ADMIN, CHOSEN).await.is_ok());
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_password_is_changed_only_by_who_knows_it_and_for_a_fit_one(pool: PgPool) {
    let password = first(&pool).await;
    let present = password.reveal();
    let (_, mine) = signed_in(&pool, present).await;
    for (current, new, field) in [
        ("wrong", CHOSEN, "current_password"),
        (present, "short", "new_password"),
        (present, present, "new_password"),
    ] {
        let refusal = change_password(&pool, at(1), &mine, current, new).await;
        let Some(Error::Invalid { fields, .. }) = refusal.err() else {
            panic!("expected a field problem for {new:?}");
        };
        assert_eq!(fields[0].field, field);
    }
    assert!(sign_in(&pool, at(1), ADMIN, present).await.is_ok());
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn guessing_the_present_password_is_slowed_down(pool: PgPool) {
    let (_, mine) = signed_in(&pool, first(&pool).await.reveal()).await;
    for _ in 0..5 {
        let _ = change_password(&pool, at(1), &mine, "wrong", CHOSEN).await;
    }
    let refusal = change_password(&pool, at(1), &mine, "wrong", CHOSEN).await;
    assert!(matches!(refusal.err(), Some(Error::TooManyRequests { .. })));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_disabled_person_is_out_at_once_and_a_reset_lets_them_in(pool: PgPool) {
    let (_, admin) = signed_in(&pool, first(&pool).await.reveal()).await;
    let project_id = admin.project_id;
    let new = ada(MemberRole::Admin);
    add_person(&pool, at(1), project_id, &new, &admin.actor())
        .await
        .expect("added");

    let by = admin.actor();
    disable_person(&pool, at(2), project_id, ADMIN, &by)
        .await
        .expect("disabled");
    disable_person(&pool, at(2), project_id, ADMIN, &by)
        .await
        .expect("no error");
    let sessions: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(sessions, 0);

    let reset = reset_password(&pool, at(3), project_id, ADMIN, "person:ada@example.org").await;
    let password = reset.expect("reset");
    assert!(
        sign_in(&pool, at(3), ADMIN, password.reveal())
            .await
            .is_ok()
    );
    let disabled = actions(&pool, project_id)
        .await
        .into_iter()
        .filter(|(_, action, _)| action == "person.disabled")
        .count();
    assert_eq!(disabled, 1, "repeating it changes nothing");
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn the_last_administrator_stays(pool: PgPool) {
    let (_, admin) = signed_in(&pool, first(&pool).await.reveal()).await;
    let refusal = disable_person(&pool, at(1), admin.project_id, ADMIN, &admin.actor()).await;
    assert!(matches!(refusal, Err(Error::Conflict(_))));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn people_of_other_projects_do_not_exist(pool: PgPool) {
    first(&pool).await;
    let foreign = ProjectId::new(at(0));
    let disabled = disable_person(&pool, at(1), foreign, ADMIN, "person:eve").await;
    assert!(matches!(disabled, Err(Error::NotFound { .. })));
    let reset = reset_password(&pool, at(1), foreign, ADMIN, "person:eve").await;
    assert!(matches!(reset, Err(Error::NotFound { .. })));
}

#[test]
fn addresses_are_normalised_or_refused() {
    for (text, expected) in [
        (" Ada@Example.org ", Some("ada@example.org")),
        ("admin@localhost", Some("admin@localhost")),
        ("ada", None),
        ("@example.org", None),
        ("ada@", None),
        ("ada@two@example.org", None),
        ("ada lovelace@example.org", None),
        ("ada\r\nbcc:eve@example.org", None),
    ] {
        let parsed = Email::parse(text);
        assert_eq!(parsed.as_ref().map(Email::as_str), expected, "{text:?}");
    }
}
