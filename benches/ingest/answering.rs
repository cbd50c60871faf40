//! How fast single requests are answered: the latency of an acknowledgement under half of the load the service
//! sustains, and what one prediction per request comes to beside single inserts.

use std::time::Instant;

use crate::Plan;
use crate::bodies::{self, Format, ROWS_PER_BODY};
use crate::by_hand;
use crate::figures::{Goal, Report, per_second, rounded};
use crate::generator::Generator;
use crate::load;
use crate::postgres::{self, Cluster, Neighbours};
use crate::service::Service;
use crate::speed::Rates;

const LATENCY_CONNECTIONS: usize = 16;
const LATENCY_ROWS_PER_BODY: usize = 500;
/// What an acknowledgement may take beside one fsync.
const LATENCY_GOAL_MILLISECONDS: f64 = 25.0;
const SINGLE_CONNECTIONS: usize = 64;
/// More single requests a second are not prepared for; the measurement then ends early.
const MOST_SINGLES_PER_SECOND: u64 = 15_000;

/// Acknowledgements of bodies with 500 rows, at half of the sustained rate.
pub async fn latency(
    cluster: &Cluster,
    plan: &Plan,
    columnar: Format,
    rates: Rates,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut service = Service::create(cluster, "latency").await?;
    let sustained = match rates.columnar {
        Some(rate) => rate,
        None => sustained(plan, columnar, &mut service).await?,
    };
    let bodies_per_second = sustained / 2.0 / LATENCY_ROWS_PER_BODY as f64;
    let count = (bodies_per_second * plan.latency.as_secs_f64())
        .ceil()
        .max(20.0);
    let rows = count as u64 * LATENCY_ROWS_PER_BODY as u64;
    let mut generator = Generator::new(plan.seed + 200, rows);
    let bodies = bodies::bodies(&mut generator, columnar, rows, LATENCY_ROWS_PER_BODY)?;
    cluster.settle_down(&service.database)?;
    let (fsync, slow_fsync) = postgres::fsync_milliseconds(cluster.folder())?;
    report.tell(
        "one fsync: median, 99th percentile",
        format!("{} ms, {} ms", rounded(fsync), rounded(slow_fsync)),
    );

    let target = service.target()?;
    let neighbours = Neighbours::watch()?;
    let late = load::send_at_rate(target, &bodies, LATENCY_CONNECTIONS, bodies_per_second).await?;
    report.tell(
        "processors' time that other machines had meanwhile",
        format!("{:.1} %", 100.0 * neighbours.share()?),
    );

    service.settle(&bodies).await?;
    service.verify(cluster).await?;
    service.stop().await?;
    cluster.drop_database("latency")?;
    let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize];
    report.tell(
        format!(
            "acknowledgement at {}, {LATENCY_CONNECTIONS} connections, {LATENCY_ROWS_PER_BODY} rows a body: \
             median, 99th percentile, worst",
            per_second(sustained / 2.0)
        ),
        format!(
            "{} ms, {} ms, {} ms",
            rounded(at(0.5)),
            rounded(at(0.99)),
            rounded(at(1.0))
        ),
    );
    let goal = LATENCY_GOAL_MILLISECONDS + fsync;
    report.figure("ingest_ack_p99_milliseconds", at(0.99), Goal::AtMost(goal));
    Ok(())
}

/// The rate the service sustains, when the part that measures it was left out.
async fn sustained(plan: &Plan, columnar: Format, service: &mut Service) -> anyhow::Result<f64> {
    let rows = plan.rows_per_round;
    let mut generator = Generator::new(plan.seed + 201, rows);
    let bodies = bodies::bodies(&mut generator, columnar, rows, ROWS_PER_BODY)?;
    let started = Instant::now();
    load::send_all(service.target()?, &bodies, 4).await?;
    service.settle(&bodies).await?;
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// One prediction per request, against pgbench's single inserts. Ours count when they are settled.
pub async fn single(cluster: &Cluster, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let inserted = by_hand::single_rows_per_second(cluster, "single_rows", plan.single)?;
    report.tell(
        "pgbench, single inserts, 64 connections",
        per_second(inserted),
    );

    let mut service = Service::create(cluster, "single").await?;
    let probe = send_singles(plan, 2_000, 202, &mut service).await?;
    let wanted = (probe.acknowledged * plan.single.as_secs_f64()) as u64;
    let most = MOST_SINGLES_PER_SECOND * plan.single.as_secs();
    cluster.settle_down(&service.database)?;
    let rates = send_singles(plan, wanted.clamp(1_000, most), 203, &mut service).await?;
    service.verify(cluster).await?;
    let asked = wanted.clamp(1_000, most);
    let took = load::ask(service.target()?, "/healthz", asked, SINGLE_CONNECTIONS).await?;
    service.stop().await?;
    cluster.drop_database("single")?;

    report.tell(
        "Bellwether, requests for which nothing is done (`/healthz`), 64 connections",
        per_second(asked as f64 / took.as_secs_f64()),
    );
    report.tell(
        "Bellwether, one prediction a request, 64 connections: acknowledged and settled",
        per_second(rates.settled),
    );
    report.tell(
        "Bellwether, one prediction a request, 64 connections: acknowledged",
        per_second(rates.acknowledged),
    );
    report.figure(
        "ingest_single_times_pgbench",
        rates.settled / inserted,
        Goal::AtLeast(5.0),
    );
    Ok(())
}

struct SingleRates {
    acknowledged: f64,
    settled: f64,
}

async fn send_singles(
    plan: &Plan,
    rows: u64,
    seed: u64,
    service: &mut Service,
) -> anyhow::Result<SingleRates> {
    let mut generator = Generator::new(plan.seed + seed, rows);
    let bodies = bodies::singles(&mut generator, rows);
    let started = Instant::now();
    let sent = load::send_all(service.target()?, &bodies, SINGLE_CONNECTIONS).await?;
    service.settle(&bodies).await?;
    Ok(SingleRates {
        acknowledged: rows as f64 / sent.acknowledged.as_secs_f64(),
        settled: rows as f64 / started.elapsed().as_secs_f64(),
    })
}
