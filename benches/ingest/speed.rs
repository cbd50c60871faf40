//! How fast predictions come in, all sides in turns: each round gives every side the same new rows, so that a
//! noisy moment of the machine meets all of them, and a ratio is taken within its round. Sides keep their rows,
//! so from round to round they write into larger tables, as they would in production.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::bodies::{self, Format, ROWS_PER_BODY};
use crate::by_hand::{ByHand, Way};
use crate::figures::{Goal, Report, Spread, per_second, thousands};
use crate::generator::Generator;
use crate::load;
use crate::postgres::Cluster;
use crate::service::Service;
use crate::{Part, Plan};

const CONNECTIONS: usize = 4;

/// One who stores predictions.
enum Side {
    ByHand(ByHand),
    Service(Format, Box<Service>),
}

/// How long a round took a side.
#[derive(Debug, Clone, Copy)]
struct Taken {
    acknowledged: Duration,
    settled: Duration,
}

/// A side with its rounds.
struct Contest {
    side: Side,
    rounds: Vec<Taken>,
}

/// Rates that later parts build on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// Columnar predictions a second, settled.
    pub columnar: Option<f64>,
}

/// Lets the sides that the plan asks for take turns.
pub async fn measure(
    cluster: &Cluster,
    plan: &Plan,
    columnar: Format,
    report: &mut Report,
) -> anyhow::Result<Rates> {
    let mut contests = sides(cluster, plan, columnar).await?;
    for round in 0..plan.rounds {
        for turn in 0..contests.len() {
            let index = (turn + round) % contests.len();
            contests[index].take_turn(cluster, plan, round).await?;
        }
    }
    tell_rates(plan, columnar, &contests, report);
    if plan.has(Part::Columnar) {
        tell_sizes(cluster, plan, columnar, &mut contests, report).await?;
    }
    let settled = contests
        .iter()
        .find(|contest| contest.format() == Some(columnar))
        .map(|contest| contest.settled_rate(plan));
    for contest in contests {
        contest.side.remove(cluster).await?;
    }
    Ok(Rates { columnar: settled })
}

/// Both ways by hand are there whatever is measured beside them.
async fn sides(cluster: &Cluster, plan: &Plan, columnar: Format) -> anyhow::Result<Vec<Contest>> {
    let mut formats = Vec::new();
    if plan.has(Part::Columnar) {
        formats.push(columnar);
    }
    let others = [
        (Part::Zstd, Format::ArrowZstd),
        (Part::Parquet, Format::Parquet),
        (Part::Ndjson, Format::Ndjson),
    ];
    for (part, format) in others {
        let possible = format != Format::ArrowZstd || columnar == Format::Arrow;
        if plan.has(part) && format != columnar && possible {
            formats.push(format);
        }
    }
    let mut sides = vec![Side::ByHand(ByHand::create(cluster, Way::Wide, "wide")?)];
    if plan.has(Part::Ndjson) {
        sides.push(Side::ByHand(ByHand::create(cluster, Way::Jsonb, "jsonb")?));
    }
    for format in formats {
        let mut service = Service::create(cluster, &format!("speed_{}", format.slug())).await?;
        service.stop().await?;
        sides.push(Side::Service(format, Box::new(service)));
    }
    let contests = sides.into_iter().map(|side| Contest {
        side,
        rounds: Vec::new(),
    });
    Ok(contests.collect())
}

impl Side {
    fn name(&self) -> String {
        match self {
            Self::ByHand(by_hand) => by_hand.way.name().to_owned(),
            Self::Service(format, _) => format!("Bellwether, {}", format.name()),
        }
    }

    async fn remove(self, cluster: &Cluster) -> anyhow::Result<()> {
        match self {
            Self::ByHand(by_hand) => cluster.drop_database(&by_hand.database),
            Self::Service(_, mut service) => {
                service.stop().await?;
                cluster.drop_database(&service.database)
            }
        }
    }
}

impl Contest {
    fn format(&self) -> Option<Format> {
        match &self.side {
            Side::Service(format, _) => Some(*format),
            Side::ByHand(_) => None,
        }
    }

    fn is(&self, wanted: Way) -> bool {
        matches!(&self.side, Side::ByHand(by_hand) if by_hand.way == wanted)
    }

    async fn take_turn(
        &mut self,
        cluster: &Cluster,
        plan: &Plan,
        round: usize,
    ) -> anyhow::Result<()> {
        // Every side draws the same rows in the same round.
        let mut generator = Generator::new(plan.seed + round as u64, plan.rows_per_round);
        let rows = plan.rows_per_round;
        let taken = match &mut self.side {
            Side::ByHand(by_hand) => {
                let taken = by_hand.copy(cluster, &mut generator, rows)?;
                Taken {
                    acknowledged: taken,
                    settled: taken,
                }
            }
            Side::Service(format, service) => {
                let bodies = bodies::bodies(&mut generator, *format, rows, ROWS_PER_BODY)?;
                send(cluster, service, &bodies).await?
            }
        };
        let rate = per_second(rows as f64 / taken.settled.as_secs_f64());
        eprintln!("  round {}: {}: {rate}", round + 1, self.side.name());
        self.rounds.push(taken);
        Ok(())
    }

    fn settled_rate(&self, plan: &Plan) -> f64 {
        Spread::of(self.rates(plan, |taken| taken.settled)).median
    }

    fn rates(&self, plan: &Plan, which: impl Fn(&Taken) -> Duration) -> Vec<f64> {
        let rows = plan.rows_per_round as f64;
        let rate = |taken| rows / which(taken).as_secs_f64();
        self.rounds.iter().map(rate).collect()
    }
}

/// A round of the service: started, measured, checked, stopped.
async fn send(
    cluster: &Cluster,
    service: &mut Service,
    bodies: &std::sync::Arc<[bodies::Body]>,
) -> anyhow::Result<Taken> {
    service.start().await?;
    cluster.settle_down(&service.database)?;
    let started = Instant::now();
    let sent = load::send_all(service.target()?, bodies, CONNECTIONS).await?;
    service.settle(bodies).await?;
    let settled = started.elapsed();
    if sent.in_vain > 0 {
        eprintln!("  {} bodies had to be sent again", sent.in_vain);
    }
    service.verify(cluster).await?;
    service.stop().await?;
    Ok(Taken {
        acknowledged: sent.acknowledged,
        settled,
    })
}

fn tell_rates(plan: &Plan, columnar: Format, contests: &[Contest], report: &mut Report) {
    for contest in contests {
        let name = contest.side.name();
        let settled = per_second(contest.settled_rate(plan));
        if contest.format().is_some() {
            let acknowledged = contest.rates(plan, |taken| taken.acknowledged);
            let acknowledged = per_second(Spread::of(acknowledged).median);
            report.tell(format!("{name}: acknowledged and settled"), settled);
            report.tell(format!("{name}: acknowledged"), acknowledged);
        } else {
            report.tell(format!("{name}: stored"), settled);
        }
    }
    let find = |wanted: &dyn Fn(&Contest) -> bool| contests.iter().find(|c| wanted(c));
    let wide = find(&|contest| contest.is(Way::Wide));
    let jsonb = find(&|contest| contest.is(Way::Jsonb));
    let in_columns = find(&|contest| contest.format() == Some(columnar));
    let ndjson = find(&|contest| contest.format() == Some(Format::Ndjson));
    let settled = |taken: &Taken| taken.settled;
    let acknowledged = |taken: &Taken| taken.acknowledged;
    let mut compare = |name: &str,
                       ours: Option<&Contest>,
                       theirs: Option<&Contest>,
                       which: fn(&Taken) -> Duration,
                       goal| {
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return;
        };
        let pairs = ours.rounds.iter().zip(&theirs.rounds);
        let ratios = Spread::of(
            pairs.map(|(ours, theirs)| theirs.settled.as_secs_f64() / which(ours).as_secs_f64()),
        );
        report.tell(name.replace('_', " "), ratios.told());
        report.figure(name, ratios.median, Goal::AtLeast(goal));
    };
    compare("ingest_columnar_times_copy", in_columns, wide, settled, 1.0);
    compare(
        "ingest_columnar_acks_times_copy",
        in_columns,
        wide,
        acknowledged,
        2.0,
    );
    compare("ingest_ndjson_times_copy", ndjson, wide, settled, 0.5);
    compare(
        "ingest_ndjson_times_jsonb_copy",
        ndjson,
        jsonb,
        settled,
        3.0,
    );
}

async fn tell_sizes(
    cluster: &Cluster,
    plan: &Plan,
    columnar: Format,
    contests: &mut [Contest],
    report: &mut Report,
) -> anyhow::Result<()> {
    let rows = (plan.rows_per_round * plan.rounds as u64) as f64;
    let (mut ours, mut wide) = (None, None);
    for contest in contests {
        match &mut contest.side {
            Side::ByHand(by_hand) => {
                cluster.query(&by_hand.database, "VACUUM")?;
                let bytes = cluster.bytes(&by_hand.database)? as f64 / rows;
                let what = format!("{}: bytes a prediction", by_hand.way.name());
                report.tell(what, thousands(bytes));
                if by_hand.way == Way::Wide {
                    wide = Some(bytes);
                }
            }
            Side::Service(format, service) if *format == columnar => {
                service.start().await?;
                let bytes = service.bytes_at_rest(cluster, plan.quiet, plan.longest_compaction);
                let bytes = bytes.await? as f64 / rows;
                service.stop().await?;
                report.tell("Bellwether: bytes a prediction", thousands(bytes));
                ours = Some(bytes);
            }
            Side::Service(..) => {}
        }
    }
    let ratio = ours.context("measure our size")? / wide.context("measure the table's size")?;
    report.figure("ingest_bytes_times_copy", ratio, Goal::AtMost(0.6));
    Ok(())
}
