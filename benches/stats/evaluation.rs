//! One hour of a thousand models with thirty features, measured from the profiles in Postgres by the service's own
//! evaluation.
//!
//! One model goes through the services: its configuration is applied, a version registered, a baseline fitted, an hour
//! of predictions taken in and settled. Then it is copied within the database, under other ids and another name, so
//! that the others have stored exactly what they would have had.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use bellwether::domain::clock::ReplayClock;
use bellwether::domain::definitions::SourceFile;
use bellwether::domain::ids::ProjectId;
use bellwether::formats::{Format, Limits};
use bellwether::outbound::Outbound;
use bellwether::services::baselines::{self, ReferenceFile};
use bellwether::services::delivery::Outward;
use bellwether::services::ingest::{self, Intake, Upload};
use bellwether::services::{
    Bounds, Custody, Nudges, Services, configuration, evaluate, registry, settle,
};
use bellwether::storage::keys::KeyFilters;
use bellwether::storage::{MIGRATOR, access};
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

use crate::figures::Spread;
use crate::postgres::Cluster;

const DATABASE: &str = "evaluation";
const NUMBERS: usize = 20;
const CATEGORIES: usize = 10;
const BASELINE_ROWS: usize = 10_000;
const ROWS_PER_HOUR: usize = 1_000;
/// As many as the background tasks of a service have by default.
const CONNECTIONS: u32 = 8;
const SEED: u64 = 20_130_301;

/// What has ids of its own or of its model, and which.
const COPIED: [(&str, &[&str]); 12] = [
    ("models", &["model_id"]),
    ("model_versions", &["model_id", "model_version_id"]),
    (
        "deployments",
        &["model_id", "model_version_id", "deployment_id"],
    ),
    ("definitions", &[]),
    ("schemas", &["model_id", "schema_id"]),
    ("schema_features", &["schema_id"]),
    (
        "baselines",
        &["model_id", "baseline_id", "model_version_id"],
    ),
    ("grids", &["model_id", "grid_id", "baseline_id"]),
    ("grid_features", &["grid_id"]),
    ("baseline_profiles", &["baseline_id"]),
    ("window_states", &["model_id", "model_version_id"]),
    ("profiles", &["model_id", "model_version_id", "grid_id"]),
];

/// What evaluating took.
pub struct Evaluation {
    pub seconds: Spread,
    pub measurements: i64,
}

/// Measures the hour of so many models, a few times.
pub fn of_models(cluster: &Cluster, models: usize, rounds: u32) -> anyhow::Result<Evaluation> {
    cluster.create(DATABASE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let url = cluster.url(DATABASE);
    let hour: DateTime<Utc> = "2026-03-02T10:00:00Z".parse()?;
    let over = hour + TimeDelta::hours(1);
    let services = runtime.block_on(async {
        let options = PgPoolOptions::new().max_connections(CONNECTIONS);
        let pool = options.connect(&url).await?;
        MIGRATOR.run(&pool).await?;
        let services = services(pool, hour)?;
        one_model(&services, hour).await?;
        copies(&services.pool, models).await?;
        anyhow::Ok(services)
    })?;
    let mut seconds = Vec::new();
    let mut measurements = 0;
    for _ in 0..rounds {
        runtime.block_on(forget(&services.pool))?;
        cluster.settle_down(DATABASE)?;
        let start = Instant::now();
        let measured = runtime.block_on(evaluate::activate(&services, over))?;
        seconds.push(start.elapsed().as_secs_f64());
        ensure!(
            measured.len() == models,
            "{} models were measured",
            measured.len()
        );
        measurements = runtime.block_on(
            sqlx::query_scalar("SELECT count(*) FROM measurements WHERE status <> 'error'")
                .fetch_one(&services.pool),
        )?;
    }
    runtime.block_on(services.pool.close());
    cluster.drop_database(DATABASE)?;
    Ok(Evaluation {
        seconds: Spread::of(seconds),
        measurements,
    })
}

fn services(pool: PgPool, now: DateTime<Utc>) -> anyhow::Result<Services> {
    let clock = ReplayClock::starting_at(now);
    Ok(Services {
        pool: pool.clone(),
        clock: Arc::new(clock.clone()),
        wall: Arc::new(clock.clone()),
        public_url: "http://bellwether.example".to_owned(),
        replay: Some(clock),
        bounds: Bounds::default(),
        key_filters: KeyFilters::default(),
        custody: Custody::default(),
        turns: settle::Turns::default(),
        intake: Intake::start(pool.clone(), pool, Limits::default(), u64::MAX),
        outward: Outward {
            mailer: None,
            outbound: Outbound::new(Vec::new())?,
            secrets: Arc::new(|_| None),
        },
        causes: bellwether::services::causes::Reports::default(),
        nudges: Nudges::default(),
    })
}

/// All monitors that measure from profiles, by the hour.
const CONFIGURATION: &str = "models:
  - name: bench
    task: regression
    window: hour
    baselines: {training: {file: training.ndjson}}
    schema: {from: training}
    monitors:
      - {name: schema, kind: schema, window: hour}
      - name: drift
        kind: drift
        window: hour
        baseline: training
        measures: [psi, jensen_shannon, kolmogorov_smirnov]
      - {name: traffic, kind: traffic, window: hour}
";

async fn one_model(services: &Services, hour: DateTime<Utc>) -> anyhow::Result<()> {
    let mut conn = services.pool.acquire().await?;
    let project_id =
        access::project_named(&mut conn, ProjectId::new(hour), "bench", false, hour).await?;
    drop(conn);
    let file = SourceFile {
        path: "bench.yaml".to_owned(),
        text: CONFIGURATION.to_owned(),
    };
    configuration::apply(services, project_id, &[file], "bench").await?;
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, project_id, "bench").await?;
    drop(conn);
    registry::register_version(services, &model, "v1", json!({}), "bench", hour).await?;
    let mut random = StdRng::seed_from_u64(SEED);
    let training = (0..BASELINE_ROWS).map(|_| {
        let mut row = features(&mut random, 0.0);
        row["prediction"] = json!(random.random::<f64>());
        row
    });
    let baseline = ReferenceFile {
        project_id,
        model: "bench",
        name: "training",
        file_name: "training.ndjson",
        format: Format::Ndjson,
        body: lines(training),
    };
    baselines::fit_file(services, baseline, "bench").await?;
    let rows = (0..ROWS_PER_HOUR).map(|i| {
        let mut row = features(&mut random, 0.1);
        row["prediction_id"] = json!(format!("p{i}"));
        row["timestamp"] = json!(hour + TimeDelta::seconds(i as i64));
        row["prediction"] = json!(random.random::<f64>());
        row["latency_ms"] = json!(random.random::<f64>() * 50.0);
        row
    });
    let upload = Upload {
        project_id,
        model: "bench",
        format: Format::Ndjson,
        body: lines(rows),
        version: None,
        generation: None,
    };
    ingest::predictions(services, upload).await?;
    while settle::activate(services, hour + TimeDelta::hours(1)).await? {}
    Ok(())
}

/// Skewed numbers and categories of unequal share; every fourth number has moved.
fn features(random: &mut StdRng, shift: f64) -> Value {
    let mut row = serde_json::Map::new();
    for i in 0..NUMBERS {
        let moved = if i % 4 == 0 { shift } else { 0.0 };
        let value = moved - (1.0 - random.random::<f64>()).ln() * (i + 1) as f64;
        row.insert(format!("number_{i:02}"), json!(value));
    }
    for i in 0..CATEGORIES {
        let place = (random.random::<f64>().powi(2) * (5 + 3 * i) as f64) as usize;
        row.insert(format!("category_{i:02}"), json!(format!("value {place}")));
    }
    Value::Object(row)
}

fn lines(rows: impl Iterator<Item = Value>) -> bytes::Bytes {
    let lines: Vec<String> = rows.map(|row| row.to_string()).collect();
    lines.join("\n").into()
}

/// Copies the model until there are so many.
async fn copies(pool: &PgPool, models: usize) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    let last = models - 1;
    sqlx::raw_sql(
        "CREATE FUNCTION other(id uuid, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
         AS $$ SELECT md5(id::text || n)::uuid $$",
    )
    .execute(&mut *conn)
    .await?;
    for (table, ids) in COPIED {
        let ids = ids.iter().map(|id| format!("'{id}', other(t.{id}, n)"));
        let others: &[&str] = match table {
            "models" => &["'name', t.name || '-' || n"],
            "model_versions" => &["'version_number', t.version_number + n"],
            "definitions" => &[
                "'name', t.name || '-' || n",
                "'body', t.body || jsonb_build_object('name', t.name || '-' || n)",
            ],
            _ => &[],
        };
        let changed: Vec<String> = ids.chain(others.iter().map(|s| (*s).to_owned())).collect();
        // All of it is made of the words above.
        let statement = format!(
            "INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT r.* FROM {table} t, generate_series(1, {last}) n,
             LATERAL jsonb_populate_record(t, jsonb_build_object({})) r",
            changed.join(", ")
        );
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut *conn)
            .await
            .with_context(|| format!("copy {table}"))?;
    }
    Ok(())
}

/// Everything is to be measured as if it never had been.
async fn forget(pool: &PgPool) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    sqlx::raw_sql(
        "TRUNCATE measurements, measured_windows; UPDATE window_states SET pending = true;",
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}
