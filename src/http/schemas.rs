//! A model's schema, its versions, and the proposals to change it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use super::auth::{Authorised, Operate, Read};
use super::bodies::{Body, Path, Query};
use super::models::SchemaView;
use super::moments::ListQuery;
use super::problem::Problem;
use crate::domain::ids::ProposalId;
use crate::domain::proposal::{Effect, FeatureChange, Origin, Part, ProposalState};
use crate::domain::schema::{FeatureExpectation, FeatureOverride, FeatureType, Limit};
use crate::services::schemas::{self, Verdict, Wish};
use crate::services::{Error, Services, registry};
use crate::storage::baselines;
use crate::storage::proposals::{self as stored, Proposal, SchemaVersion};

/// A model's schema with its history.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SchemaDetail {
    /// Nothing until the first baseline is fitted or a schema is declared.
    pub schema: Option<SchemaView>,
    /// Newest first.
    pub versions: Vec<SchemaVersionView>,
}

/// A version of a schema that is or was in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SchemaVersionView {
    pub version: i32,
    /// Where it came from, in words.
    pub source: String,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    /// How many features it knows.
    pub features: i64,
    /// The proposal it came of; nothing for versions of before there were proposals.
    pub proposal_id: Option<ProposalId>,
}

impl From<SchemaVersion> for SchemaVersionView {
    fn from(version: SchemaVersion) -> Self {
        Self {
            version: version.version,
            source: version.source,
            created_at: version.created_at,
            created_by: version.created_by,
            features: version.features,
            proposal_id: version.proposal_id,
        }
    }
}

/// A proposed change of a schema.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProposalView {
    pub proposal_id: ProposalId,
    pub state: ProposalState,
    pub origin: Origin,
    /// Where it comes from, in words.
    pub source: String,
    pub reason: String,
    /// The version of the schema it was made against; 0 for none.
    pub base_version: i32,
    pub changes: Vec<ChangeView>,
    /// What an import did not carry over.
    pub notes: Vec<String>,
    pub proposed_at: DateTime<Utc>,
    pub proposed_by: String,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub decision_reason: Option<String>,
    /// The version of the schema that it became.
    pub accepted_version: Option<i32>,
}

/// What is to be expected of a feature instead of what was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    pub feature: String,
    /// The parts that differ.
    pub parts: Vec<Part>,
    /// Nothing for a feature that was not in the schema.
    pub from: Option<FeatureExpectation>,
    /// Nothing for a feature that is to leave the schema.
    pub to: Option<FeatureExpectation>,
    /// How many rows of the champion's last seven days each part flagged, and would have flagged.
    pub effects: Vec<Effect>,
}

impl From<FeatureChange> for ChangeView {
    fn from(change: FeatureChange) -> Self {
        Self {
            parts: change.parts(),
            feature: change.feature,
            from: change.from,
            to: change.to,
            effects: change.effects,
        }
    }
}

impl From<Proposal> for ProposalView {
    fn from(proposal: Proposal) -> Self {
        Self {
            proposal_id: proposal.proposal_id,
            state: proposal.state,
            origin: proposal.origin,
            source: proposal.source,
            reason: proposal.reason,
            base_version: proposal.base_version,
            changes: proposal
                .changes
                .0
                .into_iter()
                .map(ChangeView::from)
                .collect(),
            notes: proposal.notes,
            proposed_at: proposal.proposed_at,
            proposed_by: proposal.proposed_by,
            decided_at: proposal.decided_at,
            decided_by: proposal.decided_by,
            decision_reason: proposal.decision_reason,
            accepted_version: proposal.accepted_version,
        }
    }
}

/// The schema in force of a model, and the versions before it.
#[utoipa::path(
    get, path = "/models/{model}/schema", tag = "schemas", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model")),
    responses((status = 200, description = "The schema", body = SchemaDetail))
)]
pub async fn show(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
) -> Result<Json<SchemaDetail>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let schema = baselines::schema(&mut conn, model.model_id).await?;
    let versions = stored::versions(&mut conn, model.model_id, schemas::LISTED).await?;
    Ok(Json(SchemaDetail {
        schema: schema.map(|schema| SchemaView {
            version: schema.version,
            features: schema.features,
        }),
        versions: versions.into_iter().map(SchemaVersionView::from).collect(),
    }))
}

/// The proposals to change a model's schema: open ones first, then newest first.
#[utoipa::path(
    get, path = "/models/{model}/schema/proposals", tag = "schemas", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model"), ListQuery),
    responses((status = 200, description = "The proposals", body = [ProposalView]))
)]
pub async fn proposals(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<ProposalView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let found = stored::of_model(&mut conn, model.model_id, query.limit()?).await?;
    Ok(Json(found.into_iter().map(ProposalView::from).collect()))
}

/// A change of a schema to be proposed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaToPropose {
    /// What is to be expected; where it is silent, what is in force stays.
    pub features: Vec<FeatureToExpect>,
    /// Features that are to leave the schema.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Whether features that are not listed are to leave the schema.
    #[serde(default)]
    pub replace: bool,
    /// Why, for whoever reads it.
    pub reason: String,
    /// Where it comes from, such as a file; the caller when absent.
    #[serde(default)]
    pub source: Option<String>,
    /// Given when another tool's description of the features was read.
    #[serde(default)]
    pub imported: Option<Imported>,
}

/// What was read, and what it says that a schema cannot.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// What was not carried over, one text for each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What is to be expected of a feature. A part that is absent stays as it is in force; a limit that is null is lifted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureToExpect {
    pub feature: String,
    /// Needed for features that are not in the schema yet.
    #[serde(rename = "type", default)]
    pub feature_type: Option<FeatureType>,
    #[serde(default)]
    pub required: Option<bool>,
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<f64>)]
    pub min: Limit<f64>,
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<f64>)]
    pub max: Limit<f64>,
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<Vec<String>>)]
    pub categories: Limit<Vec<String>>,
    #[serde(default)]
    pub max_null_share: Option<f64>,
    /// The largest share of values that repeat an earlier one of their window and are no finding; null for any.
    #[serde(default, deserialize_with = "limit")]
    #[schema(value_type = Option<f64>)]
    pub max_duplicate_share: Limit<f64>,
    /// The smallest and the largest number of different values in a window that is no finding.
    #[serde(default)]
    pub min_distinct: Option<i64>,
    #[serde(default)]
    pub max_distinct: Option<i64>,
    /// The largest share of values outside the range or the categories that is no finding; the monitor's tolerance when absent.
    #[serde(default)]
    pub max_outside_share: Option<f64>,
    /// The environments in which a row has to have the feature; those in force when absent.
    #[serde(default)]
    pub environments: Option<Vec<String>>,
}

/// A limit that is there: null lifts it. One that is absent never comes here.
fn limit<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Limit<T>, D::Error> {
    Ok(Option::deserialize(from)?.map_or(Limit::Any, Limit::Given))
}

impl From<FeatureToExpect> for FeatureOverride {
    fn from(expected: FeatureToExpect) -> Self {
        Self {
            feature: expected.feature,
            feature_type: expected.feature_type,
            required: expected.required,
            minimum: expected.min,
            maximum: expected.max,
            categories: expected.categories,
            max_null_share: expected.max_null_share,
            max_duplicate_share: expected.max_duplicate_share,
            min_distinct: expected.min_distinct,
            max_distinct: expected.max_distinct,
            max_outside_share: expected.max_outside_share,
            environments: expected.environments,
        }
    }
}

/// What became of what was proposed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Proposed {
    /// Nothing when the schema is as proposed already.
    pub proposal: Option<ProposalView>,
}

/// Proposes a change of a model's schema, to be accepted or declined. What differs from the schema in force becomes the
/// proposal; where nothing does, there is none. What is proposed and open already is not proposed twice.
#[utoipa::path(
    post, path = "/models/{model}/schema/proposals", tag = "schemas", security(("token" = ["operate"])),
    params(("model" = String, Path, description = "Name of the model")),
    request_body = SchemaToPropose,
    responses(
        (status = 200, description = "Nothing differs", body = Proposed),
        (status = 201, description = "The proposal, or the one that asks for the same already", body = Proposed)
    )
)]
pub async fn propose(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Body(wanted): Body<SchemaToPropose>,
) -> Result<(StatusCode, Json<Proposed>), Problem> {
    let principal = caller.principal;
    let origin = match &wanted.imported {
        Some(_) => Origin::Import,
        None => Origin::Api,
    };
    let wish = Wish {
        origin,
        source: wanted
            .source
            .unwrap_or_else(|| format!("proposed by {}", principal.actor)),
        reason: wanted.reason,
        features: wanted
            .features
            .into_iter()
            .map(FeatureOverride::from)
            .collect(),
        removed: wanted.removed,
        replace: wanted.replace,
        notes: wanted
            .imported
            .map_or_else(Vec::new, |imported| imported.notes),
    };
    let project_id = principal.project_id;
    let proposal = schemas::propose(&services, project_id, &model, wish, &principal.actor).await?;
    let status = match proposal {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::OK,
    };
    let proposal = proposal.map(ProposalView::from);
    Ok((status, Json(Proposed { proposal })))
}

/// A proposal.
#[utoipa::path(
    get, path = "/schema-proposals/{proposal_id}", tag = "schemas", security(("token" = ["read"])),
    params(("proposal_id" = ProposalId, Path)),
    responses((status = 200, description = "The proposal", body = ProposalView))
)]
pub async fn proposal(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(proposal_id): Path<ProposalId>,
) -> Result<Json<ProposalView>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let found = stored::get(&mut conn, caller.principal.project_id, proposal_id).await?;
    let found = found.ok_or_else(|| Error::not_found(format!("schema proposal {proposal_id}")))?;
    Ok(Json(found.into()))
}

/// A decision on a proposal.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalDecision {
    pub accept: bool,
    /// Why, for whoever reads it later.
    pub reason: String,
}

/// A proposal that is decided.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Decided {
    /// Declined, or accepting: in force once the stored rows have been counted by it, accepted then.
    pub state: ProposalState,
}

/// Accepts or declines a proposal. What is accepted comes into force as a version of the schema once the stored rows have
/// been counted by it, in the background.
#[utoipa::path(
    post, path = "/schema-proposals/{proposal_id}", tag = "schemas", security(("token" = ["operate"])),
    params(("proposal_id" = ProposalId, Path)),
    request_body = ProposalDecision,
    responses((status = 200, description = "Decided", body = Decided))
)]
pub async fn decide(
    caller: Authorised<Operate>,
    State(services): State<Services>,
    Path(proposal_id): Path<ProposalId>,
    Body(decision): Body<ProposalDecision>,
) -> Result<Json<Decided>, Problem> {
    let principal = caller.principal;
    let verdict = Verdict {
        proposal_id,
        accept: decision.accept,
        reason: &decision.reason,
        actor: &principal.actor,
    };
    let state = schemas::decide(&services, principal.project_id, verdict).await?;
    Ok(Json(Decided { state }))
}
