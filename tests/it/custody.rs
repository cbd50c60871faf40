//! What is kept and forgotten, by policy, and what people are told of it.

use std::collections::BTreeMap;

use bellwether::domain::clock::Clock;
use bellwether::domain::ids::ProjectId;
use bellwether::formats::Format;
use bellwether::services::ingest::{self, Upload};
use bellwether::services::{baselines, configuration, registry, retention};
use bellwether::storage::{access, models, retention as stored};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::app::{TestApp, at, lines, settle_all};
use crate::fares;

/// More looks than it takes for a transaction to come to the lock that it waits for.
const MOST_LOOKS: usize = 100_000;

/// The model, and a project that keeps raw rows for some days.
pub fn keeping(days: u32) -> String {
    format!(
        "project: {{name: tests, retention: {{raw_days: {days}}}}}\n{}",
        fares::configuration("fares")
    )
}

/// A story of some days of a model whose project keeps raw rows for `days`.
pub async fn lived(pool: PgPool, days: u32, lived: i64) -> TestApp {
    let app = TestApp::start(pool, "2026-03-01").await;
    app.with_fares("").await;
    app.apply(&keeping(days)).await;
    for _ in 0..lived {
        app.live_day(1.0).await;
    }
    app
}

impl TestApp {
    pub async fn forget(&self) {
        while retention::activate(&self.services, self.services.clock.now())
            .await
            .expect("forgets")
        {}
    }

    pub async fn has_table(&self, name: &str) -> bool {
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(name)
            .fetch_one(&self.services.pool)
            .await
            .expect("an answer")
    }

    /// All rows that a query gives, as text, in order.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT x::text AS row FROM ({sql}) AS x ORDER BY 1"
        )));
        let rows = rows.fetch_all(&self.services.pool).await.expect("rows");
        rows.into_iter().map(|row| row.get("row")).collect()
    }

    /// Waits until so many transactions of the story wait for another.
    pub async fn until_waiting(&self, transactions: i64) {
        let waiting = "SELECT COUNT(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        for _ in 0..MOST_LOOKS {
            if self.number(waiting).await >= transactions {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("fewer than {transactions} transactions wait");
    }

    /// What is in force of a day, by monitor and measure.
    async fn of_day(&self, day: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .measured("fares")
            .await
            .into_iter()
            .filter(|m| m.window.start == at(day))
            .map(|m| {
                format!(
                    "{:?} {} {} {:?} {:?}",
                    m.segment, m.feature, m.measure, m.value, m.status
                )
            })
            .collect();
        values.sort();
        values
    }

    /// Everything that is kept of predictions, row by row.
    pub async fn raw_rows(&self) -> BTreeMap<&'static str, Vec<String>> {
        let predictions = "SELECT model_version_id, day, prediction_id, predicted_at, value, class, score, probabilities,
                                  latency_ms, error, deployment FROM predictions";
        let features = "SELECT p.prediction_id, f.feature, f.number, f.text, f.absent, f.value_type
                        FROM feature_values f
                        JOIN predictions p USING (model_version_id, day, chunk, position)";
        let segments = "SELECT p.prediction_id, s.segment, s.value FROM segment_values s
                        JOIN predictions p USING (model_version_id, day, chunk, position)";
        BTreeMap::from([
            ("predictions", self.texts(predictions).await),
            ("features", self.texts(features).await),
            ("segments", self.texts(segments).await),
            ("outcomes", self.texts("SELECT * FROM outcomes").await),
            (
                "telemetry",
                self.texts("SELECT * FROM telemetry_samples").await,
            ),
            (
                "keys",
                self.texts(
                    "SELECT id_hash, version_number, content_hash, day FROM prediction_keys",
                )
                .await,
            ),
        ])
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn raw_rows_go_by_policy_and_what_was_measured_stays(pool: PgPool) {
    let app = lived(pool, 5, 8).await;
    let before = app.of_day("2026-03-02").await;
    let profiles = app.texts("SELECT * FROM profiles").await;
    assert!(before.len() > 20, "{before:?}");
    let plan = retention::plan(&app.services, app.project, app.clock.now())
        .await
        .expect("a plan");
    let due: Vec<_> = plan
        .steps
        .iter()
        .map(|step| (step.from, step.whole, step.rows))
        .collect();
    let day = |text: &str| (at(text), true, Some(40));
    assert_eq!(
        due,
        [day("2026-03-01"), day("2026-03-02"), day("2026-03-03")]
    );
    assert!(
        app.has_table("chunk_columns_20260302").await,
        "a plan changes nothing"
    );

    app.forget().await;
    for table in ["chunk_columns", "prediction_chunks", "outcomes"] {
        assert!(
            !app.has_table(&format!("{table}_20260303")).await,
            "{table}"
        );
        assert!(app.has_table(&format!("{table}_20260304")).await, "{table}");
    }
    // Made ahead.
    assert!(app.has_table("chunk_columns_20260312").await);
    assert!(app.has_table("measurements_202603").await);
    assert_eq!(
        app.number("SELECT COUNT(*) FROM prediction_keys").await,
        5 * 40
    );
    assert_eq!(app.number("SELECT COUNT(*) FROM labels").await, 5 * 40);
    let marks = stored::marks(&mut *app.conn().await, app.project)
        .await
        .expect("marks");
    assert_eq!(marks.raw_gone_before, Some(at("2026-03-04")));
    assert_eq!(marks.profiles_gone_before, None);
    let removed = "SELECT COUNT(*) FROM audit_events WHERE action = 'retention.removed'";
    assert_eq!(app.number(removed).await, 3);

    // Another declaration has everything counted and measured again, but for what is gone.
    let changed = keeping(5)
        .replace("max: 1000", "max: 10")
        .replace("segments: [origin]", "segments: [origin, carrier]");
    app.apply(&changed).await;
    app.work().await;
    assert_eq!(app.of_day("2026-03-02").await, before);
    let of_gone = |rows: &[String]| -> Vec<String> {
        let gone = ["2026-03-01", "2026-03-02", "2026-03-03"];
        rows.iter()
            .filter(|row| gone.iter().any(|day| row.contains(day)))
            .cloned()
            .collect()
    };
    let now = app.texts("SELECT * FROM profiles").await;
    assert_eq!(of_gone(&now), of_gone(&profiles));
    assert_ne!(now, profiles);
    app.forget().await;
    assert_eq!(app.of_day("2026-03-02").await, before);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn profiles_and_measurements_go_after_their_own_time(pool: PgPool) {
    let app = lived(pool, 5, 8).await;
    let declared = keeping(5).replace(
        "raw_days: 5",
        "raw_days: 2, profile_days: 4, measurement_days: 6",
    );
    app.apply(&declared).await;
    app.forget().await;
    assert!(!app.has_table("profiles_20260304").await && app.has_table("profiles_20260305").await);
    assert_eq!(app.number("SELECT COUNT(*) FROM window_states").await, 4);
    // By whole months.
    assert!(app.has_table("measurements_202603").await);
    app.clock.advance_to(at("2026-04-07"));
    app.forget().await;
    assert!(!app.has_table("measurements_202603").await);
    assert_eq!(app.number("SELECT COUNT(*) FROM measured_windows").await, 0);
    let marks = stored::marks(&mut *app.conn().await, app.project)
        .await
        .expect("marks");
    assert_eq!(marks.measurements_gone_before, Some(at("2026-04-01")));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_comes_for_a_day_that_is_gone_is_refused_and_counted(pool: PgPool) {
    let app = lived(pool, 5, 8).await;
    // Acknowledged before the day is closed, and not settled yet.
    let late = fares::prediction(at("2026-03-02"), 77);
    assert_eq!(
        app.predict(
            "fares",
            &[late.clone(), fares::prediction(at("2026-03-08"), 77)]
        )
        .await
        .kept,
        2
    );
    app.forget().await;
    app.settle().await;
    assert!(
        !app.has_table("chunk_columns_20260302").await,
        "the day came back"
    );
    let reason =
        "SELECT rows FROM intake_counts WHERE reason = 'past_retention' AND outcome = 'rejected'";
    assert_eq!(app.number(reason).await, 1);
    app.assert_conserved("fares").await;

    let receipt = app
        .predict("fares", &[late, fares::prediction(at("2026-03-08"), 78)])
        .await;
    assert_eq!((receipt.kept, receipt.rejected), (1, 1));
    assert_eq!(receipt.rejects[0].line, 1);
    assert!(
        receipt.rejects[0]
            .cause
            .contains("before 2026-03-04 are gone"),
        "{:?}",
        receipt.rejects
    );
    app.settle().await;
    assert_eq!(app.number(reason).await, 2);
    app.assert_conserved("fares").await;
    // A baseline on what is gone says so.
    let declared = keeping(5).replace(
        "      training: {file: training.ndjson}\n",
        "      training: {file: training.ndjson}\n      past: {from: 2026-03-02, to: 2026-03-05, version: v1}\n",
    );
    app.apply(&declared).await;
    baselines::activate(&app.services, app.clock.now())
        .await
        .expect("activates");
    let cause: String = sqlx::query_scalar("SELECT cause FROM baselines WHERE name = 'past'")
        .fetch_one(&app.services.pool)
        .await
        .expect("a cause");
    assert!(cause.contains("raw rows of the window are gone"), "{cause}");
}

async fn second_project(app: &TestApp, days: u32) -> ProjectId {
    let now = app.clock.now();
    let mut conn = app.conn().await;
    let project = access::project_named(&mut conn, ProjectId::new(now), "other", false, now)
        .await
        .expect("made");
    let file = bellwether::domain::definitions::SourceFile {
        path: "other.yaml".to_owned(),
        text: format!(
            "project: {{name: other, retention: {{raw_days: {days}}}}}\nmodels: [{{name: fares, task: regression}}]"
        ),
    };
    configuration::apply(&app.services, project, &[file], "tests")
        .await
        .expect("applied");
    let model = registry::model(&mut conn, project, "fares")
        .await
        .expect("there");
    registry::register_version(&app.services, &model, "v1", json!({}), "tests", now)
        .await
        .expect("registered");
    project
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_day_of_two_projects_is_swept_for_one_and_dropped_with_the_last(pool: PgPool) {
    let app = lived(pool, 5, 2).await;
    let other = second_project(&app, 10).await;
    let rows = fares::day(at("2026-03-02"), 30);
    let upload = Upload {
        project_id: other,
        model: "fares",
        format: Format::Ndjson,
        body: lines(&rows),
        version: None,
        generation: None,
    };
    ingest::predictions(&app.services, upload)
        .await
        .expect("taken");
    settle_all(&app.services).await;
    app.clock.advance_to(at("2026-03-09"));
    app.forget().await;
    assert!(!app.has_table("chunk_columns_20260301").await);
    assert!(app.has_table("chunk_columns_20260302").await);
    assert_eq!(
        app.number("SELECT COUNT(DISTINCT project_id) FROM chunk_columns")
            .await,
        1
    );
    assert_eq!(
        app.number("SELECT SUM(rows)::bigint FROM prediction_chunks")
            .await,
        30
    );
    assert_eq!(app.number("SELECT COUNT(*) FROM prediction_keys").await, 30);
    assert_eq!(app.number("SELECT COUNT(*) FROM outcomes").await, 0);
    let marks = stored::marks(&mut *app.conn().await, other)
        .await
        .expect("marks");
    assert_eq!(
        marks.raw_gone_before, None,
        "the other project has all of its rows"
    );
    app.clock.advance_to(at("2026-03-16"));
    app.forget().await;
    assert!(!app.has_table("chunk_columns_20260302").await);
    assert_eq!(app.number("SELECT COUNT(*) FROM prediction_keys").await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_partition_that_is_being_read_is_dropped_later(pool: PgPool) {
    let app = lived(pool, 5, 6).await;
    let mut reader = app.services.pool.begin().await.expect("begins");
    sqlx::query("SELECT COUNT(*) FROM predictions")
        .execute(&mut *reader)
        .await
        .expect("reads");
    let now = app.clock.now();
    assert!(
        !retention::activate(&app.services, now)
            .await
            .expect("waits for nobody")
    );
    assert!(app.has_table("chunk_columns_20260301").await);
    reader.rollback().await.expect("ends");
    app.forget().await;
    assert!(!app.has_table("chunk_columns_20260301").await);
}

/// Who still keeps a day may write into it until the moment it is dropped for those who are past it.
#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_of_others_that_come_while_a_day_goes_stay(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let other = second_project(&app, 90).await;
    let mut conn = app.conn().await;
    let model = registry::model(&mut conn, other, "fares")
        .await
        .expect("there");
    let (_, version, _) = models::version_numbers(&mut conn, model.model_id)
        .await
        .expect("versions")
        .remove(0);
    drop(conn);
    app.clock.advance_to(at("2026-03-09"));

    let mut writer = app.services.pool.begin().await.expect("begins");
    let copied = sqlx::query(
        "INSERT INTO prediction_chunks
         SELECT (jsonb_populate_record(c, jsonb_build_object(
                    'project_id', $1::uuid, 'model_id', $2::uuid, 'model_version_id', $3::uuid))).*
         FROM prediction_chunks c",
    )
    .bind(other.0)
    .bind(model.model_id.0)
    .bind(version.0)
    .execute(&mut *writer)
    .await
    .expect("written");
    assert_eq!(copied.rows_affected(), 1);
    let services = app.services.clone();
    let now = app.clock.now();
    let forgetting = tokio::spawn(async move { retention::activate(&services, now).await });
    app.until_waiting(1).await;
    writer.commit().await.expect("committed");
    assert!(forgetting.await.expect("ends").expect("forgets"));

    let left: Vec<(uuid::Uuid, i32)> =
        sqlx::query_as("SELECT project_id, rows FROM prediction_chunks")
            .fetch_all(&app.services.pool)
            .await
            .expect("read");
    assert_eq!(left, [(other.0, 40)]);
    let whole = "SELECT COUNT(*) FROM audit_events WHERE action = 'retention.removed' AND (detail ->> 'whole_partition')::bool";
    assert_eq!(app.number(whole).await, 0);
}
