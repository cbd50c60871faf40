use super::*;
use crate::domain::access::Scope::{Admin, Ingest, Read};
use chrono::TimeDelta;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minutes * 60, 0).expect("a valid instant")
}

async fn project(pool: &PgPool) -> ProjectId {
    let mut conn = pool.acquire().await.expect("a connection");
    let id = ProjectId::new(at(0));
    stored::project_named(&mut conn, id, "default", false, at(0))
        .await
        .expect("made")
}

fn request(name: &'static str) -> TokenRequest<'static> {
    TokenRequest {
        name,
        scopes: &[Read, Ingest],
        expires_at: Some(at(60)),
    }
}

async fn made(pool: &PgPool, project_id: ProjectId) -> NewToken {
    create_token(pool, at(0), project_id, &request("trainer"), "person:ada")
        .await
        .expect("made")
}

async fn refusal(pool: &PgPool, now: DateTime<Utc>, presented: &str) -> String {
    match authenticate_token(pool, now, presented).await {
        Err(Error::Unauthenticated(told)) => told,
        other => panic!("expected {presented:?} to be refused, got {other:?}"),
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_token_stands_for_its_project_and_scopes(pool: PgPool) {
    let project_id = project(&pool).await;
    let token = made(&pool, project_id).await;
    let principal = authenticate_token(&pool, at(1), &token.secret).await;
    assert_eq!(
        principal.expect("known"),
        Principal {
            actor: "token:trainer".into(),
            project_id,
            scopes: vec![Ingest, Read],
            person_id: None,
            generation: None,
        }
    );
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn the_secret_has_the_published_form_and_is_not_stored(pool: PgPool) {
    let token = made(&pool, project(&pool).await).await;
    let parts: Vec<&str> = token.secret.splitn(3, '_').collect();
    assert_eq!(parts[0], "bw");
    assert_eq!(parts[1], token.token_id.0.simple().to_string());
    assert_eq!(parts[2].len(), 43);
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT tokens::text FROM tokens UNION ALL SELECT audit_events::text FROM audit_events",
    )
    .fetch_all(&pool)
    .await
    .expect("rows");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| !row.contains(parts[2])));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn altered_cut_and_invented_tokens_get_one_answer(pool: PgPool) {
    let project_id = project(&pool).await;
    let token = made(&pool, project_id).await;
    let other = create_token(&pool, at(0), project_id, &request("other"), "person:ada").await;
    let other = other.expect("made");
    let secret_of_other = &other.secret[36..];
    let (kept, cut) = token.secret.split_at(token.secret.len() - 1);
    let altered = format!("{kept}{}", if cut == "A" { "B" } else { "A" });
    let unknown_id = format!("bw_{}_{secret_of_other}", Uuid::nil().simple());
    let swapped = format!("bw_{}_{secret_of_other}", token.token_id.0.simple());
    let hyphenated = format!("bw_{}_{}", token.token_id, &token.secret[36..]);
    for presented in [
        "",
        "bw",
        "bw__",
        "bw_x_y",
        kept,
        &altered,
        &unknown_id,
        &swapped,
        &hyphenated,
        &token.secret.to_uppercase(),
        &format!("{} ", token.secret),
        &token.secret[3..],
    ] {
        assert_eq!(
            refusal(&pool, at(1), presented).await,
            "the token is not known"
        );
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn an_expired_token_says_so_to_its_holder_only(pool: PgPool) {
    let token = made(&pool, project(&pool).await).await;
    let just_before = at(60) - TimeDelta::microseconds(1);
    assert!(
        authenticate_token(&pool, just_before, &token.secret)
            .await
            .is_ok()
    );
    assert_eq!(
        refusal(&pool, at(60), &token.secret).await,
        "the token trainer expired on 2023-11-14 23:13 UTC"
    );
    let guessed = format!("bw_{}_guess", token.token_id.0.simple());
    assert_eq!(
        refusal(&pool, at(60), &guessed).await,
        "the token is not known"
    );
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_revoked_token_is_refused_at_once_and_its_name_is_free(pool: PgPool) {
    let project_id = project(&pool).await;
    let token = made(&pool, project_id).await;
    let taken = create_token(&pool, at(1), project_id, &request("trainer"), "person:ada").await;
    assert!(matches!(taken.err(), Some(Error::Conflict(_))));

    revoke_token(&pool, at(1), project_id, token.token_id, "person:ada")
        .await
        .expect("revoked");
    let told = refusal(&pool, at(1), &token.secret).await;
    assert_eq!(
        told,
        "the token trainer was revoked on 2023-11-14 22:14 UTC"
    );
    made(&pool, project_id).await;

    let again = revoke_token(&pool, at(2), project_id, token.token_id, "person:ada").await;
    assert!(matches!(again, Err(Error::NotFound { .. })));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_token_of_another_project_does_not_exist(pool: PgPool) {
    let token = made(&pool, project(&pool).await).await;
    let foreign = ProjectId::new(at(0));
    let revoked = revoke_token(&pool, at(1), foreign, token.token_id, "person:eve").await;
    assert!(matches!(revoked, Err(Error::NotFound { .. })));
    assert!(
        authenticate_token(&pool, at(1), &token.secret)
            .await
            .is_ok()
    );
    assert_eq!(list_tokens(&pool, foreign).await.expect("listed"), []);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn the_last_use_is_listed_to_the_minute(pool: PgPool) {
    let project_id = project(&pool).await;
    let token = made(&pool, project_id).await;
    let mut noted = Vec::new();
    for seconds in [5, 30, 64, 65] {
        let now = at(0) + TimeDelta::seconds(seconds);
        authenticate_token(&pool, now, &token.secret)
            .await
            .expect("known");
        let listed = list_tokens(&pool, project_id).await.expect("listed");
        let used = listed[0].last_used_at.expect("used");
        noted.push((used - at(0)).num_seconds());
    }
    assert_eq!(noted, [5, 5, 5, 65]);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn making_and_revoking_are_audited(pool: PgPool) {
    let project_id = project(&pool).await;
    let token = made(&pool, project_id).await;
    revoke_token(&pool, at(1), project_id, token.token_id, "person:eve")
        .await
        .expect("revoked");
    let mut conn = pool.acquire().await.expect("a connection");
    let rows = audit::latest(&mut conn, project_id, 10)
        .await
        .expect("rows");
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.actor.as_str(), row.action.as_str(), &row.detail["name"]))
        .collect();
    assert_eq!(
        told,
        [
            ("person:eve", "token.revoked", &json!("trainer")),
            ("person:ada", "token.created", &json!("trainer")),
        ]
    );
    assert_eq!(rows[1].detail["scopes"], json!(["ingest", "read"]));
}

#[test]
fn unusable_requests_are_refused_by_field() {
    let good = request("trainer");
    let table: [(TokenRequest<'_>, &[&str]); 5] = [
        (request("trainer"), &[]),
        (TokenRequest { name: "  ", ..good }, &["name"]),
        (
            TokenRequest {
                scopes: &[],
                ..good
            },
            &["scopes"],
        ),
        (
            TokenRequest {
                expires_at: Some(at(0)),
                ..good
            },
            &["expires_at"],
        ),
        (
            TokenRequest {
                name: "a\tb",
                scopes: &[],
                expires_at: Some(at(-1)),
            },
            &["name", "scopes", "expires_at"],
        ),
    ];
    for (request, expected) in table {
        let named: Vec<String> = match checked(&request, at(0)) {
            Err(Error::Invalid { fields, .. }) => {
                fields.into_iter().map(|problem| problem.field).collect()
            }
            _ => Vec::new(),
        };
        assert_eq!(named, expected, "{request:?}");
    }
}

#[test]
fn scopes_are_kept_once_and_in_order() {
    let twice = TokenRequest {
        scopes: &[Admin, Ingest, Admin],
        ..request("trainer")
    };
    let (_, scopes) = checked(&twice, at(0)).expect("good");
    assert_eq!(scopes, ["ingest", "admin"]);
}
