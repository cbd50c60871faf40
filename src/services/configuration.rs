//! Configuration as code: bringing a directory's definitions in, and reading what is in force.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::baselines::{declare_all, with_overrides};
use super::error::FieldProblem;
use super::registry::{self, NewModel};
use super::{Bounds, Error, Services, recount, schemas};
use crate::domain::definitions::{
    self, Defined, Definitions, ModelDef, MonitorDef, MonitorKind, ReceiverDef, SourceFile,
    shipped_runbooks,
};
use crate::domain::ids::ProjectId;
use crate::domain::pipeline::PipelineDef;
use crate::domain::proposal::Origin;
use crate::domain::quality::QualityChoice;
use crate::domain::rule::Rule;
use crate::domain::runbook::Runbook;
use crate::storage::definitions::{self as stored, StoredDefinition};
use crate::storage::models::{self, Model};
use crate::storage::{baselines, retention, windows};

/// What an apply changed.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Applied {
    /// `kind/name` of what was added or changed.
    pub changed: Vec<String>,
    /// `kind/name` of what is no longer defined.
    pub removed: Vec<String>,
    pub unchanged: usize,
    /// Files that baselines are to be fitted on: model, baseline, path in the configuration directory.
    pub baseline_files: Vec<BaselineFile>,
    /// Digest of the files, shown wherever an object of theirs is.
    pub revision: String,
}

/// A file that the sender of a configuration has to send as well.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct BaselineFile {
    pub model: String,
    pub baseline: String,
    pub path: String,
}

/// Brings a directory's files in, all or nothing.
///
/// # Errors
/// Invalid with every problem's file, line and cause; conflict when a model would change its task.
pub async fn apply(
    services: &Services,
    project_id: ProjectId,
    files: &[SourceFile],
    actor: &str,
) -> Result<Applied, Error> {
    let now = services.clock.now();
    let parsed = definitions::parse(files).map_err(|problems| {
        let fields = problems
            .iter()
            .map(|p| {
                FieldProblem::new(
                    format!("{}:{}:{}", p.file, p.line, p.column),
                    p.cause.clone(),
                )
            })
            .collect();
        Error::invalid_fields(fields)
    })?;
    let revision = revision_of(files);
    let mut tx = services.pool.begin().await?;
    // What has to be done follows from what was declared before.
    stored::take_turn(&mut tx, project_id).await?;
    let mut applied = Applied {
        changed: Vec::new(),
        removed: Vec::new(),
        unchanged: 0,
        baseline_files: baseline_files(&parsed),
        revision: revision.clone(),
    };
    let before = stored_models(&mut tx, project_id).await?;
    let mut writer = Writer {
        conn: &mut tx,
        project_id,
        revision: &revision,
        actor,
        now,
        applied: &mut applied,
    };
    writer.put_all("model", &parsed.models, |m| &m.name).await?;
    writer.put_all("rule", &parsed.rules, |r| &r.name).await?;
    writer
        .put_all("receiver", &parsed.receivers, |r| &r.name)
        .await?;
    writer
        .put_all("pipeline", &parsed.pipelines, |p| &p.name)
        .await?;
    writer
        .put_all("runbook", &parsed.runbooks, |r| &r.name)
        .await?;
    for model in &parsed.models {
        let changed = applied
            .changed
            .contains(&format!("model/{}", model.value.name));
        let declared = Declared {
            model: &model.value,
            before: before.iter().find(|b| b.name == model.value.name),
            changed,
            file: &model.file,
            revision: &revision,
        };
        put_model(&mut tx, project_id, declared, services.bounds, actor, now).await?;
    }
    // Last, and behind the locks of the models: others wait for the project's rows while they register a version or
    // close a day.
    if let Some(project) = &parsed.project {
        models::configure_project(
            &mut tx,
            project_id,
            &project.value.name,
            project.value.auto_register,
            &project.value.receivers,
        )
        .await?;
        retention::wish(&mut tx, project_id, project.value.retention).await?;
    }
    registry::record(
        &mut tx,
        project_id,
        actor,
        "definitions.apply",
        ("revision", &revision),
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(applied)
}

struct Writer<'a> {
    conn: &'a mut PgConnection,
    project_id: ProjectId,
    revision: &'a str,
    actor: &'a str,
    now: DateTime<Utc>,
    applied: &'a mut Applied,
}

impl Writer<'_> {
    async fn put_all<T: Serialize>(
        &mut self,
        kind: &str,
        defined: &[Defined<T>],
        name: fn(&T) -> &String,
    ) -> Result<(), Error> {
        let names: Vec<String> = defined.iter().map(|d| name(&d.value).clone()).collect();
        for (definition, name) in defined.iter().zip(&names) {
            let row = StoredDefinition {
                kind: kind.to_owned(),
                name: name.clone(),
                file: definition.file.clone(),
                line: i32::try_from(definition.line).unwrap_or(i32::MAX),
                revision: self.revision.to_owned(),
                body: serde_json::to_value(&definition.value).map_err(Error::internal)?,
                applied_at: self.now,
                applied_by: self.actor.to_owned(),
            };
            if stored::put(self.conn, self.project_id, &row).await? {
                self.applied.changed.push(format!("{kind}/{name}"));
            } else {
                self.applied.unchanged += 1;
            }
        }
        let removed = stored::remove_others(self.conn, self.project_id, kind, &names).await?;
        self.applied
            .removed
            .extend(removed.into_iter().map(|name| format!("{kind}/{name}")));
        Ok(())
    }
}

fn revision_of(files: &[SourceFile]) -> String {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let mut digest = Sha256::new();
    for file in sorted {
        digest.update((file.path.len() as u64).to_le_bytes());
        digest.update(file.path.as_bytes());
        digest.update((file.text.len() as u64).to_le_bytes());
        digest.update(file.text.as_bytes());
    }
    digest
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn baseline_files(parsed: &Definitions) -> Vec<BaselineFile> {
    let of_model = |model: &Defined<ModelDef>| {
        let name = model.value.name.clone();
        let files =
            model
                .value
                .baselines
                .iter()
                .filter_map(move |baseline| match &baseline.source {
                    definitions::BaselineSource::File { path } => Some(BaselineFile {
                        model: name.clone(),
                        baseline: baseline.name.clone(),
                        path: path.clone(),
                    }),
                    definitions::BaselineSource::Window { .. } => None,
                });
        files.collect::<Vec<_>>()
    };
    parsed.models.iter().flat_map(of_model).collect()
}

/// A model as its file declares it, and as it was declared before.
#[derive(Clone, Copy)]
struct Declared<'a> {
    model: &'a ModelDef,
    before: Option<&'a ModelDef>,
    changed: bool,
    file: &'a str,
    revision: &'a str,
}

async fn stored_models(
    conn: &mut PgConnection,
    project_id: ProjectId,
) -> Result<Vec<ModelDef>, Error> {
    let stored = stored::list(conn, project_id, Some("model")).await?;
    stored.into_iter().map(read).collect()
}

async fn put_model(
    conn: &mut PgConnection,
    project_id: ProjectId,
    declared: Declared<'_>,
    bounds: Bounds,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let definition = declared.model;
    let new = NewModel {
        name: definition.name.clone(),
        task: definition.task,
        description: definition.description.clone(),
        owner: definition.owner.clone(),
        unit: definition.unit.clone(),
        positive_class: definition.positive_class.clone(),
        base_window: definition.base_window,
        segments: definition.segments.clone(),
    };
    let (model, change) = put_registered(conn, project_id, &new, actor, now).await?;
    let schema_changed = put_schema(conn, &model, declared, actor, now).await?;
    declare_all(conn, &model, definition, actor, now).await?;
    if schema_changed || change == Change::Segments {
        recount::count_again(conn, &model, bounds, now).await?;
    } else if declared.changed {
        windows::touch_all(conn, model.model_id, now).await?;
    }
    Ok(())
}

/// What a registration says of a model that it did not say before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing, or the model is new: nothing has been counted.
    None,
    /// By what its rows are counted.
    Segments,
    /// Something by which it is measured or called.
    Other,
}

/// Adds a model or changes one, as a file of definitions does that says no more of it: what was counted and measured by
/// what has changed is counted and measured again.
///
/// # Errors
/// As [`registry::register_model`].
pub async fn register_model(
    services: &Services,
    project_id: ProjectId,
    new: &NewModel,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Model, Error> {
    let mut tx = services.pool.begin().await?;
    let (model, change) = put_registered(&mut tx, project_id, new, actor, now).await?;
    match change {
        Change::None => {}
        Change::Segments => recount::count_again(&mut tx, &model, services.bounds, now).await?,
        Change::Other => windows::touch_all(&mut tx, model.model_id, now).await?,
    }
    tx.commit().await?;
    Ok(model)
}

/// Registers a model and sorts its outcomes by its segments; the rest is for the caller to count again.
async fn put_registered(
    conn: &mut PgConnection,
    project_id: ProjectId,
    new: &NewModel,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<(Model, Change), Error> {
    // Locked before its file is in force for others: who measures it goes by what was declared, or by what is.
    let before = match models::find(conn, project_id, &new.name).await? {
        Some(known) => Some(registry::lock_model(conn, known.model_id).await?),
        None => None,
    };
    let model = registry::register_model(conn, project_id, new, actor, now).await?;
    let change = match before {
        Some(before) if before.segments != model.segments => {
            recount::sort_outcomes_again(conn, &model).await?;
            Change::Segments
        }
        Some(before) if before != model => Change::Other,
        _ => Change::None,
    };
    Ok((model, change))
}

/// Puts into force what a file says of the schema, when it says something else than before: what people have
/// accepted since then stays until the file speaks again.
async fn put_schema(
    conn: &mut PgConnection,
    model: &Model,
    declared: Declared<'_>,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let Some(wanted) = &declared.model.schema else {
        return Ok(false);
    };
    let said_before = declared.before.and_then(|before| before.schema.as_ref());
    if said_before == Some(wanted) && baselines::schema(conn, model.model_id).await?.is_some() {
        return Ok(false);
    }
    let inferred = match &wanted.from {
        None => Some(Vec::new()),
        // Not fitted yet: the schema follows when the baseline is.
        Some(name) => baselines::inferred(conn, model.model_id, name).await?,
    };
    let Some(inferred) = inferred else {
        return Ok(false);
    };
    let expected = with_overrides(inferred, Some(declared.model));
    let source = format!("declared in {} at {}", declared.file, declared.revision);
    let from = (Origin::File, source.as_str());
    schemas::adopt(conn, model, &expected, from, actor, now).await
}

fn read<T: DeserializeOwned>(definition: StoredDefinition) -> Result<T, Error> {
    serde_json::from_value(definition.body).map_err(Error::internal)
}

async fn find<T: DeserializeOwned>(
    conn: &mut PgConnection,
    project_id: ProjectId,
    kind: &str,
    name: &str,
) -> Result<Option<T>, Error> {
    stored::find(conn, project_id, kind, name)
        .await?
        .map(read)
        .transpose()
}

/// A model's file, if it has one.
pub async fn model_definition(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<Option<ModelDef>, Error> {
    find(conn, model.project_id, "model", &model.name).await
}

/// What is measured of a model: as its file says, or what is usual when it has none.
pub async fn monitors(conn: &mut PgConnection, model: &Model) -> Result<Vec<MonitorDef>, Error> {
    let Some(declared) = model_definition(conn, model).await? else {
        return Ok(MonitorDef::usual());
    };
    let predictions_take = declared.predictions_take();
    let mut monitors = if declared.monitors.is_empty() {
        MonitorDef::usual()
    } else {
        declared.monitors
    };
    for monitor in &mut monitors {
        monitor.predictions_take = predictions_take;
    }
    Ok(monitors)
}

/// What the first quality monitor of a model chooses.
pub async fn quality_choice(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<QualityChoice, Error> {
    let monitors = monitors(conn, model).await?;
    let of_quality = monitors
        .into_iter()
        .find(|monitor| monitor.kind == MonitorKind::Quality);
    Ok(of_quality
        .map(|monitor| monitor.quality)
        .unwrap_or_default())
}

/// The rules on a model.
pub async fn rules(conn: &mut PgConnection, model: &Model) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for definition in stored::list(conn, model.project_id, Some("rule")).await? {
        let rule: Rule = read(definition)?;
        if rule.model == model.name {
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// A receiver.
pub async fn receiver(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
) -> Result<Option<ReceiverDef>, Error> {
    find(conn, project_id, "receiver", name).await
}

/// A pipeline.
pub async fn pipeline(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
) -> Result<Option<PipelineDef>, Error> {
    find(conn, project_id, "pipeline", name).await
}

/// A runbook: the project's own, or the shipped one of that name.
pub async fn runbook(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
) -> Result<Option<Runbook>, Error> {
    if let Some(own) = find(conn, project_id, "runbook", name).await? {
        return Ok(Some(own));
    }
    Ok(shipped_runbooks()
        .into_iter()
        .map(|shipped| shipped.value)
        .find(|shipped| shipped.name == name))
}
