//! People, tokens, where the configuration came from, durability, and who changed what.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::domain::ids::TokenId;
use crate::services::access::{self, Scope, Site, Token, TokenRequest};
use crate::services::{Error, Services};
use crate::storage::audit::{self, AuditRow};
use crate::storage::pages::{self, DefinitionRow, Durability};
use crate::web::answer::{Failure, page};
use crate::web::evidence::facts;
use crate::web::frame::{Section, Shell};
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::{SignedForm, Visitor};
use crate::web::wording;

use super::sign_in::with_cookie;

const AUDIT_ROWS: i64 = 100;

/// The settings page.
#[derive(Debug, Template)]
#[template(path = "pages/settings/settings.html", escape = "page")]
pub struct SettingsPage {
    pub shell: Shell,
    pub may_administer: bool,
    pub new_token: Option<String>,
    pub problem: Option<String>,
    pub people: Vec<PersonLine>,
    pub tokens: Vec<TokenLine>,
    pub definitions: Vec<DefinitionLine>,
    pub durability: Vec<DurabilityLine>,
    pub server_version: String,
    pub audit: Vec<AuditLine>,
}

/// A person of the project.
#[derive(Debug, Clone)]
pub struct PersonLine {
    pub name: String,
    pub email: String,
    pub role: &'static str,
    pub since: String,
    pub state: Badge,
}

/// A token, without its secret.
#[derive(Debug, Clone)]
pub struct TokenLine {
    pub name: String,
    pub scopes: String,
    pub created: String,
    pub last_used: String,
    pub expires: String,
    pub state: Badge,
    pub revoke_action: Option<String>,
}

/// A configured object and where it came from.
#[derive(Debug, Clone)]
pub struct DefinitionLine {
    pub kind: String,
    pub name: String,
    pub place: String,
    pub revision: String,
    pub applied: String,
}

/// A setting of the database.
#[derive(Debug, Clone)]
pub struct DurabilityLine {
    pub name: &'static str,
    pub value: String,
    pub verdict: Badge,
}

/// A change somebody made.
#[derive(Debug, Clone)]
pub struct AuditLine {
    pub at: String,
    pub actor: String,
    pub action: String,
    pub object: String,
    pub detail: String,
}

/// `GET /settings`
pub async fn show(State(services): State<Services>, visitor: Visitor) -> Result<Response, Failure> {
    page(&load(&services, &visitor, None, None).await?)
}

async fn load(
    services: &Services,
    visitor: &Visitor,
    new_token: Option<String>,
    problem: Option<String>,
) -> Result<SettingsPage, Failure> {
    let session = &visitor.0;
    let project = session.project_id;
    let may_administer = session.principal().may(Scope::Admin);
    let people = access::list_people(&services.pool, project).await?;
    let tokens = access::list_tokens(&services.pool, project).await?;
    let mut conn = services.pool.acquire().await?;
    let shell = Shell::load(&mut conn, services, session, Section::Settings, "Settings").await?;
    let durability = pages::durability(&mut conn).await?;
    let changes = if may_administer {
        audit::latest(&mut conn, project, AUDIT_ROWS).await?
    } else {
        Vec::new()
    };
    Ok(SettingsPage {
        shell,
        may_administer,
        new_token,
        problem,
        people: people
            .into_iter()
            .map(|member| PersonLine {
                role: member.role.name(),
                since: wording::date(member.created_at),
                state: match member.disabled_at {
                    None => Badge::new("Active", Tone::Good),
                    Some(_) => Badge::new("Disabled", Tone::Quiet),
                },
                name: member.display_name,
                email: member.email,
            })
            .collect(),
        tokens: tokens
            .iter()
            .map(|token| token_line(token, services.wall.now(), may_administer))
            .collect(),
        definitions: pages::definitions(&mut conn, project)
            .await?
            .iter()
            .map(definition_line)
            .collect(),
        server_version: durability.server_version.clone(),
        durability: durability_lines(&durability),
        audit: changes.iter().map(audit_line).collect(),
    })
}

fn token_line(
    token: &Token,
    now: chrono::DateTime<chrono::Utc>,
    may_administer: bool,
) -> TokenLine {
    let ended = token.expires_at.is_some_and(|at| at <= now);
    let state = match (token.revoked_at, ended) {
        (Some(at), _) => Badge::new(format!("Revoked {}", wording::date(at)), Tone::Quiet),
        (None, true) => Badge::new("Expired", Tone::Quiet),
        (None, false) => Badge::new("Active", Tone::Good),
    };
    TokenLine {
        name: token.name.clone(),
        scopes: token
            .scopes
            .iter()
            .map(|scope| scope.name())
            .collect::<Vec<_>>()
            .join(", "),
        created: format!(
            "{} by {}",
            wording::date(token.created_at),
            token.created_by
        ),
        last_used: token
            .last_used_at
            .map_or_else(|| "never".to_owned(), |at| wording::ago(at, now)),
        expires: token
            .expires_at
            .map_or_else(|| "never".to_owned(), wording::date),
        revoke_action: (may_administer && token.revoked_at.is_none())
            .then(|| format!("/settings/tokens/{}/revoke", token.token_id)),
        state,
    }
}

fn definition_line(row: &DefinitionRow) -> DefinitionLine {
    DefinitionLine {
        kind: row.kind.clone(),
        name: row.name.clone(),
        place: format!("{}:{}", row.file, row.line),
        revision: row.revision.chars().take(12).collect(),
        applied: format!(
            "{} by {}",
            wording::date_time(row.applied_at),
            row.applied_by
        ),
    }
}

fn durability_lines(durability: &Durability) -> Vec<DurabilityLine> {
    let weak = durability.weak();
    [
        ("fsync", &durability.fsync),
        ("synchronous_commit", &durability.synchronous_commit),
        ("full_page_writes", &durability.full_page_writes),
    ]
    .into_iter()
    .map(|(name, value)| DurabilityLine {
        name,
        value: value.clone(),
        verdict: if weak.contains(&name) {
            Badge::new("Data can be lost", Tone::Critical)
        } else {
            Badge::new("Safe", Tone::Good)
        },
    })
    .collect()
}

fn audit_line(row: &AuditRow) -> AuditLine {
    AuditLine {
        at: wording::date_time(row.at),
        actor: row.actor.clone(),
        action: row.action.clone(),
        object: format!("{} {}", row.object_kind, row.object_id),
        detail: facts(&row.detail)
            .iter()
            .map(|fact| format!("{}: {}", fact.name, fact.value))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[derive(Deserialize)]
pub struct NewTokenForm {
    name: String,
    scope_ingest: Option<String>,
    scope_read: Option<String>,
    scope_operate: Option<String>,
    scope_admin: Option<String>,
}

impl NewTokenForm {
    fn scopes(&self) -> Vec<Scope> {
        [
            (&self.scope_ingest, Scope::Ingest),
            (&self.scope_read, Scope::Read),
            (&self.scope_operate, Scope::Operate),
            (&self.scope_admin, Scope::Admin),
        ]
        .into_iter()
        .filter(|(ticked, _)| ticked.is_some())
        .map(|(_, scope)| scope)
        .collect()
    }
}

/// `POST /settings/tokens`. Answers with the page instead of a redirect: the secret is shown this once.
pub async fn create_token(
    State(services): State<Services>,
    SignedForm { visitor, form }: SignedForm<NewTokenForm>,
) -> Result<Response, Failure> {
    visitor.require(Scope::Admin)?;
    let request = TokenRequest {
        name: &form.name,
        scopes: &form.scopes(),
        expires_at: None,
    };
    let made = access::create_token(
        &services.pool,
        services.wall.now(),
        visitor.0.project_id,
        &request,
        &visitor.actor(),
    )
    .await;
    match made {
        Ok(token) => page(&load(&services, &visitor, Some(token.secret), None).await?),
        Err(refusal) => refused(&services, &visitor, refusal).await,
    }
}

/// `POST /settings/tokens/{id}/revoke`
pub async fn revoke_token(
    State(services): State<Services>,
    Path(id): Path<String>,
    SignedForm { visitor, form: _ }: SignedForm<super::sign_in::Nothing>,
) -> Result<Response, Failure> {
    visitor.require(Scope::Admin)?;
    let id: TokenId = id.parse().map_err(|_| Failure::page_not_found())?;
    access::revoke_token(
        &services.pool,
        services.wall.now(),
        visitor.0.project_id,
        id,
        &visitor.actor(),
    )
    .await?;
    Ok(Redirect::to("/settings#tokens").into_response())
}

#[derive(Deserialize)]
pub struct PasswordForm {
    current_password: String,
    new_password: String,
    repeated_password: String,
}

/// `POST /settings/password`. Every session of the person ends; this browser gets a new one.
pub async fn change_password(
    State(services): State<Services>,
    SignedForm { visitor, form }: SignedForm<PasswordForm>,
) -> Result<Response, Failure> {
    if form.new_password != form.repeated_password {
        let differ = Error::invalid_field("new_password", "was not repeated in the same words");
        return refused(&services, &visitor, differ).await;
    }
    let changed = access::change_password(
        &services.pool,
        services.wall.now(),
        &visitor.0,
        &form.current_password,
        &form.new_password,
    )
    .await;
    match changed {
        Ok(session) => {
            let site = Site::at(&services.public_url)?;
            with_cookie("/settings", &site.set_cookie(&session.cookie_value))
        }
        Err(refusal) => refused(&services, &visitor, refusal).await,
    }
}

/// Shows the page again with what is wrong, where the person can mend it; other failures have their page.
async fn refused(
    services: &Services,
    visitor: &Visitor,
    refusal: Error,
) -> Result<Response, Failure> {
    match refusal {
        Error::Invalid { .. } | Error::Conflict(_) | Error::TooManyRequests { .. } => {
            let words = wording::words(&refusal.to_string());
            let again = page(&load(services, visitor, None, Some(words)).await?)?;
            Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, again).into_response())
        }
        other => Err(other.into()),
    }
}
