//! Events of serving platforms. They are landed as they are, because whoever logs from the path of inference has
//! milliseconds; what they hold is read when they are settled ([`crate::services::settle`]).

use std::collections::BTreeMap;

use super::landing::{Arrival, Landed, Rows};
use super::standing::Target;
use super::{answered, check_addressed};
use crate::domain::batch::Rejects;
use crate::domain::ids::ProjectId;
use crate::domain::inference::{EventBatch, InferenceEvent};
use crate::formats::cloudevents::{Envelope, EventKind};
use crate::services::{Error, Services};
use crate::storage::intake::BatchKind;
use crate::storage::telemetry;

/// How batches of events are marked.
const FORMAT: &str = "cloudevents";
/// What the counts of what is not used call events.
const SIGNAL: &str = "events";

/// Events that came in.
#[derive(Debug, Clone)]
pub struct EventUpload {
    pub project_id: ProjectId,
    pub generation: Option<i64>,
    /// The model of all of them, whatever they say themselves.
    pub model: Option<String>,
    /// The version of all of them.
    pub version: Option<String>,
    pub events: Vec<Envelope>,
    /// Whether nobody has asked if who sends them is still who `generation` says.
    pub presumed: bool,
}

/// What became of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// So many are durable.
    Landed(u64),
    /// What was presumed does not hold, or nothing landed that would have shown it: ask, and try again.
    Unsure,
}

/// Takes in events.
///
/// # Errors
/// Not found when the models of all events are unknown, invalid when none is named: then nothing of the request was kept.
/// An event among others that is wrong costs itself alone, and is counted. Unavailable when it is not durable.
pub async fn events(services: &Services, upload: EventUpload) -> Result<Taken, Error> {
    let _under_way = services.intake.enter(upload.project_id)?;
    let now = services.clock.now();
    check_addressed("model", upload.model.as_deref())?;
    check_addressed("version", upload.version.as_deref())?;
    let mut by_model: BTreeMap<String, Vec<InferenceEvent>> = BTreeMap::new();
    let mut unused: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    let mut refusal = None;
    for Envelope { model, kind } in upload.events {
        match kind {
            EventKind::Other(name) => *unused.entry(("no_prediction", name)).or_default() += 1,
            EventKind::Damaged => *unused.entry(("malformed", String::new())).or_default() += 1,
            EventKind::Inference(mut event) => {
                let Some(model) = upload.model.clone().or(model) else {
                    *unused.entry(("unknown_model", String::new())).or_default() += 1;
                    refusal = Some(Error::invalid(
                        "the event names no model: send the extension inferenceservicename, or name it in the address with ?model=",
                    ));
                    continue;
                };
                event.content.version.clone_from(&upload.version);
                by_model.entry(model).or_default().push(event);
            }
        }
    }
    let mut arrivals = Vec::with_capacity(by_model.len());
    for (name, events) in by_model {
        let model = (upload.project_id, name.as_str());
        let standing = &services.intake.standing;
        if upload.presumed {
            let Some(target) = standing.known_target(model, upload.generation) else {
                return Ok(Taken::Unsure);
            };
            arrivals.push(arrival(&target, upload.generation, events, now)?);
            continue;
        }
        let looking_up = standing.target(model, upload.generation, now);
        let target = match answered(&services.intake.pool, looking_up).await? {
            Ok(target) => target,
            Err(error @ Error::NotFound { .. }) => {
                unused.insert(("unknown_model", name.clone()), events.len() as u64);
                refusal = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        arrivals.push(arrival(&target, None, events, now)?);
    }
    if upload.presumed && arrivals.is_empty() {
        return Ok(Taken::Unsure);
    }
    if let Some(refusal) = refusal.filter(|_| arrivals.is_empty()) {
        note(services, upload.project_id, unused, now).await?;
        return Err(refusal);
    }
    let mut landed = 0;
    for arrival in arrivals {
        let received = arrival.received;
        match services.intake.lander.land(arrival).await? {
            Landed::Outdated => return Ok(Taken::Unsure),
            as_batch => {
                as_batch.sure()?;
                landed += received;
            }
        }
    }
    note(services, upload.project_id, unused, now).await?;
    services.nudges.settle.notify_one();
    Ok(Taken::Landed(landed))
}

/// Events of a model as they land.
fn arrival(
    target: &Target,
    presumed: Option<i64>,
    events: Vec<InferenceEvent>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Arrival, Error> {
    Ok(Arrival {
        project_id: target.model.project_id,
        model_id: target.model.model_id,
        kind: BatchKind::Events,
        format: FORMAT,
        received: events.len() as u64,
        rows: Rows::of_events(EventBatch { events })?,
        rejects: Rejects::default(),
        received_at: now,
        presumed,
    })
}

/// Counts what is not used, by name.
async fn note(
    services: &Services,
    project_id: ProjectId,
    unused: BTreeMap<(&'static str, String), u64>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(), Error> {
    if unused.is_empty() {
        return Ok(());
    }
    let unused: Vec<(&'static str, String, u64)> = (unused.into_iter())
        .map(|((reason, name), count)| (reason, name, count))
        .collect();
    let noting = async {
        let mut conn = services.intake.pool.acquire().await?;
        telemetry::count_unused(&mut conn, project_id, SIGNAL, &unused, now).await?;
        Ok::<_, Error>(())
    };
    answered(&services.intake.pool, noting).await?
}
