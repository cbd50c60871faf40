//! What is archived before it is forgotten, and given back.

use std::path::{Path, PathBuf};

use bellwether::archive::{Archive, BucketSettings};
use bellwether::domain::archive::{MANIFEST, Manifest};
use bellwether::domain::clock::Clock;
use bellwether::domain::telemetry::SampleRow;
use bellwether::domain::window::Grain;
use bellwether::formats::archived;
use bellwether::services::archiving::{self, Wanted};
use bellwether::services::retention;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::{partitions, telemetry};
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::custody::{keeping, lived};
use crate::fares;

pub fn new_folder() -> PathBuf {
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

    // A day of which a bit flipped, in a file or in what says which files there are, is not given back.
    let wanted = Wanted {
        project_id: app.project,
        model: "fares",
        from: manifests[0].day,
        to: manifests[0].day,
        keep_days: 7,
    };
    let day = format!("day={}", manifests[0].day);
    let is_of_day = |path: &PathBuf| path.parent().is_some_and(|folder| folder.ends_with(&day));
    let files: Vec<PathBuf> = (files_below(&folder).into_iter())
        .filter(is_of_day)
        .collect();
    assert_eq!(files.len(), manifests[0].files.len() + 1);
    let mut rng = StdRng::seed_from_u64(8);
    for file in &files {
        let whole = std::fs::read(file).expect("read");
        let is_manifest = file.ends_with(MANIFEST);
        for _ in 0..100 {
            let mut damaged = whole.clone();
            let bit = if is_manifest {
                // A digit that becomes another one; all its bits are tried where it is read.
                let digits = (0..whole.len()).filter(|at| whole[*at].is_ascii_digit());
                digits.choose(&mut rng).expect("a digit") * 8
            } else {
                rng.random_range(0..whole.len() * 8)
            };
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(file, damaged).expect("written");
            let refused = archiving::give_back(&app.services, wanted, "tests").await;
            let refused = refused.expect_err("damaged").to_string();
            let tells_the_cause = ["is damaged: its SHA-256 is ", "the manifest of fares on "];
            assert!(
                tells_the_cause.iter().any(|cause| refused.contains(cause)),
                "bit {bit} of {file:?}: {refused}"
            );
        }
        std::fs::write(file, whole).expect("written");
    }
    std::fs::remove_dir_all(folder).expect("removed");
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
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

/// Until they are settled, the rows of a day that is given back are nowhere but in batches that have landed.
#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_day_that_is_given_back_stays_before_its_rows_are_settled(pool: PgPool) {
    let folder = new_folder();
    let mut app = lived(pool, 5, 1).await;
    app.services.custody.archive = Some(Archive::folder(folder.clone()).expect("usable"));
    app.clock.advance_to(at("2026-03-20"));
    app.forget().await;
    assert!(!app.has_table("prediction_chunks_20260301").await);
    let day = "2026-03-01".parse().expect("a day");
    let wanted = Wanted {
        project_id: app.project,
        model: "fares",
        from: day,
        to: day,
        keep_days: 7,
    };
    archiving::give_back(&app.services, wanted, "tests")
        .await
        .expect("given back");
    // As settling does before its transaction.
    partitions::ensure(&mut *app.conn().await, Grain::Day, &[at("2026-03-01")])
        .await
        .expect("partitions");
    app.forget().await;
    assert!(app.has_table("prediction_chunks_20260301").await);
    app.settle().await;
    assert_eq!(
        app.count("fares", BatchKind::Predictions, "restored").await,
        40
    );
    std::fs::remove_dir_all(folder).expect("removed");
}
