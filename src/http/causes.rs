//! Why quality was lost.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::auth::{Authorised, Read};
use super::bodies::{Path, Query};
use super::moments::Moment;
use super::problem::Problem;
use crate::domain::causes::CauseReport;
use crate::domain::measurement::Measure;
use crate::services::causes::{self, Question};
use crate::services::{Error, Services, registry};

/// What the causes are wanted of; whatever is absent is chosen.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CausesQuery {
    /// The version; the champion when absent.
    version: Option<String>,
    /// The measure of quality whose loss is looked for; the first of the model's quality monitor when absent.
    measure: Option<String>,
    /// Predictions made then or later; seven days before `to` when absent.
    #[param(value_type = Option<String>)]
    from: Option<Moment>,
    /// Predictions made before then; the end of the newest day with labels when absent.
    #[param(value_type = Option<String>)]
    to: Option<Moment>,
    /// The span that is compared with; the window of the quality monitor's baseline where it is of this version,
    /// else the four weeks before `from`.
    #[param(value_type = Option<String>)]
    reference_from: Option<Moment>,
    #[param(value_type = Option<String>)]
    reference_to: Option<Moment>,
}

impl CausesQuery {
    fn question(self) -> Result<Question, Error> {
        let measure = match self.measure.as_deref().map(str::parse::<Measure>) {
            None => None,
            Some(Ok(measure)) if measure.is_quality() => Some(measure),
            Some(_) => {
                let cause = "must be a measure of quality, such as mae or roc_auc";
                return Err(Error::invalid_field("measure", cause));
            }
        };
        let at = |moment: Option<Moment>| moment.map(|moment| moment.0);
        Ok(Question {
            version: self.version,
            measure,
            from: at(self.from),
            to: at(self.to),
            reference_from: at(self.reference_from),
            reference_to: at(self.reference_to),
        })
    }
}

/// Why quality was lost: how much is input drift and how much concept change, along which features and in which segments, computed
/// now from stored rows and labels.
#[utoipa::path(
    get, path = "/models/{model}/causes", tag = "measurements", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model"), CausesQuery),
    responses((status = 200, description = "The causes, or why none can be given", body = CauseReport))
)]
pub async fn causes(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Query(query): Query<CausesQuery>,
) -> Result<Json<CauseReport>, Problem> {
    let question = query.question()?;
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    drop(conn);
    let now = services.clock.now();
    let report = causes::look(&services, &model, &question, now).await?;
    Ok(Json(CauseReport::clone(&report)))
}
