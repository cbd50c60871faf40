//! Configuration as code, brought in and shown.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Admin, Authorised, Read};
use super::bodies::Body;
use super::problem::Problem;
use crate::domain::definitions::SourceFile;
use crate::services::Services;
use crate::services::configuration::{self, Applied};
use crate::storage::definitions::{self as stored, StoredDefinition};

/// The files of a configuration directory.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFiles {
    /// All of them: what they do not define is removed.
    pub files: Vec<DefinitionFile>,
}

/// A file of a configuration directory.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFile {
    /// Relative to the directory, with `/` between its parts.
    pub path: String,
    pub text: String,
}

/// Brings a configuration directory in, all or nothing. Problems are listed by file, line and column.
#[utoipa::path(
    post, path = "/definitions", tag = "definitions", security(("token" = ["admin"])),
    request_body = DefinitionFiles,
    responses((status = 200, description = "What changed", body = Applied))
)]
pub async fn apply(
    caller: Authorised<Admin>,
    State(services): State<Services>,
    Body(sent): Body<DefinitionFiles>,
) -> Result<Json<Applied>, Problem> {
    let files: Vec<SourceFile> = sent
        .files
        .into_iter()
        .map(|file| SourceFile {
            path: file.path,
            text: file.text,
        })
        .collect();
    let principal = caller.principal;
    let applied =
        configuration::apply(&services, principal.project_id, &files, &principal.actor).await?;
    Ok(Json(applied))
}

/// An object that a file defines.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DefinitionView {
    /// `model`, `rule`, `receiver`, `pipeline` or `runbook`.
    pub kind: String,
    pub name: String,
    pub file: String,
    pub line: i32,
    /// Digest of the files it came with.
    pub revision: String,
    pub definition: serde_json::Value,
    pub applied_at: DateTime<Utc>,
    pub applied_by: String,
}

impl From<StoredDefinition> for DefinitionView {
    fn from(stored: StoredDefinition) -> Self {
        Self {
            kind: stored.kind,
            name: stored.name,
            file: stored.file,
            line: stored.line,
            revision: stored.revision,
            definition: stored.body,
            applied_at: stored.applied_at,
            applied_by: stored.applied_by,
        }
    }
}

/// Everything that files define in the project, by kind and name.
#[utoipa::path(
    get, path = "/definitions", tag = "definitions", security(("token" = ["read"])),
    responses((status = 200, description = "The definitions", body = [DefinitionView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
) -> Result<Json<Vec<DefinitionView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let definitions = stored::list(&mut conn, caller.principal.project_id, None).await?;
    let views = definitions.into_iter().map(DefinitionView::from);
    Ok(Json(views.collect()))
}
