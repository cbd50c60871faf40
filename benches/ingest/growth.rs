//! Whether a prediction costs more when many are stored: the time until a sample is settled, beside a small
//! database and beside a large one. It is filled through the service, and the figure's name says how far.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;

use crate::Plan;
use crate::bodies::{self, Body, Format, ROWS_PER_BODY};
use crate::figures::{Goal, Report, Spread, rounded, thousands};
use crate::generator::Generator;
use crate::load;
use crate::postgres::Cluster;
use crate::service::Service;

const CONNECTIONS: usize = 4;
const SAMPLES: usize = 3;
/// How many bodies lend their values to the rows that only fill the database.
const LENDERS: u64 = 10;
const BODIES_AHEAD: usize = 8;

/// From which size to which the database grows.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    pub from: u64,
    pub to: u64,
    /// Rows of one sample.
    pub sample: u64,
    /// Rows that are sent and settled before the clock is looked at again.
    pub step: u64,
    /// Where filling ends, however far it has come.
    pub longest: Duration,
}

pub async fn measure(
    cluster: &Cluster,
    plan: &Plan,
    columnar: Format,
    report: &mut Report,
) -> anyhow::Result<()> {
    let growth = plan.growth;
    let mut service = Service::create(cluster, "growth").await?;
    let mut fill = Fill::new(plan, columnar);
    fill.up_to(growth.from, &mut service).await?;
    let small = samples(cluster, plan, columnar, 0, &mut service).await?;
    fill.up_to(growth.to, &mut service).await?;
    let size = service.sent;
    let large = samples(cluster, plan, columnar, SAMPLES, &mut service).await?;
    service.verify(cluster).await?;
    service.stop().await?;
    cluster.drop_database("growth")?;

    for (rows, cost) in [(growth.from, &small), (size, &large)] {
        report.tell(
            format!(
                "microseconds a prediction beside {} rows",
                thousands(rows as f64)
            ),
            cost.told(),
        );
    }
    if size < growth.to {
        let (wanted, reached) = (thousands(growth.to as f64), thousands(size as f64));
        let told = format!("{reached} rows, within {} s", growth.longest.as_secs());
        report.tell(format!("filling up to {wanted} rows ended at"), told);
    }
    let name = format!("ingest_cost_ratio_at_{}_rows", short_count(size));
    report.figure(name, large.median / small.median, Goal::AtMost(1.15));
    Ok(())
}

/// Microseconds a prediction from its first byte to when it is settled.
async fn samples(
    cluster: &Cluster,
    plan: &Plan,
    columnar: Format,
    first: usize,
    service: &mut Service,
) -> anyhow::Result<Spread> {
    let rows = plan.growth.sample;
    let mut costs = Vec::new();
    for sample in first..first + SAMPLES {
        let mut generator = Generator::new(plan.seed + 510 + sample as u64, rows);
        let bodies = bodies::bodies(&mut generator, columnar, rows, ROWS_PER_BODY)?;
        cluster.settle_down(&service.database)?;
        let started = Instant::now();
        load::send_all(service.target()?, &bodies, CONNECTIONS).await?;
        service.settle(&bodies).await?;
        costs.push(started.elapsed().as_secs_f64() * 1e6 / rows as f64);
        eprintln!(
            "  beside {} rows: {} µs a prediction",
            thousands(service.sent as f64),
            rounded(costs[costs.len() - 1])
        );
    }
    Ok(Spread::of(costs))
}

/// Fills the service, with rows whose ids and times are new and whose values repeat.
struct Fill {
    columnar: Format,
    seed: u64,
    growth: Growth,
}

impl Fill {
    fn new(plan: &Plan, columnar: Format) -> Self {
        Self {
            columnar,
            seed: plan.seed + 500,
            growth: plan.growth,
        }
    }

    async fn up_to(&mut self, rows: u64, service: &mut Service) -> anyhow::Result<()> {
        let started = Instant::now();
        while service.sent < rows && started.elapsed() < self.growth.longest {
            let step = (rows - service.sent).min(self.growth.step);
            let (sender, bodies) = mpsc::channel(BODIES_AHEAD);
            self.seed += 1_000;
            let (seed, columnar) = (self.seed, self.columnar);
            let maker = std::thread::spawn(move || make(step, seed, columnar, &sender));
            let target = service.target()?;
            service.sent += load::send_stream(target, bodies, CONNECTIONS).await?;
            let made = maker.join().ok().context("make bodies to fill with")?;
            made?;
            service.wait_until_settled().await?;
            eprintln!("  filled to {} rows", thousands(service.sent as f64));
        }
        Ok(())
    }
}

fn make(rows: u64, seed: u64, columnar: Format, bodies: &mpsc::Sender<Body>) -> anyhow::Result<()> {
    let mut generator = Generator::new(seed, rows);
    let per_body = ROWS_PER_BODY as u64;
    let mut lenders = Vec::new();
    let mut left = rows;
    while left > 0 {
        let count = left.min(per_body);
        let turn = (left / per_body % LENDERS) as usize;
        if count < per_body || lenders.len() < LENDERS as usize {
            let drawn = generator.rows(usize::try_from(count)?);
            bodies.blocking_send(bodies::body(&drawn, &generator.vocabulary, columnar)?)?;
            lenders.push(drawn);
        } else {
            let lender = &mut lenders[turn];
            generator.renew(lender);
            bodies.blocking_send(bodies::body(lender, &generator.vocabulary, columnar)?)?;
        }
        left -= count;
    }
    Ok(())
}

/// A number of rows as part of a name: `6m`, `250k`.
fn short_count(rows: u64) -> String {
    match rows {
        0..1_000_000 => format!("{}k", rows / 1_000),
        _ => format!("{}m", rows / 1_000_000),
    }
}
