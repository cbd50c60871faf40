//! Models, versions and the roles they are deployed in.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Services, overflow};
use crate::domain::ids::{ModelId, ProjectId, VersionId};
use crate::domain::model::{Role, Task};
use crate::domain::window::Grain;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::models::{self, Deployment, Model, Version};

/// The environment of deployments that do not name one.
pub const PRODUCTION: &str = "production";

/// How many models a project may have, give or take those that are registered at the same moment.
pub const MAX_MODELS: i64 = 1_000;
/// How many versions a model may have.
pub const MAX_VERSIONS: usize = 1_000;

/// What a model is registered with.
#[derive(Debug, Clone)]
pub struct NewModel {
    pub name: String,
    pub task: Task,
    pub description: String,
    pub owner: String,
    pub unit: String,
    pub positive_class: Option<String>,
    pub base_window: Grain,
    pub segments: Vec<String>,
}

impl NewModel {
    /// A model of which nothing but its name and task is known.
    #[must_use]
    pub fn named(name: &str, task: Task) -> Self {
        Self {
            name: name.to_owned(),
            task,
            description: String::new(),
            owner: String::new(),
            unit: String::new(),
            positive_class: (task == Task::Binary).then(|| "1".to_owned()),
            base_window: Grain::Day,
            segments: Vec::new(),
        }
    }
}

/// Adds a model, or changes what may change of one that exists.
///
/// # Errors
/// Invalid for a name that cannot be used in an address; conflict when the model exists with another task or
/// base window, which decide how its rows were counted, or when the project has [`MAX_MODELS`] models.
pub async fn register_model(
    conn: &mut PgConnection,
    project_id: ProjectId,
    new: &NewModel,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Model, Error> {
    check_name("name", &new.name)?;
    let mut model = Model {
        model_id: ModelId::new(now),
        project_id,
        name: new.name.clone(),
        task: new.task,
        description: new.description.clone(),
        owner: new.owner.clone(),
        unit: new.unit.clone(),
        positive_class: new.positive_class.clone(),
        base_window: new.base_window,
        segments: new.segments.clone(),
    };
    if let Some(existing) = models::find(conn, project_id, &new.name).await? {
        if existing.task != new.task || existing.base_window != new.base_window {
            return Err(Error::Conflict(format!(
                "model {:?} exists with another task or base window; these decide how its rows were counted and \
                 cannot change: register a model of another name",
                new.name
            )));
        }
        model.model_id = existing.model_id;
        if model == existing {
            return Ok(existing);
        }
    } else if models::count(conn, project_id).await? >= MAX_MODELS {
        return Err(Error::Conflict(format!(
            "model {:?} is one too many: a project may have {MAX_MODELS} models; put it into a project of its own, \
             or send what differs within a model as a segment",
            new.name
        )));
    }
    model.model_id = models::upsert(conn, &model, now).await?;
    record(
        conn,
        project_id,
        actor,
        "model.register",
        ("model", &new.name),
        now,
    )
    .await?;
    Ok(model)
}

/// The model of that name.
///
/// # Errors
/// Not found.
pub async fn model(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
) -> Result<Model, Error> {
    models::find(conn, project_id, name)
        .await?
        .ok_or_else(|| Error::not_found(format!("model {name:?}")))
}

/// Locks a model as [`models::lock`] does, and reads it: it may have been declared anew before the lock was had.
///
/// # Errors
/// When the database fails.
pub(super) async fn lock_model(conn: &mut PgConnection, model_id: ModelId) -> Result<Model, Error> {
    models::lock(conn, model_id).await?;
    models::get(conn, model_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("model {model_id}")))
}

/// The model of that name for rows that came in; registered on sight where the project allows it, as a
/// regression, because nothing else is known.
pub(super) async fn model_for_intake(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Model, Error> {
    if let Some(model) = models::find(conn, project_id, name).await? {
        return Ok(model);
    }
    let called = models::called(conn, project_id, &[name.to_owned()]).await?;
    if let Some((_, model_id)) = called.into_iter().next()
        && let Some(model) = models::get(conn, model_id).await?
    {
        return Ok(model);
    }
    if models::auto_registers(conn, project_id).await? {
        let new = NewModel::named(name, Task::Regression);
        let registered = register_model(conn, project_id, &new, "intake", now).await;
        if matches!(registered, Err(Error::Conflict(_))) {
            overflow::note_model(conn, project_id, name, now).await?;
        }
        return registered;
    }
    Err(Error::not_found(format!(
        "model {name:?} (register it with `bellwether model add {name} --task regression|binary|multiclass`, \
         or declare it in a file and run `bellwether apply`)"
    )))
}

/// The champion of a model in production.
pub async fn champion(conn: &mut PgConnection, model: &Model) -> Result<Option<Deployment>, Error> {
    Ok(deployed(conn, model)
        .await?
        .into_iter()
        .find(|d| d.role == Role::Champion && d.environment == PRODUCTION))
}

/// The present deployments of a model.
pub async fn deployed(conn: &mut PgConnection, model: &Model) -> Result<Vec<Deployment>, Error> {
    let mut deployments = models::deployments(conn, model.model_id).await?;
    deployments.retain(|d| d.ended_at.is_none());
    Ok(deployments)
}

/// Registers a version unless it is. The first version of a model becomes its champion, any later one a
/// challenger: so that what is sent is measured from the first row on.
///
/// # Errors
/// Invalid for a name that cannot be used; conflict when the model has [`MAX_VERSIONS`] versions.
pub async fn register_version(
    services: &Services,
    model: &Model,
    name: &str,
    lineage: serde_json::Value,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<VersionId, Error> {
    let mut tx = services.pool.begin().await?;
    let (version_id, _) = add_version(&mut tx, model, name, lineage, actor, now).await?;
    crate::faults::crash_point("version.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("version.after_commit");
    Ok(version_id)
}

/// As [`register_version`], in the caller's transaction; returns whether the version is new.
pub(super) async fn add_version(
    conn: &mut PgConnection,
    model: &Model,
    name: &str,
    lineage: serde_json::Value,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<(VersionId, bool), Error> {
    check_name("version", name)?;
    models::lock(conn, model.model_id).await?;
    let known = models::version_numbers(conn, model.model_id).await?;
    if known.len() >= MAX_VERSIONS && !known.iter().any(|(known, _, _)| known == name) {
        return Err(one_too_many(model, name));
    }
    let champion = champion(conn, model).await?;
    let version = Version {
        version_id: VersionId::new(now),
        name: name.to_owned(),
        parent_id: champion.as_ref().map(|c| c.version_id),
        lineage,
        created_at: now,
        created_by: actor.to_owned(),
    };
    let (version_id, is_new) = models::add_version(conn, model, &version).await?;
    if is_new {
        let (role, share) = if champion.is_some() {
            (Role::Challenger, 0.0)
        } else {
            (Role::Champion, 1.0)
        };
        models::deploy(conn, model, version_id, PRODUCTION, role, share, now).await?;
        let object = format!("{}/{name}", model.name);
        record(
            conn,
            model.project_id,
            actor,
            "version.register",
            ("version", &object),
            now,
        )
        .await?;
    }
    Ok((version_id, is_new))
}

/// What is said of a version that there is no room for.
pub(super) fn one_too_many(model: &Model, version: &str) -> Error {
    Error::Conflict(format!(
        "version {version:?} is one too many: a model may have {MAX_VERSIONS} versions; {:?} has, so register another model",
        model.name
    ))
}

pub(super) async fn record(
    conn: &mut PgConnection,
    project_id: ProjectId,
    actor: &str,
    action: &str,
    (object_kind, object_id): (&str, &str),
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let event = AuditEvent {
        project_id: Some(project_id),
        at: now,
        actor,
        action,
        object_kind,
        object_id,
        detail: serde_json::json!({}),
    };
    audit::record(conn, &event).await?;
    Ok(())
}

/// Names of models and versions appear in addresses and file names: letters, digits, `.`, `_` and `-`.
fn check_name(field: &str, name: &str) -> Result<(), Error> {
    let usable = (1..=100).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !name.starts_with('.');
    if usable {
        return Ok(());
    }
    Err(Error::invalid_field(
        field,
        "must be 1 to 100 bytes of letters, digits, '.', '_' or '-', and must not begin with '.'",
    ))
}
