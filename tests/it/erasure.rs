//! What is erased by order: everywhere, and nothing else.

use std::collections::BTreeSet;

use bellwether::archive::Archive;
use bellwether::domain::model::Task;
use bellwether::formats::archived;
use bellwether::services::Error;
use bellwether::services::archiving::{self, Wanted};
use bellwether::services::erasure::{self, Order};
use bellwether::storage::intake::BatchKind;
use bellwether::storage::{models, partitions};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::app::{TestApp, at, settle_all};
use crate::archive::{files_below, new_folder};
use crate::custody::{keeping, lived};
use crate::fares;

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

/// What is known of a pack's ids is looked up before its model is locked, and an erasure that has the lock first moves the
/// rows behind the erased ones.
#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_that_are_sent_again_while_others_are_erased_are_known(pool: PgPool) {
    let app = lived(pool, 5, 1).await;
    let model_id = app.model("fares").await.model_id;
    let rows = fares::day(at("2026-03-01"), 40);
    let id = rows[0]["prediction_id"].as_str().expect("an id").to_owned();

    let mut first = app.services.pool.begin().await.expect("begins");
    models::lock(&mut first, model_id).await.expect("locked");
    let (services, project_id) = (app.services.clone(), app.project);
    let erasing = tokio::spawn(async move {
        let order = Order {
            project_id,
            model: "fares",
            ids: &BTreeSet::from([id]),
            reason: "because",
        };
        erasure::erase(&services, order, "tests").await
    });
    app.until_waiting(1).await;
    app.predict("fares", &rows[1..]).await;
    let services = app.services.clone();
    let settling = tokio::spawn(async move { settle_all(&services).await });
    app.until_waiting(2).await;
    first.rollback().await.expect("ends");

    let erased = erasing.await.expect("ends").expect("erased");
    assert_eq!(erased.predictions, 1);
    settling.await.expect("settled");
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 39);
    assert_eq!(
        app.count("fares", BatchKind::Predictions, "duplicate")
            .await,
        39
    );
}
