//! The names behind ids, for answers that people read.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId, VersionId};
use crate::storage::models;

/// The names of a project's models and versions.
#[derive(Debug)]
pub struct Names {
    models: HashMap<ModelId, String>,
    versions: HashMap<VersionId, String>,
}

impl Names {
    /// All of a project.
    pub async fn of(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<Self> {
        let models = models::list(conn, Some(project_id)).await?;
        let versions = models::version_names(conn, project_id).await?;
        Ok(Self {
            models: models.into_iter().map(|m| (m.model_id, m.name)).collect(),
            versions: versions.into_iter().collect(),
        })
    }

    /// The name of a model of the project.
    pub fn model(&self, model_id: ModelId) -> String {
        self.models.get(&model_id).cloned().unwrap_or_default()
    }

    /// The name of a version of the project.
    pub fn version(&self, version_id: VersionId) -> Option<String> {
        self.versions.get(&version_id).cloned()
    }
}
