//! How a schema changes: proposed by people, files, baselines and the service itself; accepted or declined; in force
//! from then on, with its history.

use bellwether::domain::ids::ProposalId;
use bellwether::domain::measurement::Status;
use bellwether::domain::proposal::{Origin, Part, ProposalState};
use bellwether::domain::schema::{FeatureExpectation, FeatureOverride, FeatureType, Limit};
use bellwether::services::Error;
use bellwether::services::schemas::{self, Verdict, Wish};
use bellwether::storage::baselines;
use bellwether::storage::proposals::{self, Proposal};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;

impl TestApp {
    async fn proposals(&self, model: &str) -> Vec<Proposal> {
        let model = self.model(model).await;
        proposals::of_model(&mut *self.conn().await, model.model_id, 100)
            .await
            .expect("proposals")
    }

    async fn open_proposal(&self, model: &str) -> Proposal {
        let found = self.proposals(model).await;
        let mut open = found
            .into_iter()
            .filter(|p| p.state == ProposalState::Proposed);
        let first = open.next().expect("one is open");
        assert_eq!(open.next(), None, "only one is open");
        first
    }

    async fn expected(&self, model: &str, feature: &str) -> Option<FeatureExpectation> {
        let model = self.model(model).await;
        let schema = baselines::schema(&mut *self.conn().await, model.model_id).await;
        let schema = schema.expect("reads").expect("a schema");
        schema.features.into_iter().find(|f| f.feature == feature)
    }

    async fn propose(&self, features: Vec<FeatureOverride>) -> Result<Option<Proposal>, Error> {
        schemas::propose(&self.services, self.project, "fares", wish(features), "Ada").await
    }

    async fn decide_on(&self, id: ProposalId, accept: bool) -> Result<ProposalState, Error> {
        let verdict = Verdict {
            proposal_id: id,
            accept,
            reason: "we fly further now",
            actor: "Grace",
        };
        schemas::decide(&self.services, self.project, verdict).await
    }

    async fn audited(&self) -> Vec<(String, String)> {
        sqlx::query_as(
            "SELECT action, actor FROM audit_events WHERE action LIKE 'schema.%' ORDER BY audit_event_id",
        )
        .fetch_all(&self.services.pool)
        .await
        .expect("audit rows")
    }
}

fn wish(features: Vec<FeatureOverride>) -> Wish {
    Wish {
        origin: Origin::Api,
        source: "a test".to_owned(),
        reason: "they are longer".to_owned(),
        features,
        removed: Vec::new(),
        replace: false,
        notes: Vec::new(),
    }
}

fn up_to(feature: &str, maximum: f64) -> FeatureOverride {
    FeatureOverride {
        feature: feature.to_owned(),
        maximum: Limit::Given(maximum),
        ..FeatureOverride::default()
    }
}

/// A day of rows, half of them changed.
fn changed_day(day: &str, change: impl Fn(&mut Value)) -> Vec<Value> {
    let mut rows = fares::day(at(day), 40);
    rows.iter_mut().step_by(2).for_each(change);
    rows
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_accepted_proposal_is_in_force_from_then_on_and_leaves_a_history(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let rows = changed_day("2026-03-02", |row| row["distance"] = json!(1500.0));
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    let out_of_range = async || {
        app.value("fares", "out_of_range", "distance", "2026-03-02")
            .await
    };
    assert_eq!(out_of_range().await, Some((Some(0.5), Status::Drift, 40)));
    let observed = app.open_proposal("fares").await;
    let by_hand = app.propose(vec![up_to("distance", 2000.0)]).await;
    let by_hand = by_hand.expect("is taken").expect("differs");
    assert_eq!(by_hand.changes[0].parts(), [Part::Range]);
    let effect = by_hand.changes[0].effects[0];
    assert_eq!(
        (effect.rows, effect.flagged_now, effect.flagged_then),
        (40, 20, Some(0))
    );
    assert_eq!(
        out_of_range().await,
        Some((Some(0.5), Status::Drift, 40)),
        "nothing yet"
    );

    let state = app
        .decide_on(by_hand.proposal_id, true)
        .await
        .expect("accepts");
    assert_eq!(state, ProposalState::Accepting);
    let maximum = async || {
        let expected = app.expected("fares", "distance").await;
        expected.expect("is expected").maximum
    };
    assert_eq!(
        maximum().await,
        Some(1000.0),
        "not before the rows are counted"
    );
    app.work().await;
    assert_eq!(maximum().await, Some(2000.0));
    assert_eq!(out_of_range().await, Some((Some(0.0), Status::Ok, 40)));
    let twice = app.decide_on(by_hand.proposal_id, false).await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
    // The service's own suggestion was about the same feature.
    let states: Vec<_> = app
        .proposals("fares")
        .await
        .into_iter()
        .map(|p| (p.origin, p.state))
        .collect();
    assert_eq!(
        states,
        [
            (Origin::Api, ProposalState::Accepted),
            (Origin::Observed, ProposalState::Superseded),
            (Origin::Baseline, ProposalState::Accepted),
        ]
    );
    let model = app.model("fares").await;
    let versions = proposals::versions(&mut *app.conn().await, model.model_id, 10).await;
    let versions: Vec<_> = versions
        .expect("versions")
        .into_iter()
        .map(|v| (v.version, v.created_by, v.features, v.proposal_id.is_some()))
        .collect();
    assert_eq!(
        versions,
        [
            (2, "Grace".to_owned(), 4, true),
            (1, "tests".to_owned(), 4, true)
        ]
    );
    let audited = app.audited().await;
    let audited: Vec<_> = audited
        .iter()
        .map(|(action, by)| (action.as_str(), by.as_str()))
        .collect();
    assert_eq!(
        audited,
        [
            ("schema.propose", "tests"),
            ("schema.change", "tests"),
            ("schema.propose", "bellwether"),
            ("schema.propose", "Ada"),
            ("schema.accept", "Grace"),
            ("schema.supersede", "bellwether"),
        ]
    );
    assert_eq!(observed.source, "what came in during the last 7 days");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_service_proposes_what_it_sees_once_and_not_again_what_was_declined(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    app.predict("fares", &fares::day(at("2026-03-02"), 40))
        .await;
    app.tick("2026-03-03").await;
    assert!(
        app.proposals("fares")
            .await
            .iter()
            .all(|p| p.origin == Origin::Baseline)
    );
    for day in ["2026-03-03", "2026-03-04"] {
        let mut rows = changed_day(day, |row| {
            row["carrier"] = json!("B6");
            row["distance"] = json!(1500.0);
        });
        for row in &mut rows {
            row["gate"] = json!(7);
            row["seats"] = json!("many");
        }
        app.predict("fares", &rows).await;
        app.tick_at(at(day) + chrono::TimeDelta::days(1)).await;
    }
    let proposal = app.open_proposal("fares").await;
    assert_eq!(
        (proposal.proposed_by.as_str(), proposal.origin),
        ("bellwether", Origin::Observed)
    );
    let told: Vec<_> = proposal
        .changes
        .iter()
        .map(|c| (c.feature.as_str(), c.parts()))
        .collect();
    assert_eq!(
        told,
        [
            ("carrier", vec![Part::Categories]),
            ("distance", vec![Part::Range]),
            ("gate", vec![Part::Feature]),
            ("seats", vec![Part::Type, Part::Range, Part::Categories]),
        ],
        "{}",
        proposal.reason
    );
    let to = |feature: &str| {
        let change = proposal.changes.iter().find(|c| c.feature == feature);
        change
            .and_then(|c| c.to.clone())
            .expect("is to be expected")
    };
    assert_eq!(
        to("carrier").categories,
        Some(["AA", "B6", "DL", "UA"].map(str::to_owned).to_vec())
    );
    assert_eq!(to("distance").maximum, Some(1500.0));
    assert_eq!(
        (to("gate").feature_type, to("gate").required),
        (FeatureType::Integer, false)
    );
    assert_eq!(to("seats").feature_type, FeatureType::Category);
    assert!(
        proposal.reason.contains("gate: new, in 50.0 % of rows"),
        "{}",
        proposal.reason
    );

    app.decide_on(proposal.proposal_id, false)
        .await
        .expect("declines");
    let rows = changed_day("2026-03-05", |row| {
        row["carrier"] = json!("B6");
        row["distance"] = json!(1700.0);
        row["origin"] = json!("LGA");
    });
    app.predict("fares", &rows).await;
    app.tick("2026-03-06").await;
    let proposal = app.open_proposal("fares").await;
    let told: Vec<_> = proposal
        .changes
        .iter()
        .map(|c| c.feature.as_str())
        .collect();
    assert_eq!(told, ["origin"], "the others were declined");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_open_suggestion_gives_way_to_one_that_says_more(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let far = |row: &mut Value| row["distance"] = json!(1500.0);
    app.predict("fares", &changed_day("2026-03-02", far)).await;
    app.tick("2026-03-03").await;
    let first = app.open_proposal("fares").await;
    let further = |row: &mut Value| {
        row["distance"] = json!(1800.0);
        row["carrier"] = json!("B6");
    };
    app.predict("fares", &changed_day("2026-03-03", further))
        .await;
    app.tick("2026-03-04").await;
    let second = app.open_proposal("fares").await;
    assert_eq!(second.changes.len(), 2);
    let accepted = app.decide_on(first.proposal_id, true).await;
    let Err(Error::Conflict(cause)) = accepted else {
        panic!("what gave way cannot be accepted: {accepted:?}");
    };
    assert!(cause.contains("superseded"), "{cause}");
    app.decide_on(second.proposal_id, true)
        .await
        .expect("accepts");
    app.work().await;
    assert_eq!(
        app.expected("fares", "distance")
            .await
            .expect("known")
            .maximum,
        Some(1800.0)
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_a_file_declares_is_proposed_and_accepted_at_once_and_only_when_it_changes(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let open = app.propose(vec![up_to("distance", 2000.0)]).await;
    let open = open.expect("is taken").expect("differs");
    app.decide_on(open.proposal_id, true)
        .await
        .expect("accepts");
    app.work().await;
    let stale = app.propose(vec![up_to("distance", 9000.0)]).await;
    let stale = stale.expect("is taken").expect("differs");

    // Another word in the file, but none about the schema: what was accepted stays.
    app.apply(&fares::configuration("fares").replace("euros", "EUR"))
        .await;
    assert_eq!(
        app.expected("fares", "distance")
            .await
            .expect("known")
            .maximum,
        Some(2000.0)
    );

    app.apply(&fares::configuration("fares").replace("max: 1000", "max: 3000"))
        .await;
    assert_eq!(
        app.expected("fares", "distance")
            .await
            .expect("known")
            .maximum,
        Some(3000.0)
    );
    let latest = app.proposals("fares").await.remove(0);
    assert_eq!(
        (latest.origin, latest.state),
        (Origin::File, ProposalState::Accepted)
    );
    assert!(
        latest.source.starts_with("declared in tests.yaml at "),
        "{}",
        latest.source
    );
    assert_eq!(latest.accepted_version, Some(3));
    assert_eq!(
        latest.changes[0].from.as_ref().expect("was known").maximum,
        Some(2000.0)
    );
    let stale = app.decide_on(stale.proposal_id, true).await;
    assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_cannot_be_expected_is_refused_and_nothing_is_proposed_twice_or_without_end(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let typed = |feature: &str, kind| FeatureOverride {
        feature_type: Some(kind),
        ..up_to(feature, 5.0)
    };
    let cases = [
        (vec![up_to("gate", 5.0)], "features[0].type"),
        (vec![up_to("distance", -5.0)], "features[0]"),
        (vec![up_to("distance", f64::INFINITY)], "features[0]"),
        (vec![typed("carrier", FeatureType::Text)], "features[0]"),
        (
            vec![up_to("distance", 5.0), up_to("distance", 6.0)],
            "features[1].feature",
        ),
        (
            vec![typed("e\u{301}", FeatureType::Number)],
            "features[0].feature",
        ),
        (
            vec![typed("a\u{200B}", FeatureType::Number)],
            "features[0].feature",
        ),
    ];
    for (features, field) in cases {
        let refused = app.propose(features.clone()).await;
        let Err(Error::Invalid { fields, .. }) = refused else {
            panic!("{features:?}: {refused:?}");
        };
        assert_eq!(fields[0].field, field, "{fields:?}");
    }
    let one = app.propose(vec![up_to("distance", 1001.0)]).await;
    let one = one.expect("is taken").expect("differs");
    let same = app.propose(vec![up_to("distance", 1001.0)]).await;
    let same = same.expect("is fine").expect("is open");
    assert_eq!(same.proposal_id, one.proposal_id, "proposed once");
    for maximum in 1_002..1_051 {
        let another = app
            .propose(vec![up_to("distance", f64::from(maximum))])
            .await;
        another.expect("is taken");
    }
    let beyond = app.propose(vec![up_to("distance", 2000.0)]).await;
    assert!(matches!(beyond, Err(Error::Conflict(_))), "{beyond:?}");
    app.decide_on(one.proposal_id, true).await.expect("accepts");
    app.work().await;
    app.propose(vec![up_to("distance", 1000.0)])
        .await
        .expect("there is room");
    let nothing = app.propose(vec![up_to("distance", 1001.0)]).await;
    assert_eq!(nothing.expect("is fine"), None, "as in force");
    assert_eq!(
        app.number("SELECT COUNT(*) FROM schema_proposals WHERE state = 'proposed'")
            .await,
        1
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_schema_can_be_replaced_and_features_leave_it(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let wish = Wish {
        replace: true,
        ..wish(vec![up_to("distance", 1000.0)])
    };
    let replaced = schemas::propose(&app.services, app.project, "fares", wish.clone(), "Ada").await;
    let replaced = replaced.expect("is taken").expect("differs");
    let gone: Vec<_> = replaced
        .changes
        .iter()
        .map(|c| (c.feature.as_str(), c.to.is_none()))
        .collect();
    assert_eq!(gone, [("carrier", true), ("origin", true), ("seats", true)]);
    app.decide_on(replaced.proposal_id, true)
        .await
        .expect("accepts");
    app.work().await;
    assert_eq!(app.expected("fares", "carrier").await, None);
    let unknown = Wish {
        removed: vec!["carrier".to_owned()],
        ..wish
    };
    let refused = schemas::propose(&app.services, app.project, "fares", unknown, "Ada").await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
}
