//! What OpenTelemetry brings. Its predictions and labels go the way of all others, a batch for each model; its
//! telemetry is stored in one transaction; what is of no use here is counted by name. The answer is given when all of
//! that is durable, and if any of it is not, the whole is to be sent again: rows have ids, samples their series and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;

use super::landing::Rows;
use super::standing::Target;
use super::{
    Receipt, SMALL_BODY, Turn, answered, decode, expectations, land, refuse_unknown_versions,
};
use crate::domain::ids::{ModelId, ProjectId};
use crate::domain::telemetry::SampleRow;
use crate::domain::window::Grain;
use crate::formats::otlp::{self, Batch, Encoding, Signal, Sorted, Telling, Unused, UnusedCounts};
use crate::services::{Error, Services};
use crate::storage::intake::BatchKind;
use crate::storage::{models, partitions, retention, telemetry};

/// How far back and ahead samples may lie; days need partitions.
const OLDEST_SAMPLE: TimeDelta = TimeDelta::days(31);
const NEWEST_SAMPLE: TimeDelta = TimeDelta::days(1);
/// How batches of OpenTelemetry are marked.
const FORMAT: &str = "otlp";
/// How many refusals the answer tells of.
const TOLD: usize = 3;

/// An export request, unpacked.
#[derive(Debug, Clone)]
pub struct Export {
    pub project_id: ProjectId,
    /// The project's generation, if the request has asked for it.
    pub generation: Option<i64>,
    pub signal: Signal,
    pub encoding: Encoding,
    pub body: bytes::Bytes,
}

/// What became of an export request.
#[derive(Debug, Default)]
pub struct Exported {
    /// Log records, spans or points.
    pub received: u64,
    /// Those that were refused, and will be again.
    pub refused: u64,
    pub receipts: Vec<(BatchKind, Receipt)>,
    /// What the sender should know; empty when all is well.
    pub told: String,
}

/// Takes in an export request.
///
/// # Errors
/// Invalid for a body that cannot be read at all, unavailable when it is not durable or nobody knows.
pub async fn otlp(services: &Services, export: Export) -> Result<Exported, Error> {
    let _under_way = services.intake.enter(export.project_id)?;
    let now = services.clock.now();
    let limits = services.intake.limits;
    let light = export.body.len() <= SMALL_BODY;
    let turn = services.intake.turn_to_decode(light).await?;
    let (signal, encoding, body) = (export.signal, export.encoding, export.body.clone());
    let (sorted, turn) = decode(turn, move || otlp::sort(signal, encoding, &body, &limits)).await?;
    let (targets, missing) = targets(services, &export, &sorted, now).await?;
    let mut exported = Exported {
        received: sorted.received,
        ..Exported::default()
    };
    let mut unused = sorted.unused.clone();
    for (name, rows) in &missing {
        unused.add(Unused::UnknownModel, name, *rows);
    }
    let refused = missing.values().sum::<u64>() + count(&sorted, &[Unused::Malformed]);
    let ((sorted, batches), turn) = batches(&export, (sorted, turn), &targets, now, limits).await?;
    let landings = batches
        .into_iter()
        .zip(&targets)
        .filter_map(|(batch, target)| {
            let target = target.clone()?;
            Some(land_batch(services, target, (batch?, turn.clone()), now))
        });
    let landings = try_join_all(landings);
    drop(turn);
    exported.receipts = landings.await?;
    let tellings = sorted.samples;
    let storing = store_telemetry(services, &export, tellings, &mut unused, now);
    answered(&services.intake.pool, storing).await??;
    exported.refused = refused
        + exported
            .receipts
            .iter()
            .map(|(_, r)| r.rejected)
            .sum::<u64>();
    exported.told = told(&exported, &missing, &unused);
    Ok(exported)
}

fn count(sorted: &Sorted, reasons: &[Unused]) -> u64 {
    let counts = sorted.unused.0.iter();
    let counts = counts.filter(|((reason, _), _)| reasons.contains(reason));
    counts.map(|(_, count)| count).sum()
}

type Missing = BTreeMap<String, u64>;

/// The models of the batches; those that are unknown with how many rows they were sent.
async fn targets(
    services: &Services,
    export: &Export,
    sorted: &Sorted,
    now: DateTime<Utc>,
) -> Result<(Vec<Option<Arc<Target>>>, Missing), Error> {
    let mut targets = Vec::with_capacity(sorted.destinations.len());
    let mut missing = Missing::new();
    for (place, destination) in sorted.destinations.iter().enumerate() {
        let model = (export.project_id, destination.model.as_str());
        let standing = &services.intake.standing;
        let looking_up = standing.target(model, export.generation, now);
        match answered(&services.intake.pool, looking_up).await? {
            Ok(target) => targets.push(Some(target)),
            Err(Error::NotFound { .. } | Error::Conflict(_) | Error::Invalid { .. }) => {
                *missing.entry(destination.model.clone()).or_default() += sorted.rows_of(place);
                targets.push(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((targets, missing))
}

async fn batches(
    export: &Export,
    (sorted, turn): (Sorted, Option<Turn>),
    targets: &[Option<Arc<Target>>],
    now: DateTime<Utc>,
    limits: crate::formats::Limits,
) -> Result<((Sorted, Vec<Option<Batch>>), Option<Turn>), Error> {
    if targets.iter().all(Option::is_none) {
        return Ok(((sorted, Vec::new()), turn));
    }
    let (signal, encoding, body) = (export.signal, export.encoding, export.body.clone());
    let targets: Vec<_> = targets.to_vec();
    decode(turn, move || {
        let expect: Vec<_> = (targets.iter())
            .map(|target| {
                let target = target.as_ref()?;
                let version = target.champion.as_deref();
                Some(expectations(
                    target.task(),
                    version,
                    (&target.columns, limits),
                    now,
                ))
            })
            .collect();
        let batches = otlp::decode(signal, encoding, &body, &sorted, &expect)?;
        Ok((sorted, batches))
    })
    .await
}

async fn land_batch(
    services: &Services,
    target: Arc<Target>,
    (batch, turn): (Batch, Option<Turn>),
    now: DateTime<Utc>,
) -> Result<(BatchKind, Receipt), Error> {
    let model = &target.model;
    match batch {
        Batch::Predictions(mut decoded) => {
            let refusing = refuse_unknown_versions(services, &target, &mut decoded, now);
            answered(&services.intake.pool, refusing).await??;
            let kind = BatchKind::Predictions;
            let rows = (*decoded, turn);
            let receipt = land(
                services,
                model,
                (kind, FORMAT),
                rows,
                Rows::of_predictions,
                now,
            );
            Ok((kind, receipt.await?))
        }
        Batch::Labels(decoded) => {
            let kind = BatchKind::Labels;
            let rows = (decoded, turn);
            let receipt = land(services, model, (kind, FORMAT), rows, Rows::of_labels, now);
            Ok((kind, receipt.await?))
        }
    }
}

/// Stores samples of the models that are known, and counts what is not used.
async fn store_telemetry(
    services: &Services,
    export: &Export,
    tellings: Vec<Telling>,
    unused: &mut UnusedCounts,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if tellings.is_empty() && unused.0.is_empty() {
        return Ok(());
    }
    let mut conn = services.intake.pool.acquire().await?;
    let names: BTreeSet<String> = (tellings.iter())
        .flat_map(|telling| telling.models.iter().cloned())
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    let known = models::called(&mut conn, export.project_id, &names).await?;
    let known: BTreeMap<String, ModelId> = known.into_iter().collect();
    let times = now - OLDEST_SAMPLE..=now + NEWEST_SAMPLE;
    let mut samples: Vec<(ModelId, SampleRow)> = Vec::with_capacity(tellings.len());
    for Telling { models, sample } in tellings {
        let model = models.iter().find_map(|name| known.get(name));
        match model {
            Some(_) if !times.contains(&sample.at) => {
                unused.add(Unused::TimeOutOfBounds, sample.measure, 1);
            }
            Some(model_id) => samples.push((*model_id, SampleRow::of(&sample))),
            None => {
                let called = models.first().map_or("", String::as_str);
                unused.add(Unused::UnknownModel, called, 1);
            }
        }
    }
    let days: BTreeSet<_> = (samples.iter())
        .map(|(_, sample)| Grain::Day.window_at(sample.sampled_at))
        .collect();
    partitions::ensure_telemetry(&mut conn, days).await?;
    let mut tx = sqlx::Connection::begin(&mut *conn).await?;
    if !samples.is_empty() {
        // Waits for a day that is being closed, and is waited for by whoever closes one.
        let closed = retention::closed_before(&mut tx, export.project_id).await?;
        if let Some(closed) = closed {
            samples.retain(|(_, sample)| {
                let is_late = sample.sampled_at < closed;
                if is_late {
                    unused.add(Unused::PastRetention, &sample.measure, 1);
                }
                !is_late
            });
        }
        telemetry::insert(&mut tx, export.project_id, &samples).await?;
        crate::faults::crash_point("telemetry.inserted");
    }
    let unused: Vec<(&'static str, String, u64)> = (unused.0.iter())
        .map(|((reason, name), count)| (reason.as_str(), name.clone(), *count))
        .collect();
    if !unused.is_empty() {
        let signal = export.signal.as_str();
        telemetry::count_unused(&mut tx, export.project_id, signal, &unused, now).await?;
    }
    crate::faults::crash_point("telemetry.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("telemetry.after_commit");
    Ok(())
}

/// What the sender is told: why something was refused, or that nothing of it was of any use.
fn told(exported: &Exported, missing: &Missing, unused: &UnusedCounts) -> String {
    let mut causes: Vec<String> = Vec::new();
    for (model, rows) in missing {
        causes.push(format!(
            "{rows} for model {model:?}, which does not exist (`bellwether model add` registers one)"
        ));
    }
    for (_, receipt) in &exported.receipts {
        for reject in &receipt.rejects {
            causes.push(format!(
                "record {}, {}: {}",
                reject.line, reject.field, reject.cause
            ));
        }
    }
    let malformed = unused
        .0
        .iter()
        .filter(|((r, _), _)| *r == Unused::Malformed);
    causes.extend(malformed.map(|((_, name), count)| format!("{count} cannot be read: {name}")));
    if exported.refused > 0 {
        let more = causes.len().saturating_sub(TOLD);
        causes.truncate(TOLD);
        let more = if more > 0 {
            format!("; and {more} more causes")
        } else {
            String::new()
        };
        return format!(
            "{} of {} records were refused: {}{more}",
            exported.refused,
            exported.received,
            causes.join("; ")
        );
    }
    if exported.received > 0 && unused.total() >= exported.received {
        let first = unused.0.keys().next();
        let (reason, name) = first.map_or(("", ""), |(reason, name)| (reason.as_str(), name));
        return format!(
            "nothing of this was of use: {reason} {name:?}; GET /api/v1/telemetry/unused lists what is not used"
        );
    }
    String::new()
}
