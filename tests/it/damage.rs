//! What happens to a batch that cannot be settled, and to those behind it.

use bellwether::domain::batch::{LabelBatch, LabelValue, PredictionBatch};
use bellwether::domain::ids::ProjectId;
use bellwether::domain::measurement::Status;
use bellwether::services::ingest;
use bellwether::storage::{intake, retention};
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;
use crate::snapshot::{assert_profiles_equal_a_recount, snapshot};

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

/// Flips a bit of a body; twice is as before.
async fn damage(app: &TestApp, batch: bellwether::domain::ids::BatchId) {
    sqlx::query("UPDATE landed_batches SET body = set_byte(body, 20, get_byte(body, 20) # 16) WHERE batch_id = $1")
        .bind(batch.0)
        .execute(&app.services.pool)
        .await
        .expect("is damaged");
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
    damage(&app, batches[2]).await;
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
    // Its rows are in the account, and the bytes are kept for whoever wants to look, however long that takes.
    let model = app.model("fares").await;
    let counts = intake::counts(&mut *app.conn().await, model.model_id).await;
    let of = |counts: &[intake::IntakeCount], outcome: &str| -> i64 {
        let counts = counts.iter().filter(|count| count.outcome == outcome);
        counts.map(|count| count.rows).sum()
    };
    let counts = counts.expect("counts");
    let outcomes = ["received", "accepted", "failed"].map(|outcome| of(&counts, outcome));
    assert_eq!(outcomes, [5, 4, 1]);
    let unsettled = intake::unsettled(&mut *app.conn().await)
        .await
        .expect("reads");
    assert_eq!((unsettled.rows(), unsettled.failed_batches), (0, 1));
    let later = at("2027-03-02");
    let swept = retention::sweep_received(&mut *app.conn().await, app.project, later).await;
    assert_eq!(swept.expect("sweeps").batches, 4);
    let kept = "SELECT COUNT(*) FROM landed_batches WHERE state = 'failed' AND body IS NOT NULL";
    assert_eq!(app.number(kept).await, 1);

    // Tried again it fails again, until it is mended.
    for is_mended in [false, true] {
        if is_mended {
            damage(&app, batches[2]).await;
        }
        let retried = ingest::retry(&app.services, app.project, batches[2], "tests").await;
        retried.expect("is tried again");
        app.settle().await;
        let state = if is_mended { "settled" } else { "failed" };
        assert_eq!(status(&app, batches[2]).await.state, state);
    }
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 5);
    let retried = ingest::retry(&app.services, app.project, batches[2], "tests").await;
    let told = retried.expect_err("it is settled").to_string();
    assert!(told.ends_with("was not set aside: it is settled"), "{told}");
    let audited = "SELECT COUNT(*) FROM audit_events WHERE action = 'batch.retry' AND detail ->> 'cause' LIKE '%checksum%'";
    assert_eq!(app.number(audited).await, 2);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_batch_that_is_given_up_is_refused_with_a_reason_and_the_account_adds_up(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    let rows = [fares::prediction(day, 0), fares::prediction(day, 1)];
    let lost = app.predict("fares", &rows).await.batch_id;
    let whole = app
        .predict("fares", &[fares::prediction(day, 2)])
        .await
        .batch_id;
    let give_up = |batch, project, reason| {
        let services = &app.services;
        async move { ingest::give_up(services, project, (batch, reason), "tests").await }
    };
    let early = give_up(lost, app.project, "too early").await;
    let told = early.expect_err("it waits").to_string();
    assert!(told.ends_with("was not set aside: it is landed"), "{told}");
    damage(&app, lost).await;
    app.settle().await;

    let told = give_up(lost, app.project, "  ").await;
    assert!(told.is_err(), "without a reason");
    let stranger = give_up(lost, ProjectId::new(day), "not theirs").await;
    let told = stranger.expect_err("not theirs").to_string();
    assert!(told.contains(&lost.to_string()), "{told}");
    assert_eq!(status(&app, lost).await.state, "failed");

    let done = give_up(lost, app.project, "the sender has sent the day again").await;
    done.expect("is given up");
    let of = status(&app, lost).await;
    assert_eq!(
        (of.state.as_str(), of.received_rows, of.rejected_rows),
        ("settled", 2, 2)
    );
    assert!(of.cause.expect("kept").contains("checksum"));
    assert_eq!(status(&app, whole).await.state, "settled");
    let model = app.model("fares").await;
    let counts = intake::counts(&mut *app.conn().await, model.model_id).await;
    let counts: Vec<(String, String, i64)> = (counts.expect("counts").into_iter())
        .map(|count| (count.outcome, count.reason, count.rows))
        .filter(|(.., rows)| *rows > 0)
        .collect();
    let count = |outcome: &str, reason: &str, rows| (outcome.to_owned(), reason.to_owned(), rows);
    assert_eq!(
        counts,
        [
            count("accepted", "", 1),
            count("received", "", 3),
            count("rejected", "given_up", 2)
        ]
    );
    let unsettled = intake::unsettled(&mut *app.conn().await).await;
    assert_eq!(unsettled.expect("reads").failed_batches, 0);
    let kept = "SELECT COUNT(*) FROM landed_batches WHERE body IS NOT NULL";
    assert_eq!(app.number(kept).await, 0);
    let audited = "SELECT COUNT(*) FROM audit_events WHERE action = 'batch.give_up' AND detail ->> 'rows' = '2'";
    assert_eq!(app.number(audited).await, 1);
    let again = give_up(lost, app.project, "twice").await;
    let told = again.expect_err("it is over").to_string();
    assert!(told.ends_with("was not set aside: it is settled"), "{told}");
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
        assert!(cause.contains("U+0000"), "{cause}");
    }
    let later = app
        .predict("fares", &[fares::prediction(day, 3)])
        .await
        .batch_id;
    app.settle().await;
    assert_eq!(status(&app, later).await.state, "settled");
}

/// Damages the profiles of a feature in every segment, each in its own way: a bit, an end cut off, other bytes.
async fn damage_profiles(app: &TestApp, feature: &str) {
    let damaged = sqlx::query(
        "UPDATE profiles
         SET profile = CASE segment_value
             WHEN '' THEN set_byte(profile, length(profile) / 2, get_byte(profile, length(profile) / 2) # 4)
             WHEN 'EWR' THEN substring(profile FOR length(profile) - 3)
             ELSE '\\x00' END
         WHERE feature = $1",
    )
    .bind(feature)
    .execute(&app.services.pool)
    .await
    .expect("is damaged");
    assert!(damaged.rows_affected() >= 3);
}

async fn rebuilt(app: &TestApp, action: &'static str) -> Vec<String> {
    sqlx::query_scalar("SELECT actor FROM audit_events WHERE action = $1 ORDER BY at, actor")
        .bind(action)
        .fetch_all(&app.services.pool)
        .await
        .expect("audit events")
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn settling_counts_a_window_again_whose_profiles_are_damaged(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    let (day, other) = (at("2026-03-02"), at("2026-03-01"));
    app.predict("fares", &fares::day(day, 20)).await;
    app.predict("fares", &fares::day(other, 20)).await;
    app.settle().await;
    damage_profiles(&app, "distance").await;
    damage_profiles(&app, "latency()").await;
    // Rows of both days come in with rows of a day that is sound, all in one transaction.
    let mut more = Vec::new();
    for day in [day, other, at("2026-02-28")] {
        more.extend((30..40).map(|i| fares::prediction(day, i)));
    }
    let batch = app.predict("fares", &more).await.batch_id;
    app.settle().await;
    assert_eq!(status(&app, batch).await.state, "settled");
    app.assert_conserved("fares").await;
    assert_eq!(rebuilt(&app, "profiles.rebuild").await, ["settle"; 2]);
    assert_profiles_equal_a_recount(&app, "fares").await;
    app.tick("2026-03-03T01:00:00Z").await;
    for (day, rows) in [("2026-03-02", 30), ("2026-03-01", 30), ("2026-02-28", 10)] {
        let value = app.value("fares", "wrong_type", "distance", day).await;
        assert_eq!(value.expect("is measured").2, rows, "{day}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn measuring_counts_a_window_again_whose_profiles_are_damaged(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    for model in ["fares", "damaged"] {
        if model == "damaged" {
            app.apply(&format!(
                "models:\n{}{}",
                fares::declared("fares"),
                fares::declared(model)
            ))
            .await;
            app.version(model, "v1").await;
            app.fit(model, "training", &fares::training()).await;
        }
        app.predict(model, &fares::day(at("2026-03-02"), 40)).await;
    }
    app.settle().await;
    let sound = snapshot(&app, "fares").await.profiles;
    sqlx::query(
        "UPDATE profiles SET profile = '\\x00' FROM models
         WHERE models.model_id = profiles.model_id AND models.name = 'damaged' AND feature <> 'carrier'",
    )
    .execute(&app.services.pool)
    .await
    .expect("is damaged");
    app.tick("2026-03-03T01:00:00Z").await;
    assert_eq!(rebuilt(&app, "profiles.rebuild").await, ["evaluate"]);
    let (sound_now, mended) = (
        snapshot(&app, "fares").await,
        snapshot(&app, "damaged").await,
    );
    assert_eq!(sound_now.profiles, sound);
    mended.assert_equals(&sound_now, "measured after damage");
    assert!(!mended.measurements.is_empty());
    assert_profiles_equal_a_recount(&app, "damaged").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_is_damaged_and_cannot_be_counted_again_is_an_error_and_never_left_out(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    app.predict("fares", &fares::day(at("2026-03-02"), 40))
        .await;
    app.settle().await;
    damage_profiles(&app, "distance").await;
    damage_profiles(&app, "prediction()").await;
    // The rows are gone: a count of what is left would pass for all.
    for table in ["DELETE FROM prediction_chunks", "DELETE FROM chunk_columns"] {
        sqlx::query(table)
            .execute(&app.services.pool)
            .await
            .expect("is deleted");
    }
    app.tick("2026-03-03T01:00:00Z").await;
    assert!(rebuilt(&app, "profiles.rebuild").await.is_empty());
    assert!(!rebuilt(&app, "profiles.rebuild_failed").await.is_empty());
    for (measure, feature) in [
        ("wrong_type", "distance"),
        ("missing_feature", "distance"),
        ("out_of_range", "distance"),
        ("psi", "distance"),
        ("kolmogorov_smirnov", "distance"),
        ("psi", "prediction()"),
        ("traffic", ""),
    ] {
        let (value, status, rows) = app
            .value("fares", measure, feature, "2026-03-02")
            .await
            .unwrap_or_else(|| panic!("{measure} of {feature} is left out"));
        assert_eq!(
            (value, status, rows),
            (None, Status::Error, 0),
            "{measure} of {feature}"
        );
    }
    let sound = app.value("fares", "psi", "carrier", "2026-03-02").await;
    assert!(sound.is_some_and(|(value, _, rows)| value.is_some() && rows == 40));
    // What comes in later is counted, and the window stays what it is: not known.
    let batch = app
        .predict("fares", &[fares::prediction(at("2026-03-02"), 50)])
        .await;
    app.tick("2026-03-03T02:00:00Z").await;
    assert_eq!(status(&app, batch.batch_id).await.state, "settled");
    let value = app.value("fares", "psi", "distance", "2026-03-02").await;
    assert!(value.is_some_and(|(_, status, _)| status == Status::Error));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_damaged_profile_of_a_baseline_is_an_error(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    sqlx::query("UPDATE baseline_profiles SET profile = '\\x00' WHERE feature = 'distance'")
        .execute(&app.services.pool)
        .await
        .expect("is damaged");
    app.predict("fares", &fares::day(at("2026-03-02"), 40))
        .await;
    app.tick("2026-03-03T01:00:00Z").await;
    let value = app.value("fares", "psi", "distance", "2026-03-02").await;
    assert!(value.is_some_and(|(_, status, _)| status == Status::Error));
    let sound = app.value("fares", "psi", "carrier", "2026-03-02").await;
    assert!(sound.is_some_and(|(value, _, _)| value.is_some()));
    // The same file mends it.
    app.fit("fares", "training", &fares::training()).await;
    app.tick("2026-03-03T02:00:00Z").await;
    let mended = app.value("fares", "psi", "distance", "2026-03-02").await;
    assert!(mended.is_some_and(|(value, _, _)| value.is_some()));
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
