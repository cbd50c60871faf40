//! Models, versions and deployments.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{DeploymentId, ModelId, ProjectId, VersionId};
use crate::domain::model::{Role, Task};
use crate::domain::window::Grain;

/// A registered model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub model_id: ModelId,
    pub project_id: ProjectId,
    pub name: String,
    pub task: Task,
    pub description: String,
    pub owner: String,
    pub unit: String,
    pub positive_class: Option<String>,
    pub base_window: Grain,
    pub segments: Vec<String>,
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub version_id: VersionId,
    pub name: String,
    pub parent_id: Option<VersionId>,
    pub lineage: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
}

/// One stay of a version in a role.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    pub deployment_id: DeploymentId,
    pub version_id: VersionId,
    pub version: String,
    pub environment: String,
    pub role: Role,
    pub traffic_share: f64,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Deployment {
    /// Whether users get its answers: those of a shadow are for comparison, and so are those of a challenger without a share of
    /// the traffic.
    #[must_use]
    pub fn answers_users(&self) -> bool {
        match self.role {
            Role::Champion | Role::Canary => true,
            Role::Challenger => self.traffic_share > 0.0,
            Role::Shadow => false,
        }
    }
}

/// Whether models and versions of the project are registered on sight.
pub async fn auto_registers(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        "SELECT auto_register FROM projects WHERE project_id = $1",
        project_id.0
    )
    .fetch_one(conn)
    .await
}

/// How many times the project's settings, tokens, models, versions and deployments were changed. As long as it is
/// the same, so is all that was read of them together with it or after it.
pub async fn generation(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "SELECT generation FROM projects WHERE project_id = $1",
        project_id.0
    )
    .fetch_one(conn)
    .await
}

/// The oldest project: the one a new database begins with.
pub async fn any_project(conn: &mut PgConnection) -> sqlx::Result<ProjectId> {
    sqlx::query_scalar!(
        r#"SELECT project_id AS "project_id: ProjectId" FROM projects ORDER BY created_at, project_id LIMIT 1"#
    )
    .fetch_one(conn)
    .await
}

/// Keeps others from changing the project's own settings and alerts until the transaction ends.
pub async fn lock_project(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT project_id FROM projects WHERE project_id = $1 FOR NO KEY UPDATE",
        project_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// The name of a project.
pub async fn project_name(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        "SELECT name FROM projects WHERE project_id = $1",
        project_id.0
    )
    .fetch_one(conn)
    .await
}

/// Who is told of alerts that are about the project itself.
pub async fn project_receivers(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "SELECT receivers FROM projects WHERE project_id = $1",
        project_id.0
    )
    .fetch_one(conn)
    .await
}

/// Sets the project's name, whether it registers on sight, and who is told of alerts about itself.
pub async fn configure_project(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
    auto_register: bool,
    receivers: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE projects SET name = $2, auto_register = $3, receivers = $4 WHERE project_id = $1",
        project_id.0,
        name,
        auto_register,
        receivers
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Models by the names that senders call them: their own, or one that their file says they are served under.
pub async fn called(
    conn: &mut PgConnection,
    project_id: ProjectId,
    names: &[String],
) -> sqlx::Result<Vec<(String, ModelId)>> {
    let found = sqlx::query!(
        r#"
        SELECT name AS "called!", model_id AS "model_id!: ModelId"
        FROM models
        WHERE project_id = $1 AND name = ANY($2)
        UNION ALL
        SELECT called, model_id
        FROM definitions d
        JOIN models m ON m.project_id = d.project_id AND m.name = d.name
        CROSS JOIN jsonb_array_elements_text(d.body #> '{serving,names}') AS called
        WHERE d.project_id = $1 AND d.kind = 'model' AND jsonb_typeof(d.body #> '{serving,names}') = 'array'
            AND called = ANY($2)
        "#,
        project_id.0,
        names
    )
    .fetch_all(conn)
    .await?;
    let found = found.into_iter();
    Ok(found.map(|row| (row.called, row.model_id)).collect())
}

/// The model of that name in the project.
pub async fn find(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
) -> sqlx::Result<Option<Model>> {
    sqlx::query_as!(
        Model,
        r#"
        SELECT model_id AS "model_id: ModelId", project_id AS "project_id: ProjectId", name,
               task AS "task: Task", description, owner, unit, positive_class,
               base_window AS "base_window: Grain", segments
        FROM models
        WHERE project_id = $1 AND name = $2
        "#,
        project_id.0,
        name
    )
    .fetch_optional(conn)
    .await
}

/// The model of that id.
pub async fn get(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Option<Model>> {
    sqlx::query_as!(
        Model,
        r#"
        SELECT model_id AS "model_id: ModelId", project_id AS "project_id: ProjectId", name,
               task AS "task: Task", description, owner, unit, positive_class,
               base_window AS "base_window: Grain", segments
        FROM models
        WHERE model_id = $1
        "#,
        model_id.0
    )
    .fetch_optional(conn)
    .await
}

/// All models of a project (of every project when `None`), by name.
pub async fn list(
    conn: &mut PgConnection,
    project_id: Option<ProjectId>,
) -> sqlx::Result<Vec<Model>> {
    sqlx::query_as!(
        Model,
        r#"
        SELECT model_id AS "model_id: ModelId", project_id AS "project_id: ProjectId", name,
               task AS "task: Task", description, owner, unit, positive_class,
               base_window AS "base_window: Grain", segments
        FROM models
        WHERE $1::uuid IS NULL OR project_id = $1
        ORDER BY name, model_id
        "#,
        project_id.map(|id| id.0)
    )
    .fetch_all(conn)
    .await
}

/// Adds a model, or changes what may change of one that exists. The task and the base window of a model
/// with data are fixed: they decide how its rows were counted.
pub async fn upsert(
    conn: &mut PgConnection,
    model: &Model,
    now: DateTime<Utc>,
) -> sqlx::Result<ModelId> {
    sqlx::query_scalar!(
        r#"
        INSERT INTO models (model_id, project_id, name, task, description, owner, unit, positive_class,
                            base_window, segments, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT ON CONSTRAINT models_name_unique DO UPDATE
        SET description = EXCLUDED.description,
            owner = EXCLUDED.owner,
            unit = EXCLUDED.unit,
            positive_class = EXCLUDED.positive_class,
            segments = EXCLUDED.segments
        RETURNING model_id AS "model_id: ModelId"
        "#,
        model.model_id.0,
        model.project_id.0,
        model.name,
        model.task as Task,
        model.description,
        model.owner,
        model.unit,
        model.positive_class,
        model.base_window as Grain,
        &model.segments,
        now
    )
    .fetch_one(conn)
    .await
}

/// How many models a project has.
pub async fn count(conn: &mut PgConnection, project_id: ProjectId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!" FROM models WHERE project_id = $1"#,
        project_id.0
    )
    .fetch_one(conn)
    .await
}

/// Serialises everything that settles, counts again or re-roles a model: held until the transaction ends.
pub async fn lock(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT model_id FROM models WHERE model_id = $1 FOR NO KEY UPDATE",
        model_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// All versions of a model, oldest first.
pub async fn versions(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Version>> {
    sqlx::query_as!(
        Version,
        r#"
        SELECT model_version_id AS "version_id: VersionId", name, parent_version_id AS "parent_id: VersionId",
               lineage, created_at, created_by
        FROM model_versions
        WHERE model_id = $1
        ORDER BY created_at, model_version_id
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// The versions of a model by name, each with the short number that keys of predictions have.
pub async fn version_numbers(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Vec<(String, VersionId, i32)>> {
    let rows = sqlx::query!(
        r#"
        SELECT name, model_version_id AS "version_id: VersionId", version_number
        FROM model_versions
        WHERE model_id = $1
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.name, row.version_id, row.version_number))
        .collect())
}

/// The names of all versions of a project's models.
pub async fn version_names(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> sqlx::Result<Vec<(VersionId, String)>> {
    let rows = sqlx::query!(
        r#"
        SELECT model_version_id AS "version_id: VersionId", name
        FROM model_versions
        WHERE project_id = $1
        "#,
        project_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.version_id, row.name))
        .collect())
}

/// Adds a version unless one of that name exists; returns its id and whether it is new.
pub async fn add_version(
    conn: &mut PgConnection,
    model: &Model,
    version: &Version,
) -> sqlx::Result<(VersionId, bool)> {
    let added = sqlx::query_scalar!(
        r#"
        INSERT INTO model_versions (model_version_id, project_id, model_id, name, parent_version_id, lineage,
                                    created_at, created_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT ON CONSTRAINT model_versions_name_unique DO NOTHING
        RETURNING model_version_id AS "version_id: VersionId"
        "#,
        version.version_id.0,
        model.project_id.0,
        model.model_id.0,
        version.name,
        version.parent_id.map(|id| id.0),
        version.lineage,
        version.created_at,
        version.created_by
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(version_id) = added {
        return Ok((version_id, true));
    }
    let existing = sqlx::query_scalar!(
        r#"
        SELECT model_version_id AS "version_id: VersionId"
        FROM model_versions
        WHERE model_id = $1 AND name = $2
        "#,
        model.model_id.0,
        version.name
    )
    .fetch_one(conn)
    .await?;
    Ok((existing, false))
}

/// Every stay of the model's versions in a role, oldest first; ended ones included.
pub async fn deployments(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Vec<Deployment>> {
    sqlx::query_as!(
        Deployment,
        r#"
        SELECT d.deployment_id AS "deployment_id: DeploymentId", d.model_version_id AS "version_id: VersionId",
               v.name AS version, d.environment, d.role AS "role: Role", d.traffic_share, d.started_at,
               d.ended_at
        FROM deployments d
        JOIN model_versions v USING (model_version_id)
        WHERE d.model_id = $1
        ORDER BY d.started_at, d.deployment_id
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// Puts a version into a role from `now` on: its present stay in the environment, if any, ends.
pub async fn deploy(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    environment: &str,
    role: Role,
    traffic_share: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<DeploymentId> {
    end_deployment(&mut *conn, version_id, environment, now).await?;
    let deployment_id = DeploymentId::new(now);
    sqlx::query!(
        r#"
        INSERT INTO deployments (deployment_id, project_id, model_id, model_version_id, environment, role,
                                 traffic_share, started_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        deployment_id.0,
        model.project_id.0,
        model.model_id.0,
        version_id.0,
        environment,
        role as Role,
        traffic_share,
        now
    )
    .execute(conn)
    .await?;
    Ok(deployment_id)
}

/// Ends a version's present stay in an environment.
pub async fn end_deployment(
    conn: &mut PgConnection,
    version_id: VersionId,
    environment: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE deployments
        SET ended_at = $3
        WHERE model_version_id = $1 AND environment = $2 AND ended_at IS NULL
        "#,
        version_id.0,
        environment,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}
