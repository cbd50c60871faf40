//! What one decides while another changes what it is decided by. A story has one of them come to a lock, lets the other
//! go on meanwhile, and looks at what both leave behind.

use std::collections::BTreeSet;

use bellwether::domain::clock::Clock;
use bellwether::domain::ids::BaselineId;
use bellwether::domain::inference::Half;
use bellwether::domain::proposal::{Origin, ProposalState};
use bellwether::domain::retention::Wishes;
use bellwether::domain::schema::{FeatureOverride, Limit};
use bellwether::domain::window::Grain;
use bellwether::formats::Format;
use bellwether::services::erasure::{self, Order};
use bellwether::services::schemas::{self, Verdict, Wish};
use bellwether::services::{
    alerting, baselines, configuration, evaluate, recount, retention, settle,
};
use bellwether::storage::alerts::{self, AlertEvent};
use bellwether::storage::inferences::{self, HalfToKeep};
use bellwether::storage::models::{self, Model};
use bellwether::storage::{baselines as stored_baselines, partitions, retention as stored};
use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;

use crate::app::{TestApp, at, lines};
use crate::custody::lived;
use crate::fares;

impl TestApp {
    async fn begin(&self) -> Transaction<'static, Postgres> {
        self.services.pool.begin().await.expect("begins")
    }

    /// A transaction that has locked the model.
    async fn holding_model(&self) -> Transaction<'static, Postgres> {
        let model_id = self.model("fares").await.model_id;
        let mut tx = self.begin().await;
        models::lock(&mut tx, model_id).await.expect("locked");
        tx
    }

    fn forgetting(&self) -> JoinHandle<bool> {
        let (services, now) = (self.services.clone(), self.clock.now());
        tokio::spawn(async move { retention::activate(&services, now).await.expect("forgets") })
    }

    fn applying(&self, yaml: String) -> JoinHandle<()> {
        let (services, project) = (self.services.clone(), self.project);
        let file = bellwether::domain::definitions::SourceFile {
            path: "tests.yaml".to_owned(),
            text: yaml,
        };
        tokio::spawn(async move {
            let applied = configuration::apply(&services, project, &[file], "tests").await;
            applied.expect("the configuration is good");
        })
    }

    fn evaluating(&self) -> JoinHandle<()> {
        let (services, now) = (self.services.clone(), self.clock.now());
        tokio::spawn(async move {
            let measured = evaluate::activate(&services, now).await;
            measured.expect("measures");
        })
    }

    /// Has something begin that comes to wait for the model, slices the model by its carriers as well, and lets it end.
    async fn while_carriers_are_declared<T: Send + 'static>(
        &self,
        begun: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let mut first = self.holding_model().await;
        let begun = tokio::spawn(begun);
        self.until_waiting(1).await;
        let sliced = Model {
            segments: vec!["origin".to_owned(), "carrier".to_owned()],
            ..self.model("fares").await
        };
        let declared = models::upsert(&mut first, &sliced, self.clock.now()).await;
        declared.expect("declared");
        first.commit().await.expect("ends");
        begun.await.expect("ends")
    }

    /// How many carriers something was counted of.
    async fn carriers(&self) -> i64 {
        let counted =
            "SELECT COUNT(DISTINCT segment_value) FROM profiles WHERE segment_name = 'carrier'";
        self.number(counted).await
    }
}

/// A transaction that has locked a table so.
async fn holding(pool: &PgPool, table: &str, mode: &str) -> Transaction<'static, Postgres> {
    let mut tx = pool.begin().await.expect("begins");
    let statement = AssertSqlSafe(format!("LOCK TABLE {table} IN {mode} MODE"));
    let locked = sqlx::raw_sql(statement).execute(&mut *tx).await;
    locked.expect("locked");
    tx
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn windows_that_are_counted_again_while_their_rows_go_keep_their_profiles(pool: PgPool) {
    let app = lived(pool, 5, 6).await;
    let profiles = "SELECT COUNT(*) FROM profiles WHERE window_start = '2026-03-01Z'";
    let before = app.number(profiles).await;
    assert!(before > 0);

    let ahead: Vec<_> = (0..4)
        .map(|days| app.clock.now() + TimeDelta::days(days))
        .collect();
    let made = partitions::ensure(&mut *app.conn().await, Grain::Day, &ahead).await;
    made.expect("made ahead");

    // The rows are about to be dropped, and who counts has looked at what is gone, or waits to.
    let elsewhere = app.replica().await;
    let reader = holding(
        &elsewhere.pool,
        "prediction_chunks_20260301",
        "ACCESS SHARE",
    )
    .await;
    let profiled = holding(&elsewhere.pool, "profiles_20260301", "ACCESS EXCLUSIVE").await;
    let forgetting = app.forgetting();
    app.until_waiting(1).await;
    let (model, now) = (app.model("fares").await, app.clock.now());
    let counting = tokio::spawn(async move {
        let mut tx = elsewhere.pool.begin().await.expect("begins");
        let counted = recount::count_again(&mut tx, &model, elsewhere.bounds, now).await;
        counted.expect("counted");
        tx.commit().await.expect("ends");
        elsewhere.pool.close().await;
    });
    app.until_waiting(2).await;
    reader.rollback().await.expect("ends");
    assert!(forgetting.await.expect("ends"));
    profiled.rollback().await.expect("ends");
    counting.await.expect("ends");

    assert!(!app.has_table("prediction_chunks_20260301").await);
    assert_eq!(app.number(profiles).await, before);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_day_that_a_project_wants_to_keep_after_all_stays(pool: PgPool) {
    let app = lived(pool, 5, 6).await;
    let mut first = app.begin().await;
    let longer = Wishes {
        raw_days: Some(50),
        ..Wishes::default()
    };
    let wished = stored::wish(&mut first, app.project, longer).await;
    wished.expect("wished");
    let forgetting = app.forgetting();
    app.until_waiting(1).await;
    first.commit().await.expect("ends");
    assert!(!forgetting.await.expect("ends"));
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 6 * 40);
    let marked = "SELECT COUNT(raw_closed_before) + COUNT(raw_gone_before) FROM project_retention";
    assert_eq!(app.number(marked).await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_project_of_which_nothing_was_closed_yet_is_not_closed_while_samples_come(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-05").await;
    let mut samples = app.begin().await;
    let closed = stored::closed_before(&mut samples, app.project).await;
    assert_eq!(closed.expect("reads"), None);
    let (pool, projects) = (app.services.pool.clone(), BTreeSet::from([app.project]));
    let closing = tokio::spawn(async move {
        let mut tx = pool.begin().await.expect("begins");
        let closed = stored::close(&mut tx, &projects, at("2026-03-02")).await;
        closed.expect("closed");
        tx.commit().await.expect("ends");
    });
    app.until_waiting(1).await;
    samples.commit().await.expect("ends");
    closing.await.expect("ends");
    let mut samples = app.begin().await;
    let closed = stored::closed_before(&mut samples, app.project).await;
    assert_eq!(closed.expect("reads"), Some(at("2026-03-02")));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_turn_of_those_who_move_rows_does_not_end_because_it_is_idle(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-05").await;
    let mut turn = app.begin().await;
    let set = sqlx::raw_sql("SET LOCAL idle_in_transaction_session_timeout = '1min'");
    set.execute(&mut *turn).await.expect("set");
    assert!(stored::try_turn(&mut turn).await.expect("asked"));
    let limit: String = sqlx::query_scalar("SHOW idle_in_transaction_session_timeout")
        .fetch_one(&mut *turn)
        .await
        .expect("shown");
    assert_eq!(limit, "0");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_file_is_fitted_by_the_segments_that_are_declared_meanwhile(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let (services, project_id) = (app.services.clone(), app.project);
    let body = lines(&fares::training()[..150]);
    let fitted = app.while_carriers_are_declared(async move {
        let file = baselines::ReferenceFile {
            project_id,
            model: "fares",
            name: "training",
            file_name: "rows",
            format: Format::Ndjson,
            body,
        };
        baselines::fit_file(&services, file, "tests").await
    });
    fitted.await.expect("fitted");
    assert_eq!(app.carriers().await, 3);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_schema_comes_into_force_with_the_segments_that_are_declared_meanwhile(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let wish = Wish {
        origin: Origin::Api,
        source: "a test".to_owned(),
        reason: "they are longer".to_owned(),
        features: vec![FeatureOverride {
            feature: "distance".to_owned(),
            maximum: Limit::Given(2_000.0),
            ..FeatureOverride::default()
        }],
        removed: Vec::new(),
        replace: false,
        notes: Vec::new(),
    };
    let proposed = schemas::propose(&app.services, app.project, "fares", wish, "Ada").await;
    let verdict = Verdict {
        proposal_id: proposed.expect("taken").expect("differs").proposal_id,
        accept: true,
        reason: "we fly further now",
        actor: "Grace",
    };
    let decided = schemas::decide(&app.services, app.project, verdict).await;
    assert_eq!(decided.expect("decided"), ProposalState::Accepting);
    let (services, now) = (app.services.clone(), app.clock.now());
    let changed =
        app.while_carriers_are_declared(async move { schemas::activate(&services, now).await });
    assert!(changed.await.expect("in force"));
    assert_eq!(app.carriers().await, 3);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_is_erased_is_counted_again_by_the_segments_that_are_declared_meanwhile(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let (services, project_id) = (app.services.clone(), app.project);
    let ids = BTreeSet::from([fares::id(at("2026-03-01"), 0)]);
    let erased = app.while_carriers_are_declared(async move {
        let order = Order {
            project_id,
            model: "fares",
            ids: &ids,
            reason: "because",
        };
        erasure::erase(&services, order, "tests").await
    });
    assert_eq!(erased.await.expect("erased").windows, 1);
    assert_eq!(app.carriers().await, 3);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_baseline_that_other_days_take_the_place_of_is_not_fitted_any_more(pool: PgPool) {
    let app = lived(pool, 5, 3).await;
    let model = app.model("fares").await;
    let now = app.clock.now();
    let window = |from, to| baselines::ReferenceWindow {
        name: "first days",
        from: at(from),
        to: at(to),
        version: None,
        declared: baselines::Declared::InFile,
    };
    let mut conn = app.conn().await;
    let earlier = window("2026-03-01", "2026-03-02");
    let declared = baselines::declare_window(&mut conn, &model, earlier, "tests", now).await;
    let declared = declared.expect("declared");
    drop(conn);
    let mut first = app.holding_model().await;
    let services = app.services.clone();
    let fitting = tokio::spawn(async move { baselines::activate(&services, now).await });
    app.until_waiting(1).await;
    let other = stored_baselines::Baseline {
        baseline_id: BaselineId::new(now),
        window_to: Some(at("2026-03-20")),
        ..declared.clone()
    };
    let put = stored_baselines::put(&mut first, app.project, &other).await;
    put.expect("put");
    first.commit().await.expect("ends");
    fitting.await.expect("ends").expect("activates");
    let fitted =
        "SELECT COUNT(*) FROM baselines WHERE retired_at IS NOT NULL AND fitted_at IS NOT NULL";
    assert_eq!(app.number(fitted).await, 0);
}

/// A day that is over and not measured yet.
async fn unmeasured(pool: PgPool) -> TestApp {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 40)).await;
    app.label("fares", &fares::labels(day, 40, 3.0)).await;
    app.settle().await;
    app.clock.advance_to(at("2026-03-03"));
    app
}

/// The model with a rule that the day of [`unmeasured`] breaks.
fn ruled() -> String {
    let rule = "rules:
  - {name: quality, model: fares, title: Fares are off, severity: warning,
     when: {monitor: quality, measure: mae, above: 2.0}}
";
    format!("{}{rule}", fares::configuration("fares"))
}

/// The threshold by which each feature was judged in the end.
async fn thresholds(app: &TestApp) -> BTreeSet<String> {
    app.work().await;
    let measured = app.measured("fares").await;
    let psi = measured.into_iter().filter(|m| m.measure == "psi");
    psi.map(|m| m.recipe["threshold"].to_string()).collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn windows_that_are_measured_while_monitors_are_declared_anew_are_measured_by_those(
    pool: PgPool,
) {
    let app = unmeasured(pool).await;
    let first = app.holding_model().await;
    let evaluating = app.evaluating();
    app.until_waiting(1).await;
    let stricter = fares::configuration("fares").replace("psi: 0.25", "psi: 0.125");
    let applying = app.applying(stricter);
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while app.number(waiting).await < 2 && !applying.is_finished() {
        tokio::task::yield_now().await;
    }
    first.rollback().await.expect("ends");
    evaluating.await.expect("ends");
    applying.await.expect("ends");
    assert_eq!(thresholds(&app).await, BTreeSet::from(["0.125".to_owned()]));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn windows_that_wait_while_monitors_are_declared_anew_are_measured_by_those(pool: PgPool) {
    let app = unmeasured(pool).await;
    let first = app.holding_model().await;
    let stricter = fares::configuration("fares").replace("psi: 0.25", "psi: 0.125");
    let applying = app.applying(stricter);
    app.until_waiting(1).await;
    let evaluating = app.evaluating();
    app.until_waiting(2).await;
    first.rollback().await.expect("ends");
    applying.await.expect("ends");
    evaluating.await.expect("ends");
    assert_eq!(thresholds(&app).await, BTreeSet::from(["0.125".to_owned()]));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn of_two_configurations_at_once_the_later_is_in_force_with_all_that_it_says(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let first = app.holding_model().await;
    let wide = fares::configuration("fares");
    let narrow = app.applying(wide.replace("max: 1000", "max: 900"));
    app.until_waiting(1).await;
    let wide = app.applying(wide);
    app.until_waiting(2).await;
    first.rollback().await.expect("ends");
    narrow.await.expect("ends");
    wide.await.expect("ends");
    let model_id = app.model("fares").await.model_id;
    let schema = stored_baselines::schema(&mut *app.conn().await, model_id).await;
    let features = schema.expect("reads").expect("a schema").features;
    let distance = features.iter().find(|f| f.feature == "distance");
    assert_eq!(distance.expect("expected").maximum, Some(1_000.0));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_alert_does_not_open_by_what_was_measured_before_its_rule_was_stepped(pool: PgPool) {
    let app = unmeasured(pool).await;
    app.apply(&ruled()).await;
    app.evaluating().await.expect("ends");
    // Another replica finds that labels were corrected, and steps the rule by that.
    let mut other = holding(&app.services.pool, "rule_states", "ACCESS EXCLUSIVE").await;
    let (services, now) = (app.services.clone(), app.clock.now());
    let alerting = tokio::spawn(async move { alerting::activate(&services, now).await });
    app.until_waiting(1).await;
    sqlx::raw_sql("UPDATE measurements SET value = 1.0 WHERE measure = 'mae'")
        .execute(&mut *other)
        .await
        .expect("measured again");
    other.commit().await.expect("ends");
    alerting.await.expect("ends").expect("alerts");
    assert_eq!(app.alerts().await, []);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn two_who_have_something_to_say_of_an_alert_say_it_one_after_the_other(pool: PgPool) {
    let app = unmeasured(pool).await;
    app.apply(&ruled()).await;
    app.work().await;
    let alert = app.alerts().await.remove(0);
    let (alert_id, now) = (alert.alert_id, app.clock.now());
    let event = |kind| AlertEvent {
        kind,
        text: "something",
        detail: serde_json::json!({}),
        actor: "tests",
    };
    let mut first = app.begin().await;
    let seen = alerts::add_event(&mut first, alert_id, event("seen"), now).await;
    seen.expect("said");
    let pool = app.services.pool.clone();
    let approved = event("approved");
    let second = tokio::spawn(async move {
        let mut tx = pool.begin().await.expect("begins");
        let said = alerts::add_event(&mut tx, alert_id, approved, now).await;
        said.expect("said");
        tx.commit().await.expect("ends");
    });
    app.until_waiting(1).await;
    first.commit().await.expect("ends");
    second.await.expect("ends");
    assert_eq!(app.history(&alert).await, ["opened", "seen", "approved"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_half_that_is_being_joined_is_not_given_up(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let model = app.model("fares").await;
    let half = HalfToKeep {
        pair: "a".to_owned(),
        half: Half::Request,
        body: Some(vec![1]),
        received_at: at("2026-03-01"),
    };
    let of = (app.project, model.model_id);
    let kept = inferences::keep(&mut *app.conn().await, of, &[half]).await;
    kept.expect("kept");
    let mut joining = app.begin().await;
    let known = inferences::known(&mut joining, model.model_id, &["a".to_owned()]).await;
    assert_eq!(known.expect("read").len(), 1);
    let expired = inferences::expire(&mut *app.conn().await, at("2026-03-02"), 10).await;
    assert_eq!(expired.expect("given up"), (0, Vec::new()));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_model_that_always_has_something_to_settle_does_not_hold_up_the_others(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    let names = ["first", "second", "third"];
    let declared: String = names.iter().map(|name| fares::declared(name)).collect();
    app.apply(&format!("models:\n{declared}")).await;
    for name in names {
        app.version(name, "v1").await;
    }
    let row = |i| fares::prediction(at("2026-03-02"), i);
    for (turn, busy) in (0..).zip(names) {
        let others = names.iter().filter(|name| **name != busy);
        for name in others {
            app.predict(name, &[row(turn)]).await;
        }
        for i in 0..3 {
            app.predict(busy, &[row(10 * (turn + 1) + i)]).await;
            let now = app.clock.now();
            settle::activate(&app.services, now).await.expect("settles");
        }
        let waiting = app
            .number("SELECT COUNT(DISTINCT model_id) FROM landed_batches WHERE state = 'landed'");
        assert!(waiting.await <= 1, "only the busy one has more");
        app.settle().await;
    }
}
