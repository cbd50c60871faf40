//! What happens to a batch that cannot be settled, and to those behind it.

use bellwether::domain::batch::{LabelBatch, LabelValue, PredictionBatch};
use bellwether::storage::intake;
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;

/// A batch as it lands, but of rows that the intake would never let pass.
fn body<B: Serialize>(batch: &B) -> Vec<u8> {
    let rows = postcard::to_allocvec(batch).expect("serialises");
    let compressed = zstd::encode_all(rows.as_slice(), 1).expect("compresses");
    let mut body = b"BWB\x02".to_vec();
    body.extend(crc32c::crc32c_append(2, &compressed).to_le_bytes());
    body.extend(compressed);
    body
}

async fn replace_body(app: &TestApp, batch: bellwether::domain::ids::BatchId, body: Vec<u8>) {
    sqlx::query("UPDATE landed_batches SET body = $2 WHERE batch_id = $1")
        .bind(batch.0)
        .bind(body)
        .execute(&app.services.pool)
        .await
        .expect("is replaced");
}

async fn status(app: &TestApp, batch: bellwether::domain::ids::BatchId) -> intake::BatchStatus {
    intake::status(&mut *app.conn().await, app.project, batch)
        .await
        .expect("reads")
        .expect("is there")
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_damaged_batch_is_set_aside_with_its_cause_and_the_others_are_settled(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    let mut batches = Vec::new();
    for i in 0..5 {
        let receipt = app.predict("fares", &[fares::prediction(day, i)]).await;
        batches.push(receipt.batch_id);
    }
    sqlx::query("UPDATE landed_batches SET body = set_byte(body, 20, get_byte(body, 20) # 16) WHERE batch_id = $1")
        .bind(batches[2].0)
        .execute(&app.services.pool)
        .await
        .expect("is damaged");
    app.settle().await;
    for (i, batch) in batches.iter().enumerate() {
        let status = status(&app, *batch).await;
        if i == 2 {
            assert_eq!(status.state, "failed");
            let cause = status.cause.expect("a cause");
            assert!(cause.contains("checksum"), "{cause}");
        } else {
            assert_eq!(status.state, "settled");
        }
    }
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 4);
    // The bytes are kept for whoever wants to look.
    let kept = "SELECT COUNT(*) FROM landed_batches WHERE state = 'failed' AND body IS NOT NULL";
    assert_eq!(app.number(kept).await, 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_that_the_database_refuses_hold_up_nothing_and_are_given_up_in_the_end(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    let poisoned = app
        .predict("fares", &[fares::prediction(day, 0)])
        .await
        .batch_id;
    let behind = app
        .predict("fares", &[fares::prediction(day, 1)])
        .await
        .batch_id;
    let labels = app
        .label("fares", &[fares::label(day, 1, 2.0)])
        .await
        .batch_id;
    let poisoned_labels = app
        .label("fares", &[fares::label(day, 2, 2.0)])
        .await
        .batch_id;
    let batch = PredictionBatch {
        prediction_ids: ["a\0b"].into_iter().collect(),
        predicted_at: vec![day],
        versions: [Some("v1")].into_iter().collect(),
        outputs: vec![bellwether::domain::batch::Output::default()],
        segments: vec![Vec::new()],
        latency_ms: vec![None],
        errors: [None].into_iter().collect(),
        deployments: [None].into_iter().collect(),
        features: Vec::new(),
    };
    replace_body(&app, poisoned, body(&batch)).await;
    let batch = LabelBatch {
        prediction_ids: vec!["1\0".to_owned()],
        labels: vec![LabelValue::Number(1.0)],
        observed_at: vec![day],
    };
    replace_body(&app, poisoned_labels, body(&batch)).await;
    app.settle().await;
    // Those behind are settled although the poisoned ones are still tried.
    assert_eq!(status(&app, behind).await.state, "settled");
    assert_eq!(status(&app, labels).await.state, "settled");
    assert_eq!(status(&app, poisoned).await.state, "landed");
    for second in 1..60 {
        app.tick_at(at("2026-03-03") + TimeDelta::seconds(second))
            .await;
    }
    for batch in [poisoned, poisoned_labels] {
        let status = status(&app, batch).await;
        assert_eq!(status.state, "failed");
        let cause = status.cause.expect("a cause");
        assert!(cause.contains("invalid byte sequence"), "{cause}");
    }
    let later = app
        .predict("fares", &[fares::prediction(day, 3)])
        .await
        .batch_id;
    app.settle().await;
    assert_eq!(status(&app, later).await.state, "settled");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_damaged_profile_is_an_error_of_its_batch_and_can_be_counted_again(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 20)).await;
    app.settle().await;
    sqlx::query("UPDATE profiles SET profile = '\\x00' WHERE feature = 'distance'")
        .execute(&app.services.pool)
        .await
        .expect("is damaged");
    // What is measured leaves the damaged feature out and has all others.
    app.tick("2026-03-03T01:00:00Z").await;
    let measured = app.measured("fares").await;
    let has = |feature: &str, monitor: &str| {
        measured
            .iter()
            .any(|m| m.feature == feature && m.monitor == monitor && m.value.is_some())
    };
    assert!(has("carrier", "drift") && has("carrier", "schema"));
    assert!(!has("distance", "schema"));
    let model = app.model("fares").await;
    let mut tx = app.services.pool.begin().await.expect("begins");
    bellwether::services::recount::count_again(&mut tx, &model, at("2026-03-03"))
        .await
        .expect("counts again");
    tx.commit().await.expect("commits");
    app.predict("fares", &[fares::prediction(day, 30)]).await;
    app.tick("2026-03-03T02:00:00Z").await;
    let value = app
        .value("fares", "wrong_type", "distance", "2026-03-02")
        .await;
    assert_eq!(value.expect("is measured").2, 21);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn hostile_texts_pass_through_every_table_and_come_out_as_they_went_in(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    let hostile = "\"';--\\ {} [NULL] \u{202e}\u{1f4a9}\n\t%s $1 \u{fffd}";
    // Names hold no control characters: they are refused at the door.
    let name = "\"';--\\ {} [NULL] \u{1f4a9} %s $1 \u{fffd}";
    let mut rows = fares::day(day, 30);
    for row in &mut rows {
        row["carrier"] = json!(hostile);
        row["origin"] = json!(hostile);
        row[name] = json!(hostile);
        row["deployment"] = json!(name);
    }
    let receipt = app.predict("fares", &rows).await;
    assert_eq!(receipt.rejected, 0, "{:?}", receipt.rejects);
    app.tick("2026-03-03").await;
    let measured = app.measured("fares").await;
    let unexpected = measured
        .iter()
        .find(|m| m.measure == "unexpected_feature")
        .expect("a finding");
    assert_eq!(unexpected.feature, name);
    assert!(measured.iter().any(|m| m.segment.value == hostile));
}
