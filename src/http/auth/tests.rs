use super::*;
use crate::formats::Limits;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{Request, Response};
use axum::routing::{get, post};
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::domain::clock::ReplayClock;
use crate::services::access::{
    FirstAdmin, MemberRole, NewPerson, TokenRequest, add_person, create_token, ensure_first_admin,
    revoke_token, sign_in, sign_out,
};

#[derive(Clone)]
struct TestState {
    pool: PgPool,
    intake: Intake,
    clock: ReplayClock,
    site: Site,
}

impl FromRef<TestState> for PgPool {
    fn from_ref(state: &TestState) -> Self {
        state.pool.clone()
    }
}

impl FromRef<TestState> for Intake {
    fn from_ref(state: &TestState) -> Self {
        state.intake.clone()
    }
}

impl FromRef<TestState> for WallClock {
    fn from_ref(state: &TestState) -> Self {
        Self(Arc::new(state.clock.clone()))
    }
}

impl FromRef<TestState> for Site {
    fn from_ref(state: &TestState) -> Self {
        state.site.clone()
    }
}

/// A router with one route per scope, a project, and its administrator.
struct TestEdge {
    state: TestState,
    admin: Session,
    admin_cookie: String,
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("a valid instant")
}

async fn who<N: Needs>(caller: Authorised<N>) -> String {
    caller.principal.actor
}

impl TestEdge {
    async fn new(pool: PgPool) -> Self {
        let site = Site::at("http://localhost:8080").expect("a good URL");
        let clock = ReplayClock::starting_at(start());
        let first = FirstAdmin {
            project_name: "default",
            auto_register: false,
            email: "admin@localhost",
        };
        let password = ensure_first_admin(&pool, start(), &first).await;
        let password = password.expect("made").expect("nobody was there");
        let opened = sign_in(&pool, start(), &password.email, password.reveal()).await;
        let admin_cookie = opened.expect("signed in").cookie_value;
        let admin = session(&pool, start(), &admin_cookie).await;
        Self {
            admin: admin.expect("answered").expect("live"),
            state: TestState {
                intake: Intake::start(pool.clone(), pool.clone(), Limits::default(), u64::MAX),
                pool,
                clock,
                site,
            },
            admin_cookie,
        }
    }

    async fn token(&self, name: &str, scopes: &[Scope]) -> String {
        let request = TokenRequest {
            name,
            scopes,
            expires_at: Some(start() + TimeDelta::hours(1)),
        };
        let project_id = self.admin.project_id;
        let made = create_token(&self.state.pool, start(), project_id, &request, "test").await;
        made.expect("made").secret
    }

    async fn ask(&self, request: Builder) -> Response<Body> {
        let router = Router::new()
            .route("/ingest", post(who::<Ingest>))
            .route("/read", get(who::<Read>))
            .route("/operate", post(who::<Operate>))
            .route("/admin", post(who::<Admin>))
            .with_state(self.state.clone());
        let request = request.body(Body::empty()).expect("a request");
        router.oneshot(request).await.expect("an answer")
    }

    async fn status(&self, request: Builder) -> u16 {
        self.ask(request).await.status().as_u16()
    }

    /// A request of the administrator's browser, without proof that it is of our pages.
    fn by_cookie(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost:8080")
            .header(
                COOKIE,
                format!("theme=dark; bellwether={}", self.admin_cookie),
            )
    }
}

fn bearer(method: Method, path: &str, token: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {token}"))
}

async fn detail(response: Response<Body>) -> String {
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let problem: Value = serde_json::from_slice(&bytes).expect("a problem document");
    problem["detail"].as_str().expect("text").to_owned()
}

const ROUTES: [(Method, &str); 4] = [
    (Method::POST, "/ingest"),
    (Method::GET, "/read"),
    (Method::POST, "/operate"),
    (Method::POST, "/admin"),
];

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn every_route_wants_a_credential_and_says_which(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    for (method, path) in ROUTES {
        let response = edge.ask(Request::builder().method(method).uri(path)).await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        assert!(detail(response).await.contains("Authorization: Bearer"));
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn tokens_reach_exactly_the_routes_of_their_scopes(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    for (scope, expected) in [
        (Scope::Ingest, [200, 403, 403, 403]),
        (Scope::Read, [403, 200, 403, 403]),
        (Scope::Operate, [403, 200, 200, 403]),
        (Scope::Admin, [200, 200, 200, 200]),
    ] {
        let token = edge.token(scope.name(), &[scope]).await;
        let mut found = [0; 4];
        for ((method, path), status) in ROUTES.into_iter().zip(&mut found) {
            *status = edge.status(bearer(method, path, &token)).await;
        }
        assert_eq!(found, expected, "{scope}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn roles_reach_exactly_the_routes_of_their_scopes(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    for (role, expected) in [
        (MemberRole::Viewer, [403, 200, 403, 403]),
        (MemberRole::Operator, [403, 200, 200, 403]),
        (MemberRole::Admin, [200, 200, 200, 200]),
    ] {
        let email = format!("{role}@example.org");
        let new = NewPerson {
            email: &email,
            display_name: "Somebody",
            role,
        };
        let pool = &edge.state.pool;
        let password = add_person(pool, start(), edge.admin.project_id, &new, "test").await;
        let opened = sign_in(pool, start(), &email, password.expect("added").reveal()).await;
        let cookie = opened.expect("signed in").cookie_value;
        let session = session(pool, start(), &cookie).await.expect("answered");
        let csrf_token = session.expect("live").csrf_token;
        let mut found = [0; 4];
        for ((method, path), status) in ROUTES.into_iter().zip(&mut found) {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(COOKIE, format!("bellwether={cookie}"))
                .header(CSRF_HEADER, &csrf_token);
            *status = edge.status(request).await;
        }
        assert_eq!(found, expected, "{role}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_refusal_names_the_scope_that_is_missing(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    let token = edge.token("exporter", &[Scope::Read]).await;
    let response = edge.ask(bearer(Method::POST, "/operate", &token)).await;
    assert_eq!(
        detail(response).await,
        "this needs the scope operate; token:exporter has read"
    );
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_token_may_come_in_any_of_the_known_headers(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    let token = edge.token("sender", &[Scope::Read]).await;
    let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
    for (name, value, status) in [
        ("authorization", format!("Bearer {token}"), 200),
        ("authorization", format!("bearer  {token}"), 200),
        ("authorization", basic(format!("any:{token}")), 200),
        ("authorization", basic(format!(":{token}")), 200),
        ("x-api-key", token.clone(), 200),
        ("authorization", basic(token.clone()), 401),
        ("authorization", "Basic !!!".to_owned(), 401),
        ("authorization", token.clone(), 401),
        ("authorization", format!("Digest {token}"), 401),
        ("authorization", "Bearer ".to_owned(), 401),
        ("x-api-key", String::new(), 401),
    ] {
        let request = Request::get("/read").header(name, &value);
        assert_eq!(edge.status(request).await, status, "{name}: {value}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn altered_expired_and_revoked_tokens_are_refused(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    let token = edge.token("short", &[Scope::Read]).await;
    let ask = |token: String| edge.ask(bearer(Method::GET, "/read", &token));
    assert_eq!(ask(format!("{token}x")).await.status(), 401);
    assert_eq!(ask(token.clone()).await.status(), 200);
    edge.state.clock.advance_to(start() + TimeDelta::hours(1));
    assert_eq!(ask(token).await.status(), 401);

    let request = TokenRequest {
        name: "revoked",
        scopes: &[Scope::Read],
        expires_at: None,
    };
    let (pool, now, project_id) = (&edge.state.pool, start(), edge.admin.project_id);
    let made = create_token(pool, now, project_id, &request, "test")
        .await
        .expect("made");
    assert_eq!(ask(made.secret.clone()).await.status(), 200);
    revoke_token(pool, now, project_id, made.token_id, "test")
        .await
        .expect("revoked");
    let response = ask(made.secret).await;
    assert_eq!(response.status(), 401);
    assert!(detail(response).await.contains("was revoked"));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_wrong_token_does_not_fall_back_to_the_session(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    assert_eq!(edge.status(edge.by_cookie(Method::GET, "/read")).await, 200);
    for header in ["authorization", "x-api-key"] {
        let request = edge
            .by_cookie(Method::GET, "/read")
            .header(header, "Bearer wrong");
        assert_eq!(edge.status(request).await, 401, "{header}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn ended_idle_and_altered_sessions_are_refused(pool: PgPool) {
    let mut edge = TestEdge::new(pool).await;
    let good = edge.admin_cookie.clone();
    edge.admin_cookie.push('x');
    assert_eq!(edge.status(edge.by_cookie(Method::GET, "/read")).await, 401);

    edge.admin_cookie = good;
    edge.state.clock.advance_to(start() + TimeDelta::hours(12));
    assert_eq!(edge.status(edge.by_cookie(Method::GET, "/read")).await, 401);

    edge.state.clock = ReplayClock::starting_at(start());
    assert_eq!(edge.status(edge.by_cookie(Method::GET, "/read")).await, 200);
    sign_out(&edge.state.pool, start(), &edge.admin_cookie)
        .await
        .expect("signed out");
    assert_eq!(edge.status(edge.by_cookie(Method::GET, "/read")).await, 401);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_change_by_session_needs_its_token_and_our_own_page(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    let right = edge.admin.csrf_token.as_str();
    let own = "http://localhost:8080";
    let evil = "http://evil.example";
    for (name, token, origin, sec_fetch_site, status) in [
        ("right", Some(right), Some(own), Some("same-origin"), 200),
        ("right, older browser", Some(right), Some(own), None, 200),
        ("right, no browser", Some(right), None, None, 200),
        ("no token", None, Some(own), Some("same-origin"), 403),
        ("empty token", Some(""), Some(own), None, 403),
        ("wrong token", Some("wrong"), Some(own), None, 403),
        ("cut token", Some(&right[1..]), Some(own), None, 403),
        ("other origin", Some(right), Some(evil), None, 403),
        ("hidden origin", Some(right), Some("null"), None, 403),
        ("other site", Some(right), None, Some("cross-site"), 403),
        (
            "sibling site",
            Some(right),
            Some(own),
            Some("same-site"),
            403,
        ),
    ] {
        let mut request = edge.by_cookie(Method::POST, "/operate");
        for (header, value) in [
            (CSRF_HEADER, token),
            ("origin", origin),
            (SEC_FETCH_SITE, sec_fetch_site),
        ] {
            if let Some(value) = value {
                request = request.header(header, value);
            }
        }
        assert_eq!(edge.status(request).await, status, "{name}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_change_by_token_needs_no_proof_of_origin(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    let token = edge.token("automation", &[Scope::Operate]).await;
    let request = bearer(Method::POST, "/operate", &token).header(ORIGIN, "http://other.example");
    assert_eq!(edge.status(request).await, 200);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn without_postgres_callers_are_told_to_come_back(pool: PgPool) {
    let edge = TestEdge::new(pool).await;
    let token = edge.token("sender", &[Scope::Ingest]).await;
    edge.state.pool.close().await;
    let response = edge.ask(bearer(Method::POST, "/ingest", &token)).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
}
