//! Settling landed batches, exactly once: one transaction makes ids known, stores rows, merges profiles,
//! joins labels and marks the batches settled. A crash at any line changes nothing or everything, because the
//! only thing that says a batch is settled is written in that same transaction.
//!
//! A model is settled by one worker at a time (its row is locked), so batches of a model cannot deadlock, know
//! an id twice or merge a profile twice; different models settle side by side. Batches that wait together are
//! settled together, as one pack: a thousand requests of one prediction each cost about what one request of a
//! thousand does.

mod admission;
mod chunks;
mod features;
mod inferences;
mod labels;
mod outcomes;
mod pack;
mod refusal;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::error::chain;
use super::profiling::{self, Groups, Merged, PREDICTION, Yardstick};
use super::segment_values::SegmentValues;
use super::{Error, Services, ingest, key_runs, overflow, recount, registry};
use crate::domain::batch::{LabelBatch, PredictionBatch, RejectReason};
use crate::domain::columns::{Column, TextColumn};
use crate::domain::ids::{BatchId, ModelId, VersionId};
use crate::domain::inference::EventBatch;
use crate::domain::window::Grain;
use crate::stats::profile::FeatureProfile;
use crate::stats::repeats::Repeats;
use crate::storage::intake::{self, BatchKind, CountAddition, Settled, Waiting};
use crate::storage::keys;
use crate::storage::models::{self, Model};
use crate::storage::overflow::OverflowKind;
use crate::storage::partitions;
use crate::storage::profiles::ProfileKey;
use crate::storage::windows::{self, WindowAddition, WindowKey};
use admission::{Foreseen, Stored, Versions};
use pack::Pack;
use refusal::Refusals;

pub(super) use chunks::of_batch;

/// How many rows one transaction settles, give or take a batch.
const ROWS: u32 = 20_000;
/// From how many bytes on a pack is large. One of [`ROWS`] rows with 30 features has some 12 MiB.
const LARGE_BYTES: usize = 20 << 20;
/// What a cell takes beside texts and vectors.
const CELL_BYTES: usize = 9;
/// How many bytes the bodies of a pack unfold to at most, unless one has more by itself.
const UNFOLDED_BYTES: usize = 32 << 20;
/// How many profiles are counted at a time; one takes one or two kilobytes.
const PROFILES: usize = 1 << 13;
/// How many base windows one statement adds to.
const WINDOWS: usize = 1 << 10;
/// How many packs one activation settles at most.
const PACKS: usize = 16;
/// After how many failures a batch is set aside, kept, for people to look at.
const ATTEMPTS: i32 = 5;

/// Which model was settled last, so that each has its turn: a model that lands more than is settled would otherwise be chosen
/// again and again, and the others' rows would not be counted.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<Option<ModelId>>>);

impl Turns {
    /// The next model that has something to settle.
    async fn next(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Option<ModelId>, Error> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = intake::due_model(conn, last, now).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(next)
    }
}

/// Settles due batches of one model, pack by pack. Returns whether there was anything to do.
///
/// # Errors
/// When the database is out of reach. A batch that cannot be settled for a reason of its own is tried again
/// later and then set aside; it holds up nothing else.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    services.intake.eased().await;
    let mut conn = services.pool.acquire().await?;
    let unsettled = intake::unsettled(&mut conn).await?;
    let is_a_pack = unsettled.rows() >= u64::from(ROWS);
    services.intake.note_backlog(unsettled);
    // On the replay clock nobody sends while it is worked.
    if !is_a_pack && services.replay.is_none() {
        drop(conn);
        services.intake.gathered().await;
        conn = services.pool.acquire().await?;
    }
    let Some(model_id) = services.turns.next(&mut conn, now).await? else {
        return Ok(false);
    };
    crate::faults::crash_point("settle.chosen");
    let model = models::get(&mut conn, model_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("model {model_id}")))?;
    drop(conn);
    match settle_due(services, &model, now).await {
        Err(damage) if keys::is_damage(&damage) => key_runs::mend(services, model_id).await?,
        settled => settled?,
    }
    Ok(true)
}

/// Settles what is due of a model, pack by pack.
async fn settle_due(services: &Services, model: &Model, now: DateTime<Utc>) -> Result<(), Error> {
    let model_id = model.model_id;
    let mut fetched = fetch(services, model_id, None, now).await;
    let mut before = Stored::default();
    for _ in 0..PACKS {
        let due = match fetched {
            Ok(due) => due,
            Err(failed) => return failed.set_back(services, now).await,
        };
        let Some(last) = due.batches.last() else {
            break;
        };
        let (last, is_full) = (last.batch_id, due.is_full);
        // The next pack is read, decoded and looked up while the database stores this one, unless this one is large: two of
        // them at a time would be more than the service may have.
        let meanwhile = (is_full && !due.unpacked.is_large()).then(|| {
            let services = services.clone();
            tokio::spawn(async move { fetch(&services, model_id, Some(last), now).await })
        });
        // By itself, so that a panic is a failure of these batches and not of every attempt to settle.
        let settling = tokio::spawn({
            let (services, model) = (services.clone(), model.clone());
            async move { settle(&services, &model, due.unpacked, &before, now).await }
        });
        let batches = due.batches;
        match settling.await.map_err(Error::internal).flatten() {
            Ok(stored) => before = stored,
            Err(error) => return Failed { batches, error }.set_back(services, now).await,
        }
        fetched = match meanwhile {
            Some(following) => following.await.map_err(Error::internal)?,
            None if is_full => fetch(services, model_id, Some(last), now).await,
            // What has landed since may gather.
            None => break,
        };
    }
    Ok(())
}

/// Batches that could not be settled.
struct Failed {
    batches: Vec<DueBatch>,
    error: Error,
}

impl Failed {
    /// Has the batches tried again later, each by itself, or set aside.
    ///
    /// # Errors
    /// When the batches are not to blame.
    async fn set_back(self, services: &Services, now: DateTime<Utc>) -> Result<(), Error> {
        let is_of_them = !matches!(self.error, Error::Unavailable { .. })
            && !keys::is_damage(&self.error)
            && !self.batches.is_empty();
        if is_of_them {
            set_back(services, &self.batches, &self.error, now).await
        } else {
            Err(self.error)
        }
    }
}

/// Batches that are settled together.
struct Due {
    batches: Vec<DueBatch>,
    unpacked: Unpacked,
    /// Whether they make a whole pack, so that more may wait behind them.
    is_full: bool,
}

struct DueBatch {
    batch_id: BatchId,
    attempts: i32,
}

/// Reads and decodes what is due of a model, behind the batch `after`, and looks up what is known of it.
async fn fetch(
    services: &Services,
    model_id: ModelId,
    after: Option<BatchId>,
    now: DateTime<Utc>,
) -> Result<Due, Failed> {
    let waiting = waiting(services, model_id, after, now).await;
    let waiting = waiting.map_err(|error| Failed {
        batches: Vec::new(),
        error,
    })?;
    let due = |waiting: &[Waiting]| -> Vec<DueBatch> {
        let each = waiting.iter().map(|batch| DueBatch {
            batch_id: batch.batch_id,
            attempts: batch.attempts,
        });
        each.collect()
    };
    let mut batches = due(&waiting);
    let decoding = compute(move || {
        let unpacked = unpack(&waiting, model_id);
        crate::faults::crash_point("settle.decoded");
        Ok(unpacked)
    });
    let looking_up = async {
        let mut unpacked = decoding.await?;
        let mut conn = services.pool.acquire().await?;
        let (filters, pack) = (&services.key_filters, &unpacked.predictions);
        unpacked.foreseen = Foreseen::look_up(&mut conn, filters, model_id, pack).await?;
        crate::faults::crash_point("settle.looked_up");
        Ok(unpacked)
    };
    match looking_up.await {
        Ok(unpacked) => {
            let is_full =
                unpacked.revisions.len() < batches.len() || unpacked.rows() >= u64::from(ROWS);
            batches.truncate(unpacked.revisions.len());
            Ok(Due {
                batches,
                unpacked,
                is_full,
            })
        }
        Err(error) => Err(Failed { batches, error }),
    }
}

/// What is due of a model, behind the batch `after`.
async fn waiting(
    services: &Services,
    model_id: ModelId,
    after: Option<BatchId>,
    now: DateTime<Utc>,
) -> Result<Vec<Waiting>, Error> {
    let mut conn = services.pool.acquire().await?;
    let mut waiting = intake::due(&mut conn, model_id, after, now, ROWS.into()).await?;
    // A batch that failed before is settled alone, so that it can fail alone.
    if let Some(failed) = waiting.iter().position(|batch| batch.attempts > 0) {
        waiting.truncate(failed.max(1));
    }
    Ok(waiting)
}

/// Runs work that keeps a processor busy beside the threads that wait for the network.
async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Error::internal)?
}

/// Landed batches read back.
#[derive(Default)]
struct Unpacked {
    predictions: Pack,
    foreseen: Foreseen,
    labels: Vec<LandedLabels>,
    events: Vec<(BatchId, EventBatch)>,
    damaged: Vec<(BatchId, ingest::BodyError)>,
    /// The batches that come from the archive.
    restored: HashSet<BatchId>,
    /// Which body of each batch was read.
    revisions: Vec<(BatchId, i32)>,
    /// How many bytes the bodies unfolded to.
    unfolded_bytes: usize,
}

impl Unpacked {
    /// How many rows there are, of all kinds.
    fn rows(&self) -> u64 {
        let labels = self.labels.iter().map(|batch| batch.rows.len());
        let events = self.events.iter().map(|(_, batch)| batch.events.len());
        (self.predictions.rows().len() + labels.chain(events).sum::<usize>()) as u64
    }

    /// Whether it takes much memory. Texts and vectors take what they took in the bodies.
    fn is_large(&self) -> bool {
        CELL_BYTES * self.predictions.cells() + self.unfolded_bytes > LARGE_BYTES
    }
}

struct LandedLabels {
    batch_id: BatchId,
    /// Whether they come from the archive.
    restored: bool,
    received_at: DateTime<Utc>,
    rows: LabelBatch,
}

/// Reads batches back, in their order, as many as make a pack: `revisions` says which.
fn unpack(due: &[Waiting], model_id: ModelId) -> Unpacked {
    let mut unpacked = Unpacked {
        predictions: Pack::of(model_id),
        ..Unpacked::default()
    };
    for waiting in due {
        let unfolded_bytes = ingest::unfolded_bytes(&waiting.body);
        let is_first = unpacked.revisions.is_empty();
        if !is_first && unpacked.unfolded_bytes + unfolded_bytes > UNFOLDED_BYTES {
            break;
        }
        let is_restored = waiting.format == intake::ARCHIVED;
        let damaged = match waiting.kind {
            BatchKind::Predictions => match ingest::decode_body::<PredictionBatch>(&waiting.body) {
                Ok(rows) => {
                    let requests = waiting.request_rows.as_ref();
                    let requests: Vec<usize> = requests
                        .and_then(|rows| serde_json::from_value(rows.clone()).ok())
                        .unwrap_or_default();
                    if !unpacked.predictions.add(waiting.batch_id, rows, &requests) {
                        break;
                    }
                    if is_restored {
                        unpacked.predictions.note_restored(waiting.batch_id);
                    }
                    None
                }
                Err(damage) => Some(damage),
            },
            BatchKind::Labels => match ingest::decode_body(&waiting.body) {
                Ok(rows) => {
                    unpacked.labels.push(LandedLabels {
                        batch_id: waiting.batch_id,
                        restored: is_restored,
                        received_at: waiting.received_at,
                        rows,
                    });
                    None
                }
                Err(damage) => Some(damage),
            },
            BatchKind::Events => match ingest::decode_body(&waiting.body) {
                Ok(events) => {
                    unpacked.events.push((waiting.batch_id, events));
                    None
                }
                Err(damage) => Some(damage),
            },
        };
        (unpacked.damaged).extend(damaged.map(|damage| (waiting.batch_id, damage)));
        (unpacked.revisions).push((waiting.batch_id, waiting.revision));
        unpacked.unfolded_bytes += unfolded_bytes;
        if is_restored {
            unpacked.restored.insert(waiting.batch_id);
        }
    }
    unpacked.predictions.hash();
    unpacked
}

async fn set_back(
    services: &Services,
    due: &[DueBatch],
    error: &Error,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ids: Vec<BatchId> = due.iter().map(|batch| batch.batch_id).collect();
    let attempts = due.iter().map(|batch| batch.attempts).max().unwrap_or(0);
    let give_up = due.len() == 1 && attempts + 1 >= ATTEMPTS;
    tracing::error!(batches = ?ids, error = error as &dyn std::error::Error, give_up, "could not settle");
    let not_before = (!give_up).then(|| now + TimeDelta::seconds(i64::from(attempts)));
    let mut conn = services.pool.acquire().await?;
    intake::mark_attempt(&mut conn, &ids, &error_chain(error), not_before).await?;
    Ok(())
}

/// An error's chain as Postgres keeps it.
fn error_chain(error: &dyn std::error::Error) -> String {
    chain(error).replace('\0', "\u{2400}")
}

async fn settle(
    services: &Services,
    model: &Model,
    mut unpacked: Unpacked,
    before: &Stored,
    now: DateTime<Utc>,
) -> Result<Stored, Error> {
    let mut refusals = Refusals::default();
    let mut conn = services.pool.acquire().await?;
    // So that no partition is made for rows that are refused.
    refusals.judge(&mut conn, model, &mut unpacked).await?;
    drop(conn);
    make_partitions(services, unpacked.predictions.rows()).await?;
    crate::faults::crash_point("settle.partitions_made");
    let mut tx = services.pool.begin().await?;
    // Senders who wait for the disk do not wait for this as well.
    intake::commit_without_waiting(&mut tx).await?;
    // Its segments may have been declared anew.
    let model = &registry::lock_model(&mut tx, model.model_id).await?;
    crate::faults::crash_point("settle.locked");
    leave_settled_out(&mut tx, &mut unpacked).await?;
    // What was closed or erased before the lock was had counts.
    refusals.judge(&mut tx, model, &mut unpacked).await?;
    let mut settled: Vec<(BatchId, BatchKind, Settled)> = Vec::new();

    let pack = (unpacked.predictions, unpacked.foreseen);
    let (outcomes, stored) =
        settle_predictions(services, &mut tx, model, pack, before, now).await?;
    settled.extend(
        outcomes
            .into_iter()
            .map(|(id, of)| (id, BatchKind::Predictions, of)),
    );
    for batch in &unpacked.labels {
        let of = labels::settle(&mut tx, &services.key_filters, model, batch, now).await?;
        settled.push((batch.batch_id, BatchKind::Labels, of));
        crate::faults::crash_point("settle.between_batches");
    }
    for (batch_id, of) in inferences::settle(&mut tx, model, unpacked.events, now).await? {
        settled.push((batch_id, BatchKind::Events, of));
    }
    for (batch_id, damage) in &unpacked.damaged {
        tracing::error!(batch = %batch_id, error = %damage, "a landed batch is damaged; it is set aside");
        intake::mark_attempt(&mut tx, &[*batch_id], &error_chain(damage), None).await?;
    }

    refusals.tell(&mut settled);
    let batches: Vec<(BatchId, Settled)> = settled.iter().map(|(id, _, of)| (*id, *of)).collect();
    intake::mark_settled(&mut tx, &batches, now).await?;
    let counts: Vec<CountAddition> = (settled.iter())
        .flat_map(|(batch_id, kind, of)| {
            let is_restored = unpacked.restored.contains(batch_id);
            additions(model, *kind, *of, is_restored)
        })
        .collect();
    intake::add_counts(&mut tx, &counts).await?;
    crate::faults::crash_point("settle.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("settle.after_commit");
    Ok(stored)
}

/// Leaves out what another worker settled, or somebody wrote anew, between the claim and the lock.
async fn leave_settled_out(conn: &mut PgConnection, unpacked: &mut Unpacked) -> Result<(), Error> {
    let landed = intake::still_landed(conn, &unpacked.revisions).await?;
    if landed.len() < unpacked.revisions.len() {
        unpacked
            .predictions
            .keep_batches(|batch_id| landed.contains(&batch_id));
        unpacked
            .labels
            .retain(|batch| landed.contains(&batch.batch_id));
        unpacked
            .events
            .retain(|(batch_id, _)| landed.contains(batch_id));
        unpacked
            .damaged
            .retain(|(batch_id, _)| landed.contains(batch_id));
    }
    Ok(())
}

/// What a batch adds to the account of the model. Of one that comes back from the archive, only the rows that are there
/// again count, and apart from what came in.
fn additions(
    model: &Model,
    kind: BatchKind,
    settled: Settled,
    is_restored: bool,
) -> Vec<CountAddition> {
    let addition = |outcome, reason, rows| CountAddition {
        project_id: model.project_id,
        model_id: model.model_id,
        kind,
        outcome,
        reason,
        rows,
    };
    if is_restored {
        return vec![addition("restored", "", settled.accepted)];
    }
    let refused = |reason: RejectReason, rows| addition("rejected", reason.as_str(), rows);
    vec![
        addition("accepted", "", settled.accepted),
        addition("duplicate", "", settled.duplicate),
        addition("conflicting", "", settled.conflicting),
        refused(RejectReason::PastRetention, settled.late),
        refused(RejectReason::Erased, settled.erased),
    ]
}

async fn make_partitions(services: &Services, rows: &PredictionBatch) -> Result<(), Error> {
    let mut days: Vec<DateTime<Utc>> = rows
        .predicted_at
        .iter()
        .map(|at| Grain::Day.window_at(*at).start)
        .collect();
    days.sort_unstable();
    days.dedup();
    if days.is_empty() {
        return Ok(());
    }
    let mut conn = services.pool.acquire().await?;
    partitions::ensure(&mut conn, Grain::Day, &days).await?;
    partitions::ensure(&mut conn, Grain::Month, &days).await?;
    Ok(())
}

/// A pack with all that is derived from it before rows are stored and counted.
struct Sorted {
    pack: Pack,
    /// Per row.
    versions: Vec<(VersionId, i32)>,
    /// Segments sent with the rows, whether declared or not.
    sent_segments: Vec<Column>,
    /// Values of the declared segments, in the model's order.
    segments: Vec<TextColumn>,
}

impl Sorted {
    fn new(model: &Model, pack: Pack, versions: Vec<(VersionId, i32)>) -> Self {
        let rows = pack.rows();
        let sent_segments = pack::sent_segments(rows);
        let segments = model
            .segments
            .iter()
            .map(|name| {
                let sent = sent_segments.iter().find(|column| column.name == *name);
                profiling::segment_texts(sent, rows.feature(name), rows.len())
            })
            .collect();
        Self {
            pack,
            versions,
            sent_segments,
            segments,
        }
    }
}

async fn settle_predictions(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    (mut pack, foreseen): (Pack, Foreseen),
    before: &Stored,
    now: DateTime<Utc>,
) -> Result<(Vec<(BatchId, Settled)>, Stored), Error> {
    if pack.rows().is_empty() {
        let settled = pack.batches().map(|id| (id, Settled::default()));
        return Ok((settled.collect(), Stored::default()));
    }
    let numbers = models::version_numbers(conn, model.model_id).await?;
    let versions = versions_of(pack.rows(), &numbers)?;
    let bounds = services.bounds;
    let (filters, looked_up) = (&services.key_filters, (&pack, foreseen));
    let known = Versions {
        of_rows: &versions,
        numbers: &numbers,
    };
    let admission =
        admission::admit(conn, filters, model.model_id, looked_up, before, known).await?;
    crate::faults::crash_point("settle.ids_admitted");
    let settled = (admission.settled, admission.stored);
    let rows = Arc::new(admission.rows);
    if rows.is_empty() {
        return Ok(settled);
    }
    // Rows that come back from the archive were counted when they came first.
    let restored = pack.restored();
    let counted: Arc<Vec<usize>> =
        Arc::new(rows.iter().copied().filter(|row| !restored[*row]).collect());
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    features::keep_known(conn, model, &mut pack, &rows, (&yardstick, bounds), now).await?;
    let mut segment_values = SegmentValues::none(bounds.segment_values);
    if !model.segments.is_empty() {
        for (version_id, start) in windows_of(model, &pack, &versions, &counted) {
            segment_values.load(conn, version_id, start).await?;
        }
    }
    let of_model = model.clone();
    let sorted = Arc::new(compute(move || Ok(Sorted::new(&of_model, pack, versions))).await?);

    // The first profiles are counted while the rows travel to the database, and others while those before them do.
    let first = tokio::spawn({
        let (model, sorted, rows) = (model.clone(), sorted.clone(), counted.clone());
        compute(move || {
            let counting = Counting::of(&model, yardstick, sorted, &rows, segment_values);
            let profiles = counting.count(0)?;
            Ok((Arc::new(counting), profiles))
        })
    });
    chunks::store(conn, model, &sorted, &rows).await?;
    crate::faults::crash_point("settle.rows_stored");
    let (counting, mut profiles) = first.await.map_err(Error::internal)??;
    let mut additions = window_additions(model, &sorted, &counted);
    let repeats = window_repeats(model, &sorted, &counted);
    let mut merged = Merged::default();
    for part in 1..=counting.parts.len() {
        let next = tokio::spawn({
            let counting = counting.clone();
            compute(move || counting.count(part))
        });
        merged.add(profiling::merge(conn, model, &counting.yardstick, profiles).await?);
        profiles = next.await.map_err(Error::internal)??;
    }
    let beyond = counting.beyond;
    for window in merged.damaged {
        let added = additions.get(&window).map_or(0, |of| of.predictions);
        recount::rebuild(conn, model, window, added, bounds, ("settle", now)).await?;
    }
    overflow::note(conn, model, OverflowKind::SegmentValues, beyond, now).await?;
    overflow::note(conn, model, OverflowKind::Categories, merged.beyond, now).await?;
    crate::faults::crash_point("settle.profiles_merged");

    if counted.len() < rows.len() {
        let returned: Vec<usize> = rows.iter().copied().filter(|row| restored[*row]).collect();
        outcomes::of_new_predictions(conn, model, &sorted, &returned).await?;
    }
    for joined in outcomes::of_new_predictions(conn, model, &sorted, &counted).await? {
        outcomes::note_label(&mut additions, model, &joined);
    }
    crate::faults::crash_point("settle.labels_joined");
    add_to_windows(conn, model, additions, repeats, now).await?;
    Ok(settled)
}

fn versions_of(
    rows: &PredictionBatch,
    numbers: &[(String, VersionId, i32)],
) -> Result<Vec<(VersionId, i32)>, Error> {
    let by_name: HashMap<&str, (VersionId, i32)> = numbers
        .iter()
        .map(|(name, version_id, number)| (name.as_str(), (*version_id, *number)))
        .collect();
    let by_code: Vec<Option<(VersionId, i32)>> = (rows.versions.texts())
        .map(|name| by_name.get(name).copied())
        .collect();
    let version = |code: &u32| by_code.get(*code as usize).copied().flatten();
    (rows.versions.codes().iter().zip(0..))
        .map(|(code, row)| {
            version(code).ok_or_else(|| {
                let name = rows.version(row);
                Error::internal(format!("version {name:?} is not registered"))
            })
        })
        .collect()
}

/// The versions and base windows that rows fall into.
fn windows_of(
    model: &Model,
    pack: &Pack,
    versions: &[(VersionId, i32)],
    rows: &[usize],
) -> BTreeSet<(VersionId, DateTime<Utc>)> {
    let start = |row: usize| {
        model
            .base_window
            .window_at(pack.rows().predicted_at[row])
            .start
    };
    rows.iter()
        .map(|row| (versions[*row].0, start(*row)))
        .collect()
}

/// What profiles are counted of, part by part: all at a time would be as many as there are windows, values of segments and
/// features in a batch, whatever its size.
struct Counting {
    yardstick: Yardstick,
    sorted: Arc<Sorted>,
    parts: Vec<Groups>,
    /// The columns that the rows do not bring: features that the schema requires, the prediction, the latency.
    others: Vec<Column>,
    /// How many rows had a value of a segment that there was no room for.
    beyond: u64,
}

impl Counting {
    fn of(
        model: &Model,
        yardstick: Yardstick,
        sorted: Arc<Sorted>,
        rows: &[usize],
        mut segment_values: SegmentValues,
    ) -> Self {
        let batch = sorted.pack.rows();
        let mut groups = profiling::group(
            model,
            rows,
            |row| sorted.versions[row].0,
            |row| batch.predicted_at[row],
            &sorted.segments,
        );
        let beyond = segment_values.limit(&mut groups);
        let outputs = batch.outputs.iter();
        let prediction = Column::of(
            PREDICTION,
            outputs.map(|output| profiling::output_value(model.task, output)),
        );
        let latency = profiling::latency_column(batch.latency_ms.iter().copied());
        let mut others = yardstick.lacking(&batch.features, batch.len());
        others.extend([prediction, latency]);
        let columns = batch.features.len() + others.len();
        Self {
            parts: profiling::parts(groups, columns, PROFILES),
            yardstick,
            sorted,
            others,
            beyond,
        }
    }

    /// The profiles of a part; none where there is none.
    fn count(&self, part: usize) -> Result<Vec<(ProfileKey, FeatureProfile)>, Error> {
        let Some(groups) = self.parts.get(part) else {
            return Ok(Vec::new());
        };
        let features = &self.sorted.pack.rows().features;
        let columns: Vec<&Column> = features.iter().chain(&self.others).collect();
        profiling::count(&self.yardstick, groups, &columns)
    }
}

type WindowAdditions = BTreeMap<WindowKey, WindowAddition>;
/// What the rows that a pack brings hold, by the base window they fall into.
type WindowRepeats = BTreeMap<WindowKey, Repeats>;

fn window_additions(model: &Model, sorted: &Sorted, rows: &[usize]) -> WindowAdditions {
    let batch = sorted.pack.rows();
    let mut additions = WindowAdditions::new();
    for &row in rows {
        let start = model.base_window.window_at(batch.predicted_at[row]).start;
        let version_id = sorted.versions[row].0;
        let addition = additions
            .entry((version_id, start))
            .or_insert_with(|| empty_addition(version_id, start));
        addition.predictions += 1;
        addition.errors += u64::from(batch.errors.get(row).is_some());
        let at = batch.predicted_at[row];
        // As it was sent: how requests were packed together since then is no matter of the sender's.
        let before = sorted.pack.sent_before(row);
        if let Some(before) = before.filter(|before| sorted.versions[*before].0 == version_id) {
            addition.followers += 1;
            addition.out_of_order += u64::from(at < batch.predicted_at[before]);
        }
        addition.last_event_at = addition.last_event_at.max(at);
    }
    additions
}

/// Rows by what they hold, for each base window.
fn window_repeats(model: &Model, sorted: &Sorted, rows: &[usize]) -> WindowRepeats {
    let batch = sorted.pack.rows();
    let mut repeats = WindowRepeats::new();
    for &row in rows {
        let start = model.base_window.window_at(batch.predicted_at[row]).start;
        let of_window = repeats.entry((sorted.versions[row].0, start)).or_default();
        of_window.observe(sorted.pack.held_hash(row));
    }
    repeats
}

/// Adds to base windows, with the summaries of their rows by what they hold. A damaged one stays as it is, so that nothing is said
/// of a part of the rows as if it were all.
async fn add_to_windows(
    conn: &mut PgConnection,
    model: &Model,
    additions: WindowAdditions,
    mut repeats: WindowRepeats,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut additions: Vec<WindowAddition> = additions.into_values().collect();
    for additions in additions.chunks_mut(WINDOWS) {
        let key = |addition: &WindowAddition| (addition.version_id, addition.window_start);
        let own: Vec<WindowKey> = additions.iter().map(key).collect();
        let summed: Vec<WindowKey> = (own.iter().copied())
            .filter(|key| repeats.contains_key(key))
            .collect();
        for ((version_id, start), stored) in windows::repeats(conn, &summed).await? {
            match Repeats::decode(&stored) {
                Ok(stored) => {
                    if let Some(added) = repeats.get_mut(&(version_id, start)) {
                        added.merge(&stored);
                    }
                }
                Err(error) => {
                    tracing::error!(%version_id, %start, %error, "a window's summary of repeated rows is damaged");
                    repeats.remove(&(version_id, start));
                }
            }
        }
        for addition in &mut *additions {
            let summary = repeats.remove(&(addition.version_id, addition.window_start));
            addition.repeats = summary.map(|summary| summary.encode());
        }
        let additions: Vec<&WindowAddition> = additions.iter().collect();
        windows::add(conn, model.project_id, model.model_id, &additions, now).await?;
    }
    Ok(())
}

fn empty_addition(version_id: VersionId, window_start: DateTime<Utc>) -> WindowAddition {
    WindowAddition {
        version_id,
        window_start,
        predictions: 0,
        errors: 0,
        labels: 0,
        followers: 0,
        out_of_order: 0,
        repeats: None,
        last_event_at: window_start,
    }
}
