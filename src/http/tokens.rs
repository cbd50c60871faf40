//! Tokens, and the record of who changed what.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Admin, Authorised};
use super::bodies::{Body, Path, Query};
use super::moments::ListQuery;
use super::problem::Problem;
use crate::domain::ids::TokenId;
use crate::services::Services;
use crate::services::access::{
    Scope, Token, TokenRequest, create_token, list_tokens, revoke_token,
};
use crate::storage::audit::{self as stored, AuditRow};

/// A token, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TokenView {
    pub token_id: TokenId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            token_id: token.token_id,
            name: token.name,
            scopes: token.scopes,
            created_by: token.created_by,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// The tokens of the project.
#[utoipa::path(
    get, path = "/tokens", tag = "access", security(("token" = ["admin"])),
    responses((status = 200, description = "The tokens", body = [TokenView]))
)]
pub async fn list(
    caller: Authorised<Admin>,
    State(services): State<Services>,
) -> Result<Json<Vec<TokenView>>, Problem> {
    let tokens = list_tokens(&services.pool, caller.principal.project_id).await?;
    Ok(Json(tokens.into_iter().map(TokenView::from).collect()))
}

/// A token to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenToCreate {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// When it ends; never when absent.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token just made.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CreatedToken {
    pub token_id: TokenId,
    /// What to present; it is not stored and cannot be shown again.
    pub secret: String,
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/tokens", tag = "access", security(("token" = ["admin"])),
    request_body = TokenToCreate,
    responses((status = 201, description = "The token", body = CreatedToken))
)]
pub async fn create(
    caller: Authorised<Admin>,
    State(services): State<Services>,
    Body(token): Body<TokenToCreate>,
) -> Result<(StatusCode, Json<CreatedToken>), Problem> {
    let request = TokenRequest {
        name: &token.name,
        scopes: &token.scopes,
        expires_at: token.expires_at,
    };
    let principal = caller.principal;
    let created = create_token(
        &services.pool,
        services.wall.now(),
        principal.project_id,
        &request,
        &principal.actor,
    )
    .await?;
    let created = CreatedToken {
        token_id: created.token_id,
        secret: created.secret,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revokes a token at once.
#[utoipa::path(
    delete, path = "/tokens/{token_id}", tag = "access", security(("token" = ["admin"])),
    params(("token_id" = TokenId, Path)),
    responses((status = 204, description = "Revoked"))
)]
pub async fn revoke(
    caller: Authorised<Admin>,
    State(services): State<Services>,
    Path(token_id): Path<TokenId>,
) -> Result<StatusCode, Problem> {
    let principal = caller.principal;
    let (project_id, now) = (principal.project_id, services.wall.now());
    revoke_token(&services.pool, now, project_id, token_id, &principal.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A recorded change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuditView {
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub object_kind: String,
    pub object_id: String,
    pub detail: serde_json::Value,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            at: row.at,
            actor: row.actor,
            action: row.action,
            object_kind: row.object_kind,
            object_id: row.object_id,
            detail: row.detail,
        }
    }
}

/// Who changed what in the project, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "access", security(("token" = ["admin"])), params(ListQuery),
    responses((status = 200, description = "The changes", body = [AuditView]))
)]
pub async fn audit(
    caller: Authorised<Admin>,
    State(services): State<Services>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<AuditView>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let project_id = caller.principal.project_id;
    let rows = stored::latest(&mut conn, project_id, query.limit()?).await?;
    Ok(Json(rows.into_iter().map(AuditView::from).collect()))
}
