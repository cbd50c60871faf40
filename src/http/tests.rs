mod quality;
mod runs;

use super::*;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, RETRY_AFTER,
};
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::config::IntakeConfig;
use crate::domain::access::allows;
use crate::domain::clock::ReplayClock;
use crate::domain::ids::{ProjectId, uuid_at};
use crate::formats::Limits;
use crate::outbound::Outbound;
use crate::services::access::{
    FirstAdmin, Scope, TokenRequest, create_token, ensure_first_admin, session, sign_in,
};
use crate::services::causes::Reports;
use crate::services::delivery::Outward;
use crate::services::ingest::Intake;
use crate::services::{Bounds, Custody, Nudges, settle};
use crate::storage::keys::KeyFilters;

fn start() -> DateTime<Utc> {
    "2026-03-02T12:00:00Z".parse().expect("an instant")
}

/// The API with a project of its own and tokens for it.
struct TestApi {
    state: ApiState,
    project_id: ProjectId,
    cookie: String,
    csrf: String,
}

impl TestApi {
    async fn new(pool: PgPool) -> Self {
        let clock = ReplayClock::starting_at(start());
        let services = Services {
            bounds: Bounds::default(),
            key_filters: KeyFilters::default(),
            custody: Custody::default(),
            turns: settle::Turns::default(),
            intake: Intake::start(pool.clone(), pool.clone(), Limits::default(), u64::MAX),
            clock: Arc::new(clock.clone()),
            wall: Arc::new(clock.clone()),
            public_url: "http://localhost:8420".to_owned(),
            replay: Some(clock),
            outward: Outward {
                mailer: None,
                outbound: Outbound::new(vec![]).expect("set up"),
                secrets: Arc::new(|_| None),
            },
            nudges: Nudges::default(),
            causes: Reports::default(),
            pool: pool.clone(),
        };
        let first = FirstAdmin {
            project_name: "default",
            auto_register: false,
            email: "admin@localhost",
        };
        let made = ensure_first_admin(&pool, start(), &first).await;
        let password = made.expect("made").expect("nobody was there");
        let opened = sign_in(&pool, start(), &password.email, password.reveal()).await;
        let cookie = opened.expect("signed in").cookie_value;
        let admin = session(&pool, start(), &cookie).await;
        let admin = admin.expect("answered").expect("live");
        let meter = opentelemetry::metrics::noop::NoopMeterProvider::new();
        let meter = opentelemetry::metrics::MeterProvider::meter(&meter, "test");
        Self {
            project_id: admin.project_id,
            csrf: admin.csrf_token.clone(),
            state: ApiState::from(ApiParts {
                services,
                site: Site::at("http://localhost:8420").expect("a good URL"),
                metrics: Arc::new(|| "bellwether_tests_total 1\n".to_owned()),
                not_durable: Arc::new(vec!["fsync"]),
                instruments: Instruments::new(&meter),
                intake_pool: pool,
                bodies: Bodies::new(&IntakeConfig::default(), &meter),
            }),
            cookie,
        }
    }

    async fn token(&self, project_id: ProjectId, scopes: &[Scope]) -> String {
        let name = format!("token-{}", uuid_at(start()));
        let request = TokenRequest {
            name: &name,
            scopes,
            expires_at: None,
        };
        let pool = &self.state.services.pool;
        let made = create_token(pool, start(), project_id, &request, "test").await;
        made.expect("made").secret
    }

    async fn admin(&self) -> String {
        self.token(self.project_id, &[Scope::Admin]).await
    }

    /// A project that the first administrator is not in.
    async fn other_project(&self) -> ProjectId {
        let project_id = ProjectId::new(start());
        sqlx::query("INSERT INTO projects VALUES ($1, 'other', false, $2)")
            .bind(project_id.0)
            .bind(start())
            .execute(&self.state.services.pool)
            .await
            .expect("made");
        project_id
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = router(self.state.clone())
            .oneshot(request)
            .await
            .expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.into()).expect("text"),
        }
    }

    async fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(
            with_token("GET", path, token)
                .body(Body::empty())
                .expect("a request"),
        )
        .await
    }

    async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(token, path, "application/json", body.to_string())
            .await
    }

    async fn send(
        &self,
        token: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = with_token("POST", path, token).header(CONTENT_TYPE, content_type);
        self.ask(request.body(body.into()).expect("a request"))
            .await
    }

    /// A model with one version, to send rows to.
    async fn with_model(&self, token: &str) {
        let model =
            json!({"name": "fares", "task": "regression", "unit": "dollars", "segments": ["zone"]});
        self.post(token, "/api/v1/models", &model).await.expect(200);
        let version = json!({"version": "v1", "lineage": {"code": "abc"}});
        self.post(token, "/api/v1/models/fares/versions", &version)
            .await
            .expect(200);
    }
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// Checks that this is a problem document and returns what it says.
    #[track_caller]
    fn problem(self, status: u16) -> String {
        let this = self.expect(status);
        assert_eq!(this.headers[CONTENT_TYPE], problem::MEDIA_TYPE);
        assert_eq!(this.json()["status"], status);
        this.json()["detail"].as_str().expect("text").to_owned()
    }
}

fn with_token(method: &str, path: &str, token: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {token}"))
}

fn prediction(id: &str, value: f64) -> Value {
    json!({"prediction_id": id, "timestamp": "2026-03-02T10:00:00Z", "prediction": value,
           "features": {"zone": "north", "distance": 3.5}})
}

/// Method, path with its parameters filled in, and the scope, for every route of the description.
fn every_route() -> Vec<(String, String, Option<Scope>)> {
    let api = serde_json::to_value(openapi()).expect("JSON");
    let mut routes = Vec::new();
    for (path, item) in api["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let filled: Vec<String> = path
                .split('/')
                .map(|part| match part {
                    part if part.ends_with("_id}") => uuid_at(start()).to_string(),
                    part if part.starts_with('{') => "nothing".to_owned(),
                    part => part.to_owned(),
                })
                .collect();
            let scope = operation["security"][0]["token"][0].as_str();
            let scope = scope.map(|scope| scope.parse().expect("a scope"));
            routes.push((method.to_uppercase(), filled.join("/"), scope));
        }
    }
    assert!(routes.len() > 30, "{}", routes.len());
    routes
}

const OPEN: [&str; 2] = ["/healthz", "/readyz"];

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn every_route_but_the_checks_wants_a_credential(pool: PgPool) {
    let api = TestApi::new(pool).await;
    for (method, path, _) in every_route() {
        let request = Request::builder().method(method.as_str()).uri(&path);
        let request = request.header(CONTENT_TYPE, "application/json");
        let body = r#"{"state": "running"}"#;
        let answer = api.ask(request.body(body.into()).expect("a request")).await;
        if OPEN.contains(&path.as_str()) {
            answer.expect(200);
        } else {
            assert!(answer.headers.contains_key("www-authenticate"), "{path}");
            if path.starts_with("/v1/") {
                // OTLP has answers of its own.
                answer.expect(401);
            } else {
                answer.problem(401);
            }
        }
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn every_route_refuses_whoever_lacks_its_scope(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        tokens.push((scope, api.token(api.project_id, &[scope]).await));
    }
    for (method, path, needed) in every_route() {
        let Some(needed) = needed else {
            let without_scope = OPEN.contains(&path.as_str()) || path.ends_with("/status");
            assert!(without_scope, "{path} names no scope");
            continue;
        };
        for (held, token) in &tokens {
            let request = with_token(&method, &path, token).body(Body::empty());
            let answer = api.ask(request.expect("a request")).await;
            let may = allows(&[*held], needed);
            assert_eq!(
                answer.status == 403,
                !may || path.ends_with("/approvals"),
                "{method} {path} with {held}"
            );
        }
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn what_belongs_to_another_project_looks_like_nothing(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let owner = api.admin().await;
    api.with_model(&owner).await;
    let rows = json!([prediction("a", 1.0)]);
    let receipt = api
        .post(&owner, "/api/v1/models/fares/predictions", &rows)
        .await
        .expect(200)
        .json();
    let batch_id = receipt["batch_id"].as_str().expect("an id").to_owned();
    let stranger = api.token(api.other_project().await, &[Scope::Admin]).await;

    let unknown_id = uuid_at(start()).to_string();
    for (there, not_there) in [
        (
            format!("/api/v1/batches/{batch_id}"),
            format!("/api/v1/batches/{unknown_id}"),
        ),
        (
            "/api/v1/models/fares".to_owned(),
            "/api/v1/models/nothing".to_owned(),
        ),
        (
            "/api/v1/models/fares/intake".to_owned(),
            "/api/v1/models/nothing/intake".to_owned(),
        ),
        (
            "/api/v1/models/fares/baselines".to_owned(),
            "/api/v1/models/nothing/baselines".to_owned(),
        ),
        (
            "/api/v1/models/fares/measurements".to_owned(),
            "/api/v1/models/nothing/measurements".to_owned(),
        ),
    ] {
        api.get(&owner, &there).await.expect(200);
        let foreign = api.get(&stranger, &there).await.problem(404);
        let nothing = api.get(&stranger, &not_there).await.problem(404);
        let (last, unknown) = (there.split('/').nth(4), not_there.split('/').nth(4));
        let foreign = foreign.replace(last.expect("a name"), unknown.expect("a name"));
        assert_eq!(foreign, nothing, "{there}");
    }
    assert_eq!(api.get(&stranger, "/api/v1/models").await.json(), json!([]));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn rows_that_were_sent_are_kept_counted_and_measured(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    api.with_model(&admin).await;
    let rows = json!([prediction("a", 10.0), prediction("b", 20.0), {"prediction": 3}]);
    let receipt = api
        .post(&admin, "/api/v1/models/fares/predictions", &rows)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&receipt["received"], &receipt["kept"], &receipt["rejected"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let other = json!([prediction("a", 99.0)]);
    api.post(&admin, "/api/v1/models/fares/predictions", &other)
        .await
        .expect(200);
    let labels =
        "prediction_id,label,observed_at\na,11,2026-03-02T11:00:00Z\nb,17,2026-03-02T11:00:00Z\n";
    api.send(
        &admin,
        "/api/v1/models/fares/labels",
        "text/csv; charset=utf-8",
        labels,
    )
    .await
    .expect(200);
    while settle::activate(&api.state.services, start())
        .await
        .expect("settled")
    {}

    let id = receipt["batch_id"].as_str().expect("an id");
    let batch = api
        .get(&admin, &format!("/api/v1/batches/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(batch["state"], "settled");
    assert_eq!(
        (&batch["accepted"], &batch["duplicate"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(batch["rejects"][0]["line"], 3);
    let intake = api
        .get(&admin, "/api/v1/models/fares/intake")
        .await
        .expect(200)
        .json();
    assert_eq!(intake["predictions"]["received"], 4);
    assert_eq!(
        intake["predictions"]["rejected_by_reason"],
        json!({"missing_field": 1})
    );
    assert_eq!(intake["labels"]["accepted"], 2);
    assert_eq!(intake["predictions"]["conflicting"], 1);

    let span = "from=2026-03-02&to=2026-03-03";
    let quality = api
        .get(&admin, &format!("/api/v1/models/fares/quality?{span}"))
        .await
        .expect(200)
        .json();
    assert_eq!(quality["version"], "v1");
    assert_eq!(quality["segments"][0]["segment"], Value::Null);
    assert_eq!(quality["segments"][0]["labels"], 2);
    assert_eq!(quality["segments"][0]["measures"]["mae"]["value"], 2.0);
    assert_eq!(quality["segments"][1]["segment"], "zone=north");
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_model_shows_what_belongs_to_it(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    api.with_model(&admin).await;
    let rows: String = (0..60)
        .map(|n| format!("{{\"prediction_id\":\"{n}\",\"zone\":\"north\",\"distance\":{n},\"prediction\":{n},\"label\":{n}}}\n"))
        .collect();
    let path = "/api/v1/models/fares/baselines/training?file_name=training.ndjson";
    let baseline = api
        .send(&admin, path, "application/x-ndjson", rows)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&baseline["state"], &baseline["rows"]),
        (&json!("fitted"), &json!(60))
    );
    // Rows without times: nothing is known of how days differ.
    assert_eq!(
        baseline["days"],
        json!({"first": null, "last": null, "count": 0, "footing": "rows", "left_out": [], "unstable": [],
               "holidays": [], "unusable": []})
    );
    let window =
        json!({"name": "march", "from": "2026-03-01", "to": "2026-04-01", "version": "v1"});
    let declared = api
        .post(&admin, "/api/v1/models/fares/baselines", &window)
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&declared["state"], &declared["version"]),
        (&json!("waiting"), &json!("v1"))
    );
    // Other days in its place are somebody's decision.
    let mut others = window.clone();
    others["to"] = json!("2026-03-09");
    let refused = api
        .post(&admin, "/api/v1/models/fares/baselines", &others)
        .await
        .problem(422);
    assert!(refused.contains("say why"), "{refused}");
    others["reason"] = json!("the first week had a holiday in it");
    let chosen = api
        .post(&admin, "/api/v1/models/fares/baselines", &others)
        .await
        .expect(200)
        .json();
    assert_eq!(chosen["reason"], others["reason"]);
    let audit = api.get(&admin, "/api/v1/audit").await.expect(200);
    assert!(audit.text.contains("the first week had a holiday"));

    let unknown = json!({"name": "x", "from": "2026-03-01", "to": "2026-04-01", "version": "v9"});
    api.post(&admin, "/api/v1/models/fares/baselines", &unknown)
        .await
        .problem(404);

    let promote = |version: &str| json!({"version": version, "reason": "it is better"});
    let path = "/api/v1/models/fares/promotions";
    api.post(
        &admin,
        "/api/v1/models/fares/versions",
        &json!({"version": "v2"}),
    )
    .await
    .expect(200);
    api.post(&admin, path, &promote("v9")).await.problem(404);
    api.post(&admin, path, &json!({"version": "v2", "reason": " "}))
        .await
        .problem(422);
    let promoted = api
        .post(&admin, path, &promote("v2"))
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&promoted["from_version"], &promoted["to_version"]),
        (&json!("v1"), &json!("v2"))
    );
    api.post(&admin, path, &promote("v2")).await.problem(409);

    let model = api
        .get(&admin, "/api/v1/models/fares")
        .await
        .expect(200)
        .json();
    assert_eq!(model["name"], "fares");
    assert_eq!(model["baselines"].as_array().map(Vec::len), Some(2));
    assert_eq!(model["schema"]["features"][0]["feature"], "distance");
    let present: Vec<(&Value, &Value)> = model["deployments"]
        .as_array()
        .expect("some")
        .iter()
        .filter(|d| d["ended_at"].is_null())
        .map(|d| (&d["version"], &d["role"]))
        .collect();
    assert!(
        present.contains(&(&json!("v2"), &json!("champion"))),
        "{present:?}"
    );
    assert!(
        present.contains(&(&json!("v1"), &json!("shadow"))),
        "{present:?}"
    );
    let versions = model["versions"].as_array().expect("some");
    let second = versions.iter().find(|version| version["version"] == "v2");
    assert_eq!(second.expect("there")["parent"], "v1");
    let promotions = api
        .get(&admin, "/api/v1/promotions")
        .await
        .expect(200)
        .json();
    assert_eq!(promotions[0]["model"], "fares");
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn bodies_that_cannot_be_taken_are_refused_with_what_to_do(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    api.with_model(&admin).await;
    let path = "/api/v1/models/fares/predictions";
    let told = api
        .send(&admin, path, "text/plain", "hello")
        .await
        .problem(415);
    assert!(
        told.contains("application/x-ndjson") && told.contains("text/csv"),
        "{told}"
    );
    let request = with_token("POST", path, &admin)
        .body("[]".into())
        .expect("a request");
    assert!(
        api.ask(request)
            .await
            .problem(415)
            .contains("no Content-Type")
    );
    api.send(&admin, path, "application/json", "[{")
        .await
        .problem(422);
    api.send(
        &admin,
        "/api/v1/models/nothing/predictions",
        "application/json",
        "[]",
    )
    .await
    .problem(404);

    let models = "/api/v1/models";
    api.send(&admin, models, "application/json", "{")
        .await
        .problem(400);
    api.send(&admin, models, "application/json", "{}")
        .await
        .problem(422);
    api.send(&admin, models, "text/csv", "{}")
        .await
        .problem(415);
    let misspelt = json!({"name": "a", "task": "regression", "segmets": []});
    assert!(
        api.post(&admin, models, &misspelt)
            .await
            .problem(422)
            .contains("segmets")
    );
    let weekly = json!({"name": "a", "task": "regression", "window": "week"});
    assert!(
        api.post(&admin, models, &weekly)
            .await
            .problem(422)
            .contains("hour or day")
    );
    let other_task = json!({"name": "fares", "task": "binary"});
    api.post(&admin, models, &other_task).await.problem(409);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn bodies_beyond_the_limit_are_refused_whether_they_say_so_or_not(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    api.with_model(&admin).await;
    let path = "/api/v1/models/fares/predictions";
    let too_long = || vec![b' '; (16 << 20) + 1];
    for (path, content_type) in [
        (path, "text/csv"),
        ("/api/v1/definitions", "application/json"),
    ] {
        let said = with_token("POST", path, &admin)
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_LENGTH, (16 << 20) + 1)
            .body(Body::empty());
        api.ask(said.expect("a request")).await.problem(413);
        let told = api
            .send(&admin, path, content_type, too_long())
            .await
            .problem(413);
        assert!(told.contains("16 MiB"), "{told}");
    }
    // 70 MiB of blanks are about 70 KiB of gzip.
    let bomb = gzip(&vec![b' '; 70 << 20]);
    let request = with_token("POST", path, &admin)
        .header(CONTENT_TYPE, "text/csv")
        .header(CONTENT_ENCODING, "gzip");
    let answer = api.ask(request.body(bomb.into()).expect("a request")).await;
    assert!(answer.problem(413).contains("200 times"));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("gzip")
        .arg("-1c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is there");
    let mut input = child.stdin.take().expect("piped");
    let text = text.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&text).expect("written"));
    let output = child.wait_with_output().expect("ended");
    writer.join().expect("written");
    output.stdout
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn gzip_bodies_are_taken_and_other_encodings_named(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    api.with_model(&admin).await;
    let send = |encoding: &'static str, body: Vec<u8>| {
        let request = with_token("POST", "/api/v1/models/fares/predictions", &admin)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, encoding);
        api.ask(request.body(body.into()).expect("a request"))
    };
    let rows = json!([prediction("a", 1.0)]).to_string();
    let receipt = send("gzip", gzip(rows.as_bytes())).await.expect(200).json();
    assert_eq!(receipt["kept"], 1);
    send("gzip", rows.clone().into_bytes()).await.problem(400);
    assert!(
        send("br", rows.into_bytes())
            .await
            .problem(415)
            .contains("gzip")
    );
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn what_is_no_route_and_what_is_no_parameter_is_told(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    for path in [
        "/api/v1/nowhere",
        "/api/v1/models/a/nowhere",
        "/api/v2/models",
    ] {
        assert!(
            api.get(&admin, path)
                .await
                .problem(404)
                .contains("openapi.json"),
            "{path}"
        );
    }
    let request = with_token("DELETE", "/api/v1/models", &admin).body(Body::empty());
    let answer = api.ask(request.expect("a request")).await;
    assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
    answer.problem(405);
    for path in [
        "/api/v1/batches/12",
        "/api/v1/alerts?opne=true",
        "/api/v1/alerts?open=perhaps",
        "/api/v1/models/a/quality?from=yesterday&to=2026-03-02",
        "/api/v1/models/a/quality?from=2026-03-02",
    ] {
        api.get(&admin, path).await.problem(400);
    }
    for path in [
        "/api/v1/runs?limit=0",
        "/api/v1/runs?limit=1001",
        "/api/v1/models/a/measurements?limit=10001",
        "/api/v1/models/a/quality?from=2026-03-02&to=2026-03-02",
    ] {
        api.get(&admin, path).await.problem(422);
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn readiness_tells_of_tables_database_and_durability(pool: PgPool) {
    let api = TestApi::new(pool.clone()).await;
    let ready = async || {
        let request = Request::get("/readyz")
            .body(Body::empty())
            .expect("a request");
        api.ask(request).await
    };
    let answer = ready().await.expect(200).json();
    let all = json!({"ready": true, "database": true, "migrated": true, "not_durable": ["fsync"]});
    assert_eq!(answer, all);
    sqlx::query("DELETE FROM _sqlx_migrations")
        .execute(&pool)
        .await
        .expect("deleted");
    let answer = ready().await.expect(503).json();
    assert_eq!(
        (&answer["database"], &answer["migrated"]),
        (&json!(true), &json!(false))
    );
    pool.close().await;
    let answer = ready().await.expect(503).json();
    assert_eq!(answer["database"], false);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn without_the_database_callers_are_told_when_to_come_back(pool: PgPool) {
    let api = TestApi::new(pool.clone()).await;
    let admin = api.admin().await;
    pool.close().await;
    let answer = api.get(&admin, "/api/v1/models").await;
    assert!(answer.headers.contains_key(RETRY_AFTER));
    answer.problem(503);
    let request = Request::get("/healthz").body(Body::empty());
    api.ask(request.expect("a request")).await.expect(200);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_panic_is_told_as_an_internal_error_with_its_request(pool: PgPool) {
    let mut api = TestApi::new(pool).await;
    let mut parts = ApiParts::clone(&api.state);
    parts.metrics = Arc::new(|| panic!("the metrics are broken"));
    api.state = parts.into();
    let admin = api.admin().await;
    let answer = api.get(&admin, "/metrics").await.expect(500);
    assert!(answer.json()["request_id"].is_string(), "{}", answer.text);
    assert!(!answer.text.contains("broken"), "{}", answer.text);
    answer.problem(500);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn metrics_clock_and_description_are_served(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let reader = api.token(api.project_id, &[Scope::Read]).await;
    assert_eq!(
        api.get(&reader, "/metrics").await.expect(200).text,
        "bellwether_tests_total 1\n"
    );
    let clock = api.get(&reader, "/api/v1/clock").await.expect(200).json();
    assert_eq!(
        clock,
        json!({"now": "2026-03-02T12:00:00Z", "replay": true})
    );
    let description = api
        .get(&reader, "/api/v1/openapi.json")
        .await
        .expect(200)
        .json();
    assert_eq!(description, serde_json::to_value(openapi()).expect("JSON"));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn definitions_are_brought_in_or_refused_with_their_place(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    let path = "/api/v1/definitions";
    let files = |text: &str| json!({"files": [{"path": "bellwether.yaml", "text": text}]});
    let good = files("models:\n  - {name: fares, task: regression}\n");
    let applied = api.post(&admin, path, &good).await.expect(200).json();
    assert_eq!(applied["changed"], json!(["model/fares"]));
    let listed = api.get(&admin, path).await.expect(200).json();
    assert_eq!(
        (&listed[0]["file"], &listed[0]["line"]),
        (&json!("bellwether.yaml"), &json!(2))
    );
    let refused = api
        .post(
            &admin,
            path,
            &files("models:\n  - {name: fares, task: guess}\n"),
        )
        .await;
    let field = refused.json()["errors"][0]["field"]
        .as_str()
        .expect("a place")
        .to_owned();
    assert!(field.starts_with("bellwether.yaml:2:"), "{field}");
    refused.problem(422);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn tokens_are_made_used_listed_and_revoked(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    let path = "/api/v1/tokens";
    let wanted = json!({"name": "sender", "scopes": ["ingest", "read"]});
    let made = api.post(&admin, path, &wanted).await.expect(201).json();
    let secret = made["secret"].as_str().expect("a secret");
    api.get(secret, "/api/v1/models").await.expect(200);
    let listed = api.get(&admin, path).await.expect(200);
    assert!(listed.text.contains("\"sender\"") && !listed.text.contains(secret));
    let one = format!("{path}/{}", made["token_id"].as_str().expect("an id"));
    let revoke = || {
        with_token("DELETE", &one, &admin)
            .body(Body::empty())
            .expect("a request")
    };
    api.ask(revoke()).await.expect(204);
    api.ask(revoke()).await.problem(404);
    api.get(secret, "/api/v1/models").await.problem(401);
    let audit = api
        .get(&admin, "/api/v1/audit?limit=1")
        .await
        .expect(200)
        .json();
    assert_eq!(audit[0]["action"], "token.revoked");
    let expired =
        json!({"name": "x", "scopes": ["read"], "expires_at": start() - TimeDelta::days(1)});
    api.post(&admin, path, &expired).await.problem(422);
    api.post(&admin, path, &json!({"name": "x", "scopes": ["root"]}))
        .await
        .problem(422);
}

#[test]
fn the_description_is_the_committed_one() {
    let described = serde_json::to_string_pretty(&openapi()).expect("JSON") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let committed = std::fs::read_to_string(path).expect("committed");
    assert!(
        described == committed,
        "docs/openapi.json is stale: `bellwether openapi > docs/openapi.json`"
    );
}

#[test]
fn the_description_names_every_way_in_and_every_error() {
    let api = serde_json::to_value(openapi()).expect("JSON");
    assert_eq!(api["openapi"], "3.1.0");
    let predictions = &api["paths"]["/api/v1/models/{model}/predictions"]["post"];
    let ways = predictions["security"].as_array().expect("ways");
    assert_eq!(ways.len(), 4);
    let mut ids = std::collections::HashSet::new();
    for (path, item) in api["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(ids.insert(&operation["operationId"]), "{method} {path}");
            let problem = &operation["responses"]["default"]["content"][problem::MEDIA_TYPE];
            assert!(problem.is_object(), "{method} {path}");
            let told = operation["summary"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
            assert!(told, "{method} {path}");
        }
    }
}
