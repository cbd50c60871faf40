//! Migrations on an empty database, one after the other, each followed by its sample of rows: what a migration
//! does to real rows is seen before it meets an operator's.

use bellwether::domain::proposal::ProposalState;
use bellwether::storage::{MIGRATOR, alerts, models, proposals, runs};
use sqlx::migrate::Migrate;
use sqlx::{Executor, PgPool, Row};

/// Version of a migration, and the rows to load after it.
const SAMPLES: &[(i64, &str)] = &[
    (1, include_str!("../data/after_0001.sql")),
    (2, include_str!("../data/after_0002.sql")),
    (3, include_str!("../data/after_0003.sql")),
    (4, include_str!("../data/after_0004.sql")),
    (5, include_str!("../data/after_0005.sql")),
    (6, include_str!("../data/after_0006.sql")),
    (7, include_str!("../data/after_0007.sql")),
    (8, include_str!("../data/after_0008.sql")),
    (9, include_str!("../data/after_0009.sql")),
    (10, include_str!("../data/after_0010.sql")),
    (11, include_str!("../data/after_0011.sql")),
    (12, include_str!("../data/after_0012.sql")),
    (13, include_str!("../data/after_0013.sql")),
    (14, include_str!("../data/after_0014.sql")),
    (15, include_str!("../data/after_0015.sql")),
    (16, include_str!("../data/after_0016.sql")),
    (17, include_str!("../data/after_0017.sql")),
    (18, include_str!("../data/after_0018.sql")),
    (19, include_str!("../data/after_0019.sql")),
    (20, include_str!("../data/after_0020.sql")),
    (21, include_str!("../data/after_0021.sql")),
    (22, include_str!("../data/after_0022.sql")),
];

/// Tables that hold no rows of ours.
const NOT_OURS: &str = "_sqlx_migrations";

#[sqlx::test(migrations = false)]
async fn every_migration_applies_to_the_rows_of_those_before_it(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    conn.ensure_migrations_table("_sqlx_migrations")
        .await
        .expect("a table");
    for migration in MIGRATOR
        .iter()
        .filter(|m| m.migration_type.is_up_migration())
    {
        conn.apply("_sqlx_migrations", migration)
            .await
            .expect("applies");
        let sample = SAMPLES
            .iter()
            .find(|(version, _)| *version == migration.version);
        let Some((_, rows)) = sample else {
            panic!(
                "tests/data has no sample of rows after migration {}",
                migration.version
            );
        };
        conn.execute(*rows).await.expect("the sample fits");
    }
    let empty = tables_without_rows(&pool).await;
    assert_eq!(
        empty,
        Vec::<String>::new(),
        "tables of which the sample has no row"
    );

    // The storage reads what the sample wrote.
    let all = models::list(&mut conn, None).await.expect("models");
    assert_eq!(all.len(), 1);
    let state = alerts::state(&mut conn, all[0].model_id, "quality")
        .await
        .expect("reads");
    assert!(state.expect("a state").alert_id.is_some());
    let found = runs::list(&mut conn, all[0].project_id, 10)
        .await
        .expect("runs");
    assert_eq!(found.len(), 1);
    let proposed = proposals::of_model(&mut conn, all[0].model_id, 10)
        .await
        .expect("proposals");
    assert_eq!(proposed[0].state, ProposalState::Proposed);
    // Applying all of them again changes nothing.
    MIGRATOR.run(&pool).await.expect("nothing to do");
}

async fn tables_without_rows(pool: &PgPool) -> Vec<String> {
    let tables = sqlx::query(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .expect("tables");
    let mut empty = Vec::new();
    for table in tables {
        let name: String = table.get("name");
        // The name comes from the catalogue.
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {name}"));
        let rows: i64 = sqlx::query_scalar(count)
            .fetch_one(pool)
            .await
            .expect("a count");
        if rows == 0 && name != NOT_OURS {
            empty.push(name);
        }
    }
    empty
}
