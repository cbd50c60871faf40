//! The account of imported files: which are known, and how far each has been taken. The rows themselves go the way of all
//! rows; this only says where to go on, so a note that is lost costs some duplicates and no row.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Services, registry};
use crate::domain::ids::ProjectId;
use crate::storage::files::{self, Described, FileKey, ImportedFile, Progress};
use crate::storage::intake::BatchKind;

/// The longest name kept.
const MOST_NAME_BYTES: usize = 1_000;

/// A file as its sender names it.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    pub project_id: ProjectId,
    pub model: &'a str,
    pub kind: BatchKind,
    /// The version given with the file; empty when its rows name theirs.
    pub version: &'a str,
    pub sha256: [u8; 32],
}

async fn key(conn: &mut PgConnection, named: &Named<'_>) -> Result<FileKey, Error> {
    let model = registry::model(conn, named.project_id, named.model).await?;
    Ok(FileKey {
        model_id: model.model_id,
        kind: named.kind,
        version: named.version.to_owned(),
        sha256: named.sha256.to_vec(),
    })
}

/// Enters a file, or finds how far it has been taken.
///
/// # Errors
/// Not found for an unknown model, invalid for a name that is too long.
pub async fn begin(
    services: &Services,
    named: &Named<'_>,
    described: &Described<'_>,
    actor: &str,
) -> Result<ImportedFile, Error> {
    if described.name.len() > MOST_NAME_BYTES || described.name.contains('\0') {
        let cause = format!("must have at most {MOST_NAME_BYTES} bytes and no NUL");
        return Err(Error::invalid_field("name", cause));
    }
    let now: DateTime<Utc> = services.clock.now();
    let mut conn = services.pool.acquire().await?;
    let key = key(&mut conn, named).await?;
    files::enter(&mut conn, named.project_id, &key, described, (actor, now)).await?;
    found(&mut conn, &key).await
}

/// Notes that a stretch of a file was taken, and returns how far it has been: somebody else may be further.
///
/// # Errors
/// Not found for a file that was not entered; invalid for a stretch that ends before it begins.
pub async fn advance(
    services: &Services,
    named: &Named<'_>,
    progress: Progress,
) -> Result<ImportedFile, Error> {
    let counts = [
        progress.from,
        progress.received,
        progress.kept,
        progress.rejected,
    ];
    if progress.to < progress.from || counts.iter().any(|count| *count < 0) {
        return Err(Error::invalid_field(
            "to",
            "must not be before from, and no count below 0",
        ));
    }
    let now = services.clock.now();
    let mut conn = services.pool.acquire().await?;
    let key = key(&mut conn, named).await?;
    files::advance(&mut conn, &key, progress, now).await?;
    found(&mut conn, &key).await
}

async fn found(conn: &mut PgConnection, key: &FileKey) -> Result<ImportedFile, Error> {
    files::find(conn, key)
        .await?
        .ok_or_else(|| Error::not_found("the file"))
}
