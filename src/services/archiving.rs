//! Raw rows into the archive and back.
//!
//! A day of a model is archived as Parquet files and a manifest, which is written last. Before anybody relies on it,
//! every file is read back, compared by its SHA-256, and decoded. Files have names of their own attempt, so that a
//! manifest never names a file that a later attempt has written over.
//!
//! Giving a day back goes the way that rows always come: landed, settled, known by their ids. So it may be done
//! twice, and rows that are there already count as duplicates.

pub(super) mod rows;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::error::chain;
use super::{Error, Services, ingest, registry};
use crate::archive::{Archive, ArchiveError};
use crate::domain::archive::{ArchivedFile, FileKind, MANIFEST, MANIFEST_VERSION, Manifest, Place};
use crate::domain::batch::{LabelBatch, PredictionBatch};
use crate::domain::ids::{ProjectId, VersionId};
use crate::domain::model::Task;
use crate::domain::telemetry::SampleRow;
use crate::domain::window::Grain;
use crate::formats::archived;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::models::{self, Model};
use crate::storage::partitions;
use crate::storage::predictions::{self, Read};
use crate::storage::retention::{self, RestoredDay};
use crate::storage::telemetry::{self, SamplePlace};

/// A file is closed when it has so many rows: some ten megabytes.
const FILE_ROWS: usize = 100_000;
/// How many rows come back as one batch.
const BATCH_ROWS: usize = 20_000;

/// What to tell people of an error that names no secrets: all of its chain.
#[must_use]
pub fn told(error: &Error) -> String {
    match error {
        Error::Internal(cause) => chain(cause.as_ref()),
        Error::Unavailable {
            source: Some(cause),
            ..
        } => chain(cause.as_ref()),
        other => other.to_string(),
    }
}

fn out_of_reach(error: ArchiveError) -> Error {
    Error::unavailable_because(
        std::time::Duration::from_secs(60),
        "the archive does not answer",
        error,
    )
}

/// A model's day that is to be archived.
pub(super) struct Day<'a> {
    pub archive: &'a Archive,
    pub project: &'a str,
    pub model: &'a Model,
    pub versions: &'a [VersionId],
    pub start: DateTime<Utc>,
}

impl Day<'_> {
    fn place(&self) -> Place {
        Place {
            project_id: self.model.project_id,
            model: self.model.name.clone(),
            day: self.start.date_naive(),
        }
    }

    /// Sees to it that the day is in the archive, whole and readable. A day that was given back is not written again:
    /// what is there may be a part of it.
    pub(super) async fn keep(
        &self,
        conn: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Manifest, Error> {
        let place = self.place();
        if let Some(known) = manifest(self.archive, &place).await? {
            let project = BTreeSet::from([self.model.project_id]);
            let restored = retention::restored_of(conn, self.model.model_id).await?;
            let predictions = self.count(conn).await?;
            let telemetry = telemetry::rows_in(conn, self.model.model_id, self.span()).await?;
            let is_part = known.predictions > predictions
                || known.telemetry > u64::try_from(telemetry).unwrap_or(0);
            if restored.contains(&self.start) || is_part {
                tracing::debug!(?project, "the archive has the day already");
                verify(self.archive, &place, &known).await?;
                return Ok(known);
            }
        }
        let written = self.write(conn, &place, now).await?;
        verify(self.archive, &place, &written).await?;
        crate::faults::crash_point("archive.verified");
        tracing::info!(
            model = self.model.name, day = %place.day, predictions = written.predictions, labels = written.labels,
            "archived a day"
        );
        Ok(written)
    }

    fn span(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.start, self.start + TimeDelta::days(1))
    }

    async fn count(&self, conn: &mut PgConnection) -> Result<u64, Error> {
        let (_, end) = self.span();
        let mut rows = 0;
        for version_id in self.versions {
            for (day, chunk) in
                predictions::chunks_between(conn, *version_id, self.start, end).await?
            {
                let chunk = predictions::chunk(conn, *version_id, day, chunk, Read::Ids).await?;
                rows += chunk.rows() as u64;
            }
        }
        Ok(rows)
    }

    async fn write(
        &self,
        conn: &mut PgConnection,
        place: &Place,
        now: DateTime<Utc>,
    ) -> Result<Manifest, Error> {
        let names: BTreeMap<VersionId, String> = models::versions(conn, self.model.model_id)
            .await?
            .into_iter()
            .map(|version| (version.version_id, version.name))
            .collect();
        let mut writer = Writer::new(self.archive, place, self.model.task);
        let (_, end) = self.span();
        let mut batch = PredictionBatch::default();
        for version_id in self.versions {
            let Some(version) = names.get(version_id) else {
                continue;
            };
            for (day, chunk) in
                predictions::chunks_between(conn, *version_id, self.start, end).await?
            {
                let chunk = predictions::chunk(conn, *version_id, day, chunk, Read::All).await?;
                batch.append(&rows::of_chunk(chunk, version));
                if batch.len() >= FILE_ROWS {
                    self.write_rows(conn, &mut writer, &std::mem::take(&mut batch))
                        .await?;
                }
            }
        }
        self.write_rows(conn, &mut writer, &batch).await?;
        self.write_telemetry(conn, &mut writer).await?;
        crate::faults::crash_point("archive.files_written");
        let manifest = Manifest {
            manifest_version: MANIFEST_VERSION,
            schema_version: archived::VERSION,
            project_id: self.model.project_id,
            project: self.project.to_owned(),
            model: self.model.name.clone(),
            task: self.model.task,
            day: place.day,
            predictions: Manifest::rows_of(&writer.files, FileKind::Predictions),
            labels: Manifest::rows_of(&writer.files, FileKind::Labels),
            telemetry: Manifest::rows_of(&writer.files, FileKind::Telemetry),
            files: writer.files,
            archived_at: now,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            erased_at: None,
        };
        put_manifest(self.archive, place, &manifest).await?;
        crate::faults::crash_point("archive.manifest_written");
        remove_unnamed(self.archive, place, &manifest).await?;
        Ok(manifest)
    }

    async fn write_telemetry(
        &self,
        conn: &mut PgConnection,
        writer: &mut Writer<'_>,
    ) -> Result<(), Error> {
        let mut after: Option<SamplePlace> = None;
        loop {
            let of = self.model.model_id;
            let most = i64::try_from(FILE_ROWS).unwrap_or(i64::MAX);
            let rows = telemetry::rows(conn, of, self.span(), after.as_ref(), most).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some((last.measure.clone(), last.series, last.sampled_at));
            writer.telemetry(&rows).await?;
        }
    }

    async fn write_rows(
        &self,
        conn: &mut PgConnection,
        writer: &mut Writer<'_>,
        batch: &PredictionBatch,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let labels = rows::labels_of(conn, self.model.model_id, batch).await?;
        writer.predictions(batch).await?;
        if !labels.is_empty() {
            writer.labels(&labels).await?;
        }
        Ok(())
    }
}

/// Puts the files of one attempt.
struct Writer<'a> {
    archive: &'a Archive,
    place: &'a Place,
    task: Task,
    attempt: String,
    files: Vec<ArchivedFile>,
}

impl<'a> Writer<'a> {
    fn new(archive: &'a Archive, place: &'a Place, task: Task) -> Self {
        let attempt = uuid::Uuid::new_v4().simple().to_string();
        Self {
            archive,
            place,
            task,
            attempt: attempt[..8].to_owned(),
            files: Vec::new(),
        }
    }

    async fn predictions(&mut self, batch: &PredictionBatch) -> Result<(), Error> {
        let bytes = archived::encode(batch, self.task).map_err(Error::internal)?;
        self.put(FileKind::Predictions, bytes, &batch.predicted_at)
            .await
    }

    async fn labels(&mut self, batch: &LabelBatch) -> Result<(), Error> {
        let bytes = archived::encode_labels(batch).map_err(Error::internal)?;
        self.put(FileKind::Labels, bytes, &batch.observed_at).await
    }

    async fn telemetry(&mut self, rows: &[SampleRow]) -> Result<(), Error> {
        let bytes = archived::encode_samples(rows).map_err(Error::internal)?;
        let times: Vec<DateTime<Utc>> = rows.iter().map(|row| row.sampled_at).collect();
        self.put(FileKind::Telemetry, bytes, &times).await
    }

    async fn put(
        &mut self,
        kind: FileKind,
        bytes: Vec<u8>,
        times: &[DateTime<Utc>],
    ) -> Result<(), Error> {
        let name = format!(
            "{}-{}-{:04}.parquet",
            kind.as_str(),
            self.attempt,
            self.files.len() + 1
        );
        self.files.push(ArchivedFile {
            name: name.clone(),
            kind,
            rows: times.len() as u64,
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            first_at: times.iter().min().copied(),
            last_at: times.iter().max().copied(),
        });
        let folders = self.place.folders();
        let put = self.archive.put(&folders, &name, bytes.into()).await;
        put.map_err(out_of_reach)?;
        crate::faults::crash_point("archive.file_written");
        Ok(())
    }
}

/// In hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts a manifest into force.
async fn put_manifest(archive: &Archive, place: &Place, manifest: &Manifest) -> Result<(), Error> {
    let text = manifest.to_json().map_err(Error::internal)?;
    let put = archive.put(&place.folders(), MANIFEST, text.into()).await;
    put.map_err(out_of_reach)
}

/// Removes the files of a day that its manifest does not name: what is left of attempts that did not end, and of files
/// that were written anew. Whoever reads all files of a folder must not find rows twice, or rows that were erased.
async fn remove_unnamed(
    archive: &Archive,
    place: &Place,
    manifest: &Manifest,
) -> Result<(), Error> {
    let folders = place.folders();
    archive
        .remove_unfinished(&folders)
        .await
        .map_err(out_of_reach)?;
    for (_, name) in archive.list(&folders).await.map_err(out_of_reach)? {
        if name != MANIFEST && !manifest.names(&name) {
            archive
                .remove(&folders, &name)
                .await
                .map_err(out_of_reach)?;
        }
    }
    Ok(())
}

/// The manifest of a day, if it is archived.
async fn manifest(archive: &Archive, place: &Place) -> Result<Option<Manifest>, Error> {
    let text = match archive.get(&place.folders(), MANIFEST).await {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(out_of_reach(error)),
    };
    let manifest = Manifest::from_json(&text).map_err(|error| {
        Error::Conflict(format!(
            "the manifest of {} on {} in the archive cannot be read: {error}",
            place.model, place.day
        ))
    })?;
    if manifest.manifest_version != MANIFEST_VERSION {
        return Err(Error::Conflict(format!(
            "the manifest of {} on {} is of version {}, which this release does not know",
            place.model, place.day, manifest.manifest_version
        )));
    }
    Ok(Some(manifest))
}

/// What a file of the archive holds.
enum Content {
    Predictions(Box<PredictionBatch>),
    Labels(LabelBatch),
    Telemetry(Vec<SampleRow>),
}

/// Reads a file and checks that it is what the manifest says.
async fn open(
    archive: &Archive,
    (place, task): (&Place, Task),
    file: &ArchivedFile,
) -> Result<Content, Error> {
    let bytes = archive.get(&place.folders(), &file.name).await;
    let bytes: Bytes = bytes.map_err(out_of_reach)?;
    let damaged = |cause: String| {
        Error::Conflict(format!(
            "the archived file {} of {} on {} is damaged: {cause}",
            file.name, place.model, place.day
        ))
    };
    let digest = hex(&Sha256::digest(&bytes));
    if digest != file.sha256 {
        return Err(damaged(format!(
            "its SHA-256 is {digest}, not {}",
            file.sha256
        )));
    }
    let kind = file.kind;
    let content = tokio::task::spawn_blocking(move || match kind {
        FileKind::Predictions => {
            archived::decode(bytes, task).map(|batch| Content::Predictions(Box::new(batch)))
        }
        FileKind::Labels => archived::decode_labels(bytes).map(Content::Labels),
        FileKind::Telemetry => archived::decode_samples(bytes).map(Content::Telemetry),
    });
    let content = content
        .await
        .map_err(Error::internal)?
        .map_err(|error| damaged(chain(&error)))?;
    let rows = match &content {
        Content::Predictions(batch) => batch.len(),
        Content::Labels(batch) => batch.len(),
        Content::Telemetry(rows) => rows.len(),
    };
    if rows as u64 != file.rows {
        return Err(damaged(format!("it has {rows} rows, not {}", file.rows)));
    }
    Ok(content)
}

async fn verify(archive: &Archive, place: &Place, manifest: &Manifest) -> Result<(), Error> {
    for file in &manifest.files {
        open(archive, (place, manifest.task), file).await?;
    }
    Ok(())
}

fn required(services: &Services) -> Result<&Archive, Error> {
    services.custody.archive.as_ref().ok_or_else(|| {
        Error::Conflict("the service has no archive; set [archive] url in its settings".to_owned())
    })
}

/// The archived days of a project, or of one of its models, by model and day.
async fn places(
    archive: &Archive,
    project_id: ProjectId,
    model: Option<&str>,
) -> Result<Vec<Place>, Error> {
    let above = Place::folders_above(project_id, model);
    let files = archive.list(&above).await.map_err(out_of_reach)?;
    let mut places: Vec<Place> = (files.iter())
        .filter(|(_, name)| name == MANIFEST)
        .filter_map(|(folders, _)| {
            let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
            Place::of_folders(&folders)
        })
        .collect();
    places.sort_unstable();
    Ok(places)
}

/// The manifests of a project, or of one of its models, by model and day.
///
/// # Errors
/// Conflict without an archive; unavailable when it does not answer.
pub async fn list(
    services: &Services,
    project_id: ProjectId,
    model: Option<&str>,
) -> Result<Vec<Manifest>, Error> {
    let archive = required(services)?;
    let mut manifests = Vec::new();
    for place in places(archive, project_id, model).await? {
        manifests.extend(manifest(archive, &place).await?);
    }
    Ok(manifests)
}

/// What was given back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct GivenBack {
    /// The days of which rows were landed; they are settled a moment later.
    pub days: Vec<NaiveDate>,
    pub predictions: u64,
    pub labels: u64,
    /// Samples of telemetry that were not there; they are stored at once.
    pub telemetry: u64,
}

/// Which days of which model to give back.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub project_id: ProjectId,
    pub model: &'a str,
    /// The first and the last day.
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// How long they stay.
    pub keep_days: u32,
}

/// Gives the raw rows of days back, the usual way of rows, so that it may be done twice.
///
/// # Errors
/// Not found for an unknown model; conflict without an archive, when a file in it is damaged, or while rows are being
/// moved by somebody else; unavailable when the archive does not answer.
pub async fn give_back(
    services: &Services,
    wanted: Wanted<'_>,
    actor: &str,
) -> Result<GivenBack, Error> {
    let archive = required(services)?;
    in_turn(services, give_days_back(services, archive, wanted, actor)).await
}

async fn give_days_back(
    services: &Services,
    archive: &Archive,
    wanted: Wanted<'_>,
    actor: &str,
) -> Result<GivenBack, Error> {
    let now = services.clock.now();
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, wanted.project_id, wanted.model).await?;
    let mut given = GivenBack::default();
    for place in places(archive, wanted.project_id, Some(wanted.model)).await? {
        if !(wanted.from..=wanted.to).contains(&place.day) {
            continue;
        }
        let Some(manifest) = manifest(archive, &place).await? else {
            continue;
        };
        note(&mut conn, &model, &place, wanted.keep_days, (actor, now)).await?;
        crate::faults::crash_point("restore.noted");
        given.telemetry +=
            give_day_back(services, archive, &model, (&place, &manifest), now).await?;
        given.days.push(place.day);
        given.predictions += manifest.predictions;
        given.labels += manifest.labels;
    }
    Ok(given)
}

/// Does what moves raw rows as a whole, alone and without waiting for others.
pub(super) async fn in_turn<T>(
    services: &Services,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut turn = services.pool.begin().await?;
    if !retention::try_turn(&mut turn).await? {
        return Err(Error::unavailable(
            std::time::Duration::from_secs(10),
            "raw rows are being removed, archived, given back or erased at this moment",
        ));
    }
    let done = work.await;
    // Also where it failed, and before that is said, so that whoever tries again at once finds the turn free.
    turn.rollback().await?;
    done
}

async fn note(
    conn: &mut PgConnection,
    model: &Model,
    place: &Place,
    keep_days: u32,
    (actor, now): (&str, DateTime<Utc>),
) -> Result<(), Error> {
    let start = place.day.and_time(NaiveTime::MIN).and_utc();
    let marks = retention::marks(conn, model.project_id).await?;
    // Of a day that is not gone, nothing is given back that is not there.
    if marks.is_closed(start) {
        let day = RestoredDay {
            project_id: model.project_id,
            model_id: model.model_id,
            day: start,
            keep_until: now + TimeDelta::days(keep_days.into()),
        };
        retention::note_restored(conn, &day, (actor, now)).await?;
    }
    let event = AuditEvent {
        project_id: Some(model.project_id),
        at: now,
        actor,
        action: "archive.restored",
        object_kind: "model",
        object_id: &model.name,
        detail: json!({ "day": place.day, "keep_days": keep_days }),
    };
    audit::record(conn, &event).await?;
    Ok(())
}

async fn give_day_back(
    services: &Services,
    archive: &Archive,
    model: &Model,
    (place, manifest): (&Place, &Manifest),
    now: DateTime<Utc>,
) -> Result<u64, Error> {
    let mut samples = 0;
    // Predictions first, so that labels find them.
    let (predictions, others): (Vec<&ArchivedFile>, Vec<&ArchivedFile>) =
        (manifest.files.iter()).partition(|file| file.kind == FileKind::Predictions);
    for file in predictions.into_iter().chain(others) {
        match open(archive, (place, manifest.task), file).await? {
            Content::Predictions(batch) => {
                for version in batch.versions.texts() {
                    let lineage = json!({});
                    registry::register_version(services, model, version, lineage, "archive", now)
                        .await?;
                }
                for part in rows::parts(*batch, BATCH_ROWS) {
                    ingest::give_back_predictions(services, model, part, now).await?;
                }
            }
            Content::Labels(batch) => {
                for part in rows::label_parts(batch, BATCH_ROWS) {
                    ingest::give_back_labels(services, model, part, now).await?;
                }
            }
            Content::Telemetry(rows) => {
                samples += give_samples_back(services, model, place, rows).await?;
            }
        }
        crate::faults::crash_point("restore.file_landed");
    }
    Ok(samples)
}

/// Stores samples again, those that are not there.
async fn give_samples_back(
    services: &Services,
    model: &Model,
    place: &Place,
    rows: Vec<SampleRow>,
) -> Result<u64, Error> {
    let mut conn = services.pool.acquire().await?;
    let start = place.day.and_time(NaiveTime::MIN).and_utc();
    partitions::ensure_telemetry(&mut conn, [Grain::Day.window_at(start)]).await?;
    let samples: Vec<_> = rows.into_iter().map(|row| (model.model_id, row)).collect();
    let mut stored = 0;
    for part in samples.chunks(BATCH_ROWS) {
        stored += telemetry::insert(&mut conn, model.project_id, part).await?;
    }
    Ok(stored)
}

/// What was erased from the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct ErasedFromArchive {
    /// Files that were written anew, or had nothing else.
    pub files: u64,
    pub predictions: u64,
    pub labels: u64,
}

/// The predictions of these ids in the archive. Looks into every file of the model, because an id does not say of which
/// day it is.
pub(super) async fn find(
    archive: &Archive,
    model: &Model,
    ids: &BTreeSet<String>,
) -> Result<PredictionBatch, Error> {
    let mut found = PredictionBatch::default();
    for place in places(archive, model.project_id, Some(&model.name)).await? {
        let Some(manifest) = manifest(archive, &place).await? else {
            continue;
        };
        for file in &manifest.files {
            if file.kind != FileKind::Predictions {
                continue;
            }
            let of = (&place, manifest.task);
            if let Content::Predictions(batch) = open(archive, of, file).await? {
                found.append(&rows::without(*batch, ids).1);
            }
        }
    }
    Ok(found)
}

/// Takes predictions and labels of these ids out of every archived day of a model: files that hold any are written
/// anew, and their manifests with them.
pub(super) async fn erase(
    archive: &Archive,
    model: &Model,
    ids: &BTreeSet<String>,
    now: DateTime<Utc>,
) -> Result<ErasedFromArchive, Error> {
    let mut erased = ErasedFromArchive::default();
    for place in places(archive, model.project_id, Some(&model.name)).await? {
        let Some(mut manifest) = manifest(archive, &place).await? else {
            continue;
        };
        let mut writer = Writer::new(archive, &place, manifest.task);
        let mut kept = Vec::new();
        let mut found = false;
        for file in &manifest.files {
            if file.kind == FileKind::Telemetry {
                kept.push(file.clone());
                continue;
            }
            match open(archive, (&place, manifest.task), file).await? {
                Content::Predictions(batch)
                    if batch.prediction_ids.iter().any(|id| ids.contains(id)) =>
                {
                    let (stay, gone) = rows::without(*batch, ids);
                    erased.predictions += gone.len() as u64;
                    if !stay.is_empty() {
                        writer.predictions(&stay).await?;
                    }
                }
                Content::Labels(mut batch)
                    if batch.prediction_ids.iter().any(|id| ids.contains(id)) =>
                {
                    let before = batch.len();
                    batch.retain(|id| !ids.contains(id));
                    erased.labels += (before - batch.len()) as u64;
                    if !batch.is_empty() {
                        writer.labels(&batch).await?;
                    }
                }
                Content::Predictions(_) | Content::Labels(_) | Content::Telemetry(_) => {
                    kept.push(file.clone());
                    continue;
                }
            }
            found = true;
            erased.files += 1;
        }
        if !found {
            // An attempt that did not end may have left files that hold them.
            remove_unnamed(archive, &place, &manifest).await?;
            continue;
        }
        kept.append(&mut writer.files);
        manifest.predictions = Manifest::rows_of(&kept, FileKind::Predictions);
        manifest.labels = Manifest::rows_of(&kept, FileKind::Labels);
        manifest.files = kept;
        manifest.erased_at = Some(now);
        put_manifest(archive, &place, &manifest).await?;
        crate::faults::crash_point("erasure.manifest_written");
        remove_unnamed(archive, &place, &manifest).await?;
        verify(archive, &place, &manifest).await?;
    }
    Ok(erased)
}
