//! The driver of background work. A task is an idempotent `activate(now)` of a service; the driver owns the
//! loops: when a task runs, that it runs once at a time, what happens when it fails or panics.
//!
//! On the machine's clock every task has a loop of its own. On the replay clock, the tasks whose results depend
//! on event time (settling, fitting, measuring, alerting) run only when the clock is advanced, one after the
//! other until nothing moves: so a replayed year has the same alerts at the same instants every time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

use crate::services::ingest::Intake;
use crate::services::{
    Error, Services, alerting, baselines, delivery, evaluate, key_runs, orphans, overflow,
    retention, retraining, runbooks, schemas, settle,
};

/// The background tasks, in the order of the data's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Settle,
    MergeKeys,
    FitBaselines,
    ChangeSchemas,
    Evaluate,
    Alert,
    Respond,
    Retrain,
    Deliver,
    GiveUpLabels,
    Forget,
}

impl Task {
    /// All tasks, in order.
    pub const ALL: [Self; 11] = [
        Self::Settle,
        Self::MergeKeys,
        Self::FitBaselines,
        Self::ChangeSchemas,
        Self::Evaluate,
        Self::Alert,
        Self::Respond,
        Self::Retrain,
        Self::Deliver,
        Self::GiveUpLabels,
        Self::Forget,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::MergeKeys => "merge_keys",
            Self::FitBaselines => "fit_baselines",
            Self::ChangeSchemas => "change_schemas",
            Self::Evaluate => "evaluate",
            Self::Alert => "alert",
            Self::Respond => "respond",
            Self::Retrain => "retrain",
            Self::Deliver => "deliver",
            Self::GiveUpLabels => "give_up_labels",
            Self::Forget => "forget",
        }
    }

    /// The longest pause between two activations.
    fn interval(self) -> Duration {
        match self {
            Self::Settle | Self::MergeKeys | Self::Respond | Self::Retrain | Self::Deliver => {
                Duration::from_secs(1)
            }
            Self::FitBaselines | Self::ChangeSchemas | Self::Evaluate | Self::Alert => {
                Duration::from_secs(5)
            }
            Self::GiveUpLabels => Duration::from_secs(300),
            Self::Forget => Duration::from_secs(600),
        }
    }

    /// How long it pauses after having worked, however much there is to do. While data pour into a window that
    /// is over, it changes many times a second; it is measured with what has come together meanwhile.
    fn rest(self) -> Duration {
        match self {
            Self::Evaluate => Duration::from_secs(2),
            _ => Duration::ZERO,
        }
    }

    /// Whether people learn of what is wrong by it: it has connections of its own, and threads that give way to nobody, so
    /// that it need not wait for what takes long.
    fn is_of_alerting(self) -> bool {
        matches!(self, Self::Alert | Self::Respond | Self::Deliver)
    }

    /// Whether what the task does depends on how far event time has come.
    fn follows_event_time(self) -> bool {
        matches!(
            self,
            Self::Settle
                | Self::FitBaselines
                | Self::Evaluate
                | Self::Alert
                | Self::GiveUpLabels
                | Self::Forget
        )
    }

    /// What may make it run sooner.
    fn nudge(self, services: &Services) -> Arc<Notify> {
        match self {
            Self::Settle => services.nudges.settle.clone(),
            Self::Respond | Self::Retrain => services.nudges.respond.clone(),
            Self::Deliver => services.nudges.deliver.clone(),
            Self::FitBaselines | Self::ChangeSchemas | Self::Evaluate | Self::Alert => {
                services.nudges.evaluate.clone()
            }
            // Nothing hurries it.
            Self::MergeKeys | Self::GiveUpLabels | Self::Forget => Arc::new(Notify::new()),
        }
    }

    async fn activate(self, services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
        match self {
            Self::Settle => {
                let settled = settle::activate(services, now).await?;
                if settled {
                    services.nudges.evaluate.notify_waiters();
                }
                Ok(settled)
            }
            Self::MergeKeys => key_runs::activate(services).await,
            Self::FitBaselines => baselines::activate(services, now).await,
            Self::ChangeSchemas => schemas::activate(services, now).await,
            Self::Evaluate => Ok(!evaluate::activate(services, now).await?.is_empty()),
            Self::Alert => alerting::activate(services, now).await,
            Self::Respond => runbooks::activate(services, now).await,
            Self::Retrain => retraining::activate(services, now).await,
            Self::Deliver => delivery::activate(services, now).await,
            Self::GiveUpLabels => orphans::activate(services, now).await,
            Self::Forget => retention::activate(services, now).await,
        }
    }
}

#[derive(Debug, Clone)]
struct Instruments {
    activations: Counter<u64>,
    seconds: Histogram<f64>,
}

impl Instruments {
    fn new(meter: &Meter, intake: &Intake) -> Self {
        let (intake, failed) = (intake.clone(), intake.clone());
        meter
            .u64_observable_gauge("bellwether_intake_failed_batches")
            .with_description("Batches that could not be settled and were set aside.")
            .with_callback(move |observer| observer.observe(failed.failed_batches(), &[]))
            .build();
        meter
            .u64_observable_gauge("bellwether_intake_unsettled_rows")
            .with_description("Rows that have landed and wait to be settled.")
            .with_callback(move |observer| observer.observe(intake.backlog(), &[]))
            .build();
        meter
            .u64_observable_counter("bellwether_intake_overflow")
            .with_description(
                "What went over a cap: models and rows refused, values dropped, rows without a segment value.",
            )
            .with_callback(|observer| {
                for (kind, counted) in overflow::counted() {
                    observer.observe(counted, &[KeyValue::new("kind", kind.as_str())]);
                }
            })
            .build();
        Self {
            activations: meter
                .u64_counter("bellwether_task_activations")
                .with_description(
                    "Activations of background tasks by result: idle, worked, failed, panicked.",
                )
                .build(),
            seconds: meter
                .f64_histogram("bellwether_task_duration")
                .with_unit("s")
                .with_description("How long activations of background tasks take.")
                .build(),
        }
    }
}

/// Runs the tasks. Clones share the turns, so that a task never runs twice at once.
#[derive(Debug, Clone)]
pub struct Scheduler {
    services: Services,
    /// The same with the connections of alerting.
    of_alerting: Services,
    /// What nobody waits for runs here.
    background: Handle,
    instruments: Instruments,
    turns: Arc<[Mutex<()>; Task::ALL.len()]>,
}

impl Scheduler {
    /// A driver for these services, whose alerting has connections of its own; all else runs on the threads of `background`.
    #[must_use]
    pub fn new(services: Services, alerting: PgPool, background: Handle, meter: &Meter) -> Self {
        let of_alerting = Services {
            pool: alerting,
            ..services.clone()
        };
        Self {
            instruments: Instruments::new(meter, &services.intake),
            services,
            of_alerting,
            background,
            turns: Arc::default(),
        }
    }

    /// Runs the loops until `stopping` turns true, letting activations under way finish.
    pub async fn run(&self, stopping: watch::Receiver<bool>) {
        let mut loops = JoinSet::new();
        let replayed = self.services.replay.is_some();
        for task in Task::ALL
            .into_iter()
            .filter(|task| !(replayed && task.follows_event_time()))
        {
            let (scheduler, stopping) = (self.clone(), stopping.clone());
            loops.spawn(async move { scheduler.drive(task, stopping).await });
        }
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the loop of a background task died");
            }
        }
    }

    async fn drive(&self, task: Task, mut stopping: watch::Receiver<bool>) {
        let nudge = task.nudge(&self.services);
        while !*stopping.borrow() {
            let worked = self.turn(task).await.unwrap_or(false);
            let rest = task.rest();
            if worked && rest.is_zero() {
                continue;
            }
            let pause = if worked {
                rest
            } else {
                jittered(task.interval())
            };
            let pause = TimeDelta::from_std(pause).unwrap_or(TimeDelta::seconds(1));
            let wake = self.services.wall.now() + pause;
            tokio::select! {
                () = nudge.notified(), if !worked => {}
                () = self.services.wall.sleep_until(wake) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Activates a task once. A panic is counted and logged, and does not end the loop: the next activation
    /// looks at the database afresh.
    ///
    /// # Errors
    /// When the activation failed or panicked; it has been logged.
    async fn turn(&self, task: Task) -> Result<bool, ()> {
        let _turn = self.turns[task as usize].lock().await;
        let started = Instant::now();
        let (services, threads) = if task.is_of_alerting() {
            (self.of_alerting.clone(), Handle::current())
        } else {
            (self.services.clone(), self.background.clone())
        };
        let activation =
            threads.spawn(async move { task.activate(&services, services.clock.now()).await });
        let (word, result) = match activation.await {
            Ok(Ok(true)) => ("worked", Ok(true)),
            Ok(Ok(false)) => ("idle", Ok(false)),
            Ok(Err(error)) => {
                tracing::error!(
                    task = task.as_str(),
                    error = &error as &dyn std::error::Error,
                    "a background task failed"
                );
                ("failed", Err(()))
            }
            Err(panic) => {
                tracing::error!(task = task.as_str(), %panic, "a background task panicked");
                ("panicked", Err(()))
            }
        };
        let labels = [
            KeyValue::new("task", task.as_str()),
            KeyValue::new("result", word),
        ];
        self.instruments.activations.add(1, &labels);
        self.instruments
            .seconds
            .record(started.elapsed().as_secs_f64(), &labels[..1]);
        result
    }

    /// Moves the replay clock to `to` and works until nothing moves any more.
    ///
    /// # Errors
    /// Conflict when the service does not run on the replay clock; unavailable when a task fails.
    pub async fn advance(&self, to: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
        let Some(clock) = &self.services.replay else {
            return Err(Error::Conflict(
                "the service runs on the machine's clock, which nobody advances".to_owned(),
            ));
        };
        clock.advance_to(to);
        let now = self.services.clock.now();
        let mut conn = self.services.pool.acquire().await?;
        crate::storage::replay::reach(&mut conn, now).await?;
        drop(conn);
        while self.round().await? {}
        Ok(now)
    }

    /// Runs every task in order until it is idle; returns whether any worked.
    async fn round(&self) -> Result<bool, Error> {
        let mut worked = false;
        for task in Task::ALL {
            loop {
                match self.turn(task).await {
                    Ok(true) => worked = true,
                    Ok(false) => break,
                    Err(()) => {
                        let wait = Duration::from_secs(1);
                        return Err(Error::unavailable(
                            wait,
                            format!("task {} failed; the log says why", task.as_str()),
                        ));
                    }
                }
            }
        }
        Ok(worked)
    }
}

/// The interval, up to a tenth longer, so that replicas do not all wake at once.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 + 0.1 * rand::random::<f64>())
}
