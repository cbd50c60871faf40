//! Candidates with their verdicts, and promotions.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::auth::{Authorised, Read};
use super::bodies::Query;
use super::moments::ListQuery;
use super::problem::Problem;
use crate::domain::gate::Comparison;
use crate::domain::ids::{PromotionId, RunId};
use crate::services::{Error, Services};
use crate::storage::candidates::{self as stored, JudgedCandidate, ListedPromotion};

/// A candidate and what the gate said of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CandidateView {
    pub model: String,
    pub version: String,
    pub run_id: RunId,
    /// When its pipeline delivered it; nothing for a version that was there before, as in a rollback.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Nothing until the gate has decided.
    pub gate: Option<GateView>,
}

/// A gate's verdict.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct GateView {
    pub verdict: String,
    pub reason: String,
    /// The version it was compared with.
    pub champion: Option<String>,
    pub window_from: Option<DateTime<Utc>>,
    pub window_to: Option<DateTime<Utc>>,
    /// All predictions first, then each segment.
    pub comparisons: Vec<ComparisonView>,
    pub decided_at: Option<DateTime<Utc>>,
}

/// Candidate and champion on the same labelled predictions of one segment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ComparisonView {
    /// `name=value`; nothing for all predictions.
    pub segment: Option<String>,
    pub measure: &'static str,
    pub champion: Option<f64>,
    pub candidate: Option<f64>,
    /// How many labelled predictions both have made.
    pub labels: u64,
    /// Whether the segment has labels enough to be judged.
    pub judged: bool,
    pub better: bool,
}

impl From<Comparison> for ComparisonView {
    fn from(comparison: Comparison) -> Self {
        Self {
            segment: Some(comparison.segment).filter(|segment| !segment.is_empty()),
            measure: comparison.measure.as_str(),
            champion: comparison.champion,
            candidate: comparison.candidate,
            labels: comparison.labels,
            judged: comparison.judged,
            better: comparison.better,
        }
    }
}

impl TryFrom<JudgedCandidate> for CandidateView {
    type Error = Error;

    fn try_from(judged: JudgedCandidate) -> Result<Self, Error> {
        let comparisons = judged.comparisons.map(serde_json::from_value);
        let comparisons: Vec<Comparison> = comparisons
            .transpose()
            .map_err(Error::internal)?
            .unwrap_or_default();
        let comparisons = comparisons.into_iter().map(ComparisonView::from).collect();
        let gate = judged.verdict.map(|verdict| GateView {
            verdict,
            reason: judged.reason.unwrap_or_default(),
            champion: judged.champion,
            window_from: judged.window_from,
            window_to: judged.window_to,
            comparisons,
            decided_at: judged.decided_at,
        });
        Ok(Self {
            model: judged.model,
            version: judged.version,
            run_id: judged.run_id,
            delivered_at: judged.delivered_at,
            gate,
        })
    }
}

/// The candidates of the project and what their gates said, newest first.
#[utoipa::path(
    get, path = "/candidates", tag = "pipelines", security(("token" = ["read"])), params(ListQuery),
    responses((status = 200, description = "The candidates", body = [CandidateView]))
)]
pub async fn list(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<CandidateView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let project_id = caller.principal.project_id;
    let candidates = stored::list(&mut conn, project_id, query.limit()?).await?;
    let views: Result<Vec<CandidateView>, Error> = candidates
        .into_iter()
        .map(CandidateView::try_from)
        .collect();
    Ok(Json(views?))
}

/// A change of champion.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PromotionView {
    pub promotion_id: PromotionId,
    pub model: String,
    /// The run that did it; nothing when it was done by hand.
    pub run_id: Option<RunId>,
    pub environment: String,
    pub from_version: Option<String>,
    pub to_version: String,
    pub promoted_at: DateTime<Utc>,
    pub promoted_by: String,
    pub reason: String,
}

impl From<ListedPromotion> for PromotionView {
    fn from(promotion: ListedPromotion) -> Self {
        Self {
            promotion_id: promotion.promotion_id,
            model: promotion.model,
            run_id: promotion.run_id,
            environment: promotion.environment,
            from_version: promotion.from_version,
            to_version: promotion.to_version,
            promoted_at: promotion.promoted_at,
            promoted_by: promotion.promoted_by,
            reason: promotion.reason,
        }
    }
}

/// The promotions of the project, newest first.
#[utoipa::path(
    get, path = "/promotions", tag = "pipelines", security(("token" = ["read"])), params(ListQuery),
    responses((status = 200, description = "The promotions", body = [PromotionView]))
)]
pub async fn promotions(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<PromotionView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let project_id = caller.principal.project_id;
    let promotions = stored::promotions(&mut conn, project_id, query.limit()?).await?;
    let views = promotions.into_iter().map(PromotionView::from);
    Ok(Json(views.collect()))
}
