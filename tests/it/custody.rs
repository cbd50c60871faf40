//! What is kept, forgotten, archived, given back and erased: by policy and by order, and what people are told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bellwether::archive::{Archive, BucketSettings};
use bellwether::domain::archive::Manifest;
use bellwether::domain::clock::Clock;
use bellwether::domain::ids::ProjectId;
use bellwether::domain::model::Task;
use bellwether::domain::telemetry::SampleRow;
use bellwether::domain::window::Grain;
use bellwether::formats::{Format, archived};
use bellwether::services::archiving::{self, Wanted};
use bellwether::services::erasure::{self, Order};
use bellwether::services::ingest::{self, Upload};
use bellwether::services::{Error, baselines, configuration, registry, retention};
use bellwether::storage::intake::BatchKind;
use bellwether::storage::{access, partitions, retention as stored, telemetry};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::app::{TestApp, at, lines, settle_all};
use crate::fares;

/// The model, and a project that keeps raw rows for some days.
fn keeping(days: u32) -> String {
    format!(
        "project: {{name: tests, retention: {{raw_days: {days}}}}}\n{}",
        fares::configuration("fares")
    )
}

/// A story of some days of a model whose project keeps raw rows for `days`.
async fn lived(pool: PgPool, days: u32, lived: i64) -> TestApp {
    let app = TestApp::start(pool, "2026-03-01").await;
    app.with_fares("").await;
    app.apply(&keeping(days)).await;
    for _ in 0..lived {
        app.live_day(1.0).await;
    }
    app
}

impl TestApp {
    async fn forget(&self) {
        while retention::activate(&self.services, self.services.clock.now())
            .await
            .expect("forgets")
        {}
    }

    async fn has_table(&self, name: &str) -> bool {
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(name)
            .fetch_one(&self.services.pool)
            .await
            .expect("an answer")
    }

    /// All rows that a query gives, as text, in order.
    async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT x::text AS row FROM ({sql}) AS x ORDER BY 1"
        )));
        let rows = rows.fetch_all(&self.services.pool).await.expect("rows");
        rows.into_iter().map(|row| row.get("row")).collect()
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
    async fn raw_rows(&self) -> BTreeMap<&'static str, Vec<String>> {
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

// ── the archive ──────────────────────────────────────────────────────────────────────────────────────────

fn new_folder() -> PathBuf {
    std::env::temp_dir().join(format!("bellwether-archive-{}", uuid::Uuid::new_v4()))
}

/// Days with everything that a row can have: classes of values, nulls, segments, errors, corrections.
async fn varied(app: &TestApp, day: &str) {
    let day = at(day);
    let mut rows = fares::day(day, 40);
    for (i, row) in rows.iter_mut().enumerate() {
        row["mixed"] = match i % 6 {
            0 => json!(null),
            1 => json!(1),
            2 => json!(1.5),
            3 => json!("text"),
            4 => json!(true),
            _ => json!("2026-03-01T00:00:00Z"),
        };
        if i % 3 == 0 {
            row["seldom"] = json!("é;=\"\\");
        }
        row["segments"] = json!({"channel": format!("web;{}", i % 2), "plan": "a=b"});
        row["deployment"] = json!("blue");
    }
    rows[5]["error"] = json!("timed out");
    rows[5].as_object_mut().expect("a row").remove("prediction");
    let receipt = app.predict("fares", &rows).await;
    assert_eq!(receipt.rejected, 0, "{receipt:?}");
    app.label("fares", &fares::labels(day, 40, 1.0)).await;
    let mut corrected = fares::label(day, 7, 3.0);
    corrected["observed_at"] = json!(day + TimeDelta::hours(21));
    app.label("fares", &[corrected]).await;
}

async fn archiving_story(pool: PgPool, archive: Archive) -> TestApp {
    let mut app = TestApp::start(pool, "2026-03-01").await;
    app.services.custody.archive = Some(archive);
    app.with_fares("").await;
    app.apply(&keeping(5)).await;
    for day in ["2026-03-01", "2026-03-02", "2026-03-03"] {
        app.clock.advance_to(at(day));
        varied(&app, day).await;
        told(&app, at(day)).await;
        app.tick_at(at(day) + TimeDelta::days(1)).await;
    }
    app
}

/// Samples of every kind, one of them of a measure that this release does not know.
async fn told(app: &TestApp, day: DateTime<Utc>) {
    let model_id = app.model("fares").await.model_id;
    let level = SampleRow {
        measure: "cpu_utilization".to_owned(),
        series: -7,
        sampled_at: day + TimeDelta::hours(3),
        started_at: None,
        source: "pod-1".to_owned(),
        counting: "level".to_owned(),
        value: 0.25,
        observations: None,
        bounds: None,
        buckets: None,
    };
    let spread = SampleRow {
        measure: "of_another_release".to_owned(),
        started_at: Some(day),
        counting: "cumulative".to_owned(),
        value: 12.5,
        observations: Some(3),
        bounds: Some(vec![0.1, 1.0]),
        buckets: Some(vec![1, 2, 0]),
        ..level.clone()
    };
    let mut conn = app.conn().await;
    partitions::ensure_telemetry(&mut conn, [Grain::Day.window_at(day)])
        .await
        .expect("partitions");
    let samples = [(model_id, level), (model_id, spread)];
    let stored = telemetry::insert(&mut conn, app.project, &samples).await;
    assert_eq!(stored.expect("stored"), 2);
}

/// What came in for the model, and what became of it.
async fn received(app: &TestApp) -> Vec<String> {
    app.texts(
        "SELECT kind, outcome, reason, rows FROM intake_counts
         WHERE outcome IN ('received', 'accepted', 'duplicate', 'conflicting', 'rejected')",
    )
    .await
}

async fn archive_drop_and_restore(app: &TestApp) -> Vec<Manifest> {
    let rows = app.raw_rows().await;
    let counted = app.texts("SELECT * FROM profiles").await;
    let windows = app
        .texts(
            "SELECT model_version_id, window_start, predictions, errors, labels FROM window_states",
        )
        .await;
    let labels = app
        .texts("SELECT prediction_id, value, observed_at, joined FROM labels")
        .await;
    app.clock.advance_to(at("2026-03-20"));
    app.forget().await;
    assert!(app.raw_rows().await.values().all(Vec::is_empty));
    assert_eq!(app.number("SELECT COUNT(*) FROM labels").await, 0);

    let manifests = archiving::list(&app.services, app.project, Some("fares"))
        .await
        .expect("listed");
    let of_days: Vec<_> = manifests
        .iter()
        .map(|m| (m.day.to_string(), m.predictions, m.labels, m.telemetry))
        .collect();
    let day = |text: &str| (text.to_owned(), 40, 41, 2);
    assert_eq!(
        of_days,
        [day("2026-03-01"), day("2026-03-02"), day("2026-03-03")]
    );
    let wanted = Wanted {
        project_id: app.project,
        model: "fares",
        from: "2026-03-01".parse().expect("a day"),
        to: "2026-03-03".parse().expect("a day"),
        keep_days: 7,
    };
    let received = received(app).await;
    for samples in [6, 0] {
        let given = archiving::give_back(&app.services, wanted, "tests")
            .await
            .expect("given back");
        assert_eq!(
            (
                given.days.len(),
                given.predictions,
                given.labels,
                given.telemetry
            ),
            (3, 120, 123, samples)
        );
        app.work().await;
        let restored = app.raw_rows().await;
        for (what, rows) in &rows {
            assert_eq!(restored[what], *rows, "{what}");
        }
        assert_eq!(
            app.texts("SELECT prediction_id, value, observed_at, joined FROM labels")
                .await,
            labels
        );
    }
    assert_eq!(
        app.texts("SELECT * FROM profiles").await,
        counted,
        "counted twice"
    );
    let again =
        "SELECT model_version_id, window_start, predictions, errors, labels FROM window_states";
    assert_eq!(app.texts(again).await, windows);
    app.assert_conserved("fares").await;
    // They were received once, and came back once.
    assert_eq!(self::received(app).await, received);
    let restored = async |kind| app.count("fares", kind, "restored").await;
    assert_eq!(restored(BatchKind::Predictions).await, 120);
    assert_eq!(restored(BatchKind::Labels).await, 123);

    // They stay for a while, and go again; the archive is what it was.
    app.forget().await;
    assert_eq!(app.raw_rows().await["predictions"].len(), 120);
    app.clock.advance_to(at("2026-03-28"));
    app.forget().await;
    assert!(app.raw_rows().await["predictions"].is_empty());
    assert_eq!(app.number("SELECT COUNT(*) FROM restored_days").await, 0);
    assert_eq!(app.number("SELECT COUNT(*) FROM prediction_keys").await, 0);
    let later = archiving::list(&app.services, app.project, None)
        .await
        .expect("listed");
    assert_eq!(later, manifests);
    manifests
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_was_archived_dropped_and_given_back_is_row_by_row_the_same(pool: PgPool) {
    let folder = new_folder();
    let archive = Archive::folder(folder.clone()).expect("usable");
    let app = archiving_story(pool, archive).await;
    let manifests = archive_drop_and_restore(&app).await;
    assert_eq!(manifests[0].schema_version, archived::VERSION);
    assert_eq!(manifests[0].files.len(), 3);

    // A file that was damaged is not given back.
    let file = files_below(&folder)
        .into_iter()
        .find(|path| path.ends_with(&manifests[0].files[0].name));
    let file = file.expect("the file");
    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let wanted = Wanted {
        project_id: app.project,
        model: "fares",
        from: manifests[0].day,
        to: manifests[0].day,
        keep_days: 7,
    };
    let refused = archiving::give_back(&app.services, wanted, "tests")
        .await
        .expect_err("damaged");
    assert!(refused.to_string().contains("SHA-256"), "{refused}");
    std::fs::remove_dir_all(folder).expect("removed");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Against a server that speaks S3, named by the environment: `make test-integrations` starts one.
#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
#[ignore = "needs a server that speaks S3 at BELLWETHER_TEST_S3"]
async fn the_same_with_a_bucket(pool: PgPool) {
    let endpoint =
        std::env::var("BELLWETHER_TEST_S3").expect("BELLWETHER_TEST_S3 names the server");
    let settings = BucketSettings {
        bucket: "bellwether".to_owned(),
        prefix: format!("a/{}", uuid::Uuid::new_v4()),
        endpoint: Some(endpoint),
        region: "us-east-1".to_owned(),
        access_key_id: Some("test".to_owned()),
        secret_access_key: Some("test".to_owned()),
    };
    let archive = Archive::bucket(&settings).expect("set up");
    let app = archiving_story(pool, archive).await;
    archive_drop_and_restore(&app).await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn nothing_is_dropped_that_could_not_be_archived(pool: PgPool) {
    let folder = new_folder();
    let archive = Archive::folder(folder.clone()).expect("usable");
    let app = archiving_story(pool, archive).await;
    // Nothing can be written where a file stands in the way.
    let way = folder.join(format!("project={}", app.project));
    std::fs::write(&way, "in the way").expect("written");
    let rows = app.raw_rows().await;
    app.clock.advance_to(at("2026-03-20"));
    app.forget().await;
    assert_eq!(app.raw_rows().await, rows);
    let plan = retention::plan(&app.services, app.project, app.clock.now())
        .await
        .expect("a plan");
    let problem = plan.standing[0].problem.clone().expect("a problem");
    assert!(
        problem.contains("2026-03-01") && problem.contains("archive"),
        "{problem}"
    );
    assert_eq!(plan.steps.len(), 3);
    // Closed all the same, so that what is archived in the end is all of it.
    assert_eq!(plan.standing[0].raw_closed_before, Some(at("2026-03-02")));
    assert_eq!(plan.standing[0].raw_gone_before, None);

    std::fs::remove_file(&way).expect("removed");
    app.forget().await;
    assert!(app.raw_rows().await["predictions"].is_empty());
    let plan = retention::plan(&app.services, app.project, app.clock.now())
        .await
        .expect("a plan");
    assert_eq!(
        (plan.standing[0].problem.clone(), plan.steps.len()),
        (None, 0)
    );
    std::fs::remove_dir_all(folder).expect("removed");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_archive_that_is_wanted_and_not_there_keeps_everything(pool: PgPool) {
    let app = lived(pool, 5, 8).await;
    app.apply(&keeping(5).replace("raw_days: 5", "raw_days: 5, archive: true"))
        .await;
    app.forget().await;
    assert!(app.has_table("chunk_columns_20260301").await);
    let plan = retention::plan(&app.services, app.project, app.clock.now())
        .await
        .expect("a plan");
    let problem = plan.standing[0].problem.clone().expect("a problem");
    assert!(problem.contains("[archive]"), "{problem}");
}

// ── erasing ──────────────────────────────────────────────────────────────────────────────────────────────

const CANARY: &str = "canary-7731";

/// A row of somebody, whose id, category, segment and error nobody else has.
fn of_canary(day: DateTime<Utc>, i: i32) -> Value {
    let mut row = fares::prediction(day, i);
    row["prediction_id"] = json!(format!("{CANARY}-{i}"));
    row["carrier"] = json!(format!("{CANARY} {i}"));
    row["origin"] = json!(format!("{CANARY}_at_{i}"));
    row["remark"] = json!(format!(
        "a remark about {CANARY} which is so long that nobody keeps all of it, {}",
        "x".repeat(300)
    ));
    row["segments"] = json!({"person": CANARY});
    row["deployment"] = json!(CANARY);
    row
}

/// Where a word stands in the database: in any column of any table, as text or as bytes.
async fn traces(pool: &PgPool, word: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'm')",
    )
    .fetch_all(pool)
    .await
    .expect("tables");
    let bytes: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!(
            "SELECT x::text AS row FROM {table} x WHERE strpos(x::text, $1) > 0 OR strpos(x::text, $2) > 0"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(word)
            .bind(&bytes)
            .fetch_all(pool)
            .await
            .expect("scanned");
        for row in rows {
            let row: String = row.get("row");
            found.push(format!(
                "{table}: {}",
                row.chars().take(400).collect::<String>()
            ));
        }
    }
    found.sort();
    found
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_erased_prediction_leaves_no_trace_in_any_table_or_archive(pool: PgPool) {
    let folder = new_folder();
    let mut app = TestApp::start(pool, "2026-03-01").await;
    app.services.custody.archive = Some(Archive::folder(folder.clone()).expect("usable"));
    app.with_fares("").await;
    let rule = "rules:
  - name: unseen
    model: fares
    title: Unseen categories
    severity: critical
    when: {monitor: schema, measures: [unseen_category], status: drift}
";
    let declared = keeping(5).replace(
        "      training: {file: training.ndjson}\n",
        "      training: {file: training.ndjson}\n      past: {from: 2026-03-01, to: 2026-03-03, version: v1}\n",
    );
    let strict = declared.replace("tolerance: 0.05", "tolerance: 0.001");
    app.apply(&format!("{strict}{rule}")).await;
    for (i, day) in ["2026-03-01", "2026-03-02", "2026-03-09"]
        .into_iter()
        .enumerate()
    {
        let i = i32::try_from(i).expect("few");
        app.clock.advance_to(at(day));
        let mut rows = fares::day(at(day), 40);
        rows.insert(7, of_canary(at(day), 100 + i));
        app.predict("fares", &rows).await;
        let mut labels = fares::labels(at(day), 40, 1.0);
        let mut own = fares::label(at(day), 1, 1.0);
        own["prediction_id"] = json!(format!("{CANARY}-{}", 100 + i));
        labels.push(own.clone());
        app.label("fares", &labels).await;
        own["label"] = json!(77.0);
        own["observed_at"] = json!(at(day) + TimeDelta::hours(22));
        app.label("fares", &[own]).await;
        app.tick_at(at(day) + TimeDelta::days(1)).await;
    }
    // The first two days are in the archive, and one of them is given back; the third is in the database.
    app.forget().await;
    assert!(!app.has_table("chunk_columns_20260302").await);
    let wanted = Wanted {
        project_id: app.project,
        model: "fares",
        from: "2026-03-02".parse().expect("a day"),
        to: "2026-03-02".parse().expect("a day"),
        keep_days: 30,
    };
    archiving::give_back(&app.services, wanted, "tests")
        .await
        .expect("given back");
    app.work().await;
    // A label that waits, a batch that has landed, a refused row that names a value.
    app.label(
        "fares",
        &[json!({"prediction_id": format!("{CANARY}-999"), "label": 1.0})],
    )
    .await;
    app.settle().await;
    app.predict(
        "fares",
        &[
            of_canary(at("2026-03-09"), 103),
            fares::prediction(at("2026-03-09"), 55),
        ],
    )
    .await;
    let mut wrong = of_canary(at("2026-03-09"), 104);
    wrong["prediction"] = json!(format!("{CANARY}-104"));
    app.predict("fares", &[wrong]).await;

    let found = traces(&app.services.pool, CANARY).await;
    let tables: BTreeSet<&str> = found
        .iter()
        .filter_map(|row| row.split(':').next())
        .collect();
    for table in [
        "chunk_columns",
        "labels",
        "label_revisions",
        "outcomes",
        "profiles",
        "measurements",
    ] {
        assert!(
            tables.contains(table),
            "the story has none in {table}: {tables:?}"
        );
    }
    let rows_before = app.raw_rows().await;
    let others = |rows: &[String]| -> Vec<String> {
        rows.iter()
            .filter(|row| !row.contains(CANARY) && !row.contains(",remark,"))
            .cloned()
            .collect()
    };

    let ids: BTreeSet<String> = [100, 101, 102, 103, 104, 999]
        .iter()
        .map(|i| format!("{CANARY}-{i}"))
        .collect();
    let order = Order {
        project_id: app.project,
        model: "fares",
        ids: &ids,
        reason: "a request of 9 March",
    };
    let erased = erasure::erase(&app.services, order, "person:dpo@example.org")
        .await
        .expect("erased");
    assert_eq!((erased.predictions, erased.outcomes), (2, 2), "{erased:?}");
    assert_eq!(erased.landed_rows, 1, "{erased:?}");
    assert_eq!(
        (erased.archive.files, erased.archive.predictions),
        (4, 2),
        "{erased:?}"
    );
    assert_eq!(
        traces(&app.services.pool, CANARY).await,
        Vec::<String>::new()
    );
    for path in files_below(&folder) {
        let bytes = std::fs::read(&path).expect("read");
        let holds = |bytes: &[u8]| {
            bytes
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes())
        };
        assert!(!holds(&bytes), "{path:?}");
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("predictions-") {
            let rows = archived::decode(bytes.into(), Task::Regression).expect("whole");
            assert!(!format!("{rows:?}").contains(CANARY), "{path:?}");
            assert_eq!(rows.len(), 40);
        } else if name.starts_with("labels-") {
            let rows = archived::decode_labels(bytes.into()).expect("whole");
            assert!(!format!("{rows:?}").contains(CANARY), "{path:?}");
        }
    }
    // Everybody else's rows are what they were, and are found by their ids.
    let rows = app.raw_rows().await;
    for what in ["predictions", "features", "outcomes"] {
        assert_eq!(rows[what], others(&rows_before[what]), "{what}");
    }
    let lost = "SELECT COUNT(*) FROM prediction_keys k JOIN model_versions v USING (version_number)
                LEFT JOIN predictions p ON p.model_version_id = v.model_version_id AND p.chunk = k.chunk
                    AND p.position = k.position AND p.day = (DATE '2000-01-01' + k.day)::timestamp AT TIME ZONE 'UTC'
                WHERE p.prediction_id IS NULL OR prediction_id_hash(v.model_id, p.prediction_id) <> k.id_hash";
    assert_eq!(app.number(lost).await, 0);

    // Who, when, why, how many; and the ids as hashes.
    let detail: Value = sqlx::query_scalar(
        "SELECT detail FROM audit_events WHERE action = 'predictions.erased' AND actor = 'person:dpo@example.org'",
    )
    .fetch_one(&app.services.pool)
    .await
    .expect("an audit row");
    assert_eq!(detail["reason"], "a request of 9 March");
    assert_eq!(detail["erased"]["predictions"], 2);
    assert_eq!(detail["id_hashes"].as_array().map(Vec::len), Some(6));

    // What is left goes on: what has landed is settled, windows are measured again, the archive can be given back.
    app.work().await;
    app.assert_conserved("fares").await;
    let of_day = app
        .value("fares", "traffic", "", "2026-03-09")
        .await
        .expect("measured");
    assert_eq!(of_day.0, Some(41.0), "forty, and one that had landed");
    archiving::give_back(&app.services, wanted, "tests")
        .await
        .expect("given back");
    app.work().await;
    // Sent again, it is refused, and so are its labels.
    app.predict("fares", &[of_canary(at("2026-03-09"), 102)])
        .await;
    app.label(
        "fares",
        &[json!({"prediction_id": format!("{CANARY}-102"), "label": 1.0})],
    )
    .await;
    app.work().await;
    assert_eq!(
        traces(&app.services.pool, CANARY).await,
        Vec::<String>::new()
    );
    let refused = "SELECT SUM(rows)::bigint FROM intake_counts WHERE reason = 'erased'";
    assert_eq!(app.number(refused).await, 3);
    app.assert_conserved("fares").await;
    // Twice is once.
    let again = erasure::erase(&app.services, order, "tests")
        .await
        .expect("erased");
    assert_eq!(
        (again.predictions, again.labels, again.archive.files),
        (0, 0, 0)
    );
    std::fs::remove_dir_all(folder).expect("removed");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_erasure_needs_ids_and_a_reason(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let one = BTreeSet::from(["20260301-1".to_owned()]);
    let none = BTreeSet::new();
    for (ids, reason) in [(&none, "because"), (&one, " ")] {
        let order = Order {
            project_id: app.project,
            model: "fares",
            ids,
            reason,
        };
        let refused = erasure::erase(&app.services, order, "tests")
            .await
            .expect_err("refused");
        assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    }
    // A value that others have as well stays in what was counted of them.
    let order = Order {
        project_id: app.project,
        model: "fares",
        ids: &one,
        reason: "because",
    };
    erasure::erase(&app.services, order, "tests")
        .await
        .expect("erased");
    app.work().await;
    let carriers = "SELECT COUNT(*) FROM feature_values WHERE feature = 'carrier' AND text = 'UA'";
    assert!(app.number(carriers).await > 5);
    assert_eq!(
        app.value("fares", "traffic", "", "2026-03-01")
            .await
            .expect("measured")
            .0,
        Some(39.0)
    );
    let partitions = partitions::existing(
        &mut *app.conn().await,
        bellwether::domain::retention::Kept::Raw,
    )
    .await;
    assert!(!partitions.expect("listed").is_empty());
}
