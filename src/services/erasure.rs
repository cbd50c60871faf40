//! Erasing predictions by their ids, everywhere: rows, keys, outcomes, labels, what has landed, samples, what was
//! written about them, and the archive.
//!
//! What was counted with the rows is counted again without them where the other rows are there. Where those are gone,
//! counts stay as they are, and a value that only the erased rows had loses its name. Of the ids, a keyed hash is
//! kept: by it, what is sent again, or comes back from an older archive, is refused; and the audit names it.
//!
//! The database is done in one transaction, the archive after it. When the archive fails, the same command again goes
//! on with it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde_json::json;
use sha2::Sha256;
use sqlx::PgConnection;

use super::archiving::{self, ErasedFromArchive};
use super::profiling::PREDICTION;
use super::{Bounds, Error, Services, ingest, recount, registry, settle};
use crate::domain::batch::{LabelBatch, PredictionBatch, RejectReason};
use crate::domain::columns::{Column, Value};
use crate::domain::erasure::{ERASED, Scrub};
use crate::domain::ids::{ModelId, ProjectId, VersionId};
use crate::domain::inference::{Content, EventBatch};
use crate::domain::retention::Kept;
use crate::domain::sample::RowSample;
use crate::stats::profile::FeatureProfile;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::erasures::{self, Form, OfBaseline, TOLD, Told};
use crate::storage::inferences;
use crate::storage::intake::{self, BatchKind, CountAddition};
use crate::storage::keys::{self, IdHasher, KeyFilters, PredictionKey};
use crate::storage::models::{self, Model};
use crate::storage::predictions::{self, ChunkKey, Read};
use crate::storage::{retention, runs};

/// The name of the key that hashes of erased ids are made with.
const KEY: &str = "erased_predictions";
/// How many ids one request may name.
pub const MOST_IDS: usize = 10_000;

/// Knows erased ids by their hashes.
pub(super) struct Hasher {
    mac: Hmac<Sha256>,
    model_id: ModelId,
}

impl Hasher {
    async fn load(conn: &mut PgConnection, model_id: ModelId) -> Result<Self, Error> {
        let fresh: [u8; 32] = rand::random();
        let key = runs::service_key(conn, KEY, &fresh).await?;
        let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(Error::internal)?;
        Ok(Self { mac, model_id })
    }

    fn hash(&self, id: &str) -> Vec<u8> {
        let mut mac = self.mac.clone();
        mac.update(self.model_id.0.as_bytes());
        mac.update(id.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// Which of these ids were erased.
    pub(super) async fn erased(
        &self,
        conn: &mut PgConnection,
        ids: &[&str],
    ) -> Result<HashSet<String>, Error> {
        let mut by_hash: HashMap<Vec<u8>, &str> = HashMap::with_capacity(ids.len());
        for id in ids {
            by_hash.entry(self.hash(id)).or_insert(id);
        }
        let hashes: Vec<Vec<u8>> = by_hash.keys().cloned().collect();
        let known = erasures::known(conn, self.model_id, &hashes).await?;
        Ok(known
            .iter()
            .filter_map(|hash| by_hash.get(hash).map(|id| (*id).to_owned()))
            .collect())
    }
}

/// Knows the erased ids of a model, if any were erased.
pub(super) async fn hasher_if_any(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> Result<Option<Hasher>, Error> {
    if !erasures::any(conn, model_id).await? {
        return Ok(None);
    }
    Hasher::load(conn, model_id).await.map(Some)
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Erasure {
    /// Different ids that were named.
    pub ids: u64,
    /// Predictions of all versions, in the database.
    pub predictions: u64,
    pub outcomes: u64,
    pub labels: u64,
    /// Rows that had landed and were not settled yet.
    pub landed_rows: u64,
    /// Batches that could not be read, and were dropped because they might have held one.
    pub damaged_batches: u64,
    /// Base windows that were counted again.
    pub windows: u64,
    /// Rows taken out of the samples of baselines.
    pub sample_rows: u64,
    /// Texts and documents in which a value lost its name.
    pub texts: u64,
    /// Baselines of which something that detectors or estimates keep named a value; fit these again.
    pub references_dropped: u64,
    pub archive: ErasedFromArchive,
}

impl Erasure {
    /// Whether there was anything to erase.
    fn found_any(&self) -> bool {
        *self
            != Self {
                ids: self.ids,
                ..Self::default()
            }
    }
}

/// Which predictions, and why.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    pub project_id: ProjectId,
    pub model: &'a str,
    pub ids: &'a BTreeSet<String>,
    /// For the audit. Names nobody.
    pub reason: &'a str,
}

/// Erases predictions. May be done twice.
///
/// # Errors
/// Invalid without ids, with too many, or without a reason; not found for an unknown model; unavailable when the
/// archive does not answer, or others move raw rows at the moment.
pub async fn erase(services: &Services, order: Order<'_>, actor: &str) -> Result<Erasure, Error> {
    if order.ids.is_empty() || order.ids.len() > MOST_IDS {
        let cause = format!("must name 1 to {MOST_IDS} predictions");
        return Err(Error::invalid_field("prediction_ids", cause));
    }
    if order.reason.trim().is_empty() {
        return Err(Error::invalid_field(
            "reason",
            "must say why, for the audit",
        ));
    }
    let erased = archiving::in_turn(services, erase_alone(services, &order, actor)).await?;
    services.nudges.evaluate.notify_waiters();
    Ok(erased)
}

async fn erase_alone(
    services: &Services,
    order: &Order<'_>,
    actor: &str,
) -> Result<Erasure, Error> {
    let now = services.clock.now();
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, order.project_id, order.model).await?;
    drop(conn);
    let archive = services.custody.archive.as_ref();
    let archived = match archive {
        Some(archive) => archiving::find(archive, &model, order.ids).await?,
        None => PredictionBatch::default(),
    };
    crate::faults::crash_point("erasure.looked_up");
    let mut tx = services.pool.begin().await?;
    keys::hold(&mut tx, model.model_id).await?;
    let model = registry::lock_model(&mut tx, model.model_id).await?;
    let mut work = Work {
        filters: &services.key_filters,
        model: &model,
        ids: order.ids,
        bounds: services.bounds,
        now,
        erased: Erasure {
            ids: order.ids.len() as u64,
            ..Erasure::default()
        },
        rebuilt: PredictionBatch::default(),
        counted: archived,
    };
    work.erase(&mut tx).await?;
    let mut erased = work.erased;
    let hasher = Hasher::load(&mut tx, model.model_id).await?;
    let hashes: Vec<Vec<u8>> = order.ids.iter().map(|id| hasher.hash(id)).collect();
    let of = (model.project_id, model.model_id);
    let added = erasures::add(&mut tx, of, &hashes, archive.is_some(), now).await?;
    let named: Vec<String> = hashes.iter().map(|hash| archiving::hex(hash)).collect();
    // An order that is given again, because an answer was lost or the archive is still to be done, is no other erasure.
    if added > 0 || erased.found_any() {
        let detail = json!({ "reason": order.reason, "erased": erased, "id_hashes": named });
        record(&mut tx, &model, ("predictions.erased", actor), detail, now).await?;
    }
    crate::faults::crash_point("erasure.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("erasure.after_commit");

    if let Some(archive) = archive {
        erased.archive = archiving::erase(archive, &model, order.ids, now).await?;
        crate::faults::crash_point("erasure.archive_done");
        let mut tx = services.pool.begin().await?;
        let done = erasures::note_archive_done(&mut tx, model.model_id, &hashes).await?;
        if done > 0 || erased.archive != ErasedFromArchive::default() {
            let detail =
                json!({ "reason": order.reason, "erased": erased.archive, "id_hashes": named });
            let of = ("archive.erased", actor);
            record(&mut tx, &model, of, detail, now).await?;
        }
        tx.commit().await?;
        crate::faults::crash_point("erasure.archive_noted");
    }
    Ok(erased)
}

async fn record(
    conn: &mut PgConnection,
    model: &Model,
    (action, actor): (&str, &str),
    detail: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let event = AuditEvent {
        project_id: Some(model.project_id),
        at: now,
        actor,
        action,
        object_kind: "model",
        object_id: &model.name,
        detail,
    };
    Ok(audit::record(conn, &event).await?)
}

/// A value of a feature.
type Named = (String, String);

/// What happens in the database, in one transaction and under the model's lock.
struct Work<'a> {
    filters: &'a KeyFilters,
    model: &'a Model,
    ids: &'a BTreeSet<String>,
    bounds: Bounds,
    now: DateTime<Utc>,
    erased: Erasure,
    /// Erased rows of windows that are counted again.
    rebuilt: PredictionBatch,
    /// Erased rows of windows whose counts stay.
    counted: PredictionBatch,
}

/// What is taken out of a base window: predictions, those with an error, labels.
type Losses = BTreeMap<(VersionId, DateTime<Utc>), (i64, i64, i64)>;

impl Work<'_> {
    async fn erase(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let losses = self.erase_rows(conn).await?;
        crate::faults::crash_point("erasure.rows_taken_out");
        let ids: Vec<String> = self.ids.iter().cloned().collect();
        self.erased.labels = erasures::delete_labels(conn, self.model.model_id, &ids).await?;
        self.erase_landed(conn).await?;
        self.erase_halves(conn).await?;
        self.count_again(conn, losses).await?;
        self.erase_values(conn).await
    }

    /// Takes the rows out of their chunks; the others move up, and their keys with them.
    async fn erase_rows(&mut self, conn: &mut PgConnection) -> Result<Losses, Error> {
        let hasher = IdHasher::new(self.model.model_id);
        let hashes: Vec<i64> = self.ids.iter().map(|id| hasher.hash(id)).collect();
        let keys = keys::find(conn, self.filters, self.model.model_id, hashes).await?;
        let versions = models::version_numbers(conn, self.model.model_id).await?;
        let chunks: BTreeSet<ChunkKey> = keys.iter().map(|key| key.chunk).collect();
        let mut losses = Losses::new();
        for key in chunks {
            let Some((version, version_id, _)) = versions
                .iter()
                .find(|(_, _, number)| *number == key.version_number)
            else {
                continue;
            };
            let day = predictions::day_of_chunk(key);
            let chunk = predictions::chunk(conn, *version_id, day, key.chunk, Read::All).await?;
            let batch = archiving::rows::of_chunk(chunk, version);
            let before: Vec<String> = batch.prediction_ids.iter().map(str::to_owned).collect();
            let (stay, gone) = archiving::rows::without(batch, self.ids);
            if gone.is_empty() {
                continue;
            }
            let place = (*version_id, day, key);
            replace_chunk(conn, self.filters, self.model, place, (&before, &stay)).await?;
            self.note_losses(conn, *version_id, gone, &mut losses)
                .await?;
        }
        Ok(losses)
    }

    async fn note_losses(
        &mut self,
        conn: &mut PgConnection,
        version_id: VersionId,
        gone: PredictionBatch,
        losses: &mut Losses,
    ) -> Result<(), Error> {
        let ids: Vec<String> = gone.prediction_ids.iter().map(str::to_owned).collect();
        let joined = erasures::delete_outcomes(conn, version_id, &gone.predicted_at, &ids).await?;
        self.erased.predictions += gone.len() as u64;
        self.erased.outcomes += joined.len() as u64;
        let start = |at: DateTime<Utc>| self.model.base_window.window_at(at).start;
        for (row, at) in gone.predicted_at.iter().enumerate() {
            let loss = losses.entry((version_id, start(*at))).or_default();
            loss.0 += 1;
            loss.1 += i64::from(gone.errors.get(row).is_some());
        }
        for at in joined {
            losses.entry((version_id, start(at))).or_default().2 += 1;
        }
        let marks = retention::marks(conn, self.model.project_id).await?;
        let (mut rebuilt, mut counted) = (BTreeSet::new(), BTreeSet::new());
        for (id, at) in ids.iter().zip(&gone.predicted_at) {
            let is_gone = marks.reaches_gone(Kept::Raw, start(*at));
            (if is_gone { &mut counted } else { &mut rebuilt }).insert(id.clone());
        }
        self.rebuilt
            .append(&archiving::rows::without(gone.clone(), &rebuilt).1);
        self.counted
            .append(&archiving::rows::without(gone, &counted).1);
        Ok(())
    }

    /// Forgets the halves of inferences that wait for the other one, and that a pair was joined.
    async fn erase_halves(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let names = Names::of(self.ids);
        for half in inferences::all(conn, self.model.model_id).await? {
            let is_theirs = match half.body.as_deref().map(ingest::decode_body::<Content>) {
                None => names.0.contains(half.pair.as_str()),
                Some(Ok(content)) => names.are_in(&half.pair, &content),
                // Nobody can say whether it holds one.
                Some(Err(_)) => true,
            };
            if is_theirs {
                inferences::remove(conn, self.model.model_id, &half.pair, half.half).await?;
                self.erased.landed_rows += u64::from(half.body.is_some());
            }
        }
        Ok(())
    }

    async fn erase_landed(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let names = Names::of(self.ids);
        for landed in erasures::bodies(conn, self.model.model_id).await? {
            let stays = |id: &str| !self.ids.contains(id);
            let rest = match landed.kind {
                BatchKind::Predictions => {
                    ingest::decode_body::<PredictionBatch>(&landed.body).map(|batch| {
                        let before = batch.len();
                        let (stay, gone) = archiving::rows::without(batch, self.ids);
                        self.rebuilt.append(&gone);
                        (
                            before - stay.len(),
                            ingest::encode_body(&stay),
                            stay.is_empty(),
                        )
                    })
                }
                BatchKind::Labels => {
                    ingest::decode_body::<LabelBatch>(&landed.body).map(|mut batch| {
                        let before = batch.len();
                        batch.retain(stays);
                        (
                            before - batch.len(),
                            ingest::encode_body(&batch),
                            batch.is_empty(),
                        )
                    })
                }
                BatchKind::Events => {
                    ingest::decode_body::<EventBatch>(&landed.body).map(|mut batch| {
                        let before = batch.events.len();
                        batch
                            .events
                            .retain(|event| !names.are_in(&event.pair, &event.content));
                        (
                            before - batch.events.len(),
                            ingest::encode_body(&batch),
                            batch.events.is_empty(),
                        )
                    })
                }
            };
            let batch_id = landed.batch_id;
            match rest {
                Ok((0, ..)) => {}
                Ok((lost, body, is_empty)) => {
                    let body = if is_empty { None } else { Some(body?) };
                    let lost_rows = i64::try_from(lost).unwrap_or(i64::MAX);
                    erasures::replace_body(conn, batch_id, body.as_deref(), lost_rows).await?;
                    self.erased.landed_rows += lost as u64;
                    let addition = CountAddition {
                        project_id: self.model.project_id,
                        model_id: self.model.model_id,
                        kind: landed.kind,
                        outcome: "rejected",
                        reason: RejectReason::Erased.as_str(),
                        rows: lost as u64,
                    };
                    intake::add_counts(conn, &[addition]).await?;
                }
                // Nobody can say whether it holds one.
                Err(_) => {
                    erasures::replace_body(conn, batch_id, None, 0).await?;
                    self.erased.damaged_batches += 1;
                }
            }
        }
        Ok(())
    }

    async fn count_again(&mut self, conn: &mut PgConnection, losses: Losses) -> Result<(), Error> {
        let marks = retention::marks(conn, self.model.project_id).await?;
        for (window, loss) in losses {
            if marks.reaches_gone(Kept::Raw, window.1) {
                continue;
            }
            recount::count_window_again(conn, self.model, window, self.bounds).await?;
            erasures::subtract(conn, window, loss, self.now).await?;
            self.erased.windows += 1;
        }
        Ok(())
    }

    /// Takes the names of values out that nobody else has.
    async fn erase_values(&mut self, conn: &mut PgConnection) -> Result<(), Error> {
        let lost = self.identifying(conn).await?;
        let values: BTreeSet<String> = lost.iter().map(|(_, value)| value.clone()).collect();
        self.rename_categories(conn, &lost).await?;
        self.erase_samples(conn, &lost).await?;
        let segments = self.identifying_segments(conn).await?;
        let model_id = self.model.model_id;
        erasures::delete_segments(conn, model_id, &segments).await?;
        let bytes: Vec<Vec<u8>> = values
            .iter()
            .map(|value| value.clone().into_bytes())
            .collect();
        self.erased.references_dropped =
            erasures::delete_references_naming(conn, model_id, &bytes).await?;
        let all = values
            .into_iter()
            .chain(segments)
            .chain(self.ids.iter().cloned());
        let scrub = Scrub::of(all);
        for told in TOLD {
            self.erased.texts += self.scrub(conn, *told, &scrub).await?;
        }
        Ok(())
    }

    /// The texts of erased rows that no other row has, by feature: neither one that is counted, nor one of a file that
    /// a baseline was fitted on.
    async fn identifying(&self, conn: &mut PgConnection) -> Result<BTreeSet<Named>, Error> {
        let mut rows_of: BTreeMap<Named, u64> = BTreeMap::new();
        for (batch, still_counted) in [(&self.rebuilt, 0), (&self.counted, 1)] {
            for column in &batch.features {
                for value in column.iter() {
                    if let Value::Text(text) = value {
                        let named = (column.name.clone(), text.into_owned());
                        *rows_of.entry(named).or_default() += still_counted;
                    }
                }
            }
        }
        let features: BTreeSet<String> =
            rows_of.keys().map(|(feature, _)| feature.clone()).collect();
        let features: Vec<String> = features.into_iter().collect();
        let mut known: BTreeMap<&Named, u64> = BTreeMap::new();
        for placed in erasures::profiles_of(conn, self.model.model_id, &features).await? {
            let of_erased = placed.of_baseline == Some(OfBaseline::Window);
            let Ok(profile) = FeatureProfile::decode(&placed.profile) else {
                continue;
            };
            if of_erased || !placed.overall {
                continue;
            }
            for named in rows_of
                .keys()
                .filter(|(feature, _)| *feature == placed.feature)
            {
                *known.entry(named).or_default() += profile.category(&named.1).unwrap_or(0);
            }
        }
        let is_alone = |named: &Named, own: u64| known.get(named).copied().unwrap_or(0) <= own;
        Ok(rows_of
            .iter()
            .filter(|(named, own)| !named.1.is_empty() && is_alone(named, **own))
            .map(|(named, _)| named.clone())
            .collect())
    }

    /// The values of declared segments that no other row has.
    async fn identifying_segments(&self, conn: &mut PgConnection) -> Result<Vec<String>, Error> {
        let mut rows_of: BTreeMap<String, i64> = BTreeMap::new();
        for (batch, still_counted) in [(&self.rebuilt, 0), (&self.counted, 1)] {
            let sent = batch.segments.iter().flatten();
            let own = sent.filter(|(name, _)| self.model.segments.contains(name));
            for (_, value) in own {
                *rows_of.entry(value.clone()).or_default() += still_counted;
            }
            let features = batch.features.iter();
            for column in features.filter(|column| self.model.segments.contains(&column.name)) {
                for value in column.iter() {
                    if let Value::Text(text) = value {
                        *rows_of.entry(text.into_owned()).or_default() += still_counted;
                    }
                }
            }
        }
        rows_of.remove("");
        let values: Vec<String> = rows_of.keys().cloned().collect();
        let of_model = self.model.model_id;
        for (value, rows) in erasures::segment_rows(conn, of_model, PREDICTION, &values).await? {
            if rows_of.get(&value).is_some_and(|own| rows > *own) {
                rows_of.remove(&value);
            }
        }
        Ok(rows_of.into_keys().collect())
    }

    async fn rename_categories(
        &self,
        conn: &mut PgConnection,
        lost: &BTreeSet<Named>,
    ) -> Result<(), Error> {
        let features: BTreeSet<String> = lost.iter().map(|(feature, _)| feature.clone()).collect();
        let features: Vec<String> = features.into_iter().collect();
        for placed in erasures::profiles_of(conn, self.model.model_id, &features).await? {
            let Ok(mut profile) = FeatureProfile::decode(&placed.profile) else {
                continue;
            };
            let own = lost
                .iter()
                .filter(|(feature, _)| *feature == placed.feature);
            let renamed = own.fold(false, |renamed, (_, value)| {
                profile.rename_category(value, ERASED) || renamed
            });
            if renamed {
                erasures::replace_profile(conn, &placed, &profile.encode()).await?;
            }
        }
        Ok(())
    }

    /// Takes rows out of samples that hold what an erased row held, or a value that only it had.
    async fn erase_samples(
        &mut self,
        conn: &mut PgConnection,
        lost: &BTreeSet<Named>,
    ) -> Result<(), Error> {
        for (baseline_id, sample) in erasures::samples(conn, self.model.model_id).await? {
            let Ok(mut sample) = RowSample::decode(&sample) else {
                continue;
            };
            let before = sample.rows();
            let keep: Vec<bool> = (0..before)
                .map(|row| {
                    let holds = |column: &Column| match column.get(row) {
                        Value::Text(text) => {
                            lost.contains(&(column.name.clone(), text.into_owned()))
                        }
                        _ => false,
                    };
                    let same = |batch| is_same_row(&sample, row, batch);
                    !(sample.columns.iter().any(holds)
                        || same(&self.rebuilt)
                        || same(&self.counted))
                })
                .collect();
            if keep.iter().all(|keep| *keep) {
                continue;
            }
            sample.retain(&keep);
            self.erased.sample_rows += (before - sample.rows()) as u64;
            let bytes = sample.encode().map_err(Error::internal)?;
            erasures::replace_sample(conn, baseline_id, &bytes).await?;
        }
        Ok(())
    }

    async fn scrub(
        &self,
        conn: &mut PgConnection,
        told: Told,
        scrub: &Scrub,
    ) -> Result<u64, Error> {
        if scrub.is_empty() {
            return Ok(0);
        }
        let needles: Vec<String> = scrub
            .needles()
            .map(|needle| match told.form {
                Form::Text => needle.to_owned(),
                // As it is written inside a document.
                Form::Document | Form::Texts => {
                    let quoted = serde_json::Value::from(needle).to_string();
                    quoted[1..quoted.len() - 1].to_owned()
                }
            })
            .collect();
        let mut scrubbed = 0;
        for found in erasures::find(conn, told, self.model.project_id, &needles).await? {
            let text = match told.form {
                Form::Text => scrub.text(&found.text),
                Form::Document => {
                    let mut document: serde_json::Value =
                        serde_json::from_str(&found.text).map_err(Error::internal)?;
                    scrub.document(&mut document).then(|| document.to_string())
                }
                Form::Texts => {
                    let mut texts: Vec<String> =
                        serde_json::from_str(&found.text).map_err(Error::internal)?;
                    let before = texts.clone();
                    texts.retain(|text| !scrub.is_value(text));
                    for text in &mut texts {
                        *text = scrub.text(text).unwrap_or_else(|| text.clone());
                    }
                    (texts != before).then(|| json!(texts).to_string())
                }
            };
            if let Some(text) = text {
                erasures::replace(conn, told, &found, &text).await?;
                scrubbed += 1;
            }
        }
        Ok(scrubbed)
    }
}

/// What serving platforms call the predictions: rows of one inference have its name with the row's number behind it.
struct Names<'a>(BTreeSet<&'a str>);

impl<'a> Names<'a> {
    fn of(ids: &'a BTreeSet<String>) -> Self {
        let inferences = ids.iter().filter_map(|id| id.rsplit_once('#'));
        let inferences = inferences.map(|(inference, _)| inference);
        Self(ids.iter().map(String::as_str).chain(inferences).collect())
    }

    /// Whether an event is about one of them: by its name, or because it says the name. Who asks for erasure would rather
    /// lose an event too many.
    fn are_in(&self, pair: &str, content: &Content) -> bool {
        let says = |name: &&str| {
            !name.is_empty()
                && (content.data.windows(name.len())).any(|part| part == name.as_bytes())
        };
        self.0.contains(pair) || self.0.iter().any(says)
    }
}

/// Stores what stays of a chunk under its number, with keys that say where each row is now.
async fn replace_chunk(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model: &Model,
    (version_id, day, key): (VersionId, DateTime<Utc>, ChunkKey),
    (before, stay): (&[String], &PredictionBatch),
) -> Result<(), Error> {
    let hasher = IdHasher::new(model.model_id);
    let hashes: Vec<i64> = before.iter().map(|id| hasher.hash(id)).collect();
    let mut keys = keys::find(conn, filters, model.model_id, hashes).await?;
    keys.retain(|known| known.chunk == key);
    keys::remove(conn, filters, model.model_id, &keys).await?;
    predictions::remove_chunk(conn, version_id, day, key.chunk).await?;
    if stay.is_empty() {
        return Ok(());
    }
    let content_of: HashMap<&str, Option<i32>> = keys
        .iter()
        .filter_map(|key| {
            let id = before.get(usize::try_from(key.position).ok()?)?;
            Some((id.as_str(), key.content_hash))
        })
        .collect();
    let mut moved: Vec<PredictionKey> = (0..)
        .zip(stay.prediction_ids.iter())
        .map(|(position, id)| PredictionKey {
            id_hash: hasher.hash(id),
            content_hash: content_of.get(id).copied().flatten(),
            chunk: key,
            position,
        })
        .collect();
    moved.sort_unstable_by_key(|key| key.id_hash);
    keys::insert(conn, model.model_id, &moved).await?;
    let chunk = settle::of_batch(stay, (version_id, day, key.chunk));
    predictions::insert_chunks(conn, model.project_id, model.model_id, &[chunk]).await?;
    Ok(())
}

/// Whether a row of a sample holds in every column what a row of the batch holds.
fn is_same_row(sample: &RowSample, row: usize, batch: &PredictionBatch) -> bool {
    let features: Vec<(&Column, &Column)> = sample
        .columns
        .iter()
        .filter_map(|column| Some((column, batch.feature(&column.name)?)))
        .collect();
    !features.is_empty()
        && (0..batch.len()).any(|erased| {
            (features.iter()).all(|(sampled, sent)| sampled.get(row) == sent.get(erased))
        })
}
