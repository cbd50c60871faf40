//! Models, their versions, and who is champion.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::auth::{Authorised, Operate, Read};
use super::baselines::BaselineView;
use super::bodies::{Body, Path};
use super::problem::Problem;
use crate::domain::ids::{AlertId, PromotionId, VersionId};
use crate::domain::model::{Role, Task};
use crate::domain::schema::FeatureExpectation;
use crate::domain::window::Grain;
use crate::services::promotion::{self, Order};
use crate::services::registry::{self, NewModel};
use crate::services::{Error, Services, configuration};
use crate::storage::models::{self, Deployment, Model, Version};
use crate::storage::{alerts, baselines, retention, windows};

/// A model to be registered.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelToRegister {
    /// Letters, digits, `.`, `_` and `-`.
    pub name: String,
    pub task: Task,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub owner: String,
    /// The unit of what is predicted, such as `minutes`.
    #[serde(default)]
    pub unit: String,
    /// The class that `score` is the probability of, for binary models; `1` when absent.
    pub positive_class: Option<String>,
    /// `hour` or `day`; `day` when absent.
    pub window: Option<Grain>,
    /// The features or sent segments that slice everything measured.
    #[serde(default)]
    pub segments: Vec<String>,
}

impl ModelToRegister {
    fn into_new(self) -> Result<NewModel, Error> {
        let usual = NewModel::named(&self.name, self.task);
        let base_window = self.window.unwrap_or(usual.base_window);
        if !matches!(base_window, Grain::Hour | Grain::Day) {
            return Err(Error::invalid_field("window", "must be hour or day"));
        }
        Ok(NewModel {
            description: self.description,
            owner: self.owner,
            unit: self.unit,
            positive_class: self.positive_class.or(usual.positive_class),
            base_window,
            segments: self.segments,
            ..NewModel::named(&self.name, self.task)
        })
    }
}

/// A model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ModelView {
    pub name: String,
    pub task: Task,
    pub description: String,
    pub owner: String,
    pub unit: String,
    pub positive_class: Option<String>,
    /// How long the windows are that everything is counted in.
    pub window: Grain,
    pub segments: Vec<String>,
}

impl From<Model> for ModelView {
    fn from(model: Model) -> Self {
        Self {
            name: model.name,
            task: model.task,
            description: model.description,
            owner: model.owner,
            unit: model.unit,
            positive_class: model.positive_class,
            window: model.base_window,
            segments: model.segments,
        }
    }
}

/// A version of a model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct VersionView {
    pub version_id: VersionId,
    pub version: String,
    /// The version that was champion when this one was registered.
    pub parent: Option<String>,
    /// Where the version comes from, in the words of whoever registered it.
    pub lineage: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
}

fn version_views(versions: Vec<Version>) -> Vec<VersionView> {
    let name_of = |id| {
        versions
            .iter()
            .find(|version| version.version_id == id)
            .map(|version| version.name.clone())
    };
    let parents: Vec<_> = versions
        .iter()
        .map(|version| version.parent_id.and_then(name_of))
        .collect();
    let view = |(version, parent): (Version, Option<String>)| VersionView {
        version_id: version.version_id,
        version: version.name,
        parent,
        lineage: version.lineage,
        created_at: version.created_at,
        created_by: version.created_by,
    };
    versions.into_iter().zip(parents).map(view).collect()
}

/// A version's stay in a role.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeploymentView {
    pub version: String,
    pub environment: String,
    pub role: Role,
    pub traffic_share: f64,
    pub started_at: DateTime<Utc>,
    /// Nothing for a present stay.
    pub ended_at: Option<DateTime<Utc>>,
}

impl From<Deployment> for DeploymentView {
    fn from(deployment: Deployment) -> Self {
        Self {
            version: deployment.version,
            environment: deployment.environment,
            role: deployment.role,
            traffic_share: deployment.traffic_share,
            started_at: deployment.started_at,
            ended_at: deployment.ended_at,
        }
    }
}

/// The schema in force of a model.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SchemaView {
    pub version: i32,
    pub features: Vec<FeatureExpectation>,
}

/// An alert that is open, by its rule.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OpenAlert {
    pub alert_id: AlertId,
    pub rule: String,
}

/// A model with what belongs to it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ModelDetail {
    #[serde(flatten)]
    pub model: ModelView,
    pub versions: Vec<VersionView>,
    /// Present and past ones, oldest first.
    pub deployments: Vec<DeploymentView>,
    pub baselines: Vec<BaselineView>,
    /// Nothing until the first baseline is fitted or a schema is declared.
    pub schema: Option<SchemaView>,
    pub open_alerts: Vec<OpenAlert>,
    /// How many windows its monitors have measured.
    pub windows_measured: i64,
    /// Predictions, features, labels and outcomes of before are gone, but for days that were given back from the
    /// archive; what was measured of them then is kept.
    pub raw_gone_before: Option<DateTime<Utc>>,
    /// Counts by feature of before are gone.
    pub profiles_gone_before: Option<DateTime<Utc>>,
    /// Measurements of before are gone.
    pub measurements_gone_before: Option<DateTime<Utc>>,
}

/// The models of the project, by name.
#[utoipa::path(
    get, path = "/models", tag = "models", security(("token" = ["read"])),
    responses((status = 200, description = "The models", body = [ModelView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
) -> Result<Json<Vec<ModelView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let models = models::list(&mut conn, Some(caller.principal.project_id)).await?;
    Ok(Json(models.into_iter().map(ModelView::from).collect()))
}

/// Registers a model, or changes what may change of one that exists; its task and window are fixed.
#[utoipa::path(
    post, path = "/models", tag = "models", security(("token" = ["operate"])),
    request_body = ModelToRegister,
    responses((status = 200, description = "The model as it is now", body = ModelView))
)]
pub async fn register(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Body(model): Body<ModelToRegister>,
) -> Result<Json<ModelView>, Problem> {
    let (new, now) = (model.into_new()?, services.clock.now());
    let (project_id, actor) = (caller.principal.project_id, &caller.principal.actor);
    let model = configuration::register_model(&services, project_id, &new, actor, now).await?;
    Ok(Json(model.into()))
}

/// A model with its versions, deployments, baselines, schema and open alerts.
#[utoipa::path(
    get, path = "/models/{model}", tag = "models", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The model", body = ModelDetail))
)]
pub async fn show(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<ModelDetail>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let model_id = model.model_id;
    let versions = models::versions(&mut conn, model_id).await?;
    let deployments = models::deployments(&mut conn, model_id).await?;
    let schema = baselines::schema(&mut conn, model_id).await?;
    let open_alerts = alerts::open_rules(&mut conn, model_id).await?;
    let baselines = baselines::in_force(&mut conn, model_id).await?;
    let windows_measured = windows::measured_count(&mut conn, model_id).await?;
    let marks = retention::marks(&mut conn, model.project_id).await?;
    Ok(Json(ModelDetail {
        windows_measured,
        raw_gone_before: marks.raw_gone_before,
        profiles_gone_before: marks.profiles_gone_before,
        measurements_gone_before: marks.measurements_gone_before,
        baselines: BaselineView::all(baselines, &versions),
        model: model.into(),
        versions: version_views(versions),
        deployments: deployments.into_iter().map(DeploymentView::from).collect(),
        schema: schema.map(|schema| SchemaView {
            version: schema.version,
            features: schema.features,
        }),
        open_alerts: open_alerts
            .into_iter()
            .map(|(rule, alert_id)| OpenAlert { alert_id, rule })
            .collect(),
    }))
}

/// A version to be registered.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionToRegister {
    pub version: String,
    /// Training run, data, code, who and when, in your own words.
    #[serde(default = "no_lineage")]
    pub lineage: serde_json::Value,
}

fn no_lineage() -> serde_json::Value {
    serde_json::json!({})
}

/// A version that is registered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RegisteredVersion {
    pub version_id: VersionId,
    pub version: String,
}

/// Registers a version unless it is. The first version of a model becomes its champion, any later one a
/// challenger.
#[utoipa::path(
    post, path = "/models/{model}/versions", tag = "models", security(("token" = ["operate"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = VersionToRegister,
    responses((status = 200, description = "The version", body = RegisteredVersion))
)]
pub async fn register_version(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(new): Body<VersionToRegister>,
) -> Result<Json<RegisteredVersion>, Problem> {
    let (principal, now) = (caller.principal, services.clock.now());
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, principal.project_id, &model).await?;
    drop(conn);
    let actor = &principal.actor;
    let version_id =
        registry::register_version(&services, &model, &new.version, new.lineage, actor, now)
            .await?;
    Ok(Json(RegisteredVersion {
        version_id,
        version: new.version,
    }))
}

/// A change of champion asked for by hand.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromotionOrder {
    pub version: String,
    /// Why, for whoever reads it later.
    pub reason: String,
}

/// A change of champion.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Promoted {
    pub promotion_id: PromotionId,
    pub from_version: Option<String>,
    pub to_version: String,
    pub promoted_at: DateTime<Utc>,
}

/// Makes a version the champion by hand, without a gate; the one it replaces becomes a shadow.
#[utoipa::path(
    post, path = "/models/{model}/promotions", tag = "models", security(("token" = ["operate"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = PromotionOrder,
    responses((status = 201, description = "The promotion", body = Promoted))
)]
pub async fn promote(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(order): Body<PromotionOrder>,
) -> Result<(axum::http::StatusCode, Json<Promoted>), Problem> {
    let (principal, now) = (caller.principal, services.clock.now());
    if order.reason.trim().is_empty() {
        return Err(Error::invalid_field("reason", "say why, for whoever reads this later").into());
    }
    let mut tx = services.pool.begin().await?;
    let model = registry::model(&mut tx, principal.project_id, &model).await?;
    let asked = Order {
        version_id: version_id(&mut tx, &model, &order.version).await?,
        run_id: None,
        by: &principal.actor,
        reason: order.reason.trim(),
    };
    let promotion = promotion::promote(&mut tx, &model, asked, now).await?;
    tx.commit().await?;
    let promoted = Promoted {
        promotion_id: promotion.promotion_id,
        from_version: promotion.from_name,
        to_version: promotion.to_name,
        promoted_at: promotion.promoted_at,
    };
    Ok((axum::http::StatusCode::CREATED, Json(promoted)))
}

/// The id of the version of that name.
///
/// # Errors
/// Not found.
pub async fn version_id(
    conn: &mut PgConnection,
    model: &Model,
    name: &str,
) -> Result<VersionId, Error> {
    models::versions(conn, model.model_id)
        .await?
        .into_iter()
        .find(|version| version.name == name)
        .map(|version| version.version_id)
        .ok_or_else(|| Error::not_found(format!("version {name:?} of model {:?}", model.name)))
}
