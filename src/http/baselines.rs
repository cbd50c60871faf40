//! Baselines: the references that production is compared with.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::auth::{Authorised, Operate, Read};
use super::bodies::{Body, Path, Query, Upload};
use super::models::version_id;
use super::moments::Moment;
use super::problem::Problem;
use crate::domain::ids::BaselineId;
use crate::domain::shift::{self, Beginning, Unit};
use crate::services::baselines::{self, Declared, ReferenceFile, ReferenceWindow};
use crate::services::{Services, registry};
use crate::storage::baselines::{self as stored, Baseline};
use crate::storage::models::{self, Version};
use crate::storage::shifts::{self, StoredReference};

/// A baseline in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BaselineView {
    pub baseline_id: BaselineId,
    pub name: String,
    /// `file` or `window`.
    pub source: String,
    pub file_name: Option<String>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    /// The version whose predictions count; the champion when absent.
    pub version: Option<String>,
    /// `waiting` (for its window to be over), `fitted` or `failed`.
    pub state: String,
    /// Why fitting failed.
    pub cause: Option<String>,
    pub rows: i64,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub fitted_at: Option<DateTime<Utc>>,
    /// Why somebody put it in the place of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the drift detector knows of its days, where it is fitted and asked for by itself or in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<DaysView>,
    /// The same of its hours, where the model counts by hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<DaysView>,
}

/// What the drift detector knows of a baseline's days, or hours. Days are told by their dates, hours by when they begin.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DaysView {
    /// The first and the last day; absent where rows have no times.
    pub first: Option<Beginning>,
    pub last: Option<Beginning>,
    pub count: usize,
    /// `days`, or `rows` where they are too few to know how days differ.
    pub footing: String,
    /// Days left out, of a feature at least, for being unlike all others.
    pub left_out: Vec<Beginning>,
    /// Days that say that the baseline is of two minds; none if it is not.
    pub unstable: Vec<Beginning>,
    /// Its days that are holidays of the model, which it was fitted without.
    pub holidays: Vec<NaiveDate>,
    /// Features whose days could not be counted alike.
    pub unusable: Vec<String>,
}

impl From<StoredReference> for DaysView {
    fn from(stored: StoredReference) -> Self {
        Self {
            first: stored.span.map(|(first, _)| stored.unit.beginning(first)),
            last: stored.span.map(|(_, last)| stored.unit.beginning(last)),
            count: stored.counted,
            footing: stored.footing,
            left_out: shift::beginnings(stored.unit, &stored.left_out),
            unstable: shift::beginnings(Unit::Day, &shift::days_of(stored.unit, &stored.unstable)),
            holidays: stored.holidays,
            unusable: stored.unusable,
        }
    }
}

impl BaselineView {
    fn new(baseline: Baseline, versions: &[Version]) -> Self {
        let version = versions
            .iter()
            .find(|version| Some(version.version_id) == baseline.version_id);
        Self {
            baseline_id: baseline.baseline_id,
            name: baseline.name,
            source: baseline.source,
            file_name: baseline.file_name,
            from: baseline.window_from,
            to: baseline.window_to,
            version: version.map(|version| version.name.clone()),
            state: baseline.state,
            cause: baseline.cause,
            rows: baseline.rows,
            created_at: baseline.created_at,
            created_by: baseline.created_by,
            fitted_at: baseline.fitted_at,
            reason: baseline.reason,
            days: None,
            hours: None,
        }
    }

    async fn with_days(self, conn: &mut PgConnection) -> sqlx::Result<Self> {
        let days = shifts::reference(conn, self.baseline_id, Unit::Day).await?;
        let hours = shifts::reference(conn, self.baseline_id, Unit::Hour).await?;
        Ok(Self {
            days: days.map(DaysView::from),
            hours: hours.map(DaysView::from),
            ..self
        })
    }

    /// Baselines of a model with these versions.
    pub fn all(baselines: Vec<Baseline>, versions: &[Version]) -> Vec<Self> {
        baselines
            .into_iter()
            .map(|baseline| Self::new(baseline, versions))
            .collect()
    }
}

/// The baselines in force of a model, by name.
#[utoipa::path(
    get, path = "/models/{model}/baselines", tag = "baselines", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The baselines", body = [BaselineView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<Vec<BaselineView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let versions = models::versions(&mut conn, model.model_id).await?;
    let baselines = stored::in_force(&mut conn, model.model_id).await?;
    let mut views = Vec::with_capacity(baselines.len());
    for view in BaselineView::all(baselines, &versions) {
        views.push(view.with_days(&mut conn).await?);
    }
    Ok(Json(views))
}

/// A window of production to be a baseline.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowToDeclare {
    pub name: String,
    pub from: Moment,
    /// The first instant that does not belong to it.
    pub to: Moment,
    /// The version whose predictions count; the champion when absent.
    pub version: Option<String>,
    /// Why these days take the place of a baseline of that name; required where there is one with other days.
    pub reason: Option<String>,
}

/// Declares a baseline on a window of production; it is fitted once the window is over.
#[utoipa::path(
    post, path = "/models/{model}/baselines", tag = "baselines", security(("token" = ["operate"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = WindowToDeclare,
    responses((status = 200, description = "The baseline", body = BaselineView))
)]
pub async fn declare(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(window): Body<WindowToDeclare>,
) -> Result<Json<BaselineView>, Problem> {
    let (principal, now) = (caller.principal, services.clock.now());
    let mut tx = services.pool.begin().await?;
    let model = registry::model(&mut tx, principal.project_id, &model).await?;
    if let Some(version) = &window.version {
        version_id(&mut tx, &model, version).await?;
    }
    let declared = ReferenceWindow {
        name: &window.name,
        from: window.from.0,
        to: window.to.0,
        version: window.version.as_deref(),
        declared: Declared::ByPerson {
            reason: window.reason.as_deref(),
        },
    };
    let baseline =
        baselines::declare_window(&mut tx, &model, declared, &principal.actor, now).await?;
    let versions = models::versions(&mut tx, model.model_id).await?;
    tx.commit().await?;
    Ok(Json(BaselineView::new(baseline, &versions)))
}

/// How a baseline's file is sent.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// What the file is called where it comes from.
    file_name: Option<String>,
}

/// Fits a baseline on a file of rows. The same file again changes nothing.
#[utoipa::path(
    post, path = "/models/{model}/baselines/{name}", tag = "baselines", security(("token" = ["operate"])),
    params(
        ("model" = String, Path, description = "Name of the model"),
        ("name" = String, Path, description = "Name of the baseline"),
        FileQuery,
    ),
    request_body(description = "The rows, with predictions and labels where there are some", content(
        ("application/json"), ("application/x-ndjson"), ("text/csv"), ("application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream")
    )),
    responses((status = 200, description = "The baseline", body = BaselineView))
)]
pub async fn fit(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path((model, name)): Path<(String, String)>,
    Query(query): Query<FileQuery>,
    Upload {
        format,
        body,
        room: _room,
    }: Upload,
) -> Result<Json<BaselineView>, Problem> {
    let file_name = query
        .file_name
        .unwrap_or_else(|| format!("{name}.{}", format.as_str()));
    let file = ReferenceFile {
        project_id: caller.principal.project_id,
        model: &model,
        name: &name,
        file_name: &file_name,
        format,
        body,
    };
    let baseline = baselines::fit_file(&services, file, &caller.principal.actor).await?;
    let mut conn = services.pool.acquire().await?;
    let view = BaselineView::new(baseline, &[])
        .with_days(&mut conn)
        .await?;
    Ok(Json(view))
}
