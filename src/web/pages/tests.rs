//! Pages as people get them: snapshots of designed states, and handlers on a real database.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use serde_json::json;
use sqlx::PgPool;
use tower::ServiceExt;

use askama::Template;

use crate::domain::clock::ReplayClock;
use crate::domain::fleet::{LabelEvidence, Weight};
use crate::domain::ids::{AlertId, ApprovalId, ModelId, ProjectId, RunId};
use crate::domain::measurement::Measure;
use crate::domain::promise::{Promise, PromiseOf};
use crate::formats::Limits;
use crate::outbound::Outbound;
use crate::services::access::{self, FirstAdmin, Site};
use crate::services::causes::Reports;
use crate::services::delivery::Outward;
use crate::services::ingest::Intake;
use crate::services::{Bounds, Custody, Error, Nudges, Services, settle};
use crate::storage::keys::KeyFilters;
use crate::storage::pages::{
    AlertEvent, AlertRow, ApprovalRow, FeatureCount, FleetModel, RunRow, ServedValue, StepRow,
    label_detectors,
};
use crate::web::answer::FailurePage;
use crate::web::assets;
use crate::web::frame::{Banner, Frame, Section, Shell};
use crate::web::run_view::RunRecords;

use super::alert::{AlertRecords, alert_page};
use super::fleet::{FleetRecords, fleet_page};

pub(super) const HOSTILE: &str = "</script><script>alert(1)</script>\"'\u{202e}gpj";

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a valid instant")
}

pub(super) fn shell(section: Section, title: &str) -> Shell {
    Shell {
        frame: Some(Frame {
            section,
            project: "flights".to_owned(),
            person: "Ada".to_owned(),
            csrf: "the-token".to_owned(),
            open_alerts: 1,
            waiting_approvals: 0,
            banners: vec![Banner {
                class: "replay",
                text: "Replay clock: 13 May 2013, 09:00 UTC".to_owned(),
            }],
            live: true,
        }),
        ..Shell::bare(title)
    }
}

/// The page without what changes with every style: the revision of the assets.
pub(super) fn rendered(page: &impl Template) -> String {
    let html = page.render().expect("renders");
    let kept: Vec<&str> = html
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    kept.join("\n")
        .replace(&assets::address(""), "/assets/REVISION/")
}

fn model(name: &str, critical: i64) -> FleetModel {
    FleetModel {
        model_id: ModelId(uuid::Uuid::from_u128(critical as u128)),
        name: name.to_owned(),
        task: "regression".to_owned(),
        owner: "Route planning".to_owned(),
        unit: "min".to_owned(),
        champion: Some("v1".to_owned()),
        last_prediction_at: Some(at("2013-05-13T08:30:00Z")),
        critical,
        warning: 0,
        info: 0,
        alerts_since: (critical > 0).then(|| at("2013-04-29T00:00:00Z")),
        run_id: (critical > 0).then(|| RunId(uuid::Uuid::from_u128(9))),
        run_title: (critical > 0).then(|| "Retrain".to_owned()),
        run_state: (critical > 0).then(|| "waiting".to_owned()),
    }
}

fn served(model: &FleetModel, measure: &str, week: &str, value: f64) -> ServedValue {
    ServedValue {
        model_id: model.model_id,
        monitor: "quality".to_owned(),
        grain: "week".to_owned(),
        measure: measure.to_owned(),
        window_start: at(week),
        window_end: at(week) + chrono::TimeDelta::weeks(1),
        value: Some(value),
        reference: Some(9.0),
        status: "ok".to_owned(),
    }
}

#[test]
fn an_empty_fleet_says_how_to_begin() {
    let page = fleet_page(
        shell(Section::Fleet, "Fleet"),
        &FleetRecords::default(),
        "http://127.0.0.1:8080/",
        at("2013-05-13T09:00:00Z"),
    );
    insta::assert_snapshot!("fleet_empty", rendered(&page));
}

/// A detector of labels with so much of what an alarm takes.
fn of_labels(model: &FleetModel, evidence: f64, is_alarm: bool) -> LabelEvidence {
    LabelEvidence {
        model: model.name.clone(),
        measure: Measure::ErrorRateSequential,
        is_alarm,
        weight: Weight::Sequential {
            evidence,
            run_length: 100_000.0,
            labels: 10_000.0,
        },
    }
}

#[test]
fn the_fleet_shows_what_is_wrong_since_when_and_whether_somebody_is_on_it() {
    let sick = model("flight-time", 1);
    let well = model(HOSTILE, 0);
    let records = FleetRecords {
        values: vec![
            served(&sick, "mae", "2013-04-29T00:00:00Z", 9.4),
            served(&sick, "mae", "2013-05-06T00:00:00Z", 16.03),
            served(&sick, "traffic", "2013-05-06T00:00:00Z", 2104.0),
            served(&well, "mae", "2013-05-06T00:00:00Z", 8.9),
        ],
        drifted: vec![FeatureCount {
            model_id: sick.model_id,
            measure: "jensen_shannon".to_owned(),
            beyond: 2,
            judged: 17,
        }],
        findings: vec![FeatureCount {
            model_id: sick.model_id,
            measure: String::new(),
            beyond: 0,
            judged: 17,
        }],
        detectors: vec![
            of_labels(&sick, 500.0, true),
            of_labels(&well, 1.2, true),
            of_labels(&model("a third", 0), 0.01, false),
        ],
        models: vec![sick, well],
    };
    let now = at("2013-05-13T09:00:00Z");
    let page = fleet_page(shell(Section::Fleet, "Fleet"), &records, "http://x", now);
    let html = rendered(&page);
    assert!(!html.contains("<script>alert"), "{html}");
    insta::assert_snapshot!("fleet", html);
}

fn open_alert() -> AlertRecords {
    let run_id = RunId(uuid::Uuid::from_u128(5));
    AlertRecords {
        why: None,
        promises: vec![PromiseOf {
            measures: vec![Measure::Mae],
            promise: Some(Promise {
                errs: "about once in 3 years".to_owned(),
                sees: HOSTILE.to_owned(),
            }),
        }],
        alert: AlertRow {
            alert_id: AlertId(uuid::Uuid::from_u128(1)),
            model_id: Some(ModelId(uuid::Uuid::from_u128(2))),
            model: "flight-time".to_owned(),
            version: Some("v1".to_owned()),
            unit: "min".to_owned(),
            rule: "quality-critical".to_owned(),
            severity: "critical".to_owned(),
            summary: format!("Mean absolute error of {HOSTILE} is 16.03 min"),
            condition: "mae above 1.5 × baseline".to_owned(),
            since: at("2013-04-29T00:00:00Z"),
            fired_at: at("2013-05-13T02:00:00Z"),
            last_seen_at: at("2013-05-13T02:00:00Z"),
            resolved_at: None,
            value: Some(16.03),
            threshold: Some(13.5),
            evidence: json!({"labels": 2063}),
            explanation: json!({
                "causes": [{"kind": "worst_segments", "title": "All carriers", "detail": HOSTILE}],
                "next_step": "Look whether all segments are worse.",
            }),
            runbook: Some("quality-regression".to_owned()),
            runbook_text: Some("# Look\n\n<script>alert(1)</script>".to_owned()),
        },
        events: vec![AlertEvent {
            at: at("2013-05-13T02:00:00Z"),
            kind: "opened".to_owned(),
            text: "Opened after 2 windows".to_owned(),
            actor: "system".to_owned(),
        }],
        deliveries: Vec::new(),
        runs: vec![RunRow {
            run_id,
            model: "flight-time".to_owned(),
            alert_id: None,
            alert_summary: None,
            runbook: "quality-regression".to_owned(),
            title: "Retrain".to_owned(),
            definition: json!({}),
            state: "waiting".to_owned(),
            outcome: String::new(),
            started_by: "alert:quality-critical".to_owned(),
            started_at: at("2013-05-13T02:00:00Z"),
            finished_at: None,
        }],
        run_records: RunRecords {
            steps: vec![StepRow {
                run_id,
                position: 0,
                name: "Ask".to_owned(),
                kind: "approve".to_owned(),
                state: "waiting".to_owned(),
                detail: json!({}),
                started_at: Some(at("2013-05-13T02:00:00Z")),
                finished_at: None,
            }],
            approvals: vec![ApprovalRow {
                approval_id: ApprovalId(uuid::Uuid::from_u128(7)),
                run_id,
                position: 0,
                question: "Retrain on all data?".to_owned(),
                requested_at: at("2013-05-13T02:00:00Z"),
                decision: None,
                decided_at: None,
                decided_by: None,
                reason: None,
            }],
            pipeline_runs: Vec::new(),
        },
        measure: Some("mae".to_owned()),
        chart: None,
    }
}

#[test]
fn an_open_alert_leads_to_the_decision_that_waits() {
    let now = at("2013-05-13T09:00:00Z");
    let page = alert_page(shell(Section::Alerts, "Alert"), &open_alert(), true, now);
    let html = rendered(&page);
    assert!(!html.contains("<script>alert"), "{html}");
    insta::assert_snapshot!("alert", html);
}

#[test]
fn who_may_only_look_is_told_so_instead_of_being_shown_a_form() {
    let now = at("2013-05-13T09:00:00Z");
    let html = rendered(&alert_page(
        shell(Section::Alerts, "Alert"),
        &open_alert(),
        false,
        now,
    ));
    assert!(html.contains("Your role may look, not decide."));
    assert!(!html.contains("action=\"/approvals/"));
}

#[test]
fn failures_are_designed_and_an_internal_one_tells_nothing_but_its_id() {
    let read = |error: Error| {
        let (status, page) = FailurePage::of(&error, "request-1".to_owned());
        (status, rendered(&page))
    };
    let (status, html) = read(Error::not_found("this model"));
    assert_eq!(status, StatusCode::NOT_FOUND);
    insta::assert_snapshot!("not_found", html);
    let (status, html) = read(Error::Forbidden("this needs the scope operate".to_owned()));
    assert_eq!(status, StatusCode::FORBIDDEN);
    insta::assert_snapshot!("no_permission", html);
    let (status, html) = read(Error::internal("relation \"secret\" does not exist"));
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(html.contains("request-1") && !html.contains("secret"));
}

// ── handlers on a real database ──────────────────────────────────────────────────────────────────────

pub(super) struct Browser {
    pub services: Services,
    cookie: String,
    pub csrf: String,
}

impl Browser {
    pub async fn signed_in(pool: PgPool) -> Self {
        let clock = Arc::new(ReplayClock::starting_at(at("2013-05-13T09:00:00Z")));
        let services = Services {
            bounds: Bounds::default(),
            key_filters: KeyFilters::default(),
            custody: Custody::default(),
            turns: settle::Turns::default(),
            intake: Intake::start(pool.clone(), pool.clone(), Limits::default(), u64::MAX),
            pool,
            clock: clock.clone(),
            wall: clock,
            public_url: "http://localhost:8080".to_owned(),
            replay: None,
            outward: Outward {
                mailer: None,
                outbound: Outbound::new(Vec::new()).expect("builds"),
                secrets: Arc::new(|_| None),
            },
            nudges: Nudges::default(),
            causes: Reports::default(),
        };
        let now = services.wall.now();
        let first = FirstAdmin {
            project_name: "flights",
            auto_register: true,
            email: "ada@example.org",
        };
        let password = access::ensure_first_admin(&services.pool, now, &first)
            .await
            .expect("makes the administrator")
            .expect("there was nobody");
        let session = access::sign_in(&services.pool, now, "ada@example.org", password.reveal())
            .await
            .expect("signs in");
        let csrf = access::session(&services.pool, now, &session.cookie_value)
            .await
            .expect("reads the session")
            .expect("it lives")
            .csrf_token;
        let site = Site::at(&services.public_url).expect("a good URL");
        let cookie = site.set_cookie(&session.cookie_value);
        Self {
            services,
            cookie: cookie.split(';').next().unwrap_or_default().to_owned(),
            csrf,
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response {
        crate::web::router()
            .with_state(self.services.clone())
            .oneshot(request)
            .await
            .expect("the router answers")
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path)
            .header(header::COOKIE, &self.cookie)
            .body(Body::empty())
            .expect("a request");
        read(self.answer(request).await).await
    }

    pub async fn post(&self, path: &str, form: &str) -> Response {
        let request = Request::post(path)
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .expect("a request");
        self.answer(request).await
    }
}

pub(super) async fn read(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body");
    (
        status,
        String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    )
}

/// A model with a hostile name everywhere a name can be, one measured week, and an alert with a waiting run.
async fn seed(pool: &PgPool) {
    let statements = [
        "CREATE TABLE measurements_2013 PARTITION OF measurements
           FOR VALUES FROM ('2013-01-01') TO ('2014-01-01')",
        "INSERT INTO models SELECT uuid_from(1), project_id, $hostile$, 'regression', $hostile$, $hostile$,
           'min', NULL, 'day', '{}', '2013-02-14' FROM projects",
        "INSERT INTO model_versions SELECT uuid_from(2), project_id, uuid_from(1), $hostile$, NULL,
           jsonb_build_object($hostile$, $hostile$), '2013-02-14', 'x' FROM projects",
        "INSERT INTO deployments SELECT uuid_from(3), project_id, uuid_from(1), uuid_from(2), 'production',
           'champion', 1, '2013-02-14', NULL FROM projects",
        "INSERT INTO measurements (measurement_id, project_id, model_id, model_version_id, monitor, grain,
           window_start, window_end, segment_name, segment_value, feature, measure, value, reference,
           status, current_rows, reference_rows, recipe, measured_at)
         SELECT gen_random_uuid(), project_id, uuid_from(1), uuid_from(2), 'm', 'week', '2013-05-06',
           '2013-05-13', s.name, s.value, s.feature, s.measure, 16.03, 9.0, s.status, 2000, 1500,
           '{\"threshold\": 0.1}', '2013-05-13'
           FROM projects, (VALUES ('', '', '', 'mae', 'ok'), ($hostile$, $hostile$, '', 'mae', 'ok'),
             ('', '', $hostile$, 'psi', 'drift'), ('', '', $hostile$, 'wrong_type', 'drift'))
             AS s (name, value, feature, measure, status)",
        "INSERT INTO measurements (measurement_id, project_id, model_id, model_version_id, monitor, grain,
           window_start, window_end, segment_name, segment_value, feature, measure, value, reference,
           status, current_rows, reference_rows, recipe, measured_at)
         SELECT gen_random_uuid(), project_id, uuid_from(1), uuid_from(2), 'labels', 'day', day,
           day + interval '1 day', '', '', '', 'error_rate_sequential', 0.2, 0.1, 'drift', 2000, 1500,
           jsonb_build_object('sequential', jsonb_build_object('evidence', extract(day FROM day),
             'run_length', 100000, 'labels', 4000)), '2013-05-13'
           FROM projects, (VALUES (timestamptz '2013-05-06 00:00Z'), ('2013-05-07 00:00Z')) AS d (day)",
        "INSERT INTO alerts SELECT uuid_from(4), project_id, uuid_from(1), uuid_from(2), 'r', 'critical',
           $hostile$, 'c', '2013-05-06', '2013-05-13', '2013-05-13', NULL, 16, 13, '{}', '{}', NULL, 1
           FROM projects",
        "INSERT INTO definitions SELECT project_id, 'rule', 'r', 'x.yaml', 1, 'x', jsonb_build_object('name', $hostile$,
           'model', $hostile$, 'title', $hostile$, 'severity', 'critical', 'runbook', $hostile$,
           'receivers', jsonb_build_array($hostile$),
           'condition', jsonb_build_object('kind', 'silence', 'after_seconds', 3600)), '2013-02-14', 'x' FROM projects",
        "INSERT INTO runs SELECT uuid_from(5), project_id, uuid_from(1), uuid_from(4), 'rb', $hostile$, '{}',
           '{}', 'waiting', '', 'x', '2013-05-13', NULL, 1 FROM projects",
        "INSERT INTO run_steps VALUES (uuid_from(5), 0, 'Ask', 'approve', 'waiting', '{}', NULL, NULL)",
        "INSERT INTO approvals SELECT uuid_from(6), project_id, uuid_from(5), 0, $hostile$, '2013-05-13'
           FROM projects",
    ];
    for statement in statements {
        let mut sql = statement.replace("$hostile$", &format!("$h${HOSTILE}$h$"));
        for n in 1..=6 {
            let uuid = uuid::Uuid::from_u128(n);
            sql = sql.replace(&format!("uuid_from({n})"), &format!("uuid '{uuid}'"));
        }
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(pool)
            .await
            .expect("the seed fits the schema");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_page_asks_who_is_there_and_comes_back_after_signing_in(pool: PgPool) {
    let browser = Browser::signed_in(pool).await;
    let request = Request::get("/alerts?show=open")
        .body(Body::empty())
        .expect("a request");
    let response = browser.answer(request).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        response.headers()[header::LOCATION],
        "/sign-in?next=%2Falerts%3Fshow%3Dopen"
    );
    let refused = browser
        .post(
            "/sign-in",
            "email=ada@example.org&password=wrong&next=//evil.example",
        )
        .await;
    let (status, html) = read(refused).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(html.contains("the password is wrong") && !html.contains("evil"));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn every_page_is_there_and_no_name_escapes(pool: PgPool) {
    let browser = Browser::signed_in(pool).await;
    seed(&browser.services.pool).await;
    let model = format!("/models/{}", crate::web::escape::path_segment(HOSTILE));
    let of = |kind: &str, n: u128| format!("/{kind}/{}", uuid::Uuid::from_u128(n));
    let pages = [
        "/".to_owned(),
        model.clone(),
        format!("{model}?range=8w&grain=week&measure=mae&drift=psi"),
        format!("{model}/schema"),
        format!("{model}/rules"),
        "/alerts".to_owned(),
        of("alerts", 4),
        of("runs", 5),
        "/deliveries".to_owned(),
        "/settings".to_owned(),
    ];
    for path in pages {
        let (status, html) = browser.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {html}");
        assert!(!html.contains("<script>alert"), "{path}: {html}");
        assert!(!html.contains('\u{202e}'), "{path}");
        assert!(!html.contains(" style="), "{path} styles inline");
    }
    let (_, html) = browser.get(&model).await;
    assert!(html.contains("data-chart=") && html.contains("16.03 beyond"));
    let mut conn = browser.services.pool.acquire().await.expect("a connection");
    let project: ProjectId = sqlx::query_scalar("SELECT project_id FROM projects")
        .fetch_one(&mut *conn)
        .await
        .expect("there is one");
    let measures = ["error_rate_sequential".to_owned()];
    let detectors = label_detectors(&mut conn, project, &measures, at("2013-05-01T00:00:00Z"))
        .await
        .expect("detectors are read");
    assert_eq!(detectors.len(), 1, "the newest window of each");
    let (evidence, labels) = (detectors[0].evidence, detectors[0].labels);
    assert_eq!((evidence, labels), (Some(7.0), Some(4_000.0)));
    let (_, html) = browser.get(&format!("{model}/rules")).await;
    assert!(html.contains("an outage, 60 minutes after the last prediction"));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_page_without_the_database_says_when_to_come_back(pool: PgPool) {
    let browser = Browser::signed_in(pool.clone()).await;
    pool.close().await;
    let page = Request::get("/").header(header::COOKIE, &browser.cookie);
    let page = page.body(Body::empty());
    let response = browser.answer(page.expect("a request")).await;
    let wait = response.headers().get(header::RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
    assert!(wait.is_some_and(|seconds| seconds > 0), "{response:?}");
    let (status, html) = read(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(html.contains("Not available right now"));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn what_is_not_there_is_not_found(pool: PgPool) {
    let browser = Browser::signed_in(pool).await;
    for path in [
        "/models/none",
        "/models/none/schema",
        "/models/none/rules",
        "/alerts/018f3a52-0000-7000-8000-000000000000",
        "/alerts/x",
        "/runs/x",
        "/deliveries/x",
    ] {
        let (status, html) = browser.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(html.contains("Not found"), "{path}");
    }
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_decision_needs_our_form_and_a_reason(pool: PgPool) {
    let browser = Browser::signed_in(pool).await;
    seed(&browser.services.pool).await;
    let path = format!("/approvals/{}", uuid::Uuid::from_u128(6));
    let csrf = &browser.csrf;
    for (form, status) in [
        (
            "decision=approve&reason=why".to_owned(),
            StatusCode::FORBIDDEN,
        ),
        (
            "decision=approve&reason=why&csrf=guess".to_owned(),
            StatusCode::FORBIDDEN,
        ),
        (
            format!("decision=approve&reason=%20&csrf={csrf}"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            format!("decision=maybe&reason=why&csrf={csrf}"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        assert_eq!(browser.post(&path, &form).await.status(), status, "{form}");
    }
    let undecided = sqlx::query_scalar!("SELECT count(*) FROM approvals WHERE decision IS NULL")
        .fetch_one(&browser.services.pool)
        .await
        .expect("counts");
    assert_eq!(undecided, Some(1));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_token_is_shown_once_and_can_be_revoked(pool: PgPool) {
    let browser = Browser::signed_in(pool).await;
    let form = format!("csrf={}&name=pricing&scope_ingest=on", browser.csrf);
    let (status, html) = read(browser.post("/settings/tokens", &form).await).await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("It is shown this once."));
    let (_, html) = browser.get("/settings").await;
    assert!(html.contains("pricing") && !html.contains("shown this once"));
    let action = html
        .split('"')
        .find(|part| part.ends_with("/revoke"))
        .expect("a token that works can be revoked");
    let revoked = browser
        .post(action, &format!("csrf={}", browser.csrf))
        .await;
    assert_eq!(revoked.status(), StatusCode::SEE_OTHER);
    let (_, html) = browser.get("/settings").await;
    assert!(html.contains("Revoked 13 May 2013"));
}
