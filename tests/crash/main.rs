//! The service dies at every line that matters, and nothing that was acknowledged is lost or counted twice.
//!
//! The real binary, a real Postgres that syncs to disk, and a client that writes down what it sent and what it
//! was told. The service is killed with -9 at each named point (`src/faults.rs`), at random moments, and its
//! Postgres is stopped as by a power cut; the client goes on with the next process. In the end a checker
//! compares what is stored with what was written down, by code of its own.
//!
//! Without further ado this is the short run: each point once. `BELLWETHER_CRASH_ROUNDS=N` makes it N rounds
//! with more data, each point at its first and at a later pass. `BELLWETHER_CRASH_SEED` repeats a run.

mod archived;
mod checker;
mod client;
mod cluster;
mod damage;
mod keeping;
mod ledger;
mod outside;
mod patience;
mod recount;
mod service;
mod stored;
mod traffic;
mod world;

use bellwether::faults::POINTS;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use checker::{ACKNOWLEDGED_IS_STORED, IDS_ARE_UNIQUE};
use keeping::Keeping;
use world::World;

const SEED: &str = "BELLWETHER_CRASH_SEED";
const ROUNDS: &str = "BELLWETHER_CRASH_ROUNDS";
/// Rows of a batch, in the short run and in the long one.
const FEW: i64 = 8;
const MANY: i64 = 60;
/// Random moments of each kind in a round of the long run.
const MOMENTS: usize = 5;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")),
    )
}

/// Whether a point is one of what is plugged in, forgotten, archived or erased, which have a world of their own.
fn is_of_keeping(point: &str) -> bool {
    let area = point.split('.').next().unwrap_or_default();
    keeping::AREAS.contains(&area)
}

/// Every other point, from the given one on: two workers share them, each with a world of its own.
fn points(worker: usize) -> impl Iterator<Item = &'static str> {
    let points = POINTS.iter().copied().filter(|point| !is_of_keeping(point));
    points.skip(worker).step_by(2)
}

async fn kill_everywhere(worker: usize) {
    match number(ROUNDS) {
        None => short_run(worker, number(SEED).unwrap_or(1)).await,
        Some(rounds) => long_run(worker, rounds).await,
    }
}

async fn short_run(worker: usize, seed: u64) {
    println!("{SEED}={seed}");
    let mut world = World::start(seed, FEW, None).await;
    for point in points(worker) {
        world.kill_at(point, 1).await;
    }
    world.kill_at_random().await;
    world.stop_postgres_at_random().await;
    world.check().await.assert_none();
    world.assert_busy().await;
    println!("{}", world.told());
}

async fn long_run(worker: usize, rounds: u64) {
    let first = number(SEED).unwrap_or_else(|| rand::random_range(0..1_000_000));
    for seed in first..first + rounds {
        println!("worker {worker}, {SEED}={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::start(seed, MANY, None).await;
        for point in points(worker) {
            world.kill_at(point, 1).await;
            let passes_once = point.starts_with("start.") || point.starts_with("shutdown.");
            let later = if passes_once {
                1
            } else {
                rng.random_range(2..=4)
            };
            world.kill_at(point, later).await;
        }
        for _ in 0..MOMENTS {
            world.kill_at_random().await;
            world.stop_postgres_at_random().await;
        }
        let violations = world.check().await;
        println!(
            "worker {worker}, {}, {} violations",
            world.told(),
            violations.0.len()
        );
        violations.assert_none();
        world.assert_busy().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_other_point_nothing_is_lost_or_doubled() {
    kill_everywhere(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_the_points_between_nothing_is_lost_or_doubled() {
    kill_everywhere(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_plugs_in_forgets_archives_and_erases_nothing_is_lost_or_doubled() {
    let mut keeping = Keeping::start().await;
    // Days to be forgotten are few, so there is one round, whatever is asked for.
    for point in POINTS.iter().copied().filter(|point| is_of_keeping(point)) {
        keeping.kill_at(point).await;
        keeping.kill_at(point).await;
    }
    keeping.check().await.assert_none();
    keeping.assert_busy();
    for (rule, violations) in keeping.check_damaged().await {
        assert!(violations.are_of(rule), "{rule}: {violations:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_noticed() {
    let mut world = World::start(1, FEW, Some("acknowledge_before_commit")).await;
    // The answer and the kill race each other; one of several answers wins.
    for _ in 0..5 {
        world.kill_at("intake.before_commit", 1).await;
    }
    let violations = world.check().await;
    assert!(violations.are_of(ACKNOWLEDGED_IS_STORED), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipping_the_deduplication_is_noticed() {
    let mut world = World::start(1, FEW, Some("skip_deduplication")).await;
    world.kill_at("settle.after_commit", 3).await;
    world.contradict().await;
    let violations = world.check().await;
    assert!(violations.are_of(IDS_ARE_UNIQUE), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_damaged_is_noticed() {
    let mut world = World::start(1, FEW, None).await;
    // Some of everything has happened by the time a run of a runbook and a message have been dealt with.
    for point in ["labels.joined", "pipeline.recorded", "delivery.marked"] {
        world.kill_at(point, 1).await;
    }
    world.check().await.assert_none();
    world.assert_busy().await;
    for (damage, violations) in world.check_damaged().await {
        assert!(violations.are_of(damage.rule), "{damage:?}: {violations:?}");
    }
}
