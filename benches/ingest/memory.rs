//! How much memory the service needs when it is pressed: under the heaviest load, and while the database stands
//! still and the load goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::Plan;
use crate::bodies::{self, Body, Format, ROWS_PER_BODY};
use crate::figures::{Goal, Report, rounded, thousands};
use crate::generator::Generator;
use crate::load::{self, Endless};
use crate::postgres::Cluster;
use crate::service::{Service, pause};

const CONNECTIONS: usize = 16;
const GOAL_MIB: f64 = 300.0;
/// Rows of a body that is sent to be refused.
const SMALL_ROWS: usize = 10;
/// How soon a sender is told that the database does not answer.
const GOAL_REFUSAL_MILLISECONDS: f64 = 250.0;
/// How long the load runs before the database stops, and how long after it goes on.
const AROUND_THE_STALL: Duration = Duration::from_secs(5);
const LONGEST_RECOVERY: Duration = Duration::from_secs(200);

/// Sixteen connections send bodies of every format as fast as they are answered.
pub async fn heaviest(
    cluster: &Cluster,
    plan: &Plan,
    formats: &[Format],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut service = Service::create(cluster, "heaviest").await?;
    let bodies = mixed(plan, formats, 300)?;
    cluster.settle_down(&service.database)?;
    load::send_all(service.target()?, &bodies, CONNECTIONS).await?;
    service.settle(&bodies).await?;
    let peak = service.peak_memory_mib()?;
    service.verify(cluster).await?;
    service.stop().await?;
    cluster.drop_database("heaviest")?;
    report.tell(
        format!("resident memory, {CONNECTIONS} connections, every format: peak"),
        format!("{} MiB", rounded(peak)),
    );
    report.figure(
        "ingest_heaviest_load_resident_mebibytes",
        peak,
        Goal::AtMost(GOAL_MIB),
    );
    Ok(())
}

/// Stops every process of Postgres for a while under that load, and lets it go on.
pub async fn stalled(
    cluster: &Cluster,
    plan: &Plan,
    formats: &[Format],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut service = Service::create(cluster, "stalled").await?;
    let bodies = mixed(plan, formats, 400)?;
    let load = Endless::start(service.target()?, &bodies, CONNECTIONS);
    pause(AROUND_THE_STALL).await;

    let stopped = cluster.stall()?;
    pause(plan.stall / 2).await;
    let halfway = load.acknowledged();
    // Small, so that it is sent whole before it is refused.
    let mut generator = Generator::new(plan.seed + 499, SMALL_ROWS as u64);
    let small = bodies::body(
        &generator.rows(SMALL_ROWS),
        &generator.vocabulary,
        Format::Ndjson,
    )?;
    let shed = load::refusals(service.target()?, &small, plan.stall / 2).await?;
    let before = load.acknowledged();
    drop(stopped);
    let first = wait_for_more(&load, before).await?;

    pause(AROUND_THE_STALL).await;
    let acknowledged = load.stop().await?;
    service.repeated = acknowledged - bodies.iter().map(|body| body.rows).sum::<u64>();
    service.settle(&bodies).await?;
    // Rows that were sent again are duplicates; `verify` wants each of the others once.
    service.verify(cluster).await?;
    let peak = service.peak_memory_mib()?;
    service.stop().await?;
    cluster.drop_database("stalled")?;
    let seconds = plan.stall.as_secs();
    report.tell(
        format!("resident memory, the database stalled for {seconds} s: peak"),
        format!("{} MiB", rounded(peak)),
    );
    report.tell(
        format!("first acknowledgement after a stall of {seconds} s"),
        format!("{} s", rounded(first.as_secs_f64())),
    );
    report.tell(
        "rows acknowledged around the stall, repeated ones included; none was lost",
        thousands(acknowledged as f64),
    );
    if before > halfway {
        let told = format!("{} bodies", before - halfway);
        report.tell("acknowledged in the second half of the stall", told);
    }
    let Some(slowest) = shed.last() else {
        bail!("nothing was refused while the database stood still");
    };
    report.tell(
        format!("{} refusals during the stall: median, slowest", shed.len()),
        format!(
            "{} ms, {} ms",
            rounded(shed[shed.len() / 2]),
            rounded(*slowest)
        ),
    );
    report.figure(
        "ingest_stalled_database_slowest_refusal_milliseconds",
        *slowest,
        Goal::AtMost(GOAL_REFUSAL_MILLISECONDS),
    );
    report.figure(
        "ingest_stalled_database_resident_mebibytes",
        peak,
        Goal::AtMost(GOAL_MIB),
    );
    Ok(())
}

async fn wait_for_more(load: &Endless, before: u64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    while load.acknowledged() <= before {
        ensure!(
            started.elapsed() < LONGEST_RECOVERY,
            "nothing was acknowledged after the database went on"
        );
        pause(Duration::from_millis(10)).await;
    }
    Ok(started.elapsed())
}

/// Bodies of every format in turns.
fn mixed(plan: &Plan, formats: &[Format], seed: u64) -> anyhow::Result<Arc<[Body]>> {
    let each = plan.mixed_rows_per_format;
    let mut by_format = Vec::new();
    for (number, &format) in formats.iter().enumerate() {
        let mut generator = Generator::new(plan.seed + seed + number as u64, each);
        by_format.push(bodies::bodies(&mut generator, format, each, ROWS_PER_BODY)?);
    }
    let longest = by_format.iter().map(|bodies| bodies.len()).max();
    let mut mixed = Vec::new();
    for index in 0..longest.unwrap_or(0) {
        mixed.extend(
            by_format
                .iter()
                .filter_map(|bodies| bodies.get(index).cloned()),
        );
    }
    Ok(mixed.into())
}
