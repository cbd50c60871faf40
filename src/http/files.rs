//! Files that are imported: how far each has been taken, so that an import that was interrupted goes on.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Authorised, Ingest, Read};
use super::bodies::{Body, Path};
use super::problem::Problem;
use crate::services::files::{self, Named};
use crate::services::{Error, Services, registry};
use crate::storage::files::{self as stored, Described, ImportedFile, Progress};
use crate::storage::intake::BatchKind;

/// How many files are listed.
const LISTED: i64 = 1_000;

/// What rows of a file are.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Predictions,
    Labels,
}

impl From<Kind> for BatchKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Predictions => Self::Predictions,
            Kind::Labels => Self::Labels,
        }
    }
}

/// A file that is about to be sent.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileToImport {
    pub kind: Kind,
    /// The version that its rows are sent with; empty when they name theirs.
    #[serde(default)]
    pub version: String,
    /// Of all it holds, in hexadecimal digits.
    pub sha256: String,
    pub name: String,
    pub format: String,
    pub bytes: i64,
}

/// A stretch of a file that was taken.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    pub kind: Kind,
    #[serde(default)]
    pub version: String,
    /// Where the file stood: how many records had been taken before.
    pub from: i64,
    /// Where it stands now.
    pub to: i64,
    pub received: i64,
    pub kept: i64,
    pub rejected: i64,
    /// Whether that was the last of it.
    pub complete: bool,
}

/// A file and how far it has been taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FileView {
    pub kind: &'static str,
    pub version: String,
    pub sha256: String,
    pub name: String,
    pub format: String,
    pub bytes: i64,
    /// How many records were taken, from the first on: rows, or lines.
    pub records: i64,
    pub received: i64,
    pub kept: i64,
    pub rejected: i64,
    /// `sending` or `complete`.
    pub state: String,
    pub imported_by: String,
    pub started_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

impl From<ImportedFile> for FileView {
    fn from(file: ImportedFile) -> Self {
        Self {
            kind: file.kind.as_str(),
            version: file.version,
            sha256: file
                .sha256
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            name: file.name,
            format: file.format,
            bytes: file.bytes,
            records: file.records,
            received: file.received,
            kept: file.kept,
            rejected: file.rejected,
            state: file.state,
            imported_by: file.imported_by,
            started_at: file.started_at,
            changed_at: file.changed_at,
        }
    }
}

fn digest(text: &str) -> Result<[u8; 32], Error> {
    let wrong = || Error::invalid_field("sha256", "must have 64 hexadecimal digits");
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// Enters a file, or says how far one with the same content has been taken.
#[utoipa::path(
    post, path = "/models/{model}/files", tag = "intake", security(("token" = ["ingest"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = FileToImport,
    responses((status = 200, description = "How far it has been taken", body = FileView))
)]
pub async fn begin(
    caller: Authorised<Ingest>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(file): Body<FileToImport>,
) -> Result<Json<FileView>, Problem> {
    let named = Named {
        project_id: caller.principal.project_id,
        model: &model,
        kind: file.kind.into(),
        version: &file.version,
        sha256: digest(&file.sha256)?,
    };
    let described = Described {
        name: &file.name,
        format: &file.format,
        bytes: file.bytes,
    };
    let known = files::begin(&services, &named, &described, &caller.principal.actor).await?;
    Ok(Json(known.into()))
}

/// Notes that a stretch of a file was taken. A stretch that does not begin where the file stands changes nothing.
#[utoipa::path(
    put, path = "/models/{model}/files/{sha256}", tag = "intake", security(("token" = ["ingest"])),
    params(("model" = String, Path, description = "Name of the model"), ("sha256" = String, Path)),
    request_body = Stretch,
    responses((status = 200, description = "How far it has been taken", body = FileView))
)]
pub async fn advance(
    caller: Authorised<Ingest>,
    State(services): State<Services>,
    Path((model, sha256)): Path<(String, String)>,
    Body(stretch): Body<Stretch>,
) -> Result<Json<FileView>, Problem> {
    let named = Named {
        project_id: caller.principal.project_id,
        model: &model,
        kind: stretch.kind.into(),
        version: &stretch.version,
        sha256: digest(&sha256)?,
    };
    let progress = Progress {
        from: stretch.from,
        to: stretch.to,
        received: stretch.received,
        kept: stretch.kept,
        rejected: stretch.rejected,
        complete: stretch.complete,
    };
    Ok(Json(
        files::advance(&services, &named, progress).await?.into(),
    ))
}

/// The files that were imported for a model, the last changed first.
#[utoipa::path(
    get, path = "/models/{model}/files", tag = "intake", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The files, 1,000 at most", body = [FileView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<Vec<FileView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let files = stored::of_model(&mut conn, model.model_id, LISTED).await?;
    Ok(Json(files.into_iter().map(FileView::from).collect()))
}
