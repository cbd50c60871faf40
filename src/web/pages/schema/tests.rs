//! The page of a schema: what a proposal says side by side, and that only our own form decides on it.

use axum::http::StatusCode;
use sqlx::PgPool;
use sqlx::types::Json;

use super::*;
use crate::domain::ids::ModelId;
use crate::domain::schema::Limit;
use crate::services::registry::{self, NewModel};
use crate::services::schemas::Wish;
use crate::web::pages::tests::{Browser, HOSTILE, at, rendered, shell};

fn expected(feature: &str, maximum: f64) -> FeatureExpectation {
    FeatureExpectation {
        minimum: Some(-40.0),
        maximum: Some(maximum),
        max_null_share: 0.05,
        ..FeatureExpectation::of_type(feature, FeatureType::Number)
    }
}

fn places(names: &[&str]) -> FeatureExpectation {
    FeatureExpectation {
        feature_type: FeatureType::Category,
        minimum: None,
        maximum: None,
        categories: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..expected("origin", 0.0)
    }
}

fn changes() -> Vec<FeatureChange> {
    let change = |from: Option<FeatureExpectation>, to: Option<FeatureExpectation>| FeatureChange {
        feature: from
            .as_ref()
            .or(to.as_ref())
            .map(|e| e.feature.clone())
            .unwrap_or_default(),
        from,
        to,
        effects: Vec::new(),
    };
    let mut wider = change(Some(expected("temp", 130.0)), Some(expected("temp", 134.6)));
    wider.effects.push(Effect {
        part: Part::Range,
        rows: 12_345,
        flagged_now: 678,
        flagged_then: Some(0),
    });
    let mut other = change(Some(places(&["EWR", "JFK"])), Some(places(&["EWR", "LGA"])));
    other.effects.push(Effect {
        part: Part::Categories,
        rows: 12_345,
        flagged_now: 90,
        flagged_then: None,
    });
    vec![
        other,
        wider,
        change(None, Some(expected(HOSTILE, 1.5e18))),
        change(Some(expected("gone", 1.0)), None),
    ]
}

fn proposal(n: u128, state: ProposalState) -> Proposal {
    let decided = state != ProposalState::Proposed;
    Proposal {
        proposal_id: ProposalId(uuid::Uuid::from_u128(n)),
        model_id: ModelId(uuid::Uuid::from_u128(1)),
        origin: Origin::Observed,
        source: "what came in during the last 7 days".to_owned(),
        reason: "temp: 5.5 % of values out of range\norigin: new categories \"LGA\" (0.7 %)"
            .to_owned(),
        base_version: 3,
        changes: Json(changes()),
        notes: vec!["line 13 (temp): drift_comparator".to_owned()],
        state,
        proposed_at: at("2013-05-12T00:00:00Z"),
        proposed_by: "bellwether".to_owned(),
        decided_at: decided.then(|| at("2013-05-13T08:00:00Z")),
        decided_by: decided.then(|| "person:ada@example.org".to_owned()),
        decision_reason: decided.then(|| "the sensor is broken".to_owned()),
        accepted_version: (state == ProposalState::Accepted).then_some(3),
    }
}

#[test]
fn a_proposal_stands_side_by_side_with_what_is_in_force() {
    let records = SchemaRecords {
        schema: Some(baselines::Schema {
            schema_id: crate::domain::ids::SchemaId(uuid::Uuid::from_u128(7)),
            version: 3,
            features: vec![places(&["EWR", "JFK"]), expected("temp", 130.0)],
        }),
        versions: vec![SchemaVersion {
            version: 3,
            source: "declared in model.yaml at 0123456789ab".to_owned(),
            created_at: at("2013-05-01T00:00:00Z"),
            created_by: "person:ada@example.org".to_owned(),
            features: 2,
            proposal_id: None,
        }],
        proposals: vec![
            proposal(1, ProposalState::Proposed),
            proposal(3, ProposalState::Accepting),
            proposal(2, ProposalState::Declined),
        ],
        file: Some("model.yaml at 0123456789ab".to_owned()),
    };
    let view = schema_page(
        shell(Section::Fleet, "Schema"),
        "flight-time",
        records,
        true,
    );
    insta::assert_snapshot!("schema_proposed", rendered(&view));
}

#[test]
fn a_model_without_a_schema_says_how_to_get_one() {
    let records = SchemaRecords::default();
    let view = schema_page(
        shell(Section::Fleet, "Schema"),
        "flight-time",
        records,
        false,
    );
    insta::assert_snapshot!("schema_empty", rendered(&view));
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_proposal_is_decided_by_our_own_form_with_a_reason(pool: PgPool) {
    let browser = Browser::signed_in(pool).await;
    let services = &browser.services;
    let mut conn = services.pool.acquire().await.expect("a connection");
    let project: uuid::Uuid = sqlx::query_scalar("SELECT project_id FROM projects")
        .fetch_one(&mut *conn)
        .await
        .expect("the project");
    let project = crate::domain::ids::ProjectId(project);
    let new = NewModel::named("fares", crate::domain::model::Task::Regression);
    registry::register_model(&mut conn, project, &new, "tests", services.clock.now())
        .await
        .expect("a model");
    drop(conn);
    let wish = Wish {
        origin: Origin::Api,
        source: "a test".to_owned(),
        reason: "why".to_owned(),
        features: vec![FeatureOverride {
            feature: "distance".to_owned(),
            feature_type: Some(FeatureType::Number),
            maximum: Limit::Given(1000.0),
            ..FeatureOverride::default()
        }],
        removed: Vec::new(),
        replace: false,
        notes: Vec::new(),
    };
    schemas::propose(services, project, "fares", wish, "tests")
        .await
        .expect("is taken");
    let (_, html) = browser.get("/models/fares").await;
    assert!(html.contains("Schema: 1 change is proposed"), "{html}");
    let (_, html) = browser.get("/models/fares/schema").await;
    let action = html
        .split('"')
        .find(|part| part.starts_with("/models/fares/schema/proposals/"))
        .expect("a form");
    let csrf = &browser.csrf;
    for (form, status) in [
        (
            "decision=accept&reason=why".to_owned(),
            StatusCode::FORBIDDEN,
        ),
        (
            format!("decision=accept&reason=%20&csrf={csrf}"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            format!("decision=maybe&reason=why&csrf={csrf}"),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            format!("decision=accept&reason=why&csrf={csrf}"),
            StatusCode::SEE_OTHER,
        ),
        (
            format!("decision=decline&reason=why&csrf={csrf}"),
            StatusCode::CONFLICT,
        ),
    ] {
        assert_eq!(browser.post(action, &form).await.status(), status, "{form}");
    }
    let (_, html) = browser.get("/models/fares/schema").await;
    assert!(html.contains("are being counted by it"), "{html}");
    schemas::activate(services, services.clock.now())
        .await
        .expect("comes into force");
    let (status, html) = browser.get("/models/fares/schema").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        html.contains("Version 1") && html.contains("up to 1000"),
        "{html}"
    );
}
