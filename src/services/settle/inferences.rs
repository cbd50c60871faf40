//! Joins requests and responses that a serving platform logged one by one. A half whose other half is not there yet
//! waits, in the database; when it comes, both are read as predictions, which land like any others in the same
//! transaction and are settled after it. So what was joined is joined once, whatever dies when.
//!
//! A half that was joined is remembered, without its body, for as long as a half would wait: platforms and the
//! brokers between send events again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::batch::{Decoded, PredictionBatch, Reject, RejectReason, Rejects};
use crate::domain::definitions::ModelDef;
use crate::domain::ids::BatchId;
use crate::domain::inference::{Content, EventBatch, Half, Inference, Serving};
use crate::domain::mapping::ColumnMap;
use crate::formats::inference::{Served, decode_inferences};
use crate::formats::{FormatError, Limits};
use crate::services::{Error, ingest, registry};
use crate::storage::definitions;
use crate::storage::inferences::{self, HalfToKeep};
use crate::storage::intake::{self, BatchKind, CountAddition, Landing, Settled};
use crate::storage::models::{self, Model};

/// How batches of joined inferences are marked.
const FORMAT: &str = "inference";

type Key = (String, Half);
/// Halves that came, each with its body while it waits.
type Halves = BTreeMap<Key, Option<Vec<u8>>>;

/// Takes in the events of landed batches, and lands the predictions of what is joined by them.
pub(super) async fn settle(
    conn: &mut PgConnection,
    model: &Model,
    batches: Vec<(BatchId, EventBatch)>,
    now: DateTime<Utc>,
) -> Result<Vec<(BatchId, Settled)>, Error> {
    if batches.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: BTreeSet<String> = (batches.iter())
        .flat_map(|(_, batch)| batch.events.iter().map(|event| event.pair.clone()))
        .collect();
    let pairs: Vec<String> = pairs.into_iter().collect();
    let mut halves = Halves::new();
    let mut damaged = Vec::new();
    for kept in inferences::known(conn, model.model_id, &pairs).await? {
        halves.insert((kept.pair, kept.half), kept.body);
    }
    let mut settled = Vec::with_capacity(batches.len());
    let mut keep: BTreeMap<Key, HalfToKeep> = BTreeMap::new();
    let mut joined = Vec::new();
    for (batch_id, batch) in batches {
        let mut counts = Settled::default();
        for event in batch.events {
            let key = (event.pair, event.half);
            if halves.contains_key(&key) {
                counts.duplicate += 1;
                continue;
            }
            counts.accepted += 1;
            let received_at = DateTime::from_timestamp_micros(event.content.received_at);
            let body = ingest::encode_body(&event.content)?;
            let mut to_keep = HalfToKeep {
                pair: key.0.clone(),
                half: key.1,
                body: Some(body),
                received_at: received_at.unwrap_or(now),
            };
            let other = (key.0.clone(), other(key.1));
            if let Some(theirs) = take_waiting(&mut halves, &other, &mut damaged) {
                // The time of one that is there already stays what it was.
                let of_other = HalfToKeep {
                    pair: other.0.clone(),
                    half: other.1,
                    body: None,
                    received_at: now,
                };
                keep.entry(other).or_insert(of_other).body = None;
                to_keep.body = None;
                joined.push(inference(&key.0, key.1, event.content, theirs));
            }
            halves.insert(key.clone(), to_keep.body.clone());
            keep.insert(key, to_keep);
        }
        settled.push((batch_id, counts));
    }
    crate::faults::crash_point("inferences.joined");
    give_up(conn, model, &damaged).await?;
    let keep: Vec<HalfToKeep> = keep.into_values().collect();
    inferences::keep(conn, (model.project_id, model.model_id), &keep).await?;
    crate::faults::crash_point("inferences.halves_kept");
    land(conn, model, &joined, now).await?;
    crate::faults::crash_point("inferences.landed");
    Ok(settled)
}

fn other(half: Half) -> Half {
    match half {
        Half::Request => Half::Response,
        Half::Response => Half::Request,
    }
}

/// Takes a half that waits. One that is damaged is as if it had never come: it may be sent again.
fn take_waiting(halves: &mut Halves, key: &Key, damaged: &mut Vec<Key>) -> Option<Content> {
    let body = halves.get_mut(key)?.take()?;
    match ingest::decode_body(&body) {
        Ok(content) => Some(content),
        Err(error) => {
            tracing::error!(pair = key.0, half = key.1.as_str(), %error, "a waiting half is damaged; it is given up");
            halves.remove(key);
            damaged.push(key.clone());
            None
        }
    }
}

/// Forgets damaged halves, which are counted as expired.
async fn give_up(conn: &mut PgConnection, model: &Model, damaged: &[Key]) -> Result<(), Error> {
    if damaged.is_empty() {
        return Ok(());
    }
    for (pair, half) in damaged {
        inferences::remove(conn, model.model_id, pair, *half).await?;
    }
    let expired = CountAddition {
        project_id: model.project_id,
        model_id: model.model_id,
        kind: BatchKind::Events,
        outcome: "expired",
        reason: "damaged",
        rows: damaged.len() as u64,
    };
    intake::add_counts(conn, &[expired]).await?;
    Ok(())
}

fn inference(pair: &str, half: Half, mine: Content, theirs: Content) -> Inference {
    let (request, response) = match half {
        Half::Request => (mine, theirs),
        Half::Response => (theirs, mine),
    };
    Inference {
        pair: pair.to_owned(),
        request,
        response,
    }
}

async fn serving(conn: &mut PgConnection, model: &Model) -> Result<Serving, Error> {
    let stored = definitions::find(conn, model.project_id, "model", &model.name).await?;
    let defined = stored.and_then(|stored| serde_json::from_value::<ModelDef>(stored.body).ok());
    Ok(defined.and_then(|model| model.serving).unwrap_or_default())
}

/// Lands what was joined, as predictions.
async fn land(
    conn: &mut PgConnection,
    model: &Model,
    joined: &[Inference],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if joined.is_empty() {
        return Ok(());
    }
    let serving = serving(conn, model).await?;
    let champion = registry::champion(conn, model).await?;
    let version = champion.as_ref().map(|champion| champion.version.as_str());
    let served = Served {
        serving: &serving,
        task: model.task,
        positive_class: model.positive_class.as_deref(),
    };
    let expected = (&ColumnMap::default(), Limits::default());
    let expect = ingest::expectations(model.task, version, expected, now);
    // What is too much together is taken one by one, and what is too much alone is refused alone.
    let mut parts = vec![decode_inferences(joined, served, &expect)];
    if parts[0].is_err() {
        let alone = joined.chunks(1);
        parts = alone
            .map(|one| decode_inferences(one, served, &expect))
            .collect();
    }
    let mut landings = Vec::with_capacity(parts.len());
    for part in parts {
        let mut landing = Landing {
            batch_id: BatchId::new(now),
            project_id: model.project_id,
            model_id: model.model_id,
            kind: BatchKind::Predictions,
            format: FORMAT,
            body: None,
            request_rows: None,
            received: 1,
            rejects: Rejects::default(),
            received_at: now,
            presumed: None,
        };
        match part {
            Ok(mut decoded) => {
                refuse_unknown_versions(conn, model, &mut decoded, now).await?;
                landing.received = decoded.received;
                landing.rejects = decoded.rejects;
                if !decoded.batch.is_empty() {
                    landing.body = Some(ingest::encode_body(&decoded.batch)?);
                }
            }
            Err(error) => landing.rejects.push(too_large(&error)),
        }
        landings.push(landing);
    }
    intake::land(conn, &landings).await?;
    Ok(())
}

/// Registers versions seen for the first time where the project allows it, else refuses their rows.
async fn refuse_unknown_versions(
    conn: &mut PgConnection,
    model: &Model,
    decoded: &mut Decoded<PredictionBatch>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let known = models::versions(conn, model.model_id).await?;
    let unknown: Vec<String> = (decoded.batch.versions.texts())
        .filter(|version| !known.iter().any(|known| known.name == *version))
        .map(str::to_owned)
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut refused: BTreeMap<&str, String> = BTreeMap::new();
    let mut is_full = false;
    let auto_registers = models::auto_registers(conn, model.project_id).await?;
    for version in &unknown {
        let cause = if auto_registers {
            // Where there was no room for one, there is none for the next.
            let registered = if is_full {
                Err(registry::one_too_many(model, version))
            } else {
                let lineage = serde_json::json!({});
                registry::add_version(conn, model, version, lineage, "intake", now).await
            };
            match registered {
                Ok(_) => continue,
                Err(error @ (Error::Conflict(_) | Error::Invalid { .. })) => {
                    is_full |= matches!(error, Error::Conflict(_));
                    error.to_string()
                }
                Err(error) => return Err(error),
            }
        } else {
            format!(
                "version {version:?} of model {:?} is not registered; register it, or name another one \
                 in the address that the events are sent to, with ?version=",
                model.name
            )
        };
        refused.insert(version, cause);
    }
    decoded.refuse("version", RejectReason::UnknownVersion, |batch, row| {
        refused.get(batch.version(row)).cloned()
    });
    Ok(())
}

fn too_large(error: &FormatError) -> Reject {
    Reject {
        line: 1,
        field: String::new(),
        reason: RejectReason::TooLarge,
        cause: error.to_string(),
    }
}
