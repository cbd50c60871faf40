//! The rules on a model, each with how often it errs and what it would not miss.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::auth::{Authorised, Read};
use super::bodies::Path;
use super::problem::Problem;
use crate::domain::ids::AlertId;
use crate::domain::promise::Promise;
use crate::domain::rule::Severity;
use crate::services::promises::{self, RulePromises};
use crate::services::{Services, registry};

/// A rule, and what may be expected of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RuleView {
    pub name: String,
    /// What it means, in one line for people.
    pub title: String,
    pub severity: Severity,
    /// What it asks for, in words.
    pub asks: String,
    pub runbook: Option<String>,
    pub receivers: Vec<String>,
    /// Its alert, while one is open.
    pub open_alert: Option<AlertId>,
    /// One for all measures of which the same is true, at the traffic of the champion's newest windows.
    pub promises: Vec<PromiseView>,
}

/// What a rule promises of some of the measures it looks at.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PromiseView {
    /// Empty for a rule that looks at none.
    pub measures: Vec<&'static str>,
    /// Nothing before a window has been measured that says enough.
    pub promise: Option<Promise>,
}

impl From<RulePromises> for RuleView {
    fn from(told: RulePromises) -> Self {
        let rule = told.rule;
        Self {
            asks: rule.asks(),
            name: rule.name,
            title: rule.title,
            severity: rule.severity,
            runbook: rule.runbook,
            receivers: rule.receivers,
            open_alert: told.open,
            promises: (told.promises.into_iter())
                .map(|of| PromiseView {
                    measures: of.measures.iter().map(|measure| measure.as_str()).collect(),
                    promise: of.promise,
                })
                .collect(),
        }
    }
}

/// The rules on a model by name, each with how often it errs where nothing is wrong and the smallest change that it would see,
/// worked out from the newest windows of its champion.
#[utoipa::path(
    get, path = "/models/{model}/rules", tag = "alerts", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The rules", body = [RuleView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<Vec<RuleView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let told = promises::of_model(&mut conn, &model, services.clock.now()).await?;
    Ok(Json(told.into_iter().map(RuleView::from).collect()))
}
