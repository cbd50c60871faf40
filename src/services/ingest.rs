//! Taking in predictions and labels: decode, refuse row by row, land. The answer is given after the commit,
//! so what is acknowledged is durable. How batches of many requests land together is in [`super::landing`];
//! how long the database may take, in [`super::patience`].

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use super::landing::Lander;
use super::patience::answered;
use super::{Error, Services, registry};
use crate::domain::batch::{Decoded, LabelBatch, PredictionBatch, Reject, RejectReason};
use crate::domain::ids::{BatchId, ProjectId};
use crate::formats::{self, Expectations, Format, FormatError, Limits};
use crate::storage::intake::{BatchKind, Landing};
use crate::storage::models::{self, Model};

/// How far back event times may lie.
const OLDEST_EVENT: TimeDelta = TimeDelta::days(2 * 366);
/// How far ahead event times may lie: senders' clocks differ, and a replay sends a step ahead.
const NEWEST_EVENT: TimeDelta = TimeDelta::days(1);

/// The answer to a sender: what was kept is durable, what was refused is listed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Receipt {
    /// Ask `/api/v1/batches/{batch_id}` for how many rows were duplicates, once it is settled.
    pub batch_id: BatchId,
    pub received: u64,
    /// Rows that are durable now. Those whose id is known already will count as duplicates.
    pub kept: u64,
    pub rejected: u64,
    pub rejected_by_reason: BTreeMap<&'static str, u64>,
    /// The first refused rows.
    pub rejects: Vec<Reject>,
}

/// How many refused rows an answer lists.
const LISTED_REJECTS: usize = 20;

/// Bytes that came in for a model.
#[derive(Debug, Clone)]
pub struct Upload<'a> {
    pub project_id: ProjectId,
    pub model: &'a str,
    pub format: Format,
    pub body: bytes::Bytes,
    /// The version of rows that do not name one; the champion when absent.
    pub version: Option<String>,
}

/// Takes in predictions.
///
/// # Errors
/// Not found for an unknown model, invalid for a body that cannot be read at all, unavailable when the
/// database is out of reach or the queue is full.
pub async fn predictions(services: &Services, upload: Upload<'_>) -> Result<Receipt, Error> {
    let now = services.clock.now();
    let (model, default_version) =
        answered(&services.pool, addressed(services, &upload, now)).await??;
    let (format, body, task) = (upload.format, upload.body, model.task);
    let mut decoded = blocking(move || {
        formats::decode_predictions(
            format,
            &body,
            &expectations(task, default_version.as_deref(), now),
        )
    })
    .await?;
    let refusing = refuse_unknown_versions(services, &model, &mut decoded, now);
    answered(&services.pool, refusing).await??;
    land(
        services,
        &model,
        BatchKind::Predictions,
        format,
        decoded,
        PredictionBatch::is_empty,
        now,
    )
    .await
}

/// Takes in labels.
///
/// # Errors
/// As for [`predictions`].
pub async fn labels(services: &Services, upload: Upload<'_>) -> Result<Receipt, Error> {
    let now = services.clock.now();
    let (model, _) = answered(&services.pool, addressed(services, &upload, now)).await??;
    let (format, body, task) = (upload.format, upload.body, model.task);
    let decoded =
        blocking(move || formats::decode_labels(format, &body, &expectations(task, None, now)))
            .await?;
    land(
        services,
        &model,
        BatchKind::Labels,
        format,
        decoded,
        LabelBatch::is_empty,
        now,
    )
    .await
}

/// The model that is sent to, and the version of predictions that do not name one.
async fn addressed(
    services: &Services,
    upload: &Upload<'_>,
    now: DateTime<Utc>,
) -> Result<(Model, Option<String>), Error> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model_for_intake(&mut conn, upload.project_id, upload.model, now).await?;
    let version = match upload.version.clone() {
        Some(version) => Some(version),
        None => registry::champion(&mut conn, &model)
            .await?
            .map(|champion| champion.version),
    };
    Ok((model, version))
}

fn expectations(
    task: crate::domain::model::Task,
    version: Option<&str>,
    now: DateTime<Utc>,
) -> Expectations<'_> {
    Expectations {
        task,
        default_version: version,
        earliest: now - OLDEST_EVENT,
        latest: now + NEWEST_EVENT,
        received_at: now,
        limits: Limits::default(),
    }
}

async fn blocking<T: Send + 'static>(
    decode: impl FnOnce() -> Result<T, FormatError> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(decode)
        .await
        .map_err(Error::internal)?
        .map_err(|error| Error::invalid(error.to_string()))
}

/// Registers versions seen for the first time where the project allows it, else refuses their rows.
async fn refuse_unknown_versions(
    services: &Services,
    model: &Model,
    decoded: &mut Decoded<PredictionBatch>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut conn = services.pool.acquire().await?;
    let known: Vec<String> = models::versions(&mut conn, model.model_id)
        .await?
        .into_iter()
        .map(|v| v.name)
        .collect();
    let mut unknown: Vec<String> = decoded
        .batch
        .versions
        .iter()
        .filter(|v| !known.contains(v))
        .cloned()
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    if unknown.is_empty() {
        return Ok(());
    }
    if models::auto_registers(&mut conn, model.project_id).await? {
        drop(conn);
        for version in &unknown {
            registry::register_version(
                services,
                model,
                version,
                serde_json::json!({}),
                "intake",
                now,
            )
            .await?;
        }
        return Ok(());
    }
    let keep: Vec<bool> = decoded
        .batch
        .versions
        .iter()
        .map(|v| !unknown.contains(v))
        .collect();
    let causes: HashMap<&String, String> = unknown
        .iter()
        .map(|version| {
            let cause = format!(
                "version {version:?} of model {:?} is not registered; register it with \
                 `bellwether version add {} {version}`",
                model.name, model.name
            );
            (version, cause)
        })
        .collect();
    for (row, version) in decoded
        .batch
        .versions
        .iter()
        .enumerate()
        .filter(|(row, _)| !keep[*row])
    {
        decoded.rejects.push(Reject {
            line: decoded.lines[row],
            field: "version".to_owned(),
            reason: RejectReason::UnknownVersion,
            cause: causes[version].clone(),
        });
    }
    decoded.batch.retain(&keep);
    Ok(())
}

async fn land<B: Serialize + Send + 'static>(
    services: &Services,
    model: &Model,
    kind: BatchKind,
    format: Format,
    decoded: Decoded<B>,
    is_empty: fn(&B) -> bool,
    now: DateTime<Utc>,
) -> Result<Receipt, Error> {
    let Decoded {
        batch,
        rejects,
        received,
        ..
    } = decoded;
    let body = if is_empty(&batch) {
        None
    } else {
        let encoded = tokio::task::spawn_blocking(move || encode_body(&batch))
            .await
            .map_err(Error::internal)?;
        Some(encoded?)
    };
    let mut rejected_by_reason = BTreeMap::new();
    for reject in &rejects {
        *rejected_by_reason
            .entry(reject.reason.as_str())
            .or_insert(0) += 1;
    }
    let receipt = Receipt {
        batch_id: BatchId::new(now),
        received,
        kept: received - rejects.len() as u64,
        rejected: rejects.len() as u64,
        rejected_by_reason,
        rejects: rejects.iter().take(LISTED_REJECTS).cloned().collect(),
    };
    let landing = Landing {
        batch_id: receipt.batch_id,
        project_id: model.project_id,
        model_id: model.model_id,
        kind,
        format: format.as_str(),
        body,
        received,
        rejects,
        received_at: now,
    };
    services.lander.land(landing).await?;
    services.nudges.settle.notify_one();
    Ok(receipt)
}

/// Family and version of an encoded batch.
const BODY_HEADER: &[u8; 4] = b"BWB\x01";
const CHECKSUM_BYTES: usize = 4;

/// A batch as it is kept until it is settled: header, checksum, compressed rows.
fn encode_body<B: Serialize>(batch: &B) -> Result<Vec<u8>, Error> {
    let rows = postcard::to_allocvec(batch).map_err(Error::internal)?;
    let compressed = zstd::encode_all(rows.as_slice(), 1).map_err(Error::internal)?;
    let mut body = Vec::with_capacity(BODY_HEADER.len() + CHECKSUM_BYTES + compressed.len());
    body.extend_from_slice(BODY_HEADER);
    body.extend_from_slice(&crc32c::crc32c(&compressed).to_le_bytes());
    body.extend_from_slice(&compressed);
    Ok(body)
}

/// Why a landed batch cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("read a landed batch: it does not begin like one")]
    Header,
    #[error("read a landed batch: its checksum does not fit")]
    Checksum,
    #[error("decompress a landed batch")]
    Decompress(#[source] std::io::Error),
    #[error("decode a landed batch")]
    Decode(#[source] postcard::Error),
}

/// Reads a landed batch back.
///
/// # Errors
/// When the bytes are not what [`predictions`] or [`labels`] wrote.
pub fn decode_body<B: DeserializeOwned>(body: &[u8]) -> Result<B, BodyError> {
    let rest = body.strip_prefix(BODY_HEADER).ok_or(BodyError::Header)?;
    let (checksum, compressed) = rest
        .split_first_chunk::<CHECKSUM_BYTES>()
        .ok_or(BodyError::Header)?;
    if crc32c::crc32c(compressed) != u32::from_le_bytes(*checksum) {
        return Err(BodyError::Checksum);
    }
    let rows = zstd::decode_all(compressed).map_err(BodyError::Decompress)?;
    postcard::from_bytes(&rows).map_err(BodyError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::batch::LabelValue;

    fn batch() -> LabelBatch {
        LabelBatch {
            prediction_ids: vec!["a".into(), "b".into()],
            labels: vec![LabelValue::Number(1.5), LabelValue::Class("late".into())],
            observed_at: vec![DateTime::UNIX_EPOCH; 2],
        }
    }

    #[test]
    fn a_landed_batch_reads_back_as_it_was() {
        let body = encode_body(&batch()).expect("encodes");
        assert_eq!(decode_body::<LabelBatch>(&body).expect("decodes"), batch());
    }

    #[test]
    fn a_damaged_batch_is_an_error_wherever_the_damage_is() {
        let body = encode_body(&batch()).expect("encodes");
        for position in 0..body.len() {
            let mut damaged = body.clone();
            damaged[position] ^= 0x10;
            assert!(
                decode_body::<LabelBatch>(&damaged).is_err(),
                "byte {position}"
            );
        }
        assert!(decode_body::<LabelBatch>(&body[..6]).is_err());
    }
}
