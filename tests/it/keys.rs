//! Keys of predictions: what is found is what was stored, before, between and after merges, with filters in memory and without.

use std::collections::BTreeMap;

use bellwether::domain::ids::ModelId;
use bellwether::services::key_runs;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::keys::{self, KeyFilters, PredictionKey};
use bellwether::storage::predictions::ChunkKey;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;

const PACK: i32 = 300;
const PACKS: i32 = 40;

/// Hashes all over the range; every fifth is that of an earlier key.
fn hash(n: i32) -> i64 {
    let n = if n % 5 == 4 { n / 2 } else { n };
    i64::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed())
}

fn pack(number: i32) -> Vec<PredictionKey> {
    let key = |at: i32| PredictionKey {
        id_hash: hash(at),
        content_hash: (at % 7 > 0).then_some(-at),
        chunk: ChunkKey {
            version_number: 1 + at % 3,
            day: 9_000,
            chunk: number,
        },
        position: i16::try_from(at % PACK).expect("small"),
    };
    let mut keys: Vec<PredictionKey> = (number * PACK..(number + 1) * PACK).map(key).collect();
    keys.sort_by_key(|key| key.id_hash);
    keys
}

async fn found(
    pool: &PgPool,
    filters: &KeyFilters,
    model_id: ModelId,
    hashes: impl IntoIterator<Item = i64>,
) -> Vec<PredictionKey> {
    let mut tx = pool.begin().await.expect("a transaction");
    let hashes = hashes.into_iter().collect();
    let mut keys = keys::find(&mut tx, filters, model_id, hashes)
        .await
        .expect("finds");
    keys.sort_by_key(|key| (key.id_hash, key.chunk, key.position));
    keys
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn what_is_found_is_what_was_stored_however_runs_are_merged(pool: PgPool) {
    let app = TestApp::start(pool.clone(), "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let model_id = app.model("fares").await.model_id;
    let nothing = ModelId(uuid::Uuid::from_u128(7));
    let (kept, no_room, small) = (
        KeyFilters::default(),
        KeyFilters::within(0),
        KeyFilters::within(4_000),
    );
    let mut stored: BTreeMap<i64, Vec<PredictionKey>> = BTreeMap::new();
    let mut merges = 0;
    for number in 0..PACKS {
        let pack = pack(number);
        let mut tx = pool.begin().await.expect("a transaction");
        keys::insert(&mut tx, model_id, &pack)
            .await
            .expect("inserts");
        tx.commit().await.expect("commits");
        for key in pack {
            stored.entry(key.id_hash).or_default().push(key);
        }
        if number % 3 == 0 {
            let mut conn = app.conn().await;
            let due = keys::mergeable(&mut conn).await.expect("reads");
            let merged = keys::merge(&mut conn, &kept, model_id)
                .await
                .expect("merges");
            assert_eq!(due.is_some(), merged.is_some());
            merges += usize::from(merged.is_some());
        }
        if number % 8 == 7 {
            let wanted = || (0..(number + 2) * PACK).step_by(3).map(hash);
            let mut expected: Vec<PredictionKey> = wanted()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .filter_map(|hash| stored.get(&hash))
                .flatten()
                .copied()
                .collect();
            expected.sort_by_key(|key| (key.id_hash, key.chunk, key.position));
            for filters in [&kept, &no_room, &small] {
                assert_eq!(found(&pool, filters, model_id, wanted()).await, expected);
                assert_eq!(found(&pool, filters, nothing, wanted()).await, []);
            }
        }
    }
    assert!(merges >= 2, "{merges} merges");
    let runs = app.number("SELECT COUNT(*) FROM prediction_key_runs").await;
    assert!(runs < 16, "{runs} runs");
    let keys = app.number("SELECT COUNT(*) FROM prediction_keys").await;
    assert_eq!(keys, i64::from(PACKS * PACK));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_damaged_filter_is_computed_again_and_a_damaged_page_is_named(pool: PgPool) {
    let app = TestApp::start(pool.clone(), "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let model_id = app.model("fares").await.model_id;
    let keys = pack(0);
    let mut conn = app.conn().await;
    keys::insert(&mut conn, model_id, &keys)
        .await
        .expect("inserts");
    let hashes = || keys.iter().map(|key| key.id_hash);
    for damage in [
        "UPDATE prediction_key_runs SET filter = set_byte(filter, 9, get_byte(filter, 9) # 1)",
        "UPDATE prediction_key_runs SET filter = NULL",
    ] {
        sqlx::query(damage).execute(&pool).await.expect("damages");
        let all = found(&pool, &KeyFilters::default(), model_id, hashes()).await;
        assert_eq!(all.len(), keys.len(), "{damage}");
    }
    sqlx::query(
        "UPDATE prediction_key_pages SET keys = set_byte(keys, 30, get_byte(keys, 30) # 1)",
    )
    .execute(&pool)
    .await
    .expect("damages");
    let mut tx = pool.begin().await.expect("a transaction");
    let error = keys::find(
        &mut tx,
        &KeyFilters::default(),
        model_id,
        hashes().collect(),
    )
    .await
    .expect_err("damaged");
    let text = error.to_string();
    assert!(
        text.contains(&model_id.to_string()) && text.contains("damaged"),
        "{text}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn rows_sent_again_are_known_after_their_keys_were_merged(pool: PgPool) {
    let app = TestApp::start(pool.clone(), "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let rows: Vec<_> = (0..40)
        .map(|n| fares::prediction(at("2026-03-02"), n))
        .collect();
    for row in &rows {
        app.predict("fares", std::slice::from_ref(row)).await;
        app.settle().await;
    }
    app.work().await;
    let runs = app.number("SELECT COUNT(*) FROM prediction_key_runs").await;
    assert!(runs < 40, "{runs} runs");
    app.predict("fares", &rows).await;
    app.settle().await;
    let replica = app.replica().await;
    app.predict("fares", &rows).await;
    crate::app::settle_all(&replica).await;
    assert_eq!(app.number("SELECT COUNT(*) FROM predictions").await, 40);
    app.assert_conserved("fares").await;
    let place = "SELECT COUNT(*) FROM models m CROSS JOIN LATERAL prediction_places(m.model_id, (SELECT MIN(prediction_id) FROM predictions))";
    assert_eq!(app.number(place).await, 1);
}

/// What can happen to the pages of keys: all are altered, one run's are empty, one run's are gone.
const DAMAGES: [&str; 3] = [
    "UPDATE prediction_key_pages SET keys = set_byte(keys, 30, get_byte(keys, 30) # 1)",
    "UPDATE prediction_key_pages SET keys = '' WHERE run = (SELECT MIN(run) FROM prediction_key_pages)",
    "DELETE FROM prediction_key_pages WHERE run = (SELECT MAX(run) FROM prediction_key_pages)",
];

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn damaged_keys_are_read_from_the_chunks_again(pool: PgPool) {
    let app = TestApp::start(pool.clone(), "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let rows: Vec<_> = (0..40)
        .map(|n| fares::prediction(at("2026-03-02"), n))
        .collect();
    for rows in rows.chunks(8) {
        app.predict("fares", rows).await;
        app.settle().await;
    }
    for damage in DAMAGES {
        sqlx::query(damage).execute(&pool).await.expect("damages");
        // Another process has no filters that would know of the keys.
        let replica = app.replica().await;
        if damage.starts_with("DELETE") {
            // Who looks for a key cannot tell that a page is gone; merging can, since it counts.
            key_runs::mend(&replica, app.model("fares").await.model_id)
                .await
                .expect("mends");
        }
        app.predict("fares", &rows).await;
        crate::app::settle_all(&replica).await;
        assert_eq!(
            app.number("SELECT COUNT(*) FROM predictions").await,
            40,
            "{damage}"
        );
        let keys = "SELECT COUNT(DISTINCT id_hash) FROM prediction_keys";
        assert_eq!(app.number(keys).await, 40, "{damage}");
        assert_eq!(
            app.number("SELECT COUNT(*) FROM prediction_keys").await,
            40,
            "{damage}"
        );
        let counted =
            "SELECT COUNT(*) FROM prediction_key_pages p CROSS JOIN LATERAL page_keys(p.keys)";
        let listed = "SELECT SUM(keys)::bigint FROM prediction_key_runs";
        assert_eq!(
            app.number(counted).await,
            app.number(listed).await,
            "{damage}"
        );
        app.assert_conserved("fares").await;
    }
    assert_eq!(
        app.count("fares", BatchKind::Predictions, "duplicate")
            .await,
        3 * 40
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_run_is_not_taken_for_one_that_the_server_has_forgotten(pool: PgPool) {
    let app = TestApp::start(pool.clone(), "2026-03-03T12:00:00Z").await;
    app.with_fares("").await;
    let model_id = app.model("fares").await.model_id;
    let filters = KeyFilters::default();
    let hashes = |pack: &[PredictionKey]| pack.iter().map(|key| key.id_hash).collect::<Vec<_>>();
    let (lost, mut stored) = (pack(0), pack(1));
    // A page that has one of the hashes looked for would tell of the others.
    stored.retain(|key| !hashes(&lost).contains(&key.id_hash));
    stored.truncate(20);
    let mut conn = app.conn().await;
    keys::insert(&mut conn, model_id, &lost)
        .await
        .expect("inserts");
    assert!(
        !found(&pool, &filters, model_id, hashes(&lost))
            .await
            .is_empty()
    );
    let given = "SELECT last_value FROM prediction_key_run";
    let number = app.number(given).await;
    // The server dies before what it has committed without waiting is on the disk, and another replica goes on.
    sqlx::raw_sql(
        "DELETE FROM prediction_key_runs; DELETE FROM prediction_key_pages;
         SELECT setval('prediction_key_run', last_value, false) FROM prediction_key_run",
    )
    .execute(&mut *conn)
    .await
    .expect("forgotten");
    keys::insert(&mut conn, model_id, &stored)
        .await
        .expect("inserts");
    assert_eq!(app.number(given).await, number);
    let found = found(&pool, &filters, model_id, hashes(&stored)).await;
    assert_eq!(found.len(), stored.len());
}
